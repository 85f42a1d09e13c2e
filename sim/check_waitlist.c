/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Wait-list order: in the order of the journal nobody is served before his turn, a group gets all
 * its seats or none, and while anybody waits no seat that comes back is free for everybody.
 *
 * Turns do not overlap in the simulation: a release that stands behind a join was decided behind
 * it. Somebody waits for seats of one price tier, or for any.
 */
#include "check.h"

/* ret: those of the seats that the one at that place of the list waits for. */
static uint64_t waited_for(const struct sim *sim, const struct ledger_event *event, uint32_t at,
	uint32_t row, uint64_t mask)
{
	switch (event->waits[at].tier) {
	case 0:
		return mask & ~sim->second_tier[row];
	case 1:
		return mask & sim->second_tier[row];
	default:
		return mask;
	}
}

/* ret: the first before place `end` who waits for one of the seats; `end`: nobody. */
static uint32_t first_for(const struct sim *sim, const struct ledger_event *event, uint32_t end,
	const struct ush_record *records, uint32_t count)
{
	for (uint32_t at = 0; at < end; at++) {
		for (uint32_t i = 0; i < count; i++) {
			if (waited_for(sim, event, at, records[i].row, records[i].mask) != 0)
				return at;
		}
	}
	return end;
}

static void offered(struct sim *sim, const struct ush_record *records, uint32_t count)
{
	const struct ush_record *r = &records[0];
	const struct ledger_event *event = &sim->ledger.event[r->event];
	uint32_t seats = 0, at = ledger_waiting(&sim->ledger, r->event, r->user), before = 0;

	count -= ledger_keeps(records, count);
	for (uint32_t i = 0; i < count && at != event->wait_count; i++)
		seats +=
			ush_popcount64(waited_for(sim, event, at, records[i].row, records[i].mask));
	before = first_for(sim, event, at, records, count);
	if (at == event->wait_count)
		sim_fail(sim, "waitlist", "record %" PRIu64 ": user %" PRIu64 " does not wait",
			r->sequence, r->user);
	else if (event->waits[at].seats != seats)
		sim_fail(sim, "waitlist",
			"record %" PRIu64 ": user %" PRIu64 " waits for %u seats and is offered %u",
			r->sequence, r->user, event->waits[at].seats, seats);
	else if (before != at && !event->loose)
		sim_fail(sim, "waitlist",
			"record %" PRIu64 ": user %" PRIu64 " is served at place %u, and place %u "
			"waits for these seats",
			r->sequence, r->user, at, before);
}

/* Seats come back, by a hold that ends or house seats that are unblocked. */
static void returned(struct sim *sim, const struct ush_record *records, uint32_t count)
{
	const struct ush_record *r = &records[0];
	const struct ledger_hold *hold = ledger_hold(&sim->ledger, r->hold);
	uint32_t seats = 0, kept = 0;

	if (sim->ledger.event[r->event].wait_count == 0 ||
		(r->type == USH_RECORD_TYPE_PAY_END && r->state != USH_HOLD_STATE_EXPIRED))
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
	} else if (r->type == USH_RECORD_TYPE_SWAP) {
		seats = ledger_swapped(records, count, true);
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
	case USH_RECORD_TYPE_PAY_END:
	case USH_RECORD_TYPE_UNBLOCK:
	case USH_RECORD_TYPE_CUT:
	case USH_RECORD_TYPE_SWAP:
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
		if (!event->loose && first_for(sim, event, event->wait_count, records, count) !=
					     event->wait_count)
			sim_fail(sim, "waitlist",
				"record %" PRIu64 ": seats become free that somebody of %u waits "
				"for",
				r->sequence, event->wait_count);
		break;
	default:
		break;
	}
}

const struct check check_waitlist = {.name = "waitlist", .durable = durable};
