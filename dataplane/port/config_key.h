/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of configuration keys: one row says where a key lives, what it may be and what it says
 * when it is wrong.
 *
 * Owns:  nothing.
 * Reads: nothing.
 * Never: files.
 */
#ifndef USH_CONFIG_KEY_H
#define USH_CONFIG_KEY_H

#include "port/config.h"

/* Longest printed value. */
#define USH_CONFIG_VALUE_MAX 1024u

enum ush_config_kind {
	USH_CONFIG_NUMBER,
	/* 0 is written `auto`. */
	USH_CONFIG_NUMBER_AUTO,
	USH_CONFIG_CHOICE,
	USH_CONFIG_TEXT,
	USH_CONFIG_IPV4,
	USH_CONFIG_IPV6,
	USH_CONFIG_MAC,
	USH_CONFIG_CPUS,
	USH_CONFIG_PLACE,
	USH_CONFIG_OCTAL,
	USH_CONFIG_UIDS,
};

struct ush_config_key {
	/* "port" stands for every [port NAME]. */
	const char *section;
	const char *name;
	enum ush_config_kind kind;
	/* Of the value: in struct ush_config_port when the section is "port", else in
	 * struct ush_config. */
	size_t offset;
	/* NUMBER: the range. */
	uint32_t min;
	uint32_t max;
	/* CHOICE: names of 0, 1, 2...; ended by NULL. */
	const char *const *choices;
};

/* The table, in the order in which it is printed; ended by a row without a section. */
extern const struct ush_config_key ush_config_keys[];

/* ret: the row, or NULL. *section_known tells whether any key is in that section. */
const struct ush_config_key *ush_config_key_find(
	const char *section, const char *name, bool *section_known);

/* Sets one value. in: base: struct ush_config_port or struct ush_config, as the row says.
 * err: -USH_EPARSE with what is wrong and what is allowed. */
int ush_config_key_set(const struct ush_config_key *key, void *base, const char *value,
	struct ush_message *message);

/* Writes the value as it would stand in a file; cut at `size`. */
void ush_config_key_text(
	const struct ush_config_key *key, const void *base, char *text, size_t size);

#endif /* USH_CONFIG_KEY_H */
