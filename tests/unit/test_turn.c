/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a turn does with many requests: what waits for durability, bursts, several loops, the beat
 * of TICK records, counters.
 *
 * Owns:  one engine.
 * Reads: USH_SEED.
 * Never: DPDK, files.
 */
#include "../ask.h"
#include "loop/internal.h"

/* ret: TICK records in the log. */
static uint32_t ticks(void)
{
	struct ush_log *log = ush_engine_log(h.engine);
	uint32_t count = 0;

	for (uint64_t at = 65; at < ush_log_reserved(log); at++) {
		if (!ush_log_is_header(at))
			count += ush_log_slot(log, at)->type == USH_RECORD_TYPE_TICK;
	}
	return count;
}

/* ---- durability ---- */

/* Goal: no change is told before it is durable, each is when it is. Method: every operation that
 * changes something, in one burst; the durable sequence goes up block by block. */
static void test_turn_changes_are_told_when_durable(void)
{
	struct ush_reply held, sold;

	start();
	held = reserve(1, 1, 0, 1);
	sold = reserve(2, 1, 0, 2);
	add(harness_reserve(EVENT, 3, 1, 1, 1));
	add((struct ush_request){.op = USH_OP_RELEASE,
		.event = EVENT,
		.user = 1,
		.hold = held.hold,
		.request_id = 2});
	add((struct ush_request){
		.op = USH_OP_CONFIRM, .event = EVENT, .user = 2, .hold = sold.hold});
	add((struct ush_request){.op = USH_OP_BLOCK, .event = EVENT, .row = 2, .mask = 1});
	add((struct ush_request){
		.op = USH_OP_EVENT_STATUS, .event = OTHER, .arg = USH_EVENT_STATUS_PAUSED});
	turn(0);
	CHECK_EQ(h.reply_count, 0);
	CHECK_EQ(ush_loop_waiting(ush_engine_loop(h.engine, 0)), 5);
	turn(0);
	CHECK_EQ(h.reply_count, 0);
	flush(0);
	CHECK_EQ(h.reply_count, 5);
	for (uint64_t i = 0; i < 5; i++) {
		CHECK_EQ(reply_of(i).status, USH_STATUS_OK);
		CHECK(reply_of(i).sequence != 0);
		CHECK(i == 0 || reply_of(i).sequence > reply_of(i - 1).sequence);
	}
	CHECK(counters_add_up());
}

/* Goal: durability of earlier blocks lets only what rests on them go. Method: 128 holds in two
 * turns; durable in steps. */
static void test_turn_durable_in_part_lets_that_part_go(void)
{
	struct ush_log *log;
	uint64_t first;
	uint32_t got = 0;

	start();
	log = ush_engine_log(h.engine);
	first = ush_log_reserved(log);
	for (uint32_t k = 0; k < 2; k++) {
		for (uint32_t i = 0; i < 60; i++)
			add(harness_reserve(
				EVENT + k, 100 + i, 1, (uint16_t)(i % ROWS), 1ull << (i / ROWS)));
		turn(0);
		CHECK_EQ(h.reply_count, 0);
	}
	for (uint64_t at = first; at < ush_log_reserved(log) + 64; at += 64) {
		atomic_store(&log->durable, at & ~63ull);
		turn(0);
		for (uint32_t i = 0; i < h.reply_count; i++)
			CHECK(h.replies[i].sequence < (at & ~63ull));
		got += h.reply_count;
		CHECK(at > first || got == 0);
	}
	CHECK_EQ(got, 120);
}

/* Goal: questions wait for what they may reveal, refusals do not. */
static void test_turn_questions_wait_refusals_do_not(void)
{
	struct ush_reply held;

	start();
	held = reserve(1, 1, 0, 1);
	/* The first TICK of the hold's life. */
	flush(0);
	harness_make_durable(&h);
	/* With nothing under way they leave at once. */
	add((struct ush_request){.op = USH_OP_STATUS, .event = EVENT});
	add((struct ush_request){.op = USH_OP_QUERY_SECTION, .event = EVENT});
	add((struct ush_request){
		.op = USH_OP_QUERY_HOLD, .event = EVENT, .user = 1, .hold = held.hold});
	turn(0);
	CHECK_EQ(h.reply_count, 3);
	add(harness_reserve(EVENT, 2, 1, 0, 2));
	turn(0);
	CHECK_EQ(h.reply_count, 0);
	add((struct ush_request){.op = USH_OP_STATUS, .event = EVENT});
	add((struct ush_request){.op = USH_OP_QUERY_SECTION, .event = EVENT});
	add((struct ush_request){
		.op = USH_OP_QUERY_HOLD, .event = EVENT, .user = 1, .hold = held.hold});
	add(harness_reserve(EVENT, 3, 1, 0, 2));
	add((struct ush_request){.op = USH_OP_STATUS});
	turn(0);
	/* Behind another that waits, a reply that need not waits, too; refusals pass. */
	CHECK_EQ(h.reply_count, 2);
	CHECK_EQ(reply_of(3).status, USH_STATUS_TAKEN);
	CHECK_EQ(reply_of(4).status, USH_STATUS_OK);
	flush(0);
	CHECK_EQ(h.reply_count, 4);
	CHECK_EQ(h.replies[0].op, USH_OP_RESERVE);
	CHECK_EQ(h.replies[1].amount, 58);
}

/* Goal: a repeat of an accepted request waits for the first; and for what it tells of the hold now,
 * which another loop may have done. Method: repeats to either loop while reserve, then confirm or
 * release by the other loop, are not durable. */
static void test_turn_repeat_waits_for_what_it_tells(void)
{
	struct ush_request again = harness_reserve(EVENT, 1, 1, 0, 1), other;
	struct ush_reply held;

	for (uint32_t sell = 0; sell <= 1; sell++) {
		start_loops(2);
		add(again);
		turn(0);
		for (uint32_t loop = 0; loop < 2; loop++) {
			add(again);
			turn(loop);
			CHECK_EQ(h.reply_count, 0);
		}
		flush(0);
		CHECK_EQ(h.reply_count, 2);
		held = h.replies[0];
		CHECK_EQ(h.replies[1].hold, held.hold);
		CHECK_EQ(h.replies[1].detail, 1);
		turn(1);
		CHECK_EQ(h.reply_count, 1);
		/* Durable long since: at once. */
		add(again);
		turn(0);
		CHECK_EQ(h.reply_count, 1);
		other = (struct ush_request){.op = sell != 0 ? USH_OP_CONFIRM : USH_OP_RELEASE,
			.event = EVENT,
			.user = 1,
			.hold = held.hold,
			.request_id = 2};
		add(other);
		turn(1);
		add(again);
		turn(0);
		CHECK_EQ(h.reply_count, 0);
		flush(0);
		CHECK_EQ(h.reply_count, 1);
		CHECK_EQ(h.replies[0].sequence, held.sequence);
		CHECK_EQ(h.replies[0].state, sell != 0 ? USH_HOLD_STATE_SOLD : USH_HOLD_STATE_FREE);
	}
}

/* Goal: EXPIRED and WRONG_STATE tell of a change and wait for it, repeated, too. */
static void test_turn_expired_and_wrong_state_wait(void)
{
	struct ush_request r = harness_reserve(EVENT, 1, 1, 0, 1), end;
	struct ush_reply held;

	start();
	r.hold_ms = 10;
	held = ask(r);
	end = (struct ush_request){.op = USH_OP_RELEASE,
		.event = EVENT,
		.user = 1,
		.hold = held.hold,
		.request_id = 2};
	h.now_ns = (h.now_ns >> 20 << 20) + (1 << 19);
	h.now_ns = held.deadline_ns;
	for (int i = 0; i < 3; i++) {
		add(end);
		turn(0);
		CHECK_EQ(h.reply_count, 0);
	}
	flush(0);
	CHECK_EQ(h.reply_count, 3);
	for (int i = 0; i < 3; i++)
		CHECK_EQ(h.replies[i].status, USH_STATUS_EXPIRED);
	held = reserve(1, 3, 0, 1);
	end.op = USH_OP_CONFIRM;
	end.hold = held.hold;
	add(end);
	turn(0);
	end.op = USH_OP_RELEASE;
	end.request_id = 4;
	for (int i = 0; i < 2; i++) {
		add(end);
		turn(0);
		CHECK_EQ(h.reply_count, 0);
	}
	flush(0);
	CHECK_EQ(h.reply_count, 3);
	CHECK_EQ(h.replies[1].status, USH_STATUS_WRONG_STATE);
	CHECK_EQ(h.replies[1].state, USH_HOLD_STATE_SOLD);
	CHECK_EQ(h.replies[2].status, USH_STATUS_WRONG_STATE);
}

/* ---- bursts ---- */

/* Goal: a burst of one user is decided in its order. Method: reserve, repeat, another body, release
 * by the id told before; 64 holds to the limit. */
static void test_turn_burst_of_one_user_keeps_order(void)
{
	start();
	add(harness_reserve(EVENT, 1, 1, 0, 1));
	add(harness_reserve(EVENT, 1, 1, 0, 1));
	add(harness_reserve(EVENT, 1, 1, 0, 2));
	add(harness_reserve(EVENT, 1, 2, 0, 1));
	turn(0);
	CHECK_EQ(reply_of(2).status, USH_STATUS_MISMATCH);
	CHECK_EQ(reply_of(3).status, USH_STATUS_TAKEN);
	flush(0);
	CHECK_EQ(h.reply_count, 2);
	CHECK_EQ(reply_of(0).detail, 0);
	CHECK_EQ(reply_of(1).detail, 1);
	CHECK_EQ(reply_of(1).hold, reply_of(0).hold);
	for (uint32_t i = 0; i < 60; i++)
		add(harness_reserve(OTHER, 1, 1 + i, (uint16_t)(i / SEATS), 1ull << i % SEATS));
	turn(0);
	CHECK_EQ(h.reply_count, 40);
	for (uint32_t i = 0; i < 40; i++)
		CHECK_EQ(h.replies[i].status, USH_STATUS_LIMIT);
	flush(0);
	CHECK_EQ(h.reply_count, 20);
	CHECK(audit_is_clean());
	CHECK(counters_add_up());
}

/* Goal: seats on their way to another user in the same burst are TAKEN_NOW; next turn TAKEN. */
static void test_turn_seat_in_flight_is_taken_now(void)
{
	start();
	add(harness_reserve(EVENT, 1, 1, 0, 1));
	add(harness_reserve(EVENT, 2, 1, 0, 3));
	turn(0);
	CHECK_EQ(h.reply_count, 1);
	CHECK_EQ(h.replies[0].status, USH_STATUS_TAKEN_NOW);
	CHECK_EQ(h.replies[0].hold, 1);
	add(harness_reserve(EVENT, 3, 1, 0, 3));
	turn(0);
	CHECK_EQ(h.replies[0].status, USH_STATUS_TAKEN);
	flush(0);
	/* The refusal that rested on a claim in flight is final for its id. */
	CHECK_EQ(reserve(2, 1, 0, 3).status, USH_STATUS_TAKEN_NOW);
	CHECK_EQ(reserve(2, 2, 0, 2).status, USH_STATUS_OK);
}

/* Goal: what is released in a burst is nobody's before its record has a slot. */
static void test_turn_seat_released_is_free_next_turn(void)
{
	struct ush_reply held;

	start();
	held = reserve(1, 1, 0, 1);
	add((struct ush_request){.op = USH_OP_RELEASE,
		.event = EVENT,
		.user = 1,
		.hold = held.hold,
		.request_id = 2});
	add(harness_reserve(EVENT, 2, 1, 0, 1));
	turn(0);
	CHECK_EQ(h.replies[0].status, USH_STATUS_TAKEN);
	add(harness_reserve(EVENT, 2, 2, 0, 1));
	turn(0);
	flush(0);
	CHECK_EQ(h.reply_count, 2);
	CHECK_EQ(reply_of(0).status, USH_STATUS_OK);
}

/* Goal: a burst of the largest requests fits. Method: 64 requests of eight legs. */
static void test_turn_burst_of_eight_legs_is_granted(void)
{
	struct {
		struct ush_extension_header header;
		struct ush_leg leg[5];
	} extra = {.header = {.type = USH_EXTENSION_LEGS, .size = 88, .value = 5}};
	uint32_t granted = 0;

	start();
	for (uint32_t i = 0; i < USH_LOOP_BURST; i++) {
		struct ush_request r =
			harness_reserve(EVENT + i % 2, 1 + i, 1, 0, 1ull << (i / 2 % SEATS));

		r.cookie = i;
		for (uint32_t k = 0; k < 5; k++)
			extra.leg[k] = (struct ush_leg){.row = (uint16_t)(1 + k), .mask = r.mask};
		burst[burst_count++] = harness_packet(&h, &r, &extra, sizeof(extra));
	}
	turn(0);
	flush(0);
	for (uint32_t i = 0; i < h.reply_count; i++)
		granted += h.replies[i].status == USH_STATUS_OK;
	CHECK_EQ(granted, 20);
	CHECK_EQ(counters(0).records - ticks(), 4 + 20 * 6);
	CHECK(audit_is_clean());
	CHECK(counters_add_up());
}

/* ---- loops ---- */

/* Goal: loop 1 serves what loop 0 granted, line and wheel stay loop 0's. Method: release, confirm
 * and let expire by the other loop; lines come home by the wheel. */
static void test_turn_other_loop_ends_a_hold(void)
{
	struct ush_engine_limits limits;
	struct ush_request r, end = {.event = EVENT, .user = 1};
	struct ush_reply held[3];

	harness_limits_small(&limits);
	limits.loop_count = 2;
	limits.hold_count = 64;
	start_with(&limits);
	for (uint32_t i = 0; i < 3; i++) {
		r = harness_reserve(EVENT, 1, 1 + i, 0, 1ull << i);
		r.hold_ms = 100;
		held[i] = ask(r);
		CHECK_EQ(held[i].status, USH_STATUS_OK);
	}
	end.op = USH_OP_RELEASE;
	end.hold = held[0].hold;
	end.request_id = 10;
	add(end);
	end.op = USH_OP_CONFIRM;
	end.hold = held[1].hold;
	add(end);
	turn(1);
	flush(1);
	CHECK_EQ(h.reply_count, 2);
	CHECK_EQ(reply_of(0).state, USH_HOLD_STATE_RELEASED);
	CHECK_EQ(reply_of(1).state, USH_HOLD_STATE_SOLD);
	CHECK_EQ(view().free_count, 58);
	CHECK(audit_is_clean());
	CHECK_EQ(query(1, held[0].hold).status, USH_STATUS_NO_HOLD);
	CHECK_EQ(query(1, held[1].hold).state, USH_HOLD_STATE_SOLD);
	/* At the deadline, before the wheel of loop 0 has been turned: loop 1 ends it. */
	h.now_ns = held[2].deadline_ns;
	end.op = USH_OP_RELEASE;
	end.hold = held[2].hold;
	end.request_id = 11;
	add(end);
	turn(1);
	flush(1);
	CHECK_EQ(h.replies[0].status, USH_STATUS_EXPIRED);
	CHECK_EQ(counters(1).expired, 1);
	pass(200 * MS);
	CHECK_EQ(counters(0).expired, 0);
	/* One sold line is in use, all others are back. */
	CHECK_EQ(h.engine->holds.pools[0].free_count + h.engine->holds.pools[1].free_count, 62);
	CHECK_EQ(h.engine->holds.pools[0].wheel.count, 0);
	CHECK(audit_is_clean());
	CHECK(counters_add_up());
}

/* Goal: who was told EXPIRED can rely on it, whatever the clock of another loop says:
 * the loop that ends a hold writes it. */
static void test_turn_clocks_of_loops_differ(void)
{
	struct ush_request r = harness_reserve(EVENT, 1, 1, 0, 1);
	struct ush_engine_limits limits;
	struct ush_reply held;

	harness_limits_small(&limits);
	limits.loop_count = 2;
	start_with(&limits);
	r.hold_ms = 100;
	held = ask(r);
	CHECK_EQ(held.status, USH_STATUS_OK);
	r = (struct ush_request){.op = USH_OP_EXTEND,
		.event = EVENT,
		.user = 1,
		.request_id = 2,
		.hold = held.hold,
		.hold_ms = 100};
	h.now_ns = held.deadline_ns;
	CHECK_EQ(query(1, held.hold).status, USH_STATUS_EXPIRED);
	h.now_ns = held.deadline_ns - 1;
	add(r);
	turn(1);
	CHECK_EQ(h.reply_count, 1);
	CHECK_EQ(h.replies[0].status, USH_STATUS_NO_HOLD);
	CHECK_EQ(view().free_count, 60);
	CHECK(audit_is_clean());
}

/* Goal: a line that another loop has locked: RETRY, or silence for the very same request; expiry
 * waits a tick. Method: the line is locked from here, as loop 1 would. */
static void test_turn_line_locked_elsewhere_is_retry_or_duplicate(void)
{
	static const uint8_t ops[] = {USH_OP_RELEASE, USH_OP_QUERY_HOLD, USH_OP_CONFIRM};
	struct ush_users *users;
	struct ush_user *line = NULL;
	struct ush_request r = harness_reserve(EVENT, 7, 1, 0, 1);
	struct ush_reply held;
	uint64_t hash;

	start_loops(2);
	users = &h.engine->users;
	r.hold_ms = 50;
	held = ask(r);
	hash = ush_user_hash(users, 7, EVENT);
	CHECK_EQ(ush_user_find(users, hash, 7, EVENT, 1, 5, &line), USH_USER_OK);
	CHECK_EQ(reserve(7, 4, 0, 2).status, USH_STATUS_RETRY);
	for (uint32_t i = 0; i < 3; i++)
		CHECK_EQ(on_hold(ops[i], 7, held.hold, ops[i] == USH_OP_RELEASE ? 6 : 5).status,
			USH_STATUS_RETRY);
	/* The same number: dropped, the other loop will answer. */
	add(harness_reserve(EVENT, 7, 5, 0, 2));
	turn(0);
	CHECK_EQ(h.reply_count, 0);
	CHECK_EQ(h.drop_count, 1);
	CHECK_EQ(counters(0).drop[USH_DROP_DUPLICATE_PENDING], 1);
	pass(60 * MS);
	CHECK_EQ(view().free_count, 59);
	ush_user_unlock(line);
	pass(2 * MS);
	CHECK_EQ(view().free_count, 60);
	CHECK_EQ(counters(0).expired, 1);
	/* None of these used up an id. */
	CHECK_EQ(reserve(7, 4, 0, 2).status, USH_STATUS_OK);
	CHECK(audit_is_clean());
	CHECK(counters_add_up());
}

/* Goal: a user served by three loops in turn has one window, one count of seats. */
static void test_turn_loops_share_a_user(void)
{
	uint32_t granted = 0;

	start_loops(3);
	for (uint32_t i = 0; i < 30; i++) {
		add(harness_reserve(EVENT, 7, 1 + i, (uint16_t)(i % ROWS), 1ull << (i / ROWS)));
		turn(i % 3);
		flush(i % 3);
		granted += h.replies[0].status == USH_STATUS_OK;
		add(harness_reserve(EVENT, 7, 1 + i, (uint16_t)(i % ROWS), 1ull << (i / ROWS)));
		turn((i + 1) % 3);
		CHECK_EQ(h.replies[0].status == USH_STATUS_OK, i < LIMIT);
	}
	CHECK_EQ(granted, LIMIT);
	CHECK(audit_is_clean());
	CHECK(counters_add_up());
}

/* ---- time ---- */

/* Goal: a great many deadlines at once are worked off in bounded turns. */
static void test_turn_many_deadlines_take_bounded_turns(void)
{
	uint32_t turns = 0;

	start();
	for (uint32_t n = 1; n <= 2; n++) {
		for (uint32_t i = 0; i < 60; i++) {
			struct ush_request r = harness_reserve(
				n, 10 + i, 1, (uint16_t)(i % ROWS), 1ull << (i / ROWS));
			r.hold_ms = 20;
			CHECK_EQ(ask(r).status, USH_STATUS_OK);
		}
	}
	h.now_ns += 22 * MS;
	while (counters(0).expired < 120 && turns < 20) {
		uint64_t before = counters(0).expired;
		turn(0);
		CHECK(counters(0).expired - before <= 128);
		turns++;
	}
	CHECK(turns >= 2 && turns <= 8);
	CHECK_EQ(view().free_count, 60);
	CHECK(audit_is_clean());
}

/* Goal: while holds live there is one TICK a second, else none, whichever loop has the hold. */
static void test_turn_tick_each_second_while_holds_live(void)
{
	struct ush_request r = harness_reserve(EVENT, 7, 1, 0, 1);

	start_loops(2);
	pass(3000 * MS);
	CHECK_EQ(ticks(), 0);
	r.hold_ms = 3500;
	add(r);
	turn(1);
	for (uint32_t i = 0; i < 100; i++) {
		h.now_ns += 50 * MS;
		turn(0);
		turn(1);
		turn(1);
		harness_make_durable(&h);
	}
	CHECK(ticks() >= 3 && ticks() <= 4);
	CHECK_EQ(view().free_count, 60);
}

/* ---- counters ---- */

/* Goal: whatever comes, every packet is counted under one reason; a reply that could not be sent is
 * taken back from its status. */
static void test_turn_counters_add_up_after_any_mix(void)
{
	struct ush_random random;
	struct ush_loop *loop;
	uint64_t asked = 0;

	ush_random_init(&random, tap_seed(4));
	start_loops(2);
	for (int i = 0; i < 2000; i++) {
		for (uint64_t n = ush_random_below(&random, 8); n > 0; n--) {
			struct ush_request r =
				harness_reserve(EVENT, 1 + ush_random_below(&random, 9),
					(uint32_t)ush_random_below(&random, 40),
					(uint16_t)ush_random_below(&random, ROWS + 1),
					ush_random_below(&random, 1u << SEATS));
			uint8_t *data;

			if (ush_random_below(&random, 3) == 0)
				r.op = (uint8_t)ush_random_below(&random, 80);
			add(r);
			data = burst[burst_count - 1].data;
			if (ush_random_below(&random, 4) == 0)
				data[ush_random_below(&random, 64)] =
					(uint8_t)ush_random_next(&random);
			asked++;
		}
		turn((uint32_t)ush_random_below(&random, 2));
		CHECK(counters_add_up());
		if (ush_random_below(&random, 4) == 0)
			harness_make_durable(&h);
	}
	for (uint32_t i = 0; i < 4; i++)
		flush(i % 2);
	CHECK_EQ(counters(0).control_messages + counters(1).control_messages, asked + 4);
	loop = ush_engine_loop(h.engine, 0);
	add((struct ush_request){.op = USH_OP_STATUS});
	turn(0);
	CHECK_EQ(h.reply_count, 1);
	ush_loop_count_drop(loop, USH_DROP_TX_FULL, &h.out.send[0]);
	CHECK(counters_add_up());
	CHECK_EQ(counters(0).drop[USH_DROP_TX_FULL], 1);
	ush_loop_count_drop(loop, USH_DROP_SHUTDOWN, NULL);
	CHECK(counters_add_up());
	CHECK(audit_is_clean());
}

int main(void)
{
	TAP_RUN(test_turn_changes_are_told_when_durable);
	TAP_RUN(test_turn_durable_in_part_lets_that_part_go);
	TAP_RUN(test_turn_questions_wait_refusals_do_not);
	TAP_RUN(test_turn_repeat_waits_for_what_it_tells);
	TAP_RUN(test_turn_expired_and_wrong_state_wait);
	TAP_RUN(test_turn_burst_of_one_user_keeps_order);
	TAP_RUN(test_turn_seat_in_flight_is_taken_now);
	TAP_RUN(test_turn_seat_released_is_free_next_turn);
	TAP_RUN(test_turn_burst_of_eight_legs_is_granted);
	TAP_RUN(test_turn_other_loop_ends_a_hold);
	TAP_RUN(test_turn_clocks_of_loops_differ);
	TAP_RUN(test_turn_line_locked_elsewhere_is_retry_or_duplicate);
	TAP_RUN(test_turn_loops_share_a_user);
	TAP_RUN(test_turn_many_deadlines_take_bounded_turns);
	TAP_RUN(test_turn_tick_each_second_while_holds_live);
	TAP_RUN(test_turn_counters_add_up_after_any_mix);
	harness_close(&h);
	return tap_end();
}
