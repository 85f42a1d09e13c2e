/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parser against frames built here by hand: every drop reason by a directed frame, every
 * answer byte by byte, checksums by a second, slower sum.
 *
 * Owns:  its frames.
 * Reads: nothing.
 * Never: DPDK.
 */
#include <string.h>

#include "base/base.h"
#include "parse/parse.h"
#include "tap.h"
#include "wire/wire.h"

#define PAYLOAD_AT_4 42u
#define PAYLOAD_AT_6 62u

static const uint8_t our_mac[6] = {0x02, 0x11, 0x22, 0x33, 0x44, 0x55};
static const uint8_t peer_mac[6] = {0x02, 0xaa, 0xbb, 0xcc, 0xdd, 0xee};
static const uint8_t our_ip4[4] = {10, 77, 0, 1};
static const uint8_t peer_ip4[4] = {10, 77, 0, 2};
static const uint8_t our_ip6[16] = {0xfd, 0x77, [15] = 1};
static const uint8_t peer_ip6[16] = {0xfd, 0x77, [15] = 2};
static const uint8_t our_link[16] = {
	0xfe, 0x80, [8] = 0x00, 0x11, 0x22, 0xff, 0xfe, 0x33, 0x44, 0x55};
static const uint8_t broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

/* One frame under test, at an odd address on purpose. */
static uint8_t room[2049];
static uint8_t *const frame = room + 1;
static struct ush_net net;
static struct ush_packet packet;
static uint32_t payload_bytes;
static uint32_t detail;

static void put16(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static uint32_t get16(const uint8_t *p)
{
	return (uint32_t)p[0] << 8 | p[1];
}

/* RFC 1071 as written there: 16 bits at a time, most significant byte first. */
static uint32_t slow_sum(uint32_t sum, const uint8_t *data, size_t size)
{
	size_t i;

	for (i = 0; i < size; i++) {
		sum += (i & 1) != 0 ? data[i] : (uint32_t)data[i] << 8;
		sum = (sum & 0xffff) + (sum >> 16);
	}
	return sum;
}

/* Sum of the pseudo-header of the packet in `f`. */
static uint32_t slow_pseudo(const uint8_t *f, uint32_t l4_bytes)
{
	bool v6 = (f[14] >> 4) == 6;
	uint8_t rest[4] = {0, v6 ? f[20] : f[23], (uint8_t)(l4_bytes >> 8), (uint8_t)l4_bytes};
	uint32_t sum = v6 ? slow_sum(0, f + 22, 32) : slow_sum(0, f + 26, 8);

	return slow_sum(sum, rest, sizeof(rest));
}

static uint32_t l4_at(const uint8_t *f)
{
	return (f[14] >> 4) == 6 ? 54 : 34;
}

/* Puts all checksums of the frame in `f` right. */
static void seal(uint8_t *f, uint32_t l4_bytes)
{
	uint32_t at = l4_at(f);
	bool v6 = at == 54;
	uint8_t protocol = v6 ? f[20] : f[23];
	uint32_t sum = protocol == 1 ? 0 : slow_pseudo(f, l4_bytes);
	uint32_t field = protocol == 17 ? 6 : 2;

	if (!v6) {
		put16(f + 24, 0);
		put16(f + 24, ~slow_sum(0, f + 14, 20) & 0xffff);
	}
	put16(f + at + field, 0);
	sum = ~slow_sum(sum, f + at, l4_bytes) & 0xffff;
	put16(f + at + field, sum == 0 && protocol == 17 ? 0xffff : sum);
}

static void start(void)
{
	memset(room, 0, sizeof(room));
	memset(&net, 0, sizeof(net));
	memcpy(net.mac, our_mac, 6);
	net.has_ipv4 = true;
	net.has_ipv6 = true;
	memcpy(&net.ipv4_be, our_ip4, 4);
	memcpy(net.ipv6, our_ip6, 16);
	put16((uint8_t *)&net.udp_port_be, USH_UDP_PORT);
	ush_net_link_address(&net);
	memset(&packet, 0, sizeof(packet));
	packet.data = frame;
	packet.capacity = sizeof(room) - 1;
	memcpy(frame, our_mac, 6);
	memcpy(frame + 6, peer_mac, 6);
}

static void make_ip4(uint8_t protocol, uint32_t l4_bytes)
{
	start();
	put16(frame + 12, 0x0800);
	frame[14] = 0x45;
	frame[15] = 0xb8;
	put16(frame + 16, 20 + l4_bytes);
	put16(frame + 18, 0x1234);
	frame[20] = 0x40;
	frame[22] = 17;
	frame[23] = protocol;
	memcpy(frame + 26, peer_ip4, 4);
	memcpy(frame + 30, our_ip4, 4);
	packet.size = 34 + l4_bytes;
}

static void make_ip6(uint8_t protocol, uint32_t l4_bytes)
{
	start();
	put16(frame + 12, 0x86dd);
	frame[14] = 0x6b;
	frame[15] = 0x8f;
	frame[17] = 0x55;
	put16(frame + 18, l4_bytes);
	frame[20] = protocol;
	frame[21] = 3;
	memcpy(frame + 22, peer_ip6, 16);
	memcpy(frame + 38, our_ip6, 16);
	packet.size = 54 + l4_bytes;
}

static void make_udp(int family, uint32_t bytes)
{
	uint32_t at = family == 6 ? 54 : 34;
	uint32_t i;

	if (family == 6)
		make_ip6(17, 8 + bytes);
	else
		make_ip4(17, 8 + bytes);
	put16(frame + at, 40000);
	put16(frame + at + 2, USH_UDP_PORT);
	put16(frame + at + 4, 8 + bytes);
	for (i = 0; i < bytes; i++)
		frame[at + 8 + i] = (uint8_t)(i * 7 + 3);
	seal(frame, 8 + bytes);
}

static void make_arp(void)
{
	static const uint8_t head[8] = {0, 1, 8, 0, 6, 4, 0, 1};

	start();
	memcpy(frame, broadcast, 6);
	put16(frame + 12, 0x0806);
	memcpy(frame + 14, head, 8);
	memcpy(frame + 22, peer_mac, 6);
	memcpy(frame + 28, peer_ip4, 4);
	memcpy(frame + 38, our_ip4, 4);
	packet.size = 42;
}

/* A solicitation for `target` to its group, with a source link-layer address if `option`. */
static void make_solicitation(const uint8_t *target, bool option)
{
	static const uint8_t group[13] = {0xff, 0x02, [11] = 1, [12] = 0xff};
	uint32_t bytes = option ? 32 : 24;

	make_ip6(58, bytes);
	frame[21] = 255;
	frame[0] = frame[1] = 0x33;
	frame[2] = 0xff;
	memcpy(frame + 3, target + 13, 3);
	memcpy(frame + 38, group, 13);
	memcpy(frame + 51, target + 13, 3);
	frame[54] = 135;
	memcpy(frame + 62, target, 16);
	if (option) {
		frame[78] = 1;
		frame[79] = 1;
		memcpy(frame + 80, peer_mac, 6);
	}
	seal(frame, bytes);
}

static void make_echo(int family, uint32_t bytes)
{
	uint32_t at = family == 6 ? 54 : 34;
	uint32_t i;

	if (family == 6)
		make_ip6(58, 8 + bytes);
	else
		make_ip4(1, 8 + bytes);
	frame[at] = family == 6 ? 128 : 8;
	put16(frame + at + 4, 0x4321);
	put16(frame + at + 6, 7);
	for (i = 0; i < bytes; i++)
		frame[at + 8 + i] = (uint8_t)(i ^ 0x5a);
	seal(frame, 8 + bytes);
}

static enum ush_parse_verdict judge(void)
{
	return ush_parse_frame(&net, &packet, &payload_bytes, &detail);
}

/* Expects the frame to be dropped for `reason`, unchanged. */
#define DROPPED(reason) \
	do { \
		uint8_t before[2048]; \
		memcpy(before, frame, sizeof(before)); \
		CHECK_EQ(judge(), USH_PARSE_DROPPED); \
		CHECK_EQ(detail, reason); \
		CHECK(memcmp(before, frame, sizeof(before)) == 0); \
	} while (0)

#define REQUESTED(bytes) \
	do { \
		CHECK_EQ(judge(), USH_PARSE_REQUEST); \
		CHECK_EQ(payload_bytes, bytes); \
	} while (0)

/* Goal: the link-local address is RFC 4291's. Method: against one worked out by hand. */
static void test_parse_link_address(void)
{
	start();
	CHECK(memcmp(net.ipv6_link, our_link, 16) == 0);
}

/* Goal: a good datagram is a request, whatever padding follows. Method: both families. */
static void test_parse_udp_is_request(void)
{
	make_udp(4, 64);
	REQUESTED(64);
	CHECK_EQ(packet.payload_at, PAYLOAD_AT_4);
	CHECK_EQ(packet.family, 4);
	make_udp(6, 1408);
	REQUESTED(1408);
	CHECK_EQ(packet.payload_at, PAYLOAD_AT_6);
	CHECK_EQ(packet.family, 6);
	make_udp(4, 0);
	packet.size = 60;
	REQUESTED(0);
	make_udp(4, 1);
	REQUESTED(1);
	make_udp(6, 64);
	memcpy(frame + 38, our_link, 16);
	seal(frame, 72);
	REQUESTED(64);
	make_udp(4, 64);
	frame[20] = 0;
	seal(frame, 72);
	REQUESTED(64);
}

/* Goal: each Ethernet rule. Method: one directed frame each. */
static void test_parse_ethernet_drops(void)
{
	uint32_t size;

	make_udp(4, 64);
	for (size = 0; size < 14; size++) {
		packet.size = size;
		DROPPED(USH_DROP_FRAME_SHORT);
	}
	make_udp(4, 64);
	put16(frame + 12, 0x8100);
	DROPPED(USH_DROP_ETHER_TYPE);
	make_udp(4, 64);
	frame[6] = 3;
	DROPPED(USH_DROP_IP_SOURCE);
	make_udp(4, 64);
	memcpy(frame + 6, our_mac, 6);
	DROPPED(USH_DROP_IP_SOURCE);
	make_udp(4, 64);
	frame[5] ^= 1;
	DROPPED(USH_DROP_NOT_OURS);
	memcpy(frame, broadcast, 6);
	DROPPED(USH_DROP_NOT_OURS);
	make_udp(6, 64);
	frame[0] ^= 4;
	DROPPED(USH_DROP_NOT_OURS);
}

/* Goal: each IPv4 rule. Method: one directed frame each, checksum put right again. */
static void test_parse_ipv4_drops(void)
{
	static const uint8_t sources[][4] = {
		{0, 0, 0, 0}, {127, 0, 0, 1}, {224, 0, 0, 1}, {255, 255, 255, 255}, {10, 77, 0, 1}};
	size_t i;

	make_udp(4, 64);
	packet.size = 33;
	DROPPED(USH_DROP_FRAME_SHORT);
	make_udp(4, 64);
	packet.size -= 1;
	DROPPED(USH_DROP_IP_HEADER);
	make_udp(4, 64);
	frame[14] = 0x65;
	DROPPED(USH_DROP_IP_HEADER);
	frame[14] = 0x44;
	DROPPED(USH_DROP_IP_HEADER);
	make_udp(4, 64);
	put16(frame + 16, 19);
	DROPPED(USH_DROP_IP_HEADER);
	make_udp(4, 64);
	frame[14] = 0x46;
	DROPPED(USH_DROP_IP_OPTIONS);
	make_udp(4, 64);
	frame[24] ^= 1;
	DROPPED(USH_DROP_IP_CHECKSUM);
	make_udp(4, 64);
	packet.flags = USH_PACKET_IP_CHECKSUM_BAD;
	DROPPED(USH_DROP_IP_CHECKSUM);
	make_udp(4, 64);
	frame[33] = 9;
	seal(frame, 72);
	DROPPED(USH_DROP_NOT_OURS);
	make_udp(4, 64);
	net.has_ipv4 = false;
	DROPPED(USH_DROP_NOT_OURS);
	make_udp(4, 64);
	frame[20] = 0x20;
	seal(frame, 72);
	DROPPED(USH_DROP_IP_FRAGMENT);
	make_udp(4, 64);
	frame[21] = 8;
	seal(frame, 72);
	DROPPED(USH_DROP_IP_FRAGMENT);
	for (i = 0; i < sizeof(sources) / sizeof(sources[0]); i++) {
		make_udp(4, 64);
		memcpy(frame + 26, sources[i], 4);
		seal(frame, 72);
		DROPPED(USH_DROP_IP_SOURCE);
	}
	make_udp(4, 64);
	frame[23] = 6;
	put16(frame + 24, 0);
	put16(frame + 24, ~slow_sum(0, frame + 14, 20) & 0xffff);
	DROPPED(USH_DROP_IP_PROTOCOL);
}

/* Goal: each IPv6 rule. Method: one directed frame each. */
static void test_parse_ipv6_drops(void)
{
	static const uint8_t chain[] = {0, 43, 50, 51, 60, 135, 139, 140, 253, 254};
	static const uint8_t sources[][16] = {
		{0xff, 2, [15] = 1}, {[15] = 1}, {[15] = 0}, {0xfd, 0x77, [15] = 1}};
	size_t i;

	make_udp(6, 64);
	packet.size = 53;
	DROPPED(USH_DROP_FRAME_SHORT);
	make_udp(6, 64);
	frame[14] = 0x45;
	DROPPED(USH_DROP_IP_HEADER);
	make_udp(6, 64);
	packet.size -= 1;
	DROPPED(USH_DROP_IP_HEADER);
	make_udp(6, 64);
	frame[53] = 9;
	DROPPED(USH_DROP_NOT_OURS);
	make_udp(6, 64);
	net.has_ipv6 = false;
	DROPPED(USH_DROP_NOT_OURS);
	make_solicitation(our_ip6, true);
	frame[20] = 17;
	DROPPED(USH_DROP_NOT_OURS);
	for (i = 0; i < sizeof(sources) / sizeof(sources[0]); i++) {
		make_udp(6, 64);
		memcpy(frame + 22, sources[i], 16);
		seal(frame, 72);
		DROPPED(USH_DROP_IP_SOURCE);
	}
	make_udp(6, 64);
	memcpy(frame + 22, our_link, 16);
	DROPPED(USH_DROP_IP_SOURCE);
	make_udp(6, 64);
	frame[20] = 44;
	DROPPED(USH_DROP_IP_FRAGMENT);
	for (i = 0; i < sizeof(chain); i++) {
		make_udp(6, 64);
		frame[20] = chain[i];
		DROPPED(USH_DROP_IP_OPTIONS);
	}
	make_udp(6, 64);
	frame[20] = 59;
	DROPPED(USH_DROP_IP_PROTOCOL);
}

/* Goal: each UDP rule, in both families. Method: one directed frame each. */
static void test_parse_udp_drops(void)
{
	int family;

	for (family = 4; family <= 6; family += 2) {
		uint32_t at = family == 6 ? 54 : 34;

		make_udp(family, 64);
		put16(frame + at + 4, 71);
		seal(frame, 72);
		DROPPED(USH_DROP_UDP_LENGTH);
		put16(frame + at + 4, 73);
		seal(frame, 72);
		DROPPED(USH_DROP_UDP_LENGTH);
		if (family == 6)
			make_ip6(17, 7);
		else
			make_ip4(17, 7);
		put16(frame + at + 4, 7);
		if (family == 4)
			put16(frame + 24, ~slow_sum(0, frame + 14, 20) & 0xffff);
		DROPPED(USH_DROP_UDP_LENGTH);
		make_udp(family, 64);
		put16(frame + at + 2, 7448);
		seal(frame, 72);
		DROPPED(USH_DROP_UDP_PORT);
		make_udp(family, 64);
		put16(frame + at, 0);
		seal(frame, 72);
		DROPPED(USH_DROP_UDP_PORT);
		make_udp(family, 63);
		frame[at + 8 + 62] ^= 0x10;
		DROPPED(USH_DROP_UDP_CHECKSUM);
		make_udp(family, 64);
		packet.flags = USH_PACKET_L4_CHECKSUM_BAD;
		DROPPED(USH_DROP_UDP_CHECKSUM);
	}
	make_udp(4, 64);
	put16(frame + 40, 0);
	REQUESTED(64);
	make_udp(6, 64);
	put16(frame + 60, 0);
	DROPPED(USH_DROP_UDP_CHECKSUM);
	packet.flags = USH_PACKET_L4_CHECKSUM_GOOD;
	DROPPED(USH_DROP_UDP_CHECKSUM);
}

/* Goal: the checksum modes. Method: full, partial and wrong checksums under each mode and flag. */
static void test_parse_checksum_modes(void)
{
	int family;

	for (family = 4; family <= 6; family += 2) {
		uint32_t field = family == 6 ? 60 : 40;
		uint32_t partial;

		make_udp(family, 64);
		partial = slow_pseudo(frame, 72);
		put16(frame + field, partial);
		DROPPED(USH_DROP_UDP_CHECKSUM);
		net.checksum_rx = USH_CHECKSUM_RX_PARTIAL;
		REQUESTED(64);
		packet.flags = USH_PACKET_L4_CHECKSUM_BAD;
		REQUESTED(64);
		put16(frame + field, partial ^ 1);
		DROPPED(USH_DROP_UDP_CHECKSUM);
		seal(frame, 72);
		REQUESTED(64);
		frame[field] ^= 1;
		packet.flags = USH_PACKET_L4_CHECKSUM_GOOD;
		net.checksum_rx = USH_CHECKSUM_RX_VERIFY;
		REQUESTED(64);
		packet.flags = USH_PACKET_L4_CHECKSUM_BAD;
		net.checksum_rx = USH_CHECKSUM_RX_OFF;
		REQUESTED(64);
	}
	make_udp(4, 64);
	frame[24] ^= 1;
	packet.flags = USH_PACKET_IP_CHECKSUM_GOOD;
	REQUESTED(64);
}

/* Goal: ARP drops. Method: one directed frame each. */
static void test_parse_arp_drops(void)
{
	int i;

	make_arp();
	packet.size = 41;
	DROPPED(USH_DROP_FRAME_SHORT);
	make_arp();
	frame[0] = 0x33;
	DROPPED(USH_DROP_NOT_OURS);
	for (i = 0; i < 8; i++) {
		make_arp();
		frame[14 + i] ^= 2;
		DROPPED(USH_DROP_ARP_OTHER);
	}
	make_arp();
	frame[41] = 9;
	DROPPED(USH_DROP_ARP_OTHER);
	make_arp();
	net.has_ipv4 = false;
	DROPPED(USH_DROP_ARP_OTHER);
	make_arp();
	frame[22] |= 1;
	DROPPED(USH_DROP_IP_SOURCE);
	make_arp();
	memcpy(frame + 28, our_ip4, 4);
	DROPPED(USH_DROP_IP_SOURCE);
}

/* Goal: ARP requests and probes are answered. Method: the whole answer, byte by byte. */
static void test_parse_arp_is_answered(void)
{
	uint8_t want[60] = {0};
	int probe;

	for (probe = 0; probe < 2; probe++) {
		static const uint8_t head[10] = {0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 2};

		make_arp();
		if (probe)
			memset(frame + 28, 0, 4);
		memset(frame + 42, 0xa5, 18);
		memcpy(want, peer_mac, 6);
		memcpy(want + 6, our_mac, 6);
		memcpy(want + 12, head, 10);
		memcpy(want + 22, our_mac, 6);
		memcpy(want + 28, our_ip4, 4);
		memcpy(want + 32, peer_mac, 6);
		memcpy(want + 38, frame + 28, 4);
		CHECK_EQ(judge(), USH_PARSE_ANSWERED);
		CHECK_EQ(detail, USH_ANSWER_ARP);
		CHECK_EQ(packet.size, 60);
		CHECK(memcmp(frame, want, 60) == 0);
	}
	make_arp();
	packet.capacity = 42;
	CHECK_EQ(judge(), USH_PARSE_ANSWERED);
	CHECK_EQ(packet.size, 42);
}

/* Goal: echo requests of any size are answered. Method: the whole answer, byte by byte. */
static void test_parse_echo_is_answered(void)
{
	static const uint32_t sizes[] = {0, 1, 18, 56, 57, 1432, 1452};
	uint8_t want[2048];
	size_t i;

	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		make_echo(4, sizes[i]);
		memcpy(want, frame, sizeof(want));
		memcpy(want, peer_mac, 6);
		memcpy(want + 6, our_mac, 6);
		want[15] = 0;
		put16(want + 18, 0);
		want[22] = 64;
		memcpy(want + 26, our_ip4, 4);
		memcpy(want + 30, peer_ip4, 4);
		want[34] = 0;
		seal(want, 8 + sizes[i]);
		CHECK_EQ(judge(), USH_PARSE_ANSWERED);
		CHECK_EQ(detail, USH_ANSWER_ECHO);
		CHECK_EQ(packet.size, sizes[i] < 18 ? 60 : 42 + sizes[i]);
		CHECK(memcmp(frame, want, packet.size) == 0);

		make_echo(6, sizes[i]);
		memcpy(want, frame, sizeof(want));
		memcpy(want, peer_mac, 6);
		memcpy(want + 6, our_mac, 6);
		memset(want + 14, 0, 4);
		want[14] = 0x60;
		want[21] = 64;
		memcpy(want + 22, our_ip6, 16);
		memcpy(want + 38, peer_ip6, 16);
		want[54] = 129;
		seal(want, 8 + sizes[i]);
		CHECK_EQ(judge(), USH_PARSE_ANSWERED);
		CHECK_EQ(packet.size, 62 + sizes[i]);
		CHECK(memcmp(frame, want, packet.size) == 0);
	}
}

/* Goal: ICMP that is no echo request, is cut or is wrong. Method: one directed frame each. */
static void test_parse_icmp_drops(void)
{
	make_echo(4, 8);
	frame[34] = 0;
	seal(frame, 16);
	DROPPED(USH_DROP_ICMP_OTHER);
	make_echo(4, 8);
	frame[40] ^= 1;
	DROPPED(USH_DROP_ICMP_CHECKSUM);
	make_ip4(1, 7);
	put16(frame + 24, ~slow_sum(0, frame + 14, 20) & 0xffff);
	DROPPED(USH_DROP_ICMP_OTHER);
	make_echo(6, 8);
	frame[55] = 1;
	seal(frame, 16);
	DROPPED(USH_DROP_ICMP_OTHER);
	make_echo(6, 8);
	frame[60] ^= 1;
	DROPPED(USH_DROP_ICMP_CHECKSUM);
	make_ip6(58, 7);
	DROPPED(USH_DROP_ICMP_OTHER);
	make_echo(6, 8);
	memset(frame + 22, 0, 16);
	seal(frame, 16);
	DROPPED(USH_DROP_IP_SOURCE);
	make_solicitation(our_ip6, true);
	frame[54] = 128;
	seal(frame, 32);
	DROPPED(USH_DROP_ICMP_OTHER);
	make_echo(4, 8);
	frame[40] ^= 1;
	net.checksum_rx = USH_CHECKSUM_RX_OFF;
	CHECK_EQ(judge(), USH_PARSE_ANSWERED);
}

/* The advertisement for `target` to (mac, ip), as RFC 4861 section 4.4 draws it. */
static void want_advertisement(
	uint8_t *want, const uint8_t *target, const uint8_t *mac, const uint8_t *ip, uint8_t flags)
{
	memset(want, 0, 86);
	memcpy(want, mac, 6);
	memcpy(want + 6, our_mac, 6);
	put16(want + 12, 0x86dd);
	want[14] = 0x60;
	put16(want + 18, 32);
	want[20] = 58;
	want[21] = 255;
	memcpy(want + 22, target, 16);
	memcpy(want + 38, ip, 16);
	want[54] = 136;
	want[58] = flags;
	memcpy(want + 62, target, 16);
	want[78] = 2;
	want[79] = 1;
	memcpy(want + 80, our_mac, 6);
	seal(want, 32);
}

/* Goal: solicitations are answered. Method: global, link-local, without option, to our MAC, and a
 * check for duplicates; whole answers byte by byte. */
static void test_parse_solicitation_is_answered(void)
{
	static const uint8_t all_nodes_mac[6] = {0x33, 0x33, 0, 0, 0, 1};
	static const uint8_t all_nodes[16] = {0xff, 2, [15] = 1};
	static const uint8_t other_mac[6] = {2, 1, 1, 1, 1, 1};
	uint8_t want[86];
	int i;

	for (i = 0; i < 5; i++) {
		const uint8_t *target = (i & 1) != 0 ? our_link : our_ip6;

		make_solicitation(target, i < 2);
		want_advertisement(want, target, peer_mac, peer_ip6, 0x60);
		if (i == 1) {
			memcpy(frame + 80, other_mac, 6);
			seal(frame, 32);
			memcpy(want, other_mac, 6);
		} else if (i == 3) {
			memcpy(frame, our_mac, 6);
			memcpy(frame + 38, target, 16);
			seal(frame, 24);
		} else if (i == 4) {
			memset(frame + 22, 0, 16);
			seal(frame, 24);
			want_advertisement(want, target, all_nodes_mac, all_nodes, 0x20);
		}
		CHECK_EQ(judge(), USH_PARSE_ANSWERED);
		CHECK_EQ(detail, USH_ANSWER_NEIGHBOUR);
		CHECK_EQ(packet.size, 86);
		CHECK(memcmp(frame, want, 86) == 0);
	}
}

/* Goal: bad solicitations. Method: one directed frame for each rule of RFC 4861 section 7.1.1. */
static void test_parse_solicitation_drops(void)
{
	make_solicitation(our_ip6, true);
	frame[21] = 254;
	DROPPED(USH_DROP_ICMP_OTHER);
	make_solicitation(our_ip6, true);
	frame[55] = 1;
	seal(frame, 32);
	DROPPED(USH_DROP_ICMP_OTHER);
	make_solicitation(our_ip6, true);
	frame[70] ^= 1;
	seal(frame, 32);
	DROPPED(USH_DROP_ICMP_OTHER);
	make_solicitation(our_ip6, true);
	frame[79] = 0;
	seal(frame, 32);
	DROPPED(USH_DROP_ICMP_OTHER);
	frame[79] = 2;
	seal(frame, 32);
	DROPPED(USH_DROP_ICMP_OTHER);
	make_solicitation(our_ip6, true);
	frame[80] |= 1;
	seal(frame, 32);
	DROPPED(USH_DROP_ICMP_OTHER);
	make_solicitation(our_ip6, true);
	memset(frame + 22, 0, 16);
	seal(frame, 32);
	DROPPED(USH_DROP_ICMP_OTHER);
	make_solicitation(our_ip6, false);
	memset(frame + 22, 0, 16);
	memcpy(frame, our_mac, 6);
	memcpy(frame + 38, our_ip6, 16);
	seal(frame, 24);
	DROPPED(USH_DROP_ICMP_OTHER);
	make_solicitation(our_ip6, true);
	put16(frame + 18, 23);
	seal(frame, 23);
	DROPPED(USH_DROP_ICMP_OTHER);
	make_solicitation(our_ip6, true);
	packet.capacity = 86 - 1;
	packet.size = 85;
	put16(frame + 18, 24);
	seal(frame, 24);
	DROPPED(USH_DROP_ICMP_OTHER);
	make_solicitation(our_ip6, true);
	put16(frame + 18, 24 + 9 * 8);
	memset(frame + 78, 0, 72);
	for (uint32_t i = 0; i < 9; i++) {
		frame[78 + i * 8] = 14;
		frame[79 + i * 8] = 1;
	}
	packet.size = 54 + 24 + 72;
	seal(frame, 24 + 72);
	DROPPED(USH_DROP_ICMP_OTHER);
	make_solicitation(our_ip6, true);
	frame[5] ^= 1;
	DROPPED(USH_DROP_NOT_OURS);
}

/* The reply in the frame, checked byte by byte but for its checksums. */
static void check_reply(int family, uint32_t bytes)
{
	uint32_t at = family == 6 ? 54 : 34;
	uint32_t i;

	CHECK_EQ(packet.size, at + 8 + bytes);
	CHECK(memcmp(frame, peer_mac, 6) == 0);
	CHECK(memcmp(frame + 6, our_mac, 6) == 0);
	CHECK_EQ(get16(frame + 12), family == 6 ? 0x86dd : 0x0800);
	if (family == 6) {
		CHECK_EQ(get16(frame + 14), 0x6000);
		CHECK_EQ(get16(frame + 16), 0);
		CHECK_EQ(get16(frame + 18), 8 + bytes);
		CHECK_EQ(frame[20], 17);
		CHECK_EQ(frame[21], 64);
		CHECK(memcmp(frame + 22, our_ip6, 16) == 0);
		CHECK(memcmp(frame + 38, peer_ip6, 16) == 0);
	} else {
		CHECK_EQ(get16(frame + 14), 0x4500);
		CHECK_EQ(get16(frame + 16), 28 + bytes);
		CHECK_EQ(get16(frame + 18), 0);
		CHECK_EQ(get16(frame + 20), 0x4000);
		CHECK_EQ(frame[22], 64);
		CHECK_EQ(frame[23], 17);
		CHECK(memcmp(frame + 26, our_ip4, 4) == 0);
		CHECK(memcmp(frame + 30, peer_ip4, 4) == 0);
	}
	CHECK_EQ(get16(frame + at), USH_UDP_PORT);
	CHECK_EQ(get16(frame + at + 2), 40000);
	CHECK_EQ(get16(frame + at + 4), 8 + bytes);
	for (i = 0; i < bytes; i++)
		CHECK_EQ(frame[at + 8 + i], (uint8_t)(i * 5 + 1));
}

/* Goal: replies are right. Method: byte by byte; checksums verified by the slow sum. */
static void test_parse_reply_round_trip(void)
{
	static const uint32_t sizes[] = {0, 1, 2, 3, 64, 65, 127, 1408};
	int family;
	size_t i;

	for (family = 4; family <= 6; family += 2) {
		for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
			uint32_t at = family == 6 ? 54 : 34;
			uint32_t j;

			make_udp(family, 64);
			REQUESTED(64);
			for (j = 0; j < sizes[i]; j++)
				frame[packet.payload_at + j] = (uint8_t)(j * 5 + 1);
			ush_parse_reply(&net, packet.data, &packet, sizes[i],
				ush_parse_sum(0, packet.data + packet.payload_at, sizes[i]));
			check_reply(family, sizes[i]);
			if (family == 4)
				CHECK_EQ(slow_sum(0, frame + 14, 20), 0xffff);
			CHECK(get16(frame + at + 6) != 0);
			CHECK_EQ(slow_sum(slow_pseudo(frame, 8 + sizes[i]), frame + at,
					 8 + sizes[i]),
				0xffff);
		}
	}
}

/* Goal: offload leaves what devices want. Method: IPv4 checksum 0, UDP the pseudo-header sum. */
static void test_parse_reply_offload(void)
{
	int family;

	for (family = 4; family <= 6; family += 2) {
		make_udp(family, 64);
		net.checksum_tx_offload = true;
		REQUESTED(64);
		for (uint32_t j = 0; j < 64; j++)
			frame[packet.payload_at + j] = (uint8_t)(j * 5 + 1);
		ush_parse_reply(&net, packet.data, &packet, 64,
			ush_parse_sum(0, packet.data + packet.payload_at, 64));
		check_reply(family, 64);
		if (family == 4)
			CHECK_EQ(get16(frame + 24), 0);
		CHECK_EQ(get16(frame + l4_at(frame) + 6), slow_pseudo(frame, 72));
	}
}

/* Goal: UDP checksum 0 is never sent. Method: a payload chosen so that the sum is 0xffff. */
static void test_parse_reply_checksum_is_never_zero(void)
{
	uint32_t rest;

	make_udp(4, 64);
	REQUESTED(64);
	memset(frame + PAYLOAD_AT_4, 0, 64);
	ush_parse_reply(&net, packet.data, &packet, 64,
		ush_parse_sum(0, packet.data + packet.payload_at, 64));
	rest = get16(frame + 40);
	make_udp(4, 64);
	REQUESTED(64);
	memset(frame + PAYLOAD_AT_4, 0, 64);
	put16(frame + PAYLOAD_AT_4, rest);
	ush_parse_reply(&net, packet.data, &packet, 64,
		ush_parse_sum(0, packet.data + packet.payload_at, 64));
	CHECK_EQ(get16(frame + 40), 0xffff);
}

/* Goal: random bytes, and good frames with random damage, get a verdict in range and break
 * nothing. Method: exact-size heap copies so that a sanitizer sees each byte too far. */
static void test_parse_random_bytes(void)
{
	struct ush_random random;
	uint32_t i, j;

	ush_random_init(&random, tap_seed(1));
	for (i = 0; i < 200000; i++) {
		uint32_t size = 1 + (uint32_t)ush_random_below(&random, i % 10 == 0 ? 1500 : 128);
		enum ush_parse_verdict verdict;
		uint8_t *copy;

		switch (ush_random_below(&random, 6)) {
		case 0:
			make_udp(i % 2 ? 4 : 6, 64);
			break;
		case 1:
			make_echo(i % 2 ? 4 : 6, 16);
			break;
		case 2:
			make_arp();
			break;
		case 3:
			make_solicitation(our_ip6, i % 2);
			break;
		default:
			start();
			for (j = 0; j < size; j++)
				frame[j] = (uint8_t)ush_random_next(&random);
			packet.size = size;
		}
		for (j = (uint32_t)ush_random_below(&random, 4); j != 0; j--)
			frame[ush_random_below(&random, packet.size)] =
				(uint8_t)ush_random_next(&random);
		packet.size = 1 + (uint32_t)ush_random_below(&random, packet.size);
		copy = malloc(packet.size);
		if (copy == NULL)
			abort();
		memcpy(copy, frame, packet.size);
		packet.data = copy;
		packet.capacity = packet.size;
		packet.flags = (uint16_t)ush_random_below(&random, 16);
		net.checksum_rx = (uint8_t)ush_random_below(&random, 3);
		verdict = judge();
		CHECK(verdict == USH_PARSE_REQUEST || verdict == USH_PARSE_ANSWERED ||
			verdict == USH_PARSE_DROPPED);
		CHECK(verdict != USH_PARSE_DROPPED || detail < USH_DROP_COUNT);
		CHECK(verdict != USH_PARSE_REQUEST ||
			packet.payload_at + payload_bytes <= packet.size);
		free(copy);
	}
}

int main(void)
{
	TAP_RUN(test_parse_link_address);
	TAP_RUN(test_parse_udp_is_request);
	TAP_RUN(test_parse_ethernet_drops);
	TAP_RUN(test_parse_ipv4_drops);
	TAP_RUN(test_parse_ipv6_drops);
	TAP_RUN(test_parse_udp_drops);
	TAP_RUN(test_parse_checksum_modes);
	TAP_RUN(test_parse_arp_drops);
	TAP_RUN(test_parse_arp_is_answered);
	TAP_RUN(test_parse_echo_is_answered);
	TAP_RUN(test_parse_icmp_drops);
	TAP_RUN(test_parse_solicitation_is_answered);
	TAP_RUN(test_parse_solicitation_drops);
	TAP_RUN(test_parse_reply_round_trip);
	TAP_RUN(test_parse_reply_offload);
	TAP_RUN(test_parse_reply_checksum_is_never_zero);
	TAP_RUN(test_parse_random_bytes);
	return tap_end();
}
