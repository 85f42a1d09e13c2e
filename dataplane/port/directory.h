/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The state and run directories, and the lock that keeps a second usherd out of them.
 *
 * Owns:  RUN/usherd.pid.
 * Reads: nothing.
 * Never: what stands in the directories.
 */
#ifndef USH_DIRECTORY_H
#define USH_DIRECTORY_H

#include <sys/types.h>

#include "base/base.h"

/*
 * Makes a directory and those above it; one that is there must be ours or root's.
 * err: -USH_EACCES, -USH_EROFS, -USH_ENOSPC with a message. by: the starting thread.
 */
int ush_directory_make(const char *path, mode_t mode, struct ush_message *message);

/*
 * Locks RUN/usherd.pid and writes our process id. The lock ends with the process.
 * ret: the file's descriptor, to be kept open; err: -USH_EBUSY (another usherd) or as above.
 */
int ush_pid_file_take(const char *run_directory, struct ush_message *message);

/* ret: how to mend a failure with a file of the state or run directory: words to follow
 * strerror(error), "" if there is no advice. in: error: an errno. */
const char *ush_directory_mend(int error);

#endif /* USH_DIRECTORY_H */
