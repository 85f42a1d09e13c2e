/* SPDX-License-Identifier: Apache-2.0 */
#include "port/eal.h"

#include <dirent.h>
#include <errno.h>
#include <sched.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_log.h>

#include "port/diag.h"
#include "port/port.h"

#define ARGUMENT_MAX 128u
/* One buffer with its headers, its share of the pool's ring, and rounding. */
#define MBUF_BYTES 2560u
/* Rings and tables of EAL and drivers. guess, with 4 ports tried. */
#define EAL_MEGABYTES 64u

struct argument_list {
	char *item[ARGUMENT_MAX];
	int count;
	/* An argument found no memory. */
	bool failed;
};

static void USH_PRINTF(2, 3) argument_add(struct argument_list *list, const char *format, ...)
{
	va_list arguments;

	USH_ASSERT(list->count + 1 < (int)ARGUMENT_MAX);
	va_start(arguments, format);
	if (vasprintf(&list->item[list->count], format, arguments) < 0)
		list->failed = true;
	else
		list->count++;
	va_end(arguments);
	list->item[list->count] = NULL;
}

uint32_t ush_eal_mbuf_count(const struct ush_config *config)
{
	uint32_t loops = config->loops.count;
	uint32_t count, i;

	if (config->mbufs != 0)
		return config->mbufs;
	/* Waiting replies, backlog, the burst in hand, and 1.5 caches for each loop. */
	count = loops * (config->ack_count + config->port_count * USH_PORT_BACKLOG +
				2 * USH_LOOP_SEND_MAX + USH_PORT_CACHE * 3 / 2);
	for (i = 0; i < config->port_count; i++) {
		const struct ush_config_port *port = &config->port[i];
		uint32_t queues = port->queues != 0 ? port->queues : loops;

		/* AF_XDP fills its own rings of 2,048 whatever is asked. */
		count += queues * (uint32_t)ush_max64(port->rx_descriptors + port->tx_descriptors,
					  strstr(port->device, "af_xdp") != NULL ? 6144 : 0);
	}
	return count;
}

/* ret: bytes in free huge pages, all sizes, all nodes. */
static uint64_t huge_free_bytes(void)
{
	const char *root = "/sys/kernel/mm/hugepages";
	DIR *directory = opendir(root);
	struct dirent *entry;
	uint64_t bytes = 0;

	if (directory == NULL)
		return 0;
	while ((entry = readdir(directory)) != NULL) {
		unsigned long kilobytes, pages;
		char path[512];
		FILE *file;

		if (sscanf(entry->d_name, "hugepages-%lukB", &kilobytes) != 1)
			continue;
		snprintf(path, sizeof(path), "%s/%s/free_hugepages", root, entry->d_name);
		file = fopen(path, "re");
		if (file == NULL)
			continue;
		if (fscanf(file, "%lu", &pages) == 1)
			bytes += (uint64_t)kilobytes * 1024 * pages;
		fclose(file);
	}
	closedir(directory);
	return bytes;
}

static int memory_choose(
	struct ush_eal *eal, const struct ush_config *config, struct ush_message *message)
{
	uint64_t available;

	eal->mbuf_count = ush_eal_mbuf_count(config);
	eal->megabytes = config->megabytes;
	if (eal->megabytes == 0)
		eal->megabytes =
			(uint32_t)(((uint64_t)eal->mbuf_count * MBUF_BYTES) >> 20) + EAL_MEGABYTES;
	available = huge_free_bytes() >> 20;
	eal->huge = config->hugepages == USH_HUGEPAGES_YES ||
		    (config->hugepages == USH_HUGEPAGES_AUTO && available >= eal->megabytes);
	if (eal->huge && available < eal->megabytes) {
		ush_message_set(message,
			"[memory] hugepages=yes: %u MiB are needed, %llu MiB are free; raise "
			"vm.nr_hugepages, lower [limits] acks or [memory] mbufs, or set hugepages=no",
			eal->megabytes, (unsigned long long)available);
		return -USH_ENOMEM;
	}
	return 0;
}

/* Says EAL's own lines in our form. */
static ssize_t log_line(void *cookie, const char *text, size_t size)
{
	char line[512];
	size_t used = size < sizeof(line) ? size : sizeof(line) - 1;

	(void)cookie;
	memcpy(line, text, used);
	while (used > 0 && (line[used - 1] == '\n' || line[used - 1] == ' '))
		used--;
	line[used] = 0;
	/* Said by every start at a level that hides real warnings. */
	if (strncmp(line, "TELEMETRY: No legacy callbacks", 30) == 0)
		return (ssize_t)size;
	if (used != 0)
		ush_diag(USH_DIAG_WARN, "dpdk", USH_TEXT("text", line));
	return (ssize_t)size;
}

static void log_redirect(void)
{
	FILE *stream = fopencookie(NULL, "w", (cookie_io_functions_t){.write = log_line});

	if (stream == NULL)
		return;
	setvbuf(stream, NULL, _IOLBF, 512);
	rte_openlog_stream(stream);
}

/* Writes "0@(0,1),1@0,2@3": the main thread on every CPU we may use, each loop on its own. */
static void cores_text(const struct ush_config *config, char *text, size_t size)
{
	const char *comma = "";
	size_t used;
	cpu_set_t set;
	uint32_t i;

	used = (size_t)snprintf(text, size, "0@(");
	CPU_ZERO(&set);
	if (sched_getaffinity(0, sizeof(set), &set) != 0)
		CPU_SET(0, &set);
	for (i = 0; i < CPU_SETSIZE && used + 16 < size; i++) {
		if (!CPU_ISSET(i, &set))
			continue;
		used += (size_t)snprintf(text + used, size - used, "%s%u", comma, i);
		comma = ",";
	}
	used += (size_t)snprintf(text + used, size - used, ")");
	for (i = 0; i < config->loops.count && used + 16 < size; i++)
		used += (size_t)snprintf(text + used, size - used, ",%u@%u",
			USH_EAL_LCORE_FIRST + i, config->loops.cpu[i]);
}

/* ret: 0 when nothing stands at `path` any more that keeps a device from making its socket. */
static int socket_clear(const char *path, struct ush_message *message)
{
	static const int types[] = {SOCK_STREAM, SOCK_SEQPACKET};
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct stat status;
	size_t i;

	if (lstat(path, &status) != 0)
		return 0;
	if (!S_ISSOCK(status.st_mode)) {
		ush_message_set(message, "%s: is in the way of a socket; remove it", path);
		return -USH_EEXIST;
	}
	snprintf(address.sun_path, sizeof(address.sun_path), "%.107s", path);
	for (i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		int s = socket(AF_UNIX, types[i] | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		bool live = s >= 0 && connect(s, (struct sockaddr *)&address, sizeof(address)) == 0;

		if (s >= 0)
			close(s);
		if (live) {
			ush_message_set(message,
				"%s: another process serves this socket; stop it, or choose another "
				"path",
				path);
			return -USH_EBUSY;
		}
	}
	unlink(path);
	return 0;
}

/* FNV-1a of the run directory: processes with different ones do not meet in EAL's files. */
static uint32_t prefix_hash(const char *text)
{
	uint32_t hash = 2166136261u;

	for (; *text != 0; text++)
		hash = (hash ^ (uint8_t)*text) * 16777619u;
	return hash;
}

static int devices_add(struct ush_eal *eal, const struct ush_config *config,
	struct argument_list *list, struct ush_message *message)
{
	bool any_pci = false;
	uint32_t i;
	int error;

	for (i = 0; i < config->port_count; i++) {
		const struct ush_config_port *port = &config->port[i];
		struct ush_device *device = &eal->device[i];

		error = ush_device_expand(device, port->device, i,
			port->queues != 0 ? port->queues : config->loops.count, message);
		if (error == 0 && device->socket[0] != 0)
			error = socket_clear(device->socket, message);
		if (error != 0)
			return error;
		any_pci |= device->is_pci;
		argument_add(list, device->is_pci ? "-a" : "--vdev");
		argument_add(list, "%s", device->argument);
	}
	if (!any_pci)
		argument_add(list, "--no-pci");
	return 0;
}

int ush_eal_start(struct ush_eal *eal, const struct ush_config *config, int extra_count,
	char *const *extra, struct ush_message *message)
{
	static struct argument_list list;
	char cores[4096 + 1024];
	int error, i;

	memset(eal, 0, sizeof(*eal));
	error = memory_choose(eal, config, message);
	if (error != 0)
		return error;
	log_redirect();
	cores_text(config, cores, sizeof(cores));
	argument_add(&list, "usherd");
	argument_add(&list, "--lcores=%s", cores);
	argument_add(&list, "--file-prefix=usher-%08x", prefix_hash(config->run_directory));
	argument_add(
		&list, "--log-level=%s", config->log_level == USH_DIAG_DEBUG ? "info" : "warning");
	if (eal->huge) {
		/* No file of ours is left in hugetlbfs when we are killed, and none is needed. */
		argument_add(&list, "--in-memory");
		if (config->megabytes != 0)
			argument_add(&list, "--socket-mem=%u", config->megabytes);
	} else {
		argument_add(&list, "--no-huge");
		argument_add(&list, "-m");
		argument_add(&list, "%u", eal->megabytes);
	}
	error = devices_add(eal, config, &list, message);
	if (error != 0)
		return error;
	for (i = 0; i < extra_count && list.count + 2 < (int)ARGUMENT_MAX; i++)
		argument_add(&list, "%s", extra[i]);
	if (list.failed) {
		ush_message_set(message, "no memory for the arguments of DPDK");
		return -USH_ENOMEM;
	}
	if (rte_eal_init(list.count, list.item) < 0) {
		ush_message_set(message,
			"DPDK did not start: %s; the dpdk lines above say why (device name, "
			"permission, memory, or a raw argument after --)",
			rte_strerror(rte_errno));
		return -USH_ESYSTEM;
	}
	return 0;
}

void ush_eal_stop(const struct ush_eal *eal, const struct ush_config *config)
{
	uint32_t i;

	rte_eal_cleanup();
	for (i = 0; i < config->port_count; i++)
		if (eal->device[i].socket[0] != 0)
			unlink(eal->device[i].socket);
}

/* A stretch of the engine's memory to be taken from the system. */
struct prefault {
	uint8_t *memory;
	size_t bytes;
};

/* 16 MiB at a time, so that a process that is stopping does not wait for it. */
#define PREFAULT_STEP ((size_t)16 << 20)

static void *prefault_main(void *argument)
{
	struct prefault *prefault = argument;

	prctl(PR_SET_NAME, "usher-prefault");
	for (size_t at = 0; at < prefault->bytes; at += PREFAULT_STEP) {
		size_t step =
			prefault->bytes - at < PREFAULT_STEP ? prefault->bytes - at : PREFAULT_STEP;
		/* Linux 5.14 and later; changes no content. Without it pages come as touched. */
		if (madvise(prefault->memory + at, step, MADV_POPULATE_WRITE) != 0)
			break;
	}
	free(prefault);
	return NULL;
}

static void prefault_start(const struct ush_config *config, void *memory, size_t bytes)
{
	struct prefault *prefault = malloc(sizeof(*prefault));
	pthread_t thread;

	if (prefault == NULL)
		return;
	*prefault = (struct prefault){memory, bytes};
	if (config->prefault == USH_PREFAULT_BACKGROUND &&
		pthread_create(&thread, NULL, prefault_main, prefault) == 0) {
		pthread_detach(thread);
		return;
	}
	prefault_main(prefault);
}

void *ush_memory_map(const struct ush_config *config, size_t bytes, struct ush_message *message)
{
	/* A whole number of 2 MiB pages, at a multiple of their size, can be huge pages. */
	const size_t huge_bytes = (size_t)2 << 20;
	size_t size = (bytes + huge_bytes - 1) & ~(huge_bytes - 1);
	void *memory = MAP_FAILED;

	if (config->hugepages != USH_HUGEPAGES_NO && huge_free_bytes() >= size)
		memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
	if (memory != MAP_FAILED)
		return memory;
	memory = mmap(NULL, size + huge_bytes, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (memory == MAP_FAILED) {
		ush_message_set(message,
			"no memory for the engine: %zu MiB; lower [limits] holds, users, answers or "
			"rows",
			size >> 20);
		return NULL;
	}
	memory = (void *)(((uintptr_t)memory + huge_bytes - 1) & ~(uintptr_t)(huge_bytes - 1));
	/* Only an advice: without it everything works, with more misses of the TLB. */
	if (madvise(memory, size, MADV_HUGEPAGE) != 0)
		ush_diag(USH_DIAG_DEBUG, "no_transparent_hugepages");
	if (config->prefault != USH_PREFAULT_NO)
		prefault_start(config, memory, size);
	return memory;
}
