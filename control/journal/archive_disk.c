/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading an archive as if its segments still stood in the journal's directory: recovery, followers
 * and audits need not know. A segment's file is shown with its own size; behind its last archived
 * block it reads as zero, as a segment does in which nothing was written there. A file that the
 * journal has is always read from the journal.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "journal/archive_internal.h"

#define OPEN_MAX 8u
/* Handles from here on are ours. */
#define HANDLE_FIRST 4096
#define COPY_BYTES (1u << 20)

struct opened {
	bool used;
	/* Of the archived segment. */
	uint32_t epoch;
	uint64_t first;
	/* The piece that is unpacked, and where: NULL none. */
	uint8_t *blocks;
	uint64_t piece_first;
	uint64_t piece_end;
};

struct overlay {
	const struct ush_disk *live;
	struct ush_archive *archive;
	uint64_t segment_blocks;
	struct opened opened[OPEN_MAX];
	struct ush_message ignored;
};

/* ret: true if a piece at `index` is the first of its segment. */
static bool begins_segment(const struct ush_archive *archive, uint32_t index)
{
	return archive->pieces[index].first == archive->pieces[index].segment_first;
}

static bool has_segment(const struct ush_archive *archive, uint32_t epoch, uint64_t first)
{
	for (uint32_t i = 0; i < archive->count; i++) {
		if (archive->pieces[i].epoch == epoch && archive->pieces[i].first == first &&
			begins_segment(archive, i))
			return true;
	}
	return false;
}

static int overlay_lock(void *context)
{
	const struct overlay *o = context;

	return o->live->lock(o->live->context);
}

static void overlay_unlock(void *context)
{
	const struct overlay *o = context;

	o->live->unlock(o->live->context);
}

static bool is_live(const struct segment_list *list, uint32_t epoch, uint64_t first)
{
	for (uint32_t i = 0; i < list->count; i++) {
		if (list->items[i].epoch == epoch && list->items[i].first == first)
			return true;
	}
	return false;
}

struct listing {
	struct segment_list live;
	int (*each)(void *argument, const char *name);
	void *argument;
};

static int pass_on(void *context, const char *name)
{
	struct listing *listing = context;
	int error = segment_list_note(&listing->live, name);

	return error != 0 ? error : listing->each(listing->argument, name);
}

static int overlay_list(
	void *context, int (*each)(void *argument, const char *name), void *argument)
{
	struct overlay *o = context;
	struct listing listing = {.each = each, .argument = argument};
	/* First: what leaves the journal meanwhile was archived before. */
	int error = ush_archive_refresh(o->archive, &o->ignored);

	if (error == 0)
		error = o->live->list(o->live->context, pass_on, &listing);
	for (uint32_t i = 0; i < o->archive->count && error == 0; i++) {
		const struct ush_archive_header *h = &o->archive->pieces[i];
		char name[USH_DISK_NAME_MAX];

		if (!begins_segment(o->archive, i) || is_live(&listing.live, h->epoch, h->first))
			continue;
		segment_name(name, h->epoch, h->first);
		error = each(argument, name);
	}
	segment_list_free(&listing.live);
	return error;
}

static int open_archived(struct overlay *o, const char *name)
{
	char canonical[USH_DISK_NAME_MAX];
	uint32_t epoch, slot = 0;
	uint64_t first;

	if (sscanf(name, "seg-%8" SCNx32 "-%16" SCNx64 ".ush", &epoch, &first) != 2)
		return -USH_ENOENT;
	segment_name(canonical, epoch, first);
	if (strcmp(name, canonical) != 0)
		return -USH_ENOENT;
	/* It may have been archived since the archive was listed. */
	if (!has_segment(o->archive, epoch, first)) {
		int error = ush_archive_refresh(o->archive, &o->ignored);
		if (error != 0)
			return error;
	}
	if (!has_segment(o->archive, epoch, first))
		return -USH_ENOENT;
	while (slot < OPEN_MAX && o->opened[slot].used)
		slot++;
	if (slot == OPEN_MAX)
		return -USH_EFULL;
	o->opened[slot] = (struct opened){.used = true, .epoch = epoch, .first = first};
	return HANDLE_FIRST + (int)slot;
}

static int overlay_open(void *context, const char *name, bool write)
{
	struct overlay *o = context;
	int file = o->live->open(o->live->context, name, write);

	return file == -USH_ENOENT && !write ? open_archived(o, name) : file;
}

static struct opened *opened_at(struct overlay *o, int file)
{
	USH_ASSERT(o->opened[file - HANDLE_FIRST].used);
	return &o->opened[file - HANDLE_FIRST];
}

static void overlay_close(void *context, int file)
{
	struct overlay *o = context;

	if (file < HANDLE_FIRST) {
		o->live->close(o->live->context, file);
		return;
	}
	free(opened_at(o, file)->blocks);
	*opened_at(o, file) = (struct opened){0};
}

static int64_t overlay_size(void *context, int file)
{
	const struct overlay *o = context;

	return file < HANDLE_FIRST ? o->live->size(o->live->context, file)
				   : (int64_t)(o->segment_blocks * USH_BLOCK_BYTES);
}

/* Unpacks the piece of the segment that holds a block. ret: 1; 0: none does. */
static int find_piece(struct overlay *o, struct opened *opened, uint64_t block)
{
	const struct ush_archive *archive = o->archive;

	if (opened->blocks != NULL && block >= opened->piece_first && block < opened->piece_end)
		return 1;
	for (uint32_t i = 0; i < archive->count; i++) {
		const struct ush_archive_header *h = &archive->pieces[i];
		int error;

		if (h->epoch != opened->epoch || h->segment_first != opened->first ||
			block < h->first || block >= h->end)
			continue;
		if (opened->blocks == NULL)
			opened->blocks =
				malloc((size_t)ush_min64(o->segment_blocks, USH_ARCHIVE_BLOCKS) *
					USH_BLOCK_BYTES);
		if (opened->blocks == NULL)
			return -USH_ENOMEM;
		opened->piece_first = opened->piece_end = 0;
		error = ush_archive_unpack(o->archive, i, opened->blocks, &o->ignored);
		if (error != 0)
			return error;
		opened->piece_first = h->first;
		opened->piece_end = h->end;
		return 1;
	}
	return 0;
}

static int64_t overlay_read(void *context, int file, void *data, size_t size, uint64_t offset)
{
	struct overlay *o = context;
	uint64_t end = o->segment_blocks * USH_BLOCK_BYTES;
	struct opened *opened;
	size_t done = 0;

	if (file < HANDLE_FIRST)
		return o->live->read(o->live->context, file, data, size, offset);
	opened = opened_at(o, file);
	size = offset >= end ? 0 : (size_t)ush_min64(size, end - offset);
	while (done < size) {
		uint64_t at = opened->first * USH_BLOCK_BYTES + offset + done;
		int found = find_piece(o, opened, at / USH_BLOCK_BYTES);
		size_t part = size - done;

		if (found < 0)
			return found;
		if (found == 0) {
			part = (size_t)ush_min64(part, USH_BLOCK_BYTES - at % USH_BLOCK_BYTES);
			memset((uint8_t *)data + done, 0, part);
		} else {
			uint64_t into = at - opened->piece_first * USH_BLOCK_BYTES;

			part = (size_t)ush_min64(part, opened->piece_end * USH_BLOCK_BYTES - at);
			memcpy((uint8_t *)data + done, opened->blocks + into, part);
		}
		done += part;
	}
	return (int64_t)size;
}

static int overlay_sync(void *context, int file)
{
	const struct overlay *o = context;

	/* What is archived is durable. */
	return file < HANDLE_FIRST ? o->live->sync(o->live->context, file) : 0;
}

static int overlay_put(void *context, const char *name, const void *data, size_t size)
{
	const struct overlay *o = context;

	return o->live->put(o->live->context, name, data, size);
}

static int overlay_unlink(void *context, const char *name)
{
	const struct overlay *o = context;

	return o->live->unlink(o->live->context, name);
}

int ush_archive_disk_open(struct ush_disk *disk, struct ush_archive *archive,
	const struct ush_disk *live, struct ush_message *message)
{
	struct overlay *o = calloc(1, sizeof(*o));
	struct ush_box_file box;
	int error = o == NULL ? -USH_ENOMEM : ush_journal_box_read(live, &box, message);

	if (error != 0) {
		if (error == -USH_ENOMEM)
			ush_message_set(message, "no memory to read the archive");
		free(o);
		return error;
	}
	o->live = live;
	o->archive = archive;
	o->segment_blocks = box.segment_bytes / USH_BLOCK_BYTES;
	/* For reading; snapshots and positions may be written beside the journal. */
	*disk = (struct ush_disk){
		.context = o,
		.lock = overlay_lock,
		.unlock = overlay_unlock,
		.list = overlay_list,
		.open = overlay_open,
		.close = overlay_close,
		.size = overlay_size,
		.read = overlay_read,
		.sync = live->sync == NULL ? NULL : overlay_sync,
		.put = overlay_put,
		.unlink = overlay_unlink,
	};
	return 0;
}

void ush_archive_disk_close(struct ush_disk *disk)
{
	struct overlay *o = disk->context;

	if (o == NULL)
		return;
	for (uint32_t i = 0; i < OPEN_MAX; i++)
		free(o->opened[i].blocks);
	free(o);
	disk->context = NULL;
}

/* ---- putting back ---- */

static int wait_write(const struct ush_disk *disk, size_t size)
{
	struct ush_disk_done done;
	int count;

	do {
		count = disk->reap(disk->context, &done, 1);
	} while (count == 0);
	if (count < 0)
		return count;
	return done.result == (int64_t)size ? 0 : done.result < 0 ? (int)done.result : -USH_ESHORT;
}

/* Copies an archived segment into the file `name`, which is made. in: buffer: registered. */
static int copy_segment(struct overlay *o, int from, const char *name, uint8_t *buffer)
{
	const struct ush_disk *disk = o->live;
	const struct opened *opened = opened_at(o, from);
	uint64_t end = opened->first, left;
	int file, error;

	for (uint32_t i = 0; i < o->archive->count; i++) {
		const struct ush_archive_header *h = &o->archive->pieces[i];

		if (h->epoch == opened->epoch && h->segment_first == opened->first)
			end = h->end;
	}
	left = (end - opened->first) * USH_BLOCK_BYTES;
	error = disk->create(disk->context, name, o->segment_blocks * USH_BLOCK_BYTES);
	file = error == 0 ? disk->open(disk->context, name, true) : error;
	if (file < 0)
		return file;
	for (uint64_t at = 0; at < left && error == 0; at += COPY_BYTES) {
		size_t size = (size_t)ush_min64(COPY_BYTES, left - at);
		int64_t got = overlay_read(o, from, buffer, size, at);

		error = got < 0 ? (int)got : 0;
		if (error == 0)
			error = disk->write(disk->context, file, buffer, size, at, at);
		if (error == 0)
			error = wait_write(disk, size);
	}
	disk->close(disk->context, file);
	return error;
}

static int put_back(struct overlay *o, const struct ush_archive_header *h, uint8_t *buffer,
	struct ush_message *message)
{
	char name[USH_DISK_NAME_MAX], aside[USH_DISK_NAME_MAX + 8];
	int from, error;

	segment_name(name, h->epoch, h->first);
	snprintf(aside, sizeof(aside), "%s.new", name);
	o->ignored.text[0] = '\0';
	from = open_archived(o, name);
	error = from < 0 ? from : copy_segment(o, from, aside, buffer);
	if (from >= 0)
		overlay_close(o, from);
	if (error == 0)
		error = o->live->rename(o->live->context, aside, name);
	if (error != 0)
		ush_message_set(message, "cannot put segment %s back: %s%s", name,
			o->ignored.text[0] != '\0' ? o->ignored.text : ush_error_text(error),
			journal_mend(error));
	return error;
}

int ush_archive_restore(struct ush_archive *archive, const struct ush_disk *disk,
	uint32_t *segments, struct ush_message *message)
{
	struct segment_list live = {0};
	struct ush_disk overlay = {0};
	uint8_t *buffer = aligned_alloc(USH_BLOCK_BYTES, COPY_BYTES);
	int error = buffer == NULL ? -USH_ENOMEM
				   : ush_archive_disk_open(&overlay, archive, disk, message);

	*segments = 0;
	if (error == 0)
		error = segment_list_read(&live, disk, message);
	if (error == -USH_ENOMEM)
		ush_message_set(message, "no memory to read the archive");
	if (error == 0 && (error = disk->register_buffer(disk->context, buffer, COPY_BYTES)) != 0)
		ush_message_set(message, "cannot put segments back: %s%s", ush_error_text(error),
			journal_mend(error));
	/* The newest first: a crash on the way leaves no gap behind a segment. */
	for (uint32_t i = archive->count; i-- > 0 && error == 0;) {
		const struct ush_archive_header *h = &archive->pieces[i];

		if (!begins_segment(archive, i) || is_live(&live, h->epoch, h->first))
			continue;
		error = put_back(overlay.context, h, buffer, message);
		*segments += error == 0;
	}
	ush_archive_disk_close(&overlay);
	segment_list_free(&live);
	free(buffer);
	return error;
}
