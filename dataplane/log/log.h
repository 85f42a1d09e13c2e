/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The log buffer: where records are put in order, and the page that goes to disk.
 *
 * A sequence number is a byte offset in the log divided by 64. Slot 0 of each 64-slot block is the
 * block's header, so a sequence whose low six bits are zero never names a record.
 *
 * Owns:  the ring of blocks; the reservation counter (loops and writer), the durable sequence
 *        (writer).
 * Reads: nothing else.
 * Never: I/O, waiting.
 */
#ifndef USH_LOG_H
#define USH_LOG_H

#include <stdatomic.h>
#include <string.h>

#include "base/base.h"
#include "wire/wire.h"

/* Where the log starts: block 1, so that sequence 0 can mean none. */
#define USH_LOG_SEQUENCE_FIRST 64u

struct ush_log {
	/* Next slot to be reserved. Raised by loops (fetch-add) and, to seal, by the writer (CAS).
	 */
	_Alignas(USH_CACHE_LINE) _Atomic uint64_t reserved;
	/* Everything below is on disk. A multiple of 64. Written by the writer only. */
	_Alignas(USH_CACHE_LINE) _Atomic uint64_t durable;
	/* No room behind the current segment: see ush_log_keep. Written by housekeeping only. */
	_Atomic bool kept_only;
	/* Read-only after init. */
	_Alignas(USH_CACHE_LINE) uint8_t *ring;
	uint64_t slot_mask;
	uint64_t slot_count;
};

/* Classes of use: a share of the room is kept for those that give room or money back. */
enum ush_log_class {
	/* New holds and other work that can wait. */
	USH_LOG_NEW,
	/* Confirm, release, expiry, control. */
	USH_LOG_KEPT,
};

/* in: ring: block_count * 4,096 zeroed bytes, 4,096-byte aligned; block_count a power of two. */
void ush_log_init(struct ush_log *log, void *ring, uint32_t block_count);

/* Moves an unused log to start at `sequence` (a multiple of 64). by: the starting thread. */
void ush_log_start_at(struct ush_log *log, uint64_t sequence);

/*
 * From here, until it is taken back, room is for USH_LOG_KEPT only: what is left of the disk
 * belongs to those who pay and give back. by: the journal's housekeeping.
 */
USH_INLINE void ush_log_keep(struct ush_log *log, bool kept_only)
{
	atomic_store_explicit(&log->kept_only, kept_only, memory_order_relaxed);
}

/*
 * ret: true if `slots` may be reserved now by each of `loop_count` loops at the same time without
 *      overrunning what is not yet durable. `slots` counts pads and headers.
 * by:  any loop, before it decides. cost: two loads.
 */
bool ush_log_has_room(
	const struct ush_log *log, uint32_t slots, uint32_t loop_count, enum ush_log_class class);

/* Reserves `slots` consecutive slots; ret: the first. Room must have been found. by: any loop. */
USH_INLINE uint64_t ush_log_reserve(struct ush_log *log, uint32_t slots)
{
	return atomic_fetch_add_explicit(&log->reserved, slots, memory_order_acq_rel);
}

USH_INLINE struct ush_record *ush_log_slot(const struct ush_log *log, uint64_t sequence)
{
	return (struct ush_record *)(void *)(log->ring +
					     (sequence & log->slot_mask) * USH_RECORD_BYTES);
}

/* ret: true if `sequence` is a block header, which only the writer fills. */
USH_INLINE bool ush_log_is_header(uint64_t sequence)
{
	return (sequence & (USH_BLOCK_SLOTS - 1)) == 0;
}

/* Copies bytes 8..63 of `record` and then stores the sequence with release order: from here the
 * writer may take the slot. by: whoever reserved it. */
USH_INLINE void ush_log_publish(
	struct ush_log *log, uint64_t sequence, const struct ush_record *record)
{
	struct ush_record *slot = ush_log_slot(log, sequence);

	USH_CHECK(!ush_log_is_header(sequence));
	memcpy(&slot->type, &record->type, sizeof(*slot) - offsetof(struct ush_record, type));
	__atomic_store_n(&slot->sequence, sequence, __ATOMIC_RELEASE);
}

/* Publishes PAD in each non-header slot of [first, end). by: whoever reserved them. */
void ush_log_publish_pads(struct ush_log *log, uint64_t first, uint64_t end);

/* ret: true if the slot's record is published. Acquire order. */
USH_INLINE bool ush_log_is_published(const struct ush_log *log, uint64_t sequence)
{
	const struct ush_record *slot = ush_log_slot(log, sequence);

	return __atomic_load_n(&slot->sequence, __ATOMIC_ACQUIRE) == sequence;
}

USH_INLINE uint64_t ush_log_durable(const struct ush_log *log)
{
	return atomic_load_explicit(&log->durable, memory_order_acquire);
}

USH_INLINE uint64_t ush_log_reserved(const struct ush_log *log)
{
	return atomic_load_explicit(&log->reserved, memory_order_acquire);
}

/*
 * Writes runs of records in order: reserves all slots with one fetch-add (again only when runs had
 * to be padded to a block's end), then fills and publishes them. Each run lands inside one block.
 * in:  records: all runs one after another, run_index and run_count set. count: 1 to 4,096.
 * out: sequences[i]: where records[i] stands; each record's sequence field is left alone.
 * ret: slots used, pads and headers included.
 * by:  any loop; ush_log_slots_worst(count) must have fitted.
 */
uint32_t ush_log_append(
	struct ush_log *log, const struct ush_record *records, uint32_t count, uint64_t *sequences);

/* ret: most slots that ush_log_append may take for `count` records. */
USH_INLINE uint32_t ush_log_slots_worst(uint32_t count)
{
	/* A run of r <= 33 wastes at most r - 1 slots and a header per block that it does not
	 * fit, so a block holds at least 64 - r records:
	 * count + 33 x (count / 31 + 2) <= 2 x count + count / 15.5 + 66, which up to 4,096
	 * records is below what stands here. Single records may reserve once more
	 * for those that a header displaced (tested against a brute-force maximum in
	 * tests/unit/test_log.c). */
	return 2 * count + count / 16 + 2 * USH_BLOCK_SLOTS;
}

#endif /* USH_LOG_H */
