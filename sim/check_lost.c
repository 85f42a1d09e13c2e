/* SPDX-License-Identifier: Apache-2.0 */
/*
 * No acknowledged change lost: what the disk confirmed is recovered block by block, unchanged, and
 * after a start every hold is in the state that the durable records gave it. That an acknowledged
 * change is in such a record is what check_durable sees to, when the reply leaves.
 */
#include "check.h"

static void recovered(struct sim *sim, uint64_t block, uint32_t crc)
{
	if (block < sim->confirmed && sim->blocks[block].crc != crc)
		sim_fail(sim, "lost", "block %" PRIu64 " came back with other records", block);
	else if (block > sim->confirmed)
		sim_fail(sim, "lost", "block %" PRIu64 " came back before block %" PRIu64, block,
			sim->confirmed);
}

static void restarted(struct sim *sim)
{
	const struct ledger *ledger = &sim->ledger;

	for (uint32_t i = 0; i < ledger->hold_count; i++) {
		const struct ledger_hold *hold = &ledger->holds[i];
		uint32_t state = ush_engine_hold_state(sim->engine, hold->id);
		const uint32_t live = 1u << USH_HOLD_STATE_HELD | 1u << USH_HOLD_STATE_PAYING |
				      1u << USH_HOLD_STATE_SOLD | 1u << USH_HOLD_STATE_REFUNDING;

		if (ledger_is_live(hold) ? state == hold->state : (live & 1u << state) == 0)
			continue;
		sim_fail(sim, "lost", "hold %" PRIx64 " was %u and is %u after the start", hold->id,
			hold->state, state);
		return;
	}
}

const struct check check_lost = {.name = "lost", .recovered = recovered, .restarted = restarted};
