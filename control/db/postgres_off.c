/* SPDX-License-Identifier: Apache-2.0 */
/* Built without libpq: a PostgreSQL connection string is refused. */
#include "db/internal.h"

static int off_open(struct ush_db_conn *conn, struct ush_message *message)
{
	(void)conn;
	ush_message_set(
		message, "database: built without PostgreSQL (libpq-dev, -Dpostgres=enabled)");
	return -USH_EUNSUPPORTED;
}

const struct db_backend db_postgres = {.postgres = true, .open = off_open};
