/* SPDX-License-Identifier: Apache-2.0 */
/*
 * explore: runs scenarios in all interleavings up to a bound of preemptions.
 *
 * One line per scenario and number of threads, and a line of JSON at the end. Exit status 0 only
 * without violations, 1 with, 2 when it was called wrongly.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "explore/explore.h"

#define MAX_DEFAULT 3000000u
#define NONE UINT32_MAX

struct wanted {
	const char *scenario;
	const char *replay;
	uint32_t threads;
	uint32_t preemptions;
	uint64_t max;
	bool json;
};

static struct explore_result sum;
static bool all_exhausted = true;

_Noreturn static void usage(FILE *to, int status)
{
	fprintf(to,
		"usage: explore [--scenario NAME] [--threads 2|3] [--preemptions N] [--max N]\n"
		"               [--json] [--list]\n"
		"       explore --scenario NAME --threads N --replay SCHEDULE\n"
		"\n"
		"  --scenario NAME   that one, or all whose name begins so\n"
		"  --threads N       2 or 3 virtual threads; without: both\n"
		"  --preemptions N   bound; without: what suits the scenario\n"
		"  --max N           stop after so many interleavings of a scenario (%u)\n"
		"  --json            a line of JSON for each scenario too\n"
		"  --list            names\n"
		"  --replay SCHEDULE run the schedule that a violation printed, and tell it\n",
		MAX_DEFAULT);
	exit(status);
}

static uint64_t number(const char *text)
{
	char *end;
	uint64_t value;

	errno = 0;
	value = strtoull(text, &end, 10);
	if (*end != 0 || end == text || errno != 0 || *text == '-') {
		fprintf(stderr, "explore: %s is not a number\n", text);
		usage(stderr, 2);
	}
	return value;
}

static uint32_t number32(const char *text)
{
	uint64_t value = number(text);

	return value < NONE ? (uint32_t)value : NONE - 1;
}

static void list(void)
{
	for (uint32_t i = 0; explore_scenarios[i] != NULL; i++)
		printf("%-24s %s\n", explore_scenarios[i]->name, explore_scenarios[i]->about);
}

static void options_read(struct wanted *wanted, int count, char **words)
{
	static const struct option known[] = {
		{"scenario", required_argument, NULL, 's'},
		{"threads", required_argument, NULL, 't'},
		{"preemptions", required_argument, NULL, 'p'},
		{"max", required_argument, NULL, 'm'},
		{"replay", required_argument, NULL, 'r'},
		{"json", no_argument, NULL, 'j'},
		{"list", no_argument, NULL, 'l'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	int letter;

	while ((letter = getopt_long(count, words, "", known, NULL)) != -1) {
		switch (letter) {
		case 's':
			wanted->scenario = optarg;
			break;
		case 't':
			wanted->threads = number32(optarg);
			break;
		case 'p':
			wanted->preemptions = number32(optarg);
			break;
		case 'm':
			wanted->max = number(optarg);
			break;
		case 'r':
			wanted->replay = optarg;
			break;
		case 'j':
			wanted->json = true;
			break;
		case 'l':
			list();
			exit(0);
		case 'h':
			usage(stdout, 0);
		default:
			usage(stderr, 2);
		}
	}
	if (optind != count || (wanted->threads != NONE && wanted->threads - 2 > 1) ||
		wanted->max == 0 ||
		(wanted->replay != NULL && (wanted->scenario == NULL || wanted->threads == NONE)))
		usage(stderr, 2);
}

static void print_result(const struct explore_scenario *scenario,
	const struct explore_options *options, const struct explore_result *r, bool json)
{
	if (json)
		printf("{\"scenario\": \"%s\", \"threads\": %" PRIu32 ", \"preemptions\": %" PRIu32
		       ", \"interleavings\": %" PRIu64 ", \"states\": %" PRIu64
		       ", \"points\": %" PRIu64 ", \"exhausted\": %s, \"violations\": %" PRIu64
		       "}\n",
			scenario->name, options->threads, options->preemptions, r->interleavings,
			r->states, r->points, r->exhausted ? "true" : "false", r->violations);
	else
		printf("%-24s %7" PRIu32 " %11" PRIu32 " %13" PRIu64 " %8" PRIu64 " %10" PRIu64
		       " %7" PRIu64 " %5" PRIu64 " %s\n",
			scenario->name, options->threads, options->preemptions, r->interleavings,
			r->states, r->points, r->points_max, r->words,
			r->violations != 0 ? "VIOLATION"
			: r->exhausted     ? "exhausted"
					   : "stopped at --max");
	fflush(stdout);
}

static void run(
	const struct explore_scenario *scenario, uint32_t threads, const struct wanted *wanted)
{
	struct explore_options options = {
		.threads = threads,
		.preemptions = wanted->preemptions != NONE ? wanted->preemptions
							   : scenario->bound[threads - 2],
		.max = wanted->max,
		.replay = wanted->replay,
	};
	struct explore_result result;

	explore_run(scenario, &options, &result);
	if (options.replay == NULL)
		print_result(scenario, &options, &result, wanted->json);
	if (result.violations != 0)
		printf("%s: violation: %s\n"
		       "%s: repeat it with: explore --scenario %s --threads %" PRIu32
		       " --replay %s\n",
			scenario->name, result.violation, scenario->name, scenario->name, threads,
			result.schedule);
	sum.interleavings += result.interleavings;
	sum.states += result.states;
	sum.points += result.points;
	sum.violations += result.violations;
	all_exhausted = all_exhausted && (result.exhausted || options.replay != NULL);
}

int main(int count, char **words)
{
	struct wanted wanted = {.threads = NONE, .preemptions = NONE, .max = MAX_DEFAULT};
	uint32_t ran = 0;

	options_read(&wanted, count, words);
	if (!wanted.json && wanted.replay == NULL)
		printf("%-24s %7s %11s %13s %8s %10s %7s %5s\n", "scenario", "threads",
			"preemptions", "interleavings", "states", "points", "most", "words");
	for (uint32_t i = 0; explore_scenarios[i] != NULL; i++) {
		const struct explore_scenario *scenario = explore_scenarios[i];
		if (wanted.scenario != NULL &&
			strncmp(wanted.scenario, scenario->name, strlen(wanted.scenario)) != 0)
			continue;
		for (uint32_t threads = 2; threads <= scenario->threads_max; threads++) {
			if (wanted.threads != NONE && wanted.threads != threads)
				continue;
			run(scenario, threads, &wanted);
			ran++;
		}
	}
	if (ran == 0) {
		fprintf(stderr, "explore: no such scenario; --list names them\n");
		return 2;
	}
	printf("{\"interleavings\": %" PRIu64 ", \"states\": %" PRIu64 ", \"points\": %" PRIu64
	       ", \"exhausted\": %s, \"violations\": %" PRIu64 "}\n",
		sum.interleavings, sum.states, sum.points, all_exhausted ? "true" : "false",
		sum.violations);
	return sum.violations != 0;
}
