/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The helpers of dataplane/base against published values and slower second versions.
 *
 * Owns:  nothing.
 * Reads: nothing.
 * Never: DPDK.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../tap.h"
#include "base/base.h"

static uint32_t slow_crc(uint32_t crc, const uint8_t *data, size_t size)
{
	crc = ~crc;
	for (size_t i = 0; i < size; i++) {
		crc ^= data[i];
		for (int bit = 0; bit < 8; bit++)
			crc = (crc & 1) != 0 ? crc >> 1 ^ 0x82f63b78u : crc >> 1;
	}
	return ~crc;
}

/* Goal: the CRC is Castagnoli's. Method: RFC 3720's check value, and bit by bit for all sizes up to
 * 100 at all alignments. */
static void test_base_crc32c_any_size_is_castagnoli(void)
{
	struct ush_random random;
	uint8_t data[128];

	CHECK_EQ(ush_crc32c(0, "123456789", 9), 0xe3069283u);
	ush_random_init(&random, 1);
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)ush_random_next(&random);
	for (size_t at = 0; at < 8; at++) {
		for (size_t size = 0; size <= 100; size++)
			CHECK_EQ(ush_crc32c(7, data + at, size), slow_crc(7, data + at, size));
	}
}

/* Goal: a CRC may be continued. Method: cut 100 bytes at every place. */
static void test_base_crc32c_continued_is_the_same(void)
{
	uint8_t data[100];

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 37);
	for (size_t cut = 0; cut <= sizeof(data); cut++)
		CHECK_EQ(ush_crc32c(ush_crc32c(0, data, cut), data + cut, sizeof(data) - cut),
			ush_crc32c(0, data, sizeof(data)));
}

/* Goal: SipHash-2-4 as published. Method: its authors' vectors for key 00..0f, input 00..n-1. */
static void test_base_siphash_published_vectors_match(void)
{
	static const struct {
		size_t size;
		uint64_t hash;
	} vectors[] = {{0, 0x726fdb47dd0e0e31ull}, {1, 0x74f839c593dc67fdull},
		{8, 0x93f5f5799a932462ull}, {15, 0xa129ca6149be45e5ull}};
	const struct ush_key key = {0x0706050403020100ull, 0x0f0e0d0c0b0a0908ull};
	uint8_t data[16];

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)i;
	for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++)
		CHECK_EQ(ush_siphash(&key, data, vectors[i].size), vectors[i].hash);
}

/* Goal: the two-word form is the hash of its 16 bytes. Method: random words. */
static void test_base_siphash_2_equals_16_bytes(void)
{
	struct ush_random random;

	ush_random_init(&random, 2);
	for (int i = 0; i < 1000; i++) {
		struct ush_key key = {ush_random_next(&random), ush_random_next(&random)};
		uint64_t words[2] = {ush_random_next(&random), ush_random_next(&random)};
		CHECK_EQ(ush_siphash_2(&key, words[0], words[1]), ush_siphash(&key, words, 16));
		for (uint32_t size = 0; size < 8; size++) {
			uint64_t low = words[0] & ((1ull << 8 * size) - 1);

			CHECK_EQ(ush_siphash_short(&key, low, size), ush_siphash(&key, &low, size));
		}
	}
}

/* Goal: integer helpers at their edges. */
static void test_base_integers_at_edges_are_right(void)
{
	CHECK_EQ(ush_pow2_ceil32(1), 1);
	for (uint32_t bit = 1; bit < 31; bit++) {
		CHECK_EQ(ush_pow2_ceil32(1u << bit), 1u << bit);
		CHECK_EQ(ush_pow2_ceil32((1u << bit) + 1), 2u << bit);
	}
	CHECK_EQ(ush_pow2_ceil32(1u << 31), 1u << 31);
	CHECK_EQ(ush_popcount64(0), 0);
	CHECK_EQ(ush_popcount64(~0ull), 64);
	CHECK_EQ(ush_min64(3, UINT64_MAX), 3);
	CHECK_EQ(ush_max64(3, UINT64_MAX), UINT64_MAX);
	CHECK_EQ(ush_mix64(0), 0);
	CHECK_EQ(ush_mix64(1), 0xb456bcfc34c2cb2cull);
}

/* Goal: every code has a text of its own; errno values are translated. */
static void test_base_errors_each_has_text(void)
{
	static const int codes[] = {
#define X(name, value, text) USH_##name,
		USH_ERROR_EACH(X)
#undef X
	};

	CHECK(strcmp(ush_error_text(0), "success") == 0);
	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
		CHECK(strcmp(ush_error_text(-codes[i]), "unknown error") != 0);
		for (size_t k = 0; k < i; k++)
			CHECK(strcmp(ush_error_text(-codes[i]), ush_error_text(-codes[k])) != 0);
	}
	CHECK(strcmp(ush_error_text(-9999), "unknown error") == 0);
	CHECK(ush_error_from_errno(0) == 0);
	CHECK(ush_error_from_errno(ENOSPC) == -USH_ENOSPC);
	CHECK(ush_error_from_errno(EDQUOT) == -USH_ENOSPC);
	CHECK(ush_error_from_errno(EPERM) == -USH_EACCES);
	CHECK(ush_error_from_errno(EROFS) == -USH_EROFS);
	CHECK(ush_error_from_errno(EAGAIN) == -USH_EBUSY);
	CHECK(ush_error_from_errno(ELOOP) == -USH_ESYSTEM);
}

/* Goal: a long message is cut, and nobody need want one. */
static void test_base_message_too_long_is_cut(void)
{
	struct ush_message message;
	char text[1000];

	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = 0;
	ush_message_set(NULL, "%s", text);
	ush_message_set(&message, "%s", text);
	CHECK_EQ(strlen(message.text), sizeof(message.text) - 1);
}

/* Goal: below(n) gives each of 0 to n - 1 and nothing else; a seed repeats. */
static void test_base_random_below_stays_below(void)
{
	struct ush_random a, b;
	uint32_t seen[10] = {0};

	ush_random_init(&a, 5);
	ush_random_init(&b, 5);
	for (int i = 0; i < 10000; i++) {
		uint64_t value = ush_random_below(&a, 10);
		CHECK(value < 10);
		seen[value % 10]++;
		CHECK_EQ(value, ush_random_below(&b, 10));
	}
	for (int i = 0; i < 10; i++)
		CHECK(seen[i] > 850 && seen[i] < 1150);
	for (int i = 0; i < 100; i++)
		CHECK_EQ(ush_random_below(&a, 1), 0);
}

/* Goal: a broken assertion ends the process. Method: break one in a child. */
static void test_base_assert_false_aborts(void)
{
	int status = 0;
	pid_t child;

	fflush(stdout);
	child = fork();
	if (child == 0) {
		if (freopen("/dev/null", "w", stderr) == NULL)
			_exit(3);
		USH_ASSERT(child != 0);
		_exit(0);
	}
	CHECK(waitpid(child, &status, 0) == child);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

int main(void)
{
	TAP_RUN(test_base_crc32c_any_size_is_castagnoli);
	TAP_RUN(test_base_crc32c_continued_is_the_same);
	TAP_RUN(test_base_siphash_published_vectors_match);
	TAP_RUN(test_base_siphash_2_equals_16_bytes);
	TAP_RUN(test_base_integers_at_edges_are_right);
	TAP_RUN(test_base_errors_each_has_text);
	TAP_RUN(test_base_message_too_long_is_cut);
	TAP_RUN(test_base_random_below_stays_below);
	TAP_RUN(test_base_assert_false_aborts);
	return tap_end();
}
