/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What each verdict of admission costs, in bursts of 64: one JSON object, ns a packet, the least of
 * some rounds. With the name of a verdict only that one, so that its instructions can be counted.
 *
 * Owns:  one gate of the default size.
 * Reads: nothing.
 * Never: DPDK, files.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "admit/gate.h"

#define SECOND 1000000000ull
#define NOW (1700000000 * SECOND)
#define ROUNDS 5u

static struct ush_gate gate;
static struct ush_admit_config config;
static uint8_t payload[USH_GATE_BURST][256];
static uint8_t source[USH_GATE_BURST][4];
static struct ush_gate_item items[USH_GATE_BURST];
/* Never going back, so that buckets are as they would be. */
static uint64_t now_ns = NOW;

enum shape {
	TOKEN = 1,
	MAC = 2,
	WORK = 4,
	CLIENT = 8,
	/* The last tag is wrong. */
	FORGED = 16,
	/* One source for all. */
	ONE = 32,
};

static const struct {
	const char *name;
	uint32_t checks;
	uint32_t shape;
	uint8_t verdict;
} cases[] = {
	{"magic", 255, 0, USH_VERDICT_MAGIC},
	{"mac_missing", 255, TOKEN, USH_VERDICT_MAC_MISSING},
	{"mac_forged", 255, TOKEN | CLIENT | MAC | FORGED, USH_VERDICT_MAC_FORGED},
	{"token_missing", USH_ADMISSION_CHECK_TOKEN, 0, USH_VERDICT_TOKEN_MISSING},
	{"token_forged", USH_ADMISSION_CHECK_TOKEN, TOKEN | FORGED, USH_VERDICT_TOKEN_FORGED},
	{"token_good", USH_ADMISSION_CHECK_TOKEN, TOKEN, USH_VERDICT_PASS},
	{"nothing_checked", 0, TOKEN, USH_VERDICT_PASS},
	{"source_rate", USH_ADMISSION_CHECK_SOURCE, ONE, USH_VERDICT_SOURCE_RATE},
	{"source_good", USH_ADMISSION_CHECK_SOURCE, 0, USH_VERDICT_PASS},
	{"work_missing", USH_ADMISSION_CHECK_WORK, 0, USH_VERDICT_WORK_MISSING},
	{"work_wrong", USH_ADMISSION_CHECK_WORK, WORK, USH_VERDICT_WORK_WRONG},
	{"all_good", 255 & ~(uint32_t)USH_ADMISSION_CHECK_WORK, TOKEN | CLIENT | MAC,
		USH_VERDICT_PASS},
};
#define CASES (sizeof(cases) / sizeof(cases[0]))

static void put(uint8_t *at, uint64_t value, uint32_t bytes)
{
	for (uint32_t i = 0; i < bytes; i++)
		at[i] = (uint8_t)(value >> (8 * i));
}

static uint32_t add(uint8_t *p, uint32_t at, uint8_t type, uint32_t value, uint32_t bytes)
{
	put(p + at, type, 2);
	put(p + at + 2, bytes, 2);
	put(p + at + 4, value, 4);
	return at + bytes;
}

static void fill(uint32_t i, uint32_t shape, uint64_t user)
{
	uint8_t *p = payload[i];
	uint32_t size = 64, at;

	memset(p, 0, sizeof(payload[0]));
	put(p, shape == 0 && config.checks == 255 ? 0 : USH_REQUEST_MAGIC, 2);
	put(p + 2, USH_VERSION, 1);
	put(p + 3, USH_OP_RESERVE, 1);
	put(p + 8, 7, 4);
	put(p + 12, 1, 4);
	put(p + 16, user, 8);
	if ((shape & TOKEN) != 0) {
		at = size;
		size = add(p, size, USH_EXTENSION_TOKEN, 5 << 8 | 7 << 16, 32);
		put(p + at + 8, user, 8);
		put(p + at + 16, UINT64_MAX, 8);
		put(p + at + 24, ush_siphash(&config.token[0].key, p + at, 24), 8);
	}
	if ((shape & WORK) != 0) {
		at = size;
		size = add(p, size, USH_EXTENSION_WORK, 40, 24);
		put(p + at + 8, now_ns, 8);
	}
	if ((shape & CLIENT) != 0) {
		at = size;
		size = add(p, size, USH_EXTENSION_CLIENT, 0, 24);
		put(p + at + 8, user, 8);
	}
	put(p + 4, size + ((shape & MAC) != 0 ? 24 : 0), 2);
	if ((shape & MAC) != 0) {
		at = size;
		size = add(p, size, USH_EXTENSION_MAC, 0, 24);
		put(p + at + 8, now_ns, 8);
		put(p + at + 16, ush_siphash(&config.gateway[0][0].key, p, at + 16), 8);
	}
	if ((shape & FORGED) != 0)
		p[size - 1] ^= 1;
	put(source[i], (shape & ONE) != 0 ? 1 : user, 4);
	items[i] = (struct ush_gate_item){
		.payload = p, .size = size, .family = 4, .source = source[i]};
}

/* ret: ns of `bursts` bursts. */
static uint64_t run(size_t which, uint32_t bursts)
{
	uint64_t sum = 0;

	for (uint32_t b = 0; b < bursts; b++) {
		struct timespec from, to;
		for (uint32_t i = 0; i < USH_GATE_BURST; i++)
			fill(i, cases[which].shape, 1 + (uint64_t)b * USH_GATE_BURST + i);
		clock_gettime(CLOCK_MONOTONIC, &from);
		ush_gate_judge(&gate, ush_gate_config(&gate), items, USH_GATE_BURST, now_ns);
		clock_gettime(CLOCK_MONOTONIC, &to);
		sum += (uint64_t)(to.tv_sec - from.tv_sec) * SECOND + (uint64_t)to.tv_nsec -
		       (uint64_t)from.tv_nsec;
		if (items[USH_GATE_BURST - 1].says.verdict != cases[which].verdict) {
			fprintf(stderr, "bench-gate: %s: verdict %u\n", cases[which].name,
				items[USH_GATE_BURST - 1].says.verdict);
			exit(1);
		}
		now_ns += 1000;
	}
	return sum;
}

static void set_up(uint32_t checks)
{
	const uint64_t ms = 1000000;

	config.checks = checks;
	config.mac_window_ns = config.work_window_ns = 5 * SECOND;
	config.token[0] = (struct ush_admit_key){{1, 2}, 5, 1};
	config.gateway[0][0] = (struct ush_admit_key){{3, 4}, 0, 1};
	config.refusal = (struct ush_admit_limit){10000, 100000000};
	config.policy[0] = (struct ush_admit_policy){
		.source = {100 * ms, 900 * ms},
		.hold = {50 * ms, 1950 * ms},
		.user = {12000 * ms, 48000 * ms},
		.work_bits = 40,
	};
	ush_gate_set(&gate, &config);
	/* On sale. */
	for (uint32_t i = 0; i < 2; i++)
		gate.config[i].event[7] = USH_ADMIT_EVENT_KNOWN | USH_ADMIT_EVENT_OPEN;
}

int main(int argc, char **argv)
{
	uint32_t bursts = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 2000;
	size_t bytes = ush_gate_bytes(1u << 18, 1u << 20);
	void *memory = aligned_alloc(64, bytes);
	bool more = false;

	if (memory == NULL)
		return 1;
	memset(memory, 0, bytes);
	ush_gate_init(&gate, memory, 1u << 18, 1u << 20);
	printf("{");
	for (size_t i = 0; i < CASES; i++) {
		uint64_t least = UINT64_MAX;
		if (argc > 1 && strcmp(argv[1], "all") != 0 && strcmp(argv[1], cases[i].name) != 0)
			continue;
		set_up(cases[i].checks);
		for (uint32_t round = 0; round < ROUNDS; round++)
			least = ush_min64(least, run(i, bursts));
		printf("%s\"%s_ns\": %" PRIu64 ".%02" PRIu64, more ? ", " : "", cases[i].name,
			least / (bursts * USH_GATE_BURST),
			least * 100 / (bursts * USH_GATE_BURST) % 100);
		more = true;
	}
	printf("}\n");
	free(memory);
	return 0;
}
