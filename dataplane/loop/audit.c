/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The state against itself, counted anew from the holds: simpler than the code it checks.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "loop/internal.h"

struct audit {
	struct ush_engine *engine;
	struct ush_engine_audit *sum;
	struct ush_message *message;
	/* One word per row of the arena being looked at: seats found in holds. */
	uint64_t **covered;
	/* Seats found in holds, by user line. */
	uint32_t *user_seats;
};

static int contradiction(struct audit *audit, const char *what, uint64_t a, uint64_t b)
{
	ush_message_set(audit->message, "audit: %s (%" PRIu64 ", %" PRIu64 ")", what, a, b);
	return -USH_ECORRUPT;
}

static int audit_leg(struct audit *audit, const struct ush_hold *first, const struct ush_hold *leg)
{
	const struct ush_event *event =
		ush_inventory_event(&audit->engine->inventory, first->event);
	const struct ush_row *row;
	uint64_t *covered;

	if (event == NULL)
		return contradiction(audit, "a hold of an unknown event", first->event, 0);
	if (leg->row >= ush_event_row_count(event))
		return contradiction(audit, "a hold of an unknown row", first->event, leg->row);
	row = ush_event_row(event, leg->row);
	covered = &audit->covered[first->event][leg->row];
	if ((leg->mask & *covered) != 0) {
		audit->sum->double_sold += ush_popcount64(leg->mask & *covered);
		return contradiction(
			audit, "a seat in two holds: event, row", first->event, leg->row);
	}
	*covered |= leg->mask;
	if ((leg->mask & atomic_load(&row->free)) != 0)
		return contradiction(
			audit, "a seat held and free: event, row", first->event, leg->row);
	return 0;
}

static int audit_hold(struct audit *audit, uint32_t index)
{
	struct ush_holds *holds = &audit->engine->holds;
	struct ush_users *users = &audit->engine->users;
	const struct ush_hold *first = ush_holds_line(holds, index);
	uint32_t state = ush_hold_word_state(atomic_load(&first->word));
	struct ush_user *user = NULL;
	uint32_t seats = 0;
	uint64_t amount = 0;

	bool held = state == USH_HOLD_STATE_HELD || state == USH_HOLD_STATE_PAYING;

	if (!held && state != USH_HOLD_STATE_SOLD && state != USH_HOLD_STATE_REFUNDING)
		return 0;
	for (const struct ush_hold *leg = first;; leg = ush_holds_line(holds, leg->next)) {
		int error = audit_leg(audit, first, leg);
		if (error != 0)
			return error;
		seats += ush_popcount64(leg->mask);
		amount += leg->amount;
		if (leg->next == USH_HOLD_NONE)
			break;
	}
	if (held) {
		audit->sum->held_holds++;
		audit->sum->held_seats += seats;
		audit->sum->held_amount += amount;
	} else {
		audit->sum->sold_holds++;
		audit->sum->sold_seats += seats;
		audit->sum->sold_amount += amount;
	}
	if (ush_user_find(users, ush_user_hash(users, first->user, first->event), first->user,
		    first->event, 0, 0, &user) != USH_USER_OK)
		return contradiction(audit, "a hold of an unknown user", first->user, index);
	audit->user_seats[user - users->lines] += seats;
	ush_user_unlock(user);
	return 0;
}

static int audit_event(struct audit *audit, const struct ush_event *event)
{
	uint64_t free = 0, house = 0, aside = 0;

	for (uint32_t i = 0; i < ush_event_row_count(event); i++) {
		const struct ush_row *row = ush_event_row(event, i);
		uint64_t covered = audit->covered[event->id][i];
		uint64_t row_free = atomic_load(&row->free), row_house = atomic_load(&row->house);
		if (atomic_load(&row->firm) != covered)
			return contradiction(
				audit, "taken seats are not those of the holds", event->id, i);
		if ((row_free & row_house) != 0 || (covered & row_house) != 0 ||
			(row_free | row_house | covered) != row->seats)
			return contradiction(audit, "seats are not conserved", event->id, i);
		uint64_t claimable, channels = ush_channel_seats(
					    &audit->engine->channels, event->id, i, &claimable);
		if ((channels & row_free) != 0 || claimable != (channels & row_house))
			return contradiction(audit,
				"seats of a channel are free for all, or for nobody", event->id, i);
		if ((ush_aside_seats(event, i) & ~(row_house & ~channels)) != 0)
			return contradiction(
				audit, "seats set aside are not off sale", event->id, i);
		if (ush_aside_seats(event, i) != ush_aside_marks(event, i))
			return contradiction(
				audit, "seats marked as set aside are not", event->id, i);
		aside += ush_popcount64(ush_aside_seats(event, i));
		free += ush_popcount64(row_free);
		house += ush_popcount64(row_house);
	}
	if (!ush_best_is_safe(event))
		return contradiction(audit, "the index denies free seats", event->id, 0);
	if (house != atomic_load(&event->house_count))
		return contradiction(audit, "house seats miscounted", event->id, house);
	if (free != ush_event_free_count(event))
		return contradiction(
			audit, "free seats miscounted", free, ush_event_free_count(event));
	if (aside != ush_aside_count(event))
		return contradiction(audit, "seats set aside are miscounted", event->id, aside);
	audit->sum->events++;
	audit->sum->seats += ush_event_seat_count(event);
	audit->sum->free_seats += free;
	audit->sum->house_seats += house;
	return 0;
}

static int audit_users(struct audit *audit)
{
	const struct ush_users *users = &audit->engine->users;

	for (uint32_t i = 0; i < users->count; i++) {
		const struct ush_user *line = &users->lines[i];
		uint64_t lock = atomic_load(&line->lock);
		if (lock == USH_USER_EMPTY)
			continue;
		audit->sum->users++;
		audit->sum->seat_seconds += ush_user_time(users, line)->held_s;
		if (lock != USH_USER_IDLE)
			return contradiction(
				audit, "a user line is locked", atomic_load(&line->user), lock);
		if (line->seats != audit->user_seats[i])
			return contradiction(audit, "a user's seats are miscounted",
				atomic_load(&line->user), line->seats);
	}
	return 0;
}

/* Lists and entries. */
static int audit_waits(struct audit *audit)
{
	const struct ush_waits *waits = &audit->engine->waits;
	uint32_t used = 0, listed = 0;

	for (uint32_t i = 0; ush_waits_on(waits) && i <= waits->mask; i++) {
		const struct ush_wait *wait = &waits->entries[i];
		uint32_t event = atomic_load(&wait->event);

		if (event == 0)
			continue;
		used++;
		listed += wait->state == USH_WAIT_LISTED;
		if (wait->state == USH_WAIT_OFFERED) {
			const struct ush_hold *hold = ush_holds_line(
				&audit->engine->holds, ush_hold_id_index(wait->hold));
			if (hold->user != atomic_load(&wait->user) || hold->event != event ||
				(hold->flags & USH_HOLD_OFFER) == 0)
				return contradiction(
					audit, "an offer without its hold", event, hold->user);
		}
	}
	for (uint32_t id = 1; ush_waits_on(waits) && id <= USH_EVENT_ID_MAX; id++) {
		const struct ush_wait_list *list = ush_wait_list(waits, id);
		uint32_t count = 0, place = 0;

		for (uint32_t at = list->head; at != USH_WAIT_NONE;
			at = ush_wait_at(waits, at)->next) {
			count++;
			if (ush_wait_at(waits, at)->place <= place)
				return contradiction(audit, "a wait-list out of order", id, place);
			place = ush_wait_at(waits, at)->place;
		}
		if (count != atomic_load(&list->count) || count > listed)
			return contradiction(audit, "those who wait are miscounted", id, count);
		listed -= count;
	}
	return listed == 0 && (!ush_waits_on(waits) || used == atomic_load(&waits->used))
		       ? 0
		       : contradiction(audit, "entries of wait-lists are lost", listed, used);
}

static int audit_all(struct audit *audit)
{
	struct ush_engine *engine = audit->engine;
	int error = 0;

	for (uint32_t id = 1; id <= USH_EVENT_ID_MAX; id++) {
		const struct ush_event *event = ush_inventory_event(&engine->inventory, id);
		if (event == NULL)
			continue;
		audit->covered[id] = calloc(ush_event_row_count(event), sizeof(uint64_t));
		if (audit->covered[id] == NULL)
			return -USH_ENOMEM;
	}
	for (uint32_t i = 1; i < engine->holds.count && error == 0; i++)
		error = audit_hold(audit, i);
	for (uint32_t id = 1; id <= USH_EVENT_ID_MAX && error == 0; id++) {
		if (audit->covered[id] != NULL)
			error = audit_event(audit, ush_inventory_event(&engine->inventory, id));
	}
	if (error == 0)
		error = audit_users(audit);
	if (error == 0)
		error = audit_waits(audit);
	if (error == 0 && audit->sum->seats != audit->sum->free_seats + audit->sum->house_seats +
						       audit->sum->held_seats +
						       audit->sum->sold_seats)
		error = contradiction(
			audit, "the sums of seats do not agree", audit->sum->seats, 0);
	return error;
}

int ush_engine_audit(
	struct ush_engine *engine, struct ush_engine_audit *sum, struct ush_message *message)
{
	struct audit audit = {.engine = engine, .sum = sum, .message = message};
	int error = -USH_ENOMEM;

	*sum = (struct ush_engine_audit){0};
	audit.covered = calloc(USH_EVENT_ID_MAX + 1u, sizeof(*audit.covered));
	audit.user_seats = calloc(engine->users.count, sizeof(*audit.user_seats));
	if (audit.covered != NULL && audit.user_seats != NULL)
		error = audit_all(&audit);
	if (error == -USH_ENOMEM)
		ush_message_set(message, "audit: out of memory");
	for (uint32_t id = 0; audit.covered != NULL && id <= USH_EVENT_ID_MAX; id++)
		free(audit.covered[id]);
	free(audit.covered);
	free(audit.user_seats);
	return error;
}

uint32_t ush_engine_hold_state(const struct ush_engine *engine, uint64_t hold)
{
	uint32_t index = ush_hold_id_check(&engine->holds, hold);
	uint64_t word;

	if (index == USH_HOLD_NONE)
		return USH_HOLD_STATE_FREE;
	word = atomic_load(&ush_holds_line(&engine->holds, index)->word);
	if (ush_hold_word_generation(word) != ush_hold_id_generation(hold))
		return USH_HOLD_STATE_FREE;
	return ush_hold_word_state(word);
}
