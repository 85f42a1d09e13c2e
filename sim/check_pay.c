/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Money: what is paid is the price of the hold, a payment and a refund end as their provider says,
 * so a hold is charged once and never lost once it is; and the seats of a refund, those that were
 * named and no others, come back when it has succeeded and not before.
 */
#include "check.h"
#include "ops.h"

static bool has_succeeded(const struct sim *sim, const struct ush_record *first)
{
	return sim_outcome(sim, first->hold, (uint16_t)(first->version - 1)) ==
	       USH_OUTCOME_SUCCEEDED;
}

static void pay_begin(struct sim *sim, const struct ush_record *r, const struct ledger_hold *hold)
{
	if (r->amount != hold->amount || r->row != hold->attempts + 1u ||
		r->row > USH_PAY_ATTEMPTS_MAX)
		sim_fail(sim, "pay",
			"hold %" PRIx64 " of %" PRIu64 " is paid with %u, attempt %u after %u",
			r->hold, hold->amount, r->amount, r->row, hold->attempts);
	else if ((hold->was & 1u << USH_HOLD_STATE_SOLD) != 0)
		sim_fail(sim, "pay", "hold %" PRIx64 " is paid twice", r->hold);
}

static void refund_begin(struct sim *sim, const struct ush_record *records, uint32_t count,
	const struct ledger_hold *hold)
{
	for (uint32_t i = 0; i < count; i++) {
		const struct ush_record *r = &records[i];
		uint32_t leg = ledger_leg(hold, r->row);

		if (leg != UINT32_MAX && r->mask != 0 && (r->mask & ~hold->mask[leg]) == 0 &&
			r->amount == sim_price(sim, hold->event, hold->prices, r->row, r->mask))
			continue;
		sim_fail(sim, "pay",
			"record %" PRIu64 ": %u are refunded for row %u %" PRIx64
			" of hold %" PRIx64,
			r->sequence, r->amount, r->row, r->mask, r->hold);
		return;
	}
}

static void refund_end(struct sim *sim, const struct ush_record *records, uint32_t count,
	const struct ledger_hold *hold)
{
	uint64_t back[LEDGER_LEGS] = {0};
	bool succeeded = has_succeeded(sim, records);
	uint32_t left = hold->seats;

	for (uint32_t i = 0; i < count && records[0].mask != 0; i++) {
		uint32_t leg = ledger_leg(hold, records[i].row);

		if (leg != UINT32_MAX)
			back[leg] |= records[i].mask;
		left -= ush_popcount64(records[i].mask);
	}
	if (succeeded == (records[0].mask != 0) &&
		(!succeeded || memcmp(back, hold->refund, sizeof(back)) == 0) &&
		(left == 0) == (records[count - 1].state == USH_HOLD_STATE_REFUNDED))
		return;
	sim_fail(sim, "pay",
		"record %" PRIu64 ": a refund of hold %" PRIx64 " that %s ends in state %u with %u "
		"seats left, first %" PRIx64 " back of %" PRIx64,
		records[0].sequence, hold->id, succeeded ? "succeeded" : "failed",
		records[count - 1].state, left, back[0], hold->refund[0]);
}

/* What is sold late is sold once, for a hold that is over. */
static void late(struct sim *sim, const struct ush_record *r)
{
	uint64_t over = r->request_id | (uint64_t)r->digest << 32;
	const struct ledger_hold *hold = ledger_hold(&sim->ledger, over);
	const struct ledger_hold *before = ledger_late(&sim->ledger, over, r->user);

	if (hold == NULL || ledger_is_live(hold))
		sim_fail(sim, "pay",
			"record %" PRIu64 ": sold late for hold %" PRIx64 ", which is in state %u",
			r->sequence, over, hold != NULL ? hold->state : 0);
	else if (before != NULL)
		sim_fail(sim, "pay",
			"record %" PRIu64 ": sold late for hold %" PRIx64 ", as hold %" PRIx64
			" was",
			r->sequence, over, before->id);
}

static void durable(struct sim *sim, const struct ush_record *records, uint32_t count)
{
	const struct ush_record *r = &records[0];
	const struct ledger_hold *hold = ledger_hold(&sim->ledger, r->hold);

	count -= ledger_keeps(records, count);
	if (r->type == USH_RECORD_TYPE_LATE)
		late(sim, r);
	/* What is wrong in its state is for check_life. */
	if (hold == NULL)
		return;
	if (r->type == USH_RECORD_TYPE_PAY_BEGIN)
		pay_begin(sim, r, hold);
	else if (r->type == USH_RECORD_TYPE_REFUND_BEGIN)
		refund_begin(sim, records, count, hold);
	else if (r->type == USH_RECORD_TYPE_REFUND_END)
		refund_end(sim, records, count, hold);
	else if (r->type == USH_RECORD_TYPE_PAY_END &&
		 has_succeeded(sim, r) != (r->state == USH_HOLD_STATE_SOLD))
		sim_fail(sim, "pay", "a payment of hold %" PRIx64 " %s and the hold is in state %u",
			r->hold, has_succeeded(sim, r) ? "succeeded" : "failed", r->state);
}

/* ret: true if the hold began with the seats that the ask names. */
static bool has_seats(const struct sim_ask *ask, const struct ledger_hold *hold)
{
	uint64_t asked[SIM_ROWS_MAX] = {0}, has[SIM_ROWS_MAX] = {0};

	asked[ask->request.row % SIM_ROWS_MAX] = ask->request.mask;
	for (uint32_t i = 0; i < ask->leg_count; i++)
		asked[ask->legs[i].row % SIM_ROWS_MAX] |= ask->legs[i].mask;
	for (uint32_t i = 0; i < hold->legs_first; i++)
		has[hold->row_first[i]] |= hold->mask_first[i];
	return memcmp(asked, has, sizeof(has)) == 0;
}

/* Who is told to pay is told what was priced; who paid late has the seats that were named. */
static void replied(struct sim *sim, const struct sim_ask *ask, const struct ush_reply *reply)
{
	if (reply->op == USH_OP_PAY_LATE && reply->status == USH_STATUS_OK) {
		const struct ledger_hold *hold = ledger_hold(&sim->ledger, reply->hold);

		if (hold == NULL || hold->over != ask->request.hold ||
			hold->late_user != ask->request.user ||
			(reply->detail == 0 &&
				(!has_seats(ask, hold) || reply->amount != ask->request.arg)))
			sim_fail(sim, "pay",
				"ask %" PRIu64 " pays late for hold %" PRIx64
				" and is told hold %" PRIx64,
				reply->cookie - 1, ask->request.hold, reply->hold);
	}
	if (reply->op == USH_OP_PAY_BEGIN && reply->status == USH_STATUS_OK &&
		(reply->amount != ask->request.arg || reply->detail == 0 ||
			reply->detail > USH_PAY_ATTEMPTS_MAX ||
			reply->hold_version != (uint16_t)(ask->request.section + 1)))
		sim_fail(sim, "pay",
			"ask %" PRIu64 " prices hold %" PRIx64 " at %" PRIu64
			" and is told %" PRIu64 ", attempt %u",
			reply->cookie - 1, reply->hold, ask->request.arg, reply->amount,
			reply->detail);
}

const struct check check_pay = {.name = "pay", .durable = durable, .replied = replied};
