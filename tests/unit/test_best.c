/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RESERVE_BEST and RESERVE_AREA through the whole turn, and the orphan rule of RESERVE.
 *
 * Owns:  one engine.
 * Reads: USH_SEED.
 * Never: DPDK, files.
 */
#include "../ask.h"
#include "../replay.h"
#include "loop/internal.h"

#define HALL 3u
#define TIER_FLAG (2ull << 24)
#define SECTION_FLAG (1ull << 24)

static struct ush_leg seats[USH_LEG_COUNT_MAX];
static uint32_t seat_legs;

/* Asks, and keeps the seats that the reply names. */
static struct ush_reply ask_best(
	uint8_t op, uint32_t event, uint64_t user, uint32_t id, uint64_t arg, uint16_t section)
{
	struct ush_request request = {.op = op,
		.event = event,
		.user = user,
		.request_id = id,
		.arg = arg,
		.section = section};
	struct ush_reply reply = harness_ask(&h, &request);
	const struct ush_packet *packet = &h.out.send[0];

	seat_legs = 0;
	if (h.reply_count == 1 && reply.extension_count == 1) {
		seat_legs = (reply.size - 72u) / sizeof(struct ush_leg);
		memcpy(seats, packet->data + 72, reply.size - 72u);
		CHECK_EQ(packet->data[64], USH_EXTENSION_SEATS);
	}
	return reply;
}

static struct ush_reply best(uint64_t user, uint32_t id, uint64_t arg)
{
	return ask_best(USH_OP_RESERVE_BEST, EVENT, user, id, arg, 0);
}

/* A hall: section 0 three rows of ten in tier 0 (row 1 with a wheelchair place and its companion),
 * section 1 an area of 100 places in tier 1. */
static void open_rules(uint16_t rules)
{
	static const struct ush_venue_tier tiers[2] = {{.price = 5000}, {.price = 2000}};
	static const struct ush_venue_section sections[2] = {{0, 3}, {3, 2}};
	struct ush_venue_row rows[5] = {{.seats = 0x3ff}, {.seats = 0x3ff}, {.seats = 0x3ff},
		{.seats = ~0ull, .section = 1, .flags = 1, .tier = {1, 1, 1, 1}},
		{.seats = (1ull << 36) - 1, .section = 1, .flags = 1, .tier = {1, 1, 1, 1}}};
	struct harness_venue venue = {.header = {.magic = USH_VENUE_MAGIC,
					      .version = USH_VENUE_VERSION,
					      .tier_count = 2,
					      .section_count = 2,
					      .row_count = 5,
					      .hold_ms = 60000,
					      .hold_ms_max = 60000,
					      .user_seats_max = 60,
					      .best = rules,
					      .currency = "EUR",
					      .name = "hall"},
		.tiers = tiers,
		.sections = sections,
		.rows = rows};
	size_t bytes;
	void *image;

	rows[1].accessible = 1;
	rows[1].companion = 2;
	start();
	image = harness_image_of(&venue, &bytes);
	harness_event_of(&h, HALL, image, bytes);
	free(image);
}

/* Goal: the best seats are held as if named, and the reply names them. */
static void test_best_reply_names_the_seats(void)
{
	struct ush_reply y;

	start();
	y = best(1, 1, 4);
	CHECK_EQ(y.status, USH_STATUS_OK);
	CHECK_EQ(y.size, 64 + 8 + 16);
	CHECK_EQ(y.state, USH_HOLD_STATE_HELD);
	CHECK_EQ(y.amount, 4 * 2500);
	CHECK_EQ(seat_legs, 1);
	CHECK_EQ(seats[0].row, 0);
	CHECK_EQ(seats[0].mask, 0x78);
	CHECK_EQ(reserve(2, 1, 0, 0x40).status, USH_STATUS_TAKEN);
	/* 3 and 3 are left: three fit without an orphan, two leave one. */
	y = best(3, 1, 2);
	CHECK_EQ(seats[0].row, 1);
	y = best(3, 2, 3);
	CHECK_EQ(seats[0].row, 0);
	CHECK_EQ(seats[0].mask, 0x380 >> (7 * (seats[0].mask == 7)));
	CHECK(audit_is_clean());
}

/* Goal: a repeat gets the same seats, also after a restart; another body is MISMATCH. */
static void test_best_repeat_gets_the_same_seats(void)
{
	struct ush_reply first, again;
	struct ush_leg leg;

	start();
	first = best(1, 1, 3);
	leg = seats[0];
	best(2, 1, 3);
	again = best(1, 1, 3);
	CHECK_EQ(again.status, USH_STATUS_OK);
	CHECK_EQ(again.detail, 1);
	CHECK_EQ(again.hold, first.hold);
	CHECK_EQ(seat_legs, 1);
	CHECK_EQ(seats[0].row, leg.row);
	CHECK_EQ(seats[0].mask, leg.mask);
	CHECK_EQ(best(1, 1, 4).status, USH_STATUS_MISMATCH);
	CHECK_EQ(reserve(1, 1, 0, 1).status, USH_STATUS_MISMATCH);
	CHECK_EQ(release(1, first.hold, 2).status, USH_STATUS_OK);
	again = best(1, 1, 3);
	CHECK_EQ(again.status, USH_STATUS_OK);
	CHECK_EQ(again.state, USH_HOLD_STATE_FREE);
	CHECK_EQ(seat_legs, 0);
}

/* Goal: each refusal by name. */
static void test_best_refusals(void)
{
	uint32_t id = 1;

	start();
	CHECK_EQ(best(1, id++, LIMIT + 1).status, USH_STATUS_LIMIT);
	CHECK_EQ(best(1, id, LIMIT + 1).detail, LIMIT);
	id++;
	CHECK_EQ(best(1, id++, 11).status, USH_STATUS_NONE);
	for (uint64_t user = 2; user <= 4; user++)
		CHECK_EQ(best(user, 1, 10).status, USH_STATUS_OK);
	for (uint64_t user = 5; user <= 7; user++)
		CHECK_EQ(best(user, 1, 10).status, USH_STATUS_OK);
	CHECK_EQ(best(1, id++, 1).status, USH_STATUS_NONE);
	/* A NONE is remembered: what is free now does not change it. */
	CHECK_EQ(house(USH_OP_BLOCK, 0, 1).status, USH_STATUS_TAKEN);
	CHECK_EQ(best(1, id, 0).detail, USH_FAULT_ARGUMENT);
	CHECK_EQ(best(1, id, 1ull << 27 | 1).detail, USH_FAULT_ARGUMENT);
	CHECK_EQ(best(1, id, 1ull << 48 | 1).detail, USH_FAULT_ARGUMENT);
	CHECK_EQ(best(1, id, 1ull << 16 | 1).detail, USH_FAULT_ARGUMENT);
	CHECK_EQ(best(1, id, TIER_FLAG | 1ull << 16 | 1).detail, USH_FAULT_ARGUMENT);
	CHECK_EQ(best(1, id, 1ull << 40 | 2).detail, USH_FAULT_ARGUMENT);
	CHECK_EQ(ask_best(USH_OP_RESERVE_BEST, EVENT, 1, id, 1, 1).detail, USH_FAULT_UNUSED);
	CHECK_EQ(ask_best(USH_OP_RESERVE_BEST, EVENT, 1, id, SECTION_FLAG | 1, 1).detail,
		USH_FAULT_SECTION);
	CHECK_EQ(ask_best(USH_OP_RESERVE_AREA, EVENT, 1, id, 1, 0).detail, USH_FAULT_SECTION);
	CHECK_EQ(ask_best(USH_OP_RESERVE_BEST, 99, 1, id, 1, 0).status, USH_STATUS_UNKNOWN_EVENT);
	set_status(USH_EVENT_STATUS_PAUSED);
	CHECK_EQ(best(1, id, 1).status, USH_STATUS_NOT_ON_SALE);
	CHECK(audit_is_clean());
}

/* Goal: a house seat put on sale, a release and an expiry are all found by a later search. */
static void test_best_finds_what_came_back(void)
{
	struct ush_reply y;

	start();
	CHECK_EQ(house(USH_OP_BLOCK, 5, 0x3ff).status, USH_STATUS_OK);
	for (uint64_t user = 1; user <= 5; user++)
		y = best(user, 1, 10);
	CHECK_EQ(best(6, 1, 2).status, USH_STATUS_NONE);
	CHECK_EQ(house(USH_OP_UNBLOCK, 5, 0x30).status, USH_STATUS_OK);
	CHECK_EQ(best(6, 2, 2).status, USH_STATUS_OK);
	CHECK_EQ(seats[0].mask, 0x30);
	CHECK_EQ(best(7, 1, 10).status, USH_STATUS_NONE);
	CHECK_EQ(release(5, y.hold, 2).status, USH_STATUS_OK);
	CHECK_EQ(best(7, 2, 10).status, USH_STATUS_OK);
	CHECK_EQ(best(8, 1, 9).status, USH_STATUS_NONE);
	pass(61 * HARNESS_SECOND);
	CHECK_EQ(best(8, 2, 9).status, USH_STATUS_OK);
	CHECK(audit_is_clean());
}

/* Goal: areas and seats side by side; wheelchair places only to those who ask. */
static void test_best_hall_of_seats_and_area(void)
{
	struct ush_reply y;

	open_rules(0);
	y = ask_best(USH_OP_RESERVE_AREA, HALL, 1, 1, 40, 1);
	CHECK_EQ(y.status, USH_STATUS_OK);
	CHECK_EQ(y.amount, 40 * 2000);
	CHECK_EQ(seats[0].row, 3);
	y = ask_best(USH_OP_RESERVE_AREA, HALL, 2, 1, 50, 1);
	CHECK_EQ(y.status, USH_STATUS_OK);
	CHECK_EQ(seat_legs, 2);
	CHECK_EQ(ush_popcount64(seats[0].mask) + ush_popcount64(seats[1].mask), 50);
	CHECK_EQ(ask_best(USH_OP_RESERVE_AREA, HALL, 3, 1, 11, 1).status, USH_STATUS_NONE);
	CHECK_EQ(ask_best(USH_OP_RESERVE_AREA, HALL, 3, 2, 10, 1).status, USH_STATUS_OK);
	CHECK_EQ(ask_best(USH_OP_RESERVE_AREA, HALL, 3, 3, 1, 0).detail, USH_FAULT_SECTION);
	CHECK_EQ(ask_best(USH_OP_RESERVE_BEST, HALL, 3, 3, SECTION_FLAG | 1, 1).detail,
		USH_FAULT_SECTION);
	/* The cheap tier is the area, which has no seats. */
	y = ask_best(USH_OP_RESERVE_BEST, HALL, 3, 3, TIER_FLAG | 1ull << 16 | 1, 0);
	CHECK_EQ(y.status, USH_STATUS_NONE);
	y = ask_best(USH_OP_RESERVE_BEST, HALL, 4, 1, 1ull << 40 | 1ull << 32 | 3, 0);
	CHECK_EQ(y.status, USH_STATUS_OK);
	CHECK_EQ(seats[0].row, 1);
	CHECK_EQ(seats[0].mask, 7);
	/* 7 seats are left in row 1, 10 in rows 0 and 2. */
	CHECK_EQ(ask_best(USH_OP_RESERVE_BEST, HALL, 5, 1, 10, 0).status, USH_STATUS_OK);
	CHECK_EQ(ask_best(USH_OP_RESERVE_BEST, HALL, 5, 2, 10, 0).status, USH_STATUS_OK);
	CHECK_EQ(ask_best(USH_OP_RESERVE_BEST, HALL, 5, 3, 8, 0).status, USH_STATUS_NONE);
	CHECK_EQ(ask_best(USH_OP_RESERVE_BEST, HALL, 5, 4, 7, 0).status, USH_STATUS_OK);
	CHECK(audit_is_clean());
}

/* Goal: an event may split groups, and a request may forbid it. */
static void test_best_split_is_the_events(void)
{
	open_rules(USH_BEST_SPLIT_TWO_ROWS << 3);
	CHECK_EQ(ask_best(USH_OP_RESERVE_BEST, HALL, 1, 1, 12 | 4ull << 24, 0).status,
		USH_STATUS_NONE);
	CHECK_EQ(ask_best(USH_OP_RESERVE_BEST, HALL, 1, 2, 12, 0).status, USH_STATUS_OK);
	CHECK_EQ(seat_legs, 2);
	CHECK_EQ(ush_popcount64(seats[0].mask), 6);
	CHECK_EQ(ush_popcount64(seats[1].mask), 6);
	open_rules(USH_BEST_SPLIT_SAME_SECTION << 3);
	CHECK_EQ(ask_best(USH_OP_RESERVE_BEST, HALL, 1, 1, 28, 0).status, USH_STATUS_OK);
	CHECK_EQ(seat_legs, 3);
	CHECK_EQ(ask_best(USH_OP_RESERVE_BEST, HALL, 1, 2, 1, 0).status, USH_STATUS_NONE);
	CHECK(audit_is_clean());
}

/* Goal: the back first, where the event says so. */
static void test_best_objective_is_the_events(void)
{
	open_rules(USH_BEST_OBJECTIVE_BACK);
	ask_best(USH_OP_RESERVE_BEST, HALL, 1, 1, 2, 0);
	CHECK_EQ(seats[0].row, 2);
}

/* Goal: exact seats that leave a single one are refused where the event minds, and only there, and
 * no longer near sell-out. The id is not used up. */
static void test_best_orphan_of_exact_seats(void)
{
	struct ush_reply y;

	start();
	CHECK_EQ(reserve(1, 1, 0, 2).status, USH_STATUS_OK);
	open_rules(USH_BEST_ORPHANS_REFUSE << 5 | 51 << 8);
	y = ask(harness_reserve(HALL, 1, 1, 0, 2));
	CHECK_EQ(y.status, USH_STATUS_ORPHAN);
	CHECK_EQ(y.hold, 1);
	CHECK_EQ(y.detail, 0);
	CHECK_EQ(ask(harness_reserve(HALL, 1, 1, 0, 3)).status, USH_STATUS_OK);
	/* Taken seats are told of first. */
	CHECK_EQ(ask(harness_reserve(HALL, 1, 2, 0, 0xa)).status, USH_STATUS_TAKEN);
	/* No orphan: a place, a companion seat, an area. */
	CHECK_EQ(ask(harness_reserve(HALL, 1, 3, 1, 2)).status, USH_STATUS_OK);
	CHECK_EQ(ask(harness_reserve(HALL, 1, 4, 3, 2)).status, USH_STATUS_OK);
	CHECK_EQ(ask(harness_reserve(HALL, 1, 5, 2, 0x104)).status, USH_STATUS_ORPHAN);
	/* 130 places; with 65 free or fewer they may be left. */
	CHECK_EQ(ask_best(USH_OP_RESERVE_AREA, HALL, 2, 1, 60, 1).status, USH_STATUS_OK);
	CHECK_EQ(ask(harness_reserve(HALL, 1, 5, 2, 0x104)).status, USH_STATUS_ORPHAN);
	CHECK_EQ(ask_best(USH_OP_RESERVE_AREA, HALL, 3, 1, 2, 1).status, USH_STATUS_OK);
	CHECK_EQ(ask(harness_reserve(HALL, 1, 5, 2, 0x104)).status, USH_STATUS_OK);
	CHECK(audit_is_clean());
}

/* Goal: the answer never outgrows the request. Method: rooms by arithmetic. */
static void test_best_room_is_that_of_the_request(void)
{
	struct ush_packet packet = {0};
	struct ush_admitted admitted = {.size = 64};

	CHECK_EQ(decide_best_room(&packet, &admitted), 0);
	admitted.size = 87;
	CHECK_EQ(decide_best_room(&packet, &admitted), 0);
	admitted.size = 88;
	CHECK_EQ(decide_best_room(&packet, &admitted), 1);
	admitted.size = 120;
	CHECK_EQ(decide_best_room(&packet, &admitted), 3);
	admitted.size = 1408;
	CHECK_EQ(decide_best_room(&packet, &admitted), USH_LEG_COUNT_MAX);
	packet.flags = USH_PACKET_CONTROL;
	admitted.size = 64;
	CHECK_EQ(decide_best_room(&packet, &admitted), USH_LEG_COUNT_MAX);
}

/* Goal: while a claim on several rows is under way, which may give back what it took, nothing found
 * is CONTENDED; NONE when there is none. A contended request is done, and its repeat is told the
 * same. Method: the mark that another loop sets for as long as such a claim takes. */
static void test_best_contended_while_seats_may_come_back(void)
{
	_Atomic uint32_t *open;
	struct ush_reply y;

	start();
	for (uint32_t row = 0; row < ROWS; row++)
		CHECK_EQ(house(USH_OP_BLOCK, (uint16_t)row, 0x3fe).status, USH_STATUS_OK);
	open = &ush_inventory_event(&h.engine->inventory, EVENT)->best_open;
	CHECK_EQ(best(7, 1, 4).status, USH_STATUS_NONE);
	atomic_fetch_add(open, 1);
	y = best(7, 2, 4);
	CHECK_EQ(y.status, USH_STATUS_CONTENDED);
	CHECK_EQ(y.sequence, 0);
	atomic_fetch_sub(open, 1);
	CHECK_EQ(best(7, 2, 4).status, USH_STATUS_CONTENDED);
	CHECK_EQ(best(7, 3, 4).status, USH_STATUS_NONE);
	/* What is there is had all the same. */
	atomic_fetch_add(open, 1);
	CHECK_EQ(best(7, 4, 1).status, USH_STATUS_OK);
	atomic_fetch_sub(open, 1);
}

int main(void)
{
	TAP_RUN(test_best_reply_names_the_seats);
	TAP_RUN(test_best_repeat_gets_the_same_seats);
	TAP_RUN(test_best_refusals);
	TAP_RUN(test_best_finds_what_came_back);
	TAP_RUN(test_best_hall_of_seats_and_area);
	TAP_RUN(test_best_split_is_the_events);
	TAP_RUN(test_best_objective_is_the_events);
	TAP_RUN(test_best_orphan_of_exact_seats);
	TAP_RUN(test_best_room_is_that_of_the_request);
	TAP_RUN(test_best_contended_while_seats_may_come_back);
	return tap_end();
}
