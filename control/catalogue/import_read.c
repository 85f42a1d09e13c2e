/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An import is read whole and checked whole before anything of it is stored.
 *
 * CSV: the first record names the columns; a column of the venue begins with `venue_`; performers
 * are separated by semicolons. JSON: {"events": [...]} with the same members, the venue an object.
 * Each fault says its line (JSON: the number of the event), the column and the reason.
 */
#include <stdio.h>
#include <string.h>

#include "catalogue/internal.h"

#define EVENT_COUNT_MAX 10000u
#define ERROR_COUNT_MAX 100u

struct import {
	json_t *events, *errors;
	uint32_t fault_count;
};

static void add_fault(struct import *import, int64_t line, const struct cat_fault *fault)
{
	if (import->fault_count++ < ERROR_COUNT_MAX)
		json_array_append_new(
			import->errors, json_pack("{s:I, s:s, s:s}", "line", line, "column",
						fault->member, "reason", fault->reason));
}

static void add_reason(struct import *import, int64_t line, const char *column, const char *reason)
{
	struct cat_fault fault;

	snprintf(fault.member, sizeof(fault.member), "%s", column);
	snprintf(fault.reason, sizeof(fault.reason), "%s", reason);
	add_fault(import, line, &fault);
}

/* Checks one event and its venue. ret: whether both are good. Takes no reference. */
static void add_event(struct import *import, const json_t *input, int64_t line)
{
	json_t *event = json_object(), *venue = json_object();
	const json_t *place = json_object_get(input, "venue");
	struct cat_fault fault;
	bool good = false;

	if (json_array_size(import->events) + import->fault_count >= EVENT_COUNT_MAX)
		add_reason(import, line, "", "more than 10,000 events in one import");
	else if (!json_is_object(input))
		add_reason(import, line, "", "want an object");
	else if (json_object_get(input, "plan") != NULL)
		add_reason(import, line, "plan", "a plan is not imported: set it by PATCH");
	else if (*cat_text(input, "external") == '\0')
		add_reason(import, line, "external", "is missing: it makes an import repeatable");
	else if (!json_is_object(place))
		add_reason(import, line, "venue", "is missing");
	else if (!cat_event_take(event, input, true, &fault) ||
		 !cat_venue_take(venue, place, &fault))
		add_fault(import, line, &fault);
	else
		good = true;
	if (good) {
		json_object_set(event, "venue_put", venue);
		json_object_set_new(event, "line", json_integer(line));
		json_array_append(import->events, event);
	}
	json_decref(venue);
	json_decref(event);
}

static json_t *split(const char *text)
{
	json_t *names = json_array();

	while (*text != '\0') {
		size_t bytes = strcspn(text, ";"), from = strspn(text, " "), to = bytes;

		while (to > from && text[to - 1] == ' ')
			to--;
		if (to > from)
			json_array_append_new(names, json_stringn(text + from, to - from));
		text += bytes + (text[bytes] == ';');
	}
	return names;
}

/* ret: a record as the object that JSON would have; empty fields are not there. */
static json_t *object_of(const json_t *head, const json_t *record)
{
	json_t *object = json_object(), *venue = json_object(), *name;
	size_t i;

	json_array_foreach((json_t *)(uintptr_t)head, i, name)
	{
		const char *column = json_string_value(name);
		json_t *value = json_array_get(record, i);

		if (json_string_length(value) == 0)
			continue;
		if (strcmp(column, "performers") == 0)
			json_object_set_new(object, column, split(json_string_value(value)));
		else if (strncmp(column, "venue_", 6) == 0)
			json_object_set(venue, column + 6, value);
		else
			json_object_set(object, column, value);
	}
	json_object_set_new(object, "venue", venue);
	return object;
}

static bool good_head(struct import *import, const json_t *head)
{
	json_t *name, *seen = json_object();
	bool good = true;
	size_t i;

	json_array_foreach((json_t *)(uintptr_t)head, i, name)
	{
		const char *column = json_string_value(name);

		if (*column == '\0' || json_object_get(seen, column) != NULL ||
			strcmp(column, "venue") == 0) {
			add_reason(import, 1, column, "an empty, repeated or unknown column");
			good = false;
		}
		json_object_set_new(seen, column, json_true());
	}
	json_decref(seen);
	return good;
}

static void read_csv(struct import *import, const char *text, size_t bytes)
{
	json_t *head = NULL, *record = NULL, *object;
	struct cat_fault fault;
	struct cat_csv csv;
	int ret;

	cat_csv_init(&csv, text, bytes);
	ret = cat_csv_next(&csv, &head, &fault);
	if (ret == 0)
		add_reason(import, 1, "", "no header");
	while (ret == 1 && good_head(import, head) &&
		(ret = cat_csv_next(&csv, &record, &fault)) == 1) {
		if (json_array_size(record) != json_array_size(head)) {
			add_reason(import, csv.line, "",
				"another number of fields than the header has");
		} else {
			object = object_of(head, record);
			add_event(import, object, csv.line);
			json_decref(object);
		}
		json_decref(record);
		if (import->fault_count >= ERROR_COUNT_MAX)
			break;
	}
	if (ret < 0)
		add_fault(import, csv.line, &fault);
	json_decref(head);
}

static void read_json(struct import *import, const char *text, size_t bytes)
{
	json_error_t error;
	json_t *all = json_loadb(text, bytes, JSON_REJECT_DUPLICATES, &error);
	json_t *events = json_object_get(all, "events"), *event;
	size_t i;

	if (all == NULL)
		add_reason(import, error.line, "", error.text);
	else if (!json_is_array(events))
		add_reason(import, 1, "events", "want an array");
	json_array_foreach(events, i, event)
	{
		add_event(import, event, (int64_t)i + 1);
		if (import->fault_count >= ERROR_COUNT_MAX)
			break;
	}
	json_decref(all);
}

json_t *cat_import_read(const char *text, size_t bytes, bool csv)
{
	struct import import = {.events = json_array(), .errors = json_array()};

	if (csv)
		read_csv(&import, text, bytes);
	else
		read_json(&import, text, bytes);
	return json_pack("{s:o, s:o}", "events", import.events, "errors", import.errors);
}
