/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys that sign tickets: the file with the private ones, and what gates get of them.
 *
 * Owns:  both formats (JSON; docs/tickets.md).
 * Reads: the file of keys.
 * Never: clocks: now is an argument; logs a key.
 */
#ifndef USH_TICKETS_KEYS_H
#define USH_TICKETS_KEYS_H

#include "tickets/code.h"

/* A key's number is one byte; a year of weekly rotations fits. */
#define USH_TICKET_KEYS_MAX 64u

struct ush_ticket_key {
	uint8_t id; /* from 1, ascending with age */
	uint8_t public[USH_TICKET_KEY_BYTES];
	uint8_t seed[USH_TICKET_KEY_BYTES]; /* zeroed where only public keys are known */
	int64_t signs_from_us;              /* since 1970 */
	int64_t retired_us;                 /* 0: what it signed is good */
};

struct ush_ticket_keys {
	struct ush_ticket_key keys[USH_TICKET_KEYS_MAX];
	uint32_t count;
};

/* ret: the key of that number, or NULL. */
const struct ush_ticket_key *ush_ticket_key(const struct ush_ticket_keys *keys, uint8_t id);
/* ret: the key that signs now: the newest whose time has come and that is not retired; NULL: none.
 */
const struct ush_ticket_key *ush_ticket_key_now(const struct ush_ticket_keys *keys, int64_t now_us);

/* Adds a key of that seed. Room is made by dropping the oldest retired one. ret: its number; err:
 * -USH_EFULL (64 keys, none retired; or 255 were made). */
int ush_ticket_key_add(struct ush_ticket_keys *keys, const uint8_t seed[USH_TICKET_KEY_BYTES],
	int64_t signs_from_us);
/* ret: 0, also when it was retired before; err: -USH_ENOENT; -USH_EBUSY: no other could sign. */
int ush_ticket_key_retire(struct ush_ticket_keys *keys, uint8_t id, int64_t now_us);

/* Reads the private file. ret: 0; err: -USH_ENOENT; -USH_EACCES: others may read it; -USH_ECORRUPT,
 * -USH_ESYSTEM; message. */
int ush_ticket_keys_load(
	const char *path, struct ush_ticket_keys *keys, struct ush_message *message);
/* Replaces the private file, durably, mode 0600. err: -USH_ESYSTEM, -USH_ENOSPC, -USH_ENOMEM. */
int ush_ticket_keys_save(
	const char *path, const struct ush_ticket_keys *keys, struct ush_message *message);

/* ret: the JSON that gates get (malloced), or NULL: no memory. */
char *ush_ticket_keys_text(const struct ush_ticket_keys *keys);
/* Reads that JSON. ret: 0; err: -USH_ECORRUPT, message. */
int ush_ticket_keys_read(
	const char *text, size_t bytes, struct ush_ticket_keys *keys, struct ush_message *message);

#endif /* USH_TICKETS_KEYS_H */
