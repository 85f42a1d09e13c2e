/* SPDX-License-Identifier: Apache-2.0 */
#include "room/ticket.h"

/* What is tagged; nothing else that the box tags has this layout under these keys. */
struct tagged {
	uint64_t user;
	uint64_t number;
	uint32_t event;
	uint8_t tier;
	uint8_t key_id;
	uint16_t zero;
};
static_assert(sizeof(struct tagged) == 24, "no padding is tagged");

static uint64_t tag_of(const struct ush_key *key, const struct ush_ticket *ticket)
{
	const struct tagged tagged = {.user = ticket->user,
		.number = ticket->number,
		.event = ticket->event,
		.tier = ticket->tier,
		.key_id = ticket->key_id};

	return ush_siphash(key, &tagged, sizeof(tagged));
}

void ush_ticket_keys_init(struct ush_ticket_keys *keys, uint8_t key_id, const struct ush_key *key)
{
	*keys = (struct ush_ticket_keys){.newest = key_id, .live = 1};
	keys->key[key_id & 1] = *key;
}

uint8_t ush_ticket_keys_next(struct ush_ticket_keys *keys, const struct ush_key *key)
{
	keys->newest++;
	keys->key[keys->newest & 1] = *key;
	keys->live = 2;
	return keys->newest;
}

uint64_t ush_ticket_mint(const struct ush_ticket_keys *keys, struct ush_ticket *ticket)
{
	ticket->key_id = keys->newest;
	return tag_of(&keys->key[keys->newest & 1], ticket);
}

enum ush_ticket_verdict ush_ticket_check(
	const struct ush_ticket_keys *keys, const struct ush_ticket *ticket, uint64_t tag)
{
	/* How many keys ago it was made. */
	uint8_t age = (uint8_t)(keys->newest - ticket->key_id);

	if (age >= keys->live)
		return USH_TICKET_KEY_UNKNOWN;
	if (tag_of(&keys->key[ticket->key_id & 1], ticket) != tag)
		return USH_TICKET_FORGED;
	return USH_TICKET_GOOD;
}
