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
#include <string.h>

#include "loop/internal.h"

USH_INLINE void legs_read(struct decide_legs *legs, const struct ush_admitted *admitted)
{
	legs->count = admitted->leg_count;
	if (ush_likely(legs->count == 1)) {
		legs->row[0] = admitted->request.row;
		legs->mask[0] = admitted->request.mask;
		legs->place[0] = 0;
		legs->seats = ush_popcount64(legs->mask[0]);
		return;
	}
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
USH_INLINE bool legs_exist(
	const struct decide_legs *legs, const struct ush_event *event, uint32_t *place)
{
	for (uint32_t i = 0; i < legs->count; i++) {
		*place = legs->place[i];
		if (legs->row[i] >= ush_event_row_count(event))
			return false;
		if ((legs->mask[i] & ~ush_event_row(event, legs->row[i])->seats) != 0)
			return false;
	}
	return true;
}

/* ret: how a claim on all legs would end now; when lost, *place and *way tell of the first leg, in
 * the order of the request, that has a seat in the way. */
static enum ush_claim legs_test(const struct decide_legs *legs, const struct ush_event *event,
	uint32_t *place, uint64_t *way)
{
	enum ush_claim result = USH_CLAIM_WON;

	for (uint32_t i = 0; i < legs->count; i++) {
		uint64_t leg_way;
		enum ush_claim claim =
			ush_row_test(ush_event_row(event, legs->row[i]), legs->mask[i], &leg_way);

		if (claim == USH_CLAIM_WON || (result != USH_CLAIM_WON && legs->place[i] > *place))
			continue;
		result = claim;
		*place = legs->place[i];
		*way = leg_way;
	}
	return result;
}

USH_INLINE enum ush_claim claim_each(
	const struct decide_legs *legs, struct ush_event *event, uint32_t *place, uint64_t *way)
{
	enum ush_claim claim;

	for (uint32_t i = 0; i < legs->count; i++) {
		claim = ush_row_claim(ush_event_row(event, legs->row[i]), legs->mask[i], way);
		if (claim == USH_CLAIM_WON)
			continue;
		*place = legs->place[i];
		while (i-- > 0)
			ush_row_unclaim(event, ush_event_row(event, legs->row[i]), legs->mask[i]);
		return claim;
	}
	return USH_CLAIM_WON;
}

void decide_legs_chosen(struct decide_legs *legs, const struct ush_best_legs *chosen)
{
	legs->count = chosen->count;
	legs->seats = 0;
	for (uint32_t i = 0; i < chosen->count; i++) {
		legs->row[i] = chosen->row[i];
		legs->mask[i] = chosen->mask[i];
		legs->place[i] = (uint8_t)i;
		legs->seats += ush_popcount64(chosen->mask[i]);
	}
}

USH_INLINE enum ush_claim claim_legs(
	const struct decide_legs *legs, struct ush_event *event, uint32_t *place, uint64_t *way)
{
	enum ush_claim claim;

	if (legs->count == 1)
		return claim_each(legs, event, place, way);
	claim = legs_test(legs, event, place, way);
	if (claim != USH_CLAIM_WON)
		return claim;
	/* What is won on the way may be given back: nobody may say NONE meanwhile. */
	atomic_fetch_add_explicit(&event->best_open, 1, memory_order_seq_cst);
	claim = claim_each(legs, event, place, way);
	atomic_fetch_sub_explicit(&event->best_open, 1, memory_order_seq_cst);
	return claim;
}

enum ush_claim decide_legs_claim(
	const struct decide_legs *legs, struct ush_event *event, uint32_t *place, uint64_t *way)
{
	return claim_legs(legs, event, place, way);
}

/* The part of legs_leave_orphan that looks at seats. */
static __attribute__((noinline)) bool find_orphan(const struct decide_legs *legs,
	const struct ush_best_legs *given, const struct ush_event *event, uint32_t *place,
	uint64_t *way)
{
	struct ush_best_legs taken = {.count = legs->count};
	bool orphan = false;

	memcpy(taken.row, legs->row, sizeof(taken.row));
	memcpy(taken.mask, legs->mask, sizeof(taken.mask));
	for (uint32_t i = 0; i < legs->count; i++) {
		uint64_t seats;

		if (!ush_best_orphans(event, &taken, given, i, &seats) ||
			(orphan && legs->place[i] > *place))
			continue;
		orphan = true;
		*place = legs->place[i];
		*way = seats;
	}
	return orphan;
}

/* in: given: seats that are given up for them, or NULL. ret: true if the event minds that the claim
 * leaves a single seat; *place: beside which leg, *way: which seats of its row. */
USH_INLINE bool legs_leave_orphan(const struct decide_legs *legs, const struct ush_best_legs *given,
	const struct ush_event *event, uint32_t *place, uint64_t *way)
{
	return ush_unlikely(event->best_orphans == USH_BEST_ORPHANS_REFUSE) &&
	       ush_event_free_count(event) > ush_event_best_exempt(event) &&
	       find_orphan(legs, given, event, place, way);
}

/* ret: OK, or why no new hold is taken now. */
USH_INLINE enum ush_status event_takes_holds(
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

/* Fills in the hold's lines and the records, which the act's slots are to hold. */
USH_INLINE void fill_hold(struct ush_loop *loop, struct act *act, const struct decide_legs *legs,
	const struct ush_admitted *admitted, uint64_t id, uint64_t deadline_ns)
{
	struct ush_event *event = act->event;
	const struct ush_prices *prices = ush_event_prices(event);
	uint64_t total = 0, user = admitted->request.user;
	uint32_t index = act->hold, i = 0;

	do {
		struct ush_hold *line = ush_holds_line(&loop->engine->holds, index);
		struct ush_record *record = loop_act_next(loop, act);
		uint64_t mask = legs->mask[i];
		uint64_t price = ush_price(prices, ush_event_row(event, legs->row[i]), mask);

		__atomic_store_n(&line->user, user, __ATOMIC_RELAXED);
		__atomic_store_n(&line->event, (uint16_t)event->id, __ATOMIC_RELAXED);
		line->mask = mask;
		__atomic_store_n(&line->deadline_ns, deadline_ns, __ATOMIC_RELAXED);
		line->row = legs->row[i];
		line->amount = (uint32_t)price;
		total += price;
		*record = (struct ush_record){
			.type = USH_RECORD_TYPE_HOLD,
			.run_index = (uint8_t)i,
			.run_count = 1,
			.state = USH_HOLD_STATE_HELD,
			.event = event->id,
			.user = user,
			.hold = i == 0 ? id : index,
			.mask = mask,
			.request_id = admitted->request.request_id,
			.digest = admitted->digest,
			.row = legs->row[i],
			.version = 1,
			.amount = (uint32_t)price,
			.deadline_ns = deadline_ns,
		};
		index = line->next;
	} while (ush_unlikely(++i < legs->count));
	ush_holds_price(&loop->engine->holds, act->hold, prices->number);
	act->reply.amount = total;
}

void decide_fill_hold(struct ush_loop *loop, struct act *act, const struct decide_legs *legs,
	const struct ush_admitted *admitted, uint64_t id, uint64_t deadline_ns)
{
	fill_hold(loop, act, legs, admitted, id, deadline_ns);
}

USH_INLINE struct act *grant(struct ush_loop *loop, struct ush_packet *packet,
	const struct ush_admitted *admitted, struct ush_event *event, struct ush_user *user,
	const struct decide_legs *legs)
{
	struct ush_engine *engine = loop->engine;
	uint32_t hold_ms = admitted->request.hold_ms;
	uint64_t deadline_ns =
		loop->now_ns + (uint64_t)(hold_ms != 0 ? hold_ms : event->hold_ms) * 1000000u;
	struct act *act = loop_act(loop, legs->count);
	uint64_t word, id;

	act->kind = ACT_HOLD;
	act->has_reply = 1;
	act->seats = (uint16_t)legs->seats;
	act->user = user;
	act->event = event;
	act->packet = packet;
	act->hold = ush_hold_take(loop->pool, legs->count);
	USH_ASSERT(act->hold != USH_HOLD_NONE);
	word = atomic_load_explicit(
		&ush_holds_line(&engine->holds, act->hold)->word, memory_order_relaxed);
	id = ush_hold_id(&engine->holds, act->hold, ush_hold_word_generation(word));
	ush_admit_reply(&act->reply, &admitted->request, USH_STATUS_OK);
	act->reply.hold = id;
	act->reply.deadline_ns = deadline_ns;
	act->reply.state = USH_HOLD_STATE_HELD;
	act->reply.hold_version = 1;
	fill_hold(loop, act, legs, admitted, id, deadline_ns);
	act->answer = ush_user_accept(&engine->users, user, loop->index,
		admitted->request.request_id, admitted->digest, USH_OP_RESERVE);
	act->answer->hold = id;
	loop_act_done(loop, act);
	return act;
}

struct act *decide_grant(struct ush_loop *loop, struct ush_packet *packet,
	const struct ush_admitted *admitted, struct ush_event *event, struct ush_user *user,
	const struct decide_legs *legs)
{
	return grant(loop, packet, admitted, event, user, legs);
}

bool decide_refuse_time(struct ush_loop *loop, struct ush_packet *packet,
	const struct ush_admitted *admitted, const struct ush_event *event, struct ush_user *user,
	uint32_t seats)
{
	uint32_t detail;
	enum ush_status status =
		decide_time_new(loop, event, user, seats, admitted->request.hold_ms, &detail);

	if (status == USH_STATUS_OK)
		return false;
	ush_user_unlock(user);
	loop_refuse(loop, packet, admitted, status, detail);
	return true;
}

/* The user's line is locked and the id is new. */
USH_INLINE void try_claim(struct ush_loop *loop, struct ush_packet *packet,
	const struct ush_admitted *admitted, struct ush_event *event, struct ush_user *user,
	const struct decide_legs *legs, uint32_t channel)
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
	if (ush_unlikely(ush_event_is_timed(event)) &&
		decide_refuse_time(loop, packet, admitted, event, user, legs->seats))
		return;
	if (legs_leave_orphan(legs, NULL, event, &place, &way) &&
		legs_test(legs, event, &place, &way) == USH_CLAIM_WON) {
		ush_user_unlock(user);
		ush_admit_reply(&reply, &admitted->request, USH_STATUS_ORPHAN);
		reply.hold = way;
		reply.detail = place;
		loop_reply_now(loop, packet, &reply);
		return;
	}
	claim = ush_unlikely(channel != 0)
			? decide_channel_claim(loop, legs, event, channel, &place, &way)
			: claim_legs(legs, event, &place, &way);
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

USH_INLINE bool begin_hold(struct ush_loop *loop, struct ush_packet *packet,
	const struct ush_admitted *admitted, const struct ush_event *event, struct ush_user **user,
	enum ush_status *takes, uint32_t *detail)
{
	const struct ush_request *request = &admitted->request;

	*detail = 0;
	*user = NULL;
	*takes = event_takes_holds(loop, event, detail);
	/* A key that was replaced since does not undo what it bought: see the repeat below. */
	if (event != NULL && ush_unlikely(!decide_channel(loop, admitted, event))) {
		*takes = USH_STATUS_CHANNEL;
		*detail = 0;
	}
	/* Seats of a channel are off public sale. */
	if (ush_unlikely(*takes == USH_STATUS_SOLD_OUT) && admitted->channel != 0)
		*takes = USH_STATUS_OK;
	if (ush_unlikely(*takes == USH_STATUS_UNKNOWN_EVENT)) {
		loop_refuse(loop, packet, admitted, *takes, *detail);
		return false;
	}
	USH_CHECK(admitted->user_hash ==
		  ush_user_hash(&loop->engine->users, request->user, request->event));
	/* A repeat of an accepted request gets its answer whatever became of the event since; a
	 * refusal of the event as a whole leaves no trace of the user. */
	if (ush_unlikely(
		    *takes != USH_STATUS_OK ||
		    !ush_user_lock_home(&loop->engine->users, admitted->user_hash, request->user,
			    request->event, loop->index, request->request_id, user)) &&
		!decide_lock_user(loop, packet, admitted, *takes == USH_STATUS_OK, user))
		return false;
	if (*user != NULL && !ush_user_is_ahead(*user, request->request_id) &&
		decide_repeat(loop, packet, admitted, *user))
		return false;
	if (*takes == USH_STATUS_OK &&
		ush_unlikely(request->hold_ms > event->hold_ms_max ||
			     (request->hold_ms != 0 && request->hold_ms < USH_HOLD_MS_MIN))) {
		*takes = USH_STATUS_BAD_REQUEST;
		*detail = USH_FAULT_HOLD_TIME;
	}
	return true;
}

bool decide_begin_hold(struct ush_loop *loop, struct ush_packet *packet,
	const struct ush_admitted *admitted, const struct ush_event *event, struct ush_user **user,
	enum ush_status *takes, uint32_t *detail)
{
	return begin_hold(loop, packet, admitted, event, user, takes, detail);
}

void decide_reserve(
	struct ush_loop *loop, struct ush_packet *packet, const struct ush_admitted *admitted)
{
	struct ush_engine *engine = loop->engine;
	struct ush_event *event;
	struct ush_user *user;
	struct decide_legs legs;
	enum ush_status takes;
	uint32_t detail;

	event = ush_inventory_event(&engine->inventory, admitted->request.event);
	if (!begin_hold(loop, packet, admitted, event, &user, &takes, &detail))
		return;
	if (ush_likely(takes == USH_STATUS_OK)) {
		legs_read(&legs, admitted);
		if (!legs_exist(&legs, event, &detail))
			takes = USH_STATUS_NO_SUCH_SEAT;
		else if (!loop->room_new || loop->pool->free_count < legs.count ||
			 !ush_answer_available(&engine->users, loop->index))
			takes = USH_STATUS_BUSY;
	}
	if (ush_unlikely(takes != USH_STATUS_OK)) {
		if (user != NULL)
			ush_user_unlock(user);
		loop_refuse(loop, packet, admitted, takes, takes == USH_STATUS_BUSY ? 0 : detail);
		return;
	}
	try_claim(loop, packet, admitted, event, user, &legs, admitted->channel);
}

enum ush_status decide_claim_named(struct ush_loop *loop, const struct ush_admitted *admitted,
	struct ush_event *event, uint32_t channel, const struct ush_best_legs *given,
	struct decide_legs *legs, uint32_t *place, uint64_t *way)
{
	enum ush_claim claim;

	legs_read(legs, admitted);
	if (!legs_exist(legs, event, place))
		return USH_STATUS_NO_SUCH_SEAT;
	if (given != NULL && legs_leave_orphan(legs, given, event, place, way) &&
		legs_test(legs, event, place, way) == USH_CLAIM_WON)
		return USH_STATUS_ORPHAN;
	claim = channel != 0 ? decide_channel_claim(loop, legs, event, channel, place, way)
			     : decide_legs_claim(legs, event, place, way);
	if (claim == USH_CLAIM_WON)
		return USH_STATUS_OK;
	return claim == USH_CLAIM_TAKEN ? USH_STATUS_TAKEN : USH_STATUS_TAKEN_NOW;
}

void decide_unclaim(struct ush_loop *loop, const struct decide_legs *legs, struct ush_event *event,
	uint32_t channel)
{
	if (channel != 0) {
		decide_channel_unclaim(loop, legs, event, channel);
		return;
	}
	for (uint32_t i = 0; i < legs->count; i++)
		ush_row_unclaim(event, ush_event_row(event, legs->row[i]), legs->mask[i]);
}
