/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Access JWTs: what is signed is read again by us and by PyJWT (test_entry_jwt.py reads what
 * `test_entry_jwt make` prints); everything that is not exactly so is refused by name. Keys: files,
 * modes, overlap.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "entry/keys.h"
#include "tests/tap.h"

#define ISSUER "https://shop.example"
#define NOW 1800000000
#define SECOND INT64_C(1000000)

static struct ush_jwt_claims claims_of(void)
{
	struct ush_jwt_claims claims = {.issuer = ISSUER,
		.account = "u_abc",
		.user = UINT64_MAX - 1,
		.event = 7,
		.tier = 2,
		.issued_s = NOW - 10,
		.expires_s = NOW + 290};

	for (uint32_t i = 0; i < sizeof(claims.wire); i++)
		claims.wire[i] = (uint8_t)(i * 9);
	return claims;
}

static struct ush_jwt_keys keys_of(enum ush_jwt_alg alg)
{
	struct ush_jwt_keys keys = {.count = 1};

	CHECK(ush_jwt_key_make(alg, &keys.key[0]) == 0);
	return keys;
}

static enum ush_jwt_verdict judge(
	const struct ush_jwt_keys *keys, const char *token, struct ush_jwt_claims *claims)
{
	return ush_jwt_verify(keys, token, strlen(token), ISSUER, NOW, claims);
}

/* Both algorithms; the same token again with EdDSA, so a repeated exchange is the same. */
static void test_jwt_signed_is_read_again(void)
{
	for (uint32_t alg = 0; alg < 2; alg++) {
		struct ush_jwt_keys keys = keys_of((enum ush_jwt_alg)alg);
		struct ush_jwt_claims made = claims_of(), read = {0};
		char *token = ush_jwt_sign(&keys.key[0], &made);
		char *again = ush_jwt_sign(&keys.key[0], &made);

		CHECK(token != NULL && again != NULL);
		CHECK(judge(&keys, token, &read) == USH_JWT_GOOD);
		CHECK(judge(&keys, again, &read) == USH_JWT_GOOD);
		CHECK(alg != USH_JWT_EDDSA || strcmp(token, again) == 0);
		CHECK_EQ(read.user, made.user);
		CHECK_EQ(read.event, 7);
		CHECK_EQ(read.tier, 2);
		CHECK(strcmp(read.account, made.account) == 0);
		CHECK(memcmp(read.wire, made.wire, sizeof(read.wire)) == 0);
		free(token);
		free(again);
		ush_jwt_keys_free(&keys);
	}
}

/* A token of a header and claims as given, signed by the key's own rules. */
static char *forge(const struct ush_jwt_key *key, const char *header, const char *body)
{
	static char token[4096];
	struct ush_jwt_claims claims = claims_of();
	char *made = ush_jwt_sign(key, &claims);
	size_t at = ush_jwt_base64(header, strlen(header), token);

	token[at++] = '.';
	if (body == NULL) {
		size_t first = strcspn(made, ".") + 1, length = strcspn(made + first, ".");

		memcpy(token + at, made + first, length);
		at += length;
	} else {
		at += ush_jwt_base64(body, strlen(body), token + at);
	}
	token[at++] = '.';
	strncpy(token + at, strrchr(made, '.') + 1, sizeof(token) - at - 1);
	free(made);
	return token;
}

/* none, HS256 with the public key as its secret, the other algorithm, another type, more members.
 */
static void test_jwt_header_is_ours_or_refused(void)
{
	struct ush_jwt_keys keys = keys_of(USH_JWT_ES256);
	struct ush_jwt_claims read;
	char header[256];
	static const struct {
		const char *format;
		enum ush_jwt_verdict verdict;
	} cases[] = {
		{"{\"alg\":\"none\",\"typ\":\"at+jwt\",\"kid\":\"%s\"}", USH_JWT_ALG},
		{"{\"alg\":\"None\",\"typ\":\"at+jwt\",\"kid\":\"%s\"}", USH_JWT_ALG},
		{"{\"alg\":\"HS256\",\"typ\":\"at+jwt\",\"kid\":\"%s\"}", USH_JWT_ALG},
		{"{\"alg\":\"EdDSA\",\"typ\":\"at+jwt\",\"kid\":\"%s\"}", USH_JWT_ALG},
		{"{\"alg\":\"RS256\",\"typ\":\"at+jwt\",\"kid\":\"%s\"}", USH_JWT_ALG},
		{"{\"alg\":\"none\"}", USH_JWT_MALFORMED},
		{"{\"alg\":\"ES256\",\"typ\":\"at+jwt\"}", USH_JWT_MALFORMED},
		{"{\"alg\":\"ES256\",\"typ\":\"JWT\",\"kid\":\"%s\"}", USH_JWT_MALFORMED},
		{"{\"alg\":\"ES256\",\"alg\":\"none\",\"typ\":\"at+jwt\",\"kid\":\"%s\"}",
			USH_JWT_MALFORMED},
		{"{\"alg\":\"ES256\",\"typ\":\"at+jwt\",\"kid\":\"%s\",\"jku\":\"https://x\"}",
			USH_JWT_MALFORMED},
		{"{\"alg\":\"ES256\",\"typ\":\"at+jwt\",\"kid\":\"%s\",\"crit\":[]}",
			USH_JWT_MALFORMED},
		{"{\"alg\":\"ES256\",\"typ\":\"at+jwt\",\"kid\":\"0123456789abcdef\"}",
			USH_JWT_KEY},
		{"{\"alg\":\"ES256\",\"typ\":\"at+jwt\",\"kid\":\"../../etc/passwd\"}",
			USH_JWT_KEY},
		{"[\"ES256\",\"at+jwt\",\"%s\"]", USH_JWT_MALFORMED},
		/* The right members in another order were not what was signed. */
		{"{\"typ\":\"at+jwt\",\"alg\":\"ES256\",\"kid\":\"%s\"}", USH_JWT_SIGNATURE},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
		snprintf(header, sizeof(header), cases[i].format, keys.key[0].kid);
#pragma GCC diagnostic pop
		CHECK_EQ(judge(&keys, forge(&keys.key[0], header, NULL), &read), cases[i].verdict);
	}
	ush_jwt_keys_free(&keys);
}

/* Claims changed, a signature cut or empty, dots, padding, a second spelling of the last digit. */
static void test_jwt_changed_is_refused(void)
{
	struct ush_jwt_keys keys = keys_of(USH_JWT_EDDSA), others = keys_of(USH_JWT_EDDSA);
	struct ush_jwt_claims made = claims_of(), read;
	char *token = ush_jwt_sign(&keys.key[0], &made), text[USH_JWT_BYTES_MAX + 8];
	char *other;

	snprintf(text, sizeof(text), "%s", token);
	*strrchr(text, '.') = '\0';
	CHECK_EQ(judge(&keys, text, &read), USH_JWT_MALFORMED);
	strncat(text, ".", sizeof(text) - strlen(text) - 1);
	CHECK_EQ(judge(&keys, text, &read), USH_JWT_MALFORMED);
	snprintf(text, sizeof(text), "%s.", token);
	CHECK_EQ(judge(&keys, text, &read), USH_JWT_MALFORMED);
	snprintf(text, sizeof(text), "%s=", token);
	CHECK_EQ(judge(&keys, text, &read), USH_JWT_MALFORMED);
	snprintf(text, sizeof(text), " %s", token);
	CHECK_EQ(judge(&keys, text, &read), USH_JWT_MALFORMED);
	/* 64 bytes leave four bits of the last digit unused: they must be zero. */
	snprintf(text, sizeof(text), "%s", token);
	text[strlen(text) - 1]++;
	CHECK_EQ(judge(&keys, text, &read), USH_JWT_MALFORMED);
	snprintf(text, sizeof(text), "%s", token);
	text[strcspn(text, ".") + 5] ^= 1;
	CHECK_EQ(judge(&keys, text, &read), USH_JWT_SIGNATURE);
	CHECK_EQ(judge(&keys, "", &read), USH_JWT_MALFORMED);
	CHECK_EQ(judge(&keys, "..", &read), USH_JWT_MALFORMED);
	/* The id of one key over a signature of another. */
	other = ush_jwt_sign(&others.key[0], &made);
	CHECK_EQ(judge(&keys, other, &read), USH_JWT_KEY);
	memcpy(others.key[0].kid, keys.key[0].kid, sizeof(others.key[0].kid));
	free(other);
	other = ush_jwt_sign(&others.key[0], &made);
	CHECK_EQ(judge(&keys, other, &read), USH_JWT_SIGNATURE);
	memset(text, 'A', sizeof(text));
	CHECK_EQ(ush_jwt_verify(&keys, text, sizeof(text), ISSUER, NOW, &read), USH_JWT_MALFORMED);
	free(other);
	free(token);
	ush_jwt_keys_free(&keys);
	ush_jwt_keys_free(&others);
}

static void test_jwt_time_and_issuer(void)
{
	struct ush_jwt_keys keys = keys_of(USH_JWT_EDDSA);
	struct ush_jwt_claims made = claims_of(), read = {0};
	char *token = ush_jwt_sign(&keys.key[0], &made);
	size_t bytes = strlen(token);

	CHECK_EQ(ush_jwt_verify(&keys, token, bytes, ISSUER, NOW + 289, &read), USH_JWT_GOOD);
	CHECK_EQ(ush_jwt_verify(&keys, token, bytes, ISSUER, NOW + 290, &read), USH_JWT_EXPIRED);
	CHECK_EQ(ush_jwt_verify(&keys, token, bytes, ISSUER, NOW - 71, &read), USH_JWT_EARLY);
	CHECK_EQ(ush_jwt_verify(&keys, token, bytes, "https://other.example", NOW, &read),
		USH_JWT_ISSUER);
	free(token);
	ush_jwt_keys_free(&keys);
}

/* ---- keys in files ---- */

static char folder[] = "/tmp/usher-keys-XXXXXX";

/* A new key is public at once, signs after 600 s, and the old one stays for 600 s more; what it
 * signed before is good until then. Read anew from the files at each step. */
static void test_keys_rotate_with_overlap(void)
{
	struct ush_jwt_keys keys = {0};
	struct ush_message message = {0};
	struct ush_jwt_claims made = claims_of(), read;
	int64_t now = NOW * SECOND;
	char path[128], old[24], *token;

	snprintf(path, sizeof(path), "%s/a", folder);
	CHECK(ush_jwt_keys_read(&keys, path, USH_JWT_EDDSA, false, now, &message) == 0);
	CHECK_EQ(keys.count, 1);
	snprintf(old, sizeof(old), "%s", keys.key[0].kid);
	token = ush_jwt_sign(ush_jwt_keys_now(&keys, now), &made);
	CHECK(ush_jwt_keys_rotate(&keys, path, USH_JWT_ES256, now, &message) == 0);
	CHECK(ush_jwt_keys_read(&keys, path, USH_JWT_EDDSA, false, now, &message) == 0);
	CHECK_EQ(keys.count, 2);
	CHECK(strcmp(ush_jwt_keys_now(&keys, now + 599 * SECOND)->kid, old) == 0);
	CHECK(strcmp(ush_jwt_keys_now(&keys, now + 601 * SECOND)->kid, old) != 0);
	CHECK_EQ(ush_jwt_keys_drop(&keys, path, now + 1199 * SECOND), 0);
	CHECK(judge(&keys, token, &read) == USH_JWT_GOOD);
	CHECK_EQ(ush_jwt_keys_drop(&keys, path, now + 1201 * SECOND), 1);
	CHECK(ush_jwt_keys_read(&keys, path, USH_JWT_EDDSA, false, now, &message) == 0);
	CHECK_EQ(keys.count, 1);
	CHECK(judge(&keys, token, &read) == USH_JWT_KEY);
	free(token);
	ush_jwt_keys_free(&keys);
}

/* Files that others can read, links, and text that is no key stop the start, by name. */
static void test_keys_of_others_are_refused(void)
{
	struct ush_jwt_keys keys = {0};
	struct ush_message message = {0};
	char path[128], file[192], target[192];
	int fd;

	snprintf(path, sizeof(path), "%s/b", folder);
	CHECK(ush_jwt_keys_read(&keys, path, USH_JWT_ES256, false, 5, &message) == 0);
	snprintf(file, sizeof(file), "%s/%020d.pem", path, 5);
	CHECK(chmod(file, 0640) == 0);
	CHECK(ush_jwt_keys_read(&keys, path, USH_JWT_ES256, false, 6, &message) == -USH_EACCES);
	CHECK(strstr(message.text, file) != NULL);
	CHECK_EQ(keys.count, 1);
	CHECK(chmod(file, 0600) == 0);
	snprintf(target, sizeof(target), "%s/%020d.pem", path, 6);
	CHECK(symlink(file, target) == 0);
	CHECK(ush_jwt_keys_read(&keys, path, USH_JWT_ES256, false, 6, &message) < 0);
	CHECK(unlink(target) == 0);
	fd = open(target, O_WRONLY | O_CREAT, 0600);
	CHECK(fd >= 0);
	CHECK(write(fd, "no key\n", 7) == 7);
	CHECK(close(fd) == 0);
	CHECK(ush_jwt_keys_read(&keys, path, USH_JWT_ES256, false, 6, &message) == -USH_EINVAL);
	CHECK(unlink(target) == 0);
	CHECK(ush_jwt_keys_read(&keys, path, USH_JWT_ES256, true, 6, &message) == 0);
	ush_jwt_keys_free(&keys);
	snprintf(path, sizeof(path), "%s/none", folder);
	CHECK(ush_jwt_keys_read(&keys, path, USH_JWT_ES256, true, 6, &message) < 0);
}

/* For test_entry_jwt.py: a line with a token of each algorithm, then the list of keys. */
static int make(void)
{
	struct ush_jwt_keys keys = {.count = 2};
	struct ush_jwt_claims claims = claims_of();
	json_t *public;

	for (uint32_t i = 0; i < 2; i++) {
		char *token;

		if (ush_jwt_key_make((enum ush_jwt_alg)i, &keys.key[i]) != 0)
			return 1;
		token = ush_jwt_sign(&keys.key[i], &claims);
		puts(token);
		free(token);
	}
	public = ush_jwt_keys_public(&keys);
	json_dumpf(public, stdout, 0);
	json_decref(public);
	ush_jwt_keys_free(&keys);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc > 1 && strcmp(argv[1], "make") == 0)
		return make();
	if (mkdtemp(folder) == NULL)
		return 1;
	TAP_RUN(test_jwt_signed_is_read_again);
	TAP_RUN(test_jwt_header_is_ours_or_refused);
	TAP_RUN(test_jwt_changed_is_refused);
	TAP_RUN(test_jwt_time_and_issuer);
	TAP_RUN(test_keys_rotate_with_overlap);
	TAP_RUN(test_keys_of_others_are_refused);
	return tap_end();
}
