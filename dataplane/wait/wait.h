/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Wait-lists: who waits for seats of an event, in which order.
 *
 * An entry is one (user, event), found by hashing. It waits in the event's list, or has left that
 * for an offer, a hold made for its user; it ends with the offer. A list is changed by the loop
 * that has locked it, which is tried once; an entry also needs its user's line. Nobody may act on
 * what a list says before its record has a slot, so a loop keeps the lock until then.
 *
 * `count` is read without the lock by whoever gives seats back. It is raised before a join has its
 * slot and lowered after a leave has: seats may be kept for nobody, but are not freed past
 * somebody.
 *
 * Owns:  the entries, a list for each event, and which of them want to be looked at.
 * Reads: nothing else.
 * Never: rows, holds, users, the log.
 */
#ifndef USH_WAIT_H
#define USH_WAIT_H

#include <stdatomic.h>

#include "base/base.h"
#include "wire/wire.h"

#define USH_WAIT_NONE 0u
/* An entry is found within its bucket or not at all. */
#define USH_WAIT_BUCKET 64u
#define USH_WAIT_EVENTS (USH_EVENT_ID_MAX + 1u)
/* Words with a bit for each tier. */
#define USH_WAIT_TIER_WORDS 4u

enum ush_wait_state {
	USH_WAIT_LISTED = 1,
	/* It has an offer. */
	USH_WAIT_OFFERED = 2,
};

struct ush_wait {
	_Atomic uint64_t user;
	/* 0: unused; UINT32_MAX: being filled in. Stored last. */
	_Atomic uint32_t event;
	/* Entries before and after it in the list: place in the table + 1. */
	uint32_t next;
	uint32_t prev;
	/* Given out in the order of joining, from 1. */
	uint32_t place;
	uint32_t request_id;
	uint32_t digest;
	/* USH_WAIT_TIER_ANY: any. */
	uint16_t tier;
	uint8_t seats;
	uint8_t state;
	uint64_t hold;
	/* Of the WAIT_JOIN. */
	uint64_t sequence;
};
static_assert(sizeof(struct ush_wait) <= USH_CACHE_LINE, "an entry is at most a cache line");

struct ush_wait_list {
	/* 0, or the loop that has it + 1. */
	_Atomic uint32_t lock;
	/* Those who wait. */
	_Atomic uint32_t count;
	/* Something has changed since it was walked. */
	_Atomic uint32_t dirty;
	/* Place of the first in the list. */
	_Atomic uint32_t first_place;
	/* The rest: under the lock. */
	uint32_t head;
	uint32_t tail;
	uint32_t last_place;
	/* The walk under way goes on here; USH_WAIT_NONE and walking: at its end. */
	uint32_t cursor;
	/* Tiers that somebody met on this walk waits for, unserved. */
	uint64_t blocked[USH_WAIT_TIER_WORDS];
	/* Seats are set aside for a group since; 0: none are. */
	uint64_t since_ns;
	/* Not before then, unless dirty. */
	uint64_t next_ns;
	/* Somebody met on this walk was not served. */
	uint8_t met;
	uint8_t walking;
	/* Whoever fits is served. */
	uint8_t loose;
};

struct ush_waits {
	struct ush_wait *entries;
	struct ush_wait_list *lists;
	/* Bit = event that wants to be looked at, and words that were ever not 0. */
	_Atomic uint64_t *due;
	_Atomic uint64_t *due_words;
	uint32_t mask;
	/* Events are looked at by the loop of their number's low bits. */
	uint32_t loop_mask;
	/* Entries that may be used, and are. */
	uint32_t limit;
	_Atomic uint32_t used;
	/* Somebody has waited once. */
	_Atomic uint32_t any;
};

/* ret: bytes for so many entries; 0: no wait-lists. */
size_t ush_waits_bytes(uint32_t limit);

/* in: memory: that many zeroed bytes, 64-byte aligned. */
void ush_waits_init(struct ush_waits *waits, void *memory, uint32_t limit, uint32_t loop_count);

/* ret: true if there are wait-lists. */
USH_INLINE bool ush_waits_on(const struct ush_waits *waits)
{
	return waits->limit != 0;
}

USH_INLINE struct ush_wait_list *ush_wait_list(const struct ush_waits *waits, uint32_t event)
{
	return &waits->lists[event];
}

/* ret: those who wait for the event. by: any loop. cost: a load. */
USH_INLINE uint32_t ush_wait_count(const struct ush_waits *waits, uint32_t event)
{
	/* Acquire: whoever meets a list that has emptied meets what emptied it. */
	return waits->limit == 0
		       ? 0
		       : atomic_load_explicit(&waits->lists[event].count, memory_order_acquire);
}

/* Tries once. ret: true if the loop has it now, or had it. by: any loop. */
USH_INLINE bool ush_wait_lock(struct ush_wait_list *list, uint32_t loop)
{
	uint32_t owner = 0;

	return atomic_compare_exchange_strong_explicit(
		       &list->lock, &owner, loop + 1, memory_order_acquire, memory_order_relaxed) ||
	       owner == loop + 1;
}

USH_INLINE void ush_wait_unlock(struct ush_wait_list *list)
{
	atomic_store_explicit(&list->lock, 0, memory_order_release);
}

USH_INLINE struct ush_wait *ush_wait_at(const struct ush_waits *waits, uint32_t at)
{
	return &waits->entries[at - 1];
}

/* ret: the user's entry, or NULL. by: who has locked the user's line. cost: usually one line. */
struct ush_wait *ush_wait_find(const struct ush_waits *waits, uint64_t user, uint32_t event);

/* ret: a new entry of the user, in no list; NULL: as many as there may be. by: as ush_wait_find. */
struct ush_wait *ush_wait_enter(struct ush_waits *waits, uint64_t user, uint32_t event);

/* The entry is nobody's any more. by: as ush_wait_find. */
void ush_wait_drop(struct ush_waits *waits, struct ush_wait *wait);

/* Puts an entry at the end of the list, with the next place. by: the lock's holder. */
void ush_wait_append(struct ush_waits *waits, struct ush_wait_list *list, struct ush_wait *wait);

/* Takes it out; a walk that stands at it goes on behind it. by: the lock's holder. */
void ush_wait_unlink(struct ush_waits *waits, struct ush_wait_list *list, struct ush_wait *wait);

/* ret: how many are before it in the list, and it; those who left from between count. by: any. */
uint32_t ush_wait_place(const struct ush_wait_list *list, const struct ush_wait *wait);

/* The event wants to be looked at: seats came back, somebody joined or left, its status changed.
 * by: any loop. */
void ush_wait_poke(struct ush_waits *waits, uint32_t event);

/* Seats have become free. If somebody waits he may have been told, on his way to the list, that
 * they were not. by: after they are free and counted. cost: a load. */
USH_INLINE void ush_wait_freed(struct ush_waits *waits, uint32_t event)
{
	/* Total order with the count that a join raises before it looks for free seats: one of the
	 * two sees the other. */
	if (waits->limit != 0 && ush_unlikely(atomic_load_explicit(&waits->lists[event].count,
						      memory_order_seq_cst) != 0))
		ush_wait_poke(waits, event);
}

/* ret: an event from `event` on that wants to be looked at, and is of the loop; 0: none. by: that
 * loop. cost: at most 16 lines and those that wait-lists have touched; one load when there are
 * none. */
uint32_t ush_wait_due(const struct ush_waits *waits, uint32_t event, uint32_t loop);

/* As ush_wait_poke, but nothing has changed. */
void ush_wait_again(struct ush_waits *waits, uint32_t event);

/* It need not be looked at. by: the loop that looks. */
void ush_wait_rest(struct ush_waits *waits, uint32_t event);

/* ret: true if somebody met before waits for the tier. */
USH_INLINE bool ush_wait_is_blocked(const struct ush_wait_list *list, uint32_t tier)
{
	return (list->blocked[tier >> 6 & 3] >> (tier & 63) & 1) != 0;
}

/* Somebody waits for the tier, or for any. */
void ush_wait_block(struct ush_wait_list *list, uint32_t tier);

/* ret: true if somebody who waits for any tier was met. */
USH_INLINE bool ush_wait_is_all_blocked(const struct ush_wait_list *list)
{
	return (list->blocked[0] & list->blocked[1] & list->blocked[2] & list->blocked[3]) ==
	       UINT64_MAX;
}

#endif /* USH_WAIT_H */
