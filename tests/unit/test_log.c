/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The log buffer: every alignment of singles and runs, the bound that rooms are asked by, the room
 * rule.
 *
 * Owns:  one log.
 * Reads: USH_SEED.
 * Never: DPDK, I/O.
 */
#include <stdlib.h>
#include <string.h>

#include "../tap.h"
#include "log/log.h"

#define BLOCKS 256u
#define RECORDS_MAX 4096u

static struct ush_log log_;
static struct ush_record records[RECORDS_MAX];
static uint64_t sequences[RECORDS_MAX];

static void open_log(void)
{
	static void *ring;

	if (ring == NULL)
		ring = aligned_alloc(4096, BLOCKS * USH_BLOCK_BYTES);
	USH_ASSERT(ring != NULL);
	memset(ring, 0, BLOCKS * USH_BLOCK_BYTES);
	ush_log_init(&log_, ring, BLOCKS);
}

/* Runs of the lengths given, until `count` records; the last is cut to fit. */
static void make_runs(uint32_t count, uint32_t (*length)(void *), void *context)
{
	for (uint32_t i = 0; i < count;) {
		uint32_t run = length(context);
		if (run > count - i)
			run = count - i;
		for (uint32_t k = 0; k < run; k++, i++) {
			records[i] = (struct ush_record){
				.type = run > 1 ? USH_RECORD_TYPE_HOLD : USH_RECORD_TYPE_RELEASE,
				.run_index = (uint8_t)k,
				.run_count = (uint8_t)run,
				.user = i + 1,
			};
		}
	}
}

static uint32_t constant(void *context)
{
	return *(uint32_t *)context;
}

static uint32_t random_length(void *context)
{
	return 1 + (uint32_t)ush_random_below(context, USH_RUN_RECORDS_MAX);
}

/* Puts the next free slot to `slot` of a block by padding. */
static void align(uint32_t slot)
{
	uint64_t at = ush_log_reserved(&log_);

	while ((at & (USH_BLOCK_SLOTS - 1)) != slot) {
		ush_log_reserve(&log_, 1);
		ush_log_publish_pads(&log_, at, at + 1);
		at++;
	}
}

/* After an append from `from`: records stand where said, in order, runs together inside one block,
 * all else is pads, every slot is published. */
static void check_append(uint64_t from, uint32_t count, uint32_t used)
{
	uint64_t end = ush_log_reserved(&log_), previous = 0;
	uint32_t pads = 0, headers = 0, bad = 0;

	CHECK_EQ(end - from, used);
	CHECK(used <= ush_log_slots_worst(count));
	for (uint32_t i = 0; i < count; i++) {
		const struct ush_record *slot = ush_log_slot(&log_, sequences[i]);
		bad += sequences[i] <= previous || sequences[i] < from || sequences[i] >= end;
		bad += ush_log_is_header(sequences[i]);
		bad += slot->sequence != sequences[i];
		bad += slot->user != records[i].user || slot->type != records[i].type;
		if (records[i].run_index > 0)
			bad += sequences[i] != previous + 1;
		bad += records[i].sequence != 0;
		previous = sequences[i];
	}
	for (uint64_t at = from; at < end; at++) {
		headers += ush_log_is_header(at);
		if (ush_log_is_header(at))
			continue;
		bad += !ush_log_is_published(&log_, at);
		if (ush_log_slot(&log_, at)->type == USH_RECORD_TYPE_PAD) {
			pads++;
			bad += ush_log_slot(&log_, at)->run_count != 1;
			bad += ush_log_slot(&log_, at)->run_index != 0;
		}
	}
	CHECK_EQ(bad, 0);
	CHECK_EQ(pads + headers + count, used);
}

static uint32_t append_at(uint32_t slot, uint32_t count)
{
	uint64_t from;
	uint32_t used;

	align(slot);
	atomic_store(&log_.durable, ush_log_reserved(&log_) & ~(uint64_t)(USH_BLOCK_SLOTS - 1));
	from = ush_log_reserved(&log_);
	used = ush_log_append(&log_, records, count, sequences);
	check_append(from, count, used);
	return used;
}

/* Goal: single records fill whatever slot is free. Method: 1 to 200 of them from every slot. */
static void test_log_singles_any_alignment_fill_all_slots(void)
{
	uint32_t one = 1;

	open_log();
	for (uint32_t count = 1; count <= 200; count += 1 + count / 8) {
		make_runs(count, constant, &one);
		for (uint32_t slot = 0; slot < USH_BLOCK_SLOTS; slot++) {
			uint32_t used = append_at(slot, count);
			/* Nothing but headers is lost. */
			CHECK(used <= count + 1 + (count + 1) / 63 + 1);
		}
	}
}

/* Goal: a run never crosses a block. Method: runs of each length, alone, from every slot. */
static void test_log_run_any_alignment_stays_in_block(void)
{
	open_log();
	for (uint32_t run = 2; run <= USH_RUN_RECORDS_MAX; run++) {
		make_runs(run, constant, &run);
		for (uint32_t slot = 0; slot < USH_BLOCK_SLOTS; slot++) {
			append_at(slot, run);
			CHECK_EQ(sequences[0] >> 6, sequences[run - 1] >> 6);
			/* In the first block if it fits there. */
			if (slot != 0 && slot + run <= USH_BLOCK_SLOTS)
				CHECK_EQ(sequences[0] & 63, slot);
		}
	}
}

/* Goal: batches of mixed runs keep their order. Method: random runs, random alignments. */
static void test_log_mixed_runs_keep_order(void)
{
	struct ush_random random;

	ush_random_init(&random, tap_seed(3));
	open_log();
	for (int i = 0; i < 5000; i++) {
		uint32_t count = 1 + (uint32_t)ush_random_below(&random, 200);
		make_runs(count, random_length, &random);
		append_at((uint32_t)ush_random_below(&random, 64), count);
	}
}

/*
 * Goal: ush_log_slots_worst is a bound. Method: every alignment with runs of one length, up to the
 * largest append; every append of this file is held against it, too.
 */
static void test_log_slots_worst_brute_force_is_bound(void)
{
	static const uint32_t counts[] = {
		1, 7, 8, 9, 55, 56, 57, 63, 64, 65, 112, 120, 127, 128, 1000, RECORDS_MAX};
	uint32_t most = 0, most_of = 1;

	open_log();
	for (uint32_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		for (uint32_t run = 1; run <= USH_RUN_RECORDS_MAX; run++) {
			make_runs(counts[i], constant, &run);
			for (uint32_t slot = 0; slot < USH_BLOCK_SLOTS; slot++) {
				uint32_t used = append_at(slot, counts[i]);
				if (used * most_of > most * counts[i] && counts[i] >= 56) {
					most = used;
					most_of = counts[i];
				}
			}
		}
	}
	printf("# at most %u slots for %u records, bound %u\n", most, most_of,
		ush_log_slots_worst(most_of));
}

/* Goal: two appenders never share a slot. Method: reserve in between, as another loop would. */
static void test_log_append_after_other_reservation_goes_behind(void)
{
	uint32_t one = 1;
	uint64_t mine;

	open_log();
	make_runs(3, constant, &one);
	ush_log_append(&log_, records, 3, sequences);
	CHECK_EQ(sequences[0], 65);
	CHECK_EQ(sequences[2], 67);
	mine = ush_log_reserve(&log_, 10);
	CHECK_EQ(mine, 68);
	CHECK(!ush_log_is_published(&log_, mine));
	ush_log_append(&log_, records, 3, sequences);
	CHECK_EQ(sequences[0], 78);
	ush_log_publish_pads(&log_, mine, mine + 10);
	CHECK(ush_log_is_published(&log_, mine + 9));
}

/* Goal: pads never touch a header. */
static void test_log_pads_leave_header_alone(void)
{
	open_log();
	ush_log_slot(&log_, 128)->type = 0x7f;
	ush_log_publish_pads(&log_, 120, 136);
	CHECK_EQ(ush_log_slot(&log_, 128)->type, 0x7f);
	CHECK(!ush_log_is_published(&log_, 128));
	CHECK(ush_log_is_published(&log_, 127));
	CHECK(ush_log_is_published(&log_, 129));
}

/* Goal: a slot of the last round of the ring is not taken for one of this round. */
static void test_log_slot_of_last_round_is_not_published(void)
{
	uint64_t slots = BLOCKS * USH_BLOCK_SLOTS;

	open_log();
	ush_log_publish_pads(&log_, 65, 66);
	CHECK(ush_log_is_published(&log_, 65));
	CHECK(!ush_log_is_published(&log_, 65 + slots));
	CHECK(ush_log_slot(&log_, 65) == ush_log_slot(&log_, 65 + slots));
}

/* ret: the most slots that have room, by trying. */
static uint32_t room(uint32_t loops, enum ush_log_class class)
{
	uint32_t slots = 0;

	while (ush_log_has_room(&log_, slots + 1, loops, class))
		slots++;
	return slots;
}

/*
 * Goal: what may be reserved never reaches what is not durable, for all loops at once, and payers
 * have a quarter of the ring to themselves. Method: the room at several fill levels.
 */
static void test_log_room_leaves_a_quarter_and_two_blocks(void)
{
	uint64_t slots = BLOCKS * USH_BLOCK_SLOTS;

	open_log();
	CHECK_EQ(room(1, USH_LOG_KEPT), slots - 128);
	CHECK_EQ(room(1, USH_LOG_NEW), slots - 128 - slots / 4);
	CHECK_EQ(room(4, USH_LOG_KEPT), (slots - 128) / 4);
	ush_log_reserve(&log_, 1000);
	CHECK_EQ(room(1, USH_LOG_KEPT), slots - 128 - 1000);
	ush_log_reserve(&log_, (uint32_t)(slots * 3 / 4) - 1128);
	CHECK_EQ(room(1, USH_LOG_NEW), 0);
	CHECK_EQ(room(1, USH_LOG_KEPT), slots / 4);
	ush_log_reserve(&log_, (uint32_t)(slots / 4));
	CHECK_EQ(room(1, USH_LOG_KEPT), 0);
	CHECK(!ush_log_has_room(&log_, 1, 1, USH_LOG_KEPT));
	/* What becomes durable is room again. */
	atomic_store(&log_.durable, ush_log_durable(&log_) + 640);
	CHECK_EQ(room(1, USH_LOG_KEPT), 640);
}

/* Goal: without a next segment nothing but payers and givers-back may write. */
static void test_log_kept_only_refuses_new(void)
{
	open_log();
	ush_log_keep(&log_, true);
	CHECK(!ush_log_has_room(&log_, 1, 1, USH_LOG_NEW));
	CHECK(ush_log_has_room(&log_, 1, 1, USH_LOG_KEPT));
	ush_log_keep(&log_, false);
	CHECK(ush_log_has_room(&log_, 1, 1, USH_LOG_NEW));
}

/* Goal: a log may go on where another ended. */
static void test_log_start_at_any_block_goes_on_there(void)
{
	uint32_t one = 1;

	open_log();
	ush_log_start_at(&log_, 64ull * 1000003);
	make_runs(1, constant, &one);
	ush_log_append(&log_, records, 1, sequences);
	CHECK_EQ(sequences[0], 64ull * 1000003 + 1);
	CHECK_EQ(ush_log_durable(&log_), 64ull * 1000003);
}

int main(void)
{
	TAP_RUN(test_log_singles_any_alignment_fill_all_slots);
	TAP_RUN(test_log_run_any_alignment_stays_in_block);
	TAP_RUN(test_log_mixed_runs_keep_order);
	TAP_RUN(test_log_slots_worst_brute_force_is_bound);
	TAP_RUN(test_log_append_after_other_reservation_goes_behind);
	TAP_RUN(test_log_pads_leave_header_alone);
	TAP_RUN(test_log_slot_of_last_round_is_not_published);
	TAP_RUN(test_log_room_leaves_a_quarter_and_two_blocks);
	TAP_RUN(test_log_kept_only_refuses_new);
	TAP_RUN(test_log_start_at_any_block_goes_on_there);
	return tap_end();
}
