/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the sender asks of the outbox's table, as jobs.
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
};
void ush_outbox_item_free(struct ush_outbox_item *item);

/* Takes up to `most` mails that are due; nobody else gets them before lease_us is over. */
struct ush_outbox_claim {
	int64_t now_us;
	int64_t lease_us;
	int64_t give_up_us; /* older ones are given up */
	uint32_t most;
	uint32_t count; /* from here: results */
	struct ush_outbox_item items[USH_OUTBOX_BATCH];
	int64_t next_us; /* when the next one is due; 0: none waits */
	int64_t given_up;
};
int ush_outbox_claim_job(struct ush_db_conn *conn, void *claim);

/* Notes what came of one. */
struct ush_outbox_end {
	const char *key;
	enum ush_outbox_state state;
	uint32_t status;
	int64_t now_us;
	int64_t due_us; /* if it waits on */
};
int ush_outbox_end_job(struct ush_db_conn *conn, void *end);

/* Frees what a process that died had taken. context: int64_t *now_us. */
int ush_outbox_start_job(struct ush_db_conn *conn, void *context);
/* Drops what is over since before *context. */
int ush_outbox_drop_job(struct ush_db_conn *conn, void *context);

#endif /* USH_MAIL_OUTBOX_H */
