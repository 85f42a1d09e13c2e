/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests against a server of this process that behaves as each test says, on real sockets of the
 * loopback.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/event.h>

#include "fetch/address.h"
#include "fetch/fetch.h"
#include "tests/tap.h"

/* What the server says to what it was sent. */
struct peer {
	int listener, connection;
	uint16_t port;
	const char *answer; /* NULL: reads and says nothing */
	bool mail, hang_up;
	struct event *accepting, *reading;
	char seen[8192];
	size_t seen_bytes;
	int connections;
};

struct outcome {
	int calls, result;
	uint32_t status;
	char body[256], type[64], header[64];
	bool has_error;
};

static struct event_base *base;
static struct peer peer;
static struct ush_fetch *fetch;

static void say(const char *text)
{
	if (write(peer.connection, text, strlen(text)) < 0)
		peer.hang_up = true;
}

/* Enough SMTP for one mail. */
static void answer_mail(const char *data, size_t bytes)
{
	static bool in_data;

	if (in_data) {
		if (strstr(peer.seen, "\r\n.\r\n") != NULL) {
			in_data = false;
			say("250 2.0.0 queued\r\n");
		}
	} else if (strncmp(data, "EHLO", 4) == 0) {
		say("250-peer\r\n250 8BITMIME\r\n");
	} else if (strncmp(data, "RCPT TO:<nobody", 15) == 0) {
		say("550 5.1.1 no such user\r\n");
	} else if (strncmp(data, "DATA", 4) == 0) {
		in_data = true;
		say("354 go on\r\n");
	} else if (bytes > 0) {
		say("250 2.0.0 yes\r\n");
	}
}

static void on_read(evutil_socket_t fd, short what, void *context)
{
	ssize_t got =
		read(fd, peer.seen + peer.seen_bytes, sizeof(peer.seen) - peer.seen_bytes - 1);

	(void)what;
	(void)context;
	if (got <= 0) {
		event_del(peer.reading);
		return;
	}
	peer.seen[peer.seen_bytes + (size_t)got] = '\0';
	if (peer.mail) {
		const char *data = peer.seen + peer.seen_bytes;

		peer.seen_bytes += (size_t)got;
		answer_mail(data, (size_t)got);
		return;
	}
	peer.seen_bytes += (size_t)got;
	if (peer.answer != NULL)
		say(peer.answer);
	if (peer.hang_up) {
		event_del(peer.reading);
		close(fd);
		peer.connection = -1;
	}
}

static void on_accept(evutil_socket_t fd, short what, void *context)
{
	(void)what;
	(void)context;
	if (peer.connection >= 0)
		close(peer.connection);
	peer.connection = accept(fd, NULL, NULL);
	peer.connections++;
	if (peer.reading != NULL)
		event_free(peer.reading);
	peer.reading = event_new(base, peer.connection, EV_READ | EV_PERSIST, on_read, NULL);
	event_add(peer.reading, NULL);
	if (peer.mail)
		say("220 peer\r\n");
}

static void begin(void)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t bytes = sizeof(address);

	memset(&peer, 0, sizeof(peer));
	peer.connection = -1;
	peer.listener = socket(AF_INET, SOCK_STREAM, 0);
	CHECK(bind(peer.listener, (struct sockaddr *)&address, sizeof(address)) == 0);
	CHECK(listen(peer.listener, 8) == 0);
	CHECK(getsockname(peer.listener, (struct sockaddr *)&address, &bytes) == 0);
	peer.port = ntohs(address.sin_port);
	base = event_base_new();
	peer.accepting = event_new(base, peer.listener, EV_READ | EV_PERSIST, on_accept, NULL);
	event_add(peer.accepting, NULL);
	CHECK_EQ(ush_fetch_open(&fetch, base, NULL), 0);
}

static void end(void)
{
	ush_fetch_close(fetch);
	event_free(peer.accepting);
	if (peer.reading != NULL)
		event_free(peer.reading);
	event_base_free(base);
	close(peer.listener);
	if (peer.connection >= 0)
		close(peer.connection);
}

static void on_done(void *context, const struct ush_fetch_result *result)
{
	struct outcome *outcome = context;
	const char *header = result->header(result, "x-said");

	outcome->calls++;
	outcome->result = result->result;
	outcome->status = result->status;
	outcome->has_error = result->error != NULL;
	snprintf(outcome->body, sizeof(outcome->body), "%.*s", (int)ush_min64(result->bytes, 200),
		(const char *)result->body);
	snprintf(outcome->type, sizeof(outcome->type), "%s", result->type ? result->type : "");
	snprintf(outcome->header, sizeof(outcome->header), "%s", header ? header : "");
	event_base_loopbreak(base);
}

static const char *url_of(const char *scheme, const char *path)
{
	static char url[128];

	snprintf(url, sizeof(url), "%s://127.0.0.1:%u%s", scheme, peer.port, path);
	return url;
}

static struct outcome ask(struct ush_fetch_request *request)
{
	struct outcome outcome = {0};

	if (request->method == NULL)
		request->method = "POST";
	if (request->url == NULL)
		request->url = url_of("http", "/v1/things");
	if (request->timeout_ms == 0)
		request->timeout_ms = 5000;
	if (request->answer_bytes_max == 0)
		request->answer_bytes_max = 1000;
	ush_fetch_start(fetch, request, on_done, &outcome);
	CHECK_EQ(outcome.calls, 0);
	event_base_dispatch(base);
	CHECK_EQ(outcome.calls, 1);
	return outcome;
}

/* Goal: what was asked for arrives as it was said, and the answer with it. */
static void test_fetch_post_answered(void)
{
	static const char *const headers[] = {
		"Content-Type: application/json", "Idempotency-Key: k1", NULL};
	struct outcome got;

	begin();
	peer.answer = "HTTP/1.1 402 Payment Required\r\nContent-Type: application/json\r\n"
		      "X-Said: yes\r\nContent-Length: 2\r\n\r\n{}";
	got = ask(&(struct ush_fetch_request){.headers = headers,
		.body = "{\"a\":1}",
		.bytes = 7,
		.user = "sk_test",
		.password = ""});
	CHECK_EQ(got.result, 0);
	CHECK_EQ(got.status, 402);
	CHECK(strcmp(got.body, "{}") == 0 && strcmp(got.type, "application/json") == 0);
	CHECK(strcmp(got.header, "yes") == 0 && !got.has_error);
	CHECK(strncmp(peer.seen, "POST /v1/things HTTP/1.1\r\n", 26) == 0);
	CHECK(strstr(peer.seen, "\r\nIdempotency-Key: k1\r\n") != NULL);
	CHECK(strstr(peer.seen, "\r\nAuthorization: Basic c2tfdGVzdDo=\r\n") != NULL);
	CHECK(strstr(peer.seen, "\r\n\r\n{\"a\":1}") != NULL);
	CHECK(strstr(peer.seen, "Expect") == NULL);
	end();
}

/* Goal: redirects are an answer like any other. */
static void test_fetch_redirect_not_followed(void)
{
	struct outcome got;

	begin();
	peer.answer = "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: "
		      "0\r\n\r\n";
	got = ask(&(struct ush_fetch_request){.method = "GET"});
	CHECK_EQ(got.result, 0);
	CHECK_EQ(got.status, 302);
	end();
}

/* Goal: only what surely was not sent is called so. */
static void test_fetch_failures_told_apart(void)
{
	struct outcome got;

	begin();
	got = ask(&(struct ush_fetch_request){.url = "http://127.0.0.1:1/"});
	CHECK(got.result == -USH_ENOENT && got.has_error);
	got = ask(&(struct ush_fetch_request){.url = "http://name.invalid/", .timeout_ms = 1000});
	CHECK(got.result == -USH_ENOENT);
	got = ask(&(struct ush_fetch_request){.url = "ftp://127.0.0.1/"});
	CHECK(got.result == -USH_ENOENT);
	got = ask(&(struct ush_fetch_request){.timeout_ms = 200});
	CHECK(got.result == -USH_EUNKNOWN && got.has_error);
	CHECK(strstr(peer.seen, "POST /v1/things") != NULL);
	peer.hang_up = true;
	got = ask(&(struct ush_fetch_request){.body = "x", .bytes = 1});
	CHECK(got.result == -USH_EUNKNOWN);
	end();
}

/* Goal: a POST whose kept connection died is not sent twice. */
static void test_fetch_post_never_repeated(void)
{
	struct outcome got;

	begin();
	peer.answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
	got = ask(&(struct ush_fetch_request){.body = "1", .bytes = 1});
	CHECK_EQ(got.result, 0);
	peer.answer = NULL;
	peer.hang_up = true;
	peer.seen_bytes = 0;
	got = ask(&(struct ush_fetch_request){.body = "2", .bytes = 1});
	CHECK(got.result == -USH_EUNKNOWN);
	CHECK_EQ(peer.connections, 2);
	end();
}

/* Goal: an answer beyond the limit is none. */
static void test_fetch_answer_too_long(void)
{
	struct outcome got;

	begin();
	peer.answer = "HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n01234567890123456789";
	got = ask(&(struct ush_fetch_request){.answer_bytes_max = 19});
	CHECK(got.result == -USH_EUNKNOWN && got.has_error);
	got = ask(&(struct ush_fetch_request){.answer_bytes_max = 20});
	CHECK(got.result == 0 && strlen(got.body) == 20);
	end();
}

/* Goal: a customer's URL does not reach into this machine or network. */
static void test_fetch_public_only(void)
{
	static const struct {
		const char *text;
		bool is_public;
	} cases[] = {{"8.8.8.8", true}, {"127.0.0.1", false}, {"10.1.2.3", false},
		{"172.16.0.1", false}, {"172.31.255.255", false}, {"172.32.0.1", true},
		{"192.168.1.1", false}, {"192.169.0.1", true}, {"169.254.169.254", false},
		{"100.64.0.1", false}, {"100.128.0.1", true}, {"0.0.0.0", false},
		{"224.0.0.1", false}, {"255.255.255.255", false}, {"198.18.0.1", false},
		{"::1", false}, {"::", false}, {"fe80::1", false}, {"fc00::1", false},
		{"ff02::1", false}, {"2606:4700::1111", true}, {"2001:db8::1", false},
		{"2001:0:1::1", false}, {"2001:200::1", true}, {"::ffff:127.0.0.1", false},
		{"::ffff:8.8.8.8", true}, {"64:ff9b::a00:1", false}, {"2002:7f00:1::", false},
		{"2002:808:808::", true}};
	struct outcome got;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct sockaddr_in in = {.sin_family = AF_INET};
		struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
		bool six = strchr(cases[i].text, ':') != NULL;

		CHECK_EQ(inet_pton(six ? AF_INET6 : AF_INET, cases[i].text,
				 six ? (void *)&in6.sin6_addr : (void *)&in.sin_addr),
			1);
		CHECK_EQ(
			ush_fetch_is_public(six ? (struct sockaddr *)&in6 : (struct sockaddr *)&in),
			cases[i].is_public);
	}
	begin();
	peer.answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
	/* A connection is there to be used again, and must not be. */
	got = ask(&(struct ush_fetch_request){.method = "GET"});
	CHECK_EQ(got.result, 0);
	got = ask(&(struct ush_fetch_request){.method = "GET", .public_only = true});
	CHECK(got.result == -USH_ENOENT && got.has_error);
	CHECK_EQ(peer.connections, 1);
	end();
}

/* Goal: a mail is handed over once, and a refusal is an answer. */
static void test_fetch_mail(void)
{
	static const char *const to[] = {"<a@example.org>", "b@example.org", NULL};
	static const char *const nobody[] = {"nobody@example.org", NULL};
	static const char text[] = "Subject: x\r\n\r\nHello\r\n.dot\r\n";
	struct ush_fetch_request mail = {.method = "SMTP",
		.body = text,
		.bytes = sizeof(text) - 1,
		.mail_from = "shop@example.org",
		.mail_to = to};
	struct outcome got;

	begin();
	peer.mail = true;
	mail.url = url_of("smtp", "");
	got = ask(&mail);
	CHECK_EQ(got.result, 0);
	CHECK_EQ(got.status, 250);
	CHECK(strstr(peer.seen, "MAIL FROM:<shop@example.org>") != NULL);
	CHECK(strstr(peer.seen, "RCPT TO:<a@example.org>") != NULL);
	CHECK(strstr(peer.seen, "RCPT TO:<b@example.org>") != NULL);
	CHECK(strstr(peer.seen, "\r\n..dot\r\n.\r\n") != NULL);
	mail.mail_to = nobody;
	mail.url = url_of("smtp", "");
	got = ask(&mail);
	CHECK_EQ(got.result, 0);
	CHECK_EQ(got.status, 550);
	mail.url = "smtp://127.0.0.1:1";
	got = ask(&mail);
	CHECK(got.result == -USH_ENOENT);
	end();
}

/* Goal: what is under way at the end is called back, once. */
static void test_fetch_close_calls_back(void)
{
	struct outcome outcome = {0};

	begin();
	ush_fetch_start(fetch,
		&(struct ush_fetch_request){
			.method = "GET", .url = url_of("http", "/"), .timeout_ms = 60000},
		on_done, &outcome);
	event_base_loop(base, EVLOOP_ONCE);
	end();
	CHECK_EQ(outcome.calls, 1);
	CHECK(outcome.result == -USH_EUNKNOWN);
}

/* Goal: what is given a password in the clear is this machine, and no name that begins like it. */
static void test_fetch_knows_this_machine_by_its_whole_name(void)
{
	static const char *const here[] = {"smtp://127.0.0.1:25", "smtp://localhost",
		"smtp://[::1]:25", "smtps://127.1.2.3/", "smtp://localhost:25/"};
	static const char *const elsewhere[] = {"smtp://localhost.example:25", "smtp://127.example",
		"smtp://127.0.0.1.example:25", "smtp://127.0.0.1@mail.example",
		"smtp://mail.example", "smtp://localhost@mail.example/", "smtp://[::1].example",
		"smtp://[::2]", "127.0.0.1", "smtp://mail.example/?://127.0.0.1"};

	for (size_t i = 0; i < sizeof(here) / sizeof(here[0]); i++)
		CHECK(ush_fetch_is_here(here[i]));
	for (size_t i = 0; i < sizeof(elsewhere) / sizeof(elsewhere[0]); i++)
		CHECK(!ush_fetch_is_here(elsewhere[i]));
}

int main(void)
{
	TAP_RUN(test_fetch_post_answered);
	TAP_RUN(test_fetch_redirect_not_followed);
	TAP_RUN(test_fetch_failures_told_apart);
	TAP_RUN(test_fetch_post_never_repeated);
	TAP_RUN(test_fetch_answer_too_long);
	TAP_RUN(test_fetch_public_only);
	TAP_RUN(test_fetch_knows_this_machine_by_its_whole_name);
	TAP_RUN(test_fetch_mail);
	TAP_RUN(test_fetch_close_calls_back);
	return tap_end();
}
