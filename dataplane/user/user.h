/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Users: one 64-byte line per (user, event), its seat count, its window of request ids, and the
 * remembered answers to accepted requests.
 *
 * A line is changed only by the loop that has locked it. Locking is one compare-and-swap that never
 * waits; the lock names the request being decided, so that its duplicate is recognised.
 *
 * Owns:  the lines, the answers.
 * Reads: nothing else.
 * Never: rows, holds, the log.
 */
#ifndef USH_USER_H
#define USH_USER_H

#include <stdatomic.h>

#include "base/base.h"
#include "wire/wire.h"

#define USH_ANSWER_NONE 0u
/* In a line's `answer`: its answers are a ring, see there. */
#define USH_ANSWER_RING 0x80000000u
/* Answers of one user at most: 64 ids fit the window, and each may have two answers; and some are
 * of late payments. */
#define USH_USER_ANSWERS_MAX (USH_REQUEST_WINDOW * 2 + USH_USER_LATE_MAX)
/* Refusals whose status is remembered. */
#define USH_USER_REFUSALS 8u
/* Holds of one user and event that may be sold late. */
#define USH_USER_LATE_MAX 32u
/* Lines in a bucket: a line is found within its bucket or not at all. */
#define USH_USER_BUCKET 64u

/* Low byte of a line's lock word. */
enum ush_user_lock {
	USH_USER_EMPTY = 0,
	/* Being filled in; its key must not be read. */
	USH_USER_FILLING = 1,
	USH_USER_IDLE = 2,
	/* Locked: owner loop << 8 | request id << 32. */
	USH_USER_LOCKED = 3,
};

struct ush_user {
	_Atomic uint64_t lock;
	_Atomic uint64_t user;
	_Atomic uint32_t event;
	/* Highest request id seen; bit i of window_bits: id top - i is done. */
	uint32_t window_top;
	uint64_t window_bits;
	/* Newest remembered answer, which leads to the older ones one by one. From the first id on
	 * that can push others out of the window: USH_ANSWER_RING and the answer to the highest id,
	 * which leads to late payments, and from the lowest id up to itself. */
	uint32_t answer;
	/* Held and sold. */
	uint16_t seats;
	uint16_t answer_count;
	/* Refusals of ids top - 7 .. top, by id & 7: status, and the low byte of the digest. */
	uint8_t refusal_status[USH_USER_REFUSALS];
	uint8_t refusal_digest[USH_USER_REFUSALS];
	/* Ids of those refusals, low byte. */
	uint8_t refusal_id[USH_USER_REFUSALS];
};
static_assert(sizeof(struct ush_user) == USH_CACHE_LINE, "a user line is one cache line");

/* Of a user in an event whose holds' time counts; beside the line, so that others do not pay for
 * it. Changed under the line's lock. */
struct ush_user_time {
	/* No new hold before; Unix time. */
	uint64_t cool_until_ns;
	/* Used of the hold budget, seats times seconds. */
	uint32_t held_s;
	uint32_t spare;
};

/* An accepted request. */
struct ush_accepted {
	uint32_t next;
	uint32_t request_id;
	uint32_t digest;
	uint8_t op;
	uint8_t status;
	uint16_t spare;
	uint64_t hold;
	uint64_t sequence;
};
static_assert(sizeof(struct ush_accepted) == 32, "an answer is half a cache line");

/* One loop's free answers. */
struct ush_answer_pool {
	_Alignas(USH_CACHE_LINE) uint32_t free;
	uint32_t free_count;
	/* Never used yet: [fresh, fresh_end). */
	uint32_t fresh;
	uint32_t fresh_end;
};

struct ush_users {
	struct ush_user *lines;
	/* By line. */
	struct ush_user_time *times;
	uint32_t count;
	uint32_t bucket_mask;
	_Atomic uint8_t *bucket_lock;
	/* A bit for each line: the bit of every hash that was ever given a line is set, and never
	 * cleared. That most of those who ask in vain have no line is seen here, in the near
	 * caches; a table that has seen many more users than it has lines says less. */
	_Atomic uint64_t *known;
	uint64_t known_mask;
	struct ush_accepted *answers;
	uint32_t answer_count;
	struct ush_answer_pool *pools;
	uint32_t loop_count;
	uint64_t seed;
};

size_t ush_users_bytes(uint32_t user_count, uint32_t answer_count, uint32_t loop_count);

/* in: memory: that many zeroed bytes, 64-byte aligned. user_count is rounded up to a power of two,
 * at least 64. seed: hides which users share a bucket. */
void ush_users_init(struct ush_users *users, void *memory, uint32_t user_count,
	uint32_t answer_count, uint32_t loop_count, uint64_t seed);

/* ret: index of the answer that the others are found from, or USH_ANSWER_NONE. */
USH_INLINE uint32_t ush_user_newest(const struct ush_user *line)
{
	return line->answer & ~USH_ANSWER_RING;
}

/* ret: hash of (user, event); pass it to the calls below. */
USH_INLINE uint64_t ush_user_hash(const struct ush_users *users, uint64_t user, uint32_t event)
{
	return ush_mix64(user ^ users->seed ^ (uint64_t)event * 0x9e3779b97f4a7c15ull);
}

/* ret: the times of a line. by: the holder of its lock, to write. */
USH_INLINE struct ush_user_time *ush_user_time(
	const struct ush_users *users, const struct ush_user *line)
{
	return &users->times[line - users->lines];
}

/* ret: the line where the search starts: prefetch it. */
USH_INLINE struct ush_user *ush_user_home(const struct ush_users *users, uint64_t hash)
{
	uint32_t bucket = (uint32_t)(hash >> 32) & users->bucket_mask;

	return &users->lines[(size_t)bucket * USH_USER_BUCKET + (hash & (USH_USER_BUCKET - 1))];
}

/* ret: the line of its bucket that is searched after it. */
USH_INLINE struct ush_user *ush_user_after(const struct ush_users *users, struct ush_user *line)
{
	uint64_t index = (uint64_t)(line - users->lines);

	return line - (index & (USH_USER_BUCKET - 1)) + ((index + 1) & (USH_USER_BUCKET - 1));
}

/* ret: the word of `known` that speaks of the hash: prefetch it. */
USH_INLINE _Atomic uint64_t *ush_user_known_word(const struct ush_users *users, uint64_t hash)
{
	return &users->known[(hash >> 6) & users->known_mask];
}

/* ret: false: certainly no line. by: any loop; a line that another loop is making at this moment
 * may be missed. cost: one load. */
USH_INLINE bool ush_user_known(const struct ush_users *users, uint64_t hash)
{
	uint64_t word =
		atomic_load_explicit(ush_user_known_word(users, hash), memory_order_acquire);

	return (word >> (hash & 63) & 1) != 0;
}

enum ush_user_result {
	/* *line is locked by this loop. */
	USH_USER_OK,
	/* No such line (find only). */
	USH_USER_ABSENT,
	/* Locked by this same loop in the burst it is deciding: make that visible, then again. */
	USH_USER_OWN,
	/* Locked by another loop, for another request. */
	USH_USER_BUSY,
	/* Locked by another loop for this very request id. */
	USH_USER_DUPLICATE,
	/* No line can be had: the bucket is full of users with something live. */
	USH_USER_FULL,
};

/* Ends the lock; what was written becomes visible. by: the loop that locked. */
USH_INLINE void ush_user_unlock(struct ush_user *line)
{
	atomic_store_explicit(&line->lock, USH_USER_IDLE, memory_order_release);
}

/* Finds and locks. by: any loop. cost: usually one line, at most 64; without a line usually one
 * word of `known`. */
enum ush_user_result ush_user_find(struct ush_users *users, uint64_t hash, uint64_t user,
	uint32_t event, uint32_t loop, uint32_t request_id, struct ush_user **line);

USH_INLINE uint64_t ush_user_lock_word(uint32_t loop, uint32_t request_id)
{
	return USH_USER_LOCKED | (uint64_t)loop << 8 | (uint64_t)request_id << 32;
}

/* ret: true if the line is this user's; by others than the holder of its lock: perhaps. */
USH_INLINE bool ush_user_has_key(const struct ush_user *line, uint64_t user, uint32_t event)
{
	return atomic_load_explicit(&line->user, memory_order_relaxed) == user &&
	       atomic_load_explicit(&line->event, memory_order_relaxed) == event;
}

/* ret: true if the line where the search starts is this user's, idle, and now locked. */
USH_INLINE bool ush_user_lock_home(const struct ush_users *users, uint64_t hash, uint64_t user,
	uint32_t event, uint32_t loop, uint32_t request_id, struct ush_user **line)
{
	struct ush_user *home = ush_user_home(users, hash);
	uint64_t lock = atomic_load_explicit(&home->lock, memory_order_acquire);

	if (lock != USH_USER_IDLE || !ush_user_has_key(home, user, event) ||
		!atomic_compare_exchange_strong_explicit(&home->lock, &lock,
			ush_user_lock_word(loop, request_id), memory_order_acquire,
			memory_order_relaxed))
		return false;
	/* Given to another user in between? */
	if (ush_unlikely(!ush_user_has_key(home, user, event))) {
		ush_user_unlock(home);
		return false;
	}
	*line = home;
	return true;
}

/* The same as ush_user_enter, whichever line it is. */
enum ush_user_result ush_user_enter_bucket(struct ush_users *users, uint64_t hash, uint64_t user,
	uint32_t event, uint32_t loop, uint32_t request_id, struct ush_user **line);

/* Finds or makes, and locks. May replace a line of a user with nothing live. */
USH_INLINE enum ush_user_result ush_user_enter(struct ush_users *users, uint64_t hash,
	uint64_t user, uint32_t event, uint32_t loop, uint32_t request_id, struct ush_user **line)
{
	if (ush_likely(ush_user_lock_home(users, hash, user, event, loop, request_id, line)))
		return USH_USER_OK;
	return ush_user_enter_bucket(users, hash, user, event, loop, request_id, line);
}

enum ush_window {
	USH_WINDOW_NEW,
	/* Accepted before: *answer. */
	USH_WINDOW_ACCEPTED,
	/* Refused before: *status. */
	USH_WINDOW_REFUSED,
	/* Used before with another body. */
	USH_WINDOW_MISMATCH,
	/* Too old to know. */
	USH_WINDOW_STALE,
};

/* ret: true if the id is above all that were seen, so certainly NEW. by: the holder of the lock. */
USH_INLINE bool ush_user_is_ahead(const struct ush_user *line, uint32_t request_id)
{
	return request_id > line->window_top;
}

/* What is known of a request id. by: the holder of the lock. cost: O(answers of the user) <= 64. */
enum ush_window ush_user_window(const struct ush_users *users, const struct ush_user *line,
	uint32_t request_id, uint32_t digest, const struct ush_accepted **answer, uint8_t *status);

/* ret: true if an answer can be remembered by this loop. */
USH_INLINE bool ush_answer_available(const struct ush_users *users, uint32_t loop)
{
	const struct ush_answer_pool *pool = &users->pools[loop];

	return pool->free != USH_ANSWER_NONE || pool->fresh < pool->fresh_end;
}

/* Remembers an accepted request, and forgets those 64 or more below it; refusals forget none, so
 * that replay, which knows no refusals, remembers the same. in: request_id: not STALE. cost: O(1)
 * if ids rise, O(answers of the user) for one that comes late.
 * ret: the answer, to be completed; never NULL when available. */
struct ush_accepted *ush_user_accept(struct ush_users *users, struct ush_user *line, uint32_t loop,
	uint32_t request_id, uint32_t digest, uint8_t op);

/* ret: what a payment that came too late for the hold `over` was answered, or NULL; *count: others
 * of this user. by: the holder of the lock. cost: O(answers of the user). */
const struct ush_accepted *ush_user_late(
	const struct ush_users *users, const struct ush_user *line, uint64_t over, uint32_t *count);

/* Remembers it, for as long as the user's line: it goes out of no window.
 * ret: the answer, to be completed; never NULL when available. */
struct ush_accepted *ush_user_accept_late(
	struct ush_users *users, struct ush_user *line, uint32_t loop, uint64_t over);

/* out: indices: of the user's answers, newest first, if they are at most `max`. ret: how many there
 * are. by: the holder of the lock. */
uint32_t ush_user_answers(const struct ush_users *users, const struct ush_user *line,
	uint32_t *indices, uint32_t max);

/* Remembers a refusal, if it is of one of the 8 highest ids. */
void ush_user_refuse(struct ush_user *line, uint32_t request_id, uint32_t digest, uint8_t status);

#endif /* USH_USER_H */
