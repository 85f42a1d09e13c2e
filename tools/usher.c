/* SPDX-License-Identifier: Apache-2.0 */
/* `usher`: one command line for everything an operator does beside running usherd. */
#include <stdio.h>
#include <string.h>

#include "usher.h"
#include "wire/wire.h"

/* Set by the build from the project's version. */
#ifndef USH_VERSION_TEXT
#define USH_VERSION_TEXT "unknown"
#endif

struct command {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *help;
};

static int cmd_version(int argc, char **argv);
static int cmd_help(int argc, char **argv);

static const struct command commands[] = {
	{"event", cmd_event, "check, compile, load and open events (venue files)"},
	{"client", cmd_client,
		"one request, one answer: reserve, release, hold, section, status, ..."},
	{"load", cmd_load, "generate booking traffic and measure the answers"},
	{"top", cmd_top, "what a running usherd is doing, each second"},
	{"journal", cmd_journal, "look into a journal directory"},
	{"verify", cmd_verify,
		"audit a journal: no double sale, nothing acknowledged lost; or recompute a draw"},
	{"room", cmd_room, "open, close, draw and run waiting rooms"},
	{"token", cmd_token, "make and check access tokens"},
	{"gate", cmd_gate, "check tickets at a door without a network"},
	{"reconcile", cmd_reconcile, "compare the provider's books, payments, and seats"},
	{"work", cmd_work, "solve a proof of work"},
	{"version", cmd_version, "print the version"},
	{"help", cmd_help, "print this, or `usher help COMMAND`"},
};
static const size_t command_count = sizeof(commands) / sizeof(commands[0]);

static const struct command *command_find(const char *name)
{
	for (size_t i = 0; i < command_count; i++) {
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
	}
	return NULL;
}

static void print_help(FILE *out)
{
	fprintf(out, "usage: usher COMMAND [OPTIONS]\n\n");
	for (size_t i = 0; i < command_count; i++)
		fprintf(out, "  %-9s %s\n", commands[i].name, commands[i].help);
	fprintf(out,
		"\n`usher COMMAND --help` describes each, with examples.\n"
		"Exit status: 0 it worked, 1 it did not, 2 the command line makes no sense.\n");
}

static int cmd_version(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	printf("usher %s, protocol %u, journal %u, venue image %u\n", USH_VERSION_TEXT, USH_VERSION,
		USH_JOURNAL_VERSION, USH_VENUE_VERSION);
	return USHER_OK;
}

static int cmd_help(int argc, char **argv)
{
	static char help_option[] = "--help";
	const struct command *command;

	if (argc < 2) {
		print_help(stdout);
		return USHER_OK;
	}
	command = command_find(argv[1]);
	if (command == NULL) {
		fprintf(stderr, "usher: no command `%s`; `usher help` lists them\n", argv[1]);
		return USHER_USAGE;
	}
	if (command->run == cmd_help || command->run == cmd_version) {
		print_help(stdout);
		return USHER_OK;
	}
	return command->run(2, (char *[]){argv[1], help_option, NULL});
}

int main(int argc, char **argv)
{
	static char name[32];
	const struct command *command;

	if (argc < 2) {
		print_help(stderr);
		return USHER_USAGE;
	}
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
		print_help(stdout);
		return USHER_OK;
	}
	if (strcmp(argv[1], "--version") == 0)
		return cmd_version(argc - 1, argv + 1);
	command = command_find(argv[1]);
	if (command == NULL) {
		fprintf(stderr, "usher: no command `%s`; `usher help` lists them\n", argv[1]);
		return USHER_USAGE;
	}
	/* getopt() begins what it says with this. */
	snprintf(name, sizeof(name), "usher %s", command->name);
	argv[1] = name;
	return command->run(argc - 1, argv + 1);
}
