/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The clock of the catalogue: sales are opened and ended by time, what nobody needs is removed.
 *
 * Each second a job reads what is due; usherd is asked for one after the other; a job stores what
 * it did. usherd away: the next second again. usherd refuses: a minute later again, so that one
 * event does not keep others waiting.
 */
#include <event2/event.h>
#include <stdlib.h>

#include "catalogue/call.h"
#include "catalogue/routes.h"
#include "link/link.h"

#define DUE_COUNT 16u
#define CALL_MS 5000u
/* Looks between two of the broom, which takes at most so many rows. */
#define BROOM_EVERY 600u
#define BROOM_COUNT 500
#define DAY_US (24ll * 3600 * 1000000)

struct tick_look {
	struct ush_catalogue *catalogue;
	struct {
		int64_t event;
		uint32_t wanted;
	} rows[DUE_COUNT];
	uint32_t count, at;
	bool refused;
	bool sweep;
	bool gone; /* the catalogue closes: nothing is asked any more */
};

static void next(struct tick_look *look);

static int due_job(struct ush_db_conn *conn, void *context)
{
	struct tick_look *look = context;
	struct ush_db_rows *rows = ush_db_query(conn,
		"SELECT event, status FROM catalogue_events WHERE due_us > 0 AND due_us <= ?"
		" ORDER BY due_us LIMIT ?",
		"ii", ush_core_now_us(), (int64_t)DUE_COUNT);

	look->count = 0;
	while (ush_db_next(rows) && look->count < DUE_COUNT) {
		look->rows[look->count].event = ush_db_int(rows, 0);
		look->rows[look->count++].wanted = ush_db_int(rows, 1) == USH_EVENT_STATUS_DRAFT
							   ? USH_EVENT_STATUS_ON_SALE
							   : USH_EVENT_STATUS_PAUSED;
	}
	ush_db_end(rows);
	return 0;
}

static int store_job(struct ush_db_conn *conn, void *context)
{
	const struct tick_look *look = context;
	int64_t number = look->rows[look->at].event;
	uint32_t wanted = look->rows[look->at].wanted;
	json_t *event;

	if (look->refused) {
		ush_db_exec(conn, "UPDATE catalogue_events SET due_us = ? WHERE event = ?", "ii",
			ush_core_now_us() + 60000000, number);
		return 0;
	}
	event = cat_event_read(conn, number);
	if (event == NULL)
		return 0;
	json_object_set_new(event, "status", json_integer(wanted));
	if (wanted == USH_EVENT_STATUS_PAUSED)
		json_object_set_new(event, "sale_closed", json_integer(1));
	cat_event_write(conn, event);
	json_decref(event);
	return 0;
}

/* Plans that no event has, a day after they came; events that began a day ago leave the search. */
static int sweep_job(struct ush_db_conn *conn, void *context)
{
	int64_t before = ush_core_now_us() - DAY_US, events[BROOM_COUNT];
	struct ush_db_rows *rows;
	int count = 0;

	(void)context;
	ush_db_exec(conn,
		"DELETE FROM catalogue_plans WHERE stored_us < ? AND NOT EXISTS (SELECT 1 FROM"
		" catalogue_events e WHERE e.plan = catalogue_plans.plan)",
		"i", before);
	rows = ush_db_query(conn,
		"SELECT event FROM catalogue_hits WHERE key < ? ORDER BY key LIMIT ?", "ii",
		cat_key_of(before), (int64_t)BROOM_COUNT);
	while (ush_db_next(rows) && count < BROOM_COUNT)
		events[count++] = ush_db_int(rows, 0);
	ush_db_end(rows);
	for (int i = 0; i < count; i++)
		cat_event_hide(conn, events[i]);
	return 0;
}

static void end(struct tick_look *look)
{
	if (!look->gone)
		look->catalogue->look = NULL;
	free(look);
}

static void swept(void *context, int result)
{
	(void)result;
	end(context);
}

static void stored(void *context, int result)
{
	struct tick_look *look = context;

	if (result != 0)
		ush_core_log(USH_CORE_ERROR, "catalogue", "a sale's status was not stored", "why",
			ush_error_text(result), NULL);
	look->at++;
	next(look);
}

static void answered(void *context, int result, const struct ush_reply *reply, size_t bytes)
{
	struct tick_look *look = context;

	(void)result;
	(void)bytes;
	if (reply == NULL || look->gone) {
		end(look);
		return;
	}
	look->refused = reply->status != USH_STATUS_OK;
	if (look->refused)
		ush_core_log(
			USH_CORE_WARN, "catalogue", "usherd refused to open or end a sale", NULL);
	ush_db_run(look->catalogue->core->db, USH_DB_WRITE, store_job, stored, look);
}

static void next(struct tick_look *look)
{
	struct ush_request request;

	if (look->gone || (look->at == look->count && !look->sweep)) {
		end(look);
		return;
	}
	if (look->at == look->count) {
		ush_db_run(look->catalogue->core->db, USH_DB_WRITE, sweep_job, swept, look);
		return;
	}
	cat_request_init(&request, USH_OP_EVENT_STATUS, look->rows[look->at].event);
	request.arg = look->rows[look->at].wanted;
	ush_link_call(look->catalogue->core->link, &request, -1, CALL_MS, answered, look);
}

static void read_done(void *context, int result)
{
	struct tick_look *look = context;

	if (result != 0)
		end(look);
	else
		next(look);
}

static void tick(evutil_socket_t fd, short what, void *context)
{
	struct ush_catalogue *catalogue = context;

	(void)fd;
	(void)what;
	catalogue->ticks++;
	if (catalogue->look != NULL)
		return;
	catalogue->look = calloc(1, sizeof(*catalogue->look));
	USH_ASSERT(catalogue->look != NULL);
	catalogue->look->catalogue = catalogue;
	catalogue->look->sweep = catalogue->ticks % BROOM_EVERY == 0;
	ush_db_run(catalogue->core->db, USH_DB_READ, due_job, read_done, catalogue->look);
}

int cat_tick_open(struct ush_catalogue *catalogue)
{
	static const struct timeval second = {.tv_sec = 1};

	/* A replica follows: whoever writes has the clock. */
	if (catalogue->core->read_only || catalogue->core->link == NULL)
		return 0;
	catalogue->tick = event_new(catalogue->core->base, -1, EV_PERSIST, tick, catalogue);
	if (catalogue->tick == NULL || event_add(catalogue->tick, &second) != 0)
		return -USH_ENOMEM;
	return 0;
}

void cat_tick_close(struct ush_catalogue *catalogue)
{
	if (catalogue->tick != NULL)
		event_free(catalogue->tick);
	/* Its call or job ends when the link and the database are closed, after us. */
	if (catalogue->look != NULL)
		catalogue->look->gone = true;
}
