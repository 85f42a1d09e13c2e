/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Jolts: what is compiled with -finstrument-functions calls here at each beginning and end of a
 * function, inlined ones too, and now and then the thread gives its processor away there. So two
 * threads meet in places between which there are only nanoseconds.
 *
 * Owns:  a counter in each thread.
 * Reads: nothing.
 * Never: compiled with -finstrument-functions itself.
 */
#include <sched.h>
#include <stdint.h>

/* One place in so many gives way. */
#define JOLT_ONE_IN 97u

void __cyg_profile_func_enter(void *function, void *caller);
void __cyg_profile_func_exit(void *function, void *caller);

static _Thread_local uint64_t state;

static void jolt(void)
{
	/* Weyl sequence, mixed; by address of the thread's own word, so that threads differ. */
	if (state == 0)
		state = (uint64_t)(uintptr_t)&state;
	state += 0x9e3779b97f4a7c15ull;
	if (((state ^ state >> 31) * 0xbf58476d1ce4e5b9ull >> 40) % JOLT_ONE_IN == 0)
		sched_yield();
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
