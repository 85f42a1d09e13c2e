/* SPDX-License-Identifier: Apache-2.0 */
/* Records of rows added and prices changed, and of the price lists of holds. */
#include "apply/internal.h"

/* ret: 0 if the change is the one of the record. */
static int check_change(const struct ush_event *event, const struct ush_change *change,
	const struct ush_record *r, struct ush_message *message)
{
	const struct ush_prices *prices =
		change->prices != NULL ? change->prices : ush_event_prices(event);

	if (change->digest != r->hold || change->seat_count != r->mask ||
		change->row_count != r->amount)
		return bad(r, message, "the venue image is not the one of this change");
	if (change->number != r->version || prices->number != r->row)
		return bad(r, message, "the changes of an event have a gap");
	if (r->state > 1 || (r->state == 1 && change->rows == NULL))
		return bad(r, message, "seats are set aside that were not added");
	return 0;
}

int ush_apply_event_change(
	struct ush_state *state, const struct ush_record *r, struct ush_message *message)
{
	struct ush_event *event;
	struct ush_change *change;
	const struct ush_change *done;
	const void *image;
	size_t image_bytes;
	uint32_t status, row;
	int error = find_event(state, r, &event, message);

	if (error != 0)
		return error;
	status = atomic_load_explicit(&event->status, memory_order_relaxed);
	if (status == USH_EVENT_STATUS_COMPLETED || status == USH_EVENT_STATUS_CANCELLED)
		return bad(r, message, "an event that is over is changed");
	if (r->user != ush_event_digest(event))
		return bad(r, message, "the event has another venue image than this starts from");
	if (ush_change_known(event, r->request_id, r->hold, &done) != USH_CHANGE_IS_NEW)
		return bad(r, message, "an event is changed twice by one request");
	if (state->image_find == NULL)
		return bad(r, message, "no venue images at hand");
	error = state->image_find(
		state->image_context, r->event, r->hold, &image, &image_bytes, message);
	if (error == 0)
		error = ush_change_build(
			state->inventory, event, image, image_bytes, &change, &row, message);
	if (error == -USH_EINVAL)
		return bad(r, message, "the venue image is of another event");
	if (error != 0)
		return error;
	error = check_change(event, change, r, message);
	if (error == 0)
		ush_change_show(change, r->request_id, r->sequence, r->state != 0);
	return error;
}

int ush_apply_prices(struct ush_state *state, const struct ush_event *event, uint32_t index,
	struct ush_message *message)
{
	const struct ush_record *r = state->prices;
	const struct ush_prices *prices;

	if (r == NULL)
		return 0;
	prices = ush_event_price_list(event, r->row);
	if (r->row == 0 || prices == NULL)
		return bad(r, message, "a hold by a price list that the event does not have");
	if (r->user != ush_holds_line(state->holds, index)->user || r->mask != 0 || r->hold != 0 ||
		r->amount != 0)
		return bad(r, message, "a price list of another hold");
	for (const struct ush_hold *leg = ush_holds_line(state->holds, index);;
		leg = ush_holds_line(state->holds, leg->next)) {
		if (leg->amount != ush_price(prices, ush_event_row(event, leg->row), leg->mask))
			return bad(r, message, "a hold at other prices than those of its list");
		if (leg->next == USH_HOLD_NONE)
			break;
	}
	ush_holds_price(state->holds, index, r->row);
	return 0;
}
