/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Seats off public sale: house seats, the seats of channels and their keys, and what of the seats
 * that come back stays off sale.
 *
 * Which seats are house or a channel's is changed by one loop for each event (the control port
 * routes by event), so what one BLOCK or UNBLOCK sees no other changes. The customers of a channel
 * claim its seats from any loop, by compare-and-swap (claim/channel.h).
 *
 * Failure modes: a seat in the way: TAKEN, TAKEN_NOW; no entry for a channel's row: BUSY; a tag
 * that is not right: CHANNEL. Nothing is claimed then.
 */
#include <string.h>

#include "loop/internal.h"

/* ---- channels ---- */

static struct ush_key channel_key(
	const struct ush_engine *engine, uint32_t event, uint32_t channel, uint32_t number)
{
	/* Longer than what hold ids are made of, so the two never meet. */
	uint32_t words[6] = {0x6e616863, event, channel, number, 0, 0};
	struct ush_key key;

	key.k0 = ush_siphash(&engine->holds.key, words, sizeof(words));
	words[4] = 1;
	key.k1 = ush_siphash(&engine->holds.key, words, sizeof(words));
	return key;
}

static uint32_t key_number(const struct ush_event *event, uint32_t channel)
{
	return atomic_load_explicit(&event->channel_key[channel], memory_order_acquire);
}

bool decide_channel_key_good(const struct ush_loop *loop, const struct ush_admitted *admitted,
	const struct ush_event *event)
{
	uint32_t channel = admitted->channel;
	struct ush_key key = channel_key(loop->engine, event->id, channel, admitted->channel_key);
	uint64_t tag = ush_siphash_2(
		&key, admitted->request.user, (uint64_t)event->id | (uint64_t)channel << 32);

	return admitted->channel_key == key_number(event, channel) && tag == admitted->channel_tag;
}

uint64_t decide_channel_available(
	const struct ush_loop *loop, const struct ush_event *event, uint32_t channel, uint32_t row)
{
	const struct ush_channel_row *entry;

	if (channel == 0)
		return 0;
	entry = ush_channel_find(&loop->engine->channels, event->id, row, channel);
	if (entry == NULL)
		return 0;
	/* Not `free`, which a claim changes before it has its slot. */
	return atomic_load_explicit(&entry->seats, memory_order_acquire) &
	       atomic_load_explicit(&ush_event_row(event, row)->house, memory_order_acquire);
}

/* Gives back the first `count` legs of a claim that failed. */
static void unclaim(const struct decide_legs *legs, struct ush_event *event,
	struct ush_channel_row **entries, const uint64_t *parts, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		if (parts[i] != 0)
			ush_channel_put_back(entries[i], parts[i]);
		if ((legs->mask[i] & ~parts[i]) != 0)
			ush_row_unclaim(event, ush_event_row(event, legs->row[i]),
				legs->mask[i] & ~parts[i]);
	}
}

void decide_channel_unclaim(struct ush_loop *loop, const struct decide_legs *legs,
	struct ush_event *event, uint32_t channel)
{
	struct ush_channel_row *entries[USH_LEG_COUNT_MAX];
	uint64_t parts[USH_LEG_COUNT_MAX];

	for (uint32_t i = 0; i < legs->count; i++) {
		/* The channel's seats are still house: that ends with the record. */
		entries[i] =
			ush_channel_find(&loop->engine->channels, event->id, legs->row[i], channel);
		parts[i] = legs->mask[i] &
			   atomic_load_explicit(&ush_event_row(event, legs->row[i])->house,
				   memory_order_acquire);
	}
	unclaim(legs, event, entries, parts, legs->count);
}

enum ush_claim decide_channel_claim(struct ush_loop *loop, const struct decide_legs *legs,
	struct ush_event *event, uint32_t channel, uint32_t *place, uint64_t *way)
{
	struct ush_channel_row *entries[USH_LEG_COUNT_MAX];
	uint64_t parts[USH_LEG_COUNT_MAX];

	for (uint32_t i = 0; i < legs->count; i++) {
		struct ush_row *row = ush_event_row(event, legs->row[i]);
		uint64_t mask = legs->mask[i];
		enum ush_claim claim = USH_CLAIM_WON;

		*place = legs->place[i];
		entries[i] =
			ush_channel_find(&loop->engine->channels, event->id, legs->row[i], channel);
		parts[i] = entries[i] == NULL ? 0
					      : mask & atomic_load_explicit(&entries[i]->seats,
							       memory_order_acquire);
		if ((mask & ~parts[i]) != 0)
			claim = ush_row_claim(row, mask & ~parts[i], way);
		if (claim == USH_CLAIM_WON && parts[i] != 0 &&
			!ush_channel_claim(entries[i], parts[i])) {
			*way = parts[i] &
			       ~atomic_load_explicit(&entries[i]->free, memory_order_relaxed);
			/* What is firm is gone; the rest is in flight. */
			claim = (*way & ~atomic_load_explicit(&row->firm, memory_order_relaxed)) !=
						0
					? USH_CLAIM_IN_FLIGHT
					: USH_CLAIM_TAKEN;
			if ((mask & ~parts[i]) != 0)
				ush_row_unclaim(event, row, mask & ~parts[i]);
		}
		if (claim != USH_CLAIM_WON) {
			unclaim(legs, event, entries, parts, i);
			return claim;
		}
	}
	return USH_CLAIM_WON;
}

static void put_key(const struct ush_engine *engine, struct ush_packet *packet,
	struct ush_reply *reply, const struct ush_event *event, uint32_t channel, uint32_t number)
{
	struct ush_key key = channel_key(engine, event->id, channel, number);
	struct ush_extension_header header = {
		.type = USH_EXTENSION_TEXT, .size = sizeof(header) + 32, .value = 32};
	uint8_t *at = loop_payload(packet) + USH_REPLY_BYTES;
	char text[32];

	for (uint32_t i = 0; i < sizeof(text); i++) {
		uint64_t half = i < 16 ? key.k0 : key.k1;
		/* Bytes in order, the high digit of each first. */
		text[i] = "0123456789abcdef"[half >> 4 * (i % 16 ^ 1) & 15];
	}
	memcpy(at, &header, sizeof(header));
	memcpy(at + sizeof(header), text, sizeof(text));
	reply->extension_count = 1;
	reply->size = (uint16_t)(USH_REPLY_BYTES + header.size);
	reply->detail = number;
}

void decide_channel_key(
	struct ush_loop *loop, struct ush_packet *packet, const struct ush_admitted *admitted)
{
	const struct ush_request *request = &admitted->request;
	struct ush_event *event = ush_inventory_event(&loop->engine->inventory, request->event);
	uint32_t channel = request->section, number;
	struct ush_record *record;
	struct ush_reply reply;
	struct act *act;

	loop_flush(loop);
	if (event == NULL || !loop->room_kept) {
		loop_refuse(loop, packet, admitted,
			event == NULL ? USH_STATUS_UNKNOWN_EVENT : USH_STATUS_BUSY, 0);
		return;
	}
	if (channel < 1 || channel > USH_CHANNEL_COUNT_MAX) {
		loop_refuse(loop, packet, admitted, USH_STATUS_BAD_REQUEST, USH_FAULT_CHANNEL);
		return;
	}
	number = key_number(event, channel);
	if (request->arg > 1 || (request->arg == 1 && number == UINT8_MAX)) {
		loop_refuse(loop, packet, admitted, USH_STATUS_BAD_REQUEST, USH_FAULT_ARGUMENT);
		return;
	}
	if (request->arg == 0) {
		ush_admit_reply(&reply, request, USH_STATUS_OK);
		put_key(loop->engine, packet, &reply, event, channel, number);
		decide_reply_after_all(loop, packet, &reply);
		return;
	}
	act = decide_event_act(loop, packet, admitted, event, ACT_CHANNEL, USH_RECORD_TYPE_CHANNEL);
	record = &loop->records[act->record_first];
	record->state = (uint8_t)channel;
	record->amount = number + 1;
	put_key(loop->engine, packet, &act->reply, event, channel, number + 1);
	loop_act_done(loop, act);
	loop_flush(loop);
}

/* ---- what comes back ---- */

static void keep(
	struct ush_loop *loop, struct act *act, uint16_t row, uint64_t mask, enum ush_keep why)
{
	const struct ush_record first = loop->records[act->record_first];
	struct ush_record *record;

	if (mask == 0)
		return;
	record = loop_act_record(loop, act);
	record->type = USH_RECORD_TYPE_KEEP;
	record->state = (uint8_t)why;
	record->event = first.event;
	record->user = first.user;
	record->hold = first.hold;
	record->version = first.version;
	record->row = row;
	record->mask = mask;
	act->keep_count++;
}

static void keep_leg(struct ush_loop *loop, struct act *act, uint16_t row, uint64_t mask)
{
	uint64_t channels =
		mask & ush_channel_seats(&loop->engine->channels, act->event->id, row, NULL);

	keep(loop, act, row, channels, USH_KEEP_CHANNEL);
	if (ush_wait_count(&loop->engine->waits, act->event->id) != 0)
		keep(loop, act, row, mask & ~channels, USH_KEEP_WAIT_LIST);
}

void decide_keep(struct ush_loop *loop, struct act *act)
{
	const struct ush_holds *holds = &loop->engine->holds;
	uint32_t records = act->record_count;

	switch ((enum act_kind)act->kind) {
	case ACT_RELEASE:
	case ACT_EXPIRE:
	case ACT_PAY_EXPIRED:
		for (const struct ush_hold *leg = ush_holds_line(holds, act->hold);;
			leg = ush_holds_line(holds, leg->next)) {
			keep_leg(loop, act, leg->row, leg->mask);
			if (leg->next == USH_HOLD_NONE)
				break;
		}
		break;
	case ACT_SWAP:
		records -= act->take_count;
		/* fall through */
	case ACT_CUT:
	case ACT_REFUND_SOME:
	case ACT_REFUND_ALL:
		for (uint32_t i = 0; i < records; i++) {
			const struct ush_record *record = &loop->records[act->record_first + i];
			keep_leg(loop, act, record->row, record->mask);
		}
		break;
	case ACT_UNBLOCK:
		for (uint32_t i = 0; i < records; i++) {
			const struct ush_record *record = &loop->records[act->record_first + i];
			if (ush_wait_count(&loop->engine->waits, act->event->id) != 0)
				keep(loop, act, record->row, record->mask, USH_KEEP_WAIT_LIST);
		}
		break;
	default:
		break;
	}
}

/* ---- house seats ---- */

/* What BLOCK or UNBLOCK changes. */
struct house {
	uint32_t channel;
	bool block;
	uint16_t row[USH_LEG_COUNT_MAX];
	uint64_t changed[USH_LEG_COUNT_MAX];
	struct ush_channel_row *entry[USH_LEG_COUNT_MAX];
};

static enum ush_status house_rows(struct ush_loop *loop, struct ush_event *event,
	const struct ush_admitted *admitted, struct house *house, uint32_t *place)
{
	struct ush_channels *channels = &loop->engine->channels;
	uint64_t mask;

	for (uint32_t i = 0; i < admitted->leg_count; i++) {
		*place = i;
		ush_admit_leg(admitted, i, &house->row[i], &mask);
		if (house->row[i] >= ush_event_row_count(event) ||
			(mask & ~ush_event_row(event, house->row[i])->seats) != 0)
			return USH_STATUS_NO_SUCH_SEAT;
	}
	for (uint32_t i = 0; i < admitted->leg_count; i++) {
		house->entry[i] = NULL;
		if (house->channel == 0)
			continue;
		house->entry[i] = house->block ? ush_channel_enter(channels, event->id,
							 house->row[i], house->channel)
					       : ush_channel_find(channels, event->id,
							 house->row[i], house->channel);
		if (house->block && house->entry[i] == NULL) {
			*place = i;
			return USH_STATUS_BUSY;
		}
	}
	return USH_STATUS_OK;
}

/* Claims one leg's seats. ret: as a claim. */
static enum ush_claim house_leg(struct ush_loop *loop, struct ush_event *event, struct house *house,
	uint32_t i, uint64_t mask, uint64_t *way)
{
	struct ush_row *row = ush_event_row(event, house->row[i]);
	uint64_t off = mask & atomic_load_explicit(&row->house, memory_order_acquire);
	uint64_t all = ush_channel_seats(&loop->engine->channels, event->id, house->row[i], NULL) |
		       ush_aside_marks(event, house->row[i]);
	struct ush_channel_row *entry = house->entry[i];
	/* Of what is off sale, what is off sale for this. */
	uint64_t mine = house->channel == 0 ? off & ~all
			: entry == NULL
				? 0
				: off & atomic_load_explicit(&entry->seats, memory_order_acquire);

	if (!house->block) {
		house->changed[i] = entry != NULL ? ush_channel_withdraw(entry, mine) : mine;
		return USH_CLAIM_WON;
	}
	*way = off & ~mine;
	if (*way != 0)
		return USH_CLAIM_TAKEN;
	house->changed[i] = mask & ~off;
	return house->changed[i] == 0 ? USH_CLAIM_WON : ush_row_claim(row, house->changed[i], way);
}

/* ret: OK, or the refusal with *place and *way; nothing is claimed then. */
static enum ush_status house_legs(struct ush_loop *loop, struct ush_event *event,
	const struct ush_admitted *admitted, struct house *house, uint32_t *place, uint64_t *way)
{
	enum ush_status status = house_rows(loop, event, admitted, house, place);
	enum ush_claim claim;
	uint16_t row;
	uint64_t mask;

	if (status != USH_STATUS_OK)
		return status;
	for (uint32_t i = 0; i < admitted->leg_count; i++) {
		ush_admit_leg(admitted, i, &row, &mask);
		claim = house_leg(loop, event, house, i, mask, way);
		if (claim == USH_CLAIM_WON)
			continue;
		*place = i;
		while (i-- > 0) {
			if (house->changed[i] != 0)
				ush_row_unclaim(event, ush_event_row(event, house->row[i]),
					house->changed[i]);
		}
		return claim == USH_CLAIM_TAKEN ? USH_STATUS_TAKEN : USH_STATUS_TAKEN_NOW;
	}
	return USH_STATUS_OK;
}

static void house_records(
	struct ush_loop *loop, struct act *act, const struct house *house, uint32_t leg_count)
{
	for (uint32_t i = 0; i < leg_count; i++) {
		struct ush_record *record;

		if (house->changed[i] == 0)
			continue;
		record = loop_act_record(loop, act);
		record->type = house->block ? USH_RECORD_TYPE_BLOCK : USH_RECORD_TYPE_UNBLOCK;
		record->state = (uint8_t)house->channel;
		record->event = act->event->id;
		record->row = house->row[i];
		record->mask = house->changed[i];
	}
}

void decide_house(
	struct ush_loop *loop, struct ush_packet *packet, const struct ush_admitted *admitted)
{
	struct ush_event *event =
		ush_inventory_event(&loop->engine->inventory, admitted->request.event);
	struct house house = {.channel = (uint32_t)admitted->request.arg,
		.block = admitted->request.op == USH_OP_BLOCK};
	uint32_t place = 0;
	uint64_t way = 0;
	enum ush_status status;
	struct ush_reply reply;
	struct act *act;

	/* Two of these in one batch could both see a seat as house; make the first visible. */
	loop_flush(loop);
	if (event == NULL || !loop->room_kept) {
		loop_refuse(loop, packet, admitted,
			event == NULL ? USH_STATUS_UNKNOWN_EVENT : USH_STATUS_BUSY, 0);
		return;
	}
	if (admitted->request.arg > USH_CHANNEL_COUNT_MAX) {
		loop_refuse(loop, packet, admitted, USH_STATUS_BAD_REQUEST, USH_FAULT_CHANNEL);
		return;
	}
	status = house_legs(loop, event, admitted, &house, &place, &way);
	ush_admit_reply(&reply, &admitted->request, status);
	if (status != USH_STATUS_OK) {
		reply.detail = place;
		reply.hold = way;
		loop_reply_now(loop, packet, &reply);
		return;
	}
	act = loop_act(loop, admitted->leg_count);
	act->kind = house.block ? ACT_BLOCK : ACT_UNBLOCK;
	act->event = event;
	house_records(loop, act, &house, admitted->leg_count);
	if (act->record_count == 0) {
		/* As asked already. */
		decide_reply_after_all(loop, packet, &reply);
		return;
	}
	act->has_reply = 1;
	act->packet = packet;
	act->reply = reply;
	loop_act_done(loop, act);
	loop_flush(loop);
}
