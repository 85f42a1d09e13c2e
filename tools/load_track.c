/* SPDX-License-Identifier: Apache-2.0 */
/* Requests under way: found by cookie, given up by age, told from duplicates. */
#include <stdlib.h>
#include <string.h>

#include "load.h"

/* QUERY_SECTION leaves room for the masks of this many rows in its answer. */
#define SECTION_ROWS 64u

/* The PAD extension of every QUERY_SECTION. */
static const struct {
	struct ush_extension_header header;
	uint64_t zero[SECTION_ROWS];
} pad = {.header = {.type = USH_EXTENSION_PAD, .size = sizeof(pad)}};

int load_track_init(struct load *load, struct ush_message *message)
{
	load->slot_count = (uint32_t)load->options.outstanding;
	load->slots = aligned_alloc(64, load->slot_count * sizeof(load->slots[0]));
	load->legs = calloc(load->slot_count, sizeof(load->legs[0]));
	load->free_slots = calloc(load->slot_count, sizeof(load->free_slots[0]));
	if (load->slots == NULL || load->legs == NULL || load->free_slots == NULL) {
		ush_message_set(message, "no memory for %u requests under way; lower --outstanding",
			load->slot_count);
		return -USH_ENOMEM;
	}
	memset(load->slots, 0, load->slot_count * sizeof(load->slots[0]));
	/* The lowest slot on top: a small window stays in a small piece of memory. */
	for (uint32_t i = 0; i < load->slot_count; i++)
		load->free_slots[i] = load->slot_count - 1 - i;
	load->free_count = load->slot_count;
	load->flying = (struct load_list){LOAD_NONE, LOAD_NONE, 0};
	load->resting = (struct load_list){LOAD_NONE, LOAD_NONE, 0};
	return 0;
}

void load_track_free(struct load *load)
{
	free(load->slots);
	free(load->legs);
	free(load->free_slots);
}

uint32_t load_track_count(const struct load *load)
{
	return load->flying.count + load->resting.count;
}

/* ---- lists in order of time ---------------------------------------------------------------- */

static void list_append(struct load *load, struct load_list *list, uint32_t index)
{
	struct load_slot *slot = &load->slots[index];

	slot->next = LOAD_NONE;
	slot->previous = list->last;
	if (list->last != LOAD_NONE)
		load->slots[list->last].next = index;
	else
		list->first = index;
	list->last = index;
	list->count++;
}

static void list_remove(struct load *load, struct load_list *list, uint32_t index)
{
	struct load_slot *slot = &load->slots[index];

	if (slot->previous != LOAD_NONE)
		load->slots[slot->previous].next = slot->next;
	else
		list->first = slot->next;
	if (slot->next != LOAD_NONE)
		load->slots[slot->next].previous = slot->previous;
	else
		list->last = slot->previous;
	list->count--;
}

/* ---- sending ------------------------------------------------------------------------------- */

struct load_slot *load_track_take(struct load *load)
{
	struct load_slot *slot;
	uint32_t index;

	if (load->free_count == 0)
		return NULL;
	index = load->free_slots[--load->free_count];
	slot = &load->slots[index];
	slot->request.cookie = ++load->issue << LOAD_SLOT_BITS | index;
	slot->retries = 0;
	slot->tail_bytes = 0;
	slot->leg_count = 1;
	return slot;
}

static void slot_free(struct load *load, struct load_slot *slot)
{
	uint32_t index = (uint32_t)(slot - load->slots);

	list_remove(load, slot->state == LOAD_SLOT_FLYING ? &load->flying : &load->resting, index);
	slot->state = LOAD_SLOT_FREE;
	load->free_slots[load->free_count++] = index;
}

static void batch_add(struct load *load, const struct load_slot *slot, uint64_t now_ns)
{
	const void *tail = slot->request.op == USH_OP_QUERY_SECTION
				   ? (const void *)&pad
				   : (const void *)&load->legs[slot - load->slots];

	const struct load_packet message = {
		.head = &slot->request,
		.tail = tail,
		.head_bytes = sizeof(slot->request),
		.tail_bytes = slot->tail_bytes,
		.time_ns = slot->intended_ns,
	};

	load_pack_add(&load->pack, &load->batch, &message, now_ns);
}

void load_track_send(struct load *load, struct load_slot *slot, uint64_t now_ns)
{
	if (slot->request.op == USH_OP_QUERY_SECTION) {
		slot->tail_bytes = sizeof(pad);
		slot->request.extension_count = 1;
		slot->request.size = (uint16_t)(sizeof(slot->request) + sizeof(pad));
	}
	slot->sent_ns = now_ns;
	slot->state = LOAD_SLOT_FLYING;
	list_append(load, &load->flying, (uint32_t)(slot - load->slots));
	load->stats.asked++;
	batch_add(load, slot, now_ns);
	if (slot->kind == LOAD_DOUBLE) {
		batch_add(load, slot, now_ns);
		load->stats.doubled++;
	}
}

static void send_again(
	struct load *load, struct load_list *list, struct load_slot *slot, uint64_t now_ns)
{
	uint32_t index = (uint32_t)(slot - load->slots);

	list_remove(load, list, index);
	slot->retries++;
	slot->sent_ns = now_ns;
	slot->state = LOAD_SLOT_FLYING;
	list_append(load, &load->flying, index);
	load->stats.resent++;
	batch_add(load, slot, now_ns);
}

void load_track_expire(struct load *load, uint64_t now_ns)
{
	const struct load_options *options = &load->options;

	while (load->flying.first != LOAD_NONE && load->batch.count < LOAD_BURST) {
		struct load_slot *slot = &load->slots[load->flying.first];

		if (now_ns - slot->sent_ns < options->timeout_ns)
			break;
		if (slot->retries >= options->retries) {
			load->stats.lost++;
			slot_free(load, slot);
			continue;
		}
		send_again(load, &load->flying, slot, now_ns);
	}
	while (load->resting.first != LOAD_NONE && load->batch.count < LOAD_BURST) {
		struct load_slot *slot = &load->slots[load->resting.first];

		if (now_ns - slot->sent_ns < options->backoff_ns)
			break;
		send_again(load, &load->resting, slot, now_ns);
	}
}

/* ---- answers ------------------------------------------------------------------------------- */

static enum load_class class_of(const struct load_slot *slot, uint8_t status)
{
	if (status != USH_STATUS_OK)
		return LOAD_CLASS_REFUSED;
	if (slot->kind == LOAD_RETRY && slot->before_status == USH_STATUS_OK)
		return LOAD_CLASS_READ;
	if (slot->request.op == USH_OP_RESERVE)
		return LOAD_CLASS_GRANTED;
	return slot->request.op == USH_OP_RELEASE ? LOAD_CLASS_RELEASED : LOAD_CLASS_READ;
}

static void count_answer(
	struct load *load, const struct load_slot *slot, enum load_class class, uint64_t now_ns)
{
	uint64_t latency_ns = now_ns > slot->intended_ns ? now_ns - slot->intended_ns : 0;

	load->stats.answered++;
	load->stats.by_class[class]++;
	load->stats.last_ns = now_ns;
	ush_histogram_add(&load->latency[class], latency_ns);
	ush_histogram_add(&load->second, latency_ns);
	if (load->transport->outages == 0)
		ush_histogram_add(&load->steady, latency_ns);
}

/* A final answer to the request in `slot`. */
static void slot_answered(
	struct load *load, struct load_slot *slot, const struct ush_reply *reply, uint64_t now_ns)
{
	enum load_class class = class_of(slot, reply->status);

	count_answer(load, slot, class, now_ns);
	if (class == LOAD_CLASS_REFUSED)
		load->stats.refused[reply->status < USH_STATUS_COUNT ? reply->status
								     : USH_STATUS_COUNT]++;
	if (class == LOAD_CLASS_GRANTED)
		load_grants_add(load, slot, reply, now_ns + load->wall_offset_ns);
	if (class == LOAD_CLASS_GRANTED || class == LOAD_CLASS_RELEASED)
		load_ack_write(load, slot, reply);
	if (slot->kind == LOAD_RETRY)
		load_grants_repeat(load, slot, reply);
	else if (load->options.weight[LOAD_RETRY] != 0)
		load_grants_answered(load, slot, reply);
	slot_free(load, slot);
}

/* RETRY and BUSY: the request is not used up and is to be sent again, but not at once. */
static void slot_rest(struct load *load, struct load_slot *slot, uint64_t now_ns)
{
	uint32_t index = (uint32_t)(slot - load->slots);

	load->stats.told_to_wait++;
	/* While it rests already, this answers a second copy of it. */
	if (slot->state == LOAD_SLOT_RESTING)
		return;
	list_remove(load, &load->flying, index);
	slot->state = LOAD_SLOT_RESTING;
	slot->sent_ns = now_ns;
	list_append(load, &load->resting, index);
}

/* ret: the request that a cookie answers, or NULL after counting what else it is. */
static struct load_slot *slot_of(struct load *load, uint64_t cookie)
{
	uint64_t index = cookie & ((1u << LOAD_SLOT_BITS) - 1);
	uint64_t issue = cookie >> LOAD_SLOT_BITS;

	if (index < load->slot_count && load->slots[index].request.cookie == cookie &&
		load->slots[index].state != LOAD_SLOT_FREE)
		return &load->slots[index];
	if (index < load->slot_count && issue != 0 && issue <= load->issue)
		load->stats.duplicates++;
	else
		load->stats.unexpected++;
	return NULL;
}

/* Our own request came back: only a forwarder under measurement does that. */
static void take_echo(struct load *load, const struct ush_request *request, uint64_t now_ns)
{
	struct load_slot *slot;

	if (!load->options.echo || (request->cookie & LOAD_COOKIE_MALFORMED) != 0) {
		load->stats.unexpected++;
		return;
	}
	slot = slot_of(load, request->cookie);
	if (slot == NULL)
		return;
	count_answer(load, slot, LOAD_CLASS_READ, now_ns);
	slot_free(load, slot);
}

/* Answers to packets that have no slot. */
static void take_unasked(struct load *load, const struct ush_reply *reply)
{
	if ((reply->cookie & LOAD_COOKIE_MALFORMED) == 0)
		return; /* a question before the run, answered more than once */
	load->stats.malformed_answered++;
	load->stats.malformed_accepted += reply->status == USH_STATUS_OK;
}

void load_track_reply(struct load *load, const void *payload, uint32_t bytes, uint64_t now_ns)
{
	const struct ush_reply *reply = payload;
	struct load_slot *slot;

	if (bytes >= sizeof(*reply) && reply->magic == USH_REQUEST_MAGIC) {
		take_echo(load, payload, now_ns);
		return;
	}
	if (bytes < sizeof(*reply) || reply->magic != USH_REPLY_MAGIC || reply->size != bytes) {
		load->stats.unexpected++;
		return;
	}
	if (ush_unlikely((reply->cookie & (LOAD_COOKIE_MALFORMED | LOAD_COOKIE_BEFORE)) != 0)) {
		take_unasked(load, reply);
		return;
	}
	slot = slot_of(load, reply->cookie);
	if (slot == NULL)
		return;
	if (reply->op != slot->request.op || reply->event != slot->request.event ||
		reply->request_id != slot->request.request_id) {
		load->stats.unexpected++;
		return;
	}
	if ((reply->status == USH_STATUS_RETRY || reply->status == USH_STATUS_BUSY) &&
		slot->retries < load->options.retries)
		slot_rest(load, slot, now_ns);
	else
		slot_answered(load, slot, reply, now_ns);
}
