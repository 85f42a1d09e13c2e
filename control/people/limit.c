/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A bucket is the time at which it will be full again (GCRA). Four in a set; a newcomer takes the
 * place of the one that is full, or fullest: who asks least has least to lose.
 */
#include <stdlib.h>
#include <string.h>

#include "people/limit.h"

#define WAYS 4u
#define SETS 4096u

struct bucket {
	uint64_t tag;
	int64_t full_us;
};

struct people_limit {
	struct ush_key key;
	int64_t token_us;
	int64_t depth_us;
	struct bucket set[SETS][WAYS];
};

struct people_limit *people_limit_open(const struct ush_key *key, uint32_t per_min)
{
	struct people_limit *limit = calloc(1, sizeof(*limit));
	uint32_t depth = per_min / 4 < 10 ? 10 : per_min / 4;

	USH_ASSERT(limit != NULL && per_min > 0);
	limit->key = *key;
	limit->token_us = 60000000 / (int64_t)per_min;
	limit->depth_us = limit->token_us * depth;
	return limit;
}

uint32_t people_limit_take(
	struct people_limit *limit, const char *text, uint32_t cost, int64_t now_us)
{
	uint64_t tag = ush_siphash(&limit->key, text, strlen(text)) | 1;
	struct bucket *set = limit->set[tag / 2 % SETS], *mine = &set[0];
	int64_t full_us, over_us;

	for (uint32_t i = 0; i < WAYS; i++) {
		if (set[i].tag == tag) {
			mine = &set[i];
			break;
		}
		if (set[i].full_us < mine->full_us)
			mine = &set[i];
	}
	full_us = mine->tag == tag && mine->full_us > now_us ? mine->full_us : now_us;
	full_us += limit->token_us * cost;
	over_us = full_us - now_us - limit->depth_us;
	if (over_us > 0)
		return (uint32_t)((over_us + 999999) / 1000000);
	*mine = (struct bucket){.tag = tag, .full_us = full_us};
	return 0;
}

void people_limit_close(struct people_limit *limit)
{
	free(limit);
}
