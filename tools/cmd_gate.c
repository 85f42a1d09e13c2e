/* SPDX-License-Identifier: Apache-2.0 */
/*
 * usher gate: checks tickets at a door without a network, and compares the logs of several doors.
 */
#include <getopt.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "catalogue/venue.h"
#include "tickets/gate.h"
#include "tools/usher.h"

#define SECOND_US 1000000ll
#define TIME_CHARS 32u
/* Longest line that is looked at; a code has 134 characters. */
#define SCAN_BYTES_MAX 4096u

static const char usage[] =
	"usage: usher gate verify --event N --keys FILE [OPTIONS] CODE...\n"
	"       usher gate verify --event N --keys FILE [OPTIONS] --follow\n"
	"       usher gate compare LOG...\n"
	"\n"
	"verify decides about the text of a ticket's QR code, without a network. compare lists seats\n"
	"that were let in more than once, over the logs of several gates.\n"
	"\n"
	"  --event N           the event at this door\n"
	"  --keys FILE         what GET /v1/gate/keys answered\n"
	"  --revocations FILE  what GET /v1/gate/revocations?event=N answered: refunded and\n"
	"                      transferred tickets, signed; without it they are let in\n"
	"  --log FILE          whom this gate let in; may be shared by the scanners of one machine;\n"
	"                      without it duplicates are not seen\n"
	"  --max-age SECONDS   a list of revocations is too old beyond (default 3600)\n"
	"  --strict            let nobody in on a list that is too old, or on none\n"
	"  --venue FILE        the venue file: names seats\n"
	"  --follow            reads codes from standard input, one a line, until it ends; files of\n"
	"                      keys and revocations are taken over when they change\n"
	"  --json              one JSON object a line\n"
	"  --help              this text\n"
	"\n"
	"Verdicts: VALID, DUPLICATE, REVOKED, WRONG_EVENT, BAD_SIGNATURE, UNKNOWN_KEY, RETIRED_KEY,\n"
	"MALFORMED, STALE.\n"
	"Exit status: 0 all are VALID (or standard input ended; or no seat was let in twice);\n"
	"1 not so, or a file is not good; 2 usage.\n"
	"\n"
	"Example: scanner | usher gate verify --event 7 --keys keys.json --revocations dead.txt \\\n"
	"             --log door-3.log --follow\n";

struct asked {
	struct ush_gate_config config;
	const char *venue_file;
	struct ush_venue *venue;
	void *image;
	bool follow;
	bool json;
};

static int64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (int64_t)t.tv_sec * SECOND_US + t.tv_nsec / 1000;
}

static void time_text(int64_t us, char text[TIME_CHARS])
{
	time_t seconds = (time_t)(us / SECOND_US);
	struct tm parts;

	if (gmtime_r(&seconds, &parts) == NULL ||
		strftime(text, TIME_CHARS, "%Y-%m-%dT%H:%M:%SZ", &parts) == 0)
		snprintf(text, TIME_CHARS, "?");
}

/* ret: 0, USHER_USAGE, or -1: help was printed. */
static int options(int argc, char **argv, struct asked *asked)
{
	static const struct option longs[] = {{"event", required_argument, NULL, 'e'},
		{"keys", required_argument, NULL, 'k'},
		{"revocations", required_argument, NULL, 'r'},
		{"log", required_argument, NULL, 'l'}, {"max-age", required_argument, NULL, 'a'},
		{"strict", no_argument, NULL, 's'}, {"venue", required_argument, NULL, 'v'},
		{"follow", no_argument, NULL, 'f'}, {"json", no_argument, NULL, 'j'},
		{"help", no_argument, NULL, 'h'}, {NULL, 0, NULL, 0}};
	uint64_t number;
	int c;

	while ((c = getopt_long(argc, argv, "h", longs, NULL)) != -1) {
		switch (c) {
		case 'e':
			if (!usher_number(optarg, &number) || number == 0 || number > UINT32_MAX) {
				fprintf(stderr, "usher gate: --event %s: no event\n", optarg);
				return USHER_USAGE;
			}
			asked->config.event = (uint32_t)number;
			break;
		case 'a':
			if (!usher_number(optarg, &number) || number > 1000000000) {
				fprintf(stderr, "usher gate: --max-age %s: no time\n", optarg);
				return USHER_USAGE;
			}
			asked->config.list_age_max_us = (int64_t)number * SECOND_US;
			break;
		case 'k':
			asked->config.keys = optarg;
			break;
		case 'r':
			asked->config.revocations = optarg;
			break;
		case 'l':
			asked->config.log = optarg;
			break;
		case 's':
			asked->config.strict = true;
			break;
		case 'v':
			asked->venue_file = optarg;
			break;
		case 'f':
			asked->follow = true;
			break;
		case 'j':
			asked->json = true;
			break;
		case 'h':
			fputs(usage, stdout);
			return -1;
		default:
			return USHER_USAGE;
		}
	}
	return 0;
}

/* ret: true and the seat's name if a venue file was given and has it. */
static bool name_seat(
	const struct asked *asked, const struct ush_ticket *ticket, struct ush_venue_label *label)
{
	return asked->venue != NULL &&
	       ush_venue_label(asked->venue, ticket->row, ticket->bit, label) == 0;
}

static void print_json(const struct asked *asked, const struct ush_gate_answer *answer)
{
	json_t *line = json_pack("{s:s, s:s}", "verdict", ush_gate_verdict_name(answer->verdict),
		"meaning", ush_gate_verdict_text(answer->verdict));
	struct ush_venue_label label;
	char text[TIME_CHARS];

	if (answer->known) {
		const struct ush_ticket *t = &answer->ticket;

		snprintf(text, sizeof(text), "%" PRIu64, t->hold);
		json_object_set_new(line, "ticket",
			json_pack("{s:I, s:s, s:I, s:i, s:i, s:i}", "event", (json_int_t)t->event,
				"order", text, "row", (json_int_t)t->row, "bit", (int)t->bit,
				"serial", (int)t->serial, "key", (int)t->key));
		if (name_seat(asked, t, &label))
			json_object_set_new(line, "seat",
				json_pack("{s:s, s:s, s:s}", "section", label.section, "row",
					label.row, "seat", label.seat));
	}
	if (answer->verdict == USH_GATE_DUPLICATE) {
		time_text(answer->first_us, text);
		json_object_set_new(line, "let_in_at", json_string(text));
	}
	json_object_set_new(line, "revocations_age_s",
		answer->list_known ? json_integer(answer->list_age_us / SECOND_US) : json_null());
	json_object_set_new(line, "revocations_too_old", json_boolean(answer->list_too_old));
	json_dumpf(line, stdout, JSON_COMPACT);
	printf("\n");
	json_decref(line);
}

static void print_text(const struct asked *asked, const struct ush_gate_answer *answer)
{
	struct ush_venue_label label;
	char text[TIME_CHARS];

	printf("%s: %s", ush_gate_verdict_name(answer->verdict),
		ush_gate_verdict_text(answer->verdict));
	if (answer->verdict == USH_GATE_DUPLICATE) {
		time_text(answer->first_us, text);
		printf(" at %s", text);
	}
	if (answer->known) {
		const struct ush_ticket *t = &answer->ticket;

		printf("; event %" PRIu32 " order %" PRIu64, t->event, t->hold);
		if (name_seat(asked, t, &label))
			printf(" seat %s/%s/%s", label.section, label.row, label.seat);
		else
			printf(" row %" PRIu32 " bit %u", t->row, t->bit);
		printf(" serial %u", t->serial);
	}
	if (answer->list_known)
		printf("; revocations %lld s old%s\n", (long long)(answer->list_age_us / SECOND_US),
			answer->list_too_old ? ", TOO OLD" : "");
	else
		printf("; NO LIST OF REVOCATIONS\n");
}

/* ret: USHER_OK if the ticket is valid. */
static int decide(const struct asked *asked, struct ush_gate *gate, const char *code, size_t bytes)
{
	struct ush_message message = {"no memory, or no lock on the log"};
	struct ush_gate_answer answer;

	if (ush_gate_scan(gate, code, bytes, now_us(), &answer, &message) != 0) {
		fprintf(stderr, "usher gate: %s\n", message.text);
		printf(asked->json ? "{\"verdict\":\"ERROR\"}\n" : "ERROR: nobody is let in\n");
		fflush(stdout);
		return USHER_FAILED;
	}
	if (asked->json)
		print_json(asked, &answer);
	else
		print_text(asked, &answer);
	fflush(stdout);
	return answer.verdict == USH_GATE_VALID ? USHER_OK : USHER_FAILED;
}

/* Reads codes until there are no more. What is longer than a line can be is one bad code. */
static int follow(const struct asked *asked, struct ush_gate *gate)
{
	static char line[SCAN_BYTES_MAX];
	bool rest = false;

	while (fgets(line, sizeof(line), stdin) != NULL) {
		struct ush_message message = {""};
		size_t bytes = strlen(line);
		bool ends = bytes > 0 && line[bytes - 1] == '\n';

		if (rest) {
			rest = !ends;
			continue;
		}
		rest = !ends && bytes == sizeof(line) - 1;
		while (bytes > 0 && (line[bytes - 1] == '\n' || line[bytes - 1] == '\r'))
			bytes--;
		if (bytes == 0)
			continue;
		if (ush_gate_reload(gate, &message) != 0)
			fprintf(stderr, "usher gate: not taken over: %s\n", message.text);
		decide(asked, gate, line, bytes);
	}
	return ferror(stdin) ? USHER_FAILED : USHER_OK;
}

static int open_venue(struct asked *asked)
{
	struct ush_message message = {""};
	size_t bytes;

	if (asked->venue_file == NULL)
		return 0;
	if (ush_venue_compile_file(asked->venue_file, NULL, &asked->image, &bytes, &message) == 0 &&
		ush_venue_open(asked->image, bytes, &asked->venue, &message) == 0)
		return 0;
	fprintf(stderr, "usher gate: %s\n", message.text);
	return -1;
}

static int verify(int argc, char **argv)
{
	struct asked asked = {.config.list_age_max_us = 3600 * SECOND_US};
	struct ush_message message = {""};
	struct ush_gate *gate = NULL;
	int status = options(argc, argv, &asked);

	if (status != 0)
		return status < 0 ? USHER_OK : status;
	if (asked.config.event == 0 || asked.config.keys == NULL ||
		asked.follow != (argc == optind)) {
		fprintf(stderr,
			"usher gate: --event, --keys, and codes or --follow; see usher gate --help\n");
		return USHER_USAGE;
	}
	if (open_venue(&asked) != 0) {
		status = USHER_FAILED;
	} else if (ush_gate_open(&gate, &asked.config, &message) != 0) {
		fprintf(stderr, "usher gate: %s\n", message.text);
		status = USHER_FAILED;
	} else if (asked.follow) {
		status = follow(&asked, gate);
	} else {
		for (int i = optind; i < argc; i++)
			status |= decide(&asked, gate, argv[i], strlen(argv[i]));
	}
	ush_gate_close(gate);
	if (asked.venue != NULL)
		ush_venue_close(asked.venue);
	free(asked.image);
	return status;
}

/* ---- compare ---- */

struct entry {
	struct ush_gate_line line;
	const char *log;
};

struct entries {
	struct entry *items;
	size_t count;
	size_t room;
	const char *log;
	bool full;
};

static void collect(void *context, const struct ush_gate_line *line)
{
	struct entries *all = context;

	if (line->verdict != USH_GATE_VALID || all->full)
		return;
	if (all->count == all->room) {
		size_t room = all->room == 0 ? 4096 : all->room * 2;
		struct entry *items = realloc(all->items, room * sizeof(*items));

		if (items == NULL) {
			all->full = true;
			return;
		}
		all->items = items;
		all->room = room;
	}
	all->items[all->count++] = (struct entry){*line, all->log};
}

static bool same_seat(const struct ush_ticket *a, const struct ush_ticket *b)
{
	return a->event == b->event && a->row == b->row && a->bit == b->bit;
}

static int by_seat(const void *left, const void *right)
{
	const struct ush_gate_line *a = &((const struct entry *)left)->line;
	const struct ush_gate_line *b = &((const struct entry *)right)->line;

	if (a->ticket.event != b->ticket.event)
		return a->ticket.event < b->ticket.event ? -1 : 1;
	if (a->ticket.row != b->ticket.row)
		return a->ticket.row < b->ticket.row ? -1 : 1;
	if (a->ticket.bit != b->ticket.bit)
		return a->ticket.bit < b->ticket.bit ? -1 : 1;
	return a->at_us < b->at_us ? -1 : a->at_us > b->at_us;
}

static int compare(int argc, char **argv)
{
	struct entries all = {0};
	struct ush_message message = {""};
	uint64_t twice = 0;

	for (int i = 1; i < argc; i++) {
		all.log = argv[i];
		if (ush_gate_log_read(argv[i], collect, &all, &message) != 0 || all.full) {
			fprintf(stderr, "usher gate: %s\n",
				all.full ? "out of memory" : message.text);
			free(all.items);
			return USHER_FAILED;
		}
	}
	if (all.count > 0)
		qsort(all.items, all.count, sizeof(*all.items), by_seat);
	for (size_t i = 1; i < all.count; i++) {
		const struct entry *a = &all.items[i - 1], *b = &all.items[i];
		char first[TIME_CHARS], second[TIME_CHARS];

		if (!same_seat(&a->line.ticket, &b->line.ticket))
			continue;
		twice++;
		time_text(a->line.at_us, first);
		time_text(b->line.at_us, second);
		printf("event %" PRIu32 " row %" PRIu32
		       " bit %u: %s %s (serial %u), %s %s (serial %u)\n",
			a->line.ticket.event, a->line.ticket.row, a->line.ticket.bit, first, a->log,
			a->line.ticket.serial, second, b->log, b->line.ticket.serial);
	}
	printf("%zu let in, %" PRIu64 " of them into a seat that was taken\n", all.count, twice);
	free(all.items);
	return twice == 0 ? USHER_OK : USHER_FAILED;
}

int cmd_gate(int argc, char **argv)
{
	static char name[] = "usher gate";
	const char *what = argc >= 2 ? argv[1] : "";

	if (strcmp(what, "--help") == 0) {
		fputs(usage, stdout);
		return USHER_OK;
	}
	if (strcmp(what, "verify") == 0) {
		argv[1] = name;
		return verify(argc - 1, argv + 1);
	}
	if (strcmp(what, "compare") == 0 && argc >= 3)
		return compare(argc - 1, argv + 1);
	fprintf(stderr, "usher gate: verify, or compare LOG...; see usher gate --help\n");
	return USHER_USAGE;
}
