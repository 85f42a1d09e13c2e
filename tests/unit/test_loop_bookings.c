/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The list of an event's bookings.
 *
 * Owns:  one engine.
 * Reads: nothing.
 * Never: DPDK, files.
 */
#include "../ask.h"

#define REFUND (1ull << 32)
#define LIST_MAX 1024u

static struct ush_booking list[LIST_MAX];
static uint32_t list_count;

static struct ush_reply page(uint64_t arg)
{
	return ask((struct ush_request){.op = USH_OP_BOOKINGS, .event = EVENT, .arg = arg});
}

/* Takes the entries of the reply of the last turn. */
static void take_entries(const struct ush_reply *reply)
{
	const uint8_t *at = h.out.send[0].data + h.out.send[0].payload_at + USH_REPLY_BYTES;
	struct ush_extension_header header;

	if (reply->extension_count == 0) {
		CHECK_EQ(reply->size, USH_REPLY_BYTES);
		CHECK_EQ(reply->amount, 0);
		return;
	}
	memcpy(&header, at, sizeof(header));
	CHECK_EQ(header.type, USH_EXTENSION_BOOKINGS);
	CHECK_EQ(header.size, sizeof(header) + header.value * sizeof(struct ush_booking));
	CHECK_EQ(reply->size, USH_REPLY_BYTES + header.size);
	CHECK(list_count + header.value <= LIST_MAX);
	memcpy(&list[list_count], at + sizeof(header), header.value * sizeof(struct ush_booking));
	list_count += header.value;
}

/* All pages. ret: how many. */
static uint32_t list_all(uint64_t flags)
{
	uint32_t pages = 0, holds = 0;
	uint64_t cursor = 0;

	list_count = 0;
	do {
		struct ush_reply reply = page(flags | cursor);

		CHECK_EQ(reply.status, USH_STATUS_OK);
		take_entries(&reply);
		holds += (uint32_t)reply.amount;
		cursor = reply.detail;
		pages++;
	} while (cursor != 0 && pages < 100);
	CHECK_EQ(cursor, 0);
	for (uint32_t i = 0; i < list_count; i++)
		holds -= list[i].leg == 0;
	CHECK_EQ(holds, 0);
	return pages;
}

static const struct ush_booking *entry_of(uint64_t hold)
{
	for (uint32_t i = 0; i < list_count; i++) {
		if (list[i].hold == hold)
			return &list[i];
	}
	return NULL;
}

static struct ush_reply pay(uint8_t op, uint64_t user, const struct ush_reply *hold, uint64_t arg)
{
	return ask((struct ush_request){.op = op,
		.event = EVENT,
		.user = user,
		.hold = hold->hold,
		.section = hold->hold_version,
		.hold_ms = op == USH_OP_PAY_BEGIN ? 60000 : 0,
		.arg = arg});
}

/* Goal: each state is listed where it should be, with what a refund needs. */
static void test_bookings_states_are_listed(void)
{
	struct ush_reply held, paying, sold, refunding, other;
	const struct ush_booking *e;

	start();
	CHECK_EQ(list_all(0), 4);
	CHECK_EQ(list_count, 0);
	held = reserve(7, 1, 0, 0x3);
	paying = reserve(8, 1, 1, 0x5);
	paying = pay(USH_OP_PAY_BEGIN, 8, &paying, paying.amount);
	CHECK_EQ(paying.state, USH_HOLD_STATE_PAYING);
	sold = reserve(9, 1, 2, 0x30);
	sold = confirm(9, sold.hold);
	refunding = reserve(10, 1, 3, 0x300);
	refunding = confirm(10, refunding.hold);
	refunding = pay(USH_OP_REFUND_BEGIN, 10, &refunding, 0);
	CHECK_EQ(refunding.state, USH_HOLD_STATE_REFUNDING);
	other = ask(harness_reserve(OTHER, 7, 1, 0, 0x3));
	release(7, reserve(7, 2, 5, 1).hold, 3);
	list_all(0);
	CHECK_EQ(list_count, 4);
	CHECK(entry_of(other.hold) == NULL);
	e = entry_of(held.hold);
	CHECK(e != NULL && e->user == 7 && e->row == 0 && e->mask == 0x3 && e->legs == 1 &&
		e->leg == 0 && e->state == USH_HOLD_STATE_HELD && e->version == 1 &&
		e->deadline_ns == held.deadline_ns && e->amount == held.amount);
	list_all(REFUND);
	CHECK_EQ(list_count, 3);
	CHECK(entry_of(held.hold) == NULL);
	e = entry_of(paying.hold);
	CHECK(e != NULL && e->state == USH_HOLD_STATE_PAYING && e->version == 2 && e->mask == 0x5);
	e = entry_of(sold.hold);
	CHECK(e != NULL && e->state == USH_HOLD_STATE_SOLD && e->user == 9 &&
		e->version == sold.hold_version && e->amount == sold.amount);
	e = entry_of(refunding.hold);
	CHECK(e != NULL && e->state == USH_HOLD_STATE_REFUNDING);
	/* Refunded: no booking any more. */
	CHECK_EQ(pay(USH_OP_REFUND_END, 10, &refunding, USH_OUTCOME_SUCCEEDED).status,
		USH_STATUS_OK);
	list_all(REFUND);
	CHECK_EQ(list_count, 2);
	CHECK(audit_is_clean());
}

/* Goal: all legs of a hold stand in one page; one that was given back is not among them; a hold
 * past its deadline is listed until it has ended. */
static void test_bookings_legs_stay_together(void)
{
	struct ush_leg legs[3] = {
		{.row = 0, .mask = 0x3}, {.row = 2, .mask = 0x3}, {.row = 4, .mask = 0x3}};
	struct ush_reply held, cut;
	const struct ush_booking *e;

	start();
	held = ask_legs((struct ush_request){.op = USH_OP_RESERVE,
				.event = EVENT,
				.user = 7,
				.request_id = 1,
				.hold_ms = 1000},
		legs, 3);
	CHECK_EQ(held.status, USH_STATUS_OK);
	list_all(0);
	CHECK_EQ(list_count, 3);
	for (uint32_t i = 0; i < 3; i++)
		CHECK(list[i].leg == i && list[i].legs == 3 && list[i].row == 2 * i);
	cut = ask((struct ush_request){.op = USH_OP_RELEASE,
		.event = EVENT,
		.user = 7,
		.request_id = 2,
		.hold = held.hold,
		.row = 2,
		.mask = 0x3});
	CHECK_EQ(cut.status, USH_STATUS_OK);
	list_all(0);
	CHECK_EQ(list_count, 2);
	e = entry_of(held.hold);
	CHECK(e != NULL && e->legs == 2 && e->version == 2 && list[1].leg == 1 && list[1].row == 4);
	/* Until its record says so, which the wheel writes a little later. */
	h.now_ns += 1000 * MS;
	list_all(0);
	e = entry_of(held.hold);
	CHECK(e != NULL && e->state == USH_HOLD_STATE_HELD && e->deadline_ns <= h.now_ns);
	for (uint32_t i = 0; i < 8 && page(0).amount != 0; i++)
		h.now_ns += 10 * MS;
	CHECK_EQ(page(0).amount, 0);
}

/* Goal: pages are bounded, by entries and by lines, and together they are all; a hold that changes
 * hands between two pages is in one. Method: more holds than a page has room for, and a table of
 * many lines. */
static void test_bookings_pages_are_bounded(void)
{
	struct ush_engine_limits limits;
	struct ush_reply first, last, reply;

	harness_limits_small(&limits);
	limits.hold_count = 5000;
	start_with(&limits);
	first = reserve(100, 1, 0, 1);
	CHECK_EQ(confirm(100, first.hold).status, USH_STATUS_OK);
	last = first;
	for (uint32_t i = 1; i < 60; i++) {
		last = reserve(100 + i, 1, (uint16_t)(i / 10), 1ull << i % 10);
		last = confirm(100 + i, last.hold);
		CHECK_EQ(last.status, USH_STATUS_OK);
	}
	CHECK(list_all(REFUND) >= 5);
	CHECK_EQ(list_count, 60);
	list_count = 0;
	reply = page(REFUND);
	take_entries(&reply);
	CHECK(list_count < 60 && reply.detail != 0);
	/* To a user of the first page, and from one. */
	CHECK_EQ(pay(USH_OP_TRANSFER, 159, &last, 100).status, USH_STATUS_OK);
	first = confirm(100, first.hold);
	CHECK_EQ(pay(USH_OP_TRANSFER, 100, &first, 300).status, USH_STATUS_OK);
	while (reply.detail != 0) {
		reply = page(REFUND | reply.detail);
		take_entries(&reply);
	}
	CHECK_EQ(list_count, 60);
	for (uint32_t i = 0; i < 60; i++)
		CHECK(entry_of(list[i].hold) == &list[i]);
	CHECK_EQ(entry_of(last.hold)->user, 100);
}

/* Goal: what is not understood is refused by name. */
static void test_bookings_refusals_are_named(void)
{
	struct ush_request r = {.op = USH_OP_BOOKINGS, .event = 3};
	struct ush_reply reply;

	start();
	CHECK_EQ(ask(r).status, USH_STATUS_UNKNOWN_EVENT);
	for (uint32_t bit = 33; bit < 64; bit++) {
		reply = page(1ull << bit);
		CHECK_EQ(reply.status, USH_STATUS_BAD_REQUEST);
		CHECK_EQ(reply.detail, USH_FAULT_ARGUMENT);
	}
	/* A cursor that no page has given is no harm. */
	CHECK_EQ(page(UINT32_MAX).status, USH_STATUS_OK);
	CHECK_EQ(page(UINT32_MAX).detail, 0);
}

/* Goal: a page waits for what it tells, like any answer. Method: the harness asserts it; a sale in
 * the same burst. */
static void test_bookings_page_waits_for_the_disk(void)
{
	struct ush_reply held;

	start();
	held = reserve(7, 1, 0, 0x3);
	add((struct ush_request){
		.op = USH_OP_CONFIRM, .event = EVENT, .user = 7, .hold = held.hold});
	add((struct ush_request){.op = USH_OP_BOOKINGS, .event = EVENT, .arg = REFUND});
	turn(0);
	CHECK_EQ(h.reply_count, 0);
	flush(0);
	CHECK_EQ(h.reply_count, 2);
	CHECK_EQ(reply_of(1).amount, 1);
	CHECK(reply_of(1).sequence >= reply_of(0).sequence);
}

/* Goal: an event that is cancelled lists what was sold, and nothing more is. */
static void test_bookings_of_a_cancelled_event(void)
{
	struct ush_reply held, sold;

	start();
	held = reserve(7, 1, 0, 0x3);
	sold = reserve(8, 1, 1, 0x3);
	CHECK_EQ(confirm(8, sold.hold).status, USH_STATUS_OK);
	CHECK_EQ(set_status(USH_EVENT_STATUS_CANCELLED).status, USH_STATUS_OK);
	CHECK_EQ(pay(USH_OP_PAY_BEGIN, 7, &held, held.amount).status, USH_STATUS_NOT_ON_SALE);
	list_all(REFUND);
	CHECK_EQ(list_count, 1);
	CHECK_EQ(list[0].hold, sold.hold);
}

int main(void)
{
	TAP_RUN(test_bookings_states_are_listed);
	TAP_RUN(test_bookings_legs_stay_together);
	TAP_RUN(test_bookings_pages_are_bounded);
	TAP_RUN(test_bookings_refusals_are_named);
	TAP_RUN(test_bookings_page_waits_for_the_disk);
	TAP_RUN(test_bookings_of_a_cancelled_event);
	harness_close(&h);
	return tap_end();
}
