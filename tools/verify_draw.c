/* SPDX-License-Identifier: Apache-2.0 */
/*
 * usher verify draw: recomputes a published draw (docs/draw.md) from its file.
 *
 * The happy path: read the file and the list, check all that they allow, open the draw under the
 * recomputed key, look up who is asked for.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "room/draw_file.h"
#include "tools/usher.h"

static const char usage[] =
	"usage: usher verify draw [--user U] [--list FILE] [--order] [--json] DRAW\n"
	"\n"
	"Recomputes a published draw: the seed has the hash that was published before the lobby\n"
	"opened, the list of places has the root that was published when it closed, nobody has two\n"
	"places, the proof leads to the root. Then numbers follow from seed, root and beacon.\n"
	"Whether DRAW says what was published, and when, and whether the beacon's value is the\n"
	"beacon's, is for you to compare with where they were published.\n"
	"\n"
	"  --user U      and the number of user U (decimal, or 0x and hexadecimal): so many come before\n"
	"  --list FILE   the list of places, one user a line, if it is not in DRAW\n"
	"  --order       print all users in the order of their numbers, nothing else; needs the list\n"
	"  --json        print one JSON object instead of the table\n"
	"  --help        this text\n"
	"\n"
	"Exit status: 0 all that could be checked is right; 1 something is wrong (it is named);\n"
	"2 usage.\n"
	"\n"
	"Example: usher verify draw --user 4711 event-7-draw.json\n";

struct draw_run {
	struct ush_draw_file file;
	struct ush_draw_check check;
	struct ush_draw draw;
	void *tables;
	const char *path;
	const char *list;
	bool order;
	bool json;
	bool has_user;
	uint64_t user;
	uint32_t tier;
	uint32_t index;
};

static int complain(const char *text)
{
	fprintf(stderr, "usher verify draw: %s\n", text);
	return USHER_FAILED;
}

/* ret: all of a file, to be freed; NULL: said why. */
static char *read_all(const char *path, uint64_t max, size_t *size)
{
	FILE *file = fopen(path, "rb");
	char *text = NULL;
	long end;

	if (file == NULL || fseek(file, 0, SEEK_END) != 0 || (end = ftell(file)) < 0) {
		fprintf(stderr, "usher verify draw: %s: %s\n", path, strerror(errno));
		end = -1;
	} else if ((uint64_t)end > max) {
		fprintf(stderr, "usher verify draw: %s is longer than %" PRIu64 " bytes\n", path,
			max);
		end = -1;
	} else if ((text = malloc((size_t)end + 1)) == NULL) {
		complain("out of memory");
	} else {
		rewind(file);
		*size = fread(text, 1, (size_t)end, file);
		if (ferror(file)) {
			fprintf(stderr, "usher verify draw: %s cannot be read\n", path);
			free(text);
			text = NULL;
		}
	}
	if (file != NULL)
		fclose(file);
	return text;
}

static int read_files(struct draw_run *run, struct ush_message *message)
{
	size_t size = 0;
	char *text = read_all(run->path, USH_DRAW_FILE_BYTES_MAX, &size);
	int ret;

	if (text == NULL)
		return USHER_FAILED;
	ret = ush_draw_file_read(text, size, &run->file, message);
	free(text);
	if (ret != 0)
		return complain(message->text);
	if (run->list == NULL)
		return USHER_OK;
	text = read_all(run->list, (uint64_t)USH_DRAW_PLACES_MAX * 17, &size);
	if (text == NULL)
		return USHER_FAILED;
	ret = ush_draw_list_read(text, size, &run->file, message);
	free(text);
	return ret == 0 ? USHER_OK : complain(message->text);
}

static void print_hex(const char *name, const uint8_t *bytes, uint32_t count, bool json)
{
	printf(json ? "\"%s\":\"" : "%-13s ", name);
	for (uint32_t i = 0; i < count; i++)
		printf("%02x", bytes[i]);
	printf(json ? "\"," : "\n");
}

static uint64_t number_of(const struct draw_run *run)
{
	return ush_draw_number(&run->draw, run->tier, run->index);
}

static void print_json(const struct draw_run *run)
{
	putchar('{');
	printf("\"event\":%u,\"count\":%u,\"void\":%u,", run->file.event, run->file.count,
		run->check.void_count);
	print_hex("root", run->file.root, USH_HASH_BYTES, true);
	print_hex("key", run->check.key, USH_DRAW_KEY_BYTES, true);
	if (run->has_user)
		printf("\"user\":\"%016" PRIx64 "\",\"tier\":%u,\"index\":%u,\"number\":%" PRIu64
		       ",",
			run->user, run->tier, run->index, number_of(run));
	printf("\"seed_checked\":true,\"list_checked\":%s,\"proof_checked\":%s}\n",
		run->check.root_checked ? "true" : "false",
		run->check.proof_checked ? "true" : "false");
}

static void print_table(const struct draw_run *run)
{
	const struct ush_draw_file *file = &run->file;

	printf("%-13s %u\n%-13s %u", "event", file->event, "places", file->count);
	if (run->check.void_count != 0)
		printf(", %u of them void", run->check.void_count);
	printf("\n%-13s", "tiers");
	for (uint32_t i = 0; i < USH_DRAW_TIERS; i++)
		printf(" %u", file->counts[i]);
	putchar('\n');
	print_hex("seed hash", file->seed_hash, USH_HASH_BYTES, false);
	print_hex("root", file->root, USH_HASH_BYTES, false);
	printf("%-13s ", "beacon");
	for (const char *c = file->beacon_source; *c != '\0'; c++)
		putchar((unsigned char)*c < 0x20 ? '?' : *c);
	printf(", round %" PRIu64 "\n", file->beacon_round);
	print_hex("beacon value", file->beacon, file->beacon_bytes, false);
	print_hex("key", run->check.key, USH_DRAW_KEY_BYTES, false);
	printf("%-13s the seed has its hash\n", "checked");
	printf("%-13s %s\n", "",
		run->check.root_checked ? "the list has its root; nobody stands in it twice"
					: "NOT the list: it is not there");
	if (run->check.proof_checked)
		printf("%-13s the proof leads to the root\n", "");
	printf("%-13s when and where the values were published, and the beacon's value\n",
		"compare");
	if (run->has_user)
		printf("%-13s user %" PRIu64 " (%016" PRIx64
		       "), tier %u, place %u: so many come before\n",
			"", run->user, run->user, run->tier, run->index);
	if (run->has_user)
		printf("%-13s %" PRIu64 "\n", "number", number_of(run));
}

static void print_order(const struct draw_run *run)
{
	for (uint64_t number = 0; number < run->file.count; number++) {
		uint32_t index, tier = ush_draw_place(&run->draw, number, &index);

		/* Place in the list: those of the tiers before it, and its index. */
		printf("%016" PRIx64 "\n", run->file.users[run->draw.tier[tier].first + index]);
	}
}

static int run_draw(struct draw_run *run)
{
	struct ush_message message = {""};
	int ret = read_files(run, &message);

	if (ret != USHER_OK)
		return ret;
	if (ush_draw_check(&run->file, &run->check, &message) != 0)
		return complain(message.text);
	if (run->order && run->file.users == NULL)
		return complain("--order needs the list of places: --list FILE");
	if (run->has_user && !ush_draw_find_user(&run->file, run->user, &run->tier, &run->index))
		return complain(run->file.users != NULL
					? "the user has no place in the list"
					: "there is no list, and no proof of that user");
	run->tables = malloc(ush_draw_bytes(run->file.count));
	if (run->tables == NULL)
		return complain("out of memory");
	ush_draw_open(&run->draw, run->tables, run->file.counts, run->check.key, ush_sha256);
	if (run->order)
		print_order(run);
	else if (run->json)
		print_json(run);
	else
		print_table(run);
	return USHER_OK;
}

static int bad_usage(const char *text)
{
	fprintf(stderr, "usher verify draw: %s; see usher verify draw --help\n", text);
	return USHER_USAGE;
}

int verify_draw(int argc, char **argv)
{
	static const struct option options[] = {{"user", required_argument, NULL, 'u'},
		{"list", required_argument, NULL, 'l'}, {"order", no_argument, NULL, 'o'},
		{"json", no_argument, NULL, 'j'}, {"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0}};
	struct draw_run run = {0};
	int option, ret;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (option) {
		case 'u':
			run.has_user = true;
			if (!usher_number(optarg, &run.user) || run.user == 0)
				return bad_usage("--user is no number above 0");
			break;
		case 'l':
			run.list = optarg;
			break;
		case 'o':
			run.order = true;
			break;
		case 'j':
			run.json = true;
			break;
		case 'h':
			fputs(usage, stdout);
			return USHER_OK;
		default:
			fputs(usage, stderr);
			return USHER_USAGE;
		}
	}
	if (optind + 1 != argc)
		return bad_usage("name one draw file");
	run.path = argv[optind];
	ret = run_draw(&run);
	ush_draw_file_close(&run.file);
	free(run.tables);
	return ret;
}
