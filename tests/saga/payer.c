/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The payments of usher-control as a process of its own, for scripts/saga: no HTTP but the
 * provider's webhooks. Commands are lines of JSON on stdin, what came of them lines on stdout.
 *
 * payer DATABASE SOCKET URL [STOP_AT]
 */
#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <event2/buffer.h>
#include <event2/event.h>
#include <event2/http.h>
#include <jansson.h>

#include "fetch/fetch.h"
#include "link/link.h"
#include "payments/driver.h"

#define LINE_MAX_BYTES 4096
#define SECRET "whsec_usher"

static struct ush_driver *driver;
static char line[LINE_MAX_BYTES];
static size_t line_bytes;

static void say(json_t *what)
{
	char *text = json_dumps(what, JSON_COMPACT);

	USH_ASSERT(text != NULL);
	printf("%s\n", text);
	fflush(stdout);
	free(text);
	json_decref(what);
}

static void on_pay(void *context, int result, const struct ush_pay_row *row)
{
	json_t *said =
		json_pack("{s:I, s:i}", "tag", (json_int_t)(intptr_t)context, "result", result);

	if (row != NULL) {
		json_object_set_new(said, "payment", json_integer(row->id));
		json_object_set_new(said, "hold", json_integer((json_int_t)row->order.hold));
		json_object_set_new(said, "step", json_string(ush_pay_step_name(row->pay.step)));
		json_object_set_new(
			said, "reason", json_string(ush_pay_reason_name(row->pay.reason)));
		json_object_set_new(said, "intent", json_string(row->intent));
		json_object_set_new(said, "secret", json_string(row->secret));
		json_object_set_new(said, "sold_hold", json_integer((json_int_t)row->sold_hold));
	}
	say(said);
}

static void on_back(void *context, int result, const struct ush_back_row *row)
{
	json_t *said =
		json_pack("{s:I, s:i}", "tag", (json_int_t)(intptr_t)context, "result", result);

	if (row != NULL) {
		json_object_set_new(said, "step", json_string(ush_back_step_name(row->back.step)));
		json_object_set_new(said, "amount", json_integer(row->amount));
	}
	say(said);
}

static json_int_t number(const json_t *object, const char *name)
{
	return json_integer_value(json_object_get(object, name));
}

static uint32_t read_legs(const json_t *command, struct ush_leg *legs)
{
	const json_t *list = json_object_get(command, "legs");
	uint32_t count = (uint32_t)json_array_size(list);

	USH_ASSERT(count <= USH_LEG_COUNT_MAX);
	memset(legs, 0, count * sizeof(*legs));
	for (uint32_t i = 0; i < count; i++) {
		const json_t *leg = json_array_get(list, i);

		legs[i].row = (uint16_t)json_integer_value(json_array_get(leg, 0));
		legs[i].mask = (uint64_t)json_integer_value(json_array_get(leg, 1));
	}
	return count;
}

static void begin(const json_t *command, void *tag)
{
	struct ush_pay_order order = {.hold = (uint64_t)number(command, "hold"),
		.user = (uint64_t)number(command, "user"),
		.event = (uint32_t)number(command, "event"),
		.version = (uint32_t)number(command, "version"),
		.amount = number(command, "amount"),
		.fee = 100,
		.currency = "eur"};

	order.leg_count = read_legs(command, order.legs);
	ush_driver_begin(driver, &order, on_pay, tag);
}

static void obey(const json_t *command)
{
	const char *what = json_string_value(json_object_get(command, "do"));
	void *tag = (void *)(intptr_t)number(command, "tag");
	struct ush_leg legs[USH_LEG_COUNT_MAX];

	USH_ASSERT(what != NULL);
	if (strcmp(what, "begin") == 0) {
		begin(command, tag);
	} else if (strcmp(what, "find") == 0) {
		ush_driver_find(driver, number(command, "payment"), on_pay, tag);
	} else if (strcmp(what, "cancel") == 0) {
		ush_driver_cancel(driver, number(command, "payment"));
	} else if (strcmp(what, "refund") == 0) {
		uint32_t count = read_legs(command, legs);

		ush_driver_refund(driver, json_string_value(json_object_get(command, "key")),
			(uint64_t)number(command, "hold"), (uint64_t)number(command, "user"), legs,
			count, 50, on_back, tag);
	} else if (strcmp(what, "refund_event") == 0) {
		ush_driver_refund_event(driver, (uint32_t)number(command, "event"), on_back, tag);
	} else if (strcmp(what, "stop_at") == 0) {
		ush_driver_stop_at(driver, json_string_value(json_object_get(command, "at")));
		say(json_pack("{s:I}", "tag", (json_int_t)(intptr_t)tag));
	} else {
		USH_ASSERT(strcmp(what, "busy") == 0);
		say(json_pack("{s:I, s:i}", "tag", (json_int_t)(intptr_t)tag, "busy",
			(int)ush_driver_busy(driver)));
	}
}

static void on_stdin(evutil_socket_t fd, short what, void *context)
{
	ssize_t got = read(fd, line + line_bytes, sizeof(line) - line_bytes);
	char *end;

	(void)what;
	if (got <= 0) {
		event_base_loopbreak(context);
		return;
	}
	line_bytes += (size_t)got;
	while ((end = memchr(line, '\n', line_bytes)) != NULL) {
		size_t used = (size_t)(end - line) + 1;
		json_t *command = json_loadb(line, used, 0, NULL);

		USH_ASSERT(json_is_object(command));
		memmove(line, line + used, line_bytes - used);
		line_bytes -= used;
		obey(command);
		json_decref(command);
	}
	USH_ASSERT(line_bytes < sizeof(line));
}

static void on_hook_kept(void *context, int result)
{
	evhttp_send_reply(context, result == 0 ? 200 : 503, NULL, NULL);
}

static void on_hook(struct evhttp_request *request, void *context)
{
	struct evbuffer *body = evhttp_request_get_input_buffer(request);
	size_t bytes = evbuffer_get_length(body);
	const char *text = (const char *)evbuffer_pullup(body, -1);
	const char *signature =
		evhttp_find_header(evhttp_request_get_input_headers(request), "Stripe-Signature");
	struct ush_webhook webhook;

	(void)context;
	if (!ush_webhook_verify(signature, text, bytes, SECRET, time(NULL)) ||
		ush_webhook_read(&webhook, text, bytes) != 0)
		evhttp_send_reply(request, 400, NULL, NULL);
	else
		ush_driver_webhook(driver, &webhook, on_hook_kept, request);
}

static uint16_t listen_for_hooks(struct event_base *base)
{
	struct evhttp *http = evhttp_new(base);
	struct evhttp_bound_socket *bound;
	struct sockaddr_in address;
	socklen_t bytes = sizeof(address);
	const char *port = getenv("PAYER_PORT");

	USH_ASSERT(http != NULL);
	evhttp_set_gencb(http, on_hook, NULL);
	bound = evhttp_bind_socket_with_handle(
		http, "127.0.0.1", (uint16_t)strtoul(port != NULL ? port : "0", NULL, 10));
	USH_ASSERT(bound != NULL);
	USH_ASSERT(getsockname(evhttp_bound_socket_get_fd(bound), (struct sockaddr *)&address,
			   &bytes) == 0);
	return ntohs(address.sin_port);
}

int main(int argc, char **argv)
{
	const struct ush_db_step *const steps[] = {ush_payments_schema, NULL};
	struct event_base *base = event_base_new();
	struct ush_message message = {""};
	struct ush_driver_config config = {.base = base,
		.pay_ms = 1500,
		.poll_ms = 200,
		.back_off_ms = 10,
		.refunds_max = 8,
		.stop_at = argc > 4 ? argv[4] : NULL};
	struct ush_provider_config at = {.secret_key = "sk_test_usher", .timeout_ms = 500};
	struct ush_fetch *fetch;
	struct event *commands;

	USH_ASSERT(argc >= 4);
	at.url = argv[3];
	if (ush_db_open(&config.db, argv[1], 1, steps, base, &message) != 0 ||
		ush_link_open(&config.link, argv[2], base, NULL, NULL, &message) != 0 ||
		ush_fetch_open(&fetch, base, &message) != 0 ||
		ush_provider_open(&config.provider, &at, fetch, &message) != 0 ||
		ush_driver_open(&driver, &config, &message) != 0) {
		fprintf(stderr, "payer: %s\n", message.text);
		return 1;
	}
	commands = event_new(base, 0, EV_READ | EV_PERSIST, on_stdin, base);
	event_add(commands, NULL);
	say(json_pack("{s:s, s:i}", "event", "ready", "port", (int)listen_for_hooks(base)));
	event_base_dispatch(base);
	return 0;
}
