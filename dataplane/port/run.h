/* SPDX-License-Identifier: Apache-2.0 */
/*
 * usherd from its configuration to its end: start everything in order, serve, stop in reverse.
 *
 * Owns:  struct usherd, which owns everything else.
 * Reads: the configuration.
 * Never: decides about seats or packets.
 */
#ifndef USH_RUN_H
#define USH_RUN_H

#include "port/control.h"
#include "port/eal.h"

/* Longest time that a restart gives back to live holds: 15 minutes. */
#define USH_RESUME_NS_MAX (900ull * 1000000000ull)
/* Longest wait for withheld replies at the end. */
#define USH_DRAIN_NS_MAX (5ull * 1000000000ull)

/* Longest wait at start for a usherd that was killed to give up its locks. */
#define USH_LOCK_NS_MAX (3ull * 1000000000ull)

/* Exit statuses. A disk failure ends the process inside the journal with USH_EXIT_DISK. */
enum ush_exit {
	USH_EXIT_OK = 0,
	USH_EXIT_START = 1,
	USH_EXIT_USAGE = 2,
	USH_EXIT_DISK = 3,
	/* A second signal while stopping: 128 + SIGINT. */
	USH_EXIT_SIGNAL = 130,
};

/*
 * Runs until SIGTERM or SIGINT. in: config: finished (ush_config_finish). extra: raw EAL arguments.
 * ret: an exit status; what went wrong has been said on stderr. by: the main thread, once.
 */
enum ush_exit ush_run(const struct ush_config *config, int extra_count, char *const *extra);

#endif /* USH_RUN_H */
