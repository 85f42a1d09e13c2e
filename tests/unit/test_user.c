/* SPDX-License-Identifier: Apache-2.0 */
/*
 * User lines: the window of request ids against a plain list, answers, locks, eviction.
 *
 * Owns:  one table.
 * Reads: USH_SEED.
 * Never: DPDK.
 */
#include <stdlib.h>
#include <string.h>

#include "../tap.h"
#include "user/user.h"

#define EVENT 3u

static struct ush_users users;
static void *memory;

static void open_users(uint32_t user_count, uint32_t answer_count, uint32_t loops)
{
	size_t bytes = ush_users_bytes(user_count, answer_count, loops);

	free(memory);
	memset(&users, 0, sizeof(users));
	memory = aligned_alloc(64, (bytes + 63) & ~(size_t)63);
	USH_ASSERT(memory != NULL);
	memset(memory, 0, bytes);
	ush_users_init(&users, memory, user_count, answer_count, loops, 77);
}

static enum ush_user_result enter(uint64_t user, uint32_t loop, uint32_t id, struct ush_user **line)
{
	return ush_user_enter(
		&users, ush_user_hash(&users, user, EVENT), user, EVENT, loop, id, line);
}

static enum ush_user_result find(uint64_t user, uint32_t loop, uint32_t id, struct ush_user **line)
{
	return ush_user_find(
		&users, ush_user_hash(&users, user, EVENT), user, EVENT, loop, id, line);
}

static struct ush_user *locked(uint64_t user)
{
	struct ush_user *line = NULL;

	USH_ASSERT(enter(user, 0, 1, &line) == USH_USER_OK);
	return line;
}

static enum ush_window window(
	const struct ush_user *line, uint32_t id, uint32_t digest, uint8_t *status)
{
	const struct ush_accepted *answer;

	return ush_user_window(&users, line, id, digest, &answer, status);
}

/* ---- the window ---- */

/* What is known of used ids, as a list. */
struct known {
	uint32_t id;
	uint32_t digest;
	uint8_t status;
};

struct plain {
	uint32_t top;
	uint32_t count;
	struct known known[4096];
};

static enum ush_window plain_window(
	const struct plain *p, uint32_t id, uint32_t digest, uint8_t *status)
{
	const struct known *known = NULL;

	for (uint32_t i = 0; i < p->count; i++) {
		if (p->known[i].id == id)
			known = &p->known[i];
	}
	if (id > p->top)
		return USH_WINDOW_NEW;
	if (p->top - id >= 64)
		return USH_WINDOW_STALE;
	if (known == NULL)
		return USH_WINDOW_NEW;
	if (known->status == USH_STATUS_OK)
		return known->digest == digest ? USH_WINDOW_ACCEPTED : USH_WINDOW_MISMATCH;
	if (p->top - id >= 8)
		return USH_WINDOW_STALE;
	*status = known->status;
	return (known->digest & 0xff) == (digest & 0xff) ? USH_WINDOW_REFUSED : USH_WINDOW_MISMATCH;
}

/* Answers that are kept: an accepted id drops those 64 and more below it. */
static uint32_t plain_answers(const struct plain *p)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < p->count; i++) {
		bool keep = p->known[i].status == USH_STATUS_OK;
		for (uint32_t k = i + 1; k < p->count; k++) {
			if (p->known[k].status == USH_STATUS_OK &&
				p->known[k].id >= p->known[i].id + 64)
				keep = false;
		}
		kept += keep;
	}
	return kept;
}

static void decide(
	struct plain *p, struct ush_user *line, uint32_t id, uint32_t digest, uint8_t status)
{
	if (status == USH_STATUS_OK)
		ush_user_accept(&users, line, 0, id, digest, USH_OP_RESERVE)->hold = id * 7ull;
	else
		ush_user_refuse(line, id, digest, status);
	p->known[p->count++] = (struct known){id, digest, status};
	if (id > p->top)
		p->top = id;
}

static void window_run(struct ush_random *random, uint64_t user)
{
	static struct plain plain;
	struct ush_user *line = locked(user);
	uint32_t bad = 0;

	memset(&plain, 0, sizeof(plain));
	for (int i = 0; i < 1500; i++) {
		const struct ush_accepted *answer = NULL;
		uint32_t back = (uint32_t)ush_random_below(random, 80);
		uint32_t id = plain.top + 1;
		uint32_t digest = (uint32_t)ush_random_below(random, 3) * 0x101;
		uint8_t status = 0, expected_status = 0;
		enum ush_window is, expected;

		if (ush_random_below(random, 4) != 0 && back < plain.top)
			id = plain.top - back;
		else if (ush_random_below(random, 20) == 0)
			id += (uint32_t)ush_random_below(random, 90);
		expected = plain_window(&plain, id, digest, &expected_status);
		is = ush_user_window(&users, line, id, digest, &answer, &status);
		bad += is != expected;
		bad += is == USH_WINDOW_REFUSED && status != expected_status;
		bad += is == USH_WINDOW_ACCEPTED && (answer == NULL || answer->hold != id * 7ull);
		if (is == USH_WINDOW_NEW)
			decide(&plain, line, id, digest,
				ush_random_below(random, 2) == 0 ? USH_STATUS_OK
								 : USH_STATUS_TAKEN);
	}
	CHECK_EQ(bad, 0);
	CHECK_EQ(line->answer_count, plain_answers(&plain));
	CHECK_EQ(line->window_top, plain.top);
	ush_user_unlock(line);
}

/* Goal: the window means what a list of used ids means. Method: random ids around the top. */
static void test_user_window_random_ids_equal_plain_list(void)
{
	struct ush_random random;

	ush_random_init(&random, tap_seed(1));
	open_users(64, 8192, 1);
	for (uint64_t user = 1; user <= 40; user++)
		window_run(&random, user);
}

/* Goal: ids up to the largest work, and a far jump forgets all bits. */
static void test_user_window_far_ids_start_anew(void)
{
	struct ush_user *line;
	uint8_t status = 0;

	open_users(64, 64, 1);
	line = locked(1);
	CHECK_EQ(window(line, 1, 0, &status), USH_WINDOW_NEW);
	ush_user_accept(&users, line, 0, 1, 5, USH_OP_RESERVE);
	ush_user_refuse(line, UINT32_MAX, 5, USH_STATUS_LIMIT);
	CHECK_EQ(window(line, UINT32_MAX, 5, &status), USH_WINDOW_REFUSED);
	CHECK_EQ(status, USH_STATUS_LIMIT);
	CHECK_EQ(window(line, 1, 5, &status), USH_WINDOW_STALE);
	CHECK_EQ(window(line, UINT32_MAX - 63, 5, &status), USH_WINDOW_NEW);
	CHECK_EQ(window(line, UINT32_MAX - 64, 5, &status), USH_WINDOW_STALE);
	ush_user_accept(&users, line, 0, UINT32_MAX - 63, 6, USH_OP_RESERVE);
	CHECK_EQ(window(line, UINT32_MAX - 63, 6, &status), USH_WINDOW_ACCEPTED);
	CHECK_EQ(line->answer_count, 1);
}

/* Goal: refusals of the 8 highest ids are remembered, whatever is refused late below them. */
static void test_user_refusal_late_one_leaves_newest(void)
{
	struct ush_user *line;
	uint8_t status = 0;

	open_users(64, 64, 1);
	line = locked(1);
	for (uint32_t id = 11; id <= 18; id++)
		ush_user_refuse(line, id, id, USH_STATUS_TAKEN);
	for (uint32_t id = 3; id <= 10; id++)
		ush_user_refuse(line, id, id, USH_STATUS_LIMIT);
	for (uint32_t id = 11; id <= 18; id++) {
		CHECK_EQ(window(line, id, id, &status), USH_WINDOW_REFUSED);
		CHECK_EQ(status, USH_STATUS_TAKEN);
	}
	for (uint32_t id = 3; id <= 10; id++)
		CHECK_EQ(window(line, id, id, &status), USH_WINDOW_STALE);
	CHECK_EQ(window(line, 18, 19, &status), USH_WINDOW_MISMATCH);
}

/* Goal: refusals drop no answer: replay, which does not see them, would remember it. */
static void test_user_answers_refusals_drop_none(void)
{
	struct ush_user *line;

	open_users(64, 64, 1);
	line = locked(1);
	ush_user_accept(&users, line, 0, 5, 0, USH_OP_RESERVE);
	ush_user_refuse(line, 500, 0, USH_STATUS_TAKEN);
	CHECK_EQ(line->answer_count, 1);
	ush_user_accept(&users, line, 0, 499, 0, USH_OP_RESERVE);
	CHECK_EQ(line->answer_count, 1);
}

/* ---- answers ---- */

static uint32_t available(uint32_t loop)
{
	const struct ush_answer_pool *pool = &users.pools[loop];

	return pool->free_count + pool->fresh_end - pool->fresh;
}

/* Goal: answers come back when they are dropped, to the loop that dropped them, and none is lost or
 * given twice. Method: two loops take turns with one user, then use their shares up. */
static void test_user_answers_dropped_are_recycled(void)
{
	struct ush_user *line = NULL;
	uint32_t total, fresh = 0;

	open_users(64, 201, 2);
	total = available(0) + available(1);
	CHECK_EQ(total, 200);
	for (uint32_t id = 1; id <= 5000; id++) {
		uint32_t loop = id / 70 % 2;
		CHECK_EQ(enter(9, loop, id, &line), USH_USER_OK);
		CHECK(ush_answer_available(&users, loop));
		ush_user_accept(&users, line, loop, id, 0, USH_OP_RESERVE);
		CHECK(line->answer_count <= 64);
		CHECK_EQ(available(0) + available(1) + line->answer_count, total);
		ush_user_unlock(line);
	}
	for (uint64_t user = 100; ush_answer_available(&users, 1); user++, fresh++) {
		CHECK_EQ(enter(100 + user % 50, 1, (uint32_t)user, &line), USH_USER_OK);
		ush_user_accept(&users, line, 1, (uint32_t)user, 0, USH_OP_RESERVE);
		ush_user_unlock(line);
	}
	CHECK(fresh > 0);
	CHECK_EQ(available(1), 0);
	CHECK(!ush_answer_available(&users, 1));
}

/* ret: true if the answers of both lines are the same, in the same order. */
static bool same_answers(const struct ush_user *a, const struct ush_user *b)
{
	uint32_t at[2][USH_USER_ANSWERS_MAX];
	uint32_t count = ush_user_answers(&users, a, at[0], USH_USER_ANSWERS_MAX);

	if (count > USH_USER_ANSWERS_MAX ||
		ush_user_answers(&users, b, at[1], USH_USER_ANSWERS_MAX) != count)
		return false;
	for (uint32_t i = 0; i < count; i++) {
		const struct ush_accepted *x = &users.answers[at[0][i]];
		const struct ush_accepted *y = &users.answers[at[1][i]];

		if (x->request_id != y->request_id || x->digest != y->digest || x->op != y->op)
			return false;
	}
	return true;
}

/* One user's answers taken over by another, the oldest first, as a snapshot is read. */
static void take_over(struct ush_user *to, const struct ush_user *from)
{
	uint32_t at[USH_USER_ANSWERS_MAX];
	uint32_t count = ush_user_answers(&users, from, at, USH_USER_ANSWERS_MAX);

	USH_ASSERT(count <= USH_USER_ANSWERS_MAX);
	while (count-- > 0) {
		struct ush_accepted a = users.answers[at[count]];

		if (a.op == USH_OP_PAY_LATE)
			ush_user_accept_late(
				&users, to, 0, a.request_id | (uint64_t)a.digest << 32);
		else
			ush_user_accept(&users, to, 0, a.request_id, a.digest, a.op);
	}
}

/* Goal: whatever ids a user comes with, its answers can be read, written to a snapshot and taken
 * from it, in the same order, and none is lost. Method: ids around the top, late payments between;
 * after each the answers move to another user, where the same goes on. */
static void test_user_answers_are_the_same_after_a_snapshot(void)
{
	struct ush_random random;
	uint32_t late_seen = 0, out_of_order = 0;

	ush_random_init(&random, tap_seed(2));
	for (uint32_t run = 0; run < 60; run++) {
		uint32_t top = run % 3 == 0 ? 0 : 40, late = 0, wrong = 0;
		uint32_t move = 1 + (uint32_t)ush_random_below(&random, 200);
		struct ush_user *line[2];

		open_users(64, 1024, 1);
		line[0] = locked(1);
		line[1] = locked(2);
		for (uint32_t i = 0; i < 400; i++) {
			uint32_t id = top + 1 + (uint32_t)ush_random_below(&random, 2);
			uint32_t back = (uint32_t)ush_random_below(&random, 63);
			uint64_t over = 1000 + i + ((uint64_t)i << 33);

			if (i == move)
				take_over(line[1], line[0]);
			if (run % 2 == 1 && late < USH_USER_LATE_MAX &&
				ush_random_below(&random, 16) == 0) {
				ush_user_accept_late(&users, line[0], 0, over);
				if (i >= move)
					ush_user_accept_late(&users, line[1], 0, over);
				late++;
				late_seen++;
			}
			if (ush_random_below(&random, 8) == 0 && back < top)
				id = top - back;
			/* Used already. */
			if (!ush_user_is_ahead(line[0], id) &&
				(line[0]->window_bits >> (line[0]->window_top - id) & 1) != 0)
				continue;
			out_of_order += id < top;
			for (uint32_t k = 0; k < (i >= move ? 2u : 1u); k++)
				ush_user_accept(&users, line[k], 0, id, i, USH_OP_RESERVE);
			top = id > top ? id : top;
			wrong += i >= move && !same_answers(line[0], line[1]);
			wrong += available(0) + line[0]->answer_count + line[1]->answer_count !=
				 1023;
			wrong += line[0]->answer_count > 64 + late;
		}
		CHECK_EQ(wrong, 0);
	}
	CHECK(late_seen > 100 && out_of_order > 100);
}

/* ---- locks ---- */

/* Goal: who meets a locked line learns whose it is. */
static void test_user_locked_tells_own_busy_duplicate(void)
{
	struct ush_user *line = NULL, *again = NULL;

	open_users(64, 64, 4);
	CHECK_EQ(find(1, 2, 10, &line), USH_USER_ABSENT);
	CHECK_EQ(enter(1, 2, 10, &line), USH_USER_OK);
	CHECK_EQ(enter(1, 2, 10, &again), USH_USER_OWN);
	CHECK_EQ(enter(1, 2, 11, &again), USH_USER_OWN);
	CHECK_EQ(enter(1, 3, 11, &again), USH_USER_BUSY);
	CHECK_EQ(enter(1, 3, 10, &again), USH_USER_DUPLICATE);
	CHECK_EQ(find(1, 3, 10, &again), USH_USER_DUPLICATE);
	/* A request without a number duplicates none. */
	CHECK_EQ(find(1, 3, 0, &again), USH_USER_BUSY);
	ush_user_unlock(line);
	CHECK_EQ(find(1, 3, 0, &again), USH_USER_OK);
	CHECK(again == line);
	CHECK_EQ(find(1, 2, 0, &again), USH_USER_BUSY);
	ush_user_unlock(line);
}

/* Goal: whoever has a line is known; of those who have none not many are, in a
 * table that is half full. */
static void test_user_known_misses_nobody(void)
{
	const uint32_t count = 4096;
	uint32_t unknown = 0, wrong = 0;
	struct ush_user *line = NULL;

	open_users(count * 2, 64, 1);
	for (uint64_t user = 1; user <= count; user++) {
		CHECK_EQ(enter(user, 0, 1, &line), USH_USER_OK);
		ush_user_unlock(line);
	}
	for (uint64_t user = 1; user <= count; user++)
		unknown += !ush_user_known(&users, ush_user_hash(&users, user, EVENT));
	for (uint64_t user = count + 1; user <= 2 * count; user++)
		wrong += ush_user_known(&users, ush_user_hash(&users, user, EVENT));
	CHECK_EQ(unknown, 0);
	CHECK(wrong > 0 && wrong < count / 2);
}

/* Goal: nobody waits for a line being made, or for a bucket in which one is. */
static void test_user_being_made_is_busy(void)
{
	uint64_t hash;
	struct ush_user *line = NULL;

	open_users(64, 64, 2);
	hash = ush_user_hash(&users, 5, EVENT);
	atomic_store(&ush_user_home(&users, hash)->lock, USH_USER_FILLING);
	CHECK_EQ(find(5, 0, 1, &line), USH_USER_ABSENT);
	atomic_store(ush_user_known_word(&users, hash), UINT64_MAX);
	CHECK_EQ(find(5, 0, 1, &line), USH_USER_BUSY);
	CHECK_EQ(enter(5, 0, 1, &line), USH_USER_BUSY);
	atomic_store(&ush_user_home(&users, hash)->lock, USH_USER_EMPTY);
	atomic_store(&users.bucket_lock[0], 1);
	CHECK_EQ(find(5, 0, 1, &line), USH_USER_ABSENT);
	CHECK_EQ(enter(5, 0, 1, &line), USH_USER_BUSY);
	atomic_store(&users.bucket_lock[0], 0);
	CHECK_EQ(enter(5, 0, 1, &line), USH_USER_OK);
	CHECK_EQ(atomic_load(&users.bucket_lock[0]), 0);
}

/* ---- buckets ---- */

/* ret: the next user whose line starts at `slot` of `bucket`. */
static uint64_t user_at(uint64_t after, uint32_t bucket, uint32_t slot)
{
	for (uint64_t user = after + 1;; user++) {
		const struct ush_user *home =
			ush_user_home(&users, ush_user_hash(&users, user, EVENT));
		if ((uint32_t)(home - users.lines) == bucket * USH_USER_BUCKET + slot)
			return user;
	}
}

/* Goal: users who all start at one slot each have a line in their bucket, past its end and round.
 * Method: 64 users of the last slot of bucket 1 of 2. */
static void test_user_collisions_fill_bucket_round_its_end(void)
{
	uint64_t user = 0, all[USH_USER_BUCKET + 1];
	struct ush_user *line = NULL;

	open_users(128, 256, 1);
	CHECK_EQ(users.count, 128);
	for (uint32_t i = 0; i < USH_USER_BUCKET; i++) {
		all[i] = user = user_at(user, 1, USH_USER_BUCKET - 1);
		CHECK_EQ(enter(user, 0, 1, &line), USH_USER_OK);
		CHECK_EQ(line - users.lines, 64 + (i + 63) % 64);
		line->seats = (uint16_t)(i + 1);
		ush_user_unlock(line);
	}
	for (uint32_t i = 0; i < USH_USER_BUCKET; i++) {
		CHECK_EQ(find(all[i], 0, 1, &line), USH_USER_OK);
		CHECK_EQ(line->seats, i + 1);
		ush_user_unlock(line);
	}
	/* The bucket is full of users with something live; the other bucket is of no use. */
	user = user_at(user, 1, USH_USER_BUCKET - 1);
	CHECK_EQ(find(user, 0, 1, &line), USH_USER_ABSENT);
	CHECK_EQ(enter(user, 0, 1, &line), USH_USER_FULL);
	CHECK_EQ(enter(user_at(0, 0, 5), 0, 1, &line), USH_USER_OK);
}

/* Goal: a line is given to another user only when its user has nothing: no seats, no answer, no
 * lock. Method: one such line among 64, in every place. */
static void test_user_eviction_takes_spent_lines_only(void)
{
	for (uint32_t place = 0; place < USH_USER_BUCKET; place++) {
		struct ush_user *line = NULL, *spent = NULL;
		uint8_t status = 0;

		open_users(64, 256, 1);
		for (uint64_t user = 1; user <= USH_USER_BUCKET; user++) {
			CHECK_EQ(enter(user, 0, 7, &line), USH_USER_OK);
			if (user == place + 1) {
				ush_user_refuse(line, 7, 0, USH_STATUS_TAKEN);
				spent = line;
			} else if (user % 3 == 0) {
				line->seats = 1;
			} else if (user % 3 == 1) {
				ush_user_accept(&users, line, 0, 7, 0, USH_OP_RELEASE);
			} else {
				/* Stays locked. */
				continue;
			}
			ush_user_unlock(line);
		}
		CHECK_EQ(enter(1000, 0, 1, &line), USH_USER_OK);
		CHECK(line == spent);
		CHECK_EQ(line->seats, 0);
		CHECK_EQ(line->window_top, 0);
		/* Nothing of the old user shows through. */
		CHECK_EQ(window(line, 7, 0, &status), USH_WINDOW_NEW);
		ush_user_refuse(line, 8, 0, USH_STATUS_LIMIT);
		CHECK_EQ(window(line, 7, 0, &status), USH_WINDOW_NEW);
		CHECK_EQ(find(place + 1, 0, 1, &line), USH_USER_ABSENT);
		CHECK_EQ(enter(1001, 0, 1, &line), USH_USER_FULL);
	}
}

/* Goal: the same user has one line for each event. */
static void test_user_two_events_have_two_lines(void)
{
	struct ush_user *a = NULL, *b = NULL;

	open_users(64, 64, 1);
	CHECK_EQ(ush_user_enter(&users, ush_user_hash(&users, 4, 1), 4, 1, 0, 1, &a), USH_USER_OK);
	CHECK_EQ(ush_user_enter(&users, ush_user_hash(&users, 4, 2), 4, 2, 0, 1, &b), USH_USER_OK);
	CHECK(a != b);
}

int main(void)
{
	TAP_RUN(test_user_window_random_ids_equal_plain_list);
	TAP_RUN(test_user_window_far_ids_start_anew);
	TAP_RUN(test_user_refusal_late_one_leaves_newest);
	TAP_RUN(test_user_answers_refusals_drop_none);
	TAP_RUN(test_user_answers_dropped_are_recycled);
	TAP_RUN(test_user_answers_are_the_same_after_a_snapshot);
	TAP_RUN(test_user_locked_tells_own_busy_duplicate);
	TAP_RUN(test_user_known_misses_nobody);
	TAP_RUN(test_user_being_made_is_busy);
	TAP_RUN(test_user_collisions_fill_bucket_round_its_end);
	TAP_RUN(test_user_eviction_takes_spent_lines_only);
	TAP_RUN(test_user_two_events_have_two_lines);
	free(memory);
	return tap_end();
}
