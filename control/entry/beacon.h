/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The public beacon whose value draws the order of a lobby: when its rounds come, and what its
 * answer says. The interface is drand's: GET /{chain}/public/{round} gives {round, randomness,
 * signature}, and randomness is SHA-256 of signature.
 *
 * Owns:  nothing.
 * Reads: answers.
 * Never: sockets, clocks; checks the signature itself (docs/entry.md says what that means).
 */
#ifndef USH_ENTRY_BEACON_H
#define USH_ENTRY_BEACON_H

#include "base/base.h"

#define USH_BEACON_BYTES 32u

struct ush_beacon {
	const char *source; /* as rooms name it; NULL: none is set */
	const char *url;    /* with {round} */
	int64_t genesis_s;  /* when round 1 came, seconds since 1970 */
	int64_t period_s;   /* at least 1 */
};

/* ret: true if rooms with that source and round can be drawn with it. in: bytes: of source. */
bool ush_beacon_is(
	const struct ush_beacon *beacon, const char *source, size_t bytes, uint64_t round);
/* ret: when a round comes, microseconds since 1970; INT64_MAX: beyond all time. */
int64_t ush_beacon_round_us(const struct ush_beacon *beacon, uint64_t round);
/* ret: the newest round that has come, 0: none. */
int64_t ush_beacon_newest(const struct ush_beacon *beacon, int64_t now_us);
/* ret: false: the URL does not fit. */
bool ush_beacon_url(const struct ush_beacon *beacon, uint64_t round, char *url, size_t bytes);
/* Reads an answer. ret: NULL, and the value; or what is wrong with it. */
const char *ush_beacon_read(
	const char *body, size_t bytes, uint64_t round, uint8_t value[USH_BEACON_BYTES]);

#endif /* USH_ENTRY_BEACON_H */
