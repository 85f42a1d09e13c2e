/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Server-sent events. A stream ends with its connection, so that its bytes are framed by nothing
 * and the same ones serve all. A comment every 15 s finds out clients that are gone.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http/internal.h"

struct ush_http_stream {
	struct ush_http_server *server;
	struct http_connection *connection; /* NULL: it went before the stream began */
	void (*closed)(void *context);
	void *context;
	struct event *late; /* tells of a client that had gone already */
	bool too_slow;
};

static void free_stream(struct ush_http_stream *stream)
{
	stream->server->stream_count--;
	if (stream->late != NULL)
		event_free(stream->late);
	free(stream);
}

void ush_http_stream_gone(struct ush_http_stream *stream)
{
	void (*closed)(void *context) = stream->closed;
	void *context = stream->context;

	if (stream->connection != NULL)
		stream->connection->stream = NULL;
	free_stream(stream);
	closed(context);
}

static void on_late(evutil_socket_t fd, short what, void *context)
{
	(void)fd;
	(void)what;
	ush_http_stream_gone(context);
}

struct ush_http_stream *ush_http_stream_open(
	struct ush_http_request *request, void (*closed)(void *context), void *context)
{
	struct ush_http_server *server = request->server;
	struct http_connection *connection = request->connection;
	struct ush_http_stream *stream = calloc(1, sizeof(*stream));
	const struct timeval now = {0};

	USH_ASSERT(stream != NULL);
	USH_ASSERT(!request->answered);
	*stream = (struct ush_http_stream){
		.server = server, .connection = connection, .closed = closed, .context = context};
	server->stream_count++;
	server->counters.streams++;
	if (connection == NULL) {
		stream->late = evtimer_new(server->base, on_late, stream);
		USH_ASSERT(stream->late != NULL);
		event_add(stream->late, &now);
		ush_http_request_free(request);
		return stream;
	}
	/* nginx is not to collect it. */
	ush_http_set(request, "X-Accel-Buffering", "no");
	ush_http_answer_head(request, bufferevent_get_output(connection->io), 200,
		"text/event-stream", -1, true);
	ush_http_connection_stream(connection, stream);
	if (strcmp(request->method, "HEAD") == 0)
		ush_http_connection_end(connection, false);
	ush_http_request_free(request);
	return stream;
}

bool ush_http_stream_raw(struct ush_http_stream *stream, const void *bytes, size_t count)
{
	struct http_connection *connection = stream->connection;
	struct evbuffer *output;

	if (connection == NULL || connection->phase != HTTP_STREAM)
		return false;
	output = bufferevent_get_output(connection->io);
	if (evbuffer_get_length(output) + count > stream->server->config.queued_bytes_max) {
		stream->server->counters.streams_too_slow++;
		ush_http_connection_end(connection, true);
		return false;
	}
	evbuffer_add(output, bytes, count);
	return true;
}

bool ush_http_stream_send(struct ush_http_stream *stream, const char *event, const char *id,
	const char *data, size_t bytes)
{
	const size_t most = strlen(event) + (id != NULL ? strlen(id) : 0) + bytes + 32;
	char *text = malloc(most);
	size_t at = 0;
	bool sent;

	USH_ASSERT(text != NULL);
	USH_ASSERT(memchr(data, '\n', bytes) == NULL);
	if (id != NULL)
		at += (size_t)snprintf(text, most, "id: %s\n", id);
	at += (size_t)snprintf(text + at, most - at, "event: %s\ndata: ", event);
	memcpy(text + at, data, bytes);
	memcpy(text + at + bytes, "\n\n", 2);
	sent = ush_http_stream_raw(stream, text, at + bytes + 2);
	free(text);
	return sent;
}

void ush_http_stream_close(struct ush_http_stream *stream)
{
	if (stream->connection != NULL) {
		stream->connection->stream = NULL;
		if (stream->connection->phase == HTTP_STREAM)
			ush_http_connection_end(stream->connection, false);
	}
	free_stream(stream);
}
