/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SQLite: WAL with synchronous=FULL, so that what was committed survives kill -9 and a power cut.
 *
 * The connection that writes takes the write lock at the start of each job: whoever else holds it
 * (another program) is waited for, then the job fails with -USH_EBUSY before it ran. Connections
 * that read see one snapshot a job, and cannot write.
 */
#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "db/internal.h"

/* How long another program may hold the lock; src: guess. */
#define BUSY_MS 2000

/* ret: the USH_E code of what the connection says about its last failure. */
static int code_of(sqlite3 *handle)
{
	int extended = sqlite3_extended_errcode(handle);
	int system = sqlite3_system_errno(handle);

	switch (extended & 0xff) {
	case SQLITE_FULL:
		return -USH_EFULL;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		return -USH_ECORRUPT;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
	case SQLITE_PROTOCOL:
	case SQLITE_INTERRUPT:
		return -USH_EBUSY;
	case SQLITE_READONLY:
		return -USH_EROFS;
	case SQLITE_PERM:
	case SQLITE_AUTH:
		return -USH_EACCES;
	case SQLITE_NOMEM:
		return -USH_ENOMEM;
	case SQLITE_CANTOPEN:
		return system == ENOSPC ? -USH_EFULL
		       : system != 0    ? ush_error_from_errno(system)
					: -USH_ESYSTEM;
	case SQLITE_IOERR:
		return system == ENOSPC || system == EDQUOT ? -USH_EFULL : -USH_EIO;
	default:
		return -USH_EINVAL;
	}
}

static bool is_broken_key(sqlite3 *handle)
{
	int extended = sqlite3_extended_errcode(handle);

	return extended == SQLITE_CONSTRAINT_UNIQUE || extended == SQLITE_CONSTRAINT_PRIMARYKEY ||
	       extended == SQLITE_CONSTRAINT_ROWID;
}

static int fail(struct ush_db_conn *conn, const char *sql)
{
	return db_fail(conn, code_of(conn->handle), sql, sqlite3_errmsg(conn->handle));
}

static int run_plain(struct ush_db_conn *conn, const char *sql)
{
	if (sqlite3_exec(conn->handle, sql, NULL, NULL, NULL) != SQLITE_OK)
		return fail(conn, sql);
	return 0;
}

/* The file is made here, so that only its owner reads it; SQLite gives its other files the same
 * mode. */
static int make_file(const char *path, struct ush_message *message)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	int error = errno;

	if (fd < 0) {
		ush_message_set(message, "%s: %s", path, strerror(error));
		return ush_error_from_errno(error);
	}
	close(fd);
	return 0;
}

static int set_up(struct ush_db_conn *conn)
{
	static const char both[] = "PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON;"
				   "PRAGMA temp_store=MEMORY; PRAGMA cache_size=-32768;"
				   "PRAGMA trusted_schema=OFF; PRAGMA cell_size_check=ON;"
				   "PRAGMA journal_size_limit=67108864; PRAGMA secure_delete=ON;";

	if (sqlite3_exec(conn->handle, both, NULL, NULL, NULL) != SQLITE_OK)
		return fail(conn, NULL);
	if (!conn->writes)
		return run_plain(conn, "PRAGMA query_only=ON");
	/* Also reads the first page: a file that is no database fails here. */
	if (run_plain(conn, "PRAGMA journal_mode=WAL") != 0)
		return conn->error;
	return run_plain(conn, "BEGIN IMMEDIATE; SELECT count(*) FROM sqlite_schema; COMMIT");
}

static int sqlite_open(struct ush_db_conn *conn, struct ush_message *message)
{
	sqlite3 *handle;
	int ret;

	if (conn->writes && (ret = make_file(conn->where, message)) != 0)
		return ret;
	ret = sqlite3_open_v2(conn->where, &handle,
		SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL);
	conn->handle = handle;
	if (handle == NULL) {
		ush_message_set(message, "%s: no memory", conn->where);
		return -USH_ENOMEM;
	}
	conn->error = 0;
	sqlite3_extended_result_codes(handle, 1);
	sqlite3_busy_timeout(handle, BUSY_MS);
	sqlite3_db_config(handle, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	if (ret == SQLITE_OK && set_up(conn) == 0)
		return 0;
	ret = code_of(handle);
	ush_message_set(message, "%s: %s%s", conn->where, sqlite3_errmsg(handle),
		ret == -USH_EBUSY      ? ": does another program write it?"
		: ret == -USH_ECORRUPT ? ": restore it from a backup"
				       : "");
	sqlite3_close(handle);
	conn->handle = NULL;
	return ret;
}

static void sqlite_close(struct ush_db_conn *conn)
{
	/* All statements were finalized, so this cannot be refused. */
	USH_ASSERT(sqlite3_close(conn->handle) == SQLITE_OK);
	conn->handle = NULL;
}

static int sqlite_begin(struct ush_db_conn *conn, enum ush_db_kind kind)
{
	return run_plain(conn, kind == USH_DB_WRITE ? "BEGIN IMMEDIATE" : "BEGIN");
}

static void sqlite_rollback(struct ush_db_conn *conn)
{
	/* Some failures have rolled back already. */
	if (!sqlite3_get_autocommit(conn->handle))
		sqlite3_exec(conn->handle, "ROLLBACK", NULL, NULL, NULL);
}

/* The log has old pages until it is written from its beginning. A reader of the old state keeps it:
 * then the next commit tries again. */
static void cut_log(struct ush_db_conn *conn)
{
	sqlite3_busy_timeout(conn->handle, 0);
	conn->scrub = sqlite3_wal_checkpoint_v2(conn->handle, NULL, SQLITE_CHECKPOINT_TRUNCATE,
			      NULL, NULL) != SQLITE_OK;
	sqlite3_busy_timeout(conn->handle, BUSY_MS);
}

static int sqlite_commit(struct ush_db_conn *conn, enum ush_db_kind kind)
{
	int ret;

	if (sqlite3_exec(conn->handle, "COMMIT", NULL, NULL, NULL) == SQLITE_OK) {
		if (conn->scrub && kind == USH_DB_WRITE)
			cut_log(conn);
		return 0;
	}
	ret = code_of(conn->handle);
	/* A sync that failed says nothing about what a restart would find. */
	if (kind == USH_DB_WRITE && ret == -USH_EIO)
		ret = -USH_EUNKNOWN;
	db_fail(conn, ret, "COMMIT", sqlite3_errmsg(conn->handle));
	sqlite_rollback(conn);
	return ret;
}

/* A statement that breaks a key has no effect, and its transaction goes on. */
static int sqlite_mark(struct ush_db_conn *conn)
{
	(void)conn;
	return 0;
}

static int sqlite_unmark(struct ush_db_conn *conn, bool undo)
{
	(void)conn;
	(void)undo;
	return 0;
}

static int sqlite_prepare(struct ush_db_rows *rows)
{
	sqlite3_stmt *statement;

	if (sqlite3_prepare_v3(rows->conn->handle, rows->sql, -1, SQLITE_PREPARE_PERSISTENT,
		    &statement, NULL) != SQLITE_OK)
		return fail(rows->conn, rows->sql);
	rows->statement = statement;
	return 0;
}

static void sqlite_forget(struct ush_db_rows *rows)
{
	sqlite3_finalize(rows->statement);
}

static int bind(sqlite3_stmt *statement, int at, const struct db_value *value)
{
	switch (value->type) {
	case 'i':
		return sqlite3_bind_int64(statement, at, value->i);
	case 'd':
		return sqlite3_bind_double(statement, at, value->d);
	case 't':
		return sqlite3_bind_text(statement, at, value->t, -1, SQLITE_TRANSIENT);
	case 'b':
		return value->bytes == 0 ? sqlite3_bind_zeroblob(statement, at, 0)
					 : sqlite3_bind_blob64(statement, at, value->b,
						   value->bytes, SQLITE_TRANSIENT);
	default:
		return sqlite3_bind_null(statement, at);
	}
}

static int sqlite_start(
	struct ush_db_rows *rows, const struct db_value *values, uint32_t count, bool *exists)
{
	(void)exists;
	/* As many values as `?`: our own bug otherwise. */
	USH_ASSERT((uint32_t)sqlite3_bind_parameter_count(rows->statement) == count);
	for (uint32_t i = 0; i < count; i++) {
		if (bind(rows->statement, (int)i + 1, &values[i]) != SQLITE_OK)
			return fail(rows->conn, rows->sql);
	}
	return 0;
}

static int sqlite_step(struct ush_db_rows *rows, bool *exists)
{
	int ret = sqlite3_step(rows->statement);

	if (ret == SQLITE_ROW)
		return 1;
	if (ret == SQLITE_DONE)
		return 0;
	*exists = is_broken_key(rows->conn->handle);
	return *exists ? -USH_EEXIST : fail(rows->conn, rows->sql);
}

static int64_t sqlite_changed(struct ush_db_rows *rows)
{
	if (sqlite3_stmt_readonly(rows->statement))
		return 0;
	return sqlite3_changes64(rows->conn->handle);
}

static void sqlite_end(struct ush_db_rows *rows)
{
	sqlite3_reset(rows->statement);
	sqlite3_clear_bindings(rows->statement);
}

static bool sqlite_is_null(struct ush_db_rows *rows, uint32_t column)
{
	return sqlite3_column_type(rows->statement, (int)column) == SQLITE_NULL;
}

static int64_t sqlite_int(struct ush_db_rows *rows, uint32_t column)
{
	return sqlite3_column_int64(rows->statement, (int)column);
}

static double sqlite_double(struct ush_db_rows *rows, uint32_t column)
{
	return sqlite3_column_double(rows->statement, (int)column);
}

static const char *sqlite_text(struct ush_db_rows *rows, uint32_t column)
{
	return (const char *)sqlite3_column_text(rows->statement, (int)column);
}

static const void *sqlite_bytes(struct ush_db_rows *rows, uint32_t column, size_t *bytes)
{
	const void *data = sqlite3_column_blob(rows->statement, (int)column);

	*bytes = (size_t)sqlite3_column_bytes(rows->statement, (int)column);
	if (data == NULL && !sqlite_is_null(rows, column))
		return "";
	return data;
}

const struct db_backend db_sqlite = {
	.postgres = false,
	.open = sqlite_open,
	.close = sqlite_close,
	.begin = sqlite_begin,
	.commit = sqlite_commit,
	.rollback = sqlite_rollback,
	.script = run_plain,
	.mark = sqlite_mark,
	.unmark = sqlite_unmark,
	.prepare = sqlite_prepare,
	.forget = sqlite_forget,
	.start = sqlite_start,
	.step = sqlite_step,
	.changed = sqlite_changed,
	.end = sqlite_end,
	.is_null = sqlite_is_null,
	.get_int = sqlite_int,
	.get_double = sqlite_double,
	.get_text = sqlite_text,
	.get_bytes = sqlite_bytes,
};
