/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of a hold beyond yes and no: more time, fewer seats, payment, refund.
 *
 * Operations that move money name the version of the hold that they mean, and are repeated with the
 * same version when their answer was lost: they find their own work done and say so. EXTEND and
 * RELEASE go through the window of request ids.
 *
 * Failure modes: the hold is at another version, price or seats: CHANGED, nothing done. Another
 * loop is at it: RETRY.
 */
#include "loop/internal.h"

uint32_t decide_named_seats(const struct decide_named *named)
{
	uint32_t seats = 0;

	for (uint32_t i = 0; i < named->count; i++)
		seats += ush_popcount64(named->mask[i]);
	return seats;
}

struct ush_hold *decide_leg_of(const struct ush_holds *holds, struct ush_hold *leg, uint16_t row)
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
	const struct ush_admitted *admitted, struct decide_named *named, uint32_t *left)
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
		leg = decide_leg_of(holds, hold, named->row[i]);
		if (leg == NULL || (named->mask[i] & ~leg->mask) != 0)
			return false;
		named->count++;
	}
	*left -= decide_named_seats(named);
	return true;
}

static uint16_t seats_mark(const struct decide_named *named)
{
	uint32_t sum = 0;

	for (uint32_t i = 0; i < named->count; i++)
		sum += ush_hold_seats_mark(named->row[i], named->mask[i]);
	return ush_hold_seats_mark_end(sum);
}

uint64_t decide_name_seats(struct ush_loop *loop, struct act *act, struct ush_hold *hold,
	const struct decide_named *named, bool what_is_left)
{
	const struct ush_holds *holds = &loop->engine->holds;
	const struct ush_prices *prices = decide_prices(loop, act->event, act->hold);
	uint64_t total = 0;
	uint32_t seats = 0;

	USH_ASSERT(act->record_count == named->count);
	for (uint32_t i = 0; i < named->count; i++) {
		struct ush_record *record = &loop->records[act->record_first + i];
		const struct ush_hold *leg = decide_leg_of(holds, hold, named->row[i]);
		uint64_t price = named->mask[i] == leg->mask
					 ? leg->amount
					 : ush_price(prices, ush_event_row(act->event, leg->row),
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
	struct decide_named named;
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
		reply.amount -= decide_name_seats(loop, act, hold, &named, true);
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
	uint32_t index, detail;
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
	if (ush_unlikely(ush_event_is_timed(event)) &&
		!decide_time_longer(loop, event, user, decide_hold_seats(&engine->holds, hold),
			hold->deadline_ns, deadline_ns, &detail)) {
		ush_user_unlock(user);
		loop_refuse(loop, packet, admitted, USH_STATUS_HOLD_BUDGET, detail);
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
	/* No step leads to version 1: a new hold has it. */
	*step = reply->hold_version == (uint16_t)(admitted->request.section + 1u) &&
		reply->hold_version != 1;
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

static void finish(
	struct ush_loop *loop, struct act *act, struct ush_packet *packet, struct ush_reply *reply)
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
	struct decide_named named;
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
	reply.amount = decide_name_seats(loop, act, hold, &named, false);
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
	struct decide_named named;
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
		reply.amount -= decide_name_seats(loop, act, hold, &named, true);
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
	struct decide_named named;
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
	if (other->seats + decide_named_seats(&named) > event->user_seats_max) {
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
