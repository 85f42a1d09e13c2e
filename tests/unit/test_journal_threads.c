/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Producers, writer, housekeeping and a reader of counters, each on a thread of its own, over a
 * fake disk with completions in any order and small segments. Afterwards every producer's records
 * are there, in its order, runs whole. Built with ThreadSanitizer it also shows that no word is
 * shared without an atomic.
 */
#include <pthread.h>
#include <sched.h>

#include "tests/journal_rig.h"
#include "tests/tap.h"

#define PRODUCERS 3u
#define RECORDS_EACH 30000u
#define RUN_MAX 5u

static struct rig rig;
static _Atomic uint32_t producing;
static _Atomic bool stop;
static _Atomic bool keeper_stop;
static uint64_t next_seen[PRODUCERS];
static uint64_t disorder;

/* user: producer; hold: number of the run; mask: place in it. */
static void *produce(void *argument)
{
	uint64_t producer = (uint64_t)(uintptr_t)argument;
	struct ush_record run[RUN_MAX];
	uint64_t sequences[RUN_MAX];
	struct ush_random random;
	uint64_t number = 0;

	ush_random_init(&random, producer + 1);
	for (uint32_t done = 0; done < RECORDS_EACH; number++) {
		uint32_t count = 1 + (uint32_t)ush_random_below(&random, RUN_MAX);
		for (uint32_t i = 0; i < count; i++)
			run[i] = (struct ush_record){.type = USH_RECORD_TYPE_BLOCK,
				.run_index = (uint8_t)i,
				.run_count = (uint8_t)count,
				.user = producer,
				.hold = number,
				.mask = i};
		while (!ush_log_has_room(
			&rig.log, ush_log_slots_worst(RUN_MAX), PRODUCERS, USH_LOG_NEW))
			sched_yield();
		ush_log_append(&rig.log, run, count, sequences);
		/* Durable means written, and readable by whoever waited for it. */
		if (ush_random_below(&random, 64) == 0) {
			while (ush_log_durable(&rig.log) <= sequences[count - 1])
				sched_yield();
		}
		done += count;
	}
	atomic_fetch_sub(&producing, 1);
	return NULL;
}

static void *write_journal(void *argument)
{
	uint64_t now_ns = RIG_START_NS;

	while (!atomic_load(&stop)) {
		if (ush_journal_step(rig.journal, now_ns += 100) == 0)
			sched_yield();
	}
	return argument;
}

static void *keep(void *argument)
{
	while (!atomic_load(&keeper_stop)) {
		if (!ush_journal_housekeep(rig.journal)) {
			CHECK(ush_journal_trouble(rig.journal) == NULL);
			sched_yield();
		}
	}
	return argument;
}

static void *look(void *argument)
{
	struct ush_journal_counters counters;
	uint64_t durable = 0;

	while (!atomic_load(&keeper_stop)) {
		ush_journal_counters_read(rig.journal, &counters);
		CHECK(counters.durable >= durable);
		CHECK(counters.reserved >= counters.durable);
		CHECK(counters.chain_lag_blocks <= counters.durable / USH_BLOCK_SLOTS);
		durable = counters.durable;
		sched_yield();
	}
	return argument;
}

static int check_run(void *context, const struct ush_record *records, uint32_t count,
	struct ush_message *message)
{
	(void)context, (void)message;
	if (records[0].type != USH_RECORD_TYPE_BLOCK)
		return 0;
	for (uint32_t i = 0; i < count; i++)
		disorder += records[i].user >= PRODUCERS || records[i].mask != i ||
			    records[i].run_count != count ||
			    records[i].hold != next_seen[records[i].user];
	next_seen[records[0].user]++;
	return 0;
}

static void test_threads_keep_order_and_lose_nothing(void)
{
	pthread_t producer[PRODUCERS], writer, keeper, reader;
	struct fake_counts counts;
	uint64_t runs = 0;

	rig_make(&rig, 5);
	rig.ring_blocks = 64;
	fake_disk_order(rig.fake, FAKE_ANY_ORDER);
	CHECK_EQ(rig_up(&rig), 0);
	atomic_store(&producing, PRODUCERS);
	for (uintptr_t i = 0; i < PRODUCERS; i++)
		CHECK_EQ(pthread_create(&producer[i], NULL, produce, (void *)i), 0);
	CHECK_EQ(pthread_create(&writer, NULL, write_journal, NULL), 0);
	CHECK_EQ(pthread_create(&keeper, NULL, keep, NULL), 0);
	CHECK_EQ(pthread_create(&reader, NULL, look, NULL), 0);
	for (uint32_t i = 0; i < PRODUCERS; i++)
		pthread_join(producer[i], NULL);
	CHECK_EQ(atomic_load(&producing), 0);
	atomic_store(&stop, true);
	pthread_join(writer, NULL);
	/* As usherd ends: the keeper still runs. */
	CHECK(ush_journal_finish(rig.journal, RIG_START_NS));
	atomic_store(&keeper_stop, true);
	pthread_join(keeper, NULL);
	pthread_join(reader, NULL);
	fake_disk_counts(rig.fake, &counts);
	CHECK_EQ(counts.bad_writes, 0);
	CHECK_EQ(counts.changed_buffers, 0);
	rig_down(&rig);
	CHECK_EQ(rig_open(&rig), 0);
	CHECK_EQ(ush_journal_recover(rig.journal, check_run, NULL, &rig.report, &rig.message), 0);
	CHECK(rig.report.clean);
	CHECK_EQ(disorder, 0);
	for (uint32_t i = 0; i < PRODUCERS; i++)
		runs += next_seen[i];
	CHECK(rig.report.records >= (uint64_t)PRODUCERS * RECORDS_EACH);
	CHECK(runs * RUN_MAX >= rig.report.records - 10);
	rig_free(&rig);
}

int main(void)
{
	TAP_RUN(test_threads_keep_order_and_lose_nothing);
	return tap_end();
}
