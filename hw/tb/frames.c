/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "hw/tb/frames.h"

static uint64_t rotate(uint64_t x, uint32_t bits)
{
	return x << bits | x >> (64 - bits);
}

static void sip_round(uint64_t v[4])
{
	v[0] += v[1];
	v[2] += v[3];
	v[1] = rotate(v[1], 13) ^ v[0];
	v[3] = rotate(v[3], 16) ^ v[2];
	v[0] = rotate(v[0], 32);
	v[2] += v[1];
	v[0] += v[3];
	v[1] = rotate(v[1], 17) ^ v[2];
	v[3] = rotate(v[3], 21) ^ v[0];
	v[2] = rotate(v[2], 32);
}

uint64_t build_siphash(const uint64_t key[2], const uint8_t *data, uint32_t bytes)
{
	uint64_t v[4] = {key[0] ^ 0x736f6d6570736575, key[1] ^ 0x646f72616e646f6d,
		key[0] ^ 0x6c7967656e657261, key[1] ^ 0x7465646279746573};

	for (uint32_t at = 0; at <= bytes; at += 8) {
		uint64_t m = 0;
		for (uint32_t i = 0; i < 8 && at + i < bytes; i++)
			m |= (uint64_t)data[at + i] << (8 * i);
		if (at + 8 > bytes)
			m |= (uint64_t)bytes << 56;
		v[3] ^= m;
		sip_round(v);
		sip_round(v);
		v[0] ^= m;
	}
	v[2] ^= 0xff;
	for (uint32_t i = 0; i < 4; i++)
		sip_round(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

void build_put(struct build *b, uint32_t at, uint64_t value, uint32_t bytes)
{
	for (uint32_t i = 0; i < bytes; i++)
		b->frame[b->payload + at + i] = (uint8_t)(value >> (8 * i));
}

uint64_t build_get(const struct build *b, uint32_t at, uint32_t bytes)
{
	uint64_t value = 0;

	for (uint32_t i = 0; i < bytes; i++)
		value |= (uint64_t)b->frame[b->payload + at + i] << (8 * i);
	return value;
}

void build_be16(struct build *b, uint32_t at, uint32_t value)
{
	b->frame[at] = (uint8_t)(value >> 8);
	b->frame[at + 1] = (uint8_t)value;
}

void build_checksum(struct build *b)
{
	uint32_t sum = 0;

	if (b->udp != 34)
		return;
	build_be16(b, 24, 0);
	for (uint32_t i = 14; i < 34; i += 2)
		sum += (uint32_t)b->frame[i] * 256 + b->frame[i + 1];
	while (sum > 0xffff)
		sum = (sum & 0xffff) + (sum >> 16);
	build_be16(b, 24, 0xffff - sum);
}

void build_resize(struct build *b, uint32_t size)
{
	b->length = b->payload + size;
	build_put(b, 4, size, 2);
	build_be16(b, b->udp + 4, 8 + size);
	if (b->udp == 34)
		build_be16(b, 16, 28 + size);
	else
		build_be16(b, 18, 8 + size);
	build_checksum(b);
}

static void request(struct build *b, uint8_t op, uint32_t event, uint64_t user, uint32_t request_id)
{
	b->payload = b->udp + 8;
	build_be16(b, b->udp, 40000);
	build_be16(b, b->udp + 2, 7447);
	build_put(b, 0, 'U' | 'Q' << 8, 2);
	build_put(b, 2, 1, 1);
	build_put(b, 3, op, 1);
	build_put(b, 8, event, 4);
	build_put(b, 12, request_id, 4);
	build_put(b, 16, user, 8);
	build_resize(b, 64);
}

void build_4(struct build *b, uint8_t op, uint32_t event, uint64_t user, uint32_t request_id)
{
	static const uint8_t ip[20] = {
		0x45, 0, 0, 0, 0, 7, 0x40, 0, 64, 17, 0, 0, 192, 0, 2, 1, 198, 51, 100, 1};

	memset(b, 0, sizeof(*b));
	build_be16(b, 12, 0x0800);
	memcpy(b->frame + 14, ip, sizeof(ip));
	b->udp = 34;
	request(b, op, event, user, request_id);
}

void build_6(struct build *b, uint8_t op, uint32_t event, uint64_t user, uint32_t request_id)
{
	static const uint8_t ip[40] = {0x60, 0, 0, 0, 0, 0, 17, 64, 0x20, 0x01, 0x0d,
		0xb8, [23] = 1, [24] = 0x20, 0x01, 0x0d, 0xb8, [39] = 2};

	memset(b, 0, sizeof(*b));
	build_be16(b, 12, 0x86dd);
	memcpy(b->frame + 14, ip, sizeof(ip));
	b->udp = 54;
	request(b, op, event, user, request_id);
}

static uint32_t extension(struct build *b, uint8_t type, uint32_t bytes, uint32_t value)
{
	uint32_t at = b->length - b->payload;

	build_put(b, at, type, 1);
	build_put(b, at + 1, 0, 1);
	build_put(b, at + 2, bytes, 2);
	build_put(b, at + 4, value, 4);
	build_resize(b, at + bytes);
	return at;
}

void build_token(struct build *b, const uint64_t key[2], uint32_t id, uint64_t expiry_ns)
{
	uint32_t event = (uint32_t)build_get(b, 8, 4);
	uint32_t at = extension(b, 3, 32, 7 | id << 8 | event << 16);

	build_put(b, at + 8, build_get(b, 16, 8), 8);
	build_put(b, at + 16, expiry_ns, 8);
	build_put(b, at + 24, build_siphash(key, b->frame + b->payload + at, 24), 8);
}

void build_work(struct build *b, uint32_t difficulty, uint64_t time_ns, uint64_t nonce)
{
	uint32_t at = extension(b, 6, 24, difficulty);

	build_put(b, at + 8, time_ns, 8);
	build_put(b, at + 16, nonce, 8);
}

void build_solved(struct build *b, uint64_t salt, uint32_t bits, uint64_t time_ns, bool right)
{
	uint64_t key[2] = {build_get(b, 16, 8), salt};
	uint8_t data[24];

	memcpy(data, b->frame + b->payload + 8, 8);
	for (uint32_t i = 0; i < 8; i++)
		data[8 + i] = (uint8_t)(time_ns >> (8 * i));
	for (uint64_t nonce = 0;; nonce++) {
		for (uint32_t i = 0; i < 8; i++)
			data[16 + i] = (uint8_t)(nonce >> (8 * i));
		if ((build_siphash(key, data, 24) >> (64 - bits) == 0) == right) {
			build_work(b, bits, time_ns, nonce);
			return;
		}
	}
}
