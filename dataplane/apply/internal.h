/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of dataplane/apply/ share: records of wait-lists.
 *
 * Owns:  nothing.
 * Reads: see apply.h.
 * Never: included outside dataplane/apply/.
 */
#ifndef USH_APPLY_INTERNAL_H
#define USH_APPLY_INTERNAL_H

#include "apply/apply.h"
#include "wait/wait.h"

/* WAIT_JOIN, WAIT_LEAVE, WAIT_TURN, WAIT_OPEN. */
int apply_wait(struct ush_state *state, const struct ush_record *records, uint32_t count,
	struct ush_message *message);

/* Checks that an OFFER goes to whose turn it is, and takes the user off the list. */
int apply_wait_offer(struct ush_state *state, const struct ush_event *event,
	const struct ush_record *records, uint32_t count, struct ush_message *message);

/* The hold of an offer ends, or is sold: it is an offer no more. */
void apply_wait_over(struct ush_state *state, struct ush_hold *hold);

#endif /* USH_APPLY_INTERNAL_H */
