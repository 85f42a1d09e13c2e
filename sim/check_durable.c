/* SPDX-License-Identifier: Apache-2.0 */
/*
 * No reply before durable: what a reply rests on has been confirmed by the disk when it leaves, and
 * is the record that such an answer must rest on.
 */
#include "check.h"

static void check_record(struct sim *sim, const struct sim_ask *ask, const struct ush_reply *reply)
{
	const struct ush_record *record = ledger_record(&sim->ledger, reply->sequence);
	uint8_t wanted = sim_op_record(ask->request.op);

	if (reply->status == USH_STATUS_EXPIRED && wanted != 0 && reply->sequence != 0)
		wanted = USH_RECORD_TYPE_EXPIRE;
	else if (reply->status != USH_STATUS_OK)
		wanted = 0;
	if (wanted == 0)
		return;
	if (record != NULL && record->type == wanted && record->event == ask->request.event &&
		record->user == (wanted == USH_RECORD_TYPE_EVENT_STATUS ? 0 : ask->request.user) &&
		(wanted == USH_RECORD_TYPE_HOLD || record->hold == ask->request.hold ||
			wanted == USH_RECORD_TYPE_EVENT_STATUS))
		return;
	sim_fail(sim, "durable",
		"ask %" PRIu64 " (op %u) is told OK by record %" PRIu64 ", which is of type %u",
		reply->cookie - 1, ask->request.op, reply->sequence,
		record != NULL ? record->type : 0);
}

static void replied(struct sim *sim, const struct sim_ask *ask, const struct ush_reply *reply)
{
	const struct ledger_hold *hold;

	if (reply->sequence >= sim->confirmed * USH_BLOCK_SLOTS) {
		sim_fail(sim, "durable",
			"ask %" PRIu64 " (op %u, status %u) rests on %" PRIu64
			", and the disk has confirmed what is below %" PRIu64,
			reply->cookie - 1, ask->request.op, reply->status, reply->sequence,
			sim->confirmed * USH_BLOCK_SLOTS);
		return;
	}
	check_record(sim, ask, reply);
	if (reply->status != USH_STATUS_OK || reply->state == USH_HOLD_STATE_FREE)
		return;
	/* Whatever is said of a hold has been booked. */
	hold = ledger_hold(&sim->ledger, reply->hold);
	if (hold == NULL)
		sim_fail(sim, "durable", "hold %" PRIx64 " is in no durable record", reply->hold);
	else if (reply->state == USH_HOLD_STATE_SOLD && hold->state != USH_HOLD_STATE_SOLD)
		sim_fail(sim, "durable", "hold %" PRIx64 " is called sold and is not, durably",
			reply->hold);
}

const struct check check_durable = {.name = "durable", .replied = replied};
