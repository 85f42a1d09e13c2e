/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of payments/ that speak HTTP share.
 *
 * Owns:  nothing.
 * Reads: nothing.
 * Never: included from elsewhere.
 */
#ifndef USH_PAYMENTS_INTERNAL_H
#define USH_PAYMENTS_INTERNAL_H

#include "http/server.h"
#include "payments/driver.h"
#include "payments/payments.h"

struct ush_payments {
	const struct ush_core *core;
	struct ush_provider *provider;
	struct ush_driver *driver; /* NULL: no provider is set, or a read replica */
	char *secret_key, *webhook_secret;
	char *previous_secret; /* of webhooks, while it is replaced; NULL: none */
	const char *public_key;
	bool buyer_refunds;
};

extern const struct ush_http_route payments_routes[];
/* What is kept about a person: tells people/. */
void payments_keep_open(void);
/* ret: true if there is a provider; otherwise it has answered 503. */
bool payments_ready(struct ush_payments *payments, struct ush_http_request *request);

#endif /* USH_PAYMENTS_INTERNAL_H */
