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

#include <string.h>

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
	/* The loop's own: hash of user and event, which it needs more than once. */
	uint64_t user_hash;
};

/*
 * Checks one payload of `size` bytes. Order: length, magic, version, size field, operation,
 * permission, reserved fields, extensions, fields of the operation.
 * in:  privileged: came through the control port.
 * out: every field but user_hash. by: any loop. cost: O(extensions + legs).
 */
void ush_admit(const uint8_t *payload, uint32_t size, bool privileged, struct ush_admitted *out);

/* Leg `index` of an admitted request; 0 is the base leg. */
void ush_admit_leg(
	const struct ush_admitted *admitted, uint32_t index, uint16_t *row, uint64_t *mask);

/* Leg `index` of GIVE. */
void ush_admit_give(
	const struct ush_admitted *admitted, uint32_t index, uint16_t *row, uint64_t *mask);

/* Fills in the fixed part of a reply. */
USH_INLINE void ush_admit_reply(
	struct ush_reply *reply, const struct ush_request *request, enum ush_status status)
{
	/* Words as they stand in memory: a reply is copied word by word right after this, and a
	 * word stored in pieces would have to leave the store buffer first. */
	uint64_t words[8] = {
		(uint64_t)USH_REPLY_MAGIC | (uint64_t)USH_VERSION << 16 |
			(uint64_t)request->op << 24 | (uint64_t)USH_REPLY_BYTES << 32 |
			(uint64_t)status << 56,
		(uint64_t)request->event | (uint64_t)request->request_id << 32,
		request->cookie,
		request->hold,
	};

	static_assert(sizeof(words) == sizeof(*reply), "the words are the reply");
	static_assert(offsetof(struct ush_reply, op) == 3, "op in word 0");
	static_assert(offsetof(struct ush_reply, size) == 4, "size in word 0");
	static_assert(offsetof(struct ush_reply, status) == 7, "status in word 0");
	static_assert(offsetof(struct ush_reply, request_id) == 12, "request_id in word 1");
	static_assert(offsetof(struct ush_reply, cookie) == 16, "cookie is word 2");
	static_assert(offsetof(struct ush_reply, hold) == 24, "hold is word 3");
	memcpy(reply, words, sizeof(words));
}

#endif /* USH_ADMIT_H */
