/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many users came from one device: an opaque 64-bit fingerprint that a join carries, counted by
 * event. A signal for a slower queue, never a reason to refuse.
 *
 * Owns:  struct ush_devices: buckets of 64 bytes, found by a keyed hash.
 * Reads: fingerprints.
 * Never: users: who calls counts each user once.
 */
#ifndef USH_DEVICE_H
#define USH_DEVICE_H

#include <assert.h>

#include "base/base.h"

#define USH_DEVICE_WAYS 8u

/* Bits 63 to 16: upper bits of the hash, which say the set, too; bits 15 to 0: users, 0: free. */
struct ush_device_set {
	uint64_t entry[USH_DEVICE_WAYS];
};
static_assert(sizeof(struct ush_device_set) == USH_CACHE_LINE, "one line");

struct ush_devices {
	struct ush_device_set *sets;
	uint32_t set_bits;
	struct ush_key key;
};

/* ret: bytes for so many devices, rounded up to a power of two of sets. */
size_t ush_devices_bytes(uint32_t device_count);

/* in: memory: zeroed, 64-byte aligned. key: secret. by: the starting thread. */
void ush_devices_init(struct ush_devices *devices, void *memory, uint32_t device_count,
	const struct ush_key *key);

/*
 * One more user of that device has joined that event.
 * in:  device: 0: no fingerprint was given, which counts nothing.
 * ret: users of it so far, this one included; 0 for device 0. Never too low by what others do to
 *      it, unless 8 devices with as many users or more share its set; at most 65,535.
 * by:  any loop; two at once in the same set may count one for two. cost: one line.
 */
uint32_t ush_devices_join(struct ush_devices *devices, uint32_t event, uint64_t device);

/* Takes an entry of another table under the same key, of any size. by: replay, each entry once. */
void ush_devices_restore(struct ush_devices *devices, uint64_t entry);

/* ret: users of it so far. by: any thread. */
uint32_t ush_devices_count(const struct ush_devices *devices, uint32_t event, uint64_t device);

/* ret: true if that many users of one device are to wait in the slow queue. in: threshold: 0: none
 * ever. */
USH_INLINE bool ush_device_is_slow(uint32_t count, uint32_t threshold)
{
	return threshold != 0 && count > threshold;
}

#endif /* USH_DEVICE_H */
