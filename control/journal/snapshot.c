/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing: the sections are gathered in memory, summed up, and put on the disk as one small file
 * is: aside, synced, renamed. A crash at any moment leaves the snapshots that were there.
 *
 * Reading: newest first. Header, lengths and the checksum of every section are verified before
 * anything is believed, and the journal must have the block before the snapshot's place, of the
 * epoch it names: a snapshot that outlived its journal, or is of another one, is not used.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "journal/internal.h"
#include "journal/snapshot.h"

/* Names of snapshots looked at. More are left alone. */
#define NAMES_MAX 64u
#define SECTIONS (USH_STATE_SECTION_COUNT - 1u)
#define SECTION_ALIGN 64u
#define PAGE 4096u

static const uint32_t known_bytes[SECTIONS] = {
	[USH_STATE_SECTION_TOTAL - 1] = sizeof(struct ush_state_total),
	[USH_STATE_SECTION_RECORDS - 1] = sizeof(uint64_t),
	[USH_STATE_SECTION_EVENT - 1] = sizeof(struct ush_state_event),
	[USH_STATE_SECTION_ROW - 1] = sizeof(struct ush_state_row),
	[USH_STATE_SECTION_HOLD - 1] = sizeof(struct ush_state_hold),
	[USH_STATE_SECTION_USER - 1] = sizeof(struct ush_state_user),
	[USH_STATE_SECTION_ANSWER - 1] = sizeof(struct ush_state_answer),
	[USH_STATE_SECTION_CHANNEL - 1] = sizeof(struct ush_state_channel),
	[USH_STATE_SECTION_WAIT - 1] = sizeof(struct ush_state_wait),
	[USH_STATE_SECTION_CHANGE - 1] = sizeof(struct ush_state_change),
	[USH_STATE_SECTION_ROOM - 1] = sizeof(struct ush_state_room),
	[USH_STATE_SECTION_ROOM_PLACE - 1] = sizeof(struct ush_state_room_place),
	[USH_STATE_SECTION_ROOM_VISIT - 1] = sizeof(struct ush_state_room_visit),
	[USH_STATE_SECTION_DEVICE - 1] = sizeof(struct ush_state_device),
};

/* ret: bytes of an entry of the section at `index`; numbers not given out have words. */
static uint32_t entry_bytes(uint32_t index)
{
	return known_bytes[index] != 0 ? known_bytes[index] : (uint32_t)sizeof(uint64_t);
}

/* Where the entries of a section have a reserved field. */
static const struct {
	uint32_t at;
	uint32_t bytes;
} reserved[SECTIONS] = {
	[USH_STATE_SECTION_TOTAL - 1] = {offsetof(struct ush_state_total, reserved0), 4},
	[USH_STATE_SECTION_ANSWER - 1] = {offsetof(struct ush_state_answer, reserved0), 6},
	[USH_STATE_SECTION_CHANNEL - 1] = {offsetof(struct ush_state_channel, reserved0), 6},
	[USH_STATE_SECTION_WAIT - 1] = {offsetof(struct ush_state_wait, reserved0), 4},
	[USH_STATE_SECTION_ROOM - 1] = {offsetof(struct ush_state_room, reserved0), 1},
	[USH_STATE_SECTION_ROOM_PLACE - 1] = {offsetof(struct ush_state_room_place, reserved0), 1},
};

static void snapshot_name(char *name, uint64_t sequence)
{
	snprintf(name, USH_DISK_NAME_MAX, "snap-%016" PRIx64 ".ush", sequence);
}

struct names {
	uint64_t sequence[NAMES_MAX];
	uint32_t count;
};

static int each_name(void *argument, const char *name)
{
	struct names *names = argument;
	char canonical[USH_DISK_NAME_MAX];
	uint64_t sequence;

	if (sscanf(name, "snap-%16" SCNx64 ".ush", &sequence) != 1)
		return 0;
	snapshot_name(canonical, sequence);
	if (strcmp(name, canonical) == 0 && names->count < NAMES_MAX)
		names->sequence[names->count++] = sequence;
	return 0;
}

static int newest_first(const void *a, const void *b)
{
	const uint64_t *left = a, *right = b;

	return *left > *right ? -1 : *left < *right;
}

static int list_names(const struct ush_disk *disk, struct names *names, struct ush_message *message)
{
	int error;

	names->count = 0;
	error = disk->list(disk->context, each_name, names);
	if (error != 0)
		ush_message_set(
			message, "cannot list the journal directory: %s", ush_error_text(error));
	qsort(names->sequence, names->count, sizeof(names->sequence[0]), newest_first);
	return error;
}

/* ---- writing ---- */

struct section {
	uint8_t *data;
	uint64_t bytes;
	uint64_t room;
};

struct writing {
	struct section section[SECTIONS];
};

static int put_entry(void *context, uint32_t kind, const void *entry, size_t bytes)
{
	struct writing *writing = context;
	struct section *s;

	USH_ASSERT(kind >= 1 && kind <= SECTIONS);
	USH_ASSERT(bytes == entry_bytes(kind - 1));
	s = &writing->section[kind - 1];
	if (s->bytes + bytes > s->room) {
		uint64_t room = s->room * 2 + (64u << 10);
		uint8_t *data = realloc(s->data, room);
		if (data == NULL)
			return -USH_ENOMEM;
		s->data = data;
		s->room = room;
	}
	memcpy(s->data + s->bytes, entry, bytes);
	s->bytes += bytes;
	return 0;
}

static uint64_t align(uint64_t bytes, uint64_t to)
{
	return (bytes + to - 1) / to * to;
}

/* CRC of header and table, the header's own field taken as zero. */
static uint32_t head_crc(const uint8_t *file)
{
	struct ush_snapshot_header header;
	uint32_t crc;

	memcpy(&header, file, sizeof(header));
	header.crc = 0;
	crc = ush_crc32c(0, &header, sizeof(header));
	return ush_crc32c(
		crc, file + sizeof(header), SECTIONS * sizeof(struct ush_snapshot_section));
}

static uint8_t *assemble(
	const struct writing *writing, const struct ush_snapshot_point *point, uint64_t *file_bytes)
{
	struct ush_snapshot_section table[SECTIONS] = {{0}};
	struct ush_snapshot_header header = {
		.magic = USH_SNAPSHOT_MAGIC,
		.version = USH_SNAPSHOT_VERSION,
		.box = point->box,
		.sequence = point->sequence,
		.epoch = point->epoch,
		.section_count = SECTIONS,
		.time_ns = point->time_ns,
		.last_type = point->last_type,
	};
	uint64_t at = sizeof(header) + sizeof(table);
	uint8_t *file;

	for (uint32_t i = 0; i < SECTIONS; i++) {
		const struct section *s = &writing->section[i];

		at = align(at, SECTION_ALIGN);
		table[i].kind = i + 1;
		table[i].crc = ush_crc32c(0, s->data, s->bytes);
		table[i].offset = at;
		table[i].bytes = s->bytes;
		table[i].entry_bytes = entry_bytes(i);
		at += s->bytes;
	}
	header.file_bytes = align(at, PAGE);
	memcpy(header.chain, point->chain, sizeof(header.chain));
	file = calloc(1, header.file_bytes);
	if (file == NULL)
		return NULL;
	for (uint32_t i = 0; i < SECTIONS; i++) {
		if (writing->section[i].bytes != 0)
			memcpy(file + table[i].offset, writing->section[i].data, table[i].bytes);
	}
	memcpy(file, &header, sizeof(header));
	memcpy(file + sizeof(header), table, sizeof(table));
	header.crc = head_crc(file);
	memcpy(file, &header, sizeof(header));
	*file_bytes = header.file_bytes;
	return file;
}

/* Leaves the `keep` newest. What cannot be removed is left. */
static int drop_old(const struct ush_disk *disk, uint32_t keep, struct ush_message *message)
{
	struct names names;
	int error = list_names(disk, &names, message);

	for (uint32_t i = keep; error == 0 && i < names.count; i++) {
		char name[USH_DISK_NAME_MAX];

		snapshot_name(name, names.sequence[i]);
		error = disk->unlink(disk->context, name);
		if (error != 0)
			ush_message_set(message, "cannot remove the old snapshot %s: %s", name,
				ush_error_text(error));
	}
	return error;
}

int ush_snapshot_write(const struct ush_disk *disk, const struct ush_snapshot_point *point,
	const struct ush_snapshot_state *from, uint32_t keep, uint64_t *bytes,
	struct ush_message *message)
{
	struct writing writing = {0};
	char name[USH_DISK_NAME_MAX];
	uint8_t *file = NULL;
	int error;

	USH_ASSERT(point->sequence % USH_BLOCK_SLOTS == 0);
	USH_ASSERT(keep >= 2);
	snapshot_name(name, point->sequence);
	error = from->save(from->state, put_entry, &writing);
	if (error == 0)
		file = assemble(&writing, point, bytes);
	if (error == 0 && file == NULL)
		error = -USH_ENOMEM;
	if (error == 0)
		error = disk->put(disk->context, name, file, *bytes);
	if (error != 0)
		ush_message_set(message, "cannot write snapshot %s: %s%s", name,
			ush_error_text(error), journal_mend(error));
	free(file);
	for (uint32_t i = 0; i < SECTIONS; i++)
		free(writing.section[i].data);
	return error != 0 ? error : drop_old(disk, keep, message);
}

/* ---- reading ---- */

struct ush_snapshot {
	struct ush_snapshot_point point;
	uint8_t *file;
	struct ush_snapshot_section table[SECTIONS];
	uint64_t taken[SECTIONS];
};

static bool is_zero(const void *field, size_t bytes)
{
	const uint8_t *byte = field;
	uint8_t any = 0;

	for (size_t i = 0; i < bytes; i++)
		any |= byte[i];
	return any == 0;
}

/* What is reserved in the section's line of the table and in each of its entries is zero. */
static bool section_reserved_is_zero(const struct ush_snapshot *s, uint32_t section)
{
	const struct ush_snapshot_section *t = &s->table[section];
	bool zero = t->reserved0 == 0;

	if (reserved[section].bytes == 0)
		return zero;
	for (uint64_t at = reserved[section].at; at < t->bytes; at += t->entry_bytes)
		zero &= is_zero(s->file + t->offset + at, reserved[section].bytes);
	return zero;
}

/* ret: NULL if it is whole, else what is wrong. */
static const char *check_file(struct ush_snapshot *s, uint64_t file_bytes)
{
	struct ush_snapshot_header header;

	if (file_bytes < sizeof(header) + sizeof(s->table))
		return "it is cut short";
	memcpy(&header, s->file, sizeof(header));
	memcpy(s->table, s->file + sizeof(header), sizeof(s->table));
	if (header.magic != USH_SNAPSHOT_MAGIC)
		return "it is no snapshot";
	if (header.version != USH_SNAPSHOT_VERSION || header.section_count != SECTIONS)
		return "another version wrote it";
	if (header.crc != head_crc(s->file))
		return "the checksum of its header is wrong";
	if (header.file_bytes != file_bytes || header.sequence % USH_BLOCK_SLOTS != 0 ||
		header.sequence <= USH_LOG_SEQUENCE_FIRST)
		return "it is not as long as it says";
	if (header.reserved0 != 0 || !is_zero(header.reserved1, sizeof(header.reserved1)))
		return "what is reserved in its header is not zero";
	for (uint32_t i = 0; i < SECTIONS; i++) {
		const struct ush_snapshot_section *t = &s->table[i];

		if (t->kind != i + 1 || t->entry_bytes != entry_bytes(i) ||
			t->offset > file_bytes || t->bytes > file_bytes - t->offset ||
			t->bytes % t->entry_bytes != 0)
			return "its sections are not where they should be";
		if (ush_crc32c(0, s->file + t->offset, t->bytes) != t->crc)
			return "the checksum of a section is wrong";
		if (!section_reserved_is_zero(s, i))
			return "what is reserved in a section is not zero";
	}
	s->point = (struct ush_snapshot_point){
		.box = header.box,
		.sequence = header.sequence,
		.time_ns = header.time_ns,
		.epoch = header.epoch,
		.last_type = header.last_type,
	};
	memcpy(s->point.chain, header.chain, sizeof(s->point.chain));
	return NULL;
}

/* A file read whole comes in parts this large: several requests to the device at once, where
 * READ_BYTES are one or two. */
#define FILE_READ_BYTES ((uint64_t)8 << 20)
#define HUGE_PAGE ((size_t)2 << 20)

/* ret: memory for a file, in pages that are as large as the system has: a small one is dearer to
 * get than to fill. */
static uint8_t *file_memory(uint64_t bytes)
{
	size_t page = bytes < HUGE_PAGE ? PAGE : HUGE_PAGE;
	uint8_t *memory = aligned_alloc(page, align(bytes, page));

	if (memory != NULL && page == HUGE_PAGE)
		(void)madvise(memory, align(bytes, page), MADV_HUGEPAGE);
	return memory;
}

int64_t file_read(const struct ush_disk *disk, const char *name, uint8_t **data)
{
	int file = disk->open(disk->context, name, false);
	int64_t size, at = 0, got = 1;

	if (file < 0)
		return file;
	size = disk->size(disk->context, file);
	*data = size < 0 ? NULL : file_memory((uint64_t)size + 1);
	if (size >= 0 && *data == NULL)
		size = -USH_ENOMEM;
	while (at < size && got > 0) {
		got = disk->read(disk->context, file, *data + at,
			(size_t)ush_min64(
				(uint64_t)align((uint64_t)(size - at), PAGE), FILE_READ_BYTES),
			(uint64_t)at);
		at += got > 0 ? got : 0;
	}
	disk->close(disk->context, file);
	if (got < 0)
		size = got;
	return size < 0                                                    ? size
	       : ush_min64((uint64_t)at, (uint64_t)size) == (uint64_t)size ? size
									   : -USH_ESHORT;
}

/* ret: NULL if the snapshot may be used. */
static const char *check(struct ush_snapshot *s, struct ush_journal *journal, const char *name)
{
	int64_t bytes = file_read(journal->disk, name, &s->file);
	const char *wrong;

	if (bytes < 0)
		return ush_error_text((int)bytes);
	wrong = check_file(s, (uint64_t)bytes);
	if (wrong == NULL && s->point.box != journal->box.box)
		wrong = "it is another box's";
	if (wrong == NULL && !journal_has_block(journal, s->point.sequence / USH_BLOCK_SLOTS - 1,
				     s->point.epoch))
		wrong = "the journal does not reach as far, or is another one";
	return wrong;
}

/* What stands in a file, 1 MiB at a time. */
struct stream {
	const struct ush_disk *disk;
	int file;
	uint8_t *buffer;
	/* What the buffer has. */
	uint64_t at;
	uint64_t bytes;
};

/* CRC-32C of a part of the file. ret: false if it cannot be read. */
static bool stream_crc(struct stream *s, uint64_t offset, uint64_t bytes, uint32_t *crc)
{
	*crc = 0;
	while (bytes != 0) {
		uint64_t part;

		if (offset < s->at || offset >= s->at + s->bytes) {
			int64_t got;

			s->at = offset / READ_BYTES * READ_BYTES;
			got = s->disk->read(
				s->disk->context, s->file, s->buffer, READ_BYTES, s->at);
			s->bytes = got > 0 ? (uint64_t)got : 0;
		}
		if (offset >= s->at + s->bytes)
			return false;
		part = ush_min64(bytes, s->at + s->bytes - offset);
		*crc = ush_crc32c(*crc, s->buffer + (offset - s->at), part);
		offset += part;
		bytes -= part;
	}
	return true;
}

/* Header, table and checksums are right. out: header. */
static bool check_stream(struct stream *s, struct ush_snapshot_header *header)
{
	struct ush_snapshot_section table[SECTIONS];
	uint32_t crc;

	if (!stream_crc(s, 0, sizeof(*header) + sizeof(table), &crc))
		return false;
	memcpy(header, s->buffer, sizeof(*header));
	memcpy(table, s->buffer + sizeof(*header), sizeof(table));
	if (header->magic != USH_SNAPSHOT_MAGIC || header->version != USH_SNAPSHOT_VERSION ||
		header->section_count != SECTIONS || header->crc != head_crc(s->buffer))
		return false;
	for (uint32_t i = 0; i < SECTIONS; i++) {
		if (!stream_crc(s, table[i].offset, table[i].bytes, &crc) || crc != table[i].crc)
			return false;
	}
	return true;
}

/* As check(), in little memory: beside a running sale. */
static bool is_good(struct ush_journal *journal, uint64_t sequence)
{
	struct stream s = {.disk = journal->disk};
	struct ush_snapshot_header header;
	char name[USH_DISK_NAME_MAX];
	bool good;

	snapshot_name(name, sequence);
	s.buffer = aligned_alloc(PAGE, READ_BYTES);
	s.file = s.buffer == NULL ? -1 : s.disk->open(s.disk->context, name, false);
	good = s.file >= 0 && check_stream(&s, &header) && header.box == journal->box.box &&
	       header.sequence == sequence &&
	       (uint64_t)s.disk->size(s.disk->context, s.file) == header.file_bytes &&
	       journal_has_block(journal, sequence / USH_BLOCK_SLOTS - 1, header.epoch);
	if (s.file >= 0)
		s.disk->close(s.disk->context, s.file);
	free(s.buffer);
	return good;
}

/* Each is read once. */
static bool is_known_good(struct ush_journal *journal, uint64_t sequence)
{
	uint32_t at;

	for (uint32_t i = 0; i < SNAPSHOTS_LOOKED; i++) {
		if (journal->looked_at[i].sequence == sequence)
			return journal->looked_at[i].good;
	}
	at = journal->looked_next++ % SNAPSHOTS_LOOKED;
	journal->looked_at[at].sequence = sequence;
	journal->looked_at[at].good = is_good(journal, sequence);
	return journal->looked_at[at].good;
}

int snapshot_newest(
	struct ush_journal *journal, uint64_t *good, uint32_t *found, struct ush_message *message)
{
	struct names names;
	int error = list_names(journal->disk, &names, message);

	*found = 0;
	for (uint32_t i = 0; i < names.count && error == 0 && *found < 2; i++) {
		if (is_known_good(journal, names.sequence[i]))
			good[(*found)++] = names.sequence[i];
	}
	return error;
}

int ush_snapshot_find(struct ush_snapshot **out, struct ush_journal *journal,
	struct ush_message *skipped, struct ush_message *message)
{
	struct names names;
	int error = list_names(journal->disk, &names, message);

	*out = NULL;
	skipped->text[0] = '\0';
	for (uint32_t i = 0; i < names.count && error == 0; i++) {
		struct ush_snapshot *s = calloc(1, sizeof(*s));
		char name[USH_DISK_NAME_MAX];
		const char *wrong;

		if (s == NULL) {
			ush_message_set(message, "out of memory");
			return -USH_ENOMEM;
		}
		snapshot_name(name, names.sequence[i]);
		wrong = check(s, journal, name);
		if (wrong == NULL) {
			*out = s;
			return 0;
		}
		if (skipped->text[0] == '\0')
			ush_message_set(skipped, "snapshot %s is not used: %s", name, wrong);
		ush_snapshot_free(s);
	}
	return error;
}

const struct ush_snapshot_point *ush_snapshot_point(const struct ush_snapshot *snapshot)
{
	return &snapshot->point;
}

uint64_t ush_snapshot_count(const struct ush_snapshot *s, uint32_t section)
{
	return s->table[section - 1].bytes / s->table[section - 1].entry_bytes;
}

const void *ush_snapshot_last(const struct ush_snapshot *s, uint32_t section)
{
	const struct ush_snapshot_section *t = &s->table[section - 1];

	return t->bytes == 0 ? NULL : s->file + t->offset + t->bytes - t->entry_bytes;
}

static int get_entry(void *context, uint32_t section, void *entry, size_t bytes)
{
	struct ush_snapshot *s = context;
	const struct ush_snapshot_section *t = &s->table[section - 1];
	uint64_t *taken = &s->taken[section - 1];

	USH_ASSERT(bytes == t->entry_bytes);
	if (*taken == t->bytes)
		return 0;
	memcpy(entry, s->file + t->offset + *taken, bytes);
	*taken += bytes;
	return 1;
}

int ush_snapshot_load(
	struct ush_snapshot *s, const struct ush_snapshot_state *to, struct ush_message *message)
{
	return to->load(to->state, get_entry, s, message);
}

void ush_snapshot_free(struct ush_snapshot *s)
{
	if (s == NULL)
		return;
	free(s->file);
	free(s);
}
