/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A call is a curl handle with a copy of its request. The event loop tells curl of sockets and of
 * its one timer; what curl then says is done is taken out and called back.
 *
 * Certificates are checked, with the host's name (curl's default), also where TLS is only tried.
 *
 * Failure modes: what did not get a byte of a request out is -USH_ENOENT, whatever the reason; all
 * else that ends without an answer is -USH_EUNKNOWN. A POST opens its own connection: curl repeats
 * a request by itself when a connection that it kept turns out to be dead, and a POST is repeated
 * by nobody but its caller.
 *
 * SMTP goes its own way, smtp.c: curl waits in it for the relay.
 */
#include <stdlib.h>
#include <string.h>

#include <curl/curl.h>
#include <event2/event.h>

#include "fetch/address.h"
#include "fetch/call.h"

#define CONNECTIONS_MAX 256l     /* guess */
#define HOST_CONNECTIONS_MAX 64l /* guess */

struct ush_fetch {
	struct event_base *base;
	struct event *timer;
	CURLM *multi;
	CURLSH *share; /* of TLS sessions: a new connection is a short handshake */
	struct call *calls;
	struct fetch_smtp *smtp;
};

struct watch {
	struct event *event;
};

static const char *header_of(const struct ush_fetch_result *result, const char *name)
{
	struct call *call = (struct call *)((uintptr_t)result - offsetof(struct call, result));
	struct curl_header *found;

	if (curl_easy_header(call->curl, name, 0, CURLH_HEADER, -1, &found) != CURLHE_OK)
		return NULL;
	return found->value;
}

void fetch_call_free(struct call *call)
{
	if (call->back != NULL) {
		*call->back = call->next;
		if (call->next != NULL)
			call->next->back = call->back;
	}
	curl_easy_cleanup(call->curl);
	curl_slist_free_all(call->headers);
	curl_slist_free_all(call->recipients);
	free(call->sent);
	free(call->body);
	free(call);
}

/* What curl's end of a transfer means. */
static void judge(struct call *call, CURLcode code)
{
	long status = 0, request_bytes = 0;
	curl_off_t upload_bytes = 0;

	curl_easy_getinfo(call->curl, CURLINFO_RESPONSE_CODE, &status);
	curl_easy_getinfo(call->curl, CURLINFO_REQUEST_SIZE, &request_bytes);
	curl_easy_getinfo(call->curl, CURLINFO_SIZE_UPLOAD_T, &upload_bytes);
	if (code == CURLE_OK || (call->mail && status >= 400 && code != CURLE_USE_SSL_FAILED)) {
		call->result.result = 0;
		call->result.status = (uint32_t)status;
	} else if (call->mail ? upload_bytes == 0 && call->sent_at == 0 : request_bytes == 0) {
		call->result.result = -USH_ENOENT;
	} else {
		call->result.result = -USH_EUNKNOWN;
	}
	if (code == CURLE_OK)
		return;
	call->result.error = call->not_public ? "the address is not public"
			     : call->too_long ? "the answer is too long"
			     : call->error[0] ? call->error
					      : curl_easy_strerror(code);
}

void fetch_call_end(struct call *call, CURLcode code)
{
	char *type = NULL;

	judge(call, code);
	if (!call->mail)
		curl_easy_getinfo(call->curl, CURLINFO_CONTENT_TYPE, &type);
	call->result.type = type;
	call->result.body = call->body != NULL ? call->body : "";
	call->result.bytes = call->body_bytes;
	call->done(call->context, &call->result);
	fetch_call_free(call);
}

static void take_finished(struct ush_fetch *fetch)
{
	CURLMsg *said;
	int left;

	while ((said = curl_multi_info_read(fetch->multi, &left)) != NULL) {
		struct call *call = NULL;
		CURLcode code = said->data.result;

		if (said->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(said->easy_handle, CURLINFO_PRIVATE, (char **)&call);
		curl_multi_remove_handle(fetch->multi, call->curl);
		fetch_call_end(call, code);
	}
}

static void on_socket(evutil_socket_t fd, short what, void *context)
{
	struct ush_fetch *fetch = context;
	int running, action = (what & EV_READ ? CURL_CSELECT_IN : 0) |
			      (what & EV_WRITE ? CURL_CSELECT_OUT : 0);

	curl_multi_socket_action(fetch->multi, fd, action, &running);
	take_finished(fetch);
}

static void on_timer(evutil_socket_t fd, short what, void *context)
{
	struct ush_fetch *fetch = context;
	int running;

	(void)fd;
	(void)what;
	curl_multi_socket_action(fetch->multi, CURL_SOCKET_TIMEOUT, 0, &running);
	take_finished(fetch);
}

static int want_timer(CURLM *multi, long ms, void *context)
{
	struct ush_fetch *fetch = context;
	const struct timeval delay = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};

	(void)multi;
	if (ms < 0)
		evtimer_del(fetch->timer);
	else
		evtimer_add(fetch->timer, &delay);
	return 0;
}

static int want_socket(CURL *curl, curl_socket_t fd, int what, void *context, void *of_socket)
{
	struct ush_fetch *fetch = context;
	struct watch *watch = of_socket;
	short events = (short)((what & CURL_POLL_IN ? EV_READ : 0) |
			       (what & CURL_POLL_OUT ? EV_WRITE : 0) | EV_PERSIST);

	(void)curl;
	if (watch != NULL && watch->event != NULL)
		event_free(watch->event);
	if (what == CURL_POLL_REMOVE) {
		free(watch);
		curl_multi_assign(fetch->multi, fd, NULL);
		return 0;
	}
	if (watch == NULL) {
		watch = calloc(1, sizeof(*watch));
		USH_ASSERT(watch != NULL);
		curl_multi_assign(fetch->multi, fd, watch);
	}
	watch->event = event_new(fetch->base, fd, events, on_socket, fetch);
	USH_ASSERT(watch->event != NULL);
	event_add(watch->event, NULL);
	return 0;
}

static curl_socket_t open_socket(void *context, curlsocktype purpose, struct curl_sockaddr *address)
{
	struct call *call = context;

	(void)purpose;
	if (!ush_fetch_is_public(&address->addr)) {
		call->not_public = true;
		return CURL_SOCKET_BAD;
	}
	return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

static size_t take_body(char *data, size_t size, size_t count, void *context)
{
	struct call *call = context;
	size_t bytes = size * count;

	if (bytes > call->body_max - call->body_bytes) {
		call->too_long = true;
		return 0;
	}
	if (call->body_bytes + bytes + 1 > call->body_size) {
		call->body_size = 2 * (call->body_bytes + bytes + 1);
		call->body = realloc(call->body, call->body_size);
		USH_ASSERT(call->body != NULL);
	}
	memcpy(call->body + call->body_bytes, data, bytes);
	call->body_bytes += bytes;
	call->body[call->body_bytes] = '\0';
	return bytes;
}

static size_t give_body(char *data, size_t size, size_t count, void *context)
{
	struct call *call = context;
	size_t bytes = ush_min64(size * count, call->sent_bytes - call->sent_at);

	memcpy(data, call->sent + call->sent_at, bytes);
	call->sent_at += bytes;
	return bytes;
}

int ush_fetch_open(struct ush_fetch **fetch, struct event_base *base, struct ush_message *message)
{
	struct ush_fetch *made;

	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
		ush_message_set(message, "libcurl cannot be initialised");
		return -USH_ESYSTEM;
	}
	made = calloc(1, sizeof(*made));
	USH_ASSERT(made != NULL);
	if (fetch_smtp_open(&made->smtp, base, message) != 0) {
		free(made);
		return -USH_ESYSTEM;
	}
	made->base = base;
	made->timer = evtimer_new(base, on_timer, made);
	made->multi = curl_multi_init();
	made->share = curl_share_init();
	USH_ASSERT(made->timer != NULL && made->multi != NULL);
	USH_ASSERT(made->share != NULL);
	curl_share_setopt(made->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION);
	curl_multi_setopt(made->multi, CURLMOPT_SOCKETFUNCTION, want_socket);
	curl_multi_setopt(made->multi, CURLMOPT_SOCKETDATA, made);
	curl_multi_setopt(made->multi, CURLMOPT_TIMERFUNCTION, want_timer);
	curl_multi_setopt(made->multi, CURLMOPT_TIMERDATA, made);
	curl_multi_setopt(made->multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, CONNECTIONS_MAX);
	curl_multi_setopt(made->multi, CURLMOPT_MAX_HOST_CONNECTIONS, HOST_CONNECTIONS_MAX);
	*fetch = made;
	return 0;
}

static struct curl_slist *add_text(struct curl_slist *list, const char *text)
{
	list = curl_slist_append(list, text);
	USH_ASSERT(list != NULL);
	return list;
}

bool ush_fetch_is_here(const char *url)
{
	const char *host = strstr(url, "://");
	size_t bytes;

	if (host == NULL)
		return false;
	host += 3;
	/* A name that only begins like ours is somebody else's. */
	bytes = host[0] == '[' ? strcspn(host, "]/") + 1 : strcspn(host, ":/?#@");
	if (memchr(host, '@', strcspn(host, "/?#")) != NULL)
		return false;
	if (host[bytes] != '\0' && strchr(":/?#", host[bytes]) == NULL)
		return false;
	return (bytes == 5 && strncmp(host, "[::1]", 5) == 0) ||
	       (bytes == 9 && strncmp(host, "localhost", 9) == 0) ||
	       (strncmp(host, "127.", 4) == 0 && strspn(host, "0123456789.") == bytes);
}

static void set_mail(struct call *call, const struct ush_fetch_request *request)
{
	/* A password goes in the clear to this machine only. */
	bool secret = request->user != NULL && !ush_fetch_is_here(request->url);
	long tls = secret || request->require_tls ? CURLUSESSL_ALL : CURLUSESSL_TRY;

	call->mail = true;
	for (const char *const *to = request->mail_to; to != NULL && *to != NULL; to++)
		call->recipients = add_text(call->recipients, *to);
	curl_easy_setopt(call->curl, CURLOPT_PROTOCOLS_STR, "smtp,smtps");
	curl_easy_setopt(call->curl, CURLOPT_USE_SSL, tls);
	curl_easy_setopt(call->curl, CURLOPT_MAIL_FROM, request->mail_from);
	curl_easy_setopt(call->curl, CURLOPT_MAIL_RCPT, call->recipients);
	curl_easy_setopt(call->curl, CURLOPT_UPLOAD, 1l);
	curl_easy_setopt(call->curl, CURLOPT_READFUNCTION, give_body);
	curl_easy_setopt(call->curl, CURLOPT_READDATA, call);
	curl_easy_setopt(call->curl, CURLOPT_FORBID_REUSE, 1l);
	/* A relay that is silent: within the whole time, not beyond it. */
	curl_easy_setopt(
		call->curl, CURLOPT_SERVER_RESPONSE_TIMEOUT, (long)request->timeout_ms / 1000 + 1);
}

static void set_http(struct call *call, const struct ush_fetch_request *request)
{
	bool get = strcmp(request->method, "GET") == 0;

	/* Never wait for "100 Continue". */
	call->headers = add_text(call->headers, "Expect:");
	for (const char *const *header = request->headers; header != NULL && *header != NULL;
		header++)
		call->headers = add_text(call->headers, *header);
	curl_easy_setopt(call->curl, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(call->curl, CURLOPT_SHARE, call->fetch->share);
	curl_easy_setopt(call->curl, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(call->curl, CURLOPT_HTTPHEADER, call->headers);
	curl_easy_setopt(call->curl, CURLOPT_HTTPAUTH, CURLAUTH_BASIC);
	if (call->sent_bytes > 0 || strcmp(request->method, "POST") == 0) {
		curl_easy_setopt(
			call->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)call->sent_bytes);
		curl_easy_setopt(call->curl, CURLOPT_POSTFIELDS, call->sent);
	}
	curl_easy_setopt(call->curl, CURLOPT_CUSTOMREQUEST, request->method);
	if (!get || request->public_only)
		curl_easy_setopt(call->curl, CURLOPT_FRESH_CONNECT, 1l);
}

static void set_common(struct call *call, const struct ush_fetch_request *request)
{
	CURL *curl = call->curl;

	curl_easy_setopt(curl, CURLOPT_PRIVATE, call);
	curl_easy_setopt(curl, CURLOPT_URL, request->url);
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1l);
	/* A name that nobody resolves must not hold the loop up when its time is over. */
	curl_easy_setopt(curl, CURLOPT_QUICK_EXIT, 1l);
	curl_easy_setopt(curl, CURLOPT_PROXY, "");
	curl_easy_setopt(curl, CURLOPT_USERAGENT, "usher/" USH_VERSION_TEXT);
	curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0l);
	curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, call->error);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)request->timeout_ms);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_body);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, call);
	curl_easy_setopt(curl, CURLOPT_SSLVERSION, CURL_SSLVERSION_TLSv1_2);
	if (request->ca != NULL) {
		struct curl_blob blob = {
			(void *)(uintptr_t)request->ca, strlen(request->ca), CURL_BLOB_COPY};

		curl_easy_setopt(curl, CURLOPT_CAINFO_BLOB, &blob);
	}
	if (request->user != NULL) {
		curl_easy_setopt(curl, CURLOPT_USERNAME, request->user);
		curl_easy_setopt(
			curl, CURLOPT_PASSWORD, request->password != NULL ? request->password : "");
	}
	if (request->public_only) {
		curl_easy_setopt(curl, CURLOPT_OPENSOCKETFUNCTION, open_socket);
		curl_easy_setopt(curl, CURLOPT_OPENSOCKETDATA, call);
		curl_easy_setopt(curl, CURLOPT_FORBID_REUSE, 1l);
	}
}

void ush_fetch_start(struct ush_fetch *fetch, const struct ush_fetch_request *request,
	ush_fetch_done *done, void *context)
{
	struct call *call = calloc(1, sizeof(*call));

	USH_ASSERT(call != NULL);
	USH_ASSERT(request->timeout_ms > 0);
	call->fetch = fetch;
	call->done = done;
	call->context = context;
	call->body_max = request->answer_bytes_max;
	call->result.header = header_of;
	call->sent_bytes = request->bytes;
	call->sent = malloc(request->bytes + 1);
	call->curl = curl_easy_init();
	USH_ASSERT(call->sent != NULL && call->curl != NULL);
	if (request->bytes > 0)
		memcpy(call->sent, request->body, request->bytes);
	call->sent[request->bytes] = '\0';
	set_common(call, request);
	if (strcmp(request->method, "SMTP") == 0) {
		set_mail(call, request);
		fetch_smtp_put(fetch->smtp, call);
		return;
	}
	set_http(call, request);
	call->next = fetch->calls;
	call->back = &fetch->calls;
	if (call->next != NULL)
		call->next->back = &call->next;
	fetch->calls = call;
	/* Arms the timer at 0: the rest happens from the loop. */
	USH_ASSERT(curl_multi_add_handle(fetch->multi, call->curl) == CURLM_OK);
}

void ush_fetch_close(struct ush_fetch *fetch)
{
	if (fetch == NULL)
		return;
	fetch_smtp_close(fetch->smtp);
	while (fetch->calls != NULL) {
		struct call *call = fetch->calls;

		curl_multi_remove_handle(fetch->multi, call->curl);
		call->result.result = -USH_EUNKNOWN;
		call->result.error = "stopped";
		call->result.body = "";
		call->done(call->context, &call->result);
		fetch_call_free(call);
	}
	curl_multi_cleanup(fetch->multi);
	curl_share_cleanup(fetch->share);
	event_free(fetch->timer);
	free(fetch);
	curl_global_cleanup();
}
