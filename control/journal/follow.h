/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Follows a journal, a live one too: every run of records once, in order, as soon as it is durable.
 *
 * Owns:  a position, one open segment, a buffer.
 * Reads: box file and segments.
 * Never: writes, locks, or hands on what a power cut could still take away.
 */
#ifndef USH_FOLLOW_H
#define USH_FOLLOW_H

#include "journal/disk.h"
#include "journal/journal.h"

struct ush_follow;

/* What a reader keeps to go on later: the next sequence it wants, and from whom the last came. */
struct ush_follow_position {
	/* 0 or USH_LOG_SEQUENCE_FIRST: the beginning. */
	uint64_t sequence;
	/* 0: whichever is found. */
	uint64_t box;
	/* Epoch of the block before `sequence`. 0: whichever is found. */
	uint32_t epoch;
};

struct ush_follow_config {
	/* Of the journal, for messages. */
	const char *directory;
	struct ush_follow_position from;
	/* A good block that no later header knows to be durable is made so by a sync of its
	 * segment after this time, in which a live usherd usually writes such a header. */
	uint64_t sync_ns;
};

/* ret: 0 and *follow; err: -USH_ENOENT, -USH_EFOREIGN (another box), -USH_ECORRUPT, -USH_EVERSION;
 * message. in: disk: outlives it. */
int ush_follow_open(struct ush_follow **follow, const struct ush_follow_config *config,
	const struct ush_disk *disk, struct ush_message *message);

/*
 * Hands on the runs of up to 1 MiB of blocks that are durable. `each` may return a positive number
 * to stop after the run it was given; a negative one ends the step, and the run counts as not
 * taken. A run that begins before the position is left out.
 * ret: blocks finished; 0: nothing more is durable now, come back.
 * err: -USH_ECORRUPT (a block known durable is bad, a segment is missing), -USH_EFOREIGN (the
 *      journal is not the one the position is from), -USH_EVERSION, -USH_EIO; message.
 * by:  one thread. cost: bounded; when idle one read of 4 KiB and one of the box file.
 */
int ush_follow_step(struct ush_follow *follow, uint64_t now_ns, ush_journal_apply *each,
	void *context, struct ush_message *message);

/* Everything below `sequence` is durable: the caller knows, from usherd. */
void ush_follow_known(struct ush_follow *follow, uint64_t sequence);

/* Where to go on. Within `each`: at the run being handed on. */
void ush_follow_position(const struct ush_follow *follow, struct ush_follow_position *position);

/* Of the block that the run being handed on stands in: when it was sealed, ns; and its epoch. */
uint64_t ush_follow_time_ns(const struct ush_follow *follow);
uint32_t ush_follow_epoch(const struct ush_follow *follow);

/* Shows each block to `watch` before its runs (see ush_journal_watch). */
void ush_follow_watch(struct ush_follow *follow, ush_journal_block *watch, void *context);

void ush_follow_close(struct ush_follow *follow);

#endif /* USH_FOLLOW_H */
