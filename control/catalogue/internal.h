/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the catalogue share.
 *
 * Owns:  nothing.
 * Reads: nothing.
 * Never: included from elsewhere.
 *
 * Inside, an event is a JSON object whose members are the columns of table catalogue_events, plus
 * `performers` (names); times are numbers of microseconds. The API's form is made and read at the
 * edge (event_form.c).
 */
#ifndef USH_CATALOGUE_INTERNAL_H
#define USH_CATALOGUE_INTERNAL_H

#include <jansson.h>

#include "catalogue/catalogue.h"
#include "people/people.h"
#include "wire/wire.h"

#define CAT_TEXT_MAX 4000u
#define CAT_PERFORMER_COUNT_MAX 50u
#define CAT_PAGE_MAX 100u
#define CAT_HITS_MAX 5000u
/* How long a sale whose end is not said goes on: until it starts. A search shows events until this
 * long after they began: 6 h. */
#define CAT_SHOWN_AFTER_US (6ll * 3600 * 1000000)

struct ush_catalogue {
	const struct ush_core *core;
	struct event *tick;
	struct tick_look *look; /* at what is due; NULL: none under way */
	uint32_t ticks;
};

/* ---- times.c ---- */

/* Reads RFC 3339. ret: whether it is one, between the years 1970 and 9999. */
bool cat_time_parse(const char *text, int64_t *us);
/* Writes it in UTC, seconds. */
void cat_time_print(int64_t us, char text[24]);

/* ---- words.c ---- */

/* Lower case, Latin letters without their marks, words with one blank between (malloced). NULL: no
 * memory. most: bytes of the result, at a word's end. */
char *cat_words(const char *text, size_t most);
/* A word that stands for a whole city ("c"), category ("k"), venue ("v") or performer ("p"): it
 * narrows a search within the index. */
#define CAT_TAG_BYTES 24u
#define CAT_TAG_COUNT_MAX 4u
void cat_tag(char kind, const char *words, char tag[CAT_TAG_BYTES]);
/* The query of a full-text search: all words, the last one as a prefix if `prefix`, and all tags
 * (malloced; "": nothing to look for; NULL: no memory). words may be NULL. */
char *cat_match(bool postgres, const char *words, bool prefix, const char (*tags)[CAT_TAG_BYTES],
	uint32_t tag_count);

/* ---- store.c: within jobs ---- */

json_t *cat_event_read(struct ush_db_conn *conn, int64_t event);
/* Several at once. out: each an event or NULL, the caller's. */
void cat_events_read(struct ush_db_conn *conn, const int64_t *events, uint32_t count, json_t **out);
/* Stores an event and what search knows of it. A new one has event 0 and gets its number. */
int64_t cat_event_write(struct ush_db_conn *conn, json_t *event);
/* ret: the number of a venue (by its promoter, name and city); made if there is none; negative. */
int64_t cat_venue_put(struct ush_db_conn *conn, const json_t *venue, int64_t promoter);
json_t *cat_venue_read(struct ush_db_conn *conn, int64_t venue);
/* Stores a venue file by its hash, compiled. ret: 0; -USH_EPARSE with a message, negative. */
int cat_plan_put(struct ush_db_conn *conn, const char *source, size_t bytes, char plan[65],
	struct ush_message *message);

/* PostgreSQL keeps what search looks at in this many tables, one after another for each period of
 * starting times (minutes), so that a search by words reads the nearest time first: see schema.c.
 */
#define CAT_SLOT_COUNT 16u
#define CAT_PERIOD_MIN 43200
/* Where a time stands among the keys of catalogue_hits: an event's key is that plus its number. The
 * key has room for minutes up to the year 6053: what is later is in the last one. */
#define CAT_KEY_LAST ((int64_t)INT32_MAX << 32)
int64_t cat_key_of(int64_t us);
/* Takes an event out of the search. */
void cat_event_hide(struct ush_db_conn *conn, int64_t event);
/* ret: 0, and the longest run of seats side by side and all seats of a plan that are on sale. */
int cat_plan_seats(const void *image, size_t bytes, int64_t *together, int64_t *free_seats);
/* A request to usherd about an event. */
void cat_request_init(struct ush_request *request, enum ush_op op, int64_t event);
/* When the clock has something to do for an event next; 0: never. */
int64_t cat_due(const json_t *event);

/* Members of an object that are surely there. */
int64_t cat_int(const json_t *object, const char *name);
const char *cat_text(const json_t *object, const char *name);

/* ---- event_form.c ---- */

/* What is wrong with an input: which member, and why. */
struct cat_fault {
	char member[32];
	char reason[200];
};
/* Takes members of the API's form over into an event. fresh: those that must be there are asked
 * for. ret: false and *fault. */
bool cat_event_take(json_t *event, const json_t *input, bool fresh, struct cat_fault *fault);
bool cat_venue_take(json_t *venue, const json_t *input, struct cat_fault *fault);
/* The API's form of an event, of a venue. */
json_t *cat_event_show(const json_t *event, bool inside);
json_t *cat_venue_show(const json_t *venue);

/* ---- search.c, hits.c, facets.c ---- */

enum cat_sort {
	CAT_BY_DATE,
	CAT_BY_RELEVANCE,
	CAT_BY_PRICE,
	CAT_BY_PRICE_DOWN
};

struct cat_search {
	char *words; /* as cat_words() makes them; NULL: none */
	bool prefix; /* the last word goes on */
	char tags[CAT_TAG_COUNT_MAX][CAT_TAG_BYTES];
	uint32_t tag_count;
	int64_t from_us, to_us;       /* when it starts, whole minutes; to_us 0: for ever */
	int64_t price_min, price_max; /* -1: any */
	int64_t together;             /* 0: any */
	enum cat_sort sort;
	bool facets;
	uint32_t limit;
	/* Where to go on: see search.c. */
	bool after_set;
	int64_t after_chunk, after_value, after_key;
};
/* Runs a search. ret: an object as the API gives it; NULL: an error of the job. */
json_t *cat_search_run(struct ush_db_conn *conn, const struct cat_search *search);
/* ret: whether the text is a cursor. */
bool cat_cursor_parse(const char *text, struct cat_search *search);

/* Where a pass reads: keys, and the table that has them (PostgreSQL). */
#define CAT_ALL_SLOTS UINT32_MAX
struct cat_range {
	int64_t from, to;
	uint32_t slot;
};
/* What a pass sees of an event, as far as the search needs it. Texts live until the next one. */
struct cat_hit {
	int64_t key, event, price_min, price_max, month;
	int64_t together; /* PostgreSQL: if it is asked for */
	const char *category, *city;
	const char *name, *people, *place; /* words; by relevance only */
};
struct cat_hits {
	bool postgres;
	bool texts, facts;        /* what is wanted of each */
	struct ush_db_rows *rows; /* SQLite */
	/* PostgreSQL: all lines, taken apart. */
	char *text;
	struct cat_line *lines;
	int64_t count, at;
	bool loose, together;
};
/* The soonest `most` hits of a range: by date in their order, otherwise in any. match: as
 * cat_match() makes it. */
void cat_hits_begin(struct cat_hits *hits, struct ush_db_conn *conn,
	const struct cat_search *search, const char *match, const struct cat_range *range,
	int64_t most);
bool cat_hits_next(struct cat_hits *hits, struct cat_hit *hit);
/* Always, also after an error. */
void cat_hits_end(struct cat_hits *hits);
/* PostgreSQL, before the first hits of a job: makes a range as narrow as what is stored, and sets
 * how statements are planned. ret: whether there is anything. */
bool cat_hits_bounds(struct ush_db_conn *conn, struct cat_range *range);

/* Counts of categories, cities and months, and the prices from lowest to highest. */
struct cat_facets;
struct cat_facets *cat_facets_new(void);
void cat_facets_count(struct cat_facets *facets, const struct cat_hit *hit);
/* ret: as the API gives them: the 50 values that most hits have. */
json_t *cat_facets_show(struct cat_facets *facets);
void cat_facets_free(struct cat_facets *facets);

/* ---- csv.c ---- */

/* One record of a CSV text as an array of strings; see csv.c. ret: 1; 0: the end; -1: *fault. */
struct cat_csv {
	const char *at, *end;
	uint32_t line; /* of the record last read */
	uint32_t next_line;
};
void cat_csv_init(struct cat_csv *csv, const char *text, size_t bytes);
int cat_csv_next(struct cat_csv *csv, json_t **fields, struct cat_fault *fault);

/* ---- import_read.c ---- */

/* Reads an import and checks all of it. ret: {"events": [...], "errors": [...]}; each event has the
 * API's members and `line`. */
json_t *cat_import_read(const char *text, size_t bytes, bool csv);

#endif /* USH_CATALOGUE_INTERNAL_H */
