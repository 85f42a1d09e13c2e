/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RESERVE_BEST and RESERVE_AREA: the box chooses the seats, and the rest is RESERVE.
 *
 * Happy path: the user's line is locked, the id is new, the number fits the user's limit; the
 * search names rows and masks, they are claimed as RESERVE claims them, and the reply names them.
 *
 * Failure modes: a claim lost to another core: the next candidate, a bounded number of times, then
 * CONTENDED. Nothing found while seats are on their way back: the same. Only when nothing was found
 * and nothing was given back meanwhile is it NONE.
 */
#include <string.h>

#include "loop/internal.h"

/* Claims lost, or searches made in vain while seats came back, before CONTENDED. src: guess */
#define ATTEMPTS 8u

/* Bits of `arg`; see contract.toml. */
#define ARG_BEST_USED 0x0000ffff07ffffffull
#define ARG_AREA_USED 0x000000ff0000ffffull
#define FLAG_SECTION 1u
#define FLAG_TIER 2u
#define FLAG_TOGETHER 4u

/* Writes the SEATS extension behind the reply, if there is room. */
static void put_seats(struct ush_packet *packet, const struct ush_admitted *admitted,
	const struct ush_leg *legs, uint32_t count, struct ush_reply *reply)
{
	uint8_t *at = packet->data + packet->payload_at + sizeof(struct ush_reply);
	struct ush_extension_header header = {.type = USH_EXTENSION_SEATS,
		.size = (uint16_t)(sizeof(header) + count * sizeof(*legs)),
		.value = count};

	if (count == 0 || count > decide_best_room(packet, admitted))
		return;
	memcpy(at, &header, sizeof(header));
	memcpy(at + sizeof(header), legs, count * sizeof(*legs));
	reply->size = (uint16_t)(USH_REPLY_BYTES + header.size);
	reply->extension_count = 1;
}

uint32_t decide_best_room(const struct ush_packet *packet, const struct ush_admitted *admitted)
{
	uint32_t used = USH_REPLY_BYTES + sizeof(struct ush_extension_header), room;

	if ((packet->flags & USH_PACKET_CONTROL) != 0)
		return USH_LEG_COUNT_MAX;
	room = admitted->size < used ? 0 : (admitted->size - used) / sizeof(struct ush_leg);
	return room < USH_LEG_COUNT_MAX ? room : USH_LEG_COUNT_MAX;
}

void decide_best_describe(const struct ush_engine *engine, struct ush_packet *packet,
	const struct ush_admitted *admitted, const struct ush_hold *hold, struct ush_reply *reply)
{
	struct ush_leg legs[USH_LEG_COUNT_MAX];
	uint32_t count = 0;

	for (;; hold = ush_holds_line(&engine->holds, hold->next)) {
		USH_ASSERT(count < USH_LEG_COUNT_MAX);
		legs[count++] = (struct ush_leg){.row = hold->row, .mask = hold->mask};
		if (hold->next == USH_HOLD_NONE)
			break;
	}
	put_seats(packet, admitted, legs, count, reply);
}

/* ret: NONE, or the fault of a request for seats. */
static enum ush_fault read_best(
	const struct ush_request *request, const struct ush_event *event, struct ush_best_query *q)
{
	uint64_t arg = request->arg;
	uint32_t flags = (uint32_t)(arg >> 24) & 0xff;

	q->seats = (uint32_t)(arg & 0xffff);
	q->tier = (uint8_t)(arg >> 16);
	q->tier_given = (flags & FLAG_TIER) != 0;
	q->accessible = (uint32_t)(arg >> 32) & 0xff;
	q->companion = (uint32_t)(arg >> 40) & 0xff;
	q->row_end = ush_event_row_count(event);
	q->split = (flags & FLAG_TOGETHER) != 0 ? USH_BEST_SPLIT_REFUSE : event->best_split;
	q->avoid_orphans = event->best_orphans != USH_BEST_ORPHANS_ALLOW &&
			   ush_event_free_count(event) > ush_event_best_exempt(event);
	if ((arg & ~ARG_BEST_USED) != 0 || q->seats == 0 || q->companion > q->accessible ||
		q->accessible + q->companion > q->seats ||
		(q->tier_given ? q->tier >= event->tier_count : q->tier != 0))
		return USH_FAULT_ARGUMENT;
	if ((flags & FLAG_SECTION) == 0)
		return request->section == 0 ? USH_FAULT_NONE : USH_FAULT_UNUSED;
	if (request->section >= ush_event_section_count(event))
		return USH_FAULT_SECTION;
	q->row_first = ush_event_section(event, request->section)->row_first;
	q->row_end = q->row_first + ush_event_section(event, request->section)->row_count;
	return ush_row_is_general(ush_event_row(event, q->row_first)) ? USH_FAULT_SECTION
								      : USH_FAULT_NONE;
}

static enum ush_fault read_area(
	const struct ush_request *request, const struct ush_event *event, struct ush_best_query *q)
{
	q->seats = (uint32_t)(request->arg & 0xffff);
	q->accessible = (uint32_t)(request->arg >> 32) & 0xff;
	if ((request->arg & ~ARG_AREA_USED) != 0 || q->seats == 0 || q->accessible > q->seats)
		return USH_FAULT_ARGUMENT;
	if (request->section >= ush_event_section_count(event))
		return USH_FAULT_SECTION;
	q->row_first = ush_event_section(event, request->section)->row_first;
	q->row_end = q->row_first + ush_event_section(event, request->section)->row_count;
	return ush_row_is_general(ush_event_row(event, q->row_first)) ? USH_FAULT_NONE
								      : USH_FAULT_SECTION;
}

/* Searches and claims. ret: OK with *legs claimed, CONTENDED or NONE. */
static enum ush_status search(struct ush_loop *loop, const struct ush_request *request,
	struct ush_event *event, struct ush_best_query *q, struct decide_legs *legs)
{
	/* Loops start as far from one another as a band allows. */
	static const uint8_t first[USH_BEST_BAND] = {0, 4, 2, 6, 1, 5, 3, 7};
	for (uint32_t i = 0; i < ATTEMPTS; i++) {
		uint64_t given = atomic_load_explicit(&event->best_given, memory_order_seq_cst);
		struct ush_best_legs found;
		uint32_t place;
		uint64_t way;

		q->turn = first[loop->index & (USH_BEST_BAND - 1)] + i;
		q->start = (uint32_t)ush_mix64(request->user + ((uint64_t)i << 56) +
					       ((uint64_t)request->request_id << 24));
		if (request->op == USH_OP_RESERVE_BEST ? ush_best_find(event, q, &found)
						       : ush_best_find_area(event, q, &found)) {
			decide_legs_chosen(legs, &found);
			if (decide_legs_claim(legs, event, &place, &way) == USH_CLAIM_WON)
				return USH_STATUS_OK;
			continue;
		}
		if (atomic_load_explicit(&event->best_open, memory_order_seq_cst) == 0 &&
			atomic_load_explicit(&event->best_given, memory_order_seq_cst) == given)
			return USH_STATUS_NONE;
	}
	return USH_STATUS_CONTENDED;
}

/* The user's line is locked and the id is new. */
static void choose(struct ush_loop *loop, struct ush_packet *packet,
	const struct ush_admitted *admitted, struct ush_event *event, struct ush_user *user,
	struct ush_best_query *q)
{
	enum ush_status status = USH_STATUS_LIMIT;
	struct ush_leg seats[USH_LEG_COUNT_MAX];
	struct decide_legs legs;
	struct ush_reply reply;
	struct act *act;

	if (ush_unlikely(ush_event_is_timed(event)) &&
		user->seats + q->seats <= event->user_seats_max &&
		decide_refuse_time(loop, packet, admitted, event, user, q->seats))
		return;
	if (user->seats + q->seats <= event->user_seats_max)
		status = search(loop, &admitted->request, event, q, &legs);
	if (status != USH_STATUS_OK) {
		ush_admit_reply(&reply, &admitted->request, status);
		reply.detail = status == USH_STATUS_LIMIT ? event->user_seats_max : 0;
		decide_refuse_done(loop, packet, admitted, user, &reply);
		return;
	}
	act = decide_grant(loop, packet, admitted, event, user, &legs);
	for (uint32_t i = 0; i < legs.count; i++)
		seats[i] = (struct ush_leg){.row = legs.row[i], .mask = legs.mask[i]};
	put_seats(packet, admitted, seats, legs.count, &act->reply);
}

void decide_best(
	struct ush_loop *loop, struct ush_packet *packet, const struct ush_admitted *admitted)
{
	const struct ush_request *request = &admitted->request;
	struct ush_engine *engine = loop->engine;
	struct ush_best_query q = {.leg_max = decide_best_room(packet, admitted)};
	struct ush_event *event;
	struct ush_user *user;
	uint32_t detail;
	enum ush_status takes;

	event = ush_inventory_event(&engine->inventory, request->event);
	if (!decide_begin_hold(loop, packet, admitted, event, &user, &takes, &detail))
		return;
	if (takes == USH_STATUS_OK) {
		detail = request->op == USH_OP_RESERVE_BEST ? read_best(request, event, &q)
							    : read_area(request, event, &q);
		q.objective = event->best_objective;
		if (detail == USH_FAULT_NONE && q.leg_max == 0)
			detail = USH_FAULT_EXTENSION;
		if (detail != USH_FAULT_NONE)
			takes = USH_STATUS_BAD_REQUEST;
		else if (!loop->room_new || loop->pool->free_count < q.leg_max ||
			 !ush_answer_available(&engine->users, loop->index))
			takes = USH_STATUS_BUSY;
	}
	if (takes != USH_STATUS_OK) {
		if (user != NULL)
			ush_user_unlock(user);
		loop_refuse(loop, packet, admitted, takes, detail);
		return;
	}
	choose(loop, packet, admitted, event, user, &q);
}
