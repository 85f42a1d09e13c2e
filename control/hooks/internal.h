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
#include "sender/sender.h"

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
	struct ush_sender *sender; /* NULL: a read replica */
	bool allow_private;
	bool closed;        /* freed when nothing is under way any more */
	uint32_t under_way; /* requests, the sender, and 1 until it is closed */
	int64_t swept_us;   /* of the sender's jobs: when endpoints without an owner were looked for
			     */
};

/* Why an endpoint is told nothing. */
#define HOOKS_FAILING "failing" /* three days without a success */
#define HOOKS_OWNER "owner"     /* who made it no longer is what they were */

/* SQL: true if who made the endpoint of the row still is the promoter, or an operator, that they
 * were. (Of endpoints of operators that were made before this was kept, the account is 0.) */
#define HOOKS_HAS_OWNER \
	"(hooks_endpoints.account = 0 OR " USH_PEOPLE_SQL_IS("hooks_endpoints.account", \
		"(CASE WHEN hooks_endpoints.promoter = 0 THEN 3 ELSE 2 END)", \
		"hooks_endpoints.promoter") ")"
static_assert(USH_ROLE_PROMOTER == 2 && USH_ROLE_OPERATOR == 3, "roles in SQL");

/* ret: the bit of a kind of change; 0: none that is told. */
uint32_t hooks_kind_bit(const char *kind);
/* ret: the name of kind `i`; NULL after the last. */
const char *hooks_kind_name(uint32_t i);

/* Frees the module once it is closed and nothing is under way. */
void hooks_release(struct ush_hooks *hooks);
void hooks_routes_open(struct ush_hooks *hooks);
/* What is kept about a promoter: tells people/. */
void hooks_keep_open(void);

/* ---- the sender ---- */

void hooks_send_open(struct ush_hooks *hooks);

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
	int64_t lease; /* the sender's turn in which it was taken */
	/* The change. */
	int64_t number;
	int64_t sequence;
	int64_t time_us;
	int64_t event;
	int64_t order;
	char kind[32];
	char *data; /* malloced */
};

/* Within a write job: takes what is due, first in line, up to take->most of HOOKS_BATCH. Disables
 * endpoints whose owner is none any more. */
int hooks_take(struct ush_db_conn *conn, struct ush_hooks *hooks, struct ush_sender_take *take,
	struct hooks_item items[HOOKS_BATCH], uint32_t *count);

/* Notes what came of one. */
struct hooks_end {
	struct hooks_item item;
	int64_t now_us;
	int64_t status; /* of HTTP; 0: no answer */
	bool good;
	int64_t due_us; /* of the next attempt */
	bool give_up;
};
int hooks_end(struct ush_db_conn *conn, const struct hooks_end *end);
int hooks_drop(struct ush_db_conn *conn, int64_t before_us);

/* ---- what is sent ---- */

/* ret: the body of a delivery (malloced). */
char *hooks_body(const struct hooks_item *item);
#define HOOKS_SIGNATURE_BYTES 192
/* out: "t=...,v1=...", and once more by `previous` unless that is "". */
void hooks_sign(const char *secret, const char *previous, int64_t now_s, const char *body,
	char out[HOOKS_SIGNATURE_BYTES]);

#endif /* USH_HOOKS_INTERNAL_H */
