/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The schedule explorer: virtual threads run a small scenario in every order that needs at most so
 * many preemptions.
 *
 * The code under test is compiled with -fsanitize=thread and linked with the runtime of this folder
 * in place of ThreadSanitizer's: every atomic operation becomes a scheduling point, every plain
 * access is checked against the happens-before order of the memory orders that the source names.
 * All runs in one thread of the system; nothing depends on time or chance.
 *
 * Owns:  the arena that scenarios keep their state in, the virtual threads, the search.
 * Reads: nothing.
 * Never: clocks, chance, DPDK.
 */
#ifndef USH_EXPLORE_H
#define USH_EXPLORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EXPLORE_THREADS_MAX 3u
/* All state of a scenario. Pages that are not touched cost nothing. */
#define EXPLORE_ARENA_BYTES (32u << 20)

struct explore_scenario {
	const char *name;
	const char *about;
	/* 2 or 3; it runs with 2 as well. */
	uint32_t threads_max;
	/* Preemptions explored when no other bound is asked for: with two threads, with three. */
	uint32_t bound[2];
	/* Builds the state in the arena, once. */
	void (*setup)(uint32_t threads);
	void (*thread)(uint32_t thread);
	/* Holds at every scheduling point; may be NULL. Looks only. */
	void (*invariant)(void);
	/* Judges a final state. It is a function of the arena, so it is called once for each
	 * state; what it changes is taken back. */
	void (*oracle)(void);
};

/* By NULL. */
extern const struct explore_scenario *const explore_scenarios[];

/* ---- for scenarios ---- */

/* ret: zeroed bytes of the arena, 4,096-byte aligned. by: setup. */
void *explore_alloc(size_t bytes);

/* Names a word of the arena for traces. by: setup. */
void explore_name(const void *word, const char *name);

/* Ends the interleaving as a violation. */
_Noreturn void explore_fail(const char *file, int line, const char *what);

/* What must hold in an invariant, in a thread or in an oracle. */
#define EXPECT(condition) \
	do { \
		if (!(condition)) \
			explore_fail(__FILE__, __LINE__, #condition); \
	} while (0)

/* ---- schedule.c: the search ---- */

struct explore_options {
	uint32_t threads;
	uint32_t preemptions;
	uint64_t max;
	/* A schedule as printed: run that one alone, and tell each step. NULL: search. */
	const char *replay;
};

struct explore_result {
	uint64_t interleavings;
	/* Distinct final states. */
	uint64_t states;
	/* Scheduling points passed in all interleavings, and most in one. */
	uint64_t points;
	uint64_t points_max;
	/* Words of memory at which threads meet: only there the order matters. */
	uint64_t words;
	uint64_t violations;
	bool exhausted;
	/* Of the violation: what is wrong, and the schedule for --replay. */
	char violation[512];
	char schedule[8192];
};

void explore_run(const struct explore_scenario *scenario, const struct explore_options *options,
	struct explore_result *result);

/* ---- between schedule.c, atomics.c, race.c and memory.c ---- */

enum explore_access {
	EXPLORE_PLAIN_READ,
	EXPLORE_PLAIN_WRITE,
	EXPLORE_ATOMIC_READ,
	EXPLORE_ATOMIC_WRITE,
	EXPLORE_ACCESS_COUNT,
};

/* True while the code of a virtual thread runs, false in the explorer's own. */
extern bool explore_on;
/* Who runs, and which interleaving it is (never 0). */
extern uint32_t explore_thread;
extern uint32_t explore_stamp;

/* An atomic operation is about to happen: others may run first. */
void explore_point(const void *word, bool writes);
/* For a replay: what the operation did. */
void explore_told(const char *operation, const void *word, uint64_t before, uint64_t after);

uint8_t *explore_arena(void);
/* Empties the arena. */
void explore_arena_reset(void);
/* ret: offset in the arena, or EXPLORE_ARENA_BYTES. */
size_t explore_offset(const void *at);
const char *explore_word_name(const void *word, char *text, size_t size);
/* Remembers that bytes are written, so that they can be put back. */
void explore_wrote(const void *at, size_t size);
/* From here on explore_restore comes back to this state. */
void explore_snapshot(void);
void explore_restore(void);
/* ret: hash of all that differs from the snapshot. */
uint64_t explore_state(void);
/* ret: true if the arena is the snapshot, byte by byte: nothing was written unseen. */
bool explore_is_restored(void);

/* Forgets all order; every thread starts after the setup. */
void explore_race_begin(void);
void explore_race_access(const void *at, size_t size, enum explore_access access);
/* The order that an atomic operation makes. in: order: __ATOMIC_... */
void explore_race_order(const void *word, enum explore_access access, bool swap, int order);

#endif /* USH_EXPLORE_H */
