/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A waiting room: users who join on several loops at once, the lobby that closes meanwhile, a
 * ticket that is exchanged on several loops. The room was opened by loop 0, which owns it.
 */
#include "explore/engine.h"
#include "explore/scenarios.h"

#define ROOM_USERS 8u

struct extra_open {
	struct ush_extension_header header;
	struct ush_room_open body;
};
struct extra_ticket {
	struct ush_extension_header header;
	uint64_t number;
	uint64_t tag;
};

static struct ush_queue *queue(void)
{
	return ush_rooms_find(&play->harness.engine->rooms, PLAY_EVENT);
}

static void settle(uint64_t action)
{
	struct ush_request request = {
		.op = USH_OP_ROOM_CONTROL, .event = PLAY_EVENT, .arg = action};
	struct extra_open extra = {.header = {USH_EXTENSION_ROOM_OPEN, 0, sizeof(extra), 1},
		.body = {.users = ROOM_USERS, .cap = USH_ROOM_NO_CAP}};
	struct ush_reply reply = harness_ask_with(&play->harness, &request, &extra,
		action == USH_ROOM_ACTION_OPEN ? sizeof(extra) : 0, NULL);

	EXPECT(reply.status == USH_STATUS_OK);
}

static void ask_join(uint32_t index, uint64_t user)
{
	struct ush_request join = {.op = USH_OP_JOIN, .event = PLAY_EVENT, .user = user};

	play_ask(index, &join, NULL);
}

static void ready(void)
{
	struct ush_queue *room = queue();

	play_ready();
	explore_name(&room->phase, "phase");
	explore_name(&room->room.next[0], "lobby next");
	explore_name(&room->room.next[USH_ROOM_TIER_FIFO], "queue next");
	explore_name(&room->room.lobby_shown, "lobby shown");
}

/* ret: records of that type and user since the setup; of the last: *found. */
static uint32_t records_of(uint8_t type, uint64_t user, struct ush_record *found)
{
	size_t count;
	const struct ush_record *r = play_records(&count);
	uint32_t hits = 0;

	for (size_t i = 0; i < count; i++) {
		if (r[i].type != type || r[i].user != user)
			continue;
		*found = r[i];
		hits++;
	}
	return hits;
}

/* ret: true if the actor's first request was answered OK. */
static bool is_ok(uint32_t actor)
{
	return play_status(actor, 0) == USH_STATUS_OK;
}

/* Whoever was told a place has it, by one record; who was not, has none or may ask again. Two users
 * have two places, and the list of places is whole. */
static void judge_joins(const uint64_t *users, uint32_t count)
{
	uint32_t counts[USH_ROOM_TIERS + 1];

	EXPECT(ush_room_counts(&queue()->room, counts) == 0);
	for (uint32_t i = 0; i < count; i++) {
		const struct ush_reply *reply = &play->actors[i].replies[0];
		struct ush_record record = {0}, other = {0};
		struct ush_room_place place;

		if (users[i] == 0)
			continue;
		EXPECT(is_ok(i) || play_status(i, 0) == USH_STATUS_RETRY);
		EXPECT(records_of(USH_RECORD_TYPE_ROOM_JOIN, users[i], &record) <= 1);
		if (!is_ok(i))
			continue;
		EXPECT(ush_room_find(&queue()->room, ush_queue_hash(queue(), users[i]), users[i],
			       &place) == USH_ROOM_ALREADY);
		EXPECT(record.type == USH_RECORD_TYPE_ROOM_JOIN);
		EXPECT(place.number == reply->amount && place.tier == (reply->detail & 7));
		EXPECT(record.amount == reply->amount && record.state == (reply->detail & 7));
		for (uint32_t k = 0; k < count; k++) {
			if (users[k] != users[i] && users[k] != 0 &&
				records_of(USH_RECORD_TYPE_ROOM_JOIN, users[k], &other) != 0)
				EXPECT(other.amount != record.amount ||
					other.state != record.state);
		}
	}
}

/* ---- the same user, and another ---- */

static const uint64_t joining[] = {1, 1, 2};

static void join_setup(uint32_t threads)
{
	play_open_room(threads, ROOM_USERS);
	settle(USH_ROOM_ACTION_OPEN);
	for (uint32_t i = 0; i < threads; i++)
		ask_join(i, joining[i]);
	ready();
}

static void join_oracle(void)
{
	play_judge();
	judge_joins(joining, play->loops);
	/* One of the two who are one has entered. */
	EXPECT(is_ok(0) || is_ok(1));
	EXPECT(play->loops < 3 || is_ok(2));
}

const struct explore_scenario explore_room_join = {
	.name = "room_join",
	.about = "JOIN of one user on two loops; a third loop joins another",
	.threads_max = 3,
	.bound = {3, 2},
	.setup = join_setup,
	.thread = play_thread,
	.oracle = join_oracle,
};

/* ---- two users ---- */

static const uint64_t two[] = {1, 2, 1};

static void two_setup(uint32_t threads)
{
	play_open_room(threads, ROOM_USERS);
	settle(USH_ROOM_ACTION_OPEN);
	for (uint32_t i = 0; i < threads; i++)
		ask_join(i, two[i]);
	ready();
}

static void two_oracle(void)
{
	play_judge();
	judge_joins(two, play->loops);
	EXPECT(is_ok(1));
	EXPECT(is_ok(0) || (play->loops > 2 && is_ok(2)));
}

const struct explore_scenario explore_room_two = {
	.name = "room_two",
	.about = "JOIN of two users on two loops; a third loop joins one of them again",
	.threads_max = 3,
	.bound = {3, 2},
	.setup = two_setup,
	.thread = play_thread,
	.oracle = two_oracle,
};

/* ---- the lobby closes ---- */

static const uint64_t late[] = {0, 1, 1};

static void close_setup(uint32_t threads)
{
	struct ush_request close = {
		.op = USH_OP_ROOM_CONTROL, .event = PLAY_EVENT, .arg = USH_ROOM_ACTION_CLOSE};

	play_open_room(threads, ROOM_USERS);
	settle(USH_ROOM_ACTION_OPEN);
	play_ask(0, &close, NULL);
	for (uint32_t i = 1; i < threads; i++)
		ask_join(i, late[i]);
	ready();
}

static void close_oracle(void)
{
	struct ush_record record = {0};
	uint64_t places;

	play_judge();
	judge_joins(late, play->loops);
	EXPECT(is_ok(0));
	/* Whoever is in the lobby was counted when it was closed. */
	places = play->actors[0].replies[0].amount;
	EXPECT(records_of(USH_RECORD_TYPE_ROOM_JOIN, 1, &record) == 0 ||
		record.state == USH_ROOM_TIER_FIFO || record.amount < places);
}

const struct explore_scenario explore_room_close = {
	.name = "room_close",
	.about = "the lobby closes while one user joins, in a third loop as well",
	.threads_max = 3,
	.bound = {3, 2},
	.setup = close_setup,
	.thread = play_thread,
	.oracle = close_oracle,
};

/* ---- one ticket, two loops ---- */

static void exchange_setup(uint32_t threads)
{
	struct ush_request join = {.op = USH_OP_JOIN, .event = PLAY_EVENT, .user = 1};
	struct ush_request ask = {.op = USH_OP_EXCHANGE, .event = PLAY_EVENT, .user = 1};
	struct harness *h;
	struct ush_reply joined;
	struct extra_ticket extra;

	play_open_room(threads, ROOM_USERS);
	h = &play->harness;
	settle(USH_ROOM_ACTION_OPEN);
	settle(USH_ROOM_ACTION_CLOSE);
	joined = harness_ask(h, &join);
	EXPECT(joined.status == USH_STATUS_OK);
	for (uint32_t i = 0; i < 2; i++) {
		h->now_ns += HARNESS_SECOND;
		ush_engine_rooms_step(h->engine, h->now_ns);
	}
	harness_turn(h, 0, NULL, 0);
	harness_make_durable(h);
	harness_turn(h, 0, NULL, 0);
	EXPECT(atomic_load(&queue()->serving) == 1);
	extra = (struct extra_ticket){
		{USH_EXTENSION_TICKET, 0, sizeof(extra), joined.detail & 0xffff}, joined.amount,
		joined.hold};
	for (uint32_t i = 0; i < threads; i++) {
		play->actors[i].now_ns = h->now_ns;
		play_ask_with(i, &ask, &extra, sizeof(extra));
	}
	ready();
	explore_name(&queue()->visit[0], "visit");
}

static void exchange_oracle(void)
{
	struct ush_record record = {0};
	uint32_t done = 0;

	play_judge();
	EXPECT(records_of(USH_RECORD_TYPE_ROOM_EXCHANGE, 1, &record) == 1);
	EXPECT(atomic_load(&queue()->exchanged) == 1);
	for (uint32_t i = 0; i < play->loops; i++) {
		const struct ush_reply *reply = &play->actors[i].replies[0];

		EXPECT(is_ok(i) || play_status(i, 0) == USH_STATUS_RETRY);
		EXPECT(!is_ok(i) || reply->deadline_ns == record.deadline_ns);
		done += is_ok(i);
	}
	EXPECT(done != 0);
}

const struct explore_scenario explore_room_exchange = {
	.name = "room_exchange",
	.about = "EXCHANGE of one ticket on two and three loops",
	.threads_max = 3,
	.bound = {3, 2},
	.setup = exchange_setup,
	.thread = play_thread,
	.oracle = exchange_oracle,
};
