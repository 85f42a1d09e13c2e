/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An entry is a line: whose it is, when it was last seen, and tags of 24 bits of the accounts seen
 * with it. Two accounts with the same tag count as one: one in 16 million errs, downwards.
 *
 * Failure modes: a set of eight that is full loses the entry with the fewest accounts, of these the
 * oldest, so that a flood of new devices does not push out those that many accounts share.
 */
#include <stdlib.h>
#include <string.h>

#include "entry/crowd.h"

#define WAYS 8u
#define TAG_BYTES 3u

struct entry {
	uint64_t tag; /* 0: none */
	uint64_t seen_us;
	uint8_t count;
	uint8_t spare[3];
	uint8_t account[USH_CROWD_ACCOUNTS_MAX][TAG_BYTES];
	uint8_t spare2[8];
};
static_assert(sizeof(struct entry) == USH_CACHE_LINE, "one line");

struct ush_crowd {
	struct entry *entries;
	uint32_t sets;
	struct ush_key key;
};

struct ush_crowd *ush_crowd_new(uint32_t entries, const struct ush_key *key)
{
	struct ush_crowd *crowd = calloc(1, sizeof(*crowd));

	USH_ASSERT(entries >= 2 * WAYS);
	USH_ASSERT((entries & (entries - 1)) == 0);
	if (crowd == NULL)
		return NULL;
	crowd->entries = aligned_alloc(USH_CACHE_LINE, entries * sizeof(struct entry));
	if (crowd->entries == NULL) {
		free(crowd);
		return NULL;
	}
	memset(crowd->entries, 0, entries * sizeof(struct entry));
	crowd->sets = entries / WAYS;
	crowd->key = *key;
	return crowd;
}

void ush_crowd_free(struct ush_crowd *crowd)
{
	if (crowd == NULL)
		return;
	free(crowd->entries);
	free(crowd);
}

static bool goes_before(const struct entry *a, const struct entry *b)
{
	if (a->tag == 0 || b->tag == 0)
		return a->tag < b->tag;
	return a->count != b->count ? a->count < b->count : a->seen_us < b->seen_us;
}

static struct entry *find(
	struct ush_crowd *crowd, uint64_t tag, uint64_t window_us, uint64_t now_us)
{
	struct entry *set = &crowd->entries[((tag >> 8) & (crowd->sets - 1)) * WAYS];
	struct entry *found = &set[0];

	for (uint32_t i = 0; i < WAYS; i++) {
		if (now_us > set[i].seen_us && now_us - set[i].seen_us > window_us)
			memset(&set[i], 0, sizeof(set[i]));
		if (set[i].tag == tag)
			return &set[i];
		if (goes_before(&set[i], found))
			found = &set[i];
	}
	memset(found, 0, sizeof(*found));
	found->tag = tag;
	return found;
}

uint32_t ush_crowd_see(struct ush_crowd *crowd, uint32_t kind, uint64_t what, uint64_t account,
	uint64_t window_us, uint64_t now_us)
{
	uint64_t hash = ush_siphash_2(&crowd->key, account, kind + 256);
	struct entry *entry =
		find(crowd, ush_siphash_2(&crowd->key, what, kind) | 1, window_us, now_us);
	uint8_t tag[TAG_BYTES];

	memcpy(tag, &hash, sizeof(tag));
	entry->seen_us = now_us;
	for (uint32_t i = 0; i < entry->count; i++) {
		if (memcmp(entry->account[i], tag, sizeof(tag)) == 0)
			return entry->count;
	}
	if (entry->count < USH_CROWD_ACCOUNTS_MAX) {
		memcpy(entry->account[entry->count], tag, sizeof(tag));
		entry->count++;
	}
	return entry->count;
}

uint32_t ush_crowd_score(
	const struct ush_crowd_client *client, const struct ush_crowd_bounds *bounds)
{
	uint32_t score = 0;

	if (client->captcha == USH_CAPTCHA_FAILED || client->captcha == USH_CAPTCHA_NONE)
		score += 2;
	if (client->captcha == USH_CAPTCHA_AWAY || client->device_accounts == 0)
		score += 1;
	if (bounds->device_accounts != 0 && client->device_accounts > bounds->device_accounts)
		score += 2;
	if (bounds->address_accounts != 0 && client->address_accounts > bounds->address_accounts)
		score += 1;
	return client->verified_fan && score > 0 ? score - 1 : score;
}
