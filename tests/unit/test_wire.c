/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The C structs of the wire table against the encoded examples.
 *
 * Owns:  one buffer.
 * Reads: tests/vectors/wire_vectors.h.
 * Never: DPDK, files, sockets.
 */
#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "wire/wire.h"

#include "../vectors/wire_vectors.h"

/* Bytes behind the encoded ones, to see a write too far. */
#define GUARD_BYTES 16u
#define GUARD_FILL 0x5a

static uint8_t buffer[USH_PAYLOAD_BYTES_MAX + GUARD_BYTES];

/* ret: true if the guard behind `size` bytes is untouched. */
static bool guard_is_whole(size_t size)
{
	for (size_t i = 0; i < GUARD_BYTES; i++) {
		if (buffer[size + i] != GUARD_FILL)
			return false;
	}
	return true;
}

/*
 * Goal: a struct assigned field by field is the bytes on the wire, with no padding and no byte left
 * over. Method: fill with 0xA5, assign every field, compare with the vector.
 */
static bool test_wire_encode_gives_vector(const struct wire_vector *vector)
{
	if (vector->size > USH_PAYLOAD_BYTES_MAX) {
		printf("not ok - encode %s # %zu bytes do not fit a datagram\n", vector->name,
			vector->size);
		return false;
	}
	memset(buffer, GUARD_FILL, sizeof(buffer));
	memset(buffer, WIRE_VECTOR_FILL, vector->size);
	vector->encode(buffer);
	for (size_t i = 0; i < vector->size; i++) {
		if (buffer[i] != vector->bytes[i]) {
			printf("not ok - encode %s # byte %zu is %02x, not %02x\n", vector->name, i,
				buffer[i], vector->bytes[i]);
			return false;
		}
	}
	if (!guard_is_whole(vector->size)) {
		printf("not ok - encode %s # wrote past its end\n", vector->name);
		return false;
	}
	printf("ok - encode %s\n", vector->name);
	return true;
}

/*
 * Goal: the magic numbers spell what the table says. Method: compare memory with text, which also
 * fails on a host that is not little-endian.
 */
static bool test_wire_magic_spells_its_name(const char *name, uint64_t magic, const char *text)
{
	bool same = memcmp(&magic, text, strlen(text)) == 0;

	printf("%s - magic %s is '%s'\n", same ? "ok" : "not ok", name, text);
	return same;
}

int main(void)
{
	const size_t count = sizeof(wire_vectors) / sizeof(wire_vectors[0]);
	bool ok = true;

	printf("1..%zu\n", count + 6);
	for (size_t i = 0; i < count; i++)
		ok &= test_wire_encode_gives_vector(&wire_vectors[i]);
	ok &= test_wire_magic_spells_its_name("REQUEST", USH_REQUEST_MAGIC, "UQ");
	ok &= test_wire_magic_spells_its_name("REPLY", USH_REPLY_MAGIC, "UR");
	ok &= test_wire_magic_spells_its_name("BLOCK", USH_BLOCK_MAGIC, "USJ1");
	ok &= test_wire_magic_spells_its_name("BOX", USH_BOX_MAGIC, "USSHBOX1");
	ok &= test_wire_magic_spells_its_name("VENUE", USH_VENUE_MAGIC, "USSHVEN1");
	ok &= test_wire_magic_spells_its_name("ACK", USH_ACK_MAGIC, "USSHACK1");
	return ok ? 0 : 1;
}
