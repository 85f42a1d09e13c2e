/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where one HTTP/1.1 request ends and the next begins, with no second opinion possible.
 *
 * A proxy and a server that read the same bytes as different requests can be played against each
 * other (request smuggling). So whatever could be read in two ways is refused by name, before the
 * HTTP library sees the last byte of it. See docs/http.md.
 *
 * Owns:  nothing; the state of a connection is the caller's.
 * Reads: nothing.
 * Never: I/O, clocks, allocation; what headers mean, beyond framing.
 */
#ifndef USH_HTTP_FRAMING_H
#define USH_HTTP_FRAMING_H

#include "base/base.h"

/* X(name, value, HTTP status of the answer, what is said of it) */
#define USH_HTTP_REFUSAL_EACH(X) \
	X(METHOD, 1, 400, "the method is no word of 1 to 16 capitals") \
	X(TARGET, 2, 400, "the target does not begin with a slash, or has what no URL has") \
	X(VERSION, 3, 505, "the version is not HTTP/1.1") \
	X(LINE_END, 4, 400, "a line does not end with CR LF") \
	X(HEADER_NAME, 5, 400, \
		"a header's name has what no name has, or a space before its colon") \
	X(HEADER_VALUE, 6, 400, "a header's value has a control character") \
	X(FOLDED, 7, 400, "a header goes on over a line") \
	X(HEADERS_TOO_LARGE, 8, 431, "the request line or the headers are too large, or too many") \
	X(HOST, 9, 400, "there is not exactly one Host header that names a host") \
	X(LENGTH, 10, 400, "Content-Length is no number, or there are several") \
	X(ENCODING, 11, 501, "Transfer-Encoding is not `chunked`, once") \
	X(LENGTH_AND_ENCODING, 12, 400, "there are Content-Length and Transfer-Encoding") \
	X(BODY_TOO_LARGE, 13, 413, "the body is too large") \
	X(BODY_UNEXPECTED, 14, 400, "GET and HEAD have no body") \
	X(CHUNK, 15, 400, "a chunk is malformed, has an extension, or trailers follow") \
	X(EXPECT, 16, 417, "Expect is not 100-continue")

enum ush_http_refusal {
	USH_HTTP_FINE = 0,
#define X(name, value, status, text) USH_HTTP_##name = (value),
	USH_HTTP_REFUSAL_EACH(X)
#undef X
};

struct ush_http_limits {
	uint32_t head_bytes_max; /* request line and headers, with their line ends */
	uint32_t header_count_max;
	uint64_t body_bytes_max; /* what a chunked body holds, or a Content-Length says */
};

#define USH_HTTP_NAME_BYTES 20u  /* longer than any name that is looked at */
#define USH_HTTP_VALUE_BYTES 24u /* the same for values; longer ones are cut */

/* Of one connection. Fill it with ush_http_framing_init; look at `requests` and `in_head`. */
struct ush_http_framing {
	struct ush_http_limits limits;
	uint64_t requests; /* that are complete */
	uint64_t left;     /* bytes of the body or of the chunk that are to come */
	uint64_t body;     /* bytes of the body so far or announced */
	uint32_t head;     /* bytes of this head so far */
	uint32_t headers;
	uint32_t state;
	uint32_t count; /* characters of the word under way */
	bool in_head;   /* a head has begun and is not complete: its deadline runs */
	bool bodiless;  /* GET or HEAD */
	bool has_length;
	bool has_encoding;
	bool has_host;
	bool expects;   /* 100 Continue before the body */
	uint32_t which; /* the header under way */
	char name[USH_HTTP_NAME_BYTES];
	char value[USH_HTTP_VALUE_BYTES];
	uint32_t value_bytes; /* without blanks around it; may exceed what was kept */
	uint32_t blanks;      /* blanks that belong to the value only if more follows */
	enum ush_http_refusal refusal;
};

/* in: limits: all above 0. */
void ush_http_framing_init(struct ush_http_framing *framing, const struct ush_http_limits *limits);

/*
 * Reads bytes as they come, in pieces of any size. Until a refusal all of them may be handed on: a
 * request that is refused is never complete before its refusal.
 * out: *used: bytes before the one that was refused; else bytes.
 * ret: USH_HTTP_FINE, or why the connection must be answered with an error and closed; from then
 * on always the same. by: any thread, one at a time. cost: O(bytes).
 */
enum ush_http_refusal ush_http_framing_feed(
	struct ush_http_framing *framing, const void *bytes, size_t count, size_t *used);

/* The same, but stops behind a head that has a body, and behind a request: for a server that takes
 * one at a time. out: *used: bytes that were read. */
enum ush_http_refusal ush_http_framing_step(
	struct ush_http_framing *framing, const void *bytes, size_t count, size_t *used);

/* ret: the status code of the answer to a refusal. */
int ush_http_refusal_status(enum ush_http_refusal refusal);
/* ret: its stable name, for problem documents and counters; never NULL. */
const char *ush_http_refusal_name(enum ush_http_refusal refusal);
/* ret: a sentence about it; never NULL. */
const char *ush_http_refusal_text(enum ush_http_refusal refusal);

#endif /* USH_HTTP_FRAMING_H */
