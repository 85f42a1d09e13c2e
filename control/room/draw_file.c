/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The happy path: the members of the object in turn, each with its own strict reader; then the
 * sizes against each other. Members that are not known are refused: a misspelt one must not pass
 * for one that is absent.
 *
 * What fails: syntax (line and column), a member that is missing, unknown, of the wrong type, out
 * of range; memory. All give a message that begins with `draw:`.
 */
#include <inttypes.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "room/draw_file.h"

#define FORMAT "usher-draw-1"
#define USER_DIGITS 16u
#define PLACES_MAX USH_DRAW_PLACES_MAX

static int USH_PRINTF(2, 3) fail(struct ush_message *message, const char *format, ...)
{
	char text[400];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	ush_message_set(message, "draw: %s", text);
	return -USH_EPARSE;
}

static int no_memory(struct ush_message *message)
{
	ush_message_set(message, "draw: out of memory");
	return -USH_ENOMEM;
}

static bool is_one_of(const char *key, const char *const *names)
{
	for (; *names != NULL; names++) {
		if (strcmp(key, *names) == 0)
			return true;
	}
	return false;
}

static int check_members(
	json_t *object, const char *where, const char *const *names, struct ush_message *message)
{
	const char *key;
	json_t *value;

	if (!json_is_object(object))
		return fail(message, "%s is no object", where);
	json_object_foreach(object, key, value)
	{
		if (!is_one_of(key, names))
			return fail(message, "%s has an unknown member '%.40s'", where, key);
	}
	return 0;
}

static int read_number(const json_t *object, const char *key, uint64_t max, uint64_t *number,
	struct ush_message *message)
{
	const json_t *value = json_object_get(object, key);

	if (!json_is_integer(value))
		return fail(message, "'%s' is missing or no integer", key);
	if (json_integer_value(value) < 0 || (uint64_t)json_integer_value(value) > max)
		return fail(message, "'%s' is not from 0 to %" PRIu64, key, max);
	*number = (uint64_t)json_integer_value(value);
	return 0;
}

/* ret: value of a lower-case hexadecimal digit, -1 for anything else. */
static int digit_of(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* ret: false if there is anything but two digits a byte. */
static bool read_hex(const char *text, size_t digits, uint8_t *bytes)
{
	for (size_t i = 0; i < digits; i++) {
		int digit = digit_of(text[i]);

		if (digit < 0)
			return false;
		bytes[i / 2] = (uint8_t)(i % 2 == 0 ? digit << 4 : bytes[i / 2] | digit);
	}
	return true;
}

/* in: value: may be NULL. max_bytes: room in `bytes`. */
static int read_bytes(const json_t *value, const char *name, size_t min_bytes, size_t max_bytes,
	uint8_t *bytes, uint32_t *count, struct ush_message *message)
{
	size_t digits = json_string_length(value);

	if (!json_is_string(value))
		return fail(message, "'%s' is missing or no string", name);
	if (digits % 2 != 0 || digits < 2 * min_bytes || digits > 2 * max_bytes ||
		!read_hex(json_string_value(value), digits, bytes))
		return fail(message,
			"'%s' is not %zu to %zu bytes as lower-case hexadecimal digits", name,
			min_bytes, max_bytes);
	if (count != NULL)
		*count = (uint32_t)(digits / 2);
	return 0;
}

static int read_hash(
	const json_t *object, const char *key, uint8_t *hash, struct ush_message *message)
{
	return read_bytes(json_object_get(object, key), key, USH_HASH_BYTES, USH_HASH_BYTES, hash,
		NULL, message);
}

static bool read_user(const char *text, uint64_t *user)
{
	*user = 0;
	for (uint32_t i = 0; i < USER_DIGITS; i++) {
		int digit = digit_of(text[i]);

		if (digit < 0)
			return false;
		*user = *user << 4 | (uint64_t)digit;
	}
	return true;
}

static int read_user_value(
	const json_t *value, const char *where, uint64_t *user, struct ush_message *message)
{
	if (!json_is_string(value) || json_string_length(value) != USER_DIGITS ||
		!read_user(json_string_value(value), user))
		return fail(
			message, "a user of '%s' is not 16 lower-case hexadecimal digits", where);
	return 0;
}

static int read_beacon(json_t *root, struct ush_draw_file *file, struct ush_message *message)
{
	static const char *const names[] = {"source", "round", "value", NULL};
	json_t *beacon = json_object_get(root, "beacon");
	const json_t *source = json_object_get(beacon, "source");
	int ret = check_members(beacon, "'beacon'", names, message);

	if (ret != 0)
		return ret;
	if (!json_is_string(source) || json_string_length(source) > USH_DRAW_SOURCE_BYTES_MAX)
		return fail(message, "'source' is missing or no string of up to %u bytes",
			USH_DRAW_SOURCE_BYTES_MAX);
	memcpy(file->beacon_source, json_string_value(source), json_string_length(source));
	if ((ret = read_number(beacon, "round", INT64_MAX, &file->beacon_round, message)) != 0)
		return ret;
	return read_bytes(json_object_get(beacon, "value"), "value", USH_DRAW_BEACON_MIN,
		USH_DRAW_BEACON_MAX, file->beacon, &file->beacon_bytes, message);
}

static int read_tiers(json_t *root, struct ush_draw_file *file, struct ush_message *message)
{
	const json_t *tiers = json_object_get(root, "tiers");
	uint64_t count = 0, sum = 0;
	int ret = read_number(root, "count", PLACES_MAX, &count, message);

	if (ret != 0)
		return ret;
	if (!json_is_array(tiers) || json_array_size(tiers) != USH_DRAW_TIERS)
		return fail(message, "'tiers' is missing or no list of %u counts", USH_DRAW_TIERS);
	for (size_t i = 0; i < USH_DRAW_TIERS; i++) {
		json_int_t value = json_integer_value(json_array_get(tiers, i));

		if (!json_is_integer(json_array_get(tiers, i)) || value < 0 ||
			value > (json_int_t)PLACES_MAX)
			return fail(message, "a count of 'tiers' is not from 0 to %u", PLACES_MAX);
		file->counts[i] = (uint32_t)value;
		sum += (uint64_t)value;
	}
	if (sum != count)
		return fail(message, "'count' is %" PRIu64 ", but 'tiers' add up to %" PRIu64,
			count, sum);
	file->count = (uint32_t)count;
	return 0;
}

static uint64_t *new_list(const struct ush_draw_file *file)
{
	/* One more: a list of nobody is a list. */
	return calloc((size_t)file->count + 1, sizeof(uint64_t));
}

static int read_users(json_t *root, struct ush_draw_file *file, struct ush_message *message)
{
	const json_t *users = json_object_get(root, "users");
	int ret = 0;

	if (users == NULL)
		return 0;
	if (!json_is_array(users) || json_array_size(users) != file->count)
		return fail(message, "'users' is no list of 'count' users");
	file->users = new_list(file);
	if (file->users == NULL)
		return no_memory(message);
	for (size_t i = 0; i < file->count && ret == 0; i++)
		ret = read_user_value(json_array_get(users, i), "users", &file->users[i], message);
	return ret;
}

static int read_proof(json_t *root, struct ush_draw_file *file, struct ush_message *message)
{
	static const char *const names[] = {"user", "tier", "index", "path", NULL};
	struct ush_draw_proof *proof = &file->proof;
	json_t *object = json_object_get(root, "proof");
	const json_t *path = json_object_get(object, "path");
	uint64_t tier = 0, index = 0;
	int ret;

	if (object == NULL)
		return 0;
	if ((ret = check_members(object, "'proof'", names, message)) != 0 ||
		(ret = read_user_value(
			 json_object_get(object, "user"), "proof", &proof->user, message)) != 0 ||
		(ret = read_number(object, "tier", USH_DRAW_TIERS - 1, &tier, message)) != 0 ||
		(ret = read_number(object, "index", PLACES_MAX, &index, message)) != 0)
		return ret;
	if (index >= file->counts[tier])
		return fail(message, "'index' of the proof is beyond the tier's count");
	if (!json_is_array(path) || json_array_size(path) > USH_MERKLE_PATH_MAX)
		return fail(message, "'path' is missing or no list of up to %u hashes",
			USH_MERKLE_PATH_MAX);
	for (size_t i = 0; i < json_array_size(path) && ret == 0; i++)
		ret = read_bytes(json_array_get(path, i), "path", USH_HASH_BYTES, USH_HASH_BYTES,
			proof->path[i], NULL, message);
	proof->path_count = (uint32_t)json_array_size(path);
	proof->tier = (uint32_t)tier;
	proof->index = (uint32_t)index;
	file->has_proof = true;
	return ret;
}

static int read_root(json_t *root, struct ush_draw_file *file, struct ush_message *message)
{
	static const char *const names[] = {"format", "event", "seed_hash", "seed", "root",
		"beacon", "count", "tiers", "users", "proof", NULL};
	const char *format = json_string_value(json_object_get(root, "format"));
	uint64_t event = 0;
	int ret;

	if ((ret = check_members(root, "the file", names, message)) != 0)
		return ret;
	if (format == NULL || strcmp(format, FORMAT) != 0)
		return fail(message, "'format' is not \"" FORMAT "\"");
	if ((ret = read_number(root, "event", UINT32_MAX, &event, message)) != 0 ||
		(ret = read_hash(root, "seed_hash", file->seed_hash, message)) != 0 ||
		(ret = read_hash(root, "seed", file->seed, message)) != 0 ||
		(ret = read_hash(root, "root", file->root, message)) != 0 ||
		(ret = read_beacon(root, file, message)) != 0 ||
		(ret = read_tiers(root, file, message)) != 0 ||
		(ret = read_users(root, file, message)) != 0)
		return ret;
	file->event = (uint32_t)event;
	return read_proof(root, file, message);
}

int ush_draw_file_read(
	const char *text, size_t size, struct ush_draw_file *file, struct ush_message *message)
{
	struct ush_draw_file read = {0};
	json_error_t error;
	json_t *root;
	int ret;

	if (size > USH_DRAW_FILE_BYTES_MAX)
		return fail(message, "longer than %u bytes", USH_DRAW_FILE_BYTES_MAX);
	root = json_loadb(text, size, JSON_REJECT_DUPLICATES, &error);
	if (root == NULL)
		return fail(message, "line %d, column %d: %.300s", error.line, error.column,
			error.text);
	ret = read_root(root, &read, message);
	json_decref(root);
	if (ret != 0)
		ush_draw_file_close(&read);
	else
		*file = read;
	return ret;
}

int ush_draw_list_read(
	const char *text, size_t size, struct ush_draw_file *file, struct ush_message *message)
{
	uint64_t *users;

	if (size != (uint64_t)file->count * (USER_DIGITS + 1))
		return fail(message,
			"the list has %zu bytes; %u places of 16 digits and a newline: %" PRIu64,
			size, file->count, (uint64_t)file->count * (USER_DIGITS + 1));
	users = new_list(file);
	if (users == NULL)
		return no_memory(message);
	for (uint32_t i = 0; i < file->count; i++, text += USER_DIGITS + 1) {
		if (read_user(text, &users[i]) && text[USER_DIGITS] == '\n')
			continue;
		free(users);
		return fail(message, "line %u of the list is not 16 lower-case hexadecimal digits",
			i + 1);
	}
	free(file->users);
	file->users = users;
	return 0;
}

void ush_draw_file_close(struct ush_draw_file *file)
{
	free(file->users);
	file->users = NULL;
}
