/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hardware filter of hw/rtl as a simulation, translated by Verilator: its streams and its
 * registers, clock by clock. What is configured and read goes over its AXI-Lite port.
 *
 * Owns:  one simulated filter each.
 * Reads: frames and a configuration.
 * Never: judges anything itself.
 */
#ifndef USH_FILTER_H
#define USH_FILTER_H

#include <stdint.h>

#include "wire/wire.h"

#ifdef __cplusplus
extern "C" {
#endif

struct ush_admit_config;
struct ush_filter;

/* A frame on its way through the filter. */
struct ush_filter_frame {
	/* Of the frame as it comes in. */
	const uint8_t *data;
	uint32_t length;
	/* 1: the card says that it was received in error. */
	uint32_t error;

	/* Out: 1: it was let into the filter's memory and judged; 0: dropped before. */
	uint8_t judged;
	/* Out, if judged: enum ush_verdict; PASS too where the filter is bypassed. */
	uint8_t verdict;
	/* Out: 1: it came out; its bytes are at `out` and were out_length. */
	uint8_t passed;
	/* Out: marked as the user's last request again. */
	uint8_t mark;
	uint32_t out_length;
	/* In: room for the frame, rounded up to 64 bytes; may be `data`. NULL: not wanted. */
	uint8_t *out;
	/* Out: the time that it was judged by. */
	uint64_t now_ns;
	/* Out: clocks at which its first and last beat came in, its verdict was there and its first
	 * beat was taken at the other end. */
	uint64_t first_clock;
	uint64_t last_clock;
	uint64_t verdict_clock;
	uint64_t out_clock;
};

/* How a burst is driven; all 0: a beat a clock in and out. Chances are in 256. */
struct ush_filter_stress {
	/* That a clock brings no beat; that the next stage takes none. */
	uint32_t gap;
	uint32_t stall;
	/* 1: bytes that are not there are noise, registers are read all the time. */
	uint32_t noise;
	uint64_t seed;
};

/* ret: a filter out of reset, all registers as a reset leaves them; NULL: no memory. */
struct ush_filter *ush_filter_create(void);

void ush_filter_destroy(struct ush_filter *filter);

/* Register `at` (enum ush_filter_register, or events at USH_FILTER_EVENTS). cost: about 6 clocks.
 */
void ush_filter_write(struct ush_filter *filter, uint32_t at, uint32_t value);
uint32_t ush_filter_read(struct ush_filter *filter, uint32_t at);

/* ret: a counter of 64 bits. in: at: its low half. */
uint64_t ush_filter_count(struct ush_filter *filter, uint32_t at);

/* ret: bus errors that the filter answered to writes so far. */
uint64_t ush_filter_refused_writes(const struct ush_filter *filter);

/* As ush_filter_write, with only some of its bytes. in: strobe: bit i: byte i. */
void ush_filter_write_bytes(
	struct ush_filter *filter, uint32_t at, uint32_t value, uint32_t strobe);

/* The filter's clock stands at now_ns from here on, or goes on by itself if CLOCK_STEP is not 0. */
void ush_filter_set_time(struct ush_filter *filter, uint64_t now_ns);

/* Lets frames through, and waits until all is out. out: all that frames say is out. */
void ush_filter_burst(struct ush_filter *filter, struct ush_filter_frame *frames, uint32_t count,
	const struct ush_filter_stress *stress);

/* Lets clocks go by. */
void ush_filter_idle(struct ush_filter *filter, uint32_t clocks);

/* ret: clocks since reset. */
uint64_t ush_filter_clocks(const struct ush_filter *filter);

/* ret: times that the outgoing stream broke AXI's rule: what is offered stays until it is taken. */
uint64_t ush_filter_unstable(const struct ush_filter *filter);

/* ---- filter_config.c ---- */

/*
 * Writes a configuration and load_bits into the registers; checks that the filter cannot make are
 * left out. in: written: what was written last, so that only events that changed are written again;
 * NULL: all of it. ret: the checks that are made.
 */
uint32_t ush_filter_configure(struct ush_filter *filter, const struct ush_admit_config *config,
	const struct ush_admit_config *written, uint32_t load_bits);

#ifdef __cplusplus
}
#endif

#endif /* USH_FILTER_H */
