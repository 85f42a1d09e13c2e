/* SPDX-License-Identifier: Apache-2.0 */
/*
 * User lines: one line for one user, one decision for one request id, and a line that is given to
 * another user while its own comes back.
 */
#include "explore/explore.h"
#include "explore/scenarios.h"
#include "user/user.h"

#define EVENT 1u
#define USER 7u
#define ANSWERS 64u

struct play {
	struct ush_users users;
	uint32_t threads;
	uint32_t result[EXPLORE_THREADS_MAX];
	uint32_t window[EXPLORE_THREADS_MAX];
	uint32_t answer_id[EXPLORE_THREADS_MAX];
	/* user_replace: who sits where the newcomer's search begins. */
	uint64_t sitting;
	uint64_t newcomer;
};

static struct play *p;

static uint64_t hash_of(uint64_t user)
{
	return ush_user_hash(&p->users, user, EVENT);
}

static void users_setup(uint32_t threads)
{
	p = explore_alloc(sizeof(*p));
	p->threads = threads;
	ush_users_init(&p->users, explore_alloc(ush_users_bytes(1, ANSWERS, threads)), 1, ANSWERS,
		threads, 1);
	explore_name(&ush_user_home(&p->users, hash_of(USER))->lock, "home line, lock");
	explore_name(&ush_user_home(&p->users, hash_of(USER))->user, "home line, user");
	explore_name(ush_user_known_word(&p->users, hash_of(USER)), "known");
	explore_name(&p->users.bucket_lock[0], "bucket lock");
}

static const struct ush_user *line_of(uint64_t user, uint32_t *count)
{
	const struct ush_user *found = NULL;

	*count = 0;
	for (uint32_t i = 0; i < p->users.count; i++) {
		const struct ush_user *line = &p->users.lines[i];
		if (atomic_load(&line->lock) == USH_USER_EMPTY || atomic_load(&line->user) != user)
			continue;
		EXPECT(atomic_load(&line->lock) == USH_USER_IDLE);
		found = line;
		++*count;
	}
	return found;
}

/* A line that bears the user's key, whole: never two. */
static void users_invariant(void)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < p->users.count; i++) {
		const struct ush_user *line = &p->users.lines[i];
		uint64_t lock = atomic_load(&line->lock) & 0xff;
		count += lock != USH_USER_EMPTY && lock != USH_USER_FILLING &&
			 atomic_load(&line->user) == USER;
	}
	EXPECT(count <= 1);
}

/* Enters and takes a seat. */
static void enter(uint32_t thread, uint64_t user, uint32_t id)
{
	struct ush_user *line = NULL;

	p->result[thread] =
		ush_user_enter(&p->users, hash_of(user), user, EVENT, thread, id, &line);
	if (p->result[thread] != USH_USER_OK)
		return;
	EXPECT(atomic_load_explicit(&line->user, memory_order_relaxed) == user);
	line->seats++;
	ush_user_unlock(line);
}

static void enter_thread(uint32_t thread)
{
	enter(thread, USER, thread + 1);
}

static uint32_t results(enum ush_user_result result)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < p->threads; i++)
		count += p->result[i] == result;
	return count;
}

static void enter_oracle(void)
{
	uint32_t lines, ok = results(USH_USER_OK);
	const struct ush_user *line = line_of(USER, &lines);

	EXPECT(ok >= 1);
	EXPECT(ok + results(USH_USER_BUSY) == p->threads);
	EXPECT(lines == 1);
	EXPECT(line->seats == ok);
	EXPECT(atomic_load(&p->users.bucket_lock[0]) == 0);
	EXPECT(ush_user_known(&p->users, hash_of(USER)));
}

const struct explore_scenario explore_user_enter = {
	.name = "user_enter",
	.about = "the first requests of one user on several loops: one line is made",
	.threads_max = 3,
	.bound = {99, 3},
	.setup = users_setup,
	.thread = enter_thread,
	.invariant = users_invariant,
	.oracle = enter_oracle,
};

/* As decide_reserve does: a new id is accepted under the lock, a known one is looked up. */
static void duplicate_thread(uint32_t thread)
{
	const struct ush_accepted *answer = NULL;
	struct ush_user *line = NULL;
	uint8_t status = 0;

	p->result[thread] = ush_user_enter(&p->users, hash_of(USER), USER, EVENT, thread, 1, &line);
	if (p->result[thread] != USH_USER_OK)
		return;
	p->window[thread] = 1 + ush_user_window(&p->users, line, 1, 99, &answer, &status);
	if (p->window[thread] == 1 + USH_WINDOW_NEW)
		ush_user_accept(&p->users, line, thread, 1, 99, USH_OP_RESERVE);
	else if (answer != NULL)
		p->answer_id[thread] = answer->request_id;
	ush_user_unlock(line);
}

static void duplicate_oracle(void)
{
	uint32_t lines, fresh = 0;
	const struct ush_user *line = line_of(USER, &lines);

	EXPECT(lines == 1);
	for (uint32_t i = 0; i < p->threads; i++) {
		fresh += p->window[i] == 1 + USH_WINDOW_NEW;
		if (p->result[i] != USH_USER_OK) {
			EXPECT(p->result[i] == USH_USER_DUPLICATE || p->result[i] == USH_USER_BUSY);
			continue;
		}
		EXPECT(p->window[i] == 1 + USH_WINDOW_NEW || p->answer_id[i] == 1);
	}
	EXPECT(fresh == 1);
	EXPECT(line->answer_count == 1);
	EXPECT(line->window_top == 1);
}

const struct explore_scenario explore_user_duplicate = {
	.name = "user_duplicate",
	.about = "one request id on several loops: decided once",
	.threads_max = 3,
	.bound = {99, 3},
	.setup = users_setup,
	.thread = duplicate_thread,
	.invariant = users_invariant,
	.oracle = duplicate_oracle,
};

/* Fills the bucket with users who have nothing live. */
static void replace_setup(uint32_t threads)
{
	struct ush_user *line;

	users_setup(threads);
	for (uint64_t user = 100; user < 100 + USH_USER_BUCKET; user++) {
		EXPECT(ush_user_enter(&p->users, hash_of(user), user, EVENT, 0, 1, &line) ==
			USH_USER_OK);
		ush_user_unlock(line);
	}
	p->newcomer = USER;
	p->sitting = atomic_load(&ush_user_home(&p->users, hash_of(USER))->user);
}

static void replace_thread(uint32_t thread)
{
	enter(thread, thread == 1 ? p->sitting : p->newcomer, thread + 1);
}

static void replace_oracle(void)
{
	uint32_t old_lines, new_lines, newcomers = 0;
	const struct ush_user *old_line = line_of(p->sitting, &old_lines);
	const struct ush_user *new_line = line_of(p->newcomer, &new_lines);

	for (uint32_t i = 0; i < p->threads; i++)
		newcomers += i != 1 && p->result[i] == USH_USER_OK;
	EXPECT(results(USH_USER_OK) >= 1);
	EXPECT(old_lines <= 1 && new_lines <= 1);
	if (p->result[1] == USH_USER_OK) {
		EXPECT(old_lines == 1);
		EXPECT(old_line->seats == 1);
	}
	if (newcomers != 0) {
		EXPECT(new_lines == 1);
		EXPECT(new_line->seats == newcomers);
	}
	for (uint32_t i = 0; i < p->users.count; i++)
		EXPECT(atomic_load(&p->users.lines[i].lock) == USH_USER_IDLE);
}

const struct explore_scenario explore_user_replace = {
	.name = "user_replace",
	.about = "a spent line is given to a newcomer while its user comes back",
	.threads_max = 3,
	.bound = {3, 2},
	.setup = replace_setup,
	.thread = replace_thread,
	.invariant = users_invariant,
	.oracle = replace_oracle,
};
