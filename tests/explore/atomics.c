/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The runtime that code compiled with -fsanitize=thread calls: each atomic operation is a
 * scheduling point and then happens at once, so what is explored is sequentially consistent. A weak
 * compare-and-swap fails only when the value differs.
 */
#include <string.h>

#include "explore/explore.h"

/* Names and arguments are those of the compiler. */
void *explore_memcpy(void *to, const void *from, size_t size);
void *explore_memset(void *to, int byte, size_t size);
void __tsan_init(void);
void __tsan_func_entry(void *caller);
void __tsan_func_exit(void);
void __tsan_read_range(const void *at, size_t size);
void __tsan_write_range(void *at, size_t size);
void __tsan_atomic_thread_fence(int order);
void __tsan_atomic_signal_fence(int order);

void __tsan_init(void)
{
}

void __tsan_func_entry(void *caller)
{
	(void)caller;
}

void __tsan_func_exit(void)
{
}

static void plain(const void *at, size_t size, enum explore_access access)
{
	if (access == EXPLORE_PLAIN_WRITE)
		explore_wrote(at, size);
	if (!explore_on || size == 0)
		return;
	explore_on = false;
	explore_race_access(at, size, access);
	explore_on = true;
}

void __tsan_read_range(const void *at, size_t size)
{
	plain(at, size, EXPLORE_PLAIN_READ);
}

void __tsan_write_range(void *at, size_t size)
{
	plain(at, size, EXPLORE_PLAIN_WRITE);
}

void *explore_memcpy(void *to, const void *from, size_t size)
{
	plain(from, size, EXPLORE_PLAIN_READ);
	plain(to, size, EXPLORE_PLAIN_WRITE);
	return memcpy(to, from, size);
}

void *explore_memset(void *to, int byte, size_t size)
{
	plain(to, size, EXPLORE_PLAIN_WRITE);
	return memset(to, byte, size);
}

#define PLAIN(bytes) \
	void __tsan_read##bytes(const void *at); \
	void __tsan_read##bytes(const void *at) \
	{ \
		plain(at, bytes, EXPLORE_PLAIN_READ); \
	} \
	void __tsan_write##bytes(const void *at); \
	void __tsan_write##bytes(const void *at) \
	{ \
		plain(at, bytes, EXPLORE_PLAIN_WRITE); \
	} \
	void __tsan_unaligned_read##bytes(const void *at); \
	void __tsan_unaligned_read##bytes(const void *at) \
	{ \
		plain(at, bytes, EXPLORE_PLAIN_READ); \
	} \
	void __tsan_unaligned_write##bytes(const void *at); \
	void __tsan_unaligned_write##bytes(const void *at) \
	{ \
		plain(at, bytes, EXPLORE_PLAIN_WRITE); \
	}

PLAIN(1)
PLAIN(2)
PLAIN(4)
PLAIN(8)
PLAIN(16)

/* Others may go first. */
static void before(const void *word, size_t size, bool writes)
{
	if (writes)
		explore_wrote(word, size);
	if (!explore_on)
		return;
	explore_on = false;
	explore_point(word, writes);
	explore_on = true;
}

static void after(const char *operation, const void *word, size_t size, enum explore_access access,
	bool swap, int order, uint64_t old, uint64_t new)
{
	if (!explore_on)
		return;
	explore_on = false;
	explore_race_access(word, size, access);
	explore_race_order(word, access, swap, order);
	explore_told(operation, word, old, new);
	explore_on = true;
}

#define SWAP(bits, operation, type, next) \
	type __tsan_atomic##bits##_##operation(type *word, type value, int order); \
	type __tsan_atomic##bits##_##operation(type *word, type value, int order) \
	{ \
		type old; \
		before(word, sizeof(type), true); \
		old = *word; \
		*word = (type)(next); \
		after(#operation, word, sizeof(type), EXPLORE_ATOMIC_WRITE, true, order, old, \
			*word); \
		return old; \
	}

#define COMPARE(bits, strength, type) \
	int __tsan_atomic##bits##_compare_exchange_##strength( \
		type *word, type *expected, type value, int order, int order_lost); \
	int __tsan_atomic##bits##_compare_exchange_##strength( \
		type *word, type *expected, type value, int order, int order_lost) \
	{ \
		type old; \
		before(word, sizeof(type), true); \
		old = *word; \
		if (old == *expected) { \
			*word = value; \
			after("swap", word, sizeof(type), EXPLORE_ATOMIC_WRITE, true, order, old, \
				value); \
			return 1; \
		} \
		*expected = old; \
		after("swap, lost", word, sizeof(type), EXPLORE_ATOMIC_READ, false, order_lost, \
			old, old); \
		return 0; \
	}

#define ATOMIC(bits, type) \
	type __tsan_atomic##bits##_load(const type *word, int order); \
	type __tsan_atomic##bits##_load(const type *word, int order) \
	{ \
		before(word, sizeof(type), false); \
		after("load", word, sizeof(type), EXPLORE_ATOMIC_READ, false, order, *word, \
			*word); \
		return *word; \
	} \
	void __tsan_atomic##bits##_store(type *word, type value, int order); \
	void __tsan_atomic##bits##_store(type *word, type value, int order) \
	{ \
		type old; \
		before(word, sizeof(type), true); \
		old = *word; \
		*word = value; \
		after("store", word, sizeof(type), EXPLORE_ATOMIC_WRITE, false, order, old, \
			value); \
	} \
	SWAP(bits, exchange, type, value) \
	SWAP(bits, fetch_add, type, old + value) \
	SWAP(bits, fetch_sub, type, old - value) \
	SWAP(bits, fetch_or, type, old | value) \
	SWAP(bits, fetch_and, type, old &value) \
	SWAP(bits, fetch_xor, type, old ^ value) \
	COMPARE(bits, strong, type) \
	COMPARE(bits, weak, type)

ATOMIC(8, uint8_t)
ATOMIC(16, uint16_t)
ATOMIC(32, uint32_t)
ATOMIC(64, uint64_t)

/* The code has none (docs/testing.md, Sanitizers); one would be a promise not checked here. */
void __tsan_atomic_thread_fence(int order)
{
	(void)order;
	explore_fail(__FILE__, __LINE__, "a fence: use ordered atomics");
}

void __tsan_atomic_signal_fence(int order)
{
	(void)order;
}
