/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The network between the clients and the box: it loses, doubles, delays and reorders, as what is
 * on its way is drawn at random; and the bytes of requests and replies.
 */
#include "check.h"

#define ETHER 14u
#define IP4 20u
#define UDP 8u
#define PAYLOAD_AT (ETHER + IP4 + UDP)
static_assert(PAYLOAD_AT == SIM_PAYLOAD_AT, "no options");

static const uint8_t box_mac[6] = {0x02, 0, 0, 0, 0, 1}, peer_mac[6] = {0x02, 0, 0, 0, 0, 9};
static const uint8_t box_ip4[4] = {10, 7, 0, 1}, peer_ip4[4] = {10, 7, 0, 2};

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
	uint16_t sum;

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
	/* 0 would say that there is none, and what garbles the frame would go unseen. */
	sum = (uint16_t)~sum16(sum16(17 + udp_bytes, ip + 12, 8), udp, udp_bytes);
	put16(udp + 6, sum != 0 ? sum : 0xffff);
}

bool sim_network_is_whole(const struct ush_packet *packet)
{
	const uint8_t *ip = packet->data + ETHER, *udp = ip + IP4;
	uint32_t bytes = (uint32_t)udp[4] << 8 | udp[5];

	return sum16(sum16(17 + bytes, ip + 12, 8), udp, bytes) == 0xffff;
}

void sim_network_extend(struct ush_request *request, uint8_t *payload, uint8_t type, uint32_t value,
	const void *body, uint32_t bytes)
{
	struct ush_extension_header header = {.type = type, .value = value};
	uint8_t *at = payload + request->size;

	header.size = (uint16_t)(sizeof(header) + bytes);
	memcpy(at, &header, sizeof(header));
	if (body != NULL)
		memcpy(at + sizeof(header), body, bytes);
	else
		memset(at + sizeof(header), 0, bytes);
	request->size = (uint16_t)(request->size + header.size);
	request->extension_count++;
}

/* ret: bytes of the request. */
static uint32_t put_request(const struct sim *sim, const struct sim_ask *ask, uint8_t *at)
{
	struct ush_request request = ask->request;

	request.magic = USH_REQUEST_MAGIC;
	request.version = USH_VERSION;
	request.size = sizeof(request);
	sim_admission_put(sim, ask, &request, at);
	if (ask->leg_count != 0)
		sim_network_extend(&request, at, USH_EXTENSION_LEGS, ask->leg_count, ask->legs,
			ask->leg_count * (uint32_t)sizeof(struct ush_leg));
	if (ask->give_count != 0)
		sim_network_extend(&request, at, USH_EXTENSION_GIVE, ask->give_count, ask->gives,
			ask->give_count * (uint32_t)sizeof(struct ush_leg));
	if (ask->channel != 0)
		sim_network_extend(&request, at, USH_EXTENSION_CHANNEL,
			ask->channel | ask->key_number << 8, &ask->tag, sizeof(ask->tag));
	sim_room_put(sim, ask, &request, at);
	if (ask->pad_legs != 0)
		sim_network_extend(&request, at, USH_EXTENSION_PAD, 0, NULL,
			ask->pad_legs * (uint32_t)sizeof(struct ush_leg));
	sim_admission_sign(sim, ask, &request, at);
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
			sim->engine, id, sim->image[0], sim->image_bytes[0], &event, &message) != 0)
		return;
	packet->attachment = event;
	packet->flags |= USH_PACKET_ATTACHED;
}

/* The request id is the number of the plan. */
static void attach_change(struct sim *sim, struct ush_packet *packet, const struct sim_ask *ask)
{
	uint32_t plan = ask->request.request_id, row;
	struct ush_change *change;
	struct ush_message message;

	if (plan >= sim->ledger.plan_count ||
		ush_engine_change_build(sim->engine, ask->request.event, plan, NULL,
			sim->image[plan], sim->image_bytes[plan], &change, &row,
			&message) != USH_STATUS_OK)
		return;
	packet->attachment = change;
	packet->flags |= USH_PACKET_ATTACHED;
}

/* Draws a message that arrives. ret: false if none does. */
static bool draw_arrival(struct sim *sim, uint32_t loop, struct sim_message *message)
{
	while (sim->to_box_count != 0) {
		uint32_t at = (uint32_t)sim_below(sim, sim->to_box_count);

		*message = sim->to_box[at];
		if (!sim_room_is_for(sim, &sim->asks[message->ask], loop))
			return false;
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

/* Every third request comes as one of several in a datagram: parsed already, and, if it is a base
 * message, in memory that is good for this turn only, perhaps behind another message. */
static void take_packed(struct sim *sim, struct ush_packet *packet)
{
	struct ush_packet frame = *packet;
	/* What checks admission reads frames of one message. */
	uint32_t at = sim->config.admission == 0 ? sim->part_count % 2 * USH_REQUEST_BYTES : 0;

	frame.payload_at = PAYLOAD_AT;
	frame.family = 4;
	if (ush_pack_bytes(&frame, 0) == USH_REQUEST_BYTES) {
		frame.data = sim->parts[sim->part_count++];
		frame.size = PAYLOAD_AT + at + USH_REQUEST_BYTES;
		memset(frame.data, 0x5a, SIM_PART_BYTES);
		memcpy(frame.data, packet->data, PAYLOAD_AT);
		memcpy(frame.data + PAYLOAD_AT + at, packet->data + PAYLOAD_AT, USH_REQUEST_BYTES);
		sim_network_free(sim, packet);
		ush_pack_part(&frame, at, packet);
		return;
	}
	*packet = frame;
	packet->flags = USH_PACKET_PACKED;
	packet->spare = PAYLOAD_AT;
}

bool sim_network_take(struct sim *sim, uint32_t loop, struct ush_packet *packet)
{
	struct sim_message message;
	const struct sim_ask *ask;
	uint32_t bytes, slot;
	uint8_t *data;

	if (sim->free_buffer_count == 0 || !draw_arrival(sim, loop, &message))
		return false;
	ask = &sim->asks[message.ask];
	slot = sim->free_buffers[--sim->free_buffer_count];
	data = sim->buffers + (size_t)slot * SIM_BUFFER_BYTES;
	bytes = put_request(sim, ask, data + (ask->control ? 0 : PAYLOAD_AT));
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
		.capacity = ask->request.op == USH_OP_BOOKINGS && ask->control ? SIM_PAGE_BYTES
									       : SIM_BUFFER_BYTES,
		.handle = data,
		.flags = ask->control ? USH_PACKET_CONTROL : 0};
	if (ask->request.op == USH_OP_EVENT_LOAD && ask->control)
		attach_event(sim, packet, ask->request.event);
	if (ask->request.op == USH_OP_EVENT_CHANGE && ask->control)
		attach_change(sim, packet, ask);
	sim_room_prepare(sim, ask, data, bytes);
	if (!ask->control && !message.garbled && message.ask % 3 == 0)
		take_packed(sim, packet);
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
	if (reply->status == USH_STATUS_RETRY || reply->status == USH_STATUS_BUSY ||
		sim_admission_refused(sim, reply->status))
		return;
	ask->out_boot = sim->boot;
	ask->out_status = reply->status;
	ask->out_state = reply->state;
	ask->out_version = reply->hold_version;
	ask->out_hold = reply->hold;
	ask->out_sequence = reply->sequence;
}

static uint32_t hex(uint8_t digit)
{
	return digit <= '9' ? digit - 48u : digit - 87u;
}

/* The operator hands a channel's key to those who sell for it. */
static void learn_key(struct sim *sim, const struct sim_ask *ask, const struct ush_reply *reply,
	const uint8_t *text)
{
	struct sim_key *key = &sim->keys[ask->request.event][ask->request.section];
	uint8_t bytes[16];

	if (reply->size < USH_REPLY_BYTES + sizeof(struct ush_extension_header) + 32 ||
		(key->known && key->number >= reply->detail))
		return;
	for (uint32_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(hex(text[2 * i]) << 4 | hex(text[2 * i + 1]));
	key->known = true;
	key->number = reply->detail;
	memcpy(&key->key.k0, bytes, 8);
	memcpy(&key->key.k1, bytes + 8, 8);
}

/* Takes the seats that a reply names. */
static void read_seats(struct sim *sim, const struct ush_reply *reply, const uint8_t *payload)
{
	struct ush_extension_header header;

	sim->reply_leg_count = 0;
	if (reply->extension_count == 0)
		return;
	memcpy(&header, payload + USH_REPLY_BYTES, sizeof(header));
	if (header.type != USH_EXTENSION_SEATS || header.value > USH_LEG_COUNT_MAX)
		return;
	sim->reply_leg_count = header.value;
	memcpy(sim->reply_legs, payload + USH_REPLY_BYTES + sizeof(header),
		header.value * sizeof(struct ush_leg));
}

/* Takes the bookings of a page; an operator goes on behind it, now and then anew. */
static void read_bookings(struct sim *sim, const struct sim_ask *ask, const struct ush_reply *reply,
	const uint8_t *payload)
{
	struct ush_extension_header header = {.value = 0};

	sim->reply_booking_count = 0;
	if (reply->op != USH_OP_BOOKINGS || reply->status != USH_STATUS_OK)
		return;
	if (reply->extension_count != 0)
		memcpy(&header, payload + USH_REPLY_BYTES, sizeof(header));
	if (header.value > SIM_BOOKINGS_MAX ||
		(header.value != 0 && header.type != USH_EXTENSION_BOOKINGS))
		sim_fail(sim, "bookings", "a page of %u entries", header.value);
	else
		sim->reply_booking_count = header.value;
	memcpy(sim->reply_bookings, payload + USH_REPLY_BYTES + sizeof(header),
		sim->reply_booking_count * sizeof(struct ush_booking));
	if (ask->out_boot == 0 && !ask->lie) {
		sim->page_event = ask->request.event;
		sim->page_next =
			reply->detail == 0 ? 0 : reply->detail | (ask->request.arg & 1ull << 32);
	}
}

void sim_network_reply(struct sim *sim, const struct ush_packet *packet)
{
	const uint8_t *payload = packet->data + packet->payload_at;
	struct ush_reply reply;
	struct sim_ask *ask;

	memcpy(&reply, payload, sizeof(reply));
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
	read_seats(sim, &reply, payload);
	read_bookings(sim, ask, &reply, payload);
	sim_room_read(sim, &reply, payload);
	SIM_CHECK_ALL(sim, replied, ask, &reply);
	remember(sim, ask, &reply);
	sim_room_learn(sim, ask, &reply);
	if (reply.op == USH_OP_CHANNEL_KEY && reply.status == USH_STATUS_OK)
		learn_key(sim, ask, &reply,
			payload + USH_REPLY_BYTES + sizeof(struct ush_extension_header));
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
}
