/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Conservation of seats: between turns each seat of the engine is free, house or firmly taken, and
 * exactly one of them; at rest the engine and the durable records name the same seats, and count
 * the same for each event and user.
 */
#include "check.h"

static void turned(struct sim *sim, uint32_t loop, bool had_room)
{
	(void)loop, (void)had_room;
	for (uint32_t id = 1; id <= sim->config.events; id++) {
		const struct ush_event *event = ush_inventory_event(&sim->engine->inventory, id);

		for (uint32_t i = 0; event != NULL && i < ush_event_row_count(event); i++) {
			const struct ush_row *row = ush_event_row(event, i);
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

/* The seats that count against a user's limit are those of their holds. */
static void count_users(struct sim *sim, uint32_t event)
{
	struct ush_users *users = &sim->engine->users;

	for (uint64_t user = 1; user <= sim->config.users; user++) {
		struct ush_user *line = NULL;
		uint32_t seats = 0;

		if (ush_user_find(users, ush_user_hash(users, user, event), user, event, 0, 0,
			    &line) == USH_USER_OK) {
			seats = line->seats;
			ush_user_unlock(line);
		}
		if (seats != sim->ledger.user_seats[event][user])
			sim_fail(sim, "conserve",
				"event %u: user %" PRIu64 " has %u seats, counted %u", event, user,
				sim->ledger.user_seats[event][user], seats);
	}
}

static void quiet(struct sim *sim)
{
	for (uint32_t id = 1; id <= sim->config.events; id++) {
		const struct ush_event *event = ush_inventory_event(&sim->engine->inventory, id);
		uint64_t sum = 0;
		uint32_t house_sum = 0;

		if ((event != NULL) != sim->ledger.event[id].loaded) {
			sim_fail(sim, "conserve", "event %u is in one of engine and journal", id);
			return;
		}
		if (event != NULL && ush_event_row_count(event) != sim->ledger.event[id].rows) {
			sim_fail(sim, "conserve", "event %u has %u rows, the journal %u", id,
				ush_event_row_count(event), sim->ledger.event[id].rows);
			return;
		}
		for (uint32_t i = 0; event != NULL && i < ush_event_row_count(event); i++) {
			uint64_t house, taken = ledger_taken(&sim->ledger, id, i, &house);
			const struct ush_row *row = ush_event_row(event, i);

			sum += ush_popcount64(row->seats & ~(taken | house));
			house_sum += ush_popcount64(house);
			if (taken == atomic_load(&row->firm) && house == atomic_load(&row->house))
				continue;
			sim_fail(sim, "conserve",
				"event %u row %u: the journal has %" PRIx64 " and house %" PRIx64
				", the engine %" PRIx64 " and %" PRIx64,
				id, i, taken, house, atomic_load(&row->firm),
				atomic_load(&row->house));
			return;
		}
		if (event != NULL &&
			(sim->ledger.event[id].sold != atomic_load(&event->sold_count) ||
				house_sum != atomic_load(&event->house_count)))
			sim_fail(sim, "conserve",
				"event %u: %u seats sold and %u house, counted %u and %u", id,
				sim->ledger.event[id].sold, house_sum,
				atomic_load(&event->sold_count), atomic_load(&event->house_count));
		if (event != NULL && sum != ush_event_free_count(event))
			sim_fail(sim, "conserve",
				"event %u: %" PRIu64 " seats free, %" PRIu64 " counted", id, sum,
				ush_event_free_count(event));
		if (event != NULL)
			count_users(sim, id);
	}
}

const struct check check_conserve = {.name = "conserve", .turned = turned, .quiet = quiet};
