/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/1.1 over libevent's bufferevents: strict framing, limits, routes, answers, streams.
 *
 * Owns:  the listeners, the connections, every request until it was answered.
 * Reads: certificate and key files.
 * Never: what a request means; databases, seats, money.
 *
 * All of it belongs to the thread of the event loop. A handler may answer at once or later; a
 * request that was handed to a handler lives until exactly one of the ush_http_answer functions was
 * called, also when its client has gone (then the answer goes nowhere).
 */
#ifndef USH_HTTP_SERVER_H
#define USH_HTTP_SERVER_H

#include <jansson.h>

#include "base/base.h"
#include "http/framing.h"

struct event_base;
struct ush_http_server;
struct ush_http_request;
struct ush_http_stream;

/* ---- the server ---- */

struct ush_http_config {
	const char *address; /* numeric; "127.0.0.1" unless nginx is elsewhere */
	uint16_t port;       /* 0: any; see ush_http_server_port */
	/* Both or neither: TLS 1.2 and later. Files, PEM; the key must not be readable by others.
	 */
	const char *certificate;
	const char *key;
	/* Name under which browsers see us, with scheme and without a slash at the end: for links,
	 * cookies (Secure if https), and the check of Origin. */
	const char *origin;
	/* Addresses of proxies whose X-Forwarded-For is believed: comma-separated, numeric. NULL:
	 * none. */
	const char *proxies;
	uint32_t connections_max; /* beyond: closed at once, counted */
	uint32_t requests_max;    /* under way; beyond: 503 with Retry-After */
	uint32_t head_bytes_max;  /* 431 */
	uint32_t body_bytes_max;  /* 413; a route may allow less, never more */
	uint32_t head_ms;         /* from the first byte of a head to its last: absolute */
	uint32_t body_ms;         /* the same for a body */
	uint32_t idle_ms;         /* between requests of a connection */
	uint32_t send_ms; /* a client that takes nothing of an answer for so long is closed */
	uint32_t queued_bytes_max; /* of one connection's output; a stream beyond it is closed */
};

/* Defaults of everything; the caller changes what it knows better. */
void ush_http_config_init(struct ush_http_config *config);

/* Listens; serves as soon as the loop runs. ret: 0; err: -USH_EINVAL, -USH_EACCES, -USH_ESYSTEM
 * with a message. config is copied. */
int ush_http_server_open(struct ush_http_server **server, const struct ush_http_config *config,
	struct event_base *base, struct ush_message *message);
/* ret: the port it listens on. */
uint16_t ush_http_server_port(const struct ush_http_server *server);
/* Takes no more connections and requests; what is under way may be answered. */
void ush_http_server_drain(struct ush_http_server *server);
/* ret: requests under way and streams open. */
uint32_t ush_http_server_busy(const struct ush_http_server *server);
/* Closes all connections; requests may still be answered, to nobody, but no filter and no handler
 * runs any more. Streams' `closed` are called: while the modules that opened them are still there.
 */
void ush_http_server_end(struct ush_http_server *server);
/* After the modules: drops what was never answered. */
void ush_http_server_close(struct ush_http_server *server);

/* ---- routes ---- */

enum ush_http_flag {
	/* POST that needs no Idempotency-Key (webhooks, sign-in): all others answer 400 without
	 * one. */
	USH_HTTP_NO_KEY = 1,
	/* Not JSON: the body is handed over as it is. Otherwise Content-Type must be
	 * application/json (415), the body an object (400), and ush_http_json gives it. */
	USH_HTTP_RAW = 2,
	/* Comes with a cookie from a browser: Origin, and the CSRF token in the header
	 * X-CSRF-Token, are checked by the module that owns sessions. */
	USH_HTTP_NO_CSRF = 4,
};

typedef void ush_http_handler(struct ush_http_request *request, void *context);

struct ush_http_route {
	const char *method; /* "GET" serves HEAD, too */
	/* "/v1/events/{event}/seats": a parameter is one part of the path, and never empty; it may
	 * have an ending, "{ticket}.png"; "{rest*}" at the end takes all that follows. */
	const char *path;
	ush_http_handler *handle;
	uint32_t flags;          /* enum ush_http_flag */
	uint32_t body_bytes_max; /* 0: the server's */
};

/* Adds routes; `routes` ends with method NULL and outlives the server. Two that could match the
 * same path are a bug. A path that is known with another method answers 405 with Allow. */
void ush_http_routes_add(
	struct ush_http_server *server, const struct ush_http_route *routes, void *context);

/* Calls `each` with every route. */
void ush_http_routes_each(const struct ush_http_server *server,
	void (*each)(void *context, const struct ush_http_route *route), void *context);

/*
 * Runs before each handler (after framing and routing, before the idempotency key is looked at), in
 * the order added: sessions, API keys, rate limits. ret: true to go on; false: it has answered.
 */
typedef bool ush_http_filter(struct ush_http_request *request, void *context);
void ush_http_filter_add(struct ush_http_server *server, ush_http_filter *filter, void *context);
/* A filter that has to ask elsewhere first returns false without an answer and calls this later,
 * once: the filters behind it and the handler run. by: the loop; not from within the filter. */
void ush_http_filter_resume(struct ush_http_request *request);

/*
 * Where idempotent answers are kept (http/idempotency.c over db/, installed by the daemon). `begin`
 * looks the key of a POST up; it calls exactly one of the ush_http_key functions, now or later.
 * `end` keeps the first answer and calls `done` when that is durable: only then does it leave.
 */
struct ush_http_keys {
	void (*begin)(void *context, struct ush_http_request *request, const char *account,
		const char *key, const uint8_t fingerprint[32]);
	void (*end)(void *context, struct ush_http_request *request, const char *account,
		const char *key, uint32_t status, const char *type, const void *body, size_t bytes,
		void (*done)(struct ush_http_request *request));
	void *context;
};
void ush_http_keys_set(struct ush_http_server *server, const struct ush_http_keys *keys);
void ush_http_key_new(struct ush_http_request *request);      /* runs the handler */
void ush_http_key_running(struct ush_http_request *request);  /* 409 */
void ush_http_key_mismatch(struct ush_http_request *request); /* 422 */
/* ret: a number of account, Idempotency-Key and the request as a repeat has it (method, path,
 * query, body), the same for each repeat: for request ids that must be the same when a handler runs
 * again after a crash. 0: the request has no key. */
uint64_t ush_http_key_number(const struct ush_http_request *request);
void ush_http_key_replay(struct ush_http_request *request, uint32_t status, const char *type,
	const void *body, size_t bytes);

/* ---- requests ---- */

/* Strings live as long as the request, and until the handler that answered it returns to the loop.
 * NULL: there is none. */
const char *ush_http_method(const struct ush_http_request *request);
const char *ush_http_path(const struct ush_http_request *request);
/* A parameter of the route, percent-decoded. */
const char *ush_http_param(const struct ush_http_request *request, const char *name);
/* ret: true and *value if the parameter is a decimal number up to `most`; otherwise it has answered
 * 404. */
bool ush_http_param_number(
	struct ush_http_request *request, const char *name, uint64_t most, uint64_t *value);
/* Of the query string, percent-decoded; the first of that name. */
const char *ush_http_query(const struct ush_http_request *request, const char *name);
/* ret: the value of the query string's pair `at`, from 0, and *name; NULL: there are no more. */
const char *ush_http_query_at(
	const struct ush_http_request *request, uint32_t at, const char **name);
const char *ush_http_header(const struct ush_http_request *request, const char *name);
const char *ush_http_cookie(const struct ush_http_request *request, const char *name);
const void *ush_http_body(const struct ush_http_request *request, size_t *bytes);
/* The body of a route without USH_HTTP_RAW: an object, borrowed. */
json_t *ush_http_json(const struct ush_http_request *request);
/* The client's address behind believed proxies, numeric. Personal data: never logged as it is. */
const char *ush_http_client(const struct ush_http_request *request);
/* 16 hexadecimal digits, in the answer as X-Request-Id and in every line of the log about it. */
const char *ush_http_id(const struct ush_http_request *request);
const char *ush_http_origin(const struct ush_http_request *request); /* config.origin */

/* ret: the flags of its route (enum ush_http_flag). by: filters. */
uint32_t ush_http_flags(const struct ush_http_request *request);

/* Who asks: set by the filter that knows, looked at by handlers. Freed with `release` when the
 * request ends. */
void ush_http_who_set(struct ush_http_request *request, const char *account, void *who,
	void (*release)(void *who));
void *ush_http_who(const struct ush_http_request *request);
/* ret: the account that idempotency keys belong to; "" for nobody. */
const char *ush_http_account(const struct ush_http_request *request);

/* ---- answers ---- */

/* A header of the answer to come, before it is given. Names and values are copied. */
void ush_http_set(struct ush_http_request *request, const char *name, const char *value);
/* JSON; takes the reference. Gzipped if the client takes it and it is worth it; GET answers of
 * status 200 get an ETag over the body and answer 304 to If-None-Match. */
void ush_http_answer_json(struct ush_http_request *request, uint32_t status, json_t *body);
void ush_http_answer(struct ush_http_request *request, uint32_t status, const char *type,
	const void *body, size_t bytes);
void ush_http_answer_empty(struct ush_http_request *request, uint32_t status);
/*
 * application/problem+json: {type, title, status, code, detail, instance}. `code` is stable, lower
 * case with underscores, and listed in control/http/problem.c (a code that is not is a bug).
 * detail: a sentence for people: what, where, how to mend; printf style. Members of `more` (may be
 * NULL; reference is taken) are added.
 */
void ush_http_problem(struct ush_http_request *request, uint32_t status, const char *code,
	json_t *more, const char *detail, ...) __attribute__((format(printf, 5, 6)));

/* ---- streams (server-sent events) ---- */

/* Answers 200 text/event-stream. ret: the stream; the request is answered by that. `closed` is
 * called once, when the client went, was too slow (queued_bytes_max), or the server closes; never
 * from within ush_http_stream_open. The stream is gone after it. */
struct ush_http_stream *ush_http_stream_open(
	struct ush_http_request *request, void (*closed)(void *context), void *context);
/* id may be NULL. Copies; `data` has no line breaks. ret: false if the client was too slow and is
 * being closed. */
bool ush_http_stream_send(struct ush_http_stream *stream, const char *event, const char *id,
	const char *data, size_t bytes);
/* The same bytes to many streams are formatted once. */
bool ush_http_stream_raw(struct ush_http_stream *stream, const void *bytes, size_t count);
/* Ends it by our own wish: `closed` is not called. Not after `closed` was. */
void ush_http_stream_close(struct ush_http_stream *stream);

#endif /* USH_HTTP_SERVER_H */
