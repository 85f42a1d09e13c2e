/* SPDX-License-Identifier: Apache-2.0 */
#include "claim/best.h"

enum ush_claim ush_row_lost(const struct ush_row *row, uint64_t way)
{
	uint64_t firm = atomic_load_explicit(&row->firm, memory_order_relaxed);
	uint64_t house = atomic_load_explicit(&row->house, memory_order_relaxed);

	return (way & ~(firm | house)) != 0 ? USH_CLAIM_IN_FLIGHT : USH_CLAIM_TAKEN;
}

enum ush_claim ush_row_test(const struct ush_row *row, uint64_t mask, uint64_t *way)
{
	uint64_t free = atomic_load_explicit(&row->free, memory_order_relaxed);

	*way = mask & ~free;
	return *way == 0 ? USH_CLAIM_WON : ush_row_lost(row, *way);
}

void ush_row_unclaim(struct ush_event *event, struct ush_row *row, uint64_t mask)
{
	ush_best_giving(event);
	ush_row_put_back(row, mask);
	ush_best_note(event, ush_event_row_index(event, row));
}

void ush_row_return(struct ush_event *event, struct ush_row *row, uint64_t mask)
{
	ush_best_giving(event);
	ush_row_set_free(row, mask);
	ush_best_note(event, ush_event_row_index(event, row));
}

const struct ush_rows *ush_event_part(const struct ush_event *event, uint32_t row)
{
	const struct ush_rows *part;

	if (ush_likely(row < event->row_base))
		return &event->base;
	part = atomic_load_explicit(&event->parts, memory_order_acquire);
	while (row < part->first)
		part = part->prev;
	USH_ASSERT(row - part->first < part->count);
	return part;
}

uint32_t ush_event_row_index(const struct ush_event *event, const struct ush_row *row)
{
	const struct ush_rows *part = &event->base;

	if (ush_likely((uintptr_t)row - (uintptr_t)event->rows <
		       (uintptr_t)event->row_base * sizeof(*row)))
		return (uint32_t)(row - event->rows);
	part = atomic_load_explicit(&event->parts, memory_order_acquire);
	while ((uintptr_t)row - (uintptr_t)part->rows >= (uintptr_t)part->count * sizeof(*row)) {
		part = part->prev;
		USH_ASSERT(part != NULL);
	}
	return part->first + (uint32_t)(row - part->rows);
}

const struct ush_prices *ush_event_price_list(const struct ush_event *event, uint32_t number)
{
	const struct ush_prices *prices = ush_event_prices(event);

	while (prices != NULL && prices->number != number)
		prices = prices->prev;
	return prices;
}

uint64_t ush_prices_tiers(const struct ush_prices *prices, const struct ush_row *row, uint64_t mask)
{
	uint64_t rest = mask, price = 0;

	for (uint32_t i = 1; i < USH_ROW_TIERS; i++) {
		uint64_t part = mask & row->tier_mask[i - 1];
		price += (uint64_t)ush_popcount64(part) * prices->price[row->tier[i]];
		rest &= ~part;
	}
	return price + (uint64_t)ush_popcount64(rest) * prices->price[row->tier[0]];
}

/* Seats came off sale by the record at `sequence`. The highest of these sequences counts: loops
 * that sell the last seats together may raise the counts in another order than that of the log. */
static void raise_sold_out_sequence(struct ush_event *event, uint64_t sequence)
{
	uint64_t at = atomic_load_explicit(&event->sold_out_sequence, memory_order_relaxed);

	while (at < sequence && !atomic_compare_exchange_weak_explicit(&event->sold_out_sequence,
					&at, sequence, memory_order_release, memory_order_relaxed))
		;
}

void ush_event_count_sold(struct ush_event *event, uint32_t seats, uint64_t sequence)
{
	uint32_t sold;

	/* Before the count: who sees the last seat sold must see its sequence. */
	raise_sold_out_sequence(event, sequence);
	sold = atomic_fetch_add_explicit(&event->sold_count, seats, memory_order_acq_rel) + seats;
	USH_ASSERT(sold <= ush_event_seat_count(event));
}

bool ush_event_status_follows(uint32_t from, uint32_t to)
{
	/* Bit = may follow. There is no way back to a draft, and none from cancelled: bookings
	 * were made, or refunds. Completed may have been a mistake, but a sale does not open by
	 * one. */
	static const uint8_t follow[USH_EVENT_STATUS_COUNT] = {
		[USH_EVENT_STATUS_DRAFT] =
			1u << USH_EVENT_STATUS_DRAFT | 1u << USH_EVENT_STATUS_ON_SALE |
			1u << USH_EVENT_STATUS_PAUSED | 1u << USH_EVENT_STATUS_CANCELLED,
		[USH_EVENT_STATUS_ON_SALE] =
			1u << USH_EVENT_STATUS_ON_SALE | 1u << USH_EVENT_STATUS_PAUSED |
			1u << USH_EVENT_STATUS_COMPLETED | 1u << USH_EVENT_STATUS_CANCELLED,
		[USH_EVENT_STATUS_PAUSED] =
			1u << USH_EVENT_STATUS_PAUSED | 1u << USH_EVENT_STATUS_ON_SALE |
			1u << USH_EVENT_STATUS_COMPLETED | 1u << USH_EVENT_STATUS_CANCELLED,
		[USH_EVENT_STATUS_COMPLETED] = 1u << USH_EVENT_STATUS_COMPLETED |
					       1u << USH_EVENT_STATUS_PAUSED |
					       1u << USH_EVENT_STATUS_CANCELLED,
		[USH_EVENT_STATUS_CANCELLED] = 1u << USH_EVENT_STATUS_CANCELLED,
	};

	return from < USH_EVENT_STATUS_COUNT && to < USH_EVENT_STATUS_COUNT &&
	       (follow[from] >> to & 1) != 0;
}

void ush_event_house_add(
	struct ush_event *event, struct ush_row *row, uint64_t mask, uint64_t sequence)
{
	raise_sold_out_sequence(event, sequence);
	atomic_fetch_or_explicit(&row->house, mask, memory_order_release);
	atomic_fetch_add_explicit(&event->house_count, ush_popcount64(mask), memory_order_acq_rel);
}

void ush_row_keep(struct ush_event *event, struct ush_row *row, uint64_t mask, uint64_t sequence)
{
	/* House first: nobody may take the seats for free in between. */
	ush_event_house_add(event, row, mask, sequence);
	atomic_fetch_and_explicit(&row->firm, ~mask, memory_order_release);
}

void ush_event_house_remove(struct ush_event *event, struct ush_row *row, uint64_t mask)
{
	ush_best_giving(event);
	atomic_fetch_sub_explicit(&event->house_count, ush_popcount64(mask), memory_order_acq_rel);
	atomic_fetch_and_explicit(&row->house, ~mask, memory_order_relaxed);
	ush_row_put_back(row, mask);
	ush_best_note(event, ush_event_row_index(event, row));
}

void ush_aside_add(struct ush_event *event, uint32_t row, uint64_t mask)
{
	const struct ush_rows *part = ush_event_part(event, row);
	uint32_t at = row - part->first;
	uint64_t before;

	ush_aside_mark(event, row, mask);
	before = atomic_fetch_or_explicit(&part->aside[at], mask, memory_order_release);
	USH_ASSERT((before & mask) == 0);
	/* The seats first: whoever clears the row's bit looks at them again. */
	atomic_fetch_or_explicit(
		&part->aside_rows[at / 64], 1ull << (at & 63), memory_order_seq_cst);
	atomic_fetch_add_explicit(&event->aside_count, ush_popcount64(mask), memory_order_release);
}

void ush_aside_take(struct ush_event *event, uint32_t row, uint64_t mask)
{
	const struct ush_rows *part = ush_event_part(event, row);
	uint32_t at = row - part->first;
	_Atomic uint64_t *word = &part->aside_rows[at / 64];
	uint64_t before = atomic_fetch_and_explicit(&part->aside[at], ~mask, memory_order_acq_rel);

	USH_ASSERT((before & mask) == mask);
	if (before == mask) {
		atomic_fetch_and_explicit(word, ~(1ull << (at & 63)), memory_order_seq_cst);
		if (atomic_load_explicit(&part->aside[at], memory_order_seq_cst) != 0)
			atomic_fetch_or_explicit(word, 1ull << (at & 63), memory_order_seq_cst);
	}
	atomic_fetch_sub_explicit(&event->aside_count, ush_popcount64(mask), memory_order_acq_rel);
}

/* ret: the first row of a part from place `at` on that has seats set aside, *mask which; its count:
 * none. */
static uint32_t aside_in_part(const struct ush_rows *part, uint32_t at, uint64_t *mask)
{
	while (at < part->count) {
		uint64_t rows =
			atomic_load_explicit(&part->aside_rows[at / 64], memory_order_acquire) &
			(UINT64_MAX << (at & 63));

		if (rows == 0) {
			at = (at | 63) + 1;
			continue;
		}
		at = (at & ~63u) + (uint32_t)__builtin_ctzll(rows);
		*mask = atomic_load_explicit(&part->aside[at], memory_order_acquire);
		if (*mask != 0)
			return at;
		at++;
	}
	return part->count;
}

uint32_t ush_aside_next(const struct ush_event *event, uint32_t row, uint64_t *mask)
{
	uint32_t count = ush_event_row_count(event);

	while (row < count) {
		const struct ush_rows *part = ush_event_part(event, row);
		uint32_t at = aside_in_part(part, row - part->first, mask);

		if (at < part->count)
			return part->first + at;
		row = part->first + part->count;
	}
	return USH_EVENT_ROWS_MAX;
}

uint64_t ush_row_tier_seats(const struct ush_row *row, uint32_t tier)
{
	uint64_t seats = 0, rest = row->seats;

	for (uint32_t i = 1; i < USH_ROW_TIERS; i++) {
		rest &= ~row->tier_mask[i - 1];
		if (row->tier[i] == tier)
			seats |= row->tier_mask[i - 1];
	}
	return row->tier[0] == tier ? seats | rest : seats;
}

uint64_t ush_event_free_count(const struct ush_event *event)
{
	uint64_t taken = 0, returned = 0;
	uint64_t house = atomic_load_explicit(&event->house_count, memory_order_relaxed);
	uint64_t used, seats;

	/* Returned first: a seat counted as returned was counted as taken before. */
	for (uint32_t i = 0; i < event->tally_count; i++)
		returned += atomic_load_explicit(&event->tally[i].returned, memory_order_acquire);
	for (uint32_t i = 0; i < event->tally_count; i++)
		taken += atomic_load_explicit(&event->tally[i].taken, memory_order_acquire);
	used = taken - returned + house;
	/* Last: whoever took an added seat saw it counted. */
	seats = ush_event_seat_count(event);
	return used > seats ? 0 : seats - used;
}
