/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Users of one device: counts, events apart, and what a flood of new devices does not do.
 *
 * Owns:  one table.
 * Reads: USH_SEED.
 * Never: the room.
 */
#include <stdlib.h>
#include <string.h>

#include "../tap.h"
#include "admit/device.h"

static struct ush_devices devices;
static void *memory;

static void start(uint32_t count)
{
	struct ush_key key = {tap_seed(7), 8};

	free(memory);
	memory = aligned_alloc(64, ush_devices_bytes(count));
	if (memory == NULL)
		abort();
	memset(memory, 0, ush_devices_bytes(count));
	ush_devices_init(&devices, memory, count, &key);
}

static void test_device_counts_its_users(void)
{
	start(4096);
	for (uint32_t i = 1; i <= 70000; i++)
		CHECK_EQ(ush_devices_join(&devices, 1, 99), i < 65535 ? i : 65535);
	CHECK_EQ(ush_devices_count(&devices, 1, 99), 65535);
	CHECK_EQ(ush_devices_count(&devices, 2, 99), 0);
	CHECK_EQ(ush_devices_join(&devices, 2, 99), 1);
	CHECK_EQ(ush_devices_join(&devices, 2, 98), 1);
	CHECK_EQ(ush_devices_join(&devices, 2, 0), 0);
	CHECK_EQ(ush_devices_count(&devices, 2, 0), 0);
}

/* Goal: of 1,000 devices with 20 users each, a flood of a million with one each pushes out none. */
static void test_device_flood_leaves_the_shared_ones(void)
{
	uint32_t lost = 0, wrong = 0;

	start(65536);
	for (uint32_t user = 0; user < 20; user++) {
		for (uint64_t d = 1; d <= 1000; d++)
			ush_devices_join(&devices, 3, d);
	}
	for (uint64_t d = 0; d < 1000000; d++)
		wrong += ush_devices_join(&devices, 3, 1000000 + d) != 1;
	for (uint64_t d = 1; d <= 1000; d++)
		lost += ush_devices_count(&devices, 3, d) != 20;
	CHECK_EQ(lost, 0);
	CHECK_EQ(wrong, 0);
}

static void test_device_threshold(void)
{
	CHECK(!ush_device_is_slow(65535, 0));
	CHECK(!ush_device_is_slow(4, 4));
	CHECK(ush_device_is_slow(5, 4));
}

int main(void)
{
	TAP_RUN(test_device_counts_its_users);
	TAP_RUN(test_device_flood_leaves_the_shared_ones);
	TAP_RUN(test_device_threshold);
	free(memory);
	return tap_end();
}
