/* SPDX-License-Identifier: Apache-2.0 */
/*
 * usher journal snapshot: the state at the durable end of a journal, live or stopped, written down,
 * so that the next start reads only what comes after.
 *
 * It begins with the newest good snapshot, follows the journal from there to its durable end into
 * an engine of its own, audits that, and writes. usherd is not asked and does not wait. With
 * --every it stays, and each further snapshot costs what was written since, the audit and the file.
 */
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "journal/follow.h"
#include "journal/snapshot.h"
#include "tools/offline.h"
#include "tools/usher.h"

#define LOOK_NS 100000000l
#define SYNC_NS 1000000000ull
/* A day, in seconds. */
#define EVERY_MAX 86400u
#define KEEP_MAX 32u

static const char usage[] =
	"usage: usher journal snapshot [--every SECONDS [--records N]] [--keep K] [--json]\n"
	"                              [--archive DIR] STATE\n"
	"\n"
	"Writes down the state at the durable end of the journal in usherd's state directory STATE, so\n"
	"that the next start and the next snapshot read only what comes after. May run beside a live\n"
	"usherd. Keeps the newest snapshots.\n"
	"\n"
	"  --every SECONDS  stay, keep the state in memory, and write it down every so often if there\n"
	"                   is anything new, 1 to 86400\n"
	"  --records N      and whenever N records have been read since\n"
	"  --keep K         snapshots kept, 2 to 32, 2 if not given\n"
	"  --json           print one JSON object a snapshot\n"
	"  --archive DIR    read segments from this archive that the journal has no more\n"
	"  --help           this text\n"
	"\n"
	"Exit status: 0 there is a snapshot of the durable end, or it was told to stop; 1 there is none\n"
	"(the message says why); 2 usage.\n"
	"\n"
	"Example: usher journal snapshot --every 600 --records 5000000 /var/lib/usher\n";

struct taker {
	struct offline offline;
	struct ush_follow *follow;
	struct ush_snapshot_point point;
	/* Since the last snapshot. */
	uint64_t records;
	uint64_t bytes;
	uint64_t took_ms;
	/* Of the last snapshot that stands. */
	uint64_t written;
	const char *state;
	const char *archive;
	uint64_t every_ns;
	uint64_t every_records;
	uint64_t keep;
	bool json;
};

static _Atomic int stopped;

static void on_signal(int number)
{
	(void)number;
	stopped = 1;
}

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static void each_block(void *context, const char *segment, uint64_t block,
	const struct ush_block_header *header, const void *data)
{
	struct taker *t = context;

	(void)segment;
	(void)block;
	t->point.time_ns = ush_max64(t->point.time_ns, header->time_ns);
	t->point.epoch = header->epoch;
	ush_journal_chain_next(t->point.chain, data);
}

static int each_run(void *context, const struct ush_record *records, uint32_t count,
	struct ush_message *message)
{
	struct taker *t = context;

	t->point.last_type = records[0].type;
	t->records += count;
	return ush_engine_apply(t->offline.engine, records, count, message);
}

/* Where the snapshot that was loaded ends, or at the beginning. */
static int begin(struct taker *t, struct ush_message *message)
{
	struct ush_follow_config config = {.sync_ns = t->every_ns == 0 ? 0 : SYNC_NS};
	const struct ush_snapshot_point *from;
	int error = offline_open(&t->offline, t->state, t->archive, message);

	if (error == 0)
		error = offline_engine(&t->offline, false, message);
	if (error != 0)
		return error;
	from = offline_point(&t->offline);
	config.directory = t->offline.directory;
	t->point = (struct ush_snapshot_point){0};
	if (from != NULL) {
		t->point = *from;
		config.from = (struct ush_follow_position){from->sequence, from->box, from->epoch};
	}
	t->written = from == NULL ? 0 : from->sequence;
	t->records = 0;
	error = ush_follow_open(&t->follow, &config, &t->offline.disk, message);
	if (error == 0)
		ush_follow_watch(t->follow, each_block, t);
	return error;
}

static void end(struct taker *t)
{
	if (t->follow != NULL)
		ush_follow_close(t->follow);
	t->follow = NULL;
	offline_close(&t->offline);
}

/* Reads to the durable end. */
static int catch_up(struct taker *t, struct ush_message *message)
{
	struct ush_follow_position position;
	int blocks;

	do {
		blocks =
			ush_follow_step(t->follow, clock_ns(CLOCK_MONOTONIC), each_run, t, message);
	} while (blocks > 0 && stopped == 0);
	ush_follow_position(t->follow, &position);
	t->point.box = position.box;
	t->point.sequence = position.sequence;
	return blocks < 0 ? blocks : 0;
}

/* Audits the state and writes it down, if there is anything new. The follower stands at the
 * beginning of a block. */
static int write_down(struct taker *t, struct ush_message *message)
{
	const struct ush_snapshot_state engine = offline_state(t->offline.engine);
	struct ush_engine_audit audit;
	int error;

	t->bytes = 0;
	if (t->point.sequence == t->written)
		return 0;
	if (t->point.sequence <= USH_LOG_SEQUENCE_FIRST) {
		ush_message_set(message, "there is nothing in the journal yet");
		return -USH_ENOENT;
	}
	error = ush_engine_audit(t->offline.engine, &audit, message);
	if (error == 0)
		error = ush_snapshot_write(&t->offline.disk, &t->point, &engine, (uint32_t)t->keep,
			&t->bytes, message);
	if (error == 0)
		t->written = t->point.sequence;
	return error;
}

static void tell(const struct taker *t)
{
	if (t->json)
		printf("{\"sequence\":%" PRIu64 ",\"records\":%" PRIu64 ",\"bytes\":%" PRIu64
		       ",\"ms\":%" PRIu64 ",\"written\":%s}\n",
			t->point.sequence, t->records, t->bytes, t->took_ms,
			t->bytes != 0 ? "true" : "false");
	else if (t->bytes == 0)
		printf("nothing new since the snapshot at sequence %" PRIu64 "\n",
			t->point.sequence);
	else
		printf("snapshot at sequence %" PRIu64 ": %" PRIu64 " records read, %" PRIu64
		       " bytes, %" PRIu64 " ms\n",
			t->point.sequence, t->records, t->bytes, t->took_ms);
	fflush(stdout);
}

/* ret: 0 there is a snapshot of the durable end. */
static int take(struct taker *t, struct ush_message *message)
{
	uint64_t begun = clock_ns(CLOCK_MONOTONIC);
	int error = begin(t, message);

	if (error == 0)
		error = catch_up(t, message);
	if (error == 0)
		error = write_down(t, message);
	t->took_ms = (clock_ns(CLOCK_MONOTONIC) - begun) / 1000000;
	if (error == 0)
		tell(t);
	end(t);
	return error;
}

/* One look. A snapshot that cannot be written is tried again when the next is due: the state in
 * memory stands. */
static int look(struct taker *t, uint64_t *due_ns, struct ush_message *message)
{
	uint64_t begun;
	int error = catch_up(t, message);

	begun = clock_ns(CLOCK_MONOTONIC);
	if (error != 0 || (begun < *due_ns && t->records < t->every_records))
		return error;
	*due_ns = begun + t->every_ns;
	if (t->point.sequence == t->written || t->point.sequence <= USH_LOG_SEQUENCE_FIRST)
		return 0;
	error = write_down(t, message);
	t->took_ms = (clock_ns(CLOCK_MONOTONIC) - begun) / 1000000;
	if (error == 0)
		tell(t);
	else if (error != -USH_ECORRUPT)
		fprintf(stderr, "usher journal: %s\n", message->text);
	t->records = 0;
	return error == -USH_ECORRUPT ? error : 0;
}

/* Stays until a signal. When the state has outgrown the engine, it begins anew from its last
 * snapshot with a larger one. */
static int stay(struct taker *t, struct ush_message *message)
{
	const struct timespec pause = {.tv_nsec = LOOK_NS};
	uint64_t due_ns = clock_ns(CLOCK_MONOTONIC) + t->every_ns, grown = UINT64_MAX;
	int error = begin(t, message);

	while (error == 0 && stopped == 0) {
		error = look(t, &due_ns, message);
		if (error == -USH_EFULL && grown != t->written) {
			grown = t->written;
			end(t);
			error = begin(t, message);
		}
		if (error == 0)
			nanosleep(&pause, NULL);
	}
	end(t);
	return error;
}

/* ret: an exit status, or -1 to go on. */
static int parse(struct taker *t, int argc, char **argv)
{
	static const struct option options[] = {{"every", required_argument, NULL, 'e'},
		{"records", required_argument, NULL, 'r'}, {"keep", required_argument, NULL, 'k'},
		{"json", no_argument, NULL, 'j'}, {"archive", required_argument, NULL, 'a'},
		{"help", no_argument, NULL, 'h'}, {0}};
	uint64_t every = 0;
	bool wrong = false;
	int option;

	t->keep = 2;
	t->every_records = UINT64_MAX;
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 'h') {
			fputs(usage, stdout);
			return USHER_OK;
		}
		t->json |= option == 'j';
		wrong |= option == '?';
		if (option == 'a')
			t->archive = optarg;
		if (option == 'e')
			wrong |= !usher_number(optarg, &every) || every < 1 || every > EVERY_MAX;
		if (option == 'r')
			wrong |= !usher_number(optarg, &t->every_records) || t->every_records < 1;
		if (option == 'k')
			wrong |= !usher_number(optarg, &t->keep) || t->keep < 2 ||
				 t->keep > KEEP_MAX;
	}
	t->every_ns = every * 1000000000;
	if (wrong || optind + 2 != argc || (t->every_records != UINT64_MAX && every == 0)) {
		fputs(usage, stderr);
		return USHER_USAGE;
	}
	t->state = argv[optind + 1];
	return -1;
}

int journal_snapshot(int argc, char **argv)
{
	struct sigaction action = {.sa_handler = on_signal};
	struct ush_message message = {{0}};
	struct taker t = {0};
	int status = parse(&t, argc, argv), error;

	if (status >= 0)
		return status;
	if (t.every_ns != 0) {
		sigaction(SIGTERM, &action, NULL);
		sigaction(SIGINT, &action, NULL);
	}
	error = t.every_ns != 0 ? stay(&t, &message) : take(&t, &message);
	if (error != 0)
		fprintf(stderr, "usher journal: %s\n", message.text);
	return error == 0 ? USHER_OK : USHER_FAILED;
}
