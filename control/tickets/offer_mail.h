/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mail to who waited and is offered seats: an offer lasts minutes, and nobody looks all day.
 *
 * Owns:  nothing.
 * Reads: holds of orders, the catalogue, an address.
 * Never: sends; the outbox does.
 */
#ifndef USH_TICKETS_OFFER_MAIL_H
#define USH_TICKETS_OFFER_MAIL_H

#include "tickets/issue.h"

/* Within a write job: puts the mail into the outbox, if the offer still stands. body: of the change
 * waitlist.offered, which has the number `change`. ret: 0, also without an address; negative. */
int tickets_offer_mail(struct ush_db_conn *conn, struct tickets_step *step, uint64_t hold,
	uint64_t user, uint32_t event, int64_t change, const char *body);

#endif /* USH_TICKETS_OFFER_MAIL_H */
