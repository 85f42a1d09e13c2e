/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rates, suspicion, proofs of work, what a provider of CAPTCHAs says, tickets as text: functions of
 * their arguments, in virtual time.
 */
#include <string.h>

#include "entry/captcha.h"
#include "entry/limit.h"
#include "entry/status.h"
#include "entry/work.h"
#include "tests/tap.h"

#define SECOND UINT64_C(1000000)

static const struct ush_key key = {0x0123456789abcdef, 0xfedcba9876543210};

/* 10 a second, 5 at once: never more than that, whatever else comes; and the wait that is said
 * suffices exactly. */
static void test_limit_lets_in_what_is_due(void)
{
	struct ush_limit *limit = ush_limit_new(64, &key);
	uint64_t what = ush_limit_address(limit, "192.0.2.7"), wait, in = 0;

	for (uint64_t now = 1000 * SECOND; now < 1010 * SECOND; now += SECOND / 100)
		in += ush_limit_take(limit, USH_LIMIT_ADDRESS, what, SECOND / 10, 5, now) == 0;
	CHECK_EQ(in, 104);
	while ((wait = ush_limit_take(
			limit, USH_LIMIT_ADDRESS, what, SECOND / 10, 5, 2000 * SECOND)) == 0)
		continue;
	CHECK(ush_limit_take(limit, USH_LIMIT_ADDRESS, what, SECOND / 10, 5,
		      2000 * SECOND + wait - 1) != 0);
	CHECK(ush_limit_take(
		      limit, USH_LIMIT_ADDRESS, what, SECOND / 10, 5, 2000 * SECOND + wait) == 0);
	CHECK(ush_limit_take(limit, USH_LIMIT_ACCOUNT, what, SECOND / 10, 5, 2000 * SECOND) == 0);
	CHECK(ush_limit_take(limit, USH_LIMIT_ADDRESS, what, 0, 0, 2000 * SECOND) == 0);
	ush_limit_free(limit);
}

/* IPv4 in IPv6 is the same address; IPv6 counts by /64. */
static void test_limit_addresses(void)
{
	struct ush_limit *limit = ush_limit_new(64, &key);

	CHECK_EQ(ush_limit_address(limit, "::ffff:192.0.2.7"),
		ush_limit_address(limit, "192.0.2.7"));
	CHECK(ush_limit_address(limit, "192.0.2.8") != ush_limit_address(limit, "192.0.2.7"));
	CHECK_EQ(ush_limit_address(limit, "2001:db8::1"),
		ush_limit_address(limit, "2001:db8::ffff"));
	CHECK(ush_limit_address(limit, "2001:db8:0:1::1") !=
		ush_limit_address(limit, "2001:db8::1"));
	CHECK_EQ(ush_limit_address(limit, "nonsense"), 0);
	ush_limit_free(limit);
}

/* 100,000 other addresses in a table of 256 do not get anybody refused, nor let an abuser in. */
static void test_limit_flood_hurts_nobody(void)
{
	struct ush_limit *limit = ush_limit_new(64, &key);
	uint64_t now = 1000 * SECOND, in = 0, refused = 0;

	for (uint32_t i = 0; i < 100000; i++, now += 1000) {
		ush_limit_take(limit, USH_LIMIT_ADDRESS, 1000 + i, SECOND / 10, 5, now);
		in += ush_limit_take(limit, USH_LIMIT_ADDRESS, 1, SECOND / 10, 5, now) == 0;
		if (i % 200 == 0)
			refused += ush_limit_take(
					   limit, USH_LIMIT_ADDRESS, 2, SECOND / 10, 5, now) != 0;
	}
	CHECK_EQ(refused, 0);
	/* 100 s at ten a second and the five at once. */
	CHECK(in >= 1000);
	CHECK(in <= 1100);
	ush_limit_free(limit);
}

static void test_crowd_counts_accounts(void)
{
	struct ush_crowd *crowd = ush_crowd_new(64, &key);

	for (uint32_t i = 0; i < 3; i++) {
		CHECK_EQ(ush_crowd_see(crowd, 1, 99, 1, 60 * SECOND, 1000 * SECOND + i), 1);
		CHECK_EQ(ush_crowd_see(crowd, 2, 99, 5, 60 * SECOND, 1000 * SECOND + i), 1);
	}
	for (uint64_t account = 2; account < 30; account++)
		CHECK_EQ(ush_crowd_see(crowd, 1, 99, account, 60 * SECOND, 1001 * SECOND),
			account < USH_CROWD_ACCOUNTS_MAX ? account : USH_CROWD_ACCOUNTS_MAX);
	/* A flood of devices of one account each does not push it out. */
	for (uint64_t device = 1000; device < 50000; device++)
		ush_crowd_see(crowd, 1, device, 1, 60 * SECOND, 1002 * SECOND);
	CHECK_EQ(
		ush_crowd_see(crowd, 1, 99, 1, 60 * SECOND, 1003 * SECOND), USH_CROWD_ACCOUNTS_MAX);
	CHECK_EQ(ush_crowd_see(crowd, 1, 99, 1, 60 * SECOND, 1064 * SECOND), 1);
	ush_crowd_free(crowd);
}

static uint32_t score(uint32_t captcha, uint32_t device, uint32_t address, bool fan)
{
	const struct ush_crowd_bounds bounds = {4, 8};
	const struct ush_crowd_client client = {
		(enum ush_captcha_says)captcha, device, address, fan};

	return ush_crowd_score(&client, &bounds);
}

/* Each sign by itself, and together. */
static void test_crowd_scores(void)
{
	CHECK(score(USH_CAPTCHA_OFF, 1, 1, false) == 0);
	CHECK(score(USH_CAPTCHA_GOOD, 4, 8, false) == 0);
	CHECK(score(USH_CAPTCHA_FAILED, 1, 1, false) >= USH_CROWD_SLOW);
	CHECK(score(USH_CAPTCHA_NONE, 1, 1, false) >= USH_CROWD_SLOW);
	CHECK(score(USH_CAPTCHA_AWAY, 1, 1, false) < USH_CROWD_SLOW);
	CHECK(score(USH_CAPTCHA_GOOD, 5, 1, false) >= USH_CROWD_SLOW);
	CHECK(score(USH_CAPTCHA_GOOD, 0, 1, false) < USH_CROWD_SLOW);
	CHECK(score(USH_CAPTCHA_GOOD, 1, 9, false) < USH_CROWD_SLOW);
	CHECK(score(USH_CAPTCHA_GOOD, 0, 9, false) >= USH_CROWD_SLOW);
	CHECK(score(USH_CAPTCHA_GOOD, 0, 9, true) < USH_CROWD_SLOW);
}

/* The solver counts; the vector of docs/admission.md is checked in the system test. */
static void test_work_is_for_one_user_and_hour(void)
{
	struct ush_work work = {.user = 77, .event = 7, .request_id = 1};
	uint64_t now = 500 * 3600 * SECOND + 5 * SECOND, tries = 0;

	work.time_ns = now * 1000;
	while (!ush_work_check(&work, 10, &key, now)) {
		work.nonce++;
		tries++;
	}
	CHECK(tries < 20000);
	CHECK(ush_work_check(&work, 10, &key, now + 59 * SECOND));
	CHECK(!ush_work_check(&work, 10, &key, now + 61 * SECOND));
	CHECK(!ush_work_check(&work, 10, &key, now - 61 * SECOND));
	CHECK(ush_work_salt(&key, now) < UINT64_C(1) << 53);
	CHECK(ush_work_salt(&key, now) != ush_work_salt(&key, now + 3600 * SECOND));
	work.user++;
	CHECK(!ush_work_check(&work, 10, &key, now));
	CHECK(ush_work_check(&work, 0, &key, now));
}

static enum ush_captcha_says says(uint32_t status, const char *body, const char *hostname)
{
	return ush_captcha_read(status, body, strlen(body), hostname);
}

/* Only a clear no is a no. */
static void test_captcha_answers(void)
{
	CHECK(says(200, "{\"success\":true}", NULL) == USH_CAPTCHA_GOOD);
	CHECK(says(200, "{\"success\":true,\"hostname\":\"a\"}", "a") == USH_CAPTCHA_GOOD);
	CHECK(says(200, "{\"success\":true,\"hostname\":\"b\"}", "a") == USH_CAPTCHA_FAILED);
	CHECK(says(200, "{\"success\":false,\"error-codes\":[\"timeout-or-duplicate\"]}", NULL) ==
		USH_CAPTCHA_FAILED);
	CHECK(says(200, "{\"success\":false,\"error-codes\":[\"invalid-input-secret\"]}", NULL) ==
		USH_CAPTCHA_AWAY);
	CHECK(says(200, "{\"success\":\"true\"}", NULL) == USH_CAPTCHA_AWAY);
	CHECK(says(200, "{\"success\":false,\"success\":true}", NULL) == USH_CAPTCHA_AWAY);
	CHECK(says(500, "{\"success\":true}", NULL) == USH_CAPTCHA_AWAY);
	CHECK(says(200, "", NULL) == USH_CAPTCHA_AWAY);
	CHECK(says(200, "[]", NULL) == USH_CAPTCHA_AWAY);
}

static void test_captcha_form_is_escaped(void)
{
	char *form = ush_captcha_form("s&=", "a b&secret=x\n", "2001:db8::1");

	CHECK(strcmp(form,
		      "secret=s%26%3D&response=a%20b%26secret%3Dx%0A&remoteip=2001%3Adb8%3A%3A1") ==
		0);
	free(form);
}

static void test_ticket_text(void)
{
	struct ush_ticket ticket = {.number = 0x0102030405060708, .tier = 7, .key_id = 255}, read;
	char text[USH_ENTRY_TICKET_CHARS + 1];
	uint64_t tag;

	ush_entry_ticket_text(&ticket, UINT64_MAX - 5, text);
	CHECK(ush_entry_ticket_read(text, &read, &tag));
	CHECK_EQ(tag, UINT64_MAX - 5);
	CHECK_EQ(read.number, ticket.number);
	CHECK_EQ(read.tier, 7);
	CHECK_EQ(read.key_id, 255);
	text[3] = '=';
	CHECK(!ush_entry_ticket_read(text, &read, &tag));
	CHECK(!ush_entry_ticket_read("", &read, &tag));
	CHECK(!ush_entry_ticket_read("AAAAAAAAAAAAAAAAAAAAAAAAA", &read, &tag));
}

/* A reply that is cut anywhere, or has an extension of a wrong size, is not believed. */
static void test_view_wants_all_of_it(void)
{
	struct {
		struct ush_reply head;
		struct ush_extension_header room;
		struct ush_room_status status;
		struct ush_extension_header open;
		struct ush_room_open opened;
	} reply = {.head = {.event = 7, .sequence = 99},
		.room = {.type = USH_EXTENSION_ROOM, .size = 8 + sizeof(struct ush_room_status)},
		.open = {
			.type = USH_EXTENSION_ROOM_OPEN, .size = 8 + sizeof(struct ush_room_open)}};
	const struct ush_entry_needs needs = {.work_bits = 12, .work_salt = 5};
	struct ush_room_view view;
	char *text;

	reply.status.phase = USH_ROOM_PHASE_SERVING;
	CHECK(ush_room_view_read(&reply, sizeof(reply), &view));
	for (size_t bytes = 0; bytes < sizeof(reply); bytes++)
		CHECK(!ush_room_view_read(&reply, bytes, &view));
	CHECK(ush_room_view_read(&reply, sizeof(reply), &view));
	text = ush_entry_status_text(&view, &needs, 99);
	CHECK(strstr(text, "\"phase\":\"SERVING\"") != NULL);
	CHECK(strstr(text, "\"work\":{\"bits\":12,\"salt\":5}") != NULL);
	CHECK(strlen(text) < 1000);
	free(text);
	reply.room.size = 4;
	CHECK(!ush_room_view_read(&reply, sizeof(reply), &view));
}

int main(void)
{
	TAP_RUN(test_limit_lets_in_what_is_due);
	TAP_RUN(test_limit_addresses);
	TAP_RUN(test_limit_flood_hurts_nobody);
	TAP_RUN(test_crowd_counts_accounts);
	TAP_RUN(test_crowd_scores);
	TAP_RUN(test_work_is_for_one_user_and_hour);
	TAP_RUN(test_captcha_answers);
	TAP_RUN(test_captcha_form_is_escaped);
	TAP_RUN(test_ticket_text);
	TAP_RUN(test_view_wants_all_of_it);
	return tap_end();
}
