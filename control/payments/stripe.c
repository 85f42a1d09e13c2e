/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stripe's API v1: forms go out, JSON comes back.
 *
 * Failure modes: no answer, 409 (the first under this key is still under way), 429 and 401 are
 * "later"; 5xx and a changed request under an old key are kept under the key; what else is refused
 * is refused. An answer that cannot be read is none.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fetch/fetch.h"
#include "payments/provider.h"

#define API_VERSION "Stripe-Version: 2024-06-20"
#define ANSWER_BYTES_MAX (4u << 20) /* a list of 100 intents is about 200 KiB */
#define FORM_BYTES_MAX 2048
#define PATH_BYTES_MAX 512

struct ush_provider {
	struct ush_fetch *fetch;
	char *url, *secret_key;
	uint32_t timeout_ms;
};

struct call {
	ush_provider_done *done;
	void (*got)(void *context, json_t *body);
	void *context;
	bool get;
	char reference[64];
};

static void copy_text(char *to, size_t bytes, const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	snprintf(to, bytes, "%s", text != NULL ? text : "");
}

static const char *text_of(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	return text != NULL ? text : "";
}

/* Ids go into paths. */
static bool is_id(const char *text)
{
	return text[0] != '\0' &&
	       text[strspn(text,
		       "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_")] == '\0';
}

static enum ush_intent_state state_of(const json_t *intent)
{
	const char *status = text_of(intent, "status");

	if (strcmp(status, "requires_capture") == 0)
		return USH_INTENT_AUTHORISED;
	if (strcmp(status, "succeeded") == 0)
		return USH_INTENT_SUCCEEDED;
	if (strcmp(status, "canceled") == 0)
		return USH_INTENT_CANCELED;
	if (strcmp(status, "requires_payment_method") == 0 &&
		json_is_object(json_object_get(intent, "last_payment_error")))
		return USH_INTENT_DECLINED;
	return USH_INTENT_OPEN;
}

static void read_refund(struct ush_provider_answer *answer, const json_t *refund)
{
	const char *status = text_of(refund, "status");

	if (strcmp(status, "failed") != 0 && strcmp(status, "canceled") != 0)
		copy_text(answer->refund, sizeof(answer->refund), refund, "id");
}

static void read_good(struct ush_provider_answer *answer, const json_t *body, const char *reference)
{
	const char *kind = text_of(body, "object");
	const json_t *one;
	size_t i;

	answer->verdict = USH_PROVIDER_OK;
	if (strcmp(kind, "payment_intent") == 0) {
		answer->state = state_of(body);
		copy_text(answer->intent, sizeof(answer->intent), body, "id");
		if (!is_id(answer->intent))
			answer->verdict = USH_PROVIDER_UNKNOWN;
		copy_text(answer->secret, sizeof(answer->secret), body, "client_secret");
		answer->amount = json_integer_value(json_object_get(body, "amount"));
	} else if (strcmp(kind, "refund") == 0) {
		read_refund(answer, body);
		if (answer->refund[0] == '\0')
			answer->verdict = USH_PROVIDER_REPLAYED;
	} else if (strcmp(kind, "list") == 0 && reference != NULL) {
		json_array_foreach(json_object_get(body, "data"), i, one)
		{
			const json_t *metadata = json_object_get(one, "metadata");

			if (strcmp(text_of(metadata, "usher_refund"), reference) == 0)
				read_refund(answer, one);
		}
		if (answer->refund[0] == '\0' && json_is_true(json_object_get(body, "has_more")))
			answer->verdict = USH_PROVIDER_UNKNOWN;
	} else {
		answer->verdict = USH_PROVIDER_UNKNOWN;
	}
}

static enum ush_provider_verdict verdict_of(bool get, uint32_t status, const char *type)
{
	if (status == 401 || status == 403 || status == 409 || status == 429)
		return USH_PROVIDER_UNKNOWN;
	if (status >= 500)
		return get ? USH_PROVIDER_UNKNOWN : USH_PROVIDER_REPLAYED;
	if (strcmp(type, "idempotency_error") == 0)
		return USH_PROVIDER_REPLAYED;
	/* A redirect, or a page of something between us. */
	return status >= 400 && type[0] != '\0' ? USH_PROVIDER_REFUSED : USH_PROVIDER_UNKNOWN;
}

void ush_provider_read(struct ush_provider_answer *answer, bool get, uint32_t status,
	const char *body, size_t bytes, const char *reference)
{
	json_t *read = json_loadb(body, bytes, JSON_REJECT_DUPLICATES, NULL);
	const json_t *error = json_object_get(read, "error");

	memset(answer, 0, sizeof(*answer));
	if (status >= 200 && status < 300 && json_is_object(read)) {
		read_good(answer, read, reference);
	} else {
		answer->verdict = verdict_of(get, status, text_of(error, "type"));
		copy_text(answer->error, sizeof(answer->error), error, "code");
	}
	json_decref(read);
}

static void on_answer(void *context, const struct ush_fetch_result *result)
{
	struct call *call = context;
	struct ush_provider_answer answer = {.verdict = USH_PROVIDER_UNKNOWN};
	json_t *body = NULL;

	if (call->got != NULL) {
		if (result->result == 0 && result->status == 200)
			body = json_loadb(result->body, result->bytes, 0, NULL);
		call->got(call->context, body);
		json_decref(body);
	} else {
		if (result->result == 0)
			ush_provider_read(&answer, call->get, result->status, result->body,
				result->bytes, call->reference[0] ? call->reference : NULL);
		call->done(call->context, &answer);
	}
	free(call);
}

static struct call *new_call(ush_provider_done *done, void *context)
{
	struct call *call = calloc(1, sizeof(*call));

	USH_ASSERT(call != NULL);
	call->done = done;
	call->context = context;
	return call;
}

/* key NULL: GET. */
static void start(struct ush_provider *provider, struct call *call, const char *path,
	const char *key, const char *form)
{
	char url[PATH_BYTES_MAX + 256], key_header[160];
	const char *headers[] = {
		API_VERSION, "Content-Type: application/x-www-form-urlencoded", key_header, NULL};
	struct ush_fetch_request request = {.method = key != NULL ? "POST" : "GET",
		.url = url,
		.headers = headers,
		.body = form,
		.bytes = form != NULL ? strlen(form) : 0,
		.user = provider->secret_key,
		.password = "",
		.timeout_ms = provider->timeout_ms,
		.answer_bytes_max = ANSWER_BYTES_MAX};

	call->get = key == NULL;
	snprintf(url, sizeof(url), "%s%s", provider->url, path);
	snprintf(key_header, sizeof(key_header), "Idempotency-Key: %s", key != NULL ? key : "");
	if (key == NULL)
		headers[1] = NULL;
	ush_fetch_start(provider->fetch, &request, on_answer, call);
}

int ush_provider_open(struct ush_provider **provider, const struct ush_provider_config *config,
	struct ush_fetch *fetch, struct ush_message *message)
{
	struct ush_provider *made;

	if (strncmp(config->url, "https://", 8) != 0 &&
		strncmp(config->url, "http://127.0.0.1:", 17) != 0) {
		ush_message_set(message,
			"the provider's address is %.100s: https, or http to 127.0.0.1",
			config->url);
		return -USH_EINVAL;
	}
	made = calloc(1, sizeof(*made));
	USH_ASSERT(made != NULL);
	made->fetch = fetch;
	made->url = strdup(config->url);
	made->secret_key = strdup(config->secret_key);
	USH_ASSERT(made->url != NULL && made->secret_key != NULL);
	made->timeout_ms = config->timeout_ms;
	*provider = made;
	return 0;
}

void ush_provider_close(struct ush_provider *provider)
{
	if (provider == NULL)
		return;
	explicit_bzero(provider->secret_key, strlen(provider->secret_key));
	free(provider->secret_key);
	free(provider->url);
	free(provider);
}

void ush_provider_create(struct ush_provider *provider, const struct ush_provider_order *order,
	const char *key, ush_provider_done *done, void *context)
{
	char form[FORM_BYTES_MAX];

	snprintf(form, sizeof(form),
		"amount=%" PRId64 "&currency=%s&capture_method=manual&payment_method_types[]=card"
		"&metadata[usher_payment]=%s&metadata[usher_hold]=%" PRIu64
		"&metadata[usher_event]=%u&metadata[usher_attempt]=%u",
		order->amount, order->currency, order->reference, order->hold, order->event,
		order->attempt);
	start(provider, new_call(done, context), "/v1/payment_intents", key, form);
}

static void of_intent(struct ush_provider *provider, const char *intent, const char *what,
	const char *key, ush_provider_done *done, void *context)
{
	char path[PATH_BYTES_MAX];

	snprintf(path, sizeof(path), "/v1/payment_intents/%s%s", intent, what);
	start(provider, new_call(done, context), path, key, key != NULL ? "" : NULL);
}

void ush_provider_look(
	struct ush_provider *provider, const char *intent, ush_provider_done *done, void *context)
{
	of_intent(provider, intent, "", NULL, done, context);
}

void ush_provider_capture(struct ush_provider *provider, const char *intent, const char *key,
	ush_provider_done *done, void *context)
{
	of_intent(provider, intent, "/capture", key, done, context);
}

void ush_provider_cancel(struct ush_provider *provider, const char *intent, const char *key,
	ush_provider_done *done, void *context)
{
	of_intent(provider, intent, "/cancel", key, done, context);
}

void ush_provider_refund(struct ush_provider *provider, const char *intent, int64_t amount,
	const char *reference, const char *key, ush_provider_done *done, void *context)
{
	char form[FORM_BYTES_MAX];

	snprintf(form, sizeof(form),
		"payment_intent=%s&amount=%" PRId64 "&metadata[usher_refund]=%s", intent, amount,
		reference);
	start(provider, new_call(done, context), "/v1/refunds", key, form);
}

void ush_provider_look_refund(struct ush_provider *provider, const char *intent,
	const char *reference, ush_provider_done *done, void *context)
{
	struct call *call = new_call(done, context);
	char path[PATH_BYTES_MAX];

	snprintf(call->reference, sizeof(call->reference), "%s", reference);
	snprintf(path, sizeof(path), "/v1/refunds?payment_intent=%s&limit=100", intent);
	start(provider, call, path, NULL, NULL);
}

void ush_provider_get(struct ush_provider *provider, const char *path,
	void (*done)(void *context, json_t *body), void *context)
{
	struct call *call = new_call(NULL, context);

	call->got = done;
	start(provider, call, path, NULL, NULL);
}
