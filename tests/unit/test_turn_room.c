/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is refused for want of room: log, hold lines, answers, users, waiting replies; and that
 * nothing is claimed then.
 *
 * Owns:  one engine.
 * Reads: nothing.
 * Never: DPDK, files.
 */
#include "../ask.h"

/* The smallest log that one loop may have, with `left` slots not durable before BUSY for new holds.
 */
static void start_short_log(void)
{
	struct ush_engine_limits limits;

	harness_limits_small(&limits);
	limits.log_block_count = 64;
	start_with(&limits);
}

/* Fills the log until new holds find no room; nothing becomes durable. ret: holds granted. */
static uint32_t fill_log(uint32_t user)
{
	uint32_t before = view().free_count, id = 1;

	for (;;) {
		struct ush_log *log = ush_engine_log(h.engine);
		if (!ush_log_has_room(log, ush_log_slots_worst(128), 1, USH_LOG_NEW))
			break;
		/* Pads, as the writer's seals make them. */
		uint64_t at = ush_log_reserve(log, 64);
		ush_log_publish_pads(log, at, at + 64);
		if (id % 8 == 0)
			add(harness_reserve(
				EVENT, user, id, (uint16_t)(id / 8 % ROWS), 1ull << (id / 48)));
		turn(0);
		id++;
	}
	return before - view().free_count;
}

/* Goal: a full log refuses new holds first, claims nothing for them, uses up no id; releases and
 * confirms go on in their share, until that is full, too. */
static void test_turn_room_log_short_is_busy_for_new_holds(void)
{
	struct ush_request end = {
		.op = USH_OP_RELEASE, .event = EVENT, .user = 1, .request_id = 50};
	struct ush_log *log;
	struct ush_reply held;
	uint32_t free_seats;

	start_short_log();
	log = ush_engine_log(h.engine);
	held = reserve(1, 1, 5, 0x200);
	CHECK(fill_log(2) > 2);
	free_seats = view().free_count;
	add(harness_reserve(EVENT, 3, 1, 5, 0x1));
	turn(0);
	CHECK_EQ(h.reply_count, 1);
	CHECK_EQ(h.replies[0].status, USH_STATUS_BUSY);
	CHECK_EQ(view().free_count, free_seats);
	/* The share that is kept. */
	end.hold = held.hold;
	add(end);
	turn(0);
	CHECK_EQ(h.reply_count, 0);
	CHECK_EQ(view().free_count, free_seats + 1);
	while (ush_log_has_room(log, ush_log_slots_worst(128), 1, USH_LOG_KEPT)) {
		uint64_t at = ush_log_reserve(log, 64);
		ush_log_publish_pads(log, at, at + 64);
	}
	end.user = 2;
	end.hold = 1;
	add((struct ush_request){.op = USH_OP_BLOCK, .event = EVENT, .row = 5, .mask = 1});
	add((struct ush_request){
		.op = USH_OP_EVENT_STATUS, .event = EVENT, .arg = USH_EVENT_STATUS_PAUSED});
	turn(0);
	CHECK_EQ(h.reply_count, 2);
	CHECK_EQ(h.replies[0].status, USH_STATUS_BUSY);
	CHECK_EQ(h.replies[1].status, USH_STATUS_BUSY);
	CHECK_EQ(view().free_count, free_seats + 1);
	/* Room again: the same ids go through. */
	flush(0);
	CHECK(h.reply_count > 2);
	CHECK_EQ(reserve(3, 1, 5, 0x1).status, USH_STATUS_OK);
	CHECK_EQ(view().status, USH_EVENT_STATUS_ON_SALE);
	CHECK(audit_is_clean());
	CHECK(counters_add_up());
}

/* Goal: room is looked for after the batch before was flushed, for each operation that flushes.
 * Method: 40 holds that use up the last room, and a control operation in the same burst. */
static void test_turn_room_log_room_is_asked_after_flush(void)
{
	static const uint8_t ops[] = {USH_OP_EVENT_STATUS, USH_OP_BLOCK, USH_OP_UNBLOCK};
	struct ush_log *log;

	for (uint32_t i = 0; i < 3; i++) {
		struct ush_request r = {.op = ops[i], .event = OTHER};
		struct ush_reply held[40];

		start_short_log();
		log = ush_engine_log(h.engine);
		for (uint32_t k = 0; k < 40; k++)
			held[k] = reserve(100 + k, 1, (uint16_t)(k % ROWS), 1ull << (k / ROWS));
		CHECK_EQ(house(USH_OP_BLOCK, 5, 0x200).status, USH_STATUS_OK);
		while (ush_log_has_room(log, ush_log_slots_worst(128) + 1, 1, USH_LOG_KEPT))
			ush_log_publish_pads(log, ush_log_reserve(log, 1), 0);
		for (uint32_t k = 0; k < 40; k++)
			add((struct ush_request){.op = USH_OP_RELEASE,
				.event = EVENT,
				.user = 100 + k,
				.hold = held[k].hold,
				.request_id = 2});
		if (ops[i] == USH_OP_EVENT_STATUS)
			r.arg = USH_EVENT_STATUS_PAUSED;
		else
			r.mask = 1;
		add(r);
		turn(0);
		CHECK_EQ(h.reply_count, 1);
		CHECK_EQ(h.replies[0].status, USH_STATUS_BUSY);
		CHECK_EQ(view().free_count, 59);
	}
}

/* Goal: too few lines: BUSY, nothing claimed, no id used up; given back, they serve again. */
static void test_turn_room_lines_short_is_busy(void)
{
	struct ush_leg legs[6];
	struct ush_engine_limits limits;
	struct ush_reply y, held[10];

	harness_limits_small(&limits);
	limits.hold_count = 64;
	start_with(&limits);
	for (uint32_t u = 0; u < 10; u++) {
		for (uint32_t i = 0; i < 6; i++)
			legs[i] = (struct ush_leg){.row = (uint16_t)i, .mask = 1ull << u};
		held[u] = ask_legs(harness_reserve(EVENT, 1 + u, 1, 0, 0), legs, 6);
		CHECK_EQ(held[u].status, USH_STATUS_OK);
	}
	y = ask_legs(harness_reserve(OTHER, 50, 1, 0, 0), legs, 6);
	CHECK_EQ(y.status, USH_STATUS_BUSY);
	CHECK_EQ(y.detail, 0);
	CHECK_EQ(ask_legs(harness_reserve(OTHER, 50, 1, 0, 0), legs, 3).status, USH_STATUS_OK);
	CHECK_EQ(ask(harness_reserve(OTHER, 51, 1, 0, 1)).status, USH_STATUS_BUSY);
	CHECK_EQ(release(1, held[0].hold, 2).status, USH_STATUS_OK);
	CHECK_EQ(ask(harness_reserve(OTHER, 51, 1, 0, 1)).status, USH_STATUS_OK);
	CHECK(audit_is_clean());
}

/* Goal: too few answers: BUSY for what would need one, nothing claimed or released. */
static void test_turn_room_answers_short_is_busy(void)
{
	struct ush_engine_limits limits;
	struct ush_reply held = {0};
	uint32_t free_seats;

	harness_limits_small(&limits);
	limits.answer_count = 64;
	start_with(&limits);
	for (uint32_t i = 0; i < 63; i++) {
		held = ask(harness_reserve(
			EVENT + i % 2, 10 + i, 1, (uint16_t)(i / 2 % ROWS), 1ull << (i / 12)));
		CHECK_EQ(held.status, USH_STATUS_OK);
	}
	free_seats = view().free_count;
	CHECK_EQ(reserve(5, 1, 5, 0x200).status, USH_STATUS_BUSY);
	CHECK_EQ(release(10 + 62, held.hold, 2).status, USH_STATUS_BUSY);
	CHECK_EQ(view().free_count, free_seats);
	/* What needs none goes on; old answers make room when their user goes on. */
	CHECK_EQ(confirm(10 + 62, held.hold).status, USH_STATUS_OK);
	CHECK(audit_is_clean());
}

/* Goal: too many users with something live in a bucket: BUSY. */
static void test_turn_room_users_short_is_busy(void)
{
	struct ush_engine_limits limits;
	struct ush_request r;

	harness_limits_small(&limits);
	limits.user_count = 64;
	start_with(&limits);
	for (uint32_t i = 0; i < 60; i++)
		CHECK_EQ(reserve(10 + i, 1, (uint16_t)(i % ROWS), 1ull << (i / ROWS)).status,
			USH_STATUS_OK);
	/* Users who were only refused make way. */
	for (uint32_t i = 0; i < 100; i++)
		CHECK_EQ(reserve(1000 + i, 1, 0, 1).status, USH_STATUS_TAKEN);
	for (uint32_t i = 0; i < 4; i++)
		CHECK_EQ(ask(harness_reserve(OTHER, 2000 + i, 1, 0, 1ull << i)).status,
			USH_STATUS_OK);
	r = harness_reserve(OTHER, 3000, 1, 1, 1);
	CHECK_EQ(ask(r).status, USH_STATUS_BUSY);
	CHECK_EQ(view().free_count, 0);
	CHECK(audit_is_clean());
}

/* Goal: the loop says how many packets it can take: never more than replies may wait. */
static void test_turn_room_waiting_replies_bound_the_burst(void)
{
	struct ush_engine_limits limits;
	struct ush_loop *loop;

	harness_limits_small(&limits);
	limits.ack_count = 64;
	start_with(&limits);
	loop = ush_engine_loop(h.engine, 0);
	CHECK_EQ(ush_loop_room(loop), 64);
	for (uint32_t i = 0; i < 60; i++)
		add(harness_reserve(EVENT, 10 + i, 1, (uint16_t)(i % ROWS), 1ull << (i / ROWS)));
	turn(0);
	CHECK_EQ(ush_loop_room(loop), 4);
	CHECK_EQ(ush_loop_waiting(loop), 60);
	for (uint32_t i = 0; i < 4; i++)
		add(harness_reserve(OTHER, 10 + i, 1, 0, 1ull << i));
	turn(0);
	CHECK_EQ(ush_loop_room(loop), 0);
	CHECK_EQ(counters(0).waiting, 64);
	flush(0);
	CHECK_EQ(h.reply_count, 64);
	CHECK_EQ(ush_loop_room(loop), 64);
	CHECK_EQ(counters(0).waiting, 0);
}

int main(void)
{
	TAP_RUN(test_turn_room_log_short_is_busy_for_new_holds);
	TAP_RUN(test_turn_room_log_room_is_asked_after_flush);
	TAP_RUN(test_turn_room_lines_short_is_busy);
	TAP_RUN(test_turn_room_answers_short_is_busy);
	TAP_RUN(test_turn_room_users_short_is_busy);
	TAP_RUN(test_turn_room_waiting_replies_bound_the_burst);
	harness_close(&h);
	return tap_end();
}
