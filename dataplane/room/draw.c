/* SPDX-License-Identifier: Apache-2.0 */
/*
 * docs/draw.md is the specification; this file follows it word by word.
 *
 * Nothing fails here: who calls has checked the counts.
 */
#include <string.h>

#include "room/draw.h"

/* At least so many: with halves of 2 bits the orders of five places came uneven, however many
 * rounds there were (tests/property/test_draw.c), with 3 bits a little. */
#define BITS_MIN 8u
#define TAG "usher/draw/perm1"
#define TAG_BYTES 16u
static_assert(sizeof(TAG) == TAG_BYTES + 1, "a tag has 16 bytes");

static uint32_t bits_of(uint32_t count)
{
	uint32_t bits = count <= 1 ? 0 : 32 - (uint32_t)__builtin_clz(count - 1);

	return bits < BITS_MIN ? BITS_MIN : bits;
}

static uint32_t high_bits_of(uint32_t count)
{
	return (bits_of(count) + 1) / 2;
}

static size_t table_words(uint32_t count)
{
	return (size_t)USH_DRAW_ROUNDS << high_bits_of(count);
}

size_t ush_draw_bytes(uint32_t places)
{
	return USH_DRAW_TIERS * table_words(places) * sizeof(uint16_t);
}

/* 2^high_bits words; 16 of each digest. */
static void fill_table(uint16_t *table, uint32_t words, uint8_t *message, ush_draw_hash *hash)
{
	uint8_t *block = message + TAG_BYTES + USH_DRAW_KEY_BYTES + 2;
	uint8_t digest[32];

	for (uint32_t i = 0; i < words; i++) {
		const uint8_t *two = digest + i % 16 * 2;

		if (i % 16 == 0) {
			for (uint32_t b = 0; b < 4; b++)
				block[b] = (uint8_t)(i / 16 >> (8 * b));
			hash(message, TAG_BYTES + USH_DRAW_KEY_BYTES + 6, digest);
		}
		table[i] = (uint16_t)(two[0] | two[1] << 8);
	}
}

void ush_draw_open(struct ush_draw *draw, void *memory, const uint32_t counts[USH_DRAW_TIERS],
	const uint8_t key[USH_DRAW_KEY_BYTES], ush_draw_hash *hash)
{
	uint8_t message[TAG_BYTES + USH_DRAW_KEY_BYTES + 6];
	uint16_t *tables = memory;
	uint64_t first = 0;

	memcpy(message, TAG, TAG_BYTES);
	memcpy(message + TAG_BYTES, key, USH_DRAW_KEY_BYTES);
	for (uint32_t t = 0; t < USH_DRAW_TIERS; t++) {
		struct ush_draw_tier *tier = &draw->tier[t];

		*tier = (struct ush_draw_tier){.tables = tables,
			.count = counts[t],
			.first = (uint32_t)first,
			.low_bits = bits_of(counts[t]) / 2,
			.high_bits = high_bits_of(counts[t])};
		first += counts[t];
		USH_ASSERT(first <= USH_DRAW_PLACES_MAX);
		if (counts[t] == 0)
			continue;
		message[TAG_BYTES + USH_DRAW_KEY_BYTES] = (uint8_t)t;
		for (uint32_t round = 0; round < USH_DRAW_ROUNDS; round++) {
			message[TAG_BYTES + USH_DRAW_KEY_BYTES + 1] = (uint8_t)round;
			fill_table(tables, 1u << tier->high_bits, message, hash);
			tables += 1u << tier->high_bits;
		}
	}
	draw->count = (uint32_t)first;
}

/* The halves of a place, changed in turns. */
struct halves {
	uint32_t low;
	uint32_t high;
};

USH_INLINE void turn(const struct ush_draw_tier *tier, uint32_t round, struct halves *x)
{
	const uint16_t *table = tier->tables + ((size_t)round << tier->high_bits);

	if (round % 2 == 0)
		x->high ^= table[x->low] & ((1u << tier->high_bits) - 1);
	else
		x->low ^= table[x->high] & ((1u << tier->low_bits) - 1);
}

USH_INLINE struct halves split(const struct ush_draw_tier *tier, uint32_t x)
{
	return (struct halves){x & ((1u << tier->low_bits) - 1), x >> tier->low_bits};
}

static uint32_t forward(const struct ush_draw_tier *tier, uint32_t value)
{
	do {
		struct halves x = split(tier, value);

		for (uint32_t round = 0; round < USH_DRAW_ROUNDS; round++)
			turn(tier, round, &x);
		value = x.high << tier->low_bits | x.low;
	} while (value >= tier->count);
	return value;
}

static uint32_t backward(const struct ush_draw_tier *tier, uint32_t value)
{
	do {
		struct halves x = split(tier, value);

		for (uint32_t round = USH_DRAW_ROUNDS; round-- > 0;)
			turn(tier, round, &x);
		value = x.high << tier->low_bits | x.low;
	} while (value >= tier->count);
	return value;
}

uint64_t ush_draw_number(const struct ush_draw *draw, uint32_t tier, uint32_t index)
{
	USH_ASSERT(tier <= USH_DRAW_TIER_FIFO);
	if (tier == USH_DRAW_TIER_FIFO)
		return (uint64_t)draw->count + index;
	USH_ASSERT(index < draw->tier[tier].count);
	return draw->tier[tier].first + forward(&draw->tier[tier], index);
}

uint32_t ush_draw_place(const struct ush_draw *draw, uint64_t number, uint32_t *index)
{
	uint32_t t = 0;

	if (number >= draw->count) {
		*index = (uint32_t)(number - draw->count);
		return USH_DRAW_TIER_FIFO;
	}
	while (number - draw->tier[t].first >= draw->tier[t].count)
		t++;
	*index = backward(&draw->tier[t], (uint32_t)number - draw->tier[t].first);
	return t;
}
