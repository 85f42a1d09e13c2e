/* SPDX-License-Identifier: Apache-2.0 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "tests/fake_disk.h"
#include "wire/wire.h"

#define HANDLES_MAX 64

struct handle {
	struct fake_file *file;
	bool write;
};

struct plan {
	uint32_t after;
	uint32_t times;
	int error;
};

struct fake_disk {
	pthread_mutex_t mutex;
	struct ush_random random;
	struct fake_file **files;
	uint32_t file_count;
	uint32_t file_capacity;
	struct handle handles[HANDLES_MAX];
	struct fake_write pending[FAKE_WRITES_MAX];
	uint32_t pending_count;
	struct ush_disk_done done[FAKE_WRITES_MAX];
	uint32_t done_count;
	struct plan plans[FAKE_OP_COUNT];
	enum fake_order order;
	uint64_t capacity;
	bool read_only;
	bool locked;
	bool locked_elsewhere;
	bool cut;
	bool cut_armed;
	uint32_t cut_after;
	const uint8_t *buffer;
	size_t buffer_bytes;
	void (*hook)(void *context, enum fake_op op);
	void *hook_context;
	struct fake_counts counts;
};

/* What becomes of the operation that begins. */
enum fate {
	FATE_NORMAL,
	/* Fails without effect; *error says how. */
	FATE_FAILS,
	/* The last one before the power failed: takes effect, but nobody learns of it. */
	FATE_LAST,
};

static enum fate begin(struct fake_disk *fake, enum fake_op op, int *error)
{
	struct plan *plan = &fake->plans[op];

	if (fake->hook != NULL)
		fake->hook(fake->hook_context, op);
	pthread_mutex_lock(&fake->mutex);
	fake->counts.ops[op]++;
	/* Not EIO, which ends the process: here it is over anyway. */
	*error = -USH_ESYSTEM;
	if (fake->cut)
		return FATE_FAILS;
	if (fake->cut_armed && fake->cut_after-- == 0) {
		fake->cut = true;
		return ush_random_below(&fake->random, 2) == 0 ? FATE_FAILS : FATE_LAST;
	}
	if (plan->times != 0) {
		if (plan->after == 0) {
			plan->times--;
			*error = plan->error;
			return FATE_FAILS;
		}
		plan->after--;
	}
	return FATE_NORMAL;
}

static int64_t end(struct fake_disk *fake, enum fate fate, int64_t result)
{
	pthread_mutex_unlock(&fake->mutex);
	return fate == FATE_LAST ? -USH_ESYSTEM : result;
}

/* ---- files ---- */

/* Large files are mapped, so that only what is written costs anything. */
#define MAPPED_BYTES (64u << 10)

/* Of files that are gone, all zero again: a simulation makes and forgets thousands a second. */
#define SPARES_MAX 8u
static _Thread_local struct {
	uint8_t *data[SPARES_MAX];
	uint64_t size;
	uint32_t count;
} spares;

static uint8_t *data_make(uint64_t size)
{
	uint8_t *data;

	if (size == spares.size && spares.count != 0)
		return spares.data[--spares.count];
	if (size < MAPPED_BYTES)
		data = calloc(1, size != 0 ? size : 1);
	else
		data = mmap(NULL, size, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	USH_ASSERT(data != NULL && data != MAP_FAILED);
	return data;
}

static void data_free(struct fake_file *file)
{
	if (file->size < MAPPED_BYTES) {
		free(file->data);
		return;
	}
	if (spares.count == 0)
		spares.size = file->size;
	if (spares.count == SPARES_MAX || file->size != spares.size) {
		munmap(file->data, file->size);
		return;
	}
	memset(file->data, 0, (size_t)ush_min64(file->touched, file->size));
	spares.data[spares.count++] = file->data;
}

/* Bytes below `end` may be other than zero. */
static void touch(struct fake_file *file, uint64_t end)
{
	file->touched = ush_max64(file->touched, end);
}

static struct fake_file *find(const struct fake_disk *fake, const char *name)
{
	for (uint32_t i = 0; i < fake->file_count; i++) {
		if (fake->files[i]->linked && strcmp(fake->files[i]->name, name) == 0)
			return fake->files[i];
	}
	return NULL;
}

static void forget(struct fake_disk *fake, struct fake_file *file)
{
	for (uint32_t i = 0; i < fake->file_count; i++) {
		if (fake->files[i] != file)
			continue;
		data_free(file);
		free(file);
		fake->files[i] = fake->files[--fake->file_count];
		return;
	}
}

/* Unlinked files go when nothing uses them. */
static void drop(struct fake_disk *fake, struct fake_file *file)
{
	file->linked = false;
	for (uint32_t i = 0; i < HANDLES_MAX; i++) {
		if (fake->handles[i].file == file)
			return;
	}
	for (uint32_t i = 0; i < fake->pending_count; i++) {
		if (fake->pending[i].file == file)
			return;
	}
	forget(fake, file);
}

static struct fake_file *add(struct fake_disk *fake, const char *name, uint64_t size)
{
	struct fake_file *old = find(fake, name);
	struct fake_file *file = calloc(1, sizeof(*file));

	if (old != NULL)
		drop(fake, old);
	if (fake->file_count == fake->file_capacity) {
		fake->file_capacity = fake->file_capacity * 2 + 16;
		fake->files =
			realloc(fake->files, fake->file_capacity * sizeof(struct fake_file *));
	}
	USH_ASSERT(file != NULL && fake->files != NULL);
	snprintf(file->name, sizeof(file->name), "%s", name);
	file->data = data_make(size);
	file->size = size;
	file->linked = true;
	fake->files[fake->file_count++] = file;
	return file;
}

static uint64_t used(const struct fake_disk *fake)
{
	uint64_t bytes = 0;

	for (uint32_t i = 0; i < fake->file_count; i++)
		bytes += fake->files[i]->size;
	return bytes;
}

static bool has_room(const struct fake_disk *fake, uint64_t bytes)
{
	return fake->capacity == 0 || used(fake) + bytes <= fake->capacity;
}

static struct fake_file *file_of(const struct fake_disk *fake, int handle)
{
	USH_ASSERT(handle >= 0 && handle < HANDLES_MAX);
	USH_ASSERT(fake->handles[handle].file != NULL);
	return fake->handles[handle].file;
}

/* ---- the table ---- */

static int fake_lock(void *context)
{
	struct fake_disk *fake = context;
	int error;
	enum fate fate = begin(fake, FAKE_LOCK, &error);

	if (fate == FATE_FAILS)
		return (int)end(fake, fate, error);
	error = fake->read_only ? -USH_EROFS : fake->locked_elsewhere ? -USH_EBUSY : 0;
	if (fake->locked)
		error = -USH_EBUSY;
	if (error == 0)
		fake->locked = true;
	return (int)end(fake, fate, error);
}

static void fake_unlock(void *context)
{
	struct fake_disk *fake = context;

	pthread_mutex_lock(&fake->mutex);
	fake->locked = false;
	pthread_mutex_unlock(&fake->mutex);
}

static int fake_list(void *context, int (*each)(void *argument, const char *name), void *argument)
{
	struct fake_disk *fake = context;
	int error, result = 0;
	enum fate fate = begin(fake, FAKE_LIST, &error);
	uint32_t start;

	if (fate == FATE_FAILS)
		return (int)end(fake, fate, error);
	/* In no order that a caller could rely on. */
	start = (uint32_t)ush_random_below(&fake->random, fake->file_count + 1u);
	for (uint32_t i = 0; i < fake->file_count && result == 0; i++) {
		const struct fake_file *file = fake->files[(start + i) % fake->file_count];
		if (file->linked)
			result = each(argument, file->name);
	}
	return (int)end(fake, fate, result);
}

static int fake_open(void *context, const char *name, bool write)
{
	struct fake_disk *fake = context;
	int error, slot = 0;
	enum fate fate = begin(fake, FAKE_OPEN, &error);
	struct fake_file *file;

	if (fate != FATE_NORMAL)
		return (int)end(fake, fate, error);
	file = find(fake, name);
	if (file == NULL)
		return (int)end(fake, fate, -USH_ENOENT);
	if (write && fake->read_only)
		return (int)end(fake, fate, -USH_EROFS);
	while (slot < HANDLES_MAX && fake->handles[slot].file != NULL)
		slot++;
	if (slot == HANDLES_MAX)
		return (int)end(fake, fate, -USH_EFULL);
	fake->handles[slot] = (struct handle){.file = file, .write = write};
	fake->counts.handles++;
	return (int)end(fake, fate, slot);
}

static int fake_create(void *context, const char *name, uint64_t bytes)
{
	struct fake_disk *fake = context;
	char temporary[USH_DISK_NAME_MAX + 8];
	int error;
	enum fate fate = begin(fake, FAKE_CREATE, &error);

	if (fate == FATE_FAILS && fake->cut && ush_random_below(&fake->random, 2) == 0) {
		snprintf(temporary, sizeof(temporary), "%s.new", name);
		add(fake, temporary, ush_random_below(&fake->random, bytes));
	}
	if (fate == FATE_FAILS)
		return (int)end(fake, fate, error);
	if (fake->read_only)
		return (int)end(fake, fate, -USH_EROFS);
	if (!has_room(fake, bytes))
		return (int)end(fake, fate, -USH_ENOSPC);
	add(fake, name, bytes);
	return (int)end(fake, fate, 0);
}

static void fake_close(void *context, int file)
{
	struct fake_disk *fake = context;
	struct fake_file *was;

	pthread_mutex_lock(&fake->mutex);
	was = file_of(fake, file);
	fake->handles[file].file = NULL;
	fake->counts.handles--;
	if (!was->linked)
		drop(fake, was);
	pthread_mutex_unlock(&fake->mutex);
}

static int64_t fake_size(void *context, int file)
{
	struct fake_disk *fake = context;
	int error;
	enum fate fate = begin(fake, FAKE_SIZE, &error);

	return end(fake, fate, fate == FATE_FAILS ? error : (int64_t)file_of(fake, file)->size);
}

static int64_t fake_read(void *context, int file, void *data, size_t size, uint64_t offset)
{
	struct fake_disk *fake = context;
	int error;
	enum fate fate = begin(fake, FAKE_READ, &error);
	const struct fake_file *from;
	size_t full;

	if (fate == FATE_FAILS)
		return end(fake, fate, error);
	from = file_of(fake, file);
	size = offset >= from->size ? 0 : (size_t)ush_min64(size, from->size - offset);
	full = (size_t)ush_min64(size, from->touched > offset ? from->touched - offset : 0);
	if (full != 0)
		memcpy(data, from->data + offset, full);
	if (size > full)
		memset((uint8_t *)data + full, 0, size - full);
	return end(fake, fate, (int64_t)size);
}

static int fake_sync(void *context, int file)
{
	struct fake_disk *fake = context;
	int error;
	enum fate fate = begin(fake, FAKE_SYNC, &error);

	file_of(fake, file);
	return (int)end(fake, fate, fate == FATE_FAILS ? error : 0);
}

static int fake_put(void *context, const char *name, const void *data, size_t size)
{
	struct fake_disk *fake = context;
	char temporary[USH_DISK_NAME_MAX + 8];
	int error;
	enum fate fate = begin(fake, FAKE_PUT, &error);
	struct fake_file *file;

	if (fate == FATE_FAILS && fake->cut && ush_random_below(&fake->random, 2) == 0) {
		snprintf(temporary, sizeof(temporary), "%s.new", name);
		add(fake, temporary, ush_random_below(&fake->random, size + 1));
	}
	if (fate == FATE_FAILS)
		return (int)end(fake, fate, error);
	if (fake->read_only)
		return (int)end(fake, fate, -USH_EROFS);
	if (!has_room(fake, size))
		return (int)end(fake, fate, -USH_ENOSPC);
	file = add(fake, name, size);
	memcpy(file->data, data, size);
	touch(file, size);
	return (int)end(fake, fate, 0);
}

static int fake_rename(void *context, const char *from, const char *to)
{
	struct fake_disk *fake = context;
	int error;
	enum fate fate = begin(fake, FAKE_RENAME, &error);
	struct fake_file *file, *old;

	if (fate == FATE_FAILS)
		return (int)end(fake, fate, error);
	file = find(fake, from);
	if (file == NULL || fake->read_only)
		return (int)end(fake, fate, file == NULL ? -USH_ENOENT : -USH_EROFS);
	old = find(fake, to);
	if (old != NULL && old != file)
		drop(fake, old);
	snprintf(file->name, sizeof(file->name), "%s", to);
	return (int)end(fake, fate, 0);
}

static int fake_unlink(void *context, const char *name)
{
	struct fake_disk *fake = context;
	int error;
	enum fate fate = begin(fake, FAKE_UNLINK, &error);
	struct fake_file *file;

	if (fate == FATE_FAILS)
		return (int)end(fake, fate, error);
	file = find(fake, name);
	if (file == NULL || fake->read_only)
		return (int)end(fake, fate, file == NULL ? -USH_ENOENT : -USH_EROFS);
	drop(fake, file);
	return (int)end(fake, fate, 0);
}

static int fake_register(void *context, void *data, size_t size)
{
	struct fake_disk *fake = context;
	int error;
	enum fate fate = begin(fake, FAKE_REGISTER, &error);

	if (fate == FATE_FAILS)
		return (int)end(fake, fate, error);
	fake->buffer = data;
	fake->buffer_bytes = size;
	return (int)end(fake, fate, 0);
}

static bool is_good_write(const struct fake_disk *fake, const struct handle *handle,
	const uint8_t *data, size_t size, uint64_t offset)
{
	return handle->write && size != 0 && size % USH_BLOCK_BYTES == 0 &&
	       offset % USH_BLOCK_BYTES == 0 && offset + size <= handle->file->size &&
	       data >= fake->buffer && data + size <= fake->buffer + fake->buffer_bytes;
}

static int fake_write(
	void *context, int file, const void *data, size_t size, uint64_t offset, uint64_t tag)
{
	struct fake_disk *fake = context;
	int error;
	enum fate fate = begin(fake, FAKE_WRITE, &error);
	struct fake_write *write;

	/* Without power nobody learns that it did not start. */
	if (fate == FATE_FAILS)
		return (int)end(fake, fate, fake->cut ? 0 : error);
	USH_ASSERT(fake->pending_count < FAKE_WRITES_MAX);
	file_of(fake, file);
	if (!is_good_write(fake, &fake->handles[file], data, size, offset)) {
		fake->counts.bad_writes++;
		return (int)end(fake, fate, -USH_EINVAL);
	}
	write = &fake->pending[fake->pending_count++];
	*write = (struct fake_write){.tag = tag,
		.file = fake->handles[file].file,
		.data = data,
		.copy = malloc(size),
		.size = size,
		.offset = offset};
	USH_ASSERT(write->copy != NULL);
	memcpy(write->copy, data, size);
	fake->counts.write_bytes += size;
	fake->counts.write_bytes_max = ush_max64(fake->counts.write_bytes_max, size);
	end(fake, fate, 0);
	return 0;
}

static void remove_pending(struct fake_disk *fake, uint32_t index)
{
	struct fake_file *file = fake->pending[index].file;

	free(fake->pending[index].copy);
	fake->pending_count--;
	memmove(&fake->pending[index], &fake->pending[index + 1],
		(fake->pending_count - index) * sizeof(fake->pending[0]));
	if (!file->linked)
		drop(fake, file);
}

static void complete(struct fake_disk *fake, uint32_t index, int64_t result)
{
	struct fake_write *write = &fake->pending[index];

	USH_ASSERT(index < fake->pending_count);
	USH_ASSERT(fake->done_count < FAKE_WRITES_MAX);
	if (memcmp(write->copy, write->data, write->size) != 0)
		fake->counts.changed_buffers++;
	if (result > 0) {
		memcpy(write->file->data + write->offset, write->copy, (size_t)result);
		touch(write->file, write->offset + (uint64_t)result);
	}
	fake->done[fake->done_count++] =
		(struct ush_disk_done){.tag = write->tag, .result = result};
	remove_pending(fake, index);
}

static int fake_reap(void *context, struct ush_disk_done *done, uint32_t max)
{
	struct fake_disk *fake = context;
	int error;
	enum fate fate = begin(fake, FAKE_REAP, &error);
	uint32_t count;

	if (fate != FATE_NORMAL)
		return (int)end(fake, FATE_NORMAL, fake->cut ? 0 : error);
	if (fake->order == FAKE_IN_ORDER) {
		while (fake->pending_count != 0)
			complete(fake, 0, (int64_t)fake->pending[0].size);
	} else if (fake->order == FAKE_ANY_ORDER) {
		while (fake->pending_count != 0 && ush_random_below(&fake->random, 2) == 0) {
			uint32_t i = (uint32_t)ush_random_below(&fake->random, fake->pending_count);
			complete(fake, i, (int64_t)fake->pending[i].size);
		}
	}
	count = (uint32_t)ush_min64(max, fake->done_count);
	memcpy(done, fake->done, count * sizeof(*done));
	fake->done_count -= count;
	memmove(fake->done, fake->done + count, fake->done_count * sizeof(*done));
	return (int)end(fake, fate, count);
}

void fake_disk_table(struct fake_disk *fake, struct ush_disk *disk)
{
	*disk = (struct ush_disk){
		.context = fake,
		.lock = fake_lock,
		.unlock = fake_unlock,
		.list = fake_list,
		.open = fake_open,
		.create = fake_create,
		.close = fake_close,
		.size = fake_size,
		.read = fake_read,
		.sync = fake_sync,
		.put = fake_put,
		.rename = fake_rename,
		.unlink = fake_unlink,
		.register_buffer = fake_register,
		.write = fake_write,
		.reap = fake_reap,
	};
}

/* ---- for tests ---- */

struct fake_disk *fake_disk_make(uint64_t seed)
{
	struct fake_disk *fake = calloc(1, sizeof(*fake));

	USH_ASSERT(fake != NULL);
	pthread_mutex_init(&fake->mutex, NULL);
	ush_random_init(&fake->random, seed);
	return fake;
}

void fake_disk_free(struct fake_disk *fake)
{
	while (fake->pending_count != 0)
		remove_pending(fake, 0);
	while (fake->file_count != 0)
		forget(fake, fake->files[0]);
	free(fake->files);
	pthread_mutex_destroy(&fake->mutex);
	free(fake);
}

void fake_disk_fail(
	struct fake_disk *fake, enum fake_op op, uint32_t after, uint32_t times, int error)
{
	fake->plans[op] = (struct plan){.after = after, .times = times, .error = error};
}

void fake_disk_capacity(struct fake_disk *fake, uint64_t bytes)
{
	pthread_mutex_lock(&fake->mutex);
	fake->capacity = bytes;
	pthread_mutex_unlock(&fake->mutex);
}

void fake_disk_read_only(struct fake_disk *fake, bool read_only)
{
	fake->read_only = read_only;
}

void fake_disk_locked_elsewhere(struct fake_disk *fake, bool locked)
{
	fake->locked_elsewhere = locked;
}

void fake_disk_order(struct fake_disk *fake, enum fake_order order)
{
	fake->order = order;
}

void fake_disk_hook(
	struct fake_disk *fake, void (*hook)(void *context, enum fake_op op), void *context)
{
	fake->hook = hook;
	fake->hook_context = context;
}

uint32_t fake_disk_pending(const struct fake_disk *fake)
{
	return fake->pending_count;
}

const struct fake_write *fake_disk_write_at(const struct fake_disk *fake, uint32_t index)
{
	USH_ASSERT(index < fake->pending_count);
	return &fake->pending[index];
}

void fake_disk_complete(struct fake_disk *fake, uint32_t index, int64_t result)
{
	pthread_mutex_lock(&fake->mutex);
	complete(fake, index, result);
	pthread_mutex_unlock(&fake->mutex);
}

void fake_disk_misdirect(struct fake_disk *fake, uint32_t index, uint64_t offset)
{
	struct fake_write *write;

	pthread_mutex_lock(&fake->mutex);
	USH_ASSERT(index < fake->pending_count && fake->done_count < FAKE_WRITES_MAX);
	write = &fake->pending[index];
	USH_ASSERT(offset == UINT64_MAX || offset + write->size <= write->file->size);
	if (offset != UINT64_MAX) {
		memcpy(write->file->data + offset, write->copy, write->size);
		touch(write->file, offset + write->size);
	}
	fake->done[fake->done_count++] =
		(struct ush_disk_done){.tag = write->tag, .result = (int64_t)write->size};
	remove_pending(fake, index);
	pthread_mutex_unlock(&fake->mutex);
}

void fake_disk_cut_after(struct fake_disk *fake, uint32_t after)
{
	fake->cut_armed = true;
	fake->cut_after = after;
}

bool fake_disk_is_cut(const struct fake_disk *fake)
{
	return fake->cut;
}

/* A write under way when the power went: whole, nothing, or some sectors. */
static void survive(struct fake_disk *fake, const struct fake_write *write)
{
	uint64_t way = ush_random_below(&fake->random, 3);

	if (way == 1)
		return;
	touch(write->file, write->offset + write->size);
	for (size_t at = 0; at < write->size; at += FAKE_SECTOR) {
		if (way == 0 || ush_random_below(&fake->random, 2) == 0)
			memcpy(write->file->data + write->offset + at, write->copy + at,
				FAKE_SECTOR);
	}
}

void fake_disk_power_cycle(struct fake_disk *fake)
{
	pthread_mutex_lock(&fake->mutex);
	while (fake->pending_count != 0) {
		survive(fake, &fake->pending[0]);
		remove_pending(fake, 0);
	}
	for (int i = 0; i < HANDLES_MAX; i++) {
		struct fake_file *file = fake->handles[i].file;
		fake->handles[i].file = NULL;
		if (file != NULL && !file->linked)
			drop(fake, file);
	}
	fake->done_count = 0;
	fake->counts.handles = 0;
	fake->locked = false;
	fake->cut = fake->cut_armed = false;
	fake->buffer = NULL;
	fake->buffer_bytes = 0;
	pthread_mutex_unlock(&fake->mutex);
}

/* Whoever gets a file may write to all of it. */
static struct fake_file *shown(struct fake_file *file)
{
	if (file != NULL)
		touch(file, file->size);
	return file;
}

struct fake_file *fake_disk_find(const struct fake_disk *fake, const char *name)
{
	return shown(find(fake, name));
}

struct fake_file *fake_disk_put(struct fake_disk *fake, const char *name, uint64_t size)
{
	return shown(add(fake, name, size));
}

void fake_disk_remove(struct fake_disk *fake, const char *name)
{
	struct fake_file *file = find(fake, name);

	USH_ASSERT(file != NULL);
	drop(fake, file);
}

void fake_disk_resize(struct fake_disk *fake, const char *name, uint64_t size)
{
	struct fake_file *file = find(fake, name);
	uint8_t *data = data_make(size);

	USH_ASSERT(file != NULL);
	memcpy(data, file->data, (size_t)ush_min64(size, file->size));
	data_free(file);
	file->data = data;
	file->size = size;
	file->touched = size;
}

uint32_t fake_disk_file_count(const struct fake_disk *fake)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < fake->file_count; i++)
		count += fake->files[i]->linked;
	return count;
}

struct fake_file *fake_disk_file_at(const struct fake_disk *fake, uint32_t index)
{
	for (uint32_t i = 0; i < fake->file_count; i++) {
		if (fake->files[i]->linked && index-- == 0)
			return shown(fake->files[i]);
	}
	USH_ASSERT(false);
	return NULL;
}

void fake_disk_counts(struct fake_disk *fake, struct fake_counts *counts)
{
	pthread_mutex_lock(&fake->mutex);
	*counts = fake->counts;
	pthread_mutex_unlock(&fake->mutex);
}
