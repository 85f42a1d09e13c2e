/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "user/user.h"

static_assert(USH_USER_BUCKET == 64, "the home slot is the hash's low six bits");
static_assert(USH_REQUEST_WINDOW == 64, "the window is one word");

static size_t align_up(size_t bytes)
{
	return (bytes + USH_CACHE_LINE - 1) & ~(size_t)(USH_CACHE_LINE - 1);
}

static uint32_t line_count(uint32_t user_count)
{
	return ush_pow2_ceil32(user_count < USH_USER_BUCKET ? USH_USER_BUCKET : user_count);
}

size_t ush_users_bytes(uint32_t user_count, uint32_t answer_count, uint32_t loop_count)
{
	size_t lines = line_count(user_count);

	return lines * sizeof(struct ush_user) + lines * sizeof(struct ush_user_time) +
	       align_up(lines / USH_USER_BUCKET) + align_up(lines) +
	       align_up((size_t)answer_count * sizeof(struct ush_accepted)) +
	       loop_count * sizeof(struct ush_answer_pool);
}

void ush_users_init(struct ush_users *users, void *memory, uint32_t user_count,
	uint32_t answer_count, uint32_t loop_count, uint64_t seed)
{
	uint8_t *at = memory;
	uint32_t share = (answer_count - 1) / loop_count;

	USH_ASSERT(answer_count > loop_count);
	users->count = line_count(user_count);
	users->bucket_mask = users->count / USH_USER_BUCKET - 1;
	users->answer_count = answer_count;
	users->loop_count = loop_count;
	users->seed = seed;
	users->lines = (void *)at;
	at += (size_t)users->count * sizeof(struct ush_user);
	users->times = (void *)at;
	at += (size_t)users->count * sizeof(struct ush_user_time);
	users->bucket_lock = (void *)at;
	at += align_up(users->count / USH_USER_BUCKET);
	users->known = (void *)at;
	users->known_mask = users->count / 64 - 1;
	at += align_up(users->count / 8);
	users->answers = (void *)at;
	at += align_up((size_t)answer_count * sizeof(struct ush_accepted));
	users->pools = (void *)at;
	for (uint32_t i = 0; i < loop_count; i++) {
		/* Index 0 means none. */
		users->pools[i].fresh = 1 + i * share;
		users->pools[i].fresh_end = 1 + (i + 1) * share;
	}
}

/* The line bears our key: lock it. ABSENT when it was given to another user meanwhile. */
static enum ush_user_result lock_line(struct ush_user *line, uint64_t lock, uint64_t user,
	uint32_t event, uint32_t loop, uint32_t request_id)
{
	if ((lock & 0xff) == USH_USER_LOCKED) {
		if (((lock >> 8) & 0xff) == loop)
			return USH_USER_OWN;
		return lock >> 32 == request_id && request_id != 0 ? USH_USER_DUPLICATE
								   : USH_USER_BUSY;
	}
	if (!atomic_compare_exchange_strong_explicit(&line->lock, &lock,
		    ush_user_lock_word(loop, request_id), memory_order_acquire,
		    memory_order_relaxed))
		return USH_USER_BUSY;
	if (ush_unlikely(!ush_user_has_key(line, user, event))) {
		ush_user_unlock(line);
		return USH_USER_BUSY;
	}
	return USH_USER_OK;
}

/* out: on ABSENT: the empty line that ended the search, NULL if the bucket has none. */
USH_INLINE enum ush_user_result find_line(struct ush_users *users, uint64_t hash, uint64_t user,
	uint32_t event, uint32_t loop, uint32_t request_id, struct ush_user **out)
{
	struct ush_user *home = ush_user_home(users, hash);
	struct ush_user *bucket = home - (hash & (USH_USER_BUCKET - 1));

	for (uint32_t i = 0; i < USH_USER_BUCKET; i++) {
		struct ush_user *line = &bucket[(hash + i) & (USH_USER_BUCKET - 1)];
		uint64_t lock = atomic_load_explicit(&line->lock, memory_order_acquire);
		/* Lines are never emptied, so the first empty one ends the search. */
		*out = line;
		if ((lock & 0xff) == USH_USER_EMPTY)
			return USH_USER_ABSENT;
		if ((lock & 0xff) == USH_USER_FILLING)
			return USH_USER_BUSY;
		if (ush_user_has_key(line, user, event))
			return lock_line(line, lock, user, event, loop, request_id);
	}
	*out = NULL;
	return USH_USER_ABSENT;
}

enum ush_user_result ush_user_find(struct ush_users *users, uint64_t hash, uint64_t user,
	uint32_t event, uint32_t loop, uint32_t request_id, struct ush_user **out)
{
	return ush_user_known(users, hash)
		       ? find_line(users, hash, user, event, loop, request_id, out)
		       : USH_USER_ABSENT;
}

/* ret: true if the line's user has nothing that must be remembered. Caller holds its lock. */
static bool is_spent(const struct ush_users *users, const struct ush_user *line)
{
	const struct ush_user_time *time = ush_user_time(users, line);

	return line->seats == 0 && line->answer_count == 0 && time->held_s == 0 &&
	       time->cool_until_ns == 0;
}

static void fill(
	struct ush_user *line, uint64_t user, uint32_t event, uint32_t loop, uint32_t request_id)
{
	atomic_store_explicit(&line->user, user, memory_order_relaxed);
	atomic_store_explicit(&line->event, event, memory_order_relaxed);
	line->window_top = 0;
	line->window_bits = 0;
	line->answer = USH_ANSWER_NONE;
	line->seats = 0;
	line->answer_count = 0;
	memset(line->refusal_status, 0, sizeof(line->refusal_status));
	memset(line->refusal_digest, 0, sizeof(line->refusal_digest));
	memset(line->refusal_id, 0, sizeof(line->refusal_id));
	atomic_store_explicit(
		&line->lock, ush_user_lock_word(loop, request_id), memory_order_release);
}

/* Under the bucket's lock: takes an empty line, or one whose user has nothing live. */
static struct ush_user *take_line(
	const struct ush_users *users, struct ush_user *bucket, uint64_t hash, bool spent)
{
	for (uint32_t i = 0; i < USH_USER_BUCKET; i++) {
		struct ush_user *line = &bucket[(hash + i) & (USH_USER_BUCKET - 1)];
		uint64_t lock = atomic_load_explicit(&line->lock, memory_order_relaxed);
		uint64_t want = spent ? USH_USER_IDLE : USH_USER_EMPTY;
		if (lock != want)
			continue;
		if (!atomic_compare_exchange_strong_explicit(&line->lock, &lock, USH_USER_FILLING,
			    memory_order_acquire, memory_order_relaxed))
			continue;
		if (!spent || is_spent(users, line))
			return line;
		ush_user_unlock(line);
	}
	return NULL;
}

static void make_known(struct ush_users *users, uint64_t hash)
{
	uint64_t bit = 1ull << (hash & 63);
	_Atomic uint64_t *word = ush_user_known_word(users, hash);

	if ((atomic_load_explicit(word, memory_order_relaxed) & bit) == 0)
		atomic_fetch_or_explicit(word, bit, memory_order_release);
}

/* Under the bucket's lock: finds the line after all, or makes it. */
static enum ush_user_result search_or_make(struct ush_users *users, uint64_t hash, uint64_t user,
	uint32_t event, uint32_t loop, uint32_t request_id, struct ush_user **out)
{
	struct ush_user *home = ush_user_home(users, hash);
	struct ush_user *bucket = home - (hash & (USH_USER_BUCKET - 1));
	enum ush_user_result result = find_line(users, hash, user, event, loop, request_id, out);
	struct ush_user *line;

	if (result != USH_USER_ABSENT)
		return result;
	make_known(users, hash);
	line = take_line(users, bucket, hash, false);
	if (line == NULL)
		line = take_line(users, bucket, hash, true);
	if (line == NULL)
		return USH_USER_FULL;
	fill(line, user, event, loop, request_id);
	*out = line;
	return USH_USER_OK;
}

enum ush_user_result ush_user_enter_bucket(struct ush_users *users, uint64_t hash, uint64_t user,
	uint32_t event, uint32_t loop, uint32_t request_id, struct ush_user **out)
{
	enum ush_user_result result = find_line(users, hash, user, event, loop, request_id, out);
	_Atomic uint8_t *bucket_lock;

	if (result != USH_USER_ABSENT)
		return result;
	/* One maker at a time in a bucket, or two loops could make two lines of one user. */
	bucket_lock = &users->bucket_lock[(uint32_t)(hash >> 32) & users->bucket_mask];
	if (atomic_exchange_explicit(bucket_lock, 1, memory_order_acquire) != 0)
		return USH_USER_BUSY;
	/* Still empty: all lines before it were passed and have not changed hands, for that begins
	 * when the bucket has no empty one. So the user has none, and nobody else fills this one:
	 * that takes the bucket's lock. */
	if (ush_likely(*out != NULL && atomic_load_explicit(&(*out)->lock, memory_order_relaxed) ==
					       USH_USER_EMPTY)) {
		make_known(users, hash);
		/* All else is zero since the beginning. Who looks meanwhile sees an empty line and
		 * stops at the bucket's lock. */
		atomic_store_explicit(&(*out)->user, user, memory_order_relaxed);
		atomic_store_explicit(&(*out)->event, event, memory_order_relaxed);
		atomic_store_explicit(
			&(*out)->lock, ush_user_lock_word(loop, request_id), memory_order_release);
		result = USH_USER_OK;
	} else {
		result = search_or_make(users, hash, user, event, loop, request_id, out);
	}
	atomic_store_explicit(bucket_lock, 0, memory_order_release);
	return result;
}

static const struct ush_accepted *find_answer(
	const struct ush_users *users, const struct ush_user *line, uint32_t request_id)
{
	uint32_t at = ush_user_newest(line);

	for (uint32_t i = line->answer_count; i != 0; i--, at = users->answers[at].next) {
		if (users->answers[at].request_id == request_id &&
			users->answers[at].op != USH_OP_PAY_LATE)
			return &users->answers[at];
	}
	return NULL;
}

enum ush_window ush_user_window(const struct ush_users *users, const struct ush_user *line,
	uint32_t request_id, uint32_t digest, const struct ush_accepted **answer, uint8_t *status)
{
	uint32_t slot = request_id & (USH_USER_REFUSALS - 1);
	uint32_t behind;

	if (ush_user_is_ahead(line, request_id))
		return USH_WINDOW_NEW;
	behind = line->window_top - request_id;
	if (behind >= USH_REQUEST_WINDOW)
		return USH_WINDOW_STALE;
	if ((line->window_bits >> behind & 1) == 0)
		return USH_WINDOW_NEW;
	*answer = find_answer(users, line, request_id);
	if (*answer != NULL)
		return (*answer)->digest == digest ? USH_WINDOW_ACCEPTED : USH_WINDOW_MISMATCH;
	if (behind >= USH_USER_REFUSALS || line->refusal_status[slot] == USH_STATUS_OK ||
		line->refusal_id[slot] != (uint8_t)request_id)
		return USH_WINDOW_STALE;
	if (line->refusal_digest[slot] != (uint8_t)digest)
		return USH_WINDOW_MISMATCH;
	*status = line->refusal_status[slot];
	return USH_WINDOW_REFUSED;
}

static uint32_t answer_take(struct ush_users *users, uint32_t loop)
{
	struct ush_answer_pool *pool = &users->pools[loop];
	uint32_t index = pool->free;

	if (index != USH_ANSWER_NONE) {
		pool->free = users->answers[index].next;
		pool->free_count--;
	} else if (pool->fresh < pool->fresh_end) {
		index = pool->fresh++;
	}
	return index;
}

/* Order in the ring: late payments, then by id. ret: true if a stands before b; of equals the one
 * that came first does. */
static bool stands_before(const struct ush_accepted *a, const struct ush_accepted *b, bool a_first)
{
	bool a_late = a->op == USH_OP_PAY_LATE, b_late = b->op == USH_OP_PAY_LATE;

	if (a_late || b_late)
		return a_late && (!b_late || a_first);
	return a->request_id < b->request_id || (a_first && a->request_id == b->request_id);
}

/* in: newer: than those of its id that are there. cost: O(1) for the highest id, and for the
 * lowest; O(answers of the user) for one in between. */
static void ring_insert(struct ush_users *users, struct ush_user *line, uint32_t index, bool newer)
{
	struct ush_accepted *answer = &users->answers[index];
	uint32_t prev = ush_user_newest(line);

	line->answer_count++;
	if (prev == USH_ANSWER_NONE) {
		answer->next = index;
		line->answer = index | USH_ANSWER_RING;
		return;
	}
	if (stands_before(&users->answers[prev], answer, newer)) {
		line->answer = index | USH_ANSWER_RING;
	} else {
		/* The newest does not stand before it, so this ends there. */
		while (stands_before(&users->answers[users->answers[prev].next], answer, newer))
			prev = users->answers[prev].next;
	}
	answer->next = users->answers[prev].next;
	users->answers[prev].next = index;
}

/* The user's ids have begun to leave the window: from here the oldest answer is at hand. cost: once
 * for a user, O(1) for each answer if the ids rose. */
static void ring_make(struct ush_users *users, struct ush_user *line)
{
	uint32_t at = line->answer;

	line->answer = USH_ANSWER_NONE;
	line->answer_count = 0;
	while (at != USH_ANSWER_NONE) {
		uint32_t next = users->answers[at].next;

		ring_insert(users, line, at, false);
		at = next;
	}
}

static bool is_out(const struct ush_accepted *answer, uint32_t request_id)
{
	return answer->op != USH_OP_PAY_LATE && answer->request_id < request_id &&
	       request_id - answer->request_id >= USH_REQUEST_WINDOW;
}

/* Drops answers that the newly accepted `request_id` puts out of the window. Only accepted requests
 * do that, for only they are in the journal: replay then remembers exactly what was remembered.
 * cost: O(dropped + late payments). */
static void prune(
	struct ush_users *users, struct ush_user *line, uint32_t loop, uint32_t request_id)
{
	struct ush_answer_pool *pool = &users->pools[loop];
	uint32_t prev = ush_user_newest(line);

	for (uint32_t i = line->answer_count; i != 0; i--) {
		uint32_t index = users->answers[prev].next;
		struct ush_accepted *answer = &users->answers[index];

		if (answer->op == USH_OP_PAY_LATE) {
			prev = index;
			continue;
		}
		if (!is_out(answer, request_id))
			break;
		users->answers[prev].next = answer->next;
		if (index == ush_user_newest(line))
			line->answer = prev == index ? USH_ANSWER_NONE : prev | USH_ANSWER_RING;
		answer->next = pool->free;
		pool->free = index;
		pool->free_count++;
		line->answer_count--;
	}
}

/* The newest answer of the user, to be completed. */
static void add_answer(struct ush_users *users, struct ush_user *line, uint32_t index)
{
	if (ush_unlikely((line->answer & USH_ANSWER_RING) != 0)) {
		ring_insert(users, line, index, true);
		return;
	}
	users->answers[index].next = line->answer;
	line->answer = index;
	line->answer_count++;
}

static void mark_done(struct ush_user *line, uint32_t request_id)
{
	uint32_t ahead;

	if (request_id <= line->window_top) {
		USH_ASSERT(line->window_top - request_id < USH_REQUEST_WINDOW);
		line->window_bits |= 1ull << (line->window_top - request_id);
		return;
	}
	ahead = request_id - line->window_top;
	line->window_bits = ahead >= USH_REQUEST_WINDOW ? 0 : line->window_bits << ahead;
	line->window_bits |= 1;
	line->window_top = request_id;
}

struct ush_accepted *ush_user_accept(struct ush_users *users, struct ush_user *line, uint32_t loop,
	uint32_t request_id, uint32_t digest, uint8_t op)
{
	uint32_t index;
	struct ush_accepted *answer;

	mark_done(line, request_id);
	/* The first ids push nothing out; looking would cost cache misses. */
	if (ush_unlikely(request_id > USH_REQUEST_WINDOW)) {
		if ((line->answer & USH_ANSWER_RING) == 0)
			ring_make(users, line);
		prune(users, line, loop, request_id);
	}
	index = answer_take(users, loop);
	USH_ASSERT(index != USH_ANSWER_NONE);
	answer = &users->answers[index];
	*answer = (struct ush_accepted){.request_id = request_id, .digest = digest, .op = op};
	if (ush_unlikely(request_id > USH_REQUEST_WINDOW))
		ring_insert(users, line, index, true);
	else
		add_answer(users, line, index);
	return answer;
}

const struct ush_accepted *ush_user_late(
	const struct ush_users *users, const struct ush_user *line, uint64_t over, uint32_t *count)
{
	uint32_t at = ush_user_newest(line);

	*count = 0;
	for (uint32_t i = line->answer_count; i != 0; i--, at = users->answers[at].next) {
		const struct ush_accepted *answer = &users->answers[at];

		if (answer->op != USH_OP_PAY_LATE)
			continue;
		if (answer->request_id == (uint32_t)over && answer->digest == over >> 32)
			return answer;
		++*count;
	}
	return NULL;
}

struct ush_accepted *ush_user_accept_late(
	struct ush_users *users, struct ush_user *line, uint32_t loop, uint64_t over)
{
	uint32_t index = answer_take(users, loop);
	struct ush_accepted *answer;

	USH_ASSERT(index != USH_ANSWER_NONE);
	answer = &users->answers[index];
	*answer = (struct ush_accepted){.request_id = (uint32_t)over,
		.digest = (uint32_t)(over >> 32),
		.op = USH_OP_PAY_LATE};
	add_answer(users, line, index);
	return answer;
}

uint32_t ush_user_answers(
	const struct ush_users *users, const struct ush_user *line, uint32_t *indices, uint32_t max)
{
	uint32_t count = line->answer_count, at = ush_user_newest(line);
	bool ring = (line->answer & USH_ANSWER_RING) != 0;

	if (count > max)
		return count;
	for (uint32_t i = 0; i < count; i++, at = users->answers[at].next)
		indices[ring && i != 0 ? count - i : i] = at;
	return count;
}

void ush_user_refuse(struct ush_user *line, uint32_t request_id, uint32_t digest, uint8_t status)
{
	uint32_t slot = request_id & (USH_USER_REFUSALS - 1);

	mark_done(line, request_id);
	/* A late one below the eight highest would push out one of those. */
	if (line->window_top - request_id >= USH_USER_REFUSALS)
		return;
	line->refusal_status[slot] = status;
	line->refusal_digest[slot] = (uint8_t)digest;
	line->refusal_id[slot] = (uint8_t)request_id;
}
