/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Property: any valid venue compiles to an image that says what the venue said.
 *
 * A seeded generator draws a venue as plain arrays (the model) and writes it as JSON in one of the
 * ways the format allows; the image is decoded with nothing but struct definitions and compared
 * with the model seat by seat. The rules of cutting are checked on what comes out, not repeated.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "catalogue/venue.h"
#include "tests/tap.h"

#define VENUES 400
#define SECTIONS_MAX 5u
#define ROWS_MAX 6u
#define POSITIONS_MAX 260u
#define TIERS_MAX 9u

struct seat {
	/* Empty: a gap. */
	char label[USH_VENUE_SEAT_BYTES_MAX + 1];
	uint32_t tier;
	bool accessible, companion, blocked;
};

struct row {
	char label[32];
	uint32_t count;
	struct seat seats[POSITIONS_MAX];
};

struct section {
	bool area;
	uint32_t row_count, capacity, accessible, blocked, tier;
	struct row rows[ROWS_MAX];
};

struct model {
	uint32_t tier_count, section_count;
	uint32_t prices[TIERS_MAX];
	struct section sections[SECTIONS_MAX];
};

struct text {
	char bytes[1 << 20];
	size_t used;
};

static struct ush_random chance;

static uint32_t below(uint32_t bound)
{
	return (uint32_t)ush_random_below(&chance, bound);
}

USH_PRINTF(2, 3) static void put(struct text *text, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	text->used += (size_t)vsnprintf(
		text->bytes + text->used, sizeof(text->bytes) - text->used, format, args);
	va_end(args);
	USH_ASSERT(text->used < sizeof(text->bytes));
}

/* Draws a row of runs of numbered seats, single labels and gaps, and writes its "seats". */
static void draw_seats(struct row *row, struct text *text)
{
	uint32_t runs = 1 + below(6), number = 1 + below(50);

	row->count = 0;
	put(text, "\"seats\": [");
	for (uint32_t run = 0; run < runs; run++) {
		uint32_t step = 1 + below(3), count = 1 + below(40);
		bool down = below(3) == 0;

		if (run > 0 && below(3) == 0) {
			uint32_t gap = 1 + below(USH_VENUE_GAP_MAX);

			put(text, "{\"gap\": %u},", gap);
			for (; gap > 0; gap--)
				row->seats[row->count++].label[0] = '\0';
		}
		if (below(4) == 0) {
			put(text, "\"s%u\xc3\xa9\"", number);
			snprintf(row->seats[row->count++].label, USH_VENUE_SEAT_BYTES_MAX,
				"s%u\xc3\xa9", number);
			number++;
		} else {
			uint32_t low = number, high = number + step * (count - 1);

			put(text, "{\"from\": %u, \"to\": %u, \"step\": %u, \"prefix\": \"%c\"}",
				down ? high : low, down ? low : high, step, 'a' + (char)run);
			for (uint32_t i = 0; i < count; i++)
				snprintf(row->seats[row->count++].label, USH_VENUE_SEAT_BYTES_MAX,
					"%c%u", 'a' + (char)run,
					down ? high - step * i : low + step * i);
			number = high + 1;
		}
		put(text, run + 1 < runs ? "," : "]");
	}
}

/* Marks about one seat in `rarity` and writes the selector. */
static void draw_marks(struct row *row, struct text *text, const char *key, uint32_t rarity,
	size_t offset, size_t excluded)
{
	const char *comma = "";

	for (uint32_t i = 0; i < row->count; i++) {
		struct seat *seat = &row->seats[i];

		if (seat->label[0] == '\0' || below(rarity) != 0 ||
			*(bool *)((char *)seat + excluded))
			continue;
		*(bool *)((char *)seat + offset) = true;
		put(text, "%s\"%s\"", comma[0] == '\0' ? key : comma, seat->label);
		comma = ",";
	}
	if (comma[0] != '\0')
		put(text, "]");
}

/* Gives seats a tier: runs by {"from","to"}, over gaps too. */
static void draw_tiers(struct row *row, struct text *text, uint32_t tier_count, uint32_t fallback)
{
	bool first = true;

	for (uint32_t i = 0; i < row->count; i++)
		row->seats[i].tier = fallback;
	if (tier_count < 2 || below(3) == 0)
		return;
	put(text, ", \"tiers\": [");
	for (uint32_t i = 0; i < row->count;) {
		uint32_t last = i + below(30), tier = below(tier_count);

		if (last >= row->count)
			last = row->count - 1;
		while (last > i && row->seats[last].label[0] == '\0')
			last--;
		if (row->seats[i].label[0] != '\0' && (first || below(3) > 0)) {
			put(text,
				"%s{\"tier\": \"T%u\", \"seats\": [{\"from\": \"%s\", \"to\": \"%s\"}]}",
				first ? "" : ",", tier, row->seats[i].label,
				row->seats[last].label);
			for (uint32_t k = i; k <= last; k++)
				row->seats[k].tier = tier;
			first = false;
		}
		i = last + 1;
	}
	put(text, "]");
}

static void draw_row(struct row *row, struct text *text, uint32_t index, uint32_t tier_count)
{
	uint32_t tier = below(tier_count);

	memset(row, 0, sizeof(*row));
	snprintf(row->label, sizeof(row->label), "R\\%u", index);
	put(text, "%s\n{\"label\": \"R\\\\%u\", \"tier\": \"T%u\", ", index > 0 ? "," : "", index,
		tier);
	draw_seats(row, text);
	draw_tiers(row, text, tier_count, tier);
	draw_marks(row, text, ", \"accessible\": [", 20, offsetof(struct seat, accessible),
		offsetof(struct seat, accessible));
	draw_marks(row, text, ", \"companion\": [", 20, offsetof(struct seat, companion),
		offsetof(struct seat, accessible));
	draw_marks(row, text, ", \"blocked\": [", 10, offsetof(struct seat, blocked),
		offsetof(struct seat, blocked));
	put(text, "}");
}

static void draw_venue(struct model *model, struct text *text)
{
	text->used = 0;
	model->tier_count = 1 + below(TIERS_MAX);
	model->section_count = 1 + below(SECTIONS_MAX);
	put(text, "{\"name\": \"N\", \"currency\": \"EUR\", \"tiers\": [");
	for (uint32_t i = 0; i < model->tier_count; i++) {
		model->prices[i] = below(USH_VENUE_PRICE_MAX) + 1;
		put(text, "%s{\"name\": \"T%u\", \"price_minor\": %u}", i > 0 ? "," : "", i,
			model->prices[i]);
	}
	put(text, "], \"sections\": [");
	for (uint32_t i = 0; i < model->section_count; i++) {
		struct section *section = &model->sections[i];

		section->area = below(4) == 0;
		section->row_count = 1 + below(ROWS_MAX);
		put(text, "%s{\"name\": \"S%u\", ", i > 0 ? "," : "", i);
		if (section->area) {
			section->capacity = 1 + below(300);
			section->accessible = below(section->capacity + 1);
			section->blocked = below(section->capacity - section->accessible + 1);
			section->tier = below(model->tier_count);
			put(text, "\"kind\": \"area\", \"tier\": \"T%u\", \"capacity\": %u, ",
				section->tier, section->capacity);
			put(text, "\"accessible\": %u, \"blocked\": %u}", section->accessible,
				section->blocked);
			continue;
		}
		put(text, "\"rows\": [");
		for (uint32_t r = 0; r < section->row_count; r++)
			draw_row(&section->rows[r], text, r, model->tier_count);
		put(text, "]}");
	}
	put(text, "]}");
}

/* The tier number of one seat, straight from the masks. */
static uint32_t tier_of(const struct ush_venue_row *row, uint32_t bit)
{
	for (uint32_t t = 1; t < 4; t++) {
		if ((row->tier_mask[t - 1] >> bit & 1) != 0)
			return row->tier[t];
	}
	return row->tier[0];
}

static void check_area(
	const struct section *section, const struct ush_venue_row *rows, uint32_t row_count)
{
	CHECK_EQ(row_count, (section->capacity + 63) / 64);
	for (uint32_t place = 0; place < row_count * 64; place++) {
		const struct ush_venue_row *row = &rows[place / 64];
		uint32_t bit = place % 64;
		bool exists = place < section->capacity;

		CHECK_EQ(row->seats >> bit & 1, exists);
		CHECK_EQ(row->accessible >> bit & 1, place < section->accessible);
		CHECK_EQ(row->house >> bit & 1,
			exists && place >= section->capacity - section->blocked);
		CHECK_EQ(row->flags, 1);
		CHECK_EQ(tier_of(row, bit), section->tier);
	}
}

/* A gap at a cut: its end has zero bits in the next block, its start has no bits at all. */
static uint32_t gap_before_cut(const struct row *row, uint32_t position, uint64_t next_seats)
{
	uint32_t run = 0;

	while (position + run < row->count && row->seats[position + run].label[0] == '\0')
		run++;
	return run - (uint32_t)__builtin_ctzll(next_seats);
}

/* Walks the blocks of one row and its positions together. ret: blocks used. */
static uint32_t check_row(const struct ush_venue *venue, const struct row *row,
	const struct ush_venue_row *blocks, uint32_t block_first, uint32_t room)
{
	uint32_t position = 0, used = 0;

	while (position < row->count && used < room) {
		const struct ush_venue_row *block = &blocks[used];
		uint32_t index = block_first + used;
		uint32_t positions = 64u - (uint32_t)__builtin_clzll(block->seats);

		bool aisle = used > 0 && row->seats[position - 1].label[0] == '\0';

		CHECK_EQ(block->flags, used == 0 ? 0 : aisle ? 6 : 2);
		CHECK(strcmp(ush_venue_row_label(venue, index), row->label) == 0);
		for (uint32_t bit = 0; bit < positions && position < row->count;
			bit++, position++) {
			const struct seat *seat = &row->seats[position];
			const char *label = ush_venue_seat_label(venue, index, bit);

			CHECK_EQ(block->seats >> bit & 1, seat->label[0] != '\0');
			CHECK((label == NULL) == (seat->label[0] == '\0'));
			if (label == NULL)
				continue;
			CHECK(strcmp(label, seat->label) == 0);
			CHECK_EQ(tier_of(block, bit), seat->tier);
			CHECK_EQ(block->accessible >> bit & 1, seat->accessible);
			CHECK_EQ(block->companion >> bit & 1, seat->companion);
			CHECK_EQ(block->house >> bit & 1, seat->blocked);
		}
		used++;
		position += gap_before_cut(row, position, used < room ? blocks[used].seats : 1);
	}
	CHECK_EQ(position, row->count);
	return used;
}

static void check_image(const struct model *model, const struct ush_venue *venue, const void *image)
{
	const struct ush_venue_header *header = image;
	const struct ush_venue_tier *tiers = (const void *)(header + 1);
	const struct ush_venue_section *sections = (const void *)(tiers + header->tier_count);
	const struct ush_venue_row *rows = (const void *)(sections + header->section_count);

	CHECK_EQ(header->tier_count, model->tier_count);
	CHECK_EQ(header->section_count, model->section_count);
	for (uint32_t i = 0; i < model->tier_count; i++)
		CHECK_EQ(tiers[i].price, model->prices[i]);
	for (uint32_t i = 0; i < model->section_count; i++) {
		const struct section *section = &model->sections[i];
		uint32_t first = sections[i].row_first, used = 0;

		for (uint32_t r = 0; r < sections[i].row_count; r++)
			CHECK_EQ(rows[first + r].section, i);
		if (section->area) {
			check_area(section, rows + first, sections[i].row_count);
			continue;
		}
		for (uint32_t r = 0; r < section->row_count; r++)
			used += check_row(venue, &section->rows[r], rows + first + used,
				first + used, sections[i].row_count - used);
		CHECK_EQ(used, sections[i].row_count);
	}
}

/* Goal and method: see the top. */
static void test_venue_random_models_survive(void)
{
	struct model *model = calloc(1, sizeof(*model));
	struct text *text = calloc(1, sizeof(*text));
	uint64_t seed = tap_seed(1);

	for (uint32_t i = 0; i < VENUES && tap_failures_here == 0; i++) {
		struct ush_message message = {""};
		struct ush_venue *venue = NULL;
		size_t image_bytes;
		void *image = NULL;

		ush_random_init(&chance, seed + i);
		draw_venue(model, text);
		CHECK_EQ(ush_venue_compile(
				 text->bytes, text->used, NULL, &image, &image_bytes, &message),
			0);
		CHECK(image != NULL && ush_venue_open(image, image_bytes, &venue, &message) == 0);
		if (venue != NULL)
			check_image(model, venue, image);
		if (tap_failures_here != 0)
			printf("# USH_SEED=%llu: %s\n# %s\n", (unsigned long long)(seed + i),
				message.text, text->bytes);
		ush_venue_close(venue);
		free(image);
	}
	free(text);
	free(model);
}

int main(void)
{
	TAP_RUN(test_venue_random_models_survive);
	return tap_end();
}
