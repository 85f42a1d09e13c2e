/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How `usher load` sends requests and receives replies: UDP sockets, a DPDK port, or a pcap file.
 *
 * Owns:  the table of operations every transport fills in.
 * Reads: the options of the transports.
 * Never: what a request means.
 */
#ifndef USH_LOAD_TRANSPORT_H
#define USH_LOAD_TRANSPORT_H

#include "base/base.h"

/* Packets handed over or taken at once. */
#define LOAD_BURST 64u
/* Room for any payload we send: the largest that fits an MTU of 1,500 under IPv4. */
#define LOAD_PAYLOAD_MAX 1472u

/* What a transport that builds its own frames breaks in a packet's headers. */
enum load_frame_fault {
	LOAD_FRAME_GOOD = 0,
	LOAD_FRAME_UDP_CHECKSUM,
	LOAD_FRAME_IP_CHECKSUM,
	LOAD_FRAME_FRAGMENT,
	LOAD_FRAME_OPTIONS,
	LOAD_FRAME_UDP_LENGTH,
	LOAD_FRAME_UDP_PORT,
	LOAD_FRAME_ETHER_TYPE,
	LOAD_FRAME_CUT,
	LOAD_FRAME_FAULT_COUNT,
};

/* One datagram to send: two pieces, so that a request and its extensions need not be copied. */
struct load_packet {
	const void *head;
	const void *tail;
	uint16_t head_bytes;
	uint16_t tail_bytes;
	/* Which source port to use, modulo the number of flows. */
	uint16_t flow;
	/* enum load_frame_fault; UDP sockets can only send LOAD_FRAME_GOOD. */
	uint16_t fault;
	/* For files: when it is meant to leave. */
	uint64_t time_ns;
};

/* One datagram received; the memory stays valid until the next call of receive. */
struct load_received {
	const void *payload;
	uint32_t bytes;
};

struct load_transport {
	/* ret: how many of `packets` were taken (copied), 0 to count. */
	uint32_t (*send)(struct load_transport *transport, const struct load_packet *packets,
		uint32_t count);
	/* ret: 0 to LOAD_BURST datagrams from the target's address. */
	uint32_t (*receive)(struct load_transport *transport, struct load_received *received);
	/* May sleep up to `ns`, but not past the next datagram. */
	void (*wait)(struct load_transport *transport, uint64_t ns);
	/* About every 100 ms: finds out whether the other side is there, comes back to it. */
	void (*tend)(struct load_transport *transport, uint64_t now_ns);
	void (*close)(struct load_transport *transport);
	/* It builds frames, so it can send broken ones. */
	bool frames;
	/* Nobody ever answers. */
	bool mute;
	/* The other side is attached, as far as can be known. */
	bool up;
	/* How often it went away. */
	uint64_t outages;
	uint64_t sent_packets;
	uint64_t received_packets;
	/* Frames received that were no reply for us, or whose checksum was wrong. */
	uint64_t stray_packets;
	uint64_t bad_packets;
};

/* An address and a port, with its text. */
struct load_address {
	uint8_t family; /* 4 or 6 */
	uint8_t ip[16]; /* network order; IPv4 in the first four */
	uint16_t port;
};

/* in: "10.77.0.1:7447", "[fd77::1]:7447", a port may be left out. err: -USH_EPARSE, message. */
int load_address_parse(struct load_address *address, const char *text, uint16_t port_default,
	struct ush_message *message);

/* What the transports need to know. */
struct load_transport_options {
	const char *udp;
	const char *port;
	const char *vdev;
	const char *pci;
	const char *eal;
	const char *file_prefix;
	const char *to;
	const char *ip;
	const char *mac;
	const char *peer_mac;
	const char *pcap;
	/* UINT64_MAX: the last CPU we may run on. */
	uint64_t core;
	uint64_t flows;
	uint64_t source_port;
	uint64_t queue_size;
	uint64_t wait_ns;
	bool no_huge;
	bool huge;
	bool no_checksum;
	bool verbose;
};

/* Each: ret: 0 and *transport; err: negative USH_E code with a message. by: the main thread. */
int load_udp_open(struct load_transport **transport, const struct load_transport_options *options,
	struct ush_message *message);
int load_dpdk_open(struct load_transport **transport, const struct load_transport_options *options,
	struct ush_message *message);
int load_pcap_open(struct load_transport **transport, const struct load_transport_options *options,
	struct ush_message *message);

/* ret: CLOCK_MONOTONIC in nanoseconds. */
uint64_t load_clock_ns(void);

/* Set by SIGINT and SIGTERM; waits end early. */
bool load_stopped(void);

#endif /* USH_LOAD_TRANSPORT_H */
