/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ring of replies that wait.
 *
 * Owns:  one ring.
 * Reads: USH_SEED.
 * Never: DPDK.
 */
#include <string.h>

#include "../tap.h"
#include "ack/ack.h"

#define COUNT 64u

static struct ush_ack_waiting ring[COUNT];
static struct ush_acks acks;
static struct ush_packet out[COUNT * 2];

static struct ush_packet packet(uint64_t n)
{
	return (struct ush_packet){
		.data = (uint8_t *)(uintptr_t)(n * 64),
		.size = (uint32_t)(64 + n % 1000),
		.handle = (void *)(uintptr_t)n,
		.flags = USH_PACKET_CONTROL,
		.payload_at = (uint16_t)(n % 100),
		.family = 6,
	};
}

static void push(uint64_t n, uint64_t sequence)
{
	struct ush_packet p = packet(n);

	ush_acks_push(&acks, &p, sequence);
}

/* Goal: a reply leaves when its sequence is below the durable one, not at it. */
static void test_ack_at_durable_waits(void)
{
	ush_acks_init(&acks, ring, COUNT);
	push(1, 127);
	push(2, 128);
	CHECK_EQ(ush_acks_pop(&acks, 64, out, COUNT), 0);
	CHECK_EQ(ush_acks_pop(&acks, 127, out, COUNT), 0);
	CHECK_EQ(ush_acks_pop(&acks, 128, out, COUNT), 1);
	CHECK_EQ((uintptr_t)out[0].handle, 1);
	CHECK_EQ(ush_acks_pop(&acks, 129, out, COUNT), 1);
	CHECK_EQ(ush_acks_count(&acks), 0);
}

/* Goal: what was pushed comes out whole. */
static void test_ack_packet_comes_out_as_it_went_in(void)
{
	struct ush_packet in = packet(7);

	ush_acks_init(&acks, ring, COUNT);
	push(7, 1);
	CHECK_EQ(ush_acks_pop(&acks, 2, out, 1), 1);
	CHECK(out[0].data == in.data && out[0].handle == in.handle);
	CHECK_EQ(out[0].size, in.size);
	CHECK_EQ(out[0].flags, in.flags);
	CHECK_EQ(out[0].payload_at, in.payload_at);
	CHECK_EQ(out[0].family, in.family);
}

/* Goal: replies keep their order, also those that could go earlier. */
static void test_ack_lower_behind_higher_waits_for_it(void)
{
	ush_acks_init(&acks, ring, COUNT);
	push(1, 200);
	push(2, 100);
	CHECK_EQ(ush_acks_pop(&acks, 192, out, COUNT), 0);
	CHECK_EQ(ush_acks_pop(&acks, 256, out, COUNT), 2);
	CHECK_EQ((uintptr_t)out[0].handle, 1);
	CHECK_EQ((uintptr_t)out[1].handle, 2);
}

/* Goal: room and count over many rounds, also past 2^32 pushes. Method: a counter as oracle. */
static void test_ack_many_rounds_keep_count(void)
{
	struct ush_random random;
	uint64_t pushed = 0, popped = 0;

	ush_acks_init(&acks, ring, COUNT);
	acks.head = acks.tail = UINT32_MAX - 5000;
	ush_random_init(&random, tap_seed(1));
	for (int i = 0; i < 20000; i++) {
		uint32_t max = (uint32_t)ush_random_below(&random, 20), n;

		for (uint64_t k = ush_random_below(&random, 20); k > 0; k--) {
			if (ush_acks_room(&acks) != 0) {
				push(pushed, pushed);
				pushed++;
			}
		}
		CHECK_EQ(ush_acks_count(&acks), pushed - popped);
		CHECK_EQ(ush_acks_room(&acks), COUNT - (pushed - popped));
		n = ush_acks_pop(&acks, popped + ush_random_below(&random, 20), out, max);
		CHECK(n <= max);
		for (uint32_t k = 0; k < n; k++)
			CHECK_EQ((uintptr_t)out[k].handle, popped++);
	}
	CHECK(pushed > 5000);
}

int main(void)
{
	TAP_RUN(test_ack_at_durable_waits);
	TAP_RUN(test_ack_packet_comes_out_as_it_went_in);
	TAP_RUN(test_ack_lower_behind_higher_waits_for_it);
	TAP_RUN(test_ack_many_rounds_keep_count);
	return tap_end();
}
