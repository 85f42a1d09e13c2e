/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames put together from the words of docs/admission.md, with numbers as they stand there. Shares
 * nothing with the dataplane but the numbers of the wire table: SipHash is its own.
 *
 * Owns:  nothing.
 * Reads: what it is told.
 * Never: the golden function.
 */
#ifndef USH_TB_FRAMES_H
#define USH_TB_FRAMES_H

#include <stdbool.h>
#include <stdint.h>

#define BUILD_BYTES_MAX 2048u

struct build {
	uint8_t frame[BUILD_BYTES_MAX];
	uint32_t length;
	/* Offsets of the UDP header and of the payload. */
	uint32_t udp;
	uint32_t payload;
};

/* A base request under good headers: IPv4 from 192.0.2.1, or IPv6 from 2001:db8::1, port 7447. */
void build_4(struct build *b, uint8_t op, uint32_t event, uint64_t user, uint32_t request_id);
void build_6(struct build *b, uint8_t op, uint32_t event, uint64_t user, uint32_t request_id);

/* Little-endian, at an offset of the payload; ret: what stands there. */
void build_put(struct build *b, uint32_t at, uint64_t value, uint32_t bytes);
uint64_t build_get(const struct build *b, uint32_t at, uint32_t bytes);

/* Big-endian, at an offset of the frame. */
void build_be16(struct build *b, uint32_t at, uint32_t value);

/* The payload has `size` bytes: lengths, size field and checksum follow. */
void build_resize(struct build *b, uint32_t size);

/* The IPv4 header's checksum is right again. */
void build_checksum(struct build *b);

/* Adds a token or a work behind what is there. */
void build_token(struct build *b, const uint64_t key[2], uint32_t id, uint64_t expiry_ns);
void build_work(struct build *b, uint32_t difficulty, uint64_t time_ns, uint64_t nonce);

/* As build_work, with a nonce that solves `bits`, or one that does not. */
void build_solved(struct build *b, uint64_t salt, uint32_t bits, uint64_t time_ns, bool right);

/* SipHash-2-4. */
uint64_t build_siphash(const uint64_t key[2], const uint8_t *data, uint32_t bytes);

#endif /* USH_TB_FRAMES_H */
