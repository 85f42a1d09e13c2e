/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tools/offline.h"

int offline_open(struct offline *offline, const char *state, struct ush_message *message)
{
	struct ush_journal_config config = {.read_only = true};
	char directory[512], box[560];
	int error;

	memset(offline, 0, sizeof(*offline));
	snprintf(directory, sizeof(directory), "%s/journal", state);
	if (access(directory, R_OK | X_OK) != 0)
		snprintf(directory, sizeof(directory), "%s", state);
	snprintf(box, sizeof(box), "%s/box", directory);
	if (access(box, R_OK) != 0) {
		ush_message_set(message,
			"%s: no journal here (%s cannot be read); name usherd's state directory",
			state, box);
		return -USH_ENOENT;
	}
	error = ush_disk_uring_open(&offline->disk, directory, 1, message);
	if (error != 0)
		return error;
	offline->disk_open = true;
	config.directory = directory;
	error = ush_journal_open(&offline->journal, &config, &offline->disk, 0, message);
	if (error != 0)
		goto fail;
	snprintf(directory, sizeof(directory), "%s/events", state);
	if (access(directory, R_OK | X_OK) == 0) {
		error = ush_images_open(&offline->images, state, message);
		if (error != 0)
			goto fail;
		offline->images_open = true;
	}
	return 0;
fail:
	offline_close(offline);
	return error;
}

int offline_engine(struct offline *offline, struct ush_message *message)
{
	struct ush_engine_limits limits;
	void *memory;

	ush_engine_limits_default(&limits);
	limits.hold_count = 1u << USH_HOLD_INDEX_BITS;
	limits.user_count = 1u << 24;
	limits.answer_count = 1u << 24;
	limits.row_count = 1u << 24;
	limits.log_block_count = 256;
	limits.ack_count = 64;
	offline->memory_bytes = ush_engine_bytes(&limits, message);
	if (offline->memory_bytes == 0)
		return -USH_EINVAL;
	memory = mmap(NULL, offline->memory_bytes, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (memory == MAP_FAILED) {
		ush_message_set(message, "out of memory: %zu MiB of address space are needed",
			offline->memory_bytes >> 20);
		return -USH_ENOMEM;
	}
	offline->memory = memory;
	offline->engine = ush_engine_init(memory, &limits, ush_journal_key(offline->journal));
	if (offline->images_open)
		ush_engine_set_image_find(offline->engine, ush_images_find, &offline->images);
	return 0;
}

void offline_close(struct offline *offline)
{
	if (offline->memory != NULL)
		munmap(offline->memory, offline->memory_bytes);
	if (offline->images_open)
		ush_images_close(&offline->images);
	if (offline->journal != NULL)
		ush_journal_close(offline->journal);
	if (offline->disk_open)
		ush_disk_uring_close(&offline->disk);
	memset(offline, 0, sizeof(*offline));
}
