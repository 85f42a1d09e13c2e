/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tools/offline.h"
#include "room/merkle.h"

#define HOLD_LINES_MAX (1u << USH_HOLD_INDEX_BITS)

/* An archive that is not there is not made: its disk may not be mounted. */
static int open_archive(struct offline *offline, const char *archive, struct ush_message *message)
{
	struct ush_disk overlay;
	struct ush_box_file box;
	int error;

	if (access(archive, R_OK | X_OK) != 0) {
		ush_message_set(message,
			"archive %s: cannot be read; is its disk mounted? A new archive begins with "
			"an empty directory",
			archive);
		return -USH_ENOENT;
	}
	error = ush_journal_box_read(&offline->disk, &box, message);
	if (error == 0)
		error = ush_disk_uring_open(&offline->archive_disk, archive, 1, message);
	if (error != 0)
		return error;
	error = ush_archive_open(
		&offline->archive, &offline->archive_disk, archive, box.box, message);
	if (error != 0)
		return error;
	offline->live_disk = offline->disk;
	error = ush_archive_disk_open(&overlay, offline->archive, &offline->live_disk, message);
	if (error == 0)
		offline->disk = overlay;
	else
		offline->live_disk.context = NULL;
	return error;
}

int offline_open_disk(struct offline *offline, const char *state, const char *archive,
	struct ush_message *message)
{
	char *directory = offline->directory, box[560];
	int error;

	memset(offline, 0, sizeof(*offline));
	snprintf(directory, sizeof(offline->directory), "%s/journal", state);
	if (access(directory, R_OK | X_OK) != 0)
		snprintf(directory, sizeof(offline->directory), "%s", state);
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
	error = archive == NULL ? 0 : open_archive(offline, archive, message);
	if (error != 0)
		offline_close(offline);
	return error;
}

int offline_open(struct offline *offline, const char *state, const char *archive,
	struct ush_message *message)
{
	struct ush_journal_config config = {.read_ahead = true, .read_only = true};
	char events[560];
	int error = offline_open_disk(offline, state, archive, message);

	if (error != 0)
		return error;
	config.directory = offline->directory;
	error = ush_journal_open(&offline->journal, &config, &offline->disk, 0, message);
	if (error != 0)
		goto fail;
	snprintf(events, sizeof(events), "%s/events", state);
	if (access(events, R_OK | X_OK) == 0) {
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

/* What an engine needs that replays a journal. */
struct need {
	uint64_t hold_index_max;
	uint64_t runs;
};

static int measure_run(void *context, const struct ush_record *records, uint32_t count,
	struct ush_message *message)
{
	struct need *need = context;

	(void)message;
	need->runs++;
	if (records[0].type != USH_RECORD_TYPE_HOLD)
		return 0;
	/* The first leg names the hold, further ones the index of their line. */
	need->hold_index_max =
		ush_max64(need->hold_index_max, records[0].hold & (HOLD_LINES_MAX - 1));
	for (uint32_t i = 1; i < count; i++)
		need->hold_index_max =
			ush_max64(need->hold_index_max, ush_min64(records[i].hold, HOLD_LINES_MAX));
	return 0;
}

static void measure_snapshot(const struct ush_snapshot *snapshot, struct need *need)
{
	const struct ush_state_hold *last = ush_snapshot_last(snapshot, USH_STATE_SECTION_HOLD);

	need->hold_index_max = last == NULL ? 0 : last->index;
	need->runs = ush_snapshot_count(snapshot, USH_STATE_SECTION_USER) +
		     ush_snapshot_count(snapshot, USH_STATE_SECTION_ANSWER);
}

/* A journal that cannot be read to its end is measured as far as it goes: the replay will say. */
static void measure(const struct offline *offline, struct need *need)
{
	struct ush_journal_config config = {.directory = offline->directory, .read_only = true};
	struct ush_journal_report report;
	struct ush_message ignored;
	struct ush_journal *journal;

	if (ush_journal_open(&journal, &config, &offline->disk, 0, &ignored) != 0)
		return;
	(void)ush_journal_recover_from(
		journal, offline_point(offline), measure_run, need, &report, &ignored);
	ush_journal_close(journal);
}

/* in: used: lines the journal uses. Sparse, for hash tables' sake, with room for what a live usherd
 * adds between measuring and replaying, and no more than a journal can name. */
static uint32_t lines_for(uint64_t used)
{
	uint64_t wanted = ush_min64(used * 4 + (1u << 18), HOLD_LINES_MAX);

	return ush_pow2_ceil32((uint32_t)wanted);
}

static int save_state(const void *state, ush_snapshot_put *put, void *context)
{
	return ush_engine_save(state, put, context);
}

static int load_state(
	void *state, ush_snapshot_get *get, void *context, struct ush_message *message)
{
	return ush_engine_load(state, get, context, message);
}

struct ush_snapshot_state offline_state(struct ush_engine *engine)
{
	return (struct ush_snapshot_state){engine, save_state, load_state};
}

const struct ush_snapshot_point *offline_point(const struct offline *offline)
{
	return offline->snapshot == NULL ? NULL : ush_snapshot_point(offline->snapshot);
}

static int find_snapshot(struct offline *offline, struct ush_message *message)
{
	struct ush_message skipped;
	int error = ush_snapshot_find(&offline->snapshot, offline->journal, &skipped, message);

	if (skipped.text[0] != '\0')
		fprintf(stderr, "usher: %s\n", skipped.text);
	return error;
}

int offline_engine(struct offline *offline, bool from_start, struct ush_message *message)
{
	struct ush_engine_limits limits;
	struct need need = {0};
	struct ush_snapshot_state state;
	void *memory;
	int error = from_start ? 0 : find_snapshot(offline, message);

	if (error != 0)
		return error;
	if (offline->snapshot != NULL)
		measure_snapshot(offline->snapshot, &need);
	measure(offline, &need);
	ush_engine_limits_default(&limits);
	limits.hold_count = lines_for(need.hold_index_max);
	limits.user_count = lines_for(need.runs);
	limits.answer_count = lines_for(need.runs);
	limits.row_count = 1u << 24;
	limits.channel_row_count = 1u << 20;
	limits.wait_count = 1u << 20;
	limits.room_user_count = 1u << 27;
	limits.room_device_count = 1u << 20;
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
	ush_engine_set_hash(offline->engine, ush_sha256);
	if (offline->images_open)
		ush_engine_set_image_find(offline->engine, ush_images_find, &offline->images);
	state = offline_state(offline->engine);
	return offline->snapshot == NULL ? 0
					 : ush_snapshot_load(offline->snapshot, &state, message);
}

void offline_close(struct offline *offline)
{
	ush_snapshot_free(offline->snapshot);
	if (offline->memory != NULL)
		munmap(offline->memory, offline->memory_bytes);
	if (offline->images_open)
		ush_images_close(&offline->images);
	if (offline->journal != NULL)
		ush_journal_close(offline->journal);
	if (offline->live_disk.context != NULL) {
		ush_archive_disk_close(&offline->disk);
		offline->disk = offline->live_disk;
	}
	ush_archive_close(offline->archive);
	if (offline->archive_disk.context != NULL)
		ush_disk_uring_close(&offline->archive_disk);
	if (offline->disk_open)
		ush_disk_uring_close(&offline->disk);
	memset(offline, 0, sizeof(*offline));
}
