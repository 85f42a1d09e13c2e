/* SPDX-License-Identifier: Apache-2.0 */
/* The server: its listener, its configuration, its start and its end. */
#include <arpa/inet.h>
#include <ctype.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/rand.h>

#include "http/internal.h"

#define BACKLOG 1024
#define ACCEPT_PAUSE_MS 100 /* guess */

void ush_http_config_init(struct ush_http_config *config)
{
	*config = (struct ush_http_config){
		.address = "127.0.0.1",
		.origin = "http://127.0.0.1",
		.connections_max = 10000,
		.requests_max = 4096,
		.head_bytes_max = 16384,
		.body_bytes_max = 1024 * 1024,
		.head_ms = 10000,
		.body_ms = 30000,
		.idle_ms = 60000,
		.send_ms = 20000,
		.queued_bytes_max = 256 * 1024,
	};
}

static void on_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *address,
	int bytes, void *context)
{
	(void)listener;
	(void)bytes;
	ush_http_listen(context, fd, address);
}

/* Without a descriptor the next try would fail at once, and the one after it, for ever. */
static void on_accept_error(struct evconnlistener *listener, void *context)
{
	static const struct timeval pause = {.tv_usec = ACCEPT_PAUSE_MS * 1000};
	struct ush_http_server *server = context;

	evconnlistener_disable(listener);
	server->counters.accept_pauses++;
	event_add(server->listen_again, &pause);
}

static void on_listen_again(evutil_socket_t fd, short what, void *context)
{
	const struct ush_http_server *server = context;

	(void)fd;
	(void)what;
	if (!server->draining)
		evconnlistener_enable(server->listener);
}

static bool read_address(const struct ush_http_config *config, struct sockaddr_storage *address)
{
	struct sockaddr_in *four = (struct sockaddr_in *)address;
	struct sockaddr_in6 *six = (struct sockaddr_in6 *)address;

	memset(address, 0, sizeof(*address));
	if (inet_pton(AF_INET, config->address, &four->sin_addr) == 1) {
		four->sin_family = AF_INET;
		four->sin_port = htons(config->port);
		return true;
	}
	if (inet_pton(AF_INET6, config->address, &six->sin6_addr) == 1) {
		six->sin6_family = AF_INET6;
		six->sin6_port = htons(config->port);
		return true;
	}
	return false;
}

static int start_listening(struct ush_http_server *server, struct ush_message *message)
{
	const struct ush_http_config *config = &server->config;
	struct sockaddr_storage address;
	socklen_t bytes = sizeof(address);
	struct sockaddr_in *four = (struct sockaddr_in *)&address;
	struct sockaddr_in6 *six = (struct sockaddr_in6 *)&address;

	if (!read_address(config, &address)) {
		ush_message_set(message, "http: '%s' is no numeric address", config->address);
		return -USH_EINVAL;
	}
	server->listener = evconnlistener_new_bind(server->base, on_accept, server,
		LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC | LEV_OPT_REUSEABLE, BACKLOG,
		(struct sockaddr *)&address,
		(int)(address.ss_family == AF_INET ? sizeof(*four) : sizeof(*six)));
	if (server->listener == NULL) {
		ush_message_set(message, "http: cannot listen on %s port %u: %s", config->address,
			config->port, strerror(EVUTIL_SOCKET_ERROR()));
		return -USH_ESYSTEM;
	}
	evconnlistener_set_error_cb(server->listener, on_accept_error);
	if (getsockname(evconnlistener_get_fd(server->listener), (struct sockaddr *)&address,
		    &bytes) != 0) {
		ush_message_set(message, "http: getsockname failed");
		return -USH_ESYSTEM;
	}
	server->port = ntohs(address.ss_family == AF_INET ? four->sin_port : six->sin6_port);
	return 0;
}

static int read_proxies(struct ush_http_server *server, struct ush_message *message)
{
	char *copy, *rest = NULL;
	int ret = 0;

	if (server->config.proxies == NULL)
		return 0;
	copy = strdup(server->config.proxies);
	USH_ASSERT(copy != NULL);
	for (char *at = strtok_r(copy, ", ", &rest); at != NULL && ret == 0;
		at = strtok_r(NULL, ", ", &rest)) {
		struct in6_addr address;

		if (server->proxy_count == USH_HTTP_PROXIES_MAX ||
			(inet_pton(AF_INET, at, &address) != 1 &&
				inet_pton(AF_INET6, at, &address) != 1)) {
			ush_message_set(message,
				"http: proxies: '%s' is no numeric address, or there are more than %u",
				at, USH_HTTP_PROXIES_MAX);
			ret = -USH_EINVAL;
			break;
		}
		snprintf(server->proxies[server->proxy_count++], USH_HTTP_ADDRESS_BYTES, "%s", at);
	}
	free(copy);
	return ret;
}

static const char *keep_text(struct ush_http_server *server, uint32_t place, const char *text)
{
	if (text == NULL)
		return NULL;
	server->texts[place] = strdup(text);
	USH_ASSERT(server->texts[place] != NULL);
	return server->texts[place];
}

static void on_reap(evutil_socket_t fd, short what, void *context)
{
	(void)fd;
	(void)what;
	ush_http_requests_reap(context);
}

int ush_http_server_open(struct ush_http_server **server_out, const struct ush_http_config *config,
	struct event_base *base, struct ush_message *message)
{
	struct ush_http_server *server = calloc(1, sizeof(*server));
	int ret = 0;

	USH_ASSERT(server != NULL);
	server->base = base;
	server->config = *config;
	server->reaper = event_new(base, -1, 0, on_reap, server);
	server->listen_again = evtimer_new(base, on_listen_again, server);
	USH_ASSERT(server->reaper != NULL);
	USH_ASSERT(server->listen_again != NULL);
	server->config.address = keep_text(server, 0, config->address);
	server->config.certificate = keep_text(server, 1, config->certificate);
	server->config.key = keep_text(server, 2, config->key);
	server->config.origin = keep_text(server, 3, config->origin);
	server->config.proxies = keep_text(server, 4, config->proxies);
	USH_ASSERT(RAND_bytes((unsigned char *)&server->id_seed, sizeof(server->id_seed)) == 1);
	if (config->certificate != NULL || config->key != NULL)
		ret = ush_http_tls_open(&server->tls, &server->config, message);
	if (ret == 0)
		ret = read_proxies(server, message);
	if (ret == 0)
		ret = start_listening(server, message);
	if (ret != 0) {
		ush_http_server_close(server);
		return ret;
	}
	*server_out = server;
	return 0;
}

uint16_t ush_http_server_port(const struct ush_http_server *server)
{
	return server->port;
}

void ush_http_server_drain(struct ush_http_server *server)
{
	struct http_connection *connection, *next;

	server->draining = true;
	evconnlistener_disable(server->listener);
	for (connection = server->connections; connection != NULL; connection = next) {
		next = connection->next;
		/* Closing a stream calls back, which may close others: not at once. */
		if (connection->phase == HTTP_STREAM)
			ush_http_connection_end(connection, false);
		else if (connection->phase <= HTTP_BODY)
			ush_http_connection_end(connection, false);
	}
}

uint32_t ush_http_server_busy(const struct ush_http_server *server)
{
	return server->request_count + server->stream_count;
}

void ush_http_server_end(struct ush_http_server *server)
{
	server->draining = true;
	server->ended = true;
	while (server->connections != NULL)
		ush_http_connection_free(server->connections);
}

void ush_http_server_close(struct ush_http_server *server)
{
	ush_http_server_end(server);
	/* Nobody will answer them any more. */
	while (server->requests != NULL)
		ush_http_request_free(server->requests);
	ush_http_requests_reap(server);
	event_free(server->reaper);
	event_free(server->listen_again);
	if (server->listener != NULL)
		evconnlistener_free(server->listener);
	if (server->tls != NULL)
		ush_http_tls_close(server->tls);
	for (uint32_t i = 0; i < server->route_count; i++)
		free(server->routes[i].path);
	free(server->routes);
	for (uint32_t i = 0; i < USH_HTTP_TEXTS; i++)
		free(server->texts[i]);
	free(server);
}

/* ---- counters ---- */

const struct ush_http_counters *ush_http_server_counters(const struct ush_http_server *server)
{
	return &server->counters;
}

json_t *ush_http_counters_json(const struct ush_http_server *server)
{
	json_t *all = json_object(), *refused = json_object();
	char name[32];

#define X(name, text) \
	json_object_set_new(all, #name, json_integer((json_int_t)server->counters.name));
	USH_HTTP_COUNTER_EACH(X)
#undef X
#define X(refusal, value, status, text) \
	snprintf(name, sizeof(name), "%s", #refusal); \
	for (char *at = name; *at != '\0'; at++) \
		*at = (char)tolower((unsigned char)*at); \
	json_object_set_new( \
		refused, name, json_integer((json_int_t)server->counters.refused[value]));
	USH_HTTP_REFUSAL_EACH(X)
#undef X
	json_object_set_new(all, "refused", refused);
	json_object_set_new(all, "connections", json_integer(server->connection_count));
	json_object_set_new(all, "under_way", json_integer(server->request_count));
	json_object_set_new(all, "streams_open", json_integer(server->stream_count));
	return all;
}
