/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of dataplane/loop/ share: the engine, a loop, and a burst being decided.
 *
 * Owns:  see loop.h.
 * Reads: all stages; this is where they meet.
 * Never: included outside dataplane/loop/.
 */
#ifndef USH_LOOP_INTERNAL_H
#define USH_LOOP_INTERNAL_H

#include "ack/ack.h"
#include "admit/admit.h"
#include "admit/device.h"
#include "admit/gate.h"
#include "apply/apply.h"
#include "claim/best.h"
#include "claim/channel.h"
#include "claim/claim.h"
#include "hold/hold.h"
#include "loop/loop.h"
#include "room/queue.h"
#include "user/user.h"
#include "wait/wait.h"

/* Decided changes of one batch: they get their log slots with one fetch-add. */
#define BATCH_ACTS USH_LOOP_BURST
#define BATCH_RECORDS (BATCH_ACTS * 2u)
/* The largest change, SWAP: each leg that is given up, two KEEP records for it, each that is taken;
 * USER_TIME. */
#define ACT_RECORDS_MAX (USH_LEG_COUNT_MAX * 4u + 1u)
static_assert(ACT_RECORDS_MAX == USH_RUN_RECORDS_MAX, "recovery takes the largest change");
static_assert(BATCH_RECORDS >= ACT_RECORDS_MAX, "a batch holds the largest change");

/* Lines and ticks of the wheel looked at in one turn. */
#define EXPIRY_WORK 128u
/* A hold in PAYING is past its deadline: looked at again after so many ticks of the wheel. */
#define PAYING_TICKS 256u
/* A TICK record each second while holds live. */
#define TICK_NS 1000000000ull

enum act_kind {
	ACT_HOLD,
	ACT_RELEASE,
	ACT_EXPIRE,
	ACT_CONFIRM,
	/* HELD, its deadline moved. */
	ACT_EXTEND,
	/* HELD, some seats given back. */
	ACT_CUT,
	/* HELD, some seats given up for others. */
	ACT_SWAP,
	ACT_PAY_BEGIN,
	/* PAYING -> SOLD, HELD, EXPIRED. */
	ACT_PAY_SOLD,
	ACT_PAY_FAILED,
	ACT_PAY_EXPIRED,
	/* NEW -> SOLD. */
	ACT_LATE,
	ACT_REFUND_BEGIN,
	/* REFUNDING -> SOLD with all its seats, SOLD without some, REFUNDED. */
	ACT_REFUND_FAILED,
	ACT_REFUND_SOME,
	ACT_REFUND_ALL,
	/* SOLD, another user's. */
	ACT_TRANSFER,
	ACT_BLOCK,
	ACT_UNBLOCK,
	ACT_EVENT,
	ACT_EVENT_STATUS,
	ACT_EVENT_CHANGE,
	ACT_CHANNEL,
	/* The hold of one who waited. */
	ACT_OFFER,
	ACT_WAIT_JOIN,
	ACT_WAIT_LEAVE,
	ACT_WAIT_TURN,
	ACT_WAIT_OPEN,
	/* Of a waiting room. */
	ACT_ROOM_OPEN,
	ACT_ROOM_JOIN,
	ACT_ROOM_CLOSE,
	ACT_ROOM_DRAW,
	ACT_ROOM_SERVE,
	ACT_ROOM_EXCHANGE,
	ACT_ROOM_SET,
	ACT_ROOM_KEY,
	ACT_TICK,
};

/* A change that has been decided and waits for its slots. */
struct act {
	uint8_t kind;
	uint8_t has_reply;
	uint16_t record_first;
	uint16_t record_count;
	/* Of these the last ones are KEEP records. */
	uint16_t keep_count;
	/* SWAP: before those, records of seats that are taken, and those seats. */
	uint16_t take_count;
	uint16_t seats_taken;
	uint16_t seats;
	/* 1: behind its records stands a PRICES record, and one: a USER_TIME record; record_count
	 * counts neither. */
	uint16_t priced;
	uint16_t timed;
	/* What the hold's `pending` becomes. */
	uint16_t pending;
	uint32_t hold;
	struct ush_user *user;
	/* TRANSFER: the new user. */
	struct ush_user *other;
	struct ush_event *event;
	/* EVENT_CHANGE. */
	struct ush_change *change;
	struct ush_accepted *answer;
	/* Entry of a wait-list that the act is about. */
	struct ush_wait *wait;
	/* Waiting room that it is about; JOIN: `hold` is the place in its table. */
	struct ush_queue *queue;
	/* With has_reply: the request, where it stays until the batch is flushed. */
	struct ush_packet *packet;
	struct ush_reply reply;
};

struct ush_loop {
	struct ush_engine *engine;
	struct ush_hold_pool *pool;
	uint32_t index;
	/* What the turn under way was given. */
	uint64_t now_ns;
	const struct ush_net *net;
	struct ush_loop_out *out;
	/* Room found at the start of the batch. */
	bool room_new;
	bool room_kept;
	uint32_t act_count;
	uint32_t record_count;
	uint64_t tick_ns;
	struct ush_acks acks;
	/* Wait-lists locked until the batch is visible. */
	struct ush_wait_list *lists[BATCH_ACTS];
	uint32_t list_count;
	/* Where the search for lists to be looked at goes on. */
	uint32_t match_from;
	struct ush_loop_counters counters;
	/* Live holds of this loop, for others to read. */
	_Atomic uint32_t live;
	/* What is about to be resumed is counted once. */
	_Alignas(USH_CACHE_LINE) struct act acts[BATCH_ACTS];
	struct ush_record records[BATCH_RECORDS];
	uint64_t sequences[BATCH_RECORDS];
	struct ush_admitted admitted[USH_LOOP_BURST];
	struct ush_packet packets[USH_LOOP_BURST];
	/* Of packets[i], while admission is on. */
	uint32_t payload_bytes[USH_LOOP_BURST];
	/* How full the turns were since then, for the difficulty of proofs of work. */
	uint64_t load_from_ns;
	uint32_t load_turns;
	uint32_t load_full;
};

/* What of a loop was seen when the rooms' pace was set last. */
struct ush_loop_seen {
	uint64_t packets;
	uint64_t turns;
};

struct ush_engine {
	struct ush_engine_limits limits;
	struct ush_log log;
	struct ush_inventory inventory;
	struct ush_holds holds;
	struct ush_users users;
	struct ush_channels channels;
	struct ush_waits waits;
	struct ush_rooms rooms;
	struct ush_devices devices;
	struct ush_state state;
	/* Admission, NULL: without. */
	struct ush_gate *gate;
	struct ush_loop *loops;
	/* Whoever keeps the pace of the waiting rooms. */
	uint64_t rooms_step_ns;
	struct ush_loop_seen seen[USH_LOOP_COUNT_MAX];
};

/* One writer, many readers. */
USH_INLINE void count(uint64_t *counter)
{
	__atomic_store_n(counter, *counter + 1, __ATOMIC_RELAXED);
}

USH_INLINE void count_by(uint64_t *counter, uint64_t by)
{
	__atomic_store_n(counter, *counter + by, __ATOMIC_RELAXED);
}

/* ---- show.c ---- */

/* Makes one act visible, whose last record of its own stands at `last`, reserved and written:
 * holds, users, counts, rows; lets the user go. */
void loop_show(struct ush_loop *loop, struct act *act, uint64_t last);

/* ---- show_room.c ---- */

/* Acts of waiting rooms. */
void show_room(struct ush_loop *loop, struct act *act, uint64_t last);

/* ---- admission.c ---- */

/* Admission of loop->packets[0 to count - 1], requests all: answers or drops those refused, and
 * closes the gaps. ret: how many are left. */
uint32_t admission_judge(struct ush_loop *loop, uint32_t packet_count);

/* Counts the verdict on a frame that the parser ended. in: reason: of a drop, or -1. */
void admission_count_frame(struct ush_loop *loop, int reason);

/* Watches how full the turns are. by: every turn of loop 0. */
void admission_load(struct ush_loop *loop, uint32_t packet_count);

/* ret: true if admission is on. */
USH_INLINE bool admission_on(const struct ush_loop *loop)
{
	const struct ush_gate *gate = loop->engine->gate;

	return ush_unlikely(gate != NULL) && __atomic_load_n(&gate->on, __ATOMIC_ACQUIRE) != 0;
}

/* ---- turn.c: the batch ---- */

/* Makes the batch's changes visible: reserve, publish, then holds, users, rows, replies. */
void loop_flush(struct ush_loop *loop);

/* Flushes if the batch could not take one more change of any size. Called before anything about a
 * request is decided, so that the room found for a batch covers all that is claimed in it. */
USH_INLINE void loop_make_room(struct ush_loop *loop)
{
	if (ush_unlikely(loop->act_count == BATCH_ACTS ||
			 loop->record_count + ACT_RECORDS_MAX > BATCH_RECORDS))
		loop_flush(loop);
}

/* ret: a new act with room for `records` records, which loop_make_room found. The act is part of
 * the batch only after loop_act_done. */
USH_INLINE struct act *loop_act(struct ush_loop *loop, uint32_t records)
{
	struct act *act;

	USH_ASSERT(loop->act_count < BATCH_ACTS);
	USH_ASSERT(loop->record_count + records <= BATCH_RECORDS);
	act = &loop->acts[loop->act_count];
	act->has_reply = 0;
	act->record_first = (uint16_t)loop->record_count;
	act->record_count = 0;
	act->keep_count = 0;
	act->take_count = 0;
	act->priced = 0;
	act->timed = 0;
	act->seats = 0;
	act->pending = 0;
	act->hold = USH_HOLD_NONE;
	act->user = NULL;
	act->other = NULL;
	act->event = NULL;
	act->answer = NULL;
	return act;
}

/* ret: the next record of the act, to be filled in from end to end; its run is
 * {.run_index = place in the act, .run_count = 1} until loop_act_done. */
USH_INLINE struct ush_record *loop_act_next(struct ush_loop *loop, struct act *act)
{
	act->record_count++;
	return &loop->records[loop->record_count++];
}

/* ret: the next record of the act, zeroed but for its run. */
USH_INLINE struct ush_record *loop_act_record(struct ush_loop *loop, struct act *act)
{
	uint8_t place = (uint8_t)act->record_count;
	struct ush_record *record = loop_act_next(loop, act);

	*record = (struct ush_record){.run_index = place, .run_count = 1};
	return record;
}

/* Completes an act of several records, or of seats that may have to stay off sale. */
void loop_act_run(struct ush_loop *loop, struct act *act);

USH_INLINE void loop_act_done(struct ush_loop *loop, struct act *act)
{
	USH_ASSERT(act == &loop->acts[loop->act_count]);
	USH_ASSERT(act->record_count >= 1);
	if (ush_unlikely(
		    act->record_count > 1 || (act->event != NULL && ush_event_keeps(act->event))))
		loop_act_run(loop, act);
	loop->act_count++;
}

/* Sends a reply at once: it reveals no change. */
void loop_reply_now(
	struct ush_loop *loop, struct ush_packet *packet, const struct ush_reply *reply);

/* Sends a reply once everything up to `sequence` is durable. */
void loop_reply_after(struct ush_loop *loop, struct ush_packet *packet,
	const struct ush_reply *reply, uint64_t sequence);

void loop_refuse(struct ush_loop *loop, struct ush_packet *packet,
	const struct ush_admitted *admitted, enum ush_status status, uint32_t detail);

void loop_drop(struct ush_loop *loop, const struct ush_packet *packet, enum ush_drop reason);

/* ret: the payload of a packet. */
USH_INLINE uint8_t *loop_payload(const struct ush_packet *packet)
{
	return packet->data + packet->payload_at;
}

/* ---- decide_*.c ---- */

/* Legs of a claim, sorted by row. */
struct decide_legs {
	uint32_t count;
	uint32_t seats;
	uint16_t row[USH_LEG_COUNT_MAX];
	uint64_t mask[USH_LEG_COUNT_MAX];
	/* Place in the request, for `detail`. */
	uint8_t place[USH_LEG_COUNT_MAX];
};

/* Legs that a search has found. */
void decide_legs_chosen(struct decide_legs *legs, const struct ush_best_legs *chosen);

/* Claims all legs or none. out: *place and *way: the leg that was lost and the seats in the way. */
enum ush_claim decide_legs_claim(
	const struct decide_legs *legs, struct ush_event *event, uint32_t *place, uint64_t *way);

/* What every request for a new hold begins with: user's line, repeat, life of the hold.
 * in: event: as found; may be NULL. ret: false: answered. out: *takes: OK with the user's line
 * locked, or why there is no new hold; *user may be locked then, too. */
bool decide_begin_hold(struct ush_loop *loop, struct ush_packet *packet,
	const struct ush_admitted *admitted, const struct ush_event *event, struct ush_user **user,
	enum ush_status *takes, uint32_t *detail);

/* The seats are claimed, lines and answer are there: the hold joins the batch. ret: its act. */
struct act *decide_grant(struct ush_loop *loop, struct ush_packet *packet,
	const struct ush_admitted *admitted, struct ush_event *event, struct ush_user *user,
	const struct decide_legs *legs);

/* RESERVE_BEST and RESERVE_AREA. */
void decide_best(
	struct ush_loop *loop, struct ush_packet *packet, const struct ush_admitted *admitted);

/* ret: legs that a reply to this request may name. */
uint32_t decide_best_room(const struct ush_packet *packet, const struct ush_admitted *admitted);

/* Adds the seats of a hold to a reply, if there is room for all. */
void decide_best_describe(const struct ush_engine *engine, struct ush_packet *packet,
	const struct ush_admitted *admitted, const struct ush_hold *hold, struct ush_reply *reply);

/* Decides one admitted request. */
void decide(struct ush_loop *loop, struct ush_packet *packet, struct ush_admitted *admitted);

void decide_reserve(
	struct ush_loop *loop, struct ush_packet *packet, const struct ush_admitted *admitted);
void decide_release(
	struct ush_loop *loop, struct ush_packet *packet, const struct ush_admitted *admitted);
void decide_confirm(
	struct ush_loop *loop, struct ush_packet *packet, const struct ush_admitted *admitted);
void decide_query_hold(
	struct ush_loop *loop, struct ush_packet *packet, const struct ush_admitted *admitted);
void decide_query_section(
	struct ush_loop *loop, struct ush_packet *packet, const struct ush_admitted *admitted);
void decide_status(
	struct ush_loop *loop, struct ush_packet *packet, const struct ush_admitted *admitted);
void decide_event_load(
	struct ush_loop *loop, struct ush_packet *packet, const struct ush_admitted *admitted);
void decide_event_status(
	struct ush_loop *loop, struct ush_packet *packet, const struct ush_admitted *admitted);
void decide_event_change(
	struct ush_loop *loop, struct ush_packet *packet, const struct ush_admitted *admitted);

/* Adds a PRICES record to an act that makes a hold by another list than the event's first. by:
 * loop_act_done. */
void decide_priced(struct ush_loop *loop, struct act *act);

/* ret: the price list of a hold. in: index of its first line. */
const struct ush_prices *decide_prices(
	const struct ush_loop *loop, const struct ush_event *event, uint32_t index);

void decide_house(
	struct ush_loop *loop, struct ush_packet *packet, const struct ush_admitted *admitted);

/* Expires what is due, bounded. ret: holds settled. */
uint32_t decide_expiry(struct ush_loop *loop);

/*
 * Looks the request's user line up and locks it, flushing the batch when this loop itself holds
 * it. On anything but a lock or an absent line the request has been answered.
 * ret: true with *line set, or NULL in *line when absent (make == false); false: answered.
 */
bool decide_lock_user(struct ush_loop *loop, struct ush_packet *packet,
	const struct ush_admitted *admitted, bool make, struct ush_user **line);

/* Answers a request id that is done already, and unlocks. ret: true if it was. */
bool decide_repeat(struct ush_loop *loop, struct ush_packet *packet,
	const struct ush_admitted *admitted, struct ush_user *line);

/* Remembers a refusal, unlocks, and answers. */
void decide_refuse_done(struct ush_loop *loop, struct ush_packet *packet,
	const struct ush_admitted *admitted, struct ush_user *line, struct ush_reply *reply);

/* State, deadline and amount of a hold into a reply. */
void decide_describe(const struct ush_engine *engine, uint32_t index, struct ush_reply *reply);

/* ret: the hold an id names if it is this user's in this event and not over; else NULL. */
struct ush_hold *decide_find_hold(
	const struct ush_engine *engine, const struct ush_request *request, uint32_t *index);

/* Adds the act of a change of a hold, with `records` records that are alike but for their place in
 * the run; the hold's word is CASed to BUSY first. act->seats: all of the hold's.
 * ret: NULL if the hold is not in the state that the act starts from, or another loop is at it. */
struct act *decide_transition(struct ush_loop *loop, enum act_kind kind, uint32_t index,
	struct ush_user *user, uint32_t records);

/* What requests about a hold begin with: finds the event, locks the user, answers repeats (window),
 * finds the hold, wants room. ret: the hold with *user and *index set; NULL: answered. */
struct ush_hold *decide_open_hold(struct ush_loop *loop, struct ush_packet *packet,
	const struct ush_admitted *admitted, bool window, struct ush_user **user, uint32_t *index);

/* Unlocks and answers a request that changed nothing. */
void decide_answer_unlocked(struct ush_loop *loop, struct ush_packet *packet,
	const struct ush_admitted *admitted, struct ush_user *user, enum ush_status status);

/* Unlocks and answers with the hold as it is now; a window request is used up. */
void decide_answer_state(struct ush_loop *loop, struct ush_packet *packet,
	const struct ush_admitted *admitted, struct ush_user *user, uint32_t index,
	enum ush_status status);

/* The hold's deadline is past: it ends here, and the request is answered EXPIRED. */
void decide_expire_and_answer(struct ush_loop *loop, struct ush_packet *packet,
	const struct ush_admitted *admitted, struct ush_user *user, uint32_t index);

/* Gives an act the reply that names its sequence. */
void decide_reply(struct act *act, struct ush_packet *packet, const struct ush_reply *reply);

/* Gives back some seats of a hold: RELEASE with legs. */
void decide_cut(struct ush_loop *loop, struct ush_packet *packet,
	const struct ush_admitted *admitted, struct ush_user *user, uint32_t index);

/* Claims the seats that a request names. in: given: seats given up for them, free for the orphan
 * rule; NULL: that rule does not bind. ret: OK, with *legs; or the refusal with *place and *way. */
enum ush_status decide_claim_named(struct ush_loop *loop, const struct ush_admitted *admitted,
	struct ush_event *event, uint32_t channel, const struct ush_best_legs *given,
	struct decide_legs *legs, uint32_t *place, uint64_t *way);

/* Gives back what decide_claim_named has claimed: it gets no record. */
void decide_unclaim(struct ush_loop *loop, const struct decide_legs *legs, struct ush_event *event,
	uint32_t channel);

/* Seats named by a request, row by row. */
struct decide_named {
	uint32_t count;
	uint16_t row[USH_LEG_COUNT_MAX];
	uint64_t mask[USH_LEG_COUNT_MAX];
};

uint32_t decide_named_seats(const struct decide_named *named);

/* ret: the leg of a hold that has seats of a row, or NULL. */
struct ush_hold *decide_leg_of(const struct ush_holds *holds, struct ush_hold *leg, uint16_t row);

/* The act's records become one for each row named. what_is_left: amount is the price of what the
 * leg keeps, else of what is named. ret: the price of what is named. */
uint64_t decide_name_seats(struct ush_loop *loop, struct act *act, struct ush_hold *hold,
	const struct decide_named *named, bool what_is_left);

void decide_swap(
	struct ush_loop *loop, struct ush_packet *packet, const struct ush_admitted *admitted);
void decide_extend(
	struct ush_loop *loop, struct ush_packet *packet, const struct ush_admitted *admitted);
void decide_pay_begin(
	struct ush_loop *loop, struct ush_packet *packet, const struct ush_admitted *admitted);
void decide_pay_end(
	struct ush_loop *loop, struct ush_packet *packet, const struct ush_admitted *admitted);
void decide_pay_late(
	struct ush_loop *loop, struct ush_packet *packet, const struct ush_admitted *admitted);
void decide_refund_begin(
	struct ush_loop *loop, struct ush_packet *packet, const struct ush_admitted *admitted);
void decide_refund_end(
	struct ush_loop *loop, struct ush_packet *packet, const struct ush_admitted *admitted);

void decide_transfer(
	struct ush_loop *loop, struct ush_packet *packet, const struct ush_admitted *admitted);

/* Answers once everything reserved so far is durable. */
void decide_reply_after_all(
	struct ush_loop *loop, struct ush_packet *packet, struct ush_reply *reply);

/* ret: an act with one record about an event and the reply to a privileged request. */
struct act *decide_event_act(struct ush_loop *loop, struct ush_packet *packet,
	const struct ush_admitted *admitted, struct ush_event *event, enum act_kind kind,
	enum ush_record_type type);

/* Adds KEEP records to an act that gives seats back: of those that stay off sale. by:
 * loop_act_done.
 */
void decide_keep(struct ush_loop *loop, struct act *act);

/* ret: seats of a hold. */
uint32_t decide_hold_seats(const struct ush_holds *holds, const struct ush_hold *hold);

/* ---- decide_time.c: of events that are timed; the user's line is locked ---- */

/* ret: OK, COOL_DOWN or HOLD_BUDGET for a new hold. out: *detail: of the refusal. */
enum ush_status decide_time_new(const struct ush_loop *loop, const struct ush_event *event,
	const struct ush_user *user, uint32_t seats, uint32_t hold_ms, uint32_t *detail);

/* ret: false if the budget does not allow so many seats from one moment to the other. */
bool decide_time_longer(const struct ush_loop *loop, const struct ush_event *event,
	const struct ush_user *user, uint32_t seats, uint64_t from_ns, uint64_t to_ns,
	uint32_t *detail);

/* The same for seats taken for those given up, to the end of the hold. */
bool decide_time_swap(const struct ush_loop *loop, const struct ush_event *event,
	const struct ush_user *user, uint32_t taken, uint32_t given, uint64_t deadline_ns,
	uint32_t *detail);

/* ret: true: a new hold of so many seats was refused, and the user's line let go. */
bool decide_refuse_time(struct ush_loop *loop, struct ush_packet *packet,
	const struct ush_admitted *admitted, const struct ush_event *event, struct ush_user *user,
	uint32_t seats);

/* Adds a USER_TIME record to an act that moves the user's times. by: loop_act_done. */
void decide_time(struct ush_loop *loop, struct act *act);

/* ret: true if the request has the key of the channel it names. */
bool decide_channel_key_good(const struct ush_loop *loop, const struct ush_admitted *admitted,
	const struct ush_event *event);

/* ret: false if the request names a channel and does not have its key. */
USH_INLINE bool decide_channel(const struct ush_loop *loop, const struct ush_admitted *admitted,
	const struct ush_event *event)
{
	return ush_likely(admitted->channel == 0) || decide_channel_key_good(loop, admitted, event);
}

/* ret: seats of a row that are free for those who have the channel's key only. */
uint64_t decide_channel_available(
	const struct ush_loop *loop, const struct ush_event *event, uint32_t channel, uint32_t row);

/* Gives back a claim of decide_channel_claim that gets no record. */
void decide_channel_unclaim(struct ush_loop *loop, const struct decide_legs *legs,
	struct ush_event *event, uint32_t channel);

/* As decide_legs_claim; seats of the channel count as free. */
enum ush_claim decide_channel_claim(struct ush_loop *loop, const struct decide_legs *legs,
	struct ush_event *event, uint32_t channel, uint32_t *place, uint64_t *way);

void decide_bookings(
	struct ush_loop *loop, struct ush_packet *packet, const struct ush_admitted *admitted);

void decide_channel_key(
	struct ush_loop *loop, struct ush_packet *packet, const struct ush_admitted *admitted);

/* WAIT_LIST. */
void decide_wait_list(
	struct ush_loop *loop, struct ush_packet *packet, const struct ush_admitted *admitted);

/* How a user stands with the wait-list of an event, into a reply. out: *rests_on: raised to the
 * sequence that this rests on. ret: the entry, or NULL. by: who has locked the user's line. */
struct ush_wait *decide_wait_describe(struct ush_loop *loop, const struct ush_request *request,
	struct ush_reply *reply, uint64_t *rests_on);

/* The answer to a JOIN or LEAVE that was done before. ret: what it rests on, at least `rests_on`.
 */
uint64_t decide_wait_repeat(struct ush_loop *loop, const struct ush_admitted *admitted,
	struct ush_reply *reply, uint64_t rests_on);

/* Locks a wait-list until the batch is visible. ret: false: another loop has it. */
bool decide_wait_lock(struct ush_loop *loop, struct ush_wait_list *list);

/* The hold of an offer has ended, or is sold: it is an offer no more. */
void decide_wait_over(struct ush_loop *loop, struct ush_hold *hold);

/* Seats that come back are set aside; the list will be looked at. in: the record has its slot. */
void decide_wait_aside(struct ush_loop *loop, struct ush_event *event, uint16_t row, uint64_t mask);

/* Fills in lines and records of a new hold. */
void decide_fill_hold(struct ush_loop *loop, struct act *act, const struct decide_legs *legs,
	const struct ush_admitted *admitted, uint64_t id, uint64_t deadline_ns);

/* ---- match.c ---- */

/* Offers seats that were set aside to those who wait, bounded. ret: changes decided. by: once a
 * turn, with no batch under way. */
uint32_t match_lists(struct ush_loop *loop);

/* ret: true with seats that are free for whoever waits for `seats` of a tier. */
bool match_free(struct ush_event *event, uint32_t tier, uint32_t seats, struct ush_best_legs *legs);

/* After replay: all lists are to be looked at. */
void match_replayed(struct ush_engine *engine);

/* ---- decide_room.c, decide_room_control.c ---- */

void decide_join(
	struct ush_loop *loop, struct ush_packet *packet, const struct ush_admitted *admitted);
void decide_exchange(
	struct ush_loop *loop, struct ush_packet *packet, const struct ush_admitted *admitted);
void decide_position(
	struct ush_loop *loop, struct ush_packet *packet, const struct ush_admitted *admitted);
void decide_room_control(
	struct ush_loop *loop, struct ush_packet *packet, const struct ush_admitted *admitted);
void decide_room_show(
	struct ush_loop *loop, struct ush_packet *packet, const struct ush_admitted *admitted);
void decide_room_places(
	struct ush_loop *loop, struct ush_packet *packet, const struct ush_admitted *admitted);

/* ret: the body of the extension of a request that ush_admit passed, or NULL. out: *value. */
const uint8_t *decide_extension(
	const uint8_t *payload, const struct ush_request *request, uint8_t type, uint32_t *value);

/* An act of a waiting room with `records` zeroed records of a type. */
struct act *decide_room_act(struct ush_loop *loop, struct ush_queue *queue, enum act_kind kind,
	uint8_t type, uint32_t records);

/* Calls what the pace allows, in the rooms that are this loop's. by: once a turn. */
void room_serve(struct ush_loop *loop);

/* ---- room_step.c ---- */

/* After replay: rooms go to their loops. */
void rooms_replayed(struct ush_engine *engine);

/* ---- state_room.c ---- */

/* As ush_engine_save and ush_engine_load, of what is about waiting rooms. err: load: -USH_ECORRUPT
 * or -USH_EFULL with a message. */
int rooms_save(const struct ush_engine *engine, ush_engine_put *put, void *context);
int rooms_load(
	struct ush_engine *engine, ush_engine_get *get, void *context, struct ush_message *message);

/* Whether the request's window goes with its id: RESERVE*, RELEASE, EXTEND, SWAP, WAIT_LIST. */
USH_INLINE bool decide_has_window(uint8_t op)
{
	return op == USH_OP_RESERVE || op == USH_OP_RELEASE || op == USH_OP_EXTEND ||
	       op == USH_OP_RESERVE_BEST || op == USH_OP_RESERVE_AREA || op == USH_OP_SWAP ||
	       op == USH_OP_WAIT_LIST;
}

#endif /* USH_LOOP_INTERNAL_H */
