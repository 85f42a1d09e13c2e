/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Free seats of every event as of now, in memory: snapshots, and what changed since a sequence.
 *
 * Owns:  masks of free seats with the sequence of their last change; texts made of them.
 * Reads: what the book hands over.
 * Never: databases, sockets.
 */
#ifndef USH_ORDERS_LIVE_H
#define USH_ORDERS_LIVE_H

#include "orders/book.h"

struct live;

struct live_event {
	uint32_t id;
	uint64_t digest;
	uint8_t status;
	uint32_t changes;
	uint32_t row_count;
	uint64_t *free;
	uint64_t *sequence;
	uint64_t newest;  /* sequence of the newest change */
	uint64_t sent;    /* up to which watchers were told */
	bool told_status; /* watchers know the status */
	bool told_digest; /* and the map */
	char *text;       /* the snapshot; NULL: to be made */
	size_t text_bytes;
	void *watchers; /* of live_http.c */
	uint32_t watcher_count;
	int64_t sent_us;
	uint32_t last_bytes;
};

struct live *live_open(void);
void live_close(struct live *live);
/* ret: NULL: not known. */
struct live_event *live_event(const struct live *live, uint32_t event);
/* Everything anew, from a book just loaded. Watchers stay. */
void live_load(struct live *live, const struct book *book);
void live_apply(struct live *live, const struct book_out *out);

/* The snapshot as JSON, made once until the next change. ret: NULL: no memory. */
const char *live_text(struct live_event *event, size_t *bytes);
/*
 * A frame of server-sent events with the rows changed after `after`, up to the newest. malloced.
 * in: reload: the client must fetch map and snapshot again.
 */
char *live_frame(const struct live_event *event, uint64_t after, size_t *bytes);
char *live_reload_frame(const struct live_event *event, size_t *bytes);
char *live_status_frame(const struct live_event *event, size_t *bytes);

const char *live_status_name(uint8_t status);

#endif /* USH_ORDERS_LIVE_H */
