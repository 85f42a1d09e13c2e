/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A step books what happened since the last one (who came, who took seats, whose time is over),
 * learns from it, sets the rate by the load, and calls as many as seats, rate and queue allow.
 *
 * Who came is taken to be who was called first, and who made a hold who came first: only counts are
 * known. Somebody who holds a second time makes another leave early; the limits of users keep that
 * small. What fails: nothing; sums that go back count as no change. Whatever divides is inlined, so
 * that tests/style can name the functions that do.
 */
#include <string.h>

#include "room/pace.h"

#define SECOND_NS 1000000000ull
#define MINUTE_NS (60 * SECOND_NS)
#define MILLION 1000000ull
/* A window in slots; the rest of a cohort is room for the one that is filling. */
#define WINDOW_SLOTS (USH_PACE_SLOTS / 2)
/* People and seats that what is configured weighs, and that a quotient remembers. Guesses: a tenth
 * of a percent of a large house, and enough for a noise of 2 % when a third comes back. */
#define PRIOR 64u
#define MEMORY 4096u
/* More than came before may come: by so much of all. Nobody counts for less than that. */
#define SHOWS_MARGIN_PPM 62500u

USH_INLINE void cohort_init(struct ush_pace_cohort *cohort, uint64_t window_ns, uint64_t now_ns)
{
	memset(cohort, 0, sizeof(*cohort));
	cohort->slot_ns = ush_max64(window_ns / WINDOW_SLOTS, 1);
	cohort->oldest = now_ns / cohort->slot_ns;
}

USH_INLINE void cohort_add(struct ush_pace_cohort *cohort, uint64_t now_ns, uint32_t people)
{
	cohort->slot[now_ns / cohort->slot_ns % USH_PACE_SLOTS] += people;
	cohort->people += people;
}

/* Takes out those who have been there longest. ret: how many: as asked, or all. */
USH_INLINE uint64_t cohort_take(struct ush_pace_cohort *cohort, uint64_t people)
{
	uint64_t taken = ush_min64(people, cohort->people);

	cohort->people -= taken;
	for (uint64_t left = taken; left != 0;) {
		uint32_t *slot = &cohort->slot[cohort->oldest % USH_PACE_SLOTS];
		uint32_t some = (uint32_t)ush_min64(left, *slot);

		*slot -= some;
		left -= some;
		if (*slot == 0 && left != 0)
			cohort->oldest++;
	}
	return taken;
}

/* Takes out those whose window is over: between 32 and 33 slots after they came. ret: how many. */
USH_INLINE uint64_t cohort_lapse(struct ush_pace_cohort *cohort, uint64_t now_ns)
{
	uint64_t slot = now_ns / cohort->slot_ns;
	uint64_t lapsed = 0;

	while (cohort->people != 0 && cohort->oldest + WINDOW_SLOTS < slot) {
		uint32_t *oldest = &cohort->slot[cohort->oldest++ % USH_PACE_SLOTS];

		lapsed += *oldest;
		cohort->people -= *oldest;
		*oldest = 0;
	}
	if (cohort->people == 0)
		cohort->oldest = slot;
	return lapsed;
}

/* ret: people, each counted with the part of the window that is left, rounded up: who has not come
 * or taken anything for long is likely not to. */
USH_INLINE uint64_t cohort_weight(const struct ush_pace_cohort *cohort, uint64_t now_ns)
{
	uint64_t slot = now_ns / cohort->slot_ns, sum = 0;

	for (uint64_t at = cohort->oldest; at <= slot; at++)
		sum += cohort->slot[at % USH_PACE_SLOTS] * (WINDOW_SLOTS + 1 + at - slot);
	return (sum + WINDOW_SLOTS) / (WINDOW_SLOTS + 1);
}

static void learn(struct ush_pace_quotient *quotient, uint64_t part, uint64_t whole)
{
	quotient->part += part;
	quotient->whole += whole;
	while (quotient->whole > MEMORY) {
		quotient->part /= 2;
		quotient->whole /= 2;
	}
}

static uint64_t grown(uint64_t before, uint64_t now)
{
	return now > before ? now - before : 0;
}

void ush_pace_config_default(struct ush_pace_config *config)
{
	*config = (struct ush_pace_config){.call_ns = 2 * MINUTE_NS,
		.visit_ns = 5 * MINUTE_NS,
		.rate_start = 6000,
		.rate_min = 60,
		.rate_max = 600000,
		.load_low_ppm = 600000,
		.load_high_ppm = 800000,
		.take_milli = 2000,
		.return_ppm = 250000,
		/* A visit is half of a hold's life. */
		.trust_ppm = 500000};
}

void ush_pace_init(struct ush_pace *pace, const struct ush_pace_config *config,
	const struct ush_pace_input *first, uint64_t serving, uint32_t inside)
{
	USH_ASSERT(config->call_ns >= SECOND_NS / 1000);
	USH_ASSERT(config->visit_ns >= SECOND_NS / 1000);
	USH_ASSERT(config->rate_min >= 1);
	USH_ASSERT(config->rate_max <= USH_PACE_RATE_MAX);
	USH_ASSERT(config->rate_min <= config->rate_start);
	USH_ASSERT(config->rate_start <= config->rate_max);
	memset(pace, 0, sizeof(*pace));
	pace->config = *config;
	pace->last = *first;
	pace->start_ns = first->now_ns;
	pace->serving = serving;
	pace->rate = config->rate_start;
	pace->adjust_ns = first->now_ns + SECOND_NS;
	cohort_init(&pace->called, config->call_ns, first->now_ns);
	cohort_init(&pace->inside, config->visit_ns, first->now_ns);
	cohort_init(&pace->recent, MINUTE_NS, first->now_ns);
	cohort_add(&pace->called, first->now_ns, inside);
	learn(&pace->shows, PRIOR, PRIOR);
	learn(&pace->take, (uint64_t)PRIOR * config->take_milli, PRIOR);
	learn(&pace->returns, PRIOR * (uint64_t)config->return_ppm / MILLION, PRIOR);
}

/* Who came, who went, and what they took. */
USH_INLINE void book(struct ush_pace *pace, const struct ush_pace_input *input)
{
	uint64_t came = grown(pace->last.exchanged, input->exchanged);
	uint64_t sold = grown(pace->last.seats_sold, input->seats_sold);
	uint64_t returned = grown(pace->last.seats_returned, input->seats_returned);
	uint64_t holds = grown(pace->last.holds_made, input->holds_made);
	uint64_t gone = cohort_lapse(&pace->inside, input->now_ns);

	uint64_t away = cohort_lapse(&pace->called, input->now_ns);
	uint64_t shown = cohort_take(&pace->called, came);

	cohort_lapse(&pace->recent, input->now_ns);
	learn(&pace->shows, shown, shown + away);
	cohort_add(&pace->inside, input->now_ns, (uint32_t)came);
	cohort_take(&pace->inside, holds);
	learn(&pace->take, grown(pace->last.seats_claimed, input->seats_claimed) * 1000,
		gone + holds);
	learn(&pace->returns, returned, sold + returned);
}

/* A rate that was not what held people back is not raised: it would say nothing. */
static void follow_load(struct ush_pace *pace, const struct ush_pace_input *input)
{
	const struct ush_pace_config *config = &pace->config;

	if (input->now_ns < pace->adjust_ns)
		return;
	pace->adjust_ns = input->now_ns + SECOND_NS;
	if (input->load_ppm > config->load_high_ppm)
		pace->rate =
			(uint32_t)ush_max64(pace->rate - (pace->rate + 3) / 4, config->rate_min);
	else if (input->load_ppm < config->load_low_ppm && pace->limit == USH_PACE_LOAD)
		pace->rate = (uint32_t)ush_min64(pace->rate + pace->rate / 8 + 1, config->rate_max);
}

/* ret: people whom the rate allows now. */
static uint64_t allowance(struct ush_pace *pace, const struct ush_pace_input *input)
{
	uint64_t rate = ush_min64(pace->rate, input->cap);
	uint64_t ns = ush_min64(input->now_ns - pace->last.now_ns, SECOND_NS);

	/* One second's worth is kept, and what is not yet a person. */
	pace->credit =
		ush_min64(pace->credit + rate * ns, rate == 0 ? 0 : rate * SECOND_NS + MINUTE_NS);
	return pace->credit / MINUTE_NS;
}

/* ret: the part of those called that is taken to come, parts per million. */
USH_INLINE uint64_t shows_ppm(const struct ush_pace *pace)
{
	return ush_min64(
		pace->shows.part * MILLION / pace->shows.whole + SHOWS_MARGIN_PPM, MILLION);
}

/* ret: those called who are taken to come. */
static uint64_t coming(uint64_t called, uint64_t shows)
{
	return (called * shows + MILLION - 1) / MILLION;
}

/* ret: people for whom there are seats beside those inside and to come. */
USH_INLINE uint64_t seated(
	const struct ush_pace *pace, const struct ush_pace_input *input, struct ush_pace_says *says)
{
	uint64_t take = ush_max64(pace->take.part / pace->take.whole, 1000);
	uint64_t back = pace->returns.part * MILLION / pace->returns.whole;
	uint64_t shows = shows_ppm(pace), called = cohort_weight(&pace->called, input->now_ns);
	uint64_t inside = cohort_weight(&pace->inside, input->now_ns), seats, people;

	says->expected_seats =
		(uint32_t)(input->seats_live * back / MILLION * pace->config.trust_ppm / MILLION);
	seats = (uint64_t)input->seats_free + says->expected_seats;
	/* A last seat is for somebody, however many others took. */
	people = ush_max64(seats * 1000 / take, seats != 0);
	/* The most people of whom so many come that there are seats for all. */
	people = people > inside ? (people - inside) * MILLION / shows : 0;
	return people > called ? people - called : 0;
}

/* ret: people to call. */
USH_INLINE uint32_t decide(
	struct ush_pace *pace, const struct ush_pace_input *input, struct ush_pace_says *says)
{
	uint64_t people = grown(pace->serving, input->queue_end);
	uint64_t allowed = allowance(pace, input);
	uint64_t seats = seated(pace, input, says);

	pace->limit = USH_PACE_EVERYBODY;
	if (seats < people) {
		people = seats;
		pace->limit = USH_PACE_SEATS;
	}
	if (allowed < people) {
		people = allowed;
		pace->limit = input->cap < pace->rate ? USH_PACE_CAP : USH_PACE_LOAD;
	}
	if (input->sold_out || input->paused) {
		people = 0;
		pace->credit = 0;
		pace->limit = input->sold_out ? USH_PACE_SOLD_OUT : USH_PACE_PAUSED;
	}
	return (uint32_t)ush_min64(people, UINT32_MAX);
}

USH_INLINE void say(struct ush_pace *pace, uint64_t now_ns, struct ush_pace_says *says)
{
	uint64_t called = cohort_weight(&pace->called, now_ns);
	uint64_t ns = ush_min64(ush_max64(now_ns - pace->start_ns, SECOND_NS), MINUTE_NS);

	says->inside =
		(uint32_t)(cohort_weight(&pace->inside, now_ns) + coming(called, shows_ppm(pace)));
	says->serving = pace->serving;
	says->rate = (uint32_t)(pace->recent.people * MINUTE_NS / ns);
	says->limit = pace->limit;
}

void ush_pace_step(
	struct ush_pace *pace, const struct ush_pace_input *input, struct ush_pace_says *says)
{
	if (input->now_ns > pace->last.now_ns) {
		uint32_t people;

		book(pace, input);
		follow_load(pace, input);
		people = decide(pace, input, says);
		pace->serving += people;
		pace->credit -= people * MINUTE_NS;
		cohort_add(&pace->called, input->now_ns, people);
		cohort_add(&pace->recent, input->now_ns, people);
		pace->last = *input;
	} else {
		seated(pace, &pace->last, says);
	}
	say(pace, pace->last.now_ns, says);
}
