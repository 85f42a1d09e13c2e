/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How far the readers of a journal have come, each in a small file beside it, so that no segment is
 * used again that one of them still needs.
 *
 * Owns:  the files pos-NAME.ush of a journal directory.
 * Reads: nothing else.
 * Never: what a reader does with what it has read.
 */
#ifndef USH_POSITION_H
#define USH_POSITION_H

#include "journal/follow.h"

#define USH_READER_NAME_MAX 24u
/* Readers looked at. */
#define USH_READERS_MAX 64u
/* The name under which an archive's progress is kept. */
#define USH_READER_ARCHIVE "archive"

struct ush_reader {
	char name[USH_READER_NAME_MAX + 1];
	/* False: its file is damaged, and it is taken to need everything. */
	bool whole;
	struct ush_follow_position position;
	uint64_t time_ns;
};

/* ret: true if it is 1 to 24 of a to z, 0 to 9, and '-'. */
bool ush_reader_name_is_good(const char *name);

/* err: -USH_ENOENT: there is none of this name; -USH_ECORRUPT; message. */
int ush_position_read(const struct ush_disk *disk, const char *name, struct ush_reader *reader,
	struct ush_message *message);

/* Writes it whole and durably. in: now_ns: Unix time. err: -USH_ENOSPC, ...; message. cost: two
 * syncs. */
int ush_position_write(const struct ush_disk *disk, const char *name,
	const struct ush_follow_position *position, uint64_t now_ns, struct ush_message *message);

/* Forgets a reader. err: -USH_ENOENT, ...; message. */
int ush_position_drop(const struct ush_disk *disk, const char *name, struct ush_message *message);

/* All of them, at most USH_READERS_MAX. err: the directory cannot be listed, or there are more;
 * message. */
int ush_position_list(const struct ush_disk *disk, struct ush_reader *readers, uint32_t *count,
	struct ush_message *message);

#endif /* USH_POSITION_H */
