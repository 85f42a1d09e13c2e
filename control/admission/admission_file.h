/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The admission file: keys, policies and which event follows which, as text (docs/admission.md,
 * section 11).
 *
 * Owns:  nothing.
 * Reads: one file that holds secrets, so only if nobody else can read it.
 * Never: writes it.
 */
#ifndef USH_ADMISSION_FILE_H
#define USH_ADMISSION_FILE_H

#include "admit/contract.h"

/* Longest file. */
#define USH_ADMISSION_FILE_BYTES_MAX (1u << 20)

/*
 * Reads the text of an admission file over the defaults. table_key and udp_port are left 0.
 * in:  size: at most USH_ADMISSION_FILE_BYTES_MAX.
 * ret: 0; err: -USH_EPARSE with "line N: what is wrong, what is allowed". by: any thread.
 */
int ush_admission_parse(const char *text, size_t size, struct ush_admit_config *config,
	struct ush_message *message);

/*
 * As above, of a file that must be ours or root's and closed to all others (mode 0600 or less).
 * err: -USH_EACCES, -USH_ENOENT, -USH_EPARSE with a message that names the file.
 */
int ush_admission_read(
	const char *path, struct ush_admit_config *config, struct ush_message *message);

/* ret: live keys of a configuration. */
uint32_t ush_admission_key_count(const struct ush_admit_config *config);

#endif /* USH_ADMISSION_FILE_H */
