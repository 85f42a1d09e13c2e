/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the archive share.
 *
 * Owns:  see archive.h.
 * Reads: nothing.
 * Never: included outside control/journal/ and its tests.
 */
#ifndef USH_ARCHIVE_INTERNAL_H
#define USH_ARCHIVE_INTERNAL_H

#include "journal/archive.h"
#include "journal/internal.h"

struct ush_archive {
	const struct ush_disk *disk;
	char directory[512];
	/* 0: whichever the first piece names. */
	uint64_t box;
	/* In order, without gaps. */
	struct ush_archive_header *pieces;
	uint32_t count;
	uint32_t capacity;
};

void piece_name(char *name, const struct ush_archive_header *header);
uint32_t piece_crc(const struct ush_archive_header *header);

/* Reads, unpacks and checks the piece `header` from the file `name`. */
int piece_unpack(const struct ush_archive *archive, const char *name,
	const struct ush_archive_header *header, uint8_t *blocks, struct ush_message *message);

/* Afterwards the archive has this piece, which is its newest. */
int archive_append(struct ush_archive *archive, const struct ush_archive_header *header,
	struct ush_message *message);

/* ---- archive_zstd.c ---- */

/* ret: room that `bytes` need at most when packed. */
size_t zstd_room(size_t bytes);
/* ret: bytes packed or unpacked; -USH_ENOMEM, -USH_ECORRUPT, -USH_EUNSUPPORTED (built without). */
int64_t zstd_pack(void *to, size_t room, const void *from, size_t bytes, int level);
int64_t zstd_unpack(void *to, size_t room, const void *from, size_t bytes);

#endif /* USH_ARCHIVE_INTERNAL_H */
