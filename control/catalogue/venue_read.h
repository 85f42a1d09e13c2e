/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading JSON strictly, with the line and column of whatever is wrong.
 *
 * jansson gives positions for syntax errors only. So the reader keeps the path to the value it
 * looks at, and when something is wrong the text is scanned once more along that path.
 *
 * Owns:  struct venue_reader, the path.
 * Reads: the parsed JSON and its text.
 * Never: what a venue is.
 */
#ifndef USH_VENUE_READ_H
#define USH_VENUE_READ_H

#include <jansson.h>

#include "catalogue/venue_model.h"

#define VENUE_PATH_DEPTH_MAX 12u
/* Warnings told in full; the rest are counted. */
#define VENUE_WARNINGS_MAX 100u

/* One step from a value to one inside it. */
struct venue_step {
	/* NULL: a step into an array. */
	const char *key;
	size_t index;
};

/* What is told in front of a message: "section 'A', row '3': ". NULL: not said. */
struct venue_where {
	/* "section" or "zone". */
	const char *section_word;
	const char *section;
	const char *row;
	const char *seat;
};

struct venue_reader {
	const struct ush_venue_options *options;
	const char *file;
	const char *text;
	size_t bytes;
	struct venue_step path[VENUE_PATH_DEPTH_MAX];
	uint32_t depth;
	/* The last step's key itself is meant, not its value. */
	bool at_key;
	struct venue_where where;
	uint32_t warning_count;
	struct venue_model *model;
	struct venue_names tiers;
	struct venue_names sections;
	struct venue_names rows;
	struct venue_names seats;
	struct ush_message *message;
};

/* An allowed key and whether it must be there. The list ends with name NULL. */
struct venue_key {
	const char *name;
	bool required;
};

/* A range for integers. */
struct venue_range {
	uint32_t min;
	uint32_t max;
};

void venue_read_into(struct venue_reader *reader, const char *key);
void venue_read_into_index(struct venue_reader *reader, size_t index);
void venue_read_out(struct venue_reader *reader);

/* Fills the message with "file:line:column: where: what". ret: -USH_EPARSE, always. */
int venue_read_fail(struct venue_reader *reader, const char *format, ...) USH_PRINTF(2, 3);
/* ret: -USH_ENOMEM, always. */
int venue_read_no_memory(struct venue_reader *reader);
/* Tells options->warn, with the same position and place as an error. */
void venue_read_warn(struct venue_reader *reader, const char *format, ...) USH_PRINTF(2, 3);

/* Each: ret: 0; err: -USH_EPARSE with a message. The reader stands at the value in question. */
int venue_read_object(
	struct venue_reader *reader, const json_t *value, const struct venue_key *keys);
/* in: min, max: number of elements. */
int venue_read_array(
	struct venue_reader *reader, const json_t *value, struct venue_range count_range);
int venue_read_text(
	struct venue_reader *reader, const json_t *value, size_t bytes_max, const char **text);
int venue_read_integer(struct venue_reader *reader, const json_t *value, struct venue_range range,
	uint32_t *number);

/* As the two above, of a member; outputs are unchanged when it is missing. */
int venue_read_text_at(struct venue_reader *reader, const json_t *object, const char *key,
	size_t bytes_max, const char **text);
int venue_read_integer_at(struct venue_reader *reader, const json_t *object, const char *key,
	struct venue_range range, uint32_t *number);

/* Checks a currency code. ret: 0; err: -USH_EPARSE with a message. */
int venue_read_currency(struct venue_reader *reader, const char *code);
/* Counts the blocks of a finished row or area into the model. err: -USH_EPARSE: too many. */
int venue_read_count_blocks(struct venue_reader *reader, uint32_t block_count);

/* ret: what is wrong with a name or label, or NULL: length 1 to bytes_max, no control
 * characters, no blank at either end. */
const char *venue_text_fault(const char *text, size_t bytes_max);
/* ret: digits after the point in the currency's minor unit, or -1: not an ISO 4217 code. */
int venue_currency_digits(const char *code);

/* Finds the line and column (from 1; in characters) of the value at a path in valid JSON text. */
void venue_locate(const char *text, size_t bytes, const struct venue_step *path, uint32_t depth,
	bool at_key, uint32_t *line, uint32_t *column);

/* The two formats. in: root: the whole file, an object. ret: 0; err: as ush_venue_compile. */
int venue_json_read(struct venue_reader *reader, const json_t *root);
int venue_pretix_read(struct venue_reader *reader, const json_t *root);
/* ret: whether the file has the shape of a pretix seating plan. */
bool venue_pretix_is(const json_t *root);

/* Parts of venue_json_read, in venue_seats.c: the positions of a row, and marks on its seats. */
int venue_seats_read(struct venue_reader *reader, const json_t *list, struct venue_row *row);
/* Marks what is done to each seat that a selector names. */
struct venue_mark {
	/* What a second mark would be: "blocked" in "seat '4' is blocked twice". */
	const char *word;
	uint8_t flag;
	/* Flags that may not be together with this one. */
	uint8_t excludes;
	uint8_t tier;
};
int venue_seats_mark(struct venue_reader *reader, const json_t *selector,
	const struct venue_row *row, const struct venue_mark *mark);

#endif /* USH_VENUE_READ_H */
