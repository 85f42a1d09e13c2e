/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers: collected, kept under their idempotency key if they have one, then written.
 *
 * GET answers of status 200 carry an ETag over what they say, not over how it is packed, so it is a
 * weak one. Text above GZIP_MIN bytes is packed for those who take it, but not together with a
 * cookie: how well a secret packs beside text that an attacker chose says something about it.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include <openssl/evp.h>

#include "http/internal.h"
#include "http/problem.h"

#define GZIP_MIN 1000u

/* Nothing of ours is to be framed, sniffed or run as a script of somebody else. Pages set their own
 * Content-Security-Policy. */
const char ush_http_security_headers[] =
	"X-Content-Type-Options: nosniff\r\n"
	"X-Frame-Options: DENY\r\n"
	"Referrer-Policy: same-origin\r\n"
	"Cross-Origin-Opener-Policy: same-origin\r\n"
	"Cross-Origin-Resource-Policy: same-origin\r\n"
	"Permissions-Policy: camera=(), geolocation=(), microphone=()\r\n";
static const char default_policy[] =
	"Content-Security-Policy: default-src 'none'; base-uri 'none'; form-action 'none'; "
	"frame-ancestors 'none'\r\n";

const char *ush_http_status_text(uint32_t status)
{
	static const struct {
		uint32_t status;
		const char *text;
	} texts[] = {{200, "OK"}, {201, "Created"}, {202, "Accepted"}, {204, "No Content"},
		{302, "Found"}, {303, "See Other"}, {304, "Not Modified"},
		{307, "Temporary Redirect"}, {400, "Bad Request"}, {401, "Unauthorized"},
		{402, "Payment Required"}, {403, "Forbidden"}, {404, "Not Found"},
		{405, "Method Not Allowed"}, {408, "Request Timeout"}, {409, "Conflict"},
		{410, "Gone"}, {412, "Precondition Failed"}, {413, "Content Too Large"},
		{415, "Unsupported Media Type"}, {417, "Expectation Failed"},
		{422, "Unprocessable Content"}, {425, "Too Early"}, {429, "Too Many Requests"},
		{431, "Request Header Fields Too Large"}, {500, "Internal Server Error"},
		{501, "Not Implemented"}, {502, "Bad Gateway"}, {503, "Service Unavailable"},
		{504, "Gateway Timeout"}, {505, "HTTP Version Not Supported"}};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		if (texts[i].status == status)
			return texts[i].text;
	return "Answer";
}

void ush_http_set(struct ush_http_request *request, const char *name, const char *value)
{
	/* A line break would let a value be read as a header of its own. */
	USH_ASSERT(strpbrk(name, "\r\n: ") == NULL);
	USH_ASSERT(strpbrk(value, "\r\n") == NULL);
	request->set_etag = request->set_etag || strcasecmp(name, "ETag") == 0;
	request->set_cookie = request->set_cookie || strcasecmp(name, "Set-Cookie") == 0;
	request->set_cache = request->set_cache || strcasecmp(name, "Cache-Control") == 0;
	request->set_policy =
		request->set_policy || strcasecmp(name, "Content-Security-Policy") == 0;
	if (strcasecmp(name, "ETag") == 0)
		snprintf(request->etag, sizeof(request->etag), "%s", value);
	evbuffer_add_printf(request->set, "%s: %s\r\n", name, value);
}

/* ---- negotiation ---- */

static bool is_text(const char *type)
{
	return strncmp(type, "text/", 5) == 0 || strstr(type, "json") != NULL ||
	       strstr(type, "javascript") != NULL || strstr(type, "xml") != NULL;
}

/* ret: does the client take gzip? "gzip;q=0" says no. */
static bool takes_gzip(const struct ush_http_request *request)
{
	const char *header = ush_http_header(request, "Accept-Encoding");
	const char *at = header != NULL ? strstr(header, "gzip") : NULL;

	if (at == NULL || (at > header && strchr(" ,\t", at[-1]) == NULL))
		return false;
	at += 4 + strspn(at + 4, " \t");
	if (*at != ';')
		return *at == '\0' || *at == ',';
	at += 1 + strspn(at + 1, " \t");
	if (strncmp(at, "q=", 2) != 0)
		return false;
	return strtod(at + 2, NULL) > 0;
}

static void make_etag(struct ush_http_request *request)
{
	const size_t bytes = evbuffer_get_length(request->answer);
	uint8_t print[32];

	if (request->set_etag)
		return;
	USH_ASSERT(EVP_Digest(evbuffer_pullup(request->answer, -1), bytes, print, NULL,
			   EVP_sha256(), NULL) == 1);
	snprintf(request->etag, sizeof(request->etag),
		"W/\"%02x%02x%02x%02x%02x%02x%02x%02x%02x%02x\"", print[0], print[1], print[2],
		print[3], print[4], print[5], print[6], print[7], print[8], print[9]);
	evbuffer_add_printf(request->set, "ETag: %s\r\n", request->etag);
}

/* ret: is the ETag in If-None-Match? Compared weakly. */
static bool is_known(const struct ush_http_request *request)
{
	const char *header = ush_http_header(request, "If-None-Match");
	const char *tag = request->etag + (strncmp(request->etag, "W/", 2) == 0 ? 2 : 0);

	if (header == NULL || tag[0] != '"')
		return false;
	return strcmp(header, "*") == 0 || strstr(header, tag) != NULL;
}

/* ---- writing ---- */

static void write_date(struct evbuffer *output)
{
	static char text[40];
	static int64_t second;
	const int64_t now = ush_core_now_us() / 1000000;
	const time_t at = (time_t)now;
	struct tm parts;

	if (now != second) {
		gmtime_r(&at, &parts);
		strftime(text, sizeof(text), "%a, %d %b %Y %H:%M:%S GMT", &parts);
		second = now;
	}
	evbuffer_add_printf(output, "Date: %s\r\n", text);
}

void ush_http_answer_head(struct ush_http_request *request, struct evbuffer *output,
	uint32_t status, const char *type, int64_t length, bool close)
{
	const struct ush_http_server *server = request->server;

	evbuffer_add_printf(output, "HTTP/1.1 %u %s\r\n", status, ush_http_status_text(status));
	write_date(output);
	if (type[0] != '\0')
		evbuffer_add_printf(output, "Content-Type: %s\r\n", type);
	if (length >= 0 && status != 204 && status != 304)
		evbuffer_add_printf(output, "Content-Length: %lld\r\n", (long long)length);
	evbuffer_add_printf(
		output, "X-Request-Id: %s\r\n%s", request->id, ush_http_security_headers);
	if (!request->set_policy)
		evbuffer_add_printf(output, "%s", default_policy);
	if (!request->set_cache)
		evbuffer_add_printf(output, "Cache-Control: no-store\r\n");
	if (server->tls != NULL || strncmp(server->config.origin, "https:", 6) == 0)
		evbuffer_add_printf(output, "Strict-Transport-Security: max-age=31536000\r\n");
	evbuffer_add_buffer(output, request->set);
	evbuffer_add_printf(output, "%s\r\n", close ? "Connection: close\r\n" : "");
}

static void count_answer(struct ush_http_request *request)
{
	struct ush_http_counters *counters = &request->server->counters;
	const uint64_t us = (uint64_t)ush_core_now_us() - request->begun_us;
	char status[8], took[24];

	counters->answers_ok += request->status < 400;
	counters->answers_client += request->status >= 400 && request->status < 500;
	counters->answers_server += request->status >= 500;
	snprintf(status, sizeof(status), "%u", request->status);
	snprintf(took, sizeof(took), "%llu", (unsigned long long)us);
	/* The route and not the path: codes of transfers and numbers of holds are in paths. */
	ush_core_log(
		request->status >= 500 && request->status != 503 ? USH_CORE_WARN : USH_CORE_DEBUG,
		"http", "answered", "request", request->id, "method", request->method, "route",
		request->route != NULL ? request->route->route->path : "", "status", status, "us",
		took, NULL);
}

/* ret: true if the connection goes on after this answer. */
static bool may_keep(const struct ush_http_request *request)
{
	const char *wish = ush_http_header(request, "Connection");

	return !request->server->draining && (wish == NULL || strcasecmp(wish, "close") != 0);
}

static void write_answer(struct ush_http_request *request, bool keep)
{
	struct evbuffer *output = bufferevent_get_output(request->connection->io);
	const bool get =
		strcmp(request->method, "GET") == 0 || strcmp(request->method, "HEAD") == 0;
	struct evbuffer *body = request->answer, *packed = NULL;
	size_t bytes = evbuffer_get_length(body);

	if (get && request->status == 200)
		make_etag(request);
	if (get && request->status == 200 && is_known(request)) {
		request->status = 304;
		evbuffer_drain(body, bytes);
		bytes = 0;
	}
	if (bytes >= GZIP_MIN && is_text(request->type)) {
		evbuffer_add_printf(request->set, "Vary: Accept-Encoding\r\n");
		if (takes_gzip(request) && !request->set_cookie)
			packed = ush_http_gzip(body);
	}
	if (packed != NULL) {
		evbuffer_add_printf(request->set, "Content-Encoding: gzip\r\n");
		body = packed;
	}
	ush_http_answer_head(request, output, request->status, request->type,
		(int64_t)evbuffer_get_length(body), !keep);
	if (strcmp(request->method, "HEAD") != 0)
		evbuffer_add_buffer(output, body);
	if (packed != NULL)
		evbuffer_free(packed);
}

void ush_http_answer_out(struct ush_http_request *request)
{
	struct http_connection *connection = request->connection;
	const bool keep = may_keep(request);

	if (connection != NULL)
		write_answer(request, keep);
	else
		request->server->counters.gone++;
	count_answer(request);
	ush_http_request_free(request);
	if (connection != NULL)
		ush_http_connection_next(connection, keep);
}

static void key_done(struct ush_http_request *request)
{
	ush_http_answer_out(request);
}

/* Takes what is in request->answer. */
static void give(struct ush_http_request *request, uint32_t status, const char *type)
{
	struct ush_http_server *server = request->server;

	USH_ASSERT(!request->answered);
	USH_ASSERT(strpbrk(type, "\r\n") == NULL);
	request->answered = true;
	request->status = status;
	snprintf(request->type, sizeof(request->type), "%s", type);
	if (!request->keyed) {
		ush_http_answer_out(request);
		return;
	}
	server->keys.end(server->keys.context, request, request->account, request->key, status,
		request->type, evbuffer_pullup(request->answer, -1),
		evbuffer_get_length(request->answer), key_done);
}

void ush_http_answer(struct ush_http_request *request, uint32_t status, const char *type,
	const void *body, size_t bytes)
{
	USH_ASSERT(request->answer == NULL);
	request->answer = evbuffer_new();
	USH_ASSERT(request->answer != NULL);
	evbuffer_add(request->answer, body, bytes);
	give(request, status, type);
}

void ush_http_answer_empty(struct ush_http_request *request, uint32_t status)
{
	ush_http_answer(request, status, "", "", 0);
}

static void release_text(const void *text, size_t bytes, void *context)
{
	(void)bytes;
	(void)context;
	free((void *)text);
}

static void answer_dump(
	struct ush_http_request *request, uint32_t status, const char *type, json_t *body)
{
	char *text = json_dumps(body, JSON_COMPACT | JSON_ENCODE_ANY);

	USH_ASSERT(text != NULL);
	json_decref(body);
	USH_ASSERT(request->answer == NULL);
	request->answer = evbuffer_new();
	USH_ASSERT(request->answer != NULL);
	evbuffer_add_reference(request->answer, text, strlen(text), release_text, NULL);
	give(request, status, type);
}

void ush_http_answer_json(struct ush_http_request *request, uint32_t status, json_t *body)
{
	answer_dump(request, status, "application/json", body);
}

void ush_http_problem(struct ush_http_request *request, uint32_t status, const char *code,
	json_t *more, const char *detail, ...)
{
	const char *title = ush_http_problem_title(code);
	char text[600], type[80], instance[40];
	va_list list;
	json_t *body;

	va_start(list, detail);
	vsnprintf(text, sizeof(text), detail, list);
	va_end(list);
	if (title == NULL) {
		ush_core_log(USH_CORE_ERROR, "http", "a code that problem.c does not have", "code",
			code, NULL);
		title = ush_http_status_text(status);
	}
	snprintf(type, sizeof(type), "urn:usher:problem:%s", code);
	snprintf(instance, sizeof(instance), "urn:usher:request:%s", request->id);
	/* A detail that quotes what is no UTF-8 is left out rather than the answer. */
	body = json_pack("{s:s, s:s, s:i, s:s, s:s*, s:s}", "type", type, "title", title, "status",
		(int)status, "code", code, "detail", text, "instance", instance);
	if (body == NULL)
		body = json_pack("{s:s, s:s, s:i, s:s, s:s}", "type", type, "title", title,
			"status", (int)status, "code", code, "instance", instance);
	USH_ASSERT(body != NULL);
	if (more != NULL)
		json_object_update_missing(body, more);
	json_decref(more);
	answer_dump(request, status, "application/problem+json", body);
}
