/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The archive: what a journal's closed segments held, packed, in a directory of its own, for ever.
 *
 * Owns:  the files arc-*.ush.zst of an archive directory.
 * Reads: a journal, as a follower does.
 * Never: changes a piece that is there, or counts one that it has not unpacked and checked.
 */
#ifndef USH_ARCHIVE_H
#define USH_ARCHIVE_H

#include "journal/disk.h"
#include "journal/follow.h"
#include "wire/wire.h"

/* Blocks in a piece at most: 64 MiB unpacked, so that memory is bounded whatever a segment's size.
 */
#define USH_ARCHIVE_BLOCKS 16384u

struct ush_archive;

/*
 * Lists an archive and reads the header of each piece.
 * in:  disk: of the archive directory; outlives it. box: whose it must be, 0: anyone's.
 * err: -USH_ECORRUPT (a gap, a bad header), -USH_EFOREIGN, -USH_EVERSION, -USH_EIO; message.
 */
int ush_archive_open(struct ush_archive **archive, const struct ush_disk *disk,
	const char *directory, uint64_t box, struct ush_message *message);

/* Looks for what has been added. err: as ush_archive_open; then it is as before. */
int ush_archive_refresh(struct ush_archive *archive, struct ush_message *message);

uint32_t ush_archive_count(const struct ush_archive *archive);
const struct ush_archive_header *ush_archive_piece(
	const struct ush_archive *archive, uint32_t index);

/* ret: the first block that it does not have. */
uint64_t ush_archive_end(const struct ush_archive *archive);

/*
 * Unpacks a piece and checks it whole: checksums, each block, the hash chain from its header's
 * `chain` to `chain_end`, and what each block says of it.
 * out: blocks: room for (end - first) blocks. err: -USH_ECORRUPT, ...; message.
 * cost: about 0.3 s for 64 MiB, most of it the chain.
 */
int ush_archive_unpack(
	struct ush_archive *archive, uint32_t index, uint8_t *blocks, struct ush_message *message);

void ush_archive_close(struct ush_archive *archive);

/* ---- writing ---- */

struct ush_archiver;

struct ush_archiver_config {
	/* Of the journal, for messages. */
	const char *directory;
	/* Of zstd, 1 to 19. 0: 3. */
	int level;
	/* As in ush_follow_config. */
	uint64_t sync_ns;
};

/*
 * Goes on at the archive's end. in: all outlive it.
 * err: -USH_ECORRUPT: the journal no longer has its beginning and the archive is empty; those of
 *      ush_follow_open; message.
 */
int ush_archiver_open(struct ush_archiver **archiver, struct ush_archive *archive,
	const struct ush_archiver_config *config, const struct ush_disk *journal,
	struct ush_message *message);

/*
 * Reads what is durable; of each segment that is closed by then (another follows it) the archive
 * has every piece: written aside, synced, read back, unpacked, checked, renamed.
 * ret: blocks read, 0: nothing more is durable now. err: as ush_follow_step and ush_archive_unpack,
 *      -USH_ENOSPC; message; then it must be closed.
 */
int ush_archiver_step(struct ush_archiver *archiver, uint64_t now_ns, struct ush_message *message);

/* Where a restart goes on: all before it is in the archive. */
void ush_archiver_position(
	const struct ush_archiver *archiver, struct ush_follow_position *position);

void ush_archiver_close(struct ush_archiver *archiver);

/* ---- reading ---- */

/*
 * A disk that has the journal's files, and the archived segments whose files it has no more.
 * Writing goes to the journal's. in: archive, live: outlive it. err: -USH_ENOMEM, or the box file
 * is bad; message.
 */
int ush_archive_disk_open(struct ush_disk *disk, struct ush_archive *archive,
	const struct ush_disk *live, struct ush_message *message);
void ush_archive_disk_close(struct ush_disk *disk);

/*
 * Puts every archived segment that the journal has no file of back into it, oldest last.
 * out: *segments: how many. in: disk: the journal's, locked by the caller.
 * err: -USH_ENOSPC, ...; message. What was put back stays.
 */
int ush_archive_restore(struct ush_archive *archive, const struct ush_disk *disk,
	uint32_t *segments, struct ush_message *message);

#endif /* USH_ARCHIVE_H */
