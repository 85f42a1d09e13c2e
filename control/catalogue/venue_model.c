/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "catalogue/venue_model.h"

/* Copies of short labels are packed into chunks of this many bytes. */
#define CHUNK_BYTES 65536u

struct venue_chunk {
	struct venue_chunk *next;
	size_t used;
	char bytes[CHUNK_BYTES];
};

struct venue_name {
	const char *text;
	uint64_t hash;
	uint32_t value;
	/* The slot is taken if and only if this is the map's generation. */
	uint32_t generation;
};

void venue_model_init(struct venue_model *model)
{
	memset(model, 0, sizeof(*model));
	model->hold_ms = USH_HOLD_MS_DEFAULT;
	model->hold_ms_max = USH_HOLD_MS_DEFAULT;
	model->user_seats_max = USH_USER_SEATS_DEFAULT;
}

/* ret: the array with room for one more element, that one zeroed; NULL when memory is out. */
static void *grow(void *array, uint32_t count, uint32_t *room, size_t element_bytes)
{
	if (count == *room) {
		uint32_t wanted = *room == 0 ? 16 : *room * 2;

		array = reallocarray(array, wanted, element_bytes);
		if (array == NULL)
			return NULL;
		*room = wanted;
	}
	memset((char *)array + count * element_bytes, 0, element_bytes);
	return array;
}

struct venue_tier *venue_model_add_tier(struct venue_model *model)
{
	void *grown =
		grow(model->tiers, model->tier_count, &model->tier_room, sizeof(*model->tiers));

	if (grown == NULL)
		return NULL;
	model->tiers = grown;
	return &model->tiers[model->tier_count++];
}

struct venue_section *venue_model_add_section(struct venue_model *model)
{
	void *grown = grow(model->sections, model->section_count, &model->section_room,
		sizeof(*model->sections));

	if (grown == NULL)
		return NULL;
	model->sections = grown;
	model->sections[model->section_count].row_first = model->row_count;
	return &model->sections[model->section_count++];
}

struct venue_row *venue_model_add_row(struct venue_model *model)
{
	void *grown = grow(model->rows, model->row_count, &model->row_room, sizeof(*model->rows));

	if (grown == NULL)
		return NULL;
	model->rows = grown;
	model->rows[model->row_count].seat_first = model->seat_count;
	return &model->rows[model->row_count++];
}

struct venue_seat *venue_model_add_seat(struct venue_model *model)
{
	void *grown =
		grow(model->seats, model->seat_count, &model->seat_room, sizeof(*model->seats));

	if (grown == NULL)
		return NULL;
	model->seats = grown;
	return &model->seats[model->seat_count++];
}

const char *venue_model_keep(struct venue_model *model, const char *text)
{
	size_t size = strlen(text) + 1;
	struct venue_chunk *chunk = model->chunks;
	char *copy;

	USH_ASSERT(size <= CHUNK_BYTES);
	if (chunk == NULL || CHUNK_BYTES - chunk->used < size) {
		chunk = malloc(sizeof(*chunk));
		if (chunk == NULL)
			return NULL;
		chunk->next = model->chunks;
		chunk->used = 0;
		model->chunks = chunk;
	}
	copy = chunk->bytes + chunk->used;
	memcpy(copy, text, size);
	chunk->used += size;
	return copy;
}

void venue_model_free(struct venue_model *model)
{
	while (model->chunks != NULL) {
		struct venue_chunk *next = model->chunks->next;

		free(model->chunks);
		model->chunks = next;
	}
	free(model->tiers);
	free(model->sections);
	free(model->rows);
	free(model->seats);
	memset(model, 0, sizeof(*model));
}

/* Cuts one piece of at most 64 positions before each seat that would bring a fifth tier. */
static uint32_t cut_by_tier(const struct venue_seat *seats, struct venue_cut piece,
	struct venue_cut *cuts, uint32_t made)
{
	uint8_t tiers[4];
	uint32_t tier_count = 0, first = piece.first, end = piece.first + piece.count;

	for (uint32_t i = first; i < end; i++) {
		uint32_t t = 0;

		if (seats[i].label == NULL)
			continue;
		while (t < tier_count && tiers[t] != seats[i].tier)
			t++;
		if (t < tier_count)
			continue;
		if (tier_count == 4) {
			if (cuts != NULL)
				cuts[made] = (struct venue_cut){first, i - first};
			made++;
			first = i;
			tier_count = 0;
		}
		tiers[tier_count++] = seats[i].tier;
	}
	if (cuts != NULL)
		cuts[made] = (struct venue_cut){first, end - first};
	return made + 1;
}

uint32_t venue_model_cut(const struct venue_seat *seats, uint32_t count, struct venue_cut *cuts)
{
	uint32_t piece_count = (count + USH_ROW_SEATS_MAX - 1) / USH_ROW_SEATS_MAX, made = 0;

	USH_ASSERT(count > 0 && count <= USH_VENUE_ROW_POSITIONS_MAX);
	for (uint32_t i = 0; i < piece_count; i++) {
		struct venue_cut piece;

		piece.first = count * i / piece_count;
		piece.count = count * (i + 1) / piece_count - piece.first;
		USH_ASSERT(piece.count <= USH_ROW_SEATS_MAX);
		made = cut_by_tier(seats, piece, cuts, made);
	}
	return made;
}

/* The key is fixed: a file that makes its own reading slow hurts only its author. */
static uint64_t name_hash(const char *text)
{
	static const struct ush_key key = {0x76656e7565206e61ull, 0x6d6573206d61702eull};

	return ush_siphash(&key, text, strlen(text));
}

static struct venue_name *names_slot(
	const struct venue_names *names, const char *text, uint64_t hash)
{
	uint32_t i = (uint32_t)hash & (names->room - 1);

	while (names->slots[i].generation == names->generation) {
		if (names->slots[i].hash == hash && strcmp(names->slots[i].text, text) == 0)
			break;
		i = (i + 1) & (names->room - 1);
	}
	return &names->slots[i];
}

/* Keeps the map at most half full. */
static int names_grow(struct venue_names *names)
{
	struct venue_names grown = {.room = names->room == 0 ? 64 : names->room * 2,
		.count = names->count,
		.generation = 1};

	if (names->count * 2 < names->room)
		return 0;
	grown.slots = calloc(grown.room, sizeof(*grown.slots));
	if (grown.slots == NULL)
		return -USH_ENOMEM;
	for (uint32_t i = 0; i < names->room; i++) {
		const struct venue_name *old = &names->slots[i];
		struct venue_name *slot;

		if (old->generation != names->generation)
			continue;
		slot = names_slot(&grown, old->text, old->hash);
		*slot = *old;
		slot->generation = grown.generation;
	}
	free(names->slots);
	*names = grown;
	return 0;
}

int venue_names_add(struct venue_names *names, const char *text, uint32_t value, uint32_t *found)
{
	uint64_t hash = name_hash(text);
	struct venue_name *slot;

	if (names_grow(names) != 0)
		return -USH_ENOMEM;
	slot = names_slot(names, text, hash);
	if (slot->generation == names->generation) {
		*found = slot->value;
		return 0;
	}
	*slot = (struct venue_name){text, hash, value, names->generation};
	names->count++;
	*found = VENUE_NAMES_NONE;
	return 0;
}

uint32_t venue_names_get(const struct venue_names *names, const char *text)
{
	const struct venue_name *slot;

	if (names->room == 0)
		return VENUE_NAMES_NONE;
	slot = names_slot(names, text, name_hash(text));
	return slot->generation == names->generation ? slot->value : VENUE_NAMES_NONE;
}

void venue_names_clear(struct venue_names *names)
{
	/* Slots start with generation 0; the first one in use is 1, and 2^32 rows are not reached.
	 */
	names->generation++;
	names->count = 0;
}

void venue_names_free(struct venue_names *names)
{
	free(names->slots);
	memset(names, 0, sizeof(*names));
}
