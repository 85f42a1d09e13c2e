/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The swarm: each run has a configuration of its own, drawn from its seed. A fault is off entirely
 * in about half of the runs, since faults hide one another.
 */
#include "check.h"

/* ret: 0 half of the time, else up to `most`. */
static uint32_t rate(struct sim *sim, uint32_t most)
{
	return sim_below(sim, 2) == 0 ? 0 : 1 + (uint32_t)sim_below(sim, most);
}

static uint32_t among(struct sim *sim, uint32_t least, uint32_t most)
{
	return least + (uint32_t)sim_below(sim, most - least + 1);
}

/* Many records behind a slow disk: several writes under way, and new segments. */
static void flood(struct sim *sim, bool any_steps)
{
	struct sim_config *c = &sim->config;

	c->flood = 60;
	c->acks = 4096;
	c->burst = USH_LOOP_BURST;
	c->slow = 980;
	c->lose = c->cancel = 0;
	c->kill = c->kill != 0;
	c->power = c->power != 0;
	if (any_steps)
		c->steps = sim_below(sim, 4) == 0 ? 2500 : 600;
	/* One loop can do with a small ring, which fills up when the disk all but stands still. */
	if (!c->reshape && c->loops == 1) {
		c->log_blocks = 64;
		c->slow = 995;
		c->steps = any_steps ? 2500 : c->steps;
	}
	/* Several segments. */
	if (any_steps && sim_below(sim, 8) == 0)
		c->steps = 8000;
}

/* By the seed, without a draw: runs without them are what they were. */
static void draw_times(struct sim *sim)
{
	uint64_t x = ush_mix64(sim->seed ^ 0x74696d65);

	sim->config.hold_budget_s = (x & 3) == 0 ? 1 + (uint32_t)(x >> 8) % 100 : 0;
	sim->config.change = (x >> 4 & 3) == 0 ? 20 + (uint32_t)(x >> 16) % 60 : 0;
	sim->config.cool_down_ms = (x & 12) == 0 ? 1 + (uint32_t)(x >> 40) % 8000 : 0;
}

/* The same, of what clients learnt later: each is off in a quarter of the runs. */
static void draw_ops(struct sim *sim)
{
	uint64_t x = ush_mix64(sim->seed ^ 0x6f7073);

	sim->config.swaps = (x & 3) != 0;
	sim->config.late = (x >> 2 & 3) != 0;
	sim->config.listings = (x >> 4 & 3) != 0;
	sim->config.tiers = (x >> 6 & 3) != 0;
}

/* The same: in a quarter of the runs admission minds some of what it can. */
static void draw_admission(struct sim *sim)
{
	const uint32_t all = USH_ADMISSION_CHECK_MAC | USH_ADMISSION_CHECK_EVENT |
			     USH_ADMISSION_CHECK_TOKEN | USH_ADMISSION_CHECK_SOURCE |
			     USH_ADMISSION_CHECK_USER;
	uint64_t x = ush_mix64(sim->seed ^ 0x61646d6974);

	if ((x & 3) != 0)
		return;
	sim->config.admission = (x & 12) == 0 ? all & (uint32_t)(x >> 8) : all;
	sim->config.source_ms = 1u << (x >> 16 & 7);
	sim->config.user_ms = 16u << (x >> 20 & 7);
}

/* The same: a quarter of the runs has waiting rooms. */
static void draw_rooms(struct sim *sim, bool any_steps)
{
	static const uint32_t caps[] = {USH_ROOM_NO_CAP, USH_ROOM_NO_CAP, 6000, 300};
	uint64_t x = ush_mix64(sim->seed ^ 0x726f6f6d);

	if ((x & 3) != 0)
		return;
	/* From the lobby to the tokens takes a while. */
	sim->config.steps += any_steps ? 300 : 0;
	sim->config.guests = 1 + (uint32_t)(x >> 8) % SIM_GUESTS_MAX;
	sim->config.room_users =
		(x >> 4 & 3) == 0 ? 1 + sim->config.guests / 2 : SIM_ROOM_USERS_MAX;
	sim->config.device_users = (x >> 16 & 1) == 0 ? 0 : 1 + (x >> 18 & 3);
	sim->config.slow_places = x >> 24 & 7;
	sim->config.lobby = 2u << (x >> 28 & 3);
	sim->config.cap = caps[x >> 32 & 3];
}

void sim_draw_config(struct sim *sim, uint32_t steps)
{
	struct sim_config *c = &sim->config;
	static const uint32_t lines[] = {64, 64, 128, 256, 512};

	*c = (struct sim_config){0};
	c->steps = steps != 0 ? steps : among(sim, 100, 600);
	c->loops = among(sim, 1, SIM_LOOPS_MAX);
	c->events = among(sim, 1, SIM_EVENTS_MAX);
	c->rows = among(sim, 1, SIM_ROWS_MAX);
	c->seats = sim_below(sim, 8) == 0 ? 64 : among(sim, 1, 12);
	c->users = among(sim, 1, SIM_USERS_MAX);
	c->user_seats_max = among(sim, 1, 20);
	c->hold_ms = among(sim, 20, 5000);
	c->hold_lines = lines[sim_below(sim, 5)];
	c->log_blocks = 256u << sim_below(sim, 2);
	c->acks = 64u << sim_below(sim, 3);
	c->depth = among(sim, 1, 8);
	c->write_blocks = 1u << sim_below(sim, 6);
	c->spares = among(sim, 1, 2);
	c->burst = among(sim, 1, sim_below(sim, 4) == 0 ? 40 : 6);
	c->pace_ms = 1u << sim_below(sim, 8);
	c->lose = rate(sim, 200);
	c->duplicate = rate(sim, 300);
	c->lie = rate(sim, 300);
	c->slow = rate(sim, 800);
	c->fail = sim_below(sim, 8) == 0 ? 20 : 0;
	c->cut_short = sim_below(sim, 8) == 0 ? 20 : 0;
	c->misdirect = sim_below(sim, 8) == 0 ? 40 : 0;
	c->unwritten = sim_below(sim, 8) == 0 ? 40 : 0;
	c->rot = sim_below(sim, 8) == 0 ? 500 : 0;
	c->full = sim_below(sim, 8) == 0 ? 5 : 0;
	c->jump = rate(sim, 100);
	c->step_back = rate(sim, 100);
	c->stall = rate(sim, 50);
	c->kill = rate(sim, 8);
	c->power = rate(sim, 8);
	c->recovery = rate(sim, 600);
	c->orderly = rate(sim, 3);
	c->reshape = sim_below(sim, 2) == 0;
	/* So few seats that people wait for them. */
	if (sim_below(sim, 4) == 0) {
		c->rows = 1;
		c->seats = among(sim, 1, 4);
		c->hold_ms = among(sim, 1000, 5000);
	}
	c->sections = among(sim, 1, 3);
	c->area = c->sections > 1 && sim_below(sim, 2) == 0;
	c->best = among(sim, 0, USH_BEST_OBJECTIVE_COUNT - 1) |
		  among(sim, 0, USH_BEST_SPLIT_COUNT - 1) << 3 |
		  among(sim, 0, USH_BEST_ORPHANS_COUNT - 1) << 5;
	c->channels = (uint32_t)sim_below(sim, 2);
	c->cancel = sim_below(sim, 4) == 0 ? 100 : 0;
	draw_times(sim);
	draw_ops(sim);
	draw_admission(sim);
	draw_rooms(sim, steps == 0);
	if (sim_below(sim, 128) == 0)
		flood(sim, steps == 0);
}

void sim_print_config(const struct sim *sim, FILE *out)
{
	const struct sim_config *c = &sim->config;

	fprintf(out,
		"steps %u; loops %u%s; events %u, rows %u, seats %u, users %u of %u seats; holds of %u "
		"ms, %u lines; log %u blocks, acks %u; depth %u, writes of %u blocks, spares %u; burst "
		"%u; pace %u ms\n",
		c->steps, c->loops, c->reshape ? " and others" : "", c->events, c->rows, c->seats,
		c->users, c->user_seats_max, c->hold_ms, c->hold_lines, c->log_blocks, c->acks,
		c->depth, c->write_blocks, c->spares, c->burst, c->pace_ms);
	fprintf(out, "swaps %u, late payments %u, listings %u, waits for a tier %u; ", c->swaps,
		c->late, c->listings, c->tiers);
	fprintf(out, "guests %u in rooms of %u, %u a device, slow by %u, cap %u; ", c->guests,
		c->room_users, c->device_users, c->slow_places, c->cap);
	fprintf(out, "admission %x, %u ms a source, %u a user; ", c->admission, c->source_ms,
		c->user_ms);
	fprintf(out, "hold budget %u s, cool-down %u ms, change %u; ", c->hold_budget_s,
		c->cool_down_ms, c->change);
	fprintf(out, "sections %u%s, best %u, channels %u, cancel %u; ", c->sections,
		c->area ? ", the last an area" : "", c->best, c->channels, c->cancel);
	fprintf(out,
		"flood %u; per 1,000: lose %u, duplicate %u, lie %u; disk: slow %u, fail %u, short %u, misdirect "
		"%u, unwritten %u, rot %u, full %u; clock: jump %u, back %u, stall %u; kill %u, power "
		"%u, in recovery %u, orderly %u\n",
		c->flood, c->lose, c->duplicate, c->lie, c->slow, c->fail, c->cut_short,
		c->misdirect, c->unwritten, c->rot, c->full, c->jump, c->step_back, c->stall,
		c->kill, c->power, c->recovery, c->orderly);
}
