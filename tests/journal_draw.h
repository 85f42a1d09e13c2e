/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Draws a journal directory block by block, and says what recovery must make of it.
 *
 * The block at place p carries TICK number p, so that what was replayed is known exactly. A picture
 * that may be started is started, written to and recovered once more; one that may not is left byte
 * for byte as it was.
 *
 * Owns:  the rig of the test at hand.
 * Reads: nothing.
 * Never: used by more than one test at a time.
 */
#ifndef USH_JOURNAL_DRAW_H
#define USH_JOURNAL_DRAW_H

#include "tests/journal_rig.h"
#include "tests/tap.h"

#define BOX_ID 0x1122334455667788ull

static struct rig rig;

/* ---- drawing ---- */

static inline void draw_box(uint32_t epoch)
{
	struct ush_box_file box = {
		.magic = USH_BOX_MAGIC,
		.version = USH_JOURNAL_VERSION,
		.epoch = epoch,
		.box = BOX_ID,
		.key0 = 1,
		.key1 = 2,
		.created_ns = RIG_START_NS,
		.segment_bytes = RIG_SEGMENT_BYTES,
	};

	box.crc = ush_crc32c(0, &box, offsetof(struct ush_box_file, crc));
	memcpy(fake_disk_put(rig.fake, "box", sizeof(box))->data, &box, sizeof(box));
}

static inline void box_field(size_t offset, uint64_t value, size_t size)
{
	uint8_t *data = fake_disk_find(rig.fake, "box")->data;
	uint32_t crc;

	memcpy(data + offset, &value, size);
	crc = ush_crc32c(0, data, offsetof(struct ush_box_file, crc));
	memcpy(data + offsetof(struct ush_box_file, crc), &crc, sizeof(crc));
}

static inline void begin(uint32_t epoch)
{
	rig_make(&rig, (uint64_t)tap_count);
	draw_box(epoch);
}

/* The box file learns where its epoch begins. */
static inline void draw_segment(uint32_t epoch, uint64_t first)
{
	struct ush_box_file box;
	char name[USH_DISK_NAME_MAX];

	memcpy(&box, fake_disk_find(rig.fake, "box")->data, sizeof(box));
	if (box.epoch == epoch && (box.first_block == 0 || first < box.first_block))
		box_field(offsetof(struct ush_box_file, first_block), first, 4);

	segment_name(name, epoch, first);
	fake_disk_put(rig.fake, name, RIG_SEGMENT_BYTES);
}

/* ret: the bytes of a place in a segment. */
static inline uint8_t *spot(uint32_t epoch, uint64_t first, uint64_t place)
{
	char name[USH_DISK_NAME_MAX];
	struct fake_file *file;

	segment_name(name, epoch, first);
	file = fake_disk_find(rig.fake, name);
	USH_ASSERT(file != NULL);
	USH_ASSERT((place - first + 1) * USH_BLOCK_BYTES <= file->size);
	return file->data + (place - first) * USH_BLOCK_BYTES;
}

static inline struct ush_record *slots_of(void *data)
{
	return data;
}

/* Records of the block at `place`: OPEN if it is its epoch's first, TICK number `place`, pads. */
static inline void fill(void *data, uint32_t epoch, uint64_t place, bool opens)
{
	struct ush_record *slots = slots_of(data);

	for (uint32_t i = 1; i < USH_BLOCK_SLOTS; i++)
		slots[i] = (struct ush_record){.type = USH_RECORD_TYPE_PAD,
			.run_count = 1,
			.sequence = place * USH_BLOCK_SLOTS + i};
	slots[2].type = USH_RECORD_TYPE_TICK;
	slots[2].user = place;
	if (!opens)
		return;
	slots[1].type = USH_RECORD_TYPE_OPEN;
	slots[1].user = epoch;
	slots[1].hold = place * USH_BLOCK_SLOTS;
}

static inline void seal(void *data, uint32_t epoch, uint64_t place, uint64_t durable)
{
	static const uint8_t chain[USH_CHAIN_BYTES];

	block_seal(data, (uint32_t)BOX_ID, epoch, place, durable, 1, chain, RIG_START_NS);
}

/* A good block. durable: blocks before it were known durable when it was written. */
static inline void draw_marked(
	uint32_t epoch, uint64_t first, uint64_t place, bool opens, uint64_t durable)
{
	fill(spot(epoch, first, place), epoch, place, opens);
	seal(spot(epoch, first, place), epoch, place, durable);
}

/* Good blocks [from, to), each durable before the next was written. */
static inline void draw_blocks(
	uint32_t epoch, uint64_t first, uint64_t from, uint64_t to, bool opens)
{
	for (uint64_t p = from; p < to; p++)
		draw_marked(epoch, first, p, opens && p == from, p);
}

/* Epoch 1 with blocks 1 to last in its first segment. */
static inline void draw_simple(uint64_t last)
{
	begin(1);
	draw_segment(1, 1);
	draw_blocks(1, 1, 1, last + 1, true);
}

static inline void tear(uint32_t epoch, uint64_t first, uint64_t place)
{
	memset(spot(epoch, first, place) + 1024, 0x5a, 512);
}

static inline void wipe(uint32_t epoch, uint64_t first, uint64_t place)
{
	memset(spot(epoch, first, place), 0, USH_BLOCK_BYTES);
}

static inline void move(uint32_t epoch, uint64_t first, uint32_t epoch_to, uint64_t first_to)
{
	char from[USH_DISK_NAME_MAX], to[USH_DISK_NAME_MAX];

	segment_name(from, epoch, first);
	segment_name(to, epoch_to, first_to);
	rig.disk.rename(rig.disk.context, from, to);
}

static inline void drop(uint32_t epoch, uint64_t first)
{
	char name[USH_DISK_NAME_MAX];

	segment_name(name, epoch, first);
	fake_disk_remove(rig.fake, name);
}

/* Epoch 1 fills `full` segments and goes `more` blocks into the next. */
static inline void draw_long(uint32_t full, uint64_t more)
{
	begin(1);
	for (uint64_t s = 0; s <= full; s++) {
		uint64_t first = 1 + s * RIG_SEGMENT_BLOCKS;
		draw_segment(1, first);
		draw_blocks(
			1, first, first, first + (s < full ? RIG_SEGMENT_BLOCKS : more), s == 0);
	}
}

#define SECOND (1u + RIG_SEGMENT_BLOCKS)
#define THIRD (1u + 2u * RIG_SEGMENT_BLOCKS)

/* ---- expecting ---- */

static inline uint64_t disk_digest(void)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < fake_disk_file_count(rig.fake); i++) {
		const struct fake_file *file = fake_disk_file_at(rig.fake, i);
		sum += ush_mix64(ush_crc32c(0, file->data, file->size) +
				 ((uint64_t)ush_crc32c(0, file->name, strlen(file->name)) << 32));
	}
	return sum;
}

static inline bool says(const char *text)
{
	if (strstr(rig.message.text, text) != NULL)
		return true;
	printf("# the message is: %s\n", rig.message.text);
	return false;
}

/* Recovery accepts the blocks before `end` and drops `torn`; afterwards life goes on. */
static inline void expect_ok(uint64_t end, uint64_t torn)
{
	int error = rig_open(&rig);

	if (error == 0)
		error = rig_recover(&rig);
	CHECK(error == 0 || says("no error"));
	if (error == 0) {
		CHECK_EQ(rig.report.end_sequence, end * USH_BLOCK_SLOTS);
		CHECK_EQ(rig.report.torn_blocks, torn);
		CHECK(rig_saw(&rig, end - 1));
		rig.last = end - 1;
		CHECK_EQ(rig_start(&rig), 0);
		CHECK(rig_blocks(&rig, 2));
		rig_down(&rig);
		CHECK(rig_open(&rig) == 0 && (rig_recover(&rig) == 0 || says("no error")));
		CHECK(rig_saw(&rig, end + 1));
	}
	rig_free(&rig);
}

/* ret: the error of opening or recovering. */
static inline int refusal(void)
{
	uint64_t before = disk_digest();
	struct fake_counts counts;
	int error = rig_open(&rig);

	if (error == 0)
		error = rig_recover(&rig);
	CHECK(strlen(rig.message.text) > 20);
	CHECK_EQ(disk_digest(), before);
	if (rig.journal != NULL)
		ush_journal_close(rig.journal);
	rig.journal = NULL;
	fake_disk_counts(rig.fake, &counts);
	CHECK_EQ(counts.handles, 0);
	return error;
}

static inline void expect_refusal(int error, const char *text, const char *more)
{
	CHECK_EQ(refusal(), error);
	CHECK(says(text));
	CHECK(says(more));
	rig_free(&rig);
}

#endif /* USH_JOURNAL_DRAW_H */
