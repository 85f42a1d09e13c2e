/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Admission, fast: a burst of payloads at a time, tags four at a time, lines fetched before they
 * are needed. Says exactly what the golden function says (tests/property/test_gate.c).
 *
 * Owns:  struct ush_gate: two configurations, of which one is in force, and the tables.
 * Reads: payloads, source addresses, the time.
 * Never: events, holds, clocks.
 */
#ifndef USH_GATE_H
#define USH_GATE_H

#include <stdatomic.h>

#include "admit/contract.h"

/* Payloads judged at once. */
#define USH_GATE_BURST 64u

struct ush_gate {
	/* The one in force is config[current & 1]; events' bytes are written to both. */
	struct ush_admit_config config[2];
	_Atomic uint32_t current;
	/* Shared by the loops, word by word. Two loops that judge the same source in the same
	 * moment may charge it once. */
	struct ush_admit_state state;
	/* 0: the gate is off and passes everything. */
	uint32_t on;
};

/* One payload to be judged. */
struct ush_gate_item {
	const uint8_t *payload;
	uint32_t size;
	/* 4 or 6: the address at `source` has 4 or 16 bytes. */
	uint32_t family;
	const uint8_t *source;
	struct ush_admit_says says;
};

/* ret: bytes that ush_gate_init needs for tables of so many buckets; 0 for none. */
size_t ush_gate_bytes(uint32_t source_count, uint32_t user_count);

/* The gate is off. in: memory: zeroed, 64-byte aligned. by: the starting thread. */
void ush_gate_init(struct ush_gate *gate, void *memory, uint32_t source_count, uint32_t user_count);

/*
 * Puts a configuration in force and switches the gate on; events keep what they are and follow the
 * policies of `config` (bits 0 to 3 of its event bytes).
 * by: one thread; not before every loop has made a turn since the last one.
 */
void ush_gate_set(struct ush_gate *gate, const struct ush_admit_config *config);

/* The event is known from here on. by: any loop. */
void ush_gate_event(struct ush_gate *gate, uint32_t event);

/* ret: the configuration in force; read it once a turn. by: any thread. */
USH_INLINE const struct ush_admit_config *ush_gate_config(const struct ush_gate *gate)
{
	return &gate->config[atomic_load_explicit(&gate->current, memory_order_acquire) & 1];
}

/*
 * Says of each item what ush_golden_payload says of it, one after the other.
 * in: count 0 to USH_GATE_BURST. out: says of each. by: any loop. cost: O(count).
 */
void ush_gate_judge(struct ush_gate *gate, const struct ush_admit_config *config,
	struct ush_gate_item *items, uint32_t count, uint64_t now_ns);

/* ret: true for operations on a hold that is there: class HOLD. */
bool ush_gate_is_hold(uint8_t op);

/* SipHash-2-4 of three words under a key, for each of four; the words of lane i at words[i]. */
void ush_gate_siphash_4(
	const struct ush_key *const keys[4], const uint64_t words[4][3], uint64_t out[4]);

#endif /* USH_GATE_H */
