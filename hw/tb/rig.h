/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One filter under test, its configuration, and a frame.
 *
 * Owns:  the filter between begin() and end().
 * Reads: nothing.
 * Never: dataplane/admit, but for the layout of a configuration.
 */
#ifndef USH_TB_RIG_H
#define USH_TB_RIG_H

#include <string.h>

#include "../../tests/tap.h"
#include "admit/contract.h"
#include "hw/sim/filter.h"
#include "hw/tb/frames.h"

#define NOW 1800000000000000000ull
#define REG(name) USH_FILTER_REGISTER_##name
#define NO_CHECKS 0u
#define RESERVE 2
#define STATUS 1
#define RELEASE 3
#define JOIN 10

static const uint64_t key_a[2] = {0x0706050403020100, 0x0f0e0d0c0b0a0908};
static const uint64_t key_b[2] = {1, 2};
static struct ush_admit_config config;
static struct ush_filter *filter;
static struct build b;

/* Event 1 known, on sale; 2 known, not on sale; 3 on sale, sold out; 4 follows policy 5. */
static void begin(uint32_t checks)
{
	static const struct ush_admit_config none;

	memset(&config, 0, sizeof(config));
	config.checks = checks;
	config.udp_port = 7447;
	config.work_window_ns = 1000;
	config.table_key = (struct ush_key){11, 12};
	config.token[0] = (struct ush_admit_key){{key_a[0], key_a[1]}, 5, 1};
	config.event[1] = 16 | 32;
	config.event[2] = 16;
	config.event[3] = 16 | 32 | 64;
	config.event[4] = 16 | 32 | 5;
	config.event[65535] = 16 | 32;
	filter = ush_filter_create();
	USH_ASSERT(filter != NULL);
	/* No event is known yet: a simulated memory is 0 in the beginning. */
	ush_filter_configure(filter, &config, &none, 0);
	ush_filter_set_time(filter, NOW);
}

static void again(uint32_t load_bits)
{
	ush_filter_configure(filter, &config, &config, load_bits);
}

static void end(void)
{
	CHECK_EQ(ush_filter_unstable(filter), 0);
	ush_filter_destroy(filter);
}

/* ret: the verdict; whatever passes comes out as it was. */
static uint8_t judge_marked(bool *mark)
{
	static uint8_t out[BUILD_BYTES_MAX + 64];
	struct ush_filter_frame frame = {.data = b.frame, .length = b.length, .out = out};

	memset(out, 0, sizeof(out));
	ush_filter_burst(filter, &frame, 1, NULL);
	CHECK_EQ(frame.judged, 1);
	CHECK_EQ(frame.passed,
		frame.verdict == USH_VERDICT_PASS || frame.verdict == USH_VERDICT_HOST);
	CHECK_EQ(frame.out_length, frame.passed ? b.length : 0);
	if (frame.passed)
		CHECK(memcmp(out, b.frame, b.length) == 0);
	*mark = frame.mark != 0;
	return frame.verdict;
}

static uint8_t judge(void)
{
	bool mark;

	return judge_marked(&mark);
}

#endif /* USH_TB_RIG_H */
