/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Seats that the box chose: as many as were asked for, of the section and the tier asked for,
 * together where that was asked for, in an area only for those who asked for one, and the reply
 * names those that the hold has. Which of the seats that fit are best is for tests/property.
 */
#include "check.h"

#define ONLY_SECTION 1u
#define ONLY_TIER 2u
#define TOGETHER 4u

static bool fits(const struct sim *sim, const struct sim_ask *ask, uint32_t row, uint64_t mask)
{
	const struct ush_request *r = &ask->request;
	uint32_t flags = (uint32_t)(r->arg >> 24) & 0xff, tier = (uint32_t)(r->arg >> 16) & 0xff;
	const struct ush_venue_section *section = &sim->section[r->section % SIM_ROWS_MAX];
	bool area = r->op == USH_OP_RESERVE_AREA;

	if (sim_is_area(sim, row) != area)
		return false;
	if ((area || (flags & ONLY_SECTION) != 0) &&
		(r->section >= sim->sections || row < section->row_first ||
			(r->section + 1u < sim->sections &&
				row >= section->row_first + section->row_count)))
		return false;
	if (area || (flags & ONLY_TIER) == 0)
		return true;
	return (mask & (tier == 1 ? ~sim->second_tier[row] : sim->second_tier[row])) == 0;
}

/* The seats named are those of the hold, if it is still at the version that is told. */
static bool names_them(
	const struct sim *sim, const struct ledger_hold *hold, const struct ush_reply *reply)
{
	if (sim->reply_leg_count == 0 || hold->version != reply->hold_version)
		return true;
	/* In the order of its lines. */
	for (uint32_t i = 0; i < sim->reply_leg_count; i++) {
		if (i >= hold->legs || hold->row[i] != sim->reply_legs[i].row ||
			hold->mask[i] != sim->reply_legs[i].mask)
			return false;
	}
	return sim->reply_leg_count == hold->legs;
}

static void replied(struct sim *sim, const struct sim_ask *ask, const struct ush_reply *reply)
{
	const struct ush_request *r = &ask->request;
	const struct ledger_hold *hold;
	uint32_t seats = 0;
	bool good = true;

	if ((r->op != USH_OP_RESERVE_BEST && r->op != USH_OP_RESERVE_AREA) ||
		reply->status != USH_STATUS_OK)
		return;
	hold = ledger_hold(&sim->ledger, reply->hold);
	/* Whether there is such a hold is for check_repeat. */
	if (hold == NULL)
		return;
	for (uint32_t i = 0; i < hold->legs_first; i++) {
		seats += ush_popcount64(hold->mask_first[i]);
		good &= fits(sim, ask, hold->row_first[i], hold->mask_first[i]);
	}
	if (r->op == USH_OP_RESERVE_BEST && (r->arg >> 24 & TOGETHER) != 0) {
		uint64_t run = hold->mask_first[0] >> __builtin_ctzll(hold->mask_first[0]);
		good &= hold->legs_first == 1 && (run & (run + 1)) == 0;
	}
	sim->totals->chosen += reply->detail == 0;
	if (good && seats == (r->arg & 0xffff) && names_them(sim, hold, reply) &&
		(reply->detail != 0 || sim->reply_leg_count != 0))
		return;
	sim_fail(sim, "best",
		"ask %" PRIu64 " (op %u, arg %" PRIx64 ", section %u) got %u seats in %u rows, "
		"first row %u %" PRIx64 "; the reply names %u rows",
		reply->cookie - 1, r->op, r->arg, r->section, seats, hold->legs, hold->row[0],
		hold->mask_first[0], sim->reply_leg_count);
}

const struct check check_best = {.name = "best", .replied = replied};
