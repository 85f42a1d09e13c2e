/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Questions about events, and the privileged operations on them. The port they came through has
 * been checked already (admit).
 */
#include <string.h>

#include "loop/internal.h"

void decide_reply_after_all(
	struct ush_loop *loop, struct ush_packet *packet, struct ush_reply *reply)
{
	uint64_t last = ush_log_reserved(&loop->engine->log) - 1;

	reply->sequence = last;
	loop_reply_after(loop, packet, reply, last);
}

void decide_status(
	struct ush_loop *loop, struct ush_packet *packet, const struct ush_admitted *admitted)
{
	const struct ush_engine *engine = loop->engine;
	const struct ush_event *event;
	struct ush_reply reply;

	ush_admit_reply(&reply, &admitted->request, USH_STATUS_OK);
	if (admitted->request.event == 0) {
		reply.sequence = ush_log_durable(&engine->log) - 1;
		loop_reply_now(loop, packet, &reply);
		return;
	}
	event = ush_inventory_event(&engine->inventory, admitted->request.event);
	if (event == NULL) {
		loop_refuse(loop, packet, admitted, USH_STATUS_UNKNOWN_EVENT, 0);
		return;
	}
	reply.detail = atomic_load_explicit(&event->status, memory_order_acquire);
	if (reply.detail == USH_EVENT_STATUS_ON_SALE &&
		ush_event_sold_out(event, ush_log_durable(&engine->log)))
		reply.detail = USH_EVENT_STATUS_SOLD_OUT;
	reply.amount = ush_event_free_count(event);
	decide_reply_after_all(loop, packet, &reply);
}

/* Writes the ROWS extension after the reply. ret: its bytes. */
static uint32_t put_rows(uint8_t *at, const struct ush_loop *loop, const struct ush_event *event,
	uint32_t channel, uint32_t first, uint32_t count_rows)
{
	struct ush_extension_header header = {
		.type = USH_EXTENSION_ROWS,
		.size = (uint16_t)(sizeof(header) + count_rows * sizeof(uint64_t)),
		.value = first,
	};

	memcpy(at, &header, sizeof(header));
	at += sizeof(header);
	for (uint32_t i = 0; i < count_rows; i++, at += sizeof(uint64_t)) {
		uint64_t free = ush_row_available(ush_event_row(event, first + i)) |
				decide_channel_available(loop, event, channel, first + i);
		memcpy(at, &free, sizeof(free));
	}
	return header.size;
}

void decide_query_section(
	struct ush_loop *loop, struct ush_packet *packet, const struct ush_admitted *admitted)
{
	const struct ush_request *request = &admitted->request;
	const struct ush_event *event =
		ush_inventory_event(&loop->engine->inventory, request->event);
	const struct ush_venue_section *section;
	struct ush_reply reply;
	uint32_t room = admitted->size, rows, fit, channel = admitted->channel;

	if (event == NULL) {
		loop_refuse(loop, packet, admitted, USH_STATUS_UNKNOWN_EVENT, 0);
		return;
	}
	if (request->section >= ush_event_section_count(event) ||
		request->row >= ush_event_section(event, request->section)->row_count) {
		loop_refuse(loop, packet, admitted, USH_STATUS_BAD_REQUEST, USH_FAULT_SECTION);
		return;
	}
	if (!decide_channel(loop, admitted, event)) {
		loop_refuse(loop, packet, admitted, USH_STATUS_CHANNEL, 0);
		return;
	}
	section = ush_event_section(event, request->section);
	ush_admit_reply(&reply, request, USH_STATUS_OK);
	reply.amount = section->row_count;
	/* On a public port a reply is never longer than its request. */
	if ((packet->flags & USH_PACKET_CONTROL) != 0)
		room = packet->capacity;
	if (room > USH_PAYLOAD_BYTES_MAX)
		room = USH_PAYLOAD_BYTES_MAX;
	rows = section->row_count - request->row;
	fit = room < USH_REPLY_BYTES + sizeof(struct ush_extension_header)
		      ? 0
		      : (room - USH_REPLY_BYTES - (uint32_t)sizeof(struct ush_extension_header)) /
				8;
	if (rows > fit)
		rows = fit;
	reply.detail = request->row + rows < section->row_count ? request->row + rows : 0;
	if (rows != 0) {
		reply.extension_count = 1;
		reply.size =
			(uint16_t)(USH_REPLY_BYTES +
				   put_rows(loop_payload(packet) + USH_REPLY_BYTES, loop, event,
					   channel, section->row_first + request->row, rows));
	}
	decide_reply_after_all(loop, packet, &reply);
}

struct act *decide_event_act(struct ush_loop *loop, struct ush_packet *packet,
	const struct ush_admitted *admitted, struct ush_event *event, enum act_kind kind,
	enum ush_record_type type)
{
	struct act *act = loop_act(loop, 1);
	struct ush_record *record = loop_act_record(loop, act);

	act->kind = (uint8_t)kind;
	act->has_reply = 1;
	act->event = event;
	act->packet = packet;
	ush_admit_reply(&act->reply, &admitted->request, USH_STATUS_OK);
	record->type = (uint8_t)type;
	record->event = event->id;
	return act;
}

void decide_event_load(
	struct ush_loop *loop, struct ush_packet *packet, const struct ush_admitted *admitted)
{
	struct ush_engine *engine = loop->engine;
	struct ush_event *loaded;
	struct ush_event *event = packet->attachment;
	struct ush_reply reply;
	struct ush_record *record;
	struct act *act;

	loop_flush(loop);
	loaded = ush_inventory_event(&engine->inventory, admitted->request.event);
	if ((packet->flags & USH_PACKET_ATTACHED) == 0 || event == NULL ||
		event->id != admitted->request.event) {
		loop_refuse(loop, packet, admitted, USH_STATUS_BAD_IMAGE, 0);
		return;
	}
	if (loaded != NULL) {
		ush_admit_reply(&reply, &admitted->request,
			loaded->digest == event->digest || ush_event_digest(loaded) == event->digest
				? USH_STATUS_OK
				: USH_STATUS_EVENT_EXISTS);
		reply.detail = 1;
		reply.amount = ush_event_seat_count(loaded);
		decide_reply_after_all(loop, packet, &reply);
		return;
	}
	if (!loop->room_kept) {
		loop_refuse(loop, packet, admitted, USH_STATUS_BUSY, 0);
		return;
	}
	act = decide_event_act(loop, packet, admitted, event, ACT_EVENT, USH_RECORD_TYPE_EVENT);
	record = &loop->records[act->record_first];
	record->state = USH_EVENT_STATUS_DRAFT;
	record->hold = event->digest;
	record->mask = ush_event_seat_count(event);
	record->amount = ush_event_row_count(event);
	act->reply.amount = ush_event_seat_count(event);
	loop_act_done(loop, act);
	loop_flush(loop);
}

void decide_event_status(
	struct ush_loop *loop, struct ush_packet *packet, const struct ush_admitted *admitted)
{
	struct ush_event *event =
		ush_inventory_event(&loop->engine->inventory, admitted->request.event);
	uint64_t status = admitted->request.arg;
	uint32_t before;
	struct ush_record *record;
	struct act *act;

	if (event == NULL) {
		loop_refuse(loop, packet, admitted, USH_STATUS_UNKNOWN_EVENT, 0);
		return;
	}
	if (status != USH_EVENT_STATUS_DRAFT && status != USH_EVENT_STATUS_ON_SALE &&
		status != USH_EVENT_STATUS_PAUSED && status != USH_EVENT_STATUS_COMPLETED &&
		status != USH_EVENT_STATUS_CANCELLED) {
		loop_refuse(loop, packet, admitted, USH_STATUS_BAD_REQUEST, USH_FAULT_ARGUMENT);
		return;
	}
	loop_flush(loop);
	/* All that changes an event's status comes through one loop. */
	before = atomic_load_explicit(&event->status, memory_order_acquire);
	if (!ush_event_status_follows(before, (uint32_t)status)) {
		loop_refuse(loop, packet, admitted, USH_STATUS_WRONG_STATUS, before);
		return;
	}
	if (!loop->room_kept) {
		loop_refuse(loop, packet, admitted, USH_STATUS_BUSY, 0);
		return;
	}
	act = decide_event_act(
		loop, packet, admitted, event, ACT_EVENT_STATUS, USH_RECORD_TYPE_EVENT_STATUS);
	record = &loop->records[act->record_first];
	record->state = (uint8_t)status;
	record->mask = before;
	act->reply.detail = (uint32_t)status;
	loop_act_done(loop, act);
	loop_flush(loop);
}

/* Where money moves. */
static void decide_money(
	struct ush_loop *loop, struct ush_packet *packet, const struct ush_admitted *admitted)
{
	switch (admitted->request.op) {
	case USH_OP_PAY_BEGIN:
		decide_pay_begin(loop, packet, admitted);
		break;
	case USH_OP_PAY_END:
		decide_pay_end(loop, packet, admitted);
		break;
	case USH_OP_PAY_LATE:
		decide_pay_late(loop, packet, admitted);
		break;
	case USH_OP_REFUND_BEGIN:
		decide_refund_begin(loop, packet, admitted);
		break;
	case USH_OP_TRANSFER:
		decide_transfer(loop, packet, admitted);
		break;
	default:
		decide_refund_end(loop, packet, admitted);
		break;
	}
}

/* Where one waits. */
static void decide_room(
	struct ush_loop *loop, struct ush_packet *packet, const struct ush_admitted *admitted)
{
	switch (admitted->request.op) {
	case USH_OP_JOIN:
		decide_join(loop, packet, admitted);
		break;
	case USH_OP_EXCHANGE:
		decide_exchange(loop, packet, admitted);
		break;
	case USH_OP_POSITION:
		decide_position(loop, packet, admitted);
		break;
	case USH_OP_ROOM_CONTROL:
		decide_room_control(loop, packet, admitted);
		break;
	case USH_OP_ROOM_SHOW:
		decide_room_show(loop, packet, admitted);
		break;
	case USH_OP_ROOM_PLACES:
		decide_room_places(loop, packet, admitted);
		break;
	default:
		/* STATS is answered by the control port itself. */
		loop_refuse(loop, packet, admitted, USH_STATUS_BAD_OP, 0);
		break;
	}
}

void decide(struct ush_loop *loop, struct ush_packet *packet, struct ush_admitted *admitted)
{
	loop_make_room(loop);
	switch (admitted->request.op) {
	case USH_OP_RESERVE:
		decide_reserve(loop, packet, admitted);
		break;
	case USH_OP_RESERVE_BEST:
	case USH_OP_RESERVE_AREA:
		decide_best(loop, packet, admitted);
		break;
	case USH_OP_WAIT_LIST:
		decide_wait_list(loop, packet, admitted);
		break;
	case USH_OP_RELEASE:
		decide_release(loop, packet, admitted);
		break;
	case USH_OP_SWAP:
		decide_swap(loop, packet, admitted);
		break;
	case USH_OP_EXTEND:
		decide_extend(loop, packet, admitted);
		break;
	case USH_OP_PAY_BEGIN:
	case USH_OP_PAY_END:
	case USH_OP_PAY_LATE:
	case USH_OP_REFUND_BEGIN:
	case USH_OP_TRANSFER:
	case USH_OP_REFUND_END:
		decide_money(loop, packet, admitted);
		break;
	case USH_OP_QUERY_HOLD:
		decide_query_hold(loop, packet, admitted);
		break;
	case USH_OP_QUERY_SECTION:
		decide_query_section(loop, packet, admitted);
		break;
	case USH_OP_STATUS:
		decide_status(loop, packet, admitted);
		break;
	case USH_OP_CONFIRM:
		decide_confirm(loop, packet, admitted);
		break;
	case USH_OP_EVENT_LOAD:
		decide_event_load(loop, packet, admitted);
		break;
	case USH_OP_EVENT_STATUS:
		decide_event_status(loop, packet, admitted);
		break;
	case USH_OP_EVENT_CHANGE:
		decide_event_change(loop, packet, admitted);
		break;
	case USH_OP_BLOCK:
	case USH_OP_UNBLOCK:
		decide_house(loop, packet, admitted);
		break;
	case USH_OP_BOOKINGS:
		decide_bookings(loop, packet, admitted);
		break;
	case USH_OP_CHANNEL_KEY:
		decide_channel_key(loop, packet, admitted);
		break;
	default:
		decide_room(loop, packet, admitted);
		break;
	}
}
