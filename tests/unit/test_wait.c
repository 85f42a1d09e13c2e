/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Wait-lists: who may join, who is served when, and where seats go meanwhile.
 */
#include "ask.h"
#include "loop/internal.h"
#include "replay.h"

#define ALL ((1ull << SEATS) - 1)
#define ANY UINT32_MAX
#define ASIDE_NS (USH_WAIT_ASIDE_MS * MS)

static struct replay history;
static uint32_t next_id[1000];
/* Of the owner of each row. */
static uint64_t owned[ROWS];

static struct ush_reply wait_list(uint64_t user, uint64_t arg)
{
	return ask((struct ush_request){.op = USH_OP_WAIT_LIST,
		.event = EVENT,
		.user = user,
		.request_id = ++next_id[user],
		.arg = arg});
}

static struct ush_reply join(uint64_t user, uint32_t seats, uint32_t tier)
{
	return wait_list(user, seats | (tier == ANY ? 0 : (uint64_t)tier << 16 | 1ull << 24));
}

static struct ush_reply leave(uint64_t user)
{
	return wait_list(user, (uint64_t)USH_WAIT_ACTION_LEAVE << 32);
}

static struct ush_reply look(uint64_t user)
{
	return wait_list(user, (uint64_t)USH_WAIT_ACTION_LOOK << 32);
}

static struct ush_reply give_back(uint64_t user, uint64_t hold, uint16_t row, uint64_t mask)
{
	return ask((struct ush_request){.op = USH_OP_RELEASE,
		.event = EVENT,
		.user = user,
		.hold = hold,
		.request_id = ++next_id[user],
		.row = row,
		.mask = mask});
}

static void keep_history(void)
{
	size_t bytes;

	replay_free(&history);
	replay_init(&history);
	for (uint32_t event = EVENT; event <= OTHER; event++) {
		void *image = harness_image(ROWS, SEATS, LIMIT, &bytes);
		replay_image(&history, event, image, bytes);
	}
}

/* Every seat of the event is held: row r by user 900 + r, and extended to the far future. */
static void start_full(void)
{
	memset(next_id, 0, sizeof(next_id));
	keep_history();
	start();
	for (uint16_t row = 0; row < ROWS; row++) {
		struct ush_request r =
			harness_reserve(EVENT, 900u + row, ++next_id[900 + row], row, ALL);
		r.hold_ms = 600000;
		owned[row] = ask(r).hold;
		CHECK(owned[row] != 0);
	}
}

/* Seats of a row that the public may be told are free. */
static uint64_t available(uint16_t row)
{
	return ush_row_available(&ush_inventory_event(&h.engine->inventory, EVENT)->rows[row]);
}

static uint32_t aside(void)
{
	return ush_aside_count(ush_inventory_event(&h.engine->inventory, EVENT));
}

/* The log so far makes the same state, and the state saved and loaded is the same. */
static void check_replay(void)
{
	struct harness again;
	struct ush_engine_audit audit;
	struct ush_message message = {{0}};
	int error;

	harness_make_durable(&h);
	replay_collect(&history, ush_engine_log(h.engine));
	error = replay_open(&history, history.count, &again, &h.limits, h.now_ns, &message);
	if (error == 0)
		error = ush_engine_audit(again.engine, &audit, &message);
	if (error != 0)
		printf("# %s\n", message.text);
	CHECK_EQ(error, 0);
	for (uint32_t i = 0; i < ROWS; i++) {
		const struct ush_event *one = ush_inventory_event(&h.engine->inventory, EVENT);
		const struct ush_event *two = ush_inventory_event(&again.engine->inventory, EVENT);

		CHECK_EQ(ush_aside_seats(two, i), ush_aside_seats(one, i));
		CHECK_EQ(atomic_load(&two->rows[i].free), atomic_load(&one->rows[i].free));
	}
	CHECK_EQ(ush_wait_count(&again.engine->waits, EVENT),
		ush_wait_count(&h.engine->waits, EVENT));
	harness_close(&again);
}

/* Goal: one waits for what cannot be had, once, and may leave; each answer has its name. */
static void test_wait_join_leave_and_look_are_answered(void)
{
	struct ush_reply reply;

	start_full();
	reply = join(1, 2, ANY);
	CHECK_EQ(reply.status, USH_STATUS_OK);
	CHECK_EQ(reply.amount, 1);
	CHECK(reply.sequence != 0);
	CHECK_EQ(join(2, 1, 0).amount, 2);
	CHECK_EQ(join(2, 3, ANY).status, USH_STATUS_ON_LIST);
	CHECK_EQ(join(2, 3, ANY).amount, 2);
	CHECK_EQ(look(2).status, USH_STATUS_OK);
	CHECK_EQ(look(2).amount, 2);
	CHECK_EQ(look(3).status, USH_STATUS_NOT_ON_LIST);
	CHECK_EQ(leave(3).status, USH_STATUS_NOT_ON_LIST);
	CHECK_EQ(leave(1).status, USH_STATUS_OK);
	CHECK_EQ(look(1).status, USH_STATUS_NOT_ON_LIST);
	CHECK_EQ(look(2).amount, 1);
	CHECK_EQ(join(1, 1, ANY).amount, 2);
	/* Twenty seats a user may have, and eight wait at most. */
	CHECK_EQ(join(4, 9, ANY).detail, USH_FAULT_ARGUMENT);
	CHECK_EQ(join(4, 0, ANY).detail, USH_FAULT_ARGUMENT);
	CHECK_EQ(join(4, 1, 1).detail, USH_FAULT_ARGUMENT);
	CHECK_EQ(wait_list(4, 3ull << 32).detail, USH_FAULT_ARGUMENT);
	CHECK_EQ(wait_list(4, 1ull << 32 | 1).detail, USH_FAULT_ARGUMENT);
	CHECK_EQ(wait_list(4, 1 | 1ull << 8).detail, USH_FAULT_ARGUMENT);
	CHECK_EQ(give_back(900, owned[0], 0, 0xf).status, USH_STATUS_OK);
	CHECK_EQ(set_status(USH_EVENT_STATUS_PAUSED).status, USH_STATUS_OK);
	CHECK_EQ(join(5, 1, ANY).status, USH_STATUS_NOT_ON_SALE);
	CHECK(audit_is_clean());
	check_replay();
}

/* Goal: who can book does not wait; who may not have more does not either. */
static void test_wait_join_with_seats_free_is_refused(void)
{
	start_full();
	CHECK_EQ(give_back(900, owned[0], 0, 0x7).status, USH_STATUS_OK);
	CHECK_EQ(available(0), 0x7);
	CHECK_EQ(join(1, 3, ANY).status, USH_STATUS_NOT_SOLD_OUT);
	CHECK_EQ(join(1, 3, 0).status, USH_STATUS_NOT_SOLD_OUT);
	CHECK_EQ(join(1, 4, ANY).status, USH_STATUS_OK);
	/* Owners have ten each, and seven. */
	CHECK_EQ(join(901, 8, ANY).status, USH_STATUS_OK);
	CHECK_EQ(reserve(902, ++next_id[902], 0, 0x7).status, USH_STATUS_OK);
	CHECK_EQ(join(902, 8, ANY).status, USH_STATUS_LIMIT);
	CHECK_EQ(join(902, 8, ANY).detail, LIMIT);
	CHECK(audit_is_clean());
}

/* Goal: seats that come back are offered in order and never free; an offer is a hold like others.
 */
static void test_wait_released_seats_are_offered_in_order(void)
{
	struct ush_reply reply;

	start_full();
	join(1, 1, ANY);
	join(2, 2, ANY);
	join(3, 1, ANY);
	CHECK_EQ(give_back(900, owned[0], 0, 0x1).status, USH_STATUS_OK);
	CHECK_EQ(available(0), 0);
	reply = look(1);
	CHECK_EQ(reply.status, USH_STATUS_OK);
	CHECK_EQ(reply.state, USH_HOLD_STATE_HELD);
	CHECK_EQ(reply.deadline_ns, h.now_ns + 60000 * MS);
	CHECK_EQ(reply.amount, 2500);
	CHECK_EQ(query(1, reply.hold).status, USH_STATUS_OK);
	CHECK_EQ(look(2).amount, 1);
	CHECK_EQ(join(1, 1, ANY).status, USH_STATUS_ON_LIST);
	CHECK_EQ(leave(1).status, USH_STATUS_ON_LIST);
	/* The group's first seat waits for its second. */
	CHECK_EQ(give_back(900, owned[0], 0, 0x2).status, USH_STATUS_OK);
	CHECK_EQ(aside(), 1);
	CHECK_EQ(look(2).hold, 0);
	CHECK_EQ(look(3).hold, 0);
	CHECK_EQ(reserve(4, ++next_id[4], 0, 0x2).status, USH_STATUS_TAKEN);
	CHECK_EQ(give_back(901, owned[1], 1, 0x1).status, USH_STATUS_OK);
	CHECK_EQ(look(2).state, USH_HOLD_STATE_HELD);
	CHECK_EQ(look(2).amount, 2 * 2500);
	CHECK_EQ(aside(), 0);
	/* Declined: the next one's. */
	CHECK_EQ(release(1, reply.hold, ++next_id[1]).status, USH_STATUS_OK);
	CHECK_EQ(look(1).status, USH_STATUS_NOT_ON_LIST);
	reply = look(3);
	CHECK_EQ(reply.state, USH_HOLD_STATE_HELD);
	CHECK_EQ(confirm(3, reply.hold).status, USH_STATUS_OK);
	CHECK_EQ(look(3).status, USH_STATUS_NOT_ON_LIST);
	CHECK(audit_is_clean());
	check_replay();
	/* Lapsed, and nobody waits: free. */
	CHECK_EQ(look(2).state, USH_HOLD_STATE_HELD);
	pass(61000 * MS);
	CHECK_EQ(look(2).status, USH_STATUS_NOT_ON_LIST);
	CHECK_EQ(available(0), 0x2);
	CHECK_EQ(available(1), 0x1);
	CHECK(audit_is_clean());
	CHECK_EQ(counters(0).wait_offers, 3);
	check_replay();
}

/* Goal: a group holds up the others for a while and not for ever. */
static void test_wait_group_is_waited_for_a_bounded_time(void)
{
	start_full();
	join(1, 4, ANY);
	join(2, 2, ANY);
	join(3, 1, ANY);
	CHECK_EQ(give_back(900, owned[0], 0, 0x7).status, USH_STATUS_OK);
	CHECK_EQ(aside(), 3);
	pass(ASIDE_NS - 1000 * MS);
	CHECK_EQ(aside(), 3);
	CHECK_EQ(look(2).hold, 0);
	check_replay();
	pass(2000 * MS);
	CHECK_EQ(aside(), 0);
	CHECK_EQ(look(1).amount, 1);
	CHECK(look(2).hold != 0);
	CHECK(look(3).hold != 0);
	CHECK_EQ(confirm(2, look(2).hold).status, USH_STATUS_OK);
	CHECK_EQ(confirm(3, look(3).hold).status, USH_STATUS_OK);
	CHECK(audit_is_clean());
	check_replay();
	/* Alone, and too few: they are everybody's; then it is waited for again. */
	CHECK_EQ(give_back(900, owned[0], 0, 0x8).status, USH_STATUS_OK);
	CHECK_EQ(available(0), 0);
	pass(ASIDE_NS + 1000 * MS);
	CHECK_EQ(available(0) & 0x8, 0x8);
	CHECK_EQ(reserve(5, ++next_id[5], 0, 0x8).status, USH_STATUS_OK);
	CHECK_EQ(give_back(901, owned[1], 1, 0xf).status, USH_STATUS_OK);
	CHECK(look(1).hold != 0);
	CHECK(audit_is_clean());
	check_replay();
}

/* Goal: who has too many by then is taken off; what he would have got is the next one's. */
static void test_wait_user_over_the_limit_is_skipped(void)
{
	struct ush_request to = {.op = USH_OP_TRANSFER, .event = EVENT, .user = 901, .arg = 1};

	start_full();
	CHECK_EQ(join(1, 8, ANY).status, USH_STATUS_OK);
	CHECK_EQ(join(2, 8, ANY).status, USH_STATUS_OK);
	for (uint32_t i = 0; i < 2; i++) {
		to.user = 901 + i;
		to.hold = owned[1 + i];
		to.section = 2;
		CHECK_EQ(confirm(to.user, to.hold).status, USH_STATUS_OK);
		CHECK_EQ(ask(to).status, USH_STATUS_OK);
	}
	CHECK_EQ(give_back(900, owned[0], 0, 0x1ff).status, USH_STATUS_OK);
	CHECK_EQ(look(1).status, USH_STATUS_NOT_ON_LIST);
	CHECK(look(2).hold != 0);
	CHECK_EQ(counters(0).wait_skipped, 1);
	CHECK_EQ(available(0), 0x100);
	CHECK(audit_is_clean());
	check_replay();
}

/* Goal: unblocked house seats and refunds are for the list, too; aside seats are no house seats. */
static void test_wait_unblock_and_refund_feed_the_list(void)
{
	struct ush_request r = {
		.op = USH_OP_REFUND_BEGIN, .event = EVENT, .user = 901, .section = 2};

	start_full();
	CHECK_EQ(give_back(900, owned[0], 0, 0x7).status, USH_STATUS_OK);
	CHECK_EQ(house(USH_OP_BLOCK, 0, 0x7).status, USH_STATUS_OK);
	CHECK_EQ(join(1, 3, ANY).status, USH_STATUS_OK);
	CHECK_EQ(house(USH_OP_UNBLOCK, 0, 0x1).status, USH_STATUS_OK);
	CHECK_EQ(aside(), 1);
	CHECK_EQ(available(0), 0);
	CHECK_EQ(house(USH_OP_BLOCK, 0, 0x1).status, USH_STATUS_TAKEN);
	CHECK_EQ(house(USH_OP_UNBLOCK, 0, 0x1).status, USH_STATUS_OK);
	CHECK_EQ(aside(), 1);
	CHECK(audit_is_clean());
	r.hold = owned[1];
	CHECK_EQ(confirm(901, r.hold).status, USH_STATUS_OK);
	CHECK_EQ(ask(r).status, USH_STATUS_OK);
	r.op = USH_OP_REFUND_END;
	r.section = 3;
	r.arg = USH_OUTCOME_SUCCEEDED;
	CHECK_EQ(ask(r).status, USH_STATUS_OK);
	CHECK_EQ(look(1).state, USH_HOLD_STATE_HELD);
	/* Three side by side of the eleven; the others are nobody's. */
	CHECK_EQ(ush_popcount64(available(0)) + ush_popcount64(available(1)), 8);
	CHECK(audit_is_clean());
	check_replay();
}

/* Goal: the list ends with the event. */
static void test_wait_ends_with_the_event(void)
{
	start_full();
	for (uint32_t user = 1; user <= 100; user++)
		CHECK_EQ(join(user, 2, ANY).amount, user);
	CHECK_EQ(give_back(900, owned[0], 0, 0x1).status, USH_STATUS_OK);
	CHECK_EQ(aside(), 1);
	CHECK_EQ(set_status(USH_EVENT_STATUS_PAUSED).status, USH_STATUS_OK);
	CHECK_EQ(give_back(900, owned[0], 0, 0x2).status, USH_STATUS_OK);
	CHECK_EQ(aside(), 2);
	CHECK_EQ(look(1).hold, 0);
	CHECK_EQ(set_status(USH_EVENT_STATUS_ON_SALE).status, USH_STATUS_OK);
	CHECK(look(1).hold != 0);
	CHECK_EQ(give_back(900, owned[0], 0, 0x4).status, USH_STATUS_OK);
	CHECK_EQ(set_status(USH_EVENT_STATUS_COMPLETED).status, USH_STATUS_OK);
	pass(200 * MS);
	CHECK_EQ(look(100).status, USH_STATUS_NOT_ON_SALE);
	CHECK_EQ(look(100).detail, USH_EVENT_STATUS_COMPLETED);
	CHECK_EQ(ush_wait_count(&h.engine->waits, EVENT), 0);
	CHECK_EQ(aside(), 0);
	CHECK(audit_is_clean());
	check_replay();
}

/* Goal: a repeat of a join says how it stands; another body is a mismatch; a start forgets nothing.
 */
static void test_wait_repeats_and_restart(void)
{
	struct ush_request r = {
		.op = USH_OP_WAIT_LIST, .event = EVENT, .user = 1, .request_id = 1, .arg = 1};
	struct ush_message message;
	struct ush_reply reply;
	struct harness again;

	start_full();
	reply = ask(r);
	CHECK_EQ(reply.amount, 1);
	CHECK_EQ(ask(r).detail, 1);
	CHECK_EQ(ask(r).amount, 1);
	r.arg = 2;
	CHECK_EQ(ask(r).status, USH_STATUS_MISMATCH);
	r.arg = 1;
	next_id[1] = 1;
	join(2, 1, ANY);
	CHECK_EQ(give_back(900, owned[0], 0, 0x1).status, USH_STATUS_OK);
	reply = ask(r);
	CHECK_EQ(reply.status, USH_STATUS_OK);
	CHECK_EQ(reply.state, USH_HOLD_STATE_HELD);
	CHECK(reply.hold != 0);
	CHECK_EQ(reply.hold, look(1).hold);
	harness_make_durable(&h);
	replay_collect(&history, ush_engine_log(h.engine));
	CHECK_EQ(replay_open(&history, history.count, &again, &h.limits, h.now_ns, &message), 0);
	harness_close(&h);
	h = again;
	CHECK_EQ(ask(r).hold, reply.hold);
	CHECK_EQ(look(2).amount, 1);
	CHECK_EQ(release(1, reply.hold, ++next_id[1]).status, USH_STATUS_OK);
	CHECK(look(2).hold != 0);
	/* The offer is over. */
	CHECK_EQ(ask(r).status, USH_STATUS_OK);
	CHECK_EQ(ask(r).hold, 0);
	CHECK_EQ(ask(r).amount, 0);
	CHECK(audit_is_clean());
}

/* Goal: as many wait as there is room for, and no more. */
static void test_wait_without_room_is_busy(void)
{
	struct ush_engine_limits limits;

	start_full();
	harness_limits_small(&limits);
	limits.wait_count = 2;
	for (uint32_t pass_no = 0; pass_no < 2; pass_no++) {
		memset(next_id, 0, sizeof(next_id));
		start_with(&limits);
		for (uint16_t row = 0; row < ROWS; row++)
			reserve(900u + row, ++next_id[900 + row], row, ALL);
		if (pass_no == 0) {
			CHECK_EQ(join(1, 1, ANY).status, USH_STATUS_OK);
			CHECK_EQ(join(2, 1, ANY).status, USH_STATUS_OK);
		}
		CHECK_EQ(join(3, 1, ANY).status, USH_STATUS_BUSY);
		CHECK_EQ(ush_wait_count(&h.engine->waits, EVENT), pass_no == 0 ? 2 : 0);
		if (pass_no == 0) {
			CHECK_EQ(leave(1).status, USH_STATUS_OK);
			CHECK_EQ(join(3, 1, ANY).status, USH_STATUS_OK);
		}
		CHECK(audit_is_clean());
		limits.wait_count = 0;
	}
}

/* Goal: apply() refuses what cannot have happened to a list. */
static void test_wait_apply_refuses_contradictions(void)
{
	struct harness to;
	struct ush_message message;
	struct ush_record offer = {0};
	static const struct {
		struct ush_record record;
		const char *what;
	} wrong[] = {
		{{.type = USH_RECORD_TYPE_WAIT_JOIN, .user = 5, .mask = 9, .row = 256, .amount = 4},
			"nobody waits for this"},
		{{.type = USH_RECORD_TYPE_WAIT_JOIN, .user = 5, .mask = 1, .row = 1, .amount = 4},
			"nobody waits for this"},
		{{.type = USH_RECORD_TYPE_WAIT_JOIN, .user = 5, .mask = 1, .row = 256, .amount = 5},
			"have a gap"},
		{{.type = USH_RECORD_TYPE_WAIT_JOIN, .user = 2, .mask = 1, .row = 256, .amount = 4},
			"on the list already"},
		{{.type = USH_RECORD_TYPE_WAIT_LEAVE, .user = 5, .state = 1}, "not on the list"},
		{{.type = USH_RECORD_TYPE_WAIT_LEAVE, .user = 2, .state = 4}, "leaves for this"},
		{{.type = USH_RECORD_TYPE_WAIT_TURN, .state = 2}, "neither"},
		{{.type = USH_RECORD_TYPE_WAIT_OPEN, .row = 0, .mask = 2}, "not set aside"},
	};

	start_full();
	join(1, 1, ANY);
	join(2, 1, ANY);
	join(3, 1, ANY);
	give_back(900, owned[0], 0, 0x1);
	harness_make_durable(&h);
	replay_collect(&history, ush_engine_log(h.engine));
	/* All but the OFFER. */
	USH_ASSERT(history.records[history.count - 1].type == USH_RECORD_TYPE_OFFER);
	offer = history.records[history.count - 1];
	for (uint32_t i = 0; i < 8 + 4; i++) {
		struct ush_record r = i < 8 ? wrong[i].record : offer;
		const char *what = i < 8 ? wrong[i].what : "";

		if (i == 8) {
			r.user = 2;
			what = "out of turn";
		} else if (i == 9) {
			r.mask = 0x2;
			what = "a seat is held or sold already";
		} else if (i == 10) {
			r.mask = 0x3;
			what = "not as many seats";
		}
		r.event = EVENT;
		r.run_count = 1;
		message.text[0] = 0;
		CHECK_EQ(replay_open(
				 &history, history.count - 1, &to, &h.limits, h.now_ns, &message),
			0);
		CHECK_EQ(ush_engine_apply(to.engine, &r, 1, &message), i == 11 ? 0 : -USH_ECORRUPT);
		if (strstr(message.text, what) == NULL)
			printf("# %u: %s\n", i, message.text);
		CHECK(strstr(message.text, what) != NULL);
		harness_close(&to);
	}
}

/* ---- many steps against a plain list ---- */

#define USERS 24u

/* Who has each seat: 0 nobody, the public may have it; UINT32_MAX: set aside. */
static uint32_t has[ROWS][SEATS];
static uint64_t hold_of[ROWS][SEATS];
static bool everybodys_turn;
static struct listed {
	uint32_t user, seats;
} listed[USERS];
static uint32_t listed_count;

static void unlist(uint32_t at)
{
	memmove(&listed[at], &listed[at + 1], (listed_count - at - 1) * sizeof(*listed));
	listed_count--;
}

static uint32_t oracle_seats(uint32_t user)
{
	uint32_t seats = 0;

	for (uint32_t i = 0; i < ROWS * SEATS; i++)
		seats += has[i / SEATS][i % SEATS] == user;
	return seats;
}

/* The oracle learns from the log what was offered, and checks that it may be; everything else it
 * knows from the replies. */
static void oracle_records(size_t from)
{
	for (size_t i = from; i < history.count; i++) {
		const struct ush_record *r = &history.records[i];
		uint32_t seats = 0, at = 0;

		switch (r->type) {
		case USH_RECORD_TYPE_KEEP:
			CHECK(listed_count != 0);
			for (uint32_t k = 0; k < SEATS; k++) {
				if ((r->mask >> k & 1) != 0)
					has[r->row][k] = UINT32_MAX;
			}
			break;
		case USH_RECORD_TYPE_OFFER:
			for (uint32_t k = 0; k < r->run_count && r->run_index == 0; k++)
				seats += ush_popcount64(r[k].mask);
			/* One tier: only the head is served, but on everybody's turn. */
			while (at < listed_count && listed[at].user != r->user)
				at++;
			if (r->run_index == 0) {
				CHECK(at < listed_count);
				CHECK_EQ(seats, listed[at].seats);
				CHECK(at == 0 || everybodys_turn);
				CHECK(oracle_seats((uint32_t)r->user) + seats <= LIMIT);
				unlist(at);
			}
			for (uint32_t k = 0; k < SEATS; k++) {
				if ((r->mask >> k & 1) == 0)
					continue;
				CHECK(has[r->row][k] == UINT32_MAX || has[r->row][k] == 0);
				has[r->row][k] = (uint32_t)r->user;
				hold_of[r->row][k] = r[-(int)r->run_index].hold;
			}
			break;
		case USH_RECORD_TYPE_WAIT_TURN:
			everybodys_turn = r->state != 0;
			break;
		case USH_RECORD_TYPE_WAIT_OPEN:
			for (uint32_t k = 0; k < SEATS; k++) {
				if ((r->mask >> k & 1) == 0)
					continue;
				CHECK_EQ(has[r->row][k], UINT32_MAX);
				has[r->row][k] = 0;
			}
			break;
		case USH_RECORD_TYPE_WAIT_LEAVE:
			while (at < listed_count && listed[at].user != r->user)
				at++;
			CHECK(at < listed_count);
			if (r->state == USH_WAIT_LEFT_LIMIT)
				CHECK(oracle_seats((uint32_t)r->user) + listed[at].seats > LIMIT);
			unlist(at);
			break;
		case USH_RECORD_TYPE_WAIT_JOIN:
			listed[listed_count++] =
				(struct listed){(uint32_t)r->user, (uint32_t)r->mask};
			break;
		default:
			break;
		}
	}
}

/* ret: what the log says of holds: who has what when it is released or expires. */
static void oracle_return(const struct ush_record *r)
{
	if (r->type != USH_RECORD_TYPE_RELEASE && r->type != USH_RECORD_TYPE_EXPIRE)
		return;
	for (uint32_t row = 0; row < ROWS; row++) {
		for (uint32_t k = 0; k < SEATS; k++) {
			if (has[row][k] == r->user && hold_of[row][k] == r->hold)
				has[row][k] = 0;
		}
	}
}

static size_t oracle_read(size_t from)
{
	harness_make_durable(&h);
	replay_collect(&history, ush_engine_log(h.engine));
	for (size_t i = from; i < history.count; i++) {
		size_t count = history.count;
		const struct ush_record *r = &history.records[i];

		if (r->type == USH_RECORD_TYPE_HOLD) {
			for (uint32_t k = 0; k < SEATS; k++) {
				if ((r->mask >> k & 1) == 0)
					continue;
				/* The public gets what is nobody's. */
				CHECK_EQ(has[r->row][k], 0);
				has[r->row][k] = (uint32_t)r->user;
				hold_of[r->row][k] = r->hold;
			}
		}
		oracle_return(r);
		history.count = i + 1;
		oracle_records(i);
		history.count = count;
	}
	return history.count;
}

/* Nobody waits for seats that are there: in order, and in turn. */
static void check_rest(void)
{
	uint32_t free = 0, set_aside = 0;

	for (uint32_t i = 0; i < ROWS * SEATS; i++) {
		free += has[i / SEATS][i % SEATS] == 0;
		set_aside += has[i / SEATS][i % SEATS] == UINT32_MAX;
	}
	CHECK_EQ(set_aside, aside());
	CHECK_EQ(free, view().free_count);
	if (listed_count == 0)
		CHECK_EQ(set_aside, 0);
	else
		CHECK(set_aside < listed[0].seats);
}

static void random_step(struct ush_random *random)
{
	uint32_t user = 1 + (uint32_t)ush_random_below(random, USERS), at = 0;
	uint32_t seats = 1 + (uint32_t)ush_random_below(random, 8);
	uint16_t row = (uint16_t)ush_random_below(random, ROWS);
	struct ush_reply reply;
	uint64_t hold = 0;

	while (at < listed_count && listed[at].user != user)
		at++;
	switch (ush_random_below(random, 8)) {
	case 0:
	case 1:
	case 2:
		reply = join(user, seats, ush_random_below(random, 2) == 0 ? ANY : 0);
		if (at < listed_count)
			CHECK_EQ(reply.status, USH_STATUS_ON_LIST);
		if (reply.status == USH_STATUS_OK)
			CHECK(reply.amount >= 1);
		break;
	case 3:
		if (ush_random_below(random, 8) != 0)
			break;
		reply = leave(user);
		CHECK_EQ(reply.status == USH_STATUS_OK, at < listed_count);
		break;
	case 4:
		/* Somebody takes what is free. */
		for (row = 0; row < ROWS; row++, user = user % USERS + 1) {
			struct ush_request r = harness_reserve(
				EVENT, user, next_id[user] + 1, row, available(row));

			r.hold_ms = 600000;
			next_id[user]++;
			if (r.mask != 0)
				ask(r);
		}
		break;
	case 5:
	case 6:
		if (ush_random_below(random, 6) != 0)
			break;
		for (uint32_t i = 1; i < h.engine->holds.count && hold == 0; i++) {
			const struct ush_hold *entry = ush_holds_line(&h.engine->holds, i);
			uint64_t word = atomic_load(&entry->word);

			if (ush_hold_word_state(word) == USH_HOLD_STATE_HELD &&
				entry->user == user && entry->event == EVENT)
				hold = ush_hold_id(
					&h.engine->holds, i, ush_hold_word_generation(word));
		}
		if (hold != 0)
			release(user, hold, ++next_id[user]);
		break;
	default:
		seats = (uint32_t)ush_random_below(random, 16);
		pass((seats == 0 ? 61000 : seats < 4 ? 20000 : 50) * MS);
		break;
	}
}

/* Goal: whatever is joined, left, booked, given back, declined and lapsed, all are served in order
 * or told why, each seat is where it belongs, and replay agrees. Method: random steps; an oracle of
 * one list and one table of seats reads the log. */
static void test_wait_random_steps_agree_with_oracle(void)
{
	struct ush_random random;
	uint32_t offers = 0, opens = 0, turns = 0, skips = 0;
	size_t read = 0;

	ush_random_init(&random, tap_seed(7));
	memset(has, 0, sizeof(has));
	listed_count = 0;
	everybodys_turn = false;
	memset(next_id, 0, sizeof(next_id));
	keep_history();
	start();
	read = oracle_read(read);
	for (uint32_t i = 0; i < 10000; i++) {
		random_step(&random);
		read = oracle_read(read);
		/* A turn later all that can be offered is. */
		harness_turn(&h, 0, NULL, 0);
		harness_turn(&h, 0, NULL, 0);
		read = oracle_read(read);
		check_rest();
		if (i % 20 == 0)
			CHECK(audit_is_clean());
		if (i % 500 == 499)
			check_replay();
		if (tap_failures_here > 20)
			break;
	}
	for (size_t i = 0; i < history.count; i++) {
		const struct ush_record *r = &history.records[i];

		offers += r->type == USH_RECORD_TYPE_OFFER;
		opens += r->type == USH_RECORD_TYPE_WAIT_OPEN;
		turns += r->type == USH_RECORD_TYPE_WAIT_TURN;
		skips += r->type == USH_RECORD_TYPE_WAIT_LEAVE && r->state == USH_WAIT_LEFT_LIMIT;
	}
	printf("# %u offers, %u made free, %u turns, %u over the limit\n", offers, opens, turns,
		skips);
	CHECK(offers > 100);
	CHECK(opens > 10);
	CHECK(turns > 1);
}

int main(void)
{
	replay_init(&history);
	TAP_RUN(test_wait_join_leave_and_look_are_answered);
	TAP_RUN(test_wait_join_with_seats_free_is_refused);
	TAP_RUN(test_wait_released_seats_are_offered_in_order);
	TAP_RUN(test_wait_group_is_waited_for_a_bounded_time);
	TAP_RUN(test_wait_user_over_the_limit_is_skipped);
	TAP_RUN(test_wait_unblock_and_refund_feed_the_list);
	TAP_RUN(test_wait_ends_with_the_event);
	TAP_RUN(test_wait_repeats_and_restart);
	TAP_RUN(test_wait_without_room_is_busy);
	TAP_RUN(test_wait_apply_refuses_contradictions);
	TAP_RUN(test_wait_random_steps_agree_with_oracle);
	replay_free(&history);
	harness_close(&h);
	return tap_end();
}
