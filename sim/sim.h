/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One simulated box with its clients, network, disk and clock: everything that happens in it is
 * drawn from one seed.
 *
 * Owns:  struct sim, its configuration, what clients asked and what left the box.
 * Reads: the engine's and the journal's insides, to compare them.
 * Never: real time, real files, real threads.
 */
#ifndef USH_SIM_H
#define USH_SIM_H

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "journal/journal.h"
#include "loop/internal.h"
#include "parse/pack.h"
#include "ledger.h"
#include "tests/fake_disk.h"

#define SIM_LOOPS_MAX 3u
#define SIM_EVENTS_MAX 2u
#define SIM_ROWS_MAX 8u
#define SIM_USERS_MAX 12u
#define SIM_LEGS_MAX 7u
/* Channels that are used, 1 to this. */
#define SIM_CHANNELS 2u
#define SIM_TIERS 2u
#define SIM_TIER_PRICE(tier) (2500u - 1000u * (tier))
#define SIM_ASKS_MAX 8192u
#define SIM_MESSAGES_MAX 256u
#define SIM_BUFFERS 4352u
#define SIM_BUFFER_BYTES 2048u
/* So small that a list of bookings has several pages. */
#define SIM_PAGE_BYTES 640u
#define SIM_BOOKINGS_MAX (SIM_PAGE_BYTES / sizeof(struct ush_booking))
#define SIM_SECOND 1000000000ull
#define SIM_START_NS (1700000000ull * SIM_SECOND)

/* What a request carries for admission, and what is wrong with it. */
enum sim_credential {
	SIM_GOOD,
	SIM_NONE,
	SIM_FORGED,
	/* Of a key, an event, a user that it is not good for; too late. */
	SIM_KEY,
	SIM_EVENT,
	SIM_USER,
	SIM_LATE,
	SIM_CREDENTIALS,
	/* A token as the waiting room gave it. */
	SIM_GIVEN = SIM_CREDENTIALS,
};

/* Users of waiting rooms are 1 to this; only those below the run's users buy. */
#define SIM_GUESTS_MAX (LEDGER_GUESTS - 1)
#define SIM_DEVICES 3u
#define SIM_ROOM_USERS_MAX 64u

/* Which queue ticket a request carries. */
enum sim_ticket {
	/* The newest that the user was given, or the first. */
	SIM_TICKET_GOOD,
	SIM_TICKET_FIRST,
	SIM_TICKET_NONE,
	/* Somebody else's, of another event, with a bit that is another. */
	SIM_TICKET_USER,
	SIM_TICKET_EVENT,
	SIM_TICKET_BENT,
	SIM_TICKETS,
};

/* Buckets of each table of admission: so few that they push out one another. */
#define SIM_ADMIT_BUCKETS 16u
#define SIM_ADMIT_SETS 64u
/* Of a request in its frame: behind Ethernet, IPv4 and UDP. */
#define SIM_PAYLOAD_AT 42u
/* A datagram of two base messages. */
#define SIM_PART_BYTES (SIM_PAYLOAD_AT + 2 * USH_REQUEST_BYTES)

/* What a run is made of. Rates are per 1,000 chances. */
struct sim_config {
	uint32_t steps;
	uint32_t loops, events, rows, seats, users, user_seats_max, hold_ms;
	uint32_t hold_lines, log_blocks, acks;
	uint32_t depth, write_blocks, spares;
	/* Messages handed to a turn at most; milliseconds that pass at a step of the clock. */
	uint32_t burst, pace_ms;
	/* Records asked for at once by one who never stops; 0: nobody. */
	uint32_t flood;
	/* Network. */
	uint32_t lose, duplicate, lie;
	/* Disk: kinds of completion, and what is found damaged after a crash. */
	uint32_t slow, fail, cut_short, misdirect, unwritten, rot, full;
	/* Clock. */
	uint32_t jump, step_back, stall;
	/* Ends of the process, of the power, in the middle of recovery; orderly ends. */
	uint32_t kill, power, recovery, orderly;
	/* Another number of loops after a restart. */
	bool reshape;
	/* The event: sections, whether the last is an area, how seats are chosen (venue_header);
	 * whether channels are used; how often a change of status is the last. */
	uint32_t sections, best, channels, cancel;
	/* 0: none. */
	uint32_t hold_budget_s, cool_down_ms;
	/* How often the operator changes an event, per 1,000 times that somebody asks. */
	uint32_t change;
	/* enum ush_admission_check, 0: admission is off; milliseconds for each request of an
	 * address, and for each try of a user. */
	uint32_t admission, source_ms, user_ms;
	/* Whether anybody swaps, pays late, lists bookings, waits for one tier. */
	bool swaps, late, listings, tiers;
	bool area;
	/* Users who queue, 0: there are no waiting rooms; what a room is opened with. */
	uint32_t guests, room_users, device_users, slow_places, cap;
	/* A lobby is closed at one in so many of the operator's looks. */
	uint32_t lobby;
};

#define SIM_TOTALS_EACH(X) \
	X(schedules) \
	X(steps) \
	X(turns) \
	X(requests) \
	X(replies) \
	X(records) \
	X(holds) \
	X(waiting) \
	X(offers) \
	X(sold) \
	X(chosen) \
	X(channel_sales) \
	X(cut) \
	X(extended) \
	X(payments) \
	X(payments_failed) \
	X(payments_late) \
	X(refunds) \
	X(refunds_of_some) \
	X(transfers) \
	X(swaps) \
	X(late_sales) \
	X(pages) \
	X(listings) \
	X(admitted) \
	X(turned_away) \
	X(joins) \
	X(draws) \
	X(called) \
	X(exchanges) \
	X(tickets_refused) \
	X(tokens_used) \
	X(kept) \
	X(cancelled) \
	X(changed) \
	X(rows_added) \
	X(priced) \
	X(expired) \
	X(repeated) \
	X(crashes) \
	X(power_cuts) \
	X(recovery_crashes) \
	X(fail_stops) \
	X(orderly_ends) \
	X(starts) \
	X(replays) \
	X(lost) \
	X(duplicated) \
	X(lies) \
	X(clock_jumps) \
	X(clock_steps_back) \
	X(writes) \
	X(writes_out_of_order) \
	X(writes_failed) \
	X(writes_short) \
	X(writes_misdirected) \
	X(writes_dropped) \
	X(blocks_rotted) \
	X(refused_starts) \
	X(rot_windows) \
	X(disk_full) \
	X(torn_blocks) \
	X(blocks)

struct sim_totals {
#define X(name) uint64_t name;
	SIM_TOTALS_EACH(X)
#undef X
};

/* A queue ticket: what JOIN answers, and TICKET carries. */
struct sim_pass {
	uint64_t number;
	uint64_t tag;
	/* Tier and key id; 0: none. */
	uint32_t value;
	bool known;
};

/* Something a client once asked. Its number plus one is the cookie. */
struct sim_ask {
	struct ush_request request;
	struct ush_leg legs[SIM_LEGS_MAX];
	uint8_t leg_count;
	/* GIVE extension. */
	struct ush_leg gives[SIM_LEGS_MAX];
	uint8_t give_count;
	/* enum sim_credential; the token is good until then. */
	uint8_t token, mac;
	uint64_t token_end_ns;
	/* SIM_GIVEN: the rest of it. */
	uint64_t token_user;
	uint64_t token_tag;
	uint32_t token_value;
	/* TICKET extension: enum sim_ticket, and the ticket if known. DEVICE extension, 0: none. */
	uint8_t ticket;
	struct sim_pass pass;
	/* To whom the box gave it; 0: to nobody. */
	uint64_t pass_user;
	uint32_t pass_event;
	uint64_t device;
	/* A draw with a seed that was not published. */
	bool wrong_seed;
	/* Records below were durable when it was first thought of. */
	uint64_t asked_at;
	uint32_t asked_boot;
	/* CHANNEL extension; 0: none. */
	uint8_t channel;
	uint32_t key_number;
	uint64_t tag;
	/* The tag is not of the key for this user. */
	bool forged;
	/* PAD: room for so many seats' rows in the reply. */
	uint8_t pad_legs;
	bool control;
	/* Not a request at all: only noise. */
	bool noise;
	/* No honest client asks it. */
	bool lie;
	/* The client has an answer. */
	bool answered;
	/* What left the box first; boot 0: nothing yet. */
	uint32_t out_boot;
	uint8_t out_status;
	uint8_t out_state;
	uint16_t out_version;
	uint64_t out_hold;
	uint64_t out_sequence;
};

/* A channel's key, as those have it who sell for it. */
struct sim_key {
	bool known;
	uint32_t number;
	struct ush_key key;
};

/* Somebody who queues for an event: tickets and token as the box gave them. */
struct sim_guest {
	struct sim_pass first, newest;
	/* The turn has come, so they were told. */
	bool is_due;
	bool has_token;
	uint32_t token_value;
	uint64_t token_end_ns;
	uint64_t token_tag;
};

/* What check_room knows of a room beside the ledger. */
struct sim_room {
	/* By user: the queue number that the draw gives; [0]: of void places. */
	uint64_t number[LEDGER_GUESTS];
	/* Now-serving as it was told, at least; as far as the controller let in. */
	uint64_t told;
	uint64_t let_in;
	/* Newest ticket key that was appended. */
	uint8_t key_id;
	/* Of the controller: before this step; people times 60 s in ns whom the cap allows. */
	uint64_t before;
	uint64_t before_ns;
	uint64_t credit;
};

/* What an operator knows of a lobby that is closed: the root of its list. */
struct sim_lobby {
	bool listed;
	uint8_t root[32];
};

/* On its way to the box (reply.magic 0) or back. */
struct sim_message {
	uint32_t ask;
	bool garbled;
	struct ush_reply reply;
};

/* What the disk said of a block, and where it put it. */
struct sim_block {
	struct fake_file *file;
	uint64_t offset;
	uint64_t watermark;
	uint32_t crc;
	bool bad;
};

/* Bytes that should stand where a disk that lies has put something else. */
struct sim_mend {
	struct fake_file *file;
	uint64_t offset;
	uint64_t size;
	uint8_t *right;
	uint8_t *wrong;
};

#define SIM_MENDS_MAX 32u

/* Blocks whose write completed before an earlier one. */
struct sim_early {
	uint64_t block;
	struct fake_file *file;
	uint64_t offset;
	uint8_t *data;
};

#define SIM_EARLY_MAX 1024u

/* What check_time knows of users, and of holds by the index in their id. */
#define SIM_TIMED_HOLDS 4096u
struct sim_times {
	uint32_t held_s[LEDGER_EVENTS][LEDGER_USERS];
	uint64_t cool_until_ns[LEDGER_EVENTS][LEDGER_USERS];
	bool offer[SIM_TIMED_HOLDS];
	uint64_t seats[SIM_TIMED_HOLDS];
	uint64_t deadline_ns[SIM_TIMED_HOLDS];
};

/* An operator goes through an event's bookings. */
struct sim_listing {
	bool active;
	bool refund;
	uint32_t event;
	/* When its first page was asked for: what was durable, and in which process. */
	uint64_t asked_at;
	uint32_t boot;
	/* Where its next page begins; only an ask after this one may be that. */
	uint64_t next;
	uint32_t ask;
	/* By number of the hold. */
	bool met[LEDGER_HOLDS_MAX];
};

struct sim {
	uint64_t seed;
	struct sim_config config;
	struct sim_totals *totals;
	struct ush_random random;
	uint64_t hash;
	bool trace;
	uint32_t step;
	/* Faults have ended; everything must be answered. */
	bool calm;
	/* ---- clock ---- */
	uint64_t now_ns;
	uint64_t loop_now_ns[SIM_LOOPS_MAX];
	uint32_t stalled_steps;
	/* ---- disk ---- */
	struct fake_disk *fake;
	struct ush_disk disk, under;
	/* Everything completes when it is reaped. */
	bool disk_is_prompt;
	/* The disk of a flood is not slow for a while. */
	bool thawed;
	struct sim_block *blocks;
	uint64_t blocks_room;
	/* First block that the disk has not confirmed with all before it. */
	uint64_t confirmed;
	struct sim_early early[SIM_EARLY_MAX];
	uint32_t early_count;
	struct sim_mend mends[SIM_MENDS_MAX];
	uint32_t mend_count;
	/* First block that a disk that lies has spoilt; UINT64_MAX: none. */
	uint64_t bad_block;
	/* Where the newest epoch known to have started began. */
	uint64_t epoch_block;
	/* ---- box ---- */
	bool up;
	uint32_t boot;
	uint32_t loops;
	uint32_t recovery_crashes_left;
	struct ush_engine_limits limits;
	struct ush_journal *journal;
	struct ush_engine *engine;
	struct ush_journal_report report;
	uint64_t log_seen;
	struct ush_net net;
	struct ush_loop_out out;
	bool event_asked[SIM_EVENTS_MAX + 1];
	/* Of ledger.plan; [0] is what events are loaded with. */
	void *image[LEDGER_PLANS];
	size_t image_bytes[LEDGER_PLANS];
	/* Of what the operator changes: no draw of other runs. */
	struct ush_random change_random;
	uint32_t sections;
	struct ush_venue_section section[SIM_ROWS_MAX];
	/* Seats of tier 1; all others are of tier 0. */
	uint64_t second_tier[SIM_ROWS_MAX];
	/* The last end was orderly. */
	bool ended_cleanly;
	/* A started run that cannot go on: the disk lost what it alone knew of. */
	bool over;
	/* ---- check_time: as far as was appended, as far as is durable ---- */
	struct sim_times times_seen, times_kept;
	/* ---- clients and network ---- */
	struct sim_ask *asks;
	uint32_t ask_count;
	/* The flood's ask, plus one. */
	uint32_t flood_ask;
	uint32_t next_id[SIM_EVENTS_MAX + 1][SIM_USERS_MAX + 1];
	struct sim_key keys[SIM_EVENTS_MAX + 1][SIM_CHANNELS + 1];
	struct sim_guest guest[SIM_EVENTS_MAX + 1][SIM_GUESTS_MAX + 1];
	struct sim_lobby lobby[SIM_EVENTS_MAX + 1];
	struct sim_room room[SIM_EVENTS_MAX + 1];
	/* PLACES of the reply that just left. */
	struct ush_room_entry reply_places[2 * SIM_ROOM_USERS_MAX];
	uint32_t reply_place_count;
	/* SEATS of the reply that just left. */
	struct ush_leg reply_legs[USH_LEG_COUNT_MAX];
	uint32_t reply_leg_count;
	/* BOOKINGS of that reply. */
	struct ush_booking reply_bookings[SIM_BOOKINGS_MAX];
	uint32_t reply_booking_count;
	/* The page that an operator wants next, of which listing; cursor 0: they begin anew. */
	uint32_t page_event;
	uint64_t page_next;
	struct sim_message to_box[SIM_MESSAGES_MAX];
	uint32_t to_box_count;
	struct sim_message to_client[SIM_MESSAGES_MAX];
	uint32_t to_client_count;
	uint8_t *buffers;
	uint16_t free_buffers[SIM_BUFFERS];
	/* Requests of datagrams of several, until the turn's end. */
	uint8_t parts[USH_LOOP_BURST][SIM_PART_BYTES];
	uint32_t part_count;
	uint32_t free_buffer_count;
	/* ---- checkers ---- */
	struct ledger ledger;
	/* Turns that a hold past its deadline was left alone; its generation. */
	uint16_t late_turns[1024];
	uint16_t late_generation[1024];
	/* When its loop last saw a line in another state than HELD. */
	uint64_t busy_ns[1024];
	/* Turns of work that a wheel may lag behind; when its loop had its last turn. */
	uint32_t backlog_turns[SIM_LOOPS_MAX];
	uint64_t turn_before_ns[SIM_LOOPS_MAX];
	/* check_auditor: the run that its book is of; 0: none. */
	uint64_t audited_seed;
	/* check_bookings: the listing under way. */
	struct sim_listing listing;
	bool failed;
	bool failed_live;
	char checker[24];
	char what[400];
};

/* ---- run.c ---- */

/* Runs one schedule. ret: false if a checker failed. */
bool sim_run(struct sim *sim, uint64_t seed, uint32_t steps, bool liveness);
/* Memory that all runs of a process share. */
void sim_init(struct sim *sim, struct sim_totals *totals);

uint64_t sim_below(struct sim *sim, uint64_t bound);
/* ret: true `rate` times in 1,000. Never in the calm. */
bool sim_chance(struct sim *sim, uint32_t rate);
/* Mixes what happened into the trace hash, and prints it under --trace. */
void sim_note(struct sim *sim, const char *what, uint64_t a, uint64_t b);
/* A checker found something. Only the first counts. */
void sim_fail(struct sim *sim, const char *checker, const char *format, ...) USH_PRINTF(3, 4);

/* ---- swarm.c ---- */

void sim_draw_config(struct sim *sim, uint32_t steps);
void sim_print_config(const struct sim *sim, FILE *out);

/* ---- disk.c ---- */

void sim_disk_make(struct sim *sim);
void sim_disk_free(struct sim *sim);
/* One write under way completes, well or badly. */
void sim_disk_complete(struct sim *sim);
void sim_disk_complete_all(struct sim *sim);
/* What is under way when the process or the power ends. */
void sim_disk_crash(struct sim *sim, bool power);
/* Something that was durable rots. */
void sim_disk_rot(struct sim *sim);
void sim_disk_mend(struct sim *sim);
/* ret: blocks below are known to have been durable by something that stands elsewhere. */
uint64_t sim_disk_known(const struct sim *sim);
/* A block is durable with all before it. */
void sim_disk_confirm(struct sim *sim, uint64_t block, struct fake_file *file, uint64_t offset,
	const uint8_t *data);

/* ---- box.c ---- */

/* The chance that a new box file asks of the system. */
void sim_box_seed(uint64_t seed);
void sim_box_start(struct sim *sim);
void sim_box_crash(struct sim *sim, bool power);
/* Ends as a box that is told to. */
void sim_box_end(struct sim *sim);
void sim_box_turn(struct sim *sim, uint32_t loop);
void sim_box_journal(struct sim *sim);
void sim_box_housekeep(struct sim *sim);
/* The pace of waiting rooms is kept. */
void sim_box_pace(struct sim *sim);
/* Replays what stands on the disk into `engine`, as an audit beside the box would.
 * ret: 0, or an error with its message. */
int sim_box_replay(struct sim *sim, struct ush_engine **engine, struct ush_message *message);

/* ret: true if the row is of the area. */
bool sim_is_area(const struct sim *sim, uint32_t row);
/* ret: price of seats by a price list of the event, minor units; UINT64_MAX: no such list yet. */
uint64_t sim_price(
	const struct sim *sim, uint32_t event, uint32_t list, uint32_t row, uint64_t mask);

/* ---- clients.c ---- */

/* Somebody asks something: new, again, or something they should not. */
void sim_client_act(struct sim *sim);
/* Asks again whatever has no answer. ret: asks that wait. */
uint32_t sim_client_insist(struct sim *sim);

/* ---- network.c ---- */

/* A client gets an answer, if there is one on its way. */
void sim_client_receive(struct sim *sim);
/* Takes a message to the box. ret: false: there is none; else the packet for the loop's turn. */
bool sim_network_take(struct sim *sim, uint32_t loop, struct ush_packet *packet);
/* Adds an extension with `bytes` of a body; no body: zeros. */
void sim_network_extend(struct ush_request *request, uint8_t *payload, uint8_t type, uint32_t value,
	const void *body, uint32_t bytes);
/* ret: true if the checksum of a packet of the public network is right. */
bool sim_network_is_whole(const struct ush_packet *packet);
/* A packet that a loop handed back. */
void sim_network_free(struct sim *sim, const struct ush_packet *packet);
/* A reply left the box. */
void sim_network_reply(struct sim *sim, const struct ush_packet *packet);
void sim_network_reset(struct sim *sim);

/* ---- admission.c ---- */

/* Fills in what admission of this run minds. */
void sim_admission_config(const struct sim *sim, struct ush_admit_config *config);
/* Gives a new ask a token and a way to be signed. */
void sim_admission_draw(struct sim *sim, struct sim_ask *ask);
/* Puts the extensions that come first behind the base, and the MAC at the end. */
void sim_admission_put(const struct sim *sim, const struct sim_ask *ask,
	struct ush_request *request, uint8_t *payload);
void sim_admission_sign(const struct sim *sim, const struct sim_ask *ask,
	struct ush_request *request, uint8_t *payload);
/* ret: tag of an access token that the box should make; 0: admission is off. */
uint64_t sim_admission_tag(const struct sim *sim, uint32_t value, uint64_t user, uint64_t end_ns);
/* ret: true if it was admission that answered: nothing was decided. */
bool sim_admission_refused(const struct sim *sim, uint8_t status);

/* ---- room.c ---- */

/* The operator's: opens rooms, closes lobbies, has the draw made. ret: the operation to be asked
 * of the event now, 0: none; *arg. */
uint8_t sim_room_next(struct sim *sim, uint32_t event, uint64_t *arg);
/* ret: false if such a message goes to another loop. */
bool sim_room_is_for(const struct sim *sim, const struct sim_ask *ask, uint32_t loop);
/* Puts the extensions of a waiting room's operations. */
void sim_room_put(const struct sim *sim, const struct sim_ask *ask, struct ush_request *request,
	uint8_t *payload);
/* What the housekeeping thread does before a loop has the message. */
void sim_room_prepare(
	struct sim *sim, const struct sim_ask *ask, const uint8_t *payload, uint32_t bytes);
/* Takes the places that a reply names. */
void sim_room_read(struct sim *sim, const struct ush_reply *reply, const uint8_t *payload);
/* Clients and operator learn from a reply that left the box. */
void sim_room_learn(struct sim *sim, const struct sim_ask *ask, const struct ush_reply *reply);
/* Somebody with a token of the room carries it. */
void sim_room_token(struct sim *sim, struct sim_ask *ask);

/* ---- ops.c ---- */

/* ret: the kind of record an operation writes, 0 for none. */
uint8_t sim_op_record(uint8_t op);
/* ret: the operation enters the window of request ids. */
bool sim_op_is_counted(uint8_t op);
/* ret: the operation moves a hold of a named version on. */
bool sim_op_is_versioned(uint8_t op);

#endif /* USH_SIM_H */
