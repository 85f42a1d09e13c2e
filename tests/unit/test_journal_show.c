/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What recovery shows ahead of replay: each record that is applied was shown far and then near,
 * once each; nothing else is shown but pads, and nothing of a block that is not good.
 */
#include "tests/journal_rig.h"
#include "tests/tap.h"

#define SLOTS_MAX (1u << 17)

static struct rig rig;
/* By sequence: times shown far, near; applied. */
static uint8_t far[SLOTS_MAX], near[SLOTS_MAX], applied[SLOTS_MAX];
static uint64_t wrong, pads;

static void show(void *context, const struct ush_record *records, uint32_t count,
	enum ush_journal_distance distance)
{
	(void)context;
	for (uint32_t i = 0; i < count; i++) {
		const struct ush_record *r = &records[i];

		USH_ASSERT(r->sequence < SLOTS_MAX);
		wrong += ush_log_is_header(r->sequence);
		wrong += applied[r->sequence] != 0;
		wrong += distance == USH_JOURNAL_NEAR && far[r->sequence] != 1;
		(distance == USH_JOURNAL_NEAR ? near : far)[r->sequence]++;
		pads += r->type == USH_RECORD_TYPE_PAD;
	}
}

static int apply(void *context, const struct ush_record *records, uint32_t count,
	struct ush_message *message)
{
	(void)context, (void)message;
	for (uint32_t i = 0; i < count; i++) {
		uint64_t at = records[i].sequence;

		wrong += far[at] != 1 || near[at] != 1 || applied[at] != 0;
		applied[at] = 1;
	}
	return 0;
}

/* Replays the rig's journal. out: wrong. ret: records shown that were neither applied nor pads. */
static uint64_t replay(void)
{
	uint64_t over = 0;

	memset(far, 0, sizeof(far));
	memset(near, 0, sizeof(near));
	memset(applied, 0, sizeof(applied));
	wrong = pads = 0;
	CHECK_EQ(rig_open(&rig), 0);
	ush_journal_show(rig.journal, show, NULL);
	CHECK_EQ(ush_journal_recover(rig.journal, apply, NULL, &rig.report, &rig.message), 0);
	for (uint32_t i = 0; i < SLOTS_MAX; i++)
		over += applied[i] == 0 && far[i] + near[i] != 0;
	rig_down(&rig);
	return over * 2 - pads;
}

static void life(uint32_t blocks)
{
	CHECK_EQ(rig_up(&rig), 0);
	CHECK(rig_blocks(&rig, blocks));
	rig_down(&rig);
}

/* Goal: all is shown, in time. Method: three epochs over several segments; blocks full, and with
 * pads; with a reading thread and without. */
static void test_show_everything_before_it_is_applied(void)
{
	for (uint32_t threaded = 0; threaded < 2; threaded++) {
		rig_read_ahead = threaded != 0;
		rig_make(&rig, 5);
		life(300);
		CHECK_EQ(rig_up(&rig), 0);
		for (uint32_t i = 0; i < 40; i++) {
			rig_tick(&rig, 1 + i * 7 % 150);
			rig_settle(&rig, 1000);
		}
		rig_down(&rig);
		life(700);
		CHECK_EQ(replay(), 0);
		CHECK_EQ(wrong, 0);
		CHECK(pads > 60000);
		CHECK(rig.report.records > 3000);
		rig_free(&rig);
	}
}

/* Goal: what a torn tail says is not looked at. Method: power cuts while blocks are written. */
static void test_show_nothing_of_a_torn_tail(void)
{
	uint64_t torn = 0;

	rig_read_ahead = false;
	for (uint64_t seed = 1; seed < 30; seed++) {
		rig_make(&rig, seed);
		CHECK_EQ(rig_up(&rig), 0);
		CHECK(rig_blocks(&rig, 5));
		fake_disk_order(rig.fake, FAKE_BY_HAND);
		rig_tick(&rig, 2000);
		rig_step(&rig);
		rig_down(&rig);
		fake_disk_order(rig.fake, FAKE_IN_ORDER);
		CHECK_EQ(replay(), 0);
		CHECK_EQ(wrong, 0);
		torn += rig.report.torn_blocks;
		rig_free(&rig);
	}
	CHECK(torn > 0);
}

int main(void)
{
	TAP_RUN(test_show_everything_before_it_is_applied);
	TAP_RUN(test_show_nothing_of_a_torn_tail);
	return tap_end();
}
