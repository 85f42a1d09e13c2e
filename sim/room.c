/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Waiting rooms in a share of the runs: what those ask who queue, honest or not, what the operator
 * does with a room, and what both know. Some leave: they never exchange a ticket. Some carry the
 * token that the room gave them when they buy.
 */
#include "admit/admit.h"
#include "check.h"
#include "ops.h"
#include "room/draw_file.h"

#define BEACON_BYTES 32u

/* ret: a byte that is secret, or of the beacon; the same each time. */
static uint8_t chance_of(const struct sim *sim, uint32_t event, uint64_t what, uint32_t at)
{
	return (uint8_t)ush_mix64(sim->seed ^ what ^ (uint64_t)event << 40 ^ (uint64_t)at << 48);
}

/* ret: true if that user leaves before the turn comes. */
static bool leaves(const struct sim *sim, uint64_t user)
{
	return (ush_mix64(sim->seed ^ 0x6c65617665 ^ user) & 7) == 0;
}

/* ---- what is asked ---- */

bool sim_room_draw_join(struct sim *sim, struct sim_ask *ask)
{
	ask->request.user = 1 + sim_below(sim, sim->config.guests);
	ask->request.arg = sim_below(sim, 16) == 0 ? sim_below(sim, 9) : sim_below(sim, 3);
	if (sim_below(sim, 2) == 0)
		ask->device = 1 + sim_below(sim, SIM_DEVICES);
	return true;
}

/* Takes a ticket to go with the request: the user's, or one that is none of theirs. */
static void draw_pass(struct sim *sim, struct sim_ask *ask)
{
	uint32_t event = ask->request.event;
	uint64_t user = ask->request.user;

	ask->ticket = sim_below(sim, 6) == 0 ? (uint8_t)sim_below(sim, SIM_TICKETS)
					     : (uint8_t)SIM_TICKET_GOOD;
	ask->pass_user = user;
	ask->pass_event = event;
	ask->pass = sim->guest[event][user].newest;
	switch ((enum sim_ticket)ask->ticket) {
	case SIM_TICKET_FIRST:
		ask->pass = sim->guest[event][user].first;
		break;
	case SIM_TICKET_NONE:
		ask->pass.known = false;
		break;
	case SIM_TICKET_USER:
		ask->pass_user = 1 + sim_below(sim, sim->config.guests);
		ask->pass = sim->guest[event][ask->pass_user].newest;
		break;
	case SIM_TICKET_EVENT:
		ask->pass_event = 1 + (uint32_t)sim_below(sim, SIM_EVENTS_MAX);
		ask->pass = sim->guest[ask->pass_event][user].newest;
		break;
	case SIM_TICKET_BENT:
		/* Another place, another tier, another tag. */
		ask->pass_user = 0;
		ask->pass.number += sim_below(sim, 2);
		ask->pass.value ^= (uint32_t)sim_below(sim, 8);
		ask->pass.tag ^= 1ull << sim_below(sim, 64);
		break;
	default:
		break;
	}
}

/* ret: somebody with a ticket, if tried for; of those first who heard that it is their turn. */
static uint64_t draw_guest(struct sim *sim, uint32_t event)
{
	const struct sim_guest *guest = sim->guest[event];
	uint64_t user = 0;

	for (uint32_t tries = 0; tries < 16; tries++) {
		user = 1 + sim_below(sim, sim->config.guests);
		if (guest[user].newest.known && (tries >= 10 || guest[user].is_due))
			break;
	}
	return user;
}

bool sim_room_draw_position(struct sim *sim, struct sim_ask *ask)
{
	ask->request.user = draw_guest(sim, ask->request.event);
	draw_pass(sim, ask);
	/* Without a ticket most join first. */
	if (ask->ticket == SIM_TICKET_GOOD && !ask->pass.known) {
		ask->request.op = USH_OP_JOIN;
		return sim_room_draw_join(sim, ask);
	}
	return true;
}

bool sim_room_draw_exchange(struct sim *sim, struct sim_ask *ask)
{
	if (!sim_room_draw_position(sim, ask))
		return false;
	if (ask->request.op == USH_OP_EXCHANGE && leaves(sim, ask->request.user))
		ask->request.op = USH_OP_POSITION;
	return true;
}

/* ret: what leads from one phase to the next; a list before the draw, whose root it needs. */
static uint8_t next_op(
	const struct sim *sim, const struct sim_ask *ask, uint64_t action, uint64_t *arg)
{
	if (action == USH_ROOM_ACTION_DRAW && !sim->lobby[ask->request.event].listed) {
		*arg = 0;
		return USH_OP_ROOM_PLACES;
	}
	*arg = action;
	return USH_OP_ROOM_CONTROL;
}

bool sim_room_draw_control(struct sim *sim, struct sim_ask *ask)
{
	static const uint32_t caps[] = {0, 300, 6000, USH_ROOM_NO_CAP};
	uint64_t action = USH_ROOM_ACTION_SET;

	ask->request.user = 0;
	switch (sim_below(sim, 4)) {
	case 0:
		action = USH_ROOM_ACTION_OPEN + sim_below(sim, USH_ROOM_ACTION_KEY);
		break;
	case 1:
		action = USH_ROOM_ACTION_KEY;
		break;
	default:
		break;
	}
	ask->request.op = next_op(sim, ask, action, &ask->request.arg);
	ask->wrong_seed = sim_below(sim, 2) == 0;
	if (action != USH_ROOM_ACTION_SET)
		return true;
	if (sim_below(sim, 2) == 0)
		ask->request.arg |= 1ull << 8 | (uint64_t)caps[sim_below(sim, 4)] << 32;
	else
		ask->request.arg |= 1ull << 9 | (sim_below(sim, 3) == 0 ? 1ull << 10 : 0);
	return true;
}

bool sim_room_draw_look(struct sim *sim, struct sim_ask *ask)
{
	(void)sim;
	ask->request.user = 0;
	return true;
}

uint8_t sim_room_next(struct sim *sim, uint32_t event, uint64_t *arg)
{
	const struct ledger *ledger = &sim->ledger;
	const struct sim_ask ask = {.request = {.event = event}};
	uint64_t action;

	if (!ledger->event[event].loaded)
		return 0;
	switch (ledger->room[event].phase) {
	case USH_ROOM_PHASE_NONE:
		action = sim_below(sim, 3) == 0 ? USH_ROOM_ACTION_OPEN : 0;
		break;
	case USH_ROOM_PHASE_LOBBY:
		action = sim_below(sim, sim->config.lobby) == 0 ? USH_ROOM_ACTION_CLOSE : 0;
		break;
	case USH_ROOM_PHASE_DRAW:
		action = sim_below(sim, 3) == 0 ? USH_ROOM_ACTION_DRAW : 0;
		break;
	default:
		return 0;
	}
	return action == 0 ? 0 : next_op(sim, &ask, action, arg);
}

void sim_room_token(struct sim *sim, struct sim_ask *ask)
{
	const struct sim_guest *guest;
	uint64_t user = ask->request.user;

	if (sim->config.guests == 0 || user == 0 || user > SIM_GUESTS_MAX)
		return;
	guest = &sim->guest[ask->request.event][user];
	if (!guest->has_token || sim_below(sim, 2) == 0)
		return;
	ask->token = SIM_GIVEN;
	ask->token_user = user;
	ask->token_value = guest->token_value;
	ask->token_end_ns = guest->token_end_ns;
	ask->token_tag = guest->token_tag;
}

/* ---- on its way ---- */

bool sim_room_is_for(const struct sim *sim, const struct sim_ask *ask, uint32_t loop)
{
	bool steered = ask->control && (ask->request.op == USH_OP_ROOM_CONTROL ||
					       ask->request.op == USH_OP_ROOM_SHOW ||
					       ask->request.op == USH_OP_ROOM_PLACES);

	return !steered || ask->request.event % sim->loops == loop;
}

static void put_open(
	const struct sim *sim, uint32_t event, struct ush_request *request, uint8_t *at)
{
	const struct sim_config *c = &sim->config;
	struct ush_room_open opened = {.round = 1 + event,
		.users = c->room_users,
		.device_users = c->device_users,
		.slow_places = c->slow_places,
		.cap = c->cap,
		.source_bytes = 6,
		.source = "beacon"};
	uint8_t seed[32];

	for (uint32_t i = 0; i < sizeof(seed); i++)
		seed[i] = chance_of(sim, event, 0x73656564, i);
	ush_draw_seed_hash(event, seed, opened.seed_hash);
	sim_network_extend(request, at, USH_EXTENSION_ROOM_OPEN, 1, &opened, sizeof(opened));
}

static void put_draw(
	const struct sim *sim, const struct sim_ask *ask, struct ush_request *request, uint8_t *at)
{
	uint32_t event = ask->request.event;
	struct ush_room_draw drawn = {.beacon_bytes = BEACON_BYTES};

	for (uint32_t i = 0; i < sizeof(drawn.seed); i++)
		drawn.seed[i] = (uint8_t)(chance_of(sim, event, 0x73656564, i) + ask->wrong_seed);
	for (uint32_t i = 0; i < BEACON_BYTES; i++)
		drawn.beacon[i] = chance_of(sim, event, 0x626561636f6e, i);
	memcpy(drawn.root, sim->lobby[event].root, sizeof(drawn.root));
	sim_network_extend(request, at, USH_EXTENSION_ROOM_DRAW, 1, &drawn, sizeof(drawn));
}

void sim_room_put(const struct sim *sim, const struct sim_ask *ask, struct ush_request *request,
	uint8_t *payload)
{
	uint32_t event = ask->request.event;

	if (ask->device != 0)
		sim_network_extend(request, payload, USH_EXTENSION_DEVICE, 0, &ask->device,
			sizeof(ask->device));
	if (ask->pass.known) {
		uint64_t body[2] = {ask->pass.number, ask->pass.tag};

		sim_network_extend(request, payload, USH_EXTENSION_TICKET, ask->pass.value, body,
			sizeof(body));
	}
	if (ask->request.op != USH_OP_ROOM_CONTROL || event == 0 || event > SIM_EVENTS_MAX)
		return;
	if (ask->request.arg == USH_ROOM_ACTION_OPEN)
		put_open(sim, event, request, payload);
	else if (ask->request.arg == USH_ROOM_ACTION_DRAW)
		put_draw(sim, ask, request, payload);
}

void sim_room_prepare(
	struct sim *sim, const struct sim_ask *ask, const uint8_t *payload, uint32_t bytes)
{
	struct ush_admitted admitted;

	if (ask->request.op != USH_OP_ROOM_CONTROL || !ask->control)
		return;
	ush_admit(payload, bytes, true, &admitted);
	if (admitted.verdict == USH_ADMIT_PASS)
		ush_engine_room_prepare(sim->engine, payload, bytes);
}

/* ---- what is learnt ---- */

static void learn_ticket(struct sim *sim, const struct sim_ask *ask, const struct ush_reply *reply)
{
	struct sim_guest *guest = &sim->guest[ask->request.event][ask->request.user];

	guest->newest = (struct sim_pass){.number = reply->amount,
		.tag = reply->hold,
		.value = reply->detail & 0xffff,
		.known = true};
	if (!guest->first.known)
		guest->first = guest->newest;
}

void sim_room_read(struct sim *sim, const struct ush_reply *reply, const uint8_t *payload)
{
	const uint32_t most = sizeof(sim->reply_places) / sizeof(sim->reply_places[0]);
	struct ush_extension_header header;

	sim->reply_place_count = 0;
	if (reply->op != USH_OP_ROOM_PLACES || reply->status != USH_STATUS_OK ||
		reply->extension_count == 0)
		return;
	memcpy(&header, payload + USH_REPLY_BYTES, sizeof(header));
	if (header.type != USH_EXTENSION_PLACES || header.value != reply->amount ||
		header.value > most) {
		sim_fail(sim, "room", "a page of %u places", header.value);
		return;
	}
	sim->reply_place_count = header.value;
	memcpy(sim->reply_places, payload + USH_REPLY_BYTES + sizeof(header),
		header.value * sizeof(struct ush_room_entry));
}

/* The list of a closed lobby is one page long. */
static void learn_root(struct sim *sim, const struct sim_ask *ask, const struct ush_reply *reply)
{
	const struct ledger_room *room = &sim->ledger.room[ask->request.event];
	struct sim_lobby *lobby = &sim->lobby[ask->request.event];
	struct ush_draw_file file = {.count = room->lobby};
	uint64_t users[SIM_ROOM_USERS_MAX + SIM_LOOPS_MAX] = {0};

	if (ask->request.arg != 0 || reply->detail != 0 || lobby->listed)
		return;
	memcpy(file.counts, room->counts, sizeof(file.counts));
	for (uint32_t i = 0; i < sim->reply_place_count; i++) {
		const struct ush_room_entry *entry = &sim->reply_places[i];
		uint32_t at = 0;

		if (entry->tier >= USH_ROOM_TIER_COUNT ||
			entry->number >= room->counts[entry->tier])
			continue;
		for (uint32_t tier = 0; tier < entry->tier; tier++)
			at += room->counts[tier];
		users[at + entry->number] = entry->user;
	}
	file.users = users;
	ush_draw_root(&file, lobby->root);
	lobby->listed = true;
}

void sim_room_learn(struct sim *sim, const struct sim_ask *ask, const struct ush_reply *reply)
{
	uint64_t user = ask->request.user;
	struct sim_guest *guest;

	sim->totals->tickets_refused += reply->status == USH_STATUS_TICKET;
	if (reply->status != USH_STATUS_OK || ask->request.event == 0 ||
		ask->request.event > SIM_EVENTS_MAX || user > SIM_GUESTS_MAX)
		return;
	guest = &sim->guest[ask->request.event][user];
	switch (reply->op) {
	case USH_OP_JOIN:
		learn_ticket(sim, ask, reply);
		break;
	case USH_OP_POSITION:
		guest->is_due = !guest->has_token;
		break;
	case USH_OP_EXCHANGE:
		guest->is_due = false;
		guest->has_token = true;
		guest->token_value = reply->detail;
		guest->token_end_ns = reply->deadline_ns;
		guest->token_tag = reply->hold;
		break;
	case USH_OP_ROOM_PLACES:
		learn_root(sim, ask, reply);
		break;
	default:
		break;
	}
}
