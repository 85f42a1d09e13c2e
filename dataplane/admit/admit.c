/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "admit/admit.h"

/* Which request fields an operation uses; all others must be zero. */
enum field {
	EVENT = 1,
	REQUEST_ID = 2,
	USER = 4,
	HOLD = 8,
	LEGS = 16,
	ROW = 32,
	SECTION = 64,
	HOLD_MS = 128,
	ARG = 256,
	EVENT_OPTIONAL = 512,
	PRIVILEGED = 1024,
	KNOWN = 2048,
	/* With LEGS: an empty base leg means all of the hold. */
	LEGS_OR_NONE = 4096,
	CHANNEL = 8192,
	GIVE = 16384,
};

static const uint16_t op_fields[256] = {
	[USH_OP_STATUS] = KNOWN | EVENT_OPTIONAL,
	[USH_OP_RESERVE] = KNOWN | EVENT | REQUEST_ID | USER | LEGS | HOLD_MS | CHANNEL,
	[USH_OP_RELEASE] = KNOWN | EVENT | REQUEST_ID | USER | HOLD | LEGS | LEGS_OR_NONE,
	[USH_OP_EXTEND] = KNOWN | EVENT | REQUEST_ID | USER | HOLD | HOLD_MS,
	[USH_OP_SWAP] = KNOWN | EVENT | REQUEST_ID | USER | HOLD | LEGS | CHANNEL | GIVE,
	[USH_OP_QUERY_HOLD] = KNOWN | EVENT | USER | HOLD,
	[USH_OP_QUERY_SECTION] = KNOWN | EVENT | ROW | SECTION | CHANNEL,
	[USH_OP_RESERVE_BEST] = KNOWN | EVENT | REQUEST_ID | USER | SECTION | HOLD_MS | ARG,
	[USH_OP_RESERVE_AREA] = KNOWN | EVENT | REQUEST_ID | USER | SECTION | HOLD_MS | ARG,
	[USH_OP_JOIN] = KNOWN | EVENT | USER | ARG,
	[USH_OP_EXCHANGE] = KNOWN | EVENT | USER,
	[USH_OP_POSITION] = KNOWN | EVENT | USER,
	[USH_OP_WAIT_LIST] = KNOWN | EVENT | REQUEST_ID | USER | ARG,
	[USH_OP_EVENT_LOAD] = KNOWN | PRIVILEGED | EVENT,
	[USH_OP_EVENT_CHANGE] = KNOWN | PRIVILEGED | EVENT,
	[USH_OP_EVENT_STATUS] = KNOWN | PRIVILEGED | EVENT | ARG,
	[USH_OP_CONFIRM] = KNOWN | PRIVILEGED | EVENT | USER | HOLD,
	[USH_OP_BLOCK] = KNOWN | PRIVILEGED | EVENT | LEGS | ARG,
	[USH_OP_UNBLOCK] = KNOWN | PRIVILEGED | EVENT | LEGS | ARG,
	[USH_OP_CHANNEL_KEY] = KNOWN | PRIVILEGED | EVENT | SECTION | ARG,
	[USH_OP_BOOKINGS] = KNOWN | PRIVILEGED | EVENT | ARG,
	[USH_OP_ROOM_CONTROL] = KNOWN | PRIVILEGED | EVENT | ARG,
	[USH_OP_ROOM_SHOW] = KNOWN | PRIVILEGED | EVENT,
	[USH_OP_ROOM_PLACES] = KNOWN | PRIVILEGED | EVENT | ARG,
	[USH_OP_KEY_ROTATE] = KNOWN | PRIVILEGED,
	[USH_OP_STATS] = KNOWN | PRIVILEGED | ARG,
	[USH_OP_PAY_BEGIN] = KNOWN | PRIVILEGED | EVENT | USER | HOLD | SECTION | HOLD_MS | ARG,
	[USH_OP_PAY_END] = KNOWN | PRIVILEGED | EVENT | USER | HOLD | SECTION | ARG,
	[USH_OP_PAY_LATE] = KNOWN | PRIVILEGED | EVENT | USER | HOLD | SECTION | LEGS | ARG,
	[USH_OP_REFUND_BEGIN] =
		KNOWN | PRIVILEGED | EVENT | USER | HOLD | SECTION | LEGS | LEGS_OR_NONE,
	[USH_OP_TRANSFER] = KNOWN | PRIVILEGED | EVENT | USER | HOLD | SECTION | ARG,
	[USH_OP_REFUND_END] =
		KNOWN | PRIVILEGED | EVENT | USER | HOLD | SECTION | ARG | LEGS | LEGS_OR_NONE,
};

static void refuse(struct ush_admitted *out, enum ush_status status, uint32_t detail)
{
	out->verdict = USH_ADMIT_REFUSE;
	out->status = (uint8_t)status;
	out->detail = detail;
}

static void drop(struct ush_admitted *out, enum ush_drop reason)
{
	out->verdict = USH_ADMIT_DROP;
	out->drop = (uint8_t)reason;
}

USH_INLINE bool check_envelope(uint32_t size, bool privileged, struct ush_admitted *out)
{
	const struct ush_request *r = &out->request;
	uint32_t size_max = privileged ? USH_CONTROL_BYTES_MAX : USH_PAYLOAD_BYTES_MAX;

	if (ush_unlikely(r->magic != USH_REQUEST_MAGIC)) {
		drop(out, USH_DROP_MAGIC);
	} else if (ush_unlikely(r->version != USH_VERSION)) {
		refuse(out, USH_STATUS_BAD_VERSION, USH_VERSION);
	} else if (ush_unlikely(size > size_max)) {
		drop(out, USH_DROP_PAYLOAD_LONG);
	} else if (ush_unlikely(r->size != size)) {
		drop(out, USH_DROP_SIZE);
	} else if (ush_unlikely((op_fields[r->op] & KNOWN) == 0)) {
		refuse(out, USH_STATUS_BAD_OP, 0);
	} else if (ush_unlikely((op_fields[r->op] & PRIVILEGED) != 0 && !privileged)) {
		refuse(out, USH_STATUS_NOT_PERMITTED, 0);
	} else {
		return true;
	}
	return false;
}

/* ret: the fault, or NONE. */
USH_INLINE enum ush_fault check_fields(const struct ush_request *r)
{
	uint32_t uses = op_fields[r->op];

	if (ush_unlikely(r->reserved0 != 0))
		return USH_FAULT_RESERVED;
	if (ush_unlikely((uses & USER) != 0 && r->user == 0))
		return USH_FAULT_USER;
	if (ush_unlikely((uses & REQUEST_ID) != 0 && r->request_id == 0))
		return USH_FAULT_REQUEST_ID;
	if (ush_unlikely(((uses & (EVENT | EVENT_OPTIONAL)) == 0 && r->event != 0) ||
			 ((uses & USER) == 0 && r->user != 0) ||
			 ((uses & HOLD) == 0 && r->hold != 0) ||
			 ((uses & LEGS) == 0 && r->mask != 0) ||
			 ((uses & (LEGS | ROW)) == 0 && r->row != 0) ||
			 ((uses & SECTION) == 0 && r->section != 0) ||
			 ((uses & HOLD_MS) == 0 && r->hold_ms != 0) ||
			 ((uses & ARG) == 0 && r->arg != 0)))
		return USH_FAULT_UNUSED;
	if (ush_unlikely((uses & LEGS_OR_NONE) != 0 && r->mask == 0 && r->row != 0))
		return USH_FAULT_LEG_EMPTY;
	return USH_FAULT_NONE;
}

/* Body bytes that each extension type carries; 0: any. */
static uint32_t extension_body(uint8_t type)
{
	switch (type) {
	case USH_EXTENSION_TOKEN:
		return 24;
	case USH_EXTENSION_CLIENT:
	case USH_EXTENSION_MAC:
	case USH_EXTENSION_WORK:
	case USH_EXTENSION_TICKET:
		return 16;
	case USH_EXTENSION_CHANNEL:
	case USH_EXTENSION_DEVICE:
		return 8;
	case USH_EXTENSION_ROOM_OPEN:
		return sizeof(struct ush_room_open);
	case USH_EXTENSION_ROOM_DRAW:
		return sizeof(struct ush_room_draw);
	default:
		return 0;
	}
}

static bool all_zero(const uint8_t *bytes, size_t size)
{
	uint8_t any = 0;

	for (size_t i = 0; i < size; i++)
		any |= bytes[i];
	return any == 0;
}

static enum ush_fault check_give(
	const struct ush_extension_header *e, const uint8_t *body, struct ush_admitted *out)
{
	if ((op_fields[out->request.op] & GIVE) == 0)
		return USH_FAULT_EXTENSION;
	if (e->value < 1 || e->value > USH_LEG_COUNT_MAX)
		return USH_FAULT_LEG_COUNT;
	if (e->size != sizeof(*e) + e->value * sizeof(struct ush_leg))
		return USH_FAULT_EXTENSION;
	out->give = body;
	out->give_count = (uint8_t)e->value;
	return USH_FAULT_NONE;
}

static enum ush_fault check_extension(
	const struct ush_extension_header *e, const uint8_t *body, struct ush_admitted *out)
{
	uint32_t body_bytes = e->size - (uint32_t)sizeof(*e);
	uint32_t expect = extension_body(e->type);

	if (expect != 0 && body_bytes != expect)
		return USH_FAULT_EXTENSION;
	switch (e->type) {
	case USH_EXTENSION_LEGS:
		if ((op_fields[out->request.op] & LEGS) == 0)
			return USH_FAULT_EXTENSION;
		if (e->value < 1 || e->value > USH_LEG_COUNT_MAX - 1)
			return USH_FAULT_LEG_COUNT;
		if (body_bytes != e->value * sizeof(struct ush_leg))
			return USH_FAULT_EXTENSION;
		out->legs = body;
		out->leg_count = (uint8_t)(1 + e->value);
		return USH_FAULT_NONE;
	case USH_EXTENSION_CLIENT:
		return e->value == 0 ? USH_FAULT_NONE : USH_FAULT_RESERVED;
	case USH_EXTENSION_TOKEN:
	case USH_EXTENSION_MAC:
	case USH_EXTENSION_WORK:
	case USH_EXTENSION_TICKET:
		return USH_FAULT_NONE;
	case USH_EXTENSION_CHANNEL:
		if ((op_fields[out->request.op] & CHANNEL) == 0)
			return USH_FAULT_EXTENSION;
		if ((e->value & 0xff) < 1 || (e->value & 0xff) > USH_CHANNEL_COUNT_MAX)
			return USH_FAULT_CHANNEL;
		out->channel = (uint8_t)(e->value & 0xff);
		out->channel_key = e->value >> 8;
		memcpy(&out->channel_tag, body, sizeof(out->channel_tag));
		return USH_FAULT_NONE;
	case USH_EXTENSION_DEVICE:
		if (out->request.op != USH_OP_JOIN)
			return USH_FAULT_EXTENSION;
		return e->value == 0 ? USH_FAULT_NONE : USH_FAULT_RESERVED;
	case USH_EXTENSION_ROOM_OPEN:
	case USH_EXTENSION_ROOM_DRAW:
		return out->request.op == USH_OP_ROOM_CONTROL && e->value == 1
			       ? USH_FAULT_NONE
			       : USH_FAULT_EXTENSION;
	case USH_EXTENSION_GIVE:
		return check_give(e, body, out);
	case USH_EXTENSION_PAD:
		return e->value == 0 && all_zero(body, body_bytes) ? USH_FAULT_NONE
								   : USH_FAULT_RESERVED;
	default:
		return USH_FAULT_EXTENSION;
	}
}

static __attribute__((noinline)) enum ush_fault check_extensions(
	const uint8_t *payload, struct ush_admitted *out)
{
	uint32_t at = USH_REQUEST_BYTES;
	uint32_t end = out->request.size;
	uint32_t seen = 0;

	if (out->request.extension_count > USH_EXTENSION_COUNT_MAX)
		return USH_FAULT_EXTENSION;
	for (uint32_t i = 0; i < out->request.extension_count; i++) {
		struct ush_extension_header e;
		enum ush_fault fault;

		if (end - at < sizeof(e))
			return USH_FAULT_EXTENSION;
		memcpy(&e, payload + at, sizeof(e));
		if (e.size < sizeof(e) || e.size > end - at || (e.size & 7) != 0)
			return USH_FAULT_EXTENSION;
		if (e.reserved0 != 0)
			return USH_FAULT_RESERVED;
		/* Each type once; nothing after MAC. */
		if (e.type >= 32 || (seen & 1u << e.type) != 0 ||
			(seen & 1u << USH_EXTENSION_MAC) != 0)
			return USH_FAULT_EXTENSION;
		seen |= 1u << e.type;
		fault = check_extension(&e, payload + at + sizeof(e), out);
		if (fault != USH_FAULT_NONE)
			return fault;
		at += e.size;
	}
	return at == end ? USH_FAULT_NONE : USH_FAULT_EXTENSION;
}

void ush_admit_leg(
	const struct ush_admitted *admitted, uint32_t index, uint16_t *row, uint64_t *mask)
{
	struct ush_leg leg;

	if (index == 0) {
		*row = admitted->request.row;
		*mask = admitted->request.mask;
		return;
	}
	memcpy(&leg, admitted->legs + (index - 1) * sizeof(leg), sizeof(leg));
	*row = leg.row;
	*mask = leg.mask;
}

void ush_admit_give(
	const struct ush_admitted *admitted, uint32_t index, uint16_t *row, uint64_t *mask)
{
	struct ush_leg leg;

	memcpy(&leg, admitted->give + index * sizeof(leg), sizeof(leg));
	*row = leg.row;
	*mask = leg.mask;
}

/* Seats to be given up: rows once each, no seat that is also to be taken. */
static __attribute__((noinline)) enum ush_fault check_give_legs(const struct ush_admitted *out)
{
	uint16_t rows[USH_LEG_COUNT_MAX], row;
	uint64_t mask, taken;

	for (uint32_t i = 0; i < out->give_count; i++) {
		struct ush_leg leg;

		memcpy(&leg, out->give + i * sizeof(leg), sizeof(leg));
		if (leg.reserved0 != 0 || leg.reserved1 != 0)
			return USH_FAULT_RESERVED;
		ush_admit_give(out, i, &rows[i], &mask);
		if (mask == 0)
			return USH_FAULT_LEG_EMPTY;
		for (uint32_t j = 0; j < i; j++) {
			if (rows[j] == rows[i])
				return USH_FAULT_LEG_TWICE;
		}
		for (uint32_t j = 0; j < out->leg_count; j++) {
			ush_admit_leg(out, j, &row, &taken);
			if (row == rows[i] && (taken & mask) != 0)
				return USH_FAULT_LEG_TWICE;
		}
	}
	return USH_FAULT_NONE;
}

static __attribute__((noinline)) enum ush_fault check_legs(const struct ush_admitted *out)
{
	uint16_t rows[USH_LEG_COUNT_MAX];
	uint64_t mask;

	for (uint32_t i = 0; i < out->leg_count; i++) {
		ush_admit_leg(out, i, &rows[i], &mask);
		if (mask == 0)
			return USH_FAULT_LEG_EMPTY;
		if (i > 0) {
			struct ush_leg leg;
			memcpy(&leg, out->legs + (i - 1) * sizeof(leg), sizeof(leg));
			if (leg.reserved0 != 0 || leg.reserved1 != 0)
				return USH_FAULT_RESERVED;
		}
		for (uint32_t j = 0; j < i; j++) {
			if (rows[j] == rows[i])
				return USH_FAULT_LEG_TWICE;
		}
	}
	return USH_FAULT_NONE;
}

/* The body: everything but request id, cookie, user and event (the window is theirs already), and
 * extensions that are only carried. */
USH_INLINE uint32_t digest(const struct ush_admitted *out)
{
	const struct ush_request *r = &out->request;
	uint64_t words[3];
	uint32_t crc;

	static_assert(offsetof(struct ush_request, cookie) - offsetof(struct ush_request, hold) ==
			      sizeof(words),
		"three words");
	/* One by one: the request has just been stored, in larger pieces with other bounds. */
	for (uint32_t i = 0; i < 3; i++) {
		memcpy(&words[i], (const uint8_t *)&r->hold + i * sizeof(words[0]),
			sizeof(words[0]));
		__asm__("" : "+r"(words[i]));
	}
	crc = ush_crc32c_words(r->op, words, 3);
	if (ush_unlikely(out->leg_count > 1))
		crc = ush_crc32c(crc, out->legs, (out->leg_count - 1u) * sizeof(struct ush_leg));
	if (ush_unlikely(out->give_count != 0))
		crc = ush_crc32c(crc, out->give, out->give_count * sizeof(struct ush_leg));
	if ((op_fields[r->op] & ARG) != 0)
		crc = ush_crc32c(crc, &r->arg, sizeof(r->arg));
	if (ush_unlikely(out->channel != 0))
		crc = ush_crc32c(crc, &out->channel, sizeof(out->channel));
	return crc;
}

void ush_admit(const uint8_t *payload, uint32_t size, bool privileged, struct ush_admitted *out)
{
	enum ush_fault fault;

	out->verdict = USH_ADMIT_PASS;
	out->leg_count = 0;
	out->channel = 0;
	out->give_count = 0;
	out->legs = NULL;
	out->size = size;
	out->detail = 0;
	out->digest = 0;
	if (ush_unlikely(size < USH_REQUEST_BYTES)) {
		drop(out, USH_DROP_PAYLOAD_SHORT);
		return;
	}
	memcpy(&out->request, payload, sizeof(out->request));
	if (ush_unlikely(!check_envelope(size, privileged, out)))
		return;
	fault = check_fields(&out->request);
	if ((op_fields[out->request.op] & LEGS) != 0 &&
		((op_fields[out->request.op] & LEGS_OR_NONE) == 0 || out->request.mask != 0))
		out->leg_count = 1;
	if (ush_unlikely(size != USH_REQUEST_BYTES || out->request.extension_count != 0) &&
		fault == USH_FAULT_NONE)
		fault = check_extensions(payload, out);
	if (ush_unlikely(out->leg_count > 1) && fault == USH_FAULT_NONE)
		fault = check_legs(out);
	else if (out->leg_count == 1 && out->request.mask == 0 && fault == USH_FAULT_NONE)
		fault = USH_FAULT_LEG_EMPTY;
	if (fault == USH_FAULT_NONE && ush_unlikely(out->give_count != 0))
		fault = check_give_legs(out);
	if (ush_unlikely(fault != USH_FAULT_NONE)) {
		refuse(out, USH_STATUS_BAD_REQUEST, fault);
		return;
	}
	if ((op_fields[out->request.op] & REQUEST_ID) != 0)
		out->digest = digest(out);
}
