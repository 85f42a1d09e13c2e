/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The counters of a running usherd, fetched page by page over the control port.
 *
 * Owns:  the lines of one reading.
 * Reads: the control port.
 * Never: what a counter means.
 */
#ifndef USH_CLIENT_STATS_H
#define USH_CLIENT_STATS_H

#include "client.h"

struct client_stat {
	char name[64];
	uint64_t value;
};

struct client_stats {
	struct client_stat *stat;
	uint32_t count;
	uint32_t room;
	/* CLOCK_MONOTONIC when the first page came. */
	uint64_t time_ns;
};

/*
 * Reads all counters, in the order usherd names them; what `stats` held is replaced. Start with an
 * all-zero struct. err: as ush_client_call, -USH_EPARSE for a page without text.
 */
int client_stats_read(
	struct ush_client *client, struct client_stats *stats, struct ush_message *message);

/* ret: the counter called `name`, 0 if there is none. cost: O(count). */
uint64_t client_stats_value(const struct client_stats *stats, const char *name);

void client_stats_free(struct client_stats *stats);

#endif /* USH_CLIENT_STATS_H */
