/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzes admission: tokens, proofs of work, MACs, tickets and the admission file. The first byte
 * chooses: the file, or a burst of up to four payloads cut from the rest; then which tags are made
 * good, so that what stands behind a tag is reached. The gate and the golden function must agree,
 * and ush_admit must take what they pass.
 *
 * Owns:  its copies of the input, each as large as it says.
 * Reads: nothing.
 * Never: DPDK.
 */
#include <stdlib.h>
#include <string.h>

#include "admission/admission_file.h"
#include "admit/admit.h"
#include "admit/gate.h"
#include "admit/golden.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define NOW 1700000000000000000ull
#define BURST 4u

static struct ush_admit_config config;
static struct ush_gate gate;
static struct ush_admit_state golden;
static _Alignas(64) uint8_t memory[2048];
static struct ush_admit_set sources[16], users[16];

static void set_up(uint32_t checks)
{
	memset(&config, 0, offsetof(struct ush_admit_config, event));
	config.checks = checks;
	config.mac_window_ns = config.work_window_ns = 1000000000;
	config.refusal = (struct ush_admit_limit){1, 2};
	config.token[0] = (struct ush_admit_key){{1, 2}, 5, 1};
	config.gateway[0][0] = (struct ush_admit_key){{3, 4}, 0, 1};
	config.policy[0].source = (struct ush_admit_limit){10, 10};
	config.policy[0].user = (struct ush_admit_limit){10, 0};
	config.policy[0].work_bits = 1;
	memset(config.event, USH_ADMIT_EVENT_KNOWN | USH_ADMIT_EVENT_OPEN, 128);
	memset(memory, 0, sizeof(memory));
	memset(sources, 0, sizeof(sources));
	memset(users, 0, sizeof(users));
	ush_gate_init(&gate, memory, 64, 64);
	/* As ush_gate_set, without its walk over all events. */
	memcpy(&gate.config[0], &config, offsetof(struct ush_admit_config, event) + 128);
	golden = (struct ush_admit_state){
		.sources = {.sets = sources, .set_bits = 4},
		.users = {.sets = users, .set_bits = 4},
	};
}

static void make_good(uint8_t *p, uint32_t size, uint8_t how)
{
	uint64_t tag;

	if (size >= 64 && (how & 1) != 0) {
		uint16_t magic = USH_REQUEST_MAGIC, bytes = (uint16_t)size;
		memcpy(p, &magic, 2);
		p[2] = USH_VERSION;
		memcpy(p + 4, &bytes, 2);
	}
	if (size >= 96 && (how & 2) != 0) {
		memcpy(p + 64, "\x03\x00\x20\x00", 4);
		p[69] = 5;
		memcpy(p + 70, p + 8, 2);
		memcpy(p + 72, p + 16, 8);
		tag = ush_siphash(&config.token[0].key, p + 64, 24);
		memcpy(p + 88, &tag, 8);
	}
	if (size >= 88 && (how & 4) != 0) {
		uint64_t now = NOW;
		memcpy(p + size - 24, "\x04\x00\x18\x00\x00\x00\x00\x00", 8);
		memcpy(p + size - 16, &now, 8);
		tag = ush_siphash(&config.gateway[0][0].key, p, size - 8);
		memcpy(p + size - 8, &tag, 8);
	}
}

static void burst(const uint8_t *data, size_t size, uint8_t how)
{
	static const uint8_t source[16] = {[10] = 0xff, [11] = 0xff, 192, 0, 2, 1};
	struct ush_gate_item items[BURST];
	uint8_t *payloads[BURST];
	uint32_t count = 1 + (how >> 6);

	for (uint32_t i = 0; i < count; i++) {
		uint32_t bytes = (uint32_t)(size / count);
		payloads[i] = malloc(bytes + 1u);
		if (payloads[i] == NULL)
			abort();
		memcpy(payloads[i] + 1, data + i * bytes, bytes);
		make_good(payloads[i] + 1, bytes, (uint8_t)(how >> 3));
		items[i] = (struct ush_gate_item){.payload = payloads[i] + 1,
			.size = bytes,
			.family = 4,
			.source = source + 12};
	}
	ush_gate_judge(&gate, ush_gate_config(&gate), items, count, NOW);
	for (uint32_t i = 0; i < count; i++) {
		struct ush_admit_says says;
		struct ush_admitted admitted;
		ush_golden_payload(
			&config, &golden, source, items[i].payload, items[i].size, NOW, &says);
		USH_ASSERT(memcmp(&says, &items[i].says, sizeof(says)) == 0);
		USH_ASSERT(says.verdict < USH_VERDICT_COUNT);
		ush_admit(items[i].payload, items[i].size, false, &admitted);
		USH_ASSERT(says.verdict != USH_VERDICT_PASS || admitted.verdict != USH_ADMIT_DROP);
		free(payloads[i]);
	}
	USH_ASSERT(memcmp(sources, gate.state.sources.sets, sizeof(sources)) == 0);
	USH_ASSERT(memcmp(users, gate.state.users.sets, sizeof(users)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ush_message message = {.text = ""};

	if (size < 3 || size > 6000)
		return 0;
	if (data[0] < 32) {
		char *text = malloc(size - 1);
		if (text == NULL)
			abort();
		memcpy(text, data + 1, size - 1);
		if (ush_admission_parse(text, size - 1, &config, &message) == 0)
			USH_ASSERT(ush_admission_key_count(&config) <= 130);
		else
			USH_ASSERT(strncmp(message.text, "line ", 5) == 0);
		free(text);
		return 0;
	}
	set_up(data[1]);
	burst(data + 3, size - 3, data[2]);
	return 0;
}
