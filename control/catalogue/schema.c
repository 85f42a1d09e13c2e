/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The catalogue's tables. A step that was released never changes: add one.
 *
 * catalogue_hits is what a search looks at: one row for each published event, in the order of
 * starting (its key is the minute of the start, shifted by 32 bits, plus the event's number). The
 * words of it are in a full-text index: FTS5 over catalogue_texts, or a tsvector column with GIN.
 * The texts stand apart so that the rows a search reads are short: 100,000 of them fit in memory.
 *
 * GIN gives the rows of a word in no order, so with one table PostgreSQL reads all of a common word
 * to find the soonest 5,000. There are CAT_SLOT_COUNT tables instead, each with an index of its
 * own, for periods of 30 days in turn; a search goes from period to period (search.c). The index
 * has no list of pending rows, which every search would read; the words are without positions. What
 * is sent for a hit is stored as it is sent: see hits.c. A search looks at hits all over a table
 * but never at their words, only at their index; so these are kept apart, and a page has 38 hits
 * instead of 12. PostgreSQL does so with what is in a row of more than 2 kB: `pad` makes it that,
 * and shrinks to 35 bytes.
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

static_assert(CAT_SLOT_COUNT == 16 && CAT_PERIOD_MIN == 43200, "as the tables below");
#define SLOT(n) \
	"CREATE TABLE catalogue_hits_" #n " PARTITION OF catalogue_hits FOR VALUES IN (" #n ");" \
	"CREATE UNIQUE INDEX catalogue_hits_" #n "_by_key ON catalogue_hits_" #n "(key);" \
	"CREATE UNIQUE INDEX catalogue_hits_" #n "_by_event ON catalogue_hits_" #n "(event);" \
	"CREATE INDEX catalogue_hits_" #n "_by_words ON catalogue_hits_" #n \
	" USING gin(words) WITH (fastupdate = off);"
#define SLOTS \
	"ALTER TABLE catalogue_hits RENAME TO catalogue_hits_whole;" \
	"CREATE TABLE catalogue_hits(key BIGINT NOT NULL, event BIGINT NOT NULL," \
	" category TEXT NOT NULL, city TEXT NOT NULL, price_min BIGINT NOT NULL," \
	" price_max BIGINT NOT NULL, together BIGINT NOT NULL, month BIGINT NOT NULL," \
	" name_words TEXT NOT NULL, people_words TEXT NOT NULL, place_words TEXT NOT NULL," \
	" words tsvector NOT NULL) PARTITION BY LIST (((key >> 32) / 43200 % 16));" SLOT(0) SLOT( \
		1) SLOT(2) SLOT(3) SLOT(4) SLOT(5) SLOT(6) SLOT(7) SLOT(8) SLOT(9) SLOT(10) \
		SLOT(11) SLOT(12) SLOT(13) SLOT(14) SLOT( \
			15) "INSERT INTO catalogue_hits SELECT key, event, category, city, price_min," \
			    " price_max, together, month, name_words, people_words, place_words," \
			    " strip(words) FROM catalogue_hits_whole;" \
			    "DROP TABLE catalogue_hits_whole;"

#define LINE_SLOT(n) \
	"CREATE TABLE catalogue_hits_" #n " PARTITION OF catalogue_hits FOR VALUES IN (" #n ");"
#define LINE_INDEX(n) \
	"CREATE UNIQUE INDEX catalogue_hits_" #n "_by_key ON catalogue_hits_" #n \
	"(key) INCLUDE (facts);" \
	"CREATE UNIQUE INDEX catalogue_hits_" #n "_by_event ON catalogue_hits_" #n "(event);" \
	"CREATE INDEX catalogue_hits_" #n "_by_words ON catalogue_hits_" #n \
	" USING gin(words) WITH (fastupdate = off);"
#define EACH(what) \
	what(0) what(1) what(2) what(3) what(4) what(5) what(6) what(7) what(8) what(9) what(10) \
		what(11) what(12) what(13) what(14) what(15)
/* Without time zones and the like: a number's text is the same everywhere. chr(9): a tab. */
#define LINES \
	"CREATE TABLE catalogue_hits_moved AS SELECT key, event, together, key || chr(9) ||" \
	" category || chr(9) || city || chr(9) || price_min || chr(9) || price_max || chr(9) ||" \
	" month AS facts, key || chr(9) || name_words || chr(9) || people_words || chr(9) ||" \
	" place_words AS texts, words FROM catalogue_hits;" \
	"DROP TABLE catalogue_hits;" \
	"CREATE TABLE catalogue_hits(key BIGINT NOT NULL, event BIGINT NOT NULL," \
	" together BIGINT NOT NULL, facts TEXT NOT NULL, texts TEXT NOT NULL," \
	" words tsvector NOT NULL) PARTITION BY LIST (((key >> 32) / 43200 % 16));" EACH( \
		LINE_SLOT) "INSERT INTO catalogue_hits SELECT key, event, together, facts, texts," \
			   " words FROM catalogue_hits_moved ORDER BY key;" EACH( \
				   LINE_INDEX) "DROP TABLE catalogue_hits_moved;"

#define NARROW_SLOT(n) \
	"CREATE TABLE catalogue_hits_" #n " PARTITION OF catalogue_hits FOR VALUES IN (" #n ")" \
	" WITH (toast_tuple_target = 128);"
#define NARROW \
	"CREATE TABLE catalogue_hits_moved AS SELECT key, event, together, facts, texts, words" \
	" FROM catalogue_hits;" \
	"DROP TABLE catalogue_hits;" \
	"CREATE TABLE catalogue_hits(key BIGINT NOT NULL, event BIGINT NOT NULL," \
	" together BIGINT NOT NULL, facts TEXT NOT NULL, texts TEXT NOT NULL," \
	" words tsvector NOT NULL, pad TEXT NOT NULL DEFAULT repeat('x', 2048))" \
	" PARTITION BY LIST (((key >> 32) / 43200 % 16));" \
	"ALTER TABLE catalogue_hits ALTER facts SET STORAGE PLAIN, ALTER texts SET STORAGE PLAIN," \
	" ALTER words SET STORAGE EXTERNAL, ALTER pad SET STORAGE MAIN;" EACH( \
		NARROW_SLOT) "INSERT INTO catalogue_hits SELECT key, event, together, facts," \
			     " texts, words FROM catalogue_hits_moved ORDER BY key;" EACH( \
				     LINE_INDEX) "DROP TABLE catalogue_hits_moved;"

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
	/* Nothing to do for SQLite, whose index gives rows in their order. */
	{"catalogue", 4, "SELECT 1;", SLOTS},
	{"catalogue", 5, "SELECT 1;", LINES},
	{"catalogue", 6, "SELECT 1;", NARROW},
	{NULL, 0, NULL, NULL},
};
