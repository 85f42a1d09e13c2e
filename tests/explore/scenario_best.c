/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Best available against a claim on several rows that may give back what it took: NONE is said only
 * where nothing was on its way back.
 */
#include "explore/engine.h"
#include "explore/scenarios.h"

/* One row has a run of four. A claim on both rows takes it, and loses the other row to a third
 * user, or not; a group of four asks. */
static void none_setup(uint32_t threads)
{
	struct ush_request wide = harness_reserve(PLAY_EVENT, 1, 5, 0, 0xf);
	struct ush_request group = {.op = USH_OP_RESERVE_BEST,
		.event = PLAY_EVENT,
		.user = 2,
		.request_id = 5,
		.arg = 4};
	struct ush_request single = harness_reserve(PLAY_EVENT, 3, 5, 1, 0x1);
	struct ush_leg other = {.row = 1, .mask = 0x1};
	struct ush_request half = harness_reserve(PLAY_EVENT, 4, 1, 1, 0x2);

	play_open(threads);
	EXPECT(harness_ask(&play->harness, &half).status == USH_STATUS_OK);
	play_ask(0, &wide, &other);
	play_ask(1, &group, NULL);
	if (threads > 2)
		play_ask(2, &single, NULL);
	play_ready();
}

static void none_oracle(void)
{
	uint32_t wide, group;

	play_judge();
	wide = play_status(0, 0);
	group = play_status(1, 0);
	/* RETRY: users that share a bucket enter it at one moment. */
	EXPECT(wide == USH_STATUS_OK || wide == USH_STATUS_TAKEN || wide == USH_STATUS_TAKEN_NOW ||
		wide == USH_STATUS_RETRY);
	EXPECT(group == USH_STATUS_OK || group == USH_STATUS_NONE ||
		group == USH_STATUS_CONTENDED || group == USH_STATUS_RETRY);
	EXPECT(wide != USH_STATUS_OK || group != USH_STATUS_OK);
	/* The run of four is free in the end, or the group has it: it never was not there. */
	EXPECT(wide == USH_STATUS_OK || group != USH_STATUS_NONE);
}

const struct explore_scenario explore_best_none = {
	.name = "best_none",
	.about = "RESERVE_BEST of four against a claim on two rows that a third may spoil",
	.threads_max = 3,
	.bound = {3, 2},
	.setup = none_setup,
	.thread = play_thread,
	.oracle = none_oracle,
};
