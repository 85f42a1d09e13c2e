/* SPDX-License-Identifier: Apache-2.0 */
/* The table of mail. What is over keeps its key alone, so that it is not sent again. */
#include <stdlib.h>
#include <string.h>

#include "mail/mime.h"
#include "mail/outbox.h"

const struct ush_db_step ush_mail_schema[] = {
	{"mail", 1,
		"CREATE TABLE mail_outbox(key TEXT NOT NULL PRIMARY KEY, recipient TEXT NOT NULL,"
		" subject TEXT NOT NULL, body BLOB NOT NULL, state INTEGER NOT NULL,"
		" attempts INTEGER NOT NULL, status INTEGER NOT NULL, leased INTEGER NOT NULL,"
		" made_us INTEGER NOT NULL, due_us INTEGER NOT NULL,"
		" done_us INTEGER NOT NULL) STRICT;"
		"CREATE INDEX mail_outbox_due ON mail_outbox(state, due_us);"
		"CREATE INDEX mail_outbox_to ON mail_outbox(recipient);",
		NULL},
	{NULL, 0, NULL, NULL},
};

int ush_mail_put(struct ush_db_conn *conn, const char *key, const char *to, const char *subject,
	const char *text, const char *html, const struct ush_mail_part *parts, uint32_t part_count)
{
	int64_t now_us = ush_core_now_us();
	int64_t rows;
	size_t bytes;
	char *body;
	int result;

	if (!ush_mime_is_address(to) || !ush_mime_is_line(subject))
		return -USH_EINVAL;
	result = ush_mime_body(key, text, html, parts, part_count, &body, &bytes);
	if (result != 0)
		return result;
	rows = ush_db_exec(conn,
		"INSERT INTO mail_outbox(key, recipient, subject, body, state, attempts, status,"
		" leased, made_us, due_us, done_us) VALUES(?, ?, ?, ?, 0, 0, 0, 0, ?, ?, 0)"
		" ON CONFLICT(key) DO NOTHING",
		"tttbii", key, to, subject, body, bytes, now_us, now_us);
	free(body);
	return rows < 0 ? (int)rows : rows == 0;
}

int ush_mail_waiting(struct ush_db_conn *conn, const char *to,
	void (*tell)(void *context, const char *subject, int64_t made_us, int64_t attempts),
	void *context)
{
	struct ush_db_rows *rows = ush_db_query(conn,
		"SELECT subject, made_us, attempts FROM mail_outbox WHERE recipient = ?"
		" ORDER BY made_us",
		"t", to);

	while (ush_db_next(rows))
		tell(context, ush_db_text(rows, 0), ush_db_int(rows, 1), ush_db_int(rows, 2));
	return ush_db_error(conn, NULL);
}

int ush_mail_forget(struct ush_db_conn *conn, const char *to)
{
	int64_t rows = ush_db_exec(conn, "DELETE FROM mail_outbox WHERE recipient = ?", "t", to);

	return rows < 0 ? (int)rows : 0;
}

void ush_outbox_item_free(struct ush_outbox_item *item)
{
	free(item->key);
	free(item->to);
	free(item->subject);
	free(item->body);
	*item = (struct ush_outbox_item){0};
}

static char *copy(const void *data, size_t bytes)
{
	char *text = malloc(bytes + 1);

	USH_ASSERT(text != NULL);
	if (bytes > 0)
		memcpy(text, data, bytes);
	text[bytes] = '\0';
	return text;
}

static void read_item(struct ush_db_rows *rows, struct ush_outbox_item *item)
{
	const char *text = ush_db_text(rows, 0);
	size_t bytes;
	const void *data;

	item->key = copy(text, strlen(text));
	text = ush_db_text(rows, 1);
	item->to = copy(text, strlen(text));
	text = ush_db_text(rows, 2);
	item->subject = copy(text, strlen(text));
	data = ush_db_bytes(rows, 3, &bytes);
	item->body = copy(data, bytes);
	item->bytes = bytes;
	item->made_us = ush_db_int(rows, 4);
	item->attempts = (uint32_t)ush_db_int(rows, 5) + 1;
}

int ush_outbox_claim(struct ush_db_conn *conn, struct ush_outbox_claim *claim)
{
	struct ush_db_rows *rows;

	if (claim->fresh)
		ush_db_exec(conn,
			"UPDATE mail_outbox SET leased = 0, due_us = ? WHERE leased <> 0 AND"
			" state = 0",
			"i", claim->now_us);
	claim->given_up = ush_db_exec(conn,
		"UPDATE mail_outbox SET state = 3, done_us = ?, recipient = '', subject = '',"
		" body = ? WHERE state = 0 AND leased = 0 AND made_us < ?",
		"ibi", claim->now_us, "", (size_t)0, claim->give_up_us);
	rows = ush_db_query(conn,
		"SELECT key, recipient, subject, body, made_us, attempts FROM mail_outbox"
		" WHERE state = 0 AND due_us <= ? ORDER BY due_us LIMIT ?",
		"ii", claim->now_us, (int64_t)claim->most);
	while (claim->count < claim->most && ush_db_next(rows))
		read_item(rows, &claim->items[claim->count++]);
	ush_db_end(rows);
	for (uint32_t i = 0; i < claim->count; i++) {
		claim->items[i].turn = claim->turn;
		ush_db_exec(conn,
			"UPDATE mail_outbox SET leased = ?, due_us = ?, attempts = ? WHERE key = ?",
			"iiit", claim->turn, claim->now_us + claim->lease_us,
			(int64_t)claim->items[i].attempts, claim->items[i].key);
	}
	ush_db_get(conn, "SELECT COALESCE(MIN(due_us), 0) FROM mail_outbox WHERE state = 0", "",
		"i", &claim->next_us);
	return ush_db_error(conn, NULL);
}

int ush_outbox_end(struct ush_db_conn *conn, const struct ush_outbox_item *item,
	const struct ush_outbox_end *end)
{
	/* Of a turn that is over, another sender has it now. But what was sent was sent. */
	if (end->state == USH_OUTBOX_WAITS)
		ush_db_exec(conn,
			"UPDATE mail_outbox SET leased = 0, status = ?, due_us = ?"
			" WHERE key = ? AND state = 0 AND leased = ?",
			"iiti", (int64_t)end->status, end->due_us, item->key, item->turn);
	else
		ush_db_exec(conn,
			"UPDATE mail_outbox SET leased = 0, state = ?, status = ?, done_us = ?,"
			" recipient = '', subject = '', body = ? WHERE key = ?",
			"iiibt", (int64_t)end->state, (int64_t)end->status, end->now_us, "",
			(size_t)0, item->key);
	return ush_db_error(conn, NULL);
}

int ush_outbox_drop(struct ush_db_conn *conn, int64_t before_us)
{
	ush_db_exec(
		conn, "DELETE FROM mail_outbox WHERE state <> 0 AND done_us < ?", "i", before_us);
	return ush_db_error(conn, NULL);
}
