/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The controller of the room: what limits it and when; then random sales, step by step against an
 * oracle that knows each person, and against what must always hold.
 *
 * Owns:  one controller and one sale.
 * Reads: USH_SEED.
 * Never: clocks.
 */
#include <stdlib.h>
#include <string.h>

#include "../tap.h"
#include "room/pace.h"

#define MS 1000000ull
#define SECOND (1000 * MS)
#define MINUTE (60 * SECOND)
#define START (1700000000ull * SECOND)

static struct ush_pace pace;
static struct ush_pace_config config;
static struct ush_pace_input input;
static struct ush_pace_says says;

static void open_pace(uint64_t queue, uint32_t seats)
{
	ush_pace_config_default(&config);
	input = (struct ush_pace_input){
		.now_ns = START, .queue_end = queue, .seats_free = seats, .cap = USH_PACE_NO_CAP};
	ush_pace_init(&pace, &config, &input, 0, 0);
}

/* One more period. ret: people called. */
static uint64_t step(uint64_t ns)
{
	uint64_t before = pace.serving;

	input.now_ns += ns;
	ush_pace_step(&pace, &input, &says);
	CHECK(says.serving >= before);
	return says.serving - before;
}

/* Goal: the first seconds go by the rate; then the seats are the limit, at two a person. */
static void test_pace_seats_bound_those_inside(void)
{
	open_pace(1000000, 1000);
	CHECK_EQ(step(SECOND), 100);
	CHECK_EQ(says.limit, USH_PACE_LOAD);
	CHECK_EQ(says.rate, 6000);
	for (int i = 0; i < 4; i++)
		step(SECOND);
	CHECK(says.serving >= 500);
	CHECK(says.serving <= 510);
	CHECK_EQ(says.inside, 500);
	CHECK_EQ(says.limit, USH_PACE_SEATS);
}

/* Lets time pass. ret: people called in it. */
static uint64_t pass(uint32_t seconds)
{
	uint64_t sum = 0;

	for (; seconds != 0; seconds--) {
		sum += step(SECOND);
		CHECK(says.inside <= 100);
	}
	return sum;
}

/* Goal: who was called and does not come gives the place back within two minutes, bit by bit, and
 * within five minutes who came and took nothing. */
static void test_pace_abandoners_give_back_their_places(void)
{
	uint64_t sum;

	open_pace(1000000, 200);
	step(SECOND);
	CHECK_EQ(says.serving, 100);
	/* All come. */
	input.exchanged = 100;
	CHECK(pass(9) <= 4);
	/* Half of five minutes: half of them are taken to have gone, and others called in their
	 * place, who stay away and so are replaced in turn. */
	sum = pass(141);
	CHECK(sum >= 45);
	CHECK(sum <= 150);
	/* And for each call nobody comes, until 33/32 of five minutes. */
	open_pace(1000000, 200);
	step(SECOND);
	input.exchanged = 100;
	step(SECOND);
	input.paused = true;
	CHECK_EQ(pass(309), 0);
	CHECK_EQ(says.inside, 0);
	/* Not before. */
	open_pace(1000000, 200);
	step(SECOND);
	input.paused = true;
	CHECK_EQ(pass(110), 0);
	CHECK(says.inside > 0);
	CHECK_EQ(pass(15), 0);
	CHECK_EQ(says.inside, 0);
}

/* Goal: a crowd of which hardly anybody comes is called in waves that grow, up to 16 for each seat
 * of one; and one of which all come is not over-admitted after it. */
static void test_pace_learns_how_many_come(void)
{
	uint64_t before;

	open_pace(1000000, 200);
	CHECK(pass(3600) > 10000);
	before = says.serving;
	input.seats_free = 0;
	step(SECOND);
	CHECK_EQ(says.serving, before);
}

/* Goal: seats of running holds count as far as they are expected back, and as it is measured. */
static void test_pace_counts_expected_returns(void)
{
	open_pace(1000000, 0);
	input.seats_live = 800;
	step(SECOND);
	/* A quarter, and half of that. */
	CHECK_EQ(says.expected_seats, 100);
	CHECK_EQ(says.serving, 50);
	/* All others sold what they held: less is expected. */
	input.seats_sold = 4000;
	step(SECOND);
	CHECK(says.expected_seats < 10);
	CHECK_EQ(says.serving, 50);
	/* And all come back, of late. */
	input.seats_returned = 8000;
	step(SECOND);
	CHECK(says.expected_seats > 250);
}

/* Goal: takers of one seat make room for more people, down to one seat each. */
static void test_pace_learns_what_people_take(void)
{
	uint64_t before;

	open_pace(1000000, 100);
	step(SECOND);
	CHECK_EQ(says.serving, 50);
	/* 4,000 holds of one seat, made by people who came from elsewhere. */
	input.holds_made = input.seats_claimed = 4000;
	before = says.serving;
	step(SECOND);
	CHECK(says.serving - before >= 45);
	CHECK(says.inside <= 100);
}

/* Goal: pause, sold out, and a queue that ends stop it, each under its name. */
static void test_pace_stops_and_says_why(void)
{
	open_pace(1000, 100000);
	input.paused = true;
	CHECK_EQ(step(SECOND), 0);
	CHECK_EQ(says.limit, USH_PACE_PAUSED);
	input.paused = false;
	CHECK_EQ(step(SECOND), 100);
	input.sold_out = true;
	for (int i = 0; i < 1000; i++)
		CHECK_EQ(step(SECOND), 0);
	CHECK_EQ(says.limit, USH_PACE_SOLD_OUT);
	CHECK_EQ(says.rate, 0);
	/* Something came back. */
	input.sold_out = false;
	for (int i = 0; i < 20; i++)
		step(SECOND);
	CHECK_EQ(says.serving, 1000);
	CHECK_EQ(says.limit, USH_PACE_EVERYBODY);
	/* Fewer waiting than before is impossible; it must not go back. */
	input.queue_end = 10;
	CHECK_EQ(step(SECOND), 0);
	CHECK_EQ(says.serving, 1000);
}

/* Goal: the operator's cap holds over every window, whatever the periods are. */
static void test_pace_cap_is_never_passed(void)
{
	open_pace(1000000, 1000000);
	input.cap = 90;
	for (int i = 0; i < 600; i++) {
		step(i % 3 == 0 ? 100 * MS : 700 * MS);
		/* One second's worth may have been kept. */
		CHECK(says.serving <= 1 + (input.now_ns - START + SECOND) * 90 / MINUTE);
	}
	CHECK_EQ(says.limit, USH_PACE_CAP);
	CHECK(says.serving >= (input.now_ns - START) * 90 / MINUTE - 2);
	input.cap = 0;
	CHECK_EQ(step(10 * SECOND), 0);
}

/* Goal: overload takes a quarter of the rate away each second, down to the least; calm gives it
 * back, but only while the rate is the limit. */
static void test_pace_follows_load(void)
{
	open_pace(100000000, 100000000);
	input.load_ppm = 900000;
	step(SECOND);
	CHECK_EQ(pace.rate, 4500);
	for (int i = 0; i < 60; i++)
		step(SECOND);
	CHECK_EQ(pace.rate, 60);
	CHECK_EQ(step(SECOND), 1);
	input.load_ppm = 700000;
	step(SECOND);
	CHECK_EQ(pace.rate, 60);
	input.load_ppm = 100000;
	for (int i = 0; i < 100; i++)
		step(SECOND);
	CHECK_EQ(pace.rate, 600000);
	open_pace(0, 100);
	for (int i = 0; i < 100; i++)
		step(SECOND);
	CHECK_EQ(pace.rate, 6000);
}

/* Goal: after a restart the bound goes on, and those who may be inside keep their seats free. */
static void test_pace_restart_goes_on(void)
{
	uint64_t serving;

	open_pace(1000000, 100);
	ush_pace_init(&pace, &config, &input, 777, 50);
	CHECK_EQ(step(SECOND), 0);
	CHECK_EQ(says.serving, 777);
	CHECK(pass(125) > 40);
	/* The same time again, or an earlier one: nothing. */
	serving = says.serving;
	CHECK_EQ(step(0), 0);
	input.now_ns -= MINUTE;
	CHECK_EQ(step(0), 0);
	CHECK_EQ(says.serving, serving);
}

/* ---- random sales ---- */

#define PEOPLE_MAX 200000u

/* Those who are called or inside, one by one: the slot in which each came. */
struct line {
	uint64_t slot_ns;
	uint64_t since[PEOPLE_MAX];
	uint32_t from, to;
};

static struct line called, inside, recent;
static uint64_t oracle_shows[2], oracle_take[2], oracle_back[2];
static uint64_t oracle_credit, oracle_rate, oracle_serving, oracle_adjust_ns;
static enum ush_pace_limit oracle_limit;
static struct ush_random chance;

static void line_add(struct line *line, uint64_t people)
{
	for (uint64_t i = 0; i < people; i++) {
		USH_ASSERT(line->to < PEOPLE_MAX);
		line->since[line->to++] = input.now_ns / line->slot_ns;
	}
}

static uint64_t line_lapse(struct line *line)
{
	uint64_t gone = 0;

	for (; line->from < line->to; line->from++, gone++) {
		if (line->since[line->from] + 32 >= input.now_ns / line->slot_ns)
			break;
	}
	return gone;
}

/* ret: each with what is left of the window, in 33 parts; rounded up. */
static uint64_t line_weight(const struct line *line)
{
	uint64_t parts = 0;

	for (uint32_t i = line->from; i < line->to; i++)
		parts += 33 - (input.now_ns / line->slot_ns - line->since[i]);
	return parts / 33 + (parts % 33 != 0);
}

static uint64_t line_take(struct line *line, uint64_t people)
{
	uint64_t taken = ush_min64(people, line->to - line->from);

	line->from += (uint32_t)taken;
	return taken;
}

static void remember(uint64_t quotient[2], uint64_t part, uint64_t whole)
{
	quotient[0] += part;
	quotient[1] += whole;
	while (quotient[1] > 4096) {
		quotient[0] >>= 1;
		quotient[1] >>= 1;
	}
}

static void oracle_open(void)
{
	memset(&called, 0, sizeof(called));
	memset(&inside, 0, sizeof(inside));
	memset(&recent, 0, sizeof(recent));
	called.slot_ns = config.call_ns / 32;
	inside.slot_ns = config.visit_ns / 32;
	recent.slot_ns = MINUTE / 32;
	oracle_take[0] = 64ull * config.take_milli;
	oracle_shows[0] = oracle_shows[1] = oracle_take[1] = oracle_back[1] = 64;
	oracle_back[0] = 64ull * config.return_ppm / 1000000;
	oracle_credit = oracle_serving = 0;
	oracle_rate = config.rate_start;
	oracle_adjust_ns = input.now_ns + SECOND;
	oracle_limit = USH_PACE_EVERYBODY;
}

/* ret: of those called, who comes: any part of a person is one. */
static uint64_t comers(uint64_t people, uint64_t shows)
{
	uint64_t whole = people * shows / 1000000;

	return whole * 1000000 == people * shows ? whole : whole + 1;
}

/* The rules of docs/onsale.md in the order in which they stand there. `was`: the input before. */
static void oracle_step(const struct ush_pace_input *was)
{
	uint64_t gone = line_lapse(&inside), holds = input.holds_made - was->holds_made;
	uint64_t people = oracle_serving < input.queue_end ? input.queue_end - oracle_serving : 0;
	uint64_t waiting = people, in, away, came, call, shows, take, expected, seats, by_seats,
		 rate;

	away = line_lapse(&called);
	line_lapse(&recent);
	came = line_take(&called, input.exchanged - was->exchanged);
	remember(oracle_shows, came, came + away);
	line_add(&inside, input.exchanged - was->exchanged);
	line_take(&inside, holds);
	remember(oracle_take, 1000 * (input.seats_claimed - was->seats_claimed), gone + holds);
	remember(oracle_back, input.seats_returned - was->seats_returned,
		input.seats_returned - was->seats_returned + input.seats_sold - was->seats_sold);
	if (input.now_ns >= oracle_adjust_ns) {
		oracle_adjust_ns = input.now_ns + SECOND;
		if (input.load_ppm > config.load_high_ppm)
			oracle_rate = ush_max64(oracle_rate * 3 / 4, config.rate_min);
		else if (input.load_ppm < config.load_low_ppm && oracle_limit == USH_PACE_LOAD)
			oracle_rate = ush_min64(oracle_rate + oracle_rate / 8 + 1, config.rate_max);
	}
	in = line_weight(&inside);
	call = line_weight(&called);
	shows = oracle_shows[0] * 1000000 / oracle_shows[1] + 62500;
	shows = shows > 1000000 ? 1000000 : shows;
	take = oracle_take[0] / oracle_take[1] < 1000 ? 1000 : oracle_take[0] / oracle_take[1];
	expected = input.seats_live * (oracle_back[0] * 1000000 / oracle_back[1]) / 1000000 *
		   config.trust_ppm / 1000000;
	seats = input.seats_free + expected;
	for (by_seats = 0; by_seats < people; by_seats++) {
		if (in + comers(call + by_seats + 1, shows) >
			(seats * 1000 < take && seats != 0 ? 1 : seats * 1000 / take))
			break;
	}
	rate = oracle_rate < input.cap ? oracle_rate : input.cap;
	oracle_credit += rate * ush_min64(input.now_ns - was->now_ns, SECOND);
	oracle_credit = ush_min64(oracle_credit, rate * SECOND + MINUTE * (rate != 0));
	people = ush_min64(ush_min64(people, by_seats), oracle_credit / MINUTE);
	oracle_limit = input.sold_out            ? USH_PACE_SOLD_OUT
		       : input.paused            ? USH_PACE_PAUSED
		       : people == waiting       ? USH_PACE_EVERYBODY
		       : people == by_seats      ? USH_PACE_SEATS
		       : input.cap < oracle_rate ? USH_PACE_CAP
						 : USH_PACE_LOAD;
	if (input.sold_out || input.paused)
		people = oracle_credit = 0;
	oracle_credit -= people * MINUTE;
	oracle_serving += people;
	line_add(&called, people);
	line_add(&recent, people);
	CHECK_EQ(says.serving, oracle_serving);
	CHECK_EQ(says.limit, oracle_limit);
	CHECK_EQ(says.expected_seats, expected);
	CHECK_EQ(says.inside, in + comers(call + people, shows));
}

static uint64_t below(uint64_t bound)
{
	return ush_random_below(&chance, bound);
}

/* Something happens in the sale: people come, take seats, buy, give back. */
static void live(void)
{
	uint32_t come = (uint32_t)below(1 + pace.serving - input.exchanged);
	uint32_t hold = (uint32_t)below(40), some;

	if (below(4) != 0)
		input.exchanged += come / (1 + below(8));
	for (; hold != 0 && input.seats_free != 0; hold--) {
		some = (uint32_t)ush_min64(1 + below(6), input.seats_free);
		input.holds_made++;
		input.seats_claimed += some;
		input.seats_free -= some;
		input.seats_live += some;
	}
	some = (uint32_t)below(1 + input.seats_live) / 8;
	input.seats_live -= some;
	if (below(3) != 0) {
		input.seats_sold += some;
	} else {
		input.seats_returned += some;
		input.seats_free += some;
	}
	input.queue_end += below(2) * below(100);
	input.load_ppm = (uint32_t)below(1000000);
	if (below(50) == 0)
		input.cap = below(2) != 0 ? USH_PACE_NO_CAP : (uint32_t)below(5000);
	if (below(80) == 0)
		input.paused = !input.paused;
	input.sold_out = input.seats_free == 0 && input.seats_live == 0;
}

static void random_sale(void)
{
	open_pace(below(20000), (uint32_t)below(5000));
	config.call_ns = SECOND * (1 + below(120));
	config.visit_ns = SECOND * (1 + below(300));
	config.trust_ppm = (uint32_t)below(1000001);
	config.take_milli = (uint32_t)below(5000);
	ush_pace_init(&pace, &config, &input, 0, 0);
	oracle_open();
	for (uint32_t i = 0; i < 1500 && tap_failures_here == 0; i++) {
		struct ush_pace_input was = input;

		live();
		if (below(100) == 0)
			input.now_ns += below(400) * SECOND;
		step(1 + below(1500 * MS));
		oracle_step(&was);
	}
}

/* Goal: the controller is the oracle, bit for bit. */
static void test_pace_agrees_with_oracle(void)
{
	for (uint32_t i = 0; i < 60 && tap_failures_here == 0; i++)
		random_sale();
}

/* Goal: no starvation. With a seat that is free, somebody waiting, no pause and a cap, somebody is
 * called within the two windows, a slot of each, a minute's share of the rate and a period,
 * whatever happened before. Method: random sales that stand still at some moment, at full load. */
static void test_pace_does_not_starve(void)
{
	for (uint32_t i = 0; i < 200 && tap_failures_here == 0; i++) {
		uint64_t bound, until;
		uint64_t called_before;

		open_pace(1000000, (uint32_t)(1 + below(2000)));
		for (uint64_t j = below(600); j > 0; j--) {
			live();
			step(SECOND);
		}
		input.seats_free += input.seats_free == 0;
		input.paused = input.sold_out = false;
		input.load_ppm = 1000000;
		input.cap = 1 + (uint32_t)below(200);
		bound = (config.call_ns + config.visit_ns) / 32 * 33 +
			MINUTE / ush_min64(input.cap, config.rate_min) + 2 * SECOND;
		called_before = pace.serving;
		for (until = input.now_ns + bound;
			input.now_ns < until && pace.serving == called_before;)
			step(SECOND);
		CHECK(pace.serving > called_before);
	}
}

/* Goal: no over-admission. Whatever the estimates say, people inside and to come are never more
 * than seats that are free or held, at the moment when one is called; and at sell-out none is. */
static void test_pace_never_over_admits(void)
{
	for (uint32_t i = 0; i < 200 && tap_failures_here == 0; i++) {
		open_pace(1000000, (uint32_t)(1 + below(3000)));
		for (uint32_t j = 0; j < 600; j++) {
			uint64_t more;

			live();
			more = step(SECOND);
			if (more == 0)
				continue;
			CHECK(says.inside <= input.seats_free + input.seats_live);
			CHECK(says.inside <= input.seats_free + says.expected_seats);
			CHECK(!input.sold_out);
			CHECK(!input.paused);
		}
	}
}

int main(void)
{
	ush_random_init(&chance, tap_seed(1));
	TAP_RUN(test_pace_seats_bound_those_inside);
	TAP_RUN(test_pace_abandoners_give_back_their_places);
	TAP_RUN(test_pace_learns_how_many_come);
	TAP_RUN(test_pace_counts_expected_returns);
	TAP_RUN(test_pace_learns_what_people_take);
	TAP_RUN(test_pace_stops_and_says_why);
	TAP_RUN(test_pace_cap_is_never_passed);
	TAP_RUN(test_pace_follows_load);
	TAP_RUN(test_pace_restart_goes_on);
	TAP_RUN(test_pace_agrees_with_oracle);
	TAP_RUN(test_pace_does_not_starve);
	TAP_RUN(test_pace_never_over_admits);
	return tap_end();
}
