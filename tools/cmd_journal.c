/* SPDX-License-Identifier: Apache-2.0 */
/*
 * usher journal cat | stat: what stands in a journal, record by record or in sums. The other
 * subcommands have files of their own.
 */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "journal/recycle.h"
#include "tools/offline.h"
#include "tools/usher.h"

static const char usage[] =
	"usage: usher journal cat  [--json] [--from SEQUENCE] [--count N] [--event N]\n"
	"                          [--archive DIR] STATE\n"
	"       usher journal stat [--json] [--segments] [--archive DIR] STATE\n"
	"       usher journal follow | snapshot | archive | restore | forget --help\n"
	"\n"
	"Reads the journal in usherd's state directory STATE without changing it.\n"
	"\n"
	"  cat               every record in order, one a line\n"
	"  stat              epochs, segments, blocks, records by type\n"
	"  --json            one JSON object a line (cat), or one in all (stat)\n"
	"  --from SEQUENCE   cat: start at this sequence number\n"
	"  --count N         cat: stop after N records\n"
	"  --event N         cat: only records of this event\n"
	"  --segments        stat: each segment, and who still needs it\n"
	"  --archive DIR     read segments from this archive that the journal has no more\n"
	"  --help            this text\n"
	"\n"
	"Exit status: 0 the journal was read to its end; 1 it is damaged (the message says where and\n"
	"how to mend it); 2 usage.\n";

/* How often a journal is read whose segments are recycled meanwhile. */
#define TRIES_MAX 10

struct reader {
	struct offline offline;
	struct ush_journal_report report;
	struct ush_message message;
	bool cat;
	bool json;
	uint64_t from;
	uint64_t count;
	uint32_t event;
	uint64_t printed;
	uint64_t by_type[USH_RECORD_TYPE_COUNT];
	uint64_t first_sequence;
	uint64_t last_sequence;
	const char *archive;
	bool segments;
};

const char *usher_record_type(uint8_t type)
{
	switch (type) {
#define X(name, value) \
	case value: \
		return #name;
		USH_RECORD_TYPE_EACH(X)
#undef X
	default:
		return "UNKNOWN";
	}
}

static void print_record(const struct reader *reader, const struct ush_record *r)
{
	if (reader->json)
		printf("{\"sequence\":%" PRIu64
		       ",\"type\":\"%s\",\"run_index\":%u,\"run_count\":%u,"
		       "\"state\":%u,\"event\":%u,\"user\":%" PRIu64 ",\"hold\":\"%016" PRIx64
		       "\",\"mask\":\"%016" PRIx64 "\",\"request_id\":%u,\"digest\":\"%08" PRIx32
		       "\",\"row\":%u,\"version\":%u,\"amount\":%u,\"deadline_ns\":%" PRIu64 "}\n",
			r->sequence, usher_record_type(r->type), r->run_index, r->run_count,
			r->state, r->event, r->user, r->hold, r->mask, r->request_id, r->digest,
			r->row, r->version, r->amount, r->deadline_ns);
	else
		printf("%12" PRIu64 " %-12s %u/%u state %u event %u user %" PRIu64
		       " hold %016" PRIx64 " row %u mask %016" PRIx64
		       " request %u version %u amount %u deadline %" PRIu64 "\n",
			r->sequence, usher_record_type(r->type), r->run_index + 1u, r->run_count,
			r->state, r->event, r->user, r->hold, r->row, r->mask, r->request_id,
			r->version, r->amount, r->deadline_ns);
}

static int read_run(void *context, const struct ush_record *records, uint32_t count,
	struct ush_message *message)
{
	struct reader *reader = context;

	(void)message;
	for (uint32_t i = 0; i < count; i++) {
		const struct ush_record *r = &records[i];
		if (reader->first_sequence == 0)
			reader->first_sequence = r->sequence;
		reader->last_sequence = r->sequence;
		if (r->type < USH_RECORD_TYPE_COUNT)
			reader->by_type[r->type]++;
		if (!reader->cat || r->sequence < reader->from ||
			(reader->event != 0 && r->event != reader->event) ||
			reader->printed >= reader->count)
			continue;
		print_record(reader, r);
		reader->printed++;
	}
	return 0;
}

/* Names of those who need a segment. */
static void print_needs(const struct ush_segment_view *view, const struct ush_need *needs,
	uint32_t count, bool open, bool json)
{
	uint32_t told = 0;

	if (open)
		printf(json ? "\"open\"" : " open");
	told += open;
	for (uint32_t i = 0; i < count; i++) {
		if (!ush_need_segment(&needs[i], view))
			continue;
		printf(json ? "%s\"%s\"" : "%s %s", told == 0 ? "" : ",", needs[i].who);
		told++;
	}
	if (told == 0 && !json)
		printf(" nobody");
}

static int print_segments(const struct reader *reader, struct ush_message *message)
{
	struct ush_need needs[USH_NEEDS_MAX];
	struct ush_segment_view view, after;
	uint32_t count;
	int error = ush_needs(reader->offline.journal, false, needs, &count, message);

	if (error != 0)
		return error;
	if (reader->json)
		printf("\"needed_by\":[");
	for (uint32_t i = 0; i < count; i++)
		printf(reader->json ? "%s{\"who\":\"%s\",\"sequence\":%" PRIu64
				      ",\"time_ns\":%" PRIu64 "}"
				    : "%s%-24s needs from %14" PRIu64 " on, as of %" PRIu64 "\n",
			reader->json && i != 0 ? "," : "", needs[i].who, needs[i].sequence,
			needs[i].time_ns);
	if (reader->json)
		printf("],\"segment_list\":[");
	for (uint32_t i = 0; ush_segment_view(reader->offline.journal, i, &view); i++) {
		bool open = !ush_segment_view(reader->offline.journal, i + 1, &after);

		printf(reader->json ? "%s{\"name\":\"%s\",\"epoch\":%u,\"first_sequence\":%" PRIu64
				      ",\"end_sequence\":%" PRIu64 ",\"needed_by\":["
				    : "%s%s epoch %u, sequences %" PRIu64 " to %" PRIu64
				      ", needed by",
			reader->json && i != 0 ? "," : "", view.name, view.epoch,
			view.first * USH_BLOCK_SLOTS,
			view.end * USH_BLOCK_SLOTS - 1 + reader->json);
		print_needs(&view, needs, count, open, reader->json);
		printf(reader->json ? "]}" : "\n");
	}
	if (reader->json)
		printf("],");
	return 0;
}

static void print_stat(const struct reader *reader)
{
	const struct ush_journal_report *report = &reader->report;
	const char *format = reader->json ? "\"%s\":%" PRIu64 "," : "%-16s %14" PRIu64 "\n";

	if (reader->json)
		printf("\"box\":\"%016" PRIx64 "\",", ush_journal_box(reader->offline.journal));
	else
		printf("%-16s %016" PRIx64 "\n", "box", ush_journal_box(reader->offline.journal));
	printf(format, "epoch", (uint64_t)ush_journal_epoch(reader->offline.journal));
	printf(format, "epochs", (uint64_t)report->epochs);
	printf(format, "segments", report->segments);
	printf(format, "blocks", report->blocks);
	printf(format, "bytes", report->blocks * USH_BLOCK_BYTES);
	printf(format, "records", report->records);
	printf(format, "first_sequence", reader->first_sequence);
	printf(format, "last_sequence", reader->last_sequence);
	printf(format, "end_sequence", report->end_sequence);
	printf(format, "torn_blocks", report->torn_blocks);
	printf(format, "time_ns", report->time_ns);
	for (uint32_t type = 2; type < USH_RECORD_TYPE_COUNT; type++)
		printf(format, usher_record_type((uint8_t)type), reader->by_type[type]);
	if (reader->json)
		printf("\"clean_shutdown\":%s", report->clean ? "true" : "false");
	else
		printf("%-16s %14s\n", "clean_shutdown", report->clean ? "yes" : "no");
}

bool usher_record_has_seats(uint8_t type)
{
	return type == USH_RECORD_TYPE_HOLD || type == USH_RECORD_TYPE_BLOCK ||
	       type == USH_RECORD_TYPE_UNBLOCK || type == USH_RECORD_TYPE_KEEP ||
	       type == USH_RECORD_TYPE_SWAP || type == USH_RECORD_TYPE_LATE ||
	       type == USH_RECORD_TYPE_OFFER || type == USH_RECORD_TYPE_WAIT_OPEN;
}

bool usher_number(const char *text, uint64_t *value)
{
	char *end;

	*value = strtoull(text, &end, 0);
	return *text != '\0' && *text != '-' && *end == '\0';
}

/* ret: false on a bad command line; *help: it was asked for. */
static bool parse(struct reader *reader, int argc, char **argv, bool *help)
{
	static const struct option options[] = {{"json", no_argument, NULL, 'j'},
		{"from", required_argument, NULL, 'f'}, {"count", required_argument, NULL, 'n'},
		{"event", required_argument, NULL, 'e'}, {"archive", required_argument, NULL, 'a'},
		{"segments", no_argument, NULL, 's'}, {"help", no_argument, NULL, 'h'}, {0}};
	uint64_t number = 0;
	int option;

	reader->count = UINT64_MAX;
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		*help = option == 'h';
		if (option == 'j')
			reader->json = true;
		else if (option == 's')
			reader->segments = true;
		else if (option == 'a')
			reader->archive = optarg;
		else if (option == '?' || option == 'h' || !usher_number(optarg, &number))
			return false;
		else if (option == 'f')
			reader->from = number;
		else if (option == 'n')
			reader->count = number;
		else
			reader->event = (uint32_t)number;
	}
	if (optind + 2 != argc)
		return false;
	reader->cat = strcmp(argv[optind], "cat") == 0;
	return reader->cat || strcmp(argv[optind], "stat") == 0;
}

static int tell_stat(struct reader *reader, int error)
{
	if (reader->json)
		putchar('{');
	if (reader->segments && error == 0)
		error = print_segments(reader, &reader->message);
	print_stat(reader);
	if (reader->json)
		puts("}");
	return error;
}

/* Reads the journal to its end. */
static int read_all(struct reader *reader, const char *state)
{
	struct ush_snapshot_point point;
	int error = offline_open(&reader->offline, state, reader->archive, &reader->message);
	bool begins = error == 0 && ush_journal_begins(reader->offline.journal, &point);

	/* What was recycled is left out. */
	if (error == 0)
		error = ush_journal_recover_from(reader->offline.journal, begins ? &point : NULL,
			read_run, reader, &reader->report, &reader->message);
	return error;
}

/* The same, again if nothing was printed yet. A segment that usherd recycled meanwhile is no longer
 * listed at the next try. */
static int read_all_again(struct reader *reader, const char *state)
{
	const struct reader fresh = *reader;
	int error = read_all(reader, state);

	for (int tries = 1; error == -USH_EBUSY && !reader->cat && tries < TRIES_MAX; tries++) {
		offline_close(&reader->offline);
		*reader = fresh;
		error = read_all(reader, state);
	}
	return error;
}

int cmd_journal(int argc, char **argv)
{
	struct reader reader = {0};
	bool help = false;
	int error;

	if (argc > 1 && strcmp(argv[1], "follow") == 0)
		return journal_follow(argc, argv);
	if (argc > 1 && strcmp(argv[1], "snapshot") == 0)
		return journal_snapshot(argc, argv);
	if (argc > 1 && strcmp(argv[1], "archive") == 0)
		return journal_archive(argc, argv);
	if (argc > 1 && strcmp(argv[1], "restore") == 0)
		return journal_restore(argc, argv);
	if (argc > 1 && strcmp(argv[1], "forget") == 0)
		return journal_forget(argc, argv);
	if (!parse(&reader, argc, argv, &help)) {
		fputs(usage, help ? stdout : stderr);
		return help ? USHER_OK : USHER_USAGE;
	}
	error = read_all_again(&reader, argv[optind + 1]);
	if (reader.offline.journal != NULL && !reader.cat)
		error = tell_stat(&reader, error);
	if (error != 0)
		fprintf(stderr, "usher journal: %s\n", reader.message.text);
	offline_close(&reader.offline);
	return error == 0 ? USHER_OK : USHER_FAILED;
}
