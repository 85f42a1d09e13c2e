/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bounded-preemption search (CHESS; Musuvathi and Qadeer 2007): every interleaving is run from the
 * start; at each scheduling point it is chosen who goes on, and to leave a thread that could go on
 * costs one preemption. Depth first: the last choice that has an alternative is changed, and what
 * was chosen before it is replayed.
 *
 * Only words that matter are scheduling points: those that at least two threads use and at least
 * one writes. Which these are is learned while running; when a new one turns up, the search starts
 * again, so what is counted in the end is one search over all of them. Operations on other words
 * commute with whatever the other threads do.
 *
 * Failure modes: a violation stops the search and prints the schedule. A choice that does not come
 * back as it was, or memory that does not, is a fault of the explorer and a violation too.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "base/base.h"
#include "explore/explore.h"

#define STACK_BYTES (256u << 10)
/* What of a thread's stack is made the same again before each interleaving. */
#define STACK_CLEAN_BYTES (24u << 10)
#define ORACLE EXPLORE_THREADS_MAX
#define CHOICES_MAX 4096u
#define SEGMENTS_MAX 4096u
/* Atomic operations in one interleaving: beyond this a thread never ends. */
#define OPERATIONS_MAX 50000u
#define STATES_FIRST (1u << 12)
#define RESTORE_CHECK_EVERY 8192u

_Noreturn void explore_assert_failed(const char *condition, const char *file, int line);

bool explore_on;
uint32_t explore_thread;
uint32_t explore_stamp;

struct choice {
	uint8_t taken;
	uint8_t count;
};

/* `operations` atomic operations of one thread in a row: how a schedule is told. */
struct segment {
	uint32_t thread;
	uint32_t operations;
};

static const struct explore_scenario *scenario;
static const struct explore_options *options;
static struct explore_result *result;
static ucontext_t contexts[EXPLORE_THREADS_MAX + 1], explorer;
static uint8_t *stacks[EXPLORE_THREADS_MAX + 1];
static bool finished[EXPLORE_THREADS_MAX];
/* Has come to a word that matters. */
static bool has_met[EXPLORE_THREADS_MAX];
static bool is_violated;

static struct choice path[CHOICES_MAX];
static uint32_t path_count, path_at;
static uint32_t preemptions, operations, points;
static struct segment segments[SEGMENTS_MAX];
static uint32_t segment_count;

/* The schedule to be repeated. */
static struct segment replay[SEGMENTS_MAX];
static uint32_t replay_count;

/* Who used which word: readers in the low bits, writers above. By 4 bytes. */
static uint8_t used[EXPLORE_ARENA_BYTES / 4];
static bool is_new_word;

static uint64_t *states;
static size_t states_capacity;

/* ---- violations ---- */

_Noreturn void explore_fail(const char *file, int line, const char *what)
{
	explore_on = false;
	is_violated = true;
	snprintf(result->violation, sizeof(result->violation), "%s:%d: %s", file, line, what);
	setcontext(&explorer);
	abort();
}

_Noreturn void explore_assert_failed(const char *condition, const char *file, int line)
{
	char text[256];

	snprintf(text, sizeof(text), "assertion failed: %s", condition);
	explore_fail(file, line, text);
}

static void tell_schedule(void)
{
	size_t at = 0, size = sizeof(result->schedule);

	for (uint32_t i = 0; i < segment_count && at < size; i++)
		at += (size_t)snprintf(result->schedule + at, size - at, "%s%" PRIu32 ":%" PRIu32,
			i == 0 ? "" : ",", segments[i].thread, segments[i].operations);
}

/* ---- choosing ---- */

/* ret: 0 to count - 1. */
static uint32_t choose(uint32_t count)
{
	if (count == 1)
		return 0;
	if (path_at == path_count) {
		if (path_count == CHOICES_MAX)
			explore_fail(__FILE__, __LINE__, "more choices than the explorer follows");
		path[path_count++] = (struct choice){.taken = 0, .count = (uint8_t)count};
	}
	if (path[path_at].count != count)
		explore_fail(__FILE__, __LINE__, "not repeatable: other choices than before");
	return path[path_at++].taken;
}

/* ret: false when all interleavings within the bound were run. */
static bool next_path(void)
{
	while (path_count != 0 && path[path_count - 1].taken + 1 == path[path_count - 1].count)
		path_count--;
	if (path_count == 0)
		return false;
	path[path_count - 1].taken++;
	return true;
}

/* ret: the `pick`th thread after `from`, cyclically, that can go on. */
static uint32_t nth_other(uint32_t from, uint32_t pick)
{
	for (uint32_t i = 1; i <= options->threads; i++) {
		uint32_t thread = (from + i) % options->threads;
		if (!finished[thread] && pick-- == 0)
			return thread;
	}
	abort();
}

static uint32_t runnable(void)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < options->threads; i++)
		count += !finished[i];
	return count;
}

static void begin_segment(uint32_t thread)
{
	explore_thread = thread;
	if (segment_count == SEGMENTS_MAX)
		explore_fail(__FILE__, __LINE__, "more switches than the explorer follows");
	segments[segment_count++] = (struct segment){.thread = thread};
}

static void switch_to(uint32_t thread)
{
	uint32_t from = explore_thread;

	begin_segment(thread);
	swapcontext(&contexts[from], &contexts[thread]);
}

/* Where a replay goes on when the current segment is done. ret: false: it stays. */
static bool replay_moves(uint32_t *thread)
{
	if (segment_count >= replay_count ||
		segments[segment_count - 1].operations < replay[segment_count - 1].operations)
		return false;
	*thread = replay[segment_count].thread;
	return true;
}

/* ret: true if the word matters: see the top. */
static bool meets(const void *word, bool writes)
{
	size_t offset = explore_offset(word);
	uint8_t *use, before, readers, writers;

	if (offset == EXPLORE_ARENA_BYTES)
		return false;
	use = &used[offset / 4];
	before = *use;
	*use = (uint8_t)(before | 1u << (explore_thread + (writes ? 4 : 0)));
	writers = *use >> 4;
	readers = *use & 0xf;
	if (writers == 0 || __builtin_popcount(writers | readers) < 2)
		return false;
	writers = before >> 4;
	readers = before & 0xf;
	if (writers == 0 || __builtin_popcount(writers | readers) < 2) {
		is_new_word = true;
		result->words++;
	}
	return true;
}

void explore_point(const void *word, bool writes)
{
	bool matters = meets(word, writes);
	/* What a thread does before it first meets another commutes with all others: who goes on
	 * now was chosen when it began. */
	bool is_first = matters && !has_met[explore_thread];
	uint32_t thread = explore_thread, pick;

	if (++operations > OPERATIONS_MAX)
		explore_fail(__FILE__, __LINE__, "a thread that never ends");
	if (matters) {
		has_met[explore_thread] = true;
		points++;
		if (scenario->invariant != NULL)
			scenario->invariant();
	}
	if (replay_count != 0) {
		if (replay_moves(&thread) && thread != explore_thread)
			switch_to(thread);
	} else if (matters && !is_first && preemptions < options->preemptions && runnable() > 1) {
		pick = choose(runnable());
		if (pick != 0) {
			preemptions++;
			switch_to(nth_other(explore_thread, pick - 1));
		}
	}
	segments[segment_count - 1].operations++;
}

void explore_told(const char *operation, const void *word, uint64_t before, uint64_t after)
{
	char name[64];

	if (options->replay == NULL || explore_offset(word) == EXPLORE_ARENA_BYTES)
		return;
	printf("# thread %" PRIu32 " %-10s %-24s 0x%" PRIx64, explore_thread, operation,
		explore_word_name(word, name, sizeof(name)), before);
	if (before != after)
		printf(" -> 0x%" PRIx64, after);
	printf("\n");
}

/* ---- one interleaving ---- */

static void thread_main(void)
{
	uint32_t thread = explore_thread, left;

	explore_on = true;
	scenario->thread(thread);
	explore_on = false;
	if (scenario->invariant != NULL)
		scenario->invariant();
	finished[thread] = true;
	left = runnable();
	if (left == 0)
		setcontext(&explorer);
	if (replay_count != 0 && segment_count < replay_count &&
		!finished[replay[segment_count].thread])
		begin_segment(replay[segment_count].thread);
	else
		begin_segment(nth_other(thread, choose(left)));
	setcontext(&contexts[explore_thread]);
}

static void oracle_main(void)
{
	scenario->oracle();
	setcontext(&explorer);
}

static void setup_main(void)
{
	scenario->setup(options->threads);
	setcontext(&explorer);
}

static void make_context(uint32_t index, void (*entry)(void))
{
	ucontext_t *context = &contexts[index];

	if (stacks[index] == NULL) {
		stacks[index] = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		USH_ASSERT((void *)stacks[index] != MAP_FAILED);
	}
	/* Structures with gaps are copied from here to where states are compared. */
	memset(stacks[index] + STACK_BYTES - STACK_CLEAN_BYTES, 0, STACK_CLEAN_BYTES);
	getcontext(context);
	context->uc_stack.ss_sp = stacks[index];
	context->uc_stack.ss_size = STACK_BYTES;
	context->uc_link = NULL;
	makecontext(context, entry, 0);
}

static void run_threads(void)
{
	uint32_t first;

	path_at = preemptions = operations = points = segment_count = 0;
	explore_stamp++;
	explore_race_begin();
	for (uint32_t i = 0; i < options->threads; i++) {
		finished[i] = has_met[i] = false;
		make_context(i, thread_main);
	}
	first = replay_count != 0 ? replay[0].thread : choose(options->threads);
	begin_segment(first);
	swapcontext(&explorer, &contexts[first]);
	explore_on = false;
}

/* ---- states ---- */

static bool states_put(uint64_t *table, size_t capacity, uint64_t state)
{
	size_t at = (size_t)ush_mix64(state) & (capacity - 1);

	for (; table[at] != 0; at = (at + 1) & (capacity - 1)) {
		if (table[at] == state)
			return false;
	}
	table[at] = state;
	return true;
}

static void states_clear(void)
{
	free(states);
	states_capacity = STATES_FIRST;
	states = calloc(states_capacity, sizeof(*states));
	USH_ASSERT(states != NULL);
	result->states = 0;
}

/* ret: true if the state was not seen before. */
static bool states_add(uint64_t state)
{
	state += state == 0;
	if ((result->states + 1) * 2 > states_capacity) {
		uint64_t *more = calloc(states_capacity * 2, sizeof(*more));
		USH_ASSERT(more != NULL);
		for (size_t i = 0; i < states_capacity; i++) {
			if (states[i] != 0)
				states_put(more, states_capacity * 2, states[i]);
		}
		free(states);
		states = more;
		states_capacity *= 2;
	}
	if (!states_put(states, states_capacity, state))
		return false;
	result->states++;
	return true;
}

static void judge(void)
{
	if (states_add(explore_state())) {
		make_context(ORACLE, oracle_main);
		swapcontext(&explorer, &contexts[ORACLE]);
	}
}

/* ---- the search ---- */

static void one(void)
{
	run_threads();
	if (!is_violated)
		judge();
	result->interleavings++;
	result->points += points;
	if (points > result->points_max)
		result->points_max = points;
	explore_restore();
	if (!is_violated && result->interleavings % RESTORE_CHECK_EVERY == 1 &&
		!explore_is_restored()) {
		is_violated = true;
		snprintf(result->violation, sizeof(result->violation),
			"the explorer did not see all that was written");
	}
}

static bool replay_read(const char *text)
{
	char *end;

	for (replay_count = 0; *text != 0; text = *end == ',' ? end + 1 : end) {
		if (replay_count == SEGMENTS_MAX)
			return false;
		replay[replay_count].thread = (uint32_t)strtoul(text, &end, 10);
		if (*end != ':' || replay[replay_count].thread >= options->threads)
			return false;
		replay[replay_count++].operations = (uint32_t)strtoul(end + 1, &end, 10);
		if (*end != ',' && *end != 0)
			return false;
	}
	return replay_count != 0;
}

static void search(void)
{
	do {
		/* What was learned changes the choices: from the start. */
		if (is_new_word) {
			is_new_word = false;
			path_count = 0;
			result->interleavings = result->points = result->points_max = 0;
			states_clear();
		}
		one();
		if (is_violated || result->interleavings >= options->max)
			return;
	} while (is_new_word || next_path());
	result->exhausted = true;
}

void explore_run(const struct explore_scenario *of, const struct explore_options *with,
	struct explore_result *out)
{
	scenario = of;
	options = with;
	result = out;
	*result = (struct explore_result){0};
	memset(used, 0, sizeof(used));
	is_new_word = is_violated = false;
	path_count = replay_count = 0;
	states_clear();
	explore_arena_reset();
	/* What must hold may fail here already. */
	segment_count = 0;
	make_context(ORACLE, setup_main);
	swapcontext(&explorer, &contexts[ORACLE]);
	explore_snapshot();
	if (options->replay != NULL && !replay_read(options->replay)) {
		fprintf(stderr,
			"explore: --replay wants thread:operations,thread:operations,...\n");
		exit(2);
	}
	if (!is_violated && options->replay != NULL)
		one();
	else if (!is_violated)
		search();
	if (is_violated) {
		result->violations++;
		tell_schedule();
	}
}
