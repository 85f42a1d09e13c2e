/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Snapshots: the state comes back as it was, and whatever is wrong with a file, recovery comes to
 * the same end.
 */
#include "journal/follow.h"
#include "journal/snapshot.h"
#include "loop/internal.h"
#include "tests/ask.h"
#include "tests/journal_rig.h"
#include "tests/replay.h"

/* ---- the engine's state ---- */

struct shelf {
	uint8_t *data;
	size_t bytes;
	size_t room;
	size_t taken;
};

struct shelves {
	struct shelf of[USH_STATE_SECTION_COUNT];
};

static int shelve(void *context, uint32_t section, const void *entry, size_t bytes)
{
	struct shelf *shelf = &((struct shelves *)context)->of[section];

	if (shelf->bytes + bytes > shelf->room) {
		shelf->room = shelf->room * 2 + 4096;
		shelf->data = realloc(shelf->data, shelf->room);
		USH_ASSERT(shelf->data != NULL);
	}
	memcpy(shelf->data + shelf->bytes, entry, bytes);
	shelf->bytes += bytes;
	return 0;
}

static int unshelve(void *context, uint32_t section, void *entry, size_t bytes)
{
	struct shelf *shelf = &((struct shelves *)context)->of[section];

	if (shelf->taken == shelf->bytes)
		return 0;
	memcpy(entry, shelf->data + shelf->taken, bytes);
	shelf->taken += bytes;
	return 1;
}

static void shelves_free(struct shelves *shelves)
{
	for (uint32_t i = 0; i < USH_STATE_SECTION_COUNT; i++)
		free(shelves->of[i].data);
}

/* A user's line and its answers, wherever they stand. */
static uint64_t users_digest(const struct shelves *s)
{
	const struct ush_state_user *users = (const void *)s->of[USH_STATE_SECTION_USER].data;
	const struct ush_state_answer *answer = (const void *)s->of[USH_STATE_SECTION_ANSWER].data;
	size_t count = s->of[USH_STATE_SECTION_USER].bytes / sizeof(*users);
	const struct ush_key key = {1, 2};
	uint64_t sum = 0;

	for (size_t i = 0; i < count; i++) {
		uint64_t line = ush_siphash(&key, &users[i], sizeof(users[i]));
		for (uint32_t k = 0; k < users[i].answer_count; k++, answer++)
			line = ush_mix64(line) + ush_siphash(&key, answer, sizeof(*answer));
		sum += ush_mix64(line);
	}
	return sum;
}

static bool same_state(const struct ush_engine *a, const struct ush_engine *b)
{
	struct shelves left = {0}, right = {0};
	bool same = true;

	USH_ASSERT(ush_engine_save(a, shelve, &left) == 0);
	USH_ASSERT(ush_engine_save(b, shelve, &right) == 0);
	for (uint32_t i = 1; i < USH_STATE_SECTION_COUNT; i++) {
		const struct shelf *l = &left.of[i], *r = &right.of[i];
		bool placed = i == USH_STATE_SECTION_USER || i == USH_STATE_SECTION_ANSWER;

		if (l->bytes == r->bytes &&
			(placed || l->bytes == 0 || memcmp(l->data, r->data, l->bytes) == 0))
			continue;
		printf("# section %u differs: %zu and %zu bytes\n", i, l->bytes, r->bytes);
		same = false;
	}
	same &= users_digest(&left) == users_digest(&right);
	shelves_free(&left);
	shelves_free(&right);
	return same;
}

/* Lines and rows as they lie in memory, what is free and linked left out. */
static bool same_memory(const struct ush_engine *a, const struct ush_engine *b)
{
	for (uint32_t i = 1; i < a->holds.count; i++) {
		const struct ush_hold *left = &a->holds.lines[i], *right = &b->holds.lines[i];
		if (atomic_load(&left->word) != atomic_load(&right->word) ||
			left->leg_count != right->leg_count)
			return false;
		if (left->leg_count != 0 && memcmp(left, right, sizeof(*left)) != 0)
			return false;
	}
	return a->inventory.arena_used == b->inventory.arena_used &&
	       memcmp(a->state.applied, b->state.applied, sizeof(a->state.applied)) == 0 &&
	       a->state.live_holds == b->state.live_holds && a->state.time_ns == b->state.time_ns;
}

static struct replay history;
static uint32_t price;

struct granted {
	uint64_t user;
	uint64_t hold;
	uint64_t mask;
	uint16_t row;
};

/* One step in the life of a hold: paid for, refunded, extended, cut, given away. */
static void step_on(struct ush_random *random, struct granted *g, uint32_t *next_id)
{
	struct ush_reply now = query(g->user, g->hold);
	struct ush_request r = {
		.event = EVENT, .user = g->user, .hold = g->hold, .section = now.hold_version};
	bool yes = ush_random_below(random, 2) == 0;

	if (now.status != USH_STATUS_OK)
		return;
	switch (now.state) {
	case USH_HOLD_STATE_HELD:
		r.op = yes ? USH_OP_PAY_BEGIN : USH_OP_EXTEND;
		r.section = yes ? now.hold_version : 0;
		r.arg = yes ? now.amount : 0;
		r.request_id = yes ? 0 : ++*next_id;
		r.hold_ms = 90000;
		break;
	case USH_HOLD_STATE_PAYING:
		r.op = USH_OP_PAY_END;
		r.arg = yes ? USH_OUTCOME_SUCCEEDED : USH_OUTCOME_FAILED;
		break;
	case USH_HOLD_STATE_SOLD:
		r.op = yes ? USH_OP_REFUND_BEGIN : USH_OP_TRANSFER;
		r.arg = yes ? 0 : g->user % 40 + 1;
		break;
	default:
		r.op = USH_OP_REFUND_END;
		r.arg = yes ? USH_OUTCOME_SUCCEEDED : USH_OUTCOME_FAILED;
		break;
	}
	if (ask(r).status == USH_STATUS_OK && r.op == USH_OP_TRANSFER)
		g->user = r.arg;
}

/* The second of two seats is given back. */
static void cut(struct granted *g, uint32_t *next_id)
{
	struct ush_request r = {.op = USH_OP_RELEASE,
		.event = EVENT,
		.user = g->user,
		.hold = g->hold,
		.request_id = ++*next_id,
		.row = g->row,
		.mask = g->mask & (g->mask - 1)};

	ask(r);
}

/* Paid for when it was over. */
static void late(const struct granted *g)
{
	ask((struct ush_request){.op = USH_OP_PAY_LATE,
		.event = EVENT,
		.user = g->user,
		.hold = g->hold,
		.row = g->row,
		.mask = g->mask,
		.arg = ush_popcount64(g->mask) * price});
}

/* One row more, or another price. */
static void change(uint32_t i)
{
	struct ush_request r = {.op = USH_OP_EVENT_CHANGE, .event = EVENT, .request_id = i};
	const struct ush_event *event = ush_inventory_event(&h.engine->inventory, EVENT);
	uint32_t rows = ush_event_row_count(event) + i % 2, row;
	struct ush_venue_tier tier = {.price = i % 2 == 0 ? price + 100 : price};
	struct ush_change *made;
	struct ush_message message;
	size_t bytes;
	uint8_t *image;

	if (rows > ROWS + 12 || history.change_count == REPLAY_CHANGES)
		return;
	image = harness_image(rows, SEATS, LIMIT, &bytes);
	memcpy(image + sizeof(struct ush_venue_header), &tier, sizeof(tier));
	harness_image_seal(image, bytes);
	CHECK_EQ(ush_engine_change_build(
			 h.engine, EVENT, i, NULL, image, bytes, &made, &row, &message),
		USH_STATUS_OK);
	CHECK_EQ(harness_ask_with(&h, &r, NULL, 0, made).status, USH_STATUS_OK);
	replay_change(&history, image, bytes);
	price = tier.price;
}

/* One of its seats for one of another row. */
static void swap(struct granted *g, uint32_t *next_id, uint32_t seat)
{
	struct {
		struct ush_extension_header header;
		struct ush_leg leg;
	} give = {{.type = USH_EXTENSION_GIVE, .size = sizeof(give), .value = 1},
		{.row = g->row, .mask = g->mask & -g->mask}};
	struct ush_request r = {.op = USH_OP_SWAP,
		.event = EVENT,
		.user = g->user,
		.hold = g->hold,
		.request_id = ++*next_id,
		.row = (uint16_t)((g->row + 1) % ROWS),
		.mask = 1ull << (seat % SEATS)};

	harness_ask_with(&h, &r, &give, sizeof(give), NULL);
}

/* Seats are made a channel's, held by its key and given back; or are its no more. */
static void channel_life(uint32_t *next_id, uint64_t user, uint16_t row, uint32_t i)
{
	struct ush_request r = {.op = i % 3 == 0 ? USH_OP_UNBLOCK : USH_OP_BLOCK,
		.event = EVENT,
		.row = row,
		.mask = 1ull << (i % SEATS),
		.arg = 1 + i % 2};
	struct ush_reply reply = ask(r);

	if (i % 40 == 17)
		ask((struct ush_request){
			.op = USH_OP_CHANNEL_KEY, .event = EVENT, .section = 1, .arg = 1});
	if (reply.status != USH_STATUS_OK || r.op != USH_OP_BLOCK)
		return;
	reply = ask_channel(harness_reserve(EVENT, user, ++*next_id, row, r.mask), (uint32_t)r.arg);
	if (reply.status == USH_STATUS_OK && i % 4 != 0)
		release(user, reply.hold, ++*next_id);
}

static struct ush_reply other(uint64_t user, uint8_t op, struct ush_request r)
{
	static uint32_t id;

	r.op = op;
	r.event = OTHER;
	r.user = user;
	r.request_id = ++id;
	return ask(r);
}

/* The other event is full; some wait, one leaves, seats come back, one at a time. */
static void wait_life(uint32_t round)
{
	const struct ush_request leave = {.arg = (uint64_t)USH_WAIT_ACTION_LEAVE << 32};
	const struct ush_event *event = ush_inventory_event(&h.engine->inventory, OTHER);
	uint64_t hold[ROWS] = {0};

	for (uint16_t row = 0; row < ROWS; row++) {
		struct ush_request r = {.row = row,
			.mask = ush_row_available(&event->rows[row]),
			.hold_ms = 600000};

		if (r.mask != 0)
			hold[row] = other(60u + row, USH_OP_RESERVE, r).hold;
	}
	/* A group for which there are never enough. */
	if (round % 4 == 0)
		other(74, USH_OP_WAIT_LIST, (struct ush_request){.arg = 8});
	for (uint32_t i = 0; i < 4; i++)
		other(70 + i, USH_OP_WAIT_LIST, (struct ush_request){.arg = 1 + (round + i) % 2});
	other(72, USH_OP_WAIT_LIST, leave);
	for (uint16_t row = 0; row < ROWS && row < 1 + round % 3; row++) {
		struct ush_request r = {.hold = hold[row], .row = row};

		r.mask =
			ush_aside_seats(event, row) | (atomic_load(&event->rows[row].firm) &
							      -atomic_load(&event->rows[row].firm));
		if (hold[row] != 0)
			other(60u + row, USH_OP_RELEASE, r);
		replay_collect(&history, ush_engine_log(h.engine));
	}
	for (uint32_t k = 0; k < (round % 4 == 0 ? 6 : 0); k++) {
		pass(25000 * MS);
		replay_collect(&history, ush_engine_log(h.engine));
	}
}

/* Plays a sale: holds of one and several legs, releases, sales, expiry, house seats, a pause. */
static void play(struct ush_random *random, uint32_t steps)
{
	static uint32_t next_id[41];
	struct granted granted[64] = {{0}};

	memset(next_id, 0, sizeof(next_id));
	price = 2500;
	for (uint32_t i = 0; i < steps; i++) {
		uint64_t user = 1 + ush_random_below(random, 40);
		struct granted *g = &granted[ush_random_below(random, 64)];
		const struct ush_event *event = ush_inventory_event(&h.engine->inventory, EVENT);
		uint16_t row = (uint16_t)ush_random_below(random, ush_event_row_count(event));
		uint64_t mask = 3ull << ush_random_below(random, SEATS - 1);
		uint64_t what = ush_random_below(random, 20);
		struct ush_leg legs[2] = {{.row = row, .mask = mask},
			{.row = (uint16_t)((row + 1) % ROWS), .mask = mask}};
		struct ush_reply reply;

		if (what < 9) {
			legs[0].row = what == 0 ? row % ROWS : row;
			reply = ask_legs(harness_reserve(EVENT + (what == 0), user, ++next_id[user],
						 row, mask),
				legs, what < 4 && row < ROWS ? 2 : 1);
			if (reply.status == USH_STATUS_OK && what != 0)
				*g = (struct granted){user, reply.hold, mask, row};
		} else if (what < 12 && g->hold != 0) {
			if (i % 2 == 0)
				swap(g, &next_id[g->user], i);
			for (uint32_t k = 0; k < 5; k++)
				step_on(random, g, &next_id[g->user]);
		} else if (what == 12 && g->hold != 0) {
			cut(g, &next_id[g->user]);
		} else if (what < 16 && g->hold != 0) {
			release(g->user, g->hold, ++next_id[g->user]);
			if (i % 16 == 0)
				late(g);
			g->hold = 0;
		} else if (what == 16 && g->hold != 0) {
			confirm(g->user, g->hold);
		} else if (what == 17) {
			house(i % 2 ? USH_OP_BLOCK : USH_OP_UNBLOCK, row, 1ull << (i / 2 % SEATS));
			/* A hold of channel seats, which come back to it. */
			channel_life(&next_id[user], user, row, i);
			if (i % 3 == 0)
				wait_life(i / 3);
		} else if (what == 18) {
			set_status(i % 2 ? USH_EVENT_STATUS_PAUSED : USH_EVENT_STATUS_ON_SALE);
			if (i > steps / 8 && i % 8 < 2)
				change(i);
		} else {
			/* In pieces: while something lives, each second is a block of the ring. */
			for (uint32_t k = 0; k < (i % 50 == 0 ? 10 : 0); k++) {
				pass(40000 * MS);
				replay_collect(&history, ush_engine_log(h.engine));
			}
			pass(20 * MS);
		}
		replay_collect(&history, ush_engine_log(h.engine));
	}
	set_status(USH_EVENT_STATUS_ON_SALE);
	harness_make_durable(&h);
	replay_collect(&history, ush_engine_log(h.engine));
}

static void apply_part(struct harness *to, size_t from, size_t count)
{
	struct ush_message message;

	for (size_t i = from; i < count;) {
		uint32_t run = history.records[i].run_count;
		int error = ush_engine_apply(to->engine, &history.records[i], run, &message);

		if (error != 0)
			printf("# %s\n", message.text);
		USH_ASSERT(error == 0);
		i += run;
	}
}

static void open_empty(struct harness *to, const struct ush_engine_limits *limits)
{
	harness_open_for_replay(to, limits);
	ush_engine_set_image_find(to->engine, replay_find, &history);
}

/* Saves the state after `cut` records, loads it into an engine of other limits, goes on. */
static void check_cut(size_t cut, const struct harness *whole, bool same_limits)
{
	struct ush_engine_limits limits = whole->limits;
	struct ush_engine_resume resume;
	struct ush_message message = {{0}};
	struct shelves shelves = {0};
	struct harness half, rest;
	struct ush_engine_audit audit;

	open_empty(&half, &limits);
	apply_part(&half, 0, cut);
	CHECK_EQ(ush_engine_save(half.engine, shelve, &shelves), 0);
	if (!same_limits) {
		limits.loop_count = 3;
		limits.user_count *= 4;
		limits.hold_count += 1000;
	}
	open_empty(&rest, &limits);
	CHECK_EQ(ush_engine_load(rest.engine, unshelve, &shelves, &message), 0);
	CHECK(same_state(half.engine, rest.engine));
	apply_part(&rest, cut, history.count);
	CHECK(same_state(whole->engine, rest.engine));
	if (same_limits)
		CHECK(same_memory(whole->engine, rest.engine));
	ush_engine_replayed(rest.engine, h.now_ns, &resume);
	CHECK_EQ(ush_engine_audit(rest.engine, &audit, &message), 0);
	shelves_free(&shelves);
	harness_close(&half);
	harness_close(&rest);
}

/* Goal: state + tail is the state from the beginning, wherever the cut. Method: a random sale,
 * cut at random runs, compared entry by entry and line by line. */
static void test_snapshot_state_and_tail_are_the_whole(void)
{
	struct ush_random random;
	struct ush_engine_limits limits;
	struct harness whole;
	uint32_t cuts = 0;

	ush_random_init(&random, tap_seed(11));
	replay_init(&history);
	for (uint32_t id = EVENT; id <= OTHER; id++) {
		size_t bytes;
		void *image = harness_image(ROWS, SEATS, LIMIT, &bytes);
		replay_image(&history, id, image, bytes);
	}
	start();
	play(&random, 4000);
	harness_limits_small(&limits);
	open_empty(&whole, &limits);
	apply_part(&whole, 0, history.count);
	CHECK(history.count > 2000);
	for (size_t i = 0; i < history.count; i += history.records[i].run_count) {
		if (i != 0 && ush_random_below(&random, 60) != 0)
			continue;
		check_cut(i, &whole, i % 2 == 0);
		cuts++;
	}
	check_cut(history.count, &whole, true);
	printf("# %zu records, %u cuts\n", history.count, cuts);
	CHECK(cuts > 20);
	for (uint32_t type = USH_RECORD_TYPE_TICK; type < USH_RECORD_TYPE_COUNT; type++) {
		/* Numbers that are not given out, and waiting rooms: see test_loop_room.c. */
		if (type == 21 || type == 22 || (type >= 25 && type <= 27) || type == 33 ||
			(type >= 36 && type <= USH_RECORD_TYPE_ROOM_KEY))
			continue;
		if (type != USH_RECORD_TYPE_RESUME && whole.engine->state.applied[type] == 0) {
			printf("# no record of type %u\n", type);
			CHECK(false);
		}
	}
	harness_close(&whole);
	replay_free(&history);
}

/* ---- the file ---- */

static struct rig rig;

/* The rig's state is the TICKs seen: their number, and a line for each hundred. */
static int save_ticks(const void *state, ush_snapshot_put *put, void *context)
{
	const struct rig *r = state;
	struct ush_state_total total = {.time_ns = r->seen_count};
	struct ush_state_answer answer = {.hold = 1};
	struct ush_state_channel channel = {.seats = 1};
	uint64_t zero = 0;

	put(context, USH_STATE_SECTION_TOTAL, &total, sizeof(total));
	put(context, USH_STATE_SECTION_RECORDS, &zero, sizeof(zero));
	for (uint32_t i = 0; i < r->seen_count; i += 100) {
		struct ush_state_hold hold = {.index = i, .user = r->seen[i]};
		struct ush_state_user user = {.user = r->seen[i]};
		put(context, USH_STATE_SECTION_HOLD, &hold, sizeof(hold));
		put(context, USH_STATE_SECTION_USER, &user, sizeof(user));
	}
	/* Not read again: sections that have reserved bytes, too. */
	put(context, USH_STATE_SECTION_ANSWER, &answer, sizeof(answer));
	put(context, USH_STATE_SECTION_CHANNEL, &channel, sizeof(channel));
	return 0;
}

static int load_ticks(
	void *state, ush_snapshot_get *get, void *context, struct ush_message *message)
{
	struct rig *r = state;
	struct ush_state_total total;
	struct ush_state_hold hold;

	(void)message;
	USH_ASSERT(get(context, USH_STATE_SECTION_TOTAL, &total, sizeof(total)) == 1);
	USH_ASSERT(get(context, USH_STATE_SECTION_TOTAL, &total, sizeof(total)) == 0);
	for (uint64_t i = 0; i < total.time_ns; i++)
		r->seen[i] = i + 1;
	r->seen_count = (uint32_t)total.time_ns;
	while (get(context, USH_STATE_SECTION_HOLD, &hold, sizeof(hold)) == 1)
		USH_ASSERT(hold.user == hold.index + 1);
	return 0;
}

static const struct ush_snapshot_state ticks = {&rig, save_ticks, load_ticks};
static struct ush_snapshot_point point;

static void watch_point(void *context, const char *segment, uint64_t block,
	const struct ush_block_header *header, const void *data)
{
	(void)context;
	(void)segment;
	(void)block;
	point.epoch = header->epoch;
	point.time_ns = header->time_ns;
	ush_journal_chain_next(point.chain, data);
}

/* Follows the journal from its beginning and writes a snapshot. ret: its error. */
static int snapshot(void)
{
	struct ush_follow_config config = {.directory = "/rig"};
	struct ush_follow *follow = NULL;
	struct ush_follow_position position;
	uint64_t bytes;
	int error;

	rig.seen_count = 0;
	point = (struct ush_snapshot_point){.last_type = USH_RECORD_TYPE_TICK};
	error = ush_follow_open(&follow, &config, &rig.disk, &rig.message);
	if (error != 0)
		return error;
	ush_follow_watch(follow, watch_point, NULL);
	do {
		error = ush_follow_step(follow, 0, rig_apply, &rig, &rig.message);
	} while (error > 0);
	ush_follow_position(follow, &position);
	point.sequence = position.sequence;
	point.box = position.box;
	ush_follow_close(follow);
	return error != 0 ? error
			  : ush_snapshot_write(&rig.disk, &point, &ticks, 2, &bytes, &rig.message);
}

/* A start as usherd's: newest snapshot, then the tail. out: *from: where replay began. */
static int start_again(uint64_t *from, struct ush_message *skipped)
{
	struct ush_snapshot *found = NULL;
	int error = rig_open(&rig);

	rig.seen_count = rig.opens = 0;
	if (error == 0)
		error = ush_snapshot_find(&found, rig.journal, skipped, &rig.message);
	if (error == 0 && found != NULL)
		error = ush_snapshot_load(found, &ticks, &rig.message);
	if (error == 0)
		error = ush_journal_recover_from(rig.journal,
			found != NULL ? ush_snapshot_point(found) : NULL, rig_apply, &rig,
			&rig.report, &rig.message);
	*from = found != NULL ? ush_snapshot_point(found)->sequence : 0;
	ush_snapshot_free(found);
	if (error != 0)
		printf("# %s\n", rig.message.text);
	return error;
}

/* Three lives of `blocks` blocks, a snapshot in the second and in the third. */
static void make_history(uint64_t seed, uint32_t blocks, uint64_t sequence[2])
{
	rig_make(&rig, seed);
	for (uint32_t life = 0; life < 3; life++) {
		USH_ASSERT(rig_up(&rig) == 0);
		rig.last = rig.seen_count;
		USH_ASSERT(rig_blocks(&rig, blocks));
		if (life > 0) {
			USH_ASSERT(snapshot() == 0);
			sequence[life - 1] = point.sequence;
			USH_ASSERT(rig_blocks(&rig, 3));
		}
		rig_down(&rig);
	}
}

/* Recovers and starts; one more life; all TICKs in order. */
static void expect_whole(uint64_t want_from, const char *why)
{
	struct ush_message skipped;
	uint64_t from;

	CHECK_EQ(start_again(&from, &skipped), 0);
	CHECK_EQ(from, want_from);
	CHECK(strstr(skipped.text, why) != NULL && (*why != 0 || skipped.text[0] == 0));
	CHECK(rig_saw(&rig, rig.last));
	CHECK_EQ(rig.report.from_sequence, want_from);
	CHECK_EQ(rig_start(&rig), 0);
	CHECK(rig_blocks(&rig, 2));
	rig_down(&rig);
	CHECK_EQ(start_again(&from, &skipped), 0);
	CHECK(rig_saw(&rig, rig.last));
	rig_down(&rig);
}

/* Goal: recovery goes on from the newest snapshot, in the middle of a segment, over segments and
 * epochs, and a life after it. */
static void test_snapshot_recovery_reads_the_tail(void)
{
	static const uint32_t sizes[] = {1, 10, RIG_SEGMENT_BLOCKS - 6, RIG_SEGMENT_BLOCKS - 3,
		RIG_SEGMENT_BLOCKS, RIG_SEGMENT_BLOCKS + 40, 2 * RIG_SEGMENT_BLOCKS};

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		uint64_t sequence[2];

		make_history(i + 1, sizes[i], sequence);
		expect_whole(sequence[1], "");
		CHECK(rig.report.blocks < 12);
		rig_free(&rig);
	}
}

/* Goal: nothing after the snapshot: the end is the snapshot's. */
static void test_snapshot_without_tail(void)
{
	for (uint32_t blocks = RIG_SEGMENT_BLOCKS - 3; blocks < RIG_SEGMENT_BLOCKS + 2; blocks++) {
		rig_make(&rig, blocks);
		CHECK_EQ(rig_up(&rig), 0);
		CHECK(rig_blocks(&rig, blocks));
		CHECK_EQ(snapshot(), 0);
		CHECK_EQ(point.sequence, (blocks + 1) * USH_BLOCK_SLOTS);
		rig_down(&rig);
		expect_whole(point.sequence, "");
		rig_free(&rig);
	}
}

static char newest_name[USH_DISK_NAME_MAX], older_name[USH_DISK_NAME_MAX];

static void name_files(const uint64_t sequence[2])
{
	snprintf(newest_name, sizeof(newest_name), "snap-%016" PRIx64 ".ush", sequence[1]);
	snprintf(older_name, sizeof(older_name), "snap-%016" PRIx64 ".ush", sequence[0]);
}

/* Goal: a bit that rots anywhere in header, table or any section is noticed, and the older snapshot
 * is used, with a word; both rotten, the beginning. */
static void test_snapshot_bit_rot_falls_back(void)
{
	uint64_t sequence[2];
	struct ush_snapshot_section table[USH_STATE_SECTION_COUNT - 1];
	struct ush_snapshot_header header;
	struct ush_message skipped;
	struct fake_file *file;
	uint32_t sections = 0;
	uint64_t from;

	make_history(5, 150, sequence);
	name_files(sequence);
	file = fake_disk_find(rig.fake, newest_name);
	memcpy(&header, file->data, sizeof(header));
	memcpy(table, file->data + sizeof(header), sizeof(table));
	for (uint64_t at = 0; at < header.file_bytes; at++) {
		bool covered = at < sizeof(header) + sizeof(table);
		for (uint32_t i = 0; i < USH_STATE_SECTION_COUNT - 1; i++) {
			covered |= at >= table[i].offset && at < table[i].offset + table[i].bytes;
			sections += at == table[i].offset && table[i].bytes != 0;
		}
		if (!covered)
			continue;
		file->data[at] ^= (uint8_t)(1u << (at % 8));
		CHECK_EQ(start_again(&from, &skipped), 0);
		CHECK_EQ(from, sequence[0]);
		CHECK(strstr(skipped.text, newest_name) != NULL);
		CHECK(rig_saw(&rig, rig.last));
		ush_journal_close(rig.journal);
		rig.journal = NULL;
		file->data[at] ^= (uint8_t)(1u << (at % 8));
	}
	CHECK_EQ(sections, 6);
	file->data[9] ^= 1;
	fake_disk_find(rig.fake, older_name)->data[100] ^= 1;
	expect_whole(0, newest_name);
	rig_free(&rig);
}

/* Goal: files cut short, missing, empty, of another box or from a journal that reached further. */
static void test_snapshot_misplaced_falls_back(void)
{
	for (uint32_t i = 0; i < 5; i++) {
		uint64_t sequence[2];
		struct ush_snapshot_header header;
		uint8_t *data;

		make_history(20 + i, 30, sequence);
		name_files(sequence);
		data = fake_disk_find(rig.fake, newest_name)->data;
		memcpy(&header, data, sizeof(header));
		if (i == 0)
			fake_disk_resize(rig.fake, newest_name, header.file_bytes - 4096);
		if (i == 1)
			fake_disk_resize(rig.fake, newest_name, 0);
		if (i == 2)
			fake_disk_remove(rig.fake, newest_name);
		if (i >= 3) {
			uint32_t crc = 0;
			size_t head = sizeof(header) + (USH_STATE_SECTION_COUNT - 1) *
							       sizeof(struct ush_snapshot_section);
			header.crc = 0;
			header.box += i == 3;
			header.epoch += i == 4;
			memcpy(data, &header, sizeof(header));
			crc = ush_crc32c(0, data, head);
			memcpy(data + offsetof(struct ush_snapshot_header, crc), &crc, 4);
		}
		expect_whole(sequence[0], i == 2 ? "" : newest_name);
		rig_free(&rig);
	}
}

/* Sums up a snapshot anew, as a program would that has put something of its own into it. */
static void sum_up(uint8_t *data)
{
	struct ush_snapshot_header header;
	struct ush_snapshot_section table[USH_STATE_SECTION_COUNT - 1];

	memcpy(&header, data, sizeof(header));
	memcpy(table, data + sizeof(header), sizeof(table));
	for (uint32_t i = 0; i < USH_STATE_SECTION_COUNT - 1; i++)
		table[i].crc = ush_crc32c(0, data + table[i].offset, table[i].bytes);
	memcpy(data + sizeof(header), table, sizeof(table));
	header.crc = 0;
	memcpy(data, &header, sizeof(header));
	header.crc = ush_crc32c(0, data, sizeof(header) + sizeof(table));
	memcpy(data, &header, sizeof(header));
}

/* Goal: a snapshot with right sums in which something reserved is not zero is of a later version,
 * and not used. Method: each reserved byte, in the first and the last entry of each section. */
static void test_snapshot_reserved_falls_back(void)
{
	static const struct {
		uint32_t section;
		size_t at, bytes, entry;
	} fields[] = {
		{0, offsetof(struct ush_snapshot_header, reserved0), 4, 0},
		{0, offsetof(struct ush_snapshot_header, reserved1), 40, 0},
		{0,
			sizeof(struct ush_snapshot_header) +
				offsetof(struct ush_snapshot_section, reserved0),
			4, 0},
		{USH_STATE_SECTION_TOTAL, offsetof(struct ush_state_total, reserved0), 4,
			sizeof(struct ush_state_total)},
		{USH_STATE_SECTION_ANSWER, offsetof(struct ush_state_answer, reserved0), 6,
			sizeof(struct ush_state_answer)},
		{USH_STATE_SECTION_CHANNEL, offsetof(struct ush_state_channel, reserved0), 6,
			sizeof(struct ush_state_channel)},
	};
	uint64_t sequence[2], from;
	struct ush_snapshot_section table[USH_STATE_SECTION_COUNT - 1];
	struct ush_message skipped;
	uint8_t *data;

	make_history(6, 150, sequence);
	name_files(sequence);
	data = fake_disk_find(rig.fake, newest_name)->data;
	memcpy(table, data + sizeof(struct ush_snapshot_header), sizeof(table));
	for (size_t f = 0; f < sizeof(fields) / sizeof(fields[0]); f++) {
		const struct ush_snapshot_section *t;
		uint64_t first = fields[f].at, last = first;

		if (fields[f].section != 0) {
			t = &table[fields[f].section - 1];
			CHECK(t->bytes != 0);
			first += t->offset;
			last = first + t->bytes - fields[f].entry;
		}
		for (size_t i = 0; i < 2 * fields[f].bytes; i++) {
			uint8_t *byte = data + (i % 2 == 0 ? first : last) + i / 2;

			*byte ^= 0x20;
			sum_up(data);
			CHECK_EQ(start_again(&from, &skipped), 0);
			CHECK_EQ(from, sequence[0]);
			CHECK(strstr(skipped.text, "reserved") != NULL);
			ush_journal_close(rig.journal);
			rig.journal = NULL;
			*byte ^= 0x20;
		}
	}
	sum_up(data);
	expect_whole(sequence[1], "");
	rig_free(&rig);
}

/* Goal: power fails at each operation of writing a snapshot in turn: the next start finds the old
 * one or the new one, whole, and comes to the same end. */
static void test_snapshot_crash_at_each_operation(void)
{
	bool finished = false;
	uint32_t older = 0, newer = 0;

	for (uint32_t cut = 0; !finished; cut++) {
		for (uint64_t seed = 1; seed <= 8; seed++) {
			uint64_t sequence[2], from;
			struct ush_message skipped;
			int error;

			make_history(seed * 1000 + cut, 20, sequence);
			CHECK_EQ(start_again(&from, &skipped), 0);
			CHECK_EQ(rig_start(&rig), 0);
			CHECK(rig_blocks(&rig, 5));
			fake_disk_cut_after(rig.fake, cut);
			error = snapshot();
			finished = error == 0 && !fake_disk_is_cut(rig.fake);
			rig_down(&rig);
			CHECK_EQ(start_again(&from, &skipped), 0);
			CHECK(skipped.text[0] == 0);
			CHECK(from == sequence[1] || from > sequence[1]);
			CHECK(error != 0 || from == point.sequence);
			older += from == sequence[1];
			newer += from != sequence[1];
			CHECK(rig_saw(&rig, rig.last));
			rig_free(&rig);
		}
	}
	printf("# %u ended with the older snapshot, %u with the newer\n", older, newer);
	CHECK(older > 20 && newer > 8);
}

/* Goal: a full disk, or an error at any operation, is an error with a message and leaves what was
 * there; the two newest are kept. */
static void test_snapshot_keeps_two_and_survives_errors(void)
{
	uint64_t sequence[2], from;
	struct ush_message skipped;
	uint32_t snapshots = 0;

	make_history(3, 20, sequence);
	CHECK_EQ(start_again(&from, &skipped), 0);
	CHECK_EQ(rig_start(&rig), 0);
	CHECK(rig_blocks(&rig, 5));
	fake_disk_fail(rig.fake, FAKE_PUT, 0, 1, -USH_ENOSPC);
	CHECK_EQ(snapshot(), (uint64_t)-USH_ENOSPC);
	CHECK(strstr(rig.message.text, "free space") != NULL);
	CHECK_EQ(snapshot(), 0);
	for (uint32_t i = 0; i < fake_disk_file_count(rig.fake); i++)
		snapshots += strncmp(fake_disk_file_at(rig.fake, i)->name, "snap-", 5) == 0;
	CHECK_EQ(snapshots, 2);
	rig_down(&rig);
	expect_whole(point.sequence, "");
	rig_free(&rig);
}

int main(void)
{
	TAP_RUN(test_snapshot_state_and_tail_are_the_whole);
	TAP_RUN(test_snapshot_recovery_reads_the_tail);
	TAP_RUN(test_snapshot_without_tail);
	TAP_RUN(test_snapshot_bit_rot_falls_back);
	TAP_RUN(test_snapshot_misplaced_falls_back);
	TAP_RUN(test_snapshot_reserved_falls_back);
	TAP_RUN(test_snapshot_crash_at_each_operation);
	TAP_RUN(test_snapshot_keeps_two_and_survives_errors);
	return tap_end();
}
