/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/histogram.h"

#define STEPS (1ull << USH_HISTOGRAM_STEP_BITS)

/*
 * Bucket of a value. With S = 7: below 2^7 the bucket is the value; a value with its highest bit at
 * e >= 7 is bucket (e - 6) * 128 + the seven bits below its highest, so e = 7 starts at 128 and
 * e = 63 ends at 57 * 128 + 127 = USH_HISTOGRAM_BUCKETS - 1.
 */
static uint32_t bucket_of(uint64_t value)
{
	uint32_t shift;

	if (value < STEPS)
		return (uint32_t)value;
	shift = 63u - (uint32_t)__builtin_clzll(value) - USH_HISTOGRAM_STEP_BITS;
	return ((shift + 1) << USH_HISTOGRAM_STEP_BITS) +
	       (uint32_t)((value >> shift) & (STEPS - 1));
}

/* The highest value that falls into a bucket. */
static uint64_t bucket_highest(uint32_t bucket)
{
	uint32_t shift;
	uint64_t lowest;

	if (bucket < STEPS)
		return bucket;
	shift = (bucket >> USH_HISTOGRAM_STEP_BITS) - 1;
	lowest = ((bucket & (STEPS - 1)) | STEPS) << shift;
	return lowest + ((1ull << shift) - 1);
}

void ush_histogram_init(struct ush_histogram *histogram)
{
	memset(histogram, 0, sizeof(*histogram));
	histogram->min = UINT64_MAX;
}

void ush_histogram_add(struct ush_histogram *histogram, uint64_t value_ns)
{
	histogram->count++;
	histogram->sum += value_ns;
	histogram->min = ush_min64(histogram->min, value_ns);
	histogram->max = ush_max64(histogram->max, value_ns);
	histogram->bucket[bucket_of(value_ns)]++;
}

void ush_histogram_merge(struct ush_histogram *histogram, const struct ush_histogram *other)
{
	histogram->count += other->count;
	histogram->sum += other->sum;
	histogram->min = ush_min64(histogram->min, other->min);
	histogram->max = ush_max64(histogram->max, other->max);
	for (uint32_t i = 0; i < USH_HISTOGRAM_BUCKETS; i++)
		histogram->bucket[i] += other->bucket[i];
}

uint64_t ush_histogram_at(const struct ush_histogram *histogram, uint32_t parts_per_million)
{
	const uint64_t million = 1000000;
	uint64_t rank, seen = 0;

	if (histogram->count == 0)
		return 0;
	/* ceil(count * ppm / 10^6) without overflow, at least the first value. */
	rank = histogram->count / million * parts_per_million +
	       (histogram->count % million * parts_per_million + million - 1) / million;
	rank = ush_max64(1, ush_min64(rank, histogram->count));
	for (uint32_t i = 0; i < USH_HISTOGRAM_BUCKETS; i++) {
		seen += histogram->bucket[i];
		if (seen >= rank)
			return ush_min64(bucket_highest(i), histogram->max);
	}
	return histogram->max;
}
