/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzes what a gate reads from strangers: codes of tickets, lists of revocations, keys. What is
 * taken must be written again as the same text; a signature nobody gave is never good.
 *
 * Owns:  its copies of the input.
 * Reads: nothing.
 * Never: a file.
 */
#include <stdlib.h>
#include <string.h>

#include "tickets/revocations.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t seed[USH_TICKET_KEY_BYTES] = {3};

/* The input as it is; and as the bytes of a code, so that it gets beyond base45. */
static void fuzz_code(const uint8_t *data, size_t size, const struct ush_ticket_keys *keys)
{
	char text[USH_TICKET_CODE_CHARS + 1] = USH_TICKET_PREFIX;
	char again[USH_TICKET_CODE_CHARS + 1] = USH_TICKET_PREFIX;
	uint8_t bytes[USH_TICKET_BYTES] = {0};
	struct ush_ticket_code code;

	if (ush_ticket_parse((const char *)data, size, &code) == 0)
		USH_ASSERT(!ush_ticket_good(&code, keys->keys[0].public));
	memcpy(bytes, data, size < sizeof(bytes) ? size : sizeof(bytes));
	bytes[0] &= 1;
	bytes[18] &= 127;
	ush_base45_encode(bytes, sizeof(bytes), text + 6);
	if (size > sizeof(bytes))
		text[6 + data[size - 1] % (USH_TICKET_CODE_CHARS - 6)] = (char)data[size - 2];
	if (ush_ticket_parse(text, USH_TICKET_CODE_CHARS, &code) != 0)
		return;
	USH_ASSERT(code.ticket.bit < 64);
	USH_ASSERT(code.ticket.serial != 0);
	USH_ASSERT(!ush_ticket_good(&code, keys->keys[0].public));
	memcpy(bytes, code.body, USH_TICKET_BODY_BYTES);
	memcpy(bytes + USH_TICKET_BODY_BYTES, code.signature, USH_TICKET_SIGNATURE_BYTES);
	ush_base45_encode(bytes, sizeof(bytes), again + 6);
	USH_ASSERT(strcmp(again, text) == 0);
}

/* A good list, changed: it is refused, or it is the same. */
static void fuzz_list(const uint8_t *data, size_t size, const struct ush_ticket_keys *keys)
{
	struct ush_revocation seats[3] = {{1, 2, 3}, {1, 2, 4}, {9, 1, 5}};
	struct ush_revocations list = {.event = 1, .count = 3, .seats = seats}, read;
	struct ush_message message;
	size_t bytes, at;
	char *text, *copy;

	if (ush_revocations_read((const char *)data, size, keys, &read, &message) == 0)
		ush_revocations_free(&read);
	if (size < 3 || ush_revocations_make(&list, &keys->keys[0], &text) != 0)
		return;
	bytes = strlen(text);
	copy = malloc(bytes);
	memcpy(copy, text, bytes);
	at = ((size_t)data[0] << 8 | data[1]) % bytes;
	for (size_t i = 2; i < size && at < bytes; i++, at++)
		copy[at] = (char)data[i];
	if (ush_revocations_read(copy, bytes, keys, &read, &message) == 0) {
		USH_ASSERT(memcmp(copy, text, bytes) == 0);
		ush_revocations_free(&read);
	}
	free(copy);
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct ush_ticket_keys keys;
	struct ush_ticket_keys read;
	struct ush_message message;

	if (keys.count == 0)
		ush_ticket_key_add(&keys, seed, 0);
	fuzz_code(data, size, &keys);
	fuzz_list(data, size, &keys);
	if (ush_ticket_keys_read((const char *)data, size, &read, &message) == 0)
		USH_ASSERT(read.count <= USH_TICKET_KEYS_MAX);
	return 0;
}
