/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzes the turn: the input is a program of steps on one small engine of two loops, which lives
 * through an input and is made anew for the next.
 *
 * Each step is one byte that says what and a few that say how: a frame or control message of raw
 * bytes, a request with some fields set, the last request again, a row added or a price changed,
 * time passing, records becoming durable, a turn. The first bytes say whether the time of holds
 * counts. Afterwards every packet has come back, the counters add up, the audit finds no
 * contradiction, and the log applied to a second engine gives the same sums.
 *
 * Owns:  two engines.
 * Reads: nothing.
 * Never: DPDK.
 */
#include "../replay.h"
#include "loop/internal.h"

#define LOOPS 2u
#define ROWS 3u
#define ROWS_MAX 6u
#define SEATS 9u
#define STEPS_MAX 400u
#define FRAME_HEAD 42u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
	const uint8_t *at;
	size_t left;
};

struct fuzz {
	struct harness h;
	struct replay replay;
	struct input in;
	uint32_t loop;
	uint32_t given;
	uint32_t returned;
	/* For requests that go on where others left off. */
	struct ush_reply ticket[4];
	uint64_t hold[8];
	uint32_t hold_count;
	struct ush_packet burst[8];
	uint32_t burst_count;
	/* Of the next packet. */
	void *attachment;
	uint8_t last[256];
	uint32_t last_bytes;
	/* What the event is by now. */
	uint32_t rows;
	uint32_t price;
	uint32_t budget_s;
	uint32_t pause_ms;
};

/* Large; the memory of the engines is mapped and freed for each input. */
static struct fuzz fuzz;
static struct harness second;

static uint64_t take(struct input *in, uint32_t bytes)
{
	uint64_t value = 0;

	for (uint32_t i = 0; i < bytes && in->left > 0; i++, in->left--)
		value |= (uint64_t)*in->at++ << (8 * i);
	return value;
}

static void collect(struct fuzz *f)
{
	const struct ush_loop_out *out = &f->h.out;

	f->returned += out->free_count;
	for (uint32_t i = 0; i < out->send_count; i++) {
		const struct ush_packet *packet = &out->send[i];
		struct ush_reply reply;

		USH_ASSERT(packet->size <= USH_PAYLOAD_BYTES_MAX);
		/* The loop kept a reply without its packet, which it gave back at once. */
		f->returned += packet->handle != NULL;
		if ((packet->flags & USH_PACKET_CONTROL) == 0 && packet->payload_at == 0)
			continue;
		memcpy(&reply, packet->data + packet->payload_at, sizeof(reply));
		USH_ASSERT(reply.magic == USH_REPLY_MAGIC);
		USH_ASSERT(reply.status < USH_STATUS_COUNT);
		/* On a public port never longer than what was asked: handle is its size and 1. */
		if (packet->handle == NULL)
			USH_ASSERT(packet->size == packet->payload_at + USH_REPLY_BYTES);
		else if ((packet->flags & USH_PACKET_CONTROL) == 0)
			USH_ASSERT(packet->size <= ush_max64((uintptr_t)packet->handle - 1, 60));
		if (reply.status == USH_STATUS_OK && reply.op == USH_OP_JOIN)
			f->ticket[reply.cookie % 4] = reply;
		if (reply.status == USH_STATUS_OK && reply.op == USH_OP_RESERVE)
			f->hold[f->hold_count++ % 8] = reply.hold;
	}
}

static void turn(struct fuzz *f)
{
	harness_turn(&f->h, f->loop, f->burst, f->burst_count);
	f->burst_count = 0;
	collect(f);
}

static void durable(struct fuzz *f)
{
	harness_make_durable(&f->h);
	replay_collect(&f->replay, ush_engine_log(f->h.engine));
}

/* Adds a packet to the burst; replies that wait keep their packets, so few may wait. */
static void give(struct fuzz *f, const uint8_t *bytes, uint32_t size, uint16_t flags)
{
	uint8_t *packet = f->h.packets[f->given % HARNESS_PACKETS];

	memcpy(packet, bytes, size);
	f->burst[f->burst_count++] = (struct ush_packet){
		.data = packet,
		.size = size,
		.capacity = USH_PAYLOAD_BYTES_MAX,
		.handle = (void *)(uintptr_t)(size + 1),
		.attachment = f->attachment,
		.flags = flags | (f->attachment != NULL ? USH_PACKET_ATTACHED : 0),
	};
	f->attachment = NULL;
	f->given++;
	memcpy(f->last, bytes, ush_min64(size, sizeof(f->last)));
	f->last_bytes = (uint32_t)ush_min64(size, sizeof(f->last));
	if (f->burst_count == 8)
		turn(f);
	if (f->given - f->returned > HARNESS_PACKETS / 2) {
		for (uint32_t i = 0; i < LOOPS; i++) {
			f->loop = i;
			turn(f);
			durable(f);
			turn(f);
		}
	}
}

/* An IPv4 frame around a payload; without a UDP checksum, which IPv4 permits. */
static uint32_t put_frame(
	uint8_t *frame, const struct ush_net *net, const uint8_t *payload, uint32_t bytes)
{
	static const uint8_t head[FRAME_HEAD] = {[6] = 2,
		[11] = 9,
		[12] = 8,
		[14] = 0x45,
		[22] = 64,
		[23] = 17,
		[26] = 10,
		[29] = 2,
		[30] = 10,
		[33] = 1,
		[34] = 0x30,
		[36] = 0x1d,
		0x17};
	uint32_t ip = bytes + 28, udp = bytes + 8, sum = 0;

	memcpy(frame, head, sizeof(head));
	memcpy(frame, net->mac, 6);
	frame[16] = (uint8_t)(ip >> 8);
	frame[17] = (uint8_t)ip;
	frame[38] = (uint8_t)(udp >> 8);
	frame[39] = (uint8_t)udp;
	for (uint32_t i = 14; i < 34; i += 2)
		sum += (uint32_t)(frame[i] << 8 | frame[i + 1]);
	sum = ~((sum & 0xffff) + (sum >> 16));
	frame[24] = (uint8_t)(sum >> 8);
	frame[25] = (uint8_t)sum;
	memcpy(frame + FRAME_HEAD, payload, bytes);
	return FRAME_HEAD + bytes;
}

static void give_raw(struct fuzz *f, bool control)
{
	uint8_t bytes[256];
	uint32_t size = (uint32_t)take(&f->in, 1);

	for (uint32_t i = 0; i < size; i++)
		bytes[i] = (uint8_t)take(&f->in, 1);
	give(f, bytes, size, control ? USH_PACKET_CONTROL : 0);
}

/* A request that is well-formed, but for what the input says. */
static void give_request(struct fuzz *f, bool control)
{
	static const uint8_t ops[] = {USH_OP_RESERVE, USH_OP_RESERVE, USH_OP_RELEASE,
		USH_OP_QUERY_HOLD, USH_OP_QUERY_SECTION, USH_OP_STATUS, USH_OP_CONFIRM,
		USH_OP_BLOCK, USH_OP_UNBLOCK, USH_OP_EVENT_STATUS, USH_OP_EVENT_LOAD, USH_OP_STATS};
	struct ush_request r = {.magic = USH_REQUEST_MAGIC, .version = USH_VERSION, .event = 1};
	uint8_t payload[64 + 64], frame[256];
	uint32_t size = sizeof(r), how = (uint32_t)take(&f->in, 2);

	r.op = ops[how % sizeof(ops)];
	if (r.op == USH_OP_RESERVE || r.op == USH_OP_RELEASE)
		r.request_id = (uint32_t)take(&f->in, 1) + 1;
	if (r.op == USH_OP_RESERVE || r.op == USH_OP_RELEASE || r.op == USH_OP_QUERY_HOLD ||
		r.op == USH_OP_CONFIRM)
		r.user = 1 + take(&f->in, 1) % 4;
	if (r.op == USH_OP_RELEASE || r.op == USH_OP_QUERY_HOLD || r.op == USH_OP_CONFIRM)
		r.hold = f->hold[take(&f->in, 1) % 8];
	if (r.op == USH_OP_RESERVE || r.op == USH_OP_BLOCK || r.op == USH_OP_UNBLOCK) {
		r.row = (uint16_t)(take(&f->in, 1) % (ROWS_MAX + 1));
		r.mask = take(&f->in, 2) & ((2u << SEATS) - 1);
	}
	if (r.op == USH_OP_RESERVE)
		r.hold_ms = (uint32_t)(take(&f->in, 1) % 4) * 20;
	if (r.op == USH_OP_EVENT_STATUS)
		r.arg = take(&f->in, 1) % 7;
	if ((how & 0x1000) != 0)
		((uint8_t *)&r)[take(&f->in, 1) % 64] ^= (uint8_t)take(&f->in, 1);
	if ((how & 0x6000) != 0) {
		for (uint32_t i = 0; i < 24 + (how >> 13 & 3) * 8; i++)
			payload[size++] = (how & 0x2000) != 0 ? 0 : (uint8_t)take(&f->in, 1);
		payload[64] = (how & 0x2000) != 0 ? USH_EXTENSION_PAD : payload[64];
		payload[66] = (uint8_t)(size - 64);
		r.extension_count = 1;
	}
	r.size = (uint16_t)size;
	memcpy(payload, &r, sizeof(r));
	if (control)
		give(f, payload, size, USH_PACKET_CONTROL);
	else
		give(f, frame, put_frame(frame, &f->h.net, payload, size),
			USH_PACKET_L4_CHECKSUM_GOOD);
}

/* Something about the waiting room of the event, if it has one. */
static void give_room(struct fuzz *f)
{
	static const uint8_t ops[] = {USH_OP_JOIN, USH_OP_JOIN, USH_OP_EXCHANGE, USH_OP_POSITION,
		USH_OP_ROOM_CONTROL, USH_OP_ROOM_SHOW, USH_OP_ROOM_PLACES};
	uint32_t how = (uint32_t)take(&f->in, 2), size = 64;
	struct ush_request r = {.magic = USH_REQUEST_MAGIC, .version = USH_VERSION, .event = 1};
	struct {
		struct ush_extension_header header;
		uint64_t words[2];
	} extra = {0};
	uint8_t payload[64 + sizeof(extra)], frame[256];

	r.op = ops[how % sizeof(ops)];
	if (r.op < 64) {
		r.user = 1 + (how >> 8) % 4;
		r.cookie = (how >> 8) % 4;
	}
	if (r.op == USH_OP_JOIN) {
		r.arg = (how >> 10) % 8;
		extra.header = (struct ush_extension_header){USH_EXTENSION_DEVICE, 0, 16, 0};
		extra.words[0] = (how >> 13) % 3;
	} else if (r.op < 64) {
		const struct ush_reply *ticket = &f->ticket[(how >> 10) % 4];
		extra.header = (struct ush_extension_header){
			USH_EXTENSION_TICKET, 0, 24, ticket->detail & 0xffff};
		extra.words[0] = ticket->amount;
		extra.words[1] = ticket->hold;
		if ((how & 0x8000) != 0)
			((uint8_t *)&extra)[take(&f->in, 1) % 24] ^= (uint8_t)take(&f->in, 1);
	} else if (r.op == USH_OP_ROOM_CONTROL) {
		/* CLOSE, SET, KEY, and what there is not. */
		r.arg = (how >> 8) % 8 | (uint64_t)take(&f->in, 1) << 8 | take(&f->in, 1) << 32;
	}
	if (r.op < 64 && (how & 0x4000) == 0) {
		memcpy(payload + 64, &extra, extra.header.size < 24 ? 16 : 24);
		size += r.op == USH_OP_JOIN ? 16 : 24;
		r.extension_count = 1;
	}
	r.size = (uint16_t)size;
	memcpy(payload, &r, sizeof(r));
	if (r.op >= 64)
		give(f, payload, size, USH_PACKET_CONTROL);
	else
		give(f, frame, put_frame(frame, &f->h.net, payload, size),
			USH_PACKET_L4_CHECKSUM_GOOD);
}

static void *make_image(const struct fuzz *f, size_t *bytes)
{
	struct ush_venue_tier tier = {.price = f->price};
	uint8_t *image = harness_image(f->rows, SEATS, 6, bytes);

	memcpy(image + sizeof(struct ush_venue_header), &tier, sizeof(tier));
	memcpy(image + offsetof(struct ush_venue_header, hold_budget_s), &f->budget_s, 4);
	memcpy(image + offsetof(struct ush_venue_header, cool_down_ms), &f->pause_ms, 4);
	harness_image_seal(image, *bytes);
	return image;
}

/* One row more, or another price, with a burst around it. */
static void give_change(struct fuzz *f)
{
	struct ush_request r = {.magic = USH_REQUEST_MAGIC,
		.version = USH_VERSION,
		.op = USH_OP_EVENT_CHANGE,
		.size = sizeof(r),
		.event = 1};
	uint32_t rows = f->rows, price = f->price;
	uint32_t how = (uint32_t)take(&f->in, 1), row;
	struct ush_message message;
	struct ush_change *change;
	size_t bytes;
	void *image;

	if (f->replay.change_count == REPLAY_CHANGES)
		return;
	f->rows += (how & 1) != 0 && f->rows < ROWS_MAX;
	f->price += how >> 1;
	r.request_id = how >> 6;
	image = make_image(f, &bytes);
	/* Asked for before by this id, or below one that was. */
	if (ush_engine_change_build(f->h.engine, 1, r.request_id, NULL, image, bytes, &change, &row,
		    &message) != USH_STATUS_OK) {
		free(image);
		f->rows = rows;
		f->price = price;
		return;
	}
	replay_change(&f->replay, image, bytes);
	f->attachment = change;
	give(f, (const uint8_t *)&r, sizeof(r), USH_PACKET_CONTROL);
	/* Not two at a time; and whether it was made is known then. */
	turn(f);
	f->rows = ush_event_row_count(ush_inventory_event(&f->h.engine->inventory, 1));
	if (ush_event_digest(ush_inventory_event(&f->h.engine->inventory, 1)) != change->digest)
		f->price = price;
}

static void step(struct fuzz *f)
{
	uint8_t what = (uint8_t)take(&f->in, 1);

	switch (what % 14) {
	case 0:
		give_raw(f, false);
		break;
	case 1:
		give_raw(f, true);
		break;
	case 2 ... 4:
		give_request(f, false);
		break;
	case 5 ... 6:
		give_request(f, true);
		break;
	case 7:
		/* Once more, as it came, but on either port. */
		give(f, f->last, f->last_bytes, (what & 0x80) != 0 ? USH_PACKET_CONTROL : 0);
		break;
	case 8:
		f->h.now_ns += take(&f->in, 2) << 10;
		break;
	case 12:
		if ((what & 0x80) != 0) {
			f->h.now_ns += HARNESS_SECOND;
			ush_engine_rooms_step(f->h.engine, f->h.now_ns);
		}
		give_room(f);
		break;
	case 9:
		durable(f);
		break;
	case 11:
		give_change(f);
		break;
	case 10:
		turn(f);
		f->loop = (f->loop + 1) % LOOPS;
		break;
	default:
		turn(f);
		break;
	}
}

static void check_counters(const struct fuzz *f)
{
	for (uint32_t i = 0; i < LOOPS; i++) {
		struct ush_loop_counters c;
		uint64_t sum = 0;

		ush_loop_counters_read(ush_engine_loop(f->h.engine, i), &c);
		for (uint32_t k = 0; k < USH_STATUS_COUNT; k++)
			sum += c.status[k];
		for (uint32_t k = 0; k < USH_ANSWER_COUNT; k++)
			sum += c.answer[k];
		for (uint32_t k = 0; k < USH_DROP_COUNT; k++)
			sum += c.drop[k];
		USH_ASSERT(c.rx_packets + c.control_messages == sum);
	}
}

static void open_room(struct fuzz *f)
{
	struct ush_request request = {
		.op = USH_OP_ROOM_CONTROL, .event = 1, .arg = USH_ROOM_ACTION_OPEN};
	struct {
		struct ush_extension_header header;
		struct ush_room_open body;
	} extra = {{USH_EXTENSION_ROOM_OPEN, 0, sizeof(extra), 1},
		{.users = 3, .device_users = 1, .slow_places = 1, .cap = 60}};

	USH_ASSERT(harness_ask_with(&f->h, &request, &extra, sizeof(extra), NULL).status ==
		   USH_STATUS_OK);
}

static void start(struct fuzz *f, const uint8_t *data, size_t size)
{
	static const uint8_t mac[6] = {2, 0, 0, 0, 0, 1}, ipv4[4] = {10, 0, 0, 1};
	struct ush_engine_limits limits;
	size_t bytes;
	void *image;

	harness_limits_small(&limits);
	limits.loop_count = LOOPS;
	limits.hold_count = 64;
	limits.user_count = 64;
	limits.answer_count = 200;
	limits.row_count = 64;
	limits.log_block_count = 128;
	limits.ack_count = 256;
	harness_open(&f->h, &limits);
	f->in = (struct input){data, size};
	f->loop = f->given = f->returned = f->hold_count = f->burst_count = f->last_bytes = 0;
	memset(f->hold, 0, sizeof(f->hold));
	memcpy(f->h.net.mac, mac, 6);
	memcpy(&f->h.net.ipv4_be, ipv4, 4);
	f->h.net.has_ipv4 = true;
	f->h.net.udp_port_be = __builtin_bswap16(USH_UDP_PORT);
	replay_init(&f->replay);
	f->rows = ROWS;
	f->price = 2500;
	f->budget_s = (uint32_t)take(&f->in, 1) % 4 * 3;
	f->pause_ms = (uint32_t)take(&f->in, 1) % 4 * 10;
	image = make_image(f, &bytes);
	harness_event_of(&f->h, 1, image, bytes);
	replay_image(&f->replay, 1, image, bytes);
	memset(f->ticket, 0, sizeof(f->ticket));
	if (size != 0 && (data[0] & 1) != 0)
		open_room(f);
}

/* Everything comes back; then the state against itself and against its log. */
static void finish(struct fuzz *f)
{
	struct ush_engine_audit live, again;
	struct ush_message message = {{0}};

	for (uint32_t i = 0; i < 2 * LOOPS; i++) {
		f->loop = i % LOOPS;
		turn(f);
		durable(f);
		turn(f);
	}
	USH_ASSERT(f->given == f->returned);
	check_counters(f);
	durable(f);
	USH_ASSERT(ush_engine_audit(f->h.engine, &live, &message) == 0);
	USH_ASSERT(replay_open(&f->replay, f->replay.count, &second, &f->h.limits, f->h.now_ns,
			   &message) == 0);
	USH_ASSERT(ush_engine_audit(second.engine, &again, &message) == 0);
	again.users = live.users;
	USH_ASSERT(memcmp(&live, &again, sizeof(live)) == 0);
	harness_close(&second);
	replay_free(&f->replay);
	harness_close(&f->h);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	start(&fuzz, data, size);
	for (uint32_t i = 0; i < STEPS_MAX && fuzz.in.left > 0; i++)
		step(&fuzz);
	finish(&fuzz);
	return 0;
}
