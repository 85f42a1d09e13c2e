/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Search: one pass over at most CAT_HITS_MAX hits.
 *
 * 1. The index gives hits in the order of starting: words, city, category, venue and performer
 *    narrow it there, the dates are a range of its keys.
 * 2. The pass looks at price and seats together, counts facets, and values each hit for the order.
 *    In the order of starting, and without facets, it ends when the page is full.
 * 3. The page's events are read whole.
 *
 * More hits than that: `capped`, facets are of those seen, and the cursor goes on with the next
 * ones: an order other than by date holds within each CAT_HITS_MAX. A cursor is three numbers: the
 * key at which the hits seen begin, and value and key of the last event given.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "catalogue/internal.h"

#define COLUMNS \
	"SELECT h.key, h.event, h.category, h.city, h.price_min, h.price_max, h.together, h.month"
#define WORD_COLUMNS ", h.name_words, h.people_words, h.place_words"
#define RANGE " h.key >= ? AND h.key < ? ORDER BY h.key LIMIT ?"

struct hit {
	int64_t value, key, event;
};

struct pass {
	struct hit *hits;
	uint32_t count, seen;
	int64_t last_key;
	int64_t low, high; /* prices */
	json_t *categories, *cities, *months;
	bool full; /* ended because the page is */
};

static struct ush_db_rows *begin(
	struct ush_db_conn *conn, const struct cat_search *search, const char *match, int64_t from)
{
	int64_t to = search->to_us != 0 ? search->to_us / 60000000 << 32 : INT64_MAX;
	int64_t most = CAT_HITS_MAX;
	bool words = search->sort == CAT_BY_RELEVANCE;

	if (*match == '\0')
		return ush_db_query(conn, COLUMNS WORD_COLUMNS " FROM catalogue_hits h WHERE" RANGE,
			"iii", from, to, most);
	if (ush_db_conn_is_postgres(conn))
		return ush_db_query(conn,
			COLUMNS WORD_COLUMNS " FROM catalogue_hits h WHERE"
					     " h.words @@ to_tsquery('simple', ?) AND" RANGE,
			"tiii", match, from, to, most);
	/* The range is the index's own, so that it stops where the pass does. */
	return ush_db_query(conn,
		words ? COLUMNS WORD_COLUMNS
			" FROM catalogue_words w JOIN catalogue_hits h ON h.key = w.rowid WHERE"
			" catalogue_words MATCH ? AND w.rowid >= ? AND w.rowid < ?"
			" ORDER BY w.rowid LIMIT ?"
		      : COLUMNS
			" FROM catalogue_words w JOIN catalogue_hits h ON h.key = w.rowid WHERE"
			" catalogue_words MATCH ? AND w.rowid >= ? AND w.rowid < ?"
			" ORDER BY w.rowid LIMIT ?",
		"tiii", match, from, to, most);
}

/* ret: whether `word` (with `bytes`) begins a word of `text`. */
static bool holds(const char *text, const char *word, size_t bytes)
{
	while (text != NULL && *text != '\0') {
		if (strncmp(text, word, bytes) == 0)
			return true;
		text = strchr(text, ' ');
		text += text != NULL;
	}
	return false;
}

/* ret: how well an event fits: a word in its name counts 8, of its performers 4, of its place 2,
 * anywhere else 1; a name that begins with what was asked 16 more. */
static int64_t fit(const struct cat_search *search, struct ush_db_rows *rows)
{
	const char *name = ush_db_text(rows, 8), *at = search->words;
	int64_t score = 0;

	if (at == NULL)
		return 0;
	score += strncmp(name, at, strlen(at)) == 0 ? 16 : 0;
	while (*at != '\0') {
		size_t bytes = strcspn(at, " ");

		score += holds(name, at, bytes)                    ? 8
			 : holds(ush_db_text(rows, 9), at, bytes)  ? 4
			 : holds(ush_db_text(rows, 10), at, bytes) ? 2
								   : 1;
		at += bytes + (at[bytes] != '\0');
	}
	return score;
}

static int64_t value_of(const struct cat_search *search, struct ush_db_rows *rows)
{
	int64_t price = ush_db_int(rows, 4);

	switch (search->sort) {
	case CAT_BY_RELEVANCE:
		return -fit(search, rows);
	/* Events without a price come last. */
	case CAT_BY_PRICE:
		return price < 0 ? INT64_MAX : price;
	case CAT_BY_PRICE_DOWN:
		return price < 0 ? INT64_MAX : -price;
	default:
		return 0;
	}
}

static bool passes(const struct cat_search *search, struct ush_db_rows *rows)
{
	int64_t low = ush_db_int(rows, 4), high = ush_db_int(rows, 5);

	if ((search->price_min >= 0 || search->price_max >= 0) && low < 0)
		return false;
	if (search->price_min >= 0 && high < search->price_min)
		return false;
	if (search->price_max >= 0 && low > search->price_max)
		return false;
	return search->together == 0 || ush_db_int(rows, 6) >= search->together;
}

static void count(json_t *counts, const char *value)
{
	json_t *number = json_object_get(counts, value);

	if (number == NULL)
		json_object_set_new(counts, value, json_integer(1));
	else
		json_integer_set(number, json_integer_value(number) + 1);
}

static void count_all(struct pass *pass, struct ush_db_rows *rows)
{
	int64_t month = ush_db_int(rows, 7), low = ush_db_int(rows, 4), high = ush_db_int(rows, 5);
	char text[24];

	snprintf(text, sizeof(text), "%04d-%02d", (int)(month / 12), (int)(month % 12) + 1);
	count(pass->months, text);
	count(pass->categories, ush_db_text(rows, 2));
	count(pass->cities, ush_db_text(rows, 3));
	if (low >= 0) {
		pass->low = pass->low < 0 || low < pass->low ? low : pass->low;
		pass->high = high > pass->high ? high : pass->high;
	}
}

static int compare(const void *a, const void *b)
{
	const struct hit *x = a, *y = b;

	if (x->value != y->value)
		return x->value < y->value ? -1 : 1;
	return x->key < y->key ? -1 : x->key > y->key;
}

static void run_pass(struct ush_db_conn *conn, const struct cat_search *search, int64_t from,
	const char *match, struct pass *pass)
{
	const struct hit after = {.value = search->after_value, .key = search->after_key};
	struct ush_db_rows *rows = begin(conn, search, match, from);

	while (!pass->full && ush_db_next(rows)) {
		struct hit hit = {.key = ush_db_int(rows, 0), .event = ush_db_int(rows, 1)};

		pass->seen++;
		pass->last_key = hit.key;
		if (!passes(search, rows))
			continue;
		hit.value = value_of(search, rows);
		if (search->facets)
			count_all(pass, rows);
		if (search->after_set && compare(&hit, &after) <= 0)
			continue;
		pass->hits[pass->count++] = hit;
		pass->full = search->sort == CAT_BY_DATE && !search->facets &&
			     pass->count > search->limit;
	}
	ush_db_end(rows);
	if (search->sort != CAT_BY_DATE)
		qsort(pass->hits, pass->count, sizeof(pass->hits[0]), compare);
}

/* ---- what comes out ---- */

struct counted {
	const char *value;
	int64_t count;
};

static int compare_counts(const void *a, const void *b)
{
	const struct counted *x = a, *y = b;

	if (x->count != y->count)
		return x->count > y->count ? -1 : 1;
	return strcmp(x->value, y->value);
}

/* ret: the 50 values that most hits have. */
static json_t *facet(json_t *counts)
{
	size_t size = json_object_size(counts), i = 0;
	struct counted *all = calloc(size + 1, sizeof(*all));
	json_t *out = json_array(), *number;
	const char *value;

	USH_ASSERT(all != NULL);
	json_object_foreach(counts, value, number) all[i++] =
		(struct counted){.value = value, .count = json_integer_value(number)};
	qsort(all, size, sizeof(*all), compare_counts);
	for (i = 0; i < size && i < 50; i++)
		json_array_append_new(
			out, json_pack("{s:s, s:I}", "value", all[i].value, "count", all[i].count));
	free(all);
	return out;
}

static json_t *facets_of(struct pass *pass)
{
	json_t *facets = json_pack("{s:o, s:o, s:o}", "category", facet(pass->categories), "city",
		facet(pass->cities), "month", facet(pass->months));

	if (pass->low >= 0)
		json_object_set_new(facets, "price",
			json_pack("{s:I, s:I}", "min", pass->low, "max", pass->high));
	return facets;
}

static json_t *cursor_of(int64_t chunk, int64_t value, int64_t key)
{
	char text[64];

	snprintf(text, sizeof(text), "%llx.%llx.%llx", (unsigned long long)chunk,
		(unsigned long long)value, (unsigned long long)key);
	return json_string(text);
}

bool cat_cursor_parse(const char *text, struct cat_search *search)
{
	unsigned long long parts[3];

	for (int i = 0; i < 3; i++) {
		size_t bytes = strspn(text, "0123456789abcdef");

		if (bytes == 0 || bytes > 16 || text[bytes] != (i < 2 ? '.' : '\0'))
			return false;
		parts[i] = strtoull(text, NULL, 16);
		text += bytes + 1;
	}
	search->after_set = true;
	search->after_chunk = (int64_t)parts[0];
	search->after_value = (int64_t)parts[1];
	search->after_key = (int64_t)parts[2];
	return true;
}

static json_t *next_of(const struct cat_search *search, const struct pass *pass, int64_t from)
{
	if (pass->count > search->limit) {
		const struct hit *last = &pass->hits[search->limit - 1];

		if (search->sort == CAT_BY_DATE)
			from = last->key;
		return cursor_of(from, last->value, last->key);
	}
	if (pass->seen == CAT_HITS_MAX)
		return cursor_of(pass->last_key + 1, INT64_MIN, 0);
	return json_null();
}

static json_t *page_of(
	struct ush_db_conn *conn, const struct cat_search *search, struct pass *pass, int64_t from)
{
	json_t *items = json_array(), *out;

	for (uint32_t i = 0; i < pass->count && i < search->limit; i++) {
		json_t *event = cat_event_read(conn, pass->hits[i].event);

		if (event == NULL)
			continue;
		json_array_append_new(items, cat_event_show(event, false));
		json_decref(event);
	}
	out = json_pack("{s:o, s:o, s:b}", "items", items, "next", next_of(search, pass, from),
		"capped", pass->seen == CAT_HITS_MAX);
	if (search->facets)
		json_object_set_new(out, "facets", facets_of(pass));
	return out;
}

json_t *cat_search_run(struct ush_db_conn *conn, const struct cat_search *search)
{
	char *match = cat_match(ush_db_conn_is_postgres(conn), search->words, search->prefix,
		search->tags, search->tag_count);
	int64_t from = search->after_set ? search->after_chunk : search->from_us / 60000000 << 32;
	struct pass pass = {.hits = calloc(CAT_HITS_MAX, sizeof(pass.hits[0])), .low = -1};
	json_t *out = NULL;

	USH_ASSERT(match != NULL);
	USH_ASSERT(pass.hits != NULL);
	pass.categories = json_object();
	pass.cities = json_object();
	pass.months = json_object();
	run_pass(conn, search, from, match, &pass);
	if (ush_db_error(conn, NULL) == 0)
		out = page_of(conn, search, &pass, from);
	if (ush_db_error(conn, NULL) != 0) {
		json_decref(out);
		out = NULL;
	}
	json_decref(pass.categories);
	json_decref(pass.cities);
	json_decref(pass.months);
	free(pass.hits);
	free(match);
	return out;
}
