/* SPDX-License-Identifier: Apache-2.0 */
/* Records about seats off public sale: house seats, channels and their keys. */
#include "apply/internal.h"

static int apply_block(struct ush_state *state, struct ush_event *event, struct ush_row *row,
	const struct ush_record *r, struct ush_message *message)
{
	struct ush_channel_row *entry;
	uint64_t way;

	if (ush_row_claim(row, r->mask, &way) != USH_CLAIM_WON)
		return bad(r, message, "a seat to be blocked is not free");
	ush_event_house_add(event, row, r->mask, r->sequence);
	if (r->state == 0)
		return 0;
	entry = ush_channel_enter(state->channels, r->event, r->row, r->state);
	if (entry == NULL)
		return full(r, message, "channel_rows");
	atomic_fetch_or_explicit(&entry->seats, r->mask, memory_order_relaxed);
	atomic_store_explicit(&event->keeps, 1, memory_order_relaxed);
	ush_channel_put_back(entry, r->mask);
	return 0;
}

static int apply_unblock(struct ush_state *state, struct ush_event *event, struct ush_row *row,
	const struct ush_record *r, struct ush_message *message)
{
	uint64_t mine = atomic_load_explicit(&row->house, memory_order_relaxed) &
			~ush_aside_seats(event, r->row);
	struct ush_channel_row *entry = NULL;
	uint64_t kept = 0;

	if (r->state == 0) {
		mine &= ~ush_channel_seats(state->channels, r->event, r->row, NULL);
	} else {
		entry = ush_channel_find(state->channels, r->event, r->row, r->state);
		mine &= entry == NULL ? 0
				      : atomic_load_explicit(&entry->free, memory_order_relaxed);
	}
	if ((r->mask & ~mine) != 0)
		return bad(r, message, "a seat to be unblocked is not blocked");
	if (entry != NULL) {
		ush_channel_withdraw(entry, r->mask);
		atomic_fetch_and_explicit(&entry->seats, ~r->mask, memory_order_relaxed);
	}
	for (uint32_t i = 0; i < state->keep_count; i++) {
		const struct ush_record *keep = &state->keep[i];

		if (keep->row != r->row || (keep->mask & ~r->mask) != 0)
			continue;
		if (keep->state != USH_KEEP_WAIT_LIST)
			return bad(keep, message, "seats are kept for no reason");
		kept |= keep->mask;
		state->keep_seats -= ush_popcount64(keep->mask);
		ush_aside_add(event, r->row, keep->mask);
	}
	if ((r->mask & ~kept) != 0)
		ush_event_house_remove(event, row, r->mask & ~kept);
	return 0;
}

int ush_apply_channel(
	struct ush_state *state, const struct ush_record *r, struct ush_message *message)
{
	struct ush_event *event;
	int error = find_event(state, r, &event, message);

	if (error != 0)
		return error;
	if (r->state < 1 || r->state > USH_CHANNEL_COUNT_MAX)
		return bad(r, message, "no such channel");
	if (r->amount > UINT8_MAX ||
		r->amount !=
			atomic_load_explicit(&event->channel_key[r->state], memory_order_relaxed) +
				1u)
		return bad(r, message, "the numbers of a channel's keys have a gap");
	atomic_store_explicit(
		&event->channel_key[r->state], (uint8_t)r->amount, memory_order_relaxed);
	return 0;
}

int ush_apply_house(struct ush_state *state, const struct ush_record *records, uint32_t count,
	struct ush_message *message)
{
	struct ush_event *event;
	int error = find_event(state, &records[0], &event, message);

	for (uint32_t i = 0; i < count && error == 0; i++) {
		const struct ush_record *r = &records[i];
		struct ush_row *row;

		error = find_row(event, r, &row, message);
		if (error == 0 && r->state > USH_CHANNEL_COUNT_MAX)
			error = bad(r, message, "no such channel");
		if (error != 0)
			return error;
		error = r->type == USH_RECORD_TYPE_BLOCK
				? apply_block(state, event, row, r, message)
				: apply_unblock(state, event, row, r, message);
	}
	return error;
}
