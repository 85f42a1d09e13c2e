/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of what is planned for lobbies. What was published stays: a row whose room is open
 * keeps its times.
 */
#include "entry/plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "entry/internal.h"

/* Rows of rooms that never came are not looked at any more after so long. */
#define DAYS_US (7 * 86400 * INT64_C(1000000))
/* `again_us` is never further away, or the clock has been set back since. */
#define AGAIN_MOST_US (600 * INT64_C(1000000))

/* A row for each room that was opened or planned: one for each seed, and an event has one seed. */
const struct ush_db_step ush_entry_schema[] = {
	{"entry", 1,
		"CREATE TABLE entry_lobbies(event INTEGER NOT NULL, seed_hash TEXT NOT NULL,"
		" closes_us INTEGER NOT NULL, opened INTEGER NOT NULL,"
		" PRIMARY KEY(event, seed_hash)) STRICT;",
		NULL},
	{"entry", 2,
		"ALTER TABLE entry_lobbies ADD COLUMN stage INTEGER NOT NULL DEFAULT 0;"
		"ALTER TABLE entry_lobbies ADD COLUMN opens_us INTEGER NOT NULL DEFAULT 0;"
		"ALTER TABLE entry_lobbies ADD COLUMN opened_us INTEGER NOT NULL DEFAULT 0;"
		"ALTER TABLE entry_lobbies ADD COLUMN closed_us INTEGER NOT NULL DEFAULT 0;"
		"ALTER TABLE entry_lobbies ADD COLUMN drawn_us INTEGER NOT NULL DEFAULT 0;"
		"ALTER TABLE entry_lobbies ADD COLUMN again_us INTEGER NOT NULL DEFAULT 0;"
		"ALTER TABLE entry_lobbies ADD COLUMN users INTEGER NOT NULL DEFAULT 0;"
		"ALTER TABLE entry_lobbies ADD COLUMN cap INTEGER NOT NULL DEFAULT 0;"
		"ALTER TABLE entry_lobbies ADD COLUMN device_users INTEGER NOT NULL DEFAULT 0;"
		"ALTER TABLE entry_lobbies ADD COLUMN slow_places INTEGER NOT NULL DEFAULT 0;"
		"ALTER TABLE entry_lobbies ADD COLUMN beacon_source TEXT NOT NULL DEFAULT '';"
		"ALTER TABLE entry_lobbies ADD COLUMN beacon_round INTEGER NOT NULL DEFAULT 0;"
		"ALTER TABLE entry_lobbies ADD COLUMN root TEXT NOT NULL DEFAULT '';"
		"ALTER TABLE entry_lobbies ADD COLUMN places INTEGER NOT NULL DEFAULT 0;"
		"ALTER TABLE entry_lobbies ADD COLUMN note TEXT NOT NULL DEFAULT '';",
		NULL},
	{NULL, 0, NULL, NULL},
};

#define COLUMNS \
	"event, seed_hash, stage, opens_us, closes_us, opened_us, closed_us, drawn_us, users," \
	" cap, device_users, slow_places, beacon_round, beacon_source, places, root, note"
#define THIS " WHERE event = ? AND seed_hash = ?"

static void hex_of(const uint8_t hash[32], char text[65])
{
	for (uint32_t i = 0; i < 32; i++)
		snprintf(text + 2 * i, 3, "%02x", hash[i]);
}

bool entry_hash_read(const char *text, uint8_t hash[32])
{
	if (text == NULL || strlen(text) != 64 || strspn(text, "0123456789abcdef") != 64)
		return false;
	for (uint32_t i = 0; i < 32; i++) {
		const char pair[3] = {text[2 * i], text[2 * i + 1], '\0'};

		hash[i] = (uint8_t)strtoul(pair, NULL, 16);
	}
	return true;
}

/* ---- plans ---- */

static int64_t planned(struct ush_db_conn *conn, uint32_t event)
{
	int64_t count = 0;

	ush_db_get(conn, "SELECT COUNT(*) FROM entry_lobbies WHERE event = ? AND stage IN (1, 2)",
		"i", (int64_t)event, "i", &count);
	return count;
}

int64_t entry_plan_drop(struct ush_db_conn *conn, uint32_t event)
{
	return ush_db_exec(conn, "DELETE FROM entry_lobbies WHERE event = ? AND stage = 1", "i",
		(int64_t)event);
}

int entry_plan_put(struct ush_db_conn *conn, const struct entry_plan *plan)
{
	const struct ush_room_open *open = &plan->open;
	char hash[65], source[USH_ROOM_SOURCE_BYTES + 1] = "";
	int64_t rows;

	hex_of(open->seed_hash, hash);
	memcpy(source, open->source, open->source_bytes);
	if (plan->stage == ENTRY_STAGE_PLANNED)
		entry_plan_drop(conn, plan->event);
	if (planned(conn, plan->event) != 0)
		return -USH_EEXIST;
	/* What was published stays: the times of a room that is open do not change. */
	rows = ush_db_exec(conn,
		"INSERT INTO entry_lobbies(event, seed_hash, opened, stage, opens_us, closes_us,"
		" users, cap, device_users, slow_places, beacon_round, beacon_source)"
		" VALUES(?, ?, 0, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
		" ON CONFLICT(event, seed_hash) DO UPDATE SET stage = excluded.stage,"
		" opens_us = excluded.opens_us, closes_us = excluded.closes_us,"
		" users = excluded.users, cap = excluded.cap,"
		" device_users = excluded.device_users, slow_places = excluded.slow_places,"
		" beacon_round = excluded.beacon_round, beacon_source = excluded.beacon_source,"
		" again_us = 0, note = '' WHERE entry_lobbies.opened = 0",
		"itiiiiiiiit", (int64_t)plan->event, hash, (int64_t)plan->stage, plan->opens_us,
		plan->closes_us, (int64_t)open->users, (int64_t)open->cap,
		(int64_t)open->device_users, (int64_t)open->slow_places, (int64_t)open->round,
		source);
	if (rows == 0 && plan->stage == ENTRY_STAGE_PLANNED)
		return -USH_EEXIST;
	return ush_db_error(conn, NULL);
}

int64_t entry_plan_claim(struct ush_db_conn *conn, const struct entry_plan *plan)
{
	char hash[65];

	hex_of(plan->open.seed_hash, hash);
	return ush_db_exec(conn, "UPDATE entry_lobbies SET stage = 2" THIS " AND stage IN (1, 2)",
		"it", (int64_t)plan->event, hash);
}

/* ---- what was done ---- */

int64_t entry_plan_opened(struct ush_db_conn *conn, const struct entry_plan *plan)
{
	char hash[65];

	hex_of(plan->open.seed_hash, hash);
	return ush_db_exec(conn,
		"UPDATE entry_lobbies SET opened = 1, stage = 0, opened_us = ?" THIS
		" AND opened = 0",
		"iit", plan->opened_us, (int64_t)plan->event, hash);
}

int64_t entry_plan_closed(struct ush_db_conn *conn, const struct entry_plan *plan)
{
	char hash[65];

	hex_of(plan->open.seed_hash, hash);
	return ush_db_exec(conn,
		"UPDATE entry_lobbies SET opened = 1, stage = 0, closed_us = ?, places = ?,"
		" root = ?, again_us = 0" THIS " AND closed_us = 0",
		"iitit", plan->closed_us, plan->places, plan->root, (int64_t)plan->event, hash);
}

int64_t entry_plan_drawn(struct ush_db_conn *conn, const struct entry_plan *plan)
{
	char hash[65];

	hex_of(plan->open.seed_hash, hash);
	return ush_db_exec(conn,
		"UPDATE entry_lobbies SET drawn_us = ?, note = ''" THIS " AND drawn_us = 0", "iit",
		plan->drawn_us, (int64_t)plan->event, hash);
}

int64_t entry_plan_end(struct ush_db_conn *conn, const struct entry_plan *plan, const char *note)
{
	char hash[65];

	hex_of(plan->open.seed_hash, hash);
	return ush_db_exec(conn,
		"UPDATE entry_lobbies SET note = ?, stage = CASE WHEN closed_us > 0 THEN 0 ELSE 3"
		" END" THIS " AND note = ''",
		"tit", note, (int64_t)plan->event, hash);
}

int64_t entry_plan_later(struct ush_db_conn *conn, const struct entry_plan *plan, int64_t again_us)
{
	char hash[65];

	hex_of(plan->open.seed_hash, hash);
	return ush_db_exec(conn, "UPDATE entry_lobbies SET again_us = ?" THIS, "iit", again_us,
		(int64_t)plan->event, hash);
}

/* ---- reading ---- */

/* ret: false: the row makes no sense. */
static bool read_row(struct ush_db_rows *rows, struct entry_plan *plan)
{
	struct ush_room_open *open = &plan->open;
	const char *source = ush_db_text(rows, 13);
	size_t bytes = strlen(source);

	memset(plan, 0, sizeof(*plan));
	plan->event = (uint32_t)ush_db_int(rows, 0);
	plan->stage = (uint32_t)ush_db_int(rows, 2);
	plan->opens_us = ush_db_int(rows, 3);
	plan->closes_us = ush_db_int(rows, 4);
	plan->opened_us = ush_db_int(rows, 5);
	plan->closed_us = ush_db_int(rows, 6);
	plan->drawn_us = ush_db_int(rows, 7);
	open->users = (uint32_t)ush_db_int(rows, 8);
	open->cap = (uint32_t)ush_db_int(rows, 9);
	open->device_users = (uint32_t)ush_db_int(rows, 10);
	open->slow_places = (uint32_t)ush_db_int(rows, 11);
	open->round = (uint64_t)ush_db_int(rows, 12);
	if (bytes >= sizeof(open->source))
		return false;
	open->source_bytes = (uint8_t)bytes;
	memcpy(open->source, source, bytes);
	plan->places = ush_db_int(rows, 14);
	snprintf(plan->root, sizeof(plan->root), "%s", ush_db_text(rows, 15));
	snprintf(plan->note, sizeof(plan->note), "%s", ush_db_text(rows, 16));
	return entry_hash_read(ush_db_text(rows, 1), open->seed_hash);
}

static uint32_t read_rows(struct ush_db_rows *rows, struct entry_plan *plans, uint32_t most)
{
	uint32_t count = 0;

	while (count < most && ush_db_next(rows))
		count += read_row(rows, &plans[count]);
	ush_db_end(rows);
	return count;
}

uint32_t entry_plan_due(struct ush_db_conn *conn, int64_t now_us, const char *source, int64_t round,
	struct entry_plan *plans, uint32_t most)
{
	return read_rows(
		ush_db_query(conn,
			"SELECT " COLUMNS " FROM entry_lobbies"
			" WHERE (again_us <= ? OR again_us > ?)"
			" AND ((stage IN (1, 2) AND opens_us <= ?)"
			" OR (stage = 0 AND closed_us = 0 AND closes_us > ? AND closes_us <= ?)"
			" OR (stage = 0 AND closed_us > 0 AND drawn_us = 0 AND places > 0 AND note = ''"
			" AND beacon_source <> '' AND beacon_source = ? AND beacon_round > 0"
			" AND beacon_round <= ?)) ORDER BY closed_us, opens_us, event LIMIT ?",
			"iiiiitii", now_us, now_us + AGAIN_MOST_US, now_us,
			now_us > DAYS_US ? now_us - DAYS_US : 0, now_us, source, round,
			(int64_t)most),
		plans, most);
}

uint32_t entry_plan_coming(struct ush_db_conn *conn, struct entry_plan *plans, uint32_t most)
{
	return read_rows(ush_db_query(conn,
				 "SELECT " COLUMNS " FROM entry_lobbies WHERE stage IN (1, 2)"
				 " ORDER BY opens_us LIMIT ?",
				 "i", (int64_t)most),
		plans, most);
}

bool entry_plan_of(
	struct ush_db_conn *conn, uint32_t event, const uint8_t *seed_hash, struct entry_plan *plan)
{
	char hash[65];

	if (seed_hash == NULL)
		return read_rows(ush_db_query(conn,
					 "SELECT " COLUMNS " FROM entry_lobbies WHERE event = ?"
					 " ORDER BY opened, opens_us DESC, closes_us DESC LIMIT 1",
					 "i", (int64_t)event),
			       plan, 1) == 1;
	hex_of(seed_hash, hash);
	return read_rows(ush_db_query(conn, "SELECT " COLUMNS " FROM entry_lobbies" THIS, "it",
				 (int64_t)event, hash),
		       plan, 1) == 1;
}

/* ---- when a room's lobby will be closed ---- */

struct asking {
	struct ush_entry *entry;
	uint32_t event;
	uint8_t hash[32];
	int64_t closes_us;
};

static int ask_job(struct ush_db_conn *conn, void *context)
{
	struct asking *asking = context;
	struct entry_plan plan;

	asking->closes_us =
		entry_plan_of(conn, asking->event, asking->hash, &plan) ? plan.closes_us : 0;
	return ush_db_error(conn, NULL);
}

static void asked(void *context, int result)
{
	struct asking *asking = context;
	struct entry_room *room;

	if (!entry_call_over(asking->entry)) {
		free(asking);
		return;
	}
	room = asking->entry->by_event[asking->event];
	if (room != NULL) {
		room->asking = false;
		room->closes_known = result == 0;
		room->closes_us = asking->closes_us;
		/* A second later again, if the database does not answer. */
		if (result == 0)
			entry_room_ask(room);
	}
	free(asking);
}

void entry_closes_ask(struct entry_room *room, const uint8_t seed_hash[32])
{
	struct asking *asking = calloc(1, sizeof(*asking));

	USH_ASSERT(asking != NULL);
	asking->entry = room->entry;
	asking->event = room->event;
	memcpy(asking->hash, seed_hash, sizeof(asking->hash));
	room->asking = true;
	memcpy(room->closes_of, seed_hash, sizeof(room->closes_of));
	room->entry->pending++;
	ush_db_run(room->entry->core->db, USH_DB_READ, ask_job, asked, asking);
}
