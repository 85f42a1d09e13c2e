/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Expiry neither early nor late: no hold is expired before its deadline or while it is being paid,
 * none is sold, released or begun to be paid after it, and none outlives it by more than a few
 * turns of its loop. The wheel does bounded work a turn, so a jump of the clock may take turns to
 * be worked off; they are counted.
 */
#include "check.h"

#define WHEEL_TICK_NS (1ull << USH_WHEEL_TICK_BITS)
/* Half of what a turn does, the other half being for lines. */
#define TICKS_A_TURN (EXPIRY_WORK / 4)

static bool ends_by_time(const struct ush_record *r)
{
	return r->type == USH_RECORD_TYPE_EXPIRE ||
	       (r->type == USH_RECORD_TYPE_PAY_END && r->state == USH_HOLD_STATE_EXPIRED);
}

/* ret: true if it may not happen after the deadline. A payment that succeeded may. */
static bool is_in_time(const struct ush_record *r)
{
	return r->type == USH_RECORD_TYPE_CONFIRM || r->type == USH_RECORD_TYPE_RELEASE ||
	       r->type == USH_RECORD_TYPE_CUT || r->type == USH_RECORD_TYPE_SWAP ||
	       r->type == USH_RECORD_TYPE_PAY_BEGIN ||
	       (r->type == USH_RECORD_TYPE_PAY_END && r->state == USH_HOLD_STATE_HELD);
}

static void appended(struct sim *sim, uint32_t loop, const struct ush_record *r)
{
	uint64_t now = sim->loop_now_ns[loop];

	if (ends_by_time(r) && now < r->deadline_ns)
		sim_fail(sim, "expiry", "hold %" PRIx64 " expires %" PRIu64 " ns early", r->hold,
			r->deadline_ns - now);
	else if (is_in_time(r) && now >= r->deadline_ns)
		sim_fail(sim, "expiry",
			"hold %" PRIx64 " goes on or is given back (record type %u) %" PRIu64
			" ns late",
			r->hold, r->type, now - r->deadline_ns);
}

/* The deadline that a record names is the one that was promised. */
static void durable(struct sim *sim, const struct ush_record *records, uint32_t count)
{
	const struct ush_record *r = &records[0];
	const struct ledger_hold *hold;

	(void)count;
	if (!ends_by_time(r) && !is_in_time(r) && r->type != USH_RECORD_TYPE_PAY_END)
		return;
	hold = ledger_hold(&sim->ledger, r->hold);
	if (hold != NULL && hold->deadline_ns != r->deadline_ns)
		sim_fail(sim, "expiry",
			"hold %" PRIx64 " ends by a deadline of %" PRIu64 ", and had %" PRIu64,
			r->hold, r->deadline_ns, hold->deadline_ns);
}

static void look_at_line(struct sim *sim, uint32_t loop, uint32_t index, uint64_t now, bool counts)
{
	const struct ush_hold *hold = ush_holds_line(&sim->engine->holds, index);
	uint64_t word = atomic_load(&hold->word);
	uint32_t allowed = 8 + sim->config.hold_lines / TICKS_A_TURN;

	if (ush_hold_word_state(word) != USH_HOLD_STATE_HELD ||
		sim->late_generation[index] != ush_hold_word_generation(word))
		sim->late_turns[index] = 0;
	sim->late_generation[index] = ush_hold_word_generation(word);
	/* A hold that came up while it was being paid is looked at again a little later. */
	if (ush_hold_word_owner(word) == loop && ush_hold_word_state(word) == USH_HOLD_STATE_PAYING)
		sim->busy_ns[index] = now;
	if (now < sim->busy_ns[index] + (PAYING_TICKS + 2) * WHEEL_TICK_NS)
		return;
	if (ush_hold_word_state(word) != USH_HOLD_STATE_HELD || ush_hold_word_owner(word) != loop ||
		hold->deadline_ns + 2 * WHEEL_TICK_NS > now || !counts ||
		sim->backlog_turns[loop] != 0)
		return;
	if (++sim->late_turns[index] > allowed)
		sim_fail(sim, "expiry",
			"line %u is held %" PRIu64
			" ms after its deadline, for %u turns of loop %u",
			index, (now - hold->deadline_ns) / 1000000, allowed, loop);
}

static void turned(struct sim *sim, uint32_t loop, bool had_room)
{
	uint64_t now = sim->loop_now_ns[loop];
	uint64_t ticks = (now - sim->turn_before_ns[loop]) / WHEEL_TICK_NS;

	/* The wheel moves with the clock: without a new tick nothing comes up. */
	bool moved = now / WHEEL_TICK_NS != sim->turn_before_ns[loop] / WHEEL_TICK_NS;

	sim->turn_before_ns[loop] = now;
	/* At least a day of it is as good as for ever. */
	sim->backlog_turns[loop] +=
		(uint32_t)ush_min64(ticks / TICKS_A_TURN, 86400000 / TICKS_A_TURN);
	if (sim->backlog_turns[loop] != 0 && had_room)
		sim->backlog_turns[loop]--;
	for (uint32_t i = 1; i < sim->config.hold_lines && !sim->failed; i++)
		look_at_line(sim, loop, i, now, had_room && moved);
}

static void replied(struct sim *sim, const struct sim_ask *ask, const struct ush_reply *reply)
{
	const struct ledger_hold *hold = ledger_hold(&sim->ledger, ask->request.hold);

	/* Whoever is told EXPIRED was too late, whatever clock of the box is asked. */
	if (reply->status != USH_STATUS_EXPIRED || hold == NULL ||
		hold->state != USH_HOLD_STATE_HELD)
		return;
	for (uint32_t i = 0; i < sim->loops; i++) {
		if (sim->loop_now_ns[i] >= hold->deadline_ns)
			return;
	}
	sim_fail(sim, "expiry", "hold %" PRIx64 " is called expired before its deadline", hold->id);
}

const struct check check_expiry = {.name = "expiry",
	.appended = appended,
	.durable = durable,
	.turned = turned,
	.replied = replied};
