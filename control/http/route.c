/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a request to its handler: route, body, filters, idempotency key.
 *
 * What may go wrong on the way, in this order: too much is under way (503), no such path (404), no
 * such method (405), a body too large for the route (413), of another type (415), or no JSON object
 * (400); a filter answers; a POST without Idempotency-Key (400).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <openssl/evp.h>

#include "http/internal.h"

/* ---- the table ---- */

static bool is_param(const char *part)
{
	return part[0] == '{';
}

/* What follows the name of a parameter within its part. */
static const char *suffix_of(const char *part)
{
	const char *end = strchr(part, '}');

	USH_ASSERT(end != NULL);
	return end + 1;
}

/* Might both match the same part? A parameter with a suffix goes before one without. */
static bool parts_meet(const char *a, const char *b)
{
	if (!is_param(a) && !is_param(b))
		return strcmp(a, b) == 0;
	if (is_param(a) && is_param(b))
		return strcmp(suffix_of(a), suffix_of(b)) == 0;
	return suffix_of(is_param(a) ? a : b)[0] == '\0';
}

static bool routes_meet(const struct http_route *a, const struct http_route *b)
{
	if (strcmp(a->route->method, b->route->method) != 0)
		return false;
	if (a->parts != b->parts && !(a->rest && b->parts >= a->parts) &&
		!(b->rest && a->parts >= b->parts))
		return false;
	for (uint32_t i = 0; i < a->parts && i < b->parts; i++)
		if (!parts_meet(a->part[i], b->part[i]))
			return false;
	return true;
}

static void add_route(
	struct ush_http_server *server, const struct ush_http_route *route, void *context)
{
	struct http_route *added;

	server->routes =
		realloc(server->routes, (server->route_count + 1) * sizeof(*server->routes));
	USH_ASSERT(server->routes != NULL);
	added = &server->routes[server->route_count];
	memset(added, 0, sizeof(*added));
	added->route = route;
	added->context = context;
	added->path = strdup(route->path);
	USH_ASSERT(added->path != NULL);
	USH_ASSERT(added->path[0] == '/');
	for (char *at = added->path; *at == '/'; at += strcspn(at, "/")) {
		*at++ = '\0';
		USH_ASSERT(added->parts < USH_HTTP_PATH_PARTS_MAX);
		added->part[added->parts++] = at;
	}
	added->rest = strstr(route->path, "*}") != NULL;
	for (uint32_t i = 0; i < server->route_count; i++)
		USH_ASSERT(!routes_meet(&server->routes[i], added));
	server->route_count++;
}

void ush_http_routes_add(
	struct ush_http_server *server, const struct ush_http_route *routes, void *context)
{
	for (; routes->method != NULL; routes++)
		add_route(server, routes, context);
}

void ush_http_routes_each(const struct ush_http_server *server,
	void (*each)(void *context, const struct ush_http_route *route), void *context)
{
	for (uint32_t i = 0; i < server->route_count; i++)
		each(context, server->routes[i].route);
}

void ush_http_filter_add(struct ush_http_server *server, ush_http_filter *filter, void *context)
{
	USH_ASSERT(server->filter_count < USH_HTTP_FILTERS_MAX);
	server->filters[server->filter_count++] =
		(struct http_filter){.filter = filter, .context = context};
}

/* ---- finding ---- */

/* ret: 0: no; 1: by a plain parameter; 2: by a parameter with a suffix; 3: by its name. */
static uint32_t part_matches(const char *pattern, const char *part)
{
	const char *suffix;
	size_t bytes;

	if (!is_param(pattern))
		return strcmp(pattern, part) == 0 ? 3 : 0;
	suffix = suffix_of(pattern);
	bytes = strlen(part);
	if (suffix[0] == '\0')
		return bytes > 0 ? 1 : 0;
	return bytes > strlen(suffix) && strcmp(part + bytes - strlen(suffix), suffix) == 0 ? 2 : 0;
}

/* ret: 0, or more the better it matches: the first part that differs decides. */
static uint64_t route_matches(
	const struct http_route *route, const struct ush_http_request *request)
{
	uint64_t good = 1;

	if (request->parts != route->parts && !(route->rest && request->parts > route->parts))
		return 0;
	for (uint32_t i = 0; i < route->parts; i++) {
		uint32_t one = route->rest && i + 1 == route->parts
				       ? request->rest[i][0] != '\0'
				       : part_matches(route->part[i], request->part[i]);

		if (one == 0)
			return 0;
		good = good << 2 | one;
	}
	return good;
}

static bool method_serves(const char *route, const char *asked)
{
	return strcmp(route, asked) == 0 ||
	       (strcmp(asked, "HEAD") == 0 && strcmp(route, "GET") == 0);
}

static void add_allowed(char *allowed, size_t bytes, const char *method)
{
	size_t at = strlen(allowed);

	if (strstr(allowed, method) == NULL)
		snprintf(allowed + at, bytes - at, "%s%s", at > 0 ? ", " : "", method);
	if (strcmp(method, "GET") == 0)
		add_allowed(allowed, bytes, "HEAD");
}

/* Cuts the suffixes from the parameters. */
static void take_route(struct ush_http_request *request, const struct http_route *route)
{
	request->route = route;
	for (uint32_t i = 0; i < route->parts; i++) {
		const char *suffix = is_param(route->part[i]) ? suffix_of(route->part[i]) : "";
		char *part = (char *)request->part[i];

		if (suffix[0] != '\0')
			part[strlen(part) - strlen(suffix)] = '\0';
	}
}

static bool find_route(struct ush_http_request *request)
{
	const struct ush_http_server *server = request->server;
	const struct http_route *best = NULL;
	char allowed[64] = "";
	uint64_t best_good = 0;

	for (uint32_t i = 0; i < server->route_count; i++) {
		const struct http_route *route = &server->routes[i];
		const uint64_t good = route_matches(route, request);

		if (good == 0)
			continue;
		add_allowed(allowed, sizeof(allowed), route->route->method);
		if (!method_serves(route->route->method, request->method) || good <= best_good)
			continue;
		best = route;
		best_good = good;
	}
	if (best != NULL) {
		take_route(request, best);
		return true;
	}
	if (allowed[0] == '\0') {
		ush_http_problem(request, 404, "not_found", NULL, "There is nothing at this path.");
		return false;
	}
	ush_http_set(request, "Allow", allowed);
	ush_http_problem(request, 405, "method_not_allowed", NULL, "This path takes %s.", allowed);
	return false;
}

/* ---- the body ---- */

static bool type_is_json(const char *type)
{
	const size_t bytes = strlen("application/json");

	return type != NULL && strncasecmp(type, "application/json", bytes) == 0 &&
	       strchr(" ;", type[bytes]) != NULL;
}

static bool read_json(struct ush_http_request *request)
{
	json_error_t error;

	if (!type_is_json(ush_http_header(request, "Content-Type"))) {
		ush_http_problem(request, 415, "unsupported_media_type", NULL,
			"The body must be application/json.");
		return false;
	}
	request->json =
		json_loadb(request->body, request->body_bytes, JSON_REJECT_DUPLICATES, &error);
	if (json_is_object(request->json))
		return true;
	if (request->json != NULL)
		ush_http_problem(request, 400, "bad_json", NULL, "The body must be an object.");
	else
		/* jansson's text may quote the body, which may hold personal data: not said. */
		ush_http_problem(request, 400, "bad_json", NULL,
			"The body is not JSON: line %d, column %d.", error.line, error.column);
	return false;
}

static bool check_body(struct ush_http_request *request)
{
	const struct ush_http_route *route = request->route->route;

	if (route->body_bytes_max > 0 && request->body_bytes > route->body_bytes_max) {
		ush_http_problem(request, 413, "body_too_large", NULL,
			"The body has %zu bytes; this route takes %u.", request->body_bytes,
			route->body_bytes_max);
		return false;
	}
	if (route->flags & USH_HTTP_RAW)
		return true;
	if (request->body_bytes > 0)
		return read_json(request);
	/* A POST without a body is one with an empty object. */
	request->json = json_object();
	USH_ASSERT(request->json != NULL);
	return true;
}

/* ---- the key ---- */

/* Of method, path, query and body: what a repeat must have in common with the first. */
static void fingerprint_of(const struct ush_http_request *request, uint8_t print[32])
{
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	const char *texts[] = {
		request->method, request->path, request->query != NULL ? request->query : ""};

	USH_ASSERT(context != NULL);
	EVP_DigestInit_ex(context, EVP_sha256(), NULL);
	for (uint32_t i = 0; i < 3; i++)
		EVP_DigestUpdate(context, texts[i], strlen(texts[i]) + 1);
	EVP_DigestUpdate(context, request->body, request->body_bytes);
	EVP_DigestFinal_ex(context, print, NULL);
	EVP_MD_CTX_free(context);
}

static uint64_t key_number_of(const struct ush_http_request *request, const uint8_t print[32])
{
	char text[400];
	uint8_t digest[32];
	uint64_t number;
	int bytes = snprintf(text, sizeof(text), "%s\n%s\n", request->account, request->key);

	USH_ASSERT(bytes > 0 && (size_t)bytes + 32 <= sizeof(text));
	/* Of the whole request: a key is forgotten after a day, and may then be another's. */
	memcpy(text + bytes, print, 32);
	USH_ASSERT(EVP_Digest(text, (size_t)bytes + 32, digest, NULL, EVP_sha256(), NULL) == 1);
	memcpy(&number, digest, sizeof(number));
	return number;
}

static bool key_is_good(const char *key)
{
	const size_t bytes = strlen(key);

	for (size_t i = 0; i < bytes; i++)
		if (key[i] <= ' ' || key[i] > '~')
			return false;
	return bytes > 0 && bytes < 256;
}

uint32_t ush_http_flags(const struct ush_http_request *request)
{
	return request->route->route->flags;
}

uint64_t ush_http_key_number(const struct ush_http_request *request)
{
	return request->key_number;
}

/* A lookup that was under way at the end comes back when its module, or the handler's, has closed.
 * The answer goes to nobody; it says that nothing was done, so that the key is free again. */
static bool is_too_late(struct ush_http_request *request)
{
	if (!request->server->ended)
		return false;
	ush_http_problem(request, 503, "not_ready", NULL, "We are going down; try again.");
	return true;
}

static void run_handler(struct ush_http_request *request)
{
	if (is_too_late(request))
		return;
	request->route->route->handle(request, request->route->context);
}

static void look_up_key(struct ush_http_request *request)
{
	struct ush_http_server *server = request->server;
	const char *key = ush_http_header(request, "Idempotency-Key");
	uint8_t print[32];

	if (key == NULL || !key_is_good(key)) {
		ush_http_problem(request, 400, "idempotency_key", NULL,
			"This POST wants a header Idempotency-Key: 1 to 255 printable characters, "
			"new for each purpose, the same for each repeat.");
		return;
	}
	snprintf(request->key, sizeof(request->key), "%s", key);
	fingerprint_of(request, print);
	request->key_number = key_number_of(request, print);
	if (!server->has_keys) {
		run_handler(request);
		return;
	}
	server->keys.begin(server->keys.context, request, request->account, request->key, print);
}

void ush_http_dispatch(struct ush_http_request *request)
{
	struct ush_http_server *server = request->server;

	if (server->request_count > server->config.requests_max) {
		server->counters.busy++;
		ush_http_set(request, "Retry-After", "1");
		ush_http_problem(request, 503, "busy", NULL, "Too much is under way; try again.");
		return;
	}
	if (find_route(request) && check_body(request))
		ush_http_filter_resume(request);
}

void ush_http_filter_resume(struct ush_http_request *request)
{
	const struct ush_http_server *server = request->server;

	if (is_too_late(request))
		return;
	while (request->filter_next < server->filter_count) {
		const struct http_filter *next = &server->filters[request->filter_next++];

		if (!next->filter(request, next->context))
			return;
	}
	if (strcmp(request->method, "POST") == 0 &&
		(request->route->route->flags & USH_HTTP_NO_KEY) == 0)
		look_up_key(request);
	else
		run_handler(request);
}

/* ---- what keys answer ---- */

void ush_http_keys_set(struct ush_http_server *server, const struct ush_http_keys *keys)
{
	server->keys = *keys;
	server->has_keys = true;
}

void ush_http_key_new(struct ush_http_request *request)
{
	request->keyed = true;
	run_handler(request);
}

void ush_http_key_running(struct ush_http_request *request)
{
	ush_http_set(request, "Retry-After", "1");
	ush_http_problem(request, 409, "idempotency_running", NULL,
		"The first request with this Idempotency-Key is still being worked on.");
}

void ush_http_key_mismatch(struct ush_http_request *request)
{
	ush_http_problem(request, 422, "idempotency_mismatch", NULL,
		"This Idempotency-Key was used for another request: another path, query or body.");
}

void ush_http_key_replay(struct ush_http_request *request, uint32_t status, const char *type,
	const void *body, size_t bytes)
{
	request->server->counters.replayed++;
	ush_http_set(request, "Idempotent-Replayed", "true");
	if (bytes == 0 && type[0] == '\0')
		ush_http_answer_empty(request, status);
	else
		ush_http_answer(request, status, type, body, bytes);
}
