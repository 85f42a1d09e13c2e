/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whole turns: loops that decide one burst each at the same time, as ush_loop_turn does it, with
 * the writer beside them where it matters. The judge of play_judge holds for all; what the replies
 * may say is each scenario's own.
 */
#include "explore/engine.h"
#include "explore/scenarios.h"

#define SECOND 1000000000ull

static struct ush_request ask(uint8_t op, uint64_t user, uint64_t hold, uint32_t id)
{
	return (struct ush_request){
		.op = op, .event = PLAY_EVENT, .user = user, .hold = hold, .request_id = id};
}

static struct ush_request reserve(uint64_t user, uint64_t mask)
{
	return harness_reserve(PLAY_EVENT, user, 1, 0, mask);
}

static bool is_lost(uint32_t status)
{
	return status == USH_STATUS_TAKEN || status == USH_STATUS_TAKEN_NOW;
}

/* ---- the same seats ---- */

static void seats_setup(uint32_t threads)
{
	static const uint64_t masks[] = {0x3, 0x6, 0xc};

	play_open(threads);
	for (uint32_t i = 0; i < threads; i++) {
		struct ush_request request = reserve(1 + i, masks[i]);
		play_ask(i, &request, NULL);
	}
	play_ready();
}

static void seats_oracle(void)
{
	uint32_t won = 0;

	play_judge();
	for (uint32_t i = 0; i < play->loops; i++) {
		uint32_t status = play_status(i, 0);
		/* Making two lines at once in a bucket is refused. */
		EXPECT(status == USH_STATUS_OK || is_lost(status) || status == USH_STATUS_RETRY);
		won += status == USH_STATUS_OK;
	}
	EXPECT(won >= 1);
	EXPECT(play_status(0, 0) != USH_STATUS_OK || play_status(1, 0) != USH_STATUS_OK);
}

const struct explore_scenario explore_engine_seats = {
	.name = "engine_seats",
	.about = "RESERVE of overlapping seats on each loop",
	.threads_max = 3,
	.bound = {3, 2},
	.setup = seats_setup,
	.thread = play_thread,
	.oracle = seats_oracle,
};

/* ---- rows that cross ---- */

static void rows_setup(uint32_t threads)
{
	/* Both want seat 0 of row 1; the first leg named is not the first claimed. */
	static const struct ush_leg second[] = {
		{.row = 1, .mask = 0x1}, {.row = 0, .mask = 0x2}, {.row = 1, .mask = 0x2}};

	play_open(threads);
	for (uint32_t i = 0; i < threads; i++) {
		struct ush_request request = reserve(1 + i, i == 2 ? 0x5 : 0x1);
		request.row = i == 1;
		play_ask(i, &request, &second[i]);
	}
	play_ready();
}

const struct explore_scenario explore_engine_rows = {
	.name = "engine_rows",
	.about = "RESERVE over two rows that cross: the loser leaves no seat behind",
	.threads_max = 3,
	.bound = {3, 2},
	.setup = rows_setup,
	.thread = play_thread,
	.oracle = seats_oracle,
};

/* ---- one request, several loops ---- */

static void duplicate_setup(uint32_t threads)
{
	struct ush_request request = reserve(1, 0x3);

	play_open(threads);
	for (uint32_t i = 0; i < threads; i++)
		play_ask(i, &request, NULL);
	play_ready();
}

static void duplicate_oracle(void)
{
	uint64_t hold = 0;
	uint32_t first = 0;

	play_judge();
	for (uint32_t i = 0; i < play->loops; i++) {
		const struct ush_reply *reply = &play->actors[i].replies[0];
		if (reply->status != USH_STATUS_OK) {
			EXPECT(reply->status == 0xff || reply->status == USH_STATUS_RETRY);
			continue;
		}
		EXPECT(hold == 0 || hold == reply->hold);
		EXPECT(reply->state == USH_HOLD_STATE_HELD);
		hold = reply->hold;
		first += reply->detail == 0;
	}
	EXPECT(first == 1);
}

const struct explore_scenario explore_engine_duplicate = {
	.name = "engine_duplicate",
	.about = "the same RESERVE on each loop: one hold, one answer",
	.threads_max = 3,
	.bound = {3, 2},
	.setup = duplicate_setup,
	.thread = play_thread,
	.oracle = duplicate_oracle,
};

/* ---- release ---- */

static void query_setup(uint32_t threads)
{
	struct ush_request release, query, section;

	(void)threads;
	play_open(2);
	play->holds[0] = play_hold(1, 1, 0x3, 0);
	release = ask(USH_OP_RELEASE, 1, play->holds[0], 2);
	query = ask(USH_OP_QUERY_HOLD, 1, play->holds[0], 0);
	section = ask(USH_OP_STATUS, 0, 0, 0);
	play_ask(0, &release, NULL);
	play_ask(1, &query, NULL);
	play_ask(1, &section, NULL);
	play_ready();
}

static void query_oracle(void)
{
	const struct ush_reply *reply = &play->actors[1].replies[0];

	play_judge();
	EXPECT(play_status(0, 0) == USH_STATUS_OK || play_status(0, 0) == USH_STATUS_RETRY);
	EXPECT(reply->status == USH_STATUS_OK || reply->status == USH_STATUS_NO_HOLD ||
		reply->status == USH_STATUS_RETRY);
	if (reply->status == USH_STATUS_OK)
		EXPECT(reply->state == USH_HOLD_STATE_HELD && reply->hold == play->holds[0]);
	if (reply->status == USH_STATUS_NO_HOLD)
		EXPECT(play_status(0, 0) == USH_STATUS_OK);
	EXPECT(play_status(1, 1) == USH_STATUS_OK);
}

const struct explore_scenario explore_engine_query = {
	.name = "engine_query",
	.about = "RELEASE against QUERY_HOLD and STATUS; the third is the writer",
	.threads_max = 3,
	.bound = {3, 2},
	.setup = query_setup,
	.thread = play_thread,
	.oracle = query_oracle,
};

/* A hold of loop 0 is released by loop 1 while loop 0 takes its seats for another user. */
static void release_setup(uint32_t threads)
{
	struct ush_request release, take = reserve(2, 0x1);

	(void)threads;
	play_open(2);
	play->holds[0] = play_hold(1, 1, 0x3, 0);
	release = ask(USH_OP_RELEASE, 1, play->holds[0], 2);
	play_ask(0, &take, NULL);
	play_ask(1, &release, NULL);
	play_ready();
}

static void release_oracle(void)
{
	play_judge();
	EXPECT(play_status(0, 0) == USH_STATUS_OK || is_lost(play_status(0, 0)));
	EXPECT(play_status(1, 0) == USH_STATUS_OK);
}

const struct explore_scenario explore_engine_release = {
	.name = "engine_release",
	.about = "RELEASE on one loop, RESERVE of its seats on another; the third is the writer",
	.threads_max = 3,
	.bound = {3, 2},
	.setup = release_setup,
	.thread = play_thread,
	.oracle = release_oracle,
};

/* ---- confirm against expiry ---- */

/* For loop 0, which owns the hold, its time is over; for loop 1 it is not yet. Loop 2 wants its
 * seats. */
static void expiry_setup(uint32_t threads)
{
	struct ush_request confirm, take = reserve(2, 0x1);

	play_open(threads);
	play->holds[0] = play_hold(1, 1, 0x3, 10);
	confirm = ask(USH_OP_CONFIRM, 1, play->holds[0], 0);
	play->actors[0].now_ns += SECOND / 10;
	play_ask(1, &confirm, NULL);
	if (threads > 2)
		play_ask(2, &take, NULL);
	play_ready();
}

static void expiry_oracle(void)
{
	uint32_t state, status;

	play_judge();
	state = ush_engine_hold_state(play->harness.engine, play->holds[0]);
	status = play_status(1, 0);
	if (status == USH_STATUS_OK)
		EXPECT(state == USH_HOLD_STATE_SOLD);
	else
		EXPECT(state == USH_HOLD_STATE_FREE);
	EXPECT(status == USH_STATUS_OK || status == USH_STATUS_NO_HOLD ||
		status == USH_STATUS_RETRY);
	if (play->loops > 2)
		EXPECT(play_status(2, 0) == USH_STATUS_OK || is_lost(play_status(2, 0)));
	if (play->loops > 2 && play_status(2, 0) == USH_STATUS_OK)
		EXPECT(status != USH_STATUS_OK);
}

const struct explore_scenario explore_engine_expiry = {
	.name = "engine_expiry",
	.about = "CONFIRM against expiry on the owning loop; a third loop wants the seats",
	.threads_max = 3,
	.bound = {3, 2},
	.setup = expiry_setup,
	.thread = play_thread,
	.oracle = expiry_oracle,
};

/* ---- confirm, and who looks at it ---- */

static void confirm_setup(uint32_t threads)
{
	struct ush_request confirm, query, release;

	(void)threads;
	play_open(2);
	play->holds[0] = play_hold(1, 1, 0x3, 0);
	confirm = ask(USH_OP_CONFIRM, 1, play->holds[0], 0);
	query = ask(USH_OP_QUERY_HOLD, 1, play->holds[0], 0);
	release = ask(USH_OP_RELEASE, 1, play->holds[0], 2);
	play_ask(0, &confirm, NULL);
	play_ask(1, &query, NULL);
	play_ask(1, &release, NULL);
	play_ready();
}

static void confirm_oracle(void)
{
	const struct ush_reply *looked = &play->actors[1].replies[0];
	uint32_t confirmed, released, state;

	play_judge();
	confirmed = play_status(0, 0);
	released = play_status(1, 1);
	state = ush_engine_hold_state(play->harness.engine, play->holds[0]);
	EXPECT(looked->status == USH_STATUS_OK || looked->status == USH_STATUS_RETRY);
	EXPECT(confirmed == USH_STATUS_OK || confirmed == USH_STATUS_NO_HOLD ||
		confirmed == USH_STATUS_RETRY);
	EXPECT(released == USH_STATUS_OK || released == USH_STATUS_WRONG_STATE ||
		released == USH_STATUS_RETRY);
	EXPECT((confirmed == USH_STATUS_OK) == (state == USH_HOLD_STATE_SOLD));
	EXPECT(confirmed != USH_STATUS_OK || released != USH_STATUS_OK);
	if (looked->status == USH_STATUS_OK && looked->state == USH_HOLD_STATE_SOLD)
		EXPECT(confirmed == USH_STATUS_OK);
}

const struct explore_scenario explore_engine_confirm = {
	.name = "engine_confirm",
	.about = "CONFIRM against QUERY_HOLD and RELEASE; the third is the writer",
	.threads_max = 3,
	.bound = {3, 2},
	.setup = confirm_setup,
	.thread = play_thread,
	.oracle = confirm_oracle,
};

/* ---- a line used again ---- */

/* Loop 0 releases a hold and gives its line to another user, who is asking for the old id on
 * loop 1. */
static void reuse_setup(uint32_t threads)
{
	struct ush_request release, take = reserve(2, 0x4), query;

	(void)threads;
	play_open(2);
	play->holds[0] = play_hold(1, 1, 0x3, 0);
	play->holds[1] = play_hold(2, 9, 0x8, 0);
	take.request_id = 10;
	release = ask(USH_OP_RELEASE, 1, play->holds[0], 2);
	query = ask(USH_OP_QUERY_HOLD, 2, play->holds[0], 0);
	play_ask(0, &release, NULL);
	play_ask(0, &take, NULL);
	play_ask(1, &query, NULL);
	play_ready();
}

static void reuse_oracle(void)
{
	play_judge();
	EXPECT(play_status(0, 0) == USH_STATUS_OK);
	EXPECT(play_status(0, 1) == USH_STATUS_OK || play_status(0, 1) == USH_STATUS_RETRY);
	EXPECT(play_status(1, 0) == USH_STATUS_NO_HOLD || play_status(1, 0) == USH_STATUS_RETRY);
}

const struct explore_scenario explore_engine_reuse = {
	.name = "engine_reuse",
	.about =
		"a hold's line is used again while its old id is asked for; the third is the writer",
	.threads_max = 3,
	.bound = {3, 2},
	.setup = reuse_setup,
	.thread = play_thread,
	.oracle = reuse_oracle,
};
