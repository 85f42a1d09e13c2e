/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Unix time for the loops from the time-stamp counter, without a system call.
 *
 * The wall clock is read once, at start; from then on time follows CLOCK_MONOTONIC, which is
 * slewed but never set, so that a corrected clock cannot expire holds at once or revive them. A
 * housekeeper compares the counter with it once a second and corrects rate and remainder, because
 * EAL's figure for the counter's rate may be rounded to 10 MHz (0.3 % at 3 GHz, 10 s an hour).
 *
 * Owns:  struct ush_clock: written by one thread, read by all.
 * Reads: the counter, CLOCK_REALTIME once, CLOCK_MONOTONIC.
 * Never: goes back, for any one reader.
 */
#ifndef USH_CLOCK_H
#define USH_CLOCK_H

#include <stdatomic.h>

#include "base/base.h"

struct ush_clock {
	/* Odd while the fields below are being changed. */
	_Alignas(USH_CACHE_LINE) _Atomic uint32_t version;
	/* ns = ns_base + ((counter - counter_base) * multiplier >> 32) */
	_Atomic uint64_t counter_base;
	_Atomic uint64_t ns_base;
	_Atomic uint64_t multiplier;
	/* Unix time minus CLOCK_MONOTONIC, as found at start. Writer only. */
	uint64_t offset_ns;
	/* The counter's rate is known only after the first correction. Writer only. */
	uint64_t counter_first;
	uint64_t monotonic_first;
};

/* A reader's copy. */
struct ush_clock_view {
	uint32_t version;
	uint64_t counter_base;
	uint64_t ns_base;
	uint64_t multiplier;
	uint64_t last_ns;
};

/*
 * Starts at the wall clock, or at floor_ns when that is later: time must not go back behind what
 * the journal has seen. in: counter_hz: the counter's rate as far as known.
 * ret: ns by which the wall clock was behind floor_ns.
 */
uint64_t ush_clock_init(struct ush_clock *clock, uint64_t counter_hz, uint64_t floor_ns);

/* Corrects rate and remainder. by: one thread, about once a second. */
void ush_clock_correct(struct ush_clock *clock);

/* Slow path of ush_clock_now. */
void ush_clock_view_refresh(const struct ush_clock *clock, struct ush_clock_view *view);

/* ret: Unix time in ns, never less than the same view gave before. in: counter: rte_rdtsc().
 * by: the owner of the view. cost: a load, a multiplication. */
USH_INLINE uint64_t ush_clock_now(
	const struct ush_clock *clock, struct ush_clock_view *view, uint64_t counter)
{
	uint64_t ns;

	if (ush_unlikely(
		    view->version != atomic_load_explicit(&clock->version, memory_order_acquire)))
		ush_clock_view_refresh(clock, view);
	/* A counter read on another core may be a few ticks behind the base. */
	if (ush_unlikely(counter < view->counter_base))
		counter = view->counter_base;
	ns = view->ns_base +
	     (uint64_t)(((unsigned __int128)(counter - view->counter_base) * view->multiplier) >>
			32);
	if (ns > view->last_ns)
		view->last_ns = ns;
	return view->last_ns;
}

#endif /* USH_CLOCK_H */
