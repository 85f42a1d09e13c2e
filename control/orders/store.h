/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The read model's tables: written batch by batch with the position they stand at, and read back.
 *
 * Owns:  tables orders_state, orders_holds, orders_items, orders_events, orders_lists, orders_rows,
 *        orders_terms, orders_maps, and changes.
 * Reads: nothing else.
 * Never: decides what a record means; threads.
 */
#ifndef USH_ORDERS_STORE_H
#define USH_ORDERS_STORE_H

#include "db/db.h"
#include "journal/follow.h"
#include "orders/book.h"

/* The first request id of a user and event: seconds since 2026, so that a database that was lost,
 * or has forgotten ids that are long past, does not use them again. */
#define STORE_EPOCH_S 1767225600ll

/* Where the tables stand. */
struct store_state {
	struct ush_follow_position position;
	/* The furthest they ever stood: what is before it was told of before. */
	uint64_t high;
	int64_t change_number;
	int64_t time_us;
	/* When the journal was last seen to hold nothing more. */
	int64_t checked_us;
	/* One more with each rebuild. */
	int64_t generation;
};

/* What an event's holds cost from a sequence on. */
struct store_terms {
	uint32_t event;
	uint64_t sequence;
	struct book_terms terms;
};

/* A step of the model. */
struct store_batch {
	struct store_batch *next;
	struct book_out out;
	struct store_terms *terms;
	uint32_t terms_count;
	uint64_t from; /* sequence before it */
	struct ush_follow_position to;
	int64_t change_number;
	int64_t time_us;
};
void store_batch_free(struct store_batch *batch);

/* Within a job, all of them. ret: 1, or negative. */
int store_state_read(struct ush_db_conn *conn, struct store_state *state);
/*
 * Writes batches that follow on one another. One that is in the tables already is passed over.
 * err: -USH_EFOREIGN: the tables stand elsewhere (another process writes them).
 */
int store_write(struct ush_db_conn *conn, const struct store_batch *first);
/* Fills an empty book with what is not over. err: message. */
int store_load(struct ush_db_conn *conn, struct book *book, struct ush_message *message);
/* Terms of all events, malloced, by event and sequence. */
int store_terms_read(struct ush_db_conn *conn, struct store_terms **terms, uint32_t *count);
/* What changed after a sequence: events, and rows. out: was empty. */
int store_since(struct ush_db_conn *conn, uint64_t sequence, struct book_out *out);
/* Gives back the use of the presale code that a hold was made with, if it is counted. */
int store_code_back(struct ush_db_conn *conn, uint64_t hold);
/* Nothing more was in the journal at this time. */
int store_checked(struct ush_db_conn *conn, int64_t now_us);
/* Removes what need not be kept: unsold holds that ended a day ago, changes of 400 days ago. */
int store_purge(struct ush_db_conn *conn, int64_t now_us);
/* Empties the tables that the journal fills; their position is the beginning again. */
int store_wipe(struct ush_db_conn *conn);
/* Compares the tables with a book that has kept everything (keep_over) up to their position.
 * out: text: the first difference, "" if there is none. ret: differences, or negative. */
int64_t store_compare(struct ush_db_conn *conn, const struct book *book, struct ush_message *text);

/* Legs as the text of the table, and back. */
#define STORE_LEGS_TEXT 512u
void store_legs_text(char text[STORE_LEGS_TEXT], const struct book_hold *hold);
int store_legs_parse(const char *text, struct book_hold *hold);

#endif /* USH_ORDERS_STORE_H */
