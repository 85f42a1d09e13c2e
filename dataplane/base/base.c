/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"

#if defined(__SSE4_2__)
#include <nmmintrin.h>
#endif

const char *ush_error_text(int error)
{
	switch (-error) {
	case 0:
		return "success";
#define X(name, value, text) \
	case value: \
		return text;
		USH_ERROR_EACH(X)
#undef X
	default:
		return "unknown error";
	}
}

int ush_error_from_errno(int errno_value)
{
	switch (errno_value) {
	case 0:
		return 0;
	case EINVAL:
		return -USH_EINVAL;
	case ENOMEM:
		return -USH_ENOMEM;
	case EIO:
		return -USH_EIO;
	case ENOENT:
		return -USH_ENOENT;
	case EEXIST:
		return -USH_EEXIST;
	case EACCES:
	case EPERM:
		return -USH_EACCES;
	case ENOSPC:
	case EDQUOT:
		return -USH_ENOSPC;
	case EROFS:
		return -USH_EROFS;
	case EBUSY:
	case EWOULDBLOCK:
		return -USH_EBUSY;
	default:
		return -USH_ESYSTEM;
	}
}

void ush_message_set(struct ush_message *message, const char *format, ...)
{
	va_list args;

	if (message == NULL)
		return;
	va_start(args, format);
	vsnprintf(message->text, sizeof(message->text), format, args);
	va_end(args);
}

_Noreturn void ush_assert_failed(const char *condition, const char *file, int line)
{
	fprintf(stderr, "usher: assertion failed: %s at %s:%d\n", condition, file, line);
	abort();
}

#if defined(__SSE4_2__)
static uint32_t crc_bytes(uint32_t crc, const uint8_t *p, size_t size)
{
	uint64_t c = crc;

	for (; size >= 8; size -= 8, p += 8) {
		uint64_t word;
		memcpy(&word, p, 8);
		c = _mm_crc32_u64(c, word);
	}
	crc = (uint32_t)c;
	for (; size > 0; size--, p++)
		crc = _mm_crc32_u8(crc, *p);
	return crc;
}
#else
static uint32_t crc_bytes(uint32_t crc, const uint8_t *p, size_t size)
{
	for (; size > 0; size--, p++) {
		crc ^= *p;
		for (int bit = 0; bit < 8; bit++)
			crc = (crc >> 1) ^ (0x82f63b78u & (0u - (crc & 1)));
	}
	return crc;
}
#endif

uint32_t ush_crc32c(uint32_t crc, const void *data, size_t size)
{
	return ~crc_bytes(~crc, data, size);
}

#define ROTL(x, b) (((x) << (b)) | ((x) >> (64 - (b))))

struct sip {
	uint64_t v0, v1, v2, v3;
};

USH_INLINE void sip_round(struct sip *s)
{
	s->v0 += s->v1;
	s->v1 = ROTL(s->v1, 13) ^ s->v0;
	s->v0 = ROTL(s->v0, 32);
	s->v2 += s->v3;
	s->v3 = ROTL(s->v3, 16) ^ s->v2;
	s->v0 += s->v3;
	s->v3 = ROTL(s->v3, 21) ^ s->v0;
	s->v2 += s->v1;
	s->v1 = ROTL(s->v1, 17) ^ s->v2;
	s->v2 = ROTL(s->v2, 32);
}

USH_INLINE void sip_init(struct sip *s, const struct ush_key *key)
{
	s->v0 = key->k0 ^ 0x736f6d6570736575ull;
	s->v1 = key->k1 ^ 0x646f72616e646f6dull;
	s->v2 = key->k0 ^ 0x6c7967656e657261ull;
	s->v3 = key->k1 ^ 0x7465646279746573ull;
}

USH_INLINE void sip_word(struct sip *s, uint64_t m)
{
	s->v3 ^= m;
	sip_round(s);
	sip_round(s);
	s->v0 ^= m;
}

USH_INLINE uint64_t sip_finish(struct sip *s)
{
	s->v2 ^= 0xff;
	for (int i = 0; i < 4; i++)
		sip_round(s);
	return s->v0 ^ s->v1 ^ s->v2 ^ s->v3;
}

uint64_t ush_siphash(const struct ush_key *key, const void *data, size_t size)
{
	const uint8_t *p = data;
	uint64_t last = (uint64_t)size << 56;
	struct sip s;

	sip_init(&s, key);
	for (; size >= 8; size -= 8, p += 8) {
		uint64_t word;
		memcpy(&word, p, 8);
		sip_word(&s, word);
	}
	for (size_t i = 0; i < size; i++)
		last |= (uint64_t)p[i] << (8 * i);
	sip_word(&s, last);
	return sip_finish(&s);
}

uint64_t ush_siphash_2(const struct ush_key *key, uint64_t a, uint64_t b)
{
	struct sip s;

	sip_init(&s, key);
	sip_word(&s, a);
	sip_word(&s, b);
	sip_word(&s, 16ull << 56);
	return sip_finish(&s);
}

void ush_random_init(struct ush_random *random, uint64_t seed)
{
	random->state = ush_mix64(seed + 0x9e3779b97f4a7c15ull);
	if (random->state == 0)
		random->state = 1;
}

uint64_t ush_random_next(struct ush_random *random)
{
	uint64_t x = random->state;

	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	random->state = x;
	return x * 0x2545f4914f6cdd1dull;
}

uint64_t ush_random_below(struct ush_random *random, uint64_t bound)
{
	return ((ush_random_next(random) >> 32) * bound) >> 32;
}
