/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What may block on the disk and must not hold up the writer: segments made ready ahead of need,
 * full ones closed, the hash chain.
 */
#include <stdio.h>
#include <string.h>

#include "journal/internal.h"

static int take_spare(struct ush_journal *journal, char *name)
{
	struct segment_list *list = &journal->segments;

	if (list->spare_count == 0)
		return -USH_ENOENT;
	spare_name(name, list->spares[--list->spare_count]);
	return 0;
}

static int make_spare(struct ush_journal *journal, char *name, struct ush_message *message)
{
	int error;

	spare_name(name, journal->segments.spare_next++);
	error = journal->disk->create(
		journal->disk->context, name, journal->segment_blocks * USH_BLOCK_BYTES);
	if (error != 0)
		ush_message_set(message,
			"journal %s: cannot make a segment of %llu MiB: %s; free space on this disk, or "
			"sales stop when the current segment is full",
			journal->directory,
			(unsigned long long)(journal->segment_blocks * USH_BLOCK_BYTES >> 20),
			ush_error_text(error));
	return error;
}

int housekeep_prepare(struct ush_journal *journal, uint64_t first, struct ush_message *message)
{
	char spare[USH_DISK_NAME_MAX], name[USH_DISK_NAME_MAX];
	int error, file;

	if (take_spare(journal, spare) != 0) {
		error = make_spare(journal, spare, message);
		if (error != 0)
			return error;
	}
	segment_name(name, journal->box.epoch, first);
	error = journal->disk->rename(journal->disk->context, spare, name);
	if (error == 0)
		error = segment_list_add(&journal->segments, journal->box.epoch, first);
	if (error != 0) {
		ush_message_set(message, "journal %s: cannot name segment %s: %s",
			journal->directory, name, ush_error_text(error));
		return error;
	}
	file = journal->disk->open(journal->disk->context, name, true);
	if (file < 0) {
		ush_message_set(message, "journal %s: cannot open segment %s: %s",
			journal->directory, name, ush_error_text(file));
		return file;
	}
	journal->prepare_first = first + journal->segment_blocks;
	return file;
}

static bool keep_segments(struct ush_journal *journal)
{
	char name[USH_DISK_NAME_MAX];
	int old = atomic_load_explicit(&journal->old_file, memory_order_acquire);

	if (old >= 0) {
		journal->disk->close(journal->disk->context, old);
		atomic_store_explicit(&journal->old_file, -1, memory_order_release);
	}
	if (atomic_load_explicit(&journal->next_file, memory_order_acquire) < 0) {
		uint64_t first = journal->prepare_first;
		int file = housekeep_prepare(journal, first, &journal->trouble);
		if (file < 0)
			return false;
		atomic_store_explicit(&journal->next_first, first, memory_order_relaxed);
		atomic_store_explicit(&journal->next_file, file, memory_order_release);
		return true;
	}
	if (journal->segments.spare_count < journal->config.spare_count) {
		if (make_spare(journal, name, &journal->trouble) != 0)
			return false;
		if (segment_list_add_spare(&journal->segments, journal->segments.spare_next - 1) !=
			0)
			return false;
		atomic_store_explicit(&journal->spares_ready, journal->segments.spare_count,
			memory_order_relaxed);
		return true;
	}
	return false;
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

/* Adds up to 256 durable blocks to the chain. */
static bool keep_chain(struct ush_journal *journal)
{
	uint64_t durable = ush_log_durable(journal->log) / USH_BLOCK_SLOTS;
	struct chain *chain = &journal->chain;
	const struct segment *segment;
	uint64_t count;
	uint32_t at;
	int64_t got;

	if (chain->block >= durable)
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
			return false;
	}
	count = ush_min64(durable - chain->block, READ_BYTES / USH_BLOCK_BYTES);
	count = ush_min64(count, segment->first + journal->segment_blocks - chain->block);
	if (at + 1 < journal->segments.count)
		count = ush_min64(count, journal->segments.items[at + 1].first - chain->block);
	got = segment_read(journal, journal->chain_file, chain->block - segment->first, count);
	if (got <= 0)
		return false;
	for (int64_t i = 0; i < got; i++)
		chain_add(chain, journal->read_buffer + i * USH_BLOCK_BYTES);
	chain_publish(chain);
	atomic_store_explicit(&journal->chain_reached, chain->block, memory_order_relaxed);
	return true;
}

bool ush_journal_housekeep(struct ush_journal *journal)
{
	bool segments, chain;

	journal->trouble.text[0] = '\0';
	segments = keep_segments(journal);
	chain = keep_chain(journal);
	return segments || chain;
}

const char *ush_journal_trouble(const struct ush_journal *journal)
{
	return journal->trouble.text[0] != '\0' ? journal->trouble.text : NULL;
}
