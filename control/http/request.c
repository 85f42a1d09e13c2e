/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request out of its bytes. The framing has looked at each of them: what is a line, a name or a
 * chunk here cannot be anything else. What is left to refuse is what means nothing: broken percent
 * signs, text that is no UTF-8, too many parameters.
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "http/internal.h"

#define PAIRS_MAX 64u

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 32;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* ret: is it UTF-8, without NUL? (RFC 3629: no surrogates, nothing longer than needed.) */
static bool is_utf8(const char *text, size_t bytes)
{
	static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
	const uint8_t *at = (const uint8_t *)text, *end = at + bytes;

	while (at < end) {
		uint32_t c = *at++, more = c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : c >= 0xc0 ? 1 : 0;

		if (c == 0 || (c >= 0x80 && c < 0xc0) || c >= 0xf8 || (size_t)(end - at) < more)
			return false;
		if (more > 0)
			c &= 0x3fu >> more;
		for (uint32_t i = 0; i < more; i++, at++) {
			if ((*at & 0xc0) != 0x80)
				return false;
			c = c << 6 | (*at & 0x3f);
		}
		if (c < least[more] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
			return false;
	}
	return true;
}

/* Decodes in place. ret: false: a broken percent sign, or no UTF-8. */
static bool decode(char *text, bool plus)
{
	char *to = text;

	for (const char *at = text; *at != '\0'; at++) {
		if (*at == '%') {
			if (hex(at[1]) < 0 || hex(at[2]) < 0)
				return false;
			*to++ = (char)(hex(at[1]) << 4 | hex(at[2]));
			at += 2;
		} else {
			*to++ = plus && *at == '+' ? ' ' : *at;
		}
	}
	*to = '\0';
	return is_utf8(text, (size_t)(to - text));
}

static char *copy_text(const char *text)
{
	char *copy = strdup(text);

	USH_ASSERT(copy != NULL);
	return copy;
}

static bool cut_path(struct ush_http_request *request)
{
	char *at;

	request->decoded = copy_text(request->path);
	at = request->decoded;
	while (*at == '/') {
		*at++ = '\0';
		if (request->parts == USH_HTTP_PATH_PARTS_MAX) {
			/* No route is so long. */
			request->parts = 0;
			return true;
		}
		request->rest[request->parts] = request->path + (at - request->decoded);
		request->part[request->parts++] = at;
		at += strcspn(at, "/");
	}
	for (uint32_t i = 0; i < request->parts; i++)
		if (!decode((char *)request->part[i], false))
			return false;
	return true;
}

static bool cut_query(struct ush_http_request *request)
{
	char *rest = NULL;

	if (request->query == NULL)
		return true;
	request->query_text = copy_text(request->query);
	request->query_pairs = calloc(PAIRS_MAX, sizeof(*request->query_pairs));
	USH_ASSERT(request->query_pairs != NULL);
	for (char *at = strtok_r(request->query_text, "&", &rest); at != NULL;
		at = strtok_r(NULL, "&", &rest)) {
		char *value = strchr(at, '=');
		struct http_pair *pair = &request->query_pairs[request->query_count];

		if (request->query_count++ == PAIRS_MAX)
			return false;
		if (value != NULL)
			*value++ = '\0';
		pair->name = at;
		pair->value = value != NULL ? value : at + strlen(at);
		if (!decode(at, true) || (value != NULL && !decode(value, true)))
			return false;
	}
	return true;
}

/* Takes the head apart; every line of it ends with CR LF. */
static void cut_head(struct ush_http_request *request)
{
	char *line = request->text, *end = strstr(line, "\r\n"), *at;

	*end = '\0';
	request->method = line;
	at = strchr(line, ' ');
	*at++ = '\0';
	request->path = at;
	*strchr(at, ' ') = '\0';
	at = strchr(at, '?');
	if (at != NULL) {
		*at++ = '\0';
		request->query = at;
	}
	for (line = end + 2; *line != '\r'; line = end + 2) {
		struct http_pair *pair = &request->headers[request->header_count++];

		end = strstr(line, "\r\n");
		pair->name = line;
		at = strchr(line, ':');
		*at++ = '\0';
		pair->value = at + strspn(at, " \t");
		for (at = end; at > pair->value && (at[-1] == ' ' || at[-1] == '\t');)
			at--;
		*at = '\0';
	}
}

/* The chunks of a body, put together in place. ret: its bytes. */
static size_t join_chunks(char *body)
{
	char *from = body, *to = body;

	for (;;) {
		size_t bytes = strtoul(from, &from, 16);

		from += 2;
		if (bytes == 0)
			return (size_t)(to - body);
		memmove(to, from, bytes);
		to += bytes;
		from += bytes + 2;
	}
}

static bool is_proxy(const struct ush_http_server *server, const char *address)
{
	for (uint32_t i = 0; i < server->proxy_count; i++)
		if (strcmp(server->proxies[i], address) == 0)
			return true;
	return false;
}

/* The last address of X-Forwarded-For that is no proxy of ours: what is before it, anybody may
 * write. */
static void find_client(struct ush_http_request *request, const char *peer)
{
	const struct ush_http_server *server = request->server;
	const char *list = NULL, *at;
	struct in6_addr address;
	char one[USH_HTTP_ADDRESS_BYTES];

	snprintf(request->client, sizeof(request->client), "%s", peer);
	if (!is_proxy(server, peer))
		return;
	for (uint32_t i = 0; i < request->header_count; i++)
		if (strcasecmp(request->headers[i].name, "X-Forwarded-For") == 0)
			list = request->headers[i].value;
	if (list == NULL)
		return;
	for (at = list + strlen(list); at > list;) {
		const char *end = at;

		while (at > list && at[-1] != ',')
			at--;
		snprintf(one, sizeof(one), "%.*s", (int)(end - at), at);
		memmove(one, one + strspn(one, " "), strlen(one + strspn(one, " ")) + 1);
		one[strcspn(one, " ")] = '\0';
		if (inet_pton(AF_INET, one, &address) != 1 &&
			inet_pton(AF_INET6, one, &address) != 1)
			return;
		snprintf(request->client, sizeof(request->client), "%s", one);
		if (!is_proxy(server, one))
			return;
		at -= at > list;
	}
}

static void link_request(struct ush_http_request *request)
{
	struct ush_http_server *server = request->server;

	snprintf(request->id, sizeof(request->id), "%016lx",
		(unsigned long)(ush_mix64(++server->id) ^ server->id_seed));
	request->begun_us = (uint64_t)ush_core_now_us();
	request->next = server->requests;
	if (request->next != NULL)
		request->next->before = request;
	server->requests = request;
	server->request_count++;
}

struct ush_http_request *ush_http_request_new(struct http_connection *connection)
{
	struct ush_http_request *request = calloc(1, sizeof(*request));
	const size_t bytes = evbuffer_get_length(connection->raw);
	size_t head = connection->head_bytes > 0 ? connection->head_bytes : bytes;

	USH_ASSERT(request != NULL);
	request->server = connection->server;
	request->connection = connection;
	connection->request = request;
	request->text = malloc(head + 1);
	request->body = malloc(bytes - head + 1);
	request->set = evbuffer_new();
	USH_ASSERT(request->text != NULL);
	USH_ASSERT(request->body != NULL);
	USH_ASSERT(request->set != NULL);
	evbuffer_remove(connection->raw, request->text, head);
	request->text[head] = '\0';
	evbuffer_remove(connection->raw, request->body, bytes - head);
	request->body_bytes = bytes - head;
	request->body[request->body_bytes] = '\0';
	cut_head(request);
	if (request->body_bytes > 0 && ush_http_header(request, "Transfer-Encoding") != NULL)
		request->body_bytes = join_chunks(request->body);
	request->body[request->body_bytes] = '\0';
	link_request(request);
	find_client(request, connection->peer);
	if (!cut_path(request) || !cut_query(request)) {
		ush_http_problem(request, 400, "bad_target", NULL,
			"The path or the query has a broken percent sign, text that is not UTF-8, or "
			"more than %u parameters.",
			PAIRS_MAX);
		return NULL;
	}
	return request;
}

void ush_http_request_free(struct ush_http_request *request)
{
	struct ush_http_server *server = request->server;

	if (request->before != NULL)
		request->before->next = request->next;
	else
		server->requests = request->next;
	if (request->next != NULL)
		request->next->before = request->before;
	server->request_count--;
	/* A handler that has answered may still look at its request until it returns. */
	request->connection = NULL;
	request->next = server->dead;
	server->dead = request;
	event_active(server->reaper, 0, 0);
}

static void free_now(struct ush_http_request *request)
{
	if (request->who_release != NULL)
		request->who_release(request->who);
	json_decref(request->json);
	evbuffer_free(request->set);
	if (request->answer != NULL)
		evbuffer_free(request->answer);
	free(request->text);
	free(request->body);
	free(request->decoded);
	free(request->rest_decoded);
	free(request->query_pairs);
	free(request->query_text);
	free(request->cookie_text);
	free(request);
}

void ush_http_requests_reap(struct ush_http_server *server)
{
	while (server->dead != NULL) {
		struct ush_http_request *request = server->dead;

		server->dead = request->next;
		free_now(request);
	}
}

/* ---- what handlers look at ---- */

const char *ush_http_method(const struct ush_http_request *request)
{
	return request->method;
}

const char *ush_http_path(const struct ush_http_request *request)
{
	return request->path;
}

static const char *rest_of(struct ush_http_request *request, uint32_t part)
{
	if (request->rest_decoded == NULL) {
		request->rest_decoded = copy_text(request->rest[part]);
		/* Its parts were looked at one by one. */
		USH_ASSERT(decode(request->rest_decoded, false));
	}
	return request->rest_decoded;
}

const char *ush_http_param(const struct ush_http_request *request, const char *name)
{
	const struct http_route *route = request->route;
	const size_t bytes = strlen(name);

	for (uint32_t i = 0; route != NULL && i < route->parts; i++) {
		const char *part = route->part[i];

		if (part[0] != '{' || strncmp(part + 1, name, bytes) != 0)
			continue;
		if (part[bytes + 1] == '}')
			return request->part[i];
		if (part[bytes + 1] == '*')
			return rest_of((struct ush_http_request *)request, i);
	}
	return NULL;
}

bool ush_http_param_number(
	struct ush_http_request *request, const char *name, uint64_t most, uint64_t *value)
{
	const char *text = ush_http_param(request, name);
	uint64_t number = 0;
	size_t i;

	for (i = 0; text != NULL && text[i] >= '0' && text[i] <= '9'; i++) {
		const uint64_t digit = (uint64_t)(text[i] - '0');

		if (digit > most || number > (most - digit) / 10)
			break;
		number = number * 10 + digit;
	}
	/* One spelling only: no leading zeros. */
	if (text == NULL || i == 0 || text[i] != '\0' || (text[0] == '0' && i > 1)) {
		ush_http_problem(request, 404, "not_found", NULL,
			"There is nothing here: {%s} is no number, or too large.", name);
		return false;
	}
	*value = number;
	return true;
}

const char *ush_http_query(const struct ush_http_request *request, const char *name)
{
	for (uint32_t i = 0; i < request->query_count; i++)
		if (strcmp(request->query_pairs[i].name, name) == 0)
			return request->query_pairs[i].value;
	return NULL;
}

const char *ush_http_query_at(
	const struct ush_http_request *request, uint32_t at, const char **name)
{
	if (at >= request->query_count)
		return NULL;
	*name = request->query_pairs[at].name;
	return request->query_pairs[at].value;
}

const char *ush_http_header(const struct ush_http_request *request, const char *name)
{
	for (uint32_t i = 0; i < request->header_count; i++)
		if (strcasecmp(request->headers[i].name, name) == 0)
			return request->headers[i].value;
	return NULL;
}

/* Cuts the Cookie header: "name\0value\0name\0value\0\0". */
static void cut_cookies(struct ush_http_request *request)
{
	const char *header = ush_http_header(request, "Cookie");
	char *to, *rest = NULL, *copy;

	request->cookie_text = calloc(1, header != NULL ? strlen(header) * 2 + 4 : 2);
	USH_ASSERT(request->cookie_text != NULL);
	if (header == NULL)
		return;
	copy = copy_text(header);
	to = request->cookie_text;
	for (char *at = strtok_r(copy, ";", &rest); at != NULL; at = strtok_r(NULL, ";", &rest)) {
		char *value;

		at += strspn(at, " ");
		value = strchr(at, '=');
		if (value == NULL || value == at)
			continue;
		*value++ = '\0';
		memcpy(to, at, strlen(at) + 1);
		to += strlen(at) + 1;
		memcpy(to, value, strlen(value) + 1);
		to += strlen(value) + 1;
	}
	free(copy);
}

const char *ush_http_cookie(const struct ush_http_request *request, const char *name)
{
	const char *at;

	if (request->cookie_text == NULL)
		cut_cookies((struct ush_http_request *)request);
	for (at = request->cookie_text; *at != '\0'; at += strlen(at) + 1) {
		const char *value = at + strlen(at) + 1;

		if (strcmp(at, name) == 0)
			return value;
		at = value;
	}
	return NULL;
}

const void *ush_http_body(const struct ush_http_request *request, size_t *bytes)
{
	*bytes = request->body_bytes;
	return request->body;
}

json_t *ush_http_json(const struct ush_http_request *request)
{
	return request->json;
}

const char *ush_http_client(const struct ush_http_request *request)
{
	return request->client;
}

const char *ush_http_id(const struct ush_http_request *request)
{
	return request->id;
}

const char *ush_http_origin(const struct ush_http_request *request)
{
	return request->server->config.origin;
}

void ush_http_who_set(struct ush_http_request *request, const char *account, void *who,
	void (*release)(void *who))
{
	if (request->who_release != NULL)
		request->who_release(request->who);
	snprintf(request->account, sizeof(request->account), "%s", account);
	request->who = who;
	request->who_release = release;
}

void *ush_http_who(const struct ush_http_request *request)
{
	return request->who;
}

const char *ush_http_account(const struct ush_http_request *request)
{
	return request->account;
}
