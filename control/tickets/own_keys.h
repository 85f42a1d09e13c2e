/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which keys this process signs tickets with: the file in its state directory, if that is the one
 * whose public keys the database knows.
 *
 * Owns:  the file of keys, the table of public keys.
 * Reads: nothing else.
 * Never: private keys in the database; a key that gates would not know.
 */
#ifndef USH_TICKETS_OWN_KEYS_H
#define USH_TICKETS_OWN_KEYS_H

#include "daemon/core.h"
#include "db/db.h"
#include "tickets/keys.h"

#define OWN_KEYS_TABLE(BIG) \
	"CREATE TABLE tickets_keys(id " BIG " PRIMARY KEY, public_key TEXT NOT NULL);"

/* At the start. The first process on a database makes a key if it has none. ret: 1: tickets can be
 * signed here; 0: not here, the database's tickets are signed with other keys (message); negative:
 * message. */
int own_keys_open(const struct ush_core *core, const char *path, struct ush_ticket_keys *keys,
	struct ush_message *message);
/* Makes a key and replaces the file. ret: its number; negative: nothing changed, message. */
int own_keys_add(const char *path, struct ush_ticket_keys *keys, int64_t from_us,
	struct ush_message *message);
/* What the key signed is refused by gates from here, once they have the new keys; replaces the
 * file. ret: 0, also when it was retired before; -USH_ENOENT; -USH_EBUSY: no other could sign;
 * other negative: message. */
int own_keys_retire(const char *path, struct ush_ticket_keys *keys, uint8_t id, int64_t now_us,
	struct ush_message *message);
/* Within a write job: the database knows all of them. ret: 0; -USH_EEXIST: it has another key of a
 * number of ours; negative. */
int own_keys_note(struct ush_db_conn *conn, const struct ush_ticket_keys *keys);

#endif /* USH_TICKETS_OWN_KEYS_H */
