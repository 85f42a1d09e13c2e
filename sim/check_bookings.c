/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lists of bookings: what a page says of a hold was so, durably; and who goes through all pages
 * meets each booking once that was there from the first page on and still is after the last.
 */
#include "check.h"

#define REFUND (1ull << 32)

/* ret: what is wrong with an entry, or NULL. */
static const char *judge(const struct sim *sim, const struct sim_ask *ask,
	const struct ush_booking *entry, const struct ledger_hold *hold)
{
	uint32_t refund = 1u << USH_HOLD_STATE_SOLD | 1u << USH_HOLD_STATE_REFUNDING |
			  1u << USH_HOLD_STATE_PAYING;
	uint32_t leg;

	if (hold == NULL || hold->event != ask->request.event)
		return "is no hold of the event";
	if (entry->state > 15 || (hold->was & 1u << entry->state) == 0 ||
		entry->version > hold->version)
		return "is said to be in a state, or version, in which it never was";
	if ((ask->request.arg & REFUND) != 0 && (refund & 1u << entry->state) == 0)
		return "is nothing to be refunded";
	if (entry->version != hold->version || !ledger_is_live(hold))
		return NULL;
	leg = ledger_leg(hold, entry->row);
	if (leg == UINT32_MAX || entry->user != hold->user || entry->state != hold->state ||
		entry->mask != hold->mask[leg] || entry->amount != hold->leg_amount[leg] ||
		(entry->deadline_ns != hold->deadline_ns && sim->boot == ask->asked_boot))
		return "is not what the page says";
	return NULL;
}

/* Each hold stands in a page whole, its legs in their order. */
static void check_page(struct sim *sim, const struct sim_ask *ask, const struct ush_reply *reply)
{
	uint32_t holds = 0, leg = 0;

	for (uint32_t i = 0; i < sim->reply_booking_count && !sim->failed; i++) {
		const struct ush_booking *entry = &sim->reply_bookings[i];
		const char *wrong = judge(sim, ask, entry, ledger_hold(&sim->ledger, entry->hold));

		if (wrong == NULL && (entry->leg != leg || entry->legs <= leg ||
					     (leg != 0 && entry[-1].hold != entry->hold)))
			wrong = "stands in the page in pieces";
		if (wrong != NULL)
			sim_fail(sim, "bookings",
				"ask %" PRIu64 ": hold %" PRIx64 " (state %u, version %u) %s",
				reply->cookie - 1, entry->hold, entry->state, entry->version,
				wrong);
		leg++;
		if (leg == entry->legs) {
			leg = 0;
			holds++;
		}
	}
	if (!sim->failed && (leg != 0 || holds != reply->amount))
		sim_fail(sim, "bookings",
			"ask %" PRIu64 " is told of %" PRIu64 " holds, and %u are there",
			reply->cookie - 1, reply->amount, holds);
}

/* Holds of the page were met; none of them before. */
static void meet(struct sim *sim, const struct ush_reply *reply)
{
	for (uint32_t i = 0; i < sim->reply_booking_count && !sim->failed; i++) {
		const struct ledger_hold *hold =
			ledger_hold(&sim->ledger, sim->reply_bookings[i].hold);
		bool *met = &sim->listing.met[hold - sim->ledger.holds];

		if (sim->reply_bookings[i].leg != 0)
			continue;
		if (*met)
			sim_fail(sim, "bookings",
				"ask %" PRIu64 ": hold %" PRIx64 " was met in a page before",
				reply->cookie - 1, hold->id);
		*met = true;
	}
}

/* ret: true if the hold was a booking all the time of the listing; of what is held that is known
 * within one life of the box only. */
static bool is_owed(const struct sim *sim, const struct ledger_hold *hold)
{
	const struct sim_listing *listing = &sim->listing;

	if (hold->event != listing->event || !ledger_is_live(hold) ||
		hold->begun_at >= listing->asked_at)
		return false;
	if (hold->sold_at != 0 && hold->sold_at < listing->asked_at)
		return true;
	return !listing->refund && listing->boot == sim->boot;
}

static void end_listing(struct sim *sim)
{
	sim->totals->listings++;
	sim->listing.active = false;
	for (uint32_t i = 0; i < sim->ledger.hold_count && !sim->failed; i++) {
		const struct ledger_hold *hold = &sim->ledger.holds[i];

		if (is_owed(sim, hold) && !sim->listing.met[i])
			sim_fail(sim, "bookings",
				"hold %" PRIx64 " (state %u) of event %u is on no page", hold->id,
				hold->state, hold->event);
	}
}

static void replied(struct sim *sim, const struct sim_ask *ask, const struct ush_reply *reply)
{
	struct sim_listing *listing = &sim->listing;
	bool refund = (ask->request.arg & REFUND) != 0;
	uint64_t cursor = ask->request.arg & ~REFUND;

	if (reply->op != USH_OP_BOOKINGS || reply->status != USH_STATUS_OK)
		return;
	sim->totals->pages++;
	check_page(sim, ask, reply);
	if (sim->failed || ask->out_boot != 0 || ask->lie)
		return;
	if (cursor == 0) {
		*listing = (struct sim_listing){.active = true,
			.refund = refund,
			.event = ask->request.event,
			.asked_at = ask->asked_at,
			.boot = ask->asked_boot};
	} else if (!listing->active || listing->event != ask->request.event ||
		   listing->refund != refund || listing->next != cursor ||
		   reply->cookie <= listing->ask) {
		return;
	}
	listing->next = reply->detail;
	listing->ask = sim->ask_count;
	meet(sim, reply);
	if (reply->detail == 0 && !sim->failed)
		end_listing(sim);
}

const struct check check_bookings = {.name = "bookings", .replied = replied};
