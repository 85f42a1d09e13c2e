/* SPDX-License-Identifier: Apache-2.0 */
/*
 * EVENT_CHANGE, in the order of EVENT_LOAD (control_load.c):
 *   1. read the image from the descriptor that came with the request;
 *   2. read the image that the event has now, and compare the two, labels and all;
 *   3. build what is new: nothing of it is visible yet;
 *   4. write the image to STATE/events and sync it;
 *   5. pass request and change to the loop, which journals EVENT_CHANGE and makes it visible;
 *   6. unless the loop took it, give the change back.
 * Failure modes: as there; an image of another event is answered IMAGE_DIFFERS.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "port/control_internal.h"

/* Steps 2 and 3. ret: OK, or what to answer. */
static enum ush_status change_build(struct ush_control *control, const struct ush_request *request,
	const void *image, size_t bytes, struct ush_change **change, uint32_t *row,
	struct ush_message *why)
{
	struct ush_engine *engine = control->config.engine;
	uint64_t digest = ush_engine_event_digest(engine, request->event);
	struct ush_images before = *control->config.images;
	const void *now = NULL;
	size_t now_bytes;
	enum ush_status status = USH_STATUS_BUSY;

	before.found = NULL;
	if (digest == 0 ||
		ush_images_find(&before, request->event, digest, &now, &now_bytes, why) == 0)
		status = ush_engine_change_build(engine, request->event, request->request_id, now,
			image, bytes, change, row, why);
	ush_images_close(&before);
	return status;
}

/* Steps 1 to 4. ret: OK; or what to answer, and nothing is left behind. */
static enum ush_status change_prepare(struct ush_control *control,
	const struct ush_request *request, int fd, struct ush_change **change, uint32_t *row,
	struct ush_message *why)
{
	size_t bytes = 0;
	void *image = NULL;
	enum ush_status status;
	int error = ush_image_read(fd, &image, &bytes, why);

	if (error != 0)
		return error == -USH_EINVAL ? USH_STATUS_BAD_IMAGE : USH_STATUS_BUSY;
	status = change_build(control, request, image, bytes, change, row, why);
	if (status == USH_STATUS_OK &&
		ush_images_store(control->config.images, request->event,
			ush_engine_image_digest(image, bytes), image, bytes, why) != 0) {
		ush_engine_change_discard(control->config.engine, *change);
		status = USH_STATUS_BUSY;
	}
	free(image);
	return status;
}

void control_change(struct ush_control *control, struct ush_control_message *message, int fd)
{
	struct ush_control_message **slot;
	struct ush_change *change = NULL;
	struct ush_request request;
	struct ush_message why;
	enum ush_status status;
	uint32_t row = 0;

	memcpy(&request, message->data, sizeof(request));
	if (fd < 0) {
		control_answer(control, message, USH_STATUS_BAD_IMAGE, 0,
			"no file descriptor came with the request (SCM_RIGHTS)");
		return;
	}
	slot = control_load_slot(control, request.event);
	if (slot == NULL || *slot != NULL) {
		control_answer(control, message, USH_STATUS_BUSY, 0,
			"this event is being loaded or changed already");
	} else {
		status = change_prepare(control, &request, fd, &change, &row, &why);
		if (status == USH_STATUS_OK) {
			message->attachment = change;
			message->event = request.event;
			message->is_change = true;
			*slot = message;
			control_pass(control, message);
		} else {
			ush_diag(USH_DIAG_WARN, "event_change_refused",
				USH_U64("event_id", request.event), USH_TEXT("why", why.text));
			control_answer(control, message, status,
				status == USH_STATUS_IMAGE_DIFFERS ? row : 0, why.text);
		}
	}
	close(fd);
}

void control_change_done(struct ush_control *control, struct ush_control_message *message)
{
	struct ush_control_message **slot = control_load_slot(control, message->event);
	struct ush_reply reply = {.status = USH_STATUS_BUSY};

	USH_ASSERT(slot != NULL && *slot == message);
	*slot = NULL;
	if (message->size >= sizeof(reply))
		memcpy(&reply, message->data, sizeof(reply));
	/* detail 1: done before; what was built for it, if anything, is not needed. */
	if (reply.status != USH_STATUS_OK || reply.detail != 0)
		ush_engine_change_discard(control->config.engine, message->attachment);
	else
		ush_diag(USH_DIAG_INFO, "event_changed", USH_U64("event_id", message->event),
			USH_U64("seats", reply.amount), USH_U64("change", reply.hold_version));
	message->attachment = NULL;
	message->is_change = false;
}
