/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What docs/protocol.md says an engine answers, written down as plainly as possible: arrays of
 * seats, lists of holds and of used request ids, searched from end to end.
 *
 * Requests are judged one after another with the reply that came. Where the document leaves a
 * choice (which of several faults, what a request meets of another one decided in the same turn)
 * the oracle takes the engine's word if it is one of the permitted ones.
 *
 * Owns:  its own idea of every seat, hold and user.
 * Reads: requests and replies.
 * Never: the engine's memory.
 */
#ifndef USH_TEST_ORACLE_H
#define USH_TEST_ORACLE_H

#include <stdbool.h>
#include <stdint.h>

#include "wire/wire.h"

#define ORACLE_EVENTS 2u
#define ORACLE_ROWS 16u
#define ORACLE_SECTIONS 3u
#define ORACLE_USERS 24u
#define ORACLE_HOLDS 8192u
#define ORACLE_DONE 192u
/* A hold's seats come free at the first tick of 2^20 ns that starts at or after its deadline. */
#define ORACLE_TICK_BITS 20u
#define ORACLE_NO_HOLD UINT32_MAX

struct oracle_request {
	struct ush_request r;
	uint32_t leg_count;
	uint16_t row[USH_LEG_COUNT_MAX];
	uint64_t mask[USH_LEG_COUNT_MAX];
};

enum oracle_what {
	ORACLE_MISSING,
	ORACLE_FREE,
	ORACLE_HOUSE,
	ORACLE_TAKEN,
};

struct oracle_seat {
	enum oracle_what what;
	/* TAKEN: by which hold. */
	uint32_t hold;
	/* Turn in which it last changed hands. */
	uint32_t changed;
	uint32_t price;
};

struct oracle_event {
	uint32_t status;
	uint32_t hold_ms;
	uint32_t hold_ms_max;
	uint32_t user_seats_max;
	/* 0: no such rule. */
	uint32_t hold_budget_s;
	uint32_t cool_down_ms;
	uint32_t row_count;
	uint32_t section_count;
	uint32_t section_first[ORACLE_SECTIONS + 1];
	uint32_t changed;
	struct oracle_seat seat[ORACLE_ROWS][USH_ROW_SEATS_MAX];
};

struct oracle_hold {
	/* As the reply gave it. */
	uint64_t id;
	uint64_t user;
	uint64_t deadline_ns;
	uint64_t amount;
	uint64_t sequence;
	uint32_t event;
	uint32_t legs;
	uint32_t seats;
	/* HELD, SOLD, or FREE: over. */
	uint8_t state;
};

struct oracle_done {
	struct oracle_request request;
	uint64_t sequence;
	uint32_t hold;
	uint8_t status;
};

struct oracle_user {
	uint32_t top;
	/* Of the hold budget this is used. */
	uint64_t held_s;
	/* No new hold before. When the box ended an expired hold is known within bounds only. */
	uint64_t cool_from_ns;
	uint64_t cool_to_ns;
	uint32_t done_count;
	struct oracle_done done[ORACLE_DONE];
};

struct oracle {
	uint64_t now_ns;
	/* Number of the turn whose requests are being judged. */
	uint32_t turn;
	/* Hold lines the box has, those in use, and those that came back in this turn. */
	uint32_t lines;
	uint32_t lines_used;
	uint32_t lines_freed;
	uint64_t sequence;
	struct oracle_event event[ORACLE_EVENTS + 1];
	struct oracle_user user[ORACLE_EVENTS + 1][ORACLE_USERS + 1];
	struct oracle_hold hold[ORACLE_HOLDS];
	uint32_t hold_count;
	/* First contradiction; empty: none. */
	char fault[256];
};

/* What a row of an event costs from here, whoever holds some of it has his price; fresh: the row is
 * new, and all its seats but house seats are free. */
void oracle_row(struct oracle_event *e, uint32_t r, const struct ush_venue_row *row,
	const struct ush_venue_tier *tiers, bool fresh);

/* ---- oracle_time.c, for oracle.c ---- */

/* What is left of a hold's time is given back, in whole seconds. */
void oracle_time_back(struct oracle *o, const struct oracle_hold *hold);

/* A hold ended unsold at some time from `from_ns` to now: its user pauses. */
void oracle_cool_down(struct oracle *o, const struct oracle_hold *hold, uint64_t from_ns);

/* ret: seats times seconds of a new hold, if the event counts them. */
uint64_t oracle_time_of(
	const struct oracle_event *e, const struct oracle_request *q, uint32_t seats);

/* ret: the statuses, a bit each, that the user's time may ask for. */
uint64_t oracle_time_obstacles(
	const struct oracle *o, const struct oracle_request *q, uint32_t seats);

/* Starts a turn at now_ns: holds whose tick has come are over. */
void oracle_turn(struct oracle *o, uint64_t now_ns);

/* Judges one reply and does what it says was done. rows: the body of its ROWS extension. */
void oracle_judge(struct oracle *o, const struct oracle_request *request,
	const struct ush_reply *reply, const uint64_t *rows, uint32_t row_count);

/* After a restart: refusals are forgotten, and every live hold gets credit_ns more; its deadline
 * then rests on the record at `sequence`. */
void oracle_restart(struct oracle *o, uint64_t credit_ns, uint64_t sequence);

/* ret: mask of the free seats of a row. */
uint64_t oracle_free_mask(const struct oracle *o, uint32_t event, uint32_t row);

/* Seats by fate, over all events. */
struct oracle_sums {
	uint64_t free_seats;
	uint64_t house_seats;
	uint64_t held_seats;
	uint64_t sold_seats;
	uint64_t held_holds;
	uint64_t sold_holds;
};
void oracle_sum(const struct oracle *o, struct oracle_sums *sums);

#endif /* USH_TEST_ORACLE_H */
