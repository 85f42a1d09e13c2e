/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Idempotency keys as Stripe publishes them for its API v1. Once an operation has begun, status and
 * body of its first answer are kept under the key for 24 hours, failures and 500s included; the
 * same request gets them again, another request under that key gets an error. Requests that were
 * refused for their parameters keep nothing.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/sha.h>

#include "sandbox.h"

/* What makes two requests the same: the parameters, in any order. */
static void print_of(const struct sand_call *call, char print[2 * SHA256_DIGEST_LENGTH + 1])
{
	unsigned char digest[SHA256_DIGEST_LENGTH];
	char *text = json_dumps(call->form, JSON_COMPACT | JSON_SORT_KEYS);

	USH_ASSERT(text != NULL);
	SHA256((const unsigned char *)text, strlen(text), digest);
	for (uint32_t i = 0; i < sizeof(digest); i++)
		snprintf(print + 2 * i, 3, "%02x", digest[i]);
	free(text);
}

bool sand_key_known(struct sand_call *call)
{
	char print[2 * SHA256_DIGEST_LENGTH + 1];
	sqlite3_stmt *found;
	bool known = false;

	if (call->key == NULL)
		return false;
	if (call->key[0] == '\0' || strlen(call->key) > 255) {
		sand_fail(call, 400, "invalid_request_error", NULL, NULL,
			"Idempotency keys have 1 to 255 characters.");
		return true;
	}
	if (sand_key_running(call)) {
		sand_fail(call, 409, "idempotency_error", "idempotency_key_in_use", NULL,
			"Another request with this idempotency key is under way; the key is "
			"currently in use.");
		return true;
	}
	print_of(call, print);
	found = sand_sql(call->sand,
		"SELECT route, print, status, body FROM keys WHERE key = ? AND created > ?", "ti",
		call->key, sand_now(call->sand) - SAND_KEY_LIFE_S);
	while (sand_step(call->sand, found)) {
		const char *route = (const char *)sqlite3_column_text(found, 0);
		const char *body = (const char *)sqlite3_column_text(found, 3);

		known = true;
		if (strcmp(route, call->path) != 0 ||
			strcmp((const char *)sqlite3_column_text(found, 1), print) != 0) {
			sand_fail(call, 400, "idempotency_error", NULL, NULL,
				"Keys for idempotent requests can only be used with the same "
				"endpoint and the same parameters they were first used with.");
			continue;
		}
		call->replayed = true;
		sand_answer(call, sqlite3_column_int(found, 2), json_loads(body, 0, NULL));
	}
	return known;
}

void sand_key_save(struct sand_call *call)
{
	char print[2 * SHA256_DIGEST_LENGTH + 1];
	char *body = json_dumps(call->answer, JSON_COMPACT);

	USH_ASSERT(body != NULL);
	print_of(call, print);
	sand_run(call->sand,
		"INSERT OR REPLACE INTO keys(key, route, print, status, body, request, created)"
		" VALUES(?, ?, ?, ?, ?, ?, ?)",
		"tttitti", call->key, call->path, print, (int64_t)call->status, body, call->id,
		sand_now(call->sand));
	free(body);
}
