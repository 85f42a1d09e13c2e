/* SPDX-License-Identifier: Apache-2.0 */
#include "room/room_view.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define CASE(name, number) \
	case number: \
		return #name;

const char *ush_room_phase_name(uint32_t phase)
{
	switch (phase) {
		USH_ROOM_PHASE_EACH(CASE)
	default:
		return "UNKNOWN";
	}
}

static const char *limit_name(uint32_t limit)
{
	switch (limit) {
		USH_ROOM_LIMIT_EACH(CASE)
	default:
		return "UNKNOWN";
	}
}

static const char *event_status_name(uint32_t status)
{
	switch (status) {
		USH_EVENT_STATUS_EACH(CASE)
	default:
		return "UNKNOWN";
	}
}

/* ---- reading ---- */

bool ush_room_view_read(const void *reply, size_t bytes, struct ush_room_view *view)
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

bool ush_room_view_same(const struct ush_room_view *a, const struct ush_room_view *b)
{
	return a->event == b->event && memcmp(&a->status, &b->status, sizeof(a->status)) == 0 &&
	       memcmp(&a->opened, &b->opened, sizeof(a->opened)) == 0 &&
	       memcmp(&a->drawn, &b->drawn, sizeof(a->drawn)) == 0;
}

void ush_room_view_draw(const struct ush_room_view *view, struct ush_draw_file *draw)
{
	*draw = (struct ush_draw_file){.event = view->event,
		.beacon_bytes = view->drawn.beacon_bytes,
		.beacon_round = view->opened.round};
	memcpy(draw->seed_hash, view->opened.seed_hash, sizeof(draw->seed_hash));
	memcpy(draw->beacon_source, view->opened.source, sizeof(draw->beacon_source) - 1);
	for (uint32_t tier = 0; tier < USH_DRAW_TIERS; tier++) {
		draw->counts[tier] = view->status.counts[tier];
		draw->count += view->status.counts[tier];
	}
	if (view->drawn.beacon_bytes == 0)
		return;
	memcpy(draw->seed, view->drawn.seed, sizeof(draw->seed));
	memcpy(draw->root, view->drawn.root, sizeof(draw->root));
	memcpy(draw->beacon, view->drawn.beacon, view->drawn.beacon_bytes);
}

bool ush_room_places_take(const void *reply, size_t bytes, struct ush_draw_file *draw)
{
	const uint8_t *from = reply;
	struct ush_extension_header header;
	size_t at = sizeof(struct ush_reply);

	if (bytes < at + sizeof(header))
		return true;
	memcpy(&header, from + at, sizeof(header));
	at += sizeof(header);
	if (header.type != USH_EXTENSION_PLACES ||
		bytes != at + header.value * sizeof(struct ush_room_entry))
		return false;
	for (uint32_t i = 0; i < header.value; i++) {
		struct ush_room_entry entry;
		uint64_t place;

		memcpy(&entry, from + at + i * sizeof(entry), sizeof(entry));
		if (entry.tier >= USH_DRAW_TIERS)
			continue;
		place = entry.number;
		for (uint32_t tier = 0; tier < entry.tier; tier++)
			place += draw->counts[tier];
		if (entry.number >= draw->counts[entry.tier] || draw->users[place] != 0)
			return false;
		draw->users[place] = entry.user;
	}
	return true;
}

/* ---- writing ---- */

json_t *ush_hex_json(const uint8_t *bytes, size_t count)
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

static json_t *beacon_of(const struct ush_draw_file *draw)
{
	json_t *beacon = json_object();

	/* A source that is no UTF-8 is left out. */
	json_object_set_new(beacon, "source", json_string(draw->beacon_source));
	json_object_set_new(beacon, "round", json_integer((json_int_t)draw->beacon_round));
	if (draw->beacon_bytes != 0)
		json_object_set_new(
			beacon, "value", ush_hex_json(draw->beacon, draw->beacon_bytes));
	return beacon;
}

static json_t *counts_of(const uint32_t counts[USH_DRAW_TIERS])
{
	json_t *tiers = json_array();

	for (uint32_t i = 0; i < USH_DRAW_TIERS; i++)
		json_array_append_new(tiers, json_integer(counts[i]));
	return tiers;
}

static json_t *proof_of(const struct ush_draw_proof *proof)
{
	json_t *path = json_array();
	char user[17];

	snprintf(user, sizeof(user), "%016" PRIx64, proof->user);
	for (uint32_t i = 0; i < proof->path_count; i++)
		json_array_append_new(path, ush_hex_json(proof->path[i], USH_HASH_BYTES));
	return json_pack("{s:s, s:i, s:I, s:o}", "user", user, "tier", (int)proof->tier, "index",
		(json_int_t)proof->index, "path", path);
}

json_t *ush_draw_json(const struct ush_draw_file *draw)
{
	bool drawn = draw->beacon_bytes != 0;
	json_t *object = json_object();

	json_object_set_new(
		object, "format", json_string(drawn ? "usher-draw-1" : "usher-lobby-1"));
	json_object_set_new(object, "event", json_integer(draw->event));
	json_object_set_new(object, "seed_hash", ush_hex_json(draw->seed_hash, USH_HASH_BYTES));
	if (drawn)
		json_object_set_new(object, "seed", ush_hex_json(draw->seed, USH_HASH_BYTES));
	json_object_set_new(object, "root", ush_hex_json(draw->root, USH_HASH_BYTES));
	json_object_set_new(object, "beacon", beacon_of(draw));
	json_object_set_new(object, "count", json_integer(draw->count));
	json_object_set_new(object, "tiers", counts_of(draw->counts));
	if (draw->has_proof)
		json_object_set_new(object, "proof", proof_of(&draw->proof));
	return object;
}

json_t *ush_room_view_json(const struct ush_room_view *view, uint64_t version)
{
	const struct ush_room_status *s = &view->status;
	struct ush_draw_file draw;
	json_t *object;

	ush_room_view_draw(view, &draw);
	object = json_pack("{s:s, s:I, s:I, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:s, s:b, s:b, "
			   "s:I, s:I, s:I, s:o, s:o, s:o}",
		"format", "usher-room-1", "event", (json_int_t)view->event, "version",
		(json_int_t)version, "phase", ush_room_phase_name(s->phase), "event_status",
		event_status_name(s->event_status), "serving", (json_int_t)s->serving, "end",
		(json_int_t)s->end, "exchanged", (json_int_t)s->exchanged, "rate",
		(json_int_t)s->rate, "wait_ms", (json_int_t)(s->wait_ns / 1000000), "limit",
		limit_name(s->limit), "paused", s->paused != 0, "sold_out",
		s->event_status == USH_EVENT_STATUS_SOLD_OUT, "seats_free",
		(json_int_t)s->seats_free, "wait_list", (json_int_t)s->waiting, "after_lobby",
		(json_int_t)s->counts[USH_ROOM_TIER_COUNT], "tiers", counts_of(s->counts),
		"seed_hash", ush_hex_json(draw.seed_hash, USH_HASH_BYTES), "beacon",
		beacon_of(&draw));
	if (object == NULL || draw.beacon_bytes == 0)
		return object;
	json_object_set_new(object, "seed", ush_hex_json(draw.seed, USH_HASH_BYTES));
	json_object_set_new(object, "root", ush_hex_json(draw.root, USH_HASH_BYTES));
	return object;
}
