/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Everything that is not listed is public; for IPv6 it is the other way round: only 2000::/3 is,
 * less what is listed.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

#include "fetch/address.h"

struct net4 {
	uint32_t address;
	uint32_t bits;
};

static const struct net4 closed4[] = {{0x00000000, 8}, {0x0a000000, 8}, {0x64400000, 10},
	{0x7f000000, 8}, {0xa9fe0000, 16}, {0xac100000, 12}, {0xc0000000, 24}, {0xc0000200, 24},
	{0xc0586300, 24}, {0xc0a80000, 16}, {0xc6120000, 15}, {0xc6336400, 24}, {0xcb007100, 24},
	{0xe0000000, 4}, {0xf0000000, 4}};

static bool is_public4(uint32_t address)
{
	for (size_t i = 0; i < sizeof(closed4) / sizeof(closed4[0]); i++)
		if ((address ^ closed4[i].address) >> (32 - closed4[i].bits) == 0)
			return false;
	return true;
}

static uint32_t word(const uint8_t *bytes)
{
	return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 |
	       bytes[3];
}

static bool is_public6(const uint8_t *bytes)
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
	static const uint8_t nat64[12] = {0x00, 0x64, 0xff, 0x9b};

	if (memcmp(bytes, mapped, 12) == 0 || memcmp(bytes, nat64, 12) == 0)
		return is_public4(word(bytes + 12));
	if (bytes[0] >> 5 != 1)
		return false;
	if (word(bytes) >> 16 == 0x2002) /* 6to4 */
		return is_public4(word(bytes + 2));
	/* 2001::/23 (Teredo, ORCHID, benchmarks) and 2001:db8::/32, examples. */
	return word(bytes) >> 9 != 0x20010000u >> 9 && word(bytes) != 0x20010db8u;
}

bool ush_fetch_is_public(const struct sockaddr *address)
{
	if (address->sa_family == AF_INET) {
		const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)address;

		return is_public4(ntohl(in->sin_addr.s_addr));
	}
	if (address->sa_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)address;

		return is_public6(in6->sin6_addr.s6_addr);
	}
	return false;
}
