/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SWAP: a hold gives some seats up and takes others, all or nothing.
 *
 * Happy path: the user's line is locked, the hold is HELD and has the seats to be given up; the
 * others are claimed as RESERVE does; one run of records names both; the old seats are free once it
 * has its slots. Rows the hold empties lend their lines to rows that it takes.
 *
 * Failure modes: what RESERVE answers, and CHANGED; nothing is claimed and the hold is as it was.
 */
#include <string.h>

#include "loop/internal.h"

/* A swap being decided. */
struct swap {
	struct ush_event *event;
	struct ush_user *user;
	struct ush_hold *hold;
	uint32_t index;
	uint32_t channel;
	struct decide_named given;
	struct decide_legs taken;
	/* Lines that the hold needs beyond those it has. */
	uint32_t lines;
	/* Rows that it has seats in afterwards. */
	uint32_t rows;
};

/* ret: what a leg keeps of its seats when those named are given up. */
static uint64_t kept_of(const struct ush_hold *leg, const struct decide_named *given)
{
	for (uint32_t i = 0; i < given->count; i++) {
		if (given->row[i] == leg->row)
			return leg->mask & ~given->mask[i];
	}
	return leg->mask;
}

/* ret: true if the request takes seats of a row. */
static bool takes_of(const struct ush_admitted *admitted, uint32_t row)
{
	uint16_t taken;
	uint64_t mask;

	for (uint32_t i = 0; i < admitted->leg_count; i++) {
		ush_admit_leg(admitted, i, &taken, &mask);
		if (taken == row)
			return true;
	}
	return false;
}

/* ret: true if the line has no seats once the swap is done. */
static bool is_left_empty(
	const struct ush_admitted *admitted, const struct swap *swap, const struct ush_hold *leg)
{
	if (leg->mask == 0)
		return true;
	return kept_of(leg, &swap->given) == 0 && !takes_of(admitted, leg->row);
}

/* ret: true if the hold has all the seats to be given up; out: those, and the lines and rows. */
static bool read_swap(
	const struct ush_holds *holds, const struct ush_admitted *admitted, struct swap *swap)
{
	uint32_t empty = 0, fresh = 0;

	swap->given.count = admitted->give_count;
	for (uint32_t i = 0; i < swap->given.count; i++) {
		const struct ush_hold *leg;

		ush_admit_give(admitted, i, &swap->given.row[i], &swap->given.mask[i]);
		leg = decide_leg_of(holds, swap->hold, swap->given.row[i]);
		if (leg == NULL || (swap->given.mask[i] & ~leg->mask) != 0)
			return false;
	}
	swap->rows = 0;
	for (const struct ush_hold *leg = swap->hold;; leg = ush_holds_line(holds, leg->next)) {
		if (is_left_empty(admitted, swap, leg))
			empty++;
		else
			swap->rows++;
		if (leg->next == USH_HOLD_NONE)
			break;
	}
	for (uint32_t i = 0; i < admitted->leg_count; i++) {
		uint64_t mask;
		uint16_t row;

		ush_admit_leg(admitted, i, &row, &mask);
		fresh += decide_leg_of(holds, swap->hold, row) == NULL;
	}
	swap->rows += fresh;
	swap->lines = fresh > empty ? fresh - empty : 0;
	return true;
}

/* ret: the line for seats of a row that the hold has none of: an empty one from *next on, or new.
 */
static uint32_t line_for(struct ush_loop *loop, const struct ush_admitted *admitted,
	const struct swap *swap, uint32_t *next)
{
	const struct ush_holds *holds = &loop->engine->holds;

	while (*next != USH_HOLD_NONE) {
		uint32_t line = *next;

		*next = ush_holds_line(holds, line)->next;
		if (is_left_empty(admitted, swap, ush_holds_line(holds, line)))
			return line;
	}
	return ush_hold_take_leg(loop->pool);
}

/* Adds the records of the seats that are taken. ret: their price. */
static uint64_t take_seats(struct ush_loop *loop, const struct ush_admitted *admitted,
	const struct swap *swap, struct act *act)
{
	const struct ush_holds *holds = &loop->engine->holds;
	const struct ush_record first = loop->records[act->record_first];
	const struct ush_prices *prices = decide_prices(loop, act->event, swap->index);
	uint32_t next = swap->index;
	uint64_t total = 0;

	for (uint32_t i = 0; i < swap->taken.count; i++) {
		uint16_t row = swap->taken.row[i];
		uint64_t mask = swap->taken.mask[i];
		const struct ush_hold *leg = decide_leg_of(holds, swap->hold, row);
		struct ush_record *record = loop_act_record(loop, act);
		uint64_t price = ush_price(prices, ush_event_row(act->event, row), mask);
		uint32_t kept = leg != NULL ? leg->amount : 0;

		for (uint32_t k = 0; k < swap->given.count; k++) {
			if (swap->given.row[k] == row)
				kept = loop->records[act->record_first + k].amount;
		}
		record->type = USH_RECORD_TYPE_SWAP;
		record->state = USH_HOLD_STATE_HELD;
		record->event = first.event;
		record->user = first.user;
		record->hold = leg != NULL ? (uint32_t)(leg - holds->lines)
					   : line_for(loop, admitted, swap, &next);
		record->mask = mask;
		record->row = row;
		record->version = first.version;
		record->amount = kept + (uint32_t)price;
		record->deadline_ns = first.deadline_ns;
		total += price;
	}
	act->take_count = (uint16_t)swap->taken.count;
	act->seats_taken = (uint16_t)swap->taken.seats;
	return total;
}

/* The seats are claimed. */
static void grant_swap(struct ush_loop *loop, struct ush_packet *packet,
	const struct ush_admitted *admitted, struct swap *swap)
{
	const struct ush_request *request = &admitted->request;
	struct ush_engine *engine = loop->engine;
	struct ush_reply reply;
	struct act *act;

	ush_admit_reply(&reply, request, USH_STATUS_OK);
	decide_describe(engine, swap->index, &reply);
	act = decide_transition(loop, ACT_SWAP, swap->index, swap->user, swap->given.count);
	if (act == NULL) {
		decide_unclaim(loop, &swap->taken, swap->event, swap->channel);
		decide_answer_unlocked(loop, packet, admitted, swap->user, USH_STATUS_RETRY);
		return;
	}
	reply.amount -= decide_name_seats(loop, act, swap->hold, &swap->given, true);
	reply.amount += take_seats(loop, admitted, swap, act);
	reply.hold_version++;
	for (uint32_t i = 0; i < act->record_count; i++) {
		struct ush_record *record = &loop->records[act->record_first + i];

		if (i < swap->given.count)
			record->state = USH_HOLD_STATE_RELEASED;
		record->request_id = request->request_id;
		record->digest = admitted->digest;
	}
	decide_reply(act, packet, &reply);
	act->answer = ush_user_accept(&engine->users, swap->user, loop->index, request->request_id,
		admitted->digest, USH_OP_SWAP);
	act->answer->hold = request->hold;
	loop_act_done(loop, act);
}

/* The hold is held and its seats to be given up are there: claims the others. */
static void try_swap(struct ush_loop *loop, struct ush_packet *packet,
	const struct ush_admitted *admitted, struct swap *swap)
{
	struct ush_best_legs given = {.count = swap->given.count};
	uint32_t seats = swap->user->seats - decide_named_seats(&swap->given), place = 0;
	struct ush_reply reply;
	enum ush_status status;
	uint64_t way = 0;

	for (uint32_t i = 0; i < admitted->leg_count; i++) {
		uint64_t mask;
		uint16_t row;

		ush_admit_leg(admitted, i, &row, &mask);
		seats += ush_popcount64(mask);
	}
	memcpy(given.row, swap->given.row, sizeof(given.row));
	memcpy(given.mask, swap->given.mask, sizeof(given.mask));
	status = USH_STATUS_LIMIT;
	if (ush_unlikely(ush_event_is_timed(swap->event)) && seats <= swap->event->user_seats_max &&
		!decide_time_swap(loop, swap->event, swap->user,
			seats + decide_named_seats(&swap->given) - swap->user->seats,
			decide_named_seats(&swap->given), swap->hold->deadline_ns, &place))
		status = USH_STATUS_HOLD_BUDGET;
	else if (seats <= swap->event->user_seats_max)
		status = decide_claim_named(loop, admitted, swap->event, swap->channel, &given,
			&swap->taken, &place, &way);
	if (status == USH_STATUS_OK) {
		grant_swap(loop, packet, admitted, swap);
		return;
	}
	ush_admit_reply(&reply, &admitted->request, status);
	reply.detail = status == USH_STATUS_LIMIT ? swap->event->user_seats_max : place;
	if (status == USH_STATUS_NO_SUCH_SEAT || status == USH_STATUS_ORPHAN ||
		status == USH_STATUS_HOLD_BUDGET) {
		if (status == USH_STATUS_ORPHAN)
			reply.hold = way;
		ush_user_unlock(swap->user);
		loop_reply_now(loop, packet, &reply);
		return;
	}
	if (status != USH_STATUS_LIMIT)
		reply.hold = way;
	decide_refuse_done(loop, packet, admitted, swap->user, &reply);
}

/* ret: OK, or why the hold cannot be swapped as asked, *detail with it. */
static enum ush_status may_swap(struct ush_loop *loop, const struct swap *swap, uint32_t *detail)
{
	*detail = atomic_load_explicit(&swap->event->status, memory_order_acquire);
	if (*detail != USH_EVENT_STATUS_ON_SALE)
		return USH_STATUS_NOT_ON_SALE;
	*detail = USH_FAULT_LEG_COUNT;
	if (swap->rows > USH_LEG_COUNT_MAX)
		return USH_STATUS_BAD_REQUEST;
	*detail = 0;
	/* It takes seats, so it waits for room as new holds do. */
	if (!loop->room_new || loop->pool->free_count < swap->lines)
		return USH_STATUS_BUSY;
	return USH_STATUS_OK;
}

void decide_swap(
	struct ush_loop *loop, struct ush_packet *packet, const struct ush_admitted *admitted)
{
	struct ush_engine *engine = loop->engine;
	enum ush_status status;
	struct swap swap;
	uint32_t detail;

	swap.event = ush_inventory_event(&engine->inventory, admitted->request.event);
	swap.channel = admitted->channel;
	if (admitted->give_count == 0) {
		loop_refuse(loop, packet, admitted, USH_STATUS_BAD_REQUEST, USH_FAULT_EXTENSION);
		return;
	}
	swap.hold = decide_open_hold(loop, packet, admitted, true, &swap.user, &swap.index);
	if (swap.hold == NULL)
		return;
	/* After the repeat: a key that was replaced since does not undo what it bought. */
	if (!decide_channel(loop, admitted, swap.event)) {
		decide_answer_unlocked(loop, packet, admitted, swap.user, USH_STATUS_CHANNEL);
		return;
	}
	if (ush_hold_word_state(atomic_load_explicit(&swap.hold->word, memory_order_acquire)) !=
		USH_HOLD_STATE_HELD) {
		decide_answer_state(
			loop, packet, admitted, swap.user, swap.index, USH_STATUS_WRONG_STATE);
		return;
	}
	if (loop->now_ns >= swap.hold->deadline_ns) {
		decide_expire_and_answer(loop, packet, admitted, swap.user, swap.index);
		return;
	}
	if (!read_swap(&engine->holds, admitted, &swap)) {
		decide_answer_state(
			loop, packet, admitted, swap.user, swap.index, USH_STATUS_CHANGED);
		return;
	}
	status = may_swap(loop, &swap, &detail);
	if (status != USH_STATUS_OK) {
		ush_user_unlock(swap.user);
		loop_refuse(loop, packet, admitted, status, detail);
		return;
	}
	try_swap(loop, packet, admitted, &swap);
}
