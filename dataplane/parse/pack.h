/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Datagrams of several messages: cut into one packet for each message, and replies put together
 * again.
 *
 * Owns:  nothing.
 * Reads: sizes of messages, headers of frames.
 * Never: judges a message; the stages behind it take each as if it had come alone.
 */
#ifndef USH_PACK_H
#define USH_PACK_H

#include "parse/parse.h"

/* ret: bytes of the message at `at` of the payload of a packet. */
USH_INLINE uint32_t ush_pack_bytes(const struct ush_packet *packet, uint32_t at)
{
	return ush_parse_load16(packet->data + packet->payload_at + at + 4);
}

/* ret: false if a frame surely holds no more than one message: most do. */
USH_INLINE bool ush_pack_glance(const struct ush_packet *frame)
{
	const uint8_t *data = frame->data;
	uint32_t at = USH_ETHER_BYTES + USH_UDP_BYTES;
	uint16_t type;

	if (ush_likely(frame->size < 170))
		return false;
	type = ush_parse_load16(data + 12);
	if (type == 0x0008 && data[23] == USH_UDP_PROTOCOL)
		at += USH_IPV4_BYTES;
	else if (type == 0xdd86 && data[20] == USH_UDP_PROTOCOL)
		at += USH_IPV6_BYTES;
	else
		return false;
	return ush_parse_load16(data + at + 4) < frame->size - at;
}

/*
 * ret: how many messages the payload of a datagram is cut into by their size fields: 2 to 22 when
 * these add up to the payload and each message has at least the 64 bytes and the magic of a
 * request; else 1: whatever it is, it is looked at whole.
 */
uint32_t ush_pack_count(const uint8_t *payload, uint32_t payload_bytes);

/*
 * Makes a packet, USH_PACKET_PACKED, of the message at `at` of a datagram that ush_parse_frame took
 * and that ush_pack_count cuts. It stands where it came, and its reply, which may be as long as the
 * message, goes over it.
 * out: part: all but handle. ret: bytes of the message. by: the loop that received it.
 */
uint32_t ush_pack_part(const struct ush_packet *frame, uint32_t at, struct ush_packet *part);

/* The same in memory of its own, of which `room` bytes may be written: for a longer reply. */
uint32_t ush_pack_part_copy(const struct ush_packet *frame, uint32_t at, uint8_t *to, uint32_t room,
	struct ush_packet *part);

/* Moves a base reply, USH_PACKET_PACKED, to memory of which `room` bytes may be written. */
void ush_pack_move(struct ush_packet *reply, uint8_t *to, uint32_t room);

/* ret: true if ush_pack_add may add `reply` to `to`: the same peer, and room. in: to: its payload
 * stands behind its headers. */
bool ush_pack_fits(const struct ush_packet *to, const struct ush_packet *reply);

/* Adds the payload of a reply to that of another one. */
void ush_pack_add(struct ush_packet *to, const struct ush_packet *reply);

/* Makes the headers of the request, behind which one reply stands or several do, those of a
 * datagram back to where it came from. */
void ush_pack_end(const struct ush_net *net, struct ush_packet *packet);

#endif /* USH_PACK_H */
