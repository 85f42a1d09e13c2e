/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Conservation of seats: between turns each seat of the engine is free, house or firmly taken, and
 * exactly one of them; at rest the engine and the durable records name the same seats.
 */
#include "check.h"

static void turned(struct sim *sim, uint32_t loop, bool had_room)
{
	(void)loop, (void)had_room;
	for (uint32_t id = 1; id <= sim->config.events; id++) {
		const struct ush_event *event = ush_inventory_event(&sim->engine->inventory, id);

		for (uint32_t i = 0; event != NULL && i < event->row_count; i++) {
			const struct ush_row *row = &event->rows[i];
			uint64_t free = atomic_load(&row->free), firm = atomic_load(&row->firm);
			uint64_t house = atomic_load(&row->house);

			if ((free & firm) == 0 && (free & house) == 0 && (firm & house) == 0 &&
				(free | firm | house) == row->seats)
				continue;
			sim_fail(sim, "conserve",
				"event %u row %u: free %" PRIx64 " taken %" PRIx64 " house %" PRIx64
				" of %" PRIx64,
				id, i, free, firm, house, row->seats);
			return;
		}
	}
}

static void quiet(struct sim *sim)
{
	for (uint32_t id = 1; id <= sim->config.events; id++) {
		const struct ush_event *event = ush_inventory_event(&sim->engine->inventory, id);
		uint64_t sum = 0;

		if ((event != NULL) != sim->ledger.event[id].loaded) {
			sim_fail(sim, "conserve", "event %u is in one of engine and journal", id);
			return;
		}
		for (uint32_t i = 0; event != NULL && i < event->row_count; i++) {
			uint64_t house, taken = ledger_taken(&sim->ledger, id, i, &house);
			const struct ush_row *row = &event->rows[i];

			sum += ush_popcount64(row->seats & ~(taken | house));
			if (taken == atomic_load(&row->firm) && house == atomic_load(&row->house))
				continue;
			sim_fail(sim, "conserve",
				"event %u row %u: the journal has %" PRIx64 " and house %" PRIx64
				", the engine %" PRIx64 " and %" PRIx64,
				id, i, taken, house, atomic_load(&row->firm),
				atomic_load(&row->house));
			return;
		}
		if (event != NULL && sum != ush_event_free_count(event))
			sim_fail(sim, "conserve",
				"event %u: %" PRIu64 " seats free, %" PRIu64 " counted", id, sum,
				ush_event_free_count(event));
	}
}

const struct check check_conserve = {.name = "conserve", .turned = turned, .quiet = quiet};
