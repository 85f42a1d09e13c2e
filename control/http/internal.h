/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of http/ share: the server, a connection, a request.
 *
 * Owns:  nothing; see server.h.
 * Reads: nothing.
 * Never: is included from outside of http/.
 */
#ifndef USH_HTTP_INTERNAL_H
#define USH_HTTP_INTERNAL_H

#include <sys/socket.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>

#include "daemon/core.h"
#include "http/counters.h"
#include "http/server.h"

#define USH_HTTP_FILTERS_MAX 8u
#define USH_HTTP_PARAMS_MAX 8u
#define USH_HTTP_PROXIES_MAX 16u
#define USH_HTTP_HEADERS_MAX 100u
#define USH_HTTP_PATH_PARTS_MAX 16u
#define USH_HTTP_ADDRESS_BYTES 46u
#define USH_HTTP_TEXTS 5u

struct ssl_ctx_st;

struct http_route {
	const struct ush_http_route *route;
	void *context;
	char *path; /* cut into parts */
	const char *part[USH_HTTP_PATH_PARTS_MAX];
	uint32_t parts;
	bool rest; /* the last part takes all that follows */
};

struct http_filter {
	ush_http_filter *filter;
	void *context;
};

struct ush_http_server {
	struct event_base *base;
	struct ush_http_config config;
	char *texts[USH_HTTP_TEXTS]; /* what config points to */
	struct evconnlistener *listener;
	struct event *listen_again; /* after a pause */
	struct ssl_ctx_st *tls;
	uint16_t port;
	bool draining;
	bool ended; /* modules are closing: no filter and no handler runs any more */
	struct http_route *routes;
	uint32_t route_count;
	struct http_filter filters[USH_HTTP_FILTERS_MAX];
	uint32_t filter_count;
	struct ush_http_keys keys;
	bool has_keys;
	char proxies[USH_HTTP_PROXIES_MAX][USH_HTTP_ADDRESS_BYTES];
	uint32_t proxy_count;
	struct http_connection *connections; /* doubly linked */
	struct ush_http_request *requests;   /* all that are not yet answered */
	struct ush_http_request *dead;       /* answered; freed by `reaper` */
	struct event *reaper;
	uint32_t connection_count;
	uint32_t request_count; /* under way */
	uint32_t stream_count;
	uint64_t id; /* of the next request, before it is mixed */
	uint64_t id_seed;
	struct ush_http_counters counters;
};

enum http_phase {
	HTTP_IDLE,    /* no byte of a request */
	HTTP_HEAD,    /* the head has begun */
	HTTP_BODY,    /* the body is to come */
	HTTP_WORKING, /* a handler has the request */
	HTTP_STREAM,
	HTTP_ENDING, /* what is queued leaves, then it is closed */
	HTTP_LINGER, /* the answer is out; what still comes is thrown away, for a moment */
};

struct http_connection {
	struct ush_http_server *server;
	struct http_connection *next, *before;
	struct bufferevent *io;
	struct event *timer;  /* the deadline of the phase */
	struct event *sender; /* the deadline of a client that takes nothing */
	struct ush_http_framing framing;
	struct evbuffer *raw; /* of the request that comes in */
	size_t head_bytes;    /* of raw; 0: the head is not complete */
	struct ush_http_request *request;
	struct ush_http_stream *stream;
	enum http_phase phase;
	size_t taken; /* bytes that the client took since the sender last looked */
	bool input_ended;
	bool reading; /* guards against reading within reading */
	char peer[USH_HTTP_ADDRESS_BYTES];
};

struct http_pair {
	const char *name;
	char *value;
};

struct ush_http_request {
	struct ush_http_server *server;
	struct http_connection *connection; /* NULL: the client has gone */
	struct ush_http_request *next, *before;
	char *text; /* head, cut into strings; what follows points into it */
	const char *method;
	char *path; /* as sent; parts are decoded in `parts` */
	char *query;
	struct http_pair headers[USH_HTTP_HEADERS_MAX];
	uint32_t header_count;
	char *body;
	size_t body_bytes;
	char *decoded; /* the path's parts */
	const char *part[USH_HTTP_PATH_PARTS_MAX];
	const char *rest[USH_HTTP_PATH_PARTS_MAX]; /* from this part to the end, undecoded */
	uint32_t parts;
	char *rest_decoded;
	const struct http_route *route;
	uint32_t filter_next;
	struct http_pair *query_pairs;
	uint32_t query_count;
	char *query_text;
	char *cookie_text;
	json_t *json;
	char id[17];
	char client[USH_HTTP_ADDRESS_BYTES];
	char account[64];
	void *who;
	void (*who_release)(void *who);
	struct evbuffer *set; /* headers of the answer */
	bool set_etag, set_cookie, set_cache, set_policy;
	char etag[80];
	bool keyed;    /* the answer belongs to an idempotency key */
	bool answered; /* an answer was given, though it may wait for its key */
	char key[256];
	uint64_t key_number;
	uint64_t begun_us;
	/* The answer while it waits until its key is durable. */
	uint32_t status;
	char type[64];
	struct evbuffer *answer;
};

/* ---- connection.c ---- */

void ush_http_listen(struct ush_http_server *server, evutil_socket_t fd, struct sockaddr *address);
/* Reads on, as far as there is something: after an answer. */
void ush_http_connection_next(struct http_connection *connection, bool keep);
void ush_http_connection_free(struct http_connection *connection);
/* Answers by itself and closes: what is wrong with the framing or the time. */
void ush_http_connection_refuse(
	struct http_connection *connection, int status, const char *code, const char *text);

/* From now on it belongs to the stream. */
void ush_http_connection_stream(struct http_connection *connection, struct ush_http_stream *stream);
/* Closes it when all is sent, or at once (from the loop). */
void ush_http_connection_end(struct http_connection *connection, bool at_once);
/* Numeric; an IPv4 address within IPv6 as IPv4. */
void ush_http_address_text(const struct sockaddr *address, char text[USH_HTTP_ADDRESS_BYTES]);

/* ---- request.c ---- */

/* Makes a request of connection->raw. ret: NULL: it answered. */
struct ush_http_request *ush_http_request_new(struct http_connection *connection);
/* It is under way no more; its memory goes when the loop is back. */
void ush_http_request_free(struct ush_http_request *request);
void ush_http_requests_reap(struct ush_http_server *server);

/* ---- route.c ---- */

/* Finds the route, checks the body, runs filters and the handler. */
void ush_http_dispatch(struct ush_http_request *request);

/* ---- answer.c ---- */

extern const char ush_http_security_headers[];
/* Whatever ush_http_answer was given, once it may leave. */
void ush_http_answer_out(struct ush_http_request *request);
const char *ush_http_status_text(uint32_t status);
/* in: close: it is the last answer of the connection. length: of the body; -1: until it closes. */
void ush_http_answer_head(struct ush_http_request *request, struct evbuffer *output,
	uint32_t status, const char *type, int64_t length, bool close);

/* ---- gzip.c ---- */

/* ret: the packed bytes, or NULL if that is not worth it. */
struct evbuffer *ush_http_gzip(struct evbuffer *plain);

/* ---- stream.c ---- */

/* The connection has gone, or was told to. */
void ush_http_stream_gone(struct ush_http_stream *stream);

/* ---- tls.c ---- */

int ush_http_tls_open(
	struct ssl_ctx_st **tls, const struct ush_http_config *config, struct ush_message *message);
struct bufferevent *ush_http_tls_accept(
	struct ssl_ctx_st *tls, struct event_base *base, evutil_socket_t fd);
void ush_http_tls_close(struct ssl_ctx_st *tls);

#endif /* USH_HTTP_INTERNAL_H */
