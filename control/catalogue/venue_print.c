/* SPDX-License-Identifier: Apache-2.0 */
/* A venue for people (a table) and for programs (JSON). */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "catalogue/venue_read.h"

/* Sums over some row blocks. */
struct sums {
	/* Rows as people count them: continued blocks are no rows, areas have none. */
	uint32_t rows;
	uint32_t blocks;
	uint32_t seats;
	uint32_t accessible;
	uint32_t companion;
	uint32_t blocked;
	uint32_t price_min;
	uint32_t price_max;
	/* Price of all seats that are not blocked. */
	uint64_t value;
};

static void sums_add(struct sums *sums, const struct ush_venue *venue, uint32_t index)
{
	const struct ush_venue_row *row = ush_venue_get_row(venue, index);

	sums->blocks++;
	sums->rows += row->flags == 0;
	sums->seats += ush_popcount64(row->seats);
	sums->accessible += ush_popcount64(row->accessible);
	sums->companion += ush_popcount64(row->companion);
	sums->blocked += ush_popcount64(row->house);
	for (uint32_t t = 0; t < ush_venue_get_header(venue)->tier_count; t++) {
		uint64_t seats = ush_venue_tier_seats(row, t);
		uint32_t price = ush_venue_get_tier(venue, t)->price;

		if (seats == 0)
			continue;
		if (price < sums->price_min)
			sums->price_min = price;
		if (price > sums->price_max)
			sums->price_max = price;
		sums->value += (uint64_t)price * ush_popcount64(seats & ~row->house);
	}
}

static struct sums sums_of(const struct ush_venue *venue, uint32_t first, uint32_t count)
{
	struct sums sums = {.price_min = UINT32_MAX};

	for (uint32_t i = first; i < first + count; i++)
		sums_add(&sums, venue, i);
	return sums;
}

void ush_venue_price_text(const char *currency, uint64_t price, char *text, size_t size)
{
	int digits = venue_currency_digits(currency);

	if (digits == 2)
		snprintf(text, size, "%" PRIu64 ".%02u", price / 100, (unsigned)(price % 100));
	else if (digits == 3)
		snprintf(text, size, "%" PRIu64 ".%03u", price / 1000, (unsigned)(price % 1000));
	else
		snprintf(text, size, "%" PRIu64, price);
	snprintf(text + strlen(text), size - strlen(text), " %.3s", currency);
}

/* Prints a name padded to `width` characters, counting code points and not bytes. */
static void print_name(const char *name, uint32_t width, FILE *out)
{
	uint32_t length = 0;

	for (const char *c = name; *c != '\0'; c++)
		length += ((uint8_t)*c & 0xc0) != 0x80;
	fprintf(out, "%s%*s", name, length < width ? (int)(width - length) : 0, "");
}

static uint32_t name_width(const struct ush_venue *venue, uint32_t count,
	const char *(*name_of)(const struct ush_venue *venue, uint32_t index))
{
	uint32_t width = 7;

	for (uint32_t i = 0; i < count; i++) {
		uint32_t length = 0;

		for (const char *c = name_of(venue, i); *c != '\0'; c++)
			length += ((uint8_t)*c & 0xc0) != 0x80;
		if (length > width)
			width = length;
	}
	return width;
}

static void print_sums(const struct sums *sums, FILE *out)
{
	fprintf(out, "  %6u  %6u  %7u  %10u  %9u  %7u", sums->rows, sums->blocks, sums->seats,
		sums->accessible, sums->companion, sums->blocked);
}

static void print_sections(const struct ush_venue *venue, FILE *out)
{
	const struct ush_venue_header *header = ush_venue_get_header(venue);
	const char *currency = (const char *)header->currency;
	uint32_t width = name_width(venue, header->section_count, ush_venue_section_name);
	struct sums all = sums_of(venue, 0, header->row_count);

	print_name("SECTION", width, out);
	fprintf(out, "  KIND      ROWS  BLOCKS    SEATS  ACCESSIBLE  COMPANION  BLOCKED  PRICES\n");
	for (uint32_t i = 0; i < header->section_count; i++) {
		const struct ush_venue_section *section = ush_venue_get_section(venue, i);
		struct sums sums = sums_of(venue, section->row_first, section->row_count);
		char low[32], high[32];

		print_name(ush_venue_section_name(venue, i), width, out);
		fprintf(out, "  %-6s", ush_venue_section_kind(venue, i));
		print_sums(&sums, out);
		ush_venue_price_text(currency, sums.price_min, low, sizeof(low));
		ush_venue_price_text(currency, sums.price_max, high, sizeof(high));
		if (sums.price_min != sums.price_max)
			fprintf(out, "  %.*s to %s\n", (int)(strlen(low) - 4), low, high);
		else
			fprintf(out, "  %s\n", low);
	}
	print_name("total", width, out);
	fprintf(out, "  %-6s", "");
	print_sums(&all, out);
	fprintf(out, "\n");
}

static void print_tiers(const struct ush_venue *venue, FILE *out)
{
	const struct ush_venue_header *header = ush_venue_get_header(venue);
	uint32_t width = name_width(venue, header->tier_count, ush_venue_tier_name);

	print_name("TIER", width, out);
	fprintf(out, "           PRICE    SEATS  BLOCKED\n");
	for (uint32_t t = 0; t < header->tier_count; t++) {
		uint32_t seats = 0, blocked = 0;
		char price[32];

		for (uint32_t r = 0; r < header->row_count; r++) {
			const struct ush_venue_row *row = ush_venue_get_row(venue, r);
			uint64_t mask = ush_venue_tier_seats(row, t);

			seats += ush_popcount64(mask);
			blocked += ush_popcount64(mask & row->house);
		}
		ush_venue_price_text((const char *)header->currency,
			ush_venue_get_tier(venue, t)->price, price, sizeof(price));
		print_name(ush_venue_tier_name(venue, t), width, out);
		fprintf(out, "  %14s  %7u  %7u\n", price, seats, blocked);
	}
}

/* "1 .. 39", the first and the last label of a block. */
static void print_row_ends(const struct ush_venue *venue, uint32_t index, FILE *out)
{
	const struct ush_venue_row *row = ush_venue_get_row(venue, index);
	uint32_t low = (uint32_t)__builtin_ctzll(row->seats);
	uint32_t high = 63u - (uint32_t)__builtin_clzll(row->seats);
	struct ush_venue_label first, last;

	if (ush_venue_label(venue, index, low, &first) != 0 ||
		ush_venue_label(venue, index, high, &last) != 0)
		return;
	fprintf(out, "%s .. %s", first.seat, last.seat);
}

static void print_rows(const struct ush_venue *venue, FILE *out)
{
	const struct ush_venue_header *header = ush_venue_get_header(venue);
	uint32_t width = name_width(venue, header->section_count, ush_venue_section_name);
	uint32_t row_width = name_width(venue, header->row_count, ush_venue_row_label);

	fprintf(out, "\n  BLOCK  ");
	print_name("SECTION", width + 2, out);
	print_name("ROW", row_width, out);
	fprintf(out, "  SEATS  LABELS\n");
	for (uint32_t r = 0; r < header->row_count; r++) {
		const struct ush_venue_row *row = ush_venue_get_row(venue, r);

		fprintf(out, "%7u  ", r);
		print_name(ush_venue_section_name(venue, row->section), width + 2, out);
		print_name(ush_venue_row_label(venue, r), row_width, out);
		fprintf(out, "  %5u  ", ush_popcount64(row->seats));
		print_row_ends(venue, r, out);
		fprintf(out, "%s\n",
			row->flags == USH_VENUE_ROW_CONTINUES ? " (continues the row)" : "");
	}
}

void ush_venue_print(const struct ush_venue *venue, bool rows, FILE *out)
{
	const struct ush_venue_header *header = ush_venue_get_header(venue);
	struct sums all = sums_of(venue, 0, header->row_count);
	char value[32];

	ush_venue_price_text((const char *)header->currency, all.value, value, sizeof(value));
	fprintf(out, "%s\n", header->name);
	fprintf(out, "%u places in %u sections, %u for sale worth %s\n", header->seat_count,
		header->section_count, header->seat_count - all.blocked, value);
	fprintf(out, "holds of %g s, at most %g s; at most %u seats a user\n",
		(double)header->hold_ms / 1000, (double)header->hold_ms_max / 1000,
		header->user_seats_max);
	if (header->hold_budget_s != 0)
		fprintf(out, "a user may hold seats for %u seat-seconds in all\n",
			header->hold_budget_s);
	if (header->cool_down_ms != 0)
		fprintf(out, "after a hold that ended unsold no new one for %g s\n",
			(double)header->cool_down_ms / 1000);
	fprintf(out, "\n");
	print_sections(venue, out);
	fprintf(out, "\n");
	print_tiers(venue, out);
	if (rows)
		print_rows(venue, out);
}

/* jansson reports a member that could not be added by -1, and takes NULL values as failures. */
static int sums_json(json_t *object, const struct sums *sums)
{
	return json_object_set_new(object, "rows", json_integer(sums->rows)) |
	       json_object_set_new(object, "row_blocks", json_integer(sums->blocks)) |
	       json_object_set_new(object, "seats", json_integer(sums->seats)) |
	       json_object_set_new(object, "accessible", json_integer(sums->accessible)) |
	       json_object_set_new(object, "companion", json_integer(sums->companion)) |
	       json_object_set_new(object, "blocked", json_integer(sums->blocked));
}

static json_t *tiers_json(const struct ush_venue *venue)
{
	json_t *list = json_array();
	uint32_t count = ush_venue_get_header(venue)->tier_count;

	for (uint32_t t = 0; t < count; t++)
		json_array_append_new(list,
			json_pack("{s:s,s:I}", "name", ush_venue_tier_name(venue, t), "price_minor",
				(json_int_t)ush_venue_get_tier(venue, t)->price));
	return list;
}

/* Masks as hexadecimal text: 64 bits do not survive JSON numbers in every language. */
static int mask_json(json_t *object, const char *key, uint64_t mask)
{
	char text[32];

	snprintf(text, sizeof(text), "0x%016" PRIx64, mask);
	return json_object_set_new(object, key, json_string(text));
}

static json_t *row_json(const struct ush_venue *venue, uint32_t index)
{
	const struct ush_venue_row *row = ush_venue_get_row(venue, index);
	json_t *object = json_pack("{s:i,s:s,s:b}", "row", (int)index, "label",
		ush_venue_row_label(venue, index), "continues",
		row->flags == USH_VENUE_ROW_CONTINUES);
	json_t *tiers = json_array(), *labels;

	mask_json(object, "seats", row->seats);
	mask_json(object, "blocked", row->house);
	mask_json(object, "accessible", row->accessible);
	mask_json(object, "companion", row->companion);
	json_object_set_new(object, "tiers", tiers);
	for (uint32_t t = 0; t < ush_venue_get_header(venue)->tier_count; t++) {
		uint64_t mask = ush_venue_tier_seats(row, t);
		json_t *tier = mask != 0 ? json_pack("{s:i}", "tier", (int)t) : NULL;

		if (tier != NULL && mask_json(tier, "seats", mask) == 0)
			json_array_append_new(tiers, tier);
	}
	if (row->flags == USH_VENUE_ROW_GENERAL)
		return object;
	labels = json_array();
	json_object_set_new(object, "labels", labels);
	for (uint32_t bit = 0; bit < 64 && (row->seats >> bit) != 0; bit++) {
		const char *label = ush_venue_seat_label(venue, index, bit);

		json_array_append_new(labels, label != NULL ? json_string(label) : json_null());
	}
	return object;
}

static json_t *section_json(const struct ush_venue *venue, uint32_t index)
{
	const struct ush_venue_section *section = ush_venue_get_section(venue, index);
	struct sums sums = sums_of(venue, section->row_first, section->row_count);
	json_t *object = json_pack("{s:s,s:s}", "name", ush_venue_section_name(venue, index),
		"kind", ush_venue_section_kind(venue, index));
	json_t *totals = json_object(), *rows = json_array();

	sums_json(totals, &sums);
	json_object_set_new(object, "totals", totals);
	json_object_set_new(object, "row_list", rows);
	for (uint32_t r = section->row_first; r < section->row_first + section->row_count; r++)
		json_array_append_new(rows, row_json(venue, r));
	return object;
}

int ush_venue_print_json(const struct ush_venue *venue, FILE *out)
{
	const struct ush_venue_header *header = ush_venue_get_header(venue);
	struct sums all = sums_of(venue, 0, header->row_count);
	json_t *totals = json_object(), *sections = json_array();
	json_t *root = json_pack("{s:s,s:s,s:i,s:i,s:i,s:I,s:I}", "name",
		(const char *)header->name, "currency", (const char *)header->currency, "hold_ms",
		(int)header->hold_ms, "hold_ms_max", (int)header->hold_ms_max, "seats_per_user",
		(int)header->user_seats_max, "hold_budget_s", (json_int_t)header->hold_budget_s,
		"cool_down_ms", (json_int_t)header->cool_down_ms);
	int ret = -USH_ENOMEM;

	sums_json(totals, &all);
	json_object_set_new(totals, "value_minor", json_integer((json_int_t)all.value));
	json_object_set_new(root, "totals", totals);
	json_object_set_new(root, "tiers", tiers_json(venue));
	json_object_set_new(root, "sections", sections);
	for (uint32_t i = 0; i < header->section_count; i++)
		json_array_append_new(sections, section_json(venue, i));
	if (root != NULL && json_dumpf(root, out, JSON_INDENT(1)) == 0) {
		fprintf(out, "\n");
		ret = 0;
	}
	json_decref(root);
	return ret;
}
