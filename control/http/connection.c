/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection: its bytes go through the framing one request at a time; a request that is complete
 * is handed on; the next is looked at when its answer is queued.
 *
 *     IDLE -> HEAD -> BODY -> WORKING -> IDLE ... -> ENDING -> LINGER
 *                                    \-> STREAM
 *
 * Each phase but WORKING has an absolute deadline, which no byte of the client puts off. Another
 * deadline watches what is queued for a client: if it takes less than TAKEN_MIN in send_ms, it is
 * closed. A connection is freed by callbacks of the loop only, never within an answer.
 *
 * What is wrong with the framing is answered and the connection closed: its answer leaves, the
 * writing side is shut, and what still arrives is thrown away for a moment, so that the answer is
 * not lost to a reset.
 */
#include <arpa/inet.h>
#include <ctype.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <event2/bufferevent_ssl.h>
#include <openssl/ssl.h>

#include "http/internal.h"

#define LINGER_MS 1000u
#define HEARTBEAT_MS 15000u
#define INPUT_MAX (64u * 1024)
/* No further request is begun while more than that waits to be sent. */
#define OUTPUT_PAUSE (256u * 1024)
#define TAKEN_MIN 4096u /* guess */

static void set_phase(struct http_connection *connection, enum http_phase phase, uint32_t ms)
{
	const struct timeval time = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};

	connection->phase = phase;
	if (ms > 0)
		event_add(connection->timer, &time);
	else
		event_del(connection->timer);
}

static size_t queued(const struct http_connection *connection)
{
	return evbuffer_get_length(bufferevent_get_output(connection->io));
}

void ush_http_connection_free(struct http_connection *connection)
{
	struct ush_http_server *server = connection->server;

	if (connection->stream != NULL)
		ush_http_stream_gone(connection->stream);
	if (connection->request != NULL)
		connection->request->connection = NULL;
	if (connection->before != NULL)
		connection->before->next = connection->next;
	else
		server->connections = connection->next;
	if (connection->next != NULL)
		connection->next->before = connection->before;
	server->connection_count--;
	event_free(connection->timer);
	event_free(connection->sender);
	evbuffer_free(connection->raw);
	bufferevent_free(connection->io);
	free(connection);
}

/* Nothing more is read; it is closed when all is sent. */
static void end(struct http_connection *connection)
{
	const uint32_t send_ms = connection->server->config.send_ms;

	/* The sender watches what is queued; without anything the end comes by this. */
	set_phase(connection, HTTP_ENDING, queued(connection) == 0 ? 1 : 100 * send_ms);
}

static void linger(struct http_connection *connection)
{
	SSL *ssl = bufferevent_openssl_get_ssl(connection->io);

	if (ssl != NULL)
		SSL_shutdown(ssl);
	if (connection->input_ended) {
		ush_http_connection_free(connection);
		return;
	}
	shutdown(bufferevent_getfd(connection->io), SHUT_WR);
	set_phase(connection, HTTP_LINGER, LINGER_MS);
}

void ush_http_connection_refuse(
	struct http_connection *connection, int status, const char *code, const char *text)
{
	struct evbuffer *output = bufferevent_get_output(connection->io);
	char name[32], body[400];
	size_t i;

	for (i = 0; code[i] != '\0' && i + 1 < sizeof(name); i++)
		name[i] = (char)tolower((unsigned char)code[i]);
	name[i] = '\0';
	snprintf(body, sizeof(body),
		"{\"type\":\"urn:usher:problem:%s\",\"title\":\"%s\",\"status\":%d,\"code\":\"%s\","
		"\"detail\":\"%s\"}",
		name, ush_http_status_text((uint32_t)status), status, name, text);
	evbuffer_add_printf(output,
		"HTTP/1.1 %d %s\r\nContent-Type: application/problem+json\r\nContent-Length: %zu\r\n"
		"Cache-Control: no-store\r\n%sConnection: close\r\n\r\n%s",
		status, ush_http_status_text((uint32_t)status), strlen(body),
		ush_http_security_headers, body);
	connection->server->counters.answers_client += status < 500;
	connection->server->counters.answers_server += status >= 500;
	end(connection);
}

/* The request in raw is complete. */
static void take_request(struct http_connection *connection)
{
	struct ush_http_request *request;

	connection->server->counters.requests++;
	set_phase(connection, HTTP_WORKING, 0);
	request = ush_http_request_new(connection);
	evbuffer_drain(connection->raw, evbuffer_get_length(connection->raw));
	connection->head_bytes = 0;
	if (request != NULL)
		ush_http_dispatch(request);
}

/* Behind the head of a request with a body. */
static void begin_body(struct http_connection *connection)
{
	connection->head_bytes = evbuffer_get_length(connection->raw);
	set_phase(connection, HTTP_BODY, connection->server->config.body_ms);
	/* Only who asked for it knows that it is no answer. */
	if (connection->framing.expects)
		evbuffer_add_printf(
			bufferevent_get_output(connection->io), "HTTP/1.1 100 Continue\r\n\r\n");
}

/* ret: false when there is nothing more to read now. */
static bool read_piece(struct http_connection *connection)
{
	struct evbuffer *input = bufferevent_get_input(connection->io);
	struct ush_http_framing *framing = &connection->framing;
	const uint64_t requests = framing->requests;
	enum ush_http_refusal refusal;
	struct evbuffer_iovec piece;
	size_t used = 0;

	if (connection->phase > HTTP_BODY || queued(connection) > OUTPUT_PAUSE)
		return false;
	if (evbuffer_peek(input, -1, NULL, &piece, 1) <= 0 || piece.iov_len == 0)
		return false;
	if (connection->phase == HTTP_IDLE)
		set_phase(connection, HTTP_HEAD, connection->server->config.head_ms);
	refusal = ush_http_framing_step(framing, piece.iov_base, piece.iov_len, &used);
	evbuffer_remove_buffer(input, connection->raw, used);
	if (refusal != USH_HTTP_FINE) {
		connection->server->counters.refused[refusal]++;
		evbuffer_drain(input, evbuffer_get_length(input));
		ush_http_connection_refuse(connection, ush_http_refusal_status(refusal),
			ush_http_refusal_name(refusal), ush_http_refusal_text(refusal));
		return false;
	}
	if (framing->requests != requests)
		take_request(connection);
	else if (!framing->in_head && connection->head_bytes == 0)
		begin_body(connection);
	return true;
}

static void read_on(struct http_connection *connection)
{
	if (connection->reading)
		return;
	connection->reading = true;
	while (read_piece(connection))
		;
	connection->reading = false;
	if (connection->input_ended && connection->phase <= HTTP_BODY &&
		queued(connection) <= OUTPUT_PAUSE)
		end(connection);
}

void ush_http_connection_next(struct http_connection *connection, bool keep)
{
	connection->request = NULL;
	if (!keep || connection->server->draining) {
		end(connection);
		return;
	}
	set_phase(connection, HTTP_IDLE, connection->server->config.idle_ms);
	read_on(connection);
}

static void on_readable(struct bufferevent *io, void *context)
{
	struct http_connection *connection = context;
	struct evbuffer *input = bufferevent_get_input(io);

	if (connection->phase >= HTTP_STREAM)
		evbuffer_drain(input, evbuffer_get_length(input));
	else
		read_on(connection);
}

/* All is sent. */
static void on_sent(struct bufferevent *io, void *context)
{
	struct http_connection *connection = context;

	(void)io;
	if (connection->phase == HTTP_ENDING)
		linger(connection);
	else if (connection->phase <= HTTP_BODY)
		read_on(connection);
}

static void on_event(struct bufferevent *io, short what, void *context)
{
	struct http_connection *connection = context;

	(void)io;
	if (what & BEV_EVENT_CONNECTED)
		return; /* the handshake: the deadline of the first head goes on */
	if (what & BEV_EVENT_ERROR) {
		if (bufferevent_get_openssl_error(connection->io) != 0)
			connection->server->counters.handshakes_failed++;
		ush_http_connection_free(connection);
		return;
	}
	connection->input_ended = true;
	if (connection->phase == HTTP_WORKING)
		return;
	if (connection->phase == HTTP_ENDING && queued(connection) > 0)
		return;
	if (connection->phase <= HTTP_BODY && queued(connection) > 0)
		end(connection);
	else
		ush_http_connection_free(connection);
}

static void on_time(evutil_socket_t fd, short what, void *context)
{
	struct http_connection *connection = context;
	struct ush_http_counters *counters = &connection->server->counters;

	(void)fd;
	(void)what;
	switch (connection->phase) {
	case HTTP_IDLE:
		counters->idle_closed++;
		ush_http_connection_free(connection);
		return;
	case HTTP_HEAD:
		counters->heads_late++;
		ush_http_connection_refuse(
			connection, 408, "head_late", "the head was not complete in time");
		return;
	case HTTP_BODY:
		counters->bodies_late++;
		ush_http_connection_refuse(
			connection, 408, "body_late", "the body was not complete in time");
		return;
	case HTTP_STREAM:
		/* A comment: says that we live, and finds out whether the client does. */
		evbuffer_add(bufferevent_get_output(connection->io), ":\n\n", 3);
		set_phase(connection, HTTP_STREAM, HEARTBEAT_MS);
		return;
	case HTTP_ENDING:
		if (queued(connection) == 0 && connection->stream == NULL)
			linger(connection);
		else
			ush_http_connection_free(connection);
		return;
	default:
		ush_http_connection_free(connection);
	}
}

/* send_ms have gone by since something was queued, or since the last look. */
static void on_sender(evutil_socket_t fd, short what, void *context)
{
	struct http_connection *connection = context;

	(void)fd;
	(void)what;
	if (connection->taken < TAKEN_MIN) {
		connection->server->counters.slow_readers++;
		ush_http_connection_free(connection);
		return;
	}
	connection->taken = 0;
}

static void on_output(struct evbuffer *buffer, const struct evbuffer_cb_info *info, void *context)
{
	struct http_connection *connection = context;
	const uint32_t ms = connection->server->config.send_ms;
	const struct timeval time = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};

	connection->taken += info->n_deleted;
	if (evbuffer_get_length(buffer) == 0) {
		event_del(connection->sender);
	} else if (info->orig_size == 0) {
		connection->taken = 0;
		event_add(connection->sender, &time);
	}
}

void ush_http_connection_stream(struct http_connection *connection, struct ush_http_stream *stream)
{
	connection->request = NULL;
	connection->stream = stream;
	if (connection->input_ended)
		end(connection);
	else
		set_phase(connection, HTTP_STREAM, HEARTBEAT_MS);
}

/* in: at_once: what is queued is thrown away. */
void ush_http_connection_end(struct http_connection *connection, bool at_once)
{
	if (at_once)
		set_phase(connection, HTTP_LINGER, 1);
	else
		end(connection);
}

void ush_http_address_text(const struct sockaddr *address, char text[USH_HTTP_ADDRESS_BYTES])
{
	const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)address;
	const struct sockaddr_in *four = (const struct sockaddr_in *)address;
	const void *bytes = &four->sin_addr;
	int family = address->sa_family;

	if (family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&six->sin6_addr)) {
		bytes = six->sin6_addr.s6_addr + 12;
		family = AF_INET;
	} else if (family == AF_INET6) {
		bytes = &six->sin6_addr;
	}
	if (inet_ntop(family, bytes, text, USH_HTTP_ADDRESS_BYTES) == NULL)
		snprintf(text, USH_HTTP_ADDRESS_BYTES, "0.0.0.0");
}

void ush_http_listen(struct ush_http_server *server, evutil_socket_t fd, struct sockaddr *address)
{
	const struct ush_http_limits limits = {.head_bytes_max = server->config.head_bytes_max,
		.header_count_max = USH_HTTP_HEADERS_MAX,
		.body_bytes_max = server->config.body_bytes_max};
	const int on = 1;
	struct http_connection *connection;

	if (server->draining || server->connection_count >= server->config.connections_max) {
		server->counters.too_many++;
		evutil_closesocket(fd);
		return;
	}
	server->counters.accepted++;
	connection = calloc(1, sizeof(*connection));
	USH_ASSERT(connection != NULL);
	connection->server = server;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	connection->io = server->tls != NULL
				 ? ush_http_tls_accept(server->tls, server->base, fd)
				 : bufferevent_socket_new(server->base, fd, BEV_OPT_CLOSE_ON_FREE);
	connection->timer = evtimer_new(server->base, on_time, connection);
	connection->sender = event_new(server->base, -1, EV_PERSIST, on_sender, connection);
	connection->raw = evbuffer_new();
	USH_ASSERT(connection->io != NULL);
	USH_ASSERT(connection->timer != NULL);
	USH_ASSERT(connection->sender != NULL);
	USH_ASSERT(connection->raw != NULL);
	ush_http_framing_init(&connection->framing, &limits);
	ush_http_address_text(address, connection->peer);
	connection->next = server->connections;
	if (connection->next != NULL)
		connection->next->before = connection;
	server->connections = connection;
	server->connection_count++;
	bufferevent_setcb(connection->io, on_readable, on_sent, on_event, connection);
	bufferevent_setwatermark(connection->io, EV_READ, 0, INPUT_MAX);
	evbuffer_add_cb(bufferevent_get_output(connection->io), on_output, connection);
	/* The first head is awaited from here on; a handshake is within its time. */
	set_phase(connection, HTTP_IDLE,
		server->tls != NULL ? server->config.head_ms : server->config.idle_ms);
	bufferevent_enable(connection->io, EV_READ | EV_WRITE);
}
