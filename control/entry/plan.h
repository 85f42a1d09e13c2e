/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is planned for a lobby, and what came of it: when it opens and closes, with what, and when
 * that was done. usherd knows neither time; a row stands under the seed's hash before usherd is
 * asked to open.
 *
 * Owns:  the table entry_lobbies.
 * Reads: nothing.
 * Never: asks usherd; decides what is due (schedule.c does).
 *
 * All functions but the first are for jobs, which may run again.
 */
#ifndef USH_ENTRY_PLAN_H
#define USH_ENTRY_PLAN_H

#include "db/db.h"
#include "wire/wire.h"

enum entry_stage {
	ENTRY_STAGE_LOBBY = 0,   /* usherd was asked to open it, or is being asked */
	ENTRY_STAGE_PLANNED = 1, /* it will be opened by itself; may be taken back */
	ENTRY_STAGE_OPENING = 2, /* its time has come; may not be taken back any more */
	ENTRY_STAGE_OVER = 3,    /* nothing of it is done by itself any more; `note` says why */
};

/* A row. Times are 0 where there is none. */
struct entry_plan {
	struct ush_room_open open; /* with the seed's hash */
	uint32_t event;
	uint32_t stage; /* enum entry_stage */
	int64_t opens_us, closes_us;
	int64_t opened_us, closed_us, drawn_us;
	int64_t places; /* of the closed lobby */
	char root[2 * 32 + 1];
	char note[24];
};

/* ret: true and the 32 bytes of 64 hexadecimal digits. by: any thread. */
bool entry_hash_read(const char *text, uint8_t hash[32]);

/* Before usherd is asked to open, or (stage PLANNED) instead of that; another plan of the event
 * that may still be taken back is replaced by one. ret: 0; -USH_EEXIST: the event has a plan that
 * cannot be replaced; otherwise as ush_db_error. */
int entry_plan_put(struct ush_db_conn *conn, const struct entry_plan *plan);
/* Takes back what is planned for an event. ret: rows. */
int64_t entry_plan_drop(struct ush_db_conn *conn, uint32_t event);
/* Its time has come. ret: 1: it is OPENING from here; 0: it was taken back. */
int64_t entry_plan_claim(struct ush_db_conn *conn, const struct entry_plan *plan);

/* What was done. ret: 1: nobody had noted it before; 0. in: of plan: event, seed_hash, and what is
 * to be noted. */
int64_t entry_plan_opened(struct ush_db_conn *conn, const struct entry_plan *plan);
int64_t entry_plan_closed(struct ush_db_conn *conn, const struct entry_plan *plan);
int64_t entry_plan_drawn(struct ush_db_conn *conn, const struct entry_plan *plan);
/* Nothing more by itself, of the stage it has: over, or (a lobby that is closed) no draw. */
int64_t entry_plan_end(struct ush_db_conn *conn, const struct entry_plan *plan, const char *note);
/* It is looked at again at that time. */
int64_t entry_plan_later(struct ush_db_conn *conn, const struct entry_plan *plan, int64_t again_us);

/* What is due: opening, closing, drawing, in this order. in: source, round: draws with that beacon,
 * up to that round; "": none. ret: rows read, at most `most`. */
uint32_t entry_plan_due(struct ush_db_conn *conn, int64_t now_us, const char *source, int64_t round,
	struct entry_plan *plans, uint32_t most);
/* What is planned and not open yet. */
uint32_t entry_plan_coming(struct ush_db_conn *conn, struct entry_plan *plans, uint32_t most);
/* The row of an event: the one of that seed's hash; NULL: the newest. ret: false: none. */
bool entry_plan_of(struct ush_db_conn *conn, uint32_t event, const uint8_t *seed_hash,
	struct entry_plan *plan);

#endif /* USH_ENTRY_PLAN_H */
