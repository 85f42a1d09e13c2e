/* SPDX-License-Identifier: Apache-2.0 */
#include "entry/beacon.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "room/merkle.h"

#define SECOND_US INT64_C(1000000)
#define MARK "{round}"
/* A BLS signature has 48 or 96 bytes. */
#define SIGNATURE_BYTES_MAX 128u

bool ush_beacon_is(
	const struct ush_beacon *beacon, const char *source, size_t bytes, uint64_t round)
{
	return beacon->source != NULL && round > 0 && strlen(beacon->source) == bytes &&
	       memcmp(beacon->source, source, bytes) == 0;
}

int64_t ush_beacon_round_us(const struct ush_beacon *beacon, uint64_t round)
{
	int64_t us;

	if (round == 0 || round > INT64_MAX ||
		__builtin_mul_overflow((int64_t)round - 1, beacon->period_s, &us) ||
		__builtin_add_overflow(us, beacon->genesis_s, &us) ||
		__builtin_mul_overflow(us, SECOND_US, &us))
		return INT64_MAX;
	return us;
}

int64_t ush_beacon_newest(const struct ush_beacon *beacon, int64_t now_us)
{
	int64_t passed_s = now_us / SECOND_US - beacon->genesis_s;

	return passed_s < 0 ? 0 : passed_s / beacon->period_s + 1;
}

bool ush_beacon_url(const struct ush_beacon *beacon, uint64_t round, char *url, size_t bytes)
{
	const char *mark = strstr(beacon->url, MARK);
	int made;

	if (mark == NULL)
		return false;
	made = snprintf(url, bytes, "%.*s%" PRIu64 "%s", (int)(mark - beacon->url), beacon->url,
		round, mark + strlen(MARK));
	return made > 0 && (size_t)made < bytes;
}

/* ret: bytes read, 0: no text of hexadecimal digits, or more than there is room for. */
static size_t read_hex(const json_t *value, uint8_t *bytes, size_t most)
{
	const char *text = json_string_value(value);
	size_t digits = text != NULL ? strlen(text) : 0;

	if (digits == 0 || digits % 2 != 0 || digits > 2 * most ||
		strspn(text, "0123456789abcdefABCDEF") != digits)
		return 0;
	for (size_t i = 0; i < digits / 2; i++) {
		const char pair[3] = {text[2 * i], text[2 * i + 1], '\0'};

		bytes[i] = (uint8_t)strtoul(pair, NULL, 16);
	}
	return digits / 2;
}

static const char *read_members(
	const json_t *answer, uint64_t round, uint8_t value[USH_BEACON_BYTES])
{
	const json_t *number = json_object_get(answer, "round");
	uint8_t signature[SIGNATURE_BYTES_MAX], hash[USH_HASH_BYTES];
	size_t bytes = read_hex(json_object_get(answer, "signature"), signature, sizeof(signature));

	if (!json_is_integer(number) || json_integer_value(number) < 0 ||
		(uint64_t)json_integer_value(number) != round)
		return "another round";
	if (read_hex(json_object_get(answer, "randomness"), value, USH_BEACON_BYTES) !=
		USH_BEACON_BYTES)
		return "no randomness of 32 bytes";
	if (bytes == 0)
		return "no signature";
	ush_sha256(signature, bytes, hash);
	return memcmp(hash, value, sizeof(hash)) == 0
		       ? NULL
		       : "its randomness is not the hash of its signature";
}

const char *ush_beacon_read(
	const char *body, size_t bytes, uint64_t round, uint8_t value[USH_BEACON_BYTES])
{
	json_t *answer = json_loadb(body, bytes, JSON_REJECT_DUPLICATES, NULL);
	const char *fault =
		json_is_object(answer) ? read_members(answer, round, value) : "no object";

	json_decref(answer);
	return fault;
}
