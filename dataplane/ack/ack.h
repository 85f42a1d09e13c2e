/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Replies that wait for durability: a first-in first-out queue per loop.
 *
 * Owns:  the queue.
 * Reads: the durable sequence handed in.
 * Never: I/O.
 */
#ifndef USH_ACK_H
#define USH_ACK_H

#include "base/base.h"
#include "base/packet.h"

/* Replies in a chunk. */
#define USH_ACK_CHUNK 64u

struct ush_ack_waiting {
	/* Without handle when the frame stands beside it. */
	struct ush_packet packet;
	/* Leaves when everything up to and including this sequence is durable. */
	uint64_t sequence;
};
static_assert(sizeof(struct ush_ack_waiting) == 48, "four entries take three cache lines");

/* Chunks of a queue are taken from a stack as it grows and put back as it shrinks: however many
 * may wait, only memory for those that do is touched, and touched again while it is warm. */
struct ush_ack_chunk {
	struct ush_ack_waiting waiting[USH_ACK_CHUNK];
	uint8_t frame[USH_ACK_CHUNK][USH_PACKET_KEPT_BYTES];
	/* The one behind it: in the queue, or on the stack. */
	_Alignas(USH_CACHE_LINE) struct ush_ack_chunk *next;
};

struct ush_acks {
	struct ush_ack_chunk *head;
	struct ush_ack_chunk *tail;
	/* Entry of `head` that leaves next; entry of `tail` that is filled next. */
	uint32_t head_at;
	uint32_t tail_at;
	uint32_t count;
	uint32_t count_max;
	struct ush_ack_chunk *free;
};

/* ret: bytes for `count` entries: they may begin and end in the middle of a chunk. */
USH_INLINE size_t ush_acks_bytes(uint32_t count)
{
	return ((size_t)count / USH_ACK_CHUNK + 2) * sizeof(struct ush_ack_chunk);
}

/* in: memory: ush_acks_bytes(count), 64-byte aligned. */
USH_INLINE void ush_acks_init(struct ush_acks *acks, void *memory, uint32_t count)
{
	struct ush_ack_chunk *chunks = memory;

	acks->free = NULL;
	/* Downwards, so that low ones are used first and memory stays dense. */
	for (uint32_t i = count / USH_ACK_CHUNK + 1; i > 0; i--) {
		chunks[i].next = acks->free;
		acks->free = &chunks[i];
	}
	acks->head = acks->tail = chunks;
	acks->head_at = acks->tail_at = 0;
	acks->count = 0;
	acks->count_max = count;
}

USH_INLINE uint32_t ush_acks_count(const struct ush_acks *acks)
{
	return acks->count;
}

USH_INLINE uint32_t ush_acks_room(const struct ush_acks *acks)
{
	return acks->count_max - acks->count;
}

/* ret: true if a reply of so many bytes may leave its packet: it stands in the queue then, and the
 * packet is free at once. The buffer of a reply would be cold, and its page out of the TLB, after a
 * disk write. false: too long, or a control message. */
USH_INLINE bool ush_acks_keeps(const struct ush_packet *packet, uint32_t reply_bytes)
{
	return ush_packet_head_bytes(packet) + reply_bytes <= USH_PACKET_KEPT_BYTES &&
	       (packet->flags & USH_PACKET_CONTROL) == 0;
}

/* ret: the entry that is filled next, now part of the queue; *frame: its frame. */
USH_INLINE struct ush_ack_waiting *ush_acks_take(struct ush_acks *acks, uint8_t **frame)
{
	struct ush_ack_chunk *chunk = acks->tail;
	uint32_t at = acks->tail_at;

	USH_ASSERT(acks->count < acks->count_max);
	acks->count++;
	if (ush_unlikely(at == USH_ACK_CHUNK)) {
		struct ush_ack_chunk *next = acks->free;

		USH_ASSERT(next != NULL);
		acks->free = next->next;
		chunk->next = next;
		acks->tail = chunk = next;
		at = 0;
	}
	acks->tail_at = at + 1;
	*frame = chunk->frame[at];
	return &chunk->waiting[at];
}

/*
 * The reply waits in its packet. Room must have been found. A lower sequence than the one before
 * waits as long as that one. ret: the packet in the queue.
 */
USH_INLINE struct ush_packet *ush_acks_push(
	struct ush_acks *acks, const struct ush_packet *packet, uint64_t sequence)
{
	uint8_t *frame;
	struct ush_ack_waiting *entry = ush_acks_take(acks, &frame);

	entry->packet = *packet;
	entry->sequence = sequence;
	return &entry->packet;
}

/*
 * The same for a reply that leaves its packet (ush_acks_keeps). ret: the packet in the queue, whose
 * frame, USH_PACKET_KEPT_BYTES at `data`, is to be written.
 */
USH_INLINE struct ush_packet *ush_acks_push_kept(
	struct ush_acks *acks, const struct ush_packet *packet, uint64_t sequence)
{
	uint8_t *frame;
	struct ush_ack_waiting *entry = ush_acks_take(acks, &frame);

	entry->packet = (struct ush_packet){
		.data = frame,
		.capacity = USH_PACKET_KEPT_BYTES,
		.flags = packet->flags,
		.port = packet->port,
		.payload_at = ush_packet_head_bytes(packet),
		.family = packet->family,
		.spare = packet->spare,
	};
	entry->sequence = sequence;
	return &entry->packet;
}

/* Moves up to `max` replies that rest on sequences below `durable` to out; those without handle
 * stay readable until the next push. ret: how many. */
USH_INLINE uint32_t ush_acks_pop(
	struct ush_acks *acks, uint64_t durable, struct ush_packet *out, uint32_t max)
{
	uint32_t count = 0;

	if (max > acks->count)
		max = acks->count;
	while (count < max) {
		if (ush_unlikely(acks->head_at == USH_ACK_CHUNK)) {
			struct ush_ack_chunk *done = acks->head;

			acks->head = done->next;
			acks->head_at = 0;
			done->next = acks->free;
			acks->free = done;
		}
		const struct ush_ack_waiting *entry = &acks->head->waiting[acks->head_at];
		if (entry->sequence >= durable)
			break;
		/* Written a disk write ago, so out of the near caches by now. */
		if (ush_unlikely(entry->packet.handle != NULL))
			USH_PREFETCH_WRITE(entry->packet.handle);
		USH_PREFETCH(entry->packet.data);
		USH_PREFETCH(entry->packet.data + USH_CACHE_LINE);
		out[count++] = entry->packet;
		acks->head_at++;
	}
	acks->count -= count;
	/* Nobody waits: begin again with the same entries. */
	if (acks->count == 0 && acks->head == acks->tail)
		acks->head_at = acks->tail_at = 0;
	return count;
}

#endif /* USH_ACK_H */
