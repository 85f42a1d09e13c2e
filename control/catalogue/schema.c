/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The catalogue's tables. A step that was released never changes: add one.
 *
 * catalogue_hits is what a search looks at: one row for each published event, in the order of
 * starting (its key is the minute of the start, shifted by 32 bits, plus the event's number). The
 * words of it are in a full-text index: FTS5 over catalogue_texts, or a tsvector column with GIN.
 * The texts stand apart so that the rows a search reads are short: 100,000 of them fit in memory.
 */
#include "catalogue/internal.h"

#define EVENTS \
	"CREATE TABLE catalogue_venues(venue INTEGER PRIMARY KEY, promoter INTEGER NOT NULL," \
	" name TEXT NOT NULL, city TEXT NOT NULL, country TEXT NOT NULL, address TEXT NOT NULL," \
	" timezone TEXT NOT NULL, image TEXT NOT NULL, changed_us INTEGER NOT NULL," \
	" UNIQUE(promoter, name, city));" \
	"CREATE TABLE catalogue_performers(performer INTEGER PRIMARY KEY," \
	" name TEXT NOT NULL UNIQUE, words TEXT NOT NULL, image TEXT NOT NULL);" \
	"CREATE TABLE catalogue_plans(plan TEXT NOT NULL PRIMARY KEY, source BLOB NOT NULL," \
	" image BLOB NOT NULL, seats INTEGER NOT NULL, currency TEXT NOT NULL," \
	" price_min INTEGER NOT NULL, price_max INTEGER NOT NULL, stored_us INTEGER NOT NULL);" \
	"CREATE TABLE catalogue_events(event INTEGER NOT NULL PRIMARY KEY," \
	" promoter INTEGER NOT NULL, external TEXT, venue INTEGER NOT NULL," \
	" name TEXT NOT NULL, description TEXT NOT NULL, category TEXT NOT NULL," \
	" image TEXT NOT NULL, currency TEXT NOT NULL, starts_us INTEGER NOT NULL," \
	" ends_us INTEGER NOT NULL, doors_us INTEGER NOT NULL, sale_from_us INTEGER NOT NULL," \
	" sale_until_us INTEGER NOT NULL, price_min INTEGER NOT NULL," \
	" price_max INTEGER NOT NULL, fee_fixed INTEGER NOT NULL, fee_ppm INTEGER NOT NULL," \
	" plan TEXT NOT NULL, status INTEGER NOT NULL, published_us INTEGER NOT NULL," \
	" sale_closed INTEGER NOT NULL, starts_before_us INTEGER NOT NULL," \
	" refund_until_us INTEGER NOT NULL, together INTEGER NOT NULL, free INTEGER NOT NULL," \
	" due_us INTEGER NOT NULL, changed_us INTEGER NOT NULL, UNIQUE(promoter, external));" \
	"CREATE INDEX catalogue_events_due ON catalogue_events(due_us) WHERE due_us > 0;" \
	"CREATE INDEX catalogue_events_venue ON catalogue_events(venue);" \
	"CREATE INDEX catalogue_events_plan ON catalogue_events(plan);" \
	"CREATE TABLE catalogue_cast(event INTEGER NOT NULL, position INTEGER NOT NULL," \
	" performer INTEGER NOT NULL, PRIMARY KEY(event, position));" \
	"CREATE INDEX catalogue_cast_performer ON catalogue_cast(performer);"

#define HITS \
	"CREATE TABLE catalogue_hits(key INTEGER NOT NULL PRIMARY KEY," \
	" event INTEGER NOT NULL UNIQUE, category TEXT NOT NULL, city TEXT NOT NULL," \
	" price_min INTEGER NOT NULL, price_max INTEGER NOT NULL, together INTEGER NOT NULL," \
	" month INTEGER NOT NULL, name_words TEXT NOT NULL, people_words TEXT NOT NULL," \
	" place_words TEXT NOT NULL);"

const struct ush_db_step ush_catalogue_schema[] = {
	{"catalogue", 1, EVENTS, NULL},
	{"catalogue", 2, HITS, NULL},
	{"catalogue", 3,
		"CREATE TABLE catalogue_texts(key INTEGER NOT NULL PRIMARY KEY,"
		" name_words TEXT NOT NULL, people_words TEXT NOT NULL, place_words TEXT NOT NULL,"
		" tags TEXT NOT NULL, more_words TEXT NOT NULL);"
		"CREATE VIRTUAL TABLE catalogue_words USING fts5(name_words, people_words,"
		" place_words, tags, more_words, content='catalogue_texts', content_rowid='key',"
		" tokenize='unicode61 remove_diacritics 0', prefix='2 3');",
		"ALTER TABLE catalogue_hits ADD COLUMN words tsvector NOT NULL;"
		"CREATE INDEX catalogue_hits_words ON catalogue_hits USING gin(words);"},
	{NULL, 0, NULL, NULL},
};
