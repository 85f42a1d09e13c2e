/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What best-available costs beside a plain claim of four seats, in one process: a hall of 100,000
 * seats of which all but a few hundred places for four are taken. Each turn holds 32 groups of four
 * and the next one releases them; only the turns that hold are timed. The two kinds take turns.
 *
 * The least of some rounds is the figure to compare: whatever else the machine does only adds.
 *
 * Owns:  one engine.
 * Reads: nothing.
 * Never: DPDK, files.
 */
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "../harness.h"

#define BURST 32u
#define ROWS 2500u
#define SEATS 40u
/* Every so many rows one has places for four left. */
#define SPARSE 8u
#define TURNS 4000u

struct bench {
	struct harness h;
	uint64_t hold[BURST];
	struct ush_leg seats[BURST];
	uint32_t id;
	uint64_t refused;
};

static uint64_t now_ns(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * 1000000000ull + (uint64_t)time.tv_nsec;
}

/* Two places for four in each eighth row, two single seats in every row. */
static uint64_t left_free(uint32_t row)
{
	uint64_t singles = 1ull << 1 | 1ull << 38;

	return row % SPARSE == SPARSE - 1 ? singles | 0xfull << 10 | 0xfull << 24 : singles;
}

/* The i-th place for four. */
static struct ush_leg place(uint32_t i)
{
	i %= ROWS / SPARSE * 2;
	return (struct ush_leg){.row = (uint16_t)(i / 2 * SPARSE + SPARSE - 1),
		.mask = 0xfull << (i % 2 == 0 ? 10 : 24)};
}

static void open_hall(struct bench *b)
{
	const struct ush_engine_limits limits = {.loop_count = 1,
		.hold_count = 1u << 16,
		.user_count = 1u << 16,
		.answer_count = 1u << 16,
		.row_count = 4096,
		.log_block_count = 4096,
		.ack_count = 32768};
	size_t bytes;
	void *image;

	harness_open(&b->h, &limits);
	image = harness_image(ROWS, SEATS, 60000, &bytes);
	harness_event_of(&b->h, 1, image, bytes);
	free(image);
	for (uint32_t row = 0; row < ROWS; row++) {
		struct ush_request block = {.op = USH_OP_BLOCK,
			.event = 1,
			.row = (uint16_t)row,
			.mask = ((1ull << SEATS) - 1) & ~left_free(row)};
		USH_ASSERT(harness_ask(&b->h, &block).status == USH_STATUS_OK);
	}
}

static struct ush_packet request_of(struct bench *b, uint32_t i, uint8_t op)
{
	static const uint64_t pad[3] = {USH_EXTENSION_PAD | 24u << 16};
	struct ush_request r = {
		.op = op, .event = 1, .user = 1 + i, .request_id = b->id, .cookie = i};

	if (op == USH_OP_RELEASE) {
		r.hold = b->hold[i];
	} else if (op == USH_OP_RESERVE) {
		r.row = b->seats[i].row;
		r.mask = b->seats[i].mask;
	} else {
		r.arg = 4;
	}
	/* As long as one another, so that only the choosing differs. */
	return harness_packet(&b->h, &r, op == USH_OP_RELEASE ? NULL : pad,
		op == USH_OP_RELEASE ? 0 : sizeof(pad));
}

/* One burst. ret: nanoseconds in the turn that decides it. */
static uint64_t turn(struct bench *b, uint8_t op)
{
	struct ush_packet packets[BURST];
	uint64_t start, spent;

	b->id++;
	for (uint32_t i = 0; i < BURST; i++)
		packets[i] = request_of(b, i, op);
	start = now_ns();
	ush_loop_turn(
		ush_engine_loop(b->h.engine, 0), &b->h.net, packets, BURST, b->h.now_ns, &b->h.out);
	spent = now_ns() - start;
	harness_make_durable(&b->h);
	harness_turn(&b->h, 0, NULL, 0);
	for (uint32_t i = 0; i < b->h.reply_count; i++) {
		const struct ush_reply *reply = &b->h.replies[i];

		b->refused += reply->status != USH_STATUS_OK;
		if (op != USH_OP_RELEASE)
			b->hold[reply->cookie] = reply->hold;
	}
	b->refused += b->h.reply_count != BURST;
	return spent;
}

/* ret: nanoseconds for TURNS bursts that hold. */
static uint64_t run(struct bench *b, uint8_t op)
{
	uint64_t spent = 0;

	for (uint32_t i = 0; i < TURNS; i++) {
		for (uint32_t k = 0; k < BURST; k++)
			b->seats[k] = place(i * BURST + k);
		spent += turn(b, op);
		turn(b, USH_OP_RELEASE);
	}
	return spent;
}

int main(int argc, char **argv)
{
	uint32_t rounds = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 0) : 5;
	double plain = 1e9, best = 1e9;
	static struct bench b;

	open_hall(&b);
	for (uint32_t i = 0; i < rounds; i++) {
		double one = (double)run(&b, USH_OP_RESERVE) / TURNS / BURST;
		double other = (double)run(&b, USH_OP_RESERVE_BEST) / TURNS / BURST;

		printf("%.1f ns a plain claim of 4, %.1f ns best of 4\n", one, other);
		plain = one < plain ? one : plain;
		best = other < best ? other : best;
	}
	printf("{\"plain_ns\":%.1f,\"best_ns\":%.1f,\"ratio\":%.2f,\"refused\":%" PRIu64 "}\n",
		plain, best, best / plain, b.refused);
	harness_close(&b.h);
	return b.refused == 0 ? 0 : 1;
}
