/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "tools/ledger.h"

int ledger_open(struct ledger *ledger)
{
	memset(ledger, 0, sizeof(*ledger));
	ledger->index_size = 1u << 16;
	ledger->index = calloc(ledger->index_size, sizeof(*ledger->index));
	ledger->taken = calloc(USH_EVENT_ID_MAX + 1u, sizeof(*ledger->taken));
	ledger->events = calloc(USH_EVENT_ID_MAX + 1u, sizeof(*ledger->events));
	if (ledger->index != NULL && ledger->taken != NULL && ledger->events != NULL)
		return 0;
	ledger_close(ledger);
	return -USH_ENOMEM;
}

void ledger_close(struct ledger *ledger)
{
	for (uint32_t i = 0; ledger->taken != NULL && i <= USH_EVENT_ID_MAX; i++)
		free(ledger->taken[i]);
	ledger_close_waits(ledger);
	ledger_close_rooms(ledger);
	free(ledger->times);
	free(ledger->taken);
	free(ledger->events);
	free(ledger->index);
	free(ledger->entries);
	memset(ledger, 0, sizeof(*ledger));
}

void ledger_fault(struct ledger *ledger, const struct ush_record *r, const char *what)
{
	ledger->contradictions++;
	if (ledger->first_fault.text[0] == '\0')
		ush_message_set(&ledger->first_fault,
			"record %" PRIu64 ": event %u row %u hold %016" PRIx64 ": %s", r->sequence,
			r->event, r->row, r->hold, what);
}

static uint32_t *slot_of(const struct ledger *ledger, uint64_t hold)
{
	size_t at = (size_t)ush_mix64(hold) & (ledger->index_size - 1);

	while (ledger->index[at] != 0 && ledger->entries[ledger->index[at] - 1].hold != hold)
		at = (at + 1) & (ledger->index_size - 1);
	return &ledger->index[at];
}

static int grow_index(struct ledger *ledger)
{
	uint32_t *old = ledger->index;
	size_t old_size = ledger->index_size;

	if (ledger->holds * 2 < ledger->index_size)
		return 0;
	ledger->index = calloc(old_size * 2, sizeof(*old));
	if (ledger->index == NULL) {
		ledger->index = old;
		return -USH_ENOMEM;
	}
	ledger->index_size = old_size * 2;
	for (size_t i = 0; i < old_size; i++) {
		if (old[i] != 0)
			*slot_of(ledger, ledger->entries[old[i] - 1].hold) = old[i];
	}
	free(old);
	return 0;
}

static int add(struct ledger *ledger, const struct ush_record *r, uint64_t hold, uint64_t sequence)
{
	if (ledger->count == ledger->capacity) {
		size_t capacity = ledger->capacity == 0 ? 1u << 16 : ledger->capacity * 2;
		struct ledger_entry *entries =
			realloc(ledger->entries, capacity * sizeof(*entries));
		if (entries == NULL || capacity > UINT32_MAX)
			return -USH_ENOMEM;
		ledger->entries = entries;
		ledger->capacity = capacity;
	}
	ledger->entries[ledger->count++] = (struct ledger_entry){
		.sequence = sequence,
		.hold = hold,
		.user = r->user,
		.owner = r->user,
		.mask = r->mask,
		.left = r->mask,
		.amount = r->amount,
		.amount_left = r->amount,
		.event = r->event,
		.request_id = r->request_id,
		.row = r->row,
		.leg = r->run_index,
		.legs = r->run_count,
		.type = r->type,
	};
	return 0;
}

static uint64_t *seats_of(struct ledger *ledger, uint32_t event, uint16_t row)
{
	if (event > USH_EVENT_ID_MAX)
		return NULL;
	if (ledger->taken[event] == NULL)
		ledger->taken[event] = calloc(USH_EVENT_ROWS_MAX, sizeof(uint64_t));
	return ledger->taken[event] == NULL ? NULL : &ledger->taken[event][row];
}

static int book_hold(struct ledger *ledger, const struct ush_record *records, uint32_t count)
{
	uint64_t last = records[count - 1].sequence;
	uint32_t first = (uint32_t)ledger->count;

	for (uint32_t i = 0; i < count; i++) {
		const struct ush_record *r = &records[i];
		uint64_t *taken = seats_of(ledger, r->event, r->row);
		if (taken == NULL || add(ledger, r, records[0].hold, last) != 0)
			return -USH_ENOMEM;
		if (ledger->events[r->event].digest != 0 && r->row >= ledger->events[r->event].rows)
			ledger_fault(ledger, r, "a seat of a row that was not added yet");
		/* Of the run, without what stands behind the legs. */
		ledger->entries[ledger->count - 1].legs = (uint8_t)count;
		if ((*taken & r->mask) != 0) {
			ledger->double_sold += ush_popcount64(*taken & r->mask);
			ledger_fault(ledger, r, "a seat that someone else has");
		}
		if (r->type == USH_RECORD_TYPE_HOLD && ledger_is_aside(ledger, r))
			ledger_fault(ledger, r, "takes a seat set aside for those who wait");
		*taken |= r->mask;
		ledger->seats_held += ush_popcount64(r->mask);
		ledger->amount_held += r->amount;
	}
	*slot_of(ledger, records[0].hold) = first + 1;
	ledger->holds++;
	return grow_index(ledger);
}

/* ret: true if the hold was sold, and not all of it was refunded. in: index: slot_of it. */
static bool is_sold(const struct ledger *ledger, uint32_t index)
{
	return ledger->entries[index - 1].sold &&
	       ledger_seats_left(ledger, ledger->entries[index - 1].hold) != 0;
}

/* A hold sold at once, for one that is over. */
static int book_late(struct ledger *ledger, const struct ush_record *records, uint32_t count)
{
	int error = book_hold(ledger, records, count);
	uint64_t over = records->request_id | (uint64_t)records->digest << 32;
	uint32_t index = *slot_of(ledger, over);

	for (uint32_t i = 0; i < count; i++) {
		ledger->seats_held -= ush_popcount64(records[i].mask);
		ledger->seats_sold += ush_popcount64(records[i].mask);
		ledger->amount_held -= records[i].amount;
		ledger->amount_sold += records[i].amount;
	}
	if (error != 0)
		return error;
	ledger->entries[*slot_of(ledger, records->hold) - 1].end = USH_RECORD_TYPE_LATE;
	ledger->entries[*slot_of(ledger, records->hold) - 1].sold = true;
	/* 0: from before the snapshot that this began with. */
	if (index == 0)
		return 0;
	if (ledger->entries[index - 1].end == 0 || is_sold(ledger, index))
		ledger_fault(ledger, records, "sold late for a hold that is not over");
	if (ledger->entries[index - 1].late_user == records->user)
		ledger_fault(ledger, records, "sold late twice for a hold");
	ledger->entries[index - 1].late_user = records->user;
	return 0;
}

static int book_end(struct ledger *ledger, const struct ush_record *r)
{
	uint32_t index = *slot_of(ledger, r->hold);
	struct ledger_entry *leg;

	if (index == 0 || ledger->entries[index - 1].end != 0) {
		ledger_fault(ledger, r, "ends a hold that is not held");
		return add(ledger, r, r->hold, r->sequence);
	}
	leg = &ledger->entries[index - 1];
	if (leg->owner != r->user || leg->event != r->event)
		ledger_fault(ledger, r, "ends another user's hold");
	leg->end = r->type;
	leg->sold = r->state == USH_HOLD_STATE_SOLD;
	for (uint32_t i = 0; i < ledger->entries[index - 1].legs; i++, leg++) {
		uint64_t *taken = seats_of(ledger, leg->event, leg->row);
		uint32_t seats = ush_popcount64(leg->left);
		if (taken == NULL)
			return -USH_ENOMEM;
		ledger->seats_held -= seats;
		ledger->amount_held -= leg->amount_left;
		if (r->state == USH_HOLD_STATE_SOLD) {
			ledger->seats_sold += seats;
			ledger->amount_sold += leg->amount_left;
			continue;
		}
		if ((*taken & leg->left) != leg->left)
			ledger_fault(ledger, r, "gives back seats that nobody has");
		*taken &= ~leg->left;
	}
	return add(ledger, r, r->hold, r->sequence);
}

/* A record of a hold that goes on. */
static int book_step(struct ledger *ledger, const struct ush_record *r)
{
	uint32_t index = *slot_of(ledger, r->hold);

	if (index == 0)
		ledger_fault(ledger, r, "changes a hold that never was");
	else if (ledger->entries[index - 1].owner != r->user ||
		 ledger->entries[index - 1].event != r->event)
		ledger_fault(ledger, r, "changes another user's hold");
	return add(ledger, r, r->hold, r->sequence);
}

/* What is paid is what the legs cost when they were taken, whatever prices are now. */
static int book_pay_begin(struct ledger *ledger, const struct ush_record *r)
{
	uint32_t index = *slot_of(ledger, r->hold);
	uint64_t amount = 0;

	for (uint32_t i = 0; index != 0 && i < ledger->entries[index - 1].legs; i++)
		amount += ledger->entries[index - 1 + i].amount_left;
	if (index != 0 && amount != r->amount)
		ledger_fault(ledger, r, "what is paid is not what the hold costs");
	return book_step(ledger, r);
}

/* Seats that a hold gives back while it goes on, or the last of them. sold: they were sold. */
static int book_cut(
	struct ledger *ledger, const struct ush_record *records, uint32_t count, bool sold)
{
	int error = book_step(ledger, &records[count - 1]);
	uint32_t index = *slot_of(ledger, records[0].hold);

	for (uint32_t i = 0; i < count && error == 0 && index != 0; i++) {
		const struct ush_record *r = &records[i];
		struct ledger_entry *leg = &ledger->entries[index - 1];
		uint64_t *taken = seats_of(ledger, r->event, r->row);
		uint32_t legs = leg->legs;

		if (taken == NULL)
			return -USH_ENOMEM;
		while (legs > 1 && leg->row != r->row) {
			leg++;
			legs--;
		}
		if (leg->row != r->row || (r->mask & ~leg->left) != 0 ||
			(*taken & r->mask) != r->mask) {
			ledger_fault(ledger, r, "gives back seats that the hold does not have");
			continue;
		}
		if (r->amount > leg->amount_left || ((leg->left & ~r->mask) == 0 && r->amount != 0))
			ledger_fault(ledger, r, "what is left costs more than all did");
		*(sold ? &ledger->seats_sold : &ledger->seats_held) -= ush_popcount64(r->mask);
		*(sold ? &ledger->amount_sold : &ledger->amount_held) -=
			(uint64_t)leg->amount_left - r->amount;
		leg->left &= ~r->mask;
		leg->amount_left = r->amount;
		*taken &= ~r->mask;
	}
	return error;
}

/* Seats given up, then seats taken: the hold's legs are written anew. */
static int book_swap(struct ledger *ledger, const struct ush_record *records, uint32_t count)
{
	uint64_t last = records[count - 1].sequence;
	struct ledger_entry legs[USH_LEG_COUNT_MAX * 2];
	uint32_t given = 0, index, n = 0;
	int error;

	while (given < count && records[given].state == USH_HOLD_STATE_RELEASED)
		given++;
	error = book_cut(ledger, records, given, false);
	index = *slot_of(ledger, records[0].hold);
	if (error != 0 || index == 0)
		return error;
	for (uint32_t i = 0; i < ledger->entries[index - 1].legs; i++) {
		if (ledger->entries[index - 1 + i].left != 0)
			legs[n++] = ledger->entries[index - 1 + i];
	}
	for (uint32_t i = given; i < count; i++) {
		const struct ush_record *r = &records[i];
		uint64_t *taken = seats_of(ledger, r->event, r->row);
		uint32_t at = 0;

		if (taken == NULL)
			return -USH_ENOMEM;
		if ((*taken & r->mask) != 0) {
			ledger->double_sold += ush_popcount64(*taken & r->mask);
			ledger_fault(ledger, r, "a seat that someone else has");
		}
		*taken |= r->mask;
		ledger->seats_held += ush_popcount64(r->mask);
		while (at < n && legs[at].row != r->row)
			at++;
		if (at == n && n < USH_LEG_COUNT_MAX * 2)
			legs[n++] = (struct ledger_entry){.row = r->row};
		if (at == n)
			continue;
		if (r->amount < legs[at].amount_left)
			ledger_fault(ledger, r, "more seats cost less");
		ledger->amount_held += (uint64_t)r->amount - legs[at].amount_left;
		legs[at].left |= r->mask;
		legs[at].amount_left = r->amount;
	}
	if (n > USH_LEG_COUNT_MAX)
		ledger_fault(ledger, &records[0], "a hold of too many rows");
	*slot_of(ledger, records[0].hold) = (uint32_t)ledger->count + 1;
	for (uint32_t i = 0; i < n && error == 0; i++) {
		struct ush_record r = records[0];

		r.row = legs[i].row;
		r.mask = legs[i].left;
		r.amount = legs[i].amount_left;
		r.run_index = (uint8_t)i;
		r.run_count = (uint8_t)n;
		error = add(ledger, &r, records[0].hold, last);
	}
	return error;
}

/* A refund names seats that the hold has, and no more than they cost. */
static int book_refund_begin(
	struct ledger *ledger, const struct ush_record *records, uint32_t count)
{
	uint32_t index = *slot_of(ledger, records[0].hold);

	for (uint32_t i = 0; index != 0 && i < count; i++) {
		const struct ledger_entry *leg = &ledger->entries[index - 1];
		uint32_t legs = leg->legs;

		for (; legs > 1 && (leg->row != records[i].row || leg->left == 0); legs--)
			leg++;
		if (leg->row != records[i].row || (records[i].mask & ~leg->left) != 0)
			ledger_fault(
				ledger, &records[i], "refunds seats that the hold does not have");
		else if (records[i].amount > leg->amount_left ||
			 (records[i].mask == leg->left && records[i].amount != leg->amount_left))
			ledger_fault(
				ledger, &records[i], "refunds another amount than the seats cost");
	}
	return book_step(ledger, &records[count - 1]);
}

static int book_transfer(struct ledger *ledger, const struct ush_record *r)
{
	int error = book_step(ledger, r);
	uint32_t index = *slot_of(ledger, r->hold);

	for (uint32_t i = 0; index != 0 && i < ledger->entries[index - 1].legs; i++)
		ledger->entries[index - 1 + i].owner = r->mask;
	return error;
}

static int book_house(struct ledger *ledger, const struct ush_record *r)
{
	uint64_t *taken = seats_of(ledger, r->event, r->row);

	if (taken == NULL)
		return -USH_ENOMEM;
	/* A channel's seats may be had, by its key. */
	if (r->state != 0)
		return 0;
	if (r->type == USH_RECORD_TYPE_BLOCK) {
		if ((*taken & r->mask) != 0)
			ledger_fault(ledger, r, "blocks a seat that someone has");
		*taken |= r->mask;
	} else {
		/* Seats blocked by the venue file were never booked: clearing them is right. */
		*taken &= ~r->mask;
	}
	return 0;
}

/* What was over or cancelled does not sell again by one step, and nothing becomes a draft again. */
static void book_status(struct ledger *ledger, const struct ush_record *r)
{
	uint8_t *status = r->event <= USH_EVENT_ID_MAX ? &ledger->status[r->event] : NULL;

	if (status == NULL)
		return;
	/* Older versions did not say where it came from. */
	if (r->mask != 0 && *status != 0 && r->mask != *status)
		ledger_fault(ledger, r, "an event's status changes from what it was not");
	if (r->mask != 0 && ((r->state == USH_EVENT_STATUS_DRAFT && r->mask != r->state) ||
				    (r->state == USH_EVENT_STATUS_ON_SALE &&
					    r->mask >= USH_EVENT_STATUS_COMPLETED)))
		ledger_fault(ledger, r, "an event's status goes back");
	*status = r->state;
}

/* Rows are only added, and no change is left out. */
static int book_change(struct ledger *ledger, const struct ush_record *r)
{
	struct ledger_event *event = &ledger->events[r->event];
	uint8_t status = ledger->status[r->event];
	uint32_t first = event->digest != 0 ? event->rows : r->amount;

	/* digest 0: from before the snapshot that this began with. */
	if (event->digest != 0 && (r->user != event->digest || r->version != event->changes + 1))
		ledger_fault(ledger, r, "an event is changed from what it was not");
	if (event->digest != 0 && (r->amount < event->rows || r->mask < event->seats))
		ledger_fault(ledger, r, "an event has fewer seats than before");
	if (event->digest != 0 && r->row != event->prices && r->row != event->prices + 1)
		ledger_fault(ledger, r, "a price list was left out");
	if (status == USH_EVENT_STATUS_COMPLETED || status == USH_EVENT_STATUS_CANCELLED)
		ledger_fault(ledger, r, "an event that is over is changed");
	*event = (struct ledger_event){.digest = r->hold,
		.seats = r->mask,
		.rows = r->amount,
		.changes = r->version,
		.prices = r->row};
	return r->state != 0 && r->amount > first
		       ? ledger_book_added(ledger, r->event, first, r->amount - first)
		       : 0;
}

/* A hold names the price list it is by. */
static void book_prices(
	struct ledger *ledger, const struct ush_record *r, const struct ush_record *hold)
{
	const struct ledger_event *event = &ledger->events[r->event];

	if (r->user != hold->user)
		ledger_fault(ledger, r, "prices of a user whose hold it is not");
	if (r->row == 0 || (event->digest != 0 && r->row > event->prices))
		ledger_fault(ledger, r, "a price list that the event does not have yet");
}

/* What stands behind a run's own records. out: *count: without it. */
static int book_behind(struct ledger *ledger, const struct ush_record *records, uint32_t *count)
{
	const struct ush_record *time = NULL;
	int error = 0;

	if (*count > 1 && records[*count - 1].type == USH_RECORD_TYPE_USER_TIME)
		time = &records[--*count];
	if (*count > 1 && records[*count - 1].type == USH_RECORD_TYPE_PRICES)
		book_prices(ledger, &records[--*count], records);
	for (uint32_t i = 0; records[0].type == USH_RECORD_TYPE_UNBLOCK && i < *count; i++) {
		if (records[i].type == USH_RECORD_TYPE_UNBLOCK)
			ledger_not_aside(ledger, &records[i]);
	}
	/* What is kept from the open pool is in nobody's hold either way. */
	while (*count > 1 && records[*count - 1].type == USH_RECORD_TYPE_KEEP && error == 0)
		error = ledger_book_keep(ledger, &records[--*count]);
	return error != 0 ? error : ledger_book_time(ledger, records, *count, time);
}

int ledger_book(struct ledger *ledger, const struct ush_record *records, uint32_t count)
{
	int error = 0;

	if (records->event > USH_EVENT_ID_MAX) {
		ledger_fault(ledger, records, "no such event");
		return 0;
	}
	error = book_behind(ledger, records, &count);
	if (error != 0)
		return error;
	switch (records[0].type) {
	case USH_RECORD_TYPE_OFFER:
		error = ledger_book_offer(ledger, records, count);
		return error != 0 ? error : book_hold(ledger, records, count);
	case USH_RECORD_TYPE_WAIT_JOIN:
	case USH_RECORD_TYPE_WAIT_LEAVE:
	case USH_RECORD_TYPE_WAIT_TURN:
	case USH_RECORD_TYPE_WAIT_OPEN:
		return ledger_book_wait(ledger, records, count);
	case USH_RECORD_TYPE_HOLD:
		return book_hold(ledger, records, count);
	case USH_RECORD_TYPE_LATE:
		return book_late(ledger, records, count);
	case USH_RECORD_TYPE_RELEASE:
	case USH_RECORD_TYPE_EXPIRE:
	case USH_RECORD_TYPE_CONFIRM:
		return book_end(ledger, &records[0]);
	case USH_RECORD_TYPE_PAY_END:
		return records[0].state == USH_HOLD_STATE_HELD ? book_step(ledger, &records[0])
							       : book_end(ledger, &records[0]);
	case USH_RECORD_TYPE_TRANSFER:
		return book_transfer(ledger, &records[0]);
	case USH_RECORD_TYPE_EXTEND:
		return book_step(ledger, &records[0]);
	case USH_RECORD_TYPE_PAY_BEGIN:
		return book_pay_begin(ledger, &records[0]);
	case USH_RECORD_TYPE_CUT:
		return book_cut(ledger, records, count, false);
	case USH_RECORD_TYPE_SWAP:
		return book_swap(ledger, records, count);
	case USH_RECORD_TYPE_REFUND_BEGIN:
		return book_refund_begin(ledger, records, count);
	case USH_RECORD_TYPE_REFUND_END:
		return records[0].mask == 0 ? book_step(ledger, &records[0])
					    : book_cut(ledger, records, count, true);
	case USH_RECORD_TYPE_EVENT:
		ledger->events[records->event] = (struct ledger_event){
			.digest = records->hold, .seats = records->mask, .rows = records->amount};
		return 0;
	case USH_RECORD_TYPE_EVENT_CHANGE:
		return book_change(ledger, &records[0]);
	case USH_RECORD_TYPE_EVENT_STATUS:
		book_status(ledger, &records[0]);
		return 0;
	case USH_RECORD_TYPE_BLOCK:
	case USH_RECORD_TYPE_UNBLOCK:
		for (uint32_t i = 0; i < count && error == 0; i++)
			error = book_house(ledger, &records[i]);
		return error;
	case USH_RECORD_TYPE_ROOM_OPEN:
	case USH_RECORD_TYPE_ROOM_JOIN:
	case USH_RECORD_TYPE_ROOM_CLOSE:
	case USH_RECORD_TYPE_ROOM_DRAW:
	case USH_RECORD_TYPE_ROOM_SERVE:
	case USH_RECORD_TYPE_ROOM_EXCHANGE:
		return ledger_book_room(ledger, records, count);
	default:
		return 0;
	}
}

uint64_t ledger_seats_left(const struct ledger *ledger, uint64_t hold)
{
	uint32_t index = *slot_of(ledger, hold);
	uint64_t seats = 0;

	for (uint32_t i = 0; index != 0 && i < ledger->entries[index - 1].legs; i++)
		seats += ush_popcount64(ledger->entries[index - 1 + i].left);
	return seats;
}

uint64_t ledger_amount(const struct ledger_entry *entry)
{
	uint64_t amount = 0;

	for (uint32_t i = 0; i < entry->legs; i++)
		amount += entry[i].amount;
	return amount;
}

bool ledger_is_unchanged(const struct ledger *ledger, const struct ledger_entry *entry)
{
	uint32_t index = *slot_of(ledger, entry->hold);

	/* A swap writes the legs anew. */
	if (index == 0 || entry != &ledger->entries[index - 1] || (entry->end != 0 && !entry->sold))
		return false;
	for (uint32_t i = 0; i < entry->legs; i++) {
		if (entry[i].left != entry[i].mask)
			return false;
	}
	return true;
}

const struct ledger_entry *ledger_find(const struct ledger *ledger, uint64_t sequence)
{
	size_t low = 0, high = ledger->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (ledger->entries[middle].sequence < sequence)
			low = middle + 1;
		else
			high = middle;
	}
	return low < ledger->count && ledger->entries[low].sequence == sequence
		       ? &ledger->entries[low]
		       : NULL;
}
