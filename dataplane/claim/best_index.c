/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The index of an event: laid out and built with every bit set, and told of changes.
 *
 * Happy path: seats come free, and the bits of what may fit now are set where they are clear. A
 * claim sets bits too: a run of five cannot seat four without an orphan, a run of four can.
 *
 * Failure modes: a search clears a bit while seats come free. The search looks at the row again
 * after it cleared the bit, the other looks at the bit after it freed the seats, all in one total
 * order: one of the two sees the other and sets the bit.
 */
#include <string.h>

#include "claim/best_row.h"

struct layout {
	uint32_t segments;
	uint32_t groups;
	uint32_t specials;
	bool mixed;
	size_t groups_at, row_segment_at, segment_row_at, whole_at, tiers_at, special_rows_at,
		special_at, bytes;
};

/* ret: how many different tiers the row's seats have. */
static uint32_t tier_slots(const struct ush_row *row, uint8_t *tiers)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < USH_ROW_TIERS; i++) {
		bool known = false;

		for (uint32_t j = 0; j < count; j++)
			known |= tiers[j] == row->tier[i];
		if (!known && best_tier_seats(row, row->tier[i]) != 0)
			tiers[count++] = row->tier[i];
	}
	return count;
}

static uint32_t segments_of(const struct ush_row *row)
{
	uint8_t tiers[USH_ROW_TIERS];
	uint32_t count = tier_slots(row, tiers);

	return count == 1 ? 1 : count + 1;
}

static size_t place(struct layout *l, size_t bytes)
{
	size_t at = l->bytes;

	l->bytes = (at + bytes + USH_CACHE_LINE - 1) & ~(size_t)(USH_CACHE_LINE - 1);
	return at;
}

static struct ush_venue_row image_row(const struct ush_venue_row *rows, uint32_t index)
{
	struct ush_venue_row row;

	/* In an image it may stand anywhere. */
	memcpy(&row, (const uint8_t *)rows + (size_t)index * sizeof(row), sizeof(row));
	return row;
}

struct ush_row ush_row_of_image(const struct ush_venue_row *rows, uint32_t index)
{
	struct ush_venue_row source = image_row(rows, index);
	struct ush_row row = {
		.seats = source.seats, .section = source.section, .flags = source.flags};

	memcpy(row.tier_mask, source.tier_mask, sizeof(row.tier_mask));
	memcpy(row.tier, source.tier, sizeof(row.tier));
	return row;
}

static void lay_out(
	struct layout *l, const struct ush_venue_row *rows, uint32_t row_count, uint32_t tier_count)
{
	*l = (struct layout){0};
	for (uint32_t i = 0; i < row_count; i++) {
		struct ush_row fixed = ush_row_of_image(rows, i);
		uint32_t segments = segments_of(&fixed);
		struct ush_venue_row row = image_row(rows, i);

		l->mixed |= segments != 1;
		l->segments += segments;
		l->specials += (row.accessible | row.companion) != 0;
	}
	l->groups = (l->segments + 63) >> 6;
	l->bytes = sizeof(struct ush_best);
	l->groups_at = place(l, l->groups * sizeof(struct ush_best_group));
	if (l->mixed) {
		l->row_segment_at = place(l, row_count * sizeof(uint32_t));
		l->segment_row_at = place(l, l->segments * sizeof(uint16_t));
	}
	l->whole_at = place(l, l->groups * sizeof(uint64_t));
	l->tiers_at = place(l, (size_t)tier_count * l->groups * sizeof(uint64_t));
	if (l->specials != 0) {
		l->special_rows_at = place(l, ((row_count + 63) >> 6) * sizeof(uint64_t));
		l->special_at = place(l, l->specials * sizeof(struct ush_best_special));
	}
}

size_t ush_best_bytes(const struct ush_venue_row *rows, uint32_t row_count, uint32_t tier_count)
{
	struct layout l;

	lay_out(&l, rows, row_count, tier_count);
	return l.bytes;
}

static void init_segments(struct ush_best *best, const struct ush_venue_row *rows)
{
	uint32_t segment = 0;

	for (uint32_t i = 0; i < best->row_count; i++) {
		const struct ush_row row = ush_row_of_image(rows, i);
		uint8_t tiers[USH_ROW_TIERS];
		uint32_t count = tier_slots(&row, tiers), all = count == 1 ? 1 : count + 1;
		bool seats = (row.flags & BEST_GENERAL) == 0;

		if (best->row_segment != NULL)
			best->row_segment[i] = segment;
		for (uint32_t s = 0; s < all; s++, segment++) {
			uint64_t bit = 1ull << (segment & 63);

			if (best->row_segment != NULL)
				best->segment_row[segment] = (uint16_t)i;
			if (seats && s == 0)
				best->whole[segment >> 6] |= bit;
			if (seats && (s != 0 || all == 1))
				best->tier_segments[tiers[s == 0 ? 0 : s - 1] * best->group_count +
						    (segment >> 6)] |= bit;
		}
	}
	for (uint32_t g = 0; g < best->group_count; g++) {
		for (uint32_t c = 0; c < USH_BEST_CLASSES; c++) {
			atomic_init(&best->groups[g].fits[c], ~0ull);
			atomic_init(&best->groups[g].clean[c], ~0ull);
		}
	}
}

static void init_special(struct ush_best *best, const struct ush_venue_row *rows)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < best->row_count; i++) {
		struct ush_venue_row row = image_row(rows, i);

		if ((row.accessible | row.companion) == 0)
			continue;
		best->special_rows[i >> 6] |= 1ull << (i & 63);
		best->special[count++] = (struct ush_best_special){
			.accessible = row.accessible, .companion = row.companion, .row = i};
	}
	best->special_count = count;
}

void ush_best_init(struct ush_best *best, const struct ush_venue_row *rows, uint32_t row_count,
	uint32_t tier_count)
{
	uint8_t *base = (uint8_t *)best;
	struct layout l;

	lay_out(&l, rows, row_count, tier_count);
	best->row_count = row_count;
	best->segment_count = l.segments;
	best->group_count = l.groups;
	best->groups = (struct ush_best_group *)(void *)(base + l.groups_at);
	if (l.mixed) {
		best->row_segment = (uint32_t *)(void *)(base + l.row_segment_at);
		best->segment_row = (uint16_t *)(void *)(base + l.segment_row_at);
	}
	best->whole = (uint64_t *)(void *)(base + l.whole_at);
	best->tier_segments = (uint64_t *)(void *)(base + l.tiers_at);
	init_segments(best, rows);
	if (l.specials != 0) {
		best->special_rows = (uint64_t *)(void *)(base + l.special_rows_at);
		best->special = (struct ush_best_special *)(void *)(base + l.special_at);
		init_special(best, rows);
	}
}

/* ---- changes ---- */

static void set_bits(_Atomic uint64_t *words, uint32_t classes, uint64_t bit)
{
	while (classes != 0) {
		_Atomic uint64_t *word = &words[__builtin_ctz(classes)];

		/* Mostly set already; then the line stays shared. */
		if ((atomic_load_explicit(word, memory_order_seq_cst) & bit) == 0)
			atomic_fetch_or_explicit(word, bit, memory_order_seq_cst);
		classes &= classes - 1;
	}
}

/* ret: bit k - 1 = the segment may hold a run of k: of any tier or of one. Special seats count,
 * which errs on the safe side. */
static uint32_t may_fit(const struct ush_event *event, uint32_t row, int32_t tier)
{
	const struct ush_row *at = ush_event_row(event, row);
	ush_u128 free =
		atomic_load_explicit(&at->free, memory_order_seq_cst) & best_tier_seats(at, tier);

	if (best_follows(event, row + 1)) {
		const struct ush_row *next = at + 1;

		free |= (ush_u128)(atomic_load_explicit(&next->free, memory_order_seq_cst) &
				   best_tier_seats(next, tier))
			<< best_width(at);
	}
	return best_fits(free);
}

static void note_row(const struct ush_event *event, uint32_t row)
{
	struct ush_best *best = best_of(event);
	const struct ush_row *at = ush_event_row(event, row);
	uint32_t segment = best->row_segment != NULL ? best->row_segment[row] : row;
	uint32_t fits = may_fit(event, row, BEST_TIER_ANY), clean = fits;
	uint8_t tiers[USH_ROW_TIERS];
	uint32_t count;

	if ((at->flags & BEST_GENERAL) != 0)
		fits = clean = fits != 0 ? 0xff : 0;
	else if (!best_follows(event, row) && !best_follows(event, row + 1) &&
		 best_special(event, row) == NULL)
		clean = best_cleans(atomic_load_explicit(&at->free, memory_order_seq_cst));
	set_bits(best->groups[segment >> 6].fits, fits, 1ull << (segment & 63));
	set_bits(best->groups[segment >> 6].clean, clean, 1ull << (segment & 63));
	if (best->row_segment == NULL)
		return;
	count = tier_slots(at, tiers);
	for (uint32_t i = 0; count > 1 && i < count; i++) {
		segment++;
		fits = may_fit(event, row, tiers[i]);
		set_bits(best->groups[segment >> 6].fits, fits, 1ull << (segment & 63));
		set_bits(best->groups[segment >> 6].clean, fits, 1ull << (segment & 63));
	}
}

void ush_best_note(const struct ush_event *event, uint32_t row)
{
	/* Before the first search all bits are set. Total order: who frees seats and sees no
	 * search comes before the search's first look. */
	if (atomic_load_explicit(&event->best_used, memory_order_seq_cst) == 0)
		return;
	note_row(event, row);
	if (best_follows(event, row)) {
		note_row(event, row - 1);
		if (best_follows(event, row - 1))
			note_row(event, row - 2);
	}
	if (best_follows(event, row + 1))
		note_row(event, row + 1);
}

/* ret: bit k - 1 = the search would find a run of k in the segment. */
static uint32_t does_fit(const struct ush_event *event, uint32_t row, int32_t tier, bool clean)
{
	const struct best_want want = {.tier = tier, .joined = true};
	struct best_view view;
	uint32_t classes = 0;

	best_view(event, row, &want, &view);
	for (uint32_t k = 1; k <= USH_BEST_CLASSES; k++) {
		ush_u128 starts = best_starts(&view, k);
		if (clean)
			starts = best_clean(&view, starts, k);
		if (starts != 0)
			classes |= 1u << (k - 1);
	}
	return classes;
}

static bool segment_is_safe(
	const struct ush_event *event, uint32_t row, uint32_t segment, int32_t tier)
{
	const struct ush_best_group *group = &best_of(event)->groups[segment >> 6];
	uint32_t fits = does_fit(event, row, tier, false), clean = does_fit(event, row, tier, true);

	for (uint32_t c = 0; c < USH_BEST_CLASSES; c++) {
		uint64_t bit = 1ull << (segment & 63);
		if ((fits >> c & 1) != 0 && (atomic_load(&group->fits[c]) & bit) == 0)
			return false;
		if ((clean >> c & 1) != 0 && (atomic_load(&group->clean[c]) & bit) == 0)
			return false;
	}
	return true;
}

bool ush_best_is_safe(const struct ush_event *event)
{
	const struct ush_best *best = best_of(event);
	uint8_t tiers[USH_ROW_TIERS];

	for (uint32_t i = 0; i < ush_event_row_count(event); i++) {
		const struct ush_row *row = ush_event_row(event, i);
		uint32_t segment = best->row_segment != NULL ? best->row_segment[i] : i;
		uint32_t count = tier_slots(row, tiers);

		if ((row->flags & BEST_GENERAL) != 0) {
			if (atomic_load(&row->free) != 0 &&
				(atomic_load(&best->groups[segment >> 6].fits[0]) >>
						(segment & 63) &
					1) == 0)
				return false;
			continue;
		}
		if (!segment_is_safe(event, i, segment, BEST_TIER_ANY))
			return false;
		for (uint32_t s = 0; count > 1 && s < count; s++) {
			if (!segment_is_safe(event, i, segment + 1 + s, tiers[s]))
				return false;
		}
	}
	return true;
}
