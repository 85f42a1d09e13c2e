/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Payload to request: the checks that need no state, in a fixed order, each with a name.
 *
 * Owns:  nothing.
 * Reads: one payload.
 * Never: events, users, clocks.
 */
#ifndef USH_ADMIT_H
#define USH_ADMIT_H

#include "base/base.h"
#include "wire/wire.h"

enum ush_admit_verdict {
	/* Well-formed: go on. */
	USH_ADMIT_PASS,
	/* Answer at once with `status` and `detail`. */
	USH_ADMIT_REFUSE,
	/* No reply; count under `drop`. */
	USH_ADMIT_DROP,
};

struct ush_admitted {
	struct ush_request request;
	uint8_t verdict;
	uint8_t status;
	uint8_t drop;
	/* Legs in all, the base leg included; 0 when the operation has none. */
	uint8_t leg_count;
	/* The channel of a CHANNEL extension, 0: none; the number of its key, its tag. */
	uint8_t channel;
	uint32_t channel_key;
	uint64_t channel_tag;
	uint32_t detail;
	/* CRC-32C of the body; see ush_admit_digest. */
	uint32_t digest;
	/* Bytes of the request: a reply on a public port is never longer. */
	uint32_t size;
	/* Legs after the base leg, still in the packet. */
	const uint8_t *legs;
	/* Legs of GIVE, still in the packet. */
	const uint8_t *give;
	uint8_t give_count;
};

/*
 * Checks one payload of `size` bytes. Order: length, magic, version, size field, operation,
 * permission, reserved fields, extensions, fields of the operation.
 * in:  privileged: came through the control port.
 * out: every field. by: any loop. cost: O(extensions + legs).
 */
void ush_admit(const uint8_t *payload, uint32_t size, bool privileged, struct ush_admitted *out);

/* Leg `index` of an admitted request; 0 is the base leg. */
void ush_admit_leg(
	const struct ush_admitted *admitted, uint32_t index, uint16_t *row, uint64_t *mask);

/* Leg `index` of GIVE. */
void ush_admit_give(
	const struct ush_admitted *admitted, uint32_t index, uint16_t *row, uint64_t *mask);

/* Fills in the fixed part of a reply. */
void ush_admit_reply(
	struct ush_reply *reply, const struct ush_request *request, enum ush_status status);

#endif /* USH_ADMIT_H */
