/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An event's life: in the order of the journal holds begin while it is on sale, no payment of a
 * cancelled one begins, and what is cancelled stays so.
 */
#include "check.h"

static void durable(struct sim *sim, const struct ush_record *records, uint32_t count)
{
	const struct ush_record *r = &records[0];
	uint32_t status;

	(void)count;
	if (r->event == 0 || r->event >= LEDGER_EVENTS)
		return;
	status = sim->ledger.event[r->event].status;
	if ((r->type == USH_RECORD_TYPE_HOLD && status != USH_EVENT_STATUS_ON_SALE) ||
		((r->type == USH_RECORD_TYPE_PAY_BEGIN ||
			 (r->type == USH_RECORD_TYPE_EVENT_STATUS &&
				 r->state != USH_EVENT_STATUS_CANCELLED)) &&
			status == USH_EVENT_STATUS_CANCELLED))
		sim_fail(sim, "sale", "record %" PRIu64 " (type %u) of event %u with status %u",
			r->sequence, r->type, r->event, status);
}

const struct check check_sale = {.name = "sale", .durable = durable};
