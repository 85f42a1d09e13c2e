/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the parts of the module share.
 *
 * Owns:  nothing.
 * Reads: nothing.
 * Never: leaves the module.
 */
#ifndef USH_HOOKS_INTERNAL_H
#define USH_HOOKS_INTERNAL_H

#include <jansson.h>

#include "hooks/hooks.h"
#include "http/server.h"
#include "people/people.h"

#define HOOKS_SECOND_US 1000000ll
#define HOOKS_HOUR_US (3600 * HOOKS_SECOND_US)
#define HOOKS_DAY_US (24 * HOOKS_HOUR_US)
/* Both secrets sign for so long. */
#define HOOKS_ROTATE_US HOOKS_DAY_US
/* An endpoint that failed for so long is told nothing more. */
#define HOOKS_GIVE_UP_US (3 * HOOKS_DAY_US)
#define HOOKS_KEEP_US (30 * HOOKS_DAY_US)
/* Endpoints of one promoter, and of the operator. */
#define HOOKS_ENDPOINTS_MAX 20
/* Deliveries under way at once, each of another endpoint. */
#define HOOKS_BATCH 16u
#define HOOKS_NAME_BYTES 24
#define HOOKS_SECRET_BYTES 80
#define HOOKS_URL_BYTES 1024

struct ush_hooks {
	const struct ush_core *core;
	struct event *timer;
	bool allow_private;
	uint32_t under_way; /* jobs and deliveries, and 1 until it is closed */
	uint32_t sending;
	bool looking;
	bool look_again;
	bool closed; /* freed when nothing is under way any more */
	int64_t dropped_us;
};

/* ret: the bit of a kind of change; 0: none that is told. */
uint32_t hooks_kind_bit(const char *kind);
/* ret: the name of kind `i`; NULL after the last. */
const char *hooks_kind_name(uint32_t i);

/* Frees the module once it is closed and nothing is under way. */
void hooks_release(struct ush_hooks *hooks);
void hooks_routes_open(struct ush_hooks *hooks);

/* ---- the sender ---- */

/* Frees what a process that died had taken, and begins. */
int hooks_send_open(struct ush_hooks *hooks, struct ush_message *message);
/* Looks for what is to be sent now. */
void hooks_look(struct ush_hooks *hooks);

/* A delivery that was taken: of one endpoint, there is one at most. */
struct hooks_item {
	char hook[HOOKS_NAME_BYTES];
	char url[HOOKS_URL_BYTES];
	char secret[HOOKS_SECRET_BYTES];
	char previous[HOOKS_SECRET_BYTES]; /* "": none */
	int64_t promoter;                  /* 0: everything */
	int64_t kinds;
	int64_t cursor; /* everything up to this was told */
	int64_t turn;   /* replays so far: what was taken before one does not move the cursor */
	int64_t failures;
	int64_t failing_us;
	/* The change. */
	int64_t number;
	int64_t sequence;
	int64_t time_us;
	int64_t event;
	int64_t order;
	char kind[32];
	char *data; /* malloced */
};

/* Takes what is due, first in line. */
struct hooks_take {
	int64_t now_us;
	uint32_t most;
	uint32_t count; /* from here: results */
	struct hooks_item items[HOOKS_BATCH];
	bool more; /* there may be more now */
};
int hooks_take_job(struct ush_db_conn *conn, void *take);

/* Notes what came of one. */
struct hooks_end {
	struct hooks_item item;
	int64_t now_us;
	int64_t status; /* of HTTP; 0: no answer */
	bool good;
	int64_t due_us; /* of the next attempt */
	bool give_up;
};
int hooks_end_job(struct ush_db_conn *conn, void *end);
/* context: int64_t *before_us. */
int hooks_drop_job(struct ush_db_conn *conn, void *context);
int hooks_start_job(struct ush_db_conn *conn, void *context);

/* ---- what is sent ---- */

/* ret: the body of a delivery (malloced). */
char *hooks_body(const struct hooks_item *item);
#define HOOKS_SIGNATURE_BYTES 192
/* out: "t=...,v1=...", and once more by `previous` unless that is "". */
void hooks_sign(const char *secret, const char *previous, int64_t now_s, const char *body,
	char out[HOOKS_SIGNATURE_BYTES]);
/* ret: how long to wait after so many failures: from a second, doubling up to an hour, a quarter
 * more or less by `chance`. */
int64_t hooks_back_off(int64_t failures, uint64_t chance);

#endif /* USH_HOOKS_INTERNAL_H */
