/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Access tokens as JSON Web Tokens: signed with EdDSA (Ed25519) or ES256, checked strictly.
 *
 * Owns:  nothing but what it returns.
 * Reads: nothing.
 * Never: files, clocks; what the header of a token says but which key it claims.
 */
#ifndef USH_ENTRY_JWT_H
#define USH_ENTRY_JWT_H

#include <jansson.h>

#include "base/base.h"

struct evp_pkey_st;

/* Longest token that is looked at. */
#define USH_JWT_BYTES_MAX 2048u
#define USH_JWT_KEYS_MAX 16u
#define USH_JWT_WIRE_BYTES 32u

enum ush_jwt_alg {
	USH_JWT_EDDSA,
	USH_JWT_ES256,
};

struct ush_jwt_key {
	/* 16 hexadecimal digits of the SHA-256 of the public key. */
	char kid[24];
	enum ush_jwt_alg alg;
	struct evp_pkey_st *pkey;
	/* When it was made, and since when it signs, since 1970. */
	int64_t made_us;
	int64_t signs_from_us;
};

/* Ascending by made_us. */
struct ush_jwt_keys {
	struct ush_jwt_key key[USH_JWT_KEYS_MAX];
	uint32_t count;
};

struct ush_jwt_claims {
	char issuer[128];
	char account[24];
	uint64_t user;
	uint32_t event;
	uint8_t tier;
	int64_t issued_s;
	int64_t expires_s;
	/* The TOKEN extension for the wire (docs/admission.md, 7.3). */
	uint8_t wire[USH_JWT_WIRE_BYTES];
};

enum ush_jwt_verdict {
	USH_JWT_GOOD,
	USH_JWT_MALFORMED,
	/* No key of ours has this id, or it is gone. */
	USH_JWT_KEY,
	/* The header names another algorithm than the key's. */
	USH_JWT_ALG,
	USH_JWT_SIGNATURE,
	USH_JWT_ISSUER,
	USH_JWT_EXPIRED,
	/* Issued in the future. */
	USH_JWT_EARLY,
	/* Good, but of another event or user. */
	USH_JWT_EVENT,
	USH_JWT_USER,
};

/* ret: a word for it, as in the API. */
const char *ush_jwt_verdict_name(enum ush_jwt_verdict verdict);

/* Base64url without padding (RFC 4648, 5). out: text: 4 * bytes / 3 + 3 bytes. ret: its length. */
size_t ush_jwt_base64(const void *data, size_t bytes, char *text);
/* ret: bytes written, or -1: not canonical, or more than `most`. */
int64_t ush_jwt_unbase64(const char *text, size_t length, void *data, size_t most);

/* A new key. ret: 0; err: -USH_ESYSTEM. */
int ush_jwt_key_make(enum ush_jwt_alg alg, struct ush_jwt_key *key);
/* Takes over a private key, if it is Ed25519 or on P-256. ret: 0; err: -USH_EINVAL. */
int ush_jwt_key_of(struct evp_pkey_st *pkey, struct ush_jwt_key *key);
void ush_jwt_key_free(struct ush_jwt_key *key);
/* ret: the public key as a JWK (RFC 7517). */
json_t *ush_jwt_key_jwk(const struct ush_jwt_key *key);

/* ret: the token (malloced), or NULL. EdDSA: the same claims give the same token. */
char *ush_jwt_sign(const struct ush_jwt_key *key, const struct ush_jwt_claims *claims);

/*
 * Checks a token. in: issuer: who must have made it. out: claims: written only where the signature
 * is good. ret: the first that applies, GOOD last; EVENT and USER are for the caller. by: any
 * thread.
 */
enum ush_jwt_verdict ush_jwt_verify(const struct ush_jwt_keys *keys, const char *token,
	size_t bytes, const char *issuer, int64_t now_s, struct ush_jwt_claims *claims);

#endif /* USH_ENTRY_JWT_H */
