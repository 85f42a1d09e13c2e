/* SPDX-License-Identifier: Apache-2.0 */
/* The clock and the log of usher-control. A line is written by one call, so that lines stay whole.
 */
#include "daemon/core.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "daemon/log.h"

static _Atomic int least_level = USH_CORE_INFO;
static _Atomic int64_t clock_shift_us;

void ush_core_log_level(enum ush_core_level level)
{
	/* Relaxed: a line more or less at the moment of the change. */
	atomic_store_explicit(&least_level, (int)level, memory_order_relaxed);
}

void ush_core_clock_shift(int64_t us)
{
	/* Relaxed: set before threads begin. */
	atomic_store_explicit(&clock_shift_us, us, memory_order_relaxed);
}

int64_t ush_core_now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000 +
	       atomic_load_explicit(&clock_shift_us, memory_order_relaxed);
}

int64_t ush_core_monotonic_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static void add_text(json_t *line, const char *key, const char *value)
{
	json_t *text = json_string(value);

	/* What is no UTF-8 came from outside and is not worth a line. */
	json_object_set_new(line, key, text != NULL ? text : json_string("?"));
}

void ush_core_log(enum ush_core_level level, const char *module, const char *text, ...)
{
	static const char *const names[] = {"debug", "info", "warn", "error"};
	const int64_t now = ush_core_now_us();
	const time_t second = (time_t)(now / 1000000);
	char day[32], at[48];
	struct tm parts;
	const char *key;
	va_list list;
	json_t *line;
	char *bytes;

	if ((int)level < atomic_load_explicit(&least_level, memory_order_relaxed))
		return;
	gmtime_r(&second, &parts);
	strftime(day, sizeof(day), "%Y-%m-%dT%H:%M:%S", &parts);
	snprintf(at, sizeof(at), "%s.%06dZ", day, (int)(now % 1000000));
	line = json_pack("{s:s, s:s, s:s}", "time", at, "level", names[level], "module", module);
	USH_ASSERT(line != NULL);
	add_text(line, "event", text);
	va_start(list, text);
	for (key = va_arg(list, const char *); key != NULL; key = va_arg(list, const char *)) {
		const char *value = va_arg(list, const char *);

		add_text(line, key, value != NULL ? value : "");
	}
	va_end(list);
	bytes = json_dumps(line, JSON_COMPACT);
	USH_ASSERT(bytes != NULL);
	json_decref(line);
	dprintf(STDERR_FILENO, "%s\n", bytes);
	free(bytes);
}
