/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Changes of an event that is loaded: rows added behind those there are, and other prices.
 *
 * Happy path: an image of the same event is compared with it; new rows, their part of the index and
 * the new price list are built beside the old ones, where nobody sees them; when the record has its
 * slot, pointers and counts are stored, in an order in which whoever sees one thing finds what it
 * leads to. Nothing moves and nothing is freed: who still has an old list or index goes on with it.
 *
 * Failure modes: the image is of another event, or changes what must stay: a message says which row
 * block. No room in the arena: nothing is changed.
 */
#include <string.h>

#include "claim/image.h"

#define LABELS_TAIL 2u

/* ---- is it the same event? ---- */

static int differs(struct ush_message *message, const char *what)
{
	ush_message_set(message,
		"venue image: %s must stay as it was; rows may be added behind the others, and prices "
		"changed",
		what);
	return -USH_EINVAL;
}

static int row_differs(struct ush_message *message, uint32_t *row, uint32_t index, const char *what)
{
	*row = index;
	ush_message_set(message,
		"venue image: row block %u is not as it was (%s); rows may only be added behind the "
		"others",
		index, what);
	return -USH_EINVAL;
}

static int compare_settings(const struct ush_event *event, const struct ush_venue_header *h,
	struct ush_message *message)
{
	if (h->tier_count != event->tier_count)
		return differs(message, "the number of tiers");
	if (h->hold_ms != event->hold_ms || h->hold_ms_max != event->hold_ms_max)
		return differs(message, "the time of holds");
	if (h->user_seats_max != event->user_seats_max)
		return differs(message, "the number of seats per user");
	if (h->hold_budget_s != event->hold_budget_s || h->cool_down_ms != event->cool_down_ms)
		return differs(message, "the hold budget and the cool-down");
	if (h->best != event->best_rules)
		return differs(message, "the rules for choosing seats");
	return 0;
}

static int compare_rows(const struct ush_event *event, const struct image *image, uint32_t *row,
	struct ush_message *message)
{
	uint32_t count = ush_event_row_count(event);

	for (uint32_t i = 0; i < count && i < image->header.row_count; i++) {
		const struct ush_row *old = ush_event_row(event, i);
		struct ush_row new = ush_row_of_image((const void *)image->rows, i);

		if (new.seats != old->seats)
			return row_differs(message, row, i, "its seats");
		if (memcmp(new.tier, old->tier, sizeof(new.tier)) != 0 ||
			memcmp(new.tier_mask, old->tier_mask, sizeof(new.tier_mask)) != 0)
			return row_differs(message, row, i, "the tiers of its seats");
		if (new.section != old->section)
			return row_differs(message, row, i, "its section");
		if (new.flags != old->flags)
			return row_differs(message, row, i, "its kind");
	}
	if (image->header.row_count < count)
		return row_differs(message, row, image->header.row_count, "it is not there");
	return 0;
}

static int compare_sections(
	const struct ush_event *event, const struct image *image, struct ush_message *message)
{
	uint32_t count = ush_event_section_count(event);

	if (image->header.section_count < count)
		return differs(message, "the number of sections");
	for (uint32_t i = 0; i < count; i++) {
		const struct ush_venue_section *old = ush_event_section(event, i);
		struct ush_venue_section new;

		memcpy(&new, image->sections + i * sizeof(new), sizeof(new));
		/* All rows are as they were, so the last section may have more of them only. */
		if (new.row_first != old->row_first ||
			(new.row_count != old->row_count &&i != count - 1))
			return differs(message, "the rows of a section");
	}
	return 0;
}

static int compare_event(const struct ush_event *event, const struct image *image, uint32_t *row,
	struct ush_message *message)
{
	uint32_t count = ush_event_row_count(event);
	int error = compare_settings(event, &image->header, message);

	*row = UINT32_MAX;
	if (error == 0)
		error = compare_rows(event, image, row, message);
	if (error == 0)
		error = compare_sections(event, image, message);
	if (error == 0 && image->header.row_count > count) {
		struct ush_row first = ush_row_of_image((const void *)image->rows, count);

		/* 2: it continues the block before it. */
		if ((first.flags & 2) != 0)
			return row_differs(message, row, count - 1, "its row goes on");
	}
	return error;
}

/* ---- labels ---- */

/* Where in the labels text a byte stands. */
struct place {
	uint32_t section;
	uint32_t row;
	uint32_t depth;
};

/* {"tiers":[...],"sections":[{..."rows":[{...}...]}...]}: a section opens at depth 3, a row at 5.
 */
static struct place find_place(const char *text, size_t at)
{
	struct place place = {UINT32_MAX, UINT32_MAX, 0};
	bool quoted = false;

	for (size_t i = 0; i < at; i++) {
		if (quoted) {
			quoted = text[i] != '"';
			i += text[i] == '\\';
			continue;
		}
		quoted = text[i] == '"';
		if (text[i] == '}' || text[i] == ']')
			place.depth--;
		if (text[i] != '{' && text[i] != '[')
			continue;
		place.depth++;
		if (text[i] == '{' && place.depth == 3) {
			place.section++;
			place.row = UINT32_MAX;
		}
		place.row += text[i] == '{' && place.depth == 5;
	}
	return place;
}

/* in: before, after: images; same: how many bytes of the labels must be the same. */
static int compare_labels(const struct image *before, const struct image *after, const char *old,
	const char *new, size_t same, uint32_t *row, struct ush_message *message)
{
	struct ush_venue_section section;
	struct place place;
	size_t at = 0;

	while (at < same && at < after->header.label_bytes && old[at] == new[at])
		at++;
	if (at == same)
		return 0;
	place = find_place(old, at);
	if (place.section == UINT32_MAX)
		return differs(message, "the names of the tiers");
	if (place.depth < 5 || place.section >= before->header.section_count) {
		ush_message_set(message,
			"venue image: section %u is not as it was (its name or kind); sections may "
			"only be added behind the others",
			place.section);
		return -USH_EINVAL;
	}
	memcpy(&section, before->sections + place.section * sizeof(section), sizeof(section));
	return row_differs(message, row, section.row_first + place.row, "its labels");
}

static void split(struct image *image, const void *data)
{
	memcpy(&image->header, data, sizeof(image->header));
	image->tiers = (const uint8_t *)data + sizeof(image->header);
	image->sections = image->tiers + image->header.tier_count * sizeof(struct ush_venue_tier);
	image->rows =
		image->sections + image->header.section_count * sizeof(struct ush_venue_section);
}

static const char *labels_of(const struct image *image)
{
	return (const char *)image->rows + image->header.row_count * sizeof(struct ush_venue_row);
}

/* ret: rows of the section that was the last one. */
static uint32_t rows_of_last(const struct image *before, const struct image *image)
{
	struct ush_venue_section section;

	memcpy(&section, image->sections + (before->header.section_count - 1) * sizeof(section),
		sizeof(section));
	return section.row_count;
}

int ush_image_compare(
	const void *before, const void *after, uint32_t *row, struct ush_message *message)
{
	struct image old, new;
	size_t same;

	split(&old, before);
	split(&new, after);
	*row = UINT32_MAX;
	if (memcmp(old.header.name, new.header.name, sizeof(old.header.name)) != 0)
		return differs(message, "the venue's name");
	if (memcmp(old.header.currency, new.header.currency, sizeof(old.header.currency)) != 0)
		return differs(message, "the currency");
	for (uint32_t i = 0; i < old.header.row_count; i++) {
		size_t bytes = sizeof(struct ush_venue_row);

		if (i >= new.header.row_count)
			return row_differs(message, row, i, "it is not there");
		if (memcmp(old.rows + i * bytes, new.rows + i *bytes, bytes) != 0)
			return row_differs(message, row, i,
				"its seats, their tiers, or which are blocked, accessible or companion");
	}
	if (new.header.section_count < old.header.section_count)
		return differs(message, "the number of sections");
	/* The compiler's text is the same for the same names. Of a text to which something is
	 * added, the end is different: "]}" behind the last section, "]}" more behind its rows. */
	same = old.header.label_bytes;
	if (new.header.section_count > old.header.section_count)
		same -= LABELS_TAIL;
	if (rows_of_last(&old, &new) != rows_of_last(&old, &old))
		same = old.header.label_bytes - 2 * LABELS_TAIL;
	if (same > old.header.label_bytes)
		return differs(message, "the labels");
	return compare_labels(&old, &new, labels_of(&old), labels_of(&new), same, row, message);
}

/* ---- building ---- */

static bool same_prices(const struct ush_prices *prices, const struct image *image)
{
	for (uint32_t i = 0; i < prices->tier_count; i++) {
		if (image_price(image, i) != prices->price[i])
			return false;
	}
	return true;
}

/* ret: how many changes have added rows. */
static uint32_t parts_added(const struct ush_event *event)
{
	const struct ush_rows *part = atomic_load_explicit(&event->parts, memory_order_acquire);
	uint32_t count = 0;

	for (; part->prev != NULL; part = part->prev)
		count++;
	return count;
}

static bool build_rows(
	struct ush_inventory *inventory, struct ush_change *change, const struct image *image)
{
	const struct ush_event *event = change->event;
	uint32_t first = ush_event_row_count(event);

	change->rows = image_arena(inventory, sizeof(*change->rows));
	if (change->rows == NULL || !image_rows(inventory, image, first, change->rows))
		return false;
	change->rows->prev = atomic_load_explicit(&event->parts, memory_order_acquire);
	for (uint32_t i = first; i < image->header.row_count; i++)
		change->house_count += ush_popcount64(image_house(image, i));
	change->sections = image_sections(inventory, image);
	change->best = image_best(inventory, image);
	return change->sections != NULL && change->best != NULL;
}

static bool build_prices(
	struct ush_inventory *inventory, struct ush_change *change, const struct image *image)
{
	const struct ush_prices *last = ush_event_prices(change->event);
	struct ush_prices *prices = image_prices(inventory, image);

	if (prices == NULL)
		return false;
	prices->prev = last;
	prices->number = last->number + 1;
	change->prices = prices;
	return true;
}

static bool build(struct ush_inventory *inventory, struct ush_event *event,
	const struct image *image, struct ush_change **out)
{
	size_t mark = inventory->arena_used;
	const struct ush_change *last = ush_event_change(event);
	struct ush_change *change = image_arena(inventory, sizeof(*change));

	if (change == NULL)
		return false;
	*change = (struct ush_change){
		.prev = last,
		.event = event,
		.number = last != NULL ? last->number + 1 : 1,
		.row_count = image->header.row_count,
		.section_count = image->header.section_count,
		.seat_count = image->header.seat_count,
		.best_exempt = image_exempt(&image->header),
		.arena_mark = mark,
	};
	if ((change->row_count > ush_event_row_count(event) &&
		    !build_rows(inventory, change, image)) ||
		(!same_prices(ush_event_prices(event), image) &&
			!build_prices(inventory, change, image))) {
		inventory->arena_used = mark;
		return false;
	}
	change->arena_end = inventory->arena_used;
	*out = change;
	return true;
}

int ush_change_build(struct ush_inventory *inventory, struct ush_event *event, const void *data,
	size_t size, struct ush_change **change, uint32_t *row, struct ush_message *message)
{
	const struct ush_change *last = ush_event_change(event);
	struct image image;
	int error = image_check(&image, data, size, message);

	*row = UINT32_MAX;
	if (error == 0)
		error = compare_event(event, &image, row, message);
	if (error != 0)
		return error;
	if ((last != NULL && last->number >= USH_CHANGES_MAX) ||
		(image.header.row_count > ush_event_row_count(event) &&
			parts_added(event) >= USH_CHANGES_ROWS_MAX)) {
		ush_message_set(message,
			"event %u has been changed as often as it can be: %u times in all, %u times by "
			"rows",
			event->id, USH_CHANGES_MAX, USH_CHANGES_ROWS_MAX);
		return -USH_EFULL;
	}
	if (!build(inventory, event, &image, change)) {
		ush_message_set(message,
			"no room for the %u rows that event %u has now: raise [limits] rows and restart",
			image.header.row_count, event->id);
		return -USH_EFULL;
	}
	(*change)->digest = ush_image_digest(data, size);
	return 0;
}

uint32_t ush_change_known(const struct ush_event *event, uint32_t request_id, uint64_t digest,
	const struct ush_change **done)
{
	const struct ush_change *last = ush_event_change(event);
	uint32_t highest = 0;

	for (const struct ush_change *at = last; request_id != 0 && at != NULL; at = at->prev) {
		*done = at;
		if (at->request_id == request_id)
			return at->digest == digest ? USH_STATUS_OK : USH_STATUS_MISMATCH;
		highest = at->request_id > highest ? at->request_id : highest;
	}
	if (request_id != 0 && request_id < highest)
		return USH_STATUS_STALE;
	*done = last;
	return ush_event_digest(event) == digest ? USH_STATUS_OK : USH_CHANGE_IS_NEW;
}

void ush_change_discard(struct ush_inventory *inventory, struct ush_change *change)
{
	USH_ASSERT(ush_event_change(change->event) != change);
	if (change->arena_end == inventory->arena_used)
		inventory->arena_used = change->arena_mark;
}

/* ---- making it visible ---- */

/* All seats that are on sale are set aside: nobody takes them before those who wait. */
static uint32_t set_aside(struct ush_rows *part)
{
	uint32_t seats = 0;

	for (uint32_t i = 0; i < part->count; i++) {
		struct ush_row *row = &part->rows[i];
		uint64_t free = atomic_load_explicit(&row->free, memory_order_relaxed);

		if (free == 0)
			continue;
		atomic_store_explicit(&row->house, row->seats, memory_order_relaxed);
		atomic_store_explicit(&row->free, 0, memory_order_relaxed);
		atomic_store_explicit(&part->aside[i], free, memory_order_relaxed);
		atomic_store_explicit(&part->aside_marks[i], free, memory_order_relaxed);
		atomic_fetch_or_explicit(
			&part->aside_rows[i / 64], 1ull << (i & 63), memory_order_relaxed);
		seats += ush_popcount64(free);
	}
	return seats;
}

static void show_rows(struct ush_change *change, bool aside)
{
	struct ush_event *event = change->event;
	uint32_t seats = aside ? set_aside(change->rows) : 0;

	if (seats != 0)
		atomic_store_explicit(&event->keeps, 1, memory_order_release);
	/* Seats before those of them that are off sale: sold out must never be seen too early. */
	atomic_store_explicit(&event->seat_count, change->seat_count, memory_order_release);
	atomic_fetch_add_explicit(
		&event->house_count, change->house_count + seats, memory_order_acq_rel);
	atomic_fetch_add_explicit(&event->aside_count, seats, memory_order_acq_rel);
	/* What leads to the rows comes after the rows. The index in total order with seats that
	 * come free: see best_of. */
	atomic_store_explicit(&event->parts, change->rows, memory_order_release);
	atomic_store_explicit(&event->best, change->best, memory_order_seq_cst);
	atomic_store_explicit(&event->best_exempt, change->best_exempt, memory_order_relaxed);
	atomic_store_explicit(&event->sections, change->sections, memory_order_release);
	atomic_store_explicit(&event->section_count, change->section_count, memory_order_release);
	atomic_store_explicit(&event->row_count, change->row_count, memory_order_release);
}

void ush_change_show(struct ush_change *change, uint32_t request_id, uint64_t sequence, bool aside)
{
	struct ush_event *event = change->event;

	change->request_id = request_id;
	change->sequence = sequence;
	if (change->rows != NULL)
		show_rows(change, aside);
	if (change->prices != NULL) {
		/* Holds by the new list say so in a record of their own: see loop_act_done. */
		atomic_store_explicit(&event->keeps, 1, memory_order_release);
		atomic_store_explicit(&event->prices, change->prices, memory_order_release);
	}
	atomic_store_explicit(&event->change, change, memory_order_release);
}
