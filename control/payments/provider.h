/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A payment provider: what is asked of it, and what its answers mean.
 *
 * Owns:  the provider's address and keys.
 * Reads: nothing.
 * Never: repeats a call; decides what is done about an answer; logs a key or a client secret.
 *
 * Stripe and the sandbox (docs/sandbox.md) speak the same API under another address.
 */
#ifndef USH_PAYMENTS_PROVIDER_H
#define USH_PAYMENTS_PROVIDER_H

#include <jansson.h>

#include "base/base.h"

struct ush_fetch;
struct ush_provider;

enum ush_provider_verdict {
	USH_PROVIDER_OK = 0,
	USH_PROVIDER_UNKNOWN = 1,  /* no answer, or "later": ask the same under the same key */
	USH_PROVIDER_REPLAYED = 2, /* a failure that is kept under the key */
	USH_PROVIDER_REFUSED = 3,  /* this will never do */
};

enum ush_intent_state {
	USH_INTENT_NONE = 0, /* the answer has none */
	USH_INTENT_OPEN = 1, /* the payer's turn */
	USH_INTENT_DECLINED = 2,
	USH_INTENT_AUTHORISED = 3,
	USH_INTENT_SUCCEEDED = 4,
	USH_INTENT_CANCELED = 5,
};

struct ush_provider_answer {
	enum ush_provider_verdict verdict;
	enum ush_intent_state state;
	char intent[64];
	char secret[128]; /* the intent's client secret */
	char refund[64];  /* id of a refund that has not failed; "": none */
	char error[64];   /* the provider's code, for the log and the buyer; "" */
	int64_t amount;   /* of the intent: captured if it succeeded */
};

typedef void ush_provider_done(void *context, const struct ush_provider_answer *answer);

struct ush_provider_config {
	const char *url; /* without a slash at the end */
	const char *secret_key;
	uint32_t timeout_ms;
};

/* Strings are copied. */
int ush_provider_open(struct ush_provider **provider, const struct ush_provider_config *config,
	struct ush_fetch *fetch, struct ush_message *message);
void ush_provider_close(struct ush_provider *provider);

/* What an intent is made with; goes into its metadata, too. */
struct ush_provider_order {
	const char *reference; /* of the payment; unique */
	uint64_t hold;
	uint32_t event, attempt;
	int64_t amount;
	const char *currency;
};

/* All call `done` once, from the loop, never from within. key: the idempotency key. */
void ush_provider_create(struct ush_provider *provider, const struct ush_provider_order *order,
	const char *key, ush_provider_done *done, void *context);
void ush_provider_look(
	struct ush_provider *provider, const char *intent, ush_provider_done *done, void *context);
void ush_provider_capture(struct ush_provider *provider, const char *intent, const char *key,
	ush_provider_done *done, void *context);
void ush_provider_cancel(struct ush_provider *provider, const char *intent, const char *key,
	ush_provider_done *done, void *context);
/* reference: unique for the refund: look_refund finds it by that. */
void ush_provider_refund(struct ush_provider *provider, const char *intent, int64_t amount,
	const char *reference, const char *key, ush_provider_done *done, void *context);
/* An answer that is OK without a refund: there is none of that reference. */
void ush_provider_look_refund(struct ush_provider *provider, const char *intent,
	const char *reference, ush_provider_done *done, void *context);
/* A list for reconciliation: path such as "/v1/payment_intents?limit=100". `body` is NULL if there
 * was no good answer; borrowed. */
void ush_provider_get(struct ush_provider *provider, const char *path,
	void (*done)(void *context, json_t *body), void *context);

/* For tests: what an HTTP answer means. get: nothing is kept under a key. reference: NULL, or of
 * the refund that is looked for in a list. */
void ush_provider_read(struct ush_provider_answer *answer, bool get, uint32_t status,
	const char *body, size_t bytes, const char *reference);

#endif /* USH_PAYMENTS_PROVIDER_H */
