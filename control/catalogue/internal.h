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
/* Stores an event and what search knows of it. A new one has event 0 and gets its number. */
int64_t cat_event_write(struct ush_db_conn *conn, json_t *event);
/* ret: the number of a venue (by its promoter, name and city); made if there is none; negative. */
int64_t cat_venue_put(struct ush_db_conn *conn, const json_t *venue, int64_t promoter);
json_t *cat_venue_read(struct ush_db_conn *conn, int64_t venue);
/* Stores a venue file by its hash, compiled. ret: 0; -USH_EPARSE with a message, negative. */
int cat_plan_put(struct ush_db_conn *conn, const char *source, size_t bytes, char plan[65],
	struct ush_message *message);

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

/* ---- search.c ---- */

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
