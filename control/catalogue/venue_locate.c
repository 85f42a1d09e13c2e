/* SPDX-License-Identifier: Apache-2.0 */
/* Where in a JSON text a value stands. The text has been parsed before, so it is well-formed. */
#include <string.h>

#include "catalogue/venue_read.h"

struct cursor {
	const char *text;
	size_t bytes;
	size_t at;
};

static char cursor_peek(const struct cursor *cursor)
{
	return cursor->at < cursor->bytes ? cursor->text[cursor->at] : '\0';
}

static void skip_blank(struct cursor *cursor)
{
	while (cursor->at < cursor->bytes && strchr(" \t\r\n", cursor->text[cursor->at]) != NULL &&
		cursor->text[cursor->at] != '\0')
		cursor->at++;
}

static void skip_string(struct cursor *cursor)
{
	cursor->at++;
	while (cursor->at < cursor->bytes && cursor->text[cursor->at] != '"')
		cursor->at += cursor->text[cursor->at] == '\\' ? 2 : 1;
	cursor->at++;
}

/* Steps over one value of any kind. */
static void skip_value(struct cursor *cursor)
{
	uint32_t depth = 0;

	do {
		char c = cursor_peek(cursor);

		if (c == '"') {
			skip_string(cursor);
		} else {
			depth += c == '{' || c == '[';
			depth -= c == '}' || c == ']';
			cursor->at++;
			/* A number or a word ends where a value may end. */
			while (depth == 0 && strchr("}]{[", c) == NULL &&
				cursor->at < cursor->bytes &&
				strchr(",]} \t\r\n", cursor->text[cursor->at]) == NULL)
				cursor->at++;
		}
	} while (depth > 0 && cursor->at < cursor->bytes);
}

/* Whether the string literal at [at, end) means `key`. */
static bool literal_is(const char *literal, size_t bytes, const char *key)
{
	json_t *decoded;
	bool same;

	if (bytes >= 2 && memchr(literal, '\\', bytes) == NULL)
		return strlen(key) == bytes - 2 && memcmp(literal + 1, key, bytes - 2) == 0;
	decoded = json_loadb(literal, bytes, JSON_DECODE_ANY, NULL);
	same = json_is_string(decoded) && strcmp(json_string_value(decoded), key) == 0;
	json_decref(decoded);
	return same;
}

/* From the start of an object to the start of a member's key. */
static bool step_to_key(struct cursor *cursor, const char *key, size_t *value_at)
{
	cursor->at++;
	for (;;) {
		size_t key_at;

		skip_blank(cursor);
		if (cursor_peek(cursor) != '"')
			return false;
		key_at = cursor->at;
		skip_string(cursor);
		if (cursor->at > cursor->bytes)
			return false;
		bool found = literal_is(cursor->text + key_at, cursor->at - key_at, key);
		skip_blank(cursor);
		cursor->at++;
		skip_blank(cursor);
		if (found) {
			*value_at = cursor->at;
			cursor->at = key_at;
			return true;
		}
		skip_value(cursor);
		skip_blank(cursor);
		cursor->at++;
	}
}

/* From the start of an array to the start of its element `index`. */
static bool step_to_index(struct cursor *cursor, size_t index)
{
	cursor->at++;
	skip_blank(cursor);
	for (size_t i = 0; i < index; i++) {
		skip_value(cursor);
		skip_blank(cursor);
		if (cursor_peek(cursor) != ',')
			return false;
		cursor->at++;
		skip_blank(cursor);
	}
	return true;
}

void venue_locate(const char *text, size_t bytes, const struct venue_step *path, uint32_t depth,
	bool at_key, uint32_t *line, uint32_t *column)
{
	struct cursor cursor = {text, bytes, 0};
	size_t start = 0;

	skip_blank(&cursor);
	for (uint32_t i = 0; i < depth; i++) {
		size_t value_at = 0;
		bool found;

		if (path[i].key == NULL) {
			found = step_to_index(&cursor, path[i].index);
		} else {
			found = step_to_key(&cursor, path[i].key, &value_at);
			if (found && !(at_key && i + 1 == depth))
				cursor.at = value_at;
		}
		if (!found)
			break;
	}
	if (cursor.at > bytes)
		cursor.at = bytes;
	*line = 1;
	for (size_t i = 0; i < cursor.at; i++) {
		if (text[i] == '\n') {
			*line += 1;
			start = i + 1;
		}
	}
	*column = 1;
	for (size_t i = start; i < cursor.at; i++)
		*column += ((uint8_t)text[i] & 0xc0) != 0x80;
}
