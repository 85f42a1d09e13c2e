/* SPDX-License-Identifier: Apache-2.0 */
/*
 * WAIT_LIST: joining and leaving the list of those who wait, and asking how one stands. Who is
 * served when is in match.c.
 *
 * Happy path: the user's line is locked, the id is new, nothing free fits; the list is locked, the
 * entry joins its end, and its record the batch. Both stay locked until the batch is visible.
 *
 * Failure modes: another loop has the list: RETRY. No entry, answer or room: BUSY. Neither changes
 * anything.
 */
#include "loop/internal.h"

/* Bits of `arg`; see contract.toml. */
#define ARG_JOIN_USED 0xffff00ffull
#define FLAG_TIER 1u

bool decide_wait_lock(struct ush_loop *loop, struct ush_wait_list *list)
{
	if (atomic_load_explicit(&list->lock, memory_order_relaxed) == loop->index + 1)
		return true;
	if (!ush_wait_lock(list, loop->index))
		return false;
	USH_ASSERT(loop->list_count < BATCH_ACTS);
	loop->lists[loop->list_count++] = list;
	return true;
}

void decide_wait_over(struct ush_loop *loop, struct ush_hold *hold)
{
	struct ush_wait *wait;

	if (ush_likely((hold->flags & USH_HOLD_OFFER) == 0))
		return;
	hold->flags &= (uint8_t)~USH_HOLD_OFFER;
	wait = ush_wait_find(&loop->engine->waits, hold->user, hold->event);
	USH_ASSERT(wait != NULL);
	ush_wait_drop(&loop->engine->waits, wait);
}

void decide_wait_aside(struct ush_loop *loop, struct ush_event *event, uint16_t row, uint64_t mask)
{
	ush_aside_add(event, row, mask);
	ush_wait_poke(&loop->engine->waits, event->id);
}

struct ush_wait *decide_wait_describe(struct ush_loop *loop, const struct ush_request *request,
	struct ush_reply *reply, uint64_t *rests_on)
{
	struct ush_engine *engine = loop->engine;
	struct ush_wait *wait = ush_wait_find(&engine->waits, request->user, request->event);
	uint32_t index;

	if (wait == NULL)
		return NULL;
	if (wait->state == USH_WAIT_LISTED) {
		reply->amount = ush_wait_place(ush_wait_list(&engine->waits, request->event), wait);
		*rests_on = ush_max64(*rests_on, wait->sequence);
		return wait;
	}
	reply->hold = wait->hold;
	index = ush_hold_id_index(wait->hold);
	decide_describe(engine, index, reply);
	*rests_on = ush_max64(*rests_on, ush_holds_line(&engine->holds, index)->sequence);
	return wait;
}

uint64_t decide_wait_repeat(struct ush_loop *loop, const struct ush_admitted *admitted,
	struct ush_reply *reply, uint64_t rests_on)
{
	/* Off the list, for whatever reason: that rests on some record so far. */
	if (admitted->request.arg >> 32 == USH_WAIT_ACTION_JOIN &&
		decide_wait_describe(loop, &admitted->request, reply, &rests_on) == NULL)
		rests_on = ush_log_reserved(&loop->engine->log) - 1;
	reply->sequence = rests_on;
	return rests_on;
}

/* Unlocks and answers with how the user stands. ret: false: he does not; nothing is done. */
static bool answer_standing(struct ush_loop *loop, struct ush_packet *packet,
	const struct ush_admitted *admitted, struct ush_user *user, enum ush_status status)
{
	struct ush_reply reply;
	uint64_t rests_on = 0;

	ush_admit_reply(&reply, &admitted->request, status);
	if (decide_wait_describe(loop, &admitted->request, &reply, &rests_on) == NULL)
		return false;
	ush_user_unlock(user);
	reply.sequence = rests_on;
	loop_reply_after(loop, packet, &reply, rests_on);
	return true;
}

static void look(struct ush_loop *loop, struct ush_packet *packet,
	const struct ush_admitted *admitted, const struct ush_event *event)
{
	uint32_t status = atomic_load_explicit(&event->status, memory_order_acquire);
	bool over = status == USH_EVENT_STATUS_COMPLETED || status == USH_EVENT_STATUS_CANCELLED;
	struct ush_reply reply;
	struct ush_user *user;

	if (!decide_lock_user(loop, packet, admitted, false, &user))
		return;
	if (user != NULL && answer_standing(loop, packet, admitted, user, USH_STATUS_OK))
		return;
	if (user != NULL)
		ush_user_unlock(user);
	ush_admit_reply(
		&reply, &admitted->request, over ? USH_STATUS_NOT_ON_SALE : USH_STATUS_NOT_ON_LIST);
	reply.detail = over ? status : 0;
	/* That he is not may be news: who left, or whose offer ended. */
	decide_reply_after_all(loop, packet, &reply);
}

/* An act about the list, with the answer to the request. */
static struct act *wait_act(struct ush_loop *loop, struct ush_packet *packet,
	const struct ush_admitted *admitted, struct ush_event *event, struct ush_user *user,
	struct ush_wait *wait)
{
	struct act *act = decide_event_act(
		loop, packet, admitted, event, ACT_WAIT_JOIN, USH_RECORD_TYPE_WAIT_JOIN);
	struct ush_record *record = &loop->records[act->record_first];

	record->user = admitted->request.user;
	record->request_id = admitted->request.request_id;
	record->digest = admitted->digest;
	act->user = user;
	act->wait = wait;
	act->answer = ush_user_accept(&loop->engine->users, user, loop->index,
		admitted->request.request_id, admitted->digest, USH_OP_WAIT_LIST);
	act->answer->hold = 0;
	return act;
}

/* The user is not on the list, the list is locked, and counts him. ret: OK: he is on it. */
static enum ush_status join(struct ush_loop *loop, struct ush_packet *packet,
	const struct ush_admitted *admitted, struct ush_event *event, struct ush_user *user,
	struct ush_wait_list *list)
{
	const struct ush_request *request = &admitted->request;
	struct ush_waits *waits = &loop->engine->waits;
	uint32_t seats = (uint32_t)request->arg & 0xff;
	uint32_t tier = (request->arg >> 24 & FLAG_TIER) != 0 ? request->arg >> 16 & 0xff
							      : USH_WAIT_TIER_ANY;
	uint64_t given = atomic_load_explicit(&event->best_given, memory_order_seq_cst);
	struct ush_best_legs legs;
	struct ush_record *record;
	struct ush_wait *wait;
	struct act *act;

	if (match_free(event, tier, seats, &legs))
		return USH_STATUS_NOT_SOLD_OUT;
	/* Seats are on their way back: what was not found may be there now. */
	if (atomic_load_explicit(&event->best_open, memory_order_seq_cst) != 0 ||
		atomic_load_explicit(&event->best_given, memory_order_seq_cst) != given)
		return USH_STATUS_RETRY;
	wait = ush_wait_enter(waits, request->user, request->event);
	if (wait == NULL)
		return USH_STATUS_BUSY;
	wait->tier = (uint16_t)tier;
	wait->seats = (uint8_t)seats;
	wait->request_id = request->request_id;
	wait->digest = admitted->digest;
	ush_wait_append(waits, list, wait);
	act = wait_act(loop, packet, admitted, event, user, wait);
	act->reply.amount = ush_wait_place(list, wait);
	record = &loop->records[act->record_first];
	record->mask = seats;
	record->row = (uint16_t)tier;
	record->amount = wait->place;
	loop_act_done(loop, act);
	return USH_STATUS_OK;
}

static void try_join(struct ush_loop *loop, struct ush_packet *packet,
	const struct ush_admitted *admitted, struct ush_event *event, struct ush_user *user)
{
	struct ush_wait_list *list;
	struct ush_reply reply;
	enum ush_status status;

	if (answer_standing(loop, packet, admitted, user, USH_STATUS_ON_LIST))
		return;
	if (user->seats + ((uint32_t)admitted->request.arg & 0xff) > event->user_seats_max) {
		ush_admit_reply(&reply, &admitted->request, USH_STATUS_LIMIT);
		reply.detail = event->user_seats_max;
		decide_refuse_done(loop, packet, admitted, user, &reply);
		return;
	}
	list = ush_wait_list(&loop->engine->waits, event->id);
	if (!decide_wait_lock(loop, list)) {
		decide_answer_unlocked(loop, packet, admitted, user, USH_STATUS_RETRY);
		return;
	}
	/* Counted before the search for free seats: whoever gives seats back from here keeps them.
	 */
	atomic_store_explicit(&event->keeps, 1, memory_order_release);
	atomic_fetch_add_explicit(&list->count, 1, memory_order_seq_cst);
	status = join(loop, packet, admitted, event, user, list);
	if (status == USH_STATUS_OK)
		return;
	atomic_fetch_sub_explicit(&list->count, 1, memory_order_release);
	decide_answer_unlocked(loop, packet, admitted, user, status);
}

static void try_leave(struct ush_loop *loop, struct ush_packet *packet,
	const struct ush_admitted *admitted, struct ush_event *event, struct ush_user *user)
{
	struct ush_waits *waits = &loop->engine->waits;
	struct ush_wait *wait = ush_wait_find(waits, admitted->request.user, event->id);
	struct ush_wait_list *list = ush_wait_list(waits, event->id);
	struct ush_record *record;
	struct ush_reply reply;
	struct act *act;

	if (wait == NULL) {
		ush_user_unlock(user);
		ush_admit_reply(&reply, &admitted->request, USH_STATUS_NOT_ON_LIST);
		decide_reply_after_all(loop, packet, &reply);
		return;
	}
	if (wait->state != USH_WAIT_LISTED) {
		answer_standing(loop, packet, admitted, user, USH_STATUS_ON_LIST);
		return;
	}
	if (!decide_wait_lock(loop, list)) {
		decide_answer_unlocked(loop, packet, admitted, user, USH_STATUS_RETRY);
		return;
	}
	ush_wait_unlink(waits, list, wait);
	act = wait_act(loop, packet, admitted, event, user, wait);
	act->kind = ACT_WAIT_LEAVE;
	record = &loop->records[act->record_first];
	record->type = USH_RECORD_TYPE_WAIT_LEAVE;
	record->state = USH_WAIT_LEFT_ASKED;
	loop_act_done(loop, act);
}

/* ret: false: `arg` is outside its range. */
static bool read_arg(uint64_t arg, const struct ush_event *event)
{
	uint32_t seats = (uint32_t)arg & 0xff, tier = (uint32_t)arg >> 16 & 0xff;
	uint32_t flags = (uint32_t)arg >> 24;

	if (arg >> 32 != USH_WAIT_ACTION_JOIN)
		return arg == (uint64_t)USH_WAIT_ACTION_LEAVE << 32 ||
		       arg == (uint64_t)USH_WAIT_ACTION_LOOK << 32;
	return (arg & ~ARG_JOIN_USED) == 0 && seats >= 1 && seats <= USH_WAIT_SEATS_MAX &&
	       (flags == FLAG_TIER ? tier < event->tier_count : flags == 0 && tier == 0);
}

void decide_wait_list(
	struct ush_loop *loop, struct ush_packet *packet, const struct ush_admitted *admitted)
{
	const struct ush_request *request = &admitted->request;
	struct ush_event *event = ush_inventory_event(&loop->engine->inventory, request->event);
	bool joins = request->arg >> 32 == USH_WAIT_ACTION_JOIN;
	struct ush_user *user;
	uint32_t status;

	if (event == NULL || !read_arg(request->arg, event)) {
		loop_refuse(loop, packet, admitted,
			event == NULL ? USH_STATUS_UNKNOWN_EVENT : USH_STATUS_BAD_REQUEST,
			event == NULL ? 0 : USH_FAULT_ARGUMENT);
		return;
	}
	if (request->arg >> 32 == USH_WAIT_ACTION_LOOK) {
		look(loop, packet, admitted, event);
		return;
	}
	status = atomic_load_explicit(&event->status, memory_order_acquire);
	if (!decide_lock_user(
		    loop, packet, admitted, joins && status == USH_EVENT_STATUS_ON_SALE, &user))
		return;
	if (user != NULL && decide_repeat(loop, packet, admitted, user))
		return;
	if (joins && status != USH_EVENT_STATUS_ON_SALE) {
		if (user != NULL)
			ush_user_unlock(user);
		loop_refuse(loop, packet, admitted, USH_STATUS_NOT_ON_SALE, status);
		return;
	}
	if (user == NULL) {
		loop_refuse(loop, packet, admitted, USH_STATUS_NOT_ON_LIST, 0);
		return;
	}
	if (!loop->room_new || !ush_waits_on(&loop->engine->waits) ||
		!ush_answer_available(&loop->engine->users, loop->index)) {
		decide_answer_unlocked(loop, packet, admitted, user, USH_STATUS_BUSY);
		return;
	}
	if (joins)
		try_join(loop, packet, admitted, event, user);
	else
		try_leave(loop, packet, admitted, event, user);
}
