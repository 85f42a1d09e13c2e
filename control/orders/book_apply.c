/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What records mean to the book. usherd has decided and checked everything; here only what would
 * make a wrong table is looked at: a hold or event that is not known, a version that skips.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "orders/book_out.h"

/* A run being applied. */
struct run {
	struct book *book;
	struct book_event *event; /* NULL: of no event, or one not known */
	const struct ush_record *r;
	uint32_t count; /* of its own kind */
	const struct ush_record *keep;
	uint32_t keep_count;
	uint32_t prices; /* number of the list of a new hold */
	struct ush_message *message;
};

static int bad(const struct run *run, const char *what)
{
	ush_message_set(run->message, "journal record %" PRIu64 ": %s", run->r->sequence, what);
	return -USH_ECORRUPT;
}

static int64_t us_of(uint64_t ns)
{
	return (int64_t)(ns / 1000);
}

/* ---- seats --------------------------------------------------------------------------------- */

static int take_seats(const struct run *run, uint32_t row, uint64_t mask)
{
	if (row >= run->event->row_count)
		return bad(run, "no such row");
	return book_note_row(
		run->book, run->event, row, run->event->row[row].free & ~mask, run->r->sequence);
}

/* Free again, but for those that a KEEP record of the run names. */
static int return_seats(const struct run *run, uint32_t row, uint64_t mask)
{
	if (row >= run->event->row_count)
		return bad(run, "no such row");
	for (uint32_t i = 0; i < run->keep_count; i++) {
		if (run->keep[i].row == row)
			mask &= ~run->keep[i].mask;
	}
	return book_note_row(
		run->book, run->event, row, run->event->row[row].free | mask, run->r->sequence);
}

static int return_legs(const struct run *run, const struct book_hold *hold)
{
	int error = 0;

	for (uint32_t i = 0; i < hold->leg_count && error == 0; i++)
		error = return_seats(run, hold->leg[i].row, hold->leg[i].mask);
	return error;
}

/* The legs of a run as the records name them. */
static uint32_t legs_of(const struct run *run, struct book_leg legs[USH_LEG_COUNT_MAX])
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < run->count && count < USH_LEG_COUNT_MAX; i++)
		legs[count++] = (struct book_leg){
			.mask = run->r[i].mask, .row = run->r[i].row, .amount = run->r[i].amount};
	return count;
}

/* ---- holds --------------------------------------------------------------------------------- */

/* The hold of a run, moved on by one version. ret: 0. */
static int find_hold(const struct run *run, struct book_hold **hold)
{
	const struct ush_record *last = &run->r[run->count - 1];

	if (run->event == NULL)
		return bad(run, "of an event that was not loaded");
	*hold = book_find(run->book, run->r->hold);
	if (*hold == NULL)
		return bad(run, "of a hold that is not known");
	if ((uint16_t)((*hold)->version + 1) != run->r->version)
		return bad(run, "the hold's versions have a gap");
	(*hold)->version = last->version;
	(*hold)->sequence = last->sequence;
	(*hold)->changed_us = run->book->time_us;
	return book_note_hold(run->book, *hold);
}

static int range(const struct run *run)
{
	return bad(run, "the fees are too large for a number");
}

static int64_t total_of(const struct book_hold *hold)
{
	return book_amount(hold) + hold->fee;
}

/* A change whose body tells seats, price and deadline. */
static int note_held(const struct run *run, const char *kind, const struct book_hold *hold)
{
	char seats[BOOK_SEATS_TEXT];

	book_seats_text(seats, hold->leg, hold->leg_count);
	return book_note_change(run->book, kind, run->r, hold->hold, hold->user,
		"{\"seats\":%s,\"amount\":%" PRId64 ",\"total\":%" PRId64
		",\"deadline_us\":%" PRId64 "}",
		seats, book_amount(hold), total_of(hold), hold->deadline_us);
}

static int note_seats(const struct run *run, const char *kind, const struct book_hold *hold,
	const struct book_leg *legs, uint32_t count)
{
	char seats[BOOK_SEATS_TEXT];

	book_seats_text(seats, legs, count);
	return book_note_change(
		run->book, kind, run->r, hold->hold, hold->user, "{\"seats\":%s}", seats);
}

/* A hold is an order from here. */
static int enter_sold(const struct run *run, struct book_hold *hold)
{
	char seats[BOOK_SEATS_TEXT];
	int error = 0;

	hold->state = USH_HOLD_STATE_SOLD;
	hold->sold_us = run->book->time_us;
	for (uint32_t i = 0; i < hold->leg_count && error == 0; i++)
		error = book_note_items(run->book, hold, &hold->leg[i], hold->leg[i].mask, 0);
	if (error == -USH_ERANGE)
		return range(run);
	run->event->sold += book_seats(hold);
	if (error == 0)
		error = book_note_event(run->book, run->event);
	if (error != 0)
		return error;
	book_seats_text(seats, hold->leg, hold->leg_count);
	return book_note_change(run->book, "order.sold", run->r, hold->hold, hold->user,
		"{\"seats\":%s,\"amount\":%" PRId64 ",\"fee\":%" PRId64 ",\"total\":%" PRId64
		",\"currency\":\"%s\"}",
		seats, book_amount(hold), hold->fee, total_of(hold), run->event->currency);
}

/* Whoever had this id before, and is over, makes room. */
static int make_room(const struct run *run, uint64_t id)
{
	struct book_hold *old = book_find(run->book, id);
	struct book_out *out = &run->book->out;

	if (old == NULL)
		return 0;
	if (old->state != USH_HOLD_STATE_RELEASED && old->state != USH_HOLD_STATE_EXPIRED &&
		old->state != USH_HOLD_STATE_REFUNDED)
		return bad(run, "a new hold has the id of one that goes on");
	book_remove(run->book, old);
	old->hold = 0 - old->number;
	book_add(run->book, old);
	for (uint32_t i = 0; i < out->item_count; i++) {
		if (out->item[i].hold == id)
			out->item[i].hold = old->hold;
	}
	return 0;
}

/* HOLD, OFFER and LATE. */
static int apply_hold(const struct run *run)
{
	const struct ush_record *r = run->r;
	bool late = r->type == USH_RECORD_TYPE_LATE, offer = r->type == USH_RECORD_TYPE_OFFER;
	struct book_hold *hold;
	int error;

	if (run->event == NULL)
		return bad(run, "a hold of an event that was not loaded");
	error = make_room(run, r->hold);
	if (error != 0)
		return error;
	hold = calloc(1, sizeof(*hold));
	if (hold == NULL)
		return -USH_ENOMEM;
	*hold = (struct book_hold){.hold = r->hold,
		.number = r->sequence,
		.user = r->user,
		.sequence = r[run->count - 1].sequence,
		.late_for = late ? r->request_id | (uint64_t)r->digest << 32 : 0,
		.deadline_us = us_of(r->deadline_ns),
		.made_us = run->book->time_us,
		.changed_us = run->book->time_us,
		.event = r->event,
		.version = r->version,
		.prices = (uint16_t)run->prices,
		.state = USH_HOLD_STATE_HELD,
		.offer = offer};
	if (run->book->source.terms != NULL)
		hold->terms =
			run->book->source.terms(run->book->source.context, r->event, r->sequence);
	hold->leg_count = (uint8_t)legs_of(run, hold->leg);
	book_add(run->book, hold);
	if (book_fee_of(run->event, hold) != 0)
		return range(run);
	for (uint32_t i = 0; i < hold->leg_count && error == 0; i++)
		error = take_seats(run, hold->leg[i].row, hold->leg[i].mask);
	if (error == 0)
		error = book_note_fresh(run->book, r->hold);
	if (error == 0)
		error = book_note_hold(run->book, hold);
	if (error != 0)
		return error;
	return late ? enter_sold(run, hold)
		    : note_held(run, offer ? "waitlist.offered" : "hold.made", hold);
}

/* Over, unsold: RELEASE, EXPIRE, a PAY_END that came too late. */
static int end_hold(const struct run *run, struct book_hold *hold, uint8_t state)
{
	int error = return_legs(run, hold);

	hold->state = state;
	if (error != 0)
		return error;
	return note_seats(run, state == USH_HOLD_STATE_RELEASED ? "hold.released" : "hold.expired",
		hold, hold->leg, hold->leg_count);
}

static int apply_pay_begin(const struct run *run, struct book_hold *hold)
{
	hold->state = USH_HOLD_STATE_PAYING;
	hold->attempts = run->r->row;
	return book_note_change(run->book, "hold.paying", run->r, hold->hold, hold->user,
		"{\"attempt\":%u,\"amount\":%" PRId64 ",\"total\":%" PRId64 "}", hold->attempts,
		book_amount(hold), total_of(hold));
}

static int apply_pay_end(const struct run *run, struct book_hold *hold)
{
	switch (run->r->state) {
	case USH_HOLD_STATE_SOLD:
		return enter_sold(run, hold);
	case USH_HOLD_STATE_EXPIRED:
		return end_hold(run, hold, USH_HOLD_STATE_EXPIRED);
	default:
		hold->state = USH_HOLD_STATE_HELD;
		return note_held(run, "hold.changed", hold);
	}
}

static struct book_leg *leg_of(struct book_hold *hold, uint32_t row)
{
	for (uint32_t i = 0; i < hold->leg_count; i++) {
		if (hold->leg[i].row == row)
			return &hold->leg[i];
	}
	return NULL;
}

/* Rows without seats are no legs. */
static void drop_empty(struct book_hold *hold)
{
	uint8_t kept = 0;

	for (uint32_t i = 0; i < hold->leg_count; i++) {
		if (hold->leg[i].mask != 0)
			hold->leg[kept++] = hold->leg[i];
	}
	hold->leg_count = kept;
}

/* Seats that a record names leave the hold. */
static int cut_leg(const struct run *run, struct book_hold *hold, const struct ush_record *r)
{
	struct book_leg *leg = leg_of(hold, r->row);

	if (leg == NULL || (r->mask & ~leg->mask) != 0)
		return bad(run, "the hold does not have these seats");
	leg->mask &= ~r->mask;
	leg->amount = r->amount;
	return return_seats(run, r->row, r->mask);
}

static int apply_cut(const struct run *run, struct book_hold *hold)
{
	int error = 0;

	for (uint32_t i = 0; i < run->count && error == 0; i++)
		error = cut_leg(run, hold, &run->r[i]);
	if (error != 0)
		return error;
	drop_empty(hold);
	if (book_fee_of(run->event, hold) != 0)
		return range(run);
	return note_held(run, "hold.changed", hold);
}

static int apply_swap(const struct run *run, struct book_hold *hold)
{
	int error = 0;

	for (uint32_t i = 0; i < run->count && error == 0; i++) {
		const struct ush_record *r = &run->r[i];
		struct book_leg *leg;

		if (r->state == USH_HOLD_STATE_RELEASED) {
			error = cut_leg(run, hold, r);
			continue;
		}
		drop_empty(hold);
		leg = leg_of(hold, r->row);
		if (leg == NULL && hold->leg_count == USH_LEG_COUNT_MAX)
			return bad(run, "a hold of too many rows");
		if (leg == NULL) {
			leg = &hold->leg[hold->leg_count++];
			*leg = (struct book_leg){.row = r->row};
		}
		leg->mask |= r->mask;
		leg->amount = r->amount;
		error = take_seats(run, r->row, r->mask);
	}
	if (error != 0)
		return error;
	drop_empty(hold);
	if (book_fee_of(run->event, hold) != 0)
		return range(run);
	return note_held(run, "hold.changed", hold);
}

static int apply_refund_begin(const struct run *run, struct book_hold *hold)
{
	struct book_leg legs[USH_LEG_COUNT_MAX];
	uint32_t count = legs_of(run, legs);
	int error = 0;

	hold->state = USH_HOLD_STATE_REFUNDING;
	for (uint32_t i = 0; i < count && error == 0; i++) {
		struct book_leg *leg = leg_of(hold, legs[i].row);

		if (leg == NULL || (legs[i].mask & ~leg->mask) != 0)
			return bad(run, "the order does not have these seats");
		leg->refunding |= legs[i].mask;
		error = book_note_items(run->book, hold, leg, legs[i].mask, 1);
	}
	return error != 0 ? error : note_seats(run, "order.refunding", hold, legs, count);
}

static int refund_failed(const struct run *run, struct book_hold *hold)
{
	struct book_leg legs[USH_LEG_COUNT_MAX];
	uint32_t count = 0;
	int error = 0;

	for (uint32_t i = 0; i < hold->leg_count && error == 0; i++) {
		struct book_leg *leg = &hold->leg[i];

		if (leg->refunding == 0)
			continue;
		legs[count++] = (struct book_leg){.row = leg->row, .mask = leg->refunding};
		error = book_note_items(run->book, hold, leg, leg->refunding, 0);
		leg->refunding = 0;
	}
	return error != 0 ? error : note_seats(run, "order.refund_failed", hold, legs, count);
}

/* Seats of a record are refunded. in/out: what they and their fees cost. */
static int refund_leg(const struct run *run, struct book_hold *hold, const struct ush_record *r,
	int64_t *amount, int64_t *fees)
{
	struct book_leg *leg = leg_of(hold, r->row);
	int64_t price[64], fee[64];
	int error;

	if (leg == NULL || (r->mask & ~leg->mask) != 0)
		return bad(run, "the order does not have these seats");
	error = book_note_items(run->book, hold, leg, r->mask, 2);
	if (error != 0 || book_split(run->event, hold, leg, price, fee) != 0)
		return error != 0 ? error : range(run);
	for (uint32_t bit = 0; bit < 64; bit++) {
		if ((r->mask >> bit & 1) == 0)
			continue;
		*amount += price[bit];
		*fees += fee[bit];
	}
	leg->refunding = 0;
	return cut_leg(run, hold, r);
}

static int apply_refund_end(const struct run *run, struct book_hold *hold)
{
	char seats[BOOK_SEATS_TEXT];
	struct book_leg legs[USH_LEG_COUNT_MAX];
	int64_t amount = 0, fee = 0;
	uint32_t count;
	int error = 0;

	hold->state = run->r[run->count - 1].state;
	if (run->r->mask == 0)
		return refund_failed(run, hold);
	count = legs_of(run, legs);
	for (uint32_t i = 0; i < run->count && error == 0; i++) {
		error = refund_leg(run, hold, &run->r[i], &amount, &fee);
		run->event->sold -= ush_popcount64(run->r[i].mask);
	}
	if (error == 0)
		error = book_note_event(run->book, run->event);
	if (error != 0)
		return error;
	drop_empty(hold);
	hold->refunded += amount + fee;
	if (book_fee_of(run->event, hold) != 0)
		return range(run);
	book_seats_text(seats, legs, count);
	return book_note_change(run->book, "order.refunded", run->r, hold->hold, hold->user,
		"{\"seats\":%s,\"amount\":%" PRId64 ",\"fee\":%" PRId64 ",\"left\":%u}", seats,
		amount, fee, book_seats(hold));
}

static int apply_transfer(const struct run *run, struct book_hold *hold)
{
	hold->user = run->r->mask;
	return book_note_change(run->book, "order.transferred", run->r, hold->hold, hold->user,
		"{\"from\":\"%" PRIu64 "\",\"to\":\"%" PRIu64 "\"}", run->r->user, hold->user);
}

/* Every live hold gets the time of the outage back. */
static int apply_resume(const struct run *run)
{
	struct book *book = run->book;

	for (uint32_t i = 0; i < book->bucket_count && run->r->mask != 0; i++) {
		for (struct book_hold *at = book->bucket[i]; at != NULL; at = at->next) {
			if (at->state != USH_HOLD_STATE_HELD && at->state != USH_HOLD_STATE_PAYING)
				continue;
			at->deadline_us += us_of(run->r->mask);
			if (book_note_hold(book, at) != 0)
				return -USH_ENOMEM;
		}
	}
	return 0;
}

/* A record of a hold that there is already. */
static int apply_held(const struct run *run)
{
	struct book_hold *hold = NULL;
	int error = find_hold(run, &hold);

	if (error != 0)
		return error;
	switch (run->r->type) {
	case USH_RECORD_TYPE_RELEASE:
		return end_hold(run, hold, USH_HOLD_STATE_RELEASED);
	case USH_RECORD_TYPE_EXPIRE:
		return end_hold(run, hold, USH_HOLD_STATE_EXPIRED);
	case USH_RECORD_TYPE_CONFIRM:
		return enter_sold(run, hold);
	case USH_RECORD_TYPE_EXTEND:
		hold->deadline_us = us_of(run->r->deadline_ns);
		return note_held(run, "hold.changed", hold);
	case USH_RECORD_TYPE_CUT:
		return apply_cut(run, hold);
	case USH_RECORD_TYPE_SWAP:
		return apply_swap(run, hold);
	case USH_RECORD_TYPE_PAY_BEGIN:
		return apply_pay_begin(run, hold);
	case USH_RECORD_TYPE_PAY_END:
		return apply_pay_end(run, hold);
	case USH_RECORD_TYPE_REFUND_BEGIN:
		return apply_refund_begin(run, hold);
	case USH_RECORD_TYPE_REFUND_END:
		return apply_refund_end(run, hold);
	default:
		return apply_transfer(run, hold);
	}
}

/* ---- events -------------------------------------------------------------------------------- */

/* Rows from `first` on as the image has them; free unless set aside. */
static int open_rows(const struct run *run, uint32_t first, bool aside)
{
	int error = 0;

	for (uint32_t i = first; i < run->event->row_count && error == 0; i++) {
		const struct ush_venue_row *row = &run->event->seats[i];

		error = book_note_row(run->book, run->event, i,
			aside ? 0 : row->seats & ~row->house, run->r->sequence);
	}
	return error;
}

static int note_image(const struct run *run, const char *kind, uint32_t list)
{
	int error = book_note_event(run->book, run->event);

	if (error == 0)
		error = book_note_list(run->book, run->event->id, list, run->event->digest);
	if (error == 0)
		error = book_put_list(
			run->book, run->event->id, list, run->event->digest, run->message);
	if (error != 0)
		return error;
	return book_note_change(run->book, kind, run->r, 0, 0,
		"{\"seats\":%" PRId64 ",\"digest\":\"%016" PRIx64 "\"}", run->event->seat_count,
		run->event->digest);
}

static int apply_event(struct run *run)
{
	const struct ush_record *r = run->r;
	int error;

	if (run->event != NULL)
		return bad(run, "the event was loaded before");
	error = book_put_event(
		run->book, r->event, r->hold, USH_EVENT_STATUS_DRAFT, 0, 0, run->message);
	if (error != 0)
		return error;
	run->event = run->book->event[r->event];
	error = open_rows(run, 0, false);
	return error != 0 ? error : note_image(run, "event.loaded", 0);
}

static bool has_list(const struct book_event *event, uint32_t number)
{
	for (uint32_t i = 0; i < event->list_count; i++) {
		if (event->list[i]->number == number)
			return true;
	}
	return false;
}

static int apply_event_change(struct run *run)
{
	const struct ush_record *r = run->r;
	uint32_t rows = run->event != NULL ? run->event->row_count : 0;
	int error;

	if (run->event == NULL)
		return bad(run, "an event is changed that was not loaded");
	error = book_put_event(run->book, r->event, r->hold, run->event->status, r->version,
		run->event->sold, run->message);
	if (error == 0)
		error = open_rows(run, rows, r->state == 1);
	if (error != 0)
		return error;
	if (!has_list(run->event, r->row))
		return note_image(run, "event.changed", r->row);
	error = book_note_event(run->book, run->event);
	if (error != 0)
		return error;
	return book_note_change(run->book, "event.changed", r, 0, 0,
		"{\"seats\":%" PRId64 ",\"digest\":\"%016" PRIx64 "\"}", run->event->seat_count,
		run->event->digest);
}

static int by_number(const void *left, const void *right)
{
	const struct book_hold *const *a = left, *const *b = right;

	return ((*a)->number > (*b)->number) - ((*a)->number < (*b)->number);
}

/* Each order of a cancelled event is told of, in the order in which they were made. */
static int cancel_orders(const struct run *run)
{
	struct book *book = run->book;
	struct book_hold **list = calloc(book->hold_count + 1ul, sizeof(struct book_hold *));
	uint32_t count = 0;
	int error = 0;

	if (list == NULL)
		return -USH_ENOMEM;
	for (uint32_t i = 0; i < book->bucket_count; i++) {
		for (struct book_hold *at = book->bucket[i]; at != NULL; at = at->next) {
			if (at->event == run->event->id &&
				(at->state == USH_HOLD_STATE_SOLD ||
					at->state == USH_HOLD_STATE_REFUNDING))
				list[count++] = at;
		}
	}
	qsort(list, count, sizeof(list[0]), by_number);
	for (uint32_t i = 0; i < count && error == 0; i++)
		error = book_note_change(
			book, "order.cancelled", run->r, list[i]->hold, list[i]->user, "{}");
	free(list);
	return error;
}

static const char *status_name(uint8_t status)
{
	static const char *const names[USH_EVENT_STATUS_COUNT] = {
		"none", "draft", "on_sale", "paused", "sold_out", "completed", "cancelled"};

	return status < USH_EVENT_STATUS_COUNT ? names[status] : "unknown";
}

static int apply_event_status(const struct run *run)
{
	bool again;
	int error;

	if (run->event == NULL)
		return bad(run, "the status of an event that was not loaded");
	again = run->event->status == run->r->state;
	run->event->status = run->r->state;
	error = book_note_event(run->book, run->event);
	if (error == 0)
		error = book_note_change(run->book, "event.status", run->r, 0, 0,
			"{\"status\":\"%s\"}", status_name(run->r->state));
	if (error == 0 && run->r->state == USH_EVENT_STATUS_CANCELLED && !again)
		error = cancel_orders(run);
	return error;
}

/* BLOCK, UNBLOCK and WAIT_OPEN: seats without a hold. */
static int apply_seats(const struct run *run)
{
	int error = 0;

	if (run->event == NULL)
		return bad(run, "seats of an event that was not loaded");
	for (uint32_t i = 0; i < run->count && error == 0; i++) {
		const struct ush_record *r = &run->r[i];

		error = r->type == USH_RECORD_TYPE_BLOCK ? take_seats(run, r->row, r->mask)
							 : return_seats(run, r->row, r->mask);
	}
	return error;
}

static int apply_wait(const struct run *run)
{
	static const char *const reasons[USH_WAIT_LEFT_COUNT] = {
		"unknown", "asked", "limit", "over"};
	const struct ush_record *r = run->r;

	if (r->type == USH_RECORD_TYPE_WAIT_JOIN)
		return book_note_change(run->book, "waitlist.joined", r, 0, r->user,
			"{\"seats\":%" PRIu64 ",\"place\":%u}", r->mask, r->amount);
	return book_note_change(run->book, "waitlist.left", r, 0, r->user, "{\"reason\":\"%s\"}",
		r->state < USH_WAIT_LEFT_COUNT ? reasons[r->state] : reasons[0]);
}

/* ---- runs ---------------------------------------------------------------------------------- */

static int apply_one(struct run *run)
{
	switch (run->r->type) {
	case USH_RECORD_TYPE_HOLD:
	case USH_RECORD_TYPE_OFFER:
	case USH_RECORD_TYPE_LATE:
		return apply_hold(run);
	case USH_RECORD_TYPE_RELEASE:
	case USH_RECORD_TYPE_EXPIRE:
	case USH_RECORD_TYPE_CONFIRM:
	case USH_RECORD_TYPE_EXTEND:
	case USH_RECORD_TYPE_CUT:
	case USH_RECORD_TYPE_SWAP:
	case USH_RECORD_TYPE_PAY_BEGIN:
	case USH_RECORD_TYPE_PAY_END:
	case USH_RECORD_TYPE_REFUND_BEGIN:
	case USH_RECORD_TYPE_REFUND_END:
	case USH_RECORD_TYPE_TRANSFER:
		return apply_held(run);
	case USH_RECORD_TYPE_BLOCK:
	case USH_RECORD_TYPE_UNBLOCK:
	case USH_RECORD_TYPE_WAIT_OPEN:
		return apply_seats(run);
	case USH_RECORD_TYPE_WAIT_JOIN:
	case USH_RECORD_TYPE_WAIT_LEAVE:
		return apply_wait(run);
	case USH_RECORD_TYPE_EVENT:
		return apply_event(run);
	case USH_RECORD_TYPE_EVENT_CHANGE:
		return apply_event_change(run);
	case USH_RECORD_TYPE_EVENT_STATUS:
		return apply_event_status(run);
	case USH_RECORD_TYPE_RESUME:
		return apply_resume(run);
	default:
		/* Of waiting rooms, channels' keys and the journal itself. */
		return 0;
	}
}

static uint32_t unsold_of(const struct run *run)
{
	const struct book_hold *hold = book_find(run->book, run->r->hold);

	return hold != NULL && hold->event == run->r->event ? book_unsold(hold) : 0;
}

/* Says when the last seat on sale was sold, and when that is no longer so. What was before is seen
 * from the tables after a restart, so each change is told once. */
static int apply_told(struct run *run)
{
	bool before = run->event != NULL && book_sold_out(run->event);
	uint32_t unsold = unsold_of(run);
	int error = apply_one(run);

	if (error != 0 || run->event == NULL)
		return error;
	run->event->held += (int64_t)unsold_of(run) - unsold;
	if (book_sold_out(run->event) == before)
		return 0;
	return book_note_change(run->book, before ? "event.available" : "event.sold_out", run->r, 0,
		0, "{\"seats\":%" PRId64 ",\"sold\":%" PRId64 "}", run->event->seat_count,
		run->event->sold);
}

int book_apply(struct book *book, const struct ush_record *records, uint32_t count,
	uint64_t time_ns, struct ush_message *message)
{
	struct run run = {.book = book, .r = records, .count = count, .message = message};

	book->time_us = us_of(time_ns);
	if (records->event <= USH_EVENT_ID_MAX)
		run.event = book->event[records->event];
	if (run.count > 1 && records[run.count - 1].type == USH_RECORD_TYPE_USER_TIME)
		run.count--;
	if (run.count > 1 && records[run.count - 1].type == USH_RECORD_TYPE_PRICES)
		run.prices = records[--run.count].row;
	for (; run.count > 1 && records[run.count - 1].type == USH_RECORD_TYPE_KEEP; run.count--)
		run.keep_count++;
	run.keep = &records[run.count];
	return apply_told(&run);
}
