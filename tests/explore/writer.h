/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The journal's real writer (control/journal/writer.c) over a disk of a few blocks in the arena.
 *
 * A write is checked when it starts, as the disk may read the page from then on, and is done at the
 * next reap.
 *
 * Owns:  one journal, its blocks.
 * Reads: the log.
 * Never: files.
 */
#ifndef USH_EXPLORE_WRITER_H
#define USH_EXPLORE_WRITER_H

#include "journal/internal.h"

#define WRITER_BLOCKS 16u

struct writer {
	struct ush_journal journal;
	struct ush_disk disk;
	struct ush_log *log;
	/* Block 0 is the log's first_block. */
	uint64_t first_block;
	uint64_t written;
	uint8_t blocks[WRITER_BLOCKS][USH_BLOCK_BYTES];
	struct ush_disk_done done[DEPTH_MAX];
	uint32_t done_count;
};

/* Starts behind what is durable. by: setup. */
struct writer *writer_open(struct ush_log *log);

void writer_step(struct writer *writer);

/* Steps until everything reserved is durable. by: an oracle. */
void writer_finish(struct writer *writer);

/* ret: the record at that sequence on the disk. */
const struct ush_record *writer_record(const struct writer *writer, uint64_t sequence);

#endif /* USH_EXPLORE_WRITER_H */
