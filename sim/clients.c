/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Clients: they ask, ask again, ask twice at once, and lie. What there is to ask is in ops.c.
 */
#include "check.h"
#include "ops.h"

static void send(struct sim *sim, uint32_t number, bool garbled)
{
	if (sim->to_box_count == SIM_MESSAGES_MAX)
		return;
	sim->to_box[sim->to_box_count++] = (struct sim_message){.ask = number, .garbled = garbled};
	sim_note(sim, "ask", number, sim->asks[number].request.op);
}

/* ret: a new ask of that operation, not yet sent, or NULL. */
static struct sim_ask *new_ask(struct sim *sim, const struct sim_op *op, uint32_t event)
{
	struct sim_ask *ask = &sim->asks[sim->ask_count];
	uint32_t user;

	if (sim->ask_count == SIM_ASKS_MAX)
		return NULL;
	*ask = (struct sim_ask){.control = op->control,
		.asked_at = sim->confirmed * USH_BLOCK_SLOTS,
		.asked_boot = sim->boot};
	user = 1 + (uint32_t)sim_below(sim, sim->config.users);
	ask->request = (struct ush_request){.op = op->op, .event = event, .user = user};
	if (!op->draw(sim, ask))
		return NULL;
	if (op->counted)
		ask->request.request_id = ++sim->next_id[ask->request.event][ask->request.user];
	ask->request.cookie = ++sim->ask_count;
	sim_admission_draw(sim, ask);
	return ask;
}

static void ask_new(struct sim *sim)
{
	const struct sim_op *op = sim_op_draw(sim);
	const struct sim_ask *ask =
		new_ask(sim, op, 1 + (uint32_t)sim_below(sim, sim->config.events));

	if (ask == NULL)
		return;
	send(sim, sim->ask_count - 1, false);
	if (sim_chance(sim, sim->config.duplicate))
		send(sim, sim->ask_count - 1, false);
}

static void ask_again(struct sim *sim)
{
	uint32_t span = (uint32_t)ush_min64(sim->ask_count, RECENT), number;

	if (span == 0)
		return;
	number = sim->ask_count - 1 - (uint32_t)sim_below(sim, span);
	if (sim->asks[number].noise || sim->asks[number].request.op == USH_OP_EVENT_LOAD)
		return;
	send(sim, number, false);
	if (sim_below(sim, 3) == 0)
		send(sim, number, false);
}

/* Something that no honest client sends. */
static void ask_lie(struct sim *sim)
{
	uint32_t span = (uint32_t)ush_min64(sim->ask_count, RECENT);
	struct sim_ask *ask = &sim->asks[sim->ask_count];
	uint32_t kind = (uint32_t)sim_below(sim, 9), of;
	struct ush_request *r = &ask->request;

	if (span == 0 || sim->ask_count == SIM_ASKS_MAX)
		return;
	of = sim->ask_count - 1 - (uint32_t)sim_below(sim, span);
	if (sim->asks[of].noise || sim->asks[of].request.op == USH_OP_EVENT_LOAD)
		return;
	*ask = sim->asks[of];
	ask->lie = true;
	ask->answered = false;
	ask->out_boot = 0;
	ask->asked_at = sim->confirmed * USH_BLOCK_SLOTS;
	ask->asked_boot = sim->boot;
	switch (kind) {
	case 0: /* the same id with another body */
		r->mask = sim_draw_mask(sim);
		break;
	case 1: /* somebody else's hold */
		r->user = 1 + sim_below(sim, sim->config.users);
		ask->forged |= r->user != sim->asks[of].request.user;
		break;
	case 2: /* a hold that never was */
		r->hold ^= 1ull << sim_below(sim, 64);
		break;
	case 3: /* an id long past */
		r->request_id = r->request_id > 66 ? r->request_id - 66 : 1;
		break;
	case 4: /* privileged, from the street */
		ask->control = false;
		break;
	case 5: /* seats and times that are not there */
		r->row = (uint16_t)(sim->ledger.event[r->event % LEDGER_EVENTS].rows +
				    sim_below(sim, 3) * 30000);
		r->hold_ms = (uint32_t)sim_below(sim, 2) * 4000000u;
		break;
	case 6: /* bits that fell over, but not in a socket: no answer is owed */
		ask->control = false;
		ask->noise = true;
		break;
	case 7: /* another price, another group; who ends a payment is no liar */
		if (r->op == USH_OP_PAY_BEGIN || r->op == USH_OP_RESERVE_BEST ||
			r->op == USH_OP_RESERVE_AREA || r->op == USH_OP_PAY_LATE)
			r->arg ^= 1ull << sim_below(sim, 48);
		break;
	default: /* an id far ahead */
		if (sim_op_is_counted(r->op))
			r->request_id = sim->next_id[r->event][r->user] +=
				(uint32_t)sim_below(sim, 90);
		break;
	}
	if (r->user <= SIM_USERS_MAX && r->event <= SIM_EVENTS_MAX)
		sim->next_id[r->event][r->user] =
			(uint32_t)ush_max64(sim->next_id[r->event][r->user], r->request_id);
	sim->totals->lies++;
	r->cookie = ++sim->ask_count;
	send(sim, sim->ask_count - 1, kind == 6);
}

/* The operator's: loads events that are missing, and opens them. */
static void look_after_events(struct sim *sim)
{
	for (uint32_t id = 1; id <= sim->config.events; id++) {
		struct ush_event_view view;
		bool there = ush_engine_event_view(sim->engine, id, &view);
		const struct sim_op *op =
			sim_op_find(there ? USH_OP_EVENT_STATUS : USH_OP_EVENT_LOAD);
		struct sim_ask *ask;

		if (sim->event_asked[id] || (there && view.status != USH_EVENT_STATUS_DRAFT))
			continue;
		ask = new_ask(sim, op, id);
		if (ask == NULL)
			return;
		if (there)
			ask->request.arg = USH_EVENT_STATUS_ON_SALE;
		sim->event_asked[id] = true;
		send(sim, sim->ask_count - 1, false);
	}
}

/* The operator's: takes rooms from their lobby to the draw and on. */
static void look_after_rooms(struct sim *sim)
{
	for (uint32_t id = 1; id <= sim->config.events; id++) {
		uint64_t arg;
		uint8_t op = sim_room_next(sim, id, &arg);
		struct sim_ask *ask;

		if (op == 0)
			continue;
		ask = &sim->asks[sim->ask_count];
		if (sim->ask_count == SIM_ASKS_MAX)
			return;
		*ask = (struct sim_ask){.control = true,
			.asked_at = sim->confirmed * USH_BLOCK_SLOTS,
			.asked_boot = sim->boot,
			.request = {.op = op, .event = id, .arg = arg}};
		ask->request.cookie = ++sim->ask_count;
		send(sim, sim->ask_count - 1, false);
	}
}

/* The same privileged request over and over: each time a record. */
static void ask_flood(struct sim *sim)
{
	if (sim->flood_ask == 0 || sim->to_box_count + sim->config.flood > SIM_MESSAGES_MAX) {
		struct sim_ask *ask = new_ask(sim, sim_op_find(USH_OP_EVENT_STATUS), 1);

		sim->flood_ask = ask != NULL ? sim->ask_count : 0;
		if (ask != NULL)
			ask->request.arg = USH_EVENT_STATUS_ON_SALE;
		return;
	}
	for (uint32_t i = 0; i < sim->config.flood; i++)
		send(sim, sim->flood_ask - 1, false);
}

/* The operator adds rows and changes prices: the next plan, one that was tried, or a later one.
 * Draws of its own, so that runs without them are what they were. */
static void change_event(struct sim *sim)
{
	uint32_t event = 1 + (uint32_t)ush_random_below(&sim->change_random, sim->config.events);
	uint32_t plan =
		sim->ledger.event[event].plan + (uint32_t)ush_random_below(&sim->change_random, 3);
	struct sim_ask *ask = &sim->asks[sim->ask_count];

	if (plan == 0 || plan >= sim->ledger.plan_count || sim->ask_count == SIM_ASKS_MAX)
		return;
	*ask = (struct sim_ask){.control = true,
		.request = {.op = USH_OP_EVENT_CHANGE, .event = event, .request_id = plan}};
	ask->request.cookie = ++sim->ask_count;
	send(sim, sim->ask_count - 1, false);
}

void sim_client_act(struct sim *sim)
{
	uint64_t draw = sim_below(sim, 100);

	if (sim->up)
		look_after_events(sim);
	if (sim->up && sim->config.guests != 0 && !sim->calm)
		look_after_rooms(sim);
	if (sim->up && sim->config.change != 0 && !sim->calm &&
		ush_random_below(&sim->change_random, 1000) < sim->config.change)
		change_event(sim);
	if (sim->config.flood != 0 && sim_below(sim, 2) == 0)
		ask_flood(sim);
	else if (sim_chance(sim, sim->config.lie))
		ask_lie(sim);
	else if (draw < 25)
		ask_again(sim);
	else
		ask_new(sim);
}

uint32_t sim_client_insist(struct sim *sim)
{
	uint32_t waiting = 0;

	if (sim->up)
		look_after_events(sim);
	for (uint32_t i = 0; i < sim->ask_count; i++) {
		if (sim->asks[i].answered || sim->asks[i].noise)
			continue;
		waiting++;
		if (sim->to_box_count < SIM_MESSAGES_MAX / 2)
			send(sim, i, false);
	}
	return waiting;
}
