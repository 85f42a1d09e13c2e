/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses, telephones, limits, and hashes of people/. What asks a database is in
 * tests/system/test_people.py. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../tap.h"
#include "people/internal.h"

/* Goal: an address is lower case, and nothing that may break a mail's head is one. Method: good
 * ones and bad ones. */
static void test_people_mail_good_is_taken_bad_is_not(void)
{
	static const char *const bad[] = {"", "a@b", "@example.org", "a@example..org", "a@-x.org",
		"a@x-.org", "a b@example.org", "a@exam ple.org", "a@example.org\r\nBcc: x@y.org",
		"<a@example.org>", "a,b@example.org", "a@b@example.org", ".a@example.org",
		"a.@example.org", "a..b@example.org", "a@.org", "a@org.", "a\"b@example.org",
		"\xc3\xa4@example.org"};
	char mail[PEOPLE_MAIL_BYTES], longest[400];

	CHECK(people_mail_read("Anna.O'Hara+tickets@Mail.Example.ORG", mail));
	CHECK(strcmp(mail, "anna.o'hara+tickets@mail.example.org") == 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (people_mail_read(bad[i], mail))
			printf("# taken: %s\n", bad[i]);
		CHECK(!people_mail_read(bad[i], mail));
	}
	memset(longest, 'a', sizeof(longest));
	memcpy(longest + 64, "@example.org", 13);
	CHECK(people_mail_read(longest, mail));
	memset(longest, 'a', sizeof(longest));
	memcpy(longest + 65, "@example.org", 13);
	CHECK(!people_mail_read(longest, mail));
	memset(longest, 'a', sizeof(longest));
	memcpy(longest, "a@", 2);
	memcpy(longest + 250, ".org", 5);
	CHECK(people_mail_read(longest, mail));
	memset(longest + 250, 'a', 1);
	memcpy(longest + 251, ".org", 5);
	CHECK(!people_mail_read(longest, mail));
}

static void test_people_phone_is_of_e164(void)
{
	CHECK(people_phone_is_good("+4930123456"));
	CHECK(people_phone_is_good("+1234567"));
	CHECK(people_phone_is_good("+123456789012345"));
	CHECK(!people_phone_is_good("+123456"));
	CHECK(!people_phone_is_good("+1234567890123456"));
	CHECK(!people_phone_is_good("004930123456"));
	CHECK(!people_phone_is_good("+0930123456"));
	CHECK(!people_phone_is_good("+49 30123456"));
	CHECK(!people_phone_is_good(""));
	CHECK(!people_phone_is_good("+"));
}

/* Goal: never more than a full bucket and what came in since. Method: against exact arithmetic, one
 * asker. */
static void test_people_limit_lets_in_what_it_says(void)
{
	const struct ush_key key = {1, 2};
	struct people_limit *limit = people_limit_open(&key, 60);
	int64_t now = 1000000000000, spent = 0;
	struct ush_random random;

	ush_random_init(&random, 7);
	/* 60 a minute: one a second, 15 at once. */
	for (uint32_t i = 0; i < 15; i++)
		CHECK_EQ(people_limit_take(limit, "192.0.2.1", 1, now), 0);
	CHECK_EQ(people_limit_take(limit, "192.0.2.1", 1, now), 1);
	CHECK_EQ(people_limit_take(limit, "192.0.2.2", 1, now), 0);
	CHECK_EQ(people_limit_take(limit, "192.0.2.1", 10, now), 10);
	CHECK_EQ(people_limit_take(limit, "192.0.2.1", 1, now + 999999), 1);
	CHECK_EQ(people_limit_take(limit, "192.0.2.1", 1, now + 1000000), 0);
	for (uint32_t i = 0; i < 20000; i++) {
		now += (int64_t)(ush_random_next(&random) % 400000);
		if (people_limit_take(limit, "192.0.2.9", 1, now) == 0)
			spent++;
	}
	CHECK(spent <= 15 + (now - 1000000000000) / 1000000);
	CHECK(spent >= (now - 1000000000000) / 1000000 - 1);
	people_limit_close(limit);
}

/* Goal: a flood of others gives nobody less. Method: an asker within its rate among a million
 * newcomers. */
static void test_people_limit_flood_does_not_refuse_the_honest(void)
{
	const struct ush_key key = {3, 4};
	struct people_limit *limit = people_limit_open(&key, 60);
	int64_t now = 1000000000000;
	uint32_t refused = 0;
	char name[32];

	for (uint32_t i = 0; i < 1000000; i++) {
		snprintf(name, sizeof(name), "n%u", i);
		people_limit_take(limit, name, 1, now);
		if (i % 10000 == 0) {
			refused += people_limit_take(limit, "honest", 1, now) != 0;
			now += 1100000;
		}
	}
	CHECK_EQ(refused, 0);
	people_limit_close(limit);
}

static void test_people_hashes_are_those_of_others(void)
{
	struct ush_people people = {0};
	char hex[PEOPLE_HEX_BYTES], token[2 * PEOPLE_TOKEN_BYTES + 1], other[sizeof(token)];

	people_sha256("abc", hex);
	CHECK(strcmp(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad") == 0);
	/* printf 'csrf\nabc' | openssl dgst -sha256 -mac HMAC -macopt hexkey:00..00 (64 digits) */
	people_hmac(&people, "csrf", "abc", hex);
	CHECK(strcmp(hex, "8fed78864dd2e6ebb13bdfd6052b69ddc9375078d8d03b3af8cce29e645cbaeb") == 0);
	people_token(token);
	people_token(other);
	CHECK_EQ(strlen(token), 64);
	CHECK(!people_same(token, other));
	CHECK(people_same(token, token));
	CHECK(!people_same(token, "a"));
}

int main(void)
{
	TAP_RUN(test_people_mail_good_is_taken_bad_is_not);
	TAP_RUN(test_people_phone_is_of_e164);
	TAP_RUN(test_people_limit_lets_in_what_it_says);
	TAP_RUN(test_people_limit_flood_does_not_refuse_the_honest);
	TAP_RUN(test_people_hashes_are_those_of_others);
	return tap_end();
}
