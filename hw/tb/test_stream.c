/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Registers and streams of the filter: what docs/hardware.md says of them.
 *
 * Owns:  one filter a test.
 * Reads: nothing.
 * Never: the golden function.
 */
#include "hw/tb/rig.h"

/* Section 10, and registers: bypass, the clock, what cannot be made, half words. */
static void test_hw_registers(void)
{
	uint64_t before;

	begin(0xff);
	CHECK_EQ(ush_filter_read(filter, REG(ID)), USH_FILTER_ID);
	CHECK_EQ(ush_filter_read(filter, REG(INTERFACE)), USH_FILTER_INTERFACE);
	CHECK_EQ(ush_filter_read(filter, REG(CAPABILITIES)) & 0xff, 0xfe);
	CHECK_EQ(ush_filter_read(filter, REG(CHECKS)), 0xfe);
	CHECK_EQ(ush_filter_read(filter, USH_FILTER_EVENTS + 4 * 3), 16 | 32 | 64);
	CHECK_EQ(ush_filter_read(filter, USH_FILTER_EVENTS + 4 * 65535), 48);
	CHECK_EQ(ush_filter_read(filter, REG(TOKEN_0)), 5 | 256);
	/* Keys are not told. */
	for (uint32_t i = 0; i < 4; i++) {
		CHECK_EQ(ush_filter_read(filter, REG(TOKEN_0) + 16 + 4 * i), 0);
		CHECK_EQ(ush_filter_read(filter, REG(TABLE_KEY) + 4 * i), 0);
	}
	ush_filter_write_bytes(filter, REG(UDP_PORT), 1, 7);
	CHECK_EQ(ush_filter_refused_writes(filter), 1);
	CHECK_EQ(ush_filter_read(filter, REG(UDP_PORT)), 7447);
	/* The clock stands, does not go back, and goes on. */
	CHECK_EQ(ush_filter_count(filter, REG(CLOCK_LOW)), NOW);
	ush_filter_set_time(filter, NOW - 1);
	CHECK_EQ(ush_filter_count(filter, REG(CLOCK_LOW)), NOW);
	ush_filter_write(filter, REG(CLOCK_STEP), 0x04800000);
	before = ush_filter_count(filter, REG(CLOCK_LOW));
	ush_filter_idle(filter, 1000);
	CHECK(ush_filter_count(filter, REG(CLOCK_LOW)) >= before + 4500);
	CHECK(ush_filter_count(filter, REG(CLOCK_LOW)) < before + 4500 + 30 * 5);
	/* Bypass: passes what it would refuse, and counts it so. */
	build_4(&b, 200, 1, 1, 1);
	CHECK_EQ(judge(), USH_VERDICT_OP);
	ush_filter_write(filter, REG(CONTROL), 1);
	CHECK_EQ(judge(), USH_VERDICT_PASS);
	CHECK_EQ(ush_filter_count(filter, REG(BYPASSED)), 1);
	CHECK_EQ(ush_filter_count(filter, REG(VERDICTS) + 8 * USH_VERDICT_OP), 1);
	CHECK_EQ(ush_filter_count(filter, REG(VERDICTS)), 0);
	end();
}

/* What is no frame for the filter is dropped and counted; the next one is not harmed. */
static void test_hw_drops(void)
{
	static uint8_t bytes[4][2048];
	struct ush_filter_frame frames[4];
	uint32_t length[4] = {1536, 1537, 106, 106};

	begin(NO_CHECKS);
	build_4(&b, STATUS, 0, 0, 0);
	for (uint32_t i = 0; i < 4; i++) {
		memcpy(bytes[i], b.frame, b.length);
		frames[i] = (struct ush_filter_frame){
			.data = bytes[i], .length = length[i], .error = i == 2};
	}
	ush_filter_burst(filter, frames, 4, NULL);
	CHECK_EQ(frames[0].judged && frames[0].passed && frames[0].out_length == 1536, 1);
	CHECK_EQ(frames[1].judged, 0);
	CHECK_EQ(frames[2].judged, 0);
	CHECK_EQ(frames[3].judged && frames[3].passed && frames[3].out_length == 106, 1);
	CHECK_EQ(ush_filter_count(filter, REG(DROP_LONG)), 1);
	CHECK_EQ(ush_filter_count(filter, REG(DROP_ERROR)), 1);
	CHECK_EQ(ush_filter_count(filter, REG(DROP_FULL)), 0);
	CHECK_EQ(ush_filter_count(filter, REG(RECEIVED)), 4);
	CHECK_EQ(ush_filter_count(filter, REG(PASSED)), 2);
	end();
}

/* A beat in every clock, frames of one to three beats, and the next stage ready: none is dropped.
 * With a next stage that hardly takes any, what is dropped is counted, and the rest comes out
 * whole. */
static void test_hw_full_rate(void)
{
	static struct ush_filter_frame frames[3000];
	static uint8_t bytes[3][256];
	struct ush_filter_stress slow = {.stall = 240, .seed = 3};
	uint64_t judged = 0, clocks;

	begin(NO_CHECKS);
	build_4(&b, STATUS, 0, 0, 0);
	for (uint32_t i = 0; i < 3; i++)
		memcpy(bytes[i], b.frame, b.length);
	for (uint32_t i = 0; i < 3000; i++)
		frames[i] = (struct ush_filter_frame){.data = bytes[i % 3],
			.length = i % 3 == 0   ? 60
				  : i % 3 == 1 ? 106
					       : 180};
	/* 60 bytes: no room for what the header says. */
	clocks = ush_filter_clocks(filter);
	ush_filter_burst(filter, frames, 3000, NULL);
	clocks = ush_filter_clocks(filter) - clocks;
	CHECK_EQ(ush_filter_count(filter, REG(DROP_FULL)), 0);
	CHECK_EQ(ush_filter_count(filter, REG(PASSED)), 2000);
	CHECK_EQ(ush_filter_count(filter, REG(DISCARDED)), 1000);
	CHECK(clocks < 6000 + 60);
	ush_filter_burst(filter, frames, 3000, &slow);
	for (uint32_t i = 0; i < 3000; i++) {
		judged += frames[i].judged;
		CHECK_EQ(frames[i].out_length, frames[i].passed ? frames[i].length : 0);
	}
	CHECK(judged < 3000);
	CHECK_EQ(ush_filter_count(filter, REG(DROP_FULL)), 3000 - judged);
	CHECK_EQ(ush_filter_count(filter, REG(RECEIVED)), 6000);
	end();
}

/* Section 8 when nothing lies between: of 60 frames of one source, or user, beat to beat, as many
 * pass as there is room for, and the first. */
static void test_hw_buckets_back_to_back(void)
{
	static struct ush_filter_frame frames[60];
	static struct build copies[60];

	for (uint32_t bytes = 64; bytes <= 176; bytes += 56) {
		begin(USH_ADMISSION_CHECK_SOURCE | USH_ADMISSION_CHECK_USER);
		config.policy[0].source = (struct ush_admit_limit){1000, 6000};
		config.policy[5].user = (struct ush_admit_limit){1000, 6000};
		again(0);
		for (uint32_t users = 0; users < 2; users++) {
			for (uint32_t i = 0; i < 60; i++) {
				build_4(&copies[i], users ? RESERVE : STATUS, users ? 4 : 1, 9,
					1 + i);
				build_resize(&copies[i], bytes);
				frames[i] = (struct ush_filter_frame){
					.data = copies[i].frame, .length = copies[i].length};
			}
			ush_filter_burst(filter, frames, 60, NULL);
			for (uint32_t i = 0; i < 60; i++)
				CHECK_EQ(frames[i].verdict, i < 7   ? USH_VERDICT_PASS
							    : users ? USH_VERDICT_USER_RATE
								    : USH_VERDICT_SOURCE_RATE);
		}
		end();
	}
}

/* Clocks from a frame's first beat to its verdict and to its way out, as docs/hardware.md has them.
 */
static void test_hw_latency(void)
{
	static const uint32_t beats[] = {1, 2, 3, 24};
	static uint8_t bytes[1536];

	begin(NO_CHECKS);
	for (uint32_t i = 0; i < 4; i++) {
		struct ush_filter_frame frame = {.data = bytes, .length = beats[i] * 64};
		ush_filter_burst(filter, &frame, 1, NULL);
		printf("# %u beats: verdict %u clocks after the first beat, out after %u\n",
			beats[i], (uint32_t)(frame.verdict_clock - frame.first_clock),
			(uint32_t)(frame.out_clock - frame.first_clock));
		CHECK(frame.verdict_clock - frame.last_clock <= 29);
		CHECK(frame.out_clock - frame.verdict_clock <= 3);
	}
	end();
}

int main(void)
{
	TAP_RUN(test_hw_registers);
	TAP_RUN(test_hw_drops);
	TAP_RUN(test_hw_full_rate);
	TAP_RUN(test_hw_buckets_back_to_back);
	TAP_RUN(test_hw_latency);
	return tap_end();
}
