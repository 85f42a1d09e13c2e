/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Scripted failures. A fault names requests by method and a pattern of the path, lets `skip` of
 * them pass and strikes the next `times`, or each with a chance. What is left of it is durable, so
 * that a script goes on where it was after a kill.
 */
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#include "sandbox.h"

#define MS_MAX 600000

static enum sand_fault_kind kind_of(const char *name)
{
	static const char *const names[] = {"", "delay", "drop", "error", "rate_limit"};

	for (int i = SAND_DELAY; i <= SAND_RATE_LIMIT; i++)
		if (strcmp(names[i], name) == 0)
			return (enum sand_fault_kind)i;
	return SAND_NO_FAULT;
}

static bool add(struct sand *sand, json_t *fault, struct ush_message *message)
{
	const char *kind, *method = "*", *path = "/v1/*", *when = "after";
	json_int_t skip = 0, times = 1, ms = 0, status = 500, chance = 1000000;
	json_error_t error;
	json_t *spec;
	char *text;

	if (json_unpack_ex(fault, &error, 0, "{s:s, s?s, s?s, s?s, s?I, s?I, s?I, s?I, s?I !}",
		    "kind", &kind, "method", &method, "path", &path, "when", &when, "skip", &skip,
		    "times", &times, "ms", &ms, "status", &status, "chance_ppm", &chance) != 0) {
		ush_message_set(message, "fault: %s", error.text);
		return false;
	}
	if (kind_of(kind) == SAND_NO_FAULT) {
		ush_message_set(message, "fault: kind is delay, drop, error or rate_limit");
		return false;
	}
	if (strcmp(when, "before") != 0 && strcmp(when, "after") != 0) {
		ush_message_set(message, "fault: when is before or after");
		return false;
	}
	if (skip < 0 || times < 1 || ms < 0 || ms > MS_MAX || status < 500 || status > 599 ||
		chance < 1 || chance > 1000000) {
		ush_message_set(message,
			"fault: skip from 0, times from 1, ms to %d, status 500 to 599, chance_ppm 1 to 1000000",
			MS_MAX);
		return false;
	}
	spec = json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:I}", "kind", kind, "method", method,
		"path", path, "when", when, "ms", ms, "status", status, "chance_ppm", chance);
	text = json_dumps(spec, JSON_COMPACT);
	sand_run(sand, "INSERT INTO faults(spec, skip, left, hits) VALUES(?, ?, ?, 0)", "tii", text,
		(int64_t)skip, (int64_t)times);
	free(text);
	json_decref(spec);
	return true;
}

bool sand_faults_add(struct sand *sand, const json_t *faults, struct ush_message *message)
{
	json_t *fault;
	size_t i;

	if (!json_is_array(faults))
		return add(sand, (json_t *)(uintptr_t)faults, message);
	json_array_foreach(faults, i, fault) if (!add(sand, fault, message)) return false;
	return true;
}

static bool strikes(struct sand_call *call, const json_t *spec)
{
	const char *method = sand_text(spec, "method");

	if (strcmp(method, "*") != 0 && strcmp(method, call->method) != 0)
		return false;
	/* A star goes over slashes: /v1/ and a star are all requests. */
	if (fnmatch(sand_text(spec, "path"), call->path, 0) != 0)
		return false;
	return (json_int_t)ush_random_below(&call->sand->chance, 1000000) <
	       sand_number(spec, "chance_ppm");
}

struct sand_fault sand_fault_take(struct sand_call *call)
{
	struct sand_fault fault = {0};
	int64_t seq = 0, skip = 0;
	sqlite3_stmt *rows =
		sand_sql(call->sand, "SELECT seq, spec, skip FROM faults WHERE left > 0", "");

	while (sand_step(call->sand, rows)) {
		json_t *spec = json_loads((const char *)sqlite3_column_text(rows, 1), 0, NULL);

		USH_ASSERT(spec != NULL);
		if (seq == 0 && strikes(call, spec)) {
			seq = sqlite3_column_int64(rows, 0);
			skip = sqlite3_column_int64(rows, 2);
			fault.kind = kind_of(sand_text(spec, "kind"));
			fault.before = strcmp(sand_text(spec, "when"), "before") == 0;
			fault.ms = (uint32_t)sand_number(spec, "ms");
			fault.status = (int)sand_number(spec, "status");
		}
		json_decref(spec);
	}
	if (seq != 0)
		sand_run(call->sand,
			skip > 0 ? "UPDATE faults SET skip = skip - 1 WHERE seq = ?"
				 : "UPDATE faults SET left = left - 1, hits = hits + 1"
				   " WHERE seq = ?",
			"i", seq);
	return skip > 0 ? (struct sand_fault){0} : fault;
}

static json_t *all(struct sand *sand)
{
	sqlite3_stmt *rows =
		sand_sql(sand, "SELECT spec, skip, left, hits FROM faults ORDER BY seq", "");
	json_t *faults = json_array();

	while (sand_step(sand, rows)) {
		json_t *fault = json_loads((const char *)sqlite3_column_text(rows, 0), 0, NULL);

		sand_set_number(fault, "skip", sqlite3_column_int64(rows, 1));
		sand_set_number(fault, "times", sqlite3_column_int64(rows, 2));
		sand_set_number(fault, "hits", sqlite3_column_int64(rows, 3));
		json_array_append_new(faults, fault);
	}
	return faults;
}

void sand_faults(struct sand_call *call)
{
	struct ush_message message;

	if (strcmp(call->method, "DELETE") == 0)
		sand_run(call->sand, "DELETE FROM faults", "");
	if (strcmp(call->method, "POST") == 0 &&
		!sand_faults_add(call->sand, call->form, &message)) {
		sand_fail(call, 400, "invalid_request_error", NULL, NULL, "%s", message.text);
		return;
	}
	sand_answer(call, 200, json_pack("{s:o}", "faults", all(call->sand)));
}
