/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whose turn it is to send.
 *
 * Owns:  a row of sender_turns; the lock on a file that says that this process lives.
 * Reads: the monotonic clock.
 * Never: compares clocks of two machines.
 */
#ifndef USH_SENDER_TURN_H
#define USH_SENDER_TURN_H

#include "daemon/core.h"
#include "db/db.h"

#define TURN_ID_BYTES 33u

struct turn {
	const char *name;
	char id[TURN_ID_BYTES];   /* of this process */
	char dead[TURN_ID_BYTES]; /* of the one before it in the same folder, which is gone; "" */
	int lock;
	/* Of the jobs, one after the other: */
	int64_t mine; /* the turn that is ours; 0: none */
	int64_t beaten_us;
	/* What was seen of another's row, since when, how often. */
	int64_t seen_turn, seen_beat, seen_us;
	uint32_t seen_count;
};

void turn_open(struct turn *turn, const struct ush_core *core, const char *name);
void turn_close(struct turn *turn);
/* Within a write job. ret: the number of the turn, which is ours; 0: somebody else's; negative:
 * error. *fresh: it has just begun. */
int64_t turn_hold(struct ush_db_conn *conn, struct turn *turn, bool *fresh);

#endif /* USH_SENDER_TURN_H */
