/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tables, and rows to structures and back. Payments and refunds are books of account: they
 * stay. Ids of webhooks stay 30 days, ten times as long as the provider repeats them.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <openssl/rand.h>

#include "payments/pan.h"
#include "payments/task.h"

#define LEGS_BYTES 256

const struct ush_db_step ush_payments_schema[] = {
	{.module = "payments",
		.number = 1,
		.sqlite =
			"CREATE TABLE payments_attempts(id BIGINT PRIMARY KEY, event BIGINT NOT NULL,"
			" hold BIGINT NOT NULL, owner BIGINT NOT NULL, version BIGINT NOT NULL,"
			" amount BIGINT NOT NULL, fee BIGINT NOT NULL, currency TEXT NOT NULL, legs TEXT NOT NULL,"
			" step BIGINT NOT NULL, reason BIGINT NOT NULL, late BIGINT NOT NULL,"
			" n_create BIGINT NOT NULL, n_capture BIGINT NOT NULL, n_cancel BIGINT NOT NULL,"
			" n_refund BIGINT NOT NULL, attempt BIGINT NOT NULL, pay_version BIGINT NOT NULL,"
			" sold_hold BIGINT NOT NULL, pay_by_us BIGINT NOT NULL,"
			" created_us BIGINT NOT NULL, changed_us BIGINT NOT NULL, intent TEXT NOT NULL,"
			" secret TEXT NOT NULL, error TEXT NOT NULL, UNIQUE(hold, version));"
			"CREATE INDEX payments_attempts_step ON payments_attempts(step);"
			"CREATE INDEX payments_attempts_event ON payments_attempts(event, step);"
			"CREATE INDEX payments_attempts_intent ON payments_attempts(intent);"
			"CREATE TABLE payments_refunds(id BIGINT PRIMARY KEY, key TEXT NOT NULL UNIQUE,"
			" payment BIGINT NOT NULL, event BIGINT NOT NULL, hold BIGINT NOT NULL,"
			" owner BIGINT NOT NULL, version BIGINT NOT NULL, begun_version BIGINT NOT NULL,"
			" asked BIGINT NOT NULL, amount BIGINT NOT NULL, fee BIGINT NOT NULL, legs TEXT NOT NULL,"
			" step BIGINT NOT NULL, n_refund BIGINT NOT NULL, intent TEXT NOT NULL,"
			" refund TEXT NOT NULL, error TEXT NOT NULL, created_us BIGINT NOT NULL,"
			" changed_us BIGINT NOT NULL);"
			"CREATE INDEX payments_refunds_step ON payments_refunds(step);"
			"CREATE INDEX payments_refunds_payment ON payments_refunds(payment);"
			"CREATE TABLE payments_cancelled(event BIGINT PRIMARY KEY,"
			" created_us BIGINT NOT NULL);"
			"CREATE TABLE payments_webhooks(id TEXT PRIMARY KEY, type TEXT NOT NULL,"
			" received_us BIGINT NOT NULL);"
			"CREATE INDEX payments_webhooks_received ON payments_webhooks(received_us);"
			"CREATE TABLE payments_disputes(id TEXT PRIMARY KEY, payment BIGINT NOT NULL,"
			" intent TEXT NOT NULL, amount BIGINT NOT NULL, reason TEXT NOT NULL,"
			" status TEXT NOT NULL, said_s BIGINT NOT NULL, created_us BIGINT NOT NULL,"
			" changed_us BIGINT NOT NULL);"},
	{.module = "payments",
		.number = 2,
		.sqlite = "CREATE INDEX payments_attempts_owner ON payments_attempts(owner);"
			  "CREATE INDEX payments_refunds_owner ON payments_refunds(owner);"
			  "CREATE INDEX payments_disputes_payment ON payments_disputes(payment);"},
	{.module = "payments",
		.number = 3,
		.sqlite =
			"CREATE TABLE payments_askers(asker BIGINT PRIMARY KEY, refund BIGINT NOT NULL,"
			" created_us BIGINT NOT NULL);"
			"CREATE INDEX payments_askers_created ON payments_askers(created_us);"},
	/* What becomes of the seats when a dispute is lost; a row for each event that says so. */
	{.module = "payments",
		.number = 4,
		.sqlite =
			"CREATE TABLE payments_policies(event BIGINT PRIMARY KEY, release BIGINT NOT NULL,"
			" changed_us BIGINT NOT NULL);"},
	/* Whether a refund is of whom the order is now, or of whom it was when he asked. */
	{.module = "payments",
		.number = 5,
		.sqlite =
			"ALTER TABLE payments_refunds ADD COLUMN follows BIGINT NOT NULL DEFAULT 0;"
			"UPDATE payments_refunds SET follows = 1 WHERE key NOT LIKE 'order-%';"},
	/* What a request began: a payment or a refund. */
	{.module = "payments",
		.number = 6,
		.sqlite = "ALTER TABLE payments_askers RENAME COLUMN refund TO begun;"},
	{.module = NULL}};

int64_t rows_now_us(void)
{
	struct timespec now;

	timespec_get(&now, TIME_UTC);
	return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

int64_t rows_new_id(void)
{
	uint64_t id = 0;
	char text[24];

	/* It will stand in requests, which are searched for card numbers. */
	do {
		USH_ASSERT(RAND_bytes((unsigned char *)&id, sizeof(id)) == 1);
		id = id >> 12 | 1;
		snprintf(text, sizeof(text), "%" PRIu64, id);
	} while (ush_pan_found(text, strlen(text), USH_PAN_DIGITS));
	return (int64_t)id;
}

/* "row:mask row:mask", masks hexadecimal. */
static void write_legs(char text[LEGS_BYTES], const struct ush_leg *legs, uint32_t count)
{
	size_t at = 0;

	text[0] = '\0';
	for (uint32_t i = 0; i < count; i++)
		at += (size_t)snprintf(text + at, LEGS_BYTES - at, "%s%u:%" PRIx64,
			i > 0 ? " " : "", legs[i].row, legs[i].mask);
	USH_ASSERT(at < LEGS_BYTES);
}

static uint32_t read_legs(const char *text, struct ush_leg *legs)
{
	uint32_t count = 0;
	char *end;

	memset(legs, 0, sizeof(*legs) * USH_LEG_COUNT_MAX);
	while (*text != '\0' && count < USH_LEG_COUNT_MAX) {
		legs[count].row = (uint16_t)strtoul(text, &end, 10);
		legs[count].mask = strtoull(end + 1, &end, 16);
		count++;
		text = *end == ' ' ? end + 1 : end;
	}
	return count;
}

int rows_pay_insert(struct ush_db_conn *conn, const struct ush_pay_row *row)
{
	const struct ush_pay_order *order = &row->order;
	char legs[LEGS_BYTES];

	write_legs(legs, order->legs, order->leg_count);
	return (int)ush_db_exec(conn,
		"INSERT INTO payments_attempts(id, event, hold, owner, version, amount, fee, currency,"
		" legs, step, reason, late, n_create, n_capture, n_cancel, n_refund, attempt,"
		" pay_version, sold_hold, pay_by_us, created_us, changed_us, intent, secret, error)"
		" VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, ?, ?, '', '', '')",
		"iiiiiiittiii", row->id, (int64_t)order->event, (int64_t)order->hold,
		(int64_t)order->user, (int64_t)order->version, order->amount, order->fee,
		order->currency, legs, (int64_t)row->pay.step, row->created_us, row->created_us);
}

int rows_pay_save(struct ush_db_conn *conn, const struct ush_pay_row *row)
{
	const struct ush_pay *pay = &row->pay;

	return (int)ush_db_exec(conn,
		"UPDATE payments_attempts SET step = ?, reason = ?, late = ?, n_create = ?,"
		" n_capture = ?, n_cancel = ?, n_refund = ?, attempt = ?, pay_version = ?,"
		" sold_hold = ?, pay_by_us = ?, changed_us = ?, intent = ?, secret = ?, error = ?"
		" WHERE id = ?",
		"iiiiiiiiiiiittti", (int64_t)pay->step, (int64_t)pay->reason, (int64_t)pay->late,
		(int64_t)pay->create, (int64_t)pay->capture, (int64_t)pay->cancel,
		(int64_t)pay->refund, (int64_t)row->attempt, (int64_t)row->pay_version,
		(int64_t)row->sold_hold, row->pay_by_us, rows_now_us(), row->intent, row->secret,
		row->error, row->id);
}

static void copy(char *to, size_t bytes, const char *text)
{
	snprintf(to, bytes, "%s", text != NULL ? text : "");
}

int rows_pay_get(struct ush_db_conn *conn, int64_t id, struct ush_pay_row *row)
{
	struct ush_db_rows *rows = ush_db_query(conn,
		"SELECT event, hold, owner, version, amount, currency, legs, step, reason, late,"
		" n_create, n_capture, n_cancel, n_refund, attempt, pay_version, sold_hold,"
		" pay_by_us, created_us, intent, secret, error, fee FROM payments_attempts WHERE id = ?",
		"i", id);
	struct ush_pay_order *order = &row->order;

	memset(row, 0, sizeof(*row));
	if (!ush_db_next(rows))
		return 0;
	row->id = id;
	order->event = (uint32_t)ush_db_int(rows, 0);
	order->hold = (uint64_t)ush_db_int(rows, 1);
	order->user = (uint64_t)ush_db_int(rows, 2);
	order->version = (uint32_t)ush_db_int(rows, 3);
	order->amount = ush_db_int(rows, 4);
	copy(order->currency, sizeof(order->currency), ush_db_text(rows, 5));
	order->leg_count = read_legs(ush_db_text(rows, 6), order->legs);
	row->pay.step = (uint8_t)ush_db_int(rows, 7);
	row->pay.reason = (uint8_t)ush_db_int(rows, 8);
	row->pay.late = (uint8_t)ush_db_int(rows, 9);
	row->pay.create = (uint16_t)ush_db_int(rows, 10);
	row->pay.capture = (uint16_t)ush_db_int(rows, 11);
	row->pay.cancel = (uint16_t)ush_db_int(rows, 12);
	row->pay.refund = (uint16_t)ush_db_int(rows, 13);
	row->attempt = (uint32_t)ush_db_int(rows, 14);
	row->pay_version = (uint32_t)ush_db_int(rows, 15);
	row->sold_hold = (uint64_t)ush_db_int(rows, 16);
	row->pay_by_us = ush_db_int(rows, 17);
	row->created_us = ush_db_int(rows, 18);
	copy(row->intent, sizeof(row->intent), ush_db_text(rows, 19));
	copy(row->secret, sizeof(row->secret), ush_db_text(rows, 20));
	copy(row->error, sizeof(row->error), ush_db_text(rows, 21));
	order->fee = ush_db_int(rows, 22);
	ush_db_end(rows);
	return 1;
}

int rows_back_insert(struct ush_db_conn *conn, const struct ush_back_row *row, const char *key)
{
	char legs[LEGS_BYTES];

	write_legs(legs, row->legs, row->leg_count);
	return (int)ush_db_exec(conn,
		"INSERT INTO payments_refunds(id, key, payment, event, hold, owner, version,"
		" begun_version, asked, amount, fee, legs, step, n_refund, intent, refund, error,"
		" created_us, changed_us, follows)"
		" VALUES(?, ?, ?, ?, ?, ?, 0, 0, 0, 0, ?, ?, ?, 0, ?, '', '', ?, ?, ?)",
		"itiiiiititiii", row->id, key, row->payment, (int64_t)row->event,
		(int64_t)row->hold, (int64_t)row->user, row->fee, legs, (int64_t)row->back.step,
		row->intent, row->created_us, row->created_us, (int64_t)row->follows);
}

int rows_back_save(struct ush_db_conn *conn, const struct ush_back_row *row)
{
	return (int)ush_db_exec(conn,
		"UPDATE payments_refunds SET owner = ?, version = ?, begun_version = ?, asked = ?,"
		" amount = ?, step = ?, n_refund = ?, refund = ?, error = ?, changed_us = ?"
		" WHERE id = ? AND step < 7",
		"iiiiiiittii", (int64_t)row->user, (int64_t)row->version,
		(int64_t)row->begun_version, (int64_t)row->asked, row->amount,
		(int64_t)row->back.step, (int64_t)row->back.refund, row->refund, row->error,
		rows_now_us(), row->id);
}

int rows_back_begin(struct ush_db_conn *conn, const struct ush_back_row *row, bool *second)
{
	struct ush_back_row looks = *row;
	int64_t others = 0;

	if (ush_db_get(conn,
		    "SELECT COUNT(*) FROM payments_refunds WHERE payment = ? AND id <> ? AND"
		    " step > 1 AND step < 7",
		    "ii", row->payment, row->id, "i", &others) != 1)
		return -USH_EIO;
	*second = others > 0;
	if (others > 0)
		looks.back.step = USH_BACK_LOOK;
	return rows_back_save(conn, &looks);
}

int rows_asked(struct ush_db_conn *conn, uint64_t asker, int64_t *id)
{
	if (asker == 0)
		return 0;
	return ush_db_get(conn, "SELECT begun FROM payments_askers WHERE asker = ?", "i",
		(int64_t)asker, "i", id);
}

int rows_asks(struct ush_db_conn *conn, uint64_t asker, int64_t id)
{
	int64_t now_us = rows_now_us();

	if (asker == 0)
		return 0;
	ush_db_exec(conn,
		"INSERT INTO payments_askers(asker, begun, created_us) VALUES(?, ?, ?)"
		" ON CONFLICT(asker) DO NOTHING",
		"iii", (int64_t)asker, id, now_us);
	ush_db_exec(conn, "DELETE FROM payments_askers WHERE created_us < ?", "i",
		now_us - (int64_t)30 * 86400 * 1000000);
	return ush_db_error(conn, NULL);
}

int rows_lost(struct ush_db_conn *conn, int64_t payment, char dispute[64])
{
	char *id = NULL;
	int got = ush_db_get(conn,
		"SELECT MIN(id) FROM payments_disputes WHERE payment = ? AND status = 'lost'", "i",
		payment, "t", &id);

	if (got == 1 && id != NULL)
		copy(dispute, 64, id);
	else if (got == 1)
		got = 0;
	free(id);
	return got < 0 ? -USH_EIO : got;
}

int rows_back_get(struct ush_db_conn *conn, int64_t id, struct ush_back_row *row)
{
	struct ush_db_rows *rows = ush_db_query(conn,
		"SELECT payment, event, hold, owner, version, begun_version, asked, amount, legs,"
		" step, n_refund, intent, refund, error, created_us, fee, follows FROM payments_refunds"
		" WHERE id = ?",
		"i", id);

	memset(row, 0, sizeof(*row));
	if (!ush_db_next(rows))
		return 0;
	row->id = id;
	row->payment = ush_db_int(rows, 0);
	row->event = (uint32_t)ush_db_int(rows, 1);
	row->hold = (uint64_t)ush_db_int(rows, 2);
	row->user = (uint64_t)ush_db_int(rows, 3);
	row->version = (uint32_t)ush_db_int(rows, 4);
	row->begun_version = (uint32_t)ush_db_int(rows, 5);
	row->asked = (uint32_t)ush_db_int(rows, 6);
	row->amount = ush_db_int(rows, 7);
	row->leg_count = read_legs(ush_db_text(rows, 8), row->legs);
	row->back.step = (uint8_t)ush_db_int(rows, 9);
	row->back.refund = (uint16_t)ush_db_int(rows, 10);
	copy(row->intent, sizeof(row->intent), ush_db_text(rows, 11));
	copy(row->refund, sizeof(row->refund), ush_db_text(rows, 12));
	copy(row->error, sizeof(row->error), ush_db_text(rows, 13));
	row->created_us = ush_db_int(rows, 14);
	row->fee = ush_db_int(rows, 15);
	row->follows = ush_db_int(rows, 16) != 0;
	ush_db_end(rows);
	return 1;
}
