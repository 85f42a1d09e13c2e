/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The admission file: what each line sets, what each refuses, and who may read it.
 *
 * Owns:  a file in the current folder.
 * Reads: nothing.
 * Never: the gate.
 */
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../tap.h"
#include "admission/admission_file.h"

static struct ush_admit_config config;
static struct ush_message message;

static bool takes(const char *text)
{
	message.text[0] = 0;
	return ush_admission_parse(text, strlen(text), &config, &message) == 0;
}

#define KEY "000102030405060708090a0b0c0d0e0f"

static void test_admission_file_sets_what_it_says(void)
{
	CHECK(takes("# nothing\n\n  token 5 " KEY " # one\ntoken 6 " KEY "\r\n"
		    "gateway 63 65535 " KEY "\nchecks mac source\nmac_window_ms 7\n"
		    "policy 3 source=600/10 hold=none user=5/5 work=18 salt=5A17\n"
		    "event 65535 3\nrefusals none"));
	CHECK_EQ(ush_admission_key_count(&config), 3);
	CHECK_EQ(config.token[1].id, 6);
	CHECK_EQ(config.token[0].key.k0, 0x0706050403020100);
	CHECK_EQ(config.gateway[63][0].id, 65535);
	CHECK_EQ(config.checks, USH_ADMISSION_CHECK_MAC | USH_ADMISSION_CHECK_SOURCE);
	CHECK_EQ(config.mac_window_ns, 7000000);
	CHECK_EQ(config.policy[3].source.interval_ns, 100000000);
	CHECK_EQ(config.policy[3].source.tolerance_ns, 900000000);
	CHECK_EQ(config.policy[3].hold.interval_ns, 0);
	CHECK_EQ(config.policy[3].user.interval_ns, 12000000000);
	CHECK_EQ(config.policy[3].work_bits, 18);
	CHECK_EQ(config.policy[3].work_salt, 0x5a17);
	CHECK_EQ(config.event[65535], 3);
	CHECK_EQ(config.refusal.interval_ns, 0);
	CHECK_EQ(config.event[1], 0);
}

static void test_admission_file_refuses_by_line(void)
{
	static const char *const wrong[] = {"tokens 5 " KEY, "token 5", "token 256 " KEY,
		"token -1 " KEY, "token 5 " KEY "00", "token 5 zz0102030405060708090a0b0c0d0e0f",
		"gateway 64 1 " KEY, "gateway 1 65536 " KEY, "policy 16 work=1", "policy 1 work=41",
		"policy 1 source=0/1", "policy 1 source=1/0", "policy 1 source=1",
		"policy 1 speed=1", "policy 1 user", "event 0 1", "event 65536 1", "event 1 16",
		"checks mac open", "mac_window_ms 3600001", "work_window_ms x", "refusals 1",
		"token 5 " KEY " 1"};

	for (uint32_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		char text[200];
		snprintf(text, sizeof(text), "event 1 1\n%s\nevent 2 1\n", wrong[i]);
		CHECK(!takes(text));
		CHECK(strncmp(message.text, "line 2: ", 8) == 0);
	}
	CHECK(!takes("token 1 " KEY "\ntoken 2 " KEY "\ntoken 3 " KEY));
	CHECK(!takes("token 1 " KEY "\ntoken 1 " KEY));
}

static void test_admission_file_is_a_secret(void)
{
	const char *path = "test_admission_file.secret";
	FILE *file = fopen(path, "w");

	if (file == NULL)
		abort();
	fputs("token 5 " KEY "\n", file);
	fclose(file);
	chmod(path, 0644);
	CHECK_EQ(ush_admission_read(path, &config, &message), -USH_EACCES);
	chmod(path, 0620);
	CHECK_EQ(ush_admission_read(path, &config, &message), -USH_EACCES);
	chmod(path, 0600);
	CHECK_EQ(ush_admission_read(path, &config, &message), 0);
	unlink(path);
	CHECK(ush_admission_read(path, &config, &message) == -USH_ENOENT);
	CHECK(ush_admission_read(".", &config, &message) != 0);
}

int main(void)
{
	TAP_RUN(test_admission_file_sets_what_it_says);
	TAP_RUN(test_admission_file_refuses_by_line);
	TAP_RUN(test_admission_file_is_a_secret);
	return tap_end();
}
