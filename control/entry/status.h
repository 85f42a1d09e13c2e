/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What usherd says of a waiting room as the small public object, and queue tickets as text.
 *
 * Owns:  nothing but what it returns.
 * Reads: replies to ROOM_SHOW, tickets that clients bring.
 * Never: sockets, clocks.
 */
#ifndef USH_ENTRY_STATUS_H
#define USH_ENTRY_STATUS_H

#include "room/ticket.h"
#include "wire/wire.h"

/* What a reply to ROOM_SHOW has. */
struct ush_entry_view {
	uint32_t event;
	uint64_t sequence;
	struct ush_room_status status;
	struct ush_room_open opened;
	struct ush_room_draw drawn; /* beacon_bytes 0: not drawn */
};

/* ret: false: it has not what it should have. */
bool ush_entry_view_read(const void *reply, size_t bytes, struct ush_entry_view *view);

/* What a client needs to join, beside how the room stands. */
struct ush_entry_needs {
	const char *captcha_provider; /* NULL: no CAPTCHA */
	const char *captcha_site_key;
	uint32_t work_bits; /* 0: no proof of work */
	uint64_t work_salt;
};

/* ret: the status object, JSON (malloced; docs/entry.md), or NULL. in: version: what it says as its
 * version. */
char *ush_entry_status_text(
	const struct ush_entry_view *view, const struct ush_entry_needs *needs, uint64_t version);
/* ret: true if two views say the same to the public, but for the sequence. */
bool ush_entry_view_same(const struct ush_entry_view *a, const struct ush_entry_view *b);

/* Text of a ticket, 24 characters and the end; its user and event are not in it. */
#define USH_ENTRY_TICKET_CHARS 24u
void ush_entry_ticket_text(
	const struct ush_ticket *ticket, uint64_t tag, char text[USH_ENTRY_TICKET_CHARS + 1]);
/* out: ticket: number, tier, key_id. ret: false: no ticket's text. */
bool ush_entry_ticket_read(const char *text, struct ush_ticket *ticket, uint64_t *tag);

/* A name of the wire table in lower case; "unknown". */
const char *ush_entry_phase_name(uint32_t phase);
const char *ush_entry_limit_name(uint32_t limit);
const char *ush_entry_event_status_name(uint32_t status);

#endif /* USH_ENTRY_STATUS_H */
