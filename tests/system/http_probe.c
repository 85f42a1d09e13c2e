/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The HTTP server and the idempotency keys alone, with routes that a test can tell apart:
 *
 *     http_probe DATABASE [CERTIFICATE KEY]
 *
 * GET /big/{bytes}, /late, /echo/{a}/{b*}, /pic/{n}.png, /events (a stream); POST /count (answers
 * how often it ran; {"late": ms}, {"status": n}), /raw, /hook (no key). GET /counters. The header
 * X-Account says who asks.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <event2/event.h>
#include <event2/thread.h>

#include "daemon/core.h"
#include "http/counters.h"
#include "http/idempotency.h"
#include "http/server.h"

static struct event_base *base;
static struct ush_core core;
static uint32_t count, closed_streams;
static bool ended; /* as modules do, the handlers' have closed by then */

static bool who(struct ush_http_request *request, void *context)
{
	const char *account = ush_http_header(request, "X-Account");

	(void)context;
	ush_http_who_set(request, account != NULL ? account : "", NULL, NULL);
	return true;
}

static void get_big(struct ush_http_request *request, void *context)
{
	uint64_t bytes;
	char *text;

	(void)context;
	if (!ush_http_param_number(request, "bytes", 100u << 20, &bytes))
		return;
	text = malloc(bytes + 1);
	USH_ASSERT(text != NULL);
	for (uint64_t i = 0; i < bytes; i++)
		text[i] = (char)('a' + ush_mix64(i) % 4);
	ush_http_answer(request, 200, "text/plain; charset=utf-8", text, bytes);
	free(text);
}

static void get_echo(struct ush_http_request *request, void *context)
{
	(void)context;
	ush_http_answer_json(request, 200,
		json_pack("{s:s?, s:s?, s:s?, s:s?, s:s}", "a", ush_http_param(request, "a"), "b",
			ush_http_param(request, "b"), "q", ush_http_query(request, "q"), "cookie",
			ush_http_cookie(request, "c"), "client", ush_http_client(request)));
}

static void get_picture(struct ush_http_request *request, void *context)
{
	uint64_t number;

	(void)context;
	if (ush_http_param_number(request, "n", 1000, &number))
		ush_http_answer_json(request, 200, json_pack("{s:I}", "n", (json_int_t)number));
}

static void answer_count(struct ush_http_request *request)
{
	const uint32_t status =
		(uint32_t)json_integer_value(json_object_get(ush_http_json(request), "status"));
	char number[24];

	snprintf(number, sizeof(number), "%llu", (unsigned long long)ush_http_key_number(request));
	ush_http_set(request, "X-Key-Number", number);
	ush_http_answer_json(request, status > 0 ? status : 201,
		json_pack("{s:i, s:s}", "count", (int)count, "key",
			ush_http_key_number(request) != 0 ? "yes" : "no"));
}

static void on_late(evutil_socket_t fd, short what, void *context)
{
	(void)fd;
	(void)what;
	answer_count(context);
}

static void post_count(struct ush_http_request *request, void *context)
{
	const json_int_t ms = json_integer_value(json_object_get(ush_http_json(request), "late"));
	const struct timeval time = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};

	(void)context;
	USH_ASSERT(!ended);
	count++;
	if (ms > 0)
		event_base_once(base, -1, EV_TIMEOUT, on_late, request, &time);
	else
		answer_count(request);
}

static void post_raw(struct ush_http_request *request, void *context)
{
	size_t bytes;
	const void *body = ush_http_body(request, &bytes);

	(void)context;
	ush_http_answer(request, 200, "application/octet-stream", body, bytes);
}

static void stream_closed(void *context)
{
	(void)context;
	closed_streams++;
}

static void get_events(struct ush_http_request *request, void *context)
{
	const char *bytes = ush_http_query(request, "bytes");
	const size_t most = bytes != NULL ? strtoul(bytes, NULL, 10) : 5;
	struct ush_http_stream *stream = ush_http_stream_open(request, stream_closed, NULL);
	char *text = malloc(most + 1);

	(void)context;
	USH_ASSERT(text != NULL);
	memset(text, 'x', most);
	ush_http_stream_send(stream, "hello", "7", text, most);
	ush_http_stream_send(stream, "hello", NULL, text, most);
	free(text);
}

static void get_counters(struct ush_http_request *request, void *context)
{
	json_t *counters = ush_http_counters_json(core.http);

	(void)context;
	json_object_set_new(counters, "closed_streams", json_integer(closed_streams));
	json_object_set_new(counters, "count", json_integer(count));
	ush_http_answer_json(request, 200, counters);
}

static const struct ush_http_route routes[] = {{"GET", "/big/{bytes}", get_big, 0, 0},
	{"GET", "/echo/{a}/{b*}", get_echo, 0, 0}, {"GET", "/pic/{n}.png", get_picture, 0, 0},
	{"GET", "/events", get_events, 0, 0}, {"GET", "/counters", get_counters, 0, 0},
	{"POST", "/count", post_count, 0, 1000}, {"POST", "/hook", post_count, USH_HTTP_NO_KEY, 0},
	{"POST", "/raw", post_raw, USH_HTTP_NO_KEY | USH_HTTP_RAW, 0}, {0}};

static void on_signal(evutil_socket_t number, short what, void *context)
{
	(void)number;
	(void)what;
	(void)context;
	event_base_loopbreak(base);
}

int main(int argc, char **argv)
{
	const struct ush_db_step *steps[] = {ush_http_schema, NULL};
	struct ush_idempotency *idempotency = NULL;
	struct ush_message message = {""};
	struct ush_http_config config;
	struct event *stop;
	char port[8];

	USH_ASSERT(argc > 1);
	signal(SIGPIPE, SIG_IGN);
	USH_ASSERT(evthread_use_pthreads() == 0);
	base = event_base_new();
	USH_ASSERT(base != NULL);
	core.base = base;
	ush_http_config_init(&config);
	config.port = 0;
	config.proxies = "127.0.0.1";
	config.send_ms = 1000;
	config.requests_max = 50;
	config.certificate = argc > 3 ? argv[2] : NULL;
	config.key = argc > 3 ? argv[3] : NULL;
	if (ush_http_server_open(&core.http, &config, base, &message) != 0 ||
		ush_db_open(&core.db, argv[1], 2, steps, base, &message) != 0) {
		fprintf(stderr, "http_probe: %s\n", message.text);
		return 1;
	}
	ush_idempotency_open(&idempotency, &core, &message);
	ush_http_filter_add(core.http, who, NULL);
	ush_http_routes_add(core.http, routes, NULL);
	stop = evsignal_new(base, SIGTERM, on_signal, NULL);
	event_add(stop, NULL);
	snprintf(port, sizeof(port), "%u", ush_http_server_port(core.http));
	ush_core_log(USH_CORE_INFO, "probe", "ready", "port", port, NULL);
	event_base_dispatch(base);
	event_free(stop);
	ush_http_server_end(core.http);
	ended = true;
	ush_db_close(core.db);
	ush_idempotency_close(idempotency);
	ush_http_server_close(core.http);
	event_base_free(base);
	return 0;
}
