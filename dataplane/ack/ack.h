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

#include <string.h>

#include "base/base.h"
#include "base/packet.h"

/* Headers in front of a reply that waits in the ring: at most these bytes are copied. */
#define USH_ACK_HEADER_BYTES 64u

struct ush_ack_waiting {
	/* Leaves when everything up to and including this sequence is durable. */
	uint64_t sequence;
	/* NULL: the frame is below. */
	void *handle;
	uint8_t *data;
	uint16_t size;
	uint16_t payload_at;
	uint16_t port;
	uint8_t flags;
	uint8_t family;
	uint8_t frame[USH_PACKET_KEPT_BYTES];
};
static_assert(sizeof(struct ush_ack_waiting) == 160, "five entries take 25 cache lines");

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

/* Room must have been found. ret: the entry that the next push will fill. */
USH_INLINE struct ush_ack_waiting *ush_acks_next(struct ush_acks *acks)
{
	USH_ASSERT(acks->tail - acks->head <= acks->mask);
	return &acks->ring[acks->tail & acks->mask];
}

/*
 * ret: true, with the packet's headers copied to the next entry and *moved a packet without handle
 *      that stands there: write the reply of `reply_bytes` into it and push it; the old packet is
 *      free at once. The buffer of a reply would be cold, and its page out of the TLB, after a disk
 *      write. false: too long, or a control message: it must keep its packet.
 */
USH_INLINE bool ush_acks_move(struct ush_acks *acks, const struct ush_packet *packet,
	uint32_t reply_bytes, struct ush_packet *moved)
{
	struct ush_ack_waiting *entry = ush_acks_next(acks);

	if (packet->payload_at > USH_ACK_HEADER_BYTES ||
		packet->payload_at + reply_bytes > USH_PACKET_KEPT_BYTES ||
		packet->capacity < USH_ACK_HEADER_BYTES ||
		(packet->flags & USH_PACKET_CONTROL) != 0)
		return false;
	/* More than the headers, but of a size known here. */
	memcpy(entry->frame, packet->data, USH_ACK_HEADER_BYTES);
	*moved = *packet;
	moved->data = entry->frame;
	moved->capacity = USH_PACKET_KEPT_BYTES;
	moved->handle = NULL;
	return true;
}

/* Room must have been found. A lower sequence than the one before waits as long as that one. */
USH_INLINE void ush_acks_push(
	struct ush_acks *acks, const struct ush_packet *packet, uint64_t sequence)
{
	struct ush_ack_waiting *entry = ush_acks_next(acks);

	acks->tail++;
	entry->sequence = sequence;
	entry->handle = packet->handle;
	entry->data = packet->data;
	USH_ASSERT(packet->size <= UINT16_MAX);
	entry->size = (uint16_t)packet->size;
	entry->payload_at = packet->payload_at;
	entry->port = packet->port;
	entry->flags = (uint8_t)packet->flags;
	entry->family = packet->family;
}

/* Moves up to `max` replies that rest on sequences below `durable` to out; those without handle
 * stay readable until the next push. ret: how many. */
USH_INLINE uint32_t ush_acks_pop(
	struct ush_acks *acks, uint64_t durable, struct ush_packet *out, uint32_t max)
{
	uint32_t count = 0;

	while (count < max && acks->head != acks->tail) {
		const struct ush_ack_waiting *entry = &acks->ring[acks->head & acks->mask];
		if (entry->sequence >= durable)
			break;
		if (ush_unlikely(entry->handle != NULL)) {
			/* Written a disk write ago, so out of the near caches by now. */
			USH_PREFETCH_WRITE(entry->handle);
			USH_PREFETCH(entry->data);
			USH_PREFETCH(entry->data + USH_CACHE_LINE);
		}
		out[count++] = (struct ush_packet){
			.data = entry->data,
			.size = entry->size,
			.handle = entry->handle,
			.flags = entry->flags,
			.port = entry->port,
			.payload_at = entry->payload_at,
			.family = entry->family,
		};
		acks->head++;
	}
	return count;
}

#endif /* USH_ACK_H */
