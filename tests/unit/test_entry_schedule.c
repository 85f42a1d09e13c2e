/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the schedule of a lobby rests on: a clock that is set, the beacon, and what comes next.
 */
#include <string.h>

#include "entry/schedule.h"
#include "entry/steady.h"
#include "room/merkle.h"
#include "tests/tap.h"

#define SECOND INT64_C(1000000)
#define NOON (INT64_C(1795867200) * SECOND)

static const struct ush_beacon quick = {.source = "drand quicknet",
	.url = "https://beacon.example/v2/{round}/x",
	.genesis_s = 1000,
	.period_s = 3};

/* Goal: a clock that is set forward and back, one that slews, one that is late to be asked. */
static void test_steady_waits_after_a_step(void)
{
	struct ush_steady steady = {0};
	int64_t step, mono = 5 * SECOND;

	CHECK(ush_steady_look(&steady, NOON, mono, &step));
	CHECK_EQ(step, 0);
	/* Both clocks go on, if nobody looked for an hour. */
	CHECK(ush_steady_look(&steady, NOON + 3600 * SECOND, mono + 3600 * SECOND, &step));
	CHECK_EQ(step, 0);
	mono += 3600 * SECOND;
	/* An hour forward, and back ten seconds later: never believed in between. */
	CHECK(!ush_steady_look(&steady, NOON + 7201 * SECOND, mono + SECOND, &step));
	CHECK_EQ(step, 3600 * SECOND);
	for (int i = 2; i < 11; i++) {
		CHECK(!ush_steady_look(
			&steady, NOON + (7200 + i) * SECOND, mono + i * SECOND, &step));
		CHECK_EQ(step, 0);
	}
	CHECK(!ush_steady_look(&steady, NOON + 3611 * SECOND, mono + 11 * SECOND, &step));
	CHECK_EQ(step, -3600 * SECOND);
	CHECK(!ush_steady_look(&steady, NOON + 3630 * SECOND, mono + 30 * SECOND, &step));
	CHECK(ush_steady_look(&steady, NOON + 3631 * SECOND, mono + 31 * SECOND, &step));
	/* A second at a time is slewing. */
	CHECK(ush_steady_look(&steady, NOON + 3633 * SECOND, mono + 32 * SECOND, &step));
	CHECK_EQ(step, 0);
}

/* Goal: rounds and their times, to the edges; nothing overflows. */
static void test_beacon_rounds(void)
{
	char url[64];

	CHECK(ush_beacon_is(&quick, "drand quicknet", 14, 1));
	CHECK(!ush_beacon_is(&quick, "drand quicknet", 14, 0));
	CHECK(!ush_beacon_is(&quick, "drand quickne", 13, 1));
	CHECK(!ush_beacon_is(&quick, "drand quicknet2", 15, 1));
	CHECK(!ush_beacon_is(&(struct ush_beacon){0}, "", 0, 1));
	CHECK_EQ(ush_beacon_round_us(&quick, 1), 1000 * SECOND);
	CHECK_EQ(ush_beacon_round_us(&quick, 11), 1030 * SECOND);
	CHECK(ush_beacon_round_us(&quick, INT64_MAX) == INT64_MAX);
	CHECK(ush_beacon_round_us(&quick, UINT64_MAX) == INT64_MAX);
	CHECK(ush_beacon_round_us(&quick, 0) == INT64_MAX);
	CHECK_EQ(ush_beacon_newest(&quick, 999 * SECOND), 0);
	CHECK_EQ(ush_beacon_newest(&quick, 1000 * SECOND), 1);
	CHECK_EQ(ush_beacon_newest(&quick, 1003 * SECOND - 1), 1);
	CHECK_EQ(ush_beacon_newest(&quick, 1003 * SECOND), 2);
	for (int64_t at = 1000 * SECOND; at < 1100 * SECOND; at += SECOND / 3) {
		uint64_t newest = (uint64_t)ush_beacon_newest(&quick, at);

		CHECK(ush_beacon_round_us(&quick, newest) <= at);
		CHECK(ush_beacon_round_us(&quick, newest + 1) > at);
	}
	CHECK(ush_beacon_url(&quick, 4711, url, sizeof(url)));
	CHECK(strcmp(url, "https://beacon.example/v2/4711/x") == 0);
	CHECK(!ush_beacon_url(&quick, 4711, url, 32));
	CHECK(!ush_beacon_url(&(struct ush_beacon){.url = "https://x/round"}, 1, url, sizeof(url)));
}

static const char *read_text(const char *text, uint64_t round, uint8_t value[USH_BEACON_BYTES])
{
	return ush_beacon_read(text, strlen(text), round, value);
}

/* Goal: the value is taken of an answer for that round whose randomness is of its signature. */
static void test_beacon_answers(void)
{
	/* SHA-256 of the bytes 00 01 02. */
	static const char good[] =
		"{\"round\":7,\"randomness\":\"ae4b3280e56e2faf83f414a6e3dabe9d5fbe18976544c05fed121accb85b53fc\",\"signature\":\"000102\"}";
	uint8_t value[USH_BEACON_BYTES], hash[USH_HASH_BYTES];

	ush_sha256("\0\1\2", 3, hash);
	CHECK(read_text(good, 7, value) == NULL);
	CHECK(memcmp(value, hash, sizeof(hash)) == 0);
	CHECK(read_text(good, 8, value) != NULL);
	CHECK(read_text("{\"round\":7}", 7, value) != NULL);
	CHECK(read_text("[7]", 7, value) != NULL);
	CHECK(read_text("", 7, value) != NULL);
	CHECK(read_text("{\"round\":7,\"randomness\":\"ae4b\",\"signature\":\"000102\"}", 7,
		      value) != NULL);
	CHECK(read_text(
		      "{\"round\":7,\"randomness\":\"ae4b3280e56e2faf83f414a6e3dabe9d5fbe18976544c05fed121accb85b53fc\"}",
		      7, value) != NULL);
	CHECK(read_text(
		      "{\"round\":7,\"randomness\":\"ae4b3280e56e2faf83f414a6e3dabe9d5fbe18976544c05fed121accb85b53fc\",\"signature\":\"000103\"}",
		      7, value) != NULL);
}

static void check_next(uint32_t phase, const struct entry_plan *plan, const char *action,
	const char *by, int64_t at_us, const char *why)
{
	struct entry_next next = entry_next_of(phase, plan, &quick);

	CHECK((next.action == NULL) == (action == NULL));
	if (action == NULL)
		return;
	CHECK(strcmp(next.action, action) == 0);
	CHECK(strcmp(next.by, by) == 0);
	CHECK_EQ(next.at_us, at_us);
	CHECK((next.why == NULL) == (why == NULL));
	if (why != NULL)
		CHECK(strcmp(next.why, why) == 0);
}

/* Goal: who does what next, for each phase and row. */
static void test_next_in_each_phase(void)
{
	struct entry_plan plan = {.stage = ENTRY_STAGE_PLANNED,
		.opens_us = 5 * SECOND,
		.closes_us = 1000 * SECOND,
		.open = {.round = 11, .source_bytes = 14, .source = "drand quicknet"}};

	check_next(USH_ROOM_PHASE_NONE, NULL, "open", "operator", 0, "not_planned");
	check_next(USH_ROOM_PHASE_NONE, &plan, "open", "schedule", 5 * SECOND, NULL);
	plan.stage = ENTRY_STAGE_OVER;
	memcpy(plan.note, "missed", 7);
	check_next(USH_ROOM_PHASE_NONE, &plan, "open", "operator", 0, "missed");
	plan.stage = ENTRY_STAGE_LOBBY;
	plan.note[0] = '\0';
	check_next(USH_ROOM_PHASE_LOBBY, &plan, "close", "schedule", 1000 * SECOND, NULL);
	check_next(USH_ROOM_PHASE_LOBBY, NULL, "close", "operator", 0, "not_planned");
	check_next(USH_ROOM_PHASE_DRAW, &plan, "draw", "operator", 0, "closing_unknown");
	plan.closed_us = 1029 * SECOND;
	check_next(USH_ROOM_PHASE_DRAW, &plan, "draw", "schedule", 1030 * SECOND, NULL);
	plan.closed_us = 1030 * SECOND;
	check_next(USH_ROOM_PHASE_DRAW, &plan, "draw", "operator", 0, "late");
	plan.closed_us = 1029 * SECOND;
	plan.open.round = 0;
	check_next(USH_ROOM_PHASE_DRAW, &plan, "draw", "operator", 0, "beacon_unknown");
	plan.closes_us = 0;
	check_next(USH_ROOM_PHASE_LOBBY, &plan, "close", "operator", 0, "not_planned");
	check_next(USH_ROOM_PHASE_SERVING, &plan, NULL, NULL, 0, NULL);
}

int main(void)
{
	TAP_RUN(test_steady_waits_after_a_step);
	TAP_RUN(test_beacon_rounds);
	TAP_RUN(test_beacon_answers);
	TAP_RUN(test_next_in_each_phase);
	return tap_end();
}
