/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The scheduler: at each step the seed says which virtual thing moves.
 */
#include <stdarg.h>

#include "check.h"
#include "tests/harness.h"

/* In the calm: virtual time and steps within which all must be answered. */
#define CALM_NS (120ull * SIM_SECOND)
#define CALM_STEPS 20000u

const struct check *const sim_checks[] = {&check_admission, &check_auditor, &check_best,
	&check_bookings, &check_channel, &check_conserve, &check_durable, &check_expiry,
	&check_life, &check_limits, &check_lost, &check_pay, &check_repeat, &check_replay,
	&check_room, &check_sale, &check_seats, &check_time, &check_waitlist, NULL};

uint64_t sim_below(struct sim *sim, uint64_t bound)
{
	return ush_random_below(&sim->random, bound);
}

bool sim_chance(struct sim *sim, uint32_t rate)
{
	return rate != 0 && !sim->calm && sim_below(sim, 1000) < rate;
}

void sim_note(struct sim *sim, const char *what, uint64_t a, uint64_t b)
{
	sim->hash = ush_mix64(
		sim->hash ^ ush_mix64(a + 0x9e3779b97f4a7c15ull * (uint8_t)what[0]) ^ (b << 1));
	if (sim->trace)
		printf("%6u %14" PRIu64 " %-16s %" PRIu64 " %" PRIu64 "\n", sim->step,
			(uint64_t)(sim->now_ns - SIM_START_NS) / 1000, what, a, b);
}

void sim_fail(struct sim *sim, const char *checker, const char *format, ...)
{
	va_list args;

	if (sim->failed)
		return;
	sim->failed = true;
	snprintf(sim->checker, sizeof(sim->checker), "%s", checker);
	va_start(args, format);
	vsnprintf(sim->what, sizeof(sim->what), format, args);
	va_end(args);
}

void sim_init(struct sim *sim, struct sim_totals *totals)
{
	memset(sim, 0, sizeof(*sim));
	sim->totals = totals;
	sim->asks = calloc(SIM_ASKS_MAX, sizeof(*sim->asks));
	sim->buffers = calloc(SIM_BUFFERS, SIM_BUFFER_BYTES);
	USH_ASSERT(sim->asks != NULL && sim->buffers != NULL);
	ledger_init(&sim->ledger);
}

/* One to three sections, one behind the other; the last may be an area. */
static void make_sections(struct sim *sim)
{
	uint32_t rows = sim->config.rows, first = 0;

	sim->sections = (uint32_t)ush_min64(sim->config.sections, rows);
	for (uint32_t i = 0; i < sim->sections; i++) {
		uint32_t left = sim->sections - i;
		uint32_t count = left == 1 ? rows - first : (rows - first) / left;

		sim->section[i] =
			(struct ush_venue_section){.row_first = first, .row_count = count};
		first += count;
	}
}

/* The image of a plan: the rows behind those of the first are of its last section. */
static void make_image(struct sim *sim, uint32_t number)
{
	const struct sim_config *c = &sim->config;
	struct ledger_plan *plan = &sim->ledger.plan[number];
	struct ush_venue_tier tiers[SIM_TIERS];
	struct ush_venue_row rows[SIM_ROWS_MAX];
	struct ush_venue_section sections[SIM_ROWS_MAX];
	struct harness_venue venue = {
		.header = {.magic = USH_VENUE_MAGIC,
			.version = USH_VENUE_VERSION,
			.tier_count = SIM_TIERS,
			.row_count = plan->rows,
			.hold_ms = c->hold_ms,
			.hold_ms_max = 600000,
			.user_seats_max = (uint16_t)c->user_seats_max,
			.best = (uint16_t)c->best,
			.hold_budget_s = c->hold_budget_s,
			.cool_down_ms = c->cool_down_ms,
			.currency = "EUR",
			.name = "simulation"},
		.tiers = tiers,
		.sections = sections,
		.rows = rows,
	};

	memcpy(sections, sim->section, sizeof(sections));
	sections[sim->sections - 1].row_count += plan->rows - c->rows;
	venue.header.section_count = sim->sections;
	memset(rows, 0, sizeof(rows));
	for (uint32_t i = 0; i < SIM_TIERS; i++)
		tiers[i] = (struct ush_venue_tier){.price = plan->price[i]};
	for (uint32_t i = 0, s = 0; i < plan->rows; i++) {
		s += i >= sections[s].row_first + sections[s].row_count;
		rows[i].seats = plan->seats;
		rows[i].section = (uint16_t)s;
		rows[i].flags = sim_is_area(sim, i);
		sim->second_tier[i] = i % 3 == 0 ? 0 : rows[i].seats & (i % 3 == 1 ? ~0ull : 0x33);
		/* An area has one price. */
		if (rows[i].flags != 0) {
			rows[i].tier[0] = c->rows & 1;
			sim->second_tier[i] = rows[i].tier[0] != 0 ? rows[i].seats : 0;
			continue;
		}
		rows[i].tier_mask[0] = sim->second_tier[i];
		rows[i].tier[1] = 1;
	}
	sim->image[number] = harness_image_of(&venue, &sim->image_bytes[number]);
	plan->digest = ush_image_digest(sim->image[number], sim->image_bytes[number]);
}

/* What events are loaded with, and what they may become, one after the other or some left out. */
static void make_images(struct sim *sim)
{
	const struct sim_config *c = &sim->config;
	struct ledger *ledger = &sim->ledger;

	make_sections(sim);
	ledger->plan_count = c->change != 0 ? LEDGER_PLANS : 1;
	ledger->plan[0] = (struct ledger_plan){.rows = c->rows,
		.seats = c->seats == 64 ? ~0ull : (1ull << c->seats) - 1,
		.price = {SIM_TIER_PRICE(0), SIM_TIER_PRICE(1)}};
	make_image(sim, 0);
	for (uint32_t i = 1; i < ledger->plan_count; i++) {
		struct ledger_plan *plan = &ledger->plan[i];
		uint32_t more = (uint32_t)ush_random_below(&sim->change_random, 3);

		*plan = ledger->plan[i - 1];
		plan->rows = plan->rows + more < SIM_ROWS_MAX ? plan->rows + more : SIM_ROWS_MAX;
		if (plan->rows == plan[-1].rows || ush_random_below(&sim->change_random, 2) == 0)
			plan->price[i % 2] +=
				1 + (uint32_t)ush_random_below(&sim->change_random, 3);
		make_image(sim, i);
	}
}

bool sim_is_area(const struct sim *sim, uint32_t row)
{
	return sim->config.area && row >= sim->section[sim->sections - 1].row_first;
}

uint64_t sim_price(
	const struct sim *sim, uint32_t event, uint32_t list, uint32_t row, uint64_t mask)
{
	const struct ledger_event *of = &sim->ledger.event[event % LEDGER_EVENTS];
	uint64_t second = mask & sim->second_tier[row % SIM_ROWS_MAX];
	const uint32_t *price;

	if (list > of->prices)
		return UINT64_MAX;
	price = sim->ledger.plan[of->list_plan[list]].price;
	return (uint64_t)ush_popcount64(second) * price[1] +
	       (uint64_t)ush_popcount64(mask & ~second) * price[0];
}

/* Forgets the run before; keeps the memory. */
static void reset(struct sim *sim, uint64_t seed)
{
	sim->seed = seed;
	ush_random_init(&sim->random, seed);
	ush_random_init(&sim->change_random, ush_mix64(seed ^ 0x6368616e));
	sim_box_seed(seed);
	sim->hash = seed;
	sim->step = 0;
	sim->calm = sim->up = sim->over = sim->failed = sim->failed_live = false;
	sim->ended_cleanly = false;
	sim->now_ns = SIM_START_NS;
	sim->stalled_steps = 0;
	sim->epoch_block = 0;
	sim->boot = 0;
	sim->recovery_crashes_left = 6;
	sim->journal = NULL;
	sim->engine = NULL;
	memset(&sim->report, 0, sizeof(sim->report));
	memset(sim->event_asked, 0, sizeof(sim->event_asked));
	sim->flood_ask = 0;
	sim->thawed = false;
	sim->ask_count = sim->to_box_count = sim->to_client_count = 0;
	memset(sim->next_id, 0, sizeof(sim->next_id));
	memset(sim->keys, 0, sizeof(sim->keys));
	memset(sim->guest, 0, sizeof(sim->guest));
	memset(sim->lobby, 0, sizeof(sim->lobby));
	memset(sim->room, 0, sizeof(sim->room));
	memset(sim->busy_ns, 0, sizeof(sim->busy_ns));
	sim->page_event = 0;
	sim->audited_seed = 0;
	sim->page_next = 0;
	sim->listing.active = false;
	memset(&sim->times_seen, 0, sizeof(sim->times_seen));
	memset(&sim->times_kept, 0, sizeof(sim->times_kept));
	ledger_reset(&sim->ledger);
	sim_network_reset(sim);
}

static void move_clock(struct sim *sim)
{
	const struct sim_config *c = &sim->config;

	if (sim->stalled_steps != 0) {
		sim->stalled_steps--;
	} else if (sim_chance(sim, c->stall)) {
		sim->stalled_steps = (uint32_t)sim_below(sim, 20);
	} else if (sim_chance(sim, c->step_back)) {
		uint64_t back = sim_below(sim, 2 * SIM_SECOND);

		sim->now_ns = ush_max64(sim->now_ns - back, SIM_START_NS);
		sim->totals->clock_steps_back++;
		sim_note(sim, "clock back", back, 0);
	} else if (sim_chance(sim, c->jump)) {
		uint64_t jump =
			sim_below(sim, sim_below(sim, 8) == 0 ? 40 * SIM_SECOND : 2 * SIM_SECOND);

		sim->now_ns += jump;
		sim->totals->clock_jumps++;
		sim_note(sim, "clock jumps", jump, 0);
	} else {
		sim->now_ns += sim_below(sim, c->pace_ms * 1000000ull);
	}
}

/* The end of a process, or what leads to one. */
static void strike(struct sim *sim)
{
	const struct sim_config *c = &sim->config;

	if (fake_disk_is_cut(sim->fake)) {
		sim_box_crash(sim, true);
	} else if (sim_chance(sim, c->kill)) {
		sim_box_crash(sim, false);
	} else if (sim_chance(sim, c->power)) {
		/* Now, or in the middle of an operation of the disk. */
		if (sim_below(sim, 2) == 0)
			sim_box_crash(sim, true);
		else
			fake_disk_cut_after(sim->fake, (uint32_t)sim_below(sim, 30));
	} else if (sim_chance(sim, c->orderly) && sim->bad_block == UINT64_MAX) {
		sim_box_end(sim);
	} else if (sim_chance(sim, c->full)) {
		fake_disk_capacity(sim->fake, sim_below(sim, 2));
		sim->totals->disk_full++;
		sim_note(sim, "full", 0, 0);
	}
}

static void step(struct sim *sim)
{
	uint64_t draw;

	if (!sim->up) {
		move_clock(sim);
		sim_box_start(sim);
		return;
	}
	strike(sim);
	if (!sim->up)
		return;
	/* A flood behind a disk that stands still, and then does not. */
	if (sim->config.flood != 0 && sim_below(sim, 300) == 0)
		sim->thawed = !sim->thawed;
	if (sim->config.guests != 0 && sim_below(sim, 4) == 0)
		sim_box_pace(sim);
	draw = sim_below(sim, 100);
	if (draw < 30)
		sim_box_turn(sim, (uint32_t)sim_below(sim, sim->loops));
	else if (draw < 44)
		sim_box_journal(sim);
	else if (draw < 47)
		sim_box_housekeep(sim);
	else if (draw < 60) {
		if (sim->thawed || !sim_chance(sim, sim->config.slow))
			sim_disk_complete(sim);
	} else if (draw < 68)
		move_clock(sim);
	else if (draw < 92)
		sim_client_act(sim);
	else
		for (int i = 0; i < 3; i++)
			sim_client_receive(sim);
}

/* Faults end: whatever was asked gets its answer. */
static void calm_down(struct sim *sim)
{
	uint64_t until;
	uint32_t waiting = 1;

	sim->calm = true;
	sim_note(sim, "calm", 0, 0);
	sim->stalled_steps = 0;
	sim_disk_mend(sim);
	fake_disk_capacity(sim->fake, 0);
	if (fake_disk_is_cut(sim->fake))
		sim_box_crash(sim, true);
	fake_disk_cut_after(sim->fake, UINT32_MAX);
	sim->to_box_count = sim->to_client_count = 0;
	until = sim->now_ns + CALM_NS;
	for (uint32_t i = 0; waiting != 0 && !sim->failed; i++) {
		if (!sim->up) {
			sim_box_start(sim);
			continue;
		}
		if (i % 16 == 0)
			waiting = sim_client_insist(sim);
		for (uint32_t loop = 0; loop < sim->loops; loop++)
			sim_box_turn(sim, loop);
		sim_box_journal(sim);
		if (sim->up)
			sim_box_housekeep(sim);
		sim_disk_complete_all(sim);
		while (sim->to_client_count != 0)
			sim_client_receive(sim);
		sim->now_ns += sim_below(sim, 10000000);
		if (i == CALM_STEPS || sim->now_ns > until) {
			sim_fail(sim, "liveness", "%u requests have no answer after %u s of calm",
				waiting, (unsigned)(CALM_NS / SIM_SECOND));
			sim->failed_live = true;
		}
	}
}

bool sim_run(struct sim *sim, uint64_t seed, uint32_t steps, bool liveness)
{
	reset(sim, seed);
	sim_draw_config(sim, steps);
	if (sim->trace)
		sim_print_config(sim, stdout);
	make_images(sim);
	sim_disk_make(sim);
	for (; sim->step < sim->config.steps && !sim->failed && !sim->over; sim->step++)
		step(sim);
	if (liveness && !sim->failed && !sim->over)
		calm_down(sim);
	/* The end: in order, with one more start that must find all of it. */
	sim->calm = true;
	if (!sim->failed && !sim->over) {
		if (fake_disk_is_cut(sim->fake))
			sim_box_crash(sim, true);
		sim_disk_mend(sim);
		for (int i = 0; i < 3 && !sim->up && !sim->failed; i++)
			sim_box_start(sim);
		fake_disk_cut_after(sim->fake, UINT32_MAX);
		if (sim->up)
			sim_box_end(sim);
		if (!sim->failed && !sim->up)
			sim_box_start(sim);
	}
	sim->totals->schedules++;
	sim->totals->steps += sim->step;
	if (sim->journal != NULL)
		ush_journal_close(sim->journal);
	sim->journal = NULL;
	sim_disk_free(sim);
	for (uint32_t i = 0; i < sim->ledger.plan_count; i++)
		free(sim->image[i]);
	return !sim->failed;
}
