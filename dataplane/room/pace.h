/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pace: how many of those who wait are let in, once a period (docs/onsale.md, "The controller").
 *
 * Now-serving is a bound: numbers below it may exchange their tickets. It follows what may be sold:
 * the seats that are free, and those of running holds that are expected back, must be enough for
 * those inside and those called now, each counted with as many seats as people like them took, one
 * at least. Inside are those who came and neither hold seats nor lost their access token; to come
 * are those called who have not come, by the share of those before them that came. Both count less
 * the longer it lasts. So who stays away and who leaves gives the place back, and may still come
 * later. On top of that the measured load and the operator's cap bound the rate.
 *
 * Owns:  struct ush_pace.
 * Reads: what it is handed.
 * Never: clocks, the room, events, floating point.
 */
#ifndef USH_PACE_H
#define USH_PACE_H

#include "base/base.h"

/* Slots of a cohort, twice those of its window. */
#define USH_PACE_SLOTS 64u
/* Highest rate: people a minute. */
#define USH_PACE_RATE_MAX 60000000u
/* An operator's cap that is none. */
#define USH_PACE_NO_CAP UINT32_MAX

struct ush_pace_config {
	/* For so long a place is kept for who was called and has not come, ns, at least 1 ms. */
	uint64_t call_ns;
	/* Life of an access token: so long somebody inside may look for seats, ns, as above. */
	uint64_t visit_ns;
	/* People a minute: in the beginning, the least that overload leaves, the most. */
	uint32_t rate_start;
	uint32_t rate_min;
	uint32_t rate_max;
	/* Load of the busiest loop, parts per million: below the first the rate may grow, above the
	 * second it shrinks. */
	uint32_t load_low_ppm;
	uint32_t load_high_ppm;
	/* Until it is measured: seats that somebody let in takes, in thousandths; part of the held
	 * seats that come back. */
	uint32_t take_milli;
	uint32_t return_ppm;
	/* Part of the expected returns that is counted on: they come too late for some. */
	uint32_t trust_ppm;
};

/* What holds at a moment. Sums grow; a step back counts as no change. */
struct ush_pace_input {
	uint64_t now_ns;
	/* Numbers given so far: nobody waits at or above it. */
	uint64_t queue_end;
	/* Sum: people who exchanged a ticket, each once. */
	uint64_t exchanged;
	/* Sums over new holds: holds, and their seats. */
	uint64_t holds_made;
	uint64_t seats_claimed;
	/* Sums over holds that ended: seats that were sold, seats that came back. */
	uint64_t seats_sold;
	uint64_t seats_returned;
	/* Seats that anybody may claim, and seats in holds that are HELD or PAYING. */
	uint32_t seats_free;
	uint32_t seats_live;
	/* Of the busiest loop, 0 to 1,000,000. */
	uint32_t load_ppm;
	/* Operator: people a minute, or USH_PACE_NO_CAP. */
	uint32_t cap;
	bool paused;
	bool sold_out;
};

/* What kept now-serving from going further. */
enum ush_pace_limit {
	/* Nobody waits who was not called. */
	USH_PACE_EVERYBODY,
	USH_PACE_PAUSED,
	USH_PACE_SOLD_OUT,
	/* Too few seats for those inside and one more. */
	USH_PACE_SEATS,
	/* The operator's cap, or the rate that the load allows. */
	USH_PACE_CAP,
	USH_PACE_LOAD,
};

struct ush_pace_says {
	/* Numbers below are served. Never lower than before. */
	uint64_t serving;
	/* For the public: people called in the last minute; less than a minute is scaled up. */
	uint32_t rate;
	enum ush_pace_limit limit;
	/* Seats of running holds that are counted on, and people taken to be inside or to come. */
	uint32_t expected_seats;
	uint32_t inside;
};

/* People in the order in which they entered it, by slots of 1/32 of a window. */
struct ush_pace_cohort {
	uint64_t slot_ns;
	/* No slot before it has anybody. */
	uint64_t oldest;
	uint64_t people;
	uint32_t slot[USH_PACE_SLOTS];
};

/* A quotient that forgets: both are halved when the whole has become large. */
struct ush_pace_quotient {
	uint64_t part;
	uint64_t whole;
};

struct ush_pace {
	struct ush_pace_config config;
	/* Sums as they were. */
	struct ush_pace_input last;
	uint64_t start_ns;
	uint64_t serving;
	/* Rate that the load allows, people a minute, and when it is looked at again. */
	uint32_t rate;
	enum ush_pace_limit limit;
	uint64_t adjust_ns;
	/* What may be called, in people x 60 s in ns. */
	uint64_t credit;
	/* Called and not come; come and not gone; called lately. */
	struct ush_pace_cohort called;
	struct ush_pace_cohort inside;
	struct ush_pace_cohort recent;
	/* People who came by people called; thousandths of seats by people; seats that came back by
	 * seats of holds that ended. */
	struct ush_pace_quotient shows;
	struct ush_pace_quotient take;
	struct ush_pace_quotient returns;
};

/* What docs/onsale.md gives: 2 minutes to come, 5 minutes inside, from 6,000 people a minute. */
void ush_pace_config_default(struct ush_pace_config *config);

/* in: serving: the bound that is journaled, 0 in the beginning. inside: people who may be called or
 * inside after a restart; they count as called now. first: the sums at this time. by: one thread.
 */
void ush_pace_init(struct ush_pace *pace, const struct ush_pace_config *config,
	const struct ush_pace_input *first, uint64_t serving, uint32_t inside);

/* The end of a period, of one second at most; of a longer one the rate of a second is used. in: a
 * time not after the last one changes nothing. out: says. by: the thread of ush_pace_init. cost:
 * some 20 divisions: once a period, not for a packet. */
void ush_pace_step(
	struct ush_pace *pace, const struct ush_pace_input *input, struct ush_pace_says *says);

#endif /* USH_PACE_H */
