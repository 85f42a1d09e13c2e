/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CSV as RFC 4180 has it, strictly: records end with CRLF or LF, a field in quotes holds anything
 * with quotes doubled, one without holds no quote. A byte order mark at the start is skipped, a
 * blank line is a fault, NUL and what is no UTF-8 as well.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "catalogue/internal.h"

#define FIELD_COUNT_MAX 64u
#define FIELD_BYTES_MAX 8192u

void cat_csv_init(struct cat_csv *csv, const char *text, size_t bytes)
{
	if (bytes >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) {
		text += 3;
		bytes -= 3;
	}
	*csv = (struct cat_csv){.at = text, .end = text + bytes, .line = 0, .next_line = 1};
}

static int wrong(struct cat_fault *fault, size_t field, const char *reason)
{
	snprintf(fault->member, sizeof(fault->member), "field %zu", field + 1);
	snprintf(fault->reason, sizeof(fault->reason), "%s", reason);
	return -1;
}

/* A field in quotes, after the first one. ret: NULL, or what is wrong. */
static const char *quoted(struct cat_csv *csv, char *field, size_t *count)
{
	for (*count = 0; csv->at < csv->end; csv->at++) {
		if (*csv->at == '"') {
			csv->at++;
			if (csv->at == csv->end || *csv->at != '"')
				return NULL;
		}
		csv->next_line += *csv->at == '\n';
		if (*count == FIELD_BYTES_MAX)
			return "longer than 8,192 bytes";
		field[(*count)++] = *csv->at;
	}
	return "the closing quote is missing";
}

static const char *plain(struct cat_csv *csv, char *field, size_t *count)
{
	for (*count = 0; csv->at < csv->end; csv->at++) {
		if (*csv->at == ',' || *csv->at == '\n' || *csv->at == '\r')
			break;
		if (*csv->at == '"')
			return "a quote in a field that does not begin with one";
		if (*count == FIELD_BYTES_MAX)
			return "longer than 8,192 bytes";
		field[(*count)++] = *csv->at;
	}
	return NULL;
}

/* ret: 1: another field follows; 0: the record ends here; -1: neither. */
static int separator(struct cat_csv *csv)
{
	if (csv->at == csv->end)
		return 0;
	if (*csv->at == ',') {
		csv->at++;
		return 1;
	}
	if (*csv->at == '\r' && csv->at + 1 < csv->end && csv->at[1] == '\n')
		csv->at++;
	if (*csv->at != '\n')
		return -1;
	csv->at++;
	csv->next_line++;
	return 0;
}

int cat_csv_next(struct cat_csv *csv, json_t **fields, struct cat_fault *fault)
{
	char *field;
	json_t *record;
	const char *what = NULL;
	size_t count = 0;
	int more = 1;

	csv->line = csv->next_line;
	if (csv->at == csv->end)
		return 0;
	field = malloc(FIELD_BYTES_MAX + 1);
	record = json_array();
	USH_ASSERT(field != NULL && record != NULL);
	while (more == 1 && what == NULL) {
		json_t *text;

		if (json_array_size(record) == FIELD_COUNT_MAX) {
			what = "more than 64 fields";
			break;
		}
		if (csv->at < csv->end && *csv->at == '"') {
			csv->at++;
			what = quoted(csv, field, &count);
		} else {
			what = plain(csv, field, &count);
		}
		if (what != NULL)
			break;
		/* NULL: no UTF-8. A NUL would end a text elsewhere. */
		text = memchr(field, '\0', count) == NULL ? json_stringn(field, count) : NULL;
		if (text == NULL)
			what = "not UTF-8, or a NUL";
		else
			json_array_append_new(record, text);
		more = what == NULL ? separator(csv) : 0;
		if (more < 0)
			what = "something follows the closing quote, or a CR without LF";
	}
	free(field);
	if (what == NULL && json_array_size(record) == 1 &&
		json_string_length(json_array_get(record, 0)) == 0)
		what = "a blank line";
	if (what != NULL) {
		count = json_array_size(record);
		json_decref(record);
		return wrong(fault, count, what);
	}
	*fields = record;
	return 1;
}
