/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The writer. One step:
 *   1. reap finished writes; the durable sequence advances in order, past each write whose
 *      predecessors are all done;
 *   2. choose a group: what was reserved while earlier writes ran, no timers; a block that is only
 *      partly reserved is sealed by compare-and-swap and padded when nothing better is to be done;
 *   3. take as many of its blocks as are published to the last slot, fill in their headers, and
 *      submit them as one write.
 *
 * Failure modes: a write that fails, is short or takes too long ends the process (exit status 3);
 * withheld replies are never sent, a restart replays. No next segment: nothing is submitted and the
 * log fills up; housekeeping has let no new hold in since it failed to make one. A slot reserved
 * but not yet published: the step goes on without that block and comes back.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "journal/internal.h"

_Noreturn void journal_fail(const struct ush_journal *journal, const char *what, int64_t result)
{
	char text[1024];
	int size = snprintf(text, sizeof(text),
		"usherd: journal %s: %s (%s). Stopped at once: nothing that was not durable has been "
		"acknowledged. Mend the disk and start again; the journal is replayed.\n",
		journal->directory, what, result < 0 ? ush_error_text((int)result) : "short write");

	/* Not through stdio: another thread may hold its locks and be stuck on the same disk. */
	if (write(STDERR_FILENO, text, (size_t)size) < 0)
		_exit(3);
	_exit(3);
}

static void bump(uint64_t *counter, uint64_t by)
{
	__atomic_store_n(counter, *counter + by, __ATOMIC_RELAXED);
}

/* ---- reaping ---- */

static void finish_write(struct ush_journal *journal, const struct ush_disk_done *done)
{
	struct in_flight *flight = &journal->flight[done->tag % DEPTH_MAX];
	uint64_t took = journal->now_ns - flight->started_ns;

	if (done->result != (int64_t)(flight->count * USH_BLOCK_BYTES))
		journal_fail(journal, "a write failed", done->result);
	USH_ASSERT(!flight->done);
	flight->done = true;
	bump(&journal->counters.write_ns_sum, took);
	if (took > journal->counters.write_ns_max)
		__atomic_store_n(&journal->counters.write_ns_max, took, __ATOMIC_RELAXED);
}

static void advance_durable(struct ush_journal *journal)
{
	uint64_t before = journal->durable_block;

	while (journal->flight_head != journal->flight_tail) {
		struct in_flight *flight = &journal->flight[journal->flight_head % DEPTH_MAX];
		if (!flight->done)
			break;
		USH_ASSERT(flight->first == journal->durable_block);
		journal->durable_block += flight->count;
		journal->flight_head++;
	}
	if (journal->durable_block == before)
		return;
	/* Release: whoever sees it may reuse the slots and let replies go. */
	atomic_store_explicit(&journal->log->durable, journal->durable_block * USH_BLOCK_SLOTS,
		memory_order_release);
}

/* Hands a full segment, all durable, to housekeeping to be closed. Tried at every step: the hand
 * may be taken while nothing is in flight, and the next segment waits for it. */
static void hand_over(struct ush_journal *journal)
{
	if (journal->closing_file < 0 || journal->durable_block < journal->closing_end ||
		atomic_load_explicit(&journal->old_file, memory_order_acquire) >= 0)
		return;
	atomic_store_explicit(&journal->old_file, journal->closing_file, memory_order_release);
	journal->closing_file = -1;
}

static uint32_t reap(struct ush_journal *journal)
{
	struct ush_disk_done done[DEPTH_MAX];
	int count;

	if (journal->flight_head == journal->flight_tail)
		return 0;
	count = journal->disk->reap(journal->disk->context, done, DEPTH_MAX);
	if (count < 0)
		journal_fail(journal, "cannot learn of finished writes", count);
	for (int i = 0; i < count; i++)
		finish_write(journal, &done[i]);
	if (count > 0)
		advance_durable(journal);
	if (journal->flight_head != journal->flight_tail) {
		const struct in_flight *oldest = &journal->flight[journal->flight_head % DEPTH_MAX];
		if (journal->now_ns > oldest->started_ns &&
			journal->now_ns - oldest->started_ns > journal->config.write_ns_max)
			journal_fail(journal, "a write takes too long", -USH_EIO);
	}
	return (uint32_t)count;
}

/* ---- choosing ---- */

/* Takes over the next segment when the current one is full. ret: false if there is none. */
static bool enter_segment(struct ush_journal *journal)
{
	int next;

	if (journal->next_block < journal->file_first + journal->segment_blocks)
		return true;
	if (journal->closing_file >= 0)
		return false;
	next = atomic_load_explicit(&journal->next_file, memory_order_acquire);
	if (next < 0)
		return false;
	USH_ASSERT(atomic_load_explicit(&journal->next_first, memory_order_relaxed) ==
		   journal->next_block);
	journal->closing_file = journal->file;
	journal->closing_end = journal->next_block;
	journal->file = next;
	journal->file_first = journal->next_block;
	atomic_store_explicit(&journal->next_file, -1, memory_order_release);
	bump(&journal->counters.segments, 1);
	return true;
}

/* Makes the block that is being filled a whole one, unless others are quicker. */
static void seal(struct ush_journal *journal)
{
	struct ush_log *log = journal->log;
	uint64_t reserved = ush_log_reserved(log);
	uint64_t end = (reserved + USH_BLOCK_SLOTS - 1) & ~(uint64_t)(USH_BLOCK_SLOTS - 1);

	if (reserved == end)
		return;
	if (!atomic_compare_exchange_strong_explicit(
		    &log->reserved, &reserved, end, memory_order_acq_rel, memory_order_relaxed))
		return;
	ush_log_publish_pads(log, reserved, end);
	bump(&journal->counters.pads, end - reserved);
}

/* Whole blocks wanted before a further write is started beside those in flight: one write at once
 * when the disk is idle; beside others only what is worth a write of its own. Chosen by
 * tests/bench on the measured disk; see docs/benchmarks.md. */
static uint64_t group_wanted(uint32_t in_flight)
{
	static const uint8_t wanted[DEPTH_MAX] = {
		1, 16, 32, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64};

	return wanted[in_flight];
}

/* ret: true if every record slot of the block is published. */
static bool is_published(const struct ush_log *log, uint64_t block)
{
	uint64_t first = block * USH_BLOCK_SLOTS;

	/* From the end: the last slots are published last, most often. */
	for (uint64_t at = first + USH_BLOCK_SLOTS - 1; at > first; at--) {
		if (!ush_log_is_published(log, at))
			return false;
	}
	return true;
}

/* With nothing in flight: takes the partial block along, if it fits the write and the write can
 * start. While the next block waits for a slow producer, sealing would only fill the ring with
 * pads: one block a step. */
static void seal_partial(struct ush_journal *journal)
{
	const struct ush_log *log = journal->log;
	uint64_t whole = ush_log_reserved(log) / USH_BLOCK_SLOTS;
	uint64_t ahead = whole - journal->next_block;

	if (ahead >= journal->config.write_bytes_max / USH_BLOCK_BYTES)
		return;
	if (ahead == 0 || is_published(log, journal->next_block))
		seal(journal);
}

static void prepare_block(struct ush_journal *journal, uint64_t block)
{
	uint8_t *data = (uint8_t *)ush_log_slot(journal->log, block * USH_BLOCK_SLOTS);

	block_seal(data, (uint32_t)journal->box.box, journal->box.epoch, block,
		journal->durable_block, journal->chain_seen_block, journal->chain_seen,
		journal->now_ns);
}

static void submit(struct ush_journal *journal, uint64_t count)
{
	uint64_t first = journal->next_block;
	uint32_t tag = journal->flight_tail;
	struct in_flight *flight = &journal->flight[tag % DEPTH_MAX];
	const void *data = ush_log_slot(journal->log, first * USH_BLOCK_SLOTS);
	int error;

	*flight = (struct in_flight){.first = first, .count = count, .started_ns = journal->now_ns};
	error = journal->disk->write(journal->disk->context, journal->file, data,
		count * USH_BLOCK_BYTES, (first - journal->file_first) * USH_BLOCK_BYTES, tag);
	if (error != 0)
		journal_fail(journal, "cannot start a write", error);
	journal->flight_tail++;
	journal->next_block += count;
	bump(&journal->counters.writes, 1);
	bump(&journal->counters.blocks, count);
	bump(&journal->counters.bytes, count * USH_BLOCK_BYTES);
}

/* Starts one write if there is one worth starting. ret: blocks submitted. */
static uint64_t start_write(struct ush_journal *journal)
{
	const struct ush_log *log = journal->log;
	uint32_t in_flight = journal->flight_tail - journal->flight_head;
	uint64_t whole, count, limit, ring_left;

	if (in_flight >= journal->config.depth || !enter_segment(journal))
		return 0;
	if (in_flight == 0)
		seal_partial(journal);
	whole = ush_log_reserved(log) / USH_BLOCK_SLOTS;
	if (whole - journal->next_block < group_wanted(in_flight))
		return 0;
	limit = journal->config.write_bytes_max / USH_BLOCK_BYTES;
	limit = ush_min64(limit, whole - journal->next_block);
	limit = ush_min64(
		limit, journal->file_first + journal->segment_blocks - journal->next_block);
	/* A write does not wrap around the ring. */
	ring_left = log->slot_count / USH_BLOCK_SLOTS -
		    (journal->next_block & (log->slot_count / USH_BLOCK_SLOTS - 1));
	limit = ush_min64(limit, ring_left);
	chain_read(&journal->chain, &journal->chain_seen_block, journal->chain_seen);
	for (count = 0; count < limit; count++) {
		if (!is_published(log, journal->next_block + count))
			break;
		prepare_block(journal, journal->next_block + count);
	}
	if (count != 0)
		submit(journal, count);
	return count;
}

uint32_t ush_journal_step(struct ush_journal *journal, uint64_t now_ns)
{
	uint32_t work;

	journal->now_ns = ush_max64(now_ns, journal->now_ns);
	work = reap(journal);
	hand_over(journal);
	while (start_write(journal) != 0)
		work++;
	__atomic_store_n(&journal->counters.in_flight,
		(uint64_t)(journal->flight_tail - journal->flight_head), __ATOMIC_RELAXED);
	return work;
}

bool journal_is_full(const struct ush_journal *journal)
{
	return journal->flight_head == journal->flight_tail && journal->closing_file < 0 &&
	       journal->next_block == journal->file_first + journal->segment_blocks &&
	       atomic_load_explicit(&journal->next_file, memory_order_acquire) < 0;
}

bool ush_journal_idle(const struct ush_journal *journal)
{
	return journal->flight_head == journal->flight_tail &&
	       ush_log_reserved(journal->log) == journal->durable_block * USH_BLOCK_SLOTS;
}
