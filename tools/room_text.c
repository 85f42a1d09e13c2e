/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "names.h"
#include "tools/room_text.h"

bool room_view_read(const void *reply, size_t size, struct room_view *view)
{
	const uint8_t *bytes = reply;
	struct ush_reply head;
	uint32_t found = 0;
	size_t at = sizeof(head);

	memset(view, 0, sizeof(*view));
	memcpy(&head, bytes, sizeof(head));
	view->event = head.event;
	view->sequence = head.sequence;
	while (at + sizeof(struct ush_extension_header) <= size) {
		struct ush_extension_header header;
		const uint8_t *body = bytes + at + sizeof(header);

		memcpy(&header, bytes + at, sizeof(header));
		if (header.size < sizeof(header) || header.size > size - at)
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

static json_t *hex_of(const uint8_t *bytes, size_t count)
{
	char text[2 * 64 + 1];

	USH_ASSERT(count <= 64);
	for (size_t i = 0; i < count; i++)
		snprintf(text + 2 * i, 3, "%02x", bytes[i]);
	return json_stringn(text, 2 * count);
}

static json_t *beacon_of(const char *source, uint64_t round, const uint8_t *value, size_t bytes)
{
	json_t *beacon = json_object();

	/* A source that is no UTF-8 is left out. */
	json_object_set_new(beacon, "source", json_string(source));
	json_object_set_new(beacon, "round", json_integer((json_int_t)round));
	if (bytes != 0)
		json_object_set_new(beacon, "value", hex_of(value, bytes));
	return beacon;
}

static json_t *counts_of(const uint32_t *counts)
{
	json_t *tiers = json_array();

	for (uint32_t i = 0; i < USH_DRAW_TIERS; i++)
		json_array_append_new(tiers, json_integer(counts[i]));
	return tiers;
}

static void print_json(const struct room_view *view)
{
	const struct ush_room_status *s = &view->status;
	const struct ush_room_draw *d = &view->drawn;
	json_t *object = json_pack(
		"{s:s, s:I, s:I, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:s, s:b, s:b, "
		"s:I, s:I, s:I}",
		"format", "usher-room-1", "event", (json_int_t)view->event, "version",
		(json_int_t)view->sequence, "phase", usher_name_room_phase(s->phase),
		"event_status", usher_name_event_status(s->event_status), "serving",
		(json_int_t)s->serving, "end", (json_int_t)s->end, "exchanged",
		(json_int_t)s->exchanged, "rate", (json_int_t)s->rate, "wait_ms",
		(json_int_t)(s->wait_ns / 1000000), "limit", usher_name_room_limit(s->limit),
		"paused", s->paused != 0, "sold_out", s->event_status == USH_EVENT_STATUS_SOLD_OUT,
		"seats_free", (json_int_t)s->seats_free, "wait_list", (json_int_t)s->waiting,
		"after_lobby", (json_int_t)s->counts[USH_DRAW_TIERS]);

	json_object_set_new(object, "tiers", counts_of(s->counts));
	json_object_set_new(object, "seed_hash", hex_of(view->opened.seed_hash, 32));
	if (d->beacon_bytes != 0) {
		json_object_set_new(object, "seed", hex_of(d->seed, 32));
		json_object_set_new(object, "root", hex_of(d->root, 32));
	}
	json_object_set_new(object, "beacon",
		beacon_of((const char *)view->opened.source, view->opened.round, d->beacon,
			d->beacon_bytes));
	json_dumpf(object, stdout, JSON_COMPACT);
	putchar('\n');
	json_decref(object);
}

void room_hex_print(const char *name, const uint8_t *bytes, size_t count)
{
	printf("%-13s ", name);
	for (size_t i = 0; i < count; i++)
		printf("%02x", bytes[i]);
	putchar('\n');
}

static void print_table(const struct room_view *view)
{
	const struct ush_room_status *s = &view->status;

	printf("%-13s %u, %s\n", "event", view->event, usher_name_event_status(s->event_status));
	printf("%-13s %s%s\n", "room", usher_name_room_phase(s->phase),
		s->paused != 0 ? ", paused" : "");
	printf("%-13s %" PRIu64 " of %u\n", "joined", s->end, view->opened.users);
	printf("%-13s", "tiers");
	for (uint32_t i = 0; i < USH_DRAW_TIERS; i++)
		printf(" %u", s->counts[i]);
	printf(", and %u after the lobby\n", s->counts[USH_DRAW_TIERS]);
	printf("%-13s %" PRIu64 ", exchanged %" PRIu64 "\n", "serving", s->serving, s->exchanged);
	printf("%-13s %u a minute; held back by: %s\n", "rate", s->rate,
		usher_name_room_limit(s->limit));
	if (s->cap != USH_ROOM_NO_CAP)
		printf("%-13s %u a minute\n", "cap", s->cap);
	printf("%-13s %u free, %u users on the wait-list\n", "seats", s->seats_free, s->waiting);
	printf("%-13s key %u\n", "tickets", s->key_id);
	room_hex_print("seed hash", view->opened.seed_hash, 32);
	printf("%-13s ", "beacon");
	for (const uint8_t *c = view->opened.source; *c != '\0'; c++)
		putchar(*c < 0x20 ? '?' : *c);
	printf(", round %" PRIu64 "\n", view->opened.round);
	if (view->drawn.beacon_bytes != 0) {
		room_hex_print("beacon value", view->drawn.beacon, view->drawn.beacon_bytes);
		room_hex_print("root", view->drawn.root, 32);
	}
}

void room_view_print(const struct room_view *view, bool json)
{
	if (json)
		print_json(view);
	else
		print_table(view);
}

bool room_hex_read(const char *digits, uint8_t *bytes, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		unsigned int value;

		if (strspn(digits + 2 * i, "0123456789abcdef") < 2 ||
			sscanf(digits + 2 * i, "%2x", &value) != 1)
			return false;
		bytes[i] = (uint8_t)value;
	}
	return digits[2 * count] == '\0' || digits[2 * count] == '\n';
}

int room_draw_write(const char *path, const struct ush_draw_file *draw, struct ush_message *message)
{
	json_t *object = json_object();
	int error;

	json_object_set_new(object, "format", json_string("usher-draw-1"));
	json_object_set_new(object, "event", json_integer(draw->event));
	json_object_set_new(object, "seed_hash", hex_of(draw->seed_hash, 32));
	json_object_set_new(object, "seed", hex_of(draw->seed, 32));
	json_object_set_new(object, "root", hex_of(draw->root, 32));
	json_object_set_new(object, "beacon",
		beacon_of(
			draw->beacon_source, draw->beacon_round, draw->beacon, draw->beacon_bytes));
	json_object_set_new(object, "count", json_integer(draw->count));
	json_object_set_new(object, "tiers", counts_of(draw->counts));
	error = json_dump_file(object, path, JSON_INDENT(1));
	json_decref(object);
	if (error != 0) {
		ush_message_set(message, "%s: cannot be written: %s", path, strerror(errno));
		return -USH_EIO;
	}
	return 0;
}

int room_list_write(const char *path, const struct ush_draw_file *draw, struct ush_message *message)
{
	FILE *file = fopen(path, "w");
	bool bad = file == NULL;

	for (uint32_t i = 0; i < draw->count && !bad; i++)
		bad = fprintf(file, "%016" PRIx64 "\n", draw->users[i]) < 0;
	if (file != NULL && fclose(file) != 0)
		bad = true;
	if (bad)
		ush_message_set(message, "%s: cannot be written: %s", path, strerror(errno));
	return bad ? -USH_EIO : 0;
}
