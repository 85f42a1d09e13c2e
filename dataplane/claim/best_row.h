/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A row block with its neighbours of the same long row as one word of 128 bits, and the windows of
 * k seats in it.
 *
 * Owns:  nothing.
 * Reads: row words.
 * Never: used outside dataplane/claim/ and its tests.
 */
#ifndef USH_BEST_ROW_H
#define USH_BEST_ROW_H

#include "claim/best.h"

__extension__ typedef unsigned __int128 ush_u128;

/* Bits before the row's own: the last two seats of the block before, for the orphan rule. */
#define BEST_BASE 2u

struct best_view {
	/* Free seats that are neither accessible nor companion seats (all free seats when the
	 * group wants such): what a single seat is judged by. */
	ush_u128 free;
	/* Free seats the group may get: of this block and, in a long row, the next. */
	ush_u128 pick;
	/* Positions of the block. */
	uint32_t width;
	/* Twice the place where a group sits best. */
	uint32_t centre;
};

/* What a view is made for. */
struct best_want {
	/* A tier, or BEST_TIER_ANY. */
	int32_t tier;
	bool special;
	/* Windows may reach into the next block. */
	bool joined;
	/* Seats chosen already. */
	const struct ush_best_legs *chosen;
	/* Taken seats that count as free. */
	const struct ush_best_legs *given;
};
#define BEST_TIER_ANY (-1)

/* Bits of venue_row.flags. */
#define BEST_GENERAL 1u
#define BEST_CONTINUES 2u
#define BEST_GAP 4u

USH_INLINE uint32_t best_width(const struct ush_row *row)
{
	return 64u - (uint32_t)__builtin_clzll(row->seats);
}

/* ret: true if seats of row - 1 and row may be neighbours. */
USH_INLINE bool best_follows(const struct ush_event *event, uint32_t row)
{
	return row < ush_event_row_count(event) &&
	       (ush_event_row(event, row)->flags & (BEST_CONTINUES | BEST_GAP)) == BEST_CONTINUES;
}

/* ret: seats of a tier in a row. */
uint64_t best_tier_seats(const struct ush_row *row, int32_t tier);

/* ret: the special seats of a row, or NULL. */
const struct ush_best_special *best_special(const struct ush_event *event, uint32_t row);

/* ret: the index. Total order with freeing seats: who loads it afterwards loads the one that a
 * search which did not see them free may have. */
USH_INLINE struct ush_best *best_of(const struct ush_event *event)
{
	return atomic_load_explicit(&event->best, memory_order_seq_cst);
}

void best_view(const struct ush_event *event, uint32_t row, const struct best_want *want,
	struct best_view *view);

/* ret: bit = a window of k free seats starts here, in this block. in: k 1 to USH_BEST_RUN_MAX. */
ush_u128 best_starts(const struct best_view *view, uint32_t k);

/* ret: those of `starts` that leave no single seat beside the window. */
ush_u128 best_clean(const struct best_view *view, ush_u128 starts, uint32_t k);

/* ret: the start whose window lies nearest to `centre` (twice a position); the lower of two.
 * in: starts not 0. */
uint32_t best_nearest(ush_u128 starts, uint32_t k, uint32_t centre);

/* ret: the window's seats in the block; *next: in the block after it. */
uint64_t best_window(const struct best_view *view, uint32_t start, uint32_t k, uint64_t *next);

/* ret: bit k - 1 = a run of k, 1 to 8. */
uint32_t best_fits(ush_u128 free);

/* ret: bit k - 1 = a run of k, 1 to 8, that need leave no single seat. in: a row alone. */
uint32_t best_cleans(uint64_t free);

#endif /* USH_BEST_ROW_H */
