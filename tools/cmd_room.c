/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `usher room`: an event's waiting room, over the control port, in the steps of docs/draw.md.
 *
 * Happy path of a draw: open (a seed is made and kept; its hash is public), close (the list of
 * places is read from the box and its root is public), draw (with the beacon's value; the draw file
 * is public).
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "client.h"
#include "names.h"
#include "tools/room_text.h"
#include "tools/usher.h"

#define TIMEOUT_MS 10000u

static const char usage[] =
	"usage: usher room [--socket PATH] ACTION EVENT [OPTIONS]\n"
	"\n"
	"  open EVENT --users N --seed FILE --beacon NAME --round N [--cap N] [--device-users N]\n"
	"       [--slow-places N]      a lobby; FILE gets a new seed if it is not there\n"
	"  close EVENT [--list FILE]   closes the lobby; prints the root to be published\n"
	"  draw EVENT --seed FILE --value HEX [--list FILE] [--out FILE]\n"
	"                              draws, with the beacon's value; FILE: the draw file\n"
	"  rate EVENT N|none           the operator's cap, people a minute\n"
	"  pause EVENT, resume EVENT   nobody more is called; or again\n"
	"  key EVENT                   new tickets have the next key; those of the last stay good\n"
	"  status EVENT [--json]       how it stands; with --json the public status object\n"
	"\n"
	"      --socket PATH    the control port\n"
	"      --users N        how many may join\n"
	"      --cap N          the operator's cap from the start\n"
	"      --device-users N users of one device beyond so many are slow; 0: none\n"
	"      --slow-places N  who is slow after the lobby waits for so many behind (default 1000)\n"
	"      --help           this text\n"
	"\n"
	"Exit status: 0 done; 1 the box said no, or does not answer; 2 usage.\n"
	"\n"
	"Example: usher room open 7 --users 1000000 --seed event-7.seed --beacon 'drand quicknet' --round "
	"4711\n";

struct room_run {
	const char *socket;
	const char *action;
	const char *word;
	uint32_t event;
	uint64_t users;
	uint64_t round;
	uint64_t cap;
	uint64_t device_users;
	uint64_t slow_places;
	const char *seed;
	const char *beacon;
	const char *value;
	const char *list;
	const char *out;
	bool json;
	struct ush_client client;
	struct ush_message message;
	uint8_t reply[USH_CONTROL_BYTES_MAX] USH_ALIGNED(8);
	size_t size;
	struct {
		struct ush_request request;
		struct ush_extension_header header;
		uint8_t body[sizeof(struct ush_room_open)];
	} ask;
};

static int complain(struct room_run *run, const char *what)
{
	fprintf(stderr, "usher room %s: %s\n", run->action, what);
	return USHER_FAILED;
}

/* Asks, again while it is busy. ret: the reply if it is OK; NULL: said why. */
static const struct ush_reply *ask(
	struct room_run *run, enum ush_op op, uint64_t arg, uint8_t type, size_t bytes)
{
	const struct ush_reply *reply = (const struct ush_reply *)(const void *)run->reply;

	ush_client_request(&run->ask.request, op);
	run->ask.request.event = run->event;
	run->ask.request.arg = arg;
	if (bytes != 0) {
		run->ask.header = (struct ush_extension_header){.type = type,
			.size = (uint16_t)(sizeof(run->ask.header) + bytes),
			.value = 1};
		run->ask.request.size = (uint16_t)(run->ask.request.size + run->ask.header.size);
		run->ask.request.extension_count = 1;
	}
	for (uint32_t attempt = 0;; attempt++) {
		if (ush_client_call(&run->client, &run->ask.request, -1, TIMEOUT_MS, run->reply,
			    &run->size, &run->message) != 0) {
			complain(run, run->message.text);
			return NULL;
		}
		if ((reply->status != USH_STATUS_RETRY && reply->status != USH_STATUS_BUSY) ||
			attempt == 100)
			break;
		usleep(20000);
	}
	if (reply->status == USH_STATUS_OK)
		return reply;
	fprintf(stderr, "usher room %s: %s", run->action, usher_name_status(reply->status));
	if (reply->status == USH_STATUS_ROOM_PHASE)
		fprintf(stderr, ": the room is in phase %s", usher_name_room_phase(reply->detail));
	if (reply->status == USH_STATUS_ROOM_FULL)
		fprintf(stderr, ": raise [limits] room_users, which is %u", reply->detail);
	if (reply->status == USH_STATUS_MISMATCH)
		fprintf(stderr, ": the seed is not the one of the hash at the opening");
	fprintf(stderr, "\n");
	return NULL;
}

/* ---- open ---- */

/* The seed in a file, which is made if it is not there. ret: false: said why. */
static bool read_seed(struct room_run *run, bool make, uint8_t seed[32])
{
	char text[80] = "";
	int fd = open(run->seed, O_RDONLY | O_CLOEXEC);
	ssize_t got;

	if (fd < 0 && errno == ENOENT && make) {
		if (getrandom(seed, 32, 0) != 32)
			return complain(run, "no random numbers") == USHER_OK;
		for (uint32_t i = 0; i < 32; i++)
			snprintf(text + 2 * i, 3, "%02x", seed[i]);
		text[64] = '\n';
		fd = open(run->seed, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		if (fd >= 0 && write(fd, text, 65) == 65 && fsync(fd) == 0 && close(fd) == 0)
			return true;
	}
	got = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	if (fd >= 0)
		close(fd);
	if (got >= 64 && room_hex_read(text, seed, 32))
		return true;
	fprintf(stderr, "usher room %s: %s: %s\n", run->action, run->seed,
		got < 0 ? strerror(errno) : "want 64 lower-case hexadecimal digits");
	return false;
}

static int run_open(struct room_run *run)
{
	struct ush_room_open opened = {.round = run->round,
		.users = (uint32_t)run->users,
		.device_users = (uint32_t)run->device_users,
		.slow_places = (uint32_t)run->slow_places,
		.cap = (uint32_t)run->cap};
	uint8_t seed[32];
	size_t length;

	if (run->users == 0 || run->seed == NULL || run->beacon == NULL)
		return complain(run, "want --users, --seed, --beacon and --round"), USHER_USAGE;
	length = strlen(run->beacon);
	if (length >= sizeof(opened.source))
		return complain(run, "--beacon: at most 127 bytes"), USHER_USAGE;
	if (!read_seed(run, true, seed))
		return USHER_FAILED;
	ush_draw_seed_hash(run->event, seed, opened.seed_hash);
	memcpy(opened.source, run->beacon, length);
	opened.source_bytes = (uint8_t)length;
	memcpy(run->ask.body, &opened, sizeof(opened));
	if (ask(run, USH_OP_ROOM_CONTROL, USH_ROOM_ACTION_OPEN, USH_EXTENSION_ROOM_OPEN,
		    sizeof(opened)) == NULL)
		return USHER_FAILED;
	room_hex_print("seed hash", opened.seed_hash, 32);
	return USHER_OK;
}

/* ---- close and draw ---- */

static int show(struct room_run *run, struct ush_room_view *view)
{
	if (ask(run, USH_OP_ROOM_SHOW, 0, 0, 0) == NULL)
		return USHER_FAILED;
	if (!ush_room_view_read(run->reply, run->size, view))
		return complain(run, "an answer that makes no sense");
	return USHER_OK;
}

/* Counts, list and root of a closed lobby. ret: an enum usher_exit. */
static int read_places(struct room_run *run, struct ush_draw_file *draw)
{
	struct ush_room_view view;
	uint64_t line = 0;

	if (show(run, &view) != USHER_OK)
		return USHER_FAILED;
	/* The seed and the value are those that are given. */
	view.drawn.beacon_bytes = 0;
	ush_room_view_draw(&view, draw);
	draw->users = calloc(draw->count + 1u, sizeof(*draw->users));
	if (draw->users == NULL)
		return complain(run, "out of memory");
	do {
		const struct ush_reply *reply = ask(run, USH_OP_ROOM_PLACES, line, 0, 0);

		if (reply == NULL)
			return USHER_FAILED;
		line = reply->detail;
		if (!ush_room_places_take(run->reply, run->size, draw))
			return complain(run, "a page of places that makes no sense");
	} while (line != 0);
	ush_draw_root(draw, draw->root);
	return USHER_OK;
}

static int run_close(struct room_run *run)
{
	struct ush_draw_file draw = {0};
	int status;

	if (ask(run, USH_OP_ROOM_CONTROL, USH_ROOM_ACTION_CLOSE, 0, 0) == NULL)
		return USHER_FAILED;
	status = read_places(run, &draw);
	if (status == USHER_OK) {
		room_hex_print("root", draw.root, 32);
		printf("%-13s", "tiers");
		for (uint32_t tier = 0; tier < USH_DRAW_TIERS; tier++)
			printf(" %u", draw.counts[tier]);
		putchar('\n');
		if (run->list != NULL && room_list_write(run->list, &draw, &run->message) != 0)
			status = complain(run, run->message.text);
	}
	ush_draw_file_close(&draw);
	return status;
}

/* The draw as it goes to the box. ret: false: said why. */
static bool fill_draw(struct room_run *run, struct ush_draw_file *draw, struct ush_room_draw *drawn)
{
	size_t digits = strlen(run->value), bytes = digits / 2;

	if (!read_seed(run, false, draw->seed))
		return false;
	if (digits % 2 != 0 || bytes < USH_DRAW_BEACON_MIN || bytes > USH_DRAW_BEACON_MAX ||
		!room_hex_read(run->value, draw->beacon, bytes)) {
		complain(run, "--value: want 32 to 128 lower-case hexadecimal digits");
		return false;
	}
	draw->beacon_bytes = (uint32_t)bytes;
	drawn->beacon_bytes = (uint8_t)bytes;
	memcpy(drawn->beacon, draw->beacon, bytes);
	memcpy(drawn->seed, draw->seed, sizeof(drawn->seed));
	memcpy(drawn->root, draw->root, sizeof(drawn->root));
	return true;
}

static int run_draw(struct room_run *run)
{
	struct ush_draw_file draw = {0};
	struct ush_room_draw drawn;
	int status;

	if (run->seed == NULL || run->value == NULL)
		return complain(run, "want --seed and --value"), USHER_USAGE;
	memset(&drawn, 0, sizeof(drawn));
	status = read_places(run, &draw);
	if (status == USHER_OK && !fill_draw(run, &draw, &drawn))
		status = USHER_FAILED;
	if (status == USHER_OK) {
		memcpy(run->ask.body, &drawn, sizeof(drawn));
		if (ask(run, USH_OP_ROOM_CONTROL, USH_ROOM_ACTION_DRAW, USH_EXTENSION_ROOM_DRAW,
			    sizeof(drawn)) == NULL)
			status = USHER_FAILED;
	}
	if (status == USHER_OK) {
		room_hex_print("root", draw.root, 32);
		if ((run->list != NULL && room_list_write(run->list, &draw, &run->message) != 0) ||
			(run->out != NULL && room_draw_write(run->out, &draw, &run->message) != 0))
			status = complain(run, run->message.text);
	}
	ush_draw_file_close(&draw);
	return status;
}

/* ---- the others ---- */

static int run_set(struct room_run *run, uint64_t more)
{
	return ask(run, USH_OP_ROOM_CONTROL, USH_ROOM_ACTION_SET | more, 0, 0) != NULL
		       ? USHER_OK
		       : USHER_FAILED;
}

static int run_rate(struct room_run *run)
{
	uint64_t rate = USH_ROOM_NO_CAP;

	if (run->word == NULL || (strcmp(run->word, "none") != 0 &&
					 (!usher_number(run->word, &rate) || rate > 60000000)))
		return complain(run, "want a number of people a minute, or none"), USHER_USAGE;
	return run_set(run, 1u << 8 | rate << 32);
}

static int run_status(struct room_run *run)
{
	struct ush_room_view view;
	int status = show(run, &view);

	if (status == USHER_OK)
		room_view_print(&view, run->json);
	return status;
}

static int run_key(struct room_run *run)
{
	const struct ush_reply *reply = ask(run, USH_OP_ROOM_CONTROL, USH_ROOM_ACTION_KEY, 0, 0);

	if (reply == NULL)
		return USHER_FAILED;
	printf("%-13s %u\n", "key", reply->detail);
	return USHER_OK;
}

static int run_action(struct room_run *run)
{
	if (strcmp(run->action, "open") == 0)
		return run_open(run);
	if (strcmp(run->action, "close") == 0)
		return run_close(run);
	if (strcmp(run->action, "draw") == 0)
		return run_draw(run);
	if (strcmp(run->action, "rate") == 0)
		return run_rate(run);
	if (strcmp(run->action, "pause") == 0)
		return run_set(run, 1u << 9 | 1u << 10);
	if (strcmp(run->action, "resume") == 0)
		return run_set(run, 1u << 9);
	if (strcmp(run->action, "key") == 0)
		return run_key(run);
	if (strcmp(run->action, "status") == 0)
		return run_status(run);
	return complain(run, "no such action; see usher room --help"), USHER_USAGE;
}

/* ---- command line ---- */

static bool take_number(struct room_run *run, int letter, const char *text)
{
	uint64_t value;

	if (!usher_number(text, &value) || (letter != 'r' && value > UINT32_MAX))
		return false;
	if (letter == 'u')
		run->users = value;
	else if (letter == 'r')
		run->round = value;
	else if (letter == 'c')
		run->cap = value;
	else if (letter == 'd')
		run->device_users = value;
	else
		run->slow_places = value;
	return true;
}

/* ret: 0; 1 after --help; -1: usage. */
static int parse(struct room_run *run, int argc, char **argv)
{
	static const struct option longs[] = {{"socket", required_argument, NULL, 'S'},
		{"users", required_argument, NULL, 'u'}, {"round", required_argument, NULL, 'r'},
		{"cap", required_argument, NULL, 'c'},
		{"device-users", required_argument, NULL, 'd'},
		{"slow-places", required_argument, NULL, 's'},
		{"seed", required_argument, NULL, 'e'}, {"beacon", required_argument, NULL, 'b'},
		{"value", required_argument, NULL, 'v'}, {"list", required_argument, NULL, 'l'},
		{"out", required_argument, NULL, 'o'}, {"json", no_argument, NULL, 'j'},
		{"help", no_argument, NULL, 'h'}, {NULL, 0, NULL, 0}};
	const char **text[256] = {['S'] = &run->socket,
		['e'] = &run->seed,
		['b'] = &run->beacon,
		['v'] = &run->value,
		['l'] = &run->list,
		['o'] = &run->out};
	uint64_t event;
	int letter;

	while ((letter = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		if (letter == 'h') {
			fputs(usage, stdout);
			return 1;
		}
		if (letter == '?')
			return -1;
		if (letter == 'j')
			run->json = true;
		else if (text[letter] != NULL)
			*text[letter] = optarg;
		else if (!take_number(run, letter, optarg))
			return -1;
	}
	if (optind + 2 > argc || optind + 3 < argc || !usher_number(argv[optind + 1], &event) ||
		event < 1 || event > USH_EVENT_ID_MAX)
		return -1;
	run->action = argv[optind];
	run->event = (uint32_t)event;
	run->word = optind + 3 == argc ? argv[optind + 2] : NULL;
	return run->word == NULL || strcmp(run->action, "rate") == 0 ? 0 : -1;
}

int cmd_room(int argc, char **argv)
{
	static struct room_run run = {.cap = USH_ROOM_NO_CAP, .slow_places = 1000};
	int status = parse(&run, argc, argv);

	if (status > 0)
		return USHER_OK;
	if (status < 0) {
		fprintf(stderr, "usher room: want an action and an event; see usher room --help\n");
		return USHER_USAGE;
	}
	if (ush_client_open(&run.client,
		    run.socket != NULL ? run.socket : ush_client_default_path(), &run.message) != 0)
		return complain(&run, run.message.text);
	status = run_action(&run);
	ush_client_close(&run.client);
	return status;
}
