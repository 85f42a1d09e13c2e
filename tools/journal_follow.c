/* SPDX-License-Identifier: Apache-2.0 */
/*
 * usher journal follow: every change as it becomes durable, one run of records a line.
 *
 * Looks every 10 ms while nothing comes; a block that no later header vouches for after 10 ms is
 * made durable by a sync. So a change is told within about 30 ms and the time of one sync.
 */
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "journal/follow.h"
#include "journal/position.h"
#include "tools/offline.h"
#include "tools/usher.h"

#define LOOK_NS 10000000l
#define SYNC_NS 10000000ull
#define KEEP_NS 1000000000ull

static const char usage[] =
	"usage: usher journal follow [--from SEQUENCE] [--until-end] [--count N] [--event N] [--json]\n"
	"                            [--archive DIR] [--name NAME] STATE\n"
	"\n"
	"Prints every change in the journal of usherd's state directory STATE in order, once, as soon\n"
	"as it is durable, across segments and restarts. Needs no running usherd, and changes nothing.\n"
	"Legs of one change are printed together.\n"
	"\n"
	"  --from SEQUENCE   start here: `next` of the last line that was taken\n"
	"  --until-end       stop at the end of what is durable now\n"
	"  --count N         stop after N lines\n"
	"  --event N         only changes of this event\n"
	"  --json            one JSON object a line\n"
	"  --archive DIR     read segments from this archive that the journal has no more\n"
	"  --name NAME       keep the position under this name in STATE: segments are kept for it until\n"
	"                    `usher journal forget NAME`; without --from, go on there\n"
	"  --help            this text\n"
	"\n"
	"Exit status: 0 stopped as asked; 1 the journal is damaged or not the one SEQUENCE is from; 2\n"
	"usage.\n"
	"\n"
	"Example: usher journal follow --json --from 64 /var/lib/usher\n";

static _Atomic int stopped;

static void on_signal(int number)
{
	(void)number;
	stopped = 1;
}

struct follower {
	struct ush_follow *follow;
	bool json;
	bool until_end;
	uint32_t event;
	uint64_t count;
	uint64_t printed;
	const char *archive;
	/* Whose position is kept, and where; NULL: nobody's. */
	const char *name;
	const struct ush_disk *disk;
	struct ush_follow_position kept;
	uint64_t kept_ns;
};

static void print_json(const struct follower *f, const struct ush_record *records, uint32_t count)
{
	const struct ush_record *r = &records[0];
	uint64_t seats = 0, amount = 0;

	for (uint32_t i = 0; i < count; i++) {
		seats += usher_record_has_seats(r->type) ? ush_popcount64(records[i].mask) : 0;
		amount += records[i].amount;
	}
	printf("{\"sequence\":%" PRIu64 ",\"next\":%" PRIu64 ",\"epoch\":%u,\"time_ns\":%" PRIu64
	       ",\"type\":\"%s\",\"event\":%u,\"user\":%" PRIu64 ",\"hold\":\"%016" PRIx64
	       "\",\"state\":%u,\"version\":%u,\"request_id\":%u,\"digest\":\"%08" PRIx32
	       "\",\"row\":%u,\"mask\":\"%016" PRIx64 "\",\"seats\":%" PRIu64 ",\"amount\":%" PRIu64
	       ",\"deadline_ns\":%" PRIu64 ",\"legs\":[",
		r->sequence, r->sequence + count, ush_follow_epoch(f->follow),
		ush_follow_time_ns(f->follow), usher_record_type(r->type), r->event, r->user,
		r->hold, r->state, r->version, r->request_id, r->digest, r->row, r->mask, seats,
		amount, r->deadline_ns);
	for (uint32_t i = 0; usher_record_has_seats(r->type) && i < count; i++)
		printf("%s{\"sequence\":%" PRIu64 ",\"row\":%u,\"mask\":\"%016" PRIx64
		       "\",\"seats\":%u,\"amount\":%u}",
			i == 0 ? "" : ",", records[i].sequence, records[i].row, records[i].mask,
			ush_popcount64(records[i].mask), records[i].amount);
	puts("]}");
}

static void print_text(const struct ush_record *records, uint32_t count)
{
	const struct ush_record *r = &records[0];

	printf("%12" PRIu64 " %-12s state %u event %u user %" PRIu64 " hold %016" PRIx64
	       " request %u version %u deadline %" PRIu64,
		r->sequence, usher_record_type(r->type), r->state, r->event, r->user, r->hold,
		r->request_id, r->version, r->deadline_ns);
	for (uint32_t i = 0; i < count; i++)
		printf(" row %u mask %016" PRIx64 " amount %u", records[i].row, records[i].mask,
			records[i].amount);
	putchar('\n');
}

static int each_run(void *context, const struct ush_record *records, uint32_t count,
	struct ush_message *message)
{
	struct follower *f = context;

	(void)message;
	if (f->event != 0 && records[0].event != f->event)
		return 0;
	if (f->json)
		print_json(f, records, count);
	else
		print_text(records, count);
	f->printed++;
	return f->printed == f->count;
}

static uint64_t monotonic_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* Once a second at most: what was printed is not needed any more. */
static int keep_position(struct follower *f, bool last, struct ush_message *message)
{
	struct ush_follow_position position;
	uint64_t now = monotonic_ns();
	struct timespec wall;

	ush_follow_position(f->follow, &position);
	if (position.sequence == f->kept.sequence || (!last && now - f->kept_ns < KEEP_NS))
		return 0;
	f->kept = position;
	f->kept_ns = now;
	clock_gettime(CLOCK_REALTIME, &wall);
	return ush_position_write(f->disk, f->name, &position,
		(uint64_t)wall.tv_sec * 1000000000 + (uint64_t)wall.tv_nsec, message);
}

/* Where this reader was, if it has a name and nobody says otherwise. */
static int find_position(
	const struct follower *f, struct ush_follow_config *config, struct ush_message *message)
{
	struct ush_reader reader;
	int error;

	if (f->name == NULL || config->from.sequence != 0)
		return 0;
	error = ush_position_read(f->disk, f->name, &reader, message);
	if (error == 0)
		config->from = reader.position;
	return error == -USH_ENOENT ? 0 : error;
}

static int run(struct follower *f, struct ush_message *message)
{
	const struct timespec pause = {.tv_nsec = LOOK_NS};

	while (f->printed < f->count && stopped == 0) {
		int error,
			blocks = ush_follow_step(f->follow, monotonic_ns(), each_run, f, message);

		/* A reader that went away ends this one. */
		if (fflush(stdout) != 0) {
			ush_message_set(message, "cannot write the output");
			return -USH_EIO;
		}
		if (blocks < 0)
			return blocks;
		if (f->name != NULL && (error = keep_position(f, false, message)) != 0)
			return error;
		if (blocks == 0 && f->until_end)
			return 0;
		if (blocks == 0)
			nanosleep(&pause, NULL);
	}
	return 0;
}

static bool parse(
	struct follower *f, struct ush_follow_config *config, int argc, char **argv, bool *help)
{
	static const struct option options[] = {{"json", no_argument, NULL, 'j'},
		{"from", required_argument, NULL, 'f'}, {"until-end", no_argument, NULL, 'u'},
		{"count", required_argument, NULL, 'n'}, {"event", required_argument, NULL, 'e'},
		{"name", required_argument, NULL, 'N'}, {"archive", required_argument, NULL, 'a'},
		{"help", no_argument, NULL, 'h'}, {0}};
	uint64_t number = 0;
	int option;

	f->count = UINT64_MAX;
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		*help = option == 'h';
		if (option == 'j')
			f->json = true;
		else if (option == 'u')
			f->until_end = true;
		else if (option == 'a')
			f->archive = optarg;
		else if (option == 'N')
			f->name = optarg;
		else if (option == '?' || option == 'h' || !usher_number(optarg, &number))
			return false;
		else if (option == 'f')
			config->from.sequence = number;
		else if (option == 'n')
			f->count = number;
		else
			f->event = (uint32_t)number;
	}
	return optind + 2 == argc && (f->name == NULL || ush_reader_name_is_good(f->name));
}

int journal_follow(int argc, char **argv)
{
	struct sigaction action = {.sa_handler = on_signal};
	struct follower f = {0};
	struct ush_follow_config config = {.sync_ns = SYNC_NS};
	struct ush_message message = {{0}};
	struct offline offline = {0};
	bool help = false;
	int error;

	if (!parse(&f, &config, argc, argv, &help)) {
		fputs(usage, help ? stdout : stderr);
		return help ? USHER_OK : USHER_USAGE;
	}
	if (f.until_end)
		config.sync_ns = 0;
	error = offline_open(&offline, argv[optind + 1], f.archive, &message);
	config.directory = offline.directory;
	f.disk = offline.archive != NULL ? &offline.live_disk : &offline.disk;
	if (error == 0)
		error = find_position(&f, &config, &message);
	if (error == 0)
		error = ush_follow_open(&f.follow, &config, &offline.disk, &message);
	if (f.name != NULL) {
		sigaction(SIGTERM, &action, NULL);
		sigaction(SIGINT, &action, NULL);
	}
	if (error == 0)
		error = run(&f, &message);
	if (error == 0 && f.name != NULL)
		error = keep_position(&f, true, &message);
	if (error != 0)
		fprintf(stderr, "usher journal: %s\n", message.text);
	if (f.follow != NULL)
		ush_follow_close(f.follow);
	offline_close(&offline);
	return error == 0 ? USHER_OK : USHER_FAILED;
}
