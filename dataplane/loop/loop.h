/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The run-to-completion turn: expire, parse, decide, log, make visible, acknowledge.
 *
 * Owns:  struct ush_engine (what all loops share) and one struct ush_loop per core.
 * Reads: packets handed in by dataplane/port, the durable sequence published by the journal.
 * Never: I/O, clocks, DPDK; runs unchanged in tests and simulation.
 */
#ifndef USH_LOOP_H
#define USH_LOOP_H

#include "admit/contract.h"
#include "base/base.h"
#include "base/packet.h"
#include "log/log.h"
#include "parse/parse.h"
#include "wire/wire.h"

/* Packets taken in one turn. */
#define USH_LOOP_BURST 64u
/* Durable replies let go in one turn. */
#define USH_LOOP_ACKS 192u
#define USH_LOOP_SEND_MAX (USH_LOOP_BURST + USH_LOOP_ACKS)
/* Loops of one process. */
#define USH_LOOP_COUNT_MAX 64u

struct ush_engine;
struct ush_loop;
struct ush_event;

/* Everything is allocated at start from these. */
struct ush_engine_limits {
	/* Loops, 1 to USH_LOOP_COUNT_MAX. */
	uint32_t loop_count;
	/* Hold lines, one per leg of a live or sold hold; 64 bytes each; at most 2^24. */
	uint32_t hold_count;
	/* (user, event) lines, 64 bytes each, rounded up to a power of two. */
	uint32_t user_count;
	/* Remembered accepted answers, 32 bytes each. */
	uint32_t answer_count;
	/* Row blocks of all events, 64 bytes each. */
	uint32_t row_count;
	/* Row blocks with seats of a channel, 64 bytes each; 0: no channels. */
	uint32_t channel_row_count;
	/* Entries of wait-lists, 128 bytes each; 0: no wait-lists. */
	uint32_t wait_count;
	/* Users of all waiting rooms together, 20 bytes each; 0: no waiting rooms. Devices whose
	 * users are counted, 8 bytes each. */
	uint32_t room_user_count;
	uint32_t room_device_count;
	/* Buckets of admission by address and by user, 16 bytes each, rounded up to powers of two;
	 * 0 of both: no admission. */
	uint32_t admit_source_count;
	uint32_t admit_user_count;
	/* Log buffer, blocks of 4 KiB, a power of two. */
	uint32_t log_block_count;
	/* Replies that may wait for durability, per loop, a power of two. */
	uint32_t ack_count;
};

/* The defaults: one loop, 2^20 holds, 2^21 users, 2^20 answers, 2^20 rows, 4,096 log blocks,
 * 2^15 waiting replies; 342 MiB, touched only as used. */
void ush_engine_limits_default(struct ush_engine_limits *limits);

/* ret: bytes that ush_engine_init needs, or 0 when the limits contradict themselves (message). */
size_t ush_engine_bytes(const struct ush_engine_limits *limits, struct ush_message *message);

/*
 * Afterwards the engine is empty: no event, no hold, log at `sequence` 64 (block 1).
 * in:  memory: ush_engine_bytes() zeroed bytes, 4,096-byte aligned; stays the caller's.
 *      hold_key: secret of hold-id tags.
 * ret: the engine (inside memory). by: the starting thread.
 */
struct ush_engine *ush_engine_init(
	void *memory, const struct ush_engine_limits *limits, const struct ush_key *hold_key);

/* The log that all loops write and the journal reads. */
struct ush_log *ush_engine_log(struct ush_engine *engine);

/* ret: loop `index`. by: the starting thread; afterwards only that loop's core uses it. */
struct ush_loop *ush_engine_loop(struct ush_engine *engine, uint32_t index);

/*
 * Applies one run of journal records to the inventory (see apply/apply.h).
 * ret: 0; err: -USH_ECORRUPT with a message. by: the starting thread, before the loops run.
 */
int ush_engine_apply(struct ush_engine *engine, const struct ush_record *records, uint32_t count,
	struct ush_message *message);

/* Brings near what applying these records will touch; see ush_apply_ahead. */
void ush_engine_ahead(const struct ush_engine *engine, const struct ush_record *records,
	uint32_t count, bool near);

/* Takes an entry of a section (USH_STATE_SECTION_*). ret: 0 or an error, which ends the saving. */
typedef int ush_engine_put(void *context, uint32_t section, const void *entry, size_t bytes);
/* Gives a section's next entry. ret: 1; 0: there is no more. */
typedef int ush_engine_get(void *context, uint32_t section, void *entry, size_t bytes);

/*
 * Hands out all that records have made of the state so far, for a snapshot.
 * ret: 0 or what `put` answered. by: one thread, between two ush_engine_apply, before
 * ush_engine_replayed.
 */
int ush_engine_save(const struct ush_engine *engine, ush_engine_put *put, void *context);

/* Takes what ush_engine_save gave, in place of the records before it; limits may differ.
 * in: engine: fresh. err: -USH_EFULL (limits), -USH_ECORRUPT, those of the image finder; message.
 * The engine is then of no further use. by: as ush_engine_apply, before the first one. */
int ush_engine_load(
	struct ush_engine *engine, ush_engine_get *get, void *context, struct ush_message *message);

/* What replay left to be settled. */
struct ush_engine_resume {
	/* Holds live at the end of the journal. */
	uint32_t live_holds;
	/* Newest time seen in the journal, ns; 0 if none. */
	uint64_t time_ns;
};

/*
 * Ends replay: builds free lists, expiry wheels and counters, and hands the holds to the loops.
 * by: the starting thread, once, after the last ush_engine_apply.
 */
void ush_engine_replayed(
	struct ush_engine *engine, uint64_t now_ns, struct ush_engine_resume *resume);

/*
 * Builds an event from a venue image in the row arena; it is not visible until an EVENT_LOAD
 * request that carries it as attachment is decided (or, at replay, its EVENT record applied).
 * out: event. ret: 0; err: -USH_ECORRUPT, -USH_EFULL with a message.
 * by: the housekeeping thread or the starting thread; one at a time.
 */
int ush_engine_event_build(struct ush_engine *engine, uint32_t event_id, const void *image,
	size_t image_bytes, struct ush_event **event, struct ush_message *message);

/* Gives back an event that was built but not taken (only the newest can be given back; else its
 * rows stay unused until restart). by: as ush_engine_event_build. */
void ush_engine_event_discard(struct ush_engine *engine, struct ush_event *event);

struct ush_change;

/*
 * Builds what a venue image changes in an event that is loaded: rows added, other prices. It is not
 * visible until an EVENT_CHANGE request that carries it as attachment is decided.
 * in:  before: the image that the event has now, to compare labels with, or NULL: then only what
 *      the engine knows is compared. request_id: of the request.
 * out: *change; one asked for before (ush_change_known) is found, not built, and compared with
 *      nothing. *row: with IMAGE_DIFFERS the first row block that differs, UINT32_MAX: none.
 * ret: OK; or what is to be answered: UNKNOWN_EVENT, BAD_IMAGE, IMAGE_DIFFERS, MISMATCH, STALE,
 *      BUSY (no room), with a message. by: as ush_engine_event_build; one change of an event at a
 *      time, until it was decided or given back.
 */
enum ush_status ush_engine_change_build(struct ush_engine *engine, uint32_t event_id,
	uint32_t request_id, const void *before, const void *image, size_t image_bytes,
	struct ush_change **change, uint32_t *row, struct ush_message *message);

/* Gives back a change that was built but not taken; one that is visible is left. by: as
 * ush_engine_change_build. */
void ush_engine_change_discard(struct ush_engine *engine, struct ush_change *change);

/* ret: digest of the image that says what an event is now; 0: there is no such event. by: any
 * thread. */
uint64_t ush_engine_event_digest(const struct ush_engine *engine, uint32_t event_id);

/* ret: digest of a venue image, as journaled in EVENT records. */
uint64_t ush_engine_image_digest(const void *image, size_t image_bytes);

/* Sets how replay finds the image of an EVENT record. ret of `find`: 0 and *image, or an error. */
typedef int ush_engine_image_find(void *context, uint32_t event_id, uint64_t digest,
	const void **image, size_t *image_bytes, struct ush_message *message);
void ush_engine_set_image_find(
	struct ush_engine *engine, ush_engine_image_find *find, void *context);

/* Sets SHA-256, which the draw of a waiting room needs, at replay too. by: the starting thread. */
typedef void ush_engine_hash(const void *data, size_t size, uint8_t digest[32]);
void ush_engine_set_hash(struct ush_engine *engine, ush_engine_hash *hash);

/*
 * What a ROOM_CONTROL request needs before a loop decides it: makes the tables of a draw. The
 * request then goes to the loop of its event, whatever came of this.
 * in: payload: a request that ush_admit passed. by: the housekeeping thread. cost: a draw of ten
 * million: 10 ms (guess).
 */
void ush_engine_room_prepare(struct ush_engine *engine, const uint8_t *payload, size_t size);

/* Keeps the pace of all waiting rooms: how far they may call. by: one thread, each 100 ms or so,
 * while the loops run. */
void ush_engine_rooms_step(struct ush_engine *engine, uint64_t now_ns);

/* ret: waiting rooms that were opened. by: any thread. */
uint32_t ush_engine_rooms(const struct ush_engine *engine);

/* What ush_engine_audit counted. */
struct ush_engine_audit {
	uint64_t events;
	uint64_t seats;
	uint64_t free_seats;
	uint64_t house_seats;
	uint64_t held_seats;
	uint64_t sold_seats;
	uint64_t held_holds;
	uint64_t sold_holds;
	uint64_t users;
	/* What the seats held and sold cost, in the minor units of whatever currency; seats times
	 * seconds that users have used of events' hold budgets. */
	uint64_t held_amount;
	uint64_t sold_amount;
	uint64_t seat_seconds;
	/* Seats that two holds claim at once. Must be 0. */
	uint64_t double_sold;
};

/*
 * Checks the whole state against itself: each seat is free, house, or in exactly one hold; sums of
 * seats per user, per event and in all agree.
 * out: audit, also on error. ret: 0; err: -USH_ECORRUPT with the first contradiction.
 * by:  one thread while no loop runs. cost: O(holds + rows + users); allocates.
 */
int ush_engine_audit(
	struct ush_engine *engine, struct ush_engine_audit *audit, struct ush_message *message);

/* Looks up the hold of a RESERVE acknowledged as `hold` (for verification).
 * ret: enum ush_hold_state now, FREE when it is over or unknown. by: one thread, no loop running.
 */
uint32_t ush_engine_hold_state(const struct ush_engine *engine, uint64_t hold);

/* What one turn hands back to dataplane/port. */
struct ush_loop_out {
	/* Frames to send now, sizes set; control messages have USH_PACKET_CONTROL. */
	struct ush_packet send[USH_LOOP_SEND_MAX];
	uint32_t send_count;
	/* Packets that are finished and only want to be freed: those with a handle. */
	struct ush_packet free[USH_LOOP_BURST];
	uint32_t free_count;
};

/*
 * One turn. Takes `count` packets (0 to USH_LOOP_BURST), expires what is due, decides, logs, makes
 * visible, and hands back every packet that is finished; the others wait inside for durability.
 * in: net: addresses of the port the packets came from. now_ns: Unix time, never going back.
 * ret: units of work done; 0 means the turn was idle.
 * by: the loop's core. cost: O(count), bounded.
 */
uint32_t ush_loop_turn(struct ush_loop *loop, const struct ush_net *net,
	const struct ush_packet *packets, uint32_t count, uint64_t now_ns,
	struct ush_loop_out *out);

/* ret: replies waiting for durability in this loop. by: the loop's core, or any when stopped. */
uint32_t ush_loop_waiting(const struct ush_loop *loop);

/* ret: packets the loop can take now without overflowing its waiting replies (0 to BURST). */
uint32_t ush_loop_room(const struct ush_loop *loop);

/* Counts a packet of this loop that dataplane/port dropped itself (TX_FULL, SHUTDOWN). When it
 * was an answered packet, `answered_status` is taken back from the sums: pass the reply. */
void ush_loop_count_drop(
	struct ush_loop *loop, enum ush_drop reason, const struct ush_packet *reply);

/* Gives every live hold `credit_ns` more, and logs RESUME{credit} before anything else.
 * by: the starting thread, after ush_journal_start and before the loops run; loop 0. */
void ush_loop_resume(struct ush_loop *loop, uint64_t credit_ns, uint64_t now_ns);

/* Counters of one loop; written by its core, read by anyone (each word on its own). */
struct ush_loop_counters {
	uint64_t rx_packets;
	uint64_t rx_bytes;
	uint64_t control_messages;
	uint64_t status[USH_STATUS_COUNT];
	uint64_t op[256];
	uint64_t answer[USH_ANSWER_COUNT];
	uint64_t drop[USH_DROP_COUNT];
	uint64_t turns;
	uint64_t idle_turns;
	/* Journal records written. */
	uint64_t records;
	uint64_t expired;
	uint64_t waiting;
	uint64_t repeated;
	/* Wait-lists: offers made; users taken off for the limit of their seats. */
	uint64_t wait_offers;
	uint64_t wait_skipped;
	/* Admission: frames by verdict; with it on since the start they add up to rx_packets, but
	 * for those that never reached a loop. */
	uint64_t verdict[USH_VERDICT_COUNT];
};

/*
 * Puts a configuration of admission in force; from the first on admission is on. Events follow the
 * policies in config->event.
 * in: the limits have buckets. by: one thread; not before every loop has made a turn since the last
 * one.
 */
void ush_engine_admission(struct ush_engine *engine, const struct ush_admit_config *config);

/* ret: what admission follows now, until the caller's next turn; NULL: it is off. by: the loops. */
const struct ush_admit_config *ush_engine_admission_config(const struct ush_engine *engine);

/* ret: the secret of the places of buckets, made from that of hold ids. */
struct ush_key ush_engine_table_key(const struct ush_key *hold_key);

struct ush_admission_view {
	uint32_t on;
	uint32_t load_bits;
	/* Buckets replaced while not yet full. */
	uint64_t source_evicted;
	uint64_t user_evicted;
};

/* What admission is doing. by: any thread. */
void ush_engine_admission_read(const struct ush_engine *engine, struct ush_admission_view *view);

/* Copies the counters. Between turns rx_packets + control_messages = sum(status) + sum(answer) +
 * sum(drop); a reply is counted when it is decided, waiting ones too. by: any thread. */
void ush_loop_counters_read(const struct ush_loop *loop, struct ush_loop_counters *counters);

/* What STATUS would say of an event; false when it is not loaded. by: any thread. */
struct ush_event_view {
	uint32_t event;
	uint32_t status;
	uint32_t row_count;
	uint32_t seat_count;
	uint32_t free_count;
	uint32_t house_count;
	uint32_t sold_count;
	/* Times it was changed, and the number of the price list of new holds. */
	uint32_t changes;
	uint32_t prices;
	uint64_t digest;
};
bool ush_engine_event_view(
	const struct ush_engine *engine, uint32_t event_id, struct ush_event_view *view);

#endif /* USH_LOOP_H */
