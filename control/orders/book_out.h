/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Notes down what a record changes, for the tables.
 *
 * Owns:  nothing; the book has the lists.
 * Reads: nothing.
 * Never: decides what a record means.
 */
#ifndef USH_ORDERS_BOOK_OUT_H
#define USH_ORDERS_BOOK_OUT_H

#include "orders/book.h"

/* Longest list of seats as text: 8 rows of 64 seats. */
#define BOOK_SEATS_TEXT (8u * 64u * 12u + 3u)

/* A list of [row, bit] as JSON. */
void book_seats_text(char text[BOOK_SEATS_TEXT], const struct book_leg *legs, uint32_t count);

/* Each ret: 0, -USH_ENOMEM. */
int book_note_hold(struct book *book, struct book_hold *hold);
int book_note_fresh(struct book *book, uint64_t hold);
int book_note_event(struct book *book, struct book_event *event);
int book_note_list(struct book *book, uint32_t event, uint32_t number, uint64_t digest);
/* The row's free seats are now these. */
int book_note_row(struct book *book, struct book_event *event, uint32_t row, uint64_t free,
	uint64_t sequence);
/* Items of the seats of a leg. err: also -USH_ERANGE. */
int book_note_items(struct book *book, const struct book_hold *hold, const struct book_leg *leg,
	uint64_t mask, uint8_t state);
int book_note_change(struct book *book, const char *kind, const struct ush_record *record,
	uint64_t hold, uint64_t user, const char *body, ...) USH_PRINTF(6, 7);

#endif /* USH_ORDERS_BOOK_OUT_H */
