/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Framing of HTTP requests: what is taken, what is refused and by which name, whole and in pieces.
 * Each case runs at every cut into two pieces and byte by byte: the verdict may not depend on it.
 */
#include <string.h>

#include "http/framing.h"
#include "tests/tap.h"

static const struct ush_http_limits limits = {
	.head_bytes_max = 300, .header_count_max = 6, .body_bytes_max = 100};

#define H "Host: shop.example\r\n"
#define POST "POST /v1/orders HTTP/1.1\r\n" H

struct sample {
	const char *text;
	enum ush_http_refusal refusal;
	uint64_t requests; /* complete before the end or the refusal */
};

static struct ush_http_framing feed(const char *text, size_t bytes, size_t piece, size_t *used)
{
	struct ush_http_framing framing;

	ush_http_framing_init(&framing, &limits);
	*used = 0;
	for (size_t at = 0; at < bytes && framing.refusal == USH_HTTP_FINE; at += piece) {
		size_t part;

		ush_http_framing_feed(
			&framing, text + at, piece < bytes - at ? piece : bytes - at, &part);
		*used += part;
	}
	return framing;
}

static void check_bytes(const struct sample *sample, size_t bytes)
{
	size_t whole_used, used;
	struct ush_http_framing whole = feed(sample->text, bytes, bytes, &whole_used);

	if (whole.refusal != sample->refusal || whole.requests != sample->requests)
		printf("# %s: %s after %zu bytes\n", sample->text,
			ush_http_refusal_name(whole.refusal), whole_used);
	CHECK_EQ(whole.refusal, sample->refusal);
	CHECK_EQ(whole.requests, sample->requests);
	for (size_t piece = 1; piece < bytes; piece++) {
		struct ush_http_framing pieces = feed(sample->text, bytes, piece, &used);

		CHECK_EQ(pieces.refusal, whole.refusal);
		CHECK_EQ(pieces.requests, whole.requests);
		CHECK_EQ(used, whole_used);
	}
}

static void check_all(const struct sample *samples, size_t count)
{
	for (size_t i = 0; i < count; i++)
		check_bytes(&samples[i], strlen(samples[i].text));
}

static void test_framing_good_requests_are_taken(void)
{
	static const struct sample samples[] = {
		{"GET / HTTP/1.1\r\n" H "\r\n", 0, 1},
		{"GET /a?b=%20&c=[1]{}|^` HTTP/1.1\r\nhOsT:[::1]:80\r\n\r\n", 0, 1},
		{"DELETE /v1/x HTTP/1.1\r\nAccept:\r\n" H "X-Y: a\tb \xc3\xa9 \r\n\r\n", 0, 1},
		{POST "Content-Length: 0\r\n\r\n", 0, 1},
		{POST "Content-Length: \t 5 \r\n\r\nabcde", 0, 1},
		{POST "Content-Length: 5\r\n\r\nabcd", 0, 0},
		{POST "Content-Length: 100\r\n\r\n", 0, 0},
		{POST "Transfer-Encoding: Chunked\r\n\r\n3\r\nabc\r\n0a\r\n0123456789\r\n0\r\n\r\n",
			0, 1},
		{POST "Expect: 100-continue\r\nContent-Length: 1\r\n\r\nx", 0, 1},
		{"GET / HTTP/1.1\r\n" H "\r\nGET /2 HTTP/1.1\r\n" H "\r\n" POST
		 "Content-Length: 2\r\n\r\nxyGET / HTTP/1.1\r\n",
			0, 3},
		{"GET / HTTP/1.1\r\n" H "Content-Length: 0\r\n\r\n", 0, 1},
	};

	check_all(samples, sizeof(samples) / sizeof(samples[0]));
}

static void test_framing_lengths_in_doubt_are_refused(void)
{
	static const struct sample samples[] = {
		{POST "Content-Length: 5\r\nContent-Length: 5\r\n\r\nabcde", USH_HTTP_LENGTH, 0},
		{POST "Content-Length: 5, 5\r\n\r\nabcde", USH_HTTP_LENGTH, 0},
		{POST "Content-Length: +5\r\n\r\nabcde", USH_HTTP_LENGTH, 0},
		{POST "Content-Length: -5\r\n\r\n", USH_HTTP_LENGTH, 0},
		{POST "Content-Length: 0x5\r\n\r\nabcde", USH_HTTP_LENGTH, 0},
		{POST "Content-Length: 5 5\r\n\r\n", USH_HTTP_LENGTH, 0},
		{POST "Content-Length:\r\n\r\n", USH_HTTP_LENGTH, 0},
		{POST "Content-Length: 18446744073709551616\r\n\r\n", USH_HTTP_LENGTH, 0},
		{POST "Content-Length: 101\r\n\r\n", USH_HTTP_BODY_TOO_LARGE, 0},
		{POST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
			USH_HTTP_LENGTH_AND_ENCODING, 0},
		{POST "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
			USH_HTTP_LENGTH_AND_ENCODING, 0},
		{POST "Transfer-Encoding: xchunked\r\n\r\n", USH_HTTP_ENCODING, 0},
		{POST "Transfer-Encoding: gzip, chunked\r\n\r\n", USH_HTTP_ENCODING, 0},
		{POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
			USH_HTTP_ENCODING, 0},
		{POST "Transfer-Encoding: identity\r\n\r\n", USH_HTTP_ENCODING, 0},
		{POST "Transfer-Encoding:\r\n\r\n", USH_HTTP_ENCODING, 0},
		{"GET / HTTP/1.1\r\n" H "Content-Length: 1\r\n\r\nx", USH_HTTP_BODY_UNEXPECTED, 0},
		{"HEAD / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n",
			USH_HTTP_BODY_UNEXPECTED, 0},
	};

	check_all(samples, sizeof(samples) / sizeof(samples[0]));
}

static void test_framing_odd_chunks_are_refused(void)
{
#define C POST "Transfer-Encoding: chunked\r\n\r\n"
	static const struct sample samples[] = {
		{C "0x5\r\nabcde\r\n", USH_HTTP_CHUNK, 0},
		{C "+5\r\nabcde\r\n", USH_HTTP_CHUNK, 0},
		{C " 5\r\n", USH_HTTP_CHUNK, 0},
		{C "5 \r\n", USH_HTTP_CHUNK, 0},
		{C "5;a=b\r\n", USH_HTTP_CHUNK, 0},
		{C "5\nabcde\r\n", USH_HTTP_CHUNK, 0},
		{C "\r\n", USH_HTTP_CHUNK, 0},
		{C "3\r\nabcd\r\n", USH_HTTP_CHUNK, 0},
		{C "3\r\nabc\n", USH_HTTP_CHUNK, 0},
		{C "000000003\r\n", USH_HTTP_CHUNK, 0},
		{C "ffffffff\r\n", USH_HTTP_BODY_TOO_LARGE, 0},
		{C "64\r\n", 0, 0},
		{C "65\r\n", USH_HTTP_BODY_TOO_LARGE, 0},
		{C "0\r\nX: y\r\n\r\n", USH_HTTP_CHUNK, 0},
		{C "0\r\n\n", USH_HTTP_CHUNK, 0},
	};
#undef C

	check_all(samples, sizeof(samples) / sizeof(samples[0]));
}

static void test_framing_odd_heads_are_refused(void)
{
	static const struct sample samples[] = {
		{"\r\nGET / HTTP/1.1\r\n" H "\r\n", USH_HTTP_METHOD, 0},
		{"get / HTTP/1.1\r\n", USH_HTTP_METHOD, 0},
		{" GET / HTTP/1.1\r\n", USH_HTTP_METHOD, 0},
		{"ABCDEFGHIJKLMNOPQ / HTTP/1.1\r\n", USH_HTTP_METHOD, 0},
		{"GET  / HTTP/1.1\r\n", USH_HTTP_TARGET, 0},
		{"GET http://a/ HTTP/1.1\r\n", USH_HTTP_TARGET, 0},
		{"GET /a#b HTTP/1.1\r\n", USH_HTTP_TARGET, 0},
		{"GET /\xc3\xa9 HTTP/1.1\r\n", USH_HTTP_TARGET, 0},
		{"GET /\r\n", USH_HTTP_TARGET, 0},
		{"GET / HTTP/1.0\r\n", USH_HTTP_VERSION, 0},
		{"GET / HTTP/2.0\r\n", USH_HTTP_VERSION, 0},
		{"GET / b HTTP/1.1\r\n", USH_HTTP_VERSION, 0},
		{"GET / HTTP/1.1\n", USH_HTTP_LINE_END, 0},
		{"GET / HTTP/1.1 \r\n", USH_HTTP_LINE_END, 0},
		{"GET / HTTP/1.1\r\r\n", USH_HTTP_LINE_END, 0},
		{"GET / HTTP/1.1\r\nHost: a\n\r\n", USH_HTTP_LINE_END, 0},
		{"GET / HTTP/1.1\r\nHost: a\rX: b\r\n", USH_HTTP_LINE_END, 0},
		{"GET / HTTP/1.1\r\n" H "\n", USH_HTTP_LINE_END, 0},
		{"GET / HTTP/1.1\r\nHost : a\r\n\r\n", USH_HTTP_HEADER_NAME, 0},
		{"GET / HTTP/1.1\r\n: a\r\n\r\n", USH_HTTP_HEADER_NAME, 0},
		{"GET / HTTP/1.1\r\nHost\r\n\r\n", USH_HTTP_HEADER_NAME, 0},
		{"GET / HTTP/1.1\r\n Host: a\r\n\r\n", USH_HTTP_FOLDED, 0},
		{"GET / HTTP/1.1\r\n" H "X: a\r\n b\r\n\r\n", USH_HTTP_FOLDED, 0},
		{"GET / HTTP/1.1\r\n" H "X: a\x01\r\n\r\n", USH_HTTP_HEADER_VALUE, 0},
		{"GET / HTTP/1.1\r\n\r\n", USH_HTTP_HOST, 0},
		{"GET / HTTP/1.1\r\nHost:\r\n\r\n", USH_HTTP_HOST, 0},
		{"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", USH_HTTP_HOST, 0},
		{"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", USH_HTTP_HOST, 0},
		{"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", USH_HTTP_HOST, 0},
		{"GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", USH_HTTP_HOST, 0},
		{POST "Expect: the-worst\r\n\r\n", USH_HTTP_EXPECT, 0},
		{"GET / HTTP/1.1\r\n" H "\r\n\r\n", USH_HTTP_METHOD, 1},
		{"GET / HTTP/1.1\r\n" H "A:\r\nB:\r\nC:\r\nD:\r\nE:\r\nF:\r\n\r\n",
			USH_HTTP_HEADERS_TOO_LARGE, 0},
	};
	static const struct sample zero = {
		"GET / HTTP/1.1\r\n" H "X: a\0b\r\n\r\n", USH_HTTP_HEADER_VALUE, 0};

	check_all(samples, sizeof(samples) / sizeof(samples[0]));
	check_bytes(&zero, strlen(zero.text) + 7);
}

static void test_framing_limits_hold_to_the_byte(void)
{
	char text[400];

	for (uint32_t padding = 200; padding < 320; padding++) {
		int bytes = snprintf(
			text, sizeof(text), "GET /%0*d HTTP/1.1\r\n" H "\r\n", (int)padding, 0);
		bool fits = (uint32_t)bytes <= limits.head_bytes_max;
		struct sample sample = {
			text, fits ? USH_HTTP_FINE : USH_HTTP_HEADERS_TOO_LARGE, fits ? 1 : 0};

		check_bytes(&sample, (size_t)bytes);
	}
}

static void test_framing_refusals_have_names_and_stay(void)
{
	struct ush_http_framing framing;
	size_t used;

#define X(name, value, status, text) \
	CHECK(strcmp(ush_http_refusal_name(USH_HTTP_##name), #name) == 0); \
	CHECK_EQ(ush_http_refusal_status(USH_HTTP_##name), status); \
	CHECK(ush_http_refusal_text(USH_HTTP_##name)[0] != '\0');
	USH_HTTP_REFUSAL_EACH(X)
#undef X
	ush_http_framing_init(&framing, &limits);
	CHECK(!framing.in_head);
	ush_http_framing_feed(&framing, "G", 1, &used);
	CHECK(framing.in_head);
	CHECK_EQ(ush_http_framing_feed(&framing, "\0", 1, &used), USH_HTTP_METHOD);
	CHECK_EQ(ush_http_framing_feed(&framing, "ET / HTTP/1.1\r\n", 15, &used), USH_HTTP_METHOD);
	CHECK_EQ(used, 0);
}

int main(void)
{
	TAP_RUN(test_framing_good_requests_are_taken);
	TAP_RUN(test_framing_lengths_in_doubt_are_refused);
	TAP_RUN(test_framing_odd_chunks_are_refused);
	TAP_RUN(test_framing_odd_heads_are_refused);
	TAP_RUN(test_framing_limits_hold_to_the_byte);
	TAP_RUN(test_framing_refusals_have_names_and_stay);
	return tap_end();
}
