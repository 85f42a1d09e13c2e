/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Builds the message that a JSON object on standard input describes, for test_mail_mime.py. Prints
 * it, or `refused CODE`.
 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mail/mime.h"

static const char *text_of(json_t *object, const char *name)
{
	return json_string_value(json_object_get(object, name));
}

/* Of `fill` bytes, or of a text. */
static void part_of(json_t *item, struct ush_mail_part *part)
{
	json_t *data = json_object_get(item, "data");
	size_t bytes = (size_t)json_integer_value(json_object_get(item, "fill"));

	part->type = text_of(item, "type");
	part->name = text_of(item, "name");
	part->id = text_of(item, "id");
	part->data = json_string_value(data);
	part->bytes = json_string_length(data);
	if (bytes > 0) {
		uint8_t *fill = malloc(bytes);

		for (size_t i = 0; i < bytes; i++)
			fill[i] = (uint8_t)(i * 7);
		part->data = fill;
		part->bytes = bytes;
	}
}

int main(void)
{
	json_t *root = json_loadf(stdin, 0, NULL);
	json_t *items = json_object_get(root, "parts");
	struct ush_mail_part parts[80] = {0};
	struct ush_mime_head head = {.from = text_of(root, "from"),
		.from_name = text_of(root, "from_name"),
		.to = text_of(root, "to"),
		.subject = text_of(root, "subject"),
		.message_id = text_of(root, "message_id"),
		.date_us = json_integer_value(json_object_get(root, "date_us"))};
	uint32_t count = (uint32_t)json_array_size(items);
	size_t head_bytes, body_bytes;
	char *head_text, *body_text;
	int result;

	for (uint32_t i = 0; i < count; i++)
		part_of(json_array_get(items, i), &parts[i]);
	result = ush_mime_head(&head, &head_text, &head_bytes);
	if (result == 0) {
		result = ush_mime_body(text_of(root, "seed"), text_of(root, "text"),
			text_of(root, "html"), parts, count, &body_text, &body_bytes);
		if (result == 0) {
			fwrite(head_text, 1, head_bytes, stdout);
			fwrite(body_text, 1, body_bytes, stdout);
			free(body_text);
		}
		free(head_text);
	}
	if (result != 0)
		printf("refused %d", result);
	return 0;
}
