/* SPDX-License-Identifier: Apache-2.0 */
/* Stands in for load_dpdk.c in builds without DPDK. */
#include "load_transport.h"

int load_dpdk_open(struct load_transport **transport, const struct load_transport_options *options,
	struct ush_message *message)
{
	(void)transport;
	(void)options;
	ush_message_set(message, "built without DPDK: use --udp or --write-pcap, or build with "
				 "-Ddpdk=enabled");
	return -USH_EUNSUPPORTED;
}
