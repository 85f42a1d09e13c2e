/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records of wait-lists. A list is changed under its lock until its records have their slots, so
 * their order is that in which it changed, and an offer out of turn cannot have happened.
 */
#include <inttypes.h>

#include "apply/internal.h"

static int apply_join(struct ush_state *state, struct ush_event *event, const struct ush_record *r,
	struct ush_message *message)
{
	struct ush_wait_list *list;
	struct ush_wait *wait;

	if (r->mask < 1 || r->mask > USH_WAIT_SEATS_MAX ||
		(r->row >= event->tier_count && r->row != USH_WAIT_TIER_ANY))
		return bad(r, message, "nobody waits for this");
	wait = ush_waits_on(state->waits) ? ush_wait_find(state->waits, r->user, r->event) : NULL;
	if (wait != NULL)
		return bad(r, message, "the user is on the list already");
	wait = ush_wait_enter(state->waits, r->user, r->event);
	if (wait == NULL) {
		ush_message_set(message,
			"journal record %" PRIu64
			" does not fit: raise [limits] waiting to what it "
			"was when the journal was written",
			r->sequence);
		return -USH_EFULL;
	}
	list = ush_wait_list(state->waits, r->event);
	if (r->amount != list->last_place + 1)
		return bad(r, message, "the places of a wait-list have a gap");
	wait->tier = r->row;
	wait->seats = (uint8_t)r->mask;
	wait->request_id = r->request_id;
	wait->digest = r->digest;
	wait->sequence = r->sequence;
	ush_wait_append(state->waits, list, wait);
	atomic_fetch_add_explicit(&list->count, 1, memory_order_relaxed);
	atomic_store_explicit(&event->keeps, 1, memory_order_relaxed);
	return 0;
}

/* ret: 0 with the user's entry, which is in the list. */
static int find_listed(struct ush_state *state, const struct ush_record *r, struct ush_wait **wait,
	struct ush_message *message)
{
	*wait = ush_wait_find(state->waits, r->user, r->event);
	if (*wait == NULL || (*wait)->state != USH_WAIT_LISTED)
		return bad(r, message, "the user is not on the list");
	return 0;
}

static void unlist(struct ush_state *state, struct ush_wait *wait)
{
	struct ush_wait_list *list = ush_wait_list(
		state->waits, atomic_load_explicit(&wait->event, memory_order_relaxed));

	ush_wait_unlink(state->waits, list, wait);
	atomic_fetch_sub_explicit(&list->count, 1, memory_order_relaxed);
}

static int apply_leave(
	struct ush_state *state, const struct ush_record *r, struct ush_message *message)
{
	struct ush_wait *wait;
	int error = find_listed(state, r, &wait, message);

	if (error != 0)
		return error;
	if (r->state < USH_WAIT_LEFT_ASKED || r->state > USH_WAIT_LEFT_OVER)
		return bad(r, message, "nobody leaves for this");
	unlist(state, wait);
	ush_wait_drop(state->waits, wait);
	return 0;
}

static int apply_open(struct ush_event *event, const struct ush_record *records, uint32_t count,
	struct ush_message *message)
{
	for (uint32_t i = 0; i < count; i++) {
		const struct ush_record *r = &records[i];

		if (r->row >= ush_event_row_count(event) || r->mask == 0 ||
			(r->mask & ~ush_aside_seats(event, r->row)) != 0)
			return bad(r, message, "seats become free that were not set aside");
		ush_aside_take(event, r->row, r->mask);
		ush_aside_unmark(event, r->row, r->mask);
		ush_event_house_remove(event, ush_event_row(event, r->row), r->mask);
	}
	return 0;
}

int apply_wait(struct ush_state *state, const struct ush_record *records, uint32_t count,
	struct ush_message *message)
{
	const struct ush_record *r = &records[0];
	struct ush_event *event = ush_inventory_event(state->inventory, r->event);

	if (event == NULL)
		return bad(r, message, "unknown event");
	if (!ush_waits_on(state->waits)) {
		ush_message_set(message,
			"journal record %" PRIu64 " is of a wait-list: raise [limits] waiting",
			r->sequence);
		return -USH_EFULL;
	}
	switch (r->type) {
	case USH_RECORD_TYPE_WAIT_JOIN:
		return apply_join(state, event, r, message);
	case USH_RECORD_TYPE_WAIT_LEAVE:
		return apply_leave(state, r, message);
	case USH_RECORD_TYPE_WAIT_OPEN:
		return apply_open(event, records, count, message);
	default:
		if (r->state > 1)
			return bad(r, message, "neither everybody's turn nor one's own");
		ush_wait_list(state->waits, r->event)->loose = r->state;
		return 0;
	}
}

/* ret: true if one of the seats is of the tier. */
static bool has_tier(const struct ush_event *event, const struct ush_record *records,
	uint32_t count, uint32_t tier)
{
	if (tier == USH_WAIT_TIER_ANY)
		return true;
	for (uint32_t i = 0; i < count; i++) {
		if (records[i].row < ush_event_row_count(event) &&
			(records[i].mask & ush_row_tier_seats(ush_event_row(event, records[i].row),
						   tier)) != 0)
			return true;
	}
	return false;
}

int apply_wait_offer(struct ush_state *state, const struct ush_event *event,
	const struct ush_record *records, uint32_t count, struct ush_message *message)
{
	const struct ush_record *r = &records[0];
	const struct ush_wait_list *list;
	struct ush_wait *wait = NULL;
	uint32_t seats = 0;
	int error = ush_waits_on(state->waits) ? find_listed(state, r, &wait, message)
					       : bad(r, message, "there are no wait-lists");

	if (error != 0)
		return error;
	for (uint32_t i = 0; i < count; i++) {
		seats += ush_popcount64(records[i].mask);
		if (wait->tier != USH_WAIT_TIER_ANY &&
			records[i].row < ush_event_row_count(event) &&
			(records[i].mask & ~ush_row_tier_seats(ush_event_row(event, records[i].row),
						   wait->tier)) != 0)
			return bad(r, message, "a seat is offered that was not waited for");
	}
	if (seats != wait->seats)
		return bad(r, message, "not as many seats are offered as are waited for");
	list = ush_wait_list(state->waits, r->event);
	for (uint32_t at = wait->prev; at != USH_WAIT_NONE && list->loose == 0;) {
		const struct ush_wait *before = ush_wait_at(state->waits, at);

		if (has_tier(event, records, count, before->tier))
			return bad(r, message, "a seat is offered out of turn");
		at = before->prev;
	}
	unlist(state, wait);
	wait->state = USH_WAIT_OFFERED;
	wait->hold = r->hold;
	return 0;
}

void apply_wait_over(struct ush_state *state, struct ush_hold *hold)
{
	struct ush_wait *wait;

	if ((hold->flags & USH_HOLD_OFFER) == 0)
		return;
	hold->flags &= (uint8_t)~USH_HOLD_OFFER;
	wait = ush_wait_find(state->waits, hold->user, hold->event);
	USH_ASSERT(wait != NULL);
	ush_wait_drop(state->waits, wait);
}
