/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two loops judge the same few addresses and users at once while keys are rotated and events
 * loaded. What is let in stays within twice what one loop would let in; under TSan there is no data
 * race.
 *
 * Owns:  one gate.
 * Reads: nothing.
 * Never: the loop.
 */
#include <pthread.h>
#include <string.h>

#include "../tap.h"
#include "admit/gate.h"

#define BURSTS 20000u
#define ADDRESSES 4u
#define INTERVAL 1000000ull
#define START 1700000000000000000ull

static struct ush_gate gate;
static _Alignas(64) uint8_t memory[4096];
static struct ush_admit_config config;
static _Atomic uint64_t passed[ADDRESSES];
/* Bursts that each thread has judged: a rotation waits for both. */
static _Atomic uint32_t turns[2];

static void *judge(void *argument)
{
	uint32_t index = (uint32_t)(uintptr_t)argument;
	uint8_t payload[USH_REQUEST_BYTES] = {'U', 'Q', USH_VERSION, USH_OP_STATUS, 64};
	struct ush_gate_item items[ADDRESSES];
	uint32_t address[ADDRESSES];

	for (uint32_t b = 0; b < BURSTS; b++) {
		for (uint32_t i = 0; i < ADDRESSES; i++) {
			address[i] = i + 1;
			items[i] = (struct ush_gate_item){.payload = payload,
				.size = sizeof(payload),
				.family = 4,
				.source = (const uint8_t *)&address[i]};
		}
		ush_gate_judge(&gate, ush_gate_config(&gate), items, ADDRESSES, START + b * 1000);
		for (uint32_t i = 0; i < ADDRESSES; i++)
			passed[i] += items[i].says.verdict == USH_VERDICT_PASS;
		atomic_store_explicit(&turns[index], b + 1, memory_order_release);
	}
	return NULL;
}

static void test_gate_two_loops_stay_within_twice_the_rate(void)
{
	const uint64_t most = 1 + 9 + BURSTS * 1000ull / INTERVAL;
	uint32_t seen[2] = {0, 0}, rotations = 0;
	pthread_t thread[2];

	config.checks = USH_ADMISSION_CHECK_SOURCE | USH_ADMISSION_CHECK_USER;
	config.policy[0].source = (struct ush_admit_limit){INTERVAL, 9 * INTERVAL};
	ush_gate_init(&gate, memory, 64, 64);
	ush_gate_set(&gate, &config);
	for (uint32_t i = 0; i < 2; i++)
		USH_ASSERT(pthread_create(&thread[i], NULL, judge, (void *)(uintptr_t)i) == 0);
	while (seen[0] < BURSTS && seen[1] < BURSTS && rotations < 50) {
		uint32_t now[2];
		do {
			for (uint32_t i = 0; i < 2; i++)
				now[i] = atomic_load_explicit(&turns[i], memory_order_acquire);
		} while ((now[0] <= seen[0] + 1 && now[0] < BURSTS) ||
			 (now[1] <= seen[1] + 1 && now[1] < BURSTS));
		memcpy(seen, now, sizeof(seen));
		config.token[0].id++;
		ush_gate_set(&gate, &config);
		ush_gate_event(&gate, 1 + rotations++);
	}
	for (uint32_t i = 0; i < 2; i++)
		pthread_join(thread[i], NULL);
	for (uint32_t i = 0; i < ADDRESSES; i++) {
		CHECK(passed[i] >= most - 10);
		CHECK(passed[i] <= 2 * most);
	}
	printf("# %u rotations; one loop lets %" PRIu64 " in, two let %" PRIu64 "\n", rotations,
		most, (uint64_t)passed[0]);
}

int main(void)
{
	TAP_RUN(test_gate_two_loops_stay_within_twice_the_rate);
	return tap_end();
}
