/* SPDX-License-Identifier: Apache-2.0 */
#include "claim/channel.h"

size_t ush_channels_bytes(uint32_t limit)
{
	/* At most half full, so that a search for what is not there ends soon. */
	return limit == 0 ? 0 : (size_t)ush_pow2_ceil32(limit * 2) * sizeof(struct ush_channel_row);
}

void ush_channels_init(struct ush_channels *channels, void *memory, uint32_t limit)
{
	channels->rows = memory;
	channels->mask = limit == 0 ? 0 : ush_pow2_ceil32(limit * 2) - 1;
	channels->limit = limit;
	atomic_init(&channels->used, 0);
}

static uint64_t key_of(uint32_t event, uint32_t row, uint32_t channel)
{
	return (uint64_t)event << 32 | (uint64_t)row << 8 | channel;
}

/* All channels of a row begin their search in one place. */
static uint32_t home_of(const struct ush_channels *channels, uint32_t event, uint32_t row)
{
	return (uint32_t)ush_mix64(key_of(event, row, 0)) & channels->mask;
}

static uint64_t key_at(const struct ush_channels *channels, uint32_t at)
{
	return atomic_load_explicit(&channels->rows[at].key, memory_order_acquire);
}

struct ush_channel_row *ush_channel_find(
	const struct ush_channels *channels, uint32_t event, uint32_t row, uint32_t channel)
{
	uint64_t key = key_of(event, row, channel), found;

	if (channels->limit == 0)
		return NULL;
	for (uint32_t at = home_of(channels, event, row); (found = key_at(channels, at)) != 0;
		at = (at + 1) & channels->mask) {
		if (found == key)
			return &channels->rows[at];
	}
	return NULL;
}

struct ush_channel_row *ush_channel_enter(
	struct ush_channels *channels, uint32_t event, uint32_t row, uint32_t channel)
{
	struct ush_channel_row *entry = ush_channel_find(channels, event, row, channel);
	uint64_t key = key_of(event, row, channel);
	uint32_t at = home_of(channels, event, row);

	if (entry != NULL || channels->limit == 0)
		return entry;
	/* Counted before it is taken, so that the table is never more than half full. */
	if (atomic_fetch_add_explicit(&channels->used, 1, memory_order_relaxed) >=
		channels->limit) {
		atomic_fetch_sub_explicit(&channels->used, 1, memory_order_relaxed);
		return NULL;
	}
	for (;; at = (at + 1) & channels->mask) {
		uint64_t none = 0;

		/* Fails when the entry is in use, or another event's loop took it just now. */
		if (atomic_compare_exchange_strong_explicit(&channels->rows[at].key, &none, key,
			    memory_order_acq_rel, memory_order_relaxed))
			return &channels->rows[at];
	}
}

uint64_t ush_channel_seats(
	const struct ush_channels *channels, uint32_t event, uint32_t row, uint64_t *free)
{
	uint64_t seats = 0, claimable = 0, found;

	if (channels->limit != 0) {
		for (uint32_t at = home_of(channels, event, row);
			(found = key_at(channels, at)) != 0; at = (at + 1) & channels->mask) {
			struct ush_channel_row *entry = &channels->rows[at];

			if (found >> 8 != key_of(event, row, 0) >> 8)
				continue;
			seats |= atomic_load_explicit(&entry->seats, memory_order_acquire);
			claimable |= atomic_load_explicit(&entry->free, memory_order_acquire);
		}
	}
	if (free != NULL)
		*free = claimable;
	return seats;
}

void ush_channel_return(struct ush_channels *channels, uint32_t event, uint32_t row, uint64_t mask)
{
	uint64_t found;

	for (uint32_t at = home_of(channels, event, row);
		mask != 0 && (found = key_at(channels, at)) != 0; at = (at + 1) & channels->mask) {
		struct ush_channel_row *entry = &channels->rows[at];
		uint64_t part;

		if (found >> 8 != key_of(event, row, 0) >> 8)
			continue;
		part = mask & atomic_load_explicit(&entry->seats, memory_order_acquire);
		if (part != 0)
			ush_channel_put_back(entry, part);
		mask &= ~part;
	}
	USH_ASSERT(mask == 0);
}

void ush_channel_replay_claim(
	struct ush_channels *channels, uint32_t event, uint32_t row, uint64_t mask)
{
	uint64_t found;

	for (uint32_t at = home_of(channels, event, row); (found = key_at(channels, at)) != 0;
		at = (at + 1) & channels->mask) {
		if (found >> 8 == key_of(event, row, 0) >> 8)
			mask &= ~ush_channel_withdraw(&channels->rows[at], mask);
	}
	USH_ASSERT(mask == 0);
}
