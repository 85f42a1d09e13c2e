/* SPDX-License-Identifier: Apache-2.0 */
/* The hashes of a draw, and what a draw file proves. docs/draw.md is the specification. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "room/draw_file.h"

#define TAG_BYTES 16u

static uint8_t *put(uint8_t *at, const void *bytes, size_t size)
{
	memcpy(at, bytes, size);
	return at + size;
}

static uint8_t *put_le(uint8_t *at, uint64_t value, uint32_t bytes)
{
	for (uint32_t i = 0; i < bytes; i++)
		*at++ = (uint8_t)(value >> (8 * i));
	return at;
}

void ush_draw_seed_hash(
	uint32_t event, const uint8_t seed[USH_HASH_BYTES], uint8_t hash[USH_HASH_BYTES])
{
	uint8_t message[TAG_BYTES + 4 + USH_HASH_BYTES], *at = message;

	at = put(at, "usher/draw/seed1", TAG_BYTES);
	at = put_le(at, event, 4);
	at = put(at, seed, USH_HASH_BYTES);
	ush_sha256(message, (size_t)(at - message), hash);
}

void ush_draw_leaf(uint32_t tier, uint64_t user, uint8_t hash[USH_HASH_BYTES])
{
	uint8_t message[1 + 1 + 8], *at = message;

	at = put_le(at, 0, 1);
	at = put_le(at, tier, 1);
	at = put_le(at, user, 8);
	ush_sha256(message, (size_t)(at - message), hash);
}

void ush_draw_key(const struct ush_draw_file *file, uint8_t key[USH_DRAW_KEY_BYTES])
{
	uint8_t message[TAG_BYTES + 4 + 2 * USH_HASH_BYTES + 4 * USH_DRAW_TIERS + 1 +
			USH_DRAW_BEACON_MAX];
	uint8_t *at = message;

	at = put(at, "usher/draw/key.1", TAG_BYTES);
	at = put_le(at, file->event, 4);
	at = put(at, file->seed, USH_HASH_BYTES);
	at = put(at, file->root, USH_HASH_BYTES);
	for (uint32_t i = 0; i < USH_DRAW_TIERS; i++)
		at = put_le(at, file->counts[i], 4);
	at = put_le(at, file->beacon_bytes, 1);
	at = put(at, file->beacon, file->beacon_bytes);
	ush_sha256(message, (size_t)(at - message), key);
}

void ush_draw_root(const struct ush_draw_file *file, uint8_t root[USH_HASH_BYTES])
{
	const uint64_t *user = file->users;
	uint8_t leaf[USH_HASH_BYTES];
	struct ush_merkle tree;

	ush_merkle_start(&tree);
	for (uint32_t tier = 0; tier < USH_DRAW_TIERS; tier++) {
		for (uint32_t i = 0; i < file->counts[tier]; i++) {
			ush_draw_leaf(tier, *user++, leaf);
			ush_merkle_add(&tree, leaf);
		}
	}
	ush_merkle_root(&tree, root);
}

static int wrong(struct ush_message *message, const char *text)
{
	ush_message_set(message, "draw: %s", text);
	return -USH_ECORRUPT;
}

static int compare_users(const void *a, const void *b)
{
	uint64_t x, y;

	memcpy(&x, a, sizeof(x));
	memcpy(&y, b, sizeof(y));
	return x < y ? -1 : x > y;
}

/* Nobody has two places. */
static int check_once(
	const struct ush_draw_file *file, struct ush_draw_check *check, struct ush_message *message)
{
	uint64_t *users = malloc(((size_t)file->count + 1) * sizeof(*users));
	uint64_t twice = 0;

	if (users == NULL) {
		ush_message_set(message, "draw: out of memory");
		return -USH_ENOMEM;
	}
	memcpy(users, file->users, (size_t)file->count * sizeof(*users));
	qsort(users, file->count, sizeof(*users), compare_users);
	for (uint32_t i = 0; i < file->count; i++) {
		check->void_count += users[i] == 0;
		if (i > 0 && users[i] != 0 && users[i] == users[i - 1])
			twice = users[i];
	}
	free(users);
	if (twice == 0)
		return 0;
	ush_message_set(message, "draw: user %016" PRIx64 " has more than one place", twice);
	return -USH_ECORRUPT;
}

static uint64_t global_place(const struct ush_draw_file *file, uint32_t tier, uint32_t index)
{
	uint64_t place = index;

	for (uint32_t i = 0; i < tier; i++)
		place += file->counts[i];
	return place;
}

static int check_proof(const struct ush_draw_file *file, struct ush_message *message)
{
	const struct ush_draw_proof *proof = &file->proof;
	uint64_t place = global_place(file, proof->tier, proof->index);
	uint8_t leaf[USH_HASH_BYTES];

	ush_draw_leaf(proof->tier, proof->user, leaf);
	if (!ush_merkle_check(leaf, place, file->count, proof->path, proof->path_count, file->root))
		return wrong(message,
			"the proof does not lead to the root: that user did not have that place "
			"when the lobby was closed");
	if (file->users != NULL && file->users[place] != proof->user)
		return wrong(message, "list and proof have different users in one place");
	return 0;
}

int ush_draw_check(
	const struct ush_draw_file *file, struct ush_draw_check *check, struct ush_message *message)
{
	uint8_t hash[USH_HASH_BYTES];
	int ret;

	memset(check, 0, sizeof(*check));
	ush_draw_seed_hash(file->event, file->seed, hash);
	if (memcmp(hash, file->seed_hash, sizeof(hash)) != 0)
		return wrong(message, "the seed is not the one whose hash was published");
	if (file->users != NULL) {
		ush_draw_root(file, hash);
		if (memcmp(hash, file->root, sizeof(hash)) != 0)
			return wrong(message, "the list is not the one whose root was published");
		if ((ret = check_once(file, check, message)) != 0)
			return ret;
		check->root_checked = true;
	}
	if (file->has_proof) {
		if ((ret = check_proof(file, message)) != 0)
			return ret;
		check->proof_checked = true;
	}
	ush_draw_key(file, check->key);
	return 0;
}

bool ush_draw_find_user(
	const struct ush_draw_file *file, uint64_t user, uint32_t *tier, uint32_t *index)
{
	uint64_t place = 0;

	if (user == 0)
		return false;
	for (uint32_t t = 0; t < USH_DRAW_TIERS && file->users != NULL; t++) {
		for (uint32_t i = 0; i < file->counts[t]; i++) {
			if (file->users[place++] != user)
				continue;
			*tier = t;
			*index = i;
			return true;
		}
	}
	if (!file->has_proof || file->proof.user != user)
		return false;
	*tier = file->proof.tier;
	*index = file->proof.index;
	return true;
}
