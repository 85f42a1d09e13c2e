/* SPDX-License-Identifier: Apache-2.0 */
#include "port/diag.h"

#include <stdarg.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static enum ush_diag_level level_max = USH_DIAG_INFO;
static bool as_json;

static const char *const level_names[] = {"error", "warn", "info", "debug"};

/* A line under construction; what does not fit is cut, the end of the line never. */
struct line {
	char text[2048];
	size_t used;
};

/* Room kept for the closing quote, brace and newline. */
#define LINE_TAIL 4u

static void USH_PRINTF(2, 3) line_add(struct line *line, const char *format, ...)
{
	size_t left = sizeof(line->text) - LINE_TAIL - line->used;
	va_list arguments;
	int size;

	va_start(arguments, format);
	size = vsnprintf(line->text + line->used, left, format, arguments);
	va_end(arguments);
	if (size > 0)
		line->used += (size_t)size < left ? (size_t)size : left - 1;
}

/* Adds a quoted string with the escapes of JSON (RFC 8259 section 7). */
static void line_add_quoted(struct line *line, const char *text)
{
	line_add(line, "\"");
	for (; *text != 0; text++) {
		unsigned char c = (unsigned char)*text;

		if (c == '"' || c == '\\')
			line_add(line, "\\%c", c);
		else if (c < 0x20 || c == 0x7f)
			line_add(line, "\\u%04x", c);
		else
			line_add(line, "%c", c);
	}
	if (line->used + 1 < sizeof(line->text))
		line->text[line->used++] = '"';
}

void ush_diag_init(enum ush_diag_level level, bool json)
{
	level_max = level;
	as_json = json;
}

static void field_json(struct line *line, const struct ush_diag_field *field)
{
	line_add(line, ",");
	line_add_quoted(line, field->name);
	line_add(line, ":");
	if (field->text != NULL)
		line_add_quoted(line, field->text);
	else
		line_add(line, "%llu", (unsigned long long)field->number);
}

static void field_text(struct line *line, const struct ush_diag_field *field)
{
	line_add(line, " %s=", field->name);
	if (field->text == NULL)
		line_add(line, "%llu", (unsigned long long)field->number);
	else if (strpbrk(field->text, " \"\\\n") != NULL || field->text[0] == 0)
		line_add_quoted(line, field->text);
	else
		line_add(line, "%s", field->text);
}

void ush_diag_write(enum ush_diag_level level, const char *event,
	const struct ush_diag_field *fields, size_t count)
{
	struct line line = {.used = 0};
	struct timespec now;
	struct tm utc;
	char stamp[32];
	size_t i;

	if (level > level_max)
		return;
	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &utc);
	strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%S", &utc);
	if (as_json) {
		line_add(&line, "{\"time\":\"%s.%03ldZ\",\"level\":\"%s\",\"event\":", stamp,
			now.tv_nsec / 1000000, level_names[level]);
		line_add_quoted(&line, event);
	} else {
		line_add(&line, "%s.%03ldZ %-5s %s", stamp, now.tv_nsec / 1000000,
			level_names[level], event);
	}
	for (i = 1; i <= count; i++) {
		if (as_json)
			field_json(&line, &fields[i]);
		else
			field_text(&line, &fields[i]);
	}
	if (as_json)
		line.text[line.used++] = '}';
	line.text[line.used++] = '\n';
	/* One call, so that lines of different threads do not mix; nothing can be done about
	 * a closed stderr. */
	if (write(STDERR_FILENO, line.text, line.used) < 0)
		return;
}

bool ush_diag_allowed(struct ush_diag_limit *limit, uint64_t now_ns, uint64_t *muted)
{
	if (now_ns < limit->next_ns) {
		limit->muted++;
		return false;
	}
	*muted = limit->muted;
	limit->muted = 0;
	limit->next_ns = now_ns + 1000000000ull;
	return true;
}
