/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inventory: venue images and what is wrong with them, claims on a row, prices, counts.
 *
 * Owns:  one inventory.
 * Reads: USH_SEED.
 * Never: DPDK.
 */
#include "../harness.h"
#include "../tap.h"
#include "claim/claim.h"

#define ROWS 4u
#define SEATS 10u

static struct ush_inventory inventory;
static void *memory;

static void open_inventory(uint32_t rows, uint32_t loops)
{
	size_t bytes = ush_inventory_bytes(rows, loops);

	free(memory);
	memory = aligned_alloc(64, (bytes + 63) & ~(size_t)63);
	USH_ASSERT(memory != NULL);
	memset(memory, 0, bytes);
	ush_inventory_init(&inventory, memory, rows, loops);
}

/* ---- images ---- */

/* Three tiers, two sections, four rows of ten seats, one row with house seats. */
static uint8_t *good_image(size_t *bytes)
{
	static const struct ush_venue_tier tiers[] = {
		{.price = 100}, {.price = 7000}, {.price = 3}};
	static const struct ush_venue_section sections[] = {{0, 1}, {1, 3}};
	static const struct ush_venue_row rows[ROWS] = {
		{.seats = 0x3ff, .section = 0, .flags = 1},
		{.seats = 0x3ff, .section = 1, .tier_mask = {0x3, 0xc}, .tier = {0, 1, 2}},
		{.seats = 0x3ff, .section = 1, .house = 0x201},
		{.seats = 0x3ff, .section = 1, .accessible = 1, .companion = 2, .flags = 2},
	};
	const struct harness_venue venue = {
		.header = {.magic = USH_VENUE_MAGIC,
			.version = USH_VENUE_VERSION,
			.tier_count = 3,
			.section_count = 2,
			.row_count = ROWS,
			.hold_ms = 60000,
			.hold_ms_max = 600000,
			.user_seats_max = 8,
			.currency = "EUR"},
		.tiers = tiers,
		.sections = sections,
		.rows = rows,
	};

	return harness_image_of(&venue, bytes);
}

#define HEADER(field) offsetof(struct ush_venue_header, field)
#define TIERS_AT sizeof(struct ush_venue_header)
#define SECTIONS_AT (TIERS_AT + 3 * sizeof(struct ush_venue_tier))
#define ROWS_AT (SECTIONS_AT + 2 * sizeof(struct ush_venue_section))
#define ROW(i, field) \
	(ROWS_AT + (i) * sizeof(struct ush_venue_row) + offsetof(struct ush_venue_row, field))

static int build(const void *image, size_t bytes, struct ush_message *message)
{
	struct ush_event *event = NULL;
	size_t used = inventory.arena_used;
	int error = ush_event_build(&inventory, 1, image, bytes, &event, message);

	CHECK(error == 0 || event == NULL);
	CHECK(error == 0 || inventory.arena_used == used);
	return error;
}

/* Goal: a good image becomes what it says. */
static void test_claim_image_good_becomes_event(void)
{
	size_t bytes;
	uint8_t *image = good_image(&bytes);
	struct ush_event *event = NULL;

	open_inventory(100, 2);
	CHECK_EQ(ush_event_build(&inventory, 5, image, bytes, &event, NULL), 0);
	CHECK(ush_inventory_event(&inventory, 5) == NULL);
	ush_event_publish(&inventory, event);
	CHECK(ush_inventory_event(&inventory, 5) == event);
	CHECK_EQ(event->seat_count, 40);
	CHECK_EQ(event->status, USH_EVENT_STATUS_DRAFT);
	CHECK_EQ(event->house_count, 2);
	CHECK_EQ(ush_event_free_count(event), 38);
	CHECK_EQ(event->digest, ush_image_digest(image, bytes));
	CHECK_EQ(atomic_load(&event->rows[2].free), 0x1fe);
	CHECK_EQ(ush_row_available(&event->rows[2]), 0x1fe);
	CHECK_EQ(event->sections[1].row_first, 1);
	CHECK(ush_inventory_event(&inventory, 0) == NULL);
	CHECK(ush_inventory_event(&inventory, USH_EVENT_ID_MAX) == NULL);
	CHECK(ush_inventory_event(&inventory, USH_EVENT_ID_MAX + 1) == NULL);
	free(image);
}

/* What is broken, and words of the message. */
static const struct {
	size_t at;
	uint64_t value;
	size_t size;
	const char *words;
} faults[] = {
	{HEADER(magic), 1, 8, "magic"},
	{HEADER(version), 1, 4, "version 1"},
	{HEADER(version), 0, 4, "version 0"},
	{HEADER(file_bytes), 1, 8, "length"},
	{HEADER(tier_count), 0, 4, "tier count"},
	{HEADER(tier_count), 256, 4, "tier count"},
	{HEADER(section_count), 0, 4, "section count"},
	{HEADER(section_count), 4097, 4, "section count"},
	{HEADER(row_count), 0, 4, "row count"},
	{HEADER(row_count), 65537, 4, "row count"},
	{HEADER(row_count), 5, 4, "add up"},
	{HEADER(row_count), 3, 4, "add up"},
	{HEADER(tier_count), 2, 4, "add up"},
	{HEADER(label_bytes), 3, 8, "add up"},
	{HEADER(label_bytes), UINT64_MAX, 8, "add up"},
	{HEADER(hold_ms), 9, 4, "hold times"},
	{HEADER(hold_ms), 600001, 4, "hold times"},
	{HEADER(hold_ms_max), 3600001, 4, "hold times"},
	{HEADER(user_seats_max), 0, 4, "seats per user"},
	{HEADER(user_seats_max), 65536, 4, "seats per user"},
	{HEADER(cool_down_ms), USH_COOL_DOWN_MS_MAX + 1, 4, "cool-down"},
	{HEADER(best), 4, 2, "rules for choosing"},
	{HEADER(best), 3 << 3, 2, "rules for choosing"},
	{HEADER(best), 3 << 5, 2, "rules for choosing"},
	{HEADER(best), 1 << 7, 2, "rules for choosing"},
	{HEADER(best), 102 << 8, 2, "rules for choosing"},
	{HEADER(seat_count), 39, 4, "seat count"},
	{TIERS_AT + 8, USH_TIER_PRICE_MAX + 1, 4, "price"},
	{TIERS_AT + 4, 1, 4, "price"},
	{SECTIONS_AT, 1, 4, "follow one another"},
	{SECTIONS_AT + 8, 2, 4, "follow one another"},
	{SECTIONS_AT + 4, 0, 4, "follow one another"},
	{SECTIONS_AT + 12, 0, 4, "follow one another"},
	{SECTIONS_AT + 12, 4, 4, "follow one another"},
	{SECTIONS_AT + 12, UINT32_MAX, 4, "follow one another"},
	{SECTIONS_AT + 12, 2, 4, "cover all rows"},
	{ROW(0, seats), 0, 8, "without seats"},
	{ROW(0, house), 0x400, 8, "does not exist"},
	{ROW(0, accessible), 1ull << 63, 8, "does not exist"},
	{ROW(0, companion), 0x400, 8, "does not exist"},
	{ROW(0, tier_mask), 0x400, 8, "does not exist"},
	{ROW(0, tier_mask) + 8, 0x400, 8, "does not exist"},
	{ROW(0, tier_mask) + 16, 0x400, 8, "does not exist"},
	{ROW(1, tier_mask) + 8, 0xe, 8, "two tiers"},
	{ROW(1, tier_mask) + 16, 1, 8, "two tiers"},
	{ROW(1, tier_mask) + 16, 8, 8, "two tiers"},
	{ROW(0, tier), 3, 1, "unknown tier"},
	{ROW(0, tier) + 3, 255, 1, "unknown tier"},
	{ROW(0, section), 2, 2, "unknown section"},
	{ROW(0, section), 1, 2, "outside its section"},
	{ROW(3, section), 0, 2, "outside its section"},
	{ROW(0, flags), 4, 2, "flags"},
	{ROW(0, flags), 0x8000, 2, "flags"},
	{ROW(0, tier_mask), 1, 8, "two prices"},
	{ROW(2, flags), 1, 2, "shares its section"},
};

/* Goal: each rule for images is enforced, by name. Method: break one thing, make the checksum right
 * again, look for the rule's words in the message. */
static void test_claim_image_each_fault_is_refused(void)
{
	size_t bytes;
	uint8_t *image;

	open_inventory(100, 1);
	for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
		struct ush_message message = {{0}};
		int error;

		image = good_image(&bytes);
		memcpy(image + faults[i].at, &faults[i].value, faults[i].size);
		harness_image_seal(image, bytes);
		error = build(image, bytes, &message);
		if (strncmp(faults[i].words, "version", 7) == 0)
			CHECK(error == -USH_EVERSION);
		else
			CHECK(error == -USH_ECORRUPT);
		if (strstr(message.text, faults[i].words) == NULL) {
			printf("# fault %zu: %s\n", i, message.text);
			CHECK(strstr(message.text, faults[i].words) != NULL);
		}
		free(image);
	}
	image = good_image(&bytes);
	CHECK_EQ(build(image, bytes, NULL), 0);
	free(image);
}

/* Goal: blocks of an area cost the same. Method: section 1 becomes an area; then its second block
 * has another tier. */
static void test_claim_image_area_of_two_prices_is_refused(void)
{
	struct ush_message message = {{0}};
	size_t bytes;
	uint8_t *image;

	open_inventory(100, 1);
	image = good_image(&bytes);
	memset(image + ROW(1, tier_mask), 0, 3 * sizeof(uint64_t));
	for (uint32_t i = 1; i < ROWS; i++)
		image[ROW(i, flags)] = 1;
	image[ROW(2, tier)] = 1;
	harness_image_seal(image, bytes);
	CHECK(build(image, bytes, &message) == -USH_ECORRUPT);
	CHECK(strstr(message.text, "two prices") != NULL);
	image[ROW(2, tier)] = 0;
	harness_image_seal(image, bytes);
	CHECK_EQ(build(image, bytes, NULL), 0);
	free(image);
}

/* Goal: no damaged byte and no cut passes. Method: each byte changed, each length cut to. */
static void test_claim_image_damaged_or_cut_is_refused(void)
{
	struct ush_message message;
	size_t bytes, passed = 0;
	uint8_t *image = good_image(&bytes);

	open_inventory(100, 1);
	for (size_t i = 0; i < bytes; i++) {
		image[i] ^= 0x10;
		passed += build(image, bytes, &message) == 0;
		image[i] ^= 0x10;
	}
	for (size_t size = 0; size < bytes; size++) {
		uint8_t *cut = malloc(size + 1);
		memcpy(cut, image, size);
		passed += build(cut, size, &message) == 0;
		free(cut);
	}
	CHECK_EQ(passed, 0);
	free(image);
}

/* Goal: event ids are 1 to 65,535. */
static void test_claim_image_event_id_out_of_range_is_refused(void)
{
	struct ush_event *event = NULL;
	size_t bytes;
	uint8_t *image = good_image(&bytes);

	open_inventory(100, 1);
	CHECK(ush_event_build(&inventory, 0, image, bytes, &event, NULL) == -USH_EINVAL);
	CHECK(ush_event_build(&inventory, 65536, image, bytes, &event, NULL) == -USH_EINVAL);
	CHECK_EQ(ush_event_build(&inventory, 65535, image, bytes, &event, NULL), 0);
	free(image);
}

/* Goal: a full arena refuses and loses nothing; what is discarded is room again, also in a part
 * that was used before. Method: build until it is full; discard the newest; build again. */
static void test_claim_arena_full_gives_back_newest(void)
{
	struct ush_event *event = NULL, *last = NULL;
	struct ush_message message = {{0}};
	size_t bytes, used;
	void *image = harness_image(60000, 64, 8, &bytes);
	uint32_t id = 1;

	open_inventory(200000, 1);
	while (ush_event_build(&inventory, id, image, bytes, &event, &message) == 0) {
		last = event;
		id++;
	}
	CHECK(id >= 4);
	CHECK(strstr(message.text, "[limits] rows") != NULL);
	used = inventory.arena_used;
	CHECK(ush_event_build(&inventory, id, image, bytes, &event, NULL) == -USH_EFULL);
	CHECK_EQ(inventory.arena_used, used);
	memset(last->rows, 0xff, 64);
	ush_event_discard(&inventory, last);
	CHECK(inventory.arena_used < used);
	CHECK_EQ(ush_event_build(&inventory, id, image, bytes, &event, NULL), 0);
	CHECK_EQ(inventory.arena_used, used);
	CHECK_EQ(atomic_load(&event->rows[0].firm), 0);
	free(image);
}

/* ---- rows ---- */

static struct ush_event *open_event(uint32_t loops)
{
	struct ush_event *event = NULL;
	size_t bytes;
	uint8_t *image = good_image(&bytes);

	open_inventory(100, loops);
	USH_ASSERT(ush_event_build(&inventory, 1, image, bytes, &event, NULL) == 0);
	ush_event_publish(&inventory, event);
	free(image);
	return event;
}

/* Goal: a claim takes all of its seats or none, and says what is in the way and how firmly. */
static void test_claim_row_tells_taken_from_in_flight(void)
{
	struct ush_row *row = &open_event(1)->rows[2];
	uint64_t way = 9;

	CHECK_EQ(ush_row_test(row, 0x6, &way), USH_CLAIM_WON);
	CHECK_EQ(way, 0);
	CHECK_EQ(ush_row_claim(row, 0x6, &way), USH_CLAIM_WON);
	CHECK_EQ(atomic_load(&row->free), 0x1f8);
	/* Until its record has a slot it is only in flight, and still told as free. */
	CHECK_EQ(ush_row_test(row, 0xc, &way), USH_CLAIM_IN_FLIGHT);
	CHECK_EQ(way, 0x4);
	CHECK_EQ(ush_row_claim(row, 0xc, &way), USH_CLAIM_IN_FLIGHT);
	CHECK_EQ(atomic_load(&row->free), 0x1f8);
	CHECK_EQ(ush_row_available(row), 0x1fe);
	ush_row_make_firm(row, 0x6);
	CHECK_EQ(ush_row_claim(row, 0xc, &way), USH_CLAIM_TAKEN);
	CHECK_EQ(way, 0x4);
	CHECK_EQ(ush_row_available(row), 0x1f8);
	/* House seats are firmly taken. */
	CHECK_EQ(ush_row_claim(row, 0x201, &way), USH_CLAIM_TAKEN);
	CHECK_EQ(way, 0x201);
	/* One in flight among firm ones is enough. */
	CHECK_EQ(ush_row_claim(row, 0x8, &way), USH_CLAIM_WON);
	CHECK_EQ(ush_row_test(row, 0x20e, &way), USH_CLAIM_IN_FLIGHT);
	CHECK_EQ(way, 0x20e);
	ush_row_put_back(row, 0x8);
	CHECK_EQ(ush_row_claim(row, 0x8, &way), USH_CLAIM_WON);
}

/* Goal: what is given back is free and nobody's. */
static void test_claim_row_returned_is_free_again(void)
{
	struct ush_row *row = &open_event(1)->rows[0];
	uint64_t way;

	CHECK_EQ(ush_row_claim(row, 0x3ff, &way), USH_CLAIM_WON);
	ush_row_make_firm(row, 0x3ff);
	ush_row_set_free(row, 0x0f0);
	CHECK_EQ(atomic_load(&row->firm), 0x30f);
	CHECK_EQ(ush_row_available(row), 0x0f0);
	CHECK_EQ(ush_row_claim(row, 0x0f0, &way), USH_CLAIM_WON);
	CHECK_EQ(ush_row_test(row, 0x010, &way), USH_CLAIM_IN_FLIGHT);
}

/* Goal: a price is the sum over its seats of their tiers' prices. Method: all masks of a row. */
static void test_claim_price_any_mask_is_sum_of_seats(void)
{
	struct ush_event *event = open_event(1);
	static const uint64_t seat[SEATS] = {7000, 7000, 3, 3, 100, 100, 100, 100, 100, 100};

	for (uint64_t mask = 0; mask < 1u << SEATS; mask++) {
		uint64_t sum = 0;
		for (uint32_t s = 0; s < SEATS; s++)
			sum += (mask >> s & 1) * seat[s];
		CHECK_EQ(ush_event_price(event, &event->rows[1], mask), sum);
	}
	/* The dearest row fits 32 bits. */
	event->prices_first->price[0] = USH_TIER_PRICE_MAX;
	CHECK_EQ(ush_event_price(event, &event->rows[0], ~0ull), 64ull * USH_TIER_PRICE_MAX);
	CHECK(64ull * USH_TIER_PRICE_MAX <= UINT32_MAX);
}

/* Goal: free seats are those neither taken nor house, whichever loops took and returned them. */
static void test_claim_counts_over_loops_add_up(void)
{
	struct ush_event *event = open_event(3);

	ush_event_count_taken(event, 0, 5);
	ush_event_count_taken(event, 1, 4);
	CHECK_EQ(ush_event_free_count(event), 38 - 9);
	/* Taken by one loop, returned by another. */
	ush_event_count_returned(event, 2, 9);
	CHECK_EQ(ush_event_free_count(event), 38);
	ush_event_house_add(event, &event->rows[0], 0x7, 65);
	CHECK_EQ(ush_event_free_count(event), 35);
}

/* Goal: seats blocked are told as house seats, unblocked ones are free. */
static void test_claim_house_added_and_removed(void)
{
	struct ush_event *event = open_event(1);
	struct ush_row *row = &event->rows[0];
	uint64_t way;

	CHECK_EQ(ush_row_claim(row, 0x3, &way), USH_CLAIM_WON);
	ush_event_house_add(event, row, 0x3, 65);
	CHECK_EQ(event->house_count, 4);
	CHECK_EQ(ush_row_available(row), 0x3fc);
	CHECK_EQ(ush_row_test(row, 0x1, &way), USH_CLAIM_TAKEN);
	ush_event_house_remove(event, row, 0x1);
	CHECK_EQ(event->house_count, 3);
	CHECK_EQ(ush_row_test(row, 0x1, &way), USH_CLAIM_WON);
	CHECK_EQ(ush_row_test(row, 0x2, &way), USH_CLAIM_TAKEN);
}

/* Goal: sold out is told when every seat on sale is sold and that is durable, whatever was last: a
 * sale or a block; and no longer when a house seat is put on sale. */
static void test_claim_sold_out_needs_all_sold_and_durable(void)
{
	struct ush_event *event = open_event(1);

	CHECK(!ush_event_sold_out(event, UINT64_MAX));
	ush_event_count_sold(event, 37, 70);
	CHECK(!ush_event_sold_out(event, UINT64_MAX));
	ush_event_count_sold(event, 1, 100);
	CHECK(!ush_event_sold_out(event, 64));
	CHECK(!ush_event_sold_out(event, 100));
	CHECK(ush_event_sold_out(event, 128));
	ush_event_house_remove(event, &event->rows[2], 0x1);
	CHECK(!ush_event_sold_out(event, 128));
	ush_event_count_sold(event, 1, 200);
	CHECK(!ush_event_sold_out(event, 128));
	CHECK(ush_event_sold_out(event, 256));
}

static void test_claim_sold_out_after_block_of_the_rest(void)
{
	struct ush_event *event = open_event(1);

	ush_event_count_sold(event, 28, 100);
	ush_event_house_add(event, &event->rows[0], 0x3ff, 200);
	CHECK(!ush_event_sold_out(event, 192));
	CHECK(ush_event_sold_out(event, 256));
	/* Nothing but house seats is not sold out. */
	event = open_event(1);
	for (uint32_t i = 0; i < ROWS; i++)
		ush_event_house_add(event, &event->rows[i], event->rows[i].free, 100);
	CHECK_EQ(event->house_count, event->seat_count);
	CHECK(!ush_event_sold_out(event, 256));
}

/* Goal: two loops that sell the last seats may count in the other order than the log's; what is
 * told rests on both records. */
static void test_claim_sold_out_rests_on_highest_sequence(void)
{
	struct ush_event *event = open_event(2);

	ush_event_count_sold(event, 20, 300);
	ush_event_count_sold(event, 18, 100);
	CHECK(!ush_event_sold_out(event, 128));
	CHECK(!ush_event_sold_out(event, 300));
	CHECK(ush_event_sold_out(event, 320));
}

int main(void)
{
	TAP_RUN(test_claim_image_good_becomes_event);
	TAP_RUN(test_claim_image_each_fault_is_refused);
	TAP_RUN(test_claim_image_area_of_two_prices_is_refused);
	TAP_RUN(test_claim_image_damaged_or_cut_is_refused);
	TAP_RUN(test_claim_image_event_id_out_of_range_is_refused);
	TAP_RUN(test_claim_arena_full_gives_back_newest);
	TAP_RUN(test_claim_row_tells_taken_from_in_flight);
	TAP_RUN(test_claim_row_returned_is_free_again);
	TAP_RUN(test_claim_price_any_mask_is_sum_of_seats);
	TAP_RUN(test_claim_counts_over_loops_add_up);
	TAP_RUN(test_claim_house_added_and_removed);
	TAP_RUN(test_claim_sold_out_needs_all_sold_and_durable);
	TAP_RUN(test_claim_sold_out_after_block_of_the_rest);
	TAP_RUN(test_claim_sold_out_rests_on_highest_sequence);
	free(memory);
	return tap_end();
}
