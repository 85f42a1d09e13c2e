/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hash chain, recomputed over the files by code of its own: what headers claim is so, across
 * segments, epochs and torn tails, and a changed record is found out even with its checksum mended.
 */
#include "tests/journal_rig.h"
#include "tests/tap.h"

static struct rig rig;

/* ---- SHA-256 (FIPS 180-4), as plain as it can be ---- */

struct sha {
	uint32_t h[8];
	uint8_t block[64];
	uint64_t bytes;
};

static uint32_t rotr(uint32_t x, uint32_t n)
{
	return x >> n | x << (32 - n);
}

/* The first 32 bits of the fractional parts of the roots of the primes: k of the cube roots, h of
 * the square roots, found by Newton's method in integers. */
static uint32_t fraction(uint32_t prime, bool cube)
{
	unsigned __int128 wanted = (unsigned __int128)prime << (cube ? 96 : 64);
	uint64_t low = 0, high = 1ull << 40;

	while (high - low > 1) {
		uint64_t middle = low + (high - low) / 2;
		unsigned __int128 square = (unsigned __int128)middle * middle;
		bool over = cube ? square > wanted / middle : square > wanted;
		if (over)
			high = middle;
		else
			low = middle;
	}
	return (uint32_t)low;
}

static uint32_t prime_at(uint32_t index)
{
	for (uint32_t p = 2;; p++) {
		bool prime = true;
		for (uint32_t d = 2; d * d <= p; d++)
			prime &= p % d != 0;
		if (prime && index-- == 0)
			return p;
	}
}

static void sha_block(struct sha *s)
{
	static uint32_t k[64];
	uint32_t w[64], v[8];

	if (k[0] == 0) {
		for (uint32_t i = 0; i < 64; i++)
			k[i] = fraction(prime_at(i), true);
	}
	for (uint32_t i = 0; i < 16; i++)
		w[i] = (uint32_t)s->block[4 * i] << 24 | (uint32_t)s->block[4 * i + 1] << 16 |
		       (uint32_t)s->block[4 * i + 2] << 8 | s->block[4 * i + 3];
	for (uint32_t i = 16; i < 64; i++) {
		uint32_t a = w[i - 15], b = w[i - 2];
		w[i] = w[i - 16] + (rotr(a, 7) ^ rotr(a, 18) ^ a >> 3) + w[i - 7] +
		       (rotr(b, 17) ^ rotr(b, 19) ^ b >> 10);
	}
	memcpy(v, s->h, sizeof(v));
	for (uint32_t i = 0; i < 64; i++) {
		uint32_t a = v[0], e = v[4];
		uint32_t t1 = v[7] + (rotr(e, 6) ^ rotr(e, 11) ^ rotr(e, 25)) +
			      ((e & v[5]) ^ (~e & v[6])) + k[i] + w[i];
		uint32_t t2 = (rotr(a, 2) ^ rotr(a, 13) ^ rotr(a, 22)) +
			      ((a & v[1]) ^ (a & v[2]) ^ (v[1] & v[2]));
		memmove(v + 1, v, 7 * sizeof(v[0]));
		v[4] += t1;
		v[0] = t1 + t2;
	}
	for (uint32_t i = 0; i < 8; i++)
		s->h[i] += v[i];
}

static void sha_start(struct sha *s)
{
	s->bytes = 0;
	for (uint32_t i = 0; i < 8; i++)
		s->h[i] = fraction(prime_at(i), false);
}

static void sha_add(struct sha *s, const uint8_t *data, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		s->block[s->bytes++ % 64] = data[i];
		if (s->bytes % 64 == 0)
			sha_block(s);
	}
}

static void sha_end(struct sha *s, uint8_t digest[32])
{
	uint64_t bits = s->bytes * 8;
	uint8_t byte = 0x80;

	do {
		sha_add(s, &byte, 1);
		byte = 0;
	} while (s->bytes % 64 != 56);
	for (int i = 56; i >= 0; i -= 8) {
		byte = (uint8_t)(bits >> i);
		sha_add(s, &byte, 1);
	}
	for (uint32_t i = 0; i < 32; i++)
		digest[i] = (uint8_t)(s->h[i / 4] >> (24 - 8 * (i % 4)));
}

/* "abc", and 1,000 times 'a': FIPS 180-4's example, and what sha256sum says. */
static void test_sha256_of_known_texts(void)
{
	static const uint8_t abc[8] = {0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea};
	static const uint8_t thousand[8] = {0x41, 0xed, 0xec, 0xe4, 0x2d, 0x63, 0xe8, 0xd9};
	uint8_t digest[32];
	struct sha s;

	sha_start(&s);
	sha_add(&s, (const uint8_t *)"abc", 3);
	sha_end(&s, digest);
	CHECK(memcmp(digest, abc, sizeof(abc)) == 0);
	sha_start(&s);
	for (int i = 0; i < 1000; i++)
		sha_add(&s, (const uint8_t *)"a", 1);
	sha_end(&s, digest);
	CHECK(memcmp(digest, thousand, sizeof(thousand)) == 0);
}

/* ---- the journal's chain ---- */

#define BLOCKS_MAX 4096u

/* values[b]: the chain over all blocks before b, taken from the blocks recovery accepts. */
static uint8_t values[BLOCKS_MAX][USH_CHAIN_BYTES];
static uint64_t lies, lag_max, blocks_seen;

static void watch(void *context, const char *segment, uint64_t block,
	const struct ush_block_header *header, const void *data)
{
	uint64_t covers = block - header->chain_lag;
	uint8_t digest[32];
	struct sha s;

	(void)context, (void)segment;
	USH_ASSERT(block + 1 < BLOCKS_MAX);
	lies += covers < FIRST_BLOCK || covers > block ||
		memcmp(header->chain, values[covers], USH_CHAIN_BYTES) != 0;
	lag_max = ush_max64(lag_max, header->chain_lag);
	sha_start(&s);
	sha_add(&s, values[block], USH_CHAIN_BYTES);
	sha_add(&s, data, USH_BLOCK_BYTES);
	sha_end(&s, digest);
	memcpy(values[block + 1], digest, USH_CHAIN_BYTES);
	blocks_seen++;
}

/* ret: headers whose chain value is not that of the blocks before. */
static uint64_t count_lies(void)
{
	lies = lag_max = blocks_seen = 0;
	memset(values, 0, sizeof(values));
	CHECK_EQ(rig_open(&rig), 0);
	ush_journal_watch(rig.journal, watch, NULL);
	CHECK_EQ(rig_recover(&rig), 0);
	return lies;
}

static void life(uint32_t blocks, bool clean)
{
	CHECK_EQ(rig_up(&rig), 0);
	CHECK(rig_blocks(&rig, blocks));
	if (clean)
		CHECK(ush_journal_finish(rig.journal, rig.now_ns));
	rig_down(&rig);
}

/* Three epochs over several segments: every header tells the truth, and none lags far. */
static void test_chain_is_what_it_claims(void)
{
	rig_make(&rig, 3);
	life(300, false);
	life(1, false);
	life(700, true);
	life(50, false);
	CHECK_EQ(count_lies(), 0);
	CHECK(blocks_seen > 1050);
	CHECK(lag_max < 8);
	rig_free(&rig);
}

/* A tail torn off by a power cut belongs to no chain; the next epoch goes on without it. */
static void test_chain_goes_on_after_a_torn_tail(void)
{
	for (uint64_t seed = 1; seed < 40; seed++) {
		rig_make(&rig, seed);
		CHECK_EQ(rig_up(&rig), 0);
		CHECK(rig_blocks(&rig, 5));
		fake_disk_order(rig.fake, FAKE_BY_HAND);
		rig_tick(&rig, 2000);
		rig_step(&rig);
		rig_down(&rig);
		fake_disk_order(rig.fake, FAKE_IN_ORDER);
		life(30, false);
		CHECK_EQ(count_lies(), 0);
		CHECK(lag_max < 70);
		rig_free(&rig);
	}
}

/* One record of an old block changed, its checksum made right: recovery cannot know, the chain
 * does. */
static void test_chain_gives_a_changed_record_away(void)
{
	struct ush_block_header header;
	struct ush_record *slots;
	uint8_t *data;

	rig_make(&rig, 3);
	life(100, true);
	data = fake_disk_find(rig.fake, "seg-00000001-0000000000000001.ush")->data +
	       20 * USH_BLOCK_BYTES;
	slots = (struct ush_record *)(void *)data;
	slots[1].deadline_ns ^= 1;
	memcpy(&header, data, sizeof(header));
	block_seal(data, header.box, header.epoch, header.sequence / USH_BLOCK_SLOTS,
		header.sequence / USH_BLOCK_SLOTS - header.durable_lag,
		header.sequence / USH_BLOCK_SLOTS - header.chain_lag, header.chain, header.time_ns);
	CHECK(count_lies() > 70);
	rig_free(&rig);
}

int main(void)
{
	TAP_RUN(test_sha256_of_known_texts);
	TAP_RUN(test_chain_is_what_it_claims);
	TAP_RUN(test_chain_goes_on_after_a_torn_tail);
	TAP_RUN(test_chain_gives_a_changed_record_away);
	return tap_end();
}
