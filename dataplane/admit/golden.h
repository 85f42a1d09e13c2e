/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Admission as a function that is easy to read: docs/admission.md line by line. The fast form
 * and the hardware filter (hw/) are held against it.
 *
 * Owns:  nothing; the state is the caller's.
 * Reads: a frame or a payload, the configuration, the state, the time.
 * Never: used on the packet path.
 */
#ifndef USH_ADMIT_GOLDEN_H
#define USH_ADMIT_GOLDEN_H

#include "admit/contract.h"

/* ret: enum ush_op_class of an operation. by: any thread. */
uint8_t ush_golden_class(uint8_t op);

/*
 * Finds the request in a frame.
 * out: *source: address of the sender, IPv4 as ::ffff:a.b.c.d. *payload_at, *payload_bytes.
 * ret: USH_VERDICT_PASS, HOST or HEADER; outputs are set with PASS only. by: any thread.
 */
uint8_t ush_golden_frame(const struct ush_admit_config *config, const uint8_t *frame,
	uint32_t length, uint8_t source[16], uint32_t *payload_at, uint32_t *payload_bytes);

/*
 * Says of one payload whether it may go on, and charges the buckets it passes.
 * in:  source: as from ush_golden_frame. now_ns: Unix time, never going back.
 * out: every field of *says. by: who owns the state.
 */
void ush_golden_payload(const struct ush_admit_config *config, struct ush_admit_state *state,
	const uint8_t source[16], const uint8_t *payload, uint32_t size, uint64_t now_ns,
	struct ush_admit_says *says);

/* Both. */
void ush_golden(const struct ush_admit_config *config, struct ush_admit_state *state,
	const uint8_t *frame, uint32_t length, uint64_t now_ns, struct ush_admit_says *says);

#endif /* USH_ADMIT_GOLDEN_H */
