/* SPDX-License-Identifier: Apache-2.0 */
/* The tables read back: into a book, beside a book, and for others. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "orders/store.h"

/* Rows of one query: PostgreSQL hands them over whole. */
#define PAGE 5000

#define HOLD_COLUMNS \
	"hold, number, event, \"user\", state, version, attempts, prices, fee, deadline_us, made_us, changed_us, sold_us, refunded, sequence, late_for, offer, fee_fixed, fee_ppm, legs"

static int take_hold(struct ush_db_rows *rows, struct book_hold *hold)
{
	const char *legs = ush_db_text(rows, 19);

	*hold = (struct book_hold){.hold = (uint64_t)ush_db_int(rows, 0),
		.number = (uint64_t)ush_db_int(rows, 1),
		.event = (uint32_t)ush_db_int(rows, 2),
		.user = (uint64_t)ush_db_int(rows, 3),
		.state = (uint8_t)ush_db_int(rows, 4),
		.version = (uint16_t)ush_db_int(rows, 5),
		.attempts = (uint16_t)ush_db_int(rows, 6),
		.prices = (uint16_t)ush_db_int(rows, 7),
		.fee = ush_db_int(rows, 8),
		.deadline_us = ush_db_int(rows, 9),
		.made_us = ush_db_int(rows, 10),
		.changed_us = ush_db_int(rows, 11),
		.sold_us = ush_db_int(rows, 12),
		.refunded = ush_db_int(rows, 13),
		.sequence = (uint64_t)ush_db_int(rows, 14),
		.late_for = (uint64_t)ush_db_int(rows, 15),
		.offer = ush_db_int(rows, 16) != 0,
		.terms.fee_fixed = (uint32_t)ush_db_int(rows, 17),
		.terms.fee_ppm = (uint32_t)ush_db_int(rows, 18)};
	return legs != NULL ? store_legs_parse(legs, hold) : -USH_ECORRUPT;
}

/* ---- into a book --------------------------------------------------------------------------- */

static int load_events(struct ush_db_conn *conn, struct book *book, struct ush_message *message)
{
	struct ush_db_rows *rows = ush_db_query(conn,
		"SELECT event, digest, status, changes, sold FROM orders_events ORDER BY event",
		"");
	int error = 0;

	while (error == 0 && ush_db_next(rows))
		error = book_put_event(book, (uint32_t)ush_db_int(rows, 0),
			(uint64_t)ush_db_int(rows, 1), (uint8_t)ush_db_int(rows, 2),
			(uint32_t)ush_db_int(rows, 3), ush_db_int(rows, 4), message);
	if (error != 0) {
		ush_db_end(rows);
		return error;
	}
	rows = ush_db_query(
		conn, "SELECT event, number, digest FROM orders_lists ORDER BY event, number", "");
	while (error == 0 && ush_db_next(rows))
		error = book_put_list(book, (uint32_t)ush_db_int(rows, 0),
			(uint32_t)ush_db_int(rows, 1), (uint64_t)ush_db_int(rows, 2), message);
	if (error != 0)
		ush_db_end(rows);
	return error;
}

static int load_rows(struct ush_db_conn *conn, struct book *book)
{
	int64_t event = 0, row = -1;
	uint32_t count = PAGE;

	while (count == PAGE) {
		struct ush_db_rows *rows = ush_db_query(conn,
			"SELECT event, \"row\", free, sequence FROM orders_rows WHERE event > ? OR (event = ? AND \"row\" > ?) ORDER BY event, \"row\" LIMIT 5000",
			"iii", event, event, row);

		for (count = 0; ush_db_next(rows); count++) {
			event = ush_db_int(rows, 0);
			row = ush_db_int(rows, 1);
			book_put_row(book, (uint32_t)event, (uint32_t)row,
				(uint64_t)ush_db_int(rows, 2), (uint64_t)ush_db_int(rows, 3));
		}
	}
	return ush_db_error(conn, NULL);
}

static int load_holds(struct ush_db_conn *conn, struct book *book)
{
	int64_t last = INT64_MIN;
	uint32_t count = PAGE;
	int error = 0;

	while (count == PAGE && error == 0) {
		struct ush_db_rows *rows = ush_db_query(conn,
			"SELECT " HOLD_COLUMNS
			" FROM orders_holds WHERE hold > ? AND state IN (2, 4, 7, 8) ORDER BY hold LIMIT 5000",
			"i", last);
		struct book_hold hold;

		for (count = 0; error == 0 && ush_db_next(rows); count++) {
			error = take_hold(rows, &hold);
			if (error == 0)
				error = book_put_hold(book, &hold);
			last = (int64_t)hold.hold;
		}
		if (error != 0)
			ush_db_end(rows);
	}
	return error != 0 ? error : ush_db_error(conn, NULL);
}

int store_load(struct ush_db_conn *conn, struct book *book, struct ush_message *message)
{
	struct store_state state;
	int error = store_state_read(conn, &state);

	if (error < 0)
		return error;
	error = load_events(conn, book, message);
	if (error == 0)
		error = load_rows(conn, book);
	if (error == 0)
		error = load_holds(conn, book);
	if (error != 0 && message->text[0] == '\0')
		ush_message_set(
			message, "the tables of orders cannot be read: %s", ush_error_text(error));
	book->change_number = state.change_number;
	return error;
}

int store_terms_read(struct ush_db_conn *conn, struct store_terms **terms, uint32_t *count)
{
	struct ush_db_rows *rows = ush_db_query(conn,
		"SELECT event, sequence, fee_fixed, fee_ppm FROM orders_terms ORDER BY event, sequence",
		"");
	uint32_t size = 0;

	*terms = NULL;
	*count = 0;
	while (ush_db_next(rows)) {
		if (*count == size) {
			struct store_terms *more =
				realloc(*terms, (size = size * 2 + 64) * sizeof(*more));

			if (more == NULL) {
				ush_db_end(rows);
				return -USH_ENOMEM;
			}
			*terms = more;
		}
		(*terms)[(*count)++] = (struct store_terms){.event = (uint32_t)ush_db_int(rows, 0),
			.sequence = (uint64_t)ush_db_int(rows, 1),
			.terms.fee_fixed = (uint32_t)ush_db_int(rows, 2),
			.terms.fee_ppm = (uint32_t)ush_db_int(rows, 3)};
	}
	return ush_db_error(conn, NULL);
}

/* ---- beside a book ------------------------------------------------------------------------- */

static void differs(int64_t *differences, struct ush_message *text, const char *what, uint64_t id)
{
	if ((*differences)++ == 0)
		ush_message_set(
			text, "%s %" PRIu64 " differs from what the journal says", what, id);
}

static bool same_hold(const struct book_hold *a, const struct book_hold *b)
{
	char legs_a[STORE_LEGS_TEXT], legs_b[STORE_LEGS_TEXT];

	store_legs_text(legs_a, a);
	store_legs_text(legs_b, b);
	return a->number == b->number && a->event == b->event && a->user == b->user &&
	       a->state == b->state && a->version == b->version && a->attempts == b->attempts &&
	       a->prices == b->prices && a->fee == b->fee && a->deadline_us == b->deadline_us &&
	       a->made_us == b->made_us && a->changed_us == b->changed_us &&
	       a->sold_us == b->sold_us && a->refunded == b->refunded &&
	       a->sequence == b->sequence && a->late_for == b->late_for && a->offer == b->offer &&
	       a->terms.fee_fixed == b->terms.fee_fixed && a->terms.fee_ppm == b->terms.fee_ppm &&
	       strcmp(legs_a, legs_b) == 0;
}

/* ret: holds of the tables that the book has not, or has otherwise; and the other way round. */
static int compare_holds(struct ush_db_conn *conn, const struct book *book, int64_t *differences,
	struct ush_message *text)
{
	struct ush_db_rows *rows =
		ush_db_query(conn, "SELECT " HOLD_COLUMNS " FROM orders_holds", "");
	uint64_t seen = 0, wanted = 0;
	struct book_hold hold;

	while (ush_db_next(rows)) {
		const struct book_hold *same;

		if (take_hold(rows, &hold) != 0) {
			differs(differences, text, "hold", hold.hold);
			continue;
		}
		same = book_find(book, hold.hold);
		if (same == NULL || !same_hold(same, &hold))
			differs(differences, text, "hold", hold.hold);
		seen += hold.sold_us != 0 || (hold.state != USH_HOLD_STATE_RELEASED &&
						     hold.state != USH_HOLD_STATE_EXPIRED);
	}
	/* What ended unsold is forgotten after a day, so only the others must all be there. */
	for (uint32_t i = 0; i < book->bucket_count; i++) {
		for (const struct book_hold *at = book->bucket[i]; at != NULL; at = at->next)
			wanted += at->sold_us != 0 || (at->state != USH_HOLD_STATE_RELEASED &&
							      at->state != USH_HOLD_STATE_EXPIRED);
	}
	if (seen != wanted)
		differs(differences, text, "the number of holds and orders,", seen);
	return ush_db_error(conn, NULL);
}

static int compare_events(struct ush_db_conn *conn, const struct book *book, int64_t *differences,
	struct ush_message *text)
{
	struct ush_db_rows *rows = ush_db_query(
		conn, "SELECT event, digest, status, changes, sold FROM orders_events", "");
	int64_t seen = 0, wanted = 0;

	for (; ush_db_next(rows); seen++) {
		uint32_t id = (uint32_t)ush_db_int(rows, 0);
		const struct book_event *event = id <= USH_EVENT_ID_MAX ? book->event[id] : NULL;

		if (event == NULL || event->digest != (uint64_t)ush_db_int(rows, 1) ||
			event->status != ush_db_int(rows, 2) ||
			event->changes != ush_db_int(rows, 3) || event->sold != ush_db_int(rows, 4))
			differs(differences, text, "event", id);
	}
	for (uint32_t i = 0; i <= USH_EVENT_ID_MAX; i++)
		wanted += book->event[i] != NULL;
	if (seen != wanted)
		differs(differences, text, "the number of events,", (uint64_t)seen);
	rows = ush_db_query(conn, "SELECT event, \"row\", free, sequence FROM orders_rows", "");
	while (ush_db_next(rows)) {
		int64_t id = ush_db_int(rows, 0), row = ush_db_int(rows, 1);
		const struct book_event *event =
			id > 0 && id <= USH_EVENT_ID_MAX ? book->event[id] : NULL;

		if (event == NULL || row >= event->row_count ||
			event->row[row].free != (uint64_t)ush_db_int(rows, 2) ||
			event->row[row].sequence != (uint64_t)ush_db_int(rows, 3))
			differs(differences, text, "a row of event", (uint64_t)id);
	}
	return ush_db_error(conn, NULL);
}

/* The book's changes and items are in its `out`: nobody has taken them. */
static int compare_out(struct ush_db_conn *conn, const struct book *book, int64_t *differences,
	struct ush_message *text)
{
	const struct book_out *out = &book->out;
	struct ush_db_rows *rows = ush_db_query(conn,
		"SELECT number, sequence, time_us, kind, event, hold, \"user\", body FROM changes ORDER BY number",
		"");
	int64_t last = 0;

	while (ush_db_next(rows)) {
		int64_t number = ush_db_int(rows, 0);
		const struct book_change *change;

		if (number < 1 || number > out->change_count || (last != 0 && number != last + 1)) {
			differs(differences, text, "change", (uint64_t)number);
			continue;
		}
		last = number;
		change = &out->change[number - 1];
		if (change->sequence != (uint64_t)ush_db_int(rows, 1) ||
			change->time_us != ush_db_int(rows, 2) ||
			strcmp(change->kind, ush_db_text(rows, 3)) != 0 ||
			change->event != ush_db_int(rows, 4) ||
			change->hold != (uint64_t)ush_db_int(rows, 5) ||
			change->user != (uint64_t)ush_db_int(rows, 6) ||
			strcmp(change->body, ush_db_text(rows, 7)) != 0)
			differs(differences, text, "change", (uint64_t)number);
	}
	if (last != out->change_count)
		differs(differences, text, "the newest change,", (uint64_t)last);
	return ush_db_error(conn, NULL);
}

/* An item, and where in the book's list: of several about one seat the last one counts. */
struct item_at {
	struct book_item item;
	uint32_t at;
};

static int by_seat(const void *left, const void *right)
{
	const struct item_at *a = left, *b = right;

	if (a->item.hold != b->item.hold)
		return (int64_t)a->item.hold < (int64_t)b->item.hold ? -1 : 1;
	if (a->item.row != b->item.row)
		return a->item.row < b->item.row ? -1 : 1;
	return a->item.bit - b->item.bit;
}

static int by_seat_and_time(const void *left, const void *right)
{
	const struct item_at *a = left, *b = right;
	int order = by_seat(left, right);

	return order != 0 ? order : (a->at > b->at) - (a->at < b->at);
}

static struct item_at *last_items(const struct book *book, uint32_t *kept)
{
	uint32_t count = book->out.item_count;
	struct item_at *item = calloc(count + 1ul, sizeof(*item));

	*kept = 0;
	if (item == NULL)
		return NULL;
	for (uint32_t i = 0; i < count; i++)
		item[i] = (struct item_at){.item = book->out.item[i], .at = i};
	qsort(item, count, sizeof(*item), by_seat_and_time);
	for (uint32_t i = 0; i < count; i++) {
		if (i + 1 == count || by_seat(&item[i], &item[i + 1]) != 0)
			item[(*kept)++] = item[i];
	}
	return item;
}

static int compare_items(struct ush_db_conn *conn, const struct book *book, int64_t *differences,
	struct ush_message *text)
{
	uint32_t count, seen = 0;
	struct item_at *item = last_items(book, &count);
	struct ush_db_rows *rows;

	if (item == NULL)
		return -USH_ENOMEM;
	rows = ush_db_query(
		conn, "SELECT hold, \"row\", \"bit\", price, fee, state FROM orders_items", "");
	for (; ush_db_next(rows); seen++) {
		struct item_at key = {.item = {.hold = (uint64_t)ush_db_int(rows, 0),
					      .row = (uint16_t)ush_db_int(rows, 1),
					      .bit = (uint8_t)ush_db_int(rows, 2)}};
		const struct item_at *found = bsearch(&key, item, count, sizeof(*item), by_seat);

		if (found == NULL || found->item.price != ush_db_int(rows, 3) ||
			found->item.fee != ush_db_int(rows, 4) ||
			found->item.state != ush_db_int(rows, 5))
			differs(differences, text, "an item of order", key.item.hold);
	}
	if (seen != count)
		differs(differences, text, "the number of items,", seen);
	free(item);
	return ush_db_error(conn, NULL);
}

int64_t store_compare(struct ush_db_conn *conn, const struct book *book, struct ush_message *text)
{
	int64_t differences = 0;
	int error;

	text->text[0] = '\0';
	error = compare_events(conn, book, &differences, text);
	if (error == 0)
		error = compare_holds(conn, book, &differences, text);
	if (error == 0)
		error = compare_items(conn, book, &differences, text);
	if (error == 0)
		error = compare_out(conn, book, &differences, text);
	return error != 0 ? error : differences;
}

/* ---- for replicas -------------------------------------------------------------------------- */

static int since_events(struct ush_db_conn *conn, struct book_out *out)
{
	struct ush_db_rows *rows = ush_db_query(conn,
		"SELECT event, digest, status, changes FROM orders_events ORDER BY event", "");

	while (ush_db_next(rows)) {
		if (out->event_count == out->event_size) {
			uint32_t size = out->event_size * 2 + 64;
			struct book_event_change *more =
				realloc(out->event, size * sizeof(*out->event));

			if (more == NULL) {
				ush_db_end(rows);
				return -USH_ENOMEM;
			}
			out->event = more;
			out->event_size = size;
		}
		out->event[out->event_count++] =
			(struct book_event_change){.id = (uint32_t)ush_db_int(rows, 0),
				.digest = (uint64_t)ush_db_int(rows, 1),
				.status = (uint8_t)ush_db_int(rows, 2),
				.changes = (uint32_t)ush_db_int(rows, 3)};
	}
	return ush_db_error(conn, NULL);
}

int store_since(struct ush_db_conn *conn, uint64_t sequence, struct book_out *out)
{
	struct ush_db_rows *rows;
	int error = since_events(conn, out);

	if (error != 0)
		return error;
	rows = ush_db_query(conn,
		"SELECT event, \"row\", free, sequence FROM orders_rows WHERE sequence >= ?", "i",
		(int64_t)sequence);
	while (ush_db_next(rows)) {
		if (out->row_count == out->row_size) {
			uint32_t size = out->row_size * 2 + 64;
			struct book_row_change *more = realloc(out->row, size * sizeof(*out->row));

			if (more == NULL) {
				ush_db_end(rows);
				return -USH_ENOMEM;
			}
			out->row = more;
			out->row_size = size;
		}
		out->row[out->row_count++] =
			(struct book_row_change){.event = (uint32_t)ush_db_int(rows, 0),
				.row = (uint32_t)ush_db_int(rows, 1),
				.free = (uint64_t)ush_db_int(rows, 2),
				.sequence = (uint64_t)ush_db_int(rows, 3)};
	}
	return ush_db_error(conn, NULL);
}

/* ---- for others ---------------------------------------------------------------------------- */

int ush_orders_find(struct ush_db_conn *conn, uint64_t hold, struct ush_orders_hold *out)
{
	struct ush_db_rows *rows = ush_db_query(conn,
		"SELECT " HOLD_COLUMNS ", currency FROM orders_holds WHERE hold = ?", "i",
		(int64_t)hold);
	struct book_hold found;
	int error;

	if (!ush_db_next(rows))
		return ush_db_error(conn, NULL);
	error = take_hold(rows, &found);
	*out = (struct ush_orders_hold){.hold = found.hold,
		.user = found.user,
		.event = found.event,
		.state = found.state,
		.version = found.version,
		.attempts = found.attempts,
		.amount = book_amount(&found),
		.fee = found.fee,
		.total = book_amount(&found) + found.fee,
		.refunded = found.refunded,
		.deadline_us = found.deadline_us,
		.made_us = found.made_us,
		.sold_us = found.sold_us,
		.sequence = found.sequence,
		.seat_count = book_seats(&found),
		.leg_count = found.leg_count};
	snprintf(out->currency, sizeof(out->currency), "%s",
		ush_db_is_null(rows, 20) ? "" : ush_db_text(rows, 20));
	for (uint32_t i = 0; i < found.leg_count; i++)
		out->leg[i] = (struct ush_orders_leg){.row = found.leg[i].row,
			.mask = found.leg[i].mask,
			.amount = found.leg[i].amount};
	ush_db_end(rows);
	return error != 0 ? error : 1;
}

int ush_orders_missing(struct ush_db_conn *conn, uint64_t user)
{
	int64_t later = 0;
	int got = ush_db_get(conn,
		"SELECT COUNT(*) FROM orders_requests WHERE \"user\" = ? AND made_us >= (SELECT checked_us FROM orders_state WHERE id = 1)",
		"i", (int64_t)user, "i", &later);

	if (got < 0)
		return got;
	return later != 0 ? -USH_EBUSY : -USH_ENOENT;
}

int ush_orders_price(struct ush_db_conn *conn, uint64_t hold, const struct ush_orders_leg *legs,
	uint32_t leg_count, int64_t *amount, int64_t *fee)
{
	struct ush_db_rows *rows;
	uint32_t found = 0, wanted = 0;

	*amount = *fee = 0;
	for (uint32_t i = 0; i < leg_count; i++)
		wanted += ush_popcount64(legs[i].mask);
	rows = ush_db_query(conn,
		"SELECT \"row\", \"bit\", price, fee FROM orders_items WHERE hold = ? AND state <> 2",
		"i", (int64_t)hold);
	while (ush_db_next(rows)) {
		for (uint32_t i = 0; i < leg_count; i++) {
			if (legs[i].row != ush_db_int(rows, 0) ||
				(legs[i].mask >> ush_db_int(rows, 1) & 1) == 0)
				continue;
			found++;
			if (__builtin_add_overflow(*amount, ush_db_int(rows, 2), amount) ||
				__builtin_add_overflow(*fee, ush_db_int(rows, 3), fee)) {
				ush_db_end(rows);
				return -USH_ERANGE;
			}
		}
	}
	if (ush_db_error(conn, NULL) != 0)
		return ush_db_error(conn, NULL);
	return found == wanted ? 0 : -USH_ENOENT;
}
