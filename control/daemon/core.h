/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every module of usher-control is given. The daemon fills it in; modules do not see each
 * other but through headers that tests/style allows.
 *
 * Owns:  nothing: the daemon does.
 * Reads: nothing.
 * Never: changes after the start.
 */
#ifndef USH_CORE_H
#define USH_CORE_H

#include "base/base.h"

struct event_base;
struct ush_db;
struct ush_fetch;
struct ush_http_server;
struct ush_link;

struct ush_core {
	struct event_base *base;
	struct ush_http_server *http;
	struct ush_db *db;
	struct ush_link *link;   /* NULL in a read replica */
	struct ush_fetch *fetch; /* outgoing HTTP, fetch/fetch.h */
	/* The daemon's config file, read by each module under its own section; NULL: not given. The
	 * text lives for ever. */
	const char *(*setting)(const struct ush_core *core, const char *section, const char *key);
	/* A secret: the setting names a file; it must be a regular file that only its owner can
	 * read. ret: bytes (malloced, 0-terminated), or NULL with a message. */
	char *(*secret)(const struct ush_core *core, const char *section, const char *key,
		size_t *bytes, struct ush_message *message);
	const char *state_dir;   /* ours; exists, mode 0700 */
	const char *journal_dir; /* usherd's journal, for those who follow it */
	const char *origin;      /* see ush_http_config */
	bool read_only; /* a read replica: serves what it can from the journal and the database */
};

/* Wall clock, microseconds since 1970; a test may shift it. by: any thread. */
int64_t ush_core_now_us(void);
/* Microseconds since some moment; no test and no administrator shifts it. by: any thread. */
int64_t ush_core_monotonic_us(void);
/* One line of JSON on stderr: time, level, module, message, and pairs of strings (key, value, ...,
 * NULL). Values that name a person are never given: ids only. by: any thread. */
enum ush_core_level {
	USH_CORE_DEBUG,
	USH_CORE_INFO,
	USH_CORE_WARN,
	USH_CORE_ERROR
};
void ush_core_log(enum ush_core_level level, const char *module, const char *text, ...)
	__attribute__((sentinel));

#endif /* USH_CORE_H */
