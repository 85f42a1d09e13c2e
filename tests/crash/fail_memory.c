/* SPDX-License-Identifier: Apache-2.0 */
/*
 * To be preloaded: lets the n-th request for memory that a program's own code makes fail, and says
 * which it was.
 *
 * Counted are calls from the text of the executable, into which our libraries are linked: of the
 * malloc family, mmap, and of what allocates on our behalf (threads, streams, directories,
 * io_uring, DPDK's rings and pools). Calls that shared libraries make among themselves are not:
 * EAL, OpenSSL and libc answer for theirs, and EAL ends the process by itself.
 *
 * USH_FAIL_AT=N: the N-th fails, from 1; 0: none. USH_FAIL_LOG=FILE: gets `name offset` of the call
 * that failed, the offset as addr2line wants it.
 */
#include <dirent.h>
#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/base.h"

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *old, size_t size);
void *__libc_memalign(size_t alignment, size_t size);

static _Atomic uint64_t calls;
static uintptr_t text_first, text_end, text_base;

/* Where the executable's own code is. by: the first call, before there are threads. */
static void find_text(void)
{
	const ElfW(Phdr) *header = (const ElfW(Phdr) *)getauxval(AT_PHDR);
	size_t count = getauxval(AT_PHNUM);

	for (size_t i = 0; i < count; i++) {
		if (header[i].p_type == PT_PHDR)
			text_base = (uintptr_t)header - header[i].p_vaddr;
	}
	for (size_t i = 0; i < count; i++) {
		if (header[i].p_type != PT_LOAD || (header[i].p_flags & PF_X) == 0)
			continue;
		text_first = text_base + header[i].p_vaddr;
		text_end = text_first + header[i].p_memsz;
	}
}

static void say(const char *name, uintptr_t caller)
{
	const char *path = getenv("USH_FAIL_LOG");
	char line[128];
	int size = snprintf(line, sizeof(line), "%s 0x%llx\n", name,
		(unsigned long long)(caller - text_base - 1));
	int fd = path == NULL ? -1 : open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

	if (fd < 0 || write(fd, line, (size_t)size) != size)
		_exit(99);
	close(fd);
}

/* ret: true if this call is to fail; then errno is set. */
static bool fails(const char *name, void *return_address)
{
	uintptr_t caller = (uintptr_t)return_address;
	const char *at;

	if (text_end == 0)
		find_text();
	if (caller < text_first || caller >= text_end)
		return false;
	at = getenv("USH_FAIL_AT");
	if (at == NULL || atomic_fetch_add(&calls, 1) + 1 != strtoull(at, NULL, 10))
		return false;
	say(name, caller);
	errno = ENOMEM;
	return true;
}

#define FAILS(name) fails(name, __builtin_return_address(0))

void *malloc(size_t size)
{
	return FAILS("malloc") ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
	return FAILS("calloc") ? NULL : __libc_calloc(count, size);
}

void *realloc(void *old, size_t size)
{
	return FAILS("realloc") ? NULL : __libc_realloc(old, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
	return FAILS("aligned_alloc") ? NULL : __libc_memalign(alignment, size);
}

int posix_memalign(void **out, size_t alignment, size_t size)
{
	void *memory;

	if (FAILS("posix_memalign"))
		return ENOMEM;
	memory = __libc_memalign(alignment, size);
	if (memory == NULL)
		return ENOMEM;
	*out = memory;
	return 0;
}

/* The real function behind one of ours, looked up once. */
#define REAL(type, name) \
	static type *real; \
	if (real == NULL) \
	*(void **)&real = dlsym(RTLD_NEXT, name)

typedef void *map_function(void *, size_t, int, int, int, off_t);
typedef int thread_function(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
typedef FILE *open_function(const char *, const char *);
typedef FILE *cookie_function(void *, const char *, cookie_io_functions_t);
typedef DIR *directory_function(const char *);
typedef DIR *directory_fd_function(int);
typedef int print_function(char **, const char *, va_list);
typedef void *seven_function(
	const char *, unsigned, unsigned, uint16_t, uint16_t, int, const char *);
typedef void *six_function(const char *, unsigned, unsigned, uint16_t, uint16_t, int);

void *mmap(void *address, size_t size, int protection, int flags, int fd, off_t offset)
{
	REAL(map_function, "mmap");
	return FAILS("mmap") ? MAP_FAILED : real(address, size, protection, flags, fd, offset);
}

int pthread_create(
	pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *), void *argument)
{
	REAL(thread_function, "pthread_create");
	return FAILS("pthread_create") ? EAGAIN : real(thread, attributes, start, argument);
}

FILE *fopen(const char *path, const char *mode)
{
	REAL(open_function, "fopen");
	return FAILS("fopen") ? NULL : real(path, mode);
}

FILE *fopencookie(void *cookie, const char *mode, cookie_io_functions_t functions)
{
	REAL(cookie_function, "fopencookie");
	return FAILS("fopencookie") ? NULL : real(cookie, mode, functions);
}

DIR *opendir(const char *path)
{
	REAL(directory_function, "opendir");
	return FAILS("opendir") ? NULL : real(path);
}

DIR *fdopendir(int fd)
{
	REAL(directory_fd_function, "fdopendir");
	return FAILS("fdopendir") ? NULL : real(fd);
}

int vasprintf(char **out, const char *format, va_list arguments)
{
	REAL(print_function, "vasprintf");
	return FAILS("vasprintf") ? -1 : real(out, format, arguments);
}

/* ---- of libraries: by name only, their headers are not needed ---- */

int io_uring_queue_init(unsigned entries, void *ring, unsigned flags);
void *rte_ring_create(const char *name, unsigned count, int socket, unsigned flags);
void *rte_pktmbuf_pool_create(const char *name, unsigned n, unsigned cache, uint16_t private_size,
	uint16_t room, int socket);
void *rte_pktmbuf_pool_create_by_ops(const char *name, unsigned n, unsigned cache,
	uint16_t private_size, uint16_t room, int socket, const char *ops);

int io_uring_queue_init(unsigned entries, void *ring, unsigned flags)
{
	static int (*real)(unsigned, void *, unsigned);

	if (real == NULL)
		*(void **)&real = dlsym(RTLD_NEXT, "io_uring_queue_init");
	return FAILS("io_uring_queue_init") ? -ENOMEM : real(entries, ring, flags);
}

void *rte_ring_create(const char *name, unsigned count, int socket, unsigned flags)
{
	static void *(*real)(const char *, unsigned, int, unsigned);

	if (real == NULL)
		*(void **)&real = dlsym(RTLD_NEXT, "rte_ring_create");
	return FAILS("rte_ring_create") ? NULL : real(name, count, socket, flags);
}

void *rte_pktmbuf_pool_create(const char *name, unsigned n, unsigned cache, uint16_t private_size,
	uint16_t room, int socket)
{
	REAL(six_function, "rte_pktmbuf_pool_create");
	return FAILS("rte_pktmbuf_pool_create") ? NULL
						: real(name, n, cache, private_size, room, socket);
}

void *rte_pktmbuf_pool_create_by_ops(const char *name, unsigned n, unsigned cache,
	uint16_t private_size, uint16_t room, int socket, const char *ops)
{
	REAL(seven_function, "rte_pktmbuf_pool_create_by_ops");
	return FAILS("rte_pktmbuf_pool_create_by_ops")
		       ? NULL
		       : real(name, n, cache, private_size, room, socket, ops);
}
