/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PostgreSQL by libpq. Jobs that write are SERIALIZABLE, those that read REPEATABLE READ.
 *
 * A serialization failure or deadlock is repeated by the pool. A connection that is lost before the
 * commit was sent: the server has rolled back, so the job is repeated on a new one. Lost after it
 * was sent and before its answer came: -USH_EUNKNOWN, whoever asked has to look. Results are taken
 * whole, as text.
 */
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "db/internal.h"

#define CONNECT_S "5"
/* Types of values, from catalog/pg_type_d.h; text is left to the server to infer. */
#define OID_INT8 20u
#define OID_FLOAT8 701u
#define OID_BYTEA 17u

struct pg_conn {
	PGconn *handle;
	uint64_t names; /* prepared so far */
	bool in_job;    /* after BEGIN */
};

struct pg_statement {
	char name[24];
	char *numbered;
	uint32_t count;
	bool prepared;
	PGresult *result;
	int row;              /* from 0; -1 before the first */
	unsigned char *bytes; /* the last value that ush_db_bytes gave */
};

static int code_of_state(const char *state)
{
	static const struct {
		const char *prefix;
		int code;
	} codes[] = {
		{"23505", -USH_EEXIST},
		{"40001", -USH_EBUSY},
		{"40P01", -USH_EBUSY},
		{"55P03", -USH_EBUSY},
		{"53100", -USH_EFULL},
		{"53200", -USH_ENOMEM},
		{"53", -USH_EBUSY},
		{"25006", -USH_EROFS},
		{"42501", -USH_EACCES},
		{"28", -USH_EACCES},
		/* Cancelled: its time was over, or an administrator asked for it. Not
		 * -USH_ESTOPPED, the end of the pool, after which nobody tries again. */
		{"57014", -USH_EBUSY},
		{"57", -USH_EIO},
		{"08", -USH_EIO},
		{"58", -USH_EIO},
		{"XX00", -USH_ECORRUPT},
	};

	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
		if (strncmp(state, codes[i].prefix, strlen(codes[i].prefix)) == 0)
			return codes[i].code;
	}
	return -USH_EINVAL;
}

/* XX000 is an internal error, not corruption. */
static int code_of(const char *state)
{
	return strcmp(state, "XX000") == 0 ? -USH_EIO : code_of_state(state);
}

/* Remembers a failure. result: NULL: the connection's. The text never holds a value: what the
 * server says of data (class 22) and of keys (class 23) may. */
static int fail(struct ush_db_conn *conn, const PGresult *result, const char *sql)
{
	struct pg_conn *pg = conn->handle;
	const char *state = result != NULL ? PQresultErrorField(result, PG_DIAG_SQLSTATE) : NULL;
	const char *said =
		result != NULL ? PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY) : NULL;
	char text[200];
	int code;

	if (PQstatus(pg->handle) == CONNECTION_BAD) {
		conn->again = conn->error == 0;
		return db_fail(conn, -USH_EIO, sql, "the connection to the server was lost");
	}
	if (state == NULL || said == NULL)
		return db_fail(conn, -USH_EIO, sql, "the server gave no answer");
	code = code_of(state);
	if (strcmp(state, "40001") == 0 || strcmp(state, "40P01") == 0)
		conn->again = conn->error == 0;
	if (state[0] == '2' && (state[1] == '2' || state[1] == '3'))
		said = "a value does not fit";
	snprintf(text, sizeof(text), "%s, SQLSTATE %s", said, state);
	return db_fail(conn, code, sql, text);
}

static bool is_good(const PGresult *result)
{
	ExecStatusType status = PQresultStatus(result);

	return status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK;
}

static int run_plain(struct ush_db_conn *conn, const char *sql)
{
	struct pg_conn *pg = conn->handle;
	PGresult *result = PQexec(pg->handle, sql);
	int ret = is_good(result) ? 0 : fail(conn, result, sql);

	PQclear(result);
	return ret;
}

static void say_nothing(void *context, const char *text)
{
	(void)context;
	(void)text;
}

/* What a session must be whatever the server's defaults are. */
static const char set_up[] =
	"SET client_encoding = 'UTF8'; SET standard_conforming_strings = on;"
	"SET synchronous_commit = on; SET timezone = 'UTC'; SET DateStyle = 'ISO';"
	"SET bytea_output = 'hex'; SET extra_float_digits = 1; SET lock_timeout = '5s';"
	"SET statement_timeout = '60s'; SET idle_in_transaction_session_timeout = '120s'";

static int connect_now(struct ush_db_conn *conn, struct ush_message *message)
{
	/* Those behind dbname win: what the string says itself counts. */
	static const char *const keys[] = {"application_name", "connect_timeout", "keepalives_idle",
		"keepalives_interval", "keepalives_count", "tcp_user_timeout", "dbname", NULL};
	const char *values[] = {
		"usher-control", CONNECT_S, "10", "5", "3", "20000", conn->where, NULL};
	struct pg_conn *pg = conn->handle;
	const char *said;

	pg->handle = PQconnectdbParams(keys, values, 1);
	if (pg->handle == NULL) {
		ush_message_set(message, "database: no memory");
		return -USH_ENOMEM;
	}
	PQsetNoticeProcessor(pg->handle, say_nothing, NULL);
	if (PQstatus(pg->handle) == CONNECTION_OK && run_plain(conn, set_up) == 0)
		return 0;
	said = PQerrorMessage(pg->handle);
	ush_message_set(message, "database: %.*s", (int)strcspn(said, "\n"), said);
	PQfinish(pg->handle);
	pg->handle = NULL;
	return -USH_EIO;
}

static int pg_open(struct ush_db_conn *conn, struct ush_message *message)
{
	int ret;

	conn->handle = calloc(1, sizeof(struct pg_conn));
	if (conn->handle == NULL)
		return -USH_ENOMEM;
	ret = connect_now(conn, message);
	if (ret != 0) {
		free(conn->handle);
		conn->handle = NULL;
	}
	conn->error = 0;
	return ret;
}

static void pg_close(struct ush_db_conn *conn)
{
	struct pg_conn *pg = conn->handle;

	if (pg->handle != NULL)
		PQfinish(pg->handle);
	free(pg);
	conn->handle = NULL;
}

/* A new connection instead of a lost one; prepared statements went with it. */
static int renew(struct ush_db_conn *conn)
{
	struct pg_conn *pg = conn->handle;
	struct ush_message message = {""};
	int ret;

	db_conn_forget(conn);
	if (pg->handle != NULL)
		PQfinish(pg->handle);
	pg->handle = NULL;
	ret = connect_now(conn, &message);
	if (ret == 0)
		return 0;
	conn->error = 0;
	conn->again = true;
	return db_fail(conn, ret, NULL, message.text);
}

static int pg_begin(struct ush_db_conn *conn, enum ush_db_kind kind)
{
	static const char write[] = "BEGIN ISOLATION LEVEL SERIALIZABLE READ WRITE";
	static const char read[] = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
	struct pg_conn *pg = conn->handle;

	if ((pg->handle == NULL || PQstatus(pg->handle) == CONNECTION_BAD) && renew(conn) != 0)
		return conn->error;
	return run_plain(conn, kind == USH_DB_WRITE ? write : read);
}

static void pg_rollback(struct ush_db_conn *conn)
{
	struct pg_conn *pg = conn->handle;

	if (pg->handle != NULL && PQstatus(pg->handle) == CONNECTION_OK)
		PQclear(PQexec(pg->handle, "ROLLBACK"));
}

static int pg_commit(struct ush_db_conn *conn, enum ush_db_kind kind)
{
	struct pg_conn *pg = conn->handle;
	PGresult *result;
	int ret = 0;

	/* Nothing was sent yet: a connection that is gone already took nothing with it. */
	if (PQstatus(pg->handle) == CONNECTION_BAD)
		return fail(conn, NULL, "COMMIT");
	result = PQexec(pg->handle, "COMMIT");
	if (PQstatus(pg->handle) == CONNECTION_BAD) {
		/* What was read, was read. */
		if (kind == USH_DB_WRITE)
			ret = db_fail(conn, -USH_EUNKNOWN, "COMMIT", "the connection was lost");
	} else if (!is_good(result)) {
		ret = fail(conn, result, "COMMIT");
	} else if (strcmp(PQcmdStatus(result), "COMMIT") != 0) {
		ret = db_fail(conn, -USH_EIO, "COMMIT", "the server rolled back");
	}
	PQclear(result);
	return ret;
}

static int pg_mark(struct ush_db_conn *conn)
{
	return run_plain(conn, "SAVEPOINT ush_try");
}

static int pg_unmark(struct ush_db_conn *conn, bool undo)
{
	return run_plain(conn, undo ? "ROLLBACK TO SAVEPOINT ush_try; RELEASE SAVEPOINT ush_try"
				    : "RELEASE SAVEPOINT ush_try");
}

static int pg_prepare(struct ush_db_rows *rows)
{
	struct pg_statement *statement = calloc(1, sizeof(*statement));

	if (statement != NULL)
		statement->numbered = db_number_values(rows->sql, &statement->count);
	if (statement == NULL || statement->numbered == NULL) {
		free(statement);
		return db_fail(rows->conn, -USH_ENOMEM, rows->sql, "no memory");
	}
	/* Types of the values are known at the first start. */
	rows->statement = statement;
	return 0;
}

static void pg_forget(struct ush_db_rows *rows)
{
	struct pg_statement *statement = rows->statement;
	struct pg_conn *pg = rows->conn->handle;
	char text[48];

	if (statement->prepared && pg->handle != NULL && PQstatus(pg->handle) == CONNECTION_OK) {
		snprintf(text, sizeof(text), "DEALLOCATE %s", statement->name);
		PQclear(PQexec(pg->handle, text));
	}
	PQclear(statement->result);
	PQfreemem(statement->bytes);
	free(statement->numbered);
	free(statement);
}

static Oid type_of(char letter)
{
	switch (letter) {
	case 'i':
		return OID_INT8;
	case 'd':
		return OID_FLOAT8;
	case 'b':
		return OID_BYTEA;
	default:
		return 0;
	}
}

static int prepare_now(struct ush_db_rows *rows, const struct db_value *values)
{
	struct pg_statement *statement = rows->statement;
	struct pg_conn *pg = rows->conn->handle;
	Oid types[DB_VALUE_COUNT_MAX];
	PGresult *result;
	int ret = 0;

	for (uint32_t i = 0; i < statement->count; i++)
		types[i] = type_of(values[i].type);
	snprintf(
		statement->name, sizeof(statement->name), "s%llu", (unsigned long long)++pg->names);
	result = PQprepare(
		pg->handle, statement->name, statement->numbered, (int)statement->count, types);
	if (is_good(result))
		statement->prepared = true;
	else
		ret = fail(rows->conn, result, rows->sql);
	PQclear(result);
	return ret;
}

static int pg_start(
	struct ush_db_rows *rows, const struct db_value *values, uint32_t count, bool *exists)
{
	struct pg_statement *statement = rows->statement;
	struct pg_conn *pg = rows->conn->handle;
	const char *texts[DB_VALUE_COUNT_MAX];
	char numbers[DB_VALUE_COUNT_MAX][32];
	int lengths[DB_VALUE_COUNT_MAX], formats[DB_VALUE_COUNT_MAX];
	const char *state;

	/* As many values as `?`: our own bug otherwise. */
	USH_ASSERT(statement->count == count);
	if (!statement->prepared && prepare_now(rows, values) != 0)
		return rows->conn->error;
	for (uint32_t i = 0; i < count; i++) {
		const struct db_value *value = &values[i];

		formats[i] = value->type == 'b';
		lengths[i] = (int)value->bytes;
		texts[i] = numbers[i];
		if (value->type == 'i')
			snprintf(numbers[i], sizeof(numbers[i]), "%lld", (long long)value->i);
		else if (value->type == 'd')
			snprintf(numbers[i], sizeof(numbers[i]), "%.17g", value->d);
		else
			texts[i] = value->type == 't'   ? value->t
				   : value->type == 'b' ? value->b
							: NULL;
	}
	statement->result =
		PQexecPrepared(pg->handle, statement->name, (int)count, texts, lengths, formats, 0);
	statement->row = -1;
	if (is_good(statement->result))
		return 0;
	state = PQresultErrorField(statement->result, PG_DIAG_SQLSTATE);
	*exists = state != NULL && strcmp(state, "23505") == 0;
	return *exists ? -USH_EEXIST : fail(rows->conn, statement->result, rows->sql);
}

static int pg_step(struct ush_db_rows *rows, bool *exists)
{
	struct pg_statement *statement = rows->statement;

	(void)exists;
	return ++statement->row < PQntuples(statement->result);
}

static int64_t pg_changed(struct ush_db_rows *rows)
{
	struct pg_statement *statement = rows->statement;

	/* A SELECT counts its rows there; it changed none. */
	if (strncmp(PQcmdStatus(statement->result), "SELECT", 6) == 0)
		return 0;
	return strtoll(PQcmdTuples(statement->result), NULL, 10);
}

static void pg_end(struct ush_db_rows *rows)
{
	struct pg_statement *statement = rows->statement;

	PQclear(statement->result);
	PQfreemem(statement->bytes);
	statement->result = NULL;
	statement->bytes = NULL;
}

static bool pg_is_null(struct ush_db_rows *rows, uint32_t column)
{
	struct pg_statement *statement = rows->statement;

	return PQgetisnull(statement->result, statement->row, (int)column);
}

static const char *pg_text(struct ush_db_rows *rows, uint32_t column)
{
	struct pg_statement *statement = rows->statement;

	if (pg_is_null(rows, column))
		return NULL;
	return PQgetvalue(statement->result, statement->row, (int)column);
}

static int64_t pg_int(struct ush_db_rows *rows, uint32_t column)
{
	const char *text = pg_text(rows, column);

	if (text == NULL)
		return 0;
	/* As SQLite has it: true is 1. */
	return text[0] == 't' ? 1 : strtoll(text, NULL, 10);
}

static double pg_double(struct ush_db_rows *rows, uint32_t column)
{
	const char *text = pg_text(rows, column);

	return text != NULL ? strtod(text, NULL) : 0;
}

static const void *pg_bytes(struct ush_db_rows *rows, uint32_t column, size_t *bytes)
{
	struct pg_statement *statement = rows->statement;
	const char *text = pg_text(rows, column);

	*bytes = 0;
	if (text == NULL)
		return NULL;
	PQfreemem(statement->bytes);
	statement->bytes = NULL;
	if (PQftype(statement->result, (int)column) != OID_BYTEA) {
		*bytes = strlen(text);
		return text;
	}
	statement->bytes = PQunescapeBytea((const unsigned char *)text, bytes);
	if (statement->bytes == NULL)
		db_fail(rows->conn, -USH_ENOMEM, rows->sql, "no memory");
	return statement->bytes;
}

const struct db_backend db_postgres = {
	.postgres = true,
	.open = pg_open,
	.close = pg_close,
	.begin = pg_begin,
	.commit = pg_commit,
	.rollback = pg_rollback,
	.script = run_plain,
	.mark = pg_mark,
	.unmark = pg_unmark,
	.prepare = pg_prepare,
	.forget = pg_forget,
	.start = pg_start,
	.step = pg_step,
	.changed = pg_changed,
	.end = pg_end,
	.is_null = pg_is_null,
	.get_int = pg_int,
	.get_double = pg_double,
	.get_text = pg_text,
	.get_bytes = pg_bytes,
};
