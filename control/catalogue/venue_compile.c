/* SPDX-License-Identifier: Apache-2.0 */
/* From a file to an image: read the bytes, parse, recognise the format, read it, write the image.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "catalogue/venue_read.h"

bool ush_venue_is_image(const void *data, size_t bytes)
{
	const uint64_t magic = USH_VENUE_MAGIC;

	return bytes >= sizeof(magic) && memcmp(data, &magic, sizeof(magic)) == 0;
}

static int parse(struct venue_reader *reader, json_t **root)
{
	static const char mark[] = "\xef\xbb\xbf";
	json_error_t error;

	if (reader->bytes >= 3 && memcmp(reader->text, mark, 3) == 0)
		return venue_read_fail(
			reader, "starts with a byte order mark; save it as UTF-8 without one");
	*root = json_loadb(reader->text, reader->bytes, JSON_REJECT_DUPLICATES, &error);
	if (*root == NULL) {
		if (json_error_code(&error) == json_error_out_of_memory)
			return venue_read_no_memory(reader);
		for (char *c = error.text; *c != '\0'; c++) {
			if ((uint8_t)*c < 0x20 || *c == 0x7f)
				*c = '?';
		}
		ush_message_set(reader->message, "%.200s:%d:%d: not valid JSON: %s", reader->file,
			error.line > 0 ? error.line : 1, error.column > 0 ? error.column : 1,
			error.text);
		return -USH_EPARSE;
	}
	if (!json_is_object(*root)) {
		json_decref(*root);
		*root = NULL;
		return venue_read_fail(reader, "a venue file is one JSON object, not an array");
	}
	return 0;
}

static void tell_more_warnings(struct venue_reader *reader)
{
	char text[128];

	if (reader->warning_count <= VENUE_WARNINGS_MAX)
		return;
	snprintf(text, sizeof(text), "and %u more warnings",
		reader->warning_count - VENUE_WARNINGS_MAX);
	reader->options->warn(reader->options->warn_context, text);
}

int ush_venue_compile(const char *text, size_t bytes, const struct ush_venue_options *options,
	void **image, size_t *image_bytes, struct ush_message *message)
{
	static const struct ush_venue_options no_options;
	struct ush_message unwanted;
	struct venue_model model;
	struct venue_reader reader = {.options = options != NULL ? options : &no_options,
		.text = text,
		.bytes = bytes,
		.model = &model,
		.message = message != NULL ? message : &unwanted};
	json_t *root = NULL;
	int ret;

	reader.file = reader.options->file != NULL ? reader.options->file : "venue";
	venue_model_init(&model);
	if (bytes > USH_VENUE_FILE_BYTES_MAX) {
		ush_message_set(message, "%s: %zu bytes; a venue file has at most %u", reader.file,
			bytes, USH_VENUE_FILE_BYTES_MAX);
		return -USH_EFULL;
	}
	ret = parse(&reader, &root);
	if (ret == 0)
		ret = venue_pretix_is(root) ? venue_pretix_read(&reader, root)
					    : venue_json_read(&reader, root);
	if (ret == 0) {
		tell_more_warnings(&reader);
		ret = venue_model_write(&model, image, image_bytes);
		if (ret == -USH_EFULL)
			ush_message_set(message, "%s: the image would have more than %u bytes",
				reader.file, USH_VENUE_FILE_BYTES_MAX);
		else if (ret != 0)
			venue_read_no_memory(&reader);
	}
	json_decref(root);
	venue_names_free(&reader.tiers);
	venue_names_free(&reader.sections);
	venue_names_free(&reader.rows);
	venue_names_free(&reader.seats);
	venue_model_free(&model);
	return ret;
}

static int fail_errno(struct ush_message *message, const char *path, const char *what)
{
	int saved = errno;

	ush_message_set(message, "%.300s: %s: %s", path, what, strerror(saved));
	return saved == ENOENT ? -USH_ENOENT : ush_error_from_errno(saved);
}

/* Reads until the end, at most USH_VENUE_FILE_BYTES_MAX. Works on pipes too. */
static int read_all(
	int fd, const char *path, char **bytes, size_t *count, struct ush_message *message)
{
	size_t room = 1u << 16, used = 0;
	char *buffer = malloc(room);

	while (buffer != NULL) {
		ssize_t got = read(fd, buffer + used, room - used);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0) {
			free(buffer);
			return fail_errno(message, path, "cannot be read");
		}
		if (got == 0) {
			*bytes = buffer;
			*count = used;
			return 0;
		}
		used += (size_t)got;
		if (used > USH_VENUE_FILE_BYTES_MAX) {
			free(buffer);
			ush_message_set(message, "%.300s: larger than %u bytes", path,
				USH_VENUE_FILE_BYTES_MAX);
			return -USH_EFULL;
		}
		if (used == room) {
			char *grown = realloc(buffer, room *= 2);

			if (grown == NULL)
				free(buffer);
			buffer = grown;
		}
	}
	ush_message_set(message, "%.300s: out of memory", path);
	return -USH_ENOMEM;
}

/* Hands out an image file's bytes after a check. */
static int take_image(char *bytes, size_t count, const char *path, void **image,
	size_t *image_bytes, struct ush_message *message)
{
	struct ush_message why = {""};
	struct ush_venue *venue;
	int ret = ush_venue_open(bytes, count, &venue, &why);

	if (ret != 0) {
		ush_message_set(message, "%.200s: %.300s", path, why.text);
		free(bytes);
		return ret;
	}
	ush_venue_close(venue);
	*image = bytes;
	*image_bytes = count;
	return 0;
}

int ush_venue_compile_file(const char *path, const struct ush_venue_options *options, void **image,
	size_t *image_bytes, struct ush_message *message)
{
	struct ush_venue_options named = {0};
	char *bytes = NULL;
	size_t count = 0;
	int fd, ret;

	if (options != NULL)
		named = *options;
	if (named.file == NULL)
		named.file = path;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return fail_errno(message, path, "cannot be opened");
	ret = read_all(fd, path, &bytes, &count, message);
	close(fd);
	if (ret != 0)
		return ret;
	if (ush_venue_is_image(bytes, count))
		return take_image(bytes, count, path, image, image_bytes, message);
	ret = ush_venue_compile(bytes, count, &named, image, image_bytes, message);
	free(bytes);
	return ret;
}
