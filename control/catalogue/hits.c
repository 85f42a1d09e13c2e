/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a search reads hits.
 *
 * SQLite gives rows one by one as its index has them. PostgreSQL makes one text of all rows of a
 * range, a line each, stored as it is sent and no longer than needed: making, sending and taking
 * rows of ten columns takes longer than finding them.
 *
 *   facts: key, category, city, price_min, price_max, month. They stand in the index by key as
 *          well, so that a search without words reads nothing else.
 *   texts: key, and the words of name, performers and place.
 *
 * A tab between, which no field holds (event_form.c).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "catalogue/internal.h"

/* PostgreSQL, words: as many lines in no order; fewer are wanted: in order. src: guess */
#define LOOSE_MAX (2 * (int64_t)CAT_HITS_MAX)
#define LOOSE_MIN 1000

#define COLUMNS \
	"SELECT h.key, h.event, h.category, h.city, h.price_min, h.price_max, h.together, h.month"
#define WORD_COLUMNS ", h.name_words, h.people_words, h.place_words"
#define MATCH \
	" FROM catalogue_words w JOIN catalogue_hits h ON h.key = w.rowid WHERE" \
	" catalogue_words MATCH ? AND w.rowid >= ? AND w.rowid < ? ORDER BY w.rowid LIMIT ?"

static struct ush_db_rows *begin_sqlite(struct ush_db_conn *conn, const char *match, bool texts,
	const struct cat_range *range, int64_t most)
{
	if (*match == '\0')
		return ush_db_query(conn,
			COLUMNS WORD_COLUMNS " FROM catalogue_hits h WHERE h.key >= ? AND h.key < ?"
					     " ORDER BY h.key LIMIT ?",
			"iii", range->from, range->to, most);
	/* The range is the index's own, so that it stops where the pass does. */
	return ush_db_query(conn, texts ? COLUMNS WORD_COLUMNS MATCH : COLUMNS MATCH, "tiii", match,
		range->from, range->to, most);
}

/* Texts of statements, for each of 17 tables: without words 2 (with seats together or not), with
 * words three kinds of line and ordered or not, 12. */
static struct ush_db_rows *begin_postgres(struct ush_db_conn *conn, const char *match,
	const struct cat_hits *hits, const struct cat_range *range, int64_t most)
{
	/* A sum is no key that the index by key knows: the planner, which takes every word for a
	 * rare one or every one for common, is left with the index of words. */
	const char *key = *match != '\0' ? "h.key + 0" : "h.key";
	char table[40] = "catalogue_hits", order[40] = "", sql[400];

	if (range->slot != CAT_ALL_SLOTS)
		snprintf(table, sizeof(table), "catalogue_hits_%u", range->slot);
	if (!hits->loose)
		snprintf(order, sizeof(order), " ORDER BY %s", key);
	snprintf(sql, sizeof(sql),
		"SELECT string_agg(line, chr(10)) FROM (SELECT %s%s AS line FROM %s h WHERE"
		"%s %s >= ? AND %s < ?%s LIMIT ?) l",
		hits->together ? "h.together || chr(9) || " : "",
		!hits->texts  ? "h.facts"
		: hits->facts ? "h.facts || chr(9) || h.texts"
			      : "h.texts",
		table, *match != '\0' ? " h.words @@ to_tsquery('simple', ?) AND" : "", key, key,
		order);
	if (*match == '\0')
		return ush_db_query(conn, sql, "iii", range->from, range->to, most);
	return ush_db_query(conn, sql, "tiii", match, range->from, range->to, most);
}

struct cat_line {
	int64_t key, together;
	char *text; /* behind the key */
};

static int compare(const void *a, const void *b)
{
	const struct cat_line *x = a, *y = b;

	return x->key < y->key ? -1 : x->key > y->key;
}

/* Cuts the next field off a line. ret: "" behind the last one. */
static const char *cut(char **at)
{
	char *field = *at, *end = strchrnul(field, '\t');

	*at = end + (*end != '\0');
	*end = '\0';
	return field;
}

static int64_t cut_number(char **at)
{
	const char *field = cut(at);
	const bool minus = *field == '-';
	uint64_t number = 0;

	for (field += minus; *field >= '0' && *field <= '9'; field++)
		number = number * 10 + (uint64_t)(*field - '0');
	return minus ? -(int64_t)number : (int64_t)number;
}

/* Takes the text of all lines apart. */
static void take_lines(struct cat_hits *hits, const char *text, int64_t most)
{
	char *at;

	hits->text = at = strdup(text);
	hits->lines = malloc((size_t)most * sizeof(*hits->lines));
	USH_ASSERT(hits->text != NULL);
	USH_ASSERT(hits->lines != NULL);
	while (*at != '\0' && hits->count < most) {
		struct cat_line *line = &hits->lines[hits->count++];
		char *end = strchrnul(at, '\n');

		line->text = at;
		at = end + (*end != '\0');
		*end = '\0';
		line->together = hits->together ? cut_number(&line->text) : 0;
		line->key = cut_number(&line->text);
	}
}

/* Lines in no order are cheaper, and mostly all of them are wanted: a sort by the server copies
 * them once more. If there are too many of them, the server must choose. */
static void load(struct cat_hits *hits, struct ush_db_conn *conn, const char *match,
	const struct cat_range *range, int64_t most)
{
	int64_t asked = hits->loose ? LOOSE_MAX + 1 : most;
	struct ush_db_rows *rows = begin_postgres(conn, match, hits, range, asked);
	const char *text = ush_db_next(rows) ? ush_db_text(rows, 0) : NULL;

	if (text != NULL)
		take_lines(hits, text, asked);
	ush_db_end(rows);
}

static void begin_lines(struct cat_hits *hits, struct ush_db_conn *conn,
	const struct cat_search *search, const char *match, const struct cat_range *range,
	int64_t most)
{
	hits->together = search->together > 0;
	hits->facts = search->facets || search->price_min >= 0 || search->price_max >= 0;
	hits->loose = *match != '\0' && most >= LOOSE_MIN;
	load(hits, conn, match, range, most);
	if (hits->count > LOOSE_MAX) {
		cat_hits_end(hits);
		hits->lines = NULL;
		hits->text = NULL;
		hits->count = 0;
		hits->loose = false;
		load(hits, conn, match, range, most);
	}
	if (hits->loose && (hits->count > most || search->sort == CAT_BY_DATE))
		qsort(hits->lines, (size_t)hits->count, sizeof(*hits->lines), compare);
	hits->count = hits->count < most ? hits->count : most;
}

void cat_hits_begin(struct cat_hits *hits, struct ush_db_conn *conn,
	const struct cat_search *search, const char *match, const struct cat_range *range,
	int64_t most)
{
	const bool texts = search->sort == CAT_BY_RELEVANCE && *match != '\0';

	*hits = (struct cat_hits){.texts = texts, .postgres = ush_db_conn_is_postgres(conn)};
	if (hits->postgres)
		begin_lines(hits, conn, search, match, range, most);
	else
		hits->rows = begin_sqlite(conn, match, texts, range, most);
}

static bool next_line(struct cat_hits *hits, struct cat_hit *hit)
{
	const struct cat_line *line;
	char *at;

	if (hits->at == hits->count)
		return false;
	line = &hits->lines[hits->at++];
	at = line->text;
	*hit = (struct cat_hit){.key = line->key,
		.event = line->key & UINT32_MAX,
		.together = line->together,
		.name = "",
		.people = "",
		.place = ""};
	if (!hits->texts || hits->facts) {
		hit->category = cut(&at);
		hit->city = cut(&at);
		hit->price_min = cut_number(&at);
		hit->price_max = cut_number(&at);
		hit->month = cut_number(&at);
	}
	if (hits->texts && hits->facts)
		cut(&at); /* the key again */
	if (hits->texts) {
		hit->name = cut(&at);
		hit->people = cut(&at);
		hit->place = cut(&at);
	}
	return true;
}

bool cat_hits_next(struct cat_hits *hits, struct cat_hit *hit)
{
	struct ush_db_rows *rows = hits->rows;

	if (hits->postgres)
		return next_line(hits, hit);
	if (!ush_db_next(rows))
		return false;
	*hit = (struct cat_hit){.key = ush_db_int(rows, 0),
		.event = ush_db_int(rows, 1),
		.category = ush_db_text(rows, 2),
		.city = ush_db_text(rows, 3),
		.price_min = ush_db_int(rows, 4),
		.price_max = ush_db_int(rows, 5),
		.together = ush_db_int(rows, 6),
		.month = ush_db_int(rows, 7),
		.name = "",
		.people = "",
		.place = ""};
	if (hits->texts) {
		hit->name = ush_db_text(rows, 8);
		hit->people = ush_db_text(rows, 9);
		hit->place = ush_db_text(rows, 10);
	}
	return true;
}

void cat_hits_end(struct cat_hits *hits)
{
	if (hits->rows != NULL)
		ush_db_end(hits->rows);
	free(hits->lines);
	free(hits->text);
}

bool cat_hits_bounds(struct ush_db_conn *conn, struct cat_range *range)
{
	int64_t first = -1, newest = -1;

	/* For the rest of the job: one plan for all values of a statement, made once (hits.c asks
	 * in a way that leaves no choice; making one takes as long as many a search), and no table
	 * is read from end to end because a word is in most of its rows. */
	ush_db_get(conn,
		"SELECT COALESCE((SELECT MIN(key) FROM catalogue_hits WHERE key >= ?), -1),"
		" COALESCE((SELECT MAX(key) FROM catalogue_hits), -1),"
		" set_config('enable_seqscan', 'off', true),"
		" set_config('effective_io_concurrency', '0', true),"
		" set_config('plan_cache_mode', 'force_generic_plan', true)",
		"i", range->from, "ii", &first, &newest);
	range->to = newest < range->to ? newest + 1 : range->to;
	range->from = first;
	return first >= 0 && first < range->to;
}
