/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Publishing and the status of events: usherd first, then our tables.
 *
 * Publish: read event and plan; EVENT_LOAD with the image; EVENT_STATUS if the sale is open by now;
 * then a write job stores what holds. Status: EVENT_STATUS, then the write job. Each step may be
 * repeated: usherd answers a repeated load of the same image and a status that is set already
 * with OK. An end between them (kill -9) leaves usherd ahead of us: asked again, it goes on.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "catalogue/call.h"
#include "catalogue/routes.h"
#include "link/link.h"

/* Loading validates the image and waits for the disk. */
#define CALL_MS 30000u

void cat_request_init(struct ush_request *request, enum ush_op op, int64_t event)
{
	memset(request, 0, sizeof(*request));
	request->magic = USH_REQUEST_MAGIC;
	request->version = USH_VERSION;
	request->op = (uint8_t)op;
	request->size = sizeof(*request);
	request->event = (uint32_t)event;
}

/* Copies the text that a reply may carry. */
static void text_of(const struct ush_reply *reply, size_t bytes, char *text, size_t size)
{
	const uint8_t *at = (const uint8_t *)reply + sizeof(*reply),
		      *end = (const uint8_t *)reply + bytes;
	struct ush_extension_header header;

	text[0] = '\0';
	while ((size_t)(end - at) >= sizeof(header)) {
		memcpy(&header, at, sizeof(header));
		if (header.size < sizeof(header) || header.size > (size_t)(end - at))
			return;
		if (header.type == USH_EXTENSION_TEXT &&
			header.value <= header.size - sizeof(header)) {
			snprintf(text, size, "%.*s", (int)header.value,
				(const char *)at + sizeof(header));
			return;
		}
		at += header.size;
	}
}

/* ---- what is stored at the end ---- */

static void audit(struct cat_call *call, struct ush_db_conn *conn)
{
	char object[40], text[40];

	snprintf(object, sizeof(object), "event %lld", (long long)call->number);
	snprintf(text, sizeof(text), "status %u", call->wanted);
	ush_people_audit(conn, &call->who, call->action, object, text);
}

/* Takes over what the call found out while it asked usherd. */
static void take_over(struct cat_call *call, json_t *event)
{
	int64_t together, seats;

	if (cat_int(event, "published_us") == 0)
		json_object_set_new(event, "published_us", json_integer(ush_core_now_us()));
	json_object_set_new(event, "status", json_integer(call->wanted));
	json_object_set_new(event, "sale_closed", json_integer(0));
	if (call->image != NULL &&
		cat_plan_seats(call->image, call->image_bytes, &together, &seats) == 0 &&
		cat_int(event, "together") < 0) {
		json_object_set_new(event, "together", json_integer(together));
		json_object_set_new(event, "free", json_integer(seats));
	}
}

static int store_job(struct ush_db_conn *conn, void *context)
{
	struct cat_call *call = context;
	json_t *event = cat_event_read(conn, call->number), *stored;

	json_decref(call->answer);
	call->answer = NULL;
	call->status = 200;
	if (event == NULL)
		return cat_call_refuse(call, 404, "not_found", "The event is gone.");
	take_over(call, event);
	cat_event_write(conn, event);
	audit(call, conn);
	stored = cat_event_read(conn, call->number);
	if (stored != NULL)
		call->answer = cat_event_show(stored, true);
	json_decref(stored);
	json_decref(event);
	return 0;
}

/* ---- usherd ---- */

/* ret: true if the reply is OK; otherwise it has answered. */
static bool accepted(struct cat_call *call, int result, const struct ush_reply *reply, size_t bytes)
{
	char text[300];

	if (reply == NULL) {
		ush_http_set(call->request, "Retry-After", "1");
		cat_call_refuse(call, 503, "not_ready",
			"usherd: %s. Ask again: nothing is done twice.", ush_error_text(result));
	} else if (reply->status == USH_STATUS_OK) {
		return true;
	} else if (reply->status == USH_STATUS_WRONG_STATUS) {
		cat_call_refuse(call, 409, "event_state",
			"Its status in usherd is %u, and %u cannot follow that.", reply->detail,
			call->wanted);
	} else {
		text_of(reply, bytes, text, sizeof(text));
		cat_call_refuse(call, 409, "event_refused", "usherd refused it with status %u: %s",
			reply->status, text);
	}
	cat_call_done(call, -USH_EINVAL);
	return false;
}

static void status_done(void *context, int result, const struct ush_reply *reply, size_t bytes)
{
	struct cat_call *call = context;

	if (accepted(call, result, reply, bytes))
		cat_call_run(call, USH_DB_WRITE, store_job);
}

/* ret: false after it has answered: the link is closed, which is the end of the process. */
static bool has_link(struct cat_call *call)
{
	if (call->catalogue->core->link != NULL)
		return true;
	cat_call_done(call, -USH_ESTOPPED);
	return false;
}

static void ask_status(struct cat_call *call)
{
	struct ush_request request;

	if (!has_link(call))
		return;
	cat_request_init(&request, USH_OP_EVENT_STATUS, call->number);
	request.arg = call->wanted;
	ush_link_call(call->catalogue->core->link, &request, -1, CALL_MS, status_done, call);
}

static void load_done(void *context, int result, const struct ush_reply *reply, size_t bytes)
{
	struct cat_call *call = context;

	if (!accepted(call, result, reply, bytes))
		return;
	call->wanted = USH_EVENT_STATUS_DRAFT;
	if (cat_int(call->event, "sale_from_us") > ush_core_now_us()) {
		cat_call_run(call, USH_DB_WRITE, store_job);
		return;
	}
	call->wanted = USH_EVENT_STATUS_ON_SALE;
	ask_status(call);
}

/* ret: a sealed memory file with the image, or -1. */
static int image_file(const struct cat_call *call)
{
	int fd = memfd_create("usher-venue", MFD_CLOEXEC);
	size_t done = 0;

	while (fd >= 0 && done < call->image_bytes) {
		ssize_t count = write(fd, call->image + done, call->image_bytes - done);

		if (count < 0 && errno == EINTR)
			continue;
		if (count <= 0) {
			close(fd);
			return -1;
		}
		done += (size_t)count;
	}
	return fd;
}

static void ask_load(struct cat_call *call)
{
	struct ush_request request;
	int fd;

	if (!has_link(call))
		return;
	fd = image_file(call);
	if (fd < 0) {
		cat_call_done(call, -USH_ESYSTEM);
		return;
	}
	cat_request_init(&request, USH_OP_EVENT_LOAD, call->number);
	ush_link_call(call->catalogue->core->link, &request, fd, CALL_MS, load_done, call);
	close(fd);
}

/* ---- publish ---- */

static int read_job(struct ush_db_conn *conn, void *context)
{
	struct cat_call *call = context;
	const char *plan;

	cat_call_reset(call);
	call->event = cat_call_event(call, conn);
	if (call->event == NULL)
		return -USH_EINVAL;
	plan = cat_text(call->event, "plan");
	if (*plan == '\0')
		return 0;
	if (call->number > USH_EVENT_ID_MAX)
		return cat_call_refuse(call, 409, "event_number",
			"Events that are sold here have numbers up to %u: make a new one with its plan.",
			USH_EVENT_ID_MAX);
	ush_catalogue_plan(conn, plan, &call->image, &call->image_bytes);
	return 0;
}

static void publish_read_done(void *context, int result)
{
	struct cat_call *call = context;

	if (result != 0) {
		cat_call_done(call, result);
	} else if (cat_int(call->event, "published_us") != 0) {
		call->status = 200;
		call->answer = cat_event_show(call->event, true);
		cat_call_done(call, 0);
	} else if (call->image == NULL) {
		/* Sold elsewhere, or not yet: a listing. */
		call->wanted = USH_EVENT_STATUS_DRAFT;
		cat_call_run(call, USH_DB_WRITE, store_job);
	} else {
		call->wanted = USH_EVENT_STATUS_DRAFT;
		ask_load(call);
	}
}

/* ret: a call with its number, or NULL after it has answered. */
static struct cat_call *begin(struct ush_http_request *request, void *context)
{
	struct ush_catalogue *catalogue = context;
	struct cat_call *call;
	uint64_t number;

	if (!ush_http_param_number(request, "event", UINT32_MAX, &number))
		return NULL;
	if (catalogue->core->link == NULL) {
		ush_http_problem(request, 503, "not_ready", NULL, "This is a read replica.");
		return NULL;
	}
	call = cat_call_begin(catalogue, request, CAT_ROLES);
	if (call != NULL) {
		call->number = (int64_t)number;
		call->input = ush_http_json(request);
	}
	return call;
}

void cat_publish_handle(struct ush_http_request *request, void *context)
{
	struct cat_call *call = begin(request, context);

	if (call == NULL)
		return;
	call->action = "event.publish";
	ush_db_run(call->catalogue->core->db, USH_DB_READ, read_job, publish_read_done, call);
}

/* ---- status ---- */

/* Stores the new date of a postponed event. */
static int postpone_job(struct ush_db_conn *conn, void *context)
{
	struct cat_call *call = context;
	int64_t starts = 0, until = 0, before, moved;
	const char *refund = cat_text(call->input, "refund_until");
	json_t *event;

	cat_call_reset(call);
	event = cat_call_event(call, conn);
	if (event == NULL)
		return -USH_EINVAL;
	before = cat_int(event, "starts_us");
	if (!cat_time_parse(cat_text(call->input, "starts"), &starts) || starts == before ||
		(*refund != '\0' && !cat_time_parse(refund, &until))) {
		json_decref(event);
		return cat_call_refuse(call, 422, "invalid",
			"starts: want the new time; refund_until: a time, or nothing.");
	}
	moved = starts - before;
	/* The date people bought is the first one; a second postponement keeps it. */
	if (cat_int(event, "starts_before_us") == 0)
		json_object_set_new(event, "starts_before_us", json_integer(before));
	json_object_set_new(event, "starts_us", json_integer(starts));
	json_object_set_new(event, "refund_until_us", json_integer(until));
	if (cat_int(event, "ends_us") != 0)
		json_object_set_new(
			event, "ends_us", json_integer(cat_int(event, "ends_us") + moved));
	if (cat_int(event, "doors_us") != 0)
		json_object_set_new(
			event, "doors_us", json_integer(cat_int(event, "doors_us") + moved));
	cat_event_write(conn, event);
	call->wanted = (uint32_t)cat_int(event, "status");
	audit(call, conn);
	call->status = 200;
	json_decref(event);
	event = cat_event_read(conn, call->number);
	if (event != NULL)
		call->answer = cat_event_show(event, true);
	json_decref(event);
	return 0;
}

static void status_read_done(void *context, int result)
{
	struct cat_call *call = context;
	int64_t until = 0;

	if (result == 0) {
		until = cat_int(call->event, "sale_until_us");
		if (until == 0)
			until = cat_int(call->event, "starts_us");
		if (cat_int(call->event, "published_us") == 0 || call->image == NULL)
			result = cat_call_refuse(
				call, 409, "event_state", "It is not published, or has no plan.");
		else if (call->wanted == USH_EVENT_STATUS_ON_SALE && until <= ush_core_now_us())
			result = cat_call_refuse(call, 409, "event_state",
				"Its sale is over by its times: change sale_until first.");
	}
	if (result != 0)
		cat_call_done(call, result);
	else
		ask_status(call);
}

void cat_status_handle(struct ush_http_request *request, void *context)
{
	static const struct {
		const char *name, *action;
		uint32_t status;
	} names[] = {
		{"open", "event.open", USH_EVENT_STATUS_ON_SALE},
		{"pause", "event.pause", USH_EVENT_STATUS_PAUSED},
		{"complete", "event.complete", USH_EVENT_STATUS_COMPLETED},
		{"cancel", "event.cancel", USH_EVENT_STATUS_CANCELLED},
		{"postpone", "event.postpone", 0},
	};
	struct cat_call *call = begin(request, context);
	const char *name;

	if (call == NULL)
		return;
	name = cat_text(call->input, "status");
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strcmp(names[i].name, name) != 0)
			continue;
		call->wanted = names[i].status;
		call->action = names[i].action;
		if (call->wanted == 0)
			cat_call_run(call, USH_DB_WRITE, postpone_job);
		else
			ush_db_run(call->catalogue->core->db, USH_DB_READ, read_job,
				status_read_done, call);
		return;
	}
	cat_call_refuse(
		call, 422, "invalid", "status: want open, pause, complete, cancel or postpone.");
	cat_call_done(call, -USH_EINVAL);
}
