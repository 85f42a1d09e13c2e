/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All counters as text: one `name value` a line, in an order that does not change while the same
 * events are loaded.
 *
 * Owns:  nothing.
 * Reads: counters of loops, ports, journal, control port and events.
 * Never: anything that a loop waits for.
 */
#ifndef USH_STATS_H
#define USH_STATS_H

#include "journal/journal.h"
#include "loop/loop.h"
#include "port/filter.h"
#include "port/port.h"
#include "port/worker.h"

/* Counters of the control port; written by the main thread. */
struct ush_control_counters {
	uint64_t clients;
	uint64_t accepted;
	uint64_t refused;
	uint64_t requests;
	uint64_t replies;
	uint64_t malformed;
	uint64_t outstanding;
};

struct ush_stats {
	struct ush_engine *engine;
	const struct ush_journal *journal;
	const struct ush_port *ports;
	uint32_t port_count;
	const struct ush_worker *workers;
	uint32_t loop_count;
	const struct ush_control_counters *control;
	/* NULL: none. */
	const struct ush_port_filter *filter;
	uint64_t started_ns;
};

/*
 * Writes whole lines from line `first` on, as many as fit.
 * out: *next: the line to go on with, 0 when that was all.
 * ret: bytes written, without a NUL. by: the main thread. cost: O(events), about 1 ms for none.
 */
size_t ush_stats_text(
	const struct ush_stats *stats, uint64_t first, char *text, size_t size, uint64_t *next);

/* Sums the counters of all loops. */
void ush_stats_sum(const struct ush_stats *stats, struct ush_loop_counters *sum);

#endif /* USH_STATS_H */
