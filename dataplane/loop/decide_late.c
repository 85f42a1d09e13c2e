/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PAY_LATE: the money came after the hold was over. The same seats, if they are all still free, are
 * sold at once in a new hold that was never held; the user's line remembers which hold that was
 * for, so that it happens once however often it is asked.
 *
 * Failure modes: the hold goes on, as somebody else's: NO_HOLD. A seat is not free, the price or
 * the user's limit do not fit: the payer is to be refunded, and nothing is claimed.
 */
#include "loop/internal.h"

/* Asked before: the hold that was sold then, as it is now. */
static void answer_again(struct ush_loop *loop, struct ush_packet *packet,
	const struct ush_admitted *admitted, struct ush_user *user,
	const struct ush_accepted *answer)
{
	struct ush_request named = admitted->request;
	uint64_t rests_on = ush_log_reserved(&loop->engine->log) - 1;
	const struct ush_hold *hold;
	struct ush_reply reply;
	uint32_t index;

	named.hold = answer->hold;
	ush_admit_reply(&reply, &admitted->request, USH_STATUS_OK);
	reply.hold = answer->hold;
	reply.sequence = answer->sequence;
	reply.detail = 1;
	hold = decide_find_hold(loop->engine, &named, &index);
	if (hold != NULL) {
		decide_describe(loop->engine, index, &reply);
		rests_on = ush_max64(answer->sequence, hold->sequence);
	}
	ush_user_unlock(user);
	count(&loop->counters.repeated);
	loop_reply_after(loop, packet, &reply, rests_on);
}

/* ret: true if the hold goes on, be it somebody else's. in: index: the line that its id names. */
static bool goes_on(const struct ush_holds *holds, uint32_t index, uint64_t id)
{
	uint64_t word =
		atomic_load_explicit(&ush_holds_line(holds, index)->word, memory_order_acquire);

	if (ush_hold_word_generation(word) != ush_hold_id_generation(id))
		return false;
	switch (ush_hold_word_state(word)) {
	case USH_HOLD_STATE_HELD:
	case USH_HOLD_STATE_BUSY:
	case USH_HOLD_STATE_PAYING:
	case USH_HOLD_STATE_SOLD:
	case USH_HOLD_STATE_REFUNDING:
		return true;
	default:
		return false;
	}
}

static uint64_t price_of(const struct ush_event *event, const struct ush_prices *prices,
	const struct decide_legs *legs)
{
	uint64_t price = 0;

	for (uint32_t i = 0; i < legs->count; i++)
		price += ush_price(prices, ush_event_row(event, legs->row[i]), legs->mask[i]);
	return price;
}

/* The seats are claimed and paid for. */
static void sell(struct ush_loop *loop, struct ush_packet *packet,
	const struct ush_admitted *admitted, struct ush_event *event, struct ush_user *user,
	const struct decide_legs *legs, const struct ush_prices *prices)
{
	const struct ush_request *request = &admitted->request;
	struct ush_holds *holds = &loop->engine->holds;
	struct act *act = loop_act(loop, legs->count);
	uint32_t index = ush_hold_take(loop->pool, legs->count);
	struct ush_reply reply;
	uint64_t id, word;

	USH_ASSERT(index != USH_HOLD_NONE);
	word = atomic_load_explicit(&ush_holds_line(holds, index)->word, memory_order_relaxed);
	id = ush_hold_id(holds, index, ush_hold_word_generation(word));
	act->kind = ACT_LATE;
	act->hold = index;
	act->user = user;
	act->event = event;
	ush_holds_price(holds, index, prices->number);
	act->seats = (uint16_t)legs->seats;
	for (uint32_t i = 0; i < legs->count; i++) {
		struct ush_hold *line = ush_holds_line(holds, index);
		struct ush_record *record = loop_act_record(loop, act);

		record->type = USH_RECORD_TYPE_LATE;
		record->state = USH_HOLD_STATE_SOLD;
		record->event = event->id;
		record->user = request->user;
		record->hold = i == 0 ? id : index;
		record->mask = line->mask = legs->mask[i];
		record->request_id = (uint32_t)request->hold;
		record->digest = (uint32_t)(request->hold >> 32);
		record->row = line->row = legs->row[i];
		record->version = 1;
		record->amount = line->amount = (uint32_t)ush_price(
			prices, ush_event_row(event, legs->row[i]), legs->mask[i]);
		record->deadline_ns = loop->now_ns;
		__atomic_store_n(&line->user, request->user, __ATOMIC_RELAXED);
		__atomic_store_n(&line->event, (uint16_t)event->id, __ATOMIC_RELAXED);
		__atomic_store_n(&line->deadline_ns, loop->now_ns, __ATOMIC_RELAXED);
		index = line->next;
	}
	ush_admit_reply(&reply, request, USH_STATUS_OK);
	reply.hold = id;
	reply.state = USH_HOLD_STATE_SOLD;
	reply.hold_version = 1;
	reply.amount = request->arg;
	reply.deadline_ns = loop->now_ns;
	decide_reply(act, packet, &reply);
	act->answer = ush_user_accept_late(&loop->engine->users, user, loop->index, request->hold);
	act->answer->hold = id;
	loop_act_done(loop, act);
}

/* ret: OK with the seats claimed; else why not, with what the reply says of it. */
static enum ush_status claim(struct ush_loop *loop, const struct ush_admitted *admitted,
	struct ush_event *event, const struct ush_user *user, uint32_t late,
	struct decide_legs *legs, const struct ush_prices *prices, struct ush_reply *reply)
{
	uint32_t channel = admitted->request.section, place = 0, seats = user->seats;
	enum ush_status status;
	uint64_t way = 0;

	reply->detail = USH_EVENT_STATUS_CANCELLED;
	if (ush_event_is_cancelled(event))
		return USH_STATUS_NOT_ON_SALE;
	for (uint32_t i = 0; i < admitted->leg_count; i++) {
		uint64_t mask;
		uint16_t row;

		ush_admit_leg(admitted, i, &row, &mask);
		seats += ush_popcount64(mask);
	}
	reply->detail = event->user_seats_max;
	if (seats > event->user_seats_max || late >= USH_USER_LATE_MAX)
		return USH_STATUS_LIMIT;
	reply->detail = 0;
	if (!loop->room_kept || loop->pool->free_count < admitted->leg_count ||
		!ush_answer_available(&loop->engine->users, loop->index))
		return USH_STATUS_BUSY;
	status = decide_claim_named(loop, admitted, event, channel, NULL, legs, &place, &way);
	if (status != USH_STATUS_OK) {
		reply->detail = place;
		if (status != USH_STATUS_NO_SUCH_SEAT)
			reply->hold = way;
		return status;
	}
	reply->amount = price_of(event, prices, legs);
	if (reply->amount == admitted->request.arg)
		return USH_STATUS_OK;
	decide_unclaim(loop, legs, event, channel);
	return USH_STATUS_CHANGED;
}

void decide_pay_late(
	struct ush_loop *loop, struct ush_packet *packet, const struct ush_admitted *admitted)
{
	const struct ush_request *request = &admitted->request;
	struct ush_engine *engine = loop->engine;
	struct ush_event *event = ush_inventory_event(&engine->inventory, request->event);
	const struct ush_accepted *answer;
	const struct ush_prices *prices;
	struct decide_legs legs;
	struct ush_reply reply;
	struct ush_user *user;
	uint32_t index, late;
	struct ush_hold *hold;

	if (event == NULL || ush_hold_id_check(&engine->holds, request->hold) == USH_HOLD_NONE) {
		loop_refuse(loop, packet, admitted,
			event == NULL ? USH_STATUS_UNKNOWN_EVENT : USH_STATUS_NO_HOLD, 0);
		return;
	}
	if (request->section > USH_CHANNEL_COUNT_MAX) {
		loop_refuse(loop, packet, admitted, USH_STATUS_BAD_REQUEST, USH_FAULT_CHANNEL);
		return;
	}
	if (!decide_lock_user(loop, packet, admitted, true, &user))
		return;
	answer = ush_user_late(&engine->users, user, request->hold, &late);
	if (answer != NULL) {
		answer_again(loop, packet, admitted, user, answer);
		return;
	}
	hold = decide_find_hold(engine, request, &index);
	if (hold != NULL) {
		if (ush_hold_word_state(atomic_load_explicit(&hold->word, memory_order_acquire)) ==
				USH_HOLD_STATE_HELD &&
			loop->now_ns >= hold->deadline_ns && loop->room_kept)
			decide_expire_and_answer(loop, packet, admitted, user, index);
		else
			decide_answer_state(
				loop, packet, admitted, user, index, USH_STATUS_WRONG_STATE);
		return;
	}
	/* Another user's, or given to another: nobody paid late for it. */
	if (goes_on(&engine->holds, index, request->hold)) {
		decide_answer_unlocked(loop, packet, admitted, user, USH_STATUS_NO_HOLD);
		return;
	}
	/* Looked at once: what is charged is what was compared with what was paid. */
	prices = ush_event_prices(event);
	ush_admit_reply(&reply, request, USH_STATUS_OK);
	reply.status = (uint8_t)claim(loop, admitted, event, user, late, &legs, prices, &reply);
	if (reply.status == USH_STATUS_OK) {
		sell(loop, packet, admitted, event, user, &legs, prices);
		return;
	}
	ush_user_unlock(user);
	loop_reply_now(loop, packet, &reply);
}
