/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Proofs of work over HTTP: those of docs/admission.md, 7.5, so that one solver serves both.
 *
 * Owns:  nothing.
 * Reads: nothing.
 * Never: clocks; state: a solution is good for one user and event, for whom a repeat changes
 * nothing.
 */
#ifndef USH_ENTRY_WORK_H
#define USH_ENTRY_WORK_H

#include "base/base.h"

/* More would take a phone an hour. */
#define USH_WORK_BITS_MAX 30u
/* How far the time of a solution may be from now. */
#define USH_WORK_WINDOW_US (60 * UINT64_C(1000000))

struct ush_work {
	uint64_t user;
	uint32_t event;
	uint32_t request_id;
	uint64_t time_ns;
	uint64_t nonce;
};

/* The salt of an hour: below 2^53, so that JSON keeps it. It changes, so that nobody works ahead.
 */
uint64_t ush_work_salt(const struct ush_key *key, uint64_t now_us);

/* ret: true if it solves `bits`, with the salt of this hour or of the one before, and its time is
 * within the window. */
bool ush_work_check(
	const struct ush_work *work, uint32_t bits, const struct ush_key *key, uint64_t now_us);

#endif /* USH_ENTRY_WORK_H */
