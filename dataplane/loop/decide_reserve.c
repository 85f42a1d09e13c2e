/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RESERVE: all of the seats or none.
 *
 * Happy path: the user's line is locked, the id is new, the seats fit the user's limit; every leg
 * is tested, then each row claimed by one compare-and-swap in row order; lines and an answer are
 * taken; the records join the batch. The line stays locked until the batch is visible.
 *
 * Failure modes: a leg lost after others were won gives back only its own bits and answers TAKEN or
 * TAKEN_NOW. No lines, answers or room: BUSY, before anything is claimed.
 */
#include "loop/internal.h"

/* The request's legs, sorted by row. */
struct legs {
	uint32_t count;
	uint32_t seats;
	uint16_t row[USH_LEG_COUNT_MAX];
	uint64_t mask[USH_LEG_COUNT_MAX];
	/* Place in the request, for `detail`. */
	uint8_t place[USH_LEG_COUNT_MAX];
};

static void legs_read(struct legs *legs, const struct ush_admitted *admitted)
{
	legs->count = admitted->leg_count;
	legs->seats = 0;
	for (uint32_t i = 0; i < legs->count; i++) {
		uint16_t row;
		uint64_t mask;
		uint32_t at = i;

		ush_admit_leg(admitted, i, &row, &mask);
		legs->seats += ush_popcount64(mask);
		for (; at > 0 && legs->row[at - 1] > row; at--) {
			legs->row[at] = legs->row[at - 1];
			legs->mask[at] = legs->mask[at - 1];
			legs->place[at] = legs->place[at - 1];
		}
		legs->row[at] = row;
		legs->mask[at] = mask;
		legs->place[at] = (uint8_t)i;
	}
}

/* ret: true if every seat exists; else *place is the leg that has one that does not. */
static bool legs_exist(const struct legs *legs, const struct ush_event *event, uint32_t *place)
{
	for (uint32_t i = 0; i < legs->count; i++) {
		*place = legs->place[i];
		if (legs->row[i] >= event->row_count)
			return false;
		if ((legs->mask[i] & ~event->rows[legs->row[i]].seats) != 0)
			return false;
	}
	return true;
}

/* ret: how a claim on all legs would end now; when lost, *place and *way tell of the first leg, in
 * the order of the request, that has a seat in the way. */
static enum ush_claim legs_test(
	const struct legs *legs, const struct ush_event *event, uint32_t *place, uint64_t *way)
{
	enum ush_claim result = USH_CLAIM_WON;

	for (uint32_t i = 0; i < legs->count; i++) {
		uint64_t leg_way;
		enum ush_claim claim =
			ush_row_test(&event->rows[legs->row[i]], legs->mask[i], &leg_way);

		if (claim == USH_CLAIM_WON || (result != USH_CLAIM_WON && legs->place[i] > *place))
			continue;
		result = claim;
		*place = legs->place[i];
		*way = leg_way;
	}
	return result;
}

/* Claims all legs or none. out: *place and *way: the leg that was lost and the seats in the way. */
static enum ush_claim legs_claim(
	const struct legs *legs, struct ush_event *event, uint32_t *place, uint64_t *way)
{
	enum ush_claim claim = USH_CLAIM_WON;

	if (legs->count > 1)
		claim = legs_test(legs, event, place, way);
	if (claim != USH_CLAIM_WON)
		return claim;
	for (uint32_t i = 0; i < legs->count; i++) {
		claim = ush_row_claim(&event->rows[legs->row[i]], legs->mask[i], way);
		if (claim == USH_CLAIM_WON)
			continue;
		*place = legs->place[i];
		while (i-- > 0)
			ush_row_unclaim(&event->rows[legs->row[i]], legs->mask[i]);
		return claim;
	}
	return USH_CLAIM_WON;
}

/* ret: OK, or why no new hold is taken now. */
static enum ush_status event_takes_holds(
	const struct ush_loop *loop, const struct ush_event *event, uint32_t *detail)
{
	uint32_t status;

	if (event == NULL)
		return USH_STATUS_UNKNOWN_EVENT;
	status = atomic_load_explicit(&event->status, memory_order_acquire);
	if (status != USH_EVENT_STATUS_ON_SALE) {
		*detail = status;
		return USH_STATUS_NOT_ON_SALE;
	}
	if (ush_event_sold_out(event, ush_log_durable(&loop->engine->log)))
		return USH_STATUS_SOLD_OUT;
	return USH_STATUS_OK;
}

static void fill_hold(struct ush_loop *loop, struct act *act, const struct legs *legs,
	const struct ush_admitted *admitted, uint64_t deadline_ns)
{
	struct ush_engine *engine = loop->engine;
	uint32_t index = act->hold;
	struct ush_hold *first = ush_holds_line(&engine->holds, index);
	uint64_t word = atomic_load_explicit(&first->word, memory_order_relaxed);
	uint64_t id = ush_hold_id(&engine->holds, index, ush_hold_word_generation(word));
	uint64_t total = 0;

	for (uint32_t i = 0; i < legs->count; i++) {
		struct ush_hold *line = ush_holds_line(&engine->holds, index);
		struct ush_record *record = loop_act_record(loop, act);
		uint64_t price =
			ush_event_price(act->event, &act->event->rows[legs->row[i]], legs->mask[i]);

		__atomic_store_n(&line->user, admitted->request.user, __ATOMIC_RELAXED);
		__atomic_store_n(&line->event, (uint16_t)act->event->id, __ATOMIC_RELAXED);
		line->mask = legs->mask[i];
		__atomic_store_n(&line->deadline_ns, deadline_ns, __ATOMIC_RELAXED);
		line->row = legs->row[i];
		line->amount = (uint32_t)price;
		total += price;
		record->type = USH_RECORD_TYPE_HOLD;
		record->state = USH_HOLD_STATE_HELD;
		record->event = act->event->id;
		record->user = admitted->request.user;
		record->hold = i == 0 ? id : index;
		record->mask = legs->mask[i];
		record->request_id = admitted->request.request_id;
		record->digest = admitted->digest;
		record->row = legs->row[i];
		record->version = 1;
		record->amount = (uint32_t)price;
		record->deadline_ns = deadline_ns;
		index = line->next;
	}
	act->reply.hold = id;
	act->reply.amount = total;
	act->reply.deadline_ns = deadline_ns;
	act->reply.state = USH_HOLD_STATE_HELD;
	act->reply.hold_version = 1;
}

/* The seats are claimed, lines and answer are there: the hold joins the batch. */
static void grant(struct ush_loop *loop, struct ush_packet *packet,
	const struct ush_admitted *admitted, struct ush_event *event, struct ush_user *user,
	const struct legs *legs)
{
	uint32_t hold_ms = admitted->request.hold_ms;
	struct act *act = loop_act(loop, legs->count);

	act->kind = ACT_HOLD;
	act->has_reply = 1;
	act->seats = (uint16_t)legs->seats;
	act->user = user;
	act->event = event;
	act->packet = *packet;
	act->hold = ush_hold_take(loop->pool, legs->count);
	USH_ASSERT(act->hold != USH_HOLD_NONE);
	ush_admit_reply(&act->reply, &admitted->request, USH_STATUS_OK);
	fill_hold(loop, act, legs, admitted,
		loop->now_ns + (uint64_t)(hold_ms != 0 ? hold_ms : event->hold_ms) * 1000000u);
	act->answer = ush_user_accept(&loop->engine->users, user, loop->index,
		admitted->request.request_id, admitted->digest, USH_OP_RESERVE);
	act->answer->hold = act->reply.hold;
	loop_act_done(loop, act);
}

/* The user's line is locked and the id is new. */
static void try_claim(struct ush_loop *loop, struct ush_packet *packet,
	const struct ush_admitted *admitted, struct ush_event *event, struct ush_user *user,
	const struct legs *legs)
{
	struct ush_reply reply;
	uint32_t place = 0;
	uint64_t way = 0;
	enum ush_claim claim;

	if (user->seats + legs->seats > event->user_seats_max) {
		ush_admit_reply(&reply, &admitted->request, USH_STATUS_LIMIT);
		reply.detail = event->user_seats_max;
		decide_refuse_done(loop, packet, admitted, user, &reply);
		return;
	}
	claim = legs_claim(legs, event, &place, &way);
	if (claim == USH_CLAIM_WON) {
		grant(loop, packet, admitted, event, user, legs);
		return;
	}
	ush_admit_reply(&reply, &admitted->request,
		claim == USH_CLAIM_TAKEN ? USH_STATUS_TAKEN : USH_STATUS_TAKEN_NOW);
	reply.hold = way;
	reply.detail = place;
	decide_refuse_done(loop, packet, admitted, user, &reply);
}

void decide_reserve(
	struct ush_loop *loop, struct ush_packet *packet, const struct ush_admitted *admitted)
{
	const struct ush_request *request = &admitted->request;
	struct ush_engine *engine = loop->engine;
	struct ush_event *event = ush_inventory_event(&engine->inventory, request->event);
	uint32_t detail = 0;
	enum ush_status takes = event_takes_holds(loop, event, &detail);
	struct ush_user *user = NULL;
	struct legs legs;

	if (takes == USH_STATUS_UNKNOWN_EVENT) {
		loop_refuse(loop, packet, admitted, takes, detail);
		return;
	}
	/* A repeat of an accepted request gets its answer whatever became of the event since; a
	 * refusal of the event as a whole leaves no trace of the user. */
	if (!decide_lock_user(loop, packet, admitted, takes == USH_STATUS_OK, &user))
		return;
	if (user != NULL && decide_repeat(loop, packet, admitted, user))
		return;
	if (takes == USH_STATUS_OK &&
		(request->hold_ms > event->hold_ms_max ||
			(request->hold_ms != 0 && request->hold_ms < USH_HOLD_MS_MIN))) {
		takes = USH_STATUS_BAD_REQUEST;
		detail = USH_FAULT_HOLD_TIME;
	}
	if (takes == USH_STATUS_OK) {
		legs_read(&legs, admitted);
		if (!legs_exist(&legs, event, &detail))
			takes = USH_STATUS_NO_SUCH_SEAT;
		else if (!loop->room_new || loop->pool->free_count < legs.count ||
			 !ush_answer_available(&engine->users, loop->index))
			takes = USH_STATUS_BUSY;
	}
	if (takes != USH_STATUS_OK) {
		if (user != NULL)
			ush_user_unlock(user);
		loop_refuse(loop, packet, admitted, takes, takes == USH_STATUS_BUSY ? 0 : detail);
		return;
	}
	try_claim(loop, packet, admitted, event, user, &legs);
}
