/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The private file and the public list are the same JSON, but for the seed:
 * {"keys": [{"id": 1, "public": "...", "signs_from_us": 0, "retired_us": 0}]}.
 */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tickets/keys.h"

#define FILE_BYTES_MAX (1u << 20)
#define TEXT_CHARS 43u

const struct ush_ticket_key *ush_ticket_key(const struct ush_ticket_keys *keys, uint8_t id)
{
	for (uint32_t i = 0; i < keys->count; i++) {
		if (keys->keys[i].id == id)
			return &keys->keys[i];
	}
	return NULL;
}

const struct ush_ticket_key *ush_ticket_key_now(const struct ush_ticket_keys *keys, int64_t now_us)
{
	const struct ush_ticket_key *best = NULL;

	for (uint32_t i = 0; i < keys->count; i++) {
		const struct ush_ticket_key *key = &keys->keys[i];

		if (key->retired_us == 0 && key->signs_from_us <= now_us &&
			(best == NULL || key->id > best->id))
			best = key;
	}
	return best;
}

int ush_ticket_key_add(struct ush_ticket_keys *keys, const uint8_t seed[USH_TICKET_KEY_BYTES],
	int64_t signs_from_us)
{
	struct ush_ticket_key key = {.signs_from_us = signs_from_us};
	uint32_t newest = 0, oldest = USH_TICKET_KEYS_MAX;

	for (uint32_t i = 0; i < keys->count; i++) {
		if (keys->keys[i].id > newest)
			newest = keys->keys[i].id;
		if (keys->keys[i].retired_us != 0 && oldest == USH_TICKET_KEYS_MAX)
			oldest = i;
	}
	if (newest == UINT8_MAX || ush_ticket_public(seed, key.public) != 0)
		return -USH_EFULL;
	if (keys->count == USH_TICKET_KEYS_MAX) {
		if (oldest == USH_TICKET_KEYS_MAX)
			return -USH_EFULL;
		keys->count--;
		memmove(&keys->keys[oldest], &keys->keys[oldest + 1],
			(keys->count - oldest) * sizeof(keys->keys[0]));
	}
	key.id = (uint8_t)(newest + 1);
	memcpy(key.seed, seed, sizeof(key.seed));
	keys->keys[keys->count++] = key;
	return key.id;
}

int ush_ticket_key_retire(struct ush_ticket_keys *keys, uint8_t id, int64_t now_us)
{
	struct ush_ticket_keys trial = *keys;

	for (uint32_t i = 0; i < trial.count; i++) {
		if (trial.keys[i].id != id)
			continue;
		if (trial.keys[i].retired_us != 0)
			return 0;
		trial.keys[i].retired_us = now_us;
		if (ush_ticket_key_now(&trial, now_us) == NULL)
			return -USH_EBUSY;
		*keys = trial;
		return 0;
	}
	return -USH_ENOENT;
}

static bool put_bytes(json_t *object, const char *name, const uint8_t *bytes)
{
	char text[TEXT_CHARS + 2];

	ush_base64url_encode(bytes, USH_TICKET_KEY_BYTES, text);
	return json_object_set_new(object, name, json_string(text)) == 0;
}

/* ret: the JSON text of the keys (malloced), or NULL. */
static char *write_keys(const struct ush_ticket_keys *keys, bool private)
{
	json_t *root = json_object(), *array = json_array();
	bool good = root != NULL && array != NULL;
	char *text = NULL;

	for (uint32_t i = 0; good && i < keys->count; i++) {
		const struct ush_ticket_key *key = &keys->keys[i];
		json_t *item = json_pack("{s:i, s:I, s:I}", "id", (int)key->id, "signs_from_us",
			(json_int_t)key->signs_from_us, "retired_us", (json_int_t)key->retired_us);

		good = item != NULL && put_bytes(item, "public", key->public) &&
		       (!private || put_bytes(item, "seed", key->seed));
		/* Takes the reference, also when it fails. */
		if (item != NULL && json_array_append_new(array, item) != 0)
			good = false;
	}
	if (good && json_object_set(root, "keys", array) == 0)
		text = json_dumps(root, JSON_INDENT(1) | JSON_SORT_KEYS);
	json_decref(array);
	json_decref(root);
	return text;
}

char *ush_ticket_keys_text(const struct ush_ticket_keys *keys)
{
	return write_keys(keys, false);
}

static bool get_bytes(json_t *object, const char *name, uint8_t bytes[USH_TICKET_KEY_BYTES])
{
	const char *text = json_string_value(json_object_get(object, name));

	return text != NULL && ush_base64url_decode(text, strlen(text), bytes,
				       USH_TICKET_KEY_BYTES) == USH_TICKET_KEY_BYTES;
}

static bool read_key(json_t *item, bool private, struct ush_ticket_key *key)
{
	uint8_t public[USH_TICKET_KEY_BYTES];
	json_t *id = json_object_get(item, "id");
	json_t *from = json_object_get(item, "signs_from_us");
	json_t *retired = json_object_get(item, "retired_us");

	if (!json_is_integer(id) || json_integer_value(id) < 1 ||
		json_integer_value(id) > UINT8_MAX || !json_is_integer(from) ||
		!json_is_integer(retired) || !get_bytes(item, "public", key->public))
		return false;
	key->id = (uint8_t)json_integer_value(id);
	key->signs_from_us = json_integer_value(from);
	key->retired_us = json_integer_value(retired);
	if (!private)
		return true;
	return get_bytes(item, "seed", key->seed) && ush_ticket_public(key->seed, public) == 0 &&
	       memcmp(public, key->public, sizeof(public)) == 0;
}

static int read_keys(const char *text, size_t bytes, bool private, struct ush_ticket_keys *keys,
	struct ush_message *message)
{
	struct ush_ticket_keys read = {0};
	json_error_t error;
	json_t *root = json_loadb(text, bytes, JSON_REJECT_DUPLICATES, &error);
	json_t *array = json_object_get(root, "keys");
	bool good = json_is_array(array) && json_array_size(array) <= USH_TICKET_KEYS_MAX;

	for (size_t i = 0; good && i < json_array_size(array); i++) {
		struct ush_ticket_key key = {0};

		good = read_key(json_array_get(array, i), private, &key) &&
		       ush_ticket_key(&read, key.id) == NULL;
		if (good)
			read.keys[read.count++] = key;
		else
			ush_message_set(message, "key %zu of the list makes no sense", i + 1);
	}
	if (root == NULL)
		ush_message_set(message, "line %d of the list of keys: %s", error.line, error.text);
	else if (!json_is_array(array) || json_array_size(array) > USH_TICKET_KEYS_MAX)
		ush_message_set(message,
			"this is no list of keys: \"keys\" is an array of up to %u",
			USH_TICKET_KEYS_MAX);
	json_decref(root);
	if (!good)
		return -USH_ECORRUPT;
	*keys = read;
	return 0;
}

int ush_ticket_keys_read(
	const char *text, size_t bytes, struct ush_ticket_keys *keys, struct ush_message *message)
{
	return read_keys(text, bytes, false, keys, message);
}

int ush_ticket_keys_load(
	const char *path, struct ush_ticket_keys *keys, struct ush_message *message)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	struct stat status;
	char *text = NULL;
	ssize_t bytes;
	int result = 0;

	if (fd < 0) {
		result = ush_error_from_errno(errno);
		ush_message_set(message, "%s: cannot be opened: %s", path, strerror(errno));
		return result;
	}
	if (fstat(fd, &status) != 0 || !S_ISREG(status.st_mode) ||
		status.st_size > FILE_BYTES_MAX) {
		ush_message_set(message, "%s is no file of keys", path);
		result = -USH_ECORRUPT;
	} else if ((status.st_mode & 077) != 0) {
		ush_message_set(
			message, "%s: others may read the keys; chmod 600, and rotate them", path);
		result = -USH_EACCES;
	} else if ((text = malloc((size_t)status.st_size + 1)) == NULL) {
		result = -USH_ENOMEM;
	} else if ((bytes = read(fd, text, (size_t)status.st_size)) != status.st_size) {
		ush_message_set(message, "%s: cannot be read", path);
		result = -USH_ESYSTEM;
	} else {
		struct ush_message inner = {""};

		result = read_keys(text, (size_t)bytes, true, keys, &inner);
		if (result != 0)
			ush_message_set(message, "%.200s: %.250s", path, inner.text);
	}
	if (text != NULL)
		explicit_bzero(text, (size_t)status.st_size);
	free(text);
	close(fd);
	return result;
}

/* Writes all, or says that it did not. */
static bool write_all(int fd, const char *text, size_t bytes)
{
	while (bytes > 0) {
		ssize_t n = write(fd, text, bytes);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		text += n;
		bytes -= (size_t)n;
	}
	return true;
}

/* Makes a rename within the folder of path durable. */
static bool sync_folder(const char *path)
{
	char folder[4096];
	const char *slash = strrchr(path, '/');
	int fd, failed;

	snprintf(folder, sizeof(folder), "%.*s", slash == NULL ? 1 : (int)(slash - path + 1),
		slash == NULL ? "." : path);
	fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return false;
	failed = fsync(fd);
	close(fd);
	return failed == 0;
}

int ush_ticket_keys_save(
	const char *path, const struct ush_ticket_keys *keys, struct ush_message *message)
{
	char *text = write_keys(keys, true);
	char temporary[4096];
	int result = 0;
	int fd;

	if (text == NULL)
		return -USH_ENOMEM;
	snprintf(temporary, sizeof(temporary), "%.4000s.new", path);
	unlink(temporary);
	fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0 || !write_all(fd, text, strlen(text)) || fsync(fd) != 0 ||
		rename(temporary, path) != 0 || !sync_folder(path)) {
		result = ush_error_from_errno(errno);
		ush_message_set(message, "%s: cannot be written: %s", path, strerror(errno));
	}
	if (fd >= 0)
		close(fd);
	explicit_bzero(text, strlen(text));
	free(text);
	return result;
}
