/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The draw file: all that is published about a draw, and its check (docs/draw.md).
 *
 * Owns:  the JSON format `usher-draw-1`, the list of places as text, the hashes of the draw.
 * Reads: nothing else.
 * Never: sockets, clocks, the room's table.
 */
#ifndef USH_DRAW_FILE_H
#define USH_DRAW_FILE_H

#include "base/base.h"
#include "room/draw.h"
#include "room/merkle.h"

/* Largest file; longer lists go into a file of their own. */
#define USH_DRAW_FILE_BYTES_MAX (64u << 20)
#define USH_DRAW_BEACON_MIN 16u
#define USH_DRAW_BEACON_MAX 64u
#define USH_DRAW_SOURCE_BYTES_MAX 127u

struct ush_draw_proof {
	uint64_t user;
	uint32_t tier;
	uint32_t index;
	uint32_t path_count;
	uint8_t path[USH_MERKLE_PATH_MAX][USH_HASH_BYTES];
};

struct ush_draw_file {
	uint32_t event;
	uint8_t seed_hash[USH_HASH_BYTES];
	uint8_t seed[USH_HASH_BYTES];
	uint8_t root[USH_HASH_BYTES];
	uint8_t beacon[USH_DRAW_BEACON_MAX];
	uint32_t beacon_bytes;
	char beacon_source[USH_DRAW_SOURCE_BYTES_MAX + 1];
	/* Of the beacon; below 2^63. */
	uint64_t beacon_round;
	uint32_t counts[USH_DRAW_TIERS];
	uint32_t count;
	/* Users by place, tier after tier, 0: void; NULL: no list. Freed by ush_draw_file_close. */
	uint64_t *users;
	bool has_proof;
	struct ush_draw_proof proof;
};

/* The hash that is published before anybody joins. */
void ush_draw_seed_hash(
	uint32_t event, const uint8_t seed[USH_HASH_BYTES], uint8_t hash[USH_HASH_BYTES]);

/* Hash of the leaf of a place. in: user: 0 for a void place. */
void ush_draw_leaf(uint32_t tier, uint64_t user, uint8_t hash[USH_HASH_BYTES]);

/* The key of the permutations, of event, seed, root, counts and beacon. */
void ush_draw_key(const struct ush_draw_file *file, uint8_t key[USH_DRAW_KEY_BYTES]);

/* ret: root over the users of `file`, which has a list. out: root. */
void ush_draw_root(const struct ush_draw_file *file, uint8_t root[USH_HASH_BYTES]);

/* Reads a draw file. in: text: not ended by 0. out: file: to be closed; on an error nothing is
 * left. err: -USH_EPARSE with what and where, -USH_ENOMEM. by: any thread. */
int ush_draw_file_read(
	const char *text, size_t size, struct ush_draw_file *file, struct ush_message *message);

/* Reads the list of places from text: one user a line, 16 hexadecimal digits. It takes the place
 * of a list in the file. err: as above. */
int ush_draw_list_read(
	const char *text, size_t size, struct ush_draw_file *file, struct ush_message *message);

void ush_draw_file_close(struct ush_draw_file *file);

/* What a check found out; what is false without an error could not be checked. */
struct ush_draw_check {
	bool root_checked;
	bool proof_checked;
	uint8_t key[USH_DRAW_KEY_BYTES];
	uint32_t void_count;
};

/* Recomputes all that the file allows: seed against its hash, list against the root, nobody twice,
 * proof against the root. err: -USH_ECORRUPT with what is wrong, -USH_ENOMEM. */
int ush_draw_check(const struct ush_draw_file *file, struct ush_draw_check *check,
	struct ush_message *message);

/* ret: the place of a user by list or proof; false if neither has it. */
bool ush_draw_find_user(
	const struct ush_draw_file *file, uint64_t user, uint32_t *tier, uint32_t *index);

#endif /* USH_DRAW_FILE_H */
