/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A million spoofed addresses against honest ones, an abuser, and a table of the default size; and
 * a table that is far too small.
 *
 * Method: virtual time; in each millisecond spoofed packets of addresses drawn at random, and in
 * some one request of each honest address, well below its rate, and many of one abuser.
 *
 * Owns:  one gate.
 * Reads: USH_SEED.
 * Never: clocks.
 */
#include <stdlib.h>
#include <string.h>

#include "../tap.h"
#include "admit/gate.h"

#define SECOND 1000000000ull
#define MS 1000000ull
#define SPOOFED 1000000u
#define HONEST 500u

static struct ush_gate gate;
static struct ush_random chance;
static uint8_t payload[64];
static uint64_t now_ns;

struct flood {
	uint64_t honest_asked;
	uint64_t honest_refused;
	uint64_t abuser_passed;
	uint64_t spoofed_passed;
	uint64_t evicted;
};

static bool passes(uint32_t address)
{
	struct ush_gate_item item = {
		.payload = payload, .size = 64, .family = 4, .source = (const uint8_t *)&address};

	ush_gate_judge(&gate, ush_gate_config(&gate), &item, 1, now_ns);
	return item.says.verdict == USH_VERDICT_PASS;
}

/* `seconds` of a flood of `per_ms` spoofed packets a millisecond. */
static struct flood run(uint32_t buckets, uint32_t per_ms, uint32_t seconds)
{
	static struct ush_admit_config config;
	struct flood f = {0};
	void *memory = calloc(1, ush_gate_bytes(buckets, 4) + 64);
	uint8_t *aligned = (uint8_t *)(((uintptr_t)memory + 63) & ~(uintptr_t)63);

	if (memory == NULL)
		abort();
	memset(&config, 0, sizeof(config));
	config.checks = USH_ADMISSION_CHECK_SOURCE;
	config.table_key = (struct ush_key){ush_random_next(&chance), ush_random_next(&chance)};
	config.policy[0].source = (struct ush_admit_limit){100 * MS, 900 * MS};
	ush_gate_init(&gate, aligned, buckets, 4);
	ush_gate_set(&gate, &config);
	for (uint32_t ms = 0; ms < seconds * 1000; ms++) {
		now_ns += MS;
		for (uint32_t i = 0; i < per_ms; i++)
			f.spoofed_passed +=
				passes(1000000 + (uint32_t)ush_random_below(&chance, SPOOFED));
		/* Each honest one asks 8 times a second, all of them at other times. */
		for (uint32_t i = ms % 125; i < HONEST; i += 125) {
			f.honest_asked++;
			f.honest_refused += !passes(1 + i);
		}
		for (uint32_t i = 0; i < 10; i++)
			f.abuser_passed += passes(900000);
	}
	f.evicted = gate.state.sources.evicted;
	free(memory);
	printf("# %u buckets, %u spoofed/ms, %u s: honest %" PRIu64 " asked, %" PRIu64
	       " refused; abuser %" PRIu64 " of %u; spoofed %" PRIu64 " passed; %" PRIu64
	       " replaced while not full\n",
		buckets, per_ms, seconds, f.honest_asked, f.honest_refused, f.abuser_passed,
		seconds * 10000, f.spoofed_passed, f.evicted);
	return f;
}

/* Goal: at 1 M spoofed packets a second nobody honest is refused, and the abuser is held to his
 * rate. */
static void test_gate_flood_spares_the_honest(void)
{
	struct flood f = run(1u << 18, 1000, 3);

	CHECK_EQ(f.honest_refused, 0);
	/* 10 at once, 10 a second. */
	CHECK(f.abuser_passed <= 10 + 3 * 10);
	CHECK(f.abuser_passed >= 30);
}

/* Goal: in a table of a hundredth of that size, honest ones are not refused either, and the abuser,
 * deep in debt, is the last whose bucket goes. */
static void test_gate_flood_of_a_small_table_forgets_debts_only(void)
{
	struct flood f = run(1u << 11, 1000, 2);

	CHECK_EQ(f.honest_refused, 0);
	CHECK(f.evicted > 1000000);
	CHECK(f.abuser_passed <= 2 * (10 + 2 * 10));
}

int main(void)
{
	ush_random_init(&chance, tap_seed(20261127));
	now_ns = 1700000000 * SECOND;
	/* Any query. */
	payload[0] = 'U';
	payload[1] = 'Q';
	payload[2] = USH_VERSION;
	payload[3] = USH_OP_STATUS;
	payload[4] = 64;
	TAP_RUN(test_gate_flood_spares_the_honest);
	TAP_RUN(test_gate_flood_of_a_small_table_forgets_debts_only);
	return tap_end();
}
