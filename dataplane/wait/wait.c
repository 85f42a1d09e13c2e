/* SPDX-License-Identifier: Apache-2.0 */
#include "wait/wait.h"

#define FILLING UINT32_MAX
#define DUE_WORDS (USH_WAIT_EVENTS / 64u)
#define TOP_WORDS (DUE_WORDS / 64u)
static_assert(TOP_WORDS * 64 * 64 == USH_WAIT_EVENTS, "a bit for each event");

static uint32_t table_count(uint32_t limit)
{
	/* At most half full, so that a bucket hardly ever is. */
	uint32_t count = ush_pow2_ceil32(limit * 2);

	return count < USH_WAIT_BUCKET ? USH_WAIT_BUCKET : count;
}

static size_t entries_bytes(uint32_t limit)
{
	size_t bytes = (size_t)table_count(limit) * sizeof(struct ush_wait);

	return (bytes + USH_CACHE_LINE - 1) & ~(size_t)(USH_CACHE_LINE - 1);
}

size_t ush_waits_bytes(uint32_t limit)
{
	if (limit == 0)
		return 0;
	return entries_bytes(limit) + (DUE_WORDS + TOP_WORDS) * sizeof(uint64_t) +
	       USH_WAIT_EVENTS * sizeof(struct ush_wait_list);
}

void ush_waits_init(struct ush_waits *waits, void *memory, uint32_t limit, uint32_t loop_count)
{
	uint8_t *at = memory;

	waits->limit = limit;
	waits->loop_mask = ush_pow2_ceil32(loop_count) - 1;
	if (waits->loop_mask >= loop_count)
		waits->loop_mask >>= 1;
	if (limit == 0)
		return;
	waits->entries = (void *)at;
	at += entries_bytes(limit);
	waits->due = (void *)at;
	at += DUE_WORDS * sizeof(uint64_t);
	waits->due_words = (void *)at;
	at += TOP_WORDS * sizeof(uint64_t);
	waits->lists = (void *)at;
	waits->mask = table_count(limit) - 1;
}

static uint32_t home_of(const struct ush_waits *waits, uint64_t user, uint32_t event)
{
	return (uint32_t)ush_mix64(user + (uint64_t)event * 0x9e3779b97f4a7c15ull) & waits->mask;
}

struct ush_wait *ush_wait_find(const struct ush_waits *waits, uint64_t user, uint32_t event)
{
	uint32_t home;

	if (waits->limit == 0)
		return NULL;
	home = home_of(waits, user, event);
	for (uint32_t i = 0; i < USH_WAIT_BUCKET; i++) {
		struct ush_wait *wait = &waits->entries[(home + i) & waits->mask];

		/* Others' entries may come and go; this user's is behind the user's lock. */
		if (atomic_load_explicit(&wait->event, memory_order_acquire) == event &&
			atomic_load_explicit(&wait->user, memory_order_relaxed) == user)
			return wait;
	}
	return NULL;
}

struct ush_wait *ush_wait_enter(struct ush_waits *waits, uint64_t user, uint32_t event)
{
	uint32_t home;

	if (waits->limit == 0)
		return NULL;
	home = home_of(waits, user, event);
	if (atomic_fetch_add_explicit(&waits->used, 1, memory_order_relaxed) >= waits->limit)
		goto full;
	for (uint32_t i = 0; i < USH_WAIT_BUCKET; i++) {
		struct ush_wait *wait = &waits->entries[(home + i) & waits->mask];
		uint32_t none = 0;

		if (!atomic_compare_exchange_strong_explicit(&wait->event, &none, FILLING,
			    memory_order_acquire, memory_order_relaxed))
			continue;
		wait->next = wait->prev = USH_WAIT_NONE;
		wait->hold = 0;
		wait->sequence = 0;
		atomic_store_explicit(&wait->user, user, memory_order_relaxed);
		atomic_store_explicit(&wait->event, event, memory_order_release);
		return wait;
	}
full:
	atomic_fetch_sub_explicit(&waits->used, 1, memory_order_relaxed);
	return NULL;
}

void ush_wait_drop(struct ush_waits *waits, struct ush_wait *wait)
{
	atomic_store_explicit(&wait->event, 0, memory_order_release);
	atomic_fetch_sub_explicit(&waits->used, 1, memory_order_relaxed);
}

static void set_first(struct ush_waits *waits, struct ush_wait_list *list)
{
	atomic_store_explicit(&list->first_place,
		list->head == USH_WAIT_NONE ? list->last_place + 1
					    : ush_wait_at(waits, list->head)->place,
		memory_order_relaxed);
}

void ush_wait_append(struct ush_waits *waits, struct ush_wait_list *list, struct ush_wait *wait)
{
	uint32_t at = (uint32_t)(wait - waits->entries) + 1;

	wait->state = USH_WAIT_LISTED;
	wait->place = ++list->last_place;
	wait->next = USH_WAIT_NONE;
	wait->prev = list->tail;
	if (list->tail != USH_WAIT_NONE)
		ush_wait_at(waits, list->tail)->next = at;
	else
		list->head = at;
	list->tail = at;
	if (list->walking && list->cursor == USH_WAIT_NONE)
		list->cursor = at;
	set_first(waits, list);
}

void ush_wait_unlink(struct ush_waits *waits, struct ush_wait_list *list, struct ush_wait *wait)
{
	uint32_t at = (uint32_t)(wait - waits->entries) + 1;

	if (list->cursor == at)
		list->cursor = wait->next;
	if (wait->prev != USH_WAIT_NONE)
		ush_wait_at(waits, wait->prev)->next = wait->next;
	else
		list->head = wait->next;
	if (wait->next != USH_WAIT_NONE)
		ush_wait_at(waits, wait->next)->prev = wait->prev;
	else
		list->tail = wait->prev;
	wait->next = wait->prev = USH_WAIT_NONE;
	set_first(waits, list);
}

uint32_t ush_wait_place(const struct ush_wait_list *list, const struct ush_wait *wait)
{
	uint32_t first = atomic_load_explicit(&list->first_place, memory_order_relaxed);

	return wait->place >= first ? wait->place - first + 1 : 1;
}

void ush_wait_poke(struct ush_waits *waits, uint32_t event)
{
	/* Dirty before due: who finds it due finds what there is. */
	atomic_store_explicit(&waits->lists[event].dirty, 1, memory_order_release);
	ush_wait_again(waits, event);
}

void ush_wait_again(struct ush_waits *waits, uint32_t event)
{
	uint32_t word = event / 64;

	atomic_fetch_or_explicit(&waits->due[word], 1ull << (event & 63), memory_order_release);
	atomic_fetch_or_explicit(
		&waits->due_words[word / 64], 1ull << (word & 63), memory_order_release);
	atomic_store_explicit(&waits->any, 1, memory_order_release);
}

uint32_t ush_wait_due(const struct ush_waits *waits, uint32_t event, uint32_t loop)
{
	for (uint32_t top = event / 64 / 64; top < TOP_WORDS; top++) {
		uint64_t words = atomic_load_explicit(&waits->due_words[top], memory_order_acquire);

		for (; words != 0; words &= words - 1) {
			uint32_t word = top * 64 + (uint32_t)__builtin_ctzll(words);
			uint64_t due =
				atomic_load_explicit(&waits->due[word], memory_order_acquire);

			for (; due != 0; due &= due - 1) {
				uint32_t found = word * 64 + (uint32_t)__builtin_ctzll(due);

				if (found >= event && (found & waits->loop_mask) == loop)
					return found;
			}
		}
	}
	return 0;
}

void ush_wait_rest(struct ush_waits *waits, uint32_t event)
{
	atomic_fetch_and_explicit(
		&waits->due[event / 64], ~(1ull << (event & 63)), memory_order_acq_rel);
}

void ush_wait_block(struct ush_wait_list *list, uint32_t tier)
{
	for (uint32_t i = 0; i < USH_WAIT_TIER_WORDS; i++) {
		if (tier == USH_WAIT_TIER_ANY)
			list->blocked[i] = UINT64_MAX;
		else if (tier / 64 == i)
			list->blocked[i] |= 1ull << (tier & 63);
	}
}
