/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Datagrams of several messages, cut and put together: against a plain list of messages, over IPv4
 * and IPv6, at odd addresses, with what does not cut.
 *
 * Owns:  its frames.
 * Reads: nothing.
 * Never: DPDK.
 */
#include <string.h>

#include "base/base.h"
#include "parse/pack.h"
#include "tap.h"
#include "wire/wire.h"

#define MESSAGES_MAX (USH_PAYLOAD_BYTES_MAX / USH_REQUEST_BYTES)
#define HEADERS_MAX 62u

static const uint8_t our_mac[6] = {0x02, 0x11, 0x22, 0x33, 0x44, 0x55};
static const uint8_t peer_mac[6] = {0x02, 0xaa, 0xbb, 0xcc, 0xdd, 0xee};
static struct ush_net net;
static uint64_t seed;

static uint32_t draw(uint32_t below)
{
	seed = seed * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)((seed >> 33) % below);
}

/* What a datagram is made of. */
struct list {
	uint32_t count;
	uint32_t bytes[MESSAGES_MAX];
	uint8_t message[MESSAGES_MAX][USH_PAYLOAD_BYTES_MAX];
};

static void put16(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static void add_message(struct list *list, uint32_t bytes, uint16_t magic)
{
	uint8_t *message = list->message[list->count];
	uint16_t size = (uint16_t)bytes;

	for (uint32_t i = 0; i < bytes; i++)
		message[i] = (uint8_t)draw(256);
	memcpy(message, &magic, 2);
	memcpy(message + 4, &size, 2);
	list->bytes[list->count++] = bytes;
}

/* ret: bytes of all. */
static uint32_t draw_list(struct list *list, uint16_t magic)
{
	uint32_t left = USH_PAYLOAD_BYTES_MAX, wanted = 2 + draw(MESSAGES_MAX - 1);
	bool small = draw(2) == 0;

	list->count = 0;
	while (list->count < wanted && left >= USH_REQUEST_BYTES) {
		uint32_t more = (left - USH_REQUEST_BYTES) / 8;
		uint32_t bytes = USH_REQUEST_BYTES +
				 8 * (small || more == 0 ? 0 : draw((more < 30 ? more : 30) + 1));

		add_message(list, bytes, magic);
		left -= bytes;
	}
	return USH_PAYLOAD_BYTES_MAX - left;
}

/* A frame from the peer to us, without checksums. ret: where its payload goes. */
static uint32_t put_headers(uint8_t *f, uint8_t family, uint32_t payload_bytes)
{
	static const uint8_t ip4[2][4] = {{10, 77, 0, 2}, {10, 77, 0, 1}};
	static const uint8_t ip6[2][16] = {{0xfd, 0x77, [15] = 2}, {0xfd, 0x77, [15] = 1}};
	uint32_t l4 = 8 + payload_bytes, at = family == 4 ? 34 : 54;

	memset(f, 0, at + 8);
	memcpy(f, our_mac, 6);
	memcpy(f + 6, peer_mac, 6);
	if (family == 4) {
		put16(f + 12, 0x0800);
		f[14] = 0x45;
		put16(f + 16, 20 + l4);
		f[22] = 64;
		f[23] = 17;
		memcpy(f + 26, ip4[0], 4);
		memcpy(f + 30, ip4[1], 4);
	} else {
		put16(f + 12, 0x86dd);
		f[14] = 0x60;
		put16(f + 18, l4);
		f[20] = 17;
		f[21] = 64;
		memcpy(f + 22, ip6[0], 16);
		memcpy(f + 38, ip6[1], 16);
	}
	put16(f + at, 40000);
	put16(f + at + 2, USH_UDP_PORT);
	put16(f + at + 4, l4);
	return at + 8;
}

static struct ush_packet put_datagram(
	uint8_t *f, uint32_t capacity, uint8_t family, const struct list *list, uint32_t bytes)
{
	uint32_t at = put_headers(f, family, bytes);

	for (uint32_t i = 0; i < list->count; at += list->bytes[i++])
		memcpy(f + at, list->message[i], list->bytes[i]);
	/* Vouched for by a device. */
	return (struct ush_packet){.data = f,
		.size = at,
		.capacity = capacity,
		.flags = USH_PACKET_IP_CHECKSUM_GOOD | USH_PACKET_L4_CHECKSUM_GOOD,
		.port = 3};
}

/* ---- cutting ---- */

/* What is the same of a part in its place and in memory of its own. */
static void check_part(const struct ush_packet *part, const struct ush_packet *frame,
	const struct list *list, uint32_t n)
{
	CHECK(part->handle == NULL);
	CHECK_EQ(part->capacity, part->size);
	CHECK_EQ(part->flags, USH_PACKET_PACKED);
	CHECK_EQ(part->port, 3);
	CHECK_EQ(part->family, frame->family);
	CHECK_EQ(part->spare, frame->payload_at);
	CHECK_EQ(ush_packet_head_bytes(part), frame->payload_at);
	CHECK(memcmp(part->data + part->payload_at, list->message[n], list->bytes[n]) == 0);
}

static void test_cut(void)
{
	static uint8_t room[2049], part_room[2049];
	static struct list list;

	for (int i = 0; i < 20000; i++) {
		uint8_t family = draw(2) == 0 ? 4 : 6;
		uint32_t bytes = draw_list(&list, USH_REQUEST_MAGIC), payload, detail, at = 0;
		struct ush_packet frame = put_datagram(room + (i & 1), 2048, family, &list, bytes),
				  part;

		CHECK_EQ(ush_pack_glance(&frame), list.count > 1);
		/* An UDP checksum of 0 is none, which IPv6 does not allow. */
		put16(frame.data + frame.size - bytes - 2, 1);
		CHECK_EQ(ush_parse_frame(&net, &frame, &payload, &detail), USH_PARSE_REQUEST);
		CHECK_EQ(payload, bytes);
		CHECK_EQ(ush_pack_count(frame.data + frame.payload_at, payload), list.count);
		for (uint32_t n = 0; n < list.count; n++) {
			uint32_t size = frame.payload_at + list.bytes[n];
			uint8_t *to = part_room + draw(2);

			CHECK_EQ(ush_pack_bytes(&frame, at), list.bytes[n]);
			CHECK_EQ(ush_pack_part(&frame, at, &part), list.bytes[n]);
			CHECK(part.data == frame.data);
			CHECK_EQ(part.size, size + at);
			CHECK_EQ(part.payload_at, frame.payload_at + at);
			check_part(&part, &frame, &list, n);
			/* No byte more than it says is written. */
			to[size] = 0xa5;
			CHECK_EQ(ush_pack_part_copy(&frame, at, to, size, &part), list.bytes[n]);
			CHECK_EQ(to[size], 0xa5);
			CHECK(part.data == to && memcmp(to, frame.data, frame.payload_at) == 0);
			CHECK_EQ(part.size, size);
			CHECK_EQ(part.payload_at, frame.payload_at);
			check_part(&part, &frame, &list, n);
			at += list.bytes[n];
		}
		CHECK_EQ(at, bytes);
	}
}

static void set16(uint8_t *p, uint32_t v)
{
	uint16_t word = (uint16_t)v;

	memcpy(p, &word, 2);
}

/* Whatever does not cut without rest is one message. */
static void test_no_cut(void)
{
	static const uint32_t sizes[] = {0, 1, 63, 65, 72, 127, 129, 1408, 65535};
	uint8_t payload[USH_PAYLOAD_BYTES_MAX + 64];
	uint32_t count = 0;

	for (uint32_t n = 2; n <= MESSAGES_MAX; n++) {
		memset(payload, 0, sizeof(payload));
		for (uint32_t i = 0; i < n; i++) {
			set16(payload + 64 * i, USH_REQUEST_MAGIC);
			set16(payload + 64 * i + 4, 64);
		}
		CHECK_EQ(ush_pack_count(payload, 64 * n), n);
		for (uint32_t rest = 1; rest < 64; rest++) {
			CHECK_EQ(ush_pack_count(payload, 64 * n - rest), 1);
			CHECK_EQ(ush_pack_count(payload, 64 * n + rest), 1);
		}
		for (uint32_t i = 0; i < n; i++) {
			uint8_t *message = payload + 64 * i;

			message[0] ^= 1;
			CHECK_EQ(ush_pack_count(payload, 64 * n), 1);
			set16(message, USH_REPLY_MAGIC);
			CHECK_EQ(ush_pack_count(payload, 64 * n), 1);
			set16(message, USH_REQUEST_MAGIC);
			for (uint32_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
				set16(message + 4, sizes[s]);
				CHECK_EQ(ush_pack_count(payload, 64 * n), 1);
				count++;
			}
			/* It takes the next one in: one less, but for the last. */
			set16(message + 4, 128);
			CHECK_EQ(ush_pack_count(payload, 64 * n), i + 1 < n ? n - 1 : 1);
			set16(message + 4, 64);
		}
	}
	CHECK(count > 2000);
	/* More than a datagram of this protocol holds. */
	for (uint32_t i = 0; i <= MESSAGES_MAX; i++) {
		set16(payload + 64 * i, USH_REQUEST_MAGIC);
		set16(payload + 64 * i + 4, 64);
	}
	CHECK_EQ(ush_pack_count(payload, USH_PAYLOAD_BYTES_MAX), MESSAGES_MAX);
	CHECK_EQ(ush_pack_count(payload, USH_PAYLOAD_BYTES_MAX + 64), 1);
}

/* What is one message, or none, is not held up. */
static void test_glance(void)
{
	uint8_t f[HEADERS_MAX + USH_PAYLOAD_BYTES_MAX];
	static struct list list;

	for (uint32_t bytes = 64; bytes <= USH_PAYLOAD_BYTES_MAX; bytes += 8) {
		struct ush_packet frame;

		list.count = 0;
		add_message(&list, bytes, USH_REQUEST_MAGIC);
		frame = put_datagram(f, sizeof(f), bytes % 16 == 0 ? 4 : 6, &list, bytes);
		CHECK(!ush_pack_glance(&frame));
		CHECK_EQ(ush_pack_count(f + frame.size - bytes, bytes), 1);
		/* Too short to be anything, and other protocols. */
		for (frame.size = 0; frame.size < 170; frame.size++)
			CHECK(!ush_pack_glance(&frame));
		frame.size = 512;
		put16(f + 12, 0x0806);
		CHECK(!ush_pack_glance(&frame));
		put16(f + 12, 0x0800);
		f[23] = 1;
		CHECK(!ush_pack_glance(&frame));
		put16(f + 12, 0x86dd);
		f[20] = 58;
		CHECK(!ush_pack_glance(&frame));
	}
}

/* ---- putting together ---- */

/* Parses a reply as its peer does, checksums and all. ret: bytes of its payload. */
static uint32_t taken_by_peer(const struct ush_packet *reply)
{
	struct ush_net peer = {.has_ipv4 = true, .has_ipv6 = true};
	struct ush_packet packet = *reply;
	uint32_t bytes = 0, detail = 0;

	memcpy(peer.mac, reply->data, 6);
	memcpy(&peer.udp_port_be, reply->data + reply->payload_at - 6, 2);
	memcpy(&peer.ipv4_be, reply->data + 30, 4);
	memcpy(peer.ipv6, reply->data + 38, 16);
	packet.flags = 0;
	CHECK_EQ(ush_parse_frame(&peer, &packet, &bytes, &detail), USH_PARSE_REQUEST);
	CHECK_EQ(packet.payload_at, reply->payload_at);
	return bytes;
}

/* A reply behind the headers of its request, `off` bytes. */
static struct ush_packet put_reply_off(
	uint8_t *f, uint8_t family, uint32_t off, const uint8_t *message, uint32_t bytes)
{
	uint32_t head = put_headers(f, family, bytes), at = head + off;

	memcpy(f + at, message, bytes);
	return (struct ush_packet){.data = f,
		.size = at + bytes,
		.capacity = at + bytes,
		.flags = USH_PACKET_PACKED,
		.port = 3,
		.payload_at = (uint16_t)at,
		.family = family,
		.spare = (uint8_t)head};
}

static struct ush_packet put_reply(
	uint8_t *f, uint32_t capacity, uint8_t family, const uint8_t *message, uint32_t bytes)
{
	struct ush_packet reply = put_reply_off(f, family, 0, message, bytes);

	reply.capacity = capacity;
	return reply;
}

/* What a device does: over the UDP header, where the pseudo-header's sum stands, and the payload;
 * over the IPv4 header. */
static void fill_checksums_in(const struct ush_packet *packet, uint32_t bytes)
{
	uint8_t *udp = packet->data + packet->payload_at - 8;
	uint16_t sum = (uint16_t)~ush_parse_sum_fold(ush_parse_sum(0, udp, 8 + bytes));

	memcpy(udp + 6, &sum, 2);
	if (packet->family == 4) {
		sum = (uint16_t)~ush_parse_sum_fold(ush_parse_sum(0, packet->data + 14, 20));
		memcpy(packet->data + 24, &sum, 2);
	}
}

static void test_join(void)
{
	static uint8_t room[2049], other_room[4097];
	static struct list list;

	for (int i = 0; i < 20000; i++) {
		uint8_t family = draw(2) == 0 ? 4 : 6;
		uint32_t at, bytes = draw_list(&list, USH_REPLY_MAGIC);
		struct ush_packet joined =
			put_reply(room + (i & 1), 2048, family, list.message[0], list.bytes[0]);

		/* A base reply may have waited elsewhere. */
		if (list.bytes[0] == USH_REPLY_BYTES && draw(2) == 0) {
			joined = put_reply_off(other_room + draw(2), family, 8 * draw(100),
				list.message[0], USH_REPLY_BYTES);
			ush_pack_move(&joined, room + (i & 1), 2048);
			CHECK(joined.data == room + (i & 1) && joined.capacity == 2048);
			CHECK_EQ(joined.payload_at, joined.spare);
			CHECK_EQ(joined.size, joined.spare + USH_REPLY_BYTES);
		}
		for (uint32_t n = 1; n < list.count; n++) {
			struct ush_packet reply = put_reply_off(other_room + draw(2), family,
				8 * draw(100), list.message[n], list.bytes[n]);

			CHECK(ush_pack_fits(&joined, &reply));
			ush_pack_add(&joined, &reply);
		}
		if (i % 2 == 0) {
			net.checksum_tx_offload = true;
			ush_pack_end(&net, &joined);
			net.checksum_tx_offload = false;
			fill_checksums_in(&joined, bytes);
		} else {
			ush_pack_end(&net, &joined);
		}
		CHECK_EQ(joined.size, joined.payload_at + bytes);
		CHECK_EQ(taken_by_peer(&joined), bytes);
		at = joined.payload_at;
		for (uint32_t n = 0; n < list.count; at += list.bytes[n++])
			CHECK(memcmp(joined.data + at, list.message[n], list.bytes[n]) == 0);
	}
}

static void test_fits(void)
{
	static const uint32_t differ_4[] = {6, 11, 26, 29, 30, 33, 34, 35, 36, 37},
			      differ_6[] = {6, 11, 22, 37, 38, 53, 54, 55, 56, 57};
	static uint8_t a[2048], b[2048];
	uint8_t message[USH_PAYLOAD_BYTES_MAX] = {0};

	for (uint32_t family = 4; family <= 6; family += 2) {
		const uint32_t *differ = family == 4 ? differ_4 : differ_6;
		struct ush_packet to = put_reply(a, 2048, (uint8_t)family, message, 64),
				  reply = put_reply(b, 2048, (uint8_t)family, message, 64);

		CHECK(ush_pack_fits(&to, &reply));
		for (uint32_t i = 0; i < 10; i++) {
			b[differ[i]] ^= 1;
			CHECK(!ush_pack_fits(&to, &reply));
			b[differ[i]] ^= 1;
		}
		/* Lengths and checksums may differ. */
		b[family == 4 ? 24 : 60] ^= 1;
		CHECK(ush_pack_fits(&to, &reply));
		reply.port = 4;
		CHECK(!ush_pack_fits(&to, &reply));
		reply.port = 3;
		to.size = to.payload_at + USH_PAYLOAD_BYTES_MAX - 64;
		CHECK(ush_pack_fits(&to, &reply));
		to.capacity = to.size + 63;
		CHECK(!ush_pack_fits(&to, &reply));
		to.capacity = 2048;
		to.size++;
		CHECK(!ush_pack_fits(&to, &reply));
	}
	struct ush_packet four = put_reply(a, 2048, 4, message, 64),
			  six = put_reply(b, 2048, 6, message, 64);
	CHECK(!ush_pack_fits(&four, &six));
	CHECK(!ush_pack_fits(&six, &four));
}

int main(void)
{
	static const uint8_t ip4[4] = {10, 77, 0, 1}, ip6[16] = {0xfd, 0x77, [15] = 1};

	seed = tap_seed(20261128);
	memcpy(net.mac, our_mac, 6);
	net.has_ipv4 = net.has_ipv6 = true;
	memcpy(&net.ipv4_be, ip4, 4);
	memcpy(net.ipv6, ip6, 16);
	net.udp_port_be = __builtin_bswap16(USH_UDP_PORT);
	ush_net_link_address(&net);
	TAP_RUN(test_cut);
	TAP_RUN(test_no_cut);
	TAP_RUN(test_glance);
	TAP_RUN(test_join);
	TAP_RUN(test_fits);
	return tap_end();
}
