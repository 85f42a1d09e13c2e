/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Holds: one 64-byte line per leg, ids that cannot be guessed, and a timing wheel per loop.
 *
 * Lines are dealt out to loops by index; only the owning loop puts a line on its wheel or its free
 * list. The state word may be changed by any loop, by compare-and-swap to BUSY and back.
 *
 * Owns:  the lines, one pool (free list and wheel) per loop.
 * Reads: nothing else.
 * Never: rows, users, the log.
 */
#ifndef USH_HOLD_H
#define USH_HOLD_H

#include <stdatomic.h>

#include "base/base.h"
#include "wire/wire.h"

/* No line. Index 0 is never dealt out. */
#define USH_HOLD_NONE 0u

enum ush_hold_flag {
	/* Its deadline was moved once. */
	USH_HOLD_EXTENDED = 1,
	/* An offer from the wait-list, until it is sold. */
	USH_HOLD_OFFER = 2,
	/* It has a price list other than the event's first: see ush_holds_prices. */
	USH_HOLD_PRICED = 4,
};

struct ush_hold {
	/* state | owner loop << 8 | version << 16 | generation << 32. Further legs of a hold
	 * stay FREE; leg_count tells them from free lines. */
	_Atomic uint64_t word;
	uint64_t user;
	uint64_t mask;
	uint64_t deadline_ns;
	uint16_t event;
	uint16_t row;
	/* First leg only. PAYING: the attempt, kept for the next; REFUNDING: ush_hold_seats_mark of
	 * the seats to be refunded. */
	uint16_t pending;
	uint8_t leg_count;
	/* First leg only: enum ush_hold_flag. */
	uint8_t flags;
	/* Next leg's line. */
	uint32_t next;
	/* Price of this leg, minor units. First leg of an ended hold on its way home: the next. */
	uint32_t amount;
	/* Wheel links: indices; 0 none. The owning loop only. */
	uint32_t wheel_next;
	uint32_t wheel_prev;
	/* The last record about this hold. */
	uint64_t sequence;
};
static_assert(sizeof(struct ush_hold) == USH_CACHE_LINE, "a hold is one cache line");

USH_INLINE uint32_t ush_hold_word_state(uint64_t word)
{
	return (uint32_t)(word & 0xff);
}

USH_INLINE uint32_t ush_hold_word_owner(uint64_t word)
{
	return (uint32_t)(word >> 8) & 0xff;
}

USH_INLINE uint16_t ush_hold_word_version(uint64_t word)
{
	return (uint16_t)(word >> 16);
}

USH_INLINE uint16_t ush_hold_word_generation(uint64_t word)
{
	return (uint16_t)(word >> 32);
}

USH_INLINE uint64_t ush_hold_word(
	uint32_t state, uint32_t owner, uint16_t version, uint16_t generation)
{
	return (uint64_t)state | (uint64_t)owner << 8 | (uint64_t)version << 16 |
	       (uint64_t)generation << 32;
}

/* Seats of a row, to be added up over the rows of a refund in any order. REFUND_END must name those
 * of REFUND_BEGIN; both come from one place, so this finds mistakes, not attacks. */
USH_INLINE uint32_t ush_hold_seats_mark(uint16_t row, uint64_t mask)
{
	return ush_crc32c(row, &mask, sizeof(mask));
}

/* ret: the sum in 16 bits, never 0. */
USH_INLINE uint16_t ush_hold_seats_mark_end(uint32_t sum)
{
	uint32_t mark = (sum ^ sum >> 16) & 0xffff;

	return (uint16_t)(mark == 0 ? 1 : mark);
}

/* One tick of the wheel: 2^20 ns, about 1.05 ms. */
#define USH_WHEEL_TICK_BITS 20u
#define USH_WHEEL_LEVELS 4u
#define USH_WHEEL_SLOTS 256u

/*
 * Hierarchical timing wheel (Varghese and Lauck 1987, scheme 7): level l covers 256^(l+1) ticks, so
 * 0.27 s, 69 s, 4.9 h, 52 days. A line hangs in the level its distance asks for and moves down when
 * that level's slot comes up.
 */
struct ush_wheel {
	uint64_t tick;
	uint32_t head[USH_WHEEL_LEVELS][USH_WHEEL_SLOTS];
	/* The slot of the current tick, taken out and being worked off. */
	uint32_t due;
	uint32_t count;
};

/* One loop's share. */
struct ush_hold_pool {
	struct ush_hold *lines;
	/* Those of all loops. */
	struct ush_hold_pool *pools;
	uint32_t *free;
	uint32_t free_count;
	uint32_t free_capacity;
	uint32_t loop;
	struct ush_wheel wheel;
	/* Holds of this loop that others have ended, linked by amount; 0: none. */
	_Alignas(USH_CACHE_LINE) _Atomic uint32_t home;
};

struct ush_holds {
	struct ush_hold *lines;
	uint32_t count;
	uint32_t loop_count;
	struct ush_key key;
	struct ush_hold_pool *pools;
	uint32_t *free_memory;
	/* By first line of a hold that is PRICED: number of its price list. */
	uint16_t *prices;
};

size_t ush_holds_bytes(uint32_t hold_count, uint32_t loop_count);

/* in: memory: that many zeroed bytes, 64-byte aligned. hold_count includes index 0. */
void ush_holds_init(struct ush_holds *holds, void *memory, uint32_t hold_count, uint32_t loop_count,
	const struct ush_key *key);

/* Builds free lists and wheels from the lines' states. in: now_ns. ret: live (HELD) holds.
 * by: the starting thread, after replay. */
uint32_t ush_holds_replayed(struct ush_holds *holds, uint64_t now_ns);

USH_INLINE struct ush_hold *ush_holds_line(const struct ush_holds *holds, uint32_t index)
{
	USH_CHECK(index < holds->count);
	return &holds->lines[index];
}

/* ret: number of the price list that a hold is by. in: index of its first line. */
USH_INLINE uint32_t ush_holds_prices(const struct ush_holds *holds, uint32_t index)
{
	return (holds->lines[index].flags & USH_HOLD_PRICED) != 0 ? holds->prices[index] : 0;
}

/* The hold is new and by that list. by: the loop that makes it, or replay. */
USH_INLINE void ush_holds_price(struct ush_holds *holds, uint32_t index, uint32_t number)
{
	if (ush_likely(number == 0))
		return;
	holds->lines[index].flags |= USH_HOLD_PRICED;
	holds->prices[index] = (uint16_t)number;
}

/* An id: index, generation, tag. */
#define USH_HOLD_LOW_BITS (USH_HOLD_INDEX_BITS + USH_HOLD_GENERATION_BITS)
static_assert(USH_HOLD_LOW_BITS == 40, "the tag is over five bytes");

/* ret: the id of a line of that generation. cost: one SipHash of five bytes. */
USH_INLINE uint64_t ush_hold_id(const struct ush_holds *holds, uint32_t index, uint16_t generation)
{
	uint64_t low = (uint64_t)index | (uint64_t)generation << USH_HOLD_INDEX_BITS;
	uint64_t tag = ush_siphash_short(&holds->key, low, USH_HOLD_LOW_BITS / 8);

	return low | tag >> USH_HOLD_LOW_BITS << USH_HOLD_LOW_BITS;
}

/* ret: the index an id claims, unchecked. */
USH_INLINE uint32_t ush_hold_id_index(uint64_t id)
{
	return (uint32_t)(id & ((1u << USH_HOLD_INDEX_BITS) - 1));
}

USH_INLINE uint16_t ush_hold_id_generation(uint64_t id)
{
	return (uint16_t)(id >> USH_HOLD_INDEX_BITS);
}

/* ret: index of the line an id names when its tag is right and the index in range; USH_HOLD_NONE
 * otherwise. The line's generation must still be compared. cost: one SipHash. */
uint32_t ush_hold_id_check(const struct ush_holds *holds, uint64_t id);

/* Takes `legs` lines chained by next, leg 0 first; ret: first index, or USH_HOLD_NONE. The first
 * has state NEW and a fresh generation. by: the owning loop. cost: O(legs). */
USH_INLINE uint32_t ush_hold_take(struct ush_hold_pool *pool, uint32_t legs)
{
	uint32_t next = USH_HOLD_NONE, i = legs;
	struct ush_hold *first;
	uint64_t word;

	USH_ASSERT(legs >= 1);
	if (pool->free_count < legs)
		return USH_HOLD_NONE;
	do {
		uint32_t index = pool->free[--pool->free_count];

		first = &pool->lines[index];
		first->next = next;
		first->leg_count = (uint8_t)legs;
		next = index;
	} while (ush_unlikely(--i != 0));
	first->pending = 0;
	first->flags = 0;
	word = atomic_load_explicit(&first->word, memory_order_relaxed);
	USH_ASSERT(ush_hold_word_state(word) == USH_HOLD_STATE_FREE);
	word = ush_hold_word(
		USH_HOLD_STATE_NEW, pool->loop, 0, (uint16_t)(ush_hold_word_generation(word) + 1));
	atomic_store_explicit(&first->word, word, memory_order_relaxed);
	return next;
}

/* Takes a line for one more leg of a hold, whoever owns that; it stays FREE, and the caller chains
 * it and sets its leg_count. ret: its index, or USH_HOLD_NONE. by: the loop of the pool. */
uint32_t ush_hold_take_leg(struct ush_hold_pool *pool);

/* Gives a chain back: state FREE. It must not hang in the wheel. Lines of other loops among its
 * further legs are sent home. by: the loop that owns the first. */
void ush_hold_give(struct ush_hold_pool *pool, uint32_t index);

/* Sends the lines of a hold that another loop owns home: ended, and out of nobody's wheel but the
 * owner's. by: the loop that ended it. */
void ush_hold_send_home(struct ush_holds *holds, uint32_t index);

/* Takes back what others have sent home. by: the owning loop, once a turn. cost: one load. */
void ush_hold_homecoming(struct ush_hold_pool *pool);

/* Prefetches the lines that ush_hold_take will deal out next. */
void ush_hold_prefetch(const struct ush_hold_pool *pool, uint32_t lines);

/* Hangs a hold in the wheel by its deadline_ns, so that it is due at the first tick that starts at
 * or after the deadline. by: the owning loop. */
void ush_wheel_add(struct ush_hold_pool *pool, uint32_t index);

/* Takes a hold out. ret: false if it does not hang. by: the owning loop. */
bool ush_wheel_remove(struct ush_hold_pool *pool, uint32_t index);

/* Sets the wheel's time; only while it is empty. */
void ush_wheel_start(struct ush_wheel *wheel, uint64_t now_ns);

/*
 * ret: a hold whose deadline is at or before now_ns, taken out of the wheel, or USH_HOLD_NONE when
 *      none is due. A caller that cannot settle it now hands it back with ush_wheel_again.
 * by:  the owning loop. cost: bounded by `*work`, which it lowers by 1 for each line or tick
 *      looked at; stops at 0.
 */
uint32_t ush_wheel_due(struct ush_hold_pool *pool, uint64_t now_ns, uint32_t *work);

/* Hangs a due hold `ticks` ahead; what is past its deadline may come up sooner. by: the owning
 * loop. */
void ush_wheel_again(struct ush_hold_pool *pool, uint32_t index, uint32_t ticks);

#endif /* USH_HOLD_H */
