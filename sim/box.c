/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The box: engine and journal, started, turned and ended as usherd does it, and ended as usherd
 * does not want it.
 *
 * A journal that gives up calls _exit; the program is linked so that the call arrives here and ends
 * the virtual process only. The same holds for the chance in a new box file.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <unistd.h>

#include "check.h"
#include "room/merkle.h"
#include "tests/harness.h"

#define RESUME_NS_MAX (900ull * SIM_SECOND)

/* ---- what the code under test would ask of the system ---- */

static jmp_buf out_of_process;
static bool in_process;
static struct ush_random box_random;

_Noreturn void __real__exit(int status);
_Noreturn void __wrap__exit(int status);
ssize_t __real_write(int file, const void *data, size_t size);
ssize_t __wrap_write(int file, const void *data, size_t size);
ssize_t __wrap_getrandom(void *data, size_t size, unsigned flags);

_Noreturn void __wrap__exit(int status)
{
	if (in_process)
		longjmp(out_of_process, 1);
	__real__exit(status);
}

ssize_t __wrap_write(int file, const void *data, size_t size)
{
	return in_process ? (ssize_t)size : __real_write(file, data, size);
}

ssize_t __wrap_getrandom(void *data, size_t size, unsigned flags)
{
	uint8_t *at = data;

	(void)flags;
	for (size_t i = 0; i < size; i++)
		at[i] = (uint8_t)ush_random_next(&box_random);
	return (ssize_t)size;
}

void sim_box_seed(uint64_t seed)
{
	ush_random_init(&box_random, seed);
}

/* ---- memory ---- */

struct arena {
	void *memory;
	size_t bytes;
};

static struct arena live_arena, replay_arena;

/* ret: zeroed memory; what was there before is gone. */
static void *arena_take(struct arena *arena, const struct ush_engine_limits *limits)
{
	struct ush_message message;
	size_t bytes = ush_engine_bytes(limits, &message);

	USH_ASSERT(bytes != 0);
	if (bytes > arena->bytes) {
		if (arena->memory != NULL)
			munmap(arena->memory, arena->bytes);
		arena->memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		USH_ASSERT(arena->memory != MAP_FAILED);
		arena->bytes = bytes;
	} else {
		USH_ASSERT(madvise(arena->memory, arena->bytes, MADV_DONTNEED) == 0);
	}
	return arena->memory;
}

/* ---- start ---- */

static int find_image(void *context, uint32_t event_id, uint64_t digest, const void **image,
	size_t *image_bytes, struct ush_message *message)
{
	const struct sim *sim = context;

	(void)event_id;
	for (uint32_t i = 0; i < sim->ledger.plan_count; i++) {
		if (sim->ledger.plan[i].digest != digest)
			continue;
		*image = sim->image[i];
		*image_bytes = sim->image_bytes[i];
		return 0;
	}
	ush_message_set(message, "no such image");
	return -USH_ENOENT;
}

static int apply(void *context, const struct ush_record *records, uint32_t count,
	struct ush_message *message)
{
	return ush_engine_apply(context, records, count, message);
}

/* Every block that recovery accepts is the one that was confirmed, or comes after all of those. */
static void watch(void *context, const char *segment, uint64_t block,
	const struct ush_block_header *header, const void *data)
{
	struct sim *sim = context;
	const uint8_t *bytes = data;

	(void)segment, (void)header;
	if (block == sim->confirmed) {
		sim_disk_confirm(sim, block, NULL, 0, bytes);
		return;
	}
	SIM_CHECK_ALL(sim, recovered, block,
		ush_crc32c(0, bytes + USH_RECORD_BYTES, USH_BLOCK_BYTES - USH_RECORD_BYTES));
}

static void make_engine(struct sim *sim)
{
	const struct sim_config *c = &sim->config;

	if (sim->boot == 0 || (c->reshape && sim_below(sim, 2) == 0))
		sim->loops = sim->boot == 0 ? c->loops : 1 + (uint32_t)sim_below(sim, 3);
	sim->limits = (struct ush_engine_limits){.loop_count = sim->loops,
		.hold_count = c->hold_lines,
		.user_count = 64,
		.answer_count = 8192,
		.row_count = 256,
		.channel_row_count = 64,
		.wait_count = 256,
		.log_block_count = c->log_blocks,
		.ack_count = c->acks};
	if (c->admission != 0)
		sim->limits.admit_source_count = sim->limits.admit_user_count = SIM_ADMIT_BUCKETS;
	if (c->guests != 0) {
		sim->limits.room_user_count = SIM_EVENTS_MAX * SIM_ROOM_USERS_MAX;
		sim->limits.room_device_count = 64;
	}
	sim->engine = ush_engine_init(
		arena_take(&live_arena, &sim->limits), &sim->limits, ush_journal_key(sim->journal));
	ush_engine_set_image_find(sim->engine, find_image, sim);
	ush_engine_set_hash(sim->engine, ush_sha256);
}

/* ret: 0, or why the box does not start. */
static int start(struct sim *sim, struct ush_message *message)
{
	const struct sim_config *c = &sim->config;
	struct ush_journal_config config = {.directory = "/sim",
		.segment_bytes = 1u << 20,
		.spare_count = c->spares,
		.depth = c->depth,
		.write_bytes_max = c->write_blocks * USH_BLOCK_BYTES};
	static struct ush_admit_config admission;
	struct ush_engine_resume found;
	uint64_t credit;
	int error;

	error = ush_journal_open(&sim->journal, &config, &sim->disk, sim->now_ns, message);
	if (error != 0) {
		sim->journal = NULL;
		return error;
	}
	make_engine(sim);
	ush_journal_watch(sim->journal, watch, sim);
	error = ush_journal_recover(sim->journal, apply, sim->engine, &sim->report, message);
	if (error != 0 || sim->failed)
		return error != 0 ? error : -USH_ECORRUPT;
	if (sim->report.end_sequence < sim->confirmed * USH_BLOCK_SLOTS) {
		ush_message_set(message, "the journal ends at block %" PRIu64 " of %" PRIu64,
			sim->report.end_sequence / USH_BLOCK_SLOTS, sim->confirmed);
		return -USH_ESHORT;
	}
	/* The clock never goes back behind the journal. */
	sim->now_ns = ush_max64(sim->now_ns, sim->report.time_ns);
	ush_engine_replayed(sim->engine, sim->now_ns, &found);
	if (c->admission != 0) {
		sim_admission_config(sim, &admission);
		ush_engine_admission(sim->engine, &admission);
	}
	SIM_CHECK_ALL(sim, restarted);
	error = ush_journal_start(sim->journal, ush_engine_log(sim->engine), sim->now_ns, message);
	if (error != 0)
		return error;
	sim->epoch_block = sim->confirmed;
	sim->log_seen = sim->confirmed * USH_BLOCK_SLOTS;
	credit = sim->now_ns > found.time_ns ? sim->now_ns - found.time_ns : 0;
	if (found.live_holds != 0 && credit != 0)
		ush_loop_resume(ush_engine_loop(sim->engine, 0), ush_min64(credit, RESUME_NS_MAX),
			sim->now_ns);
	return 0;
}

/* Something is to go wrong on the way up. ret: true if an error is to be expected. */
static bool plan_bad_start(struct sim *sim)
{
	if (sim->recovery_crashes_left == 0 || !sim_chance(sim, sim->config.recovery))
		return false;
	sim->recovery_crashes_left--;
	sim->totals->recovery_crashes++;
	if (sim_below(sim, 3) != 0) {
		fake_disk_cut_after(sim->fake, (uint32_t)sim_below(sim, 24));
	} else {
		enum fake_op op = (enum fake_op)sim_below(sim, FAKE_WRITE);

		fake_disk_fail(sim->fake, op, (uint32_t)sim_below(sim, 3), 1,
			sim_below(sim, 2) == 0 ? -USH_EIO : -USH_ENOSPC);
	}
	return true;
}

static void end_plans(struct sim *sim)
{
	for (int op = 0; op < FAKE_OP_COUNT; op++)
		fake_disk_fail(sim->fake, (enum fake_op)op, 0, 0, 0);
}

/* A start over a disk that lied: known durable blocks must be missed; of the newest nobody else
 * knows. */
static void judge_lied_start(struct sim *sim, int error, const struct ush_message *message)
{
	uint64_t known = sim_disk_known(sim);
	uint64_t end = sim->report.end_sequence / USH_BLOCK_SLOTS;

	sim_note(sim, "lied start", sim->bad_block, (uint64_t)-error);
	if (error == -USH_ESHORT && sim->bad_block >= known && end <= sim->bad_block) {
		/* docs/journal.md: what cannot be decided. The run ends here. */
		sim->totals->rot_windows++;
		sim->over = true;
		return;
	}
	if (error == 0 || error == -USH_ESHORT) {
		sim_fail(sim, "lost",
			"block %" PRIu64 " is damaged, block %" PRIu64
			" is known durable, and the box started with block %" PRIu64 ": %s",
			sim->bad_block, known, end, message->text);
		return;
	}
	sim->totals->refused_starts++;
	sim_disk_mend(sim);
}

static void go_down(struct sim *sim)
{
	if (sim->journal != NULL)
		ush_journal_close(sim->journal);
	sim->journal = NULL;
	sim->engine = NULL;
	sim->up = false;
	memset(sim->event_asked, 0, sizeof(sim->event_asked));
	sim_network_reset(sim);
}

void sim_box_start(struct sim *sim)
{
	bool clean = sim->ended_cleanly, planned = plan_bad_start(sim);
	struct ush_message message = {{0}};
	int error = start(sim, &message);

	end_plans(sim);
	sim->ended_cleanly = false;
	sim_note(sim, "start", (uint64_t)-error, sim->confirmed);
	if (sim->failed)
		return;
	if (error == 0 && !fake_disk_is_cut(sim->fake) && sim->bad_block == UINT64_MAX) {
		if (clean && !sim->report.clean)
			sim_fail(sim, "lost", "an orderly end was not found at the next start");
		/* A cut that did not come to pass. */
		fake_disk_cut_after(sim->fake, UINT32_MAX);
		sim->up = true;
		sim->boot++;
		sim->totals->starts++;
		sim->totals->torn_blocks += sim->report.torn_blocks;
		for (uint32_t i = 0; i < sim->loops; i++) {
			sim->loop_now_ns[i] = sim->turn_before_ns[i] = sim->now_ns;
			sim->backlog_turns[i] = 0;
		}
		memset(sim->late_turns, 0, sizeof(sim->late_turns));
		memset(sim->busy_ns, 0, sizeof(sim->busy_ns));
		return;
	}
	if (!fake_disk_is_cut(sim->fake) && sim->bad_block != UINT64_MAX &&
		(!planned || error == -USH_ECORRUPT || error == -USH_ESHORT || error == 0))
		judge_lied_start(sim, error, &message);
	else if (!planned && error != -USH_ENOSPC)
		sim_fail(sim, "lost", "the box does not start: %s", message.text);
	go_down(sim);
	sim_disk_crash(sim, true);
	fake_disk_capacity(sim->fake, 0);
}

void sim_box_crash(struct sim *sim, bool power)
{
	struct fake_counts counts;

	sim_note(sim, power ? "power" : "kill", sim->confirmed, fake_disk_pending(sim->fake));
	*(power ? &sim->totals->power_cuts : &sim->totals->crashes) += 1;
	fake_disk_counts(sim->fake, &counts);
	if (counts.bad_writes != 0 || counts.changed_buffers != 0)
		sim_fail(sim, "lost", "%u writes out of place, %u changed under way",
			counts.bad_writes, counts.changed_buffers);
	go_down(sim);
	sim_disk_crash(sim, power);
	if (sim->confirmed > 1 && sim_chance(sim, sim->config.rot))
		sim_disk_rot(sim);
}

/* ---- a running box ---- */

/* ret: true if the process ended itself meanwhile. */
static bool dies_of(struct sim *sim, bool (*work)(struct sim *sim))
{
	in_process = true;
	if (setjmp(out_of_process) != 0) {
		in_process = false;
		return true;
	}
	(void)work(sim);
	in_process = false;
	return false;
}

static bool guarded(struct sim *sim, bool (*work)(struct sim *sim))
{
	if (!dies_of(sim, work))
		return false;
	sim->totals->fail_stops++;
	sim_box_crash(sim, false);
	return true;
}

static bool step_journal(struct sim *sim)
{
	return ush_journal_step(sim->journal, sim->now_ns) != 0;
}

static bool step_housekeeping(struct sim *sim)
{
	return ush_journal_housekeep(sim->journal);
}

static bool finish(struct sim *sim)
{
	return ush_journal_finish(sim->journal, sim->now_ns);
}

/* All is durable: the moment to compare. */
static void look_if_quiet(struct sim *sim)
{
	if (sim->up && !sim->failed && ush_journal_idle(sim->journal) &&
		fake_disk_pending(sim->fake) == 0 && !fake_disk_is_cut(sim->fake))
		SIM_CHECK_ALL(sim, quiet);
}

void sim_box_journal(struct sim *sim)
{
	sim_note(sim, "journal", sim->now_ns, ush_log_reserved(&sim->engine->log));
	guarded(sim, step_journal);
}

void sim_box_housekeep(struct sim *sim)
{
	sim_note(sim, "housekeep", 0, 0);
	guarded(sim, step_housekeeping);
}

void sim_box_pace(struct sim *sim)
{
	sim_note(sim, "pace", ush_engine_rooms(sim->engine), 0);
	SIM_CHECK_ALL(sim, pacing);
	ush_engine_rooms_step(sim->engine, sim->now_ns);
	SIM_CHECK_ALL(sim, paced);
}

/* Turns and steps without requests until nothing is left to be done, or it takes too long. */
static void settle(struct sim *sim)
{
	for (uint32_t round = 0; round < 400 && sim->up && !sim->failed; round++) {
		uint32_t waiting = 0;

		for (uint32_t i = 0; i < sim->loops && !sim->failed; i++) {
			sim_box_turn(sim, i);
			waiting += ush_loop_waiting(ush_engine_loop(sim->engine, i));
		}
		guarded(sim, step_journal);
		if (sim->up && waiting == 0 && ush_journal_idle(sim->journal))
			return;
		if (sim->up)
			guarded(sim, step_housekeeping);
	}
}

void sim_box_end(struct sim *sim)
{
	sim_note(sim, "end", sim->confirmed, 0);
	sim->disk_is_prompt = true;
	fake_disk_capacity(sim->fake, 0);
	sim->to_box_count = 0;
	settle(sim);
	look_if_quiet(sim);
	if (sim->up && fake_disk_is_cut(sim->fake))
		sim_box_crash(sim, true);
	/* No cut in the middle: it would wait for power that nobody gives back. */
	fake_disk_cut_after(sim->fake, UINT32_MAX);
	if (sim->up && !sim->failed && !guarded(sim, finish)) {
		sim->totals->orderly_ends++;
		go_down(sim);
		sim_disk_crash(sim, false);
		sim->ended_cleanly = true;
	}
	sim->disk_is_prompt = false;
}

/* What came to pass, for the last line. */
static void tally(struct sim *sim, const struct ush_record *record)
{
	struct sim_totals *totals = sim->totals;
	uint32_t end = record->type == USH_RECORD_TYPE_PAY_END ? record->state : 0;

	totals->changed += record->type == USH_RECORD_TYPE_EVENT_CHANGE;
	totals->rows_added += record->type == USH_RECORD_TYPE_EVENT_CHANGE &&
			      record->amount > sim->ledger.event[record->event].rows;
	totals->priced += ledger_list(record, record->run_count) != 0;
	totals->joins += record->type == USH_RECORD_TYPE_ROOM_JOIN;
	totals->draws += record->type == USH_RECORD_TYPE_ROOM_DRAW;
	totals->called += record->type == USH_RECORD_TYPE_ROOM_SERVE;
	totals->exchanges += record->type == USH_RECORD_TYPE_ROOM_EXCHANGE;
	totals->holds += record->type == USH_RECORD_TYPE_HOLD;
	totals->waiting += record->type == USH_RECORD_TYPE_WAIT_JOIN;
	totals->offers += record->type == USH_RECORD_TYPE_OFFER;
	totals->sold += record->type == USH_RECORD_TYPE_CONFIRM || end == USH_HOLD_STATE_SOLD;
	totals->expired += record->type == USH_RECORD_TYPE_EXPIRE;
	totals->cut += record->type == USH_RECORD_TYPE_CUT;
	totals->extended += record->type == USH_RECORD_TYPE_EXTEND;
	totals->payments += record->type == USH_RECORD_TYPE_PAY_BEGIN;
	totals->payments_failed += end == USH_HOLD_STATE_HELD;
	totals->payments_late += end == USH_HOLD_STATE_EXPIRED;
	totals->transfers += record->type == USH_RECORD_TYPE_TRANSFER;
	totals->swaps += record->type == USH_RECORD_TYPE_SWAP;
	totals->late_sales += record->type == USH_RECORD_TYPE_LATE;
	totals->kept +=
		record->run_count > 1 && record[record->run_count - 1].type == USH_RECORD_TYPE_KEEP;
	totals->cancelled += record->type == USH_RECORD_TYPE_EVENT_STATUS &&
			     record->state == USH_EVENT_STATUS_CANCELLED;
	if (record->type == USH_RECORD_TYPE_REFUND_END && record->mask != 0)
		*(record->state == USH_HOLD_STATE_SOLD ? &totals->refunds_of_some
						       : &totals->refunds) += 1;
}

/* Shows what a turn appended to the checkers. */
static void scan_log(struct sim *sim, uint32_t loop)
{
	const struct ush_log *log = &sim->engine->log;
	uint64_t end = ush_log_reserved(log);

	for (; sim->log_seen < end && !sim->failed; sim->log_seen++) {
		const struct ush_record *record = ush_log_slot(log, sim->log_seen);

		if (ush_log_is_header(sim->log_seen) || record->type == USH_RECORD_TYPE_PAD ||
			record->run_index != 0)
			continue;
		SIM_CHECK_ALL(sim, appended, loop, record);
		tally(sim, record);
	}
}

static bool has_room(const struct sim *sim)
{
	return ush_log_has_room(&sim->engine->log, 3 * ush_log_slots_worst(BATCH_RECORDS),
		sim->loops, USH_LOG_KEPT);
}

void sim_box_turn(struct sim *sim, uint32_t index)
{
	struct ush_loop *loop = ush_engine_loop(sim->engine, index);
	struct ush_packet packets[USH_LOOP_BURST];
	uint32_t room = (uint32_t)ush_min64(ush_loop_room(loop), sim->config.burst), count = 0;
	bool had_room = has_room(sim);

	sim->part_count = 0;
	while (count < room && sim_network_take(sim, index, &packets[count]))
		count++;
	/* The journal sealed since: nothing that a turn did. */
	scan_log(sim, index);
	sim->loop_now_ns[index] = ush_max64(sim->loop_now_ns[index], sim->now_ns);
	sim_note(sim, "turn", index, count);
	SIM_CHECK_ALL(sim, arrived, index, packets, count);
	ush_loop_turn(loop, &sim->net, packets, count, sim->now_ns, &sim->out);
	sim->totals->turns++;
	scan_log(sim, index);
	for (uint32_t i = 0; i < sim->out.send_count && !sim->failed; i++) {
		sim_network_reply(sim, &sim->out.send[i]);
		sim_network_free(sim, &sim->out.send[i]);
	}
	for (uint32_t i = 0; i < sim->out.free_count; i++)
		sim_network_free(sim, &sim->out.free[i]);
	/* Whoever still points there would answer with it. */
	memset(sim->parts, 0xee, sizeof(sim->parts[0]) * sim->part_count);
	if (!sim->failed)
		SIM_CHECK_ALL(sim, turned, index, had_room && has_room(sim));
	if (sim_below(sim, 16) == 0)
		look_if_quiet(sim);
}

/* ---- an audit ---- */

int sim_box_replay(struct sim *sim, struct ush_engine **engine, struct ush_message *message)
{
	struct ush_journal_config config = {
		.directory = "/sim", .segment_bytes = 1u << 20, .read_only = true};
	struct ush_engine_resume found;
	struct ush_journal_report report;
	struct ush_journal *journal;
	int error = ush_journal_open(&journal, &config, &sim->under, sim->now_ns, message);

	if (error != 0)
		return error;
	*engine = ush_engine_init(
		arena_take(&replay_arena, &sim->limits), &sim->limits, ush_journal_key(journal));
	ush_engine_set_image_find(*engine, find_image, sim);
	ush_engine_set_hash(*engine, ush_sha256);
	error = ush_journal_recover(journal, apply, *engine, &report, message);
	if (error == 0)
		ush_engine_replayed(*engine, sim->now_ns, &found);
	ush_journal_close(journal);
	sim->totals->replays++;
	return error;
}
