/* SPDX-License-Identifier: Apache-2.0 */
#include "parse/pack.h"

#include "wire/wire.h"

enum {
	IPV4_TOTAL_AT = USH_ETHER_BYTES + 2,
	IPV4_CHECKSUM_AT = USH_ETHER_BYTES + 10,
	IPV4_ADDRESSES_AT = USH_ETHER_BYTES + 12,
	IPV6_LENGTH_AT = USH_ETHER_BYTES + 4,
	IPV6_ADDRESSES_AT = USH_ETHER_BYTES + 8,
	HEADERS_MAX = USH_ETHER_BYTES + USH_IPV6_BYTES + USH_UDP_BYTES,
};

static void store16_be(uint8_t *to, uint32_t value)
{
	uint16_t be = __builtin_bswap16((uint16_t)value);

	memcpy(to, &be, sizeof(be));
}

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

/* Lengths of the headers before a payload of so many bytes. */
static void put_lengths(uint8_t *data, uint32_t payload_at, uint8_t family, uint32_t payload_bytes)
{
	uint32_t l4_bytes = USH_UDP_BYTES + payload_bytes;

	if (family == 4)
		store16_be(data + IPV4_TOTAL_AT, payload_at - USH_ETHER_BYTES + payload_bytes);
	else
		store16_be(data + IPV6_LENGTH_AT, l4_bytes);
	store16_be(data + payload_at - 4, l4_bytes);
}

uint32_t ush_pack_part(const struct ush_packet *frame, uint32_t at, uint8_t *to, uint32_t room,
	struct ush_packet *part)
{
	uint32_t bytes = ush_pack_bytes(frame, at), size = frame->payload_at + bytes;

	USH_ASSERT(size <= room);
	if (ush_likely(bytes == USH_REQUEST_BYTES)) {
		/* Sizes known here. Headers are shorter, and the message comes over the rest. */
		static_assert(
			HEADERS_MAX <= USH_REQUEST_BYTES, "headers and a message in 128 bytes");
		memcpy(to, frame->data, USH_REQUEST_BYTES);
		memcpy(to + frame->payload_at, frame->data + frame->payload_at + at,
			USH_REQUEST_BYTES);
	} else {
		memcpy(to, frame->data, frame->payload_at);
		memcpy(to + frame->payload_at, frame->data + frame->payload_at + at, bytes);
	}
	*part = (struct ush_packet){
		.data = to,
		.size = size,
		.capacity = room,
		.flags = USH_PACKET_PACKED,
		.port = frame->port,
		.payload_at = frame->payload_at,
		.family = frame->family,
	};
	return bytes;
}

static bool same_peer(const struct ush_packet *a, const struct ush_packet *b)
{
	if (a->payload_at != b->payload_at || a->family != b->family || a->port != b->port)
		return false;
	if (a->family == 4)
		return ush_parse_load64(a->data + IPV4_ADDRESSES_AT) ==
			       ush_parse_load64(b->data + IPV4_ADDRESSES_AT) &&
		       ush_parse_load32(a->data + a->payload_at - USH_UDP_BYTES) ==
			       ush_parse_load32(b->data + b->payload_at - USH_UDP_BYTES) &&
		       (ush_parse_load64(a->data) ^ ush_parse_load64(b->data)) << 16 == 0;
	return memcmp(a->data, b->data, 6) == 0 &&
	       memcmp(a->data + IPV6_ADDRESSES_AT, b->data + IPV6_ADDRESSES_AT, 32) == 0 &&
	       memcmp(a->data + a->payload_at - USH_UDP_BYTES,
		       b->data + b->payload_at - USH_UDP_BYTES, 4) == 0;
}

bool ush_pack_fits(const struct ush_packet *to, const struct ush_packet *reply)
{
	uint32_t size = to->size + reply->size - reply->payload_at;

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
	uint8_t *data = packet->data, *udp = data + packet->payload_at - USH_UDP_BYTES;
	uint32_t payload_bytes = packet->size - packet->payload_at;
	uint32_t l4_be = __builtin_bswap16((uint16_t)(USH_UDP_BYTES + payload_bytes));
	uint64_t pseudo;
	uint16_t sum;

	put_lengths(data, packet->payload_at, packet->family, payload_bytes);
	if (packet->family == 4) {
		memset(data + IPV4_CHECKSUM_AT, 0, 2);
		if (!net->checksum_tx_offload) {
			sum = (uint16_t)~ush_parse_sum_fold(
				ush_parse_sum(0, data + USH_ETHER_BYTES, USH_IPV4_BYTES));
			memcpy(data + IPV4_CHECKSUM_AT, &sum, 2);
		}
		pseudo = ush_parse_sum(0, data + IPV4_ADDRESSES_AT, 8);
	} else {
		pseudo = ush_parse_sum(0, data + IPV6_ADDRESSES_AT, 32);
	}
	pseudo += ((uint32_t)USH_UDP_PROTOCOL << 8) + l4_be;
	memset(udp + 6, 0, 2);
	if (net->checksum_tx_offload)
		sum = ush_parse_sum_fold(pseudo);
	else
		sum = (uint16_t)ush_parse_udp_checksum(
			ush_parse_sum(pseudo, udp, USH_UDP_BYTES + payload_bytes));
	memcpy(udp + 6, &sum, 2);
}
