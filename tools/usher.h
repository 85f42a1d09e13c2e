/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The subcommands of `usher`.
 *
 * Owns:  nothing.
 * Reads: nothing.
 * Never: anything but names; each command lives in its own file.
 */
#ifndef USH_USHER_H
#define USH_USHER_H

#include <stdbool.h>
#include <stdint.h>

/* Exit statuses, the same for every command. */
enum usher_exit {
	USHER_OK = 0,
	/* Asked for correctly, but it did not work or what was checked is not so. */
	USHER_FAILED = 1,
	/* The command line makes no sense. */
	USHER_USAGE = 2,
};

/*
 * Each takes its own arguments with argv[0] = its name ("event"), so that getopt_long works as in
 * a program of its own, and returns an enum usher_exit. by: the main thread, once.
 */
int cmd_event(int argc, char **argv);
int cmd_load(int argc, char **argv);
int cmd_client(int argc, char **argv);
int cmd_top(int argc, char **argv);
int cmd_journal(int argc, char **argv);
int cmd_verify(int argc, char **argv);
int cmd_room(int argc, char **argv);
int cmd_token(int argc, char **argv);
int cmd_work(int argc, char **argv);
int cmd_gate(int argc, char **argv);
int cmd_reconcile(int argc, char **argv);

/* Subcommands of journal: argv as cmd_journal has it. */
int journal_follow(int argc, char **argv);
int journal_snapshot(int argc, char **argv);
int journal_archive(int argc, char **argv);
int journal_restore(int argc, char **argv);
int journal_forget(int argc, char **argv);

/* Subcommand of verify: argv[0] = "draw". */
int verify_draw(int argc, char **argv);

/* ret: name of a record type. */
const char *usher_record_type(uint8_t type);
/* ret: true if the mask of such a record names seats of its row. */
bool usher_record_has_seats(uint8_t type);

/* ret: false if the text is no number from 0 to 2^64 - 1. */
bool usher_number(const char *text, uint64_t *value);

#endif /* USH_USHER_H */
