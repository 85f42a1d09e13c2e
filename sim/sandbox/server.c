/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests: authenticate, read the parameters, look for the idempotency key, carry out, keep the
 * answer, commit, answer. Scripted failures strike before or after the carrying out.
 *
 * What waits for its scripted delay holds its key: another request under it meets 409 meanwhile.
 */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include <event2/buffer.h>
#include <event2/keyvalq_struct.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>

#include "sandbox.h"

#define BODY_MAX (256 * 1024)
#define HEADERS_MAX (16 * 1024)
#define IDLE_S 60
#define FLUSH_MS 50

struct sand_exchange {
	struct sand_exchange *next;
	struct sand_call call;
	struct sand_fault fault;
	struct evhttp_request *request;
	char *path;
	char *cut; /* the path, cut into parts */
	char *key;
	int64_t begun_ms;
	struct event *timer;
};

static const char *method_of(struct evhttp_request *request)
{
	switch (evhttp_request_get_command(request)) {
	case EVHTTP_REQ_GET:
		return "GET";
	case EVHTTP_REQ_POST:
		return "POST";
	default:
		return "DELETE";
	}
}

static bool same(const char *a, const char *b)
{
	return strlen(a) == strlen(b) && CRYPTO_memcmp(a, b, strlen(a)) == 0;
}

/* out: key: of `Bearer KEY` or of Basic with the key as its user. */
static void key_of(const char *header, char key[256])
{
	unsigned char text[256];
	int length;

	key[0] = '\0';
	if (header == NULL)
		return;
	if (strncasecmp(header, "Bearer ", 7) == 0) {
		snprintf(key, 256, "%s", header + 7);
	} else if (strncasecmp(header, "Basic ", 6) == 0 && strlen(header + 6) < 300) {
		char block[304];

		snprintf(block, sizeof(block), "%s", header + 6);
		if (strlen(block) / 4 * 3 >= sizeof(text))
			return;
		length = EVP_DecodeBlock(text, (const unsigned char *)block, (int)strlen(block));
		if (length <= 0)
			return;
		text[length] = '\0';
		snprintf(key, 256, "%.*s", (int)strcspn((char *)text, ":"), (char *)text);
	}
}

static bool authenticated(struct sand_call *call, struct evhttp_request *request)
{
	char key[256];
	bool page = call->parts == 3 && strcmp(call->part[0], "_sandbox") == 0 &&
		    strcmp(call->part[1], "authenticate") == 0;

	if (page || strcmp(call->path, "/_sandbox/health") == 0)
		return true;
	key_of(evhttp_find_header(evhttp_request_get_input_headers(request), "Authorization"), key);
	if (same(key, call->sand->secret_key))
		return true;
	call->is_public = same(key, call->sand->public_key);
	if (call->is_public && call->parts > 2 && strcmp(call->part[1], "payment_intents") == 0)
		return true;
	sand_fail(call, 401, "invalid_request_error", NULL, NULL, "%s",
		key[0] == '\0' ? "You did not provide an API key." : "Invalid API Key provided.");
	return false;
}

/* ret: false after an error was answered. */
static bool read_form(struct sand_call *call, struct evhttp_request *request, const char *query)
{
	struct evbuffer *body = evhttp_request_get_input_buffer(request);
	size_t bytes = evbuffer_get_length(body);
	const char *text = bytes > 0 ? (const char *)evbuffer_pullup(body, -1) : "";
	bool page = call->parts == 3 && strcmp(call->part[1], "authenticate") == 0;
	struct ush_message message;
	json_t *form = NULL, *more;
	json_error_t error;

	if (bytes > 0 && !page && strcmp(call->part[0], "_sandbox") == 0) {
		form = json_loadb(text, bytes, JSON_REJECT_DUPLICATES, &error);
		ush_message_set(&message, "%s", error.text);
		if (json_is_array(form) && strcmp(call->part[1], "faults") != 0) {
			json_decref(form);
			form = NULL;
		}
	} else {
		form = sand_form_parse(text, bytes, &message);
	}
	more = query != NULL ? sand_form_parse(query, strlen(query), &message) : json_object();
	if (form == NULL || more == NULL) {
		json_decref(form);
		json_decref(more);
		sand_fail(call, 400, "invalid_request_error", NULL, NULL, "%s", message.text);
		return false;
	}
	if (json_is_object(form))
		json_object_update(form, more);
	json_decref(more);
	json_decref(call->form);
	call->form = form;
	return true;
}

static void cut_path(struct sand_exchange *exchange)
{
	struct sand_call *call = &exchange->call;
	char *rest = NULL, *part;

	exchange->cut = strdup(exchange->path);
	USH_ASSERT(exchange->cut != NULL);
	for (part = strtok_r(exchange->cut, "/", &rest); part != NULL;
		part = strtok_r(NULL, "/", &rest)) {
		if (call->parts == SAND_PARTS_MAX) {
			call->parts = 0;
			return;
		}
		call->part[call->parts++] = part;
	}
}

static void read_only(struct sand_call *call, const char *kind, const char *filter)
{
	const char *value;
	json_t *object;

	if (strcmp(call->method, "GET") != 0)
		return;
	if (call->parts == 3) {
		object = sand_need(call, kind, call->part[2], NULL);
		if (object != NULL)
			sand_answer(call, 200, object);
	} else if (call->parts == 2 && sand_form_text(call, filter, false, &value)) {
		sand_list(call, kind, filter, value);
	}
}

static void charges(struct sand_call *call)
{
	read_only(call, "charge", "payment_intent");
}

static void events(struct sand_call *call)
{
	read_only(call, "event", "type");
}

static void disputes(struct sand_call *call)
{
	json_t *dispute;

	if (call->parts != 4 || strcmp(call->method, "POST") != 0 ||
		strcmp(call->part[3], "close") != 0) {
		read_only(call, "dispute", "payment_intent");
		return;
	}
	dispute = sand_need(call, "dispute", call->part[2], NULL);
	if (dispute == NULL)
		return;
	call->begun = true;
	if (strcmp(sand_text(dispute, "status"), "needs_response") != 0) {
		sand_fail(call, 400, "invalid_request_error", NULL, NULL,
			"This dispute is already closed.");
		json_decref(dispute);
		return;
	}
	sand_dispute_close(call, dispute, false);
	sand_answer(call, 200, dispute);
}

static void payment_methods(struct sand_call *call)
{
	const struct sand_card *card;

	if (call->parts != 3 || strcmp(call->method, "GET") != 0)
		return;
	card = sand_card_find(call->part[2]);
	if (card != NULL)
		sand_answer(call, 200, sand_card_method(card, sand_now(call->sand)));
	else
		sand_fail(call, 404, "invalid_request_error", "resource_missing", "id",
			"No such PaymentMethod: '%.60s'", call->part[2]);
}

void sand_route(struct sand_call *call)
{
	static const struct {
		const char *name;
		void (*run)(struct sand_call *call);
	} routes[] = {{"payment_intents", sand_intents}, {"refunds", sand_refunds},
		{"charges", charges}, {"disputes", disputes}, {"events", events},
		{"webhook_endpoints", sand_endpoints}, {"payment_methods", payment_methods}};

	if (call->parts >= 2 && strcmp(call->part[0], "_sandbox") == 0) {
		sand_control(call);
	} else if (call->parts >= 2 && strcmp(call->part[0], "v1") == 0 &&
		   sand_expand_known(call)) {
		for (uint32_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++)
			if (strcmp(routes[i].name, call->part[1]) == 0)
				routes[i].run(call);
		if (call->answer != NULL && call->status == 200)
			sand_expand(call, call->answer);
	}
	if (call->status == 0)
		sand_fail(call, 404, "invalid_request_error", NULL, NULL,
			"Unrecognized request URL (%s: %.200s).", call->method, call->path);
}

bool sand_key_running(const struct sand_call *call)
{
	for (const struct sand_exchange *one = call->sand->running; one != NULL; one = one->next)
		if (&one->call != call && one->call.key != NULL &&
			strcmp(one->call.key, call->key) == 0)
			return true;
	return false;
}

static void end_if_drained(struct sand *sand)
{
	const struct timeval flush = {.tv_usec = FLUSH_MS * 1000};

	if (sand->stopping && sand->waiting == 0)
		event_base_loopexit(sand->base, &flush);
}

static void free_exchange(struct sand_exchange *exchange)
{
	struct sand_call *call = &exchange->call;

	json_decref(call->form);
	json_decref(call->answer);
	free(call->page);
	free(call->location);
	free(exchange->path);
	free(exchange->cut);
	free(exchange->key);
	if (exchange->timer != NULL)
		event_free(exchange->timer);
	free(exchange);
}

static void log_request(const struct sand_exchange *exchange, bool dropped)
{
	const struct sand_call *call = &exchange->call;

	sand_log("info", "request",
		json_pack("{s:s, s:s, s:s, s:i, s:I, s:b, s:b}", "request", call->id, "method",
			call->method, "path", call->path, "status", dropped ? 0 : call->status,
			"ms", (json_int_t)(sand_real_ms() - exchange->begun_ms), "replayed",
			call->replayed, "dropped", dropped));
}

/* Ends the connection without an answer. */
static void drop(struct sand_exchange *exchange)
{
	struct evhttp_connection *connection = evhttp_request_get_connection(exchange->request);

	log_request(exchange, true);
	if (connection != NULL)
		evhttp_connection_free(connection);
	else
		evhttp_request_free(exchange->request);
	free_exchange(exchange);
}

static void respond(struct sand_exchange *exchange)
{
	struct sand_call *call = &exchange->call;
	struct evkeyvalq *headers = evhttp_request_get_output_headers(exchange->request);
	struct evbuffer *body = evbuffer_new();
	char *text = call->answer != NULL ? json_dumps(call->answer, JSON_INDENT(2)) : NULL;

	USH_ASSERT(body != NULL);
	if (call->page != NULL)
		evbuffer_add(body, call->page, strlen(call->page));
	else if (text != NULL)
		evbuffer_add_printf(body, "%s\n", text);
	evhttp_add_header(headers, "Content-Type",
		call->page != NULL ? "text/html; charset=utf-8" : "application/json");
	evhttp_add_header(headers, "Cache-Control", "no-cache, no-store");
	evhttp_add_header(headers, "Request-Id", call->id);
	if (call->key != NULL)
		evhttp_add_header(headers, "Idempotency-Key", call->key);
	if (call->replayed)
		evhttp_add_header(headers, "Idempotent-Replayed", "true");
	if (call->location != NULL)
		evhttp_add_header(headers, "Location", call->location);
	log_request(exchange, false);
	evhttp_send_reply(exchange->request, call->status, NULL, body);
	evbuffer_free(body);
	free(text);
	free_exchange(exchange);
}

/* Carries out within a transaction that is open. */
static void carry_out(struct sand_exchange *exchange)
{
	struct sand_call *call = &exchange->call;
	bool error = exchange->fault.kind == SAND_ERROR;

	if (!error || !exchange->fault.before)
		sand_route(call);
	if (error) {
		call->begun = true;
		sand_fail(call, exchange->fault.status, "api_error", NULL, NULL,
			"An error was scripted for this request.");
	}
	if (call->key != NULL && call->begun)
		sand_key_save(call);
}

static void finish(struct sand_exchange *exchange)
{
	if (exchange->fault.kind == SAND_DROP)
		drop(exchange);
	else
		respond(exchange);
}

static void on_late(evutil_socket_t fd, short what, void *context)
{
	struct sand_exchange *exchange = context, **at;
	struct sand *sand = exchange->call.sand;

	(void)fd;
	(void)what;
	for (at = &sand->running; *at != NULL && *at != exchange; at = &(*at)->next)
		continue;
	if (*at == exchange) {
		*at = exchange->next;
		sand_begin(sand);
		carry_out(exchange);
		sand_commit(sand);
	}
	sand->waiting--;
	finish(exchange);
	end_if_drained(sand);
}

static void finish_later(struct sand_exchange *exchange)
{
	struct sand *sand = exchange->call.sand;
	const struct timeval delay = {
		.tv_sec = exchange->fault.ms / 1000, .tv_usec = exchange->fault.ms % 1000 * 1000};

	sand->waiting++;
	exchange->timer = evtimer_new(sand->base, on_late, exchange);
	USH_ASSERT(exchange->timer != NULL);
	evtimer_add(exchange->timer, &delay);
}

static void serve(struct sand_exchange *exchange)
{
	struct sand_call *call = &exchange->call;
	struct sand *sand = call->sand;
	bool control = strcmp(call->part[0], "_sandbox") == 0, later;

	sand_begin(sand);
	if (!control)
		exchange->fault = sand_fault_take(call);
	later = exchange->fault.kind == SAND_DELAY || exchange->fault.kind == SAND_DROP;
	if (exchange->fault.kind == SAND_RATE_LIMIT) {
		sand_fail(call, 429, "invalid_request_error", "rate_limit", NULL,
			"Too many requests hit the API too quickly.");
	} else if (exchange->fault.kind == SAND_DROP && exchange->fault.before) {
		call->status = 0;
	} else if (!sand_key_known(call)) {
		if (exchange->fault.kind == SAND_DELAY && exchange->fault.before) {
			exchange->next = sand->running;
			sand->running = exchange;
		} else {
			carry_out(exchange);
		}
	}
	sand_commit(sand);
	/* A connection is not ended within the callback of its own request. */
	if (later)
		finish_later(exchange);
	else
		finish(exchange);
}

static void on_request(struct evhttp_request *request, void *context)
{
	const struct evhttp_uri *uri = evhttp_request_get_evhttp_uri(request);
	struct evkeyvalq *headers = evhttp_request_get_input_headers(request);
	struct sand_exchange *exchange = calloc(1, sizeof(*exchange));
	struct sand_call *call;
	const char *key;

	USH_ASSERT(exchange != NULL);
	call = &exchange->call;
	*call = sand_own_call(context);
	exchange->request = request;
	exchange->begun_ms = sand_real_ms();
	exchange->path = strdup(evhttp_uri_get_path(uri));
	USH_ASSERT(exchange->path != NULL);
	sand_id(call->id, "req_");
	call->method = method_of(request);
	call->path = exchange->path;
	cut_path(exchange);
	if (call->parts < 2) {
		sand_route(call);
		respond(exchange);
		return;
	}
	key = evhttp_find_header(headers, "Idempotency-Key");
	if (key != NULL && strcmp(call->method, "POST") == 0 && strcmp(call->part[0], "v1") == 0) {
		exchange->key = strdup(key);
		call->key = exchange->key;
	}
	if (authenticated(call, request) && read_form(call, request, evhttp_uri_get_query(uri)))
		serve(exchange);
	else
		respond(exchange);
}

int sand_server_open(struct sand *sand, const char *address, uint16_t port, uint16_t *bound,
	struct ush_message *message)
{
	struct evhttp_bound_socket *socket;
	struct sockaddr_storage name;
	socklen_t bytes = sizeof(name);
	const int on = 1;
	int fd;

	sand->http = evhttp_new(sand->base);
	USH_ASSERT(sand->http != NULL);
	evhttp_set_allowed_methods(
		sand->http, EVHTTP_REQ_GET | EVHTTP_REQ_POST | EVHTTP_REQ_DELETE);
	evhttp_set_max_body_size(sand->http, BODY_MAX);
	evhttp_set_max_headers_size(sand->http, HEADERS_MAX);
	evhttp_set_timeout(sand->http, IDLE_S);
	evhttp_set_gencb(sand->http, on_request, sand);
	socket = evhttp_bind_socket_with_handle(sand->http, address, port);
	if (socket == NULL) {
		ush_message_set(message, "cannot listen on %s:%u", address, port);
		return -USH_ESYSTEM;
	}
	fd = evhttp_bound_socket_get_fd(socket);
	/* Accepted connections inherit it. */
	if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) != 0 ||
		getsockname(fd, (struct sockaddr *)&name, &bytes) != 0) {
		ush_message_set(message, "cannot set up the socket of %s:%u", address, port);
		return -USH_ESYSTEM;
	}
	*bound = ntohs(name.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&name)->sin6_port
						  : ((struct sockaddr_in *)&name)->sin_port);
	return 0;
}

void sand_server_drain(struct sand *sand)
{
	sand->stopping = true;
	end_if_drained(sand);
}
