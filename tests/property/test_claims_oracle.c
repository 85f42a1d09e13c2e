/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random requests of many users on small venues, every reply and every seat compared with a plain
 * oracle (oracle.h); now and then the box is restarted from its log, and goes on.
 *
 * USH_SEED=n USH_SEEDS=k USH_STEPS=m repeats k runs of m requests from seed n on.
 *
 * Owns:  one engine, its log, the oracle.
 * Reads: USH_SEED, USH_SEEDS, USH_STEPS.
 * Never: DPDK, files.
 */
#include <string.h>

#include "../replay.h"
#include "../tap.h"
#include "oracle.h"

#define SEEDS 200u
#define STEPS 5000u
#define BURST 8u
#define HISTORY 64u
/* The wheel looks at up to 128 ticks a turn. */
#define STEP_NS_MAX (32ull << ORACLE_TICK_BITS)
#define COMPARE_EVERY 200u
#define TIERS 5u
/* One burst of so many is before a change of an event. */
#define CHANGE_EVERY 150u

/* What an event's image is made of now. */
struct venue {
	struct ush_venue_header header;
	struct ush_venue_tier tiers[TIERS];
	struct ush_venue_section sections[ORACLE_SECTIONS];
	struct ush_venue_row rows[ORACLE_ROWS];
	uint32_t changes;
};

struct run {
	struct venue venue[ORACLE_EVENTS + 1];
	struct ush_random random;
	struct harness *h;
	struct oracle *o;
	struct replay replay;
	uint32_t steps;
	uint64_t cookie;
	uint32_t sent_top[ORACLE_EVENTS + 1][ORACLE_USERS + 1];
	struct oracle_request history[HISTORY];
	uint32_t history_count;
	/* The burst being asked. */
	struct oracle_request burst[BURST];
	struct ush_reply reply[BURST];
	uint64_t rows[BURST][ORACLE_ROWS];
	uint32_t burst_row_count[BURST];
	uint32_t answered;
	bool failed;
};

/* Replies seen, over all runs. */
static uint64_t seen[256][USH_STATUS_COUNT];

/* Too large for a stack. */
static struct harness harness[2], scratch;
static struct oracle oracle;

static uint32_t below(struct run *run, uint32_t bound)
{
	return (uint32_t)ush_random_below(&run->random, bound);
}

static void fail(struct run *run, const char *what)
{
	if (!run->failed)
		printf("# step %u: %s\n", run->steps, what);
	run->failed = true;
}

/* ---- the venues ---- */

static uint64_t random_row(struct run *run)
{
	uint32_t width = 1 + below(run, below(run, 2) == 0 ? 64 : 10);
	uint64_t seats = width == 64 ? ~0ull : (1ull << width) - 1;

	/* Some rows have gaps. */
	if (below(run, 3) == 0)
		seats &= ush_random_next(&run->random) | 1;
	return seats << below(run, 65 - width);
}

/* Rows from `first` on, drawn anew. */
static void describe_rows(struct run *run, uint32_t event, uint32_t first)
{
	struct oracle_event *e = &run->o->event[event];
	struct venue *venue = &run->venue[event];
	uint32_t section = 0;

	for (uint32_t r = first; r < e->row_count; r++) {
		struct ush_venue_row *row = &venue->rows[r];
		uint64_t rest;

		*row = (struct ush_venue_row){.seats = random_row(run)};
		rest = row->seats;
		for (uint32_t t = 0; t < 3; t++) {
			row->tier_mask[t] = rest & ush_random_next(&run->random);
			rest &= ~row->tier_mask[t];
		}
		for (uint32_t t = 0; t < 4; t++)
			row->tier[t] = (uint8_t)below(run, TIERS);
		if (below(run, 4) == 0)
			row->house = row->seats & ush_random_next(&run->random);
		while (r >= e->section_first[section + 1])
			section++;
		row->section = (uint16_t)section;
		oracle_row(e, r, row, venue->tiers, true);
	}
}

static void *image_of(const struct venue *venue, size_t *bytes)
{
	struct harness_venue parts = {.header = venue->header,
		.tiers = venue->tiers,
		.sections = venue->sections,
		.rows = venue->rows};

	return harness_image_of(&parts, bytes);
}

/* Rows are added to the last section, or prices change, or both. */
static void change_event(struct run *run)
{
	uint32_t event = 1 + below(run, ORACLE_EVENTS), row;
	struct ush_request request = {.op = USH_OP_EVENT_CHANGE, .event = event};
	struct oracle_event *e = &run->o->event[event];
	struct venue *venue = &run->venue[event];
	uint32_t more = below(run, 2), before = e->row_count;
	struct ush_message message = {{0}};
	struct ush_change *change;
	struct ush_reply reply;
	size_t bytes;
	void *image;

	if (e->status == USH_EVENT_STATUS_COMPLETED || e->status == USH_EVENT_STATUS_CANCELLED ||
		run->replay.change_count == REPLAY_CHANGES)
		return;
	if (before + more > ORACLE_ROWS)
		more = 0;
	for (uint32_t t = 1; t < TIERS && (more == 0 || below(run, 2) == 0); t++)
		venue->tiers[t].price = below(run, 10000);
	venue->tiers[TIERS - 1].price = 10000 + venue->changes++;
	e->row_count += more;
	e->section_first[e->section_count] += more;
	venue->sections[e->section_count - 1].row_count += more;
	venue->header.row_count += more;
	describe_rows(run, event, before);
	for (uint32_t r = 0; r < before; r++)
		oracle_row(e, r, &venue->rows[r], venue->tiers, false);
	image = image_of(venue, &bytes);
	replay_change(&run->replay, image, bytes);
	if (ush_engine_change_build(run->h->engine, event, 0, NULL, image, bytes, &change, &row,
		    &message) != USH_STATUS_OK) {
		fail(run, message.text);
		return;
	}
	reply = harness_ask_with(run->h, &request, NULL, 0, change);
	seen[request.op][reply.status % USH_STATUS_COUNT]++;
	if (reply.status != USH_STATUS_OK || reply.detail != 0 ||
		reply.hold_version != venue->changes || reply.sequence <= run->o->sequence)
		fail(run, "an event is not changed");
	run->o->sequence = reply.sequence;
	replay_collect(&run->replay, ush_engine_log(run->h->engine));
}

static void make_event(struct run *run, uint32_t event)
{
	static const uint32_t limits[] = {3, 8, 40, 100, 200};
	struct oracle_event *e = &run->o->event[event];
	struct venue *venue = &run->venue[event];
	struct ush_venue_section *sections = venue->sections;
	size_t bytes;
	void *image;

	e->section_count = 1 + below(run, ORACLE_SECTIONS);
	for (uint32_t i = 0; i < e->section_count; i++) {
		sections[i].row_first = e->row_count;
		sections[i].row_count = 1 + below(run, ORACLE_ROWS / ORACLE_SECTIONS);
		e->section_first[i] = e->row_count;
		e->row_count += sections[i].row_count;
		e->section_first[i + 1] = e->row_count;
	}
	for (uint32_t i = 0; i < TIERS; i++)
		venue->tiers[i] = (struct ush_venue_tier){
			.price = i == 0 ? USH_TIER_PRICE_MAX : below(run, 10000)};
	describe_rows(run, event, 0);
	e->hold_ms = 10 + below(run, below(run, 2) == 0 ? 3000 : 60000);
	e->hold_ms_max = e->hold_ms + below(run, 60000);
	e->user_seats_max = limits[below(run, 5)];
	e->hold_budget_s = below(run, 3) == 0 ? 1 + below(run, 2000) : 0;
	e->cool_down_ms = below(run, 3) == 0 ? 1 + below(run, 3000) : 0;
	e->status = USH_EVENT_STATUS_ON_SALE;
	venue->header = (struct ush_venue_header){
		.magic = USH_VENUE_MAGIC,
		.version = USH_VENUE_VERSION,
		.tier_count = TIERS,
		.section_count = e->section_count,
		.row_count = e->row_count,
		.hold_ms = e->hold_ms,
		.hold_ms_max = e->hold_ms_max,
		.user_seats_max = (uint16_t)e->user_seats_max,
		.hold_budget_s = e->hold_budget_s,
		.cool_down_ms = e->cool_down_ms,
		.currency = "EUR",
	};
	image = image_of(venue, &bytes);
	harness_event_of(run->h, event, image, bytes);
	replay_image(&run->replay, event, image, bytes);
}

/* ---- requests ---- */

static void random_legs(struct run *run, struct oracle_request *q)
{
	const struct oracle_event *e = &run->o->event[q->r.event];
	uint32_t legs = below(run, 3) != 0 ? 1 : 1 + below(run, USH_LEG_COUNT_MAX);

	if (legs > e->row_count)
		legs = e->row_count;
	for (q->leg_count = 0; q->leg_count < legs; q->leg_count++) {
		uint32_t i = q->leg_count, row, j;
		uint64_t seats = 0, mask;

		do {
			row = below(run, e->row_count);
			for (j = 0; j < i && q->row[j] != row; j++)
				;
		} while (j < i);
		for (uint32_t s = 0; s < USH_ROW_SEATS_MAX; s++) {
			if (e->seat[row][s].what != ORACLE_MISSING)
				seats |= 1ull << s;
		}
		/* Mostly free seats, mostly few of them. */
		mask = below(run, 3) != 0 ? oracle_free_mask(run->o, q->r.event, row) : seats;
		mask &= ush_random_next(&run->random);
		for (uint32_t k = below(run, 4); k > 0; k--)
			mask &= ush_random_next(&run->random);
		if (mask == 0)
			mask = seats & -seats;
		if (below(run, 100) == 0)
			mask |= 1ull << below(run, 64);
		if (below(run, 200) == 0)
			row = e->row_count + i * 1000 + below(run, 1000);
		q->row[i] = (uint16_t)row;
		q->mask[i] = mask;
	}
}

static uint64_t random_hold(struct run *run, struct ush_request *r)
{
	const struct oracle *o = run->o;
	const struct oracle_hold *hold;
	uint32_t recent = o->hold_count < 80 ? o->hold_count : 80;

	if (o->hold_count == 0)
		return ush_random_next(&run->random);
	hold = &o->hold[below(run, o->hold_count)];
	/* Mostly one that lives. */
	for (uint32_t i = 0; i < 12 && hold->state != USH_HOLD_STATE_HELD; i++)
		hold = &o->hold[o->hold_count - 1 - below(run, recent)];
	r->event = hold->event;
	r->user = hold->user;
	switch (below(run, 16)) {
	case 0:
		return hold->id ^ 1ull << below(run, 64);
	case 1:
		r->user = 1 + below(run, ORACLE_USERS);
		return hold->id;
	case 2:
		r->event = 1 + below(run, ORACLE_EVENTS);
		return hold->id;
	case 3:
		return ush_random_next(&run->random);
	default:
		return hold->id;
	}
}

static uint32_t random_id(struct run *run, const struct ush_request *r)
{
	uint32_t *top = &run->sent_top[r->event][r->user];
	uint32_t back;

	switch (below(run, 24)) {
	case 0:
		/* Leaves a gap, up to more than a window. */
		*top += 1 + below(run, 80);
		return *top;
	case 1:
		/* One that may lie below the window, in a gap, or be used. */
		back = below(run, 80);
		return back < *top ? *top - back : 1;
	default:
		return ++*top;
	}
}

static uint8_t random_op(struct run *run)
{
	static const struct {
		uint32_t weight;
		uint8_t op;
	} table[] = {
		{52, USH_OP_RESERVE},
		{18, USH_OP_RELEASE},
		{2, USH_OP_CONFIRM},
		{8, USH_OP_QUERY_HOLD},
		{6, USH_OP_QUERY_SECTION},
		{6, USH_OP_STATUS},
		{3, USH_OP_BLOCK},
		{4, USH_OP_UNBLOCK},
		{1, USH_OP_EVENT_STATUS},
	};
	uint32_t pick = below(run, 100), i = 0;

	while (pick >= table[i].weight)
		pick -= table[i++].weight;
	return table[i].op;
}

static void random_request(struct run *run, struct oracle_request *q)
{
	struct ush_request *r = &q->r;

	*q = (struct oracle_request){
		.r.op = random_op(run), .r.event = 1 + below(run, ORACLE_EVENTS)};
	switch (r->op) {
	case USH_OP_RESERVE:
		r->user = 1 + below(run, ORACLE_USERS);
		r->request_id = random_id(run, r);
		random_legs(run, q);
		if (below(run, 4) == 0)
			r->hold_ms = below(run, 5000);
		else if (below(run, 20) == 0)
			r->hold_ms = run->o->event[r->event].hold_ms_max + below(run, 2);
		break;
	case USH_OP_RELEASE:
		r->hold = random_hold(run, r);
		r->user = r->user != 0 ? r->user : 1;
		r->request_id = random_id(run, r);
		break;
	case USH_OP_CONFIRM:
	case USH_OP_QUERY_HOLD:
		r->hold = random_hold(run, r);
		r->user = r->user != 0 ? r->user : 1;
		r->request_id = below(run, 3);
		break;
	case USH_OP_QUERY_SECTION:
		r->section = (uint16_t)below(run, ORACLE_SECTIONS + 1);
		r->row = (uint16_t)below(run, below(run, 4) == 0 ? 8 : 2);
		break;
	case USH_OP_BLOCK:
	case USH_OP_UNBLOCK:
		random_legs(run, q);
		break;
	case USH_OP_EVENT_STATUS:
		/* On sale most of the time; cancelled is for ever, so seldom and late. */
		r->arg = below(run, 4) == 0 ? below(run, 8) : USH_EVENT_STATUS_ON_SALE;
		if (r->arg == USH_EVENT_STATUS_CANCELLED && below(run, 6) != 0)
			r->arg = USH_EVENT_STATUS_PAUSED;
		break;
	default:
		break;
	}
	if (below(run, 300) == 0)
		r->event = ORACLE_EVENTS + 1 + below(run, 70000);
}

/* A repeat of an earlier request, sometimes with another body. */
static void repeat_request(struct run *run, struct oracle_request *q)
{
	uint32_t recent = run->history_count < HISTORY ? run->history_count : HISTORY;

	*q = run->history[below(run, recent)];
	if (below(run, 4) != 0)
		return;
	if (q->r.op == USH_OP_RESERVE)
		q->mask[q->leg_count - 1] ^= 1ull << below(run, 64);
	else
		q->r.hold ^= 1ull << below(run, 64);
	if (q->leg_count != 0 && q->mask[q->leg_count - 1] == 0)
		q->mask[q->leg_count - 1] = 1;
}

static struct ush_packet packet_of(struct run *run, struct oracle_request *q)
{
	struct {
		struct ush_extension_header header;
		struct ush_leg leg[USH_LEG_COUNT_MAX - 1];
	} legs = {.header = {.type = USH_EXTENSION_LEGS}};
	uint32_t bytes = 0;

	q->r.cookie = ++run->cookie;
	if (q->leg_count != 0) {
		q->r.row = q->row[0];
		q->r.mask = q->mask[0];
	}
	if (q->leg_count > 1) {
		legs.header.value = q->leg_count - 1;
		for (uint32_t i = 1; i < q->leg_count; i++)
			legs.leg[i - 1] = (struct ush_leg){.row = q->row[i], .mask = q->mask[i]};
		bytes = (uint32_t)(sizeof(legs.header) +
				   (q->leg_count - 1) * sizeof(struct ush_leg));
		legs.header.size = (uint16_t)bytes;
	}
	return harness_packet(run->h, &q->r, &legs, bytes);
}

/* ---- turns ---- */

/* Takes the replies of a turn; each belongs to one request of the burst. */
static void take_replies(struct run *run, uint32_t burst)
{
	const struct harness *h = run->h;

	for (uint32_t i = 0; i < h->reply_count; i++) {
		const uint8_t *data = h->out.send[i].data;
		const struct ush_reply *reply = &h->replies[i];
		uint64_t at = reply->cookie - run->burst[0].r.cookie;
		struct ush_extension_header rows;

		if (at >= burst) {
			fail(run, "a reply with a cookie that nobody sent");
			return;
		}
		run->reply[at] = *reply;
		run->burst_row_count[at] = 0;
		run->answered++;
		if (reply->size == USH_REPLY_BYTES)
			continue;
		memcpy(&rows, data + USH_REPLY_BYTES, sizeof(rows));
		if (rows.type != USH_EXTENSION_ROWS || rows.size > 8 + 8 * ORACLE_ROWS) {
			fail(run, "an extension that is not ROWS");
			return;
		}
		run->burst_row_count[at] = (rows.size - 8u) / 8u;
		memcpy(run->rows[at], data + USH_REPLY_BYTES + 8, rows.size - 8u);
	}
}

static void make_durable(struct run *run)
{
	harness_make_durable(run->h);
	replay_collect(&run->replay, ush_engine_log(run->h->engine));
}

static void all_loops(struct run *run)
{
	for (uint32_t i = 0; i < run->h->limits.loop_count; i++) {
		harness_turn(run->h, i, NULL, 0);
		if (run->h->reply_count != 0)
			fail(run, "a reply to nothing");
	}
}

/* Lets time pass, in steps that the wheel keeps up with. */
static void pass_time(struct run *run, uint64_t to_ns)
{
	while (run->h->now_ns < to_ns) {
		run->h->now_ns = ush_min64(to_ns, run->h->now_ns + STEP_NS_MAX);
		all_loops(run);
		make_durable(run);
	}
	/* Once more, for those that wait for another loop's line. */
	all_loops(run);
	make_durable(run);
	oracle_turn(run->o, run->h->now_ns);
}

static uint64_t random_time(struct run *run)
{
	const struct oracle *o = run->o;
	uint64_t now = run->h->now_ns;

	if (o->hold_count != 0 && below(run, 10) == 0) {
		/* Exactly a deadline, or one nanosecond beside it. */
		uint32_t recent = o->hold_count < 30 ? o->hold_count : 30;
		const struct oracle_hold *hold = &o->hold[o->hold_count - 1 - below(run, recent)];
		uint64_t at = hold->deadline_ns - 1 + below(run, 3);
		if (hold->state == USH_HOLD_STATE_HELD && at >= now && at < now + 5000000000ull)
			return at;
	}
	switch (below(run, 32)) {
	case 0:
		return now + below(run, 2000) * 1000000ull;
	case 1 ... 4:
		return now + below(run, 50) * 1000000ull;
	case 5 ... 14:
		return now + below(run, 5000000);
	default:
		return now;
	}
}

static void ask_burst(struct run *run)
{
	uint32_t burst = below(run, 5) < 3 ? 1 : 1 + below(run, BURST);
	uint32_t loop = below(run, run->h->limits.loop_count);
	struct ush_packet packets[BURST];

	pass_time(run, random_time(run));
	for (uint32_t i = 0; i < burst; i++) {
		struct oracle_request *q = &run->burst[i];

		if (run->history_count != 0 && below(run, 7) == 0)
			repeat_request(run, q);
		else
			random_request(run, q);
		packets[i] = packet_of(run, q);
		if (q->r.op == USH_OP_RESERVE || q->r.op == USH_OP_RELEASE)
			run->history[run->history_count++ % HISTORY] = *q;
	}
	run->answered = 0;
	harness_turn(run->h, loop, packets, burst);
	take_replies(run, burst);
	make_durable(run);
	harness_turn(run->h, loop, NULL, 0);
	take_replies(run, burst);
	if (run->answered != burst)
		fail(run, "a request without a reply");
	for (uint32_t i = 0; i < burst && !run->failed; i++) {
		run->steps++;
		seen[run->burst[i].r.op][run->reply[i].status % USH_STATUS_COUNT]++;
		oracle_judge(run->o, &run->burst[i], &run->reply[i], run->rows[i],
			run->burst_row_count[i]);
		if (run->o->fault[0] == 0)
			continue;
		printf("# op %u event %u user %" PRIu64 " id %u hold %" PRIx64 ": status %u "
		       "(request %u of %u in loop %u)\n",
			run->burst[i].r.op, run->burst[i].r.event, run->burst[i].r.user,
			run->burst[i].r.request_id, run->burst[i].r.hold, run->reply[i].status, i,
			burst, loop);
		fail(run, run->o->fault);
	}
}

/* ---- whole states ---- */

static void compare_rows(struct run *run, struct harness *h)
{
	for (uint32_t n = 1; n <= ORACLE_EVENTS; n++) {
		const struct oracle_event *e = &run->o->event[n];
		for (uint32_t s = 0; s < e->section_count; s++) {
			struct ush_request query = {
				.op = USH_OP_QUERY_SECTION, .event = n, .section = (uint16_t)s};
			struct ush_reply reply = harness_ask(h, &query);
			const uint8_t *masks = h->out.send[0].data + USH_REPLY_BYTES + 8;

			if (reply.status != USH_STATUS_OK || reply.detail != 0) {
				fail(run, "a section cannot be read");
				return;
			}
			for (uint32_t r = e->section_first[s]; r < e->section_first[s + 1]; r++) {
				uint64_t mask;
				memcpy(&mask, masks + 8 * (r - e->section_first[s]), 8);
				if (mask != oracle_free_mask(run->o, n, r))
					fail(run, "the free seats of a row are others");
			}
		}
	}
}

static void compare_holds(struct run *run, struct harness *h)
{
	for (uint32_t i = 0; i < run->o->hold_count; i++) {
		const struct oracle_hold *hold = &run->o->hold[i];
		uint32_t state = ush_engine_hold_state(h->engine, hold->id);

		if (hold->state != USH_HOLD_STATE_FREE && state != hold->state)
			fail(run, "a hold has another state");
		if (hold->state == USH_HOLD_STATE_FREE && state != USH_HOLD_STATE_FREE &&
			state != USH_HOLD_STATE_RELEASED && state != USH_HOLD_STATE_EXPIRED)
			fail(run, "a hold that is over lives");
	}
}

static void compare(struct run *run, struct harness *h)
{
	struct ush_message message = {{0}};
	struct ush_engine_audit audit;
	struct oracle_sums sums;

	oracle_sum(run->o, &sums);
	if (ush_engine_audit(h->engine, &audit, &message) != 0) {
		fail(run, message.text);
		return;
	}
	if (audit.free_seats != sums.free_seats || audit.house_seats != sums.house_seats ||
		audit.held_seats != sums.held_seats || audit.sold_seats != sums.sold_seats ||
		audit.held_holds != sums.held_holds || audit.sold_holds != sums.sold_holds)
		fail(run, "the sums of the audit are others");
	compare_holds(run, h);
	compare_rows(run, h);
}

static void check_counters(struct run *run)
{
	for (uint32_t i = 0; i < run->h->limits.loop_count; i++) {
		struct ush_loop_counters c;
		uint64_t sum = 0;

		ush_loop_counters_read(ush_engine_loop(run->h->engine, i), &c);
		for (uint32_t k = 0; k < USH_STATUS_COUNT; k++)
			sum += c.status[k];
		for (uint32_t k = 0; k < USH_ANSWER_COUNT; k++)
			sum += c.answer[k];
		for (uint32_t k = 0; k < USH_DROP_COUNT; k++)
			sum += c.drop[k];
		if (c.rx_packets + c.control_messages != sum)
			fail(run, "the counters do not add up");
	}
}

/* Every accepted request that is in the window gets its answer again from the new engine. */
static void compare_windows(struct run *run)
{
	static struct oracle_request again[ORACLE_DONE];

	for (uint32_t n = 1; n <= ORACLE_EVENTS && !run->failed; n++) {
		for (uint32_t u = 1; u <= ORACLE_USERS && !run->failed; u++) {
			const struct oracle_user *user = &run->o->user[n][u];
			uint32_t count = user->done_count;

			for (uint32_t i = 0; i < count; i++)
				again[i] = user->done[i].request;
			for (uint32_t i = 0; i < count && !run->failed; i++) {
				struct ush_packet packet = packet_of(run, &again[i]);
				harness_turn(run->h, 0, &packet, 1);
				if (run->h->reply_count == 0) {
					make_durable(run);
					harness_turn(run->h, 0, NULL, 0);
				}
				if (run->h->reply_count != 1) {
					fail(run, "a repeat without a reply");
					return;
				}
				oracle_judge(run->o, &again[i], &run->h->replies[0], NULL, 0);
				if (run->o->fault[0] != 0)
					fail(run, run->o->fault);
			}
		}
	}
}

/* The box ends and starts again from its log; loops may be more or fewer. */
static void restart(struct run *run)
{
	struct harness *to = run->h == &harness[0] ? &harness[1] : &harness[0];
	struct ush_engine_limits limits = run->h->limits;
	struct ush_message message = {{0}};
	uint64_t credit = below(run, 2) == 0 ? 0 : below(run, 1000) * 1000000ull;

	check_counters(run);
	if (run->o->lines == UINT32_MAX)
		limits.loop_count = 1 + below(run, 3);
	if (replay_open(&run->replay, run->replay.count, to, &limits, run->h->now_ns, &message) !=
		0) {
		fail(run, message.text);
		return;
	}
	harness_close(run->h);
	run->h = to;
	oracle_restart(run->o, 0, 0);
	compare(run, to);
	compare_windows(run);
	if (credit != 0) {
		uint64_t sequence = ush_log_reserved(ush_engine_log(to->engine));

		sequence += ush_log_is_header(sequence);
		ush_loop_resume(ush_engine_loop(to->engine, 0), credit, to->now_ns);
		make_durable(run);
		oracle_restart(run->o, credit, sequence);
	}
}

/* Whatever prefix of the log a crash leaves is a state without contradictions. */
static void check_prefix(struct run *run)
{
	struct ush_message message = {{0}};
	struct ush_engine_audit audit;
	size_t count = (size_t)below(run, (uint32_t)run->replay.count + 1);

	if (replay_open(&run->replay, count, &scratch, &run->h->limits, run->h->now_ns, &message) !=
			0 ||
		ush_engine_audit(scratch.engine, &audit, &message) != 0)
		fail(run, message.text);
	harness_close(&scratch);
}

static void start(struct run *run, uint64_t seed)
{
	static const uint32_t hold_counts[] = {64, 128, 4096, 4096, 4096};
	struct ush_engine_limits limits;

	ush_random_init(&run->random, seed);
	replay_init(&run->replay);
	memset(&oracle, 0, sizeof(oracle));
	run->o = &oracle;
	run->h = &harness[0];
	harness_limits_small(&limits);
	limits.hold_count = hold_counts[below(run, 5)];
	limits.user_count = 64;
	limits.row_count = 64;
	limits.log_block_count = 256;
	if (limits.hold_count == 4096)
		limits.loop_count = 1 + below(run, 3);
	run->o->lines = limits.hold_count == 4096 ? UINT32_MAX : limits.hold_count - 1;
	harness_open(run->h, &limits);
	for (uint32_t n = 1; n <= ORACLE_EVENTS; n++)
		make_event(run, n);
	replay_collect(&run->replay, ush_engine_log(run->h->engine));
	oracle_turn(run->o, run->h->now_ns);
}

/* ret: true if the whole run agreed. */
static bool run_seed(uint64_t seed, uint32_t steps)
{
	static struct run run;
	uint32_t compare_at = COMPARE_EVERY, restart_at = steps / 3;

	memset(&run, 0, sizeof(run));
	start(&run, seed);
	while (run.steps < steps && !run.failed && oracle.hold_count + BURST < ORACLE_HOLDS) {
		if (below(&run, CHANGE_EVERY) == 0)
			change_event(&run);
		ask_burst(&run);
		if (!run.failed && run.steps >= compare_at) {
			compare(&run, run.h);
			compare_at += COMPARE_EVERY;
		}
		if (!run.failed && run.steps >= restart_at) {
			restart(&run);
			restart_at += 1 + steps / 3;
		}
	}
	if (!run.failed)
		restart(&run);
	if (!run.failed)
		check_prefix(&run);
	if (run.failed)
		printf("# failed: USH_SEED=%" PRIu64 " USH_SEEDS=1 USH_STEPS=%u\n", seed, steps);
	harness_close(run.h);
	replay_free(&run.replay);
	return !run.failed;
}

static void print_seen(void)
{
#define X(name, value) [value] = #name,
	static const char *const ops[256] = {USH_OP_EACH(X)};
	static const char *const statuses[USH_STATUS_COUNT] = {USH_STATUS_EACH(X)};
#undef X

	for (uint32_t op = 0; op < 256; op++) {
		if (ops[op] == NULL)
			continue;
		printf("# %s:", ops[op]);
		for (uint32_t k = 0; k < USH_STATUS_COUNT; k++) {
			if (seen[op][k] != 0)
				printf(" %s %" PRIu64, statuses[k], seen[op][k]);
		}
		printf("\n");
	}
}

static uint32_t number_from(const char *name, uint32_t fallback)
{
	const char *text = getenv(name);

	return text != NULL ? (uint32_t)strtoul(text, NULL, 0) : fallback;
}

/*
 * Goal: whatever is asked, the engine answers as the protocol says, and its log is the truth.
 * Method: random bursts against the oracle; restarts from the log in between and at the end.
 */
static void test_claims_random_requests_agree_with_oracle(void)
{
	uint64_t seed = tap_seed(1);
	uint32_t seeds = number_from("USH_SEEDS", SEEDS);
	uint32_t steps = number_from("USH_STEPS", STEPS);

	for (uint32_t i = 0; i < seeds && tap_failures_here < 3; i++)
		CHECK(run_seed(seed + i, steps));
	print_seen();
}

int main(void)
{
	TAP_RUN(test_claims_random_requests_agree_with_oracle);
	return tap_end();
}
