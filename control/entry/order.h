/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One action on a waiting room: a message to usherd, a line in the audit log, an end. The operator
 * orders over HTTP (admin.c), the schedule by itself (schedule.c).
 *
 * Owns:  the order until its end; the seeds of draws, in files.
 * Reads: usherd's answers, the places of a closed lobby.
 * Never: answers a request.
 */
#ifndef USH_ENTRY_ORDER_H
#define USH_ENTRY_ORDER_H

#include "entry/lobby.h"
#include "entry/plan.h"

#define ENTRY_SEED_BYTES 32u

struct event;

enum order_wants {
	WANTS_NOTHING,
	WANTS_ROW,    /* a row of entry_lobbies, before usherd is asked */
	WANTS_PLAN,   /* a row that is planned; usherd is asked whether it has a room, first */
	WANTS_UNPLAN, /* no such row any more; usherd is not asked */
	WANTS_LOBBY,  /* the places, after usherd has done it */
	WANTS_DRAW,   /* the places, before it is asked */
};

enum order_end {
	ORDER_DONE,
	ORDER_REFUSED,   /* by usherd: `reply` */
	ORDER_NO_LOBBY,  /* `lobby_status` */
	ORDER_PLANNED,   /* the event has a plan, which has to be taken back first */
	ORDER_NO_PLAN,   /* there is nothing to take back */
	ORDER_NOT_READY, /* `missing` is not there; the same may be ordered again */
	ORDER_GONE,      /* all closes: nothing of the entry may be touched */
};

struct order {
	struct ush_entry *entry;
	/* Called once; the order is freed when it returns. */
	void (*done)(struct order *order, enum order_end end);
	void *context;
	struct ush_who who;
	bool by_schedule; /* the audit log has it only if nobody had noted it before */
	const char *action;
	uint32_t event;
	uint8_t wants; /* enum order_wants */
	bool found;    /* usherd has done it before: no message, only the rest */
	struct {
		struct ush_request head;
		struct ush_extension_header extension;
		union {
			struct ush_room_open open;
			struct ush_room_draw draw;
		} body;
	} message;
	/* Its row, if there is one. Of open, in: all; of the others, what is noted. */
	struct entry_plan plan;

	/* What came of it. */
	struct ush_reply reply;
	uint8_t lobby_status;
	bool repeat; /* it was done before */
	bool noted;  /* and noted before */
	const char *missing;
	/* Its own. */
	struct event *again;
	uint32_t tries;
	bool sent;
	bool row_there; /* of close and draw: plan.open.seed_hash is that of the room */
	char object[24];
};

/* ret: an order of an action; the caller fills in the rest; NULL: no memory. */
struct order *order_new(struct ush_entry *entry, uint32_t event, const char *action);
void order_begin(struct order *order);
/* Instead of order_begin. */
void order_drop(struct order *order);

/* The message of each action; the arguments are those of the wire. */
void order_open(struct order *order, const struct ush_room_open *open);
void order_close(struct order *order);
/* Of a room that is opened later; and takes that back. */
void order_plan(struct order *order, const struct ush_room_open *open);
void order_unplan(struct order *order);
/* err: with a message: the seed cannot be had. in: beacon: of beacon_bytes. */
int order_draw(struct order *order, const uint8_t *beacon, uint32_t beacon_bytes,
	struct ush_message *message);

/* The seed of an event's draw, which is made if it is not there. err: with a message. */
int entry_seed_of(const struct ush_entry *entry, uint32_t event, bool make,
	uint8_t seed[ENTRY_SEED_BYTES], struct ush_message *message);

#endif /* USH_ENTRY_ORDER_H */
