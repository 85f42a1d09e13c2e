/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Failure modes: a file that others can read, or that holds no key of ours, is named, and nothing
 * changes. A crash between a new file and its rename leaves a name that is not looked at.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/pem.h>

#include "entry/keys.h"

#define PATH_BYTES 512u
#define NAME_DIGITS 20u

static int fail(struct ush_message *message, const char *path, const char *what)
{
	int error = ush_error_from_errno(errno);

	ush_message_set(message, "%s: %s: %s", path, what, strerror(errno));
	return error;
}

/* ---- reading ---- */

static int read_key(const char *path, struct ush_jwt_key *key, struct ush_message *message)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	EVP_PKEY *pkey = NULL;
	struct stat status;
	FILE *file;

	if (fd < 0 || fstat(fd, &status) != 0) {
		int error = fail(message, path, "cannot be read");

		if (fd >= 0)
			close(fd);
		return error;
	}
	if (!S_ISREG(status.st_mode) || (status.st_mode & 077) != 0 ||
		(status.st_uid != geteuid() && status.st_uid != 0)) {
		close(fd);
		ush_message_set(message,
			"%s: a key must be a file that only its owner can read: chmod 600 it, and "
			"change to a new key if anybody may have seen it",
			path);
		return -USH_EACCES;
	}
	file = fdopen(fd, "r");
	if (file == NULL) {
		close(fd);
		return -USH_ESYSTEM;
	}
	/* A password is never asked for. */
	pkey = PEM_read_PrivateKey(file, NULL, NULL, (void *)(uintptr_t) "");
	fclose(file);
	if (pkey == NULL || ush_jwt_key_of(pkey, key) != 0) {
		EVP_PKEY_free(pkey);
		ush_message_set(message,
			"%s: no private key of Ed25519 or P-256 in PEM: remove the file", path);
		return -USH_EINVAL;
	}
	return 0;
}

/* ret: when the key of that file was made; -1: no such name. */
static int64_t made_of(const char *name)
{
	if (strspn(name, "0123456789") != NAME_DIGITS || strcmp(name + NAME_DIGITS, ".pem") != 0 ||
		name[0] != '0')
		return -1;
	return strtoll(name, NULL, 10);
}

static void sort(struct ush_jwt_keys *keys)
{
	for (uint32_t i = 1; i < keys->count; i++) {
		for (uint32_t j = i; j > 0 && keys->key[j].made_us < keys->key[j - 1].made_us;
			j--) {
			struct ush_jwt_key other = keys->key[j];

			keys->key[j] = keys->key[j - 1];
			keys->key[j - 1] = other;
		}
	}
	for (uint32_t i = 0; i < keys->count; i++) {
		keys->key[i].signs_from_us =
			i == 0 ? INT64_MIN : keys->key[i].made_us + USH_JWT_AHEAD_US;
	}
}

static int read_folder(const char *folder, struct ush_jwt_keys *keys, struct ush_message *message)
{
	char path[PATH_BYTES];
	struct dirent *entry;
	DIR *directory = opendir(folder);
	int error = 0;

	if (directory == NULL)
		return fail(message, folder, "cannot be read");
	while (error == 0 && (entry = readdir(directory)) != NULL) {
		int64_t made_us = made_of(entry->d_name);

		if (made_us < 0)
			continue;
		if (keys->count == USH_JWT_KEYS_MAX) {
			ush_message_set(message, "%s: more than %u keys: remove old ones", folder,
				USH_JWT_KEYS_MAX);
			error = -USH_EFULL;
			break;
		}
		snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
		error = read_key(path, &keys->key[keys->count], message);
		if (error == 0)
			keys->key[keys->count++].made_us = made_us;
	}
	closedir(directory);
	sort(keys);
	return error;
}

/* ---- writing ---- */

static void path_of(char path[PATH_BYTES], const char *folder, int64_t made_us)
{
	snprintf(path, PATH_BYTES, "%s/%020lld.pem", folder, (long long)made_us);
}

static bool sync_folder(const char *folder)
{
	int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bool good = fd >= 0 && fsync(fd) == 0;

	if (fd >= 0)
		close(fd);
	return good;
}

static int write_key(const char *folder, const struct ush_jwt_key *key, struct ush_message *message)
{
	char path[PATH_BYTES], draft[PATH_BYTES];
	int fd;
	FILE *file;
	bool good;

	path_of(path, folder, key->made_us);
	snprintf(draft, sizeof(draft), "%s/draft", folder);
	unlink(draft);
	fd = open(draft, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	file = fd < 0 ? NULL : fdopen(fd, "w");
	if (file == NULL) {
		int error = fail(message, draft, "cannot be made");

		if (fd >= 0)
			close(fd);
		return error;
	}
	good = PEM_write_PrivateKey(file, key->pkey, NULL, NULL, 0, NULL, NULL) == 1 &&
	       fflush(file) == 0 && fsync(fd) == 0;
	if (fclose(file) != 0 || !good || rename(draft, path) != 0 || !sync_folder(folder)) {
		int error = fail(message, path, "cannot be written");

		return error == 0 ? -USH_ESYSTEM : error;
	}
	return 0;
}

static int add_key(struct ush_jwt_keys *keys, const char *folder, enum ush_jwt_alg alg,
	int64_t now_us, struct ush_message *message)
{
	struct ush_jwt_key key;
	int error;

	if (keys->count == USH_JWT_KEYS_MAX) {
		ush_message_set(
			message, "%s: %u keys are the most there may be", folder, USH_JWT_KEYS_MAX);
		return -USH_EFULL;
	}
	error = ush_jwt_key_make(alg, &key);
	if (error != 0) {
		ush_message_set(message, "no new key could be made");
		return error;
	}
	key.made_us = now_us;
	if (keys->count > 0 && keys->key[keys->count - 1].made_us >= now_us)
		key.made_us = keys->key[keys->count - 1].made_us + 1;
	error = write_key(folder, &key, message);
	if (error != 0) {
		ush_jwt_key_free(&key);
		return error;
	}
	keys->key[keys->count++] = key;
	sort(keys);
	return 0;
}

int ush_jwt_keys_read(struct ush_jwt_keys *keys, const char *folder, enum ush_jwt_alg alg,
	bool read_only, int64_t now_us, struct ush_message *message)
{
	struct ush_jwt_keys read = {0};
	int error;

	if (!read_only && mkdir(folder, 0700) != 0 && errno != EEXIST)
		return fail(message, folder, "cannot be made");
	error = read_folder(folder, &read, message);
	if (error == 0 && read.count == 0 && !read_only)
		error = add_key(&read, folder, alg, now_us, message);
	if (error == 0 && read.count == 0) {
		ush_message_set(message, "%s: no keys yet", folder);
		error = -USH_ENOENT;
	}
	if (error != 0) {
		ush_jwt_keys_free(&read);
		return error;
	}
	ush_jwt_keys_free(keys);
	*keys = read;
	return 0;
}

int ush_jwt_keys_rotate(struct ush_jwt_keys *keys, const char *folder, enum ush_jwt_alg alg,
	int64_t now_us, struct ush_message *message)
{
	return add_key(keys, folder, alg, now_us, message);
}

uint32_t ush_jwt_keys_drop(struct ush_jwt_keys *keys, const char *folder, int64_t now_us)
{
	uint32_t count = 0;
	char path[PATH_BYTES];

	while (keys->count > 1 && keys->key[1].signs_from_us + USH_JWT_AFTER_US <= now_us) {
		path_of(path, folder, keys->key[0].made_us);
		unlink(path);
		ush_jwt_key_free(&keys->key[0]);
		keys->count--;
		memmove(&keys->key[0], &keys->key[1], keys->count * sizeof(keys->key[0]));
		count++;
	}
	sort(keys);
	return count;
}

const struct ush_jwt_key *ush_jwt_keys_now(const struct ush_jwt_keys *keys, int64_t now_us)
{
	const struct ush_jwt_key *key = &keys->key[0];

	USH_ASSERT(keys->count > 0);
	for (uint32_t i = 1; i < keys->count; i++) {
		if (keys->key[i].signs_from_us <= now_us)
			key = &keys->key[i];
	}
	return key;
}

json_t *ush_jwt_keys_public(const struct ush_jwt_keys *keys)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < keys->count; i++)
		json_array_append_new(list, ush_jwt_key_jwk(&keys->key[i]));
	return json_pack("{s:o}", "keys", list);
}

void ush_jwt_keys_free(struct ush_jwt_keys *keys)
{
	for (uint32_t i = 0; i < keys->count; i++)
		ush_jwt_key_free(&keys->key[i]);
	keys->count = 0;
}
