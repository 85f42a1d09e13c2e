/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Blocks of a segment read and classified, ahead of whoever replays them.
 *
 * Owns:  buffers, and a thread if it may have one.
 * Reads: one open segment at a time.
 * Never: decides what a bad block means.
 */
#ifndef USH_READAHEAD_H
#define USH_READAHEAD_H

#include "journal/internal.h"

#define CHUNK_BLOCKS (READ_BYTES / USH_BLOCK_BYTES)

/* Some blocks in a row. */
struct chunk {
	uint8_t *data;
	/* Place of the first one. */
	uint64_t at;
	/* Blocks that are there, or an error. */
	int64_t got;
	/* What each is: enum block_kind. */
	uint8_t kinds[CHUNK_BLOCKS];
};

struct readahead;

/* in: threaded: read on a thread of its own. ret: NULL: no memory. */
struct readahead *readahead_open(const struct ush_journal *journal, bool threaded);

/* The blocks [at, stop) of a segment are wanted. in: file: open until readahead_end. */
void readahead_begin(
	struct readahead *ra, const struct segment *segment, int file, uint64_t at, uint64_t stop);

/* ret: the next blocks; valid until the next call. in: there are more before `stop`. */
const struct chunk *readahead_next(struct readahead *ra);

/* Nothing more is wanted of this segment; its file is not used any more. */
void readahead_end(struct readahead *ra);

void readahead_close(struct readahead *ra);

#endif /* USH_READAHEAD_H */
