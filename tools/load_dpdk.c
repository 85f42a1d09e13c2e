/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A DPDK port of our own: by default the peer of usherd's vhost-user socket.
 *
 * The device is made after EAL has started, by hot-plug, and made anew when the other side went
 * away: so the generator may start before the appliance and outlives it.
 */
#include <dirent.h>
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include <rte_config.h>
#include <rte_dev.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>

#include "load_frame.h"

#define MBUF_COUNT 16383u
#define MBUF_CACHE 512u
#define MBUF_BYTES (RTE_PKTMBUF_HEADROOM + 2048u)
#define ARGS_MAX 48
/* Between two attempts to reach the other side. */
#define TRY_NS 100000000ull
/* Empty turns before the core is offered to others. */
#define IDLE_TURNS 32u
/* Offers without an answer, about 1 ms of them, before each becomes a nap: the kernel may have to
 * finish the appliance's writes on this very core, and a thread that only ever yields can keep
 * Linux 6.18 from running anything else there for seconds. */
#define IDLE_YIELDS 1000u
#define NAP_NS 10000u

struct load_dpdk {
	struct load_transport base;
	struct load_frame frame;
	const struct load_transport_options *options;
	struct rte_mempool *pool;
	uint16_t port;
	bool attached;
	bool peer_known;
	uint16_t held_count;
	uint32_t idle_turns;
	uint32_t idle_yields;
	uint64_t asked_ns;
	uint64_t retried_ns;
	char device[32];
	char arguments[256];
	struct rte_mbuf *held[LOAD_BURST];
};

/* Ours on a wire of two, unless told: locally administered. */
#define OUR_MAC "02:75:73:68:00:02"

/* One generator a process: EAL allows no more. */
static struct load_dpdk the_dpdk;

/* ---- environment --------------------------------------------------------------------------- */

/* ret: true when some hugepages are free. */
static bool hugepages_free(void)
{
	static const char folder[] = "/sys/kernel/mm/hugepages";
	DIR *dir = opendir(folder);
	const struct dirent *entry;
	bool found = false;

	while (dir != NULL && (entry = readdir(dir)) != NULL) {
		char path[512];
		unsigned long pages = 0;
		FILE *file;

		snprintf(path, sizeof(path), "%s/%s/free_hugepages", folder, entry->d_name);
		file = fopen(path, "r");
		if (file == NULL)
			continue;
		if (fscanf(file, "%lu", &pages) == 1 && pages != 0)
			found = true;
		fclose(file);
	}
	if (dir != NULL)
		closedir(dir);
	return found;
}

/* in: wanted: UINT64_MAX: the last CPU this process may run on. ret: the CPU, or -USH_ERANGE. */
static int choose_core(uint64_t wanted, struct ush_message *message)
{
	cpu_set_t set;
	int last = 0;

	CPU_ZERO(&set);
	(void)sched_getaffinity(0, sizeof(set), &set);
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET((unsigned int)cpu, &set))
			continue;
		last = cpu;
		if (wanted == (uint64_t)cpu)
			return cpu;
	}
	if (wanted == UINT64_MAX)
		return last;
	ush_message_set(message,
		"--core %llu: this process may not run there; the last it may is %d",
		(unsigned long long)wanted, last);
	return -USH_ERANGE;
}

static int start_eal(const struct load_transport_options *options, struct ush_message *message)
{
	static char program[] = "usher-load", no_huge[] = "--no-huge", memory[] = "-m",
		    memory_mb[] = "128", no_pci[] = "--no-pci", allow[] = "-a",
		    no_telemetry[] = "--no-telemetry", single[] = "--single-file-segments",
		    in_memory[] = "--in-memory", quiet[] = "--log-level=alert", lcores[] = "-l";
	static char core[24], prefix[128], more[512];
	char *args[ARGS_MAX] = {program, lcores, core, prefix, no_telemetry};
	bool huge = options->huge || (!options->no_huge && hugepages_free());
	int count = 5, cpu = choose_core(options->core, message);

	if (cpu < 0)
		return cpu;
	snprintf(core, sizeof(core), "%d", cpu);
	if (options->file_prefix != NULL)
		snprintf(prefix, sizeof(prefix), "--file-prefix=%s", options->file_prefix);
	else
		snprintf(prefix, sizeof(prefix), "--file-prefix=usher-load-%d", (int)getpid());
	if (huge) {
		args[count++] = single;
		args[count++] = in_memory;
	} else {
		args[count++] = no_huge;
		args[count++] = memory;
		args[count++] = memory_mb;
	}
	if (options->pci != NULL) {
		args[count++] = allow;
		args[count++] = (char *)(uintptr_t)options->pci;
	} else {
		args[count++] = no_pci;
	}
	if (!options->verbose)
		args[count++] = quiet;
	snprintf(more, sizeof(more), "%s", options->eal != NULL ? options->eal : "");
	for (char *word = strtok(more, " "); word != NULL && count < ARGS_MAX - 1;
		word = strtok(NULL, " "))
		args[count++] = word;
	/* Naps as short as asked for. */
	(void)prctl(PR_SET_TIMERSLACK, 1ul);
	if (rte_eal_init(count, args) >= 0)
		return 0;
	ush_message_set(message,
		"DPDK does not start: %s; --verbose shows why. Without hugepages try --no-huge",
		rte_strerror(rte_errno));
	return -USH_ESYSTEM;
}

/* ---- device -------------------------------------------------------------------------------- */

/* From --port or --vdev: the device's name and arguments. */
static int name_device(struct load_dpdk *dpdk, struct ush_message *message)
{
	const struct load_transport_options *options = dpdk->options;
	const char *path = options->port != NULL ? strchr(options->port, ':') : NULL;
	size_t kind_size = path != NULL ? (size_t)(path - options->port) : 0;
	const char *mac = options->mac != NULL ? options->mac : OUR_MAC;
	const char *comma;

	if (options->vdev != NULL) {
		comma = strchr(options->vdev, ',');
		snprintf(dpdk->device, sizeof(dpdk->device), "%.*s",
			comma != NULL ? (int)(comma - options->vdev) : 31, options->vdev);
		snprintf(dpdk->arguments, sizeof(dpdk->arguments), "%s",
			comma != NULL ? comma + 1 : "");
		return 0;
	}
	if (kind_size == 5 && memcmp(options->port, "vhost", 5) == 0) {
		snprintf(dpdk->device, sizeof(dpdk->device), "net_virtio_user0");
		snprintf(dpdk->arguments, sizeof(dpdk->arguments),
			"path=%s,queues=1,queue_size=%llu,mac=%s", path + 1,
			(unsigned long long)options->queue_size, mac);
	} else if (kind_size == 12 && memcmp(options->port, "vhost-server", 12) == 0) {
		snprintf(dpdk->device, sizeof(dpdk->device), "net_virtio_user0");
		snprintf(dpdk->arguments, sizeof(dpdk->arguments),
			"path=%s,queues=1,queue_size=%llu,mac=%s,server=1", path + 1,
			(unsigned long long)options->queue_size, mac);
	} else if (kind_size == 5 && memcmp(options->port, "memif", 5) == 0) {
		snprintf(dpdk->device, sizeof(dpdk->device), "net_memif0");
		snprintf(dpdk->arguments, sizeof(dpdk->arguments),
			"role=client,socket=%s,socket-abstract=no", path + 1);
	} else {
		ush_message_set(message,
			"--port %s: want vhost:SOCKET, vhost-server:SOCKET or memif:SOCKET",
			options->port);
		return -USH_EPARSE;
	}
	return 0;
}

/* Sets the port up with one queue each way and starts it. ret: 0 or a negative errno. */
static int start_port(struct load_dpdk *dpdk)
{
	const struct rte_eth_conf conf = {.rxmode = {.mq_mode = RTE_ETH_MQ_RX_NONE}};
	uint16_t rx = (uint16_t)dpdk->options->queue_size, tx = rx;
	struct rte_ether_addr mac;
	int result;

	result = rte_eth_dev_configure(dpdk->port, 1, 1, &conf);
	if (result == 0)
		result = rte_eth_dev_adjust_nb_rx_tx_desc(dpdk->port, &rx, &tx);
	if (result == 0)
		result = rte_eth_rx_queue_setup(dpdk->port, 0, rx,
			(unsigned int)rte_eth_dev_socket_id(dpdk->port), NULL, dpdk->pool);
	if (result == 0)
		result = rte_eth_tx_queue_setup(
			dpdk->port, 0, tx, (unsigned int)rte_eth_dev_socket_id(dpdk->port), NULL);
	if (result == 0)
		result = rte_eth_dev_start(dpdk->port);
	if (result != 0)
		return result;
	/* A device of one peer needs no filter, and may not have one. */
	(void)rte_eth_promiscuous_enable(dpdk->port);
	if (dpdk->options->mac == NULL) {
		result = rte_eth_macaddr_get(dpdk->port, &mac);
		memcpy(dpdk->frame.mac, mac.addr_bytes, 6);
	}
	load_frame_init(&dpdk->frame);
	return result;
}

/* Makes the device and starts it. ret: 0, or a negative errno when the other side is not there. */
static int attach(struct load_dpdk *dpdk)
{
	int result = 0;

	if (dpdk->options->pci == NULL)
		result = rte_eal_hotplug_add("vdev", dpdk->device, dpdk->arguments);
	if (result != 0)
		return result;
	result = dpdk->options->pci != NULL
			 ? rte_eth_dev_get_port_by_name(dpdk->options->pci, &dpdk->port)
			 : rte_eth_dev_get_port_by_name(dpdk->device, &dpdk->port);
	if (result == 0)
		result = start_port(dpdk);
	if (result != 0) {
		if (dpdk->options->pci == NULL)
			(void)rte_eal_hotplug_remove("vdev", dpdk->device);
		return result;
	}
	dpdk->attached = true;
	return 0;
}

static void drop_held(struct load_dpdk *dpdk)
{
	if (dpdk->held_count != 0)
		rte_pktmbuf_free_bulk(dpdk->held, dpdk->held_count);
	dpdk->held_count = 0;
}

static void detach(struct load_dpdk *dpdk)
{
	drop_held(dpdk);
	if (!dpdk->attached)
		return;
	dpdk->attached = false;
	(void)rte_eth_dev_stop(dpdk->port);
	(void)rte_eth_dev_close(dpdk->port);
	if (dpdk->options->pci == NULL)
		(void)rte_eal_hotplug_remove("vdev", dpdk->device);
}

static bool link_up(const struct load_dpdk *dpdk)
{
	struct rte_eth_link link;

	memset(&link, 0, sizeof(link));
	return dpdk->attached && rte_eth_link_get_nowait(dpdk->port, &link) == 0 &&
	       link.link_status == RTE_ETH_LINK_UP;
}

/* ---- packets ------------------------------------------------------------------------------- */

static void send_frame(struct load_dpdk *dpdk, const uint8_t *frame, uint32_t bytes)
{
	struct rte_mbuf *mbuf = rte_pktmbuf_alloc(dpdk->pool);
	char *to = mbuf != NULL ? rte_pktmbuf_append(mbuf, (uint16_t)bytes) : NULL;

	if (to != NULL)
		memcpy(to, frame, bytes);
	if (mbuf != NULL && (to == NULL || rte_eth_tx_burst(dpdk->port, 0, &mbuf, 1) == 0))
		rte_pktmbuf_free(mbuf);
}

static uint32_t dpdk_send(
	struct load_transport *transport, const struct load_packet *packets, uint32_t count)
{
	struct load_dpdk *dpdk = (struct load_dpdk *)transport;
	struct rte_mbuf *mbufs[LOAD_BURST];
	uint16_t sent;

	if (ush_unlikely(!dpdk->attached) || rte_pktmbuf_alloc_bulk(dpdk->pool, mbufs, count) != 0)
		return 0;
	/* A request and its headers are two lines; the other side has read them last. */
	for (uint32_t i = 0; i < count; i++) {
		USH_PREFETCH_WRITE(rte_pktmbuf_mtod(mbufs[i], uint8_t *));
		USH_PREFETCH_WRITE(rte_pktmbuf_mtod_offset(mbufs[i], uint8_t *, USH_CACHE_LINE));
	}
	for (uint32_t i = 0; i < count; i++) {
		uint32_t bytes = load_frame_build(
			&dpdk->frame, &packets[i], rte_pktmbuf_mtod(mbufs[i], uint8_t *));

		mbufs[i]->data_len = (uint16_t)bytes;
		mbufs[i]->pkt_len = bytes;
	}
	sent = rte_eth_tx_burst(dpdk->port, 0, mbufs, (uint16_t)count);
	if (ush_unlikely(sent < count))
		rte_pktmbuf_free_bulk(&mbufs[sent], count - sent);
	transport->sent_packets += sent;
	return sent;
}

/* ARP or a neighbour message: learn from it, or answer it. */
static void take_neighbour(struct load_dpdk *dpdk, const uint8_t *data, uint32_t bytes)
{
	uint8_t out[128], mac[6];
	uint32_t answer_bytes;

	if (dpdk->options->peer_mac == NULL &&
		load_neighbour_learn(&dpdk->frame, data, bytes, mac)) {
		memcpy(dpdk->frame.peer_mac, mac, 6);
		dpdk->peer_known = true;
		load_frame_init(&dpdk->frame);
		return;
	}
	answer_bytes = load_neighbour_answer(&dpdk->frame, data, bytes, out);
	if (answer_bytes != 0)
		send_frame(dpdk, out, answer_bytes);
}

/* ret: true when the device, or its peer on this host, vouches for the checksums. */
static bool trusted(const struct rte_mbuf *mbuf)
{
	uint64_t flags = mbuf->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK;

	return flags == RTE_MBUF_F_RX_L4_CKSUM_GOOD || flags == RTE_MBUF_F_RX_L4_CKSUM_NONE;
}

static uint32_t dpdk_receive(struct load_transport *transport, struct load_received *received)
{
	struct load_dpdk *dpdk = (struct load_dpdk *)transport;
	uint32_t count = 0;

	drop_held(dpdk);
	if (ush_unlikely(!dpdk->attached))
		return 0;
	dpdk->held_count = rte_eth_rx_burst(dpdk->port, 0, dpdk->held, LOAD_BURST);
	for (uint16_t i = 0; i < dpdk->held_count; i++) {
		USH_PREFETCH(rte_pktmbuf_mtod(dpdk->held[i], uint8_t *));
		USH_PREFETCH(rte_pktmbuf_mtod_offset(dpdk->held[i], uint8_t *, USH_CACHE_LINE));
	}
	for (uint16_t i = 0; i < dpdk->held_count; i++) {
		struct rte_mbuf *mbuf = dpdk->held[i];
		const uint8_t *data = rte_pktmbuf_mtod(mbuf, const uint8_t *);

		/* One segment holds 2,048 bytes: a chain is no frame of ours. */
		switch (mbuf->nb_segs == 1 ? load_frame_read(&dpdk->frame, data, mbuf->data_len,
						     trusted(mbuf), &received[count])
					   : LOAD_FRAME_STRAY) {
		case LOAD_FRAME_REPLY:
			count++;
			break;
		case LOAD_FRAME_NEIGHBOUR:
			take_neighbour(dpdk, data, mbuf->data_len);
			break;
		case LOAD_FRAME_BAD:
			transport->bad_packets++;
			break;
		case LOAD_FRAME_STRAY:
		default:
			transport->stray_packets++;
			break;
		}
	}
	if (dpdk->held_count != 0)
		dpdk->idle_turns = dpdk->idle_yields = 0;
	transport->received_packets += count;
	return count;
}

/* Does not sleep while answers come, since waking costs some microseconds; but with nothing to do
 * the core is offered to others that share it, above all when the appliance does. */
static void dpdk_wait(struct load_transport *transport, uint64_t ns)
{
	struct load_dpdk *dpdk = (struct load_dpdk *)transport;
	const struct timespec nap = {.tv_nsec = NAP_NS};

	if (++dpdk->idle_turns < IDLE_TURNS) {
		__builtin_ia32_pause();
		return;
	}
	dpdk->idle_turns = 0;
	if (++dpdk->idle_yields < IDLE_YIELDS || ns < NAP_NS)
		sched_yield();
	else
		nanosleep(&nap, NULL);
}

/* ---- coming and going ---------------------------------------------------------------------- */

static void ask_peer(struct load_dpdk *dpdk)
{
	uint8_t out[128];

	if (dpdk->options->peer_mac == NULL)
		send_frame(dpdk, out, load_neighbour_ask(&dpdk->frame, out));
}

static void dpdk_tend(struct load_transport *transport, uint64_t now_ns)
{
	struct load_dpdk *dpdk = (struct load_dpdk *)transport;
	bool was_up = transport->up;

	(void)now_ns;
	transport->up = link_up(dpdk);
	if (transport->up) {
		if (!was_up)
			ask_peer(dpdk);
		return;
	}
	transport->outages += was_up;
	/* A device that listens or is hardware comes back by itself; one that connected to a
	 * socket is made anew, as often as it takes for somebody to hold that socket. */
	if (dpdk->options->port != NULL && strncmp(dpdk->options->port, "vhost:", 6) == 0) {
		detach(dpdk);
		if (attach(dpdk) == 0)
			transport->up = link_up(dpdk);
		if (transport->up)
			ask_peer(dpdk);
	}
}

static void dpdk_close(struct load_transport *transport)
{
	struct load_dpdk *dpdk = (struct load_dpdk *)transport;

	/* virtio_user as a server leaves a dead descriptor in EAL's interrupt thread when its peer
	 * went away, and closing the device then aborts (22.11.11). The process ends anyway. */
	if (transport->outages != 0 && strstr(dpdk->arguments, "server=1") != NULL)
		return;
	detach(dpdk);
	(void)rte_eal_cleanup();
}

/* Waits until the device is there, its link is up and the peer's MAC is known. */
static int meet_peer(struct load_dpdk *dpdk, struct ush_message *message)
{
	struct load_received ignored[LOAD_BURST];
	uint64_t begin = load_clock_ns(), asked = 0, tried = 0, now = begin;
	int result = -ENOENT;

	for (; now - begin <= dpdk->options->wait_ns && !load_stopped(); now = load_clock_ns()) {
		const struct timespec pause = {.tv_nsec = 1000000};

		if (!dpdk->attached && now - tried > TRY_NS) {
			result = attach(dpdk);
			tried = now;
		}
		if (dpdk->attached && link_up(dpdk)) {
			dpdk->base.up = true;
			if (dpdk->peer_known)
				return 0;
			if (now - asked > TRY_NS) {
				ask_peer(dpdk);
				asked = now;
			}
			(void)dpdk_receive(&dpdk->base, ignored);
		}
		nanosleep(&pause, NULL);
	}
	if (!dpdk->attached)
		ush_message_set(message,
			"device %s,%s: %s; is usherd running with this socket? --verbose shows more",
			dpdk->device, dpdk->arguments,
			result == -EPERM ? "nobody holds the socket" : strerror(-result));
	else if (!dpdk->base.up)
		ush_message_set(
			message, "device %s: nobody is at the other end (link down)", dpdk->device);
	else
		ush_message_set(message,
			"nobody answers for --to %s; is it the appliance's address? (--peer-mac skips "
			"the question)",
			dpdk->options->to != NULL ? dpdk->options->to : "10.77.0.1:7447");
	return -USH_ENOENT;
}

int load_dpdk_open(struct load_transport **transport, const struct load_transport_options *options,
	struct ush_message *message)
{
	struct load_dpdk *dpdk = &the_dpdk;
	int error;

	dpdk->options = options;
	dpdk->peer_known = options->peer_mac != NULL;
	dpdk->base = (struct load_transport){.send = dpdk_send,
		.receive = dpdk_receive,
		.wait = dpdk_wait,
		.tend = dpdk_tend,
		.close = dpdk_close,
		.frames = true};
	error = load_frame_addresses(&dpdk->frame, options, message);
	if (error == 0 && options->pci == NULL)
		error = name_device(dpdk, message);
	if (error == 0)
		error = start_eal(options, message);
	if (error != 0)
		return error;
	dpdk->pool = rte_pktmbuf_pool_create(
		"usher-load", MBUF_COUNT, MBUF_CACHE, 0, MBUF_BYTES, (int)rte_socket_id());
	if (dpdk->pool == NULL) {
		ush_message_set(message, "no memory for %u packets: %s", MBUF_COUNT,
			rte_strerror(rte_errno));
		error = -USH_ENOMEM;
	}
	if (error == 0)
		error = meet_peer(dpdk, message);
	if (error != 0) {
		dpdk_close(&dpdk->base);
		return error;
	}
	*transport = &dpdk->base;
	return 0;
}
