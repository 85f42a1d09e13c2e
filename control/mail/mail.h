/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The outbox of mail: kept with the change that causes it, sent once, through any SMTP relay.
 *
 * Owns:  the table of mail to send; the connection to the relay (by fetch/).
 * Reads: nothing.
 * Never: logs an address or a text.
 */
#ifndef USH_MAIL_H
#define USH_MAIL_H

#include "daemon/core.h"
#include "db/db.h"

struct ush_mail;

int ush_mail_open(struct ush_mail **mail, const struct ush_core *core, struct ush_message *message);
void ush_mail_close(struct ush_mail *mail);
extern const struct ush_db_step ush_mail_schema[];

struct ush_mail_part {
	const char *type; /* "text/calendar; charset=utf-8; method=PUBLISH", "image/png" */
	const char *name; /* file name; NULL: inline */
	const char *id;   /* Content-ID for inline parts: src="cid:..." */
	const void *data;
	size_t bytes;
};

/*
 * Within a write job: the mail will be sent once the job is committed. key: unique for 30 days
 * ([mail] keep_days): a second mail of the same key is not sent. html may be NULL. ret: 0; 1: that
 * key was used before; -USH_EINVAL: what may be in no mail (an address that is none, a subject with
 * a line break; see mime.h; the job may go on); -USH_EFULL: too big; other negative: error.
 */
int ush_mail_put(struct ush_db_conn *conn, const char *key, const char *to, const char *subject,
	const char *text, const char *html, const struct ush_mail_part *parts, uint32_t part_count);
/* Within a job: calls `tell` for each mail to that address that waits to be sent. ret: 0 or
 * negative. */
int ush_mail_waiting(struct ush_db_conn *conn, const char *to,
	void (*tell)(void *context, const char *subject, int64_t made_us, int64_t attempts),
	void *context);
/* Within a write job: forgets all mail to that address, sent or not. ret: 0 or negative. */
int ush_mail_forget(struct ush_db_conn *conn, const char *to);
/* Looks into the outbox now; call it after such a job is done. mail: NULL: the one that is open.
 * by: the loop. */
void ush_mail_wake(struct ush_mail *mail);

#endif /* USH_MAIL_H */
