/* SPDX-License-Identifier: Apache-2.0 */
#include "port/clock.h"

#include <time.h>

#include <rte_cycles.h>

static uint64_t clock_read(clockid_t id)
{
	struct timespec t;

	clock_gettime(id, &t);
	return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

/* Reads counter and CLOCK_MONOTONIC at the same moment, as nearly as a few tries allow. */
static void pair_read(uint64_t *counter, uint64_t *monotonic_ns)
{
	uint64_t best = UINT64_MAX;
	int i;

	for (i = 0; i < 8; i++) {
		uint64_t before = rte_rdtsc();
		uint64_t ns = clock_read(CLOCK_MONOTONIC);
		uint64_t after = rte_rdtsc();

		if (after - before < best) {
			best = after - before;
			*counter = before + (after - before) / 2;
			*monotonic_ns = ns;
		}
	}
}

/* ret: CLOCK_REALTIME minus CLOCK_MONOTONIC. As above: a thread that is put aside between the two
 * would run ahead of the world by as long. */
static uint64_t offset_read(void)
{
	uint64_t best = UINT64_MAX, offset = 0;
	int i;

	for (i = 0; i < 8; i++) {
		uint64_t before = clock_read(CLOCK_MONOTONIC);
		uint64_t wall = clock_read(CLOCK_REALTIME);
		uint64_t took = clock_read(CLOCK_MONOTONIC) - before;

		if (took < best) {
			best = took;
			offset = wall - (before + took / 2);
		}
	}
	return offset;
}

static void publish(struct ush_clock *clock, uint64_t counter, uint64_t ns, uint64_t multiplier)
{
	uint32_t version = atomic_load_explicit(&clock->version, memory_order_relaxed);

	atomic_store_explicit(&clock->version, version + 1, memory_order_relaxed);
	/* Whoever sees a field of the new state sees the odd version, too. */
	atomic_thread_fence(memory_order_release);
	atomic_store_explicit(&clock->counter_base, counter, memory_order_relaxed);
	atomic_store_explicit(&clock->ns_base, ns, memory_order_relaxed);
	atomic_store_explicit(&clock->multiplier, multiplier, memory_order_relaxed);
	atomic_store_explicit(&clock->version, version + 2, memory_order_release);
}

uint64_t ush_clock_init(struct ush_clock *clock, uint64_t counter_hz, uint64_t floor_ns)
{
	uint64_t wall, behind;

	USH_ASSERT(counter_hz != 0);
	pair_read(&clock->counter_first, &clock->monotonic_first);
	wall = clock->monotonic_first + offset_read();
	behind = wall < floor_ns ? floor_ns - wall : 0;
	clock->offset_ns = wall + behind - clock->monotonic_first;
	publish(clock, clock->counter_first, wall + behind,
		(uint64_t)(((unsigned __int128)1000000000u << 32) / counter_hz));
	return behind;
}

void ush_clock_correct(struct ush_clock *clock)
{
	uint64_t counter = 0, monotonic = 0, shown, rate, target, ahead;
	uint64_t base = atomic_load_explicit(&clock->counter_base, memory_order_relaxed);

	pair_read(&counter, &monotonic);
	/* Too soon for a rate that is better than what we have. */
	if (monotonic - clock->monotonic_first < 10000000u || counter <= clock->counter_first)
		return;
	shown = atomic_load_explicit(&clock->ns_base, memory_order_relaxed) +
		(uint64_t)(((unsigned __int128)(counter - base) *
				   atomic_load_explicit(
					   &clock->multiplier, memory_order_relaxed)) >>
			   32);
	rate = (uint64_t)(((unsigned __int128)(monotonic - clock->monotonic_first) << 32) /
			  (counter - clock->counter_first));
	target = monotonic + clock->offset_ns;
	if (target >= shown) {
		publish(clock, counter, target, rate);
		return;
	}
	/* We are ahead: stay there and run slower, at most by half, so that the remainder is gone
	 * within about a second. */
	ahead = ush_min64(shown - target, 500000000u);
	publish(clock, counter, shown,
		rate - (uint64_t)(((unsigned __int128)rate * ahead) / 1000000000u));
}

void ush_clock_view_refresh(const struct ush_clock *clock, struct ush_clock_view *view)
{
	uint32_t before, after;

	do {
		before = atomic_load_explicit(&clock->version, memory_order_acquire);
		view->counter_base =
			atomic_load_explicit(&clock->counter_base, memory_order_relaxed);
		view->ns_base = atomic_load_explicit(&clock->ns_base, memory_order_relaxed);
		view->multiplier = atomic_load_explicit(&clock->multiplier, memory_order_relaxed);
		atomic_thread_fence(memory_order_acquire);
		after = atomic_load_explicit(&clock->version, memory_order_relaxed);
	} while (before != after || (before & 1) != 0);
	view->version = before;
}
