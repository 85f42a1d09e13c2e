/* SPDX-License-Identifier: Apache-2.0 */
/*
 * No reply before durable: what a reply rests on has been confirmed by the disk when it leaves, and
 * is the record that such an answer must rest on.
 */
#include "check.h"

/* ret: true if further records of such a run name lines in place of the hold. */
static bool names_line(uint8_t type)
{
	return type == USH_RECORD_TYPE_HOLD || type == USH_RECORD_TYPE_LATE ||
	       type == USH_RECORD_TYPE_SWAP || type == USH_RECORD_TYPE_OFFER;
}

/* ret: true if the record may be of the hold: further legs name their lines. */
static bool is_of_hold(const struct ush_record *record, uint64_t hold)
{
	return record->hold == hold || (names_line(record->type) && record->run_index != 0);
}

/* ret: true if the record is about what was asked. */
static bool is_about(const struct sim_ask *ask, const struct ush_record *record)
{
	const struct ush_request *r = &ask->request;

	if (record->event != r->event)
		return false;
	if (r->op == USH_OP_EVENT_STATUS || r->op == USH_OP_EVENT_CHANGE)
		return true;
	if (r->op == USH_OP_RESERVE || r->op == USH_OP_RESERVE_BEST || r->op == USH_OP_RESERVE_AREA)
		return record->user == r->user;
	if (r->op == USH_OP_PAY_LATE && record->type == USH_RECORD_TYPE_LATE)
		return record->user == r->user;
	if (!is_of_hold(record, r->hold))
		return false;
	return record->user == r->user ||
	       (record->type == USH_RECORD_TYPE_TRANSFER &&
		       (record->mask == r->user || record->mask == r->arg));
}

/* ret: true if OK, or that the hold is EXPIRED, may rest on the record. */
static bool may_rest_on(
	const struct sim_ask *ask, const struct ush_reply *reply, const struct ush_record *record)
{
	uint8_t op = ask->request.op, wanted = sim_op_record(op);

	/* A restart gave the hold its time back since: the last record about it. */
	if (record->type == USH_RECORD_TYPE_RESUME && sim_op_is_versioned(op))
		return true;
	if (op == USH_OP_TRANSFER && ask->lie && is_of_hold(record, ask->request.hold))
		return record->state == reply->state;
	if (!is_about(ask, record))
		return false;
	if (reply->status == USH_STATUS_EXPIRED)
		return record->type == USH_RECORD_TYPE_EXPIRE;
	/* A hold that is sold may have been so by a payment, and changed hands. Who names a wrong
	 * version may find the hold where they wanted it, by another way. */
	if (op == USH_OP_CONFIRM || (ask->lie && sim_op_is_versioned(op)))
		return record->state == reply->state;
	return record->type == wanted ||
	       (op == USH_OP_RELEASE && record->type == USH_RECORD_TYPE_CUT);
}

static void check_record(struct sim *sim, const struct sim_ask *ask, const struct ush_reply *reply)
{
	const struct ush_record *record = ledger_record(&sim->ledger, reply->sequence);

	if (sim_op_record(ask->request.op) == 0 ||
		!(reply->status == USH_STATUS_OK ||
			(reply->status == USH_STATUS_EXPIRED && reply->sequence != 0)))
		return;
	if (record != NULL && may_rest_on(ask, reply, record))
		return;
	sim_fail(sim, "durable",
		"ask %" PRIu64 " (op %u) is told %u by record %" PRIu64 ", which is of type %u",
		reply->cookie - 1, ask->request.op, reply->status, reply->sequence,
		record != NULL ? record->type : 0);
}

/* What is said of a hold is what the records say. */
static void check_hold(struct sim *sim, const struct sim_ask *ask, const struct ush_reply *reply)
{
	const struct ledger_hold *hold = ledger_hold(&sim->ledger, reply->hold);
	bool is_price = ask->request.op != USH_OP_REFUND_BEGIN;

	if (hold == NULL)
		sim_fail(sim, "durable", "hold %" PRIx64 " is in no durable record", reply->hold);
	else if ((hold->was & 1u << reply->state) == 0)
		sim_fail(sim, "durable",
			"hold %" PRIx64 " is said to be in state %u and never was, durably",
			reply->hold, reply->state);
	else if (reply->hold_version != 0 && reply->hold_version > hold->version)
		sim_fail(sim, "durable", "hold %" PRIx64 " is said to be at version %u of %u",
			reply->hold, reply->hold_version, hold->version);
	else if (reply->hold_version == hold->version && ledger_is_live(hold) &&
		 (reply->state != hold->state || reply->deadline_ns != hold->deadline_ns ||
			 (is_price && reply->amount != hold->amount)))
		sim_fail(sim, "durable",
			"hold %" PRIx64 " at version %u, state %u, price %" PRIu64
			": told are %u and %" PRIu64,
			reply->hold, hold->version, hold->state, hold->amount, reply->state,
			reply->amount);
}

static void replied(struct sim *sim, const struct sim_ask *ask, const struct ush_reply *reply)
{
	if (reply->sequence >= sim->confirmed * USH_BLOCK_SLOTS) {
		sim_fail(sim, "durable",
			"ask %" PRIu64 " (op %u, status %u) rests on %" PRIu64
			", and the disk has confirmed what is below %" PRIu64,
			reply->cookie - 1, ask->request.op, reply->status, reply->sequence,
			sim->confirmed * USH_BLOCK_SLOTS);
		return;
	}
	check_record(sim, ask, reply);
	/* Whatever is said of a hold has been booked. */
	if (reply->status == USH_STATUS_OK && reply->state != USH_HOLD_STATE_FREE)
		check_hold(sim, ask, reply);
}

const struct check check_durable = {.name = "durable", .replied = replied};
