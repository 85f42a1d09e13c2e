/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packets that no appliance may act on. Each starts as a good RESERVE and is broken in one way, so
 * that an appliance that fails to look grants it, and we count `malformed_accepted`.
 *
 * They take no slot and are not counted as asked: a named refusal or silence are both right.
 */
#include <string.h>

#include "load.h"

/* A user that no run simulates. */
#define MALFORMED_USER 0xfffffffffffffff0ull

enum fault {
	FAULT_MAGIC,
	FAULT_VERSION,
	FAULT_OP_UNKNOWN,
	FAULT_OP_ZERO,
	FAULT_OP_PRIVILEGED,
	FAULT_RESERVED,
	FAULT_SIZE_ABOVE,
	FAULT_SIZE_BELOW,
	FAULT_EXTENSION_MISSING,
	FAULT_EXTENSION_COUNT,
	FAULT_EXTENSION_UNKNOWN,
	FAULT_EXTENSION_SIZE_ZERO,
	FAULT_EXTENSION_SIZE_ODD,
	FAULT_EXTENSION_SIZE_BEYOND,
	FAULT_EXTENSION_RESERVED,
	FAULT_PAD_NOT_ZERO,
	FAULT_LEGS_NONE,
	FAULT_LEGS_COUNT,
	FAULT_LEG_TWICE,
	FAULT_LEG_EMPTY,
	FAULT_MASK_EMPTY,
	FAULT_ROW_BEYOND,
	FAULT_SEAT_BEYOND,
	FAULT_USER_ZERO,
	FAULT_REQUEST_ID_ZERO,
	FAULT_EVENT_UNKNOWN,
	FAULT_EVENT_ZERO,
	FAULT_HOLD_TIME,
	FAULT_ARG,
	FAULT_HOLD,
	FAULT_SECTION,
	FAULT_CUT,
	FAULT_TOO_LONG,
	FAULT_RANDOM,
	FAULT_RANDOM_BODY,
	FAULT_COUNT,
};

/* A request with one extension after it, in scratch memory. */
struct extended {
	struct ush_request request;
	struct ush_extension_header header;
	struct ush_leg leg;
};

static void fill_random(struct load *load, uint8_t *at, uint32_t bytes)
{
	for (uint32_t i = 0; i < bytes; i++)
		at[i] = (uint8_t)(ush_random_next(&load->random) >> 56);
}

static struct ush_request good_request(struct load *load)
{
	const struct load_event *event = &load->events[0];
	uint32_t row = event->venue->usable[0];

	return (struct ush_request){
		.magic = USH_REQUEST_MAGIC,
		.version = USH_VERSION,
		.op = USH_OP_RESERVE,
		.size = sizeof(struct ush_request),
		.event = event->id,
		.request_id =
			(uint32_t)(load->options.request_id_base + load->stats.malformed_sent),
		.user = MALFORMED_USER,
		.mask = event->venue->seats[row] & -event->venue->seats[row],
		.row = (uint16_t)row,
		.cookie = LOAD_COOKIE_MALFORMED | load->stats.malformed_sent,
	};
}

/* Faults of the base request. ret: bytes to send. */
static uint32_t break_base(struct ush_request *request, enum fault fault)
{
	uint32_t bytes = sizeof(*request);

	switch (fault) {
	case FAULT_MAGIC:
		request->magic ^= 0x0100;
		break;
	case FAULT_VERSION:
		request->version = USH_VERSION + 1;
		break;
	case FAULT_OP_UNKNOWN:
		request->op = 200;
		break;
	case FAULT_OP_ZERO:
		request->op = 0;
		break;
	case FAULT_OP_PRIVILEGED:
		request->op = USH_OP_CONFIRM;
		break;
	case FAULT_RESERVED:
		request->reserved0 = 1;
		break;
	case FAULT_SIZE_ABOVE:
		request->size = (uint16_t)(bytes + 8);
		break;
	case FAULT_SIZE_BELOW:
		request->size = (uint16_t)(bytes - 8);
		break;
	case FAULT_EXTENSION_MISSING:
		request->extension_count = 1;
		break;
	default:
		break;
	}
	return bytes;
}

/* Faults of single values. */
static void break_value(struct ush_request *request, enum fault fault)
{
	switch (fault) {
	case FAULT_MASK_EMPTY:
		request->mask = 0;
		break;
	case FAULT_ROW_BEYOND:
		request->row = UINT16_MAX;
		break;
	case FAULT_USER_ZERO:
		request->user = 0;
		break;
	case FAULT_REQUEST_ID_ZERO:
		request->request_id = 0;
		break;
	case FAULT_EVENT_UNKNOWN:
		request->event = USH_EVENT_ID_MAX + 1;
		break;
	case FAULT_EVENT_ZERO:
		request->event = 0;
		break;
	case FAULT_HOLD_TIME:
		request->hold_ms = UINT32_MAX;
		break;
	case FAULT_ARG:
		request->arg = 1;
		break;
	case FAULT_HOLD:
		request->hold = 1;
		break;
	case FAULT_SECTION:
		request->section = 1;
		break;
	default:
		break;
	}
}

/* Faults of extensions. ret: bytes to send. */
static uint32_t break_extension(struct extended *message, enum fault fault)
{
	uint32_t bytes = sizeof(*message);

	message->header = (struct ush_extension_header){
		.type = USH_EXTENSION_LEGS, .size = sizeof(*message) - 64, .value = 1};
	message->leg = (struct ush_leg){.row = (uint16_t)(message->request.row + 1), .mask = 1};
	message->request.extension_count = 1;
	message->request.size = sizeof(*message);
	switch (fault) {
	case FAULT_EXTENSION_COUNT:
		message->request.extension_count = 9;
		break;
	case FAULT_EXTENSION_UNKNOWN:
		message->header.type = 99;
		break;
	case FAULT_EXTENSION_SIZE_ZERO:
		message->header.size = 0;
		break;
	case FAULT_EXTENSION_SIZE_ODD:
		message->header.size = (uint16_t)(message->header.size - 3);
		break;
	case FAULT_EXTENSION_SIZE_BEYOND:
		message->header.size = (uint16_t)(message->header.size + 8);
		break;
	case FAULT_EXTENSION_RESERVED:
		message->header.reserved0 = 1;
		break;
	case FAULT_PAD_NOT_ZERO:
		message->header.type = USH_EXTENSION_PAD;
		message->header.value = 0;
		break;
	case FAULT_LEGS_NONE:
		message->header.value = 0;
		break;
	case FAULT_LEGS_COUNT:
		message->header.value = 8;
		break;
	case FAULT_LEG_TWICE:
		message->leg.row = message->request.row;
		break;
	case FAULT_LEG_EMPTY:
		message->leg.mask = 0;
		break;
	default:
		break;
	}
	return bytes;
}

/* A seat that the row does not have, or a row that is not there when every row is full. A house
 * seat looks the same from here, and is refused as TAKEN. */
static void break_seat(struct load *load, struct ush_request *request)
{
	const struct load_venue *venue = load->events[0].venue;

	for (uint32_t i = 0; i < venue->usable_count; i++) {
		uint64_t missing = ~venue->seats[venue->usable[i]];

		if (missing != 0) {
			request->row = (uint16_t)venue->usable[i];
			request->mask = 1ull << (63 - __builtin_clzll(missing));
			return;
		}
	}
	request->row = UINT16_MAX;
}

/* Builds the payload. ret: its size. */
static uint32_t make_payload(struct load *load, uint8_t *scratch, enum fault fault)
{
	struct ush_request *request = (struct ush_request *)scratch;
	uint32_t bytes = sizeof(*request);

	memset(scratch, 0, sizeof(struct extended));
	*request = good_request(load);
	if (fault <= FAULT_EXTENSION_MISSING)
		return break_base(request, fault);
	if (fault <= FAULT_LEG_EMPTY)
		return break_extension((struct extended *)scratch, fault);
	switch (fault) {
	case FAULT_SEAT_BEYOND:
		break_seat(load, request);
		break;
	case FAULT_CUT:
		bytes = (uint32_t)ush_random_below(&load->random, sizeof(*request));
		break;
	case FAULT_TOO_LONG:
		bytes = LOAD_PAYLOAD_MAX;
		memset(request + 1, 0, bytes - sizeof(*request));
		request->size = (uint16_t)bytes;
		request->extension_count = 1;
		*(struct ush_extension_header *)(request + 1) = (struct ush_extension_header){
			.type = USH_EXTENSION_PAD, .size = (uint16_t)(bytes - sizeof(*request))};
		break;
	case FAULT_RANDOM:
		bytes = 1 + (uint32_t)ush_random_below(&load->random, LOAD_PAYLOAD_MAX);
		fill_random(load, scratch, bytes);
		break;
	case FAULT_RANDOM_BODY:
		fill_random(load, scratch + offsetof(struct ush_request, extension_count),
			sizeof(*request) - offsetof(struct ush_request, extension_count));
		request->cookie = LOAD_COOKIE_MALFORMED | load->stats.malformed_sent;
		break;
	default:
		break_value(request, fault);
		break;
	}
	return bytes;
}

void load_malformed_next(struct load *load, uint64_t now_ns)
{
	uint32_t faults = FAULT_COUNT;
	uint8_t *scratch = load->batch.buffer[load->batch.count];
	struct load_packet *packet = &load->batch.packet[load->batch.count++];
	uint32_t turn;

	USH_ASSERT(load->batch.count <= LOAD_BURST);
	/* Frame faults follow the payload faults in turn, where frames are ours to break. */
	if (load->transport->frames)
		faults += LOAD_FRAME_FAULT_COUNT - 1;
	turn = (uint32_t)(load->stats.malformed_sent % faults);
	*packet = (struct load_packet){
		.head = scratch, .flow = load->batch.flow++, .time_ns = now_ns};
	if (turn < FAULT_COUNT) {
		packet->head_bytes = (uint16_t)make_payload(load, scratch, (enum fault)turn);
	} else {
		*(struct ush_request *)scratch = good_request(load);
		packet->head_bytes = sizeof(struct ush_request);
		packet->fault = (uint16_t)(turn - FAULT_COUNT + LOAD_FRAME_GOOD + 1);
	}
	load->stats.malformed_sent++;
}
