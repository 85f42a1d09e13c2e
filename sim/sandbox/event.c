/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events, webhook endpoints and deliveries.
 *
 * An event and its deliveries are stored with the change that they tell of. A delivery is signed
 * anew at each attempt (t=SECONDS,v1=HMAC-SHA256 of "SECONDS.BODY") and repeated with doubling
 * pauses until it is answered with 2xx, at least once: a kill between delivery and its mark
 * delivers again. The script of /_sandbox/webhooks duplicates, holds back and reorders.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <event2/buffer.h>
#include <event2/keyvalq_struct.h>
#include <openssl/hmac.h>

#include "sandbox.h"

#define DELIVERIES_MAX 8u
#define DELIVERY_TIMEOUT_S 10
#define RELEASE_GAP_MS 20
#define RETRY_MS_MAX (3600 * 1000)

struct sand_delivery {
	struct sand *sand;
	struct evhttp_connection *connection;
	int64_t seq;
	uint32_t attempts;
};

struct sand_call sand_own_call(struct sand *sand)
{
	struct sand_call call = {.sand = sand, .method = "", .path = "", .form = json_object()};

	return call;
}

/* ret: the script of deliveries; a new reference. */
static json_t *script(struct sand *sand)
{
	char *text = sand_meta_get(sand, "webhooks");
	json_t *found = text != NULL ? json_loads(text, 0, NULL) : json_object();

	free(text);
	USH_ASSERT(found != NULL);
	return found;
}

static bool wants(const json_t *endpoint, const char *type)
{
	const json_t *types = json_object_get(endpoint, "enabled_events"), *one;
	size_t i;

	json_array_foreach(types, i, one)
	{
		const char *name = json_string_value(one);

		if (name != NULL && (strcmp(name, "*") == 0 || strcmp(name, type) == 0))
			return true;
	}
	return false;
}

/* Queues the event for each endpoint that wants it. ret: for how many. */
static uint32_t queue(struct sand *sand, const char *event, const char *type)
{
	json_t *how = script(sand);
	json_int_t copies = 1 + sand_number(how, "duplicate");
	const char *state = sand_true(how, "hold") ? "held" : "pending";
	int64_t due_ms = sand_real_ms() + sand_number(how, "delay_ms");
	sqlite3_stmt *rows =
		sand_sql(sand, "SELECT body FROM objects WHERE kind = 'webhook_endpoint'", "");
	uint32_t count = 0;

	while (sand_step(sand, rows)) {
		json_t *endpoint = json_loads((const char *)sqlite3_column_text(rows, 0), 0, NULL);

		if (wants(endpoint, type) && !sand_true(endpoint, "deleted")) {
			count++;
			for (json_int_t i = 0; i < copies; i++)
				sand_run(sand,
					"INSERT INTO deliveries(event, endpoint, attempts, due_ms,"
					" state, status) VALUES(?, ?, 0, ?, ?, 0)",
					"ttit", event, sand_text(endpoint, "id"), due_ms, state);
		}
		json_decref(endpoint);
	}
	json_decref(how);
	return count;
}

void sand_emit(struct sand_call *call, const char *type, const json_t *object)
{
	char id[SAND_ID_BYTES];
	json_t *event;

	sand_id(id, "evt_");
	event = json_pack("{s:s, s:s, s:s, s:I, s:{s:o}, s:b, s:i, s:{s:s?, s:s?}, s:s}", "id", id,
		"object", "event", "api_version", "2024-06-20", "created",
		(json_int_t)sand_now(call->sand), "data", "object", json_deep_copy(object),
		"livemode", 0, "pending_webhooks", (int)queue(call->sand, id, type), "request",
		"id", call->id[0] != '\0' ? call->id : NULL, "idempotency_key", call->key, "type",
		type);
	USH_ASSERT(event != NULL);
	sand_put(call->sand, event, 0);
	json_decref(event);
}

/* Marks a delivery after an attempt. in: status: of the answer, 0 for none. */
static void mark(struct sand *sand, int64_t seq, uint32_t attempts, int status)
{
	int64_t pause_ms = sand->retry_ms;
	const char *state = "pending";

	if (status >= 200 && status < 300)
		state = "delivered";
	else if (attempts >= sand->attempts_max)
		state = "failed";
	for (uint32_t i = 1; i < attempts && pause_ms < RETRY_MS_MAX; i++)
		pause_ms *= 2;
	sand_run(sand,
		"UPDATE deliveries SET attempts = ?, due_ms = ?, state = ?, status = ?"
		" WHERE seq = ?",
		"iitii", (int64_t)attempts, sand_real_ms() + pause_ms, state, (int64_t)status, seq);
}

static void free_connection(evutil_socket_t fd, short what, void *context)
{
	(void)fd;
	(void)what;
	evhttp_connection_free(context);
}

static void on_answer(struct evhttp_request *request, void *context)
{
	const struct timeval at_once = {0};
	struct sand_delivery *delivery = context;
	struct sand *sand = delivery->sand;
	int status = request != NULL ? evhttp_request_get_response_code(request) : 0;

	sand_begin(sand);
	mark(sand, delivery->seq, delivery->attempts, status);
	sand_commit(sand);
	sand_log("info", "webhook",
		json_pack("{s:I, s:i, s:i}", "delivery", (json_int_t)delivery->seq, "attempt",
			(int)delivery->attempts, "status", status));
	sand->deliveries--;
	/* Not here: its caller still uses it. */
	event_base_once(
		sand->base, -1, EV_TIMEOUT, free_connection, delivery->connection, &at_once);
	free(delivery);
}

static void sign(const struct sand *sand, const char *body, char header[160])
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned int bytes;
	size_t size = strlen(body) + 32;
	char *text = malloc(size);
	int length;

	USH_ASSERT(text != NULL);
	length = snprintf(text, size, "%lld.%s", (long long)(sand_real_ms() / 1000), body);
	HMAC(EVP_sha256(), sand->webhook_secret, (int)strlen(sand->webhook_secret),
		(const unsigned char *)text, (size_t)length, digest, &bytes);
	length = snprintf(header, 160, "t=%.*s,v1=", (int)(strchr(text, '.') - text), text);
	for (unsigned int i = 0; i < bytes; i++)
		length += snprintf(header + length, 160 - (size_t)length, "%02x", digest[i]);
	free(text);
}

static bool send_request(struct sand_delivery *delivery, const char *url, const char *body)
{
	struct sand *sand = delivery->sand;
	struct evhttp_uri *uri = evhttp_uri_parse(url);
	struct evhttp_request *request;
	struct evkeyvalq *headers;
	char header[160], host[300], target[500];
	const char *name, *path, *query;
	int port;

	if (uri == NULL)
		return false;
	name = evhttp_uri_get_host(uri);
	path = evhttp_uri_get_path(uri);
	query = evhttp_uri_get_query(uri);
	port = evhttp_uri_get_port(uri) > 0 ? evhttp_uri_get_port(uri) : 80;
	snprintf(host, sizeof(host), "%s:%d", name, port);
	snprintf(target, sizeof(target), "%s%s%s", path[0] != '\0' ? path : "/",
		query != NULL ? "?" : "", query != NULL ? query : "");
	delivery->connection =
		evhttp_connection_base_new(sand->base, NULL, name, (unsigned short)port);
	evhttp_uri_free(uri);
	if (delivery->connection == NULL)
		return false;
	evhttp_connection_set_timeout(delivery->connection, DELIVERY_TIMEOUT_S);
	request = evhttp_request_new(on_answer, delivery);
	USH_ASSERT(request != NULL);
	headers = evhttp_request_get_output_headers(request);
	sign(sand, body, header);
	evhttp_add_header(headers, "Host", host);
	evhttp_add_header(headers, "Content-Type", "application/json; charset=utf-8");
	evhttp_add_header(headers, "User-Agent", "usher-sandbox");
	evhttp_add_header(headers, "Stripe-Signature", header);
	evhttp_add_header(headers, "Connection", "close");
	evbuffer_add(evhttp_request_get_output_buffer(request), body, strlen(body));
	if (evhttp_make_request(delivery->connection, request, EVHTTP_REQ_POST, target) != 0) {
		evhttp_connection_free(delivery->connection);
		return false;
	}
	return true;
}

/* One attempt. It is out of the queue until it is answered or the process begins anew. */
static void attempt(struct sand *sand, int64_t seq, const char *event_id, const char *endpoint_id,
	uint32_t attempts)
{
	json_t *event = sand_get(sand, "event", event_id);
	json_t *endpoint = sand_get(sand, "webhook_endpoint", endpoint_id);
	struct sand_delivery *delivery = calloc(1, sizeof(*delivery));
	char *body = json_dumps(event, JSON_COMPACT);

	USH_ASSERT(delivery != NULL);
	USH_ASSERT(body != NULL);
	delivery->sand = sand;
	delivery->seq = seq;
	delivery->attempts = attempts + 1;
	sand_run(sand, "UPDATE deliveries SET due_ms = ? WHERE seq = ?", "ii",
		sand_real_ms() + 3 * DELIVERY_TIMEOUT_S * 1000, seq);
	if (sand_true(endpoint, "deleted")) {
		sand_run(sand, "UPDATE deliveries SET state = 'failed' WHERE seq = ?", "i", seq);
		free(delivery);
	} else if (send_request(delivery, sand_text(endpoint, "url"), body)) {
		sand->deliveries++;
	} else {
		mark(sand, seq, delivery->attempts, 0);
		free(delivery);
	}
	free(body);
	json_decref(event);
	json_decref(endpoint);
}

void sand_deliver(struct sand *sand)
{
	struct {
		int64_t seq;
		uint32_t attempts;
		char event[SAND_ID_BYTES], endpoint[SAND_ID_BYTES];
	} due[DELIVERIES_MAX];
	uint32_t count = 0;
	sqlite3_stmt *rows;

	if (sand->stopping || sand->deliveries >= DELIVERIES_MAX)
		return;
	rows = sand_sql(sand,
		"SELECT seq, attempts, event, endpoint FROM deliveries WHERE state = 'pending' AND"
		" due_ms <= ? ORDER BY due_ms, seq LIMIT ?",
		"ii", sand_real_ms(), (int64_t)(DELIVERIES_MAX - sand->deliveries));
	while (sand_step(sand, rows)) {
		USH_ASSERT(count < DELIVERIES_MAX);
		due[count].seq = sqlite3_column_int64(rows, 0);
		due[count].attempts = (uint32_t)sqlite3_column_int(rows, 1);
		snprintf(due[count].event, SAND_ID_BYTES, "%s", sqlite3_column_text(rows, 2));
		snprintf(due[count].endpoint, SAND_ID_BYTES, "%s", sqlite3_column_text(rows, 3));
		count++;
	}
	for (uint32_t i = 0; i < count; i++)
		attempt(sand, due[i].seq, due[i].event, due[i].endpoint, due[i].attempts);
}

static json_t *endpoint_make(struct sand *sand, const char *url, json_t *types)
{
	char id[SAND_ID_BYTES];
	json_t *endpoint;

	sand_id(id, "we_");
	endpoint = json_pack("{s:s, s:s, s:I, s:o, s:b, s:s, s:s}", "id", id, "object",
		"webhook_endpoint", "created", (json_int_t)sand_now(sand), "enabled_events", types,
		"livemode", 0, "status", "enabled", "url", url);
	USH_ASSERT(endpoint != NULL);
	sand_put(sand, endpoint, 0);
	return endpoint;
}

void sand_endpoint_ensure(struct sand *sand, const char *url)
{
	sqlite3_stmt *found = sand_sql(sand,
		"SELECT 1 FROM objects WHERE kind = 'webhook_endpoint' AND"
		" json_extract(body, '$.url') = ? AND json_extract(body, '$.deleted') IS NULL",
		"t", url);
	bool there = false;

	while (sand_step(sand, found))
		there = true;
	if (!there)
		json_decref(endpoint_make(sand, url, json_pack("[s]", "*")));
}

static void endpoint_create(struct sand_call *call)
{
	static const char *const known[] = {"enabled_events", "url", "description", NULL};
	json_t *types = json_object_get(call->form, "enabled_events"), *endpoint;
	const char *url;

	if (!sand_form_known(call, known) || !sand_form_text(call, "url", true, &url))
		return;
	if (strncmp(url, "http://", 7) != 0 || strlen(url) > 400) {
		sand_fail(call, 400, "invalid_request_error", "url_invalid", "url",
			"Invalid URL: the sandbox delivers over http:// only");
		return;
	}
	if (!json_is_array(types)) {
		sand_fail(call, 400, "invalid_request_error", "parameter_missing", "enabled_events",
			"Missing required param: enabled_events.");
		return;
	}
	call->begun = true;
	endpoint = endpoint_make(call->sand, url, json_deep_copy(types));
	/* Said once, as Stripe does; the sandbox signs for all endpoints with one secret. */
	sand_set_text(endpoint, "secret", call->sand->webhook_secret);
	sand_answer(call, 200, endpoint);
}

void sand_endpoints(struct sand_call *call)
{
	json_t *endpoint;

	if (call->parts == 2) {
		if (strcmp(call->method, "POST") == 0)
			endpoint_create(call);
		else
			sand_list(call, "webhook_endpoint", NULL, NULL);
		return;
	}
	endpoint = sand_need(call, "webhook_endpoint", call->part[2], NULL);
	if (endpoint == NULL)
		return;
	if (strcmp(call->method, "DELETE") == 0) {
		json_object_set_new(endpoint, "deleted", json_true());
		sand_put(call->sand, endpoint, 0);
	}
	sand_answer(call, 200, endpoint);
}

/* Lets go what was held back, in the order that the script says. */
static void release(struct sand *sand, const char *order)
{
	sqlite3_stmt *rows =
		sand_sql(sand, "SELECT seq FROM deliveries WHERE state = 'held' ORDER BY seq", "");
	int64_t *held = NULL, now_ms = sand_real_ms();
	size_t count = 0;

	while (sand_step(sand, rows)) {
		held = realloc(held, (count + 1) * sizeof(held[0]));
		USH_ASSERT(held != NULL);
		held[count++] = sqlite3_column_int64(rows, 0);
	}
	for (size_t i = 0; i < count; i++) {
		size_t with = i;

		if (strcmp(order, "reverse") == 0)
			with = i < count / 2 ? count - 1 - i : i;
		else if (strcmp(order, "shuffle") == 0)
			with = i + (size_t)ush_random_below(&sand->chance, count - i);
		if (with != i) {
			int64_t other = held[with];

			held[with] = held[i];
			held[i] = other;
		}
	}
	for (size_t i = 0; i < count; i++)
		sand_run(sand, "UPDATE deliveries SET state = 'pending', due_ms = ? WHERE seq = ?",
			"ii", now_ms + (int64_t)i * RELEASE_GAP_MS, held[i]);
	free(held);
}

void sand_webhooks_script(struct sand_call *call)
{
	const char *order = "asis";
	json_int_t duplicate = 0, delay_ms = 0;
	int hold = 0; /* jansson writes an int */
	json_t *how;
	char *text;

	if (strcmp(call->method, "POST") == 0) {
		if (json_unpack(call->form, "{s?I, s?I, s?b, s?s !}", "duplicate", &duplicate,
			    "delay_ms", &delay_ms, "hold", &hold, "order", &order) != 0 ||
			duplicate < 0 || duplicate > 10 || delay_ms < 0 || delay_ms > 3600000 ||
			(strcmp(order, "asis") != 0 && strcmp(order, "reverse") != 0 &&
				strcmp(order, "shuffle") != 0)) {
			sand_fail(call, 400, "invalid_request_error", NULL, NULL,
				"wanted: duplicate 0 to 10, delay_ms 0 to 3600000, hold true or "
				"false, order asis, reverse or shuffle");
			return;
		}
		how = json_pack("{s:I, s:I, s:b, s:s}", "duplicate", duplicate, "delay_ms",
			delay_ms, "hold", hold, "order", order);
		text = json_dumps(how, JSON_COMPACT);
		sand_meta_set(call->sand, "webhooks", text);
		free(text);
		json_decref(how);
		if (!hold)
			release(call->sand, order);
	}
	sand_answer(call, 200, script(call->sand));
}
