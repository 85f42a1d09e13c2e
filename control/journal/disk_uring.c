/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The real disk: io_uring with a registered buffer and registered files, O_DIRECT | O_DSYNC.
 *
 * Handles are slots in a table; each write handle has the same slot among the ring's registered
 * files. Opening and closing may happen on another thread than writing; a handle reaches the writer
 * only after it is registered.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "journal/disk.h"

#define FILES_MAX 64
#define FILL_BYTES (1u << 20)
#define NAME_MAX_BYTES (USH_DISK_NAME_MAX + 8)

struct uring {
	struct io_uring ring;
	bool ring_ready;
	bool files_registered;
	char path[512];
	int directory;
	int lock;
	pthread_mutex_t mutex;
	int fd[FILES_MAX];
	void *buffer;
	size_t buffer_bytes;
	uint32_t unsubmitted;
};

static int error_now(void)
{
	return ush_error_from_errno(errno);
}

static int uring_lock(void *context)
{
	struct uring *u = context;

	u->lock = openat(u->directory, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (u->lock < 0)
		return error_now();
	if (flock(u->lock, LOCK_EX | LOCK_NB) != 0) {
		int error = errno == EWOULDBLOCK ? -USH_EBUSY : error_now();
		close(u->lock);
		u->lock = -1;
		return error;
	}
	return 0;
}

static void uring_unlock(void *context)
{
	struct uring *u = context;

	if (u->lock >= 0)
		close(u->lock);
	u->lock = -1;
}

static int uring_list(void *context, int (*each)(void *argument, const char *name), void *argument)
{
	struct uring *u = context;
	int fd = openat(u->directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *directory = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;
	int result = 0;

	if (directory == NULL) {
		result = error_now();
		if (fd >= 0)
			close(fd);
		return result;
	}
	while (result == 0 && (entry = readdir(directory)) != NULL)
		result = each(argument, entry->d_name);
	closedir(directory);
	return result;
}

/* Some file systems (tmpfs, some overlays) know no O_DIRECT: then without. */
static int open_direct(int directory, const char *name, int flags)
{
	int fd = openat(directory, name, flags | O_DIRECT | O_CLOEXEC, 0600);

	if (fd < 0 && errno == EINVAL)
		fd = openat(directory, name, flags | O_CLOEXEC, 0600);
	return fd;
}

/* Direct writes of a process that was killed may still be on their way to this file, which may have
 * been recycled since, and would land on ours. Allocating what is allocated changes nothing, but
 * waits for them (inode_dio_wait in ext4, XFS and Btrfs); where it is not supported, so be it. */
static void wait_for_late_writes(int fd)
{
	struct stat status;

	if (fstat(fd, &status) == 0 && status.st_size > 0)
		(void)!fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, status.st_size);
}

static int uring_open(void *context, const char *name, bool write)
{
	struct uring *u = context;
	int fd = strcmp(name, "box") == 0
			 ? openat(u->directory, name, O_RDONLY | O_CLOEXEC)
			 : open_direct(u->directory, name, write ? O_RDWR | O_DSYNC : O_RDONLY);
	int slot = 0;

	if (fd < 0)
		return error_now();
	if (write)
		wait_for_late_writes(fd);
	pthread_mutex_lock(&u->mutex);
	while (slot < FILES_MAX && u->fd[slot] >= 0)
		slot++;
	if (slot < FILES_MAX)
		u->fd[slot] = fd;
	pthread_mutex_unlock(&u->mutex);
	if (slot == FILES_MAX) {
		close(fd);
		return -USH_EFULL;
	}
	if (write && u->files_registered &&
		io_uring_register_files_update(&u->ring, (unsigned)slot, &fd, 1) != 1) {
		pthread_mutex_lock(&u->mutex);
		close(fd);
		u->fd[slot] = -1;
		pthread_mutex_unlock(&u->mutex);
		return -USH_ESYSTEM;
	}
	return slot;
}

static void uring_close(void *context, int file)
{
	struct uring *u = context;
	int none = -1;

	if (u->files_registered)
		io_uring_register_files_update(&u->ring, (unsigned)file, &none, 1);
	pthread_mutex_lock(&u->mutex);
	close(u->fd[file]);
	u->fd[file] = -1;
	pthread_mutex_unlock(&u->mutex);
}

/* Every block is written once now, so that a durable write later changes no file metadata. */
static int fill_zero(int fd, uint64_t bytes)
{
	void *zero = aligned_alloc(4096, FILL_BYTES);
	int error = 0;

	if (zero == NULL)
		return -USH_ENOMEM;
	memset(zero, 0, FILL_BYTES);
	for (uint64_t at = 0; at < bytes && error == 0;) {
		uint64_t want = ush_min64(FILL_BYTES, bytes - at);
		ssize_t put = pwrite(fd, zero, want, (off_t)at);
		if (put < 0 && errno != EINTR)
			error = error_now();
		else if (put == 0)
			error = -USH_ESHORT;
		else if (put > 0)
			at += (uint64_t)put;
	}
	free(zero);
	return error;
}

static int uring_create(void *context, const char *name, uint64_t bytes)
{
	struct uring *u = context;
	char temporary[NAME_MAX_BYTES];
	int error = 0, fd;

	snprintf(temporary, sizeof(temporary), "%s.new", name);
	fd = open_direct(u->directory, temporary, O_RDWR | O_CREAT | O_TRUNC);
	if (fd < 0)
		return error_now();
	if (posix_fallocate(fd, 0, (off_t)bytes) == ENOSPC)
		error = -USH_ENOSPC;
	if (error == 0)
		error = fill_zero(fd, bytes);
	if (error == 0 && fsync(fd) != 0)
		error = error_now();
	close(fd);
	if (error == 0 && renameat(u->directory, temporary, u->directory, name) != 0)
		error = error_now();
	if (error == 0 && fsync(u->directory) != 0)
		error = error_now();
	if (error != 0)
		unlinkat(u->directory, temporary, 0);
	return error;
}

static int64_t uring_size(void *context, int file)
{
	struct uring *u = context;
	struct stat status;

	if (fstat(u->fd[file], &status) != 0)
		return error_now();
	return status.st_size;
}

static int64_t uring_read(void *context, int file, void *data, size_t size, uint64_t offset)
{
	struct uring *u = context;
	size_t done = 0;

	while (done < size) {
		ssize_t got = pread(
			u->fd[file], (uint8_t *)data + done, size - done, (off_t)(offset + done));
		if (got < 0) {
			if (errno == EINTR)
				continue;
			return error_now();
		}
		if (got == 0)
			break;
		done += (size_t)got;
	}
	return (int64_t)done;
}

/* Nothing is dirty in memory; what the disk keeps in its own cache goes to safety. */
static int uring_sync(void *context, int file)
{
	struct uring *u = context;

	return fdatasync(u->fd[file]) == 0 ? 0 : error_now();
}

static int uring_put(void *context, const char *name, const void *data, size_t size)
{
	struct uring *u = context;
	char temporary[NAME_MAX_BYTES];
	int error = 0, fd;

	snprintf(temporary, sizeof(temporary), "%s.new", name);
	fd = openat(u->directory, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return error_now();
	/* One write moves at most 2 GiB. */
	for (size_t at = 0; at < size && error == 0;) {
		ssize_t put = write(fd, (const uint8_t *)data + at, size - at);
		if (put <= 0)
			error = put < 0 ? error_now() : -USH_ESHORT;
		else
			at += (size_t)put;
	}
	if (error == 0 && fsync(fd) != 0)
		error = error_now();
	close(fd);
	if (error == 0 && renameat(u->directory, temporary, u->directory, name) != 0)
		error = error_now();
	if (error == 0 && fsync(u->directory) != 0)
		error = error_now();
	if (error != 0)
		unlinkat(u->directory, temporary, 0);
	return error;
}

static int uring_rename(void *context, const char *from, const char *to)
{
	struct uring *u = context;

	if (renameat(u->directory, from, u->directory, to) != 0 || fsync(u->directory) != 0)
		return error_now();
	return 0;
}

static int uring_unlink(void *context, const char *name)
{
	struct uring *u = context;

	if (unlinkat(u->directory, name, 0) != 0 || fsync(u->directory) != 0)
		return error_now();
	return 0;
}

static int uring_register_buffer(void *context, void *data, size_t size)
{
	struct uring *u = context;
	struct iovec vector = {.iov_base = data, .iov_len = size};
	int result = io_uring_register_buffers(&u->ring, &vector, 1);

	if (result != 0)
		return ush_error_from_errno(-result);
	u->buffer = data;
	u->buffer_bytes = size;
	return 0;
}

static int uring_write(
	void *context, int file, const void *data, size_t size, uint64_t offset, uint64_t tag)
{
	struct uring *u = context;
	struct io_uring_sqe *sqe = io_uring_get_sqe(&u->ring);
	int submitted;

	if (sqe == NULL)
		return -USH_EFULL;
	io_uring_prep_write_fixed(sqe, file, data, (unsigned)size, offset, 0);
	sqe->flags |= IOSQE_FIXED_FILE;
	io_uring_sqe_set_data64(sqe, tag);
	submitted = io_uring_submit(&u->ring);
	if (submitted < 0)
		return ush_error_from_errno(-submitted);
	return submitted == 1 ? 0 : -USH_ESHORT;
}

static int uring_reap(void *context, struct ush_disk_done *done, uint32_t max)
{
	struct uring *u = context;
	uint32_t count = 0;
	struct io_uring_cqe *cqe;

	while (count < max && io_uring_peek_cqe(&u->ring, &cqe) == 0) {
		done[count].tag = io_uring_cqe_get_data64(cqe);
		done[count].result = cqe->res < 0 ? ush_error_from_errno(-cqe->res) : cqe->res;
		io_uring_cqe_seen(&u->ring, cqe);
		count++;
	}
	return (int)count;
}

static int open_directory(struct uring *u, struct ush_message *message)
{
	if (mkdir(u->path, 0700) != 0 && errno != EEXIST) {
		int error = error_now();
		ush_message_set(message,
			"cannot make journal directory %s: %s; make its parent, or name another with "
			"[journal] directory",
			u->path, strerror(errno));
		return error;
	}
	u->directory = open(u->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (u->directory < 0) {
		int error = error_now();
		ush_message_set(
			message, "cannot open journal directory %s: %s", u->path, strerror(errno));
		return error;
	}
	return 0;
}

static int open_ring(struct uring *u, uint32_t depth, struct ush_message *message)
{
	/* A finished write is noticed when somebody looks, and interrupts nobody: the loop that
	 * waits for it may be in the middle of a burst. */
	int result = io_uring_queue_init(
		depth * 2, &u->ring, IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG);

	if (result != 0) {
		ush_message_set(message,
			"io_uring is not available: %s; it needs Linux 5.19 or later and "
			"kernel.io_uring_disabled = 0",
			strerror(-result));
		return -USH_EUNSUPPORTED;
	}
	u->ring_ready = true;
	result = io_uring_register_files_sparse(&u->ring, FILES_MAX);
	if (result != 0) {
		ush_message_set(message, "io_uring cannot register files: %s", strerror(-result));
		return -USH_EUNSUPPORTED;
	}
	u->files_registered = true;
	return 0;
}

int ush_disk_uring_open(
	struct ush_disk *disk, const char *directory, uint32_t depth, struct ush_message *message)
{
	struct uring *u;
	int error;

	if (strlen(directory) >= sizeof(u->path)) {
		ush_message_set(message,
			"the name of the journal directory is longer than %zu bytes",
			sizeof(u->path) - 1);
		return -USH_EINVAL;
	}
	u = calloc(1, sizeof(*u));
	if (u == NULL) {
		ush_message_set(message, "no memory for the disk of the journal");
		return -USH_ENOMEM;
	}
	u->directory = u->lock = -1;
	for (int i = 0; i < FILES_MAX; i++)
		u->fd[i] = -1;
	pthread_mutex_init(&u->mutex, NULL);
	snprintf(u->path, sizeof(u->path), "%s", directory);
	*disk = (struct ush_disk){
		.context = u,
		.lock = uring_lock,
		.unlock = uring_unlock,
		.list = uring_list,
		.open = uring_open,
		.create = uring_create,
		.close = uring_close,
		.size = uring_size,
		.read = uring_read,
		.sync = uring_sync,
		.put = uring_put,
		.rename = uring_rename,
		.unlink = uring_unlink,
		.register_buffer = uring_register_buffer,
		.write = uring_write,
		.reap = uring_reap,
	};
	error = open_directory(u, message);
	if (error == 0)
		error = open_ring(u, depth == 0 ? 16 : depth, message);
	if (error != 0)
		ush_disk_uring_close(disk);
	return error;
}

void ush_disk_uring_close(struct ush_disk *disk)
{
	struct uring *u = disk->context;

	if (u == NULL)
		return;
	if (u->ring_ready)
		io_uring_queue_exit(&u->ring);
	for (int i = 0; i < FILES_MAX; i++) {
		if (u->fd[i] >= 0)
			close(u->fd[i]);
	}
	if (u->lock >= 0)
		close(u->lock);
	if (u->directory >= 0)
		close(u->directory);
	pthread_mutex_destroy(&u->mutex);
	free(u);
	disk->context = NULL;
}
