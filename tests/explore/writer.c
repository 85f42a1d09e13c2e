/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "explore/explore.h"
#include "explore/writer.h"

#define BOX 1u
#define EPOCH 1u

static int disk_write(
	void *context, int file, const void *data, size_t size, uint64_t offset, uint64_t tag)
{
	struct writer *w = context;
	const uint8_t *from = data;

	EXPECT(file == 0);
	/* In order, each block once. */
	EXPECT(offset == w->written * USH_BLOCK_BYTES);
	for (size_t at = 0; at < size; at += USH_BLOCK_BYTES, from += USH_BLOCK_BYTES) {
		uint64_t block = w->first_block + w->written;

		EXPECT(w->written < WRITER_BLOCKS);
		memcpy(w->blocks[w->written], from, USH_BLOCK_BYTES);
		EXPECT(block_classify(w->blocks[w->written], BOX, EPOCH, block) == BLOCK_GOOD);
		for (uint64_t slot = 1; slot < USH_BLOCK_SLOTS; slot++) {
			uint64_t sequence = block * USH_BLOCK_SLOTS + slot;
			EXPECT(writer_record(w, sequence)->sequence == sequence);
		}
		w->written++;
	}
	w->done[w->done_count++] = (struct ush_disk_done){.tag = tag, .result = (int64_t)size};
	return 0;
}

static int disk_reap(void *context, struct ush_disk_done *done, uint32_t max)
{
	struct writer *w = context;
	uint32_t count = w->done_count < max ? w->done_count : max;

	memcpy(done, w->done, count * sizeof(*done));
	w->done_count = 0;
	return (int)count;
}

struct writer *writer_open(struct ush_log *log)
{
	struct writer *w = explore_alloc(sizeof(*w));
	struct ush_journal *journal = &w->journal;
	uint64_t block = ush_log_durable(log) / USH_BLOCK_SLOTS;

	w->log = log;
	w->first_block = block;
	w->disk = (struct ush_disk){.context = w, .write = disk_write, .reap = disk_reap};
	journal->disk = &w->disk;
	journal->config = (struct ush_journal_config){
		.depth = 2, .write_bytes_max = 4 * USH_BLOCK_BYTES, .write_ns_max = UINT64_MAX};
	journal->box.box = BOX;
	journal->box.epoch = EPOCH;
	journal->log = log;
	journal->segment_blocks = WRITER_BLOCKS;
	journal->file_first = journal->next_block = journal->durable_block = block;
	journal->closing_file = -1;
	atomic_init(&journal->next_file, -1);
	atomic_init(&journal->old_file, -1);
	return w;
}

void writer_step(struct writer *writer)
{
	ush_journal_step(&writer->journal, 1);
}

void writer_finish(struct writer *writer)
{
	for (uint32_t i = 0; i < 8 && !ush_journal_idle(&writer->journal); i++)
		writer_step(writer);
	EXPECT(ush_journal_idle(&writer->journal));
	EXPECT(ush_log_durable(writer->log) == ush_log_reserved(writer->log));
}

const struct ush_record *writer_record(const struct writer *writer, uint64_t sequence)
{
	uint64_t block = sequence / USH_BLOCK_SLOTS - writer->first_block;

	EXPECT(block < WRITER_BLOCKS);
	return (const struct ush_record *)(const void *)&writer
		->blocks[block][(sequence & (USH_BLOCK_SLOTS - 1)) * USH_RECORD_BYTES];
}
