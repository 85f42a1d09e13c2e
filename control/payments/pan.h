/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finds card numbers in what a client sent, so that it can be refused unread and unlogged.
 *
 * Owns:  nothing.
 * Reads: nothing.
 * Never: keeps or copies what it finds.
 */
#ifndef USH_PAYMENTS_PAN_H
#define USH_PAYMENTS_PAN_H

#include "base/base.h"

/* The longest number there is; the longest that is usual. A hold's number is seldom so short. */
#define USH_PAN_DIGITS 19u
#define USH_PAN_DIGITS_USUAL 16u

/* ret: true if there are 13 to digits_max digits that begin as an issuer's numbers do, have the
 * length that goes with it, and pass Luhn's check; single spaces, dashes, dots and "%20" or "+" may
 * part them. Letters or digits next to them mean something else. cost: O(bytes). */
bool ush_pan_found(const void *text, size_t bytes, uint32_t digits_max);

#endif /* USH_PAYMENTS_PAN_H */
