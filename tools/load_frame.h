/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames as the generator builds and reads them: Ethernet, IPv4 or IPv6, UDP; ARP and neighbours.
 * Written apart from the appliance's own parser, so that the two check each other.
 *
 * Owns:  nothing; a struct load_frame is set once.
 * Reads: nothing.
 * Never: I/O, DPDK.
 */
#ifndef USH_LOAD_FRAME_H
#define USH_LOAD_FRAME_H

#include "load_transport.h"

#define LOAD_FRAME_HEAD_MAX 62u /* 14 + 40 + 8 */
#define LOAD_FRAME_BYTES_MAX (LOAD_FRAME_HEAD_MAX + LOAD_PAYLOAD_MAX)

struct load_frame {
	/* Ethernet, IP and UDP headers of a packet of the first flow. */
	uint8_t head[64];
	uint32_t head_bytes;
	uint8_t mac[6];
	uint8_t peer_mac[6];
	struct load_address self; /* its port is the first source port */
	struct load_address peer;
	uint32_t flows;
	bool no_checksum;
	/* One's complement sums, of 16-bit words as they lie in memory. */
	uint32_t ip_sum;
	uint32_t address_sum;
	uint32_t udp_sum;
};

/* Makes the headers, from the addresses already set in `frame`. */
void load_frame_init(struct load_frame *frame);

/* Writes the whole frame. in: out: LOAD_FRAME_BYTES_MAX bytes. ret: its size. cost: O(size). */
uint32_t load_frame_build(
	const struct load_frame *frame, const struct load_packet *packet, uint8_t *out);

enum load_frame_kind {
	LOAD_FRAME_REPLY,     /* a datagram from the peer's port to one of ours */
	LOAD_FRAME_NEIGHBOUR, /* ARP or neighbour message that concerns us */
	LOAD_FRAME_STRAY,     /* anything else */
	LOAD_FRAME_BAD,       /* a reply with a wrong checksum or length */
};

/* in: trust: the device vouched for the checksums. out: payload (REPLY only). */
enum load_frame_kind load_frame_read(const struct load_frame *frame, const uint8_t *data,
	uint32_t bytes, bool trust, struct load_received *received);

/* ---- load_neighbour.c ---------------------------------------------------------------------- */

/* Writes an ARP request or neighbour solicitation for the peer. ret: its size. */
uint32_t load_neighbour_ask(const struct load_frame *frame, uint8_t *out);
/* ret: true when `data` answers load_neighbour_ask; out: the peer's MAC. */
bool load_neighbour_learn(
	const struct load_frame *frame, const uint8_t *data, uint32_t bytes, uint8_t mac[6]);
/* Answers an ARP request or neighbour solicitation for us. ret: bytes to send from `out`, or 0. */
uint32_t load_neighbour_answer(
	const struct load_frame *frame, const uint8_t *data, uint32_t bytes, uint8_t *out);

/* One's complement sum of `bytes` bytes, unfolded; an odd last byte counts as if a zero followed.
 */
uint64_t load_sum(const void *data, uint32_t bytes);
/* The 16-bit checksum field for such a sum. */
uint16_t load_sum_fold(uint64_t sum);

/* in: "02:00:00:00:00:01". err: -USH_EPARSE with a message. */
int load_mac_parse(uint8_t mac[6], const char *text, struct ush_message *message);

/* Addresses from --to and --ip with their defaults. err: -USH_EPARSE with a message. */
int load_frame_addresses(struct load_frame *frame, const struct load_transport_options *options,
	struct ush_message *message);

#endif /* USH_LOAD_FRAME_H */
