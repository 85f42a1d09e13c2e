/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "base/histogram.h"
#include "tests/tap.h"

static struct ush_histogram histogram, other;

/* Goal: nothing is invented. Method: ask an empty one. */
static void test_histogram_empty_answers_zero(void)
{
	ush_histogram_init(&histogram);
	CHECK_EQ(ush_histogram_at(&histogram, 500000), 0);
	CHECK_EQ(ush_histogram_at(&histogram, 1000000), 0);
	CHECK_EQ(histogram.count, 0);
	CHECK_EQ(histogram.max, 0);
}

/* Goal: small values are exact. Method: 0 to 127 once each, every rank asked for. */
static void test_histogram_below_128_is_exact(void)
{
	ush_histogram_init(&histogram);
	for (uint64_t value = 0; value < 128; value++)
		ush_histogram_add(&histogram, value);
	CHECK_EQ(histogram.sum, 127 * 128 / 2);
	CHECK_EQ(ush_histogram_at(&histogram, 0), 0);
	CHECK_EQ(ush_histogram_at(&histogram, 500000), 63);
	CHECK_EQ(ush_histogram_at(&histogram, 1000000), 127);
	for (uint64_t rank = 1; rank <= 128; rank++)
		CHECK_EQ(ush_histogram_at(&histogram, (uint32_t)(rank * 1000000 / 128)), rank - 1);
}

/* Goal: the stated error bound holds at every power of two. Method: the value alone, one step
 * either side of it, in a histogram whose maximum is elsewhere. */
static void test_histogram_edges_keep_error_below_one_128th(void)
{
	for (uint32_t bit = 0; bit < 64; bit++) {
		for (uint64_t offset = 0; offset <= 2; offset++) {
			uint64_t value = (1ull << bit) + offset - 1;
			uint64_t got;

			ush_histogram_init(&histogram);
			ush_histogram_add(&histogram, value);
			ush_histogram_add(&histogram, UINT64_MAX);
			got = ush_histogram_at(&histogram, 500000);
			if (value > UINT64_MAX / 2 && got == UINT64_MAX)
				continue;
			CHECK(got >= value);
			CHECK(got - value <= value / 128);
		}
	}
}

/* Goal: an answer never exceeds what was seen. Method: one odd value, all ranks. */
static void test_histogram_answer_never_above_max(void)
{
	ush_histogram_init(&histogram);
	ush_histogram_add(&histogram, 1000001);
	CHECK_EQ(ush_histogram_at(&histogram, 1), 1000001);
	CHECK_EQ(ush_histogram_at(&histogram, 999999), 1000001);
	CHECK_EQ(histogram.min, 1000001);
}

static int compare_u64(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* Goal: percentiles agree with sorting. Method: random values of all magnitudes against qsort. */
static void test_histogram_random_agrees_with_sorting(void)
{
	static const uint32_t ppm[] = {1, 1000, 500000, 900000, 990000, 999000, 999900, 1000000};
	enum {
		COUNT = 20000
	};
	static uint64_t values[COUNT];
	struct ush_random random;

	ush_random_init(&random, tap_seed(1));
	ush_histogram_init(&histogram);
	for (uint32_t i = 0; i < COUNT; i++) {
		values[i] = ush_random_next(&random) >> ush_random_below(&random, 64);
		ush_histogram_add(&histogram, values[i]);
	}
	qsort(values, COUNT, sizeof(values[0]), compare_u64);
	for (size_t i = 0; i < sizeof(ppm) / sizeof(ppm[0]); i++) {
		uint64_t rank = ((uint64_t)COUNT * ppm[i] + 999999) / 1000000;
		uint64_t exact = values[(rank == 0 ? 1 : rank) - 1];
		uint64_t got = ush_histogram_at(&histogram, ppm[i]);

		CHECK(got >= exact);
		CHECK(got - exact <= exact / 128);
	}
}

/* Goal: merging is adding. Method: split one stream in two and merge, compare all memory. */
static void test_histogram_merge_equals_adding_all(void)
{
	static struct ush_histogram whole;
	struct ush_random random;

	ush_random_init(&random, tap_seed(2));
	ush_histogram_init(&histogram);
	ush_histogram_init(&other);
	ush_histogram_init(&whole);
	for (uint32_t i = 0; i < 10000; i++) {
		uint64_t value = ush_random_next(&random) >> ush_random_below(&random, 64);

		ush_histogram_add(i % 3 ? &histogram : &other, value);
		ush_histogram_add(&whole, value);
	}
	ush_histogram_merge(&histogram, &other);
	CHECK(memcmp(&histogram, &whole, sizeof(whole)) == 0);
}

int main(void)
{
	TAP_RUN(test_histogram_empty_answers_zero);
	TAP_RUN(test_histogram_below_128_is_exact);
	TAP_RUN(test_histogram_edges_keep_error_below_one_128th);
	TAP_RUN(test_histogram_answer_never_above_max);
	TAP_RUN(test_histogram_random_agrees_with_sorting);
	TAP_RUN(test_histogram_merge_equals_adding_all);
	return tap_end();
}
