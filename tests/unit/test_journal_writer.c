/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The writer and housekeeping over a fake disk: order, sealing, groups, segments, the ring, what
 * ends the process, and a disk that fills up. One thread calls everything in turn.
 */
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/journal_rig.h"
#include "tests/tap.h"

static struct rig rig;

static void begin(void)
{
	rig_make(&rig, (uint64_t)tap_count + 1);
}

static void up(void)
{
	int error = rig_up(&rig);

	if (error != 0)
		printf("# %s\n", rig.message.text);
	CHECK_EQ(error, 0);
}

static uint64_t durable(void)
{
	return ush_log_durable(&rig.log) / USH_BLOCK_SLOTS;
}

/* Everything that was appended is there after the machine lost power. */
static void expect_all_after_crash(void)
{
	struct fake_counts counts;

	fake_disk_counts(rig.fake, &counts);
	CHECK_EQ(counts.bad_writes, 0);
	CHECK_EQ(counts.changed_buffers, 0);
	rig_down(&rig);
	CHECK_EQ(rig_open(&rig), 0);
	CHECK_EQ(rig_recover(&rig), 0);
	CHECK(rig_saw(&rig, rig.last));
	rig_free(&rig);
}

/* Fills `blocks` further blocks to their last slot. */
static void fill_blocks(uint32_t blocks)
{
	while (blocks-- != 0) {
		do
			rig_tick(&rig, 1);
		while (ush_log_reserved(&rig.log) % USH_BLOCK_SLOTS != 0);
	}
}

/* ---- order ---- */

/* Four writes under way: OPEN's block, then as many as make one worth starting beside the others.
 * out: end[i]: where each ends. */
static void start_four(uint64_t *end)
{
	begin();
	rig.ring_blocks = 256;
	up();
	fake_disk_order(rig.fake, FAKE_BY_HAND);
	end[0] = durable() + 1;
	rig_step(&rig);
	for (uint32_t i = 1; i < 4; i++) {
		while (fake_disk_pending(rig.fake) == i) {
			fill_blocks(1);
			rig_step(&rig);
		}
		end[i] = ush_log_reserved(&rig.log) / USH_BLOCK_SLOTS;
	}
	CHECK_EQ(fake_disk_pending(rig.fake), 4);
}

static void finish_write(uint32_t index)
{
	fake_disk_complete(rig.fake, index, (int64_t)fake_disk_write_at(rig.fake, index)->size);
	rig_step(&rig);
}

/* Whatever order the four complete in, durable is always the end of the unbroken beginning. */
static void test_durable_advances_in_order_only(void)
{
	for (uint32_t order = 0; order < 24; order++) {
		uint32_t left = order, done = 0, list[4] = {0, 1, 2, 3};
		uint64_t end[4];

		start_four(end);
		for (uint32_t count = 4; count > 0; count--) {
			uint32_t at = left % count, first = 0;
			left /= count;
			finish_write(at);
			done |= 1u << list[at];
			memmove(&list[at], &list[at + 1], (count - at - 1) * sizeof(list[0]));
			while (first < 4 && (done >> first & 1) != 0)
				first++;
			CHECK_EQ(durable(), first == 0 ? FIRST_BLOCK : end[first - 1]);
		}
		CHECK(ush_journal_idle(rig.journal));
		expect_all_after_crash();
	}
}

/* Three of four done for a long time: nothing passes the one that is missing. */
static void test_durable_never_passes_a_missing_write(void)
{
	uint64_t end[4];

	start_four(end);
	finish_write(3);
	finish_write(2);
	finish_write(0);
	for (int i = 0; i < 1000; i++)
		rig_step(&rig);
	CHECK_EQ(durable(), end[0]);
	CHECK_EQ(fake_disk_pending(rig.fake), 1);
	finish_write(0);
	CHECK_EQ(durable(), end[3]);
	expect_all_after_crash();
}

/* Power fails with any subset of the four completed: what comes back is an unbroken beginning, not
 * shorter than what was durable. */
static void test_crash_keeps_an_unbroken_beginning(void)
{
	for (uint32_t subset = 0; subset < 16; subset++) {
		uint64_t end[4], was_durable;

		start_four(end);
		for (uint32_t i = 4; i-- > 0;) {
			if ((subset >> i & 1) != 0)
				finish_write(i);
		}
		was_durable = ush_log_durable(&rig.log);
		rig_down(&rig);
		CHECK_EQ(rig_open(&rig), 0);
		CHECK_EQ(rig_recover(&rig), 0);
		CHECK(rig.report.end_sequence >= was_durable);
		CHECK(rig_saw(&rig, rig.seen_count));
		rig_free(&rig);
	}
}

/* ---- sealing ---- */

static void publish(uint64_t sequence)
{
	struct ush_record record = {
		.type = USH_RECORD_TYPE_TICK, .run_count = 1, .user = ++rig.last};

	ush_log_publish(&rig.log, sequence, &record);
}

/* A producer reserved three slots and published two: the writer goes on without that block, and
 * takes it as soon as the third is there. */
static void test_seal_waits_for_a_slow_producer(void)
{
	uint64_t first, before;

	begin();
	up();
	CHECK(rig_settle(&rig, 100));
	first = ush_log_reserve(&rig.log, 4) + 1;
	publish(first);
	before = durable();
	for (int i = 0; i < 100; i++) {
		rig_step(&rig);
		ush_journal_housekeep(rig.journal);
	}
	CHECK_EQ(durable(), before);
	publish(first + 1);
	publish(first + 2);
	CHECK(rig_settle(&rig, 100));
	expect_all_after_crash();
}

/* Meanwhile others append: their blocks are not sealed one a step, which would fill the ring with
 * pads within microseconds. */
static void test_seal_spends_one_block_on_a_slow_producer(void)
{
	struct ush_journal_counters counters;
	uint64_t first, pads;

	begin();
	up();
	CHECK(rig_settle(&rig, 100));
	ush_journal_counters_read(rig.journal, &counters);
	pads = counters.pads;
	first = ush_log_reserve(&rig.log, 2) + 1;
	for (int i = 0; i < 40; i++) {
		uint64_t last = rig.last;
		rig.last += 1;
		rig_tick(&rig, 1);
		rig.last = last;
		rig_step(&rig);
	}
	ush_journal_counters_read(rig.journal, &counters);
	CHECK(counters.pads - pads < USH_BLOCK_SLOTS);
	publish(first);
	CHECK(rig_settle(&rig, 100));
	CHECK(ush_journal_idle(rig.journal));
	rig_free(&rig);
}

/* Whole blocks before the one that waits are written without it. */
static void test_seal_writes_what_is_whole_before_a_hole(void)
{
	uint64_t first, before;

	begin();
	up();
	CHECK(rig_settle(&rig, 100));
	before = durable();
	fill_blocks(3);
	first = ush_log_reserve(&rig.log, 2) + 1;
	for (int i = 0; i < 20; i++)
		rig_step(&rig);
	CHECK_EQ(durable(), before + 3);
	publish(first);
	CHECK(rig_settle(&rig, 100));
	expect_all_after_crash();
}

/* ---- groups, segments, ring ---- */

/* One write a step while nothing waits; with a backlog one write takes it all, up to its limit. */
static void test_groups_grow_with_the_backlog(void)
{
	struct fake_counts counts;

	begin();
	rig.ring_blocks = 256;
	up();
	CHECK(rig_blocks(&rig, 20));
	fake_disk_counts(rig.fake, &counts);
	CHECK_EQ(counts.write_bytes_max, USH_BLOCK_BYTES);
	CHECK_EQ(counts.ops[FAKE_WRITE], 20);
	fill_blocks(100);
	CHECK(rig_settle(&rig, 100));
	fake_disk_counts(rig.fake, &counts);
	CHECK_EQ(counts.write_bytes_max, 100 * USH_BLOCK_BYTES);
	CHECK_EQ(counts.ops[FAKE_WRITE], 21);
	expect_all_after_crash();
}

static void test_groups_stay_below_the_limit(void)
{
	struct fake_counts counts;

	begin();
	rig.config.write_bytes_max = 4 * USH_BLOCK_BYTES;
	up();
	fill_blocks(50);
	CHECK(rig_settle(&rig, 100));
	fake_disk_counts(rig.fake, &counts);
	CHECK_EQ(counts.write_bytes_max, 4 * USH_BLOCK_BYTES);
	expect_all_after_crash();
}

/* Random sizes, any completion order, small ring, 1 MiB segments: wraps and switches many times. */
static void test_ring_wraps_and_segments_switch(void)
{
	struct ush_random random;
	struct ush_journal_counters counters;

	for (uint32_t ring = 8; ring <= 128; ring *= 4) {
		begin();
		rig.ring_blocks = ring;
		rig.config.depth = 1 + ring / 10;
		ush_random_init(&random, ring);
		fake_disk_order(rig.fake, FAKE_ANY_ORDER);
		up();
		for (int turn = 0; turn < 12000 && durable() < 5 * RIG_SEGMENT_BLOCKS; turn++) {
			uint32_t want = (uint32_t)ush_random_below(&random, 200);
			for (uint32_t i = 0; i < want; i++) {
				if (ush_log_has_room(&rig.log, 64, 1, USH_LOG_KEPT))
					rig_tick(&rig, 1);
			}
			rig_step(&rig);
			ush_journal_housekeep(rig.journal);
		}
		CHECK(rig_settle(&rig, 1000));
		ush_journal_counters_read(rig.journal, &counters);
		CHECK(counters.segments >= 6 || ring == 8);
		CHECK(counters.segments >= 3);
		CHECK_EQ(counters.durable, counters.reserved);
		CHECK_EQ(counters.in_flight, 0);
		CHECK(counters.chain_lag_blocks <= counters.durable / USH_BLOCK_SLOTS);
		expect_all_after_crash();
	}
}

/* A ring full of what is not durable takes nothing more, and nothing in it is touched. */
static void test_ring_is_reused_only_after_durable(void)
{
	begin();
	rig.ring_blocks = 8;
	fake_disk_order(rig.fake, FAKE_BY_HAND);
	up();
	while (ush_log_has_room(&rig.log, 64, 1, USH_LOG_KEPT)) {
		rig_tick(&rig, 1);
		rig_step(&rig);
	}
	for (int i = 0; i < 100; i++)
		rig_step(&rig);
	CHECK(!ush_log_has_room(&rig.log, 64, 1, USH_LOG_KEPT));
	CHECK(ush_log_reserved(&rig.log) - ush_log_durable(&rig.log) <= 8 * USH_BLOCK_SLOTS);
	while (fake_disk_pending(rig.fake) != 0)
		finish_write(0);
	CHECK(ush_log_has_room(&rig.log, 64, 1, USH_LOG_KEPT));
	fake_disk_order(rig.fake, FAKE_IN_ORDER);
	rig_tick(&rig, 1);
	CHECK(rig_settle(&rig, 100));
	expect_all_after_crash();
}

/* While housekeeping is busy making a spare, the writer fills two segments; then everything must
 * still go on: a full segment is handed over late, not never. */
static bool in_hook;

static void write_meanwhile(void *context, enum fake_op op)
{
	uint64_t stop = durable() + 2 * RIG_SEGMENT_BLOCKS + 5;

	(void)context;
	if (op != FAKE_CREATE || in_hook || durable() < RIG_SEGMENT_BLOCKS / 2)
		return;
	in_hook = true;
	for (int i = 0; i < 3000 && durable() < stop; i++) {
		if (ush_log_has_room(&rig.log, 130, 1, USH_LOG_KEPT))
			rig_tick(&rig, 60);
		rig_step(&rig);
	}
	fake_disk_hook(rig.fake, NULL, NULL);
	in_hook = false;
}

static void test_writer_goes_on_after_slow_housekeeping(void)
{
	for (int stride = 1; stride < 300; stride += 20) {
		begin();
		rig.config.spare_count = 3;
		up();
		fake_disk_hook(rig.fake, write_meanwhile, NULL);
		for (int i = 0; i < 4000 && durable() < 6 * RIG_SEGMENT_BLOCKS; i++) {
			if (ush_log_has_room(&rig.log, 130, 1, USH_LOG_KEPT))
				rig_tick(&rig, 60);
			rig_step(&rig);
			if (i % stride == 0)
				ush_journal_housekeep(rig.journal);
		}
		CHECK(durable() >= 6 * RIG_SEGMENT_BLOCKS);
		rig_free(&rig);
	}
}

/* The same laid out by hand: the segment before the last is still to be closed when the last one's
 * writes have all completed. */
static void test_writer_hands_over_with_nothing_in_flight(void)
{
	begin();
	up();
	ush_journal_housekeep(rig.journal);
	while (durable() < 1 + RIG_SEGMENT_BLOCKS + 1) {
		rig_tick(&rig, 60);
		rig_step(&rig);
	}
	/* The first segment waits to be closed; prepare the third without closing it. */
	CHECK(atomic_load(&rig.journal->old_file) >= 0);
	int old = atomic_exchange(&rig.journal->old_file, -1);
	ush_journal_housekeep(rig.journal);
	atomic_store(&rig.journal->old_file, old);
	for (int i = 0; i < 2000 && durable() < 1 + 3 * RIG_SEGMENT_BLOCKS; i++) {
		if (ush_log_has_room(&rig.log, 130, 1, USH_LOG_KEPT))
			rig_tick(&rig, 60);
		rig_step(&rig);
	}
	CHECK_EQ(durable(), 1 + 3 * RIG_SEGMENT_BLOCKS);
	CHECK(rig_settle(&rig, 1000));
	expect_all_after_crash();
}

/* ---- the end of a process ---- */

static char died_saying[2048];

/* Runs `f` in a child. ret: its exit status, or -1; died_saying: what it wrote to stderr. */
static int status_of(void (*f)(void))
{
	int ends[2], status = 0;
	size_t size = 0;
	ssize_t got;
	pid_t child;

	fflush(NULL);
	if (pipe(ends) != 0)
		return -1;
	child = fork();
	if (child == 0) {
		alarm(20);
		dup2(ends[1], STDERR_FILENO);
		f();
		_exit(0);
	}
	close(ends[1]);
	while ((got = read(ends[0], died_saying + size, sizeof(died_saying) - 1 - size)) > 0)
		size += (size_t)got;
	died_saying[size] = '\0';
	close(ends[0]);
	if (waitpid(child, &status, 0) != child || !WIFEXITED(status))
		return -1;
	return WEXITSTATUS(status);
}

static void expect_death(void (*f)(void), const char *text)
{
	CHECK_EQ(status_of(f), 3);
	if (strstr(died_saying, text) == NULL || strstr(died_saying, "Mend the disk") == NULL ||
		strstr(died_saying, "/rig") == NULL) {
		printf("# it said: %s\n", died_saying);
		CHECK(strstr(died_saying, text) != NULL);
	}
}

static void one_write(void)
{
	begin();
	up();
	fake_disk_order(rig.fake, FAKE_BY_HAND);
	rig_step(&rig);
}

static void die_of_error(void)
{
	one_write();
	fake_disk_complete(rig.fake, 0, -USH_EIO);
	rig_step(&rig);
}

static void die_of_short_write(void)
{
	one_write();
	fake_disk_complete(rig.fake, 0, 2048);
	rig_step(&rig);
}

static void die_of_no_bytes(void)
{
	one_write();
	fake_disk_complete(rig.fake, 0, 0);
	rig_step(&rig);
}

static void die_of_late_write(void)
{
	one_write();
	for (int i = 0; i < 29; i++)
		ush_journal_step(rig.journal, rig.now_ns += 1000000000ull);
	fprintf(stderr, "still there; ");
	ush_journal_step(rig.journal, rig.now_ns += 2000000000ull);
}

static void die_of_start(void)
{
	begin();
	up();
	fake_disk_fail(rig.fake, FAKE_WRITE, 0, 1, -USH_ESYSTEM);
	rig_step(&rig);
}

static void die_of_reap(void)
{
	one_write();
	fake_disk_fail(rig.fake, FAKE_REAP, 0, 1, -USH_EIO);
	rig_step(&rig);
}

static void die_of_rename(void)
{
	begin();
	up();
	fake_disk_fail(rig.fake, FAKE_RENAME, 0, 1, -USH_EIO);
	ush_journal_housekeep(rig.journal);
}

static void die_of_create(void)
{
	begin();
	up();
	fake_disk_fail(rig.fake, FAKE_CREATE, 0, 1, -USH_EIO);
	ush_journal_housekeep(rig.journal);
}

/* A disk that lies ends the process at once, with exit status 3 and what to do. */
static void test_lying_disk_ends_the_process(void)
{
	expect_death(die_of_error, "a write failed (input/output error)");
	expect_death(die_of_short_write, "a write failed (short write)");
	expect_death(die_of_no_bytes, "a write failed (short write)");
	expect_death(die_of_late_write, "still there; ");
	expect_death(die_of_late_write, "takes too long");
	expect_death(die_of_start, "cannot start a write");
	expect_death(die_of_reap, "cannot learn of finished writes");
	expect_death(die_of_rename, "cannot make a segment ready");
	expect_death(die_of_create, "cannot make a segment ready");
}

/* Hashing gives way while the log grows fast, and catches up when it does not. */
static void test_chain_gives_way_to_a_flood(void)
{
	struct ush_journal_counters counters;

	begin();
	up();
	while (ush_journal_housekeep(rig.journal))
		;
	for (int i = 0; i < 40; i++) {
		rig_tick(&rig, 1);
		while (!ush_journal_idle(rig.journal))
			rig_step(&rig);
	}
	ush_journal_housekeep(rig.journal);
	ush_journal_counters_read(rig.journal, &counters);
	CHECK(counters.chain_lag_blocks >= 40);
	CHECK(ush_journal_housekeep(rig.journal));
	ush_journal_counters_read(rig.journal, &counters);
	CHECK_EQ(counters.chain_lag_blocks, 0);
	expect_all_after_crash();
}

/* ---- a disk that fills up, and other trouble ---- */

/* ret: TICKs that still went in; new_count: those before new holds were refused. */
static uint32_t run_until_full(uint32_t *new_count)
{
	uint32_t count = 0;

	*new_count = 0;
	for (int i = 0; i < 100000; i++) {
		bool room = ush_log_has_room(&rig.log, 64, 1, USH_LOG_KEPT);
		if (room) {
			rig_tick(&rig, 1);
			count++;
			*new_count += ush_log_has_room(&rig.log, 64, 1, USH_LOG_NEW);
		}
		uint32_t work = rig_step(&rig);
		if (!ush_journal_housekeep(rig.journal) && work == 0 && !room)
			break;
	}
	return count;
}

/* Room for two segments: told early, new holds until the first is full, the others until the second
 * is, then takes nothing more; goes on by itself when there is room again. Nothing is lost. */
static void test_full_disk_is_told_and_goes_on_later(void)
{
	uint32_t count, new_count;

	begin();
	fake_disk_capacity(rig.fake, 2 * RIG_SEGMENT_BYTES + 100);
	up();
	CHECK(ush_journal_trouble(rig.journal) == NULL);
	CHECK(ush_journal_housekeep(rig.journal));
	CHECK(!ush_journal_housekeep(rig.journal));
	CHECK(ush_journal_trouble(rig.journal) != NULL);
	CHECK(strstr(ush_journal_trouble(rig.journal), "no space left") != NULL);
	CHECK(strstr(ush_journal_trouble(rig.journal), "free space") != NULL);
	count = run_until_full(&new_count);
	CHECK(count > 400);
	CHECK(new_count >= RIG_SEGMENT_BLOCKS && new_count <= RIG_SEGMENT_BLOCKS + 8);
	CHECK(!ush_log_has_room(&rig.log, 1, 1, USH_LOG_NEW));
	CHECK_EQ(durable(), 1 + 2 * RIG_SEGMENT_BLOCKS);
	CHECK(!ush_log_has_room(&rig.log, 64, 1, USH_LOG_KEPT));
	fake_disk_capacity(rig.fake, 0);
	CHECK(rig_settle(&rig, 1000));
	while (ush_journal_housekeep(rig.journal))
		;
	CHECK(ush_journal_trouble(rig.journal) == NULL);
	CHECK(ush_log_has_room(&rig.log, 1, 1, USH_LOG_NEW));
	rig_tick(&rig, 50);
	CHECK(rig_settle(&rig, 1000));
	expect_all_after_crash();
}

static void finish_on_full_disk(void)
{
	uint32_t new_count;

	begin();
	fake_disk_capacity(rig.fake, 2 * RIG_SEGMENT_BYTES + 100);
	up();
	run_until_full(&new_count);
	_exit(ush_journal_finish(rig.journal, rig.now_ns) ? 1 : 7);
}

/* Shutting down does not wait for somebody to free space. */
static void test_full_disk_does_not_hang_the_end(void)
{
	CHECK_EQ(status_of(finish_on_full_disk), 7);
}

/* A rename or an open that fails loses no spare, however often it is tried. */
static void test_housekeeping_failures_leak_nothing(void)
{
	static const enum fake_op ops[] = {FAKE_RENAME, FAKE_OPEN};

	for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
		struct fake_counts counts;
		uint32_t files;

		begin();
		up();
		fake_disk_fail(rig.fake, ops[i], 0, 1000, -USH_EFULL);
		for (int n = 0; n < 50; n++)
			CHECK(!ush_journal_housekeep(rig.journal));
		CHECK(ush_journal_trouble(rig.journal) != NULL);
		files = fake_disk_file_count(rig.fake);
		CHECK(files <= 3);
		fake_disk_fail(rig.fake, ops[i], 0, 0, 0);
		while (ush_journal_housekeep(rig.journal))
			;
		CHECK(ush_journal_trouble(rig.journal) == NULL);
		/* box, segment, next segment, two spares */
		CHECK_EQ(fake_disk_file_count(rig.fake), 5);
		CHECK_EQ(rig.journal->segments.count, 2);
		fake_disk_counts(rig.fake, &counts);
		CHECK_EQ(counts.handles, 2);
		for (int n = 0; n < 600; n++) {
			rig_tick(&rig, 60);
			CHECK(rig_settle(&rig, 100));
		}
		expect_all_after_crash();
	}
}

/* The chain cannot be read for a while: sales go on, the trouble is named, and ends. */
static void test_unreadable_chain_is_told(void)
{
	begin();
	up();
	while (ush_journal_housekeep(rig.journal))
		;
	rig_tick(&rig, 1);
	for (int i = 0; i < 5; i++)
		rig_step(&rig);
	fake_disk_fail(rig.fake, FAKE_READ, 0, 3, -USH_EIO);
	for (int i = 0; i < 3; i++) {
		ush_journal_housekeep(rig.journal);
		CHECK(ush_journal_trouble(rig.journal) != NULL &&
			strstr(ush_journal_trouble(rig.journal), "hash chain") != NULL);
	}
	while (ush_journal_housekeep(rig.journal))
		;
	CHECK(ush_journal_trouble(rig.journal) == NULL);
	expect_all_after_crash();
}

/* ---- the clean end ---- */

static void test_finish_leaves_a_clean_journal(void)
{
	begin();
	up();
	rig_tick(&rig, 100);
	CHECK(ush_journal_finish(rig.journal, rig.now_ns));
	rig_down(&rig);
	up();
	CHECK(rig.report.clean);
	CHECK_EQ(rig.closes, 1);
	CHECK_EQ(rig.report.torn_blocks, 0);
	CHECK(rig_saw(&rig, 100));
	rig_tick(&rig, 1);
	CHECK(rig_settle(&rig, 100));
	rig_down(&rig);
	up();
	CHECK(!rig.report.clean);
	CHECK_EQ(rig.report.epochs, 2);
	rig_free(&rig);
}

int main(void)
{
	TAP_RUN(test_durable_advances_in_order_only);
	TAP_RUN(test_durable_never_passes_a_missing_write);
	TAP_RUN(test_crash_keeps_an_unbroken_beginning);
	TAP_RUN(test_seal_waits_for_a_slow_producer);
	TAP_RUN(test_seal_spends_one_block_on_a_slow_producer);
	TAP_RUN(test_seal_writes_what_is_whole_before_a_hole);
	TAP_RUN(test_groups_grow_with_the_backlog);
	TAP_RUN(test_groups_stay_below_the_limit);
	TAP_RUN(test_ring_wraps_and_segments_switch);
	TAP_RUN(test_ring_is_reused_only_after_durable);
	TAP_RUN(test_writer_goes_on_after_slow_housekeeping);
	TAP_RUN(test_writer_hands_over_with_nothing_in_flight);
	TAP_RUN(test_lying_disk_ends_the_process);
	TAP_RUN(test_chain_gives_way_to_a_flood);
	TAP_RUN(test_full_disk_is_told_and_goes_on_later);
	TAP_RUN(test_full_disk_does_not_hang_the_end);
	TAP_RUN(test_housekeeping_failures_leak_nothing);
	TAP_RUN(test_unreadable_chain_is_told);
	TAP_RUN(test_finish_leaves_a_clean_journal);
	return tap_end();
}
