/* SPDX-License-Identifier: Apache-2.0 */
/* Between a seat's number (row block and bit) and its name (section, row, seat). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "catalogue/venue.h"

/* Longest "SECTION/ROW/SEAT". */
#define PATH_BYTES_MAX (2 * USH_VENUE_NAME_BYTES_MAX + USH_VENUE_SEAT_BYTES_MAX + 2)

int ush_venue_label(
	const struct ush_venue *venue, uint32_t row, uint32_t bit, struct ush_venue_label *label)
{
	const struct ush_venue_header *header = ush_venue_get_header(venue);
	const struct ush_venue_row *block;
	uint32_t first;

	if (row >= header->row_count || bit >= USH_ROW_SEATS_MAX)
		return -USH_ENOENT;
	block = ush_venue_get_row(venue, row);
	if ((block->seats >> bit & 1) == 0)
		return -USH_ENOENT;
	first = ush_venue_get_section(venue, block->section)->row_first;
	snprintf(label->section, sizeof(label->section), "%s",
		ush_venue_section_name(venue, block->section));
	snprintf(label->row, sizeof(label->row), "%s", ush_venue_row_label(venue, row));
	if (block->flags == USH_VENUE_ROW_GENERAL)
		snprintf(label->seat, sizeof(label->seat), "%u",
			(row - first) * USH_ROW_SEATS_MAX + bit + 1);
	else
		snprintf(label->seat, sizeof(label->seat), "%s",
			ush_venue_seat_label(venue, row, bit));
	return 0;
}

static uint32_t find_section(const struct ush_venue *venue, const char *name)
{
	uint32_t count = ush_venue_get_header(venue)->section_count, i = 0;

	while (i < count && strcmp(ush_venue_section_name(venue, i), name) != 0)
		i++;
	return i;
}

static uint32_t general_count(
	const struct ush_venue *venue, const struct ush_venue_section *section)
{
	uint32_t last = section->row_first + section->row_count - 1;

	return (section->row_count - 1) * USH_ROW_SEATS_MAX +
	       ush_popcount64(ush_venue_get_row(venue, last)->seats);
}

/* A place of a general admission section by its number from 1, in plain decimal. */
static bool find_general(const struct ush_venue *venue, const struct ush_venue_section *section,
	const char *seat, struct ush_venue_place *place)
{
	uint64_t number;

	if (seat[0] < '1' || seat[0] > '9' || strspn(seat, "0123456789") != strlen(seat) ||
		strlen(seat) > 9)
		return false;
	number = strtoul(seat, NULL, 10) - 1;
	if (number / USH_ROW_SEATS_MAX >= section->row_count)
		return false;
	place->row = section->row_first + (uint32_t)(number / USH_ROW_SEATS_MAX);
	place->bit = number % USH_ROW_SEATS_MAX;
	return (ush_venue_get_row(venue, place->row)->seats >> place->bit & 1) != 0;
}

/* out: row_found: whether the row's label exists. */
static bool find_seat(const struct ush_venue *venue, const struct ush_venue_section *section,
	const char *row, const char *seat, struct ush_venue_place *place, bool *row_found)
{
	*row_found = false;
	for (uint32_t r = section->row_first; r < section->row_first + section->row_count; r++) {
		if (strcmp(ush_venue_row_label(venue, r), row) != 0)
			continue;
		*row_found = true;
		for (uint32_t bit = 0; bit < USH_ROW_SEATS_MAX; bit++) {
			const char *label = ush_venue_seat_label(venue, r, bit);

			if (label != NULL && strcmp(label, seat) == 0) {
				*place = (struct ush_venue_place){r, bit};
				return true;
			}
		}
	}
	return false;
}

int ush_venue_find(const struct ush_venue *venue, const char *section, const char *row,
	const char *seat, struct ush_venue_place *place, struct ush_message *message)
{
	uint32_t index = find_section(venue, section);
	const struct ush_venue_section *found;
	struct ush_venue_place at;
	bool row_found;

	if (index == ush_venue_get_header(venue)->section_count) {
		ush_message_set(message, "no section '%.63s' in this venue", section);
		return -USH_ENOENT;
	}
	found = ush_venue_get_section(venue, index);
	if (ush_venue_get_row(venue, found->row_first)->flags == USH_VENUE_ROW_GENERAL) {
		if (row[0] != '\0' || !find_general(venue, found, seat, &at)) {
			ush_message_set(message,
				"section '%.63s' is general admission: name a place as "
				"'%.63s/NUMBER', 1 to %u",
				section, section, general_count(venue, found));
			return -USH_ENOENT;
		}
	} else if (!find_seat(venue, found, row, seat, &at, &row_found)) {
		if (row_found)
			ush_message_set(message, "no seat '%.31s' in section '%.63s', row '%.63s'",
				seat, section, row);
		else if (row[0] == '\0')
			ush_message_set(message,
				"section '%.63s' has rows: name a seat as '%.63s/ROW/SEAT'",
				section, section);
		else
			ush_message_set(message, "no row '%.63s' in section '%.63s'", row, section);
		return -USH_ENOENT;
	}
	*place = at;
	return 0;
}

/* Tries every reading of `path` with the section ending at `slash`. ret: readings found. */
static uint32_t find_after(
	const struct ush_venue *venue, char *path, char *slash, struct ush_venue_place *place)
{
	struct ush_venue_place at;
	char *rest = slash + 1;
	uint32_t found = 0;

	*slash = '\0';
	if (ush_venue_find(venue, path, "", rest, &at, NULL) == 0) {
		*place = at;
		found++;
	}
	for (char *second = strchr(rest, '/'); second != NULL; second = strchr(second + 1, '/')) {
		*second = '\0';
		if (rest[0] != '\0' &&
			ush_venue_find(venue, path, rest, second + 1, &at, NULL) == 0) {
			*place = at;
			found++;
		}
		*second = '/';
	}
	*slash = '/';
	return found;
}

/* Says what is wrong with the plain reading of a path that was not found. */
static int explain_path(
	const struct ush_venue *venue, const char *path, char *copy, struct ush_message *message)
{
	char *first = strchr(copy, '/'), *last = strrchr(copy, '/');
	struct ush_venue_place unused;

	ush_message_set(
		message, "'%s' is not SECTION/ROW/SEAT (general admission: SECTION/PLACE)", path);
	if (first == NULL || last == first + 1 || (first != last && strchr(first + 1, '/') != last))
		return -USH_ENOENT;
	*first = '\0';
	*last = '\0';
	ush_venue_find(venue, copy, last > first ? first + 1 : "", last + 1, &unused, message);
	return -USH_ENOENT;
}

int ush_venue_find_path(const struct ush_venue *venue, const char *path,
	struct ush_venue_place *place, struct ush_message *message)
{
	char copy[PATH_BYTES_MAX + 1];
	struct ush_venue_place at = {0, 0};
	uint32_t found = 0;

	if (strlen(path) >= sizeof(copy)) {
		ush_message_set(message, "'%.63s...' is longer than any seat's name", path);
		return -USH_ENOENT;
	}
	memcpy(copy, path, strlen(path) + 1);
	for (char *slash = strchr(copy, '/'); slash != NULL; slash = strchr(slash + 1, '/'))
		found += find_after(venue, copy, slash, &at);
	if (found == 0)
		return explain_path(venue, path, copy, message);
	if (found > 1) {
		ush_message_set(message, "'%s' can be read as %u different seats", path, found);
		return -USH_EINVAL;
	}
	*place = at;
	return 0;
}
