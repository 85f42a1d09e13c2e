/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The queue of replies that wait.
 *
 * Owns:  one queue.
 * Reads: USH_SEED.
 * Never: DPDK.
 */
#include <string.h>

#include "../tap.h"
#include "ack/ack.h"

#define COUNT 256u

static _Alignas(
	USH_CACHE_LINE) uint8_t memory[(COUNT / USH_ACK_CHUNK + 2) * sizeof(struct ush_ack_chunk)];
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

	ush_acks_push(&acks, &p, sequence, false);
}

/* Goal: a reply leaves when its sequence is below the durable one, not at it. */
static void test_ack_at_durable_waits(void)
{
	ush_acks_init(&acks, memory, COUNT);
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

	ush_acks_init(&acks, memory, COUNT);
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
	ush_acks_init(&acks, memory, COUNT);
	push(1, 200);
	push(2, 100);
	CHECK_EQ(ush_acks_pop(&acks, 192, out, COUNT), 0);
	CHECK_EQ(ush_acks_pop(&acks, 256, out, COUNT), 2);
	CHECK_EQ((uintptr_t)out[0].handle, 1);
	CHECK_EQ((uintptr_t)out[1].handle, 2);
}

/* Goal: room and count over many rounds, to the last entry wherever the queue begins. Method: a
 * counter as oracle. */
static void test_ack_many_rounds_keep_count(void)
{
	struct ush_random random;
	uint64_t pushed = 0, popped = 0, most = 0;

	ush_acks_init(&acks, memory, COUNT);
	ush_random_init(&random, tap_seed(1));
	for (int i = 0; i < 20000; i++) {
		/* Up to the brim and back, some hundred times. */
		uint32_t fill = i / 100 % 2 == 0 ? 40 : 10, drain = 50 - fill;
		uint32_t max = (uint32_t)ush_random_below(&random, drain), n;

		for (uint64_t k = ush_random_below(&random, fill); k > 0; k--) {
			if (ush_acks_room(&acks) != 0) {
				push(pushed, pushed);
				pushed++;
			}
		}
		CHECK_EQ(ush_acks_count(&acks), pushed - popped);
		CHECK_EQ(ush_acks_room(&acks), COUNT - (pushed - popped));
		most = pushed - popped > most ? pushed - popped : most;
		n = ush_acks_pop(&acks, popped + ush_random_below(&random, drain), out, max);
		CHECK(n <= max);
		for (uint32_t k = 0; k < n; k++)
			CHECK_EQ((uintptr_t)out[k].handle, popped++);
	}
	CHECK_EQ(most, COUNT);
	CHECK(popped > 50000);
}

/* Goal: a reply that left its packet comes out as it was written, whoever came after it. Method:
 * each frame is filled with its number. */
static void test_ack_kept_frames_come_out_whole(void)
{
	uint64_t pushed = 0, popped = 0;

	ush_acks_init(&acks, memory, COUNT);
	for (uint32_t round = 0; round < 300; round++) {
		struct ush_packet p = {.data = (uint8_t *)&pushed, .payload_at = 42, .handle = &p};
		uint32_t n;

		CHECK(ush_acks_keeps(&p, 64));
		for (uint32_t k = 0; k < 3 + round % 5 && ush_acks_room(&acks) != 0;
			k++, pushed++) {
			struct ush_packet *to = ush_acks_push(&acks, &p, pushed, true);

			CHECK(to->handle == NULL && to->capacity == USH_PACKET_KEPT_BYTES);
			memset(to->data, (int)(pushed & 0xff), USH_PACKET_KEPT_BYTES);
		}
		n = ush_acks_pop(&acks, UINT64_MAX, out, 2 + round % 7);
		for (uint32_t k = 0; k < n; k++, popped++) {
			CHECK_EQ(out[k].data[0], popped & 0xff);
			CHECK_EQ(out[k].data[USH_PACKET_KEPT_BYTES - 1], popped & 0xff);
		}
	}
	CHECK(popped > 1000);
}

/* Goal: memory follows the number that waits, not the number that may. Method: a thousand chunks'
 * worth of replies of which never more than ten wait: two chunks are enough. */
static void test_ack_few_use_little_memory(void)
{
	const struct ush_ack_chunk *chunks = (const void *)memory;
	struct ush_packet p = {.payload_at = 42};

	ush_acks_init(&acks, memory, COUNT);
	for (uint32_t i = 0; i < 1000 * USH_ACK_CHUNK; i++) {
		const struct ush_packet *to = ush_acks_push(&acks, &p, i, true);

		CHECK(to->data < (const uint8_t *)&chunks[2]);
		if (i >= 9)
			CHECK_EQ(ush_acks_pop(&acks, UINT64_MAX, out, 1), 1);
	}
}

/* Goal: neither a control message nor what is too long leaves its packet. */
static void test_ack_keeps_only_what_fits(void)
{
	struct ush_packet p = {.payload_at = 62};

	CHECK(ush_acks_keeps(&p, 64));
	CHECK(!ush_acks_keeps(&p, 72));
	p.flags = USH_PACKET_CONTROL;
	CHECK(!ush_acks_keeps(&p, 64));
}

int main(void)
{
	TAP_RUN(test_ack_at_durable_waits);
	TAP_RUN(test_ack_packet_comes_out_as_it_went_in);
	TAP_RUN(test_ack_lower_behind_higher_waits_for_it);
	TAP_RUN(test_ack_many_rounds_keep_count);
	TAP_RUN(test_ack_kept_frames_come_out_whole);
	TAP_RUN(test_ack_few_use_little_memory);
	TAP_RUN(test_ack_keeps_only_what_fits);
	return tap_end();
}
