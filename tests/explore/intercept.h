/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Put in front of every file of the code under test: what the compiler does not show to the
 * explorer by itself.
 *
 * Owns:  nothing.
 * Reads: nothing.
 * Never: included by name.
 */
#ifndef USH_EXPLORE_INTERCEPT_H
#define USH_EXPLORE_INTERCEPT_H

#include <stddef.h>
#include <string.h>

void *explore_memcpy(void *to, const void *from, size_t size);
void *explore_memset(void *to, int byte, size_t size);

#define memcpy(to, from, size) explore_memcpy((to), (from), (size))
#define memset(to, byte, size) explore_memset((to), (byte), (size))
/* A broken assertion is a violation like any other. */
#define ush_assert_failed explore_assert_failed

#endif /* USH_EXPLORE_INTERCEPT_H */
