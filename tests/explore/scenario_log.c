/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The log buffer near the end of a block: producers reserve and publish while the real writer seals
 * what is left of the block, writes it and moves the durable sequence.
 */
#include <string.h>

#include "explore/explore.h"
#include "explore/scenarios.h"
#include "explore/writer.h"

#define BLOCKS 8u
/* Free slots left in the first block. */
#define LEFT 4u
#define RECORDS 2u
#define STEPS 3u

struct logged {
	struct ush_log log;
	struct writer *writer;
	uint32_t threads;
	uint64_t sequences[EXPLORE_THREADS_MAX][RECORDS];
	/* The producers' records are durable by what they saw themselves. */
	bool seen_durable[EXPLORE_THREADS_MAX];
};

static struct logged *l;

static struct ush_record record_of(uint32_t thread, uint32_t index)
{
	struct ush_record record = {.type = USH_RECORD_TYPE_TICK, .run_count = 1};

	/* One producer writes a run, the other single records. */
	if (thread == 0) {
		record.run_count = RECORDS;
		record.run_index = (uint8_t)index;
	}
	record.user = 0x1111111111111111ull * (thread + 1);
	record.mask = record.user;
	record.deadline_ns = index;
	return record;
}

static void log_setup(uint32_t threads)
{
	struct ush_record filler = {.type = USH_RECORD_TYPE_TICK, .run_count = 1};
	uint64_t sequence;

	l = explore_alloc(sizeof(*l));
	l->threads = threads;
	ush_log_init(&l->log, explore_alloc(BLOCKS * USH_BLOCK_BYTES), BLOCKS);
	l->writer = writer_open(&l->log);
	ush_log_reserve(&l->log, 1);
	for (uint32_t i = 1; i < USH_BLOCK_SLOTS - LEFT; i++)
		ush_log_append(&l->log, &filler, 1, &sequence);
	explore_name(&l->log.reserved, "reserved");
	explore_name(&l->log.durable, "durable");
	for (uint32_t i = 0; i < LEFT; i++)
		explore_name(&ush_log_slot(&l->log, 2 * USH_BLOCK_SLOTS - LEFT + i)->sequence,
			"a last slot of block 1");
	for (uint32_t i = 1; i < 8; i++)
		explore_name(&ush_log_slot(&l->log, 2 * USH_BLOCK_SLOTS + i)->sequence,
			"a first slot of block 2");
}

/* The last thread is the writer. */
static void log_thread(uint32_t thread)
{
	struct ush_record records[RECORDS];

	if (thread == l->threads - 1) {
		for (uint32_t i = 0; i < STEPS; i++)
			writer_step(l->writer);
		return;
	}
	for (uint32_t i = 0; i < RECORDS; i++)
		records[i] = record_of(thread, i);
	ush_log_append(&l->log, records, RECORDS, l->sequences[thread]);
	l->seen_durable[thread] = ush_log_durable(&l->log) > l->sequences[thread][RECORDS - 1];
	/* What is durable is on the disk as it was written. */
	for (uint32_t i = 0; i < RECORDS && l->seen_durable[thread]; i++) {
		uint64_t sequence = l->sequences[thread][i];
		EXPECT(writer_record(l->writer, sequence)->mask == records[i].mask);
	}
}

static void log_invariant(void)
{
	uint64_t durable = atomic_load(&l->log.durable);

	EXPECT(durable <= atomic_load(&l->log.reserved));
	EXPECT(durable <= (l->writer->first_block + l->writer->written) * USH_BLOCK_SLOTS);
	EXPECT((durable & (USH_BLOCK_SLOTS - 1)) == 0);
}

/* Every record stands on the disk once, where its producer was told; the rest is padding. */
static void log_oracle(void)
{
	uint64_t first = 2 * USH_BLOCK_SLOTS - LEFT, records = 0;

	writer_finish(l->writer);
	for (uint32_t t = 0; t + 1 < l->threads; t++) {
		for (uint32_t i = 0; i < RECORDS; i++) {
			uint64_t sequence = l->sequences[t][i];
			struct ush_record want = record_of(t, i);

			EXPECT(sequence >= first && !ush_log_is_header(sequence));
			want.sequence = sequence;
			EXPECT(memcmp(writer_record(l->writer, sequence), &want, sizeof(want)) ==
				0);
			EXPECT(i == 0 || l->sequences[t][i - 1] < sequence);
		}
		/* A run stands in one block. */
		EXPECT(t != 0 || l->sequences[0][0] + 1 == l->sequences[0][1]);
	}
	for (uint64_t at = first; at < ush_log_durable(&l->log); at++) {
		if (!ush_log_is_header(at))
			records += writer_record(l->writer, at)->type != USH_RECORD_TYPE_PAD;
	}
	EXPECT(records == (l->threads - 1) * RECORDS);
}

const struct explore_scenario explore_log_seal = {
	.name = "log_seal",
	.about = "producers reserve and publish while the writer seals and writes the block",
	.threads_max = 3,
	.bound = {3, 2},
	.setup = log_setup,
	.thread = log_thread,
	.invariant = log_invariant,
	.oracle = log_oracle,
};
