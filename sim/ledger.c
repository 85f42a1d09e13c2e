/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ledger. It believes what it reads: whether a record may stand where it stands is for the
 * checkers, which see it first. What it cannot book at all it says.
 */
#include <stdlib.h>
#include <string.h>

#include "ledger.h"

#define INDEX(id) ((uint32_t)((id) & ((1u << USH_HOLD_INDEX_BITS) - 1)))

void ledger_init(struct ledger *ledger)
{
	memset(ledger, 0, sizeof(*ledger));
	ledger->holds = malloc(LEDGER_HOLDS_MAX * sizeof(*ledger->holds));
	ledger->accepted = malloc(LEDGER_ACCEPTED_MAX * sizeof(*ledger->accepted));
	ledger->record_room = 1u << 16;
	ledger->records = malloc(ledger->record_room * sizeof(*ledger->records));
	USH_ASSERT(ledger->holds != NULL && ledger->accepted != NULL && ledger->records != NULL);
}

void ledger_reset(struct ledger *ledger)
{
	memset(ledger->event, 0, sizeof(ledger->event));
	memset(ledger->room, 0, sizeof(ledger->room));
	memset(ledger->user_seats, 0, sizeof(ledger->user_seats));
	memset(ledger->user_accepted, 0, sizeof(ledger->user_accepted));
	memset(ledger->line, 0, sizeof(ledger->line));
	ledger->time_ns = 0;
	ledger->hold_count = ledger->accepted_count = 0;
	ledger->record_count = 0;
}

void ledger_keep(struct ledger *ledger, uint64_t block, const void *data)
{
	uint64_t end = (block + 1) * USH_BLOCK_SLOTS;

	if (end > ledger->record_room) {
		ledger->record_room = end * 2;
		ledger->records =
			realloc(ledger->records, ledger->record_room * sizeof(*ledger->records));
		USH_ASSERT(ledger->records != NULL);
	}
	memcpy(&ledger->records[block * USH_BLOCK_SLOTS], data, USH_BLOCK_BYTES);
	ledger->record_count = end;
}

const struct ush_record *ledger_record(const struct ledger *ledger, uint64_t sequence)
{
	if (sequence < USH_BLOCK_SLOTS || sequence >= ledger->record_count)
		return NULL;
	return &ledger->records[sequence];
}

struct ledger_hold *ledger_hold(const struct ledger *ledger, uint64_t id)
{
	uint32_t number = INDEX(id) < LEDGER_LINES_MAX ? ledger->line[INDEX(id)] : 0;

	while (number != 0 && ledger->holds[number - 1].id != id)
		number = ledger->holds[number - 1].before;
	return number != 0 ? &ledger->holds[number - 1] : NULL;
}

const struct ledger_accepted *ledger_accepted(
	const struct ledger *ledger, uint32_t event, uint64_t user, uint32_t request_id)
{
	if (event >= LEDGER_EVENTS || user >= LEDGER_USERS)
		return NULL;
	for (uint32_t at = ledger->user_accepted[event][user]; at != 0;
		at = ledger->accepted[at - 1].next) {
		if (ledger->accepted[at - 1].request_id == request_id)
			return &ledger->accepted[at - 1];
	}
	return NULL;
}

uint64_t ledger_taken(const struct ledger *ledger, uint32_t event, uint32_t row, uint64_t *house)
{
	const uint32_t *owner = ledger->event[event].owner[row];
	uint64_t taken = 0;

	*house = 0;
	for (uint32_t seat = 0; seat < USH_ROW_SEATS_MAX; seat++) {
		if (owner[seat] == LEDGER_HOUSE || owner[seat] == LEDGER_ASIDE)
			*house |= 1ull << seat;
		else if (owner[seat] != 0)
			taken |= 1ull << seat;
	}
	return taken;
}

uint64_t ledger_channel(const struct ledger *ledger, uint32_t event, uint32_t row, uint32_t channel)
{
	return ledger->event[event].channel[row][channel];
}

uint32_t ledger_keeps(const struct ush_record *records, uint32_t count)
{
	uint32_t keeps = 0;

	while (keeps + 1 < count &&
		(records[count - 1 - keeps].type == USH_RECORD_TYPE_KEEP ||
			records[count - 1 - keeps].type == USH_RECORD_TYPE_PRICES ||
			records[count - 1 - keeps].type == USH_RECORD_TYPE_USER_TIME))
		keeps++;
	return keeps;
}

uint32_t ledger_list(const struct ush_record *records, uint32_t count)
{
	for (uint32_t i = 1; i < count; i++) {
		if (records[i].type == USH_RECORD_TYPE_PRICES)
			return records[i].row;
	}
	return 0;
}

uint32_t ledger_leg(const struct ledger_hold *hold, uint32_t row)
{
	uint32_t found = UINT32_MAX;

	for (uint32_t i = 0; i < hold->legs; i++) {
		if (hold->row[i] == row && (found == UINT32_MAX || hold->mask[i] != 0))
			found = i;
	}
	return found;
}

const struct ledger_hold *ledger_late(const struct ledger *ledger, uint64_t over, uint64_t user)
{
	for (uint32_t i = 0; i < ledger->hold_count; i++) {
		const struct ledger_hold *hold = &ledger->holds[i];

		if (hold->over != 0 && hold->over == over && hold->late_user == user)
			return hold;
	}
	return NULL;
}

uint32_t ledger_swapped(const struct ush_record *records, uint32_t count, bool given)
{
	uint32_t seats = 0;

	for (uint32_t i = 0; i < count; i++) {
		if (records[i].type == USH_RECORD_TYPE_SWAP &&
			(records[i].state == USH_HOLD_STATE_RELEASED) == given)
			seats += ush_popcount64(records[i].mask);
	}
	return seats;
}

static void own(struct ledger *ledger, uint32_t event, uint32_t row, uint64_t mask, uint32_t owner)
{
	for (; mask != 0; mask &= mask - 1)
		ledger->event[event].owner[row][__builtin_ctzll(mask)] = owner;
}

static const char *accept(struct ledger *ledger, const struct ush_record *r, uint64_t sequence)
{
	uint32_t *head = &ledger->user_accepted[r->event][r->user];

	if (ledger->accepted_count == LEDGER_ACCEPTED_MAX)
		return "too many accepted requests for the ledger";
	ledger->accepted[ledger->accepted_count++] = (struct ledger_accepted){.next = *head,
		.request_id = r->request_id,
		.digest = r->digest,
		.type = r->type,
		.hold = r->hold,
		.sequence = sequence};
	*head = ledger->accepted_count;
	return NULL;
}

uint32_t ledger_waiting(const struct ledger *ledger, uint32_t event, uint64_t user)
{
	const struct ledger_event *of = &ledger->event[event];
	uint32_t at = 0;

	while (at < of->wait_count && of->waits[at].user != user)
		at++;
	return at;
}

/* ---- one function a type ---- */

static const char *unlist(struct ledger *ledger, const struct ush_record *r)
{
	struct ledger_event *event = &ledger->event[r->event];
	uint32_t at = ledger_waiting(ledger, r->event, r->user);

	if (at == event->wait_count)
		return "somebody who does not wait leaves a list";
	event->wait_count--;
	memmove(&event->waits[at], &event->waits[at + 1],
		(event->wait_count - at) * sizeof(event->waits[0]));
	return NULL;
}

static const char *on_wait(struct ledger *ledger, const struct ush_record *r, uint32_t count)
{
	struct ledger_event *event = &ledger->event[r->event];
	const char *wrong = NULL;

	(void)count;
	if (r->type == USH_RECORD_TYPE_WAIT_TURN) {
		event->loose = r->state != 0;
		return NULL;
	}
	if (r->type == USH_RECORD_TYPE_WAIT_LEAVE) {
		wrong = unlist(ledger, r);
	} else if (event->wait_count == LEDGER_USERS) {
		wrong = "more wait than there are";
	} else {
		event->waits[event->wait_count].user = r->user;
		event->waits[event->wait_count].tier = r->row;
		event->waits[event->wait_count++].seats = (uint32_t)r->mask;
	}
	return wrong != NULL || r->request_id == 0 ? wrong : accept(ledger, r, r->sequence);
}

static void enter(struct ledger_hold *hold, uint32_t state, const struct ush_record *last)
{
	hold->state = (uint8_t)state;
	hold->was |= (uint16_t)(1u << state);
	hold->version = last->version;
	hold->sequence = last->sequence;
	if (state == USH_HOLD_STATE_SOLD && hold->sold_at == 0)
		hold->sold_at = last->sequence;
}

static const char *on_hold(struct ledger *ledger, const struct ush_record *r, uint32_t count)
{
	struct ledger_hold *hold = &ledger->holds[ledger->hold_count];
	bool late = r->type == USH_RECORD_TYPE_LATE;

	if (ledger->hold_count == LEDGER_HOLDS_MAX)
		return "too many holds for the ledger";
	if (INDEX(r->hold) >= LEDGER_LINES_MAX)
		return "a hold line that does not exist";
	*hold = (struct ledger_hold){.id = r->hold,
		.user = r->user,
		.event = r->event,
		.deadline_ns = r->deadline_ns,
		.before = ledger->line[INDEX(r->hold)],
		.begun_at = r->sequence,
		.legs = (uint8_t)count,
		.legs_first = (uint8_t)count};
	enter(hold, late ? USH_HOLD_STATE_SOLD : USH_HOLD_STATE_HELD, &r[count - 1]);
	if (late) {
		hold->over = r->request_id | (uint64_t)r->digest << 32;
		hold->late_user = r->user;
	}
	ledger->line[INDEX(r->hold)] = ++ledger->hold_count;
	for (uint32_t i = 0; i < count; i++) {
		hold->line[i] = INDEX(r[i].hold);
		hold->row[i] = hold->row_first[i] = r[i].row;
		hold->mask[i] = hold->mask_first[i] = r[i].mask;
		hold->leg_amount[i] = r[i].amount;
		hold->amount += r[i].amount;
		hold->seats += ush_popcount64(r[i].mask);
		own(ledger, r->event, r[i].row, r[i].mask, ledger->hold_count);
	}
	ledger->user_seats[r->event][r->user] += hold->seats;
	if (late) {
		ledger->event[r->event].sold += hold->seats;
		return NULL;
	}
	return r->type == USH_RECORD_TYPE_OFFER ? unlist(ledger, r)
						: accept(ledger, r, hold->sequence);
}

/* ret: the hold, if it is in that state, or NULL. */
static struct ledger_hold *in_state(
	const struct ledger *ledger, const struct ush_record *r, uint32_t state)
{
	struct ledger_hold *hold = ledger_hold(ledger, r->hold);

	return hold != NULL && hold->state == state ? hold : NULL;
}

static const char *end(struct ledger *ledger, const struct ush_record *r, struct ledger_hold *hold)
{
	enter(hold, r->state, r);
	for (uint32_t i = 0; i < hold->legs; i++)
		own(ledger, hold->event, hold->row[i], hold->mask[i], 0);
	ledger->user_seats[hold->event][hold->user] -= hold->seats;
	return NULL;
}

static const char *sell(struct ledger *ledger, const struct ush_record *r, struct ledger_hold *hold)
{
	enter(hold, USH_HOLD_STATE_SOLD, r);
	ledger->event[hold->event].sold += hold->seats;
	return NULL;
}

static const char *on_end(struct ledger *ledger, const struct ush_record *r, uint32_t count)
{
	struct ledger_hold *hold = in_state(ledger, r, USH_HOLD_STATE_HELD);

	(void)count;
	if (hold == NULL)
		return "an end of a hold that is not held";
	end(ledger, r, hold);
	return r->type == USH_RECORD_TYPE_RELEASE ? accept(ledger, r, r->sequence) : NULL;
}

static const char *on_confirm(struct ledger *ledger, const struct ush_record *r, uint32_t count)
{
	struct ledger_hold *hold = in_state(ledger, r, USH_HOLD_STATE_HELD);

	(void)count;
	return hold == NULL ? "a sale of a hold that is not held" : sell(ledger, r, hold);
}

static const char *on_extend(struct ledger *ledger, const struct ush_record *r, uint32_t count)
{
	struct ledger_hold *hold = in_state(ledger, r, USH_HOLD_STATE_HELD);

	(void)count;
	if (hold == NULL)
		return "more time for a hold that is not held";
	hold->deadline_ns = r->deadline_ns;
	hold->extended = true;
	enter(hold, USH_HOLD_STATE_HELD, r);
	return accept(ledger, r, r->sequence);
}

static const char *on_pay_begin(struct ledger *ledger, const struct ush_record *r, uint32_t count)
{
	struct ledger_hold *hold = in_state(ledger, r, USH_HOLD_STATE_HELD);

	(void)count;
	if (hold == NULL)
		return "a payment of a hold that is not held";
	hold->attempts = r->row;
	enter(hold, USH_HOLD_STATE_PAYING, r);
	return NULL;
}

static const char *on_pay_end(struct ledger *ledger, const struct ush_record *r, uint32_t count)
{
	struct ledger_hold *hold = in_state(ledger, r, USH_HOLD_STATE_PAYING);

	(void)count;
	if (hold == NULL)
		return "an end of a payment that was not under way";
	if (r->state == USH_HOLD_STATE_SOLD)
		return sell(ledger, r, hold);
	if (r->state == USH_HOLD_STATE_EXPIRED)
		return end(ledger, r, hold);
	enter(hold, USH_HOLD_STATE_HELD, r);
	return NULL;
}

/* Takes the seats that the records name from the hold. */
static const char *cut(struct ledger *ledger, const struct ush_record *r, uint32_t count,
	struct ledger_hold *hold, uint32_t *seats)
{
	*seats = 0;
	for (uint32_t i = 0; i < count; i++) {
		uint32_t leg = ledger_leg(hold, r[i].row);

		if (leg == UINT32_MAX || (r[i].mask & ~hold->mask[leg]) != 0)
			return "seats of a hold that it does not have";
		hold->mask[leg] &= ~r[i].mask;
		hold->amount = hold->amount - hold->leg_amount[leg] + r[i].amount;
		hold->leg_amount[leg] = r[i].amount;
		own(ledger, hold->event, r[i].row, r[i].mask, 0);
		*seats += ush_popcount64(r[i].mask);
	}
	hold->seats -= *seats;
	ledger->user_seats[hold->event][hold->user] -= *seats;
	return NULL;
}

static const char *on_cut(struct ledger *ledger, const struct ush_record *r, uint32_t count)
{
	struct ledger_hold *hold = in_state(ledger, r, USH_HOLD_STATE_HELD);
	const char *wrong;
	uint32_t seats;

	if (hold == NULL)
		return "seats given back by a hold that is not held";
	wrong = cut(ledger, r, count, hold, &seats);
	if (wrong != NULL)
		return wrong;
	enter(hold, USH_HOLD_STATE_HELD, &r[count - 1]);
	return accept(ledger, r, hold->sequence);
}

/* Seats join the hold in the line that the record names. */
static const char *join_leg(
	struct ledger *ledger, struct ledger_hold *hold, const struct ush_record *r)
{
	uint32_t leg = 0;

	while (leg < hold->legs && hold->line[leg] != r->hold)
		leg++;
	if (leg == LEDGER_LEGS)
		return "a hold of too many rows";
	if (leg == hold->legs) {
		hold->legs++;
		hold->line[leg] = (uint32_t)r->hold;
		hold->mask[leg] = hold->refund[leg] = 0;
		hold->leg_amount[leg] = 0;
	} else if (hold->mask[leg] != 0 && hold->row[leg] != r->row) {
		return "a line with seats of two rows";
	}
	hold->row[leg] = r->row;
	hold->mask[leg] |= r->mask;
	hold->amount = hold->amount - hold->leg_amount[leg] + r->amount;
	hold->leg_amount[leg] = r->amount;
	own(ledger, hold->event, r->row, r->mask, (uint32_t)(hold - ledger->holds) + 1);
	return NULL;
}

static const char *on_swap(struct ledger *ledger, const struct ush_record *r, uint32_t count)
{
	struct ledger_hold *hold = in_state(ledger, r, USH_HOLD_STATE_HELD);
	uint32_t given = 0, seats, taken = ledger_swapped(r, count, false);
	const char *wrong;

	if (hold == NULL)
		return "a swap of a hold that is not held";
	while (given < count && r[given].state == USH_HOLD_STATE_RELEASED)
		given++;
	wrong = cut(ledger, r, given, hold, &seats);
	for (uint32_t i = given; i < count && wrong == NULL; i++)
		wrong = join_leg(ledger, hold, &r[i]);
	if (wrong != NULL)
		return wrong;
	hold->seats += taken;
	hold->swapped = true;
	ledger->user_seats[hold->event][hold->user] += taken;
	enter(hold, USH_HOLD_STATE_HELD, &r[count - 1]);
	return accept(ledger, r, hold->sequence);
}

static const char *on_refund_begin(
	struct ledger *ledger, const struct ush_record *r, uint32_t count)
{
	struct ledger_hold *hold = in_state(ledger, r, USH_HOLD_STATE_SOLD);

	if (hold == NULL)
		return "a refund of a hold that is not sold";
	memset(hold->refund, 0, sizeof(hold->refund));
	for (uint32_t i = 0; i < count; i++) {
		uint32_t leg = ledger_leg(hold, r[i].row);

		if (leg == UINT32_MAX)
			return "a refund of a row that the hold does not have";
		hold->refund[leg] = r[i].mask;
	}
	enter(hold, USH_HOLD_STATE_REFUNDING, &r[count - 1]);
	return NULL;
}

static const char *on_refund_end(struct ledger *ledger, const struct ush_record *r, uint32_t count)
{
	struct ledger_hold *hold = in_state(ledger, r, USH_HOLD_STATE_REFUNDING);
	const char *wrong = NULL;
	uint32_t seats = 0;

	if (hold == NULL)
		return "an end of a refund that was not under way";
	if (r->mask != 0)
		wrong = cut(ledger, r, count, hold, &seats);
	ledger->event[hold->event].sold -= seats;
	enter(hold, r->state, &r[count - 1]);
	return wrong;
}

static const char *on_transfer(struct ledger *ledger, const struct ush_record *r, uint32_t count)
{
	struct ledger_hold *hold = in_state(ledger, r, USH_HOLD_STATE_SOLD);

	(void)count;
	if (hold == NULL || r->mask >= LEDGER_USERS)
		return "a transfer of a hold that is not sold";
	ledger->user_seats[hold->event][hold->user] -= hold->seats;
	ledger->user_seats[hold->event][r->mask] += hold->seats;
	hold->user = r->mask;
	enter(hold, USH_HOLD_STATE_SOLD, r);
	return NULL;
}

static const char *on_house(struct ledger *ledger, const struct ush_record *r, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		bool block = r->type == USH_RECORD_TYPE_BLOCK;
		uint64_t *channel = ledger->event[r[i].event].channel[r[i].row];

		own(ledger, r[i].event, r[i].row, r[i].mask, block ? LEDGER_HOUSE : 0);
		for (uint32_t c = 0; c <= USH_CHANNEL_COUNT_MAX; c++)
			channel[c] &= ~r[i].mask;
		if (block && r[i].state != 0 && r[i].state <= USH_CHANNEL_COUNT_MAX) {
			channel[0] |= r[i].mask;
			channel[r[i].state] |= r[i].mask;
		}
	}
	return NULL;
}

static const char *on_channel(struct ledger *ledger, const struct ush_record *r, uint32_t count)
{
	(void)count;
	if (r->state < 1 || r->state > USH_CHANNEL_COUNT_MAX)
		return "a key of no channel";
	ledger->event[r->event].channel_key[r->state] = r->amount;
	return NULL;
}

static const char *on_event(struct ledger *ledger, const struct ush_record *r, uint32_t count)
{
	struct ledger_event *event = &ledger->event[r->event];

	(void)count;
	if (event->loaded)
		return "an event loaded twice";
	event->loaded = true;
	event->status = USH_EVENT_STATUS_DRAFT;
	event->rows = ledger->plan[0].rows;
	return NULL;
}

static const char *on_event_change(
	struct ledger *ledger, const struct ush_record *r, uint32_t count)
{
	struct ledger_event *event = &ledger->event[r->event];
	const struct ledger_plan *before = &ledger->plan[event->plan], *plan;
	uint32_t to = 0;

	(void)count;
	while (to < ledger->plan_count && ledger->plan[to].digest != r->hold)
		to++;
	if (!event->loaded || to == ledger->plan_count || to <= event->plan)
		return "a change by no image that may follow";
	plan = &ledger->plan[to];
	if (r->user != before->digest || r->version != event->changes + 1 ||
		r->amount != plan->rows ||
		r->mask != plan->rows * (uint64_t)ush_popcount64(plan->seats))
		return "a change from or to something else";
	if (memcmp(plan->price, before->price, sizeof(plan->price)) != 0)
		event->list_plan[++event->prices] = (uint8_t)to;
	if (r->row != event->prices)
		return "a change of prices that are the same, or without a list";
	for (uint32_t row = event->rows; row < plan->rows && r->state != 0; row++)
		own(ledger, r->event, row, plan->seats, LEDGER_ASIDE);
	event->changes++;
	event->plan = to;
	event->rows = plan->rows;
	return NULL;
}

static const char *on_event_status(
	struct ledger *ledger, const struct ush_record *r, uint32_t count)
{
	(void)count;
	ledger->event[r->event].status = r->state;
	return NULL;
}

static const char *on_time(struct ledger *ledger, const struct ush_record *r, uint32_t count)
{
	(void)count;
	ledger->time_ns = ush_max64(ledger->time_ns, r->deadline_ns);
	for (uint32_t i = 0; i < ledger->hold_count && r->type == USH_RECORD_TYPE_RESUME; i++) {
		struct ledger_hold *hold = &ledger->holds[i];

		if (hold->state != USH_HOLD_STATE_HELD && hold->state != USH_HOLD_STATE_PAYING)
			continue;
		hold->deadline_ns += r->mask;
		hold->sequence = r->sequence;
	}
	return NULL;
}

const char *ledger_apply(struct ledger *ledger, const struct ush_record *records, uint32_t count)
{
	static const char *(*const book[USH_RECORD_TYPE_COUNT])(
		struct ledger *, const struct ush_record *, uint32_t) = {
		[USH_RECORD_TYPE_OPEN] = on_time,
		[USH_RECORD_TYPE_CLOSE] = on_time,
		[USH_RECORD_TYPE_TICK] = on_time,
		[USH_RECORD_TYPE_RESUME] = on_time,
		[USH_RECORD_TYPE_EVENT] = on_event,
		[USH_RECORD_TYPE_EVENT_CHANGE] = on_event_change,
		[USH_RECORD_TYPE_EVENT_STATUS] = on_event_status,
		[USH_RECORD_TYPE_HOLD] = on_hold,
		[USH_RECORD_TYPE_OFFER] = on_hold,
		[USH_RECORD_TYPE_LATE] = on_hold,
		[USH_RECORD_TYPE_SWAP] = on_swap,
		[USH_RECORD_TYPE_WAIT_JOIN] = on_wait,
		[USH_RECORD_TYPE_WAIT_LEAVE] = on_wait,
		[USH_RECORD_TYPE_WAIT_TURN] = on_wait,
		[USH_RECORD_TYPE_WAIT_OPEN] = on_house,
		[USH_RECORD_TYPE_RELEASE] = on_end,
		[USH_RECORD_TYPE_EXPIRE] = on_end,
		[USH_RECORD_TYPE_CONFIRM] = on_confirm,
		[USH_RECORD_TYPE_EXTEND] = on_extend,
		[USH_RECORD_TYPE_CUT] = on_cut,
		[USH_RECORD_TYPE_PAY_BEGIN] = on_pay_begin,
		[USH_RECORD_TYPE_PAY_END] = on_pay_end,
		[USH_RECORD_TYPE_REFUND_BEGIN] = on_refund_begin,
		[USH_RECORD_TYPE_REFUND_END] = on_refund_end,
		[USH_RECORD_TYPE_TRANSFER] = on_transfer,
		[USH_RECORD_TYPE_BLOCK] = on_house,
		[USH_RECORD_TYPE_UNBLOCK] = on_house,
		[USH_RECORD_TYPE_CHANNEL] = on_channel,
	};
	const struct ush_record *r = &records[0];
	uint32_t keeps = ledger_keeps(records, count);
	const char *wrong;

	if (ledger_is_room(r))
		return ledger_apply_room(ledger, records, count);
	if (r->type >= USH_RECORD_TYPE_COUNT || book[r->type] == NULL)
		return "a record of an unknown type";
	if (count - keeps > (r->type == USH_RECORD_TYPE_SWAP ? 2 * LEDGER_LEGS : LEDGER_LEGS))
		return "a run that is too long";
	/* Of a payment the row is the attempt, of who joins a list the tier. */
	for (uint32_t i = 0; i < count && r->type != USH_RECORD_TYPE_PAY_BEGIN &&
			     r->type != USH_RECORD_TYPE_WAIT_JOIN;
		i++) {
		if (r[i].row >= LEDGER_ROWS)
			return "a row that does not exist";
	}
	if (r->event >= LEDGER_EVENTS ||
		(r->type != USH_RECORD_TYPE_OPEN && r->type != USH_RECORD_TYPE_EVENT_CHANGE &&
			r->user >= LEDGER_USERS))
		return "an event or a user that does not exist";
	wrong = book[r->type](ledger, records, count - keeps);
	if (wrong == NULL && (r->type == USH_RECORD_TYPE_HOLD || r->type == USH_RECORD_TYPE_LATE ||
				     r->type == USH_RECORD_TYPE_OFFER))
		ledger->holds[ledger->hold_count - 1].prices = (uint8_t)ledger_list(records, count);
	for (uint32_t i = count - keeps; i < count && wrong == NULL; i++)
		own(ledger, r[i].event, r[i].row, r[i].mask,
			r[i].state == USH_KEEP_WAIT_LIST ? LEDGER_ASIDE : LEDGER_HOUSE);
	return wrong;
}
