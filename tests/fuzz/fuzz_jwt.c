/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzes the reading of access JWTs and of queue tickets. The input is taken as a token; put into
 * one of its three parts; or changes a good token. Nothing but the token as it was made is good.
 *
 * Owns:  one key.
 * Reads: nothing.
 * Never: a network.
 */
#include <stdlib.h>
#include <string.h>

#include "entry/jwt.h"
#include "entry/status.h"

#define ISSUER "https://shop.example"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct ush_jwt_keys keys;
static char *good;

static void prepare(void)
{
	struct ush_jwt_claims claims = {.issuer = ISSUER,
		.account = "u_1",
		.user = 77,
		.event = 7,
		.issued_s = 1000,
		.expires_s = 1300};

	USH_ASSERT(ush_jwt_key_make(USH_JWT_EDDSA, &keys.key[0]) == 0);
	keys.count = 1;
	good = ush_jwt_sign(&keys.key[0], &claims);
	USH_ASSERT(good != NULL);
}

static void judge(const char *token, size_t bytes)
{
	struct ush_jwt_claims claims;
	enum ush_jwt_verdict verdict = ush_jwt_verify(&keys, token, bytes, ISSUER, 1100, &claims);
	bool same = bytes == strlen(good) && memcmp(token, good, bytes) == 0;

	USH_ASSERT((verdict == USH_JWT_GOOD) == same);
}

/* Puts the rest of the input, as it is or as base64url, in the place of a part of the token. */
static size_t put_part(uint8_t how, const uint8_t *data, size_t size, char *text)
{
	const char *part = good;
	size_t at = 0;

	for (uint32_t i = 0; i < 3; i++) {
		size_t length = strcspn(part, ".");

		if (i == how % 3) {
			if ((how & 64) != 0) {
				memcpy(text + at, data, size);
				at += size;
			} else {
				at += ush_jwt_base64(data, size, text + at);
			}
		} else {
			memcpy(text + at, part, length);
			at += length;
		}
		part += length + (part[length] == '.');
		if (i < 2)
			text[at++] = '.';
	}
	return at;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char text[8192];
	struct ush_ticket ticket;
	uint64_t tag;
	size_t bytes;

	if (good == NULL)
		prepare();
	if (size < 3 || size > 2000)
		return 0;
	judge((const char *)data, size);
	bytes = put_part(data[0], data + 1, size - 1, text);
	judge(text, bytes);
	/* A bit, somewhere. */
	bytes = strlen(good);
	memcpy(text, good, bytes + 1);
	text[((size_t)data[0] | (size_t)data[1] << 8) % bytes] ^= (char)(1u << data[2] % 8);
	judge(text, bytes);
	judge(good, bytes);
	memcpy(text, data, size);
	text[size] = '\0';
	if (ush_entry_ticket_read(text, &ticket, &tag)) {
		char again[USH_ENTRY_TICKET_CHARS + 1];

		ush_entry_ticket_text(&ticket, tag, again);
		USH_ASSERT(strcmp(again, text) == 0);
	}
	return 0;
}
