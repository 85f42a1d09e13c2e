/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What admission knows and remembers, as docs/admission.md writes it down: the golden function, the
 * fast form and the hardware filter share these layouts and nothing else.
 *
 * Owns:  nothing; layouts only.
 * Reads: nothing.
 * Never: pointers but one to the sets of each table.
 */
#ifndef USH_ADMIT_CONTRACT_H
#define USH_ADMIT_CONTRACT_H

#include <assert.h>
#include <stdint.h>

#include "base/base.h"
#include "wire/wire.h"

/* A key that verifies: live or not, by its id. */
struct ush_admit_key {
	struct ush_key key;
	uint32_t id;
	/* 0 or 1. */
	uint32_t live;
};

/* One request each interval_ns on the average, tolerance_ns / interval_ns more at once. An interval
 * of 0: no limit. */
struct ush_admit_limit {
	uint64_t interval_ns;
	uint64_t tolerance_ns;
};

/* What holds for the events that follow it. */
struct ush_admit_policy {
	/* By address: requests of the classes QUERY, NEW_HOLD and JOIN. */
	struct ush_admit_limit source;
	/* By address: requests of the class HOLD. */
	struct ush_admit_limit hold;
	/* By user and event: requests of the class NEW_HOLD. */
	struct ush_admit_limit user;
	/* Public; changed from time to time, so that nobody works ahead. */
	uint64_t work_salt;
	/* Leading zero bits that a proof of work needs; 0: none is demanded. */
	uint32_t work_bits;
	uint32_t reserved;
};

/* An event's byte. */
enum ush_admit_event {
	USH_ADMIT_EVENT_POLICY = 15,
	USH_ADMIT_EVENT_KNOWN = 16,
	USH_ADMIT_EVENT_OPEN = 32,
	USH_ADMIT_EVENT_SOLD_OUT = 64,
};

struct ush_admit_config {
	/* Checks that are made: bits of enum ush_admission_check. */
	uint32_t checks;
	/* Of our public ports, host order; for frames only. */
	uint32_t udp_port;
	/* Farthest that the time of a MAC, or of a proof of work, may be from ours. */
	uint64_t mac_window_ns;
	uint64_t work_window_ns;
	/* Refusals that are answered; over this they are dropped. */
	struct ush_admit_limit refusal;
	/* Of the places in the tables; secret. */
	struct ush_key table_key;
	struct ush_admit_key token[2];
	struct ush_admit_key gateway[USH_ADMIT_GATEWAY_COUNT][2];
	struct ush_admit_policy policy[USH_ADMIT_POLICY_COUNT];
	uint8_t event[USH_EVENT_ID_MAX + 1];
};

/* Buckets that share a line. tag: bits 63 to 32: upper half of the hash; bits 31 to 0: the request
 * id that was charged last, 0 for addresses. until: the bucket is full again from then, Unix ns. */
struct ush_admit_set {
	uint64_t tag[USH_ADMIT_WAYS];
	uint64_t until_ns[USH_ADMIT_WAYS];
};
static_assert(sizeof(struct ush_admit_set) == USH_CACHE_LINE, "one line");

struct ush_admit_table {
	/* 2^set_bits, zeroed in the beginning. */
	struct ush_admit_set *sets;
	uint32_t set_bits;
	uint32_t reserved;
	/* Entries that were replaced while not yet full. */
	uint64_t evicted;
};

struct ush_admit_state {
	struct ush_admit_table sources;
	struct ush_admit_table users;
	/* As until_ns of a bucket. */
	uint64_t refusal_until_ns;
	/* Bits more that a proof of work needs for now. */
	uint32_t load_bits;
	uint32_t reserved;
};

/* What admission says of one request. */
struct ush_admit_says {
	/* enum ush_verdict. */
	uint8_t verdict;
	/* Refused: 1: a reply is to be sent; 0: over the rate of refusals, or no request at all. */
	uint8_t reply;
	/* enum ush_op_class; NONE where it was not looked at. */
	uint8_t op_class;
	/* A token was checked and is good: its tier. */
	uint8_t tier;
	/* WORK_*: bits demanded. */
	uint32_t work_bits;
	/* *_RATE: when the next one would be let in. */
	uint64_t retry_ns;
};

#endif /* USH_ADMIT_CONTRACT_H */
