/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What mail and webhooks have in common: things that wait in a table are taken in a job, sent, and
 * what came of each is noted until it is noted; of several processes on one database, one sends.
 *
 * Owns:  the table of turns: whose turn it is to send; looking, under way, ending.
 * Reads: nothing.
 * Never: what is sent, and how; the network.
 */
#ifndef USH_SENDER_H
#define USH_SENDER_H

#include "daemon/core.h"
#include "db/db.h"

struct ush_sender;
struct ush_sender_delivery; /* something that was taken and is not noted yet */

extern const struct ush_db_step ush_sender_schema[];

/* One job that takes. */
struct ush_sender_take {
	int64_t now_us;
	/* Marks what is taken; never 0. Marks of other turns are of processes that send no more. */
	int64_t turn;
	bool fresh; /* the turn has just begun: free what marks of others hold */
	uint32_t most;
	uint32_t count;  /* from here: set by `take` */
	bool more;       /* there may be more now */
	int64_t next_us; /* when the next is due; 0: not known */
};

/* What is sent. Items are of item_bytes, zeroed at first, moved never. */
struct ush_sender_kind {
	const char *name; /* of its turns, and in the log */
	uint32_t most;    /* under way at once */
	uint32_t item_bytes;
	/* Within a write job, which may run again: takes up to take->most. ret: 0 or negative. */
	int (*take)(
		struct ush_db_conn *conn, struct ush_sender_take *take, void *items, void *context);
	/* Sends; whatever comes of it, ush_sender_sent is called once. by: the loop. */
	void (*start)(struct ush_sender_delivery *delivery, void *item, void *context);
	/* Within a write job, which may run again: notes what came of it. */
	int (*end)(struct ush_db_conn *conn, void *item);
	/* Within a write job, each hour: drops what is old. */
	int (*drop)(struct ush_db_conn *conn, int64_t now_us, void *context);
	/* Frees what an item has; of zeros, nothing. */
	void (*clear)(void *item);
	/* The sender is closed, and nothing of it is under way any more. */
	void (*closed)(void *context);
};

/* Looks at once, then each second, and whenever it is asked to. by: the loop, as all below. */
struct ush_sender *ush_sender_open(
	const struct ush_core *core, const struct ush_sender_kind *kind, void *context);
/* Calls kind->closed, now or when what is under way has ended. */
void ush_sender_close(struct ush_sender *sender);
bool ush_sender_is_closed(const struct ush_sender *sender);
void ush_sender_look(struct ush_sender *sender);
/* What came of the delivery is in its item. */
void ush_sender_sent(struct ush_sender_delivery *delivery);

/* ret: how long to wait after so many failures: from first_us, doubling up to an hour, a quarter
 * more or less by `chance`, so that not all come back at once. by: any thread. */
int64_t ush_sender_back_off(int64_t first_us, int64_t failures, uint64_t chance);

#endif /* USH_SENDER_H */
