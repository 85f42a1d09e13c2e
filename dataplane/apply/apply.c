/* SPDX-License-Identifier: Apache-2.0 */
#include "apply/internal.h"

/* Finds or makes the user's line; there is one thread, so it locks at once. */
static int enter_user(struct ush_state *state, const struct ush_record *r, struct ush_user **line,
	struct ush_message *message)
{
	uint64_t hash = ush_user_hash(state->users, r->user, r->event);

	if (r->user == 0)
		return bad(r, message, "no user");
	if (ush_user_enter(state->users, hash, r->user, r->event, 0, r->request_id, line) !=
		USH_USER_OK)
		return full(r, message, "users");
	return 0;
}

/* Remembers the answer; leaves the line unlocked. */
static int remember(struct ush_state *state, const struct ush_record *r, struct ush_user *line,
	uint64_t hold, uint64_t sequence, uint8_t op, struct ush_message *message)
{
	uint32_t loops = state->users->loop_count;
	uint32_t start = loops == 1 ? 0 : ush_hold_id_index(hold) % loops;

	if (r->request_id == 0 || (r->request_id <= line->window_top &&
					  line->window_top - r->request_id >= USH_REQUEST_WINDOW))
		return bad(r, message, "a request id below the user's window");
	for (uint32_t i = 0; i < loops; i++) {
		uint32_t loop = start + i < loops ? start + i : start + i - loops;
		if (!ush_answer_available(state->users, loop))
			continue;
		struct ush_accepted *answer =
			ush_user_accept(state->users, line, loop, r->request_id, r->digest, op);
		answer->hold = hold;
		answer->sequence = sequence;
		ush_user_unlock(line);
		return 0;
	}
	return full(r, message, "answers");
}

/* Claims seats, free ones and those of a channel, or set aside. */
static int claim_seats(struct ush_state *state, struct ush_event *event, const struct ush_record *r,
	struct ush_row *row, struct ush_message *message)
{
	uint64_t house = r->mask & atomic_load_explicit(&row->house, memory_order_relaxed);
	uint64_t claimable, way;

	if (house != 0 && r->type == USH_RECORD_TYPE_OFFER) {
		if ((house & ~ush_aside_seats(event, r->row)) != 0)
			return bad(r, message, "a seat is offered that was not set aside");
		ush_aside_take(event, r->row, house);
		ush_aside_unmark(event, r->row, house);
	} else if (house != 0) {
		ush_channel_seats(state->channels, r->event, r->row, &claimable);
		if ((house & ~claimable) != 0)
			return bad(r, message, "a seat is off sale");
		ush_channel_replay_claim(state->channels, r->event, r->row, house);
	}
	if ((r->mask & ~house) != 0 && ush_row_claim(row, r->mask & ~house, &way) != USH_CLAIM_WON)
		return bad(r, message, "a seat is held or sold already");
	ush_row_make_firm(row, r->mask);
	ush_event_house_sold(event, row, r->mask);
	ush_event_count_taken(event, 0, ush_popcount64(r->mask));
	return 0;
}

/* Seats come back by the record at `sequence`: free, but for those that a KEEP record of the run
 * names. */
static int return_seats(struct ush_state *state, struct ush_event *event, uint16_t row,
	uint64_t mask, uint64_t sequence, struct ush_message *message)
{
	for (uint32_t i = 0; i < state->keep_count; i++) {
		const struct ush_record *keep = &state->keep[i];

		if (keep->row != row)
			continue;
		if ((keep->mask & ~mask) != 0)
			return bad(keep, message, "seats are kept that did not come back");
		uint64_t channels = ush_channel_seats(state->channels, event->id, row, NULL);
		if (keep->state == USH_KEEP_CHANNEL
				? (keep->mask & ~channels) != 0
				: keep->state != USH_KEEP_WAIT_LIST || (keep->mask & channels) != 0)
			return bad(keep, message, "seats are kept for no reason");
		mask &= ~keep->mask;
		state->keep_seats -= ush_popcount64(keep->mask);
		ush_row_keep(event, ush_event_row(event, row), keep->mask, sequence);
		if (keep->state == USH_KEEP_CHANNEL)
			ush_channel_return(state->channels, event->id, row, keep->mask);
		else
			ush_aside_add(event, row, keep->mask);
	}
	if (mask != 0)
		ush_row_return(event, ush_event_row(event, row), mask);
	return 0;
}

static int apply_hold_leg(struct ush_state *state, struct ush_event *event,
	const struct ush_record *r, struct ush_hold *line, struct ush_message *message)
{
	struct ush_row *row;
	int error = find_row(event, r, &row, message);

	if (error != 0)
		return error;
	if (ush_hold_word_state(atomic_load_explicit(&line->word, memory_order_relaxed)) !=
			USH_HOLD_STATE_FREE ||
		line->leg_count != 0)
		return bad(r, message, "the hold's line is in use");
	error = claim_seats(state, event, r, row, message);
	if (error != 0)
		return error;
	line->user = r->user;
	line->mask = r->mask;
	line->deadline_ns = r->deadline_ns;
	line->event = (uint16_t)r->event;
	line->row = r->row;
	line->pending = 0;
	line->flags = 0;
	line->next = USH_HOLD_NONE;
	line->amount = r->amount;
	line->sequence = r->sequence;
	return 0;
}

/* Remembers which hold that is over was paid for late; leaves the line unlocked. */
static int remember_late(struct ush_state *state, const struct ush_record *r, struct ush_user *line,
	uint64_t sequence, struct ush_message *message)
{
	uint64_t over = r->request_id | (uint64_t)r->digest << 32;
	uint32_t loops = state->users->loop_count, count;
	uint32_t start = ush_hold_id_index(r->hold) % loops;

	uint32_t index = ush_hold_id_check(state->holds, over);
	uint64_t word;

	if (index == USH_HOLD_NONE)
		return bad(r, message, "paid late for what is no hold of this box");
	word = atomic_load_explicit(
		&ush_holds_line(state->holds, index)->word, memory_order_relaxed);
	if (ush_hold_word_state(word) != USH_HOLD_STATE_FREE &&
		ush_hold_word_generation(word) == ush_hold_id_generation(over))
		return bad(r, message, "sold late for a hold that goes on");
	if (ush_user_late(state->users, line, over, &count) != NULL)
		return bad(r, message, "a hold is sold late twice");
	if (count >= USH_USER_LATE_MAX)
		return bad(r, message, "a user is sold too many holds late");
	for (uint32_t i = 0; i < loops; i++) {
		uint32_t loop = (start + i) % loops;
		struct ush_accepted *answer;

		if (!ush_answer_available(state->users, loop))
			continue;
		answer = ush_user_accept_late(state->users, line, loop, over);
		answer->hold = r->hold;
		answer->sequence = sequence;
		ush_user_unlock(line);
		return 0;
	}
	return full(r, message, "answers");
}

/* HOLD, and LATE, which is sold at once. */
static int apply_hold(struct ush_state *state, const struct ush_record *records, uint32_t count,
	struct ush_message *message)
{
	const struct ush_record *r = &records[0];
	uint32_t index = ush_hold_id_check(state->holds, r->hold);
	bool late = r->type == USH_RECORD_TYPE_LATE;
	struct ush_hold *previous = NULL;
	struct ush_event *event;
	struct ush_user *user;
	uint32_t seats = 0;
	int error = find_event(state, r, &event, message);

	if (error != 0)
		return error;
	if (index == USH_HOLD_NONE)
		return bad(r, message,
			"not a hold id of this box, or [limits] holds is smaller than it was");
	if (r->version != 1)
		return bad(r, message, "a new hold has version 1");
	if (r->type == USH_RECORD_TYPE_OFFER)
		error = apply_wait_offer(state, event, records, count, message);
	if (error != 0)
		return error;
	for (uint32_t i = 0; i < count; i++) {
		uint64_t at = i == 0 ? index : records[i].hold;
		if (at == USH_HOLD_NONE || at >= state->holds->count)
			return bad(&records[i], message, "no such hold line");
		struct ush_hold *line = ush_holds_line(state->holds, (uint32_t)at);
		error = apply_hold_leg(state, event, &records[i], line, message);
		if (error != 0)
			return error;
		line->leg_count = (uint8_t)count;
		if (previous != NULL)
			previous->next = (uint32_t)at;
		previous = line;
		seats += ush_popcount64(records[i].mask);
	}
	atomic_store_explicit(&ush_holds_line(state->holds, index)->word,
		ush_hold_word(late ? USH_HOLD_STATE_SOLD : USH_HOLD_STATE_HELD, 0, 1,
			ush_hold_id_generation(r->hold)),
		memory_order_relaxed);
	ush_holds_line(state->holds, index)->sequence = records[count - 1].sequence;
	state->live_holds += !late;
	error = ush_apply_prices(state, event, index, message);
	if (error == 0)
		error = enter_user(state, r, &user, message);
	if (error != 0)
		return error;
	user->seats = (uint16_t)(user->seats + seats);
	if (r->type == USH_RECORD_TYPE_OFFER) {
		ush_holds_line(state->holds, index)->flags |= USH_HOLD_OFFER;
		ush_user_unlock(user);
		return 0;
	}
	if (late) {
		ush_event_count_sold(event, seats, records[count - 1].sequence);
		return remember_late(state, r, user, records[count - 1].sequence, message);
	}
	return remember(
		state, r, user, r->hold, records[count - 1].sequence, USH_OP_RESERVE, message);
}

/* Finds the hold that a record moves on from `state`, and checks that no version is skipped. */
static int find_hold(struct ush_state *state, const struct ush_record *r, uint32_t from,
	struct ush_hold **hold, struct ush_message *message)
{
	uint32_t index = ush_hold_id_check(state->holds, r->hold);
	uint64_t word;

	if (index == USH_HOLD_NONE)
		return bad(r, message, "not a hold id of this box");
	*hold = ush_holds_line(state->holds, index);
	word = atomic_load_explicit(&(*hold)->word, memory_order_relaxed);
	if (ush_hold_word_state(word) != from)
		return bad(r, message, "the hold is not in the state that this starts from");
	if (ush_hold_word_generation(word) != ush_hold_id_generation(r->hold))
		return bad(r, message, "the hold is of another generation");
	if ((uint16_t)(ush_hold_word_version(word) + 1) != r->version)
		return bad(r, message, "the hold's versions have a gap");
	if ((*hold)->user != r->user || (*hold)->event != r->event)
		return bad(r, message, "the hold is another user's or another event's");
	return 0;
}

static void enter_state(struct ush_hold *hold, uint32_t state, const struct ush_record *last)
{
	uint64_t word = atomic_load_explicit(&hold->word, memory_order_relaxed);

	atomic_store_explicit(&hold->word,
		ush_hold_word(state, ush_hold_word_owner(word), last->version,
			ush_hold_word_generation(word)),
		memory_order_relaxed);
	hold->sequence = last->sequence;
}

static uint32_t count_seats(const struct ush_state *state, const struct ush_hold *hold)
{
	uint32_t seats = 0;

	for (const struct ush_hold *leg = hold;; leg = ush_holds_line(state->holds, leg->next)) {
		seats += ush_popcount64(leg->mask);
		if (leg->next == USH_HOLD_NONE)
			return seats;
	}
}

static void free_lines(struct ush_state *state, struct ush_hold *hold)
{
	uint64_t word = atomic_load_explicit(&hold->word, memory_order_relaxed);

	atomic_store_explicit(&hold->word,
		ush_hold_word(USH_HOLD_STATE_FREE, 0, 0, ush_hold_word_generation(word)),
		memory_order_relaxed);
	for (;;) {
		uint32_t next = hold->next;
		hold->leg_count = 0;
		hold->next = USH_HOLD_NONE;
		if (next == USH_HOLD_NONE)
			break;
		hold = ush_holds_line(state->holds, next);
	}
}

static int give_back(const struct ush_record *r, struct ush_event *event, struct ush_user *user,
	uint32_t seats, struct ush_message *message)
{
	ush_event_count_returned(event, 0, seats);
	if (user->seats < seats)
		return bad(r, message, "the user has fewer seats than the hold");
	user->seats = (uint16_t)(user->seats - seats);
	return 0;
}

/* RELEASE, EXPIRE, and a PAY_END that comes too late: the seats are free again. */
static int apply_end(struct ush_state *state, const struct ush_record *r, uint32_t from,
	struct ush_message *message)
{
	struct ush_event *event;
	struct ush_hold *hold;
	struct ush_user *user;
	int error = find_event(state, r, &event, message);

	if (error == 0)
		error = find_hold(state, r, from, &hold, message);
	if (error == 0)
		error = enter_user(state, r, &user, message);
	if (error != 0)
		return error;
	for (const struct ush_hold *leg = hold; error == 0;
		leg = ush_holds_line(state->holds, leg->next)) {
		if (leg->mask != 0)
			error = return_seats(
				state, event, leg->row, leg->mask, r->sequence, message);
		if (leg->next == USH_HOLD_NONE)
			break;
	}
	if (error == 0)
		error = give_back(r, event, user, count_seats(state, hold), message);
	if (error != 0)
		return error;
	apply_wait_over(state, hold);
	free_lines(state, hold);
	state->live_holds--;
	if (r->type == USH_RECORD_TYPE_RELEASE)
		return remember(state, r, user, r->hold, r->sequence, USH_OP_RELEASE, message);
	ush_user_unlock(user);
	return 0;
}

/* CONFIRM, and a PAY_END that succeeded. */
static int apply_sold(struct ush_state *state, const struct ush_record *r, uint32_t from,
	struct ush_message *message)
{
	struct ush_event *event;
	struct ush_hold *hold;
	int error = find_event(state, r, &event, message);

	if (error == 0)
		error = find_hold(state, r, from, &hold, message);
	if (error != 0)
		return error;
	apply_wait_over(state, hold);
	enter_state(hold, USH_HOLD_STATE_SOLD, r);
	hold->pending = 0;
	ush_event_count_sold(event, count_seats(state, hold), r->sequence);
	state->live_holds--;
	return 0;
}

static int apply_pay_begin(
	struct ush_state *state, const struct ush_record *r, struct ush_message *message)
{
	struct ush_hold *hold;
	int error = find_hold(state, r, USH_HOLD_STATE_HELD, &hold, message);

	if (error != 0)
		return error;
	if (r->row != hold->pending + 1u || r->row > USH_PAY_ATTEMPTS_MAX)
		return bad(r, message, "the attempts to pay have a gap");
	hold->pending = r->row;
	enter_state(hold, USH_HOLD_STATE_PAYING, r);
	return 0;
}

static int apply_pay_end(
	struct ush_state *state, const struct ush_record *r, struct ush_message *message)
{
	struct ush_hold *hold;
	int error;

	switch (r->state) {
	case USH_HOLD_STATE_SOLD:
		return apply_sold(state, r, USH_HOLD_STATE_PAYING, message);
	case USH_HOLD_STATE_EXPIRED:
		return apply_end(state, r, USH_HOLD_STATE_PAYING, message);
	case USH_HOLD_STATE_HELD:
		error = find_hold(state, r, USH_HOLD_STATE_PAYING, &hold, message);
		if (error == 0)
			enter_state(hold, USH_HOLD_STATE_HELD, r);
		return error;
	default:
		return bad(r, message, "a payment does not end in this state");
	}
}

static int apply_extend(
	struct ush_state *state, const struct ush_record *r, struct ush_message *message)
{
	struct ush_hold *hold;
	struct ush_user *user;
	int error = find_hold(state, r, USH_HOLD_STATE_HELD, &hold, message);

	if (error != 0)
		return error;
	if ((hold->flags & USH_HOLD_EXTENDED) != 0 || r->deadline_ns <= hold->deadline_ns)
		return bad(r, message, "a hold is extended once, to a later deadline");
	error = enter_user(state, r, &user, message);
	if (error != 0)
		return error;
	hold->deadline_ns = r->deadline_ns;
	hold->flags |= USH_HOLD_EXTENDED;
	enter_state(hold, USH_HOLD_STATE_HELD, r);
	return remember(state, r, user, r->hold, r->sequence, USH_OP_EXTEND, message);
}

/* Each record of a run names seats that one leg of the hold loses. */
static int cut_legs(struct ush_state *state, struct ush_event *event, struct ush_hold *hold,
	const struct ush_record *records, uint32_t count, uint64_t sequence, uint32_t *seats,
	struct ush_message *message)
{
	*seats = 0;
	for (uint32_t i = 0; i < count; i++) {
		const struct ush_record *r = &records[i];
		struct ush_hold *leg = hold;

		while (leg->next != USH_HOLD_NONE && (leg->row != r->row || leg->mask == 0))
			leg = ush_holds_line(state->holds, leg->next);
		if (r->mask == 0 || leg->row != r->row || (r->mask & ~leg->mask) != 0)
			return bad(r, message, "the hold does not have these seats");
		leg->mask &= ~r->mask;
		leg->amount = r->amount;
		int error = return_seats(state, event, leg->row, r->mask, sequence, message);
		if (error != 0)
			return error;
		*seats += ush_popcount64(r->mask);
	}
	return 0;
}

static int apply_cut(struct ush_state *state, const struct ush_record *records, uint32_t count,
	struct ush_message *message)
{
	const struct ush_record *last = &records[count - 1];
	struct ush_event *event;
	struct ush_hold *hold;
	struct ush_user *user;
	uint32_t seats;
	int error = find_event(state, records, &event, message);

	if (error == 0)
		error = find_hold(state, records, USH_HOLD_STATE_HELD, &hold, message);
	if (error == 0)
		error = cut_legs(
			state, event, hold, records, count, last->sequence, &seats, message);
	if (error == 0)
		error = enter_user(state, records, &user, message);
	if (error == 0)
		error = give_back(records, event, user, seats, message);
	if (error != 0)
		return error;
	if (count_seats(state, hold) == 0)
		return bad(last, message, "a hold is left without seats");
	enter_state(hold, USH_HOLD_STATE_HELD, last);
	return remember(
		state, records, user, records->hold, last->sequence, USH_OP_RELEASE, message);
}

/* Seats just claimed join the hold, in the line that the record names: one of the hold that has
 * seats of that row or none at all, or one that is in no use. */
static int join_leg(struct ush_state *state, struct ush_hold *hold, const struct ush_record *r,
	struct ush_message *message)
{
	struct ush_hold *leg, *last = hold;

	if (r->hold == USH_HOLD_NONE || r->hold >= state->holds->count)
		return bad(r, message, "no such hold line");
	leg = ush_holds_line(state->holds, (uint32_t)r->hold);
	while (last != leg && last->next != USH_HOLD_NONE)
		last = ush_holds_line(state->holds, last->next);
	if (last != leg) {
		if (ush_hold_word_state(atomic_load_explicit(&leg->word, memory_order_relaxed)) !=
				USH_HOLD_STATE_FREE ||
			leg->leg_count != 0)
			return bad(r, message, "the hold's line is in use");
		if (hold->leg_count == USH_LEG_COUNT_MAX)
			return bad(r, message, "a hold of too many rows");
		last->next = (uint32_t)r->hold;
		leg->next = USH_HOLD_NONE;
		leg->mask = 0;
		leg->deadline_ns = hold->deadline_ns;
		leg->leg_count = ++hold->leg_count;
		leg->user = r->user;
		leg->event = (uint16_t)r->event;
		leg->pending = 0;
		leg->flags = 0;
		leg->sequence = r->sequence;
	} else if (leg->mask != 0 && leg->row != r->row) {
		return bad(r, message, "the hold's line has seats of another row");
	}
	leg->row = r->row;
	leg->mask |= r->mask;
	leg->amount = r->amount;
	return 0;
}

/* Records of seats given up, then of seats taken. The latter must be free before the former are. */
static int apply_swap(struct ush_state *state, const struct ush_record *records, uint32_t count,
	struct ush_message *message)
{
	const struct ush_record *last = &records[count - 1];
	uint32_t given = 0, seats, taken = 0;
	struct ush_event *event;
	struct ush_hold *hold;
	struct ush_user *user;
	struct ush_row *row;
	int error = find_event(state, records, &event, message);

	if (error == 0)
		error = find_hold(state, records, USH_HOLD_STATE_HELD, &hold, message);
	while (given < count && records[given].state == USH_HOLD_STATE_RELEASED)
		given++;
	if (error == 0 && (given == 0 || given == count))
		error = bad(records, message, "a swap gives some seats and takes others");
	for (uint32_t i = given; i < count && error == 0; i++) {
		if (records[i].state != USH_HOLD_STATE_HELD)
			return bad(&records[i], message, "neither given up nor taken");
		error = find_row(event, &records[i], &row, message);
		if (error == 0)
			error = claim_seats(state, event, &records[i], row, message);
		taken += ush_popcount64(records[i].mask);
	}
	if (error == 0)
		error = cut_legs(
			state, event, hold, records, given, last->sequence, &seats, message);
	for (uint32_t i = given; i < count && error == 0; i++)
		error = join_leg(state, hold, &records[i], message);
	if (error == 0)
		error = enter_user(state, records, &user, message);
	if (error == 0)
		error = give_back(records, event, user, seats, message);
	if (error != 0)
		return error;
	user->seats = (uint16_t)(user->seats + taken);
	enter_state(hold, USH_HOLD_STATE_HELD, last);
	return remember(state, records, user, records->hold, last->sequence, USH_OP_SWAP, message);
}

static int apply_refund_begin(struct ush_state *state, const struct ush_record *records,
	uint32_t count, struct ush_message *message)
{
	struct ush_hold *hold;
	uint32_t mark = 0;
	int error = find_hold(state, records, USH_HOLD_STATE_SOLD, &hold, message);

	if (error != 0)
		return error;
	for (uint32_t i = 0; i < count; i++)
		mark += ush_hold_seats_mark(records[i].row, records[i].mask);
	hold->pending = ush_hold_seats_mark_end(mark);
	enter_state(hold, USH_HOLD_STATE_REFUNDING, &records[count - 1]);
	return 0;
}

static int apply_refund_end(struct ush_state *state, const struct ush_record *records,
	uint32_t count, struct ush_message *message)
{
	const struct ush_record *last = &records[count - 1];
	struct ush_event *event;
	struct ush_hold *hold;
	struct ush_user *user;
	uint32_t seats = 0;
	int error = find_event(state, records, &event, message);

	if (error == 0)
		error = find_hold(state, records, USH_HOLD_STATE_REFUNDING, &hold, message);
	if (error == 0 && records->mask != 0)
		error = cut_legs(
			state, event, hold, records, count, last->sequence, &seats, message);
	if (error == 0)
		error = enter_user(state, records, &user, message);
	if (error == 0)
		error = give_back(records, event, user, seats, message);
	if (error != 0)
		return error;
	ush_event_count_unsold(event, seats);
	hold->pending = 0;
	enter_state(hold, USH_HOLD_STATE_SOLD, last);
	if ((count_seats(state, hold) == 0) != (last->state == USH_HOLD_STATE_REFUNDED))
		return bad(last, message, "the state does not say whether seats are left");
	if (last->state == USH_HOLD_STATE_REFUNDED)
		free_lines(state, hold);
	ush_user_unlock(user);
	return 0;
}

static int apply_transfer(
	struct ush_state *state, const struct ush_record *r, struct ush_message *message)
{
	struct ush_record to = *r;
	struct ush_user *user, *other;
	struct ush_hold *hold;
	uint32_t seats;
	int error = find_hold(state, r, USH_HOLD_STATE_SOLD, &hold, message);

	to.user = r->mask;
	if (error == 0 && r->mask == r->user)
		error = bad(r, message, "a transfer to the same user");
	if (error == 0)
		error = enter_user(state, r, &user, message);
	if (error == 0)
		error = enter_user(state, &to, &other, message);
	if (error != 0)
		return error;
	seats = count_seats(state, hold);
	if (user->seats < seats)
		return bad(r, message, "the user has fewer seats than the hold");
	user->seats = (uint16_t)(user->seats - seats);
	other->seats = (uint16_t)(other->seats + seats);
	for (struct ush_hold *leg = hold;; leg = ush_holds_line(state->holds, leg->next)) {
		leg->user = to.user;
		if (leg->next == USH_HOLD_NONE)
			break;
	}
	enter_state(hold, USH_HOLD_STATE_SOLD, r);
	ush_user_unlock(user);
	ush_user_unlock(other);
	return 0;
}

/* A record of a wait-list, and the answer to the request that caused it. */
static int apply_waiting(struct ush_state *state, const struct ush_record *records, uint32_t count,
	struct ush_message *message)
{
	const struct ush_record *r = &records[0];
	struct ush_user *user;
	int error = apply_wait(state, records, count, message);

	if (error != 0 || r->request_id == 0)
		return error;
	error = enter_user(state, r, &user, message);
	if (error != 0)
		return error;
	return remember(state, r, user, 0, r->sequence, USH_OP_WAIT_LIST, message);
}

/* Every live hold gets the outage back. */
static void apply_resume(struct ush_state *state, const struct ush_record *r)
{
	for (uint32_t i = 1; i < state->holds->count; i++) {
		struct ush_hold *hold = ush_holds_line(state->holds, i);
		uint64_t word = atomic_load_explicit(&hold->word, memory_order_relaxed);
		if (ush_hold_word_state(word) != USH_HOLD_STATE_HELD &&
			ush_hold_word_state(word) != USH_HOLD_STATE_PAYING)
			continue;
		hold->deadline_ns += r->mask;
		hold->sequence = r->sequence;
	}
}

static int apply_time(struct ush_state *state, const struct ush_record *r)
{
	state->time_ns = ush_max64(state->time_ns, r->deadline_ns);
	if (r->type == USH_RECORD_TYPE_RESUME)
		apply_resume(state, r);
	return 0;
}

static int apply_one(struct ush_state *state, const struct ush_record *records, uint32_t count,
	struct ush_message *message)
{
	const struct ush_record *r = &records[0];

	switch (r->type) {
	case USH_RECORD_TYPE_PAD:
		return 0;
	case USH_RECORD_TYPE_OPEN:
	case USH_RECORD_TYPE_CLOSE:
	case USH_RECORD_TYPE_TICK:
	case USH_RECORD_TYPE_RESUME:
		return apply_time(state, r);
	case USH_RECORD_TYPE_EVENT:
		return ush_apply_event(state, r, message);
	case USH_RECORD_TYPE_EVENT_STATUS:
		return ush_apply_event_status(state, r, message);
	case USH_RECORD_TYPE_EVENT_CHANGE:
		return ush_apply_event_change(state, r, message);
	case USH_RECORD_TYPE_HOLD:
	case USH_RECORD_TYPE_OFFER:
	case USH_RECORD_TYPE_LATE:
		return apply_hold(state, records, count, message);
	case USH_RECORD_TYPE_RELEASE:
	case USH_RECORD_TYPE_EXPIRE:
		return apply_end(state, r, USH_HOLD_STATE_HELD, message);
	case USH_RECORD_TYPE_CONFIRM:
		return apply_sold(state, r, USH_HOLD_STATE_HELD, message);
	case USH_RECORD_TYPE_EXTEND:
		return apply_extend(state, r, message);
	case USH_RECORD_TYPE_CUT:
		return apply_cut(state, records, count, message);
	case USH_RECORD_TYPE_SWAP:
		return apply_swap(state, records, count, message);
	case USH_RECORD_TYPE_PAY_BEGIN:
		return apply_pay_begin(state, r, message);
	case USH_RECORD_TYPE_PAY_END:
		return apply_pay_end(state, r, message);
	case USH_RECORD_TYPE_REFUND_BEGIN:
		return apply_refund_begin(state, records, count, message);
	case USH_RECORD_TYPE_TRANSFER:
		return apply_transfer(state, r, message);
	case USH_RECORD_TYPE_REFUND_END:
		return apply_refund_end(state, records, count, message);
	case USH_RECORD_TYPE_BLOCK:
	case USH_RECORD_TYPE_UNBLOCK:
		return ush_apply_house(state, records, count, message);
	case USH_RECORD_TYPE_CHANNEL:
		return ush_apply_channel(state, r, message);
	case USH_RECORD_TYPE_WAIT_JOIN:
	case USH_RECORD_TYPE_WAIT_LEAVE:
	case USH_RECORD_TYPE_WAIT_TURN:
	case USH_RECORD_TYPE_WAIT_OPEN:
		return apply_waiting(state, records, count, message);
	default:
		return apply_room(state, records, count, message);
	}
}

/* Behind the records of the change itself: KEEP, PRICES, USER_TIME. */
static void take_tail(struct ush_state *state, const struct ush_record *records, uint32_t count,
	uint32_t keeps, uint32_t priced, uint32_t timed)
{
	state->applied[USH_RECORD_TYPE_KEEP] += keeps;
	state->applied[USH_RECORD_TYPE_PRICES] += priced;
	state->applied[USH_RECORD_TYPE_USER_TIME] += timed;
	if (priced != 0)
		state->prices = &records[count + keeps];
	state->keep = &records[count];
	state->keep_count = keeps;
	for (uint32_t i = 0; i < keeps; i++)
		state->keep_seats += ush_popcount64(state->keep[i].mask);
}

int ush_apply(struct ush_state *state, const struct ush_record *records, uint32_t count,
	struct ush_message *message)
{
	uint32_t keeps = 0, priced = 0, timed = 0;
	int error;

	USH_ASSERT(count >= 1);
	error = apply_check_run(records, count, &keeps, &priced, &timed, message);
	if (error != 0)
		return error;
	state->prices = NULL;
	state->keep_count = 0;
	state->keep_seats = 0;
	if (ush_unlikely(keeps + priced + timed != 0)) {
		count -= keeps + priced + timed;
		take_tail(state, records, count, keeps, priced, timed);
	}
	state->applied[records->type] += count;
	error = apply_one(state, records, count, message);
	if (error == 0 && state->keep_seats != 0)
		error = bad(records, message, "seats are kept that did not come back");
	if (error == 0)
		error = ush_apply_user_time(state, records,
			timed != 0 ? &records[count + keeps + priced] : NULL, message);
	return error;
}
