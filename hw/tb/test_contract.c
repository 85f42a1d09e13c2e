/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The filter against docs/admission.md, comparison by comparison: each case is a sentence of the
 * page with its number on both sides. Written from the text; the golden function is not asked.
 *
 * Owns:  one filter a test.
 * Reads: nothing.
 * Never: dataplane/admit, but for the layout of a configuration.
 */
#include "hw/tb/rig.h"

/* Section 1: SipHash-2-4, the vector of its authors. */
static void test_hw_siphash_is_its_authors(void)
{
	uint8_t data[15];

	for (uint32_t i = 0; i < 15; i++)
		data[i] = (uint8_t)i;
	CHECK_EQ(build_siphash(key_a, data, 15), 0xa129ca6149be45e5);
}

/* Section 4, 1 and 2. */
static void test_hw_frame_ipv4(void)
{
	begin(NO_CHECKS);
	build_4(&b, STATUS, 0, 0, 0);
	CHECK_EQ(judge(), USH_VERDICT_PASS);
	b.length = 13;
	CHECK_EQ(judge(), USH_VERDICT_HEADER);
	b.length = 33;
	CHECK_EQ(judge(), USH_VERDICT_HEADER);
	for (uint32_t first = 0x44; first <= 0x46; first++) {
		build_4(&b, STATUS, 0, 0, 0);
		b.frame[14] = (uint8_t)first;
		build_checksum(&b);
		CHECK_EQ(judge(), first == 0x45 ? USH_VERDICT_PASS : USH_VERDICT_HEADER);
	}
	/* L is below 20; at 20 there is no room for UDP, and that is HEADER, too. */
	for (uint32_t total = 19; total <= 20; total++) {
		build_4(&b, STATUS, 0, 0, 0);
		build_be16(&b, 16, total);
		build_checksum(&b);
		CHECK_EQ(judge(), USH_VERDICT_HEADER);
		b.frame[23] = 6;
		build_checksum(&b);
		CHECK_EQ(judge(), total == 20 ? USH_VERDICT_HOST : USH_VERDICT_HEADER);
	}
	/* L above length - 14; at it, and below: padding. */
	build_4(&b, STATUS, 0, 0, 0);
	b.length -= 1;
	CHECK_EQ(judge(), USH_VERDICT_HEADER);
	b.length += 7;
	CHECK_EQ(judge(), USH_VERDICT_PASS);
	end();
}

static void test_hw_frame_ipv4_checksum_fragments_protocol(void)
{
	begin(NO_CHECKS);
	for (uint32_t byte = 14; byte < 34; byte++) {
		build_4(&b, STATUS, 0, 0, 0);
		b.frame[byte] ^= 1;
		CHECK_EQ(judge(), USH_VERDICT_HEADER);
	}
	/* The sum is what counts, not how it is written: 0xffff in place of 0. */
	build_4(&b, STATUS, 0, 0, 0);
	build_be16(&b, 18, 0);
	build_checksum(&b);
	build_be16(&b, 18, (uint32_t)(b.frame[24] << 8 | b.frame[25]));
	build_checksum(&b);
	CHECK_EQ(b.frame[24] << 8 | b.frame[25], 0);
	CHECK_EQ(judge(), USH_VERDICT_PASS);
	build_be16(&b, 24, 0xffff);
	CHECK_EQ(judge(), USH_VERDICT_PASS);
	for (uint32_t bit = 0; bit < 16; bit++) {
		build_4(&b, STATUS, 0, 0, 0);
		build_be16(&b, 20, 1u << bit);
		build_checksum(&b);
		CHECK_EQ(judge(), bit < 14 ? USH_VERDICT_HEADER : USH_VERDICT_PASS);
	}
	for (uint32_t protocol = 16; protocol <= 18; protocol++) {
		build_4(&b, STATUS, 0, 0, 0);
		b.frame[23] = (uint8_t)protocol;
		build_checksum(&b);
		CHECK_EQ(judge(), protocol == 17 ? USH_VERDICT_PASS : USH_VERDICT_HOST);
	}
	end();
}

/* Section 4, 3 and 4. */
static void test_hw_frame_ipv6_and_others(void)
{
	static const uint16_t others[] = {0x0806, 0x8100, 0x88cc, 0x0801, 0x86dc, 0x05dc};

	begin(NO_CHECKS);
	build_6(&b, STATUS, 0, 0, 0);
	CHECK_EQ(judge(), USH_VERDICT_PASS);
	b.length = 53;
	CHECK_EQ(judge(), USH_VERDICT_HEADER);
	b.length = 54;
	build_be16(&b, 18, 0);
	b.frame[20] = 58;
	CHECK_EQ(judge(), USH_VERDICT_HOST);
	b.frame[20] = 17;
	CHECK_EQ(judge(), USH_VERDICT_HEADER);
	for (uint32_t version = 5; version <= 7; version++) {
		build_6(&b, STATUS, 0, 0, 0);
		b.frame[14] = (uint8_t)(version << 4 | 0xf);
		CHECK_EQ(judge(), version == 6 ? USH_VERDICT_PASS : USH_VERDICT_HEADER);
	}
	build_6(&b, STATUS, 0, 0, 0);
	b.length -= 1;
	CHECK_EQ(judge(), USH_VERDICT_HEADER);
	b.length += 5;
	CHECK_EQ(judge(), USH_VERDICT_PASS);
	for (uint32_t i = 0; i < 6; i++) {
		build_6(&b, STATUS, 0, 0, 0);
		build_be16(&b, 12, others[i]);
		CHECK_EQ(judge(), USH_VERDICT_HOST);
		b.length = 14;
		CHECK_EQ(judge(), USH_VERDICT_HOST);
	}
	end();
}

/* Section 4, 5. */
static void test_hw_frame_udp(void)
{
	begin(NO_CHECKS);
	for (uint32_t six = 0; six < 2; six++) {
		for (int32_t off = -1; off <= 1; off++) {
			six ? build_6(&b, STATUS, 0, 0, 0) : build_4(&b, STATUS, 0, 0, 0);
			build_be16(&b, b.udp + 4, (uint32_t)(72 + off));
			CHECK_EQ(judge(), off == 0 ? USH_VERDICT_PASS : USH_VERDICT_HEADER);
			build_be16(&b, b.udp + 4, 72);
			build_be16(&b, b.udp + 2, (uint32_t)(7447 + off));
			CHECK_EQ(judge(), off == 0 ? USH_VERDICT_PASS : USH_VERDICT_HOST);
		}
		/* B is 7: HEADER; 8: a payload of nothing. */
		for (uint32_t bytes = 7; bytes <= 8; bytes++) {
			six ? build_6(&b, STATUS, 0, 0, 0) : build_4(&b, STATUS, 0, 0, 0);
			build_be16(&b, six ? 18 : 16, six ? bytes : 20 + bytes);
			build_be16(&b, b.udp + 4, bytes);
			build_checksum(&b);
			CHECK_EQ(judge(),
				bytes == 7 ? USH_VERDICT_HEADER : USH_VERDICT_PAYLOAD_SHORT);
		}
	}
	config.udp_port = 9;
	again(0);
	build_4(&b, STATUS, 0, 0, 0);
	CHECK_EQ(judge(), USH_VERDICT_HOST);
	build_be16(&b, b.udp + 2, 9);
	CHECK_EQ(judge(), USH_VERDICT_PASS);
	end();
}

/* Section 5. */
static void test_hw_envelope(void)
{
	begin(NO_CHECKS);
	for (uint32_t six = 0; six < 2; six++) {
		static const uint16_t sizes[] = {0, 1, 63, 64, 65, 1407, 1408, 1409};
		for (uint32_t i = 0; i < 8; i++) {
			six ? build_6(&b, STATUS, 0, 0, 0) : build_4(&b, STATUS, 0, 0, 0);
			build_resize(&b, sizes[i]);
			CHECK_EQ(judge(), sizes[i] < 64     ? USH_VERDICT_PAYLOAD_SHORT
					  : sizes[i] > 1408 ? USH_VERDICT_PAYLOAD_LONG
							    : USH_VERDICT_PASS);
		}
		for (uint32_t bit = 0; bit < 16; bit++) {
			six ? build_6(&b, STATUS, 0, 0, 0) : build_4(&b, STATUS, 0, 0, 0);
			build_put(&b, 0, (0x5155u ^ 1u << bit), 2);
			CHECK_EQ(judge(), USH_VERDICT_MAGIC);
			build_put(&b, 0, 0x5155, 2);
			build_put(&b, 4, 64u ^ 1u << bit, 2);
			CHECK_EQ(judge(), USH_VERDICT_SIZE);
		}
		build_put(&b, 4, 64, 2);
		for (uint32_t version = 0; version < 3; version++) {
			build_put(&b, 2, version, 1);
			CHECK_EQ(judge(), version == 1 ? USH_VERDICT_PASS : USH_VERDICT_VERSION);
		}
	}
	/* The order: a magic that is wrong goes before a version, that before a length, that before
	 * a size, that before an operation. */
	build_resize(&b, 1409);
	build_put(&b, 3, 0, 1);
	build_put(&b, 4, 0, 2);
	build_put(&b, 2, 9, 1);
	CHECK_EQ(judge(), USH_VERDICT_VERSION);
	build_put(&b, 2, 1, 1);
	CHECK_EQ(judge(), USH_VERDICT_PAYLOAD_LONG);
	build_resize(&b, 1408);
	build_put(&b, 4, 0, 2);
	CHECK_EQ(judge(), USH_VERDICT_SIZE);
	end();
}

/* Section 3: each of 256 operations. */
static void test_hw_classes(void)
{
	static const uint8_t known[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13};

	begin(USH_ADMISSION_CHECK_EVENT | USH_ADMISSION_CHECK_OPEN);
	for (uint32_t op = 0; op < 256; op++) {
		bool is_known = memchr(known, (int)op, sizeof(known)) != NULL;
		bool is_new_hold = op == 2 || op == 7 || op == 8;
		build_4(&b, (uint8_t)op, 2, 1, 1);
		CHECK_EQ(judge(), op >= 64 && op <= 127 ? USH_VERDICT_PRIVILEGED
				  : !is_known           ? USH_VERDICT_OP
				  : is_new_hold         ? USH_VERDICT_EVENT_CLOSED
							: USH_VERDICT_PASS);
	}
	end();
}

/* Section 7.2. */
static void test_hw_events(void)
{
	begin(14);
	for (uint32_t op = 1; op <= 13; op++) {
		bool is_new_hold = op == 2 || op == 7 || op == 8;
		uint32_t closed = is_new_hold ? USH_VERDICT_EVENT_CLOSED : USH_VERDICT_PASS;
		uint32_t sold_out = is_new_hold ? USH_VERDICT_EVENT_SOLD_OUT : USH_VERDICT_PASS;
		build_6(&b, (uint8_t)op, 1, 1, 1);
		CHECK_EQ(judge(), USH_VERDICT_PASS);
		build_put(&b, 8, 2, 4);
		CHECK_EQ(judge(), closed);
		build_put(&b, 8, 3, 4);
		CHECK_EQ(judge(), sold_out);
		build_put(&b, 8, 6, 4);
		CHECK_EQ(judge(), USH_VERDICT_EVENT_UNKNOWN);
		build_put(&b, 8, 0, 4);
		CHECK_EQ(judge(), op == STATUS ? USH_VERDICT_PASS : USH_VERDICT_EVENT_UNKNOWN);
		build_put(&b, 8, 65535, 4);
		CHECK_EQ(judge(), USH_VERDICT_PASS);
		/* Above 65,535 the byte is 0, whatever stands at the low bits. */
		build_put(&b, 8, 65537, 4);
		CHECK_EQ(judge(), USH_VERDICT_EVENT_UNKNOWN);
		build_put(&b, 8, 0x80000001, 4);
		CHECK_EQ(judge(), USH_VERDICT_EVENT_UNKNOWN);
	}
	config.checks = USH_ADMISSION_CHECK_SOLD_OUT;
	again(0);
	build_4(&b, RESERVE, 2, 1, 1);
	CHECK_EQ(judge(), USH_VERDICT_PASS);
	build_put(&b, 8, 3, 4);
	CHECK_EQ(judge(), USH_VERDICT_EVENT_SOLD_OUT);
	end();
}

/* Section 7.3, each line of it and both sides of its times. */
static void test_hw_tokens(void)
{
	begin(USH_ADMISSION_CHECK_TOKEN);
	for (uint32_t six = 0; six < 2; six++) {
		for (uint32_t byte = 4; byte < 32; byte++) {
			static const uint8_t expected[32] = {[4] = 22,
				[5] = 18,
				[6 ... 7] = 19,
				[8 ... 15] = 20,
				[16 ... 31] = 22};
			six ? build_6(&b, RESERVE, 1, 77, 1) : build_4(&b, RESERVE, 1, 77, 1);
			CHECK_EQ(judge(), USH_VERDICT_TOKEN_MISSING);
			build_token(&b, key_a, 5, NOW + 1);
			/* A time that is later, whichever bit 0 rises. */
			build_put(&b, 64 + 16, 0x7e7e7e7e7e7e7e7e, 8);
			build_put(
				&b, 64 + 24, build_siphash(key_a, b.frame + b.payload + 64, 24), 8);
			CHECK_EQ(judge(), USH_VERDICT_PASS);
			build_put(&b, 64 + byte, build_get(&b, 64 + byte, 1) ^ 1, 1);
			CHECK_EQ(judge(), expected[byte]);
		}
	}
	for (int64_t off = -1; off <= 1; off++) {
		build_4(&b, RESERVE, 1, 77, 1);
		build_token(&b, key_a, 5, NOW + (uint64_t)off);
		CHECK_EQ(judge(), off <= 0 ? USH_VERDICT_TOKEN_EXPIRED : USH_VERDICT_PASS);
	}
	/* Not where it should stand, of another size, with a byte that is reserved: none. */
	build_4(&b, RESERVE, 1, 77, 1);
	build_work(&b, 1, NOW, 1);
	build_token(&b, key_a, 5, NOW + 1);
	CHECK_EQ(judge(), USH_VERDICT_TOKEN_MISSING);
	for (uint32_t byte = 0; byte < 4; byte++) {
		build_4(&b, RESERVE, 1, 77, 1);
		build_token(&b, key_a, 5, NOW + 1);
		build_put(&b, 64 + byte, build_get(&b, 64 + byte, 1) ^ 8, 1);
		CHECK_EQ(judge(), USH_VERDICT_TOKEN_MISSING);
	}
	/* o + B <= size. */
	build_4(&b, RESERVE, 1, 77, 1);
	build_token(&b, key_a, 5, NOW + 1);
	build_resize(&b, 95);
	CHECK_EQ(judge(), USH_VERDICT_TOKEN_MISSING);
	/* Other classes need none. */
	for (uint32_t op = 1; op <= 13; op++) {
		build_4(&b, (uint8_t)op, 1, 77, 1);
		CHECK_EQ(judge(), op == 2 || op == 7 || op == 8 ? USH_VERDICT_TOKEN_MISSING
								: USH_VERDICT_PASS);
	}
	end();
}

static void test_hw_token_keys(void)
{
	begin(USH_ADMISSION_CHECK_TOKEN);
	config.token[1] = (struct ush_admit_key){{key_b[0], key_b[1]}, 6, 1};
	again(0);
	build_4(&b, RESERVE, 1, 77, 1);
	build_token(&b, key_b, 6, NOW + 1);
	CHECK_EQ(judge(), USH_VERDICT_PASS);
	build_4(&b, RESERVE, 1, 77, 1);
	build_token(&b, key_b, 5, NOW + 1);
	CHECK_EQ(judge(), USH_VERDICT_TOKEN_FORGED);
	/* Of two keys with the same id slot 0 counts. */
	config.token[1].id = 5;
	again(0);
	CHECK_EQ(judge(), USH_VERDICT_TOKEN_FORGED);
	config.token[0].live = 0;
	again(0);
	CHECK_EQ(judge(), USH_VERDICT_PASS);
	config.token[1].live = 0;
	again(0);
	CHECK_EQ(judge(), USH_VERDICT_TOKEN_KEY);
	end();
}

/* Sections 7.4 and 8: at most `burst` at once, then one each interval, to the nanosecond. */
static void test_hw_source_rate(void)
{
	begin(USH_ADMISSION_CHECK_SOURCE);
	config.policy[0].source = (struct ush_admit_limit){1000, 2000};
	config.policy[0].hold = (struct ush_admit_limit){5000, 0};
	again(0);
	for (uint32_t i = 0; i < 5; i++) {
		build_4(&b, STATUS, 0, 0, 0);
		CHECK_EQ(judge(), i < 3 ? USH_VERDICT_PASS : USH_VERDICT_SOURCE_RATE);
	}
	/* HOLD has a bucket of its own. */
	build_4(&b, RELEASE, 1, 1, 1);
	CHECK_EQ(judge(), USH_VERDICT_PASS);
	CHECK_EQ(judge(), USH_VERDICT_SOURCE_RATE);
	/* Another address, too; and what is no request is not charged. */
	b.frame[29] = 2;
	build_checksum(&b);
	CHECK_EQ(judge(), USH_VERDICT_PASS);
	ush_filter_set_time(filter, NOW + 999);
	build_4(&b, STATUS, 0, 0, 0);
	CHECK_EQ(judge(), USH_VERDICT_SOURCE_RATE);
	build_put(&b, 2, 2, 1);
	CHECK_EQ(judge(), USH_VERDICT_VERSION);
	build_put(&b, 2, 1, 1);
	ush_filter_set_time(filter, NOW + 1000);
	CHECK_EQ(judge(), USH_VERDICT_PASS);
	CHECK_EQ(judge(), USH_VERDICT_SOURCE_RATE);
	ush_filter_set_time(filter, NOW + 4999);
	build_4(&b, RELEASE, 1, 1, 1);
	CHECK_EQ(judge(), USH_VERDICT_SOURCE_RATE);
	ush_filter_set_time(filter, NOW + 5000);
	CHECK_EQ(judge(), USH_VERDICT_PASS);
	/* An interval of 0: no limit. */
	config.policy[0].hold = (struct ush_admit_limit){0, 0};
	again(0);
	for (uint32_t i = 0; i < 5; i++)
		CHECK_EQ(judge(), USH_VERDICT_PASS);
	end();
}

/* Section 8.1: IPv6 counts by /64; an IPv4 address is the same in an IPv6 frame. */
static void test_hw_source_addresses(void)
{
	begin(USH_ADMISSION_CHECK_SOURCE);
	config.policy[0].source = (struct ush_admit_limit){1000000, 0};
	again(0);
	build_6(&b, STATUS, 0, 0, 0);
	CHECK_EQ(judge(), USH_VERDICT_PASS);
	b.frame[37] = 99;
	b.frame[30] = 1;
	CHECK_EQ(judge(), USH_VERDICT_SOURCE_RATE);
	b.frame[29] ^= 1;
	CHECK_EQ(judge(), USH_VERDICT_PASS);
	build_4(&b, STATUS, 0, 0, 0);
	CHECK_EQ(judge(), USH_VERDICT_PASS);
	build_6(&b, STATUS, 0, 0, 0);
	memset(b.frame + 22, 0, 16);
	b.frame[32] = b.frame[33] = 0xff;
	b.frame[34] = 192;
	b.frame[36] = 2;
	b.frame[37] = 1;
	CHECK_EQ(judge(), USH_VERDICT_SOURCE_RATE);
	b.frame[37] = 7;
	CHECK_EQ(judge(), USH_VERDICT_PASS);
	end();
}

/* Section 7.5. */
static void test_hw_work(void)
{
	begin(USH_ADMISSION_CHECK_WORK);
	config.policy[5].work_salt = 0x5a17;
	config.policy[5].work_bits = 6;
	again(0);
	build_4(&b, RESERVE, 1, 9, 1);
	CHECK_EQ(judge(), USH_VERDICT_PASS);
	build_put(&b, 8, 4, 4);
	CHECK_EQ(judge(), USH_VERDICT_WORK_MISSING);
	for (uint32_t op = 1; op <= 13; op++) {
		bool needs = op == 2 || op == 7 || op == 8 || op == 10 || op == 11 || op == 13;
		build_6(&b, (uint8_t)op, 4, 9, 1);
		CHECK_EQ(judge(), needs ? USH_VERDICT_WORK_MISSING : USH_VERDICT_PASS);
		build_solved(&b, 0x5a17, 6, NOW, true);
		CHECK_EQ(judge(), USH_VERDICT_PASS);
	}
	build_4(&b, JOIN, 4, 9, 1);
	build_solved(&b, 0x5a17, 6, NOW, false);
	CHECK_EQ(judge(), USH_VERDICT_WORK_WRONG);
	/* Difficulty < demanded. */
	build_4(&b, JOIN, 4, 9, 1);
	build_solved(&b, 0x5a17, 8, NOW, true);
	CHECK_EQ(judge(), USH_VERDICT_PASS);
	build_put(&b, 68, 6, 4);
	CHECK_EQ(judge(), USH_VERDICT_PASS);
	build_put(&b, 68, 5, 4);
	CHECK_EQ(judge(), USH_VERDICT_WORK_LOW);
	/* |now - time| > window, on both sides. */
	for (int64_t off = 1000; off <= 1001; off++) {
		uint32_t expected = off <= 1000 ? USH_VERDICT_PASS : USH_VERDICT_WORK_TIME;
		build_4(&b, JOIN, 4, 9, 1);
		build_solved(&b, 0x5a17, 6, NOW + (uint64_t)off, true);
		CHECK_EQ(judge(), expected);
		build_4(&b, JOIN, 4, 9, 1);
		build_solved(&b, 0x5a17, 6, NOW - (uint64_t)off, true);
		CHECK_EQ(judge(), expected);
	}
	end();
}

/* Section 7.5: work_bits + load_bits, at most 40; behind a token, too. */
static void test_hw_work_load(void)
{
	begin(USH_ADMISSION_CHECK_WORK | USH_ADMISSION_CHECK_TOKEN);
	config.policy[5].work_salt = 1;
	config.policy[5].work_bits = 6;
	again(2);
	for (uint32_t bits = 7; bits <= 8; bits++) {
		build_4(&b, RESERVE, 4, 9, 1);
		build_token(&b, key_a, 5, NOW + 1);
		build_solved(&b, 1, bits, NOW, true);
		CHECK_EQ(judge(), bits < 8 ? USH_VERDICT_WORK_LOW : USH_VERDICT_PASS);
	}
	/* With none in the policy the load demands none. */
	config.policy[5].work_bits = 0;
	again(2);
	build_4(&b, JOIN, 4, 9, 1);
	CHECK_EQ(judge(), USH_VERDICT_PASS);
	config.policy[5].work_bits = 39;
	for (uint32_t load = 0; load <= 3; load++) {
		uint32_t demanded = load == 0 ? 39 : 40;
		again(load);
		build_4(&b, JOIN, 4, 9, 1);
		build_work(&b, demanded, NOW, 0);
		CHECK_EQ(judge(), USH_VERDICT_WORK_WRONG);
		build_put(&b, 68, demanded - 1, 4);
		CHECK_EQ(judge(), USH_VERDICT_WORK_LOW);
	}
	end();
}

/* Section 7.6. */
static void test_hw_user_rate(void)
{
	bool mark;

	begin(USH_ADMISSION_CHECK_USER | USH_ADMISSION_CHECK_SOURCE);
	config.policy[0].user = (struct ush_admit_limit){1000, 1000};
	again(0);
	build_4(&b, RESERVE, 1, 9, 1);
	CHECK_EQ(judge_marked(&mark), USH_VERDICT_PASS);
	CHECK(!mark);
	/* The same request again is not charged, and marked. */
	for (uint32_t i = 0; i < 4; i++) {
		CHECK_EQ(judge_marked(&mark), USH_VERDICT_PASS);
		CHECK(mark);
	}
	build_put(&b, 12, 2, 4);
	CHECK_EQ(judge_marked(&mark), USH_VERDICT_PASS);
	CHECK(!mark);
	build_put(&b, 12, 3, 4);
	CHECK_EQ(judge(), USH_VERDICT_USER_RATE);
	/* Id 0 is that of no request. */
	build_4(&b, RESERVE, 1, 10, 0);
	for (uint32_t i = 0; i < 3; i++)
		CHECK_EQ(judge_marked(&mark), i < 2 ? USH_VERDICT_PASS : USH_VERDICT_USER_RATE);
	/* By user and event; only for new holds. */
	build_4(&b, RESERVE, 4, 9, 3);
	CHECK_EQ(judge(), USH_VERDICT_PASS);
	build_4(&b, JOIN, 1, 9, 3);
	CHECK_EQ(judge(), USH_VERDICT_PASS);
	ush_filter_set_time(filter, NOW + 999);
	build_4(&b, RESERVE, 1, 9, 3);
	CHECK_EQ(judge(), USH_VERDICT_USER_RATE);
	ush_filter_set_time(filter, NOW + 1000);
	CHECK_EQ(judge(), USH_VERDICT_PASS);
	end();
}

/* Section 7: the first that fails, and only who came this far is charged. */
static void test_hw_order(void)
{
	begin(0xfe);
	config.policy[0].source = (struct ush_admit_limit){1000, 0};
	config.policy[0].user = (struct ush_admit_limit){1000000, 0};
	config.policy[0].work_bits = 1;
	again(0);
	build_4(&b, RESERVE, 6, 9, 1);
	CHECK_EQ(judge(), USH_VERDICT_EVENT_UNKNOWN);
	build_put(&b, 8, 2, 4);
	CHECK_EQ(judge(), USH_VERDICT_EVENT_CLOSED);
	build_put(&b, 8, 3, 4);
	CHECK_EQ(judge(), USH_VERDICT_EVENT_SOLD_OUT);
	build_put(&b, 8, 1, 4);
	CHECK_EQ(judge(), USH_VERDICT_TOKEN_MISSING);
	build_token(&b, key_b, 5, NOW + 1);
	CHECK_EQ(judge(), USH_VERDICT_TOKEN_FORGED);
	build_4(&b, RESERVE, 1, 9, 1);
	build_token(&b, key_a, 5, NOW + 1);
	/* None of these was charged; this one is, and its lack of work is found after that. */
	CHECK_EQ(judge(), USH_VERDICT_WORK_MISSING);
	CHECK_EQ(judge(), USH_VERDICT_SOURCE_RATE);
	ush_filter_set_time(filter, NOW + 1000);
	build_4(&b, RESERVE, 1, 9, 1);
	build_token(&b, key_a, 5, NOW + 2000);
	build_solved(&b, 0, 1, NOW, true);
	CHECK_EQ(judge(), USH_VERDICT_PASS);
	CHECK_EQ(judge(), USH_VERDICT_SOURCE_RATE);
	/* The user comes last: the next one has all but room. */
	ush_filter_set_time(filter, NOW + 2000);
	build_4(&b, RESERVE, 1, 9, 2);
	build_token(&b, key_a, 5, NOW + 3000);
	build_solved(&b, 0, 1, NOW + 1500, false);
	CHECK_EQ(judge(), USH_VERDICT_WORK_WRONG);
	ush_filter_set_time(filter, NOW + 3000);
	build_4(&b, RESERVE, 1, 9, 2);
	build_token(&b, key_a, 5, NOW + 4000);
	build_solved(&b, 0, 1, NOW + 2500, true);
	CHECK_EQ(judge(), USH_VERDICT_USER_RATE);
	end();
}

int main(void)
{
	TAP_RUN(test_hw_siphash_is_its_authors);
	TAP_RUN(test_hw_frame_ipv4);
	TAP_RUN(test_hw_frame_ipv4_checksum_fragments_protocol);
	TAP_RUN(test_hw_frame_ipv6_and_others);
	TAP_RUN(test_hw_frame_udp);
	TAP_RUN(test_hw_envelope);
	TAP_RUN(test_hw_classes);
	TAP_RUN(test_hw_events);
	TAP_RUN(test_hw_tokens);
	TAP_RUN(test_hw_token_keys);
	TAP_RUN(test_hw_source_rate);
	TAP_RUN(test_hw_source_addresses);
	TAP_RUN(test_hw_work);
	TAP_RUN(test_hw_work_load);
	TAP_RUN(test_hw_user_rate);
	TAP_RUN(test_hw_order);
	return tap_end();
}
