/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "journal/internal.h"

#define SEGMENT_BYTES_DEFAULT (64ull << 20)
#define SEGMENT_BYTES_MIN (1ull << 20)
#define SEGMENT_BYTES_MAX (1ull << 40)
#define WRITE_NS_DEFAULT (30ull * 1000000000ull)

const char *journal_mend(int error)
{
	switch (error) {
	case -USH_ENOSPC:
		return "; free space on this disk";
	case -USH_EROFS:
	case -USH_EACCES:
		return "; make the directory writable for this user, or name another with "
		       "[journal] directory";
	case -USH_EIO:
		return "; mend the disk";
	default:
		return "";
	}
}

static int check_config(struct ush_journal_config *config, struct ush_message *message)
{
	if (config->segment_bytes == 0)
		config->segment_bytes = SEGMENT_BYTES_DEFAULT;
	if (config->spare_count == 0)
		config->spare_count = 2;
	if (config->depth == 0)
		config->depth = 4;
	if (config->write_bytes_max == 0)
		config->write_bytes_max = 1u << 20;
	if (config->write_ns_max == 0)
		config->write_ns_max = WRITE_NS_DEFAULT;
	if (config->segment_bytes % SEGMENT_BYTES_MIN != 0 ||
		config->segment_bytes > SEGMENT_BYTES_MAX)
		ush_message_set(message, "journal segment size must be a multiple of 1 MiB");
	else if (config->depth > DEPTH_MAX)
		ush_message_set(
			message, "journal depth %u is outside 1 to %u", config->depth, DEPTH_MAX);
	else if (config->write_bytes_max % USH_BLOCK_BYTES != 0 ||
		 config->write_bytes_max > 64u << 20)
		ush_message_set(
			message, "journal write size must be a multiple of 4 KiB up to 64 MiB");
	else
		return 0;
	return -USH_EINVAL;
}

/* Spares that an earlier journal left in this directory: of another size, perhaps, and with blocks
 * of another box. */
static int drop_spares(struct ush_journal *journal, struct ush_message *message)
{
	struct segment_list *list = &journal->segments;

	while (list->spare_count != 0) {
		char name[USH_DISK_NAME_MAX];
		int error;

		spare_name(name, list->spares[list->spare_count - 1]);
		error = journal->disk->unlink(journal->disk->context, name);
		if (error != 0) {
			ush_message_set(message, "cannot remove %s, left by another journal: %s",
				name, ush_error_text(error));
			return error;
		}
		list->spare_count--;
	}
	return 0;
}

static int load_box(struct ush_journal *journal, uint64_t now_ns, struct ush_message *message)
{
	int error = segment_list_read(&journal->segments, journal->disk, message);

	if (error != 0)
		return error;
	if (!journal->segments.has_box) {
		if (journal->config.read_only) {
			ush_message_set(
				message, "this is no journal directory: there is no box file");
			return -USH_ENOENT;
		}
		if (journal->segments.count != 0) {
			ush_message_set(message,
				"there are segments but no box file; restore `box` from a backup, or "
				"start with an empty directory");
			return -USH_ECORRUPT;
		}
		error = drop_spares(journal, message);
		if (error == 0)
			error = box_make(journal->disk, &journal->box,
				journal->config.segment_bytes, now_ns, message);
	} else {
		error = ush_journal_box_read(journal->disk, &journal->box, message);
	}
	if (error != 0)
		return error;
	/* The size was fixed when the journal was made. */
	if (journal->box.segment_bytes == 0 ||
		journal->box.segment_bytes % SEGMENT_BYTES_MIN != 0 ||
		journal->box.segment_bytes > SEGMENT_BYTES_MAX) {
		ush_message_set(message, "the box file names an impossible segment size");
		return -USH_ECORRUPT;
	}
	journal->segment_blocks = journal->box.segment_bytes / USH_BLOCK_BYTES;
	journal->key = (struct ush_key){journal->box.key0, journal->box.key1};
	return 0;
}

static int load(struct ush_journal *journal, uint64_t now_ns, struct ush_message *message)
{
	struct ush_message what = {{0}};
	int error = load_box(journal, now_ns, &what);

	if (error != 0)
		ush_message_set(message, "journal %s: %s", journal->directory, what.text);
	return error;
}

int ush_journal_open(struct ush_journal **out, const struct ush_journal_config *config,
	const struct ush_disk *disk, uint64_t now_ns, struct ush_message *message)
{
	struct ush_journal *journal = aligned_alloc(USH_CACHE_LINE,
		(sizeof(*journal) + USH_CACHE_LINE - 1) & ~(size_t)(USH_CACHE_LINE - 1));
	int error;

	if (journal == NULL) {
		ush_message_set(message, "no memory to open the journal");
		return -USH_ENOMEM;
	}
	memset(journal, 0, sizeof(*journal));
	journal->disk = disk;
	journal->config = *config;
	journal->file = journal->closing_file = journal->chain_file = -1;
	atomic_init(&journal->next_file, -1);
	atomic_init(&journal->old_file, -1);
	snprintf(journal->directory, sizeof(journal->directory), "%s", config->directory);
	journal->read_buffer = aligned_alloc(USH_BLOCK_BYTES, READ_BYTES);
	error = -USH_ENOMEM;
	if (journal->read_buffer == NULL) {
		ush_message_set(message, "no memory to open the journal");
		goto free_journal;
	}
	error = check_config(&journal->config, message);
	if (error != 0)
		goto free_journal;
	error = config->read_only ? 0 : disk->lock(disk->context);
	if (error != 0) {
		ush_message_set(message, "journal %s: cannot lock: %s%s", journal->directory,
			ush_error_text(error),
			error == -USH_EBUSY ? ": another usherd has it; stop that one first"
					    : journal_mend(error));
		goto free_journal;
	}
	error = load(journal, now_ns, message);
	if (error != 0)
		goto unlock;
	*out = journal;
	return 0;
unlock:
	segment_list_free(&journal->segments);
	if (!config->read_only)
		disk->unlock(disk->context);
free_journal:
	free(journal->read_buffer);
	free(journal);
	return error;
}

const struct ush_key *ush_journal_key(const struct ush_journal *journal)
{
	return &journal->key;
}

uint64_t ush_journal_box(const struct ush_journal *journal)
{
	return journal->box.box;
}

uint32_t ush_journal_epoch(const struct ush_journal *journal)
{
	return journal->box.epoch;
}

/* Segments of earlier epochs that hold nothing accepted become spares: what is in them is zero, or
 * was torn, and is told apart by epoch and place from now on. */
static int recycle_unused(struct ush_journal *journal, struct ush_message *message)
{
	struct segment_list *list = &journal->segments;

	/* From the end, so that a crash on the way leaves no gap before a segment. */
	for (uint32_t i = list->count; i-- > 0;) {
		char name[USH_DISK_NAME_MAX];
		uint32_t number = list->spare_next;
		int error;

		if (list->items[i].first < journal->end_block)
			continue;
		spare_name(name, number);
		error = journal->disk->rename(journal->disk->context, list->items[i].name, name);
		if (error == 0)
			error = segment_list_add_spare(list, number);
		if (error != 0) {
			ush_message_set(message, "journal %s: cannot recycle segment %s: %s",
				journal->directory, list->items[i].name, ush_error_text(error));
			return error;
		}
		list->count--;
		memmove(&list->items[i], &list->items[i + 1],
			(list->count - i) * sizeof(list->items[0]));
	}
	return 0;
}

static void append_open(struct ush_journal *journal, uint32_t previous, uint64_t now_ns)
{
	struct ush_record record = {
		.type = USH_RECORD_TYPE_OPEN,
		.run_count = 1,
		.user = journal->box.epoch,
		.hold = journal->end_block * USH_BLOCK_SLOTS,
		.mask = previous,
		.deadline_ns = now_ns,
	};
	uint64_t sequence;

	ush_log_append(journal->log, &record, 1, &sequence);
}

int ush_journal_start(struct ush_journal *journal, struct ush_log *log, uint64_t now_ns,
	struct ush_message *message)
{
	uint32_t previous = journal->end_epoch;
	struct ush_message what = {{0}};
	int error, file;

	USH_ASSERT(journal->recovered);
	USH_ASSERT(!journal->config.read_only);
	USH_ASSERT(journal->log == NULL);
	error = recycle_unused(journal, message);
	/* What needs room comes before what changes: a full disk leaves the box file as it is. */
	if (error == 0)
		error = housekeep_stock(journal, message);
	if (error != 0)
		return error;
	journal->box.epoch++;
	journal->box.first_block = (uint32_t)ush_min64(journal->end_block, UINT32_MAX);
	error = box_write(journal->disk, &journal->box, &what);
	if (error != 0) {
		ush_message_set(message, "journal %s: %s", journal->directory, what.text);
		return error;
	}
	file = housekeep_prepare(journal, journal->end_block, message);
	if (file < 0)
		return file;
	error = journal->disk->register_buffer(
		journal->disk->context, log->ring, log->slot_count * USH_RECORD_BYTES);
	if (error != 0) {
		ush_message_set(message,
			"journal %s: cannot register the log buffer of %" PRIu64
			" KiB: %s; raise the limit on locked memory (ulimit -l, LimitMEMLOCK), or make "
			"log_blocks smaller (at most 262,144)",
			journal->directory, log->slot_count * USH_RECORD_BYTES >> 10,
			ush_error_text(error));
		journal->disk->close(journal->disk->context, file);
		return error;
	}
	journal->log = log;
	journal->file = file;
	journal->file_first = journal->end_block;
	journal->next_block = journal->durable_block = journal->end_block;
	journal->now_ns = now_ns;
	journal->counters.segments = 1;
	journal->counters.epoch = journal->box.epoch;
	if (journal->end_block == FIRST_BLOCK)
		journal->chain_block = FIRST_BLOCK;
	chain_start(&journal->chain, journal->chain_block, journal->chain_value);
	journal->chain_seen_block = journal->chain_block;
	memcpy(journal->chain_seen, journal->chain_value, USH_CHAIN_BYTES);
	atomic_store_explicit(&journal->chain_reached, journal->chain_block, memory_order_relaxed);
	ush_log_start_at(log, journal->end_block * USH_BLOCK_SLOTS);
	append_open(journal, previous, now_ns);
	return 0;
}

/* Until all is durable. ret: false if that cannot be: the segment is full and there is no next. */
static bool settle(struct ush_journal *journal, uint64_t now_ns)
{
	struct ush_message trouble;

	while (!ush_journal_idle(journal)) {
		uint32_t work = ush_journal_step(journal, now_ns);
		bool more = housekeep(journal, &trouble);

		if (work == 0 && !more && trouble.text[0] != '\0' && journal_is_full(journal))
			return false;
	}
	return true;
}

bool ush_journal_finish(struct ush_journal *journal, uint64_t now_ns)
{
	struct ush_record record = {
		.type = USH_RECORD_TYPE_CLOSE, .run_count = 1, .deadline_ns = now_ns};
	uint64_t sequence;

	if (!settle(journal, now_ns))
		return false;
	ush_log_append(journal->log, &record, 1, &sequence);
	return settle(journal, now_ns);
}

static void close_file(struct ush_journal *journal, int file)
{
	if (file >= 0)
		journal->disk->close(journal->disk->context, file);
}

void ush_journal_close(struct ush_journal *journal)
{
	close_file(journal, journal->file);
	close_file(journal, journal->closing_file);
	close_file(journal, journal->chain_file);
	close_file(journal, atomic_load(&journal->next_file));
	close_file(journal, atomic_load(&journal->old_file));
	segment_list_free(&journal->segments);
	if (!journal->config.read_only)
		journal->disk->unlock(journal->disk->context);
	free(journal->read_buffer);
	free(journal);
}

void ush_journal_counters_read(
	const struct ush_journal *journal, struct ush_journal_counters *counters)
{
	const struct ush_journal_counters *from = &journal->counters;
	const struct ush_log *log = journal->log;
	uint64_t chain;

	*counters = (struct ush_journal_counters){
		.writes = __atomic_load_n(&from->writes, __ATOMIC_RELAXED),
		.bytes = __atomic_load_n(&from->bytes, __ATOMIC_RELAXED),
		.blocks = __atomic_load_n(&from->blocks, __ATOMIC_RELAXED),
		.pads = __atomic_load_n(&from->pads, __ATOMIC_RELAXED),
		.in_flight = __atomic_load_n(&from->in_flight, __ATOMIC_RELAXED),
		.segments = __atomic_load_n(&from->segments, __ATOMIC_RELAXED),
		.spare_segments =
			atomic_load_explicit(&journal->spares_ready, memory_order_relaxed),
		.recycled_segments = atomic_load_explicit(&journal->recycled, memory_order_relaxed),
		.removed_segments = atomic_load_explicit(&journal->removed, memory_order_relaxed),
		.needed = atomic_load_explicit(&journal->needed, memory_order_relaxed),
		.write_ns_sum = __atomic_load_n(&from->write_ns_sum, __ATOMIC_RELAXED),
		.write_ns_max = __atomic_load_n(&from->write_ns_max, __ATOMIC_RELAXED),
		.epoch = from->epoch,
	};
	if (log == NULL)
		return;
	/* The chain follows the durable sequence: read in this order it is never ahead of it. */
	chain = atomic_load_explicit(&journal->chain_reached, memory_order_acquire);
	counters->durable = ush_log_durable(log);
	counters->reserved = ush_log_reserved(log);
	counters->chain_lag_blocks = counters->durable / USH_BLOCK_SLOTS - chain;
}
