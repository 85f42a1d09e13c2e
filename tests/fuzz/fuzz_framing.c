/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzes the framing of HTTP requests. The input picks from words of requests, or is taken as it
 * is. Whole, or in pieces of any size, the verdict must be the same; and where the first request
 * ends must be where a second, simpler reading of the whole text says.
 *
 * Owns:  its copies of the input.
 * Reads: nothing.
 * Never: a network.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http/framing.h"

#define TEXT_MAX 4096u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct ush_http_limits limits = {
	.head_bytes_max = 512, .header_count_max = 10, .body_bytes_max = 64};

static const char *const words[] = {"GET", "POST", "HEAD", " ", "/", " HTTP/1.1\r\n", "Host: a\r\n",
	"\r\n", "Content-Length: ", "0", "1", "5", "15", "Transfer-Encoding: chunked\r\n",
	"POST / HTTP/1.1\r\nHost: a\r\n", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "abcde",
	"5\r\nabcde\r\n", "0\r\n\r\n", "X: y\r\n", "\n", "\r", ":", "a\r\n", "1\r\nx\r\n", "A",
	"\t", "content-length:1\r\n", "Content-Length: 3\r\n", "TRANSFER-ENCODING:", "chunked", ",",
	";"};

/* ret: bytes of the text that the input stands for. */
static size_t compose(const uint8_t *data, size_t size, char text[TEXT_MAX])
{
	static const char begun[] = "POST / HTTP/1.1\r\nHost: a\r\n";
	size_t at = 0;

	/* Most inputs get beyond the first line so. */
	if ((data[0] & 2) != 0) {
		memcpy(text, begun, sizeof(begun) - 1);
		at = sizeof(begun) - 1;
	}
	for (size_t i = 1; i < size && at + 64 < TEXT_MAX; i++) {
		const char *word = words[data[i] % (sizeof(words) / sizeof(words[0]))];

		if ((data[0] & 1) != 0 || data[i] >= 250) {
			text[at++] = (char)data[i];
			continue;
		}
		memcpy(text + at, word, strlen(word));
		at += strlen(word);
	}
	return at;
}

static struct ush_http_framing feed(
	const char *text, size_t bytes, size_t piece, size_t *used, size_t *first_end)
{
	struct ush_http_framing framing;

	ush_http_framing_init(&framing, &limits);
	*used = 0;
	*first_end = 0;
	for (size_t at = 0; at < bytes && framing.refusal == USH_HTTP_FINE; at += piece) {
		size_t part;

		ush_http_framing_feed(
			&framing, text + at, piece < bytes - at ? piece : bytes - at, &part);
		*used += part;
		if (framing.requests == 1 && *first_end == 0)
			*first_end = *used;
	}
	return framing;
}

/* ret: where the chunked body at `at` ends. It was accepted, so no check is needed. */
static size_t chunked_end(const char *text, size_t at)
{
	for (;;) {
		char *end;
		unsigned long bytes = strtoul(text + at, &end, 16);

		at = (size_t)(end - text) + 2 + bytes + 2;
		if (bytes == 0)
			return at;
	}
}

/* A second reading of a text that begins with a complete request. ret: where it ends. */
static size_t simple_end(const char *text)
{
	const char *head_end = strstr(text, "\r\n\r\n");
	size_t at;

	USH_ASSERT(head_end != NULL);
	at = (size_t)(head_end - text) + 4;
	for (const char *line = strstr(text, "\r\n"); line < head_end;
		line = strstr(line + 2, "\r\n")) {
		if (strncasecmp(line + 2, "content-length:", 15) == 0)
			return at + strtoul(line + 17, NULL, 10);
		if (strncasecmp(line + 2, "transfer-encoding:", 18) == 0)
			return chunked_end(text, at);
	}
	return at;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char text[TEXT_MAX + 1];
	size_t bytes, used, end, whole_used, first_end, whole_end;
	struct ush_http_framing whole, single, pieces;

	if (size < 3)
		return 0;
	bytes = compose(data, size, text);
	text[bytes] = '\0';
	whole = feed(text, bytes, bytes + 1, &whole_used, &whole_end);
	single = feed(text, bytes, 1, &used, &first_end);
	USH_ASSERT(single.refusal == whole.refusal);
	USH_ASSERT(single.requests == whole.requests);
	USH_ASSERT(used == whole_used);
	pieces = feed(text, bytes, 1 + data[0] / 2, &used, &end);
	USH_ASSERT(pieces.refusal == whole.refusal);
	USH_ASSERT(pieces.requests == whole.requests);
	USH_ASSERT(used == whole_used);
	USH_ASSERT(whole.refusal == USH_HTTP_FINE || whole_used < bytes);
	if (first_end > 0)
		USH_ASSERT(first_end == simple_end(text));
	return 0;
}
