/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All codes of problem documents, by module. tests/system/test_problems.py compares this table with
 * every call of ush_http_problem in control/. A code that was released never changes its meaning.
 */
#include <stddef.h>
#include <string.h>

#include "http/problem.h"

static const struct {
	const char *code, *title;
} problems[] = {
	/* http */
	{"bad_json", "The body is not a JSON object"},
	{"bad_target", "The path or the query cannot be read"},
	{"body_too_large", "The body is too large"},
	{"busy", "Too much is under way"},
	{"idempotency_key", "An Idempotency-Key is missing or malformed"},
	{"idempotency_mismatch", "The Idempotency-Key belongs to another request"},
	{"idempotency_running", "The first request of this Idempotency-Key is under way"},
	{"internal", "We failed"},
	{"method_not_allowed", "The path does not take this method"},
	{"not_found", "There is nothing here"},
	{"not_ready", "A part that this needs is not there now"},
	{"unsupported_media_type", "The body has another type than this takes"},
};

const char *ush_http_problem_title(const char *code)
{
	for (size_t i = 0; i < sizeof(problems) / sizeof(problems[0]); i++)
		if (strcmp(problems[i].code, code) == 0)
			return problems[i].title;
	return NULL;
}
