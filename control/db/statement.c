/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Statements within a job: found or prepared, their values bound, run, read.
 *
 * The first failure of a job is remembered and everything after it fails without reaching the
 * database. A statement that did not end is ended with its job.
 */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "db/internal.h"

int db_fail(struct ush_db_conn *conn, int error, const char *sql, const char *text)
{
	if (conn->error != 0)
		return conn->error;
	conn->error = error;
	if (sql == NULL)
		ush_message_set(&conn->message, "database: %s (%s)", ush_error_text(error), text);
	else
		ush_message_set(&conn->message, "database: %s (%s), in: %.200s",
			ush_error_text(error), text, sql);
	return error;
}

/* FNV-1a: the texts are ours. */
static uint64_t hash_text(const char *text)
{
	uint64_t hash = 0xcbf29ce484222325ull;

	for (; *text != '\0'; text++)
		hash = (hash ^ (uint8_t)*text) * 0x100000001b3ull;
	return hash;
}

static void unlink_and_free(struct ush_db_rows **at)
{
	struct ush_db_rows *rows = *at;

	*at = rows->next;
	rows->conn->statement_count--;
	rows->conn->backend->forget(rows);
	free(rows->sql);
	free(rows);
}

void db_conn_forget(struct ush_db_conn *conn)
{
	for (uint32_t i = 0; i < DB_BUCKET_COUNT; i++) {
		while (conn->buckets[i] != NULL)
			unlink_and_free(&conn->buckets[i]);
	}
}

void db_conn_end_all(struct ush_db_conn *conn)
{
	for (uint32_t i = 0; i < DB_BUCKET_COUNT; i++) {
		for (struct ush_db_rows *rows = conn->buckets[i]; rows != NULL; rows = rows->next)
			ush_db_end(rows);
	}
}

static void forget_oldest(struct ush_db_conn *conn)
{
	struct ush_db_rows **oldest = NULL;

	for (uint32_t i = 0; i < DB_BUCKET_COUNT; i++) {
		for (struct ush_db_rows **at = &conn->buckets[i]; *at != NULL; at = &(*at)->next) {
			if (!(*at)->open && (oldest == NULL || (*at)->used < (*oldest)->used))
				oldest = at;
		}
	}
	if (oldest != NULL)
		unlink_and_free(oldest);
}

/* ret: the statement, prepared and not open; NULL after a failure. */
static struct ush_db_rows *find(struct ush_db_conn *conn, const char *sql)
{
	uint64_t hash = hash_text(sql);
	struct ush_db_rows **bucket = &conn->buckets[hash & (DB_BUCKET_COUNT - 1)], *rows;

	for (rows = *bucket; rows != NULL; rows = rows->next) {
		if (rows->hash == hash && strcmp(rows->sql, sql) == 0)
			break;
	}
	if (rows != NULL) {
		/* Two cursors over one statement: our own bug. */
		USH_ASSERT(!rows->open);
		rows->used = ++conn->used;
		return rows;
	}
	if (conn->statement_count >= DB_STATEMENT_COUNT_MAX)
		forget_oldest(conn);
	rows = calloc(1, sizeof(*rows));
	if (rows != NULL)
		rows->sql = strdup(sql);
	if (rows == NULL || rows->sql == NULL) {
		free(rows);
		db_fail(conn, -USH_ENOMEM, sql, "no memory");
		return NULL;
	}
	rows->conn = conn;
	rows->hash = hash;
	rows->used = ++conn->used;
	if (conn->backend->prepare(rows) != 0) {
		free(rows->sql);
		free(rows);
		return NULL;
	}
	rows->next = *bucket;
	*bucket = rows;
	conn->statement_count++;
	return rows;
}

uint32_t db_take_values(const char *format, va_list *arguments, struct db_value *values)
{
	uint32_t count = 0;

	for (; format[count] != '\0'; count++) {
		struct db_value *value = &values[count];

		USH_ASSERT(count < DB_VALUE_COUNT_MAX);
		memset(value, 0, sizeof(*value));
		value->type = format[count];
		if (value->type == 'i') {
			value->i = va_arg(*arguments, int64_t);
		} else if (value->type == 'd') {
			value->d = va_arg(*arguments, double);
		} else if (value->type == 't') {
			value->t = va_arg(*arguments, const char *);
			if (value->t == NULL)
				value->type = '\0';
		} else {
			USH_ASSERT(value->type == 'b');
			value->b = va_arg(*arguments, const void *);
			value->bytes = va_arg(*arguments, size_t);
			if (value->b == NULL)
				value->type = '\0';
		}
	}
	return count;
}

/* ret: the cursor of a started statement, or NULL after a failure (or *exists). */
static struct ush_db_rows *start_values(struct ush_db_conn *conn, const char *sql,
	const struct db_value *values, uint32_t count, bool *exists)
{
	struct ush_db_rows *rows;

	*exists = false;
	if (conn->error != 0)
		return NULL;
	rows = find(conn, sql);
	if (rows == NULL)
		return NULL;
	rows->open = true;
	if (conn->backend->start(rows, values, count, exists) == 0 && !*exists)
		return rows;
	ush_db_end(rows);
	return NULL;
}

static struct ush_db_rows *start(struct ush_db_conn *conn, const char *sql, const char *format,
	va_list *arguments, bool *exists)
{
	struct db_value values[DB_VALUE_COUNT_MAX];
	uint32_t count = db_take_values(format, arguments, values);

	return start_values(conn, sql, values, count, exists);
}

/* Runs a started statement to its end. ret: rows changed; negative: a failure, or -USH_EEXIST,
 * which is none yet. */
static int64_t finish(struct ush_db_conn *conn, struct ush_db_rows *rows, bool exists)
{
	int64_t changed = 0;
	int ret = 1;

	if (rows == NULL)
		return exists ? -USH_EEXIST : conn->error;
	while (ret == 1)
		ret = conn->backend->step(rows, &exists);
	if (ret == 0 && !exists)
		changed = conn->backend->changed(rows);
	ush_db_end(rows);
	if (exists)
		return -USH_EEXIST;
	return ret < 0 ? ret : changed;
}

static int64_t run(
	struct ush_db_conn *conn, const char *sql, const char *format, va_list *arguments)
{
	bool exists;
	struct ush_db_rows *rows = start(conn, sql, format, arguments, &exists);

	return finish(conn, rows, exists);
}

/* A broken key of a statement that nobody only tried. */
static int64_t must(struct ush_db_conn *conn, const char *sql, int64_t ret)
{
	if (ret == -USH_EEXIST && conn->error == 0)
		db_fail(conn, -USH_EEXIST, sql, "a key is there already");
	return ret;
}

int64_t db_run_values(
	struct ush_db_conn *conn, const char *sql, const struct db_value *values, uint32_t count)
{
	bool exists;
	struct ush_db_rows *rows = start_values(conn, sql, values, count, &exists);

	return must(conn, sql, finish(conn, rows, exists));
}

int64_t ush_db_exec(struct ush_db_conn *conn, const char *sql, const char *format, ...)
{
	va_list arguments;
	int64_t ret;

	va_start(arguments, format);
	ret = run(conn, sql, format, &arguments);
	va_end(arguments);
	return must(conn, sql, ret);
}

int64_t ush_db_try(struct ush_db_conn *conn, const char *sql, const char *format, ...)
{
	va_list arguments;
	int64_t ret;
	int undone;

	if (conn->error != 0 || conn->backend->mark(conn) != 0)
		return conn->error;
	va_start(arguments, format);
	ret = run(conn, sql, format, &arguments);
	va_end(arguments);
	if (conn->error != 0)
		return conn->error;
	undone = conn->backend->unmark(conn, ret < 0);
	return undone != 0 ? undone : ret;
}

struct ush_db_rows *ush_db_query(struct ush_db_conn *conn, const char *sql, const char *format, ...)
{
	struct ush_db_rows *rows;
	va_list arguments;
	bool exists;

	va_start(arguments, format);
	rows = start(conn, sql, format, &arguments, &exists);
	va_end(arguments);
	if (exists)
		db_fail(conn, -USH_EEXIST, sql, "a key is there already");
	return rows != NULL ? rows : &conn->none;
}

bool ush_db_next(struct ush_db_rows *rows)
{
	bool exists = false;
	int ret;

	if (!rows->open)
		return false;
	ret = rows->conn->backend->step(rows, &exists);
	if (exists)
		db_fail(rows->conn, -USH_EEXIST, rows->sql, "a key is there already");
	if (ret == 1)
		return true;
	ush_db_end(rows);
	return false;
}

void ush_db_end(struct ush_db_rows *rows)
{
	if (!rows->open)
		return;
	rows->open = false;
	rows->conn->backend->end(rows);
}

bool ush_db_is_null(struct ush_db_rows *rows, uint32_t column)
{
	USH_ASSERT(rows->open);
	return rows->conn->backend->is_null(rows, column);
}

int64_t ush_db_int(struct ush_db_rows *rows, uint32_t column)
{
	USH_ASSERT(rows->open);
	return rows->conn->backend->get_int(rows, column);
}

double ush_db_double(struct ush_db_rows *rows, uint32_t column)
{
	USH_ASSERT(rows->open);
	return rows->conn->backend->get_double(rows, column);
}

const char *ush_db_text(struct ush_db_rows *rows, uint32_t column)
{
	USH_ASSERT(rows->open);
	return rows->conn->backend->get_text(rows, column);
}

const void *ush_db_bytes(struct ush_db_rows *rows, uint32_t column, size_t *bytes)
{
	USH_ASSERT(rows->open);
	return rows->conn->backend->get_bytes(rows, column, bytes);
}

static void give_text(struct ush_db_rows *rows, uint32_t column, char **out)
{
	const char *text = ush_db_text(rows, column);

	*out = text != NULL ? strdup(text) : NULL;
	if (text != NULL && *out == NULL)
		db_fail(rows->conn, -USH_ENOMEM, rows->sql, "no memory");
}

static void give_bytes(struct ush_db_rows *rows, uint32_t column, void **out, size_t *size)
{
	const void *bytes = ush_db_bytes(rows, column, size);

	*out = bytes != NULL ? malloc(*size + 1) : NULL;
	if (*out != NULL)
		memcpy(*out, bytes, *size);
	else if (bytes != NULL)
		db_fail(rows->conn, -USH_ENOMEM, rows->sql, "no memory");
}

int ush_db_get(struct ush_db_conn *conn, const char *sql, const char *in_format, ...)
{
	struct ush_db_rows *rows;
	const char *out_format;
	va_list arguments;
	bool exists;
	int found = 0;

	va_start(arguments, in_format);
	rows = start(conn, sql, in_format, &arguments, &exists);
	if (exists)
		db_fail(conn, -USH_EEXIST, sql, "a key is there already");
	if (rows != NULL && ush_db_next(rows)) {
		found = 1;
		out_format = va_arg(arguments, const char *);
		for (uint32_t i = 0; out_format[i] != '\0'; i++) {
			if (out_format[i] == 'i') {
				*va_arg(arguments, int64_t *) = ush_db_int(rows, i);
			} else if (out_format[i] == 'd') {
				*va_arg(arguments, double *) = ush_db_double(rows, i);
			} else if (out_format[i] == 't') {
				give_text(rows, i, va_arg(arguments, char **));
			} else {
				void **bytes = va_arg(arguments, void **);

				USH_ASSERT(out_format[i] == 'b');
				give_bytes(rows, i, bytes, va_arg(arguments, size_t *));
			}
		}
		ush_db_end(rows);
	}
	va_end(arguments);
	return conn->error != 0 ? conn->error : found;
}

int ush_db_error(const struct ush_db_conn *conn, struct ush_message *message)
{
	if (conn->error != 0 && message != NULL)
		*message = conn->message;
	return conn->error;
}

void ush_db_scrub(struct ush_db_conn *conn)
{
	conn->scrub = true;
}

int db_conn_open(struct ush_db_conn *conn, struct ush_message *message)
{
	conn->none.conn = conn;
	return conn->backend->open(conn, message);
}

void db_conn_close(struct ush_db_conn *conn)
{
	db_conn_forget(conn);
	conn->backend->close(conn);
	free(conn->where);
	conn->where = NULL;
}

int db_conn_run(struct ush_db_conn *conn, enum ush_db_kind kind, ush_db_job *job, void *context)
{
	int ret;

	conn->error = 0;
	conn->again = false;
	conn->message.text[0] = '\0';
	ret = conn->backend->begin(conn, kind);
	if (ret != 0)
		return ret;
	ret = job(conn, context);
	db_conn_end_all(conn);
	if (conn->error != 0)
		ret = conn->error;
	if (ret < 0) {
		conn->backend->rollback(conn);
		return ret;
	}
	return conn->backend->commit(conn, kind);
}
