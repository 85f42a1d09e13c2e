/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fast form of admission against the golden function, and the buckets against exact arithmetic.
 *
 * Method: bursts of requests drawn from a seed, good ones and broken ones, under masks of checks
 * and times that hit boundaries; all that the two say, and all of their tables afterwards, must be
 * equal. USH_PACKETS sets how many.
 *
 * Owns:  two states.
 * Reads: USH_SEED, USH_PACKETS.
 * Never: the loop.
 */
#include <string.h>

#include "../tap.h"
#include "admit/gate.h"
#include "admit/golden.h"

#define SECOND 1000000000ull
#define SOURCES 64u
#define USERS 64u

static struct ush_gate gate;
static struct ush_admit_state golden;
static _Alignas(64) uint8_t fast_memory[(SOURCES + USERS) * 16];
static struct ush_admit_set golden_sources[SOURCES / 4], golden_users[USERS / 4];
static struct ush_random chance;
static uint64_t now_ns = 1700000000 * SECOND;
static uint64_t seen[USH_VERDICT_COUNT];

static uint64_t below(uint64_t bound)
{
	return ush_random_below(&chance, bound);
}

static bool one_in(uint64_t n)
{
	return below(n) == 0;
}

static void put(uint8_t *at, uint64_t value, uint32_t bytes)
{
	for (uint32_t i = 0; i < bytes; i++)
		at[i] = (uint8_t)(value >> (8 * i));
}

static struct ush_admit_limit limit(void)
{
	uint64_t interval = one_in(8) ? 0 : 1 + below(SECOND / 4);

	return (struct ush_admit_limit){interval, interval * below(5)};
}

static void draw_config(struct ush_admit_config *c)
{
	memset(c, 0, sizeof(*c));
	c->checks = one_in(2) ? 255 : (uint32_t)below(256);
	c->mac_window_ns = 1000;
	c->work_window_ns = 2000;
	c->refusal = limit();
	c->table_key = (struct ush_key){ush_random_next(&chance), 5};
	for (uint32_t i = 0; i < 2; i++) {
		c->token[i] = (struct ush_admit_key){{1 + i, 2}, (uint32_t)below(3), !one_in(4)};
		for (uint32_t g = 0; g < 4; g++)
			c->gateway[g][i] =
				(struct ush_admit_key){{3 + g, i}, (uint32_t)below(3), !one_in(4)};
	}
	for (uint32_t i = 0; i < USH_ADMIT_POLICY_COUNT; i++)
		c->policy[i] = (struct ush_admit_policy){limit(), limit(), limit(),
			ush_random_next(&chance), one_in(2) ? 0 : (uint32_t)below(4), 0};
	for (uint32_t i = 0; i < 8; i++)
		c->event[i] = (uint8_t)below(128);
	c->event[USH_EVENT_ID_MAX] = (uint8_t)below(128);
}

static uint32_t add(uint8_t *p, uint32_t at, uint8_t type, uint32_t value, uint32_t bytes)
{
	put(p + at, type, 1);
	put(p + at + 1, 0, 1);
	put(p + at + 2, bytes, 2);
	put(p + at + 4, value, 4);
	return at + bytes;
}

/* A time at a boundary of a window, or beside it. */
static uint64_t time_near(uint64_t window)
{
	uint64_t base = one_in(2) ? now_ns + window : now_ns - window;

	return one_in(3) ? now_ns : base + below(3) - 1;
}

/* A request that is good in most ways. ret: its size. */
static uint32_t draw(const struct ush_admit_config *c, uint8_t *p)
{
	static const uint8_t ops[] = {1, 2, 2, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 2, 64, 127};
	uint32_t size = 64, event = (uint32_t)below(8), token = 0, work = 0, mac = 0;
	uint64_t user = 1 + below(6);
	/* A user that looks like the header of a MAC where none can stand. */
	bool odd = one_in(50);

	if (odd)
		user = USH_EXTENSION_MAC | 24 << 16;
	if (one_in(50))
		event = USH_EVENT_ID_MAX;

	memset(p, 0, 64);
	put(p, USH_REQUEST_MAGIC, 2);
	put(p + 2, USH_VERSION, 1);
	put(p + 3, one_in(50) ? below(256) : ops[below(sizeof(ops))], 1);
	put(p + 8, one_in(50) ? 65536 + event : event, 4);
	put(p + 12, below(4), 4);
	put(p + 16, user, 8);
	if (odd || !one_in(8)) {
		token = size;
		size = add(p, size, 3, (uint32_t)(2 | below(3) << 8 | event << 16), 32);
		put(p + token + 8, one_in(20) ? user + 1 : user, 8);
		put(p + token + 16, now_ns + 1 - below(2) * one_in(4), 8);
		put(p + token + 24, ush_siphash(&c->token[below(2)].key, p + token, 24), 8);
	}
	if (odd) {
		put(p + 4, size, 2);
		return size;
	}
	if (!one_in(4)) {
		work = size;
		size = add(p, size, 6, (uint32_t)below(5) + 1, 24);
		put(p + work + 8, time_near(c->work_window_ns), 8);
		put(p + work + 16, ush_random_next(&chance), 8);
	}
	if (one_in(2)) {
		uint32_t client = size;
		size = add(p, size, 2, 0, 24);
		memset(p + client + 8, 0, 16);
		put(p + client + 8, one_in(2) ? below(4) : 0, 8);
		put(p + client + 16, one_in(4) ? below(2) << 20 : 0xffff0000, 4);
		put(p + client + 20, below(20), 4);
	}
	if (one_in(4))
		size = add(p, size, 5, 0, 8 + 8 * (uint32_t)below(3));
	if (one_in(100)) {
		put(p + size, 0, 8);
		size += (uint32_t)below(8);
	}
	if (!one_in(4)) {
		mac = size;
		uint32_t g = one_in(20) ? (uint32_t)below(70) : (uint32_t)below(4);
		size = add(p, size, 4, g | (uint32_t)below(3) << 16, 24);
		put(p + mac + 8, time_near(c->mac_window_ns), 8);
		put(p + 4, size, 2);
		put(p + mac + 16, ush_siphash(&c->gateway[g & 3][below(2)].key, p, mac + 16), 8);
	}
	put(p + 4, size, 2);
	if (one_in(10))
		p[below(size)] ^= (uint8_t)(1u << below(8));
	if (one_in(50))
		size = (uint32_t)below(1500);
	return size;
}

static void restart(struct ush_admit_config *c)
{
	draw_config(c);
	memset(fast_memory, 0, sizeof(fast_memory));
	memset(golden_sources, 0, sizeof(golden_sources));
	memset(golden_users, 0, sizeof(golden_users));
	ush_gate_init(&gate, fast_memory, SOURCES, USERS);
	ush_gate_set(&gate, c);
	/* Bits of events other than the policy are the loop's; here they are drawn. */
	memcpy(gate.config[1].event, c->event, sizeof(c->event));
	golden = (struct ush_admit_state){
		.sources = {.sets = golden_sources, .set_bits = 4},
		.users = {.sets = golden_users, .set_bits = 4},
	};
	golden.load_bits = gate.state.load_bits = (uint32_t)below(3);
}

/* One burst through both. ret: what differs, or NULL. */
static const char *burst(const struct ush_admit_config *c)
{
	static uint8_t payload[USH_GATE_BURST][2048];
	static uint8_t source[USH_GATE_BURST][16];
	struct ush_gate_item items[USH_GATE_BURST];
	uint32_t count = 1 + (uint32_t)below(USH_GATE_BURST);

	for (uint32_t i = 0; i < count; i++) {
		bool ipv4 = one_in(2);
		memset(source[i], 0, 16);
		if (ipv4)
			memset(source[i] + 10, 0xff, 2);
		put(source[i] + (ipv4 ? 12 : 4), below(20), 4);
		items[i] = (struct ush_gate_item){
			.payload = payload[i],
			.size = draw(c, payload[i]),
			.family = ipv4 ? 4 : 6,
			.source = ipv4 ? source[i] + 12 : source[i],
		};
	}
	ush_gate_judge(&gate, ush_gate_config(&gate), items, count, now_ns);
	for (uint32_t i = 0; i < count; i++) {
		struct ush_admit_says says;
		ush_golden_payload(c, &golden, source[i], payload[i], items[i].size, now_ns, &says);
		seen[says.verdict]++;
		if (memcmp(&says, &items[i].says, sizeof(says)) != 0) {
			printf("# packet %u: golden %u, fast %u\n", i, says.verdict,
				items[i].says.verdict);
			return "verdict";
		}
	}
	if (memcmp(golden_sources, gate.state.sources.sets, sizeof(golden_sources)) != 0)
		return "sources";
	if (memcmp(golden_users, gate.state.users.sets, sizeof(golden_users)) != 0)
		return "users";
	if (golden.sources.evicted != gate.state.sources.evicted ||
		golden.users.evicted != gate.state.users.evicted ||
		golden.refusal_until_ns != gate.state.refusal_until_ns)
		return "counters";
	return NULL;
}

/* Goal: the two are one function. */
static void test_gate_says_what_golden_says(void)
{
	static struct ush_admit_config config;
	const char *text = getenv("USH_PACKETS");
	uint64_t bursts = (text != NULL ? strtoull(text, NULL, 0) : 400000) / 32;

	for (uint64_t i = 0; i < bursts; i++) {
		const char *differs;
		if (i % 64 == 0)
			restart(&config);
		now_ns += one_in(3) ? 0 : below(SECOND / 8);
		/* The very moment at which some bucket is full again. */
		if (one_in(3))
			now_ns = ush_max64(
				now_ns, golden_sources[below(SOURCES / 4)].until_ns[below(4)]);
		differs = burst(&config);
		CHECK(differs == NULL);
		if (differs != NULL) {
			printf("# burst %" PRIu64 ": %s differ\n", i, differs);
			return;
		}
	}
	/* All but those of frames were met. */
	for (uint32_t v = 0; v < USH_VERDICT_COUNT; v++) {
		if (v != USH_VERDICT_HOST && v != USH_VERDICT_HEADER && bursts > 5000)
			CHECK(seen[v] != 0);
	}
}

/* Goal: a bucket is a token bucket to the nanosecond. Method: the level in 128-bit arithmetic,
 * tokens x interval, against what the gate lets in. */
static void test_gate_bucket_is_exact(void)
{
	static struct ush_admit_config config;

	for (uint32_t round = 0; round < 200; round++) {
		uint64_t interval = 1 + below(one_in(2) ? 100 : SECOND), burst = 1 + below(20);
		unsigned __int128 full = (unsigned __int128)burst * interval, level = full;
		uint64_t then;
		uint8_t p[64] = {0}, address[4] = {192, 0, 2, 1};
		struct ush_gate_item item = {
			.payload = p, .size = 64, .family = 4, .source = address};

		restart(&config);
		config.checks = USH_ADMISSION_CHECK_SOURCE;
		config.event[1] = 0;
		config.policy[0].source =
			(struct ush_admit_limit){interval, (burst - 1) * interval};
		ush_gate_set(&gate, &config);
		put(p, USH_REQUEST_MAGIC, 2);
		put(p + 2, USH_VERSION, 1);
		put(p + 3, USH_OP_RESERVE, 1);
		put(p + 4, 64, 2);
		put(p + 8, 1, 4);
		then = now_ns;
		for (uint32_t i = 0; i < 500; i++) {
			now_ns += one_in(2) ? 0 : below(interval * 2);
			level += now_ns - then;
			level = level > full ? full : level;
			then = now_ns;
			ush_gate_judge(&gate, ush_gate_config(&gate), &item, 1, now_ns);
			CHECK_EQ(item.says.verdict == USH_VERDICT_PASS, level >= interval);
			if (item.says.verdict == USH_VERDICT_PASS)
				level -= interval;
			else
				CHECK_EQ(item.says.retry_ns, now_ns + (uint64_t)(interval - level));
		}
	}
}

static void test_gate_four_tags_are_each_one(void)
{
	struct ush_key key[4];
	const struct ush_key *keys[4] = {&key[0], &key[1], &key[2], &key[3]};
	uint64_t words[4][3], out[4];

	for (uint32_t round = 0; round < 1000; round++) {
		for (uint32_t i = 0; i < 4; i++) {
			key[i] = (struct ush_key){
				ush_random_next(&chance), ush_random_next(&chance)};
			for (uint32_t j = 0; j < 3; j++)
				words[i][j] = ush_random_next(&chance);
		}
		ush_gate_siphash_4(keys, (const uint64_t(*)[3])words, out);
		for (uint32_t i = 0; i < 4; i++)
			CHECK_EQ(out[i], ush_siphash(&key[i], words[i], 24));
	}
}

int main(void)
{
	ush_random_init(&chance, tap_seed(20261127));
	TAP_RUN(test_gate_four_tags_are_each_one);
	TAP_RUN(test_gate_says_what_golden_says);
	TAP_RUN(test_gate_bucket_is_exact);
	return tap_end();
}
