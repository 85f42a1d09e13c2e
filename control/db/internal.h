/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of db/ share: a connection, its statements, and what SQLite and PostgreSQL each
 * do.
 *
 * Owns:  nothing.
 * Reads: nothing.
 * Never: included from elsewhere.
 */
#ifndef USH_DB_INTERNAL_H
#define USH_DB_INTERNAL_H

#include <stdarg.h>

#include "db/db.h"

/* Values of one statement. */
#define DB_VALUE_COUNT_MAX 48u
/* Prepared statements of one connection; beyond it the one not used for longest is dropped. */
#define DB_STATEMENT_COUNT_MAX 256u
#define DB_BUCKET_COUNT 128u
static_assert((DB_BUCKET_COUNT & (DB_BUCKET_COUNT - 1)) == 0, "a mask finds the bucket");

/* A value for one `?`. */
struct db_value {
	char type; /* i, d, t, b; 0: null */
	int64_t i;
	double d;
	const char *t;
	const void *b;
	size_t bytes;
};

/* A prepared statement, and the cursor over its rows while `open`. */
struct ush_db_rows {
	struct ush_db_conn *conn;
	struct ush_db_rows *next; /* of its bucket */
	char *sql;
	uint64_t hash;
	uint64_t used; /* the connection's count of statements at its last use */
	bool open;
	void *statement; /* of the backend */
};

struct ush_db_conn {
	struct ush_db *db;
	const struct db_backend *backend;
	char *where; /* path or connection string */
	bool writes; /* SQLite: whether it may */
	void *handle;
	struct ush_db_rows *buckets[DB_BUCKET_COUNT];
	uint32_t statement_count;
	uint64_t used;
	/* Of the job that runs: the first failure; whether it is to be run again. */
	int error;
	bool again;
	bool scrub; /* SQLite: the log is to be cut after a commit */
	struct ush_message message;
	struct ush_db_rows none; /* what a failed query returns */
};

/* What differs. Functions that fail call db_fail() first and return what it returned. */
struct db_backend {
	bool postgres;
	int (*open)(struct ush_db_conn *conn, struct ush_message *message);
	void (*close)(struct ush_db_conn *conn);
	int (*begin)(struct ush_db_conn *conn, enum ush_db_kind kind);
	int (*commit)(struct ush_db_conn *conn, enum ush_db_kind kind);
	void (*rollback)(struct ush_db_conn *conn);
	/* Text of several statements. */
	int (*script)(struct ush_db_conn *conn, const char *sql);
	/* Before and after a statement that may break a UNIQUE without failing the job. */
	int (*mark)(struct ush_db_conn *conn);
	int (*unmark)(struct ush_db_conn *conn, bool undo);
	int (*prepare)(struct ush_db_rows *rows);
	void (*forget)(struct ush_db_rows *rows);
	/* *exists: a broken UNIQUE was met; that alone is not a failure here. */
	int (*start)(struct ush_db_rows *rows, const struct db_value *values, uint32_t count,
		bool *exists);
	/* ret: 1: a row, 0: the end, negative. */
	int (*step)(struct ush_db_rows *rows, bool *exists);
	int64_t (*changed)(struct ush_db_rows *rows);
	void (*end)(struct ush_db_rows *rows);
	bool (*is_null)(struct ush_db_rows *rows, uint32_t column);
	int64_t (*get_int)(struct ush_db_rows *rows, uint32_t column);
	double (*get_double)(struct ush_db_rows *rows, uint32_t column);
	const char *(*get_text)(struct ush_db_rows *rows, uint32_t column);
	const void *(*get_bytes)(struct ush_db_rows *rows, uint32_t column, size_t *bytes);
};

extern const struct db_backend db_sqlite;
extern const struct db_backend db_postgres;

/* Remembers the first failure of a job. sql: NULL: none. ret: error. */
int db_fail(struct ush_db_conn *conn, int error, const char *sql, const char *text);
/* Takes the values that `format` names out of the arguments. ret: their number. */
uint32_t db_take_values(const char *format, va_list *arguments, struct db_value *values);
/* As ush_db_exec. */
int64_t db_run_values(
	struct ush_db_conn *conn, const char *sql, const struct db_value *values, uint32_t count);
/* Opens and closes a connection. err: as ush_db_open. */
int db_conn_open(struct ush_db_conn *conn, struct ush_message *message);
void db_conn_close(struct ush_db_conn *conn);
/* Forgets all prepared statements: those of a lost connection, too. */
void db_conn_forget(struct ush_db_conn *conn);
/* Ends the cursors that a job left open. */
void db_conn_end_all(struct ush_db_conn *conn);
/* Runs a job once, in a transaction. conn->again: it may be run again. */
int db_conn_run(struct ush_db_conn *conn, enum ush_db_kind kind, ush_db_job *job, void *context);
/* Brings the schema up to date, in one transaction. */
int db_schema_update(struct ush_db_conn *conn, const struct ush_db_step *const *steps,
	struct ush_message *message);
/* The schema text of SQLite in PostgreSQL's words (malloced); see docs/db.md. NULL: no memory. */
char *db_schema_translate(const char *sql);
/* `?` outside quotes and comments become $1, $2 ... (malloced). NULL: no memory. */
char *db_number_values(const char *sql, uint32_t *count);

#endif /* USH_DB_INTERNAL_H */
