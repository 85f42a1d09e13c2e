/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The status object is that of `usher room status --json` (docs/room.md), and what one needs to
 * join. It is built once a second for each room and served from memory.
 */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "entry/jwt.h"
#include "entry/status.h"

/* Tier, key id, number, tag. */
#define TICKET_BYTES 18u
static_assert(TICKET_BYTES / 3 * 4 == USH_ENTRY_TICKET_CHARS, "a ticket's text");

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

/* RFC 3339 in UTC; null: 0. */
static json_t *time_of(int64_t us)
{
	time_t second = (time_t)(us / 1000000);
	struct tm parts;
	char text[32];

	if (us == 0 || gmtime_r(&second, &parts) == NULL)
		return json_null();
	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &parts);
	return json_string(text);
}

char *ush_entry_status_text(
	const struct ush_room_view *view, const struct ush_entry_needs *needs, uint64_t version)
{
	json_t *object = ush_room_view_json(view, version);
	char *text;

	if (object == NULL)
		return NULL;
	json_object_set_new(object, "closes_at", time_of(needs->closes_us));
	json_object_set_new(object, "join", needs_of(needs));
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
