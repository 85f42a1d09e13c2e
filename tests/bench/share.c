/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether CPUs 0 and 1 are two cores: what they do at once over the sum of what each does alone. 1
 * is two cores, about a half is one core with two hardware threads, which a guest is not told, and
 * which its host changes as it likes.
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/base.h"

#define CHECK_STEPS 4096
#define TRIES 5
#define TRY_MS 30

struct side {
	int cpu;
	uint64_t steps;
};

static atomic_bool stop;

/* Four chains that fill a core's units: about three instructions a cycle. */
static void *work(void *context)
{
	struct side *side = context;
	uint64_t a = 1, b = 2, c = 3, d = 4;
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET((size_t)side->cpu, &set);
	if (pthread_setaffinity_np(pthread_self(), sizeof(set), &set) != 0) {
		fprintf(stderr, "bench-share: there is no CPU %d\n", side->cpu);
		exit(1);
	}
	while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
		for (uint64_t i = 0; i < CHECK_STEPS; i++) {
			a = a * 3 + i;
			b ^= a >> 3;
			c += b * 5;
			d ^= c;
			__asm__("" : "+r"(a), "+r"(b), "+r"(c), "+r"(d));
		}
		side->steps += CHECK_STEPS;
	}
	return NULL;
}

/* ret: steps of CPUs `first` to `last` in TRY_MS, all at once. */
static uint64_t measure(int first, int last)
{
	const struct timespec pause = {.tv_nsec = TRY_MS * 1000000};
	struct side sides[2] = {{.cpu = 0}, {.cpu = 1}};
	pthread_t thread[2];
	uint64_t steps = 0;

	atomic_store(&stop, false);
	for (int i = first; i <= last; i++)
		USH_ASSERT(pthread_create(&thread[i], NULL, work, &sides[i]) == 0);
	nanosleep(&pause, NULL);
	atomic_store(&stop, true);
	for (int i = first; i <= last; i++) {
		pthread_join(thread[i], NULL);
		steps += sides[i].steps;
	}
	return steps;
}

int main(void)
{
	uint64_t alone[2] = {1, 1}, both = 0;

	/* Others take of each: the most of some tries is what the CPUs can do. */
	for (int i = 0; i < TRIES; i++) {
		alone[0] = ush_max64(alone[0], measure(0, 0));
		alone[1] = ush_max64(alone[1], measure(1, 1));
		both = ush_max64(both, measure(0, 1));
	}
	printf("%.2f\n", (double)both / (double)(alone[0] + alone[1]));
	return 0;
}
