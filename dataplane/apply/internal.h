/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of dataplane/apply/ share.
 *
 * Owns:  see apply.h.
 * Reads: see apply.h.
 * Never: included outside dataplane/apply/.
 */
#ifndef USH_APPLY_INTERNAL_H
#define USH_APPLY_INTERNAL_H

#include <inttypes.h>

#include "apply/apply.h"
#include "claim/channel.h"
#include "wait/wait.h"

USH_INLINE int bad(const struct ush_record *r, struct ush_message *message, const char *what)
{
	ush_message_set(message,
		"journal record %" PRIu64 " (type %u, event %u, hold %016" PRIx64 ", row %u): %s",
		r->sequence, r->type, r->event, r->hold, r->row, what);
	return -USH_ECORRUPT;
}

USH_INLINE int full(const struct ush_record *r, struct ush_message *message, const char *limit)
{
	ush_message_set(message,
		"journal record %" PRIu64
		" does not fit: raise [limits] %s to what it was when the "
		"journal was written",
		r->sequence, limit);
	return -USH_EFULL;
}

USH_INLINE int find_event(const struct ush_state *state, const struct ush_record *r,
	struct ush_event **event, struct ush_message *message)
{
	*event = ush_inventory_event(state->inventory, r->event);
	return *event != NULL ? 0 : bad(r, message, "unknown event");
}

USH_INLINE int find_row(const struct ush_event *event, const struct ush_record *r,
	struct ush_row **row, struct ush_message *message)
{
	if (r->row >= ush_event_row_count(event))
		return bad(r, message, "no such row");
	*row = ush_event_row(event, r->row);
	if (r->mask == 0 || (r->mask & ~(*row)->seats) != 0)
		return bad(r, message, "no such seat");
	return 0;
}

/* Is a run whole, and of records that may stand together? out: *keeps: KEEP records at its end;
 * *priced, *timed: 1 if a PRICES record, a USER_TIME record stands behind them; 0 before. */
int apply_check_run(const struct ush_record *records, uint32_t count, uint32_t *keeps,
	uint32_t *priced, uint32_t *timed, struct ush_message *message);

/* EVENT. */
int ush_apply_event(
	struct ush_state *state, const struct ush_record *r, struct ush_message *message);

USH_INLINE bool makes_a_hold(uint8_t type)
{
	return type == USH_RECORD_TYPE_HOLD || type == USH_RECORD_TYPE_LATE ||
	       type == USH_RECORD_TYPE_OFFER;
}

/* EVENT_CHANGE. */
int ush_apply_event_change(
	struct ush_state *state, const struct ush_record *r, struct ush_message *message);

/* A hold was made: by the price list that the run's PRICES record names, if it has one. */
int ush_apply_prices(struct ush_state *state, const struct ush_event *event, uint32_t index,
	struct ush_message *message);

/* USER_TIME at the end of the run that `first` begins; NULL: it has none. */
int ush_apply_user_time(struct ush_state *state, const struct ush_record *first,
	const struct ush_record *r, struct ush_message *message);

/* EVENT_STATUS. */
int ush_apply_event_status(
	struct ush_state *state, const struct ush_record *r, struct ush_message *message);

/* BLOCK and UNBLOCK. */
int ush_apply_house(struct ush_state *state, const struct ush_record *records, uint32_t count,
	struct ush_message *message);

/* CHANNEL. */
int ush_apply_channel(
	struct ush_state *state, const struct ush_record *r, struct ush_message *message);

/* WAIT_JOIN, WAIT_LEAVE, WAIT_TURN, WAIT_OPEN. */
int apply_wait(struct ush_state *state, const struct ush_record *records, uint32_t count,
	struct ush_message *message);

/* ROOM_OPEN and all that is about a waiting room; refuses all other types. */
int apply_room(struct ush_state *state, const struct ush_record *records, uint32_t count,
	struct ush_message *message);

/* Checks that an OFFER goes to whose turn it is, and takes the user off the list. */
int apply_wait_offer(struct ush_state *state, const struct ush_event *event,
	const struct ush_record *records, uint32_t count, struct ush_message *message);

/* The hold of an offer ends, or is sold: it is an offer no more. */
void apply_wait_over(struct ush_state *state, struct ush_hold *hold);

#endif /* USH_APPLY_INTERNAL_H */
