/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The draw: from places in the lobby to numbers in the queue, and back (docs/draw.md).
 *
 * Each tier is permuted by itself, and its numbers follow those of the tier before. After the lobby
 * come those who joined later, in order of arrival. A permutation is a Feistel network of 12 rounds
 * over the smallest sufficient number of bits, 8 at least, walked until it falls into the tier. Its
 * round functions are tables, written out from a key by SHA-256 when the draw is opened; from then
 * on a number costs no hashing, but 12 look-ups a pass: fewer than two passes on average in a tier
 * of more than 128 places, 256 / n in one of n.
 *
 * Owns:  the tables.
 * Reads: nothing else.
 * Never: users, the log, a hash function of its own.
 */
#ifndef USH_DRAW_H
#define USH_DRAW_H

#include "base/base.h"

#define USH_DRAW_TIERS 7u
#define USH_DRAW_TIER_FIFO 7u
#define USH_DRAW_ROUNDS 12u
#define USH_DRAW_KEY_BYTES 32u
/* Places of all tiers together. */
#define USH_DRAW_PLACES_MAX (1u << 28)

/* SHA-256 of `size` bytes: handed in, for no library is known here. */
typedef void ush_draw_hash(const void *data, size_t size, uint8_t digest[32]);

struct ush_draw_tier {
	/* USH_DRAW_ROUNDS tables of 2^high_bits words. */
	const uint16_t *tables;
	uint32_t count;
	/* Number of its first. */
	uint32_t first;
	uint32_t low_bits;
	uint32_t high_bits;
};

struct ush_draw {
	struct ush_draw_tier tier[USH_DRAW_TIERS];
	/* Places of all tiers. */
	uint32_t count;
};

/* ret: bytes that the tables of any draw of up to `places` places need: 672 KiB for ten million. */
size_t ush_draw_bytes(uint32_t places);

/* Writes the tables. in: memory: ush_draw_bytes of the sum of counts, aligned to 2, in use for as
 * long as the draw. counts: places of each tier, at most USH_DRAW_PLACES_MAX in all. key: see
 * ush_draw_key in control/room. by: one thread, before others see the draw. cost: 21,504 hashes, 5
 * ms, for seven tiers of ten million places: not for loops. */
void ush_draw_open(struct ush_draw *draw, void *memory, const uint32_t counts[USH_DRAW_TIERS],
	const uint8_t key[USH_DRAW_KEY_BYTES], ush_draw_hash *hash);

/* ret: number in the queue: so many come before. in: tier: 0 to 7. index: below the tier's count;
 * any for FIFO. by: any thread. */
uint64_t ush_draw_number(const struct ush_draw *draw, uint32_t tier, uint32_t index);

/* The place that got a number: the inverse of ush_draw_number. in: number: below count + 2^32.
 * out: index. ret: tier. by: any thread. */
uint32_t ush_draw_place(const struct ush_draw *draw, uint64_t number, uint32_t *index);

#endif /* USH_DRAW_H */
