/* SPDX-License-Identifier: Apache-2.0 */
/* Answers: objects, error objects, pages of lists. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sandbox.h"

#define LIST_DEFAULT 10
#define LIST_MAX 100

const char *sand_text(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	return text != NULL ? text : "";
}

json_int_t sand_number(const json_t *object, const char *name)
{
	return json_integer_value(json_object_get(object, name));
}

bool sand_true(const json_t *object, const char *name)
{
	return json_is_true(json_object_get(object, name));
}

void sand_set_text(json_t *object, const char *name, const char *value)
{
	json_t *text = value != NULL ? json_string(value) : json_null();

	USH_ASSERT(text != NULL);
	json_object_set_new(object, name, text);
}

void sand_set_number(json_t *object, const char *name, json_int_t value)
{
	json_object_set_new(object, name, json_integer(value));
}

void sand_answer(struct sand_call *call, int status, json_t *answer)
{
	json_decref(call->answer);
	call->status = status;
	call->answer = answer;
}

void sand_fail(struct sand_call *call, int status, const char *type, const char *code,
	const char *param, const char *format, ...)
{
	char text[400];
	va_list values;
	json_t *error;

	va_start(values, format);
	vsnprintf(text, sizeof(text), format, values);
	va_end(values);
	error = json_pack("{s:s, s:s%}", "type", type, "message", text, strlen(text));
	if (error == NULL) /* cut within a character */
		error = json_pack("{s:s, s:s}", "type", type, "message", "Invalid request.");
	if (code != NULL)
		sand_set_text(error, "code", code);
	if (param != NULL)
		sand_set_text(error, "param", param);
	sand_answer(call, status, json_pack("{s:o}", "error", error));
}

json_t *sand_need(struct sand_call *call, const char *kind, const char *id, const char *param)
{
	json_t *object = sand_get(call->sand, kind, id);

	if (object == NULL)
		sand_fail(call, param == NULL ? 404 : 400, "invalid_request_error",
			"resource_missing", param == NULL ? "id" : param, "No such %s: '%.60s'",
			kind, id);
	return object;
}

/* ret: the sequence of the object that a page begins at, 0 for none, -1 after an error. */
static int64_t cursor(struct sand_call *call, const char *kind, const char *param)
{
	const char *id;
	sqlite3_stmt *found;
	int64_t seq = -1;

	if (!sand_form_text(call, param, false, &id))
		return -1;
	if (id == NULL)
		return 0;
	found = sand_sql(
		call->sand, "SELECT seq FROM objects WHERE id = ? AND kind = ?", "tt", id, kind);
	while (sand_step(call->sand, found))
		seq = sqlite3_column_int64(found, 0);
	if (seq < 0)
		sand_fail(call, 400, "invalid_request_error", "resource_missing", param,
			"No such %s: '%.60s'", kind, id);
	return seq;
}

/* The rows of a page, newest first; one more than `limit` tells that there are more. */
static json_t *page(struct sand_call *call, const char *kind, const char *field, const char *value,
	json_int_t limit, int64_t after, int64_t before)
{
	char path[64];
	json_t *data = json_array();
	sqlite3_stmt *rows;

	snprintf(path, sizeof(path), "$.%s", field != NULL ? field : "id");
	rows = sand_sql(call->sand,
		before > 0 ? "SELECT body FROM objects WHERE kind = ?1 AND seq > ?2 AND"
			     " (?5 = '' OR json_extract(body, ?4) = ?5) ORDER BY seq LIMIT ?3"
			   : "SELECT body FROM objects WHERE kind = ?1 AND seq < ?2 AND"
			     " (?5 = '' OR json_extract(body, ?4) = ?5)"
			     " ORDER BY seq DESC LIMIT ?3",
		"tiitt", kind,
		before > 0  ? before
		: after > 0 ? after
			    : INT64_MAX,
		(int64_t)limit + 1, path, value != NULL ? value : "");
	while (sand_step(call->sand, rows)) {
		json_t *object = json_loads((const char *)sqlite3_column_text(rows, 0), 0, NULL);

		USH_ASSERT(object != NULL);
		if (before > 0)
			json_array_insert_new(data, 0, object);
		else
			json_array_append_new(data, object);
	}
	return data;
}

void sand_list(struct sand_call *call, const char *kind, const char *field, const char *value)
{
	json_int_t limit = LIST_DEFAULT;
	int64_t after, before;
	json_t *data, *object;
	size_t i;
	bool more;

	if (!sand_form_integer(call, "limit", false, &limit))
		return;
	if (limit < 1 || limit > LIST_MAX) {
		sand_fail(call, 400, "invalid_request_error", "parameter_invalid_integer", "limit",
			"Invalid limit: must be from 1 to %d", LIST_MAX);
		return;
	}
	after = cursor(call, kind, "starting_after");
	before = after >= 0 ? cursor(call, kind, "ending_before") : -1;
	if (after < 0 || before < 0)
		return;
	data = page(call, kind, field, value, limit, after, before);
	more = json_array_size(data) > (size_t)limit;
	if (more)
		json_array_remove(data, before > 0 ? 0 : (size_t)limit);
	json_array_foreach(data, i, object) sand_expand(call, object);
	sand_answer(call, 200,
		json_pack("{s:s, s:o, s:b, s:s}", "object", "list", "data", data, "has_more", more,
			"url", call->path));
}

/* ret: what kind of object an id names, or NULL. */
static const char *kind_of(const char *id)
{
	static const struct {
		const char *prefix, *kind;
	} kinds[] = {{"pi_", "payment_intent"}, {"ch_", "charge"}, {"re_", "refund"},
		{"dp_", "dispute"}};

	for (uint32_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (strncmp(id, kinds[i].prefix, strlen(kinds[i].prefix)) == 0)
			return kinds[i].kind;
	return NULL;
}

bool sand_expand_known(struct sand_call *call)
{
	static const char *const fields[] = {
		"latest_charge", "charge", "payment_intent", "payment_method", NULL};
	json_t *expand = json_object_get(call->form, "expand"), *name;
	size_t i;

	if (expand != NULL && !json_is_array(expand)) {
		sand_fail(call, 400, "invalid_request_error", NULL, "expand", "Invalid array");
		return false;
	}
	json_array_foreach(expand, i, name)
	{
		const char *field = json_is_string(name) ? json_string_value(name) : "";
		uint32_t at = 0;

		if (strncmp(field, "data.", 5) == 0)
			field += 5;
		while (fields[at] != NULL && strcmp(fields[at], field) != 0)
			at++;
		if (fields[at] == NULL) {
			sand_fail(call, 400, "invalid_request_error", NULL, "expand",
				"This property cannot be expanded (%.60s).", field);
			return false;
		}
	}
	return true;
}

void sand_expand(struct sand_call *call, json_t *answer)
{
	json_t *expand = json_object_get(call->form, "expand"), *name;
	size_t i;

	json_array_foreach(expand, i, name)
	{
		const char *field = json_string_value(name), *id, *kind;

		if (strncmp(field, "data.", 5) == 0)
			field += 5;
		id = json_string_value(json_object_get(answer, field));
		kind = id != NULL ? kind_of(id) : NULL;
		if (kind != NULL)
			json_object_set_new(answer, field, sand_get(call->sand, kind, id));
		else if (id != NULL && sand_card_find(id) != NULL)
			json_object_set_new(answer, field,
				sand_card_method(sand_card_find(id), sand_now(call->sand)));
	}
}
