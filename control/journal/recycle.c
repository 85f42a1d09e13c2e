/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Using segments again. Housekeeping looks now and then who needs what. When it wants a spare, the
 * oldest segment becomes one if nobody needs it and the hash chain is past it; of those that wait
 * for that, what is more than `reuse_max` is removed. One segment a turn, oldest first, each step
 * durable before the next: after a crash at any moment the journal begins one segment earlier or
 * later, and what recovery needs is there.
 *
 * What stands in a recycled file is of an older epoch, or of this one and an earlier place, until
 * it is written over: a leftover, which the table in block.c tells apart.
 *
 * Failure modes: whatever cannot be read or is damaged is taken to need everything; housekeeping
 * says so, and sales go on with new files as long as there is room.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "journal/internal.h"
#include "journal/recycle.h"
#include "journal/snapshot.h"

static struct ush_need *add(struct ush_need *needs, uint32_t *count, uint64_t sequence)
{
	struct ush_need *need = &needs[(*count)++];

	USH_ASSERT(*count <= USH_NEEDS_MAX);
	*need = (struct ush_need){.sequence = sequence};
	return need;
}

static int add_snapshots(struct ush_journal *journal, struct ush_need *needs, uint32_t *count,
	struct ush_message *message)
{
	uint64_t good[2] = {0};
	uint32_t found = 0;
	int error = snapshot_newest(journal, good, &found, message);

	if (error != 0)
		return error;
	if (found == 2)
		snprintf(add(needs, count, good[1])->who, sizeof(needs->who), "snapshot");
	else
		snprintf(add(needs, count, 0)->who, sizeof(needs->who), "fewer than 2 snapshots");
	return 0;
}

static int add_readers(struct ush_journal *journal, bool archived, struct ush_need *needs,
	uint32_t *count, struct ush_message *message)
{
	struct ush_reader readers[USH_READERS_MAX];
	uint32_t reader_count;
	bool has_archive = false;
	int error = ush_position_list(journal->disk, readers, &reader_count, message);

	if (error != 0)
		return error;
	for (uint32_t i = 0; i < reader_count; i++) {
		const struct ush_reader *r = &readers[i];
		bool usable = r->whole && r->position.box == journal->box.box;
		struct ush_need *need = add(needs, count, usable ? r->position.sequence : 0);

		need->time_ns = r->time_ns;
		snprintf(need->who, sizeof(need->who), "%.24s%s", r->name,
			!r->whole ? " (damaged)"
			: usable  ? ""
				  : " (of another box)");
		has_archive |= strcmp(r->name, USH_READER_ARCHIVE) == 0;
	}
	if (archived && !has_archive)
		snprintf(add(needs, count, 0)->who, sizeof(needs->who), "archive (not begun)");
	return 0;
}

int ush_needs(struct ush_journal *journal, bool archived, struct ush_need *needs, uint32_t *count,
	struct ush_message *message)
{
	int error;

	*count = 0;
	error = add_snapshots(journal, needs, count, message);
	return error != 0 ? error : add_readers(journal, archived, needs, count, message);
}

bool ush_segment_view(
	const struct ush_journal *journal, uint32_t index, struct ush_segment_view *view)
{
	const struct segment_list *list = &journal->segments;
	const struct segment *s = &list->items[index];

	if (index >= list->count)
		return false;
	*view = (struct ush_segment_view){
		s->name, s->epoch, s->first, s->first + journal->segment_blocks};
	for (uint32_t i = index + 1; i < list->count; i++)
		view->end = ush_min64(view->end, list->items[i].first);
	return true;
}

bool ush_journal_begins(struct ush_journal *journal, struct ush_snapshot_point *point)
{
	const struct segment_list *list = &journal->segments;
	struct ush_message ignored;
	uint64_t good[2];
	uint32_t found;

	if (list->count == 0 || list->items[0].first <= FIRST_BLOCK)
		return false;
	if (snapshot_newest(journal, good, &found, &ignored) != 0 || found == 0)
		return false;
	*point = (struct ush_snapshot_point){.box = journal->box.box,
		.sequence = list->items[0].first * USH_BLOCK_SLOTS,
		.epoch = list->items[0].epoch};
	return true;
}

bool ush_need_segment(const struct ush_need *need, const struct ush_segment_view *view)
{
	/* The block before is looked at, to see that it is the same history. */
	return need->sequence / USH_BLOCK_SLOTS < view->end + 1;
}

/* ret: how many of the oldest segments nobody needs. */
static uint32_t count_free(struct ush_journal *journal, struct ush_message *trouble)
{
	struct ush_need needs[USH_NEEDS_MAX];
	struct ush_need floor = {.sequence = UINT64_MAX};
	struct ush_segment_view view;
	uint32_t count, free = 0;

	if (ush_needs(journal, journal->config.recycle == USH_RECYCLE_ARCHIVED, needs, &count,
		    trouble) != 0)
		return 0;
	for (uint32_t i = 0; i < count; i++)
		floor.sequence = ush_min64(floor.sequence, needs[i].sequence);
	atomic_store_explicit(&journal->needed, floor.sequence, memory_order_relaxed);
	/* What is hashed is durable since long; the newest two stay whatever anybody says. */
	while (free + 2 < journal->segments.count && ush_segment_view(journal, free, &view) &&
		!ush_need_segment(&floor, &view) && view.end < journal->chain.block)
		free++;
	return free;
}

static void forget_oldest(struct ush_journal *journal)
{
	struct segment_list *list = &journal->segments;

	if (journal->chain_file >= 0 && journal->chain_segment == 0) {
		journal->disk->close(journal->disk->context, journal->chain_file);
		journal->chain_file = -1;
	} else if (journal->chain_file >= 0) {
		journal->chain_segment--;
	}
	list->count--;
	memmove(&list->items[0], &list->items[1], list->count * sizeof(list->items[0]));
}

bool recycle(struct ush_journal *journal, bool wanted, struct ush_message *trouble)
{
	const struct ush_disk *disk = journal->disk;
	struct segment_list *list = &journal->segments;
	char spare[USH_DISK_NAME_MAX];
	uint32_t free;
	int error;

	if (journal->config.recycle == USH_RECYCLE_OFF)
		return false;
	free = count_free(journal, trouble);
	if (free == 0 || (!wanted && free <= journal->config.reuse_max))
		return false;
	spare_name(spare, list->spare_next);
	error = wanted ? disk->rename(disk->context, list->items[0].name, spare)
		       : disk->unlink(disk->context, list->items[0].name);
	if (error != 0) {
		ush_message_set(trouble, "journal %s: cannot recycle segment %s: %s%s",
			journal->directory, list->items[0].name, ush_error_text(error),
			journal_mend(error));
		/* What could not be made durable may have happened. */
		if (error == -USH_EIO)
			journal_fail(journal, "cannot recycle a segment", error);
		return false;
	}
	/* Without memory for it the next spare takes its name. */
	if (wanted && segment_list_add_spare(list, list->spare_next) == 0)
		count_spares(journal);
	atomic_fetch_add_explicit(
		wanted ? &journal->recycled : &journal->removed, 1, memory_order_relaxed);
	forget_oldest(journal);
	return true;
}
