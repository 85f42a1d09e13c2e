/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "oracle.h"

#define BIT(status) (1ull << (status))

/* The first thing found wrong is kept. */
#define WANT(o, condition) \
	do { \
		if (!(condition) && (o)->fault[0] == 0) \
			snprintf((o)->fault, sizeof((o)->fault), "%s:%d: not so: %s", __func__, \
				__LINE__, #condition); \
	} while (0)

#define WANT_EQ(o, a, b) \
	do { \
		uint64_t want_a = (uint64_t)(a), want_b = (uint64_t)(b); \
		if (want_a != want_b && (o)->fault[0] == 0) \
			snprintf((o)->fault, sizeof((o)->fault), \
				"%s:%d: %s is %" PRIu64 ", expected %s = %" PRIu64, __func__, \
				__LINE__, #a, want_a, #b, want_b); \
	} while (0)

void oracle_row(struct oracle_event *e, uint32_t r, const struct ush_venue_row *row,
	const struct ush_venue_tier *tiers, bool fresh)
{
	for (uint32_t s = 0; s < USH_ROW_SEATS_MAX; s++) {
		uint32_t tier = 0;

		for (uint32_t t = 0; t < 3; t++) {
			if ((row->tier_mask[t] >> s & 1) != 0)
				tier = t + 1;
		}
		e->seat[r][s].price = tiers[row->tier[tier]].price;
		if (fresh && (row->seats >> s & 1) != 0)
			e->seat[r][s].what =
				(row->house >> s & 1) != 0 ? ORACLE_HOUSE : ORACLE_FREE;
	}
}

/* ---- seats and holds ---- */

static void seat_becomes(struct oracle *o, uint32_t event, struct oracle_seat *seat,
	enum oracle_what what, uint32_t hold)
{
	seat->what = what;
	seat->hold = hold;
	seat->changed = o->turn;
	o->event[event].changed = o->turn;
}

static void hold_ends(struct oracle *o, uint32_t index)
{
	struct oracle_hold *hold = &o->hold[index];
	struct oracle_event *e = &o->event[hold->event];

	for (uint32_t r = 0; r < e->row_count; r++) {
		for (uint32_t s = 0; s < USH_ROW_SEATS_MAX; s++) {
			struct oracle_seat *seat = &e->seat[r][s];
			if (seat->what == ORACLE_TAKEN && seat->hold == index)
				seat_becomes(o, hold->event, seat, ORACLE_FREE, 0);
		}
	}
	hold->state = USH_HOLD_STATE_FREE;
	o->lines_used -= hold->legs;
	o->lines_freed += hold->legs;
}

void oracle_turn(struct oracle *o, uint64_t now_ns)
{
	uint64_t tick = 1ull << ORACLE_TICK_BITS;

	o->now_ns = now_ns;
	o->turn++;
	for (uint32_t i = 0; i < o->hold_count; i++) {
		if (o->hold[i].state != USH_HOLD_STATE_HELD)
			continue;
		if ((o->hold[i].deadline_ns + tick - 1) / tick > now_ns / tick)
			continue;
		oracle_cool_down(o, &o->hold[i], o->hold[i].deadline_ns);
		hold_ends(o, i);
	}
	/* What has ended by the clock is settled before the requests of the turn. */
	o->turn++;
	o->lines_freed = 0;
}

static uint32_t find_hold(const struct oracle *o, const struct ush_request *r)
{
	for (uint32_t i = o->hold_count; i-- > 0;) {
		const struct oracle_hold *hold = &o->hold[i];
		if (hold->id == r->hold)
			return hold->user == r->user && hold->event == r->event &&
					       hold->state != USH_HOLD_STATE_FREE
				       ? i
				       : ORACLE_NO_HOLD;
	}
	return ORACLE_NO_HOLD;
}

static uint32_t user_seats(const struct oracle *o, uint32_t event, uint64_t user)
{
	const struct oracle_event *e = &o->event[event];
	uint32_t seats = 0;

	for (uint32_t r = 0; r < e->row_count; r++) {
		for (uint32_t s = 0; s < USH_ROW_SEATS_MAX; s++) {
			const struct oracle_seat *seat = &e->seat[r][s];
			if (seat->what == ORACLE_TAKEN && o->hold[seat->hold].user == user)
				seats++;
		}
	}
	return seats;
}

uint64_t oracle_free_mask(const struct oracle *o, uint32_t event, uint32_t row)
{
	uint64_t mask = 0;

	for (uint32_t s = 0; s < USH_ROW_SEATS_MAX; s++) {
		if (o->event[event].seat[row][s].what == ORACLE_FREE)
			mask |= 1ull << s;
	}
	return mask;
}

static uint64_t changed_mask(const struct oracle *o, uint32_t event, uint32_t row)
{
	uint64_t mask = 0;

	for (uint32_t s = 0; s < USH_ROW_SEATS_MAX; s++) {
		if (o->event[event].seat[row][s].changed == o->turn)
			mask |= 1ull << s;
	}
	return mask;
}

static bool is_sold_out(const struct oracle *o, uint32_t event)
{
	const struct oracle_event *e = &o->event[event];
	uint32_t sold = 0;

	for (uint32_t r = 0; r < e->row_count; r++) {
		for (uint32_t s = 0; s < USH_ROW_SEATS_MAX; s++) {
			const struct oracle_seat *seat = &e->seat[r][s];
			if (seat->what == ORACLE_FREE ||
				(seat->what == ORACLE_TAKEN &&
					o->hold[seat->hold].state != USH_HOLD_STATE_SOLD))
				return false;
			sold += seat->what == ORACLE_TAKEN;
		}
	}
	return sold != 0;
}

void oracle_sum(const struct oracle *o, struct oracle_sums *sums)
{
	*sums = (struct oracle_sums){0};
	for (uint32_t i = 0; i < o->hold_count; i++) {
		sums->held_holds += o->hold[i].state == USH_HOLD_STATE_HELD;
		sums->sold_holds += o->hold[i].state == USH_HOLD_STATE_SOLD;
	}
	for (uint32_t n = 1; n <= ORACLE_EVENTS; n++) {
		for (uint32_t r = 0; r < o->event[n].row_count; r++) {
			for (uint32_t s = 0; s < USH_ROW_SEATS_MAX; s++) {
				const struct oracle_seat *seat = &o->event[n].seat[r][s];
				sums->free_seats += seat->what == ORACLE_FREE;
				sums->house_seats += seat->what == ORACLE_HOUSE;
				if (seat->what != ORACLE_TAKEN)
					continue;
				sums->sold_seats +=
					o->hold[seat->hold].state == USH_HOLD_STATE_SOLD;
				sums->held_seats +=
					o->hold[seat->hold].state == USH_HOLD_STATE_HELD;
			}
		}
	}
}

/* ---- replies ---- */

static void check_echo(struct oracle *o, const struct ush_request *r, const struct ush_reply *y)
{
	WANT_EQ(o, y->magic, USH_REPLY_MAGIC);
	WANT_EQ(o, y->version, USH_VERSION);
	WANT_EQ(o, y->op, r->op);
	WANT_EQ(o, y->event, r->event);
	WANT_EQ(o, y->request_id, r->request_id);
	WANT_EQ(o, y->cookie, r->cookie);
	WANT_EQ(o, y->reserved0, 0);
}

/* The table of "Replies" for what is not OK. */
static void check_refusal(struct oracle *o, const struct ush_request *r, const struct ush_reply *y)
{
	WANT_EQ(o, y->deadline_ns, 0);
	WANT_EQ(o, y->amount, 0);
	if (y->status != USH_STATUS_TAKEN && y->status != USH_STATUS_TAKEN_NOW)
		WANT_EQ(o, y->hold, r->hold);
	if (y->status != USH_STATUS_WRONG_STATE && y->status != USH_STATUS_EXPIRED)
		WANT_EQ(o, y->state, USH_HOLD_STATE_FREE);
}

/* A change has a later record than any change answered before. */
static void check_change(struct oracle *o, const struct ush_reply *y)
{
	WANT(o, y->sequence > o->sequence);
	o->sequence = y->sequence;
}

static void check_hold(struct oracle *o, uint32_t index, const struct ush_reply *y)
{
	const struct oracle_hold *hold = &o->hold[index];

	WANT_EQ(o, y->hold, hold->id);
	WANT_EQ(o, y->state, hold->state);
	WANT_EQ(o, y->deadline_ns, hold->deadline_ns);
	WANT_EQ(o, y->amount, hold->amount);
}

/* ---- request ids ---- */

/* ret: the highest id that was accepted. */
static uint32_t top_accepted(const struct oracle_user *user)
{
	uint32_t top = 0;

	for (uint32_t i = 0; i < user->done_count; i++) {
		if (user->done[i].status == USH_STATUS_OK &&
			user->done[i].request.r.request_id > top)
			top = user->done[i].request.r.request_id;
	}
	return top;
}

/* Drops what is outside the window now and would be after a restart, too. */
static void forget_old(struct oracle_user *user)
{
	uint32_t accepted = top_accepted(user), kept = 0;

	for (uint32_t i = 0; i < user->done_count; i++) {
		uint32_t id = user->done[i].request.r.request_id;
		uint32_t top = user->done[i].status == USH_STATUS_OK ? accepted : user->top;
		if (id + USH_REQUEST_WINDOW > top)
			user->done[kept++] = user->done[i];
	}
	user->done_count = kept;
}

static void remember(struct oracle *o, const struct oracle_request *q, uint8_t status,
	uint32_t hold, uint64_t sequence)
{
	struct oracle_user *user = &o->user[q->r.event][q->r.user];

	if (user->done_count == ORACLE_DONE)
		forget_old(user);
	user->done[user->done_count++] = (struct oracle_done){
		.request = *q, .sequence = sequence, .hold = hold, .status = status};
	if (q->r.request_id > user->top)
		user->top = q->r.request_id;
}

static bool same_body(const struct oracle_request *a, const struct oracle_request *b)
{
	if (a->r.op != b->r.op || a->r.hold != b->r.hold || a->r.hold_ms != b->r.hold_ms ||
		a->leg_count != b->leg_count)
		return false;
	for (uint32_t i = 0; i < a->leg_count; i++) {
		if (a->row[i] != b->row[i] || a->mask[i] != b->mask[i])
			return false;
	}
	return true;
}

static void judge_accepted_again(struct oracle *o, const struct oracle_request *q,
	const struct oracle_done *done, const struct ush_reply *y)
{
	const struct oracle_hold *hold = &o->hold[done->hold];

	WANT_EQ(o, y->status, USH_STATUS_OK);
	WANT_EQ(o, y->detail, 1);
	WANT_EQ(o, y->hold, hold->id);
	WANT_EQ(o, y->sequence, done->sequence);
	if (q->r.op == USH_OP_RESERVE && hold->state != USH_HOLD_STATE_FREE) {
		check_hold(o, done->hold, y);
		return;
	}
	WANT_EQ(o, y->state, USH_HOLD_STATE_FREE);
	WANT_EQ(o, y->deadline_ns, 0);
	WANT_EQ(o, y->amount, 0);
}

/* Rules 1 to 6 of "Idempotency". ret: true if the id is not new, and the reply was judged. */
static bool judge_window(
	struct oracle *o, const struct oracle_request *q, const struct ush_reply *y)
{
	const struct oracle_user *user = &o->user[q->r.event][q->r.user];
	const struct oracle_done *done = NULL;
	uint32_t behind = user->top - q->r.request_id;
	bool same;

	if (q->r.request_id > user->top)
		return false;
	if (behind >= USH_REQUEST_WINDOW) {
		WANT_EQ(o, y->status, USH_STATUS_STALE);
		return true;
	}
	for (uint32_t i = 0; i < user->done_count; i++) {
		if (user->done[i].request.r.request_id == q->r.request_id)
			done = &user->done[i];
	}
	if (done == NULL)
		return false;
	same = same_body(&done->request, q);
	if (done->status == USH_STATUS_OK && same)
		judge_accepted_again(o, q, done, y);
	else if (done->status == USH_STATUS_OK)
		WANT_EQ(o, y->status, USH_STATUS_MISMATCH);
	else if (behind >= 8)
		/* Refusals of the 8 highest ids are remembered. */
		WANT_EQ(o, y->status, USH_STATUS_STALE);
	else if (same)
		WANT_EQ(o, y->status, done->status);
	else
		/* One byte of a refused body is kept: one other body in 256 passes for it. */
		WANT(o, y->status == USH_STATUS_MISMATCH || y->status == done->status);
	return true;
}

/* ---- operations ---- */

/* What stands against a request for seats. */
struct obstacles {
	/* Statuses that may be answered; 0: only OK. */
	uint64_t statuses;
	uint32_t seats;
	uint64_t price;
	/* Some seat asked for changed hands in this turn. */
	bool moving;
	uint32_t leg;
	uint64_t way;
	uint64_t missing_legs;
};

static void look_at_leg(const struct oracle *o, const struct oracle_request *q, uint32_t leg,
	bool house_is_free, struct obstacles *out)
{
	const struct oracle_event *e = &o->event[q->r.event];
	uint64_t way = 0;

	for (uint32_t s = 0; s < USH_ROW_SEATS_MAX; s++) {
		const struct oracle_seat *seat;

		if ((q->mask[leg] >> s & 1) == 0)
			continue;
		if (q->row[leg] >= e->row_count || e->seat[q->row[leg]][s].what == ORACLE_MISSING) {
			out->missing_legs |= 1ull << leg;
			continue;
		}
		seat = &e->seat[q->row[leg]][s];
		out->seats++;
		out->price += seat->price;
		out->moving |= seat->changed == o->turn;
		if (seat->what == ORACLE_TAKEN || (seat->what == ORACLE_HOUSE && !house_is_free))
			way |= 1ull << s;
	}
	if (way != 0 && out->way == 0) {
		out->way = way;
		out->leg = leg;
	}
}

static void look(const struct oracle *o, const struct oracle_request *q, bool house_is_free,
	struct obstacles *out)
{
	*out = (struct obstacles){0};
	for (uint32_t leg = 0; leg < q->leg_count; leg++)
		look_at_leg(o, q, leg, house_is_free, out);
	if (out->missing_legs != 0)
		out->statuses |= BIT(USH_STATUS_NO_SUCH_SEAT);
	if (out->way != 0)
		out->statuses |= BIT(USH_STATUS_TAKEN);
	/* In the turn in which it changes hands, a seat may look either way. */
	if (out->moving)
		out->statuses |= BIT(USH_STATUS_TAKEN) | BIT(USH_STATUS_TAKEN_NOW);
}

static void check_way(struct oracle *o, const struct oracle_request *q,
	const struct obstacles *found, const struct ush_reply *y)
{
	uint64_t may;

	if (y->status == USH_STATUS_NO_SUCH_SEAT)
		WANT(o, y->detail < q->leg_count && (found->missing_legs >> y->detail & 1) != 0);
	if (y->status != USH_STATUS_TAKEN && y->status != USH_STATUS_TAKEN_NOW)
		return;
	WANT(o, y->detail < q->leg_count);
	if (o->fault[0] != 0)
		return;
	if (!found->moving) {
		WANT_EQ(o, y->detail, found->leg);
		WANT_EQ(o, y->hold, found->way);
		return;
	}
	may = ~oracle_free_mask(o, q->r.event, q->row[y->detail]) |
	      changed_mask(o, q->r.event, q->row[y->detail]);
	WANT(o, y->hold != 0);
	WANT_EQ(o, y->hold & ~(may & q->mask[y->detail]), 0);
}

static void take_seats(struct oracle *o, const struct oracle_request *q, enum oracle_what from,
	enum oracle_what to, uint32_t hold)
{
	for (uint32_t leg = 0; leg < q->leg_count; leg++) {
		for (uint32_t s = 0; s < USH_ROW_SEATS_MAX; s++) {
			struct oracle_seat *seat = &o->event[q->r.event].seat[q->row[leg]][s];
			if ((q->mask[leg] >> s & 1) != 0 && seat->what == from)
				seat_becomes(o, q->r.event, seat, to, hold);
		}
	}
}

static void check_time(struct oracle *o, const struct oracle_request *q, const struct ush_reply *y)
{
	const struct oracle_event *e = &o->event[q->r.event];
	const struct oracle_user *user = &o->user[q->r.event][q->r.user];

	if (y->status == USH_STATUS_HOLD_BUDGET)
		WANT_EQ(o, y->detail,
			e->hold_budget_s > user->held_s ? e->hold_budget_s - user->held_s : 0);
	if (y->status != USH_STATUS_COOL_DOWN)
		return;
	WANT(o, y->detail <= (user->cool_to_ns - o->now_ns + 999999) / 1000000);
	if (o->now_ns < user->cool_from_ns)
		WANT(o, y->detail >= (user->cool_from_ns - o->now_ns + 999999) / 1000000);
}

static void grant(struct oracle *o, const struct oracle_request *q, const struct obstacles *found,
	const struct ush_reply *y)
{
	const struct oracle_event *e = &o->event[q->r.event];
	uint32_t index = o->hold_count++;
	struct oracle_hold *hold = &o->hold[index];

	*hold = (struct oracle_hold){
		.id = y->hold,
		.user = q->r.user,
		.event = q->r.event,
		.deadline_ns =
			o->now_ns + (q->r.hold_ms != 0 ? q->r.hold_ms : e->hold_ms) * 1000000ull,
		.amount = found->price,
		.sequence = y->sequence,
		.legs = q->leg_count,
		.seats = found->seats,
		.state = USH_HOLD_STATE_HELD,
	};
	for (uint32_t i = 0; i < index; i++)
		WANT(o, o->hold[i].id != y->hold);
	check_hold(o, index, y);
	check_change(o, y);
	WANT_EQ(o, y->detail, 0);
	take_seats(o, q, ORACLE_FREE, ORACLE_TAKEN, index);
	o->lines_used += hold->legs;
	o->user[q->r.event][q->r.user].held_s += oracle_time_of(e, q, found->seats);
	remember(o, q, USH_STATUS_OK, index, y->sequence);
}

static void judge_reserve(
	struct oracle *o, const struct oracle_request *q, const struct ush_reply *y)
{
	const struct oracle_event *e = &o->event[q->r.event];
	struct obstacles found;
	uint64_t may;

	if (judge_window(o, q, y))
		return;
	look(o, q, false, &found);
	may = found.statuses | oracle_time_obstacles(o, q, found.seats);
	if (e->status != USH_EVENT_STATUS_ON_SALE)
		may |= BIT(USH_STATUS_NOT_ON_SALE);
	else if (is_sold_out(o, q->r.event))
		may |= BIT(USH_STATUS_SOLD_OUT);
	if (q->r.hold_ms != 0 && (q->r.hold_ms < USH_HOLD_MS_MIN || q->r.hold_ms > e->hold_ms_max))
		may |= BIT(USH_STATUS_BAD_REQUEST);
	if (found.seats + user_seats(o, q->r.event, q->r.user) > e->user_seats_max)
		may |= BIT(USH_STATUS_LIMIT);
	if (o->lines_used + o->lines_freed + q->leg_count > o->lines)
		may |= BIT(USH_STATUS_BUSY);
	if (y->status == USH_STATUS_OK) {
		/* With all its seats free, only what moves or what came back may be in the way. */
		WANT_EQ(o,
			may & ~(BIT(USH_STATUS_TAKEN) | BIT(USH_STATUS_TAKEN_NOW) |
				      BIT(USH_STATUS_BUSY) | BIT(USH_STATUS_COOL_DOWN)),
			0);
		WANT(o, o->now_ns >= o->user[q->r.event][q->r.user].cool_from_ns);
		WANT_EQ(o, found.way, 0);
		WANT(o, o->lines_used + q->leg_count <= o->lines);
		grant(o, q, &found, y);
		return;
	}
	WANT(o, (may >> y->status & 1) != 0);
	check_way(o, q, &found, y);
	check_time(o, q, y);
	if (y->status == USH_STATUS_LIMIT)
		WANT_EQ(o, y->detail, e->user_seats_max);
	if (y->status == USH_STATUS_NOT_ON_SALE)
		WANT_EQ(o, y->detail, e->status);
	if (y->status == USH_STATUS_BAD_REQUEST)
		WANT_EQ(o, y->detail, USH_FAULT_HOLD_TIME);
	if (y->status == USH_STATUS_TAKEN || y->status == USH_STATUS_TAKEN_NOW ||
		y->status == USH_STATUS_LIMIT)
		remember(o, q, y->status, ORACLE_NO_HOLD, 0);
}

/* Past its deadline a hold is over for whoever asks. ret: true if so, and judged. */
static bool judge_lapsed(struct oracle *o, uint32_t index, const struct ush_reply *y)
{
	if (o->hold[index].state != USH_HOLD_STATE_HELD || o->now_ns < o->hold[index].deadline_ns)
		return false;
	WANT_EQ(o, y->status, USH_STATUS_EXPIRED);
	WANT_EQ(o, y->state, USH_HOLD_STATE_EXPIRED);
	check_change(o, y);
	oracle_cool_down(o, &o->hold[index], o->now_ns);
	hold_ends(o, index);
	return true;
}

static void judge_release(
	struct oracle *o, const struct oracle_request *q, const struct ush_reply *y)
{
	uint32_t index;

	if (judge_window(o, q, y))
		return;
	index = find_hold(o, &q->r);
	if (index == ORACLE_NO_HOLD) {
		WANT_EQ(o, y->status, USH_STATUS_NO_HOLD);
		return;
	}
	if (o->hold[index].state == USH_HOLD_STATE_SOLD) {
		WANT_EQ(o, y->status, USH_STATUS_WRONG_STATE);
		WANT_EQ(o, y->state, USH_HOLD_STATE_SOLD);
		WANT_EQ(o, y->sequence, o->hold[index].sequence);
	} else if (!judge_lapsed(o, index, y)) {
		WANT_EQ(o, y->status, USH_STATUS_OK);
		WANT_EQ(o, y->state, USH_HOLD_STATE_RELEASED);
		WANT_EQ(o, y->detail, 0);
		check_change(o, y);
		oracle_time_back(o, &o->hold[index]);
		oracle_cool_down(o, &o->hold[index], o->now_ns);
		hold_ends(o, index);
	}
	remember(o, q, y->status, index, y->sequence);
}

static void judge_confirm(
	struct oracle *o, const struct oracle_request *q, const struct ush_reply *y)
{
	uint32_t index = find_hold(o, &q->r);
	struct oracle_hold *hold;

	if (index == ORACLE_NO_HOLD) {
		WANT_EQ(o, y->status, USH_STATUS_NO_HOLD);
		return;
	}
	if (judge_lapsed(o, index, y))
		return;
	hold = &o->hold[index];
	WANT_EQ(o, y->status, USH_STATUS_OK);
	WANT_EQ(o, y->detail, hold->state == USH_HOLD_STATE_SOLD);
	if (hold->state == USH_HOLD_STATE_SOLD) {
		WANT_EQ(o, y->sequence, hold->sequence);
	} else {
		hold->state = USH_HOLD_STATE_SOLD;
		oracle_time_back(o, hold);
		hold->sequence = y->sequence;
		o->event[q->r.event].changed = o->turn;
		check_change(o, y);
	}
	check_hold(o, index, y);
}

static void judge_query_hold(
	struct oracle *o, const struct oracle_request *q, const struct ush_reply *y)
{
	uint32_t index = find_hold(o, &q->r);

	if (index == ORACLE_NO_HOLD) {
		WANT_EQ(o, y->status, USH_STATUS_NO_HOLD);
		return;
	}
	if (judge_lapsed(o, index, y))
		return;
	WANT_EQ(o, y->status, USH_STATUS_OK);
	WANT_EQ(o, y->sequence, o->hold[index].sequence);
	check_hold(o, index, y);
}

static void judge_query_section(struct oracle *o, const struct oracle_request *q,
	const struct ush_reply *y, const uint64_t *rows, uint32_t row_count)
{
	const struct oracle_event *e = &o->event[q->r.event];
	uint32_t first, count;

	if (q->r.section >= e->section_count) {
		WANT_EQ(o, y->status, USH_STATUS_BAD_REQUEST);
		WANT_EQ(o, y->detail, USH_FAULT_SECTION);
		return;
	}
	first = e->section_first[q->r.section];
	count = e->section_first[q->r.section + 1] - first;
	if (q->r.row >= count) {
		WANT_EQ(o, y->status, USH_STATUS_BAD_REQUEST);
		WANT_EQ(o, y->detail, USH_FAULT_SECTION);
		return;
	}
	WANT_EQ(o, y->status, USH_STATUS_OK);
	WANT_EQ(o, y->amount, count);
	/* Few rows: they fit a control reply all together. */
	WANT_EQ(o, row_count, count - q->r.row);
	WANT_EQ(o, y->detail, 0);
	WANT_EQ(o, y->hold, 0);
	for (uint32_t i = 0; i < row_count && o->fault[0] == 0; i++) {
		uint32_t row = first + q->r.row + i;
		uint64_t still = ~changed_mask(o, q->r.event, row);
		WANT_EQ(o, rows[i] & still, oracle_free_mask(o, q->r.event, row) & still);
	}
}

static void judge_status(
	struct oracle *o, const struct oracle_request *q, const struct ush_reply *y)
{
	const struct oracle_event *e = &o->event[q->r.event];
	uint64_t free_seats = 0;

	WANT_EQ(o, y->status, USH_STATUS_OK);
	if (e->changed == o->turn)
		return;
	for (uint32_t r = 0; r < e->row_count; r++)
		free_seats += (uint64_t)__builtin_popcountll(oracle_free_mask(o, q->r.event, r));
	WANT_EQ(o, y->amount, free_seats);
	if (e->status == USH_EVENT_STATUS_ON_SALE && is_sold_out(o, q->r.event))
		WANT_EQ(o, y->detail, USH_EVENT_STATUS_SOLD_OUT);
	else
		WANT_EQ(o, y->detail, e->status);
}

static void judge_house(struct oracle *o, const struct oracle_request *q, const struct ush_reply *y)
{
	bool block = q->r.op == USH_OP_BLOCK;
	struct obstacles found;
	uint64_t may;

	look(o, q, true, &found);
	may = found.statuses;
	if (!block)
		may &= BIT(USH_STATUS_NO_SUCH_SEAT);
	if (y->status == USH_STATUS_OK) {
		WANT_EQ(o, may & BIT(USH_STATUS_NO_SUCH_SEAT), 0);
		if (block)
			WANT_EQ(o, found.way, 0);
		take_seats(o, q, block ? ORACLE_FREE : ORACLE_HOUSE,
			block ? ORACLE_HOUSE : ORACLE_FREE, 0);
		return;
	}
	WANT(o, (may >> y->status & 1) != 0);
	check_way(o, q, &found, y);
}

/* As docs/protocol.md has it. */
static bool status_follows(uint32_t from, uint64_t to)
{
	switch (from) {
	case USH_EVENT_STATUS_DRAFT:
		return to != USH_EVENT_STATUS_COMPLETED;
	case USH_EVENT_STATUS_ON_SALE:
	case USH_EVENT_STATUS_PAUSED:
		return to != USH_EVENT_STATUS_DRAFT;
	case USH_EVENT_STATUS_COMPLETED:
		return to == from || to == USH_EVENT_STATUS_PAUSED ||
		       to == USH_EVENT_STATUS_CANCELLED;
	default:
		return to == USH_EVENT_STATUS_CANCELLED;
	}
}

static void judge_event_status(
	struct oracle *o, const struct oracle_request *q, const struct ush_reply *y)
{
	if (q->r.arg == USH_EVENT_STATUS_NONE || q->r.arg == USH_EVENT_STATUS_SOLD_OUT ||
		q->r.arg > USH_EVENT_STATUS_CANCELLED) {
		WANT_EQ(o, y->status, USH_STATUS_BAD_REQUEST);
		WANT_EQ(o, y->detail, USH_FAULT_ARGUMENT);
		return;
	}
	if (!status_follows(o->event[q->r.event].status, q->r.arg)) {
		WANT_EQ(o, y->status, USH_STATUS_WRONG_STATUS);
		WANT_EQ(o, y->detail, o->event[q->r.event].status);
		return;
	}
	WANT_EQ(o, y->status, USH_STATUS_OK);
	WANT_EQ(o, y->detail, q->r.arg);
	check_change(o, y);
	o->event[q->r.event].status = (uint32_t)q->r.arg;
	o->event[q->r.event].changed = o->turn;
}

void oracle_judge(struct oracle *o, const struct oracle_request *q, const struct ush_reply *y,
	const uint64_t *rows, uint32_t row_count)
{
	check_echo(o, &q->r, y);
	if (y->status != USH_STATUS_OK && o->fault[0] == 0)
		check_refusal(o, &q->r, y);
	if (q->r.event < 1 || q->r.event > ORACLE_EVENTS) {
		WANT_EQ(o, y->status, USH_STATUS_UNKNOWN_EVENT);
		return;
	}
	switch (q->r.op) {
	case USH_OP_RESERVE:
		judge_reserve(o, q, y);
		break;
	case USH_OP_RELEASE:
		judge_release(o, q, y);
		break;
	case USH_OP_CONFIRM:
		judge_confirm(o, q, y);
		break;
	case USH_OP_QUERY_HOLD:
		judge_query_hold(o, q, y);
		break;
	case USH_OP_QUERY_SECTION:
		judge_query_section(o, q, y, rows, row_count);
		break;
	case USH_OP_STATUS:
		judge_status(o, q, y);
		break;
	case USH_OP_BLOCK:
	case USH_OP_UNBLOCK:
		judge_house(o, q, y);
		break;
	case USH_OP_EVENT_STATUS:
		judge_event_status(o, q, y);
		break;
	default:
		WANT_EQ(o, q->r.op, USH_OP_RESERVE);
		break;
	}
}

void oracle_restart(struct oracle *o, uint64_t credit_ns, uint64_t sequence)
{
	for (uint32_t n = 1; n <= ORACLE_EVENTS; n++) {
		for (uint32_t u = 1; u <= ORACLE_USERS; u++) {
			struct oracle_user *user = &o->user[n][u];
			uint32_t kept = 0;

			for (uint32_t i = 0; i < user->done_count; i++) {
				if (user->done[i].status == USH_STATUS_OK)
					user->done[kept++] = user->done[i];
			}
			user->top = top_accepted(user);
			user->done_count = kept;
		}
	}
	for (uint32_t i = 0; i < o->hold_count; i++) {
		if (credit_ns == 0 || o->hold[i].state != USH_HOLD_STATE_HELD)
			continue;
		o->hold[i].deadline_ns += credit_ns;
		o->hold[i].sequence = sequence;
	}
}
