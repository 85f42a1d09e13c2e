/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The core of payments and refunds in every state that a small world can bring it into: a provider
 * that keeps failures under keys, answers that are lost, crashes between any two steps, a payer who
 * may pay at any moment while he has the client secret, an operator who ends holds.
 *
 * Method: all states are visited; what must hold at the ends is checked in each, and each must have
 * a way to an end.
 */
#include <string.h>

#include "payments/saga.h"
#include "tests/tap.h"

#define STATES_MAX (1u << 20)
#define EDGES_MAX (1u << 23)
#define KEYS 2 /* failures that a provider keeps, of each call */

enum {
	NO_INTENT,
	OPEN,
	DECLINED,
	AUTHORISED,
	CAPTURED,
	CANCELED
};
enum {
	HELD,
	PAYING,
	SOLD,
	OVER,
	ANOTHER,
	GONE
};
enum {
	UNDISPUTED,
	DISPUTED,
	LOST
};

struct state {
	union {
		struct ush_pay pay;
		struct ush_back back;
	};
	uint8_t action;
	uint8_t intent, hold, secret, refunds, sales;
	/* Failures kept: bit n: under number n. */
	uint8_t kept[4];
	uint8_t refunded_by; /* number + 1 of the key that a success is kept under */
	uint8_t dispute;
	uint8_t free; /* it costs nothing: the provider hears nothing of it */
};

static struct state states[STATES_MAX];
static uint32_t slots[STATES_MAX * 2], state_count;
static struct {
	uint32_t from, to;
} edges[EDGES_MAX];
static uint32_t edge_count;

static uint32_t place(const struct state *state)
{
	uint32_t at = ush_crc32c(0, state, sizeof(*state)) % (STATES_MAX * 2);

	while (slots[at] != 0 && memcmp(&states[slots[at] - 1], state, sizeof(*state)) != 0)
		at = (at + 1) % (STATES_MAX * 2);
	if (slots[at] == 0) {
		USH_ASSERT(state_count < STATES_MAX);
		states[state_count++] = *state;
		slots[at] = state_count;
	}
	return slots[at] - 1;
}

static void edge(uint32_t from, const struct state *to)
{
	USH_ASSERT(edge_count < EDGES_MAX);
	edges[edge_count].from = from;
	edges[edge_count++].to = place(to);
}

static void hear(uint32_t from, struct state state, enum ush_pay_event event)
{
	struct ush_pay next;

	memset(&next, 0, sizeof(next));
	state.action = (uint8_t)ush_pay_step(&state.pay, event, &next);
	/* Beyond the failures that there can be, numbers are alike. */
	next.create = next.create > KEYS ? KEYS : next.create;
	next.capture = next.capture > KEYS ? KEYS : next.capture;
	next.cancel = next.cancel > KEYS ? KEYS : next.cancel;
	next.refund = next.refund > KEYS ? KEYS : next.refund;
	state.pay = next;
	if (next.step == USH_PAY_WAIT)
		state.secret = 1;
	edge(from, &state);
}

/* The answer comes, or is lost, or the process is killed before it hears it. */
static void answer(uint32_t from, struct state state, enum ush_pay_event event)
{
	hear(from, state, event);
	hear(from, state, USH_PAY_UNKNOWN);
	hear(from, state, USH_PAY_RESUME);
}

static enum ush_pay_event said(const struct state *state)
{
	static const uint8_t events[] = {[NO_INTENT] = USH_PAY_UNKNOWN,
		[OPEN] = USH_PAY_OPEN,
		[DECLINED] = USH_PAY_DECLINED,
		[AUTHORISED] = USH_PAY_AUTHORISED,
		[CAPTURED] = USH_PAY_SUCCEEDED,
		[CANCELED] = USH_PAY_CANCELED};

	return (enum ush_pay_event)events[state->intent];
}

/* A call to the provider: kept failures, with and without an effect, then the real thing. */
static void call(uint32_t from, struct state state, uint32_t which, uint32_t number, bool possible,
	void (*act)(struct state *state), enum ush_pay_event ok)
{
	struct state done = state;

	if (number < KEYS && (state.kept[which] >> number & 1) != 0) {
		answer(from, state, USH_PAY_REPLAYED);
		return;
	}
	if (number < KEYS) {
		done.kept[which] |= (uint8_t)(1u << number);
		answer(from, done, USH_PAY_REPLAYED);
		if (possible) {
			act(&done);
			answer(from, done, USH_PAY_REPLAYED);
		}
	}
	if (!possible) {
		answer(from, state, USH_PAY_REFUSED);
		return;
	}
	done = state;
	act(&done);
	answer(from, done, ok);
}

static void act_create(struct state *state)
{
	/* Another one takes the place of one that nobody can pay. */
	USH_ASSERT(state->secret == 0);
	state->intent = OPEN;
}

static void act_capture(struct state *state)
{
	state->intent = CAPTURED;
}

static void act_cancel(struct state *state)
{
	state->intent = CANCELED;
}

static void act_refund(struct state *state)
{
	state->refunds++;
	if (state->kept[3] >> state->pay.refund == 0)
		state->refunded_by = (uint8_t)(state->pay.refund + 1);
}

static void ask_provider(uint32_t at, struct state s)
{
	if (s.free != 0) {
		if (s.action == USH_PAY_DO_CREATE)
			answer(at, s, USH_PAY_FREE);
		else if (s.action == USH_PAY_DO_REFUND || s.action == USH_PAY_DO_LOOK_REFUND)
			answer(at, s, USH_PAY_REFUND_OK);
		else
			CHECK(s.action != USH_PAY_DO_CAPTURE && s.action != USH_PAY_DO_LOOK &&
				s.action != USH_PAY_DO_CANCEL);
		return;
	}
	switch (s.action) {
	case USH_PAY_DO_CREATE:
		hear(at, s, USH_PAY_REFUSED);
		call(at, s, 0, s.pay.create, true, act_create, USH_PAY_OPEN);
		break;
	case USH_PAY_DO_LOOK:
		answer(at, s, said(&s));
		break;
	case USH_PAY_DO_CAPTURE:
		/* The same key that did it says so again. */
		if (s.intent == CAPTURED)
			answer(at, s, USH_PAY_SUCCEEDED);
		call(at, s, 1, s.pay.capture, s.intent == AUTHORISED, act_capture,
			USH_PAY_SUCCEEDED);
		break;
	case USH_PAY_DO_CANCEL:
		call(at, s, 2, s.pay.cancel, s.intent != CAPTURED && s.intent != CANCELED,
			act_cancel, USH_PAY_CANCELED);
		break;
	case USH_PAY_DO_REFUND:
		if (s.refunded_by == s.pay.refund + 1)
			answer(at, s, USH_PAY_REFUND_OK);
		else
			call(at, s, 3, s.pay.refund,
				s.intent == CAPTURED && s.dispute == UNDISPUTED, act_refund,
				USH_PAY_REFUND_OK);
		break;
	case USH_PAY_DO_LOOK_REFUND:
		/* Its webhook may not have come yet. */
		if (s.dispute == LOST && s.refunds == 0)
			answer(at, s, USH_PAY_LOST);
		answer(at, s, s.refunds > 0 ? USH_PAY_REFUND_OK : USH_PAY_REFUND_NONE);
		break;
	default:
		break;
	}
}

static void ask_usherd(uint32_t at, struct state s)
{
	switch (s.action) {
	case USH_PAY_DO_BEGIN:
		if (s.hold == HELD)
			s.hold = PAYING;
		answer(at, s, s.hold == PAYING ? USH_PAY_BEGUN : USH_PAY_NOT_BEGUN);
		break;
	case USH_PAY_DO_SELL:
		if (s.hold == PAYING) {
			s.hold = SOLD;
			s.sales++;
		}
		answer(at, s,
			s.hold == SOLD   ? USH_PAY_ENDED
			: s.hold == OVER ? USH_PAY_OVER
					 : USH_PAY_OTHER);
		break;
	case USH_PAY_DO_FAIL:
		if (s.hold == PAYING)
			s.hold = OVER;
		answer(at, s, s.hold == OVER ? USH_PAY_ENDED : USH_PAY_OTHER);
		break;
	case USH_PAY_DO_LATE:
		if (s.hold == OVER) {
			answer(at, s, USH_PAY_LATE_NO);
			s.hold = SOLD;
			s.sales++;
		}
		answer(at, s, s.hold == SOLD ? USH_PAY_LATE_SOLD : USH_PAY_OTHER);
		break;
	default:
		break;
	}
}

static void others(uint32_t at, struct state s)
{
	struct state moved = s;

	if (s.secret != 0 && (s.intent == OPEN || s.intent == DECLINED)) {
		moved.intent = AUTHORISED;
		edge(at, &moved);
		moved.intent = DECLINED;
		edge(at, &moved);
	}
	/* An operator ends the payment; the hold goes back or is over. */
	if (s.hold == PAYING) {
		moved = s;
		moved.hold = OVER;
		edge(at, &moved);
		moved.hold = ANOTHER;
		edge(at, &moved);
	}
	if (s.intent == CAPTURED && s.dispute != LOST) {
		moved = s;
		moved.dispute = s.dispute == DISPUTED ? LOST : DISPUTED;
		edge(at, &moved);
		moved.dispute = UNDISPUTED;
		edge(at, &moved);
	}
	/* An authorisation runs out. */
	if (s.intent == AUTHORISED) {
		moved = s;
		moved.intent = CANCELED;
		edge(at, &moved);
	}
	if (s.action == USH_PAY_DO_NOTHING)
		return;
	/* Killed before it acts; or something else is heard first. */
	hear(at, s, USH_PAY_RESUME);
	hear(at, s, USH_PAY_HINT);
	hear(at, s, USH_PAY_TIME);
	hear(at, s, USH_PAY_CANCEL);
}

static void check_pay(const struct state *s)
{
	CHECK(s->refunds <= 1 && s->sales <= 1);
	switch (s->pay.step) {
	case USH_PAY_SOLD:
		CHECK((s->free || s->intent == CAPTURED) && s->hold == SOLD && s->refunds == 0);
		break;
	case USH_PAY_RETURNED:
		CHECK((s->free || s->intent == CAPTURED) && s->hold != SOLD);
		if (s->free)
			CHECK(s->refunds == 0);
		else if (s->pay.reason == USH_PAY_REASON_DISPUTED)
			CHECK(s->refunds == 0 && s->dispute == LOST);
		else
			CHECK(s->refunds == 1);
		break;
	case USH_PAY_FAILED:
		CHECK(s->hold != SOLD && s->hold != PAYING && s->refunds == 0);
		CHECK(s->intent == CANCELED || s->intent == NO_INTENT || s->secret == 0);
		CHECK(s->intent != CAPTURED && s->intent != AUTHORISED);
		break;
	default:
		break;
	}
}

static void start(void)
{
	state_count = 0;
	edge_count = 0;
	memset(slots, 0, sizeof(slots));
}

/* ret: states from which no end can be reached. */
static uint32_t count_stuck(bool (*is_end)(const struct state *state))
{
	static uint8_t good[STATES_MAX];
	uint32_t stuck = 0;
	bool more = true;

	for (uint32_t i = 0; i < state_count; i++)
		good[i] = is_end(&states[i]);
	while (more) {
		more = false;
		for (uint32_t i = edge_count; i-- > 0;) {
			if (good[edges[i].to] && !good[edges[i].from]) {
				good[edges[i].from] = 1;
				more = true;
			}
		}
	}
	for (uint32_t i = 0; i < state_count; i++)
		stuck += !good[i];
	return stuck;
}

static bool pay_ended(const struct state *state)
{
	return ush_pay_is_over(&state->pay);
}

/* Goal: whatever happens, charged is sold or returned, and not charged is not sold. */
static void test_payments_every_payment_ends_right(void)
{
	struct state first;
	uint32_t ends[USH_PAY_STEP_COUNT] = {0};

	start();
	memset(&first, 0, sizeof(first));
	first.pay.step = USH_PAY_BEGIN;
	first.action = USH_PAY_DO_BEGIN;
	place(&first);
	first.hold = ANOTHER;
	place(&first);
	first.hold = HELD;
	first.free = 1;
	place(&first);
	for (uint32_t at = 0; at < state_count && tap_failures_here < 10; at++) {
		struct state s = states[at];

		check_pay(&s);
		ends[s.pay.step]++;
		others(at, s);
		ask_provider(at, s);
		ask_usherd(at, s);
	}
	CHECK(ends[USH_PAY_SOLD] > 0 && ends[USH_PAY_RETURNED] > 0);
	CHECK(ends[USH_PAY_FAILED] > 0 && ends[USH_PAY_LATE] > 0);
	CHECK_EQ(count_stuck(pay_ended), 0);
	printf("# %u states, %u moves\n", state_count, edge_count);
}

/* ---- refunds ---- */

static void hear_back(uint32_t from, struct state state, enum ush_back_event event)
{
	struct ush_back next;

	memset(&next, 0, sizeof(next));
	state.action = (uint8_t)ush_back_step(&state.back, event, &next);
	next.refund = next.refund > KEYS ? KEYS : next.refund;
	state.back = next;
	edge(from, &state);
}

static void answer_back(uint32_t from, struct state state, enum ush_back_event event)
{
	hear_back(from, state, event);
	hear_back(from, state, USH_BACK_UNKNOWN);
	hear_back(from, state, USH_BACK_RESUME);
}

/* hold: SOLD; PAYING stands for REFUNDING by this refund; GONE: refunded. */
static void ask_for_refund(uint32_t at, struct state s)
{
	struct state done = s;

	switch (s.action) {
	case USH_BACK_DO_LOOK:
		answer_back(at, s,
			s.hold == SOLD     ? USH_BACK_SEEN
			: s.hold == PAYING ? USH_BACK_BUSY
					   : USH_BACK_GONE);
		break;
	case USH_BACK_DO_BEGIN:
		if (s.hold == SOLD)
			answer_back(at, s, USH_BACK_CHANGED);
		done.hold = PAYING;
		answer_back(at, done, s.hold == SOLD ? USH_BACK_BEGUN : USH_BACK_DOUBTFUL);
		break;
	case USH_BACK_DO_END_FAILED:
		done.hold = SOLD;
		answer_back(at, done, USH_BACK_ENDED);
		break;
	case USH_BACK_DO_END:
		done.hold = GONE;
		answer_back(at, done, s.hold == GONE ? USH_BACK_GONE : USH_BACK_ENDED);
		break;
	case USH_BACK_DO_LOOK_REFUND:
		answer_back(at, s, s.refunds > 0 ? USH_BACK_MONEY_OK : USH_BACK_NONE);
		break;
	case USH_BACK_DO_REFUND:
		if (s.back.refund < KEYS && (s.kept[3] >> s.back.refund & 1) != 0) {
			answer_back(at, s, USH_BACK_REPLAYED);
			break;
		}
		if (s.refunds == 0)
			answer_back(at, s, USH_BACK_MONEY_NO);
		if (s.back.refund < KEYS && s.refunds == 0) {
			done.kept[3] |= (uint8_t)(1u << s.back.refund);
			answer_back(at, done, USH_BACK_REPLAYED);
			done.refunds = 1;
			answer_back(at, done, USH_BACK_REPLAYED);
			done = s;
		}
		if (s.refunded_by != s.back.refund + 1)
			done.refunds++;
		done.refunded_by = (uint8_t)(s.back.refund + 1);
		answer_back(at, done, USH_BACK_MONEY_OK);
		break;
	default:
		break;
	}
}

static bool back_ended(const struct state *state)
{
	return ush_back_is_over(&state->back);
}

/* Goal: seats are on sale again if and only if the money was given back, once. */
static void test_payments_every_refund_ends_right(void)
{
	struct state first;
	uint32_t ends[USH_BACK_STEP_COUNT] = {0};

	start();
	memset(&first, 0, sizeof(first));
	first.back.step = USH_BACK_LOOK;
	first.action = USH_BACK_DO_LOOK;
	first.hold = SOLD;
	place(&first);
	for (uint32_t at = 0; at < state_count && tap_failures_here < 10; at++) {
		struct state s = states[at];

		ends[s.back.step]++;
		CHECK(s.refunds <= 1);
		if (s.back.step == USH_BACK_DONE)
			CHECK(s.hold == GONE);
		if (s.back.step == USH_BACK_FAILED)
			CHECK(s.hold == SOLD && s.refunds == 0);
		if (s.hold == GONE)
			CHECK(s.refunds == 1);
		if (s.action != USH_BACK_DO_NOTHING)
			hear_back(at, s, USH_BACK_RESUME);
		ask_for_refund(at, s);
	}
	CHECK(ends[USH_BACK_DONE] > 0 && ends[USH_BACK_FAILED] > 0 && ends[USH_BACK_RESTART] > 0);
	CHECK_EQ(count_stuck(back_ended), 0);
	printf("# %u states, %u moves\n", state_count, edge_count);
}

int main(void)
{
	TAP_RUN(test_payments_every_payment_ends_right);
	TAP_RUN(test_payments_every_refund_ends_right);
	return tap_end();
}
