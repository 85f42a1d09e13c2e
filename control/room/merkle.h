/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SHA-256, and the Merkle tree of RFC 6962 over the places of a lobby: what binds the box to who
 * joined, and in which place, before the draw (docs/draw.md).
 *
 * Owns:  a tree that grows leaf by leaf, in 40 hashes whatever its size.
 * Reads: nothing.
 * Never: files, the room's table.
 */
#ifndef USH_MERKLE_H
#define USH_MERKLE_H

#include "base/base.h"

#define USH_HASH_BYTES 32u
/* Leaves: 2^32 at most, so a proof has so many hashes at most. */
#define USH_MERKLE_PATH_MAX 32u

/* ush_draw_hash of room/draw.h. by: any thread. cost: 0.3 us for less than 56 bytes (guess). */
void ush_sha256(const void *data, size_t size, uint8_t digest[USH_HASH_BYTES]);

struct ush_merkle {
	/* Roots of whole trees, of 2^level leaves each: those whose bit of `count` is set. */
	uint8_t peak[40][USH_HASH_BYTES];
	uint64_t count;
};

void ush_merkle_start(struct ush_merkle *tree);

/* in: leaf: the leaf's hash. cost: two hashes on average. */
void ush_merkle_add(struct ush_merkle *tree, const uint8_t leaf[USH_HASH_BYTES]);

/* out: root of the leaves so far; of none, SHA-256 of nothing. */
void ush_merkle_root(const struct ush_merkle *tree, uint8_t root[USH_HASH_BYTES]);

/* Hash of leaf `at`. */
typedef void ush_merkle_leaf(void *context, uint64_t at, uint8_t leaf[USH_HASH_BYTES]);

/* The audit path of leaf `at` among `count`, nearest sibling first. in: at: below count, count at
 * most 2^32. out: path. ret: hashes in it. cost: all leaves. */
uint32_t ush_merkle_path(ush_merkle_leaf *leaf, void *context, uint64_t at, uint64_t count,
	uint8_t path[USH_MERKLE_PATH_MAX][USH_HASH_BYTES]);

/* ret: true if the path leads from the leaf, in this place, to the root. by: any thread. */
bool ush_merkle_check(const uint8_t leaf[USH_HASH_BYTES], uint64_t at, uint64_t count,
	const uint8_t path[][USH_HASH_BYTES], uint32_t path_count,
	const uint8_t root[USH_HASH_BYTES]);

#endif /* USH_MERKLE_H */
