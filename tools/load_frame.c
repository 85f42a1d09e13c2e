/* SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "load_frame.h"

#define ETHER_BYTES 14u
#define IPV4_BYTES 20u
#define IPV6_BYTES 40u
#define UDP_BYTES 8u
#define UDP_PROTOCOL 17u

/* ---- sums ---------------------------------------------------------------------------------- */

/* Words of 64 bits with the carries kept above them: an add and an add-with-carry each. */
USH_INLINE uint64_t sum_words(const uint8_t *at, uint32_t words)
{
	unsigned __int128 sum = 0;
	uint64_t word, low, high;

	for (uint32_t i = 0; i < words; i++) {
		memcpy(&word, at + 8 * i, sizeof(word));
		sum += word;
	}
	/* 2^64 and 2^32 are both 1 modulo 2^16 - 1. */
	low = (uint64_t)sum;
	high = (uint64_t)(sum >> 64);
	return (low >> 32) + (low & UINT32_MAX) + high;
}

uint64_t load_sum(const void *data, uint32_t bytes)
{
	const uint8_t *at = data;
	uint64_t sum = sum_words(at, bytes / 8);
	uint64_t rest = 0;

	/* The tail, as it would lie in memory with zeros after it. */
	memcpy(&rest, at + (bytes & ~7u), bytes & 7u);
	return sum + (rest >> 32) + (rest & UINT32_MAX);
}

uint16_t load_sum_fold(uint64_t sum)
{
	sum = (sum >> 32) + (sum & UINT32_MAX);
	sum = (sum >> 32) + (sum & UINT32_MAX);
	sum = (sum >> 16) + (sum & UINT16_MAX);
	sum = (sum >> 16) + (sum & UINT16_MAX);
	return (uint16_t)~sum;
}

static void put16(uint8_t *at, uint16_t value_be)
{
	memcpy(at, &value_be, sizeof(value_be));
}

static uint16_t get16(const uint8_t *at)
{
	uint16_t value;

	memcpy(&value, at, sizeof(value));
	return value;
}

/* ---- building ------------------------------------------------------------------------------ */

void load_frame_init(struct load_frame *frame)
{
	uint8_t *at = frame->head;
	uint32_t address_bytes = frame->self.family == 4 ? 4 : 16;

	memset(frame->head, 0, sizeof(frame->head));
	memcpy(at, frame->peer_mac, 6);
	memcpy(at + 6, frame->mac, 6);
	at += ETHER_BYTES;
	if (frame->self.family == 4) {
		put16(frame->head + 12, htons(0x0800));
		at[0] = 0x45;
		put16(at + 6, htons(0x4000)); /* do not fragment */
		at[8] = 64;
		at[9] = UDP_PROTOCOL;
		memcpy(at + 12, frame->self.ip, 4);
		memcpy(at + 16, frame->peer.ip, 4);
		frame->ip_sum = (uint16_t)~load_sum_fold(load_sum(at, IPV4_BYTES));
		at += IPV4_BYTES;
	} else {
		put16(frame->head + 12, htons(0x86dd));
		at[0] = 0x60;
		at[6] = UDP_PROTOCOL;
		at[7] = 64;
		memcpy(at + 8, frame->self.ip, 16);
		memcpy(at + 24, frame->peer.ip, 16);
		at += IPV6_BYTES;
	}
	put16(at, htons(frame->self.port));
	put16(at + 2, htons(frame->peer.port));
	frame->head_bytes = (uint32_t)(at + UDP_BYTES - frame->head);
	/* Pseudo header and destination port; source port, lengths and payload vary. */
	frame->address_sum = (uint16_t)~load_sum_fold(load_sum(frame->self.ip, address_bytes) +
						      load_sum(frame->peer.ip, address_bytes) +
						      htons(UDP_PROTOCOL));
	frame->udp_sum = frame->address_sum + htons(frame->peer.port);
}

/* Sets the checksum of the UDP datagram at `udp`, as it stands. */
static void set_udp_checksum(const struct load_frame *frame, uint8_t *udp, uint32_t udp_bytes)
{
	uint16_t checksum;

	put16(udp + 6, 0);
	checksum = load_sum_fold((uint64_t)frame->address_sum + htons((uint16_t)udp_bytes) +
				 load_sum(udp, udp_bytes));
	put16(udp + 6, checksum == 0 ? UINT16_MAX : checksum);
}

static void set_ipv4_checksum(uint8_t *ip)
{
	put16(ip + 10, 0);
	put16(ip + 10, load_sum_fold(load_sum(ip, IPV4_BYTES)));
}

static void break_ipv4(uint8_t *ip, enum load_frame_fault fault)
{
	if (fault == LOAD_FRAME_FRAGMENT)
		put16(ip + 6, htons(0x2000)); /* more fragments follow */
	if (fault == LOAD_FRAME_OPTIONS)
		ip[0] = 0x46;
	set_ipv4_checksum(ip);
	if (fault == LOAD_FRAME_OPTIONS)
		put16(ip + 10, load_sum_fold(load_sum(ip, IPV4_BYTES + 4) - get16(ip + 10)));
	if (fault == LOAD_FRAME_IP_CHECKSUM)
		put16(ip + 10, get16(ip + 10) ^ 0x5555);
}

/* Breaks a good frame in one way. ret: bytes to send. */
static uint32_t break_frame(
	const struct load_frame *frame, uint8_t *out, uint32_t bytes, enum load_frame_fault fault)
{
	uint8_t *ip = out + ETHER_BYTES;
	uint8_t *udp = out + frame->head_bytes - UDP_BYTES;
	uint32_t udp_bytes = bytes - frame->head_bytes + UDP_BYTES;
	uint16_t checksum;

	if (fault == LOAD_FRAME_UDP_PORT) {
		put16(udp + 2, htons((uint16_t)(frame->peer.port + 1)));
		set_udp_checksum(frame, udp, udp_bytes);
	}
	if (fault == LOAD_FRAME_UDP_LENGTH)
		put16(udp + 4, htons((uint16_t)(udp_bytes + 100)));
	if (fault == LOAD_FRAME_UDP_CHECKSUM ||
		(fault == LOAD_FRAME_IP_CHECKSUM && frame->self.family == 6)) {
		set_udp_checksum(frame, udp, udp_bytes);
		checksum = get16(udp + 6) ^ 0x5555;
		put16(udp + 6, checksum == 0 ? 0x1234 : checksum);
	}
	if (frame->self.family == 4)
		break_ipv4(ip, fault);
	else if (fault == LOAD_FRAME_FRAGMENT)
		ip[6] = 44;
	else if (fault == LOAD_FRAME_OPTIONS)
		ip[6] = 0;
	if (fault == LOAD_FRAME_ETHER_TYPE)
		put16(out + 12, htons(0x88b5)); /* IEEE 802 local experimental */
	return fault == LOAD_FRAME_CUT ? ETHER_BYTES + 16 : bytes;
}

uint32_t load_frame_build(
	const struct load_frame *frame, const struct load_packet *packet, uint8_t *out)
{
	uint32_t payload_bytes = (uint32_t)packet->head_bytes + packet->tail_bytes;
	uint16_t udp_length_be = htons((uint16_t)(payload_bytes + UDP_BYTES));
	uint16_t port_be = htons((uint16_t)(frame->self.port + packet->flow % frame->flows));
	uint8_t *udp = out + frame->head_bytes - UDP_BYTES;
	uint64_t sum;
	uint16_t checksum;

	memcpy(out, frame->head, sizeof(frame->head));
	if (ush_likely(packet->head_bytes == 64)) {
		memcpy(udp + UDP_BYTES, packet->head, 64);
		sum = sum_words(packet->head, 8);
	} else {
		memcpy(udp + UDP_BYTES, packet->head, packet->head_bytes);
		sum = load_sum(packet->head, packet->head_bytes);
	}
	if (packet->tail_bytes != 0) {
		memcpy(udp + UDP_BYTES + packet->head_bytes, packet->tail, packet->tail_bytes);
		sum += load_sum(packet->tail, packet->tail_bytes);
	}
	if (frame->self.family == 4) {
		uint16_t total_be = htons((uint16_t)(payload_bytes + UDP_BYTES + IPV4_BYTES));

		put16(out + ETHER_BYTES + 2, total_be);
		put16(out + ETHER_BYTES + 10, load_sum_fold((uint64_t)frame->ip_sum + total_be));
	} else {
		put16(out + ETHER_BYTES + 4, udp_length_be);
	}
	put16(udp, port_be);
	put16(udp + 4, udp_length_be);
	if (!frame->no_checksum) {
		checksum =
			load_sum_fold(sum + frame->udp_sum + port_be + (uint32_t)udp_length_be * 2);
		put16(udp + 6, checksum == 0 ? UINT16_MAX : checksum);
	}
	if (ush_unlikely(packet->fault != LOAD_FRAME_GOOD))
		return break_frame(frame, out, frame->head_bytes + payload_bytes,
			(enum load_frame_fault)packet->fault);
	return frame->head_bytes + payload_bytes;
}

/* ---- reading ------------------------------------------------------------------------------- */

/* The UDP datagram at `udp`, of which `room` bytes are there. */
static enum load_frame_kind read_udp(const struct load_frame *frame, const uint8_t *udp,
	uint32_t room, bool trust, struct load_received *received)
{
	uint32_t port, length;

	if (room < UDP_BYTES)
		return LOAD_FRAME_BAD;
	port = ntohs(get16(udp + 2));
	if (ntohs(get16(udp)) != frame->peer.port || port < frame->self.port ||
		port >= frame->self.port + frame->flows)
		return LOAD_FRAME_STRAY;
	length = ntohs(get16(udp + 4));
	if (length < UDP_BYTES || length > room)
		return LOAD_FRAME_BAD;
	if (!trust && !frame->no_checksum && (get16(udp + 6) != 0 || frame->self.family == 6) &&
		load_sum_fold((uint64_t)frame->address_sum + get16(udp + 4) +
			      (length == UDP_BYTES + 64 ? sum_words(udp, 9)
							: load_sum(udp, length))) != 0)
		return LOAD_FRAME_BAD;
	received->payload = udp + UDP_BYTES;
	received->bytes = length - UDP_BYTES;
	return LOAD_FRAME_REPLY;
}

static enum load_frame_kind read_ipv4(const struct load_frame *frame, const uint8_t *ip,
	uint32_t room, bool trust, struct load_received *received)
{
	uint32_t total;

	if (room < IPV4_BYTES || ip[0] != 0x45 || ip[9] != UDP_PROTOCOL ||
		(get16(ip + 6) & htons(0x3fff)) != 0 || memcmp(ip + 16, frame->self.ip, 4) != 0 ||
		memcmp(ip + 12, frame->peer.ip, 4) != 0)
		return LOAD_FRAME_STRAY;
	total = ntohs(get16(ip + 2));
	if (total < IPV4_BYTES || total > room)
		return LOAD_FRAME_BAD;
	if (!trust && load_sum_fold(load_sum(ip, IPV4_BYTES)) != 0)
		return LOAD_FRAME_BAD;
	return read_udp(frame, ip + IPV4_BYTES, total - IPV4_BYTES, trust, received);
}

enum load_frame_kind load_frame_read(const struct load_frame *frame, const uint8_t *data,
	uint32_t bytes, bool trust, struct load_received *received)
{
	const uint8_t *ip = data + ETHER_BYTES;
	uint32_t payload;

	if (bytes < ETHER_BYTES)
		return LOAD_FRAME_STRAY;
	if (get16(data + 12) == htons(0x0806))
		return LOAD_FRAME_NEIGHBOUR;
	if (get16(data + 12) == htons(0x0800))
		return frame->self.family == 4
			       ? read_ipv4(frame, ip, bytes - ETHER_BYTES, trust, received)
			       : LOAD_FRAME_STRAY;
	if (get16(data + 12) != htons(0x86dd) || frame->self.family != 6 ||
		bytes < ETHER_BYTES + IPV6_BYTES)
		return LOAD_FRAME_STRAY;
	if (ip[6] == 58)
		return LOAD_FRAME_NEIGHBOUR;
	if (ip[6] != UDP_PROTOCOL || memcmp(ip + 24, frame->self.ip, 16) != 0 ||
		memcmp(ip + 8, frame->peer.ip, 16) != 0)
		return LOAD_FRAME_STRAY;
	payload = ntohs(get16(ip + 4));
	if (payload > bytes - ETHER_BYTES - IPV6_BYTES)
		return LOAD_FRAME_BAD;
	return read_udp(frame, ip + IPV6_BYTES, payload, trust, received);
}

/* ---- texts --------------------------------------------------------------------------------- */

int load_mac_parse(uint8_t mac[6], const char *text, struct ush_message *message)
{
	unsigned int part[6];
	char more;

	if (sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x%c", &part[0], &part[1], &part[2], &part[3],
		    &part[4], &part[5], &more) != 6) {
		ush_message_set(message, "`%s`: want a MAC like 02:00:00:00:00:01", text);
		return -USH_EPARSE;
	}
	for (int i = 0; i < 6; i++)
		mac[i] = (uint8_t)part[i];
	return 0;
}

int load_frame_addresses(struct load_frame *frame, const struct load_transport_options *options,
	struct ush_message *message)
{
	const char *to = options->to != NULL ? options->to : "10.77.0.1";
	const char *self;
	int error = load_address_parse(&frame->peer, to, 7447, message);

	if (error != 0)
		return error;
	self = options->ip != NULL ? options->ip
				   : (frame->peer.family == 4 ? "10.77.0.2" : "fd77::2");
	error = load_address_parse(&frame->self, self, (uint16_t)options->source_port, message);
	if (error != 0)
		return error;
	frame->self.port = (uint16_t)options->source_port;
	if (frame->self.family != frame->peer.family) {
		ush_message_set(
			message, "--ip %s and --to %s are not of the same family", self, to);
		return -USH_EPARSE;
	}
	frame->flows = (uint32_t)options->flows;
	frame->no_checksum = options->no_checksum && frame->self.family == 4;
	if (options->mac != NULL &&
		(error = load_mac_parse(frame->mac, options->mac, message)) != 0)
		return error;
	if (options->peer_mac != NULL)
		error = load_mac_parse(frame->peer_mac, options->peer_mac, message);
	return error;
}
