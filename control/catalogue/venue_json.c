/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Usher's own venue format (docs/venue.md).
 *
 * The happy path: name, currency, limits, tiers, then each section with its rows; each row's seats
 * first, then the marks on them. On the first fault reading stops: its path is where the reader
 * stands, and the message is made from it.
 */
#include <stdio.h>
#include <string.h>

#include "catalogue/venue_read.h"

/* No tier yet. Tiers are numbered below this. */
#define TIER_NONE 255u
static_assert(TIER_NONE >= USH_EVENT_TIERS_MAX, "no tier has the number of none");

#define FORMAT_VERSION 1u

static const struct venue_key root_keys[] = {{"version", false}, {"name", true}, {"currency", true},
	{"limits", false}, {"best", false}, {"tiers", true}, {"sections", true}, {NULL, false}};
static const struct venue_key limit_keys[] = {{"hold_s", false}, {"hold_max_s", false},
	{"seats_per_user", false}, {"hold_budget_s", false}, {"cool_down_s", false}, {NULL, false}};
static const struct venue_key best_keys[] = {{"objective", false}, {"split", false},
	{"orphans", false}, {"exempt_percent", false}, {NULL, false}};
static const struct venue_key tier_keys[] = {{"name", true}, {"price_minor", true}, {NULL, false}};
static const struct venue_key section_keys[] = {
	{"name", true}, {"kind", false}, {"tier", false}, {"rows", true}, {NULL, false}};
static const struct venue_key area_keys[] = {{"name", true}, {"kind", true}, {"tier", true},
	{"capacity", true}, {"accessible", false}, {"blocked", false}, {NULL, false}};
static const struct venue_key row_keys[] = {{"label", true}, {"seats", true}, {"tier", false},
	{"tiers", false}, {"accessible", false}, {"companion", false}, {"blocked", false},
	{NULL, false}};
static const struct venue_key row_tier_keys[] = {{"tier", true}, {"seats", true}, {NULL, false}};

static int read_limits(struct venue_reader *reader, const json_t *limits)
{
	const struct venue_range seconds = {1, USH_HOLD_MS_MAX / 1000};
	struct venue_model *model = reader->model;
	uint32_t hold_s = USH_HOLD_MS_DEFAULT / 1000, hold_max_s, cool_down_s = 0;
	int ret;

	if (limits == NULL)
		return 0;
	venue_read_into(reader, "limits");
	if ((ret = venue_read_object(reader, limits, limit_keys)) != 0 ||
		(ret = venue_read_integer_at(reader, limits, "hold_s", seconds, &hold_s)) != 0)
		return ret;
	hold_max_s = hold_s;
	if ((ret = venue_read_integer_at(reader, limits, "hold_max_s", seconds, &hold_max_s)) !=
			0 ||
		(ret = venue_read_integer_at(reader, limits, "seats_per_user",
			 (struct venue_range){1, USH_VENUE_USER_SEATS_MAX},
			 &model->user_seats_max)) != 0 ||
		(ret = venue_read_integer_at(reader, limits, "hold_budget_s",
			 (struct venue_range){0, INT32_MAX}, &model->hold_budget_s)) != 0 ||
		(ret = venue_read_integer_at(reader, limits, "cool_down_s",
			 (struct venue_range){0, USH_COOL_DOWN_MS_MAX / 1000}, &cool_down_s)) != 0)
		return ret;
	if (hold_max_s < hold_s) {
		venue_read_into(reader, "hold_max_s");
		return venue_read_fail(
			reader, "hold_max_s %u is below hold_s %u", hold_max_s, hold_s);
	}
	model->hold_ms = hold_s * 1000;
	model->hold_ms_max = hold_max_s * 1000;
	if (model->hold_budget_s != 0 && model->hold_budget_s < hold_s) {
		venue_read_into(reader, "hold_budget_s");
		return venue_read_fail(reader,
			"hold_budget_s %u is below hold_s %u: not one seat could be held",
			model->hold_budget_s, hold_s);
	}
	model->cool_down_ms = cool_down_s * 1000;
	venue_read_out(reader);
	return 0;
}

/* A word of a list that ends with NULL: its place. */
static int read_word(struct venue_reader *reader, const json_t *object, const char *key,
	const char *const *words, uint32_t *number)
{
	const char *word = NULL;
	char allowed[128] = "";
	size_t used = 0;
	int ret = venue_read_text_at(reader, object, key, USH_VENUE_NAME_BYTES_MAX, &word);

	if (ret != 0 || word == NULL)
		return ret;
	for (uint32_t i = 0; words[i] != NULL; i++) {
		if (strcmp(words[i], word) == 0) {
			*number = i;
			return 0;
		}
		used += (size_t)snprintf(allowed + used, sizeof(allowed) - used, "%s%s",
			used > 0 ? ", " : "", words[i]);
	}
	venue_read_into(reader, key);
	return venue_read_fail(reader, "unknown %s '%.63s'; allowed: %s", key, word, allowed);
}

static int read_best(struct venue_reader *reader, const json_t *best)
{
	static const char *const objectives[] = {"quality", "price", "back", "spread", NULL};
	static const char *const splits[] = {"refuse", "two_rows", "same_section", NULL};
	static const char *const orphans[] = {"avoid", "refuse", "allow", NULL};
	struct venue_model *model = reader->model;
	uint32_t percent = UINT32_MAX;
	int ret;

	if (best == NULL)
		return 0;
	venue_read_into(reader, "best");
	if ((ret = venue_read_object(reader, best, best_keys)) != 0 ||
		(ret = read_word(reader, best, "objective", objectives, &model->best_objective)) !=
			0 ||
		(ret = read_word(reader, best, "split", splits, &model->best_split)) != 0 ||
		(ret = read_word(reader, best, "orphans", orphans, &model->best_orphans)) != 0 ||
		(ret = venue_read_integer_at(reader, best, "exempt_percent",
			 (struct venue_range){0, 100}, &percent)) != 0)
		return ret;
	model->best_exempt = percent == UINT32_MAX ? 0 : percent + 1;
	venue_read_out(reader);
	return 0;
}

/* Fails when `found` says that a name stands there for the second time. */
static int refuse_twice(
	struct venue_reader *reader, const char *word, const char *name, uint32_t found)
{
	if (found == VENUE_NAMES_NONE)
		return 0;
	return venue_read_fail(
		reader, "%s '%s' appears twice; the first is number %u", word, name, found + 1);
}

static int read_tier(struct venue_reader *reader, const json_t *object)
{
	struct venue_tier *tier = venue_model_add_tier(reader->model);
	uint32_t found;
	int ret;

	if (tier == NULL)
		return venue_read_no_memory(reader);
	if ((ret = venue_read_object(reader, object, tier_keys)) != 0 ||
		(ret = venue_read_text_at(
			 reader, object, "name", USH_VENUE_NAME_BYTES_MAX, &tier->name)) != 0 ||
		(ret = venue_read_integer_at(reader, object, "price_minor",
			 (struct venue_range){0, USH_VENUE_PRICE_MAX}, &tier->price)) != 0)
		return ret;
	if (venue_names_add(&reader->tiers, tier->name, reader->model->tier_count - 1, &found) != 0)
		return venue_read_no_memory(reader);
	return refuse_twice(reader, "tier", tier->name, found);
}

/* Calls `read` for each element of the array at `key`, at least one. */
static int read_each(struct venue_reader *reader, const json_t *object, const char *key,
	uint32_t count_max, int (*read)(struct venue_reader *reader, const json_t *element))
{
	const json_t *array = json_object_get(object, key);
	size_t count = json_array_size(array);
	int ret;

	venue_read_into(reader, key);
	ret = venue_read_array(reader, array, (struct venue_range){1, count_max});
	for (size_t i = 0; ret == 0 && i < count; i++) {
		venue_read_into_index(reader, i);
		ret = read(reader, json_array_get(array, i));
		if (ret == 0)
			venue_read_out(reader);
	}
	if (ret == 0)
		venue_read_out(reader);
	return ret;
}

/* Reads the tier named at `key`; unchanged when the key is missing. */
static int read_tier_name(struct venue_reader *reader, const json_t *object, uint8_t *tier)
{
	const char *name = NULL;
	uint32_t found;
	int ret = venue_read_text_at(reader, object, "tier", USH_VENUE_NAME_BYTES_MAX, &name);

	if (ret != 0 || name == NULL)
		return ret;
	found = venue_names_get(&reader->tiers, name);
	if (found == VENUE_NAMES_NONE) {
		venue_read_into(reader, "tier");
		return venue_read_fail(
			reader, "unknown tier '%s'; it must be listed in 'tiers'", name);
	}
	*tier = (uint8_t)found;
	return 0;
}

static struct venue_row *current_row(struct venue_reader *reader)
{
	return &reader->model->rows[reader->model->row_count - 1];
}

/* One element of a row's "tiers". */
static int read_row_tier(struct venue_reader *reader, const json_t *object)
{
	struct venue_mark mark = {.word = "given a tier", .flag = VENUE_SEAT_TIER_SET};
	int ret;

	if ((ret = venue_read_object(reader, object, row_tier_keys)) != 0 ||
		(ret = read_tier_name(reader, object, &mark.tier)) != 0)
		return ret;
	venue_read_into(reader, "seats");
	ret = venue_seats_mark(
		reader, json_object_get(object, "seats"), current_row(reader), &mark);
	if (ret == 0)
		venue_read_out(reader);
	return ret;
}

static int read_marks(struct venue_reader *reader, const json_t *object)
{
	static const struct {
		const char *key;
		struct venue_mark mark;
	} marks[] = {
		{"accessible", {"accessible", VENUE_SEAT_ACCESSIBLE, VENUE_SEAT_COMPANION, 0}},
		{"companion", {"companion", VENUE_SEAT_COMPANION, VENUE_SEAT_ACCESSIBLE, 0}},
		{"blocked", {"blocked", VENUE_SEAT_BLOCKED, 0, 0}},
	};
	int ret = 0;

	for (size_t i = 0; ret == 0 && i < sizeof(marks) / sizeof(marks[0]); i++) {
		const json_t *selector = json_object_get(object, marks[i].key);

		if (selector == NULL)
			continue;
		venue_read_into(reader, marks[i].key);
		ret = venue_seats_mark(reader, selector, current_row(reader), &marks[i].mark);
		if (ret == 0)
			venue_read_out(reader);
	}
	return ret;
}

/* Gives the row's tier to all seats that have none of their own. */
static int fill_tiers(struct venue_reader *reader, const struct venue_row *row, uint8_t tier)
{
	for (uint32_t i = 0; i < row->seat_count; i++) {
		struct venue_seat *seat = &reader->model->seats[row->seat_first + i];

		if (seat->label == NULL || (seat->flags & VENUE_SEAT_TIER_SET) != 0)
			continue;
		if (tier == TIER_NONE)
			return venue_read_fail(reader,
				"seat '%s' has no price tier; give 'tier' in the row or its section, "
				"or name the seat in the row's 'tiers'",
				seat->label);
		seat->tier = tier;
	}
	return 0;
}

static int read_row(struct venue_reader *reader, const json_t *object)
{
	struct venue_section *section = &reader->model->sections[reader->model->section_count - 1];
	struct venue_row *row = venue_model_add_row(reader->model);
	uint8_t tier = section->tier;
	uint32_t found;
	int ret;

	if (row == NULL)
		return venue_read_no_memory(reader);
	if ((ret = venue_read_object(reader, object, row_keys)) != 0 ||
		(ret = venue_read_text_at(
			 reader, object, "label", USH_VENUE_NAME_BYTES_MAX, &row->label)) != 0)
		return ret;
	if (venue_names_add(&reader->rows, row->label, section->row_count, &found) != 0)
		return venue_read_no_memory(reader);
	if ((ret = refuse_twice(reader, "row", row->label, found)) != 0)
		return ret;
	section->row_count++;
	reader->where.row = row->label;
	venue_read_into(reader, "seats");
	if ((ret = venue_seats_read(reader, json_object_get(object, "seats"), row)) != 0)
		return ret;
	venue_read_out(reader);
	if ((ret = read_tier_name(reader, object, &tier)) != 0)
		return ret;
	if (json_object_get(object, "tiers") != NULL &&
		(ret = read_each(
			 reader, object, "tiers", USH_VENUE_ROW_POSITIONS_MAX, read_row_tier)) != 0)
		return ret;
	if ((ret = fill_tiers(reader, row, tier)) != 0 || (ret = read_marks(reader, object)) != 0)
		return ret;
	ret = venue_read_count_blocks(reader,
		venue_model_cut(&reader->model->seats[row->seat_first], row->seat_count, NULL));
	reader->where.row = NULL;
	return ret;
}

static int read_area(
	struct venue_reader *reader, const json_t *object, struct venue_section *section)
{
	const struct venue_range places = {1, USH_EVENT_ROWS_MAX * USH_ROW_SEATS_MAX};
	struct venue_range marked = {0, 0};
	int ret;

	if ((ret = venue_read_object(reader, object, area_keys)) != 0 ||
		(ret = read_tier_name(reader, object, &section->tier)) != 0 ||
		(ret = venue_read_integer_at(
			 reader, object, "capacity", places, &section->capacity)) != 0)
		return ret;
	marked.max = section->capacity;
	if ((ret = venue_read_integer_at(
		     reader, object, "accessible", marked, &section->accessible)) != 0)
		return ret;
	marked.max -= section->accessible;
	if ((ret = venue_read_integer_at(reader, object, "blocked", marked, &section->blocked)) !=
		0)
		return ret;
	return venue_read_count_blocks(
		reader, (section->capacity + USH_ROW_SEATS_MAX - 1) / USH_ROW_SEATS_MAX);
}

static int read_kind(struct venue_reader *reader, const json_t *object, enum venue_kind *kind)
{
	static const char *const names[] = {"seats", "tables", "area"};
	const char *text = names[VENUE_KIND_SEATS];
	int ret = venue_read_text_at(reader, object, "kind", USH_VENUE_NAME_BYTES_MAX, &text);

	if (ret != 0)
		return ret;
	for (uint32_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strcmp(text, names[i]) == 0) {
			*kind = (enum venue_kind)i;
			return 0;
		}
	}
	venue_read_into(reader, "kind");
	return venue_read_fail(reader, "unknown kind '%s'; allowed: seats, tables, area", text);
}

static int read_section(struct venue_reader *reader, const json_t *object)
{
	struct venue_section *section = venue_model_add_section(reader->model);
	uint32_t found;
	int ret;

	if (section == NULL)
		return venue_read_no_memory(reader);
	section->tier = TIER_NONE;
	if (!json_is_object(object))
		return venue_read_object(reader, object, section_keys);
	if (json_object_get(object, "name") == NULL)
		return venue_read_fail(reader, "key 'name' is missing");
	if ((ret = venue_read_text_at(
		     reader, object, "name", USH_VENUE_NAME_BYTES_MAX, &section->name)) != 0)
		return ret;
	if (venue_names_add(&reader->sections, section->name, reader->model->section_count - 1,
		    &found) != 0)
		return venue_read_no_memory(reader);
	if ((ret = refuse_twice(reader, "section", section->name, found)) != 0)
		return ret;
	reader->where.section = section->name;
	if ((ret = read_kind(reader, object, &section->kind)) != 0)
		return ret;
	if (section->kind == VENUE_KIND_AREA) {
		ret = read_area(reader, object, section);
	} else {
		venue_names_clear(&reader->rows);
		if ((ret = venue_read_object(reader, object, section_keys)) != 0 ||
			(ret = read_tier_name(reader, object, &section->tier)) != 0)
			return ret;
		ret = read_each(reader, object, "rows", USH_EVENT_ROWS_MAX, read_row);
	}
	reader->where.section = NULL;
	return ret;
}

static int check_version(struct venue_reader *reader, const json_t *root)
{
	uint32_t version = FORMAT_VERSION;

	return venue_read_integer_at(reader, root, "version",
		(struct venue_range){FORMAT_VERSION, FORMAT_VERSION}, &version);
}

int venue_json_read(struct venue_reader *reader, const json_t *root)
{
	const char *currency = NULL;
	int ret;

	reader->where.section_word = "section";
	if ((ret = venue_read_object(reader, root, root_keys)) != 0 ||
		(ret = check_version(reader, root)) != 0 ||
		(ret = venue_read_text_at(reader, root, "name", USH_VENUE_NAME_BYTES_MAX,
			 &reader->model->name)) != 0 ||
		(ret = venue_read_text_at(
			 reader, root, "currency", USH_VENUE_NAME_BYTES_MAX, &currency)) != 0)
		return ret;
	venue_read_into(reader, "currency");
	if ((ret = venue_read_currency(reader, currency)) != 0)
		return ret;
	venue_read_out(reader);
	if ((ret = read_limits(reader, json_object_get(root, "limits"))) != 0 ||
		(ret = read_best(reader, json_object_get(root, "best"))) != 0 ||
		(ret = read_each(reader, root, "tiers", USH_EVENT_TIERS_MAX, read_tier)) != 0)
		return ret;
	return read_each(reader, root, "sections", USH_EVENT_SECTIONS_MAX, read_section);
}
