/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "names.h"
#include "tools/room_text.h"

static void print_json(const struct ush_room_view *view)
{
	json_t *object = ush_room_view_json(view, view->sequence);

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

static void print_table(const struct ush_room_view *view)
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

void room_view_print(const struct ush_room_view *view, bool json)
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
	json_t *object = ush_draw_json(draw);
	int error;

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
