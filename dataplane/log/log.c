/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "log/log.h"

static_assert(USH_BLOCK_SLOTS * USH_RECORD_BYTES == USH_BLOCK_BYTES, "a block is 64 slots");
static_assert(USH_RUN_RECORDS_MAX < USH_BLOCK_SLOTS, "a run fits a block");
static_assert(
	USH_RUN_RECORDS_MAX == USH_BLOCK_SLOTS / 2 + 1, "ush_log_slots_worst is made for that");

void ush_log_init(struct ush_log *log, void *ring, uint32_t block_count)
{
	USH_ASSERT(block_count >= 8);
	USH_ASSERT((block_count & (block_count - 1)) == 0);
	log->ring = ring;
	log->slot_count = (uint64_t)block_count * USH_BLOCK_SLOTS;
	log->slot_mask = log->slot_count - 1;
	ush_log_keep(log, false);
	ush_log_start_at(log, USH_LOG_SEQUENCE_FIRST);
}

void ush_log_start_at(struct ush_log *log, uint64_t sequence)
{
	USH_ASSERT(ush_log_is_header(sequence));
	USH_ASSERT(sequence >= USH_LOG_SEQUENCE_FIRST);
	atomic_store_explicit(&log->reserved, sequence, memory_order_release);
	atomic_store_explicit(&log->durable, sequence, memory_order_release);
}

bool ush_log_has_room(
	const struct ush_log *log, uint32_t slots, uint32_t loop_count, enum ush_log_class class)
{
	uint64_t room = log->slot_count - 2 * USH_BLOCK_SLOTS;
	uint64_t durable = ush_log_durable(log);
	uint64_t reserved = ush_log_reserved(log);

	/* New holds leave a quarter of the ring to those who pay, confirm and give back. */
	if (class == USH_LOG_NEW) {
		if (atomic_load_explicit(&log->kept_only, memory_order_relaxed))
			return false;
		room -= log->slot_count / 4;
	}
	return reserved - durable + (uint64_t)slots * loop_count <= room;
}

void ush_log_publish_pads(struct ush_log *log, uint64_t first, uint64_t end)
{
	const struct ush_record pad = {.type = USH_RECORD_TYPE_PAD, .run_count = 1};

	for (uint64_t at = first; at < end; at++) {
		if (!ush_log_is_header(at))
			ush_log_publish(log, at, &pad);
	}
}

/* Lays records without runs into [first, end): one in each slot that is no header. */
static uint32_t append_singles(struct ush_log *log, const struct ush_record *records,
	uint64_t first, uint64_t end, uint64_t *sequences)
{
	uint32_t done = 0;

	for (uint64_t at = first; at < end; at++) {
		if (ush_unlikely(ush_log_is_header(at)))
			continue;
		ush_log_publish(log, at, &records[done]);
		sequences[done++] = at;
	}
	return done;
}

/* Lays records into [first, end) until either runs out; pads what is left. ret: records laid. */
static uint32_t append_stretch(struct ush_log *log, const struct ush_record *records,
	uint32_t count, uint64_t first, uint64_t end, uint64_t *sequences)
{
	uint64_t at = first;
	uint32_t done = 0;

	while (at < end) {
		if (ush_log_is_header(at)) {
			at++;
			continue;
		}
		if (done == count)
			break;
		uint32_t run = records[done].run_count;
		uint64_t block_end = (at | (USH_BLOCK_SLOTS - 1)) + 1;
		uint64_t stop = ush_min64(block_end, end);
		if (at + run > stop) {
			ush_log_publish_pads(log, at, stop);
			at = stop;
			continue;
		}
		for (uint32_t i = 0; i < run; i++, at++, done++) {
			ush_log_publish(log, at, &records[done]);
			sequences[done] = at;
		}
	}
	ush_log_publish_pads(log, at, end);
	return done;
}

/* ret: slots that surely hold `count` records in runs of up to `longest`: each block may lose all
 * but one slot of the longest, and its header, and takes the rest. */
static uint32_t runs_worst(uint32_t count, uint32_t longest)
{
	/* Divided by what the compiler knows. */
	uint32_t blocks = longest <= USH_LEG_COUNT_MAX
				  ? count / (USH_BLOCK_SLOTS - USH_LEG_COUNT_MAX)
				  : count / (USH_BLOCK_SLOTS - USH_RUN_RECORDS_MAX);

	return count + longest * (blocks + 2);
}

uint32_t ush_log_append(
	struct ush_log *log, const struct ush_record *records, uint32_t count, uint64_t *sequences)
{
	uint32_t used = 0, longest = 0;

	for (uint32_t i = 0; i < count; i++)
		longest = records[i].run_count > longest ? records[i].run_count : longest;
	USH_ASSERT(longest <= USH_RUN_RECORDS_MAX);
	for (uint32_t done = 0; done < count;) {
		uint32_t left = count - done;
		/* Single records fit wherever there is a slot: reserve just them, and once more
		 * for those that a header displaced. Runs get the worst case at once. */
		uint32_t slots = longest > 1 ? runs_worst(left, longest) : left;
		uint64_t first = ush_log_reserve(log, slots);

		done += longest > 1 ? append_stretch(log, records + done, left, first,
					      first + slots, sequences + done)
				    : append_singles(log, records + done, first, first + slots,
					      sequences + done);
		used += slots;
		USH_ASSERT(longest <= 1 || done == count);
	}
	return used;
}
