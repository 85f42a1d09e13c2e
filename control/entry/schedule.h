/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lobbies follow their times by themselves: opened, closed, and, with a beacon that can be asked,
 * drawn.
 *
 * Owns:  what is due, one after the other.
 * Reads: the table of plans, usherd, the beacon; the wall clock, when it is steady.
 * Never: acts in a read replica; does anything before its time.
 *
 * All of it is in the table, so a process that is killed goes on where it was; usherd does each
 * action once, whoever asks, and what was done is noted (and audited) once. So several processes
 * may have the same schedule.
 */
#ifndef USH_ENTRY_SCHEDULE_H
#define USH_ENTRY_SCHEDULE_H

#include "entry/beacon.h"
#include "entry/plan.h"

struct entry_schedule;
struct ush_entry;

/* ret: NULL: no memory. */
struct entry_schedule *entry_schedule_new(struct ush_entry *entry);
/* by: nothing of it is under way. */
void entry_schedule_free(struct entry_schedule *schedule);
/* Each second. */
void entry_schedule_tick(struct entry_schedule *schedule);
/* ret: what is planned for an event whose room is not open yet, or NULL. */
const struct entry_plan *entry_schedule_coming(
	const struct entry_schedule *schedule, uint32_t event);
/* ret: false: the clock was set a moment ago, and nothing is done by it. */
bool entry_schedule_is_steady(const struct entry_schedule *schedule);

/* ---- what comes next ---- */

struct entry_next {
	const char *action; /* "open", "close", "draw"; NULL: nothing is left */
	const char *by;     /* "schedule" or "operator"; NULL with action */
	int64_t at_us;      /* of the schedule; 0: of the operator, any time */
	const char *why;    /* why it is the operator's; NULL */
};

/* ret: what comes next in a room. in: phase: enum room_phase; plan: its row, or NULL. by: any
 * thread. */
struct entry_next entry_next_of(
	uint32_t phase, const struct entry_plan *plan, const struct ush_beacon *beacon);

#endif /* USH_ENTRY_SCHEDULE_H */
