/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What may block on the disk and must not hold up the writer: segments made ready ahead of need,
 * full ones closed, the hash chain.
 */
#include <stdio.h>
#include <string.h>

#include "journal/internal.h"

/* Work that can wait gives way to the loops, which may want this core and this disk, while the log
 * grows by BUSY_BLOCKS between two looks (usherd: 2 ms; so at 32 MB/s and more): spare segments
 * beyond half the stock, and hashing, unless it is LAG_BLOCKS behind: 512 MiB, a few seconds of the
 * worst flood. */
#define BUSY_BLOCKS 16u
#define LAG_BLOCKS (512ull << 20 >> 12)
/* Turns between two looks at what may be recycled: in usherd 1 s when there is nothing to do. */
#define RECYCLE_TURNS 512u

void count_spares(struct ush_journal *journal)
{
	atomic_store_explicit(
		&journal->spares_ready, journal->segments.spare_count, memory_order_relaxed);
}

static int make_spare(struct ush_journal *journal, struct ush_message *message)
{
	/* A number is used up only by success: what failed is made anew under the same name. */
	uint32_t number = journal->segments.spare_next;
	char name[USH_DISK_NAME_MAX];
	int error;

	spare_name(name, number);
	error = journal->disk->create(
		journal->disk->context, name, journal->segment_blocks * USH_BLOCK_BYTES);
	if (error == 0)
		error = segment_list_add_spare(&journal->segments, number);
	if (error != 0)
		ush_message_set(message, "journal %s: cannot make a segment of %llu MiB: %s%s%s",
			journal->directory,
			(unsigned long long)(journal->segment_blocks * USH_BLOCK_BYTES >> 20),
			ush_error_text(error), journal_mend(error),
			journal->log != NULL ? ", or sales stop" : "");
	count_spares(journal);
	return error;
}

/* Takes spares that are not as large as a segment off the list and the disk: someone cut them. */
static int drop_bad_spares(struct ush_journal *journal)
{
	struct segment_list *list = &journal->segments;
	const struct ush_disk *disk = journal->disk;
	char name[USH_DISK_NAME_MAX];

	while (list->spare_count != 0) {
		int64_t size;
		int file, error;

		spare_name(name, list->spares[list->spare_count - 1]);
		file = disk->open(disk->context, name, false);
		if (file < 0 && file != -USH_ENOENT)
			return file;
		size = file < 0 ? 0 : disk->size(disk->context, file);
		if (file >= 0)
			disk->close(disk->context, file);
		if (size < 0)
			return (int)size;
		if ((uint64_t)size == journal->segment_blocks * USH_BLOCK_BYTES)
			return 0;
		error = file < 0 ? 0 : disk->unlink(disk->context, name);
		if (error != 0)
			return error;
		list->spare_count--;
	}
	return 0;
}

int housekeep_stock(struct ush_journal *journal, struct ush_message *message)
{
	int error = drop_bad_spares(journal);

	if (error != 0) {
		ush_message_set(message, "journal %s: cannot look at the spare segments: %s%s",
			journal->directory, ush_error_text(error), journal_mend(error));
		return error;
	}
	return journal->segments.spare_count == 0 ? make_spare(journal, message) : 0;
}

/* Gives the newest spare a segment's name. Whatever fails, the spare stays one. */
static int name_segment(struct ush_journal *journal, uint64_t first, struct ush_message *message)
{
	struct segment_list *list = &journal->segments;
	char spare[USH_DISK_NAME_MAX], name[USH_DISK_NAME_MAX];
	int error = housekeep_stock(journal, message);

	if (error != 0)
		return error;
	spare_name(spare, list->spares[list->spare_count - 1]);
	segment_name(name, journal->box.epoch, first);
	error = segment_list_reserve(list);
	if (error == 0)
		error = journal->disk->rename(journal->disk->context, spare, name);
	if (error != 0) {
		ush_message_set(message, "journal %s: cannot name segment %s: %s",
			journal->directory, name, ush_error_text(error));
		return error;
	}
	list->spare_count--;
	count_spares(journal);
	error = segment_list_add(list, journal->box.epoch, first);
	USH_ASSERT(error == 0);
	return 0;
}

int housekeep_prepare(struct ush_journal *journal, uint64_t first, struct ush_message *message)
{
	const struct segment_list *list = &journal->segments;
	const struct segment *last = list->count != 0 ? &list->items[list->count - 1] : NULL;
	int error, file;

	/* It has its name already when only opening it failed the last time. */
	if (last == NULL || last->epoch != journal->box.epoch || last->first != first) {
		error = name_segment(journal, first, message);
		if (error != 0)
			return error;
		last = &list->items[list->count - 1];
	}
	file = journal->disk->open(journal->disk->context, last->name, true);
	if (file < 0) {
		ush_message_set(message, "journal %s: cannot open segment %s: %s",
			journal->directory, last->name, ush_error_text(file));
		return file;
	}
	journal->prepare_first = first + journal->segment_blocks;
	return file;
}

/* A sync that failed is never tried again: what the kernel says the second time means nothing. */
static bool stop_if_lying(const struct ush_journal *journal, int error)
{
	if (error == -USH_EIO)
		journal_fail(journal, "cannot make a segment ready", error);
	return false;
}

static bool keep_segments(struct ush_journal *journal, bool busy, struct ush_message *trouble)
{
	const uint32_t wanted =
		busy ? (journal->config.spare_count + 1) / 2 : journal->config.spare_count;
	int old = atomic_load_explicit(&journal->old_file, memory_order_acquire);
	int error;

	if (old >= 0) {
		journal->disk->close(journal->disk->context, old);
		atomic_store_explicit(&journal->old_file, -1, memory_order_release);
	}
	if (atomic_load_explicit(&journal->next_file, memory_order_acquire) < 0) {
		uint64_t first = journal->prepare_first;
		int file = housekeep_prepare(journal, first, trouble);
		/* What is left of the current segment is for those who pay and give back. */
		ush_log_keep(journal->log, file < 0);
		if (file < 0)
			return stop_if_lying(journal, file);
		atomic_store_explicit(&journal->next_first, first, memory_order_relaxed);
		atomic_store_explicit(&journal->next_file, file, memory_order_release);
		return true;
	}
	if (journal->segments.spare_count >= wanted)
		return ++journal->recycle_turn % RECYCLE_TURNS == 0 &&
		       recycle(journal, false, trouble);
	if (recycle(journal, true, trouble))
		return true;
	error = make_spare(journal, trouble);
	return error == 0 || stop_if_lying(journal, error);
}

/* ret: place in the list of the segment that holds a block: the last one that starts at or before
 * it, since a newer epoch's segments come later and overrule. */
static uint32_t find_segment(const struct segment_list *list, uint64_t block)
{
	uint32_t i = list->count;

	while (i > 0 && list->items[i - 1].first > block)
		i--;
	USH_ASSERT(i > 0);
	return i - 1;
}

static bool chain_trouble(struct ush_journal *journal, struct ush_message *trouble, int64_t error)
{
	/* A missing segment is the worse trouble. */
	if (trouble->text[0] == '\0')
		ush_message_set(trouble,
			"journal %s: cannot read segment %s for the hash chain: %s; sales go on, but the "
			"chain stands still until it can be read",
			journal->directory, journal->segments.items[journal->chain_segment].name,
			error < 0 ? ush_error_text((int)error) : "it is too short");
	return false;
}

/* Adds up to 256 durable blocks to the chain. */
static bool keep_chain(
	struct ush_journal *journal, uint64_t durable, bool busy, struct ush_message *trouble)
{
	struct chain *chain = &journal->chain;
	const struct segment *segment;
	uint64_t count;
	uint32_t at;
	int64_t got;

	if (chain->block >= durable || (busy && durable - chain->block < LAG_BLOCKS))
		return false;
	at = find_segment(&journal->segments, chain->block);
	segment = &journal->segments.items[at];
	if (journal->chain_file < 0 || journal->chain_segment != at) {
		if (journal->chain_file >= 0)
			journal->disk->close(journal->disk->context, journal->chain_file);
		journal->chain_segment = at;
		journal->chain_file =
			journal->disk->open(journal->disk->context, segment->name, false);
		if (journal->chain_file < 0)
			return chain_trouble(journal, trouble, journal->chain_file);
	}
	count = ush_min64(durable - chain->block, READ_BYTES / USH_BLOCK_BYTES);
	count = ush_min64(count, segment->first + journal->segment_blocks - chain->block);
	if (at + 1 < journal->segments.count)
		count = ush_min64(count, journal->segments.items[at + 1].first - chain->block);
	got = segment_read(journal, journal->chain_file, chain->block - segment->first, count);
	if (got <= 0)
		return chain_trouble(journal, trouble, got);
	for (int64_t i = 0; i < got; i++)
		chain_add(chain, journal->read_buffer + i * USH_BLOCK_BYTES);
	chain_publish(chain);
	atomic_store_explicit(&journal->chain_reached, chain->block, memory_order_release);
	return true;
}

bool housekeep(struct ush_journal *journal, struct ush_message *trouble)
{
	uint64_t durable = ush_log_durable(journal->log) / USH_BLOCK_SLOTS;
	bool busy, segments, chain;

	trouble->text[0] = '\0';
	/* ush_journal_finish may be at it on another thread. */
	if (atomic_exchange_explicit(&journal->keeping, true, memory_order_acquire))
		return false;
	busy = durable - journal->looked >= BUSY_BLOCKS;
	journal->looked = durable;
	segments = keep_segments(journal, busy, trouble);
	chain = keep_chain(journal, durable, busy, trouble);
	atomic_store_explicit(&journal->keeping, false, memory_order_release);
	return segments || chain;
}

bool ush_journal_housekeep(struct ush_journal *journal)
{
	return housekeep(journal, &journal->trouble);
}

const char *ush_journal_trouble(const struct ush_journal *journal)
{
	return journal->trouble.text[0] != '\0' ? journal->trouble.text : NULL;
}
