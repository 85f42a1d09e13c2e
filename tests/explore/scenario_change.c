/* SPDX-License-Identifier: Apache-2.0 */
/*
 * EVENT_CHANGE against loops that sell: a row is added and the price changes while seats are taken,
 * chosen and given back.
 */
#include "explore/engine.h"
#include "explore/scenarios.h"

#define DEARER 2600u

static struct ush_request best_of(uint64_t user, uint32_t seats)
{
	return (struct ush_request){.op = USH_OP_RESERVE_BEST,
		.event = PLAY_EVENT,
		.user = user,
		.request_id = 5,
		.arg = seats};
}

static struct ush_event *event(void)
{
	return ush_inventory_event(&play->harness.engine->inventory, PLAY_EVENT);
}

/* ret: what seats cost in a reply that is OK: each at the old price, or each at the new one. */
static bool is_price(uint64_t amount, uint32_t seats)
{
	return amount == seats * 2500u || amount == (uint64_t)seats * DEARER;
}

/* ---- a row is added ---- */

static void rows_setup(uint32_t threads)
{
	struct ush_request take = harness_reserve(PLAY_EVENT, 2, 5, PLAY_ROWS, 0x3);
	struct ush_request give = {
		.op = USH_OP_RELEASE, .event = PLAY_EVENT, .user = 1, .request_id = 5};

	play_open(threads);
	play->holds[0] = play_hold(1, 1, 0xf, 60000);
	give.hold = play->holds[0];
	play_ask_change(0, PLAY_ROWS + 1, DEARER);
	play_ask(1, &take, NULL);
	if (threads > 2)
		play_ask(2, &give, NULL);
	play_ready();
	explore_name(&event()->row_count, "rows");
	explore_name(&event()->prices, "prices");
}

static void rows_oracle(void)
{
	uint32_t status;

	play_judge();
	EXPECT(play_status(0, 0) == USH_STATUS_OK);
	status = play_status(1, 0);
	EXPECT(status == USH_STATUS_OK || status == USH_STATUS_NO_SUCH_SEAT);
	EXPECT(status != USH_STATUS_OK || is_price(play->actors[1].replies[0].amount, 2));
	EXPECT(ush_event_row_count(event()) == PLAY_ROWS + 1);
	EXPECT(ush_event_free_count(event()) ==
		12u - (status == USH_STATUS_OK ? 2 : 0) - (play->loops > 2 ? 0 : 4));
}

const struct explore_scenario explore_change_rows = {
	.name = "change_rows",
	.about =
		"EVENT_CHANGE adds a row and a price; another loop takes seats of that row; a third gives some back",
	.threads_max = 3,
	.bound = {3, 2},
	.setup = rows_setup,
	.thread = play_thread,
	.oracle = rows_oracle,
};

/* ---- the index is replaced ---- */

/* Everything is taken but one row's seats, which are given back while the index is replaced and a
 * search is made. */
static void index_setup(uint32_t threads)
{
	struct ush_request find = best_of(2, 4), look = best_of(3, 3);
	struct ush_request give = {
		.op = USH_OP_RELEASE, .event = PLAY_EVENT, .user = 1, .request_id = 6};

	play_open(threads);
	play->holds[0] = play_hold(1, 1, 0xf, 60000);
	/* From here changes are noted, and the index knows that little is left. */
	look.arg = 4;
	EXPECT(harness_ask(&play->harness, &look).status == USH_STATUS_OK);
	look.request_id = 6;
	look.arg = 1;
	EXPECT(harness_ask(&play->harness, &look).status == USH_STATUS_NONE);
	give.hold = play->holds[0];
	play_ask_change(0, PLAY_ROWS + 1, 2500);
	play_ask(1, threads > 2 ? &find : &give, NULL);
	if (threads > 2)
		play_ask(2, &give, NULL);
	play_ready();
	explore_name(&event()->best, "index");
}

static void index_oracle(void)
{
	uint32_t status;

	/* The audit asks whether the index denies what is free. */
	play_judge();
	status = play->loops > 2 ? play_status(1, 0) : USH_STATUS_NONE;
	EXPECT(play_status(0, 0) == USH_STATUS_OK);
	EXPECT(status == USH_STATUS_OK || status == USH_STATUS_NONE ||
		status == USH_STATUS_CONTENDED);
	EXPECT(status != USH_STATUS_OK || play->actors[1].replies[0].amount == 10000);
}

const struct explore_scenario explore_change_index = {
	.name = "change_index",
	.about = "EVENT_CHANGE replaces the index while seats come back; a third loop searches",
	.threads_max = 3,
	.bound = {3, 1},
	.setup = index_setup,
	.thread = play_thread,
	.oracle = index_oracle,
};
