/* SPDX-License-Identifier: Apache-2.0 */
/* What everybody may look at: events, search, venues, performers. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "catalogue/call.h"
#include "catalogue/routes.h"

/* A number of the query string. ret: false after it has answered. */
static bool query_number(
	struct ush_http_request *request, const char *name, int64_t most, int64_t *value)
{
	const char *text = ush_http_query(request, name);

	if (text == NULL)
		return true;
	if (*text == '\0' || strlen(text) > 12 || strspn(text, "0123456789") != strlen(text) ||
		strtoll(text, NULL, 10) > most) {
		ush_http_problem(request, 400, "bad_query", NULL, "%s: want a number up to %lld.",
			name, (long long)most);
		return false;
	}
	*value = strtoll(text, NULL, 10);
	return true;
}

static bool query_time(struct ush_http_request *request, const char *name, int64_t *value)
{
	const char *text = ush_http_query(request, name);

	if (text == NULL || cat_time_parse(text, value))
		return true;
	ush_http_problem(request, 400, "bad_query", NULL,
		"%s: want a time as 2027-05-01T00:00:00Z (a + is written %%2B).", name);
	return false;
}

static void query_tag(struct cat_call *call, const char *name, char kind)
{
	const char *text = ush_http_query(call->request, name);
	char *words = text != NULL ? cat_words(text, 600) : NULL;

	if (words != NULL)
		cat_tag(kind, words, call->search.tags[call->search.tag_count++]);
	free(words);
}

static bool query_sort(struct cat_call *call, enum cat_sort otherwise)
{
	static const char *const names[] = {"date", "relevance", "price", "-price"};
	const char *text = ush_http_query(call->request, "sort");

	call->search.sort = otherwise;
	if (text == NULL)
		return true;
	for (int i = 0; i < 4; i++) {
		if (strcmp(text, names[i]) == 0) {
			call->search.sort = (enum cat_sort)i;
			return true;
		}
	}
	ush_http_problem(call->request, 400, "bad_query", NULL,
		"sort: want date, relevance, price or -price.");
	return false;
}

/* Reads the whole query string. ret: false after it has answered. */
static bool query_all(struct cat_call *call, bool search)
{
	struct ush_http_request *request = call->request;
	const char *words = ush_http_query(request, "q"), *after = ush_http_query(request, "after");
	int64_t limit = 20, facets = 0;

	call->search.from_us = ush_core_now_us() - CAT_SHOWN_AFTER_US;
	call->search.price_min = -1;
	call->search.price_max = -1;
	if (words != NULL) {
		call->words = cat_words(words, 200);
		call->search.words = call->words;
		call->search.prefix = *words != '\0' && words[strlen(words) - 1] != ' ';
	}
	query_tag(call, "city", 'c');
	query_tag(call, "category", 'k');
	query_tag(call, "venue", 'v');
	query_tag(call, "performer", 'p');
	if (!query_time(request, "from", &call->search.from_us) ||
		!query_time(request, "to", &call->search.to_us) ||
		!query_number(request, "price_min", INT32_MAX, &call->search.price_min) ||
		!query_number(request, "price_max", INT32_MAX, &call->search.price_max) ||
		!query_number(request, "together", 64, &call->search.together) ||
		!query_number(request, "limit", CAT_PAGE_MAX, &limit) ||
		!query_number(request, "facets", 1, &facets) ||
		!query_sort(call, search && words != NULL ? CAT_BY_RELEVANCE : CAT_BY_DATE))
		return false;
	if (after != NULL && !cat_cursor_parse(after, &call->search)) {
		ush_http_problem(request, 400, "bad_query", NULL,
			"after: want what an earlier answer gave as `next`.");
		return false;
	}
	call->search.limit = limit > 0 ? (uint32_t)limit : 1;
	call->search.facets = facets == 1;
	return true;
}

static int search_job(struct ush_db_conn *conn, void *context)
{
	struct cat_call *call = context;

	cat_call_reset(call);
	call->status = 200;
	call->answer = cat_search_run(conn, &call->search);
	return 0;
}

static void begin_search(struct ush_http_request *request, void *context, bool search)
{
	struct cat_call *call = cat_call_begin(context, request, 0);

	if (!query_all(call, search)) {
		free(call->words);
		free(call);
		return;
	}
	ush_http_set(request, "Cache-Control", "public, max-age=2");
	cat_call_run(call, USH_DB_READ, search_job);
}

void cat_events_handle(struct ush_http_request *request, void *context)
{
	begin_search(request, context, false);
}

void cat_search_handle(struct ush_http_request *request, void *context)
{
	begin_search(request, context, true);
}

static int event_job(struct ush_db_conn *conn, void *context)
{
	struct cat_call *call = context;
	json_t *event;
	bool inside;

	cat_call_reset(call);
	event = cat_event_read(conn, call->number);
	inside = call->known && event != NULL &&
		 (call->who.role == USH_ROLE_OPERATOR ||
			 (call->who.promoter != 0 &&
				 (uint64_t)cat_int(event, "promoter") == call->who.promoter));
	if (event == NULL || (cat_int(event, "published_us") == 0 && !inside)) {
		json_decref(event);
		return cat_call_refuse(
			call, 404, "not_found", "There is no event %lld.", (long long)call->number);
	}
	call->status = 200;
	call->answer = cat_event_show(event, inside);
	json_decref(event);
	return 0;
}

/* Begins a call about the number in the path. ret: NULL after it has answered. */
static struct cat_call *begin_number(
	struct ush_http_request *request, void *context, const char *name, uint32_t roles)
{
	struct cat_call *call;
	uint64_t number;

	if (!ush_http_param_number(request, name, UINT32_MAX, &number))
		return NULL;
	call = cat_call_begin(context, request, roles);
	if (call != NULL)
		call->number = (int64_t)number;
	return call;
}

void cat_event_handle(struct ush_http_request *request, void *context)
{
	struct cat_call *call = begin_number(request, context, "event", 0);

	if (call != NULL)
		cat_call_run(call, USH_DB_READ, event_job);
}

/* ---- venues, performers ---- */

/* Ends a list that was asked for with one row more than it gives. */
static void end_list(struct cat_call *call, json_t *items, const char *key)
{
	json_t *next = json_null();

	if (json_array_size(items) > CAT_PAGE_MAX) {
		char text[24];

		json_array_remove(items, CAT_PAGE_MAX);
		snprintf(text, sizeof(text), "%lld",
			(long long)cat_int(json_array_get(items, CAT_PAGE_MAX - 1), key));
		next = json_string(text);
	}
	call->status = 200;
	call->answer = json_pack("{s:o, s:o}", "items", items, "next", next);
}

static int venues_job(struct ush_db_conn *conn, void *context)
{
	struct cat_call *call = context;
	json_t *items = json_array();
	struct ush_db_rows *rows;

	cat_call_reset(call);
	rows = ush_db_query(conn,
		"SELECT venue FROM catalogue_venues WHERE venue > ? ORDER BY venue LIMIT ?", "ii",
		call->number, (int64_t)CAT_PAGE_MAX + 1);
	while (ush_db_next(rows)) {
		json_t *venue = cat_venue_read(conn, ush_db_int(rows, 0));

		if (venue != NULL)
			json_array_append_new(items, cat_venue_show(venue));
		json_decref(venue);
	}
	end_list(call, items, "venue");
	return 0;
}

static int venue_job(struct ush_db_conn *conn, void *context)
{
	struct cat_call *call = context;
	json_t *venue;

	cat_call_reset(call);
	venue = cat_venue_read(conn, call->number);
	if (venue == NULL)
		return cat_call_refuse(
			call, 404, "not_found", "There is no venue %lld.", (long long)call->number);
	call->status = 200;
	call->answer = cat_venue_show(venue);
	json_decref(venue);
	return 0;
}

/* Words that begin with what is asked, by name. */
static int performers_job(struct ush_db_conn *conn, void *context)
{
	struct cat_call *call = context;
	json_t *items = json_array();
	struct ush_db_rows *rows;
	char like[210];

	cat_call_reset(call);
	/* Words hold neither % nor _. */
	snprintf(like, sizeof(like), "%s%%", call->words != NULL ? call->words : "");
	rows = ush_db_query(conn,
		"SELECT performer, name FROM catalogue_performers WHERE performer > ? AND"
		" words LIKE ? ORDER BY performer LIMIT ?",
		"iti", call->number, like, (int64_t)CAT_PAGE_MAX + 1);
	while (ush_db_next(rows))
		json_array_append_new(
			items, json_pack("{s:I, s:s}", "performer", ush_db_int(rows, 0), "name",
				       ush_db_text(rows, 1)));
	end_list(call, items, "performer");
	return 0;
}

static void begin_list(struct ush_http_request *request, void *context, ush_db_job *job)
{
	const char *words = ush_http_query(request, "q");
	int64_t after = 0;
	struct cat_call *call;

	if (!query_number(request, "after", UINT32_MAX, &after))
		return;
	call = cat_call_begin(context, request, 0);
	call->number = after;
	call->words = words != NULL ? cat_words(words, 200) : NULL;
	ush_http_set(request, "Cache-Control", "public, max-age=10");
	cat_call_run(call, USH_DB_READ, job);
}

void cat_venues_handle(struct ush_http_request *request, void *context)
{
	begin_list(request, context, venues_job);
}

void cat_performers_handle(struct ush_http_request *request, void *context)
{
	begin_list(request, context, performers_job);
}

void cat_venue_handle(struct ush_http_request *request, void *context)
{
	struct cat_call *call = begin_number(request, context, "venue", 0);

	if (call != NULL)
		cat_call_run(call, USH_DB_READ, venue_job);
}
