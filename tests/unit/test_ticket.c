/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Queue tickets: what was minted is good, and nothing else is.
 *
 * Owns:  nothing.
 * Reads: nothing.
 * Never: DPDK.
 */
#include <string.h>

#include "../tap.h"
#include "room/ticket.h"

static const struct ush_key key_a = {0x0706050403020100, 0x0f0e0d0c0b0a0908};
static const struct ush_key key_b = {0x1716151413121110, 0x1f1e1d1c1b1a1918};
static const struct ush_key key_c = {0x2726252423222120, 0x2f2e2d2c2b2a2928};

static const struct ush_ticket example = {
	.user = 0x1122334455667788, .number = 4711, .event = 7, .tier = 2};

/* Goal: the tag is what docs/draw.md says: SipHash-2-4 of 24 bytes. Method: the bytes by hand. */
static void test_ticket_mint_is_as_documented(void)
{
	static const uint8_t bytes[24] = {0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11, 0x67,
		0x12, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 2, 9, 0, 0};
	struct ush_ticket_keys keys;
	struct ush_ticket ticket = example;

	ush_ticket_keys_init(&keys, 9, &key_a);
	CHECK_EQ(ush_ticket_mint(&keys, &ticket), ush_siphash(&key_a, bytes, sizeof(bytes)));
	CHECK_EQ(ticket.key_id, 9);
}

/* Goal: no bit of a ticket or of its tag can be another. */
static void test_ticket_any_bit_flipped_is_refused(void)
{
	struct ush_ticket_keys keys;
	struct ush_ticket ticket = example;
	struct parts {
		void *at;
		uint32_t bits;
		enum ush_ticket_verdict verdict;
	};
	uint64_t tag;
	uint32_t tried = 0;

	ush_ticket_keys_init(&keys, 9, &key_a);
	ush_ticket_keys_next(&keys, &key_b);
	tag = ush_ticket_mint(&keys, &ticket);
	CHECK_EQ(ush_ticket_check(&keys, &ticket, tag), USH_TICKET_GOOD);
	const struct parts parts[] = {{&ticket.user, 64, USH_TICKET_FORGED},
		{&ticket.number, 64, USH_TICKET_FORGED}, {&ticket.event, 32, USH_TICKET_FORGED},
		{&ticket.tier, 8, USH_TICKET_FORGED}, {&ticket.key_id, 8, USH_TICKET_KEY_UNKNOWN},
		{&tag, 64, USH_TICKET_FORGED}};
	for (uint32_t p = 0; p < sizeof(parts) / sizeof(parts[0]); p++) {
		for (uint32_t bit = 0; bit < parts[p].bits; bit++) {
			uint8_t *byte = (uint8_t *)parts[p].at + bit / 8;
			enum ush_ticket_verdict verdict;

			*byte ^= (uint8_t)(1u << bit % 8);
			verdict = ush_ticket_check(&keys, &ticket, tag);
			/* 10 ^ 1 is 11; 10 ^ 3 would be 9, the other live key. */
			CHECK_EQ(verdict, parts[p].verdict);
			*byte ^= (uint8_t)(1u << bit % 8);
			tried++;
		}
	}
	CHECK_EQ(tried, 240);
	CHECK_EQ(ush_ticket_check(&keys, &ticket, tag), USH_TICKET_GOOD);
	/* The other live key's id with this key's tag. */
	ticket.key_id = 9;
	CHECK_EQ(ush_ticket_check(&keys, &ticket, tag), USH_TICKET_FORGED);
}

/* Goal: a ticket outlives one change of keys and no more, over the end of the ids too. */
static void test_ticket_two_keys_are_live(void)
{
	struct ush_ticket_keys keys;
	struct ush_ticket first = example, second = example, third = example;
	uint64_t tag_first, tag_second, tag_third;

	ush_ticket_keys_init(&keys, 254, &key_a);
	tag_first = ush_ticket_mint(&keys, &first);
	second.key_id = 253;
	CHECK_EQ(ush_ticket_check(&keys, &second, tag_first), USH_TICKET_KEY_UNKNOWN);
	CHECK_EQ(ush_ticket_keys_next(&keys, &key_b), 255);
	tag_second = ush_ticket_mint(&keys, &second);
	CHECK(tag_first != tag_second);
	CHECK_EQ(ush_ticket_check(&keys, &first, tag_first), USH_TICKET_GOOD);
	CHECK_EQ(ush_ticket_check(&keys, &second, tag_second), USH_TICKET_GOOD);
	CHECK_EQ(ush_ticket_keys_next(&keys, &key_c), 0);
	tag_third = ush_ticket_mint(&keys, &third);
	CHECK_EQ(ush_ticket_check(&keys, &first, tag_first), USH_TICKET_KEY_UNKNOWN);
	CHECK_EQ(ush_ticket_check(&keys, &second, tag_second), USH_TICKET_GOOD);
	CHECK_EQ(ush_ticket_check(&keys, &third, tag_third), USH_TICKET_GOOD);
}

int main(void)
{
	TAP_RUN(test_ticket_mint_is_as_documented);
	TAP_RUN(test_ticket_any_bit_flipped_is_refused);
	TAP_RUN(test_ticket_two_keys_are_live);
	return tap_end();
}
