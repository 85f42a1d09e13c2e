/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A code is USHER: and base45 of a body of numbers (most significant byte first) and the Ed25519
 * signature over it. All characters are of QR's alphanumeric mode, where two take eleven bits.
 */
#include <openssl/evp.h>
#include <string.h>

#include "tickets/code.h"

#define VERSION 1u
#define KIND "usher-ticket 1\n"
/* Longest message that is signed: a revocation list of a stadium fits. */
#define MESSAGE_BYTES_MAX (64u << 20)

static const char alphabet45[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:";
static const char alphabet64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

size_t ush_base45_encode(const uint8_t *data, size_t bytes, char *text)
{
	size_t at = 0;

	for (size_t i = 0; i + 1 < bytes; i += 2) {
		uint32_t value = (uint32_t)data[i] << 8 | data[i + 1];

		text[at++] = alphabet45[value % 45];
		text[at++] = alphabet45[value / 45 % 45];
		text[at++] = alphabet45[value / (45 * 45)];
	}
	if (bytes % 2 != 0) {
		text[at++] = alphabet45[data[bytes - 1] % 45];
		text[at++] = alphabet45[data[bytes - 1] / 45];
	}
	text[at] = '\0';
	return at;
}

/* ret: the value of a character, or 255. */
static uint32_t digit(const char *alphabet, char c)
{
	const char *at = c == '\0' ? NULL : strchr(alphabet, c);

	return at == NULL ? 255 : (uint32_t)(at - alphabet);
}

int64_t ush_base45_decode(const char *text, size_t chars, uint8_t *data, size_t bytes_max)
{
	size_t at = 0;

	if (chars % 3 == 1)
		return -USH_EPARSE;
	for (size_t i = 0; i < chars; i += 3) {
		uint32_t count = chars - i >= 3 ? 3 : 2;
		uint32_t value = 0;

		for (uint32_t j = count; j-- > 0;) {
			uint32_t d = digit(alphabet45, text[i + j]);

			if (d > 44)
				return -USH_EPARSE;
			value = value * 45 + d;
		}
		if (value > (count == 3 ? 0xffffu : 0xffu))
			return -USH_EPARSE;
		if (at + count - 1 > bytes_max)
			return -USH_EFULL;
		if (count == 3)
			data[at++] = (uint8_t)(value >> 8);
		data[at++] = (uint8_t)value;
	}
	return (int64_t)at;
}

size_t ush_base64url_encode(const uint8_t *data, size_t bytes, char *text)
{
	size_t at = 0;

	for (size_t i = 0; i < bytes; i += 3) {
		size_t count = bytes - i < 3 ? bytes - i : 3;
		uint32_t value = (uint32_t)data[i] << 16;

		if (count > 1)
			value |= (uint32_t)data[i + 1] << 8;
		if (count > 2)
			value |= data[i + 2];
		for (size_t j = 0; j <= count; j++)
			text[at++] = alphabet64[value >> (18 - 6 * j) & 63];
	}
	text[at] = '\0';
	return at;
}

int64_t ush_base64url_decode(const char *text, size_t chars, uint8_t *data, size_t bytes_max)
{
	uint32_t bits = 0, value = 0;
	size_t at = 0;

	if (chars % 4 == 1)
		return -USH_EPARSE;
	for (size_t i = 0; i < chars; i++) {
		uint32_t d = digit(alphabet64, text[i]);

		if (d > 63)
			return -USH_EPARSE;
		value = value << 6 | d;
		bits += 6;
		if (bits < 8)
			continue;
		bits -= 8;
		if (at == bytes_max)
			return -USH_EFULL;
		data[at++] = (uint8_t)(value >> bits);
		value &= (1u << bits) - 1;
	}
	/* Bits left over are 0, or there would be several texts for the same bytes. */
	return value == 0 ? (int64_t)at : -USH_EPARSE;
}

int ush_ticket_public(
	const uint8_t seed[USH_TICKET_KEY_BYTES], uint8_t public[USH_TICKET_KEY_BYTES])
{
	EVP_PKEY *key =
		EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed, USH_TICKET_KEY_BYTES);
	size_t bytes = USH_TICKET_KEY_BYTES;
	bool done = key != NULL && EVP_PKEY_get_raw_public_key(key, public, &bytes) == 1;

	EVP_PKEY_free(key);
	return done ? 0 : -USH_ENOMEM;
}

/* ret: kind and data, one behind the other (malloced by OpenSSL), or NULL. */
static uint8_t *join(const char *kind, const void *data, size_t bytes)
{
	size_t kind_bytes = strlen(kind);
	uint8_t *message;

	if (bytes > MESSAGE_BYTES_MAX)
		return NULL;
	message = OPENSSL_malloc(kind_bytes + bytes + 1);
	if (message == NULL)
		return NULL;
	memcpy(message, kind, kind_bytes);
	if (bytes > 0)
		memcpy(message + kind_bytes, data, bytes);
	return message;
}

int ush_ticket_sign(const uint8_t seed[USH_TICKET_KEY_BYTES], const char *kind, const void *data,
	size_t bytes, uint8_t signature[USH_TICKET_SIGNATURE_BYTES])
{
	EVP_PKEY *key =
		EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed, USH_TICKET_KEY_BYTES);
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	uint8_t *message = join(kind, data, bytes);
	size_t out = USH_TICKET_SIGNATURE_BYTES;
	bool done = key != NULL && context != NULL && message != NULL &&
		    EVP_DigestSignInit(context, NULL, NULL, NULL, key) == 1 &&
		    EVP_DigestSign(context, signature, &out, message, strlen(kind) + bytes) == 1;

	OPENSSL_free(message);
	EVP_MD_CTX_free(context);
	EVP_PKEY_free(key);
	return done ? 0 : -USH_ENOMEM;
}

bool ush_ticket_signed(const uint8_t public[USH_TICKET_KEY_BYTES], const char *kind,
	const void *data, size_t bytes, const uint8_t signature[USH_TICKET_SIGNATURE_BYTES])
{
	EVP_PKEY *key =
		EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, public, USH_TICKET_KEY_BYTES);
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	uint8_t *message = join(kind, data, bytes);
	bool good = key != NULL && context != NULL && message != NULL &&
		    EVP_DigestVerifyInit(context, NULL, NULL, NULL, key) == 1 &&
		    EVP_DigestVerify(context, signature, USH_TICKET_SIGNATURE_BYTES, message,
			    strlen(kind) + bytes) == 1;

	OPENSSL_free(message);
	EVP_MD_CTX_free(context);
	EVP_PKEY_free(key);
	return good;
}

static void put(uint8_t *at, uint64_t value, uint32_t bytes)
{
	for (uint32_t i = 0; i < bytes; i++)
		at[i] = (uint8_t)(value >> 8 * (bytes - 1 - i));
}

static uint64_t get(const uint8_t *at, uint32_t bytes)
{
	uint64_t value = 0;

	for (uint32_t i = 0; i < bytes; i++)
		value = value << 8 | at[i];
	return value;
}

static bool sensible(const struct ush_ticket *t)
{
	return t->event != 0 && t->hold != 0 && t->bit < 64 && t->serial != 0 && t->key != 0;
}

int ush_ticket_make(const struct ush_ticket *ticket, const uint8_t seed[USH_TICKET_KEY_BYTES],
	char code[USH_TICKET_CODE_CHARS + 1])
{
	const size_t prefix = sizeof(USH_TICKET_PREFIX) - 1;
	uint8_t bytes[USH_TICKET_BYTES];
	int result;

	if (!sensible(ticket))
		return -USH_EINVAL;
	bytes[0] = VERSION;
	bytes[1] = ticket->key;
	put(bytes + 2, ticket->event, 4);
	put(bytes + 6, ticket->hold, 8);
	put(bytes + 14, ticket->row, 4);
	bytes[18] = ticket->bit;
	put(bytes + 19, ticket->serial, 2);
	result = ush_ticket_sign(
		seed, KIND, bytes, USH_TICKET_BODY_BYTES, bytes + USH_TICKET_BODY_BYTES);
	if (result != 0)
		return result;
	memcpy(code, USH_TICKET_PREFIX, prefix);
	ush_base45_encode(bytes, sizeof(bytes), code + prefix);
	return 0;
}

int ush_ticket_parse(const char *text, size_t bytes, struct ush_ticket_code *code)
{
	const size_t prefix = sizeof(USH_TICKET_PREFIX) - 1;
	uint8_t data[USH_TICKET_BYTES];
	struct ush_ticket_code read;
	int64_t count;

	if (bytes != USH_TICKET_CODE_CHARS || memcmp(text, USH_TICKET_PREFIX, prefix) != 0)
		return -USH_EPARSE;
	count = ush_base45_decode(text + prefix, bytes - prefix, data, sizeof(data));
	if (count != (int64_t)sizeof(data))
		return -USH_EPARSE;
	if (data[0] != VERSION)
		return -USH_EVERSION;
	memcpy(read.body, data, USH_TICKET_BODY_BYTES);
	memcpy(read.signature, data + USH_TICKET_BODY_BYTES, USH_TICKET_SIGNATURE_BYTES);
	read.ticket = (struct ush_ticket){.key = data[1],
		.event = (uint32_t)get(data + 2, 4),
		.hold = get(data + 6, 8),
		.row = (uint32_t)get(data + 14, 4),
		.bit = data[18],
		.serial = (uint16_t)get(data + 19, 2)};
	if (!sensible(&read.ticket))
		return -USH_EPARSE;
	*code = read;
	return 0;
}

bool ush_ticket_good(const struct ush_ticket_code *code, const uint8_t public[USH_TICKET_KEY_BYTES])
{
	return ush_ticket_signed(public, KIND, code->body, USH_TICKET_BODY_BYTES, code->signature);
}
