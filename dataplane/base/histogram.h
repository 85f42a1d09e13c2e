/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A histogram of nanoseconds with a bounded relative error, in the manner of HdrHistogram.
 *
 * Owns:  its counts.
 * Reads: nothing.
 * Never: allocation, floating point.
 */
#ifndef USH_HISTOGRAM_H
#define USH_HISTOGRAM_H

#include "base/base.h"

/* Values below 2^7 are exact; above, 2^7 steps per power of two: relative error below 1/128. */
#define USH_HISTOGRAM_STEP_BITS 7u
#define USH_HISTOGRAM_BUCKETS ((64u - USH_HISTOGRAM_STEP_BITS + 1u) << USH_HISTOGRAM_STEP_BITS)

struct ush_histogram {
	uint64_t count;
	uint64_t sum;
	uint64_t min;
	uint64_t max;
	uint64_t bucket[USH_HISTOGRAM_BUCKETS];
};

void ush_histogram_init(struct ush_histogram *histogram);
/* by: one thread. cost: O(1). */
void ush_histogram_add(struct ush_histogram *histogram, uint64_t value_ns);
/* Adds every value of `other`. */
void ush_histogram_merge(struct ush_histogram *histogram, const struct ush_histogram *other);
/*
 * in:  parts_per_million: 500000 is the median, 999000 is p99.9.
 * ret: the highest value equivalent to the one at that rank, never above max; 0 when empty.
 */
uint64_t ush_histogram_at(const struct ush_histogram *histogram, uint32_t parts_per_million);

#endif /* USH_HISTOGRAM_H */
