/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The status object is that of `usher room status --json` (docs/room.md), and what one needs to
 * join. It is built once a second for each room and served from memory.
 */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "entry/jwt.h"
#include "entry/status.h"

/* Tier, key id, number, tag. */
#define TICKET_BYTES 18u
static_assert(TICKET_BYTES / 3 * 4 == USH_ENTRY_TICKET_CHARS, "a ticket's text");

#define CASE(name, number) \
	case number: \
		return #name;

const char *ush_entry_phase_name(uint32_t phase)
{
	switch (phase) {
		USH_ROOM_PHASE_EACH(CASE)
	default:
		return "UNKNOWN";
	}
}

const char *ush_entry_limit_name(uint32_t limit)
{
	switch (limit) {
		USH_ROOM_LIMIT_EACH(CASE)
	default:
		return "UNKNOWN";
	}
}

const char *ush_entry_event_status_name(uint32_t status)
{
	switch (status) {
		USH_EVENT_STATUS_EACH(CASE)
	default:
		return "UNKNOWN";
	}
}

/* ---- reading ---- */

bool ush_entry_view_read(const void *reply, size_t bytes, struct ush_entry_view *view)
{
	const uint8_t *from = reply;
	struct ush_reply head;
	uint32_t found = 0;
	size_t at = sizeof(head);

	memset(view, 0, sizeof(*view));
	if (bytes < sizeof(head))
		return false;
	memcpy(&head, from, sizeof(head));
	view->event = head.event;
	view->sequence = head.sequence;
	while (at + sizeof(struct ush_extension_header) <= bytes) {
		struct ush_extension_header header;
		const uint8_t *body = from + at + sizeof(header);

		memcpy(&header, from + at, sizeof(header));
		if (header.size < sizeof(header) || header.size > bytes - at)
			return false;
		if (header.type == USH_EXTENSION_ROOM &&
			header.size == sizeof(header) + sizeof(view->status)) {
			memcpy(&view->status, body, sizeof(view->status));
			found |= 1;
		} else if (header.type == USH_EXTENSION_ROOM_OPEN &&
			   header.size == sizeof(header) + sizeof(view->opened)) {
			memcpy(&view->opened, body, sizeof(view->opened));
			found |= 2;
		} else if (header.type == USH_EXTENSION_ROOM_DRAW &&
			   header.size == sizeof(header) + sizeof(view->drawn)) {
			memcpy(&view->drawn, body, sizeof(view->drawn));
		}
		at += header.size;
	}
	view->opened.source[sizeof(view->opened.source) - 1] = '\0';
	return found == 3 && view->drawn.beacon_bytes <= sizeof(view->drawn.beacon);
}

bool ush_entry_view_same(const struct ush_entry_view *a, const struct ush_entry_view *b)
{
	return a->event == b->event && memcmp(&a->status, &b->status, sizeof(a->status)) == 0 &&
	       memcmp(&a->opened, &b->opened, sizeof(a->opened)) == 0 &&
	       memcmp(&a->drawn, &b->drawn, sizeof(a->drawn)) == 0;
}

/* ---- writing ---- */

static json_t *hex_of(const uint8_t *bytes, size_t count)
{
	static const char digits[] = "0123456789abcdef";
	char text[2 * 64];

	USH_ASSERT(count <= 64);
	for (size_t i = 0; i < count; i++) {
		text[2 * i] = digits[bytes[i] >> 4];
		text[2 * i + 1] = digits[bytes[i] & 15];
	}
	return json_stringn(text, 2 * count);
}

static json_t *beacon_of(const struct ush_entry_view *view)
{
	json_t *beacon = json_object();

	/* A source that is no UTF-8 is left out. */
	json_object_set_new(beacon, "source", json_string((const char *)view->opened.source));
	json_object_set_new(beacon, "round", json_integer((json_int_t)view->opened.round));
	if (view->drawn.beacon_bytes != 0)
		json_object_set_new(
			beacon, "value", hex_of(view->drawn.beacon, view->drawn.beacon_bytes));
	return beacon;
}

static json_t *needs_of(const struct ush_entry_needs *needs)
{
	json_t *object = json_object();

	if (needs->captcha_provider != NULL)
		json_object_set_new(object, "captcha",
			json_pack("{s:s, s:s}", "provider", needs->captcha_provider, "site_key",
				needs->captcha_site_key));
	if (needs->work_bits != 0)
		json_object_set_new(object, "work",
			json_pack("{s:I, s:I}", "bits", (json_int_t)needs->work_bits, "salt",
				(json_int_t)needs->work_salt));
	return object;
}

char *ush_entry_status_text(
	const struct ush_entry_view *view, const struct ush_entry_needs *needs, uint64_t version)
{
	const struct ush_room_status *s = &view->status;
	json_t *tiers = json_array(), *object;
	char *text;

	for (uint32_t i = 0; i < USH_ROOM_TIER_COUNT; i++)
		json_array_append_new(tiers, json_integer(s->counts[i]));
	object = json_pack("{s:s, s:I, s:I, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:s, s:b, s:b, "
			   "s:I, s:I, s:I, s:o, s:o, s:o, s:o}",
		"format", "usher-room-1", "event", (json_int_t)view->event, "version",
		(json_int_t)version, "phase", ush_entry_phase_name(s->phase), "event_status",
		ush_entry_event_status_name(s->event_status), "serving", (json_int_t)s->serving,
		"end", (json_int_t)s->end, "exchanged", (json_int_t)s->exchanged, "rate",
		(json_int_t)s->rate, "wait_ms", (json_int_t)(s->wait_ns / 1000000), "limit",
		ush_entry_limit_name(s->limit), "paused", s->paused != 0, "sold_out",
		s->event_status == USH_EVENT_STATUS_SOLD_OUT, "seats_free",
		(json_int_t)s->seats_free, "wait_list", (json_int_t)s->waiting, "after_lobby",
		(json_int_t)s->counts[USH_ROOM_TIER_COUNT], "tiers", tiers, "seed_hash",
		hex_of(view->opened.seed_hash, sizeof(view->opened.seed_hash)), "beacon",
		beacon_of(view), "join", needs_of(needs));
	if (object == NULL)
		return NULL;
	if (view->drawn.beacon_bytes != 0) {
		json_object_set_new(
			object, "seed", hex_of(view->drawn.seed, sizeof(view->drawn.seed)));
		json_object_set_new(
			object, "root", hex_of(view->drawn.root, sizeof(view->drawn.root)));
	}
	text = json_dumps(object, JSON_COMPACT);
	json_decref(object);
	return text;
}

/* ---- tickets ---- */

void ush_entry_ticket_text(
	const struct ush_ticket *ticket, uint64_t tag, char text[USH_ENTRY_TICKET_CHARS + 1])
{
	uint8_t bytes[TICKET_BYTES] = {ticket->tier, ticket->key_id};
	char made[USH_ENTRY_TICKET_CHARS + 4];

	memcpy(bytes + 2, &ticket->number, sizeof(ticket->number));
	memcpy(bytes + 10, &tag, sizeof(tag));
	USH_ASSERT(ush_jwt_base64(bytes, sizeof(bytes), made) == USH_ENTRY_TICKET_CHARS);
	memcpy(text, made, USH_ENTRY_TICKET_CHARS + 1);
}

bool ush_entry_ticket_read(const char *text, struct ush_ticket *ticket, uint64_t *tag)
{
	uint8_t bytes[TICKET_BYTES];
	size_t length = strnlen(text, USH_ENTRY_TICKET_CHARS + 1);

	if (length != USH_ENTRY_TICKET_CHARS ||
		ush_jwt_unbase64(text, length, bytes, sizeof(bytes)) != (int64_t)sizeof(bytes))
		return false;
	memset(ticket, 0, sizeof(*ticket));
	ticket->tier = bytes[0];
	ticket->key_id = bytes[1];
	memcpy(&ticket->number, bytes + 2, sizeof(ticket->number));
	memcpy(tag, bytes + 10, sizeof(*tag));
	return true;
}
