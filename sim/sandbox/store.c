/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The books in SQLite: WAL with synchronous=FULL, so that what was answered survives kill -9 and a
 * power cut. An object is kept as its JSON; what is searched for stands beside it.
 *
 * A database that cannot be read or written ends the process: nothing is answered that is not kept.
 */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "sandbox.h"

#define SCHEMA 1
static const char schema[] =
	"CREATE TABLE IF NOT EXISTS meta(name TEXT PRIMARY KEY, value TEXT NOT NULL);"
	"CREATE TABLE IF NOT EXISTS objects(seq INTEGER PRIMARY KEY AUTOINCREMENT,"
	" id TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, due INTEGER NOT NULL, body TEXT NOT NULL);"
	"CREATE INDEX IF NOT EXISTS objects_kind ON objects(kind, seq);"
	"CREATE INDEX IF NOT EXISTS objects_due ON objects(due) WHERE due > 0;"
	"CREATE TABLE IF NOT EXISTS keys(key TEXT PRIMARY KEY, route TEXT NOT NULL,"
	" print TEXT NOT NULL, status INTEGER NOT NULL, body TEXT NOT NULL, request TEXT NOT NULL,"
	" created INTEGER NOT NULL);"
	"CREATE TABLE IF NOT EXISTS deliveries(seq INTEGER PRIMARY KEY AUTOINCREMENT,"
	" event TEXT NOT NULL, endpoint TEXT NOT NULL, attempts INTEGER NOT NULL,"
	" due_ms INTEGER NOT NULL, state TEXT NOT NULL, status INTEGER NOT NULL);"
	"CREATE INDEX IF NOT EXISTS deliveries_due ON deliveries(state, due_ms);"
	"CREATE TABLE IF NOT EXISTS faults(seq INTEGER PRIMARY KEY AUTOINCREMENT,"
	" spec TEXT NOT NULL, skip INTEGER NOT NULL, left INTEGER NOT NULL, hits INTEGER NOT NULL);"
	"CREATE TABLE IF NOT EXISTS ledger(seq INTEGER PRIMARY KEY AUTOINCREMENT,"
	" at INTEGER NOT NULL, kind TEXT NOT NULL, intent TEXT NOT NULL, object TEXT NOT NULL,"
	" amount INTEGER NOT NULL, currency TEXT NOT NULL);";

static _Noreturn void fail(struct sand *sand)
{
	sand_die("database", sqlite3_errmsg(sand->db));
}

static int open_failed(
	struct sand *sand, const char *path, const char *what, struct ush_message *message)
{
	ush_message_set(message, "%s: %s", path, what);
	sqlite3_close(sand->db);
	sand->db = NULL;
	return -USH_EIO;
}

int sand_store_open(struct sand *sand, const char *path, struct ush_message *message)
{
	char *shift, *version;

	if (sqlite3_open_v2(path, &sand->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL) !=
		SQLITE_OK)
		return open_failed(sand, path, sqlite3_errmsg(sand->db), message);
	sqlite3_busy_timeout(sand->db, 2000);
	if (sqlite3_exec(sand->db,
		    "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
		    "PRAGMA locking_mode=EXCLUSIVE; BEGIN IMMEDIATE; COMMIT;",
		    NULL, NULL, NULL) != SQLITE_OK)
		return open_failed(sand, path, sqlite3_errmsg(sand->db), message);
	if (sqlite3_exec(sand->db, schema, NULL, NULL, NULL) != SQLITE_OK)
		return open_failed(sand, path, sqlite3_errmsg(sand->db), message);
	version = sand_meta_get(sand, "schema");
	if (version == NULL) {
		sand_meta_set(sand, "schema", "1");
	} else if (strtol(version, NULL, 10) != SCHEMA) {
		free(version);
		return open_failed(sand, path, "written by another version", message);
	}
	free(version);
	shift = sand_meta_get(sand, "clock_shift_s");
	sand->clock_shift_s = shift != NULL ? strtoll(shift, NULL, 10) : 0;
	free(shift);
	return 0;
}

void sand_store_close(struct sand *sand)
{
	if (sand->db != NULL && sqlite3_close(sand->db) != SQLITE_OK)
		fail(sand);
	sand->db = NULL;
}

static sqlite3_stmt *prepare(struct sand *sand, const char *sql, const char *types, va_list values)
{
	sqlite3_stmt *statement;
	int ret;

	if (sqlite3_prepare_v2(sand->db, sql, -1, &statement, NULL) != SQLITE_OK)
		fail(sand);
	for (int i = 0; types[i] != '\0'; i++) {
		if (types[i] == 'i')
			ret = sqlite3_bind_int64(statement, i + 1, va_arg(values, int64_t));
		else
			ret = sqlite3_bind_text(statement, i + 1, va_arg(values, const char *), -1,
				SQLITE_TRANSIENT);
		if (ret != SQLITE_OK)
			fail(sand);
	}
	return statement;
}

sqlite3_stmt *sand_sql(struct sand *sand, const char *sql, const char *types, ...)
{
	sqlite3_stmt *statement;
	va_list values;

	va_start(values, types);
	statement = prepare(sand, sql, types, values);
	va_end(values);
	return statement;
}

bool sand_step(struct sand *sand, sqlite3_stmt *statement)
{
	int ret = sqlite3_step(statement);

	if (ret == SQLITE_ROW)
		return true;
	if (ret != SQLITE_DONE)
		fail(sand);
	sqlite3_finalize(statement);
	return false;
}

void sand_run(struct sand *sand, const char *sql, const char *types, ...)
{
	sqlite3_stmt *statement;
	va_list values;

	va_start(values, types);
	statement = prepare(sand, sql, types, values);
	va_end(values);
	while (sand_step(sand, statement))
		continue;
}

void sand_begin(struct sand *sand)
{
	sand_run(sand, "BEGIN IMMEDIATE", "");
}

void sand_commit(struct sand *sand)
{
	sand_run(sand, "COMMIT", "");
}

void sand_rollback(struct sand *sand)
{
	sand_run(sand, "ROLLBACK", "");
}

json_t *sand_get(struct sand *sand, const char *kind, const char *id)
{
	sqlite3_stmt *found = sand_sql(
		sand, "SELECT body FROM objects WHERE id = ? AND kind = ?", "tt", id, kind);
	json_t *object = NULL;

	while (sand_step(sand, found)) {
		object = json_loads((const char *)sqlite3_column_text(found, 0), 0, NULL);
		if (object == NULL)
			sand_die("database", "an object is no JSON");
	}
	return object;
}

void sand_put(struct sand *sand, const json_t *object, int64_t due_s)
{
	char *body = json_dumps(object, JSON_COMPACT);

	USH_ASSERT(body != NULL);
	sand_run(sand,
		"INSERT INTO objects(id, kind, due, body) VALUES(?, ?, ?, ?)"
		" ON CONFLICT(id) DO UPDATE SET body = excluded.body,"
		" due = CASE WHEN excluded.due < 0 THEN due ELSE excluded.due END",
		"ttit", sand_text(object, "id"), sand_text(object, "object"), due_s, body);
	free(body);
}

void sand_meta_set(struct sand *sand, const char *name, const char *value)
{
	sand_run(sand, "INSERT OR REPLACE INTO meta(name, value) VALUES(?, ?)", "tt", name, value);
}

char *sand_meta_get(struct sand *sand, const char *name)
{
	sqlite3_stmt *found = sand_sql(sand, "SELECT value FROM meta WHERE name = ?", "t", name);
	char *value = NULL;

	while (sand_step(sand, found)) {
		value = strdup((const char *)sqlite3_column_text(found, 0));
		USH_ASSERT(value != NULL);
	}
	return value;
}

void sand_book(struct sand *sand, const char *kind, const json_t *intent, const char *object,
	json_int_t amount)
{
	sand_run(sand,
		"INSERT INTO ledger(at, kind, intent, object, amount, currency)"
		" VALUES(?, ?, ?, ?, ?, ?)",
		"itttit", sand_now(sand), kind, sand_text(intent, "id"), object, (int64_t)amount,
		sand_text(intent, "currency"));
}
