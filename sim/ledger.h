/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the durable records say, kept in plain arrays: a second opinion beside apply(). A record
 * type is one function in ledger.c.
 *
 * Owns:  struct ledger.
 * Reads: records, in the order in which they became durable.
 * Never: the engine.
 */
#ifndef USH_SIM_LEDGER_H
#define USH_SIM_LEDGER_H

#include "base/base.h"
#include "wire/wire.h"

#define LEDGER_EVENTS 3u
#define LEDGER_ROWS 8u
#define LEDGER_USERS 13u
#define LEDGER_LEGS 8u
#define LEDGER_HOLDS_MAX 16384u
#define LEDGER_ACCEPTED_MAX 32768u
#define LEDGER_LINES_MAX 1024u
/* Users of waiting rooms, from 1 on. */
#define LEDGER_GUESTS 41u
#define LEDGER_HOUSE UINT32_MAX
/* House seats that are set aside for those who wait. */
#define LEDGER_ASIDE (UINT32_MAX - 1)

/* What an event may be by one of the images there are: each has at least the rows of the one
 * before. */
#define LEDGER_PLANS 6u
struct ledger_plan {
	uint64_t digest;
	uint32_t rows;
	/* Seats of every row. */
	uint64_t seats;
	/* Of tier 0 and tier 1. */
	uint32_t price[2];
};

struct ledger_hold {
	uint64_t id;
	uint64_t user;
	uint64_t deadline_ns;
	/* Its newest record, its first one, and that by which it was sold (0: not yet). */
	uint64_t sequence;
	uint64_t begun_at;
	uint64_t sold_at;
	uint64_t amount;
	/* Sold late to this user for this hold, which was over; 0: not late. */
	uint64_t over;
	uint64_t late_user;
	uint32_t event;
	uint32_t seats;
	/* The hold that had the line before, plus one. */
	uint32_t before;
	uint16_t version;
	/* Payments begun. */
	uint16_t attempts;
	/* States that it was ever in, a bit each. */
	uint16_t was;
	uint8_t state;
	uint8_t legs;
	/* Number of its price list. */
	uint8_t prices;
	bool extended;
	/* Seats were swapped since. */
	bool swapped;
	/* Legs in the order of their lines; one that was emptied may be of another row later. */
	uint32_t line[LEDGER_LEGS];
	uint16_t row[LEDGER_LEGS];
	/* What it has, what it was given at first, what a refund under way names. */
	uint64_t mask[LEDGER_LEGS];
	uint8_t legs_first;
	uint16_t row_first[LEDGER_LEGS];
	uint64_t mask_first[LEDGER_LEGS];
	uint64_t refund[LEDGER_LEGS];
	uint32_t leg_amount[LEDGER_LEGS];
};

/* A request that was accepted. */
struct ledger_accepted {
	uint32_t next;
	uint32_t request_id;
	uint32_t digest;
	uint8_t type;
	uint64_t hold;
	uint64_t sequence;
};

struct ledger_event {
	bool loaded;
	/* The plan it is by; rows; changes made. */
	uint32_t plan;
	uint32_t rows;
	uint32_t changes;
	/* Number of the newest price list, and the plan of each. */
	uint32_t prices;
	uint8_t list_plan[LEDGER_PLANS];
	uint32_t status;
	/* Seats of holds that are SOLD or REFUNDING. */
	uint32_t sold;
	/* Number of the newest key. */
	uint32_t channel_key[USH_CHANNEL_COUNT_MAX + 1];
	/* Those who wait, in order; whoever fits is served. */
	struct {
		uint64_t user;
		uint32_t seats;
		uint32_t tier;
	} waits[LEDGER_USERS];
	uint32_t wait_count;
	bool loose;
	/* Number of the hold plus one; 0: free; LEDGER_HOUSE, LEDGER_ASIDE. */
	uint32_t owner[LEDGER_ROWS][USH_ROW_SEATS_MAX];
	/* Seats of each channel, whoever has them; [0]: of any. */
	uint64_t channel[LEDGER_ROWS][USH_CHANNEL_COUNT_MAX + 1];
};

/* Who joined a waiting room. */
struct ledger_guest {
	/* Record of the place; 0: not joined. */
	uint64_t sequence;
	/* Index in the tier; tier 7: in order of arrival. */
	uint32_t index;
	uint8_t tier;
	bool slow;
	/* Of the newest token: when it ends, 0: none yet, and its record. */
	uint64_t token_end_ns;
	uint64_t token_sequence;
	/* When the one before it ended. */
	uint64_t token_before_ns;
	/* Tokens' records. */
	uint32_t tokens;
};

struct ledger_room {
	/* enum ush_room_phase. */
	uint32_t phase;
	struct ush_room_open opened;
	struct ush_room_draw drawn;
	/* Of the closed lobby, by tier. */
	uint32_t counts[USH_ROOM_TIER_COUNT];
	uint32_t lobby;
	/* Places after the lobby, lost ones too if one behind them is there. */
	uint32_t after;
	uint64_t serving;
	/* Last record of the closing, or of the draw. */
	uint64_t order_sequence;
	uint32_t exchanged;
	uint32_t cap;
	bool paused;
	uint8_t key_id;
	struct ledger_guest guest[LEDGER_GUESTS];
};

struct ledger {
	/* The run's; plan 0 is what events are loaded with. */
	struct ledger_plan plan[LEDGER_PLANS];
	uint32_t plan_count;
	struct ledger_event event[LEDGER_EVENTS];
	struct ledger_room room[LEDGER_EVENTS];
	uint32_t user_seats[LEDGER_EVENTS][LEDGER_USERS];
	uint32_t user_accepted[LEDGER_EVENTS][LEDGER_USERS];
	/* Newest hold of each line, plus one. */
	uint32_t line[LEDGER_LINES_MAX];
	uint64_t time_ns;
	uint32_t hold_count;
	uint32_t accepted_count;
	struct ledger_hold *holds;
	struct ledger_accepted *accepted;
	/* All slots, by sequence. */
	struct ush_record *records;
	uint64_t record_count;
	uint64_t record_room;
};

void ledger_init(struct ledger *ledger);
void ledger_reset(struct ledger *ledger);
/* Keeps the 64 slots of a block. */
void ledger_keep(struct ledger *ledger, uint64_t block, const void *data);
/* ret: what the run breaks, or NULL. */
const char *ledger_apply(struct ledger *ledger, const struct ush_record *records, uint32_t count);
/* The same for ROOM records. */
const char *ledger_apply_room(
	struct ledger *ledger, const struct ush_record *records, uint32_t count);
/* ret: true if the record is of a waiting room. */
USH_INLINE bool ledger_is_room(const struct ush_record *record)
{
	return record->type >= USH_RECORD_TYPE_ROOM_OPEN &&
	       record->type <= USH_RECORD_TYPE_ROOM_KEY;
}
/* Copies what a run of ROOM_OPEN, ROOM_CLOSE or ROOM_DRAW records carries. ret: false if it is not
 * so long. */
bool ledger_gather(const struct ush_record *records, uint32_t count, void *out, size_t bytes);
/* ret: the durable record at a sequence, or NULL. */
const struct ush_record *ledger_record(const struct ledger *ledger, uint64_t sequence);
/* ret: the hold with that id, or NULL. */
struct ledger_hold *ledger_hold(const struct ledger *ledger, uint64_t id);
/* ret: the accepted request, or NULL. */
const struct ledger_accepted *ledger_accepted(
	const struct ledger *ledger, uint32_t event, uint64_t user, uint32_t request_id);
/* ret: place in the list of the event, from 0; wait_count: not in it. */
uint32_t ledger_waiting(const struct ledger *ledger, uint32_t event, uint64_t user);
/* ret: the hold of that user that was sold late for the hold `over`, or NULL. */
const struct ledger_hold *ledger_late(const struct ledger *ledger, uint64_t over, uint64_t user);
/* ret: seats that a run of a swap takes, or those that it gives up. */
uint32_t ledger_swapped(const struct ush_record *records, uint32_t count, bool given);
/* ret: the price list that a run which makes a hold names; 0: none. */
uint32_t ledger_list(const struct ush_record *records, uint32_t count);
/* ret: KEEP, PRICES and USER_TIME records at the end of a run. */
uint32_t ledger_keeps(const struct ush_record *records, uint32_t count);
/* ret: the leg of the hold in that row, one with seats before one without; UINT32_MAX: none. */
uint32_t ledger_leg(const struct ledger_hold *hold, uint32_t row);
/* ret: seats of a row that are of that channel, sold or not; channel 0: of any. */
uint64_t ledger_channel(
	const struct ledger *ledger, uint32_t event, uint32_t row, uint32_t channel);
/* ret: true if the hold has seats. */
USH_INLINE bool ledger_is_live(const struct ledger_hold *hold)
{
	return hold->state == USH_HOLD_STATE_HELD || hold->state == USH_HOLD_STATE_PAYING ||
	       hold->state == USH_HOLD_STATE_SOLD || hold->state == USH_HOLD_STATE_REFUNDING;
}
/* ret: seats of a row that belong to holds; *house: those that are house seats. */
uint64_t ledger_taken(const struct ledger *ledger, uint32_t event, uint32_t row, uint64_t *house);

#endif /* USH_SIM_LEDGER_H */
