/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Channels: seats off public sale that a channel's key may buy.
 *
 * A seat of a channel is a house seat while nobody has it. Which channel, and whether it may be
 * claimed, stands here, beside the rows: one entry per (event, row, channel), found by hashing,
 * for few rows have any. `free` decides who gets a seat, as in a row block; the row's `house` and
 * `firm` follow when the record has its slot.
 *
 * Owns:  the entries.
 * Reads: nothing else.
 * Never: rows, holds, users, the log.
 */
#ifndef USH_CHANNEL_H
#define USH_CHANNEL_H

#include <stdatomic.h>

#include "base/base.h"
#include "wire/wire.h"

/* Channels of an event are 1 to this. */
#define USH_CHANNELS USH_CHANNEL_COUNT_MAX

struct ush_channel_row {
	/* event << 32 | row << 8 | channel; 0: unused. */
	_Atomic uint64_t key;
	/* Seats of the channel, sold or not; changed by the loop that decides BLOCK and UNBLOCK. */
	_Atomic uint64_t seats;
	/* Of these, what may be claimed. */
	_Atomic uint64_t free;
	uint64_t spare;
};
static_assert(sizeof(struct ush_channel_row) == 32, "two entries a cache line");

struct ush_channels {
	struct ush_channel_row *rows;
	uint32_t mask;
	/* Entries that may be used, and are. */
	uint32_t limit;
	_Atomic uint32_t used;
};

size_t ush_channels_bytes(uint32_t limit);

/* in: memory: that many zeroed bytes. limit: entries; 0: no channels. */
void ush_channels_init(struct ush_channels *channels, void *memory, uint32_t limit);

/* ret: the entry, or NULL. by: any loop. cost: usually one line. */
struct ush_channel_row *ush_channel_find(
	const struct ush_channels *channels, uint32_t event, uint32_t row, uint32_t channel);

/* Finds or makes; entries are never taken away. ret: NULL: as many as there may be. by: the loop
 * that decides about the event's house seats, or replay. */
struct ush_channel_row *ush_channel_enter(
	struct ush_channels *channels, uint32_t event, uint32_t row, uint32_t channel);

/* ret: seats of a row that are of any channel. out: free: of these, what may be claimed; may be
 * NULL. by: any loop. */
uint64_t ush_channel_seats(
	const struct ush_channels *channels, uint32_t event, uint32_t row, uint64_t *free);

/* Seats that came back, or are new in the channel, may be claimed: their slot is reserved. in:
 * mask: seats of the row, each of one channel. by: any loop. */
void ush_channel_return(struct ush_channels *channels, uint32_t event, uint32_t row, uint64_t mask);

/* Seats of a row are claimed, whichever channel they are of; they may be. by: replay. */
void ush_channel_replay_claim(
	struct ush_channels *channels, uint32_t event, uint32_t row, uint64_t mask);

/* Takes all of `mask` or nothing. ret: true if taken. by: any loop. */
USH_INLINE bool ush_channel_claim(struct ush_channel_row *entry, uint64_t mask)
{
	uint64_t free = atomic_load_explicit(&entry->free, memory_order_relaxed);

	do {
		if ((mask & ~free) != 0)
			return false;
	} while (!atomic_compare_exchange_weak_explicit(
		&entry->free, &free, free & ~mask, memory_order_acq_rel, memory_order_relaxed));
	return true;
}

/* Takes what of `mask` may be claimed. ret: that. by: any loop. */
USH_INLINE uint64_t ush_channel_withdraw(struct ush_channel_row *entry, uint64_t mask)
{
	return mask & atomic_fetch_and_explicit(&entry->free, ~mask, memory_order_acq_rel);
}

/* Gives back what a claim took that got no record. */
USH_INLINE void ush_channel_put_back(struct ush_channel_row *entry, uint64_t mask)
{
	uint64_t before = atomic_fetch_or_explicit(&entry->free, mask, memory_order_release);

	USH_ASSERT((before & mask) == 0);
}

#endif /* USH_CHANNEL_H */
