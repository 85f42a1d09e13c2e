/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Wait-list order: in the order of the journal nobody is served before his turn, a group gets all
 * its seats or none, and while anybody waits no seat that comes back is free for everybody.
 *
 * Turns do not overlap in the simulation, and all wait for any price tier: so whoever waits is
 * waited for by every seat, and a release that stands behind a join was decided behind it.
 */
#include "check.h"

static void offered(struct sim *sim, const struct ush_record *records, uint32_t count)
{
	const struct ush_record *r = &records[0];
	const struct ledger_event *event = &sim->ledger.event[r->event];
	uint32_t seats = 0, at = ledger_waiting(&sim->ledger, r->event, r->user);

	for (uint32_t i = 0; i < count; i++)
		seats += ush_popcount64(records[i].mask);
	if (at == event->wait_count)
		sim_fail(sim, "waitlist", "record %" PRIu64 ": user %" PRIu64 " does not wait",
			r->sequence, r->user);
	else if (event->waits[at].seats != seats)
		sim_fail(sim, "waitlist",
			"record %" PRIu64 ": user %" PRIu64 " waits for %u seats and is offered %u",
			r->sequence, r->user, event->waits[at].seats, seats);
	else if (at != 0 && !event->loose)
		sim_fail(sim, "waitlist",
			"record %" PRIu64 ": user %" PRIu64 " is served, and %u wait before him",
			r->sequence, r->user, at);
}

/* Seats come back, by a hold that ends or house seats that are unblocked. */
static void returned(struct sim *sim, const struct ush_record *records, uint32_t count)
{
	const struct ush_record *r = &records[0];
	const struct ledger_hold *hold = ledger_hold(&sim->ledger, r->hold);
	uint32_t seats = 0, kept = 0;

	if (sim->ledger.event[r->event].wait_count == 0)
		return;
	for (uint32_t i = 0; i < count; i++) {
		if (records[i].type == USH_RECORD_TYPE_KEEP)
			kept += ush_popcount64(records[i].mask);
		else if (r->type == USH_RECORD_TYPE_UNBLOCK)
			seats += ush_popcount64(records[i].mask);
	}
	if (r->type == USH_RECORD_TYPE_CUT || r->type == USH_RECORD_TYPE_REFUND_END) {
		for (uint32_t i = 0; i < count - ledger_keeps(records, count); i++)
			seats += ush_popcount64(records[i].mask);
	} else if (r->type != USH_RECORD_TYPE_UNBLOCK) {
		seats = hold != NULL ? hold->seats : 0;
	}
	if (kept != seats)
		sim_fail(sim, "waitlist",
			"record %" PRIu64 ": of %u seats that come back %u are free, and %u wait",
			r->sequence, seats, seats - kept, sim->ledger.event[r->event].wait_count);
}

static void durable(struct sim *sim, const struct ush_record *records, uint32_t count)
{
	const struct ush_record *r = &records[0];
	const struct ledger_event *event = &sim->ledger.event[r->event];
	uint32_t at;

	if (r->event >= LEDGER_EVENTS || r->user >= LEDGER_USERS)
		return;
	at = ledger_waiting(&sim->ledger, r->event, r->user);
	switch (r->type) {
	case USH_RECORD_TYPE_OFFER:
		offered(sim, records, count);
		break;
	case USH_RECORD_TYPE_RELEASE:
	case USH_RECORD_TYPE_EXPIRE:
	case USH_RECORD_TYPE_UNBLOCK:
	case USH_RECORD_TYPE_CUT:
	case USH_RECORD_TYPE_REFUND_END:
		returned(sim, records, count);
		break;
	case USH_RECORD_TYPE_WAIT_JOIN:
		if (at != event->wait_count)
			sim_fail(sim, "waitlist",
				"record %" PRIu64 ": user %" PRIu64 " waits already", r->sequence,
				r->user);
		break;
	case USH_RECORD_TYPE_WAIT_LEAVE:
		if (at == event->wait_count)
			sim_fail(sim, "waitlist",
				"record %" PRIu64 ": user %" PRIu64 " leaves and does not wait",
				r->sequence, r->user);
		break;
	case USH_RECORD_TYPE_WAIT_OPEN:
		if (event->wait_count != 0 && !event->loose)
			sim_fail(sim, "waitlist",
				"record %" PRIu64 ": seats become free, and %u wait for them",
				r->sequence, event->wait_count);
		break;
	default:
		break;
	}
}

const struct check check_waitlist = {.name = "waitlist", .durable = durable};
