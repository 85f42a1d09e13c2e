/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tables, and the jobs of the sender.
 *
 * An endpoint stands at a number: every change up to it was told. It moves in the transaction that
 * notes the success, so a process that is killed tells the same change, with the same number,
 * again.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hooks/internal.h"

/* Changes that are passed over in one job, for each endpoint. */
#define SCAN_MAX 500
/* So often it is looked whether endpoints still have an owner. */
#define SWEEP_US (2 * HOOKS_SECOND_US)

const struct ush_db_step ush_hooks_schema[] = {
	{"hooks", 1,
		"CREATE TABLE hooks_endpoints(hook TEXT NOT NULL PRIMARY KEY,"
		" promoter INTEGER NOT NULL, url TEXT NOT NULL, secret TEXT NOT NULL,"
		" previous TEXT NOT NULL, previous_until_us INTEGER NOT NULL,"
		" kinds INTEGER NOT NULL, number INTEGER NOT NULL, turn INTEGER NOT NULL,"
		" failures INTEGER NOT NULL, failing_us INTEGER NOT NULL, due_us INTEGER NOT NULL,"
		" leased INTEGER NOT NULL, disabled_us INTEGER NOT NULL,"
		" made_us INTEGER NOT NULL) STRICT;"
		"CREATE INDEX hooks_endpoints_promoter ON hooks_endpoints(promoter);"
		"CREATE TABLE hooks_deliveries(hook TEXT NOT NULL, number INTEGER NOT NULL,"
		" kind TEXT NOT NULL, status INTEGER NOT NULL, attempts INTEGER NOT NULL,"
		" tried_us INTEGER NOT NULL, due_us INTEGER NOT NULL, done_us INTEGER NOT NULL,"
		" PRIMARY KEY(hook, number)) STRICT;"
		"CREATE INDEX hooks_deliveries_tried ON hooks_deliveries(tried_us);",
		NULL},
	/* A promoter's number is that of its account. */
	{"hooks", 2,
		"ALTER TABLE hooks_endpoints ADD COLUMN account INTEGER NOT NULL DEFAULT 0;"
		"ALTER TABLE hooks_endpoints ADD COLUMN reason TEXT NOT NULL DEFAULT '';"
		"UPDATE hooks_endpoints SET account = promoter;"
		"UPDATE hooks_endpoints SET reason = 'failing' WHERE disabled_us <> 0;",
		NULL},
	{NULL, 0, NULL, NULL},
};

/* Their bits are in the tables: new ones go behind. */
static const char *const kinds[] = {"order.sold", "order.refunded", "order.transferred",
	"order.cancelled", "event.status", "event.sold_out", "event.available"};
#define KIND_COUNT (sizeof(kinds) / sizeof(kinds[0]))

const char *hooks_kind_name(uint32_t i)
{
	return i < KIND_COUNT ? kinds[i] : NULL;
}

uint32_t hooks_kind_bit(const char *kind)
{
	for (uint32_t i = 0; i < KIND_COUNT; i++)
		if (strcmp(kinds[i], kind) == 0)
			return 1u << i;
	return 0;
}

/* ---- taking ---- */

static void copy(char *to, size_t bytes, const char *text)
{
	snprintf(to, bytes, "%s", text != NULL ? text : "");
}

static void read_endpoint(struct ush_db_rows *rows, int64_t now_us, struct hooks_item *item)
{
	memset(item, 0, sizeof(*item));
	copy(item->hook, sizeof(item->hook), ush_db_text(rows, 0));
	copy(item->url, sizeof(item->url), ush_db_text(rows, 1));
	copy(item->secret, sizeof(item->secret), ush_db_text(rows, 2));
	if (ush_db_int(rows, 4) > now_us)
		copy(item->previous, sizeof(item->previous), ush_db_text(rows, 3));
	item->promoter = ush_db_int(rows, 5);
	item->kinds = ush_db_int(rows, 6);
	item->cursor = ush_db_int(rows, 7);
	item->turn = ush_db_int(rows, 8);
	item->failures = ush_db_int(rows, 9);
	item->failing_us = ush_db_int(rows, 10);
}

/* ret: true if the change in `rows` is one that the endpoint is told. */
static bool is_told(struct ush_db_rows *rows, const struct hooks_item *item)
{
	const char *kind = ush_db_text(rows, 3);

	return (item->kinds & hooks_kind_bit(kind != NULL ? kind : "")) != 0 &&
	       (item->promoter == 0 || item->promoter == ush_db_int(rows, 7));
}

/* ret: true: the item has its change; false: none of those looked at is told. *last: the number up
 * to which nothing is to be told. */
static bool find_change(
	struct ush_db_conn *conn, struct hooks_item *item, int64_t *last, uint32_t *looked_at)
{
	struct ush_db_rows *rows = ush_db_query(conn,
		"SELECT c.number, c.sequence, c.time_us, c.kind, c.event, c.hold, c.body,"
		" COALESCE(e.promoter, 0) FROM changes c LEFT JOIN catalogue_events e"
		" ON e.event = c.event WHERE c.number > ? ORDER BY c.number LIMIT ?",
		"ii", item->cursor, (int64_t)SCAN_MAX);

	*last = item->cursor;
	*looked_at = 0;
	while (ush_db_next(rows)) {
		(*looked_at)++;
		if (!is_told(rows, item)) {
			*last = ush_db_int(rows, 0);
			continue;
		}
		item->number = ush_db_int(rows, 0);
		item->sequence = ush_db_int(rows, 1);
		item->time_us = ush_db_int(rows, 2);
		copy(item->kind, sizeof(item->kind), ush_db_text(rows, 3));
		item->event = ush_db_int(rows, 4);
		item->order = ush_db_int(rows, 5);
		item->data = strdup(ush_db_text(rows, 6));
		USH_ASSERT(item->data != NULL);
		ush_db_end(rows);
		return true;
	}
	return false;
}

/* Endpoints whose owner is none any more are told nothing, and it is said why. */
static void disable_orphans(struct ush_db_conn *conn, int64_t now_us)
{
	char hooks[HOOKS_BATCH][HOOKS_NAME_BYTES];
	uint32_t count = 0;
	struct ush_db_rows *rows = ush_db_query(conn,
		"SELECT hook FROM hooks_endpoints WHERE disabled_us = 0 AND NOT " HOOKS_HAS_OWNER
		" ORDER BY hook LIMIT ?",
		"i", (int64_t)HOOKS_BATCH);

	while (count < HOOKS_BATCH && ush_db_next(rows))
		copy(hooks[count++], HOOKS_NAME_BYTES, ush_db_text(rows, 0));
	ush_db_end(rows);
	for (uint32_t i = 0; i < count; i++) {
		ush_db_exec(conn,
			"UPDATE hooks_endpoints SET disabled_us = ?, reason = ?, turn = turn + 1"
			" WHERE hook = ?",
			"itt", now_us, HOOKS_OWNER, hooks[i]);
		ush_people_audit(conn, NULL, "hook.disable", hooks[i],
			"who made it no longer has the role for it");
		ush_core_log(USH_CORE_WARN, "hooks", "an endpoint is disabled", "hook", hooks[i],
			"reason", HOOKS_OWNER, NULL);
	}
}

int hooks_take(struct ush_db_conn *conn, struct ush_hooks *hooks, struct ush_sender_take *take,
	struct hooks_item items[HOOKS_BATCH], uint32_t *taken)
{
	struct ush_db_rows *rows;
	uint32_t count = 0;

	*taken = 0;
	if (take->fresh)
		ush_db_exec(conn, "UPDATE hooks_endpoints SET leased = 0 WHERE leased <> 0", "");
	if (take->now_us - hooks->swept_us >= SWEEP_US || take->now_us < hooks->swept_us) {
		hooks->swept_us = take->now_us;
		disable_orphans(conn, take->now_us);
	}
	/* The owner is looked at here as well: from the commit of its demotion on nothing is taken.
	 */
	rows = ush_db_query(conn,
		"SELECT hook, url, secret, previous, previous_until_us, promoter, kinds, number, turn,"
		" failures, failing_us FROM hooks_endpoints WHERE disabled_us = 0 AND leased = 0"
		" AND due_us <= ? AND number < (SELECT COALESCE(MAX(number), 0) FROM changes)"
		" AND " HOOKS_HAS_OWNER " ORDER BY number LIMIT ?",
		"ii", take->now_us, (int64_t)take->most);
	while (count < take->most && ush_db_next(rows))
		read_endpoint(rows, take->now_us, &items[count++]);
	ush_db_end(rows);
	for (uint32_t i = 0; i < count; i++) {
		struct hooks_item item = items[i];
		uint32_t looked_at;
		int64_t last;
		bool found = find_change(conn, &item, &last, &looked_at);

		item.cursor = last;
		item.lease = take->turn;
		/* None: it was replayed or dropped meanwhile; another look will see. */
		if (ush_db_exec(conn,
			    "UPDATE hooks_endpoints SET number = ?, leased = ?"
			    " WHERE hook = ? AND turn = ? AND leased = 0",
			    "iiti", last, found ? item.lease : (int64_t)0, item.hook,
			    item.turn) != 1) {
			free(item.data);
			continue;
		}
		if (found)
			items[(*taken)++] = item;
		else if (looked_at == SCAN_MAX)
			take->more = true;
	}
	take->more = take->more || count == take->most;
	return ush_db_error(conn, NULL);
}

/* ---- noting ---- */

int hooks_end(struct ush_db_conn *conn, const struct hooks_end *end)
{
	const struct hooks_item *item = &end->item;
	int64_t rows;

	/* Gone meanwhile: nothing is kept of it. Of a turn that is over: another sender has it. */
	rows = ush_db_exec(conn,
		"UPDATE hooks_endpoints SET leased = 0 WHERE hook = ? AND leased = ?", "ti",
		item->hook, item->lease);
	if (rows < 1)
		return rows < 0 ? (int)rows : ush_db_error(conn, NULL);
	if (end->good)
		ush_db_exec(conn,
			"UPDATE hooks_endpoints SET number = ?, failures = 0, failing_us = 0,"
			" due_us = 0 WHERE hook = ? AND turn = ?",
			"iti", item->number, item->hook, item->turn);
	else
		ush_db_exec(conn,
			"UPDATE hooks_endpoints SET failures = ?, failing_us = ?, due_us = ?,"
			" disabled_us = ?, reason = ? WHERE hook = ? AND turn = ?",
			"iiiitti", item->failures, item->failing_us, end->due_us,
			end->give_up ? end->now_us : (int64_t)0, end->give_up ? HOOKS_FAILING : "",
			item->hook, item->turn);
	ush_db_exec(conn,
		"INSERT INTO hooks_deliveries(hook, number, kind, status, attempts, tried_us, due_us,"
		" done_us) VALUES(?, ?, ?, ?, 1, ?, ?, ?) ON CONFLICT(hook, number) DO UPDATE SET"
		" status = excluded.status, attempts = hooks_deliveries.attempts + 1,"
		" tried_us = excluded.tried_us, due_us = excluded.due_us,"
		" done_us = excluded.done_us",
		"titiiii", item->hook, item->number, item->kind, end->status, end->now_us,
		end->good || end->give_up ? (int64_t)0 : end->due_us,
		end->good ? end->now_us : (int64_t)0);
	return ush_db_error(conn, NULL);
}

int hooks_drop(struct ush_db_conn *conn, int64_t before_us)
{
	ush_db_exec(conn, "DELETE FROM hooks_deliveries WHERE tried_us < ?", "i", before_us);
	/* Nobody but an operator can see to those. */
	ush_db_exec(conn, "DELETE FROM hooks_endpoints WHERE reason = ? AND disabled_us < ?", "ti",
		HOOKS_OWNER, before_us);
	return ush_db_error(conn, NULL);
}
