/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The decision table, what a block can look like, and opening a journal.
 */
#include "tests/journal_draw.h"

static _Alignas(4096) uint8_t block[USH_BLOCK_BYTES];

/* ---- the table ---- */

/* Every kind, known durable or not, has exactly one action; only good blocks are replayed, and
 * nothing known durable is ever dropped. */
static void test_table_every_input_has_one_action(void)
{
	for (int kind = 0; kind < BLOCK_KIND_COUNT; kind++) {
		for (int known = 0; known < 2; known++) {
			enum block_action action = block_decide((enum block_kind)kind, known != 0);
			bool ends = action == BLOCK_END || action == BLOCK_END_TORN;
			CHECK(action >= BLOCK_ACCEPT && action <= BLOCK_REFUSE_VERSION);
			CHECK((action == BLOCK_ACCEPT) == (kind == BLOCK_GOOD));
			CHECK(!(ends && known));
		}
	}
	CHECK_EQ(block_decide(BLOCK_ZERO, false), BLOCK_END);
	CHECK_EQ(block_decide(BLOCK_LEFTOVER, false), BLOCK_END);
	CHECK_EQ(block_decide(BLOCK_TORN, false), BLOCK_END_TORN);
	CHECK_EQ(block_decide(BLOCK_FUTURE, false), BLOCK_CORRUPT);
	CHECK_EQ(block_decide(BLOCK_FOREIGN, false), BLOCK_REFUSE_FOREIGN);
	CHECK_EQ(block_decide(BLOCK_VERSION, false), BLOCK_REFUSE_VERSION);
}

/* Each kind has a text of its own. */
static void test_table_every_kind_has_a_text(void)
{
	for (int a = 0; a < BLOCK_KIND_COUNT; a++) {
		CHECK(strlen(block_kind_text((enum block_kind)a)) > 3);
		for (int b = 0; b < a; b++)
			CHECK(strcmp(block_kind_text((enum block_kind)a),
				      block_kind_text((enum block_kind)b)) != 0);
	}
	CHECK(strcmp(block_kind_text(BLOCK_KIND_COUNT), "unknown") == 0);
}

/* ---- what a block can look like ---- */

static enum block_kind kind_now(void)
{
	return block_classify(block, (uint32_t)BOX_ID, 7, 100);
}

static void good_block(void)
{
	memset(block, 0, sizeof(block));
	fill(block, 7, 100, false);
	seal(block, 7, 100, 90);
	CHECK_EQ(kind_now(), BLOCK_GOOD);
}

static void seal_as(uint32_t box, uint32_t epoch, uint64_t place)
{
	static const uint8_t chain[USH_CHAIN_BYTES];

	good_block();
	block_seal(block, box, epoch, place, place, place, chain, 1);
}

/* Every field broken in turn, with the checksum made right again. */
static void test_classify_each_field_wrong(void)
{
	seal_as((uint32_t)BOX_ID + 1, 7, 100);
	CHECK_EQ(kind_now(), BLOCK_FOREIGN);
	seal_as((uint32_t)BOX_ID, 6, 100);
	CHECK_EQ(kind_now(), BLOCK_LEFTOVER);
	seal_as((uint32_t)BOX_ID, 8, 100);
	CHECK_EQ(kind_now(), BLOCK_FUTURE);
	seal_as((uint32_t)BOX_ID, 7, 99);
	CHECK_EQ(kind_now(), BLOCK_LEFTOVER);
	seal_as((uint32_t)BOX_ID, 7, 101);
	CHECK_EQ(kind_now(), BLOCK_FUTURE);
	seal_as((uint32_t)BOX_ID, 6, 101);
	CHECK_EQ(kind_now(), BLOCK_LEFTOVER);
	good_block();
	memcpy(block, "USJ2", 4);
	CHECK_EQ(kind_now(), BLOCK_VERSION);
	memcpy(block, "USJx", 4);
	CHECK_EQ(kind_now(), BLOCK_TORN);
	memset(block, 0, 4);
	CHECK_EQ(kind_now(), BLOCK_TORN);
	memset(block, 0, 64);
	CHECK_EQ(kind_now(), BLOCK_ZERO);
	memset(block, 0, sizeof(block));
	CHECK_EQ(kind_now(), BLOCK_ZERO);
}

/* One bit changed anywhere: never good, never another box's. */
static void test_classify_each_bit_changed_is_not_good(void)
{
	for (size_t i = 0; i < USH_BLOCK_BYTES * 8; i += i < 512 ? 1 : 13) {
		enum block_kind kind;
		if (i == 0 || i == 512)
			good_block();
		block[i / 8] ^= (uint8_t)(1 << i % 8);
		kind = kind_now();
		CHECK(kind == BLOCK_TORN || (kind == BLOCK_VERSION && i / 8 == 3));
		block[i / 8] ^= (uint8_t)(1 << i % 8);
	}
	CHECK_EQ(kind_now(), BLOCK_GOOD);
}

/* Each of the eight sectors lost, as zeros or as an older block. */
static void test_classify_each_sector_lost_is_not_good(void)
{
	uint8_t old[USH_BLOCK_BYTES];

	fill(block, 6, 40, false);
	seal(block, 6, 40, 40);
	memcpy(old, block, sizeof(old));
	for (size_t s = 0; s < sizeof(block); s += FAKE_SECTOR) {
		good_block();
		memset(block + s, 0, FAKE_SECTOR);
		CHECK_EQ(kind_now(), s == 0 ? BLOCK_ZERO : BLOCK_TORN);
		good_block();
		memcpy(block + s, old + s, FAKE_SECTOR);
		CHECK_EQ(kind_now(), BLOCK_TORN);
	}
}

/* ---- opening ---- */

static void test_open_in_use_is_refused(void)
{
	begin(0);
	fake_disk_locked_elsewhere(rig.fake, true);
	expect_refusal(-USH_EBUSY, "/rig", "another usherd");
}

static void test_open_read_only_is_refused(void)
{
	begin(0);
	fake_disk_read_only(rig.fake, true);
	expect_refusal(-USH_EROFS, "read-only", "make the directory writable");
}

static void test_open_full_disk_is_refused(void)
{
	rig_make(&rig, 1);
	fake_disk_capacity(rig.fake, 10);
	expect_refusal(-USH_ENOSPC, "no space left", "/rig");
}

static void test_open_impossible_settings_are_refused(void)
{
	begin(0);
	rig.config.segment_bytes = 12345;
	expect_refusal(-USH_EINVAL, "segment size", "1 MiB");
	begin(0);
	rig.config.depth = DEPTH_MAX + 1;
	expect_refusal(-USH_EINVAL, "depth 17", "1 to 16");
	begin(0);
	rig.config.write_bytes_max = 5000;
	expect_refusal(-USH_EINVAL, "write size", "4 KiB");
}

/* Every operation of open, recovery and start fails once; each time a message, no handle left, no
 * lock left, and the next try succeeds with everything there. */
static void test_open_each_operation_failing_leaves_nothing_behind(void)
{
	struct fake_counts counts;

	for (int op = 0; op < FAKE_WRITE; op++) {
		for (uint32_t after = 0; after < 12; after++) {
			int error;
			draw_long(1, 5);
			fake_disk_put(rig.fake, "spare-00000004.ush", RIG_SEGMENT_BYTES);
			fake_disk_fail(rig.fake, (enum fake_op)op, after, 1, -USH_EIO);
			error = rig_up(&rig);
			CHECK(error == 0 || error == -USH_EIO);
			CHECK(error == 0 || strlen(rig.message.text) > 20);
			if (rig.journal != NULL)
				ush_journal_close(rig.journal);
			rig.journal = NULL;
			fake_disk_counts(rig.fake, &counts);
			CHECK_EQ(counts.handles, 0);
			fake_disk_fail(rig.fake, (enum fake_op)op, 0, 0, 0);
			expect_ok(SECOND + 5, 0);
		}
	}
}

/* An audit reads beside a running usherd: no lock, nothing made, nothing changed. */
static void test_open_for_reading_only_changes_nothing(void)
{
	uint64_t before;

	draw_long(1, 5);
	tear(1, SECOND, SECOND + 4);
	fake_disk_read_only(rig.fake, true);
	fake_disk_locked_elsewhere(rig.fake, true);
	rig.config.read_only = true;
	before = disk_digest();
	CHECK_EQ(rig_open(&rig), 0);
	CHECK_EQ(rig_recover(&rig), 0);
	CHECK(rig_saw(&rig, SECOND + 3));
	CHECK_EQ(disk_digest(), before);
	rig_free(&rig);
	rig_make(&rig, 1);
	rig.config.read_only = true;
	expect_refusal(-USH_ENOENT, "no journal directory", "/rig");
}

/* The writer goes on while the audit looks at the tail: what was not there at the first look, and
 * is known durable at the second, is looked at again. */
static void write_on(void *context, enum fake_op op)
{
	uint32_t *opens = context;

	/* Box, segment, and the look ahead: this is the third. */
	if (op == FAKE_OPEN && ++*opens == 3)
		draw_blocks(1, 1, 6, 10, false);
}

static void test_open_for_reading_beside_a_writer(void)
{
	uint32_t opens = 0;
	int error;

	draw_simple(5);
	rig.config.read_only = true;
	fake_disk_hook(rig.fake, write_on, &opens);
	CHECK_EQ(rig_open(&rig), 0);
	error = rig_recover(&rig);
	CHECK(error == 0 || says("no error"));
	CHECK(rig_saw(&rig, 9));
	rig_free(&rig);
}

/* A segment is recycled, and written over, when it is open: it is gone at the look ahead. */
static void take_away(void *context, enum fake_op op)
{
	uint32_t *opens = context;

	if (op == FAKE_OPEN && ++*opens == 3)
		drop(1, 1);
}

/* Goal: whoever reads beside a usherd that recycles is told to ask again, not to mend a disk;
 * usherd itself, of whose segments one is gone, is told that. */
static void test_open_for_reading_while_segments_are_recycled(void)
{
	for (uint32_t i = 0; i < 2; i++) {
		uint32_t opens = 0;

		draw_simple(5);
		rig.config.read_only = i == 0;
		tear(1, 1, 3);
		fake_disk_hook(rig.fake, take_away, &opens);
		CHECK_EQ(rig_open(&rig), 0);
		CHECK_EQ(rig_recover(&rig), i == 0 ? -USH_EBUSY : -USH_ENOENT);
		CHECK(says(i == 0 ? "ask again" : "mend the disk"));
		rig_free(&rig);
		draw_simple(5);
		rig.config.read_only = i == 0;
		CHECK_EQ(rig_open(&rig), 0);
		fake_disk_remove(rig.fake, rig.journal->segments.items[0].name);
		CHECK_EQ(rig_recover(&rig), i == 0 ? -USH_EBUSY : -USH_ENOENT);
		CHECK(says(i == 0 ? "ask again" : "mend the disk"));
		rig_free(&rig);
	}
}

int main(void)
{
	TAP_RUN(test_table_every_input_has_one_action);
	TAP_RUN(test_table_every_kind_has_a_text);
	TAP_RUN(test_classify_each_field_wrong);
	TAP_RUN(test_classify_each_bit_changed_is_not_good);
	TAP_RUN(test_classify_each_sector_lost_is_not_good);
	TAP_RUN(test_open_in_use_is_refused);
	TAP_RUN(test_open_read_only_is_refused);
	TAP_RUN(test_open_full_disk_is_refused);
	TAP_RUN(test_open_impossible_settings_are_refused);
	TAP_RUN(test_open_each_operation_failing_leaves_nothing_behind);
	TAP_RUN(test_open_for_reading_only_changes_nothing);
	TAP_RUN(test_open_for_reading_beside_a_writer);
	TAP_RUN(test_open_for_reading_while_segments_are_recycled);
	return tap_end();
}
