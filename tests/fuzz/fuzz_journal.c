/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzes recovery: a journal directory as an attacker with the disk in hand would leave it.
 *
 * The first byte chooses: an engine that applies what is replayed, or a callback that takes all;
 * checksums mended afterwards, so that what is behind them is reached, or not. Then commands follow
 * that change a small good journal of three epochs: bytes flipped and set, blocks moved and wiped,
 * records written, files cut, renamed, removed, copied, the box file changed. At last it is opened,
 * recovered and, if that went well, started, written to, and recovered again.
 *
 * Whatever stands there: no crash, no endless loop, an end in success or in an error with a
 * message.
 *
 * Owns:  a fake disk, an engine.
 * Reads: nothing.
 * Never: real files.
 */
#include <stdio.h>

#include "tests/fake_disk.h"
#include "tests/harness.h"

#include "hold/hold.h"
#include "journal/internal.h"
#include "loop/internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define SEGMENT_BYTES (1u << 20)
#define COMMANDS_MAX 64u

enum choice {
	CHOICE_ENGINE = 1,
	CHOICE_MEND = 2,
	CHOICE_READ_ONLY = 4,
};

struct input {
	const uint8_t *data;
	size_t size;
};

struct fuzz {
	struct fake_disk *fake;
	struct ush_disk disk;
	struct harness h;
	bool engine;
	uint64_t applied;
	void *image;
	size_t image_bytes;
};

static struct fuzz f;

/* ---- the input ---- */

static uint64_t take(struct input *in, size_t bytes)
{
	uint64_t value = 0;

	for (size_t i = 0; i < bytes && in->size != 0; i++, in->size--)
		value |= (uint64_t)*in->data++ << (8 * i);
	return value;
}

/* ret: below `bound`, small values often. */
static uint64_t pick(struct input *in, uint64_t bound)
{
	return take(in, bound > 256 ? 4 : 1) % bound;
}

/* ---- a good journal ---- */

static void fill(struct ush_record *slots, uint32_t epoch, uint64_t place, bool opens)
{
	for (uint32_t i = 1; i < USH_BLOCK_SLOTS; i++)
		slots[i] = (struct ush_record){.type = USH_RECORD_TYPE_PAD,
			.run_count = 1,
			.sequence = place * USH_BLOCK_SLOTS + i};
	slots[2].type = USH_RECORD_TYPE_TICK;
	slots[2].deadline_ns = HARNESS_START + place;
	if (!opens)
		return;
	slots[1].type = USH_RECORD_TYPE_OPEN;
	slots[1].user = epoch;
	slots[1].hold = place * USH_BLOCK_SLOTS;
}

/* EVENT, on sale, a hold of two legs, a release of nothing in particular. */
static void fill_sale(struct ush_record *slots)
{
	uint64_t id = ush_hold_id(&f.h.engine->holds, 1, 1);
	struct ush_record hold = {.type = USH_RECORD_TYPE_HOLD,
		.run_count = 2,
		.state = USH_HOLD_STATE_HELD,
		.event = 1,
		.user = 7,
		.hold = id,
		.mask = 3,
		.request_id = 1,
		.digest = 5,
		.version = 1,
		.amount = 5000,
		.deadline_ns = HARNESS_START * 2};
	const struct ush_record event = {.type = USH_RECORD_TYPE_EVENT,
		.run_count = 1,
		.event = 1,
		.hold = ush_engine_image_digest(f.image, f.image_bytes),
		.mask = 64,
		.amount = 4};
	const struct ush_record status = {.type = USH_RECORD_TYPE_EVENT_STATUS,
		.run_count = 1,
		.event = 1,
		.state = USH_EVENT_STATUS_ON_SALE};
	const struct ush_record list[] = {event, status, hold, hold};

	for (uint32_t i = 0; i < 4; i++) {
		uint64_t sequence = slots[10 + i].sequence;
		slots[10 + i] = list[i];
		slots[10 + i].sequence = sequence;
	}
	slots[13].run_index = 1;
	slots[13].hold = 2;
	slots[13].row = 1;
}

static void draw(uint32_t epoch, uint64_t first, uint64_t count, const struct ush_box_file *box)
{
	static const uint8_t chain[USH_CHAIN_BYTES];
	char name[USH_DISK_NAME_MAX];
	struct fake_file *file;

	segment_name(name, epoch, first);
	file = fake_disk_put(f.fake, name, SEGMENT_BYTES);
	for (uint64_t i = 0; i < count; i++) {
		uint8_t *data = file->data + i * USH_BLOCK_BYTES;
		fill((struct ush_record *)(void *)data, epoch, first + i, i == 0);
		if (first == 1 && i == 1)
			fill_sale((struct ush_record *)(void *)data);
		block_seal(data, (uint32_t)box->box, epoch, first + i, first + i, 1, chain,
			HARNESS_START);
	}
}

static void draw_journal(void)
{
	struct ush_box_file box = {
		.magic = USH_BOX_MAGIC,
		.version = USH_JOURNAL_VERSION,
		.epoch = 3,
		.box = 99,
		.segment_bytes = SEGMENT_BYTES,
		.first_block = 9,
	};

	box.crc = ush_crc32c(0, &box, offsetof(struct ush_box_file, crc));
	memcpy(fake_disk_put(f.fake, "box", sizeof(box))->data, &box, sizeof(box));
	draw(1, 1, 5, &box);
	draw(2, 6, 3, &box);
	draw(3, 9, 4, &box);
	fake_disk_put(f.fake, "spare-00000001.ush", SEGMENT_BYTES);
}

/* ---- changes ---- */

static struct fake_file *pick_file(struct input *in)
{
	return fake_disk_file_at(f.fake, (uint32_t)pick(in, fake_disk_file_count(f.fake)));
}

/* A place in the blocks that are used, most often. */
static uint64_t pick_offset(struct input *in, const struct fake_file *file)
{
	uint64_t offset = take(in, 2);

	return file->size == 0 ? 0 : offset % file->size;
}

/* A segment's name, likely or not. */
static void pick_name(struct input *in, char *name)
{
	bool likely = pick(in, 2) == 0;
	uint32_t epoch = likely ? (uint32_t)pick(in, 6) : (uint32_t)take(in, 4);
	uint64_t first = likely ? pick(in, 16) : take(in, 8);

	segment_name(name, epoch, first);
}

static void change_file(struct input *in)
{
	struct fake_file *file = pick_file(in), *copy;
	char name[USH_DISK_NAME_MAX + 8], other[USH_DISK_NAME_MAX];

	snprintf(name, sizeof(name), "%s", file->name);
	switch (pick(in, 4)) {
	case 0:
		if (fake_disk_file_count(f.fake) > 1)
			fake_disk_remove(f.fake, name);
		return;
	case 1:
		fake_disk_resize(f.fake, name, pick(in, 2 * SEGMENT_BYTES));
		return;
	case 2:
		pick_name(in, other);
		f.disk.rename(f.disk.context, name, other);
		return;
	default:
		pick_name(in, other);
		if (strcmp(name, other) == 0)
			return;
		copy = fake_disk_put(f.fake, other, file->size);
		memcpy(copy->data, file->data, file->size);
		return;
	}
}

static void change_bytes(struct input *in)
{
	struct fake_file *file = pick_file(in);
	uint64_t at = pick_offset(in, file), count = 1 + pick(in, 16);

	for (uint64_t i = at; i < at + count && i < file->size; i++)
		file->data[i] = (uint8_t)take(in, 1);
}

static void change_blocks(struct input *in)
{
	struct fake_file *from = pick_file(in), *to = pick_file(in);
	uint64_t a = pick(in, 16) * USH_BLOCK_BYTES, b = pick(in, 16) * USH_BLOCK_BYTES;

	if (b + USH_BLOCK_BYTES > to->size || a + USH_BLOCK_BYTES > from->size)
		return;
	if (pick(in, 4) == 0)
		memset(to->data + b, 0, USH_BLOCK_BYTES);
	else
		memmove(to->data + b, from->data + a, USH_BLOCK_BYTES);
}

/* Fields of a record, its sequence kept right. */
static void change_record(struct input *in)
{
	struct fake_file *file = pick_file(in);
	uint64_t block = pick(in, 8), slot = 1 + pick(in, USH_BLOCK_SLOTS - 1);
	uint64_t at = block * USH_BLOCK_BYTES + slot * USH_RECORD_BYTES;
	uint32_t index = (uint32_t)pick(in, 8);
	uint16_t generation = (uint16_t)pick(in, 4);
	struct ush_record record;

	if (at + sizeof(record) > file->size)
		return;
	memcpy(&record, file->data + at, sizeof(record));
	record.type = (uint8_t)pick(in, USH_RECORD_TYPE_COUNT + 1);
	record.run_count = (uint8_t)take(in, 1) % 10;
	record.run_index = (uint8_t)take(in, 1) % 9;
	record.state = (uint8_t)take(in, 1);
	record.event = (uint32_t)pick(in, 4);
	record.user = pick(in, 9);
	record.hold =
		pick(in, 2) == 0 ? ush_hold_id(&f.h.engine->holds, index, generation) : take(in, 8);
	record.mask = take(in, pick(in, 9));
	record.request_id = (uint32_t)pick(in, 130);
	record.row = (uint16_t)pick(in, 6);
	record.version = (uint16_t)pick(in, 4);
	record.deadline_ns = take(in, 8);
	memcpy(file->data + at, &record, sizeof(record));
}

static void mend(struct fake_file *file)
{
	uint32_t crc;

	if (strcmp(file->name, "box") == 0 && file->size >= sizeof(struct ush_box_file)) {
		crc = ush_crc32c(0, file->data, offsetof(struct ush_box_file, crc));
		memcpy(file->data + offsetof(struct ush_box_file, crc), &crc, sizeof(crc));
		return;
	}
	for (uint64_t at = 0; at + USH_BLOCK_BYTES <= ush_min64(file->size, 32 * USH_BLOCK_BYTES);
		at += USH_BLOCK_BYTES) {
		uint8_t *block = file->data + at;
		uint32_t zero = 0;
		if (block[0] == 0 && memcmp(block, block + 1, 63) == 0)
			continue;
		memcpy(block + offsetof(struct ush_block_header, crc), &zero, sizeof(zero));
		crc = ush_crc32c(0, block, USH_BLOCK_BYTES);
		memcpy(block + offsetof(struct ush_block_header, crc), &crc, sizeof(crc));
	}
}

static void change_all(struct input *in, bool mended)
{
	for (uint32_t i = 0; i < COMMANDS_MAX && in->size != 0; i++) {
		switch (take(in, 1) % 8) {
		case 0:
			change_file(in);
			break;
		case 1:
		case 2:
			change_bytes(in);
			break;
		case 3:
			change_blocks(in);
			break;
		default:
			change_record(in);
			break;
		}
	}
	for (uint32_t i = 0; mended && i < fake_disk_file_count(f.fake); i++)
		mend(fake_disk_file_at(f.fake, i));
}

/* ---- recovery ---- */

static int apply(void *context, const struct ush_record *records, uint32_t count,
	struct ush_message *message)
{
	(void)context;
	USH_ASSERT(count >= 1 && count <= USH_RUN_RECORDS_MAX);
	f.applied += count;
	return f.engine ? ush_engine_apply(f.h.engine, records, count, message) : 0;
}

static int find_image(void *context, uint32_t event_id, uint64_t digest, const void **image,
	size_t *image_bytes, struct ush_message *message)
{
	(void)context, (void)event_id, (void)digest, (void)message;
	*image = f.image;
	*image_bytes = f.image_bytes;
	return 0;
}

static void open_engine(void)
{
	struct ush_engine_limits limits;

	harness_limits_small(&limits);
	limits.hold_count = 64;
	limits.user_count = 64;
	limits.answer_count = 64;
	limits.row_count = 16;
	limits.log_block_count = 64;
	harness_open_for_replay(&f.h, &limits);
	ush_engine_set_image_find(f.h.engine, find_image, NULL);
}

static void write_a_little(struct ush_journal *journal)
{
	struct ush_record record = {.type = USH_RECORD_TYPE_TICK, .run_count = 1};
	uint64_t sequence;

	ush_log_append(ush_engine_log(f.h.engine), &record, 1, &sequence);
	for (int i = 0; i < 1000 && !ush_journal_idle(journal); i++) {
		ush_journal_step(journal, HARNESS_START);
		ush_journal_housekeep(journal);
	}
	USH_ASSERT(ush_journal_idle(journal));
}

/* ret: 0, or the error of opening or recovery, which came with a message. */
static int recover(bool read_only, bool go_on)
{
	struct ush_journal_config config = {.directory = "/fuzz",
		.segment_bytes = SEGMENT_BYTES,
		.spare_count = 1,
		.read_only = read_only};
	struct ush_journal *journal = NULL;
	struct ush_journal_report report;
	struct ush_engine_resume resume;
	struct ush_message message = {{0}};
	int error = ush_journal_open(&journal, &config, &f.disk, HARNESS_START, &message);

	if (error == 0)
		error = ush_journal_recover(journal, apply, NULL, &report, &message);
	USH_ASSERT(error == 0 || strlen(message.text) > 10);
	if (error == 0) {
		USH_ASSERT(report.end_sequence >= USH_LOG_SEQUENCE_FIRST);
		USH_ASSERT(report.records <= report.blocks * (USH_BLOCK_SLOTS - 1));
		if (f.engine)
			ush_engine_replayed(f.h.engine, HARNESS_START, &resume);
	}
	if (error == 0 && go_on) {
		error = ush_journal_start(
			journal, ush_engine_log(f.h.engine), HARNESS_START, &message);
		USH_ASSERT(error == 0 || strlen(message.text) > 10);
		if (error == 0)
			write_a_little(journal);
	}
	if (journal != NULL)
		ush_journal_close(journal);
	return error;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {.data = data, .size = size};
	uint64_t choice = take(&in, 1), applied;
	struct fake_counts counts;
	int error;

	f.image = harness_image(4, 16, 60, &f.image_bytes);
	open_engine();
	f.fake = fake_disk_make(1);
	fake_disk_table(f.fake, &f.disk);
	f.engine = (choice & CHOICE_ENGINE) != 0;
	f.applied = 0;
	draw_journal();
	change_all(&in, (choice & CHOICE_MEND) != 0);
	error = recover((choice & CHOICE_READ_ONLY) != 0, (choice & CHOICE_READ_ONLY) == 0);
	/* Unchanged, the journal is good, with a hold in it. */
	USH_ASSERT(size > 1 || error == 0);
	fake_disk_counts(f.fake, &counts);
	USH_ASSERT(counts.handles == 0);
	/* What could be started can be started again, and nothing is missing. */
	applied = f.applied;
	if (error == 0 && (choice & CHOICE_READ_ONLY) == 0) {
		fake_disk_power_cycle(f.fake);
		harness_close(&f.h);
		open_engine();
		f.applied = 0;
		USH_ASSERT(recover(true, false) == 0);
		/* OPEN and one TICK more. */
		USH_ASSERT(f.applied == applied + 2);
	}
	fake_disk_free(f.fake);
	harness_close(&f.h);
	free(f.image);
	return 0;
}
