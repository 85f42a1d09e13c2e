/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A seat has one row in tickets_seats: its newest serial, whose it is, whether it lives. A sale, a
 * transfer and a sale after a refund take the next serial, so one number a seat says which tickets
 * are dead.
 *
 * Failure modes: a change of a kind that is not known is passed over; an account without an address
 * (deleted) gets no mail, its tickets can still be fetched.
 */
#include "tickets/issue.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "catalogue/catalogue.h"
#include "catalogue/venue.h"
#include "people/people.h"
#include "tickets/offer_mail.h"
#include "tickets/own_keys.h"
#include "tickets/receipt.h"
#include "tickets/revocations.h"
#include "tickets/tickets.h"
#include "tickets/ticket_mail.h"

#define STEP_CHANGES 100

#define TABLES(BIG) \
	"CREATE TABLE tickets_state(id " BIG " PRIMARY KEY, number " BIG " NOT NULL);" \
	"INSERT INTO tickets_state VALUES (1, 0);" \
	"CREATE TABLE tickets_seats(event " BIG " NOT NULL, seat_row " BIG " NOT NULL," \
	" seat_bit " BIG " NOT NULL, serial " BIG " NOT NULL, hold " BIG " NOT NULL," \
	" owner " BIG " NOT NULL, alive " BIG " NOT NULL, signing_key " BIG " NOT NULL," \
	" changed_us " BIG " NOT NULL, PRIMARY KEY(event, seat_row, seat_bit));" \
	"CREATE INDEX tickets_seats_hold ON tickets_seats(hold);"

const struct ush_db_step ush_tickets_schema[] = {
	{"tickets", 1, TABLES("INTEGER"), TABLES("BIGINT")},
	{"tickets", 2, "CREATE INDEX tickets_seats_owner ON tickets_seats(owner);", NULL},
	{"tickets", 3, OWN_KEYS_TABLE("INTEGER"), OWN_KEYS_TABLE("BIGINT")},
	{0},
};

/* ---- reading ---- */

#define COLUMNS "event, seat_row, seat_bit, serial, hold, owner, alive, signing_key"

static void read_seat(struct ush_db_rows *rows, struct tickets_seat *seat)
{
	memset(seat, 0, sizeof(*seat));
	seat->ticket.event = (uint32_t)ush_db_int(rows, 0);
	seat->ticket.row = (uint32_t)ush_db_int(rows, 1);
	seat->ticket.bit = (uint8_t)ush_db_int(rows, 2);
	seat->ticket.serial = (uint16_t)ush_db_int(rows, 3);
	seat->ticket.hold = (uint64_t)ush_db_int(rows, 4);
	seat->user = (uint64_t)ush_db_int(rows, 5);
	seat->alive = ush_db_int(rows, 6) != 0;
	seat->ticket.key = (uint8_t)ush_db_int(rows, 7);
}

int tickets_of_order(struct ush_db_conn *conn, uint64_t hold, struct tickets_seat *seats)
{
	struct ush_db_rows *rows = ush_db_query(conn,
		"SELECT " COLUMNS " FROM tickets_seats WHERE hold = ? AND alive = 1"
		" ORDER BY seat_row, seat_bit LIMIT 512",
		"i", (int64_t)hold);
	int count = 0, error;

	while (count < (int)TICKETS_SEATS_MAX && ush_db_next(rows))
		read_seat(rows, &seats[count++]);
	ush_db_end(rows);
	error = ush_db_error(conn, NULL);
	return error != 0 ? error : count;
}

int tickets_find(struct ush_db_conn *conn, uint32_t event, uint32_t row, uint32_t bit,
	struct tickets_seat *seat)
{
	struct ush_db_rows *rows = ush_db_query(conn,
		"SELECT " COLUMNS
		" FROM tickets_seats WHERE event = ? AND seat_row = ? AND seat_bit = ?",
		"iii", (int64_t)event, (int64_t)row, (int64_t)bit);
	int found = 0, error;

	if (ush_db_next(rows)) {
		read_seat(rows, seat);
		found = 1;
		ush_db_end(rows);
	}
	error = ush_db_error(conn, NULL);
	return error != 0 ? error : found;
}

int tickets_sign_anew(struct ush_db_conn *conn, const struct ush_ticket_keys *keys, uint8_t retired)
{
	const struct ush_ticket_key *key = ush_ticket_key_now(keys, ush_core_now_us());

	if (key == NULL)
		return -USH_ENOENT;
	ush_db_exec(conn, "UPDATE tickets_seats SET signing_key = ? WHERE signing_key = ?", "ii",
		(int64_t)key->id, (int64_t)retired);
	return ush_db_error(conn, NULL);
}

int tickets_code(const struct ush_ticket_keys *keys, const struct tickets_seat *seat,
	char code[USH_TICKET_CODE_CHARS + 1])
{
	const struct ush_ticket_key *key = ush_ticket_key(keys, seat->ticket.key);

	return key == NULL ? -USH_ENOENT : ush_ticket_make(&seat->ticket, key->seed, code);
}

void tickets_time(int64_t us, char text[32])
{
	const time_t second = (time_t)(us / 1000000);
	struct tm parts;

	gmtime_r(&second, &parts);
	strftime(text, 32, "%Y-%m-%d %H:%M UTC", &parts);
}

void tickets_html(const char *text, char *out, size_t bytes)
{
	size_t at = 0;

	for (; *text != '\0' && at + 7 < bytes; text++) {
		const char *as = *text == '<'   ? "&lt;"
				 : *text == '>' ? "&gt;"
				 : *text == '&' ? "&amp;"
				 : *text == '"' ? "&quot;"
						: NULL;

		if (as != NULL)
			at += (size_t)snprintf(out + at, bytes - at, "%s", as);
		else
			out[at++] = *text;
	}
	out[at] = '\0';
}

/* ---- what people are told ---- */

static void label(const struct ush_venue *venue, struct tickets_seat *seat)
{
	struct ush_venue_label names;

	if (venue == NULL ||
		ush_venue_label(venue, seat->ticket.row, seat->ticket.bit, &names) != 0)
		snprintf(seat->label, sizeof(seat->label), "Row %u, seat %u", seat->ticket.row + 1,
			seat->ticket.bit + 1u);
	else if (names.row[0] == '\0')
		snprintf(seat->label, sizeof(seat->label), "%s, place %s", names.section,
			names.seat);
	else
		snprintf(seat->label, sizeof(seat->label), "%s, row %s, seat %s", names.section,
			names.row, names.seat);
}

int tickets_event_of(struct ush_db_conn *conn, uint32_t event, struct tickets_event *out,
	struct tickets_seat *seats, uint32_t count)
{
	struct ush_catalogue_event found = {0};
	struct ush_message message;
	struct ush_venue *venue = NULL;
	uint8_t *image = NULL;
	size_t bytes = 0;
	int ret = ush_catalogue_event(conn, event, &found);

	memset(out, 0, sizeof(*out));
	snprintf(out->name, sizeof(out->name), "%s", ret == 1 ? found.name : "Your event");
	if (ret == 1) {
		snprintf(out->place, sizeof(out->place), "%s, %s", found.venue_name, found.city);
		out->starts_us = found.starts_us;
		out->doors_us = found.doors_us;
		if (found.plan != NULL &&
			ush_catalogue_plan(conn, found.plan, &image, &bytes) == 1 &&
			ush_venue_open(image, bytes, &venue, &message) != 0)
			venue = NULL;
		ush_catalogue_event_free(&found);
	}
	for (uint32_t i = 0; i < count; i++)
		label(venue, &seats[i]);
	if (venue != NULL)
		ush_venue_close(venue);
	free(image);
	return ret;
}

/* ---- changes ---- */

struct change {
	int64_t number;
	int64_t time_us;
	char kind[32];
	uint32_t event;
	uint64_t hold;
	uint64_t user;
	char *body;
};

static int issue(struct ush_db_conn *conn, const struct change *change, uint8_t key, int64_t row,
	int64_t bit)
{
	ush_db_exec(conn,
		"INSERT INTO tickets_seats(" COLUMNS
		", changed_us) VALUES (?, ?, ?, 1, ?, ?, 1, ?, ?)"
		" ON CONFLICT (event, seat_row, seat_bit) DO UPDATE SET serial ="
		" tickets_seats.serial + 1, hold = excluded.hold, owner = excluded.owner, alive = 1,"
		" signing_key = excluded.signing_key, changed_us = excluded.changed_us",
		"iiiiiii", (int64_t)change->event, row, bit, (int64_t)change->hold,
		(int64_t)change->user, (int64_t)key, change->time_us);
	return ush_db_error(conn, NULL);
}

/* Of each seat of the change: a ticket, or the end of one. */
static int each_seat(
	struct ush_db_conn *conn, const struct change *change, uint8_t key, bool is_sale)
{
	json_t *body = json_loads(change->body, 0, NULL), *seat;
	size_t i;
	int ret = body == NULL ? -USH_ECORRUPT : 0;

	json_array_foreach(json_object_get(body, "seats"), i, seat)
	{
		int64_t row = json_integer_value(json_array_get(seat, 0));
		int64_t bit = json_integer_value(json_array_get(seat, 1));

		if (ret == 0 && is_sale)
			ret = issue(conn, change, key, row, bit);
		else if (ret == 0)
			ush_db_exec(conn,
				"UPDATE tickets_seats SET alive = 0, changed_us = ? WHERE event = ? AND"
				" seat_row = ? AND seat_bit = ? AND hold = ?",
				"iiiii", change->time_us, (int64_t)change->event, row, bit,
				(int64_t)change->hold);
	}
	json_decref(body);
	return ret;
}

static int take(struct ush_db_conn *conn, struct tickets_step *step, const struct change *change)
{
	const struct ush_ticket_key *key = ush_ticket_key_now(&step->keys, ush_core_now_us());
	int ret = 0;

	USH_ASSERT(key != NULL);
	if (strcmp(change->kind, "order.refunded") == 0) {
		ret = each_seat(conn, change, key->id, false);
		return ret < 0 ? ret
			       : tickets_refund_mail(conn, step, change->hold, change->number);
	}
	if (strcmp(change->kind, "waitlist.offered") == 0)
		return tickets_offer_mail(conn, step, change->hold, change->user, change->event,
			change->number, change->body);
	if (strcmp(change->kind, "order.transferred") == 0)
		ush_db_exec(conn,
			"UPDATE tickets_seats SET serial = serial + 1, owner = ?, signing_key = ?,"
			" changed_us = ? WHERE hold = ? AND alive = 1",
			"iiii", (int64_t)change->user, (int64_t)key->id, change->time_us,
			(int64_t)change->hold);
	else if (strcmp(change->kind, "order.sold") == 0)
		ret = each_seat(conn, change, key->id, true);
	else
		return 0;
	if (ret == 0)
		ret = tickets_mail(
			conn, step, change->hold, change->user, change->event, change->number);
	return ret < 0 ? ret : 0;
}

int tickets_step_job(struct ush_db_conn *conn, void *context)
{
	struct tickets_step *step = context;
	struct change *changes = calloc(STEP_CHANGES, sizeof(*changes));
	struct ush_db_rows *rows;
	int64_t number = 0;
	uint32_t count = 0;
	int ret;

	USH_ASSERT(changes != NULL);
	step->done = step->mails = 0;
	ret = ush_db_get(conn, "SELECT number FROM tickets_state WHERE id = 1", "", "i", &number);
	rows = ush_db_query(conn,
		"SELECT number, time_us, kind, event, hold, \"user\", body FROM changes WHERE number > ?"
		" ORDER BY number LIMIT 100",
		"i", number);
	while (count < STEP_CHANGES && ush_db_next(rows)) {
		struct change *change = &changes[count++];

		change->number = ush_db_int(rows, 0);
		change->time_us = ush_db_int(rows, 1);
		snprintf(change->kind, sizeof(change->kind), "%s", ush_db_text(rows, 2));
		change->event = (uint32_t)ush_db_int(rows, 3);
		change->hold = (uint64_t)ush_db_int(rows, 4);
		change->user = (uint64_t)ush_db_int(rows, 5);
		change->body = strdup(ush_db_text(rows, 6));
		USH_ASSERT(change->body != NULL);
	}
	ush_db_end(rows);
	ret = ret < 0 ? ret : 0;
	for (uint32_t i = 0; i < count; i++) {
		if (ret == 0)
			ret = take(conn, step, &changes[i]);
		free(changes[i].body);
	}
	if (ret == 0 && count > 0)
		ush_db_exec(conn, "UPDATE tickets_state SET number = ? WHERE id = 1", "i",
			changes[count - 1].number);
	step->done = count;
	free(changes);
	return ret < 0 ? ret : ush_db_error(conn, NULL);
}

/* ---- dead tickets ---- */

/* When the list holds: now if nothing waits, or else since the first change that waits. */
static int64_t made_us(struct ush_db_conn *conn, uint64_t *through)
{
	int64_t number = 0, waiting = 0;

	ush_db_get(conn, "SELECT number FROM tickets_state WHERE id = 1", "", "i", &number);
	ush_db_get(conn, "SELECT COALESCE(MIN(time_us), 0) FROM changes WHERE number > ?", "i",
		number, "i", &waiting);
	*through = (uint64_t)number;
	return waiting != 0 ? waiting : ush_core_now_us();
}

int tickets_revocations(
	struct ush_db_conn *conn, const struct ush_ticket_keys *keys, uint32_t event, char **text)
{
	struct ush_revocations list = {.event = event};
	const struct ush_ticket_key *key = ush_ticket_key_now(keys, ush_core_now_us());
	uint32_t room = 0;
	struct ush_db_rows *rows;
	int ret;

	USH_ASSERT(key != NULL);
	list.key = key->id;
	list.made_us = made_us(conn, &list.through);
	rows = ush_db_query(conn,
		"SELECT seat_row, seat_bit, serial, alive FROM tickets_seats WHERE event = ? AND"
		" (alive = 0 OR serial > 1) ORDER BY seat_row, seat_bit",
		"i", (int64_t)event);
	while (list.count < USH_REVOCATIONS_MAX && ush_db_next(rows)) {
		if (list.count == room) {
			room = room == 0 ? 256 : 2 * room;
			list.seats = realloc(list.seats, room * sizeof(*list.seats));
			USH_ASSERT(list.seats != NULL);
		}
		list.seats[list.count++] = (struct ush_revocation){
			.row = (uint32_t)ush_db_int(rows, 0),
			.bit = (uint8_t)ush_db_int(rows, 1),
			.alive = (uint16_t)(ush_db_int(rows, 2) + (ush_db_int(rows, 3) == 0)),
		};
	}
	ush_db_end(rows);
	ret = ush_db_error(conn, NULL);
	if (ret == 0)
		ret = ush_revocations_make(&list, key, text);
	free(list.seats);
	return ret;
}
