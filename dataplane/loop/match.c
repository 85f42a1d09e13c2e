/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The matcher: who of those who wait gets which seats.
 *
 * Seats that come back while people wait are set aside by the change that gives them back (KEEP).
 * Once a turn each loop looks at the lists of its events that want it. A list is walked from its
 * head. Whoever finds enough of the seats he waits for set aside is offered them: a hold, made for
 * him. Whoever does not has the tier he waits for blocked: nobody behind him gets a seat of it.
 * Seats of a tier that nobody waits for become free.
 *
 * A group for which seats are set aside is waited for WAIT_ASIDE_MS. Then it is everybody's turn
 * (WAIT_TURN): the list is walked once without blocking, and what is left becomes free.
 *
 * The head also takes free seats, if there are: those that were on their way back when he joined.
 *
 * Failure modes: another loop has the list, or the line of the user whose turn it is; no room in
 * the log or of lines: nobody is passed over, and it goes on there a turn later.
 */
#include "loop/internal.h"

/* Entries looked at in one turn. src: guess */
#define WALK_STEPS 256u
/* Lists looked at in one turn. src: guess */
#define LISTS 4u
#define ASIDE_NS (USH_WAIT_ASIDE_MS * 1000000ull)

struct match {
	struct ush_loop *loop;
	struct ush_event *event;
	struct ush_wait_list *list;
};

enum served {
	SERVED,
	/* Off the list, without an offer. */
	LEFT,
	/* Not enough seats. */
	SHORT,
	/* Not now. */
	LATER,
};

/* ---- which seats ---- */

static uint64_t seats_for(const struct ush_event *event, uint32_t row, uint64_t mask, uint32_t tier)
{
	return tier == USH_WAIT_TIER_ANY
		       ? mask
		       : mask & ush_row_tier_seats(ush_event_row(event, row), tier);
}

static uint64_t lowest_run(uint64_t mask, uint32_t seats)
{
	uint64_t starts = mask;

	for (uint32_t i = 1; i < seats; i++)
		starts &= mask >> i;
	return starts == 0 ? 0 : ((1ull << seats) - 1) << __builtin_ctzll(starts);
}

static uint64_t lowest(uint64_t mask, uint32_t seats)
{
	uint64_t taken = 0;

	for (; seats != 0 && mask != 0; seats--, mask &= mask - 1)
		taken |= mask & -mask;
	return taken;
}

static void add_leg(struct decide_legs *legs, uint32_t row, uint64_t mask)
{
	legs->row[legs->count] = (uint16_t)row;
	legs->mask[legs->count] = mask;
	legs->place[legs->count] = (uint8_t)legs->count;
	legs->count++;
	legs->seats += ush_popcount64(mask);
}

/* Seats set aside: side by side where there are such, else the first ones. ret: true if enough. */
static bool choose(
	const struct ush_event *event, uint32_t tier, uint32_t seats, struct decide_legs *legs)
{
	uint64_t mask;

	legs->count = legs->seats = 0;
	if (ush_aside_count(event) < seats)
		return false;
	for (uint32_t row = ush_aside_next(event, 0, &mask); row < ush_event_row_count(event);
		row = ush_aside_next(event, row + 1, &mask)) {
		uint64_t run = lowest_run(seats_for(event, row, mask, tier), seats);

		if (run == 0)
			continue;
		add_leg(legs, row, run);
		return true;
	}
	for (uint32_t row = ush_aside_next(event, 0, &mask);
		row < ush_event_row_count(event) && legs->seats < seats;
		row = ush_aside_next(event, row + 1, &mask)) {
		mask = lowest(seats_for(event, row, mask, tier), seats - legs->seats);
		if (mask != 0)
			add_leg(legs, row, mask);
	}
	return legs->seats == seats;
}

static bool match_area(struct ush_event *event, uint32_t tier, struct ush_best_query *q,
	struct ush_best_legs *legs)
{
	for (uint32_t i = 0; i < ush_event_section_count(event); i++) {
		const struct ush_row *first =
			ush_event_row(event, ush_event_section(event, i)->row_first);

		/* An area has one price. */
		if (!ush_row_is_general(first) ||
			(tier != USH_WAIT_TIER_ANY && ush_row_tier_seats(first, tier) == 0))
			continue;
		q->row_first = ush_event_section(event, i)->row_first;
		q->row_end = q->row_first + ush_event_section(event, i)->row_count;
		if (ush_best_find_area(event, q, legs))
			return true;
	}
	return false;
}

bool match_free(struct ush_event *event, uint32_t tier, uint32_t seats, struct ush_best_legs *legs)
{
	struct ush_best_query q = {
		.seats = seats,
		.row_end = ush_event_row_count(event),
		.leg_max = USH_LEG_COUNT_MAX,
		.objective = event->best_objective,
		.split = USH_BEST_SPLIT_SAME_SECTION,
		.tier_given = tier != USH_WAIT_TIER_ANY,
		.tier = (uint8_t)tier,
	};

	if (ush_event_free_count(event) < seats)
		return false;
	return ush_best_find(event, &q, legs) || match_area(event, tier, &q, legs);
}

/* ---- what is written ---- */

static bool has_room(const struct ush_loop *loop, uint32_t records)
{
	return loop->room_kept && loop->act_count < BATCH_ACTS &&
	       loop->record_count + records <= BATCH_RECORDS;
}

static struct act *plain_act(const struct match *m, enum act_kind kind, enum ush_record_type type)
{
	struct act *act = loop_act(m->loop, 1);
	struct ush_record *record = loop_act_record(m->loop, act);

	act->kind = (uint8_t)kind;
	act->event = m->event;
	record->type = (uint8_t)type;
	record->event = m->event->id;
	return act;
}

static void leave(
	const struct match *m, struct ush_wait *wait, struct ush_user *user, enum ush_wait_left why)
{
	struct act *act = plain_act(m, ACT_WAIT_LEAVE, USH_RECORD_TYPE_WAIT_LEAVE);
	struct ush_record *record = &m->loop->records[act->record_first];

	ush_wait_unlink(&m->loop->engine->waits, m->list, wait);
	record->user = atomic_load_explicit(&wait->user, memory_order_relaxed);
	record->state = (uint8_t)why;
	act->user = user;
	act->wait = wait;
	loop_act_done(m->loop, act);
}

/* The seats are claimed. */
static void offer(const struct match *m, struct ush_wait *wait, struct ush_user *user,
	const struct decide_legs *legs)
{
	struct ush_loop *loop = m->loop;
	struct ush_admitted admitted = {
		.request = {.event = m->event->id,
			.user = atomic_load_explicit(&wait->user, memory_order_relaxed),
			.request_id = wait->request_id},
		.digest = wait->digest,
	};
	struct act *act = loop_act(loop, legs->count);
	struct ush_hold *hold;
	uint64_t id;

	act->kind = ACT_OFFER;
	act->seats = (uint16_t)legs->seats;
	act->user = user;
	act->event = m->event;
	act->wait = wait;
	act->hold = ush_hold_take(loop->pool, legs->count);
	USH_ASSERT(act->hold != USH_HOLD_NONE);
	hold = ush_holds_line(&loop->engine->holds, act->hold);
	hold->flags |= USH_HOLD_OFFER;
	id = ush_hold_id(&loop->engine->holds, act->hold,
		ush_hold_word_generation(atomic_load_explicit(&hold->word, memory_order_relaxed)));
	decide_fill_hold(
		loop, act, legs, &admitted, id, loop->now_ns + m->event->hold_ms * 1000000ull);
	for (uint32_t i = 0; i < act->record_count; i++)
		loop->records[act->record_first + i].type = USH_RECORD_TYPE_OFFER;
	ush_wait_unlink(&loop->engine->waits, m->list, wait);
	wait->state = USH_WAIT_OFFERED;
	wait->hold = id;
	m->list->since_ns = 0;
	count(&loop->counters.wait_offers);
	loop_act_done(loop, act);
}

static void turn_to(const struct match *m, bool loose)
{
	struct act *act = plain_act(m, ACT_WAIT_TURN, USH_RECORD_TYPE_WAIT_TURN);

	m->loop->records[act->record_first].state = loose;
	m->list->loose = loose;
	m->list->since_ns = 0;
	loop_act_done(m->loop, act);
}

/* Seats of a row that nobody met on the walk waits for. */
static uint64_t unwanted(const struct match *m, uint32_t row, uint64_t mask)
{
	const struct ush_row *line = ush_event_row(m->event, row);

	if (m->list->loose)
		return mask;
	for (uint32_t i = 0; i < USH_ROW_TIERS; i++) {
		if (ush_wait_is_blocked(m->list, line->tier[i]))
			mask &= ~ush_row_tier_seats(line, line->tier[i]);
	}
	return mask;
}

/* Frees what nobody wants. ret: false: there is more. */
static bool open_unwanted(const struct match *m)
{
	struct ush_loop *loop = m->loop;
	struct act *act = NULL;
	uint64_t mask;

	if (!m->list->loose && ush_wait_is_all_blocked(m->list))
		return true;
	if (ush_aside_count(m->event) != 0 && !has_room(loop, USH_LEG_COUNT_MAX))
		return false;
	for (uint32_t row = ush_aside_next(m->event, 0, &mask); row < ush_event_row_count(m->event);
		row = ush_aside_next(m->event, row + 1, &mask)) {
		struct ush_record *record;

		mask = unwanted(m, row, mask);
		if (mask == 0)
			continue;
		if (act != NULL && act->record_count == USH_LEG_COUNT_MAX) {
			loop_act_done(loop, act);
			return false;
		}
		if (act == NULL) {
			act = plain_act(m, ACT_WAIT_OPEN, USH_RECORD_TYPE_WAIT_OPEN);
			record = &loop->records[act->record_first];
		} else {
			record = loop_act_record(loop, act);
			record->type = USH_RECORD_TYPE_WAIT_OPEN;
			record->event = m->event->id;
		}
		record->row = (uint16_t)row;
		record->mask = mask;
		ush_aside_take(m->event, row, mask);
	}
	if (act != NULL)
		loop_act_done(loop, act);
	return true;
}

/* ---- whose turn ---- */

/* ret: the line of the one who waits, locked; NULL: not now. */
static struct ush_user *lock_waiting(const struct match *m, const struct ush_wait *wait)
{
	struct ush_users *users = &m->loop->engine->users;
	uint64_t user = atomic_load_explicit(&wait->user, memory_order_relaxed);
	struct ush_user *line = NULL;

	return ush_user_enter(users, ush_user_hash(users, user, m->event->id), user, m->event->id,
		       m->loop->index, 0, &line) == USH_USER_OK
		       ? line
		       : NULL;
}

static bool claim_free(const struct match *m, const struct ush_wait *wait, struct decide_legs *legs)
{
	struct ush_best_legs found;
	uint32_t place;
	uint64_t way;

	if (!match_free(m->event, wait->tier, wait->seats, &found))
		return false;
	decide_legs_chosen(legs, &found);
	return decide_legs_claim(legs, m->event, &place, &way) == USH_CLAIM_WON;
}

static enum served serve(const struct match *m, struct ush_wait *wait)
{
	struct ush_loop *loop = m->loop;
	struct decide_legs legs;
	struct ush_user *user;
	bool set_aside = choose(m->event, wait->tier, wait->seats, &legs);

	if (!set_aside &&
		(wait->prev != USH_WAIT_NONE || ush_event_free_count(m->event) < wait->seats))
		return SHORT;
	if (!has_room(loop, USH_LEG_COUNT_MAX) || loop->pool->free_count < USH_LEG_COUNT_MAX)
		return LATER;
	user = lock_waiting(m, wait);
	if (user == NULL)
		return LATER;
	if (user->seats + wait->seats > m->event->user_seats_max) {
		count(&loop->counters.wait_skipped);
		leave(m, wait, user, USH_WAIT_LEFT_LIMIT);
		return LEFT;
	}
	if (!set_aside && !claim_free(m, wait, &legs)) {
		ush_user_unlock(user);
		return SHORT;
	}
	for (uint32_t i = 0; set_aside && i < legs.count; i++)
		ush_aside_take(m->event, legs.row[i], legs.mask[i]);
	offer(m, wait, user, &legs);
	return SERVED;
}

/* ret: true at the end of the list. */
static bool walk(const struct match *m)
{
	struct ush_wait_list *list = m->list;

	for (uint32_t i = 0; i < WALK_STEPS && list->cursor != USH_WAIT_NONE; i++) {
		struct ush_wait *wait = ush_wait_at(&m->loop->engine->waits, list->cursor);
		uint32_t next = wait->next;
		bool any = wait->tier == USH_WAIT_TIER_ANY;
		enum served served = SHORT;

		if (list->loose || (any ? !list->met : !ush_wait_is_blocked(list, wait->tier)))
			served = serve(m, wait);
		if (served == SHORT || (served == LATER && !list->loose)) {
			ush_wait_block(list, wait->tier);
			list->met = 1;
		}
		if (served == LATER) {
			atomic_store_explicit(&list->dirty, 1, memory_order_relaxed);
			if (list->loose)
				return false;
		}
		list->cursor = next;
		if (!list->loose && ush_wait_is_all_blocked(list))
			list->cursor = USH_WAIT_NONE;
	}
	return list->cursor == USH_WAIT_NONE;
}

static void walk_begin(struct ush_wait_list *list)
{
	list->walking = 1;
	list->met = 0;
	list->cursor = list->head;
	for (uint32_t i = 0; i < USH_WAIT_TIER_WORDS; i++)
		list->blocked[i] = 0;
}

/* The list was walked to its end. ret: when it is to be walked again; UINT64_MAX: when something
 * changes. */
static uint64_t walk_end(const struct match *m)
{
	struct ush_wait_list *list = m->list;
	uint64_t now_ns = m->loop->now_ns;

	list->walking = 0;
	/* What has changed meanwhile may be for somebody. */
	if (atomic_load_explicit(&list->dirty, memory_order_acquire) != 0 || !open_unwanted(m) ||
		!has_room(m->loop, 1))
		return now_ns;
	if (list->loose) {
		turn_to(m, false);
		return now_ns;
	}
	if (ush_aside_count(m->event) == 0) {
		list->since_ns = 0;
		return UINT64_MAX;
	}
	if (list->since_ns == 0)
		list->since_ns = now_ns;
	if (now_ns < list->since_ns + ASIDE_NS)
		return list->since_ns + ASIDE_NS;
	turn_to(m, true);
	return now_ns;
}

/* The event is over: everybody leaves, nothing stays aside. ret: as walk_end. */
static uint64_t end_list(const struct match *m)
{
	struct ush_wait_list *list = m->list;

	list->walking = 0;
	while (list->head != USH_WAIT_NONE) {
		struct ush_wait *wait = ush_wait_at(&m->loop->engine->waits, list->head);
		struct ush_user *user = has_room(m->loop, 1) ? lock_waiting(m, wait) : NULL;

		if (user == NULL)
			return m->loop->now_ns;
		leave(m, wait, user, USH_WAIT_LEFT_OVER);
	}
	walk_begin(list);
	list->walking = 0;
	if (!open_unwanted(m) || !has_room(m->loop, 1))
		return m->loop->now_ns;
	if (list->loose)
		turn_to(m, false);
	return UINT64_MAX;
}

static uint64_t match(const struct match *m)
{
	struct ush_wait_list *list = m->list;

	switch (atomic_load_explicit(&m->event->status, memory_order_acquire)) {
	case USH_EVENT_STATUS_COMPLETED:
	case USH_EVENT_STATUS_CANCELLED:
		return end_list(m);
	case USH_EVENT_STATUS_ON_SALE:
		break;
	default:
		/* Its status will change. */
		return UINT64_MAX;
	}
	if (!list->walking)
		walk_begin(list);
	return walk(m) ? walk_end(m) : m->loop->now_ns;
}

static void match_event(struct ush_loop *loop, uint32_t id)
{
	struct ush_waits *waits = &loop->engine->waits;
	struct match m = {.loop = loop,
		.event = ush_inventory_event(&loop->engine->inventory, id),
		.list = ush_wait_list(waits, id)};

	if (atomic_load_explicit(&m.list->dirty, memory_order_acquire) == 0 &&
		loop->now_ns < m.list->next_ns)
		return;
	if (!decide_wait_lock(loop, m.list))
		return;
	ush_wait_rest(waits, id);
	if (!m.list->walking)
		atomic_store_explicit(&m.list->dirty, 0, memory_order_relaxed);
	m.list->next_ns = match(&m);
	if (m.list->next_ns != UINT64_MAX)
		ush_wait_again(waits, id);
}

uint32_t match_lists(struct ush_loop *loop)
{
	const struct ush_waits *waits = &loop->engine->waits;
	uint32_t work = 0, first = 0;

	if (ush_likely(!ush_waits_on(waits) ||
		       atomic_load_explicit(&waits->any, memory_order_acquire) == 0))
		return 0;
	for (uint32_t i = 0; i < LISTS; i++) {
		uint32_t id = ush_wait_due(waits, loop->match_from, loop->index);

		if (id == 0 && loop->match_from != 0)
			id = ush_wait_due(waits, 0, loop->index);
		if (id == 0 || id == first)
			break;
		if (first == 0)
			first = id;
		loop->match_from = id == USH_EVENT_ID_MAX ? 0 : id + 1;
		match_event(loop, id);
		work += loop->act_count;
		/* Ends the lock, too. */
		loop_flush(loop);
	}
	return work;
}

void match_replayed(struct ush_engine *engine)
{
	for (uint32_t id = 1; ush_waits_on(&engine->waits) && id <= USH_EVENT_ID_MAX; id++) {
		const struct ush_event *event = ush_inventory_event(&engine->inventory, id);
		struct ush_wait_list *list = ush_wait_list(&engine->waits, id);

		if (event != NULL && (list->last_place != 0 || ush_aside_count(event) != 0))
			ush_wait_poke(&engine->waits, id);
	}
}
