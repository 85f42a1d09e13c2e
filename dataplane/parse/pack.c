/* SPDX-License-Identifier: Apache-2.0 */
#include "parse/pack.h"

#include "wire/wire.h"

enum {
	MACS_AT = 4,
	IPV4_ADDRESSES_AT = USH_ETHER_BYTES + 12,
	IPV6_ADDRESSES_AT = USH_ETHER_BYTES + 8,
	HEADERS_MAX = USH_ETHER_BYTES + USH_IPV6_BYTES + USH_UDP_BYTES,
};
static_assert(HEADERS_MAX <= USH_REQUEST_BYTES, "headers are copied in 64 bytes");
static_assert(HEADERS_MAX + USH_REPLY_BYTES <= USH_PACKET_KEPT_BYTES, "a base reply is kept");

static uint32_t message_bytes(const uint8_t *message)
{
	return ush_parse_load16(message + offsetof(struct ush_request, size));
}

uint32_t ush_pack_count(const uint8_t *payload, uint32_t payload_bytes)
{
	uint32_t at = 0, count = 0;

	if (ush_likely(payload_bytes < 2 * USH_REQUEST_BYTES) ||
		payload_bytes > USH_PAYLOAD_BYTES_MAX || message_bytes(payload) == payload_bytes)
		return 1;
	while (at < payload_bytes) {
		uint32_t bytes;

		if (payload_bytes - at < USH_REQUEST_BYTES ||
			ush_parse_load16(payload + at) != USH_REQUEST_MAGIC)
			return 1;
		bytes = message_bytes(payload + at);
		if (bytes < USH_REQUEST_BYTES || bytes > payload_bytes - at)
			return 1;
		at += bytes;
		count++;
	}
	return count;
}

uint32_t ush_pack_part(const struct ush_packet *frame, uint32_t at, struct ush_packet *part)
{
	uint32_t bytes = ush_pack_bytes(frame, at), payload_at = frame->payload_at + at;

	USH_ASSERT(payload_at + bytes <= frame->size);
	*part = (struct ush_packet){
		.data = frame->data,
		.size = payload_at + bytes,
		.capacity = payload_at + bytes,
		.flags = USH_PACKET_PACKED,
		.port = frame->port,
		.payload_at = (uint16_t)payload_at,
		.family = frame->family,
		.spare = (uint8_t)frame->payload_at,
	};
	return bytes;
}

uint32_t ush_pack_part_copy(const struct ush_packet *frame, uint32_t at, uint8_t *to, uint32_t room,
	struct ush_packet *part)
{
	uint32_t bytes = ush_pack_part(frame, at, part);

	USH_ASSERT(frame->payload_at + bytes <= room);
	memcpy(to, frame->data, frame->payload_at);
	memcpy(to + frame->payload_at, frame->data + part->payload_at, bytes);
	part->data = to;
	part->size = frame->payload_at + bytes;
	part->capacity = room;
	part->payload_at = frame->payload_at;
	return bytes;
}

void ush_pack_move(struct ush_packet *reply, uint8_t *to, uint32_t room)
{
	USH_ASSERT(reply->size == reply->payload_at + USH_REPLY_BYTES);
	USH_ASSERT(room >= USH_PACKET_KEPT_BYTES);
	/* The headers, in a size known here; the payload comes over the rest. */
	memcpy(to, reply->data, USH_REPLY_BYTES);
	memcpy(to + reply->spare, reply->data + reply->payload_at, USH_REPLY_BYTES);
	reply->data = to;
	reply->size = reply->spare + USH_REPLY_BYTES;
	reply->capacity = room;
	reply->payload_at = reply->spare;
}

static bool same_peer(const struct ush_packet *a, const struct ush_packet *b)
{
	uint32_t ports_at = (uint32_t)a->spare - USH_UDP_BYTES;

	/* Of the same datagram, mostly; from one MAC, or answers would go to another. */
	if (a->family != b->family || a->port != b->port ||
		(ush_parse_load64(a->data + MACS_AT) ^ ush_parse_load64(b->data + MACS_AT)) >> 16 !=
			0 ||
		ush_parse_load32(a->data + ports_at) != ush_parse_load32(b->data + ports_at))
		return false;
	if (ush_likely(a->family == 4))
		return ush_parse_load64(a->data + IPV4_ADDRESSES_AT) ==
		       ush_parse_load64(b->data + IPV4_ADDRESSES_AT);
	return memcmp(a->data + IPV6_ADDRESSES_AT, b->data + IPV6_ADDRESSES_AT, 32) == 0;
}

bool ush_pack_fits(const struct ush_packet *to, const struct ush_packet *reply)
{
	uint32_t size = to->size + reply->size - reply->payload_at;

	USH_ASSERT(to->payload_at == to->spare);
	return size <= to->payload_at + USH_PAYLOAD_BYTES_MAX && size <= to->capacity &&
	       same_peer(to, reply);
}

void ush_pack_add(struct ush_packet *to, const struct ush_packet *reply)
{
	uint32_t bytes = reply->size - reply->payload_at;

	USH_ASSERT(to->size + bytes <= to->capacity);
	if (ush_likely(bytes == USH_REPLY_BYTES))
		memcpy(to->data + to->size, reply->data + reply->payload_at, USH_REPLY_BYTES);
	else
		memcpy(to->data + to->size, reply->data + reply->payload_at, bytes);
	to->size += bytes;
}

void ush_pack_end(const struct ush_net *net, struct ush_packet *packet)
{
	uint32_t bytes = packet->size - packet->payload_at;

	/* A device that fills checksums in does not need the payload's. */
	ush_parse_reply(net, packet->data, packet, bytes,
		net->checksum_tx_offload
			? 0
			: ush_parse_sum(0, packet->data + packet->payload_at, bytes));
}
