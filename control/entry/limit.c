/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A bucket is one time: when it is full again. A new one takes the place of the one that is nearest
 * to full, so floods of new addresses push out each other and not an abuser; and what is lost so is
 * a debt: nobody is refused for what others did.
 */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "entry/limit.h"

#define WAYS 4u

struct set {
	uint64_t tag[WAYS];
	uint64_t until_us[WAYS];
};
static_assert(sizeof(struct set) == USH_CACHE_LINE, "one line");

struct ush_limit {
	struct set *sets;
	uint32_t count;
	struct ush_key key;
};

struct ush_limit *ush_limit_new(uint32_t sets, const struct ush_key *key)
{
	struct ush_limit *limit = calloc(1, sizeof(*limit));

	USH_ASSERT((sets & (sets - 1)) == 0);
	if (limit == NULL)
		return NULL;
	limit->sets = aligned_alloc(USH_CACHE_LINE, sets * sizeof(struct set));
	if (limit->sets == NULL) {
		free(limit);
		return NULL;
	}
	memset(limit->sets, 0, sets * sizeof(struct set));
	limit->count = sets;
	limit->key = *key;
	return limit;
}

void ush_limit_free(struct ush_limit *limit)
{
	if (limit == NULL)
		return;
	free(limit->sets);
	free(limit);
}

uint64_t ush_limit_address(const struct ush_limit *limit, const char *address)
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
	uint8_t bytes[16];
	uint32_t four = 0;
	uint64_t prefix;

	if (inet_pton(AF_INET, address, &four) != 1) {
		if (inet_pton(AF_INET6, address, bytes) != 1)
			return 0;
		if (memcmp(bytes, mapped, sizeof(mapped)) != 0) {
			memcpy(&prefix, bytes, sizeof(prefix));
			return ush_siphash_2(&limit->key, prefix, 6) | 1;
		}
		memcpy(&four, bytes + 12, sizeof(four));
	}
	return ush_siphash_2(&limit->key, four, 4) | 1;
}

uint64_t ush_limit_take(struct ush_limit *limit, enum ush_limit_kind kind, uint64_t what,
	uint64_t interval_us, uint32_t burst, uint64_t now_us)
{
	uint64_t tag = ush_siphash_2(&limit->key, what, kind) | 1;
	struct set *set = &limit->sets[(tag >> 8) & (limit->count - 1)];
	const uint64_t tolerance_us = (burst == 0 ? 0 : burst - 1) * interval_us;
	uint32_t way = 0;
	uint64_t until_us;

	if (interval_us == 0)
		return 0;
	for (uint32_t i = 0; i < WAYS; i++) {
		if (set->tag[i] == tag) {
			way = i;
			break;
		}
		if (set->until_us[i] < set->until_us[way])
			way = i;
	}
	until_us = set->tag[way] == tag ? ush_max64(set->until_us[way], now_us) : now_us;
	if (until_us - now_us > tolerance_us)
		return until_us - tolerance_us - now_us;
	set->tag[way] = tag;
	set->until_us[way] = until_us + interval_us;
	return 0;
}
