/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The C side of the benches: the golden function's own charge(), which is static there, and
 * SipHash.
 */
#include "admit/golden.c"

#include "bench.h"

static struct ush_admit_table tables[2];

uint64_t bench_siphash(uint64_t k0, uint64_t k1, const uint64_t *words, size_t word_count)
{
	struct ush_key key = {k0, k1};

	return ush_siphash(&key, words, word_count * 8);
}

void bench_table_clear(uint32_t table, uint32_t set_bits)
{
	free(tables[table].sets);
	tables[table].sets = calloc(1ull << set_bits, sizeof(struct ush_admit_set));
	tables[table].set_bits = set_bits;
	tables[table].evicted = 0;
}

uint64_t bench_charge(uint32_t table, uint64_t interval_ns, uint64_t tolerance_ns, uint64_t hash,
	uint32_t request_id, uint64_t now_ns)
{
	struct ush_admit_limit limit = {interval_ns, tolerance_ns};

	return charge(&tables[table], &limit, hash, request_id, now_ns);
}

uint64_t bench_until(uint32_t table, uint64_t set, uint32_t way)
{
	return tables[table].sets[set].until_ns[way];
}

uint64_t bench_tag(uint32_t table, uint64_t set, uint32_t way)
{
	return tables[table].sets[set].tag[way];
}

uint64_t bench_evicted(uint32_t table)
{
	return tables[table].evicted;
}
