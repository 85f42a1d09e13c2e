/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A frame is judged from the outside in; the first rule that matches decides, and every frame gets
 * exactly one verdict:
 *
 *   1. Ethernet: 14 bytes; type ARP, IPv4 or IPv6 (a VLAN tag is another type); our MAC, or the
 *      broadcast or multicast address that the protocol above needs; a unicast sender, not us.
 *   2. ARP: a request for our IPv4 address is answered in place.
 *   3. IP: version, header length, lengths, IPv4 checksum, no options, no fragments, an address of
 *      ours, a source that can be answered. Bytes after the IP packet are Ethernet padding.
 *   4. ICMP: echo requests and solicitations for us are answered in place.
 *   5. UDP: length exactly that of the IP payload, our port, checksum.
 *
 * Fields are read and written through memcpy, for frames stand at any address. Checksums are summed
 * in memory order: the ones' complement sum does not care (RFC 1071 section 2 B).
 */
#include "parse/parse.h"

#include <string.h>

#include "wire/wire.h"

enum {
	ETHER_BYTES = USH_ETHER_BYTES,
	/* Shortest frame without its check sequence (IEEE 802.3 clause 3.2.8). */
	ETHER_BYTES_MIN = 60,
	ARP_BYTES = 28,
	IPV4_BYTES = USH_IPV4_BYTES,
	IPV6_BYTES = USH_IPV6_BYTES,
	ICMP_BYTES = 8,
	UDP_BYTES = USH_UDP_BYTES,
	/* Solicitation without options, advertisement with our link-layer address. */
	SOLICITATION_BYTES = 24,
	ADVERTISEMENT_BYTES = 32,
	/* Options of a solicitation that are looked at; honest ones carry one or two. guess. */
	SOLICITATION_OPTIONS_MAX = 8,

	TYPE_IPV4 = 0x0800,
	TYPE_ARP = 0x0806,
	TYPE_IPV6 = 0x86dd,

	PROTOCOL_HOP_BY_HOP = 0,
	PROTOCOL_ICMP = 1,
	PROTOCOL_UDP = USH_UDP_PROTOCOL,
	PROTOCOL_ROUTING = 43,
	PROTOCOL_FRAGMENT = 44,
	PROTOCOL_ESP = 50,
	PROTOCOL_AH = 51,
	PROTOCOL_ICMP6 = 58,
	PROTOCOL_DESTINATION = 60,
	PROTOCOL_MOBILITY = 135,
	PROTOCOL_HIP = 139,
	PROTOCOL_SHIM6 = 140,
	PROTOCOL_TEST_1 = 253,
	PROTOCOL_TEST_2 = 254,

	ICMP_ECHO_REPLY = 0,
	ICMP_ECHO_REQUEST = 8,
	ICMP6_ECHO_REQUEST = 128,
	ICMP6_ECHO_REPLY = 129,
	ICMP6_SOLICITATION = 135,
	ICMP6_ADVERTISEMENT = 136,

	REPLY_TTL = USH_REPLY_TTL,
	NEIGHBOUR_HOP_LIMIT = 255,
};

static const uint8_t ether_broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
static const uint8_t ether_all_nodes[6] = {0x33, 0x33, 0, 0, 0, 1};
static const uint8_t ipv6_all_nodes[16] = {0xff, 0x02, [15] = 1};
static const uint8_t ipv6_unspecified[16];
static const uint8_t ipv6_loopback[16] = {[15] = 1};

USH_INLINE uint16_t load16(const uint8_t *p)
{
	uint16_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

USH_INLINE uint32_t load32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

USH_INLINE void store16(uint8_t *p, uint16_t v)
{
	memcpy(p, &v, sizeof(v));
}

USH_INLINE void store32(uint8_t *p, uint32_t v)
{
	memcpy(p, &v, sizeof(v));
}

/* Between network and host order, either way. */
USH_INLINE uint16_t swap16(uint16_t v)
{
	return __builtin_bswap16(v);
}

USH_INLINE bool mac_equal(const uint8_t *a, const uint8_t *b)
{
	return ((load32(a) ^ load32(b)) | (uint32_t)(load16(a + 4) ^ load16(b + 4))) == 0;
}

USH_INLINE bool ipv6_equal(const uint8_t *a, const uint8_t *b)
{
	uint64_t x[2], y[2];

	memcpy(x, a, sizeof(x));
	memcpy(y, b, sizeof(y));
	return ((x[0] ^ y[0]) | (x[1] ^ y[1])) == 0;
}

/* Adds `size` bytes to a ones' complement sum below 2^63. ret: below 2^34 more. */
USH_INLINE uint64_t sum_bytes(uint64_t sum, const uint8_t *data, uint32_t size)
{
	uint64_t words = 0, word;
	uint16_t last = 0;

	for (; size >= 8; size -= 8, data += 8) {
		memcpy(&word, data, 8);
		words = ush_parse_sum_word(words, word);
	}
	sum += ush_parse_sum_end(words);
	if (size >= 4) {
		sum += load32(data);
		size -= 4;
		data += 4;
	}
	if (size >= 2) {
		sum += load16(data);
		size -= 2;
		data += 2;
	}
	if (size != 0) {
		memcpy(&last, data, 1);
		sum += last;
	}
	return sum;
}

USH_INLINE uint16_t sum_fold(uint64_t sum)
{
	return ush_parse_sum_fold(sum);
}

/* The checksum field for a sum over everything else. */
USH_INLINE uint16_t sum_finish(uint64_t sum)
{
	return (uint16_t)~sum_fold(sum);
}

/* Sum of the 20-byte IPv4 header. */
USH_INLINE uint64_t sum_ipv4_header(const uint8_t *ip)
{
	return (uint64_t)load32(ip) + load32(ip + 4) + load32(ip + 8) + load32(ip + 12) +
	       load32(ip + 16);
}

/* Pseudo-header sums (RFC 768, RFC 8200 section 8.1): addresses, protocol, length. */
USH_INLINE uint64_t sum_pseudo_ipv4(const uint8_t *ip, uint8_t protocol, uint32_t l4_bytes)
{
	return (uint64_t)load32(ip + 12) + load32(ip + 16) + swap16(protocol) +
	       swap16((uint16_t)l4_bytes);
}

USH_INLINE uint64_t sum_pseudo_ipv6(const uint8_t *ip, uint8_t protocol, uint32_t l4_bytes)
{
	return sum_bytes(0, ip + 8, 32) + swap16(protocol) + swap16((uint16_t)l4_bytes);
}

USH_INLINE enum ush_parse_verdict drop(uint32_t *detail, enum ush_drop reason)
{
	*detail = reason;
	return USH_PARSE_DROPPED;
}

/* Ends an answer: `size` bytes stand in the frame; short ones are padded, so that no device has to
 * and no byte of an earlier frame leaves with it. */
static enum ush_parse_verdict answer(
	struct ush_packet *packet, uint32_t size, uint32_t *detail, enum ush_answer what)
{
	if (size < ETHER_BYTES_MIN && packet->capacity >= ETHER_BYTES_MIN) {
		memset(packet->data + size, 0, ETHER_BYTES_MIN - size);
		size = ETHER_BYTES_MIN;
	}
	packet->size = size;
	*detail = what;
	return USH_PARSE_ANSWERED;
}

/* Addresses the frame back to `to`. */
USH_INLINE void ether_turn(uint8_t *frame, const struct ush_net *net, const uint8_t *to)
{
	memmove(frame, to, 6);
	memcpy(frame + 6, net->mac, 6);
}

/* ret: true if nobody can be answered at this IPv4 address: 0/8, 127/8, 224/4 and up. */
USH_INLINE bool ipv4_source_bad(const struct ush_net *net, const uint8_t *address)
{
	return address[0] == 0 || address[0] == 127 || address[0] >= 224 ||
	       load32(address) == net->ipv4_be;
}

/* ARP (RFC 826). A sender address of 0.0.0.0 is a probe and is answered (RFC 5227). */
static enum ush_parse_verdict parse_arp(
	const struct ush_net *net, struct ush_packet *packet, uint32_t *detail)
{
	static const uint8_t request_head[8] = {0, 1, 0x08, 0x00, 6, 4, 0, 1};
	uint8_t *frame = packet->data;
	uint8_t *arp = frame + ETHER_BYTES;

	if (packet->size < ETHER_BYTES + ARP_BYTES)
		return drop(detail, USH_DROP_FRAME_SHORT);
	if (!mac_equal(frame, net->mac) && !mac_equal(frame, ether_broadcast))
		return drop(detail, USH_DROP_NOT_OURS);
	if (memcmp(arp, request_head, sizeof(request_head)) != 0 || !net->has_ipv4 ||
		load32(arp + 24) != net->ipv4_be)
		return drop(detail, USH_DROP_ARP_OTHER);
	if ((arp[8] & 1) != 0 || mac_equal(arp + 8, net->mac) ||
		(load32(arp + 14) != 0 && ipv4_source_bad(net, arp + 14)))
		return drop(detail, USH_DROP_IP_SOURCE);

	memcpy(arp + 18, arp + 8, 10);
	memcpy(arp + 8, net->mac, 6);
	store32(arp + 14, net->ipv4_be);
	arp[7] = 2;
	ether_turn(frame, net, arp + 18);
	return answer(packet, ETHER_BYTES + ARP_BYTES, detail, USH_ANSWER_ARP);
}

/* Writes an IPv4 header without checksum: no DSCP, id 0 with DF (RFC 6864), TTL 64. The addresses
 * change places: we answer from where we were asked. */
USH_INLINE void ipv4_turn(uint8_t *ip, uint8_t protocol, uint32_t l4_bytes)
{
	uint32_t client_be = load32(ip + 12);

	ip[0] = 0x45;
	ip[1] = 0;
	store16(ip + 2, swap16((uint16_t)(IPV4_BYTES + l4_bytes)));
	store16(ip + 4, 0);
	ip[6] = 0x40;
	ip[7] = 0;
	ip[8] = REPLY_TTL;
	ip[9] = protocol;
	store16(ip + 10, 0);
	memcpy(ip + 12, ip + 16, 4);
	store32(ip + 16, client_be);
}

/* As ipv4_turn: no traffic class, no flow label. */
USH_INLINE void ipv6_turn(uint8_t *ip, uint8_t protocol, uint32_t l4_bytes)
{
	uint8_t client[16];

	memcpy(client, ip + 8, 16);
	memset(ip, 0, 4);
	ip[0] = 0x60;
	store16(ip + 4, swap16((uint16_t)l4_bytes));
	ip[6] = protocol;
	ip[7] = REPLY_TTL;
	memcpy(ip + 8, ip + 24, 16);
	memcpy(ip + 24, client, 16);
}

static enum ush_parse_verdict parse_icmp4(
	const struct ush_net *net, struct ush_packet *packet, uint32_t l4_bytes, uint32_t *detail)
{
	uint8_t *ip = packet->data + ETHER_BYTES;
	uint8_t *icmp = ip + IPV4_BYTES;

	if (l4_bytes < ICMP_BYTES)
		return drop(detail, USH_DROP_ICMP_OTHER);
	if (net->checksum_rx != USH_CHECKSUM_RX_OFF &&
		sum_fold(sum_bytes(0, icmp, l4_bytes)) != 0xffff)
		return drop(detail, USH_DROP_ICMP_CHECKSUM);
	if (icmp[0] != ICMP_ECHO_REQUEST || icmp[1] != 0)
		return drop(detail, USH_DROP_ICMP_OTHER);

	/* Devices vouch for UDP only: these few are summed in software, both ways. */
	icmp[0] = ICMP_ECHO_REPLY;
	store16(icmp + 2, 0);
	store16(icmp + 2, sum_finish(sum_bytes(0, icmp, l4_bytes)));
	ipv4_turn(ip, PROTOCOL_ICMP, l4_bytes);
	store16(ip + 10, sum_finish(sum_ipv4_header(ip)));
	ether_turn(packet->data, net, packet->data + 6);
	return answer(packet, ETHER_BYTES + IPV4_BYTES + l4_bytes, detail, USH_ANSWER_ECHO);
}

/*
 * The options of a solicitation: type, length in units of 8 bytes, body.
 * out: *source: the sender's link-layer address, or NULL. ret: false if they are malformed.
 */
static bool solicitation_options(const uint8_t *option, uint32_t bytes, const uint8_t **source)
{
	uint32_t count;

	*source = NULL;
	for (count = 0; bytes != 0; count++) {
		uint32_t size;

		if (count == SOLICITATION_OPTIONS_MAX || bytes < 8)
			return false;
		size = option[1] * 8u;
		if (size == 0 || size > bytes)
			return false;
		if (option[0] == 1) {
			if (size != 8 || (option[2] & 1) != 0)
				return false;
			*source = option + 2;
		}
		option += size;
		bytes -= size;
	}
	return true;
}

/* Neighbour solicitation, checked as RFC 4861 section 7.1.1 and answered as 7.2.4 say. */
static enum ush_parse_verdict parse_solicitation(
	const struct ush_net *net, struct ush_packet *packet, uint32_t l4_bytes, uint32_t *detail)
{
	uint8_t *ip = packet->data + ETHER_BYTES;
	uint8_t *icmp = ip + IPV6_BYTES;
	bool probe = ipv6_equal(ip + 8, ipv6_unspecified);
	const uint8_t *link = NULL;
	uint8_t to[6];

	if (ip[7] != NEIGHBOUR_HOP_LIMIT || l4_bytes < SOLICITATION_BYTES ||
		packet->capacity < ETHER_BYTES + IPV6_BYTES + ADVERTISEMENT_BYTES)
		return drop(detail, USH_DROP_ICMP_OTHER);
	if (!ipv6_equal(icmp + 8, net->ipv6) && !ipv6_equal(icmp + 8, net->ipv6_link))
		return drop(detail, USH_DROP_ICMP_OTHER);
	if (!solicitation_options(icmp + SOLICITATION_BYTES, l4_bytes - SOLICITATION_BYTES, &link))
		return drop(detail, USH_DROP_ICMP_OTHER);
	/* Someone checks whether the address is free: to a multicast address, giving no own. */
	if (probe && (ip[24] != 0xff || link != NULL))
		return drop(detail, USH_DROP_ICMP_OTHER);

	memcpy(to, probe ? ether_all_nodes : link != NULL ? link : packet->data + 6, 6);
	ether_turn(packet->data, net, to);
	memcpy(ip + 24, icmp + 8, 16);
	ipv6_turn(ip, PROTOCOL_ICMP6, ADVERTISEMENT_BYTES);
	ip[7] = NEIGHBOUR_HOP_LIMIT;
	if (probe)
		memcpy(ip + 24, ipv6_all_nodes, 16);
	icmp[0] = ICMP6_ADVERTISEMENT;
	icmp[1] = 0;
	store16(icmp + 2, 0);
	/* Override, and Solicited unless it goes to all nodes. */
	memset(icmp + 4, 0, 4);
	icmp[4] = probe ? 0x20 : 0x60;
	icmp[24] = 2;
	icmp[25] = 1;
	memcpy(icmp + 26, net->mac, 6);
	store16(icmp + 2,
		sum_finish(sum_bytes(sum_pseudo_ipv6(ip, PROTOCOL_ICMP6, ADVERTISEMENT_BYTES), icmp,
			ADVERTISEMENT_BYTES)));
	return answer(packet, ETHER_BYTES + IPV6_BYTES + ADVERTISEMENT_BYTES, detail,
		USH_ANSWER_NEIGHBOUR);
}

static enum ush_parse_verdict parse_icmp6(
	const struct ush_net *net, struct ush_packet *packet, uint32_t l4_bytes, uint32_t *detail)
{
	uint8_t *ip = packet->data + ETHER_BYTES;
	uint8_t *icmp = ip + IPV6_BYTES;

	if (l4_bytes < ICMP_BYTES)
		return drop(detail, USH_DROP_ICMP_OTHER);
	if (net->checksum_rx != USH_CHECKSUM_RX_OFF &&
		sum_fold(sum_bytes(
			sum_pseudo_ipv6(ip, PROTOCOL_ICMP6, l4_bytes), icmp, l4_bytes)) != 0xffff)
		return drop(detail, USH_DROP_ICMP_CHECKSUM);
	if (icmp[0] == ICMP6_SOLICITATION && icmp[1] == 0)
		return parse_solicitation(net, packet, l4_bytes, detail);
	if (ipv6_equal(ip + 8, ipv6_unspecified))
		return drop(detail, USH_DROP_IP_SOURCE);
	if (icmp[0] != ICMP6_ECHO_REQUEST || icmp[1] != 0 || ip[24] == 0xff)
		return drop(detail, USH_DROP_ICMP_OTHER);

	icmp[0] = ICMP6_ECHO_REPLY;
	store16(icmp + 2, 0);
	ipv6_turn(ip, PROTOCOL_ICMP6, l4_bytes);
	store16(icmp + 2, sum_finish(sum_bytes(
				  sum_pseudo_ipv6(ip, PROTOCOL_ICMP6, l4_bytes), icmp, l4_bytes)));
	ether_turn(packet->data, net, packet->data + 6);
	return answer(packet, ETHER_BYTES + IPV6_BYTES + l4_bytes, detail, USH_ANSWER_ECHO);
}

/* ret: true if the UDP checksum is in order by the port's rule. in: pseudo: pseudo-header sum. */
USH_INLINE bool udp_checksum_good(const struct ush_net *net, uint32_t flags, const uint8_t *udp,
	uint32_t l4_bytes, uint64_t pseudo)
{
	if (net->checksum_rx == USH_CHECKSUM_RX_OFF || (flags & USH_PACKET_L4_CHECKSUM_GOOD) != 0)
		return true;
	if (net->checksum_rx == USH_CHECKSUM_RX_PARTIAL && load16(udp + 6) == sum_fold(pseudo))
		return true;
	/* A device calls a partial checksum bad; the full one below cannot be. */
	if ((flags & USH_PACKET_L4_CHECKSUM_BAD) != 0 &&
		net->checksum_rx != USH_CHECKSUM_RX_PARTIAL)
		return false;
	return sum_fold(sum_bytes(pseudo, udp, l4_bytes)) == 0xffff;
}

/* in: l4_at: offset of the UDP header. */
USH_INLINE enum ush_parse_verdict parse_udp(const struct ush_net *net, struct ush_packet *packet,
	uint32_t l4_at, uint32_t l4_bytes, uint8_t family, uint32_t *payload_bytes,
	uint32_t *detail)
{
	const uint8_t *ip = packet->data + ETHER_BYTES;
	const uint8_t *udp = packet->data + l4_at;

	if (ush_unlikely(l4_bytes < UDP_BYTES || swap16(load16(udp + 4)) != l4_bytes))
		return drop(detail, USH_DROP_UDP_LENGTH);
	if (ush_unlikely(load16(udp + 2) != net->udp_port_be || load16(udp) == 0))
		return drop(detail, USH_DROP_UDP_PORT);
	if (load16(udp + 6) == 0) {
		/* Zero means none, which IPv4 allows and IPv6 does not (RFC 8200 section 8.1). */
		if (family == 6)
			return drop(detail, USH_DROP_UDP_CHECKSUM);
	} else if (!udp_checksum_good(net, packet->flags, udp, l4_bytes,
			   family == 6 ? sum_pseudo_ipv6(ip, PROTOCOL_UDP, l4_bytes)
				       : sum_pseudo_ipv4(ip, PROTOCOL_UDP, l4_bytes))) {
		return drop(detail, USH_DROP_UDP_CHECKSUM);
	}
	packet->payload_at = (uint16_t)(l4_at + UDP_BYTES);
	packet->family = family;
	*payload_bytes = l4_bytes - UDP_BYTES;
	return USH_PARSE_REQUEST;
}

USH_INLINE enum ush_parse_verdict parse_ipv4(const struct ush_net *net, struct ush_packet *packet,
	uint32_t *payload_bytes, uint32_t *detail)
{
	const uint8_t *ip = packet->data + ETHER_BYTES;
	uint32_t total, l4_bytes;

	if (ush_unlikely(packet->size < ETHER_BYTES + IPV4_BYTES))
		return drop(detail, USH_DROP_FRAME_SHORT);
	if (ush_unlikely(!mac_equal(packet->data, net->mac)))
		return drop(detail, USH_DROP_NOT_OURS);
	total = swap16(load16(ip + 2));
	if (ush_unlikely((ip[0] >> 4) != 4 || (ip[0] & 15) < 5 || total < (ip[0] & 15) * 4u ||
			 total > packet->size - ETHER_BYTES))
		return drop(detail, USH_DROP_IP_HEADER);
	if (ush_unlikely((ip[0] & 15) != 5))
		return drop(detail, USH_DROP_IP_OPTIONS);
	if (ush_unlikely((packet->flags & USH_PACKET_IP_CHECKSUM_BAD) != 0) ||
		((packet->flags & USH_PACKET_IP_CHECKSUM_GOOD) == 0 &&
			sum_fold(sum_ipv4_header(ip)) != 0xffff))
		return drop(detail, USH_DROP_IP_CHECKSUM);
	if (ush_unlikely(!net->has_ipv4 || load32(ip + 16) != net->ipv4_be))
		return drop(detail, USH_DROP_NOT_OURS);
	if (ush_unlikely((swap16(load16(ip + 6)) & 0x3fff) != 0))
		return drop(detail, USH_DROP_IP_FRAGMENT);
	if (ush_unlikely(ipv4_source_bad(net, ip + 12)))
		return drop(detail, USH_DROP_IP_SOURCE);
	l4_bytes = total - IPV4_BYTES;
	if (ush_likely(ip[9] == PROTOCOL_UDP))
		return parse_udp(
			net, packet, ETHER_BYTES + IPV4_BYTES, l4_bytes, 4, payload_bytes, detail);
	if (ip[9] == PROTOCOL_ICMP)
		return parse_icmp4(net, packet, l4_bytes, detail);
	return drop(detail, USH_DROP_IP_PROTOCOL);
}

/* ret: true for the solicited-node group (RFC 4291 section 2.7.1) of one of our addresses. */
static bool ipv6_solicited_node(const struct ush_net *net, const uint8_t *address)
{
	static const uint8_t prefix[13] = {0xff, 0x02, [11] = 1, [12] = 0xff};

	return memcmp(address, prefix, sizeof(prefix)) == 0 &&
	       (memcmp(address + 13, net->ipv6 + 13, 3) == 0 ||
		       memcmp(address + 13, net->ipv6_link + 13, 3) == 0);
}

/* ret: true if frame and IP packet are addressed to us: unicast, or a group we are in. */
USH_INLINE bool ipv6_ours(const struct ush_net *net, const uint8_t *frame)
{
	const uint8_t *to = frame + ETHER_BYTES + 24;
	uint8_t group[6] = {0x33, 0x33};

	if (!net->has_ipv6)
		return false;
	if (ush_likely(ipv6_equal(to, net->ipv6) || ipv6_equal(to, net->ipv6_link)))
		return mac_equal(frame, net->mac);
	if (!ipv6_solicited_node(net, to))
		return false;
	memcpy(group + 2, to + 12, 4);
	return mac_equal(frame, group) || mac_equal(frame, net->mac);
}

/* ret: true if nobody can be answered at this IPv6 address; :: is judged by its caller. */
USH_INLINE bool ipv6_source_bad(const struct ush_net *net, const uint8_t *address)
{
	return address[0] == 0xff || ipv6_equal(address, ipv6_loopback) ||
	       ipv6_equal(address, net->ipv6) || ipv6_equal(address, net->ipv6_link);
}

/* What a next header that is neither UDP nor ICMPv6 is (IANA, IPv6 extension header types). */
static enum ush_drop ipv6_next_header_drop(uint8_t next)
{
	switch (next) {
	case PROTOCOL_FRAGMENT:
		return USH_DROP_IP_FRAGMENT;
	case PROTOCOL_HOP_BY_HOP:
	case PROTOCOL_ROUTING:
	case PROTOCOL_ESP:
	case PROTOCOL_AH:
	case PROTOCOL_DESTINATION:
	case PROTOCOL_MOBILITY:
	case PROTOCOL_HIP:
	case PROTOCOL_SHIM6:
	case PROTOCOL_TEST_1:
	case PROTOCOL_TEST_2:
		return USH_DROP_IP_OPTIONS;
	default:
		return USH_DROP_IP_PROTOCOL;
	}
}

USH_INLINE enum ush_parse_verdict parse_ipv6(const struct ush_net *net, struct ush_packet *packet,
	uint32_t *payload_bytes, uint32_t *detail)
{
	const uint8_t *ip = packet->data + ETHER_BYTES;
	uint32_t l4_bytes;
	bool unspecified;

	if (ush_unlikely(packet->size < ETHER_BYTES + IPV6_BYTES))
		return drop(detail, USH_DROP_FRAME_SHORT);
	if (ush_unlikely((ip[0] >> 4) != 6))
		return drop(detail, USH_DROP_IP_HEADER);
	if (ush_unlikely(!ipv6_ours(net, packet->data)))
		return drop(detail, USH_DROP_NOT_OURS);
	l4_bytes = swap16(load16(ip + 4));
	if (ush_unlikely(l4_bytes > packet->size - ETHER_BYTES - IPV6_BYTES))
		return drop(detail, USH_DROP_IP_HEADER);
	unspecified = ipv6_equal(ip + 8, ipv6_unspecified);
	if (ush_unlikely(ipv6_source_bad(net, ip + 8) || (unspecified && ip[6] != PROTOCOL_ICMP6)))
		return drop(detail, USH_DROP_IP_SOURCE);
	/* A group of ours takes solicitations, nothing else. */
	if (ush_unlikely(ip[24] == 0xff && ip[6] != PROTOCOL_ICMP6))
		return drop(detail, USH_DROP_NOT_OURS);
	if (ush_likely(ip[6] == PROTOCOL_UDP))
		return parse_udp(
			net, packet, ETHER_BYTES + IPV6_BYTES, l4_bytes, 6, payload_bytes, detail);
	if (ip[6] == PROTOCOL_ICMP6)
		return parse_icmp6(net, packet, l4_bytes, detail);
	return drop(detail, ipv6_next_header_drop(ip[6]));
}

enum ush_parse_verdict ush_parse_frame(const struct ush_net *net, struct ush_packet *packet,
	uint32_t *payload_bytes, uint32_t *detail)
{
	const uint8_t *frame = packet->data;
	uint16_t type;

	USH_ASSERT(packet->size <= packet->capacity);
	*payload_bytes = 0;
	*detail = 0;
	if (ush_unlikely(packet->size < ETHER_BYTES))
		return drop(detail, USH_DROP_FRAME_SHORT);
	type = swap16(load16(frame + 12));
	if (ush_unlikely(type != TYPE_IPV4 && type != TYPE_IPV6 && type != TYPE_ARP))
		return drop(detail, USH_DROP_ETHER_TYPE);
	/* An answer must not go to a group, nor back to ourselves. */
	if (ush_unlikely((frame[6] & 1) != 0 || mac_equal(frame + 6, net->mac)))
		return drop(detail, USH_DROP_IP_SOURCE);
	if (ush_likely(type == TYPE_IPV4))
		return parse_ipv4(net, packet, payload_bytes, detail);
	if (type == TYPE_IPV6)
		return parse_ipv6(net, packet, payload_bytes, detail);
	return parse_arp(net, packet, detail);
}

/* Addresses the frame at `to` back to where the one at `from` came from; they may be the same. */
USH_INLINE void ether_reply(
	uint8_t *to, const uint8_t *from, const struct ush_net *net, uint16_t type)
{
	uint32_t client_head = load32(from + 6);
	uint16_t client_tail = load16(from + 10);

	store32(to, client_head);
	store16(to + 4, client_tail);
	memcpy(to + 6, net->mac, sizeof(net->mac));
	store16(to + 12, swap16(type));
}

void ush_parse_reply_ipv6(const struct ush_net *net, const uint8_t *from, uint8_t *to,
	uint32_t payload_bytes, uint64_t payload_sum)
{
	uint8_t *ip = to + ETHER_BYTES;
	uint8_t *udp = ip + IPV6_BYTES;
	uint32_t l4_bytes = UDP_BYTES + payload_bytes;
	uint32_t l4_be = swap16((uint16_t)l4_bytes);
	uint32_t client_port_be = load16(from + ETHER_BYTES + IPV6_BYTES);
	uint32_t ports = net->udp_port_be | client_port_be << 16;
	uint64_t pseudo = sum_pseudo_ipv6(from + ETHER_BYTES, PROTOCOL_UDP, l4_bytes);
	uint32_t checksum;

	if (to != from)
		memcpy(ip, from + ETHER_BYTES, IPV6_BYTES);
	ether_reply(to, from, net, TYPE_IPV6);
	ipv6_turn(ip, PROTOCOL_UDP, l4_bytes);
	checksum = net->checksum_tx_offload
			   ? sum_fold(pseudo)
			   : ush_parse_udp_checksum(pseudo + ports + l4_be + payload_sum);
	store32(udp, ports);
	store32(udp + 4, l4_be | checksum << 16);
}

uint64_t ush_parse_sum(uint64_t sum, const uint8_t *data, uint32_t size)
{
	return sum_bytes(sum, data, size);
}

void ush_net_link_address(struct ush_net *net)
{
	/* Modified EUI-64: ff:fe in the middle, the universal/local bit turned (RFC 4291 A). */
	const uint8_t link[16] = {0xfe, 0x80, 0, 0, 0, 0, 0, 0, net->mac[0] ^ 2, net->mac[1],
		net->mac[2], 0xff, 0xfe, net->mac[3], net->mac[4], net->mac[5]};

	memcpy(net->ipv6_link, link, sizeof(link));
}
