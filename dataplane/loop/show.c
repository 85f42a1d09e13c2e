/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What was decided is made visible: holds, states, users, counts, and released bits, in this order
 * last, by a record whose slot is reserved and written. See turn.c for when.
 */
#include "loop/internal.h"

static void set_state(struct ush_hold *hold, uint32_t state, bool step)
{
	uint64_t word = atomic_load_explicit(&hold->word, memory_order_relaxed);
	uint16_t version = ush_hold_word_version(word);

	word = ush_hold_word(state, ush_hold_word_owner(word), (uint16_t)(version + step),
		ush_hold_word_generation(word));
	atomic_store_explicit(&hold->word, word, memory_order_release);
}

static void live_by(struct ush_loop *loop, int by)
{
	uint32_t live = atomic_load_explicit(&loop->live, memory_order_relaxed);

	atomic_store_explicit(&loop->live, live + (uint32_t)by, memory_order_relaxed);
}

static void show_hold(struct ush_loop *loop, struct act *act, uint64_t last)
{
	struct ush_hold *first = ush_holds_line(&loop->engine->holds, act->hold);
	const struct ush_record *record = &loop->records[act->record_first];

	for (uint32_t i = 0; i < act->record_count; i++, record++) {
		ush_row_make_firm(ush_event_row(act->event, record->row), record->mask);
		ush_event_house_sold(
			act->event, ush_event_row(act->event, record->row), record->mask);
		ush_best_note(act->event, record->row);
	}
	ush_event_count_hold(act->event, loop->index);
	first->sequence = last;
	set_state(first, USH_HOLD_STATE_HELD, true);
	ush_wheel_add(loop->pool, act->hold);
	ush_event_count_taken(act->event, loop->index, act->seats);
	act->user->seats = (uint16_t)(act->user->seats + act->seats);
	live_by(loop, 1);
}

/* A new hold that is sold already. */
static void show_late(struct ush_loop *loop, struct act *act, uint64_t last)
{
	struct ush_hold *first = ush_holds_line(&loop->engine->holds, act->hold);
	const struct ush_record *record = &loop->records[act->record_first];

	for (uint32_t i = 0; i < act->record_count; i++, record++) {
		struct ush_row *row = ush_event_row(act->event, record->row);

		ush_row_make_firm(row, record->mask);
		ush_event_house_sold(act->event, row, record->mask);
		ush_best_note(act->event, record->row);
	}
	first->sequence = last;
	ush_event_count_taken(act->event, loop->index, act->seats);
	ush_event_count_sold(act->event, act->seats, last);
	act->user->seats = (uint16_t)(act->user->seats + act->seats);
	set_state(first, USH_HOLD_STATE_SOLD, true);
}

/* The hold is over: its lines go back to the loop that dealt them out. */
static void end_lines(struct ush_loop *loop, uint32_t index, uint32_t state)
{
	struct ush_hold *first = ush_holds_line(&loop->engine->holds, index);
	uint64_t word = atomic_load_explicit(&first->word, memory_order_relaxed);

	if (ush_hold_word_owner(word) == loop->index) {
		ush_wheel_remove(loop->pool, index);
		ush_hold_give(loop->pool, index);
	} else {
		set_state(first, state, true);
		ush_hold_send_home(&loop->engine->holds, index);
	}
}

static void give_seats_back(struct ush_loop *loop, struct act *act)
{
	ush_event_count_returned(act->event, loop->index, act->seats);
	USH_ASSERT(act->user->seats >= act->seats);
	act->user->seats = (uint16_t)(act->user->seats - act->seats);
	ush_wait_freed(&loop->engine->waits, act->event->id);
}

/* Seats come back by the record at `last`: free, but for those that a KEEP record names. */
static void return_seats(
	struct ush_loop *loop, struct act *act, uint16_t row, uint64_t mask, uint64_t last)
{
	const struct ush_record *keep =
		&loop->records[act->record_first + act->record_count - act->keep_count];

	for (uint32_t i = 0; i < act->keep_count; i++, keep++) {
		if (keep->row != row)
			continue;
		USH_ASSERT((keep->mask & ~mask) == 0);
		mask &= ~keep->mask;
		if (keep->state == USH_KEEP_WAIT_LIST)
			ush_aside_mark(act->event, row, keep->mask);
		ush_row_keep(act->event, ush_event_row(act->event, row), keep->mask, last);
		if (keep->state == USH_KEEP_CHANNEL)
			ush_channel_return(
				&loop->engine->channels, act->event->id, row, keep->mask);
		else
			decide_wait_aside(loop, act->event, row, keep->mask);
	}
	if (mask != 0)
		ush_row_return(act->event, ush_event_row(act->event, row), mask);
}

/* RELEASE, EXPIRE and a payment that failed too late: all of the seats come back. */
static void show_end(struct ush_loop *loop, struct act *act, uint64_t last)
{
	struct ush_holds *holds = &loop->engine->holds;
	struct ush_hold *first = ush_holds_line(holds, act->hold);

	for (const struct ush_hold *leg = first;; leg = ush_holds_line(holds, leg->next)) {
		if (leg->mask != 0)
			return_seats(loop, act, leg->row, leg->mask, last);
		if (leg->next == USH_HOLD_NONE)
			break;
	}
	give_seats_back(loop, act);
	live_by(loop, -1);
	if (act->kind == ACT_EXPIRE)
		count(&loop->counters.expired);
	decide_wait_over(loop, first);
	end_lines(loop, act->hold, loop->records[act->record_first].state);
}

static void show_sold(struct ush_loop *loop, struct act *act, uint64_t last)
{
	struct ush_hold *first = ush_holds_line(&loop->engine->holds, act->hold);
	uint64_t word = atomic_load_explicit(&first->word, memory_order_relaxed);

	first->sequence = last;
	first->pending = 0;
	decide_wait_over(loop, first);
	if (ush_hold_word_owner(word) == loop->index)
		ush_wheel_remove(loop->pool, act->hold);
	ush_event_count_sold(act->event, act->seats, last);
	set_state(first, USH_HOLD_STATE_SOLD, true);
	live_by(loop, -1);
}

/* Some seats of a hold, named by the act's records, come back. */
static void cut_seats(struct ush_loop *loop, struct act *act, uint64_t last)
{
	const struct ush_record *record = &loop->records[act->record_first];
	struct ush_holds *holds = &loop->engine->holds;

	for (uint32_t i = act->keep_count + act->take_count; i < act->record_count; i++, record++) {
		struct ush_hold *leg = ush_holds_line(holds, act->hold);

		while (leg->row != record->row || (leg->mask & record->mask) == 0)
			leg = ush_holds_line(holds, leg->next);
		leg->mask &= ~record->mask;
		leg->amount = record->amount;
		return_seats(loop, act, leg->row, record->mask, last);
	}
	give_seats_back(loop, act);
}

/* Seats join a hold: in a leg that has some of the row, in an empty one, or in a new one. */
static void join_leg(struct ush_loop *loop, uint32_t index, const struct ush_record *record)
{
	struct ush_holds *holds = &loop->engine->holds;
	struct ush_hold *first = ush_holds_line(holds, index), *last = first;
	struct ush_hold *leg = ush_holds_line(holds, (uint32_t)record->hold);

	while (last != leg && last->next != USH_HOLD_NONE)
		last = ush_holds_line(holds, last->next);
	if (last != leg) {
		last->next = (uint32_t)record->hold;
		leg->mask = 0;
		leg->deadline_ns = first->deadline_ns;
		leg->leg_count = ++first->leg_count;
		__atomic_store_n(&leg->user, record->user, __ATOMIC_RELAXED);
		__atomic_store_n(&leg->event, (uint16_t)record->event, __ATOMIC_RELAXED);
	}
	leg->row = record->row;
	leg->mask |= record->mask;
	leg->amount = record->amount;
}

/* SWAP, and a CUT, which takes nothing. */
static void show_swap(struct ush_loop *loop, struct act *act, uint64_t last)
{
	const struct ush_record *record = &loop->records[act->record_first + act->record_count -
							 act->keep_count - act->take_count];

	cut_seats(loop, act, last);
	if (act->take_count == 0)
		return;
	for (uint32_t i = 0; i < act->take_count; i++, record++) {
		struct ush_row *row = ush_event_row(act->event, record->row);

		join_leg(loop, act->hold, record);
		ush_row_make_firm(row, record->mask);
		ush_event_house_sold(act->event, row, record->mask);
		ush_best_note(act->event, record->row);
	}
	ush_event_count_taken(act->event, loop->index, act->seats_taken);
	act->user->seats = (uint16_t)(act->user->seats + act->seats_taken);
}

static void show_extend(struct ush_loop *loop, struct act *act)
{
	struct ush_hold *first = ush_holds_line(&loop->engine->holds, act->hold);
	uint64_t word = atomic_load_explicit(&first->word, memory_order_relaxed);
	uint64_t deadline_ns = loop->records[act->record_first].deadline_ns;
	bool hangs =
		ush_hold_word_owner(word) == loop->index && ush_wheel_remove(loop->pool, act->hold);

	/* In another loop's wheel it comes up when it would have, and is hung again. */
	__atomic_store_n(&first->deadline_ns, deadline_ns, __ATOMIC_RELAXED);
	first->flags |= USH_HOLD_EXTENDED;
	if (hangs)
		ush_wheel_add(loop->pool, act->hold);
}

static void show_refunded(struct ush_loop *loop, struct act *act, uint64_t last)
{
	cut_seats(loop, act, last);
	ush_event_count_unsold(act->event, act->seats);
	if (act->kind == ACT_REFUND_ALL)
		end_lines(loop, act->hold, USH_HOLD_STATE_REFUNDED);
}

/* A change after which the hold goes on. */
static void show_step(struct ush_loop *loop, struct act *act, uint64_t last)
{
	struct ush_hold *first = ush_holds_line(&loop->engine->holds, act->hold);
	uint32_t end = (uint32_t)act->record_first + act->record_count - act->keep_count;

	first->sequence = last;
	first->pending = act->kind == ACT_CUT || act->kind == ACT_SWAP || act->kind == ACT_EXTEND
				 ? first->pending
				 : act->pending;
	/* Of a swap the first records tell of seats given up. */
	set_state(first, loop->records[end - 1u].state, true);
}

static void show_transfer(struct ush_loop *loop, struct act *act, uint64_t last)
{
	struct ush_hold *first = ush_holds_line(&loop->engine->holds, act->hold);
	uint64_t user = loop->records[act->record_first].mask;

	for (struct ush_hold *leg = first;; leg = ush_holds_line(&loop->engine->holds, leg->next)) {
		__atomic_store_n(&leg->user, user, __ATOMIC_RELAXED);
		if (leg->next == USH_HOLD_NONE)
			break;
	}
	USH_ASSERT(act->user->seats >= act->seats);
	act->user->seats = (uint16_t)(act->user->seats - act->seats);
	act->other->seats = (uint16_t)(act->other->seats + act->seats);
	show_step(loop, act, last);
	/* Not before the sequence stands: a look by the new user waits for that. */
	ush_user_unlock(act->other);
}

/* Blocked seats of a channel are from here for whoever has its key; unblocked ones its no more. */
static void show_channel(
	struct ush_loop *loop, struct ush_event *event, const struct ush_record *record)
{
	struct ush_channel_row *entry;

	if (record->state == 0)
		return;
	entry = ush_channel_find(&loop->engine->channels, event->id, record->row, record->state);
	USH_ASSERT(entry != NULL);
	if (record->type == USH_RECORD_TYPE_UNBLOCK) {
		atomic_fetch_and_explicit(&entry->seats, ~record->mask, memory_order_release);
		return;
	}
	atomic_fetch_or_explicit(&entry->seats, record->mask, memory_order_release);
	atomic_store_explicit(&event->keeps, 1, memory_order_release);
	ush_channel_put_back(entry, record->mask);
}

/* Of house seats that are unblocked, those that are set aside. ret: these. */
static uint64_t house_kept(struct ush_loop *loop, struct act *act, uint16_t row)
{
	const struct ush_record *keep =
		&loop->records[act->record_first + act->record_count - act->keep_count];
	uint64_t kept = 0;

	for (uint32_t i = 0; i < act->keep_count; i++, keep++) {
		if (keep->row != row)
			continue;
		kept |= keep->mask;
		decide_wait_aside(loop, act->event, row, keep->mask);
	}
	return kept;
}

/* WAIT_JOIN, WAIT_LEAVE: who gives seats back may act on it from here. */
static void show_wait(struct ush_loop *loop, struct act *act, uint64_t last)
{
	struct ush_waits *waits = &loop->engine->waits;
	struct ush_wait_list *list = ush_wait_list(waits, act->event->id);

	if (act->kind == ACT_WAIT_JOIN) {
		act->wait->sequence = last;
	} else {
		ush_wait_drop(waits, act->wait);
		atomic_fetch_sub_explicit(&list->count, 1, memory_order_release);
	}
	ush_wait_poke(waits, act->event->id);
}

static void show_offer(struct ush_loop *loop, struct act *act, uint64_t last)
{
	struct ush_wait_list *list = ush_wait_list(&loop->engine->waits, act->event->id);

	act->wait->sequence = last;
	show_hold(loop, act, last);
	for (uint32_t i = 0; i < act->record_count; i++) {
		const struct ush_record *record = &loop->records[act->record_first + i];

		ush_aside_unmark(act->event, record->row, record->mask);
	}
	atomic_fetch_sub_explicit(&list->count, 1, memory_order_release);
}

/* Seats set aside are free. */
static void show_open(struct ush_loop *loop, struct act *act)
{
	const struct ush_record *record = &loop->records[act->record_first];

	for (uint32_t i = 0; i < act->record_count; i++, record++) {
		ush_event_house_remove(
			act->event, ush_event_row(act->event, record->row), record->mask);
		ush_aside_unmark(act->event, record->row, record->mask);
	}
}

static void show_house(struct ush_loop *loop, struct act *act, uint64_t last)
{
	const struct ush_record *record = &loop->records[act->record_first];

	for (uint32_t i = act->keep_count; i < act->record_count; i++, record++) {
		struct ush_row *row = ush_event_row(act->event, record->row);
		if (act->kind == ACT_BLOCK) {
			ush_event_house_add(act->event, row, record->mask, last);
			show_channel(loop, act->event, record);
		} else {
			uint64_t kept = house_kept(loop, act, record->row);
			show_channel(loop, act->event, record);
			if ((record->mask & ~kept) != 0)
				ush_event_house_remove(act->event, row, record->mask & ~kept);
		}
		ush_best_note(act->event, record->row);
	}
	if (act->kind == ACT_UNBLOCK)
		ush_wait_freed(&loop->engine->waits, act->event->id);
}

/* What is said of an event as a whole. */
static void show_event(struct ush_loop *loop, struct act *act, uint64_t last)
{
	const struct ush_record *record = &loop->records[act->record_first];

	if (act->kind == ACT_EVENT) {
		ush_event_publish(&loop->engine->inventory, act->event);
		if (loop->engine->gate != NULL)
			ush_gate_event(loop->engine->gate, act->event->id);
		return;
	}
	if (act->kind == ACT_EVENT_CHANGE) {
		ush_change_show(act->change, record->request_id, last, record->state != 0);
		if (record->state != 0)
			ush_wait_poke(&loop->engine->waits, act->event->id);
		else
			ush_wait_freed(&loop->engine->waits, act->event->id);
		return;
	}
	if (act->kind == ACT_CHANNEL) {
		atomic_store_explicit(&act->event->channel_key[record->state],
			(uint8_t)record->amount, memory_order_release);
		return;
	}
	atomic_store_explicit(&act->event->status, record->state, memory_order_release);
	if (ush_event_keeps(act->event) && ush_waits_on(&loop->engine->waits))
		ush_wait_poke(&loop->engine->waits, act->event->id);
}

/* By a USER_TIME record behind the act's own. */
static void show_time(struct ush_loop *loop, const struct act *act)
{
	const struct ush_record *record =
		&loop->records[act->record_first + act->record_count + act->priced];
	struct ush_user_time *time = ush_user_time(&loop->engine->users, act->user);

	time->held_s = record->amount;
	time->cool_until_ns = record->deadline_ns;
}

static void show_kind(struct ush_loop *loop, struct act *act, uint64_t last)
{
	switch ((enum act_kind)act->kind) {
	case ACT_HOLD:
		show_hold(loop, act, last);
		break;
	case ACT_RELEASE:
	case ACT_EXPIRE:
	case ACT_PAY_EXPIRED:
		show_end(loop, act, last);
		break;
	case ACT_CONFIRM:
	case ACT_PAY_SOLD:
		show_sold(loop, act, last);
		break;
	case ACT_LATE:
		show_late(loop, act, last);
		break;
	case ACT_EXTEND:
		show_extend(loop, act);
		show_step(loop, act, last);
		break;
	case ACT_CUT:
	case ACT_SWAP:
		show_swap(loop, act, last);
		show_step(loop, act, last);
		break;
	case ACT_TRANSFER:
		show_transfer(loop, act, last);
		break;
	case ACT_REFUND_ALL:
		show_refunded(loop, act, last);
		break;
	case ACT_REFUND_SOME:
		show_refunded(loop, act, last);
		show_step(loop, act, last);
		break;
	case ACT_PAY_BEGIN:
	case ACT_PAY_FAILED:
	case ACT_REFUND_BEGIN:
	case ACT_REFUND_FAILED:
		show_step(loop, act, last);
		break;
	case ACT_BLOCK:
	case ACT_UNBLOCK:
		show_house(loop, act, last);
		break;
	case ACT_OFFER:
		show_offer(loop, act, last);
		break;
	case ACT_WAIT_JOIN:
	case ACT_WAIT_LEAVE:
		show_wait(loop, act, last);
		break;
	case ACT_WAIT_OPEN:
		show_open(loop, act);
		break;
	case ACT_EVENT:
	case ACT_EVENT_STATUS:
	case ACT_EVENT_CHANGE:
	case ACT_CHANNEL:
		show_event(loop, act, last);
		break;
	case ACT_WAIT_TURN:
	case ACT_TICK:
		break;
	default:
		show_room(loop, act, last);
		break;
	}
}

void loop_show(struct ush_loop *loop, struct act *act, uint64_t last)
{
	show_kind(loop, act, last);
	if (act->answer != NULL)
		act->answer->sequence = last;
	if (act->timed != 0)
		show_time(loop, act);
	if (act->user != NULL)
		ush_user_unlock(act->user);
}
