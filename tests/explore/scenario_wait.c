/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Wait-lists: seats that come back while somebody waits, joins or leaves, and the public that wants
 * them. The last of two loops, the second of three, is the event's matcher.
 */
#include "explore/engine.h"
#include "explore/scenarios.h"
#include "wait/wait.h"

#define WAITER 3u

static struct ush_reply settle(struct ush_request request)
{
	return harness_ask(&play->harness, &request);
}

static struct ush_request wait_list(uint64_t arg)
{
	return (struct ush_request){.op = USH_OP_WAIT_LIST,
		.event = PLAY_EVENT,
		.user = WAITER,
		.request_id = arg >> 32 == 0 ? 5 : 6,
		.arg = arg};
}

/* User 1 holds seat 0 of row 0, and all others are house seats. */
static void open_full(uint32_t threads)
{
	struct ush_request block = {.op = USH_OP_BLOCK, .event = PLAY_EVENT};

	play_open(threads);
	play->holds[0] = play_hold(1, 1, 0x1, 60000);
	for (uint16_t row = 0; row < PLAY_ROWS; row++) {
		block.row = row;
		block.mask = ((1ull << PLAY_SEATS) - 1) & ~(row == 0 ? 1ull : 0);
		EXPECT(settle(block).status == USH_STATUS_OK);
	}
}

static void ask_release(uint32_t index)
{
	struct ush_request release = {.op = USH_OP_RELEASE,
		.event = PLAY_EVENT,
		.user = 1,
		.hold = play->holds[0],
		.request_id = 5};

	play_ask(index, &release, NULL);
}

static void ask_public(uint32_t index)
{
	struct ush_request request = harness_reserve(PLAY_EVENT, 2, 5, 0, 0x1);

	play_ask(index, &request, NULL);
}

static void name_list(void)
{
	struct ush_wait_list *list = ush_wait_list(&play->harness.engine->waits, PLAY_EVENT);

	explore_name(&list->lock, "list lock");
	explore_name(&list->count, "list count");
}

/* ret: state of the waiter's entry; 0: none. */
static uint32_t waiter(void)
{
	const struct ush_wait *wait =
		ush_wait_find(&play->harness.engine->waits, WAITER, PLAY_EVENT);

	return wait == NULL ? 0 : wait->state;
}

static bool is_free(void)
{
	const struct ush_event *event =
		ush_inventory_event(&play->harness.engine->inventory, PLAY_EVENT);

	return (atomic_load(&event->rows[0].free) & 0x1) != 0;
}

/* ---- somebody waits ---- */

static void release_setup(uint32_t threads)
{
	struct ush_request leave = wait_list((uint64_t)USH_WAIT_ACTION_LEAVE << 32);

	open_full(threads);
	EXPECT(settle(wait_list(1)).status == USH_STATUS_OK);
	ask_release(0);
	ask_public(1);
	if (threads > 2)
		play_ask(2, &leave, NULL);
	play_ready();
	name_list();
}

/* Seat 0 is never free while the user waits. */
static void release_invariant(void)
{
	EXPECT(!is_free() || waiter() != USH_WAIT_LISTED);
}

static void release_oracle(void)
{
	bool left;

	play_judge();
	EXPECT(play_status(0, 0) == USH_STATUS_OK);
	left = play->loops > 2 && play_status(2, 0) == USH_STATUS_OK;
	EXPECT(left || play_status(1, 0) != USH_STATUS_OK);
	EXPECT(left || waiter() == USH_WAIT_OFFERED);
	EXPECT(!left || waiter() == 0);
}

const struct explore_scenario explore_wait_release = {
	.name = "wait_release",
	.about =
		"RELEASE while a user waits; the public wants the seat; a third loop has him leave",
	.threads_max = 3,
	.bound = {3, 2},
	.setup = release_setup,
	.thread = play_thread,
	.invariant = release_invariant,
	.oracle = release_oracle,
};

/* ---- somebody joins ---- */

static void join_setup(uint32_t threads)
{
	struct ush_request join = wait_list(1);

	open_full(threads);
	ask_release(0);
	play_ask(1, &join, NULL);
	if (threads > 2)
		ask_public(2);
	play_ready();
	name_list();
}

static void join_oracle(void)
{
	bool won, joined;

	play_judge();
	EXPECT(play_status(0, 0) == USH_STATUS_OK);
	won = play->loops > 2 && play_status(2, 0) == USH_STATUS_OK;
	joined = play_status(1, 0) == USH_STATUS_OK;
	EXPECT(joined || play_status(1, 0) == USH_STATUS_NOT_SOLD_OUT ||
		play_status(1, 0) == USH_STATUS_RETRY);
	/* Who has joined gets the seat, unless it was free when another took it. */
	EXPECT(!joined || waiter() == (won ? USH_WAIT_LISTED : USH_WAIT_OFFERED));
	EXPECT(joined || waiter() == 0);
}

const struct explore_scenario explore_wait_join = {
	.name = "wait_join",
	.about = "RELEASE while a user joins the list; the public wants the seat",
	.threads_max = 3,
	.bound = {3, 2},
	.setup = join_setup,
	.thread = play_thread,
	.oracle = join_oracle,
};

/* ---- house seats ---- */

static void unblock_setup(uint32_t threads)
{
	struct ush_request unblock = {
		.op = USH_OP_UNBLOCK, .event = PLAY_EVENT, .row = 0, .mask = 0x3};

	open_full(threads);
	EXPECT(settle(wait_list(1)).status == USH_STATUS_OK);
	ask_release(0);
	play_ask(1, &unblock, NULL);
	if (threads > 2)
		ask_public(2);
	play_ready();
	name_list();
}

static void unblock_oracle(void)
{
	play_judge();
	EXPECT(play_status(0, 0) == USH_STATUS_OK);
	EXPECT(play_status(1, 0) == USH_STATUS_OK);
	EXPECT(waiter() == USH_WAIT_OFFERED);
}

const struct explore_scenario explore_wait_unblock = {
	.name = "wait_unblock",
	.about = "UNBLOCK of a house seat and of one that is set aside at that moment",
	.threads_max = 3,
	.bound = {3, 2},
	.setup = unblock_setup,
	.thread = play_thread,
	.oracle = unblock_oracle,
};
