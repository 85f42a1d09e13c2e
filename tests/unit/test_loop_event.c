/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a loop decides about events: house seats, loading, status, sections, sold out.
 *
 * Owns:  one engine.
 * Reads: nothing.
 * Never: DPDK, files.
 */
#include "../ask.h"
#include "claim/claim.h"

/* ---- house seats ---- */

/* Goal: blocked seats are off sale, unblocked ones back; what is so already is no matter. */
static void test_loop_block_and_unblock_are_repeatable(void)
{
	struct ush_reply y, z;

	start();
	y = house(USH_OP_BLOCK, 0, 0xf);
	CHECK_EQ(y.status, USH_STATUS_OK);
	CHECK(y.sequence != 0);
	CHECK_EQ(view().house_count, 4);
	CHECK_EQ(view().free_count, 56);
	z = reserve(7, 1, 0, 0x18);
	CHECK_EQ(z.status, USH_STATUS_TAKEN);
	CHECK_EQ(z.hold, 0x8);
	y = house(USH_OP_BLOCK, 0, 0x3f);
	CHECK_EQ(y.status, USH_STATUS_OK);
	CHECK_EQ(view().house_count, 6);
	CHECK_EQ(house(USH_OP_BLOCK, 0, 0x3f).status, USH_STATUS_OK);
	CHECK_EQ(house(USH_OP_UNBLOCK, 0, 0x3f3).status, USH_STATUS_OK);
	CHECK_EQ(view().house_count, 2);
	CHECK_EQ(house(USH_OP_UNBLOCK, 0, 0x3f3).status, USH_STATUS_OK);
	CHECK_EQ(reserve(7, 2, 0, 0x3).status, USH_STATUS_OK);
	/* A held seat is no house seat: it stays held. */
	CHECK_EQ(house(USH_OP_UNBLOCK, 0, 0x7).status, USH_STATUS_OK);
	CHECK_EQ(view().house_count, 1);
	CHECK_EQ(view().free_count, 57);
	CHECK(audit_is_clean());
}

/* Goal: a block is all or nothing, too; what is in the way is told, in the order of the legs. */
static void test_loop_block_of_held_seat_takes_nothing(void)
{
	struct ush_leg legs[4] = {{.row = 5, .mask = 1}, {.row = 3, .mask = 0xf},
		{.row = 1, .mask = 0xff}, {.row = 0, .mask = 1}};
	struct ush_request block = {.op = USH_OP_BLOCK, .event = EVENT};
	struct ush_reply a, y;

	start();
	a = reserve(7, 1, 1, 0x6);
	CHECK_EQ(house(USH_OP_BLOCK, 1, 0x1).status, USH_STATUS_OK);
	y = ask_legs(block, legs, 4);
	CHECK_EQ(y.status, USH_STATUS_TAKEN);
	CHECK_EQ(y.detail, 2);
	CHECK_EQ(y.hold, 0x6);
	CHECK_EQ(view().house_count, 1);
	CHECK(audit_is_clean());
	CHECK_EQ(confirm(7, a.hold).status, USH_STATUS_OK);
	CHECK_EQ(ask_legs(block, legs, 4).status, USH_STATUS_TAKEN);
	legs[2].row = ROWS;
	y = ask_legs(block, legs, 4);
	CHECK_EQ(y.status, USH_STATUS_NO_SUCH_SEAT);
	CHECK_EQ(y.detail, 2);
	block.op = USH_OP_UNBLOCK;
	CHECK_EQ(ask_legs(block, legs, 4).status, USH_STATUS_NO_SUCH_SEAT);
	legs[2].row = 2;
	CHECK_EQ(ask_legs(block, legs, 4).status, USH_STATUS_OK);
	block.op = USH_OP_BLOCK;
	CHECK_EQ(ask_legs(block, legs, 4).status, USH_STATUS_OK);
	CHECK_EQ(view().house_count, 1 + 1 + 4 + 8 + 1);
	CHECK(audit_is_clean());
}

/* ---- events ---- */

static struct ush_reply load(uint32_t id, struct ush_event *event)
{
	struct ush_request r = {.op = USH_OP_EVENT_LOAD, .event = id};

	return harness_ask_with(&h, &r, NULL, 0, event);
}

static struct ush_event *built(uint32_t id, uint32_t rows)
{
	struct ush_event *event = NULL;
	size_t bytes;
	void *image = harness_image(rows, 5, 8, &bytes);

	CHECK_EQ(ush_engine_event_build(h.engine, id, image, bytes, &event, NULL), 0);
	free(image);
	return event;
}

static uint32_t last_loaded;

static struct ush_reply set_status_of(uint32_t id, uint64_t status)
{
	return ask((struct ush_request){.op = USH_OP_EVENT_STATUS, .event = id, .arg = status});
}

/* Goal: an event is loaded once; the same image again is fine, another is not; without an image, or
 * with that of another id, nothing is loaded. */
static void test_loop_event_load_twice_keeps_the_first(void)
{
	struct ush_event_view v;
	struct ush_reply y;

	start();
	CHECK_EQ(load(5, NULL).status, USH_STATUS_BAD_IMAGE);
	CHECK_EQ(load(5, built(6, 3)).status, USH_STATUS_BAD_IMAGE);
	CHECK(!ush_engine_event_view(h.engine, 5, &v));
	y = load(5, built(5, 3));
	CHECK_EQ(y.status, USH_STATUS_OK);
	CHECK_EQ(y.amount, 15);
	CHECK_EQ(y.detail, 0);
	CHECK(ush_engine_event_view(h.engine, 5, &v));
	CHECK_EQ(v.status, USH_EVENT_STATUS_DRAFT);
	y = load(5, built(5, 3));
	CHECK_EQ(y.status, USH_STATUS_OK);
	CHECK_EQ(y.detail, 1);
	CHECK_EQ(y.amount, 15);
	y = load(5, built(5, 4));
	CHECK_EQ(y.status, USH_STATUS_EVENT_EXISTS);
	CHECK_EQ(y.detail, 1);
	CHECK_EQ(y.amount, 15);
	CHECK(audit_is_clean());
}

/* What may follow what; as docs/protocol.md has it. */
static const char *const follows[USH_EVENT_STATUS_COUNT] = {
	[USH_EVENT_STATUS_NONE] = "",
	[USH_EVENT_STATUS_DRAFT] = "1236",
	[USH_EVENT_STATUS_ON_SALE] = "2356",
	[USH_EVENT_STATUS_PAUSED] = "2356",
	[USH_EVENT_STATUS_SOLD_OUT] = "",
	[USH_EVENT_STATUS_COMPLETED] = "356",
	[USH_EVENT_STATUS_CANCELLED] = "6",
};

/* A new event in that status. */
static void start_in(uint32_t status)
{
	static uint32_t next;

	if (next == 0 || next > 200) {
		start();
		next = 10;
	}
	next++;
	CHECK_EQ(load(next, built(next, 1)).status, USH_STATUS_OK);
	if (status == USH_EVENT_STATUS_COMPLETED)
		set_status_of(next, USH_EVENT_STATUS_ON_SALE);
	if (status != USH_EVENT_STATUS_DRAFT)
		CHECK_EQ(set_status_of(next, status).status, USH_STATUS_OK);
	last_loaded = next;
}

/* Goal: each status is reached from where it may be, and from nowhere else; a refusal names the
 * status there is, and changes nothing. Method: all pairs, and what is no status. */
static void test_loop_event_status_goes_only_where_it_may(void)
{
	struct ush_event_view v;

	start();
	for (uint32_t from = 1; from < USH_EVENT_STATUS_COUNT; from++) {
		if (from == USH_EVENT_STATUS_SOLD_OUT)
			continue;
		for (uint64_t to = 0; to < USH_EVENT_STATUS_COUNT + 2u; to++) {
			bool may = to < 10 && strchr(follows[from], (int)('0' + to)) != NULL;
			struct ush_reply y;

			start_in(from);
			y = set_status_of(last_loaded, to);
			CHECK_EQ(ush_event_status_follows(from, (uint32_t)to), may);
			CHECK(ush_engine_event_view(h.engine, last_loaded, &v));
			CHECK_EQ(v.status, may ? to : from);
			if (may) {
				CHECK_EQ(y.status, USH_STATUS_OK);
				CHECK_EQ(y.detail, to);
			} else if (to == USH_EVENT_STATUS_NONE || to == USH_EVENT_STATUS_SOLD_OUT ||
				   to > USH_EVENT_STATUS_CANCELLED) {
				CHECK_EQ(y.status, USH_STATUS_BAD_REQUEST);
				CHECK_EQ(y.detail, USH_FAULT_ARGUMENT);
			} else {
				CHECK_EQ(y.status, USH_STATUS_WRONG_STATUS);
				CHECK_EQ(y.detail, from);
			}
		}
	}
	CHECK_EQ(set_status(UINT64_MAX).detail, USH_FAULT_ARGUMENT);
	CHECK_EQ(set_status(1ull << 32 | USH_EVENT_STATUS_PAUSED).detail, USH_FAULT_ARGUMENT);
	CHECK(!ush_event_status_follows(UINT32_MAX, 1) && !ush_event_status_follows(1, UINT32_MAX));
}

/* Goal: STATUS tells free seats and the event's status; of event 0 that the box is there. */
static void test_loop_status_tells_free_seats(void)
{
	struct ush_reply y;

	start();
	CHECK_EQ(reserve(7, 1, 0, 0x3ff).status, USH_STATUS_OK);
	y = ask((struct ush_request){.op = USH_OP_STATUS, .event = EVENT, .request_id = 3});
	CHECK_EQ(y.status, USH_STATUS_OK);
	CHECK_EQ(y.amount, 50);
	CHECK_EQ(y.detail, USH_EVENT_STATUS_ON_SALE);
	CHECK_EQ(y.request_id, 3);
	y = ask((struct ush_request){.op = USH_OP_STATUS});
	CHECK_EQ(y.status, USH_STATUS_OK);
	CHECK_EQ(y.amount | y.detail, 0);
	/* Answered by the control port itself; a loop does not know it. */
	CHECK_EQ(ask((struct ush_request){.op = USH_OP_STATS}).status, USH_STATUS_BAD_OP);
	CHECK_EQ(ask((struct ush_request){.op = USH_OP_KEY_ROTATE}).status, USH_STATUS_BAD_OP);
}

/* Goal: sold out is told in STATUS and to RESERVE, not while a hold lives, and not after a house
 * seat was put on sale. */
static void test_loop_sold_out_is_told_until_unblocked(void)
{
	struct ush_request status = {.op = USH_OP_STATUS, .event = EVENT};
	struct ush_reply a;

	start();
	CHECK_EQ(house(USH_OP_BLOCK, 0, 0x1).status, USH_STATUS_OK);
	a = reserve(100, 1, 0, 0x3fe);
	for (uint32_t row = 1; row < ROWS; row++) {
		struct ush_reply b = reserve(100 + row, 1, (uint16_t)row, 0x3ff);
		CHECK_EQ(confirm(100 + row, b.hold).status, USH_STATUS_OK);
	}
	/* The last hold lives: it may come back. */
	CHECK_EQ(ask(status).detail, USH_EVENT_STATUS_ON_SALE);
	CHECK_EQ(reserve(7, 1, 0, 0x2).status, USH_STATUS_TAKEN);
	CHECK_EQ(confirm(100, a.hold).status, USH_STATUS_OK);
	CHECK_EQ(ask(status).detail, USH_EVENT_STATUS_SOLD_OUT);
	CHECK_EQ(view().status, USH_EVENT_STATUS_SOLD_OUT);
	CHECK_EQ(reserve(7, 2, 0, 0x2).status, USH_STATUS_SOLD_OUT);
	/* What was accepted is still answered. */
	CHECK_EQ(reserve(100, 1, 0, 0x3fe).status, USH_STATUS_OK);
	CHECK_EQ(house(USH_OP_UNBLOCK, 0, 0x1).status, USH_STATUS_OK);
	CHECK_EQ(ask(status).detail, USH_EVENT_STATUS_ON_SALE);
	CHECK_EQ(reserve(7, 3, 0, 0x1).status, USH_STATUS_OK);
}

/* Goal: sold out is declared only when the last sale is durable. */
static void test_loop_sold_out_is_told_when_durable(void)
{
	struct ush_request last = {.op = USH_OP_CONFIRM, .event = OTHER, .user = 7};
	struct ush_event_view v;
	struct ush_packet packet;

	start();
	for (uint32_t row = 0; row < ROWS; row++) {
		struct ush_request r = harness_reserve(OTHER, 100 + row, 1, (uint16_t)row, 0x3ff);
		struct ush_reply a = ask(r);
		last.user = r.user;
		last.hold = a.hold;
		if (row + 1 < ROWS)
			CHECK_EQ(ask(last).status, USH_STATUS_OK);
	}
	packet = harness_packet(&h, &last, NULL, 0);
	harness_turn(&h, 0, &packet, 1);
	CHECK_EQ(h.reply_count, 0);
	CHECK(ush_engine_event_view(h.engine, OTHER, &v));
	CHECK_EQ(v.sold_count, 60);
	CHECK_EQ(v.status, USH_EVENT_STATUS_ON_SALE);
	last = harness_reserve(OTHER, 8, 1, 0, 1);
	packet = harness_packet(&h, &last, NULL, 0);
	harness_turn(&h, 0, &packet, 1);
	CHECK_EQ(h.reply_count, 1);
	CHECK_EQ(h.replies[0].status, USH_STATUS_TAKEN);
	harness_make_durable(&h);
	CHECK(ush_engine_event_view(h.engine, OTHER, &v));
	CHECK_EQ(v.status, USH_EVENT_STATUS_SOLD_OUT);
	harness_turn(&h, 0, NULL, 0);
	CHECK_EQ(h.reply_count, 1);
	last.request_id = 2;
	CHECK_EQ(ask(last).status, USH_STATUS_SOLD_OUT);
}

int main(void)
{
	TAP_RUN(test_loop_block_and_unblock_are_repeatable);
	TAP_RUN(test_loop_block_of_held_seat_takes_nothing);
	TAP_RUN(test_loop_event_load_twice_keeps_the_first);
	TAP_RUN(test_loop_event_status_goes_only_where_it_may);
	TAP_RUN(test_loop_status_tells_free_seats);
	TAP_RUN(test_loop_sold_out_is_told_until_unblocked);
	TAP_RUN(test_loop_sold_out_is_told_when_durable);
	harness_close(&h);
	return tap_end();
}
