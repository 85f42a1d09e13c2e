/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Best available: which seats a group should get, found in row words by shifts and ands.
 *
 * A segment is a row block, or one tier of a block that has several. For each segment and each run
 * length of 1 to 8 a bit says whether the segment may have such a run free (`fits`), and whether it
 * may have a place for one that leaves no single seat behind (`clean`). A bit that is set may be
 * wrong and is cleared by the search that finds out; a bit that is clear is never wrong. So claims
 * and returns cost O(1), and the row word, by compare-and-swap, has the last word. See
 * docs/adr/0012.
 *
 * Owns:  the index of an event, in the event's part of the arena.
 * Reads: row words.
 * Never: claims; holds, users, the log.
 */
#ifndef USH_BEST_H
#define USH_BEST_H

#include "claim/claim.h"

#define USH_BEST_CLASSES 8u
/* Seats in one run. A window of 50 seats that starts in a block of 64 ends within the next one. */
#define USH_BEST_RUN_MAX 50u
/* Segments that stand together in the ranking and count as equally good; one byte of a word. */
#define USH_BEST_BAND 8u

/* 64 segments: word [length - 1], bit = segment. */
struct ush_best_group {
	_Atomic uint64_t fits[USH_BEST_CLASSES];
	_Atomic uint64_t clean[USH_BEST_CLASSES];
};

/* A row block with wheelchair places or companion seats. */
struct ush_best_special {
	uint64_t accessible;
	uint64_t companion;
	uint32_t row;
	uint32_t unused;
};

struct ush_best {
	/* Fixed. */
	uint32_t segment_count;
	uint32_t group_count;
	uint32_t special_count;
	uint32_t row_count;
	/* First segment of a row; NULL: segments are rows. */
	uint32_t *row_segment;
	uint16_t *segment_row;
	/* Bit = segment is a whole block of seats. */
	uint64_t *whole;
	/* For each tier: bit = segment has only seats of the tier. */
	uint64_t *tier_segments;
	/* Bit = row has special seats. */
	uint64_t *special_rows;
	struct ush_best_special *special;
	struct ush_best_group *groups;
};

/* What is wanted. */
struct ush_best_query {
	uint32_t seats;
	/* Of these: wheelchair places, and companion seats, each beside a place of its own. */
	uint32_t accessible;
	uint32_t companion;
	/* Rows looked at: [row_first, row_end). */
	uint32_t row_first;
	uint32_t row_end;
	/* Rows that the answer may touch, 1 to USH_LEG_COUNT_MAX. */
	uint32_t leg_max;
	uint32_t objective;
	uint32_t split;
	/* Where `spread` starts, a fraction of 2^32. */
	uint32_t start;
	/* Which of equal candidates comes first. */
	uint32_t turn;
	bool tier_given;
	uint8_t tier;
	bool avoid_orphans;
};

struct ush_best_legs {
	uint32_t count;
	uint16_t row[USH_LEG_COUNT_MAX];
	uint64_t mask[USH_LEG_COUNT_MAX];
};

/* ret: bytes of the index of an event. in: rows: of the image, checked. */
size_t ush_best_bytes(const struct ush_venue_row *rows, uint32_t row_count, uint32_t tier_count);

/* Builds it in zeroed memory of that size, 64-byte aligned: every bit is set, so it may replace
 * another that others are noting changes in. */
void ush_best_init(struct ush_best *best, const struct ush_venue_row *rows, uint32_t row_count,
	uint32_t tier_count);

/* ret: what a row of an image says, as a row; nothing of it is free. */
struct ush_row ush_row_of_image(const struct ush_venue_row *rows, uint32_t index);

/* Finds seats by the query; claims nothing. out: legs in row order.
 * ret: false when nothing fits. by: any loop. */
bool ush_best_find(
	struct ush_event *event, const struct ush_best_query *query, struct ush_best_legs *legs);

/* As ush_best_find for places of general admission: `seats`, `accessible` and rows count. */
bool ush_best_find_area(
	struct ush_event *event, const struct ush_best_query *query, struct ush_best_legs *legs);

/* in: given: seats that are given up for them, or NULL.
 * ret: true if taking all legs leaves a single seat beside leg `index`; *seats: those in its row, 0
 * when it is in the block before or after. */
bool ush_best_orphans(const struct ush_event *event, const struct ush_best_legs *legs,
	const struct ush_best_legs *given, uint32_t index, uint64_t *seats);

/* A row's free seats have changed: notes what may fit now. by: whoever changed them. cost: O(1). */
void ush_best_note(const struct ush_event *event, uint32_t row);

/* ret: false if something fits that the index denies. by: nobody else at work. */
bool ush_best_is_safe(const struct ush_event *event);

/* Seats are about to be given back. */
USH_INLINE void ush_best_giving(struct ush_event *event)
{
	atomic_fetch_add_explicit(&event->best_given, 1, memory_order_seq_cst);
}

#endif /* USH_BEST_H */
