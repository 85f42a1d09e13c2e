/* SPDX-License-Identifier: Apache-2.0 */
/* Lines of JSON on stderr. */
#include <stdio.h>
#include <stdlib.h>

#include "sandbox.h"

void sand_log(const char *level, const char *event, json_t *fields)
{
	json_t *line = json_pack("{s:I, s:s, s:s}", "time_ms", (json_int_t)sand_real_ms(), "level",
		level, "event", event);
	char *text;

	if (fields != NULL) {
		json_object_update_missing(line, fields);
		json_decref(fields);
	}
	text = json_dumps(line, JSON_COMPACT);
	if (text != NULL)
		fprintf(stderr, "%s\n", text);
	free(text);
	json_decref(line);
}

void sand_die(const char *what, const char *why)
{
	sand_log("error", "stopped", json_pack("{s:s, s:s}", "what", what, "why", why));
	exit(3);
}
