/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Venue files: JSON in, the binary image of dataplane/wire out, and human labels both ways.
 *
 * Owns:  the JSON venue format (docs/venue.md), the import of pretix seating plans, the labels
 *        text inside an image.
 * Reads: struct venue_header, venue_tier, venue_section, venue_row of the wire table.
 * Never: sockets, clocks, the dataplane's state.
 */
#ifndef USH_VENUE_H
#define USH_VENUE_H

#include <stdio.h>

#include "base/base.h"
#include "wire/wire.h"

/* Largest venue file and largest image. src: guess; 4 M seats with labels need 40 MB. */
#define USH_VENUE_FILE_BYTES_MAX (64u << 20)
/* Longest names and labels, bytes of UTF-8. */
#define USH_VENUE_NAME_BYTES_MAX 63u
#define USH_VENUE_SEAT_BYTES_MAX 31u
/* Positions (seats and gaps) in one row of a venue file. */
#define USH_VENUE_ROW_POSITIONS_MAX 4096u
/* Empty positions in one gap. Below 32, so that a half of a split row always holds a seat. */
#define USH_VENUE_GAP_MAX 16u
/* Seats per user that a file may allow. */
#define USH_VENUE_USER_SEATS_MAX 65535u
/* The price of a leg of 64 seats must fit the 32-bit `amount` of a journal record. */
#define USH_VENUE_PRICE_MAX USH_TIER_PRICE_MAX
static_assert(USH_VENUE_GAP_MAX < USH_ROW_SEATS_MAX / 2, "every block of a split row has a seat");
static_assert((uint64_t)USH_VENUE_PRICE_MAX * USH_ROW_SEATS_MAX <= UINT32_MAX, "a leg's price");

/* Bits of venue_row.flags. */
#define USH_VENUE_ROW_GENERAL 1u
#define USH_VENUE_ROW_CONTINUES 2u
#define USH_VENUE_ROW_GAP 4u

/* A price for a category of an imported plan. */
struct ush_venue_price {
	const char *category;
	uint32_t price;
};

/* What a venue file does not say itself. Zeroed is a good default. */
struct ush_venue_options {
	/* Name used in messages; NULL: "venue". */
	const char *file;
	/* Imported plans only: ISO 4217 code, NULL: refused. */
	const char *currency;
	/* Imported plans only: price of each category, and of those not listed. */
	const struct ush_venue_price *prices;
	size_t price_count;
	bool price_default_set;
	uint32_t price_default;
	/* Told of everything in the file that the image cannot carry; may be NULL. */
	void (*warn)(void *context, const char *text);
	void *warn_context;
};

/* A seat by name. Of a general admission place: row is "" and seat its number from 1. */
struct ush_venue_label {
	char section[USH_VENUE_NAME_BYTES_MAX + 1];
	char row[USH_VENUE_NAME_BYTES_MAX + 1];
	char seat[USH_VENUE_SEAT_BYTES_MAX + 1];
};

/* A seat by number. */
struct ush_venue_place {
	uint32_t row;
	uint32_t bit;
};

/* An image opened for reading. */
struct ush_venue;

/*
 * Afterwards *image is the image of the venue file in `text`: a JSON venue, or a pretix plan.
 * in:  text: `bytes` bytes, not NUL-terminated; options: may be NULL.
 * out: *image: malloc'd, the caller frees it; *image_bytes.
 * ret: 0; err: -USH_EPARSE with "file:line:column: what, where", -USH_EFULL when too large,
 *      -USH_ENOMEM. by: any thread. cost: O(bytes + seats).
 */
int ush_venue_compile(const char *text, size_t bytes, const struct ush_venue_options *options,
	void **image, size_t *image_bytes, struct ush_message *message);

/*
 * As ush_venue_compile, from a file; a file that already is an image is checked and returned.
 * err: also -USH_ENOENT, -USH_EACCES, -USH_ESYSTEM of the file, -USH_ECORRUPT of an image.
 */
int ush_venue_compile_file(const char *path, const struct ush_venue_options *options, void **image,
	size_t *image_bytes, struct ush_message *message);

/* ret: whether the bytes start as an image does. by: any thread. */
bool ush_venue_is_image(const void *data, size_t bytes);

/*
 * Checks every field of an image and opens it.
 * in:  image: 8-byte aligned; must outlive *venue and not change.
 * ret: 0; err: -USH_ECORRUPT, -USH_EVERSION with a message, -USH_ENOMEM.
 */
int ush_venue_open(const void *image, size_t image_bytes, struct ush_venue **venue,
	struct ush_message *message);

const struct ush_venue_header *ush_venue_get_header(const struct ush_venue *venue);
/* in: index below the count in the header. */
const struct ush_venue_tier *ush_venue_get_tier(const struct ush_venue *venue, uint32_t index);
const struct ush_venue_section *ush_venue_get_section(
	const struct ush_venue *venue, uint32_t index);
const struct ush_venue_row *ush_venue_get_row(const struct ush_venue *venue, uint32_t index);
const char *ush_venue_tier_name(const struct ush_venue *venue, uint32_t index);
const char *ush_venue_section_name(const struct ush_venue *venue, uint32_t index);
/* ret: "seats", "tables" or "area". */
const char *ush_venue_section_kind(const struct ush_venue *venue, uint32_t index);
/* ret: the label of a row, "" for general admission. */
const char *ush_venue_row_label(const struct ush_venue *venue, uint32_t row);
/* ret: the label of a seat, NULL where there is none or places are anonymous. in: bit < 64. */
const char *ush_venue_seat_label(const struct ush_venue *venue, uint32_t row, uint32_t bit);
/* ret: seats of tier number `tier` in a row. */
uint64_t ush_venue_tier_seats(const struct ush_venue_row *row, uint32_t tier);

/* Names a seat. ret: 0; err: -USH_ENOENT: there is no such seat. cost: O(1). */
int ush_venue_label(
	const struct ush_venue *venue, uint32_t row, uint32_t bit, struct ush_venue_label *label);

/*
 * Finds a seat by name; names are compared byte by byte.
 * in:  row: "" for general admission, whose `seat` is the place's number from 1.
 * ret: 0; err: -USH_ENOENT with a message that says which part was not found.
 * cost: O(sections + rows + seats of the row).
 */
int ush_venue_find(const struct ush_venue *venue, const char *section, const char *row,
	const char *seat, struct ush_venue_place *place, struct ush_message *message);

/*
 * Finds the seat of "SECTION/ROW/SEAT" (general admission: "SECTION/PLACE"). Labels may hold
 * slashes themselves as long as only one reading exists.
 * err: -USH_ENOENT, -USH_EINVAL (ambiguous) with a message.
 */
int ush_venue_find_path(const struct ush_venue *venue, const char *path,
	struct ush_venue_place *place, struct ush_message *message);

/* Prints a summary as a table; with `rows` also a line for each row block. */
void ush_venue_print(const struct ush_venue *venue, bool rows, FILE *out);

/* Prints everything as one JSON object. ret: 0; err: -USH_ENOMEM. */
int ush_venue_print_json(const struct ush_venue *venue, FILE *out);

/* Writes a price in major units with its code, "12.50 EUR". in: size at least 32. */
void ush_venue_price_text(const char *currency, uint64_t price, char *text, size_t size);

void ush_venue_close(struct ush_venue *venue);

#endif /* USH_VENUE_H */
