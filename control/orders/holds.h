/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the routes of orders/ share beside acts: finding one's own hold, hashing a code.
 *
 * Owns:  nothing.
 * Reads: the read model.
 * Never: tells somebody else's hold from none.
 */
#ifndef USH_ORDERS_HOLDS_H
#define USH_ORDERS_HOLDS_H

#include "orders/internal.h"

typedef void orders_with_hold(struct ush_orders *orders, struct ush_http_request *request,
	const struct ush_orders_hold *hold);

/* Finds the hold or order that a parameter of the path names and calls `then`, if it is that of who
 * asks, or an operator asks; otherwise it has answered. */
void orders_find_own(struct ush_orders *orders, struct ush_http_request *request,
	const char *parameter, orders_with_hold *then);

/* SHA-256 of a code as it is stored. */
void orders_code_hash(const char *code, char hash[65]);

#endif /* USH_ORDERS_HOLDS_H */
