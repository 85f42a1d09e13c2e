/* SPDX-License-Identifier: Apache-2.0 */
#include <openssl/evp.h>
#include <string.h>

#include "room/merkle.h"

void ush_sha256(const void *data, size_t size, uint8_t digest[USH_HASH_BYTES])
{
	unsigned int bytes = 0;

	USH_ASSERT(EVP_Digest(data, size, digest, &bytes, EVP_sha256(), NULL) == 1);
	USH_ASSERT(bytes == USH_HASH_BYTES);
}

/* Of two children; leaves begin with 0, so none can pass for the other. */
static void parent(const uint8_t left[USH_HASH_BYTES], const uint8_t right[USH_HASH_BYTES],
	uint8_t out[USH_HASH_BYTES])
{
	uint8_t message[1 + 2 * USH_HASH_BYTES] = {1};

	memcpy(message + 1, left, USH_HASH_BYTES);
	memcpy(message + 1 + USH_HASH_BYTES, right, USH_HASH_BYTES);
	ush_sha256(message, sizeof(message), out);
}

void ush_merkle_start(struct ush_merkle *tree)
{
	tree->count = 0;
}

void ush_merkle_add(struct ush_merkle *tree, const uint8_t leaf[USH_HASH_BYTES])
{
	uint8_t node[USH_HASH_BYTES];
	uint32_t level = 0;

	memcpy(node, leaf, sizeof(node));
	for (; (tree->count >> level & 1) != 0; level++)
		parent(tree->peak[level], node, node);
	memcpy(tree->peak[level], node, sizeof(node));
	tree->count++;
}

void ush_merkle_root(const struct ush_merkle *tree, uint8_t root[USH_HASH_BYTES])
{
	bool begun = false;

	if (tree->count == 0)
		ush_sha256("", 0, root);
	for (uint32_t level = 0; tree->count >> level != 0; level++) {
		if ((tree->count >> level & 1) == 0)
			continue;
		if (begun)
			parent(tree->peak[level], root, root);
		else
			memcpy(root, tree->peak[level], USH_HASH_BYTES);
		begun = true;
	}
}

static void root_of(ush_merkle_leaf *leaf, void *context, uint64_t from, uint64_t to,
	uint8_t root[USH_HASH_BYTES])
{
	struct ush_merkle tree;
	uint8_t hash[USH_HASH_BYTES];

	ush_merkle_start(&tree);
	for (; from < to; from++) {
		leaf(context, from, hash);
		ush_merkle_add(&tree, hash);
	}
	ush_merkle_root(&tree, root);
}

uint32_t ush_merkle_path(ush_merkle_leaf *leaf, void *context, uint64_t at, uint64_t count,
	uint8_t path[USH_MERKLE_PATH_MAX][USH_HASH_BYTES])
{
	uint64_t from = 0, to = count;
	uint32_t used = 0;

	USH_ASSERT(at < count);
	USH_ASSERT(count <= 1ull << USH_MERKLE_PATH_MAX);
	/* From the root down; the largest power of two that leaves something goes left. */
	while (to - from > 1) {
		uint64_t half = 1ull << (63 - (uint32_t)__builtin_clzll(to - from - 1));
		bool left = at < from + half;

		root_of(leaf, context, left ? from + half : from, left ? to : from + half,
			path[used++]);
		if (left)
			to = from + half;
		else
			from += half;
	}
	for (uint32_t i = 0; i < used / 2; i++) {
		uint8_t hash[USH_HASH_BYTES];

		memcpy(hash, path[i], sizeof(hash));
		memcpy(path[i], path[used - 1 - i], sizeof(hash));
		memcpy(path[used - 1 - i], hash, sizeof(hash));
	}
	return used;
}

/* RFC 9162, 2.1.3.2. */
bool ush_merkle_check(const uint8_t leaf[USH_HASH_BYTES], uint64_t at, uint64_t count,
	const uint8_t path[][USH_HASH_BYTES], uint32_t path_count,
	const uint8_t root[USH_HASH_BYTES])
{
	uint64_t last = count - 1;
	uint8_t node[USH_HASH_BYTES];

	if (at >= count)
		return false;
	memcpy(node, leaf, sizeof(node));
	for (uint32_t i = 0; i < path_count; i++) {
		if (last == 0)
			return false;
		if ((at & 1) != 0 || at == last) {
			parent(path[i], node, node);
			while ((at & 1) == 0 && at != 0) {
				at >>= 1;
				last >>= 1;
			}
		} else {
			parent(node, path[i], node);
		}
		at >>= 1;
		last >>= 1;
	}
	return last == 0 && memcmp(node, root, sizeof(node)) == 0;
}
