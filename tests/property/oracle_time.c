/* SPDX-License-Identifier: Apache-2.0 */
/* The time of holds, as docs/protocol.md and docs/venue.md have it. */
#include "oracle.h"

#define SECOND_NS 1000000000ull

void oracle_time_back(struct oracle *o, const struct oracle_hold *hold)
{
	struct oracle_user *user = &o->user[hold->event][hold->user];
	uint64_t left = hold->deadline_ns > o->now_ns ? hold->deadline_ns - o->now_ns : 0;
	uint64_t back = left / SECOND_NS * hold->seats;

	user->held_s -= back < user->held_s ? back : user->held_s;
}

void oracle_cool_down(struct oracle *o, const struct oracle_hold *hold, uint64_t from_ns)
{
	struct oracle_user *user = &o->user[hold->event][hold->user];
	uint64_t pause_ns = o->event[hold->event].cool_down_ms * 1000000ull;

	if (pause_ns == 0)
		return;
	if (from_ns + pause_ns > user->cool_from_ns)
		user->cool_from_ns = from_ns + pause_ns;
	if (o->now_ns + pause_ns > user->cool_to_ns)
		user->cool_to_ns = o->now_ns + pause_ns;
}

uint64_t oracle_time_of(
	const struct oracle_event *e, const struct oracle_request *q, uint32_t seats)
{
	uint64_t life_ms = q->r.hold_ms != 0 ? q->r.hold_ms : e->hold_ms;

	return e->hold_budget_s != 0 ? (life_ms + 999) / 1000 * seats : 0;
}

uint64_t oracle_time_obstacles(
	const struct oracle *o, const struct oracle_request *q, uint32_t seats)
{
	const struct oracle_event *e = &o->event[q->r.event];
	const struct oracle_user *user = &o->user[q->r.event][q->r.user];
	uint64_t may = 0;

	if (o->now_ns < user->cool_to_ns)
		may |= 1ull << USH_STATUS_COOL_DOWN;
	if (e->hold_budget_s != 0 && user->held_s + oracle_time_of(e, q, seats) > e->hold_budget_s)
		may |= 1ull << USH_STATUS_HOLD_BUDGET;
	return may;
}
