/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of holds against a plain model: extended, cut, swapped, paid for, refunded, on two loops
 * at random, with restarts from the log in between. Every answer and, after each restart, every
 * hold is compared.
 *
 * USH_SEED=n repeats a run.
 *
 * Owns:  one engine, its log, the model.
 * Reads: USH_SEED.
 * Never: DPDK, files.
 */
#include "../life.h"

#define RUNS 60u
#define STEPS 2500u

static void reserve(void)
{
	struct model *m = &life.holds[life.hold_count];
	uint64_t user = 1 + below(USERS);
	struct ush_leg second = {0};
	struct ush_request r = {.op = USH_OP_RESERVE, .user = user};
	struct ush_reply y;

	if (life.hold_count == HOLDS)
		return;
	let_due_end();
	*m = (struct model){.user = user, .legs = (uint8_t)(1 + below(2))};
	m->row[0] = (uint16_t)below(ROWS);
	m->row[1] = (uint16_t)((m->row[0] + 1 + below(ROWS - 1)) % ROWS);
	m->mask[0] = (uint64_t)(1 + below(15)) << below(SEATS - 4);
	m->mask[1] = m->legs == 2 ? (uint64_t)(1 + below(3)) << below(SEATS - 2) : 0;
	r.request_id = ++life.ids[user];
	r.row = m->row[0];
	r.mask = m->mask[0];
	r.hold_ms = 30 + below(400);
	second.row = m->row[1];
	second.mask = m->mask[1];
	y = ask(r, m->legs == 2 ? &second : NULL);
	if (seats_of_user(user) + seats_of(m) > LIMIT) {
		WANT(y.status == USH_STATUS_LIMIT);
		return;
	}
	if ((life.taken[m->row[0]] & m->mask[0]) != 0 ||
		(m->legs == 2 && (life.taken[m->row[1]] & m->mask[1]) != 0)) {
		WANT(y.status == USH_STATUS_TAKEN);
		return;
	}
	WANT(y.status == USH_STATUS_OK);
	m->id = y.hold;
	m->state = USH_HOLD_STATE_HELD;
	m->version = 1;
	m->deadline_ns = life.h->now_ns + r.hold_ms * MS;
	check_hold(m, &y);
	for (uint32_t i = 0; i < m->legs; i++)
		life.taken[m->row[i]] |= m->mask[i];
	life.hold_count++;
}

/* Some of the hold's seats; sometimes seats that it does not have. ret: true if it has them all. */
static bool choose(const struct model *m, uint64_t *mask)
{
	bool has = true;

	for (uint32_t i = 0; i < 2; i++) {
		mask[i] = m->mask[i] & ush_random_next(&life.random);
		if (i < m->legs && below(12) == 0)
			mask[i] |= 1ull << below(SEATS);
		has &= (mask[i] & ~m->mask[i]) == 0;
	}
	if (mask[0] == 0 && mask[1] == 0)
		mask[0] = m->mask[0];
	return has;
}

/* Puts seats into a request; the base leg must not be empty. ret: the second leg or NULL. */
static const struct ush_leg *name(
	const struct model *m, struct ush_request *r, const uint64_t *mask, struct ush_leg *second)
{
	uint32_t base = mask[0] != 0 ? 0 : 1;

	r->row = mask[base] != 0 ? m->row[base] : 0;
	r->mask = mask[base];
	*second = (struct ush_leg){.row = m->row[1 - base], .mask = mask[1 - base]};
	return second->mask != 0 ? second : NULL;
}

static void release(struct model *m)
{
	struct ush_request r = about(m, USH_OP_RELEASE);
	bool whole = below(3) == 0, has = true;
	uint64_t mask[2] = {0, 0};
	struct ush_leg second;
	struct ush_reply y;

	r.request_id = ++life.ids[m->user];
	if (!whole)
		has = choose(m, mask);
	y = ask(r, name(m, &r, mask, &second));
	if (mask[0] == 0 && mask[1] == 0)
		memcpy(mask, m->mask, sizeof(mask));
	if (is_gone(m, &y))
		return;
	if (m->state != USH_HOLD_STATE_HELD) {
		WANT(y.status == USH_STATUS_WRONG_STATE && y.state == m->state);
		return;
	}
	if (!has) {
		WANT(y.status == USH_STATUS_CHANGED);
		return;
	}
	WANT(y.status == USH_STATUS_OK);
	free_seats(m, mask);
	m->version++;
	if (seats_of(m) == 0) {
		m->state = USH_HOLD_STATE_RELEASED;
		WANT(y.state == USH_HOLD_STATE_RELEASED);
		return;
	}
	check_hold(m, &y);
	/* The same id again: done, and nothing is given back twice. */
	if (below(2) == 0) {
		y = ask(r, name(m, &r, mask, &second));
		WANT(y.status == USH_STATUS_OK || y.status == USH_STATUS_MISMATCH);
	}
}

/* Where the seats that a swap takes go: a leg that the model has, or its second. */
static uint32_t draw_taken(const struct model *m, const uint64_t *give, struct ush_request *r)
{
	uint32_t leg = below(2);
	bool empties = (m->mask[leg] & ~give[leg]) == 0;

	r->row = m->row[leg];
	if (leg >= m->legs || m->mask[leg] == 0 || (empties && below(2) == 0)) {
		do
			r->row = (uint16_t)below(ROWS);
		while (r->row == m->row[0] || (m->legs == 2 && r->row == m->row[1]));
	}
	r->mask = (uint64_t)(1 + below(7)) << below(SEATS - 3);
	if (r->row == m->row[leg] && below(8) != 0)
		r->mask &= ~give[leg];
	if (r->mask == 0)
		r->mask = 1;
	return leg;
}

static bool is_in_both(const struct model *m, const uint64_t *give, const struct ush_request *r)
{
	bool both = false;

	for (uint32_t i = 0; i < m->legs; i++)
		both |= r->row == m->row[i] && (r->mask & give[i]) != 0;
	return both;
}

static void swapped(
	struct model *m, const uint64_t *give, const struct ush_request *r, uint32_t leg)
{
	free_seats(m, give);
	life.taken[r->row] |= r->mask;
	m->mask[leg] |= r->mask;
	m->row[leg] = r->row;
	m->legs = (uint8_t)(leg >= m->legs ? leg + 1 : m->legs);
	m->version++;
}

static void swap(struct model *m)
{
	struct {
		struct ush_extension_header header;
		struct ush_leg leg[2];
	} extra = {{.type = USH_EXTENSION_GIVE}, {{0}, {0}}};
	struct ush_request r = about(m, USH_OP_SWAP);
	uint64_t give[2], seats;
	struct ush_reply y;
	uint32_t leg;
	bool has;

	let_due_end();
	has = choose(m, give) && (give[0] | give[1]) != 0;
	if ((give[0] | give[1]) == 0)
		give[0] = 1;
	for (uint32_t i = 0; i < 2; i++) {
		if (give[i] != 0)
			extra.leg[extra.header.value++] =
				(struct ush_leg){.row = m->row[i], .mask = give[i]};
	}
	extra.header.size = (uint16_t)(8 + 16 * extra.header.value);
	leg = draw_taken(m, give, &r);
	r.request_id = ++life.ids[m->user];
	y = ask_with(r, &extra, extra.header.size);
	if (is_in_both(m, give, &r)) {
		WANT(y.status == USH_STATUS_BAD_REQUEST && y.detail == USH_FAULT_LEG_TWICE);
		return;
	}
	if (is_gone(m, &y))
		return;
	if (m->state != USH_HOLD_STATE_HELD) {
		WANT(y.status == USH_STATUS_WRONG_STATE && y.state == m->state);
		return;
	}
	if (!has) {
		WANT(y.status == USH_STATUS_CHANGED);
		return;
	}
	seats = seats_of_user(m->user) + ush_popcount64(r.mask) - ush_popcount64(give[0]) -
		ush_popcount64(give[1]);
	if (seats > LIMIT) {
		WANT(y.status == USH_STATUS_LIMIT && y.detail == LIMIT);
		return;
	}
	if ((life.taken[r.row] & r.mask) != 0) {
		WANT(y.status == USH_STATUS_TAKEN && y.hold == (life.taken[r.row] & r.mask));
		return;
	}
	WANT(y.status == USH_STATUS_OK);
	swapped(m, give, &r, leg);
	check_hold(m, &y);
	if (below(2) == 0) {
		y = ask_with(r, &extra, extra.header.size);
		WANT(y.status == USH_STATUS_OK && y.detail == 1);
		check_hold(m, &y);
	}
}

static void extend(struct model *m)
{
	struct ush_request r = about(m, USH_OP_EXTEND);
	uint64_t deadline_ns;
	struct ush_reply y;

	r.request_id = ++life.ids[m->user];
	r.hold_ms = 1 + below(800);
	deadline_ns = life.h->now_ns + r.hold_ms * MS;
	y = ask(r, NULL);
	if (is_gone(m, &y))
		return;
	if (m->state != USH_HOLD_STATE_HELD || m->extended || deadline_ns <= m->deadline_ns) {
		WANT(y.status == USH_STATUS_WRONG_STATE && y.state == m->state);
		return;
	}
	WANT(y.status == USH_STATUS_OK);
	m->extended = true;
	m->deadline_ns = deadline_ns;
	m->version++;
	check_hold(m, &y);
}

static void pay_begin(struct model *m)
{
	struct ush_request r = about(m, USH_OP_PAY_BEGIN);
	bool right = below(5) != 0;
	struct ush_reply y;

	r.section = (uint16_t)(m->version + (right ? 0 : 1 + below(3)));
	r.arg = (uint64_t)seats_of(m) * PRICE + (below(9) == 0);
	r.hold_ms = 1000;
	right &= r.arg == (uint64_t)seats_of(m) * PRICE;
	y = ask(r, NULL);
	if (is_gone(m, &y))
		return;
	if (m->state != USH_HOLD_STATE_HELD || m->attempts == USH_PAY_ATTEMPTS_MAX) {
		bool again = m->state == USH_HOLD_STATE_PAYING &&
			     (uint16_t)(r.section + 1) == m->version &&
			     r.arg == (uint64_t)seats_of(m) * PRICE;
		WANT(again ? y.status == USH_STATUS_OK
			   : y.status == USH_STATUS_WRONG_STATE && y.state == m->state);
		return;
	}
	if (!right) {
		WANT(y.status == USH_STATUS_CHANGED);
		check_hold(m, &y);
		return;
	}
	WANT(y.status == USH_STATUS_OK);
	m->state = USH_HOLD_STATE_PAYING;
	m->version++;
	m->attempts++;
	check_hold(m, &y);
	WANT(y.detail == m->attempts);
	if (below(2) == 0) {
		y = ask(r, NULL);
		WANT(y.status == USH_STATUS_OK && y.detail == m->attempts);
		check_hold(m, &y);
	}
}

static void pay_end(struct model *m)
{
	struct ush_request r = about(m, USH_OP_PAY_END);
	bool success = below(2) == 0;
	struct ush_reply y;

	r.section = (uint16_t)(m->version + (below(6) == 0));
	r.arg = success ? USH_OUTCOME_SUCCEEDED : USH_OUTCOME_FAILED;
	y = ask(r, NULL);
	if (is_gone(m, &y))
		return;
	if (m->state != USH_HOLD_STATE_PAYING) {
		WANT(y.status == USH_STATUS_WRONG_STATE && y.state == m->state);
		return;
	}
	if (r.section != m->version) {
		WANT(y.status == USH_STATUS_CHANGED);
		return;
	}
	WANT(y.status == USH_STATUS_OK);
	m->version++;
	if (success) {
		m->state = USH_HOLD_STATE_SOLD;
	} else if (life.h->now_ns >= m->deadline_ns) {
		WANT(y.state == USH_HOLD_STATE_EXPIRED);
		end(m, USH_HOLD_STATE_EXPIRED);
		return;
	} else {
		m->state = USH_HOLD_STATE_HELD;
	}
	check_hold(m, &y);
	y = ask(r, NULL);
	WANT(y.status == USH_STATUS_OK);
	check_hold(m, &y);
}

/* Paid for when it was over: one seat is sold, once. */
static void pay_late(struct model *m)
{
	struct ush_request r = about(m, USH_OP_PAY_LATE);
	struct model *sold = &life.holds[life.hold_count];
	struct ush_reply y;

	if (!is_over(m) || life.hold_count == HOLDS || below(5) != 0)
		return;
	let_due_end();
	r.row = (uint16_t)below(ROWS);
	r.mask = 1ull << below(SEATS);
	r.arg = PRICE;
	y = ask(r, NULL);
	if (m->late != 0) {
		WANT(y.status == USH_STATUS_OK && y.hold == m->late && y.detail == 1);
		return;
	}
	if (seats_of_user(m->user) + 1 > LIMIT || life.late[m->user] == 32) {
		WANT(y.status == USH_STATUS_LIMIT);
		return;
	}
	if ((life.taken[r.row] & r.mask) != 0) {
		WANT(y.status == USH_STATUS_TAKEN && y.hold == r.mask);
		return;
	}
	WANT(y.status == USH_STATUS_OK && y.state == USH_HOLD_STATE_SOLD);
	life.late[m->user]++;
	m->late = y.hold;
	*sold = (struct model){.id = y.hold,
		.user = m->user,
		.mask = {r.mask, 0},
		.deadline_ns = life.h->now_ns,
		.row = {r.row, 0},
		.version = 1,
		.legs = 1,
		.state = USH_HOLD_STATE_SOLD};
	life.taken[r.row] |= r.mask;
	check_hold(sold, &y);
	life.hold_count++;
}

static void refund_begin(struct model *m)
{
	struct ush_request r = about(m, USH_OP_REFUND_BEGIN);
	bool whole = below(3) == 0, has = true;
	uint64_t mask[2] = {0, 0}, price;
	struct ush_leg second;
	struct ush_reply y;

	r.section = (uint16_t)(m->version + (below(6) == 0));
	if (!whole)
		has = choose(m, mask);
	y = ask(r, name(m, &r, mask, &second));
	if (mask[0] == 0 && mask[1] == 0)
		memcpy(mask, m->mask, sizeof(mask));
	if (is_over(m)) {
		WANT(y.status == USH_STATUS_NO_HOLD);
		return;
	}
	if (m->state != USH_HOLD_STATE_SOLD) {
		/* One that is due may have gone by now. */
		WANT(y.status == USH_STATUS_WRONG_STATE ||
			(is_due(m) && y.status == USH_STATUS_NO_HOLD));
		return;
	}
	if (!has || r.section != m->version) {
		WANT(y.status == USH_STATUS_CHANGED);
		return;
	}
	WANT(y.status == USH_STATUS_OK && y.state == USH_HOLD_STATE_REFUNDING);
	price = (uint64_t)(ush_popcount64(mask[0]) + ush_popcount64(mask[1])) * PRICE;
	WANT(y.amount == price);
	m->version++;
	m->state = USH_HOLD_STATE_REFUNDING;
	memcpy(m->refunding, mask, sizeof(mask));
	y = ask(r, r.mask != 0 && second.mask != 0 ? &second : NULL);
	WANT(y.status == USH_STATUS_OK && y.state == USH_HOLD_STATE_REFUNDING);
}

static void refund_end(struct model *m)
{
	struct ush_request r = about(m, USH_OP_REFUND_END);
	bool success = below(3) != 0, other = below(6) == 0;
	uint64_t mask[2] = {m->refunding[0], m->refunding[1]};
	struct ush_leg second;
	struct ush_reply y;

	if (m->state != USH_HOLD_STATE_REFUNDING)
		memcpy(mask, m->mask, sizeof(mask));
	if (other)
		mask[0] ^= 1ull << below(SEATS);
	other &= m->state == USH_HOLD_STATE_REFUNDING && (mask[0] | mask[1]) != 0;
	if (mask[0] == 0 && mask[1] == 0)
		return;
	r.section = m->version;
	r.arg = success ? USH_OUTCOME_SUCCEEDED : USH_OUTCOME_FAILED;
	y = ask(r, name(m, &r, mask, &second));
	if (is_over(m)) {
		WANT(y.status == USH_STATUS_NO_HOLD);
		return;
	}
	if (m->state != USH_HOLD_STATE_REFUNDING) {
		WANT(y.status == USH_STATUS_WRONG_STATE ||
			(is_due(m) && y.status == USH_STATUS_NO_HOLD));
		return;
	}
	if (other) {
		WANT(y.status == USH_STATUS_CHANGED);
		return;
	}
	WANT(y.status == USH_STATUS_OK);
	m->version++;
	m->state = USH_HOLD_STATE_SOLD;
	if (success)
		free_seats(m, mask);
	if (seats_of(m) == 0) {
		m->state = USH_HOLD_STATE_REFUNDED;
		WANT(y.state == USH_HOLD_STATE_REFUNDED);
		return;
	}
	check_hold(m, &y);
	y = ask(r, r.mask != 0 && second.mask != 0 ? &second : NULL);
	WANT(y.status == USH_STATUS_OK);
	check_hold(m, &y);
}

static void transfer(struct model *m)
{
	struct ush_request r = about(m, USH_OP_TRANSFER);
	struct ush_reply y;

	r.section = (uint16_t)(m->version + (below(6) == 0));
	r.arg = 1 + below(USERS);
	y = ask(r, NULL);
	if (r.arg == m->user) {
		WANT(y.status == USH_STATUS_BAD_REQUEST && y.detail == USH_FAULT_ARGUMENT);
		return;
	}
	if (is_over(m)) {
		WANT(y.status == USH_STATUS_NO_HOLD);
		return;
	}
	if (m->state != USH_HOLD_STATE_SOLD) {
		WANT(y.status == USH_STATUS_WRONG_STATE ||
			(is_due(m) && y.status == USH_STATUS_NO_HOLD));
		return;
	}
	if (r.section != m->version) {
		WANT(y.status == USH_STATUS_CHANGED);
		return;
	}
	let_due_end();
	if (y.status == USH_STATUS_LIMIT) {
		/* What is due counts until it is over; a hair's breadth is not judged. */
		WANT(seats_of_user(r.arg) + seats_of(m) + 2 * SEATS > LIMIT);
		return;
	}
	WANT(y.status == USH_STATUS_OK);
	m->user = r.arg;
	m->version++;
	check_hold(m, &y);
	WANT(seats_of_user(m->user) <= LIMIT);
	y = ask(r, NULL);
	WANT(y.status == USH_STATUS_OK);
	check_hold(m, &y);
}

static void look(struct model *m)
{
	struct ush_reply y = ask(about(m, USH_OP_QUERY_HOLD), NULL);

	if (is_due(m)) {
		WANT(y.status == USH_STATUS_EXPIRED || y.status == USH_STATUS_NO_HOLD);
		return;
	}
	if (is_over(m)) {
		WANT(y.status == USH_STATUS_NO_HOLD);
		return;
	}
	WANT(y.status == USH_STATUS_OK);
	check_hold(m, &y);
}

static void check_all(void)
{
	struct ush_message message = {{0}};
	struct ush_engine_audit audit;
	uint64_t held = 0, sold = 0;

	expire();
	let_due_end();
	for (uint32_t i = 0; i < life.hold_count; i++) {
		const struct model *m = &life.holds[i];

		look(&life.holds[i]);
		held += m->state == USH_HOLD_STATE_HELD || m->state == USH_HOLD_STATE_PAYING
				? seats_of(m)
				: 0;
		sold += m->state == USH_HOLD_STATE_SOLD || m->state == USH_HOLD_STATE_REFUNDING
				? seats_of(m)
				: 0;
	}
	WANT(ush_engine_audit(life.h->engine, &audit, &message) == 0);
	if (message.text[0] != '\0')
		printf("# %s\n", message.text);
	WANT(audit.held_seats == held && audit.sold_seats == sold);
	WANT(audit.free_seats == ROWS * SEATS - held - sold);
}

static void restart(void)
{
	struct harness *to = life.h == &life.engines[0] ? &life.engines[1] : &life.engines[0];
	struct ush_message message = {{0}};

	/* Nobody is due at the moment of the restart, or both would be right. */
	life.h->now_ns += 20 * MS;
	check_all();
	if (replay_open(&life.replay, life.replay.count, to, &life.h->limits, life.h->now_ns,
		    &message) != 0) {
		printf("# %s\n", message.text);
		life.failed = true;
		return;
	}
	harness_close(life.h);
	life.h = to;
	check_all();
}

/* Those that are over make room. */
static void forget(void)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < life.hold_count; i++) {
		if (!is_over(&life.holds[i]) || below(4) != 0)
			life.holds[kept++] = life.holds[i];
	}
	life.hold_count = kept;
}

static void step(void)
{
	static void (*const acts[])(struct model *) = {release, extend, swap, swap, pay_begin,
		pay_begin, pay_end, pay_end, pay_late, pay_late, refund_begin, refund_end,
		refund_end, transfer, look};

	life.steps++;
	if (below(3) == 0)
		life.h->now_ns += below(40) * MS;
	if (below(4) == 0)
		expire();
	if (life.hold_count == 0 || below(4) == 0)
		reserve();
	else
		acts[below(sizeof(acts) / sizeof(acts[0]))](&life.holds[below(life.hold_count)]);
	if (below(50) == 0)
		forget();
	if (below(400) == 0)
		restart();
}

static void open_life(uint64_t seed)
{
	struct ush_engine_limits limits;
	size_t bytes;
	void *image = harness_image(ROWS, SEATS, LIMIT, &bytes);

	memset(&life, 0, sizeof(life));
	ush_random_init(&life.random, seed);
	replay_init(&life.replay);
	harness_limits_small(&limits);
	limits.loop_count = LOOPS;
	/* Few lines, so that those that do not come home are missed. */
	limits.hold_count = 160;
	life.h = &life.engines[0];
	harness_open(life.h, &limits);
	harness_event_of(life.h, EVENT, image, bytes);
	replay_image(&life.replay, EVENT, image, bytes);
	settle(0);
}

static void test_life_agrees_with_model(void)
{
	uint64_t seed = tap_seed(1);

	for (uint32_t run = 0; run < RUNS; run++) {
		open_life(seed + run);
		for (uint32_t i = 0; i < STEPS && !life.failed; i++)
			step();
		if (!life.failed)
			restart();
		harness_close(life.h);
		replay_free(&life.replay);
		CHECK(!life.failed);
		if (life.failed) {
			printf("# failed: USH_SEED=%llu\n", (unsigned long long)(seed + run));
			return;
		}
	}
	/* A run in which nothing happens proves nothing. */
	CHECK(answers[USH_OP_RELEASE][USH_STATUS_OK] > 800);
	CHECK(answers[USH_OP_EXTEND][USH_STATUS_OK] > 500);
	CHECK(answers[USH_OP_SWAP][USH_STATUS_OK] > 1000);
	CHECK(answers[USH_OP_SWAP][USH_STATUS_TAKEN] > 300);
	CHECK(answers[USH_OP_PAY_LATE][USH_STATUS_OK] > 300);
	CHECK(answers[USH_OP_PAY_LATE][USH_STATUS_TAKEN] > 100);
	CHECK(answers[USH_OP_PAY_BEGIN][USH_STATUS_OK] > 1000);
	CHECK(answers[USH_OP_PAY_END][USH_STATUS_OK] > 1000);
	CHECK(answers[USH_OP_REFUND_BEGIN][USH_STATUS_OK] > 500);
	CHECK(answers[USH_OP_REFUND_END][USH_STATUS_OK] > 500);
	CHECK(answers[USH_OP_TRANSFER][USH_STATUS_OK] > 500);
	CHECK(answers[USH_OP_PAY_BEGIN][USH_STATUS_CHANGED] > 100);
	CHECK(answers[USH_OP_REFUND_END][USH_STATUS_CHANGED] > 50);
	for (uint32_t op = 0; op < 256; op++) {
		for (uint32_t s = 0; s < USH_STATUS_COUNT; s++) {
			if (answers[op][s] != 0)
				printf("# op %u status %u: %llu\n", op, s,
					(unsigned long long)answers[op][s]);
		}
	}
}

int main(void)
{
	TAP_RUN(test_life_agrees_with_model);
	return tap_end();
}
