/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keys that sign access JWTs: kept in files, changed with overlap.
 *
 * A key is a file MADE.pem, MADE being microseconds since 1970 in 20 digits. A new one is public
 * (JWKS) a while before it signs, so that whoever caches the list has it by then; one that signs no
 * more stays public until the last token it signed has ended, then its file is removed.
 *
 * Owns:  the folder of keys.
 * Reads: its files, which nobody else may read.
 * Never: clocks: now is an argument.
 */
#ifndef USH_ENTRY_KEYS_H
#define USH_ENTRY_KEYS_H

#include "entry/jwt.h"

/* A new key is public for so long before it signs: twice as long as JWKS may be cached. */
#define USH_JWT_AHEAD_US (600 * INT64_C(1000000))
/* The one before stays so long after that: twice the life of a token. */
#define USH_JWT_AFTER_US (600 * INT64_C(1000000))

/*
 * Reads the folder (made if it is not there, mode 0700; a key is made if it has none, unless
 * read_only) in place of what `keys` has. ret: 0; err: -USH_EACCES: others may read it,
 * -USH_EINVAL, -USH_EFULL, -USH_ESYSTEM, with a message; then `keys` is as before.
 */
int ush_jwt_keys_read(struct ush_jwt_keys *keys, const char *folder, enum ush_jwt_alg alg,
	bool read_only, int64_t now_us, struct ush_message *message);
/* A new key beside the others. It signs from USH_JWT_AHEAD_US on. err: as above. */
int ush_jwt_keys_rotate(struct ush_jwt_keys *keys, const char *folder, enum ush_jwt_alg alg,
	int64_t now_us, struct ush_message *message);
/* Removes those that have been replaced for USH_JWT_AFTER_US, with their files. ret: how many. */
uint32_t ush_jwt_keys_drop(struct ush_jwt_keys *keys, const char *folder, int64_t now_us);
/* ret: the one that signs now. There is one. */
const struct ush_jwt_key *ush_jwt_keys_now(const struct ush_jwt_keys *keys, int64_t now_us);
/* ret: {"keys": [...]}. */
json_t *ush_jwt_keys_public(const struct ush_jwt_keys *keys);
void ush_jwt_keys_free(struct ush_jwt_keys *keys);

#endif /* USH_ENTRY_KEYS_H */
