/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A token is base64url(header).base64url(claims).base64url(signature). The header has alg, kid and
 * typ and nothing else; kid names a key of ours, and alg must be that key's, so nobody else chooses
 * an algorithm. The signature is checked before the claims are read.
 *
 * Failure modes: whatever is not exactly as we write it is MALFORMED.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <openssl/x509.h>

#include "entry/jwt.h"

#define SIGNATURE_BYTES 64u
#define HEADER_BYTES_MAX 256u
#define PART_BYTES 32u
/* Clocks of two machines may differ by so much. src: guess */
#define SKEW_S 60
#define AUDIENCE "usher"
#define TYPE "at+jwt"

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

const char *ush_jwt_verdict_name(enum ush_jwt_verdict verdict)
{
	static const char *const names[] = {
		[USH_JWT_GOOD] = "good",
		[USH_JWT_MALFORMED] = "malformed",
		[USH_JWT_KEY] = "key",
		[USH_JWT_ALG] = "alg",
		[USH_JWT_SIGNATURE] = "signature",
		[USH_JWT_ISSUER] = "issuer",
		[USH_JWT_EXPIRED] = "expired",
		[USH_JWT_EARLY] = "early",
		[USH_JWT_EVENT] = "event",
		[USH_JWT_USER] = "user",
	};

	return names[verdict];
}

/* ---- base64url ---- */

size_t ush_jwt_base64(const void *data, size_t bytes, char *text)
{
	const uint8_t *from = data;
	size_t at = 0;

	for (size_t i = 0; i < bytes; i += 3) {
		uint32_t left = (uint32_t)ush_min64(bytes - i, 3);
		uint32_t word = (uint32_t)from[i] << 16;

		word |= left > 1 ? (uint32_t)from[i + 1] << 8 : 0;
		word |= left > 2 ? from[i + 2] : 0;
		for (uint32_t j = 0; j <= left; j++)
			text[at++] = digits[word >> (18 - 6 * j) & 63];
	}
	text[at] = '\0';
	return at;
}

static int32_t digit_of(char c)
{
	const char *found = c == '\0' ? NULL : strchr(digits, c);

	return found == NULL ? -1 : (int32_t)(found - digits);
}

int64_t ush_jwt_unbase64(const char *text, size_t length, void *data, size_t most)
{
	uint8_t *to = data;
	uint32_t word = 0, bits = 0;
	size_t at = 0;

	if (length % 4 == 1 || length / 4 * 3 > most)
		return -1;
	for (size_t i = 0; i < length; i++) {
		int32_t digit = digit_of(text[i]);

		if (digit < 0)
			return -1;
		word = word << 6 | (uint32_t)digit;
		bits += 6;
		if (bits >= 8) {
			bits -= 8;
			if (at == most)
				return -1;
			to[at++] = (uint8_t)(word >> bits);
		}
	}
	/* What is left over must be zero, or two texts would mean the same. */
	return (word & ((1u << bits) - 1)) != 0 ? -1 : (int64_t)at;
}

/* ---- keys ---- */

static const char *alg_name(enum ush_jwt_alg alg)
{
	return alg == USH_JWT_EDDSA ? "EdDSA" : "ES256";
}

int ush_jwt_key_of(struct evp_pkey_st *pkey, struct ush_jwt_key *key)
{
	char curve[32] = "";
	uint8_t hash[SHA256_DIGEST_LENGTH];
	uint8_t *der = NULL;
	int bytes;

	memset(key, 0, sizeof(*key));
	if (EVP_PKEY_is_a(pkey, "ED25519")) {
		key->alg = USH_JWT_EDDSA;
	} else if (EVP_PKEY_is_a(pkey, "EC") &&
		   EVP_PKEY_get_utf8_string_param(
			   pkey, OSSL_PKEY_PARAM_GROUP_NAME, curve, sizeof(curve), NULL) == 1 &&
		   strcmp(curve, "prime256v1") == 0) {
		key->alg = USH_JWT_ES256;
	} else {
		return -USH_EINVAL;
	}
	bytes = i2d_PUBKEY(pkey, &der);
	if (bytes <= 0)
		return -USH_EINVAL;
	SHA256(der, (size_t)bytes, hash);
	OPENSSL_free(der);
	for (uint32_t i = 0; i < 8; i++)
		snprintf(key->kid + 2 * i, 3, "%02x", hash[i]);
	key->pkey = pkey;
	return 0;
}

int ush_jwt_key_make(enum ush_jwt_alg alg, struct ush_jwt_key *key)
{
	EVP_PKEY *pkey = alg == USH_JWT_EDDSA ? EVP_PKEY_Q_keygen(NULL, NULL, "ED25519")
					      : EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");

	if (pkey == NULL)
		return -USH_ESYSTEM;
	if (ush_jwt_key_of(pkey, key) != 0) {
		EVP_PKEY_free(pkey);
		return -USH_ESYSTEM;
	}
	return 0;
}

void ush_jwt_key_free(struct ush_jwt_key *key)
{
	EVP_PKEY_free(key->pkey);
	memset(key, 0, sizeof(*key));
}

static void set_number(json_t *jwk, const char *name, const BIGNUM *number)
{
	uint8_t bytes[PART_BYTES];
	char text[48];

	USH_ASSERT(BN_bn2binpad(number, bytes, sizeof(bytes)) == (int)sizeof(bytes));
	ush_jwt_base64(bytes, sizeof(bytes), text);
	json_object_set_new(jwk, name, json_string(text));
}

json_t *ush_jwt_key_jwk(const struct ush_jwt_key *key)
{
	json_t *jwk = json_pack(
		"{s:s, s:s, s:s}", "kid", key->kid, "use", "sig", "alg", alg_name(key->alg));
	uint8_t raw[PART_BYTES];
	size_t bytes = sizeof(raw);
	char text[48];
	BIGNUM *x = NULL, *y = NULL;

	if (key->alg == USH_JWT_EDDSA) {
		USH_ASSERT(EVP_PKEY_get_raw_public_key(key->pkey, raw, &bytes) == 1);
		ush_jwt_base64(raw, bytes, text);
		json_object_set_new(jwk, "kty", json_string("OKP"));
		json_object_set_new(jwk, "crv", json_string("Ed25519"));
		json_object_set_new(jwk, "x", json_string(text));
		return jwk;
	}
	USH_ASSERT(EVP_PKEY_get_bn_param(key->pkey, OSSL_PKEY_PARAM_EC_PUB_X, &x) == 1);
	USH_ASSERT(EVP_PKEY_get_bn_param(key->pkey, OSSL_PKEY_PARAM_EC_PUB_Y, &y) == 1);
	json_object_set_new(jwk, "kty", json_string("EC"));
	json_object_set_new(jwk, "crv", json_string("P-256"));
	set_number(jwk, "x", x);
	set_number(jwk, "y", y);
	BN_free(x);
	BN_free(y);
	return jwk;
}

/* ---- signatures ---- */

/* ES256 in a token is r and s, 32 bytes each; OpenSSL's is DER. */
static bool der_to_raw(const uint8_t *der, size_t der_bytes, uint8_t raw[SIGNATURE_BYTES])
{
	ECDSA_SIG *pair = d2i_ECDSA_SIG(NULL, &der, (long)der_bytes);
	bool good =
		pair != NULL &&
		BN_bn2binpad(ECDSA_SIG_get0_r(pair), raw, PART_BYTES) == PART_BYTES &&
		BN_bn2binpad(ECDSA_SIG_get0_s(pair), raw + PART_BYTES, PART_BYTES) == PART_BYTES;

	ECDSA_SIG_free(pair);
	return good;
}

/* ret: bytes of DER (to be freed by OPENSSL_free), 0: failed. */
static size_t raw_to_der(const uint8_t raw[SIGNATURE_BYTES], uint8_t **der)
{
	ECDSA_SIG *pair = ECDSA_SIG_new();
	BIGNUM *r = BN_bin2bn(raw, PART_BYTES, NULL);
	BIGNUM *s = BN_bin2bn(raw + PART_BYTES, PART_BYTES, NULL);
	int bytes = 0;

	*der = NULL;
	if (pair != NULL && r != NULL && s != NULL && ECDSA_SIG_set0(pair, r, s) == 1) {
		bytes = i2d_ECDSA_SIG(pair, der);
	} else {
		BN_free(r);
		BN_free(s);
	}
	ECDSA_SIG_free(pair);
	return bytes > 0 ? (size_t)bytes : 0;
}

static const EVP_MD *digest_of(const struct ush_jwt_key *key)
{
	return key->alg == USH_JWT_ES256 ? EVP_sha256() : NULL;
}

static bool sign_bytes(const struct ush_jwt_key *key, const char *text, size_t bytes,
	uint8_t signature[SIGNATURE_BYTES])
{
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	uint8_t made[128];
	size_t made_bytes = sizeof(made);
	bool good;

	good = context != NULL &&
	       EVP_DigestSignInit(context, NULL, digest_of(key), NULL, key->pkey) == 1 &&
	       EVP_DigestSign(context, made, &made_bytes, (const uint8_t *)text, bytes) == 1;
	EVP_MD_CTX_free(context);
	if (!good)
		return false;
	if (key->alg == USH_JWT_ES256)
		return der_to_raw(made, made_bytes, signature);
	USH_ASSERT(made_bytes == SIGNATURE_BYTES);
	memcpy(signature, made, SIGNATURE_BYTES);
	return true;
}

static bool check_bytes(const struct ush_jwt_key *key, const char *text, size_t bytes,
	const uint8_t signature[SIGNATURE_BYTES])
{
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	const uint8_t *given = signature;
	uint8_t *der = NULL;
	size_t given_bytes = SIGNATURE_BYTES;
	bool good = context != NULL;

	if (key->alg == USH_JWT_ES256) {
		given_bytes = raw_to_der(signature, &der);
		given = der;
	}
	good = good && given_bytes > 0 &&
	       EVP_DigestVerifyInit(context, NULL, digest_of(key), NULL, key->pkey) == 1 &&
	       EVP_DigestVerify(context, given, given_bytes, (const uint8_t *)text, bytes) == 1;
	OPENSSL_free(der);
	EVP_MD_CTX_free(context);
	return good;
}

/* ---- making ---- */

/* Appends the JSON of an object, which is freed. ret: false: no room. */
static bool put_part(char *token, size_t *at, json_t *object)
{
	char *text = json_dumps(object, JSON_COMPACT);
	size_t bytes = text == NULL ? 0 : strlen(text);
	bool fits = text != NULL && *at + bytes / 3 * 4 + 8 < USH_JWT_BYTES_MAX;

	if (fits)
		*at += ush_jwt_base64(text, bytes, token + *at);
	free(text);
	json_decref(object);
	return fits;
}

char *ush_jwt_sign(const struct ush_jwt_key *key, const struct ush_jwt_claims *claims)
{
	char *token = malloc(USH_JWT_BYTES_MAX + 1);
	uint8_t signature[SIGNATURE_BYTES];
	char wire[48], user[24];
	size_t at = 0;
	json_t *body;

	ush_jwt_base64(claims->wire, sizeof(claims->wire), wire);
	snprintf(user, sizeof(user), "%llu", (unsigned long long)claims->user);
	body = json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:s}", "iss", claims->issuer,
		"aud", AUDIENCE, "sub", claims->account, "user", user, "event",
		(json_int_t)claims->event, "tier", (json_int_t)claims->tier, "iat",
		(json_int_t)claims->issued_s, "exp", (json_int_t)claims->expires_s, "wire", wire);
	if (token == NULL || body == NULL ||
		!put_part(token, &at,
			json_pack("{s:s, s:s, s:s}", "alg", alg_name(key->alg), "typ", TYPE, "kid",
				key->kid))) {
		json_decref(body);
		free(token);
		return NULL;
	}
	token[at++] = '.';
	if (!put_part(token, &at, body) || at + 90 > USH_JWT_BYTES_MAX ||
		!sign_bytes(key, token, at, signature)) {
		free(token);
		return NULL;
	}
	token[at++] = '.';
	ush_jwt_base64(signature, sizeof(signature), token + at);
	return token;
}

/* ---- checking ---- */

/* ret: the object in a part of a token, or NULL. */
static json_t *read_part(const char *text, size_t length, size_t most)
{
	uint8_t bytes[USH_JWT_BYTES_MAX];
	int64_t count = ush_jwt_unbase64(text, length, bytes, ush_min64(most, sizeof(bytes)));
	json_t *object;

	if (count <= 0)
		return NULL;
	object = json_loadb((const char *)bytes, (size_t)count, JSON_REJECT_DUPLICATES, NULL);
	if (!json_is_object(object)) {
		json_decref(object);
		return NULL;
	}
	return object;
}

static enum ush_jwt_verdict find_key(const struct ush_jwt_keys *keys, const char *text,
	size_t length, const struct ush_jwt_key **key)
{
	json_t *header = read_part(text, length, HEADER_BYTES_MAX);
	const char *alg = NULL, *type = NULL, *kid = NULL;
	enum ush_jwt_verdict verdict = USH_JWT_KEY;

	if (json_unpack(header, "{s:s, s:s, s:s !}", "alg", &alg, "typ", &type, "kid", &kid) != 0 ||
		strcmp(type, TYPE) != 0) {
		json_decref(header);
		return USH_JWT_MALFORMED;
	}
	for (uint32_t i = 0; i < keys->count; i++) {
		if (strcmp(keys->key[i].kid, kid) != 0)
			continue;
		*key = &keys->key[i];
		verdict = strcmp(alg_name((*key)->alg), alg) == 0 ? USH_JWT_GOOD : USH_JWT_ALG;
	}
	json_decref(header);
	return verdict;
}

static bool user_of(const char *text, uint64_t *user)
{
	uint64_t value = 0;

	if (text[0] < '1' || text[0] > '9')
		return false;
	for (; *text != '\0'; text++) {
		if (*text < '0' || *text > '9' || __builtin_mul_overflow(value, 10u, &value) ||
			__builtin_add_overflow(value, (uint64_t)(*text - '0'), &value))
			return false;
	}
	*user = value;
	return true;
}

/* ret: false: not as we write it. out: *ours: the issuer and the audience are right. */
static bool read_claims(json_t *body, const char *issuer, struct ush_jwt_claims *claims, bool *ours)
{
	const char *iss, *aud, *sub, *user, *wire;
	json_int_t event, tier, issued, expires;

	if (json_unpack(body, "{s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:s !}", "iss", &iss, "aud",
		    &aud, "sub", &sub, "user", &user, "event", &event, "tier", &tier, "iat",
		    &issued, "exp", &expires, "wire", &wire) != 0)
		return false;
	if (strlen(iss) >= sizeof(claims->issuer) || strlen(sub) >= sizeof(claims->account) ||
		event < 1 || event > UINT32_MAX || tier < 0 || tier > UINT8_MAX || issued < 0 ||
		expires < 0 || !user_of(user, &claims->user) ||
		ush_jwt_unbase64(wire, strlen(wire), claims->wire, sizeof(claims->wire)) !=
			(int64_t)sizeof(claims->wire))
		return false;
	snprintf(claims->issuer, sizeof(claims->issuer), "%s", iss);
	snprintf(claims->account, sizeof(claims->account), "%s", sub);
	claims->event = (uint32_t)event;
	claims->tier = (uint8_t)tier;
	claims->issued_s = issued;
	claims->expires_s = expires;
	*ours = strcmp(iss, issuer) == 0 && strcmp(aud, AUDIENCE) == 0;
	return true;
}

enum ush_jwt_verdict ush_jwt_verify(const struct ush_jwt_keys *keys, const char *token,
	size_t bytes, const char *issuer, int64_t now_s, struct ush_jwt_claims *claims)
{
	const char *first = bytes > USH_JWT_BYTES_MAX ? NULL : memchr(token, '.', bytes);
	const char *second =
		first == NULL ? NULL : memchr(first + 1, '.', bytes - (size_t)(first + 1 - token));
	const struct ush_jwt_key *key = NULL;
	struct ush_jwt_claims read = {0};
	uint8_t signature[SIGNATURE_BYTES];
	enum ush_jwt_verdict verdict;
	bool ours = false, good;
	json_t *body;

	if (second == NULL)
		return USH_JWT_MALFORMED;
	verdict = find_key(keys, token, (size_t)(first - token), &key);
	if (verdict != USH_JWT_GOOD)
		return verdict;
	/* A third dot is no digit. */
	if (ush_jwt_unbase64(second + 1, bytes - (size_t)(second + 1 - token), signature,
		    sizeof(signature)) != (int64_t)sizeof(signature))
		return USH_JWT_MALFORMED;
	if (!check_bytes(key, token, (size_t)(second - token), signature))
		return USH_JWT_SIGNATURE;
	body = read_part(first + 1, (size_t)(second - first - 1), USH_JWT_BYTES_MAX);
	good = body != NULL && read_claims(body, issuer, &read, &ours);
	json_decref(body);
	if (!good)
		return USH_JWT_MALFORMED;
	*claims = read;
	if (!ours)
		return USH_JWT_ISSUER;
	if (now_s >= read.expires_s)
		return USH_JWT_EXPIRED;
	return read.issued_s > now_s + SKEW_S ? USH_JWT_EARLY : USH_JWT_GOOD;
}
