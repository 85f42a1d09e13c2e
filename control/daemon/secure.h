/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What usher-control gives away once it has started: privileges and system calls that it needs no
 * more.
 *
 * Owns:  nothing.
 * Reads: nothing.
 * Never: gives anything back.
 */
#ifndef USH_DAEMON_SECURE_H
#define USH_DAEMON_SECURE_H

#include "base/base.h"

/*
 * Drops all capabilities, forbids new privileges and core dumps. Before threads begin, which
 * inherit that. err: -USH_ESYSTEM, message.
 */
int ush_secure_privileges(struct ush_message *message);

/* Raises the number of descriptors that may be open as far as it may, and lowers *connections to
 * what is left beside files, the database and calls to others: those must not fail for a crowd. */
void ush_secure_descriptors(uint32_t *connections);

/* Refuses system calls that a server has no use for, in all threads: no exec, no ptrace, no mounts,
 * no modules. err: -USH_ESYSTEM, message. */
int ush_secure_calls(struct ush_message *message);

#endif /* USH_DAEMON_SECURE_H */
