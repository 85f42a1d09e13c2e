/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A venue in memory between its file and its image, and how rows are cut into blocks.
 *
 * Owns:  struct venue_model and its memory; struct venue_names, a map from text to number.
 * Reads: strings that belong to the parsed file, which must outlive the model.
 * Never: JSON; it does not know the format that it was read from.
 */
#ifndef USH_VENUE_MODEL_H
#define USH_VENUE_MODEL_H

#include "catalogue/venue.h"

/* Bits of venue_seat.flags. */
#define VENUE_SEAT_ACCESSIBLE 1u
#define VENUE_SEAT_COMPANION 2u
#define VENUE_SEAT_BLOCKED 4u
/* Its tier was given seat by seat. */
#define VENUE_SEAT_TIER_SET 8u

/* A position in a row. */
struct venue_seat {
	/* NULL: a gap, nobody can sit here. */
	const char *label;
	uint8_t tier;
	uint8_t flags;
};

struct venue_row {
	const char *label;
	uint32_t seat_first;
	uint32_t seat_count;
};

enum venue_kind {
	VENUE_KIND_SEATS,
	VENUE_KIND_TABLES,
	VENUE_KIND_AREA
};

struct venue_section {
	const char *name;
	enum venue_kind kind;
	uint32_t row_first;
	uint32_t row_count;
	/* Areas only. The first places are the accessible ones, the last ones are blocked. */
	uint32_t capacity;
	uint32_t accessible;
	uint32_t blocked;
	uint8_t tier;
};

struct venue_tier {
	const char *name;
	uint32_t price;
};

struct venue_chunk;

struct venue_model {
	const char *name;
	char currency[4];
	uint32_t hold_ms;
	uint32_t hold_ms_max;
	uint32_t user_seats_max;
	/* Seat-seconds, and ms; 0: none. */
	uint32_t hold_budget_s;
	uint32_t cool_down_ms;
	/* How seats are chosen; exempt is 0 or one more than the per cent. */
	uint32_t best_objective;
	uint32_t best_split;
	uint32_t best_orphans;
	uint32_t best_exempt;
	struct venue_tier *tiers;
	struct venue_section *sections;
	struct venue_row *rows;
	struct venue_seat *seats;
	uint32_t tier_count, tier_room;
	uint32_t section_count, section_room;
	uint32_t row_count, row_room;
	uint32_t seat_count, seat_room;
	/* Row blocks that the rows and areas so far need. */
	uint32_t block_count;
	struct venue_chunk *chunks;
};

/* A cut of a row: its positions [first, first + count). */
struct venue_cut {
	uint32_t first;
	uint32_t count;
};

void venue_model_init(struct venue_model *model);
/* ret: the new element, zeroed, or NULL when memory is out. Earlier pointers become invalid. */
struct venue_tier *venue_model_add_tier(struct venue_model *model);
struct venue_section *venue_model_add_section(struct venue_model *model);
struct venue_row *venue_model_add_row(struct venue_model *model);
struct venue_seat *venue_model_add_seat(struct venue_model *model);
/* ret: a copy of `text` that lives as long as the model, or NULL. */
const char *venue_model_keep(struct venue_model *model, const char *text);
void venue_model_free(struct venue_model *model);

/*
 * Cuts a row into blocks: near-even pieces of at most 64 positions, and each piece again before
 * the seat that would bring a fifth tier.
 * in:  seats: `count` positions, 1 to USH_VENUE_ROW_POSITIONS_MAX, first and last not a gap, no
 *      gap longer than USH_VENUE_GAP_MAX.
 * out: cuts: room for `count`; may be NULL. ret: number of cuts.
 */
uint32_t venue_model_cut(const struct venue_seat *seats, uint32_t count, struct venue_cut *cuts);

/*
 * Writes the model as an image.
 * in:  at least one section, each with at least one seat; block_count <= USH_EVENT_ROWS_MAX.
 * ret: 0; err: -USH_ENOMEM, -USH_EFULL (labels beyond USH_VENUE_FILE_BYTES_MAX).
 */
int venue_model_write(const struct venue_model *model, void **image, size_t *image_bytes);

/* A map from text to a number. The texts stay the caller's. */
struct venue_names {
	struct venue_name *slots;
	uint32_t room;
	uint32_t count;
	uint32_t generation;
};

#define VENUE_NAMES_NONE UINT32_MAX

/* Adds `text` unless it is there. out: *found: its number before, or VENUE_NAMES_NONE.
 * ret: 0; err: -USH_ENOMEM. */
int venue_names_add(struct venue_names *names, const char *text, uint32_t value, uint32_t *found);
/* ret: its number or VENUE_NAMES_NONE. */
uint32_t venue_names_get(const struct venue_names *names, const char *text);
/* Forgets all texts, keeps the memory. */
void venue_names_clear(struct venue_names *names);
void venue_names_free(struct venue_names *names);

#endif /* USH_VENUE_MODEL_H */
