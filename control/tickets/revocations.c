/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lines of text; the last one signs all bytes before it. One list has one text: numbers have no
 * leading zeros, seats ascend.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tickets/revocations.h"

#define HEAD "usher-revocations 1\n"
/* The list's first line is what makes its signature none of a ticket. */
#define KIND ""
#define LINE_CHARS_MAX 32u
#define SIGNATURE_CHARS 86u

static bool ascending(const struct ush_revocation *a, const struct ush_revocation *b)
{
	return a->row < b->row || (a->row == b->row && a->bit < b->bit);
}

int ush_revocations_make(
	const struct ush_revocations *list, const struct ush_ticket_key *key, char **text)
{
	uint8_t signature[USH_TICKET_SIGNATURE_BYTES];
	char *out;
	size_t room, at;
	int result;

	if (list->count > USH_REVOCATIONS_MAX || list->event == 0)
		return -USH_EINVAL;
	room = 256 + (size_t)list->count * LINE_CHARS_MAX;
	out = malloc(room);
	if (out == NULL)
		return -USH_ENOMEM;
	at = (size_t)snprintf(out, room,
		HEAD "event %" PRIu32 "\nmade_us %" PRId64 "\nthrough %" PRIu64
		     "\nkey %u\ncount %" PRIu32 "\n",
		list->event, list->made_us, list->through, key->id, list->count);
	for (uint32_t i = 0; i < list->count; i++) {
		const struct ush_revocation *seat = &list->seats[i];

		if (seat->bit > 63 || seat->alive == 0 ||
			(i > 0 && !ascending(&list->seats[i - 1], seat))) {
			free(out);
			return -USH_EINVAL;
		}
		at += (size_t)snprintf(out + at, room - at, "%" PRIu32 " %u %u\n", seat->row,
			seat->bit, seat->alive);
	}
	result = ush_ticket_sign(key->seed, KIND, out, at, signature);
	if (result != 0) {
		free(out);
		return result;
	}
	memcpy(out + at, "signature ", 10);
	at += 10;
	at += ush_base64url_encode(signature, sizeof(signature), out + at);
	memcpy(out + at, "\n", 2);
	*text = out;
	return 0;
}

/* What is still to be read. */
struct reader {
	const char *at;
	const char *end;
};

/* Takes a word as it stands. ret: false, and nothing taken, if something else does. */
static bool word(struct reader *in, const char *text)
{
	size_t bytes = strlen(text);

	if ((size_t)(in->end - in->at) < bytes || memcmp(in->at, text, bytes) != 0)
		return false;
	in->at += bytes;
	return true;
}

/* Takes a number up to `most`, written in the one way there is. */
static bool number(struct reader *in, uint64_t most, uint64_t *value)
{
	const char *begin = in->at;
	uint64_t read = 0;

	while (in->at < in->end && *in->at >= '0' && *in->at <= '9') {
		uint64_t digit = (uint64_t)(*in->at - '0');

		if (read > (most - digit) / 10)
			return false;
		read = read * 10 + digit;
		in->at++;
	}
	*value = read;
	return in->at > begin && (*begin != '0' || in->at == begin + 1);
}

static bool field(struct reader *in, const char *name, uint64_t most, uint64_t *value)
{
	return word(in, name) && word(in, " ") && number(in, most, value) && word(in, "\n");
}

static bool read_head(struct reader *in, struct ush_revocations *list)
{
	uint64_t event, made, key, count;

	if (!field(in, "event", UINT32_MAX, &event) || event == 0 ||
		!field(in, "made_us", INT64_MAX, &made) ||
		!field(in, "through", INT64_MAX, &list->through) ||
		!field(in, "key", UINT8_MAX, &key) || key == 0 ||
		!field(in, "count", USH_REVOCATIONS_MAX, &count))
		return false;
	list->event = (uint32_t)event;
	list->made_us = (int64_t)made;
	list->key = (uint8_t)key;
	list->count = (uint32_t)count;
	/* Each has a line of six characters or more: no memory is taken on a lie. */
	return count <= (uint64_t)(in->end - in->at) / 6;
}

static bool read_seats(struct reader *in, struct ush_revocations *list)
{
	for (uint32_t i = 0; i < list->count; i++) {
		uint64_t row, bit, alive;

		if (!number(in, UINT32_MAX, &row) || !word(in, " ") || !number(in, 63, &bit) ||
			!word(in, " ") || !number(in, UINT16_MAX, &alive) || alive == 0 ||
			!word(in, "\n"))
			return false;
		list->seats[i] = (struct ush_revocation){
			.row = (uint32_t)row, .bit = (uint8_t)bit, .alive = (uint16_t)alive};
		if (i > 0 && !ascending(&list->seats[i - 1], &list->seats[i]))
			return false;
	}
	return true;
}

/* Checks the last line over what stands before it. */
static int check(struct reader *in, const char *begin, const struct ush_ticket_keys *keys,
	const struct ush_revocations *list, struct ush_message *message)
{
	const struct ush_ticket_key *key = ush_ticket_key(keys, list->key);
	uint8_t signature[USH_TICKET_SIGNATURE_BYTES];
	size_t bytes = (size_t)(in->at - begin);

	if (!word(in, "signature ") || (size_t)(in->end - in->at) != SIGNATURE_CHARS + 1 ||
		in->at[SIGNATURE_CHARS] != '\n' ||
		ush_base64url_decode(in->at, SIGNATURE_CHARS, signature, sizeof(signature)) !=
			USH_TICKET_SIGNATURE_BYTES) {
		ush_message_set(message, "the list does not end with its signature: is it cut?");
		return -USH_EPARSE;
	}
	if (key == NULL) {
		ush_message_set(message,
			"the list is signed by key %u, which is not in the file of keys: fetch it again",
			list->key);
		return -USH_EACCES;
	}
	if (key->retired_us != 0) {
		ush_message_set(message, "the list is signed by key %u, which is retired", key->id);
		return -USH_EACCES;
	}
	if (!ush_ticket_signed(key->public, KIND, begin, bytes, signature)) {
		ush_message_set(message, "the list's signature is not of key %u", key->id);
		return -USH_EACCES;
	}
	return 0;
}

int ush_revocations_read(const char *text, size_t bytes, const struct ush_ticket_keys *keys,
	struct ush_revocations *list, struct ush_message *message)
{
	struct reader in = {text, text + bytes};
	struct ush_revocations read = {0};
	int result;

	if (bytes > USH_REVOCATIONS_BYTES_MAX || !word(&in, HEAD)) {
		bool other = word(&in, "usher-revocations ");

		ush_message_set(message, other ? "the list is of another version"
					       : "this is no list of revocations");
		return other ? -USH_EVERSION : -USH_EPARSE;
	}
	if (!read_head(&in, &read)) {
		ush_message_set(message, "the head of the list makes no sense");
		return -USH_EPARSE;
	}
	read.seats = malloc((read.count + 1) * sizeof(*read.seats));
	if (read.seats == NULL)
		return -USH_ENOMEM;
	if (!read_seats(&in, &read)) {
		ush_message_set(
			message, "the list makes no sense at byte %zu", (size_t)(in.at - text));
		result = -USH_EPARSE;
	} else {
		result = check(&in, text, keys, &read, message);
	}
	if (result != 0) {
		free(read.seats);
		return result;
	}
	*list = read;
	return 0;
}

uint16_t ush_revocations_alive(const struct ush_revocations *list, uint32_t row, uint8_t bit)
{
	const struct ush_revocation seat = {.row = row, .bit = bit};
	uint32_t low = 0, high = list->count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (ascending(&list->seats[middle], &seat))
			low = middle + 1;
		else
			high = middle;
	}
	if (low < list->count && list->seats[low].row == row && list->seats[low].bit == bit)
		return list->seats[low].alive;
	return 0;
}

void ush_revocations_free(struct ush_revocations *list)
{
	free(list->seats);
	*list = (struct ush_revocations){0};
}
