/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The code under test, driven as the box drives it: requests for seats are frames that go through
 * whole turns of a loop with its gate; JOIN and EXCHANGE are payloads that the same gate judges,
 * and then what room, devices, tickets and the draw say. The disk confirms between two turns.
 */
#include <sys/mman.h>

#include "onsale.h"

#include "room/draw_file.h"

#define ETHER 14u
#define IP4 20u
#define UDP 8u
#define PAYLOAD_AT (ETHER + IP4 + UDP)
#define FRAMES (4 * USH_LOOP_BURST)
/* A core decides so many requests a second: 1,571 instructions of loop and 1,470 of the gate each,
 * at 3 a nanosecond (docs/admission.md). */
#define CORE_REQUESTS 1000000u
#define TURNS_OF_TICK (CORE_REQUESTS / USH_LOOP_BURST / ONSALE_TICKS_S)
#define GATEWAY 1u
#define GATEWAY_KEY 3u
#define TOKEN_KEY 5u
#define TOKEN_NS (300 * ONSALE_SECOND)
#define OP_JOIN 10u
#define OP_EXCHANGE 11u
#define DEVICE_THRESHOLD 4u

static const struct ush_key gateway_key = {0x1111, 0x2222}, token_key = {0x3333, 0x4444};
static const struct ush_key other_key = {0x5555, 0x6666}, ticket_key = {0x7777, 0x8888};
static const uint8_t box_mac[6] = {0x02, 0, 0, 0, 0, 1}, peer_mac[6] = {0x02, 0, 0, 0, 0, 9};

/* ---- start and end ---- */

static void *map(size_t bytes)
{
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	USH_ASSERT(memory != MAP_FAILED);
	return memory;
}

static uint32_t checks_of(const struct onsale *sale)
{
	uint32_t checks = USH_ADMISSION_CHECK_MAC | USH_ADMISSION_CHECK_EVENT;

	if (onsale_has(sale, ONSALE_TOKEN))
		checks |= USH_ADMISSION_CHECK_TOKEN;
	if (onsale_has(sale, ONSALE_RATE))
		checks |= USH_ADMISSION_CHECK_SOURCE | USH_ADMISSION_CHECK_USER;
	if (onsale_has(sale, ONSALE_WORK))
		checks |= USH_ADMISSION_CHECK_WORK;
	return checks;
}

static void open_gate(struct onsale *sale)
{
	struct onsale_box *box = &sale->box;
	struct ush_admit_config *config = calloc(1, sizeof(*config));
	const uint64_t ms = ONSALE_SECOND / 1000;

	USH_ASSERT(config != NULL);
	*config = (struct ush_admit_config){
		.checks = checks_of(sale),
		.udp_port = USH_UDP_PORT,
		.mac_window_ns = 5000 * ms,
		.work_window_ns = 60000 * ms,
		.table_key = other_key,
		.token[0] = {.key = token_key, .id = TOKEN_KEY, .live = 1},
		.gateway[GATEWAY][0] = {.key = gateway_key, .id = GATEWAY_KEY, .live = 1},
		.policy[0] =
			{
				.source = {100 * ms, 900 * ms},
				.hold = {50 * ms, 1950 * ms},
				.user = {12000 * ms, 48000 * ms},
				.work_salt = 0x5a17,
				.work_bits = ONSALE_WORK_BITS,
			},
	};
	ush_engine_admission(box->h.engine, config);
	box->config = config;
	box->bits = ONSALE_WORK_BITS;
}

static void open_event(struct onsale *sale)
{
	struct harness *h = &sale->box.h;
	uint32_t rows = sale->seats / ONSALE_ROW_SEATS;
	struct ush_venue_tier tier = {.price = ONSALE_PRICE};
	struct ush_venue_section section = {.row_first = 0, .row_count = rows};
	struct ush_venue_row *row = calloc(rows, sizeof(*row));
	struct harness_venue venue = {
		.header = {.magic = USH_VENUE_MAGIC,
			.version = USH_VENUE_VERSION,
			.tier_count = 1,
			.section_count = 1,
			.row_count = rows,
			.hold_ms = 600000,
			.hold_ms_max = 600000,
			.user_seats_max = ONSALE_USER_SEATS,
			.best = USH_BEST_SPLIT_TWO_ROWS << 3,
			.currency = "EUR",
			.name = "onsale"},
		.tiers = &tier,
		.sections = &section,
		.rows = row,
	};
	struct ush_event *event = NULL;
	struct ush_message message = {{0}};
	struct ush_request load = {.op = USH_OP_EVENT_LOAD, .event = ONSALE_EVENT};
	size_t bytes;
	void *image;

	USH_ASSERT(row != NULL);
	for (uint32_t i = 0; i < rows; i++)
		row[i].seats = (1ull << ONSALE_ROW_SEATS) - 1;
	image = harness_image_of(&venue, &bytes);
	USH_ASSERT(ush_engine_event_build(
			   h->engine, ONSALE_EVENT, image, bytes, &event, &message) == 0);
	USH_ASSERT(harness_ask_with(h, &load, NULL, 0, event).status == USH_STATUS_OK);
	free(image);
	free(row);
}

static void open_engine(struct onsale *sale)
{
	struct onsale_box *box = &sale->box;
	const struct ush_engine_limits limits = {
		.loop_count = 1,
		.hold_count = 4 * sale->seats + 4096,
		.user_count = 4 * sale->seats + 4096 + sale->crowd.count / 2,
		.answer_count = 8 * sale->seats + 8192,
		.row_count = sale->seats / ONSALE_ROW_SEATS + 64,
		.admit_source_count = 262144,
		.admit_user_count = 1048576,
		.log_block_count = 1024,
		.ack_count = 4096,
	};

	harness_open(&box->h, &limits);
	memcpy(box->h.net.mac, box_mac, 6);
	box->h.net.ipv4_be = 0x0100070a;
	box->h.net.has_ipv4 = true;
	box->h.net.udp_port_be = (uint16_t)(USH_UDP_PORT >> 8 | (USH_UDP_PORT & 0xff) << 8);
	box->frames = calloc(FRAMES, sizeof(*box->frames));
	USH_ASSERT(box->frames != NULL);
}

void onsale_box_open(struct onsale *sale)
{
	struct onsale_box *box = &sale->box;
	uint32_t users = sale->crowd.count;
	struct ush_pace_config config;

	open_engine(sale);
	open_gate(sale);
	open_event(sale);
	box->room_memory = map(ush_room_bytes(users));
	ush_room_init(&box->room, box->room_memory, users, &other_key);
	box->device_memory = map(ush_devices_bytes(users));
	ush_devices_init(&box->devices, box->device_memory, users, &other_key);
	ush_ticket_keys_init(&box->tickets, 7, &ticket_key);
	ush_pace_config_default(&config);
	ush_pace_init(
		&box->pace, &config, &(struct ush_pace_input){.now_ns = onsale_now(sale)}, 0, 0);
}

void onsale_box_close(struct onsale *sale)
{
	struct onsale_box *box = &sale->box;

	harness_close(&box->h);
	munmap(box->room_memory, ush_room_bytes(sale->crowd.count));
	munmap(box->device_memory, ush_devices_bytes(sale->crowd.count));
	free(box->draw_memory);
	free(box->config);
	free(box->frames);
}

/* ---- messages ---- */

static void put16(uint8_t *at, uint32_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

/* Starts an extension of `bytes` in all. ret: its body. */
static uint8_t *put_extension(
	uint8_t *payload, struct ush_request *request, uint8_t type, uint32_t bytes, uint32_t value)
{
	struct ush_extension_header header = {
		.type = type, .size = (uint16_t)bytes, .value = value};
	uint8_t *at = payload + request->size;

	memset(at, 0, bytes);
	memcpy(at, &header, sizeof(header));
	request->size = (uint16_t)(request->size + bytes);
	request->extension_count++;
	return at + sizeof(header);
}

/* A proof of work, found by trying. */
static void put_work(struct onsale *sale, uint8_t *payload, struct ush_request *request)
{
	uint32_t bits = sale->box.bits;
	uint8_t *body = put_extension(payload, request, USH_EXTENSION_WORK, 24, bits);
	const struct ush_key key = {request->user, sale->box.config->policy[0].work_salt};
	uint64_t words[3] = {
		request->event | (uint64_t)request->request_id << 32, onsale_now(sale), 0};

	while (ush_siphash(&key, words, sizeof(words)) >> (64 - bits) != 0)
		words[2]++;
	memcpy(body, words + 1, 16);
}

static void put_client(
	struct onsale *sale, uint32_t who, uint8_t *payload, struct ush_request *request)
{
	onsale_address(
		&sale->crowd, who, put_extension(payload, request, USH_EXTENSION_CLIENT, 24, 0));
}

/* Ends a message: the request before its extensions, and the gateway's MAC over all. */
static void seal(struct onsale *sale, uint8_t *payload, struct ush_request *request)
{
	uint8_t *body =
		put_extension(payload, request, USH_EXTENSION_MAC, 24, GATEWAY | GATEWAY_KEY << 16);
	uint64_t now_ns = onsale_now(sale), tag;

	request->magic = USH_REQUEST_MAGIC;
	request->version = USH_VERSION;
	memcpy(payload, request, sizeof(*request));
	memcpy(body, &now_ns, 8);
	tag = ush_siphash(&gateway_key, payload, request->size - 8u);
	memcpy(body + 8, &tag, 8);
}

/* ---- the room ---- */

static struct ush_ticket ticket_of(const struct onsale *sale, uint32_t who)
{
	uint32_t place = sale->people[who].place;

	return (struct ush_ticket){.user = onsale_user(who),
		.number = place & 0xfffffff,
		.event = ONSALE_EVENT,
		.tier = (uint8_t)(place >> 28)};
}

static uint32_t tier_of(struct onsale *sale, uint32_t who)
{
	uint32_t users = ush_devices_join(
		&sale->box.devices, ONSALE_EVENT, onsale_device(&sale->crowd, who));

	if (onsale_has(sale, ONSALE_DEVICE) && ush_device_is_slow(users, DEVICE_THRESHOLD))
		return ONSALE_TIER_SLOW;
	return onsale_has(sale, ONSALE_VERIFIED) && onsale_is_invited(&sale->crowd, who)
		       ? ONSALE_TIER_VERIFIED
		       : ONSALE_TIER_ORDINARY;
}

static void join(struct onsale *sale, uint32_t who)
{
	struct ush_room *room = &sale->box.room;
	uint64_t user = onsale_user(who), hash = ush_room_hash(room, user);
	struct ush_room_place place;

	if (ush_room_find(room, hash, user, &place) == USH_ROOM_ABSENT) {
		USH_ASSERT(ush_room_join(room, hash, user, tier_of(sale, who), &place) ==
			   USH_ROOM_JOINED);
		ush_room_show(room, &place);
		sale->owner[place.tier][place.number] = who;
		sale->people[who].place = place.tier << 28 | place.number;
	}
	onsale_joined(sale, who);
}

static void exchange(struct onsale *sale, uint32_t who)
{
	struct onsale_box *box = &sale->box;
	struct ush_ticket ticket = ticket_of(sale, who), shown = ticket, forged = ticket;
	uint64_t tag = ush_ticket_mint(&box->tickets, &shown);

	/* Scripts try a better place, too. */
	if (onsale_class(&sale->crowd, who) == ONSALE_SCRIPT && ticket.number > 100) {
		forged.key_id = shown.key_id;
		forged.number -= 100;
		sale->counts.forged_sent++;
		sale->counts.forged_passed +=
			ush_ticket_check(&box->tickets, &forged, tag) == USH_TICKET_GOOD;
	}
	USH_ASSERT(ush_ticket_check(&box->tickets, &shown, tag) == USH_TICKET_GOOD);
	USH_ASSERT(onsale_box_number(sale, sale->people[who].place) < box->says.serving);
	onsale_exchanged(sale, who);
}

/* Judges those who knock, as the loop judges a burst, and lets them through. */
static void answer_door(struct onsale *sale)
{
	struct onsale_box *box = &sale->box;
	struct ush_gate *gate = box->h.engine->gate;
	uint32_t count = box->knock_count;
	uint32_t who[USH_GATE_BURST];
	struct ush_admit_says says[USH_GATE_BURST];

	if (count == 0)
		return;
	ush_gate_judge(gate, ush_gate_config(gate), box->items, count, onsale_now(sale));
	memcpy(who, box->knockers, count * sizeof(who[0]));
	for (uint32_t i = 0; i < count; i++)
		says[i] = box->items[i].says;
	box->knock_count = 0;
	box->turns++;
	sale->counts.frames += count;
	for (uint32_t i = 0; i < count; i++) {
		if (says[i].verdict != USH_VERDICT_PASS) {
			onsale_refused(sale, who[i], &says[i]);
			continue;
		}
		sale->counts.decided++;
		if (box->payloads[i][3] == OP_JOIN)
			join(sale, who[i]);
		else
			exchange(sale, who[i]);
	}
}

void onsale_box_knock(struct onsale *sale, uint32_t who, uint8_t op)
{
	struct onsale_box *box = &sale->box;
	uint32_t at = box->knock_count;
	uint8_t *payload = box->payloads[at];
	struct ush_request request = {.op = op == ONSALE_JOIN ? OP_JOIN : OP_EXCHANGE,
		.event = ONSALE_EVENT,
		.user = onsale_user(who),
		.request_id = 1,
		.size = sizeof(request)};

	if (onsale_has(sale, ONSALE_WORK))
		put_work(sale, payload, &request);
	put_client(sale, who, payload, &request);
	seal(sale, payload, &request);
	box->knockers[at] = who;
	box->items[at] = (struct ush_gate_item){
		.payload = payload, .size = request.size, .family = 4, .source = box_mac};
	if (++box->knock_count == USH_GATE_BURST)
		answer_door(sale);
}

/* ---- turns ---- */

static void take_replies(struct onsale *sale)
{
	struct onsale_box *box = &sale->box;

	for (uint32_t i = 0; i < box->h.out.send_count; i++) {
		const struct ush_packet *packet = &box->h.out.send[i];
		struct ush_reply reply;

		memcpy(&reply, packet->data + packet->payload_at, sizeof(reply));
		USH_ASSERT(reply.magic == USH_REPLY_MAGIC);
		if (reply.cookie != 0)
			onsale_reply(sale, (uint32_t)reply.cookie - 1, &reply);
	}
}

/* One turn with what has gathered; what an answer leads to comes with a later one. */
static void turn(struct onsale *sale)
{
	struct onsale_box *box = &sale->box;
	uint32_t count = box->packet_count;
	uint64_t decided = box->h.engine->loops[0].counters.verdict[USH_VERDICT_PASS];

	harness_make_durable(&box->h);
	box->h.now_ns = onsale_now(sale);
	box->packet_count = 0;
	ush_loop_turn(ush_engine_loop(box->h.engine, 0), &box->h.net, box->packets, count,
		box->h.now_ns, &box->h.out);
	decided = box->h.engine->loops[0].counters.verdict[USH_VERDICT_PASS] - decided;
	sale->counts.decided += decided;
	box->turns += count != 0;
	take_replies(sale);
}

/* ret: a new frame, and room for it in the next turn. */
static uint8_t *new_frame(struct onsale *sale)
{
	struct onsale_box *box = &sale->box;

	if (box->packet_count == USH_LOOP_BURST)
		turn(sale);
	return box->frames[box->frame_at++ % FRAMES];
}

static void add_packet(struct onsale *sale, uint8_t *data, uint32_t bytes, bool control)
{
	struct onsale_box *box = &sale->box;

	sale->counts.frames++;
	box->packets[box->packet_count++] = (struct ush_packet){.data = data,
		.size = bytes,
		.capacity = sizeof(box->frames[0]),
		.handle = data,
		.flags = control ? USH_PACKET_CONTROL
				 : USH_PACKET_IP_CHECKSUM_GOOD | USH_PACKET_L4_CHECKSUM_GOOD};
}

static void put_headers(uint8_t *f, uint32_t bytes)
{
	uint8_t *ip = f + ETHER, *udp = ip + IP4;

	memset(f, 0, PAYLOAD_AT);
	memcpy(f, box_mac, 6);
	memcpy(f + 6, peer_mac, 6);
	put16(f + 12, 0x0800);
	ip[0] = 0x45;
	put16(ip + 2, IP4 + UDP + bytes);
	ip[8] = 64;
	ip[9] = 17;
	memcpy(ip + 12, (const uint8_t[4]){10, 7, 0, 2}, 4);
	memcpy(ip + 16, (const uint8_t[4]){10, 7, 0, 1}, 4);
	put16(udp, 12345);
	put16(udp + 2, USH_UDP_PORT);
	put16(udp + 4, UDP + bytes);
}

uint64_t onsale_token_tag(uint64_t user, uint64_t expiry_ns)
{
	struct {
		struct ush_extension_header header;
		uint64_t user;
		uint64_t expiry_ns;
	} token = {{.type = USH_EXTENSION_TOKEN,
			   .size = 32,
			   .value = TOKEN_KEY << 8 | ONSALE_EVENT << 16},
		user, expiry_ns};

	return ush_siphash(&token_key, &token, sizeof(token));
}

static void put_token(struct onsale *sale, uint32_t who, bool forged, uint8_t *payload,
	struct ush_request *request)
{
	const struct onsale_visit *visit =
		sale->people[who].visit != 0 ? &sale->visits[sale->people[who].visit - 1] : NULL;
	uint64_t words[3] = {request->user, onsale_now(sale) + TOKEN_NS, 0x666f72676564};
	uint8_t *body = put_extension(
		payload, request, USH_EXTENSION_TOKEN, 32, TOKEN_KEY << 8 | ONSALE_EVENT << 16);

	if (!forged && visit != NULL) {
		words[1] = visit->expiry_ns;
		words[2] = visit->tag;
	}
	memcpy(body, words, sizeof(words));
}

void onsale_box_reserve(struct onsale *sale, uint32_t who, uint32_t seats, bool forged)
{
	uint8_t *data = new_frame(sale), *payload = data + PAYLOAD_AT;
	struct ush_request request = {.op = USH_OP_RESERVE_BEST,
		.event = ONSALE_EVENT,
		.user = onsale_user(who),
		.request_id = sale->people[who].ids,
		.arg = seats,
		.cookie = forged ? 0 : who + 1,
		.size = sizeof(request)};

	sale->counts.frames_forged += forged;
	put_token(sale, who, forged, payload, &request);
	/* Who has made the token up does not work for it. */
	if (onsale_has(sale, ONSALE_WORK) && !forged)
		put_work(sale, payload, &request);
	put_client(sale, who, payload, &request);
	put_extension(payload, &request, USH_EXTENSION_PAD, 8 + 16 * ONSALE_USER_SEATS, 0);
	seal(sale, payload, &request);
	put_headers(data, request.size);
	add_packet(sale, data, PAYLOAD_AT + request.size, false);
}

void onsale_box_control(struct onsale *sale, uint32_t who, const struct ush_request *request)
{
	uint8_t *data = new_frame(sale);
	struct ush_request copy = *request;

	copy.magic = USH_REQUEST_MAGIC;
	copy.version = USH_VERSION;
	copy.size = sizeof(copy);
	copy.event = ONSALE_EVENT;
	copy.user = onsale_user(who);
	copy.cookie = who + 1;
	memcpy(data, &copy, sizeof(copy));
	add_packet(sale, data, sizeof(copy), true);
}

void onsale_box_settle(struct onsale *sale)
{
	struct onsale_box *box = &sale->box;
	uint32_t idle;

	answer_door(sale);
	while (box->packet_count != 0 || ush_loop_waiting(ush_engine_loop(box->h.engine, 0)) != 0)
		turn(sale);
	/* A core that is not busy turns all the same: so many that the gate sees how full the turns
	 * are, no more. */
	idle = box->turns < TURNS_OF_TICK ? TURNS_OF_TICK - box->turns : 0;
	for (idle = (uint32_t)ush_min64(idle, 3 * box->turns + 1); idle != 0; idle--)
		turn(sale);
	box->turns_of[sale->tick % ONSALE_TICKS_S] = box->turns;
	box->turns = 0;
}

uint32_t onsale_box_load(const struct onsale *sale)
{
	uint64_t turns = 0;

	for (uint32_t i = 0; i < ONSALE_TICKS_S; i++)
		turns += sale->box.turns_of[i];
	return (uint32_t)ush_min64(turns * 1000000 / (TURNS_OF_TICK * ONSALE_TICKS_S), 1000000);
}

/* ---- the draw ---- */

/* The list of a tier by the room must be the one of those who joined. */
static void add_leaves(struct onsale *sale, uint32_t tier, struct ush_merkle *tree)
{
	uint32_t count = sale->box.counts[tier];
	uint64_t *users = malloc(((size_t)count + 1) * sizeof(*users));
	uint8_t leaf[USH_HASH_BYTES];

	USH_ASSERT(users != NULL);
	sale->counts.violations += ush_room_list(&sale->box.room, tier, users, count) != count;
	for (uint32_t i = 0; i < count; i++) {
		sale->counts.violations += users[i] != onsale_user(sale->owner[tier][i]);
		ush_draw_leaf(tier, users[i], leaf);
		ush_merkle_add(tree, leaf);
	}
	free(users);
}

void onsale_box_draw(struct onsale *sale)
{
	static const uint8_t beacon[32] = "a value of a public beacon";
	struct onsale_box *box = &sale->box;
	struct ush_draw_file file = {.event = ONSALE_EVENT, .beacon_bytes = sizeof(beacon)};
	struct ush_request on_sale = {
		.op = USH_OP_EVENT_STATUS, .event = ONSALE_EVENT, .arg = USH_EVENT_STATUS_ON_SALE};
	struct ush_merkle tree;
	uint8_t key[USH_DRAW_KEY_BYTES];

	ush_room_close_lobby(&box->room);
	sale->counts.violations += ush_room_counts(&box->room, box->counts);
	ush_merkle_start(&tree);
	for (uint32_t tier = 0; tier < USH_ROOM_TIERS; tier++) {
		box->lobby += box->counts[tier];
		file.counts[tier] = box->counts[tier];
		add_leaves(sale, tier, &tree);
	}
	file.count = box->lobby;
	ush_merkle_root(&tree, file.root);
	memcpy(file.seed, &sale->crowd.seed, sizeof(sale->crowd.seed));
	memcpy(file.beacon, beacon, sizeof(beacon));
	ush_draw_key(&file, key);
	box->draw_memory = malloc(ush_draw_bytes(box->lobby));
	USH_ASSERT(box->draw_memory != NULL);
	ush_draw_open(&box->draw, box->draw_memory, file.counts, key, ush_sha256);
	box->drawn = true;
	ush_room_open_queue(&box->room);
	box->h.now_ns = onsale_now(sale);
	USH_ASSERT(harness_ask(&box->h, &on_sale).status == USH_STATUS_OK);
}

/* Without the draw the order is that of coming, tier by tier. */
uint64_t onsale_box_number(const struct onsale *sale, uint32_t place)
{
	const struct onsale_box *box = &sale->box;
	uint32_t tier = place >> 28, index = place & 0xfffffff;

	if (onsale_has(sale, ONSALE_DRAW) || tier == USH_ROOM_TIER_FIFO)
		return ush_draw_number(&box->draw, tier, index);
	return box->draw.tier[tier].first + index;
}

uint32_t onsale_box_place(const struct onsale *sale, uint64_t number)
{
	const struct onsale_box *box = &sale->box;
	uint32_t tier, index;

	if (onsale_has(sale, ONSALE_DRAW) || number >= box->lobby) {
		tier = ush_draw_place(&box->draw, number, &index);
		return tier << 28 | index;
	}
	for (tier = 0; tier + 1 < USH_ROOM_TIERS; tier++) {
		if (number < (uint64_t)box->draw.tier[tier].first + box->counts[tier])
			break;
	}
	return tier << 28 | (uint32_t)(number - box->draw.tier[tier].first);
}

uint64_t onsale_box_queue_end(const struct onsale *sale)
{
	uint32_t counts[USH_ROOM_TIERS + 1];

	if (!sale->box.drawn)
		return 0;
	ush_room_counts(&sale->box.room, counts);
	return (uint64_t)sale->box.lobby + counts[USH_ROOM_TIER_FIFO];
}
