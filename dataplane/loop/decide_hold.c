/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What happens to a hold after it was taken: release, confirm, expiry, look; and the user line that
 * all of them need.
 */
#include "loop/internal.h"

bool decide_lock_user(struct ush_loop *loop, struct ush_packet *packet,
	const struct ush_admitted *admitted, bool make, struct ush_user **line)
{
	struct ush_users *users = &loop->engine->users;
	uint64_t user = admitted->request.user;
	uint32_t event = admitted->request.event;
	/* Only these enter the window; a number in another operation names no duplicate. */
	bool counted = decide_has_window(admitted->request.op);
	uint32_t id = counted ? admitted->request.request_id : 0;
	/* Not admitted->user_hash: a request may have been made up for another user. */
	uint64_t hash = ush_user_hash(users, user, event);

	for (;;) {
		enum ush_user_result result =
			make ? ush_user_enter_bucket(
				       users, hash, user, event, loop->index, id, line)
			     : ush_user_find(users, hash, user, event, loop->index, id, line);
		switch (result) {
		case USH_USER_OK:
			return true;
		case USH_USER_ABSENT:
			*line = NULL;
			return true;
		case USH_USER_OWN:
			/* Ours, in this batch. After the flush nothing is locked by this loop. */
			USH_ASSERT(loop->act_count != 0);
			loop_flush(loop);
			continue;
		case USH_USER_DUPLICATE:
			loop_drop(loop, packet, USH_DROP_DUPLICATE_PENDING);
			return false;
		case USH_USER_BUSY:
			loop_refuse(loop, packet, admitted, USH_STATUS_RETRY, 0);
			return false;
		case USH_USER_FULL:
			loop_refuse(loop, packet, admitted, USH_STATUS_BUSY, 0);
			return false;
		}
	}
}

uint32_t decide_hold_seats(const struct ush_holds *holds, const struct ush_hold *hold)
{
	uint32_t seats = 0;

	for (;; hold = ush_holds_line(holds, hold->next)) {
		seats += ush_popcount64(hold->mask);
		if (hold->next == USH_HOLD_NONE)
			return seats;
	}
}

void decide_describe(const struct ush_engine *engine, uint32_t index, struct ush_reply *reply)
{
	const struct ush_hold *hold = ush_holds_line(&engine->holds, index);
	uint64_t word = atomic_load_explicit(&hold->word, memory_order_acquire);

	reply->state = (uint8_t)ush_hold_word_state(word);
	reply->hold_version = ush_hold_word_version(word);
	reply->deadline_ns = hold->deadline_ns;
	reply->amount = 0;
	for (;; hold = ush_holds_line(&engine->holds, hold->next)) {
		reply->amount += hold->amount;
		if (hold->next == USH_HOLD_NONE)
			break;
	}
}

struct ush_hold *decide_find_hold(
	const struct ush_engine *engine, const struct ush_request *request, uint32_t *index)
{
	struct ush_hold *hold;
	uint64_t word;

	*index = ush_hold_id_check(&engine->holds, request->hold);
	if (*index == USH_HOLD_NONE)
		return NULL;
	hold = ush_holds_line(&engine->holds, *index);
	word = atomic_load_explicit(&hold->word, memory_order_acquire);
	if (ush_hold_word_generation(word) != ush_hold_id_generation(request->hold))
		return NULL;
	switch (ush_hold_word_state(word)) {
	case USH_HOLD_STATE_HELD:
	case USH_HOLD_STATE_BUSY:
	case USH_HOLD_STATE_PAYING:
	case USH_HOLD_STATE_SOLD:
	case USH_HOLD_STATE_REFUNDING:
		break;
	default:
		return NULL;
	}
	/* Relaxed: of a hold that is not this user's the line may be refilled at this moment. */
	if (__atomic_load_n(&hold->user, __ATOMIC_RELAXED) != request->user ||
		__atomic_load_n(&hold->event, __ATOMIC_RELAXED) != request->event)
		return NULL;
	return hold;
}

bool decide_repeat(struct ush_loop *loop, struct ush_packet *packet,
	const struct ush_admitted *admitted, struct ush_user *line)
{
	struct ush_engine *engine = loop->engine;
	const struct ush_accepted *answer = NULL;
	struct ush_request named = admitted->request;
	const struct ush_hold *hold;
	struct ush_reply reply;
	uint64_t rests_on;
	uint32_t index;
	uint8_t status = 0;

	switch (ush_user_window(&engine->users, line, admitted->request.request_id,
		admitted->digest, &answer, &status)) {
	case USH_WINDOW_NEW:
		return false;
	case USH_WINDOW_ACCEPTED:
		ush_admit_reply(&reply, &admitted->request, USH_STATUS_OK);
		reply.hold = answer->hold;
		reply.sequence = answer->sequence;
		reply.detail = 1;
		named.hold = answer->hold;
		/* It tells what became of the hold, so it also waits for that: a sale, or whatever
		 * ended it. */
		rests_on = answer->sequence;
		if (ush_unlikely(admitted->request.op == USH_OP_WAIT_LIST))
			rests_on = decide_wait_repeat(loop, admitted, &reply, rests_on);
		hold = decide_find_hold(engine, &named, &index);
		if (hold != NULL) {
			decide_describe(engine, index, &reply);
			rests_on = ush_max64(rests_on, hold->sequence);
			if (admitted->request.op == USH_OP_RESERVE_BEST ||
				admitted->request.op == USH_OP_RESERVE_AREA)
				decide_best_describe(engine, packet, admitted, hold, &reply);
		} else {
			rests_on = ush_log_reserved(&engine->log) - 1;
		}
		ush_user_unlock(line);
		count(&loop->counters.repeated);
		loop_reply_after(loop, packet, &reply, rests_on);
		return true;
	case USH_WINDOW_REFUSED:
		break;
	case USH_WINDOW_MISMATCH:
		status = USH_STATUS_MISMATCH;
		break;
	case USH_WINDOW_STALE:
		status = USH_STATUS_STALE;
		break;
	}
	ush_user_unlock(line);
	count(&loop->counters.repeated);
	ush_admit_reply(&reply, &admitted->request, (enum ush_status)status);
	if (status == USH_STATUS_TAKEN || status == USH_STATUS_TAKEN_NOW)
		reply.hold = 0;
	/* These two tell of a change, which may not be durable yet. */
	if (status == USH_STATUS_EXPIRED || status == USH_STATUS_WRONG_STATE)
		loop_reply_after(loop, packet, &reply, ush_log_reserved(&engine->log) - 1);
	else
		loop_reply_now(loop, packet, &reply);
	return true;
}

void decide_refuse_done(struct ush_loop *loop, struct ush_packet *packet,
	const struct ush_admitted *admitted, struct ush_user *line, struct ush_reply *reply)
{
	ush_user_refuse(line, admitted->request.request_id, admitted->digest, reply->status);
	ush_user_unlock(line);
	loop_reply_now(loop, packet, reply);
}

/* What each change of a hold starts from, ends in, and is called in the journal. */
static const struct transition {
	uint8_t from;
	uint8_t to;
	uint8_t type;
} transitions[] = {
	[ACT_RELEASE] = {USH_HOLD_STATE_HELD, USH_HOLD_STATE_RELEASED, USH_RECORD_TYPE_RELEASE},
	[ACT_EXPIRE] = {USH_HOLD_STATE_HELD, USH_HOLD_STATE_EXPIRED, USH_RECORD_TYPE_EXPIRE},
	[ACT_CONFIRM] = {USH_HOLD_STATE_HELD, USH_HOLD_STATE_SOLD, USH_RECORD_TYPE_CONFIRM},
	[ACT_EXTEND] = {USH_HOLD_STATE_HELD, USH_HOLD_STATE_HELD, USH_RECORD_TYPE_EXTEND},
	[ACT_CUT] = {USH_HOLD_STATE_HELD, USH_HOLD_STATE_HELD, USH_RECORD_TYPE_CUT},
	[ACT_SWAP] = {USH_HOLD_STATE_HELD, USH_HOLD_STATE_HELD, USH_RECORD_TYPE_SWAP},
	[ACT_PAY_BEGIN] = {USH_HOLD_STATE_HELD, USH_HOLD_STATE_PAYING, USH_RECORD_TYPE_PAY_BEGIN},
	[ACT_PAY_SOLD] = {USH_HOLD_STATE_PAYING, USH_HOLD_STATE_SOLD, USH_RECORD_TYPE_PAY_END},
	[ACT_PAY_FAILED] = {USH_HOLD_STATE_PAYING, USH_HOLD_STATE_HELD, USH_RECORD_TYPE_PAY_END},
	[ACT_PAY_EXPIRED] = {USH_HOLD_STATE_PAYING, USH_HOLD_STATE_EXPIRED,
		USH_RECORD_TYPE_PAY_END},
	[ACT_REFUND_BEGIN] = {USH_HOLD_STATE_SOLD, USH_HOLD_STATE_REFUNDING,
		USH_RECORD_TYPE_REFUND_BEGIN},
	[ACT_REFUND_FAILED] = {USH_HOLD_STATE_REFUNDING, USH_HOLD_STATE_SOLD,
		USH_RECORD_TYPE_REFUND_END},
	[ACT_REFUND_SOME] = {USH_HOLD_STATE_REFUNDING, USH_HOLD_STATE_SOLD,
		USH_RECORD_TYPE_REFUND_END},
	[ACT_TRANSFER] = {USH_HOLD_STATE_SOLD, USH_HOLD_STATE_SOLD, USH_RECORD_TYPE_TRANSFER},
	[ACT_REFUND_ALL] = {USH_HOLD_STATE_REFUNDING, USH_HOLD_STATE_REFUNDED,
		USH_RECORD_TYPE_REFUND_END},
};

struct act *decide_transition(struct ush_loop *loop, enum act_kind kind, uint32_t index,
	struct ush_user *user, uint32_t records)
{
	const struct transition *step = &transitions[kind];
	struct ush_engine *engine = loop->engine;
	struct ush_hold *hold = ush_holds_line(&engine->holds, index);
	uint64_t word = atomic_load_explicit(&hold->word, memory_order_acquire);
	uint16_t version = ush_hold_word_version(word);
	uint64_t id = ush_hold_id(&engine->holds, index, ush_hold_word_generation(word));
	struct act *act;

	if (ush_hold_word_state(word) != step->from ||
		!atomic_compare_exchange_strong_explicit(&hold->word, &word,
			(word & ~0xffull) | USH_HOLD_STATE_BUSY, memory_order_acq_rel,
			memory_order_relaxed))
		return NULL;
	act = loop_act(loop, records);
	act->kind = (uint8_t)kind;
	act->hold = index;
	act->user = user;
	act->event = ush_inventory_event(&engine->inventory, hold->event);
	act->seats = (uint16_t)decide_hold_seats(&engine->holds, hold);
	for (uint32_t i = 0; i < records; i++) {
		struct ush_record *record = loop_act_record(loop, act);

		record->type = step->type;
		record->state = step->to;
		record->event = hold->event;
		record->user = hold->user;
		record->hold = id;
		record->mask = hold->mask;
		record->row = hold->row;
		record->version = (uint16_t)(version + 1);
		record->amount = hold->amount;
		record->deadline_ns = hold->deadline_ns;
	}
	return act;
}

void decide_reply(struct act *act, struct ush_packet *packet, const struct ush_reply *reply)
{
	act->has_reply = 1;
	act->packet = packet;
	act->reply = *reply;
}

void decide_expire_and_answer(struct ush_loop *loop, struct ush_packet *packet,
	const struct ush_admitted *admitted, struct ush_user *user, uint32_t index)
{
	struct act *act = decide_transition(loop, ACT_EXPIRE, index, user, 1);
	struct ush_reply reply;

	if (act == NULL) {
		decide_answer_unlocked(loop, packet, admitted, user, USH_STATUS_RETRY);
		return;
	}
	ush_admit_reply(&reply, &admitted->request, USH_STATUS_EXPIRED);
	reply.state = USH_HOLD_STATE_EXPIRED;
	decide_reply(act, packet, &reply);
	if (decide_has_window(admitted->request.op))
		ush_user_refuse(
			user, admitted->request.request_id, admitted->digest, USH_STATUS_EXPIRED);
	loop_act_done(loop, act);
}

void decide_answer_unlocked(struct ush_loop *loop, struct ush_packet *packet,
	const struct ush_admitted *admitted, struct ush_user *user, enum ush_status status)
{
	if (user != NULL)
		ush_user_unlock(user);
	loop_refuse(loop, packet, admitted, status, 0);
}

void decide_answer_state(struct ush_loop *loop, struct ush_packet *packet,
	const struct ush_admitted *admitted, struct ush_user *user, uint32_t index,
	enum ush_status status)
{
	const struct ush_hold *hold = ush_holds_line(&loop->engine->holds, index);
	uint64_t rests_on = hold->sequence;
	struct ush_reply reply;

	ush_admit_reply(&reply, &admitted->request, status);
	decide_describe(loop->engine, index, &reply);
	if (reply.state == USH_HOLD_STATE_BUSY) {
		decide_answer_unlocked(loop, packet, admitted, user, USH_STATUS_RETRY);
		return;
	}
	reply.sequence = rests_on;
	if (status == USH_STATUS_WRONG_STATE) {
		reply.deadline_ns = reply.amount = 0;
		reply.hold_version = 0;
		if (decide_has_window(admitted->request.op))
			ush_user_refuse(user, admitted->request.request_id, admitted->digest,
				USH_STATUS_WRONG_STATE);
	}
	ush_user_unlock(user);
	loop_reply_after(loop, packet, &reply, rests_on);
}

struct ush_hold *decide_open_hold(struct ush_loop *loop, struct ush_packet *packet,
	const struct ush_admitted *admitted, bool window, struct ush_user **user, uint32_t *index)
{
	const struct ush_request *request = &admitted->request;
	struct ush_engine *engine = loop->engine;
	struct ush_hold *hold;

	if (ush_inventory_event(&engine->inventory, request->event) == NULL) {
		loop_refuse(loop, packet, admitted, USH_STATUS_UNKNOWN_EVENT, 0);
		return NULL;
	}
	if (!decide_lock_user(loop, packet, admitted, false, user))
		return NULL;
	if (window && *user != NULL && decide_repeat(loop, packet, admitted, *user))
		return NULL;
	hold = *user != NULL ? decide_find_hold(engine, request, index) : NULL;
	if (hold == NULL) {
		decide_answer_unlocked(loop, packet, admitted, *user, USH_STATUS_NO_HOLD);
		return NULL;
	}
	if (!loop->room_kept || (window && !ush_answer_available(&engine->users, loop->index))) {
		decide_answer_unlocked(loop, packet, admitted, *user, USH_STATUS_BUSY);
		return NULL;
	}
	return hold;
}

static uint32_t state_of(const struct ush_hold *hold)
{
	return ush_hold_word_state(atomic_load_explicit(&hold->word, memory_order_acquire));
}

void decide_release(
	struct ush_loop *loop, struct ush_packet *packet, const struct ush_admitted *admitted)
{
	const struct ush_request *request = &admitted->request;
	struct ush_engine *engine = loop->engine;
	struct ush_record *record;
	struct ush_reply reply;
	struct ush_user *user;
	uint32_t index;
	struct ush_hold *hold = decide_open_hold(loop, packet, admitted, true, &user, &index);
	struct act *act;

	if (hold == NULL)
		return;
	if (state_of(hold) != USH_HOLD_STATE_HELD) {
		decide_answer_state(loop, packet, admitted, user, index, USH_STATUS_WRONG_STATE);
		return;
	}
	if (loop->now_ns >= hold->deadline_ns) {
		decide_expire_and_answer(loop, packet, admitted, user, index);
		return;
	}
	if (admitted->leg_count != 0) {
		decide_cut(loop, packet, admitted, user, index);
		return;
	}
	act = decide_transition(loop, ACT_RELEASE, index, user, 1);
	if (act == NULL) {
		decide_answer_unlocked(loop, packet, admitted, user, USH_STATUS_RETRY);
		return;
	}
	record = &loop->records[act->record_first];
	record->request_id = request->request_id;
	record->digest = admitted->digest;
	ush_admit_reply(&reply, request, USH_STATUS_OK);
	reply.state = USH_HOLD_STATE_RELEASED;
	decide_reply(act, packet, &reply);
	act->answer = ush_user_accept(&engine->users, user, loop->index, request->request_id,
		admitted->digest, USH_OP_RELEASE);
	act->answer->hold = request->hold;
	loop_act_done(loop, act);
}

void decide_confirm(
	struct ush_loop *loop, struct ush_packet *packet, const struct ush_admitted *admitted)
{
	struct ush_reply reply;
	struct ush_user *user;
	uint32_t index;
	struct ush_hold *hold = decide_open_hold(loop, packet, admitted, false, &user, &index);
	struct act *act;

	if (hold == NULL)
		return;
	ush_admit_reply(&reply, &admitted->request, USH_STATUS_OK);
	decide_describe(loop->engine, index, &reply);
	switch (reply.state) {
	case USH_HOLD_STATE_SOLD:
		/* Sold already: the same answer, however often it is asked. */
		reply.sequence = hold->sequence;
		reply.detail = 1;
		ush_user_unlock(user);
		loop_reply_after(loop, packet, &reply, reply.sequence);
		return;
	case USH_HOLD_STATE_PAYING:
	case USH_HOLD_STATE_REFUNDING:
		decide_answer_state(loop, packet, admitted, user, index, USH_STATUS_WRONG_STATE);
		return;
	default:
		break;
	}
	if (loop->now_ns >= hold->deadline_ns) {
		decide_expire_and_answer(loop, packet, admitted, user, index);
		return;
	}
	act = decide_transition(loop, ACT_CONFIRM, index, user, 1);
	if (act == NULL) {
		decide_answer_unlocked(loop, packet, admitted, user, USH_STATUS_RETRY);
		return;
	}
	reply.state = USH_HOLD_STATE_SOLD;
	reply.hold_version++;
	decide_reply(act, packet, &reply);
	loop_act_done(loop, act);
}

void decide_query_hold(
	struct ush_loop *loop, struct ush_packet *packet, const struct ush_admitted *admitted)
{
	struct ush_engine *engine = loop->engine;
	struct ush_reply reply;
	struct ush_user *user;
	struct ush_hold *hold;
	uint32_t index;

	if (ush_inventory_event(&engine->inventory, admitted->request.event) == NULL) {
		loop_refuse(loop, packet, admitted, USH_STATUS_UNKNOWN_EVENT, 0);
		return;
	}
	if (!decide_lock_user(loop, packet, admitted, false, &user))
		return;
	hold = user != NULL ? decide_find_hold(engine, &admitted->request, &index) : NULL;
	if (hold == NULL) {
		decide_answer_unlocked(loop, packet, admitted, user, USH_STATUS_NO_HOLD);
		return;
	}
	ush_admit_reply(&reply, &admitted->request, USH_STATUS_OK);
	decide_describe(engine, index, &reply);
	reply.sequence = hold->sequence;
	/* Past its deadline it is over, and whoever is told so may rely on it: the record is
	 * written here. A loop whose turn began before the deadline could extend the hold
	 * otherwise. */
	if (ush_unlikely(reply.state == USH_HOLD_STATE_HELD && loop->now_ns >= hold->deadline_ns)) {
		if (loop->room_kept)
			decide_expire_and_answer(loop, packet, admitted, user, index);
		else
			decide_answer_unlocked(loop, packet, admitted, user, USH_STATUS_BUSY);
		return;
	}
	ush_user_unlock(user);
	loop_reply_after(loop, packet, &reply, reply.sequence);
}

/* One hold that the wheel says is due. ret: true if it was settled. */
static bool expire_one(struct ush_loop *loop, uint32_t index)
{
	struct ush_engine *engine = loop->engine;
	struct ush_hold *hold = ush_holds_line(&engine->holds, index);
	uint64_t word = atomic_load_explicit(&hold->word, memory_order_acquire);
	struct ush_user *user = NULL;
	enum ush_user_result result;
	uint64_t hash;
	struct act *act;

	switch (ush_hold_word_state(word)) {
	case USH_HOLD_STATE_RELEASED:
	case USH_HOLD_STATE_EXPIRED:
	case USH_HOLD_STATE_REFUNDED:
		/* Ended by another loop and on its way home. */
	case USH_HOLD_STATE_SOLD:
	case USH_HOLD_STATE_REFUNDING:
		return true;
	case USH_HOLD_STATE_PAYING:
		/* It may be HELD again; then it must come up. */
		ush_wheel_again(loop->pool, index, PAYING_TICKS);
		return true;
	case USH_HOLD_STATE_HELD:
		break;
	default:
		return false;
	}
	loop_make_room(loop);
	if (!loop->room_kept)
		return false;
	hash = ush_user_hash(&engine->users, hold->user, hold->event);
	result =
		ush_user_find(&engine->users, hash, hold->user, hold->event, loop->index, 0, &user);
	if (result == USH_USER_OWN) {
		loop_flush(loop);
		result = ush_user_find(
			&engine->users, hash, hold->user, hold->event, loop->index, 0, &user);
	}
	if (result != USH_USER_OK)
		return false;
	/* Extended by another loop since it was hung: where nobody changes it now. */
	if (loop->now_ns < hold->deadline_ns) {
		ush_user_unlock(user);
		ush_wheel_add(loop->pool, index);
		return true;
	}
	act = decide_transition(loop, ACT_EXPIRE, index, user, 1);
	if (act == NULL) {
		ush_user_unlock(user);
		return false;
	}
	loop_act_done(loop, act);
	return true;
}

uint32_t decide_expiry(struct ush_loop *loop)
{
	uint32_t work = EXPIRY_WORK, settled = 0;

	while (work != 0) {
		uint32_t index = ush_wheel_due(loop->pool, loop->now_ns, &work);
		if (index == USH_HOLD_NONE)
			break;
		if (expire_one(loop, index))
			settled++;
		else
			ush_wheel_again(loop->pool, index, 1);
		if (work != 0)
			work--;
	}
	return settled;
}
