/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many rows by one statement.
 *
 * SQLite takes each row as it comes: a statement costs it a few microseconds. PostgreSQL gets
 * columns as arrays, "INSERT ... SELECT * FROM unnest(...)" instead of "INSERT ... VALUES (...)":
 * otherwise each row is a message there and one back.
 *
 * A key that comes twice ends the statement before its second row, since PostgreSQL refuses to
 * change a row twice in one; so the last row counts, as it does one by one.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "db/internal.h"

/* Rows of one statement; src: guess. */
#define ROWS_MAX 1000u
#define KEY_SLOTS 2048u
static_assert(KEY_SLOTS >= 2 * ROWS_MAX && (KEY_SLOTS & (KEY_SLOTS - 1)) == 0, "half empty");

struct column {
	char *text; /* an array as PostgreSQL reads it, without its end */
	size_t count, size;
};

struct ush_db_many {
	struct ush_db_conn *conn;
	char *sql;
	const char *format; /* of a row */
	uint32_t columns, keys;
	uint32_t rows;   /* that wait */
	int64_t changed; /* by those before */
	struct column column[DB_VALUE_COUNT_MAX];
	/* Keys of the rows that wait: their values, `keys` of them each; slots: their number,
	 * from 1.
	 */
	int64_t *key;
	uint16_t slots[KEY_SLOTS];
};

/* ret: "... VALUES (?, ?) ..." with the values as a query of arrays (malloced); NULL: no memory. */
static char *of_arrays(const char *sql, const char *format)
{
	static const char values[] = "VALUES (";
	const char *at = strstr(sql, values), *end = at != NULL ? strchr(at, ')') : NULL;
	size_t count = 0, size = strlen(sql) + 64 + 32 * strlen(format);
	char *out = malloc(size);

	/* Our own statements: one group of plain `?`. */
	USH_ASSERT(end != NULL);
	USH_ASSERT(strspn(at + strlen(values), "?, ") == (size_t)(end - at) - strlen(values));
	if (out == NULL)
		return NULL;
	count = (size_t)snprintf(out, size, "%.*sSELECT * FROM unnest(", (int)(at - sql), sql);
	for (const char *letter = format; *letter != '\0'; letter++)
		count += (size_t)snprintf(out + count, size - count, "%sCAST(? AS %s[])",
			letter == format ? "" : ", ", *letter == 'i' ? "BIGINT" : "TEXT");
	snprintf(out + count, size - count, "%s", end);
	return out;
}

struct ush_db_many *ush_db_many(
	struct ush_db_conn *conn, const char *sql, const char *format, uint32_t keys)
{
	struct ush_db_many *many = calloc(1, sizeof(*many));

	USH_ASSERT(many != NULL);
	*many = (struct ush_db_many){
		.conn = conn, .format = format, .columns = (uint32_t)strlen(format), .keys = keys};
	USH_ASSERT(many->columns <= DB_VALUE_COUNT_MAX);
	USH_ASSERT(strspn(format, "it") == many->columns);
	USH_ASSERT(strspn(format, "i") >= keys);
	many->sql = conn->backend->postgres ? of_arrays(sql, format) : strdup(sql);
	many->key = calloc(ROWS_MAX * keys + 1, sizeof(*many->key));
	USH_ASSERT(many->sql != NULL);
	USH_ASSERT(many->key != NULL);
	return many;
}

static void put(struct column *column, const char *text, size_t bytes)
{
	if (column->count + bytes + 2 > column->size) {
		column->size = 2 * (column->count + bytes) + 256;
		column->text = realloc(column->text, column->size);
		USH_ASSERT(column->text != NULL);
	}
	memcpy(column->text + column->count, text, bytes);
	column->count += bytes;
	column->text[column->count] = '\0';
}

static void put_value(struct column *column, const struct db_value *value, bool first)
{
	char number[32];

	put(column, first ? "{" : ",", 1);
	if (value->type == 'i') {
		int bytes = snprintf(number, sizeof(number), "%lld", (long long)value->i);

		put(column, number, (size_t)bytes);
		return;
	}
	if (value->type == '\0') {
		put(column, "NULL", 4);
		return;
	}
	put(column, "\"", 1);
	for (const char *at = value->t; *at != '\0';) {
		size_t plain = strcspn(at, "\"\\");

		put(column, at, plain);
		at += plain;
		if (*at != '\0') {
			put(column, "\\", 1);
			put(column, at++, 1);
		}
	}
	put(column, "\"", 1);
}

/* Runs the statement with the rows that wait. */
static void flush(struct ush_db_many *many)
{
	struct db_value values[DB_VALUE_COUNT_MAX];
	int64_t changed;

	if (many->rows == 0)
		return;
	for (uint32_t i = 0; i < many->columns; i++) {
		put(&many->column[i], "}", 1);
		values[i] = (struct db_value){.type = 't', .t = many->column[i].text};
		many->column[i].count = 0;
	}
	changed = db_run_values(many->conn, many->sql, values, many->columns);
	many->changed += changed > 0 ? changed : 0;
	many->rows = 0;
	memset(many->slots, 0, sizeof(many->slots));
}

/* Remembers the key of the next row. ret: false: it is that of one that waits. */
static bool enter(struct ush_db_many *many, const struct db_value *values)
{
	int64_t *key = many->key + (size_t)many->rows * many->keys;
	uint64_t hash = 0;
	uint32_t at;

	if (many->keys == 0)
		return true;
	for (uint32_t i = 0; i < many->keys; i++) {
		key[i] = values[i].i;
		hash = (hash ^ (uint64_t)key[i]) * 0x9e3779b97f4a7c15ull;
		hash ^= hash >> 32;
	}
	for (at = hash & (KEY_SLOTS - 1); many->slots[at] != 0; at = (at + 1) & (KEY_SLOTS - 1)) {
		const int64_t *other = many->key + (size_t)(many->slots[at] - 1) * many->keys;

		if (memcmp(other, key, many->keys * sizeof(*key)) == 0)
			return false;
	}
	many->slots[at] = (uint16_t)(many->rows + 1);
	return true;
}

void ush_db_many_add(struct ush_db_many *many, ...)
{
	struct db_value values[DB_VALUE_COUNT_MAX];
	va_list arguments;

	va_start(arguments, many);
	db_take_values(many->format, &arguments, values);
	va_end(arguments);
	if (many->conn->error != 0)
		return;
	if (!many->conn->backend->postgres) {
		int64_t changed = db_run_values(many->conn, many->sql, values, many->columns);

		many->changed += changed > 0 ? changed : 0;
		return;
	}
	if (many->rows == ROWS_MAX)
		flush(many);
	if (!enter(many, values)) {
		flush(many);
		enter(many, values);
	}
	for (uint32_t i = 0; i < many->columns; i++)
		put_value(&many->column[i], &values[i], many->rows == 0);
	many->rows++;
}

int64_t ush_db_many_end(struct ush_db_many *many)
{
	int64_t changed;

	flush(many);
	changed = many->conn->error != 0 ? many->conn->error : many->changed;
	for (uint32_t i = 0; i < many->columns; i++)
		free(many->column[i].text);
	free(many->key);
	free(many->sql);
	free(many);
	return changed;
}
