/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzes the provider's webhooks: the body as it is, a real event with pieces of the input in it,
 * and the header of the signature. Only the header and body as they were signed are good, and what
 * is read fits its places.
 *
 * Owns:  nothing.
 * Reads: nothing.
 * Never: a network.
 */
#include <stdio.h>
#include <string.h>

#include <openssl/hmac.h>

#include "payments/webhook.h"

#define SECRET "whsec_fuzz"
#define NOW_S 1764300000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What may be in an event, in this order; each piece may be left out, repeated, or changed. */
static const char *const pieces[] = {"{\"id\":\"evt_1\",", "\"type\":\"payment_intent.succeeded\",",
	"\"type\":\"charge.dispute.created\",", "\"created\":1764300000,", "\"created\":1e308,",
	"\"data\":{\"object\":{", "\"id\":\"pi_1\",", "\"payment_intent\":\"pi_2\",",
	"\"amount\":9223372036854775807,", "\"status\":\"won\",",
	"\"reason\":\"\\ud83c\\udfab\\u0001\",", "\"payment_intent\":{},", "[[[[[[",
	"\"x\":null}}}"};
#define PIECE_COUNT (sizeof(pieces) / sizeof(pieces[0]))

static void read_it(const char *body, size_t bytes)
{
	struct ush_webhook webhook;

	memset(&webhook, 0x5a, sizeof(webhook));
	if (ush_webhook_read(&webhook, body, bytes) != 0) {
		/* Outputs are unchanged on an error. */
		USH_ASSERT(webhook.id[0] == 0x5a);
		return;
	}
	USH_ASSERT(webhook.id[0] != '\0' && webhook.type[0] != '\0');
	USH_ASSERT(memchr(webhook.id, '\0', sizeof(webhook.id)) != NULL);
	USH_ASSERT(memchr(webhook.type, '\0', sizeof(webhook.type)) != NULL);
	USH_ASSERT(memchr(webhook.intent, '\0', sizeof(webhook.intent)) != NULL);
	USH_ASSERT(memchr(webhook.dispute, '\0', sizeof(webhook.dispute)) != NULL);
	USH_ASSERT(memchr(webhook.status, '\0', sizeof(webhook.status)) != NULL);
	USH_ASSERT(memchr(webhook.reason, '\0', sizeof(webhook.reason)) != NULL);
}

/* ret: how many bytes of an event were put together as the input says. */
static size_t assemble(const uint8_t *data, size_t size, char *text, size_t most)
{
	size_t at = 0;

	for (size_t i = 0; i < PIECE_COUNT + size && at + 64 < most; i++) {
		uint8_t how = data[i % size];
		const char *piece = pieces[i < PIECE_COUNT ? i : how % PIECE_COUNT];

		if (how < 60)
			continue;
		at += (size_t)snprintf(text + at, most - at, "%s", piece);
		if (how > 240)
			text[at - 1 - how % strlen(piece)] = (char)data[(i + 1) % size];
	}
	return at;
}

static void sign(const char *body, size_t bytes, char header[160])
{
	static char text[16384];
	uint8_t mac[32];
	unsigned int mac_bytes;
	int at = snprintf(text, sizeof(text), "%d.", NOW_S);

	memcpy(text + at, body, bytes);
	USH_ASSERT(HMAC(EVP_sha256(), SECRET, (int)strlen(SECRET), (unsigned char *)text,
			   (size_t)at + bytes, mac, &mac_bytes) != NULL);
	at = snprintf(header, 160, "t=%d,v1=", NOW_S);
	for (uint32_t i = 0; i < 32; i++)
		at += snprintf(header + at, 3, "%02x", mac[i]);
}

static void judge_signature(const uint8_t *data, size_t size, const char *body, size_t bytes)
{
	char header[160], bent[160], other[2048], changed[8192];
	size_t at;

	sign(body, bytes, header);
	USH_ASSERT(ush_webhook_verify(header, body, bytes, SECRET, NOW_S));
	USH_ASSERT(!ush_webhook_verify(header, body, bytes, "whsec_other", NOW_S));
	USH_ASSERT(!ush_webhook_verify(
		header, body, bytes, SECRET, NOW_S + USH_WEBHOOK_TOLERANCE_S + 1));
	/* A bit of the header, and one of the body. */
	memcpy(bent, header, sizeof(bent));
	at = data[0] % strlen(header);
	bent[at] ^= (char)(1u << data[1] % 8);
	USH_ASSERT(!ush_webhook_verify(bent, body, bytes, SECRET, NOW_S));
	if (bytes > 0) {
		memcpy(changed, body, bytes);
		changed[((size_t)data[0] << 8 | data[2]) % bytes] ^= (char)(1u << data[1] % 8);
		USH_ASSERT(!ush_webhook_verify(header, changed, bytes, SECRET, NOW_S));
	}
	/* The input as the header, and among good parts. */
	memcpy(other, data, size);
	other[size] = '\0';
	USH_ASSERT(!ush_webhook_verify(other, body, bytes, SECRET, NOW_S));
	if (memchr(data, ',', size) == NULL && memchr(data, '\0', size) == NULL) {
		at = (size_t)snprintf(other, sizeof(other), "t=%d,%.*s,%s", NOW_S, (int)size,
			(const char *)data, header + strcspn(header, ",") + 1);
		USH_ASSERT(ush_webhook_verify(other, body, bytes, SECRET, NOW_S) == (at <= 1024));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char text[8192];
	size_t bytes;

	if (size < 3 || size > 1800)
		return 0;
	read_it((const char *)data, size);
	bytes = assemble(data, size, text, sizeof(text));
	read_it(text, bytes);
	judge_signature(data, size, text, bytes);
	judge_signature(data, size, (const char *)data, size);
	return 0;
}
