/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Test Anything Protocol, version 13, as small as it can be.
 *
 * A test is a function run by TAP_RUN(name); each CHECK in it that fails prints where and what and
 * makes the test "not ok"; the program's exit status is 1 if any test failed.
 *
 * Owns:  the counters of one test program.
 * Reads: USH_SEED from the environment.
 * Never: used outside tests/.
 */
#ifndef USH_TAP_H
#define USH_TAP_H

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static int tap_count;
static int tap_failed;
static int tap_failures_here;

#define CHECK(condition) \
	do { \
		if (!(condition)) { \
			tap_failures_here++; \
			printf("# %s:%d: %s: not so: %s\n", __FILE__, __LINE__, __func__, \
				#condition); \
		} \
	} while (0)

/* Both sides as unsigned 64-bit integers, printed when they differ. */
#define CHECK_EQ(a, b) \
	do { \
		uint64_t tap_a = (uint64_t)(a), tap_b = (uint64_t)(b); \
		if (tap_a != tap_b) { \
			tap_failures_here++; \
			printf("# %s:%d: %s: %s is %" PRIu64 " (0x%" PRIx64 "), expected %" PRIu64 \
			       " (0x%" PRIx64 ")\n", \
				__FILE__, __LINE__, __func__, #a, tap_a, tap_a, tap_b, tap_b); \
		} \
	} while (0)

#define TAP_RUN(test) \
	do { \
		tap_failures_here = 0; \
		test(); \
		tap_count++; \
		tap_failed += tap_failures_here != 0; \
		printf("%s %d - %s\n", tap_failures_here ? "not ok" : "ok", tap_count, #test); \
		fflush(stdout); \
	} while (0)

#define TAP_SKIP(name, reason) printf("ok %d - %s # SKIP %s\n", ++tap_count, name, reason)

static inline int tap_end(void)
{
	printf("1..%d\n", tap_count);
	return tap_failed != 0;
}

/* The seed of this run: USH_SEED, or `fallback`. Printed, so that a failure can be repeated. */
static inline uint64_t tap_seed(uint64_t fallback)
{
	const char *text = getenv("USH_SEED");
	uint64_t seed = text != NULL ? strtoull(text, NULL, 0) : fallback;

	printf("# USH_SEED=%" PRIu64 "\n", seed);
	return seed;
}

#endif /* USH_TAP_H */
