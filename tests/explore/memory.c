/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The arena, and the way back: lines written since the snapshot are put back from it, so that an
 * interleaving costs what it touches. Compilers may store where the sanitizer does not see it;
 * explore_is_restored finds out.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/base.h"
#include "explore/explore.h"

#define LINE 64u
#define LINES (EXPLORE_ARENA_BYTES / LINE)
#define NAMES_MAX 64u
#define PAGE 4096u

static uint8_t *arena, *saved;
static size_t arena_used;
static uint8_t is_dirty[LINES];
static uint32_t dirty[LINES];
static uint32_t dirty_count;
static struct {
	const void *word;
	const char *name;
} names[NAMES_MAX];
static uint32_t name_count;

static uint8_t *map(size_t bytes)
{
	void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	USH_ASSERT(at != MAP_FAILED);
	return at;
}

uint8_t *explore_arena(void)
{
	return arena;
}

void explore_arena_reset(void)
{
	if (arena == NULL) {
		arena = map(EXPLORE_ARENA_BYTES);
		saved = map(EXPLORE_ARENA_BYTES);
	}
	/* Zero again, and no memory. */
	USH_ASSERT(madvise(arena, EXPLORE_ARENA_BYTES, MADV_DONTNEED) == 0);
	USH_ASSERT(madvise(saved, EXPLORE_ARENA_BYTES, MADV_DONTNEED) == 0);
	arena_used = 0;
	name_count = 0;
	explore_snapshot();
}

void *explore_alloc(size_t bytes)
{
	void *at = arena + arena_used;

	arena_used += (bytes + PAGE - 1) & ~(size_t)(PAGE - 1);
	USH_ASSERT(arena_used <= EXPLORE_ARENA_BYTES);
	return at;
}

size_t explore_offset(const void *at)
{
	size_t offset = (size_t)((const uint8_t *)at - arena);

	return offset < EXPLORE_ARENA_BYTES ? offset : EXPLORE_ARENA_BYTES;
}

void explore_name(const void *word, const char *name)
{
	USH_ASSERT(name_count < NAMES_MAX);
	names[name_count].word = word;
	names[name_count++].name = name;
}

const char *explore_word_name(const void *word, char *text, size_t size)
{
	for (uint32_t i = 0; i < name_count; i++) {
		if (names[i].word == word)
			return names[i].name;
	}
	snprintf(text, size, "arena+%zu", explore_offset(word));
	return text;
}

void explore_wrote(const void *at, size_t size)
{
	size_t first = explore_offset(at);

	if (first == EXPLORE_ARENA_BYTES)
		return;
	for (size_t line = first / LINE; line <= (first + size - 1) / LINE; line++) {
		if (is_dirty[line])
			continue;
		is_dirty[line] = 1;
		dirty[dirty_count++] = (uint32_t)line;
	}
}

static void forget(void)
{
	while (dirty_count != 0)
		is_dirty[dirty[--dirty_count]] = 0;
}

void explore_snapshot(void)
{
	memcpy(saved, arena, arena_used);
	forget();
}

void explore_restore(void)
{
	for (uint32_t i = 0; i < dirty_count; i++)
		memcpy(arena + (size_t)dirty[i] * LINE, saved + (size_t)dirty[i] * LINE, LINE);
	forget();
}

uint64_t explore_state(void)
{
	uint64_t state = 0;

	for (uint32_t i = 0; i < dirty_count; i++) {
		const uint8_t *line = arena + (size_t)dirty[i] * LINE;
		uint64_t hash = dirty[i], word;

		if (memcmp(line, saved + (size_t)dirty[i] * LINE, LINE) == 0)
			continue;
		for (uint32_t at = 0; at < LINE; at += sizeof(word)) {
			memcpy(&word, line + at, sizeof(word));
			hash = ush_mix64(hash * 0x9e3779b97f4a7c15ull ^ word);
		}
		/* A sum, so that the order in which lines were first written does not matter. */
		state += ush_mix64(hash + 1);
	}
	return state;
}

bool explore_is_restored(void)
{
	return memcmp(saved, arena, arena_used) == 0;
}
