/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "journal/internal.h"
#include "journal/position.h"

#define PAGE 4096u

static uint32_t position_crc(const struct ush_reader_position *file)
{
	struct ush_reader_position copy = *file;

	copy.crc = 0;
	return ush_crc32c(0, &copy, sizeof(copy));
}

static void position_name(char *file, const char *name)
{
	snprintf(file, USH_DISK_NAME_MAX, "pos-%.24s.ush", name);
}

bool ush_reader_name_is_good(const char *name)
{
	size_t size = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-");

	return size != 0 && size <= USH_READER_NAME_MAX && name[size] == '\0';
}

int ush_position_read(const struct ush_disk *disk, const char *name, struct ush_reader *reader,
	struct ush_message *message)
{
	struct ush_reader_position file = {0};
	char file_name[USH_DISK_NAME_MAX];
	uint8_t *page = aligned_alloc(PAGE, PAGE);
	int64_t got = -USH_ENOMEM;
	int handle = -1;

	USH_ASSERT(ush_reader_name_is_good(name));
	*reader = (struct ush_reader){0};
	snprintf(reader->name, sizeof(reader->name), "%s", name);
	position_name(file_name, name);
	if (page != NULL)
		got = handle = disk->open(disk->context, file_name, false);
	if (handle >= 0) {
		got = disk->read(disk->context, handle, page, PAGE, 0);
		disk->close(disk->context, handle);
	}
	if (got == (int64_t)sizeof(file))
		memcpy(&file, page, sizeof(file));
	free(page);
	reader->whole = got == (int64_t)sizeof(file) && file.magic == USH_POSITION_MAGIC &&
			file.crc == position_crc(&file);
	if (reader->whole) {
		reader->position =
			(struct ush_follow_position){file.sequence, file.box, file.epoch};
		reader->time_ns = file.time_ns;
		return 0;
	}
	if (got >= 0)
		got = -USH_ECORRUPT;
	ush_message_set(message, "%s: %s", file_name,
		got == -USH_ECORRUPT ? "damaged; forget the reader, or start it anew"
				     : ush_error_text((int)got));
	return (int)got;
}

int ush_position_write(const struct ush_disk *disk, const char *name,
	const struct ush_follow_position *position, uint64_t now_ns, struct ush_message *message)
{
	struct ush_reader_position file = {
		.magic = USH_POSITION_MAGIC,
		.box = position->box,
		.sequence = position->sequence,
		.time_ns = now_ns,
		.epoch = position->epoch,
	};
	char file_name[USH_DISK_NAME_MAX];
	int error;

	USH_ASSERT(ush_reader_name_is_good(name));
	position_name(file_name, name);
	file.crc = position_crc(&file);
	error = disk->put(disk->context, file_name, &file, sizeof(file));
	if (error != 0)
		ush_message_set(message, "cannot write %s: %s%s", file_name, ush_error_text(error),
			journal_mend(error));
	return error;
}

int ush_position_drop(const struct ush_disk *disk, const char *name, struct ush_message *message)
{
	char file_name[USH_DISK_NAME_MAX];
	int error;

	position_name(file_name, name);
	error = disk->unlink(disk->context, file_name);
	if (error != 0)
		ush_message_set(message, "cannot forget the reader %s: %s", name,
			error == -USH_ENOENT ? "there is none of this name"
					     : ush_error_text(error));
	return error;
}

struct listing {
	struct ush_reader *readers;
	uint32_t count;
};

static int each_name(void *argument, const char *name)
{
	struct listing *listing = argument;
	char reader[USH_READER_NAME_MAX + 1], canonical[USH_DISK_NAME_MAX];

	if (sscanf(name, "pos-%24[a-z0-9-].ush", reader) != 1)
		return 0;
	position_name(canonical, reader);
	if (strcmp(name, canonical) != 0)
		return 0;
	if (listing->count == USH_READERS_MAX)
		return -USH_EFULL;
	snprintf(listing->readers[listing->count++].name, sizeof(reader), "%s", reader);
	return 0;
}

int ush_position_list(const struct ush_disk *disk, struct ush_reader *readers, uint32_t *count,
	struct ush_message *message)
{
	struct listing listing = {.readers = readers};
	int error = disk->list(disk->context, each_name, &listing);

	*count = 0;
	if (error != 0) {
		ush_message_set(message, "cannot list the readers of the journal: %s",
			error == -USH_EFULL ? "there are too many; forget some"
					    : ush_error_text(error));
		return error;
	}
	for (uint32_t i = 0; i < listing.count; i++) {
		char name[USH_READER_NAME_MAX + 1];

		snprintf(name, sizeof(name), "%s", readers[i].name);
		error = ush_position_read(disk, name, &readers[i], message);
		/* Forgotten meanwhile. */
		if (error == -USH_ENOENT)
			continue;
		if (error != 0 && error != -USH_ECORRUPT)
			return error;
		readers[(*count)++] = readers[i];
	}
	return 0;
}
