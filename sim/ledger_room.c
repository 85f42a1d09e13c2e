/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ledger's page of waiting rooms: who has which place and which token, how far is called.
 */
#include <string.h>

#include "ledger.h"

#define PIECE_AT 16u
#define PIECE_BYTES (sizeof(struct ush_record) - PIECE_AT)

bool ledger_gather(const struct ush_record *records, uint32_t count, void *out, size_t bytes)
{
	if (count * PIECE_BYTES != bytes)
		return false;
	for (uint32_t i = 0; i < count; i++)
		memcpy((uint8_t *)out + i * PIECE_BYTES, (const uint8_t *)&records[i] + PIECE_AT,
			PIECE_BYTES);
	return true;
}

static const char *on_open(
	struct ledger_room *room, const struct ush_record *records, uint32_t count)
{
	if (room->phase != USH_ROOM_PHASE_NONE)
		return "a waiting room is opened twice";
	if (!ledger_gather(records, count, &room->opened, sizeof(room->opened)))
		return "an opening of another length";
	room->phase = USH_ROOM_PHASE_LOBBY;
	room->cap = room->opened.cap;
	room->key_id = 1;
	return NULL;
}

static const char *on_join(struct ledger_room *room, const struct ush_record *r)
{
	struct ledger_guest *guest;
	uint32_t tier = r->state & 7u;

	if (r->user == 0 || r->user >= LEDGER_GUESTS)
		return "somebody joins a waiting room who does not exist";
	guest = &room->guest[r->user];
	if (guest->sequence != 0)
		return "a user joins a waiting room twice";
	*guest = (struct ledger_guest){.sequence = r->sequence,
		.index = r->amount,
		.tier = (uint8_t)tier,
		.slow = (r->state & 128u) != 0};
	if (tier == USH_ROOM_TIER_COUNT)
		room->after = (uint32_t)ush_max64(room->after, r->amount + 1ull);
	return NULL;
}

static const char *on_close(
	struct ledger_room *room, const struct ush_record *records, uint32_t count)
{
	struct ush_room_close close;

	if (room->phase != USH_ROOM_PHASE_LOBBY)
		return "a lobby is closed that is not open";
	if (!ledger_gather(records, count, &close, sizeof(close)))
		return "a closing of another length";
	memcpy(room->counts, close.counts, sizeof(room->counts));
	for (uint32_t tier = 0; tier < USH_ROOM_TIER_COUNT; tier++)
		room->lobby += close.counts[tier];
	room->order_sequence = records->sequence;
	room->phase = room->lobby != 0 ? USH_ROOM_PHASE_DRAW : USH_ROOM_PHASE_SERVING;
	return NULL;
}

static const char *on_draw(
	struct ledger_room *room, const struct ush_record *records, uint32_t count)
{
	if (room->phase != USH_ROOM_PHASE_DRAW)
		return "a draw of a lobby that is open, or drawn";
	if (!ledger_gather(records, count, &room->drawn, sizeof(room->drawn)))
		return "a draw of another length";
	room->order_sequence = records[count - 1].sequence;
	room->phase = USH_ROOM_PHASE_SERVING;
	return NULL;
}

static const char *on_exchange(struct ledger_room *room, const struct ush_record *r)
{
	struct ledger_guest *guest;

	if (r->user == 0 || r->user >= LEDGER_GUESTS)
		return "a ticket of somebody who does not exist";
	guest = &room->guest[r->user];
	if (guest->sequence == 0)
		return "a ticket is exchanged by who never joined";
	room->exchanged += guest->tokens++ == 0;
	guest->token_before_ns = guest->token_end_ns;
	guest->token_end_ns = r->deadline_ns;
	guest->token_sequence = r->sequence;
	return NULL;
}

const char *ledger_apply_room(
	struct ledger *ledger, const struct ush_record *records, uint32_t count)
{
	const struct ush_record *r = &records[0];
	struct ledger_room *room;

	if (r->event == 0 || r->event >= LEDGER_EVENTS || !ledger->event[r->event].loaded)
		return "a waiting room of an event that does not exist";
	room = &ledger->room[r->event];
	if (r->type == USH_RECORD_TYPE_ROOM_OPEN)
		return on_open(room, records, count);
	if (room->phase == USH_ROOM_PHASE_NONE)
		return "a waiting room that was never opened";
	switch (r->type) {
	case USH_RECORD_TYPE_ROOM_JOIN:
		return on_join(room, r);
	case USH_RECORD_TYPE_ROOM_CLOSE:
		return on_close(room, records, count);
	case USH_RECORD_TYPE_ROOM_DRAW:
		return on_draw(room, records, count);
	case USH_RECORD_TYPE_ROOM_SERVE:
		room->serving = r->mask;
		return NULL;
	case USH_RECORD_TYPE_ROOM_EXCHANGE:
		return on_exchange(room, r);
	case USH_RECORD_TYPE_ROOM_SET:
		room->cap = r->amount;
		room->paused = r->state != 0;
		return NULL;
	default:
		room->key_id = r->state;
		return NULL;
	}
}
