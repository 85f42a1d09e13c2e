/* SPDX-License-Identifier: Apache-2.0 */
/*
 * EVENT_CHANGE: rows are added and prices change while the event is sold; holds keep their prices.
 *
 * Owns:  one engine, its log, the images of its changes.
 * Reads: nothing.
 * Never: DPDK, files.
 */
#include "ask.h"
#include "loop/internal.h"
#include "plan.h"
#include "replay.h"

#define FIRST_ROWS PLAN_FIRST_ROWS
#define CHEAP 1000u
#define DEAR 3000u

static struct replay history;
/* The image that the event has now. */
static void *now_image;
static size_t now_bytes;

static void begin_with(const struct ush_engine_limits *limits)
{
	struct plan plan = plan_make(FIRST_ROWS, CHEAP, DEAR);
	struct ush_engine_limits small;

	harness_limits_small(&small);
	if (h.memory != NULL)
		harness_close(&h);
	harness_open(&h, limits != NULL ? limits : &small);
	replay_free(&history);
	replay_init(&history);
	now_image = plan_image(&plan, &now_bytes);
	replay_image(&history, EVENT, now_image, now_bytes);
	harness_event_of(&h, EVENT, now_image, now_bytes);
}

static void begin(void)
{
	begin_with(NULL);
}

static struct ush_event *event(void)
{
	return ush_inventory_event(&h.engine->inventory, EVENT);
}

/* Builds as the control port does. */
static enum ush_status build(struct plan *plan, uint32_t request_id, struct ush_change **change,
	uint32_t *row, struct ush_message *message)
{
	size_t bytes;
	void *image = plan_image(plan, &bytes);
	enum ush_status status = ush_engine_change_build(
		h.engine, EVENT, request_id, now_image, image, bytes, change, row, message);

	replay_change(&history, image, bytes);
	if (status == USH_STATUS_OK) {
		now_image = image;
		now_bytes = bytes;
	}
	return status;
}

static struct ush_reply change_by(struct plan plan, uint32_t request_id)
{
	struct ush_request request = {
		.op = USH_OP_EVENT_CHANGE, .event = EVENT, .request_id = request_id};
	struct ush_change *change = NULL;
	struct ush_message message = {{0}};
	struct ush_reply reply = {0};
	void *before = now_image;
	size_t before_bytes = now_bytes;
	uint32_t row = 0;

	reply.status = (uint8_t)build(&plan, request_id, &change, &row, &message);
	if (reply.status != USH_STATUS_OK)
		return reply;
	reply = harness_ask_with(&h, &request, NULL, 0, change);
	if (reply.status != USH_STATUS_OK || reply.detail != 0) {
		ush_engine_change_discard(h.engine, change);
		now_image = before;
		now_bytes = before_bytes;
	}
	return reply;
}

static struct ush_reply change_to(uint32_t rows, uint32_t cheap, uint32_t dear)
{
	return change_by(plan_make(rows, cheap, dear), 0);
}

static bool same_event(const struct ush_event *a, const struct ush_event *b)
{
	bool same = ush_event_row_count(a) == ush_event_row_count(b) &&
		    ush_event_seat_count(a) == ush_event_seat_count(b) &&
		    ush_event_digest(a) == ush_event_digest(b) &&
		    ush_event_prices(a)->number == ush_event_prices(b)->number &&
		    atomic_load(&a->house_count) == atomic_load(&b->house_count) &&
		    ush_aside_count(a) == ush_aside_count(b) &&
		    ush_event_free_count(a) == ush_event_free_count(b);

	for (uint32_t i = 0; same && i < ush_event_row_count(a); i++) {
		const struct ush_row *left = ush_event_row(a, i), *right = ush_event_row(b, i);

		same = memcmp(left, right, sizeof(*left)) == 0 &&
		       ush_aside_seats(a, i) == ush_aside_seats(b, i) &&
		       ush_event_row_index(a, left) == i;
	}
	return same;
}

static bool same_holds(const struct ush_engine *a, const struct ush_engine *b)
{
	for (uint32_t i = 1; i < a->holds.count; i++) {
		const struct ush_hold *left = &a->holds.lines[i], *right = &b->holds.lines[i];

		if (left->leg_count != right->leg_count)
			return false;
		if (left->leg_count != 0 &&
			(left->amount != right->amount || left->mask != right->mask ||
				ush_holds_prices(&a->holds, i) != ush_holds_prices(&b->holds, i)))
			return false;
	}
	return true;
}

/* The log so far makes the same state. */
static bool replays(void)
{
	struct ush_message message = {{0}};
	struct harness other;
	bool same;

	harness_make_durable(&h);
	replay_collect(&history, ush_engine_log(h.engine));
	if (replay_open(&history, history.count, &other, &h.limits, h.now_ns, &message) != 0) {
		printf("# %s\n", message.text);
		return false;
	}
	same = same_event(event(), ush_inventory_event(&other.engine->inventory, EVENT)) &&
	       same_holds(h.engine, other.engine);
	harness_close(&other);
	return same;
}

static struct ush_reply pay(
	uint8_t op, uint64_t user, uint64_t hold, uint16_t version, uint64_t arg)
{
	return ask((struct ush_request){.op = op,
		.event = EVENT,
		.user = user,
		.hold = hold,
		.section = version,
		.arg = arg,
		.hold_ms = op == USH_OP_PAY_BEGIN ? 1000 : 0});
}

/* Some seats of a row of the hold are given back, or refunded. */
static struct ush_reply part(uint8_t op, uint64_t user, uint64_t hold, uint32_t id,
	uint16_t version, uint16_t row, uint64_t mask)
{
	return ask((struct ush_request){.op = op,
		.event = EVENT,
		.user = user,
		.hold = hold,
		.request_id = id,
		.section = version,
		.row = row,
		.mask = mask,
		.arg = op == USH_OP_REFUND_END ? USH_OUTCOME_SUCCEEDED : 0});
}

/* Goal: rows and prices are there at once, all answers agree, and replay makes the same. */
static void test_change_adds_rows_and_prices(void)
{
	struct ush_reply reply, query_section;

	begin();
	CHECK_EQ(reserve(7, 1, 4, 0x1).status, USH_STATUS_NO_SUCH_SEAT);
	CHECK_EQ(reserve(7, 2, 0, 0x81).amount, CHEAP + DEAR);
	reply = change_to(6, CHEAP + 5, DEAR);
	CHECK_EQ(reply.status, USH_STATUS_OK);
	CHECK_EQ(reply.amount, 60);
	CHECK_EQ(reply.hold_version, 1);
	CHECK_EQ(reply.detail, 0);
	CHECK_EQ(view().row_count, 6);
	CHECK_EQ(view().free_count, 58);
	CHECK_EQ(view().prices, 1);
	CHECK_EQ(view().digest, ush_image_digest(now_image, now_bytes));
	CHECK_EQ(reserve(8, 1, 5, 0x83).amount, 2 * (CHEAP + 5) + DEAR);
	CHECK_EQ(reserve(8, 2, 6, 0x1).status, USH_STATUS_NO_SUCH_SEAT);
	query_section =
		ask((struct ush_request){.op = USH_OP_QUERY_SECTION, .event = EVENT, .section = 2});
	CHECK_EQ(query_section.status, USH_STATUS_OK);
	CHECK_EQ(query_section.amount, 2);
	CHECK(audit_is_clean());
	CHECK(replays());
	/* Rows only, in the last section; and prices only. */
	reply = change_to(7, CHEAP + 5, DEAR);
	CHECK_EQ(reply.status, USH_STATUS_OK);
	CHECK_EQ(view().prices, 1);
	reply = change_to(7, CHEAP, DEAR + 1);
	CHECK_EQ(reply.status, USH_STATUS_OK);
	CHECK_EQ(reply.hold_version, 3);
	CHECK_EQ(view().prices, 2);
	CHECK_EQ(view().row_count, 7);
	CHECK_EQ(reserve(9, 1, 6, 0x300).amount, 2 * (DEAR + 1));
	CHECK(audit_is_clean());
	CHECK(replays());
}

/* Goal: whatever becomes of a hold, it costs what it cost when it was made. Method: a hold before
 * and one after a change; parts are given back, swapped, paid for, refunded. */
static void test_change_holds_keep_their_prices(void)
{
	struct ush_reply old, new, reply;
	struct ush_leg give;

	begin();
	old = reserve(7, 1, 0, 0x387);
	CHECK_EQ(old.amount, 3 * CHEAP + 3 * DEAR);
	CHECK_EQ(change_to(6, CHEAP * 4, DEAR * 2).status, USH_STATUS_OK);
	CHECK_EQ(query(7, old.hold).amount, old.amount);
	new = reserve(8, 1, 4, 0x387);
	CHECK_EQ(new.amount, 12 * CHEAP + 6 * DEAR);
	reply = part(USH_OP_RELEASE, 7, old.hold, 2, 0, 0, 0x101);
	CHECK_EQ(reply.status, USH_STATUS_OK);
	CHECK_EQ(reply.amount, 2 * CHEAP + 2 * DEAR);
	reply = part(USH_OP_RELEASE, 8, new.hold, 2, 0, 4, 0x101);
	CHECK_EQ(reply.amount, 8 * CHEAP + 4 * DEAR);
	/* What a swap brings in costs what it cost then, in an added row, too. */
	give = (struct ush_leg){.row = 0, .mask = 0x2};
	{
		struct ush_request request = {.op = USH_OP_SWAP,
			.event = EVENT,
			.user = 7,
			.request_id = 3,
			.hold = old.hold,
			.row = 5,
			.mask = 0x80};
		struct {
			struct ush_extension_header header;
			struct ush_leg leg;
		} extra = {{.type = USH_EXTENSION_GIVE, .size = 24, .value = 1}, give};

		reply = harness_ask_with(&h, &request, &extra, sizeof(extra), NULL);
	}
	CHECK_EQ(reply.status, USH_STATUS_OK);
	CHECK_EQ(reply.amount, CHEAP + 3 * DEAR);
	CHECK_EQ(pay(USH_OP_PAY_BEGIN, 7, old.hold, 3, 4 * CHEAP + 6 * DEAR).status,
		USH_STATUS_CHANGED);
	CHECK_EQ(pay(USH_OP_PAY_BEGIN, 7, old.hold, 3, CHEAP + 3 * DEAR).status, USH_STATUS_OK);
	CHECK_EQ(pay(USH_OP_PAY_END, 7, old.hold, 4, USH_OUTCOME_SUCCEEDED).status, USH_STATUS_OK);
	CHECK_EQ(confirm(8, new.hold).amount, 8 * CHEAP + 4 * DEAR);
	/* Twice as dear again: the third list. */
	CHECK_EQ(change_to(6, CHEAP * 8, DEAR * 4).status, USH_STATUS_OK);
	reply = part(USH_OP_REFUND_BEGIN, 7, old.hold, 0, 5, 0, 0x80);
	CHECK_EQ(reply.status, USH_STATUS_OK);
	CHECK_EQ(reply.amount, DEAR);
	reply = part(USH_OP_REFUND_END, 7, old.hold, 0, 6, 0, 0x80);
	CHECK_EQ(reply.amount, CHEAP + 2 * DEAR);
	reply = part(USH_OP_REFUND_BEGIN, 8, new.hold, 0, 3, 4, 0x2);
	CHECK_EQ(reply.amount, 4 * CHEAP);
	reply = part(USH_OP_REFUND_END, 8, new.hold, 0, 4, 4, 0x2);
	CHECK_EQ(reply.amount, 4 * CHEAP + 4 * DEAR);
	CHECK(audit_is_clean());
	CHECK(replays());
}

/* Goal: a line that was of a hold with a list of its own is a new hold's without. */
static void test_change_lists_end_with_their_hold(void)
{
	struct ush_reply reply;

	begin();
	CHECK_EQ(change_to(4, CHEAP + 1, DEAR).status, USH_STATUS_OK);
	for (uint32_t i = 0; i < 50; i++) {
		reply = reserve(7, 2 * i + 1, 0, 0x3);
		CHECK_EQ(reply.amount, 2 * CHEAP + 2);
		CHECK_EQ(release(7, reply.hold, 2 * i + 2).status, USH_STATUS_OK);
	}
	harness_event(&h, OTHER, ROWS, SEATS, LIMIT);
	for (uint32_t i = 0; i < 50; i++) {
		reply = ask(harness_reserve(OTHER, 7, i + 1, (uint16_t)(i / 10), 1ull << (i % 10)));
		CHECK_EQ(reply.status, i < LIMIT ? USH_STATUS_OK : USH_STATUS_LIMIT);
	}
	for (uint32_t i = 1; i < h.engine->holds.count; i++) {
		const struct ush_hold *hold = &h.engine->holds.lines[i];

		if (hold->leg_count != 0 && hold->event == OTHER)
			CHECK_EQ(ush_holds_prices(&h.engine->holds, i), 0);
	}
	CHECK(audit_is_clean());
}

/* Goal: the reply waits for its record, and so does what is told of the new rows. */
static void test_change_is_told_when_durable(void)
{
	struct ush_request request = {.op = USH_OP_EVENT_CHANGE, .event = EVENT};
	struct ush_request hold = harness_reserve(EVENT, 9, 1, 5, 0x1);
	struct plan plan = plan_make(6, CHEAP, DEAR);
	struct ush_change *change;
	struct ush_message message;
	struct ush_packet packets[2];
	uint32_t row;

	begin();
	CHECK_EQ(build(&plan, 0, &change, &row, &message), USH_STATUS_OK);
	CHECK_EQ(view().row_count, 4);
	packets[0] = harness_packet(&h, &request, NULL, 0);
	packets[0].attachment = change;
	packets[0].flags |= USH_PACKET_ATTACHED;
	packets[1] = harness_packet(&h, &hold, NULL, 0);
	harness_turn(&h, 0, packets, 2);
	CHECK_EQ(h.reply_count, 0);
	harness_make_durable(&h);
	harness_turn(&h, 0, NULL, 0);
	CHECK_EQ(h.reply_count, 2);
	CHECK_EQ(h.replies[0].op, USH_OP_EVENT_CHANGE);
	CHECK_EQ(h.replies[1].status, USH_STATUS_OK);
	CHECK(h.replies[1].sequence > h.replies[0].sequence);
	CHECK(replays());
}

/* Goal: each thing that must stay is looked at, and the answer says where it is not. */
static void test_change_of_another_event_is_refused(void)
{
	struct plan good = plan_make(6, CHEAP, DEAR), plan;
	struct ush_change *change = NULL;
	struct ush_message message;
	uint32_t row;

	begin();
#define REFUSED(at) \
	do { \
		CHECK_EQ(build(&plan, 0, &change, &row, &message), USH_STATUS_IMAGE_DIFFERS); \
		CHECK_EQ(row, (at)); \
	} while (0)
	plan = plan_make(3, CHEAP, DEAR);
	REFUSED(3);
	plan = good;
	plan.row[2].seats = 0x7ff;
	REFUSED(2);
	plan = good;
	plan.row[1].tier_mask[0] = 0x300;
	REFUSED(1);
	plan = good;
	plan.row[3].tier[1] = 0;
	REFUSED(3);
	plan = good;
	plan.row[1].flags = 2;
	REFUSED(1);
	/* What the engine does not know is compared with the image. */
	plan = good;
	plan.row[0].house = 0x1;
	REFUSED(0);
	plan = good;
	plan.row[2].accessible = 0x1;
	REFUSED(2);
	plan = good;
	plan.renamed = 3;
	REFUSED(3);
	CHECK(strstr(message.text, "row block 3 ") != NULL);
	CHECK(strstr(message.text, "labels") != NULL);
	/* A row goes on behind its end. */
	plan = plan_make(5, CHEAP, DEAR);
	plan.first = 4;
	REFUSED(2);
	plan = good;
	plan.name = "other";
	REFUSED(UINT32_MAX);
	plan = good;
	plan.user_seats_max = LIMIT + 1;
	REFUSED(UINT32_MAX);
	CHECK(strstr(message.text, "seats per user") != NULL);
#undef REFUSED
	/* New rows may have what they like. */
	plan = good;
	plan.renamed = 4;
	plan.row[4].seats = 0x1;
	plan.row[4].tier_mask[0] = 0;
	CHECK_EQ(change_by(plan, 0).status, USH_STATUS_OK);
	CHECK_EQ(view().seat_count, 51);
	CHECK(audit_is_clean());
	CHECK(replays());
}

/* Goal: a long row does not go on into added rows. */
static void test_change_that_lengthens_a_row_is_refused(void)
{
	struct plan plan = plan_make(5, CHEAP, DEAR);
	struct ush_change *change = NULL;
	struct ush_message message;
	uint32_t row;

	/* Five rows in two sections: the fifth is of the last one and may continue the fourth. */
	begin();
	plan.first = 2;
	CHECK_EQ(change_to(5, CHEAP, DEAR).status, USH_STATUS_OK);
	plan = plan_make(6, CHEAP, DEAR);
	plan.row[5].flags = 2;
	CHECK_EQ(build(&plan, 0, &change, &row, &message), USH_STATUS_IMAGE_DIFFERS);
	CHECK_EQ(row, 4);
	CHECK(strstr(message.text, "goes on") != NULL);
}

/* Goal: what was asked for before is done once, by its number and by its image. */
static void test_change_is_done_once(void)
{
	struct plan one = plan_make(6, CHEAP, DEAR), two = plan_make(6, CHEAP + 1, DEAR);
	struct ush_reply reply, again;

	begin();
	again = change_to(4, CHEAP, DEAR);
	CHECK_EQ(again.status, USH_STATUS_OK);
	CHECK_EQ(again.detail, 1);
	CHECK_EQ(again.hold_version, 0);
	reply = change_by(one, 10);
	CHECK_EQ(reply.detail, 0);
	again = change_by(one, 10);
	CHECK_EQ(again.status, USH_STATUS_OK);
	CHECK_EQ(again.detail, 1);
	CHECK_EQ(again.sequence, reply.sequence);
	CHECK_EQ(change_by(two, 10).status, USH_STATUS_MISMATCH);
	CHECK_EQ(change_by(two, 9).status, USH_STATUS_STALE);
	CHECK_EQ(change_by(two, 11).detail, 0);
	/* The first one's repeat comes late: prices stay those of the second. */
	again = change_by(one, 10);
	CHECK_EQ(again.status, USH_STATUS_OK);
	CHECK_EQ(again.detail, 1);
	CHECK_EQ(again.hold_version, 1);
	CHECK_EQ(view().prices, 1);
	CHECK_EQ(reserve(7, 1, 0, 0x1).amount, CHEAP + 1);
	CHECK(replays());
}

/* Goal: an event that is over, unknown, or changed by somebody else meanwhile stays as it is. */
static void test_change_is_refused(void)
{
	struct ush_request request = {.op = USH_OP_EVENT_CHANGE, .event = EVENT};
	struct plan plan = plan_make(6, CHEAP, DEAR), other = plan_make(4, CHEAP + 1, DEAR);
	struct ush_change *first, *second;
	struct ush_message message;
	uint32_t row;

	begin();
	CHECK_EQ(ask(request).status, USH_STATUS_BAD_IMAGE);
	request.event = OTHER;
	CHECK_EQ(ask(request).status, USH_STATUS_UNKNOWN_EVENT);
	request.event = EVENT;
	CHECK_EQ(ush_engine_change_build(
			 h.engine, OTHER, 0, NULL, now_image, now_bytes, &first, &row, &message),
		USH_STATUS_UNKNOWN_EVENT);
	CHECK_EQ(ush_engine_change_build(h.engine, EVENT, 0, NULL, now_image, now_bytes - 1, &first,
			 &row, &message),
		USH_STATUS_BAD_IMAGE);
	CHECK_EQ(build(&plan, 0, &first, &row, &message), USH_STATUS_OK);
	now_image = history.images[EVENT];
	CHECK_EQ(build(&other, 0, &second, &row, &message), USH_STATUS_OK);
	CHECK_EQ(harness_ask_with(&h, &request, NULL, 0, second).status, USH_STATUS_OK);
	CHECK_EQ(harness_ask_with(&h, &request, NULL, 0, first).status, USH_STATUS_BUSY);
	CHECK_EQ(view().row_count, 4);
	CHECK_EQ(set_status(USH_EVENT_STATUS_COMPLETED).status, USH_STATUS_OK);
	CHECK_EQ(change_to(6, CHEAP, DEAR).status, USH_STATUS_WRONG_STATUS);
	CHECK_EQ(change_to(6, CHEAP, DEAR).detail, USH_EVENT_STATUS_COMPLETED);
	CHECK_EQ(set_status(USH_EVENT_STATUS_PAUSED).status, USH_STATUS_OK);
	CHECK_EQ(change_to(6, CHEAP, DEAR).status, USH_STATUS_OK);
	CHECK_EQ(set_status(USH_EVENT_STATUS_CANCELLED).status, USH_STATUS_OK);
	CHECK_EQ(change_to(8, CHEAP, DEAR).status, USH_STATUS_WRONG_STATUS);
	CHECK(audit_is_clean());
	CHECK(replays());
}

/* Goal: no room is no harm. Method: rows until the arena is full, then a small change. */
static void test_change_without_room_changes_nothing(void)
{
	struct ush_engine_limits limits;
	uint32_t rows = FIRST_ROWS, parts = 0;
	struct ush_reply reply;

	harness_limits_small(&limits);
	begin_with(&limits);
	/* All but a little of the arena. */
	h.engine->inventory.arena_used = h.engine->inventory.arena_bytes - 8192;
	do {
		rows += 2;
		reply = change_to(rows, CHEAP, DEAR);
		parts++;
	} while (reply.status == USH_STATUS_OK);
	CHECK_EQ(reply.status, USH_STATUS_BUSY);
	CHECK(parts > 1);
	CHECK_EQ(view().row_count, rows - 2);
	CHECK_EQ(reserve(7, 1, (uint16_t)(rows - 3), 0x1).status, USH_STATUS_OK);
	CHECK(audit_is_clean());
	/* As many parts as there may be. */
	begin();
	for (rows = FIRST_ROWS + 1; rows <= FIRST_ROWS + USH_CHANGES_ROWS_MAX; rows++)
		CHECK_EQ(change_to(rows, CHEAP, DEAR).status, USH_STATUS_OK);
	CHECK_EQ(change_to(rows, CHEAP, DEAR).status, USH_STATUS_BUSY);
	for (uint32_t i = 0; i < rows - 1; i++)
		CHECK_EQ(reserve(20 + i, 1, (uint16_t)i, 0x1).status, USH_STATUS_OK);
	CHECK(audit_is_clean());
	CHECK(replays());
}

static struct ush_reply best(uint64_t user, uint32_t id, uint32_t seats, uint32_t section)
{
	return ask((struct ush_request){.op = USH_OP_RESERVE_BEST,
		.event = EVENT,
		.user = user,
		.request_id = id,
		.section = (uint16_t)section,
		.arg = seats | (section != 0 ? 1ull << 24 : 0)});
}

/* Goal: best-available finds added rows, and a sold-out event sells again. */
static void test_change_after_sold_out_sells_on(void)
{
	struct ush_reply reply;

	begin();
	for (uint32_t i = 0; i < FIRST_ROWS; i++) {
		reply = best(7 + i, 1, 10, 0);
		CHECK_EQ(reply.status, USH_STATUS_OK);
		CHECK_EQ(confirm(7 + i, reply.hold).status, USH_STATUS_OK);
	}
	CHECK_EQ(best(20, 1, 2, 0).status, USH_STATUS_SOLD_OUT);
	CHECK_EQ(view().status, USH_EVENT_STATUS_SOLD_OUT);
	CHECK_EQ(change_to(7, CHEAP + 1, DEAR).status, USH_STATUS_OK);
	CHECK_EQ(view().status, USH_EVENT_STATUS_ON_SALE);
	reply = best(20, 2, 10, 0);
	CHECK_EQ(reply.status, USH_STATUS_OK);
	CHECK_EQ(reply.amount, 7 * (CHEAP + 1) + 3 * DEAR);
	CHECK_EQ(best(21, 1, 10, 3).status, USH_STATUS_OK);
	CHECK_EQ(best(22, 1, 10, 0).status, USH_STATUS_OK);
	CHECK_EQ(best(23, 1, 1, 0).status, USH_STATUS_NONE);
	CHECK_EQ(release(20, reply.hold, 3).status, USH_STATUS_OK);
	CHECK_EQ(best(23, 2, 10, 0).status, USH_STATUS_OK);
	CHECK(audit_is_clean());
	CHECK(replays());
}

/* Goal: house seats of added rows are off sale, and can be put on it; channels work there. */
static void test_change_rows_with_house_seats(void)
{
	struct plan plan = plan_make(6, CHEAP, DEAR);

	begin();
	plan.house = 0x30;
	CHECK_EQ(change_by(plan, 0).status, USH_STATUS_OK);
	CHECK_EQ(view().house_count, 4);
	CHECK_EQ(view().free_count, 56);
	CHECK_EQ(reserve(7, 1, 5, 0x10).status, USH_STATUS_TAKEN);
	CHECK_EQ(house(USH_OP_UNBLOCK, 5, 0x30).status, USH_STATUS_OK);
	CHECK_EQ(reserve(7, 2, 5, 0x10).status, USH_STATUS_OK);
	CHECK_EQ(house(USH_OP_BLOCK, 5, 0x3).status, USH_STATUS_OK);
	CHECK_EQ(reserve(7, 3, 5, 0x1).status, USH_STATUS_TAKEN);
	CHECK(audit_is_clean());
	CHECK(replays());
}

/* Goal: while people wait, added seats are theirs first, and nobody's sooner than they are offered;
 * what nobody wants is free then. */
static void test_change_rows_go_to_those_who_wait(void)
{
	struct ush_reply reply;

	begin();
	for (uint32_t i = 0; i < FIRST_ROWS; i++) {
		reply = best(7 + i, 1, 10, 0);
		CHECK_EQ(confirm(7 + i, reply.hold).status, USH_STATUS_OK);
	}
	reply = ask((struct ush_request){
		.op = USH_OP_WAIT_LIST, .event = EVENT, .user = 30, .request_id = 1, .arg = 4});
	CHECK_EQ(reply.status, USH_STATUS_OK);
	{
		struct ush_request request = {.op = USH_OP_EVENT_CHANGE, .event = EVENT};
		struct ush_request greedy = harness_reserve(EVENT, 31, 1, 4, 0x1);
		struct plan plan = plan_make(6, CHEAP, DEAR + 9);
		struct ush_change *change;
		struct ush_message message;
		struct ush_packet packets[2];
		uint32_t row;

		CHECK_EQ(build(&plan, 0, &change, &row, &message), USH_STATUS_OK);
		packets[0] = harness_packet(&h, &request, NULL, 0);
		packets[0].attachment = change;
		packets[0].flags |= USH_PACKET_ATTACHED;
		packets[1] = harness_packet(&h, &greedy, NULL, 0);
		harness_turn(&h, 0, packets, 2);
		/* Whoever is quicker than the list gets none of them. */
		CHECK_EQ(h.reply_count, 1);
		CHECK_EQ(h.replies[0].status, USH_STATUS_SOLD_OUT);
	}
	pass(100 * MS);
	reply = ask((struct ush_request){.op = USH_OP_WAIT_LIST,
		.event = EVENT,
		.user = 30,
		.request_id = 2,
		.arg = (uint64_t)USH_WAIT_ACTION_LOOK << 32});
	CHECK_EQ(reply.status, USH_STATUS_OK);
	CHECK_EQ(reply.state, USH_HOLD_STATE_HELD);
	CHECK(reply.amount == 4 * CHEAP || reply.amount > 4 * CHEAP);
	CHECK_EQ(view().free_count, 16);
	CHECK_EQ(reserve(31, 2, 5, 0x1).status, USH_STATUS_OK);
	CHECK(audit_is_clean());
	CHECK(replays());
}

/* The last run of the log, changed by `spoil`, must be refused. */
static bool refuses(uint32_t back, uint32_t at, void (*spoil)(struct ush_record *r))
{
	struct ush_record saved = history.records[history.count - back + at];
	struct ush_message message = {{0}};
	struct harness other;
	bool refused;

	spoil(&history.records[history.count - back + at]);
	refused = replay_open(&history, history.count, &other, &h.limits, h.now_ns, &message) ==
		  -USH_ECORRUPT;
	history.records[history.count - back + at] = saved;
	harness_close(&other);
	return refused;
}

static void spoil_digest(struct ush_record *r)
{
	r->user++;
}
static void spoil_seats(struct ush_record *r)
{
	r->mask++;
}
static void spoil_rows(struct ush_record *r)
{
	r->amount++;
}
static void spoil_number(struct ush_record *r)
{
	r->version++;
}
static void spoil_row(struct ush_record *r)
{
	r->row++;
}
static void spoil_state(struct ush_record *r)
{
	r->state = 2;
}
static void spoil_price(struct ush_record *r)
{
	r->amount++;
}
static void spoil_list(struct ush_record *r)
{
	r->row = 0;
}

/* Goal: apply refuses what cannot have happened. */
static void test_change_records_are_checked(void)
{
	static void (*const spoils[])(struct ush_record * r) = {
		spoil_digest, spoil_seats, spoil_rows, spoil_number, spoil_row, spoil_state};

	begin();
	CHECK_EQ(change_to(4, CHEAP + 7, DEAR).status, USH_STATUS_OK);
	CHECK(replays());
	for (uint32_t i = 0; i < sizeof(spoils) / sizeof(spoils[0]); i++)
		CHECK(refuses(1, 0, spoils[i]));
	CHECK_EQ(reserve(7, 1, 0, 0x81).amount, CHEAP + 7 + DEAR);
	CHECK(replays());
	while (history.count > 2 &&
		history.records[history.count - 1].type != USH_RECORD_TYPE_PRICES)
		history.count--;
	CHECK(refuses(2, 0, spoil_price));
	CHECK(refuses(2, 1, spoil_row));
	CHECK(refuses(2, 1, spoil_list));
	CHECK(refuses(2, 1, spoil_digest));
	CHECK(refuses(2, 1, spoil_price));
}

/* Goal: two loops sell while the event is changed; the log tells it in an order that can have been.
 * Method: a hold decided by loop 1 between the build and the change, and one after. */
static void test_change_beside_another_loop(void)
{
	struct ush_request request = {.op = USH_OP_EVENT_CHANGE, .event = EVENT};
	struct ush_engine_limits limits;
	struct plan plan = plan_make(6, CHEAP * 2, DEAR);
	struct ush_change *change;
	struct ush_message message;
	struct ush_packet packet;
	uint32_t row;

	harness_limits_small(&limits);
	limits.loop_count = 2;
	begin_with(&limits);
	CHECK_EQ(build(&plan, 0, &change, &row, &message), USH_STATUS_OK);
	for (uint32_t i = 0; i < 8; i++) {
		struct ush_request hold =
			harness_reserve(EVENT, 40 + i, 1, i < 4 ? 0 : 5, 1ull << i);

		if (i == 4) {
			packet = harness_packet(&h, &request, NULL, 0);
			packet.attachment = change;
			packet.flags |= USH_PACKET_ATTACHED;
			harness_turn(&h, 0, &packet, 1);
		}
		packet = harness_packet(&h, &hold, NULL, 0);
		harness_turn(&h, i % 2, &packet, 1);
		harness_make_durable(&h);
		harness_turn(&h, i % 2, NULL, 0);
		CHECK_EQ(h.replies[h.reply_count - 1].status, USH_STATUS_OK);
		CHECK_EQ(h.replies[h.reply_count - 1].amount, i < 4    ? CHEAP
							      : i == 7 ? DEAR
								       : 2 * CHEAP);
	}
	CHECK(audit_is_clean());
	CHECK(replays());
}

int main(void)
{
	TAP_RUN(test_change_adds_rows_and_prices);
	TAP_RUN(test_change_holds_keep_their_prices);
	TAP_RUN(test_change_lists_end_with_their_hold);
	TAP_RUN(test_change_is_told_when_durable);
	TAP_RUN(test_change_of_another_event_is_refused);
	TAP_RUN(test_change_that_lengthens_a_row_is_refused);
	TAP_RUN(test_change_is_done_once);
	TAP_RUN(test_change_is_refused);
	TAP_RUN(test_change_without_room_changes_nothing);
	TAP_RUN(test_change_after_sold_out_sells_on);
	TAP_RUN(test_change_rows_with_house_seats);
	TAP_RUN(test_change_rows_go_to_those_who_wait);
	TAP_RUN(test_change_records_are_checked);
	TAP_RUN(test_change_beside_another_loop);
	return tap_end();
}
