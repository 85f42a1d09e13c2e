/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a device name to a running port: ask what the device offers, take what serves us, do the
 * rest in software.
 */
#include <string.h>

#include <rte_cycles.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>

#include "port/diag.h"
#include "port/port.h"

#define RSS_WANTED (RTE_ETH_RSS_IP | RTE_ETH_RSS_NONFRAG_IPV4_UDP | RTE_ETH_RSS_NONFRAG_IPV6_UDP)
#define TX_CHECKSUMS (RTE_ETH_TX_OFFLOAD_IPV4_CKSUM | RTE_ETH_TX_OFFLOAD_UDP_CKSUM)
#define RX_CHECKSUMS (RTE_ETH_RX_OFFLOAD_IPV4_CKSUM | RTE_ETH_RX_OFFLOAD_UDP_CKSUM)

struct rte_mempool *ush_port_pool_make(
	uint32_t mbuf_count, bool last_in_first_out, struct ush_message *message)
{
	/* Last in, first out: the default pool is a ring, which would deal out the buffer that has
	 * been cold for longest and walk through all of them, since replies that wait for the disk
	 * keep theirs. */
	struct rte_mempool *pool =
		!last_in_first_out
			? NULL
			: rte_pktmbuf_pool_create_by_ops("usher", mbuf_count, USH_PORT_CACHE, 0,
				  RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY, "lf_stack");

	if (pool == NULL)
		pool = rte_pktmbuf_pool_create("usher", mbuf_count, USH_PORT_CACHE, 0,
			RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	if (pool == NULL)
		ush_message_set(message,
			"no memory for %u packet buffers: %s; raise [memory] megabytes, or lower "
			"[limits] acks or [memory] mbufs",
			mbuf_count, rte_strerror(rte_errno));
	return pool;
}

/* Peers come and go, cables are pulled: say so. by: EAL's interrupt thread. */
static int link_changed(uint16_t id, enum rte_eth_event_type type, void *argument, void *unused)
{
	struct ush_port *port = argument;
	struct rte_eth_link link;

	(void)type;
	(void)unused;
	if (rte_eth_link_get_nowait(id, &link) != 0)
		return 0;
	atomic_fetch_add_explicit(
		link.link_status ? &port->link_ups : &port->link_downs, 1, memory_order_relaxed);
	ush_diag(USH_DIAG_INFO, link.link_status ? "link_up" : "link_down",
		USH_TEXT("port", port->config->name));
	return 0;
}

/* Decides who sums what. */
static int choose_checksums(struct ush_port *port, const struct rte_eth_dev_info *info,
	struct rte_eth_conf *conf, struct ush_message *message)
{
	const struct ush_config_port *config = port->config;
	bool offered = (info->tx_offload_capa & TX_CHECKSUMS) == TX_CHECKSUMS;

	if (config->checksum_tx == USH_CHECKSUM_TX_OFFLOAD && !offered) {
		ush_message_set(message,
			"[port %s] checksum_tx=offload: driver %s does not offer it; use auto or "
			"software",
			config->name, info->driver_name);
		return -USH_EUNSUPPORTED;
	}
	port->net.checksum_tx_offload =
		config->checksum_tx == USH_CHECKSUM_TX_OFFLOAD ||
		(config->checksum_tx == USH_CHECKSUM_TX_AUTO && port->is_pci && offered);
	if (port->net.checksum_tx_offload)
		conf->txmode.offloads |= TX_CHECKSUMS;
	/* All our buffers are of one pool and nobody else holds them. */
	conf->txmode.offloads |= info->tx_offload_capa & RTE_ETH_TX_OFFLOAD_MBUF_FAST_FREE;
	port->net.checksum_rx = (uint8_t)config->checksum_rx;
	if (port->is_pci && config->checksum_rx != USH_CHECKSUM_RX_OFF)
		conf->rxmode.offloads |= info->rx_offload_capa & RX_CHECKSUMS;
	return 0;
}

/* Sets MAC and addresses. ret: true if the device lets frames to this MAC through. */
static bool choose_addresses(struct ush_port *port)
{
	const struct ush_config_port *config = port->config;
	struct rte_ether_addr mac;
	bool passes = true;

	memset(&mac, 0, sizeof(mac));
	if (config->has_mac) {
		memcpy(mac.addr_bytes, config->mac, 6);
		passes = rte_eth_dev_default_mac_addr_set(port->id, &mac) == 0;
	} else if (rte_eth_macaddr_get(port->id, &mac) != 0 ||
		   !rte_is_valid_assigned_ether_addr(&mac)) {
		rte_eth_random_addr(mac.addr_bytes);
		passes = false;
	}
	memcpy(port->net.mac, mac.addr_bytes, 6);
	port->net.has_ipv4 = config->has_ipv4;
	port->net.has_ipv6 = config->has_ipv6;
	memcpy(&port->net.ipv4_be, config->ipv4, 4);
	memcpy(port->net.ipv6, config->ipv6, 16);
	port->net.udp_port_be = rte_cpu_to_be_16((uint16_t)config->udp_port);
	ush_net_link_address(&port->net);
	return passes;
}

/* Opens the device's filter for our MAC and our solicited-node groups, as narrowly as it can. */
static void choose_filter(struct ush_port *port, bool mac_passes)
{
	struct rte_ether_addr groups[2] = {
		{.addr_bytes = {0x33, 0x33, 0xff}}, {.addr_bytes = {0x33, 0x33, 0xff}}};

	memcpy(groups[0].addr_bytes + 3, port->net.ipv6 + 13, 3);
	memcpy(groups[1].addr_bytes + 3, port->net.ipv6_link + 13, 3);
	if (mac_passes &&
		(!port->net.has_ipv6 || rte_eth_dev_set_mc_addr_list(port->id, groups, 2) == 0 ||
			rte_eth_allmulticast_enable(port->id) == 0))
		return;
	if (rte_eth_promiscuous_enable(port->id) != 0 && port->is_pci)
		ush_diag(USH_DIAG_WARN, "filter_closed", USH_TEXT("port", port->config->name),
			USH_TEXT("mend",
				"the device filters; set its MAC and multicast groups by hand"));
}

static int open_queues(struct ush_port *port, const struct rte_eth_dev_info *info,
	struct rte_eth_conf *conf, struct rte_mempool *pool, struct ush_message *message)
{
	const struct ush_config_port *config = port->config;
	uint16_t rx = (uint16_t)config->rx_descriptors;
	uint16_t tx = (uint16_t)config->tx_descriptors;
	struct rte_eth_rxconf rx_conf = info->default_rxconf;
	struct rte_eth_txconf tx_conf = info->default_txconf;
	int socket = rte_eth_dev_socket_id(port->id);
	const char *step = "configure";
	uint16_t q;
	int error;

	error = rte_eth_dev_configure(port->id, port->queue_count, port->queue_count, conf);
	if (error == 0) {
		step = "choose ring sizes of";
		error = rte_eth_dev_adjust_nb_rx_tx_desc(port->id, &rx, &tx);
	}
	rx_conf.offloads = conf->rxmode.offloads;
	tx_conf.offloads = conf->txmode.offloads;
	for (q = 0; error == 0 && q < port->queue_count; q++) {
		step = "set up a receive queue of";
		error = rte_eth_rx_queue_setup(
			port->id, q, rx, (unsigned int)socket, &rx_conf, pool);
		if (error != 0)
			break;
		step = "set up a transmit queue of";
		error = rte_eth_tx_queue_setup(port->id, q, tx, (unsigned int)socket, &tx_conf);
	}
	if (error == 0) {
		rte_eth_dev_callback_register(port->id, RTE_ETH_EVENT_INTR_LSC, link_changed, port);
		step = "start";
		error = rte_eth_dev_start(port->id);
	}
	if (error == 0)
		return 0;
	ush_message_set(message, "[port %s]: cannot %s %s: %s", config->name, step, config->device,
		rte_strerror(-error));
	return -USH_ESYSTEM;
}

static void choose_queues(struct ush_port *port, const struct rte_eth_dev_info *info,
	uint32_t loop_count, struct rte_eth_conf *conf)
{
	uint32_t queues = port->config->queues != 0 ? port->config->queues : loop_count;

	queues = (uint32_t)ush_min64(queues, loop_count);
	queues = (uint32_t)ush_min64(queues, ush_min64(info->max_rx_queues, info->max_tx_queues));
	port->queue_count = (uint16_t)queues;
	if (queues < loop_count)
		ush_diag(USH_DIAG_INFO, "fewer_queues_than_loops",
			USH_TEXT("port", port->config->name), USH_U64("queues", queues),
			USH_U64("loops", loop_count));
	if (queues > 1 && (info->flow_type_rss_offloads & RSS_WANTED) != 0) {
		conf->rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
		conf->rx_adv_conf.rss_conf.rss_hf = info->flow_type_rss_offloads & RSS_WANTED;
	}
}

int ush_port_open(struct ush_port *port, const struct ush_config_port *config,
	const struct ush_device *device, uint32_t loop_count, struct rte_mempool *pool,
	struct ush_message *message)
{
	struct rte_eth_conf conf;
	struct rte_eth_dev_info info;
	bool mac_passes;
	int error;

	memset(port, 0, sizeof(*port));
	memset(&conf, 0, sizeof(conf));
	port->config = config;
	port->is_pci = device->is_pci;
	port->pool = pool;
	if (rte_eth_dev_get_port_by_name(device->name, &port->id) != 0 ||
		rte_eth_dev_info_get(port->id, &info) != 0) {
		ush_message_set(message,
			"[port %s]: no device %s; is it bound to a DPDK driver (dpdk-devbind.py -s), "
			"and is the driver installed?",
			config->name, device->name);
		return -USH_ENOENT;
	}
	choose_queues(port, &info, loop_count, &conf);
	if (port->queue_count == 0) {
		ush_message_set(
			message, "[port %s]: %s has no queues", config->name, config->device);
		return -USH_EUNSUPPORTED;
	}
	error = choose_checksums(port, &info, &conf, message);
	if (error != 0)
		return error;
	conf.rxmode.mtu = config->mtu;
	conf.intr_conf.lsc = (*info.dev_flags & RTE_ETH_DEV_INTR_LSC) != 0;
	error = open_queues(port, &info, &conf, pool, message);
	if (error != 0)
		return error;
	mac_passes = choose_addresses(port);
	choose_filter(port, mac_passes);
	ush_diag(USH_DIAG_INFO, "port_open", USH_TEXT("port", config->name),
		USH_TEXT("device", config->device), USH_TEXT("driver", info.driver_name),
		USH_U64("queues", port->queue_count),
		USH_TEXT("checksum_tx", port->net.checksum_tx_offload ? "device" : "software"));
	return 0;
}

bool ush_port_wait_link(const struct ush_port *port, uint32_t wait_ms)
{
	struct rte_eth_link link;

	/* A virtual link rises when its peer comes, perhaps never. */
	if (!port->is_pci)
		return true;
	for (;; wait_ms -= 100) {
		if (rte_eth_link_get_nowait(port->id, &link) == 0 && link.link_status)
			return true;
		if (wait_ms < 100)
			return false;
		rte_delay_us_sleep(100000);
	}
}

void ush_port_close(struct ush_port *port)
{
	rte_eth_dev_callback_unregister(port->id, RTE_ETH_EVENT_INTR_LSC, link_changed, port);
	if (rte_eth_dev_stop(port->id) != 0 || rte_eth_dev_close(port->id) != 0)
		ush_diag(USH_DIAG_DEBUG, "port_close_failed", USH_TEXT("port", port->config->name));
}
