/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events, venues, plans and performers in their tables, and what search knows of an event.
 *
 * An event that is published and still to come has a row in catalogue_hits; it is taken out and put
 * in again with each change, because its key is its time.
 */
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "catalogue/internal.h"
#include "catalogue/venue.h"

/* Descriptions are searched as far as this; src: guess. */
#define MORE_BYTES 400u
#define WORDS_BYTES 600u

/* Columns of catalogue_events in the order of READ; * before a name: a text. */
static const char *const columns[] = {"event", "promoter", "*external", "venue", "*name",
	"*description", "*category", "*image", "*currency", "starts_us", "ends_us", "doors_us",
	"sale_from_us", "sale_until_us", "price_min", "price_max", "fee_fixed", "fee_ppm", "*plan",
	"status", "published_us", "sale_closed", "starts_before_us", "refund_until_us", "together",
	"free"};
#define COLUMN_COUNT (sizeof(columns) / sizeof(columns[0]))
#define READ \
	"SELECT e.event, e.promoter, e.external, e.venue, e.name, e.description, e.category," \
	" e.image, e.currency, e.starts_us, e.ends_us, e.doors_us, e.sale_from_us," \
	" e.sale_until_us, e.price_min, e.price_max, e.fee_fixed, e.fee_ppm, e.plan, e.status," \
	" e.published_us, e.sale_closed, e.starts_before_us, e.refund_until_us, e.together," \
	" e.free, v.name, v.city, v.country, v.address, v.timezone, v.image, "
#define CAST \
	"catalogue_cast c JOIN catalogue_performers p ON p.performer = c.performer" \
	" WHERE c.event = e.event"
#define FROM " FROM catalogue_events e LEFT JOIN catalogue_venues v ON v.venue = e.venue"
static const char read_sqlite[] =
	READ "(SELECT json_group_array(name) FROM (SELECT p.name FROM " CAST
	     " ORDER BY c.position))" FROM " WHERE e.event IN (SELECT value FROM json_each(?))";
static const char read_postgres[] =
	READ "(SELECT CAST(json_agg(p.name ORDER BY c.position) AS TEXT) FROM " CAST ")" FROM
	     " WHERE e.event = ANY(CAST(? AS BIGINT[]))";
static const char write_sql[] =
	"INSERT INTO catalogue_events(event, promoter, external, venue, name, description,"
	" category, image, currency, starts_us, ends_us, doors_us, sale_from_us, sale_until_us,"
	" price_min, price_max, fee_fixed, fee_ppm, plan, status, published_us, sale_closed,"
	" starts_before_us, refund_until_us, together, free, due_us, changed_us)"
	" VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
	" ON CONFLICT(event) DO UPDATE SET external = excluded.external, venue = excluded.venue,"
	" name = excluded.name, description = excluded.description, category = excluded.category,"
	" image = excluded.image, currency = excluded.currency, starts_us = excluded.starts_us,"
	" ends_us = excluded.ends_us, doors_us = excluded.doors_us,"
	" sale_from_us = excluded.sale_from_us, sale_until_us = excluded.sale_until_us,"
	" price_min = excluded.price_min, price_max = excluded.price_max,"
	" fee_fixed = excluded.fee_fixed, fee_ppm = excluded.fee_ppm, plan = excluded.plan,"
	" status = excluded.status, published_us = excluded.published_us,"
	" sale_closed = excluded.sale_closed, starts_before_us = excluded.starts_before_us,"
	" refund_until_us = excluded.refund_until_us, together = excluded.together,"
	" free = excluded.free, due_us = excluded.due_us, changed_us = excluded.changed_us";

json_t *cat_venue_read(struct ush_db_conn *conn, int64_t venue)
{
	struct ush_db_rows *rows = ush_db_query(conn,
		"SELECT name, city, country, address, timezone, image FROM catalogue_venues"
		" WHERE venue = ?",
		"i", venue);
	json_t *found = NULL;

	if (ush_db_next(rows)) {
		found = json_pack("{s:I, s:s, s:s, s:s, s:s, s:s, s:s}", "venue", venue, "name",
			ush_db_text(rows, 0), "city", ush_db_text(rows, 1), "country",
			ush_db_text(rows, 2), "address", ush_db_text(rows, 3), "timezone",
			ush_db_text(rows, 4), "image", ush_db_text(rows, 5));
		ush_db_end(rows);
	}
	return found;
}

/* A row of read_sqlite or read_postgres. */
static json_t *event_of(struct ush_db_rows *rows)
{
	static const char *const names[] = {
		"name", "city", "country", "address", "timezone", "image"};
	json_t *found = json_object(), *venue, *performers = NULL;
	const char *text = ush_db_text(rows, COLUMN_COUNT + 6);

	for (uint32_t i = 0; i < COLUMN_COUNT; i++) {
		if (columns[i][0] != '*')
			json_object_set_new(found, columns[i], json_integer(ush_db_int(rows, i)));
		else if (!ush_db_is_null(rows, i))
			json_object_set_new(
				found, columns[i] + 1, json_string(ush_db_text(rows, i)));
	}
	if (text != NULL)
		performers = json_loads(text, 0, NULL);
	json_object_set_new(found, "performers", performers != NULL ? performers : json_array());
	if (ush_db_is_null(rows, COLUMN_COUNT)) {
		json_object_set_new(found, "place", json_null());
		return found;
	}
	venue = json_pack("{s:I}", "venue", cat_int(found, "venue"));
	for (uint32_t i = 0; i < 6; i++)
		json_object_set_new(
			venue, names[i], json_string(ush_db_text(rows, COLUMN_COUNT + i)));
	json_object_set_new(found, "place", cat_venue_show(venue));
	json_decref(venue);
	return found;
}

void cat_events_read(struct ush_db_conn *conn, const int64_t *events, uint32_t count, json_t **out)
{
	bool postgres = ush_db_conn_is_postgres(conn);
	size_t size = 24 * (size_t)count + 8, bytes = 1;
	char *list = malloc(size);
	struct ush_db_rows *rows;

	USH_ASSERT(list != NULL);
	list[0] = postgres ? '{' : '[';
	for (uint32_t i = 0; i < count; i++) {
		out[i] = NULL;
		bytes += (size_t)snprintf(list + bytes, size - bytes, "%s%lld", i == 0 ? "" : ",",
			(long long)events[i]);
	}
	snprintf(list + bytes, size - bytes, "%s", postgres ? "}" : "]");
	rows = ush_db_query(conn, postgres ? read_postgres : read_sqlite, "t", list);
	while (ush_db_next(rows)) {
		uint32_t at = 0;

		while (at < count && (out[at] != NULL || events[at] != ush_db_int(rows, 0)))
			at++;
		if (at < count)
			out[at] = event_of(rows);
	}
	free(list);
}

json_t *cat_event_read(struct ush_db_conn *conn, int64_t event)
{
	json_t *found;

	cat_events_read(conn, &event, 1, &found);
	return found;
}

int64_t cat_venue_put(struct ush_db_conn *conn, const json_t *venue, int64_t promoter)
{
	int64_t number = 0;
	int ret = ush_db_get(conn,
		"INSERT INTO catalogue_venues(promoter, name, city, country, address, timezone,"
		" image, changed_us) VALUES(?, ?, ?, ?, ?, ?, ?, ?)"
		" ON CONFLICT(promoter, name, city) DO UPDATE SET country = excluded.country,"
		" address = excluded.address, timezone = excluded.timezone,"
		" image = excluded.image, changed_us = excluded.changed_us RETURNING venue",
		"ittttt"
		"ti",
		promoter, cat_text(venue, "name"), cat_text(venue, "city"),
		cat_text(venue, "country"), cat_text(venue, "address"), cat_text(venue, "timezone"),
		cat_text(venue, "image"), ush_core_now_us(), "i", &number);

	return ret < 0 ? ret : number;
}

/* ---- plans ---- */

static void name_of_plan(const char *source, size_t bytes, char plan[65])
{
	unsigned char digest[32];
	unsigned int count = 0;

	USH_ASSERT(EVP_Digest(source, bytes, digest, &count, EVP_sha256(), NULL) == 1);
	for (int i = 0; i < 32; i++)
		snprintf(plan + 2 * i, 3, "%02x", digest[i]);
}

static int store_plan(struct ush_db_conn *conn, const char *plan, const char *source, size_t bytes,
	const void *image, size_t image_bytes, struct ush_message *message)
{
	const struct ush_venue_header *header;
	int64_t low = INT64_MAX, high = 0;
	struct ush_venue *venue;
	char currency[4] = "";
	int ret = ush_venue_open(image, image_bytes, &venue, message);

	if (ret != 0)
		return ret;
	header = ush_venue_get_header(venue);
	for (uint32_t i = 0; i < header->tier_count; i++) {
		int64_t price = ush_venue_get_tier(venue, i)->price;

		low = price < low ? price : low;
		high = price > high ? price : high;
	}
	memcpy(currency, header->currency, 3);
	ush_db_exec(conn,
		"INSERT INTO catalogue_plans(plan, source, image, seats, currency, price_min,"
		" price_max, stored_us) VALUES(?, ?, ?, ?, ?, ?, ?, ?)",
		"tbbit"
		"iii",
		plan, source, bytes, image, image_bytes, (int64_t)header->seat_count, currency, low,
		high, ush_core_now_us());
	ush_venue_close(venue);
	return ush_db_error(conn, message);
}

int cat_plan_put(struct ush_db_conn *conn, const char *source, size_t bytes, char plan[65],
	struct ush_message *message)
{
	size_t image_bytes = 0;
	void *image = NULL;
	int64_t there = 0;
	int ret;

	name_of_plan(source, bytes, plan);
	ret = ush_db_get(
		conn, "SELECT 1 FROM catalogue_plans WHERE plan = ?", "t", plan, "i", &there);
	if (ret != 0)
		return ret < 0 ? ret : 0;
	ret = ush_venue_compile(source, bytes, NULL, &image, &image_bytes, message);
	if (ret == 0)
		ret = store_plan(conn, plan, source, bytes, image, image_bytes, message);
	free(image);
	return ret;
}

/* ---- what search knows ---- */

/* Appends words to a text of fixed size, as far as they fit whole. */
static void append(char *text, size_t size, const char *more, size_t most)
{
	char *words = cat_words(more, most);
	size_t count = strlen(text);

	USH_ASSERT(words != NULL);
	if (*words != '\0' && count + strlen(words) + 2 < size)
		snprintf(text + count, size - count, "%s%s", count > 0 ? " " : "", words);
	free(words);
}

static void append_tag(char *text, size_t size, char kind, const char *what)
{
	char tag[CAT_TAG_BYTES], *words = cat_words(what, WORDS_BYTES);
	size_t count = strlen(text);

	USH_ASSERT(words != NULL);
	cat_tag(kind, words, tag);
	snprintf(text + count, size - count, "%s%s", count > 0 ? " " : "", tag);
	free(words);
}

void cat_event_hide(struct ush_db_conn *conn, int64_t event)
{
	int64_t key;

	if (ush_db_get(conn, "SELECT key FROM catalogue_hits WHERE event = ?", "i", event, "i",
		    &key) != 1)
		return;
	if (!ush_db_conn_is_postgres(conn)) {
		/* The index reads what it held from the row, so it comes first. */
		ush_db_exec(conn, "DELETE FROM catalogue_words WHERE rowid = ?", "i", key);
		ush_db_exec(conn, "DELETE FROM catalogue_texts WHERE key = ?", "i", key);
	}
	ush_db_exec(conn, "DELETE FROM catalogue_hits WHERE key = ?", "i", key);
}

int64_t cat_key_of(int64_t us)
{
	int64_t minute = us / 60000000;

	return minute < INT32_MAX ? minute << 32 : CAT_KEY_LAST;
}

static int64_t month_of(int64_t us)
{
	time_t seconds = (time_t)(us / 1000000);
	struct tm tm;

	gmtime_r(&seconds, &tm);
	return (tm.tm_year + 1900) * 12 + tm.tm_mon;
}

struct words {
	char name[WORDS_BYTES], people[2 * WORDS_BYTES], place[WORDS_BYTES];
	char tags[(CAT_PERFORMER_COUNT_MAX + 3) * CAT_TAG_BYTES], more[WORDS_BYTES];
};

static void collect(const json_t *event, const json_t *venue, struct words *words)
{
	const json_t *names = json_object_get(event, "performers");
	char number[24];
	json_t *name;
	size_t i;

	memset(words, 0, sizeof(*words));
	append(words->name, sizeof(words->name), cat_text(event, "name"), WORDS_BYTES);
	json_array_foreach(names, i, name)
	{
		append(words->people, sizeof(words->people), json_string_value(name), WORDS_BYTES);
		append_tag(words->tags, sizeof(words->tags), 'p', json_string_value(name));
	}
	append(words->place, sizeof(words->place), cat_text(venue, "name"), WORDS_BYTES / 2);
	append(words->place, sizeof(words->place), cat_text(venue, "city"), WORDS_BYTES / 2);
	append_tag(words->tags, sizeof(words->tags), 'c', cat_text(venue, "city"));
	append_tag(words->tags, sizeof(words->tags), 'k', cat_text(event, "category"));
	snprintf(number, sizeof(number), "%lld", (long long)cat_int(event, "venue"));
	append_tag(words->tags, sizeof(words->tags), 'v', number);
	append(words->more, sizeof(words->more), cat_text(event, "category"), MORE_BYTES);
	append(words->more, sizeof(words->more), cat_text(event, "description"), MORE_BYTES);
}

/* PostgreSQL: see hits.c. */
static void show_postgres(struct ush_db_conn *conn, const json_t *event, const json_t *venue,
	int64_t key, const struct words *words)
{
	char all[sizeof(struct words) + 8], facts[400], texts[sizeof(struct words) + 24];

	/* A category has 40 bytes at most, a city 100, five numbers 20 each. */
	snprintf(facts, sizeof(facts), "%lld\t%s\t%s\t%lld\t%lld\t%lld", (long long)key,
		cat_text(event, "category"), cat_text(venue, "city"),
		(long long)cat_int(event, "price_min"), (long long)cat_int(event, "price_max"),
		(long long)month_of(cat_int(event, "starts_us")));
	snprintf(texts, sizeof(texts), "%lld\t%s\t%s\t%s", (long long)key, words->name,
		words->people, words->place);
	snprintf(all, sizeof(all), "%s %s %s %s %s", words->name, words->people, words->place,
		words->tags, words->more);
	ush_db_exec(conn,
		"INSERT INTO catalogue_hits(key, event, together, facts, texts, words)"
		" VALUES(?, ?, ?, ?, ?, strip(to_tsvector('simple', ?)))",
		"iiittt", key, cat_int(event, "event"), cat_int(event, "together"), facts, texts,
		all);
}

static void show(struct ush_db_conn *conn, const json_t *event, const json_t *venue)
{
	/* The row first: the index may look at it. */
	static const char *const texts[] = {
		"INSERT INTO catalogue_texts(key, name_words, people_words, place_words, tags,"
		" more_words) VALUES(?, ?, ?, ?, ?, ?)",
		"INSERT INTO catalogue_words(rowid, name_words, people_words, place_words, tags,"
		" more_words) VALUES(?, ?, ?, ?, ?, ?)",
	};
	int64_t number = cat_int(event, "event"), starts = cat_int(event, "starts_us");
	int64_t key = cat_key_of(starts) | number;
	struct words words;

	collect(event, venue, &words);
	if (ush_db_conn_is_postgres(conn)) {
		show_postgres(conn, event, venue, key, &words);
		return;
	}
	ush_db_exec(conn,
		"INSERT INTO catalogue_hits(key, event, category, city, price_min, price_max,"
		" together, month, name_words, people_words, place_words)"
		" VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
		"iittii"
		"iittt",
		key, number, cat_text(event, "category"), cat_text(venue, "city"),
		cat_int(event, "price_min"), cat_int(event, "price_max"),
		cat_int(event, "together"), month_of(starts), words.name, words.people,
		words.place);
	for (size_t i = 0; i < 2; i++)
		ush_db_exec(conn, texts[i], "ittttt", key, words.name, words.people, words.place,
			words.tags, words.more);
}

/* ---- events ---- */

int64_t cat_due(const json_t *event)
{
	int64_t status = cat_int(event, "status"), until = cat_int(event, "sale_until_us");

	if (cat_int(event, "published_us") == 0 || cat_int(event, "sale_closed") != 0 ||
		*cat_text(event, "plan") == '\0')
		return 0;
	if (status == USH_EVENT_STATUS_DRAFT)
		return cat_int(event, "sale_from_us") > 0 ? cat_int(event, "sale_from_us") : 1;
	if (status == USH_EVENT_STATUS_ON_SALE)
		return until != 0 ? until : cat_int(event, "starts_us");
	return 0;
}

/* Numbers usherd can take are for events that have a plan; others begin behind them. */
static int64_t new_number(struct ush_db_conn *conn, bool sold_here)
{
	int64_t newest = 0;

	if (sold_here)
		ush_db_get(conn,
			"SELECT COALESCE(MAX(event), 0) FROM catalogue_events WHERE event < ?", "i",
			(int64_t)USH_EVENT_ID_MAX + 1, "i", &newest);
	if (!sold_here || newest >= USH_EVENT_ID_MAX) {
		newest = 0;
		ush_db_get(conn, "SELECT COALESCE(MAX(event), 0) FROM catalogue_events", "", "i",
			&newest);
		newest = newest > USH_EVENT_ID_MAX ? newest : USH_EVENT_ID_MAX;
	}
	return newest + 1;
}

static void write_cast(struct ush_db_conn *conn, const json_t *event)
{
	int64_t number = cat_int(event, "event"), performer = 0;
	json_t *name;
	size_t i;

	ush_db_exec(conn, "DELETE FROM catalogue_cast WHERE event = ?", "i", number);
	json_array_foreach(json_object_get(event, "performers"), i, name)
	{
		const char *text = json_string_value(name);
		char *words = cat_words(text, WORDS_BYTES);

		USH_ASSERT(words != NULL);
		ush_db_exec(conn,
			"INSERT INTO catalogue_performers(name, words, image) VALUES(?, ?, '')"
			" ON CONFLICT(name) DO NOTHING",
			"tt", text, words);
		ush_db_get(conn, "SELECT performer FROM catalogue_performers WHERE name = ?", "t",
			text, "i", &performer);
		ush_db_exec(conn,
			"INSERT INTO catalogue_cast(event, position, performer) VALUES(?, ?, ?)",
			"iii", number, (int64_t)i, performer);
		free(words);
	}
}

static void write_row(struct ush_db_conn *conn, const json_t *event)
{
	const char *external = cat_text(event, "external");

#define I(name) cat_int(event, name)
#define T(name) cat_text(event, name)
	ush_db_exec(conn, write_sql,
		"iitittttt"
		"iiiiiiiii"
		"t"
		"iiiiiiiii",
		I("event"), I("promoter"), *external != '\0' ? external : NULL, I("venue"),
		T("name"), T("description"), T("category"), T("image"), T("currency"),
		I("starts_us"), I("ends_us"), I("doors_us"), I("sale_from_us"), I("sale_until_us"),
		I("price_min"), I("price_max"), I("fee_fixed"), I("fee_ppm"), T("plan"),
		I("status"), I("published_us"), I("sale_closed"), I("starts_before_us"),
		I("refund_until_us"), I("together"), I("free"), cat_due(event), ush_core_now_us());
#undef I
#undef T
}

int64_t cat_event_write(struct ush_db_conn *conn, json_t *event)
{
	int64_t status = cat_int(event, "status");
	json_t *venue;

	if (cat_int(event, "event") == 0) {
		json_object_set_new(event, "event",
			json_integer(new_number(conn, *cat_text(event, "plan") != '\0')));
		if (json_object_get(event, "together") == NULL)
			json_object_set_new(event, "together", json_integer(-1));
	} else {
		cat_event_hide(conn, cat_int(event, "event"));
	}
	write_row(conn, event);
	write_cast(conn, event);
	if (cat_int(event, "published_us") != 0 && status != USH_EVENT_STATUS_CANCELLED &&
		status != USH_EVENT_STATUS_COMPLETED) {
		venue = cat_venue_read(conn, cat_int(event, "venue"));
		if (venue != NULL)
			show(conn, event, venue);
		json_decref(venue);
	}
	if (ush_db_error(conn, NULL) != 0)
		return ush_db_error(conn, NULL);
	return cat_int(event, "event");
}
