/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the provider sends by itself: is it from the provider, and what is it about.
 *
 * Owns:  nothing.
 * Reads: nothing.
 * Never: believes what it says beyond "look there".
 */
#ifndef USH_PAYMENTS_WEBHOOK_H
#define USH_PAYMENTS_WEBHOOK_H

#include "base/base.h"

#define USH_WEBHOOK_TOLERANCE_S 300 /* as Stripe's libraries */

/* ret: true if `header` (Stripe-Signature: t=SECONDS,v1=HEX[,v1=HEX]) signs the raw body under the
 * secret, and its time is within the tolerance of now_s. cost: one HMAC-SHA256 of the body. */
bool ush_webhook_verify(
	const char *header, const void *body, size_t bytes, const char *secret, int64_t now_s);

struct ush_webhook {
	char id[64]; /* of the event */
	char type[64];
	char intent[64];  /* that it is about; "": none */
	char dispute[64]; /* of charge.dispute.* */
	char status[32];  /* of the dispute */
	char reason[32];
	int64_t amount; /* of the dispute */
	int64_t created_s;
};

/* ret: 0; -USH_EPARSE: not an event. A type that is not known is an event like any other. */
int ush_webhook_read(struct ush_webhook *webhook, const void *body, size_t bytes);

#endif /* USH_PAYMENTS_WEBHOOK_H */
