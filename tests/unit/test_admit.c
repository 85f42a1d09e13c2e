/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Admission without state: every fault, the order of the checks, extensions, the body's digest.
 *
 * Owns:  one payload.
 * Reads: nothing.
 * Never: DPDK.
 */
#include <string.h>

#include "../tap.h"
#include "admit/admit.h"

/* One payload under test and what became of it. */
static _Alignas(8) uint8_t payload[USH_CONTROL_BYTES_MAX + 64];
static uint32_t payload_bytes;
static struct ush_admitted out;

#define REQUEST ((struct ush_request *)(void *)payload)

/* Fields that each operation takes, from docs/protocol.md. */
enum takes {
	T_EVENT = 1,
	T_USER = 2,
	T_HOLD = 4,
	T_MASK = 8,
	T_ROW = 16,
	T_SECTION = 32,
	T_HOLD_MS = 64,
	T_ARG = 128,
	T_ID = 256,
	T_CONTROL = 512,
};

static const struct {
	uint8_t op;
	uint32_t takes;
} ops[] = {
	{USH_OP_STATUS, T_EVENT},
	{USH_OP_RESERVE, T_EVENT | T_ID | T_USER | T_MASK | T_ROW | T_HOLD_MS},
	{USH_OP_RELEASE, T_EVENT | T_ID | T_USER | T_HOLD | T_MASK | T_ROW},
	{USH_OP_EXTEND, T_EVENT | T_ID | T_USER | T_HOLD | T_HOLD_MS},
	{USH_OP_QUERY_HOLD, T_EVENT | T_USER | T_HOLD},
	{USH_OP_QUERY_SECTION, T_EVENT | T_ROW | T_SECTION},
	{USH_OP_RESERVE_BEST, T_EVENT | T_ID | T_USER | T_SECTION | T_HOLD_MS | T_ARG},
	{USH_OP_RESERVE_AREA, T_EVENT | T_ID | T_USER | T_SECTION | T_HOLD_MS | T_ARG},
	{USH_OP_WAIT_LIST, T_EVENT | T_ID | T_USER | T_ARG},
	{USH_OP_EVENT_LOAD, T_EVENT | T_CONTROL},
	{USH_OP_EVENT_STATUS, T_EVENT | T_ARG | T_CONTROL},
	{USH_OP_EVENT_CHANGE, T_EVENT | T_CONTROL},
	{USH_OP_CONFIRM, T_EVENT | T_USER | T_HOLD | T_CONTROL},
	{USH_OP_BLOCK, T_EVENT | T_MASK | T_ROW | T_ARG | T_CONTROL},
	{USH_OP_UNBLOCK, T_EVENT | T_MASK | T_ROW | T_ARG | T_CONTROL},
	{USH_OP_CHANNEL_KEY, T_EVENT | T_SECTION | T_ARG | T_CONTROL},
	{USH_OP_BOOKINGS, T_EVENT | T_ARG | T_CONTROL},
	{USH_OP_STATS, T_ARG | T_CONTROL},
	{USH_OP_KEY_ROTATE, T_CONTROL},
	{USH_OP_PAY_BEGIN, T_EVENT | T_USER | T_HOLD | T_SECTION | T_HOLD_MS | T_ARG | T_CONTROL},
	{USH_OP_PAY_END, T_EVENT | T_USER | T_HOLD | T_SECTION | T_ARG | T_CONTROL},
	{USH_OP_REFUND_BEGIN, T_EVENT | T_USER | T_HOLD | T_SECTION | T_MASK | T_ROW | T_CONTROL},
	{USH_OP_TRANSFER, T_EVENT | T_USER | T_HOLD | T_SECTION | T_ARG | T_CONTROL},
	{USH_OP_REFUND_END,
		T_EVENT | T_USER | T_HOLD | T_SECTION | T_MASK | T_ROW | T_ARG | T_CONTROL},
	{USH_OP_PAY_LATE,
		T_EVENT | T_USER | T_HOLD | T_SECTION | T_MASK | T_ROW | T_ARG | T_CONTROL},
	{USH_OP_SWAP, T_EVENT | T_ID | T_USER | T_HOLD | T_MASK | T_ROW},
	{USH_OP_JOIN, T_EVENT | T_USER | T_ARG},
	{USH_OP_EXCHANGE, T_EVENT | T_USER},
	{USH_OP_POSITION, T_EVENT | T_USER},
	{USH_OP_ROOM_CONTROL, T_EVENT | T_ARG | T_CONTROL},
	{USH_OP_ROOM_SHOW, T_EVENT | T_CONTROL},
	{USH_OP_ROOM_PLACES, T_EVENT | T_ARG | T_CONTROL},
};
#define OPS (sizeof(ops) / sizeof(ops[0]))

/* A request of that operation with every field it takes, and no other. */
static void start(uint32_t op)
{
	uint32_t t = ops[op].takes;

	memset(payload, 0, sizeof(payload));
	*REQUEST = (struct ush_request){
		.magic = USH_REQUEST_MAGIC,
		.version = USH_VERSION,
		.op = ops[op].op,
		.size = USH_REQUEST_BYTES,
		.event = (t & T_EVENT) != 0 ? 7 : 0,
		.request_id = (t & T_ID) != 0 ? 9 : 0,
		.user = (t & T_USER) != 0 ? 11 : 0,
		.hold = (t & T_HOLD) != 0 ? 13 : 0,
		.mask = (t & T_MASK) != 0 ? 5 : 0,
		.row = (t & T_ROW) != 0 ? 3 : 0,
		.section = (t & T_SECTION) != 0 ? 2 : 0,
		.hold_ms = (t & T_HOLD_MS) != 0 ? 100 : 0,
		.arg = (t & T_ARG) != 0 ? 2 : 0,
		.cookie = 0xc00c1e,
	};
	payload_bytes = USH_REQUEST_BYTES;
}

static void start_reserve(void)
{
	start(1);
}

static void add(uint8_t type, uint32_t value, uint32_t body_bytes)
{
	struct ush_extension_header header = {
		.type = type, .size = (uint16_t)(8 + body_bytes), .value = value};

	memcpy(payload + payload_bytes, &header, sizeof(header));
	payload_bytes += 8 + body_bytes;
	REQUEST->size = (uint16_t)payload_bytes;
	REQUEST->extension_count++;
}

static void add_legs(uint32_t legs)
{
	uint32_t at = payload_bytes + 8;

	add(USH_EXTENSION_LEGS, legs, legs * 16);
	for (uint32_t i = 0; i < legs; i++) {
		struct ush_leg leg = {.row = (uint16_t)(100 + i), .mask = 1ull << i};
		memcpy(payload + at + i * 16, &leg, sizeof(leg));
	}
}

static void admit(bool privileged)
{
	memset(&out, 0xa5, sizeof(out));
	ush_admit(payload, payload_bytes, privileged, &out);
}

static bool passes(void)
{
	admit(true);
	return out.verdict == USH_ADMIT_PASS;
}

static bool refused_as(enum ush_fault fault)
{
	admit(true);
	return out.verdict == USH_ADMIT_REFUSE && out.status == USH_STATUS_BAD_REQUEST &&
	       out.detail == fault;
}

static bool dropped_as(enum ush_drop reason)
{
	admit(true);
	return out.verdict == USH_ADMIT_DROP && out.drop == reason;
}

/* Goal: every operation passes with the fields it takes, privileged ones on the control port only.
 */
static void test_admit_operation_well_formed_passes(void)
{
	for (uint32_t op = 0; op < OPS; op++) {
		start(op);
		CHECK(passes());
		CHECK_EQ(out.leg_count, (ops[op].takes & T_MASK) != 0);
		CHECK_EQ(out.size, 64);
		CHECK((out.digest != 0) == ((ops[op].takes & T_ID) != 0));
		admit(false);
		if ((ops[op].takes & T_CONTROL) == 0) {
			CHECK_EQ(out.verdict, USH_ADMIT_PASS);
		} else {
			CHECK_EQ(out.verdict, USH_ADMIT_REFUSE);
			CHECK_EQ(out.status, USH_STATUS_NOT_PERMITTED);
		}
	}
}

/* Goal: a field that is not taken must be zero, one that is may have any value. Method: each field
 * of each operation. */
static void test_admit_field_not_taken_is_refused(void)
{
	static const struct {
		uint32_t takes;
		size_t at;
	} fields[] = {
		{T_EVENT, offsetof(struct ush_request, event)},
		{T_USER, offsetof(struct ush_request, user)},
		{T_HOLD, offsetof(struct ush_request, hold)},
		{T_MASK, offsetof(struct ush_request, mask)},
		{T_ROW, offsetof(struct ush_request, row)},
		{T_SECTION, offsetof(struct ush_request, section)},
		{T_HOLD_MS, offsetof(struct ush_request, hold_ms)},
		{T_ARG, offsetof(struct ush_request, arg)},
	};

	for (uint32_t op = 0; op < OPS; op++) {
		for (uint32_t f = 0; f < sizeof(fields) / sizeof(fields[0]); f++) {
			start(op);
			payload[fields[f].at + 1] = 0x80;
			if ((ops[op].takes & fields[f].takes) != 0)
				CHECK(passes());
			else
				CHECK(refused_as(USH_FAULT_UNUSED));
		}
		/* The request id is anybody's, the cookie too. */
		start(op);
		REQUEST->request_id = UINT32_MAX;
		REQUEST->cookie = UINT64_MAX;
		CHECK(passes());
	}
}

/* Goal: user and request id 0 are refused where they are taken; a reserved byte is zero. */
static void test_admit_zero_user_or_id_is_refused(void)
{
	for (uint32_t op = 0; op < OPS; op++) {
		start(op);
		REQUEST->user = 0;
		if ((ops[op].takes & T_USER) != 0)
			CHECK(refused_as(USH_FAULT_USER));
		start(op);
		REQUEST->request_id = 0;
		if ((ops[op].takes & T_ID) != 0)
			CHECK(refused_as(USH_FAULT_REQUEST_ID));
		start(op);
		REQUEST->reserved0 = 1;
		CHECK(refused_as(USH_FAULT_RESERVED));
	}
}

/* Goal: what is no request gets no reply, each by its reason. */
static void test_admit_no_request_is_dropped(void)
{
	for (payload_bytes = 0; payload_bytes < 64; payload_bytes++) {
		uint32_t bytes = payload_bytes;
		start_reserve();
		payload_bytes = bytes;
		CHECK(dropped_as(USH_DROP_PAYLOAD_SHORT));
	}
	start_reserve();
	REQUEST->magic = USH_REPLY_MAGIC;
	CHECK(dropped_as(USH_DROP_MAGIC));
	start_reserve();
	REQUEST->size = 63;
	CHECK(dropped_as(USH_DROP_SIZE));
	REQUEST->size = 72;
	CHECK(dropped_as(USH_DROP_SIZE));
	start_reserve();
	payload_bytes = 65;
	CHECK(dropped_as(USH_DROP_SIZE));
}

/* Goal: each port has its largest message. */
static void test_admit_size_limit_is_the_port_s(void)
{
	start_reserve();
	add(USH_EXTENSION_PAD, 0, USH_PAYLOAD_BYTES_MAX - 72);
	admit(false);
	CHECK_EQ(out.verdict, USH_ADMIT_PASS);
	start_reserve();
	add(USH_EXTENSION_PAD, 0, USH_PAYLOAD_BYTES_MAX - 64);
	admit(false);
	CHECK_EQ(out.verdict, USH_ADMIT_DROP);
	CHECK_EQ(out.drop, USH_DROP_PAYLOAD_LONG);
	CHECK(passes());
	start_reserve();
	add(USH_EXTENSION_PAD, 0, USH_CONTROL_BYTES_MAX - 72);
	CHECK(passes());
	start_reserve();
	add(USH_EXTENSION_PAD, 0, USH_CONTROL_BYTES_MAX - 64);
	CHECK(dropped_as(USH_DROP_PAYLOAD_LONG));
}

/* Goal: the checks come in the documented order. Method: one request with every fault; they are
 * mended one by one, and each next one shows. */
static void test_admit_faults_are_told_in_order(void)
{
	start_reserve();
	REQUEST->magic = 0;
	REQUEST->version = 9;
	REQUEST->op = 200;
	REQUEST->size = 3;
	REQUEST->reserved0 = 1;
	REQUEST->extension_count = 1;
	payload_bytes = 10;
	CHECK(dropped_as(USH_DROP_PAYLOAD_SHORT));
	payload_bytes = 64;
	CHECK(dropped_as(USH_DROP_MAGIC));
	REQUEST->magic = USH_REQUEST_MAGIC;
	admit(false);
	CHECK_EQ(out.status, USH_STATUS_BAD_VERSION);
	CHECK_EQ(out.detail, USH_VERSION);
	REQUEST->version = USH_VERSION;
	CHECK(dropped_as(USH_DROP_SIZE));
	REQUEST->size = 64;
	admit(false);
	CHECK_EQ(out.status, USH_STATUS_BAD_OP);
	REQUEST->op = USH_OP_BLOCK;
	admit(false);
	CHECK_EQ(out.status, USH_STATUS_NOT_PERMITTED);
	REQUEST->op = USH_OP_RESERVE;
	REQUEST->mask = 0;
	REQUEST->user = 0;
	CHECK(refused_as(USH_FAULT_RESERVED));
	REQUEST->reserved0 = 0;
	CHECK(refused_as(USH_FAULT_USER));
	REQUEST->user = 1;
	CHECK(refused_as(USH_FAULT_EXTENSION));
	REQUEST->extension_count = 0;
	CHECK(refused_as(USH_FAULT_LEG_EMPTY));
	REQUEST->mask = 1;
	CHECK(passes());
}

/* Goal: every operation but those of the table is unknown, on either port. */
static void test_admit_unknown_operation_is_named(void)
{
	uint32_t known = 0;

	for (uint32_t op = 0; op < 256; op++) {
		start_reserve();
		REQUEST->op = (uint8_t)op;
		admit(true);
		known += out.verdict == USH_ADMIT_PASS || out.status != USH_STATUS_BAD_OP;
	}
	CHECK_EQ(known, OPS);
}

/* ---- extensions ---- */

static const uint8_t carried[] = {USH_EXTENSION_CLIENT, USH_EXTENSION_TOKEN, USH_EXTENSION_WORK,
	USH_EXTENSION_TICKET, USH_EXTENSION_MAC};
#define CARRIED (sizeof(carried) / sizeof(carried[0]))

static uint32_t carried_bytes(uint8_t type)
{
	return type == USH_EXTENSION_TOKEN ? 24 : 16;
}

/* Goal: carried extensions have their size and no other; any operation may carry them. */
static void test_admit_carried_extension_has_its_size(void)
{
	for (uint32_t op = 0; op < OPS; op++) {
		for (uint32_t i = 0; i < CARRIED; i++) {
			for (uint32_t bytes = 0; bytes <= 40; bytes += 8) {
				start(op);
				add(carried[i], 0, bytes);
				if (bytes == carried_bytes(carried[i]))
					CHECK(passes());
				else
					CHECK(refused_as(USH_FAULT_EXTENSION));
			}
		}
	}
}

/* Goal: a known set of types is taken from clients; all others are refused. Method: all 256. */
static void test_admit_extension_unknown_type_is_refused(void)
{
	for (uint32_t type = 0; type < 256; type++) {
		bool known = type == USH_EXTENSION_PAD;

		for (uint32_t i = 0; i < CARRIED; i++)
			known |= carried[i] == type;
		start(0);
		add((uint8_t)type, 0, carried_bytes((uint8_t)type));
		if (known)
			CHECK(passes());
		else
			CHECK(refused_as(USH_FAULT_EXTENSION));
	}
}

/* Goal: no type twice, MAC last, otherwise any order. */
static void test_admit_extension_twice_or_after_mac_is_refused(void)
{
	for (uint32_t i = 0; i < CARRIED; i++) {
		start_reserve();
		add(carried[i], 0, carried_bytes(carried[i]));
		add(carried[i], 0, carried_bytes(carried[i]));
		CHECK(refused_as(USH_FAULT_EXTENSION));
		start_reserve();
		add(USH_EXTENSION_MAC, 1, 16);
		add(carried[i], 0, carried_bytes(carried[i]));
		CHECK(refused_as(USH_FAULT_EXTENSION));
		start_reserve();
		add_legs(2);
		add(USH_EXTENSION_PAD, 0, 8);
		add(carried[i], 0, carried_bytes(carried[i]));
		CHECK(passes());
	}
	start_reserve();
	add(USH_EXTENSION_PAD, 0, 0);
	add(USH_EXTENSION_PAD, 0, 0);
	CHECK(refused_as(USH_FAULT_EXTENSION));
	start_reserve();
	for (uint32_t i = 0; i + 1 < CARRIED; i++)
		add(carried[i], 0, carried_bytes(carried[i]));
	add_legs(7);
	add(USH_EXTENSION_PAD, 0, 0);
	add(USH_EXTENSION_MAC, 0, 16);
	CHECK_EQ(REQUEST->extension_count, 7);
	CHECK(passes());
	CHECK_EQ(out.leg_count, 8);
}

/* Goal: count and sizes must cover the message exactly. */
static void test_admit_extension_count_or_size_wrong_is_refused(void)
{
	struct ush_extension_header *header = (void *)(payload + 64);

	start_reserve();
	add(USH_EXTENSION_PAD, 0, 8);
	REQUEST->extension_count = 0;
	CHECK(refused_as(USH_FAULT_EXTENSION));
	REQUEST->extension_count = 2;
	CHECK(refused_as(USH_FAULT_EXTENSION));
	REQUEST->extension_count = 9;
	CHECK(refused_as(USH_FAULT_EXTENSION));
	REQUEST->extension_count = 255;
	CHECK(refused_as(USH_FAULT_EXTENSION));
	REQUEST->extension_count = 1;
	CHECK(passes());
	for (uint32_t size = 0; size < 64; size++) {
		header->size = (uint16_t)size;
		if (size != 16)
			CHECK(refused_as(USH_FAULT_EXTENSION));
	}
	header->size = UINT16_MAX & ~7u;
	CHECK(refused_as(USH_FAULT_EXTENSION));
	/* A header that is cut off. */
	for (uint32_t bytes = 65; bytes < 72; bytes++) {
		start_reserve();
		add(USH_EXTENSION_PAD, 0, 0);
		payload_bytes = bytes;
		REQUEST->size = (uint16_t)bytes;
		CHECK(refused_as(USH_FAULT_EXTENSION));
	}
}

/* Goal: what is reserved in an extension is zero; padding too. */
static void test_admit_extension_reserved_is_refused(void)
{
	for (uint32_t i = 0; i < CARRIED; i++) {
		start_reserve();
		add(carried[i], 0, carried_bytes(carried[i]));
		payload[65] = 1;
		CHECK(refused_as(USH_FAULT_RESERVED));
		start_reserve();
		add(carried[i], 0x80000000u, carried_bytes(carried[i]));
		if (carried[i] == USH_EXTENSION_CLIENT)
			CHECK(refused_as(USH_FAULT_RESERVED));
		else
			CHECK(passes());
	}
	start_reserve();
	add(USH_EXTENSION_PAD, 1, 8);
	CHECK(refused_as(USH_FAULT_RESERVED));
	for (uint32_t at = 72; at < 72 + 24; at++) {
		start_reserve();
		add(USH_EXTENSION_PAD, 0, 24);
		payload[at] = 1;
		CHECK(refused_as(USH_FAULT_RESERVED));
	}
}

/* ---- legs ---- */

/* Goal: where all of a hold can be meant, an empty base leg means that, and nothing may follow. */
static void test_admit_no_leg_means_all(void)
{
	static const uint8_t all[] = {USH_OP_RELEASE, USH_OP_REFUND_BEGIN, USH_OP_REFUND_END};

	for (uint32_t op = 0; op < OPS; op++) {
		if (memchr(all, ops[op].op, sizeof(all)) == NULL)
			continue;
		start(op);
		CHECK(passes());
		CHECK_EQ(out.leg_count, 1);
		REQUEST->mask = 0;
		CHECK(refused_as(USH_FAULT_LEG_EMPTY));
		REQUEST->row = 0;
		CHECK(passes());
		CHECK_EQ(out.leg_count, 0);
		add_legs(1);
		CHECK(refused_as(USH_FAULT_LEG_EMPTY));
	}
}

/* Goal: 1 to 7 further legs where legs are taken. */
static void test_admit_legs_count_and_operation(void)
{
	for (uint32_t op = 0; op < OPS; op++) {
		start(op);
		add_legs(3);
		if ((ops[op].takes & T_MASK) != 0)
			CHECK(passes());
		else
			CHECK(refused_as(USH_FAULT_EXTENSION));
	}
	for (uint32_t legs = 0; legs <= 9; legs++) {
		uint16_t row;
		uint64_t mask;

		start_reserve();
		add_legs(legs);
		if (legs < 1 || legs > 7) {
			CHECK(refused_as(USH_FAULT_LEG_COUNT));
			continue;
		}
		CHECK(passes());
		CHECK_EQ(out.leg_count, 1 + legs);
		ush_admit_leg(&out, 0, &row, &mask);
		CHECK_EQ(row, 3);
		CHECK_EQ(mask, 5);
		for (uint32_t i = 1; i <= legs; i++) {
			ush_admit_leg(&out, i, &row, &mask);
			CHECK_EQ(row, 99 + i);
			CHECK_EQ(mask, 1ull << (i - 1));
		}
		/* The count says one thing, the size another. */
		((struct ush_extension_header *)(void *)(payload + 64))->value = legs % 7 + 1;
		CHECK(refused_as(USH_FAULT_EXTENSION));
	}
}

/* Goal: every leg has a seat, no two the same row, reserved fields are zero. Method: each leg. */
static void test_admit_leg_empty_twice_or_reserved_is_refused(void)
{
	for (uint32_t leg = 1; leg <= 7; leg++) {
		uint8_t *at = payload + 72 + (leg - 1) * 16;
		struct ush_leg broken;

		for (uint32_t fault = 0; fault < 4; fault++) {
			start_reserve();
			add_legs(7);
			memcpy(&broken, at, sizeof(broken));
			if (fault == 0)
				broken.mask = 0;
			else if (fault == 1)
				broken.row = leg == 1 ? 3 : 100;
			else if (fault == 2)
				broken.reserved0 = 1;
			else
				broken.reserved1 = 1;
			memcpy(at, &broken, sizeof(broken));
			CHECK(refused_as(fault == 0   ? USH_FAULT_LEG_EMPTY
					 : fault == 1 ? USH_FAULT_LEG_TWICE
						      : USH_FAULT_RESERVED));
		}
	}
	start_reserve();
	REQUEST->mask = 0;
	CHECK(refused_as(USH_FAULT_LEG_EMPTY));
}

/* ---- digest and reply ---- */

static uint32_t digest(void)
{
	CHECK(passes());
	return out.digest;
}

/* Goal: the digest tells bodies apart, and only bodies. Method: each bit of each body field and leg
 * changes it; request id, cookie, user, event and carried extensions do not. */
static void test_admit_digest_is_of_the_body(void)
{
	static const size_t bits[][2] = {{offsetof(struct ush_request, mask), 64},
		{offsetof(struct ush_request, row), 16},
		{offsetof(struct ush_request, hold_ms), 32}, {72, 16}, {80, 64}, {88, 16},
		{96, 64}};
	uint32_t plain, same = 0, release;

	start_reserve();
	add_legs(2);
	plain = digest();
	for (size_t i = 0; i < sizeof(bits) / sizeof(bits[0]); i++) {
		for (size_t bit = 0; bit < bits[i][1]; bit++) {
			start_reserve();
			REQUEST->mask = 1ull << 63 | 5;
			add_legs(2);
			uint32_t before = digest();
			payload[bits[i][0] + bit / 8] ^= (uint8_t)(1u << bit % 8);
			admit(true);
			same += out.verdict == USH_ADMIT_PASS && out.digest == before;
		}
	}
	CHECK_EQ(same, 0);
	start_reserve();
	add(USH_EXTENSION_CLIENT, 0, 16);
	add_legs(2);
	add(USH_EXTENSION_MAC, 77, 16);
	REQUEST->cookie = 1;
	REQUEST->request_id = 1;
	REQUEST->user = 1;
	REQUEST->event = 1;
	CHECK_EQ(digest(), plain);
	start_reserve();
	CHECK(digest() != plain);
	start(2);
	release = digest();
	REQUEST->hold ^= 1ull << 63;
	CHECK(digest() != release);
}

/* Goal: the fixed part of a reply is that of the request, all else zero. */
static void test_admit_reply_echoes_request(void)
{
	struct ush_reply reply, expected = {
					.magic = USH_REPLY_MAGIC,
					.version = USH_VERSION,
					.op = USH_OP_RELEASE,
					.size = 64,
					.status = USH_STATUS_STALE,
					.event = 7,
					.request_id = 9,
					.cookie = 0xc00c1e,
					.hold = 13,
				};

	start(2);
	memset(&reply, 0xa5, sizeof(reply));
	ush_admit_reply(&reply, REQUEST, USH_STATUS_STALE);
	CHECK(memcmp(&reply, &expected, sizeof(reply)) == 0);
}

int main(void)
{
	TAP_RUN(test_admit_operation_well_formed_passes);
	TAP_RUN(test_admit_field_not_taken_is_refused);
	TAP_RUN(test_admit_zero_user_or_id_is_refused);
	TAP_RUN(test_admit_no_request_is_dropped);
	TAP_RUN(test_admit_size_limit_is_the_port_s);
	TAP_RUN(test_admit_faults_are_told_in_order);
	TAP_RUN(test_admit_unknown_operation_is_named);
	TAP_RUN(test_admit_carried_extension_has_its_size);
	TAP_RUN(test_admit_extension_unknown_type_is_refused);
	TAP_RUN(test_admit_extension_twice_or_after_mac_is_refused);
	TAP_RUN(test_admit_extension_count_or_size_wrong_is_refused);
	TAP_RUN(test_admit_extension_reserved_is_refused);
	TAP_RUN(test_admit_no_leg_means_all);
	TAP_RUN(test_admit_legs_count_and_operation);
	TAP_RUN(test_admit_leg_empty_twice_or_reserved_is_refused);
	TAP_RUN(test_admit_digest_is_of_the_body);
	TAP_RUN(test_admit_reply_echoes_request);
	return tap_end();
}
