/* SPDX-License-Identifier: Apache-2.0 */
/*
 * EVENT_CHANGE: rows are added to an event, or its prices change, while it is sold; and the price
 * lists of holds.
 *
 * Happy path: the change was built by another thread, and is the next one of its event; its record
 * gets its slot, and then rows, index and prices become visible to all loops, one store each.
 *
 * A hold keeps the price list it was made by, for its whole life: parts of it are given back and
 * refunded at those prices, and what SWAP brings in costs what it cost then. A loop may make a hold
 * by the old list while another's change is on its way into the log; so a hold says itself which
 * list it is by, in a PRICES record of its run.
 *
 * Failure modes: asked before: the same answer, nothing is done. The event is over: WRONG_STATUS.
 * Built beside another change: BUSY.
 */
#include "loop/internal.h"

const struct ush_prices *decide_prices(
	const struct ush_loop *loop, const struct ush_event *event, uint32_t index)
{
	uint32_t number = ush_holds_prices(&loop->engine->holds, index);
	const struct ush_prices *prices = event->prices_first;

	if (ush_unlikely(number != 0))
		prices = ush_event_price_list(event, number);
	USH_ASSERT(prices != NULL);
	return prices;
}

void decide_priced(struct ush_loop *loop, struct act *act)
{
	const struct ush_record first = loop->records[act->record_first];
	struct ush_record *record;
	uint32_t number;

	if (act->kind != ACT_HOLD && act->kind != ACT_OFFER && act->kind != ACT_LATE)
		return;
	number = ush_holds_prices(&loop->engine->holds, act->hold);
	if (number == 0)
		return;
	USH_ASSERT(loop->record_count < BATCH_RECORDS);
	record = &loop->records[loop->record_count++];
	*record = (struct ush_record){
		.type = USH_RECORD_TYPE_PRICES,
		.run_index = (uint8_t)act->record_count,
		.event = first.event,
		.user = first.user,
		.row = (uint16_t)number,
	};
	act->priced = 1;
}

/* Asked before. */
static void answer_again(struct ush_loop *loop, struct ush_packet *packet,
	const struct ush_admitted *admitted, const struct ush_event *event,
	const struct ush_change *done)
{
	struct ush_reply reply;

	ush_admit_reply(&reply, &admitted->request, USH_STATUS_OK);
	reply.detail = 1;
	reply.amount = done != NULL ? done->seat_count : ush_event_seat_count(event);
	reply.hold_version = (uint16_t)(done != NULL ? done->number : 0);
	count(&loop->counters.repeated);
	if (done == NULL) {
		decide_reply_after_all(loop, packet, &reply);
		return;
	}
	reply.sequence = done->sequence;
	loop_reply_after(loop, packet, &reply, done->sequence);
}

/* ret: OK; or why the change is not made now. */
static enum ush_status may_change(const struct ush_loop *loop, const struct ush_event *event,
	const struct ush_change *change, uint32_t *detail)
{
	const struct ush_change *last = ush_event_change(event);
	uint32_t status = atomic_load_explicit(&event->status, memory_order_acquire);

	*detail = 0;
	if (status == USH_EVENT_STATUS_COMPLETED || status == USH_EVENT_STATUS_CANCELLED) {
		*detail = status;
		return USH_STATUS_WRONG_STATUS;
	}
	if (!loop->room_kept || change->prev != last)
		return USH_STATUS_BUSY;
	return USH_STATUS_OK;
}

static void change_event(struct ush_loop *loop, struct ush_packet *packet,
	const struct ush_admitted *admitted, struct ush_event *event, struct ush_change *change)
{
	struct act *act = decide_event_act(
		loop, packet, admitted, event, ACT_EVENT_CHANGE, USH_RECORD_TYPE_EVENT_CHANGE);
	struct ush_record *record = &loop->records[act->record_first];

	act->change = change;
	record->state =
		change->rows != NULL && ush_wait_count(&loop->engine->waits, event->id) != 0;
	record->hold = change->digest;
	record->user = ush_event_digest(event);
	record->mask = change->seat_count;
	record->amount = change->row_count;
	record->version = (uint16_t)change->number;
	record->row = (uint16_t)(change->prices != NULL ? change->prices->number
							: ush_event_prices(event)->number);
	record->request_id = admitted->request.request_id;
	act->reply.amount = change->seat_count;
	act->reply.hold_version = (uint16_t)change->number;
	loop_act_done(loop, act);
	loop_flush(loop);
}

void decide_event_change(
	struct ush_loop *loop, struct ush_packet *packet, const struct ush_admitted *admitted)
{
	const struct ush_request *request = &admitted->request;
	struct ush_event *event = ush_inventory_event(&loop->engine->inventory, request->event);
	struct ush_change *change = packet->attachment;
	const struct ush_change *done;
	uint32_t known, detail = 0;
	enum ush_status status;

	/* All that changes an event comes through one loop. */
	loop_flush(loop);
	if (event == NULL) {
		loop_refuse(loop, packet, admitted, USH_STATUS_UNKNOWN_EVENT, 0);
		return;
	}
	if ((packet->flags & USH_PACKET_ATTACHED) == 0 || change == NULL ||
		change->event != event) {
		loop_refuse(loop, packet, admitted, USH_STATUS_BAD_IMAGE, 0);
		return;
	}
	known = ush_change_known(event, request->request_id, change->digest, &done);
	if (known == USH_STATUS_OK) {
		answer_again(loop, packet, admitted, event, done);
		return;
	}
	status = known == USH_CHANGE_IS_NEW ? may_change(loop, event, change, &detail)
					    : (enum ush_status)known;
	if (status != USH_STATUS_OK) {
		loop_refuse(loop, packet, admitted, status, detail);
		return;
	}
	change_event(loop, packet, admitted, event, change);
}
