/* SPDX-License-Identifier: Apache-2.0 */
#include "port/directory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "port/config.h"

int ush_directory_make(const char *path, mode_t mode, struct ush_message *message)
{
	char part[USH_CONFIG_TEXT_MAX];
	struct stat status;
	char *slash;

	snprintf(part, sizeof(part), "%s", path);
	for (slash = strchr(part + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
		*slash = 0;
		if (mkdir(part, 0755) != 0 && errno != EEXIST)
			break;
		*slash = '/';
	}
	if (mkdir(path, mode) != 0 && errno != EEXIST) {
		ush_message_set(
			message, "%s: cannot make the directory: %s", path, strerror(errno));
		return ush_error_from_errno(errno);
	}
	/* Someone else's directory in a shared place could be changed under our feet. */
	if (stat(path, &status) != 0 || !S_ISDIR(status.st_mode) ||
		(status.st_uid != geteuid() && status.st_uid != 0)) {
		ush_message_set(message, "%s: must be a directory of ours; choose another", path);
		return -USH_EACCES;
	}
	return 0;
}

int ush_pid_file_take(const char *run_directory, struct ush_message *message)
{
	char path[USH_CONFIG_TEXT_MAX + 16], text[32];
	int size, fd;

	snprintf(path, sizeof(path), "%s/usherd.pid", run_directory);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
	if (fd < 0) {
		ush_message_set(message, "%s: %s", path, strerror(errno));
		return ush_error_from_errno(errno);
	}
	if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
		ush_message_set(message,
			"%s: another usherd runs with this run directory; stop it, or give --run-dir",
			path);
		close(fd);
		return -USH_EBUSY;
	}
	size = snprintf(text, sizeof(text), "%d\n", getpid());
	if (ftruncate(fd, 0) != 0 || pwrite(fd, text, (size_t)size, 0) != size) {
		ush_message_set(message, "%s: cannot write: %s", path, strerror(errno));
		return -USH_ENOSPC;
	}
	return fd;
}
