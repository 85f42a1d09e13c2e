/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A device that is not there takes the entry with the fewest users of its set: a flood of new
 * devices replaces other new ones, and those that many users share, which are the ones to be told
 * apart, stay.
 */
#include <string.h>

#include "admit/device.h"

#define COUNT_MAX 0xffffull

static uint32_t set_bits(uint32_t count)
{
	uint32_t bits = 0;

	while (((uint64_t)USH_DEVICE_WAYS << bits) < count)
		bits++;
	return bits;
}

size_t ush_devices_bytes(uint32_t device_count)
{
	return sizeof(struct ush_device_set) << set_bits(device_count);
}

void ush_devices_init(
	struct ush_devices *devices, void *memory, uint32_t device_count, const struct ush_key *key)
{
	*devices = (struct ush_devices){
		.sets = memory, .set_bits = set_bits(device_count), .key = *key};
}

static uint64_t hash_of(const struct ush_devices *devices, uint32_t event, uint64_t device)
{
	return ush_siphash_2(&devices->key, device, event);
}

static struct ush_device_set *set_of(const struct ush_devices *devices, uint64_t hash)
{
	/* The upper bits: they are all that an entry keeps of the hash. */
	return &devices->sets[devices->set_bits == 0 ? 0 : hash >> (64 - devices->set_bits)];
}

/* ret: the entry of the device; or none, and *least the one with the fewest users. */
static uint64_t *find(struct ush_device_set *set, uint64_t hash, uint64_t **least)
{
	uint64_t fewest = UINT64_MAX;

	for (uint32_t i = 0; i < USH_DEVICE_WAYS; i++) {
		uint64_t entry = __atomic_load_n(&set->entry[i], __ATOMIC_RELAXED);
		if (entry >> 16 == hash >> 16 && (entry & COUNT_MAX) != 0)
			return &set->entry[i];
		if ((entry & COUNT_MAX) < fewest) {
			fewest = entry & COUNT_MAX;
			*least = &set->entry[i];
		}
	}
	return NULL;
}

uint32_t ush_devices_join(struct ush_devices *devices, uint32_t event, uint64_t device)
{
	uint64_t hash = hash_of(devices, event, device), count = 1;
	uint64_t *least = NULL, *entry;

	if (device == 0)
		return 0;
	entry = find(set_of(devices, hash), hash, &least);
	if (entry != NULL) {
		count = __atomic_load_n(entry, __ATOMIC_RELAXED) & COUNT_MAX;
		count += count != COUNT_MAX;
	} else {
		entry = least;
	}
	__atomic_store_n(entry, (hash >> 16) << 16 | count, __ATOMIC_RELAXED);
	return (uint32_t)count;
}

void ush_devices_restore(struct ush_devices *devices, uint64_t entry)
{
	uint64_t *least = NULL;

	find(set_of(devices, entry), entry, &least);
	if ((entry & COUNT_MAX) > (*least & COUNT_MAX))
		*least = entry;
}

uint32_t ush_devices_count(const struct ush_devices *devices, uint32_t event, uint64_t device)
{
	uint64_t hash = hash_of(devices, event, device), *least = NULL, *entry;

	if (device == 0)
		return 0;
	entry = find(set_of(devices, hash), hash, &least);
	return entry == NULL ? 0 : (uint32_t)(__atomic_load_n(entry, __ATOMIC_RELAXED) & COUNT_MAX);
}
