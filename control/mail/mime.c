/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Texts are quoted-printable and everything else base64, so that all lines are short and ASCII.
 * Boundaries begin with "=_", which neither encoding can produce. What goes into a head is checked
 * first: printable, no line breaks; other letters become encoded words.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "mail/mime.h"

#define LINE_CHARS_MAX 76u
/* Bytes of UTF-8 in an encoded word: 12 around 60 characters of base64 make less than 75. */
#define WORD_BYTES_MAX 42u
#define BOUNDARY_CHARS 40u
#define ADDRESS_CHARS_MAX 254u
#define LINE_BYTES_MAX 200u

/* What is being written. Once `failed` is set, nothing more is. */
struct out {
	char *data;
	size_t at;
	size_t room;
	int failed;
};

static void add_bytes(struct out *out, const char *data, size_t bytes)
{
	if (out->failed != 0)
		return;
	if (out->at + bytes > USH_MIME_BYTES_MAX) {
		out->failed = -USH_EFULL;
		return;
	}
	if (out->at + bytes + 1 > out->room) {
		size_t room = (out->at + bytes + 1) * 2;
		char *data_new = realloc(out->data, room);

		if (data_new == NULL) {
			out->failed = -USH_ENOMEM;
			return;
		}
		out->data = data_new;
		out->room = room;
	}
	memcpy(out->data + out->at, data, bytes);
	out->at += bytes;
	out->data[out->at] = '\0';
}

static void add(struct out *out, const char *text)
{
	add_bytes(out, text, strlen(text));
}

/* ret: 0 and the text; or why not, and nothing is left. */
static int finish(struct out *out, char **text, size_t *bytes)
{
	if (out->failed != 0) {
		free(out->data);
		return out->failed;
	}
	*text = out->data;
	*bytes = out->at;
	return 0;
}

/* ---- what may be in a message ---- */

/* ret: bytes of the UTF-8 character at `text` (RFC 3629), or 0: it is none. */
static uint32_t utf8(const char *text)
{
	const uint8_t *t = (const uint8_t *)text;
	uint32_t count = t[0] < 0x80                   ? 1
			 : t[0] >= 0xc2 && t[0] < 0xe0 ? 2
			 : t[0] >= 0xe0 && t[0] < 0xf0 ? 3
			 : t[0] >= 0xf0 && t[0] < 0xf5 ? 4
						       : 0;

	for (uint32_t i = 1; i < count; i++) {
		if ((t[i] & 0xc0) != 0x80)
			return 0;
	}
	/* Longer than needed, surrogates, beyond the last one. */
	if ((t[0] == 0xe0 && t[1] < 0xa0) || (t[0] == 0xed && t[1] > 0x9f) ||
		(t[0] == 0xf0 && t[1] < 0x90) || (t[0] == 0xf4 && t[1] > 0x8f))
		return 0;
	return count;
}

static bool is_utf8(const char *text)
{
	while (*text != '\0') {
		uint32_t count = utf8(text);

		if (count == 0)
			return false;
		text += count;
	}
	return true;
}

bool ush_mime_is_line(const char *text)
{
	size_t bytes = strlen(text);

	if (bytes == 0 || bytes > LINE_BYTES_MAX || !is_utf8(text))
		return false;
	for (size_t i = 0; i < bytes; i++) {
		if ((uint8_t)text[i] < 0x20 || text[i] == 0x7f)
			return false;
	}
	return true;
}

static bool is_of(const char *text, size_t count, const char *more)
{
	for (size_t i = 0; i < count; i++) {
		char c = text[i];

		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
			    (c != '\0' && strchr(more, c) != NULL)))
			return false;
	}
	return count > 0;
}

/* Words between dots: none empty. */
static bool dotted(const char *text, size_t count, const char *more)
{
	size_t begin = 0;

	for (size_t i = 0; i <= count; i++) {
		if (i < count && text[i] != '.')
			continue;
		if (!is_of(text + begin, i - begin, more))
			return false;
		begin = i + 1;
	}
	return true;
}

bool ush_mime_is_address(const char *text)
{
	const char *at = strrchr(text, '@');
	size_t bytes = strlen(text);

	if (at == NULL || at == text || bytes > ADDRESS_CHARS_MAX || at - text > 64)
		return false;
	return dotted(text, (size_t)(at - text), "!#$%&'*+-/=?^_`{|}~") &&
	       dotted(at + 1, bytes - (size_t)(at + 1 - text), "-") && at[1] != '-' &&
	       text[bytes - 1] != '-';
}

/* "image/png", "text/calendar; charset=utf-8; method=PUBLISH": words, and nothing that folds. */
static bool is_type(const char *text)
{
	size_t bytes = strlen(text);

	return bytes <= 70 && is_of(text, bytes, "/-+.=;_ ") && strchr(text, '/') != NULL &&
	       text[0] != ' ';
}

static bool is_name(const char *text)
{
	return strlen(text) <= 60 && is_of(text, strlen(text), "-_.");
}

static bool is_id(const char *text)
{
	return strlen(text) <= 70 && is_of(text, strlen(text), "-_.@");
}

/* ---- encodings ---- */

static const char base64_letters[] =
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* ret: characters written, without an end. */
static size_t base64(const uint8_t *data, size_t bytes, char *text)
{
	size_t at = 0;

	for (size_t i = 0; i < bytes; i += 3) {
		size_t count = bytes - i < 3 ? bytes - i : 3;
		uint32_t value = (uint32_t)data[i] << 16;

		if (count > 1)
			value |= (uint32_t)data[i + 1] << 8;
		if (count > 2)
			value |= data[i + 2];
		for (size_t j = 0; j < 4; j++)
			text[at++] = j <= count ? base64_letters[value >> (18 - 6 * j) & 63] : '=';
	}
	return at;
}

static void add_base64(struct out *out, const uint8_t *data, size_t bytes)
{
	char line[LINE_CHARS_MAX];

	for (size_t i = 0; i < bytes; i += 57) {
		size_t count = base64(data + i, bytes - i < 57 ? bytes - i : 57, line);

		add_bytes(out, line, count);
		add(out, "\r\n");
	}
}

/* Quoted-printable: any line break becomes CRLF; a space before it is quoted. */
static void add_quoted(struct out *out, const char *text)
{
	static const char digits[] = "0123456789ABCDEF";
	uint32_t column = 0;

	for (size_t i = 0; text[i] != '\0'; i++) {
		uint8_t c = (uint8_t)text[i];
		char next = text[i + 1];
		char quoted[3] = {'=', digits[c >> 4], digits[c & 15]};
		bool plain =
			(c >= 33 && c <= 126 && c != '=') ||
			((c == ' ' || c == '\t') && next != '\n' && next != '\r' && next != '\0');

		if (c == '\r' && next == '\n')
			continue;
		if (c == '\n' || c == '\r') {
			add(out, "\r\n");
			column = 0;
			continue;
		}
		if (column + (plain ? 1 : 3) > LINE_CHARS_MAX - 1) {
			add(out, "=\r\n");
			column = 0;
		}
		/* A dot alone or "From " at the begin of a line confuses some relays. */
		if (column == 0 && (c == '.' || c == 'F'))
			plain = false;
		add_bytes(out, plain ? (const char *)&c : quoted, plain ? 1 : 3);
		column += plain ? 1 : 3;
	}
	if (column > 0)
		add(out, "\r\n");
}

/* ret: true for short printable ASCII that nobody takes for encoded words; spaces at either end
 * would be lost. */
static bool is_plain(const char *text)
{
	size_t bytes = strlen(text);
	bool plain = bytes <= 60 && strstr(text, "=?") == NULL && text[0] != ' ' &&
		     text[bytes - 1] != ' ';

	for (size_t i = 0; i < bytes; i++)
		plain = plain && text[i] >= 0x20 && text[i] <= 0x7e;
	return plain;
}

/* Encoded words, one a line. */
static void add_words(struct out *out, const char *text)
{
	size_t bytes = strlen(text);
	char word[WORD_BYTES_MAX * 2];

	for (size_t begin = 0, end = 0; begin < bytes; begin = end) {
		while (end < bytes && end + utf8(text + end) - begin <= WORD_BYTES_MAX)
			end += utf8(text + end);
		if (begin > 0)
			add(out, "\r\n ");
		add(out, "=?utf-8?B?");
		add_bytes(out, word, base64((const uint8_t *)text + begin, end - begin, word));
		add(out, "?=");
	}
}

/* ---- bodies ---- */

static void add_text(struct out *out, const char *type, const char *text)
{
	add(out, "Content-Type: ");
	add(out, type);
	add(out, "; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n");
	add_quoted(out, text);
}

static void add_part(struct out *out, const struct ush_mail_part *part)
{
	add(out, "Content-Type: ");
	add(out, part->type);
	add(out, "\r\nContent-Transfer-Encoding: base64\r\nContent-Disposition: ");
	add(out, part->id != NULL ? "inline" : "attachment");
	if (part->name != NULL) {
		add(out, ";\r\n filename=\"");
		add(out, part->name);
		add(out, "\"");
	}
	if (part->id != NULL) {
		add(out, "\r\nContent-ID: <");
		add(out, part->id);
		add(out, ">");
	}
	add(out, "\r\n\r\n");
	add_base64(out, part->data, part->bytes);
}

/* Boundaries of one message: "=_" and 16 digits of the seed, and which of the three. */
static void boundary(const char *seed, char kind, char text[BOUNDARY_CHARS])
{
	static const struct ush_key key = {0x7573686572, 0x6d61696c};

	snprintf(text, BOUNDARY_CHARS, "=_%016llx.%c",
		(unsigned long long)ush_siphash(&key, seed, strlen(seed)), kind);
}

static void open_multipart(struct out *out, const char *kind, const char *more, const char *mark)
{
	add(out, "Content-Type: multipart/");
	add(out, kind);
	add(out, ";\r\n boundary=\"");
	add(out, mark);
	add(out, "\"");
	add(out, more);
	add(out, "\r\n\r\n");
}

static void divide(struct out *out, const char *mark, bool end)
{
	add(out, "--");
	add(out, mark);
	add(out, end ? "--\r\n" : "\r\n");
}

/* The HTML and what its cid: links name. */
static void add_html(struct out *out, const char *seed, const char *html,
	const struct ush_mail_part *parts, uint32_t part_count, uint32_t inlined)
{
	char mark[BOUNDARY_CHARS];

	if (inlined == 0) {
		add_text(out, "text/html", html);
		return;
	}
	boundary(seed, 'r', mark);
	open_multipart(out, "related", ";\r\n type=\"text/html\"", mark);
	divide(out, mark, false);
	add_text(out, "text/html", html);
	for (uint32_t i = 0; i < part_count; i++) {
		if (parts[i].id == NULL)
			continue;
		divide(out, mark, false);
		add_part(out, &parts[i]);
	}
	divide(out, mark, true);
}

static void add_alternatives(struct out *out, const char *seed, const char *text, const char *html,
	const struct ush_mail_part *parts, uint32_t part_count, uint32_t inlined)
{
	char mark[BOUNDARY_CHARS];

	if (html == NULL) {
		add_text(out, "text/plain", text);
		return;
	}
	boundary(seed, 'a', mark);
	open_multipart(out, "alternative", "", mark);
	divide(out, mark, false);
	add_text(out, "text/plain", text);
	divide(out, mark, false);
	add_html(out, seed, html, parts, part_count, inlined);
	divide(out, mark, true);
}

/* ret: 0 if all may be in a message; *inlined: parts with an id. */
static int check_parts(const char *text, const char *html, const struct ush_mail_part *parts,
	uint32_t part_count, uint32_t *inlined)
{
	*inlined = 0;
	if (part_count > USH_MIME_PARTS_MAX)
		return -USH_EFULL;
	if (!is_utf8(text) || (html != NULL && !is_utf8(html)))
		return -USH_EINVAL;
	for (uint32_t i = 0; i < part_count; i++) {
		const struct ush_mail_part *part = &parts[i];

		if (!is_type(part->type) || (part->name != NULL && !is_name(part->name)) ||
			(part->id != NULL && (!is_id(part->id) || html == NULL)))
			return -USH_EINVAL;
		if (part->bytes > USH_MIME_BYTES_MAX)
			return -USH_EFULL;
		*inlined += part->id != NULL;
	}
	return 0;
}

int ush_mime_body(const char *seed, const char *text, const char *html,
	const struct ush_mail_part *parts, uint32_t part_count, char **out, size_t *bytes)
{
	char mark[BOUNDARY_CHARS];
	struct out to = {0};
	uint32_t inlined;
	int result = check_parts(text, html, parts, part_count, &inlined);

	if (result != 0)
		return result;
	add(&to, "MIME-Version: 1.0\r\n");
	if (inlined == part_count) {
		add_alternatives(&to, seed, text, html, parts, part_count, inlined);
		return finish(&to, out, bytes);
	}
	boundary(seed, 'm', mark);
	open_multipart(&to, "mixed", "", mark);
	divide(&to, mark, false);
	add_alternatives(&to, seed, text, html, parts, part_count, inlined);
	for (uint32_t i = 0; i < part_count; i++) {
		if (parts[i].id != NULL)
			continue;
		divide(&to, mark, false);
		add_part(&to, &parts[i]);
	}
	divide(&to, mark, true);
	return finish(&to, out, bytes);
}

/* ---- heads ---- */

/* The names are of RFC 5322, not of a locale. */
static bool add_date(struct out *out, int64_t date_us)
{
	static const char days[] = "SunMonTueWedThuFriSat";
	static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	time_t seconds = (time_t)(date_us / 1000000);
	char text[64];
	struct tm t;

	if (date_us < 0 || gmtime_r(&seconds, &t) == NULL || t.tm_year > 8099)
		return false;
	snprintf(text, sizeof(text), "Date: %.3s, %02d %.3s %04d %02d:%02d:%02d +0000\r\n",
		days + (size_t)3 * (size_t)t.tm_wday, t.tm_mday,
		months + (size_t)3 * (size_t)t.tm_mon, t.tm_year + 1900, t.tm_hour, t.tm_min,
		t.tm_sec);
	add(out, text);
	return true;
}

/* A name before an address: quoted, or encoded words. */
static void add_name(struct out *out, const char *name)
{
	if (!is_plain(name) || strchr(name, '"') != NULL || strchr(name, '\\') != NULL) {
		add_words(out, name);
		return;
	}
	add(out, "\"");
	add(out, name);
	add(out, "\"");
}

int ush_mime_head(const struct ush_mime_head *head, char **out, size_t *bytes)
{
	struct out to = {0};

	if (!ush_mime_is_address(head->from) || !ush_mime_is_address(head->to) ||
		!ush_mime_is_line(head->subject) || !is_id(head->message_id) ||
		(head->from_name != NULL && !ush_mime_is_line(head->from_name)))
		return -USH_EINVAL;
	if (!add_date(&to, head->date_us)) {
		free(to.data);
		return -USH_EINVAL;
	}
	add(&to, "From: ");
	if (head->from_name != NULL) {
		add_name(&to, head->from_name);
		add(&to, "\r\n <");
		add(&to, head->from);
		add(&to, ">");
	} else {
		add(&to, head->from);
	}
	add(&to, "\r\nTo: ");
	add(&to, head->to);
	add(&to, "\r\nSubject: ");
	if (is_plain(head->subject))
		add(&to, head->subject);
	else
		add_words(&to, head->subject);
	add(&to, "\r\nMessage-ID: <");
	add(&to, head->message_id);
	/* RFC 3834: nobody's holiday answers this. */
	add(&to, ">\r\nAuto-Submitted: auto-generated\r\n");
	return finish(&to, out, bytes);
}
