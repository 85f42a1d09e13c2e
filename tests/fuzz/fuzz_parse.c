/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzes the frame parser: the first byte picks checksum mode and device flags, the rest is the
 * frame. A request is answered at the largest payload, and the answer must parse as a request from
 * the client's side with all checksums verified.
 *
 * Owns:  its copies of the input.
 * Reads: nothing.
 * Never: DPDK.
 */
#include <stdlib.h>
#include <string.h>

#include "parse/parse.h"
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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* UDP payload of the reply: the largest of the protocol. */
	const uint32_t bytes = USH_PAYLOAD_BYTES_MAX;
	enum ush_parse_verdict verdict;
	struct ush_packet packet;
	uint32_t payload_bytes, detail;
	struct ush_net net;
	uint8_t control, *base;

	if (size < 1 || size > 2049)
		return 0;
	control = data[0];
	net_init(&net);
	net.checksum_rx = (uint8_t)((control & 3) % 3);
	memset(&packet, 0, sizeof(packet));
	packet.size = (uint32_t)size - 1;
	packet.flags = (uint16_t)(control >> 4);
	/* Exactly as large as the frame, then with room for a reply. */
	packet.capacity = packet.size;
	base = malloc(packet.size + 1u);
	if (base == NULL)
		abort();
	/* One byte in, so that fields are not aligned. */
	packet.data = base + 1;
	memcpy(packet.data, data + 1, packet.size);
	verdict = ush_parse_frame(&net, &packet, &payload_bytes, &detail);
	USH_ASSERT(verdict != USH_PARSE_DROPPED || detail < USH_DROP_COUNT);
	USH_ASSERT(verdict != USH_PARSE_ANSWERED || detail < USH_ANSWER_COUNT);
	if (verdict == USH_PARSE_REQUEST) {
		uint8_t *large = malloc(packet.payload_at + bytes);

		if (large == NULL)
			abort();
		USH_ASSERT(packet.payload_at + payload_bytes <= packet.size);
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
