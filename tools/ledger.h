/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An auditor's book of who has which seat, kept from the records alone. It shares no code with the
 * engine and none of its structures: a fault in one is not a fault in both.
 *
 * Owns:  every hold of the journal, and one word per row of seats that someone has.
 * Reads: records in journal order.
 * Never: venue images (so no prices, but what records say of them), hold tags, deadlines.
 */
#ifndef USH_LEDGER_H
#define USH_LEDGER_H

#include "base/base.h"
#include "wire/wire.h"

struct ledger_entry {
	/* Last sequence of the run, as acknowledged. */
	uint64_t sequence;
	uint64_t hold;
	uint64_t user;
	/* Whose it is now. */
	uint64_t owner;
	/* As it was made; and what is left of it. */
	uint64_t mask;
	uint64_t left;
	/* Price of the leg as it was made, and of what is left. */
	uint32_t amount;
	uint32_t amount_left;
	/* It is over, and was sold late to this user; 0: to nobody. */
	uint64_t late_user;
	uint32_t event;
	uint32_t request_id;
	/* The hold's next leg follows at the next entry while leg < legs - 1. */
	uint16_t row;
	uint8_t leg;
	uint8_t legs;
	uint8_t type;
	/* HOLD only: 0 live, else the record type that ended or sold it. */
	uint8_t end;
	bool sold;
};

/* What a user has used of an event's hold budget. event 0: unused. */
struct ledger_time {
	uint64_t user;
	uint64_t cool_until_ns;
	uint32_t event;
	uint32_t held_s;
};

/* One who waits, or did. */
struct ledger_wait {
	uint64_t user;
	uint16_t tier;
	uint8_t seats;
	bool gone;
};

/* The wait-list of an event. */
struct ledger_list {
	struct ledger_wait *waits;
	size_t count;
	size_t capacity;
	/* All before it are gone. */
	size_t first;
	/* Whoever fits is served. */
	bool loose;
	/* Seats set aside, by row. */
	uint64_t *aside;
};

struct ledger_room;

/* What EVENT and EVENT_CHANGE have said of an event. digest 0: nothing yet. */
struct ledger_event {
	uint64_t digest;
	uint64_t seats;
	uint32_t rows;
	uint32_t changes;
	uint32_t prices;
};

struct ledger {
	struct ledger_entry *entries;
	size_t count;
	size_t capacity;
	/* Open addressing: hold id -> entry of its leg 0, plus 1. */
	uint32_t *index;
	size_t index_size;
	size_t holds;
	/* By event, then row. */
	uint64_t **taken;
	/* By event. */
	struct ledger_event *events;
	/* By event; NULL: nobody has waited. */
	struct ledger_list *lists;
	/* By event; NULL: no waiting room. */
	struct ledger_room **rooms;
	/* By event; 0: not told yet. */
	uint8_t status[USH_EVENT_ID_MAX + 1u];
	uint64_t seats_held;
	uint64_t seats_sold;
	/* What those seats cost. */
	uint64_t amount_held;
	uint64_t amount_sold;
	/* Open addressing, by event and user; events that have a budget; the sum over all users. */
	struct ledger_time *times;
	size_t time_count;
	size_t time_size;
	bool has_budget[USH_EVENT_ID_MAX + 1u];
	uint64_t seat_seconds;
	/* Faults, counted; the first one in words. */
	uint64_t double_sold;
	uint64_t contradictions;
	struct ush_message first_fault;
};

int ledger_open(struct ledger *ledger);
void ledger_close(struct ledger *ledger);

/* Books one run. err: -USH_ENOMEM. Faults are counted, not returned. */
int ledger_book(struct ledger *ledger, const struct ush_record *records, uint32_t count);

/* ---- for the files of the ledger ---- */

void ledger_fault(struct ledger *ledger, const struct ush_record *r, const char *what);

/* WAIT_*, and what an OFFER and a KEEP say of wait-lists. err: -USH_ENOMEM. */
int ledger_book_wait(struct ledger *ledger, const struct ush_record *records, uint32_t count);
int ledger_book_offer(struct ledger *ledger, const struct ush_record *records, uint32_t count);
int ledger_book_keep(struct ledger *ledger, const struct ush_record *r);

/* USER_TIME at the end of the run that `records` begins, before anything else of it is booked; r
 * NULL: it has none. err: -USH_ENOMEM. */
int ledger_book_time(struct ledger *ledger, const struct ush_record *records, uint32_t count,
	const struct ush_record *r);

/* ret: seats that the hold has; 0: no such hold. */
uint64_t ledger_seats_left(const struct ledger *ledger, uint64_t hold);
/* Rows from `first` on, `count` of them, are added and set aside. err: -USH_ENOMEM. */
int ledger_book_added(struct ledger *ledger, uint32_t event, uint32_t first, uint32_t count);

/* House seats of a row are on sale, or a channel's: they were not set aside. */
void ledger_not_aside(struct ledger *ledger, const struct ush_record *r);

/* ret: true if one of the record's seats is set aside for those who wait. */
bool ledger_is_aside(const struct ledger *ledger, const struct ush_record *r);

void ledger_close_waits(struct ledger *ledger);

/* ROOM_*. err: -USH_ENOMEM. */
int ledger_book_room(struct ledger *ledger, const struct ush_record *records, uint32_t count);
void ledger_close_rooms(struct ledger *ledger);

/* ret: what the entry's hold cost when it was made, by that record. in: entry: its leg 0. */
uint64_t ledger_amount(const struct ledger_entry *entry);

/* ret: true if the hold that the entry made goes on as it was made. */
bool ledger_is_unchanged(const struct ledger *ledger, const struct ledger_entry *entry);

/* ret: the entry with this sequence, type and hold, or NULL. cost: O(log n). */
const struct ledger_entry *ledger_find(const struct ledger *ledger, uint64_t sequence);

#endif /* USH_LEDGER_H */
