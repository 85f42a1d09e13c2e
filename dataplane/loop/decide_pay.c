/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of a hold beyond yes and no: more time, fewer or other seats, payment, refund.
 *
 * Operations that move money name the version of the hold that they mean, and are repeated with the
 * same version when their answer was lost: they find their own work done and say so. EXTEND, SWAP
 * and RELEASE go through the window of request ids.
 *
 * Failure modes: the hold is at another version, price or seats: CHANGED, nothing done. Another
 * loop is at it: RETRY.
 */
#include <string.h>

#include "loop/internal.h"

/* Seats named by a request, row by row. */
struct named {
	uint32_t count;
	uint16_t row[USH_LEG_COUNT_MAX];
	uint64_t mask[USH_LEG_COUNT_MAX];
};

static uint32_t named_seats(const struct named *named)
{
	uint32_t seats = 0;

	for (uint32_t i = 0; i < named->count; i++)
		seats += ush_popcount64(named->mask[i]);
	return seats;
}

static struct ush_hold *leg_of(const struct ush_holds *holds, struct ush_hold *leg, uint16_t row)
{
	for (;; leg = ush_holds_line(holds, leg->next)) {
		if (leg->row == row && leg->mask != 0)
			return leg;
		if (leg->next == USH_HOLD_NONE)
			return NULL;
	}
}

/* ret: true if the hold has all the seats named; out: *left: seats it would be left with. */
static bool read_seats(const struct ush_holds *holds, struct ush_hold *hold,
	const struct ush_admitted *admitted, struct named *named, uint32_t *left)
{
	*left = 0;
	named->count = 0;
	for (struct ush_hold *leg = hold;; leg = ush_holds_line(holds, leg->next)) {
		*left += ush_popcount64(leg->mask);
		/* None named means all. */
		if (admitted->leg_count == 0 && leg->mask != 0) {
			named->row[named->count] = leg->row;
			named->mask[named->count++] = leg->mask;
		}
		if (leg->next == USH_HOLD_NONE)
			break;
	}
	for (uint32_t i = 0; i < admitted->leg_count; i++) {
		const struct ush_hold *leg;

		ush_admit_leg(admitted, i, &named->row[i], &named->mask[i]);
		leg = leg_of(holds, hold, named->row[i]);
		if (leg == NULL || (named->mask[i] & ~leg->mask) != 0)
			return false;
		named->count++;
	}
	*left -= named_seats(named);
	return true;
}

static uint16_t seats_mark(const struct named *named)
{
	uint32_t sum = 0;

	for (uint32_t i = 0; i < named->count; i++)
		sum += ush_hold_seats_mark(named->row[i], named->mask[i]);
	return ush_hold_seats_mark_end(sum);
}

/* The act's records become one for each row named. what_is_left: amount is the price of what the
 * leg keeps, else of what is named. ret: the price of what is named. */
static uint64_t name_seats(struct ush_loop *loop, struct act *act, struct ush_hold *hold,
	const struct named *named, bool what_is_left)
{
	const struct ush_holds *holds = &loop->engine->holds;
	uint64_t total = 0;
	uint32_t seats = 0;

	USH_ASSERT(act->record_count == named->count);
	for (uint32_t i = 0; i < named->count; i++) {
		struct ush_record *record = &loop->records[act->record_first + i];
		const struct ush_hold *leg = leg_of(holds, hold, named->row[i]);
		uint64_t price = named->mask[i] == leg->mask
					 ? leg->amount
					 : ush_event_price(act->event, &act->event->rows[leg->row],
						   named->mask[i]);

		USH_ASSERT(price <= leg->amount);
		record->row = named->row[i];
		record->mask = named->mask[i];
		record->amount = (uint32_t)(what_is_left ? leg->amount - price : price);
		total += price;
		seats += ush_popcount64(named->mask[i]);
	}
	act->seats = (uint16_t)seats;
	return total;
}

void decide_cut(struct ush_loop *loop, struct ush_packet *packet,
	const struct ush_admitted *admitted, struct ush_user *user, uint32_t index)
{
	const struct ush_request *request = &admitted->request;
	struct ush_engine *engine = loop->engine;
	struct ush_hold *hold = ush_holds_line(&engine->holds, index);
	struct ush_reply reply;
	struct named named;
	struct act *act;
	uint32_t left;
	bool all;

	if (!read_seats(&engine->holds, hold, admitted, &named, &left)) {
		decide_answer_state(loop, packet, admitted, user, index, USH_STATUS_CHANGED);
		return;
	}
	all = left == 0;
	ush_admit_reply(&reply, request, USH_STATUS_OK);
	decide_describe(engine, index, &reply);
	act = decide_transition(
		loop, all ? ACT_RELEASE : ACT_CUT, index, user, all ? 1 : named.count);
	if (act == NULL) {
		decide_answer_unlocked(loop, packet, admitted, user, USH_STATUS_RETRY);
		return;
	}
	if (all) {
		ush_admit_reply(&reply, request, USH_STATUS_OK);
		reply.state = USH_HOLD_STATE_RELEASED;
	} else {
		reply.amount -= name_seats(loop, act, hold, &named, true);
		reply.hold_version++;
	}
	for (uint32_t i = 0; i < act->record_count; i++) {
		loop->records[act->record_first + i].request_id = request->request_id;
		loop->records[act->record_first + i].digest = admitted->digest;
	}
	decide_reply(act, packet, &reply);
	act->answer = ush_user_accept(&engine->users, user, loop->index, request->request_id,
		admitted->digest, USH_OP_RELEASE);
	act->answer->hold = request->hold;
	loop_act_done(loop, act);
}

/* ---- SWAP ---- */

/* A swap being decided. */
struct swap {
	struct ush_event *event;
	struct ush_user *user;
	struct ush_hold *hold;
	uint32_t index;
	uint32_t channel;
	struct named given;
	struct decide_legs taken;
	/* Lines that the hold needs beyond those it has. */
	uint32_t lines;
	/* Rows that it has seats in afterwards. */
	uint32_t rows;
};

/* ret: what a leg keeps of its seats when those named are given up. */
static uint64_t kept_of(const struct ush_hold *leg, const struct named *given)
{
	for (uint32_t i = 0; i < given->count; i++) {
		if (given->row[i] == leg->row)
			return leg->mask & ~given->mask[i];
	}
	return leg->mask;
}

/* ret: true if the request takes seats of a row. */
static bool takes_of(const struct ush_admitted *admitted, uint32_t row)
{
	uint16_t taken;
	uint64_t mask;

	for (uint32_t i = 0; i < admitted->leg_count; i++) {
		ush_admit_leg(admitted, i, &taken, &mask);
		if (taken == row)
			return true;
	}
	return false;
}

/* ret: true if the line has no seats once the swap is done. */
static bool is_left_empty(
	const struct ush_admitted *admitted, const struct swap *swap, const struct ush_hold *leg)
{
	if (leg->mask == 0)
		return true;
	return kept_of(leg, &swap->given) == 0 && !takes_of(admitted, leg->row);
}

/* ret: true if the hold has all the seats to be given up; out: those, and the lines and rows. */
static bool read_swap(
	const struct ush_holds *holds, const struct ush_admitted *admitted, struct swap *swap)
{
	uint32_t empty = 0, fresh = 0;

	swap->given.count = admitted->give_count;
	for (uint32_t i = 0; i < swap->given.count; i++) {
		const struct ush_hold *leg;

		ush_admit_give(admitted, i, &swap->given.row[i], &swap->given.mask[i]);
		leg = leg_of(holds, swap->hold, swap->given.row[i]);
		if (leg == NULL || (swap->given.mask[i] & ~leg->mask) != 0)
			return false;
	}
	swap->rows = 0;
	for (const struct ush_hold *leg = swap->hold;; leg = ush_holds_line(holds, leg->next)) {
		if (is_left_empty(admitted, swap, leg))
			empty++;
		else
			swap->rows++;
		if (leg->next == USH_HOLD_NONE)
			break;
	}
	for (uint32_t i = 0; i < admitted->leg_count; i++) {
		uint64_t mask;
		uint16_t row;

		ush_admit_leg(admitted, i, &row, &mask);
		fresh += leg_of(holds, swap->hold, row) == NULL;
	}
	swap->rows += fresh;
	swap->lines = fresh > empty ? fresh - empty : 0;
	return true;
}

/* ret: the line for seats of a row that the hold has none of: an empty one from *next on, or new.
 */
static uint32_t line_for(struct ush_loop *loop, const struct ush_admitted *admitted,
	const struct swap *swap, uint32_t *next)
{
	const struct ush_holds *holds = &loop->engine->holds;

	while (*next != USH_HOLD_NONE) {
		uint32_t line = *next;

		*next = ush_holds_line(holds, line)->next;
		if (is_left_empty(admitted, swap, ush_holds_line(holds, line)))
			return line;
	}
	return ush_hold_take_leg(loop->pool);
}

/* Adds the records of the seats that are taken. ret: their price. */
static uint64_t take_seats(struct ush_loop *loop, const struct ush_admitted *admitted,
	const struct swap *swap, struct act *act)
{
	const struct ush_holds *holds = &loop->engine->holds;
	const struct ush_record first = loop->records[act->record_first];
	uint32_t next = swap->index;
	uint64_t total = 0;

	for (uint32_t i = 0; i < swap->taken.count; i++) {
		uint16_t row = swap->taken.row[i];
		uint64_t mask = swap->taken.mask[i];
		const struct ush_hold *leg = leg_of(holds, swap->hold, row);
		struct ush_record *record = loop_act_record(loop, act);
		uint64_t price = ush_event_price(act->event, &act->event->rows[row], mask);
		uint32_t kept = leg != NULL ? leg->amount : 0;

		for (uint32_t k = 0; k < swap->given.count; k++) {
			if (swap->given.row[k] == row)
				kept = loop->records[act->record_first + k].amount;
		}
		record->type = USH_RECORD_TYPE_SWAP;
		record->state = USH_HOLD_STATE_HELD;
		record->event = first.event;
		record->user = first.user;
		record->hold = leg != NULL ? (uint32_t)(leg - holds->lines)
					   : line_for(loop, admitted, swap, &next);
		record->mask = mask;
		record->row = row;
		record->version = first.version;
		record->amount = kept + (uint32_t)price;
		record->deadline_ns = first.deadline_ns;
		total += price;
	}
	act->take_count = (uint16_t)swap->taken.count;
	act->seats_taken = (uint16_t)swap->taken.seats;
	return total;
}

/* The seats are claimed. */
static void grant_swap(struct ush_loop *loop, struct ush_packet *packet,
	const struct ush_admitted *admitted, struct swap *swap)
{
	const struct ush_request *request = &admitted->request;
	struct ush_engine *engine = loop->engine;
	struct ush_reply reply;
	struct act *act;

	ush_admit_reply(&reply, request, USH_STATUS_OK);
	decide_describe(engine, swap->index, &reply);
	act = decide_transition(loop, ACT_SWAP, swap->index, swap->user, swap->given.count);
	if (act == NULL) {
		decide_unclaim(loop, &swap->taken, swap->event, swap->channel);
		decide_answer_unlocked(loop, packet, admitted, swap->user, USH_STATUS_RETRY);
		return;
	}
	reply.amount -= name_seats(loop, act, swap->hold, &swap->given, true);
	reply.amount += take_seats(loop, admitted, swap, act);
	reply.hold_version++;
	for (uint32_t i = 0; i < act->record_count; i++) {
		struct ush_record *record = &loop->records[act->record_first + i];

		if (i < swap->given.count)
			record->state = USH_HOLD_STATE_RELEASED;
		record->request_id = request->request_id;
		record->digest = admitted->digest;
	}
	decide_reply(act, packet, &reply);
	act->answer = ush_user_accept(&engine->users, swap->user, loop->index, request->request_id,
		admitted->digest, USH_OP_SWAP);
	act->answer->hold = request->hold;
	loop_act_done(loop, act);
}

/* The hold is held and its seats to be given up are there: claims the others. */
static void try_swap(struct ush_loop *loop, struct ush_packet *packet,
	const struct ush_admitted *admitted, struct swap *swap)
{
	struct ush_best_legs given = {.count = swap->given.count};
	uint32_t seats = swap->user->seats - named_seats(&swap->given), place = 0;
	struct ush_reply reply;
	enum ush_status status;
	uint64_t way = 0;

	for (uint32_t i = 0; i < admitted->leg_count; i++) {
		uint64_t mask;
		uint16_t row;

		ush_admit_leg(admitted, i, &row, &mask);
		seats += ush_popcount64(mask);
	}
	memcpy(given.row, swap->given.row, sizeof(given.row));
	memcpy(given.mask, swap->given.mask, sizeof(given.mask));
	status = USH_STATUS_LIMIT;
	if (seats <= swap->event->user_seats_max)
		status = decide_claim_named(loop, admitted, swap->event, swap->channel, &given,
			&swap->taken, &place, &way);
	if (status == USH_STATUS_OK) {
		grant_swap(loop, packet, admitted, swap);
		return;
	}
	ush_admit_reply(&reply, &admitted->request, status);
	reply.detail = status == USH_STATUS_LIMIT ? swap->event->user_seats_max : place;
	if (status == USH_STATUS_NO_SUCH_SEAT || status == USH_STATUS_ORPHAN) {
		if (status == USH_STATUS_ORPHAN)
			reply.hold = way;
		ush_user_unlock(swap->user);
		loop_reply_now(loop, packet, &reply);
		return;
	}
	if (status != USH_STATUS_LIMIT)
		reply.hold = way;
	decide_refuse_done(loop, packet, admitted, swap->user, &reply);
}

/* ret: OK, or why the hold cannot be swapped as asked, *detail with it. */
static enum ush_status may_swap(struct ush_loop *loop, const struct swap *swap, uint32_t *detail)
{
	*detail = atomic_load_explicit(&swap->event->status, memory_order_acquire);
	if (*detail != USH_EVENT_STATUS_ON_SALE)
		return USH_STATUS_NOT_ON_SALE;
	*detail = USH_FAULT_LEG_COUNT;
	if (swap->rows > USH_LEG_COUNT_MAX)
		return USH_STATUS_BAD_REQUEST;
	*detail = 0;
	/* It takes seats, so it waits for room as new holds do. */
	if (!loop->room_new || loop->pool->free_count < swap->lines)
		return USH_STATUS_BUSY;
	return USH_STATUS_OK;
}

void decide_swap(
	struct ush_loop *loop, struct ush_packet *packet, const struct ush_admitted *admitted)
{
	struct ush_engine *engine = loop->engine;
	enum ush_status status;
	struct swap swap;
	uint32_t detail;

	swap.event = ush_inventory_event(&engine->inventory, admitted->request.event);
	if (swap.event != NULL &&
		!decide_channel(loop, packet, admitted, swap.event, &swap.channel))
		return;
	if (admitted->give_count == 0) {
		loop_refuse(loop, packet, admitted, USH_STATUS_BAD_REQUEST, USH_FAULT_EXTENSION);
		return;
	}
	swap.hold = decide_open_hold(loop, packet, admitted, true, &swap.user, &swap.index);
	if (swap.hold == NULL)
		return;
	if (ush_hold_word_state(atomic_load_explicit(&swap.hold->word, memory_order_acquire)) !=
		USH_HOLD_STATE_HELD) {
		decide_answer_state(
			loop, packet, admitted, swap.user, swap.index, USH_STATUS_WRONG_STATE);
		return;
	}
	if (loop->now_ns >= swap.hold->deadline_ns) {
		decide_expire_and_answer(loop, packet, admitted, swap.user, swap.index);
		return;
	}
	if (!read_swap(&engine->holds, admitted, &swap)) {
		decide_answer_state(
			loop, packet, admitted, swap.user, swap.index, USH_STATUS_CHANGED);
		return;
	}
	status = may_swap(loop, &swap, &detail);
	if (status != USH_STATUS_OK) {
		ush_user_unlock(swap.user);
		loop_refuse(loop, packet, admitted, status, detail);
		return;
	}
	try_swap(loop, packet, admitted, &swap);
}

void decide_extend(
	struct ush_loop *loop, struct ush_packet *packet, const struct ush_admitted *admitted)
{
	const struct ush_request *request = &admitted->request;
	struct ush_engine *engine = loop->engine;
	const struct ush_event *event;
	struct ush_record *record;
	struct ush_reply reply;
	struct ush_user *user;
	uint64_t deadline_ns;
	uint32_t index;
	struct ush_hold *hold = decide_open_hold(loop, packet, admitted, true, &user, &index);
	struct act *act;

	if (hold == NULL)
		return;
	ush_admit_reply(&reply, request, USH_STATUS_OK);
	decide_describe(engine, index, &reply);
	if (reply.state == USH_HOLD_STATE_HELD && loop->now_ns >= hold->deadline_ns) {
		decide_expire_and_answer(loop, packet, admitted, user, index);
		return;
	}
	event = ush_inventory_event(&engine->inventory, request->event);
	if (request->hold_ms > event->hold_ms_max) {
		ush_user_unlock(user);
		loop_refuse(loop, packet, admitted, USH_STATUS_BAD_REQUEST, USH_FAULT_HOLD_TIME);
		return;
	}
	deadline_ns =
		loop->now_ns +
		(uint64_t)(request->hold_ms != 0 ? request->hold_ms : event->hold_ms) * 1000000u;
	if (reply.state != USH_HOLD_STATE_HELD || (hold->flags & USH_HOLD_EXTENDED) != 0 ||
		deadline_ns <= hold->deadline_ns) {
		decide_answer_state(loop, packet, admitted, user, index, USH_STATUS_WRONG_STATE);
		return;
	}
	act = decide_transition(loop, ACT_EXTEND, index, user, 1);
	if (act == NULL) {
		decide_answer_unlocked(loop, packet, admitted, user, USH_STATUS_RETRY);
		return;
	}
	record = &loop->records[act->record_first];
	record->deadline_ns = deadline_ns;
	record->request_id = request->request_id;
	record->digest = admitted->digest;
	reply.deadline_ns = deadline_ns;
	reply.hold_version++;
	decide_reply(act, packet, &reply);
	act->answer = ush_user_accept(&engine->users, user, loop->index, request->request_id,
		admitted->digest, USH_OP_EXTEND);
	act->answer->hold = request->hold;
	loop_act_done(loop, act);
}

/* Finds the hold of a request that moves money and describes it. out: *step: its version is that
 * after the one named. ret: NULL: answered. */
static struct ush_hold *open_versioned(struct ush_loop *loop, struct ush_packet *packet,
	const struct ush_admitted *admitted, struct ush_user **user, uint32_t *index,
	struct ush_reply *reply, bool *step)
{
	struct ush_hold *hold = decide_open_hold(loop, packet, admitted, false, user, index);

	if (hold == NULL)
		return NULL;
	ush_admit_reply(reply, &admitted->request, USH_STATUS_OK);
	decide_describe(loop->engine, *index, reply);
	reply->sequence = hold->sequence;
	*step = reply->hold_version == (uint16_t)(admitted->request.section + 1u);
	return hold;
}

/* The request has been done before: the answer it got then, as far as the hold still knows it. */
static void answer_again(struct ush_loop *loop, struct ush_packet *packet, struct ush_user *user,
	const struct ush_reply *reply)
{
	ush_user_unlock(user);
	count(&loop->counters.repeated);
	loop_reply_after(loop, packet, reply, reply->sequence);
}

static void finish(struct ush_loop *loop, struct act *act, const struct ush_packet *packet,
	struct ush_reply *reply)
{
	reply->state = loop->records[act->record_first].state;
	reply->hold_version++;
	decide_reply(act, packet, reply);
	loop_act_done(loop, act);
}

void decide_pay_begin(
	struct ush_loop *loop, struct ush_packet *packet, const struct ush_admitted *admitted)
{
	const struct ush_request *request = &admitted->request;
	struct ush_record *record;
	struct ush_reply reply;
	struct ush_user *user;
	uint32_t index;
	bool step;
	struct ush_hold *hold;
	struct act *act;

	if (request->hold_ms == 0 || request->hold_ms > USH_PAY_MS_MAX) {
		loop_refuse(loop, packet, admitted, USH_STATUS_BAD_REQUEST, USH_FAULT_HOLD_TIME);
		return;
	}
	hold = open_versioned(loop, packet, admitted, &user, &index, &reply, &step);
	if (hold == NULL)
		return;
	if (reply.state == USH_HOLD_STATE_HELD &&
		ush_event_is_cancelled(
			ush_inventory_event(&loop->engine->inventory, request->event))) {
		ush_user_unlock(user);
		loop_refuse(
			loop, packet, admitted, USH_STATUS_NOT_ON_SALE, USH_EVENT_STATUS_CANCELLED);
		return;
	}
	reply.detail = hold->pending;
	if (reply.state == USH_HOLD_STATE_PAYING && step && reply.amount == request->arg) {
		answer_again(loop, packet, user, &reply);
		return;
	}
	if (reply.state != USH_HOLD_STATE_HELD || hold->pending >= USH_PAY_ATTEMPTS_MAX) {
		decide_answer_state(loop, packet, admitted, user, index, USH_STATUS_WRONG_STATE);
		return;
	}
	if (loop->now_ns >= hold->deadline_ns) {
		decide_expire_and_answer(loop, packet, admitted, user, index);
		return;
	}
	if (reply.hold_version != request->section || reply.amount != request->arg) {
		decide_answer_state(loop, packet, admitted, user, index, USH_STATUS_CHANGED);
		return;
	}
	act = decide_transition(loop, ACT_PAY_BEGIN, index, user, 1);
	if (act == NULL) {
		decide_answer_unlocked(loop, packet, admitted, user, USH_STATUS_RETRY);
		return;
	}
	act->pending = (uint16_t)(hold->pending + 1u);
	record = &loop->records[act->record_first];
	record->mask = loop->now_ns + (uint64_t)request->hold_ms * 1000000u;
	record->row = act->pending;
	record->amount = (uint32_t)reply.amount;
	reply.detail = act->pending;
	finish(loop, act, packet, &reply);
}

void decide_pay_end(
	struct ush_loop *loop, struct ush_packet *packet, const struct ush_admitted *admitted)
{
	const struct ush_request *request = &admitted->request;
	bool succeeded = request->arg == USH_OUTCOME_SUCCEEDED;
	struct ush_reply reply;
	struct ush_user *user;
	enum act_kind kind;
	uint32_t index;
	bool step;
	struct ush_hold *hold;
	struct act *act;

	if (!succeeded && request->arg != USH_OUTCOME_FAILED) {
		loop_refuse(loop, packet, admitted, USH_STATUS_BAD_REQUEST, USH_FAULT_ARGUMENT);
		return;
	}
	hold = open_versioned(loop, packet, admitted, &user, &index, &reply, &step);
	if (hold == NULL)
		return;
	if (step && reply.state == (succeeded ? USH_HOLD_STATE_SOLD : USH_HOLD_STATE_HELD)) {
		answer_again(loop, packet, user, &reply);
		return;
	}
	if (reply.state != USH_HOLD_STATE_PAYING || reply.hold_version != request->section) {
		decide_answer_state(loop, packet, admitted, user, index,
			reply.state == USH_HOLD_STATE_PAYING ? USH_STATUS_CHANGED
							     : USH_STATUS_WRONG_STATE);
		return;
	}
	kind = succeeded                           ? ACT_PAY_SOLD
	       : loop->now_ns >= hold->deadline_ns ? ACT_PAY_EXPIRED
						   : ACT_PAY_FAILED;
	act = decide_transition(loop, kind, index, user, 1);
	if (act == NULL) {
		decide_answer_unlocked(loop, packet, admitted, user, USH_STATUS_RETRY);
		return;
	}
	act->pending = hold->pending;
	finish(loop, act, packet, &reply);
}

void decide_refund_begin(
	struct ush_loop *loop, struct ush_packet *packet, const struct ush_admitted *admitted)
{
	const struct ush_request *request = &admitted->request;
	struct ush_engine *engine = loop->engine;
	struct ush_reply reply;
	struct ush_user *user;
	struct named named;
	uint32_t index, left;
	bool step, has;
	struct ush_hold *hold =
		open_versioned(loop, packet, admitted, &user, &index, &reply, &step);
	struct act *act;

	if (hold == NULL)
		return;
	has = read_seats(&engine->holds, hold, admitted, &named, &left);
	if (reply.state == USH_HOLD_STATE_REFUNDING && step && has &&
		hold->pending == seats_mark(&named)) {
		answer_again(loop, packet, user, &reply);
		return;
	}
	if (reply.state != USH_HOLD_STATE_SOLD || !has || reply.hold_version != request->section) {
		decide_answer_state(loop, packet, admitted, user, index,
			reply.state == USH_HOLD_STATE_SOLD ? USH_STATUS_CHANGED
							   : USH_STATUS_WRONG_STATE);
		return;
	}
	act = decide_transition(loop, ACT_REFUND_BEGIN, index, user, named.count);
	if (act == NULL) {
		decide_answer_unlocked(loop, packet, admitted, user, USH_STATUS_RETRY);
		return;
	}
	act->pending = seats_mark(&named);
	reply.amount = name_seats(loop, act, hold, &named, false);
	finish(loop, act, packet, &reply);
}

void decide_refund_end(
	struct ush_loop *loop, struct ush_packet *packet, const struct ush_admitted *admitted)
{
	const struct ush_request *request = &admitted->request;
	struct ush_engine *engine = loop->engine;
	bool succeeded = request->arg == USH_OUTCOME_SUCCEEDED;
	struct ush_reply reply;
	struct ush_user *user;
	struct named named;
	uint32_t index, left;
	bool step, has;
	struct ush_hold *hold;
	struct act *act;

	if (!succeeded && request->arg != USH_OUTCOME_FAILED) {
		loop_refuse(loop, packet, admitted, USH_STATUS_BAD_REQUEST, USH_FAULT_ARGUMENT);
		return;
	}
	hold = open_versioned(loop, packet, admitted, &user, &index, &reply, &step);
	if (hold == NULL)
		return;
	has = read_seats(&engine->holds, hold, admitted, &named, &left);
	/* Of a refund that succeeded the seats are gone, of one that failed they are there. */
	if (reply.state == USH_HOLD_STATE_SOLD && step && has != succeeded) {
		answer_again(loop, packet, user, &reply);
		return;
	}
	if (reply.state != USH_HOLD_STATE_REFUNDING || !has ||
		hold->pending != seats_mark(&named) || reply.hold_version != request->section) {
		decide_answer_state(loop, packet, admitted, user, index,
			reply.state == USH_HOLD_STATE_REFUNDING ? USH_STATUS_CHANGED
								: USH_STATUS_WRONG_STATE);
		return;
	}
	act = decide_transition(loop,
		!succeeded  ? ACT_REFUND_FAILED
		: left == 0 ? ACT_REFUND_ALL
			    : ACT_REFUND_SOME,
		index, user, succeeded ? named.count : 1);
	if (act == NULL) {
		decide_answer_unlocked(loop, packet, admitted, user, USH_STATUS_RETRY);
		return;
	}
	if (succeeded) {
		reply.amount -= name_seats(loop, act, hold, &named, true);
	} else {
		loop->records[act->record_first].mask = 0;
	}
	finish(loop, act, packet, &reply);
}

/* ret: the new user's line, locked; NULL: answered, with the old user's unlocked. */
static struct ush_user *lock_other(struct ush_loop *loop, struct ush_packet *packet,
	const struct ush_admitted *admitted, struct ush_user *user)
{
	const struct ush_request *request = &admitted->request;
	struct ush_users *users = &loop->engine->users;
	uint64_t hash = ush_user_hash(users, request->arg, request->event);
	struct ush_user *other = NULL;
	enum ush_user_result result =
		ush_user_enter(users, hash, request->arg, request->event, loop->index, 0, &other);

	if (result == USH_USER_OWN) {
		/* An earlier act of this batch has it; the one at hand has not joined yet. */
		loop_flush(loop);
		result = ush_user_enter(
			users, hash, request->arg, request->event, loop->index, 0, &other);
	}
	if (result == USH_USER_OK)
		return other;
	decide_answer_unlocked(loop, packet, admitted, user,
		result == USH_USER_FULL ? USH_STATUS_BUSY : USH_STATUS_RETRY);
	return NULL;
}

/* A repeat finds the hold with the new user. ret: true if it was one, and is answered. */
static bool is_transferred(
	struct ush_loop *loop, struct ush_packet *packet, const struct ush_admitted *admitted)
{
	struct ush_admitted again = *admitted;
	struct ush_reply reply;
	struct ush_user *user;
	struct ush_hold *hold;
	uint32_t index;

	again.request.user = admitted->request.arg;
	if (ush_inventory_event(&loop->engine->inventory, again.request.event) == NULL)
		return false;
	if (!decide_lock_user(loop, packet, &again, false, &user))
		return true;
	if (user == NULL)
		return false;
	hold = decide_find_hold(loop->engine, &again.request, &index);
	if (hold == NULL || ush_hold_word_state(atomic_load_explicit(
				    &hold->word, memory_order_acquire)) != USH_HOLD_STATE_SOLD) {
		ush_user_unlock(user);
		return false;
	}
	ush_admit_reply(&reply, &admitted->request, USH_STATUS_OK);
	decide_describe(loop->engine, index, &reply);
	reply.sequence = hold->sequence;
	if (reply.hold_version != (uint16_t)(admitted->request.section + 1u)) {
		ush_user_unlock(user);
		return false;
	}
	answer_again(loop, packet, user, &reply);
	return true;
}

void decide_transfer(
	struct ush_loop *loop, struct ush_packet *packet, const struct ush_admitted *admitted)
{
	const struct ush_request *request = &admitted->request;
	struct ush_user *user, *other;
	const struct ush_event *event;
	struct ush_reply reply;
	struct named named;
	uint32_t index, left;
	bool step;
	struct ush_hold *hold;
	struct act *act;

	if (request->arg == 0 || request->arg == request->user) {
		loop_refuse(loop, packet, admitted, USH_STATUS_BAD_REQUEST, USH_FAULT_ARGUMENT);
		return;
	}
	if (is_transferred(loop, packet, admitted))
		return;
	hold = open_versioned(loop, packet, admitted, &user, &index, &reply, &step);
	if (hold == NULL)
		return;
	if (reply.state != USH_HOLD_STATE_SOLD || reply.hold_version != request->section) {
		decide_answer_state(loop, packet, admitted, user, index,
			reply.state == USH_HOLD_STATE_SOLD ? USH_STATUS_CHANGED
							   : USH_STATUS_WRONG_STATE);
		return;
	}
	other = lock_other(loop, packet, admitted, user);
	if (other == NULL)
		return;
	event = ush_inventory_event(&loop->engine->inventory, request->event);
	read_seats(&loop->engine->holds, hold, admitted, &named, &left);
	if (other->seats + named_seats(&named) > event->user_seats_max) {
		ush_user_unlock(other);
		ush_user_unlock(user);
		loop_refuse(loop, packet, admitted, USH_STATUS_LIMIT, event->user_seats_max);
		return;
	}
	act = decide_transition(loop, ACT_TRANSFER, index, user, 1);
	if (act == NULL) {
		ush_user_unlock(other);
		decide_answer_unlocked(loop, packet, admitted, user, USH_STATUS_RETRY);
		return;
	}
	act->other = other;
	loop->records[act->record_first].mask = request->arg;
	finish(loop, act, packet, &reply);
}
