/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The provider's books against ours, payment by payment.
 *
 * Owns:  nothing once it has called back.
 * Reads: the provider's lists of intents and refunds; the tables of payments and orders.
 * Never: changes anything.
 */
#ifndef USH_PAYMENTS_RECONCILE_H
#define USH_PAYMENTS_RECONCILE_H

#include <jansson.h>

#include "db/db.h"
#include "payments/provider.h"

/* report: {sound, orders, sold_elsewhere, intents, payments, under_way, captured, refunded,
 * findings: [{kind, payment, intent, hold, ours, theirs}]}; the callee's. NULL: result says why. */
typedef void ush_reconciled(void *context, int result, json_t *report);

void ush_reconcile(
	struct ush_db *db, struct ush_provider *provider, ush_reconciled *done, void *context);

#endif /* USH_PAYMENTS_RECONCILE_H */
