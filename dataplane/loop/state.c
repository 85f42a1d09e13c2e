/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The state that apply() has made, section by section, and back into an empty engine.
 *
 * What is saved is what records have said: not where a user's line stands in its bucket, not free
 * lists, wheels or owners, which ush_engine_replayed builds. So an engine of other limits can take
 * it. A later record then does to both states the same.
 */
#include <inttypes.h>
#include <string.h>

#include "loop/internal.h"

struct out {
	ush_engine_put *put;
	void *context;
};

struct in {
	struct ush_engine *engine;
	ush_engine_get *get;
	void *context;
	struct ush_message *message;
	/* The next entry of section CHANGE; event 0: there is none. */
	struct ush_state_change *change;
};

static int put(const struct out *out, uint32_t section, const void *data, size_t bytes)
{
	return out->put(out->context, section, data, bytes);
}

/* ret: 1: an entry; 0: the section has no more; or an error. */
static int get(const struct in *in, uint32_t section, void *data, size_t bytes)
{
	return in->get(in->context, section, data, bytes);
}

static int bad(const struct in *in, const char *what, uint64_t a, uint64_t b)
{
	ush_message_set(in->message,
		"the snapshot contradicts itself: %s (%" PRIu64 ", %" PRIu64
		"); move it away to replay from before it, and report it",
		what, a, b);
	return -USH_ECORRUPT;
}

/* ---- saving ---- */

/* ret: the event after `mark` in the arena: the order of loading. */
static const struct ush_event *event_after(const struct ush_inventory *inventory, size_t mark)
{
	const struct ush_event *found = NULL;

	for (uint32_t id = 1; id <= USH_EVENT_ID_MAX; id++) {
		const struct ush_event *event = ush_inventory_event(inventory, id);
		if (event != NULL && event->arena_end > mark &&
			(found == NULL || event->arena_end < found->arena_end))
			found = event;
	}
	return found;
}

/* In their order; the list leads from the newest to the first. */
static int save_changes(const struct ush_change *newest, const struct out *out)
{
	uint32_t count = newest != NULL ? newest->number : 0;
	int error = 0;

	for (uint32_t number = 1; number <= count && error == 0; number++) {
		const struct ush_change *change = newest;
		const struct ush_prices *prices = ush_event_prices(newest->event);

		while (change->number != number)
			change = change->prev;
		/* The list of then: the newest that a change up to this one has made. */
		for (const struct ush_change *at = newest; at != change; at = at->prev) {
			if (at->prices != NULL)
				prices = at->prices->prev;
		}
		struct ush_state_change entry = {
			.digest = change->digest,
			.sequence = change->sequence,
			.event = change->event->id,
			.request_id = change->request_id,
			.number = number,
			.row_count = change->row_count,
			.seat_count = change->seat_count,
			.prices = prices->number,
		};
		error = put(out, USH_STATE_SECTION_CHANGE, &entry, sizeof(entry));
	}
	return error;
}

static int save_events(const struct ush_engine *engine, const struct out *out)
{
	const struct ush_event *event = event_after(&engine->inventory, 0);
	int error = 0;

	for (; event != NULL && error == 0;
		event = event_after(&engine->inventory, event->arena_end)) {
		struct ush_state_event entry = {
			.digest = event->digest,
			.sold_out_sequence = atomic_load(&event->sold_out_sequence),
			.id = event->id,
			.status = atomic_load(&event->status),
			.house_count = atomic_load(&event->house_count),
			.sold_count = atomic_load(&event->sold_count),
			.row_count = ush_event_row_count(event),
			.seat_count = ush_event_seat_count(event),
		};
		for (uint32_t i = 0; i < event->tally_count; i++) {
			entry.taken += atomic_load(&event->tally[i].taken);
			entry.returned += atomic_load(&event->tally[i].returned);
		}
		error = put(out, USH_STATE_SECTION_EVENT, &entry, sizeof(entry));
		if (error == 0)
			error = save_changes(ush_event_change(event), out);
		for (uint32_t i = 0; i < ush_event_row_count(event) && error == 0; i++) {
			const struct ush_row *row = ush_event_row(event, i);
			struct ush_state_row line = {
				.free = atomic_load(&row->free),
				.house = atomic_load(&row->house),
				.firm = atomic_load(&row->firm),
			};
			error = put(out, USH_STATE_SECTION_ROW, &line, sizeof(line));
		}
	}
	return error;
}

static int save_channels(const struct ush_engine *engine, const struct out *out)
{
	const struct ush_channels *channels = &engine->channels;
	int error = 0;

	for (uint32_t id = 1; id <= USH_EVENT_ID_MAX && error == 0; id++) {
		const struct ush_event *event = ush_inventory_event(&engine->inventory, id);

		if (event == NULL)
			continue;
		for (uint8_t i = 1; i <= USH_CHANNEL_COUNT_MAX && error == 0; i++) {
			struct ush_state_channel entry = {.event = id,
				.channel = i,
				.key_number = atomic_load(&event->channel_key[i])};
			if (entry.key_number != 0)
				error = put(out, USH_STATE_SECTION_CHANNEL, &entry, sizeof(entry));
		}
		/* In the order of rows and channels, not of the table: it hashes by chance. */
		for (uint32_t row = 0; row < ush_event_row_count(event) && error == 0; row++) {
			if (ush_channel_seats(channels, id, row, NULL) == 0)
				continue;
			for (uint8_t i = 1; i <= USH_CHANNEL_COUNT_MAX && error == 0; i++) {
				const struct ush_channel_row *line =
					ush_channel_find(channels, id, row, i);
				struct ush_state_channel entry = {
					.event = id, .row = row, .channel = i};

				entry.seats = line != NULL ? atomic_load(&line->seats) : 0;
				if (entry.seats != 0)
					error = put(out, USH_STATE_SECTION_CHANNEL, &entry,
						sizeof(entry));
			}
		}
	}
	return error;
}

static int save_waits(const struct ush_engine *engine, uint32_t id, const struct ush_event *event,
	const struct out *out)
{
	const struct ush_wait_list *list = ush_wait_list(&engine->waits, id);
	struct ush_state_wait entry = {.user = list->last_place,
		.event = id,
		.seats = list->loose,
		.kind = USH_WAIT_ENTRY_LIST};
	uint64_t mask;
	int error = 0;

	if (list->last_place != 0)
		error = put(out, USH_STATE_SECTION_WAIT, &entry, sizeof(entry));
	for (uint32_t at = list->head; at != USH_WAIT_NONE && error == 0;) {
		const struct ush_wait *wait = ush_wait_at(&engine->waits, at);

		entry = (struct ush_state_wait){
			.user = atomic_load(&wait->user),
			.sequence = wait->sequence,
			.event = id,
			.request_id = wait->request_id,
			.digest = wait->digest,
			.place = wait->place,
			.tier = wait->tier,
			.seats = wait->seats,
			.kind = USH_WAIT_ENTRY_WAITING,
		};
		error = put(out, USH_STATE_SECTION_WAIT, &entry, sizeof(entry));
		at = wait->next;
	}
	for (uint32_t row = ush_aside_next(event, 0, &mask);
		row < ush_event_row_count(event) && error == 0;
		row = ush_aside_next(event, row + 1, &mask)) {
		entry = (struct ush_state_wait){
			.user = mask, .event = id, .place = row, .kind = USH_WAIT_ENTRY_ASIDE};
		error = put(out, USH_STATE_SECTION_WAIT, &entry, sizeof(entry));
	}
	return error;
}

static int save_holds(const struct ush_engine *engine, const struct out *out)
{
	int error = 0;

	for (uint32_t i = 1; i < engine->holds.count && error == 0; i++) {
		const struct ush_hold *hold = ush_holds_line(&engine->holds, i);
		struct ush_state_hold entry = {.word = atomic_load(&hold->word), .index = i};

		if (hold->leg_count != 0) {
			entry.user = hold->user;
			entry.mask = hold->mask;
			entry.deadline_ns = hold->deadline_ns;
			entry.sequence = hold->sequence;
			entry.next = hold->next;
			entry.event = hold->event;
			entry.amount = hold->amount;
			entry.row = hold->row;
			entry.leg_count = hold->leg_count;
			entry.flags = hold->flags;
			entry.pending = hold->pending;
			entry.prices = (uint16_t)ush_holds_prices(&engine->holds, i);
		} else if (entry.word == 0) {
			continue;
		}
		error = put(out, USH_STATE_SECTION_HOLD, &entry, sizeof(entry));
	}
	return error;
}

static int save_user(
	const struct ush_users *users, const struct ush_user *line, const struct out *out)
{
	struct ush_state_user entry = {
		.user = atomic_load(&line->user),
		.window_bits = line->window_bits,
		.event = atomic_load(&line->event),
		.window_top = line->window_top,
		.seats = line->seats,
		.answer_count = line->answer_count,
		.held_s = ush_user_time(users, line)->held_s,
		.cool_until_ns = ush_user_time(users, line)->cool_until_ns,
	};
	uint32_t indices[USH_USER_ANSWERS_MAX];
	uint32_t count = ush_user_answers(users, line, indices, USH_USER_ANSWERS_MAX);
	int error = count > USH_USER_ANSWERS_MAX
			    ? -USH_ECORRUPT
			    : put(out, USH_STATE_SECTION_USER, &entry, sizeof(entry));

	for (uint32_t i = 0; i < count && error == 0; i++) {
		const struct ush_accepted *answer = &users->answers[indices[i]];
		struct ush_state_answer accepted = {
			.hold = answer->hold,
			.sequence = answer->sequence,
			.request_id = answer->request_id,
			.digest = answer->digest,
			.op = answer->op,
			.status = answer->status,
		};
		error = put(out, USH_STATE_SECTION_ANSWER, &accepted, sizeof(accepted));
	}
	return error;
}

int ush_engine_save(const struct ush_engine *engine, ush_engine_put *put_entry, void *context)
{
	const struct ush_state *state = &engine->state;
	const struct out out = {put_entry, context};
	struct ush_state_total total = {.time_ns = state->time_ns, .live_holds = state->live_holds};
	int error = put(&out, USH_STATE_SECTION_TOTAL, &total, sizeof(total));

	for (uint32_t i = 0; i < USH_RECORD_TYPE_COUNT && error == 0; i++)
		error = put(&out, USH_STATE_SECTION_RECORDS, &state->applied[i], sizeof(uint64_t));
	if (error == 0)
		error = save_events(engine, &out);
	if (error == 0)
		error = save_holds(engine, &out);
	for (uint32_t i = 0; i < engine->users.count && error == 0; i++) {
		const struct ush_user *line = &engine->users.lines[i];
		uint64_t lock = atomic_load(&line->lock);
		if (lock == USH_USER_EMPTY)
			continue;
		USH_ASSERT(lock == USH_USER_IDLE);
		error = save_user(&engine->users, line, &out);
	}
	if (error == 0)
		error = save_channels(engine, &out);
	for (uint32_t id = 1; ush_waits_on(&engine->waits) && id <= USH_EVENT_ID_MAX && error == 0;
		id++) {
		const struct ush_event *event = ush_inventory_event(&engine->inventory, id);

		if (event != NULL)
			error = save_waits(engine, id, event, &out);
	}
	if (error == 0)
		error = rooms_save(engine, put_entry, context);
	return error;
}

/* ---- loading ---- */

static int next_change(const struct in *in)
{
	int more = get(in, USH_STATE_SECTION_CHANGE, in->change, sizeof(*in->change));

	if (more == 0)
		in->change->event = 0;
	return more < 0 ? more : 0;
}

/* The event is as it was loaded: makes it what it became. */
static int load_changes(const struct in *in, struct ush_event *event)
{
	struct ush_inventory *inventory = &in->engine->inventory;
	const struct ush_state *state = &in->engine->state;
	int error = 0;

	while (in->change->event == event->id && error == 0) {
		const struct ush_state_change *entry = in->change;
		struct ush_change *change;
		const void *image;
		size_t image_bytes;
		uint32_t row;

		error = state->image_find(state->image_context, event->id, entry->digest, &image,
			&image_bytes, in->message);
		if (error == 0)
			error = ush_change_build(
				inventory, event, image, image_bytes, &change, &row, in->message);
		if (error != 0)
			return error;
		ush_change_show(change, entry->request_id, entry->sequence, false);
		if (change->digest != entry->digest || change->number != entry->number ||
			change->row_count != entry->row_count ||
			change->seat_count != entry->seat_count ||
			ush_event_prices(event)->number != entry->prices)
			return bad(in, "a change of an event", event->id, entry->number);
		error = next_change(in);
	}
	return error;
}

static int load_event(const struct in *in, const struct ush_state_event *entry)
{
	struct ush_inventory *inventory = &in->engine->inventory;
	const struct ush_state *state = &in->engine->state;
	struct ush_event *event;
	const void *image;
	size_t image_bytes;
	int error;

	if (state->image_find == NULL || ush_inventory_event(inventory, entry->id) != NULL)
		return bad(in, "an event", entry->id, 0);
	error = state->image_find(
		state->image_context, entry->id, entry->digest, &image, &image_bytes, in->message);
	if (error == 0)
		error = ush_event_build(
			inventory, entry->id, image, image_bytes, &event, in->message);
	if (error == 0)
		error = load_changes(in, event);
	if (error != 0)
		return error;
	if (event->digest != entry->digest || ush_event_row_count(event) != entry->row_count ||
		ush_event_seat_count(event) != entry->seat_count)
		return bad(in, "the venue image is not the one that was loaded", entry->id, 0);
	atomic_store(&event->status, entry->status);
	atomic_store(&event->house_count, entry->house_count);
	atomic_store(&event->sold_count, entry->sold_count);
	atomic_store(&event->sold_out_sequence, entry->sold_out_sequence);
	atomic_store(&event->tally[0].taken, entry->taken);
	atomic_store(&event->tally[0].returned, entry->returned);
	for (uint32_t i = 0; i < ush_event_row_count(event); i++) {
		struct ush_row *row = ush_event_row(event, i);
		struct ush_state_row line;

		if (get(in, USH_STATE_SECTION_ROW, &line, sizeof(line)) != 1)
			return bad(in, "rows are missing", entry->id, i);
		if (((line.free | line.house | line.firm) & ~row->seats) != 0)
			return bad(in, "no such seat", entry->id, i);
		atomic_store(&row->free, line.free);
		atomic_store(&row->house, line.house);
		atomic_store(&row->firm, line.firm);
	}
	ush_event_publish(inventory, event);
	return 0;
}

static int no_room_to_wait(const struct in *in)
{
	ush_message_set(in->message, "the snapshot does not fit: raise [limits] waiting");
	return -USH_EFULL;
}

/* The hold of an offer says what there is to say about its entry. */
static int load_offer(const struct in *in, const struct ush_hold *hold, uint32_t index)
{
	struct ush_waits *waits = &in->engine->waits;
	uint64_t word = atomic_load(&hold->word);
	struct ush_wait *wait;

	if (ush_wait_find(waits, hold->user, hold->event) != NULL)
		return bad(in, "two offers to one user", hold->user, hold->event);
	wait = ush_wait_enter(waits, hold->user, hold->event);
	if (wait == NULL)
		return no_room_to_wait(in);
	wait->state = USH_WAIT_OFFERED;
	wait->hold = ush_hold_id(&in->engine->holds, index, ush_hold_word_generation(word));
	return 0;
}

static int load_waiting(const struct in *in, const struct ush_state_wait *entry)
{
	struct ush_waits *waits = &in->engine->waits;
	struct ush_wait_list *list = ush_wait_list(waits, entry->event);
	uint32_t last_place = list->last_place;
	struct ush_wait *wait;

	if (entry->place == 0 || entry->place > last_place ||
		(list->tail != USH_WAIT_NONE &&
			ush_wait_at(waits, list->tail)->place >= entry->place) ||
		ush_wait_find(waits, entry->user, entry->event) != NULL)
		return bad(in, "a user who waits", entry->event, entry->user);
	wait = ush_wait_enter(waits, entry->user, entry->event);
	if (wait == NULL)
		return no_room_to_wait(in);
	wait->sequence = entry->sequence;
	wait->request_id = entry->request_id;
	wait->digest = entry->digest;
	wait->tier = entry->tier;
	wait->seats = entry->seats;
	list->last_place = entry->place - 1;
	ush_wait_append(waits, list, wait);
	list->last_place = last_place;
	atomic_fetch_add(&list->count, 1);
	return 0;
}

static int load_wait(const struct in *in, const struct ush_state_wait *entry)
{
	struct ush_event *event = ush_inventory_event(&in->engine->inventory, entry->event);
	struct ush_wait_list *list;

	if (event == NULL)
		return bad(in, "a wait-list of an unknown event", entry->event, 0);
	if (!ush_waits_on(&in->engine->waits))
		return no_room_to_wait(in);
	list = ush_wait_list(&in->engine->waits, entry->event);
	switch (entry->kind) {
	case USH_WAIT_ENTRY_LIST:
		list->last_place = (uint32_t)entry->user;
		list->loose = entry->seats;
		atomic_store(&list->first_place, list->last_place + 1);
		atomic_store(&event->keeps, 1);
		return 0;
	case USH_WAIT_ENTRY_WAITING:
		return load_waiting(in, entry);
	case USH_WAIT_ENTRY_ASIDE:
		if (entry->place >= ush_event_row_count(event) ||
			(entry->user & ~atomic_load(&ush_event_row(event, entry->place)->house)) !=
				0)
			return bad(in, "seats set aside", entry->event, entry->place);
		ush_aside_add(event, entry->place, entry->user);
		return 0;
	default:
		return bad(in, "an entry of a wait-list", entry->event, entry->kind);
	}
}

static int load_hold(const struct in *in, const struct ush_state_hold *entry)
{
	struct ush_holds *holds = &in->engine->holds;
	struct ush_hold *hold;

	if (entry->index == USH_HOLD_NONE || entry->index >= holds->count ||
		entry->next >= holds->count) {
		ush_message_set(in->message,
			"the snapshot has hold line %u: raise [limits] holds to what it was when the "
			"journal was written",
			entry->index);
		return -USH_EFULL;
	}
	hold = ush_holds_line(holds, entry->index);
	atomic_store(&hold->word, entry->word);
	hold->user = entry->user;
	hold->mask = entry->mask;
	hold->deadline_ns = entry->deadline_ns;
	hold->sequence = entry->sequence;
	hold->next = entry->next;
	hold->event = (uint16_t)entry->event;
	hold->amount = entry->amount;
	hold->row = entry->row;
	hold->leg_count = entry->leg_count;
	hold->flags = entry->flags;
	hold->pending = entry->pending;
	if (((entry->flags & USH_HOLD_PRICED) != 0) != (entry->prices != 0))
		return bad(in, "a price list of a hold", entry->index, entry->prices);
	ush_holds_price(holds, entry->index, entry->prices);
	return (entry->flags & USH_HOLD_OFFER) != 0 ? load_offer(in, hold, entry->index) : 0;
}

static int load_answer(
	const struct in *in, struct ush_user *line, const struct ush_state_answer *entry)
{
	struct ush_users *users = &in->engine->users;
	uint32_t loops = users->loop_count;
	uint32_t start = ush_hold_id_index(entry->hold) % loops;
	bool late = entry->op == USH_OP_PAY_LATE;

	if (!late && entry->request_id <= line->window_top &&
		line->window_top - entry->request_id >= USH_REQUEST_WINDOW)
		return bad(in, "a request id below the window", line->user, entry->request_id);
	for (uint32_t i = 0; i < loops; i++) {
		uint32_t loop = (start + i) % loops;
		struct ush_accepted *answer;

		if (!ush_answer_available(users, loop))
			continue;
		answer = late ? ush_user_accept_late(users, line, loop,
					entry->request_id | (uint64_t)entry->digest << 32)
			      : ush_user_accept(users, line, loop, entry->request_id, entry->digest,
					entry->op);
		answer->status = entry->status;
		answer->hold = entry->hold;
		answer->sequence = entry->sequence;
		return 0;
	}
	ush_message_set(in->message, "the snapshot does not fit: raise [limits] answers");
	return -USH_EFULL;
}

static int load_user(const struct in *in, const struct ush_state_user *entry)
{
	struct ush_state_answer answers[USH_USER_ANSWERS_MAX];
	struct ush_users *users = &in->engine->users;
	struct ush_user *line;
	int error = 0;

	if (entry->user == 0 || entry->answer_count > sizeof(answers) / sizeof(answers[0]))
		return bad(in, "a user", entry->user, entry->answer_count);
	if (ush_user_enter(users, ush_user_hash(users, entry->user, entry->event), entry->user,
		    entry->event, 0, 0, &line) != USH_USER_OK) {
		ush_message_set(in->message, "the snapshot does not fit: raise [limits] users");
		return -USH_EFULL;
	}
	for (uint32_t i = 0; i < entry->answer_count; i++) {
		if (get(in, USH_STATE_SECTION_ANSWER, &answers[i], sizeof(answers[i])) != 1)
			return bad(in, "answers are missing", entry->user, i);
	}
	/* The newest comes first in the list and was accepted last. */
	for (uint32_t i = entry->answer_count; i-- > 0 && error == 0;)
		error = load_answer(in, line, &answers[i]);
	if (error == 0 && line->answer_count != entry->answer_count)
		error = bad(in, "answers", entry->user, line->answer_count);
	line->window_top = entry->window_top;
	line->window_bits = entry->window_bits;
	line->seats = entry->seats;
	ush_user_time(users, line)->held_s = entry->held_s;
	ush_user_time(users, line)->cool_until_ns = entry->cool_until_ns;
	ush_user_unlock(line);
	return error;
}

static int load_channel(const struct in *in, const struct ush_state_channel *entry)
{
	struct ush_event *event = ush_inventory_event(&in->engine->inventory, entry->event);
	struct ush_channel_row *line;
	const struct ush_row *row;

	if (event == NULL || entry->channel < 1 || entry->channel > USH_CHANNEL_COUNT_MAX)
		return bad(in, "a channel", entry->event, entry->channel);
	if (entry->seats == 0) {
		atomic_store(&event->channel_key[entry->channel], entry->key_number);
		return 0;
	}
	if (entry->row >= ush_event_row_count(event))
		return bad(in, "a row of a channel", entry->event, entry->row);
	row = ush_event_row(event, entry->row);
	if ((entry->seats & (atomic_load(&row->free) | ~row->seats |
				    ush_channel_seats(&in->engine->channels, entry->event,
					    entry->row, NULL))) != 0)
		return bad(in, "seats of a channel", entry->event, entry->row);
	line = ush_channel_enter(&in->engine->channels, entry->event, entry->row, entry->channel);
	if (line == NULL) {
		ush_message_set(
			in->message, "the snapshot does not fit: raise [limits] channel_rows");
		return -USH_EFULL;
	}
	atomic_store(&line->seats, entry->seats);
	atomic_store(&line->free, entry->seats & atomic_load(&row->house));
	atomic_store(&event->keeps, 1);
	return 0;
}

/* Each section to its end. */
static int load_entries(const struct in *in)
{
	struct ush_state_event event;
	struct ush_state_hold hold;
	struct ush_state_user user;
	struct ush_state_channel channel;
	struct ush_state_wait wait;
	int more, error = 0;

	while (error == 0 && (more = get(in, USH_STATE_SECTION_EVENT, &event, sizeof(event))) == 1)
		error = load_event(in, &event);
	while (error == 0 && (more = get(in, USH_STATE_SECTION_HOLD, &hold, sizeof(hold))) == 1)
		error = load_hold(in, &hold);
	while (error == 0 && (more = get(in, USH_STATE_SECTION_USER, &user, sizeof(user))) == 1)
		error = load_user(in, &user);
	while (error == 0 &&
		(more = get(in, USH_STATE_SECTION_CHANNEL, &channel, sizeof(channel))) == 1)
		error = load_channel(in, &channel);
	while (error == 0 && (more = get(in, USH_STATE_SECTION_WAIT, &wait, sizeof(wait))) == 1)
		error = load_wait(in, &wait);
	return error;
}

int ush_engine_load(struct ush_engine *engine, ush_engine_get *get_entry, void *context,
	struct ush_message *message)
{
	struct ush_state_change change;
	const struct in in = {engine, get_entry, context, message, &change};
	struct ush_state *state = &engine->state;
	struct ush_state_total total;
	uint32_t i = 0;
	int error;

	if (get(&in, USH_STATE_SECTION_TOTAL, &total, sizeof(total)) != 1)
		return bad(&in, "no sums", 0, 0);
	state->time_ns = total.time_ns;
	state->live_holds = total.live_holds;
	while (i < USH_RECORD_TYPE_COUNT &&
		get(&in, USH_STATE_SECTION_RECORDS, &state->applied[i], sizeof(uint64_t)) == 1)
		i++;
	if (next_change(&in) != 0)
		return bad(&in, "changes of events", 0, 0);
	error = load_entries(&in);
	return error != 0 ? error : rooms_load(engine, get_entry, context, message);
}
