/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A build without Verilator: there is no filter, and asking for one says so.
 */
#include <string.h>

#include "port/filter.h"

int ush_port_filter_make(struct ush_port_filter **filter, const struct ush_engine *engine,
	uint32_t udp_port, struct ush_message *message)
{
	(void)filter;
	(void)engine;
	(void)udp_port;
	ush_message_set(message,
		"admission.mode = hw-sim: this usherd was built without it; install verilator and a "
		"C++ compiler, and build with -Dhwsim=enabled");
	return -USH_EUNSUPPORTED;
}

void ush_port_filter_close(struct ush_port_filter *filter)
{
	USH_ASSERT(filter == NULL);
}

uint32_t ush_port_filter_burst(
	struct ush_port_filter *filter, struct ush_packet *packets, uint32_t count, uint64_t now_ns)
{
	(void)packets;
	(void)now_ns;
	USH_ASSERT(filter == NULL);
	return count;
}

void ush_port_filter_counters_read(
	const struct ush_port_filter *filter, struct ush_port_filter_counters *counters)
{
	USH_ASSERT(filter == NULL);
	memset(counters, 0, sizeof(*counters));
}
