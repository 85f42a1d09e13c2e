/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the sender asks of the outbox's table, within its jobs.
 *
 * Owns:  the table mail_outbox.
 * Reads: nothing.
 * Never: the network.
 */
#ifndef USH_MAIL_OUTBOX_H
#define USH_MAIL_OUTBOX_H

#include "mail/mail.h"

/* Mails that are handed to the relay at once. */
#define USH_OUTBOX_BATCH 8u

enum ush_outbox_state {
	USH_OUTBOX_WAITS = 0,
	USH_OUTBOX_SENT = 1,
	USH_OUTBOX_REFUSED = 2,  /* the relay said never */
	USH_OUTBOX_GIVEN_UP = 3, /* too long without success */
};

struct ush_outbox_item {
	char *key;
	char *to;
	char *subject;
	char *body;
	size_t bytes;
	int64_t made_us;
	uint32_t attempts; /* this one counts */
	int64_t turn;      /* of the sender that took it */
};
void ush_outbox_item_free(struct ush_outbox_item *item);

/* Takes up to `most` mails that are due; nobody else gets them before lease_us is over. */
struct ush_outbox_claim {
	int64_t now_us;
	int64_t lease_us;
	int64_t give_up_us; /* older ones are given up */
	int64_t turn;       /* of the sender */
	bool fresh;         /* it has just begun: what others have taken is free */
	uint32_t most;
	uint32_t count; /* from here: results */
	struct ush_outbox_item items[USH_OUTBOX_BATCH];
	int64_t next_us; /* when the next one is due; 0: none waits */
	int64_t given_up;
};
int ush_outbox_claim(struct ush_db_conn *conn, struct ush_outbox_claim *claim);

/* Notes what came of one. */
struct ush_outbox_end {
	enum ush_outbox_state state;
	uint32_t status;
	int64_t now_us;
	int64_t due_us; /* if it waits on */
};
int ush_outbox_end(struct ush_db_conn *conn, const struct ush_outbox_item *item,
	const struct ush_outbox_end *end);

/* Drops what is over since before. */
int ush_outbox_drop(struct ush_db_conn *conn, int64_t before_us);

#endif /* USH_MAIL_OUTBOX_H */
