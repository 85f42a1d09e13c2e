/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Follows usherd's journal on a thread of its own and hands batches of changes to the event loop.
 *
 * Owns:  a thread, a follower, the book while the thread runs; the named position in the journal.
 * Reads: journal and venue images of usherd.
 * Never: the database.
 */
#ifndef USH_ORDERS_FOLLOWER_H
#define USH_ORDERS_FOLLOWER_H

#include "orders/store.h"

struct follower;

struct follower_config {
	const char *journal_dir;
	/* Name under which the position is kept; NULL: none is. */
	const char *name;
	struct store_state from;
	struct book *book;         /* loaded; the follower owns it */
	struct store_terms *terms; /* malloced; the follower owns it */
	uint32_t terms_count;
	/* Called on the follower's thread when there is something for follower_take. */
	void (*wake)(void *context);
	void *context;
};

/* ret: 0; err: -USH_ENOENT (no journal), -USH_EFOREIGN, ...; message. On an error book and terms
 * are freed. */
int follower_start(struct follower **follower, const struct follower_config *config,
	struct ush_message *message);
/* ret: the next batches in order, a list; NULL: none. by: the loop. */
struct store_batch *follower_take(struct follower *follower);
/* ret: the event whose terms the thread waits for; 0: none. */
uint32_t follower_asks(struct follower *follower);
/* The terms of new holds of an event, asked for or changed. */
void follower_terms(struct follower *follower, uint32_t event, struct book_terms terms);
/* So much is durable in the tables: the journal need not keep it for us. */
void follower_durable(struct follower *follower, const struct ush_follow_position *position);
/* ret: 0, or why the thread has ended; message. */
int follower_failed(struct follower *follower, struct ush_message *message);
/* ret: when the journal was last seen to hold nothing more than was taken, us; 0: never yet, or
 * there is more to take. */
int64_t follower_checked_us(struct follower *follower);
void follower_stop(struct follower *follower);

/* Reads an image of usherd's event. As book_source.image; context: the journal directory. */
int follower_image(void *context, uint32_t event, uint64_t digest, void **image, size_t *bytes,
	struct ush_message *message);
/* ret: terms of an event at a sequence, of a sorted list. */
struct book_terms terms_find(
	const struct store_terms *terms, uint32_t count, uint32_t event, uint64_t sequence);

/*
 * Reads the journal up to `end` into a book that keeps everything: for comparing. err: message.
 * by: a tool, or a worker; it takes as long as it takes.
 */
int follower_read(
	struct book *book, const char *journal_dir, uint64_t end, struct ush_message *message);

#endif /* USH_ORDERS_FOLLOWER_H */
