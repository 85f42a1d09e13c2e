/* SPDX-License-Identifier: Apache-2.0 */
/* Records about an event as a whole: that it is loaded, and what it may sell. */
#include "apply/internal.h"

int ush_apply_event(
	struct ush_state *state, const struct ush_record *r, struct ush_message *message)
{
	struct ush_event *event;
	const void *image;
	size_t image_bytes;
	int error;

	if (ush_inventory_event(state->inventory, r->event) != NULL)
		return bad(r, message, "the event is loaded already");
	if (state->image_find == NULL)
		return bad(r, message, "no venue images at hand");
	error = state->image_find(
		state->image_context, r->event, r->hold, &image, &image_bytes, message);
	if (error == 0)
		error = ush_event_build(
			state->inventory, r->event, image, image_bytes, &event, message);
	if (error != 0)
		return error;
	if (event->digest != r->hold || ush_event_seat_count(event) != r->mask)
		return bad(r, message, "the venue image is not the one that was loaded");
	ush_event_publish(state->inventory, event);
	return 0;
}

int ush_apply_event_status(
	struct ush_state *state, const struct ush_record *r, struct ush_message *message)
{
	struct ush_event *event;
	int error = find_event(state, r, &event, message);
	uint32_t before;

	if (error != 0)
		return error;
	if (r->state < USH_EVENT_STATUS_DRAFT || r->state > USH_EVENT_STATUS_CANCELLED)
		return bad(r, message, "unknown event status");
	before = atomic_load_explicit(&event->status, memory_order_relaxed);
	/* Older versions did not tell it, and allowed more. */
	if (r->mask != 0 && r->mask != before)
		return bad(r, message, "the event has another status than this starts from");
	if (r->mask != 0 && !ush_event_status_follows(before, r->state))
		return bad(r, message, "the event's status does not go there");
	if (ush_event_is_cancelled(event) && r->state != USH_EVENT_STATUS_CANCELLED)
		return bad(r, message, "the event is cancelled");
	atomic_store_explicit(&event->status, r->state, memory_order_relaxed);
	return 0;
}
