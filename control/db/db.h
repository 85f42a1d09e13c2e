/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control plane's database: SQLite (WAL, synchronous=FULL) or PostgreSQL, by one connection
 * string.
 *
 * Owns:  the worker threads, one connection each, their prepared statements; the schema.
 * Reads: nothing.
 * Never: what a table means; HTTP.
 *
 * Statements block, so they run in jobs on a worker thread; what comes of a job is handed to the
 * event loop.
 */
#ifndef USH_DB_H
#define USH_DB_H

#include "base/base.h"

struct event_base;
struct ush_db;      /* the pool */
struct ush_db_conn; /* a connection, within a job */

/* ---- life ---- */

/*
 * A step of the schema. A module lists its own, in order, under its name; each runs once, in a
 * transaction, and is remembered in table schema_steps. Both texts are SQL of several statements;
 * NULL postgres: the same as sqlite, with its words translated (INTEGER is BIGINT, INTEGER PRIMARY
 * KEY an identity, BLOB BYTEA, REAL DOUBLE PRECISION; STRICT and WITHOUT ROWID are dropped). A step
 * that was released never changes: -USH_EVERSION says that one did, or that a newer program was
 * here.
 */
struct ush_db_step {
	const char *module;
	uint32_t number; /* from 1, without gaps */
	const char *sqlite;
	const char *postgres;
};

/*
 * Opens: "sqlite:PATH" or "postgresql://..." (libpq). readers: connections for jobs that only read
 * (SQLite writes on one connection, PostgreSQL on `readers` of them). Brings the schema up to date
 * with `steps` (each list ends with module NULL, the list of lists with NULL). base: NULL: no loop,
 * only ush_db_run_now. ret: 0; err: -USH_EINVAL, -USH_EACCES, -USH_ECORRUPT, -USH_EVERSION,
 * -USH_EBUSY (locked), -USH_EFULL, -USH_EIO (no server), -USH_ESYSTEM, message.
 */
int ush_db_open(struct ush_db **db, const char *connection, uint32_t readers,
	const struct ush_db_step *const *steps, struct event_base *base,
	struct ush_message *message);
/* ret: true for PostgreSQL: for the few statements that differ. */
bool ush_db_is_postgres(const struct ush_db *db);
bool ush_db_conn_is_postgres(const struct ush_db_conn *conn);
/* `failed` is told of each job that a statement failed (not of what jobs return themselves), for
 * the log; the text names the statement, and no values. by: before the first job; called on worker
 * threads. */
void ush_db_watch(struct ush_db *db, void (*failed)(void *context, int result, const char *text),
	void *context);
/* Waits for running jobs, drops those that wait (their `done` is called with -USH_ESTOPPED). */
void ush_db_close(struct ush_db *db);

/* ---- jobs ---- */

enum ush_db_kind {
	USH_DB_READ,  /* one snapshot; many at once */
	USH_DB_WRITE, /* one transaction, committed durably before `done`; ascending order of
			 submission with SQLite */
};

/*
 * What a job does, on a worker thread. ret: 0 to commit; a negative USH_E code to roll back. It may
 * be run again from the start when the database asks for that (serialization failure, lost
 * connection before commit): it must keep nothing but what it writes into `context` anew each time.
 */
typedef int ush_db_job(struct ush_db_conn *conn, void *context);
/* Called on the event loop's thread, exactly once. result: 0: committed. -USH_EBUSY: too many jobs
 * wait (nothing ran); -USH_EFULL: the disk is full; -USH_EUNKNOWN: PostgreSQL's connection was lost
 * within commit: ask again what holds; or what the job returned. */
typedef void ush_db_done(void *context, int result);
/* by: the event loop's thread. */
void ush_db_run(struct ush_db *db, enum ush_db_kind kind, ush_db_job *job, ush_db_done *done,
	void *context);
/* Runs a job now and waits: for start-up and tools, never on a loop that serves. */
int ush_db_run_now(struct ush_db *db, enum ush_db_kind kind, ush_db_job *job, void *context);

/* Within a write job: once it is committed, what it deleted is removed from the files as well, as
 * far as the database can: SQLite overwrites it and cuts its log (now, or at a later commit if
 * somebody still reads the old state). PostgreSQL: nothing; see docs/db.md. */
void ush_db_scrub(struct ush_db_conn *conn);

/* ---- statements: within a job ---- */

/*
 * SQL with ? for values: the subset that both databases know; each text is prepared once a
 * connection (so it must be a constant, not built of input). format: a letter for each ?: i int64_t
 * d  double        t  const char * (NULL: null)      b  const void *, size_t (NULL: null) First
 * failing statement: every later one of the job fails as well, so that only the end needs looking
 * at.
 */

/* ret: rows changed, or a negative USH_E code: -USH_EEXIST for a broken UNIQUE or PRIMARY KEY.
 * (-USH_EEXIST alone does not fail the job: PostgreSQL sets a savepoint for statements run with
 * ush_db_try.) */
int64_t ush_db_exec(struct ush_db_conn *conn, const char *sql, const char *format, ...);
int64_t ush_db_try(struct ush_db_conn *conn, const char *sql, const char *format, ...);

/*
 * Many rows for one statement "INSERT INTO t (...) VALUES (?, ?, ...) [ON CONFLICT ...]", whose
 * values are plain `?`. SQLite takes them one by one; PostgreSQL gets up to 1,000 at a time, so
 * what a row changed may not be seen before the end. format: of a row: i and t. keys: the first
 * `keys` values are a UNIQUE key that may come more than once (0: none does): then the later row
 * counts.
 */
struct ush_db_many;
struct ush_db_many *ush_db_many(
	struct ush_db_conn *conn, const char *sql, const char *format, uint32_t keys);
void ush_db_many_add(struct ush_db_many *many, ...);
/* Always, also after an error. ret: rows changed, or negative, as ush_db_exec. */
int64_t ush_db_many_end(struct ush_db_many *many);

struct ush_db_rows; /* a cursor */
/* ret: a cursor, never NULL (a failed one has no rows). One at a time for each sql text. */
struct ush_db_rows *ush_db_query(
	struct ush_db_conn *conn, const char *sql, const char *format, ...);
/* ret: true and the next row; false at the end (the cursor is closed) or after an error. */
bool ush_db_next(struct ush_db_rows *rows);
/* Columns from 0. Text and bytes live until the next call on the cursor; NULL text: null. */
bool ush_db_is_null(struct ush_db_rows *rows, uint32_t column);
int64_t ush_db_int(struct ush_db_rows *rows, uint32_t column);
double ush_db_double(struct ush_db_rows *rows, uint32_t column);
const char *ush_db_text(struct ush_db_rows *rows, uint32_t column);
const void *ush_db_bytes(struct ush_db_rows *rows, uint32_t column, size_t *bytes);
/* Before the end. */
void ush_db_end(struct ush_db_rows *rows);

/* One row or none: ret: 1 and the values; 0: none; negative: error. format: as above, for what
 * comes out: i int64_t *, t char ** (malloced; NULL: null). The values for ? come first: in_format,
 * ins..., out_format, outs... */
int ush_db_get(struct ush_db_conn *conn, const char *sql, const char *in_format, ...);

/* ret: 0, or the USH_E code of the first statement of the job that failed; *message says which and
 * why. */
int ush_db_error(const struct ush_db_conn *conn, struct ush_message *message);

#endif /* USH_DB_H */
