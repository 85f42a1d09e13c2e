/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Jolts: what is compiled with -finstrument-functions calls here at each beginning and end of a
 * function, inlined ones too, and now and then the thread is held up there. So two
 * threads meet in places between which there are only nanoseconds.
 *
 * Owns:  a counter in each thread.
 * Reads: nothing.
 * Never: compiled with -finstrument-functions itself.
 */
#include <sched.h>
#include <stdint.h>

/* One place in so many is held up, for so many rounds (about a microsecond), and one in so many of
 * those gives the processor away, which takes long where others want it. */
#define JOLT_ONE_IN 97u
#define JOLT_ROUNDS 300u
#define YIELD_ONE_IN 16u

void __cyg_profile_func_enter(void *function, void *caller);
void __cyg_profile_func_exit(void *function, void *caller);

static _Thread_local uint64_t state;

static void jolt(void)
{
	uint64_t mixed;

	/* Weyl sequence, mixed; by address of the thread's own word, so that threads differ. */
	if (state == 0)
		state = (uint64_t)(uintptr_t)&state;
	state += 0x9e3779b97f4a7c15ull;
	mixed = ((state ^ state >> 31) * 0xbf58476d1ce4e5b9ull) >> 32;
	if (mixed % JOLT_ONE_IN != 0)
		return;
	if (mixed / JOLT_ONE_IN % YIELD_ONE_IN == 0) {
		sched_yield();
		return;
	}
	for (uint32_t i = 0; i < JOLT_ROUNDS; i++)
		__asm__ __volatile__("");
}

void __cyg_profile_func_enter(void *function, void *caller)
{
	(void)function, (void)caller;
	jolt();
}

void __cyg_profile_func_exit(void *function, void *caller)
{
	(void)function, (void)caller;
	jolt();
}
