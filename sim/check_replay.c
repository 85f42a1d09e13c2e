/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Replay gives the same state: at rest a fresh engine made from the journal has, bit for bit, the
 * rows, holds, users, answers and events of the live one; after a start the engine has those of the
 * ledger.
 */
#include "check.h"

static bool same_rows(struct sim *sim, const struct ush_event *a, const struct ush_event *b)
{
	if (atomic_load(&a->status) != atomic_load(&b->status) ||
		atomic_load(&a->sold_count) != atomic_load(&b->sold_count) ||
		atomic_load(&a->house_count) != atomic_load(&b->house_count) ||
		ush_event_digest(a) != ush_event_digest(b) ||
		ush_event_prices(a)->number != ush_event_prices(b)->number ||
		ush_event_row_count(a) != ush_event_row_count(b) ||
		ush_event_free_count(a) != ush_event_free_count(b)) {
		sim_fail(sim, "replay", "event %u: status or counts differ", a->id);
		return false;
	}
	for (uint32_t i = 0; i < ush_event_row_count(a); i++) {
		if (memcmp(ush_event_row(a, i), ush_event_row(b, i), sizeof(struct ush_row)) == 0)
			continue;
		sim_fail(sim, "replay", "event %u row %u differs", a->id, i);
		return false;
	}
	return true;
}

static bool is_live(uint64_t word)
{
	const uint32_t live = 1u << USH_HOLD_STATE_HELD | 1u << USH_HOLD_STATE_PAYING |
			      1u << USH_HOLD_STATE_SOLD | 1u << USH_HOLD_STATE_REFUNDING;

	return (live & 1u << ush_hold_word_state(word)) != 0;
}

/* Who waits, in order, and what is set aside. */
static bool same_list(const struct ush_engine *live, const struct ush_engine *fresh,
	const struct ush_event *event)
{
	const struct ush_event *other = ush_inventory_event(&fresh->inventory, event->id);
	const struct ush_wait_list *a = ush_wait_list(&live->waits, event->id);
	const struct ush_wait_list *b = ush_wait_list(&fresh->waits, event->id);
	uint32_t x = a->head, y = b->head;

	for (uint32_t i = 0; i < ush_event_row_count(event); i++) {
		if (ush_aside_seats(event, i) != ush_aside_seats(other, i))
			return false;
	}
	while (x != USH_WAIT_NONE && y != USH_WAIT_NONE) {
		const struct ush_wait *one = ush_wait_at(&live->waits, x);
		const struct ush_wait *two = ush_wait_at(&fresh->waits, y);

		if (one->user != two->user || one->place != two->place ||
			one->seats != two->seats || one->tier != two->tier ||
			one->sequence != two->sequence || one->request_id != two->request_id)
			return false;
		x = one->next;
		y = two->next;
	}
	return x == y && a->last_place == b->last_place && a->loose == b->loose;
}

/* ret: true if the lines and all their legs agree but for owner and wheel. */
static bool same_hold(const struct ush_engine *live, const struct ush_engine *fresh, uint32_t index)
{
	const uint64_t owner = 0xff00;
	const struct ush_hold *a = ush_holds_line(&live->holds, index);
	const struct ush_hold *b = ush_holds_line(&fresh->holds, index);
	uint64_t wa = atomic_load(&a->word), wb = atomic_load(&b->word);

	if (!is_live(wa) && !is_live(wb))
		return true;
	if ((wa & ~owner) != (wb & ~owner) || a->sequence != b->sequence || a->user != b->user ||
		a->event != b->event || a->deadline_ns != b->deadline_ns ||
		a->pending != b->pending || a->flags != b->flags ||
		ush_holds_prices(&live->holds, index) != ush_holds_prices(&fresh->holds, index))
		return false;
	for (;;) {
		if (a->mask != b->mask || a->row != b->row || a->amount != b->amount ||
			a->next != b->next)
			return false;
		if (a->next == USH_HOLD_NONE)
			return true;
		b = ush_holds_line(&fresh->holds, b->next);
		a = ush_holds_line(&live->holds, a->next);
	}
}

static bool same_times(struct ush_engine *const engine[2], struct ush_user *const line[2])
{
	const struct ush_user_time *one = ush_user_time(&engine[0]->users, line[0]);
	const struct ush_user_time *two = ush_user_time(&engine[1]->users, line[1]);

	return one->held_s == two->held_s && one->cool_until_ns == two->cool_until_ns;
}

static bool same_user(struct sim *sim, struct ush_engine *fresh, uint32_t event, uint64_t user)
{
	struct ush_user *line[2] = {NULL, NULL};
	struct ush_engine *engine[2] = {sim->engine, fresh};
	bool same = true;

	for (int i = 0; i < 2; i++) {
		struct ush_users *users = &engine[i]->users;

		if (ush_user_find(users, ush_user_hash(users, user, event), user, event, 0, 0,
			    &line[i]) != USH_USER_OK)
			line[i] = NULL;
		if (line[i] != NULL)
			ush_user_unlock(line[i]);
	}
	/* A line with nothing in it may have been given away, or never have been logged. */
	if (line[0] == NULL || line[1] == NULL) {
		const struct ush_user *one = line[0] != NULL ? line[0] : line[1];
		return one == NULL || (one->seats == 0 && one->answer_count == 0);
	}
	same = line[0]->seats == line[1]->seats && line[0]->answer_count == line[1]->answer_count &&
	       same_times(engine, line);
	for (uint32_t a = ush_user_newest(line[0]), b = ush_user_newest(line[1]),
		      n = line[0]->answer_count;
		same && n > 0; n--) {
		const struct ush_accepted *x = &sim->engine->users.answers[a];
		const struct ush_accepted *y = &fresh->users.answers[b];

		same = x->request_id == y->request_id && x->digest == y->digest &&
		       x->hold == y->hold && x->sequence == y->sequence && x->op == y->op;
		a = x->next;
		b = y->next;
	}
	return same;
}

/* ret: true if both have a user in the same place, and know the same of its number. */
static bool same_guest(const struct ush_queue *a, const struct ush_queue *b, uint64_t user)
{
	struct ush_room_place one, two;
	enum ush_room_result x = ush_room_find(&a->room, ush_queue_hash(a, user), user, &one);
	enum ush_room_result y = ush_room_find(&b->room, ush_queue_hash(b, user), user, &two);

	if (x != y || x != USH_ROOM_ALREADY)
		return x == y && x == USH_ROOM_ABSENT;
	return one.tier == two.tier && one.number == two.number;
}

static bool same_room(const struct ush_engine *live, const struct ush_engine *fresh, uint32_t event)
{
	const struct ush_queue *a = ush_rooms_find(&live->rooms, event);
	const struct ush_queue *b = ush_rooms_find(&fresh->rooms, event);
	uint32_t counts[2][USH_ROOM_TIERS + 1];

	if (a == NULL || b == NULL)
		return a == b;
	if (ush_queue_phase(a) != ush_queue_phase(b) || a->bound != b->bound ||
		atomic_load(&a->cap) != atomic_load(&b->cap) ||
		atomic_load(&a->paused) != atomic_load(&b->paused) ||
		atomic_load(&a->key_state) != atomic_load(&b->key_state) ||
		atomic_load(&a->exchanged) != atomic_load(&b->exchanged) ||
		a->visit_count != b->visit_count ||
		memcmp(&a->opened, &b->opened, sizeof(a->opened)) != 0 ||
		(ush_queue_phase(a) == USH_ROOM_PHASE_SERVING &&
			memcmp(&a->drawn, &b->drawn, sizeof(a->drawn)) != 0))
		return false;
	if (ush_room_counts(&a->room, counts[0]) != 0 ||
		ush_room_counts(&b->room, counts[1]) != 0 ||
		memcmp(counts[0], counts[1], sizeof(counts[0])) != 0)
		return false;
	for (uint64_t user = 1; user <= SIM_GUESTS_MAX; user++) {
		if (!same_guest(a, b, user))
			return false;
	}
	for (uint32_t number = 0; number < a->visit_count; number++) {
		if (ush_visit(a, number) != ush_visit(b, number))
			return false;
	}
	for (uint64_t device = 1; device <= SIM_DEVICES; device++) {
		if (ush_devices_count(&live->devices, event, device) !=
			ush_devices_count(&fresh->devices, event, device))
			return false;
	}
	return true;
}

static void quiet(struct sim *sim)
{
	struct ush_message message = {{0}};
	struct ush_engine *fresh;
	int error;

	/* Dear, and a disk that lies is judged at the start. */
	if (sim->bad_block != UINT64_MAX || (!sim->disk_is_prompt && sim->step % 4 != 0))
		return;
	error = sim_box_replay(sim, &fresh, &message);
	/* The power went meanwhile. */
	if (fake_disk_is_cut(sim->fake))
		return;
	if (error != 0) {
		sim_fail(sim, "replay", "the journal cannot be replayed: %s", message.text);
		return;
	}
	for (uint32_t id = 1; id <= sim->config.events; id++) {
		const struct ush_event *a = ush_inventory_event(&sim->engine->inventory, id);
		const struct ush_event *b = ush_inventory_event(&fresh->inventory, id);

		if ((a == NULL) != (b == NULL))
			sim_fail(sim, "replay", "event %u is in one of the two", id);
		else if (a != NULL && !same_rows(sim, a, b))
			return;
		else if (a != NULL && !same_list(sim->engine, fresh, a))
			sim_fail(sim, "replay", "event %u: the wait-list differs", id);
		if (sim->config.guests != 0 && !same_room(sim->engine, fresh, id))
			sim_fail(sim, "replay", "event %u: the waiting room differs", id);
		for (uint64_t user = 1; user <= sim->config.users; user++) {
			if (!same_user(sim, fresh, id, user))
				sim_fail(sim, "replay", "event %u: user %" PRIu64 " differs", id,
					user);
		}
	}
	for (uint32_t i = 1; i < sim->config.hold_lines; i++) {
		if (!same_hold(sim->engine, fresh, i))
			sim_fail(sim, "replay", "hold line %u differs", i);
	}
}

/* ret: true if the line and its legs say what the ledger says. */
static bool same_as_booked(
	const struct ush_holds *holds, const struct ush_hold *line, const struct ledger_hold *hold)
{
	bool before_sale =
		hold->state == USH_HOLD_STATE_HELD || hold->state == USH_HOLD_STATE_PAYING;

	if (line->user != hold->user || line->event != hold->event ||
		line->deadline_ns != hold->deadline_ns || line->sequence != hold->sequence ||
		line->leg_count != hold->legs ||
		ush_hold_word_version(atomic_load(&line->word)) != hold->version ||
		((line->flags & USH_HOLD_EXTENDED) != 0) != hold->extended ||
		(before_sale && line->pending != hold->attempts))
		return false;
	for (uint32_t i = 0; i < hold->legs; i++, line = ush_holds_line(holds, line->next)) {
		if (line->row != hold->row[i] || line->mask != hold->mask[i] ||
			line->amount != hold->leg_amount[i])
			return false;
	}
	return true;
}

static bool same_channels(struct sim *sim, uint32_t id, const struct ush_event *event)
{
	const struct ledger *ledger = &sim->ledger;

	for (uint32_t c = 1; c <= SIM_CHANNELS; c++) {
		if (ledger->event[id].channel_key[c] != atomic_load(&event->channel_key[c]))
			return false;
		for (uint32_t i = 0; i < ush_event_row_count(event); i++) {
			const struct ush_channel_row *row =
				ush_channel_find(&sim->engine->channels, id, i, c);

			if ((row != NULL ? atomic_load(&row->seats) : 0) !=
				ledger_channel(ledger, id, i, c))
				return false;
		}
	}
	return true;
}

/* Who waits, in order and for what, and which seats are set aside. */
static bool same_waits(struct sim *sim, uint32_t id, const struct ush_event *event)
{
	const struct ledger_event *booked = &sim->ledger.event[id];
	const struct ush_waits *waits = &sim->engine->waits;
	const struct ush_wait_list *list = ush_wait_list(waits, id);
	uint32_t at = list->head;

	for (uint32_t i = 0; i < booked->wait_count; i++) {
		const struct ush_wait *wait;

		if (at == USH_WAIT_NONE)
			return false;
		wait = ush_wait_at(waits, at);
		if (wait->user != booked->waits[i].user || wait->seats != booked->waits[i].seats ||
			wait->tier != booked->waits[i].tier)
			return false;
		at = wait->next;
	}
	for (uint32_t row = 0; row < event->row_count; row++) {
		uint64_t aside = 0;

		for (uint32_t seat = 0; seat < USH_ROW_SEATS_MAX; seat++) {
			if (booked->owner[row][seat] == LEDGER_ASIDE)
				aside |= 1ull << seat;
		}
		if (aside != ush_aside_seats(event, row))
			return false;
	}
	return at == USH_WAIT_NONE && atomic_load(&list->count) == booked->wait_count &&
	       (list->loose != 0) == booked->loose;
}

/* The room of an event, who is in it, and who has a token. */
static bool same_queue(struct sim *sim, uint32_t id)
{
	const struct ledger_room *booked = &sim->ledger.room[id];
	const struct ush_queue *queue = ush_rooms_find(&sim->engine->rooms, id);

	if (queue == NULL)
		return booked->phase == USH_ROOM_PHASE_NONE;
	if (ush_queue_phase(queue) != booked->phase || queue->bound != booked->serving ||
		atomic_load(&queue->serving) != booked->serving ||
		atomic_load(&queue->cap) != booked->cap ||
		(atomic_load(&queue->paused) != 0) != booked->paused ||
		(uint8_t)atomic_load(&queue->key_state) != booked->key_id ||
		atomic_load(&queue->exchanged) != booked->exchanged)
		return false;
	for (uint64_t user = 1; user <= SIM_GUESTS_MAX; user++) {
		const struct ledger_guest *guest = &booked->guest[user];
		struct ush_room_place place;
		bool found = ush_room_find(&queue->room, ush_queue_hash(queue, user), user,
				     &place) == USH_ROOM_ALREADY;

		if (found != (guest->sequence != 0) ||
			(found && (place.tier != guest->tier || place.number != guest->index)))
			return false;
	}
	return true;
}

/* The engine that apply() made against the ledger. */
static void restarted(struct sim *sim)
{
	const struct ledger *ledger = &sim->ledger;
	const struct ush_holds *holds = &sim->engine->holds;

	for (uint32_t i = 0; i < ledger->hold_count; i++) {
		const struct ledger_hold *hold = &ledger->holds[i];
		const struct ush_hold *line;

		if (!ledger_is_live(hold))
			continue;
		line = ush_holds_line(holds, ush_hold_id_index(hold->id));
		if (same_as_booked(holds, line, hold))
			continue;
		sim_fail(sim, "replay", "hold %" PRIx64 " came back changed", hold->id);
		return;
	}
	for (uint32_t id = 1; id <= sim->config.events; id++) {
		const struct ush_event *event = ush_inventory_event(&sim->engine->inventory, id);

		for (uint32_t i = 0; event != NULL && i < ush_event_row_count(event); i++) {
			uint64_t house, taken = ledger_taken(ledger, id, i, &house);

			if (taken != atomic_load(&ush_event_row(event, i)->firm) ||
				house != atomic_load(&ush_event_row(event, i)->house))
				sim_fail(sim, "replay", "event %u row %u came back changed", id, i);
		}
		if (event != NULL && !same_channels(sim, id, event))
			sim_fail(sim, "replay", "event %u: a channel came back changed", id);
		if (event != NULL &&
			(ush_event_row_count(event) != ledger->event[id].rows ||
				ush_event_prices(event)->number != ledger->event[id].prices))
			sim_fail(sim, "replay", "event %u came back with other rows or prices", id);
		if (event != NULL && !same_waits(sim, id, event))
			sim_fail(sim, "replay", "event %u: its wait-list came back changed", id);
		if (sim->config.guests != 0 && !same_queue(sim, id))
			sim_fail(sim, "replay", "event %u: its waiting room came back changed", id);
		if ((event != NULL) != ledger->event[id].loaded ||
			(event != NULL && atomic_load(&event->status) != ledger->event[id].status))
			sim_fail(sim, "replay", "event %u came back changed", id);
	}
}

const struct check check_replay = {.name = "replay", .quiet = quiet, .restarted = restarted};
