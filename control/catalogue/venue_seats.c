/* SPDX-License-Identifier: Apache-2.0 */
/* The positions of a row, and the selectors that mark some of its seats. */
#include <stdio.h>
#include <string.h>

#include "catalogue/venue_read.h"

#define SEAT_NUMBER_MAX 1000000u
#define SEAT_DIGITS_MAX 6u
#define AFFIX_BYTES_MAX 12u
#define SKIP_COUNT_MAX 64u
/* A label is prefix, number, suffix. */
static_assert(2 * AFFIX_BYTES_MAX + 7 <= USH_VENUE_SEAT_BYTES_MAX, "a made label fits");

static const struct venue_key range_keys[] = {{"from", true}, {"to", true}, {"step", false},
	{"digits", false}, {"prefix", false}, {"suffix", false}, {"skip", false}, {NULL, false}};
static const struct venue_key gap_keys[] = {{"gap", true}, {NULL, false}};
static const struct venue_key selector_keys[] = {{"from", true}, {"to", true}, {NULL, false}};

/* {"from": 1, "to": 39, "step": 2, ...}: numbers in order, up or down. */
struct seat_range {
	uint32_t from;
	uint32_t to;
	uint32_t step;
	uint32_t digits;
	const char *prefix;
	const char *suffix;
	const json_t *skip;
};

static int add_position(struct venue_reader *reader, struct venue_row *row, const char *label)
{
	struct venue_seat *seat;
	uint32_t found;

	if (row->seat_count == USH_VENUE_ROW_POSITIONS_MAX)
		return venue_read_fail(
			reader, "the row has more than %u positions", USH_VENUE_ROW_POSITIONS_MAX);
	if (label != NULL) {
		if (venue_names_add(&reader->seats, label, row->seat_count, &found) != 0)
			return venue_read_no_memory(reader);
		if (found != VENUE_NAMES_NONE)
			return venue_read_fail(reader,
				"seat '%s' appears twice; labels in a row must differ", label);
	}
	seat = venue_model_add_seat(reader->model);
	if (seat == NULL)
		return venue_read_no_memory(reader);
	seat->label = label;
	row->seat_count++;
	return 0;
}

static bool range_has(const struct seat_range *range, uint32_t number)
{
	uint32_t low = range->from < range->to ? range->from : range->to;
	uint32_t high = range->from < range->to ? range->to : range->from;

	return number >= low && number <= high && (number - low) % range->step == 0;
}

/* Checks `skip`: numbers of the range. */
static int range_read_skip(struct venue_reader *reader, const struct seat_range *range)
{
	size_t count = json_array_size(range->skip);
	uint32_t number = 0;
	int ret;

	venue_read_into(reader, "skip");
	ret = venue_read_array(reader, range->skip, (struct venue_range){1, SKIP_COUNT_MAX});
	if (ret != 0)
		return ret;
	for (size_t i = 0; i < count; i++) {
		venue_read_into_index(reader, i);
		ret = venue_read_integer(reader, json_array_get(range->skip, i),
			(struct venue_range){0, SEAT_NUMBER_MAX}, &number);
		if (ret != 0)
			return ret;
		if (!range_has(range, number))
			return venue_read_fail(reader,
				"skips %u, which is not in the range %u to %u step %u", number,
				range->from, range->to, range->step);
		venue_read_out(reader);
	}
	venue_read_out(reader);
	return 0;
}

/* A prefix or suffix may be empty or end with a blank; the whole label is checked when made. */
static int range_read_affix(
	struct venue_reader *reader, const json_t *object, const char *key, const char **affix)
{
	const json_t *value = json_object_get(object, key);

	*affix = "";
	if (value == NULL)
		return 0;
	if (!json_is_string(value) || json_string_length(value) > AFFIX_BYTES_MAX) {
		venue_read_into(reader, key);
		return venue_read_fail(
			reader, "must be a string of at most %u bytes", AFFIX_BYTES_MAX);
	}
	*affix = json_string_value(value);
	return 0;
}

static int range_read(struct venue_reader *reader, const json_t *object, struct seat_range *range)
{
	const struct venue_range numbers = {0, SEAT_NUMBER_MAX};
	uint32_t distance;
	int ret;

	range->step = 1;
	range->digits = 1;
	if ((ret = venue_read_object(reader, object, range_keys)) != 0 ||
		(ret = venue_read_integer_at(reader, object, "from", numbers, &range->from)) != 0 ||
		(ret = venue_read_integer_at(reader, object, "to", numbers, &range->to)) != 0 ||
		(ret = venue_read_integer_at(reader, object, "step", (struct venue_range){1, 1000},
			 &range->step)) != 0 ||
		(ret = venue_read_integer_at(reader, object, "digits",
			 (struct venue_range){1, SEAT_DIGITS_MAX}, &range->digits)) != 0 ||
		(ret = range_read_affix(reader, object, "prefix", &range->prefix)) != 0 ||
		(ret = range_read_affix(reader, object, "suffix", &range->suffix)) != 0)
		return ret;
	distance = range->from < range->to ? range->to - range->from : range->from - range->to;
	if (distance % range->step != 0)
		return venue_read_fail(reader, "steps of %u from %u never reach %u", range->step,
			range->from, range->to);
	if (distance / range->step >= USH_VENUE_ROW_POSITIONS_MAX)
		return venue_read_fail(reader,
			"the range has %u seats; at most %u are allowed in a row",
			distance / range->step + 1, USH_VENUE_ROW_POSITIONS_MAX);
	range->skip = json_object_get(object, "skip");
	return range->skip == NULL ? 0 : range_read_skip(reader, range);
}

static bool range_skips(const struct seat_range *range, uint32_t number)
{
	size_t count = json_array_size(range->skip);

	for (size_t i = 0; i < count; i++) {
		if (json_integer_value(json_array_get(range->skip, i)) == (json_int_t)number)
			return true;
	}
	return false;
}

static int add_numbered(struct venue_reader *reader, const struct seat_range *range,
	uint32_t number, struct venue_row *row)
{
	char text[64];
	const char *label, *fault;

	snprintf(text, sizeof(text), "%s%0*u%s", range->prefix, (int)range->digits, number,
		range->suffix);
	fault = venue_text_fault(text, USH_VENUE_SEAT_BYTES_MAX);
	if (fault != NULL)
		return venue_read_fail(reader, "the label '%s' made by this range %s", text, fault);
	label = venue_model_keep(reader->model, text);
	return label == NULL ? venue_read_no_memory(reader) : add_position(reader, row, label);
}

static int add_range(struct venue_reader *reader, const json_t *object, struct venue_row *row)
{
	struct seat_range range = {0};
	int64_t number, step;
	int ret = range_read(reader, object, &range);

	if (ret != 0)
		return ret;
	step = range.from <= range.to ? (int64_t)range.step : -(int64_t)range.step;
	for (number = range.from;; number += step) {
		if (!range_skips(&range, (uint32_t)number))
			ret = add_numbered(reader, &range, (uint32_t)number, row);
		if (ret != 0 || number == (int64_t)range.to)
			return ret;
	}
}

static int add_gap(struct venue_reader *reader, const json_t *object, struct venue_row *row)
{
	const struct venue_model *model = reader->model;
	uint32_t count = 0;
	int ret;

	if ((ret = venue_read_object(reader, object, gap_keys)) != 0 ||
		(ret = venue_read_integer_at(reader, object, "gap",
			 (struct venue_range){1, USH_VENUE_GAP_MAX}, &count)) != 0)
		return ret;
	if (row->seat_count == 0)
		return venue_read_fail(
			reader, "a gap must lie between two seats, not before the first");
	if (model->seats[model->seat_count - 1].label == NULL)
		return venue_read_fail(reader, "a gap follows a gap; make it one");
	while (ret == 0 && count-- > 0)
		ret = add_position(reader, row, NULL);
	return ret;
}

static int add_element(struct venue_reader *reader, const json_t *element, struct venue_row *row)
{
	const char *label;
	int ret;

	if (json_is_object(element)) {
		if (json_object_get(element, "gap") != NULL)
			return add_gap(reader, element, row);
		return add_range(reader, element, row);
	}
	if (json_is_integer(element))
		return venue_read_fail(reader,
			"a seat label must be a string: write \"%" JSON_INTEGER_FORMAT
			"\", or a range such as {\"from\": 1, \"to\": 20}",
			json_integer_value(element));
	ret = venue_read_text(reader, element, USH_VENUE_SEAT_BYTES_MAX, &label);
	return ret != 0 ? ret : add_position(reader, row, label);
}

int venue_seats_read(struct venue_reader *reader, const json_t *list, struct venue_row *row)
{
	const struct venue_model *model = reader->model;
	size_t count = json_array_size(list);
	int ret;

	venue_names_clear(&reader->seats);
	if (json_is_object(list)) {
		ret = add_range(reader, list, row);
	} else {
		ret = venue_read_array(
			reader, list, (struct venue_range){1, USH_VENUE_ROW_POSITIONS_MAX});
		for (size_t i = 0; ret == 0 && i < count; i++) {
			venue_read_into_index(reader, i);
			ret = add_element(reader, json_array_get(list, i), row);
			if (ret == 0)
				venue_read_out(reader);
		}
	}
	if (ret != 0)
		return ret;
	if (row->seat_count == 0)
		return venue_read_fail(reader, "the row has no seat");
	if (model->seats[model->seat_count - 1].label == NULL)
		return venue_read_fail(
			reader, "a gap must lie between two seats, not after the last");
	return 0;
}

static int mark_seat(
	struct venue_reader *reader, struct venue_seat *seat, const struct venue_mark *mark)
{
	if (seat->label == NULL)
		return 0;
	if ((seat->flags & mark->flag) != 0)
		return venue_read_fail(reader, "seat '%s' is %s twice", seat->label, mark->word);
	if ((seat->flags & mark->excludes) != 0)
		return venue_read_fail(
			reader, "seat '%s' cannot be both accessible and companion", seat->label);
	seat->flags |= mark->flag;
	if (mark->flag == VENUE_SEAT_TIER_SET)
		seat->tier = mark->tier;
	return 0;
}

/* Finds the position of a label that a selector names. */
static int find_position(struct venue_reader *reader, const json_t *label, uint32_t *position)
{
	const char *text;
	int ret;

	if (json_is_integer(label))
		return venue_read_fail(reader,
			"seats are selected by label, a string: write \"%" JSON_INTEGER_FORMAT "\"",
			json_integer_value(label));
	ret = venue_read_text(reader, label, USH_VENUE_SEAT_BYTES_MAX, &text);
	if (ret != 0)
		return ret;
	*position = venue_names_get(&reader->seats, text);
	if (*position == VENUE_NAMES_NONE)
		return venue_read_fail(reader, "the row has no seat '%s'", text);
	return 0;
}

static int find_position_at(
	struct venue_reader *reader, const json_t *object, const char *key, uint32_t *position)
{
	int ret;

	venue_read_into(reader, key);
	ret = find_position(reader, json_object_get(object, key), position);
	if (ret == 0)
		venue_read_out(reader);
	return ret;
}

static int mark_element(struct venue_reader *reader, const json_t *element,
	const struct venue_row *row, const struct venue_mark *mark)
{
	uint32_t first = 0, last = 0;
	int ret;

	if (json_is_object(element)) {
		if ((ret = venue_read_object(reader, element, selector_keys)) != 0 ||
			(ret = find_position_at(reader, element, "from", &first)) != 0 ||
			(ret = find_position_at(reader, element, "to", &last)) != 0)
			return ret;
		if (first > last)
			return venue_read_fail(reader,
				"'from' comes after 'to' in the row; name them in the row's order");
	} else {
		ret = find_position(reader, element, &first);
		if (ret != 0)
			return ret;
		last = first;
	}
	for (uint32_t i = first; ret == 0 && i <= last; i++)
		ret = mark_seat(reader, &reader->model->seats[row->seat_first + i], mark);
	return ret;
}

int venue_seats_mark(struct venue_reader *reader, const json_t *selector,
	const struct venue_row *row, const struct venue_mark *mark)
{
	size_t count = json_array_size(selector);
	int ret = venue_read_array(
		reader, selector, (struct venue_range){1, USH_VENUE_ROW_POSITIONS_MAX});

	for (size_t i = 0; ret == 0 && i < count; i++) {
		venue_read_into_index(reader, i);
		ret = mark_element(reader, json_array_get(selector, i), row, mark);
		if (ret == 0)
			venue_read_out(reader);
	}
	return ret;
}
