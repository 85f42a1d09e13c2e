/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How fast a start is: a journal of a sale is written to a real directory, then read, replayed, and
 * replayed from a snapshot with a short tail.
 *
 *     build/tests/bench/bench-recovery DIRECTORY [RECORDS [USERS]]
 *     build/tests/bench/bench-recovery DIRECTORY start|snapshot [ROUNDS]     only starts from it
 *
 * DIRECTORY must be empty or missing, or RECORDS 0: then what an earlier run left there is read.
 * Prints one JSON object. Users hold two seats and give them back, so the state stays as large as
 * the number of users, and the journal grows. The sale is not played: its records are made here and
 * go through the log and the journal's writer; `usher verify` finds nothing wrong with them.
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <time.h>

#include "hold/hold.h"
#include "journal/journal.h"
#include "journal/snapshot.h"
#include "tests/ask.h"
#include "tests/replay.h"

#define USERS 1008000u
/* Sixteen blocks' worth, so that blocks are full, as they are under load. */
#define BATCH 1008u
#define ROWS_BENCH 2048u
#define SEATS_BENCH 64u
/* Pairs of seats, and lines for them; a power of two. */
#define HOLDS (ROWS_BENCH * SEATS_BENCH / 2)
/* Held at one time: three quarters of the 131,072 seats. */
#define LIVE (HOLDS / 4 * 3)
static_assert(LIVE + BATCH < HOLDS, "nobody takes what is not given back");

static struct ush_disk disk;
static struct ush_message message;
static struct replay images;
static const char *directory;
static uint64_t records;
static uint32_t users = USERS;
static pthread_t prefault_thread;
static _Atomic bool prefault_stop;
/* Reading on a thread of its own, and lines brought near before they are needed. */
static bool ahead_wanted = true;

static void must(int error, const char *what)
{
	if (error >= 0)
		return;
	fprintf(stderr, "bench-recovery: %s: %s %s\n", what, ush_error_text(error), message.text);
	exit(1);
}

static uint64_t clock_now_ns(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static void limits_of(struct ush_engine_limits *limits)
{
	ush_engine_limits_default(limits);
	limits->hold_count = 1u << 17;
	limits->user_count = 1u << 21;
	limits->answer_count = 1u << 25;
	limits->row_count = 1u << 14;
}

static struct ush_journal *open_journal(bool read_only)
{
	const struct ush_journal_config config = {

		.directory = directory, .read_ahead = ahead_wanted, .read_only = read_only};
	struct ush_journal *journal;

	must(ush_journal_open(&journal, &config, &disk, HARNESS_START, &message), "open");
	return journal;
}

/* Takes the engine's memory from the system beside the start, as usherd does. */
static void *prefault_main(void *argument)
{
	const size_t step = (size_t)16 << 20;

	for (size_t at = 0; at + step <= h.memory_bytes && !atomic_load(&prefault_stop);
		at += step) {
		if (madvise((uint8_t *)h.memory + at, step, MADV_POPULATE_WRITE) != 0)
			break;
	}
	return argument;
}

static void close_engine(void)
{
	atomic_store(&prefault_stop, true);
	pthread_join(prefault_thread, NULL);
	harness_close(&h);
}

static void open_engine(const struct ush_journal *journal)
{
	memset(&h, 0, sizeof(h));
	limits_of(&h.limits);
	h.memory_bytes = ush_engine_bytes(&h.limits, &message);
	h.memory = mmap(NULL, h.memory_bytes, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	must(h.memory == MAP_FAILED ? -USH_ENOMEM : 0, "memory");
	/* As usherd does. */
	(void)madvise(h.memory, h.memory_bytes, MADV_HUGEPAGE);
	atomic_store(&prefault_stop, false);
	must(pthread_create(&prefault_thread, NULL, prefault_main, NULL) == 0 ? 0 : -USH_ENOMEM,
		"thread");
	h.engine = ush_engine_init(h.memory, &h.limits, ush_journal_key(journal));
	h.now_ns = HARNESS_START;
}

static int apply(
	void *context, const struct ush_record *run, uint32_t count, struct ush_message *what)
{
	records += count;
	return context == NULL ? 0 : ush_engine_apply(context, run, count, what);
}

/* Runs the journal until all is durable. */
static void settle(struct ush_journal *journal)
{
	while (!ush_journal_idle(journal)) {
		ush_journal_step(journal, ++h.now_ns);
		ush_journal_housekeep(journal);
	}
}

/* The nth hold of the sale. Its seats and its line are taken again once HOLDS more were made, when
 * it is long over; neither they nor users' lines come in an order that the processor would guess.
 */
static struct ush_record hold_record(const struct ush_holds *holds, uint64_t n)
{
	uint32_t place = (uint32_t)(n * 40503) % HOLDS;
	uint64_t turn = n / users * 2;

	return (struct ush_record){
		.type = USH_RECORD_TYPE_HOLD,
		.run_count = 1,
		.state = USH_HOLD_STATE_HELD,
		.event = EVENT,
		.user = 1 + n % users,
		.hold = ush_hold_id(holds, 1 + place, (uint16_t)(1 + n / HOLDS)),
		.mask = 3ull << place / ROWS_BENCH * 2,
		.request_id = (uint32_t)(turn + 1),
		.digest = (uint32_t)(n * 2654435761u),
		.row = (uint16_t)(place % ROWS_BENCH),
		.version = 1,
		.amount = 5000,
		.deadline_ns = HARNESS_START + 60000000000 + n,
	};
}

static struct ush_record release_record(const struct ush_holds *holds, uint64_t n)
{
	struct ush_record record = hold_record(holds, n);

	record.type = USH_RECORD_TYPE_RELEASE;
	record.state = USH_HOLD_STATE_RELEASED;
	record.request_id++;
	record.version++;
	return record;
}

/* The records that loops would have written, into the log that they write into: users come one
 * after another, take two seats and give them back when LIVE others have come. */
static void sell(struct ush_journal *journal, uint64_t wanted)
{
	static struct ush_record batch[BATCH];
	static uint64_t sequences[BATCH];
	const struct ush_holds holds = {.key = *ush_journal_key(journal)};
	struct ush_log *log = ush_engine_log(h.engine);
	uint64_t made = 0, ended = 0;

	while (made + ended < wanted) {
		uint32_t count = 0;

		while (count < BATCH / 2)
			batch[count++] = hold_record(&holds, made++);
		while (count < BATCH && ended + LIVE < made)
			batch[count++] = release_record(&holds, ended++);
		while (!ush_log_has_room(log, ush_log_slots_worst(count), 1, USH_LOG_NEW)) {
			ush_journal_step(journal, ++h.now_ns);
			ush_journal_housekeep(journal);
		}
		ush_log_append(log, batch, count, sequences);
		ush_journal_step(journal, ++h.now_ns);
	}
	settle(journal);
}

static void write_journal(uint64_t wanted)
{
	struct ush_journal *journal = open_journal(false);
	struct ush_journal_report report;
	struct ush_engine_resume resume;
	struct ush_event *event;
	struct ush_request load = {.op = USH_OP_EVENT_LOAD, .event = EVENT};
	struct ush_packet packet;

	must(ush_journal_recover(journal, apply, NULL, &report, &message), "recover");
	open_engine(journal);
	ush_engine_replayed(h.engine, h.now_ns, &resume);
	must(ush_journal_start(journal, ush_engine_log(h.engine), h.now_ns, &message), "start");
	must(ush_engine_event_build(h.engine, EVENT, images.images[EVENT],
		     images.image_bytes[EVENT], &event, &message),
		"event");
	packet = harness_packet(&h, &load, NULL, 0);
	packet.attachment = event;
	packet.flags |= USH_PACKET_ATTACHED;
	harness_turn(&h, 0, &packet, 1);
	settle(journal);
	add((struct ush_request){
		.op = USH_OP_EVENT_STATUS, .event = EVENT, .arg = USH_EVENT_STATUS_ON_SALE});
	turn(0);
	settle(journal);
	sell(journal, wanted);
	must(ush_journal_finish(journal, h.now_ns) ? 0 : -USH_ENOSPC, "finish");
	ush_journal_close(journal);
	close_engine();
}

static int save_state(const void *state, ush_snapshot_put *put, void *context)
{
	return ush_engine_save(state, put, context);
}

static int load_state(void *state, ush_snapshot_get *get, void *context, struct ush_message *what)
{
	return ush_engine_load(state, get, context, what);
}

static uint64_t clock_ns(void)
{
	return clock_now_ns(CLOCK_MONOTONIC);
}

static void ahead(void *context, const struct ush_record *slots, uint32_t count,
	enum ush_journal_distance distance)
{
	ush_engine_ahead(context, slots, count, distance == USH_JOURNAL_NEAR);
}

/* ns of a start: of the wall clock; of the processor, all threads; of the processor, the one that
 * applies. */
struct spent {
	uint64_t wall;
	uint64_t cpu;
	uint64_t own;
};

static struct spent spent_now(void)
{
	return (struct spent){clock_ns(), clock_now_ns(CLOCK_PROCESS_CPUTIME_ID),
		clock_now_ns(CLOCK_THREAD_CPUTIME_ID)};
}

/* One start. in: replay: with an engine. out: *spent: opening the directory included. */
static struct ush_journal *begin(bool replay, bool snapshots, struct spent *spent)
{
	struct spent begun = spent_now();
	struct ush_journal *journal = open_journal(true);
	struct ush_snapshot *snapshot = NULL;
	struct ush_journal_report report;
	struct ush_message skipped;
	struct ush_snapshot_state state;

	open_engine(journal);
	ush_engine_set_image_find(h.engine, replay_find, &images);
	state = (struct ush_snapshot_state){h.engine, save_state, load_state};
	records = 0;
	if (replay && ahead_wanted)
		ush_journal_show(journal, ahead, h.engine);
	if (snapshots)
		must(ush_snapshot_find(&snapshot, journal, &skipped, &message), "find");
	if (snapshot != NULL)
		must(ush_snapshot_load(snapshot, &state, &message), "load");
	must(ush_journal_recover_from(journal,
		     snapshot != NULL ? ush_snapshot_point(snapshot) : NULL, apply,
		     replay ? h.engine : NULL, &report, &message),
		"recover");
	ush_snapshot_free(snapshot);
	*spent = spent_now();
	spent->wall -= begun.wall;
	spent->cpu -= begun.cpu;
	spent->own -= begun.own;
	return journal;
}

static void end(struct ush_journal *journal)
{
	ush_journal_close(journal);
	close_engine();
}

static void print_rate(const char *name, const struct spent *spent)
{
	printf("\"%s_ms\":%" PRIu64 ",\"%s_records_per_s\":%" PRIu64
	       ",\"%s_cpu_ns\":%.1f,\"%s_apply_cpu_ns\":%.1f,",
		name, spent->wall / 1000000, name, records * 1000000000 / spent->wall, name,
		(double)spent->cpu / (double)records, name, (double)spent->own / (double)records);
}

/* Starts again and again: for comparing programs. */
static void start_rounds(bool snapshots, uint32_t rounds)
{
	struct spent spent;

	for (uint32_t i = 0; i < rounds; i++) {
		struct ush_journal *journal = begin(true, snapshots, &spent);

		printf("{\"ms\":%" PRIu64 ",\"apply_cpu_ms\":%" PRIu64 ",", spent.wall / 1000000,
			spent.own / 1000000);
		if (records != 0)
			print_rate("start", &spent);
		printf("\"records\":%" PRIu64 "}\n", records);
		fflush(stdout);
		end(journal);
	}
}

/* Beside the journal, where usherd looks for it: so that it can be started there. */
static void write_image(void)
{
	const void *image = images.images[EVENT];
	char path[1024];
	FILE *file;

	snprintf(path, sizeof(path), "%s/../events/%u-%016" PRIx64 ".ushv", directory, EVENT,
		ush_engine_image_digest(image, images.image_bytes[EVENT]));
	file = fopen(path, "wb");
	if (file == NULL)
		return;
	if (fwrite(image, 1, images.image_bytes[EVENT], file) != images.image_bytes[EVENT])
		must(-USH_EIO, path);
	fclose(file);
}

int main(int argc, char **argv)
{
	struct ush_snapshot_state state;
	struct ush_snapshot_point point = {.epoch = 1, .last_type = USH_RECORD_TYPE_CLOSE};
	struct ush_journal_report report;
	struct ush_journal *journal;
	uint64_t bytes, begun, wanted;
	struct spent spent;
	size_t image_bytes;

	if (argc < 2) {
		fprintf(stderr, "usage: bench-recovery DIRECTORY [RECORDS [USERS]]\n");
		return 2;
	}
	tap_failures_here = 0;
	directory = argv[1];
	must(ush_disk_uring_open(&disk, directory, 4, &message), "directory");
	replay_init(&images);
	replay_image(&images, EVENT, harness_image(ROWS_BENCH, SEATS_BENCH, 64, &image_bytes), 0);
	images.image_bytes[EVENT] = image_bytes;
	if (argc > 2 && (strcmp(argv[2], "start") == 0 || strcmp(argv[2], "snapshot") == 0)) {
		start_rounds(argv[2][1] == 'n', argc > 3 ? (uint32_t)strtoul(argv[3], NULL, 0) : 1);
		return 0;
	}
	wanted = argc > 2 ? strtoull(argv[2], NULL, 0) : 1000000;
	users = argc > 3 ? (uint32_t)strtoul(argv[3], NULL, 0) : USERS;
	/* A user has at most two holds at a time, and so 4 of the 64 seats that are allowed. */
	must(users > LIVE ? 0 : -USH_EINVAL, "users");
	if (wanted != 0)
		write_journal(wanted);
	write_image();
	journal = begin(false, false, &spent);
	printf("{\"records\":%" PRIu64 ",\"users\":%u,", records, users);
	print_rate("read", &spent);
	end(journal);
	ahead_wanted = false;
	journal = begin(true, false, &spent);
	print_rate("plain_start", &spent);
	end(journal);
	ahead_wanted = true;
	journal = begin(true, false, &spent);
	print_rate("start", &spent);
	ush_journal_close(journal);
	/* The end of the journal, for the point; the chain is not looked at here. */
	journal = open_journal(true);
	must(ush_journal_recover(journal, apply, NULL, &report, &message), "recover");
	point.box = ush_journal_box(journal);
	point.sequence = report.end_sequence;
	point.time_ns = report.time_ns;
	state = (struct ush_snapshot_state){h.engine, save_state, load_state};
	begun = clock_ns();
	must(ush_snapshot_write(&disk, &point, &state, 2, &bytes, &message), "snapshot");
	printf("\"snapshot_write_ms\":%" PRIu64 ",\"snapshot_bytes\":%" PRIu64 ",",
		(clock_ns() - begun) / 1000000, bytes);
	end(journal);
	journal = begin(true, true, &spent);
	printf("\"snapshot_start_ms\":%" PRIu64 ",\"snapshot_tail_records\":%" PRIu64 "}\n",
		spent.wall / 1000000, records);
	end(journal);
	ush_disk_uring_close(&disk);
	return 0;
}
