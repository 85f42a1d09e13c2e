/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of orders/ share: the module's state on the event loop.
 *
 * Owns:  nothing.
 * Reads: nothing.
 * Never: included from elsewhere.
 */
#ifndef USH_ORDERS_INTERNAL_H
#define USH_ORDERS_INTERNAL_H

#include <event2/event.h>
#include <event2/event_struct.h>
#include <jansson.h>

#include "http/server.h"
#include "link/link.h"
#include "orders/follower.h"
#include "orders/live.h"
#include "orders/store.h"
#include "people/people.h"

#define ORDERS_LISTENERS_MAX 8u

struct orders_wait {
	struct orders_wait *next;
	struct ush_orders *orders;
	uint64_t sequence;
	struct event timer;
	void (*done)(void *context, int result);
	void *context;
	bool is_over; /* at once: from the loop's next turn */
};

struct ush_orders {
	struct ush_core core;
	struct live *live;
	struct live_http *live_http;
	struct hints *hints;
	struct follower *follower;
	struct store_state state;    /* of the tables */
	struct store_batch *pending; /* being written; after an error, to be written again */
	struct store_batch *taken;   /* watchers know them, the tables come next */
	uint32_t taken_count;        /* their rows of `changes` and of seats */
	bool writing;
	bool loading;
	bool closing;
	bool closed;
	struct event wake;
	struct event again; /* after an error */
	struct event second;
	int wake_fd;
	uint32_t seconds;
	uint32_t jobs;      /* under way, with this as context */
	uint32_t acts;      /* the same; those at usherd end after us, when the link is closed */
	int64_t checked_us; /* of the tables, as last written or read */
	const char *reader;
	struct {
		ush_orders_changed *changed;
		void *context;
	} listener[ORDERS_LISTENERS_MAX];
	uint32_t listener_count;
	struct orders_wait *waits;
	/* Between a job and its end. */
	struct book *loaded;
	struct store_terms *loaded_terms;
	uint32_t loaded_terms_count;
	struct store_state loaded_state;
	struct ush_message loaded_message;
	/* A replica: the rows that changed since. */
	struct book_out replica;
	uint64_t replica_sequence;
};

/* The parts, each adding its routes. */
void orders_routes_holds(struct ush_orders *orders);
void orders_routes_orders(struct ush_orders *orders);
void orders_routes_waits(struct ush_orders *orders);
void orders_routes_codes(struct ush_orders *orders);
void orders_routes_live(struct ush_orders *orders);
/* What a person may export. */
void orders_keep_open(void);
void orders_live_close(struct ush_orders *orders);

/* Frees it when it is closed and nobody has it as context any more. */
void orders_let_go(struct ush_orders *orders);

/* In a replica: how old what is answered may be, as a header; ret: false: it has answered 503. */
bool orders_age(struct ush_orders *orders, struct ush_http_request *request);

/* The terms of an event in the catalogue. Within a job. ret: 1, 0, negative. */
int orders_terms_of(struct ush_db_conn *conn, uint32_t event, struct book_terms *terms);

#endif /* USH_ORDERS_INTERNAL_H */
