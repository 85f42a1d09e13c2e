/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opens the module: settings, the provider, the driver, routes; refuses card numbers.
 */
#include <stdlib.h>
#include <string.h>

#include "orders/orders.h"
#include "payments/internal.h"
#include "payments/pan.h"

#define PROVIDER_TIMEOUT_MS 30000 /* guess: longer than the provider's own limits */

static const char *setting(const struct ush_core *core, const char *key)
{
	return core->setting != NULL ? core->setting(core, "payments", key) : NULL;
}

static int read_number(const struct ush_core *core, const char *key, uint32_t least, uint32_t most,
	uint32_t *value, struct ush_message *message)
{
	const char *text = setting(core, key);
	unsigned long read;
	char *end;

	if (text == NULL)
		return 0;
	read = strtoul(text, &end, 10);
	if (end == text || *end != '\0' || read < least || read > most) {
		ush_message_set(message, "payments.%s is %.40s: a number from %u to %u", key, text,
			least, most);
		return -USH_EINVAL;
	}
	*value = (uint32_t)read;
	return 0;
}

/* The strings of what was parsed: digits can be written as escapes. */
static bool is_card_in(const json_t *value)
{
	const char *name;
	const json_t *one;
	size_t i;

	if (json_is_string(value))
		return ush_pan_found(
			json_string_value(value), json_string_length(value), USH_PAN_DIGITS);
	json_array_foreach(value, i, one)
	{
		if (is_card_in(one))
			return true;
	}
	json_object_foreach((json_t *)(uintptr_t)value, name, one)
	{
		if (ush_pan_found(name, strlen(name), USH_PAN_DIGITS) || is_card_in(one))
			return true;
	}
	return false;
}

/* Of UUIDs of chance one in 64,000 has digits in a row that could be a card's. */
static bool is_uuid(const char *key)
{
	return strlen(key) == 36 && strspn(key, "0123456789abcdefABCDEF-") == 36 && key[8] == '-' &&
	       key[13] == '-' && key[18] == '-' && key[23] == '-';
}

/* Numbers of holds and payments of ours are in these, too: they are longer, or made so that they
 * are no card's. */
static bool is_card_beside_body(const struct ush_http_request *request)
{
	const char *key = ush_http_header(request, "Idempotency-Key"), *name, *value;

	if (key != NULL && !is_uuid(key) && ush_pan_found(key, strlen(key), USH_PAN_DIGITS_USUAL))
		return true;
	for (uint32_t i = 0; (value = ush_http_query_at(request, i, &name)) != NULL; i++)
		if (ush_pan_found(value, strlen(value), USH_PAN_DIGITS_USUAL) ||
			ush_pan_found(name, strlen(name), USH_PAN_DIGITS_USUAL))
			return true;
	return false;
}

/* Before any handler, and before the log: what a card number was in is not looked at further. */
static bool refuse_cards(struct ush_http_request *request, void *context)
{
	size_t bytes;
	const void *body = ush_http_body(request, &bytes);

	(void)context;
	/* The provider's own webhooks have numbers of many kinds, and never a card's. */
	if (strcmp(ush_http_path(request), "/v1/provider/webhooks") == 0)
		return true;
	if (!ush_pan_found(body, body != NULL ? bytes : 0, USH_PAN_DIGITS) &&
		!(body != NULL && memchr(body, '\\', bytes) != NULL &&
			is_card_in(ush_http_json(request))) &&
		!is_card_beside_body(request))
		return true;
	ush_core_log(USH_CORE_WARN, "payments", "a card number was refused", "request",
		ush_http_id(request), NULL);
	ush_http_problem(request, 400, "card_number", NULL,
		"The request has a card number in it. It was not read. Card data goes to the payment provider only.");
	return false;
}

bool payments_ready(struct ush_payments *payments, struct ush_http_request *request)
{
	if (payments->driver != NULL)
		return true;
	ush_http_problem(
		request, 503, "not_ready", NULL, "No payment provider is set up at this server.");
	return false;
}

static uint64_t owner_of(struct ush_db_conn *conn, uint64_t hold, int64_t *as_of_us)
{
	struct ush_orders_hold found;

	*as_of_us = 0;
	if (ush_db_get(conn, "SELECT checked_us FROM orders_state WHERE id = 1", "", "i",
		    as_of_us) < 0)
		return 0;
	return ush_orders_find(conn, hold, &found) == 1 ? found.user : 0;
}

static int open_driver(struct ush_payments *payments, const char *url, struct ush_message *message)
{
	const struct ush_core *core = payments->core;
	struct ush_provider_config provider = {
		.url = url, .secret_key = payments->secret_key, .timeout_ms = PROVIDER_TIMEOUT_MS};
	struct ush_driver_config config = {.base = core->base,
		.db = core->db,
		.link = core->link,
		.pay_ms = 600000,
		.poll_ms = 5000,
		.back_off_ms = 100,
		.refunds_max = 16,
		.owner = owner_of,
		.stop_at = setting(core, "test_stop_at")};
	int ret = read_number(core, "pay_ms", 1, USH_PAY_MS_MAX, &config.pay_ms, message);

	if (ret == 0)
		ret = read_number(core, "poll_ms", 10, 60000, &config.poll_ms, message);
	if (ret == 0)
		ret = read_number(core, "back_off_ms", 1, 10000, &config.back_off_ms, message);
	if (ret == 0)
		ret = read_number(core, "refunds", 1, 64, &config.refunds_max, message);
	if (ret == 0)
		ret = read_number(core, "timeout_ms", 100, 120000, &provider.timeout_ms, message);
	if (ret == 0)
		ret = ush_provider_open(&payments->provider, &provider, core->fetch, message);
	if (ret != 0)
		return ret;
	config.provider = payments->provider;
	return ush_driver_open(&payments->driver, &config, message);
}

/* ret: 0; *text NULL: not set. */
static int read_secret(
	const struct ush_core *core, const char *key, char **text, struct ush_message *message)
{
	size_t bytes;

	if (setting(core, key) == NULL)
		return 0;
	*text = core->secret(core, "payments", key, &bytes, message);
	if (*text == NULL)
		return -USH_EACCES;
	(*text)[strcspn(*text, "\r\n")] = '\0';
	return 0;
}

int ush_payments_open(
	struct ush_payments **out, const struct ush_core *core, struct ush_message *message)
{
	struct ush_payments *payments = calloc(1, sizeof(*payments));
	const char *url = setting(core, "url"), *buyers = setting(core, "buyer_refunds");
	int ret;

	USH_ASSERT(payments != NULL);
	payments->core = core;
	payments->public_key = setting(core, "public_key");
	payments->buyer_refunds = buyers != NULL && strcmp(buyers, "yes") == 0;
	ret = read_secret(core, "key_file", &payments->secret_key, message);
	if (ret == 0)
		ret = read_secret(core, "webhook_secret_file", &payments->webhook_secret, message);
	if (ret == 0)
		ret = read_secret(
			core, "webhook_previous_file", &payments->previous_secret, message);
	if (ret == 0 && (url == NULL) != (payments->secret_key == NULL)) {
		ush_message_set(message, "payments.url and payments.key_file: both or neither");
		ret = -USH_EINVAL;
	}
	if (ret == 0 && url != NULL && !core->read_only)
		ret = open_driver(payments, url, message);
	if (ret != 0) {
		ush_payments_close(payments);
		return ret;
	}
	payments_keep_open();
	ush_http_filter_add(core->http, refuse_cards, payments);
	ush_http_routes_add(core->http, payments_routes, payments);
	*out = payments;
	return 0;
}

static void forget(char *secret)
{
	if (secret != NULL)
		explicit_bzero(secret, strlen(secret));
	free(secret);
}

void ush_payments_close(struct ush_payments *payments)
{
	if (payments == NULL)
		return;
	/* The driver's tasks are contexts of what the fetch, the link and the database still have
	 * under way; those are closed after this, so it must outlive them: see
	 * ush_driver_abandon. */
	ush_driver_abandon(payments->driver);
	forget(payments->secret_key);
	forget(payments->webhook_secret);
	forget(payments->previous_secret);
	/* Jobs of requests come back while the database closes, after this: the memory stays for
	 * them, as the driver's does. */
}
