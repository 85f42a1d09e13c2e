/* SPDX-License-Identifier: Apache-2.0 */
/*
 * No seat sold twice: in the order of the journal a seat is taken only when it is free, and put
 * back only by the hold that has it.
 */
#include "check.h"

/* Seats come back from the hold that has them. */
static void give(struct sim *sim, const struct ush_record *r)
{
	const uint32_t *owner = sim->ledger.event[r->event].owner[r->row];

	for (uint64_t mask = r->mask; mask != 0; mask &= mask - 1) {
		uint32_t by = owner[__builtin_ctzll(mask)];

		if (by == 0 || by >= LEDGER_ASIDE || sim->ledger.holds[by - 1].id != r->hold)
			sim_fail(sim, "seats",
				"record %" PRIu64 " (type %u): hold %" PRIx64
				" gives back row %u seat %d, which it does not have",
				r->sequence, r->type, r->hold, r->row, __builtin_ctzll(mask));
	}
}

static void take(struct sim *sim, const struct ush_record *r, uint32_t owner_before)
{
	uint64_t channels = ledger_channel(&sim->ledger, r->event, r->row, 0);
	const uint32_t *owner = sim->ledger.event[r->event].owner[r->row];
	uint64_t all = sim->config.seats == 64 ? ~0ull : (1ull << sim->config.seats) - 1;

	/* Not before the row's own record. */
	if (r->row >= sim->ledger.event[r->event].rows)
		all = 0;
	if (r->mask == 0 || (r->mask & ~all) != 0)
		sim_fail(sim, "seats", "record %" PRIu64 ": seats %" PRIx64 " of %" PRIx64,
			r->sequence, r->mask, all);
	for (uint64_t mask = r->mask; mask != 0; mask &= mask - 1) {
		uint32_t seat = (uint32_t)__builtin_ctzll(mask);

		/* A channel's customers take its seats where they are, off public sale. */
		if ((r->type == USH_RECORD_TYPE_HOLD || r->type == USH_RECORD_TYPE_SWAP ||
			    r->type == USH_RECORD_TYPE_LATE) &&
			owner[seat] == LEDGER_HOUSE && (channels & 1ull << seat) != 0)
			continue;
		if (owner[seat] != owner_before)
			sim_fail(sim, "seats",
				"record %" PRIu64 " (type %u) of hold %" PRIx64 ": event %u row %u "
				"seat %u belongs to %" PRIx64,
				r->sequence, r->type, r->hold, r->event, r->row, seat,
				owner[seat] == 0 || owner[seat] >= LEDGER_ASIDE
					? 0
					: sim->ledger.holds[owner[seat] - 1].id);
	}
}

/* An offer is of seats set aside, or of free ones; not of both in one row. */
static bool is_aside(const struct sim *sim, const struct ush_record *r)
{
	return r->mask != 0 &&
	       sim->ledger.event[r->event].owner[r->row][__builtin_ctzll(r->mask)] == LEDGER_ASIDE;
}

static void durable(struct sim *sim, const struct ush_record *records, uint32_t count)
{
	count -= ledger_keeps(records, count);
	for (uint32_t i = 0; i < count && !sim->failed; i++) {
		const struct ush_record *r = &records[i];

		if (r->event >= LEDGER_EVENTS || r->row >= SIM_ROWS_MAX)
			return;
		/* A swap takes what is free before it gives anything up. */
		if (r->type == USH_RECORD_TYPE_HOLD || r->type == USH_RECORD_TYPE_BLOCK ||
			r->type == USH_RECORD_TYPE_LATE ||
			(r->type == USH_RECORD_TYPE_SWAP && r->state == USH_HOLD_STATE_HELD))
			take(sim, r, 0);
		else if (r->type == USH_RECORD_TYPE_UNBLOCK)
			take(sim, r, LEDGER_HOUSE);
		else if (r->type == USH_RECORD_TYPE_WAIT_OPEN)
			take(sim, r, LEDGER_ASIDE);
		else if (r->type == USH_RECORD_TYPE_OFFER)
			take(sim, r, is_aside(sim, r) ? LEDGER_ASIDE : 0);
		else if (r->type == USH_RECORD_TYPE_CUT || r->type == USH_RECORD_TYPE_SWAP ||
			 (r->type == USH_RECORD_TYPE_REFUND_END && r->mask != 0))
			give(sim, r);
	}
}

const struct check check_seats = {.name = "seats", .durable = durable};
