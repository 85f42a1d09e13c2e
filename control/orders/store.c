/* SPDX-License-Identifier: Apache-2.0 */
#include "orders/store.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DAY_US 86400000000ll
#define CHANGES_KEPT_US (400 * DAY_US)
/* Rows of one query: PostgreSQL hands them over whole. */
#define PAGE 5000

const struct ush_db_step ush_orders_schema[] = {
	{"orders", 1,
		"CREATE TABLE orders_state (id INTEGER PRIMARY KEY, box INTEGER NOT NULL, epoch INTEGER NOT NULL, sequence INTEGER NOT NULL, high INTEGER NOT NULL, change_number INTEGER NOT NULL, time_us INTEGER NOT NULL, checked_us INTEGER NOT NULL, generation INTEGER NOT NULL);"
		"INSERT INTO orders_state VALUES (1, 0, 0, 0, 0, 0, 0, 0, 0);"
		"CREATE TABLE orders_events (event INTEGER PRIMARY KEY, digest INTEGER NOT NULL, status INTEGER NOT NULL, seats INTEGER NOT NULL, sold INTEGER NOT NULL, changes INTEGER NOT NULL, currency TEXT NOT NULL);"
		"CREATE TABLE orders_lists (event INTEGER NOT NULL, number INTEGER NOT NULL, digest INTEGER NOT NULL, PRIMARY KEY (event, number));"
		"CREATE TABLE orders_rows (event INTEGER NOT NULL, \"row\" INTEGER NOT NULL, free INTEGER NOT NULL, sequence INTEGER NOT NULL, PRIMARY KEY (event, \"row\")) WITHOUT ROWID;"
		"CREATE INDEX orders_rows_sequence ON orders_rows (sequence);"
		"CREATE TABLE orders_terms (event INTEGER NOT NULL, sequence INTEGER NOT NULL, fee_fixed INTEGER NOT NULL, fee_ppm INTEGER NOT NULL, PRIMARY KEY (event, sequence));"
		"CREATE TABLE orders_holds (hold INTEGER PRIMARY KEY, number INTEGER NOT NULL, event INTEGER NOT NULL, \"user\" INTEGER NOT NULL, state INTEGER NOT NULL, version INTEGER NOT NULL, attempts INTEGER NOT NULL, prices INTEGER NOT NULL, seats INTEGER NOT NULL, amount INTEGER NOT NULL, fee INTEGER NOT NULL, total INTEGER NOT NULL, currency TEXT NOT NULL, deadline_us INTEGER NOT NULL, made_us INTEGER NOT NULL, changed_us INTEGER NOT NULL, sold_us INTEGER NOT NULL, refunded INTEGER NOT NULL, sequence INTEGER NOT NULL, late_for INTEGER NOT NULL, offer INTEGER NOT NULL, fee_fixed INTEGER NOT NULL, fee_ppm INTEGER NOT NULL, legs TEXT NOT NULL);"
		"CREATE INDEX orders_holds_user ON orders_holds (\"user\", number);"
		"CREATE INDEX orders_holds_event ON orders_holds (event, sold_us);"
		"CREATE INDEX orders_holds_state ON orders_holds (state, changed_us);"
		"CREATE TABLE orders_items (hold INTEGER NOT NULL, \"row\" INTEGER NOT NULL, \"bit\" INTEGER NOT NULL, price INTEGER NOT NULL, fee INTEGER NOT NULL, state INTEGER NOT NULL, PRIMARY KEY (hold, \"row\", \"bit\")) WITHOUT ROWID;"
		"CREATE TABLE changes (number INTEGER PRIMARY KEY, sequence INTEGER NOT NULL, time_us INTEGER NOT NULL, kind TEXT NOT NULL, event INTEGER NOT NULL, hold INTEGER NOT NULL, \"user\" INTEGER NOT NULL, body TEXT NOT NULL);"
		"CREATE INDEX changes_hold ON changes (hold);",
		NULL},
	{"orders", 2,
		"CREATE TABLE orders_maps (hash TEXT PRIMARY KEY, event INTEGER NOT NULL, digest INTEGER NOT NULL);"
		"CREATE TABLE orders_requests (\"user\" INTEGER NOT NULL, event INTEGER NOT NULL, request_key TEXT NOT NULL, request_id INTEGER NOT NULL, made_us INTEGER NOT NULL, PRIMARY KEY (\"user\", event, request_key));"
		"CREATE INDEX orders_requests_made ON orders_requests (made_us);"
		"CREATE TABLE orders_request_ids (\"user\" INTEGER NOT NULL, event INTEGER NOT NULL, last_id INTEGER NOT NULL, PRIMARY KEY (\"user\", event));"
		"CREATE TABLE orders_transfers (code TEXT PRIMARY KEY, hold INTEGER NOT NULL, event INTEGER NOT NULL, \"user\" INTEGER NOT NULL, version INTEGER NOT NULL, state INTEGER NOT NULL, to_user INTEGER NOT NULL, made_us INTEGER NOT NULL, ends_us INTEGER NOT NULL);"
		"CREATE INDEX orders_transfers_hold ON orders_transfers (hold);"
		"CREATE TABLE orders_waits (entry TEXT PRIMARY KEY, event INTEGER NOT NULL, \"user\" INTEGER NOT NULL, seats INTEGER NOT NULL, tier INTEGER NOT NULL, made_us INTEGER NOT NULL);"
		"CREATE INDEX orders_waits_user ON orders_waits (\"user\", event);"
		"CREATE TABLE orders_codes (code TEXT PRIMARY KEY, event INTEGER NOT NULL, channel INTEGER NOT NULL, uses_max INTEGER NOT NULL, uses INTEGER NOT NULL, starts_us INTEGER NOT NULL, ends_us INTEGER NOT NULL);",
		NULL},
	{"orders", 3,
		"CREATE INDEX orders_transfers_user ON orders_transfers (\"user\");"
		"CREATE INDEX orders_transfers_to ON orders_transfers (to_user);",
		NULL},
	/* Holds that were made with a presale code, until they end or are sold. */
	{"orders", 4,
		"CREATE TABLE orders_code_uses (hold INTEGER PRIMARY KEY, code TEXT NOT NULL, made_us INTEGER NOT NULL);",
		NULL},
	{0},
};

static int64_t of(uint64_t value)
{
	return (int64_t)value;
}

void store_batch_free(struct store_batch *batch)
{
	book_out_free(&batch->out);
	free(batch->terms);
	free(batch);
}

/* ---- legs ---------------------------------------------------------------------------------- */

void store_legs_text(char text[STORE_LEGS_TEXT], const struct book_hold *hold)
{
	size_t at = 0;

	text[0] = '\0';
	for (uint32_t i = 0; i < hold->leg_count; i++) {
		const struct book_leg *leg = &hold->leg[i];

		at += (size_t)snprintf(text + at, STORE_LEGS_TEXT - at, "%s%u:%" PRIx64 ":%u",
			i == 0 ? "" : " ", leg->row, leg->mask, leg->amount);
		if (leg->refunding != 0)
			at += (size_t)snprintf(
				text + at, STORE_LEGS_TEXT - at, ":%" PRIx64, leg->refunding);
	}
	USH_ASSERT(at < STORE_LEGS_TEXT);
}

int store_legs_parse(const char *text, struct book_hold *hold)
{
	hold->leg_count = 0;
	while (*text != '\0') {
		struct book_leg *leg = &hold->leg[hold->leg_count];
		int used = 0;

		if (hold->leg_count == USH_LEG_COUNT_MAX)
			return -USH_ECORRUPT;
		*leg = (struct book_leg){0};
		if (sscanf(text, "%" SCNu16 ":%" SCNx64 ":%" SCNu32 "%n", &leg->row, &leg->mask,
			    &leg->amount, &used) != 3)
			return -USH_ECORRUPT;
		text += used;
		used = 0;
		if (*text == ':' && sscanf(text, ":%" SCNx64 "%n", &leg->refunding, &used) != 1)
			return -USH_ECORRUPT;
		text += used;
		hold->leg_count++;
		text += *text == ' ';
	}
	return 0;
}

/* ---- writing ------------------------------------------------------------------------------- */

int store_state_read(struct ush_db_conn *conn, struct store_state *state)
{
	int64_t box, epoch, sequence, high;
	int found = ush_db_get(conn,
		"SELECT box, epoch, sequence, high, change_number, time_us, checked_us, generation FROM orders_state WHERE id = 1",
		"", "iiiiiiii", &box, &epoch, &sequence, &high, &state->change_number,
		&state->time_us, &state->checked_us, &state->generation);

	if (found != 1)
		return found < 0 ? found : -USH_ECORRUPT;
	state->position = (struct ush_follow_position){
		.box = (uint64_t)box, .epoch = (uint32_t)epoch, .sequence = (uint64_t)sequence};
	state->high = (uint64_t)high;
	return 1;
}

/* An order whose id came back moves aside, with its items. */
static void move_aside(struct ush_db_conn *conn, int64_t hold, int64_t number)
{
	ush_db_exec(conn, "UPDATE orders_items SET hold = ? WHERE hold = ?", "ii", -number, hold);
	ush_db_exec(conn, "UPDATE orders_holds SET hold = ? WHERE hold = ?", "ii", -number, hold);
}

/* Ids of new holds, hardly one of which was ever there: PostgreSQL is asked for many at once. */
static void write_fresh_postgres(struct ush_db_conn *conn, const struct book_out *out)
{
	int64_t *found = calloc(2 * out->fresh_count + 1, sizeof(*found));
	size_t size = 24 * (size_t)out->fresh_count + 8, bytes = 1;
	char *list = malloc(size);
	struct ush_db_rows *rows;
	uint32_t count = 0;

	USH_ASSERT(found != NULL);
	USH_ASSERT(list != NULL);
	list[0] = '{';
	for (uint32_t i = 0; i < out->fresh_count; i++)
		bytes += (size_t)snprintf(list + bytes, size - bytes, "%s%lld", i == 0 ? "" : ",",
			(long long)of(out->fresh[i]));
	snprintf(list + bytes, size - bytes, "}");
	rows = ush_db_query(conn,
		"SELECT hold, number FROM orders_holds WHERE hold = ANY(CAST(? AS BIGINT[]))", "t",
		list);
	while (ush_db_next(rows)) {
		USH_ASSERT(count < out->fresh_count);
		found[2 * count] = ush_db_int(rows, 0);
		found[2 * count++ + 1] = ush_db_int(rows, 1);
	}
	for (uint32_t i = 0; i < count; i++)
		move_aside(conn, found[2 * i], found[2 * i + 1]);
	free(list);
	free(found);
}

static void write_fresh(struct ush_db_conn *conn, const struct book_out *out)
{
	if (out->fresh_count > 0 && ush_db_conn_is_postgres(conn)) {
		write_fresh_postgres(conn, out);
		return;
	}
	for (uint32_t i = 0; i < out->fresh_count; i++) {
		int64_t hold = of(out->fresh[i]), number;

		if (ush_db_get(conn, "SELECT number FROM orders_holds WHERE hold = ?", "i", hold,
			    "i", &number) == 1)
			move_aside(conn, hold, number);
	}
}

static const char hold_sql[] =
	"INSERT INTO orders_holds (hold, number, event, \"user\", state, version, attempts, prices, seats, amount, fee, total, currency, deadline_us, made_us, changed_us, sold_us, refunded, sequence, late_for, offer, fee_fixed, fee_ppm, legs) "
	"VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
	"ON CONFLICT (hold) DO UPDATE SET number = excluded.number, \"user\" = excluded.\"user\", state = excluded.state, version = excluded.version, attempts = excluded.attempts, seats = excluded.seats, amount = excluded.amount, fee = excluded.fee, total = excluded.total, deadline_us = excluded.deadline_us, changed_us = excluded.changed_us, sold_us = excluded.sold_us, refunded = excluded.refunded, sequence = excluded.sequence, legs = excluded.legs";

static void write_hold(struct ush_db_many *many, const struct book_hold *hold, const char *currency)
{
	char legs[STORE_LEGS_TEXT];
	int64_t amount = book_amount(hold);

	store_legs_text(legs, hold);
	ush_db_many_add(many, of(hold->hold), of(hold->number), (int64_t)hold->event,
		of(hold->user), (int64_t)hold->state, (int64_t)hold->version,
		(int64_t)hold->attempts, (int64_t)hold->prices, (int64_t)book_seats(hold), amount,
		hold->fee, amount + hold->fee, currency, hold->deadline_us, hold->made_us,
		hold->changed_us, hold->sold_us, hold->refunded, of(hold->sequence),
		of(hold->late_for), (int64_t)hold->offer, (int64_t)hold->terms.fee_fixed,
		(int64_t)hold->terms.fee_ppm, legs);
}

/* ret: the currency of an event, "" if it is not known. */
static void currency_of(struct ush_db_conn *conn, uint32_t event, char currency[4])
{
	char *text = NULL;

	currency[0] = '\0';
	if (ush_db_get(conn, "SELECT currency FROM orders_events WHERE event = ?", "i",
		    (int64_t)event, "t", &text) == 1 &&
		text != NULL)
		snprintf(currency, 4, "%s", text);
	free(text);
}

static void write_events(struct ush_db_conn *conn, const struct book_out *out)
{
	struct ush_db_many *many;

	for (uint32_t i = 0; i < out->event_count; i++) {
		const struct book_event_change *event = &out->event[i];

		ush_db_exec(conn,
			"INSERT INTO orders_events (event, digest, status, seats, sold, changes, currency) VALUES (?, ?, ?, ?, ?, ?, ?) "
			"ON CONFLICT (event) DO UPDATE SET digest = excluded.digest, status = excluded.status, seats = excluded.seats, sold = excluded.sold, changes = excluded.changes, currency = excluded.currency",
			"iiiiiit", (int64_t)event->id, of(event->digest), (int64_t)event->status,
			event->seat_count, event->sold, (int64_t)event->changes, event->currency);
	}
	for (uint32_t i = 0; i < out->list_count; i++)
		ush_db_exec(conn,
			"INSERT INTO orders_lists (event, number, digest) VALUES (?, ?, ?)", "iii",
			(int64_t)out->list[i].event, (int64_t)out->list[i].number,
			of(out->list[i].digest));
	many = ush_db_many(conn,
		"INSERT INTO orders_rows (event, \"row\", free, sequence) VALUES (?, ?, ?, ?) "
		"ON CONFLICT (event, \"row\") DO UPDATE SET free = excluded.free, sequence = excluded.sequence",
		"iiii", 2);
	for (uint32_t i = 0; i < out->row_count; i++)
		ush_db_many_add(many, (int64_t)out->row[i].event, (int64_t)out->row[i].row,
			of(out->row[i].free), of(out->row[i].sequence));
	ush_db_many_end(many);
}

int store_code_back(struct ush_db_conn *conn, uint64_t hold)
{
	ush_db_exec(conn,
		"UPDATE orders_codes SET uses = uses - 1 WHERE uses > 0 AND code IN (SELECT code FROM orders_code_uses WHERE hold = ?)",
		"i", of(hold));
	ush_db_exec(conn, "DELETE FROM orders_code_uses WHERE hold = ?", "i", of(hold));
	return ush_db_error(conn, NULL);
}

/* A hold that ended unsold gives back the use of its presale code, in the transaction in which the
 * model says that it ended; one that was sold has used it up. */
static void write_codes(struct ush_db_conn *conn, const struct book_out *out)
{
	int64_t any = 0;

	/* Most holds have none, most of the time. */
	ush_db_get(conn, "SELECT hold FROM orders_code_uses LIMIT 1", "", "i", &any);
	for (uint32_t i = 0; any != 0 && i < out->hold_count; i++) {
		const struct book_hold *hold = &out->hold[i];

		if (hold->sold_us != 0)
			ush_db_exec(conn, "DELETE FROM orders_code_uses WHERE hold = ?", "i",
				of(hold->hold));
		else if (hold->state == USH_HOLD_STATE_RELEASED ||
			 hold->state == USH_HOLD_STATE_EXPIRED)
			store_code_back(conn, hold->hold);
	}
}

static void write_holds(struct ush_db_conn *conn, const struct book_out *out)
{
	struct ush_db_many *many = ush_db_many(conn, hold_sql, "iiiiiiiiiiiitiiiiiiiiiit", 1);
	char currency[4] = "";
	uint32_t event = 0;

	for (uint32_t i = 0; i < out->hold_count; i++) {
		if (i == 0 || out->hold[i].event != event) {
			event = out->hold[i].event;
			currency_of(conn, event, currency);
		}
		write_hold(many, &out->hold[i], currency);
	}
	ush_db_many_end(many);
	many = ush_db_many(conn,
		"INSERT INTO orders_items (hold, \"row\", \"bit\", price, fee, state) VALUES (?, ?, ?, ?, ?, ?) "
		"ON CONFLICT (hold, \"row\", \"bit\") DO UPDATE SET price = excluded.price, fee = excluded.fee, state = excluded.state",
		"iiiiii", 3);
	for (uint32_t i = 0; i < out->item_count; i++) {
		const struct book_item *item = &out->item[i];

		ush_db_many_add(many, of(item->hold), (int64_t)item->row, (int64_t)item->bit,
			item->price, item->fee, (int64_t)item->state);
	}
	ush_db_many_end(many);
}

static void write_changes(struct ush_db_conn *conn, const struct book_out *out)
{
	struct ush_db_many *many = ush_db_many(conn,
		"INSERT INTO changes (number, sequence, time_us, kind, event, hold, \"user\", body) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
		"iiitiiit", 0);

	for (uint32_t i = 0; i < out->change_count; i++) {
		const struct book_change *change = &out->change[i];

		ush_db_many_add(many, change->number, of(change->sequence), change->time_us,
			change->kind, (int64_t)change->event, of(change->hold), of(change->user),
			change->body);
	}
	ush_db_many_end(many);
}

static void write_batch(struct ush_db_conn *conn, const struct store_batch *batch)
{
	for (uint32_t i = 0; i < batch->terms_count; i++)
		ush_db_exec(conn,
			"INSERT INTO orders_terms (event, sequence, fee_fixed, fee_ppm) VALUES (?, ?, ?, ?) ON CONFLICT (event, sequence) DO NOTHING",
			"iiii", (int64_t)batch->terms[i].event, of(batch->terms[i].sequence),
			(int64_t)batch->terms[i].terms.fee_fixed,
			(int64_t)batch->terms[i].terms.fee_ppm);
	write_fresh(conn, &batch->out);
	write_events(conn, &batch->out);
	write_holds(conn, &batch->out);
	write_codes(conn, &batch->out);
	write_changes(conn, &batch->out);
	ush_db_exec(conn,
		"UPDATE orders_state SET box = ?, epoch = ?, sequence = ?, high = CASE WHEN high > ? THEN high ELSE ? END, change_number = ?, time_us = ?, checked_us = CASE WHEN checked_us > ? THEN checked_us ELSE ? END WHERE id = 1",
		"iiiiiiiii", of(batch->to.box), (int64_t)batch->to.epoch, of(batch->to.sequence),
		of(batch->to.sequence), of(batch->to.sequence), batch->change_number,
		batch->time_us, batch->time_us, batch->time_us);
}

int store_write(struct ush_db_conn *conn, const struct store_batch *first)
{
	struct store_state state;
	int error = store_state_read(conn, &state);
	uint64_t at = state.position.sequence;

	if (error < 0)
		return error;
	/* All of it finds rows by their keys. While a table grows from nothing, PostgreSQL takes it
	 * for a small one and would read all of it each time. */
	if (ush_db_conn_is_postgres(conn))
		ush_db_exec(conn, "SET LOCAL enable_seqscan = off", "");
	for (const struct store_batch *batch = first; batch != NULL; batch = batch->next) {
		if (at >= batch->to.sequence && at != batch->from)
			continue;
		if (at != batch->from)
			return -USH_EFOREIGN;
		write_batch(conn, batch);
		at = batch->to.sequence;
	}
	return ush_db_error(conn, NULL);
}

int store_checked(struct ush_db_conn *conn, int64_t now_us)
{
	ush_db_exec(conn, "UPDATE orders_state SET checked_us = ? WHERE id = 1 AND checked_us < ?",
		"ii", now_us, now_us);
	return ush_db_error(conn, NULL);
}

/* An event that is completed (5) or cancelled (6) takes no codes, no requests and no waiting. */
#define OVER "event IN (SELECT event FROM orders_events WHERE status IN (5, 6))"

/* Presale codes, entries of wait-lists, and request ids below which no new one will be. */
static void purge_past(struct ush_db_conn *conn, int64_t now_us)
{
	ush_db_exec(conn, "DELETE FROM orders_codes WHERE (ends_us <> 0 AND ends_us < ?) OR " OVER,
		"i", now_us - 30 * DAY_US);
	ush_db_exec(
		conn, "DELETE FROM orders_code_uses WHERE made_us < ?", "i", now_us - 30 * DAY_US);
	ush_db_exec(conn, "DELETE FROM orders_waits WHERE made_us < ? OR " OVER, "i",
		now_us - 400 * DAY_US);
	ush_db_exec(conn, "DELETE FROM orders_request_ids WHERE last_id < ?", "i",
		(now_us - 2 * DAY_US) / 1000000 - STORE_EPOCH_S);
}

int store_purge(struct ush_db_conn *conn, int64_t now_us)
{
	purge_past(conn, now_us);
	ush_db_exec(conn,
		"DELETE FROM orders_holds WHERE hold IN (SELECT hold FROM orders_holds WHERE state IN (5, 6) AND changed_us < ? AND sold_us = 0 LIMIT 5000)",
		"i", now_us - DAY_US);
	ush_db_exec(conn,
		"DELETE FROM changes WHERE number IN (SELECT number FROM changes WHERE time_us < ? ORDER BY number LIMIT 5000)",
		"i", now_us - CHANGES_KEPT_US);
	ush_db_exec(
		conn, "DELETE FROM orders_requests WHERE made_us < ?", "i", now_us - 2 * DAY_US);
	ush_db_exec(
		conn, "DELETE FROM orders_transfers WHERE ends_us < ?", "i", now_us - 400 * DAY_US);
	return ush_db_error(conn, NULL);
}

int store_wipe(struct ush_db_conn *conn)
{
	ush_db_exec(conn, "DELETE FROM orders_holds", "");
	ush_db_exec(conn, "DELETE FROM orders_items", "");
	ush_db_exec(conn, "DELETE FROM orders_events", "");
	ush_db_exec(conn, "DELETE FROM orders_lists", "");
	ush_db_exec(conn, "DELETE FROM orders_rows", "");
	ush_db_exec(conn, "DELETE FROM changes", "");
	ush_db_exec(conn,
		"UPDATE orders_state SET box = 0, epoch = 0, sequence = 0, change_number = 0, time_us = 0, generation = generation + 1 WHERE id = 1",
		"");
	return ush_db_error(conn, NULL);
}
