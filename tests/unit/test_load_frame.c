/* SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>
#include <string.h>

#include "base/base.h"
#include "tests/tap.h"
#include "tools/load_frame.h"
#include "wire/wire.h"

/* load_udp.c and load_neighbour.c are linked for their address parser and answers. */
uint64_t load_clock_ns(void)
{
	return 0;
}

bool load_stopped(void)
{
	return false;
}

static struct load_frame us, box;
static uint8_t out[LOAD_FRAME_BYTES_MAX + 64];

/* Two ends of one wire: what `us` builds, `box` reads, and the other way. */
static void make_ends(const char *to, bool no_checksum)
{
	const struct load_transport_options options = {
		.to = to, .flows = 8, .source_port = 20000, .no_checksum = no_checksum};
	struct ush_message message;

	memset(&us, 0, sizeof(us));
	CHECK_EQ(load_frame_addresses(&us, &options, &message), 0);
	memcpy(us.mac, "\2\0\0\0\0\2", 6);
	memcpy(us.peer_mac, "\2\0\0\0\0\1", 6);
	load_frame_init(&us);
	box = us;
	box.self = us.peer;
	box.peer = us.self;
	box.flows = 1;
	memcpy(box.mac, us.peer_mac, 6);
	memcpy(box.peer_mac, us.mac, 6);
	load_frame_init(&box);
}

/* The sum of RFC 1071, a byte at a time. */
static uint16_t slow_sum(const uint8_t *data, uint32_t bytes)
{
	uint32_t sum = 0;

	for (uint32_t i = 0; i < bytes; i++)
		sum += i % 2 == 0 ? (uint32_t)data[i] << 8 : data[i];
	while (sum >> 16 != 0)
		sum = (sum >> 16) + (sum & 0xffff);
	return (uint16_t)~sum;
}

/* Goal: the fast sum is RFC 1071's. Method: random data of each length, and all ones, against the
 * byte loop. */
static void test_load_sum_agrees_with_bytes(void)
{
	uint8_t data[300];
	struct ush_random random;

	ush_random_init(&random, tap_seed(1));
	for (uint32_t size = 0; size <= sizeof(data); size++) {
		for (uint32_t i = 0; i < sizeof(data); i++)
			data[i] = size % 7 == 0 ? 0xff : (uint8_t)ush_random_next(&random);
		CHECK_EQ(ntohs(load_sum_fold(load_sum(data, size))), slow_sum(data, size));
	}
}

static void round_trip(void)
{
	struct ush_random random;
	uint8_t payload[LOAD_PAYLOAD_MAX];

	ush_random_init(&random, tap_seed(2));
	for (uint32_t round = 0; round < 2000; round++) {
		uint32_t head = round % 2 == 0 ? 64 : (uint32_t)ush_random_below(&random, 1000);
		uint32_t tail = head % 2 == 0 ? (uint32_t)ush_random_below(&random, 400) : 0;
		struct load_packet packet = {.head = payload,
			.tail = payload + head,
			.head_bytes = (uint16_t)head,
			.tail_bytes = (uint16_t)tail};
		struct load_received received = {.bytes = 0};
		uint32_t bytes;

		for (uint32_t i = 0; i < head + tail; i++)
			payload[i] = (uint8_t)ush_random_next(&random);
		bytes = load_frame_build(&us, &packet, out);
		CHECK_EQ(bytes, us.head_bytes + head + tail);
		CHECK_EQ(load_frame_read(&box, out, bytes, false, &received), LOAD_FRAME_REPLY);
		CHECK_EQ(received.bytes, head + tail);
		CHECK(memcmp(received.payload, payload, head + tail) == 0);
	}
}

/* Goal: what is built is good to a reader that trusts nothing. Method: every size, both families.
 */
static void test_load_frame_ipv4_round_trip(void)
{
	make_ends("10.77.0.1:7447", false);
	round_trip();
}

static void test_load_frame_ipv6_round_trip(void)
{
	make_ends("[fd77::1]:7447", false);
	round_trip();
}

static void test_load_frame_without_checksum_round_trip(void)
{
	make_ends("10.77.0.1", true);
	round_trip();
	CHECK_EQ(out[40] | out[41], 0);
}

/* Goal: any flipped bit of a reply is noticed. Method: flip each in turn; UDP's checksum covers
 * all but Ethernet, and IPv4's header has its own. */
static void check_flips(uint32_t from)
{
	uint8_t payload[64] = {1, 2, 3};
	struct load_packet packet = {.head = payload, .head_bytes = 64};
	struct load_received received;
	uint32_t bytes = load_frame_build(&us, &packet, out);

	for (uint32_t bit = from * 8; bit < bytes * 8; bit++) {
		out[bit / 8] ^= (uint8_t)(1u << bit % 8);
		CHECK(load_frame_read(&box, out, bytes, false, &received) != LOAD_FRAME_REPLY);
		out[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
}

static void test_load_frame_flipped_bit_is_no_reply(void)
{
	make_ends("10.77.0.1", false);
	check_flips(12);
	make_ends("fd77::1", false);
	/* The first four bytes and the hop limit are covered by nothing in IPv6. */
	check_flips(22);
}

/* Goal: no read beyond the frame. Method: cut it everywhere in exact memory (ASan watches). */
static void test_load_frame_cut_is_no_reply(void)
{
	uint8_t payload[64] = {0};
	struct load_packet packet = {.head = payload, .head_bytes = 64};
	struct load_received received;

	for (int family = 0; family < 2; family++) {
		uint32_t bytes;

		make_ends(family == 0 ? "10.77.0.1" : "fd77::1", false);
		bytes = load_frame_build(&us, &packet, out);
		for (uint32_t size = 0; size < bytes; size++) {
			uint8_t *exact = malloc(size + 1);

			memcpy(exact, out, size);
			CHECK(load_frame_read(&box, exact, size, false, &received) !=
				LOAD_FRAME_REPLY);
			CHECK_EQ(load_neighbour_answer(&box, exact, size, out + 200), 0);
			free(exact);
		}
	}
}

/* Goal: each named fault makes a frame no receiver takes. Method: all faults, both families. */
static void test_load_frame_faults_are_no_reply(void)
{
	uint8_t payload[64] = {7};
	struct load_received received;

	for (int family = 0; family < 2; family++) {
		make_ends(family == 0 ? "10.77.0.1" : "fd77::1", false);
		for (uint16_t fault = 1; fault < LOAD_FRAME_FAULT_COUNT; fault++) {
			struct load_packet packet = {
				.head = payload, .head_bytes = 64, .fault = fault};
			uint32_t bytes = load_frame_build(&us, &packet, out);

			CHECK(load_frame_read(&box, out, bytes, false, &received) !=
				LOAD_FRAME_REPLY);
		}
	}
}

/* Goal: two ends find each other. Method: one asks, the other answers, the first learns. */
static void test_load_neighbour_ask_answer_learn(void)
{
	for (int family = 0; family < 2; family++) {
		uint8_t ask[128], answer[128], mac[6] = {0};
		struct load_received received;
		uint32_t asked, answered;

		make_ends(family == 0 ? "10.77.0.1" : "fd77::1", false);
		memset(us.peer_mac, 0, 6);
		asked = load_neighbour_ask(&us, ask);
		CHECK_EQ(load_frame_read(&box, ask, asked, false, &received), LOAD_FRAME_NEIGHBOUR);
		answered = load_neighbour_answer(&box, ask, asked, answer);
		CHECK(answered != 0);
		CHECK_EQ(load_neighbour_answer(&us, ask, asked, answer + 0), 0);
		answered = load_neighbour_answer(&box, ask, asked, answer);
		CHECK(load_neighbour_learn(&us, answer, answered, mac));
		CHECK(memcmp(mac, box.mac, 6) == 0);
		CHECK(!load_neighbour_learn(&us, ask, asked, mac));
	}
}

/* Goal: addresses as people write them. Method: good ones and bad ones. */
static void test_load_address_parse(void)
{
	static const char *const bad[] = {"", ":7447", "10.77.0", "10.77.0.1:", "10.77.0.1:0",
		"10.77.0.1:65536", "[fd77::1", "[fd77::1]7447", "10.77.0.1:7447x", "box"};
	struct load_address address;
	struct ush_message message;

	CHECK_EQ(load_address_parse(&address, "10.77.0.1:99", 7447, &message), 0);
	CHECK(address.family == 4 && address.port == 99 && address.ip[3] == 1);
	CHECK_EQ(load_address_parse(&address, "[fd77::1]:99", 7447, &message), 0);
	CHECK(address.family == 6 && address.port == 99 && address.ip[15] == 1);
	CHECK_EQ(load_address_parse(&address, "fd77::1", 7447, &message), 0);
	CHECK(address.family == 6 && address.port == 7447);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		CHECK(load_address_parse(&address, bad[i], 7447, &message) != 0);
}

int main(void)
{
	TAP_RUN(test_load_sum_agrees_with_bytes);
	TAP_RUN(test_load_frame_ipv4_round_trip);
	TAP_RUN(test_load_frame_ipv6_round_trip);
	TAP_RUN(test_load_frame_without_checksum_round_trip);
	TAP_RUN(test_load_frame_flipped_bit_is_no_reply);
	TAP_RUN(test_load_frame_cut_is_no_reply);
	TAP_RUN(test_load_frame_faults_are_no_reply);
	TAP_RUN(test_load_neighbour_ask_answer_learn);
	TAP_RUN(test_load_address_parse);
	return tap_end();
}
