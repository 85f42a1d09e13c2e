/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inventory: events, their row blocks, and the compare-and-swap that claims seats.
 *
 * A row block is one cache line. `free` decides who gets a seat: a claim is one compare-and-swap of
 * it. `firm` says which taken seats rest on a record whose log slot is reserved; a seat that is
 * neither free nor firm nor house is a claim in flight.
 *
 * Owns:  the row arena and the table of events.
 * Reads: nothing else.
 * Never: holds, users, the log.
 */
#ifndef USH_CLAIM_H
#define USH_CLAIM_H

#include <stdatomic.h>

#include "base/base.h"
#include "wire/wire.h"

#define USH_ROW_TIERS 4u

struct ush_row {
	/* Bit = 1: may be claimed. */
	_Atomic uint64_t free;
	/* Seats that exist; fixed. */
	uint64_t seats;
	/* Off sale; changed by BLOCK and UNBLOCK. */
	_Atomic uint64_t house;
	/* Taken by a hold whose record has its slot. */
	_Atomic uint64_t firm;
	/* Seats of tier[1..3]; the others are tier[0]. Fixed. */
	uint64_t tier_mask[USH_ROW_TIERS - 1];
	uint8_t tier[USH_ROW_TIERS];
	uint16_t section;
	uint16_t flags;
};
static_assert(sizeof(struct ush_row) == USH_CACHE_LINE, "a row block is one cache line");

/* Seats made firm and given back by one loop; written by that loop only. */
struct ush_tally {
	_Alignas(USH_CACHE_LINE) _Atomic uint64_t taken;
	_Atomic uint64_t returned;
	/* Holds made by this loop: not after a restart those before it. */
	_Atomic uint64_t holds;
};

/* A price list: what the tiers cost. Read-only; an event's newest one is for new holds, and a hold
 * keeps the one that it was made by. */
struct ush_prices {
	/* The one before, by number; NULL: this is the event's first. */
	const struct ush_prices *prev;
	uint32_t number;
	uint32_t tier_count;
	/* Tiers, cheapest first. */
	uint8_t *order;
	uint32_t price[];
};

/* Rows of an event that stand together in memory: those it was loaded with, or those added by one
 * change. They never move. A long row does not go from one part into the next. */
struct ush_rows {
	/* The part before; NULL: this is the first. */
	const struct ush_rows *prev;
	uint32_t first;
	uint32_t count;
	struct ush_row *rows;
	/* House seats that are set aside for those who wait, by row; and a bit for each row that
	 * may have some. */
	_Atomic uint64_t *aside;
	_Atomic uint64_t *aside_rows;
	/* The same, and those on the way there or being offered: no house seats like others. */
	_Atomic uint64_t *aside_marks;
};

/* Rows added to an event that is loaded, or other prices: built first, made visible at once when
 * the record of it has its slot. See change.c and docs/adr/0019. */
struct ush_change {
	/* The one before; NULL: the event is as it was loaded. */
	const struct ush_change *prev;
	struct ush_event *event;
	/* From 1. */
	uint32_t number;
	uint32_t request_id;
	/* Of the image, and of its record. */
	uint64_t digest;
	uint64_t sequence;
	/* What holds afterwards. */
	uint32_t row_count;
	uint32_t section_count;
	uint32_t seat_count;
	uint32_t best_exempt;
	/* NULL: rows, prices are those of before. */
	struct ush_rows *rows;
	struct ush_venue_section *sections;
	struct ush_best *best;
	const struct ush_prices *prices;
	/* House seats among those added. */
	uint32_t house_count;
	/* Place in the arena, to give it back. */
	size_t arena_mark;
	size_t arena_end;
};

/* Changes of one event, and changes that add rows: each is looked through by whoever needs an old
 * price or an added row. */
#define USH_CHANGES_MAX 4095u
#define USH_CHANGES_ROWS_MAX 63u

struct ush_event {
	/* Read-only once visible. */
	uint32_t id;
	uint32_t tier_count;
	uint32_t hold_ms;
	uint32_t hold_ms_max;
	uint32_t user_seats_max;
	/* Seats times seconds a user may hold, and the pause after a hold that ended unsold; 0: no
	 * such rule. */
	uint32_t hold_budget_s;
	uint32_t cool_down_ms;
	/* Of the image it was loaded with. */
	uint64_t digest;
	/* The rows it was loaded with; see ush_event_row. */
	struct ush_rows base;
	struct ush_row *rows;
	uint32_t row_base;
	struct ush_prices *prices_first;
	struct ush_tally *tally;
	uint32_t tally_count;
	/* How best-available seats are chosen; see wire.toml, venue_header.best. */
	uint8_t best_objective;
	uint8_t best_split;
	uint8_t best_orphans;
	/* All of it, as in the image. */
	uint16_t best_rules;
	/* Place in the arena, to give it back. */
	size_t arena_mark;
	size_t arena_end;
	/* Changed by an EVENT_CHANGE only, in the order of ush_change_show. */
	_Alignas(USH_CACHE_LINE) _Atomic uint32_t row_count;
	_Atomic uint32_t section_count;
	_Atomic uint32_t seat_count;
	/* With so many free seats or fewer, single seats may be left. */
	_Atomic uint32_t best_exempt;
	_Atomic(const struct ush_prices *) prices;
	/* The newest part; &base: there is only that. */
	_Atomic(const struct ush_rows *) parts;
	_Atomic(struct ush_venue_section *) sections;
	_Atomic(struct ush_best *) best;
	/* The newest; NULL: none. */
	_Atomic(const struct ush_change *) change;
	/* Changing words. */
	_Alignas(USH_CACHE_LINE) _Atomic uint32_t status;
	_Atomic uint32_t house_count;
	_Atomic uint32_t sold_count;
	/* Not 0: seats that come back may have to stay off sale, or the event is timed. */
	_Atomic uint32_t keeps;
	/* Highest sequence of a record that took seats off sale; 0: none. */
	_Atomic uint64_t sold_out_sequence;
	_Atomic uint32_t aside_count;
	/* Numbers of the channels' keys. */
	_Atomic uint8_t channel_key[USH_CHANNEL_COUNT_MAX + 1u];
	/* From the first search for best-available seats on, changes are noted in the index. */
	_Alignas(USH_CACHE_LINE) _Atomic uint32_t best_used;
	/* Claims on several rows under way: they may give back what they took. */
	_Atomic uint32_t best_open;
	/* Times that seats were given back. */
	_Atomic uint64_t best_given;
};

/* ret: the part that has a row. in: row below the number of rows. cost: a step for each change
 * since it was added. */
const struct ush_rows *ush_event_part(const struct ush_event *event, uint32_t row);

/* ret: a row. in: row: below ush_event_row_count, or named by a hold, a record or the index. */
USH_INLINE struct ush_row *ush_event_row(const struct ush_event *event, uint32_t row)
{
	const struct ush_rows *part;

	if (ush_likely(row < event->row_base))
		return &event->rows[row];
	part = ush_event_part(event, row);
	return &part->rows[row - part->first];
}

/* ret: the row's number. */
uint32_t ush_event_row_index(const struct ush_event *event, const struct ush_row *row);

/* Each with acquire: what is counted is there. */
USH_INLINE uint32_t ush_event_row_count(const struct ush_event *event)
{
	return atomic_load_explicit(&event->row_count, memory_order_acquire);
}

USH_INLINE uint32_t ush_event_section_count(const struct ush_event *event)
{
	return atomic_load_explicit(&event->section_count, memory_order_acquire);
}

USH_INLINE uint32_t ush_event_seat_count(const struct ush_event *event)
{
	return atomic_load_explicit(&event->seat_count, memory_order_acquire);
}

USH_INLINE uint32_t ush_event_best_exempt(const struct ush_event *event)
{
	return atomic_load_explicit(&event->best_exempt, memory_order_relaxed);
}

/* ret: a section. in: index below ush_event_section_count, which is read first. */
USH_INLINE const struct ush_venue_section *ush_event_section(
	const struct ush_event *event, uint32_t index)
{
	return &atomic_load_explicit(&event->sections, memory_order_acquire)[index];
}

/* ret: the newest change, or NULL. */
USH_INLINE const struct ush_change *ush_event_change(const struct ush_event *event)
{
	return atomic_load_explicit(&event->change, memory_order_acquire);
}

/* ret: digest of the image that says what the event is now. */
USH_INLINE uint64_t ush_event_digest(const struct ush_event *event)
{
	const struct ush_change *change = ush_event_change(event);

	return change != NULL ? change->digest : event->digest;
}

/* ret: the price list of new holds. */
USH_INLINE const struct ush_prices *ush_event_prices(const struct ush_event *event)
{
	return atomic_load_explicit(&event->prices, memory_order_acquire);
}

/* ret: the list of that number, or NULL. cost: a step for each newer one. */
const struct ush_prices *ush_event_price_list(const struct ush_event *event, uint32_t number);

/* ret: true if the time of its holds counts. */
USH_INLINE bool ush_event_is_timed(const struct ush_event *event)
{
	return (event->hold_budget_s | event->cool_down_ms) != 0;
}

struct ush_inventory {
	/* By event id; NULL: not loaded. */
	_Atomic(struct ush_event *) *events;
	uint8_t *arena;
	size_t arena_bytes;
	size_t arena_used;
	uint32_t loop_count;
};

/* ret: bytes for the table of events and an arena that holds `row_count` rows in up to 65,535
 * events. */
size_t ush_inventory_bytes(uint32_t row_count, uint32_t loop_count);

/* in: memory: that many zeroed bytes, 64-byte aligned. */
void ush_inventory_init(
	struct ush_inventory *inventory, void *memory, uint32_t row_count, uint32_t loop_count);

/* ret: the event, or NULL. by: any thread. */
USH_INLINE struct ush_event *ush_inventory_event(
	const struct ush_inventory *inventory, uint32_t event_id)
{
	if (ush_unlikely(event_id > USH_EVENT_ID_MAX))
		return NULL;
	return atomic_load_explicit(&inventory->events[event_id], memory_order_acquire);
}

/* Validates an image from end to end and builds the event in the arena, status DRAFT, not visible.
 * err: -USH_EINVAL (id), -USH_ECORRUPT, -USH_EVERSION, -USH_EFULL; message. by: one thread. */
int ush_event_build(struct ush_inventory *inventory, uint32_t event_id, const void *image,
	size_t image_bytes, struct ush_event **event, struct ush_message *message);

/* Gives the arena back if the event is the newest built; it must not be visible. */
void ush_event_discard(struct ush_inventory *inventory, struct ush_event *event);

/* ret: digest of an image: its length and content. */
uint64_t ush_image_digest(const void *image, size_t image_bytes);

/* Makes the event visible. by: the loop that decided its load, or replay. */
void ush_event_publish(struct ush_inventory *inventory, struct ush_event *event);

/*
 * Compares an image with the one that the event has now: existing rows, sections, tiers, settings
 * and all labels must be there as they are; rows and sections may follow behind them, and prices
 * may differ.
 * in:  before, after: whole images that ush_event_build takes. out: *row: the first row block that
 *      differs, UINT32_MAX: something else does. ret: 0; err: -USH_EINVAL with a message.
 */
int ush_image_compare(
	const void *before, const void *after, uint32_t *row, struct ush_message *message);

/*
 * Validates an image and builds what it changes in the event, invisible. Rows, sections, tiers and
 * settings must be the event's, as far as the event knows them.
 * out: *change, also when nothing is changed; *row: as ush_image_compare. err: -USH_EINVAL (not the
 * same event), those of ush_event_build, -USH_EFULL also for too many changes; message. by: one
 * thread, as ush_event_build; one change of an event at a time.
 */
int ush_change_build(struct ush_inventory *inventory, struct ush_event *event, const void *image,
	size_t image_bytes, struct ush_change **change, uint32_t *row, struct ush_message *message);

/* Whether a change was asked for before: by its request id, not 0, or because the image says what
 * the event is already. ret: OK: *done is that change (NULL: the event as it was loaded); MISMATCH,
 * STALE; USH_CHANGE_IS_NEW. by: any thread. */
#define USH_CHANGE_IS_NEW 0xffffu
uint32_t ush_change_known(const struct ush_event *event, uint32_t request_id, uint64_t digest,
	const struct ush_change **done);

/* Gives the arena back if the change is the newest built; it must not be visible. */
void ush_change_discard(struct ush_inventory *inventory, struct ush_change *change);

/* Makes a change visible: its record, at `sequence`, has its slot. in: aside: seats added are set
 * aside for those who wait. by: the loop that decided it, or replay. */
void ush_change_show(struct ush_change *change, uint32_t request_id, uint64_t sequence, bool aside);

/* ret: price of seats of a row by a list. */
uint64_t ush_prices_tiers(
	const struct ush_prices *prices, const struct ush_row *row, uint64_t mask);

/* ret: true if the row's places are anonymous. */
USH_INLINE bool ush_row_is_general(const struct ush_row *row)
{
	return (row->flags & 1) != 0;
}

/* How a claim on one row ended. */
enum ush_claim {
	USH_CLAIM_WON,
	/* Seats are firmly taken or off sale. */
	USH_CLAIM_TAKEN,
	/* At least one is only in flight. */
	USH_CLAIM_IN_FLIGHT,
};

/* ret: how a claim would end now; *way: seats in the way. cost: two loads. */
enum ush_claim ush_row_test(const struct ush_row *row, uint64_t mask, uint64_t *way);

/* ret: what to say of seats in the way. */
enum ush_claim ush_row_lost(const struct ush_row *row, uint64_t way);

/* Takes all of `mask` or nothing, by compare-and-swap. by: any loop. */
USH_INLINE enum ush_claim ush_row_claim(struct ush_row *row, uint64_t mask, uint64_t *way)
{
	uint64_t free = atomic_load_explicit(&row->free, memory_order_relaxed);

	do {
		*way = mask & ~free;
		if (*way != 0)
			return ush_row_lost(row, *way);
		/* Fails only when another core changed this row: someone made progress. Acquire
		 * pairs with the release of whoever gave the seats back. */
	} while (!atomic_compare_exchange_weak_explicit(
		&row->free, &free, free & ~mask, memory_order_acq_rel, memory_order_relaxed));
	return USH_CLAIM_WON;
}

/* Gives back seats of a claim that got no record. */
USH_INLINE void ush_row_put_back(struct ush_row *row, uint64_t mask)
{
	/* Whoever clears a bit of the index afterwards must see these seats: total order. */
	uint64_t before = atomic_fetch_or_explicit(&row->free, mask, memory_order_seq_cst);

	USH_ASSERT((before & mask) == 0);
}

/* The same, and the event's index learns of it. */
void ush_row_unclaim(struct ush_event *event, struct ush_row *row, uint64_t mask);

/* The claim has its slot: others may be told that the seats are taken. */
USH_INLINE void ush_row_make_firm(struct ush_row *row, uint64_t mask)
{
	atomic_fetch_or_explicit(&row->firm, mask, memory_order_release);
}

/* The release has its slot: the seats are free. Firm goes first, or it would wipe out the firmness
 * of whoever claims them next. */
USH_INLINE void ush_row_set_free(struct ush_row *row, uint64_t mask)
{
	atomic_fetch_and_explicit(&row->firm, ~mask, memory_order_relaxed);
	ush_row_put_back(row, mask);
}

/* The same, and the event's index learns of it. */
void ush_row_return(struct ush_event *event, struct ush_row *row, uint64_t mask);

/* Seats that a client may be told are free: rests on reserved records only. */
USH_INLINE uint64_t ush_row_available(const struct ush_row *row)
{
	return row->seats & ~(atomic_load_explicit(&row->firm, memory_order_acquire) |
				    atomic_load_explicit(&row->house, memory_order_acquire));
}

/* ret: price of the seats in minor units, by a list. */
USH_INLINE uint64_t ush_price(
	const struct ush_prices *prices, const struct ush_row *row, uint64_t mask)
{
	/* Most rows have one tier. */
	if (ush_likely((mask & (row->tier_mask[0] | row->tier_mask[1] | row->tier_mask[2])) == 0))
		return (uint64_t)ush_popcount64(mask) * prices->price[row->tier[0]];
	return ush_prices_tiers(prices, row, mask);
}

/* The same for a new hold of one row. */
USH_INLINE uint64_t ush_event_price(
	const struct ush_event *event, const struct ush_row *row, uint64_t mask)
{
	return ush_price(ush_event_prices(event), row, mask);
}

USH_INLINE void ush_tally_bump(_Atomic uint64_t *word, uint64_t by)
{
	/* One writer. Release: who reads the sum also sees that the log slot behind it is
	 * reserved. */
	uint64_t value = atomic_load_explicit(word, memory_order_relaxed);

	atomic_store_explicit(word, value + by, memory_order_release);
}

/* Counts seats made firm by loop `loop`. */
USH_INLINE void ush_event_count_taken(struct ush_event *event, uint32_t loop, uint32_t seats)
{
	ush_tally_bump(&event->tally[loop].taken, seats);
}

/* Counts a hold made by loop `loop`. */
USH_INLINE void ush_event_count_hold(struct ush_event *event, uint32_t loop)
{
	ush_tally_bump(&event->tally[loop].holds, 1);
}

/* Counts seats returned by loop `loop`. */
USH_INLINE void ush_event_count_returned(struct ush_event *event, uint32_t loop, uint32_t seats)
{
	ush_tally_bump(&event->tally[loop].returned, seats);
}

/* Counts seats sold by the record at `sequence`. */
void ush_event_count_sold(struct ush_event *event, uint32_t seats, uint64_t sequence);

/* Seats already claimed become house seats by the record at `sequence`. by: the loop whose record
 * blocks them, or replay. */
void ush_event_house_add(
	struct ush_event *event, struct ush_row *row, uint64_t mask, uint64_t sequence);

/* House seats become free. by: the loop whose record unblocks them, or replay. */
void ush_event_house_remove(struct ush_event *event, struct ush_row *row, uint64_t mask);

/* House seats that were claimed are taken by a record that has its slot, and firm already. by: the
 * loop whose record takes them, or replay. cost: one load when there are none. */
USH_INLINE void ush_event_house_sold(struct ush_event *event, struct ush_row *row, uint64_t mask)
{
	uint64_t house = mask & atomic_load_explicit(&row->house, memory_order_relaxed);

	if (ush_likely(house == 0))
		return;
	atomic_fetch_and_explicit(&row->house, ~house, memory_order_release);
	atomic_fetch_sub_explicit(&event->house_count, ush_popcount64(house), memory_order_acq_rel);
}

/* Taken seats come back and stay off sale, by the record at `sequence`. by: the loop whose record
 * gives them back, or replay. */
void ush_row_keep(struct ush_event *event, struct ush_row *row, uint64_t mask, uint64_t sequence);

/* Seats will be house seats for those who wait. by: before they are house seats. */
USH_INLINE void ush_aside_mark(struct ush_event *event, uint32_t row, uint64_t mask)
{
	const struct ush_rows *part = ush_event_part(event, row);

	atomic_fetch_or_explicit(&part->aside_marks[row - part->first], mask, memory_order_release);
}

/* Seats of an offer are house seats no more, or those that were aside are free. by: after that. */
USH_INLINE void ush_aside_unmark(struct ush_event *event, uint32_t row, uint64_t mask)
{
	const struct ush_rows *part = ush_event_part(event, row);

	atomic_fetch_and_explicit(
		&part->aside_marks[row - part->first], ~mask, memory_order_release);
}

USH_INLINE uint64_t ush_aside_marks(const struct ush_event *event, uint32_t row)
{
	const struct ush_rows *part = ush_event_part(event, row);

	return atomic_load_explicit(&part->aside_marks[row - part->first], memory_order_acquire);
}

/* House seats are set aside for those who wait: the record that says so has its slot. by: whose
 * record it is, or replay. */
void ush_aside_add(struct ush_event *event, uint32_t row, uint64_t mask);

/* Seats set aside are claimed, or about to be free. by: who has locked the wait-list, or replay. */
void ush_aside_take(struct ush_event *event, uint32_t row, uint64_t mask);

/* ret: the first row from `row` on that has seats set aside, *mask which; EVENT_ROWS_MAX: none.
 * by: who has locked the wait-list. cost: a word for each 64 rows. */
uint32_t ush_aside_next(const struct ush_event *event, uint32_t row, uint64_t *mask);

USH_INLINE uint64_t ush_aside_seats(const struct ush_event *event, uint32_t row)
{
	const struct ush_rows *part = ush_event_part(event, row);

	return atomic_load_explicit(&part->aside[row - part->first], memory_order_acquire);
}

USH_INLINE uint32_t ush_aside_count(const struct ush_event *event)
{
	return atomic_load_explicit(&event->aside_count, memory_order_acquire);
}

/* ret: the row's seats of a tier. */
uint64_t ush_row_tier_seats(const struct ush_row *row, uint32_t tier);

/* ret: true if what comes back may have to stay off sale. */
USH_INLINE bool ush_event_keeps(const struct ush_event *event)
{
	return atomic_load_explicit(&event->keeps, memory_order_acquire) != 0;
}

/* ret: true if an event may go from one status to another, or stay in it. */
bool ush_event_status_follows(uint32_t from, uint32_t to);

USH_INLINE bool ush_event_is_cancelled(const struct ush_event *event)
{
	return atomic_load_explicit(&event->status, memory_order_acquire) ==
	       USH_EVENT_STATUS_CANCELLED;
}

/* Sold seats are on sale again. by: the loop whose record refunds them, or replay. */
USH_INLINE void ush_event_count_unsold(struct ush_event *event, uint32_t seats)
{
	uint32_t before =
		atomic_fetch_sub_explicit(&event->sold_count, seats, memory_order_acq_rel);

	USH_ASSERT(before >= seats);
}

/* ret: seats neither firm nor house. cost: O(loops). */
uint64_t ush_event_free_count(const struct ush_event *event);

/* ret: true if every seat on sale is sold and that is durable. */
USH_INLINE bool ush_event_sold_out(const struct ush_event *event, uint64_t durable)
{
	/* Counts first: see ush_event_count_sold; the seats after them, for whoever sold an added
	 * seat saw it counted. */
	uint32_t sold = atomic_load_explicit(&event->sold_count, memory_order_acquire);
	uint32_t house = atomic_load_explicit(&event->house_count, memory_order_acquire);

	if (ush_likely(sold + house < ush_event_seat_count(event)) || sold == 0)
		return false;
	return atomic_load_explicit(&event->sold_out_sequence, memory_order_acquire) < durable;
}

/* ret: true if every seat on sale is sold, durable or not: a hint of what is worth fetching. */
USH_INLINE bool ush_event_is_full(const struct ush_event *event)
{
	return ush_event_sold_out(event, UINT64_MAX);
}

#endif /* USH_CLAIM_H */
