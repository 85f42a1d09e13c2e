/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The signature is checked over the bytes as they came, before anything reads them.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "payments/webhook.h"

#define HEADER_BYTES_MAX 1024
#define DIGITS_MAX 15

/* ret: true if `text` up to `bytes` is the 64 hexadecimal digits of `mac`; takes the same time for
 * all that have 64. */
static bool same_hex(const char *text, size_t bytes, const uint8_t mac[32])
{
	char hex[65];

	if (bytes != 64)
		return false;
	for (uint32_t i = 0; i < 32; i++)
		snprintf(hex + 2 * i, 3, "%02x", mac[i]);
	return CRYPTO_memcmp(hex, text, 64) == 0;
}

static bool mac_of(const char *time, size_t time_bytes, const void *body, size_t bytes,
	const char *secret, uint8_t mac[32])
{
	char *text = malloc(time_bytes + 1 + bytes);
	unsigned int mac_bytes = 0;
	bool ok;

	USH_ASSERT(text != NULL);
	memcpy(text, time, time_bytes);
	text[time_bytes] = '.';
	if (bytes > 0)
		memcpy(text + time_bytes + 1, body, bytes);
	ok = HMAC(EVP_sha256(), secret, (int)strlen(secret), (unsigned char *)text,
		     time_bytes + 1 + bytes, mac, &mac_bytes) != NULL;
	free(text);
	return ok && mac_bytes == 32;
}

bool ush_webhook_verify(
	const char *header, const void *body, size_t bytes, const char *secret, int64_t now_s)
{
	const char *time = NULL, *part;
	size_t time_bytes = 0;
	int64_t time_s = 0;
	uint8_t mac[32];
	bool good = false;

	if (header == NULL || secret[0] == '\0' || strlen(header) > HEADER_BYTES_MAX)
		return false;
	if (strncmp(header, "t=", 2) == 0) {
		time = header + 2;
		time_bytes = strspn(time, "0123456789");
	}
	if (time_bytes == 0 || time_bytes > DIGITS_MAX || time[time_bytes] != ',')
		return false;
	for (size_t i = 0; i < time_bytes; i++)
		time_s = time_s * 10 + (time[i] - '0');
	if (time_s < now_s - USH_WEBHOOK_TOLERANCE_S || time_s > now_s + USH_WEBHOOK_TOLERANCE_S)
		return false;
	if (!mac_of(time, time_bytes, body, bytes, secret, mac))
		return false;
	for (part = time + time_bytes; *part == ','; part += strcspn(part, ",")) {
		part++;
		if (strncmp(part, "v1=", 3) == 0)
			good |= same_hex(part + 3, strcspn(part + 3, ","), mac);
	}
	return good;
}

static void copy_text(char *to, size_t bytes, const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	/* What does not fit is not one of ours. */
	snprintf(to, bytes, "%s", text != NULL && strlen(text) < bytes ? text : "");
}

int ush_webhook_read(struct ush_webhook *webhook, const void *body, size_t bytes)
{
	json_t *event = json_loadb(body, bytes, JSON_REJECT_DUPLICATES, NULL);
	const json_t *object = json_object_get(json_object_get(event, "data"), "object");
	struct ush_webhook read;

	memset(&read, 0, sizeof(read));
	copy_text(read.id, sizeof(read.id), event, "id");
	copy_text(read.type, sizeof(read.type), event, "type");
	read.created_s = json_integer_value(json_object_get(event, "created"));
	if (strncmp(read.type, "payment_intent.", 15) == 0)
		copy_text(read.intent, sizeof(read.intent), object, "id");
	else
		copy_text(read.intent, sizeof(read.intent), object, "payment_intent");
	if (strncmp(read.type, "charge.dispute.", 15) == 0) {
		copy_text(read.dispute, sizeof(read.dispute), object, "id");
		copy_text(read.status, sizeof(read.status), object, "status");
		copy_text(read.reason, sizeof(read.reason), object, "reason");
		read.amount = json_integer_value(json_object_get(object, "amount"));
	}
	json_decref(event);
	if (read.id[0] == '\0' || read.type[0] == '\0')
		return -USH_EPARSE;
	*webhook = read;
	return 0;
}
