/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What test_kill.py kills: an engine with one loop, the journal inline, io_uring on a real
 * directory, and a crowd of clients in the same thread.
 *
 *   crash_child run   DIRECTORY RUN ACKS   serve until killed; SIGTERM ends cleanly
 *   crash_child check DIRECTORY ACKS       replay, audit, and look up all that was acknowledged
 *
 * `run` writes entries of 128 bytes to stdout: an intent before a release or confirm is handed in,
 * and each OK reply once it has left the loop. Whoever reads them keeps them in the file ACKS. Some
 * accepted requests of earlier runs are asked again, and must get the same hold.
 *
 * Exit status: 0 fine, 1 cannot start, 3 the journal stopped the process, 5 a promise was broken.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "journal/journal.h"
#include "tests/harness.h"

#define EVENT 1u
#define ROWS 4096u
#define SEATS 50u
#define USER_SEATS 8u
#define USERS 4096u
/* All within one window: any of them may be repeated. */
#define REQUESTS_PER_USER 60u
#define OUTSTANDING_MAX 512u
#define BURST 24u
/* One request each 20 us, so that a run leaves megabytes and not gigabytes. */
#define NS_PER_REQUEST 20000u
#define INTENT 0xff

struct entry {
	struct ush_request request;
	struct ush_reply reply;
};
static_assert(sizeof(struct entry) == 128, "entries have one size");

struct held {
	struct ush_request request;
	uint64_t hold;
};

struct child {
	struct harness h;
	struct ush_disk disk;
	struct ush_journal *journal;
	struct ush_journal_report report;
	struct ush_random random;
	void *image;
	size_t image_bytes;
	uint64_t run;
	uint8_t next_id[USERS];
	struct held held[1u << 16];
	uint32_t held_count;
	/* By cookie. */
	struct ush_request asked[OUTSTANDING_MAX];
	uint64_t wanted_hold[OUTSTANDING_MAX];
	uint8_t packets[OUTSTANDING_MAX][USH_PAYLOAD_BYTES_MAX];
	uint32_t free[OUTSTANDING_MAX];
	uint32_t free_count;
	struct entry out[OUTSTANDING_MAX];
	uint32_t out_count;
	const struct entry *old;
	size_t old_count;
	uint64_t asks;
};

static struct child c;
static _Atomic bool stop_asked;
static _Atomic bool keeper_stop;

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (uint64_t)t.tv_sec * HARNESS_SECOND + (uint64_t)t.tv_nsec;
}

_Noreturn static void broken(const char *what, uint64_t a, uint64_t b)
{
	fprintf(stderr, "crash_child: %s: %" PRIu64 ", %" PRIu64 "\n", what, a, b);
	_exit(5);
}

/* ---- engine and journal ---- */

static int apply(void *context, const struct ush_record *records, uint32_t count,
	struct ush_message *message)
{
	(void)context;
	return ush_engine_apply(c.h.engine, records, count, message);
}

static int find_image(void *context, uint32_t event_id, uint64_t digest, const void **image,
	size_t *image_bytes, struct ush_message *message)
{
	(void)context, (void)event_id, (void)digest, (void)message;
	*image = c.image;
	*image_bytes = c.image_bytes;
	return 0;
}

static int recover(const char *directory, bool read_only, struct ush_engine_resume *resume,
	struct ush_message *message)
{
	struct ush_engine_limits limits;
	struct ush_journal_config config = {.directory = directory,
		.segment_bytes = 1u << 20,
		.spare_count = 1,
		.depth = 4,
		.read_only = read_only};
	int error;

	ush_engine_limits_default(&limits);
	/* For some hundred lives; the audit looks at every line. */
	limits.hold_count = 1u << 19;
	limits.user_count = 1u << 20;
	limits.row_count = ROWS;
	limits.log_block_count = 512;
	c.image = harness_image(ROWS, SEATS, USER_SEATS, &c.image_bytes);
	harness_open_for_replay(&c.h, &limits);
	ush_engine_set_image_find(c.h.engine, find_image, NULL);
	error = ush_disk_uring_open(&c.disk, directory, 8, message);
	if (error == 0)
		error = ush_journal_open(&c.journal, &config, &c.disk, now_ns(), message);
	if (error == 0)
		error = ush_journal_recover(c.journal, apply, NULL, &c.report, message);
	if (error == 0)
		ush_engine_replayed(c.h.engine, now_ns(), resume);
	return error;
}

static const struct entry *load_entries(const char *path, size_t *count)
{
	int fd = open(path, O_RDONLY);
	struct stat status;
	struct entry *entries;
	size_t size = 0;
	ssize_t got;

	*count = 0;
	if (fd < 0 || fstat(fd, &status) != 0)
		return NULL;
	entries = malloc((size_t)status.st_size + 1);
	USH_ASSERT(entries != NULL);
	while ((got = read(fd, (uint8_t *)entries + size, (size_t)status.st_size - size)) > 0)
		size += (size_t)got;
	close(fd);
	*count = size / sizeof(*entries);
	return entries;
}

/* ---- the crowd ---- */

static void tell(const struct ush_request *request, const struct ush_reply *reply)
{
	struct entry *entry = &c.out[c.out_count++];

	entry->request = *request;
	if (reply != NULL)
		entry->reply = *reply;
	else
		entry->reply = (struct ush_reply){.status = INTENT};
}

/* Leaves no entry behind: an intent must be out before the loop sees the request. */
static void tell_all(void)
{
	const uint8_t *at = (const uint8_t *)c.out;
	size_t left = c.out_count * sizeof(struct entry);

	while (left != 0) {
		ssize_t put = write(STDOUT_FILENO, at, left);
		if (put < 0)
			_exit(1);
		at += put;
		left -= (size_t)put;
	}
	c.out_count = 0;
}

static struct ush_packet packet_of(const struct ush_request *request, uint64_t wanted_hold)
{
	uint32_t slot = c.free[--c.free_count];
	struct ush_request copy = *request;

	copy.magic = USH_REQUEST_MAGIC;
	copy.version = USH_VERSION;
	copy.size = sizeof(copy);
	copy.cookie = slot;
	c.asked[slot] = copy;
	c.wanted_hold[slot] = wanted_hold;
	memcpy(c.packets[slot], &copy, sizeof(copy));
	c.asks++;
	return (struct ush_packet){.data = c.packets[slot],
		.size = copy.size,
		.capacity = USH_PAYLOAD_BYTES_MAX,
		.flags = USH_PACKET_CONTROL};
}

static struct ush_packet ask_reserve(uint32_t user)
{
	struct ush_request request = harness_reserve(EVENT, c.run << 32 | (user + 1),
		++c.next_id[user], (uint16_t)ush_random_below(&c.random, ROWS),
		(1 + ush_random_below(&c.random, 3)) << ush_random_below(&c.random, SEATS - 2));

	request.hold_ms = 600000;
	return packet_of(&request, 0);
}

/* Ends a hold of this run; the line of the newest takes its place. */
static struct ush_packet ask_end(void)
{
	uint32_t index = (uint32_t)ush_random_below(&c.random, c.held_count);
	struct held held = c.held[index];
	uint32_t user = (uint32_t)held.request.user - 1;
	struct ush_request request = {
		.op = USH_OP_CONFIRM, .event = EVENT, .user = held.request.user, .hold = held.hold};

	c.held[index] = c.held[--c.held_count];
	if (ush_random_below(&c.random, 5) != 0 && c.next_id[user] < REQUESTS_PER_USER) {
		request.op = USH_OP_RELEASE;
		request.request_id = ++c.next_id[user];
	}
	tell(&request, NULL);
	return packet_of(&request, 0);
}

/* ret: a request, or one of size 0 when this draw found none. */
static struct ush_packet ask_something(void)
{
	const struct ush_packet none = {.size = 0};
	uint64_t draw = ush_random_below(&c.random, 100);
	uint32_t user = (uint32_t)ush_random_below(&c.random, USERS);
	const struct entry *old;

	if (draw < 40 && c.held_count > 100)
		return ask_end();
	if (draw < 95 || c.old_count == 0)
		return c.next_id[user] < REQUESTS_PER_USER ? ask_reserve(user) : none;
	old = &c.old[ush_random_below(&c.random, c.old_count)];
	if (old->request.op != USH_OP_RESERVE)
		return none;
	return packet_of(&old->request, old->reply.hold);
}

static void on_reply(const struct ush_reply *reply)
{
	uint32_t slot = (uint32_t)reply->cookie;
	const struct ush_request *request = &c.asked[slot];

	c.free[c.free_count++] = slot;
	if (c.wanted_hold[slot] != 0) {
		if (reply->status != USH_STATUS_OK || reply->hold != c.wanted_hold[slot])
			broken("an accepted request asked again: status, hold", reply->status,
				reply->hold);
		return;
	}
	if (reply->status != USH_STATUS_OK || request->op == USH_OP_EVENT_LOAD ||
		request->op == USH_OP_EVENT_STATUS)
		return;
	tell(request, reply);
	if (request->op == USH_OP_RESERVE && c.held_count < sizeof(c.held) / sizeof(c.held[0]))
		c.held[c.held_count++] = (struct held){.request = *request, .hold = reply->hold};
}

static uint32_t turn(struct ush_packet *packets, uint32_t count)
{
	uint32_t work;

	tell_all();
	c.h.now_ns = ush_max64(c.h.now_ns, now_ns());
	harness_turn(&c.h, 0, packets, count);
	for (uint32_t i = 0; i < c.h.reply_count; i++)
		on_reply(&c.h.replies[i]);
	work = c.h.reply_count + count;
	tell_all();
	return work + ush_journal_step(c.journal, c.h.now_ns);
}

static void wait_all(void)
{
	while (c.free_count != OUTSTANDING_MAX) {
		turn(NULL, 0);
		ush_journal_housekeep(c.journal);
	}
}

static void load_event(void)
{
	struct ush_request load = {.op = USH_OP_EVENT_LOAD, .event = EVENT};
	struct ush_request sale = {
		.op = USH_OP_EVENT_STATUS, .event = EVENT, .arg = USH_EVENT_STATUS_ON_SALE};
	struct ush_event_view view;
	struct ush_event *event;
	struct ush_message message;
	struct ush_packet packet;

	if (!ush_engine_event_view(c.h.engine, EVENT, &view)) {
		USH_ASSERT(ush_engine_event_build(c.h.engine, EVENT, c.image, c.image_bytes, &event,
				   &message) == 0);
		packet = packet_of(&load, 0);
		packet.attachment = event;
		packet.flags |= USH_PACKET_ATTACHED;
		turn(&packet, 1);
		wait_all();
	}
	packet = packet_of(&sale, 0);
	turn(&packet, 1);
	wait_all();
}

static void *keeper_main(void *argument)
{
	const struct timespec pause = {.tv_nsec = 500000};

	while (!atomic_load(&keeper_stop)) {
		if (!ush_journal_housekeep(c.journal))
			nanosleep(&pause, NULL);
	}
	return argument;
}

static void serve(bool keeper)
{
	struct ush_packet packets[BURST];
	uint64_t begun = now_ns();

	c.asks = 0;
	while (!atomic_load_explicit(&stop_asked, memory_order_relaxed)) {
		uint64_t due = (now_ns() - begun) / NS_PER_REQUEST;
		uint32_t count = 0, room = ush_loop_room(ush_engine_loop(c.h.engine, 0));

		while (count < BURST && count < room && c.asks < due && c.free_count != 0) {
			struct ush_packet packet = ask_something();
			if (packet.size != 0)
				packets[count++] = packet;
			else if (ush_random_below(&c.random, 64) == 0)
				/* No client may have anything left to ask. */
				break;
		}
		turn(packets, count);
		if (!keeper)
			ush_journal_housekeep(c.journal);
	}
}

static void on_term(int number)
{
	(void)number;
	atomic_store(&stop_asked, true);
}

static int run(const char *directory, const char *number, const char *acks)
{
	struct ush_engine_resume resume;
	struct ush_message message;
	pthread_t keeper;
	bool has_keeper;

	c.run = strtoull(number, NULL, 10);
	has_keeper = c.run % 2 == 0;
	ush_random_init(&c.random, c.run);
	signal(SIGTERM, on_term);
	for (uint32_t i = 0; i < OUTSTANDING_MAX; i++)
		c.free[c.free_count++] = i;
	c.old = load_entries(acks, &c.old_count);
	if (recover(directory, false, &resume, &message) != 0 ||
		ush_journal_start(c.journal, ush_engine_log(c.h.engine), now_ns(), &message) != 0) {
		fprintf(stderr, "crash_child: %s\n", message.text);
		return 1;
	}
	load_event();
	if (has_keeper && pthread_create(&keeper, NULL, keeper_main, NULL) != 0)
		return 1;
	serve(has_keeper);
	wait_all();
	if (!ush_journal_finish(c.journal, now_ns()))
		return 1;
	atomic_store(&keeper_stop, true);
	if (has_keeper)
		pthread_join(keeper, NULL);
	ush_journal_close(c.journal);
	ush_disk_uring_close(&c.disk);
	return 0;
}

/* ---- looking up ---- */

/* Entries about the same hold stand together, in the order of the file. */
static const struct entry *entries_base;

static uint64_t entry_hold(const struct entry *entry)
{
	return entry->request.op == USH_OP_RESERVE ? entry->reply.hold : entry->request.hold;
}

static int by_hold(const void *a, const void *b)
{
	const struct entry *left = &entries_base[*(const uint32_t *)a];
	const struct entry *right = &entries_base[*(const uint32_t *)b];
	uint64_t x = entry_hold(left), y = entry_hold(right);

	if (x != y)
		return x < y ? -1 : 1;
	return left < right ? -1 : left > right;
}

/* What the client knows of a hold, against what the engine says. */
static void check_hold(const struct entry *entries, const uint32_t *order, size_t count)
{
	uint64_t hold = entry_hold(&entries[order[0]]);
	uint32_t state = ush_engine_hold_state(c.h.engine, hold);
	bool granted = false, released = false, sold = false, asked = false;

	for (size_t i = 0; i < count; i++) {
		const struct entry *entry = &entries[order[i]];
		bool ok = entry->reply.status == USH_STATUS_OK;
		granted |= ok && entry->request.op == USH_OP_RESERVE;
		released |= ok && entry->request.op == USH_OP_RELEASE;
		sold |= ok && entry->request.op == USH_OP_CONFIRM;
		asked |= entry->reply.status == INTENT;
		if (ok && entry->reply.sequence >= c.report.end_sequence)
			broken("an acknowledged record is not there: sequence, end",
				entry->reply.sequence, c.report.end_sequence);
	}
	if (sold && (released || state != USH_HOLD_STATE_SOLD))
		broken("an acknowledged sale is not sold: hold, state", hold, state);
	if (released && (state == USH_HOLD_STATE_HELD || state == USH_HOLD_STATE_SOLD))
		broken("an acknowledged release is still held: hold, state", hold, state);
	if (granted && !asked && state != USH_HOLD_STATE_HELD)
		broken("an acknowledged hold is not held: hold, state", hold, state);
}

static int check(const char *directory, const char *acks)
{
	struct ush_engine_resume resume;
	struct ush_engine_audit audit = {0};
	struct ush_message message;
	uint64_t begun = now_ns();
	size_t count;
	uint32_t *order;

	if (recover(directory, true, &resume, &message) != 0 ||
		ush_engine_audit(c.h.engine, &audit, &message) != 0) {
		fprintf(stderr, "crash_child: %s\n", message.text);
		return 5;
	}
	if (audit.double_sold != 0)
		broken("seats in two holds", audit.double_sold, 0);
	begun = now_ns() - begun;
	entries_base = load_entries(acks, &count);
	order = malloc((count + 1) * sizeof(*order));
	USH_ASSERT(order != NULL);
	for (size_t i = 0; i < count; i++)
		order[i] = (uint32_t)i;
	if (count != 0)
		qsort(order, count, sizeof(*order), by_hold);
	for (size_t from = 0, to; from < count; from = to) {
		uint64_t hold = entry_hold(&entries_base[order[from]]);
		for (to = from + 1; to < count && entry_hold(&entries_base[order[to]]) == hold;)
			to++;
		check_hold(entries_base, order + from, to - from);
	}
	printf("{\"records\": %" PRIu64 ", \"torn_blocks\": %" PRIu64
	       ", \"epochs\": %u, \"clean\": "
	       "%s, \"acknowledged\": %zu, \"held\": %" PRIu64 ", \"sold\": %" PRIu64
	       ", \"replay_us\": %" PRIu64 "}\n",
		c.report.records, c.report.torn_blocks, c.report.epochs,
		c.report.clean ? "true" : "false", count, audit.held_holds, audit.sold_holds,
		begun / 1000);
	free(order);
	ush_journal_close(c.journal);
	ush_disk_uring_close(&c.disk);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 5 && strcmp(argv[1], "run") == 0)
		return run(argv[2], argv[3], argv[4]);
	if (argc == 4 && strcmp(argv[1], "check") == 0)
		return check(argv[2], argv[3]);
	fprintf(stderr, "usage: crash_child run DIRECTORY RUN ACKS | check DIRECTORY ACKS\n");
	return 2;
}
