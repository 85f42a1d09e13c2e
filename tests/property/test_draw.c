/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The draw's permutations: one to one for every size, backwards, and as even as chance is.
 *
 * Owns:  one draw.
 * Reads: USH_SEED.
 * Never: DPDK.
 */
#include <string.h>

#include "../tap.h"
#include "room/draw.h"
#include "room/merkle.h"

#define PLACES_MAX 70000u

static struct ush_random dice;
static struct ush_draw draw;
static void *tables;
static uint8_t taken[PLACES_MAX];

static void open_draw(const uint32_t counts[USH_DRAW_TIERS])
{
	uint8_t key[USH_DRAW_KEY_BYTES];

	for (uint32_t i = 0; i < sizeof(key); i++)
		key[i] = (uint8_t)(ush_random_next(&dice) >> 32);
	ush_draw_open(&draw, tables, counts, key, ush_sha256);
}

/* Every number once, within its tier, and back. */
static void check_one_to_one(const uint32_t counts[USH_DRAW_TIERS])
{
	uint64_t wrong = 0, first = 0;

	open_draw(counts);
	memset(taken, 0, sizeof(taken));
	for (uint32_t tier = 0; tier < USH_DRAW_TIERS; first += counts[tier++]) {
		for (uint32_t i = 0; i < counts[tier]; i++) {
			uint64_t number = ush_draw_number(&draw, tier, i);
			uint32_t back = 0;

			wrong += number < first || number >= first + counts[tier];
			wrong += number >= draw.count || taken[number]++ != 0;
			wrong += ush_draw_place(&draw, number, &back) != tier || back != i;
		}
	}
	CHECK_EQ(wrong, 0);
	CHECK_EQ(draw.count, first);
}

static void check_one_tier(uint32_t tier, uint32_t count)
{
	uint32_t counts[USH_DRAW_TIERS] = {0};

	counts[tier] = count;
	check_one_to_one(counts);
}

/* Goal: a bijection for all small sizes, and around powers of two and for primes. */
static void test_draw_one_to_one_for_every_size(void)
{
	static const uint32_t large[] = {2047, 2048, 2049, 4095, 4096, 4097, 8191, 8192, 8193,
		16381, 32767, 32768, 32769, 65521, 65535, 65536, 65537};

	for (uint32_t n = 0; n <= 300; n++)
		check_one_tier(n % USH_DRAW_TIERS, n);
	for (size_t i = 0; i < sizeof(large) / sizeof(large[0]); i++)
		check_one_tier((uint32_t)i % USH_DRAW_TIERS, large[i]);
}

/* Goal: tiers follow each other, whatever their sizes; then come the late ones. */
static void test_draw_tiers_follow_each_other(void)
{
	for (uint32_t run = 0; run < 300; run++) {
		uint32_t counts[USH_DRAW_TIERS], index;

		for (uint32_t t = 0; t < USH_DRAW_TIERS; t++)
			counts[t] = ush_random_below(&dice, 3) == 0
					    ? 0
					    : (uint32_t)ush_random_below(&dice, 400);
		check_one_to_one(counts);
		CHECK_EQ(ush_draw_number(&draw, USH_DRAW_TIER_FIFO, run), draw.count + run);
		CHECK_EQ(ush_draw_place(&draw, draw.count + run, &index), USH_DRAW_TIER_FIFO);
		CHECK_EQ(index, run);
	}
}

/* Chi-square of counts that should be equal, times 1000. */
static uint64_t chi_square(const uint32_t *counts, uint32_t cells, uint64_t total)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < cells; i++) {
		int64_t off = (int64_t)((uint64_t)counts[i] * cells) - (int64_t)total;

		sum += (uint64_t)(off * off);
	}
	return sum * 1000 / cells / total;
}

/* ret: place of an order of n among all n! of them. */
static uint32_t rank_of(const uint32_t *order, uint32_t n)
{
	uint32_t rank = 0;

	for (uint32_t i = 0; i < n; i++) {
		uint32_t smaller = 0;

		for (uint32_t j = i + 1; j < n; j++)
			smaller += order[j] < order[i];
		rank = rank * (n - i) + smaller;
	}
	return rank;
}

/*
 * Goal: each order of 2 to 5 places is as likely as any other.
 * Method: chi-square over n! cells, against its mean plus six deviations: chance fails it once in
 * some millions.
 */
static void test_draw_each_order_is_equally_likely(void)
{
	const uint32_t cells[] = {0, 1, 2, 6, 24, 120};
	const uint64_t limit[] = {0, 0, 36000, 24000, 64000, 212000};

	for (uint32_t n = 2; n <= 5; n++) {
		uint32_t counts[120] = {0}, total = cells[n] * 500;
		uint64_t chi;

		for (uint32_t run = 0; run < total; run++) {
			uint32_t order[5];

			open_draw((uint32_t[USH_DRAW_TIERS]){n});
			for (uint32_t i = 0; i < n; i++)
				order[i] = (uint32_t)ush_draw_number(&draw, 0, i);
			counts[rank_of(order, n)]++;
		}
		chi = chi_square(counts, cells[n], total);
		printf("# %u places: chi-square %.1f with %u degrees of freedom\n", n,
			(double)chi / 1000, cells[n] - 1);
		CHECK(chi < limit[n]);
		CHECK(chi > 0);
	}
}

/*
 * Goal: over keys a place may get any number, and so may the number of its neighbour minus its own.
 * Method: as above, for sizes at, below and above powers of two.
 */
static void test_draw_numbers_are_even_over_keys(void)
{
	static const uint32_t sizes[] = {31, 32, 33, 100, 127, 128, 129};

	for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
		uint32_t n = sizes[s], total = n * 60, ends[3][130] = {{0}}, gaps[130] = {0};
		const uint32_t places[3] = {0, n / 2, n - 1};
		/* Mean n - 1, deviation sqrt(2 (n - 1)). */
		uint64_t limit = n - 1;

		while ((limit - (n - 1)) * (limit - (n - 1)) < 72ull * (n - 1))
			limit++;
		for (uint32_t run = 0; run < total; run++) {
			uint64_t a, b;

			open_draw((uint32_t[USH_DRAW_TIERS]){n});
			for (uint32_t p = 0; p < 3; p++)
				ends[p][ush_draw_number(&draw, 0, places[p])]++;
			a = ush_draw_number(&draw, 0, n / 3);
			b = ush_draw_number(&draw, 0, n / 3 + 1);
			gaps[(a + n - b) % n]++;
		}
		for (uint32_t p = 0; p < 3; p++)
			CHECK(chi_square(ends[p], n, total) < limit * 1000);
		/* Never 0; all else alike. */
		CHECK_EQ(gaps[0], 0);
		CHECK(chi_square(gaps + 1, n - 1, total) < limit * 1000);
	}
}

/* Goal: another key, or another tier, is another order. */
static void test_draw_orders_differ_by_key_and_tier(void)
{
	uint32_t same_tier = 0, same_key = 0;
	uint32_t before[1000];

	open_draw((uint32_t[USH_DRAW_TIERS]){1000, 1000});
	for (uint32_t i = 0; i < 1000; i++) {
		before[i] = (uint32_t)ush_draw_number(&draw, 0, i);
		same_tier += before[i] == ush_draw_number(&draw, 1, i) - 1000;
	}
	open_draw((uint32_t[USH_DRAW_TIERS]){1000, 1000});
	for (uint32_t i = 0; i < 1000; i++)
		same_key += before[i] == ush_draw_number(&draw, 0, i);
	/* One each is expected; 15 come once in 10^12. */
	CHECK(same_tier < 15);
	CHECK(same_key < 15);
}

int main(void)
{
	ush_random_init(&dice, tap_seed(1));
	tables = malloc(ush_draw_bytes(PLACES_MAX));
	USH_ASSERT(tables != NULL);
	TAP_RUN(test_draw_one_to_one_for_every_size);
	TAP_RUN(test_draw_tiers_follow_each_other);
	TAP_RUN(test_draw_each_order_is_equally_likely);
	TAP_RUN(test_draw_numbers_are_even_over_keys);
	TAP_RUN(test_draw_orders_differ_by_key_and_tier);
	free(tables);
	return tap_end();
}
