/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Waiting rooms: a place that somebody was told is theirs, also after a crash, and nobody else's; a
 * user has one; the order of the lobby is what seed, joined set and beacon say; what is called
 * stays called, is durable before anybody hears of it, and is never more than the controller let
 * in, who lets in nobody against cap, pause, sale and seats; a token is for those who were called,
 * one at a time; good tickets are never called bad, bad ones never pass.
 *
 * The order is computed anew from docs/draw.md; of the code under test only SHA-256 is used.
 */
#include "check.h"
#include "room/merkle.h"

#define MINUTE_NS (60 * SIM_SECOND)
#define TOKEN_NS ((uint64_t)USH_VISIT_UNITS << USH_VISIT_UNIT_BITS)
#define RATE_MAX 600000u
/* Below it a position is told exactly. */
#define EXACT 256u
#define FIFO USH_ROOM_TIER_COUNT

static uint8_t *put(uint8_t *at, const void *bytes, size_t size)
{
	memcpy(at, bytes, size);
	return at + size;
}

static uint8_t *put32(uint8_t *at, uint32_t value)
{
	for (uint32_t i = 0; i < 4; i++)
		*at++ = (uint8_t)(value >> (8 * i));
	return at;
}

/* ---- the draw, as docs/draw.md has it ---- */

/* Root of leaves from `first`, their hashes one behind the other. */
static void root_of(const uint8_t (*leaf)[32], uint32_t count, uint8_t root[32])
{
	uint8_t node[65] = {1};
	uint32_t left = 1;

	if (count == 1) {
		memcpy(root, leaf[0], 32);
		return;
	}
	while (left * 2 < count)
		left *= 2;
	root_of(leaf, left, node + 1);
	root_of(leaf + left, count - left, node + 33);
	ush_sha256(node, sizeof(node), root);
}

/* ret: the user of a place, 0: void. */
static uint64_t user_at(const struct ledger_room *room, uint32_t tier, uint32_t index)
{
	for (uint64_t user = 1; user < LEDGER_GUESTS; user++) {
		const struct ledger_guest *guest = &room->guest[user];

		if (guest->sequence != 0 && guest->tier == tier && guest->index == index)
			return user;
	}
	return 0;
}

static void lobby_root(const struct ledger_room *room, uint8_t root[32])
{
	static uint8_t leaf[SIM_ROOM_USERS_MAX + SIM_LOOPS_MAX][32];
	uint32_t count = 0;

	USH_ASSERT(room->lobby != 0 && room->lobby <= sizeof(leaf) / sizeof(leaf[0]));
	for (uint32_t tier = 0; tier < FIFO; tier++) {
		for (uint32_t i = 0; i < room->counts[tier]; i++) {
			uint8_t text[10] = {0, (uint8_t)tier};
			uint64_t user = user_at(room, tier, i);

			put32(put32(text + 2, (uint32_t)user), (uint32_t)(user >> 32));
			ush_sha256(text, sizeof(text), leaf[count++]);
		}
	}
	root_of((const uint8_t(*)[32])leaf, count, root);
}

static void draw_key(const struct ledger_room *room, uint32_t event,
	const struct ush_room_draw *drawn, uint8_t key[32])
{
	uint8_t text[256], *at = put(text, "usher/draw/key.1", 16);

	at = put32(at, event);
	at = put(at, drawn->seed, 32);
	at = put(at, drawn->root, 32);
	for (uint32_t tier = 0; tier < FIFO; tier++)
		at = put32(at, room->counts[tier]);
	*at++ = drawn->beacon_bytes;
	at = put(at, drawn->beacon, drawn->beacon_bytes);
	ush_sha256(text, (size_t)(at - text), key);
}

/* ret: word `at` of table T[round] of a tier. */
static uint32_t table(const uint8_t key[32], uint32_t tier, uint32_t round, uint32_t at)
{
	uint8_t text[64], hash[32], *end = put(text, "usher/draw/perm1", 16);

	end = put(end, key, 32);
	*end++ = (uint8_t)tier;
	*end++ = (uint8_t)round;
	end = put32(end, at / 16);
	ush_sha256(text, (size_t)(end - text), hash);
	return hash[at % 16 * 2] | (uint32_t)hash[at % 16 * 2 + 1] << 8;
}

/* ret: P(index) of a tier of up to 256 places, whose numbers have 8 bits. */
static uint32_t permute(const uint8_t key[32], uint32_t tier, uint32_t count, uint32_t index)
{
	uint32_t x = index;

	do {
		uint32_t low = x & 15, high = x >> 4;

		for (uint32_t r = 0; r < 12; r += 2) {
			high ^= table(key, tier, r, low) & 15;
			low ^= table(key, tier, r + 1, high) & 15;
		}
		x = high << 4 | low;
	} while (x >= count);
	return x;
}

/* ---- records, in the order of the journal ---- */

static void fail(struct sim *sim, const struct ush_record *r, const char *what)
{
	sim_fail(sim, "room", "record %" PRIu64 " (type %u) of event %u, user %" PRIu64 ": %s",
		r->sequence, r->type, r->event, r->user, what);
}

/* ret: the queue number of somebody who joined. in: the order is known. */
static uint64_t number_of(
	const struct sim_room *book, const struct ledger_room *room, uint64_t user)
{
	const struct ledger_guest *guest = &room->guest[user];

	if (guest->tier == FIFO)
		return (uint64_t)room->lobby + guest->index;
	return book->number[user];
}

static uint64_t end_of(const struct ledger_room *room)
{
	return (uint64_t)room->lobby + room->after;
}

/* ret: true if somebody's number counts as called when numbers below `serving` are. */
static bool is_called(const struct ledger_room *room, const struct ledger_guest *guest,
	uint64_t number, uint64_t serving)
{
	if (number >= serving)
		return false;
	if (!guest->slow || guest->tier != FIFO || guest->tokens != 0)
		return true;
	return serving >= ush_min64(number + 1 + room->opened.slow_places, end_of(room));
}

static void on_join(struct sim *sim, const struct ledger_room *room, const struct ush_record *r)
{
	uint32_t tier = r->state & 7u, joined = 0;

	if (r->user == 0 || r->user >= LEDGER_GUESTS || room->guest[r->user].sequence != 0) {
		fail(sim, r, "nobody, or somebody who has a place");
		return;
	}
	for (uint64_t user = 1; user < LEDGER_GUESTS; user++)
		joined += room->guest[user].sequence != 0;
	if (user_at(room, tier, r->amount) != 0)
		fail(sim, r, "the place is somebody else's");
	else if (tier == FIFO && room->phase == USH_ROOM_PHASE_LOBBY)
		fail(sim, r, "a place of the queue while the lobby is open");
	else if (tier != FIFO && room->phase != USH_ROOM_PHASE_LOBBY &&
		 r->amount >= room->counts[tier])
		fail(sim, r, "a place that the lobby did not have when it was closed");
	else if (joined >= room->opened.users + SIM_LOOPS_MAX)
		fail(sim, r, "more join than the room was opened for");
	else if ((r->state & 128u) != 0 && room->opened.device_users == 0)
		fail(sim, r, "slow, and no device is");
}

static void on_close(struct sim *sim, const struct ledger_room *room, const struct ush_record *r)
{
	struct ush_room_close close;

	if (!ledger_gather(r, 1, &close, sizeof(close)))
		return;
	for (uint64_t user = 1; user < LEDGER_GUESTS; user++) {
		const struct ledger_guest *guest = &room->guest[user];

		if (guest->sequence != 0 && guest->index >= close.counts[guest->tier % FIFO])
			fail(sim, r, "the lobby is closed without somebody who is in it");
	}
}

static void on_draw(struct sim *sim, struct sim_room *book, const struct ledger_room *room,
	const struct ush_record *r, uint32_t count)
{
	uint8_t text[52], hash[32], key[32];
	struct ush_room_draw drawn;
	bool seen[SIM_ROOM_USERS_MAX + SIM_LOOPS_MAX] = {false};

	if (!ledger_gather(r, count, &drawn, sizeof(drawn)) || room->lobby == 0) {
		fail(sim, r, "a draw of nobody");
		return;
	}
	put(put32(put(text, "usher/draw/seed1", 16), r->event), drawn.seed, 32);
	ush_sha256(text, sizeof(text), hash);
	if (memcmp(hash, room->opened.seed_hash, sizeof(hash)) != 0)
		fail(sim, r, "the seed is not the one that was promised");
	lobby_root(room, hash);
	if (memcmp(hash, drawn.root, sizeof(hash)) != 0)
		fail(sim, r, "the list that the box gave is not that of those who joined");
	draw_key(room, r->event, &drawn, key);
	for (uint32_t tier = 0, first = 0; tier < FIFO; first += room->counts[tier++]) {
		for (uint32_t i = 0; i < room->counts[tier]; i++) {
			uint32_t number = first + permute(key, tier, room->counts[tier], i);

			USH_ASSERT(!seen[number]);
			seen[number] = true;
			book->number[user_at(room, tier, i)] = number;
		}
	}
}

static void on_exchange(struct sim *sim, const struct sim_room *book,
	const struct ledger_room *room, const struct ush_record *r)
{
	const struct ledger_guest *guest = &room->guest[r->user % LEDGER_GUESTS];

	if (r->user >= LEDGER_GUESTS || guest->sequence == 0 || guest->tier != r->state ||
		guest->index != r->amount || room->phase != USH_ROOM_PHASE_SERVING)
		fail(sim, r, "a ticket that nobody has");
	else if (number_of(book, room, r->user) != r->mask)
		fail(sim, r, "the place has another number");
	else if (!is_called(room, guest, r->mask, room->serving))
		fail(sim, r, "exchanged before the number was due");
	else if (guest->token_end_ns + TOKEN_NS > r->deadline_ns)
		fail(sim, r, "a second token while the first is good");
}

static void durable(struct sim *sim, const struct ush_record *records, uint32_t count)
{
	const struct ush_record *r = &records[0];
	const struct ledger_room *room;

	if (!ledger_is_room(r) || r->event == 0 || r->event > SIM_EVENTS_MAX)
		return;
	room = &sim->ledger.room[r->event];
	switch (r->type) {
	case USH_RECORD_TYPE_ROOM_JOIN:
		on_join(sim, room, r);
		break;
	case USH_RECORD_TYPE_ROOM_CLOSE:
		on_close(sim, room, r);
		break;
	case USH_RECORD_TYPE_ROOM_DRAW:
		on_draw(sim, &sim->room[r->event], room, r, count);
		break;
	case USH_RECORD_TYPE_ROOM_SERVE:
		if (r->mask <= room->serving || room->phase != USH_ROOM_PHASE_SERVING)
			fail(sim, r, "now-serving goes back, or serves nobody");
		else if (r->mask > end_of(room))
			fail(sim, r, "numbers are called that nobody has");
		break;
	case USH_RECORD_TYPE_ROOM_EXCHANGE:
		on_exchange(sim, &sim->room[r->event], room, r);
		break;
	case USH_RECORD_TYPE_ROOM_KEY:
		if (r->state != (uint8_t)(room->key_id + 1))
			fail(sim, r, "the ids of keys have a gap");
		break;
	default:
		break;
	}
}

/* ---- as they are appended ---- */

static void appended(struct sim *sim, uint32_t loop, const struct ush_record *r)
{
	struct sim_room *book;

	(void)loop;
	if (!ledger_is_room(r) || r->event == 0 || r->event > SIM_EVENTS_MAX)
		return;
	book = &sim->room[r->event];
	if (r->type == USH_RECORD_TYPE_ROOM_OPEN)
		book->key_id = 1;
	else if (r->type == USH_RECORD_TYPE_ROOM_KEY)
		book->key_id = r->state;
	else if (r->type == USH_RECORD_TYPE_ROOM_SERVE && r->mask > book->let_in)
		fail(sim, r, "more are called than the controller let in");
	else if (r->type == USH_RECORD_TYPE_ROOM_EXCHANGE &&
		 r->mask >= sim->ledger.room[r->event].serving)
		fail(sim, r, "exchanged before it was durable that the number is due");
}

/* ---- the controller ---- */

static void pacing(struct sim *sim)
{
	for (uint32_t id = 1; id <= sim->config.events; id++) {
		const struct ush_queue *queue = ush_rooms_find(&sim->engine->rooms, id);

		sim->room[id].before = queue == NULL ? 0 : atomic_load(&queue->target);
		sim->room[id].before_ns =
			queue == NULL || !queue->paced ? UINT64_MAX : queue->pace.last.now_ns;
	}
}

/* ret: seats that may still be sold: free, or in holds that are not sold. */
static uint64_t seats_left(const struct sim *sim, uint32_t event)
{
	struct ush_event_view view;

	if (!ush_engine_event_view(sim->engine, event, &view) ||
		view.status != USH_EVENT_STATUS_ON_SALE)
		return 0;
	return view.seat_count - view.sold_count;
}

static void paced(struct sim *sim)
{
	for (uint32_t id = 1; id <= sim->config.events; id++) {
		const struct ush_queue *queue = ush_rooms_find(&sim->engine->rooms, id);
		struct sim_room *book = &sim->room[id];
		uint64_t target, people, cap, ns, most;

		if (queue == NULL)
			continue;
		target = atomic_load(&queue->target);
		people = target - book->before;
		book->let_in = ush_max64(book->let_in, target);
		cap = ush_min64(atomic_load(&queue->cap), RATE_MAX);
		/* A second's worth at most, and what is not yet a person, by the cap that a period
		 * of the controller ends with: one that was gone before says nothing. */
		if (queue->paced && queue->pace.last.now_ns > book->before_ns) {
			ns = ush_min64(queue->pace.last.now_ns - book->before_ns, SIM_SECOND);
			most = cap == 0 ? 0 : cap * SIM_SECOND + MINUTE_NS;
			book->credit = ush_min64(book->credit + cap * ns, most);
		}
		if (target < book->before)
			sim_fail(sim, "room", "event %u: the controller goes back", id);
		else if (people != 0 && atomic_load(&queue->paused) != 0)
			sim_fail(sim, "room", "event %u: %" PRIu64 " are let in during a pause", id,
				people);
		else if (people > seats_left(sim, id))
			sim_fail(sim, "room",
				"event %u: %" PRIu64 " are let in for %" PRIu64 " seats", id,
				people, seats_left(sim, id));
		else if (people * MINUTE_NS > book->credit)
			sim_fail(sim, "room", "event %u: %" PRIu64 " are let in, cap %" PRIu64, id,
				people, cap);
		else
			book->credit -= people * MINUTE_NS;
	}
}

/* ---- replies ---- */

static void wrong(
	struct sim *sim, const struct sim_ask *ask, const struct ush_reply *reply, const char *what)
{
	sim_fail(sim, "room",
		"ask %" PRIu64 " (op %u, user %" PRIu64 ", event %u) is told %u, %" PRIu64
		", %u: %s",
		reply->cookie - 1, reply->op, ask->request.user, reply->event, reply->status,
		reply->amount, reply->detail, what);
}

static void told_place(struct sim *sim, const struct sim_ask *ask, const struct ush_reply *reply)
{
	const struct ledger_guest *guest = &sim->ledger.room[reply->event].guest[ask->request.user];
	const struct sim_pass *before = &sim->guest[reply->event][ask->request.user].newest;
	uint32_t tier = reply->detail & 7;

	if (before->known && (before->number != reply->amount || (before->value & 7) != tier))
		wrong(sim, ask, reply, "another place than before");
	else if (guest->sequence == 0 || guest->index != reply->amount || guest->tier != tier ||
		 guest->sequence > reply->sequence)
		wrong(sim, ask, reply, "a place that the journal does not have");
	else if (before->known && before->value == (reply->detail & 0xffff) &&
		 before->tag != reply->hold)
		wrong(sim, ask, reply, "another tag of the same ticket");
	else if ((reply->detail >> 17 & 1) != 0 && !guest->slow)
		wrong(sim, ask, reply, "slow, which the journal does not know");
}

static void join_replied(struct sim *sim, const struct sim_ask *ask, const struct ush_reply *reply)
{
	bool known = sim->guest[reply->event][ask->request.user].newest.known;

	switch (reply->status) {
	case USH_STATUS_OK:
		told_place(sim, ask, reply);
		break;
	case USH_STATUS_ROOM_FULL:
	case USH_STATUS_RETRY:
	case USH_STATUS_BUSY:
		if (known)
			wrong(sim, ask, reply, "who has a place is to be told it");
		break;
	default:
		break;
	}
}

/* ret: true if the ticket is one that the box gave to this user, of this event. */
static bool is_own(const struct sim_ask *ask)
{
	return ask->pass.known && ask->pass_user == ask->request.user &&
	       ask->pass_event == ask->request.event;
}

static void refused(struct sim *sim, const struct sim_ask *ask, const struct ush_reply *reply)
{
	uint8_t behind = (uint8_t)(sim->room[reply->event].key_id - (ask->pass.value >> 8));

	if (reply->detail == USH_TICKET_FAULT_MISSING   ? ask->pass.known
		: reply->detail == USH_TICKET_FAULT_KEY ? is_own(ask) && behind < 2
							: is_own(ask))
		wrong(sim, ask, reply, "a good ticket is called bad");
}

/* What WAITING says of now-serving. */
static void waiting(struct sim *sim, const struct sim_ask *ask, const struct ush_reply *reply)
{
	const struct ledger_room *room = &sim->ledger.room[reply->event];
	const struct ledger_guest *guest = &room->guest[ask->request.user];
	struct sim_room *book = &sim->room[reply->event];
	uint64_t number = number_of(book, room, ask->request.user), ahead = reply->amount, serving;

	if (guest->slow && guest->tier == FIFO) {
		/* Whether the number itself is called cannot be told from 1. */
		if (guest->tokens != 0 || ahead <= room->opened.slow_places + 1)
			return;
		ahead -= room->opened.slow_places;
	}
	serving = number + 1 - ahead;
	if (ahead == 0 || ahead > number + 1)
		wrong(sim, ask, reply, "a position that cannot be");
	else if (ahead <= EXACT && serving > room->serving)
		wrong(sim, ask, reply, "more are called than the journal says");
	else if (ahead <= EXACT && serving < book->told)
		wrong(sim, ask, reply, "now-serving went back");
	else if (ahead <= EXACT)
		book->told = serving;
}

static void check_token(struct sim *sim, const struct sim_ask *ask, const struct ush_reply *reply)
{
	const struct ledger_guest *guest = &sim->ledger.room[reply->event].guest[ask->request.user];
	const struct sim_guest *before = &sim->guest[reply->event][ask->request.user];

	if (guest->tokens == 0 || (reply->deadline_ns != guest->token_end_ns &&
					  reply->deadline_ns != guest->token_before_ns))
		wrong(sim, ask, reply, "a token that the journal does not have");
	else if (before->has_token && reply->deadline_ns > before->token_end_ns &&
		 reply->deadline_ns < before->token_end_ns + TOKEN_NS)
		wrong(sim, ask, reply, "a second token while the first is good");
	else if ((reply->detail & 0xff) != guest->tier || reply->detail >> 16 != reply->event ||
		 reply->hold != sim_admission_tag(
					sim, reply->detail, ask->request.user, reply->deadline_ns))
		wrong(sim, ask, reply, "a token that is not good");
}

static void ticket_replied(
	struct sim *sim, const struct sim_ask *ask, const struct ush_reply *reply)
{
	const struct ledger_room *room = &sim->ledger.room[reply->event];
	struct sim_room *book = &sim->room[reply->event];
	uint64_t user = ask->request.user;
	bool passed = reply->status == USH_STATUS_OK || reply->status == USH_STATUS_WAITING;

	if (reply->status == USH_STATUS_TICKET)
		refused(sim, ask, reply);
	/* The box hears of what is durable with the journal's next step. */
	if (reply->status == USH_STATUS_ROOM_PHASE && room->phase == USH_ROOM_PHASE_SERVING &&
		room->order_sequence < ush_log_durable(&sim->engine->log))
		wrong(sim, ask, reply, "the room serves, durably");
	if (!passed || sim->failed)
		return;
	if (!is_own(ask) || room->guest[user].sequence == 0) {
		wrong(sim, ask, reply, "a bad ticket passes");
	} else if (room->phase != USH_ROOM_PHASE_SERVING) {
		wrong(sim, ask, reply, "the order is told before it is durable");
	} else if (reply->status == USH_STATUS_WAITING) {
		waiting(sim, ask, reply);
	} else if (!is_called(
			   room, &room->guest[user], number_of(book, room, user), room->serving)) {
		wrong(sim, ask, reply, "the number is not due");
	} else {
		if (reply->op == USH_OP_POSITION)
			book->told = ush_max64(book->told, number_of(book, room, user) + 1);
		else
			check_token(sim, ask, reply);
	}
}

/* What the operator is told rests on the record of what was done. */
static void control_replied(
	struct sim *sim, const struct sim_ask *ask, const struct ush_reply *reply)
{
	static const uint8_t types[] = {[USH_ROOM_ACTION_OPEN] = USH_RECORD_TYPE_ROOM_OPEN,
		[USH_ROOM_ACTION_CLOSE] = USH_RECORD_TYPE_ROOM_CLOSE,
		[USH_ROOM_ACTION_DRAW] = USH_RECORD_TYPE_ROOM_DRAW,
		[USH_ROOM_ACTION_SET] = USH_RECORD_TYPE_ROOM_SET,
		[USH_ROOM_ACTION_KEY] = USH_RECORD_TYPE_ROOM_KEY};
	const struct ush_record *r = ledger_record(&sim->ledger, reply->sequence);
	uint8_t action = (uint8_t)ask->request.arg;

	if (reply->status != USH_STATUS_OK)
		return;
	if (action == 0 || action >= sizeof(types) || r == NULL || r->type != types[action] ||
		r->event != reply->event || ask->wrong_seed * action == USH_ROOM_ACTION_DRAW)
		wrong(sim, ask, reply, "done, and not by its record");
}

/* A list of the closed lobby has those who joined it, durably, and nobody else. */
static void places_replied(
	struct sim *sim, const struct sim_ask *ask, const struct ush_reply *reply)
{
	const struct ledger_room *room = &sim->ledger.room[reply->event];
	uint32_t joined = 0, listed = 0;

	if (reply->status != USH_STATUS_OK || ask->request.arg != 0 || reply->detail != 0)
		return;
	for (uint64_t user = 1; user < LEDGER_GUESTS; user++)
		joined += room->guest[user].sequence != 0 && room->guest[user].tier != FIFO;
	for (uint32_t i = 0; i < sim->reply_place_count; i++) {
		const struct ush_room_entry *entry = &sim->reply_places[i];
		const struct ledger_guest *guest = &room->guest[entry->user % LEDGER_GUESTS];

		listed += entry->tier != FIFO;
		if (entry->user >= LEDGER_GUESTS || guest->sequence == 0 ||
			guest->tier != entry->tier || guest->index != entry->number)
			wrong(sim, ask, reply, "a place is listed that the journal does not have");
	}
	if (listed != joined)
		wrong(sim, ask, reply, "the list has not all who joined");
}

static void replied(struct sim *sim, const struct sim_ask *ask, const struct ush_reply *reply)
{
	uint64_t user = ask->request.user;
	bool client = reply->op == USH_OP_JOIN || reply->op == USH_OP_POSITION ||
		      reply->op == USH_OP_EXCHANGE;

	if (sim->config.guests == 0 || reply->event == 0 || reply->event > SIM_EVENTS_MAX ||
		reply->event != ask->request.event || user > SIM_GUESTS_MAX || ask->noise)
		return;
	if (client &&
		(reply->status == USH_STATUS_NO_ROOM ||
			reply->status == USH_STATUS_UNKNOWN_EVENT) &&
		sim->ledger.room[reply->event].phase != USH_ROOM_PHASE_NONE)
		wrong(sim, ask, reply, "there is a room, durably");
	else if (reply->op == USH_OP_JOIN)
		join_replied(sim, ask, reply);
	else if (client)
		ticket_replied(sim, ask, reply);
	else if (reply->op == USH_OP_ROOM_CONTROL && ask->control)
		control_replied(sim, ask, reply);
	else if (reply->op == USH_OP_ROOM_PLACES && ask->control)
		places_replied(sim, ask, reply);
}

/* ---- after a start ---- */

/* Whoever was told a place has it. */
static void check_told(struct sim *sim, uint32_t id, uint64_t user)
{
	const struct ush_queue *queue = ush_rooms_find(&sim->engine->rooms, id);
	const struct sim_pass *told = &sim->guest[id][user].newest;
	struct ush_room_place place;

	if (!told->known)
		return;
	if (queue == NULL ||
		ush_room_find(&queue->room, ush_queue_hash(queue, user), user, &place) !=
			USH_ROOM_ALREADY ||
		place.number != told->number || place.tier != (told->value & 7))
		sim_fail(sim, "room", "event %u: user %" PRIu64 " was told a place and lost it", id,
			user);
}

static void restarted(struct sim *sim)
{
	for (uint32_t id = 1; sim->config.guests != 0 && id <= sim->config.events; id++) {
		const struct ush_queue *queue = ush_rooms_find(&sim->engine->rooms, id);
		struct sim_room *book = &sim->room[id];

		for (uint64_t user = 1; user <= SIM_GUESTS_MAX; user++)
			check_told(sim, id, user);
		book->key_id = sim->ledger.room[id].key_id;
		book->let_in = sim->ledger.room[id].serving;
		book->credit = 0;
		if (book->told > (queue == NULL ? 0 : atomic_load(&queue->serving)))
			sim_fail(sim, "room", "event %u: %" PRIu64 " were called, and are not now",
				id, book->told);
	}
}

const struct check check_room = {.name = "room",
	.appended = appended,
	.pacing = pacing,
	.paced = paced,
	.durable = durable,
	.replied = replied,
	.restarted = restarted};
