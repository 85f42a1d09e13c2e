/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What happens, tick by tick: people come and knock; the lobby is drawn; each second the controller
 * calls some; they come or not, look, hold, pay or leave. All of it is events on a wheel of ticks.
 */
#include "onsale.h"

#define TIER(place) ((place) >> 28)
/* Frames with a forged token that a script's account sends at the opening. */
#define STORM 2u
#define STORM_TICKS 600u
/* How long somebody called is taken to be on the way by the check of over-admission. */
#define CALL_TICKS (120u * ONSALE_TICKS_S)
#define VISIT_NS (300 * ONSALE_SECOND)
/* Attempts after which a fan, a bot gives up. */
#define FAN_TRIES 6u
#define BOT_TRIES 12u

/* ---- events ---- */

static void schedule(struct onsale *sale, uint32_t who, uint32_t tick, enum onsale_state act)
{
	struct onsale_wheel *wheel = &sale->wheel;

	sale->people[who].state = (uint8_t)act;
	sale->people[who].next = ONSALE_NOBODY;
	tick = (uint32_t)ush_max64(tick, sale->tick + 1);
	if (tick >= ONSALE_END) {
		sale->people[who].state = ONSALE_GONE;
		return;
	}
	if (wheel->first[tick] == ONSALE_NOBODY)
		wheel->first[tick] = who;
	else
		sale->people[wheel->last[tick]].next = who;
	wheel->last[tick] = who;
}

/* The same, for what needs a proof of work first. */
static void schedule_work(struct onsale *sale, uint32_t who, uint32_t tick, enum onsale_state act)
{
	if (onsale_has(sale, ONSALE_WORK))
		tick += onsale_work(&sale->crowd, who, sale->box.bits,
			HARNESS_START + tick * ONSALE_TICK_NS, ++sale->people[who].tries);
	schedule(sale, who, tick, act);
}

static uint32_t after(const struct onsale *sale, uint32_t seconds)
{
	return sale->tick + seconds * ONSALE_TICKS_S;
}

/* ret: when somebody refused until `ns` asks again: those behind one address do not all at once. */
static uint32_t retry_tick(const struct onsale *sale, uint32_t who, uint64_t ns)
{
	uint32_t spread = onsale_class(&sale->crowd, who) == ONSALE_FAN ? 20 : 600;

	return (uint32_t)((ns - HARNESS_START + ONSALE_TICK_NS - 1) / ONSALE_TICK_NS) +
	       (uint32_t)onsale_draw(&sale->crowd, who, sale->tick, spread);
}

/* ret: somebody's visit, a new one if there is none. */
static struct onsale_visit *visit_of(struct onsale *sale, uint32_t who)
{
	struct onsale_person *person = &sale->people[who];

	if (person->visit == 0) {
		if (sale->visit_count == sale->visit_room) {
			sale->visit_room = sale->visit_room * 2 + 4096;
			sale->visits =
				realloc(sale->visits, sale->visit_room * sizeof(*sale->visits));
			USH_ASSERT(sale->visits != NULL);
		}
		sale->visits[sale->visit_count] = (struct onsale_visit){0};
		person->visit = ++sale->visit_count;
	}
	return &sale->visits[person->visit - 1];
}

static void look_no_more(struct onsale *sale, struct onsale_visit *visit)
{
	sale->looking -= visit->looks;
	visit->looks = false;
}

/* Who went past the queue in vain still has a place in it. */
static void leave(struct onsale *sale, uint32_t who)
{
	const struct onsale_person *person = &sale->people[who];
	bool waits = person->got_in != 2 && person->place != ONSALE_NOBODY &&
		     onsale_box_number(sale, person->place) >= sale->box.says.serving;

	look_no_more(sale, visit_of(sale, who));
	sale->people[who].state = waits ? ONSALE_WAIT : ONSALE_GONE;
}

static bool is_fan(const struct onsale *sale, uint32_t who)
{
	return onsale_class(&sale->crowd, who) == ONSALE_FAN;
}

/* ---- the room ---- */

void onsale_joined(struct onsale *sale, uint32_t who)
{
	struct onsale_person *person = &sale->people[who];

	if (person->state != ONSALE_JOIN)
		return;
	person->state = ONSALE_WAIT;
	person->since = sale->tick;
	sale->counts.joined++;
	sale->counts.slow += TIER(person->place) == ONSALE_TIER_SLOW;
	sale->counts.fans_slow += TIER(person->place) == ONSALE_TIER_SLOW && is_fan(sale, who);
}

static void note_wait(struct onsale *sale, uint32_t who)
{
	const struct onsale_person *person = &sale->people[who];
	struct onsale_waits *waits = &sale->waits[TIER(person->place)];

	if (waits->count == waits->room) {
		waits->room = waits->room * 2 + 1024;
		waits->ticks = realloc(waits->ticks, waits->room * sizeof(*waits->ticks));
		USH_ASSERT(waits->ticks != NULL);
	}
	waits->ticks[waits->count++] = sale->tick - (uint32_t)ush_max64(person->since, ONSALE_OPEN);
}

/* By a call or past the queue, for the comparison of ranks. */
static void got_in(struct onsale *sale, uint32_t who)
{
	if (sale->people[who].got_in != 0)
		return;
	sale->people[who].got_in = 1;
	sale->order[sale->order_count++] = who;
}

static void call(struct onsale *sale, uint64_t number)
{
	uint32_t place = onsale_box_place(sale, number);
	uint32_t who = sale->owner[TIER(place)][place & 0xfffffff];
	struct onsale_person *person = &sale->people[who];
	uint32_t delay;

	sale->counts.violations += person->place != place;
	sale->counts.called++;
	got_in(sale, who);
	if (is_fan(sale, who))
		note_wait(sale, who);
	/* Who went past the queue does not come back to it. */
	if (person->state != ONSALE_WAIT)
		return;
	if (onsale_shows(&sale->crowd, who,
		    sale->tick - (uint32_t)ush_max64(person->since, ONSALE_OPEN), &delay)) {
		sale->called_at[sale->tick]++;
		sale->on_the_way++;
		person->since = sale->tick;
		person->tries = 0;
		schedule_work(sale, who, sale->tick + delay, ONSALE_EXCHANGE);
	} else {
		person->state = ONSALE_GONE;
	}
}

void onsale_exchanged(struct onsale *sale, uint32_t who)
{
	struct onsale_person *person = &sale->people[who];
	struct onsale_visit *visit;
	uint32_t browse = onsale_browse(&sale->crowd, who);

	if (person->got_in == 2)
		return;
	if (sale->tick - person->since < CALL_TICKS) {
		sale->called_at[person->since]--;
		sale->on_the_way--;
	} else {
		sale->counts.called_late++;
	}
	person->got_in = 2;
	sale->counts.exchanged++;
	sale->counts.let_in[onsale_class(&sale->crowd, who)]++;
	visit = visit_of(sale, who);
	*visit = (struct onsale_visit){.expiry_ns = onsale_now(sale) + VISIT_NS};
	visit->tag = onsale_token_tag(onsale_user(who), visit->expiry_ns);
	person->ids++;
	person->tries = 0;
	if (browse == ONSALE_NOBODY) {
		sale->counts.looked_only++;
		person->state = ONSALE_GONE;
		return;
	}
	visit->looks = true;
	sale->looking++;
	schedule_work(sale, who, sale->tick + browse, ONSALE_LOOK);
}

void onsale_refused(struct onsale *sale, uint32_t who, const struct ush_admit_says *says)
{
	struct onsale_person *person = &sale->people[who];

	switch (says->verdict) {
	case USH_VERDICT_SOURCE_RATE:
		sale->counts.refused_by_address++;
		sale->counts.fans_refused_by_address += is_fan(sale, who);
		schedule(sale, who, retry_tick(sale, who, says->retry_ns), person->state);
		break;
	case USH_VERDICT_WORK_LOW:
		sale->counts.refused_by_work++;
		sale->box.bits = says->work_bits;
		schedule_work(sale, who, sale->tick, person->state);
		break;
	default:
		sale->counts.violations++;
		break;
	}
}

/* ---- seats ---- */

static uint32_t wanted(const struct onsale *sale, uint32_t who)
{
	const struct onsale_visit *visit = &sale->visits[sale->people[who].visit - 1];

	return visit->seats != 0 ? visit->seats : onsale_party(&sale->crowd, who);
}

static void look(struct onsale *sale, uint32_t who)
{
	struct onsale_visit *visit = visit_of(sale, who);

	if (onsale_has(sale, ONSALE_TOKEN) && onsale_now(sale) >= visit->expiry_ns) {
		sale->counts.found_nothing++;
		leave(sale, who);
		return;
	}
	if (!visit->asked) {
		visit->asked = true;
		visit->seats = (uint8_t)onsale_party(&sale->crowd, who);
		got_in(sale, who);
	}
	onsale_box_reserve(sale, who, wanted(sale, who), false);
}

static void held(struct onsale *sale, uint32_t who, const struct ush_reply *reply)
{
	struct onsale_visit *visit = visit_of(sale, who);
	enum onsale_state act;
	uint32_t ticks = onsale_checkout(&sale->crowd, who, &act);

	look_no_more(sale, visit);
	visit->hold = reply->hold;
	visit->amount = reply->amount;
	visit->version = reply->hold_version;
	sale->counts.violations += reply->amount != (uint64_t)visit->seats * ONSALE_PRICE;
	sale->counts.holds++;
	sale->counts.seats_claimed += visit->seats;
	if (act == ONSALE_GONE) {
		sale->counts.holds_abandoned++;
		sale->people[who].state = ONSALE_GONE;
		return;
	}
	schedule(sale, who, sale->tick + ticks, act);
}

/* Nothing that fits: fewer will do; then it is over. */
static void look_again(struct onsale *sale, uint32_t who, uint32_t seconds, bool fewer)
{
	struct onsale_person *person = &sale->people[who];
	struct onsale_visit *visit = visit_of(sale, who);

	if (fewer && visit->seats > 1)
		visit->seats--;
	if (person->tries >= (is_fan(sale, who) ? FAN_TRIES : BOT_TRIES)) {
		sale->counts.found_nothing++;
		leave(sale, who);
		return;
	}
	person->ids++;
	if (!onsale_has(sale, ONSALE_WORK))
		person->tries++;
	schedule_work(sale, who, after(sale, seconds), ONSALE_LOOK);
}

static void looked(struct onsale *sale, uint32_t who, const struct ush_reply *reply)
{
	bool fan = is_fan(sale, who);

	switch (reply->status) {
	case USH_STATUS_OK:
		held(sale, who, reply);
		break;
	case USH_STATUS_RATE:
		if ((reply->detail & 0xff) == USH_VERDICT_SOURCE_RATE)
			sale->counts.refused_by_address++;
		else
			sale->counts.refused_by_user++;
		sale->counts.fans_refused_by_address +=
			fan && (reply->detail & 0xff) == USH_VERDICT_SOURCE_RATE;
		schedule(sale, who, retry_tick(sale, who, reply->deadline_ns), ONSALE_LOOK);
		break;
	case USH_STATUS_PROOF_OF_WORK:
		sale->counts.refused_by_work++;
		sale->box.bits = reply->detail >> 8;
		schedule_work(sale, who, sale->tick, ONSALE_LOOK);
		break;
	case USH_STATUS_NONE:
		look_again(sale, who, fan ? 10 : 1, true);
		break;
	case USH_STATUS_CONTENDED:
		look_again(sale, who, 1, false);
		break;
	case USH_STATUS_RETRY:
	case USH_STATUS_BUSY:
		schedule(sale, who, after(sale, 1), ONSALE_LOOK);
		break;
	case USH_STATUS_SOLD_OUT:
		sale->counts.found_nothing++;
		leave(sale, who);
		break;
	case USH_STATUS_TOKEN:
		/* It ran out on the way. */
		sale->counts.refused_by_token++;
		sale->counts.found_nothing++;
		leave(sale, who);
		break;
	default:
		sale->counts.violations++;
		leave(sale, who);
		break;
	}
}

static void pay(struct onsale *sale, uint32_t who, uint8_t op)
{
	const struct onsale_visit *visit = visit_of(sale, who);
	struct ush_request request = {.op = op, .hold = visit->hold, .section = visit->version};

	if (op == USH_OP_PAY_BEGIN) {
		request.arg = visit->amount;
		request.hold_ms = 60000;
	} else if (op == USH_OP_PAY_END) {
		request.arg = onsale_payment(&sale->crowd, who, visit->attempts)
				      ? USH_OUTCOME_SUCCEEDED
				      : USH_OUTCOME_FAILED;
	} else {
		request.section = 0;
		request.request_id = ++sale->people[who].ids;
	}
	onsale_box_control(sale, who, &request);
}

static void payment_ended(struct onsale *sale, uint32_t who, const struct ush_reply *reply)
{
	struct onsale_visit *visit = visit_of(sale, who);
	enum onsale_class class = onsale_class(&sale->crowd, who);

	visit->version = reply->hold_version;
	if (reply->state == USH_HOLD_STATE_SOLD) {
		sale->counts.seats[class] += visit->seats;
		sale->counts.buyers[class]++;
		sale->people[who].state = ONSALE_GONE;
		return;
	}
	sale->counts.payments_failed++;
	if (reply->state != USH_HOLD_STATE_HELD)
		sale->people[who].state = ONSALE_GONE;
	else if (onsale_pays_again(&sale->crowd, who, visit->attempts))
		schedule(sale, who, after(sale, 20), ONSALE_PAY);
	else
		schedule(sale, who, after(sale, 5), ONSALE_GIVE_BACK);
}

void onsale_reply(struct onsale *sale, uint32_t who, const struct ush_reply *reply)
{
	struct onsale_visit *visit;

	if (reply->op == USH_OP_RESERVE_BEST) {
		looked(sale, who, reply);
		return;
	}
	visit = visit_of(sale, who);
	if (reply->status == USH_STATUS_RETRY || reply->status == USH_STATUS_BUSY) {
		schedule(sale, who, after(sale, 1), sale->people[who].state);
		return;
	}
	if (reply->status != USH_STATUS_OK) {
		/* The hold has run out. */
		sale->counts.holds_too_late++;
		sale->counts.violations +=
			reply->status != USH_STATUS_NO_HOLD && reply->status != USH_STATUS_EXPIRED;
		sale->people[who].state = ONSALE_GONE;
		return;
	}
	if (reply->op == USH_OP_PAY_BEGIN) {
		visit->version = reply->hold_version;
		visit->attempts++;
		schedule(sale, who, after(sale, 3), ONSALE_PAID);
	} else if (reply->op == USH_OP_PAY_END) {
		payment_ended(sale, who, reply);
	} else {
		sale->people[who].state = ONSALE_GONE;
	}
}

/* ---- ticks ---- */

static void act(struct onsale *sale, uint32_t who)
{
	switch ((enum onsale_state)sale->people[who].state) {
	case ONSALE_JOIN:
	case ONSALE_EXCHANGE:
		onsale_box_knock(sale, who, sale->people[who].state);
		break;
	case ONSALE_LOOK:
		look(sale, who);
		break;
	case ONSALE_PAY:
		pay(sale, who, USH_OP_PAY_BEGIN);
		break;
	case ONSALE_PAID:
		pay(sale, who, USH_OP_PAY_END);
		break;
	case ONSALE_GIVE_BACK:
		pay(sale, who, USH_OP_RELEASE);
		break;
	default:
		break;
	}
}

static void arrive(struct onsale *sale)
{
	for (enum onsale_class class = 0; class < ONSALE_CLASSES; class ++) {
		uint32_t first = sale->crowd.from[class];
		uint32_t count = sale->crowd.from[class + 1] - first;

		while (sale->arrived[class] < count &&
			onsale_arrival(&sale->crowd, class, sale->arrived[class]) <= sale->tick)
			schedule_work(
				sale, first + sale->arrived[class]++, sale->tick, ONSALE_JOIN);
	}
}

/* Scripts do not wait: they ask for seats with tokens of their own making, or with none where none
 * is asked for; brokers do the latter, too. */
static void storm(struct onsale *sale)
{
	uint32_t at = sale->tick - ONSALE_OPEN;
	uint32_t from = sale->crowd.from[ONSALE_SCRIPT], to = sale->crowd.from[ONSALE_BROKER];
	uint64_t size = to - from;

	if (at >= STORM_TICKS)
		return;
	if (onsale_has(sale, ONSALE_TOKEN)) {
		for (uint64_t k = size * at * STORM / STORM_TICKS;
			k < size * (at + 1) * STORM / STORM_TICKS; k++) {
			sale->counts.forged_sent++;
			onsale_box_reserve(sale, from + (uint32_t)(k % size), 4, true);
		}
		return;
	}
	to = sale->crowd.from[ONSALE_CLICKER];
	size = to - from;
	for (uint64_t k = size * at / STORM_TICKS; k < size * (at + 1) / STORM_TICKS; k++) {
		uint32_t who = from + (uint32_t)k;

		if (sale->people[who].state != ONSALE_WAIT || sale->sold_out)
			continue;
		sale->people[who].ids++;
		sale->people[who].tries = 0;
		schedule_work(sale, who, sale->tick, ONSALE_LOOK);
	}
}

/* Seats that running holds will bring back, by all that has ended so far. */
static uint64_t expected(const struct ush_pace_input *input)
{
	uint64_t back = input->seats_returned + 16, ended = back + input->seats_sold + 48;

	return input->seats_live * back / ended;
}

/* ret: the root, rounded up. */
static uint64_t root(uint64_t x)
{
	uint64_t r = 0;

	while (r * r < x)
		r++;
	return r;
}

/* Whoever is called and comes must find a seat free or expected that nobody else is on the way to.
 * Counted by what people will do, one by one, and not as the controller does; how many of those
 * called come is chance, so three standard deviations (of a Poisson variable) are no fault. */
static void check_called(struct onsale *sale, const struct ush_pace_input *input, uint64_t coming)
{
	uint64_t seats = input->seats_free + expected(input);
	uint64_t allowed = seats + 3 * root(seats);
	uint64_t inside = (uint64_t)sale->on_the_way + sale->looking;

	if (coming != 0 && inside > allowed)
		sale->counts.over_admitted += ush_min64(coming, inside - allowed);
}

static void sample(struct onsale *sale, const struct ush_pace_input *input)
{
	sale->samples[sale->sample_count++] =
		(struct onsale_sample){.at_s = (sale->tick - ONSALE_OPEN) / ONSALE_TICKS_S,
			.free = input->seats_free,
			.live = input->seats_live,
			.sold = (uint32_t)input->seats_sold,
			.inside = sale->box.says.inside,
			.expected = sale->box.says.expected_seats,
			.waiting = (uint32_t)(input->queue_end - sale->box.says.serving),
			.rate = sale->box.says.rate};
}

/* Once a second: the controller. */
static void control(struct onsale *sale)
{
	struct onsale_box *box = &sale->box;
	struct ush_pace_input input = {.now_ns = onsale_now(sale),
		.queue_end = onsale_box_queue_end(sale),
		.exchanged = sale->counts.exchanged,
		.holds_made = sale->counts.holds,
		.seats_claimed = sale->counts.seats_claimed,
		.load_ppm = onsale_box_load(sale),
		.cap = USH_PACE_NO_CAP};
	uint64_t from = box->says.serving;
	uint32_t on_the_way;

	USH_ASSERT(ush_engine_event_view(box->h.engine, ONSALE_EVENT, &sale->view));
	input.seats_free = sale->view.free_count;
	input.seats_sold = sale->view.sold_count;
	input.seats_live = sale->seats - sale->view.free_count - sale->view.sold_count;
	input.seats_returned =
		sale->counts.seats_claimed - sale->view.sold_count - input.seats_live;
	input.sold_out = sale->view.status == USH_EVENT_STATUS_SOLD_OUT;
	if (input.sold_out && !sale->sold_out)
		sale->sold_out_tick = sale->tick;
	sale->sold_out = input.sold_out;
	ush_pace_step(&box->pace, &input, &box->says);
	on_the_way = sale->on_the_way;
	for (; from < box->says.serving; from++)
		call(sale, from);
	check_called(sale, &input, sale->on_the_way - on_the_way);
	if ((sale->tick - ONSALE_OPEN) % (ONSALE_SAMPLE_S * ONSALE_TICKS_S) == 0 || sale->sold_out)
		sample(sale, &input);
}

static void tick(struct onsale *sale)
{
	uint32_t who = sale->wheel.first[sale->tick];

	if (sale->tick == ONSALE_OPEN)
		onsale_box_draw(sale);
	arrive(sale);
	if (sale->tick >= ONSALE_OPEN)
		storm(sale);
	while (who != ONSALE_NOBODY) {
		uint32_t next = sale->people[who].next;

		act(sale, who);
		who = next;
	}
	onsale_box_settle(sale);
	if (sale->tick < ONSALE_OPEN)
		return;
	if (sale->tick >= ONSALE_OPEN + CALL_TICKS)
		sale->on_the_way -= sale->called_at[sale->tick - CALL_TICKS];
	if (sale->tick % ONSALE_TICKS_S == 0)
		control(sale);
}

static void make_room(struct onsale *sale)
{
	uint32_t users = sale->crowd.count;

	sale->people = calloc(users, sizeof(*sale->people));
	sale->order = calloc(users, sizeof(*sale->order));
	sale->wheel.first = malloc(ONSALE_END * sizeof(uint32_t));
	sale->wheel.last = malloc(ONSALE_END * sizeof(uint32_t));
	sale->called_at = calloc(ONSALE_END, sizeof(uint32_t));
	sale->samples = calloc(ONSALE_SALE_S / ONSALE_SAMPLE_S + 2, sizeof(*sale->samples));
	USH_ASSERT(sale->people != NULL);
	USH_ASSERT(sale->order != NULL);
	USH_ASSERT(sale->wheel.first != NULL);
	USH_ASSERT(sale->wheel.last != NULL);
	USH_ASSERT(sale->called_at != NULL);
	USH_ASSERT(sale->samples != NULL);
	for (uint32_t tier = 0; tier <= USH_ROOM_TIERS; tier++) {
		/* Untouched pages cost nothing. */
		sale->owner[tier] = malloc(users * sizeof(uint32_t));
		USH_ASSERT(sale->owner[tier] != NULL);
	}
	memset(sale->wheel.first, 0xff, ONSALE_END * sizeof(uint32_t));
	for (uint32_t i = 0; i < users; i++)
		sale->people[i].place = ONSALE_NOBODY;
}

void onsale_play(struct onsale *sale)
{
	struct ush_engine_audit audit;
	struct ush_message message;

	make_room(sale);
	onsale_box_open(sale);
	for (sale->tick = 0; sale->tick < ONSALE_END && !sale->sold_out; sale->tick++)
		tick(sale);
	/* The engine's own sums, and those of the answers that people got. */
	sale->counts.violations += ush_engine_audit(sale->box.h.engine, &audit, &message) != 0 ||
				   audit.double_sold != 0;
	for (uint32_t class = 0; class < ONSALE_CLASSES; class ++)
		audit.sold_seats -= sale->counts.seats[class];
	sale->counts.violations += audit.sold_seats != 0;
	if (onsale_has(sale, ONSALE_TOKEN))
		sale->counts.forged_passed +=
			sale->counts.frames_forged -
			sale->box.h.engine->loops[0].counters.verdict[USH_VERDICT_TOKEN_FORGED];
	sale->counts.violations += sale->counts.forged_passed;
}

void onsale_free(struct onsale *sale)
{
	onsale_box_close(sale);
	free(sale->people);
	free(sale->order);
	free(sale->wheel.first);
	free(sale->wheel.last);
	free(sale->called_at);
	free(sale->samples);
	free(sale->visits);
	free(sale->crowd.farm_until_ns);
	for (uint32_t tier = 0; tier <= USH_ROOM_TIERS; tier++) {
		free(sale->owner[tier]);
		free(sale->waits[tier].ticks);
	}
}
