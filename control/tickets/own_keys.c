/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Several usher-controls on one database, and replicas, have state directories of their own. A
 * ticket names its key by a number, and gates take keys from any of them: if each made its own key
 * 1, gates would refuse what the other sold. So the database has the public keys, and a process
 * whose file is none or another signs nothing, until it gets a copy of the right one.
 */
#include "tickets/own_keys.h"

#include <stdio.h>
#include <string.h>

#include <openssl/rand.h>

#define KEY_TEXT_BYTES (USH_TICKET_KEY_BYTES * 2u)

static void key_text(const struct ush_ticket_key *key, char text[KEY_TEXT_BYTES])
{
	size_t chars = ush_base64url_encode(key->public, USH_TICKET_KEY_BYTES, text);

	text[chars] = '\0';
}

int own_keys_add(const char *path, struct ush_ticket_keys *keys, int64_t from_us,
	struct ush_message *message)
{
	struct ush_ticket_keys more = *keys;
	uint8_t seed[USH_TICKET_KEY_BYTES];
	int id, ret;

	USH_ASSERT(RAND_bytes(seed, sizeof(seed)) == 1);
	id = ush_ticket_key_add(&more, seed, from_us);
	explicit_bzero(seed, sizeof(seed));
	if (id < 0) {
		ush_message_set(message, "%s: no room for another key", path);
		return id;
	}
	ret = ush_ticket_keys_save(path, &more, message);
	if (ret == 0)
		*keys = more;
	explicit_bzero(&more, sizeof(more));
	return ret < 0 ? ret : id;
}

int own_keys_retire(const char *path, struct ush_ticket_keys *keys, uint8_t id, int64_t now_us,
	struct ush_message *message)
{
	struct ush_ticket_keys less = *keys;
	int ret = ush_ticket_key_retire(&less, id, now_us);

	if (ret == 0)
		ret = ush_ticket_keys_save(path, &less, message);
	if (ret == 0)
		*keys = less;
	explicit_bzero(&less, sizeof(less));
	return ret;
}

/* out: how many the database knows of ours; -1: of one number it knows another. */
static int known(struct ush_db_conn *conn, const struct ush_ticket_keys *keys, int *all)
{
	struct ush_db_rows *rows =
		ush_db_query(conn, "SELECT id, public_key FROM tickets_keys ORDER BY id", "");
	char text[KEY_TEXT_BYTES];
	int ours = 0;

	*all = 0;
	while (ush_db_next(rows)) {
		const struct ush_ticket_key *key =
			ush_ticket_key(keys, (uint8_t)ush_db_int(rows, 0));

		++*all;
		if (key == NULL || ours < 0)
			continue;
		key_text(key, text);
		ours = strcmp(text, ush_db_text(rows, 1)) == 0 ? ours + 1 : -1;
	}
	return ours;
}

int own_keys_note(struct ush_db_conn *conn, const struct ush_ticket_keys *keys)
{
	char text[KEY_TEXT_BYTES];
	int all;

	if (known(conn, keys, &all) < 0)
		return -USH_EEXIST;
	for (uint32_t i = 0; i < keys->count; i++) {
		key_text(&keys->keys[i], text);
		ush_db_exec(conn,
			"INSERT INTO tickets_keys(id, public_key) VALUES (?, ?) ON CONFLICT (id) "
			"DO NOTHING",
			"it", (int64_t)keys->keys[i].id, text);
	}
	return ush_db_error(conn, NULL);
}

/* ---- the start ---- */

struct opening {
	const struct ush_core *core;
	const char *path;
	struct ush_ticket_keys *keys;
	struct ush_message *message;
	bool is_ours;
	int error; /* of the file */
};

static int opening_job(struct ush_db_conn *conn, void *context)
{
	struct opening *opening = context;
	int all, ours = known(conn, opening->keys, &all);
	int ret = ush_db_error(conn, NULL);

	opening->is_ours = false;
	if (ret != 0)
		return ret;
	/* Some newer key may be in our file alone, or in the other's: what both have must agree. */
	if (ours < 0 || (all > 0 && ours == 0))
		return 0;
	if (opening->core->read_only) {
		opening->is_ours = ours > 0;
		return 0;
	}
	if (opening->keys->count == 0) {
		opening->error = own_keys_add(opening->path, opening->keys, 0, opening->message);
		if (opening->error < 0)
			return opening->error;
	}
	opening->is_ours = true;
	return own_keys_note(conn, opening->keys);
}

int own_keys_open(const struct ush_core *core, const char *path, struct ush_ticket_keys *keys,
	struct ush_message *message)
{
	struct opening opening = {.core = core, .path = path, .keys = keys, .message = message};
	int ret = ush_ticket_keys_load(path, keys, message);

	if (ret != 0 && ret != -USH_ENOENT)
		return ret;
	ret = ush_db_run_now(
		core->db, core->read_only ? USH_DB_READ : USH_DB_WRITE, opening_job, &opening);
	if (opening.error < 0)
		return opening.error;
	if (ret != 0) {
		ush_message_set(message, "the keys of tickets cannot be looked up: %s",
			ush_error_text(ret));
		return ret;
	}
	if (!opening.is_ours)
		ush_message_set(message,
			"%s is not what the tickets of this database are signed with: copy it from "
			"the usher-control that has it",
			path);
	return opening.is_ours ? 1 : 0;
}
