/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes a model as an image: header, tiers, sections, row blocks, labels text.
 *
 * The labels text is one line of JSON:
 *	{"tiers":[NAME...],"sections":[{"name":NAME,"kind":KIND,"rows":[ROW...]}...]}
 * with one ROW = {"label":LABEL,"seats":[SEAT...]} for each row block of the section, in order, and
 * one SEAT for each bit from 0 up: a label, or null where nobody sits. An area has no "rows".
 */
#include <stdlib.h>
#include <string.h>

#include "catalogue/venue_model.h"

/* A text that grows; `failed` stays true once memory was out. */
struct text {
	char *bytes;
	size_t used;
	size_t room;
	bool failed;
};

static void text_add(struct text *text, const char *bytes, size_t count)
{
	if (text->failed)
		return;
	if (text->room - text->used < count) {
		size_t room = text->room * 2 + count + 4096;
		char *grown = realloc(text->bytes, room);

		if (grown == NULL) {
			text->failed = true;
			return;
		}
		text->bytes = grown;
		text->room = room;
	}
	memcpy(text->bytes + text->used, bytes, count);
	text->used += count;
}

static void text_add_plain(struct text *text, const char *plain)
{
	text_add(text, plain, strlen(plain));
}

/* Names hold no control characters, so a quote and a backslash are all there is to escape. */
static void text_add_string(struct text *text, const char *string)
{
	text_add_plain(text, "\"");
	for (const char *c = string; *c != '\0'; c++) {
		if (*c == '"' || *c == '\\')
			text_add_plain(text, "\\");
		text_add(text, c, 1);
	}
	text_add_plain(text, "\"");
}

static void add_block_labels(struct text *text, const struct venue_row *row,
	const struct venue_seat *seats, struct venue_cut cut)
{
	text_add_plain(text, "{\"label\":");
	text_add_string(text, row->label);
	text_add_plain(text, ",\"seats\":[");
	for (uint32_t i = 0; i < cut.count; i++) {
		const char *label = seats[cut.first + i].label;

		if (i > 0)
			text_add_plain(text, ",");
		if (label == NULL)
			text_add_plain(text, "null");
		else
			text_add_string(text, label);
	}
	text_add_plain(text, "]}");
}

/* Fills one block of a row. */
static void fill_block(
	struct ush_venue_row *block, const struct venue_seat *seats, struct venue_cut cut)
{
	uint32_t tier_count = 0;

	for (uint32_t i = 0; i < cut.count; i++) {
		const struct venue_seat *seat = &seats[cut.first + i];
		uint64_t bit = 1ull << i;
		uint32_t t = 0;

		if (seat->label == NULL)
			continue;
		block->seats |= bit;
		if ((seat->flags & VENUE_SEAT_ACCESSIBLE) != 0)
			block->accessible |= bit;
		if ((seat->flags & VENUE_SEAT_COMPANION) != 0)
			block->companion |= bit;
		if ((seat->flags & VENUE_SEAT_BLOCKED) != 0)
			block->house |= bit;
		while (t < tier_count && block->tier[t] != seat->tier)
			t++;
		if (t == tier_count) {
			USH_ASSERT(tier_count < 4);
			block->tier[tier_count++] = seat->tier;
		}
		if (t > 0)
			block->tier_mask[t - 1] |= bit;
	}
	USH_ASSERT(block->seats != 0);
}

/* ret: bits [from, to) of a row of anonymous places that starts at place `first`. */
static uint64_t places_between(uint32_t first, uint32_t count, uint32_t from, uint32_t to)
{
	uint64_t mask = 0;

	for (uint32_t i = 0; i < count; i++) {
		if (first + i >= from && first + i < to)
			mask |= 1ull << i;
	}
	return mask;
}

static uint32_t fill_area(
	struct ush_venue_row *blocks, const struct venue_section *section, uint32_t section_index)
{
	uint32_t count = 0;

	for (uint32_t first = 0; first < section->capacity; first += USH_ROW_SEATS_MAX) {
		uint32_t left = section->capacity - first;
		uint32_t places = left < USH_ROW_SEATS_MAX ? left : USH_ROW_SEATS_MAX;
		struct ush_venue_row *block = &blocks[count++];

		block->seats = places_between(first, places, 0, section->capacity);
		block->accessible = places_between(first, places, 0, section->accessible);
		block->house = places_between(
			first, places, section->capacity - section->blocked, section->capacity);
		block->tier[0] = section->tier;
		block->section = (uint16_t)section_index;
		block->flags = USH_VENUE_ROW_GENERAL;
	}
	return count;
}

/* Fills the blocks of a section of rows and adds their labels. ret: number of blocks. */
static uint32_t fill_rows(const struct venue_model *model, uint32_t section_index,
	struct ush_venue_row *blocks, struct venue_cut *cuts, struct text *labels)
{
	const struct venue_section *section = &model->sections[section_index];
	uint32_t made = 0;

	text_add_plain(labels, ",\"rows\":[");
	for (uint32_t r = 0; r < section->row_count; r++) {
		const struct venue_row *row = &model->rows[section->row_first + r];
		const struct venue_seat *seats = &model->seats[row->seat_first];
		uint32_t cut_count = venue_model_cut(seats, row->seat_count, cuts);

		for (uint32_t i = 0; i < cut_count; i++) {
			struct ush_venue_row *block = &blocks[made];

			fill_block(block, seats, cuts[i]);
			block->section = (uint16_t)section_index;
			block->flags = i > 0 ? USH_VENUE_ROW_CONTINUES : 0;
			/* Empty positions before the cut leave no trace in the masks. */
			if (i > 0 && seats[cuts[i].first - 1].label == NULL)
				block->flags |= USH_VENUE_ROW_GAP;
			if (made > 0)
				text_add_plain(labels, ",");
			add_block_labels(labels, row, seats, cuts[i]);
			made++;
		}
	}
	text_add_plain(labels, "]");
	return made;
}

static void add_tier_labels(struct text *labels, const struct venue_model *model)
{
	text_add_plain(labels, "{\"tiers\":[");
	for (uint32_t i = 0; i < model->tier_count; i++) {
		if (i > 0)
			text_add_plain(labels, ",");
		text_add_string(labels, model->tiers[i].name);
	}
	text_add_plain(labels, "],\"sections\":[");
}

/* Fills all sections and row blocks. ret: number of blocks. */
static uint32_t fill_sections(const struct venue_model *model, struct ush_venue_section *sections,
	struct ush_venue_row *blocks, struct venue_cut *cuts, struct text *labels)
{
	static const char *const kinds[] = {"seats", "tables", "area"};
	uint32_t made = 0;

	add_tier_labels(labels, model);
	for (uint32_t i = 0; i < model->section_count; i++) {
		const struct venue_section *section = &model->sections[i];

		text_add_plain(labels, i > 0 ? ",{\"name\":" : "{\"name\":");
		text_add_string(labels, section->name);
		text_add_plain(labels, ",\"kind\":");
		text_add_string(labels, kinds[section->kind]);
		sections[i].row_first = made;
		if (section->kind == VENUE_KIND_AREA)
			made += fill_area(&blocks[made], section, i);
		else
			made += fill_rows(model, i, &blocks[made], cuts, labels);
		sections[i].row_count = made - sections[i].row_first;
		text_add_plain(labels, "}");
	}
	text_add_plain(labels, "]}");
	return made;
}

static void fill_header(
	const struct venue_model *model, struct ush_venue_header *header, uint64_t label_bytes)
{
	header->magic = USH_VENUE_MAGIC;
	header->version = USH_VENUE_VERSION;
	header->tier_count = model->tier_count;
	header->section_count = model->section_count;
	header->row_count = model->block_count;
	header->label_bytes = label_bytes;
	header->hold_ms = model->hold_ms;
	header->hold_ms_max = model->hold_ms_max;
	header->user_seats_max = (uint16_t)model->user_seats_max;
	header->hold_budget_s = model->hold_budget_s;
	header->cool_down_ms = model->cool_down_ms;
	header->best = (uint16_t)(model->best_objective | model->best_split << 3 |
				  model->best_orphans << 5 | model->best_exempt << 8);
	memcpy(header->currency, model->currency, sizeof(header->currency));
	USH_ASSERT(strlen(model->name) < sizeof(header->name));
	memcpy(header->name, model->name, strlen(model->name));
}

int venue_model_write(const struct venue_model *model, void **image, size_t *image_bytes)
{
	size_t tiers_at = sizeof(struct ush_venue_header);
	size_t sections_at = tiers_at + model->tier_count * sizeof(struct ush_venue_tier);
	size_t rows_at = sections_at + model->section_count * sizeof(struct ush_venue_section);
	size_t labels_at = rows_at + model->block_count * sizeof(struct ush_venue_row);
	struct venue_cut *cuts = calloc(USH_VENUE_ROW_POSITIONS_MAX, sizeof(*cuts));
	char *bytes = calloc(1, labels_at);
	struct ush_venue_header *header = (struct ush_venue_header *)(void *)bytes;
	struct text labels = {0};
	struct ush_venue_row *rows;
	int ret = -USH_ENOMEM;

	USH_ASSERT(model->block_count > 0 && model->block_count <= USH_EVENT_ROWS_MAX);
	if (bytes == NULL || cuts == NULL)
		goto out;
	for (uint32_t i = 0; i < model->tier_count; i++)
		((struct ush_venue_tier *)(void *)(bytes + tiers_at))[i].price =
			model->tiers[i].price;
	rows = (struct ush_venue_row *)(void *)(bytes + rows_at);
	uint32_t made = fill_sections(model,
		(struct ush_venue_section *)(void *)(bytes + sections_at), rows, cuts, &labels);
	USH_ASSERT(made == model->block_count);
	if (labels.failed)
		goto out;
	ret = -USH_EFULL;
	if (labels_at + labels.used > USH_VENUE_FILE_BYTES_MAX)
		goto out;
	fill_header(model, header, labels.used);
	for (uint32_t i = 0; i < model->block_count; i++)
		header->seat_count += ush_popcount64(rows[i].seats);
	header->file_bytes = labels_at + labels.used;
	ret = -USH_ENOMEM;
	char *grown = realloc(bytes, header->file_bytes);
	if (grown == NULL)
		goto out;
	bytes = grown;
	header = (struct ush_venue_header *)(void *)bytes;
	memcpy(bytes + labels_at, labels.bytes, labels.used);
	header->crc = ush_crc32c(0, bytes, header->file_bytes);
	*image = bytes;
	*image_bytes = header->file_bytes;
	bytes = NULL;
	ret = 0;
out:
	free(labels.bytes);
	free(bytes);
	free(cuts);
	return ret;
}
