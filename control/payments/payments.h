/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Payments and refunds over HTTP: docs/payments.md.
 *
 * Owns:  its routes, the driver, the provider, the refusal of card numbers.
 * Reads: holds and orders of orders/.
 * Never: card data.
 */
#ifndef USH_PAYMENTS_H
#define USH_PAYMENTS_H

#include "daemon/core.h"
#include "db/db.h"

struct ush_payments;

extern const struct ush_db_step ush_payments_schema[];

/* Opens, adds its routes and its filter, takes up what was under way. Settings: section payments;
 * without `url` and `key_file` there are no payments: routes answer 503. */
int ush_payments_open(
	struct ush_payments **payments, const struct ush_core *core, struct ush_message *message);
void ush_payments_close(struct ush_payments *payments);

#endif /* USH_PAYMENTS_H */
