/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An event's life: in the order of the journal holds begin while it is on sale, no payment of a
 * cancelled one begins, what is cancelled stays so, and no sale opens again by one step from its
 * end or becomes a draft.
 */
#include "check.h"

/* ret: true if the status may not be entered from where the event is. */
static bool is_no_way(uint32_t from, uint32_t to)
{
	return (from == USH_EVENT_STATUS_CANCELLED && to != USH_EVENT_STATUS_CANCELLED) ||
	       (from == USH_EVENT_STATUS_COMPLETED && to == USH_EVENT_STATUS_ON_SALE) ||
	       (from != USH_EVENT_STATUS_DRAFT && to == USH_EVENT_STATUS_DRAFT);
}

static void durable(struct sim *sim, const struct ush_record *records, uint32_t count)
{
	const struct ush_record *r = &records[0];
	uint32_t status;

	(void)count;
	if (r->event == 0 || r->event >= LEDGER_EVENTS)
		return;
	status = sim->ledger.event[r->event].status;
	if (r->type == USH_RECORD_TYPE_EVENT_STATUS && r->mask != 0 && r->mask != status)
		sim_fail(sim, "sale",
			"record %" PRIu64 ": event %u goes on from status %" PRIu64 ", it had %u",
			r->sequence, r->event, r->mask, status);
	if ((r->type == USH_RECORD_TYPE_HOLD && status != USH_EVENT_STATUS_ON_SALE) ||
		(r->type == USH_RECORD_TYPE_PAY_BEGIN && status == USH_EVENT_STATUS_CANCELLED) ||
		(r->type == USH_RECORD_TYPE_EVENT_STATUS && is_no_way(status, r->state)))
		sim_fail(sim, "sale", "record %" PRIu64 " (type %u) of event %u with status %u",
			r->sequence, r->type, r->event, status);
}

const struct check check_sale = {.name = "sale", .durable = durable};
