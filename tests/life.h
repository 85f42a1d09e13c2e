/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of holds as a plain model has it, and how the engine beside it is asked.
 *
 * Owns:  one engine, its log, the model.
 * Reads: nothing.
 * Never: DPDK, files.
 */
#ifndef USH_TEST_LIFE_H
#define USH_TEST_LIFE_H

#include "replay.h"
#include "tap.h"

#define EVENT 1u
#define ROWS 6u
#define SEATS 12u
#define PRICE 2500u
#define USERS 8u
#define LIMIT 24u
#define HOLDS 256u
#define LOOPS 2u
#define MS 1000000ull

/* A hold as the model has it. Seats are one row after another, SEATS bits each. */
struct model {
	uint64_t id;
	uint64_t user;
	uint64_t mask[2];
	uint64_t refunding[2];
	uint64_t deadline_ns;
	uint16_t row[2];
	uint16_t version;
	uint8_t legs;
	uint8_t state;
	uint8_t attempts;
	bool extended;
	/* Over, and sold late as this hold. */
	uint64_t late;
};

struct life {
	struct ush_random random;
	struct harness engines[2];
	struct harness *h;
	struct replay replay;
	struct model holds[HOLDS];
	uint32_t hold_count;
	uint32_t ids[USERS + 1];
	uint64_t taken[ROWS];
	uint32_t late[USERS + 1];
	uint64_t steps;
	bool failed;
};

static struct life life;
static uint64_t answers[256][USH_STATUS_COUNT];

#define WANT(condition) \
	do { \
		if (!(condition) && !life.failed) { \
			life.failed = true; \
			printf("# step %llu line %d: %s\n", (unsigned long long)life.steps, \
				__LINE__, #condition); \
		} \
	} while (0)

static inline uint32_t below(uint32_t n)
{
	return (uint32_t)ush_random_below(&life.random, n);
}

static inline void settle(uint32_t loop)
{
	harness_make_durable(life.h);
	replay_collect(&life.replay, ush_engine_log(life.h->engine));
	harness_turn(life.h, loop, NULL, 0);
}

static inline struct ush_reply ask_with(
	struct ush_request request, const void *extra, uint32_t bytes)
{
	uint32_t loop = below(LOOPS);
	struct ush_packet packet;
	struct ush_reply none;

	request.event = EVENT;
	packet = harness_packet(life.h, &request, extra, bytes);
	harness_turn(life.h, loop, &packet, 1);
	if (life.h->reply_count == 0)
		settle(loop);
	memset(&none, 0xff, sizeof(none));
	WANT(life.h->reply_count == 1);
	if (life.h->reply_count != 1)
		return none;
	answers[request.op][life.h->replies[0].status]++;
	return life.h->replies[0];
}

static inline struct ush_reply ask(struct ush_request request, const struct ush_leg *second)
{
	struct {
		struct ush_extension_header header;
		struct ush_leg leg;
	} extra = {{.type = USH_EXTENSION_LEGS, .size = sizeof(extra), .value = 1}, {0}};

	if (second != NULL)
		extra.leg = *second;
	return ask_with(request, &extra, second != NULL ? sizeof(extra) : 0);
}

static inline uint32_t seats_of(const struct model *m)
{
	return ush_popcount64(m->mask[0]) + ush_popcount64(m->mask[1]);
}

static inline void free_seats(struct model *m, const uint64_t *mask)
{
	for (uint32_t i = 0; i < m->legs; i++) {
		life.taken[m->row[i]] &= ~mask[i];
		m->mask[i] &= ~mask[i];
	}
}

static inline void end(struct model *m, uint8_t state)
{
	uint64_t all[2] = {m->mask[0], m->mask[1]};

	free_seats(m, all);
	m->state = state;
}

static inline bool is_due(const struct model *m)
{
	return m->state == USH_HOLD_STATE_HELD && life.h->now_ns >= m->deadline_ns;
}

static inline bool is_over(const struct model *m)
{
	return m->state == USH_HOLD_STATE_RELEASED || m->state == USH_HOLD_STATE_EXPIRED ||
	       m->state == USH_HOLD_STATE_REFUNDED;
}

static inline uint32_t seats_of_user(uint64_t user)
{
	uint32_t seats = 0;

	for (uint32_t i = 0; i < life.hold_count; i++)
		seats += life.holds[i].user == user ? seats_of(&life.holds[i]) : 0;
	return seats;
}

/* All loops look at what is due; the model follows. */
static inline void expire(void)
{
	for (uint32_t i = 0; i < LOOPS * 3; i++) {
		harness_turn(life.h, i % LOOPS, NULL, 0);
		settle(i % LOOPS);
	}
	for (uint32_t i = 0; i < life.hold_count; i++) {
		if (is_due(&life.holds[i]) && life.h->now_ns >= life.holds[i].deadline_ns + 5 * MS)
			end(&life.holds[i], USH_HOLD_STATE_EXPIRED);
	}
}

/* Seats of a hold that is due may be free or not yet: let all of those be over. */
static inline void let_due_end(void)
{
	for (uint32_t i = 0; i < life.hold_count; i++) {
		if (!is_due(&life.holds[i]))
			continue;
		life.h->now_ns += 6 * MS;
		expire();
		i = UINT32_MAX;
	}
}

static inline struct ush_request about(const struct model *m, uint8_t op)
{
	return (struct ush_request){.op = op, .user = m->user, .hold = m->id};
}

/* ret: true if the hold is over or due, and the answer says so. */
static inline bool is_gone(struct model *m, const struct ush_reply *y)
{
	if (is_due(m)) {
		/* What HELD does not allow is said before its deadline is looked at. */
		if (y->status == USH_STATUS_WRONG_STATE && y->state == USH_HOLD_STATE_HELD)
			return true;
		WANT(y->status == USH_STATUS_EXPIRED || y->status == USH_STATUS_NO_HOLD);
		end(m, USH_HOLD_STATE_EXPIRED);
		return true;
	}
	if (is_over(m))
		WANT(y->status == USH_STATUS_NO_HOLD);
	return is_over(m);
}

static inline void check_hold(const struct model *m, const struct ush_reply *y)
{
	WANT(y->state == m->state);
	WANT(y->hold_version == m->version);
	WANT(y->amount == (uint64_t)seats_of(m) * PRICE);
	WANT(y->deadline_ns == m->deadline_ns);
}

#endif /* USH_TEST_LIFE_H */
