/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What usherd says of a waiting room as the small public object, and queue tickets as text.
 *
 * Owns:  nothing but what it returns.
 * Reads: what usherd says of a room, tickets that clients bring.
 * Never: sockets, clocks.
 */
#ifndef USH_ENTRY_STATUS_H
#define USH_ENTRY_STATUS_H

#include "room/room_view.h"
#include "room/ticket.h"
#include "wire/wire.h"

/* What a client needs to join, beside how the room stands. */
struct ush_entry_needs {
	const char *captcha_provider; /* NULL: no CAPTCHA */
	const char *captcha_site_key;
	uint32_t work_bits; /* 0: no proof of work */
	uint64_t work_salt;
	int64_t closes_us; /* when the lobby will be closed; 0: not said */
};

/* ret: the status object, JSON (malloced; docs/entry.md), or NULL. in: version: what it says as its
 * version. */
char *ush_entry_status_text(
	const struct ush_room_view *view, const struct ush_entry_needs *needs, uint64_t version);
/* Text of a ticket, 24 characters and the end; its user and event are not in it. */
#define USH_ENTRY_TICKET_CHARS 24u
void ush_entry_ticket_text(
	const struct ush_ticket *ticket, uint64_t tag, char text[USH_ENTRY_TICKET_CHARS + 1]);
/* out: ticket: number, tier, key_id. ret: false: no ticket's text. */
bool ush_entry_ticket_read(const char *text, struct ush_ticket *ticket, uint64_t *tag);

#endif /* USH_ENTRY_STATUS_H */
