/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The auditor's book of waiting rooms: who has which place, what was drawn of it, how far was
 * called and who exchanged when. Of the engine it shares the permutation alone, which is public;
 * seed, root and nobody twice are checked as `usher verify draw` checks them.
 */
#include <stdlib.h>
#include <string.h>

#include "room/draw_file.h"
#include "room/merkle.h"
#include "tools/ledger.h"

#define QUEUE USH_DRAW_TIER_FIFO
/* A token lives for 35 units of 2^33 ns. */
#define TOKEN_NS (35ull << 33)

struct guest {
	uint64_t user;
	/* When the last token ends; 0: none. */
	uint64_t expiry_ns;
	uint32_t tier;
	uint32_t index;
};

struct tier {
	uint64_t *users;
	size_t count;
	size_t capacity;
};

struct ledger_room {
	struct tier tiers[QUEUE + 1];
	/* Open addressing, by user. */
	struct guest *guests;
	size_t guest_count;
	size_t guest_size;
	struct ush_room_open opened;
	uint32_t counts[USH_DRAW_TIERS];
	uint32_t lobby;
	bool closed;
	bool drawn;
	struct ush_draw draw;
	void *tables;
	uint64_t serving;
};

static void gather(const struct ush_record *records, uint32_t count, void *out, size_t bytes)
{
	memset(out, 0, bytes);
	for (uint32_t i = 0; i < count && (i + 1) * 48u <= bytes; i++)
		memcpy((uint8_t *)out + i * 48u, (const uint8_t *)&records[i] + 16, 48);
}

static struct guest *guest_of(const struct ledger_room *room, uint64_t user)
{
	size_t at = (size_t)ush_mix64(user) & (room->guest_size - 1);

	while (room->guests[at].user != 0 && room->guests[at].user != user)
		at = (at + 1) & (room->guest_size - 1);
	return &room->guests[at];
}

static int grow_guests(struct ledger_room *room)
{
	struct ledger_room larger = *room;

	if (room->guest_count * 2 < room->guest_size)
		return 0;
	larger.guest_size = room->guest_size * 2 + 1024;
	while ((larger.guest_size & (larger.guest_size - 1)) != 0)
		larger.guest_size &= larger.guest_size - 1;
	larger.guests = calloc(larger.guest_size, sizeof(*larger.guests));
	if (larger.guests == NULL)
		return -USH_ENOMEM;
	for (size_t i = 0; i < room->guest_size; i++) {
		if (room->guests[i].user != 0)
			*guest_of(&larger, room->guests[i].user) = room->guests[i];
	}
	free(room->guests);
	*room = larger;
	return 0;
}

static int seat_guest(struct ledger *ledger, struct tier *tier, const struct ush_record *r)
{
	if (r->amount >= tier->capacity) {
		size_t capacity = (size_t)r->amount * 2 + 64;
		uint64_t *users = realloc(tier->users, capacity * sizeof(*users));

		if (users == NULL)
			return -USH_ENOMEM;
		memset(users + tier->capacity, 0, (capacity - tier->capacity) * sizeof(*users));
		tier->users = users;
		tier->capacity = capacity;
	}
	if (tier->users[r->amount] != 0)
		ledger_fault(ledger, r, "a place of a waiting room is given twice");
	tier->users[r->amount] = r->user;
	if (tier->count <= r->amount)
		tier->count = (size_t)r->amount + 1;
	return 0;
}

static int book_join(struct ledger *ledger, struct ledger_room *room, const struct ush_record *r)
{
	uint32_t tier = r->state & 7u;
	struct guest *guest;
	int error = grow_guests(room);

	if (error != 0)
		return error;
	guest = guest_of(room, r->user);
	if (guest->user != 0)
		ledger_fault(ledger, r, "a user joins a waiting room twice");
	if (r->amount >= USH_DRAW_PLACES_MAX || (tier == QUEUE && !room->closed) ||
		(tier != QUEUE && room->closed && r->amount >= room->counts[tier])) {
		ledger_fault(ledger, r, "a place that the waiting room does not have");
		return 0;
	}
	room->guest_count += guest->user == 0;
	*guest = (struct guest){.user = r->user, .tier = tier, .index = r->amount};
	return seat_guest(ledger, &room->tiers[tier], r);
}

static void book_close(struct ledger *ledger, struct ledger_room *room, const struct ush_record *r)
{
	struct ush_room_close close;

	gather(r, 1, &close, sizeof(close));
	if (room->closed)
		ledger_fault(ledger, r, "a lobby is closed twice");
	for (uint32_t tier = 0; tier < USH_DRAW_TIERS; tier++) {
		if (close.counts[tier] < room->tiers[tier].count)
			ledger_fault(ledger, r, "a lobby is closed with too few places");
		room->counts[tier] = close.counts[tier];
		room->lobby += close.counts[tier];
	}
	room->closed = true;
}

/* Seed, root and list, as anybody may check them. ret: -USH_ENOMEM. */
static int check_draw(struct ledger *ledger, const struct ledger_room *room,
	const struct ush_record *r, const struct ush_room_draw *drawn, struct ush_draw_check *check)
{
	struct ush_draw_file file = {.event = r->event, .count = room->lobby};
	struct ush_message message = {""};
	size_t at = 0;
	int error;

	file.users = calloc(room->lobby + 1u, sizeof(*file.users));
	if (file.users == NULL)
		return -USH_ENOMEM;
	for (uint32_t tier = 0; tier < USH_DRAW_TIERS; tier++) {
		const struct tier *from = &room->tiers[tier];

		file.counts[tier] = room->counts[tier];
		for (size_t i = 0; i < from->count && i < room->counts[tier]; i++)
			file.users[at + i] = from->users[i];
		at += room->counts[tier];
	}
	memcpy(file.seed_hash, room->opened.seed_hash, sizeof(file.seed_hash));
	memcpy(file.seed, drawn->seed, sizeof(file.seed));
	memcpy(file.root, drawn->root, sizeof(file.root));
	file.beacon_bytes = drawn->beacon_bytes;
	memcpy(file.beacon, drawn->beacon, sizeof(file.beacon));
	error = ush_draw_check(&file, check, &message);
	free(file.users);
	if (error == -USH_ENOMEM)
		return error;
	if (error != 0)
		ledger_fault(ledger, r, message.text);
	return 0;
}

static int book_draw(struct ledger *ledger, struct ledger_room *room,
	const struct ush_record *records, uint32_t count)
{
	struct ush_draw_check check = {0};
	struct ush_room_draw drawn;
	int error;

	gather(records, count, &drawn, sizeof(drawn));
	if (!room->closed || room->drawn || drawn.beacon_bytes > sizeof(drawn.beacon)) {
		ledger_fault(ledger, records, "a draw that cannot be");
		return 0;
	}
	error = check_draw(ledger, room, records, &drawn, &check);
	if (error != 0)
		return error;
	room->tables = malloc(ush_draw_bytes(room->lobby));
	if (room->tables == NULL)
		return -USH_ENOMEM;
	ush_draw_open(&room->draw, room->tables, room->counts, check.key, ush_sha256);
	room->drawn = true;
	return 0;
}

static uint64_t number_of(const struct ledger_room *room, const struct guest *guest)
{
	return guest->tier == QUEUE ? (uint64_t)room->lobby + guest->index
				    : ush_draw_number(&room->draw, guest->tier, guest->index);
}

static int book_exchange(
	struct ledger *ledger, struct ledger_room *room, const struct ush_record *r)
{
	struct guest *guest = room->guest_size == 0 ? NULL : guest_of(room, r->user);

	if (guest == NULL || guest->user == 0) {
		ledger_fault(ledger, r, "a ticket is exchanged by who never joined");
		return 0;
	}
	if (!room->closed || (room->lobby != 0 && !room->drawn) ||
		number_of(room, guest) != r->mask)
		ledger_fault(ledger, r, "a ticket has another number than was drawn");
	if (r->mask >= room->serving)
		ledger_fault(ledger, r, "a ticket is exchanged before it was called");
	if (guest->expiry_ns + TOKEN_NS > r->deadline_ns)
		ledger_fault(ledger, r, "a ticket is exchanged twice within a token's life");
	guest->expiry_ns = r->deadline_ns;
	return 0;
}

int ledger_book_room(struct ledger *ledger, const struct ush_record *records, uint32_t count)
{
	const struct ush_record *r = &records[0];
	struct ledger_room **at;

	if (r->event > USH_EVENT_ID_MAX)
		return 0;
	if (ledger->rooms == NULL)
		ledger->rooms = calloc(USH_EVENT_ID_MAX + 1u, sizeof(*ledger->rooms));
	if (ledger->rooms == NULL)
		return -USH_ENOMEM;
	at = &ledger->rooms[r->event];
	if (r->type == USH_RECORD_TYPE_ROOM_OPEN) {
		if (*at != NULL)
			ledger_fault(ledger, r, "a waiting room is opened twice");
		else if ((*at = calloc(1, sizeof(**at))) == NULL)
			return -USH_ENOMEM;
		gather(records, count, &(*at)->opened, sizeof((*at)->opened));
		return 0;
	}
	if (*at == NULL) {
		ledger_fault(ledger, r, "a waiting room that was never opened");
		return 0;
	}
	switch (r->type) {
	case USH_RECORD_TYPE_ROOM_JOIN:
		return book_join(ledger, *at, r);
	case USH_RECORD_TYPE_ROOM_CLOSE:
		book_close(ledger, *at, r);
		return 0;
	case USH_RECORD_TYPE_ROOM_DRAW:
		return book_draw(ledger, *at, records, count);
	case USH_RECORD_TYPE_ROOM_SERVE:
		if (r->mask <= (*at)->serving)
			ledger_fault(ledger, r, "a waiting room serves backwards");
		(*at)->serving = r->mask;
		return 0;
	case USH_RECORD_TYPE_ROOM_EXCHANGE:
		return book_exchange(ledger, *at, r);
	default:
		return 0;
	}
}

void ledger_close_rooms(struct ledger *ledger)
{
	for (uint32_t i = 0; ledger->rooms != NULL && i <= USH_EVENT_ID_MAX; i++) {
		struct ledger_room *room = ledger->rooms[i];

		if (room == NULL)
			continue;
		for (uint32_t tier = 0; tier <= QUEUE; tier++)
			free(room->tiers[tier].users);
		free(room->guests);
		free(room->tables);
		free(room);
	}
	free(ledger->rooms);
}
