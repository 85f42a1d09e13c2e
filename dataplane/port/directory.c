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

const char *ush_directory_mend(int error)
{
	switch (error) {
	case ENOSPC:
	case EDQUOT:
		return "; free space on this disk";
	case EROFS:
		return "; mount it writable, or choose another with --state-dir or --run-dir";
	case EACCES:
	case EPERM:
		return "; make it writable for this user, or choose another with --state-dir or "
		       "--run-dir";
	case ENOTDIR:
	case EEXIST:
		return "; something else is in the way: move it, or choose another directory";
	default:
		return "";
	}
}

static int cannot_make(const char *path, struct ush_message *message)
{
	int error = errno;

	ush_message_set(message, "%s: cannot make the directory: %s%s", path, strerror(error),
		ush_directory_mend(error));
	return ush_error_from_errno(error);
}

int ush_directory_make(const char *path, mode_t mode, struct ush_message *message)
{
	char part[USH_CONFIG_TEXT_MAX];
	struct stat status;
	char *slash;

	snprintf(part, sizeof(part), "%s", path);
	for (slash = strchr(part + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
		*slash = 0;
		if (mkdir(part, 0755) != 0 && errno != EEXIST)
			return cannot_make(part, message);
		*slash = '/';
	}
	if (mkdir(path, mode) != 0 && errno != EEXIST)
		return cannot_make(path, message);
	/* Someone else's directory in a shared place could be changed under our feet. */
	if (stat(path, &status) != 0 || !S_ISDIR(status.st_mode)) {
		ush_message_set(message, "%s: is no directory; choose another", path);
		return -USH_EACCES;
	}
	if (status.st_uid != geteuid() && status.st_uid != 0) {
		ush_message_set(message,
			"%s: must be a directory of ours (user %u) or of root, and is of user %u; "
			"chown it, or choose another",
			path, geteuid(), status.st_uid);
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
		int error = errno;

		ush_message_set(message, "%s: cannot open: %s%s", path, strerror(error),
			ush_directory_mend(error));
		return ush_error_from_errno(error);
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
		ush_message_set(message, "%s: cannot write: %s%s", path, strerror(errno),
			ush_directory_mend(errno));
		close(fd);
		return -USH_ENOSPC;
	}
	return fd;
}
