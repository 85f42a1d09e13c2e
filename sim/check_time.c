/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The time of holds, by the clock of the turn that decided: a new hold is charged seats times its
 * life and never takes its user beyond the budget, an extension what it gains; what ends gives back
 * what was left, to the second; after a hold that ended unsold its user makes no new one before the
 * pause is over. What a crash took away is forgotten.
 */
#include "check.h"

#define SECOND_NS 1000000000ull

static uint32_t place(const struct ush_record *r)
{
	return (uint32_t)(r->hold & 0xffffffff) % SIM_TIMED_HOLDS;
}

/* ret: true if the run is about a user whose times are counted here. */
static bool is_known(const struct ush_record *r)
{
	return r->event != 0 && r->event < LEDGER_EVENTS && r->user != 0 && r->user < LEDGER_USERS;
}

static bool is_sale(const struct ush_record *r)
{
	return r->type == USH_RECORD_TYPE_CONFIRM ||
	       (r->type == USH_RECORD_TYPE_PAY_END && r->state == USH_HOLD_STATE_SOLD);
}

static bool is_new(const struct ush_record *r)
{
	return r->type == USH_RECORD_TYPE_HOLD || r->type == USH_RECORD_TYPE_OFFER;
}

static bool is_leg(const struct ush_record *r)
{
	return r->type != USH_RECORD_TYPE_KEEP && r->type != USH_RECORD_TYPE_PRICES &&
	       r->type != USH_RECORD_TYPE_USER_TIME;
}

/* Seats that the run names; of a swap: those taken, or those given up. */
static uint64_t seats_of(const struct ush_record *r, uint32_t count, bool given)
{
	uint64_t seats = 0;

	for (uint32_t i = 0; i < count; i++) {
		bool gives = r->type != USH_RECORD_TYPE_SWAP
				     ? r->type == USH_RECORD_TYPE_CUT
				     : r[i].state == USH_HOLD_STATE_RELEASED;

		if (is_leg(&r[i]) && gives == given)
			seats += ush_popcount64(r[i].mask);
	}
	return seats;
}

static void note_hold(struct sim_times *times, const struct ush_record *r, uint32_t count)
{
	if (is_new(r)) {
		times->offer[place(r)] = r->type == USH_RECORD_TYPE_OFFER;
		times->seats[place(r)] = 0;
	}
	if (is_sale(r))
		times->offer[place(r)] = false;
	if (is_new(r) || r->type == USH_RECORD_TYPE_EXTEND)
		times->deadline_ns[place(r)] = r->deadline_ns;
	if (is_new(r) || r->type == USH_RECORD_TYPE_CUT || r->type == USH_RECORD_TYPE_SWAP)
		times->seats[place(r)] += seats_of(r, count, false) - seats_of(r, count, true);
}

static void note(struct sim_times *times, const struct ush_record *records, uint32_t count)
{
	const struct ush_record *r = records, *t = &records[count - 1];

	/* Of holds that are over nobody asks any more. */
	for (uint32_t i = 0; r->type == USH_RECORD_TYPE_RESUME && i < SIM_TIMED_HOLDS; i++)
		times->deadline_ns[i] += r->mask;
	if (!is_known(r))
		return;
	note_hold(times, r, count);
	if (t->type == USH_RECORD_TYPE_USER_TIME) {
		times->held_s[r->event][r->user] = t->amount;
		times->cool_until_ns[r->event][r->user] = t->deadline_ns;
	}
}

static uint64_t seconds_up(uint64_t from_ns, uint64_t to_ns)
{
	return to_ns > from_ns ? (to_ns - from_ns + SECOND_NS - 1) / SECOND_NS : 0;
}

static uint64_t seconds_down(uint64_t from_ns, uint64_t to_ns)
{
	return to_ns > from_ns ? (to_ns - from_ns) / SECOND_NS : 0;
}

/* ret: what the user has used after the change, to the second. */
static uint64_t due(const struct sim *sim, const struct ush_record *r, uint32_t count,
	uint64_t now_ns, uint64_t before)
{
	const struct sim_times *times = &sim->times_seen;
	uint64_t end_ns = times->deadline_ns[place(r)], more = 0, less = 0;

	if (is_new(r))
		more = seats_of(r, count, false) * seconds_up(now_ns, r->deadline_ns);
	else if (r->type == USH_RECORD_TYPE_EXTEND)
		more = times->seats[place(r)] * seconds_up(end_ns, r->deadline_ns);
	else if (r->type == USH_RECORD_TYPE_CUT || r->type == USH_RECORD_TYPE_SWAP) {
		more = seats_of(r, count, false) * seconds_up(now_ns, end_ns);
		less = seats_of(r, count, true) * seconds_down(now_ns, end_ns);
	} else if (r->type == USH_RECORD_TYPE_RELEASE || is_sale(r))
		less = times->seats[place(r)] * seconds_down(now_ns, end_ns);
	before += more;
	return before - ush_min64(less, before);
}

static bool ends_unsold(const struct ush_record *r)
{
	return r->type == USH_RECORD_TYPE_RELEASE || r->type == USH_RECORD_TYPE_EXPIRE ||
	       (r->type == USH_RECORD_TYPE_PAY_END && r->state == USH_HOLD_STATE_EXPIRED);
}

static void check_budget(struct sim *sim, const struct ush_record *r, uint32_t count,
	uint64_t now_ns, uint32_t before, uint32_t after)
{
	uint64_t wanted = sim->config.hold_budget_s != 0 ? due(sim, r, count, now_ns, before) : 0;

	if (after != wanted)
		sim_fail(sim, "time",
			"record %" PRIu64 ": user %" PRIu64
			" has used %u seat-seconds, then %u; %" PRIu64 " are due",
			r->sequence, r->user, before, after, wanted);
	else if (after > before && after > sim->config.hold_budget_s &&
		 r->type != USH_RECORD_TYPE_OFFER)
		sim_fail(sim, "time",
			"record %" PRIu64 ": user %" PRIu64 " uses %u of %u seat-seconds",
			r->sequence, r->user, after, sim->config.hold_budget_s);
}

static void check_pause(struct sim *sim, const struct ush_record *r, uint64_t now_ns,
	uint64_t before_ns, uint64_t after_ns)
{
	uint64_t pause_ns = sim->config.cool_down_ms * 1000000ull, wanted_ns = before_ns;

	if (pause_ns != 0 && ends_unsold(r) && !sim->times_seen.offer[place(r)])
		wanted_ns = ush_max64(before_ns, now_ns + pause_ns);
	if (after_ns != wanted_ns)
		sim_fail(sim, "time",
			"record %" PRIu64 ": the pause of user %" PRIu64 " ends at %" PRIu64
			", not %" PRIu64,
			r->sequence, r->user, after_ns, wanted_ns);
	else if (r->type == USH_RECORD_TYPE_HOLD && now_ns < before_ns)
		sim_fail(sim, "time",
			"record %" PRIu64 ": user %" PRIu64 " holds again %" PRIu64 " ns too soon",
			r->sequence, r->user, before_ns - now_ns);
}

static void appended(struct sim *sim, uint32_t loop, const struct ush_record *r)
{
	const struct ush_record *t = &r[r->run_count - 1];
	uint64_t now_ns = sim->loop_now_ns[loop];

	if (is_known(r)) {
		uint32_t used = sim->times_seen.held_s[r->event][r->user];
		uint64_t until_ns = sim->times_seen.cool_until_ns[r->event][r->user];
		bool timed = t->type == USH_RECORD_TYPE_USER_TIME;

		check_budget(sim, r, r->run_count, now_ns, used, timed ? t->amount : used);
		if (!sim->failed)
			check_pause(sim, r, now_ns, until_ns, timed ? t->deadline_ns : until_ns);
	}
	note(&sim->times_seen, r, r->run_count);
}

static void durable(struct sim *sim, const struct ush_record *records, uint32_t count)
{
	note(&sim->times_kept, records, count);
}

static void restarted(struct sim *sim)
{
	sim->times_seen = sim->times_kept;
}

const struct check check_time = {
	.name = "time", .appended = appended, .durable = durable, .restarted = restarted};
