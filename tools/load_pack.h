/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Several messages in a datagram: requests are put together, and what came is cut into messages.
 * Written apart from the appliance's parse/pack.c, so that the two check each other.
 *
 * Owns:  the datagram that is being filled.
 * Reads: the clock of its caller.
 * Never: I/O; what a message means.
 */
#ifndef USH_LOAD_PACK_H
#define USH_LOAD_PACK_H

#include "base/base.h"
#include "wire/wire.h"
#include "load_transport.h"

/* Messages of the least size that fill a datagram. */
#define LOAD_PACK_MAX (USH_PAYLOAD_BYTES_MAX / USH_REQUEST_BYTES)
/* How long a datagram that is not full waits for more. */
#define LOAD_PACK_WAIT_NS 1000000ull

/* Packets to send. They hold their memory until the batch is begun anew. */
struct load_batch {
	struct load_packet packet[LOAD_BURST];
	/* Room for the payload of each, if it lies nowhere else. */
	uint8_t *buffer[LOAD_BURST];
	uint32_t count;
	uint32_t sent;
	uint16_t flow;
};

struct load_pack {
	/* Messages a datagram may have; 1: none is ever filled, each leaves as it comes. */
	uint32_t most;
	uint64_t wait_ns;
	/* What is being filled. */
	uint32_t count;
	uint32_t bytes;
	uint64_t since_ns;
	uint8_t *data;
	uint8_t (*memory)[LOAD_PAYLOAD_MAX];
};

/* in: most: 1 to LOAD_PACK_MAX. err: -USH_ENOMEM. */
int load_pack_init(
	struct load_pack *pack, struct load_batch *batch, uint32_t most, uint64_t wait_ns);
void load_pack_free(struct load_pack *pack);

/* Adds a message, of which a copy is made if it does not leave alone. At most one packet goes to
 * the batch; in: room for it. */
void load_pack_add(struct load_pack *pack, struct load_batch *batch,
	const struct load_packet *message, uint64_t now_ns);

/* Puts what is being filled, if anything, into the batch. in: room for it. */
void load_pack_end(struct load_pack *pack, struct load_batch *batch, uint64_t now_ns);

/* ret: when what is being filled leaves at the latest; UINT64_MAX: nothing is. */
USH_INLINE uint64_t load_pack_until(const struct load_pack *pack)
{
	return pack->count == 0 ? UINT64_MAX : pack->since_ns + pack->wait_ns;
}

/*
 * Cuts a datagram into its messages, by their sizes. If these do not fill it, or not every part
 * begins with the magic of the first, it is one message, whatever that is.
 * out: messages: room for LOAD_PACK_MAX. ret: how many, at least 1.
 */
uint32_t load_pack_cut(const struct load_received *datagram, struct load_received *messages);

#endif /* USH_LOAD_PACK_H */
