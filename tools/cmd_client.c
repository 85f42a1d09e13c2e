/* SPDX-License-Identifier: Apache-2.0 */
/* `usher client`: one request, its answer, for people and scripts. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client_room.h"
#include "client_stats.h"
#include "client_udp.h"
#include "names.h"
#include "usher.h"

/* A request with room for its extension. */
struct message {
	struct ush_request request;
	struct ush_extension_header header;
	uint8_t body[USH_PAYLOAD_BYTES_MAX - 72];
};
static_assert(sizeof(struct message) == USH_PAYLOAD_BYTES_MAX, "as long as a request can be");

struct action {
	const char *name;
	enum ush_op op;
	/* Letters of the options it needs. */
	const char *needs;
	const char *help;
};

static const struct action actions[] = {
	{"reserve", USH_OP_RESERVE, "euirm",
		"hold seats: --event --user --id --row --mask [--leg]"},
	{"best", USH_OP_RESERVE_BEST, "euin",
		"hold the best seats: --event --user --id --seats [--tier] [--section] ..."},
	{"area", USH_OP_RESERVE_AREA, "euins",
		"hold places of an area: --event --user --id --seats --section"},
	{"wait", USH_OP_WAIT_LIST, "eui",
		"wait for seats: --event --user --id --seats [--tier] | --leave | --look"},
	{"join", USH_OP_JOIN, "eu", "join a waiting room: --event --user [--tier] [--device]"},
	{"position", USH_OP_POSITION, "eux", "how many are before: --event --user --ticket"},
	{"exchange", USH_OP_EXCHANGE, "eux", "a ticket for a token: --event --user --ticket"},
	{"release", USH_OP_RELEASE, "euih",
		"give a hold back, or some seats: --event --user --id --hold [--row --mask --leg]"},
	{"swap", USH_OP_SWAP, "euihrmg",
		"other seats: --event --user --id --hold --row --mask [--leg] --give"},
	{"extend", USH_OP_EXTEND, "euih",
		"more time, once: --event --user --id --hold [--hold-ms]"},
	{"hold", USH_OP_QUERY_HOLD, "euh", "look at a hold: --event --user --hold"},
	{"section", USH_OP_QUERY_SECTION, "e", "free seats: --event --section [--row FIRST]"},
	{"status", USH_OP_STATUS, "", "is the box there; or --event: its status, free seats"},
	{"confirm", USH_OP_CONFIRM, "euh", "sell a hold: --event --user --hold (control port)"},
	{"pay-begin", USH_OP_PAY_BEGIN, "euhvaM",
		"a payment starts: --event --user --hold --version --amount --hold-ms (control)"},
	{"pay-end", USH_OP_PAY_END, "euhvo",
		"how it ended: --event --user --hold --version --outcome (control port)"},
	{"pay-late", USH_OP_PAY_LATE, "euhrma",
		"paid after its end: --event --user --hold --row --mask --leg --amount (control)"},
	{"refund-begin", USH_OP_REFUND_BEGIN, "euhv",
		"a refund starts: --event --user --hold --version [--row --mask --leg] (control)"},
	{"refund-end", USH_OP_REFUND_END, "euhvo",
		"how it ended: --event --user --hold --version --outcome [seats] (control port)"},
	{"transfer", USH_OP_TRANSFER, "euhvt",
		"a sold hold changes hands: --event --user --hold --version --to USER (control)"},
	{"block", USH_OP_BLOCK, "erm",
		"house seats: --event --row --mask [--leg] [--channel] (control port)"},
	{"unblock", USH_OP_UNBLOCK, "erm", "and back on sale (control port)"},
	{"channel-key", USH_OP_CHANNEL_KEY, "ec",
		"the key of a channel: --event --channel [--new] (control port)"},
	{"rotate", USH_OP_KEY_ROTATE, "", "read admission's keys again (control port)"},
	{"stats", USH_OP_STATS, "", "all counters (control port)"},
};
#define ACTION_COUNT (sizeof(actions) / sizeof(actions[0]))

struct asked {
	const struct action *action;
	struct message message;
	const char *udp;
	const char *socket;
	uint32_t timeout_ms;
	bool json;
	/* best and area. */
	uint64_t seats;
	uint64_t tier;
	uint64_t accessible;
	uint64_t companion;
	bool tier_given;
	bool section_given;
	bool together;
	/* wait. */
	enum ush_wait_action wait;
	/* Seats of a channel: its number, its key. */
	uint64_t channel;
	uint64_t key_number;
	struct ush_key key;
	bool key_given;
	/* Seats to be given up. */
	struct ush_leg give[USH_LEG_COUNT_MAX];
	uint32_t give_count;
	/* Waiting rooms. */
	uint8_t ticket[CLIENT_TICKET_BYTES];
	uint64_t device;
	/* Letters of the options given. */
	char given[32];
};

static void print_help(void)
{
	printf("usage: usher client [--udp HOST:PORT | --socket PATH] ACTION [OPTIONS]\n\n");
	for (size_t i = 0; i < ACTION_COUNT; i++)
		printf("  %-13s%s\n", actions[i].name, actions[i].help);
	printf("\n"
	       "      --udp HOST:PORT   ask a public port over UDP, again until it answers\n"
	       "      --socket PATH     ask the control port (default: %s)\n"
	       "  -e, --event N         event id\n"
	       "  -u, --user N          user id\n"
	       "  -i, --id N            request id; the same id again gets the same answer\n"
	       "  -r, --row N           row of the seats; section: first row wanted\n"
	       "  -m, --mask BITS       seats of the row, bit i = seat i, like 0xf\n"
	       "  -l, --leg ROW:BITS    seats of a further row; up to 7\n"
	       "  -g, --give ROW:BITS   swap: seats to be given up; up to 8\n"
	       "  -s, --section N       section, from 0\n"
	       "  -n, --seats N         best, area, wait: how many\n"
	       "      --tier N          best, wait: only of this price tier, from 0; join: tier of the lobby\n"
	       "      --ticket HEX      position, exchange: the ticket, as join prints it\n"
	       "      --device N        join: fingerprint of the device\n"
	       "      --leave           wait: leave the list\n"
	       "      --look            wait: how one stands; an offer is a hold\n"
	       "      --accessible N    best, area: wheelchair places among them\n"
	       "      --companion N     best: seats beside these among them\n"
	       "      --together        best: do not split the group\n"
	       "  -c, --channel N       block, unblock: seats of this channel; reserve, section: buy\n"
	       "                        and see them, with --key\n"
	       "      --key N:HEX       its key and that key's number, as channel-key prints them\n"
	       "      --new             channel-key: a new key, which ends the old one\n"
	       "  -h, --hold ID         hold id, as printed\n"
	       "      --hold-ms MS      life of the hold (default: the event's); pay-begin: time to pay\n"
	       "      --version N       version of the hold that is meant, as `hold` prints it\n"
	       "      --amount N        what is to be paid, in minor units\n"
	       "      --outcome WORD    succeeded or failed\n"
	       "      --to USER         whose it becomes\n"
	       "      --timeout MS      give up after this long (default 2000)\n"
	       "      --json            print one JSON object\n"
	       "      --help            this\n\n"
	       "examples:\n"
	       "  usher client --udp 10.77.0.1:7447 status --event 1\n"
	       "  usher client --udp 10.77.0.1:7447 reserve --event 1 --user 7 --id 1 --row 3 \\\n"
	       "      --mask 0xf --leg 4:0x3\n"
	       "  usher client --udp 10.77.0.1:7447 hold --event 1 --user 7 --hold 0x1c5a01\n"
	       "  usher client confirm --event 1 --user 7 --hold 0x1c5a01\n"
	       "  usher client section --event 1 --section 2\n\n"
	       "Exit status: 0 OK, 1 any other answer or none, 2 the command line makes no sense.\n",
		ush_client_default_path());
}

/* ---- command line -------------------------------------------------------------------------- */

static int bad_option(const char *name, const char *argument, const char *want)
{
	fprintf(stderr, "usher client: --%s %s: want %s\n", name, argument, want);
	return -USH_EINVAL;
}

/* in: max: largest value. */
static int parse_number(const char *name, const char *text, uint64_t max, uint64_t *value)
{
	char *end;
	unsigned long long number;

	errno = 0;
	number = strtoull(text, &end, 0);
	if (end == text || *end != '\0' || errno != 0 || *text == '-' || number > max) {
		fprintf(stderr, "usher client: --%s %s: want a number up to %llu\n", name, text,
			(unsigned long long)max);
		return -USH_EINVAL;
	}
	*value = number;
	return 0;
}

/* "4:0x3": a row and its seats. */
static int read_leg(const char *name, const char *text, struct ush_leg *leg)
{
	char *end, *last;
	unsigned long row = strtoul(text, &end, 0);
	unsigned long long mask = *end == ':' ? strtoull(end + 1, &last, 0) : 0;

	if (end == text || *end != ':' || last == end + 1 || *last != '\0' || row > UINT16_MAX)
		return bad_option(name, text, "ROW:BITS, like 4:0x3");
	*leg = (struct ush_leg){.row = (uint16_t)row, .mask = mask};
	return 0;
}

/* Adds a leg to the LEGS extension. */
static int parse_leg(struct message *message, const char *text)
{
	struct ush_leg *legs = (struct ush_leg *)(void *)message->body, leg;

	if (read_leg("leg", text, &leg) != 0)
		return -USH_EINVAL;
	if (message->header.value == USH_LEG_COUNT_MAX - 1)
		return bad_option("leg", text, "at most 7 of them");
	legs[message->header.value++] = leg;
	message->header.type = USH_EXTENSION_LEGS;
	message->header.size = (uint16_t)(sizeof(message->header) +
					  message->header.value * sizeof(struct ush_leg));
	message->request.extension_count = 1;
	message->request.size = (uint16_t)(sizeof(message->request) + message->header.size);
	return 0;
}

static int parse_give(struct asked *asked, const char *text)
{
	if (asked->give_count == USH_LEG_COUNT_MAX)
		return bad_option("give", text, "at most 8 of them");
	return read_leg("give", text, &asked->give[asked->give_count++]);
}

/* "1:00112233...": number and 16 bytes. */
static int parse_key(struct asked *asked, const char *name, const char *text)
{
	const char *hex = strchr(text, ':');
	char *end;

	asked->key_number = strtoull(text, &end, 10);
	if (hex == NULL || end != hex || end == text || asked->key_number > UINT8_MAX ||
		strspn(hex + 1, "0123456789abcdef") != 32 || hex[33] != '\0')
		return bad_option(name, text, "N:HEX, as channel-key prints it");
	for (uint32_t i = 0; i < 16; i++) {
		const char digits[3] = {hex[1 + 2 * i], hex[2 + 2 * i], '\0'};
		uint64_t byte = strtoull(digits, NULL, 16);

		*(i < 8 ? &asked->key.k0 : &asked->key.k1) |= byte << 8 * (i % 8);
	}
	asked->key_given = true;
	return 0;
}

/* What best, area and channels want. */
static int take_wish(struct asked *asked, int letter, const char *name, const char *text)
{
	switch (letter) {
	case 'n':
		return parse_number(name, text, UINT16_MAX, &asked->seats);
	case 'R':
		asked->tier_given = true;
		return parse_number(name, text, UINT8_MAX, &asked->tier);
	case 'A':
		return parse_number(name, text, UINT8_MAX, &asked->accessible);
	case 'C':
		return parse_number(name, text, UINT8_MAX, &asked->companion);
	case 'O':
		asked->together = true;
		return 0;
	case 'L':
		asked->wait = USH_WAIT_ACTION_LEAVE;
		return 0;
	case 'k':
		asked->wait = USH_WAIT_ACTION_LOOK;
		return 0;
	case 'c':
		return parse_number(name, text, USH_CHANNEL_COUNT_MAX, &asked->channel);
	case 'g':
		return parse_give(asked, text);
	case 'K':
		return parse_key(asked, name, text);
	case 'x':
		return client_ticket_read(text, asked->ticket)
			       ? 0
			       : bad_option(name, text, "the 48 digits that join prints");
	case 'D':
		return parse_number(name, text, UINT64_MAX, &asked->device);
	case 'N':
		asked->message.request.arg = 1;
		return 0;
	default:
		return 0;
	}
}

static int take_option(struct asked *asked, int letter, const char *name, const char *text)
{
	struct ush_request *request = &asked->message.request;
	uint64_t value = 0;
	int error = 0;

	switch (letter) {
	case 'e':
		error = parse_number(name, text, UINT32_MAX, &value);
		request->event = (uint32_t)value;
		break;
	case 'u':
		error = parse_number(name, text, UINT64_MAX, &request->user);
		break;
	case 'i':
		error = parse_number(name, text, UINT32_MAX, &value);
		request->request_id = (uint32_t)value;
		break;
	case 'r':
		error = parse_number(name, text, UINT16_MAX, &value);
		request->row = (uint16_t)value;
		break;
	case 'm':
		error = parse_number(name, text, UINT64_MAX, &request->mask);
		break;
	case 's':
		error = parse_number(name, text, UINT16_MAX, &value);
		request->section = (uint16_t)value;
		asked->section_given = true;
		break;
	case 'h':
		error = parse_number(name, text, UINT64_MAX, &request->hold);
		break;
	case 'M':
		error = parse_number(name, text, UINT32_MAX, &value);
		request->hold_ms = (uint32_t)value;
		break;
	case 'v':
		error = parse_number(name, text, UINT16_MAX, &value);
		request->section = (uint16_t)value;
		break;
	case 'a':
	case 't':
		error = parse_number(name, text, UINT64_MAX, &request->arg);
		break;
	case 'o':
		request->arg = strcmp(text, "succeeded") == 0 ? USH_OUTCOME_SUCCEEDED
			       : strcmp(text, "failed") == 0  ? USH_OUTCOME_FAILED
							      : 0;
		if (request->arg == 0)
			error = bad_option(name, text, "succeeded or failed");
		break;
	case 'T':
		error = parse_number(name, text, 3600000, &value);
		asked->timeout_ms = (uint32_t)value;
		break;
	case 'l':
		error = parse_leg(&asked->message, text);
		break;
	default:
		error = take_wish(asked, letter, name, text);
		break;
	}
	return error;
}

/* ret: 0; 1 after --help; -USH_EINVAL after saying what is wrong. */
static int parse(struct asked *asked, int argc, char **argv)
{
	static const struct option longs[] = {{"udp", required_argument, NULL, 'U'},
		{"socket", required_argument, NULL, 'S'}, {"event", required_argument, NULL, 'e'},
		{"user", required_argument, NULL, 'u'}, {"id", required_argument, NULL, 'i'},
		{"row", required_argument, NULL, 'r'}, {"mask", required_argument, NULL, 'm'},
		{"leg", required_argument, NULL, 'l'}, {"give", required_argument, NULL, 'g'},
		{"section", required_argument, NULL, 's'}, {"hold", required_argument, NULL, 'h'},
		{"hold-ms", required_argument, NULL, 'M'},
		{"version", required_argument, NULL, 'v'}, {"amount", required_argument, NULL, 'a'},
		{"outcome", required_argument, NULL, 'o'}, {"to", required_argument, NULL, 't'},
		{"seats", required_argument, NULL, 'n'}, {"tier", required_argument, NULL, 'R'},
		{"accessible", required_argument, NULL, 'A'},
		{"companion", required_argument, NULL, 'C'}, {"together", no_argument, NULL, 'O'},
		{"channel", required_argument, NULL, 'c'}, {"key", required_argument, NULL, 'K'},
		{"new", no_argument, NULL, 'N'}, {"leave", no_argument, NULL, 'L'},
		{"ticket", required_argument, NULL, 'x'}, {"device", required_argument, NULL, 'D'},
		{"look", no_argument, NULL, 'k'}, {"timeout", required_argument, NULL, 'T'},
		{"json", no_argument, NULL, 'J'}, {"help", no_argument, NULL, 'H'},
		{NULL, 0, NULL, 0}};
	int letter, index = 0;
	size_t given = 0;

	while ((letter = getopt_long(argc, argv, "e:u:i:r:m:l:g:s:h:n:c:", longs, &index)) != -1) {
		const char short_name[2] = {(char)letter, '\0'};
		const char *name = short_name;

		for (const struct option *o = longs; o->name != NULL; o++) {
			if (o->val == letter)
				name = o->name;
		}
		if (letter == 'H') {
			print_help();
			return 1;
		}
		if (letter == '?')
			return -USH_EINVAL;
		if (letter == 'U')
			asked->udp = optarg;
		else if (letter == 'S')
			asked->socket = optarg;
		else if (letter == 'J')
			asked->json = true;
		else if (take_option(asked, letter, name, optarg) != 0)
			return -USH_EINVAL;
		if (given + 1 < sizeof(asked->given))
			asked->given[given++] = (char)letter;
	}
	for (size_t i = 0; optind < argc && i < ACTION_COUNT; i++) {
		if (strcmp(argv[optind], actions[i].name) == 0)
			asked->action = &actions[i];
	}
	if (asked->action == NULL || optind + 1 != argc) {
		fprintf(stderr, "usher client: want one action; see usher client --help\n");
		return -USH_EINVAL;
	}
	return 0;
}

static int check(const struct asked *asked)
{
	for (const char *need = asked->action->needs; *need != '\0'; need++) {
		if (strchr(asked->given, *need) == NULL) {
			fprintf(stderr, "usher client: %s: missing; want %s\n", asked->action->name,
				asked->action->help);
			return -USH_EINVAL;
		}
	}
	if (asked->key_given && asked->channel == 0) {
		fprintf(stderr, "usher client: --key of which channel? name it with --channel\n");
		return -USH_EINVAL;
	}
	if (asked->udp != NULL && asked->socket != NULL) {
		fprintf(stderr, "usher client: --udp or --socket, not both\n");
		return -USH_EINVAL;
	}
	return 0;
}

/* ---- answers ------------------------------------------------------------------------------- */

static void print_time(FILE *out, uint64_t unix_ns)
{
	time_t seconds = (time_t)(unix_ns / 1000000000);
	char text[32];
	struct tm when;

	gmtime_r(&seconds, &when);
	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &when);
	fprintf(out, "%s.%03uZ", text, (unsigned int)(unix_ns / 1000000 % 1000));
}

/* ret: the masks of the ROWS extension and how many, or NULL. */
static const uint8_t *find_rows(const uint8_t *bytes, size_t size, uint32_t *count)
{
	struct ush_extension_header header;
	size_t at = sizeof(struct ush_reply);

	while (at + sizeof(header) <= size) {
		memcpy(&header, bytes + at, sizeof(header));
		if (header.size < sizeof(header) || header.size > size - at)
			return NULL;
		if (header.type == USH_EXTENSION_ROWS) {
			*count = (uint32_t)(header.size - sizeof(header)) / 8;
			return bytes + at + sizeof(header);
		}
		at += header.size;
	}
	return NULL;
}

static void print_rows(const struct asked *asked, const uint8_t *bytes, size_t size)
{
	uint32_t count = 0;
	const uint8_t *rows = find_rows(bytes, size, &count);
	uint64_t mask;

	if (rows == NULL)
		return;
	if (asked->json)
		printf(",\"first_row\":%u,\"free\":[", asked->message.request.row);
	for (uint32_t i = 0; i < count; i++) {
		memcpy(&mask, rows + 8 * i, sizeof(mask));
		if (asked->json)
			printf("%s\"0x%llx\"", i != 0 ? "," : "", (unsigned long long)mask);
		else
			printf("row %-6u %2u free  0x%016llx\n", asked->message.request.row + i,
				ush_popcount64(mask), (unsigned long long)mask);
	}
	if (asked->json)
		printf("]");
}

/* The SEATS of best and area. */
static void print_seats(const struct asked *asked, const uint8_t *bytes, size_t size)
{
	struct ush_extension_header header;
	struct ush_leg leg;

	if (size < sizeof(struct ush_reply) + sizeof(header))
		return;
	memcpy(&header, bytes + sizeof(struct ush_reply), sizeof(header));
	if (header.type != USH_EXTENSION_SEATS || header.value > USH_LEG_COUNT_MAX ||
		size != sizeof(struct ush_reply) + sizeof(header) + header.value * sizeof(leg))
		return;
	if (asked->json)
		printf(",\"seats\":[");
	for (uint32_t i = 0; i < header.value; i++) {
		memcpy(&leg, bytes + sizeof(struct ush_reply) + sizeof(header) + i * sizeof(leg),
			sizeof(leg));
		if (asked->json)
			printf("%s{\"row\":%u,\"mask\":\"0x%llx\"}", i != 0 ? "," : "", leg.row,
				(unsigned long long)leg.mask);
		else
			printf("row %-6u %2u held  0x%016llx\n", leg.row, ush_popcount64(leg.mask),
				(unsigned long long)leg.mask);
	}
	if (asked->json)
		printf("]");
}

/* The key of a channel. ret: its digits, or NULL. */
static const char *find_key(uint8_t *bytes, size_t size)
{
	const struct ush_reply *reply = (const struct ush_reply *)(void *)bytes;

	if (reply->op != USH_OP_CHANNEL_KEY || reply->status != USH_STATUS_OK)
		return NULL;
	return ush_client_text(bytes, size);
}

static void print_json(const struct asked *asked, uint8_t *bytes, size_t size)
{
	const struct ush_reply *reply = (const struct ush_reply *)(const void *)bytes;

	printf("{\"action\":\"%s\",\"status\":\"%s\",\"event\":%u,\"request_id\":%u,"
	       "\"hold\":\"0x%llx\",\"state\":\"%s\",\"deadline_ns\":%llu,\"sequence\":%llu,"
	       "\"amount\":%llu,\"version\":%u,\"detail\":%u",
		asked->action->name, usher_name_status(reply->status), reply->event,
		reply->request_id, (unsigned long long)reply->hold,
		usher_name_hold_state(reply->state), (unsigned long long)reply->deadline_ns,
		(unsigned long long)reply->sequence, (unsigned long long)reply->amount,
		reply->hold_version, reply->detail);
	if (reply->op == USH_OP_STATUS && reply->event != 0)
		printf(",\"event_status\":\"%s\",\"free\":%llu",
			usher_name_event_status(reply->detail), (unsigned long long)reply->amount);
	if (reply->status == USH_STATUS_BAD_REQUEST)
		printf(",\"fault\":\"%s\"", usher_name_fault(reply->detail));
	print_rows(asked, bytes, size);
	print_seats(asked, bytes, size);
	client_room_print(reply, asked->message.request.user, true);
	if (find_key(bytes, size) != NULL)
		printf(",\"key\":\"%u:%s\"", reply->detail, find_key(bytes, size));
	printf("}\n");
}

static void print_text(const struct asked *asked, uint8_t *bytes, size_t size)
{
	const struct ush_reply *reply = (const struct ush_reply *)(const void *)bytes;

	printf("%-10s %s", "status", usher_name_status(reply->status));
	if (reply->status == USH_STATUS_BAD_REQUEST)
		printf(": %s", usher_name_fault(reply->detail));
	else if (reply->status == USH_STATUS_NOT_ON_SALE)
		printf(": the event is %s", usher_name_event_status(reply->detail));
	else if (reply->status == USH_STATUS_TAKEN || reply->status == USH_STATUS_TAKEN_NOW)
		printf(": leg %u, seats 0x%llx", reply->detail, (unsigned long long)reply->hold);
	else if (reply->status == USH_STATUS_LIMIT)
		printf(": %u seats a user", reply->detail);
	printf("\n");
	if (reply->status == USH_STATUS_OK && reply->op == USH_OP_STATUS && reply->event != 0)
		printf("%-10s %s\n%-10s %llu\n", "event", usher_name_event_status(reply->detail),
			"free", (unsigned long long)reply->amount);
	if (reply->status == USH_STATUS_OK && reply->op == USH_OP_QUERY_SECTION)
		printf("%-10s %llu\n", "rows", (unsigned long long)reply->amount);
	if (reply->state != USH_HOLD_STATE_FREE)
		printf("%-10s 0x%llx\n%-10s %s%s\n%-10s %llu\n", "hold",
			(unsigned long long)reply->hold, "state",
			usher_name_hold_state(reply->state),
			reply->op != USH_OP_CONFIRM && reply->detail == 1 ? " (a repeat)" : "",
			"amount", (unsigned long long)reply->amount);
	if (reply->hold_version != 0)
		printf("%-10s %u\n", "version", reply->hold_version);
	if (reply->deadline_ns != 0) {
		printf("%-10s ", "deadline");
		print_time(stdout, reply->deadline_ns);
		printf("\n");
	}
	if (reply->sequence != 0)
		printf("%-10s %llu\n", "sequence", (unsigned long long)reply->sequence);
	print_rows(asked, bytes, size);
	print_seats(asked, bytes, size);
	client_room_print(reply, asked->message.request.user, false);
	if (find_key(bytes, size) != NULL)
		printf("%-10s %u:%s\n", "key", reply->detail, find_key(bytes, size));
}

/* ---- asking -------------------------------------------------------------------------------- */

/* Where to ask: one of the two. */
struct peer {
	struct ush_client control;
	struct client_udp udp;
	bool is_udp;
};

static int peer_open(struct peer *peer, const struct asked *asked, struct ush_message *message)
{
	peer->is_udp = asked->udp != NULL;
	if (peer->is_udp)
		return client_udp_open(&peer->udp, asked->udp, message);
	return ush_client_open(&peer->control,
		asked->socket != NULL ? asked->socket : ush_client_default_path(), message);
}

static void peer_close(struct peer *peer)
{
	if (peer->is_udp)
		client_udp_close(&peer->udp);
	else
		ush_client_close(&peer->control);
}

static int call(struct peer *peer, struct asked *asked, uint8_t *bytes, size_t *size,
	struct ush_message *message)
{
	if (peer->is_udp)
		return client_udp_call(&peer->udp, &asked->message.request, asked->timeout_ms,
			bytes, size, message);
	return ush_client_call(&peer->control, &asked->message.request, -1, asked->timeout_ms,
		bytes, size, message);
}

static int ask_stats(struct peer *peer, const struct asked *asked, struct ush_message *message)
{
	struct client_stats stats = {.stat = NULL};
	int error;

	if (peer->is_udp) {
		ush_message_set(message, "stats: only on the control port (--socket)");
		return -USH_EUNSUPPORTED;
	}
	error = client_stats_read(&peer->control, &stats, message);
	if (error != 0)
		return error;
	for (uint32_t i = 0; i < stats.count; i++) {
		if (asked->json)
			printf("%s\"%s\":%llu", i == 0 ? "{" : ",", stats.stat[i].name,
				(unsigned long long)stats.stat[i].value);
		else
			printf("%s %llu\n", stats.stat[i].name,
				(unsigned long long)stats.stat[i].value);
	}
	if (asked->json)
		printf("}\n");
	client_stats_free(&stats);
	return 0;
}

/* On a public port: room for an answer of so many bytes. */
static void pad(struct message *message, size_t bytes)
{
	message->header = (struct ush_extension_header){
		.type = USH_EXTENSION_PAD, .size = (uint16_t)(bytes - sizeof(message->request))};
	message->request.extension_count = 1;
	message->request.size = (uint16_t)bytes;
}

/* What best and area want, and room for all seats that the answer may name. */
static void fill_choice(struct asked *asked)
{
	struct message *message = &asked->message;
	bool best = asked->action->op == USH_OP_RESERVE_BEST;
	uint64_t flags = (uint64_t)asked->section_given | (uint64_t)asked->tier_given << 1 |
			 (uint64_t)asked->together << 2;

	message->request.arg = asked->seats | asked->accessible << 32;
	if (best)
		message->request.arg |= asked->tier << 16 | flags << 24 | asked->companion << 40;
	pad(message, sizeof(message->request) + sizeof(message->header) +
			     USH_LEG_COUNT_MAX * sizeof(struct ush_leg));
}

static void append(
	struct message *message, const struct ush_extension_header *header, const void *body)
{
	uint8_t *at = (uint8_t *)message + message->request.size;

	memcpy(at, header, sizeof(*header));
	memcpy(at + sizeof(*header), body, header->size - sizeof(*header));
	message->request.size = (uint16_t)(message->request.size + header->size);
	message->request.extension_count++;
}

/* Seats to be given up, and the channel that is meant: where the operation wants it. Goes last. */
static void fill_rest(struct asked *asked)
{
	struct message *message = &asked->message;
	struct ush_request *request = &message->request;
	uint32_t channel = (uint32_t)asked->channel;
	struct ush_extension_header header;
	uint64_t tag;

	if (request->op == USH_OP_CHANNEL_KEY || request->op == USH_OP_PAY_LATE)
		request->section = (uint16_t)channel;
	else if (request->op == USH_OP_BLOCK || request->op == USH_OP_UNBLOCK)
		request->arg = channel;
	if (request->op == USH_OP_JOIN)
		request->arg = asked->tier;
	if (request->op == USH_OP_JOIN && asked->device != 0) {
		header = (struct ush_extension_header){.type = USH_EXTENSION_DEVICE, .size = 16};
		append(message, &header, &asked->device);
	}
	if (request->op == USH_OP_EXCHANGE || request->op == USH_OP_POSITION) {
		memcpy(&header, asked->ticket, sizeof(header));
		header.size = CLIENT_TICKET_BYTES;
		append(message, &header, asked->ticket + sizeof(header));
	}
	if (asked->give_count != 0) {
		header = (struct ush_extension_header){.type = USH_EXTENSION_GIVE,
			.size = (uint16_t)(8 + asked->give_count * sizeof(struct ush_leg)),
			.value = asked->give_count};
		append(message, &header, asked->give);
	}
	if (!asked->key_given)
		return;
	tag = ush_siphash_2(
		&asked->key, request->user, (uint64_t)request->event | (uint64_t)channel << 32);
	header = (struct ush_extension_header){.type = USH_EXTENSION_CHANNEL,
		.size = sizeof(header) + sizeof(tag),
		.value = channel | (uint32_t)asked->key_number << 8};
	append(message, &header, &tag);
}

/* Asks once, and for a section page by page. ret: an enum usher_exit. */
static int ask(struct peer *peer, struct asked *asked, struct ush_message *message)
{
	static uint8_t bytes[USH_CONTROL_BYTES_MAX] USH_ALIGNED(8);
	const struct ush_reply *reply = (const struct ush_reply *)(void *)bytes;

	for (;;) {
		size_t size = 0;

		if (call(peer, asked, bytes, &size, message) != 0) {
			fprintf(stderr, "usher client: %s\n", message->text);
			return USHER_FAILED;
		}
		if (asked->json)
			print_json(asked, bytes, size);
		else
			print_text(asked, bytes, size);
		if (reply->status != USH_STATUS_OK)
			return USHER_FAILED;
		if (asked->action->op != USH_OP_QUERY_SECTION ||
			reply->detail <= asked->message.request.row)
			return USHER_OK;
		asked->message.request.row = (uint16_t)reply->detail;
	}
}

int cmd_client(int argc, char **argv)
{
	static struct asked asked;
	struct ush_message message = {.text = ""};
	struct peer peer;
	int status;

	asked.timeout_ms = 2000;
	status = parse(&asked, argc, argv);
	if (status != 0)
		return status > 0 ? USHER_OK : USHER_USAGE;
	if (check(&asked) != 0)
		return USHER_USAGE;
	asked.message.request.magic = USH_REQUEST_MAGIC;
	asked.message.request.version = USH_VERSION;
	asked.message.request.op = (uint8_t)asked.action->op;
	if (asked.message.request.size == 0)
		asked.message.request.size = sizeof(struct ush_request);
	if (asked.action->op == USH_OP_QUERY_SECTION)
		pad(&asked.message, sizeof(asked.message) - (asked.key_given ? 16 : 0));
	if (asked.action->op == USH_OP_RESERVE_BEST || asked.action->op == USH_OP_RESERVE_AREA)
		fill_choice(&asked);
	if (asked.action->op == USH_OP_WAIT_LIST)
		asked.message.request.arg = asked.seats | asked.tier << 16 |
					    (uint64_t)asked.tier_given << 24 |
					    (uint64_t)asked.wait << 32;
	fill_rest(&asked);
	status = USHER_FAILED;
	if (peer_open(&peer, &asked, &message) == 0) {
		if (asked.action->op != USH_OP_STATS)
			status = ask(&peer, &asked, &message);
		else if (ask_stats(&peer, &asked, &message) == 0)
			status = USHER_OK;
		else
			fprintf(stderr, "usher client: %s\n", message.text);
		peer_close(&peer);
	} else {
		fprintf(stderr, "usher client: %s\n", message.text);
	}
	return status;
}
