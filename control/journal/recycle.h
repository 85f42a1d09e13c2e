/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which segments of a journal are still needed, and by whom.
 *
 * Owns:  nothing.
 * Reads: snapshots, readers' positions.
 * Never: uses a segment again; housekeeping does, when nobody here needs it.
 */
#ifndef USH_RECYCLE_H
#define USH_RECYCLE_H

#include "journal/journal.h"
#include "journal/position.h"
#include "journal/snapshot.h"

/* Readers, snapshots, the chain and the archive. */
#define USH_NEEDS_MAX (USH_READERS_MAX + 4u)

/* Somebody needs the block before `sequence`, and all after it. */
struct ush_need {
	uint64_t sequence;
	/* When it was said, Unix ns; 0: does not matter. */
	uint64_t time_ns;
	char who[USH_READER_NAME_MAX + 24];
};

/*
 * Who needs what: the older of the two newest good snapshots (without two, everything is needed:
 * one that rots must not cost the history), each reader, and an archive that is wanted and has not
 * begun.
 * in:  archived: nothing may go that is not archived. out: needs: of USH_NEEDS_MAX.
 * err: the directory cannot be read; message.
 * cost: reads the two newest snapshots whole, the first time that it sees them.
 */
int ush_needs(struct ush_journal *journal, bool archived, struct ush_need *needs, uint32_t *count,
	struct ush_message *message);

/* A segment: its name, and its blocks [first, end) in the history. */
struct ush_segment_view {
	const char *name;
	uint32_t epoch;
	uint64_t first;
	uint64_t end;
};

/* ret: false: there is none at `index`; the oldest is at 0. */
bool ush_segment_view(
	const struct ush_journal *journal, uint32_t index, struct ush_segment_view *view);

/* Where a journal begins whose first segments were recycled: a point to be read from, without a
 * state. ret: false: it has its beginning, or should have: no good snapshot stands for it. */
bool ush_journal_begins(struct ush_journal *journal, struct ush_snapshot_point *point);

/* ret: true if `need` needs the segment. */
bool ush_need_segment(const struct ush_need *need, const struct ush_segment_view *view);

#endif /* USH_RECYCLE_H */
