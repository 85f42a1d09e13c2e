/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a loop decides: every operation and status, one request at a time, through the control path.
 * Events and
 * house seats are in test_loop_event.c, what a turn does with many requests in test_turn.c.
 *
 * Owns:  one engine.
 * Reads: nothing.
 * Never: DPDK, files.
 */
#include "../ask.h"

/* ---- reserve ---- */

/* Goal: a hold tells its id, deadline, price and record. */
static void test_loop_reserve_free_seats_is_held(void)
{
	struct ush_reply y;

	start();
	y = reserve(7, 1, 3, 0x30);
	CHECK_EQ(y.status, USH_STATUS_OK);
	CHECK_EQ(y.state, USH_HOLD_STATE_HELD);
	CHECK_EQ(y.deadline_ns, h.now_ns + 60000 * MS);
	CHECK_EQ(y.amount, 5000);
	CHECK_EQ(y.detail, 0);
	CHECK_EQ(y.cookie, 0xabcdef);
	CHECK(y.hold != 0 && y.sequence > 64);
	CHECK_EQ(ush_engine_hold_state(h.engine, y.hold), USH_HOLD_STATE_HELD);
	CHECK_EQ(view().free_count, 58);
	CHECK_EQ(query(7, y.hold).sequence, y.sequence);
	CHECK(audit_is_clean());
}

/* Goal: eight legs are one hold; the reply names the last record. */
static void test_loop_reserve_legs_are_one_hold(void)
{
	struct ush_leg legs[6];
	struct ush_reply y, z;

	start();
	for (uint32_t i = 0; i < 6; i++)
		legs[i] = (struct ush_leg){.row = (uint16_t)(5 - i), .mask = 0x7};
	y = ask_legs(harness_reserve(EVENT, 7, 1, 0, 0), legs, 6);
	CHECK_EQ(y.status, USH_STATUS_OK);
	CHECK_EQ(y.amount, 18 * 2500);
	CHECK_EQ(view().free_count, 60 - 18);
	z = query(7, y.hold);
	CHECK_EQ(z.amount, y.amount);
	CHECK_EQ(z.sequence, y.sequence);
	CHECK_EQ(release(7, y.hold, 2).status, USH_STATUS_OK);
	CHECK_EQ(view().free_count, 60);
	CHECK(audit_is_clean());
}

/* Goal: one seat in the way: nothing is taken; the first leg, as asked, is told, and its seats.
 * Method: two of six legs are lost, the later in the request is the lower row. */
static void test_loop_reserve_leg_taken_takes_nothing(void)
{
	struct ush_leg legs[6];
	struct ush_reply y;

	start();
	CHECK_EQ(reserve(1, 1, 1, 0x4).status, USH_STATUS_OK);
	CHECK_EQ(reserve(1, 2, 3, 0x3).status, USH_STATUS_OK);
	for (uint32_t i = 0; i < 6; i++)
		legs[i] = (struct ush_leg){.row = (uint16_t)(5 - i), .mask = 0x7};
	y = ask_legs(harness_reserve(EVENT, 7, 1, 0, 0), legs, 6);
	CHECK_EQ(y.status, USH_STATUS_TAKEN);
	CHECK_EQ(y.detail, 2);
	CHECK_EQ(y.hold, 0x3);
	CHECK_EQ(y.amount | y.deadline_ns | y.sequence | y.state, 0);
	CHECK_EQ(view().free_count, 57);
	CHECK(audit_is_clean());
}

/* Goal: seats that do not exist are named by their leg, and nothing happens. */
static void test_loop_reserve_no_such_seat_names_leg(void)
{
	struct ush_leg legs[3] = {
		{.row = 0, .mask = 1}, {.row = 1, .mask = 1}, {.row = 2, .mask = 1}};
	struct ush_reply y;

	start();
	y = reserve(7, 1, ROWS, 1);
	CHECK_EQ(y.status, USH_STATUS_NO_SUCH_SEAT);
	CHECK_EQ(y.detail, 0);
	y = reserve(7, 1, UINT16_MAX, 1);
	CHECK_EQ(y.status, USH_STATUS_NO_SUCH_SEAT);
	y = reserve(7, 1, 0, 1ull << SEATS);
	CHECK_EQ(y.status, USH_STATUS_NO_SUCH_SEAT);
	y = reserve(7, 1, 0, ~0ull);
	CHECK_EQ(y.status, USH_STATUS_NO_SUCH_SEAT);
	legs[1].row = 999;
	y = ask_legs(harness_reserve(EVENT, 7, 1, 0, 0), legs, 3);
	CHECK_EQ(y.status, USH_STATUS_NO_SUCH_SEAT);
	CHECK_EQ(y.detail, 1);
	/* The id was not used up. */
	CHECK_EQ(reserve(7, 1, 0, 1).status, USH_STATUS_OK);
	CHECK_EQ(view().free_count, 59);
}

/* Goal: the limit is exact, counts held and sold seats, and gives back what is given back. */
static void test_loop_reserve_beyond_limit_is_refused(void)
{
	struct ush_reply a, b, y;

	start();
	a = reserve(7, 1, 0, 0x3ff);
	b = reserve(7, 2, 1, 0x1ff);
	CHECK_EQ(confirm(7, b.hold).status, USH_STATUS_OK);
	y = reserve(7, 3, 2, 0x3);
	CHECK_EQ(y.status, USH_STATUS_LIMIT);
	CHECK_EQ(y.detail, LIMIT);
	CHECK_EQ(reserve(7, 4, 2, 0x1).status, USH_STATUS_OK);
	CHECK_EQ(reserve(7, 5, 2, 0x2).status, USH_STATUS_LIMIT);
	/* Each event for itself. */
	CHECK_EQ(ask(harness_reserve(OTHER, 7, 1, 0, 0x3ff)).status, USH_STATUS_OK);
	CHECK_EQ(release(7, a.hold, 6).status, USH_STATUS_OK);
	CHECK_EQ(reserve(7, 7, 2, 0x3fe).status, USH_STATUS_OK);
	/* The remembered refusal stays. */
	CHECK_EQ(reserve(7, 5, 2, 0x2).status, USH_STATUS_LIMIT);
	CHECK(audit_is_clean());
}

/* Goal: hold_ms 10 to the event's maximum, 0 its default. */
static void test_loop_reserve_hold_time_is_bounded(void)
{
	static const struct {
		uint32_t ms;
		uint32_t gets;
	} times[] = {{0, 60000}, {9, 0}, {1, 0}, {10, 10}, {600000, 600000}, {600001, 0},
		{UINT32_MAX, 0}};

	start();
	for (uint32_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
		struct ush_request r = harness_reserve(EVENT, 7, i + 1, 0, 1ull << i);
		struct ush_reply y;

		r.hold_ms = times[i].ms;
		y = ask(r);
		if (times[i].gets != 0) {
			CHECK_EQ(y.status, USH_STATUS_OK);
			CHECK_EQ(y.deadline_ns, h.now_ns + times[i].gets * MS);
		} else {
			CHECK_EQ(y.status, USH_STATUS_BAD_REQUEST);
			CHECK_EQ(y.detail, USH_FAULT_HOLD_TIME);
		}
	}
}

/* Goal: an event that is not there is named so by every operation that takes one. */
static void test_loop_unknown_event_is_named(void)
{
	static const uint8_t ops[] = {USH_OP_STATUS, USH_OP_RESERVE, USH_OP_RELEASE,
		USH_OP_QUERY_HOLD, USH_OP_QUERY_SECTION, USH_OP_EVENT_STATUS, USH_OP_CONFIRM,
		USH_OP_BLOCK, USH_OP_UNBLOCK};
	static const uint32_t events[] = {0, 3, USH_EVENT_ID_MAX, USH_EVENT_ID_MAX + 1, UINT32_MAX};

	start();
	for (uint32_t i = 0; i < sizeof(ops); i++) {
		for (uint32_t e = 0; e < 5; e++) {
			struct ush_request r = {.op = ops[i], .event = events[e]};
			if (r.op == USH_OP_RESERVE || r.op == USH_OP_RELEASE)
				r.request_id = 1;
			if (r.op == USH_OP_RESERVE || r.op == USH_OP_BLOCK ||
				r.op == USH_OP_UNBLOCK)
				r.mask = 1;
			if (r.op == USH_OP_RESERVE || r.op == USH_OP_RELEASE ||
				r.op == USH_OP_QUERY_HOLD || r.op == USH_OP_CONFIRM)
				r.user = 7;
			if (r.op == USH_OP_EVENT_STATUS)
				r.arg = USH_EVENT_STATUS_ON_SALE;
			/* STATUS of event 0 asks about the box. */
			if (r.op == USH_OP_STATUS && r.event == 0)
				CHECK_EQ(ask(r).status, USH_STATUS_OK);
			else
				CHECK_EQ(ask(r).status, USH_STATUS_UNKNOWN_EVENT);
		}
	}
}

/* Goal: only ON_SALE takes new holds; holds that live go on in any status; a repeat of what was
 * accepted is answered in any. */
static void test_loop_event_not_on_sale_takes_no_holds(void)
{
	static const uint8_t statuses[] = {USH_EVENT_STATUS_PAUSED, USH_EVENT_STATUS_COMPLETED};

	for (uint32_t i = 0; i < 2; i++) {
		struct ush_reply y, held, sold;

		start();
		held = reserve(7, 1, 0, 1);
		sold = reserve(7, 2, 0, 2);
		y = set_status(statuses[i]);
		CHECK_EQ(y.status, USH_STATUS_OK);
		CHECK_EQ(y.detail, statuses[i]);
		y = reserve(7, 3, 0, 4);
		CHECK_EQ(y.status, USH_STATUS_NOT_ON_SALE);
		CHECK_EQ(y.detail, statuses[i]);
		y = reserve(8, 1, 0, 4);
		CHECK_EQ(y.status, USH_STATUS_NOT_ON_SALE);
		y = reserve(7, 1, 0, 1);
		CHECK_EQ(y.status, USH_STATUS_OK);
		CHECK_EQ(y.hold, held.hold);
		CHECK_EQ(query(7, held.hold).status, USH_STATUS_OK);
		CHECK_EQ(confirm(7, sold.hold).status, USH_STATUS_OK);
		CHECK_EQ(release(7, held.hold, 3).status, USH_STATUS_OK);
		CHECK_EQ(set_status(USH_EVENT_STATUS_PAUSED).status, USH_STATUS_OK);
		CHECK_EQ(set_status(USH_EVENT_STATUS_ON_SALE).status, USH_STATUS_OK);
		CHECK_EQ(reserve(8, 1, 0, 4).status, USH_STATUS_OK);
	}
}

/* ---- repeats ---- */

/* Goal: a repeat gets the answer of the first, with the state of now: held, sold, over. */
static void test_loop_repeat_of_reserve_tells_state_of_now(void)
{
	struct ush_reply a, b, y;

	start();
	a = reserve(7, 1, 0, 0x3);
	b = reserve(7, 2, 1, 0x3);
	for (int i = 0; i < 3; i++) {
		y = reserve(7, 1, 0, 0x3);
		CHECK_EQ(y.status, USH_STATUS_OK);
		CHECK_EQ(y.hold, a.hold);
		CHECK_EQ(y.sequence, a.sequence);
		CHECK_EQ(y.detail, 1);
		CHECK_EQ(y.state, USH_HOLD_STATE_HELD);
		CHECK_EQ(y.deadline_ns, a.deadline_ns);
		CHECK_EQ(y.amount, 5000);
	}
	CHECK_EQ(confirm(7, a.hold).status, USH_STATUS_OK);
	y = reserve(7, 1, 0, 0x3);
	CHECK_EQ(y.state, USH_HOLD_STATE_SOLD);
	CHECK_EQ(y.sequence, a.sequence);
	CHECK_EQ(release(7, b.hold, 3).status, USH_STATUS_OK);
	y = reserve(7, 2, 1, 0x3);
	CHECK_EQ(y.status, USH_STATUS_OK);
	CHECK_EQ(y.hold, b.hold);
	CHECK_EQ(y.state, USH_HOLD_STATE_FREE);
	CHECK_EQ(y.deadline_ns | y.amount, 0);
	CHECK_EQ(view().free_count, 58);
}

/* Goal: a repeated release is answered as the first, and does nothing. Method: its seats have been
 * taken anew by another, on the same line, meanwhile. */
static void test_loop_repeat_of_release_does_nothing(void)
{
	struct ush_reply a, first, other, y;

	start();
	a = reserve(7, 1, 0, 0x3);
	first = release(7, a.hold, 2);
	CHECK_EQ(first.status, USH_STATUS_OK);
	CHECK_EQ(first.state, USH_HOLD_STATE_RELEASED);
	CHECK_EQ(first.hold, a.hold);
	other = reserve(8, 1, 0, 0x3);
	CHECK_EQ(other.status, USH_STATUS_OK);
	CHECK(other.hold != a.hold);
	y = release(7, a.hold, 2);
	CHECK_EQ(y.status, USH_STATUS_OK);
	CHECK_EQ(y.detail, 1);
	CHECK_EQ(y.sequence, first.sequence);
	CHECK_EQ(y.state, USH_HOLD_STATE_FREE);
	CHECK_EQ(query(8, other.hold).state, USH_HOLD_STATE_HELD);
}

/* Goal: a refusal is told again, not tried again; what is too old, or asked otherwise, is not done.
 */
static void test_loop_repeat_of_refusal_is_not_tried(void)
{
	struct ush_reply a, y;

	start();
	a = reserve(1, 1, 0, 0x1);
	CHECK_EQ(reserve(7, 1, 0, 0x1).status, USH_STATUS_TAKEN);
	CHECK_EQ(release(1, a.hold, 2).status, USH_STATUS_OK);
	/* The seat is free, the answer stays. */
	y = reserve(7, 1, 0, 0x1);
	CHECK_EQ(y.status, USH_STATUS_TAKEN);
	CHECK_EQ(y.hold, 0);
	CHECK_EQ(reserve(7, 1, 0, 0x2).status, USH_STATUS_MISMATCH);
	CHECK_EQ(reserve(7, 2, 0, 0x1).status, USH_STATUS_OK);
	CHECK_EQ(reserve(7, 2, 0, 0x2).status, USH_STATUS_MISMATCH);
	CHECK_EQ(release(7, a.hold, 2).status, USH_STATUS_MISMATCH);
	CHECK_EQ(reserve(7, 65, 0, 0x4).status, USH_STATUS_OK);
	CHECK_EQ(reserve(7, 1, 0, 0x8).status, USH_STATUS_STALE);
	CHECK_EQ(reserve(7, 2, 0, 0x1).status, USH_STATUS_OK);
	CHECK_EQ(reserve(7, 66, 0, 0x8).status, USH_STATUS_OK);
	CHECK_EQ(reserve(7, 2, 0, 0x1).status, USH_STATUS_STALE);
	/* A gap may be used late. */
	CHECK_EQ(reserve(7, 3, 0, 0x10).status, USH_STATUS_OK);
	CHECK_EQ(view().free_count, 56);
}

/* Goal: operations outside the window leave it alone, whatever their request id. */
static void test_loop_numbered_query_uses_no_id(void)
{
	struct ush_reply a;

	start();
	a = reserve(7, 1, 0, 0x1);
	CHECK_EQ(on_hold(USH_OP_QUERY_HOLD, 7, a.hold, 1000).status, USH_STATUS_OK);
	CHECK_EQ(on_hold(USH_OP_CONFIRM, 7, a.hold, 1000).status, USH_STATUS_OK);
	CHECK_EQ(reserve(7, 2, 0, 0x2).status, USH_STATUS_OK);
	CHECK_EQ(reserve(7, 1, 0, 0x1).detail, 1);
}

/* ---- the end of a hold ---- */

/* Goal: a hold is its user's in its event: any other id, user or event is NO_HOLD, for every
 * operation, and the request id is not used up. */
static void test_loop_hold_of_another_is_no_hold(void)
{
	static const uint8_t ops[] = {USH_OP_RELEASE, USH_OP_QUERY_HOLD, USH_OP_CONFIRM};
	struct ush_reply a;

	start();
	a = reserve(7, 1, 0, 0x1);
	CHECK_EQ(reserve(8, 1, 0, 0x2).status, USH_STATUS_OK);
	CHECK_EQ(ask(harness_reserve(OTHER, 7, 1, 0, 1)).status, USH_STATUS_OK);
	for (uint32_t i = 0; i < 3; i++) {
		uint32_t id = ops[i] == USH_OP_RELEASE ? 2 : 0;
		struct ush_request r = {
			.op = ops[i], .event = OTHER, .user = 7, .hold = a.hold, .request_id = id};

		CHECK_EQ(on_hold(ops[i], 8, a.hold, id).status, USH_STATUS_NO_HOLD);
		CHECK_EQ(on_hold(ops[i], 9, a.hold, id).status, USH_STATUS_NO_HOLD);
		CHECK_EQ(ask(r).status, USH_STATUS_NO_HOLD);
		for (uint32_t bit = 0; bit < 64; bit++)
			CHECK_EQ(on_hold(ops[i], 7, a.hold ^ 1ull << bit, id).status,
				USH_STATUS_NO_HOLD);
		CHECK_EQ(on_hold(ops[i], 7, 0, id).status, USH_STATUS_NO_HOLD);
	}
	CHECK_EQ(release(7, a.hold, 2).status, USH_STATUS_OK);
	/* Its line serves another hold now; the old id is dead. */
	CHECK_EQ(reserve(7, 3, 0, 0x1).status, USH_STATUS_OK);
	CHECK_EQ(query(7, a.hold).status, USH_STATUS_NO_HOLD);
	CHECK_EQ(confirm(7, a.hold).status, USH_STATUS_NO_HOLD);
	CHECK_EQ(release(7, a.hold, 4).status, USH_STATUS_NO_HOLD);
}

/* Goal: sold is sold: confirmed again it tells the same, released it is not. */
static void test_loop_sold_hold_stays_sold(void)
{
	struct ush_reply a, sold, y;

	start();
	a = reserve(7, 1, 0, 0x7);
	sold = confirm(7, a.hold);
	CHECK_EQ(sold.status, USH_STATUS_OK);
	CHECK_EQ(sold.state, USH_HOLD_STATE_SOLD);
	CHECK_EQ(sold.amount, 7500);
	CHECK_EQ(sold.deadline_ns, a.deadline_ns);
	CHECK_EQ(sold.detail, 0);
	CHECK(sold.sequence > a.sequence);
	for (int i = 0; i < 2; i++) {
		y = confirm(7, a.hold);
		CHECK_EQ(y.status, USH_STATUS_OK);
		CHECK_EQ(y.detail, 1);
		CHECK_EQ(y.sequence, sold.sequence);
		CHECK_EQ(y.amount, 7500);
		y = release(7, a.hold, 2);
		CHECK_EQ(y.status, USH_STATUS_WRONG_STATE);
	}
	/* Also long after the deadline it had. */
	h.now_ns = a.deadline_ns - 1;
	pass(2000 * MS);
	CHECK_EQ(query(7, a.hold).state, USH_HOLD_STATE_SOLD);
	CHECK_EQ(query(7, a.hold).deadline_ns, a.deadline_ns);
	CHECK_EQ(view().sold_count, 3);
	CHECK_EQ(view().free_count, 57);
	CHECK(audit_is_clean());
}

/* Goal: the deadline is exact: one nanosecond before, all is well; at it, the hold is over. Method:
 * each operation, each side; the wheel's tick has not come yet. */
static void test_loop_deadline_is_exact_to_the_nanosecond(void)
{
	static const uint8_t ops[] = {USH_OP_RELEASE, USH_OP_QUERY_HOLD, USH_OP_CONFIRM};

	for (uint32_t late = 0; late <= 1; late++) {
		for (uint32_t i = 0; i < 3; i++) {
			struct ush_request r = harness_reserve(EVENT, 7, 1, 0, 0x3);
			struct ush_reply a, y;

			start();
			/* In the middle of a tick, so that the wheel comes half a tick later. */
			h.now_ns = (h.now_ns >> 20 << 20) + (1 << 19);
			r.hold_ms = 10;
			a = ask(r);
			h.now_ns = a.deadline_ns - 1 + late;
			y = on_hold(ops[i], 7, a.hold, ops[i] == USH_OP_RELEASE ? 2 : 0);
			CHECK_EQ(y.status, late != 0 ? USH_STATUS_EXPIRED : USH_STATUS_OK);
			if (late == 0)
				continue;
			CHECK_EQ(y.state, USH_HOLD_STATE_EXPIRED);
			CHECK_EQ(y.deadline_ns | y.amount, 0);
			CHECK_EQ(view().free_count, 60);
			if (ops[i] == USH_OP_RELEASE)
				CHECK_EQ(release(7, a.hold, 2).status, USH_STATUS_EXPIRED);
			else
				CHECK_EQ(on_hold(ops[i], 7, a.hold, 0).status, USH_STATUS_NO_HOLD);
			CHECK(audit_is_clean());
		}
	}
}

/* Goal: without anybody asking the seats are free within a tick of the deadline, the user's count
 * too. */
static void test_loop_deadline_passed_frees_seats_by_itself(void)
{
	struct ush_leg legs[3] = {
		{.row = 0, .mask = 0x3ff}, {.row = 1, .mask = 0x3ff}, {.row = 2, .mask = 0}};
	struct ush_loop_counters counters;
	struct ush_request r = harness_reserve(EVENT, 7, 1, 0, 0);
	struct ush_reply a;

	start();
	r.hold_ms = 700;
	a = ask_legs(r, legs, 2);
	CHECK_EQ(a.status, USH_STATUS_OK);
	CHECK_EQ(reserve(7, 2, 3, 1).status, USH_STATUS_LIMIT);
	pass(700 * MS - 1);
	CHECK_EQ(view().free_count, 40);
	CHECK_EQ(query(7, a.hold).status, USH_STATUS_OK);
	pass(1 + (1 << 20));
	CHECK_EQ(view().free_count, 60);
	CHECK_EQ(query(7, a.hold).status, USH_STATUS_NO_HOLD);
	CHECK_EQ(reserve(7, 3, 3, 0x3ff).status, USH_STATUS_OK);
	ush_loop_counters_read(ush_engine_loop(h.engine, 0), &counters);
	CHECK_EQ(counters.expired, 1);
	CHECK(audit_is_clean());
}

/* Goal: a clock that goes back revives nothing. */
static void test_loop_time_going_back_changes_nothing(void)
{
	struct ush_request r = harness_reserve(EVENT, 7, 1, 0, 0x3);
	struct ush_reply a;

	start();
	r.hold_ms = 10;
	a = ask(r);
	h.now_ns = a.deadline_ns;
	CHECK_EQ(query(7, a.hold).status, USH_STATUS_EXPIRED);
	h.now_ns -= 5 * MS;
	CHECK_EQ(query(7, a.hold).status, USH_STATUS_NO_HOLD);
	CHECK_EQ(reserve(7, 2, 0, 0x4).deadline_ns, a.deadline_ns + 60000 * MS);
}

/* Goal: RESUME moves the deadlines of live holds, and the wheel with them. */
static void test_loop_resume_gives_the_outage_back(void)
{
	struct ush_request r = harness_reserve(EVENT, 7, 1, 0, 0x3);
	struct ush_reply a;

	start();
	r.hold_ms = 100;
	a = ask(r);
	ush_loop_resume(ush_engine_loop(h.engine, 0), 1000 * MS, h.now_ns);
	CHECK_EQ(query(7, a.hold).deadline_ns, a.deadline_ns + 1000 * MS);
	pass(1050 * MS);
	CHECK_EQ(view().free_count, 58);
	pass(60 * MS);
	CHECK_EQ(view().free_count, 60);
}

/* Goal: a deadline that rests on a RESUME is told only when that is durable, also by a repeat. */
static void test_loop_resume_is_told_when_durable(void)
{
	struct ush_request r = harness_reserve(EVENT, 7, 1, 0, 0x3);
	struct ush_reply a;

	start();
	a = ask(r);
	harness_make_durable(&h);
	ush_loop_resume(ush_engine_loop(h.engine, 0), 1000 * MS, h.now_ns);
	add((struct ush_request){
		.op = USH_OP_QUERY_HOLD, .event = EVENT, .user = 7, .hold = a.hold});
	turn(0);
	CHECK_EQ(h.reply_count, 0);
	add(r);
	turn(0);
	CHECK_EQ(h.reply_count, 0);
	flush(0);
	CHECK_EQ(h.reply_count, 2);
	CHECK_EQ(h.replies[0].deadline_ns, a.deadline_ns + 1000 * MS);
	CHECK(h.replies[0].sequence > a.sequence);
	CHECK_EQ(h.replies[1].deadline_ns, a.deadline_ns + 1000 * MS);
}

int main(void)
{
	TAP_RUN(test_loop_reserve_free_seats_is_held);
	TAP_RUN(test_loop_reserve_legs_are_one_hold);
	TAP_RUN(test_loop_reserve_leg_taken_takes_nothing);
	TAP_RUN(test_loop_reserve_no_such_seat_names_leg);
	TAP_RUN(test_loop_reserve_beyond_limit_is_refused);
	TAP_RUN(test_loop_reserve_hold_time_is_bounded);
	TAP_RUN(test_loop_unknown_event_is_named);
	TAP_RUN(test_loop_event_not_on_sale_takes_no_holds);
	TAP_RUN(test_loop_repeat_of_reserve_tells_state_of_now);
	TAP_RUN(test_loop_repeat_of_release_does_nothing);
	TAP_RUN(test_loop_repeat_of_refusal_is_not_tried);
	TAP_RUN(test_loop_numbered_query_uses_no_id);
	TAP_RUN(test_loop_hold_of_another_is_no_hold);
	TAP_RUN(test_loop_sold_hold_stays_sold);
	TAP_RUN(test_loop_deadline_is_exact_to_the_nanosecond);
	TAP_RUN(test_loop_deadline_passed_frees_seats_by_itself);
	TAP_RUN(test_loop_time_going_back_changes_nothing);
	TAP_RUN(test_loop_resume_gives_the_outage_back);
	TAP_RUN(test_loop_resume_is_told_when_durable);
	harness_close(&h);
	return tap_end();
}
