/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Codes of tickets, keys, lists of revocations, and what a gate says to each: good ones, and every
 * change of one byte.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/tap.h"
#include "tickets/gate.h"
#include "tickets/money.h"

#define MINUTE_US 60000000ll
#define NOW_US 1764301330000000ll

static char folder[] = "/tmp/usher-tickets-XXXXXX";
static const struct ush_ticket sample = {
	.event = 7, .hold = 0x0123456789abcdefull, .row = 70000, .bit = 63, .serial = 2, .key = 1};
static struct ush_ticket_keys ring;

static const char *path(const char *name)
{
	static char texts[4][128];
	static uint32_t next;
	char *text = texts[next++ % 4];

	snprintf(text, sizeof(texts[0]), "%s/%s", folder, name);
	return text;
}

static void write_file(const char *name, const char *text, size_t bytes)
{
	FILE *file = fopen(path(name), "wb");

	CHECK(file != NULL && fwrite(text, 1, bytes, file) == bytes);
	fclose(file);
}

static size_t file_bytes(const char *name)
{
	struct stat status;

	return stat(path(name), &status) == 0 ? (size_t)status.st_size : 0;
}

static const uint8_t *seed_of(uint8_t fill)
{
	static uint8_t seed[USH_TICKET_KEY_BYTES];

	memset(seed, fill, sizeof(seed));
	return seed;
}

static void code_of(const struct ush_ticket *ticket, char code[USH_TICKET_CODE_CHARS + 1])
{
	CHECK_EQ(ush_ticket_make(ticket, ush_ticket_key(&ring, ticket->key)->seed, code), 0);
}

/* The examples of RFC 9285, and what it says is to be refused. */
static void test_base45_examples_of_the_rfc(void)
{
	static const char *const pairs[][2] = {{"AB", "BB8"}, {"Hello!!", "%69 VD92EX0"},
		{"base-45", "UJCLQE7W581"}, {"ietf!", "QED8WEX0"}};
	static const char *const bad[] = {"A", "BB8A", "GGX", ":::", "::", "0/", "a00", "0\n0"};
	uint8_t data[32];
	char text[64];

	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
		size_t bytes = strlen(pairs[i][0]);

		CHECK_EQ(ush_base45_encode((const uint8_t *)pairs[i][0], bytes, text),
			strlen(pairs[i][1]));
		CHECK(strcmp(text, pairs[i][1]) == 0);
		CHECK_EQ(ush_base45_decode(text, strlen(text), data, sizeof(data)), bytes);
		CHECK(memcmp(data, pairs[i][0], bytes) == 0);
		CHECK_EQ(ush_base45_decode(text, strlen(text), data, bytes - 1), -USH_EFULL);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		CHECK_EQ(
			ush_base45_decode(bad[i], strlen(bad[i]), data, sizeof(data)), -USH_EPARSE);
}

static void test_base64url_round_trip_and_one_text_only(void)
{
	uint8_t data[64], again[64];
	char text[96];

	for (uint32_t n = 0; n < sizeof(data); n++) {
		for (uint32_t i = 0; i < n; i++)
			data[i] = (uint8_t)(i * 37 + n);
		ush_base64url_encode(data, n, text);
		CHECK_EQ(ush_base64url_decode(text, strlen(text), again, sizeof(again)), n);
		CHECK(memcmp(data, again, n) == 0);
	}
	CHECK_EQ(ush_base64url_decode("AA", 2, data, 1), 1);
	CHECK_EQ(ush_base64url_decode("AB", 2, data, 1), -USH_EPARSE);
	CHECK_EQ(ush_base64url_decode("A", 1, data, 1), -USH_EPARSE);
	CHECK_EQ(ush_base64url_decode("A+AA", 4, data, 3), -USH_EPARSE);
}

/* RFC 8032, section 7.1, test 1: the empty message. */
static void test_signature_of_the_rfc(void)
{
	static const uint8_t seed[] = {0x9d, 0x61, 0xb1, 0x9d, 0xef, 0xfd, 0x5a, 0x60, 0xba, 0x84,
		0x4a, 0xf4, 0x92, 0xec, 0x2c, 0xc4, 0x44, 0x49, 0xc5, 0x69, 0x7b, 0x32, 0x69, 0x19,
		0x70, 0x3b, 0xac, 0x03, 0x1c, 0xae, 0x7f, 0x60};
	static const uint8_t begin[] = {0xe5, 0x56, 0x43, 0x00, 0xc3, 0x60, 0xac, 0x72};
	uint8_t public[USH_TICKET_KEY_BYTES], signature[USH_TICKET_SIGNATURE_BYTES];

	CHECK_EQ(ush_ticket_public(seed, public), 0);
	CHECK_EQ(public[0], 0xd7);
	CHECK_EQ(public[31], 0x1a);
	CHECK_EQ(ush_ticket_sign(seed, "", "", 0, signature), 0);
	CHECK(memcmp(signature, begin, sizeof(begin)) == 0);
	CHECK(ush_ticket_signed(public, "", "", 0, signature));
	CHECK(!ush_ticket_signed(public, "x", "", 0, signature));
}

static void test_code_says_what_was_put_in(void)
{
	char code[USH_TICKET_CODE_CHARS + 1];
	struct ush_ticket_code read;
	struct ush_ticket bad = sample;

	code_of(&sample, code);
	CHECK_EQ(strlen(code), USH_TICKET_CODE_CHARS);
	CHECK_EQ(ush_ticket_parse(code, strlen(code), &read), 0);
	CHECK_EQ(read.ticket.event, sample.event);
	CHECK_EQ(read.ticket.hold, sample.hold);
	CHECK_EQ(read.ticket.row, sample.row);
	CHECK_EQ(read.ticket.bit, sample.bit);
	CHECK_EQ(read.ticket.serial, sample.serial);
	CHECK_EQ(read.ticket.key, 1);
	CHECK(ush_ticket_good(&read, ring.keys[0].public));
	CHECK(!ush_ticket_good(&read, ring.keys[1].public));
	bad.bit = 64;
	CHECK_EQ(ush_ticket_make(&bad, seed_of(1), code), -USH_EINVAL);
	bad = sample;
	bad.serial = 0;
	CHECK_EQ(ush_ticket_make(&bad, seed_of(1), code), -USH_EINVAL);
}

/* Every character replaced by every other one: never a good ticket. */
static void test_code_changed_anywhere_is_refused(void)
{
	static const char letters[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:a";
	char code[USH_TICKET_CODE_CHARS + 1];
	uint32_t accepted = 0, parsed = 0;

	code_of(&sample, code);
	for (size_t at = 0; at < USH_TICKET_CODE_CHARS; at++) {
		char old = code[at];

		for (size_t i = 0; i < sizeof(letters) - 1; i += 5) {
			struct ush_ticket_code read;

			code[at] = letters[i];
			if (code[at] == old || ush_ticket_parse(code, strlen(code), &read) != 0)
				continue;
			parsed++;
			accepted += ush_ticket_good(&read, ring.keys[0].public);
		}
		code[at] = old;
	}
	CHECK(parsed > 500);
	CHECK_EQ(accepted, 0);
	CHECK_EQ(ush_ticket_parse(code, strlen(code) - 1, &(struct ush_ticket_code){0}),
		-USH_EPARSE);
}

static void test_keys_file_is_private_and_comes_back(void)
{
	struct ush_ticket_keys read = {0};
	struct ush_message message = {""};
	char *text;

	CHECK_EQ(ush_ticket_keys_save(path("private"), &ring, &message), 0);
	CHECK_EQ(ush_ticket_keys_load(path("private"), &read, &message), 0);
	CHECK_EQ(read.count, 2);
	CHECK(memcmp(read.keys, ring.keys, 2 * sizeof(ring.keys[0])) == 0);
	chmod(path("private"), 0640);
	CHECK_EQ(ush_ticket_keys_load(path("private"), &read, &message), -USH_EACCES);
	CHECK(strstr(message.text, "chmod 600") != NULL);
	CHECK_EQ(ush_ticket_keys_load(path("absent"), &read, &message), -USH_ENOENT);
	text = ush_ticket_keys_text(&ring);
	CHECK(strstr(text, "seed") == NULL);
	CHECK_EQ(ush_ticket_keys_read(text, strlen(text), &read, &message), 0);
	CHECK(memcmp(read.keys[1].public, ring.keys[1].public, 32) == 0);
	CHECK_EQ(ush_ticket_keys_read(text, strlen(text) - 2, &read, &message), -USH_ECORRUPT);
	free(text);
}

/* A new key signs from its time on; the last one that signs cannot be retired. */
static void test_keys_rotate(void)
{
	struct ush_ticket_keys keys = {0};

	CHECK_EQ(ush_ticket_key_add(&keys, seed_of(1), NOW_US), 1);
	CHECK_EQ(ush_ticket_key_add(&keys, seed_of(2), NOW_US + MINUTE_US), 2);
	CHECK_EQ(ush_ticket_key_now(&keys, NOW_US)->id, 1);
	CHECK_EQ(ush_ticket_key_now(&keys, NOW_US + MINUTE_US)->id, 2);
	CHECK(ush_ticket_key_now(&keys, NOW_US - 1) == NULL);
	CHECK_EQ(ush_ticket_key_retire(&keys, 1, NOW_US), -USH_EBUSY);
	CHECK_EQ(ush_ticket_key_retire(&keys, 1, NOW_US + MINUTE_US), 0);
	CHECK_EQ(ush_ticket_key_retire(&keys, 2, NOW_US + MINUTE_US), -USH_EBUSY);
	CHECK_EQ(ush_ticket_key_retire(&keys, 9, NOW_US), -USH_ENOENT);
	for (uint32_t i = 3; i <= UINT8_MAX; i++) {
		CHECK_EQ(ush_ticket_key_add(&keys, seed_of((uint8_t)i), NOW_US), i);
		CHECK_EQ(ush_ticket_key_retire(&keys, (uint8_t)(i - 1), NOW_US), 0);
	}
	CHECK_EQ(keys.count, USH_TICKET_KEYS_MAX);
	CHECK_EQ(ush_ticket_key_add(&keys, seed_of(1), NOW_US), -USH_EFULL);
}

static char *list_of(
	int64_t made_us, uint64_t through, const struct ush_revocation *seats, uint32_t count)
{
	struct ush_revocation copy[8];
	struct ush_revocations list = {
		.event = 7, .made_us = made_us, .through = through, .count = count, .seats = copy};
	char *text = NULL;

	if (count > 0)
		memcpy(copy, seats, count * sizeof(*seats));
	CHECK_EQ(ush_revocations_make(&list, &ring.keys[0], &text), 0);
	return text;
}

static const struct ush_revocation dead[] = {{.row = 3, .bit = 5, .alive = 2},
	{.row = 3, .bit = 6, .alive = 65535}, {.row = 70000, .bit = 63, .alive = 2}};

static void test_list_changed_anywhere_is_refused(void)
{
	char *text = list_of(NOW_US, 12, dead, 3);
	struct ush_revocations list = {0};
	struct ush_message message;
	size_t bytes = strlen(text);

	CHECK_EQ(ush_revocations_read(text, bytes, &ring, &list, &message), 0);
	CHECK_EQ(list.count, 3);
	CHECK_EQ(list.through, 12);
	CHECK_EQ(ush_revocations_alive(&list, 3, 5), 2);
	CHECK_EQ(ush_revocations_alive(&list, 3, 4), 0);
	CHECK_EQ(ush_revocations_alive(&list, 70000, 63), 2);
	ush_revocations_free(&list);
	for (size_t i = 0; i < bytes; i++) {
		char old = text[i];

		text[i] = (char)(old == '1' ? '2' : '1');
		CHECK(ush_revocations_read(text, bytes, &ring, &list, &message) < 0);
		text[i] = old;
		CHECK(ush_revocations_read(text, i, &ring, &list, &message) < 0);
	}
	free(text);
}

static void test_list_must_ascend(void)
{
	struct ush_revocation seats[] = {dead[1], dead[0]};
	struct ush_revocations list = {.event = 7, .count = 2, .seats = seats};
	char *text;

	CHECK_EQ(ush_revocations_make(&list, &ring.keys[0], &text), -USH_EINVAL);
}

static void gate_files(int64_t made_us)
{
	char *text = ush_ticket_keys_text(&ring);

	write_file("keys", text, strlen(text));
	free(text);
	text = list_of(made_us, 12, dead, 2);
	write_file("list", text, strlen(text));
	free(text);
	unlink(path("log"));
}

static struct ush_gate_config gate_config(void)
{
	static char keys[128], list[128], log[128];

	snprintf(keys, sizeof(keys), "%s/keys", folder);
	snprintf(list, sizeof(list), "%s/list", folder);
	snprintf(log, sizeof(log), "%s/log", folder);
	return (struct ush_gate_config){.event = 7,
		.keys = keys,
		.revocations = list,
		.log = log,
		.list_age_max_us = MINUTE_US};
}

static struct ush_gate *open_gate(const struct ush_gate_config *config)
{
	struct ush_message message = {""};
	struct ush_gate *gate = NULL;

	CHECK_EQ(ush_gate_open(&gate, config, &message), 0);
	if (gate == NULL)
		printf("# %s\n", message.text);
	return gate;
}

static struct ush_gate_answer scan(
	struct ush_gate *gate, const struct ush_ticket *ticket, int64_t now_us)
{
	char code[USH_TICKET_CODE_CHARS + 1];
	struct ush_gate_answer answer = {.verdict = USH_GATE_VERDICT_COUNT};
	struct ush_message message;

	code_of(ticket, code);
	CHECK_EQ(ush_gate_scan(gate, code, strlen(code), now_us, &answer, &message), 0);
	return answer;
}

static void test_gate_gives_each_verdict(void)
{
	struct ush_gate_config config = gate_config();
	struct ush_ticket t = sample;
	struct ush_gate_answer answer;
	struct ush_message message;
	struct ush_gate *gate;
	char code[USH_TICKET_CODE_CHARS + 1];

	gate_files(NOW_US);
	gate = open_gate(&config);
	CHECK_EQ(scan(gate, &t, NOW_US + 1).verdict, USH_GATE_VALID);
	answer = scan(gate, &t, NOW_US + 2 * MINUTE_US);
	CHECK_EQ(answer.verdict, USH_GATE_DUPLICATE);
	CHECK_EQ(answer.first_us, NOW_US + 1);
	CHECK_EQ(answer.list_age_us, 2 * MINUTE_US);
	CHECK(answer.list_too_old);
	t.serial = 3;
	CHECK_EQ(scan(gate, &t, NOW_US).verdict, USH_GATE_DUPLICATE);
	t = (struct ush_ticket){.event = 7, .hold = 5, .row = 3, .bit = 5, .serial = 1, .key = 1};
	CHECK_EQ(scan(gate, &t, NOW_US).verdict, USH_GATE_REVOKED);
	t.serial = 2;
	CHECK_EQ(scan(gate, &t, NOW_US).verdict, USH_GATE_VALID);
	t.event = 8;
	CHECK_EQ(scan(gate, &t, NOW_US).verdict, USH_GATE_WRONG_EVENT);
	code_of(&sample, code);
	code[USH_TICKET_CODE_CHARS - 1] = code[USH_TICKET_CODE_CHARS - 1] == '0' ? '1' : '0';
	CHECK_EQ(ush_gate_scan(gate, code, strlen(code), NOW_US, &answer, &message), 0);
	CHECK_EQ(answer.verdict, USH_GATE_BAD_SIGNATURE);
	CHECK_EQ(ush_gate_scan(gate, "hello", 5, NOW_US, &answer, &message), 0);
	CHECK_EQ(answer.verdict, USH_GATE_MALFORMED);
	t = sample;
	t.key = 9;
	CHECK_EQ(ush_ticket_make(&t, seed_of(9), code), 0);
	CHECK_EQ(ush_gate_scan(gate, code, strlen(code), NOW_US, &answer, &message), 0);
	CHECK_EQ(answer.verdict, USH_GATE_UNKNOWN_KEY);
	ush_gate_close(gate);
	config.strict = true;
	gate = open_gate(&config);
	t = sample;
	t.row = 1;
	CHECK_EQ(scan(gate, &t, NOW_US + 2 * MINUTE_US).verdict, USH_GATE_STALE);
	CHECK_EQ(scan(gate, &t, NOW_US - 2 * MINUTE_US).verdict, USH_GATE_STALE);
	CHECK_EQ(scan(gate, &t, NOW_US + MINUTE_US).verdict, USH_GATE_VALID);
	ush_gate_close(gate);
}

/* Restarted, and two at once on one log; a torn line is forgotten, a changed one is not borne. */
static void test_gate_remembers_in_its_log(void)
{
	struct ush_gate_config config = gate_config();
	struct ush_ticket a = sample, b = sample;
	struct ush_gate *one, *two;
	struct ush_message message = {""};
	size_t bytes;
	FILE *file;

	b.bit = 1;
	gate_files(NOW_US);
	one = open_gate(&config);
	two = open_gate(&config);
	CHECK_EQ(scan(one, &a, NOW_US).verdict, USH_GATE_VALID);
	CHECK_EQ(scan(two, &a, NOW_US).verdict, USH_GATE_DUPLICATE);
	CHECK_EQ(scan(two, &b, NOW_US).verdict, USH_GATE_VALID);
	CHECK_EQ(scan(one, &b, NOW_US).verdict, USH_GATE_DUPLICATE);
	ush_gate_close(one);
	ush_gate_close(two);
	bytes = file_bytes("log");
	file = fopen(config.log, "a");
	fputs("1764301330000000 VALID 7 9 9 1", file);
	fclose(file);
	one = open_gate(&config);
	CHECK_EQ(file_bytes("log"), bytes);
	CHECK_EQ(scan(one, &a, NOW_US).verdict, USH_GATE_DUPLICATE);
	for (uint32_t i = 0; i < 2000; i++) {
		b.row = i;
		CHECK_EQ(scan(one, &b, NOW_US).verdict, USH_GATE_VALID);
	}
	ush_gate_close(one);
	one = open_gate(&config);
	CHECK_EQ(scan(one, &b, NOW_US).verdict, USH_GATE_DUPLICATE);
	ush_gate_close(one);
	file = fopen(config.log, "r+");
	fseek(file, 3, SEEK_SET);
	fputc('9', file);
	fclose(file);
	CHECK_EQ(ush_gate_open(&one, &config, &message), -USH_ECORRUPT);
	CHECK(strstr(message.text, "changed") != NULL);
}

/* Files are taken over while it runs: not a list of another event, an older or a damaged one. */
static void test_gate_takes_over_good_files_only(void)
{
	struct ush_gate_config config = gate_config();
	struct ush_message message = {""};
	struct ush_ticket t = sample;
	struct ush_gate *gate;
	char *text;

	gate_files(NOW_US);
	gate = open_gate(&config);
	CHECK_EQ(ush_gate_reload(gate, &message), 0);
	text = list_of(NOW_US + 5, 13, dead, 3);
	write_file("list", text, strlen(text) - 3);
	CHECK_EQ(ush_gate_reload(gate, &message), -USH_EPARSE);
	CHECK_EQ(ush_gate_reload(gate, &message), 0);
	write_file("list", text, strlen(text));
	free(text);
	CHECK_EQ(ush_gate_reload(gate, &message), 0);
	t.serial = 1;
	CHECK_EQ(scan(gate, &t, NOW_US).verdict, USH_GATE_REVOKED);
	text = list_of(NOW_US + 5, 12, dead, 2);
	write_file("list", text, strlen(text));
	free(text);
	CHECK_EQ(ush_gate_reload(gate, &message), -USH_EINVAL);
	CHECK(strstr(message.text, "older") != NULL);
	CHECK_EQ(scan(gate, &t, NOW_US).verdict, USH_GATE_REVOKED);
	ush_gate_close(gate);
}

/* Goal: nobody reads a hundred times what they paid. Method: currencies of each number of decimals,
 * ends of the range. */
static void test_tickets_money_has_the_decimals_of_its_currency(void)
{
	static const struct {
		int64_t minor;
		const char *currency, *text;
	} cases[] = {{0, "GBP", "0.00 GBP"}, {5, "EUR", "0.05 EUR"}, {99, "EUR", "0.99 EUR"},
		{14355, "GBP", "143.55 GBP"}, {100000, "USD", "1,000.00 USD"},
		{123456789, "USD", "1,234,567.89 USD"}, {-4785, "GBP", "-47.85 GBP"},
		{1200, "JPY", "1,200 JPY"}, {0, "JPY", "0 JPY"}, {999, "KRW", "999 KRW"},
		{1234567, "KWD", "1,234.567 KWD"}, {7, "KWD", "0.007 KWD"},
		{INT64_MAX, "GBP", "92,233,720,368,547,758.07 GBP"},
		{INT64_MIN, "JPY", "-9,223,372,036,854,775,808 JPY"}};
	char text[TICKETS_MONEY_BYTES];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		tickets_money(cases[i].minor, cases[i].currency, text);
		CHECK(strcmp(text, cases[i].text) == 0);
		if (strcmp(text, cases[i].text) != 0)
			printf("# %s, not %s\n", text, cases[i].text);
	}
}

int main(void)
{
	TAP_RUN(test_tickets_money_has_the_decimals_of_its_currency);
	if (mkdtemp(folder) == NULL)
		return 1;
	ush_ticket_key_add(&ring, seed_of(1), NOW_US);
	ush_ticket_key_add(&ring, seed_of(2), NOW_US + MINUTE_US);
	TAP_RUN(test_base45_examples_of_the_rfc);
	TAP_RUN(test_base64url_round_trip_and_one_text_only);
	TAP_RUN(test_signature_of_the_rfc);
	TAP_RUN(test_code_says_what_was_put_in);
	TAP_RUN(test_code_changed_anywhere_is_refused);
	TAP_RUN(test_keys_file_is_private_and_comes_back);
	TAP_RUN(test_keys_rotate);
	TAP_RUN(test_list_changed_anywhere_is_refused);
	TAP_RUN(test_list_must_ascend);
	TAP_RUN(test_gate_gives_each_verdict);
	TAP_RUN(test_gate_remembers_in_its_log);
	TAP_RUN(test_gate_takes_over_good_files_only);
	for (const char *const *name =
			(const char *const[]){"keys", "list", "log", "private", NULL};
		*name != NULL; name++)
		unlink(path(*name));
	rmdir(folder);
	return tap_end();
}
