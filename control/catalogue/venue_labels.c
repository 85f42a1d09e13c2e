/* SPDX-License-Identifier: Apache-2.0 */
/* Reading an image: every field checked once, then seats by number and by name. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "catalogue/venue_read.h"

struct ush_venue {
	const struct ush_venue_header *header;
	const struct ush_venue_tier *tiers;
	const struct ush_venue_section *sections;
	const struct ush_venue_row *rows;
	json_t *labels;
	const json_t *tier_names;
	const json_t *section_list;
	/* Of each row block: its label, "" for general admission, and its seats or NULL. */
	const char **row_labels;
	const json_t **row_seats;
};

static int corrupt(struct ush_message *message, const char *what, uint64_t index)
{
	ush_message_set(message, "venue image: %s (number %llu)", what, (unsigned long long)index);
	return -USH_ECORRUPT;
}

static int check_header(
	const struct ush_venue_header *header, size_t image_bytes, struct ush_message *message)
{
	uint64_t wanted;
	uint32_t crc;

	if (image_bytes < sizeof(*header) || header->magic != USH_VENUE_MAGIC)
		return corrupt(message, "not a venue image: too short, or its magic is another", 0);
	if (header->version != USH_VENUE_VERSION) {
		ush_message_set(message, "venue image: version %u; this program reads version %u",
			header->version, USH_VENUE_VERSION);
		return -USH_EVERSION;
	}
	if (header->tier_count < 1 || header->tier_count > USH_EVENT_TIERS_MAX)
		return corrupt(message, "tier count out of range", header->tier_count);
	if (header->section_count < 1 || header->section_count > USH_EVENT_SECTIONS_MAX)
		return corrupt(message, "section count out of range", header->section_count);
	if (header->row_count < 1 || header->row_count > USH_EVENT_ROWS_MAX)
		return corrupt(message, "row count out of range", header->row_count);
	wanted = sizeof(*header) + header->tier_count * sizeof(struct ush_venue_tier) +
		 header->section_count * sizeof(struct ush_venue_section) +
		 header->row_count * sizeof(struct ush_venue_row);
	if (header->file_bytes != image_bytes || image_bytes > USH_VENUE_FILE_BYTES_MAX ||
		image_bytes < wanted || header->label_bytes != image_bytes - wanted)
		return corrupt(message, "its sizes do not add up; is it cut short?", image_bytes);
	/* The CRC is taken with its own field zero: bytes 0-11, four zeros, the rest. */
	crc = ush_crc32c(0, header, offsetof(struct ush_venue_header, crc));
	crc = ush_crc32c(crc, &(uint32_t){0}, sizeof(crc));
	crc = ush_crc32c(crc, &header->file_bytes,
		image_bytes - offsetof(struct ush_venue_header, file_bytes));
	if (crc != header->crc)
		return corrupt(message, "its CRC is wrong; the file is damaged", header->crc);
	return 0;
}

static int check_settings(const struct ush_venue_header *header, struct ush_message *message)
{
	const char *name = (const char *)header->name;
	size_t name_bytes = strnlen(name, sizeof(header->name));
	json_t *text = json_stringn(name, name_bytes);
	bool valid = text != NULL && name_bytes < sizeof(header->name) &&
		     venue_text_fault(name, USH_VENUE_NAME_BYTES_MAX) == NULL;

	json_decref(text);
	if (!valid)
		return corrupt(message, "its name is not valid text", name_bytes);
	for (size_t i = name_bytes; i < sizeof(header->name); i++) {
		if (header->name[i] != 0)
			return corrupt(message, "bytes after its name are not zero", i);
	}
	if (header->currency[3] != 0 || venue_currency_digits((const char *)header->currency) < 0)
		return corrupt(message, "its currency is not an ISO 4217 code", 0);
	if (header->hold_ms < USH_HOLD_MS_MIN || header->hold_ms > header->hold_ms_max ||
		header->hold_ms_max > USH_HOLD_MS_MAX)
		return corrupt(message, "its hold times are out of range", header->hold_ms);
	if (header->user_seats_max < 1)
		return corrupt(message, "seats per user out of range", header->user_seats_max);
	if (header->cool_down_ms > USH_COOL_DOWN_MS_MAX)
		return corrupt(message, "its cool-down is out of range", header->cool_down_ms);
	if ((header->best & 7) >= USH_BEST_OBJECTIVE_COUNT ||
		(header->best >> 3 & 3) >= USH_BEST_SPLIT_COUNT ||
		(header->best >> 5 & 3) >= USH_BEST_ORPHANS_COUNT || (header->best & 128) != 0 ||
		header->best >> 8 > 101)
		return corrupt(message, "unknown rules for choosing seats", header->best);
	return 0;
}

static int check_row(const struct ush_venue *venue, uint32_t r, struct ush_message *message)
{
	const struct ush_venue_row *row = &venue->rows[r];
	uint64_t tiered = 0;

	if (row->seats == 0)
		return corrupt(message, "a row without seats", r);
	if ((row->house | row->accessible | row->companion) & ~row->seats)
		return corrupt(message, "a row marks seats that do not exist", r);
	if (row->accessible & row->companion)
		return corrupt(message, "a seat both accessible and companion in a row", r);
	for (uint32_t t = 0; t < 4; t++) {
		if (row->tier[t] >= venue->header->tier_count)
			return corrupt(message, "a row of an unknown tier", r);
		if (t > 0) {
			if (row->tier_mask[t - 1] & (tiered | ~row->seats))
				return corrupt(message, "tiers of a row overlap", r);
			tiered |= row->tier_mask[t - 1];
		}
	}
	if (row->flags > USH_VENUE_ROW_CONTINUES &&
		row->flags != (USH_VENUE_ROW_CONTINUES | USH_VENUE_ROW_GAP))
		return corrupt(message, "a row with unknown flags", r);
	return 0;
}

/* General admission: 64 places in each row but the last, which has its lowest bits. */
static bool places_are_full(
	const struct ush_venue *venue, const struct ush_venue_section *section, uint32_t r)
{
	uint64_t seats = venue->rows[r].seats;

	if (r + 1 < section->row_first + section->row_count)
		return seats == UINT64_MAX;
	return (seats & (seats + 1)) == 0;
}

static int check_body(const struct ush_venue *venue, struct ush_message *message)
{
	uint32_t next = 0;
	uint64_t seats = 0;
	int ret;

	for (uint32_t i = 0; i < venue->header->tier_count; i++) {
		if (venue->tiers[i].reserved0 != 0 || venue->tiers[i].price > USH_VENUE_PRICE_MAX)
			return corrupt(message, "a tier's price is out of range", i);
	}
	for (uint32_t i = 0; i < venue->header->section_count; i++) {
		const struct ush_venue_section *section = &venue->sections[i];

		if (section->row_first != next || section->row_count < 1 ||
			section->row_count > venue->header->row_count - next)
			return corrupt(message, "sections do not follow one another", i);
		for (uint32_t r = next; r < next + section->row_count; r++) {
			bool general = venue->rows[r].flags == USH_VENUE_ROW_GENERAL;

			if ((ret = check_row(venue, r, message)) != 0)
				return ret;
			if (venue->rows[r].section != i)
				return corrupt(message, "a row of another section", r);
			if (r == next && (venue->rows[r].flags & USH_VENUE_ROW_CONTINUES) != 0)
				return corrupt(message, "a row continues another section", r);
			if (general != (venue->rows[next].flags == USH_VENUE_ROW_GENERAL))
				return corrupt(message, "a section both area and seats", i);
			if (general && !places_are_full(venue, section, r))
				return corrupt(message, "an area with a hole in a row", r);
			seats += ush_popcount64(venue->rows[r].seats);
		}
		next += section->row_count;
	}
	if (next != venue->header->row_count)
		return corrupt(message, "rows outside all sections", next);
	if (seats != venue->header->seat_count)
		return corrupt(message, "its seat count is wrong", seats);
	return 0;
}

static bool text_valid(const json_t *text, size_t bytes_max)
{
	return json_is_string(text) && venue_text_fault(json_string_value(text), bytes_max) == NULL;
}

/* Checks the labels of one row block of seats against its mask. */
static int check_row_labels(
	struct ush_venue *venue, uint32_t r, const json_t *labels, struct ush_message *message)
{
	const json_t *label = json_object_get(labels, "label");
	const json_t *seats = json_object_get(labels, "seats");
	size_t count = json_array_size(seats);

	if (json_object_size(labels) != 2 || !text_valid(label, USH_VENUE_NAME_BYTES_MAX))
		return corrupt(message, "labels: a row's label", r);
	if (count < 1 || count > USH_ROW_SEATS_MAX)
		return corrupt(message, "labels: a row's number of seats", r);
	for (uint32_t bit = 0; bit < USH_ROW_SEATS_MAX; bit++) {
		const json_t *seat = bit < count ? json_array_get(seats, bit) : NULL;
		bool exists = (venue->rows[r].seats >> bit & 1) != 0;

		if (exists ? !text_valid(seat, USH_VENUE_SEAT_BYTES_MAX)
			   : seat != NULL && !json_is_null(seat))
			return corrupt(message, "labels: a seat's label in a row", r);
	}
	venue->row_labels[r] = json_string_value(label);
	venue->row_seats[r] = seats;
	if ((venue->rows[r].flags & USH_VENUE_ROW_CONTINUES) != 0 &&
		strcmp(venue->row_labels[r], venue->row_labels[r - 1]) != 0)
		return corrupt(message, "labels: a row continues one with another label", r);
	return 0;
}

static int check_section_labels(struct ush_venue *venue, uint32_t i, struct ush_message *message)
{
	const json_t *labels = json_array_get(venue->section_list, i);
	const struct ush_venue_section *section = &venue->sections[i];
	const char *kind = json_string_value(json_object_get(labels, "kind"));
	const json_t *rows = json_object_get(labels, "rows");
	bool general = venue->rows[section->row_first].flags == USH_VENUE_ROW_GENERAL;
	int ret;

	if (!text_valid(json_object_get(labels, "name"), USH_VENUE_NAME_BYTES_MAX))
		return corrupt(message, "labels: a section's name", i);
	if (kind == NULL || (general ? strcmp(kind, "area") != 0
				     : strcmp(kind, "seats") != 0 && strcmp(kind, "tables") != 0))
		return corrupt(message, "labels: a section's kind", i);
	if (general ? rows != NULL : json_array_size(rows) != section->row_count)
		return corrupt(message, "labels: a section's number of rows", i);
	for (uint32_t n = 0; n < section->row_count; n++) {
		uint32_t r = section->row_first + n;

		if (general) {
			venue->row_labels[r] = "";
			continue;
		}
		if ((ret = check_row_labels(venue, r, json_array_get(rows, n), message)) != 0)
			return ret;
	}
	return 0;
}

static int check_labels(struct ush_venue *venue, const char *text, struct ush_message *message)
{
	int ret;

	venue->labels = json_loadb(text, venue->header->label_bytes, JSON_REJECT_DUPLICATES, NULL);
	venue->tier_names = json_object_get(venue->labels, "tiers");
	venue->section_list = json_object_get(venue->labels, "sections");
	if (json_object_size(venue->labels) != 2)
		return corrupt(message, "labels: not valid JSON of tiers and sections", 0);
	if (json_array_size(venue->tier_names) != venue->header->tier_count)
		return corrupt(message, "labels: number of tiers", 0);
	for (uint32_t i = 0; i < venue->header->tier_count; i++) {
		if (!text_valid(json_array_get(venue->tier_names, i), USH_VENUE_NAME_BYTES_MAX))
			return corrupt(message, "labels: a tier's name", i);
	}
	if (json_array_size(venue->section_list) != venue->header->section_count)
		return corrupt(message, "labels: number of sections", 0);
	for (uint32_t i = 0; i < venue->header->section_count; i++) {
		if ((ret = check_section_labels(venue, i, message)) != 0)
			return ret;
	}
	return 0;
}

int ush_venue_open(const void *image, size_t image_bytes, struct ush_venue **venue,
	struct ush_message *message)
{
	const struct ush_venue_header *header = image;
	struct ush_venue *opened;
	int ret;

	USH_ASSERT((uintptr_t)image % _Alignof(struct ush_venue_header) == 0);
	if ((ret = check_header(header, image_bytes, message)) != 0 ||
		(ret = check_settings(header, message)) != 0)
		return ret;
	opened = calloc(1, sizeof(*opened));
	if (opened == NULL)
		return -USH_ENOMEM;
	opened->header = header;
	opened->tiers = (const struct ush_venue_tier *)(const void *)(header + 1);
	opened->sections = (const struct ush_venue_section *)(const void *)(opened->tiers +
									    header->tier_count);
	opened->rows = (const struct ush_venue_row *)(const void *)(opened->sections +
								    header->section_count);
	opened->row_labels = calloc(header->row_count, sizeof(*opened->row_labels));
	opened->row_seats = calloc(header->row_count, sizeof(*opened->row_seats));
	if (opened->row_labels == NULL || opened->row_seats == NULL) {
		ush_message_set(message, "venue image: out of memory");
		ret = -USH_ENOMEM;
	}
	if (ret == 0)
		ret = check_body(opened, message);
	if (ret == 0)
		ret = check_labels(
			opened, (const char *)(opened->rows + header->row_count), message);
	if (ret != 0) {
		ush_venue_close(opened);
		return ret;
	}
	*venue = opened;
	return 0;
}

void ush_venue_close(struct ush_venue *venue)
{
	if (venue == NULL)
		return;
	json_decref(venue->labels);
	free(venue->row_labels);
	free(venue->row_seats);
	free(venue);
}

const struct ush_venue_header *ush_venue_get_header(const struct ush_venue *venue)
{
	return venue->header;
}

const struct ush_venue_tier *ush_venue_get_tier(const struct ush_venue *venue, uint32_t index)
{
	USH_ASSERT(index < venue->header->tier_count);
	return &venue->tiers[index];
}

const struct ush_venue_section *ush_venue_get_section(const struct ush_venue *venue, uint32_t index)
{
	USH_ASSERT(index < venue->header->section_count);
	return &venue->sections[index];
}

const struct ush_venue_row *ush_venue_get_row(const struct ush_venue *venue, uint32_t index)
{
	USH_ASSERT(index < venue->header->row_count);
	return &venue->rows[index];
}

const char *ush_venue_tier_name(const struct ush_venue *venue, uint32_t index)
{
	return json_string_value(json_array_get(venue->tier_names, index));
}

const char *ush_venue_section_name(const struct ush_venue *venue, uint32_t index)
{
	return json_string_value(
		json_object_get(json_array_get(venue->section_list, index), "name"));
}

const char *ush_venue_section_kind(const struct ush_venue *venue, uint32_t index)
{
	return json_string_value(
		json_object_get(json_array_get(venue->section_list, index), "kind"));
}

const char *ush_venue_row_label(const struct ush_venue *venue, uint32_t row)
{
	USH_ASSERT(row < venue->header->row_count);
	return venue->row_labels[row];
}

const char *ush_venue_seat_label(const struct ush_venue *venue, uint32_t row, uint32_t bit)
{
	USH_ASSERT(row < venue->header->row_count);
	return json_string_value(json_array_get(venue->row_seats[row], bit));
}

uint64_t ush_venue_tier_seats(const struct ush_venue_row *row, uint32_t tier)
{
	uint64_t first = row->seats & ~(row->tier_mask[0] | row->tier_mask[1] | row->tier_mask[2]);
	uint64_t mask = row->tier[0] == tier ? first : 0;

	for (uint32_t t = 1; t < 4; t++) {
		if (row->tier[t] == tier)
			mask |= row->tier_mask[t - 1];
	}
	return mask;
}
