/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Channels: their seats go to those who have the key and to nobody else, seats that come back stay
 * theirs, each and only those, and the numbers of keys have no gaps.
 */
#include "check.h"

/* The KEEP records of a run name the channels' seats among what it gives back. */
static void check_keeps(struct sim *sim, const struct ush_record *records, uint32_t count)
{
	const struct ush_record *r = &records[0];
	const struct ledger_hold *hold = ledger_hold(&sim->ledger, r->hold);
	uint64_t back[LEDGER_ROWS] = {0}, kept[LEDGER_ROWS] = {0};
	uint32_t keeps = ledger_keeps(records, count);
	bool some = r->type == USH_RECORD_TYPE_CUT || r->type == USH_RECORD_TYPE_SWAP ||
		    (r->type == USH_RECORD_TYPE_REFUND_END && r->mask != 0);
	bool all = r->type == USH_RECORD_TYPE_RELEASE || r->type == USH_RECORD_TYPE_EXPIRE ||
		   (r->type == USH_RECORD_TYPE_PAY_END && r->state == USH_HOLD_STATE_EXPIRED);

	for (uint32_t i = 0; i < count; i++) {
		/* What is set aside for those who wait is another checker's. */
		if (i >= count - keeps)
			kept[records[i].row % LEDGER_ROWS] |=
				records[i].state == USH_KEEP_CHANNEL ? records[i].mask : 0;
		else if (some && (r->type != USH_RECORD_TYPE_SWAP ||
					 records[i].state == USH_HOLD_STATE_RELEASED))
			back[records[i].row % LEDGER_ROWS] |= records[i].mask;
	}
	for (uint32_t i = 0; all && hold != NULL && i < hold->legs; i++)
		back[hold->row[i]] |= hold->mask[i];
	for (uint32_t row = 0; row < LEDGER_ROWS; row++) {
		uint64_t of = ledger_channel(&sim->ledger, r->event, row, 0);

		if (kept[row] == (back[row] & of))
			continue;
		sim_fail(sim, "channel",
			"record %" PRIu64 " (type %u): of row %u %" PRIx64 " comes back, %" PRIx64
			" is of channels, %" PRIx64 " is kept",
			r->sequence, r->type, row, back[row], of, kept[row]);
		return;
	}
}

static void durable(struct sim *sim, const struct ush_record *records, uint32_t count)
{
	const struct ush_record *r = &records[0];

	if (r->event == 0 || r->event >= LEDGER_EVENTS)
		return;
	if (r->type == USH_RECORD_TYPE_CHANNEL && r->state <= USH_CHANNEL_COUNT_MAX &&
		r->amount != sim->ledger.event[r->event].channel_key[r->state] + 1)
		sim_fail(sim, "channel", "channel %u of event %u gets key %u after %u", r->state,
			r->event, r->amount, sim->ledger.event[r->event].channel_key[r->state]);
	check_keeps(sim, records, count);
	if (r->type != USH_RECORD_TYPE_UNBLOCK)
		return;
	for (uint32_t i = 0; i < count - ledger_keeps(records, count); i++) {
		uint64_t of = ledger_channel(
			&sim->ledger, r->event, records[i].row % LEDGER_ROWS, records[i].state);

		if ((records[i].mask & (records[i].state != 0 ? ~of : of)) != 0)
			sim_fail(sim, "channel",
				"record %" PRIu64 ": row %u %" PRIx64
				" is unblocked for channel %u",
				records[i].sequence, records[i].row, records[i].mask,
				records[i].state);
	}
}

/* ret: seats of the row that the answer to this ask is about: of a swap those that it took. */
static uint64_t asked_of(const struct sim_ask *ask, uint32_t row)
{
	uint64_t mask = 0;

	if (ask->request.op != USH_OP_SWAP)
		return ~0ull;
	if (ask->request.row == row)
		mask = ask->request.mask;
	for (uint32_t i = 0; i < ask->leg_count; i++)
		mask |= ask->legs[i].row == row ? ask->legs[i].mask : 0;
	return mask;
}

/* As long as a hold lives its seats stay in their channel. */
static void replied(struct sim *sim, const struct sim_ask *ask, const struct ush_reply *reply)
{
	uint32_t channel = ask->request.op == USH_OP_PAY_LATE ? ask->request.section : ask->channel;
	const struct ledger_hold *hold;

	if (reply->status != USH_STATUS_OK ||
		(reply->op != USH_OP_RESERVE && reply->op != USH_OP_RESERVE_BEST &&
			reply->op != USH_OP_RESERVE_AREA && reply->op != USH_OP_SWAP &&
			reply->op != USH_OP_PAY_LATE))
		return;
	hold = ledger_hold(&sim->ledger, reply->hold);
	/* What was swapped since came by another ask, and of late payments only the first counts.
	 */
	if (hold == NULL || !ledger_is_live(hold) || (hold->swapped && reply->op != USH_OP_SWAP) ||
		((reply->op == USH_OP_SWAP || reply->op == USH_OP_PAY_LATE) && reply->detail != 0))
		return;
	for (uint32_t i = 0; i < hold->legs; i++) {
		uint64_t of = ledger_channel(&sim->ledger, hold->event, hold->row[i], 0);
		uint64_t has = hold->mask[i] & asked_of(ask, hold->row[i]);
		uint64_t mine = channel == 0 ? 0
					     : ledger_channel(&sim->ledger, hold->event,
						       hold->row[i], channel);

		if ((has & of & ~mine) != 0)
			sim_fail(sim, "channel",
				"ask %" PRIu64 " for channel %u has row %u %" PRIx64
				" of another channel",
				reply->cookie - 1, channel, hold->row[i], has & of & ~mine);
		else if ((has & of) != 0 && reply->detail == 0) {
			sim->totals->channel_sales++;
			/* PAY_LATE needs no key. */
			if (ask->forged && ask->channel != 0)
				sim_fail(sim, "channel", "ask %" PRIu64 " had no key",
					reply->cookie - 1);
		}
	}
}

const struct check check_channel = {.name = "channel", .durable = durable, .replied = replied};
