/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The environment abstraction layer, set up from usherd's own configuration.
 *
 * Owns:  EAL's argument list; the engine's memory.
 * Reads: the configuration; free huge pages.
 * Never: packets.
 */
#ifndef USH_EAL_H
#define USH_EAL_H

#include "port/config.h"

/* EAL's name for the loop's core; the main thread is core 0 and floats. */
#define USH_EAL_LCORE_FIRST 1u

struct ush_eal {
	/* Huge pages are used. */
	bool huge;
	uint32_t megabytes;
	uint32_t mbuf_count;
	struct ush_device device[USH_PORT_COUNT_MAX];
};

/* ret: packet buffers that cannot run out by themselves: rings, backlogs, waiting replies and
 * caches of all ports and loops. */
uint32_t ush_eal_mbuf_count(const struct ush_config *config);

/*
 * Starts EAL: cores, memory, devices. Stale sockets of vhost and memif ports are removed first.
 * in:  extra: raw EAL arguments that follow ours; they may contradict them.
 * ret: 0; err: -USH_EINVAL, -USH_ENOMEM, -USH_ESYSTEM with a message.
 * by:  the main thread, once.
 */
int ush_eal_start(struct ush_eal *eal, const struct ush_config *config, int extra_count,
	char *const *extra, struct ush_message *message);

/* Removes the sockets and ends EAL. by: the main thread, after the ports are closed. */
void ush_eal_stop(const struct ush_eal *eal, const struct ush_config *config);

/*
 * Memory for the engine: zeroed, aligned to 4,096 bytes; on huge pages if they are configured and
 * enough are left, else on transparent ones where the kernel grants them.
 * ret: the memory, or NULL with a message.
 */
void *ush_memory_map(const struct ush_config *config, size_t bytes, struct ush_message *message);

#endif /* USH_EAL_H */
