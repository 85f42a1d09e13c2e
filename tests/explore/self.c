/* SPDX-License-Identifier: Apache-2.0 */
#include <stdatomic.h>

#include "base/base.h"
#include "explore/self.h"

struct words {
	_Atomic uint64_t word;
	_Alignas(64) _Atomic uint64_t own[EXPLORE_THREADS_MAX];
	_Alignas(64) uint64_t seen[EXPLORE_THREADS_MAX][SELF_ADDS];
	uint64_t data;
	uint32_t threads;
};

static struct words *w;

static void setup(uint32_t threads)
{
	w = explore_alloc(sizeof(*w));
	w->threads = threads;
}

static void no_oracle(void)
{
}

#define SCENARIO(of, thread_function, oracle_function) \
	const struct explore_scenario of = {.name = #of, \
		.about = "", \
		.threads_max = EXPLORE_THREADS_MAX, \
		.setup = setup, \
		.thread = (thread_function), \
		.oracle = (oracle_function)}

static void add_thread(uint32_t thread)
{
	for (uint32_t i = 0; i < SELF_ADDS; i++)
		w->seen[thread][i] = atomic_fetch_add(&w->word, 1);
}

SCENARIO(self_add, add_thread, no_oracle);

static void apart_thread(uint32_t thread)
{
	for (uint32_t i = 0; i < SELF_ADDS; i++)
		atomic_fetch_add(&w->own[thread], 1 + atomic_load(&w->word));
}

SCENARIO(self_apart, apart_thread, no_oracle);

static void lost_thread(uint32_t thread)
{
	(void)thread;
	atomic_store(&w->word, atomic_load(&w->word) + 1);
}

static void lost_oracle(void)
{
	EXPECT(atomic_load(&w->word) == w->threads);
}

SCENARIO(self_lost, lost_thread, lost_oracle);

/* Thread 1 must stand between the two stores and thread 0 see its answer before it goes on. */
static void twice_thread(uint32_t thread)
{
	if (thread == 0) {
		atomic_store(&w->word, 1);
		EXPECT(atomic_load(&w->own[1]) != 1);
		atomic_store(&w->word, 2);
	} else if (thread == 1) {
		if (atomic_load(&w->word) == 1)
			atomic_store(&w->own[1], 1);
		atomic_store(&w->own[1], 2);
	}
}

SCENARIO(self_twice, twice_thread, no_oracle);

static void publish(uint32_t thread, memory_order order, bool early)
{
	if (thread == 0) {
		if (early)
			atomic_store_explicit(&w->word, 1, order);
		w->data = 5;
		if (!early)
			atomic_store_explicit(&w->word, 1, order);
	} else if (atomic_load_explicit(&w->word, memory_order_acquire) == 1) {
		EXPECT(w->data == 5);
	}
}

static void released_thread(uint32_t thread)
{
	publish(thread, memory_order_release, false);
}

static void relaxed_thread(uint32_t thread)
{
	publish(thread, memory_order_relaxed, false);
}

static void early_thread(uint32_t thread)
{
	publish(thread, memory_order_release, true);
}

SCENARIO(self_released, released_thread, no_oracle);
SCENARIO(self_relaxed, relaxed_thread, no_oracle);
SCENARIO(self_early, early_thread, no_oracle);

static void endless_thread(uint32_t thread)
{
	while (thread == 0 && atomic_load(&w->word) == 0)
		;
}

SCENARIO(self_endless, endless_thread, no_oracle);

static void assertion_thread(uint32_t thread)
{
	USH_ASSERT(thread != 1);
}

SCENARIO(self_assertion, assertion_thread, no_oracle);
