/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command line of usherd.
 */
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "port/diag.h"
#include "port/run.h"

#define SET_MAX 64u

struct options {
	const char *config;
	const char *state_directory;
	const char *run_directory;
	const char *set[SET_MAX];
	uint32_t set_count;
	bool check;
	bool print;
};

static const char usage[] =
	"usage: usherd [OPTION]... [-- EAL-ARGUMENT...]\n"
	"\n"
	"  --config FILE            read this configuration (docs/operations.md)\n"
	"  --set SECTION.KEY=VALUE  set one value, after the file; port.NAME.KEY for a port\n"
	"  --state-dir DIR          journal and venue images   [/var/lib/usher as root]\n"
	"  --run-dir DIR            sockets and usherd.pid     [/run/usher as root]\n"
	"  --check-config           say whether the configuration is good, and exit\n"
	"  --print-config           print the configuration in effect, and exit\n"
	"  --version, --help\n"
	"\n"
	"Without --config, one vhost-user port at RUN-DIR/port0.sock answers for 10.77.0.1 and\n"
	"fd77::1, UDP port 7447. What follows -- goes to DPDK as it is.\n"
	"\n"
	"exit status: 0 stopped by a signal; 1 could not start; 2 usage or configuration;\n"
	"3 the disk failed; 130 a second signal while stopping\n";

enum {
	OPTION_CONFIG = 256,
	OPTION_SET,
	OPTION_STATE,
	OPTION_RUN,
	OPTION_CHECK,
	OPTION_PRINT,
	OPTION_VERSION,
	OPTION_HELP,
};

/* ret: -1 to go on, else an exit status. */
static int options_read(struct options *o, int argc, char **argv)
{
	static const struct option known[] = {
		{"config", required_argument, NULL, OPTION_CONFIG},
		{"set", required_argument, NULL, OPTION_SET},
		{"state-dir", required_argument, NULL, OPTION_STATE},
		{"run-dir", required_argument, NULL, OPTION_RUN},
		{"check-config", no_argument, NULL, OPTION_CHECK},
		{"print-config", no_argument, NULL, OPTION_PRINT},
		{"version", no_argument, NULL, OPTION_VERSION},
		{"help", no_argument, NULL, OPTION_HELP},
		{NULL, 0, NULL, 0},
	};
	int c;

	while ((c = getopt_long(argc, argv, "+", known, NULL)) != -1) {
		switch (c) {
		case OPTION_CONFIG:
			o->config = optarg;
			break;
		case OPTION_SET:
			if (o->set_count == SET_MAX) {
				fprintf(stderr, "usherd: at most %u times --set\n", SET_MAX);
				return USH_EXIT_USAGE;
			}
			o->set[o->set_count++] = optarg;
			break;
		case OPTION_STATE:
			o->state_directory = optarg;
			break;
		case OPTION_RUN:
			o->run_directory = optarg;
			break;
		case OPTION_CHECK:
			o->check = true;
			break;
		case OPTION_PRINT:
			o->print = true;
			break;
		case OPTION_VERSION:
			printf("usherd %s\n", USH_VERSION_TEXT);
			return USH_EXIT_OK;
		case OPTION_HELP:
			fputs(usage, stdout);
			return USH_EXIT_OK;
		default:
			fputs("usherd: see usherd --help\n", stderr);
			return USH_EXIT_USAGE;
		}
	}
	return -1;
}

static int configure(
	struct ush_config *config, const struct options *o, struct ush_message *message)
{
	long cpus = sysconf(_SC_NPROCESSORS_CONF);
	uint32_t i;
	int error = 0;

	ush_config_default(config, o->state_directory, o->run_directory);
	if (o->config != NULL)
		error = ush_config_read(config, o->config, message);
	for (i = 0; error == 0 && i < o->set_count; i++)
		error = ush_config_set(config, o->set[i], message);
	if (error == 0)
		error = ush_config_finish(config, cpus > 0 ? (uint32_t)cpus : 1, message);
	return error;
}

/* EAL and the loops resolve paths later, from whatever directory: make them absolute now. */
static bool absolute(const char *path, char *text, size_t size)
{
	char here[USH_CONFIG_TEXT_MAX];
	int used;

	if (path[0] == '/') {
		used = snprintf(text, size, "%s", path);
	} else {
		if (getcwd(here, sizeof(here)) == NULL)
			return false;
		used = snprintf(text, size, "%s/%s", here, path);
	}
	return used > 0 && (size_t)used < size;
}

int main(int argc, char **argv)
{
	static char state[USH_CONFIG_TEXT_MAX], run[USH_CONFIG_TEXT_MAX];
	static struct ush_config config;
	struct options options = {.config = NULL};
	struct ush_message message;
	int status = options_read(&options, argc, argv);

	if (status >= 0)
		return status;
	/* getopt stops behind "--"; without it nothing may be left over. */
	if (optind < argc && strcmp(argv[optind - 1], "--") != 0) {
		fprintf(stderr, "usherd: unexpected '%s'; see usherd --help\n", argv[optind]);
		return USH_EXIT_USAGE;
	}
	if (options.state_directory != NULL &&
		absolute(options.state_directory, state, sizeof(state)))
		options.state_directory = state;
	if (options.run_directory != NULL && absolute(options.run_directory, run, sizeof(run)))
		options.run_directory = run;
	if (configure(&config, &options, &message) != 0) {
		fprintf(stderr, "usherd: %s\n", message.text);
		return USH_EXIT_USAGE;
	}
	if (options.print)
		ush_config_print(&config, stdout);
	if (options.check)
		puts("usherd: the configuration is good");
	if (options.print || options.check)
		return USH_EXIT_OK;
	ush_diag_init((enum ush_diag_level)config.log_level, config.log_json != 0);
	return ush_run(&config, argc - optind, argv + optind);
}
