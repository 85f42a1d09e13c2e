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

#include <string.h>

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

/* Adds a word in memory order, with the carry that comes out at the top going in at the bottom:
 * ush_parse_sum_end makes the sum of words one that others can be added to. */
USH_INLINE uint64_t ush_parse_sum_word(uint64_t sum, uint64_t word)
{
#if defined(__x86_64__)
	/* Compilers make five instructions of these two. */
	__asm__("addq %1, %0\n\tadcq $0, %0" : "+r"(sum) : "r"(word) : "cc");
	return sum;
#else
	sum += word;
	return sum + (sum < word);
#endif
}

USH_INLINE uint64_t ush_parse_sum_end(uint64_t sum)
{
	return (sum & 0xffffffff) + (sum >> 32);
}

/* ret: the 16-bit ones' complement sum: half turned upon half, the upper one has the carry. */
USH_INLINE uint16_t ush_parse_sum_fold(uint64_t sum)
{
	uint32_t half;

	sum += sum << 32 | sum >> 32;
	half = (uint32_t)(sum >> 32);
	half += half << 16 | half >> 16;
	return (uint16_t)(half >> 16);
}

/* ret: `sum` and the ones' complement sum of `size` bytes in memory order, not folded. Parts of a
 * payload may be summed one by one if each but the last has an even size. */
uint64_t ush_parse_sum(uint64_t sum, const uint8_t *data, uint32_t size);

enum {
	USH_ETHER_BYTES = 14,
	USH_IPV4_BYTES = 20,
	USH_IPV6_BYTES = 40,
	USH_UDP_BYTES = 8,
	USH_UDP_PROTOCOL = 17,
	USH_REPLY_TTL = 64,
};

USH_INLINE uint64_t ush_parse_load64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

USH_INLINE uint32_t ush_parse_load32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

USH_INLINE uint16_t ush_parse_load16(const uint8_t *p)
{
	uint16_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

/* ret: the checksum field of a UDP header. in: sum: of all else. */
USH_INLINE uint32_t ush_parse_udp_checksum(uint64_t sum)
{
	uint32_t checksum = (uint16_t)~ush_parse_sum_fold(sum);

	/* Zero would mean none; its other form means the same sum (RFC 768). */
	return checksum == 0 ? 0xffff : checksum;
}

/* The part of ush_parse_reply for IPv6. */
void ush_parse_reply_ipv6(const struct ush_net *net, const uint8_t *request, uint8_t *to,
	uint32_t payload_bytes, uint64_t payload_sum);

/*
 * The part of ush_parse_reply for IPv4. From values, not from memory: bytes that were just stored
 * in smaller pieces cannot be loaded back at once, and a checksum over them would wait for the
 * store buffer. Little-endian, as all of this project.
 */
USH_INLINE void ush_parse_reply_ipv4(const struct ush_net *net, const uint8_t *request, uint8_t *to,
	uint32_t payload_bytes, uint64_t payload_sum)
{
	uint32_t l4_bytes = USH_UDP_BYTES + payload_bytes;
	uint64_t client_mac = ush_parse_load64(request + 6) & 0xffffffffffff;
	/* Source and destination of the request. */
	uint64_t addresses = ush_parse_load64(request + USH_ETHER_BYTES + 12);
	uint64_t sum = (addresses & 0xffffffff) + (addresses >> 32);
	uint32_t client_port_be = ush_parse_load16(request + USH_ETHER_BYTES + USH_IPV4_BYTES);
	uint32_t l4_be = __builtin_bswap16((uint16_t)l4_bytes);
	uint32_t total_be = __builtin_bswap16((uint16_t)(USH_IPV4_BYTES + l4_bytes));
	uint32_t ports = net->udp_port_be | client_port_be << 16;
	/* Type IPv4; version 4, 5 words; no DSCP. */
	uint64_t head = ush_parse_load32(net->mac + 2) | 0x0045000800000000;
	/* Length; id 0 with DF (RFC 6864); TTL, UDP. */
	uint64_t middle = total_be | 0x00400000ull << 16 | (uint64_t)USH_REPLY_TTL << 48 |
			  (uint64_t)USH_UDP_PROTOCOL << 56;
	uint16_t ip_checksum = 0;
	uint32_t checksum;

	client_mac |= (uint64_t)ush_parse_load16(net->mac) << 48;
	addresses = addresses << 32 | addresses >> 32;
	if (!net->checksum_tx_offload)
		ip_checksum = (uint16_t)~ush_parse_sum_fold(
			sum + total_be + (0x45 + 0x40 + USH_REPLY_TTL + (USH_UDP_PROTOCOL << 8)));
	sum += ((uint32_t)USH_UDP_PROTOCOL << 8) + l4_be;
	/* The device adds the rest and inverts. */
	checksum = net->checksum_tx_offload
			   ? ush_parse_sum_fold(sum)
			   : ush_parse_udp_checksum(sum + ports + l4_be + payload_sum);
	memcpy(to, &client_mac, 8);
	memcpy(to + 8, &head, 8);
	memcpy(to + 16, &middle, 8);
	memcpy(to + 24, &ip_checksum, 2);
	memcpy(to + 26, &addresses, 8);
	l4_be |= checksum << 16;
	memcpy(to + 34, &ports, 4);
	memcpy(to + 38, &l4_be, 4);
}

/*
 * Writes the headers of a reply whose `payload_bytes` bytes already stand at payload_at: addresses
 * and ports of the request's frame the other way round, lengths and checksums; sets packet->size.
 * The payload must fit packet->capacity (asserted).
 * in: request: the request's frame; may be packet->data: it is turned in place then.
 *     payload_sum: ush_parse_sum(0, payload, payload_bytes); whoever wrote the payload has it in
 *     registers.
 * by: the loop that received it. cost: O(1).
 */
USH_INLINE void ush_parse_reply(const struct ush_net *net, const uint8_t *request,
	struct ush_packet *packet, uint32_t payload_bytes, uint64_t payload_sum)
{
	uint32_t size = packet->payload_at + payload_bytes;

	USH_ASSERT(payload_bytes <= UINT16_MAX);
	USH_ASSERT(size <= packet->capacity);
	USH_ASSERT(size <= UINT16_MAX);
	if (ush_likely(packet->family == 4)) {
		USH_ASSERT(packet->payload_at == USH_ETHER_BYTES + USH_IPV4_BYTES + USH_UDP_BYTES);
		ush_parse_reply_ipv4(net, request, packet->data, payload_bytes, payload_sum);
	} else {
		USH_ASSERT(packet->payload_at == USH_ETHER_BYTES + USH_IPV6_BYTES + USH_UDP_BYTES);
		ush_parse_reply_ipv6(net, request, packet->data, payload_bytes, payload_sum);
	}
	packet->size = size;
}

#endif /* USH_PARSE_H */
