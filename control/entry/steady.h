/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether the wall clock can be believed: what is done once and for ever by the clock is not done
 * while somebody is setting it.
 *
 * Owns:  nothing.
 * Reads: two clocks that it is given.
 * Never: which of two times is right: a clock that stays set is believed after a while.
 */
#ifndef USH_ENTRY_STEADY_H
#define USH_ENTRY_STEADY_H

#include "base/base.h"

/* A wall clock that moved by more against the monotonic one was set (or the machine slept). */
#define USH_STEADY_STEP_US (2 * INT64_C(1000000))
/* So long it is not believed then; src: guess: a wrong step of a time server is mostly mended with
 * its next poll, an operator's sooner. */
#define USH_STEADY_WAIT_US (20 * INT64_C(1000000))

struct ush_steady {
	int64_t offset_us;  /* wall clock minus monotonic clock, as last seen */
	int64_t believe_us; /* monotonic; from here on it is believed */
	bool known;
};

/* At least each second. At first it is believed. out: *step_us: by how much it was set since the
 * last call, 0: not. ret: true: it can be believed. */
bool ush_steady_look(
	struct ush_steady *steady, int64_t wall_us, int64_t monotonic_us, int64_t *step_us);

#endif /* USH_ENTRY_STEADY_H */
