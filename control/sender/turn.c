/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The row has the process whose turn it is, and a beat that it counts up each three seconds. Who
 * looks on and sees the same beat for ten seconds, by the own monotonic clock, takes the next turn.
 * Clocks of two machines are never compared.
 *
 * A process that was killed and comes back need not wait: STATE/sender-NAME is locked for as long
 * as a process lives and has its id, so whoever gets the lock knows that the id in it is of the
 * dead.
 *
 * Failure modes: a process that stood still for longer, or could not reach the database, finds its
 * turn over in its next job; what it had under way then may be sent twice.
 */
#include "sender/turn.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include <openssl/rand.h>

#define BEAT_US 3000000
#define SILENT_US 10000000
/* Looks in that time: one a second. A process that stood still itself has not looked. */
#define SILENT_LOOKS 5u

/* ret: true if `text` is an id. */
static bool is_id(const char *text)
{
	return strlen(text) == TURN_ID_BYTES - 1 &&
	       strspn(text, "0123456789abcdef") == TURN_ID_BYTES - 1;
}

static void lock_file(struct turn *turn, const char *folder)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/sender-%s", folder, turn->name);
	turn->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (turn->lock < 0)
		return;
	/* Another process of this folder lives: that one is waited for as one elsewhere is. */
	if (flock(turn->lock, LOCK_EX | LOCK_NB) != 0) {
		close(turn->lock);
		turn->lock = -1;
		return;
	}
	if (pread(turn->lock, turn->dead, TURN_ID_BYTES - 1, 0) != TURN_ID_BYTES - 1 ||
		!is_id(turn->dead))
		turn->dead[0] = '\0';
	if (pwrite(turn->lock, turn->id, TURN_ID_BYTES - 1, 0) != TURN_ID_BYTES - 1)
		ush_core_log(USH_CORE_WARN, "sender", "cannot write who sends", "name", turn->name,
			NULL);
}

void turn_open(struct turn *turn, const struct ush_core *core, const char *name)
{
	uint8_t chance[(TURN_ID_BYTES - 1) / 2];

	*turn = (struct turn){.name = name, .lock = -1};
	USH_ASSERT(RAND_bytes(chance, sizeof(chance)) == 1);
	for (size_t i = 0; i < sizeof(chance); i++)
		snprintf(turn->id + 2 * i, 3, "%02x", chance[i]);
	if (core->state_dir != NULL)
		lock_file(turn, core->state_dir);
}

void turn_close(struct turn *turn)
{
	if (turn->lock >= 0)
		close(turn->lock);
	turn->lock = -1;
}

/* ret: true if the holder of a turn that is not ours is gone. */
static bool is_gone(struct turn *turn, const char *holder, int64_t number, int64_t beat)
{
	int64_t now_us = ush_core_monotonic_us();

	if (holder[0] == '\0' || strcmp(holder, turn->dead) == 0)
		return true;
	if (turn->seen_us == 0 || turn->seen_turn != number || turn->seen_beat != beat) {
		turn->seen_turn = number;
		turn->seen_beat = beat;
		turn->seen_us = now_us;
		turn->seen_count = 0;
		return false;
	}
	turn->seen_count++;
	return now_us - turn->seen_us >= SILENT_US && turn->seen_count >= SILENT_LOOKS;
}

static int64_t keep(struct ush_db_conn *conn, struct turn *turn, int64_t number)
{
	int64_t now_us = ush_core_monotonic_us();

	if (now_us - turn->beaten_us < BEAT_US)
		return number;
	turn->beaten_us = now_us;
	ush_db_exec(conn, "UPDATE sender_turns SET beat = beat + 1 WHERE name = ? AND turn = ?",
		"ti", turn->name, number);
	return number;
}

int64_t turn_hold(struct ush_db_conn *conn, struct turn *turn, bool *fresh)
{
	int64_t number = 0, beat = 0, rows;
	char *holder = NULL;
	bool gone;
	int found = ush_db_get(conn, "SELECT holder, turn, beat FROM sender_turns WHERE name = ?",
		"t", turn->name, "tii", &holder, &number, &beat);

	*fresh = false;
	if (found < 0)
		return found;
	if (found == 1 && holder != NULL && strcmp(holder, turn->id) == 0) {
		free(holder);
		/* The job that began it may have been told to run again. */
		*fresh = turn->mine != number;
		return keep(conn, turn, number);
	}
	gone = is_gone(turn, holder != NULL ? holder : "", number, beat);
	free(holder);
	if (!gone)
		return 0;
	rows = ush_db_exec(conn,
		"INSERT INTO sender_turns(name, holder, turn, beat) VALUES(?, ?, ?, 0)"
		" ON CONFLICT(name) DO UPDATE SET holder = excluded.holder, turn = excluded.turn,"
		" beat = 0 WHERE sender_turns.turn = ?",
		"ttii", turn->name, turn->id, number + 1, number);
	if (rows < 0)
		return rows;
	*fresh = rows == 1;
	return rows == 1 ? number + 1 : 0;
}
