/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A disk in memory behind struct ush_disk, on which everything can go wrong: any operation fails,
 * a write ends short, late, out of order, torn by sector or never, the machine loses power between
 * any two operations. What it does is decided by its seed and the test, nothing else.
 *
 * What is durable: an operation other than a write, once it has returned; a write, once it has
 * completed, whether or not its completion was reaped. At a power cut a write under way survives
 * wholly, not at all, or in some of its 512-byte sectors.
 *
 * Owns:  the files, the writes under way.
 * Reads: the buffer of a write, at its start and again at its completion.
 * Never: real files, clocks.
 */
#ifndef USH_FAKE_DISK_H
#define USH_FAKE_DISK_H

#include "base/base.h"
#include "journal/disk.h"

#define FAKE_WRITES_MAX 64u
#define FAKE_SECTOR 512u

enum fake_op {
	FAKE_LOCK,
	FAKE_LIST,
	FAKE_OPEN,
	FAKE_CREATE,
	FAKE_SIZE,
	FAKE_READ,
	FAKE_SYNC,
	FAKE_PUT,
	FAKE_RENAME,
	FAKE_UNLINK,
	FAKE_REGISTER,
	FAKE_WRITE,
	FAKE_REAP,
	FAKE_OP_COUNT,
};

/* When a write completes. */
enum fake_order {
	/* At the next reap, in order. */
	FAKE_IN_ORDER,
	/* At some later reap, in any order. */
	FAKE_ANY_ORDER,
	/* When the test says so. */
	FAKE_BY_HAND,
};

struct fake_file {
	char name[USH_DISK_NAME_MAX + 8];
	uint8_t *data;
	uint64_t size;
	/* False: unlinked, or replaced by a rename. */
	bool linked;
};

struct fake_write {
	uint64_t tag;
	struct fake_file *file;
	const uint8_t *data;
	uint8_t *copy;
	size_t size;
	uint64_t offset;
};

struct fake_disk;

struct fake_disk *fake_disk_make(uint64_t seed);
void fake_disk_free(struct fake_disk *fake);

/* The table of functions to be handed to the journal. Calls may come from several threads. */
void fake_disk_table(struct fake_disk *fake, struct ush_disk *disk);

/* ---- making things go wrong ---- */

/* The `after`-th call of `op` from now (0: the next) and the `times - 1` calls that follow it fail
 * with `error`. One such plan per operation; a new one replaces it. */
void fake_disk_fail(
	struct fake_disk *fake, enum fake_op op, uint32_t after, uint32_t times, int error);
/* Bytes that all files together may have. 0: no limit. */
void fake_disk_capacity(struct fake_disk *fake, uint64_t bytes);
/* Nothing can be made, renamed or opened for writing. */
void fake_disk_read_only(struct fake_disk *fake, bool read_only);
/* Another process has the lock. */
void fake_disk_locked_elsewhere(struct fake_disk *fake, bool locked);
void fake_disk_order(struct fake_disk *fake, enum fake_order order);
/* Called at the beginning of each operation: to run something else in its middle. */
void fake_disk_hook(
	struct fake_disk *fake, void (*hook)(void *context, enum fake_op op), void *context);

/* ---- writes under way ---- */

uint32_t fake_disk_pending(const struct fake_disk *fake);
/* The `index`-th oldest write under way. */
const struct fake_write *fake_disk_write_at(const struct fake_disk *fake, uint32_t index);
/* Completes the `index`-th oldest. in: result: its size for success, less, or negative. */
void fake_disk_complete(struct fake_disk *fake, uint32_t index, int64_t result);

/* ---- power ---- */

/* Power fails in the `after`-th operation from now, which may or may not take effect. From then on
 * synchronous calls fail and writes never complete, until fake_disk_power_on. */
void fake_disk_cut_after(struct fake_disk *fake, uint32_t after);
bool fake_disk_is_cut(const struct fake_disk *fake);
/* Cuts, if that has not happened; decides what survives; and comes back with nothing open, locked
 * or under way. */
void fake_disk_power_cycle(struct fake_disk *fake);

/* ---- what stands on it ---- */

/* ret: the file, or NULL. */
struct fake_file *fake_disk_find(const struct fake_disk *fake, const char *name);
/* ret: a new or emptied file of `size` zero bytes. */
struct fake_file *fake_disk_put(struct fake_disk *fake, const char *name, uint64_t size);
void fake_disk_remove(struct fake_disk *fake, const char *name);
/* Cuts or lengthens a file. */
void fake_disk_resize(struct fake_disk *fake, const char *name, uint64_t size);
uint32_t fake_disk_file_count(const struct fake_disk *fake);
/* ret: the `index`-th linked file. */
struct fake_file *fake_disk_file_at(const struct fake_disk *fake, uint32_t index);

struct fake_counts {
	uint64_t ops[FAKE_OP_COUNT];
	/* Handles open now. */
	uint32_t handles;
	/* Writes whose buffer was changed before they completed: must stay 0. */
	uint32_t changed_buffers;
	/* Writes outside the registered buffer, of unaligned size or place, or beyond the file. */
	uint32_t bad_writes;
	/* Largest and summed size of writes. */
	uint64_t write_bytes_max;
	uint64_t write_bytes;
};
void fake_disk_counts(struct fake_disk *fake, struct fake_counts *counts);

#endif /* USH_FAKE_DISK_H */
