/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hold budget and the cool-down: what is charged, what comes back, who is refused.
 *
 * Owns:  one engine, its log.
 * Reads: nothing.
 * Never: DPDK, files.
 */
#include "ask.h"
#include "replay.h"

/* Holds of 60 s, or up to 600; ten seats for a minute; half a minute's pause. */
#define TIMED 3u
#define BUDGET 600u
#define PAUSE_MS 30000u
#define SECOND (1000 * MS)

static struct replay history;

static void *timed_image(uint32_t budget_s, uint32_t pause_ms, size_t *bytes)
{
	void *image = harness_image(ROWS, SEATS, LIMIT, bytes);
	struct ush_venue_header *header = image;

	header->hold_budget_s = budget_s;
	header->cool_down_ms = pause_ms;
	harness_image_seal(image, *bytes);
	return image;
}

static void begin(uint32_t budget_s, uint32_t pause_ms)
{
	size_t bytes;
	void *image;

	start();
	replay_free(&history);
	replay_init(&history);
	for (uint32_t event = EVENT; event <= OTHER; event++) {
		image = harness_image(ROWS, SEATS, LIMIT, &bytes);
		replay_image(&history, event, image, bytes);
	}
	image = timed_image(budget_s, pause_ms, &bytes);
	harness_event_of(&h, TIMED, image, bytes);
	replay_image(&history, TIMED, image, bytes);
}

static void restart(void)
{
	struct ush_message message = {{0}};
	struct harness other;

	harness_make_durable(&h);
	replay_collect(&history, ush_engine_log(h.engine));
	CHECK_EQ(replay_open(&history, history.count, &other, &h.limits, h.now_ns, &message), 0);
	if (message.text[0] != '\0')
		printf("# %s\n", message.text);
	harness_close(&h);
	h = other;
}

static uint32_t next_id;

static struct ush_reply hold(uint64_t user, uint16_t row, uint64_t mask, uint32_t hold_ms)
{
	struct ush_request request = harness_reserve(TIMED, user, ++next_id, row, mask);

	request.hold_ms = hold_ms;
	return ask(request);
}

static struct ush_reply timed(uint8_t op, uint64_t user, uint64_t hold_id, uint32_t hold_ms)
{
	return ask((struct ush_request){.op = op,
		.event = TIMED,
		.user = user,
		.hold = hold_id,
		.request_id = op == USH_OP_CONFIRM ? 0 : ++next_id,
		.hold_ms = hold_ms});
}

/* What the user has left, by asking for more than anyone may have: two seats for 600 s. */
static uint32_t left(uint64_t user)
{
	struct ush_reply reply = hold(user, 5, 0x3, 600000);

	CHECK_EQ(reply.status, USH_STATUS_HOLD_BUDGET);
	return reply.detail;
}

/* Goal: a hold is charged for its whole life, up to the last seat-second and not beyond it; other
 * users and events are not. Method: use all of it, to the edge. */
static void test_time_charged_up_to_the_budget(void)
{
	struct ush_reply reply;

	begin(BUDGET, 0);
	CHECK_EQ(left(7), 600);
	CHECK_EQ(hold(7, 0, 0x1, 1).status, USH_STATUS_BAD_REQUEST);
	CHECK_EQ(hold(7, 0, 0x3, 1500).status, USH_STATUS_OK);
	CHECK_EQ(left(7), 596);
	CHECK_EQ(hold(7, 1, 0x1ff, 0).status, USH_STATUS_OK);
	CHECK_EQ(left(7), 56);
	reply = hold(7, 0, 0x4, 56001);
	CHECK_EQ(reply.status, USH_STATUS_HOLD_BUDGET);
	CHECK_EQ(reply.detail, 56);
	CHECK_EQ(hold(7, 0, 0x4, 56000).status, USH_STATUS_OK);
	CHECK_EQ(left(7), 0);
	CHECK_EQ(hold(7, 0, 0x8, 10).status, USH_STATUS_HOLD_BUDGET);
	CHECK_EQ(hold(8, 0, 0x8, 10).status, USH_STATUS_OK);
	CHECK_EQ(reserve(7, 1, 0, 0x1).status, USH_STATUS_OK);
	restart();
	CHECK_EQ(left(7), 0);
	CHECK_EQ(left(8), 599);
	CHECK(audit_is_clean());
}

/* Goal: what is left of a hold comes back in whole seconds, by release, sale and a cut; an expiry
 * brings nothing back. Method: each way, at times that are no whole seconds. */
static void test_time_comes_back(void)
{
	struct ush_reply a, b, c, d;

	begin(BUDGET, 0);
	a = hold(7, 0, 0x3, 60000);
	b = hold(7, 1, 0x1, 60000);
	c = hold(7, 2, 0xf, 60000);
	d = hold(7, 3, 0x1, 60000);
	CHECK_EQ(left(7), 600 - 8 * 60);
	h.now_ns += 10 * SECOND + 1;
	CHECK_EQ(timed(USH_OP_RELEASE, 7, a.hold, 0).status, USH_STATUS_OK);
	CHECK_EQ(left(7), 120 + 2 * 49);
	CHECK_EQ(timed(USH_OP_CONFIRM, 7, b.hold, 0).status, USH_STATUS_OK);
	CHECK_EQ(left(7), 218 + 49);
	CHECK_EQ(ask((struct ush_request){.op = USH_OP_RELEASE,
			     .event = TIMED,
			     .user = 7,
			     .hold = c.hold,
			     .request_id = ++next_id,
			     .row = 2,
			     .mask = 0x3})
			 .status,
		USH_STATUS_OK);
	CHECK_EQ(left(7), 267 + 2 * 49);
	restart();
	CHECK_EQ(left(7), 365);
	pass(51 * SECOND);
	CHECK_EQ(timed(USH_OP_QUERY_HOLD, 7, d.hold, 0).status, USH_STATUS_NO_HOLD);
	CHECK_EQ(left(7), 365);
	CHECK(audit_is_clean());
}

/* Goal: an extension is charged for what it gains, and refused where that is not left; the hold is
 * then as it was. */
static void test_time_extension(void)
{
	struct ush_reply a, reply;

	begin(BUDGET, 0);
	a = hold(7, 0, 0xf, 60000);
	CHECK_EQ(left(7), 360);
	h.now_ns += 20 * SECOND;
	reply = timed(USH_OP_EXTEND, 7, a.hold, 140000);
	CHECK_EQ(reply.status, USH_STATUS_HOLD_BUDGET);
	CHECK_EQ(reply.detail, 360);
	CHECK_EQ(timed(USH_OP_QUERY_HOLD, 7, a.hold, 0).deadline_ns, a.deadline_ns);
	CHECK_EQ(timed(USH_OP_EXTEND, 7, a.hold, 130000).status, USH_STATUS_OK);
	CHECK_EQ(left(7), 0);
	restart();
	CHECK_EQ(left(7), 0);
	CHECK_EQ(timed(USH_OP_RELEASE, 7, a.hold, 0).status, USH_STATUS_OK);
	CHECK_EQ(left(7), 4 * 130);
}

/* Goal: seats taken for others are charged, those given up come back. */
static void test_time_swap(void)
{
	struct {
		struct ush_extension_header header;
		struct ush_leg leg;
	} give = {.header = {.type = USH_EXTENSION_GIVE, .size = 24, .value = 1},
		.leg = {.row = 0, .mask = 0x1}};
	struct ush_request swap = {
		.op = USH_OP_SWAP, .event = TIMED, .user = 7, .row = 1, .mask = 0x7ff >> 1};
	struct ush_reply reply;

	begin(BUDGET, 0);
	swap.hold = hold(7, 0, 0x3, 60000).hold;
	CHECK_EQ(left(7), 480);
	h.now_ns += SECOND / 2;
	swap.request_id = ++next_id;
	reply = harness_ask_with(&h, &swap, &give, sizeof(give), NULL);
	CHECK_EQ(reply.status, USH_STATUS_HOLD_BUDGET);
	CHECK_EQ(reply.detail, 480 + 59);
	swap.mask = 0xff;
	reply = harness_ask_with(&h, &swap, &give, sizeof(give), NULL);
	CHECK_EQ(reply.status, USH_STATUS_OK);
	CHECK_EQ(left(7), 480 + 59 - 8 * 60);
	restart();
	CHECK_EQ(left(7), 59);
	CHECK(audit_is_clean());
}

/* Goal: after a hold that ended unsold, by release or by its deadline, its user pauses, and only
 * its user; a sale asks for no pause; the same request may be sent again later. */
static void test_time_cool_down(void)
{
	struct ush_reply a, reply;
	struct ush_request again;

	begin(0, PAUSE_MS);
	a = hold(7, 0, 0x1, 60000);
	CHECK_EQ(hold(7, 0, 0x2, 60000).status, USH_STATUS_OK);
	CHECK_EQ(timed(USH_OP_CONFIRM, 7, a.hold, 0).status, USH_STATUS_OK);
	a = hold(7, 1, 0x1, 60000);
	CHECK_EQ(a.status, USH_STATUS_OK);
	CHECK_EQ(timed(USH_OP_RELEASE, 7, a.hold, 0).status, USH_STATUS_OK);
	again = harness_reserve(TIMED, 7, ++next_id, 1, 0x1);
	h.now_ns += 1;
	reply = ask(again);
	CHECK_EQ(reply.status, USH_STATUS_COOL_DOWN);
	CHECK_EQ(reply.detail, PAUSE_MS);
	CHECK_EQ(ask((struct ush_request){.op = USH_OP_RESERVE_BEST,
			     .event = TIMED,
			     .user = 7,
			     .request_id = ++next_id,
			     .arg = 1})
			 .status,
		USH_STATUS_COOL_DOWN);
	CHECK_EQ(hold(8, 2, 0x1, 0).status, USH_STATUS_OK);
	restart();
	h.now_ns += PAUSE_MS * MS - 2;
	CHECK_EQ(ask(again).detail, 1);
	h.now_ns += 1;
	CHECK_EQ(ask(again).status, USH_STATUS_OK);
	pass(61 * SECOND);
	CHECK_EQ(hold(7, 3, 0x1, 0).status, USH_STATUS_COOL_DOWN);
	CHECK(audit_is_clean());
}

/* Goal: a repeat of what was granted is answered, whatever the budget and the pause. */
static void test_time_repeat_is_answered(void)
{
	struct ush_reply a;
	struct ush_request request;

	begin(60, PAUSE_MS);
	request = harness_reserve(TIMED, 7, ++next_id, 0, 0x1);
	a = ask(request);
	CHECK_EQ(a.status, USH_STATUS_OK);
	CHECK_EQ(hold(7, 0, 0x2, 0).status, USH_STATUS_HOLD_BUDGET);
	CHECK_EQ(ask(request).hold, a.hold);
	CHECK_EQ(timed(USH_OP_RELEASE, 7, a.hold, 0).status, USH_STATUS_OK);
	CHECK_EQ(hold(7, 0, 0x2, 0).status, USH_STATUS_COOL_DOWN);
	CHECK_EQ(ask(request).status, USH_STATUS_OK);
	CHECK_EQ(ask(request).detail, 1);
}

/* Goal: apply() refuses times that cannot be. Method: a history with one record spoilt. */
static void test_time_apply_refuses(void)
{
	static const char *const words[] = {"not charged", "hold budget", "does not change",
		"who has nothing", "nothing asks for"};

	for (uint32_t fault = 0; fault < 5; fault++) {
		struct ush_message message = {{0}};
		struct harness other;
		struct ush_record *first;

		begin(BUDGET, 0);
		CHECK_EQ(hold(7, 0, 0x3, 60000).status, USH_STATUS_OK);
		harness_make_durable(&h);
		replay_collect(&history, ush_engine_log(h.engine));
		/* Behind it a TICK may stand. */
		while (history.records[history.count - 1].type != USH_RECORD_TYPE_USER_TIME)
			history.count--;
		first = &history.records[history.count - 2];
		CHECK_EQ(first[0].type, USH_RECORD_TYPE_HOLD);
		CHECK_EQ(first[1].type, USH_RECORD_TYPE_USER_TIME);
		CHECK_EQ(first[1].amount, 120);
		if (fault == 0) {
			first[0].run_count = 1;
			history.count--;
		} else if (fault == 1) {
			first[1].amount = BUDGET + 1;
		} else if (fault == 2) {
			first[1].amount = 0;
		} else if (fault == 3) {
			first[1].user = 8;
		} else {
			first[1].deadline_ns = 1;
		}
		CHECK(replay_open(&history, history.count, &other, &h.limits, h.now_ns, &message) !=
			0);
		if (strstr(message.text, words[fault]) == NULL)
			printf("# fault %u: %s\n", fault, message.text);
		CHECK(strstr(message.text, words[fault]) != NULL);
		harness_close(&other);
	}
}

/* Goal: more time without its charge cannot have happened either. */
static void test_time_apply_wants_every_charge(void)
{
	struct ush_message message = {{0}};
	struct harness other;
	struct ush_reply held;

	begin(BUDGET, 0);
	held = hold(7, 0, 0x1, 2000);
	CHECK_EQ(held.status, USH_STATUS_OK);
	CHECK_EQ(timed(USH_OP_EXTEND, 7, held.hold, 20000).status, USH_STATUS_OK);
	harness_make_durable(&h);
	replay_collect(&history, ush_engine_log(h.engine));
	while (history.records[history.count - 1].type != USH_RECORD_TYPE_USER_TIME)
		history.count--;
	history.count--;
	CHECK_EQ(history.records[history.count - 1].type, USH_RECORD_TYPE_EXTEND);
	history.records[history.count - 1].run_count = 1;
	CHECK(replay_open(&history, history.count, &other, &h.limits, h.now_ns, &message) != 0);
	CHECK(strstr(message.text, "not charged") != NULL);
	harness_close(&other);
}

/* Goal: nobody uses more than the budget, and all that is not used comes back. Method: a user who
 * does anything at any time, beside sums made here. */
static void test_time_against_sums(void)
{
	struct ush_random random;

	ush_random_init(&random, 20261127);
	for (uint32_t round = 0; round < 20; round++) {
		uint64_t used = 0, ids[4] = {0}, ends[4] = {0};

		begin(BUDGET, 0);
		for (uint32_t step = 0; step < 200; step++) {
			uint32_t at = (uint32_t)ush_random_below(&random, 4);
			uint64_t seats = at + 1, remains;

			pass(ush_random_below(&random, 3 * SECOND));
			remains = ends[at] > h.now_ns ? ends[at] - h.now_ns : 0;
			if (ids[at] != 0 && ids[at] != UINT64_MAX && remains != 0) {
				bool sold = ush_random_below(&random, 8) == 0;

				CHECK_EQ(
					timed(sold ? USH_OP_CONFIRM : USH_OP_RELEASE, 7, ids[at], 0)
						.status,
					USH_STATUS_OK);
				used -= seats * (remains / SECOND);
				ids[at] = sold ? UINT64_MAX : 0;
			} else if (ids[at] != UINT64_MAX) {
				uint32_t ms = 10 + (uint32_t)ush_random_below(&random, 20000);
				uint64_t cost = seats * ((ms + 999) / 1000);
				struct ush_reply reply =
					hold(7, (uint16_t)at, (1ull << seats) - 1, ms);

				CHECK_EQ(reply.status, used + cost > BUDGET ? USH_STATUS_HOLD_BUDGET
									    : USH_STATUS_OK);
				if (reply.status != USH_STATUS_OK)
					CHECK_EQ(reply.detail, BUDGET - used);
				if (reply.status == USH_STATUS_OK) {
					used += cost;
					ids[at] = reply.hold;
					ends[at] = reply.deadline_ns;
				}
			}
			if (step % 67 == 66)
				restart();
		}
		CHECK_EQ(left(7), BUDGET - used);
		CHECK(audit_is_clean());
	}
}

int main(void)
{
	TAP_RUN(test_time_charged_up_to_the_budget);
	TAP_RUN(test_time_comes_back);
	TAP_RUN(test_time_extension);
	TAP_RUN(test_time_swap);
	TAP_RUN(test_time_cool_down);
	TAP_RUN(test_time_repeat_is_answered);
	TAP_RUN(test_time_apply_refuses);
	TAP_RUN(test_time_apply_wants_every_charge);
	TAP_RUN(test_time_against_sums);
	return tap_end();
}
