/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A journal on a fake disk with a log of its own and numbered TICK records in place of sales.
 *
 * Owns:  the disk, the journal, the ring, the numbers seen at replay.
 * Reads: nothing.
 * Never: an engine.
 */
#ifndef USH_JOURNAL_RIG_H
#define USH_JOURNAL_RIG_H

#include <stdlib.h>
#include <string.h>

#include "journal/internal.h"
#include "tests/fake_disk.h"

#define RIG_START_NS 1700000000000000000ull
#define RIG_SEEN_MAX (1u << 18)
#define RIG_SEGMENT_BYTES (1u << 20)
#define RIG_SEGMENT_BLOCKS (RIG_SEGMENT_BYTES / USH_BLOCK_BYTES)

struct rig {
	struct fake_disk *fake;
	struct ush_disk disk;
	struct ush_journal_config config;
	struct ush_journal *journal;
	struct ush_log log;
	uint8_t *ring;
	uint32_t ring_blocks;
	uint64_t now_ns;
	struct ush_journal_report report;
	struct ush_message message;
	/* Number of the last TICK appended. */
	uint64_t last;
	/* Numbers of the TICKs replayed, in order. */
	uint64_t *seen;
	uint32_t seen_count;
	uint32_t opens;
	uint32_t closes;
	/* What the apply callback answers. */
	int apply_error;
};

/* Recovery of rigs made from now on reads on a thread of its own. */
static bool rig_read_ahead;

static inline void rig_make(struct rig *rig, uint64_t seed)
{
	*rig = (struct rig){
		.fake = fake_disk_make(seed),
		.config = {.directory = "/rig",
			.segment_bytes = RIG_SEGMENT_BYTES,
			.read_ahead = rig_read_ahead},
		.ring_blocks = 64,
		.now_ns = RIG_START_NS,
		.seen = malloc(RIG_SEEN_MAX * sizeof(uint64_t)),
	};
	fake_disk_table(rig->fake, &rig->disk);
}

static inline int rig_apply(void *context, const struct ush_record *records, uint32_t count,
	struct ush_message *message)
{
	struct rig *rig = context;

	if (rig->apply_error != 0) {
		ush_message_set(message, "apply refuses");
		return rig->apply_error;
	}
	rig->opens += records[0].type == USH_RECORD_TYPE_OPEN;
	rig->closes += records[0].type == USH_RECORD_TYPE_CLOSE;
	for (uint32_t i = 0; i < count; i++) {
		USH_ASSERT(records[i].run_index == i);
		USH_ASSERT(rig->seen_count < RIG_SEEN_MAX);
		if (records[i].type == USH_RECORD_TYPE_TICK)
			rig->seen[rig->seen_count++] = records[i].user;
	}
	return 0;
}

static inline int rig_open(struct rig *rig)
{
	USH_ASSERT(rig->journal == NULL);
	rig->message.text[0] = '\0';
	return ush_journal_open(
		&rig->journal, &rig->config, &rig->disk, rig->now_ns, &rig->message);
}

static inline int rig_recover(struct rig *rig)
{
	rig->seen_count = rig->opens = rig->closes = 0;
	rig->message.text[0] = '\0';
	return ush_journal_recover(rig->journal, rig_apply, rig, &rig->report, &rig->message);
}

static inline int rig_start(struct rig *rig)
{
	size_t bytes = (size_t)rig->ring_blocks * USH_BLOCK_BYTES;

	free(rig->ring);
	rig->ring = aligned_alloc(4096, bytes);
	USH_ASSERT(rig->ring != NULL);
	memset(rig->ring, 0, bytes);
	ush_log_init(&rig->log, rig->ring, rig->ring_blocks);
	return ush_journal_start(rig->journal, &rig->log, rig->now_ns, &rig->message);
}

static inline int rig_up(struct rig *rig)
{
	int error = rig_open(rig);

	if (error == 0)
		error = rig_recover(rig);
	if (error == 0)
		error = rig_start(rig);
	return error;
}

/* Appends `count` TICKs. */
static inline void rig_tick(struct rig *rig, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		struct ush_record record = {.type = USH_RECORD_TYPE_TICK,
			.run_count = 1,
			.user = ++rig->last,
			.deadline_ns = rig->now_ns};
		uint64_t sequence;

		USH_ASSERT(ush_log_has_room(&rig->log, 64, 1, USH_LOG_KEPT));
		ush_log_append(&rig->log, &record, 1, &sequence);
	}
}

static inline uint32_t rig_step(struct rig *rig)
{
	return ush_journal_step(rig->journal, ++rig->now_ns);
}

/* Steps and keeps house until all is durable, or `turns` have passed. ret: true if idle. */
static inline bool rig_settle(struct rig *rig, uint32_t turns)
{
	while (turns-- != 0) {
		if (ush_journal_idle(rig->journal))
			return true;
		rig_step(rig);
		ush_journal_housekeep(rig->journal);
	}
	return ush_journal_idle(rig->journal);
}

/* `count` blocks of one TICK each, each durable before the next. */
static inline bool rig_blocks(struct rig *rig, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		rig_tick(rig, 1);
		if (!rig_settle(rig, 100))
			return false;
	}
	return true;
}

/* The process ends without a word; the machine stays up unless `power` fails too. */
static inline void rig_down(struct rig *rig)
{
	if (rig->journal != NULL)
		ush_journal_close(rig->journal);
	rig->journal = NULL;
	fake_disk_power_cycle(rig->fake);
}

static inline void rig_free(struct rig *rig)
{
	rig_down(rig);
	fake_disk_free(rig->fake);
	free(rig->ring);
	free(rig->seen);
}

/* ret: true if exactly the TICKs 1 to count were replayed, in order. */
static inline bool rig_saw(const struct rig *rig, uint64_t count)
{
	if (rig->seen_count != count)
		return false;
	for (uint64_t i = 0; i < count; i++) {
		if (rig->seen[i] != i + 1)
			return false;
	}
	return true;
}

#endif /* USH_JOURNAL_RIG_H */
