/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hardware filter of hw/ as a simulation, inline between a port and its loop: what would stand
 * in front of a network card's host interface (docs/hardware.md).
 *
 * Owns:  one simulated filter, and what was written into its registers.
 * Reads: what admission follows now, received frames.
 * Never: answers; what the filter refuses is gone.
 */
#ifndef USH_PORT_FILTER_H
#define USH_PORT_FILTER_H

#include "base/packet.h"
#include "loop/loop.h"

struct ush_port_filter;

/* Counters of the filter, in the order of its registers; then its verdicts. */
struct ush_port_filter_counters {
	uint64_t received;
	uint64_t drop_full;
	uint64_t drop_long;
	uint64_t drop_error;
	uint64_t passed;
	uint64_t discarded;
	uint64_t bypassed;
	uint64_t repeated;
	uint64_t source_evicted;
	uint64_t user_evicted;
	uint64_t verdict[USH_VERDICT_COUNT];
	/* Of the registers, as they are. */
	uint64_t checks;
	uint64_t load_bits;
	/* Clocks simulated. */
	uint64_t clocks;
};

/*
 * out: *filter: follows the admission of `engine` from its first burst on.
 * ret: 0; err: -USH_EUNSUPPORTED where it was not built in, -USH_ENOMEM; with a message.
 * by: the starting thread.
 */
int ush_port_filter_make(struct ush_port_filter **filter, const struct ush_engine *engine,
	uint32_t udp_port, struct ush_message *message);

void ush_port_filter_close(struct ush_port_filter *filter);

/*
 * Sends frames through the filter. Those that it does not pass are freed; the others stand first in
 * `packets`, with the bytes that came out. A burst of none lets it count what it did.
 * in: count: at most USH_LOOP_BURST. ret: packets left. by: the one loop. cost: about 1 us a frame,
 * and much more after a change of the configuration.
 */
uint32_t ush_port_filter_burst(struct ush_port_filter *filter, struct ush_packet *packets,
	uint32_t count, uint64_t now_ns);

/* What its registers said last: at most 10 ms ago, or after the last burst. by: any thread. */
void ush_port_filter_counters_read(
	const struct ush_port_filter *filter, struct ush_port_filter_counters *counters);

#endif /* USH_PORT_FILTER_H */
