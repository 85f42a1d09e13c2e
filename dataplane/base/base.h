/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The few words every module speaks: error codes, assertions, attributes, small integer helpers.
 *
 * Owns:  nothing.
 * Reads: nothing.
 * Never: I/O, clocks, allocation, DPDK.
 */
#ifndef USH_BASE_H
#define USH_BASE_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__SSE4_2__)
#include <nmmintrin.h>
#endif

/* Cache line of every machine Usher supports. */
#define USH_CACHE_LINE 64u

#define USH_ALIGNED(n) __attribute__((aligned(n)))
#define USH_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define USH_UNUSED __attribute__((unused))
#define USH_INLINE static inline __attribute__((always_inline))
#define USH_COLD __attribute__((cold, noinline))
#define ush_likely(x) __builtin_expect(!!(x), 1)
#define ush_unlikely(x) __builtin_expect(!!(x), 0)
#define USH_PREFETCH(p) __builtin_prefetch((p), 0, 3)
#define USH_PREFETCH_WRITE(p) __builtin_prefetch((p), 1, 3)

/* Loads the 8 bytes at `p` and forgets them: brings a line near whose page is likely not in the
 * TLB, where a prefetch may be dropped. Several in a row overlap. (tests/bench/engine.c on an AMD
 * EPYC guest: 240 ns a claim with prefetches of the user's line, 197 ns with these.) */
static inline __attribute__((always_inline)) void ush_touch(const void *p)
{
	__asm__("" ::"r"(__atomic_load_n((const uint64_t *)p, __ATOMIC_RELAXED)));
}

/*
 * Error codes: 0 is success, negative one of these. errno and rte_errno are translated where the
 * call is made and go no further.
 */
#define USH_ERROR_EACH(X) \
	X(EINVAL, 1, "invalid argument") \
	X(ENOMEM, 2, "out of memory") \
	X(EIO, 3, "input/output error") \
	X(ENOENT, 4, "not found") \
	X(EEXIST, 5, "exists already") \
	X(EACCES, 6, "permission denied") \
	X(ENOSPC, 7, "no space left") \
	X(EROFS, 8, "read-only file system") \
	X(ECORRUPT, 9, "corrupt data") \
	X(EFOREIGN, 10, "written by another box") \
	X(EVERSION, 11, "unknown version") \
	X(EFULL, 12, "no room") \
	X(EBUSY, 13, "in use") \
	X(ERANGE, 14, "out of range") \
	X(ESHORT, 15, "short read or write") \
	X(ESYSTEM, 16, "system call failed") \
	X(EPARSE, 17, "syntax error") \
	X(EUNSUPPORTED, 18, "not supported") \
	X(ESTOPPED, 19, "stopped before it was done") \
	X(EUNKNOWN, 20, "may have been done or not")

enum ush_error {
#define X(name, value, text) USH_##name = (value),
	USH_ERROR_EACH(X)
#undef X
};

/* ret: text for `error` (0, or a negative USH_E code); never NULL. by: any thread. */
const char *ush_error_text(int error);

/* ret: the negative USH_E code for an errno value. by: any thread. */
int ush_error_from_errno(int errno_value);

/* A message that says what, where and how to mend; filled by functions that return an error. */
struct ush_message {
	char text[512];
};

/* Writes a formatted message, cut at its size. `message` may be NULL. by: any thread. */
void ush_message_set(struct ush_message *message, const char *format, ...) USH_PRINTF(2, 3);

/* Ends the process after printing where the broken assertion stands. */
_Noreturn void ush_assert_failed(const char *condition, const char *file, int line);

/* Our own bug if false: stays on in every build. One condition each. */
#define USH_ASSERT(condition) \
	do { \
		if (ush_unlikely(!(condition))) \
			ush_assert_failed(#condition, __FILE__, __LINE__); \
	} while (0)

/* May cost O(n): only in simulation and debug builds (-DUSH_CHECKS). */
#ifdef USH_CHECKS
#define USH_CHECK(condition) USH_ASSERT(condition)
#else
#define USH_CHECK(condition) ((void)sizeof(condition))
#endif

USH_INLINE uint32_t ush_popcount64(uint64_t x)
{
	return (uint32_t)__builtin_popcountll(x);
}

USH_INLINE uint64_t ush_min64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

USH_INLINE uint64_t ush_max64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* in: x 1 to 2^31. ret: the smallest power of two >= x. */
USH_INLINE uint32_t ush_pow2_ceil32(uint32_t x)
{
	return x <= 1 ? 1 : 1u << (32 - __builtin_clz(x - 1));
}

/* Finaliser of MurmurHash3 (public domain, A. Appleby): spreads bits, keeps no secret. */
USH_INLINE uint64_t ush_mix64(uint64_t x)
{
	x ^= x >> 33;
	x *= 0xff51afd7ed558ccdull;
	x ^= x >> 33;
	x *= 0xc4ceb9fe1a85ec53ull;
	x ^= x >> 33;
	return x;
}

/*
 * CRC-32C (Castagnoli, reflected 0x82f63b78) of `size` bytes continued from `crc`; start with 0.
 * Check value: ush_crc32c(0, "123456789", 9) == 0xe3069283 (RFC 3720 appendix B.4 polynomial).
 * by: any thread. cost: O(size), about 0.4 us for 4 KiB with SSE4.2.
 */
uint32_t ush_crc32c(uint32_t crc, const void *data, size_t size);

/* ush_crc32c of `count` words as they stand in memory, in line: for a few. */
USH_INLINE uint32_t ush_crc32c_words(uint32_t crc, const uint64_t *words, uint32_t count)
{
#if defined(__SSE4_2__)
	uint64_t c = ~crc;

	for (uint32_t i = 0; i < count; i++)
		c = _mm_crc32_u64(c, words[i]);
	return ~(uint32_t)c;
#else
	return ush_crc32c(crc, words, (size_t)count * sizeof(words[0]));
#endif
}

/* A 128-bit SipHash key. */
struct ush_key {
	uint64_t k0;
	uint64_t k1;
};

/*
 * SipHash-2-4 of `size` bytes (Aumasson and Bernstein, 2012).
 * by: any thread. cost: about 17 ns for 16 bytes.
 */
uint64_t ush_siphash(const struct ush_key *key, const void *data, size_t size);

/* SipHash-2-4 of the 16 bytes (a, b), without the byte loop. */
uint64_t ush_siphash_2(const struct ush_key *key, uint64_t a, uint64_t b);

#define USH_ROTL(x, b) (((x) << (b)) | ((x) >> (64 - (b))))

/* State of a SipHash under way; use the functions below. */
struct ush_sip {
	uint64_t v0, v1, v2, v3;
};

USH_INLINE void ush_sip_round(struct ush_sip *s)
{
	s->v0 += s->v1;
	s->v1 = USH_ROTL(s->v1, 13) ^ s->v0;
	s->v0 = USH_ROTL(s->v0, 32);
	s->v2 += s->v3;
	s->v3 = USH_ROTL(s->v3, 16) ^ s->v2;
	s->v0 += s->v3;
	s->v3 = USH_ROTL(s->v3, 21) ^ s->v0;
	s->v2 += s->v1;
	s->v1 = USH_ROTL(s->v1, 17) ^ s->v2;
	s->v2 = USH_ROTL(s->v2, 32);
}

USH_INLINE void ush_sip_init(struct ush_sip *s, const struct ush_key *key)
{
	s->v0 = key->k0 ^ 0x736f6d6570736575ull;
	s->v1 = key->k1 ^ 0x646f72616e646f6dull;
	s->v2 = key->k0 ^ 0x6c7967656e657261ull;
	s->v3 = key->k1 ^ 0x7465646279746573ull;
}

USH_INLINE void ush_sip_word(struct ush_sip *s, uint64_t m)
{
	s->v3 ^= m;
	ush_sip_round(s);
	ush_sip_round(s);
	s->v0 ^= m;
}

USH_INLINE uint64_t ush_sip_finish(struct ush_sip *s)
{
	s->v2 ^= 0xff;
	for (int i = 0; i < 4; i++)
		ush_sip_round(s);
	return s->v0 ^ s->v1 ^ s->v2 ^ s->v3;
}

/* SipHash-2-4 of the lowest `size` bytes of `value`, 0 to 7; the others are 0. cost: about half of
 * ush_siphash_2. */
USH_INLINE uint64_t ush_siphash_short(const struct ush_key *key, uint64_t value, uint32_t size)
{
	struct ush_sip s;

	ush_sip_init(&s, key);
	ush_sip_word(&s, value | (uint64_t)size << 56);
	return ush_sip_finish(&s);
}

/* Small seeded generator (xorshift64*, Vigna 2014) for tests and load; never for secrets. */
struct ush_random {
	uint64_t state;
};

void ush_random_init(struct ush_random *random, uint64_t seed);
uint64_t ush_random_next(struct ush_random *random);
/* in: bound 1 to 2^32. ret: 0 to bound - 1, by multiply and shift; bias below bound / 2^32. */
uint64_t ush_random_below(struct ush_random *random, uint64_t bound);

#endif /* USH_BASE_H */
