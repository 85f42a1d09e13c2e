/* SPDX-License-Identifier: Apache-2.0 */
/* What promoters make and change: venues, events, imports. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "catalogue/call.h"
#include "catalogue/routes.h"
#include "people/people.h"

/* Events of one write job of an import: the writer is not held for longer. src: guess. */
#define IMPORT_STEP 200u

static int refuse_fault(struct cat_call *call, const struct cat_fault *fault)
{
	call->more = json_pack("{s:s}", "member", fault->member);
	return cat_call_refuse(call, 422, "invalid", "%s: %s.", fault->member, fault->reason);
}

/* The audit log has who changed what, not to what: names of members alone. */
static void audit(struct cat_call *call, struct ush_db_conn *conn, const char *action,
	const char *kind, int64_t number)
{
	char object[40], text[300] = "";
	const char *name;
	const json_t *value;
	size_t at = 0;

	snprintf(object, sizeof(object), "%s %lld", kind, (long long)number);
	json_object_foreach(call->input, name, value)
	{
		if (strspn(name, "abcdefghijklmnopqrstuvwxyz_") == strlen(name) &&
			at + strlen(name) + 2 < sizeof(text))
			at += (size_t)snprintf(
				text + at, sizeof(text) - at, "%s%s", at > 0 ? " " : "", name);
	}
	ush_people_audit(conn, &call->who, action, object, text);
}

static int venue_create_job(struct ush_db_conn *conn, void *context)
{
	struct cat_call *call = context;
	json_t *venue = json_object(), *stored;
	struct cat_fault fault;
	int64_t number;
	int ret = 0;

	cat_call_reset(call);
	if (!cat_venue_take(venue, call->input, &fault)) {
		ret = refuse_fault(call, &fault);
	} else {
		number = cat_venue_put(conn, venue, (int64_t)call->who.promoter);
		stored = number > 0 ? cat_venue_read(conn, number) : NULL;
		if (stored != NULL)
			call->answer = cat_venue_show(stored);
		call->status = 201;
		json_decref(stored);
		if (number > 0)
			audit(call, conn, "venue.put", "venue", number);
	}
	json_decref(venue);
	return ret;
}

void cat_venue_create_handle(struct ush_http_request *request, void *context)
{
	struct cat_call *call = cat_call_begin(context, request, CAT_ROLES);

	if (call == NULL)
		return;
	call->input = ush_http_json(request);
	cat_call_run(call, USH_DB_WRITE, venue_create_job);
}

/* ---- events ---- */

/* Takes `venue` of an input: a number. */
static int take_venue(struct cat_call *call, struct ush_db_conn *conn, json_t *event, bool fresh)
{
	const json_t *number = json_object_get(call->input, "venue");
	json_t *venue;

	if (number == NULL && !fresh)
		return 0;
	venue = json_is_integer(number) ? cat_venue_read(conn, json_integer_value(number)) : NULL;
	if (venue == NULL) {
		call->more = json_pack("{s:s}", "member", "venue");
		return cat_call_refuse(call, 422, "invalid", "venue: want the number of a venue.");
	}
	json_object_set_new(event, "venue", json_integer(json_integer_value(number)));
	json_decref(venue);
	return 0;
}

/* What a plan says of prices and currency goes over to its event. */
static void follow_plan(struct ush_db_conn *conn, json_t *event)
{
	int64_t low = 0, high = 0;
	char *currency = NULL;

	if (ush_db_get(conn,
		    "SELECT currency, price_min, price_max FROM catalogue_plans WHERE plan = ?",
		    "t", cat_text(event, "plan"), "tii", &currency, &low, &high) == 1) {
		json_object_set_new(event, "currency", json_string(currency));
		json_object_set_new(event, "price_min", json_integer(low));
		json_object_set_new(event, "price_max", json_integer(high));
	}
	free(currency);
}

/* Takes `plan` of an input: a venue file, or the hash of one that is stored. */
static int take_plan(struct cat_call *call, struct ush_db_conn *conn, json_t *event)
{
	const json_t *plan = json_object_get(call->input, "plan");
	struct ush_message message = {""};
	char name[65] = "";
	int64_t there = 0;
	char *source;
	int ret;

	if (plan == NULL)
		return 0;
	if (cat_int(event, "published_us") != 0)
		return cat_call_refuse(call, 409, "event_published",
			"The plan of a published event is changed by `usher event change`.");
	if (json_is_string(plan)) {
		if (ush_db_get(conn, "SELECT 1 FROM catalogue_plans WHERE plan = ?", "t",
			    json_string_value(plan), "i", &there) != 1)
			return cat_call_refuse(call, 422, "invalid", "plan: none has this hash.");
		json_object_set(event, "plan", (json_t *)(uintptr_t)plan);
	} else {
		source = json_dumps(plan, JSON_COMPACT);
		if (source == NULL || !json_is_object(plan)) {
			free(source);
			return cat_call_refuse(
				call, 422, "invalid", "plan: want a venue file, or a hash.");
		}
		ret = cat_plan_put(conn, source, strlen(source), name, &message);
		free(source);
		if (ush_db_error(conn, NULL) != 0)
			return ret;
		if (ret != 0)
			return cat_call_refuse(call, 422, "bad_plan", "%s", message.text);
		json_object_set_new(event, "plan", json_string(name));
	}
	follow_plan(conn, event);
	return 0;
}

/* Stores an event and leaves it as the answer. Takes the reference. */
static int store(struct cat_call *call, struct ush_db_conn *conn, json_t *event, uint32_t status)
{
	int64_t number = cat_event_write(conn, event);
	json_t *stored = number > 0 ? cat_event_read(conn, number) : NULL;

	if (stored != NULL)
		call->answer = cat_event_show(stored, true);
	if (stored != NULL)
		audit(call, conn, status == 201 ? "event.make" : "event.change", "event", number);
	call->status = status;
	json_decref(stored);
	json_decref(event);
	/* Only a promoter's own name for an event can be there already. */
	if (number == -USH_EEXIST)
		return (int)number;
	return 0;
}

static int event_create_job(struct ush_db_conn *conn, void *context)
{
	struct cat_call *call = context;
	const char *external = cat_text(call->input, "external");
	json_t *event = json_object();
	struct cat_fault fault;
	int64_t there = 0;
	int ret = 0;

	cat_call_reset(call);
	json_object_set_new(event, "promoter", json_integer((int64_t)call->who.promoter));
	if (!cat_event_take(event, call->input, true, &fault))
		ret = refuse_fault(call, &fault);
	if (ret == 0)
		ret = take_venue(call, conn, event, true);
	if (ret == 0)
		ret = take_plan(call, conn, event);
	if (ret == 0 && *external != '\0' &&
		ush_db_get(conn,
			"SELECT event FROM catalogue_events WHERE promoter = ? AND external = ?",
			"it", (int64_t)call->who.promoter, external, "i", &there) == 1)
		ret = cat_call_refuse(call, 409, "event_exists", "external: event %lld has it.",
			(long long)there);
	if (ret != 0) {
		json_decref(event);
		return ret;
	}
	return store(call, conn, event, 201);
}

static int event_change_job(struct ush_db_conn *conn, void *context)
{
	struct cat_call *call = context;
	struct cat_fault fault;
	json_t *event;
	int ret = 0;

	cat_call_reset(call);
	event = cat_call_event(call, conn);
	if (event == NULL)
		return -USH_EINVAL;
	if (json_object_get(call->input, "currency") != NULL && *cat_text(event, "plan") != '\0')
		ret = cat_call_refuse(call, 409, "event_planned", "currency: its plan says it.");
	else if (!cat_event_take(event, call->input, false, &fault))
		ret = refuse_fault(call, &fault);
	if (ret == 0)
		ret = take_venue(call, conn, event, false);
	if (ret == 0)
		ret = take_plan(call, conn, event);
	/* A window that moved may open again. */
	if (json_object_get(call->input, "sale_until") != NULL &&
		cat_int(event, "sale_until_us") > ush_core_now_us())
		json_object_set_new(event, "sale_closed", json_integer(0));
	if (ret != 0) {
		json_decref(event);
		return ret;
	}
	return store(call, conn, event, 200);
}

static void begin(struct ush_http_request *request, void *context, bool numbered, ush_db_job *job)
{
	struct cat_call *call;
	uint64_t number = 0;

	if (numbered && !ush_http_param_number(request, "event", UINT32_MAX, &number))
		return;
	call = cat_call_begin(context, request, CAT_ROLES);
	if (call == NULL)
		return;
	call->number = (int64_t)number;
	call->input = ush_http_json(request);
	cat_call_run(call, USH_DB_WRITE, job);
}

void cat_event_create_handle(struct ush_http_request *request, void *context)
{
	begin(request, context, false, event_create_job);
}

void cat_event_change_handle(struct ush_http_request *request, void *context)
{
	begin(request, context, true, event_change_job);
}

/* ---- imports ---- */

/* Puts what is stored of an event under what an import says of it. */
static json_t *merged(struct ush_db_conn *conn, int64_t promoter, const json_t *imported)
{
	json_t *event = NULL;
	int64_t there = 0;

	if (ush_db_get(conn,
		    "SELECT event FROM catalogue_events WHERE promoter = ? AND external = ?", "it",
		    promoter, cat_text(imported, "external"), "i", &there) == 1)
		event = cat_event_read(conn, there);
	if (event == NULL) {
		event = json_object();
		json_object_set_new(event, "promoter", json_integer(promoter));
	}
	json_object_update(event, (json_t *)(uintptr_t)imported);
	return event;
}

/* Stores the next events. What is counted is of this run alone. */
static int import_job(struct ush_db_conn *conn, void *context)
{
	struct cat_call *call = context;
	const json_t *events = json_object_get(call->input, "events");
	int64_t promoter = (int64_t)call->who.promoter;
	size_t end = call->at + IMPORT_STEP;

	for (size_t i = call->at; i < end && i < json_array_size(events); i++) {
		const json_t *imported = json_array_get(events, i);
		json_t *event = merged(conn, promoter, imported);
		const json_t *venue = json_object_get(imported, "venue_put");

		json_object_set_new(
			event, "venue", json_integer(cat_venue_put(conn, venue, promoter)));
		if (*cat_text(event, "plan") != '\0')
			follow_plan(conn, event);
		/* What is not sold here is a listing: seen at once if that was asked for. */
		else if (call->prefix && cat_int(event, "published_us") == 0) {
			json_object_set_new(event, "published_us", json_integer(ush_core_now_us()));
			json_object_set_new(event, "status", json_integer(USH_EVENT_STATUS_DRAFT));
		}
		cat_event_write(conn, event);
		json_decref(event);
		if (ush_db_error(conn, NULL) != 0)
			break;
	}
	if (end >= json_array_size(events) && ush_db_error(conn, NULL) == 0) {
		char text[40];

		snprintf(text, sizeof(text), "%zu events", json_array_size(events));
		ush_people_audit(conn, &call->who, "events.import", "", text);
	}
	return 0;
}

static void import_done(void *context, int result)
{
	struct cat_call *call = context;
	size_t count = json_array_size(json_object_get(call->input, "events"));

	call->at += IMPORT_STEP;
	if (result == 0 && call->at < count) {
		ush_db_run(call->catalogue->core->db, USH_DB_WRITE, import_job, import_done, call);
		return;
	}
	call->status = 200;
	call->answer = json_pack("{s:I, s:[]}", "events", (json_int_t)count, "errors");
	cat_call_done(call, result);
}

void cat_import_handle(struct ush_http_request *request, void *context)
{
	const char *type = ush_http_header(request, "Content-Type");
	const char *publish = ush_http_query(request, "publish");
	bool csv = type != NULL && strncmp(type, "text/csv", 8) == 0;
	struct cat_call *call;
	size_t bytes;
	const char *body = ush_http_body(request, &bytes);

	if (!csv && (type == NULL || strncmp(type, "application/json", 16) != 0)) {
		ush_http_problem(request, 415, "unsupported_media_type", NULL,
			"Content-Type: want text/csv or application/json.");
		return;
	}
	call = cat_call_begin(context, request, CAT_ROLES);
	if (call == NULL)
		return;
	call->input = cat_import_read(body != NULL ? body : "", bytes, csv);
	call->own_input = true;
	call->prefix = publish != NULL && strcmp(publish, "1") == 0;
	if (json_array_size(json_object_get(call->input, "errors")) > 0) {
		call->more = json_pack("{s:O}", "errors", json_object_get(call->input, "errors"));
		cat_call_refuse(call, 422, "import_errors", "Nothing was imported: see errors.");
		cat_call_done(call, -USH_EINVAL);
		return;
	}
	ush_db_run(call->catalogue->core->db, USH_DB_WRITE, import_job, import_done, call);
}
