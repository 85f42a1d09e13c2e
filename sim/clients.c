/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Clients and the network between them and the box. Clients ask, ask again, ask twice at once, and
 * lie. The network loses, doubles, delays and reorders: whatever is on its way is drawn at random.
 *
 * An operation is one row of `ops`, with the function that draws it.
 */
#include "check.h"

#define ETHER 14u
#define IP4 20u
#define UDP 8u
#define PAYLOAD_AT (ETHER + IP4 + UDP)
#define RECENT 48u

static const uint8_t box_mac[6] = {0x02, 0, 0, 0, 0, 1}, peer_mac[6] = {0x02, 0, 0, 0, 0, 9};
static const uint8_t box_ip4[4] = {10, 7, 0, 1}, peer_ip4[4] = {10, 7, 0, 2};

struct sim_op {
	uint8_t op;
	uint8_t weight;
	bool control;
	/* Enters the window of request ids. */
	bool counted;
	/* Record it writes when it is done; 0: none. */
	uint8_t record;
	/* Fills in what is special. ret: false if nothing can be asked now. */
	bool (*draw)(struct sim *sim, struct sim_ask *ask);
};

/* ---- drawing a request ---- */

static uint64_t draw_mask(struct sim *sim)
{
	uint64_t all = sim->config.seats == 64 ? ~0ull : (1ull << sim->config.seats) - 1;
	uint64_t mask = (1 + sim_below(sim, 7)) << sim_below(sim, sim->config.seats);

	return (mask & all) != 0 ? mask & all : 1;
}

static bool draw_legs(struct sim *sim, struct sim_ask *ask)
{
	uint32_t rows = sim->config.rows;

	ask->request.row = (uint16_t)sim_below(sim, rows);
	ask->request.mask = draw_mask(sim);
	if (rows > 1 && sim_below(sim, 3) == 0)
		ask->leg_count = (uint8_t)(1 + sim_below(sim, ush_min64(rows - 1, SIM_LEGS_MAX)));
	for (uint32_t i = 0; i < ask->leg_count; i++)
		ask->legs[i] =
			(struct ush_leg){.row = (uint16_t)((ask->request.row + 1 + i) % rows),
				.mask = draw_mask(sim)};
	return true;
}

static bool draw_reserve(struct sim *sim, struct sim_ask *ask)
{
	static const uint32_t ms[] = {0, 10, 50, 400, 3000};

	ask->request.hold_ms = ms[sim_below(sim, 5)];
	return draw_legs(sim, ask);
}

/* A hold that a client knows of. */
static bool draw_hold(struct sim *sim, struct sim_ask *ask)
{
	uint32_t span = (uint32_t)ush_min64(sim->ask_count, RECENT);

	for (uint32_t tries = 0; tries < 8 && span != 0; tries++) {
		const struct sim_ask *of = &sim->asks[sim->ask_count - 1 - sim_below(sim, span)];

		/* Made for the client by itself, or an offer that it has been told of. */
		if ((of->request.op != USH_OP_RESERVE && of->request.op != USH_OP_WAIT_LIST) ||
			!of->answered || of->status != USH_STATUS_OK || of->hold == 0)
			continue;
		ask->request.event = of->request.event;
		ask->request.user = of->request.user;
		ask->request.hold = of->hold;
		return true;
	}
	return false;
}

static bool draw_house(struct sim *sim, struct sim_ask *ask)
{
	ask->request.user = 0;
	return draw_legs(sim, ask);
}

static bool draw_wait(struct sim *sim, struct sim_ask *ask)
{
	uint64_t draw = sim_below(sim, 8), tier = sim_below(sim, 2);

	if (draw == 0)
		ask->request.arg = (uint64_t)USH_WAIT_ACTION_LEAVE << 32;
	else if (draw < 4)
		ask->request.arg = (uint64_t)USH_WAIT_ACTION_LOOK << 32;
	else
		ask->request.arg = (1 + sim_below(sim, 4)) | tier << 24;
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
	ask->request.user = 0;
	ask->request.arg =
		sim_below(sim, 4) != 0 ? USH_EVENT_STATUS_ON_SALE : USH_EVENT_STATUS_PAUSED;
	return true;
}

static bool draw_load(struct sim *sim, struct sim_ask *ask)
{
	(void)sim;
	ask->request.user = 0;
	return true;
}

static const struct sim_op ops[] = {
	{USH_OP_RESERVE, 60, false, true, USH_RECORD_TYPE_HOLD, draw_reserve},
	{USH_OP_RELEASE, 16, false, true, USH_RECORD_TYPE_RELEASE, draw_hold},
	{USH_OP_CONFIRM, 12, true, false, USH_RECORD_TYPE_CONFIRM, draw_hold},
	{USH_OP_QUERY_HOLD, 6, false, false, 0, draw_hold},
	{USH_OP_QUERY_SECTION, 2, true, false, 0, draw_section},
	{USH_OP_STATUS, 2, false, false, 0, draw_section},
	{USH_OP_BLOCK, 2, true, false, 0, draw_house},
	{USH_OP_UNBLOCK, 2, true, false, 0, draw_house},
	{USH_OP_EVENT_STATUS, 1, true, false, USH_RECORD_TYPE_EVENT_STATUS, draw_event_status},
	{USH_OP_WAIT_LIST, 14, false, true, 0, draw_wait},
	/* When it is missing: see look_after_events. */
	{USH_OP_EVENT_LOAD, 0, true, false, 0, draw_load},
};

#define OPS (sizeof(ops) / sizeof(ops[0]))

static const struct sim_op *find_op(uint8_t op)
{
	for (size_t i = 0; i < OPS; i++) {
		if (ops[i].op == op)
			return &ops[i];
	}
	return NULL;
}

uint8_t sim_op_record(uint8_t op)
{
	const struct sim_op *found = find_op(op);

	return found != NULL ? found->record : 0;
}

bool sim_op_is_counted(uint8_t op)
{
	const struct sim_op *found = find_op(op);

	return found != NULL && found->counted;
}

/* ---- sending ---- */

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
	*ask = (struct sim_ask){.control = op->control};
	user = 1 + (uint32_t)sim_below(sim, sim->config.users);
	ask->request = (struct ush_request){.op = op->op, .event = event, .user = user};
	if (!op->draw(sim, ask))
		return NULL;
	if (op->counted)
		ask->request.request_id = ++sim->next_id[ask->request.event][ask->request.user];
	ask->request.cookie = ++sim->ask_count;
	return ask;
}

static void ask_new(struct sim *sim)
{
	uint32_t at = 0, draw = (uint32_t)sim_below(sim, 117);
	const struct sim_ask *ask;

	while (draw >= ops[at].weight)
		draw -= ops[at++].weight;
	ask = new_ask(sim, &ops[at], 1 + (uint32_t)sim_below(sim, sim->config.events));
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
	uint32_t kind = (uint32_t)sim_below(sim, 8), of;
	struct ush_request *r = &ask->request;

	if (span == 0 || sim->ask_count == SIM_ASKS_MAX)
		return;
	of = sim->ask_count - 1 - (uint32_t)sim_below(sim, span);
	if (sim->asks[of].noise || sim->asks[of].request.op == USH_OP_EVENT_LOAD)
		return;
	*ask = (struct sim_ask){.request = sim->asks[of].request,
		.leg_count = sim->asks[of].leg_count,
		.control = sim->asks[of].control};
	memcpy(ask->legs, sim->asks[of].legs, sizeof(ask->legs));
	switch (kind) {
	case 0: /* the same id with another body */
		r->mask = draw_mask(sim);
		break;
	case 1: /* somebody else's hold */
		r->user = 1 + sim_below(sim, sim->config.users);
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
		r->row = (uint16_t)(sim->config.rows + sim_below(sim, 3) * 30000);
		r->hold_ms = (uint32_t)sim_below(sim, 2) * 4000000u;
		break;
	case 6: /* bits that fell over, but not in a socket: no answer is owed */
		ask->control = false;
		ask->noise = true;
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
		const struct sim_op *op = find_op(there ? USH_OP_EVENT_STATUS : USH_OP_EVENT_LOAD);
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

/* The same privileged request over and over: each time a record. */
static void ask_flood(struct sim *sim)
{
	if (sim->flood_ask == 0 || sim->to_box_count + sim->config.flood > SIM_MESSAGES_MAX) {
		const struct sim_ask *ask = new_ask(sim, find_op(USH_OP_EVENT_STATUS), 1);

		sim->flood_ask = ask != NULL ? sim->ask_count : 0;
		return;
	}
	for (uint32_t i = 0; i < sim->config.flood; i++)
		send(sim, sim->flood_ask - 1, false);
}

void sim_client_act(struct sim *sim)
{
	uint64_t draw = sim_below(sim, 100);

	if (sim->up)
		look_after_events(sim);
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

/* ---- on the wire ---- */

static void put16(uint8_t *at, uint32_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

static uint32_t sum16(uint32_t sum, const uint8_t *data, size_t bytes)
{
	for (size_t i = 0; i + 1 < bytes; i += 2)
		sum += (uint32_t)data[i] << 8 | data[i + 1];
	while (sum >> 16 != 0)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

/* Puts Ethernet, IPv4 and UDP headers before a payload of `bytes` at PAYLOAD_AT. */
static void frame(uint8_t *f, uint32_t bytes)
{
	uint8_t *ip = f + ETHER, *udp = ip + IP4;
	uint32_t udp_bytes = UDP + bytes;

	memset(f, 0, PAYLOAD_AT);
	memcpy(f, box_mac, 6);
	memcpy(f + 6, peer_mac, 6);
	put16(f + 12, 0x0800);
	ip[0] = 0x45;
	put16(ip + 2, IP4 + udp_bytes);
	ip[8] = 64;
	ip[9] = 17;
	memcpy(ip + 12, peer_ip4, 4);
	memcpy(ip + 16, box_ip4, 4);
	put16(ip + 10, ~sum16(0, ip, IP4));
	put16(udp, 12345);
	put16(udp + 2, USH_UDP_PORT);
	put16(udp + 4, udp_bytes);
	put16(udp + 6, ~sum16(sum16(17 + udp_bytes, ip + 12, 8), udp, udp_bytes));
}

/* ret: bytes of the request. */
static uint32_t put_request(const struct sim_ask *ask, uint8_t *at)
{
	struct ush_request request = ask->request;
	struct ush_extension_header legs = {.type = USH_EXTENSION_LEGS, .value = ask->leg_count};
	uint32_t bytes = ask->leg_count * (uint32_t)sizeof(struct ush_leg);

	request.magic = USH_REQUEST_MAGIC;
	request.version = USH_VERSION;
	request.size = sizeof(request);
	if (ask->leg_count != 0) {
		legs.size = (uint16_t)(sizeof(legs) + bytes);
		request.size = (uint16_t)(request.size + legs.size);
		request.extension_count = 1;
		memcpy(at + sizeof(request), &legs, sizeof(legs));
		memcpy(at + sizeof(request) + sizeof(legs), ask->legs, bytes);
	}
	memcpy(at, &request, sizeof(request));
	return request.size;
}

static void attach_event(struct sim *sim, struct ush_packet *packet, uint32_t id)
{
	struct ush_event_view view;
	struct ush_message message;
	struct ush_event *event;

	if (ush_engine_event_view(sim->engine, id, &view) ||
		ush_engine_event_build(
			sim->engine, id, sim->image, sim->image_bytes, &event, &message) != 0)
		return;
	packet->attachment = event;
	packet->flags |= USH_PACKET_ATTACHED;
}

/* Draws a message that arrives. ret: false if none does. */
static bool draw_arrival(struct sim *sim, struct sim_message *message)
{
	while (sim->to_box_count != 0) {
		uint32_t at = (uint32_t)sim_below(sim, sim->to_box_count);

		*message = sim->to_box[at];
		if (sim_chance(sim, sim->config.duplicate))
			sim->totals->duplicated++;
		else
			sim->to_box[at] = sim->to_box[--sim->to_box_count];
		if (!sim_chance(sim, sim->config.lose))
			return true;
		sim->totals->lost++;
	}
	return false;
}

bool sim_network_take(struct sim *sim, struct ush_packet *packet)
{
	struct sim_message message;
	const struct sim_ask *ask;
	uint32_t bytes, slot;
	uint8_t *data;

	if (sim->free_buffer_count == 0 || !draw_arrival(sim, &message))
		return false;
	ask = &sim->asks[message.ask];
	slot = sim->free_buffers[--sim->free_buffer_count];
	data = sim->buffers + (size_t)slot * SIM_BUFFER_BYTES;
	bytes = put_request(ask, data + (ask->control ? 0 : PAYLOAD_AT));
	if (!ask->control) {
		frame(data, bytes);
		bytes += PAYLOAD_AT;
	}
	/* Not in the other end's addresses, which nobody checks. */
	if (message.garbled)
		data[PAYLOAD_AT + sim_below(sim, USH_REQUEST_BYTES)] ^=
			(uint8_t)(1u << sim_below(sim, 8));
	*packet = (struct ush_packet){.data = data,
		.size = bytes,
		.capacity = SIM_BUFFER_BYTES,
		.handle = data,
		.flags = ask->control ? USH_PACKET_CONTROL : 0};
	if (ask->request.op == USH_OP_EVENT_LOAD && ask->control)
		attach_event(sim, packet, ask->request.event);
	sim->totals->requests++;
	return true;
}

void sim_network_free(struct sim *sim, const struct ush_packet *packet)
{
	if (packet->handle == NULL)
		return;
	sim->free_buffers[sim->free_buffer_count++] =
		(uint16_t)((size_t)((uint8_t *)packet->handle - sim->buffers) / SIM_BUFFER_BYTES);
}

void sim_network_reset(struct sim *sim)
{
	sim->free_buffer_count = 0;
	for (uint32_t i = 0; i < SIM_BUFFERS; i++)
		sim->free_buffers[sim->free_buffer_count++] = (uint16_t)i;
	memcpy(sim->net.mac, box_mac, 6);
	memcpy(&sim->net.ipv4_be, box_ip4, 4);
	sim->net.has_ipv4 = true;
	put16((uint8_t *)&sim->net.udp_port_be, USH_UDP_PORT);
}

/* What left the box is remembered with the ask it answers. */
static void remember(struct sim *sim, struct sim_ask *ask, const struct ush_reply *reply)
{
	if (ask->out_boot != 0 && ask->out_status == USH_STATUS_OK)
		return;
	if (reply->status == USH_STATUS_RETRY || reply->status == USH_STATUS_BUSY)
		return;
	ask->out_boot = sim->boot;
	ask->out_status = reply->status;
	ask->out_hold = reply->hold;
	ask->out_sequence = reply->sequence;
}

void sim_network_reply(struct sim *sim, const struct ush_packet *packet)
{
	struct ush_reply reply;
	struct sim_ask *ask;

	memcpy(&reply, packet->data + packet->payload_at, sizeof(reply));
	if (reply.magic != USH_REPLY_MAGIC || reply.cookie == 0 || reply.cookie > sim->ask_count) {
		sim_fail(sim, "repeat", "a reply to nobody: cookie %" PRIu64, reply.cookie);
		return;
	}
	ask = &sim->asks[reply.cookie - 1];
	sim_note(sim, "reply", reply.cookie - 1, reply.status);
	sim_note(sim, "rests on", reply.sequence, reply.hold);
	sim->totals->replies++;
	if (ask->request.op == USH_OP_EVENT_LOAD || ask->request.op == USH_OP_EVENT_STATUS)
		sim->event_asked[ask->request.event] = false;
	SIM_CHECK_ALL(sim, replied, ask, &reply);
	remember(sim, ask, &reply);
	if (sim->to_client_count < SIM_MESSAGES_MAX)
		sim->to_client[sim->to_client_count++] =
			(struct sim_message){.ask = (uint32_t)reply.cookie - 1, .reply = reply};
}

void sim_client_receive(struct sim *sim)
{
	struct sim_message message;
	struct sim_ask *ask;
	uint32_t at;

	if (sim->to_client_count == 0)
		return;
	at = (uint32_t)sim_below(sim, sim->to_client_count);
	message = sim->to_client[at];
	sim->to_client[at] = sim->to_client[--sim->to_client_count];
	if (sim_chance(sim, sim->config.lose)) {
		sim->totals->lost++;
		return;
	}
	ask = &sim->asks[message.ask];
	if (message.reply.status == USH_STATUS_RETRY ||
		(message.reply.status == USH_STATUS_BUSY && !sim->calm))
		return;
	ask->answered = true;
	ask->status = message.reply.status;
	ask->hold = message.reply.hold;
}
