/* SPDX-License-Identifier: Apache-2.0 */
#include "apply/internal.h"

/* Changes that may charge a user's time, or give some back. */
static bool moves_time(uint8_t type)
{
	return type == USH_RECORD_TYPE_HOLD || type == USH_RECORD_TYPE_OFFER ||
	       type == USH_RECORD_TYPE_EXTEND || type == USH_RECORD_TYPE_SWAP ||
	       type == USH_RECORD_TYPE_CUT || type == USH_RECORD_TYPE_RELEASE ||
	       type == USH_RECORD_TYPE_EXPIRE || type == USH_RECORD_TYPE_CONFIRM ||
	       type == USH_RECORD_TYPE_PAY_END;
}

static bool may_charge(uint8_t type)
{
	return type == USH_RECORD_TYPE_HOLD || type == USH_RECORD_TYPE_OFFER ||
	       type == USH_RECORD_TYPE_EXTEND || type == USH_RECORD_TYPE_SWAP;
}

/* A hold is charged for at least a second when it is made, and when it gains time; only what counts
 * no further may go without. What a swap takes may be worth what it gives up. */
static bool must_charge(uint8_t type)
{
	return type == USH_RECORD_TYPE_HOLD || type == USH_RECORD_TYPE_OFFER ||
	       type == USH_RECORD_TYPE_EXTEND;
}

static bool may_end(uint8_t type)
{
	return type == USH_RECORD_TYPE_RELEASE || type == USH_RECORD_TYPE_EXPIRE ||
	       type == USH_RECORD_TYPE_PAY_END;
}

static int check_time(const struct ush_event *event, const struct ush_user_time *time,
	const struct ush_record *first, const struct ush_record *r, struct ush_message *message)
{
	if (r->user != first->user || !moves_time(first->type) || r->mask != 0 || r->hold != 0)
		return bad(r, message, "a change that moves no time of this user");
	if (r->amount == time->held_s && r->deadline_ns == time->cool_until_ns)
		return bad(r, message, "a time that does not change");
	if (r->amount != time->held_s && event->hold_budget_s == 0)
		return bad(r, message, "a budget that the event does not have");
	if (r->amount > time->held_s && !may_charge(first->type))
		return bad(r, message, "time is charged by a change that takes no seats");
	if (r->amount > time->held_s && r->amount > event->hold_budget_s &&
		first->type != USH_RECORD_TYPE_OFFER)
		return bad(r, message, "more than the event's hold budget");
	if (r->deadline_ns < time->cool_until_ns ||
		(r->deadline_ns != time->cool_until_ns &&
			(event->cool_down_ms == 0 || !may_end(first->type))))
		return bad(r, message, "a pause that nothing asks for");
	return 0;
}

int ush_apply_user_time(struct ush_state *state, const struct ush_record *first,
	const struct ush_record *r, struct ush_message *message)
{
	struct ush_users *users = state->users;
	struct ush_user_time *time;
	struct ush_event *event;
	struct ush_user *user;
	int error;

	if (r == NULL && !must_charge(first->type))
		return 0;
	error = find_event(state, first, &event, message);
	if (error != 0)
		return error;
	if (r == NULL && event->hold_budget_s == 0)
		return 0;
	if (r == NULL)
		r = first;
	if (ush_user_find(users, ush_user_hash(users, r->user, r->event), r->user, r->event, 0, 0,
		    &user) != USH_USER_OK)
		return bad(r, message, "the time of a user who has nothing");
	time = ush_user_time(users, user);
	if (r != first)
		error = check_time(event, time, first, r, message);
	else if (time->held_s != UINT32_MAX)
		error = bad(first, message, "a hold that is not charged to its user");
	if (error == 0 && r != first) {
		time->held_s = r->amount;
		time->cool_until_ns = r->deadline_ns;
	}
	ush_user_unlock(user);
	return error;
}
