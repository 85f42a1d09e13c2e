/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The disk as one small table of functions, so that tests can fail, shorten, tear, delay, reorder
 * and lose every operation.
 *
 * Owns:  nothing; each implementation owns its files.
 * Reads: nothing.
 * Never: anything but files of one journal directory.
 */
#ifndef USH_DISK_H
#define USH_DISK_H

#include "base/base.h"

#define USH_DISK_NAME_MAX 64u

/* A finished write. */
struct ush_disk_done {
	uint64_t tag;
	/* Bytes written, or a negative USH_E code. */
	int64_t result;
};

/*
 * Every call returns 0 or more on success, a negative USH_E code on failure. Names are relative to
 * the directory. `file` is a small handle, 0 or more.
 */
struct ush_disk {
	void *context;
	/* Makes the directory if missing and takes its lock. -USH_EBUSY: held by another. */
	int (*lock)(void *context);
	void (*unlock)(void *context);
	/* Calls `each` for every name; stops at a non-zero return and returns it. */
	int (*list)(void *context, int (*each)(void *argument, const char *name), void *argument);
	/* Opens for reading and, if `write`, for durable direct writes: then no write that an
	 * earlier process started can reach the file any more. ret: handle. */
	int (*open)(void *context, const char *name, bool write);
	/* Makes a file of `bytes` zero bytes, all blocks written, and syncs it. */
	int (*create)(void *context, const char *name, uint64_t bytes);
	void (*close)(void *context, int file);
	/* ret: size in bytes. */
	int64_t (*size)(void *context, int file);
	/* Blocking read. ret: bytes read, less than asked only at the end. */
	int64_t (*read)(void *context, int file, void *data, size_t size, uint64_t offset);
	/* Makes what stood in the file at the call durable; it may be open for reading only. NULL:
	 * there is no such thing. */
	int (*sync)(void *context, int file);
	/* Writes a small file whole and durably: temporary name, sync, rename, sync directory. */
	int (*put)(void *context, const char *name, const void *data, size_t size);
	/* Renames durably. */
	int (*rename)(void *context, const char *from, const char *to);
	/* Removes durably. */
	int (*unlink)(void *context, const char *name);
	/* The buffer all writes come from; called once before the first write. */
	int (*register_buffer)(void *context, void *data, size_t size);
	/* Starts a durable write. data, size and offset are multiples of 4,096. Never blocks. */
	int (*write)(void *context, int file, const void *data, size_t size, uint64_t offset,
		uint64_t tag);
	/* ret: number of finished writes put into done, 0 to max. Never blocks. */
	int (*reap)(void *context, struct ush_disk_done *done, uint32_t max);
};

/* The real one: io_uring, O_DIRECT | O_DSYNC. ret: 0; err with message. by: starting thread. */
int ush_disk_uring_open(
	struct ush_disk *disk, const char *directory, uint32_t depth, struct ush_message *message);
void ush_disk_uring_close(struct ush_disk *disk);

#endif /* USH_DISK_H */
