/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "catalogue/venue_read.h"

void venue_read_into(struct venue_reader *reader, const char *key)
{
	USH_ASSERT(reader->depth < VENUE_PATH_DEPTH_MAX);
	reader->path[reader->depth++] = (struct venue_step){key, 0};
}

void venue_read_into_index(struct venue_reader *reader, size_t index)
{
	USH_ASSERT(reader->depth < VENUE_PATH_DEPTH_MAX);
	reader->path[reader->depth++] = (struct venue_step){NULL, index};
}

void venue_read_out(struct venue_reader *reader)
{
	USH_ASSERT(reader->depth > 0);
	reader->depth--;
}

/* "section 'A', row '3', seat '12': ", or nothing. */
static void where_text(const struct venue_where *where, char *text, size_t size)
{
	const char *words[3] = {where->section_word, "row", "seat"};
	const char *names[3] = {where->section, where->row, where->seat};
	size_t used = 0;

	text[0] = '\0';
	for (int i = 0; i < 3; i++) {
		if (names[i] == NULL)
			continue;
		used += (size_t)snprintf(text + used, size - used, "%s%s '%.63s'",
			used > 0 ? ", " : "", words[i], names[i]);
	}
	if (used > 0)
		snprintf(text + used, size - used, ": ");
}

static void position_text(
	struct venue_reader *reader, const char *format, va_list args, char *text, size_t size)
{
	char where[256], what[384];
	uint32_t line, column;

	where_text(&reader->where, where, sizeof(where));
	vsnprintf(what, sizeof(what), format, args);
	venue_locate(reader->text, reader->bytes, reader->path, reader->depth, reader->at_key,
		&line, &column);
	snprintf(text, size, "%.120s:%u:%u: %.150s%.200s", reader->file, line, column, where, what);
	/* A name that is refused for its control characters must not reach a terminal with them. */
	for (char *c = text; *c != '\0'; c++) {
		if ((uint8_t)*c < 0x20 || *c == 0x7f)
			*c = '?';
	}
}

int venue_read_fail(struct venue_reader *reader, const char *format, ...)
{
	char text[sizeof(reader->message->text)];
	va_list args;

	va_start(args, format);
	position_text(reader, format, args, text, sizeof(text));
	va_end(args);
	ush_message_set(reader->message, "%s", text);
	return -USH_EPARSE;
}

int venue_read_no_memory(struct venue_reader *reader)
{
	ush_message_set(reader->message, "%s: out of memory", reader->file);
	return -USH_ENOMEM;
}

void venue_read_warn(struct venue_reader *reader, const char *format, ...)
{
	char text[sizeof(reader->message->text)];
	va_list args;

	/* Each one costs a scan of the text. */
	if (reader->options->warn == NULL || reader->warning_count++ >= VENUE_WARNINGS_MAX)
		return;
	va_start(args, format);
	position_text(reader, format, args, text, sizeof(text));
	va_end(args);
	reader->options->warn(reader->options->warn_context, text);
}

static const char *kind_text(const json_t *value)
{
	switch (json_typeof(value)) {
	case JSON_OBJECT:
		return "an object";
	case JSON_ARRAY:
		return "an array";
	case JSON_STRING:
		return "a string";
	case JSON_INTEGER:
		return "an integer";
	case JSON_REAL:
		return "a number with a fraction";
	case JSON_TRUE:
		return "true";
	case JSON_FALSE:
		return "false";
	default:
		return "null";
	}
}

static int fail_unknown_key(
	struct venue_reader *reader, const char *key, const struct venue_key *keys)
{
	char allowed[256] = "";
	size_t used = 0;
	int ret;

	for (; keys->name != NULL; keys++)
		used += (size_t)snprintf(allowed + used, sizeof(allowed) - used, "%s%s",
			used > 0 ? ", " : "", keys->name);
	venue_read_into(reader, key);
	reader->at_key = true;
	ret = venue_read_fail(reader, "unknown key '%.63s'; allowed here: %s", key, allowed);
	reader->at_key = false;
	venue_read_out(reader);
	return ret;
}

int venue_read_object(
	struct venue_reader *reader, const json_t *value, const struct venue_key *keys)
{
	const char *key;
	json_t *member;

	if (!json_is_object(value))
		return venue_read_fail(reader, "must be an object, not %s", kind_text(value));
	/* jansson's iterator takes no const; nothing is changed. */
	json_object_foreach((json_t *)(uintptr_t)value, key, member)
	{
		const struct venue_key *known = keys;

		while (known->name != NULL && strcmp(known->name, key) != 0)
			known++;
		if (known->name == NULL)
			return fail_unknown_key(reader, key, keys);
	}
	for (; keys->name != NULL; keys++) {
		if (keys->required && json_object_get(value, keys->name) == NULL)
			return venue_read_fail(reader, "key '%s' is missing", keys->name);
	}
	return 0;
}

int venue_read_array(
	struct venue_reader *reader, const json_t *value, struct venue_range count_range)
{
	size_t count = json_array_size(value);

	if (!json_is_array(value))
		return venue_read_fail(reader, "must be an array, not %s", kind_text(value));
	if (count < count_range.min)
		return venue_read_fail(reader, "is empty; at least %u is needed", count_range.min);
	if (count > count_range.max)
		return venue_read_fail(
			reader, "has %zu elements; at most %u are allowed", count, count_range.max);
	return 0;
}

int venue_read_text(
	struct venue_reader *reader, const json_t *value, size_t bytes_max, const char **text)
{
	const char *fault;

	if (!json_is_string(value))
		return venue_read_fail(reader, "must be a string, not %s", kind_text(value));
	fault = venue_text_fault(json_string_value(value), bytes_max);
	if (fault != NULL)
		return venue_read_fail(reader, "text '%.63s' %s (allowed: 1 to %zu bytes)",
			json_string_value(value), fault, bytes_max);
	*text = json_string_value(value);
	return 0;
}

int venue_read_integer(struct venue_reader *reader, const json_t *value, struct venue_range range,
	uint32_t *number)
{
	json_int_t found;

	if (!json_is_integer(value))
		return venue_read_fail(reader, "must be an integer, not %s", kind_text(value));
	found = json_integer_value(value);
	if (found < (json_int_t)range.min || found > (json_int_t)range.max)
		return venue_read_fail(reader,
			"%" JSON_INTEGER_FORMAT " is out of range; allowed: %u to %u", found,
			range.min, range.max);
	*number = (uint32_t)found;
	return 0;
}

int venue_read_text_at(struct venue_reader *reader, const json_t *object, const char *key,
	size_t bytes_max, const char **text)
{
	const json_t *value = json_object_get(object, key);
	int ret;

	if (value == NULL)
		return 0;
	venue_read_into(reader, key);
	ret = venue_read_text(reader, value, bytes_max, text);
	if (ret == 0)
		venue_read_out(reader);
	return ret;
}

int venue_read_integer_at(struct venue_reader *reader, const json_t *object, const char *key,
	struct venue_range range, uint32_t *number)
{
	const json_t *value = json_object_get(object, key);
	int ret;

	if (value == NULL)
		return 0;
	venue_read_into(reader, key);
	ret = venue_read_integer(reader, value, range, number);
	if (ret == 0)
		venue_read_out(reader);
	return ret;
}

int venue_read_currency(struct venue_reader *reader, const char *code)
{
	if (venue_currency_digits(code) < 0)
		return venue_read_fail(reader,
			"'%.63s' is no ISO 4217 currency; three capital letters such as EUR, GBP, USD, JPY",
			code);
	memcpy(reader->model->currency, code, 4);
	return 0;
}

int venue_read_count_blocks(struct venue_reader *reader, uint32_t block_count)
{
	struct venue_model *model = reader->model;

	if (block_count > USH_EVENT_ROWS_MAX - model->block_count)
		return venue_read_fail(reader,
			"up to here the venue needs %u row blocks of 64 places; at most %u are allowed",
			model->block_count + block_count, USH_EVENT_ROWS_MAX);
	model->block_count += block_count;
	return 0;
}
