/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The auditor's book: what it finds wrong in records that apply() might let by.
 *
 * Owns:  one book.
 * Reads: nothing.
 * Never: the engine, files.
 */
#include <string.h>

#include "tests/tap.h"
#include "tools/ledger.h"

static struct ledger book;
static uint64_t sequence;

static struct ush_record of(enum ush_record_type type, uint8_t state, uint32_t amount)
{
	return (struct ush_record){.sequence = ++sequence,
		.type = (uint8_t)type,
		.run_count = 1,
		.state = state,
		.event = 1,
		.user = 7,
		.hold = 0x1234,
		.row = 2,
		.amount = amount};
}

static void put(struct ush_record r)
{
	CHECK_EQ(ledger_book(&book, &r, 1), 0);
}

/* With the user's time after it. */
static void put_timed(struct ush_record r, uint32_t held_s)
{
	struct ush_record run[2] = {r, of(USH_RECORD_TYPE_USER_TIME, 0, held_s)};

	CHECK_EQ(ledger_book(&book, run, 2), 0);
}

/* A hold of two seats for 50. */
static struct ush_record two_seats(void)
{
	struct ush_record r = of(USH_RECORD_TYPE_HOLD, USH_HOLD_STATE_HELD, 50);

	r.mask = 0x3;
	return r;
}

static struct ush_record cut(uint32_t amount)
{
	struct ush_record r = of(USH_RECORD_TYPE_CUT, USH_HOLD_STATE_HELD, amount);

	r.mask = 0x1;
	return r;
}

static void begin(void)
{
	ledger_close(&book);
	CHECK_EQ(ledger_open(&book), 0);
}

static bool found(const char *words)
{
	bool is_it = book.contradictions == 1 && strstr(book.first_fault.text, words) != NULL;

	if (!is_it)
		printf("# %llu: %s\n", (unsigned long long)book.contradictions,
			book.first_fault.text);
	return is_it;
}

/* Goal: sums of amounts follow holds through cuts, sales and refunds. */
static void test_ledger_amounts_are_summed(void)
{
	struct ush_record r;

	begin();
	put(two_seats());
	CHECK_EQ(book.amount_held, 50);
	put(cut(25));
	CHECK_EQ(book.amount_held, 25);
	put(of(USH_RECORD_TYPE_PAY_BEGIN, USH_HOLD_STATE_PAYING, 25));
	put(of(USH_RECORD_TYPE_PAY_END, USH_HOLD_STATE_SOLD, 25));
	CHECK_EQ(book.amount_held, 0);
	CHECK_EQ(book.amount_sold, 25);
	r = of(USH_RECORD_TYPE_REFUND_BEGIN, USH_HOLD_STATE_REFUNDING, 25);
	r.mask = 0x2;
	put(r);
	r = of(USH_RECORD_TYPE_REFUND_END, USH_HOLD_STATE_REFUNDED, 0);
	r.mask = 0x2;
	put(r);
	CHECK_EQ(book.amount_sold, 0);
	CHECK_EQ(book.contradictions, 0);
}

/* Goal: a payment, a cut and a refund of another amount are found. */
static void test_ledger_finds_other_amounts(void)
{
	struct ush_record r;

	begin();
	put(two_seats());
	put(of(USH_RECORD_TYPE_PAY_BEGIN, USH_HOLD_STATE_PAYING, 49));
	CHECK(found("is not what the hold costs"));
	begin();
	put(two_seats());
	put(cut(51));
	CHECK(found("costs more"));
	begin();
	put(two_seats());
	put(of(USH_RECORD_TYPE_CONFIRM, USH_HOLD_STATE_SOLD, 50));
	r = of(USH_RECORD_TYPE_REFUND_BEGIN, USH_HOLD_STATE_REFUNDING, 49);
	r.mask = 0x3;
	put(r);
	CHECK(found("refunds another amount"));
}

/* Goal: hold time is summed, and a charge that is missing, of the wrong change or of other than
 * whole seconds is found. */
static void test_ledger_reckons_time(void)
{
	begin();
	put_timed(two_seats(), 20);
	CHECK_EQ(book.seat_seconds, 20);
	put_timed(of(USH_RECORD_TYPE_EXTEND, USH_HOLD_STATE_HELD, 50), 24);
	put_timed(cut(25), 15);
	put_timed(of(USH_RECORD_TYPE_RELEASE, USH_HOLD_STATE_RELEASED, 25), 3);
	CHECK_EQ(book.seat_seconds, 3);
	CHECK_EQ(book.contradictions, 0);
	begin();
	put_timed(two_seats(), 21);
	CHECK(found("whole seconds"));
	begin();
	put_timed(two_seats(), 20);
	put(of(USH_RECORD_TYPE_EXTEND, USH_HOLD_STATE_HELD, 50));
	CHECK(found("nobody is charged"));
	begin();
	put_timed(two_seats(), 20);
	put_timed(of(USH_RECORD_TYPE_EXPIRE, USH_HOLD_STATE_EXPIRED, 50), 10);
	CHECK(found("the wrong way"));
}

/* Goal: a hold is sold late once, when it is over: also one that was sold and refunded. */
static void test_ledger_late_once(void)
{
	struct ush_record r;

	begin();
	put(two_seats());
	r = of(USH_RECORD_TYPE_LATE, USH_HOLD_STATE_SOLD, 25);
	r.request_id = 0x1234;
	r.hold = 0x99;
	r.row = 3;
	r.mask = 1;
	put(r);
	CHECK(found("not over"));
	begin();
	put(two_seats());
	put(of(USH_RECORD_TYPE_RELEASE, USH_HOLD_STATE_RELEASED, 50));
	put(r);
	CHECK_EQ(book.contradictions, 0);
	r.hold = 0xaa;
	r.row = 4;
	put(r);
	CHECK(found("twice"));
}

int main(void)
{
	TAP_RUN(test_ledger_amounts_are_summed);
	TAP_RUN(test_ledger_finds_other_amounts);
	TAP_RUN(test_ledger_reckons_time);
	TAP_RUN(test_ledger_late_once);
	ledger_close(&book);
	return tap_end();
}
