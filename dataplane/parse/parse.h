/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames in, requests out: Ethernet, ARP, IPv4, IPv6, ICMP, UDP, and the way back.
 *
 * Owns:  nothing; the addresses are set once before the loops start.
 * Reads: struct ush_net.
 * Never: I/O, clocks, state that one packet leaves for the next.
 */
#ifndef USH_PARSE_H
#define USH_PARSE_H

#include "base/base.h"
#include "base/packet.h"

/* How UDP and ICMP checksums of received packets are treated. */
enum ush_checksum_rx {
	/* Verify in software unless the device vouched for it. */
	USH_CHECKSUM_RX_VERIFY = 0,
	/* As VERIFY, but also accept the kernel's unfinished checksum (the bare pseudo-header
	 * sum) that a local sender leaves on veth; for test benches on one host only. */
	USH_CHECKSUM_RX_PARTIAL = 1,
	/* Trust the wire. */
	USH_CHECKSUM_RX_OFF = 2,
};

/* The addresses of one port. Read-only once the loops run. */
struct ush_net {
	uint8_t mac[6];
	bool has_ipv4;
	bool has_ipv6;
	/* Network byte order. */
	uint32_t ipv4_be;
	uint16_t udp_port_be;
	uint8_t checksum_rx;
	/* The device fills in the UDP and IPv4 checksums of what we send. */
	bool checksum_tx_offload;
	uint8_t ipv6[16];
	/* fe80::/64 address made from the MAC (RFC 4291 appendix A). */
	uint8_t ipv6_link[16];
};

enum ush_parse_verdict {
	/* A UDP datagram for us: payload_at and family are set, *payload_bytes is its length. */
	USH_PARSE_REQUEST,
	/* ARP, neighbour or echo: the frame now holds the answer; *detail is enum ush_answer. */
	USH_PARSE_ANSWERED,
	/* Not for us or not well-formed; *detail is enum ush_drop. */
	USH_PARSE_DROPPED,
};

/* Sets the link-local address from the MAC. */
void ush_net_link_address(struct ush_net *net);

/*
 * Decides what one received frame is. Reads no byte beyond packet->size.
 * in/out: packet: on REQUEST payload_at and family are set; on ANSWERED the frame is rewritten in
 *         place and size set.
 * out:    payload_bytes: UDP payload length (REQUEST only). detail: reason (see the verdicts).
 * by:     the loop that received it. cost: O(1) for UDP, O(size) when a checksum is verified.
 */
enum ush_parse_verdict ush_parse_frame(const struct ush_net *net, struct ush_packet *packet,
	uint32_t *payload_bytes, uint32_t *detail);

/* ret: `sum` and the ones' complement sum of `size` bytes in memory order, not folded. Parts of a
 * payload may be summed one by one if each but the last has an even size. */
uint64_t ush_parse_sum(uint64_t sum, const uint8_t *data, uint32_t size);

/*
 * Turns the request's frame in place into the frame of its reply, whose `payload_bytes` bytes
 * already stand at payload_at: swaps addresses and ports, sets lengths and checksums, sets
 * packet->size. The payload must fit packet->capacity (asserted).
 * in: payload_sum: ush_parse_sum(0, payload, payload_bytes); whoever wrote the payload has it in
 *     registers.
 * by: the loop that received it. cost: O(1).
 */
void ush_parse_reply(const struct ush_net *net, struct ush_packet *packet, uint32_t payload_bytes,
	uint64_t payload_sum);

#endif /* USH_PARSE_H */
