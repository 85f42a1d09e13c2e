/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A state for each place in a request; each byte is looked at once.
 *
 *     METHOD -> TARGET -> VERSION -> (NAME -> VALUE)* -> body -> METHOD of the next
 *
 * The grammar is that of RFC 9112 without what it allows for the sake of old clients: no bare LF,
 * no empty line before a request, no HTTP/1.0, no absolute targets, no folded headers, no list of
 * equal lengths, no chunk extensions, no trailers.
 */
#include <string.h>

#include "http/framing.h"

#define METHOD_MAX 16u
/* 2^60 bytes are above any limit: more digits are refused before they overflow. */
#define LENGTH_DIGITS_MAX 18u
#define CHUNK_DIGITS_MAX 8u

enum state {
	METHOD,
	TARGET_FIRST,
	TARGET,
	VERSION,
	HEAD_LF, /* after the CR of the request line or of a header */
	NAME_FIRST,
	NAME,
	VALUE,
	END_LF, /* after the CR of the empty line */
	BODY,
	CHUNK_FIRST,
	CHUNK_SIZE,
	CHUNK_SIZE_LF,
	CHUNK_DATA,
	CHUNK_CR,
	CHUNK_LF,
	LAST_CR,
	LAST_LF,
};

enum which {
	OTHER,
	HOST,
	LENGTH,
	ENCODING,
	EXPECT
};

static const struct {
	enum ush_http_refusal refusal;
	int status;
	const char *name, *text;
} refusals[] = {{USH_HTTP_FINE, 200, "FINE", "nothing is wrong"},
#define X(name, value, status, text) {USH_HTTP_##name, status, #name, text},
	USH_HTTP_REFUSAL_EACH(X)
#undef X
};

int ush_http_refusal_status(enum ush_http_refusal refusal)
{
	USH_ASSERT(refusals[refusal].refusal == refusal);
	return refusals[refusal].status;
}

const char *ush_http_refusal_name(enum ush_http_refusal refusal)
{
	return refusals[refusal].name;
}

const char *ush_http_refusal_text(enum ush_http_refusal refusal)
{
	return refusals[refusal].text;
}

/* Before the first byte of a request. */
static void begin(struct ush_http_framing *f)
{
	f->left = 0;
	f->body = 0;
	f->head = 0;
	f->headers = 0;
	f->state = METHOD;
	f->count = 0;
	f->in_head = false;
	f->bodiless = false;
	f->has_length = false;
	f->has_encoding = false;
	f->has_host = false;
	f->expects = false;
}

void ush_http_framing_init(struct ush_http_framing *f, const struct ush_http_limits *limits)
{
	USH_ASSERT(limits->head_bytes_max > 0);
	USH_ASSERT(limits->header_count_max > 0);
	USH_ASSERT(limits->body_bytes_max > 0);
	memset(f, 0, sizeof(*f));
	f->limits = *limits;
	begin(f);
}

static bool is_token(uint8_t c)
{
	if ((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z'))
		return true;
	return c != 0 && c < 128 && strchr("!#$%&'*+-.^_`|~", c) != NULL;
}

static char lower(uint8_t c)
{
	return (char)(c >= 'A' && c <= 'Z' ? c | 32 : c);
}

static int hex(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static enum ush_http_refusal end_request(struct ush_http_framing *f)
{
	f->requests++;
	begin(f);
	return USH_HTTP_FINE;
}

static enum ush_http_refusal read_method(struct ush_http_framing *f, uint8_t c)
{
	f->in_head = true;
	if (c >= 'A' && c <= 'Z' && f->count < METHOD_MAX) {
		f->name[f->count++] = (char)c;
		return USH_HTTP_FINE;
	}
	if (c != ' ' || f->count == 0)
		return USH_HTTP_METHOD;
	f->bodiless = (f->count == 3 && memcmp(f->name, "GET", 3) == 0) ||
		      (f->count == 4 && memcmp(f->name, "HEAD", 4) == 0);
	f->state = TARGET_FIRST;
	return USH_HTTP_FINE;
}

static enum ush_http_refusal read_target(struct ush_http_framing *f, uint8_t c)
{
	if (f->state == TARGET_FIRST) {
		f->state = TARGET;
		return c == '/' ? USH_HTTP_FINE : USH_HTTP_TARGET;
	}
	if (c == ' ') {
		f->state = VERSION;
		f->count = 0;
		return USH_HTTP_FINE;
	}
	return c > ' ' && c < 127 && c != '#' && c != '"' && c != '<' && c != '>' && c != '\\'
		       ? USH_HTTP_FINE
		       : USH_HTTP_TARGET;
}

static enum ush_http_refusal read_version(struct ush_http_framing *f, uint8_t c)
{
	static const char version[] = "HTTP/1.1";

	if (f->count < sizeof(version) - 1)
		return c == (uint8_t)version[f->count++] ? USH_HTTP_FINE : USH_HTTP_VERSION;
	f->state = HEAD_LF;
	return c == '\r' ? USH_HTTP_FINE : USH_HTTP_LINE_END;
}

/* The first byte of a line within the head. */
static enum ush_http_refusal begin_line(struct ush_http_framing *f, uint8_t c)
{
	if (c == '\r') {
		f->state = END_LF;
		return USH_HTTP_FINE;
	}
	if (c == '\n')
		return USH_HTTP_LINE_END;
	if (c == ' ' || c == '\t')
		return USH_HTTP_FOLDED;
	if (!is_token(c))
		return USH_HTTP_HEADER_NAME;
	if (++f->headers > f->limits.header_count_max)
		return USH_HTTP_HEADERS_TOO_LARGE;
	f->name[0] = lower(c);
	f->count = 1;
	f->state = NAME;
	return USH_HTTP_FINE;
}

static bool name_is(const struct ush_http_framing *f, const char *name)
{
	return f->count == strlen(name) && memcmp(f->name, name, f->count) == 0;
}

static enum ush_http_refusal read_name(struct ush_http_framing *f, uint8_t c)
{
	if (is_token(c)) {
		if (f->count < USH_HTTP_NAME_BYTES)
			f->name[f->count] = lower(c);
		f->count++;
		return USH_HTTP_FINE;
	}
	if (c != ':')
		return USH_HTTP_HEADER_NAME;
	f->which = OTHER;
	if (name_is(f, "host"))
		f->which = HOST;
	else if (name_is(f, "content-length"))
		f->which = LENGTH;
	else if (name_is(f, "transfer-encoding"))
		f->which = ENCODING;
	else if (name_is(f, "expect"))
		f->which = EXPECT;
	f->value_bytes = 0;
	f->blanks = 0;
	f->state = VALUE;
	return USH_HTTP_FINE;
}

static enum ush_http_refusal end_length(struct ush_http_framing *f)
{
	uint64_t length = 0;

	if (f->has_length || f->value_bytes == 0 || f->value_bytes > LENGTH_DIGITS_MAX)
		return USH_HTTP_LENGTH;
	for (uint32_t i = 0; i < f->value_bytes; i++) {
		if (f->value[i] < '0' || f->value[i] > '9')
			return USH_HTTP_LENGTH;
		length = length * 10 + (uint64_t)(f->value[i] - '0');
	}
	f->has_length = true;
	f->body = length;
	return USH_HTTP_FINE;
}

static bool value_is(const struct ush_http_framing *f, const char *value)
{
	return f->value_bytes == strlen(value) && memcmp(f->value, value, f->value_bytes) == 0;
}

/* At the CR of a header. */
static enum ush_http_refusal end_value(struct ush_http_framing *f)
{
	f->state = HEAD_LF;
	switch (f->which) {
	case HOST:
		if (f->has_host || f->value_bytes == 0)
			return USH_HTTP_HOST;
		f->has_host = true;
		return USH_HTTP_FINE;
	case LENGTH:
		return end_length(f);
	case ENCODING:
		if (f->has_encoding || !value_is(f, "chunked"))
			return USH_HTTP_ENCODING;
		f->has_encoding = true;
		return USH_HTTP_FINE;
	case EXPECT:
		f->expects = value_is(f, "100-continue");
		return f->expects ? USH_HTTP_FINE : USH_HTTP_EXPECT;
	default:
		return USH_HTTP_FINE;
	}
}

static void keep(struct ush_http_framing *f, char c)
{
	if (f->value_bytes < USH_HTTP_VALUE_BYTES)
		f->value[f->value_bytes] = c;
	f->value_bytes++;
}

static enum ush_http_refusal read_value(struct ush_http_framing *f, uint8_t c)
{
	if (c == '\r')
		return end_value(f);
	if (c == '\n')
		return USH_HTTP_LINE_END;
	if (c == ' ' || c == '\t') {
		f->blanks += f->value_bytes > 0;
		return USH_HTTP_FINE;
	}
	if (c < ' ' || c == 127)
		return USH_HTTP_HEADER_VALUE;
	/* A host is a name or an address, and perhaps a port. */
	if (f->which == HOST &&
		(f->blanks > 0 || (strchr(".:-[]", c) == NULL &&
					  (!is_token(c) || strchr("!#$%&'*+^_`|~", c) != NULL))))
		return USH_HTTP_HOST;
	for (; f->blanks > 0; f->blanks--)
		keep(f, ' ');
	keep(f, lower(c));
	return USH_HTTP_FINE;
}

/* At the LF of the empty line: what follows? */
static enum ush_http_refusal end_head(struct ush_http_framing *f)
{
	if (!f->has_host)
		return USH_HTTP_HOST;
	if (f->has_length && f->has_encoding)
		return USH_HTTP_LENGTH_AND_ENCODING;
	if (f->bodiless && (f->has_encoding || f->body > 0))
		return USH_HTTP_BODY_UNEXPECTED;
	if (f->body > f->limits.body_bytes_max)
		return USH_HTTP_BODY_TOO_LARGE;
	f->in_head = false;
	if (f->has_encoding) {
		f->state = CHUNK_FIRST;
		f->body = 0;
		return USH_HTTP_FINE;
	}
	if (f->body == 0)
		return end_request(f);
	f->left = f->body;
	f->state = BODY;
	return USH_HTTP_FINE;
}

static enum ush_http_refusal read_chunk_size(struct ush_http_framing *f, uint8_t c)
{
	int digit = hex(c);

	if (f->state == CHUNK_FIRST) {
		if (digit < 0)
			return USH_HTTP_CHUNK;
		f->left = 0;
		f->count = 0;
		f->state = CHUNK_SIZE;
	}
	if (digit >= 0) {
		if (++f->count > CHUNK_DIGITS_MAX)
			return USH_HTTP_CHUNK;
		f->left = f->left << 4 | (uint64_t)digit;
		return USH_HTTP_FINE;
	}
	if (c != '\r')
		return USH_HTTP_CHUNK;
	f->state = CHUNK_SIZE_LF;
	return USH_HTTP_FINE;
}

static enum ush_http_refusal end_chunk_size(struct ush_http_framing *f, uint8_t c)
{
	if (c != '\n')
		return USH_HTTP_CHUNK;
	f->body += f->left;
	if (f->body > f->limits.body_bytes_max)
		return USH_HTTP_BODY_TOO_LARGE;
	f->state = f->left > 0 ? CHUNK_DATA : LAST_CR;
	return USH_HTTP_FINE;
}

static enum ush_http_refusal want(
	struct ush_http_framing *f, uint8_t c, uint8_t wanted, enum state next)
{
	f->state = next;
	return c == wanted ? USH_HTTP_FINE : USH_HTTP_CHUNK;
}

static enum ush_http_refusal read_head_byte(struct ush_http_framing *f, uint8_t c)
{
	if (++f->head > f->limits.head_bytes_max)
		return USH_HTTP_HEADERS_TOO_LARGE;
	switch ((enum state)f->state) {
	case METHOD:
		return read_method(f, c);
	case TARGET_FIRST:
	case TARGET:
		return read_target(f, c);
	case VERSION:
		return read_version(f, c);
	case HEAD_LF:
		f->state = NAME_FIRST;
		return c == '\n' ? USH_HTTP_FINE : USH_HTTP_LINE_END;
	case NAME_FIRST:
		return begin_line(f, c);
	case NAME:
		return read_name(f, c);
	case VALUE:
		return read_value(f, c);
	default:
		USH_ASSERT(f->state == END_LF);
		return c == '\n' ? end_head(f) : USH_HTTP_LINE_END;
	}
}

static enum ush_http_refusal read_chunk_byte(struct ush_http_framing *f, uint8_t c)
{
	switch ((enum state)f->state) {
	case CHUNK_FIRST:
	case CHUNK_SIZE:
		return read_chunk_size(f, c);
	case CHUNK_SIZE_LF:
		return end_chunk_size(f, c);
	case CHUNK_CR:
		return want(f, c, '\r', CHUNK_LF);
	case CHUNK_LF:
		return want(f, c, '\n', CHUNK_FIRST);
	case LAST_CR:
		return want(f, c, '\r', LAST_LF);
	default:
		USH_ASSERT(f->state == LAST_LF);
		return c == '\n' ? end_request(f) : USH_HTTP_CHUNK;
	}
}

/* Passes over bytes of a body. ret: how many. */
static size_t skip_body(struct ush_http_framing *f, size_t count)
{
	size_t skipped = (size_t)ush_min64(f->left, count);

	f->left -= skipped;
	if (f->left == 0 && f->state == CHUNK_DATA)
		f->state = CHUNK_CR;
	else if (f->left == 0)
		end_request(f);
	return skipped;
}

enum ush_http_refusal ush_http_framing_step(
	struct ush_http_framing *f, const void *bytes, size_t count, size_t *used)
{
	const uint64_t requests = f->requests;
	const uint8_t *data = bytes;
	size_t at = 0;

	while (at < count && f->refusal == USH_HTTP_FINE) {
		const bool in_head = f->in_head;

		if (f->state == BODY || f->state == CHUNK_DATA) {
			at += skip_body(f, count - at);
		} else {
			f->refusal = f->state <= END_LF ? read_head_byte(f, data[at])
							: read_chunk_byte(f, data[at]);
			at += f->refusal == USH_HTTP_FINE;
		}
		if (f->requests != requests || (in_head && !f->in_head))
			break;
	}
	*used = at;
	return f->refusal;
}

enum ush_http_refusal ush_http_framing_feed(
	struct ush_http_framing *f, const void *bytes, size_t count, size_t *used)
{
	size_t at = 0, read = 0;

	while (at < count && f->refusal == USH_HTTP_FINE) {
		ush_http_framing_step(f, (const uint8_t *)bytes + at, count - at, &read);
		at += read;
	}
	*used = at;
	return f->refusal;
}
