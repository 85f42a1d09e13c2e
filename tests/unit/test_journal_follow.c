/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The follower over drawn and over living journals: everything durable once and in order, nothing
 * that could still be lost.
 */
#include "journal/follow.h"
#include "tests/journal_draw.h"

static struct ush_follow *follow;
static struct ush_follow_config config;

static int open_from(uint64_t sequence, uint64_t sync_ns)
{
	config.directory = "/rig";
	config.sync_ns = sync_ns;
	config.from.sequence = sequence;
	return ush_follow_open(&follow, &config, &rig.disk, &rig.message);
}

static void reset_seen(void)
{
	rig.seen_count = rig.opens = rig.closes = 0;
	config = (struct ush_follow_config){0};
}

/* ret: the first step that is not progress: 0 or an error. */
static int drain_at(uint64_t now_ns)
{
	int blocks;

	do {
		blocks = ush_follow_step(follow, now_ns, rig_apply, &rig, &rig.message);
	} while (blocks > 0);
	return blocks;
}

static void finish(void)
{
	struct fake_counts counts;

	ush_follow_close(follow);
	follow = NULL;
	fake_disk_counts(rig.fake, &counts);
	CHECK_EQ(counts.handles, 0);
	rig_free(&rig);
	reset_seen();
}

/* Goal: without a sync the reader stops at the newest watermark, whatever stands behind it. */
static void test_follow_watermark_bounds_it(void)
{
	draw_simple(10);
	rig.disk.sync = NULL;
	reset_seen();
	CHECK_EQ(open_from(0, 0), 0);
	CHECK_EQ(drain_at(0), 0);
	/* Block 10 says that 1 to 9 are durable. */
	CHECK(rig_saw(&rig, 9));
	draw_marked(1, 1, 11, false, 11);
	CHECK_EQ(drain_at(0), 0);
	CHECK(rig_saw(&rig, 10));
	draw_marked(1, 1, 12, false, 11);
	draw_marked(1, 1, 13, false, 11);
	CHECK_EQ(drain_at(0), 0);
	CHECK(rig_saw(&rig, 10));
	draw_marked(1, 1, 14, false, 14);
	CHECK_EQ(drain_at(0), 0);
	CHECK(rig_saw(&rig, 13));
	finish();
}

/* Goal: what the caller knows from usherd counts as a watermark. */
static void test_follow_known_bounds_it(void)
{
	draw_simple(10);
	rig.disk.sync = NULL;
	reset_seen();
	CHECK_EQ(open_from(0, 0), 0);
	ush_follow_known(follow, 11 * USH_BLOCK_SLOTS);
	CHECK_EQ(drain_at(0), 0);
	CHECK(rig_saw(&rig, 10));
	finish();
}

static uint32_t hook_syncs;

/* While the sync is under way the next block arrives. */
static void write_in_sync(void *context, enum fake_op op)
{
	(void)context;
	if (op == FAKE_SYNC && hook_syncs++ == 0)
		draw_marked(1, 1, 11, false, 9);
}

/* Goal: a sync vouches for what was read before it, and for nothing that came in its middle. */
static void test_follow_sync_covers_what_was_read(void)
{
	draw_simple(10);
	hook_syncs = 0;
	reset_seen();
	CHECK_EQ(open_from(0, 0), 0);
	fake_disk_hook(rig.fake, write_in_sync, NULL);
	CHECK_EQ(ush_follow_step(follow, 0, rig_apply, &rig, &rig.message), 9);
	CHECK_EQ(ush_follow_step(follow, 0, rig_apply, &rig, &rig.message), 1);
	CHECK_EQ(hook_syncs, 1);
	CHECK(rig_saw(&rig, 10));
	CHECK_EQ(drain_at(0), 0);
	CHECK_EQ(hook_syncs, 2);
	CHECK(rig_saw(&rig, 11));
	finish();
}

/* Goal: it waits for a watermark before it syncs; a sync that fails is an error, and nothing is
 * handed on. */
static void test_follow_sync_waits_and_may_fail(void)
{
	struct fake_counts counts;

	draw_simple(10);
	reset_seen();
	CHECK_EQ(open_from(0, 1000), 0);
	CHECK_EQ(drain_at(5000), 0);
	CHECK_EQ(drain_at(5999), 0);
	fake_disk_counts(rig.fake, &counts);
	CHECK_EQ(counts.ops[FAKE_SYNC], 0);
	CHECK(rig_saw(&rig, 9));
	fake_disk_fail(rig.fake, FAKE_SYNC, 0, 1, -USH_EIO);
	CHECK_EQ(drain_at(6000), (uint64_t)-USH_EIO);
	CHECK(says("sync"));
	CHECK(rig_saw(&rig, 9));
	finish();
}

/* Goal: it goes on into segments and epochs that appear, and leaves out what a restart dropped. */
static void test_follow_goes_over_segments_and_epochs(void)
{
	draw_long(2, 5);
	reset_seen();
	CHECK_EQ(open_from(0, 0), 0);
	CHECK_EQ(drain_at(0), 0);
	CHECK(rig_saw(&rig, THIRD + 4));
	/* The next start accepts all that, drops a block that stands behind a torn one. */
	draw_marked(1, THIRD, THIRD + 6, false, THIRD + 5);
	CHECK_EQ(drain_at(0), 0);
	box_field(offsetof(struct ush_box_file, epoch), 2, 4);
	draw_segment(2, THIRD + 5);
	draw_blocks(2, THIRD + 5, THIRD + 5, THIRD + 9, true);
	CHECK_EQ(drain_at(0), 0);
	CHECK(rig_saw(&rig, THIRD + 8));
	CHECK_EQ(rig.opens, 2);
	finish();
}

/* Goal: the beginning of a newer epoch vouches for all before it, and ends the old one's segment,
 * whatever stands behind there. Method: no sync, no watermark, a box file that says little. */
static void test_follow_newer_epoch_bounds_the_older(void)
{
	draw_simple(10);
	tear(1, 1, 10);
	rig.disk.sync = NULL;
	reset_seen();
	CHECK_EQ(open_from(0, 0), 0);
	CHECK_EQ(drain_at(0), 0);
	CHECK(rig_saw(&rig, 8));
	box_field(offsetof(struct ush_box_file, epoch), 2, 4);
	draw_segment(2, 10);
	box_field(offsetof(struct ush_box_file, first_block), UINT32_MAX, 4);
	CHECK_EQ(drain_at(0), 0);
	CHECK(rig_saw(&rig, 9));
	draw_blocks(2, 10, 10, 15, true);
	ush_follow_close(follow);
	reset_seen();
	CHECK_EQ(open_from(0, 0), 0);
	ush_follow_known(follow, 15 * USH_BLOCK_SLOTS);
	CHECK_EQ(drain_at(0), 0);
	CHECK(rig_saw(&rig, 14));
	finish();
}

/* Goal: from any sequence on, every run that begins there or later, once. */
static void test_follow_from_each_sequence(void)
{
	draw_simple(6);
	for (uint64_t from = 0; from <= 7 * USH_BLOCK_SLOTS; from++) {
		uint64_t first = from <= USH_BLOCK_SLOTS ? 1 : (from - 2 + 63) / USH_BLOCK_SLOTS;

		reset_seen();
		CHECK_EQ(open_from(from, 0), 0);
		CHECK_EQ(drain_at(0), 0);
		CHECK_EQ(rig.seen_count, 7 - first);
		CHECK(rig.seen_count == 0 || rig.seen[0] == first);
		ush_follow_close(follow);
	}
	CHECK_EQ(open_from(0, 0), 0);
	finish();
}

static int stop_after_each(void *context, const struct ush_record *records, uint32_t count,
	struct ush_message *message)
{
	return rig_apply(context, records, count, message) == 0;
}

/* Goal: stopped after each run and opened anew at its position, nothing is missing or double. */
static void test_follow_position_is_exactly_once(void)
{
	struct ush_follow_position position = {0};

	draw_long(1, 4);
	reset_seen();
	for (uint32_t i = 0; i < 2 * RIG_SEGMENT_BLOCKS; i++) {
		config.from = position;
		CHECK_EQ(open_from(position.sequence, 0), 0);
		CHECK(ush_follow_step(follow, 0, stop_after_each, &rig, &rig.message) >= 0);
		ush_follow_position(follow, &position);
		ush_follow_close(follow);
		config.from = position;
	}
	CHECK(rig_saw(&rig, SECOND + 3));
	CHECK_EQ(rig.opens, 1);
	CHECK_EQ(position.epoch, 1);
	CHECK_EQ(position.box, BOX_ID);
	CHECK_EQ(open_from(0, 0), 0);
	finish();
}

/* Goal: a position of another box, of another epoch, or behind the end is refused. */
static void test_follow_refuses_foreign_positions(void)
{
	draw_simple(10);
	reset_seen();
	config.from.box = BOX_ID + 1;
	CHECK_EQ(open_from(5 * USH_BLOCK_SLOTS, 0), (uint64_t)-USH_EFOREIGN);
	config.from.box = BOX_ID;
	config.from.epoch = 2;
	CHECK_EQ(open_from(5 * USH_BLOCK_SLOTS, 0), 0);
	CHECK_EQ(drain_at(0), (uint64_t)-USH_EFOREIGN);
	ush_follow_close(follow);
	config.from.epoch = 1;
	CHECK_EQ(open_from(12 * USH_BLOCK_SLOTS, 0), 0);
	CHECK_EQ(drain_at(0), (uint64_t)-USH_EFOREIGN);
	CHECK(says("reached further"));
	CHECK_EQ(rig.seen_count, 0);
	finish();
}

/* Goal: a history that was put back from a copy under a reader's feet is noticed. */
static void test_follow_notices_another_history(void)
{
	draw_simple(10);
	reset_seen();
	CHECK_EQ(open_from(0, 0), 0);
	CHECK_EQ(drain_at(0), 0);
	box_field(offsetof(struct ush_box_file, epoch), 2, 4);
	draw_segment(2, 8);
	draw_blocks(2, 8, 8, 12, true);
	CHECK_EQ(drain_at(0), (uint64_t)-USH_EFOREIGN);
	CHECK(says("another history"));
	finish();
}

/* Goal: rot in a block known durable, and a missing segment, are errors; what comes before them is
 * handed on. */
static void test_follow_names_rot_and_gaps(void)
{
	draw_simple(10);
	tear(1, 1, 5);
	reset_seen();
	CHECK_EQ(open_from(0, 0), 0);
	CHECK_EQ(drain_at(0), (uint64_t)-USH_ECORRUPT);
	CHECK(says("block 5"));
	finish();
	draw_long(2, 5);
	drop(1, SECOND);
	CHECK_EQ(open_from(0, 0), 0);
	CHECK_EQ(drain_at(0), (uint64_t)-USH_ECORRUPT);
	CHECK(says("missing"));
	CHECK(rig_saw(&rig, SECOND - 1));
	finish();
}

/* Goal: a waiting reader learns that the block it waits for was durable and has rotted. */
static void test_follow_waiting_notices_rot(void)
{
	int error = 0;

	draw_simple(4);
	reset_seen();
	CHECK_EQ(open_from(0, 0), 0);
	CHECK_EQ(drain_at(0), 0);
	draw_marked(1, 1, 6, false, 6);
	for (uint32_t i = 0; i < 65 && error == 0; i++)
		error = drain_at(0);
	CHECK_EQ(error, (uint64_t)-USH_ECORRUPT);
	finish();
}

/* Goal: beside a writer on a disk that finishes writes in any order, over power cuts and restarts,
 * a reader without sync and one with see every record once, in order, and none that recovery
 * drops. Method: both step between the writer's steps; the final recovery is the truth. */
static void test_follow_beside_a_writer(void)
{
	uint64_t seed = tap_seed(7);
	struct ush_random random;

	ush_random_init(&random, seed);
	for (uint32_t round = 0; round < 40; round++) {
		struct rig reader = {0};
		uint64_t settled = 0;

		rig_make(&rig, seed + round);
		fake_disk_order(rig.fake, FAKE_ANY_ORDER);
		CHECK_EQ(rig_up(&rig), 0);
		reader.seen = malloc(RIG_SEEN_MAX * sizeof(uint64_t));
		reset_seen();
		if (round % 2 == 0)
			rig.disk.sync = NULL;
		CHECK_EQ(open_from(0, round % 4 == 1 ? 0 : 20), 0);
		for (uint32_t life = 0; life < 4; life++) {
			for (uint32_t i = 0; i < 300; i++) {
				if (ush_log_has_room(&rig.log, 64, 8, USH_LOG_KEPT))
					rig_tick(&rig, (uint32_t)ush_random_below(&random, 60));
				rig_step(&rig);
				ush_journal_housekeep(rig.journal);
				CHECK(ush_follow_step(follow, rig.now_ns, rig_apply, &reader,
					      &rig.message) >= 0);
				CHECK(rig_saw(&reader, reader.seen_count));
				settled = ush_max64(settled, reader.seen_count);
			}
			/* A handle does not outlive the power. */
			struct ush_follow_position position;
			ush_follow_position(follow, &position);
			ush_follow_close(follow);
			rig_down(&rig);
			CHECK_EQ(rig_up(&rig), 0);
			CHECK(rig_saw(&rig, rig.seen_count));
			CHECK(rig.seen_count >= reader.seen_count);
			rig.last = rig.seen_count;
			config.from = position;
			CHECK_EQ(ush_follow_open(&follow, &config, &rig.disk, &rig.message), 0);
		}
		CHECK(rig_settle(&rig, 1000));
		while (ush_follow_step(
			       follow, rig.now_ns += 100, rig_apply, &reader, &rig.message) > 0)
			;
		if (rig.disk.sync != NULL)
			CHECK(rig_saw(&reader, rig.last));
		CHECK(settled > 1000);
		free(reader.seen);
		ush_journal_close(rig.journal);
		rig.journal = NULL;
		finish();
	}
}

int main(void)
{
	TAP_RUN(test_follow_watermark_bounds_it);
	TAP_RUN(test_follow_known_bounds_it);
	TAP_RUN(test_follow_sync_covers_what_was_read);
	TAP_RUN(test_follow_sync_waits_and_may_fail);
	TAP_RUN(test_follow_goes_over_segments_and_epochs);
	TAP_RUN(test_follow_newer_epoch_bounds_the_older);
	TAP_RUN(test_follow_from_each_sequence);
	TAP_RUN(test_follow_position_is_exactly_once);
	TAP_RUN(test_follow_refuses_foreign_positions);
	TAP_RUN(test_follow_notices_another_history);
	TAP_RUN(test_follow_names_rot_and_gaps);
	TAP_RUN(test_follow_waiting_notices_rot);
	TAP_RUN(test_follow_beside_a_writer);
	return tap_end();
}
