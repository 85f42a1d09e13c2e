/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Queue tickets: a place in the waiting room that a user carries, with a tag that only the box can
 * make (docs/draw.md, "Tickets").
 *
 * Two keys are live, so that tickets made before a change of keys stay good until the next one.
 *
 * Owns:  nothing.
 * Reads: nothing.
 * Never: the room, the draw: whether the place exists is for who asks.
 */
#ifndef USH_TICKET_H
#define USH_TICKET_H

#include "base/base.h"

struct ush_ticket {
	uint64_t user;
	/* Of the place: index in the tier, or order of arrival in tier 7. */
	uint64_t number;
	uint32_t event;
	uint8_t tier;
	uint8_t key_id;
};

/* The newest key and the one before it. */
struct ush_ticket_keys {
	/* By the lowest bit of their ids. */
	struct ush_key key[2];
	uint8_t newest;
	/* 1 in the beginning, then 2. */
	uint8_t live;
};

enum ush_ticket_verdict {
	USH_TICKET_GOOD,
	/* Made with a key that is gone, or never was. */
	USH_TICKET_KEY_UNKNOWN,
	/* Another user's, of another event, or changed. */
	USH_TICKET_FORGED,
};

/* One key is live. by: one thread. */
void ush_ticket_keys_init(struct ush_ticket_keys *keys, uint8_t key_id, const struct ush_key *key);

/* The next key, with the next id (255 is followed by 0); the one before the newest is gone. ret:
 * its id. by: the thread that owns the keys, while nobody reads them. */
uint8_t ush_ticket_keys_next(struct ush_ticket_keys *keys, const struct ush_key *key);

/* Sets the ticket's key id. ret: its tag. cost: 25 ns (guess). by: any thread. */
uint64_t ush_ticket_mint(const struct ush_ticket_keys *keys, struct ush_ticket *ticket);

/* in: ticket: user and event from the request, the rest from the ticket it carries. by: any
 * thread. */
enum ush_ticket_verdict ush_ticket_check(
	const struct ush_ticket_keys *keys, const struct ush_ticket *ticket, uint64_t tag);

#endif /* USH_TICKET_H */
