/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tells the catalogue how many seats an event has free, and how many of them side by side, as they
 * are sold and come back: what search by `together` goes by.
 *
 * Owns:  what was told of each event.
 * Reads: live.
 * Never: a second truth: it is a hint, a second or so old.
 */
#ifndef USH_ORDERS_HINTS_H
#define USH_ORDERS_HINTS_H

#include "orders/internal.h"

struct hints *hints_open(void);
/* After its last job. */
void hints_close(struct hints *hints);
/* Once a second: what changed of up to 256 events, one after another. by: the loop. */
void hints_tick(struct ush_orders *orders);

/* The longest run of free seats in a row, or all of its places if they have no numbers. */
uint32_t hints_run(uint64_t free_seats, bool is_general);

#endif /* USH_ORDERS_HINTS_H */
