/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What clients ask, and how each request is drawn. A client may know of any hold that is durable:
 * its own, and through shops and payment providers those of others. What it knows may be old.
 */
#include "check.h"
#include "ops.h"

uint64_t sim_draw_mask(struct sim *sim)
{
	uint64_t all = sim->config.seats == 64 ? ~0ull : (1ull << sim->config.seats) - 1;
	uint64_t mask = (1 + sim_below(sim, 7)) << sim_below(sim, sim->config.seats);

	return (mask & all) != 0 ? mask & all : 1;
}

uint64_t sim_outcome(const struct sim *sim, uint64_t hold, uint16_t version)
{
	return (ush_mix64(sim->seed ^ hold ^ version) & 3) != 0 ? USH_OUTCOME_SUCCEEDED
								: USH_OUTCOME_FAILED;
}

static bool draw_legs(struct sim *sim, struct sim_ask *ask)
{
	/* Once rows were added, as many as may be; the client may be too early. */
	bool more = sim->ledger.event[ask->request.event].changes != 0;
	uint32_t rows = more ? SIM_ROWS_MAX : sim->config.rows;

	ask->request.row = (uint16_t)sim_below(sim, rows);
	ask->request.mask = sim_draw_mask(sim);
	if (rows > 1 && sim_below(sim, 3) == 0)
		ask->leg_count = (uint8_t)(1 + sim_below(sim, ush_min64(rows - 1, SIM_LEGS_MAX)));
	for (uint32_t i = 0; i < ask->leg_count; i++)
		ask->legs[i] =
			(struct ush_leg){.row = (uint16_t)((ask->request.row + 1 + i) % rows),
				.mask = sim_draw_mask(sim)};
	return true;
}

static uint32_t draw_ms(struct sim *sim)
{
	static const uint32_t ms[] = {0, 10, 50, 400, 3000};

	return ms[sim_below(sim, 5)];
}

/* Somebody who was given a channel's key uses it, or one like it. */
static void draw_channel(struct sim *sim, struct sim_ask *ask)
{
	uint32_t channel = 1 + (uint32_t)sim_below(sim, SIM_CHANNELS);
	const struct sim_key *key = &sim->keys[ask->request.event][channel];

	if (!key->known)
		return;
	ask->channel = (uint8_t)channel;
	ask->key_number = key->number;
	ask->tag = ush_siphash_2(&key->key, ask->request.user,
		(uint64_t)ask->request.event | (uint64_t)channel << 32);
	if (sim_below(sim, 8) == 0) {
		ask->forged = true;
		ask->tag ^= 1ull << sim_below(sim, 64);
	}
}

static bool draw_reserve(struct sim *sim, struct sim_ask *ask)
{
	uint64_t seats;

	ask->request.hold_ms = draw_ms(sim);
	if (sim->config.channels != 0 && sim_below(sim, 2) == 0)
		draw_channel(sim, ask);
	draw_legs(sim, ask);
	if (ask->channel == 0 || sim_below(sim, 4) == 0)
		return true;
	seats = ledger_channel(&sim->ledger, ask->request.event, ask->request.row, ask->channel);
	ask->leg_count = 0;
	if ((seats & ask->request.mask) != 0)
		ask->request.mask &= seats;
	else if (seats != 0)
		ask->request.mask = seats & -seats;
	return true;
}

/* Room for the answer: as much as there may be, or less. */
static void draw_room(struct sim *sim, struct sim_ask *ask)
{
	ask->pad_legs = (uint8_t)(sim_below(sim, 8) == 0 ? sim_below(sim, 3) : USH_LEG_COUNT_MAX);
}

static bool draw_best(struct sim *sim, struct sim_ask *ask)
{
	uint64_t flags = sim_below(sim, 8);

	ask->request.hold_ms = draw_ms(sim);
	ask->request.arg = 1 + sim_below(sim, 4);
	if ((flags & 1) != 0)
		ask->request.section = (uint16_t)sim_below(sim, sim->sections);
	if ((flags & 2) != 0)
		ask->request.arg |= sim_below(sim, SIM_TIERS) << 16;
	ask->request.arg |= flags << 24;
	draw_room(sim, ask);
	return true;
}

static bool draw_area(struct sim *sim, struct sim_ask *ask)
{
	ask->request.hold_ms = draw_ms(sim);
	ask->request.arg = 1 + sim_below(sim, 4);
	/* The last section is the area, if there is one. */
	ask->request.section = (uint16_t)(sim->sections - 1);
	draw_room(sim, ask);
	return true;
}

/* Names a recent hold in one of the states, a bit each; after some tries in whatever state. ret:
 * NULL: none. */
static const struct ledger_hold *draw_hold_in(struct sim *sim, struct sim_ask *ask, uint32_t states)
{
	const struct ledger *ledger = &sim->ledger;
	uint32_t span = (uint32_t)ush_min64(ledger->hold_count, RECENT);
	const struct ledger_hold *hold = NULL;

	for (uint32_t tries = 0; tries < 12 && span != 0; tries++) {
		hold = &ledger->holds[ledger->hold_count - 1 - sim_below(sim, span)];
		if ((states & 1u << hold->state) != 0)
			break;
	}
	if (hold == NULL)
		return NULL;
	ask->request.event = hold->event;
	ask->request.user = hold->user;
	ask->request.hold = hold->id;
	return hold;
}

/* Some of a hold's seats: in each leg that has any, now and then none. */
static void draw_part(struct sim *sim, struct sim_ask *ask, const struct ledger_hold *hold)
{
	for (uint32_t i = 0; i < hold->legs; i++) {
		uint64_t mask = hold->mask[i] & ush_random_next(&sim->random);

		if (mask == 0)
			continue;
		if (ask->request.mask == 0) {
			ask->request.row = hold->row[i];
			ask->request.mask = mask;
		} else if (ask->leg_count < SIM_LEGS_MAX) {
			ask->legs[ask->leg_count++] =
				(struct ush_leg){.row = hold->row[i], .mask = mask};
		}
	}
}

static bool draw_hold(struct sim *sim, struct sim_ask *ask)
{
	return draw_hold_in(sim, ask, 1u << USH_HOLD_STATE_HELD) != NULL;
}

static bool draw_any_hold(struct sim *sim, struct sim_ask *ask)
{
	return draw_hold_in(sim, ask, ~0u) != NULL;
}

static bool draw_release(struct sim *sim, struct sim_ask *ask)
{
	const struct ledger_hold *hold = draw_hold_in(sim, ask, 1u << USH_HOLD_STATE_HELD);

	if (hold != NULL && sim_below(sim, 2) == 0)
		draw_part(sim, ask, hold);
	return hold != NULL;
}

static bool draw_extend(struct sim *sim, struct sim_ask *ask)
{
	ask->request.hold_ms = draw_ms(sim);
	return draw_hold(sim, ask);
}

/* A request that names the hold's version; now and then an old one. */
static const struct ledger_hold *draw_versioned(
	struct sim *sim, struct sim_ask *ask, uint32_t state)
{
	const struct ledger_hold *hold = draw_hold_in(sim, ask, 1u << state);

	if (hold == NULL)
		return NULL;
	ask->request.section = hold->version;
	ask->lie = hold->state != state;
	if (sim_below(sim, 12) == 0) {
		ask->lie = true;
		ask->request.section = (uint16_t)(hold->version - 1 + 2 * sim_below(sim, 2));
	}
	return hold;
}

static bool draw_pay_begin(struct sim *sim, struct sim_ask *ask)
{
	const struct ledger_hold *hold = draw_versioned(sim, ask, USH_HOLD_STATE_HELD);

	if (hold == NULL)
		return false;
	ask->request.arg = hold->amount;
	ask->request.hold_ms = 1 + (uint32_t)sim_below(sim, 2000);
	if (sim_below(sim, 12) == 0)
		ask->request.arg++;
	return true;
}

static bool draw_pay_end(struct sim *sim, struct sim_ask *ask)
{
	const struct ledger_hold *hold = draw_versioned(sim, ask, USH_HOLD_STATE_PAYING);

	if (hold == NULL)
		return false;
	ask->request.arg = sim_outcome(sim, hold->id, ask->request.section);
	return true;
}

static bool draw_refund_begin(struct sim *sim, struct sim_ask *ask)
{
	const struct ledger_hold *hold = draw_versioned(sim, ask, USH_HOLD_STATE_SOLD);

	if (hold != NULL && sim_below(sim, 2) == 0)
		draw_part(sim, ask, hold);
	return hold != NULL;
}

static bool draw_refund_end(struct sim *sim, struct sim_ask *ask)
{
	const struct ledger_hold *hold = draw_versioned(sim, ask, USH_HOLD_STATE_REFUNDING);

	if (hold == NULL)
		return false;
	ask->request.arg = sim_outcome(sim, hold->id, ask->request.section);
	for (uint32_t i = 0; i < hold->legs; i++) {
		uint64_t mask = hold->refund[i];

		/* Other seats than the refund began with, now and then. */
		if (mask != 0 && sim_below(sim, 32) == 0)
			mask = hold->mask[i] & sim_draw_mask(sim);
		if (mask == 0)
			continue;
		if (ask->request.mask == 0) {
			ask->request.row = hold->row[i];
			ask->request.mask = mask;
		} else if (ask->leg_count < SIM_LEGS_MAX) {
			ask->legs[ask->leg_count++] =
				(struct ush_leg){.row = hold->row[i], .mask = mask};
		}
	}
	return true;
}

static bool draw_transfer(struct sim *sim, struct sim_ask *ask)
{
	ask->request.arg = 1 + sim_below(sim, sim->config.users);
	return draw_versioned(sim, ask, USH_HOLD_STATE_SOLD) != NULL;
}

static bool draw_house(struct sim *sim, struct sim_ask *ask)
{
	ask->request.user = 0;
	if (sim->config.channels != 0 && sim_below(sim, 3) != 0)
		ask->request.arg = 1 + sim_below(sim, SIM_CHANNELS);
	return draw_legs(sim, ask);
}

static bool draw_channel_key(struct sim *sim, struct sim_ask *ask)
{
	ask->request.user = 0;
	ask->request.section = (uint16_t)(1 + sim_below(sim, SIM_CHANNELS));
	ask->request.arg = sim_below(sim, 3) == 0;
	return sim->config.channels != 0;
}

static bool draw_wait(struct sim *sim, struct sim_ask *ask)
{
	uint64_t draw = sim_below(sim, 8);

	if (draw == 0)
		ask->request.arg = (uint64_t)USH_WAIT_ACTION_LEAVE << 32;
	else if (draw < 4)
		ask->request.arg = (uint64_t)USH_WAIT_ACTION_LOOK << 32;
	else
		ask->request.arg = 1 + sim_below(sim, 4);
	/* Half of those who wait do so for one of the tiers. */
	if (draw >= 4 && sim->config.tiers && sim_below(sim, 2) == 0)
		ask->request.arg |= 1ull << 24 | sim_below(sim, SIM_TIERS) << 16;
	return true;
}

static bool draw_swap(struct sim *sim, struct sim_ask *ask)
{
	const struct ledger_hold *hold = draw_hold_in(sim, ask, 1u << USH_HOLD_STATE_HELD);
	uint64_t given = 0;

	if (hold == NULL)
		return false;
	for (uint32_t i = 0; i < hold->legs && ask->give_count < SIM_LEGS_MAX; i++) {
		uint64_t mask = hold->mask[i] & ush_random_next(&sim->random);

		/* All of a row as often as some of it; now and then what it has not. */
		if (sim_below(sim, 2) == 0)
			mask = hold->mask[i];
		if (sim_below(sim, 16) == 0)
			mask |= sim_draw_mask(sim);
		if (mask == 0 || (given != 0 && sim_below(sim, 3) == 0))
			continue;
		given |= mask;
		ask->gives[ask->give_count++] = (struct ush_leg){.row = hold->row[i], .mask = mask};
	}
	if (sim->config.channels != 0 && sim_below(sim, 3) == 0)
		draw_channel(sim, ask);
	return draw_legs(sim, ask);
}

static bool draw_pay_late(struct sim *sim, struct sim_ask *ask)
{
	const uint32_t over = 1u << USH_HOLD_STATE_EXPIRED | 1u << USH_HOLD_STATE_RELEASED;
	const struct ledger_hold *hold = draw_hold_in(sim, ask, over);

	if (hold == NULL)
		return false;
	/* Of a hold that goes on, a buyer who is too hasty. */
	ask->lie = (over & 1u << hold->state) == 0;
	/* Or one who takes somebody else's booking for theirs. */
	if (ask->lie && sim_below(sim, 2) == 0)
		ask->request.user = 1 + sim_below(sim, sim->config.users);
	ask->request.arg = hold->amount;
	for (uint32_t i = 0; i < hold->legs; i++) {
		if (hold->mask[i] == 0)
			continue;
		if (ask->request.mask == 0) {
			ask->request.row = hold->row[i];
			ask->request.mask = hold->mask[i];
		} else if (ask->leg_count < SIM_LEGS_MAX) {
			ask->legs[ask->leg_count++] =
				(struct ush_leg){.row = hold->row[i], .mask = hold->mask[i]};
		}
	}
	if (sim->config.channels != 0 && sim_below(sim, 2) == 0)
		ask->request.section = (uint16_t)(1 + sim_below(sim, SIM_CHANNELS));
	return ask->request.mask != 0;
}

/* A page of bookings: the one that comes next, or a first one. */
static bool draw_bookings(struct sim *sim, struct sim_ask *ask)
{
	ask->request.user = 0;
	if (sim->page_next != 0 && sim_below(sim, 8) != 0) {
		ask->request.event = sim->page_event;
		ask->request.arg = sim->page_next;
	} else {
		ask->request.arg = sim_below(sim, 2) << 32;
	}
	return true;
}

static bool draw_section(struct sim *sim, struct sim_ask *ask)
{
	(void)sim;
	ask->request.user = 0;
	return true;
}

static bool draw_event_status(struct sim *sim, struct sim_ask *ask)
{
	static const uint8_t others[] = {USH_EVENT_STATUS_PAUSED, USH_EVENT_STATUS_PAUSED,
		USH_EVENT_STATUS_DRAFT, USH_EVENT_STATUS_COMPLETED};

	ask->request.user = 0;
	ask->request.arg =
		sim_below(sim, 4) != 0 ? USH_EVENT_STATUS_ON_SALE : others[sim_below(sim, 4)];
	if (sim_chance(sim, sim->config.cancel))
		ask->request.arg = USH_EVENT_STATUS_CANCELLED;
	return true;
}

static bool draw_load(struct sim *sim, struct sim_ask *ask)
{
	(void)sim;
	ask->request.user = 0;
	return true;
}

#define TYPE(name) USH_RECORD_TYPE_##name

static const struct sim_op ops[] = {
	{USH_OP_RESERVE, 46, false, true, false, TYPE(HOLD), draw_reserve},
	{USH_OP_RESERVE_BEST, 14, false, true, false, TYPE(HOLD), draw_best},
	{USH_OP_RESERVE_AREA, 5, false, true, false, TYPE(HOLD), draw_area},
	{USH_OP_RELEASE, 16, false, true, false, TYPE(RELEASE), draw_release},
	{USH_OP_EXTEND, 5, false, true, false, TYPE(EXTEND), draw_extend},
	{USH_OP_CONFIRM, 6, true, false, false, TYPE(CONFIRM), draw_hold},
	{USH_OP_PAY_BEGIN, 14, true, false, true, TYPE(PAY_BEGIN), draw_pay_begin},
	{USH_OP_PAY_END, 14, true, false, true, TYPE(PAY_END), draw_pay_end},
	{USH_OP_REFUND_BEGIN, 8, true, false, true, TYPE(REFUND_BEGIN), draw_refund_begin},
	{USH_OP_REFUND_END, 8, true, false, true, TYPE(REFUND_END), draw_refund_end},
	{USH_OP_TRANSFER, 4, true, false, true, TYPE(TRANSFER), draw_transfer},
	{USH_OP_QUERY_HOLD, 6, false, false, false, 0, draw_any_hold},
	{USH_OP_QUERY_SECTION, 2, true, false, false, 0, draw_section},
	{USH_OP_STATUS, 2, false, false, false, 0, draw_section},
	{USH_OP_BLOCK, 4, true, false, false, 0, draw_house},
	{USH_OP_UNBLOCK, 2, true, false, false, 0, draw_house},
	{USH_OP_CHANNEL_KEY, 2, true, false, false, 0, draw_channel_key},
	{USH_OP_EVENT_STATUS, 2, true, false, false, TYPE(EVENT_STATUS), draw_event_status},
	{USH_OP_SWAP, 8, false, true, false, TYPE(SWAP), draw_swap},
	{USH_OP_PAY_LATE, 5, true, false, false, TYPE(LATE), draw_pay_late},
	{USH_OP_BOOKINGS, 4, true, false, false, 0, draw_bookings},
	{USH_OP_WAIT_LIST, 14, false, true, false, 0, draw_wait},
	{USH_OP_JOIN, 50, false, false, false, 0, sim_room_draw_join},
	{USH_OP_POSITION, 16, false, false, false, 0, sim_room_draw_position},
	{USH_OP_EXCHANGE, 40, false, false, false, 0, sim_room_draw_exchange},
	{USH_OP_ROOM_CONTROL, 6, true, false, false, 0, sim_room_draw_control},
	{USH_OP_ROOM_SHOW, 4, true, false, false, 0, sim_room_draw_look},
	{USH_OP_ROOM_PLACES, 3, true, false, false, 0, sim_room_draw_look},
	/* See change_event in clients.c. */
	{USH_OP_EVENT_CHANGE, 0, true, false, false, TYPE(EVENT_CHANGE), draw_load},
	/* When it is missing: see look_after_events. */
	{USH_OP_EVENT_LOAD, 0, true, false, false, 0, draw_load},
};

#define OPS (sizeof(ops) / sizeof(ops[0]))

const struct sim_op *sim_op_find(uint8_t op)
{
	for (size_t i = 0; i < OPS; i++) {
		if (ops[i].op == op)
			return &ops[i];
	}
	return NULL;
}

static bool is_of_room(uint8_t op)
{
	return op == USH_OP_JOIN || op == USH_OP_POSITION || op == USH_OP_EXCHANGE ||
	       op == USH_OP_ROOM_CONTROL || op == USH_OP_ROOM_SHOW || op == USH_OP_ROOM_PLACES;
}

static uint32_t weight_of(const struct sim *sim, uint32_t at)
{
	const struct sim_config *c = &sim->config;

	if ((ops[at].op == USH_OP_SWAP && !c->swaps) ||
		(ops[at].op == USH_OP_PAY_LATE && !c->late) ||
		(ops[at].op == USH_OP_BOOKINGS && !c->listings) ||
		(is_of_room(ops[at].op) && c->guests == 0))
		return 0;
	return ops[at].weight;
}

const struct sim_op *sim_op_draw(struct sim *sim)
{
	uint32_t sum = 0, at = 0, draw;

	for (uint32_t i = 0; i < OPS; i++)
		sum += weight_of(sim, i);
	draw = (uint32_t)sim_below(sim, sum);
	while (draw >= weight_of(sim, at))
		draw -= weight_of(sim, at++);
	return &ops[at];
}

uint8_t sim_op_record(uint8_t op)
{
	const struct sim_op *found = sim_op_find(op);

	return found != NULL ? found->record : 0;
}

bool sim_op_is_counted(uint8_t op)
{
	const struct sim_op *found = sim_op_find(op);

	return found != NULL && found->counted;
}

bool sim_op_is_versioned(uint8_t op)
{
	const struct sim_op *found = sim_op_find(op);

	return found != NULL && found->versioned;
}
