/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The time of holds, by the clock of the turn that decided: a new hold is charged seats times its
 * life and never takes its user beyond the budget, an extension what it gains; what ends gives back
 * no more than was left; after a hold that ended unsold its user makes no new one before the pause
 * is over. What a crash took away is forgotten.
 */
#include "check.h"

#define SECOND_NS 1000000000ull
static uint32_t place(const struct ush_record *r)
{
	return (uint32_t)(r->hold & 0xffffffff) % SIM_TIMED_HOLDS;
}

static bool is_new(const struct ush_record *r)
{
	return r->type == USH_RECORD_TYPE_HOLD || r->type == USH_RECORD_TYPE_OFFER;
}

static void note(struct sim_times *times, const struct ush_record *records, uint32_t count)
{
	const struct ush_record *r = records, *t = &records[count - 1];

	if (is_new(r))
		times->offer[place(r)] = r->type == USH_RECORD_TYPE_OFFER;
	if (r->type == USH_RECORD_TYPE_CONFIRM ||
		(r->type == USH_RECORD_TYPE_PAY_END && r->state == USH_HOLD_STATE_SOLD))
		times->offer[place(r)] = false;
	if (is_new(r) || r->type == USH_RECORD_TYPE_EXTEND)
		times->deadline_ns[place(r)] = r->deadline_ns;
	if (t->type == USH_RECORD_TYPE_USER_TIME) {
		times->held_s[r->event][r->user] = t->amount;
		times->cool_until_ns[r->event][r->user] = t->deadline_ns;
	}
}

static uint64_t seconds_up(uint64_t from_ns, uint64_t to_ns)
{
	return to_ns > from_ns ? (to_ns - from_ns + SECOND_NS - 1) / SECOND_NS : 0;
}

static void check_charge(struct sim *sim, const struct ush_record *r, uint32_t count,
	uint64_t now_ns, uint32_t before, uint32_t after)
{
	uint64_t seats = 0, most, least = 0;

	for (uint32_t i = 0; i < count; i++)
		seats += ush_popcount64(r[i].mask);
	switch (r->type) {
	case USH_RECORD_TYPE_HOLD:
	case USH_RECORD_TYPE_OFFER:
		most = least = seats * seconds_up(now_ns, r->deadline_ns);
		break;
	case USH_RECORD_TYPE_EXTEND:
		/* One seat at least, the legs of its hold at most. */
		least = seconds_up(sim->times_seen.deadline_ns[place(r)], r->deadline_ns);
		most = least * USH_LEG_COUNT_MAX * USH_ROW_SEATS_MAX;
		/* By RESUME its deadline was moved since. */
		if (sim->totals->crashes != 0)
			least = 0;
		break;
	case USH_RECORD_TYPE_SWAP:
		most = seats * seconds_up(now_ns, r->deadline_ns);
		break;
	default:
		most = 0;
		break;
	}
	if (after > before + most || after < before + least)
		if (after > before || least != 0)
			sim_fail(sim, "time",
				"record %" PRIu64 ": user %" PRIu64
				" has used %u seat-seconds, then "
				"%u; %" PRIu64 " to %" PRIu64 " more were due",
				r->sequence, r->user, before, after, least, most);
	if (after > before && after > sim->config.hold_budget_s && r->type != USH_RECORD_TYPE_OFFER)
		sim_fail(sim, "time",
			"record %" PRIu64 ": user %" PRIu64 " uses %u of %u seat-seconds",
			r->sequence, r->user, after, sim->config.hold_budget_s);
}

static bool ends_unsold(const struct ush_record *r)
{
	return r->type == USH_RECORD_TYPE_RELEASE || r->type == USH_RECORD_TYPE_EXPIRE ||
	       (r->type == USH_RECORD_TYPE_PAY_END && r->state == USH_HOLD_STATE_EXPIRED);
}

/* What was left to run of the hold is the most that comes back. */
static void check_return(struct sim *sim, const struct ush_record *r, uint64_t now_ns,
	uint32_t before, uint32_t after)
{
	uint64_t left = r->deadline_ns > now_ns ? (r->deadline_ns - now_ns) / SECOND_NS : 0;

	if (before - after > left * USH_LEG_COUNT_MAX * USH_ROW_SEATS_MAX)
		sim_fail(sim, "time",
			"record %" PRIu64 ": user %" PRIu64
			" is given %u seat-seconds back, and the "
			"hold had %" PRIu64 " s to run",
			r->sequence, r->user, before - after, left);
}

static void appended(struct sim *sim, uint32_t loop, const struct ush_record *r)
{
	uint64_t now_ns = sim->loop_now_ns[loop], pause_ns = sim->config.cool_down_ms * 1000000ull;
	const struct ush_record *t = &r[r->run_count - 1];
	uint32_t count = r->run_count, before, after;
	uint64_t until, then;

	if (r->event == 0 || r->event >= LEDGER_EVENTS || r->user == 0 || r->user >= LEDGER_USERS)
		return;
	before = after = sim->times_seen.held_s[r->event][r->user];
	until = then = sim->times_seen.cool_until_ns[r->event][r->user];
	if (t->type == USH_RECORD_TYPE_USER_TIME) {
		after = t->amount;
		then = t->deadline_ns;
	}
	if (r->type == USH_RECORD_TYPE_HOLD && now_ns < until)
		sim_fail(sim, "time",
			"record %" PRIu64 ": user %" PRIu64 " holds again %" PRIu64 " ns too soon",
			r->sequence, r->user, until - now_ns);
	if (sim->config.hold_budget_s != 0)
		check_charge(sim, r, count, now_ns, before, after);
	if (after < before && !sim->failed)
		check_return(sim, r, now_ns, before, after);
	if (pause_ns != 0 && ends_unsold(r) && !sim->times_seen.offer[place(r)] &&
		then != ush_max64(until, now_ns + pause_ns) && !sim->failed)
		sim_fail(sim, "time",
			"record %" PRIu64 ": the pause of user %" PRIu64 " ends at %" PRIu64
			", not %" PRIu64,
			r->sequence, r->user, then, now_ns + pause_ns);
	note(&sim->times_seen, r, count);
}

static void durable(struct sim *sim, const struct ush_record *records, uint32_t count)
{
	const struct ush_record *r = &records[0];

	if (r->event != 0 && r->event < LEDGER_EVENTS && r->user != 0 && r->user < LEDGER_USERS)
		note(&sim->times_kept, records, count);
}

static void restarted(struct sim *sim)
{
	sim->times_seen = sim->times_kept;
}

const struct check check_time = {
	.name = "time", .appended = appended, .durable = durable, .restarted = restarted};
