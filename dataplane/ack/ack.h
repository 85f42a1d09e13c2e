/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Replies that wait for durability: a first-in first-out ring per loop.
 *
 * Owns:  the ring.
 * Reads: the durable sequence handed in.
 * Never: I/O.
 */
#ifndef USH_ACK_H
#define USH_ACK_H

#include "base/base.h"
#include "base/packet.h"

struct ush_ack_waiting {
	/* Leaves when everything up to and including this sequence is durable. */
	uint64_t sequence;
	void *handle;
	uint8_t *data;
	uint16_t size;
	uint16_t flags;
	uint16_t payload_at;
	uint8_t family;
	uint8_t spare;
};
static_assert(sizeof(struct ush_ack_waiting) == 32, "two entries a cache line");

struct ush_acks {
	struct ush_ack_waiting *ring;
	uint32_t mask;
	uint32_t head;
	uint32_t tail;
};

/* in: ring: `count` entries, a power of two. */
USH_INLINE void ush_acks_init(struct ush_acks *acks, void *ring, uint32_t count)
{
	USH_ASSERT((count & (count - 1)) == 0);
	acks->ring = ring;
	acks->mask = count - 1;
	acks->head = acks->tail = 0;
}

USH_INLINE uint32_t ush_acks_count(const struct ush_acks *acks)
{
	return acks->tail - acks->head;
}

USH_INLINE uint32_t ush_acks_room(const struct ush_acks *acks)
{
	return acks->mask + 1 - ush_acks_count(acks);
}

/* Room must have been found. A lower sequence than the one before waits as long as that one. */
USH_INLINE void ush_acks_push(
	struct ush_acks *acks, const struct ush_packet *packet, uint64_t sequence)
{
	struct ush_ack_waiting *entry = &acks->ring[acks->tail++ & acks->mask];

	USH_ASSERT(acks->tail - acks->head <= acks->mask + 1);
	entry->sequence = sequence;
	entry->handle = packet->handle;
	entry->data = packet->data;
	USH_ASSERT(packet->size <= UINT16_MAX);
	entry->size = (uint16_t)packet->size;
	entry->flags = (uint16_t)packet->flags;
	entry->payload_at = packet->payload_at;
	entry->family = packet->family;
}

/* Moves up to `max` replies that rest on sequences below `durable` to out. ret: how many. */
USH_INLINE uint32_t ush_acks_pop(
	struct ush_acks *acks, uint64_t durable, struct ush_packet *out, uint32_t max)
{
	uint32_t count = 0;

	while (count < max && acks->head != acks->tail) {
		const struct ush_ack_waiting *entry = &acks->ring[acks->head & acks->mask];
		if (entry->sequence >= durable)
			break;
		/* Written a disk write ago, so out of the near caches by now; the whole batch is
		 * fetched at once instead of one miss after another when it is sent. */
		USH_PREFETCH_WRITE(entry->handle);
		USH_PREFETCH(entry->data);
		USH_PREFETCH(entry->data + USH_CACHE_LINE);
		out[count++] = (struct ush_packet){
			.data = entry->data,
			.size = entry->size,
			.handle = entry->handle,
			.flags = entry->flags,
			.payload_at = entry->payload_at,
			.family = entry->family,
		};
		acks->head++;
	}
	return count;
}

#endif /* USH_ACK_H */
