/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Limits: no user has more seats of an event than it allows, in the order of the journal, also by
 * transfer; no hold lives longer than was asked for, and none may be paid later than is allowed.
 */
#include "check.h"

static void durable(struct sim *sim, const struct ush_record *records, uint32_t count)
{
	const struct ush_record *r = &records[0];
	uint32_t seats = 0, had;

	uint64_t user = r->type == USH_RECORD_TYPE_TRANSFER ? r->mask : r->user;
	const struct ledger_hold *hold = ledger_hold(&sim->ledger, r->hold);

	if ((r->type != USH_RECORD_TYPE_HOLD && r->type != USH_RECORD_TYPE_OFFER &&
		    r->type != USH_RECORD_TYPE_LATE && r->type != USH_RECORD_TYPE_SWAP &&
		    r->type != USH_RECORD_TYPE_TRANSFER) ||
		r->event >= LEDGER_EVENTS || user >= LEDGER_USERS)
		return;
	had = sim->ledger.user_seats[r->event][user];
	count -= ledger_keeps(records, count);
	if (r->type == USH_RECORD_TYPE_TRANSFER) {
		seats = hold != NULL ? hold->seats : 0;
	} else if (r->type == USH_RECORD_TYPE_SWAP) {
		seats = ledger_swapped(records, count, false);
		had -= (uint32_t)ush_min64(had, ledger_swapped(records, count, true));
	} else {
		for (uint32_t i = 0; i < count; i++)
			seats += ush_popcount64(records[i].mask);
	}
	if (had + seats > sim->config.user_seats_max)
		sim_fail(sim, "limits",
			"record %" PRIu64 ": user %" PRIu64 " has %u seats and takes %u; %u are "
			"allowed",
			r->sequence, user, had, seats, sim->config.user_seats_max);
}

static void appended(struct sim *sim, uint32_t loop, const struct ush_record *r)
{
	uint64_t most = ush_max64(sim->config.hold_ms, 3000) * 1000000;

	if (r->type == USH_RECORD_TYPE_PAY_BEGIN &&
		r->mask > sim->loop_now_ns[loop] + USH_PAY_MS_MAX * 1000000ull)
		sim_fail(sim, "limits", "hold %" PRIx64 " may be paid too late", r->hold);
	if ((r->type == USH_RECORD_TYPE_HOLD || r->type == USH_RECORD_TYPE_OFFER ||
		    r->type == USH_RECORD_TYPE_EXTEND) &&
		r->deadline_ns > sim->loop_now_ns[loop] + most)
		sim_fail(sim, "limits", "hold %" PRIx64 " may live %" PRIu64 " ms", r->hold,
			(r->deadline_ns - sim->loop_now_ns[loop]) / 1000000);
}

const struct check check_limits = {.name = "limits", .durable = durable, .appended = appended};
