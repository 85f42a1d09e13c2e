/* SPDX-License-Identifier: Apache-2.0 */
/* Chance, hashes, and the key of codes and CSRF tokens. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include "people/internal.h"

static void to_hex(const uint8_t *bytes, size_t count, char *text)
{
	for (size_t i = 0; i < count; i++)
		snprintf(text + 2 * i, 3, "%02x", bytes[i]);
}

void people_token(char text[2 * PEOPLE_TOKEN_BYTES + 1])
{
	uint8_t bytes[PEOPLE_TOKEN_BYTES];

	USH_ASSERT(RAND_bytes(bytes, sizeof(bytes)) == 1);
	to_hex(bytes, sizeof(bytes), text);
}

void people_sha256(const char *text, char hex[PEOPLE_HEX_BYTES])
{
	uint8_t digest[32];

	USH_ASSERT(EVP_Digest(text, strlen(text), digest, NULL, EVP_sha256(), NULL) == 1);
	to_hex(digest, sizeof(digest), hex);
}

void people_csrf(const char *token, char hex[PEOPLE_HEX_BYTES])
{
	char text[sizeof("csrf\n") + 2 * PEOPLE_TOKEN_BYTES];

	snprintf(text, sizeof(text), "csrf\n%s", token);
	people_sha256(text, hex);
	explicit_bzero(text, sizeof(text));
}

void people_hmac(const struct ush_people *people, const char *purpose, const char *text,
	char hex[PEOPLE_HEX_BYTES])
{
	uint8_t digest[32];
	char all[512];
	unsigned int bytes = sizeof(digest);
	int size = snprintf(all, sizeof(all), "%s\n%s", purpose, text);

	USH_ASSERT(size > 0 && (size_t)size < sizeof(all));
	USH_ASSERT(HMAC(EVP_sha256(), people->secret, sizeof(people->secret),
			   (const unsigned char *)all, (size_t)size, digest, &bytes) != NULL);
	to_hex(digest, sizeof(digest), hex);
}

bool people_same(const char *a, const char *b)
{
	size_t bytes = strlen(a);

	return bytes == strlen(b) && CRYPTO_memcmp(a, b, bytes) == 0;
}

static int fail(struct ush_message *message, const char *path, const char *what)
{
	int saved = errno;

	ush_message_set(message, "%s: %s: %s", path, what, strerror(saved));
	return saved == 0 ? -USH_ECORRUPT : ush_error_from_errno(saved);
}

/* Another process may make it at the same moment: the link decides. */
static int make_secret(const char *path, struct ush_message *message)
{
	char fresh[600];
	uint8_t bytes[32];
	int file;

	USH_ASSERT(RAND_bytes(bytes, sizeof(bytes)) == 1);
	snprintf(fresh, sizeof(fresh), "%s.%ld", path, (long)getpid());
	file = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (file < 0)
		return fail(message, fresh, "cannot make the secret");
	if (write(file, bytes, sizeof(bytes)) != (ssize_t)sizeof(bytes) || fsync(file) != 0) {
		close(file);
		return fail(message, fresh, "cannot write the secret");
	}
	close(file);
	if (link(fresh, path) != 0 && errno != EEXIST)
		return fail(message, path, "cannot make the secret");
	unlink(fresh);
	return 0;
}

int people_secret_open(struct ush_people *people, struct ush_message *message)
{
	char path[512];
	struct stat stat;
	ssize_t got;
	int file, ret;

	if (snprintf(path, sizeof(path), "%s/people.secret", people->core->state_dir) >=
		(int)sizeof(path)) {
		ush_message_set(message, "the state directory's name is too long");
		return -USH_EINVAL;
	}
	file = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (file < 0 && errno == ENOENT) {
		ret = make_secret(path, message);
		if (ret != 0)
			return ret;
		file = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	}
	if (file < 0)
		return fail(message, path, "cannot open the secret");
	errno = 0;
	got = fstat(file, &stat) == 0 ? read(file, people->secret, sizeof(people->secret)) : -1;
	close(file);
	if (got >= 0 && (stat.st_mode & 077) != 0) {
		ush_message_set(message, "%s: others can read it: chmod 600 %s", path, path);
		return -USH_EACCES;
	}
	if (got != (ssize_t)sizeof(people->secret))
		return fail(message, path,
			"is not 32 bytes long; remove it (all codes and sessions end)");
	return 0;
}
