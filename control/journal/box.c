/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <string.h>
#include <sys/random.h>

#include "journal/internal.h"

#define BOX_NAME "box"

static uint32_t box_crc(const struct ush_box_file *box)
{
	return ush_crc32c(0, box, offsetof(struct ush_box_file, crc));
}

int ush_journal_box_read(
	const struct ush_disk *disk, struct ush_box_file *box, struct ush_message *message)
{
	int file = disk->open(disk->context, BOX_NAME, false);
	int64_t got;

	if (file < 0) {
		ush_message_set(message, "cannot open the box file: %s", ush_error_text(file));
		return file;
	}
	got = disk->read(disk->context, file, box, sizeof(*box), 0);
	disk->close(disk->context, file);
	if (got < 0) {
		ush_message_set(message, "cannot read the box file: %s", ush_error_text((int)got));
		return (int)got;
	}
	if (got != (int64_t)sizeof(*box) || box->magic != USH_BOX_MAGIC ||
		box->crc != box_crc(box)) {
		ush_message_set(message,
			"the box file is damaged (%s): restore `box` from a backup; without it hold ids "
			"cannot be checked",
			got != (int64_t)sizeof(*box)  ? "too short"
			: box->magic != USH_BOX_MAGIC ? "wrong magic"
						      : "wrong checksum");
		return -USH_ECORRUPT;
	}
	if (box->version != USH_JOURNAL_VERSION) {
		ush_message_set(message, "journal format %u, this box reads %u", box->version,
			USH_JOURNAL_VERSION);
		return -USH_EVERSION;
	}
	return 0;
}

int box_write(const struct ush_disk *disk, struct ush_box_file *box, struct ush_message *message)
{
	int error;

	box->crc = box_crc(box);
	error = disk->put(disk->context, BOX_NAME, box, sizeof(*box));
	if (error != 0)
		ush_message_set(message, "cannot write the box file: %s%s", ush_error_text(error),
			journal_mend(error));
	return error;
}

int box_make(const struct ush_disk *disk, struct ush_box_file *box, uint64_t segment_bytes,
	uint64_t now_ns, struct ush_message *message)
{
	uint64_t random[3];

	if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random)) {
		ush_message_set(message, "no random numbers from the kernel");
		return -USH_ESYSTEM;
	}
	*box = (struct ush_box_file){
		.magic = USH_BOX_MAGIC,
		.version = USH_JOURNAL_VERSION,
		.box = random[0],
		.key0 = random[1],
		.key1 = random[2],
		.created_ns = now_ns,
		.segment_bytes = segment_bytes,
	};
	return box_write(disk, box, message);
}
