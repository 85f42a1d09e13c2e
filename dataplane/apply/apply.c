/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>

#include "apply/apply.h"

static int bad(const struct ush_record *r, struct ush_message *message, const char *what)
{
	ush_message_set(message,
		"journal record %" PRIu64 " (type %u, event %u, hold %016" PRIx64 ", row %u): %s",
		r->sequence, r->type, r->event, r->hold, r->row, what);
	return -USH_ECORRUPT;
}

static int full(const struct ush_record *r, struct ush_message *message, const char *limit)
{
	ush_message_set(message,
		"journal record %" PRIu64
		" does not fit: raise [limits] %s to what it was when the "
		"journal was written",
		r->sequence, limit);
	return -USH_EFULL;
}

static int find_event(const struct ush_state *state, const struct ush_record *r,
	struct ush_event **event, struct ush_message *message)
{
	*event = ush_inventory_event(state->inventory, r->event);
	return *event != NULL ? 0 : bad(r, message, "unknown event");
}

static int find_row(const struct ush_event *event, const struct ush_record *r, struct ush_row **row,
	struct ush_message *message)
{
	if (r->row >= event->row_count)
		return bad(r, message, "no such row");
	*row = &event->rows[r->row];
	if (r->mask == 0 || (r->mask & ~(*row)->seats) != 0)
		return bad(r, message, "no such seat");
	return 0;
}

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
	uint32_t start = ush_hold_id_index(hold) % loops;

	if (r->request_id == 0 || (r->request_id <= line->window_top &&
					  line->window_top - r->request_id >= USH_REQUEST_WINDOW))
		return bad(r, message, "a request id below the user's window");
	for (uint32_t i = 0; i < loops; i++) {
		uint32_t loop = (start + i) % loops;
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

static int apply_hold_leg(struct ush_state *state, struct ush_event *event,
	const struct ush_record *r, struct ush_hold *line, struct ush_message *message)
{
	struct ush_row *row;
	uint64_t way;
	int error = find_row(event, r, &row, message);

	if (error != 0)
		return error;
	if (ush_hold_word_state(atomic_load_explicit(&line->word, memory_order_relaxed)) !=
			USH_HOLD_STATE_FREE ||
		line->leg_count != 0)
		return bad(r, message, "the hold's line is in use");
	if (ush_row_claim(row, r->mask, &way) != USH_CLAIM_WON)
		return bad(r, message, "a seat is held or sold already");
	ush_row_make_firm(row, r->mask);
	ush_event_count_taken(event, 0, ush_popcount64(r->mask));
	line->user = r->user;
	line->mask = r->mask;
	line->deadline_ns = r->deadline_ns;
	line->event = r->event;
	line->row = r->row;
	line->leg_count = r->run_count;
	line->next = USH_HOLD_NONE;
	line->amount = r->amount;
	line->sequence = r->sequence;
	(void)state;
	return 0;
}

static int apply_hold(struct ush_state *state, const struct ush_record *records, uint32_t count,
	struct ush_message *message)
{
	const struct ush_record *r = &records[0];
	uint32_t index = ush_hold_id_check(state->holds, r->hold);
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
	for (uint32_t i = 0; i < count; i++) {
		uint64_t at = i == 0 ? index : records[i].hold;
		if (at == USH_HOLD_NONE || at >= state->holds->count)
			return bad(&records[i], message, "no such hold line");
		struct ush_hold *line = ush_holds_line(state->holds, (uint32_t)at);
		error = apply_hold_leg(state, event, &records[i], line, message);
		if (error != 0)
			return error;
		if (previous != NULL)
			previous->next = (uint32_t)at;
		previous = line;
		seats += ush_popcount64(records[i].mask);
	}
	atomic_store_explicit(&ush_holds_line(state->holds, index)->word,
		ush_hold_word(USH_HOLD_STATE_HELD, 0, 1, ush_hold_id_generation(r->hold)),
		memory_order_relaxed);
	ush_holds_line(state->holds, index)->sequence = records[count - 1].sequence;
	state->live_holds++;
	error = enter_user(state, r, &user, message);
	if (error != 0)
		return error;
	user->seats = (uint16_t)(user->seats + seats);
	return remember(
		state, r, user, r->hold, records[count - 1].sequence, USH_OP_RESERVE, message);
}

/* Finds the HELD hold that a record moves on, and checks that no version is skipped. */
static int find_hold(struct ush_state *state, const struct ush_record *r, struct ush_hold **hold,
	struct ush_message *message)
{
	uint32_t index = ush_hold_id_check(state->holds, r->hold);
	uint64_t word;

	if (index == USH_HOLD_NONE)
		return bad(r, message, "not a hold id of this box");
	*hold = ush_holds_line(state->holds, index);
	word = atomic_load_explicit(&(*hold)->word, memory_order_relaxed);
	if (ush_hold_word_state(word) != USH_HOLD_STATE_HELD)
		return bad(r, message, "the hold is not held");
	if (ush_hold_word_generation(word) != ush_hold_id_generation(r->hold))
		return bad(r, message, "the hold is of another generation");
	if (ush_hold_word_version(word) + 1 != r->version)
		return bad(r, message, "the hold's versions have a gap");
	if ((*hold)->user != r->user || (*hold)->event != r->event)
		return bad(r, message, "the hold is another user's or another event's");
	return 0;
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

/* RELEASE and EXPIRE: the seats are free again. */
static int apply_end(
	struct ush_state *state, const struct ush_record *r, struct ush_message *message)
{
	struct ush_event *event;
	struct ush_hold *hold;
	struct ush_user *user;
	uint32_t seats = 0;
	int error = find_event(state, r, &event, message);

	if (error == 0)
		error = find_hold(state, r, &hold, message);
	if (error == 0)
		error = enter_user(state, r, &user, message);
	if (error != 0)
		return error;
	for (const struct ush_hold *leg = hold;; leg = ush_holds_line(state->holds, leg->next)) {
		ush_row_return(event, &event->rows[leg->row], leg->mask);
		seats += ush_popcount64(leg->mask);
		if (leg->next == USH_HOLD_NONE)
			break;
	}
	ush_event_count_returned(event, 0, seats);
	if (user->seats < seats)
		return bad(r, message, "the user has fewer seats than the hold");
	user->seats = (uint16_t)(user->seats - seats);
	free_lines(state, hold);
	state->live_holds--;
	if (r->type == USH_RECORD_TYPE_RELEASE)
		return remember(state, r, user, r->hold, r->sequence, USH_OP_RELEASE, message);
	ush_user_unlock(user);
	return 0;
}

static int apply_confirm(
	struct ush_state *state, const struct ush_record *r, struct ush_message *message)
{
	struct ush_event *event;
	struct ush_hold *hold;
	uint64_t word;
	uint32_t seats = 0;
	int error = find_event(state, r, &event, message);

	if (error == 0)
		error = find_hold(state, r, &hold, message);
	if (error != 0)
		return error;
	word = atomic_load_explicit(&hold->word, memory_order_relaxed);
	atomic_store_explicit(&hold->word,
		ush_hold_word(USH_HOLD_STATE_SOLD, 0, r->version, ush_hold_word_generation(word)),
		memory_order_relaxed);
	hold->sequence = r->sequence;
	for (const struct ush_hold *leg = hold;; leg = ush_holds_line(state->holds, leg->next)) {
		seats += ush_popcount64(leg->mask);
		if (leg->next == USH_HOLD_NONE)
			break;
	}
	ush_event_count_sold(event, seats, r->sequence);
	state->live_holds--;
	return 0;
}

static int apply_house(struct ush_state *state, const struct ush_record *records, uint32_t count,
	struct ush_message *message)
{
	struct ush_event *event;
	int error = find_event(state, &records[0], &event, message);

	for (uint32_t i = 0; i < count && error == 0; i++) {
		const struct ush_record *r = &records[i];
		struct ush_row *row;
		uint64_t way;

		error = find_row(event, r, &row, message);
		if (error != 0)
			return error;
		if (r->type == USH_RECORD_TYPE_BLOCK) {
			if (ush_row_claim(row, r->mask, &way) != USH_CLAIM_WON)
				return bad(r, message, "a seat to be blocked is not free");
			ush_event_house_add(event, row, r->mask, r->sequence);
		} else {
			if ((r->mask & ~atomic_load_explicit(&row->house, memory_order_relaxed)) !=
				0)
				return bad(r, message, "a seat to be unblocked is not blocked");
			ush_event_house_remove(event, row, r->mask);
		}
	}
	return error;
}

static int apply_event(
	struct ush_state *state, const struct ush_record *r, struct ush_message *message)
{
	struct ush_event *event;
	const void *image;
	size_t image_bytes;
	int error;

	if (ush_inventory_event(state->inventory, r->event) != NULL)
		return bad(r, message, "the event is loaded already");
	if (state->image_find == NULL)
		return bad(r, message, "no venue images at hand");
	error = state->image_find(
		state->image_context, r->event, r->hold, &image, &image_bytes, message);
	if (error == 0)
		error = ush_event_build(
			state->inventory, r->event, image, image_bytes, &event, message);
	if (error != 0)
		return error;
	if (event->digest != r->hold || event->seat_count != r->mask)
		return bad(r, message, "the venue image is not the one that was loaded");
	ush_event_publish(state->inventory, event);
	return 0;
}

/* Every live hold gets the outage back. */
static void apply_resume(struct ush_state *state, const struct ush_record *r)
{
	for (uint32_t i = 1; i < state->holds->count; i++) {
		struct ush_hold *hold = ush_holds_line(state->holds, i);
		uint64_t word = atomic_load_explicit(&hold->word, memory_order_relaxed);
		if (ush_hold_word_state(word) != USH_HOLD_STATE_HELD)
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

static int apply_event_status(
	struct ush_state *state, const struct ush_record *r, struct ush_message *message)
{
	struct ush_event *event;
	int error = find_event(state, r, &event, message);

	if (error != 0)
		return error;
	if (r->state < USH_EVENT_STATUS_DRAFT || r->state > USH_EVENT_STATUS_CLOSED)
		return bad(r, message, "unknown event status");
	atomic_store_explicit(&event->status, r->state, memory_order_relaxed);
	return 0;
}

static int check_run(const struct ush_record *records, uint32_t count, struct ush_message *message)
{
	const struct ush_record *r = &records[0];

	if (r->type == 0 || r->type >= USH_RECORD_TYPE_COUNT)
		return bad(r, message, "unknown record type");
	for (uint32_t i = 0; i < count; i++) {
		if (records[i].run_index != i || records[i].run_count != count ||
			records[i].type != r->type || records[i].event != r->event)
			return bad(&records[i], message, "a run is not whole");
	}
	if (count > 1 && r->type != USH_RECORD_TYPE_HOLD && r->type != USH_RECORD_TYPE_BLOCK &&
		r->type != USH_RECORD_TYPE_UNBLOCK)
		return bad(r, message, "a run of a type that has no legs");
	return 0;
}

int ush_apply(struct ush_state *state, const struct ush_record *records, uint32_t count,
	struct ush_message *message)
{
	const struct ush_record *r = &records[0];
	int error;

	USH_ASSERT(count >= 1);
	error = check_run(records, count, message);
	if (error != 0)
		return error;
	state->applied[r->type] += count;
	switch (r->type) {
	case USH_RECORD_TYPE_PAD:
		return 0;
	case USH_RECORD_TYPE_OPEN:
	case USH_RECORD_TYPE_CLOSE:
	case USH_RECORD_TYPE_TICK:
	case USH_RECORD_TYPE_RESUME:
		return apply_time(state, r);
	case USH_RECORD_TYPE_EVENT:
		return apply_event(state, r, message);
	case USH_RECORD_TYPE_EVENT_STATUS:
		return apply_event_status(state, r, message);
	case USH_RECORD_TYPE_HOLD:
		return apply_hold(state, records, count, message);
	case USH_RECORD_TYPE_RELEASE:
	case USH_RECORD_TYPE_EXPIRE:
		return apply_end(state, r, message);
	case USH_RECORD_TYPE_CONFIRM:
		return apply_confirm(state, r, message);
	case USH_RECORD_TYPE_BLOCK:
	case USH_RECORD_TYPE_UNBLOCK:
		return apply_house(state, records, count, message);
	default:
		return bad(r, message, "unknown record type");
	}
}
