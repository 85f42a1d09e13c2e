/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Happens-before by vector clocks (Lamport 1978; FastTrack, Flanagan and Freund 2009, without its
 * shortcuts). Order is made by release and acquire as the source names them, not by the order in
 * which the interleaving ran: a plain access that only luck put behind another thread's is a race,
 * and so is a publication with a relaxed store. As long as there is none, atomic operations are the
 * only places where switching threads can matter.
 */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "base/base.h"
#include "explore/explore.h"

#define GRANULE 8u
#define WORD 4u

/* When each byte was last accessed, by whom and how. */
struct cell {
	uint32_t stamp;
	uint32_t threads;
	uint16_t at[EXPLORE_ACCESS_COUNT][EXPLORE_THREADS_MAX][GRANULE];
};

/* What a reader with acquire order learns from an atomic word. */
struct sync {
	uint32_t stamp;
	uint16_t clock[EXPLORE_THREADS_MAX];
};

static struct cell *cells;
static struct sync *syncs;
static uint16_t clocks[EXPLORE_THREADS_MAX][EXPLORE_THREADS_MAX];

/* Which accesses by others must have happened before. */
static const bool conflicts[EXPLORE_ACCESS_COUNT][EXPLORE_ACCESS_COUNT] = {
	[EXPLORE_PLAIN_READ] = {[EXPLORE_PLAIN_WRITE] = true, [EXPLORE_ATOMIC_WRITE] = true},
	[EXPLORE_PLAIN_WRITE] = {true, true, true, true},
	[EXPLORE_ATOMIC_READ] = {[EXPLORE_PLAIN_WRITE] = true},
	[EXPLORE_ATOMIC_WRITE] = {[EXPLORE_PLAIN_READ] = true, [EXPLORE_PLAIN_WRITE] = true},
};

static void *map(size_t bytes)
{
	void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	USH_ASSERT(at != MAP_FAILED);
	return at;
}

void explore_race_begin(void)
{
	if (cells == NULL) {
		cells = map(EXPLORE_ARENA_BYTES / GRANULE * sizeof(*cells));
		syncs = map(EXPLORE_ARENA_BYTES / WORD * sizeof(*syncs));
	}
	memset(clocks, 0, sizeof(clocks));
	for (uint32_t i = 0; i < EXPLORE_THREADS_MAX; i++)
		clocks[i][i] = 1;
}

_Noreturn static void race(const void *at, enum explore_access now, enum explore_access then)
{
	static const char *const kind[] = {
		"a plain read", "a plain write", "an atomic read", "an atomic write"};
	char text[200], name[64];

	snprintf(text, sizeof(text), "data race: %s of %s after %s that nothing orders before it",
		kind[now], explore_word_name(at, name, sizeof(name)), kind[then]);
	explore_fail(__FILE__, __LINE__, text);
}

static void check(const struct cell *cell, const uint8_t *at, uint32_t first, uint32_t end,
	enum explore_access access)
{
	for (uint32_t then = 0; then < EXPLORE_ACCESS_COUNT; then++) {
		if (!conflicts[access][then])
			continue;
		for (uint32_t other = 0; other < EXPLORE_THREADS_MAX; other++) {
			uint16_t known = clocks[explore_thread][other];
			if (other == explore_thread)
				continue;
			for (uint32_t i = first; i < end; i++) {
				if (cell->at[then][other][i] > known)
					race(at, access, (enum explore_access)then);
			}
		}
	}
}

void explore_race_access(const void *at, size_t size, enum explore_access access)
{
	size_t offset = explore_offset(at), end = offset + size;

	if (offset == EXPLORE_ARENA_BYTES)
		return;
	while (offset < end) {
		struct cell *cell = &cells[offset / GRANULE];
		uint32_t first = (uint32_t)(offset % GRANULE);
		size_t left = end - (offset - first);
		uint32_t last = left < GRANULE ? (uint32_t)left : GRANULE;

		if (cell->stamp != explore_stamp) {
			memset(cell, 0, sizeof(*cell));
			cell->stamp = explore_stamp;
		}
		if ((cell->threads & ~(1u << explore_thread)) != 0)
			check(cell, explore_arena() + offset, first, last, access);
		cell->threads |= 1u << explore_thread;
		for (uint32_t i = first; i < last; i++)
			cell->at[access][explore_thread][i] =
				clocks[explore_thread][explore_thread];
		offset += last - first;
	}
}

static bool acquires(int order)
{
	return order == __ATOMIC_ACQUIRE || order == __ATOMIC_CONSUME ||
	       order == __ATOMIC_ACQ_REL || order == __ATOMIC_SEQ_CST;
}

static bool releases(int order)
{
	return order == __ATOMIC_RELEASE || order == __ATOMIC_ACQ_REL || order == __ATOMIC_SEQ_CST;
}

void explore_race_order(const void *word, enum explore_access access, bool swap, int order)
{
	size_t offset = explore_offset(word);
	uint16_t *mine = clocks[explore_thread];
	struct sync *sync;

	if (offset == EXPLORE_ARENA_BYTES)
		return;
	sync = &syncs[offset / WORD];
	if (sync->stamp != explore_stamp) {
		memset(sync, 0, sizeof(*sync));
		sync->stamp = explore_stamp;
	}
	if (acquires(order) && (access == EXPLORE_ATOMIC_READ || swap)) {
		for (uint32_t i = 0; i < EXPLORE_THREADS_MAX; i++) {
			if (sync->clock[i] > mine[i])
				mine[i] = sync->clock[i];
		}
	}
	if (access != EXPLORE_ATOMIC_WRITE)
		return;
	/* A store ends what was released before it; a read-modify-write hands it on. */
	if (!swap)
		memset(sync->clock, 0, sizeof(sync->clock));
	if (!releases(order))
		return;
	for (uint32_t i = 0; i < EXPLORE_THREADS_MAX; i++) {
		if (mine[i] > sync->clock[i])
			sync->clock[i] = mine[i];
	}
	mine[explore_thread]++;
}
