/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The judge of a final state: every request was answered once or dropped, no reply left before its
 * record was durable, the engine agrees with itself (ush_engine_audit), every beginning of the log
 * can be replayed, and a fresh engine made from all of it is the same.
 */
#include "explore/engine.h"

struct play *play;

static struct replay replay;
static struct harness replayed;

static const struct ush_key key = {0x0706050403020100ull, 0x0f0e0d0c0b0a0908ull};

void play_open(uint32_t loops)
{
	play_open_room(loops, 0);
}

void play_open_room(uint32_t loops, uint32_t users)
{
	struct ush_engine_resume resume;
	struct ush_message message;
	struct harness *h;
	size_t bytes;
	void *image;

	play = explore_alloc(sizeof(*play));
	play->loops = loops;
	h = &play->harness;
	h->limits = (struct ush_engine_limits){
		.loop_count = loops,
		.hold_count = 64,
		.user_count = 64,
		.answer_count = 64,
		.row_count = 64,
		.channel_row_count = 8,
		.wait_count = 8,
		.room_user_count = users,
		.room_device_count = users,
		.log_block_count = loops > 2 ? 256 : 128,
		.ack_count = 64,
	};
	h->memory_bytes = ush_engine_bytes(&h->limits, &message);
	EXPECT(h->memory_bytes != 0);
	h->memory = explore_alloc(h->memory_bytes);
	h->engine = ush_engine_init(h->memory, &h->limits, &key);
	h->now_ns = HARNESS_START;
	ush_engine_replayed(h->engine, h->now_ns, &resume);
	replay_free(&replay);
	replay_init(&replay);
	image = harness_image(PLAY_ROWS, PLAY_SEATS, 8, &bytes);
	harness_event_of(h, PLAY_EVENT, image, bytes);
	replay_image(&replay, PLAY_EVENT, image, bytes);
	for (uint32_t i = 0; i < EXPLORE_THREADS_MAX; i++)
		play->actors[i].now_ns = h->now_ns;
}

uint64_t play_hold(uint64_t user, uint32_t id, uint64_t mask, uint32_t hold_ms)
{
	struct ush_request request = harness_reserve(PLAY_EVENT, user, id, 0, mask);
	struct ush_reply reply;

	request.hold_ms = hold_ms;
	reply = harness_ask(&play->harness, &request);
	EXPECT(reply.status == USH_STATUS_OK);
	return reply.hold;
}

void play_ask(uint32_t index, const struct ush_request *request, const struct ush_leg *second)
{
	struct {
		struct ush_extension_header header;
		struct ush_leg leg;
	} extra = {.header = {.type = USH_EXTENSION_LEGS, .size = sizeof(extra), .value = 1}};

	if (second != NULL)
		extra.leg = *second;
	play_ask_with(index, request, &extra, second != NULL ? sizeof(extra) : 0);
}

void play_ask_with(uint32_t index, const struct ush_request *request, const void *extension,
	uint32_t extension_bytes)
{
	struct actor *actor = &play->actors[index];

	EXPECT(actor->packet_count < PLAY_REQUESTS);
	memset(&actor->replies[actor->packet_count], 0xff, sizeof(struct ush_reply));
	actor->packets[actor->packet_count++] =
		harness_packet(&play->harness, request, extension, extension_bytes);
}

void play_ask_change(uint32_t index, uint32_t rows, uint32_t price)
{
	struct ush_request request = {.op = USH_OP_EVENT_CHANGE, .event = PLAY_EVENT};
	struct ush_venue_tier tier = {.price = price};
	struct actor *actor = &play->actors[index];
	struct ush_change *change;
	struct ush_message message;
	struct ush_packet *packet;
	uint32_t row;
	size_t bytes;
	uint8_t *image = harness_image(rows, PLAY_SEATS, 8, &bytes);

	memcpy(image + sizeof(struct ush_venue_header), &tier, sizeof(tier));
	harness_image_seal(image, bytes);
	EXPECT(ush_engine_change_build(play->harness.engine, PLAY_EVENT, 0, NULL, image, bytes,
		       &change, &row, &message) == USH_STATUS_OK);
	replay_change(&replay, image, bytes);
	play_ask(index, &request, NULL);
	packet = &actor->packets[actor->packet_count - 1];
	packet->attachment = change;
	packet->flags |= USH_PACKET_ATTACHED;
}

void play_ready(void)
{
	static const char *const names[PLAY_ROWS][2] = {
		{"row 0 free", "row 0 firm"}, {"row 1 free", "row 1 firm"}};
	struct ush_engine *engine = play->harness.engine;
	const struct ush_event *event = ush_inventory_event(&engine->inventory, PLAY_EVENT);
	struct ush_log *log = ush_engine_log(engine);

	replay_collect(&replay, log);
	play->record_count = replay.count;
	play->writer = writer_open(log);
	explore_name(&log->reserved, "reserved");
	explore_name(&log->durable, "durable");
	explore_name(&engine->users.bucket_lock[0], "bucket lock");
	for (uint32_t i = 0; i < PLAY_ROWS; i++) {
		explore_name(&event->rows[i].free, names[i][0]);
		explore_name(&event->rows[i].firm, names[i][1]);
	}
	for (uint32_t i = 0; i < 2; i++) {
		if (play->holds[i] != 0)
			explore_name(&engine->holds.lines[ush_hold_id_index(play->holds[i])].word,
				i == 0 ? "first hold, word" : "second hold, word");
	}
}

/* Replies leave only when what they reveal is durable. */
static void take_replies(struct actor *actor)
{
	uint64_t durable = ush_log_durable(ush_engine_log(play->harness.engine));

	actor->dropped += actor->out.free_count;
	for (uint32_t i = 0; i < actor->out.send_count; i++) {
		const struct ush_packet *packet = &actor->out.send[i];
		uint32_t at = 0;

		while (at < actor->packet_count && actor->packets[at].data != packet->data)
			at++;
		EXPECT(at < actor->packet_count);
		EXPECT(actor->replies[at].status == 0xff);
		memcpy(&actor->replies[at], packet->data + packet->payload_at,
			sizeof(struct ush_reply));
		EXPECT(actor->replies[at].sequence < durable);
	}
}

void play_thread(uint32_t thread)
{
	struct actor *actor = &play->actors[thread];
	struct ush_loop *loop;

	if (thread >= play->loops) {
		for (uint32_t i = 0; i < 3; i++)
			writer_step(play->writer);
		return;
	}
	loop = ush_engine_loop(play->harness.engine, thread);
	ush_loop_turn(loop, &play->harness.net, actor->packets, actor->packet_count, actor->now_ns,
		&actor->out);
	take_replies(actor);
}

const struct ush_record *play_records(size_t *count)
{
	*count = replay.count - play->record_count;
	return replay.records + play->record_count;
}

uint32_t play_status(uint32_t actor, uint32_t request)
{
	return play->actors[actor].replies[request].status;
}

static void expect_ok(int error, const struct ush_message *message)
{
	if (error != 0)
		explore_fail(__FILE__, __LINE__, message->text);
}

/* The rebuilt engine against the one that ran. */
static void same_rows_and_holds(const struct ush_engine *live, const struct ush_engine *again)
{
	const struct ush_event *a = ush_inventory_event(&live->inventory, PLAY_EVENT);
	const struct ush_event *b = ush_inventory_event(&again->inventory, PLAY_EVENT);

	EXPECT(ush_event_row_count(a) == ush_event_row_count(b));
	EXPECT(ush_event_prices(a)->number == ush_event_prices(b)->number);
	for (uint32_t i = 0; i < ush_event_row_count(a); i++) {
		const struct ush_row *x = ush_event_row(a, i), *y = ush_event_row(b, i);

		EXPECT(atomic_load(&x->free) == atomic_load(&y->free));
		EXPECT(atomic_load(&x->firm) == atomic_load(&y->firm));
		EXPECT(atomic_load(&x->house) == atomic_load(&y->house));
	}
	EXPECT(atomic_load(&a->sold_count) == atomic_load(&b->sold_count));
	EXPECT(atomic_load(&a->house_count) == atomic_load(&b->house_count));
	for (size_t i = 0; i < replay.count; i++) {
		const struct ush_record *r = &replay.records[i];
		uint32_t state;

		if (r->type != USH_RECORD_TYPE_HOLD || r->run_index != 0)
			continue;
		/* apply() has compared the prices of other lists. */
		EXPECT(r->run_count != 1 || r->amount == 2500u * ush_popcount64(r->mask));
		state = ush_engine_hold_state(live, r->hold);
		/* Ended by another loop, a line waits for its owner's wheel. */
		if (state == USH_HOLD_STATE_RELEASED || state == USH_HOLD_STATE_EXPIRED)
			state = USH_HOLD_STATE_FREE;
		EXPECT(state == ush_engine_hold_state(again, r->hold));
	}
}

static void same_users(struct ush_engine *live, struct ush_engine *again)
{
	for (uint64_t user = 1; user <= PLAY_USERS; user++) {
		struct ush_user *a = NULL, *b = NULL;
		uint64_t hash = ush_user_hash(&live->users, user, PLAY_EVENT);

		ush_user_find(&live->users, hash, user, PLAY_EVENT, 0, 0, &a);
		ush_user_find(&again->users, hash, user, PLAY_EVENT, 0, 0, &b);
		/* Who was only refused is not in the log. */
		EXPECT(a != NULL || b == NULL);
		EXPECT(b != NULL || a == NULL || (a->seats == 0 && a->answer_count == 0));
		if (b != NULL) {
			EXPECT(a->seats == b->seats);
			EXPECT(a->answer_count == b->answer_count);
			ush_user_unlock(b);
		}
		if (a != NULL)
			ush_user_unlock(a);
	}
}

/* Who joined, in which place, and what is known of each number. */
static void same_room(const struct ush_engine *live, const struct ush_engine *again)
{
	const struct ush_queue *a = ush_rooms_find(&live->rooms, PLAY_EVENT);
	const struct ush_queue *b = ush_rooms_find(&again->rooms, PLAY_EVENT);

	if (a == NULL && b == NULL)
		return;
	EXPECT(a != NULL && b != NULL);
	EXPECT(ush_queue_phase(a) == ush_queue_phase(b) && a->bound == b->bound);
	EXPECT(atomic_load(&a->exchanged) == atomic_load(&b->exchanged));
	for (uint64_t user = 1; user <= PLAY_USERS; user++) {
		uint64_t hash = ush_queue_hash(a, user);
		struct ush_room_place x, y;
		bool found = ush_room_find(&a->room, hash, user, &x) == USH_ROOM_ALREADY;

		EXPECT(found == (ush_room_find(&b->room, hash, user, &y) == USH_ROOM_ALREADY));
		EXPECT(!found || (x.tier == y.tier && x.number == y.number));
	}
	for (uint32_t number = 0; number < a->visit_count; number++)
		EXPECT(ush_visit(a, number) == ush_visit(b, number));
}

static void judge_replay(const struct ush_engine_audit *live)
{
	struct harness *h = &play->harness;
	struct ush_engine_audit again;
	struct ush_message message = {{0}};

	for (size_t count = play->record_count; count <= replay.count; count++) {
		expect_ok(replay_open(&replay, count, &replayed, &h->limits, h->now_ns, &message),
			&message);
		if (count < replay.count)
			harness_close(&replayed);
	}
	expect_ok(ush_engine_audit(replayed.engine, &again, &message), &message);
	EXPECT(again.users <= live->users);
	again.users = live->users;
	EXPECT(memcmp(live, &again, sizeof(again)) == 0);
	same_rows_and_holds(h->engine, replayed.engine);
	same_users(h->engine, replayed.engine);
	same_room(h->engine, replayed.engine);
	harness_close(&replayed);
}

void play_judge(void)
{
	struct harness *h = &play->harness;
	struct ush_log *log = ush_engine_log(h->engine);
	struct ush_engine_audit live;
	struct ush_message message = {{0}};

	writer_finish(play->writer);
	for (uint32_t i = 0; i < play->loops; i++) {
		struct actor *actor = &play->actors[i];
		uint32_t answered = 0;

		ush_loop_turn(ush_engine_loop(h->engine, i), &h->net, NULL, 0, actor->now_ns,
			&actor->out);
		take_replies(actor);
		for (uint32_t k = 0; k < actor->packet_count; k++)
			answered += actor->replies[k].status != 0xff;
		EXPECT(answered + actor->dropped == actor->packet_count);
	}
	/* Expiry that lost a race comes in that turn. */
	writer_finish(play->writer);
	expect_ok(ush_engine_audit(h->engine, &live, &message), &message);
	replay.count = play->record_count;
	replay.next = play->writer->first_block * USH_BLOCK_SLOTS;
	replay_collect(&replay, log);
	judge_replay(&live);
}
