/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The books as JSON: what was charged and given back, for reconciliation.
 *
 * They are kept twice: as objects, and as a ledger with a line for each movement. `consistent` says
 * that the sums of the one are those of the other, for each intent.
 */
#include <stdlib.h>
#include <string.h>

#include "sandbox.h"

static json_t *objects(struct sand *sand, const char *kind)
{
	sqlite3_stmt *rows =
		sand_sql(sand, "SELECT body FROM objects WHERE kind = ? ORDER BY seq", "t", kind);
	json_t *all = json_array();

	while (sand_step(sand, rows))
		json_array_append_new(
			all, json_loads((const char *)sqlite3_column_text(rows, 0), 0, NULL));
	return all;
}

static json_t *ledger(struct sand *sand)
{
	sqlite3_stmt *rows = sand_sql(sand,
		"SELECT seq, at, kind, intent, object, amount, currency FROM ledger ORDER BY seq",
		"");
	json_t *lines = json_array();

	while (sand_step(sand, rows))
		json_array_append_new(
			lines, json_pack("{s:I, s:I, s:s, s:s, s:s, s:I, s:s}", "seq",
				       (json_int_t)sqlite3_column_int64(rows, 0), "at",
				       (json_int_t)sqlite3_column_int64(rows, 1), "kind",
				       sqlite3_column_text(rows, 2), "payment_intent",
				       sqlite3_column_text(rows, 3), "object",
				       sqlite3_column_text(rows, 4), "amount",
				       (json_int_t)sqlite3_column_int64(rows, 5), "currency",
				       sqlite3_column_text(rows, 6)));
	return lines;
}

/* ret: sums of the ledger by currency and kind: {"eur": {"captured": 1200, ...}}. */
static json_t *totals(struct sand *sand)
{
	sqlite3_stmt *rows = sand_sql(
		sand, "SELECT currency, kind, SUM(amount) FROM ledger GROUP BY currency, kind", "");
	json_t *sums = json_object();

	while (sand_step(sand, rows)) {
		const char *currency = (const char *)sqlite3_column_text(rows, 0);
		json_t *one = json_object_get(sums, currency);

		if (one == NULL) {
			one = json_object();
			json_object_set_new(sums, currency, one);
		}
		json_object_set_new(one, (const char *)sqlite3_column_text(rows, 1),
			json_integer(sqlite3_column_int64(rows, 2)));
	}
	return sums;
}

/* ret: ids of intents for which objects and ledger disagree. */
static json_t *disagreements(struct sand *sand)
{
	static const char sql[] =
		"WITH said(intent, captured, refunded, disputed) AS (SELECT"
		" json_extract(body, '$.id'), json_extract(body, '$.amount_received'),"
		" COALESCE((SELECT SUM(json_extract(r.body, '$.amount')) FROM objects r WHERE"
		"  r.kind = 'refund' AND json_extract(r.body, '$.status') <> 'failed' AND"
		"  json_extract(r.body, '$.payment_intent') = json_extract(o.body, '$.id')), 0),"
		" COALESCE((SELECT SUM(json_extract(d.body, '$.amount')) FROM objects d WHERE"
		"  d.kind = 'dispute' AND json_extract(d.body, '$.status') <> 'won' AND"
		"  json_extract(d.body, '$.payment_intent') = json_extract(o.body, '$.id')), 0)"
		" FROM objects o WHERE kind = 'payment_intent'),"
		" booked(intent, captured, refunded, disputed) AS (SELECT intent,"
		" SUM(CASE kind WHEN 'captured' THEN amount ELSE 0 END),"
		" SUM(CASE kind WHEN 'refunded' THEN amount WHEN 'refund_failed' THEN -amount"
		"  ELSE 0 END),"
		" SUM(CASE kind WHEN 'disputed' THEN amount WHEN 'dispute_won' THEN -amount"
		"  ELSE 0 END) FROM ledger GROUP BY intent)"
		" SELECT s.intent FROM said s LEFT JOIN booked b ON b.intent = s.intent WHERE"
		" s.captured <> COALESCE(b.captured, 0) OR s.refunded <> COALESCE(b.refunded, 0)"
		" OR s.disputed <> COALESCE(b.disputed, 0)"
		" OR COALESCE(b.refunded, 0) > COALESCE(b.captured, 0)";
	sqlite3_stmt *rows = sand_sql(sand, sql, "");
	json_t *ids = json_array();

	while (sand_step(sand, rows))
		json_array_append_new(ids, json_string((const char *)sqlite3_column_text(rows, 0)));
	return ids;
}

void sand_books(struct sand_call *call)
{
	struct sand *sand = call->sand;
	json_t *wrong = disagreements(sand);

	sand_answer(call, 200,
		json_pack("{s:b, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "consistent",
			json_array_size(wrong) == 0, "disagreements", wrong, "totals", totals(sand),
			"payment_intents", objects(sand, "payment_intent"), "charges",
			objects(sand, "charge"), "refunds", objects(sand, "refund"), "disputes",
			objects(sand, "dispute"), "ledger", ledger(sand)));
}
