/* SPDX-License-Identifier: Apache-2.0 */
/* `usher event`: venue files and the events that are made of them. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "catalogue/venue.h"
#include "client.h"
#include "event_bookings.h"
#include "event_change.h"
#include "usher.h"

/* Loading validates the image and waits for the disk. */
#define CALL_MS 30000u
#define PRICE_COUNT_MAX 255u

/* Everything that can stand on the command line; each action takes some of it. */
struct arguments {
	const char *out;
	const char *socket;
	const char *venue;
	const char *currency;
	struct ush_venue_price prices[PRICE_COUNT_MAX];
	size_t price_count;
	bool price_default_set;
	uint32_t price_default;
	uint32_t event;
	uint32_t channel;
	uint32_t request_id;
	bool key_new;
	bool json;
	bool refund;
	bool rows;
	bool on_sale;
	bool quiet;
	/* What is left: files, a status, seats. */
	char **words;
	int word_count;
};

struct action {
	const char *name;
	int (*run)(const struct arguments *arguments);
	/* Options it takes, as short letters. */
	const char *options;
	int words_min;
	int words_max;
	bool needs_event;
	const char *usage;
};

static void print_help(FILE *out)
{
	fprintf(out,
		"usage: usher event ACTION [OPTIONS] ARGUMENTS\n"
		"\n"
		"  check VENUE...               is this a valid venue file (or image)?\n"
		"  compile VENUE -o IMAGE       make the binary image\n"
		"  show VENUE [--json] [--rows] sections, rows, tiers, prices and totals\n"
		"  load --event N VENUE         give an event to a running usherd, as a draft\n"
		"       [--on-sale]             and open its sale\n"
		"  change --event N VENUE       add the rows that VENUE has behind the event's, and\n"
		"                               take its prices, while it is sold; all else in it must\n"
		"                               be as it was loaded\n"
		"       [--request-id R]        R: asked twice by this number it is done once\n"
		"  status --event N [STATUS]    show the status; or set it: draft, on_sale,\n"
		"                               paused, completed, cancelled (for ever)\n"
		"  bookings --event N           list its bookings, while the sale goes on\n"
		"       [--refund]              only what is to be refunded when it is cancelled\n"
		"  block --event N --venue VENUE SEAT...    take house seats off sale\n"
		"  unblock --event N --venue VENUE SEAT...  put them back on sale\n"
		"       [--channel C]           both: seats for those with the channel's key\n"
		"  channel-key --event N --channel C [--new]  tell the key, or make a new one\n"
		"\n"
		"VENUE is a venue file (docs/venue.md), a seating plan exported from pretix, or an\n"
		"image. SEAT is SECTION/ROW/SEAT, for general admission SECTION/PLACE.\n"
		"\n"
		"  -e, --event N            event id, 1 to %u\n"
		"  -o, --output FILE        where compile writes the image\n"
		"  -s, --socket PATH        usherd's control socket (default: %s)\n"
		"  -v, --venue VENUE        whose labels the seats are\n"
		"      --channel C          a channel of the event, 1 to 15: its seats are sold only\n"
		"                           to requests that carry a tag made with its key\n"
		"      --request-id R       change: a number from 1, higher each time\n"
		"      --new                channel-key: the key there was is void from here\n"
		"      --json               show: as one JSON object; bookings: one object a line\n"
		"      --rows               show: a line for each row block\n"
		"      --on-sale            load: then set the status to on_sale\n"
		"      --currency CODE      pretix plans: ISO 4217 code of the prices\n"
		"      --price CATEGORY=MINOR   pretix plans: price in minor units; repeat\n"
		"      --price-default MINOR    pretix plans: price of all other categories\n"
		"  -q, --quiet              no warnings about what a plan cannot carry\n"
		"  -h, --help               this\n"
		"\n"
		"examples:\n"
		"  usher event check venues/theatre.json\n"
		"  usher event show --rows venues/club.json\n"
		"  usher event load --event 7 --on-sale venues/arena.json\n"
		"  usher event change --event 7 arena-with-more-rows.json\n"
		"  usher event block --event 7 --venue venues/arena.json 101/1/5 101/1/6 Floor/17\n"
		"  usher event block --event 7 --channel 2 --venue venues/arena.json 101/1/7\n"
		"  usher event channel-key --event 7 --channel 2\n"
		"  usher event compile plan.json --currency EUR --price Front=4500 \\\n"
		"        --price-default 2500 -o plan.ven\n"
		"\n"
		"Exit status: 0 it worked, 1 it did not, 2 the command line makes no sense.\n",
		USH_EVENT_ID_MAX, ush_client_default_path());
}

static void print_warning(void *context, const char *text)
{
	(void)context;
	fprintf(stderr, "warning: %s\n", text);
}

/* Compiles or reads a venue and opens it. ret: 0, or -1 after a message. */
static int venue_load(const struct arguments *arguments, const char *path, void **image,
	size_t *image_bytes, struct ush_venue **venue)
{
	struct ush_venue_options options = {
		.currency = arguments->currency,
		.prices = arguments->prices,
		.price_count = arguments->price_count,
		.price_default_set = arguments->price_default_set,
		.price_default = arguments->price_default,
		.warn = arguments->quiet ? NULL : print_warning,
	};
	struct ush_message message = {""};

	if (ush_venue_compile_file(path, &options, image, image_bytes, &message) != 0) {
		fprintf(stderr, "%s\n", message.text);
		return -1;
	}
	if (ush_venue_open(*image, *image_bytes, venue, &message) != 0) {
		fprintf(stderr, "%s: %s\n", path, message.text);
		free(*image);
		return -1;
	}
	return 0;
}

static int run_check(const struct arguments *arguments)
{
	int exit_status = USHER_OK;

	for (int i = 0; i < arguments->word_count; i++) {
		const struct ush_venue_header *header;
		struct ush_venue *venue;
		size_t image_bytes;
		void *image;

		if (venue_load(arguments, arguments->words[i], &image, &image_bytes, &venue) != 0) {
			exit_status = USHER_FAILED;
			continue;
		}
		header = ush_venue_get_header(venue);
		printf("%s: valid: %s, %u places, %u sections, %u row blocks, %u tiers, image of "
		       "%zu bytes\n",
			arguments->words[i], (const char *)header->name, header->seat_count,
			header->section_count, header->row_count, header->tier_count, image_bytes);
		ush_venue_close(venue);
		free(image);
	}
	return exit_status;
}

static int run_show(const struct arguments *arguments)
{
	struct ush_venue *venue;
	size_t image_bytes;
	void *image;
	int ret = 0;

	if (venue_load(arguments, arguments->words[0], &image, &image_bytes, &venue) != 0)
		return USHER_FAILED;
	if (arguments->json)
		ret = ush_venue_print_json(venue, stdout);
	else
		ush_venue_print(venue, arguments->rows, stdout);
	ush_venue_close(venue);
	free(image);
	if (ret != 0 || fflush(stdout) != 0) {
		fprintf(stderr, "usher event show: the output could not be written\n");
		return USHER_FAILED;
	}
	return USHER_OK;
}

/* Writes all bytes. ret: 0, or -1 with errno set. */
static int write_all(int fd, const void *bytes, size_t count)
{
	const char *p = bytes;

	while (count > 0) {
		ssize_t written = write(fd, p, count);

		if (written < 0 && errno == EINTR)
			continue;
		if (written <= 0)
			return -1;
		p += written;
		count -= (size_t)written;
	}
	return 0;
}

/* Writes beside the file and renames, so that nobody ever reads half an image. */
static int write_file(const char *path, const void *bytes, size_t count)
{
	size_t size = strlen(path) + 8;
	char *part = malloc(size);
	int fd = -1, ret = -1;

	if (part == NULL)
		return -1;
	snprintf(part, size, "%s.part", path);
	fd = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (fd >= 0 && write_all(fd, bytes, count) == 0 && fsync(fd) == 0)
		ret = 0;
	if (fd >= 0 && close(fd) != 0)
		ret = -1;
	if (ret == 0)
		ret = rename(part, path);
	if (ret != 0 && fd >= 0) {
		int saved = errno;

		unlink(part);
		errno = saved;
	}
	free(part);
	return ret;
}

static int run_compile(const struct arguments *arguments)
{
	struct ush_venue *venue;
	size_t image_bytes;
	void *image;
	int exit_status = USHER_OK;

	if (arguments->out == NULL) {
		fprintf(stderr, "usher event compile: name the image with -o IMAGE\n");
		return USHER_USAGE;
	}
	if (venue_load(arguments, arguments->words[0], &image, &image_bytes, &venue) != 0)
		return USHER_FAILED;
	if (write_file(arguments->out, image, image_bytes) != 0) {
		fprintf(stderr, "%s: cannot be written: %s\n", arguments->out, strerror(errno));
		exit_status = USHER_FAILED;
	} else {
		printf("%s: %u places, %u row blocks, %zu bytes\n", arguments->out,
			ush_venue_get_header(venue)->seat_count,
			ush_venue_get_header(venue)->row_count, image_bytes);
	}
	ush_venue_close(venue);
	free(image);
	return exit_status;
}

static const char *status_name(uint8_t status)
{
	switch (status) {
#define X(name, value) \
	case value: \
		return #name;
		USH_STATUS_EACH(X)
#undef X
	default:
		return "a status this program does not know";
	}
}

static const char *event_status_name(uint32_t status)
{
	static const char *const names[USH_EVENT_STATUS_COUNT] = {
		"none", "draft", "on_sale", "paused", "sold_out", "completed", "cancelled"};

	return status < USH_EVENT_STATUS_COUNT ? names[status] : "unknown";
}

/* An answer with what stands behind it. */
union answer {
	uint8_t bytes[USH_CONTROL_BYTES_MAX];
	struct ush_reply head;
};

/* One call on a connection of its own. ret: 0, or -1 after a message: also when refused. */
static int call(const struct arguments *arguments, struct ush_request *request, int fd,
	union answer *answer)
{
	struct ush_message message = {""};
	struct ush_client client;
	const char *text;
	size_t bytes = 0;
	int ret;

	ret = ush_client_open(&client,
		arguments->socket != NULL ? arguments->socket : ush_client_default_path(),
		&message);
	if (ret == 0) {
		ret = ush_client_call(
			&client, request, fd, CALL_MS, answer->bytes, &bytes, &message);
		ush_client_close(&client);
	}
	if (ret != 0) {
		fprintf(stderr, "%s\n", message.text);
		return -1;
	}
	if (answer->head.status == USH_STATUS_OK)
		return 0;
	text = ush_client_text(answer->bytes, bytes);
	fprintf(stderr, "event %u: usherd answers %s (detail %u)%s%s\n", request->event,
		status_name(answer->head.status), answer->head.detail, text != NULL ? ": " : "",
		text != NULL ? text : "");
	return -1;
}

static int set_status(const struct arguments *arguments, uint32_t status)
{
	struct ush_request request;
	static union answer answer;

	ush_client_request(&request, USH_OP_EVENT_STATUS);
	request.event = arguments->event;
	request.arg = status;
	if (call(arguments, &request, -1, &answer) != 0)
		return USHER_FAILED;
	printf("event %u is %s\n", arguments->event, event_status_name(status));
	if (status == USH_EVENT_STATUS_CANCELLED)
		printf("what is to be refunded: usher event bookings --event %u --refund\n",
			arguments->event);
	return USHER_OK;
}

static int run_status(const struct arguments *arguments)
{
	struct ush_request request;
	static union answer answer;

	if (arguments->word_count == 1) {
		static const uint32_t settable[] = {USH_EVENT_STATUS_DRAFT,
			USH_EVENT_STATUS_ON_SALE, USH_EVENT_STATUS_PAUSED,
			USH_EVENT_STATUS_COMPLETED, USH_EVENT_STATUS_CANCELLED};

		for (size_t i = 0; i < sizeof(settable) / sizeof(settable[0]); i++) {
			if (strcmp(arguments->words[0], event_status_name(settable[i])) == 0)
				return set_status(arguments, settable[i]);
		}
		fprintf(stderr,
			"usher event status: `%s` is not one of draft, on_sale, paused, completed, "
			"cancelled\n",
			arguments->words[0]);
		return USHER_USAGE;
	}
	ush_client_request(&request, USH_OP_STATUS);
	request.event = arguments->event;
	if (call(arguments, &request, -1, &answer) != 0)
		return USHER_FAILED;
	printf("event %u is %s, %llu seats free\n", arguments->event,
		event_status_name(answer.head.detail), (unsigned long long)answer.head.amount);
	return USHER_OK;
}

/* ret: a sealed memory file with the image, or -1 after a message. */
static int image_file(const void *image, size_t image_bytes)
{
	int fd = memfd_create("usher-venue", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0 || write_all(fd, image, image_bytes) != 0 ||
		fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) !=
			0) {
		fprintf(stderr, "usher event load: no memory file: %s\n", strerror(errno));
		if (fd >= 0)
			close(fd);
		return -1;
	}
	return fd;
}

static int run_load(const struct arguments *arguments)
{
	struct ush_request request;
	static union answer answer;
	struct ush_venue *venue;
	size_t image_bytes;
	void *image;
	int fd, ret = -1;

	if (venue_load(arguments, arguments->words[0], &image, &image_bytes, &venue) != 0)
		return USHER_FAILED;
	ush_client_request(&request, USH_OP_EVENT_LOAD);
	request.event = arguments->event;
	fd = image_file(image, image_bytes);
	if (fd >= 0) {
		ret = call(arguments, &request, fd, &answer);
		close(fd);
	}
	if (ret == 0)
		printf("event %u is loaded: %s, %u places\n", arguments->event,
			(const char *)ush_venue_get_header(venue)->name,
			ush_venue_get_header(venue)->seat_count);
	ush_venue_close(venue);
	free(image);
	if (ret != 0)
		return USHER_FAILED;
	return arguments->on_sale ? set_status(arguments, USH_EVENT_STATUS_ON_SALE) : USHER_OK;
}

static int run_change(const struct arguments *arguments)
{
	struct ush_request request;
	static union answer answer;
	struct ush_venue *venue;
	size_t image_bytes;
	void *image;
	int fd, ret = -1;

	if (venue_load(arguments, arguments->words[0], &image, &image_bytes, &venue) != 0)
		return USHER_FAILED;
	ush_client_request(&request, USH_OP_EVENT_CHANGE);
	request.event = arguments->event;
	request.request_id = arguments->request_id;
	fd = image_file(image, image_bytes);
	if (fd >= 0) {
		ret = call(arguments, &request, fd, &answer);
		close(fd);
	}
	if (ret == 0)
		event_change_print(venue, &answer.head);
	ush_venue_close(venue);
	free(image);
	return ret == 0 ? USHER_OK : USHER_FAILED;
}

/* A request with its LEGS extension behind it. */
struct house_request {
	struct ush_request request;
	struct ush_extension_header legs_header;
	struct ush_leg legs[USH_LEG_COUNT_MAX - 1];
};
static_assert(sizeof(struct house_request) == 64 + 8 + 7 * 16, "no gap between the parts");

/* Sends up to USH_LEG_COUNT_MAX rows as one request, all or nothing. */
static int send_house(const struct arguments *arguments, enum ush_op op, const struct ush_leg *legs,
	uint32_t count)
{
	struct house_request house;
	static union answer answer;

	memset(&house, 0, sizeof(house));
	ush_client_request(&house.request, op);
	house.request.event = arguments->event;
	house.request.arg = arguments->channel;
	house.request.row = legs[0].row;
	house.request.mask = legs[0].mask;
	if (count > 1) {
		house.legs_header.type = USH_EXTENSION_LEGS;
		house.legs_header.value = count - 1;
		house.legs_header.size =
			(uint16_t)(sizeof(house.legs_header) + (count - 1) * sizeof(house.legs[0]));
		memcpy(house.legs, legs + 1, (count - 1) * sizeof(house.legs[0]));
		house.request.extension_count = 1;
		house.request.size = (uint16_t)(sizeof(house.request) + house.legs_header.size);
	}
	return call(arguments, &house.request, -1, &answer);
}

/* Adds a seat to the legs. ret: 0, or -1 after a message. */
static int add_seat(
	const struct ush_venue *venue, const char *path, struct ush_leg *legs, uint32_t *leg_count)
{
	struct ush_message message = {""};
	struct ush_venue_place place;
	uint32_t i = 0;

	if (ush_venue_find_path(venue, path, &place, &message) != 0) {
		fprintf(stderr, "%s: %s\n", path, message.text);
		return -1;
	}
	while (i < *leg_count && legs[i].row != place.row)
		i++;
	if (i == *leg_count) {
		legs[i] = (struct ush_leg){.row = (uint16_t)place.row};
		*leg_count += 1;
	}
	if ((legs[i].mask >> place.bit & 1) != 0) {
		fprintf(stderr, "%s: named twice\n", path);
		return -1;
	}
	legs[i].mask |= 1ull << place.bit;
	return 0;
}

static int change_house(const struct arguments *arguments, enum ush_op op)
{
	struct ush_leg *legs = calloc((size_t)arguments->word_count, sizeof(*legs));
	struct ush_venue *venue = NULL;
	uint32_t leg_count = 0, sent = 0;
	size_t image_bytes;
	void *image = NULL;
	int ret = -1;

	if (arguments->venue == NULL) {
		fprintf(stderr, "usher event %s: name the venue file with --venue\n",
			op == USH_OP_BLOCK ? "block" : "unblock");
		free(legs);
		return USHER_USAGE;
	}
	if (legs != NULL)
		ret = venue_load(arguments, arguments->venue, &image, &image_bytes, &venue);
	for (int i = 0; ret == 0 && i < arguments->word_count; i++)
		ret = add_seat(venue, arguments->words[i], legs, &leg_count);
	while (ret == 0 && sent < leg_count) {
		uint32_t left = leg_count - sent;
		uint32_t count = left < USH_LEG_COUNT_MAX ? left : USH_LEG_COUNT_MAX;

		ret = send_house(arguments, op, legs + sent, count);
		if (ret == 0)
			sent += count;
		else if (sent > 0)
			fprintf(stderr,
				"the seats of the first %u of %u row blocks were changed before\n",
				sent, leg_count);
	}
	if (ret == 0)
		printf("event %u: %d seats %s\n", arguments->event, arguments->word_count,
			op == USH_OP_BLOCK ? "blocked" : "back on sale");
	ush_venue_close(venue);
	free(image);
	free(legs);
	return ret == 0 ? USHER_OK : USHER_FAILED;
}

static int run_block(const struct arguments *arguments)
{
	return change_house(arguments, USH_OP_BLOCK);
}

static int run_unblock(const struct arguments *arguments)
{
	return change_house(arguments, USH_OP_UNBLOCK);
}

static int run_channel_key(const struct arguments *arguments)
{
	static union answer answer;
	struct ush_request request;

	if (arguments->channel == 0) {
		fprintf(stderr, "usher event channel-key: name the channel with --channel\n");
		return USHER_USAGE;
	}
	ush_client_request(&request, USH_OP_CHANNEL_KEY);
	request.event = arguments->event;
	request.section = (uint16_t)arguments->channel;
	request.arg = arguments->key_new;
	if (call(arguments, &request, -1, &answer) != 0)
		return USHER_FAILED;
	printf("%u:%s\n", answer.head.detail, ush_client_text(answer.bytes, answer.head.size));
	return USHER_OK;
}

static int run_bookings(const struct arguments *arguments)
{
	const struct event_bookings what = {
		.socket = arguments->socket != NULL ? arguments->socket : ush_client_default_path(),
		.event = arguments->event,
		.refund = arguments->refund,
		.json = arguments->json,
	};

	return event_bookings(&what);
}

static const struct action actions[] = {
	{"check", run_check, "qcpd", 1, 1000000, false, "check VENUE..."},
	{"compile", run_compile, "oqcpd", 1, 1, false, "compile VENUE -o IMAGE"},
	{"show", run_show, "jrqcpd", 1, 1, false, "show [--json] [--rows] VENUE"},
	{"load", run_load, "esaqcpd", 1, 1, true, "load --event N [--on-sale] VENUE"},
	{"change", run_change, "esIqcpd", 1, 1, true, "change --event N [--request-id R] VENUE"},
	{"status", run_status, "es", 0, 1, true, "status --event N [STATUS]"},
	{"bookings", run_bookings, "esjR", 0, 0, true, "bookings --event N [--refund] [--json]"},
	{"channel-key", run_channel_key, "esCN", 0, 0, true,
		"channel-key --event N --channel C [--new]"},
	{"block", run_block, "esvqcpdC", 1, 1000000, true, "block --event N --venue VENUE SEAT..."},
	{"unblock", run_unblock, "esvqcpdC", 1, 1000000, true,
		"unblock --event N --venue VENUE SEAT..."},
};

/* Letters beyond e, o, s, v, q, h have no short form. */
static const struct option long_options[] = {
	{"event", required_argument, NULL, 'e'},
	{"output", required_argument, NULL, 'o'},
	{"socket", required_argument, NULL, 's'},
	{"venue", required_argument, NULL, 'v'},
	{"channel", required_argument, NULL, 'C'},
	{"request-id", required_argument, NULL, 'I'},
	{"new", no_argument, NULL, 'N'},
	{"refund", no_argument, NULL, 'R'},
	{"json", no_argument, NULL, 'j'},
	{"rows", no_argument, NULL, 'r'},
	{"on-sale", no_argument, NULL, 'a'},
	{"currency", required_argument, NULL, 'c'},
	{"price", required_argument, NULL, 'p'},
	{"price-default", required_argument, NULL, 'd'},
	{"quiet", no_argument, NULL, 'q'},
	{"help", no_argument, NULL, 'h'},
	{NULL, 0, NULL, 0},
};

/* Plain decimal, nothing around it. */
static bool parse_number(const char *text, uint32_t min, uint32_t max, uint32_t *number)
{
	unsigned long long value;

	if (text[0] == '\0' || strspn(text, "0123456789") != strlen(text) || strlen(text) > 10)
		return false;
	value = strtoull(text, NULL, 10);
	if (value < min || value > max)
		return false;
	*number = (uint32_t)value;
	return true;
}

/* "CATEGORY=MINOR"; the last = counts, since a category may hold one. Cuts `text` in two. */
static bool parse_price(struct arguments *arguments, char *text)
{
	char *equals = strrchr(text, '=');
	struct ush_venue_price *price = &arguments->prices[arguments->price_count];

	if (equals == NULL || equals == text || arguments->price_count == PRICE_COUNT_MAX ||
		!parse_number(equals + 1, 0, USH_VENUE_PRICE_MAX, &price->price))
		return false;
	*equals = '\0';
	price->category = text;
	for (size_t i = 0; i < arguments->price_count; i++) {
		if (strcmp(arguments->prices[i].category, text) == 0)
			return false;
	}
	arguments->price_count++;
	return true;
}

/* ret: whether the option's value makes sense. */
static bool take_option(struct arguments *arguments, int letter)
{
	switch (letter) {
	case 'e':
		return parse_number(optarg, 1, USH_EVENT_ID_MAX, &arguments->event);
	case 'o':
		arguments->out = optarg;
		return true;
	case 's':
		arguments->socket = optarg;
		return true;
	case 'v':
		arguments->venue = optarg;
		return true;
	case 'C':
		return parse_number(optarg, 1, USH_CHANNEL_COUNT_MAX, &arguments->channel);
	case 'I':
		return parse_number(optarg, 1, UINT32_MAX, &arguments->request_id);
	case 'N':
		arguments->key_new = true;
		return true;
	case 'R':
		arguments->refund = true;
		return true;
	case 'j':
		arguments->json = true;
		return true;
	case 'r':
		arguments->rows = true;
		return true;
	case 'a':
		arguments->on_sale = true;
		return true;
	case 'c':
		arguments->currency = optarg;
		return true;
	case 'p':
		return parse_price(arguments, optarg);
	case 'd':
		arguments->price_default_set = true;
		return parse_number(optarg, 0, USH_VENUE_PRICE_MAX, &arguments->price_default);
	default:
		arguments->quiet = true;
		return true;
	}
}

static const char *option_name(int letter)
{
	for (const struct option *option = long_options; option->name != NULL; option++) {
		if (option->val == letter)
			return option->name;
	}
	return "?";
}

/* What an option with a value takes. */
static const char *option_wants(int letter)
{
	switch (letter) {
	case 'e':
		return "a number from 1 to 65535";
	case 'C':
		return "a number from 1 to 15";
	case 'I':
		return "a number from 1";
	case 'd':
		return "minor units, from 0 to 67108863";
	default:
		return "CATEGORY=MINOR-UNITS, from 0 to 67108863";
	}
}
static_assert(
	USH_EVENT_ID_MAX == 65535 && USH_CHANNEL_COUNT_MAX == 15 && USH_VENUE_PRICE_MAX == 67108863,
	"option_wants() says so");

/* Parses what follows the action. ret: USHER_OK to go on, USHER_USAGE, or -1: help was printed. */
static int parse(const struct action *action, int argc, char **argv, struct arguments *arguments)
{
	int letter;

	while ((letter = getopt_long(argc, argv, "e:o:s:v:qh", long_options, NULL)) != -1) {
		if (letter == 'h') {
			print_help(stdout);
			return -1;
		}
		if (letter == '?')
			return USHER_USAGE;
		if (strchr(action->options, letter) == NULL) {
			fprintf(stderr, "usher event %s: takes no --%s\n", action->name,
				option_name(letter));
			return USHER_USAGE;
		}
		if (!take_option(arguments, letter)) {
			fprintf(stderr, "usher event %s: --%s `%s`: want %s\n", action->name,
				option_name(letter), optarg, option_wants(letter));
			return USHER_USAGE;
		}
	}
	arguments->words = argv + optind;
	arguments->word_count = argc - optind;
	if (action->needs_event && arguments->event == 0) {
		fprintf(stderr, "usher event %s: name the event with --event N\n", action->name);
		return USHER_USAGE;
	}
	if (arguments->word_count < action->words_min ||
		arguments->word_count > action->words_max) {
		fprintf(stderr, "usage: usher event %s\n", action->usage);
		return USHER_USAGE;
	}
	return USHER_OK;
}

int cmd_event(int argc, char **argv)
{
	static struct arguments arguments;
	static char name[40];
	int ret;

	if (argc < 2 || argv[1][0] == '-') {
		bool help =
			argc >= 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0);

		print_help(help ? stdout : stderr);
		return help ? USHER_OK : USHER_USAGE;
	}
	for (size_t i = 0; i < sizeof(actions) / sizeof(actions[0]); i++) {
		if (strcmp(argv[1], actions[i].name) != 0)
			continue;
		memset(&arguments, 0, sizeof(arguments));
		optind = 1;
		/* getopt() begins what it says with this. */
		snprintf(name, sizeof(name), "usher event %s", actions[i].name);
		argv[1] = name;
		ret = parse(&actions[i], argc - 1, argv + 1, &arguments);
		if (ret != USHER_OK)
			return ret < 0 ? USHER_OK : ret;
		return actions[i].run(&arguments);
	}
	fprintf(stderr, "usher event: no action `%s`; `usher event --help` lists them\n", argv[1]);
	return USHER_USAGE;
}
