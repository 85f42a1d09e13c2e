/* SPDX-License-Identifier: Apache-2.0 */
#include "orders/book_out.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Room for one more. ret: the array, moved perhaps; NULL: no memory (the old one stays). */
static void *more(void *array, uint32_t count, uint32_t *size, size_t bytes)
{
	uint32_t room = *size == 0 ? 64 : *size * 2;
	void *moved;

	if (count < *size)
		return array;
	moved = realloc(array, room * bytes);
	if (moved != NULL)
		*size = room;
	return moved;
}

#define MORE(list, entry) \
	__extension__({ \
		void *moved_ = more((list)->entry, (list)->entry##_count, &(list)->entry##_size, \
			sizeof(*(list)->entry)); \
		if (moved_ != NULL) \
			(list)->entry = moved_; \
		moved_ != NULL; \
	})

void book_seats_text(char text[BOOK_SEATS_TEXT], const struct book_leg *legs, uint32_t count)
{
	size_t at = 1;

	text[0] = '[';
	for (uint32_t i = 0; i < count; i++) {
		for (uint32_t bit = 0; bit < 64; bit++) {
			if ((legs[i].mask >> bit & 1) == 0)
				continue;
			at += (size_t)snprintf(text + at, BOOK_SEATS_TEXT - at, "%s[%u,%u]",
				at == 1 ? "" : ",", legs[i].row, bit);
		}
	}
	text[at] = ']';
	text[at + 1] = '\0';
}

int book_note_hold(struct book *book, struct book_hold *hold)
{
	if (hold->dirty)
		return 0;
	if (!MORE(book, dirty))
		return -USH_ENOMEM;
	book->dirty[book->dirty_count++] = hold;
	hold->dirty = true;
	return 0;
}

int book_note_fresh(struct book *book, uint64_t hold)
{
	struct book_out *out = &book->out;

	if (!MORE(out, fresh))
		return -USH_ENOMEM;
	out->fresh[out->fresh_count++] = hold;
	return 0;
}

int book_note_event(struct book *book, struct book_event *event)
{
	if (event->dirty)
		return 0;
	if (!MORE(book, dirty_event))
		return -USH_ENOMEM;
	book->dirty_event[book->dirty_event_count++] = event->id;
	event->dirty = true;
	return 0;
}

int book_note_list(struct book *book, uint32_t event, uint32_t number, uint64_t digest)
{
	struct book_out *out = &book->out;

	if (!MORE(out, list))
		return -USH_ENOMEM;
	out->list[out->list_count++] =
		(struct book_list_change){.event = event, .number = number, .digest = digest};
	return 0;
}

int book_note_row(
	struct book *book, struct book_event *event, uint32_t row, uint64_t free, uint64_t sequence)
{
	struct book_row *at = &event->row[row];
	struct book_out *out = &book->out;

	event->free += (int64_t)ush_popcount64(free) - ush_popcount64(at->free);
	at->free = free;
	at->sequence = sequence;
	if (at->dirty)
		return 0;
	if (!MORE(out, row))
		return -USH_ENOMEM;
	/* What it is in the end is filled in when the list is taken. */
	out->row[out->row_count++] = (struct book_row_change){.event = event->id, .row = row};
	at->dirty = true;
	return 0;
}

int book_note_items(struct book *book, const struct book_hold *hold, const struct book_leg *leg,
	uint64_t mask, uint8_t state)
{
	struct book_out *out = &book->out;
	int64_t price[64], fee[64];

	if (book_split(book->event[hold->event], hold, leg, price, fee) != 0)
		return -USH_ERANGE;
	for (uint32_t bit = 0; bit < 64; bit++) {
		if ((mask >> bit & 1) == 0)
			continue;
		if (!MORE(out, item))
			return -USH_ENOMEM;
		out->item[out->item_count++] = (struct book_item){.hold = hold->hold,
			.row = leg->row,
			.bit = (uint8_t)bit,
			.state = state,
			.price = price[bit],
			.fee = fee[bit]};
	}
	return 0;
}

int book_note_change(struct book *book, const char *kind, const struct ush_record *record,
	uint64_t hold, uint64_t user, const char *body, ...)
{
	struct book_out *out = &book->out;
	struct book_change *change;
	va_list arguments;
	int error;

	if (!MORE(out, change))
		return -USH_ENOMEM;
	change = &out->change[out->change_count];
	*change = (struct book_change){.number = book->change_number + 1,
		.sequence = record->sequence,
		.time_us = book->time_us,
		.kind = kind,
		.event = record->event,
		.hold = hold,
		.user = user};
	va_start(arguments, body);
	error = vasprintf(&change->body, body, arguments);
	va_end(arguments);
	if (error < 0)
		return -USH_ENOMEM;
	book->change_number++;
	out->change_count++;
	return 0;
}

static bool is_over(const struct book_hold *hold)
{
	return hold->state == USH_HOLD_STATE_RELEASED || hold->state == USH_HOLD_STATE_EXPIRED ||
	       hold->state == USH_HOLD_STATE_REFUNDED;
}

static bool take_holds(struct book *book)
{
	struct book_out *out = &book->out;

	for (uint32_t i = 0; i < book->dirty_count; i++) {
		struct book_hold *hold = book->dirty[i];

		if (!MORE(out, hold))
			return false;
		hold->dirty = false;
		out->hold[out->hold_count++] = *hold;
		if (is_over(hold) && !book->keep_over) {
			book_remove(book, hold);
			free(hold);
		}
	}
	book->dirty_count = 0;
	return true;
}

int book_take(struct book *book, struct book_out *result)
{
	struct book_out *out = &book->out;

	if (!take_holds(book))
		return -USH_ENOMEM;
	for (uint32_t i = 0; i < out->row_count; i++) {
		struct book_row_change *change = &out->row[i];
		struct book_row *row = &book->event[change->event]->row[change->row];

		change->free = row->free;
		change->sequence = row->sequence;
		row->dirty = false;
	}
	for (uint32_t i = 0; i < book->dirty_event_count; i++) {
		struct book_event *event = book->event[book->dirty_event[i]];
		struct book_event_change *change;

		if (!MORE(out, event))
			return -USH_ENOMEM;
		change = &out->event[out->event_count++];
		*change = (struct book_event_change){.id = event->id,
			.digest = event->digest,
			.status = event->status,
			.changes = event->changes,
			.seat_count = event->seat_count,
			.sold = event->sold};
		memcpy(change->currency, event->currency, sizeof(change->currency));
		event->dirty = false;
	}
	book->dirty_event_count = 0;
	*result = *out;
	*out = (struct book_out){0};
	return 0;
}
