/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing an archive. A follower reads the journal as it becomes durable; blocks of one piece are
 * gathered until the piece is closed: it is full, its segment is, or a block of another segment
 * follows. Then it is packed, written aside and synced under NAME.part, read back, unpacked and
 * checked, and renamed. Only the rename counts: after a crash at any moment the archive ends where
 * it ended, and the follower begins there.
 *
 * Failure modes: those of following; no room (the next start goes on); a piece that does not read
 * back as it was written (the disk lies: its name stays .part, and nothing counts it).
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "journal/archive_internal.h"

#define LEVEL_DEFAULT 3
#define LEVEL_MAX 19

struct ush_archiver {
	struct ush_archive *archive;
	struct ush_follow *follow;
	uint64_t segment_blocks;
	int level;
	/* The piece being gathered, and its blocks. */
	struct ush_archive_header header;
	char segment[USH_DISK_NAME_MAX];
	uint8_t *blocks;
	/* For reading back; and what is packed, with its header. */
	uint8_t *back;
	uint8_t *packed;
	size_t room;
	/* What went wrong while a block was taken. */
	int error;
	struct ush_message message;
};

static size_t blocks_of(const struct ush_archive_header *header)
{
	return (size_t)(header->end - header->first);
}

/* Packs, writes aside, reads back, renames. */
static int write_piece(struct ush_archiver *a, struct ush_message *message)
{
	const struct ush_disk *disk = a->archive->disk;
	struct ush_archive_header *h = &a->header;
	char name[USH_DISK_NAME_MAX], part[USH_DISK_NAME_MAX + 8];
	size_t bytes = blocks_of(h) * USH_BLOCK_BYTES;
	int64_t packed =
		zstd_pack(a->packed + sizeof(*h), a->room - sizeof(*h), a->blocks, bytes, a->level);
	int error = packed < 0 ? (int)packed : 0;

	h->packed_bytes = error == 0 ? (uint64_t)packed : 0;
	h->packed_crc = ush_crc32c(0, a->packed + sizeof(*h), (size_t)h->packed_bytes);
	h->crc = piece_crc(h);
	memcpy(a->packed, h, sizeof(*h));
	piece_name(name, h);
	snprintf(part, sizeof(part), "%s.part", name);
	if (error == 0)
		error = disk->put(disk->context, part, a->packed, sizeof(*h) + h->packed_bytes);
	if (error != 0) {
		ush_message_set(message, "archive %s: cannot write %s: %s%s", a->archive->directory,
			part,
			error == -USH_EUNSUPPORTED ? "this usher was built without zstd"
						   : ush_error_text(error),
			journal_mend(error));
		return error;
	}
	error = piece_unpack(a->archive, part, h, a->back, message);
	if (error == 0) {
		error = disk->rename(disk->context, part, name);
		if (error != 0)
			ush_message_set(message, "archive %s: cannot name %s: %s",
				a->archive->directory, name, ush_error_text(error));
	}
	return error == 0 ? archive_append(a->archive, h, message) : error;
}

/* The piece is closed: it goes to the archive, and the next one begins where it ends. */
static void close_piece(struct ush_archiver *a)
{
	if (blocks_of(&a->header) != 0)
		a->error = write_piece(a, &a->message);
	a->header.first = a->header.end;
	memcpy(a->header.chain, a->header.chain_end, USH_CHAIN_BYTES);
	a->header.time_ns = 0;
}

/* ret: true if a piece ends before this block of the present segment. */
static bool is_piece_end(const struct ush_archiver *a, uint64_t block)
{
	uint64_t into = block - a->header.segment_first;

	return into == a->segment_blocks || into % USH_ARCHIVE_BLOCKS == 0;
}

static void take_block(void *context, const char *segment, uint64_t block,
	const struct ush_block_header *header, const void *data)
{
	struct ush_archiver *a = context;
	struct ush_archive_header *h = &a->header;

	if (a->error != 0)
		return;
	/* A newer epoch, or the next segment. */
	if (strcmp(segment, a->segment) != 0) {
		uint32_t epoch;

		close_piece(a);
		if (a->error != 0)
			return;
		snprintf(a->segment, sizeof(a->segment), "%s", segment);
		USH_ASSERT(sscanf(segment, "seg-%8" SCNx32 "-%16" SCNx64, &epoch,
				   &h->segment_first) == 2);
	}
	USH_ASSERT(block == h->end);
	h->epoch = header->epoch;
	h->time_ns = ush_max64(h->time_ns, header->time_ns);
	memcpy(a->blocks + blocks_of(h) * USH_BLOCK_BYTES, data, USH_BLOCK_BYTES);
	ush_journal_chain_next(h->chain_end, data);
	h->end++;
	if (is_piece_end(a, h->end))
		close_piece(a);
}

static int no_run(void *context, const struct ush_record *records, uint32_t count,
	struct ush_message *message)
{
	(void)context;
	(void)records;
	(void)count;
	(void)message;
	return 0;
}

int ush_archiver_step(struct ush_archiver *a, uint64_t now_ns, struct ush_message *message)
{
	int blocks = ush_follow_step(a->follow, now_ns, no_run, NULL, message);

	if (blocks >= 0 && a->error != 0) {
		*message = a->message;
		return a->error;
	}
	return blocks;
}

void ush_archiver_position(const struct ush_archiver *a, struct ush_follow_position *position)
{
	const struct ush_archive *archive = a->archive;

	*position = (struct ush_follow_position){
		.sequence = ush_archive_end(archive) * USH_BLOCK_SLOTS,
		.box = a->header.box,
		.epoch = archive->count == 0 ? 0 : archive->pieces[archive->count - 1].epoch,
	};
}

/* Memory for one piece, three times. */
static int make_room(struct ush_archiver *a)
{
	size_t bytes = (size_t)ush_min64(a->segment_blocks, USH_ARCHIVE_BLOCKS) * USH_BLOCK_BYTES;

	a->room = sizeof(a->header) + zstd_room(bytes);
	a->blocks = malloc(bytes);
	a->back = malloc(bytes);
	a->packed = malloc(a->room);
	return a->blocks == NULL || a->back == NULL || a->packed == NULL ? -USH_ENOMEM : 0;
}

int ush_archiver_open(struct ush_archiver **out, struct ush_archive *archive,
	const struct ush_archiver_config *config, const struct ush_disk *journal,
	struct ush_message *message)
{
	struct ush_archiver *a = calloc(1, sizeof(*a));
	struct ush_follow_config follow = {
		.directory = config->directory, .sync_ns = config->sync_ns};
	struct ush_box_file box;
	int error = a == NULL ? -USH_ENOMEM : ush_journal_box_read(journal, &box, message);

	if (error == 0) {
		a->archive = archive;
		a->segment_blocks = box.segment_bytes / USH_BLOCK_BYTES;
		a->level = config->level == 0 ? LEVEL_DEFAULT : config->level;
		USH_ASSERT(a->level >= 1 && a->level <= LEVEL_MAX);
		a->header = (struct ush_archive_header){
			.frame = USH_ARCHIVE_FRAME,
			.frame_bytes = sizeof(a->header) - 8,
			.magic = USH_ARCHIVE_MAGIC,
			.version = USH_ARCHIVE_VERSION,
			.box = box.box,
			.first = ush_archive_end(archive),
			.end = ush_archive_end(archive),
		};
		if (archive->count != 0) {
			const struct ush_archive_header *last =
				&archive->pieces[archive->count - 1];

			a->header.segment_first = last->segment_first;
			memcpy(a->header.chain, last->chain_end, USH_CHAIN_BYTES);
			memcpy(a->header.chain_end, last->chain_end, USH_CHAIN_BYTES);
			segment_name(a->segment, last->epoch, last->segment_first);
		}
		ush_archiver_position(a, &follow.from);
		error = make_room(a);
	}
	if (error == -USH_ENOMEM)
		ush_message_set(message, "archive %s: out of memory", archive->directory);
	if (error == 0)
		error = ush_follow_open(&a->follow, &follow, journal, message);
	if (error != 0) {
		ush_archiver_close(a);
		return error;
	}
	ush_follow_watch(a->follow, take_block, a);
	*out = a;
	return 0;
}

void ush_archiver_close(struct ush_archiver *a)
{
	if (a == NULL)
		return;
	if (a->follow != NULL)
		ush_follow_close(a->follow);
	free(a->blocks);
	free(a->back);
	free(a->packed);
	free(a);
}
