/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What we were promised: who has which seat, which holds may be released, which answers must be
 * repeated. A seat granted to two holds at once is found here, without looking at the journal.
 *
 * No false alarm: a seat counts as free again from the moment its RELEASE is sent (the answer to
 * the next buyer may overtake the answer to the release), and when its deadline has passed by our
 * clock. So the generator must run where the clock agrees with the appliance's.
 */
#include <stdlib.h>
#include <string.h>

#include "load.h"
#include "names.h"

/* Complaints printed in full; all are counted. */
#define COMPLAINTS_MAX 10u

static int event_init(struct load_event *event, uint32_t id, const struct load_venue *venue)
{
	event->id = id;
	event->venue = venue;
	event->granted = calloc(venue->row_count, sizeof(event->granted[0]));
	event->owner = calloc(venue->seat_count, sizeof(event->owner[0]));
	return event->granted != NULL && event->owner != NULL ? 0 : -USH_ENOMEM;
}

int load_grants_init(struct load *load, struct ush_message *message)
{
	const struct load_options *options = &load->options;

	load->events = calloc(options->event_count, sizeof(load->events[0]));
	load->holds = calloc(LOAD_HOLDS, sizeof(load->holds[0]));
	load->answers = calloc(LOAD_ANSWERS, sizeof(load->answers[0]));
	if (load->events == NULL || load->holds == NULL || load->answers == NULL)
		goto no_memory;
	for (uint32_t i = 0; i < options->event_count; i++) {
		const struct load_venue *venue = &load->venue[load->venue_count == 1 ? 0 : i];

		if (event_init(&load->events[i], options->event_id[i], venue) != 0)
			goto no_memory;
	}
	return 0;
no_memory:
	ush_message_set(message, "no memory for the seats of %u events", options->event_count);
	return -USH_ENOMEM;
}

void load_grants_free(struct load *load)
{
	for (uint32_t i = 0; load->events != NULL && i < load->options.event_count; i++) {
		free(load->events[i].granted);
		free(load->events[i].owner);
	}
	free(load->events);
	free(load->holds);
	free(load->answers);
}

/* ret: the number of seat `bit` of `row` among all seats. */
static uint32_t seat_number(const struct load_venue *venue, uint32_t row, uint64_t bit)
{
	return venue->base[row] + ush_popcount64(venue->seats[row] & (bit - 1));
}

static void complain(struct load *load, const struct load_event *event, uint32_t row, uint64_t bit,
	const struct load_owner *owner, uint64_t hold)
{
	if (load->stats.double_granted++ >= COMPLAINTS_MAX)
		return;
	fprintf(stderr,
		"usher load: seat %d of row %u in event %u was granted to hold %016llx while hold "
		"%016llx has it until %llu\n",
		__builtin_ctzll(bit), row, event->id, (unsigned long long)hold,
		(unsigned long long)owner->hold, (unsigned long long)owner->deadline_ns);
}

static void leg_add(struct load *load, struct load_event *event, uint32_t row, uint64_t mask,
	const struct ush_reply *reply, uint64_t wall_ns)
{
	const struct load_venue *venue = event->venue;
	uint64_t before = event->granted[row];

	load->stats.granted_seats += ush_popcount64(mask);
	event->granted[row] = before | mask;
	for (uint64_t rest = mask; rest != 0; rest &= rest - 1) {
		uint64_t bit = rest & -rest;
		struct load_owner *owner = &event->owner[seat_number(venue, row, bit)];

		if (ush_unlikely((before & bit) != 0) && owner->hold != reply->hold &&
			owner->deadline_ns > wall_ns)
			complain(load, event, row, bit, owner, reply->hold);
		owner->hold = reply->hold;
		owner->deadline_ns =
			reply->state == USH_HOLD_STATE_SOLD ? UINT64_MAX : reply->deadline_ns;
	}
}

/* ret: true when this hold was granted to us before. */
static bool is_known(const struct load_event *event, uint32_t row, uint64_t mask, uint64_t hold)
{
	return event->owner[seat_number(event->venue, row, mask & -mask)].hold == hold;
}

void load_grants_add(struct load *load, const struct load_slot *slot, const struct ush_reply *reply,
	uint64_t wall_ns)
{
	struct load_event *event = &load->events[slot->event_index];
	const struct load_legs *legs = &load->legs[slot - load->slots];

	/* An answer that comes late, after a repeat, may be about a hold that is over. */
	if (reply->state != USH_HOLD_STATE_HELD && reply->state != USH_HOLD_STATE_SOLD)
		return;
	/* Two repeats of a refusal that a restart forgot are both answered with the one hold. The
	 * second tells nothing new, and the hold's RELEASE may have been sent meanwhile. */
	if (is_known(event, slot->request.row, slot->request.mask, reply->hold))
		return;
	leg_add(load, event, slot->request.row, slot->request.mask, reply, wall_ns);
	for (uint32_t i = 0; i + 1u < slot->leg_count; i++)
		leg_add(load, event, legs->leg[i].row, legs->leg[i].mask, reply, wall_ns);
	if (slot->leg_count > 1 ||
		(load->options.weight[LOAD_RELEASE] | load->options.weight[LOAD_QUERY]) == 0)
		return;
	if (load->holds_put - load->holds_taken == LOAD_HOLDS)
		load->holds_taken++;
	load->holds[load->holds_put++ % LOAD_HOLDS] = (struct load_hold){
		.hold = reply->hold,
		.mask = slot->request.mask,
		.user_index = (uint32_t)(slot->request.user - load->options.user_base),
		.event_index = slot->event_index,
		.row = slot->request.row,
	};
}

void load_grants_clear(struct load *load, const struct load_hold *hold)
{
	struct load_event *event = &load->events[hold->event_index];

	for (uint64_t rest = hold->mask; rest != 0; rest &= rest - 1) {
		uint64_t bit = rest & -rest;

		if (event->owner[seat_number(event->venue, hold->row, bit)].hold == hold->hold)
			event->granted[hold->row] &= ~bit;
	}
}

void load_grants_answered(
	struct load *load, const struct load_slot *slot, const struct ush_reply *reply)
{
	if (slot->request.op != USH_OP_RESERVE || slot->leg_count != 1 ||
		reply->status > USH_STATUS_LIMIT)
		return;
	load->answers[load->answers_put++ % LOAD_ANSWERS] = (struct load_answered){
		.request = slot->request,
		.hold = reply->hold,
		.event_index = slot->event_index,
		.resent = load->stats.resent,
		.status = reply->status,
	};
}

/*
 * A granted request must be answered with the same hold for ever, restart or not. A refused one
 * with the same status, unless the box restarted in between: then it remembers only how far the
 * ids went. A restart is never without requests that had to be sent again.
 */
void load_grants_repeat(
	struct load *load, const struct load_slot *slot, const struct ush_reply *reply)
{
	load->stats.repeats++;
	if (reply->status == slot->before_status &&
		(reply->status != USH_STATUS_OK || reply->hold == slot->before_hold))
		return;
	if (reply->status == USH_STATUS_STALE || reply->status == USH_STATUS_BUSY ||
		reply->status == USH_STATUS_RETRY) {
		load->stats.repeats_forgotten++;
		return;
	}
	if (slot->before_status != USH_STATUS_OK && load->stats.resent != slot->before_resent) {
		load->stats.repeats_forgotten++;
		return;
	}
	if (load->stats.repeats_changed++ >= COMPLAINTS_MAX)
		return;
	fprintf(stderr,
		"usher load: request %u of user %llu for event %u was answered %s, "
		"hold %016llx, then %s, hold %016llx\n",
		slot->request.request_id, (unsigned long long)slot->request.user,
		slot->request.event, usher_name_status(slot->before_status),
		(unsigned long long)slot->before_hold, usher_name_status(reply->status),
		(unsigned long long)reply->hold);
}
