/* SPDX-License-Identifier: Apache-2.0 */
/* What is sent, and how it is signed. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "hooks/internal.h"

char *hooks_body(const struct hooks_item *item)
{
	time_t seconds = (time_t)(item->time_us / HOOKS_SECOND_US);
	json_t *data = json_loads(item->data, 0, NULL), *body;
	char day[32], at[48], order[24];
	struct tm tm;
	char *text;

	if (!json_is_object(data)) {
		json_decref(data);
		data = json_object();
	}
	/* Users, also as numbers, are nobody's but ours. */
	json_object_del(data, "from");
	json_object_del(data, "to");
	json_object_del(data, "user");
	gmtime_r(&seconds, &tm);
	strftime(day, sizeof(day), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(at, sizeof(at), "%s.%06" PRId64 "Z", day,
		(int64_t)(item->time_us % HOOKS_SECOND_US));
	snprintf(order, sizeof(order), "%" PRIu64, (uint64_t)item->order);
	body = json_pack("{sI sI ss sI so ss so}", "number", (json_int_t)item->number, "sequence",
		(json_int_t)item->sequence, "kind", item->kind, "event", (json_int_t)item->event,
		"order", item->order != 0 ? json_string(order) : json_null(), "at", at, "data",
		data);
	text = json_dumps(body, JSON_COMPACT);
	USH_ASSERT(text != NULL);
	json_decref(body);
	return text;
}

static void add_mac(char *out, size_t bytes, const char *secret, const char *text)
{
	unsigned char mac[EVP_MAX_MD_SIZE];
	unsigned int mac_bytes = 0;
	size_t at = strlen(out);

	USH_ASSERT(HMAC(EVP_sha256(), secret, (int)strlen(secret), (const unsigned char *)text,
			   strlen(text), mac, &mac_bytes) != NULL &&
		   mac_bytes == 32 && at + 4 + 64 < bytes);
	memcpy(out + at, ",v1=", 5);
	at += 4;
	for (uint32_t i = 0; i < 32; i++)
		snprintf(out + at + 2 * i, 3, "%02x", mac[i]);
}

void hooks_sign(const char *secret, const char *previous, int64_t now_s, const char *body,
	char out[HOOKS_SIGNATURE_BYTES])
{
	size_t bytes = strlen(body) + 24;
	char *text = malloc(bytes);

	USH_ASSERT(text != NULL);
	snprintf(text, bytes, "%" PRId64 ".%s", now_s, body);
	snprintf(out, HOOKS_SIGNATURE_BYTES, "t=%" PRId64, now_s);
	add_mac(out, HOOKS_SIGNATURE_BYTES, secret, text);
	if (previous[0] != '\0')
		add_mac(out, HOOKS_SIGNATURE_BYTES, previous, text);
	free(text);
}
