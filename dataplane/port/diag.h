/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What usherd says on stderr: one event a line, as text or JSON.
 *
 * Owns:  the output format; set once at start.
 * Reads: the wall clock, for the time of a line.
 * Never: called per packet; what packets can cause goes through ush_diag_allowed.
 */
#ifndef USH_DIAG_H
#define USH_DIAG_H

#include "port/config.h"

struct ush_diag_field {
	const char *name;
	/* NULL: a number. */
	const char *text;
	uint64_t number;
};

#define USH_U64(name, value) ((struct ush_diag_field){(name), NULL, (uint64_t)(value)})
#define USH_TEXT(name, value) ((struct ush_diag_field){(name), (value), 0})

/* Says `event` with named fields: ush_diag(USH_DIAG_INFO, "ready", USH_U64("records", n)). */
#define ush_diag(level, event, ...) \
	ush_diag_write((level), (event), \
		(const struct ush_diag_field[]){{NULL, NULL, 0}, ##__VA_ARGS__}, \
		sizeof((const struct ush_diag_field[]){{NULL, NULL, 0}, ##__VA_ARGS__}) / \
				sizeof(struct ush_diag_field) - \
			1)

/* Sets what is said and how. by: the starting thread. */
void ush_diag_init(enum ush_diag_level level, bool json);

/* in: fields[1] to fields[count]; fields[0] is not used. Writes one line with one call.
 * by: any thread. */
void ush_diag_write(enum ush_diag_level level, const char *event,
	const struct ush_diag_field *fields, size_t count);

/* Lets at most one line a second through; counts the others.
 * in/out: *state: zero at first, one per caller. ret: true to speak; *muted: lines kept back. */
struct ush_diag_limit {
	uint64_t next_ns;
	uint64_t muted;
};
bool ush_diag_allowed(struct ush_diag_limit *limit, uint64_t now_ns, uint64_t *muted);

#endif /* USH_DIAG_H */
