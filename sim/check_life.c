/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of a hold: each record starts from the state it may start from, is the next version, is
 * the owner's, and names the price of what it leaves.
 */
#include "check.h"

#define BIT(state) (1u << USH_HOLD_STATE_##state)

/* Where a record may start, and where it may end. 0: it is not about a hold. */
static const struct {
	uint16_t from, to;
} life[USH_RECORD_TYPE_COUNT] = {
	[USH_RECORD_TYPE_RELEASE] = {BIT(HELD), BIT(RELEASED)},
	[USH_RECORD_TYPE_EXPIRE] = {BIT(HELD), BIT(EXPIRED)},
	[USH_RECORD_TYPE_CONFIRM] = {BIT(HELD), BIT(SOLD)},
	[USH_RECORD_TYPE_EXTEND] = {BIT(HELD), BIT(HELD)},
	[USH_RECORD_TYPE_CUT] = {BIT(HELD), BIT(HELD)},
	/* The first of its records names seats that are given up. */
	[USH_RECORD_TYPE_SWAP] = {BIT(HELD), BIT(RELEASED)},
	[USH_RECORD_TYPE_PAY_BEGIN] = {BIT(HELD), BIT(PAYING)},
	[USH_RECORD_TYPE_PAY_END] = {BIT(PAYING), BIT(SOLD) | BIT(HELD) | BIT(EXPIRED)},
	[USH_RECORD_TYPE_REFUND_BEGIN] = {BIT(SOLD), BIT(REFUNDING)},
	[USH_RECORD_TYPE_REFUND_END] = {BIT(REFUNDING), BIT(SOLD) | BIT(REFUNDED)},
	[USH_RECORD_TYPE_TRANSFER] = {BIT(SOLD), BIT(SOLD)},
};

static void check_new(
	struct sim *sim, const struct ush_record *records, uint32_t count, uint32_t list)
{
	uint32_t rows = sim->ledger.event[records->event % LEDGER_EVENTS].rows;
	uint8_t state =
		records[0].type == USH_RECORD_TYPE_LATE ? USH_HOLD_STATE_SOLD : USH_HOLD_STATE_HELD;

	for (uint32_t i = 0; i < count; i++) {
		const struct ush_record *r = &records[i];

		if (r->version == 1 && r->state == state && r->user != 0 && r->row < rows &&
			r->amount == sim_price(sim, r->event, list, r->row, r->mask))
			continue;
		sim_fail(sim, "life", "record %" PRIu64 ": a hold begins wrong: amount %u",
			r->sequence, r->amount);
		return;
	}
}

/* Seats given back: what the leg is left with costs what the record says. */
static void check_left(struct sim *sim, const struct ledger_hold *hold,
	const struct ush_record *records, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		const struct ush_record *r = &records[i];
		uint32_t leg = ledger_leg(hold, r->row);

		if (leg != UINT32_MAX && r->mask != 0 && (r->mask & ~hold->mask[leg]) == 0 &&
			r->amount == sim_price(sim, hold->event, hold->prices, r->row,
					     hold->mask[leg] & ~r->mask))
			continue;
		sim_fail(sim, "life",
			"record %" PRIu64 ": hold %" PRIx64 " gives back row %u %" PRIx64
			" and is left with %u",
			r->sequence, r->hold, r->row, r->mask, r->amount);
		return;
	}
}

/* Seats are given up for others; the hold pays for what it has then. */
static void check_swap(struct sim *sim, const struct ledger_hold *hold,
	const struct ush_record *records, uint32_t count)
{
	uint32_t given = 0;

	while (given < count && records[given].state == USH_HOLD_STATE_RELEASED)
		given++;
	check_left(sim, hold, records, given);
	for (uint32_t i = given; i < count && !sim->failed; i++) {
		const struct ush_record *r = &records[i];
		uint32_t leg = ledger_leg(hold, r->row);
		uint64_t kept = leg != UINT32_MAX ? hold->mask[leg] : 0;

		for (uint32_t k = 0; k < given; k++)
			kept &= records[k].row == r->row ? ~records[k].mask : ~0ull;
		if (given != 0 && r->state == USH_HOLD_STATE_HELD &&
			r->version == records[0].version &&
			r->amount ==
				sim_price(sim, hold->event, hold->prices, r->row, kept | r->mask))
			continue;
		sim_fail(sim, "life",
			"record %" PRIu64 ": hold %" PRIx64 " takes row %u %" PRIx64
			" beside %" PRIx64 " for %u",
			r->sequence, hold->id, r->row, r->mask, kept, r->amount);
	}
}

static void durable(struct sim *sim, const struct ush_record *records, uint32_t count)
{
	const struct ush_record *r = &records[0];
	const struct ledger_hold *hold;
	uint32_t list;

	list = ledger_list(records, count);
	count -= ledger_keeps(records, count);
	if (r->type == USH_RECORD_TYPE_HOLD || r->type == USH_RECORD_TYPE_LATE ||
		r->type == USH_RECORD_TYPE_OFFER)
		check_new(sim, records, count, list);
	if (r->type >= USH_RECORD_TYPE_COUNT || life[r->type].from == 0)
		return;
	hold = ledger_hold(&sim->ledger, r->hold);
	if (hold == NULL || (life[r->type].from & 1u << hold->state) == 0 || r->state > 15 ||
		(life[r->type].to & 1u << r->state) == 0) {
		sim_fail(sim, "life",
			"record %" PRIu64 " (type %u): hold %" PRIx64 " goes from %u to %u",
			r->sequence, r->type, r->hold, hold != NULL ? hold->state : 0, r->state);
		return;
	}
	if (r->version != (uint16_t)(hold->version + 1) || r->user != hold->user ||
		r->event != hold->event)
		sim_fail(sim, "life",
			"record %" PRIu64 ": hold %" PRIx64 " of user %" PRIu64
			" at version %u is moved by user %" PRIu64 " to version %u",
			r->sequence, r->hold, hold->user, hold->version, r->user, r->version);
	else if (r->type == USH_RECORD_TYPE_EXTEND &&
		 (hold->extended || r->deadline_ns <= hold->deadline_ns))
		sim_fail(sim, "life", "hold %" PRIx64 " is extended again, or to less", r->hold);
	else if (r->type == USH_RECORD_TYPE_SWAP)
		check_swap(sim, hold, records, count);
	else if (r->type == USH_RECORD_TYPE_CUT ||
		 (r->type == USH_RECORD_TYPE_REFUND_END && r->mask != 0))
		check_left(sim, hold, records, count);
}

const struct check check_life = {.name = "life", .durable = durable};
