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

uint64_t ush_siphash(const struct ush_key *key, const void *data, size_t size)
{
	const uint8_t *p = data;
	uint64_t last = (uint64_t)size << 56;
	struct ush_sip s;

	ush_sip_init(&s, key);
	for (; size >= 8; size -= 8, p += 8) {
		uint64_t word;
		memcpy(&word, p, 8);
		ush_sip_word(&s, word);
	}
	for (size_t i = 0; i < size; i++)
		last |= (uint64_t)p[i] << (8 * i);
	ush_sip_word(&s, last);
	return ush_sip_finish(&s);
}

uint64_t ush_siphash_2(const struct ush_key *key, uint64_t a, uint64_t b)
{
	struct ush_sip s;

	ush_sip_init(&s, key);
	ush_sip_word(&s, a);
	ush_sip_word(&s, b);
	ush_sip_word(&s, 16ull << 56);
	return ush_sip_finish(&s);
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
