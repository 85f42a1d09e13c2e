/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration of usher-control: an INI file and what the command line sets above it.
 *
 * Owns:  the values.
 * Reads: the configuration file, secret files.
 * Never: what a value means, beyond its spelling; the contents of secrets in messages.
 */
#ifndef USH_DAEMON_SETTINGS_H
#define USH_DAEMON_SETTINGS_H

#include "daemon/core.h"

/* err: message with path and line. */
int ush_settings_read(const char *path, struct ush_message *message);
/* in: "section.key=value". */
int ush_settings_set(const char *text, struct ush_message *message);
/* Prints all settings in effect as a file that reads back as itself. */
void ush_settings_print(void);

/* ret: its value, the default, or NULL if it is not given. A setting that the table does not have
 * is a bug. */
const char *ush_setting(const struct ush_core *core, const char *section, const char *key);
/* ret: 0 and *value; err: -USH_EINVAL with a message: not given, no number, or out of range. */
int ush_setting_number(const char *section, const char *key, uint64_t low, uint64_t high,
	uint64_t *value, struct ush_message *message);
/* See struct ush_core. */
char *ush_secret(const struct ush_core *core, const char *section, const char *key, size_t *bytes,
	struct ush_message *message);

#endif /* USH_DAEMON_SETTINGS_H */
