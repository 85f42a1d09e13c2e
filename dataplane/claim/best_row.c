/* SPDX-License-Identifier: Apache-2.0 */
#include "claim/best_row.h"

uint64_t best_tier_seats(const struct ush_row *row, int32_t tier)
{
	uint64_t seats = 0, others = 0;

	if (tier == BEST_TIER_ANY)
		return row->seats;
	for (uint32_t i = 1; i < USH_ROW_TIERS; i++) {
		if (row->tier[i] == tier)
			seats |= row->tier_mask[i - 1];
		others |= row->tier_mask[i - 1];
	}
	if (row->tier[0] == tier)
		seats |= row->seats & ~others;
	return seats;
}

const struct ush_best_special *best_special(const struct ush_event *event, uint32_t row)
{
	const struct ush_best *best = best_of(event);
	uint32_t low = 0, high = best->special_count;

	if (high == 0 || (best->special_rows[row >> 6] >> (row & 63) & 1) == 0)
		return NULL;
	while (high - low > 1) {
		uint32_t middle = (low + high) >> 1;
		if (best->special[middle].row <= row)
			low = middle;
		else
			high = middle;
	}
	return &best->special[low];
}

/* ret: free seats of a row as the group sees them. */
static uint64_t row_free(const struct ush_event *event, uint32_t row, const struct best_want *want)
{
	/* Total order with the bits of the index; see ush_best_note. */
	uint64_t free =
		atomic_load_explicit(&ush_event_row(event, row)->free, memory_order_seq_cst);
	const struct ush_best_special *special = best_special(event, row);

	if (special != NULL && !want->special)
		free &= ~(special->accessible | special->companion);
	for (uint32_t i = 0; want->given != NULL && i < want->given->count; i++) {
		if (want->given->row[i] == row)
			free |= want->given->mask[i];
	}
	for (uint32_t i = 0; want->chosen != NULL && i < want->chosen->count; i++) {
		if (want->chosen->row[i] == row)
			free &= ~want->chosen->mask[i];
	}
	return free;
}

void best_view(const struct ush_event *event, uint32_t row, const struct best_want *want,
	struct best_view *view)
{
	const struct ush_row *at = ush_event_row(event, row);
	uint64_t free = row_free(event, row, want);
	bool before = best_follows(event, row), after = best_follows(event, row + 1);

	view->width = best_width(at);
	view->centre = 2 * BEST_BASE + view->width;
	view->free = (ush_u128)free << BEST_BASE;
	view->pick = (ush_u128)(free & best_tier_seats(at, want->tier)) << BEST_BASE;
	if (before) {
		uint32_t width = best_width(at - 1);
		uint64_t seats = row_free(event, row - 1, want);

		view->free |= width >= 2 ? seats >> (width - 2) & 3 : (seats & 1) << 1;
	}
	if (after) {
		uint64_t seats = row_free(event, row + 1, want);

		view->free |= (ush_u128)seats << (BEST_BASE + view->width);
		if (want->joined)
			view->pick |= (ush_u128)(seats & best_tier_seats(at + 1, want->tier))
				      << (BEST_BASE + view->width);
		if (best_follows(event, row + 2)) {
			uint32_t end = BEST_BASE + view->width + best_width(at + 1);

			if (end < 126)
				view->free |= (ush_u128)row_free(event, row + 2, want) << end;
		}
	}
	/* The middle of a long row is where its blocks meet. */
	if (before != after)
		view->centre = 2 * (BEST_BASE + (after ? view->width : 0));
}

ush_u128 best_starts(const struct best_view *view, uint32_t k)
{
	ush_u128 run = view->pick;

	for (uint32_t have = 1; have < k;) {
		uint32_t step = have < k - have ? have : k - have;
		run &= run >> step;
		have += step;
	}
	return run & ((((ush_u128)1 << view->width) - 1) << BEST_BASE);
}

ush_u128 best_clean(const struct best_view *view, ush_u128 starts, uint32_t k)
{
	ush_u128 free = view->free;
	ush_u128 left = (free << 1) & ~(free << 2);
	ush_u128 right = (free >> k) & ~(free >> (k + 1));

	return starts & ~(left | right);
}

static uint32_t lowest(ush_u128 word)
{
	uint64_t low = (uint64_t)word;

	return low != 0 ? (uint32_t)__builtin_ctzll(low)
			: 64u + (uint32_t)__builtin_ctzll((uint64_t)(word >> 64));
}

static uint32_t highest(ush_u128 word)
{
	uint64_t high = (uint64_t)(word >> 64);

	return high != 0 ? 127u - (uint32_t)__builtin_clzll(high)
			 : 63u - (uint32_t)__builtin_clzll((uint64_t)word);
}

uint32_t best_nearest(ush_u128 starts, uint32_t k, uint32_t centre)
{
	/* 2 * start + k is to be `centre`. */
	uint32_t ideal = centre > k ? (centre - k) >> 1 : 0;
	ush_u128 below = starts & (((ush_u128)1 << (ideal + 1)) - 1), above = starts & ~below;
	uint32_t low, high;

	if (below == 0)
		return lowest(starts);
	low = highest(below);
	if (above == 0)
		return low;
	high = lowest(above);
	/* low <= ideal < high; distances of twice the windows' middles. */
	return (int32_t)(centre - k) - (int32_t)(2 * low) <=
			       (int32_t)(2 * high) - (int32_t)(centre - k)
		       ? low
		       : high;
}

uint64_t best_window(const struct best_view *view, uint32_t start, uint32_t k, uint64_t *next)
{
	ush_u128 window = (((ush_u128)1 << k) - 1) << start >> BEST_BASE;

	*next = (uint64_t)(window >> view->width);
	return (uint64_t)(window & (((ush_u128)1 << view->width) - 1));
}

uint32_t best_fits(ush_u128 free)
{
	ush_u128 run = free;
	uint32_t classes = 0;

	for (uint32_t k = 1; k <= USH_BEST_CLASSES && run != 0; k++) {
		classes |= 1u << (k - 1);
		run &= free >> k;
	}
	return classes;
}

uint32_t best_cleans(uint64_t free)
{
	/* run[k]: runs of k start here. A whole run of exactly k will do, and so will one of k + 2
	 * or more: the group sits at its end. */
	uint64_t run[USH_BEST_CLASSES + 3], first = free & ~(free << 1);
	uint32_t classes = 0;

	run[1] = free;
	for (uint32_t k = 1; k < USH_BEST_CLASSES + 2; k++)
		run[k + 1] = run[k] & (free >> k);
	for (uint32_t k = 1; k <= USH_BEST_CLASSES; k++) {
		if (run[k + 2] != 0 || (first & run[k] & ~run[k + 1]) != 0)
			classes |= 1u << (k - 1);
	}
	return classes;
}
