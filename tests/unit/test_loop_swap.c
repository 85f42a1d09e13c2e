/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SWAP: a hold gives some seats up and takes others, all of it or nothing.
 *
 * Owns:  one engine, its log.
 * Reads: nothing.
 * Never: DPDK, files.
 */
#include "ask.h"
#include "loop/internal.h"
#include "replay.h"

static struct replay history;

/* A SWAP of user 7; take[0] is the base leg. */
static struct ush_packet swap_packet(uint64_t hold, uint32_t id, const struct ush_leg *take,
	uint32_t takes, const struct ush_leg *give, uint32_t gives)
{
	uint8_t extra[2 * (8 + USH_LEG_COUNT_MAX * 16)];
	struct ush_extension_header header = {.type = USH_EXTENSION_LEGS,
		.size = (uint16_t)(8 + (takes - 1) * 16),
		.value = takes - 1};
	struct ush_request request = {.op = USH_OP_SWAP,
		.event = EVENT,
		.user = 7,
		.request_id = id,
		.hold = hold,
		.row = take[0].row,
		.mask = take[0].mask};
	struct ush_packet packet;
	uint32_t at = 0;

	if (takes > 1) {
		memcpy(extra, &header, 8);
		memcpy(extra + 8, take + 1, (takes - 1) * 16);
		at = header.size;
	}
	header = (struct ush_extension_header){
		.type = USH_EXTENSION_GIVE, .size = (uint16_t)(8 + gives * 16), .value = gives};
	if (gives != 0) {
		memcpy(extra + at, &header, 8);
		memcpy(extra + at + 8, give, gives * 16);
		at += header.size;
	}
	packet = harness_packet(&h, &request, extra, at);
	packet.data[offsetof(struct ush_request, extension_count)] =
		(uint8_t)((takes > 1) + (gives != 0));
	return packet;
}

static struct ush_reply swap_legs(uint64_t hold, uint32_t id, const struct ush_leg *take,
	uint32_t takes, const struct ush_leg *give, uint32_t gives)
{
	struct ush_packet packet = swap_packet(hold, id, take, takes, give, gives);

	harness_turn(&h, 0, &packet, 1);
	if (h.reply_count == 0) {
		harness_make_durable(&h);
		harness_turn(&h, 0, NULL, 0);
	}
	CHECK_EQ(h.reply_count, 1);
	return h.replies[0];
}

static struct ush_reply swap(uint64_t hold, uint32_t id, uint16_t row, uint64_t mask,
	uint16_t give_row, uint64_t give_mask)
{
	struct ush_leg take = {.row = row, .mask = mask};
	struct ush_leg give = {.row = give_row, .mask = give_mask};

	return swap_legs(hold, id, &take, 1, &give, 1);
}

static uint64_t free_of(uint16_t row)
{
	return atomic_load(&h.engine->inventory.events[EVENT]->rows[row].free);
}

/* The log so far makes the same state. */
static bool replays(void)
{
	struct ush_message message = {{0}};
	struct harness other;
	struct ush_event_view mine, theirs;
	bool same;

	harness_make_durable(&h);
	replay_collect(&history, ush_engine_log(h.engine));
	if (replay_open(&history, history.count, &other, &h.limits, h.now_ns, &message) != 0) {
		printf("# %s\n", message.text);
		return false;
	}
	ush_engine_event_view(h.engine, EVENT, &mine);
	ush_engine_event_view(other.engine, EVENT, &theirs);
	same = mine.free_count == theirs.free_count && mine.sold_count == theirs.sold_count;
	for (uint32_t i = 0; i < ROWS; i++)
		same &= free_of((uint16_t)i) ==
			atomic_load(&other.engine->inventory.events[EVENT]->rows[i].free);
	harness_close(&other);
	return same;
}

static void begin(void)
{
	size_t bytes;

	start();
	replay_free(&history);
	replay_init(&history);
	for (uint32_t event = EVENT; event <= OTHER; event++) {
		void *image = harness_image(ROWS, SEATS, LIMIT, &bytes);

		replay_image(&history, event, image, bytes);
	}
}

/* Goal: seats change in one step; price, version and deadline are what they should be. */
static void test_swap_moves_the_hold(void)
{
	struct ush_reply held, reply, again;

	begin();
	held = reserve(7, 1, 0, 0x7);
	reply = swap(held.hold, 2, 3, 0x30, 0, 0x5);
	CHECK_EQ(reply.status, USH_STATUS_OK);
	CHECK_EQ(reply.state, USH_HOLD_STATE_HELD);
	CHECK_EQ(reply.hold_version, 2);
	CHECK_EQ(reply.amount, 3 * 2500);
	CHECK_EQ(reply.deadline_ns, held.deadline_ns);
	CHECK_EQ(free_of(0), 0x3fd);
	CHECK_EQ(free_of(3), 0x3cf);
	again = swap(held.hold, 2, 3, 0x30, 0, 0x5);
	CHECK_EQ(again.status, USH_STATUS_OK);
	CHECK_EQ(again.detail, 1);
	CHECK_EQ(again.sequence, reply.sequence);
	CHECK_EQ(again.hold_version, 2);
	/* The list of seats to be given up is part of the body. */
	CHECK_EQ(swap(held.hold, 2, 3, 0x30, 0, 0x2).status, USH_STATUS_MISMATCH);
	/* Within a row, to the neighbours. */
	reply = swap(held.hold, 3, 3, 0xc0, 3, 0x30);
	CHECK_EQ(reply.status, USH_STATUS_OK);
	CHECK_EQ(free_of(3), 0x33f);
	CHECK(audit_is_clean());
	CHECK(replays());
	/* All it has for something else. */
	CHECK_EQ(reserve(8, 1, 0, 0x5).status, USH_STATUS_OK);
	CHECK_EQ(release(7, held.hold, 4).status, USH_STATUS_OK);
	CHECK_EQ(view().free_count, ROWS * SEATS - 2);
	CHECK(audit_is_clean());
	CHECK(replays());
}

/* Goal: what is refused changes nothing, least of all what the user has. */
static void test_swap_refused_loses_nothing(void)
{
	static const struct ush_leg take[] = {{.row = 2, .mask = 1}, {.row = 3, .mask = 3}};
	struct ush_leg give = {.row = 0, .mask = 0x7};
	struct ush_reply held, other, reply;

	begin();
	held = reserve(7, 1, 0, 0x7);
	other = reserve(8, 1, 3, 0x2);
	reply = swap_legs(held.hold, 2, take, 2, &give, 1);
	CHECK_EQ(reply.status, USH_STATUS_TAKEN);
	CHECK_EQ(reply.hold, 0x2);
	CHECK_EQ(reply.detail, 1);
	CHECK_EQ(free_of(2), 0x3ff);
	/* Its own seat is taken, too. */
	CHECK_EQ(swap(held.hold, 3, 0, 0x2, 0, 0x1).status, USH_STATUS_TAKEN);
	CHECK_EQ(swap(held.hold, 4, 0, 0x8, 0, 0x10).status, USH_STATUS_CHANGED);
	CHECK_EQ(swap(held.hold, 5, 0, 0x8, 1, 0x1).status, USH_STATUS_CHANGED);
	CHECK_EQ(swap(held.hold, 6, 9, 0x1, 0, 0x1).status, USH_STATUS_NO_SUCH_SEAT);
	CHECK_EQ(swap(held.hold, 7, 1, 0x400, 0, 0x1).status, USH_STATUS_NO_SUCH_SEAT);
	CHECK_EQ(swap(other.hold, 8, 1, 0x1, 3, 0x2).status, USH_STATUS_NO_HOLD);
	reply = swap(held.hold, 9, 0, 0x9, 0, 0x1);
	CHECK_EQ(reply.status, USH_STATUS_BAD_REQUEST);
	CHECK_EQ(reply.detail, USH_FAULT_LEG_TWICE);
	reply = swap_legs(held.hold, 9, take, 1, NULL, 0);
	CHECK_EQ(reply.status, USH_STATUS_BAD_REQUEST);
	CHECK_EQ(reply.detail, USH_FAULT_EXTENSION);
	set_status(USH_EVENT_STATUS_PAUSED);
	CHECK_EQ(swap(held.hold, 9, 1, 0x1, 0, 0x1).status, USH_STATUS_NOT_ON_SALE);
	set_status(USH_EVENT_STATUS_ON_SALE);
	reply = query(7, held.hold);
	CHECK_EQ(reply.hold_version, 1);
	CHECK_EQ(reply.amount, 3 * 2500);
	CHECK_EQ(view().free_count, ROWS * SEATS - 4);
	CHECK(audit_is_clean());
	h.now_ns = held.deadline_ns;
	CHECK_EQ(swap(held.hold, 10, 1, 0x1, 0, 0x1).status, USH_STATUS_EXPIRED);
	CHECK_EQ(view().free_count, ROWS * SEATS - 1);
	CHECK(replays());
	held = reserve(7, 11, 0, 0x7);
	CHECK_EQ(confirm(7, held.hold).status, USH_STATUS_OK);
	CHECK_EQ(swap(held.hold, 12, 1, 0x1, 0, 0x1).status, USH_STATUS_WRONG_STATE);
	CHECK(replays());
}

/* Goal: the limit is on what the user has afterwards. */
static void test_swap_limit_is_net(void)
{
	struct ush_reply held, reply;

	begin();
	CHECK_EQ(reserve(7, 1, 0, 0x3ff).status, USH_STATUS_OK);
	held = reserve(7, 2, 1, 0x3ff);
	CHECK_EQ(swap(held.hold, 3, 2, 0x3ff, 1, 0x3ff).status, USH_STATUS_OK);
	reply = swap(held.hold, 4, 1, 0x3, 2, 0x1);
	CHECK_EQ(reply.status, USH_STATUS_LIMIT);
	CHECK_EQ(reply.detail, LIMIT);
	CHECK_EQ(swap(held.hold, 5, 1, 0x3, 2, 0x3).status, USH_STATUS_OK);
	CHECK(audit_is_clean());
	CHECK(replays());
}

/* Goal: a hold grows and shrinks by rows; its lines are as many as it needs and go home. */
static void test_swap_many_rows(void)
{
	struct ush_leg take[USH_LEG_COUNT_MAX], give[USH_LEG_COUNT_MAX];
	struct ush_reply held, reply;
	uint32_t free_lines;

	begin();
	free_lines = h.engine->holds.pools[0].free_count;
	held = reserve(7, 1, 0, 0x3f);
	for (uint32_t i = 0; i < 5; i++)
		take[i] = (struct ush_leg){.row = (uint16_t)(1 + i), .mask = 1};
	give[0] = (struct ush_leg){.row = 0, .mask = 0x1f};
	CHECK_EQ(swap_legs(held.hold, 2, take, 5, give, 1).status, USH_STATUS_OK);
	CHECK_EQ(h.engine->holds.pools[0].free_count, free_lines - 6);
	/* From five rows into one: the lines stay, empty, and are used again. */
	for (uint32_t i = 0; i < 5; i++)
		give[i] = (struct ush_leg){.row = (uint16_t)(1 + i), .mask = 1};
	take[0] = (struct ush_leg){.row = 0, .mask = 0x2};
	CHECK_EQ(swap_legs(held.hold, 3, take, 1, give, 5).status, USH_STATUS_OK);
	CHECK_EQ(swap(held.hold, 4, 5, 0x3, 0, 0x2).status, USH_STATUS_OK);
	CHECK_EQ(h.engine->holds.pools[0].free_count, free_lines - 6);
	reply = query(7, held.hold);
	CHECK_EQ(reply.amount, 3 * 2500);
	CHECK(audit_is_clean());
	CHECK(replays());
	CHECK_EQ(release(7, held.hold, 5).status, USH_STATUS_OK);
	CHECK_EQ(h.engine->holds.pools[0].free_count, free_lines);
	CHECK_EQ(view().free_count, ROWS * SEATS);
	CHECK(replays());
}

/* Goal: a line that is emptied and filled again within its row is lent to no other. */
static void test_swap_within_and_beyond_a_row(void)
{
	static const struct ush_leg take[] = {{.row = 0, .mask = 0x300}, {.row = 1, .mask = 0x1}};
	struct ush_leg give = {.row = 0, .mask = 0x7};
	struct ush_reply held, reply;

	begin();
	held = reserve(7, 1, 0, 0x7);
	reply = swap_legs(held.hold, 2, take, 2, &give, 1);
	CHECK_EQ(reply.status, USH_STATUS_OK);
	CHECK_EQ(reply.amount, 3 * 2500);
	CHECK_EQ(query(7, held.hold).amount, 3 * 2500);
	CHECK_EQ(free_of(0), 0xff);
	CHECK(audit_is_clean());
	CHECK(replays());
}

/* The engine is made anew from its log, with `credit_ns` for the outage. */
static void resume(uint64_t credit_ns)
{
	struct ush_message message = {{0}};
	static struct harness other;

	harness_make_durable(&h);
	replay_collect(&history, ush_engine_log(h.engine));
	CHECK_EQ(replay_open(&history, history.count, &other, &h.limits, h.now_ns + credit_ns,
			 &message),
		0);
	harness_close(&h);
	h = other;
	ush_loop_resume(ush_engine_loop(h.engine, 0), credit_ns, h.now_ns);
	harness_make_durable(&h);
	replay_collect(&history, ush_engine_log(h.engine));
}

/* Goal: a swapped hold and one that is being paid for get each outage back once, over crash after
 * crash, and nothing that is over comes back. */
static void test_swap_outage_is_given_back(void)
{
	struct ush_reply held, paying, reply;
	struct ush_request pay = {.op = USH_OP_PAY_BEGIN,
		.event = EVENT,
		.user = 8,
		.section = 1,
		.arg = 2500,
		.hold_ms = 1000};
	uint64_t deadline_ns, outages_ns = 0;

	begin();
	held = reserve(7, 1, 0, 0x3);
	paying = reserve(8, 1, 1, 0x1);
	deadline_ns = held.deadline_ns;
	pay.hold = paying.hold;
	CHECK_EQ(ask(pay).status, USH_STATUS_OK);
	for (uint32_t crash = 0; crash < 5; crash++) {
		/* By turns in a row that it has, and in one that it has not. */
		uint16_t from = crash % 2 == 0 ? 0 : 2, to = crash % 2 == 0 ? 2 : 0;

		reply = swap(held.hold, 2 + crash, to, 0x3, from, 0x3);
		CHECK_EQ(reply.status, USH_STATUS_OK);
		CHECK_EQ(reply.deadline_ns, deadline_ns + outages_ns);
		resume(1000 * MS * (crash + 1));
		outages_ns += 1000 * MS * (crash + 1);
		/* And down again before anything else: nothing was missed in between. */
		resume(0);
		CHECK_EQ(query(7, held.hold).deadline_ns, deadline_ns + outages_ns);
		reply = query(8, paying.hold);
		CHECK_EQ(reply.state, USH_HOLD_STATE_PAYING);
		CHECK_EQ(reply.deadline_ns, paying.deadline_ns + outages_ns);
		CHECK(audit_is_clean());
	}
	/* It ends at that deadline, not before and not later. */
	h.now_ns = deadline_ns + outages_ns - 1;
	CHECK_EQ(query(7, held.hold).status, USH_STATUS_OK);
	h.now_ns++;
	CHECK_EQ(swap(held.hold, 20, 4, 0x1, 2, 0x1).status, USH_STATUS_EXPIRED);
	reply = query(8, paying.hold);
	CHECK_EQ(reply.state, USH_HOLD_STATE_PAYING);
	resume(1000 * MS);
	CHECK_EQ(query(7, held.hold).status, USH_STATUS_NO_HOLD);
	CHECK(audit_is_clean());
}

/* Goal: a ninth row is refused. */
static void test_swap_nine_rows(void)
{
	struct ush_leg take[USH_LEG_COUNT_MAX];
	struct ush_leg give = {.row = 0, .mask = 1};
	struct ush_reply held, reply;

	start();
	harness_event(&h, 3, 12, SEATS, LIMIT);
	held = ask(harness_reserve(3, 7, 1, 0, 0x3));
	for (uint32_t i = 0; i < USH_LEG_COUNT_MAX; i++)
		take[i] = (struct ush_leg){.row = (uint16_t)(1 + i), .mask = 1};
	for (uint32_t takes = USH_LEG_COUNT_MAX; takes >= USH_LEG_COUNT_MAX - 1; takes--) {
		struct ush_packet packet = swap_packet(held.hold, 2, take, takes, &give, 1);

		packet.data[offsetof(struct ush_request, event)] = 3;
		harness_turn(&h, 0, &packet, 1);
		if (h.reply_count == 0)
			flush(0);
		reply = h.replies[0];
		if (takes == USH_LEG_COUNT_MAX) {
			CHECK_EQ(reply.status, USH_STATUS_BAD_REQUEST);
			CHECK_EQ(reply.detail, USH_FAULT_LEG_COUNT);
		} else {
			CHECK_EQ(reply.status, USH_STATUS_OK);
		}
	}
	CHECK(audit_is_clean());
}

/* Goal: lines taken from one loop for a hold of another go back to their own. */
static void test_swap_lines_go_home(void)
{
	struct ush_reply held;
	struct ush_packet packet;
	struct ush_leg take[] = {{.row = 1, .mask = 1}, {.row = 2, .mask = 1}};
	struct ush_leg give = {.row = 0, .mask = 1};
	uint32_t before[2];

	start_loops(2);
	for (uint32_t i = 0; i < 2; i++)
		before[i] = h.engine->holds.pools[i].free_count;
	held = reserve(7, 1, 0, 0x7);
	packet = swap_packet(held.hold, 2, take, 2, &give, 1);
	harness_turn(&h, 1, &packet, 1);
	flush(1);
	CHECK_EQ(h.replies[0].status, USH_STATUS_OK);
	CHECK_EQ(h.engine->holds.pools[0].free_count, before[0] - 1);
	CHECK_EQ(h.engine->holds.pools[1].free_count, before[1] - 2);
	CHECK_EQ(release(7, held.hold, 3).status, USH_STATUS_OK);
	turn(1);
	for (uint32_t i = 0; i < 2; i++)
		CHECK_EQ(h.engine->holds.pools[i].free_count, before[i]);
	CHECK(audit_is_clean());
}

/* Goal: seats of a channel that are given up stay the channel's. */
static void test_swap_gives_to_the_channel(void)
{
	struct ush_request block = {
		.op = USH_OP_BLOCK, .event = EVENT, .row = 1, .mask = 0xf, .arg = 2};
	struct ush_reply held;

	begin();
	CHECK_EQ(ask(block).status, USH_STATUS_OK);
	held = ask_channel(harness_reserve(EVENT, 7, 1, 1, 0x33), 2);
	CHECK_EQ(held.status, USH_STATUS_OK);
	CHECK_EQ(swap(held.hold, 2, 2, 0x3, 1, 0x12).status, USH_STATUS_OK);
	CHECK_EQ(free_of(1), 0x3d0);
	CHECK_EQ(swap(held.hold, 3, 1, 0x2, 2, 0x1).status, USH_STATUS_TAKEN);
	CHECK(audit_is_clean());
	CHECK(replays());
}

/* Goal: the orphan rule looks at the seats as they will be. */
static void test_swap_leaves_no_orphan(void)
{
	struct ush_venue_tier tier = {.price = 2500};
	struct ush_venue_section section = {.row_count = 2};
	struct ush_venue_row rows[2] = {{.seats = 0xff}, {.seats = 0xff}};
	struct harness_venue venue = {.header = {.magic = USH_VENUE_MAGIC,
					      .version = USH_VENUE_VERSION,
					      .tier_count = 1,
					      .section_count = 1,
					      .row_count = 2,
					      .hold_ms = 60000,
					      .hold_ms_max = 600000,
					      .user_seats_max = 8,
					      .best = USH_BEST_ORPHANS_REFUSE << 5 | 1 << 8,
					      .currency = "EUR"},
		.tiers = &tier,
		.sections = &section,
		.rows = rows};
	struct ush_engine_limits limits;
	struct ush_reply held, reply;
	size_t bytes;
	void *image = harness_image_of(&venue, &bytes);

	harness_limits_small(&limits);
	harness_close(&h);
	harness_open(&h, &limits);
	harness_event_of(&h, EVENT, image, bytes);
	free(image);
	held = reserve(7, 1, 0, 0x3);
	CHECK_EQ(held.status, USH_STATUS_OK);
	/* Seats 0, 1 free then, 4 and 5 taken, 2 and 3 free: nothing alone. */
	CHECK_EQ(swap(held.hold, 2, 0, 0x30, 0, 0x3).status, USH_STATUS_OK);
	/* 0 to 5 free again, 6 taken: 7 alone. */
	reply = swap(held.hold, 3, 0, 0x40, 0, 0x30);
	CHECK_EQ(reply.status, USH_STATUS_ORPHAN);
	CHECK_EQ(reply.hold, 0x80);
	CHECK_EQ(swap(held.hold, 3, 0, 0xc0, 0, 0x30).status, USH_STATUS_OK);
	/* A seat given up that is alone then: 6, with 5 taken and 7 kept. */
	reply = swap(held.hold, 4, 0, 0x20, 0, 0x40);
	CHECK_EQ(reply.status, USH_STATUS_ORPHAN);
	CHECK_EQ(reply.hold, 0x40);
	CHECK(audit_is_clean());
}

/* Goal: replay refuses a swap that cannot have happened. */
static void test_swap_contradiction_is_refused(void)
{
	static const char *const says[] = {"held or sold already", "does not have these seats",
		"gives some seats and takes others", "seats of another row", "line is in use",
		"versions have a gap", "neither given up nor taken", "no such hold line"};
	struct ush_message message;
	struct ush_reply held, other;

	begin();
	held = reserve(7, 1, 0, 0x3);
	other = reserve(8, 1, 1, 0x1);
	CHECK_EQ(swap(held.hold, 2, 0, 0xc, 0, 0x1).status, USH_STATUS_OK);
	harness_make_durable(&h);
	replay_collect(&history, ush_engine_log(h.engine));
	for (uint32_t fault = 0; fault < 8; fault++) {
		struct ush_record *give = &history.records[history.count - 2], *take = give + 1;
		const struct ush_record was[2] = {*give, *take};
		struct harness again;

		if (fault == 0)
			take->mask = 0x2;
		else if (fault == 1)
			give->mask = 0x4;
		else if (fault == 2)
			take->state = USH_HOLD_STATE_RELEASED;
		else if (fault == 3)
			take->row = 2;
		else if (fault == 4)
			take->hold = ush_hold_id_index(other.hold);
		else if (fault == 5)
			give->version = 3;
		else if (fault == 6)
			take->state = USH_HOLD_STATE_SOLD;
		else
			take->hold = 1u << 20;
		CHECK(replay_open(&history, history.count, &again, &h.limits, h.now_ns, &message) !=
			0);
		CHECK(strstr(message.text, says[fault]) != NULL);
		if (strstr(message.text, says[fault]) == NULL)
			printf("# %s\n", message.text);
		harness_close(&again);
		*give = was[0];
		*take = was[1];
	}
	CHECK(replays());
}

int main(void)
{
	TAP_RUN(test_swap_moves_the_hold);
	TAP_RUN(test_swap_refused_loses_nothing);
	TAP_RUN(test_swap_limit_is_net);
	TAP_RUN(test_swap_many_rows);
	TAP_RUN(test_swap_within_and_beyond_a_row);
	TAP_RUN(test_swap_outage_is_given_back);
	TAP_RUN(test_swap_nine_rows);
	TAP_RUN(test_swap_lines_go_home);
	TAP_RUN(test_swap_gives_to_the_channel);
	TAP_RUN(test_swap_leaves_no_orphan);
	TAP_RUN(test_swap_contradiction_is_refused);
	return tap_end();
}
