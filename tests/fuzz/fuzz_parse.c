/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzes the frame parser: the first byte picks checksum mode and device flags, the rest is the
 * frame. A request is answered at the largest payload, and the answer must parse as a request from
 * the client's side with all checksums verified. A datagram of several is cut, each answered with a
 * base reply, and the replies are put together.
 *
 * Owns:  its copies of the input.
 * Reads: nothing.
 * Never: DPDK.
 */
#include <stdlib.h>
#include <string.h>

#include "parse/pack.h"
#include "wire/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void net_init(struct ush_net *net)
{
	static const uint8_t mac[6] = {0x02, 0x11, 0x22, 0x33, 0x44, 0x55};
	static const uint8_t ipv4[4] = {10, 77, 0, 1};
	static const uint8_t ipv6[16] = {0xfd, 0x77, [15] = 1};

	memset(net, 0, sizeof(*net));
	memcpy(net->mac, mac, 6);
	net->has_ipv4 = true;
	net->has_ipv6 = true;
	memcpy(&net->ipv4_be, ipv4, 4);
	memcpy(net->ipv6, ipv6, 16);
	net->udp_port_be = __builtin_bswap16(USH_UDP_PORT);
	ush_net_link_address(net);
}

/* Parses the reply in `packet` as the client that it is addressed to. */
static void parse_as_client(
	const struct ush_net *net, const struct ush_packet *reply, uint32_t bytes)
{
	struct ush_net client = *net;
	struct ush_packet packet = *reply;
	const uint8_t *ip = reply->data + 14;
	uint32_t payload_bytes, detail;

	memcpy(client.mac, reply->data, 6);
	ush_net_link_address(&client);
	memcpy(&client.udp_port_be, reply->data + reply->payload_at - 6, 2);
	if (reply->family == 4)
		memcpy(&client.ipv4_be, ip + 16, 4);
	else
		memcpy(client.ipv6, ip + 24, 16);
	client.checksum_rx = USH_CHECKSUM_RX_VERIFY;
	packet.flags = 0;
	USH_ASSERT(ush_parse_frame(&client, &packet, &payload_bytes, &detail) == USH_PARSE_REQUEST);
	USH_ASSERT(payload_bytes == bytes);
	USH_ASSERT(packet.payload_at == reply->payload_at);
}

/* Makes most of it a payload of several messages. */
static void mend(uint8_t *payload, uint32_t bytes)
{
	const uint16_t magic = USH_REQUEST_MAGIC;
	uint32_t at = 0;

	while (bytes - at >= USH_REQUEST_BYTES) {
		uint16_t size = (uint16_t)(USH_REQUEST_BYTES + payload[at] % 5 * 8u);

		if (payload[at + 1] != 0)
			memcpy(payload + at, &magic, 2);
		if (bytes - at < size + USH_REQUEST_BYTES)
			size = (uint16_t)(bytes - at);
		if (payload[at + 2] != 0)
			memcpy(payload + at + 4, &size, 2);
		at += size;
	}
}

/* A frame that is for us around a payload. ret: its size. */
static uint32_t put_frame(uint8_t *frame, const struct ush_net *net, uint8_t family,
	const uint8_t *payload, uint32_t bytes)
{
	static const uint8_t head[12] = {[6] = 0x02, 1, 1, 1, 1, 1};
	uint32_t at = family == 4 ? 34 : 54;

	memset(frame, 0, at + 8);
	memcpy(frame, head, sizeof(head));
	memcpy(frame, net->mac, 6);
	if (family == 4) {
		memcpy(frame + 12, "\x08\x00\x45", 3);
		frame[16] = (uint8_t)((28 + bytes) >> 8);
		frame[17] = (uint8_t)(28 + bytes);
		memcpy(frame + 22, "\x40\x11\x00\x00\x0a\x4d\x00\x02", 8);
		memcpy(frame + 30, &net->ipv4_be, 4);
	} else {
		memcpy(frame + 12, "\x86\xdd\x60", 3);
		frame[18] = (uint8_t)((8 + bytes) >> 8);
		frame[19] = (uint8_t)(8 + bytes);
		memcpy(frame + 20, "\x11\x40\xfd\x77", 4);
		frame[37] = 2;
		memcpy(frame + 38, net->ipv6, 16);
	}
	frame[at] = 0x30;
	memcpy(frame + at + 2, &net->udp_port_be, 2);
	frame[at + 4] = (uint8_t)((8 + bytes) >> 8);
	frame[at + 5] = (uint8_t)(8 + bytes);
	frame[at + 6] = 1;
	memcpy(frame + at + 8, payload, bytes);
	return at + 8 + bytes;
}

static void take_apart(
	const struct ush_net *net, const struct ush_packet *frame, uint32_t payload_bytes)
{
	uint32_t count = ush_pack_count(frame->data + frame->payload_at, payload_bytes), at = 0;
	uint32_t room = frame->payload_at + USH_PAYLOAD_BYTES_MAX, made = 0;
	uint8_t *base, *copy;
	struct ush_packet joined = {0};

	USH_ASSERT(count >= 1 && count <= USH_PAYLOAD_BYTES_MAX / USH_REQUEST_BYTES);
	/* What looks like one at a glance is. */
	USH_ASSERT(count == 1 || ush_pack_glance(frame));
	if (count == 1)
		return;
	base = malloc(room);
	copy = malloc(room);
	if (base == NULL || copy == NULL)
		abort();
	while (at < payload_bytes) {
		struct ush_packet part;

		/* Base messages are answered in their place, others in memory of their own. */
		if (ush_pack_bytes(frame, at) == USH_REQUEST_BYTES)
			at += ush_pack_part(frame, at, &part);
		else
			at += ush_pack_part_copy(frame, at, copy, room, &part);
		USH_ASSERT(part.size <= part.capacity);
		memset(part.data + part.payload_at, (int)made, USH_REPLY_BYTES);
		part.size = part.payload_at + USH_REPLY_BYTES;
		if (made++ == 0) {
			joined = part;
			ush_pack_move(&joined, base, room);
			continue;
		}
		USH_ASSERT(ush_pack_fits(&joined, &part));
		ush_pack_add(&joined, &part);
	}
	USH_ASSERT(made == count && at == payload_bytes);
	ush_pack_end(net, &joined);
	parse_as_client(net, &joined, count * USH_REPLY_BYTES);
	free(base);
	free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* UDP payload of the reply: the largest of the protocol. */
	const uint32_t bytes = USH_PAYLOAD_BYTES_MAX;
	enum ush_parse_verdict verdict;
	struct ush_packet packet;
	uint32_t payload_bytes, detail;
	struct ush_net net;
	uint8_t control, *base;
	bool framed;

	if (size < 1 || size > 2049)
		return 0;
	control = data[0];
	net_init(&net);
	net.checksum_rx = (uint8_t)((control & 3) % 3);
	memset(&packet, 0, sizeof(packet));
	packet.size = (uint32_t)size - 1;
	packet.flags = (uint16_t)(control >> 4);
	/* Half of them are payloads: headers that are right come around them. */
	framed = (control & 4) != 0;
	base = malloc(packet.size + (framed ? 63u : 1u));
	if (base == NULL)
		abort();
	/* One byte in, so that fields are not aligned. */
	packet.data = base + 1;
	if (framed) {
		uint8_t family = (control & 8) != 0 ? 4 : 6;

		packet.size = put_frame(packet.data, &net, family, data + 1, packet.size);
		mend(packet.data + (family == 4 ? 42 : 62), (uint32_t)size - 1);
		packet.flags = USH_PACKET_IP_CHECKSUM_GOOD | USH_PACKET_L4_CHECKSUM_GOOD;
	} else {
		memcpy(packet.data, data + 1, packet.size);
	}
	/* Exactly as large as the frame, then with room for a reply. */
	packet.capacity = packet.size;
	verdict = ush_parse_frame(&net, &packet, &payload_bytes, &detail);
	USH_ASSERT(!framed || verdict == USH_PARSE_REQUEST);
	USH_ASSERT(verdict != USH_PARSE_DROPPED || detail < USH_DROP_COUNT);
	USH_ASSERT(verdict != USH_PARSE_ANSWERED || detail < USH_ANSWER_COUNT);
	if (verdict == USH_PARSE_REQUEST) {
		uint8_t *large = malloc(packet.payload_at + bytes);

		if (large == NULL)
			abort();
		USH_ASSERT(packet.payload_at + payload_bytes <= packet.size);
		take_apart(&net, &packet, payload_bytes);
		memcpy(large, packet.data, packet.payload_at);
		memset(large + packet.payload_at, control, bytes);
		free(base);
		base = large;
		packet.data = large;
		packet.capacity = packet.payload_at + bytes;
		ush_parse_reply(&net, packet.data, &packet, bytes,
			ush_parse_sum(0, packet.data + packet.payload_at, bytes));
		USH_ASSERT(packet.size == packet.payload_at + bytes);
		parse_as_client(&net, &packet, bytes);
	}
	free(base);
	return 0;
}
