/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Segments used again, over a disk in memory: only those that nobody needs, and whatever happens on
 * the way, a start finds everything that was durable and nothing that was left over.
 *
 * The state of a snapshot is the number of the last TICK before it.
 */
#include "journal/recycle.h"
#include "journal/snapshot.h"
#include "tests/journal_draw.h"

/* ---- snapshots of the rig ---- */

static int save_last(const void *state, ush_snapshot_put *put, void *context)
{
	return put(context, USH_STATE_SECTION_RECORDS, state, sizeof(uint64_t));
}

static int load_last(void *state, ush_snapshot_get *get, void *context, struct ush_message *message)
{
	(void)message;
	return get(context, USH_STATE_SECTION_RECORDS, state, sizeof(uint64_t)) == 1
		       ? 0
		       : -USH_ECORRUPT;
}

/* Of all that is durable. ret: its sequence, 0 if it could not be written. */
static uint64_t take_snapshot(void)
{
	const struct ush_snapshot_state from = {.state = &rig.last, .save = save_last};
	const struct ush_journal *j = rig.journal;
	struct ush_snapshot_point point = {.box = j->box.box,
		.sequence = j->durable_block * USH_BLOCK_SLOTS,
		.epoch = j->box.epoch,
		.time_ns = rig.now_ns,
		.last_type = USH_RECORD_TYPE_TICK};
	uint64_t bytes;

	for (uint32_t i = 0; i < 100 && j->chain.block != j->durable_block; i++)
		ush_journal_housekeep(rig.journal);
	memcpy(point.chain, j->chain.value, sizeof(point.chain));
	return ush_snapshot_write(&rig.disk, &point, &from, 2, &bytes, &rig.message) == 0
		       ? point.sequence
		       : 0;
}

/* A start from the newest good snapshot. out: *last: the last TICK known. ret: 0 or the error. */
static int recover_state(uint64_t *last)
{
	const struct ush_snapshot_state to = {.state = last, .load = load_last};
	struct ush_snapshot *snapshot = NULL;
	struct ush_message skipped;
	int error = rig_open(&rig);

	*last = 0;
	if (error != 0)
		return error;
	rig.seen_count = rig.opens = rig.closes = 0;
	error = ush_snapshot_find(&snapshot, rig.journal, &skipped, &rig.message);
	if (error == 0 && snapshot != NULL)
		error = ush_snapshot_load(snapshot, &to, &rig.message);
	if (error == 0)
		error = ush_journal_recover_from(rig.journal,
			snapshot != NULL ? ush_snapshot_point(snapshot) : NULL, rig_apply, &rig,
			&rig.report, &rig.message);
	ush_snapshot_free(snapshot);
	for (uint32_t i = 0; i < rig.seen_count && error == 0; i++) {
		CHECK_EQ(rig.seen[i], *last + 1);
		*last = rig.seen[i];
	}
	return error;
}

static int start_again(void)
{
	uint64_t last;
	int error = recover_state(&last);

	rig.last = last;
	return error != 0 ? error : rig_start(&rig);
}

/* ret: false: it does not start, which fails the test. */
static bool is_started(void)
{
	if (start_again() == 0)
		return true;
	CHECK(says("no error"));
	rig_free(&rig);
	return false;
}

static void rig_begin(enum ush_recycle recycle, uint64_t seed)
{
	rig_make(&rig, seed);
	rig.config.recycle = recycle;
	CHECK(rig_up(&rig) == 0 || says("no error"));
}

static void keep_house(uint32_t turns)
{
	while (turns-- != 0)
		ush_journal_housekeep(rig.journal);
}

static void fill_segments(uint32_t count)
{
	CHECK(rig_blocks(&rig, count * RIG_SEGMENT_BLOCKS));
}

static void position_at(const char *name, uint64_t sequence)
{
	const struct ush_follow_position position = {sequence, rig.journal->box.box, 0};

	CHECK_EQ(ush_position_write(&rig.disk, name, &position, rig.now_ns, &rig.message), 0);
}

static uint64_t first_block(void)
{
	return rig.journal->segments.items[0].first;
}

static void break_snapshot(uint64_t sequence)
{
	struct ush_snapshot_section section;
	char name[USH_DISK_NAME_MAX];
	uint8_t *data;

	snprintf(name, sizeof(name), "snap-%016lx.ush", (unsigned long)sequence);
	data = fake_disk_find(rig.fake, name)->data;
	memcpy(&section,
		data + sizeof(struct ush_snapshot_header) +
			(USH_STATE_SECTION_RECORDS - 1) * sizeof(section),
		sizeof(section));
	data[section.offset] ^= 1;
}

/* ---- who needs what ---- */

/* Goal: nothing goes before two good snapshots are past it; then what lies wholly before the older
 * one goes, oldest first, and is used again. */
static void test_recycle_waits_for_two_snapshots(void)
{
	struct ush_journal_counters counters;
	uint64_t older;

	rig_begin(USH_RECYCLE_ON, 1);
	fill_segments(3);
	keep_house(3000);
	CHECK_EQ(first_block(), 1);
	older = take_snapshot();
	fill_segments(2);
	keep_house(3000);
	CHECK_EQ(first_block(), 1);
	take_snapshot();
	fill_segments(1);
	keep_house(3000);
	ush_journal_counters_read(rig.journal, &counters);
	CHECK(first_block() > 1);
	CHECK(first_block() + RIG_SEGMENT_BLOCKS >= older / USH_BLOCK_SLOTS);
	CHECK(first_block() < older / USH_BLOCK_SLOTS);
	CHECK_EQ(counters.needed, older);
	CHECK(counters.recycled_segments >= 1);
	CHECK(counters.recycled_segments + counters.removed_segments >= 2);
	CHECK_EQ(counters.spare_segments, 2);
	rig_down(&rig);
	if (!is_started())
		return;
	CHECK_EQ(rig.last, 6 * RIG_SEGMENT_BLOCKS);
	rig_free(&rig);
}

/* Goal: with recycling off nothing goes. */
static void test_recycle_off_keeps_everything(void)
{
	rig_begin(USH_RECYCLE_OFF, 1);
	fill_segments(3);
	take_snapshot();
	fill_segments(1);
	take_snapshot();
	keep_house(3000);
	CHECK_EQ(first_block(), 1);
	rig_free(&rig);
}

/* Goal: a rotten snapshot does not count among the two. */
static void test_recycle_does_not_count_rotten_snapshots(void)
{
	rig_begin(USH_RECYCLE_ON, 1);
	fill_segments(3);
	break_snapshot(take_snapshot());
	fill_segments(1);
	take_snapshot();
	keep_house(3000);
	CHECK_EQ(first_block(), 1);
	fill_segments(1);
	take_snapshot();
	keep_house(3000);
	CHECK(first_block() > 1);
	rig_free(&rig);
}

/* Goal: each reader keeps what it still needs, the block before its position included; a damaged
 * position, or one of another box, keeps everything; a forgotten reader nothing. */
static void test_recycle_waits_for_readers(void)
{
	struct ush_reader reader;

	rig_begin(USH_RECYCLE_ON, 1);
	position_at("slow", SECOND * USH_BLOCK_SLOTS);
	position_at("quick", THIRD * USH_BLOCK_SLOTS);
	fill_segments(4);
	take_snapshot();
	take_snapshot();
	fill_segments(1);
	take_snapshot();
	keep_house(3000);
	CHECK_EQ(first_block(), 1);
	position_at("slow", (SECOND + 1) * USH_BLOCK_SLOTS);
	keep_house(3000);
	CHECK_EQ(first_block(), SECOND);
	fake_disk_find(rig.fake, "pos-quick.ush")->data[20] ^= 1;
	position_at("slow", (THIRD + 5) * USH_BLOCK_SLOTS);
	keep_house(3000);
	CHECK_EQ(first_block(), SECOND);
	CHECK_EQ(ush_position_read(&rig.disk, "quick", &reader, &rig.message),
		(uint64_t)-USH_ECORRUPT);
	CHECK_EQ(ush_position_drop(&rig.disk, "quick", &rig.message), 0);
	CHECK_EQ(ush_position_drop(&rig.disk, "quick", &rig.message), (uint64_t)-USH_ENOENT);
	keep_house(3000);
	CHECK_EQ(first_block(), THIRD);
	CHECK_EQ(ush_position_read(&rig.disk, "slow", &reader, &rig.message), 0);
	CHECK_EQ(reader.position.sequence, (THIRD + 5) * USH_BLOCK_SLOTS);
	rig_free(&rig);
}

/* Goal: where an archive is wanted nothing goes before it has begun, nor before it has it. */
static void test_recycle_waits_for_the_archive(void)
{
	struct ush_need needs[USH_NEEDS_MAX];
	struct ush_segment_view view;
	uint32_t count;

	rig_begin(USH_RECYCLE_ARCHIVED, 1);
	fill_segments(4);
	take_snapshot();
	fill_segments(1);
	take_snapshot();
	keep_house(3000);
	CHECK_EQ(first_block(), 1);
	CHECK_EQ(ush_needs(rig.journal, true, needs, &count, &rig.message), 0);
	CHECK_EQ(count, 2);
	CHECK(strcmp(needs[1].who, "archive (not begun)") == 0);
	CHECK(ush_segment_view(rig.journal, 0, &view));
	CHECK_EQ(view.end, SECOND);
	CHECK(ush_need_segment(&needs[1], &view));
	CHECK(!ush_need_segment(&needs[0], &view));
	position_at(USH_READER_ARCHIVE, (SECOND + RIG_SEGMENT_BLOCKS) * USH_BLOCK_SLOTS);
	keep_house(3000);
	CHECK_EQ(first_block(), SECOND);
	rig_free(&rig);
}

/* ---- starts ---- */

/* Goal: the newest snapshot rotten: the one before and a longer tail. Both rotten, and the
 * beginning recycled: refused, with what to do; nothing is changed. */
static void test_start_falls_back_or_refuses(void)
{
	uint64_t older, newest, last;

	rig_begin(USH_RECYCLE_ON, 1);
	fill_segments(3);
	older = take_snapshot();
	CHECK(rig_blocks(&rig, 10));
	newest = take_snapshot();
	CHECK(rig_blocks(&rig, 5));
	keep_house(3000);
	CHECK(first_block() > 1);
	rig_down(&rig);
	break_snapshot(newest);
	if (!is_started())
		return;
	CHECK_EQ(rig.report.from_sequence, older);
	CHECK_EQ(rig.last, 3 * RIG_SEGMENT_BLOCKS + 15);
	rig_down(&rig);
	break_snapshot(older);
	CHECK_EQ(recover_state(&last), (uint64_t)-USH_ECORRUPT);
	CHECK(says("usher journal restore"));
	rig_free(&rig);
}

/* Goal: blocks that a recycled file has from its first life are never replayed. Method: after some
 * blocks of the new life the process dies; then with a block torn, and one lost, at the end. */
static void test_start_passes_over_leftovers(void)
{
	for (uint32_t way = 0; way < 3; way++) {
		uint64_t place, recycled;
		uint32_t lives = 0;

		rig_begin(USH_RECYCLE_ON, 1);
		do {
			fill_segments(2);
			take_snapshot();
			rig.journal->config.spare_count = 8;
			keep_house(3000);
			rig.journal->config.spare_count = 1;
			recycled = atomic_load(&rig.journal->recycled);
		} while (recycled < 4 && ++lives < 10);
		CHECK(recycled >= 4);
		CHECK(rig_blocks(&rig, 7));
		place = rig.journal->next_block - 1;
		const struct segment *s =
			&rig.journal->segments.items[rig.journal->segments.count - 1];
		while (s->first > place)
			s--;
		/* What follows in this file is good, of this epoch, and of an earlier place. */
		CHECK_EQ(block_classify(spot(s->epoch, s->first, place + 1),
				 (uint32_t)rig.journal->box.box, s->epoch, place + 1),
			BLOCK_LEFTOVER);
		if (way == 1)
			tear(s->epoch, s->first, place);
		if (way == 2)
			memcpy(spot(s->epoch, s->first, place), spot(s->epoch, s->first, place + 1),
				USH_BLOCK_BYTES);
		uint64_t want = rig.last - (way != 0);
		rig_down(&rig);
		if (!is_started())
			return;
		CHECK_EQ(rig.last, want);
		CHECK_EQ(rig.report.torn_blocks, way == 1);
		fill_segments(1);
		rig_down(&rig);
		if (!is_started())
			return;
		CHECK_EQ(rig.last, want + RIG_SEGMENT_BLOCKS);
		rig_free(&rig);
	}
}

/* One life: writes, snapshots, keeps house, until the power fails. out: *durable: the last TICK
 * that was. */
static void live(struct ush_random *random, uint64_t *durable)
{
	for (uint32_t i = 0; i < 4000 && !fake_disk_is_cut(rig.fake); i++) {
		if (ush_log_has_room(&rig.log, 64, 8, USH_LOG_KEPT))
			rig_tick(&rig, 1 + (uint32_t)ush_random_below(random, 3));
		rig_step(&rig);
		ush_journal_housekeep(rig.journal);
		/* Never a power cut in between: then nothing is known. */
		if (ush_journal_idle(rig.journal) && !fake_disk_is_cut(rig.fake))
			*durable = rig.last;
		if (ush_random_below(random, 150) != 0 || fake_disk_is_cut(rig.fake))
			continue;
		if (rig_settle(&rig, 2000) && !fake_disk_is_cut(rig.fake)) {
			*durable = rig.last;
			take_snapshot();
			ush_position_write(&rig.disk, "reader",
				&(struct ush_follow_position){
					rig.journal->durable_block * USH_BLOCK_SLOTS / 2,
					rig.journal->box.box, 0},
				rig.now_ns, &rig.message);
		}
	}
}

/* Goal: the power fails in any operation, over and over, while segments are recycled, removed and
 * written again; each start finds all that was durable, in order, and nothing else. */
static void test_recycle_power_cuts(void)
{
	uint64_t seed = tap_seed(3), recycled = 0, removed = 0;
	struct ush_random random;

	ush_random_init(&random, seed);
	for (uint32_t round = 0; round < 6; round++) {
		uint64_t durable = 0;

		rig_begin(USH_RECYCLE_ON, seed + round);
		fake_disk_order(rig.fake, FAKE_ANY_ORDER);
		for (uint32_t life = 0; life < 25; life++) {
			fake_disk_cut_after(rig.fake, (uint32_t)ush_random_below(&random, 9000));
			live(&random, &durable);
			recycled += atomic_load(&rig.journal->recycled);
			removed += atomic_load(&rig.journal->removed);
			rig_down(&rig);
			if (!is_started())
				return;
			CHECK(rig.last >= durable);
			durable = rig.last;
		}
		rig_free(&rig);
	}
	printf("# %lu segments used again, %lu removed\n", (unsigned long)recycled,
		(unsigned long)removed);
	CHECK(recycled > 50);
	CHECK(removed > 5);
}

/* Goal: the power fails in each operation of one recycling in turn. */
static void test_recycle_power_cut_at_each_operation(void)
{
	uint32_t cuts = 0;

	for (uint32_t step = 0; step < 200; step++) {
		uint32_t after = step / 2;
		uint64_t last;
		bool cut;

		rig_begin(USH_RECYCLE_ON, step);
		fill_segments(3);
		take_snapshot();
		CHECK(rig_blocks(&rig, 10));
		take_snapshot();
		last = rig.last;
		rig.journal->recycle_turn = 511;
		rig.journal->config.spare_count = step % 2 == 0 ? 2 : 4;
		fake_disk_cut_after(rig.fake, after);
		keep_house(6);
		cut = fake_disk_is_cut(rig.fake);
		cuts += cut;
		rig_down(&rig);
		if (!is_started())
			return;
		CHECK_EQ(rig.last, last);
		fill_segments(2);
		rig_down(&rig);
		if (!is_started())
			return;
		CHECK_EQ(rig.last, last + 2 * RIG_SEGMENT_BLOCKS);
		rig_free(&rig);
		if (!cut && step % 2 == 1)
			break;
	}
	printf("# %u cuts\n", cuts);
	CHECK(cuts > 10);
}

int main(void)
{
	TAP_RUN(test_recycle_waits_for_two_snapshots);
	TAP_RUN(test_recycle_off_keeps_everything);
	TAP_RUN(test_recycle_does_not_count_rotten_snapshots);
	TAP_RUN(test_recycle_waits_for_readers);
	TAP_RUN(test_recycle_waits_for_the_archive);
	TAP_RUN(test_start_falls_back_or_refuses);
	TAP_RUN(test_start_passes_over_leftovers);
	TAP_RUN(test_recycle_power_cuts);
	TAP_RUN(test_recycle_power_cut_at_each_operation);
	return tap_end();
}
