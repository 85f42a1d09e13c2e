/* SPDX-License-Identifier: Apache-2.0 */
#include "port/image.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "loop/loop.h"
#include "port/directory.h"

static int fail(struct ush_message *message, const char *path, const char *what)
{
	int saved = errno;

	ush_message_set(message, "%s: cannot %s: %s%s", path, what, strerror(saved),
		ush_directory_mend(saved));
	return ush_error_from_errno(saved);
}

int ush_images_open(
	struct ush_images *images, const char *state_directory, struct ush_message *message)
{
	images->found = NULL;
	snprintf(images->directory, sizeof(images->directory), "%s/events", state_directory);
	if (mkdir(images->directory, 0700) != 0 && errno != EEXIST)
		return fail(message, images->directory, "make the directory of venue images");
	return 0;
}

void ush_images_close(struct ush_images *images)
{
	free(images->found);
	images->found = NULL;
}

int ush_image_read(int fd, void **image, size_t *bytes, struct ush_message *message)
{
	struct stat status;
	size_t used = 0, size;
	char *data;

	if (fstat(fd, &status) != 0 || !S_ISREG(status.st_mode)) {
		ush_message_set(message, "venue image: the descriptor is not a file or memfd");
		return -USH_EINVAL;
	}
	if (status.st_size <= 0 || (uint64_t)status.st_size > USH_IMAGE_BYTES_MAX) {
		ush_message_set(message, "venue image: %lld bytes; allowed are 1 to %zu",
			(long long)status.st_size, USH_IMAGE_BYTES_MAX);
		return -USH_EINVAL;
	}
	size = (size_t)status.st_size;
	data = malloc(size);
	if (data == NULL) {
		ush_message_set(message, "venue image: no memory for %zu bytes", size);
		return -USH_ENOMEM;
	}
	/* At its own offsets: the sender shares the descriptor's position. */
	while (used < size) {
		ssize_t got = pread(fd, data + used, size - used, (off_t)used);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0) {
			ush_message_set(message, "venue image: cannot be read at byte %zu: %s",
				used, got < 0 ? strerror(errno) : "it became shorter");
			free(data);
			return -USH_EIO;
		}
		used += (size_t)got;
	}
	*image = data;
	*bytes = size;
	return 0;
}

static int write_whole(int fd, const char *data, size_t size)
{
	while (size != 0) {
		ssize_t put = write(fd, data, size);

		if (put < 0 && errno == EINTR)
			continue;
		if (put <= 0)
			return -1;
		data += put;
		size -= (size_t)put;
	}
	return 0;
}

static void image_path(
	const struct ush_images *images, uint32_t event, uint64_t digest, char *path, size_t size)
{
	snprintf(path, size, "%.480s/%u-%016" PRIx64 ".ushv", images->directory, event, digest);
}

int ush_images_store(const struct ush_images *images, uint32_t event, uint64_t digest,
	const void *image, size_t bytes, struct ush_message *message)
{
	char path[560], temporary[576];
	int error = 0, directory, fd;

	image_path(images, event, digest, path, sizeof(path));
	snprintf(temporary, sizeof(temporary), "%s.new", path);
	fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return fail(message, temporary, "make the file");
	if (write_whole(fd, image, bytes) != 0)
		error = fail(message, temporary, "write");
	else if (fsync(fd) != 0)
		error = fail(message, temporary, "sync");
	/* Since Linux 4.13 an error of close says nothing that fsync did not. */
	close(fd);
	if (error == 0 && rename(temporary, path) != 0)
		error = fail(message, path, "rename into place");
	if (error != 0) {
		unlink(temporary);
		return error;
	}
	directory = open(images->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (directory < 0 || fsync(directory) != 0)
		error = fail(message, images->directory, "sync the directory");
	if (directory >= 0)
		close(directory);
	return error;
}

int ush_images_find(void *context, uint32_t event, uint64_t digest, const void **image,
	size_t *bytes, struct ush_message *message)
{
	struct ush_images *images = context;
	struct ush_message what;
	char path[560];
	int error, fd;

	image_path(images, event, digest, path, sizeof(path));
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		ush_message_set(message,
			"%s: the journal names this venue image, and it cannot be opened: %s; bring it "
			"back from a backup of the state directory, or compile the venue again",
			path, strerror(errno));
		return -USH_ENOENT;
	}
	free(images->found);
	images->found = NULL;
	error = ush_image_read(fd, &images->found, bytes, &what);
	close(fd);
	if (error != 0) {
		ush_message_set(message, "%s: %s; bring it back from a backup", path, what.text);
		return error;
	}
	if (ush_engine_image_digest(images->found, *bytes) != digest) {
		ush_message_set(message,
			"%s: changed since it was loaded (its digest is another); bring it back from a "
			"backup",
			path);
		return -USH_ECORRUPT;
	}
	*image = images->found;
	return 0;
}
