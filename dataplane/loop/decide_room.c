/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JOIN, EXCHANGE and POSITION: what users ask of a waiting room. None of them needs a user's line
 * or a request id: a user has one place, and a place one word.
 *
 * Happy path of JOIN: a number is taken, a place in the table won, the record joins the batch; once
 * it has its slot the place is shown, once it is durable the ticket goes out. Of EXCHANGE: the
 * ticket is good, its number was called, its word is taken; the record joins the batch, and then
 * the word remembers when the token expires.
 *
 * Failure modes: no room in the log: BUSY before anything is taken. The user, or the ticket, is in
 * another loop's batch: RETRY; in ours the batch is flushed first.
 */
#include <string.h>

#include "loop/internal.h"

#define FLAG_REPEAT (1u << 16)
#define FLAG_SLOW (2u << 16)
/* Nearer than this a position is exact. */
#define NEAR 256u

const uint8_t *decide_extension(
	const uint8_t *payload, const struct ush_request *request, uint8_t type, uint32_t *value)
{
	uint32_t at = USH_REQUEST_BYTES;

	for (uint32_t i = 0; i < request->extension_count; i++) {
		struct ush_extension_header header;

		memcpy(&header, payload + at, sizeof(header));
		if (header.type == type) {
			*value = header.value;
			return payload + at + sizeof(header);
		}
		at += header.size;
	}
	return NULL;
}

struct act *decide_room_act(struct ush_loop *loop, struct ush_queue *queue, enum act_kind kind,
	uint8_t type, uint32_t records)
{
	struct act *act = loop_act(loop, records);

	act->kind = (uint8_t)kind;
	act->queue = queue;
	for (uint32_t i = 0; i < records; i++) {
		struct ush_record *record = loop_act_record(loop, act);

		record->type = type;
		record->event = queue->event;
	}
	return act;
}

/* ret: the room of the request's event, while it can still lead to a seat; NULL: answered. */
static struct ush_queue *open_room(
	struct ush_loop *loop, struct ush_packet *packet, const struct ush_admitted *admitted)
{
	struct ush_engine *engine = loop->engine;
	uint32_t id = admitted->request.event;
	const struct ush_event *event = ush_inventory_event(&engine->inventory, id);
	struct ush_queue *queue = ush_rooms_find(&engine->rooms, id);
	struct ush_reply reply;
	uint32_t status;

	if (event == NULL || queue == NULL) {
		loop_refuse(loop, packet, admitted,
			event == NULL ? USH_STATUS_UNKNOWN_EVENT : USH_STATUS_NO_ROOM, 0);
		return NULL;
	}
	status = atomic_load_explicit(&event->status, memory_order_acquire);
	if (ush_unlikely(
		    status == USH_EVENT_STATUS_COMPLETED || status == USH_EVENT_STATUS_CANCELLED)) {
		loop_refuse(loop, packet, admitted, USH_STATUS_NOT_ON_SALE, status);
		return NULL;
	}
	if (ush_unlikely(ush_event_sold_out(event, ush_log_durable(&engine->log)))) {
		ush_admit_reply(&reply, &admitted->request, USH_STATUS_SOLD_OUT);
		if (ush_waits_on(&engine->waits))
			reply.amount = ush_wait_count(&engine->waits, id);
		loop_reply_now(loop, packet, &reply);
		return NULL;
	}
	return queue;
}

/* ---- JOIN ---- */

static void put_ticket(const struct ush_loop *loop, const struct ush_queue *queue, uint64_t user,
	const struct ush_room_place *place, struct ush_reply *reply)
{
	struct ush_ticket ticket = {.user = user,
		.number = place->number,
		.event = queue->event,
		.tier = (uint8_t)place->tier};
	struct ush_ticket_keys keys;

	(void)loop;
	ush_queue_keys(queue, &keys);
	reply->hold = ush_ticket_mint(&keys, &ticket);
	reply->amount = place->number;
	reply->detail = place->tier | (uint32_t)ticket.key_id << 8;
}

static uint64_t device_of(const struct ush_packet *packet, const struct ush_admitted *admitted)
{
	uint32_t value;
	uint64_t device = 0;
	const uint8_t *body = decide_extension(
		loop_payload(packet), &admitted->request, USH_EXTENSION_DEVICE, &value);

	if (body != NULL)
		memcpy(&device, body, sizeof(device));
	return device;
}

/* The user has a new place: its record joins the batch. */
static void join(struct ush_loop *loop, struct ush_packet *packet,
	const struct ush_admitted *admitted, struct ush_queue *queue,
	const struct ush_room_place *place, uint64_t device, bool slow)
{
	struct act *act = decide_room_act(loop, queue, ACT_ROOM_JOIN, USH_RECORD_TYPE_ROOM_JOIN, 1);
	struct ush_record *record = &loop->records[act->record_first];
	struct ush_reply reply;

	record->user = admitted->request.user;
	record->hold = device;
	record->amount = place->number;
	record->state = (uint8_t)(place->tier | (slow ? 128u : 0u));
	record->deadline_ns = loop->now_ns;
	act->hold = place->slot;
	ush_devices_join(&loop->engine->devices, queue->event, device);
	ush_admit_reply(&reply, &admitted->request, USH_STATUS_OK);
	put_ticket(loop, queue, admitted->request.user, place, &reply);
	reply.detail |= slow ? FLAG_SLOW : 0;
	decide_reply(act, packet, &reply);
	loop_act_done(loop, act);
}

/* The user had joined before. */
static void join_again(struct ush_loop *loop, struct ush_packet *packet,
	const struct ush_admitted *admitted, const struct ush_queue *queue,
	const struct ush_room_place *place)
{
	struct ush_reply reply;

	ush_admit_reply(&reply, &admitted->request, USH_STATUS_OK);
	put_ticket(loop, queue, admitted->request.user, place, &reply);
	reply.detail |= FLAG_REPEAT;
	decide_reply_after_all(loop, packet, &reply);
}

/* As ush_room_join; without room in the log nobody new joins. */
static enum ush_room_result try_join(struct ush_loop *loop, struct ush_queue *queue, uint64_t hash,
	uint64_t user, uint32_t tier, struct ush_room_place *place)
{
	enum ush_room_result result;

	if (ush_likely(loop->room_new))
		return ush_room_join(&queue->room, hash, user, tier, place);
	result = ush_room_find(&queue->room, hash, user, place);
	return result;
}

void decide_join(
	struct ush_loop *loop, struct ush_packet *packet, const struct ush_admitted *admitted)
{
	const struct ush_request *request = &admitted->request;
	struct ush_queue *queue;
	struct ush_room_place place;
	enum ush_room_result result;
	uint64_t hash, device;
	uint32_t tier = (uint32_t)request->arg, users;
	bool slow;

	if (request->arg >= USH_ROOM_TIERS) {
		loop_refuse(loop, packet, admitted, USH_STATUS_BAD_REQUEST, USH_FAULT_ARGUMENT);
		return;
	}
	queue = open_room(loop, packet, admitted);
	if (queue == NULL)
		return;
	device = device_of(packet, admitted);
	users = ush_devices_count(&loop->engine->devices, request->event, device);
	slow = device != 0 && ush_device_is_slow(users + 1, queue->opened.device_users);
	hash = ush_queue_hash(queue, request->user);
	if (slow)
		tier = USH_ROOM_TIERS - 1;
	result = try_join(loop, queue, hash, request->user, tier, &place);
	if (ush_unlikely(result == USH_ROOM_PENDING && loop->act_count != 0)) {
		/* Perhaps it is this batch that others wait for. */
		loop_flush(loop);
		result = try_join(loop, queue, hash, request->user, tier, &place);
	}
	switch (result) {
	case USH_ROOM_JOINED:
		join(loop, packet, admitted, queue, &place, device, slow);
		break;
	case USH_ROOM_ALREADY:
		join_again(loop, packet, admitted, queue, &place);
		break;
	case USH_ROOM_PENDING:
		loop_refuse(loop, packet, admitted, USH_STATUS_RETRY, 0);
		break;
	case USH_ROOM_FULL:
		loop_refuse(loop, packet, admitted, USH_STATUS_ROOM_FULL, queue->opened.users);
		break;
	case USH_ROOM_ABSENT:
		loop_refuse(loop, packet, admitted, USH_STATUS_BUSY, 0);
		break;
	}
}

/* ---- EXCHANGE and POSITION ---- */

/* Before the others are asked: is the ticket good? out: ticket. ret: 0, or enum ush_ticket_fault.
 */
static uint32_t check_ticket(const struct ush_packet *packet, const struct ush_admitted *admitted,
	const struct ush_queue *queue, struct ush_ticket *ticket)
{
	struct ush_ticket_keys keys;
	uint32_t value;
	uint64_t tag;
	const uint8_t *body = decide_extension(
		loop_payload(packet), &admitted->request, USH_EXTENSION_TICKET, &value);

	if (body == NULL)
		return USH_TICKET_FAULT_MISSING;
	*ticket = (struct ush_ticket){.user = admitted->request.user,
		.event = queue->event,
		.tier = (uint8_t)value,
		.key_id = (uint8_t)(value >> 8)};
	memcpy(&ticket->number, body, sizeof(ticket->number));
	memcpy(&tag, body + sizeof(ticket->number), sizeof(tag));
	ush_queue_keys(queue, &keys);
	if (value >> 16 != 0)
		return USH_TICKET_FAULT_FORGED;
	switch (ush_ticket_check(&keys, ticket, tag)) {
	case USH_TICKET_GOOD:
		return 0;
	case USH_TICKET_KEY_UNKNOWN:
		return USH_TICKET_FAULT_KEY;
	default:
		return USH_TICKET_FAULT_FORGED;
	}
}

/* What EXCHANGE and POSITION begin with. out: ticket, *number. ret: NULL: answered. */
static struct ush_queue *open_ticket(struct ush_loop *loop, struct ush_packet *packet,
	const struct ush_admitted *admitted, struct ush_ticket *ticket, uint64_t *number)
{
	struct ush_queue *queue = open_room(loop, packet, admitted);
	uint32_t fault, phase;

	if (queue == NULL)
		return NULL;
	fault = check_ticket(packet, admitted, queue, ticket);
	if (fault != 0) {
		loop_refuse(loop, packet, admitted, USH_STATUS_TICKET, fault);
		return NULL;
	}
	phase = ush_queue_phase(queue);
	/* A position is told at once, so the order it is of must be durable. */
	if (phase == USH_ROOM_PHASE_SERVING &&
		ush_unlikely(!ush_queue_order_is_kept(queue, ush_log_durable(&loop->engine->log))))
		phase = USH_ROOM_PHASE_DRAW;
	if (phase != USH_ROOM_PHASE_SERVING) {
		loop_refuse(loop, packet, admitted, USH_STATUS_ROOM_PHASE, phase);
		return NULL;
	}
	*number = ush_queue_number(queue, ticket->tier, ticket->number);
	if (*number == UINT64_MAX) {
		loop_refuse(loop, packet, admitted, USH_STATUS_TICKET, USH_TICKET_FAULT_FORGED);
		return NULL;
	}
	return queue;
}

/* Three digits of the binary number, rounded up: who looks again and again learns nothing about
 * those just before. */
static uint64_t coarse(uint64_t ahead)
{
	uint32_t shift;

	if (ahead <= NEAR)
		return ahead;
	shift = 61u - (uint32_t)__builtin_clzll(ahead);
	return ((ahead + ((1ull << shift) - 1)) >> shift) << shift;
}

static void tell_waiting(struct ush_loop *loop, struct ush_packet *packet,
	const struct ush_admitted *admitted, const struct ush_queue *queue, uint64_t number,
	uint16_t word, uint64_t serving)
{
	uint64_t ahead = number >= serving ? number - serving + 1 : 1, wait_ns;
	struct ush_reply reply;

	if (word == USH_VISIT_SLOW)
		ahead += queue->opened.slow_places;
	ahead = coarse(ahead);
	wait_ns = atomic_load_explicit(&queue->wait_ns, memory_order_relaxed);
	ush_admit_reply(&reply, &admitted->request, USH_STATUS_WAITING);
	reply.amount = ahead;
	reply.deadline_ns = wait_ns == 0 ? 0 : loop->now_ns + ahead * wait_ns;
	loop_reply_now(loop, packet, &reply);
}

void decide_position(
	struct ush_loop *loop, struct ush_packet *packet, const struct ush_admitted *admitted)
{
	struct ush_ticket ticket;
	struct ush_reply reply;
	uint64_t number, serving;
	uint16_t word;
	const struct ush_queue *queue = open_ticket(loop, packet, admitted, &ticket, &number);

	if (queue == NULL)
		return;
	serving = atomic_load_explicit(&queue->serving, memory_order_acquire);
	word = ush_visit(queue, number);
	if (!ush_queue_is_called(queue, number, word, serving)) {
		tell_waiting(loop, packet, admitted, queue, number, word, serving);
		return;
	}
	ush_admit_reply(&reply, &admitted->request, USH_STATUS_OK);
	loop_reply_now(loop, packet, &reply);
}

/* The newest live key of access tokens. ret: NULL: admission is off, nobody checks tokens. */
static const struct ush_admit_key *token_key(const struct ush_loop *loop)
{
	const struct ush_admit_config *config;

	if (!admission_on(loop))
		return NULL;
	config = ush_gate_config(loop->engine->gate);
	for (uint32_t i = 2; i-- > 0;) {
		if (config->token[i].live != 0)
			return &config->token[i];
	}
	return NULL;
}

/* docs/admission.md, 7.3. */
static void put_token(const struct ush_loop *loop, const struct ush_admitted *admitted,
	uint32_t tier, uint64_t expiry_ns, struct ush_reply *reply)
{
	const struct ush_request *request = &admitted->request;
	const struct ush_admit_key *key = token_key(loop);
	uint64_t words[3];

	reply->deadline_ns = expiry_ns;
	reply->detail = tier | request->event << 16;
	reply->hold = 0;
	if (key == NULL)
		return;
	reply->detail |= (uint32_t)(key->id & 0xff) << 8;
	words[0] = USH_EXTENSION_TOKEN | 32u << 16 | (uint64_t)reply->detail << 32;
	words[1] = request->user;
	words[2] = expiry_ns;
	reply->hold = ush_siphash(&key->key, words, sizeof(words));
}

static void exchange(struct ush_loop *loop, struct ush_packet *packet,
	const struct ush_admitted *admitted, struct ush_queue *queue,
	const struct ush_ticket *ticket, uint64_t number, uint16_t word)
{
	struct ush_record *record;
	struct ush_reply reply;
	struct act *act;

	if (!loop->room_new) {
		loop_refuse(loop, packet, admitted, USH_STATUS_BUSY, 0);
		return;
	}
	if (word == USH_VISIT_BUSY || !ush_visit_take(queue, number, word)) {
		loop_refuse(loop, packet, admitted, USH_STATUS_RETRY, 0);
		return;
	}
	act = decide_room_act(loop, queue, ACT_ROOM_EXCHANGE, USH_RECORD_TYPE_ROOM_EXCHANGE, 1);
	record = &loop->records[act->record_first];
	record->user = admitted->request.user;
	record->state = ticket->tier;
	record->amount = (uint32_t)ticket->number;
	record->mask = number;
	record->deadline_ns = ush_visit_expiry(loop->now_ns);
	act->seats = (word & USH_VISIT_DONE) == 0;
	ush_admit_reply(&reply, &admitted->request, USH_STATUS_OK);
	put_token(loop, admitted, ticket->tier, record->deadline_ns, &reply);
	decide_reply(act, packet, &reply);
	loop_act_done(loop, act);
}

void decide_exchange(
	struct ush_loop *loop, struct ush_packet *packet, const struct ush_admitted *admitted)
{
	struct ush_ticket ticket;
	struct ush_reply reply;
	uint64_t number, serving, expiry_ns;
	uint16_t word;
	struct ush_queue *queue = open_ticket(loop, packet, admitted, &ticket, &number);

	if (queue == NULL)
		return;
	word = ush_visit(queue, number);
	if (ush_unlikely(word == USH_VISIT_BUSY && loop->act_count != 0)) {
		loop_flush(loop);
		word = ush_visit(queue, number);
	}
	serving = atomic_load_explicit(&queue->serving, memory_order_acquire);
	if (!ush_queue_is_called(queue, number, word, serving)) {
		tell_waiting(loop, packet, admitted, queue, number, word, serving);
		return;
	}
	expiry_ns = ush_visit_live(word, loop->now_ns);
	if (expiry_ns == 0) {
		exchange(loop, packet, admitted, queue, &ticket, number, word);
		return;
	}
	ush_admit_reply(&reply, &admitted->request, USH_STATUS_OK);
	put_token(loop, admitted, ticket.tier, expiry_ns, &reply);
	reply.amount = 1;
	decide_reply_after_all(loop, packet, &reply);
}
