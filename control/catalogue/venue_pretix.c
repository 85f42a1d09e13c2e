/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pretix seating plans, as its editor exports them.
 *
 *	zone -> section		category -> tier, priced by the options
 *	row  -> row		seat -> seat, labelled by seat_number
 *
 * A plan may hold what an image cannot: drawings, colours, positions, identifiers, texts. Each such
 * kind of key is named once in a warning with how often it stood there. pretix asks only for unique
 * seat_guids; where a label would appear twice it is made unique, with a warning.
 *
 * Rows with the same number in a zone are parts of one row (left and right of an aisle) unless a
 * seat number would then appear twice; between parts a gap is left.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "catalogue/venue_read.h"

/* Distinct kinds of key that are told apart in warnings. */
#define LOST_KINDS_MAX 48u
#define GUID_BYTES_MAX 1024u
#define NO_ROW UINT32_MAX

struct lost {
	const char *kind;
	const char *key;
	uint32_t count;
	struct venue_step path[VENUE_PATH_DEPTH_MAX];
	uint32_t depth;
};

struct plan {
	struct venue_reader *reader;
	struct lost lost[LOST_KINDS_MAX];
	uint32_t lost_count;
	uint32_t lost_more;
	struct venue_names guids;
	/* Of the zone being read: the next row with the same number, and whether it was joined. */
	uint32_t *next;
	bool *joined;
	uint32_t zone_index;
};

bool venue_pretix_is(const json_t *root)
{
	return json_is_object(root) && json_object_get(root, "zones") != NULL &&
	       json_object_get(root, "sections") == NULL;
}

/* Counts a key that is not carried; the reader stands at the object that has it. */
static void lose(struct plan *plan, const char *kind, const char *key)
{
	struct venue_reader *reader = plan->reader;
	struct lost *lost;

	for (uint32_t i = 0; i < plan->lost_count; i++) {
		lost = &plan->lost[i];
		if (strcmp(lost->kind, kind) == 0 && strcmp(lost->key, key) == 0) {
			lost->count++;
			return;
		}
	}
	if (plan->lost_count == LOST_KINDS_MAX) {
		plan->lost_more++;
		return;
	}
	lost = &plan->lost[plan->lost_count++];
	lost->kind = kind;
	lost->key = key;
	lost->count = 1;
	memcpy(lost->path, reader->path, sizeof(lost->path));
	lost->depth = reader->depth;
}

static void tell_lost(struct plan *plan)
{
	struct venue_reader *reader = plan->reader;

	memset(&reader->where, 0, sizeof(reader->where));
	reader->at_key = true;
	for (uint32_t i = 0; i < plan->lost_count; i++) {
		const struct lost *lost = &plan->lost[i];

		memcpy(reader->path, lost->path, sizeof(reader->path));
		reader->depth = lost->depth;
		venue_read_into(reader, lost->key);
		venue_read_warn(reader, "%s '%.40s' is not carried (%u time%s, first here)%s",
			lost->kind, lost->key, lost->count, lost->count == 1 ? "" : "s",
			strcmp(lost->key, "areas") == 0
				? ": drawings have no places; a standing area needs a venue "
				  "file with a section of kind area"
				: "");
	}
	reader->at_key = false;
	reader->depth = 0;
	if (plan->lost_more > 0)
		venue_read_warn(reader, "%u further keys are not carried", plan->lost_more);
}

/* Loses every member but the ones that are carried. in: keys: NULL-terminated. */
static int read_members(
	struct plan *plan, const json_t *object, const char *kind, const char *const *keys)
{
	const char *key;
	json_t *member;

	if (!json_is_object(object))
		return venue_read_object(
			plan->reader, object, (const struct venue_key[]){{NULL, false}});
	json_object_foreach((json_t *)(uintptr_t)object, key, member)
	{
		const char *const *known = keys;

		while (*known != NULL && strcmp(*known, key) != 0)
			known++;
		if (*known == NULL && !json_is_null(member))
			lose(plan, kind, key);
	}
	return 0;
}

static int required(struct plan *plan, const json_t *object, const char *key)
{
	if (json_object_get(object, key) != NULL)
		return 0;
	return venue_read_fail(plan->reader, "key '%s' is missing", key);
}

static bool price_find(
	const struct ush_venue_options *options, const char *category, uint32_t *price)
{
	for (size_t i = 0; i < options->price_count; i++) {
		if (strcmp(options->prices[i].category, category) == 0) {
			*price = options->prices[i].price;
			return true;
		}
	}
	*price = options->price_default;
	return options->price_default_set;
}

static int read_category(struct plan *plan, const json_t *object)
{
	static const char *const keys[] = {"name", NULL};
	struct venue_reader *reader = plan->reader;
	struct venue_tier *tier;
	const char *name = NULL;
	uint32_t price = 0, found;
	int ret;

	if ((ret = read_members(plan, object, "category key", keys)) != 0 ||
		(ret = required(plan, object, "name")) != 0 ||
		(ret = venue_read_text_at(
			 reader, object, "name", USH_VENUE_NAME_BYTES_MAX, &name)) != 0)
		return ret;
	if (venue_names_add(&reader->tiers, name, reader->model->tier_count, &found) != 0)
		return venue_read_no_memory(reader);
	if (found != VENUE_NAMES_NONE) {
		venue_read_warn(
			reader, "category '%s' is listed twice; the second is left out", name);
		return 0;
	}
	if (!price_find(reader->options, name, &price))
		return venue_read_fail(reader,
			"category '%s' has no price; give --price '%s'=MINOR or --price-default MINOR",
			name, name);
	if (price > USH_VENUE_PRICE_MAX)
		return venue_read_fail(reader, "price %u of category '%s' is above %u", price, name,
			USH_VENUE_PRICE_MAX);
	tier = venue_model_add_tier(reader->model);
	if (tier == NULL)
		return venue_read_no_memory(reader);
	tier->name = name;
	tier->price = price;
	return 0;
}

/* Makes `label` differ from all in `names` by " (n)", n from 2 or higher. ret: the label, or NULL
 * with *ret set. */
static const char *make_unique(struct plan *plan, struct venue_names *names, const char *label,
	size_t bytes_max, uint32_t n, int *ret)
{
	struct venue_reader *reader = plan->reader;

	for (;; n++) {
		char text[USH_VENUE_NAME_BYTES_MAX + 16];
		const char *kept;
		uint32_t found;

		snprintf(text, sizeof(text), "%s (%u)", label, n);
		if (strlen(text) > bytes_max) {
			*ret = venue_read_fail(reader,
				"label '%s' appears twice and is too long for a number", label);
			return NULL;
		}
		if (venue_names_get(names, text) != VENUE_NAMES_NONE)
			continue;
		kept = venue_model_keep(reader->model, text);
		if (kept == NULL || venue_names_add(names, kept, NO_ROW - 1, &found) != 0) {
			*ret = venue_read_no_memory(reader);
			return NULL;
		}
		return kept;
	}
}

static int read_guid(struct plan *plan, const json_t *object)
{
	struct venue_reader *reader = plan->reader;
	const json_t *guid = json_object_get(object, "seat_guid");
	uint32_t found;

	venue_read_into(reader, "seat_guid");
	if (!json_is_string(guid) || json_string_length(guid) == 0 ||
		json_string_length(guid) > GUID_BYTES_MAX)
		return venue_read_fail(reader, "must be a string of 1 to %u bytes", GUID_BYTES_MAX);
	if (venue_names_add(&plan->guids, json_string_value(guid), 0, &found) != 0)
		return venue_read_no_memory(reader);
	if (found != VENUE_NAMES_NONE)
		return venue_read_fail(reader,
			"seat_guid '%.63s' appears twice; each seat of a plan needs its own",
			json_string_value(guid));
	venue_read_out(reader);
	lose(plan, "seat key", "seat_guid");
	return 0;
}

/* The label of a seat: its number, made unique in its row. */
static int read_seat_label(
	struct plan *plan, const json_t *object, uint32_t position, const char **label)
{
	struct venue_reader *reader = plan->reader;
	const char *number = json_string_value(json_object_get(object, "seat_number"));
	uint32_t found;
	int ret = 0;

	if (number != NULL && number[0] == '\0') {
		const char *guid = json_string_value(json_object_get(object, "seat_guid"));

		if (venue_text_fault(guid, USH_VENUE_SEAT_BYTES_MAX) != NULL)
			return venue_read_fail(
				reader, "seat_number is empty, and seat_guid is no label");
		venue_read_warn(reader,
			"seat_number is empty; the seat is labelled '%s' by its guid", guid);
		number = guid;
	} else {
		ret = venue_read_text_at(
			reader, object, "seat_number", USH_VENUE_SEAT_BYTES_MAX, &number);
	}
	if (ret != 0)
		return ret;
	if (venue_names_add(&reader->seats, number, position, &found) != 0)
		return venue_read_no_memory(reader);
	*label = number;
	if (found == VENUE_NAMES_NONE)
		return 0;
	*label = make_unique(plan, &reader->seats, number, USH_VENUE_SEAT_BYTES_MAX, 2, &ret);
	if (ret == 0)
		venue_read_warn(reader, "seat '%s' appears twice in its row; this one becomes '%s'",
			number, *label);
	return ret;
}

static int read_seat(struct plan *plan, const json_t *object, struct venue_row *row)
{
	static const char *const keys[] = {"seat_guid", "seat_number", "category", NULL};
	struct venue_reader *reader = plan->reader;
	struct venue_seat *seat;
	const char *category = NULL, *label = NULL;
	uint32_t tier;
	int ret;

	if ((ret = read_members(plan, object, "seat key", keys)) != 0 ||
		(ret = required(plan, object, "seat_guid")) != 0 ||
		(ret = required(plan, object, "seat_number")) != 0 ||
		(ret = required(plan, object, "category")) != 0 ||
		(ret = read_guid(plan, object)) != 0 ||
		(ret = read_seat_label(plan, object, row->seat_count, &label)) != 0 ||
		(ret = venue_read_text_at(
			 reader, object, "category", USH_VENUE_NAME_BYTES_MAX, &category)) != 0)
		return ret;
	reader->where.seat = label;
	tier = venue_names_get(&reader->tiers, category);
	if (tier == VENUE_NAMES_NONE) {
		venue_read_into(reader, "category");
		return venue_read_fail(reader,
			"unknown category '%s'; it must be listed in 'categories'", category);
	}
	if (row->seat_count == USH_VENUE_ROW_POSITIONS_MAX)
		return venue_read_fail(
			reader, "the row has more than %u positions", USH_VENUE_ROW_POSITIONS_MAX);
	seat = venue_model_add_seat(reader->model);
	if (seat == NULL)
		return venue_read_no_memory(reader);
	seat->label = label;
	seat->tier = (uint8_t)tier;
	row->seat_count++;
	reader->where.seat = NULL;
	return 0;
}

/* Appends the seats of the plan's row `index` to `row`. The reader stands at the array "rows". */
static int read_row_seats(
	struct plan *plan, const json_t *rows, uint32_t index, struct venue_row *row)
{
	static const char *const keys[] = {"row_number", "seats", NULL};
	struct venue_reader *reader = plan->reader;
	const json_t *object = json_array_get(rows, index);
	const json_t *seats = json_object_get(object, "seats");
	int ret;

	venue_read_into_index(reader, index);
	if ((ret = read_members(plan, object, "row key", keys)) != 0)
		return ret;
	if (row->seat_count > 0 && json_array_size(seats) > 0) {
		if (row->seat_count == USH_VENUE_ROW_POSITIONS_MAX)
			return venue_read_fail(reader, "the joined row has more than %u positions",
				USH_VENUE_ROW_POSITIONS_MAX);
		if (venue_model_add_seat(reader->model) == NULL)
			return venue_read_no_memory(reader);
		row->seat_count++;
	}
	venue_read_into(reader, "seats");
	for (size_t i = 0; i < json_array_size(seats); i++) {
		venue_read_into_index(reader, i);
		if ((ret = read_seat(plan, json_array_get(seats, i), row)) != 0)
			return ret;
		venue_read_out(reader);
	}
	venue_read_out(reader);
	venue_read_out(reader);
	return 0;
}

/* Whether the rows linked from `first` have no seat number in common. ret: 0 or an error. */
static int can_join(struct plan *plan, const json_t *rows, uint32_t first, bool *join)
{
	struct venue_names *numbers = &plan->reader->seats;

	venue_names_clear(numbers);
	*join = true;
	for (uint32_t r = first; r != NO_ROW; r = plan->next[r]) {
		const json_t *seats = json_object_get(json_array_get(rows, r), "seats");

		for (size_t i = 0; i < json_array_size(seats); i++) {
			const char *number = json_string_value(
				json_object_get(json_array_get(seats, i), "seat_number"));
			uint32_t found;

			if (number == NULL)
				continue;
			if (venue_names_add(numbers, number, r, &found) != 0)
				return venue_read_no_memory(plan->reader);
			/* Twice in the same part is no matter of joining. */
			if (found != VENUE_NAMES_NONE && found != r)
				*join = false;
		}
	}
	return 0;
}

/* Reads the plan's row `first` and, when `join`, all rows linked from it, as one row. */
static int read_row(
	struct plan *plan, const json_t *rows, uint32_t first, const char *label, bool join)
{
	struct venue_reader *reader = plan->reader;
	struct venue_model *model = reader->model;
	struct venue_section *section = &model->sections[model->section_count - 1];
	struct venue_row *row;
	uint32_t seats = 0;
	int ret;

	for (uint32_t r = first; r != NO_ROW; r = join ? plan->next[r] : NO_ROW)
		seats += json_array_size(json_object_get(json_array_get(rows, r), "seats")) > 0;
	if (seats == 0) {
		venue_read_into_index(reader, first);
		venue_read_warn(reader, "row '%.63s' has no seats and is left out", label);
		venue_read_out(reader);
		return 0;
	}
	row = venue_model_add_row(model);
	if (row == NULL)
		return venue_read_no_memory(reader);
	row->label = label;
	section->row_count++;
	reader->where.row = label;
	venue_names_clear(&reader->seats);
	for (uint32_t r = first; r != NO_ROW; r = join ? plan->next[r] : NO_ROW) {
		if ((ret = read_row_seats(plan, rows, r, row)) != 0)
			return ret;
	}
	ret = venue_read_count_blocks(
		reader, venue_model_cut(&model->seats[row->seat_first], row->seat_count, NULL));
	reader->where.row = NULL;
	return ret;
}

/* All rows with the number of row `first`: joined, or each for itself with labels made unique. */
static int read_rows_of_number(
	struct plan *plan, const json_t *rows, uint32_t first, const char *number)
{
	struct venue_reader *reader = plan->reader;
	uint32_t n = 2;
	bool join = true;
	int ret = 0;

	if (plan->next[first] == NO_ROW)
		return read_row(plan, rows, first, number, false);
	if ((ret = can_join(plan, rows, first, &join)) != 0)
		return ret;
	venue_read_into_index(reader, plan->next[first]);
	venue_read_warn(reader,
		join ? "row_number '%s' appears again; the rows are joined into one, with a gap"
		     : "row_number '%s' appears again with the same seat numbers; labels get a number",
		number);
	venue_read_out(reader);
	if (join)
		return read_row(plan, rows, first, number, true);
	ret = read_row(plan, rows, first, number, false);
	for (uint32_t r = plan->next[first]; ret == 0 && r != NO_ROW; r = plan->next[r]) {
		const char *label;

		venue_read_into_index(reader, r);
		label = make_unique(
			plan, &reader->rows, number, USH_VENUE_NAME_BYTES_MAX, n++, &ret);
		if (ret != 0)
			return ret;
		venue_read_out(reader);
		ret = read_row(plan, rows, r, label, false);
	}
	return ret;
}

static int read_row_number(
	struct plan *plan, const json_t *object, uint32_t index, const char **number)
{
	struct venue_reader *reader = plan->reader;
	const char *text = json_string_value(json_object_get(object, "row_number"));
	int ret;

	if (!json_is_object(object))
		return venue_read_fail(reader, "a row must be an object");
	if ((ret = required(plan, object, "row_number")) != 0 ||
		(ret = required(plan, object, "seats")) != 0)
		return ret;
	venue_read_into(reader, "seats");
	if ((ret = venue_read_array(reader, json_object_get(object, "seats"),
		     (struct venue_range){0, USH_VENUE_ROW_POSITIONS_MAX})) != 0)
		return ret;
	venue_read_out(reader);
	if (text != NULL && text[0] == '\0') {
		char made[32];

		snprintf(made, sizeof(made), "row %u", index + 1);
		*number = venue_model_keep(reader->model, made);
		if (*number == NULL)
			return venue_read_no_memory(reader);
		venue_read_warn(reader, "row_number is empty; the row is labelled '%s'", *number);
		return 0;
	}
	return venue_read_text_at(reader, object, "row_number", USH_VENUE_NAME_BYTES_MAX, number);
}

/* Links rows of the same number in the file's order. out: plan->next, numbers. in: last: room for
 * a word a row: of a number's first row, its last one so far. */
static int link_rows(struct plan *plan, const json_t *rows, const char **numbers, uint32_t *last)
{
	struct venue_reader *reader = plan->reader;
	uint32_t count = (uint32_t)json_array_size(rows);
	int ret;

	venue_names_clear(&reader->rows);
	for (uint32_t i = 0; i < count; i++) {
		uint32_t first;

		venue_read_into_index(reader, i);
		ret = read_row_number(plan, json_array_get(rows, i), i, &numbers[i]);
		if (ret != 0)
			return ret;
		venue_read_out(reader);
		plan->next[i] = NO_ROW;
		plan->joined[i] = false;
		last[i] = i;
		if (venue_names_add(&reader->rows, numbers[i], i, &first) != 0)
			return venue_read_no_memory(reader);
		if (first == VENUE_NAMES_NONE)
			continue;
		plan->next[last[first]] = i;
		last[first] = i;
		plan->joined[i] = true;
	}
	return 0;
}

static int read_rows(struct plan *plan, const json_t *rows)
{
	uint32_t count = (uint32_t)json_array_size(rows);
	const char **numbers = calloc(count + 1u, sizeof(*numbers));
	uint32_t *last = calloc(count + 1u, sizeof(*last));
	int ret;

	free(plan->next);
	free(plan->joined);
	plan->next = calloc(count + 1u, sizeof(*plan->next));
	plan->joined = calloc(count + 1u, sizeof(*plan->joined));
	if (numbers == NULL || last == NULL || plan->next == NULL || plan->joined == NULL)
		ret = venue_read_no_memory(plan->reader);
	else
		ret = link_rows(plan, rows, numbers, last);
	for (uint32_t i = 0; ret == 0 && i < count; i++) {
		if (!plan->joined[i])
			ret = read_rows_of_number(plan, rows, i, numbers[i]);
	}
	free(last);
	free(numbers);
	return ret;
}

static int read_zone_name(
	struct plan *plan, const json_t *object, uint32_t index, const char **name)
{
	struct venue_reader *reader = plan->reader;
	const char *text = json_string_value(json_object_get(object, "name"));
	uint32_t found;
	int ret = 0;

	if (json_object_get(object, "name") == NULL || (text != NULL && text[0] == '\0')) {
		char made[32];

		snprintf(made, sizeof(made), "Zone %u", index + 1);
		*name = venue_model_keep(reader->model, made);
		if (*name == NULL)
			return venue_read_no_memory(reader);
		venue_read_warn(reader, "the zone has no name; it becomes '%s'", *name);
	} else {
		ret = venue_read_text_at(reader, object, "name", USH_VENUE_NAME_BYTES_MAX, name);
		if (ret != 0)
			return ret;
	}
	if (venue_names_add(&reader->sections, *name, index, &found) != 0)
		return venue_read_no_memory(reader);
	if (found == VENUE_NAMES_NONE)
		return 0;
	text = *name;
	*name = make_unique(plan, &reader->sections, text, USH_VENUE_NAME_BYTES_MAX, 2, &ret);
	if (ret == 0)
		venue_read_warn(
			reader, "zone '%s' appears twice; this one becomes '%s'", text, *name);
	return ret;
}

static int read_zone(struct plan *plan, const json_t *object)
{
	static const char *const keys[] = {"name", "rows", NULL};
	struct venue_reader *reader = plan->reader;
	struct venue_section *section;
	const json_t *rows = json_object_get(object, "rows");
	const char *name = NULL;
	uint32_t index = plan->zone_index++;
	int ret;

	if ((ret = read_members(plan, object, "zone key", keys)) != 0 ||
		(ret = required(plan, object, "rows")) != 0 ||
		(ret = read_zone_name(plan, object, index, &name)) != 0)
		return ret;
	reader->where.section = name;
	venue_read_into(reader, "rows");
	if ((ret = venue_read_array(reader, rows, (struct venue_range){0, USH_EVENT_ROWS_MAX})) !=
		0)
		return ret;
	section = venue_model_add_section(reader->model);
	if (section == NULL)
		return venue_read_no_memory(reader);
	section->name = name;
	if ((ret = read_rows(plan, rows)) != 0)
		return ret;
	venue_read_out(reader);
	if (section->row_count == 0) {
		venue_read_warn(reader, "the zone has no seats and is left out");
		reader->model->section_count--;
	}
	reader->where.section = NULL;
	return 0;
}

static int read_each(struct plan *plan, const json_t *root, const char *key, uint32_t count_max,
	int (*read)(struct plan *plan, const json_t *element))
{
	const json_t *array = json_object_get(root, key);
	size_t count = json_array_size(array);
	int ret;

	venue_read_into(plan->reader, key);
	ret = venue_read_array(plan->reader, array, (struct venue_range){1, count_max});
	for (size_t i = 0; ret == 0 && i < count; i++) {
		venue_read_into_index(plan->reader, i);
		ret = read(plan, json_array_get(array, i));
		if (ret == 0)
			venue_read_out(plan->reader);
	}
	if (ret == 0)
		venue_read_out(plan->reader);
	return ret;
}

/* Every --price must name a category, or it is a slip of the pen. */
static int check_prices(struct plan *plan)
{
	const struct ush_venue_options *options = plan->reader->options;

	for (size_t i = 0; i < options->price_count; i++) {
		if (venue_names_get(&plan->reader->tiers, options->prices[i].category) ==
			VENUE_NAMES_NONE)
			return venue_read_fail(plan->reader,
				"a price is given for category '%.63s', which the plan does not have",
				options->prices[i].category);
	}
	return 0;
}

static int read_plan(struct plan *plan, const json_t *root)
{
	static const char *const keys[] = {"name", "zones", "categories", NULL};
	struct venue_reader *reader = plan->reader;
	int ret;

	if ((ret = read_members(plan, root, "plan key", keys)) != 0 ||
		(ret = required(plan, root, "name")) != 0 ||
		(ret = required(plan, root, "categories")) != 0 ||
		(ret = venue_read_text_at(reader, root, "name", USH_VENUE_NAME_BYTES_MAX,
			 &reader->model->name)) != 0)
		return ret;
	if (reader->options->currency == NULL)
		return venue_read_fail(
			reader, "a seating plan has no currency; give --currency CODE");
	if ((ret = venue_read_currency(reader, reader->options->currency)) != 0 ||
		(ret = read_each(plan, root, "categories", USH_EVENT_TIERS_MAX, read_category)) !=
			0 ||
		(ret = check_prices(plan)) != 0 ||
		(ret = read_each(plan, root, "zones", USH_EVENT_SECTIONS_MAX, read_zone)) != 0)
		return ret;
	if (reader->model->section_count == 0)
		return venue_read_fail(reader, "the plan has no seats");
	tell_lost(plan);
	return 0;
}

int venue_pretix_read(struct venue_reader *reader, const json_t *root)
{
	struct plan *plan = calloc(1, sizeof(*plan));
	int ret;

	if (plan == NULL)
		return venue_read_no_memory(reader);
	plan->reader = reader;
	reader->where.section_word = "zone";
	ret = read_plan(plan, root);
	venue_names_free(&plan->guids);
	free(plan->next);
	free(plan->joined);
	free(plan);
	return ret;
}
