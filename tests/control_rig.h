/* SPDX-License-Identifier: Apache-2.0 */
/*
 * usher-control without HTTP, for tests of one module: a loop, a database, fetch, settings from the
 * command line (SECTION.KEY=VALUE), and commands, one a line, from standard input.
 *
 * Owns:  the core of one test program.
 * Reads: standard input.
 * Never: used outside tests/.
 */
#ifndef USH_TESTS_CONTROL_RIG_H
#define USH_TESTS_CONTROL_RIG_H

#include <event2/event.h>
#include <event2/thread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/core.h"
#include "db/db.h"
#include "fetch/fetch.h"

#define RIG_LINE_BYTES 65536u

static struct ush_core core;
static int rig_argc;
static char **rig_argv;
static void (*rig_command)(char *line);

static inline const char *rig_setting(
	const struct ush_core *of, const char *section, const char *key)
{
	size_t section_bytes = strlen(section), key_bytes = strlen(key);

	(void)of;
	for (int i = 2; i < rig_argc; i++) {
		const char *text = rig_argv[i];

		if (strncmp(text, section, section_bytes) == 0 && text[section_bytes] == '.' &&
			strncmp(text + section_bytes + 1, key, key_bytes) == 0 &&
			text[section_bytes + 1 + key_bytes] == '=')
			return text + section_bytes + key_bytes + 2;
	}
	return NULL;
}

static inline char *rig_secret(const struct ush_core *of, const char *section, const char *key,
	size_t *bytes, struct ush_message *message)
{
	const char *text = rig_setting(of, section, key);

	(void)message;
	*bytes = text == NULL ? 0 : strlen(text);
	return text == NULL ? NULL : strdup(text);
}

/* Says a line to the test. */
static inline void rig_say(const char *text)
{
	printf("%s\n", text);
	fflush(stdout);
}

static inline void rig_input(evutil_socket_t fd, short what, void *context)
{
	static char text[RIG_LINE_BYTES];
	static size_t have;
	ssize_t bytes = read(fd, text + have, sizeof(text) - have - 1);
	char *end;

	(void)what;
	(void)context;
	if (bytes <= 0) {
		event_base_loopbreak(core.base);
		return;
	}
	have += (size_t)bytes;
	text[have] = '\0';
	while ((end = strchr(text, '\n')) != NULL) {
		*end = '\0';
		rig_command(text);
		have -= (size_t)(end + 1 - text);
		memmove(text, end + 1, have + 1);
	}
}

/* argv[1] is the connection string. Ends the program with a message if it cannot be. */
static inline void rig_open(int argc, char **argv, const struct ush_db_step *const *steps)
{
	struct ush_message message = {""};

	signal(SIGPIPE, SIG_IGN);
	evthread_use_pthreads();
	rig_argc = argc;
	rig_argv = argv;
	core.base = event_base_new();
	core.setting = rig_setting;
	core.secret = rig_secret;
	core.state_dir = rig_setting(&core, "control", "state_dir");
	core.origin = "http://shop.example";
	if (ush_db_open(&core.db, argv[1], 2, steps, core.base, &message) != 0 ||
		ush_fetch_open(&core.fetch, core.base, &message) != 0) {
		fprintf(stderr, "%s\n", message.text);
		exit(1);
	}
}

/* Serves commands until standard input ends. */
static inline void rig_run(void (*command)(char *line))
{
	struct event *input =
		event_new(core.base, STDIN_FILENO, EV_READ | EV_PERSIST, rig_input, NULL);

	rig_command = command;
	event_add(input, NULL);
	rig_say("ready");
	event_base_dispatch(core.base);
	event_free(input);
}

/* After the modules. */
static inline void rig_close(void)
{
	ush_fetch_close(core.fetch);
	ush_db_close(core.db);
	event_base_free(core.base);
}

#endif /* USH_TESTS_CONTROL_RIG_H */
