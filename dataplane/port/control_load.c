/* SPDX-License-Identifier: Apache-2.0 */
/*
 * EVENT_LOAD, in the order that makes it durable:
 *   1. read the image from the descriptor that came with the request;
 *   2. build the event: nothing of it is visible yet;
 *   3. write the image to STATE/events and sync it: a journal record must never name an image
 *      that a restart cannot find;
 *   4. pass request and event to the loop, which journals EVENT and makes it visible;
 *   5. unless the loop took it, give the event back.
 * Failure modes: a bad image, a full inventory or a full disk is answered with a text; a crash
 * after 3 leaves a file that no record names, which is harmless and replaced by the next load of
 * the same image.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "port/control_internal.h"

struct ush_control_message **control_load_slot(struct ush_control *control, uint32_t event)
{
	struct ush_control_message **slot = NULL;
	size_t i;

	for (i = 0; i < sizeof(control->loads) / sizeof(control->loads[0]); i++) {
		if (control->loads[i] == NULL)
			slot = &control->loads[i];
		else if (control->loads[i]->event == event)
			return &control->loads[i];
	}
	return slot;
}

/* Steps 1 to 3. ret: 0, or an error with a message; then nothing is left behind. */
static int load_prepare(struct ush_control *control, uint32_t event, int fd,
	struct ush_event **built, struct ush_message *why)
{
	size_t bytes = 0;
	void *image = NULL;
	int error;

	error = ush_image_read(fd, &image, &bytes, why);
	if (error != 0)
		return error;
	error = ush_engine_event_build(control->config.engine, event, image, bytes, built, why);
	if (error == 0) {
		error = ush_images_store(control->config.images, event,
			ush_engine_image_digest(image, bytes), image, bytes, why);
		if (error != 0)
			ush_engine_event_discard(control->config.engine, *built);
	}
	free(image);
	return error;
}

/* Whose fault it is: the image's, or ours for want of room or of a disk that takes it. */
static enum ush_status load_status(int error)
{
	switch (error) {
	case -USH_EINVAL:
	case -USH_ECORRUPT:
	case -USH_EVERSION:
		return USH_STATUS_BAD_IMAGE;
	default:
		return USH_STATUS_BUSY;
	}
}

void control_load(struct ush_control *control, struct ush_control_message *message, int fd)
{
	struct ush_control_message **slot;
	struct ush_event *event = NULL;
	struct ush_request request;
	struct ush_message why;
	int error;

	memcpy(&request, message->data, sizeof(request));
	slot = control_load_slot(control, request.event);
	if (fd < 0) {
		control_answer(control, message, USH_STATUS_BAD_IMAGE, 0,
			"no file descriptor came with the request (SCM_RIGHTS)");
		return;
	}
	if (request.event == 0 || request.event > USH_EVENT_ID_MAX) {
		control_answer(
			control, message, USH_STATUS_BAD_IMAGE, 0, "event ids are 1 to 65,535");
	} else if (slot == NULL || *slot != NULL) {
		control_answer(
			control, message, USH_STATUS_BUSY, 0, "this event is being loaded already");
	} else {
		error = load_prepare(control, request.event, fd, &event, &why);
		if (error == 0) {
			message->attachment = event;
			message->event = request.event;
			message->is_load = true;
			*slot = message;
			control_pass(control, message);
		} else {
			ush_diag(USH_DIAG_WARN, "event_load_refused",
				USH_U64("event_id", request.event), USH_TEXT("why", why.text));
			control_answer(control, message, load_status(error), 0, why.text);
		}
	}
	close(fd);
}

void control_load_done(struct ush_control *control, struct ush_control_message *message)
{
	struct ush_control_message **slot = control_load_slot(control, message->event);
	struct ush_reply reply = {.status = USH_STATUS_BUSY};

	USH_ASSERT(slot != NULL && *slot == message);
	*slot = NULL;
	if (message->size >= sizeof(reply))
		memcpy(&reply, message->data, sizeof(reply));
	/* detail 1: the same image was loaded before, and that one stays. */
	if (reply.status != USH_STATUS_OK || reply.detail != 0)
		ush_engine_event_discard(control->config.engine, message->attachment);
	else
		ush_diag(USH_DIAG_INFO, "event_loaded", USH_U64("event_id", message->event),
			USH_U64("seats", reply.amount));
	message->attachment = NULL;
	message->is_load = false;
}
