/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rates by address and by account, in memory that does not grow: token buckets in sets of four, as
 * docs/admission.md, 8, has them.
 *
 * Owns:  its sets.
 * Reads: nothing.
 * Never: clocks; remembers an address: only a keyed hash of it.
 */
#ifndef USH_ENTRY_LIMIT_H
#define USH_ENTRY_LIMIT_H

#include "base/base.h"

struct ush_limit;

/* What is limited. */
enum ush_limit_kind {
	USH_LIMIT_ADDRESS = 1,
	USH_LIMIT_ACCOUNT = 2,
};

/* in: sets: a power of two, 64 bytes each. key: secret, so that nobody can aim at a set. ret: NULL:
 * no memory. */
struct ush_limit *ush_limit_new(uint32_t sets, const struct ush_key *key);
void ush_limit_free(struct ush_limit *limit);

/* ret: what stands for a numeric address: IPv6 counts by /64, an IPv4 address in IPv6 is that
 * address. Not an address: 0. */
uint64_t ush_limit_address(const struct ush_limit *limit, const char *address);

/* Takes one of `burst` tokens, of which one comes back each interval_us. in: what: of
 * ush_limit_address, or an account's number. interval_us: 0: no limit. ret: 0: let in; else the
 * microseconds until one is back. */
uint64_t ush_limit_take(struct ush_limit *limit, enum ush_limit_kind kind, uint64_t what,
	uint64_t interval_us, uint32_t burst, uint64_t now_us);

#endif /* USH_ENTRY_LIMIT_H */
