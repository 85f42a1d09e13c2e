/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The word of a hold: confirm, expiry and release meet on it by compare-and-swap alone. The lock of
 * the user's line, which keeps them apart in a turn as well, is left out.
 */
#include "explore/engine.h"
#include "explore/scenarios.h"

static const enum act_kind kind_of[] = {ACT_CONFIRM, ACT_EXPIRE, ACT_RELEASE};
static uint8_t *won;

static void word_setup(uint32_t threads)
{
	play_open(threads);
	play->holds[0] = play_hold(1, 1, 0x3, 0);
	won = explore_alloc(EXPLORE_THREADS_MAX);
	play_ready();
}

static void word_thread(uint32_t thread)
{
	struct ush_loop *loop = ush_engine_loop(play->harness.engine, thread);
	uint32_t index = ush_hold_id_index(play->holds[0]);
	struct ush_users *users = &loop->engine->users;
	uint64_t hash = ush_user_hash(users, 1, PLAY_EVENT);
	struct ush_user *user = ush_user_home(users, hash);
	struct act *act;

	loop->act_count = loop->record_count = 0;
	act = decide_transition(loop, kind_of[thread], index, user, 1);
	if (act == NULL)
		return;
	won[thread] = 1;
	/* Replay wants a request for each release. */
	if (kind_of[thread] == ACT_RELEASE) {
		loop->records[act->record_first].request_id = 2;
		act->answer = ush_user_accept(users, user, thread, 2, 0, USH_OP_RELEASE);
		act->answer->hold = play->holds[0];
	}
	loop_act_done(loop, act);
	loop_flush(loop);
}

static void word_oracle(void)
{
	static const uint32_t after[] = {
		USH_HOLD_STATE_SOLD, USH_HOLD_STATE_EXPIRED, USH_HOLD_STATE_RELEASED};
	uint32_t winners = 0, index = ush_hold_id_index(play->holds[0]);
	uint64_t word = atomic_load(&play->harness.engine->holds.lines[index].word);

	for (uint32_t i = 0; i < play->loops; i++) {
		winners += won[i];
		if (won[i])
			EXPECT(ush_hold_word_state(word) == after[i]);
	}
	EXPECT(winners == 1);
	EXPECT(ush_hold_word_version(word) == 2);
	play_judge();
}

const struct explore_scenario explore_hold_word = {
	.name = "hold_word",
	.about = "confirm, expiry and release of one hold: exactly one wins",
	.threads_max = 3,
	.bound = {99, 99},
	.setup = word_setup,
	.thread = word_thread,
	.oracle = word_oracle,
};

/* ---- SWAP ---- */

/* Hold 0 of user 1 has seats 0 and 1 of row 0, to be swapped for seat 2; against that its expiry
 * by the owner, its release, and somebody who wants what is given up or taken. */
static void ask_swap(uint32_t index)
{
	struct {
		struct ush_extension_header header;
		struct ush_leg leg;
	} give = {{.type = USH_EXTENSION_GIVE, .size = sizeof(give), .value = 1},
		{.row = 0, .mask = 0x3}};
	struct ush_request request = {.op = USH_OP_SWAP,
		.event = PLAY_EVENT,
		.user = 1,
		.request_id = 5,
		.hold = play->holds[0],
		.row = 0,
		.mask = 0x4};

	play_ask_with(index, &request, &give, sizeof(give));
}

static void swap_setup(uint32_t threads)
{
	struct ush_request other = harness_reserve(PLAY_EVENT, 2, 5, 0, 0x6);

	play_open(threads);
	play->holds[0] = play_hold(1, 1, 0x3, 20);
	/* The owner's turn finds it due; the others ask a moment before. */
	play->actors[0].now_ns += 100000000;
	ask_swap(1);
	if (threads > 2)
		play_ask(2, &other, NULL);
	play_ready();
}

static void swap_oracle(void)
{
	uint32_t swapped;

	play_judge();
	swapped = play_status(1, 0);
	EXPECT(swapped == USH_STATUS_OK || swapped == USH_STATUS_NO_HOLD ||
		swapped == USH_STATUS_RETRY || swapped == USH_STATUS_TAKEN ||
		swapped == USH_STATUS_TAKEN_NOW);
}

const struct explore_scenario explore_hold_swap = {
	.name = "hold_swap",
	.about = "SWAP against the expiry of the hold, and a RESERVE of a seat given and one taken",
	.threads_max = 3,
	.bound = {3, 2},
	.setup = swap_setup,
	.thread = play_thread,
	.oracle = swap_oracle,
};

static void swap_release_setup(uint32_t threads)
{
	struct ush_request release = {
		.op = USH_OP_RELEASE, .event = PLAY_EVENT, .user = 1, .request_id = 6};
	struct ush_request other = harness_reserve(PLAY_EVENT, 2, 5, 0, 0x1);

	play_open(threads);
	play->holds[0] = play_hold(1, 1, 0x3, 0);
	release.hold = play->holds[0];
	ask_swap(0);
	play_ask(1, &release, NULL);
	if (threads > 2)
		play_ask(2, &other, NULL);
	play_ready();
}

static void swap_release_oracle(void)
{
	uint32_t swapped, released;

	play_judge();
	swapped = play_status(0, 0);
	released = play_status(1, 0);
	EXPECT(swapped == USH_STATUS_OK || swapped == USH_STATUS_NO_HOLD ||
		swapped == USH_STATUS_RETRY || swapped == USH_STATUS_TAKEN ||
		swapped == USH_STATUS_TAKEN_NOW);
	EXPECT(released == USH_STATUS_OK || released == USH_STATUS_RETRY);
	EXPECT(swapped != USH_STATUS_RETRY || released != USH_STATUS_RETRY);
}

const struct explore_scenario explore_hold_swap_release = {
	.name = "hold_swap_release",
	.about = "SWAP against the RELEASE of the same hold, and a RESERVE of a seat given up",
	.threads_max = 3,
	.bound = {3, 2},
	.setup = swap_release_setup,
	.thread = play_thread,
	.oracle = swap_release_oracle,
};
