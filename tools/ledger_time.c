/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The auditor's book of hold time: what each user has used of an event's budget, in seats times
 * seconds (ADR 16). Records do not say when they were decided, so it cannot reckon a charge; it
 * knows which changes charge and which give back, and that either is so many whole seconds for each
 * of so many seats.
 */
#include <stdlib.h>

#include "tools/ledger.h"

static struct ledger_time *slot_of(
	struct ledger_time *times, size_t size, uint32_t event, uint64_t user)
{
	size_t at = (size_t)ush_mix64(user ^ (uint64_t)event << 48) & (size - 1);

	while (times[at].event != 0 && (times[at].event != event || times[at].user != user))
		at = (at + 1) & (size - 1);
	return &times[at];
}

/* ret: what is known of a user's time; NULL: no memory. */
static struct ledger_time *time_of(struct ledger *ledger, uint32_t event, uint64_t user)
{
	struct ledger_time *found;

	if (ledger->time_count * 2 >= ledger->time_size) {
		size_t size = ledger->time_size == 0 ? 1024 : ledger->time_size * 2;
		struct ledger_time *times = calloc(size, sizeof(*times));

		if (times == NULL)
			return NULL;
		for (size_t i = 0; i < ledger->time_size; i++) {
			const struct ledger_time *old = &ledger->times[i];
			if (old->event != 0)
				*slot_of(times, size, old->event, old->user) = *old;
		}
		free(ledger->times);
		ledger->times = times;
		ledger->time_size = size;
	}
	found = slot_of(ledger->times, ledger->time_size, event, user);
	if (found->event == 0) {
		*found = (struct ledger_time){.event = event, .user = user};
		ledger->time_count++;
	}
	return found;
}

static bool charges(uint8_t type)
{
	return type == USH_RECORD_TYPE_HOLD || type == USH_RECORD_TYPE_OFFER ||
	       type == USH_RECORD_TYPE_EXTEND;
}

static bool gives_back(const struct ush_record *r)
{
	return r->type == USH_RECORD_TYPE_RELEASE || r->type == USH_RECORD_TYPE_CUT ||
	       r->type == USH_RECORD_TYPE_CONFIRM ||
	       (r->type == USH_RECORD_TYPE_PAY_END && r->state == USH_HOLD_STATE_SOLD);
}

/* Seats whose time the change moves. */
static uint64_t seats_of(
	const struct ledger *ledger, const struct ush_record *records, uint32_t count)
{
	uint64_t seats = 0;

	if (records->type != USH_RECORD_TYPE_HOLD && records->type != USH_RECORD_TYPE_OFFER &&
		records->type != USH_RECORD_TYPE_CUT)
		return ledger_seats_left(ledger, records->hold);
	for (uint32_t i = 0; i < count; i++)
		seats += ush_popcount64(records[i].mask);
	return seats;
}

/* A budget that a change moves from `before` to `after`. */
static void judge(struct ledger *ledger, const struct ush_record *records, uint32_t count,
	uint64_t before, uint64_t after)
{
	uint64_t moved = after > before ? after - before : before - after;
	uint64_t seats = seats_of(ledger, records, count);

	if (moved == 0 || records->type == USH_RECORD_TYPE_SWAP)
		return;
	if (after > before ? !charges(records->type) : !gives_back(records))
		ledger_fault(ledger, records, "moves a user's time the wrong way");
	/* Nothing is left below nothing. */
	else if (seats == 0 || (moved % seats != 0 && after != 0))
		ledger_fault(ledger, records, "moves other time than whole seconds of its seats");
}

int ledger_book_time(struct ledger *ledger, const struct ush_record *records, uint32_t count,
	const struct ush_record *r)
{
	struct ledger_time *time;

	if (records->event > USH_EVENT_ID_MAX)
		return 0;
	if (r == NULL) {
		if (charges(records->type) && ledger->has_budget[records->event])
			ledger_fault(ledger, records, "a hold that nobody is charged for");
		return 0;
	}
	if (r->user != records->user)
		ledger_fault(ledger, r, "time of a user whose hold it is not");
	time = time_of(ledger, r->event, r->user);
	if (time == NULL)
		return -USH_ENOMEM;
	judge(ledger, records, count, time->held_s, r->amount);
	if (r->deadline_ns < time->cool_until_ns)
		ledger_fault(ledger, r, "a pause that becomes shorter");
	ledger->has_budget[r->event] |= r->amount != 0;
	ledger->seat_seconds += (uint64_t)r->amount - time->held_s;
	time->held_s = r->amount;
	time->cool_until_ns = r->deadline_ns;
	return 0;
}
