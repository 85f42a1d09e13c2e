/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What comes next in a room, and who does it: a table of reasons.
 */
#include "entry/schedule.h"

static struct entry_next by_operator(const char *action, const char *why)
{
	return (struct entry_next){.action = action, .by = "operator", .why = why};
}

static struct entry_next by_schedule(const char *action, int64_t at_us)
{
	return (struct entry_next){.action = action, .by = "schedule", .at_us = at_us};
}

static struct entry_next next_draw(const struct entry_plan *plan, const struct ush_beacon *beacon)
{
	int64_t round_us;

	if (plan == NULL || !ush_beacon_is(beacon, (const char *)plan->open.source,
				    plan->open.source_bytes, plan->open.round))
		return by_operator("draw", "beacon_unknown");
	if (plan->note[0] != '\0')
		return by_operator("draw", plan->note);
	if (plan->closed_us == 0)
		return by_operator("draw", "closing_unknown");
	round_us = ush_beacon_round_us(beacon, plan->open.round);
	/* docs/draw.md: the root is published before the beacon speaks. */
	return plan->closed_us >= round_us ? by_operator("draw", "late")
					   : by_schedule("draw", round_us);
}

struct entry_next entry_next_of(
	uint32_t phase, const struct entry_plan *plan, const struct ush_beacon *beacon)
{
	switch (phase) {
	case USH_ROOM_PHASE_NONE:
		if (plan != NULL &&
			(plan->stage == ENTRY_STAGE_PLANNED || plan->stage == ENTRY_STAGE_OPENING))
			return by_schedule("open", plan->opens_us);
		return by_operator(
			"open", plan != NULL && plan->note[0] != '\0' ? plan->note : "not_planned");
	case USH_ROOM_PHASE_LOBBY:
		if (plan == NULL || plan->closes_us == 0)
			return by_operator("close", "not_planned");
		return by_schedule("close", plan->closes_us);
	case USH_ROOM_PHASE_DRAW:
		return next_draw(plan, beacon);
	default:
		return (struct entry_next){0};
	}
}
