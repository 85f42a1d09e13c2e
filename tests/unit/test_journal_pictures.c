/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Recovery: one test for each picture that a journal directory can show.
 */
#include "tests/journal_draw.h"

/* ---- pictures: nothing there yet ---- */

static void test_picture_empty_directory_starts(void)
{
	rig_make(&rig, 1);
	expect_ok(1, 0);
}

static void test_picture_box_only_starts(void)
{
	begin(0);
	expect_ok(1, 0);
}

/* Crash between the box write and the first segment, once and several times. */
static void test_picture_box_ahead_of_no_segment_starts(void)
{
	begin(1);
	expect_ok(1, 0);
	begin(4);
	expect_ok(1, 0);
}

static void test_picture_spares_and_strangers_are_no_segments(void)
{
	draw_simple(3);
	fake_disk_put(rig.fake, "spare-00000004.ush", RIG_SEGMENT_BYTES);
	fake_disk_put(rig.fake, "spare-00000009.ush.new", 777);
	fake_disk_put(rig.fake, "box.new", 12);
	fake_disk_put(rig.fake, "seg-1-1.ush", 5);
	fake_disk_put(rig.fake, "seg-00000001-0000000000000001.ush.copy", 5);
	fake_disk_put(rig.fake, "lost+found", 0);
	expect_ok(4, 0);
}

/* Spares that an earlier journal left: another size, another box's blocks. */
static void test_picture_spares_of_another_journal_are_removed(void)
{
	static const uint8_t chain[USH_CHAIN_BYTES];

	rig_make(&rig, 1);
	fake_disk_put(rig.fake, "spare-00000004.ush", 4 * RIG_SEGMENT_BYTES);
	for (uint64_t p = 1; p < 9; p++) {
		struct fake_file *file = fake_disk_put(rig.fake, "draft", USH_BLOCK_BYTES);
		fill(file->data, 1, p, false);
		block_seal(file->data, 99, 1, p, p, 1, chain, 1);
		if (p == 1)
			fake_disk_put(rig.fake, "spare-00000007.ush", RIG_SEGMENT_BYTES);
		memcpy(fake_disk_find(rig.fake, "spare-00000007.ush")->data +
				(p - 1) * USH_BLOCK_BYTES,
			file->data, USH_BLOCK_BYTES);
	}
	expect_ok(1, 0);
}

static void test_picture_spare_cut_short_is_not_used(void)
{
	draw_simple(3);
	fake_disk_put(rig.fake, "spare-00000004.ush", RIG_SEGMENT_BYTES - USH_BLOCK_BYTES);
	fake_disk_put(rig.fake, "spare-00000005.ush", 0);
	expect_ok(4, 0);
}

/* ---- pictures: the tail ---- */

static void test_picture_open_only_starts(void)
{
	draw_simple(1);
	expect_ok(2, 0);
}

static void test_picture_whole_blocks_then_nothing_starts(void)
{
	draw_simple(5);
	expect_ok(6, 0);
}

static void test_picture_torn_last_block_is_dropped(void)
{
	draw_simple(5);
	tear(1, 1, 5);
	expect_ok(5, 1);
}

static void test_picture_torn_first_block_is_dropped(void)
{
	draw_simple(1);
	tear(1, 1, 1);
	expect_ok(1, 1);
}

static void test_picture_first_sector_lost_is_dropped(void)
{
	draw_simple(5);
	memset(spot(1, 1, 5), 0, FAKE_SECTOR);
	expect_ok(5, 0);
}

static void test_picture_three_torn_blocks_are_dropped(void)
{
	draw_simple(3);
	for (uint64_t p = 4; p < 7; p++) {
		draw_marked(1, 1, p, false, 4);
		tear(1, 1, p);
	}
	expect_ok(4, 3);
}

/* Block 4 bad, 5 and 6 good, and none of them knew of 4: legal with several writes in flight. */
static void test_picture_hole_above_watermark_is_dropped(void)
{
	draw_simple(3);
	for (uint64_t p = 4; p < 7; p++)
		draw_marked(1, 1, p, false, 4);
	tear(1, 1, 4);
	expect_ok(4, 3);
}

static void test_picture_unwritten_hole_above_watermark_is_dropped(void)
{
	draw_simple(3);
	draw_marked(1, 1, 5, false, 4);
	expect_ok(4, 1);
}

/* The same, but block 6 knew that 4 was durable. */
static void test_picture_hole_below_watermark_is_refused(void)
{
	draw_simple(6);
	tear(1, 1, 4);
	expect_refusal(-USH_ECORRUPT, "seg-00000001-0000000000000001.ush, block 4 (offset 12288)",
		"torn or rotten");
}

static void test_picture_unwritten_hole_below_watermark_is_refused(void)
{
	draw_simple(6);
	wipe(1, 1, 4);
	expect_refusal(-USH_ECORRUPT, "block 4 (offset 12288)", "never written");
}

/* The last block that knows: block 5's watermark is 5, so 4 is durable; 4's own says nothing. */
static void test_picture_watermark_reaches_exactly_so_far(void)
{
	draw_simple(5);
	tear(1, 1, 4);
	expect_refusal(-USH_ECORRUPT, "block 4", "restore");
	draw_simple(4);
	draw_marked(1, 1, 5, false, 4);
	tear(1, 1, 4);
	expect_ok(4, 2);
}

static void test_picture_leftover_of_older_epoch_ends_it(void)
{
	begin(2);
	draw_segment(1, 1);
	draw_blocks(1, 1, 1, 3, true);
	draw_segment(2, 3);
	draw_blocks(2, 3, 3, 5, true);
	draw_marked(1, 1, 9, false, 9);
	memcpy(spot(2, 3, 5), spot(1, 1, 9), USH_BLOCK_BYTES);
	wipe(1, 1, 9);
	expect_ok(5, 0);
}

/* Even when the leftover stands at its own place: only the epoch tells. */
static void test_picture_leftover_of_older_epoch_at_its_place_ends_it(void)
{
	begin(2);
	draw_segment(1, 1);
	draw_blocks(1, 1, 1, 3, true);
	draw_segment(2, 3);
	draw_blocks(2, 3, 3, 5, true);
	draw_marked(1, 1, 5, false, 5);
	memcpy(spot(2, 3, 5), spot(1, 1, 5), USH_BLOCK_BYTES);
	expect_ok(5, 0);
}

static void test_picture_leftover_of_same_epoch_earlier_place_ends_it(void)
{
	draw_simple(4);
	memcpy(spot(1, 1, 5), spot(1, 1, 2), USH_BLOCK_BYTES);
	expect_ok(5, 0);
}

/* Within an epoch nothing is written ahead of its place: a file was swapped. */
static void test_picture_same_epoch_later_place_is_refused(void)
{
	draw_simple(4);
	draw_marked(1, 1, 9, false, 9);
	memcpy(spot(1, 1, 5), spot(1, 1, 9), USH_BLOCK_BYTES);
	wipe(1, 1, 9);
	expect_refusal(-USH_ECORRUPT, "block 5", "later");
}

static void test_picture_leftover_below_watermark_is_refused(void)
{
	draw_simple(8);
	memcpy(spot(1, 1, 5), spot(1, 1, 2), USH_BLOCK_BYTES);
	expect_refusal(-USH_ECORRUPT, "block 5", "leftover");
}

/* ---- pictures: several segments ---- */

static void test_picture_three_segments_are_read_in_order(void)
{
	draw_long(2, 3);
	expect_ok(THIRD + 3, 0);
}

static void test_picture_full_segment_and_no_next_starts(void)
{
	draw_long(1, 0);
	drop(1, SECOND);
	expect_ok(SECOND, 0);
}

static void test_picture_full_segment_and_empty_next_starts(void)
{
	draw_long(1, 0);
	expect_ok(SECOND, 0);
}

/* The next one entered (its writes lost), the one after prepared. */
static void test_picture_two_empty_segments_start(void)
{
	draw_long(1, 0);
	draw_segment(1, THIRD);
	expect_ok(SECOND, 0);
}

/* The same, and a crash between the two renames that recycle them: in either order it must be
 * possible to start again. */
static void test_picture_crash_while_recycling_starts(void)
{
	for (uint32_t cut = 0; cut < 8; cut++) {
		draw_long(1, 0);
		draw_segment(1, THIRD);
		CHECK_EQ(rig_open(&rig), 0);
		CHECK_EQ(rig_recover(&rig), 0);
		fake_disk_cut_after(rig.fake, cut);
		rig_start(&rig);
		rig_down(&rig);
		expect_ok(SECOND, 0);
	}
}

static void test_picture_torn_tail_over_two_segments_is_dropped(void)
{
	draw_long(1, 0);
	draw_segment(1, THIRD);
	for (uint64_t p = SECOND - 4; p < SECOND + 3; p++)
		draw_marked(1, p < SECOND ? 1 : SECOND, p, false, SECOND - 4);
	tear(1, 1, SECOND - 4);
	expect_ok(SECOND - 4, 7);
}

static void test_picture_watermark_in_next_segment_is_known(void)
{
	draw_long(1, 2);
	tear(1, 1, SECOND - 1);
	expect_refusal(-USH_ECORRUPT, "seg-00000001-0000000000000001.ush, block 256",
		"durable and acknowledged");
}

static void test_picture_missing_first_segment_is_refused(void)
{
	draw_long(2, 3);
	drop(1, 1);
	expect_refusal(-USH_ECORRUPT, "epoch 1 that holds block 1 is missing", "put it back");
}

static void test_picture_missing_middle_segment_is_refused(void)
{
	draw_long(2, 3);
	drop(1, SECOND);
	expect_refusal(-USH_ECORRUPT, "holds block 257 is missing", "put it back");
}

static void test_picture_missing_end_of_older_epoch_is_refused(void)
{
	draw_long(1, 5);
	draw_box(2);
	draw_segment(2, SECOND + 5);
	draw_blocks(2, SECOND + 5, SECOND + 5, SECOND + 7, true);
	drop(1, SECOND);
	expect_refusal(-USH_ECORRUPT, "epoch 1 that holds block 257 is missing", "put it back");
}

static void test_picture_segment_renamed_to_other_epoch_is_refused(void)
{
	draw_simple(4);
	draw_box(3);
	box_field(offsetof(struct ush_box_file, first_block), 5, 4);
	move(1, 1, 2, 1);
	/* As epoch 2's its blocks would be leftovers, and everything would be dropped. */
	expect_refusal(-USH_ECORRUPT, "block 1 (offset 0)", "leftover");
}

static void test_picture_segment_renamed_to_other_place_is_refused(void)
{
	draw_long(1, 5);
	move(1, SECOND, 1, SECOND + 1);
	expect_refusal(-USH_ECORRUPT, "holds block 257 is missing", "put it back");
}

static void test_picture_segments_swapped_are_refused(void)
{
	draw_long(2, 5);
	move(1, SECOND, 9, 1);
	move(1, THIRD, 1, SECOND);
	move(9, 1, 1, THIRD);
	expect_refusal(-USH_ECORRUPT, "block 257", "renamed");
}

static void test_picture_truncated_segment_is_refused(void)
{
	draw_long(1, 5);
	fake_disk_resize(rig.fake, "seg-00000001-0000000000000001.ush", 100 * USH_BLOCK_BYTES);
	expect_refusal(-USH_ECORRUPT, "seg-00000001-0000000000000001.ush", "409600");
	/* At the tail too: a segment is made whole or not at all. */
	draw_simple(200);
	fake_disk_resize(rig.fake, "seg-00000001-0000000000000001.ush", 100 * USH_BLOCK_BYTES);
	expect_refusal(-USH_ECORRUPT, "seg-00000001-0000000000000001.ush", "409600");
	draw_simple(200);
	fake_disk_resize(rig.fake, "seg-00000001-0000000000000001.ush", 0);
	expect_refusal(-USH_ECORRUPT, "seg-00000001-0000000000000001.ush", "is 0 bytes");
}

static void test_picture_unreadable_segment_is_refused(void)
{
	draw_long(1, 5);
	fake_disk_fail(rig.fake, FAKE_READ, 2, 1, -USH_EIO);
	CHECK_EQ(refusal(), -USH_EIO);
	CHECK(says("seg-00000001-0000000000000101.ush"));
	CHECK(says("input/output error"));
	CHECK(!says("never written"));
	rig_free(&rig);
}

/* The watermark search must not take an unreadable rest for an empty one. */
static void test_picture_unreadable_rest_is_refused(void)
{
	draw_simple(5);
	tear(1, 1, 5);
	fake_disk_fail(rig.fake, FAKE_READ, 2, 1, -USH_EIO);
	expect_refusal(-USH_EIO, "seg-00000001-0000000000000001.ush", "input/output error");
}

/* ---- pictures: whose and which ---- */

static void test_picture_foreign_block_is_refused(void)
{
	static const uint8_t chain[USH_CHAIN_BYTES];

	draw_simple(3);
	fill(spot(1, 1, 4), 1, 4, false);
	block_seal(spot(1, 1, 4), 99, 1, 4, 4, 1, chain, 1);
	expect_refusal(-USH_EFOREIGN, "block 4", "another box");
}

static void test_picture_box_file_of_other_box_is_refused(void)
{
	struct ush_box_file box;

	draw_simple(3);
	memcpy(&box, fake_disk_find(rig.fake, "box")->data, sizeof(box));
	box.box++;
	box.crc = ush_crc32c(0, &box, offsetof(struct ush_box_file, crc));
	memcpy(fake_disk_find(rig.fake, "box")->data, &box, sizeof(box));
	expect_refusal(-USH_EFOREIGN, "block 1", "another box");
}

static void test_picture_future_epoch_is_refused(void)
{
	draw_simple(3);
	draw_marked(1, 1, 4, false, 4);
	seal(spot(1, 1, 4), 2, 4, 4);
	expect_refusal(-USH_ECORRUPT, "block 4", "newer epoch");
}

static void test_picture_other_version_is_refused(void)
{
	draw_simple(3);
	memcpy(spot(1, 1, 2), "USJ2", 4);
	expect_refusal(-USH_EVERSION, "block 2", "another format version");
}

static void test_picture_old_box_file_put_back_is_refused(void)
{
	draw_simple(3);
	draw_box(0);
	expect_refusal(-USH_ECORRUPT, "newer than the box file", "put back from an old copy");
}

static void test_picture_box_file_missing_is_refused(void)
{
	draw_simple(3);
	fake_disk_remove(rig.fake, "box");
	expect_refusal(-USH_ECORRUPT, "no box file", "/rig");
}

static void test_picture_box_file_short_is_refused(void)
{
	draw_simple(3);
	fake_disk_resize(rig.fake, "box", 63);
	expect_refusal(-USH_ECORRUPT, "too short", "/rig");
	begin(0);
	fake_disk_resize(rig.fake, "box", 0);
	expect_refusal(-USH_ECORRUPT, "too short", "restore `box`");
}

static void test_picture_box_file_rotten_is_refused(void)
{
	for (size_t i = 0; i < sizeof(struct ush_box_file); i += 5) {
		draw_simple(3);
		fake_disk_find(rig.fake, "box")->data[i] ^= 0x10;
		expect_refusal(-USH_ECORRUPT, i < 8 ? "wrong magic" : "wrong checksum", "/rig");
	}
}

static void test_picture_box_file_of_other_version_is_refused(void)
{
	draw_simple(3);
	box_field(offsetof(struct ush_box_file, version), USH_JOURNAL_VERSION + 1, 4);
	expect_refusal(-USH_EVERSION, "journal format 2", "reads 1");
}

static void test_picture_box_file_with_impossible_size_is_refused(void)
{
	static const uint64_t sizes[] = {0, 4096, (1u << 20) + 4096, 1ull << 63};

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		draw_simple(3);
		box_field(offsetof(struct ush_box_file, segment_bytes), sizes[i], 8);
		expect_refusal(-USH_ECORRUPT, "impossible segment size", "/rig");
	}
}

/* The box file knows where its epoch began: whoever deletes segments to make room is told. */
static void test_picture_all_segments_deleted_is_refused(void)
{
	rig_make(&rig, 1);
	CHECK_EQ(rig_up(&rig), 0);
	CHECK(rig_blocks(&rig, 300));
	rig_down(&rig);
	CHECK_EQ(rig_up(&rig), 0);
	rig_down(&rig);
	for (uint32_t i = fake_disk_file_count(rig.fake); i-- > 0;) {
		const char *name = fake_disk_file_at(rig.fake, i)->name;
		if (strncmp(name, "seg-", 4) == 0)
			fake_disk_remove(rig.fake, name);
	}
	expect_refusal(-USH_ECORRUPT, "ends before block 1", "block 301");
}

/* ---- pictures: epochs ---- */

static void test_picture_crash_after_rename_before_open_starts(void)
{
	draw_simple(3);
	draw_box(2);
	draw_segment(2, 4);
	expect_ok(4, 0);
}

static void test_picture_recycled_segment_before_open_starts(void)
{
	draw_simple(3);
	draw_box(2);
	draw_segment(2, 4);
	draw_blocks(1, 1, 4, 8, false);
	memcpy(spot(2, 4, 4), spot(1, 1, 4), 4 * USH_BLOCK_BYTES);
	expect_ok(4, 0);
}

static void test_picture_several_empty_epochs_start(void)
{
	draw_simple(3);
	draw_box(5);
	draw_segment(2, 4);
	draw_segment(3, 4);
	draw_segment(5, 4);
	expect_ok(4, 0);
}

/* Epoch 1's torn tail stays in its segment for ever; epoch 2 begins where it was dropped. */
static void test_picture_torn_tail_of_older_epoch_is_ignored(void)
{
	draw_simple(3);
	for (uint64_t p = 4; p < 9; p++)
		draw_marked(1, 1, p, false, 4);
	tear(1, 1, 4);
	draw_box(2);
	draw_segment(2, 4);
	draw_blocks(2, 4, 4, 7, true);
	expect_ok(7, 0);
}

static void test_picture_older_epoch_too_short_is_refused(void)
{
	draw_simple(5);
	tear(1, 1, 5);
	draw_box(2);
	draw_segment(2, 6);
	draw_blocks(2, 6, 6, 8, true);
	expect_refusal(-USH_ECORRUPT, "seg-00000001-0000000000000001.ush, block 5",
		"durable and acknowledged");
}

static void test_picture_open_missing_is_refused(void)
{
	draw_simple(3);
	fill(spot(1, 1, 1), 1, 1, false);
	seal(spot(1, 1, 1), 1, 1, 1);
	expect_refusal(-USH_ECORRUPT, "block 1", "begin with OPEN");
}

static void test_picture_open_of_other_place_is_refused(void)
{
	draw_simple(3);
	slots_of(spot(1, 1, 1))[1].hold += 64;
	seal(spot(1, 1, 1), 1, 1, 1);
	expect_refusal(-USH_ECORRUPT, "block 1", "begin with OPEN");
	draw_simple(3);
	slots_of(spot(1, 1, 1))[1].user++;
	seal(spot(1, 1, 1), 1, 1, 1);
	expect_refusal(-USH_ECORRUPT, "block 1", "begin with OPEN");
}

/* ---- pictures: runs ---- */

/* A run of `count` TICKs from slot `at` of block 3. */
static void draw_run(uint32_t at, uint32_t count)
{
	struct ush_record *slots;

	draw_simple(3);
	slots = slots_of(spot(1, 1, 3));
	slots[2].type = USH_RECORD_TYPE_PAD;
	for (uint32_t i = 0; i < count; i++) {
		slots[at + i].type = USH_RECORD_TYPE_TICK;
		slots[at + i].run_index = (uint8_t)i;
		slots[at + i].run_count = (uint8_t)count;
		slots[at + i].user = 3 + i;
	}
	seal(spot(1, 1, 3), 1, 3, 3);
}

static void test_picture_runs_up_to_the_block_end_are_whole(void)
{
	for (uint32_t count = 1; count <= USH_RUN_RECORDS_MAX; count++) {
		draw_run(USH_BLOCK_SLOTS - count, count);
		CHECK_EQ(rig_open(&rig), 0);
		CHECK_EQ(rig_recover(&rig), 0);
		CHECK(rig_saw(&rig, 2 + count));
		CHECK_EQ(rig.report.records, 3 + count);
		rig_free(&rig);
	}
}

static void test_picture_run_beyond_the_block_is_refused(void)
{
	draw_run(USH_BLOCK_SLOTS - 3, 3);
	slots_of(spot(1, 1, 3))[USH_BLOCK_SLOTS - 3].run_count = 4;
	seal(spot(1, 1, 3), 1, 3, 3);
	expect_refusal(-USH_ECORRUPT, "block 3", "not whole");
}

static void test_picture_run_of_impossible_length_is_refused(void)
{
	static const uint8_t counts[] = {0, USH_RUN_RECORDS_MAX + 1, 64, 255};

	for (size_t i = 0; i < sizeof(counts); i++) {
		draw_run(5, 3);
		slots_of(spot(1, 1, 3))[5].run_count = counts[i];
		seal(spot(1, 1, 3), 1, 3, 3);
		expect_refusal(-USH_ECORRUPT, "block 3", "not whole");
	}
}

static void test_picture_run_with_unpublished_slot_is_refused(void)
{
	draw_run(5, 3);
	slots_of(spot(1, 1, 3))[6].sequence = 0;
	seal(spot(1, 1, 3), 1, 3, 3);
	expect_refusal(-USH_ECORRUPT, "block 3", "not whole");
}

static void test_picture_record_that_apply_refuses_is_refused(void)
{
	draw_simple(3);
	rig.apply_error = -USH_ECORRUPT;
	CHECK_EQ(rig_open(&rig), 0);
	CHECK_EQ(rig_recover(&rig), -USH_ECORRUPT);
	CHECK(says("apply refuses"));
	rig_free(&rig);
}

static void run_tail_pictures(void)
{
	TAP_RUN(test_picture_empty_directory_starts);
	TAP_RUN(test_picture_box_only_starts);
	TAP_RUN(test_picture_box_ahead_of_no_segment_starts);
	TAP_RUN(test_picture_spares_and_strangers_are_no_segments);
	TAP_RUN(test_picture_spares_of_another_journal_are_removed);
	TAP_RUN(test_picture_spare_cut_short_is_not_used);
	TAP_RUN(test_picture_open_only_starts);
	TAP_RUN(test_picture_whole_blocks_then_nothing_starts);
	TAP_RUN(test_picture_torn_last_block_is_dropped);
	TAP_RUN(test_picture_torn_first_block_is_dropped);
	TAP_RUN(test_picture_first_sector_lost_is_dropped);
	TAP_RUN(test_picture_three_torn_blocks_are_dropped);
	TAP_RUN(test_picture_hole_above_watermark_is_dropped);
	TAP_RUN(test_picture_unwritten_hole_above_watermark_is_dropped);
	TAP_RUN(test_picture_hole_below_watermark_is_refused);
	TAP_RUN(test_picture_unwritten_hole_below_watermark_is_refused);
	TAP_RUN(test_picture_watermark_reaches_exactly_so_far);
	TAP_RUN(test_picture_leftover_of_older_epoch_ends_it);
	TAP_RUN(test_picture_leftover_of_older_epoch_at_its_place_ends_it);
	TAP_RUN(test_picture_leftover_of_same_epoch_earlier_place_ends_it);
	TAP_RUN(test_picture_same_epoch_later_place_is_refused);
	TAP_RUN(test_picture_leftover_below_watermark_is_refused);
}

static void run_segment_pictures(void)
{
	TAP_RUN(test_picture_three_segments_are_read_in_order);
	TAP_RUN(test_picture_full_segment_and_no_next_starts);
	TAP_RUN(test_picture_full_segment_and_empty_next_starts);
	TAP_RUN(test_picture_two_empty_segments_start);
	TAP_RUN(test_picture_crash_while_recycling_starts);
	TAP_RUN(test_picture_torn_tail_over_two_segments_is_dropped);
	TAP_RUN(test_picture_watermark_in_next_segment_is_known);
	TAP_RUN(test_picture_missing_first_segment_is_refused);
	TAP_RUN(test_picture_missing_middle_segment_is_refused);
	TAP_RUN(test_picture_missing_end_of_older_epoch_is_refused);
	TAP_RUN(test_picture_segment_renamed_to_other_epoch_is_refused);
	TAP_RUN(test_picture_segment_renamed_to_other_place_is_refused);
	TAP_RUN(test_picture_segments_swapped_are_refused);
	TAP_RUN(test_picture_truncated_segment_is_refused);
	TAP_RUN(test_picture_unreadable_segment_is_refused);
	TAP_RUN(test_picture_unreadable_rest_is_refused);
}

static void run_box_and_epoch_pictures(void)
{
	TAP_RUN(test_picture_foreign_block_is_refused);
	TAP_RUN(test_picture_box_file_of_other_box_is_refused);
	TAP_RUN(test_picture_future_epoch_is_refused);
	TAP_RUN(test_picture_other_version_is_refused);
	TAP_RUN(test_picture_old_box_file_put_back_is_refused);
	TAP_RUN(test_picture_box_file_missing_is_refused);
	TAP_RUN(test_picture_box_file_short_is_refused);
	TAP_RUN(test_picture_box_file_rotten_is_refused);
	TAP_RUN(test_picture_box_file_of_other_version_is_refused);
	TAP_RUN(test_picture_box_file_with_impossible_size_is_refused);
	TAP_RUN(test_picture_all_segments_deleted_is_refused);
	TAP_RUN(test_picture_crash_after_rename_before_open_starts);
	TAP_RUN(test_picture_recycled_segment_before_open_starts);
	TAP_RUN(test_picture_several_empty_epochs_start);
	TAP_RUN(test_picture_torn_tail_of_older_epoch_is_ignored);
	TAP_RUN(test_picture_older_epoch_too_short_is_refused);
	TAP_RUN(test_picture_open_missing_is_refused);
	TAP_RUN(test_picture_open_of_other_place_is_refused);
	TAP_RUN(test_picture_runs_up_to_the_block_end_are_whole);
	TAP_RUN(test_picture_run_beyond_the_block_is_refused);
	TAP_RUN(test_picture_run_of_impossible_length_is_refused);
	TAP_RUN(test_picture_run_with_unpublished_slot_is_refused);
	TAP_RUN(test_picture_record_that_apply_refuses_is_refused);
}

int main(void)
{
	run_tail_pictures();
	run_segment_pictures();
	run_box_and_epoch_pictures();
	/* All again, with reading on a thread of its own. */
	rig_read_ahead = true;
	run_tail_pictures();
	run_segment_pictures();
	run_box_and_epoch_pictures();
	return tap_end();
}
