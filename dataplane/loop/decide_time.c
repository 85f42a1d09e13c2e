/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The time of holds: a user's budget of seats times seconds in an event, and the pause after a hold
 * that ended unsold. Who holds seats and drops them in turns keeps them from others all the same.
 *
 * A hold is charged for its whole life when it is made, so that several at once cannot use more
 * than there is; what is left of it when it is sold, given back or cut is given back, in whole
 * seconds. A change that moves any of this carries a USER_TIME record at the end of its run, with
 * the values that hold after it: replay takes them as they are.
 *
 * An offer from the wait-list is charged, but never refused, and its end asks for no pause: the
 * user did not choose its moment.
 */
#include "loop/internal.h"

#define SECOND_NS 1000000000ull

/* Rounded up where time is charged, down where it is given back: never too little is charged. */
static uint64_t charge(uint64_t seats, uint64_t from_ns, uint64_t to_ns)
{
	return to_ns > from_ns ? seats * ((to_ns - from_ns + SECOND_NS - 1) / SECOND_NS) : 0;
}

static uint64_t give_back(uint64_t seats, uint64_t from_ns, uint64_t to_ns)
{
	return to_ns > from_ns ? seats * ((to_ns - from_ns) / SECOND_NS) : 0;
}

static bool fits(const struct ush_event *event, uint64_t held_s, uint64_t more, uint64_t less,
	uint32_t *left)
{
	uint64_t kept = held_s > less ? held_s - less : 0;

	*left = kept < event->hold_budget_s ? (uint32_t)(event->hold_budget_s - kept) : 0;
	return event->hold_budget_s == 0 || more <= *left;
}

enum ush_status decide_time_new(const struct ush_loop *loop, const struct ush_event *event,
	const struct ush_user *user, uint32_t seats, uint32_t hold_ms, uint32_t *detail)
{
	const struct ush_user_time *time = ush_user_time(&loop->engine->users, user);
	uint64_t life_ns = (uint64_t)(hold_ms != 0 ? hold_ms : event->hold_ms) * 1000000u;

	if (loop->now_ns < time->cool_until_ns) {
		uint64_t ms = (time->cool_until_ns - loop->now_ns + 999999u) / 1000000u;

		*detail = ms < UINT32_MAX ? (uint32_t)ms : UINT32_MAX;
		return USH_STATUS_COOL_DOWN;
	}
	return fits(event, time->held_s, charge(seats, 0, life_ns), 0, detail)
		       ? USH_STATUS_OK
		       : USH_STATUS_HOLD_BUDGET;
}

bool decide_time_longer(const struct ush_loop *loop, const struct ush_event *event,
	const struct ush_user *user, uint32_t seats, uint64_t from_ns, uint64_t to_ns,
	uint32_t *detail)
{
	const struct ush_user_time *time = ush_user_time(&loop->engine->users, user);

	return fits(event, time->held_s, charge(seats, from_ns, to_ns), 0, detail);
}

bool decide_time_swap(const struct ush_loop *loop, const struct ush_event *event,
	const struct ush_user *user, uint32_t taken, uint32_t given, uint64_t deadline_ns,
	uint32_t *detail)
{
	const struct ush_user_time *time = ush_user_time(&loop->engine->users, user);

	return fits(event, time->held_s, charge(taken, loop->now_ns, deadline_ns),
		give_back(given, loop->now_ns, deadline_ns), detail);
}

/* What the act charges and gives back. */
static void reckon(
	const struct ush_loop *loop, const struct act *act, uint64_t *more, uint64_t *less)
{
	const struct ush_hold *hold = ush_holds_line(&loop->engine->holds, act->hold);
	const struct ush_record *record = &loop->records[act->record_first];
	uint64_t now_ns = loop->now_ns, seats = act->seats;

	*more = *less = 0;
	switch ((enum act_kind)act->kind) {
	case ACT_HOLD:
	case ACT_OFFER:
		*more = charge(seats, now_ns, record->deadline_ns);
		break;
	case ACT_EXTEND:
		*more = charge(seats, hold->deadline_ns, record->deadline_ns);
		break;
	case ACT_SWAP:
		*more = charge(act->seats_taken, now_ns, hold->deadline_ns);
		/* fall through */
	case ACT_CUT:
	case ACT_RELEASE:
	case ACT_CONFIRM:
	case ACT_PAY_SOLD:
		*less = give_back(seats, now_ns, hold->deadline_ns);
		break;
	default:
		break;
	}
}

static bool ends_unsold(const struct ush_loop *loop, const struct act *act)
{
	const struct ush_hold *hold = ush_holds_line(&loop->engine->holds, act->hold);

	return (act->kind == ACT_RELEASE || act->kind == ACT_EXPIRE ||
		       act->kind == ACT_PAY_EXPIRED) &&
	       (hold->flags & USH_HOLD_OFFER) == 0;
}

void decide_time(struct ush_loop *loop, struct act *act)
{
	const struct ush_event *event = act->event;
	const struct ush_user_time *time;
	struct ush_user_time then;
	struct ush_record *record;
	uint64_t more, less, held_s;

	if (act->user == NULL || act->hold == USH_HOLD_NONE)
		return;
	time = ush_user_time(&loop->engine->users, act->user);
	then = *time;
	if (event->hold_budget_s != 0) {
		reckon(loop, act, &more, &less);
		held_s = then.held_s + more;
		held_s -= less < held_s ? less : held_s;
		then.held_s = held_s < UINT32_MAX ? (uint32_t)held_s : UINT32_MAX;
	}
	if (event->cool_down_ms != 0 && ends_unsold(loop, act))
		then.cool_until_ns = ush_max64(then.cool_until_ns,
			loop->now_ns + (uint64_t)event->cool_down_ms * 1000000u);
	if (then.held_s == time->held_s && then.cool_until_ns == time->cool_until_ns)
		return;
	USH_ASSERT(loop->record_count < BATCH_RECORDS);
	record = &loop->records[loop->record_count++];
	*record = (struct ush_record){
		.type = USH_RECORD_TYPE_USER_TIME,
		.run_index = (uint8_t)(act->record_count + act->priced),
		.event = event->id,
		.user = loop->records[act->record_first].user,
		.amount = then.held_s,
		.deadline_ns = then.cool_until_ns,
	};
	act->timed = 1;
}
