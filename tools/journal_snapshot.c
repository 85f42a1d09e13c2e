/* SPDX-License-Identifier: Apache-2.0 */
/*
 * usher journal snapshot: the state at the durable end of a journal, live or stopped, written down,
 * so that the next start reads only what comes after.
 *
 * It begins with the newest good snapshot, follows the journal from there to its durable end into
 * an engine of its own, audits that, and writes. usherd is not asked and does not wait.
 */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "journal/follow.h"
#include "journal/snapshot.h"
#include "tools/offline.h"
#include "tools/usher.h"

static const char usage[] =
	"usage: usher journal snapshot [--json] [--archive DIR] STATE\n"
	"\n"
	"Writes down the state at the durable end of the journal in usherd's state directory STATE, so\n"
	"that the next start and the next snapshot read only what comes after. May run beside a live\n"
	"usherd. Keeps the two newest snapshots.\n"
	"\n"
	"  --json        print one JSON object\n"
	"  --archive DIR read segments from this archive that the journal has no more\n"
	"  --help        this text\n"
	"\n"
	"Exit status: 0 there is a snapshot of the durable end; 1 there is none (the message says why);\n"
	"2 usage.\n"
	"\n"
	"Example: usher journal snapshot /var/lib/usher\n";

struct taker {
	struct offline offline;
	struct ush_follow *follow;
	struct ush_snapshot_point point;
	uint64_t records;
	uint64_t bytes;
	uint64_t took_ms;
	const char *archive;
};

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

/* Reads to the durable end. */
static int catch_up(struct taker *t, struct ush_message *message)
{
	const struct ush_snapshot_point *from = offline_point(&t->offline);
	struct ush_follow_config config = {.directory = t->offline.directory};
	struct ush_follow_position position;
	int blocks;

	if (from != NULL) {
		t->point = *from;
		config.from = (struct ush_follow_position){from->sequence, from->box, from->epoch};
	}
	blocks = ush_follow_open(&t->follow, &config, &t->offline.disk, message);
	if (blocks != 0)
		return blocks;
	ush_follow_watch(t->follow, each_block, t);
	do {
		blocks =
			ush_follow_step(t->follow, clock_ns(CLOCK_MONOTONIC), each_run, t, message);
	} while (blocks > 0);
	ush_follow_position(t->follow, &position);
	t->point.box = position.box;
	t->point.sequence = position.sequence;
	return blocks;
}

static int take(struct taker *t, const char *state, struct ush_message *message)
{
	uint64_t begun = clock_ns(CLOCK_MONOTONIC);
	const struct ush_snapshot_point *from;
	struct ush_engine_audit audit;
	int error = offline_open(&t->offline, state, t->archive, message);

	if (error == 0)
		error = offline_engine(&t->offline, false, message);
	if (error == 0)
		error = catch_up(t, message);
	if (error == 0)
		error = ush_engine_audit(t->offline.engine, &audit, message);
	if (error != 0)
		return error;
	from = offline_point(&t->offline);
	if (t->point.sequence <= USH_LOG_SEQUENCE_FIRST) {
		ush_message_set(message, "there is nothing in the journal yet");
		return -USH_ENOENT;
	}
	if (from == NULL || from->sequence != t->point.sequence) {
		struct ush_snapshot_state engine = offline_state(t->offline.engine);

		error = ush_snapshot_write(
			&t->offline.disk, &t->point, &engine, &t->bytes, message);
	}
	t->took_ms = (clock_ns(CLOCK_MONOTONIC) - begun) / 1000000;
	return error;
}

int journal_snapshot(int argc, char **argv)
{
	static const struct option options[] = {{"json", no_argument, NULL, 'j'},
		{"archive", required_argument, NULL, 'a'}, {"help", no_argument, NULL, 'h'}, {0}};
	struct ush_message message = {{0}};
	struct taker t = {0};
	bool json = false;
	int error, option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 'j') {
			json = true;
		} else if (option == 'a') {
			t.archive = optarg;
		} else {
			fputs(usage, option == 'h' ? stdout : stderr);
			return option == 'h' ? USHER_OK : USHER_USAGE;
		}
	}
	if (optind + 2 != argc) {
		fputs(usage, stderr);
		return USHER_USAGE;
	}
	error = take(&t, argv[optind + 1], &message);
	if (error != 0)
		fprintf(stderr, "usher journal: %s\n", message.text);
	else if (json)
		printf("{\"sequence\":%" PRIu64 ",\"records\":%" PRIu64 ",\"bytes\":%" PRIu64
		       ",\"ms\":%" PRIu64 ",\"written\":%s}\n",
			t.point.sequence, t.records, t.bytes, t.took_ms,
			t.bytes != 0 ? "true" : "false");
	else if (t.bytes == 0)
		printf("nothing new since the snapshot at sequence %" PRIu64 "\n",
			t.point.sequence);
	else
		printf("snapshot at sequence %" PRIu64 ": %" PRIu64 " records read, %" PRIu64
		       " bytes, %" PRIu64 " ms\n",
			t.point.sequence, t.records, t.bytes, t.took_ms);
	if (t.follow != NULL)
		ush_follow_close(t.follow);
	offline_close(&t.offline);
	return error == 0 ? USHER_OK : USHER_FAILED;
}
