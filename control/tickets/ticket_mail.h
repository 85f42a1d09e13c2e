/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mail with tickets: text, page, QR codes inline, a date for the calendar.
 *
 * Owns:  nothing.
 * Reads: the tables of tickets/, the catalogue, an address.
 * Never: sends; the outbox does.
 */
#ifndef USH_TICKETS_TICKET_MAIL_H
#define USH_TICKETS_TICKET_MAIL_H

#include "tickets/issue.h"

/* Within a write job: puts the mail for what is alive of the order into the outbox. ret: 0, also if
 * there is no address, or more tickets than a mail takes (then it has the link alone); negative. */
int tickets_mail(struct ush_db_conn *conn, struct tickets_step *step, uint64_t hold, uint64_t user,
	uint32_t event, int64_t change);

#endif /* USH_TICKETS_TICKET_MAIL_H */
