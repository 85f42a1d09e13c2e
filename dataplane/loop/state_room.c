/* SPDX-License-Identifier: Apache-2.0 */
/* Waiting rooms in a snapshot: see state.c. */
#include <inttypes.h>
#include <string.h>

#include "loop/internal.h"

static int bad(struct ush_message *message, const char *what, uint64_t a, uint64_t b)
{
	ush_message_set(message,
		"the snapshot contradicts itself: %s (%" PRIu64 ", %" PRIu64
		"); move it away to replay from before it, and report it",
		what, a, b);
	return -USH_ECORRUPT;
}

static int save_places(const struct ush_queue *queue, ush_engine_put *put, void *context)
{
	const struct ush_room *room = &queue->room;
	int error = 0;

	for (uint32_t line = 0; line < room->line_count && error == 0; line++) {
		for (uint32_t i = 0; i < USH_ROOM_LINE_PLACES && error == 0; i++) {
			struct ush_room_place place;
			struct ush_state_room_place entry = {.event = (uint16_t)queue->event};

			entry.user = ush_room_at(room, line, i, &place);
			if (entry.user == 0)
				continue;
			entry.number = place.number;
			entry.tier = (uint8_t)place.tier;
			error = put(context, USH_STATE_SECTION_ROOM_PLACE, &entry, sizeof(entry));
		}
	}
	for (uint32_t number = 0; number < queue->visit_count && error == 0; number++) {
		struct ush_state_room_visit entry = {
			.number = number, .event = (uint16_t)queue->event};

		entry.word = ush_visit(queue, number);
		if (entry.word != USH_VISIT_NONE)
			error = put(context, USH_STATE_SECTION_ROOM_VISIT, &entry, sizeof(entry));
	}
	return error;
}

static int save_room(const struct ush_queue *queue, ush_engine_put *put, void *context)
{
	struct ush_state_room entry = {
		.event = queue->event,
		.phase = ush_queue_phase(queue),
		.serving = queue->bound,
		.exchanged = atomic_load(&queue->exchanged),
		.cap = atomic_load(&queue->cap),
		.paused = (uint8_t)atomic_load(&queue->paused),
	};
	struct ush_ticket_keys keys;
	int error;

	ush_queue_keys(queue, &keys);
	entry.key_id = keys.newest;
	entry.key_live = keys.live;
	ush_room_counts(&queue->room, entry.next);
	memcpy(entry.opened, &queue->opened, sizeof(entry.opened));
	if (entry.phase == USH_ROOM_PHASE_SERVING)
		memcpy(entry.drawn, &queue->drawn, sizeof(entry.drawn));
	error = put(context, USH_STATE_SECTION_ROOM, &entry, sizeof(entry));
	return error != 0 ? error : save_places(queue, put, context);
}

static int save_devices(const struct ush_devices *devices, ush_engine_put *put, void *context)
{
	uint32_t sets = 1u << devices->set_bits;
	int error = 0;

	for (uint32_t i = 0; i < sets * USH_DEVICE_WAYS && error == 0; i++) {
		struct ush_state_device entry;

		entry.entry = devices->sets[i / USH_DEVICE_WAYS].entry[i % USH_DEVICE_WAYS];
		if (entry.entry != 0)
			error = put(context, USH_STATE_SECTION_DEVICE, &entry, sizeof(entry));
	}
	return error;
}

int rooms_save(const struct ush_engine *engine, ush_engine_put *put, void *context)
{
	uint32_t count = ush_rooms_count(&engine->rooms);
	int error = 0;

	for (uint32_t i = 0; i < count && error == 0; i++)
		error = save_room(&engine->rooms.queues[i], put, context);
	if (count != 0 && error == 0)
		error = save_devices(&engine->devices, put, context);
	return error;
}

/* ---- loading ---- */

static int load_open(
	struct ush_engine *engine, const struct ush_state_room *entry, struct ush_message *message)
{
	struct ush_room_open opened;
	struct ush_queue *queue;

	memcpy(&opened, entry->opened, sizeof(opened));
	if (ush_inventory_event(&engine->inventory, entry->event) == NULL ||
		ush_rooms_find(&engine->rooms, entry->event) != NULL || opened.users == 0 ||
		entry->phase < USH_ROOM_PHASE_LOBBY || entry->phase > USH_ROOM_PHASE_SERVING)
		return bad(message, "a waiting room", entry->event, entry->phase);
	queue = ush_queue_begin(&engine->rooms, entry->event, &opened);
	if (queue == NULL) {
		ush_message_set(message, "the snapshot does not fit: raise [limits] room_users");
		return -USH_EFULL;
	}
	if (ush_room_replay_next(&queue->room, entry->next, entry->phase != USH_ROOM_PHASE_LOBBY) !=
		0)
		return bad(message, "the places of a lobby", entry->event, 0);
	queue->bound = entry->serving;
	atomic_store(&queue->exchanged, entry->exchanged);
	atomic_store(&queue->cap, entry->cap);
	atomic_store(&queue->paused, entry->paused);
	atomic_store(&queue->key_state, entry->key_id | (uint32_t)entry->key_live << 8);
	ush_queue_show_open(&engine->rooms, queue);
	return 0;
}

/* The places of the lobby are there. */
static int load_phase(
	struct ush_engine *engine, const struct ush_state_room *entry, struct ush_message *message)
{
	struct ush_queue *queue = ush_rooms_find(&engine->rooms, entry->event);
	struct ush_room_draw drawn;

	if (entry->phase == USH_ROOM_PHASE_LOBBY)
		return 0;
	ush_queue_show_close(queue);
	if (entry->phase == ush_queue_phase(queue))
		return 0;
	memcpy(&drawn, entry->drawn, sizeof(drawn));
	if (entry->phase != USH_ROOM_PHASE_SERVING || drawn.beacon_bytes > sizeof(drawn.beacon) ||
		ush_queue_draw(&engine->rooms, queue, &drawn) != 0)
		return bad(message, "a draw", entry->event, entry->phase);
	ush_queue_show_draw(queue);
	return 0;
}

static int load_place(struct ush_engine *engine, const struct ush_state_room_place *entry,
	struct ush_message *message)
{
	struct ush_queue *queue = ush_rooms_find(&engine->rooms, entry->event);
	struct ush_room_place place = {.number = entry->number, .tier = entry->tier};

	if (queue == NULL || ush_room_replay_join(&queue->room, entry->user, &place) != 0)
		return bad(message, "a place in a waiting room", entry->event, entry->user);
	return 0;
}

static int load_visit(struct ush_engine *engine, const struct ush_state_room_visit *entry,
	struct ush_message *message)
{
	struct ush_queue *queue = ush_rooms_find(&engine->rooms, entry->event);

	if (queue == NULL || entry->number >= queue->visit_count ||
		(entry->word != USH_VISIT_SLOW && (entry->word & USH_VISIT_DONE) == 0))
		return bad(message, "a number of a waiting room", entry->event, entry->number);
	ush_visit_set(queue, entry->number, entry->word);
	return 0;
}

int rooms_load(
	struct ush_engine *engine, ush_engine_get *get, void *context, struct ush_message *message)
{
	struct ush_state_room rooms[USH_ROOMS_MAX], room;
	struct ush_state_room_place place;
	struct ush_state_room_visit visit;
	struct ush_state_device device;
	uint32_t count = 0;
	int error = 0;

	while (error == 0 && get(context, USH_STATE_SECTION_ROOM, &room, sizeof(room)) == 1) {
		error = load_open(engine, &room, message);
		if (error == 0)
			rooms[count++] = room;
	}
	while (error == 0 && get(context, USH_STATE_SECTION_ROOM_PLACE, &place, sizeof(place)) == 1)
		error = load_place(engine, &place, message);
	for (uint32_t i = 0; i < count && error == 0; i++)
		error = load_phase(engine, &rooms[i], message);
	while (error == 0 && get(context, USH_STATE_SECTION_ROOM_VISIT, &visit, sizeof(visit)) == 1)
		error = load_visit(engine, &visit, message);
	while (error == 0 && count != 0 &&
		get(context, USH_STATE_SECTION_DEVICE, &device, sizeof(device)) == 1)
		ush_devices_restore(&engine->devices, device.entry);
	return error;
}
