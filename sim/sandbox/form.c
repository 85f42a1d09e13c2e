/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Parameters as Stripe's clients send them: a=1&b[c]=2&d[]=x&d[]=y&e[0][f]=z.
 *
 * A name is cut into its steps, and objects are made on the way. At the end an object whose names
 * are all numbers becomes an array. What is malformed (a percent sign without two digits, a bracket
 * that does not close, a NUL, no UTF-8, too many or too deep) is refused as a whole.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sandbox.h"

#define PAIRS_MAX 512u
#define DEPTH_MAX 8u
#define METADATA_MAX 50u
#define METADATA_NAME_MAX 40u
#define METADATA_VALUE_MAX 500u

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* ret: decoded, to free(); NULL when malformed. */
static char *decode(const char *text, size_t bytes)
{
	char *out = malloc(bytes + 1);
	size_t length = 0;

	USH_ASSERT(out != NULL);
	for (size_t i = 0; i < bytes; i++) {
		int c = (unsigned char)text[i];

		if (c == '+') {
			c = ' ';
		} else if (c == '%') {
			int high = i + 2 < bytes ? hex(text[i + 1]) : -1;
			int low = high >= 0 ? hex(text[i + 2]) : -1;

			if (low < 0) {
				free(out);
				return NULL;
			}
			c = high << 4 | low;
			i += 2;
		}
		if (c == 0) {
			free(out);
			return NULL;
		}
		out[length++] = (char)c;
	}
	out[length] = '\0';
	return out;
}

/* The next step of a name such as a[b][]: cuts it off. ret: false when brackets do not fit. */
static bool next_step(char **rest, char **step, bool first)
{
	char *name = *rest, *end;

	if (first) {
		end = strchr(name, '[');
		*step = name;
		*rest = end;
		if (end != NULL)
			*end = '\0';
		if (end == name || strchr(name, ']') != NULL)
			return false;
		/* The bracket was overwritten: what follows begins inside it. */
		return true;
	}
	end = strchr(name + 1, ']');
	if (end == NULL)
		return false;
	*step = name + 1;
	*end = '\0';
	if (strchr(*step, '[') != NULL)
		return false;
	if (end[1] == '\0')
		*rest = NULL;
	else if (end[1] == '[')
		*rest = end + 1;
	else
		return false;
	return true;
}

/* in: name: is cut up. ret: false when it cannot be put there. */
static bool put(json_t *form, char *name, const char *value)
{
	json_t *at = form, *text = json_string(value);
	char number[24], *rest = name, *step;

	if (text == NULL)
		return false;
	for (uint32_t depth = 0;; depth++) {
		json_t *next;

		if (depth == DEPTH_MAX || !next_step(&rest, &step, depth == 0))
			break;
		if (step[0] == '\0') {
			snprintf(number, sizeof(number), "%zu", json_object_size(at));
			step = number;
		}
		if (rest == NULL)
			return json_object_set_new(at, step, text) == 0;
		next = json_object_get(at, step);
		if (next == NULL) {
			next = json_object();
			if (json_object_set_new(at, step, next) != 0)
				break;
		}
		if (!json_is_object(next))
			break;
		at = next;
	}
	json_decref(text);
	return false;
}

/* ret: `object`, or the array that it stands for; steals it. */
static json_t *with_arrays(json_t *object)
{
	const char *name;
	json_t *value, *array;
	void *next;
	size_t numbers = 0;

	json_object_foreach_safe(object, next, name, value)
	{
		numbers += name[strspn(name, "0123456789")] == '\0';
		if (json_is_object(value))
			json_object_set_new(object, name, with_arrays(json_incref(value)));
	}
	if (numbers == 0 || numbers != json_object_size(object))
		return object;
	array = json_array();
	json_object_foreach(object, name, value) json_array_append(array, value);
	json_decref(object);
	return array;
}

static bool put_pair(json_t *form, const char *text, size_t bytes)
{
	const char *equals = memchr(text, '=', bytes);
	size_t name_bytes = equals != NULL ? (size_t)(equals - text) : bytes;
	char *name = decode(text, name_bytes);
	char *value = equals != NULL ? decode(equals + 1, bytes - name_bytes - 1) : strdup("");
	bool good = name != NULL && value != NULL && name[0] != '\0' && put(form, name, value);

	free(name);
	free(value);
	return good;
}

json_t *sand_form_parse(const char *text, size_t bytes, struct ush_message *message)
{
	json_t *form = json_object();
	const char *name;
	json_t *value;
	void *next;
	size_t pairs = 0;

	USH_ASSERT(form != NULL);
	for (size_t at = 0; at < bytes;) {
		const char *end = memchr(text + at, '&', bytes - at);
		size_t length = end != NULL ? (size_t)(end - text) - at : bytes - at;

		if (length > 0 && (++pairs > PAIRS_MAX || !put_pair(form, text + at, length))) {
			ush_message_set(
				message, "parameter %zu of the request is malformed", pairs);
			json_decref(form);
			return NULL;
		}
		at += length + 1;
	}
	json_object_foreach_safe(form, next, name, value)
	{
		if (json_is_object(value))
			json_object_set_new(form, name, with_arrays(json_incref(value)));
	}
	return form;
}

static bool invalid(struct sand_call *call, const char *name, const char *what)
{
	sand_fail(call, 400, "invalid_request_error", "parameter_invalid", name, "Invalid %s: %s",
		name, what);
	return false;
}

bool sand_form_known(struct sand_call *call, const char *const *names)
{
	const char *name;
	json_t *value;

	json_object_foreach(call->form, name, value)
	{
		uint32_t i = 0;

		while (names[i] != NULL && strcmp(names[i], name) != 0)
			i++;
		if (names[i] == NULL && strcmp(name, "expand") != 0) {
			sand_fail(call, 400, "invalid_request_error", "parameter_unknown", name,
				"Received unknown parameter: %s", name);
			return false;
		}
	}
	return true;
}

bool sand_form_text(struct sand_call *call, const char *name, bool needed, const char **value)
{
	const json_t *found = json_object_get(call->form, name);

	*value = NULL;
	if (found != NULL && !json_is_string(found))
		return invalid(call, name, "must be a string");
	if (found != NULL && json_string_length(found) > 0)
		*value = json_string_value(found);
	if (*value != NULL && strlen(*value) > 5000)
		return invalid(call, name, "must be at most 5000 characters");
	if (*value == NULL && needed) {
		sand_fail(call, 400, "invalid_request_error", "parameter_missing", name,
			"Missing required param: %s.", name);
		return false;
	}
	return true;
}

bool sand_form_integer(struct sand_call *call, const char *name, bool needed, json_int_t *value)
{
	const char *text;
	char *end;
	size_t digits;

	if (!sand_form_text(call, name, needed, &text))
		return false;
	if (text == NULL)
		return true;
	digits = strspn(text[0] == '-' ? text + 1 : text, "0123456789");
	if (digits == 0 || digits > 15) {
		sand_fail(call, 400, "invalid_request_error", "parameter_invalid_integer", name,
			"Invalid integer: %.40s", text);
		return false;
	}
	*value = strtoll(text, &end, 10);
	if (*end != '\0') {
		sand_fail(call, 400, "invalid_request_error", "parameter_invalid_integer", name,
			"Invalid integer: %.40s", text);
		return false;
	}
	return true;
}

bool sand_form_bool(struct sand_call *call, const char *name, bool *value)
{
	static const char *const choices[] = {"true", "false", NULL};
	const char *text = NULL;

	if (!sand_form_choice(call, name, choices, &text))
		return false;
	if (text != NULL)
		*value = strcmp(text, "true") == 0;
	return true;
}

bool sand_form_choice(
	struct sand_call *call, const char *name, const char *const *choices, const char **value)
{
	const char *text;
	char list[200] = "";
	size_t at = 0;

	if (!sand_form_text(call, name, false, &text))
		return false;
	if (text == NULL)
		return true;
	for (uint32_t i = 0; choices[i] != NULL; i++) {
		if (strcmp(choices[i], text) == 0) {
			*value = choices[i];
			return true;
		}
		at += (size_t)snprintf(
			list + at, sizeof(list) - at, "%s%s", i > 0 ? ", " : "", choices[i]);
		USH_ASSERT(at < sizeof(list));
	}
	return invalid(call, name, list);
}

bool sand_form_metadata(struct sand_call *call, json_t *object)
{
	json_t *given = json_object_get(call->form, "metadata");
	json_t *kept = json_object_get(object, "metadata");
	const char *name;
	json_t *value;

	if (given == NULL)
		return true;
	if (json_is_string(given) && json_string_length(given) == 0) {
		json_object_clear(kept);
		return true;
	}
	if (!json_is_object(given))
		return invalid(call, "metadata", "must be an object");
	json_object_foreach(given, name, value)
	{
		if (!json_is_string(value))
			return invalid(call, "metadata", "values must be strings");
		if (strlen(name) > METADATA_NAME_MAX ||
			json_string_length(value) > METADATA_VALUE_MAX)
			return invalid(call, "metadata",
				"names have at most 40 and values at most 500 characters");
		if (json_string_length(value) == 0)
			json_object_del(kept, name);
		else
			json_object_set(kept, name, value);
	}
	if (json_object_size(kept) > METADATA_MAX)
		return invalid(call, "metadata", "at most 50 names");
	return true;
}
