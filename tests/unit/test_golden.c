/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The golden function against docs/admission.md: each verdict, and each comparison at its boundary.
 *
 * Owns:  one payload.
 * Reads: nothing.
 * Never: gate.c: the two are compared elsewhere.
 */
#include <string.h>

#include "../tap.h"
#include "admit/golden.h"

#define NOW 1000000000000000ull
#define SECOND 1000000000ull
#define ALL 255u

static struct ush_admit_config config;
static struct ush_admit_state state;
static struct ush_admit_set sources[4], users[4];
static struct ush_admit_says says;
static uint8_t payload[2048];
static uint32_t size;
static const uint8_t source[16] = {[10] = 0xff, [11] = 0xff, 192, 0, 2, 1};

static void put(uint32_t at, uint64_t value, uint32_t bytes)
{
	for (uint32_t i = 0; i < bytes; i++)
		payload[at + i] = (uint8_t)(value >> (8 * i));
}

/* Event 7 is open, key ids: token 5, gateway 3 has 9. */
static void start(uint32_t checks)
{
	memset(&config, 0, sizeof(config));
	memset(&state, 0, sizeof(state));
	memset(sources, 0, sizeof(sources));
	memset(users, 0, sizeof(users));
	state.sources = (struct ush_admit_table){.sets = sources, .set_bits = 2};
	state.users = (struct ush_admit_table){.sets = users, .set_bits = 2};
	config.checks = checks;
	config.udp_port = 7447;
	config.mac_window_ns = 5 * SECOND;
	config.work_window_ns = 60 * SECOND;
	config.table_key = (struct ush_key){1, 2};
	config.token[1] = (struct ush_admit_key){{3, 4}, 5, 1};
	config.gateway[3][0] = (struct ush_admit_key){{6, 7}, 9, 1};
	config.event[7] = 2 | USH_ADMIT_EVENT_KNOWN | USH_ADMIT_EVENT_OPEN;
	config.policy[2] = (struct ush_admit_policy){
		.source = {SECOND / 10, 9 * (SECOND / 10)},
		.hold = {SECOND / 20, 39 * (SECOND / 20)},
		.user = {12 * SECOND, 48 * SECOND},
	};
}

static void request(uint8_t op)
{
	memset(payload, 0, sizeof(payload));
	put(0, USH_REQUEST_MAGIC, 2);
	put(2, USH_VERSION, 1);
	put(3, op, 1);
	put(8, 7, 4);
	put(12, 1, 4);
	put(16, 11, 8);
	size = 64;
	put(4, size, 2);
}

static uint32_t add(uint8_t type, uint32_t value, uint32_t bytes)
{
	uint32_t at = size;

	put(at, type, 1);
	put(at + 2, bytes, 2);
	put(at + 4, value, 4);
	size += bytes;
	put(4, size, 2);
	payload[6]++;
	return at;
}

static uint32_t add_token(void)
{
	uint32_t at = add(USH_EXTENSION_TOKEN, 2 | 5 << 8 | 7 << 16, 32);
	struct ush_key key = {3, 4};

	put(at + 8, 11, 8);
	put(at + 16, NOW + 1, 8);
	put(at + 24, ush_siphash(&key, payload + at, 24), 8);
	return at;
}

static uint32_t add_mac(uint64_t time)
{
	uint32_t at = add(USH_EXTENSION_MAC, 3 | 9 << 16, 24);
	struct ush_key key = {6, 7};

	put(at + 8, time, 8);
	put(at + 16, ush_siphash(&key, payload, at + 16), 8);
	return at;
}

static uint8_t judge_at(uint64_t now)
{
	ush_golden_payload(&config, &state, source, payload, size, now, &says);
	return says.verdict;
}

static uint8_t judge(void)
{
	return judge_at(NOW);
}

static void test_golden_envelope_each_fault_is_named(void)
{
	start(ALL);
	request(USH_OP_RESERVE);
	size = 63;
	CHECK_EQ(judge(), USH_VERDICT_PAYLOAD_SHORT);
	CHECK_EQ(says.reply, 0);
	request(USH_OP_RESERVE);
	payload[0] ^= 1;
	CHECK_EQ(judge(), USH_VERDICT_MAGIC);
	request(USH_OP_RESERVE);
	payload[2] = 2;
	CHECK_EQ(judge(), USH_VERDICT_VERSION);
	CHECK_EQ(says.reply, 1);
	request(USH_OP_RESERVE);
	size = 1409;
	CHECK_EQ(judge(), USH_VERDICT_PAYLOAD_LONG);
	size = 1408;
	CHECK_EQ(judge(), USH_VERDICT_SIZE);
	request(14);
	CHECK_EQ(judge(), USH_VERDICT_OP);
	request(128);
	CHECK_EQ(judge(), USH_VERDICT_OP);
	request(64);
	CHECK_EQ(judge(), USH_VERDICT_PRIVILEGED);
	request(127);
	CHECK_EQ(judge(), USH_VERDICT_PRIVILEGED);
}

static void test_golden_mac_each_fault_is_named(void)
{
	uint32_t at;

	start(USH_ADMISSION_CHECK_MAC);
	request(USH_OP_RELEASE);
	CHECK_EQ(judge(), USH_VERDICT_MAC_MISSING);
	request(USH_OP_STATUS);
	CHECK_EQ(judge(), USH_VERDICT_PASS);
	request(USH_OP_RELEASE);
	add_mac(NOW + 5 * SECOND);
	CHECK_EQ(judge(), USH_VERDICT_PASS);
	for (uint32_t bit = 0; bit < 8 * (size - 8); bit++) {
		payload[bit / 8] ^= (uint8_t)(1u << bit % 8);
		CHECK(judge() != USH_VERDICT_PASS);
		payload[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	request(USH_OP_RELEASE);
	add_mac(NOW + 5 * SECOND + 1);
	CHECK_EQ(judge(), USH_VERDICT_MAC_TIME);
	request(USH_OP_RELEASE);
	add_mac(NOW - 5 * SECOND);
	CHECK_EQ(judge(), USH_VERDICT_PASS);
	CHECK_EQ(judge_at(NOW + 1), USH_VERDICT_MAC_TIME);
	request(USH_OP_RELEASE);
	at = add_mac(NOW);
	put(at + 4, 64, 2);
	CHECK_EQ(judge(), USH_VERDICT_MAC_KEY);
	put(at + 4, 3, 2);
	put(at + 6, 10, 2);
	CHECK_EQ(judge(), USH_VERDICT_MAC_KEY);
	put(at + 6, 9, 2);
	CHECK_EQ(judge(), USH_VERDICT_PASS);
	payload[at + 16] ^= 1;
	CHECK_EQ(judge(), USH_VERDICT_MAC_FORGED);
}

static void test_golden_event_each_fault_is_named(void)
{
	start(USH_ADMISSION_CHECK_EVENT | USH_ADMISSION_CHECK_OPEN | USH_ADMISSION_CHECK_SOLD_OUT);
	request(USH_OP_RESERVE);
	CHECK_EQ(judge(), USH_VERDICT_PASS);
	config.event[7] |= USH_ADMIT_EVENT_SOLD_OUT;
	CHECK_EQ(judge(), USH_VERDICT_EVENT_SOLD_OUT);
	config.event[7] &= (uint8_t)~USH_ADMIT_EVENT_OPEN;
	CHECK_EQ(judge(), USH_VERDICT_EVENT_CLOSED);
	put(8, 65536 + 7, 4);
	CHECK_EQ(judge(), USH_VERDICT_EVENT_UNKNOWN);
	request(USH_OP_RELEASE);
	CHECK_EQ(judge(), USH_VERDICT_PASS);
	request(USH_OP_STATUS);
	put(8, 0, 4);
	CHECK_EQ(judge(), USH_VERDICT_PASS);
	request(USH_OP_QUERY_SECTION);
	put(8, 0, 4);
	CHECK_EQ(judge(), USH_VERDICT_EVENT_UNKNOWN);
}

static void test_golden_token_each_fault_is_named(void)
{
	uint32_t at;

	start(USH_ADMISSION_CHECK_TOKEN);
	request(USH_OP_RESERVE);
	CHECK_EQ(judge(), USH_VERDICT_TOKEN_MISSING);
	at = add_token();
	CHECK_EQ(judge(), USH_VERDICT_PASS);
	CHECK_EQ(says.tier, 2);
	CHECK_EQ(judge_at(NOW + 1), USH_VERDICT_TOKEN_EXPIRED);
	payload[at + 24] ^= 128;
	CHECK_EQ(judge(), USH_VERDICT_TOKEN_FORGED);
	payload[at + 24] ^= 128;
	put(16, 12, 8);
	CHECK_EQ(judge(), USH_VERDICT_TOKEN_USER);
	put(8, 8, 4);
	CHECK_EQ(judge(), USH_VERDICT_TOKEN_EVENT);
	config.token[1].live = 0;
	CHECK_EQ(judge(), USH_VERDICT_TOKEN_KEY);
	request(USH_OP_EXTEND);
	CHECK_EQ(judge(), USH_VERDICT_PASS);
	request(USH_OP_WAIT_LIST);
	CHECK_EQ(judge(), USH_VERDICT_PASS);
}

static void test_golden_rates_are_exact(void)
{
	start(USH_ADMISSION_CHECK_SOURCE | USH_ADMISSION_CHECK_USER);
	request(USH_OP_RESERVE);
	for (uint32_t id = 1; id <= 5; id++) {
		put(12, id, 4);
		CHECK_EQ(judge(), USH_VERDICT_PASS);
	}
	/* A repeat of the last is free for the user, and not for the address: 6 to 9. */
	for (uint32_t i = 0; i < 4; i++)
		CHECK_EQ(judge(), USH_VERDICT_PASS);
	put(12, 6, 4);
	CHECK_EQ(judge(), USH_VERDICT_USER_RATE);
	CHECK_EQ(says.retry_ns, NOW + 12 * SECOND);
	CHECK_EQ(judge(), USH_VERDICT_SOURCE_RATE);
	CHECK_EQ(says.retry_ns, NOW + SECOND / 10);
	CHECK_EQ(judge_at(NOW + SECOND / 10 - 1), USH_VERDICT_SOURCE_RATE);
	CHECK_EQ(judge_at(NOW + SECOND / 10), USH_VERDICT_USER_RATE);
	CHECK_EQ(judge_at(NOW + 12 * SECOND - 1), USH_VERDICT_USER_RATE);
	CHECK_EQ(judge_at(NOW + 12 * SECOND), USH_VERDICT_PASS);
	/* Holds have a bucket of their own. */
	start(USH_ADMISSION_CHECK_SOURCE);
	request(USH_OP_RELEASE);
	for (uint32_t i = 0; i < 40; i++)
		CHECK_EQ(judge(), USH_VERDICT_PASS);
	CHECK_EQ(judge(), USH_VERDICT_SOURCE_RATE);
	request(USH_OP_RESERVE);
	CHECK_EQ(judge(), USH_VERDICT_PASS);
}

/* Goal: under a good MAC the client's address is limited, without one the packet's. */
static void test_golden_gateway_is_limited_by_its_clients(void)
{
	start(USH_ADMISSION_CHECK_MAC | USH_ADMISSION_CHECK_SOURCE);
	for (uint32_t client = 0; client < 100; client++) {
		for (uint32_t i = 0; i < 11; i++) {
			request(USH_OP_RESERVE);
			uint32_t at = add(USH_EXTENSION_CLIENT, 0, 24);
			payload[at + 18] = payload[at + 19] = 0xff;
			put(at + 20, client, 4);
			add_mac(NOW);
			uint8_t verdict = judge_at(NOW + client * 2 * SECOND / 100);
			CHECK_EQ(verdict, i < 10 ? USH_VERDICT_PASS : USH_VERDICT_SOURCE_RATE);
		}
		/* 4 sets of 4: who is full again makes room. */
		memset(sources, 0, sizeof(sources));
	}
	for (uint32_t i = 0; i < 11; i++) {
		request(USH_OP_STATUS);
		add(USH_EXTENSION_CLIENT, i, 24);
		CHECK_EQ(judge(), i < 10 ? USH_VERDICT_PASS : USH_VERDICT_SOURCE_RATE);
	}
}

static void test_golden_work_each_fault_is_named(void)
{
	struct ush_key key = {11, 99};
	uint64_t nonce = 0;
	uint32_t at;

	start(USH_ADMISSION_CHECK_WORK);
	request(USH_OP_RESERVE);
	CHECK_EQ(judge(), USH_VERDICT_PASS);
	config.policy[2].work_bits = 8;
	config.policy[2].work_salt = 99;
	CHECK_EQ(judge(), USH_VERDICT_WORK_MISSING);
	CHECK_EQ(says.work_bits, 8);
	at = add(USH_EXTENSION_WORK, 7, 24);
	CHECK_EQ(judge(), USH_VERDICT_WORK_LOW);
	put(at + 4, 9, 4);
	put(at + 8, NOW - 60 * SECOND - 1, 8);
	CHECK_EQ(judge(), USH_VERDICT_WORK_TIME);
	put(at + 8, NOW + 60 * SECOND, 8);
	for (;; nonce++) {
		uint8_t data[24];
		memcpy(data, payload + 8, 8);
		memcpy(data + 8, payload + at + 8, 8);
		memcpy(data + 16, &nonce, 8);
		if (ush_siphash(&key, data, 24) >> 55 == 1)
			break;
	}
	put(at + 16, nonce, 8);
	CHECK_EQ(judge(), USH_VERDICT_PASS);
	/* Its 9th bit is set: one bit more is too many. */
	state.load_bits = 1;
	CHECK_EQ(judge(), USH_VERDICT_WORK_WRONG);
	state.load_bits = 2;
	CHECK_EQ(judge(), USH_VERDICT_WORK_LOW);
	request(USH_OP_SWAP);
	CHECK_EQ(judge(), USH_VERDICT_PASS);
	request(USH_OP_WAIT_LIST);
	CHECK_EQ(judge(), USH_VERDICT_WORK_MISSING);
}

static void test_golden_refusals_are_bounded(void)
{
	uint32_t replies = 0;

	start(USH_ADMISSION_CHECK_TOKEN);
	config.refusal = (struct ush_admit_limit){SECOND, 2 * SECOND};
	request(USH_OP_RESERVE);
	for (uint32_t i = 0; i < 100; i++) {
		CHECK_EQ(judge(), USH_VERDICT_TOKEN_MISSING);
		replies += says.reply;
	}
	CHECK_EQ(replies, 3);
	judge_at(NOW + SECOND);
	CHECK_EQ(says.reply, 1);
}

/* Goal: a set that is full loses the bucket nearest to full; nobody new is refused. */
static void test_golden_full_set_loses_the_least(void)
{
	uint8_t address[16] = {[10] = 0xff, [11] = 0xff};
	uint64_t abuser = 0;

	start(USH_ADMISSION_CHECK_SOURCE);
	state.sources.set_bits = 0;
	request(USH_OP_RESERVE);
	for (uint32_t i = 0; i < 11; i++)
		abuser = judge();
	CHECK_EQ(abuser, USH_VERDICT_SOURCE_RATE);
	for (uint32_t i = 0; i < 1000; i++) {
		memcpy(address + 12, &i, 4);
		ush_golden_payload(&config, &state, address, payload, size, NOW, &says);
		CHECK_EQ(says.verdict, USH_VERDICT_PASS);
	}
	CHECK_EQ(judge(), USH_VERDICT_SOURCE_RATE);
	CHECK_EQ(state.sources.evicted, 997);
}

static void test_golden_frame_finds_the_payload(void)
{
	uint8_t frame[128] = {[12] = 8,
		[14] = 0x45,
		[17] = 92,
		[22] = 64,
		[23] = 17,
		[26] = 192,
		[27] = 0,
		[28] = 2,
		[29] = 1,
		[36] = 0x1d,
		[37] = 0x17,
		[39] = 72};
	uint8_t from[16];
	uint32_t at = 0, bytes = 0, sum = 0;

	start(ALL);
	for (uint32_t i = 14; i < 34; i += 2)
		sum += (uint32_t)(frame[i] << 8 | frame[i + 1]);
	sum = ~((sum & 0xffff) + (sum >> 16)) & 0xffff;
	frame[24] = (uint8_t)(sum >> 8);
	frame[25] = (uint8_t)sum;
	CHECK_EQ(ush_golden_frame(&config, frame, 106, from, &at, &bytes), USH_VERDICT_PASS);
	CHECK_EQ(at, 42);
	CHECK_EQ(bytes, 64);
	CHECK(memcmp(from, source, 16) == 0);
	CHECK_EQ(ush_golden_frame(&config, frame, 105, from, &at, &bytes), USH_VERDICT_HEADER);
	CHECK_EQ(ush_golden_frame(&config, frame, 107, from, &at, &bytes), USH_VERDICT_PASS);
	CHECK_EQ(ush_golden_frame(&config, frame, 13, from, &at, &bytes), USH_VERDICT_HEADER);
	frame[25] ^= 1;
	CHECK_EQ(ush_golden_frame(&config, frame, 106, from, &at, &bytes), USH_VERDICT_HEADER);
	frame[25] ^= 1;
	frame[37] ^= 1;
	CHECK_EQ(ush_golden_frame(&config, frame, 106, from, &at, &bytes), USH_VERDICT_HOST);
	frame[37] ^= 1;
	frame[39]--;
	CHECK_EQ(ush_golden_frame(&config, frame, 106, from, &at, &bytes), USH_VERDICT_HEADER);
	frame[12] = 9;
	CHECK_EQ(ush_golden_frame(&config, frame, 106, from, &at, &bytes), USH_VERDICT_HOST);
}

int main(void)
{
	TAP_RUN(test_golden_envelope_each_fault_is_named);
	TAP_RUN(test_golden_mac_each_fault_is_named);
	TAP_RUN(test_golden_event_each_fault_is_named);
	TAP_RUN(test_golden_token_each_fault_is_named);
	TAP_RUN(test_golden_rates_are_exact);
	TAP_RUN(test_golden_gateway_is_limited_by_its_clients);
	TAP_RUN(test_golden_work_each_fault_is_named);
	TAP_RUN(test_golden_refusals_are_bounded);
	TAP_RUN(test_golden_full_set_loses_the_least);
	TAP_RUN(test_golden_frame_finds_the_payload);
	return tap_end();
}
