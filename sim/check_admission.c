/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Admission where it stands in the turn: each packet has the verdict that the contract gives it, in
 * the order of arrival, and they add up to the packets; a bad token or MAC never passes, and a good
 * one is not called bad; what is refused leaves no record; who has a hold is never refused for a
 * token.
 */
#include "admit/golden.h"
#include "check.h"

static struct ush_admit_set source_sets[SIM_ADMIT_SETS], user_sets[SIM_ADMIT_SETS];
static struct ush_admit_state state;

/* What this turn was given. */
static struct {
	uint32_t packets;
	uint64_t before[USH_VERDICT_COUNT];
	uint64_t due[USH_VERDICT_COUNT];
	struct ush_request passed[USH_LOOP_BURST];
	uint32_t passed_count;
} turn;

static void restarted(struct sim *sim)
{
	const struct ush_gate *gate = sim->engine->gate;

	if (sim->config.admission == 0)
		return;
	USH_ASSERT(gate->state.sources.set_bits <= 6 && gate->state.users.set_bits <= 6);
	memset(source_sets, 0, sizeof(source_sets));
	memset(user_sets, 0, sizeof(user_sets));
	memset(&state, 0, sizeof(state));
	state.sources = (struct ush_admit_table){
		.sets = source_sets, .set_bits = gate->state.sources.set_bits};
	state.users =
		(struct ush_admit_table){.sets = user_sets, .set_bits = gate->state.users.set_bits};
}

/* ret: true if the token was made by who may, for this user and event. */
static bool is_good(const struct sim_ask *ask)
{
	return ask->token == SIM_GOOD ||
	       (ask->token == SIM_GIVEN && ask->token_user == ask->request.user);
}

/* What the client put in is what the verdict is about. */
static void check_intent(struct sim *sim, const struct sim_ask *ask,
	const struct ush_admit_says *says, uint64_t now_ns)
{
	bool token = (sim->config.admission & USH_ADMISSION_CHECK_TOKEN) != 0 &&
		     says->op_class == USH_OP_CLASS_NEW_HOLD;
	bool mac = (sim->config.admission & USH_ADMISSION_CHECK_MAC) != 0;
	bool late = ask->token == SIM_LATE || now_ns >= ask->token_end_ns;
	bool passes = says->verdict == USH_VERDICT_PASS;

	sim->totals->tokens_used += passes && token && ask->token == SIM_GIVEN;
	if (passes && token && (!is_good(ask) || late))
		sim_fail(sim, "admission", "ask %" PRIu64 " passes with a bad token (%u)",
			ask->request.cookie - 1, ask->token);
	else if (passes && mac &&
		 (ask->mac == SIM_NONE ? says->op_class != USH_OP_CLASS_QUERY
				       : ask->mac != SIM_GOOD))
		sim_fail(sim, "admission", "ask %" PRIu64 " passes with a bad MAC (%u)",
			ask->request.cookie - 1, ask->mac);
	else if (is_good(ask) && !late && says->verdict >= USH_VERDICT_TOKEN_MISSING &&
		 says->verdict <= USH_VERDICT_TOKEN_FORGED)
		sim_fail(sim, "admission", "ask %" PRIu64 " has a good token and verdict %u",
			ask->request.cookie - 1, says->verdict);
}

static void arrived(
	struct sim *sim, uint32_t loop, const struct ush_packet *packets, uint32_t count)
{
	const struct ush_loop *to = ush_engine_loop(sim->engine, loop);
	const struct ush_admit_config *config;

	if (sim->config.admission == 0)
		return;
	config = ush_gate_config(sim->engine->gate);
	memset(turn.due, 0, sizeof(turn.due));
	memcpy(turn.before, to->counters.verdict, sizeof(turn.before));
	turn.packets = turn.passed_count = 0;
	for (uint32_t i = 0; i < count && !sim->failed; i++) {
		const uint8_t *payload = packets[i].data + SIM_PAYLOAD_AT;
		struct ush_request *request = &turn.passed[turn.passed_count];
		struct ush_admit_says says;

		if ((packets[i].flags & USH_PACKET_CONTROL) != 0)
			continue;
		turn.packets++;
		/* Bits that fell over on the way: the host's stack sees them first. */
		if (!sim_network_is_whole(&packets[i])) {
			turn.due[USH_VERDICT_HOST]++;
			continue;
		}
		ush_golden(config, &state, packets[i].data, packets[i].size, sim->loop_now_ns[loop],
			&says);
		turn.due[says.verdict]++;
		memcpy(request, payload, sizeof(*request));
		turn.passed_count += says.verdict == USH_VERDICT_PASS;
		if (request->cookie != 0 && request->cookie <= sim->ask_count &&
			!sim->asks[request->cookie - 1].noise)
			check_intent(sim, &sim->asks[request->cookie - 1], &says,
				sim->loop_now_ns[loop]);
	}
}

/* ret: true if a client's request is the cause of the record. */
static bool is_asked_for(const struct ush_record *r)
{
	switch (r->type) {
	case USH_RECORD_TYPE_HOLD:
	case USH_RECORD_TYPE_RELEASE:
	case USH_RECORD_TYPE_EXTEND:
	case USH_RECORD_TYPE_CUT:
	case USH_RECORD_TYPE_SWAP:
	case USH_RECORD_TYPE_WAIT_JOIN:
	case USH_RECORD_TYPE_WAIT_LEAVE:
		return r->request_id != 0;
	case USH_RECORD_TYPE_ROOM_JOIN:
	case USH_RECORD_TYPE_ROOM_EXCHANGE:
		return true;
	default:
		return false;
	}
}

/* Places and tokens are given without an id. */
static bool is_cause(const struct ush_request *request, const struct ush_record *r)
{
	if (r->type == USH_RECORD_TYPE_ROOM_JOIN)
		return request->op == USH_OP_JOIN;
	if (r->type == USH_RECORD_TYPE_ROOM_EXCHANGE)
		return request->op == USH_OP_EXCHANGE;
	return request->request_id == r->request_id;
}

static void appended(struct sim *sim, uint32_t loop, const struct ush_record *r)
{
	(void)loop;
	if (sim->config.admission == 0 || !is_asked_for(r))
		return;
	for (uint32_t i = 0; i < turn.passed_count; i++) {
		const struct ush_request *request = &turn.passed[i];

		if (request->user == r->user && request->event == r->event && is_cause(request, r))
			return;
	}
	sim_fail(sim, "admission",
		"record %" PRIu64 " (type %u) of user %" PRIu64
		": no request %u was admitted in this turn",
		r->sequence, r->type, r->user, r->request_id);
}

static void turned(struct sim *sim, uint32_t loop, bool had_room)
{
	const uint64_t *now = ush_engine_loop(sim->engine, loop)->counters.verdict;
	uint64_t sum = 0;

	(void)had_room;
	if (sim->config.admission == 0)
		return;
	for (uint32_t i = 0; i < USH_VERDICT_COUNT; i++) {
		sum += now[i] - turn.before[i];
		if (now[i] - turn.before[i] != turn.due[i])
			sim_fail(sim, "admission",
				"of %u packets %" PRIu64 " have verdict %u, %" PRIu64 " are due",
				turn.packets, now[i] - turn.before[i], i, turn.due[i]);
	}
	sim->totals->admitted += turn.passed_count;
	sim->totals->turned_away += turn.packets - turn.passed_count;
	if (sum != turn.packets)
		sim_fail(
			sim, "admission", "%u packets and %" PRIu64 " verdicts", turn.packets, sum);
	turn.passed_count = 0;
}

static void replied(struct sim *sim, const struct sim_ask *ask, const struct ush_reply *reply)
{
	bool gate = reply->status == USH_STATUS_MAC || reply->status == USH_STATUS_TOKEN ||
		    reply->status == USH_STATUS_RATE;

	if (gate && (sim->config.admission == 0 || ask->control))
		sim_fail(sim, "admission", "ask %" PRIu64 " is told %u, and nobody minds",
			reply->cookie - 1, reply->status);
	if (reply->status == USH_STATUS_TOKEN &&
		ush_golden_class(ask->request.op) != USH_OP_CLASS_NEW_HOLD && !ask->noise)
		sim_fail(sim, "admission", "ask %" PRIu64 " (op %u) needs no token and is refused",
			reply->cookie - 1, ask->request.op);
}

const struct check check_admission = {.name = "admission",
	.arrived = arrived,
	.appended = appended,
	.turned = turned,
	.replied = replied,
	.restarted = restarted};
