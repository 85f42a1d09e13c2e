/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How often an address or an account may ask: a fixed table of token buckets, keyed, so that nobody
 * can choose whom to push out.
 *
 * Owns:  the table: 256 KiB.
 * Reads: nothing.
 * Never: keeps an address; only keyed hashes.
 */
#ifndef USH_PEOPLE_LIMIT_H
#define USH_PEOPLE_LIMIT_H

#include "base/base.h"

struct people_limit;

/* in: per_min: tokens a minute; a full bucket has a quarter of them, at least 10. */
struct people_limit *people_limit_open(const struct ush_key *key, uint32_t per_min);
/* Takes `cost` tokens of the bucket of `text`. ret: 0; else seconds after which it may ask again
 * (nothing was taken). */
uint32_t people_limit_take(
	struct people_limit *limit, const char *text, uint32_t cost, int64_t now_us);
void people_limit_close(struct people_limit *limit);

#endif /* USH_PEOPLE_LIMIT_H */
