/* SPDX-License-Identifier: Apache-2.0 */
/* The book's memory: holds by id, events with rows and price lists, and what changed. */
#include <stdlib.h>
#include <string.h>

#include "orders/book.h"

#define BUCKETS_FIRST 1024u

/* ---- holds --------------------------------------------------------------------------------- */

static struct book_hold **bucket_of(const struct book *book, uint64_t hold)
{
	return &book->bucket[ush_mix64(hold) & (book->bucket_count - 1)];
}

struct book_hold *book_find(const struct book *book, uint64_t hold)
{
	struct book_hold *at = *bucket_of(book, hold);

	while (at != NULL && at->hold != hold)
		at = at->next;
	return at;
}

/* Twice as many buckets; without memory the lists only get longer. */
static void grow(struct book *book)
{
	struct book_hold **old = book->bucket;
	uint32_t count = book->bucket_count;
	struct book_hold **bucket = calloc(count * 2ul, sizeof(struct book_hold *));

	if (bucket == NULL)
		return;
	book->bucket = bucket;
	book->bucket_count = count * 2;
	for (uint32_t i = 0; i < count; i++) {
		for (struct book_hold *at = old[i], *next; at != NULL; at = next) {
			struct book_hold **to = bucket_of(book, at->hold);

			next = at->next;
			at->next = *to;
			*to = at;
		}
	}
	free(old);
}

void book_add(struct book *book, struct book_hold *hold)
{
	struct book_hold **to;

	if (book->hold_count >= book->bucket_count)
		grow(book);
	to = bucket_of(book, hold->hold);
	hold->next = *to;
	*to = hold;
	book->hold_count++;
}

void book_remove(struct book *book, struct book_hold *hold)
{
	struct book_hold **at = bucket_of(book, hold->hold);

	while (*at != hold)
		at = &(*at)->next;
	*at = hold->next;
	book->hold_count--;
}

int book_put_hold(struct book *book, const struct book_hold *hold)
{
	struct book_hold *copy = malloc(sizeof(*copy));

	if (copy == NULL)
		return -USH_ENOMEM;
	*copy = *hold;
	copy->dirty = false;
	book_add(book, copy);
	if (book->event[hold->event] != NULL)
		book->event[hold->event]->held += book_unsold(hold);
	return 0;
}

/* ---- money --------------------------------------------------------------------------------- */

int64_t book_seat_price(const struct book_event *event, uint32_t list, uint32_t row, uint32_t bit)
{
	const struct ush_venue_row *seats;
	uint32_t tier;

	if (row >= event->row_count)
		return 0;
	seats = &event->seats[row];
	tier = seats->tier[0];
	for (uint32_t i = 1; i < 4; i++) {
		if ((seats->tier_mask[i - 1] >> bit & 1) != 0)
			tier = seats->tier[i];
	}
	for (uint32_t i = 0; i < event->list_count; i++) {
		if (event->list[i]->number == list && tier < event->list[i]->tier_count)
			return event->list[i]->price[tier];
	}
	return 0;
}

int book_fee(const struct book_terms *terms, int64_t price, int64_t *fee)
{
	int64_t part;

	if (price < 0 || __builtin_mul_overflow(price, (int64_t)terms->fee_ppm, &part) ||
		__builtin_add_overflow(part, 500000, &part) ||
		__builtin_add_overflow(part / 1000000, (int64_t)terms->fee_fixed, fee))
		return -USH_ERANGE;
	return 0;
}

int64_t book_amount(const struct book_hold *hold)
{
	int64_t amount = 0;

	for (uint32_t i = 0; i < hold->leg_count; i++)
		amount += hold->leg[i].amount;
	return amount;
}

uint32_t book_seats(const struct book_hold *hold)
{
	uint32_t seats = 0;

	for (uint32_t i = 0; i < hold->leg_count; i++)
		seats += ush_popcount64(hold->leg[i].mask);
	return seats;
}

uint32_t book_unsold(const struct book_hold *hold)
{
	return hold->state == USH_HOLD_STATE_HELD || hold->state == USH_HOLD_STATE_PAYING
		       ? book_seats(hold)
		       : 0;
}

bool book_sold_out(const struct book_event *event)
{
	return event->sold > 0 && event->free == 0 && event->held == 0;
}

int book_split(const struct book_event *event, const struct book_hold *hold,
	const struct book_leg *leg, int64_t price[64], int64_t fee[64])
{
	int64_t rest = leg->amount;
	int last = -1;

	for (int bit = 0; bit < 64; bit++) {
		price[bit] = fee[bit] = 0;
		if ((leg->mask >> bit & 1) == 0)
			continue;
		price[bit] = event == NULL ? 0
					   : book_seat_price(
						     event, hold->prices, leg->row, (uint32_t)bit);
		rest -= price[bit];
		last = bit;
	}
	if (last >= 0)
		price[last] += rest;
	for (int bit = 0; bit < 64; bit++) {
		if ((leg->mask >> bit & 1) != 0 &&
			(price[bit] < 0 || book_fee(&hold->terms, price[bit], &fee[bit]) != 0))
			return -USH_ERANGE;
	}
	return 0;
}

int book_fee_of(const struct book_event *event, struct book_hold *hold)
{
	int64_t price[64], fee[64], sum = 0;

	for (uint32_t i = 0; i < hold->leg_count; i++) {
		if (book_split(event, hold, &hold->leg[i], price, fee) != 0)
			return -USH_ERANGE;
		for (uint32_t bit = 0; bit < 64; bit++) {
			if (__builtin_add_overflow(sum, fee[bit], &sum))
				return -USH_ERANGE;
		}
	}
	hold->fee = sum;
	return 0;
}

/* ---- events -------------------------------------------------------------------------------- */

static void event_free(struct book_event *event)
{
	if (event == NULL)
		return;
	free(event->image);
	for (uint32_t i = 0; i < event->list_count; i++)
		free(event->list[i]);
	free(event->list);
	free(event->row);
	free(event);
}

int book_image_open(
	struct book_image *parts, const void *image, size_t bytes, struct ush_message *message)
{
	const struct ush_venue_header *header = image;
	const uint8_t *at = image;
	size_t want;

	if (bytes < sizeof(*header) || header->magic != USH_VENUE_MAGIC ||
		header->version != USH_VENUE_VERSION || header->file_bytes != bytes ||
		header->tier_count > USH_EVENT_TIERS_MAX ||
		header->section_count > USH_EVENT_SECTIONS_MAX ||
		header->row_count > USH_EVENT_ROWS_MAX) {
		ush_message_set(message, "what usherd keeps of an event is no venue image");
		return -USH_ECORRUPT;
	}
	want = sizeof(*header) + header->tier_count * sizeof(struct ush_venue_tier) +
	       header->section_count * sizeof(struct ush_venue_section) +
	       header->row_count * sizeof(struct ush_venue_row);
	if (want > bytes) {
		ush_message_set(message, "what usherd keeps of an event is cut short");
		return -USH_ECORRUPT;
	}
	parts->header = header;
	at += sizeof(*header);
	parts->tiers = (const void *)at;
	at += header->tier_count * sizeof(struct ush_venue_tier);
	parts->sections = (const void *)at;
	at += header->section_count * sizeof(struct ush_venue_section);
	parts->rows = (const void *)at;
	return 0;
}

/* Takes over an image: prices, rows beyond those there are, all of them off sale. */
static int event_image(
	struct book *book, struct book_event *event, uint64_t digest, struct ush_message *message)
{
	struct book_image parts;
	struct book_row *row;
	void *image;
	size_t bytes;
	int error = book->source.image(
		book->source.context, event->id, digest, &image, &bytes, message);

	if (error != 0)
		return error;
	error = book_image_open(&parts, image, bytes, message);
	if (error != 0) {
		free(image);
		return error;
	}
	row = realloc(event->row, parts.header->row_count * sizeof(*row));
	if (row == NULL) {
		free(image);
		ush_message_set(message, "no memory for the rows of event %u", event->id);
		return -USH_ENOMEM;
	}
	for (uint32_t i = event->row_count; i < parts.header->row_count; i++)
		row[i] = (struct book_row){0};
	free(event->image);
	event->image = image;
	event->image_bytes = bytes;
	event->seats = parts.rows;
	event->row = row;
	event->row_count = parts.header->row_count;
	event->digest = digest;
	event->seat_count = parts.header->seat_count;
	memcpy(event->currency, parts.header->currency, 4);
	event->currency[3] = 0;
	return 0;
}

int book_put_event(struct book *book, uint32_t id, uint64_t digest, uint8_t status,
	uint32_t changes, int64_t sold, struct ush_message *message)
{
	struct book_event *event;
	int error;

	if (id == 0 || id > USH_EVENT_ID_MAX)
		return -USH_ECORRUPT;
	event = book->event[id] != NULL ? book->event[id] : calloc(1, sizeof(*event));
	if (event == NULL)
		return -USH_ENOMEM;
	event->id = id;
	error = event_image(book, event, digest, message);
	if (error != 0 && book->event[id] == NULL) {
		event_free(event);
		return error;
	}
	event->status = status;
	event->changes = changes;
	event->sold = sold;
	book->event[id] = event;
	return error;
}

/* Adds the prices of an image as a list. */
static int add_list(struct book_event *event, uint32_t number, const void *image, size_t bytes,
	struct ush_message *message)
{
	struct book_prices *prices = calloc(1, sizeof(*prices));
	struct book_prices **list =
		realloc(event->list, (event->list_count + 1) * sizeof(struct book_prices *));
	struct book_image parts;
	int error = book_image_open(&parts, image, bytes, message);

	if (list != NULL)
		event->list = list;
	if (prices == NULL || list == NULL || error != 0) {
		free(prices);
		return error != 0 ? error : -USH_ENOMEM;
	}
	prices->number = number;
	prices->tier_count = parts.header->tier_count;
	for (uint32_t i = 0; i < prices->tier_count; i++)
		prices->price[i] = parts.tiers[i].price;
	event->list[event->list_count++] = prices;
	return 0;
}

int book_put_list(struct book *book, uint32_t id, uint32_t number, uint64_t digest,
	struct ush_message *message)
{
	struct book_event *event = id <= USH_EVENT_ID_MAX ? book->event[id] : NULL;
	size_t bytes;
	void *image;
	int error;

	if (event == NULL)
		return -USH_ECORRUPT;
	if (digest == event->digest)
		return add_list(event, number, event->image, event->image_bytes, message);
	error = book->source.image(book->source.context, id, digest, &image, &bytes, message);
	if (error != 0)
		return error;
	error = add_list(event, number, image, bytes, message);
	free(image);
	return error;
}

void book_put_row(struct book *book, uint32_t event, uint32_t row, uint64_t free, uint64_t sequence)
{
	if (event > USH_EVENT_ID_MAX || book->event[event] == NULL ||
		row >= book->event[event]->row_count)
		return;
	book->event[event]->free +=
		(int64_t)ush_popcount64(free) - ush_popcount64(book->event[event]->row[row].free);
	book->event[event]->row[row] = (struct book_row){.free = free, .sequence = sequence};
}

/* ---- life ---------------------------------------------------------------------------------- */

struct book *book_open(const struct book_source *source)
{
	struct book *book = calloc(1, sizeof(*book));

	if (book == NULL)
		return NULL;
	book->source = *source;
	book->bucket = calloc(BUCKETS_FIRST, sizeof(struct book_hold *));
	book->bucket_count = BUCKETS_FIRST;
	if (book->bucket == NULL) {
		free(book);
		return NULL;
	}
	return book;
}

void book_close(struct book *book)
{
	if (book == NULL)
		return;
	for (uint32_t i = 0; i < book->bucket_count; i++) {
		for (struct book_hold *at = book->bucket[i], *next; at != NULL; at = next) {
			next = at->next;
			free(at);
		}
	}
	for (uint32_t i = 0; i <= USH_EVENT_ID_MAX; i++)
		event_free(book->event[i]);
	book_out_free(&book->out);
	free(book->dirty);
	free(book->dirty_event);
	free(book->bucket);
	free(book);
}

void book_out_free(struct book_out *out)
{
	for (uint32_t i = 0; i < out->change_count; i++)
		free(out->change[i].body);
	free(out->hold);
	free(out->fresh);
	free(out->item);
	free(out->change);
	free(out->row);
	free(out->event);
	free(out->list);
	*out = (struct book_out){0};
}
