/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One received frame, or one control message, as the stages see it.
 *
 * Owns:  nothing; the memory belongs to whoever received it (dataplane/port, or a test).
 * Reads: nothing.
 * Never: DPDK types.
 */
#ifndef USH_PACKET_H
#define USH_PACKET_H

#include <stdint.h>

/* flags: what the receiver already knows of the checksums, and where the packet came from. */
enum ush_packet_flag {
	USH_PACKET_IP_CHECKSUM_GOOD = 1,
	USH_PACKET_IP_CHECKSUM_BAD = 2,
	USH_PACKET_L4_CHECKSUM_GOOD = 4,
	USH_PACKET_L4_CHECKSUM_BAD = 8,
	/* data is a bare request from the control port: no frame around it, privileged. */
	USH_PACKET_CONTROL = 16,
	/* control only: `attachment` is a struct ush_event built for EVENT_LOAD, or NULL. */
	USH_PACKET_ATTACHED = 32,
	/* One message of a datagram of several, which was parsed already: the datagram's headers
	 * stand at `data`, the message at payload_at, perhaps behind others; family and spare are
	 * set. Its reply has its request's headers until it leaves, perhaps with others. */
	USH_PACKET_PACKED = 64,
};

/* Bytes that can be read at the data of a reply that the loop kept itself: every reply of
 * USH_REPLY_BYTES over IPv4 or IPv6, with room for a tag or two in front. */
#define USH_PACKET_KEPT_BYTES 128u

struct ush_packet {
	/* Start of the Ethernet frame (public port) or of the request (control port). */
	uint8_t *data;
	/* Bytes received; after an answer: bytes to send. */
	uint32_t size;
	/* Bytes that may be written from `data` on. */
	uint32_t capacity;
	/* The receiver's own: mbuf, control message. The stages only carry it. NULL: `data` is the
	 * loop's own, USH_PACKET_KEPT_BYTES of a reply that it kept, or a datagram's of which
	 * this is a message; to be copied before the loop's next turn, never handed back. */
	void *handle;
	/* See USH_PACKET_ATTACHED. */
	void *attachment;
	uint16_t flags;
	/* The receiver's own: where the answer goes. */
	uint16_t port;
	/* Left by the parse stage for the reply: offset of the payload from `data`. */
	uint16_t payload_at;
	/* Left by the parse stage: 4 or 6; 0 for a control message. */
	uint8_t family;
	/* USH_PACKET_PACKED: bytes of the headers at `data`. Else left by the loop in an answer
	 * that is no reply of this protocol: enum ush_answer. */
	uint8_t spare;
};

/* ret: where the payload stands once the reply has left its packet: behind the headers. */
static inline uint16_t ush_packet_head_bytes(const struct ush_packet *packet)
{
	return (packet->flags & USH_PACKET_PACKED) != 0 ? packet->spare : packet->payload_at;
}

#endif /* USH_PACKET_H */
