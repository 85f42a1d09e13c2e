/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The API's form of events and venues, and how it becomes the form they are stored in.
 *
 * One table names each member, what it may be, and the column it goes to. A member that is not in
 * the table is a fault: a misspelt one would be lost without a word.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "catalogue/internal.h"

enum kind {
	TEXT,
	SLUG,
	URL,
	CODE,
	TIME,
	NUMBER
};

struct member {
	const char *name;
	const char *column;
	enum kind kind;
	bool must;
	int64_t most; /* bytes, or the number */
};

static const struct member event_members[] = {
	{"external", "external", TEXT, false, 64},
	{"name", "name", TEXT, true, 200},
	{"description", "description", TEXT, false, CAT_TEXT_MAX},
	{"category", "category", SLUG, true, 40},
	{"image", "image", URL, false, 500},
	{"currency", "currency", CODE, false, 3},
	{"starts", "starts_us", TIME, true, 0},
	{"ends", "ends_us", TIME, false, 0},
	{"doors", "doors_us", TIME, false, 0},
	{"sale_from", "sale_from_us", TIME, false, 0},
	{"sale_until", "sale_until_us", TIME, false, 0},
	{"price_min", "price_min", NUMBER, false, USH_TIER_PRICE_MAX},
	{"price_max", "price_max", NUMBER, false, USH_TIER_PRICE_MAX},
	{"fee_fixed", "fee_fixed", NUMBER, false, USH_TIER_PRICE_MAX},
	{"fee_ppm", "fee_ppm", NUMBER, false, 1000000},
	{NULL, NULL, TEXT, false, 0},
};

static const struct member venue_members[] = {
	{"name", "name", TEXT, true, 200},
	{"city", "city", TEXT, true, 100},
	{"country", "country", CODE, true, 2},
	{"address", "address", TEXT, false, 300},
	{"timezone", "timezone", TEXT, true, 64},
	{"image", "image", URL, false, 500},
	{NULL, NULL, TEXT, false, 0},
};

int64_t cat_int(const json_t *object, const char *name)
{
	return json_integer_value(json_object_get(object, name));
}

const char *cat_text(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	return text != NULL ? text : "";
}

static bool wrong(struct cat_fault *fault, const char *member, const char *reason)
{
	snprintf(fault->member, sizeof(fault->member), "%s", member);
	snprintf(fault->reason, sizeof(fault->reason), "%s", reason);
	return false;
}

/* ret: NULL, or what is wrong with a text. */
static const char *check_text(const struct member *member, const char *text)
{
	size_t bytes = strlen(text);

	if ((int64_t)bytes > member->most && member->kind != TIME)
		return "too long";
	for (size_t i = 0; i < bytes; i++) {
		uint8_t c = (uint8_t)text[i];

		if (c < 0x20 && (c != '\n' || member->most < (int64_t)CAT_TEXT_MAX))
			return "holds a control character";
		if (member->kind == SLUG && !(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') &&
			c != '-')
			return "want lower-case letters, digits and hyphens";
		if (member->kind == CODE && !(c >= 'A' && c <= 'Z'))
			return "want capital letters";
	}
	if (member->kind == CODE && bytes > 0 && (int64_t)bytes != member->most)
		return member->most == 3 ? "want an ISO 4217 code" : "want an ISO 3166 code";
	if (member->kind == URL && bytes > 0 && strncmp(text, "https://", 8) != 0)
		return "want a URL that begins with https://";
	return NULL;
}

/* A number, or a text that is one (CSV has nothing else). ret: whether it is. */
static bool number_of(const json_t *value, int64_t most, int64_t *number)
{
	const char *text = json_string_value(value);

	if (json_is_integer(value)) {
		*number = json_integer_value(value);
	} else {
		if (text == NULL || *text == '\0' || strlen(text) > 12 ||
			strspn(text, "0123456789") != strlen(text))
			return false;
		*number = strtoll(text, NULL, 10);
	}
	return *number >= 0 && *number <= most;
}

/* Takes one member. ret: NULL, or what is wrong. */
static const char *take(json_t *object, const struct member *member, const json_t *value)
{
	const char *text = json_string_value(value), *why;
	int64_t number;

	if (member->kind == NUMBER) {
		if (!number_of(value, member->most, &number))
			return "want a whole number, not negative, and not that large";
		json_object_set_new(object, member->column, json_integer(number));
		return NULL;
	}
	if (json_is_null(value) && !member->must)
		text = "";
	if (text == NULL)
		return "want a text";
	if (member->must && *text == '\0')
		return "must not be empty";
	if (member->kind == TIME) {
		number = 0;
		if (*text != '\0' && !cat_time_parse(text, &number))
			return "want a time as 2027-05-01T19:30:00+02:00";
		json_object_set_new(object, member->column, json_integer(number));
		return NULL;
	}
	why = check_text(member, text);
	if (why == NULL)
		json_object_set_new(object, member->column, json_string(text));
	return why;
}

/* What is taken elsewhere than by the tables. */
static bool is_other(const char *name, const char *const *others)
{
	for (; *others != NULL; others++) {
		if (strcmp(*others, name) == 0)
			return true;
	}
	return false;
}

static bool take_all(json_t *object, const struct member *members, const char *const *others,
	const json_t *input, bool fresh, struct cat_fault *fault)
{
	const char *name, *why;
	json_t *value;

	json_object_foreach((json_t *)(uintptr_t)input, name, value)
	{
		const struct member *member = members;

		while (member->name != NULL && strcmp(member->name, name) != 0)
			member++;
		if (member->name == NULL) {
			if (is_other(name, others))
				continue;
			return wrong(fault, name, "there is no such member");
		}
		why = take(object, member, value);
		if (why != NULL)
			return wrong(fault, name, why);
	}
	for (const struct member *member = members; fresh && member->name != NULL; member++) {
		if (member->must && json_object_get(input, member->name) == NULL)
			return wrong(fault, member->name, "is missing");
		if (json_object_get(object, member->column) == NULL)
			json_object_set_new(object, member->column,
				member->kind == TIME || member->kind == NUMBER
					? json_integer(
						  strncmp(member->name, "price", 5) == 0 ? -1 : 0)
					: json_string(""));
	}
	return true;
}

static bool take_performers(json_t *event, const json_t *names, struct cat_fault *fault)
{
	static const struct member name = {"performers", "", TEXT, true, 200};
	json_t *value;
	size_t i;

	if (names == NULL)
		return true;
	if (!json_is_array(names) || json_array_size(names) > CAT_PERFORMER_COUNT_MAX)
		return wrong(fault, "performers", "want at most 50 names");
	json_array_foreach(names, i, value)
	{
		const char *text = json_string_value(value);
		const char *why =
			text == NULL || *text == '\0' ? "want names" : check_text(&name, text);

		if (why != NULL)
			return wrong(fault, "performers", why);
	}
	json_object_set_new(event, "performers", json_deep_copy(names));
	return true;
}

/* ret: NULL, or which times contradict each other. */
static const char *check_times(const json_t *event, const char **member)
{
	int64_t starts = cat_int(event, "starts_us"), ends = cat_int(event, "ends_us");
	int64_t from = cat_int(event, "sale_from_us"), until = cat_int(event, "sale_until_us");

	*member = "ends";
	if (ends != 0 && ends < starts)
		return "is before it starts";
	*member = "doors";
	if (cat_int(event, "doors_us") > starts)
		return "is after it starts";
	*member = "sale_until";
	if (until != 0 && until <= from)
		return "is not after sale_from";
	*member = "sale_from";
	if (from != 0 && until == 0 && from >= starts)
		return "is not before it starts";
	*member = "price_max";
	if (cat_int(event, "price_max") < cat_int(event, "price_min"))
		return "is below price_min";
	return NULL;
}

bool cat_event_take(json_t *event, const json_t *input, bool fresh, struct cat_fault *fault)
{
	static const char *const others[] = {"venue", "performers", "plan", "line", NULL};
	const char *member, *why;

	if (!take_all(event, event_members, others, input, fresh, fault) ||
		!take_performers(event, json_object_get(input, "performers"), fault))
		return false;
	if (cat_int(event, "price_max") < 0)
		json_object_set_new(event, "price_max", json_integer(cat_int(event, "price_min")));
	why = check_times(event, &member);
	return why == NULL || wrong(fault, member, why);
}

bool cat_venue_take(json_t *venue, const json_t *input, struct cat_fault *fault)
{
	static const char *const others[] = {NULL};

	return take_all(venue, venue_members, others, input, true, fault);
}

static void show_time(json_t *out, const char *name, int64_t us)
{
	char text[24];

	if (us == 0)
		return;
	cat_time_print(us, text);
	json_object_set_new(out, name, json_string(text));
}

static const char *status_name(int64_t status)
{
	switch (status) {
	case USH_EVENT_STATUS_DRAFT:
		return "announced";
	case USH_EVENT_STATUS_ON_SALE:
		return "on_sale";
	case USH_EVENT_STATUS_PAUSED:
		return "paused";
	case USH_EVENT_STATUS_COMPLETED:
		return "completed";
	case USH_EVENT_STATUS_CANCELLED:
		return "cancelled";
	default:
		return "draft";
	}
}

json_t *cat_event_show(const json_t *event, bool inside)
{
	static const char *const times[] = {"starts", "ends", "doors", "sale_from", "sale_until"};
	json_t *out = json_pack("{s:I, s:s, s:s, s:s, s:s, s:O, s:O}", "event",
		cat_int(event, "event"), "name", cat_text(event, "name"), "description",
		cat_text(event, "description"), "category", cat_text(event, "category"), "status",
		status_name(cat_int(event, "published_us") != 0 ? cat_int(event, "status") : 0),
		"venue", json_object_get(event, "place"), "performers",
		json_object_get(event, "performers"));
	int64_t price = cat_int(event, "price_min"), together = cat_int(event, "together");

	USH_ASSERT(out != NULL);
	for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
		char column[32];

		snprintf(column, sizeof(column), "%s_us", times[i]);
		show_time(out, times[i], cat_int(event, column));
	}
	if (*cat_text(event, "image") != '\0')
		json_object_set(out, "image", json_object_get(event, "image"));
	if (price >= 0 && *cat_text(event, "currency") != '\0') {
		json_object_set(out, "currency", json_object_get(event, "currency"));
		json_object_set(out, "price_min", json_object_get(event, "price_min"));
		json_object_set(out, "price_max", json_object_get(event, "price_max"));
		json_object_set(out, "fee_fixed", json_object_get(event, "fee_fixed"));
		json_object_set(out, "fee_ppm", json_object_get(event, "fee_ppm"));
	}
	if (together >= 0) {
		json_object_set(out, "together", json_object_get(event, "together"));
		json_object_set(out, "free", json_object_get(event, "free"));
	}
	if (cat_int(event, "starts_before_us") != 0) {
		json_t *postponed = json_object();

		show_time(postponed, "from", cat_int(event, "starts_before_us"));
		show_time(postponed, "refund_until", cat_int(event, "refund_until_us"));
		json_object_set_new(out, "postponed", postponed);
	}
	if (inside) {
		json_object_set(out, "external", json_object_get(event, "external"));
		json_object_set(out, "plan", json_object_get(event, "plan"));
	}
	return out;
}

json_t *cat_venue_show(const json_t *venue)
{
	json_t *out = json_object();

	json_object_set(out, "venue", json_object_get(venue, "venue"));
	for (const struct member *member = venue_members; member->name != NULL; member++) {
		if (*cat_text(venue, member->column) != '\0')
			json_object_set(out, member->name, json_object_get(venue, member->column));
	}
	return out;
}
