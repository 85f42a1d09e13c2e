/* SPDX-License-Identifier: Apache-2.0 */
/* Who has the peer's address: ARP (RFC 826) and neighbour discovery (RFC 4861). */
#include <arpa/inet.h>
#include <string.h>

#include "load_frame.h"

#define ETHER_BYTES 14u
#define ARP_BYTES 28u
#define IPV6_BYTES 40u
/* Solicitation or advertisement with one link-layer address option. */
#define ND_BYTES 32u
#define ND_SOLICIT 135u
#define ND_ADVERT 136u

static const uint8_t arp_head[8] = {0, 1, 8, 0, 6, 4, 0, 0};

static void put_ether(
	uint8_t *out, const uint8_t to[6], const uint8_t from[6], uint8_t type0, uint8_t type1)
{
	memcpy(out, to, 6);
	memcpy(out + 6, from, 6);
	out[12] = type0;
	out[13] = type1;
}

static uint32_t put_arp(const struct load_frame *frame, uint8_t *out, uint8_t operation,
	const uint8_t to_mac[6], const uint8_t to_ip[4])
{
	uint8_t *arp = out + ETHER_BYTES;

	memcpy(arp, arp_head, sizeof(arp_head));
	arp[7] = operation;
	memcpy(arp + 8, frame->mac, 6);
	memcpy(arp + 14, frame->self.ip, 4);
	memcpy(arp + 18, to_mac, 6);
	memcpy(arp + 24, to_ip, 4);
	memset(arp + ARP_BYTES, 0, 60 - ETHER_BYTES - ARP_BYTES);
	return 60; /* the least Ethernet carries, without its checksum */
}

/* A neighbour message: `target` is asked for or announced, `mac` goes into the option. */
static uint32_t put_neighbour(const struct load_frame *frame, uint8_t *out, uint8_t type,
	const uint8_t to_ip[16], const uint8_t target[16])
{
	uint8_t *ip = out + ETHER_BYTES, *nd = ip + IPV6_BYTES;
	uint16_t checksum;

	memset(ip, 0, IPV6_BYTES + ND_BYTES);
	ip[0] = 0x60;
	ip[5] = ND_BYTES;
	ip[6] = 58;
	ip[7] = 255;
	memcpy(ip + 8, frame->self.ip, 16);
	memcpy(ip + 24, to_ip, 16);
	nd[0] = type;
	nd[4] = type == ND_ADVERT ? 0x60 : 0; /* solicited, override */
	memcpy(nd + 8, target, 16);
	nd[24] = type == ND_ADVERT ? 2 : 1; /* target or source link-layer address */
	nd[25] = 1;
	memcpy(nd + 26, frame->mac, 6);
	checksum = load_sum_fold(
		load_sum(ip + 8, 32) + htons(ND_BYTES) + htons(58) + load_sum(nd, ND_BYTES));
	memcpy(nd + 2, &checksum, sizeof(checksum));
	return ETHER_BYTES + IPV6_BYTES + ND_BYTES;
}

uint32_t load_neighbour_ask(const struct load_frame *frame, uint8_t *out)
{
	static const uint8_t everyone[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
	static const uint8_t nobody[6];
	/* The solicited-node group of the peer's address. */
	uint8_t group_ip[16] = {0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff};
	uint8_t group_mac[6] = {0x33, 0x33, 0xff};

	if (frame->self.family == 4) {
		put_ether(out, everyone, frame->mac, 0x08, 0x06);
		return put_arp(frame, out, 1, nobody, frame->peer.ip);
	}
	memcpy(group_ip + 13, frame->peer.ip + 13, 3);
	memcpy(group_mac + 3, frame->peer.ip + 13, 3);
	put_ether(out, group_mac, frame->mac, 0x86, 0xdd);
	return put_neighbour(frame, out, ND_SOLICIT, group_ip, frame->peer.ip);
}

static bool is_arp(
	const struct load_frame *frame, const uint8_t *data, uint32_t bytes, uint8_t operation)
{
	return frame->self.family == 4 && bytes >= ETHER_BYTES + ARP_BYTES && data[12] == 0x08 &&
	       data[13] == 0x06 && memcmp(data + ETHER_BYTES, arp_head, 7) == 0 &&
	       data[ETHER_BYTES + 7] == operation;
}

static bool is_neighbour(
	const struct load_frame *frame, const uint8_t *data, uint32_t bytes, uint8_t type)
{
	return frame->self.family == 6 && bytes >= ETHER_BYTES + IPV6_BYTES + 24 &&
	       data[12] == 0x86 && data[13] == 0xdd && data[ETHER_BYTES + 6] == 58 &&
	       data[ETHER_BYTES + 7] == 255 && data[ETHER_BYTES + IPV6_BYTES] == type;
}

bool load_neighbour_learn(
	const struct load_frame *frame, const uint8_t *data, uint32_t bytes, uint8_t mac[6])
{
	const uint8_t *arp = data + ETHER_BYTES;
	const uint8_t *nd = data + ETHER_BYTES + IPV6_BYTES;

	if (is_arp(frame, data, bytes, 2) && memcmp(arp + 14, frame->peer.ip, 4) == 0) {
		memcpy(mac, arp + 8, 6);
		return true;
	}
	if (!is_neighbour(frame, data, bytes, ND_ADVERT) || memcmp(nd + 8, frame->peer.ip, 16) != 0)
		return false;
	/* With its option, else from the frame. */
	if (bytes >= ETHER_BYTES + IPV6_BYTES + ND_BYTES && nd[24] == 2)
		memcpy(mac, nd + 26, 6);
	else
		memcpy(mac, data + 6, 6);
	return true;
}

uint32_t load_neighbour_answer(
	const struct load_frame *frame, const uint8_t *data, uint32_t bytes, uint8_t *out)
{
	const uint8_t *arp = data + ETHER_BYTES;
	const uint8_t *ip = data + ETHER_BYTES;

	if (is_arp(frame, data, bytes, 1) && memcmp(arp + 24, frame->self.ip, 4) == 0) {
		put_ether(out, data + 6, frame->mac, 0x08, 0x06);
		return put_arp(frame, out, 2, arp + 8, arp + 14);
	}
	if (is_neighbour(frame, data, bytes, ND_SOLICIT) &&
		memcmp(ip + IPV6_BYTES + 8, frame->self.ip, 16) == 0) {
		put_ether(out, data + 6, frame->mac, 0x86, 0xdd);
		return put_neighbour(frame, out, ND_ADVERT, ip + 8, frame->self.ip);
	}
	return 0;
}
