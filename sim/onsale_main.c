/* SPDX-License-Identifier: Apache-2.0 */
/*
 * usher-onsale: plays a sale with all defences, with none, and with each alone and each missing,
 * and says who got the seats. stdout is a line of JSON for each, the last one is the sum; what a
 * human reads goes to stderr. Exit status: 0; 1 usage; 20 a check failed: seats sold twice or left
 * over for no reason, people let in for seats that were not there, what was forged believed.
 */
#include <getopt.h>

#include "onsale.h"

static const char usage[] =
	"usage: usher-onsale [--users N] [--seed S] [--seats N] [--table-users N] [--without NAME]\n"
	"\n"
	"  --users N        people and accounts, 1000 to 20000000 (default 100000)\n"
	"  --seed S         the crowd (default 1)\n"
	"  --seats N        seats, a multiple of 25 (default: one for 200 users, 1000 at least)\n"
	"  --table-users N  users of the runs with one defence on or off (default: as --users, a\n"
	"                   million at most; 0: none)\n"
	"  --without NAME   one run only, without this defence: token, draw, verified, device, rate,\n"
	"                   work\n";

static struct {
	uint64_t users, seed, seats, table_users;
	/* 0: no such run. */
	uint32_t without;
} options = {100000, 1, 0, UINT64_MAX, 0};

/* Of all runs. */
static uint64_t violations;

static uint64_t number(const char *name, const char *text, uint64_t least, uint64_t most)
{
	char *end;
	unsigned long long value = strtoull(text, &end, 10);

	if (*text == 0 || *text == '-' || *end != 0 || value < least || value > most) {
		fprintf(stderr, "usher-onsale: --%s %s: allowed is %" PRIu64 " to %" PRIu64 "\n",
			name, text, least, most);
		exit(1);
	}
	return value;
}

static uint32_t defence(const char *text)
{
	for (uint32_t bit = 1; bit <= ONSALE_ALL; bit <<= 1) {
		if (strcmp(text, onsale_defence_name(bit)) == 0)
			return bit;
	}
	fprintf(stderr, "usher-onsale: --without %s: there is no such defence\n", text);
	exit(1);
}

static void read_options(int argc, char **argv)
{
	static const struct option names[] = {{"users", 1, NULL, 'u'}, {"seed", 1, NULL, 's'},
		{"seats", 1, NULL, 't'}, {"table-users", 1, NULL, 'b'}, {"without", 1, NULL, 'w'},
		{"help", 0, NULL, 'h'}, {0}};
	int c;

	while ((c = getopt_long(argc, argv, "", names, NULL)) != -1) {
		if (c == 'u')
			options.users = number("users", optarg, 1000, ONSALE_USERS_MAX);
		else if (c == 's')
			options.seed = number("seed", optarg, 0, UINT64_MAX);
		else if (c == 't')
			options.seats = number("seats", optarg, 100, 1000000);
		else if (c == 'b')
			options.table_users = number("table-users", optarg, 0, ONSALE_USERS_MAX);
		else if (c == 'w')
			options.without = defence(optarg);
		else {
			fputs(usage, c == 'h' ? stdout : stderr);
			exit(c != 'h');
		}
	}
	if (optind != argc || options.seats % ONSALE_ROW_SEATS != 0 ||
		(options.table_users != 0 && options.table_users < 1000)) {
		fputs(usage, stderr);
		exit(1);
	}
}

static uint32_t seats_for(uint64_t users)
{
	uint64_t seats = options.seats != 0 ? options.seats : ush_max64(users / 200, 1000);

	/* As many people for a seat in the smaller runs. */
	if (options.seats != 0 && users < options.users)
		seats = ush_max64(seats * users / options.users, 1000);
	return (uint32_t)(seats / ONSALE_ROW_SEATS * ONSALE_ROW_SEATS);
}

static void play(uint64_t users, uint32_t defences, struct onsale_result *result)
{
	static struct onsale sale;

	memset(&sale, 0, sizeof(sale));
	sale.defences = defences;
	sale.seats = seats_for(users);
	onsale_crowd_init(&sale.crowd, options.seed, (uint32_t)users, sale.seats);
	onsale_play(&sale);
	onsale_result(&sale, result);
	onsale_print(&sale, result, stdout);
	fflush(stdout);
	fprintf(stderr,
		"%8" PRIu64 " users, %6u seats, defences %2u: sold %6" PRIu64 ", let in %7" PRIu64
		", bots' share %5.1f %%, over in %u s, ranks %.4f\n",
		users, sale.seats, defences, result->sold, result->admitted,
		(double)result->bot_share / 10000, (sale.tick - ONSALE_OPEN) / ONSALE_TICKS_S,
		(double)result->rank_correlation / 1e6);
	onsale_free(&sale);
	violations += result->violations;
}

struct row {
	struct onsale_result alone, with_token, missing;
};

static void print_column(const char *name, const struct onsale_result *result)
{
	printf("\"%s\":{\"bot_share\":", name);
	onsale_print_ppm(stdout, result->bot_share);
	printf(",\"decided\":%" PRIu64 "}", result->decided);
}

/* Each defence alone, with tokens, and all but it. */
static void play_table(void)
{
	struct onsale_result none, all;
	struct row rows[6];
	uint32_t count = 0;

	play(options.table_users, 0, &none);
	play(options.table_users, ONSALE_ALL, &all);
	for (uint32_t bit = 1; bit <= ONSALE_ALL; bit <<= 1, count++) {
		struct row *row = &rows[count];

		play(options.table_users, bit, &row->alone);
		row->with_token = row->alone;
		if (bit != ONSALE_TOKEN)
			play(options.table_users, bit | ONSALE_TOKEN, &row->with_token);
		play(options.table_users, ONSALE_ALL & ~bit, &row->missing);
	}
	printf("{\"table_users\":%" PRIu64 ",", options.table_users);
	print_column("none", &none);
	printf(",");
	print_column("all", &all);
	printf(",\"defences\":{");
	for (uint32_t i = 0; i < count; i++) {
		printf("%s\"%s\":{", i == 0 ? "" : ",", onsale_defence_name(1u << i));
		print_column("alone", &rows[i].alone);
		printf(",");
		print_column("with_token", &rows[i].with_token);
		printf(",");
		print_column("missing", &rows[i].missing);
		printf("}");
	}
	printf("}}\n");
}

/* The last line. */
static void print_sum(const struct onsale_result *defended, const struct onsale_result *undefended)
{
	printf("{\"users\":%" PRIu64 ",\"admitted\":%" PRIu64 ",\"sold\":%" PRIu64
	       ",\"unsold_without_reason\":%" PRIu64 ",\"over_admitted\":%" PRIu64
	       ",\"bot_share_undefended\":",
		defended->users, defended->admitted, defended->sold,
		defended->unsold_without_reason, defended->over_admitted);
	onsale_print_ppm(stdout, undefended->bot_share);
	printf(",\"bot_share_defended\":");
	onsale_print_ppm(stdout, defended->bot_share);
	printf(",\"rank_correlation\":");
	onsale_print_ppm(stdout, defended->rank_correlation);
	printf("}\n");
}

int main(int argc, char **argv)
{
	struct onsale_result defended, undefended;

	read_options(argc, argv);
	if (options.table_users == UINT64_MAX)
		options.table_users = ush_min64(options.users, 1000000);
	if (options.without != 0) {
		play(options.users, ONSALE_ALL & ~options.without, &defended);
	} else {
		play(options.users, ONSALE_ALL, &defended);
		play(options.users, 0, &undefended);
		if (options.table_users != 0)
			play_table();
		print_sum(&defended, &undefended);
	}
	if (violations + defended.over_admitted + defended.unsold_without_reason == 0)
		return 0;
	fprintf(stderr,
		"usher-onsale: violations %" PRIu64 ", over_admitted %" PRIu64
		", unsold_without_reason %" PRIu64 "\n",
		violations, defended.over_admitted, defended.unsold_without_reason);
	return 20;
}
