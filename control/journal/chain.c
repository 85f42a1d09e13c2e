/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hash chain: evidence that no block was changed or removed later. It follows the durable
 * journal on its own, so that hashing never stands in the way of an answer; block headers carry the
 * newest value known when they were written and say how far it reaches.
 */
#include <openssl/evp.h>
#include <string.h>

#include "journal/internal.h"

void chain_start(struct chain *chain, uint64_t block, const uint8_t *value)
{
	chain->block = block;
	memcpy(chain->value, value, USH_CHAIN_BYTES);
	chain_publish(chain);
}

void ush_journal_chain_next(uint8_t chain[USH_CHAIN_BYTES], const void *block)
{
	uint8_t input[USH_CHAIN_BYTES + USH_BLOCK_BYTES];
	uint8_t digest[EVP_MAX_MD_SIZE];
	unsigned int size = 0;

	memcpy(input, chain, USH_CHAIN_BYTES);
	memcpy(input + USH_CHAIN_BYTES, block, USH_BLOCK_BYTES);
	USH_ASSERT(EVP_Digest(input, sizeof(input), digest, &size, EVP_sha256(), NULL) == 1);
	USH_ASSERT(size >= USH_CHAIN_BYTES);
	memcpy(chain, digest, USH_CHAIN_BYTES);
}

void chain_add(struct chain *chain, const void *block)
{
	ush_journal_chain_next(chain->value, block);
	chain->block++;
}

void chain_publish(struct chain *chain)
{
	uint32_t version = atomic_load_explicit(&chain->version, memory_order_relaxed);
	uint64_t words[USH_CHAIN_BYTES / 8];

	memcpy(words, chain->value, sizeof(words));
	atomic_store_explicit(&chain->version, version + 1, memory_order_relaxed);
	/* Release keeps the odd version before each word; acquire below, each word before the
	 * second look at the version. No fences, which ThreadSanitizer does not follow. */
	atomic_store_explicit(&chain->shown_block, chain->block, memory_order_release);
	for (size_t i = 0; i < USH_CHAIN_BYTES / 8; i++)
		atomic_store_explicit(&chain->shown[i], words[i], memory_order_release);
	atomic_store_explicit(&chain->version, version + 2, memory_order_release);
}

bool chain_read(struct chain *chain, uint64_t *block, uint8_t *value)
{
	uint32_t version = atomic_load_explicit(&chain->version, memory_order_acquire);
	uint64_t words[USH_CHAIN_BYTES / 8];
	uint64_t shown;

	if ((version & 1) != 0)
		return false;
	shown = atomic_load_explicit(&chain->shown_block, memory_order_acquire);
	for (size_t i = 0; i < USH_CHAIN_BYTES / 8; i++)
		words[i] = atomic_load_explicit(&chain->shown[i], memory_order_acquire);
	if (atomic_load_explicit(&chain->version, memory_order_relaxed) != version)
		return false;
	*block = shown;
	memcpy(value, words, sizeof(words));
	return true;
}
