/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "hw/tb/draw.h"

#define SECOND 1000000000ull

uint64_t draw_below(struct draw *draw, uint64_t bound)
{
	return ush_random_below(&draw->chance, bound);
}

bool draw_one_in(struct draw *draw, uint64_t n)
{
	return draw_below(draw, n) == 0;
}

void draw_put(uint8_t *at, uint64_t value, uint32_t bytes)
{
	for (uint32_t i = 0; i < bytes; i++)
		at[i] = (uint8_t)(value >> (8 * i));
}

static void put_be16(uint8_t *at, uint32_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

static struct ush_admit_limit limit(struct draw *d)
{
	uint64_t interval = draw_one_in(d, 8) ? 0 : 1 + draw_below(d, SECOND / 4);

	/* So long that sets fill up with buckets that are not full. */
	if (d->sources > 1000)
		interval *= 1000;
	/* Beyond 32 bits in every part of the sums. */
	if (draw_one_in(d, 50))
		return (struct ush_admit_limit){1 + draw_below(d, 1ull << 45), 1ull << 50};
	return (struct ush_admit_limit){interval, interval * draw_below(d, 5)};
}

void draw_config(struct draw *d, struct ush_admit_config *c)
{
	bool wide = draw_one_in(d, 4);
	/* More than a table holds, who come once; or so many that they come back to a table that
	 * has lost some. */
	uint32_t many = draw_one_in(d, 4) ? 100000 : 3000;

	d->sources = wide ? many : 20;
	d->users = wide ? many : 6;
	c->checks = draw_one_in(d, 2) ? 255 : (uint32_t)draw_below(d, 256);
	c->checks &= ~(uint32_t)USH_ADMISSION_CHECK_MAC;
	c->udp_port = draw_one_in(d, 4) ? (uint32_t)draw_below(d, 65536) : USH_UDP_PORT;
	c->work_window_ns = draw_one_in(d, 4) ? 0 : 2000;
	c->table_key = (struct ush_key){ush_random_next(&d->chance), 5};
	for (uint32_t i = 0; i < 2; i++)
		c->token[i] = (struct ush_admit_key){{1 + i, ush_random_next(&d->chance)},
			(uint32_t)draw_below(d, 3), !draw_one_in(d, 4)};
	for (uint32_t i = 0; i < USH_ADMIT_POLICY_COUNT; i++)
		c->policy[i] = (struct ush_admit_policy){limit(d), limit(d), limit(d),
			ush_random_next(&d->chance),
			draw_one_in(d, 2) ? 0 : (uint32_t)draw_below(d, 4), 0};
	/* More than can be demanded, and more than 32 bits can count. */
	if (draw_one_in(d, 8))
		c->policy[draw_below(d, 16)].work_bits = draw_one_in(d, 2) ? 39 : UINT32_MAX;
	for (uint32_t i = 0; i < 8; i++)
		c->event[i] = (uint8_t)draw_below(d, 128);
	c->event[USH_EVENT_ID_MAX] = (uint8_t)draw_below(d, 128);
	c->event[draw_below(d, 65536)] = (uint8_t)draw_below(d, 128);
}

static uint32_t add(uint8_t *p, uint32_t at, uint8_t type, uint32_t value, uint32_t bytes)
{
	draw_put(p + at, type, 1);
	draw_put(p + at + 1, 0, 1);
	draw_put(p + at + 2, bytes, 2);
	draw_put(p + at + 4, value, 4);
	return at + bytes;
}

/* A time at a boundary of a window, or beside it. */
static uint64_t time_near(struct draw *d, uint64_t window)
{
	uint64_t base = draw_one_in(d, 2) ? d->now_ns + window : d->now_ns - window;

	if (draw_one_in(d, 40))
		return ush_random_next(&d->chance);
	return draw_one_in(d, 3) ? d->now_ns : base + draw_below(d, 3) - 1;
}

/* One of the times that a token can have: most often not yet over. */
static uint64_t expiry(struct draw *d)
{
	if (draw_one_in(d, 8))
		return d->now_ns + draw_below(d, 3) - 1;
	return draw_one_in(d, 2) ? d->now_ns + 1 : d->now_ns + draw_below(d, 1ull << 40);
}

static uint32_t extensions(
	struct draw *d, const struct ush_admit_config *c, uint8_t *p, uint32_t event, uint64_t user)
{
	uint32_t size = 64, at;

	/* Two beats: as close behind one another as requests can come. */
	if (draw_one_in(d, 4))
		return size;
	if (!draw_one_in(d, 8)) {
		at = size;
		size = add(p, size, USH_EXTENSION_TOKEN,
			(uint32_t)(2 | draw_below(d, 3) << 8 | event << 16), 32);
		draw_put(p + at + 8, draw_one_in(d, 20) ? user + 1 : user, 8);
		draw_put(p + at + 16, expiry(d), 8);
		draw_put(p + at + 24, ush_siphash(&c->token[draw_below(d, 2)].key, p + at, 24), 8);
	}
	if (!draw_one_in(d, 4)) {
		at = size;
		size = add(p, size, USH_EXTENSION_WORK,
			draw_one_in(d, 20) ? (uint32_t)ush_random_next(&d->chance)
					   : (uint32_t)draw_below(d, 6),
			24);
		draw_put(p + at + 8, time_near(d, c->work_window_ns), 8);
		draw_put(p + at + 16, ush_random_next(&d->chance), 8);
	}
	if (draw_one_in(d, 4)) {
		at = size;
		size = add(p, size, USH_EXTENSION_CLIENT, 0, 24);
		draw_put(p + at + 8, draw_below(d, 4), 8);
	}
	if (draw_one_in(d, 4))
		size = add(p, size, USH_EXTENSION_PAD, 0, 8 + 8 * (uint32_t)draw_below(d, 3));
	if (draw_one_in(d, 4))
		size = add(p, size, USH_EXTENSION_MAC, (uint32_t)draw_below(d, 3), 24);
	return size;
}

/* ret: bytes of the payload. */
static uint32_t payload(struct draw *d, const struct ush_admit_config *c, uint8_t *p)
{
	static const uint8_t ops[] = {
		1, 2, 2, 2, 2, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 2, 64, 127};
	uint32_t event = (uint32_t)draw_below(d, 8), size;
	uint64_t user = 1 + draw_below(d, d->users);

	if (draw_one_in(d, 50))
		event = draw_one_in(d, 2) ? USH_EVENT_ID_MAX : (uint32_t)draw_below(d, 65536);
	memset(p, 0, 64);
	draw_put(p, USH_REQUEST_MAGIC, 2);
	draw_put(p + 2, USH_VERSION, 1);
	draw_put(p + 3, draw_one_in(d, 50) ? draw_below(d, 256) : ops[draw_below(d, sizeof(ops))],
		1);
	draw_put(p + 8, draw_one_in(d, 50) ? 65536 + event : event, 4);
	draw_put(p + 12, draw_below(d, 4), 4);
	draw_put(p + 16, user, 8);
	size = extensions(d, c, p, event, user);
	/* Up to the longest, and one more; a size field that is right, and one that is not. */
	if (draw_one_in(d, 30)) {
		uint32_t longer = draw_one_in(d, 2)
					  ? USH_PAYLOAD_BYTES_MAX + (uint32_t)draw_below(d, 3) - 1
					  : size + (uint32_t)draw_below(d, 1400);
		if (longer > size)
			memset(p + size, 0x5a, longer - size);
		size = longer > 1440 ? 1440 : longer;
	}
	draw_put(p + 4, draw_one_in(d, 50) ? size + draw_below(d, 3) - 1 : size, 2);
	if (draw_one_in(d, 10))
		p[draw_below(d, size < 128 ? size : 128)] ^= (uint8_t)(1u << draw_below(d, 8));
	/* Cut short, where the bytes of an extension stand behind the end. */
	if (draw_one_in(d, 30))
		size = draw_one_in(d, 2) ? (uint32_t)draw_below(d, size + 1)
					 : 62 + (uint32_t)draw_below(d, 4);
	if (draw_one_in(d, 60) && size > 64) {
		size -= 1;
		draw_put(p + 4, size, 2);
	}
	return size;
}

static void put_checksum(uint8_t *ip)
{
	uint32_t sum = 0;

	put_be16(ip + 10, 0);
	for (uint32_t i = 0; i < 20; i += 2)
		sum += (uint32_t)ip[i] << 8 | ip[i + 1];
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	put_be16(ip + 10, ~sum & 0xffff);
}

static uint32_t headers_4(struct draw *d, uint8_t *frame, uint32_t bytes)
{
	uint8_t *ip = frame + 14;

	put_be16(frame + 12, 0x0800);
	memset(ip, 0, 20);
	ip[0] = 0x45;
	ip[1] = (uint8_t)draw_below(d, 256);
	put_be16(ip + 2, 28 + bytes);
	put_be16(ip + 4, (uint32_t)draw_below(d, 65536));
	put_be16(ip + 6, draw_one_in(d, 2) ? 0x4000 : draw_one_in(d, 8) ? 0x8000 : 0);
	ip[8] = 64;
	ip[9] = 17;
	draw_put(ip + 12, draw_below(d, d->sources) << 8 | 10, 4);
	draw_put(ip + 16, draw_below(d, 100), 4);
	/* One field wrong, with a checksum that is right. */
	switch (draw_below(d, 60)) {
	case 0:
		put_be16(ip + 6, 1u << draw_below(d, 16));
		break;
	case 1:
		ip[0] = (uint8_t)(0x40 | draw_below(d, 16));
		break;
	case 2:
		ip[9] = (uint8_t)draw_below(d, 256);
		break;
	case 3:
		put_be16(ip + 2, (uint32_t)draw_below(d, 40));
		break;
	case 4:
		put_be16(ip + 2, 28 + bytes + (uint32_t)draw_below(d, 3) - 1);
		break;
	default:
		break;
	}
	put_checksum(ip);
	if (draw_one_in(d, 30))
		ip[draw_below(d, 20)] ^= (uint8_t)(1u << draw_below(d, 8));
	/* 0xffff is as good as 0. */
	if (draw_one_in(d, 100) && ip[10] == 0 && ip[11] == 0)
		put_be16(ip + 10, 0xffff);
	return 34;
}

static uint32_t headers_6(struct draw *d, uint8_t *frame, uint32_t bytes)
{
	uint8_t *ip = frame + 14;

	put_be16(frame + 12, 0x86dd);
	memset(ip, 0, 40);
	ip[0] = (uint8_t)(0x60 | draw_below(d, 16));
	put_be16(ip + 4, 8 + bytes);
	ip[6] = 17;
	ip[7] = 64;
	ip[8] = 0x20;
	draw_put(ip + 12, draw_below(d, d->sources), 4);
	draw_put(ip + 16, ush_random_next(&d->chance), 8);
	/* IPv4 in disguise, and almost. */
	if (draw_one_in(d, 10)) {
		memset(ip + 8, 0, 10);
		memset(ip + 18, 0xff, 2);
		draw_put(ip + 20, draw_below(d, d->sources) << 8 | 10, 4);
		if (draw_one_in(d, 3))
			ip[8 + draw_below(d, 12)] ^= (uint8_t)(1u << draw_below(d, 8));
	}
	switch (draw_below(d, 60)) {
	case 0:
		ip[0] = (uint8_t)draw_below(d, 256);
		break;
	case 1:
		ip[6] = (uint8_t)draw_below(d, 256);
		break;
	case 2:
		put_be16(ip + 4, (uint32_t)draw_below(d, 20));
		break;
	case 3:
		put_be16(ip + 4, 8 + bytes + (uint32_t)draw_below(d, 3) - 1);
		break;
	default:
		break;
	}
	return 54;
}

uint32_t draw_frame(struct draw *d, const struct ush_admit_config *c, uint8_t *frame)
{
	static const uint16_t odd_types[] = {0x0806, 0x8100, 0x0801, 0x0008, 0x86dc, 0xdd86};
	uint8_t body[DRAW_BYTES_MAX];
	uint32_t bytes = payload(d, c, body), at, length;

	draw_put(frame, ush_random_next(&d->chance), 8);
	draw_put(frame + 6, ush_random_next(&d->chance), 6);
	at = draw_one_in(d, 2) ? headers_4(d, frame, bytes) : headers_6(d, frame, bytes);
	put_be16(frame + at, (uint32_t)draw_below(d, 65536));
	put_be16(frame + at + 2, draw_one_in(d, 40) ? (uint32_t)draw_below(d, 65536) : c->udp_port);
	put_be16(frame + at + 4, draw_one_in(d, 60) ? (uint32_t)draw_below(d, 80) : 8 + bytes);
	if (draw_one_in(d, 60))
		put_be16(frame + at + 4, 8 + bytes + (uint32_t)draw_below(d, 3) - 1);
	put_be16(frame + at + 6, 0);
	memcpy(frame + at + 8, body, bytes);
	length = at + 8 + bytes;
	if (draw_one_in(d, 40))
		put_be16(frame + 12, odd_types[draw_below(d, 6)]);
	/* Padding, or too short at every place where that matters. */
	if (draw_one_in(d, 10)) {
		uint32_t more = (uint32_t)draw_below(d, 64);
		memset(frame + length, 0xee, more);
		length += more;
	} else if (draw_one_in(d, 40)) {
		length = 1 + (uint32_t)draw_below(d, length);
	} else if (draw_one_in(d, 100)) {
		static const uint8_t edges[] = {
			13, 14, 15, 33, 34, 35, 41, 42, 53, 54, 55, 61, 62, 63, 64, 65};
		length = edges[draw_below(d, sizeof(edges))];
	} else if (draw_one_in(d, 100)) {
		/* The longest that is taken, and longer. */
		uint32_t to = USH_FILTER_BEATS_MAX * 64 +
			      (draw_one_in(d, 2) ? (uint32_t)draw_below(d, 2)
						 : (uint32_t)draw_below(d, 300));
		memset(frame + length, 0xdd, to - length);
		length = to;
	}
	return length;
}
