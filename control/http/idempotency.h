/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Idempotency keys over the database: the first answer of a POST is kept for a day and replayed.
 *
 * Owns:  the table http_keys; the timer that forgets.
 * Reads: nothing.
 * Never: what a request means.
 */
#ifndef USH_HTTP_IDEMPOTENCY_H
#define USH_HTTP_IDEMPOTENCY_H

#include "daemon/core.h"
#include "db/db.h"
#include "http/server.h"

struct ush_idempotency;

extern const struct ush_db_step ush_http_schema[];
/* Installs itself with ush_http_keys_set. ret: 0. */
int ush_idempotency_open(struct ush_idempotency **idempotency, const struct ush_core *core,
	struct ush_message *message);
/* After the database was closed: nothing calls back any more. */
void ush_idempotency_close(struct ush_idempotency *idempotency);
/* Within a write job: forgets the account's keys and the answers kept under them. ret: 0 or
 * negative. */
int ush_http_keys_forget(struct ush_db_conn *conn, const char *account);

#endif /* USH_HTTP_IDEMPOTENCY_H */
