/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From changes to tickets and their mail, within jobs.
 *
 * Owns:  the tables.
 * Reads: changes, the catalogue, addresses.
 * Never: the loop, HTTP.
 */
#ifndef USH_TICKETS_ISSUE_H
#define USH_TICKETS_ISSUE_H

#include "daemon/core.h"
#include "db/db.h"
#include "tickets/keys.h"

#define TICKETS_SEATS_MAX 512u /* of one order */
#define TICKETS_LABEL_BYTES 256u

/* One ticket, as the table has it. */
struct tickets_seat {
	struct ush_ticket ticket;
	uint64_t user;
	bool alive;
	char label[TICKETS_LABEL_BYTES]; /* "Section, row, seat"; filled by tickets_label */
};

/* An event as people are told of it. */
struct tickets_event {
	char name[256];
	char place[256];
	int64_t starts_us;
	int64_t doors_us;
};

/* A step of the consumer. In: keys, origin. */
struct tickets_step {
	const struct ush_core *core;
	struct ush_ticket_keys keys;
	uint32_t done;  /* changes that this step went through */
	uint32_t mails; /* put into the outbox */
};
/* A write job: goes through up to 100 changes: tickets and mail stand in the transaction that moves
 * the cursor. */
int tickets_step_job(struct ush_db_conn *conn, void *step);

/* Within a job: the tickets of an order that live. ret: how many, or negative. */
int tickets_of_order(struct ush_db_conn *conn, uint64_t hold, struct tickets_seat *seats);
/* Within a job: the ticket of a seat. ret: 1, 0, negative. */
int tickets_find(struct ush_db_conn *conn, uint32_t event, uint32_t row, uint32_t bit,
	struct tickets_seat *seat);
/* Within a job. ret: 1, 0: the catalogue knows no such event; negative. Labels of seats are filled
 * in either way. */
int tickets_event_of(struct ush_db_conn *conn, uint32_t event, struct tickets_event *out,
	struct tickets_seat *seats, uint32_t count);
/* Within a write job: what a retired key signed is signed with the key of now. ret: 0, negative. */
int tickets_sign_anew(
	struct ush_db_conn *conn, const struct ush_ticket_keys *keys, uint8_t retired);
/* ret: 0 and the text of the QR code. */
int tickets_code(const struct ush_ticket_keys *keys, const struct tickets_seat *seat,
	char code[USH_TICKET_CODE_CHARS + 1]);
/* Within a job: the signed list of an event's dead tickets (malloced). ret: 0 or negative. */
int tickets_revocations(
	struct ush_db_conn *conn, const struct ush_ticket_keys *keys, uint32_t event, char **text);
/* "2026-12-24 19:30 UTC". */
void tickets_time(int64_t us, char text[32]);
/* Escapes for HTML. */
void tickets_html(const char *text, char *out, size_t bytes);

/* What is kept about a person: tells people/. */
void tickets_keep_open(void);

#endif /* USH_TICKETS_ISSUE_H */
