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

struct hit {
	int64_t value, key, event;
};

struct pass {
	struct hit *hits;
	uint32_t count, seen;
	int64_t last_key;
	struct cat_facets *facets; /* NULL: not asked for */
	bool full;                 /* ended because the page is */
};

/* ret: whether `word` (with `bytes`) begins a word of `text`. */
static bool holds(const char *text, const char *word, size_t bytes)
{
	while (text != NULL && *text != '\0') {
		if (*text == *word && strncmp(text, word, bytes) == 0)
			return true;
		text = strchr(text, ' ');
		text += text != NULL;
	}
	return false;
}

/* ret: how well an event fits: a word in its name counts 8, of its performers 4, of its place 2,
 * anywhere else 1; a name that begins with what was asked 16 more. */
static int64_t fit(const struct cat_search *search, const struct cat_hit *hit)
{
	const char *at = search->words;
	int64_t score = 0;

	if (at == NULL)
		return 0;
	score += strncmp(hit->name, at, strlen(at)) == 0 ? 16 : 0;
	while (*at != '\0') {
		size_t bytes = strcspn(at, " ");

		score += holds(hit->name, at, bytes)     ? 8
			 : holds(hit->people, at, bytes) ? 4
			 : holds(hit->place, at, bytes)  ? 2
							 : 1;
		at += bytes + (at[bytes] != '\0');
	}
	return score;
}

static int64_t value_of(const struct cat_search *search, const struct cat_hit *hit)
{
	int64_t price = hit->price_min;

	switch (search->sort) {
	case CAT_BY_RELEVANCE:
		return -fit(search, hit);
	/* Events without a price come last. */
	case CAT_BY_PRICE:
		return price < 0 ? INT64_MAX : price;
	case CAT_BY_PRICE_DOWN:
		return price < 0 ? INT64_MAX : -price;
	default:
		return 0;
	}
}

static bool passes(const struct cat_search *search, const struct cat_hit *hit)
{
	if ((search->price_min >= 0 || search->price_max >= 0) && hit->price_min < 0)
		return false;
	if (search->price_min >= 0 && hit->price_max < search->price_min)
		return false;
	if (search->price_max >= 0 && hit->price_min > search->price_max)
		return false;
	return search->together == 0 || hit->together >= search->together;
}

static int compare(const void *a, const void *b)
{
	const struct hit *x = a, *y = b;

	if (x->value != y->value)
		return x->value < y->value ? -1 : 1;
	return x->key < y->key ? -1 : x->key > y->key;
}

/* Goes through up to `most` rows. ret: true if there were that many, and more are wanted. */
static bool read_rows(struct ush_db_conn *conn, const struct cat_search *search,
	const struct cat_range *range, const char *match, int64_t most, struct pass *pass)
{
	const struct hit after = {.value = search->after_value, .key = search->after_key};
	const int64_t end = pass->seen + most;
	struct cat_hits hits;
	struct cat_hit row;

	cat_hits_begin(&hits, conn, search, match, range, most);
	while (!pass->full && cat_hits_next(&hits, &row)) {
		struct hit hit = {.key = row.key, .event = row.event};

		pass->seen++;
		pass->last_key = hit.key > pass->last_key ? hit.key : pass->last_key;
		if (!passes(search, &row))
			continue;
		hit.value = value_of(search, &row);
		if (pass->facets != NULL)
			cat_facets_count(pass->facets, &row);
		if (search->after_set && compare(&hit, &after) <= 0)
			continue;
		pass->hits[pass->count++] = hit;
		pass->full = search->sort == CAT_BY_DATE && pass->facets == NULL &&
			     pass->count > search->limit;
	}
	cat_hits_end(&hits);
	return !pass->full && pass->seen == end;
}

/* ret: whether a pass ends when its page is full. */
static bool wants_few(const struct cat_search *search)
{
	return search->sort == CAT_BY_DATE && !search->facets;
}

/* Reads one range as far as the pass goes. */
static void run_range(struct ush_db_conn *conn, const struct cat_search *search,
	struct cat_range range, const char *match, struct pass *pass)
{
	/* PostgreSQL hands the rows of a query over whole. */
	const bool few = wants_few(search) && ush_db_conn_is_postgres(conn);
	int64_t left = CAT_HITS_MAX - pass->seen, most = few ? 2 * search->limit + 2 : left;

	most = most < left ? most : left;
	while (read_rows(conn, search, &range, match, most, pass) && pass->seen < CAT_HITS_MAX) {
		range.from = pass->last_key + 1;
		left = CAT_HITS_MAX - pass->seen;
		most = 8 * most < left ? 8 * most : left;
	}
}

/* ret: whether all hits are expected to be hardly more than are wanted, going by what was seen (of
 * a day, perhaps: so a page by date takes four times as many for granted). */
static bool is_sparse(const struct cat_search *search, const struct pass *pass,
	const struct cat_range *all, int64_t at)
{
	double share = (double)(all->to - all->from) / (double)(at - all->from);

	return pass->seen * share < (wants_few(search) ? 4.0 * search->limit : 0.8 * CAT_HITS_MAX);
}

/* PostgreSQL: from one table to the next in the order of time, each of which is small; then, if few
 * hits are left, all others by one query. */
static void run_periods(struct ush_db_conn *conn, const struct cat_search *search,
	struct cat_range all, const char *match, struct pass *pass)
{
	int64_t at;

	if (!cat_hits_bounds(conn, &all))
		return;
	at = all.from;
	for (uint32_t i = 0; at < all.to && !pass->full && pass->seen < CAT_HITS_MAX; i++) {
		int64_t period = (at >> 32) / CAT_PERIOD_MIN;
		int64_t end = (period + 1) * CAT_PERIOD_MIN << 32;
		struct cat_range range = {.from = at,
			.to = end < all.to ? end : all.to,
			.slot = (uint32_t)(period % CAT_SLOT_COUNT)};

		if (i >= CAT_SLOT_COUNT || (i > 0 && is_sparse(search, pass, &all, at)))
			range = (struct cat_range){at, all.to, CAT_ALL_SLOTS};
		run_range(conn, search, range, match, pass);
		at = range.to;
	}
}

static void run_pass(struct ush_db_conn *conn, const struct cat_search *search, int64_t from,
	const char *match, struct pass *pass)
{
	struct cat_range all = {.from = from, .to = INT64_MAX, .slot = CAT_ALL_SLOTS};

	if (search->to_us != 0 && cat_key_of(search->to_us) != CAT_KEY_LAST)
		all.to = cat_key_of(search->to_us);
	if (ush_db_conn_is_postgres(conn))
		run_periods(conn, search, all, match, pass);
	else
		run_range(conn, search, all, match, pass);
	if (search->sort != CAT_BY_DATE)
		qsort(pass->hits, pass->count, sizeof(pass->hits[0]), compare);
}

/* ---- what comes out ---- */

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
	uint32_t count = pass->count < search->limit ? pass->count : search->limit;
	json_t *items = json_array(), *out, *event[CAT_PAGE_MAX];
	int64_t number[CAT_PAGE_MAX];

	USH_ASSERT(count <= CAT_PAGE_MAX);
	for (uint32_t i = 0; i < count; i++)
		number[i] = pass->hits[i].event;
	if (count > 0)
		cat_events_read(conn, number, count, event);
	for (uint32_t i = 0; i < count; i++) {
		if (event[i] == NULL)
			continue;
		json_array_append_new(items, cat_event_show(event[i], false));
		json_decref(event[i]);
	}
	out = json_pack("{s:o, s:o, s:b}", "items", items, "next", next_of(search, pass, from),
		"capped", pass->seen == CAT_HITS_MAX);
	if (pass->facets != NULL)
		json_object_set_new(out, "facets", cat_facets_show(pass->facets));
	return out;
}

json_t *cat_search_run(struct ush_db_conn *conn, const struct cat_search *search)
{
	char *match = cat_match(ush_db_conn_is_postgres(conn), search->words, search->prefix,
		search->tags, search->tag_count);
	int64_t from = search->after_set ? search->after_chunk : cat_key_of(search->from_us);
	struct pass pass = {.hits = calloc(CAT_HITS_MAX, sizeof(pass.hits[0]))};
	json_t *out = NULL;

	USH_ASSERT(match != NULL);
	USH_ASSERT(pass.hits != NULL);
	if (search->facets)
		pass.facets = cat_facets_new();
	run_pass(conn, search, from, match, &pass);
	if (ush_db_error(conn, NULL) == 0)
		out = page_of(conn, search, &pass, from);
	if (ush_db_error(conn, NULL) != 0) {
		json_decref(out);
		out = NULL;
	}
	cat_facets_free(pass.facets);
	free(pass.hits);
	free(match);
	return out;
}
