/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each row keeps the sequence of its last change, so what changed since any sequence can be told
 * without a history: to a client that comes back as to one that was never away.
 */
#include "orders/live.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct live {
	struct live_event *event[USH_EVENT_ID_MAX + 1];
};

struct live *live_open(void)
{
	return calloc(1, sizeof(struct live));
}

void live_close(struct live *live)
{
	for (uint32_t i = 0; live != NULL && i <= USH_EVENT_ID_MAX; i++) {
		if (live->event[i] == NULL)
			continue;
		free(live->event[i]->free);
		free(live->event[i]->sequence);
		free(live->event[i]->text);
		free(live->event[i]);
	}
	free(live);
}

struct live_event *live_event(const struct live *live, uint32_t event)
{
	return event <= USH_EVENT_ID_MAX ? live->event[event] : NULL;
}

static struct live_event *enter(struct live *live, uint32_t id)
{
	if (id > USH_EVENT_ID_MAX)
		return NULL;
	if (live->event[id] == NULL) {
		live->event[id] = calloc(1, sizeof(struct live_event));
		USH_ASSERT(live->event[id] != NULL);
		live->event[id]->id = id;
	}
	return live->event[id];
}

static void stale(struct live_event *event)
{
	free(event->text);
	event->text = NULL;
}

static void set_row(struct live_event *event, uint32_t row, uint64_t free_seats, uint64_t sequence)
{
	if (row >= event->row_count) {
		uint32_t count = row + 1;

		event->free = realloc(event->free, count * sizeof(uint64_t));
		event->sequence = realloc(event->sequence, count * sizeof(uint64_t));
		USH_ASSERT(event->free != NULL);
		USH_ASSERT(event->sequence != NULL);
		for (uint32_t i = event->row_count; i < count; i++)
			event->free[i] = event->sequence[i] = 0;
		event->row_count = count;
	}
	event->free[row] = free_seats;
	event->sequence[row] = sequence;
	event->newest = ush_max64(event->newest, sequence);
	stale(event);
}

static void set_event(struct live_event *event, uint64_t digest, uint8_t status, uint32_t changes)
{
	if (event->digest == digest && event->status == status)
		return;
	event->told_digest = event->told_digest && event->digest == digest;
	event->told_status = event->told_status && event->status == status;
	event->digest = digest;
	event->status = status;
	event->changes = changes;
	stale(event);
}

void live_load(struct live *live, const struct book *book)
{
	for (uint32_t id = 1; id <= USH_EVENT_ID_MAX; id++) {
		const struct book_event *from = book->event[id];
		struct live_event *event;

		if (from == NULL)
			continue;
		event = enter(live, id);
		set_event(event, from->digest, from->status, from->changes);
		for (uint32_t i = 0; i < from->row_count; i++)
			set_row(event, i, from->row[i].free, from->row[i].sequence);
		if (event->sent == 0)
			event->sent = event->newest;
	}
}

void live_apply(struct live *live, const struct book_out *out)
{
	for (uint32_t i = 0; i < out->event_count; i++) {
		const struct book_event_change *change = &out->event[i];
		struct live_event *event = enter(live, change->id);

		if (event != NULL)
			set_event(event, change->digest, change->status, change->changes);
	}
	for (uint32_t i = 0; i < out->row_count; i++) {
		const struct book_row_change *change = &out->row[i];
		struct live_event *event = enter(live, change->event);

		if (event != NULL)
			set_row(event, change->row, change->free, change->sequence);
	}
}

/* ---- texts --------------------------------------------------------------------------------- */

const char *live_status_name(uint8_t status)
{
	static const char *const names[USH_EVENT_STATUS_COUNT] = {
		"none", "draft", "on_sale", "paused", "sold_out", "completed", "cancelled"};

	return status < USH_EVENT_STATUS_COUNT ? names[status] : "unknown";
}

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* The masks, little-endian, in base64. ret: the end. */
static char *put_masks(char *at, const uint64_t *masks, uint32_t count)
{
	uint32_t bytes = count * 8;

	for (uint32_t i = 0; i < bytes; i += 3) {
		uint32_t word = 0, have = bytes - i < 3 ? bytes - i : 3;

		for (uint32_t k = 0; k < have; k++)
			word |= (uint32_t)(masks[(i + k) / 8] >> (i + k) % 8 * 8 & 255)
				<< (16 - 8 * k);
		for (uint32_t k = 0; k < 4; k++)
			*at++ = k <= have ? digits[word >> (18 - 6 * k) & 63] : '=';
	}
	return at;
}

const char *live_text(struct live_event *event, size_t *bytes)
{
	uint64_t seats = 0;
	size_t size = 400 + event->row_count * 11ul;
	char *at;

	if (event->text == NULL) {
		event->text = malloc(size);
		if (event->text == NULL)
			return NULL;
		for (uint32_t i = 0; i < event->row_count; i++)
			seats += ush_popcount64(event->free[i]);
		at = event->text +
		     snprintf(event->text, size,
			     "{\"event\":%u,\"sequence\":\"%" PRIu64 "\",\"plan\":\"%016" PRIx64
			     "\",\"status\":\"%s\",\"free_count\":%" PRIu64
			     ",\"row_count\":%u,\"free\":\"",
			     event->id, event->newest, event->digest,
			     live_status_name(event->status), seats, event->row_count);
		at = put_masks(at, event->free, event->row_count);
		memcpy(at, "\"}", 3);
		event->text_bytes = (size_t)(at + 2 - event->text);
	}
	*bytes = event->text_bytes;
	return event->text;
}

char *live_frame(const struct live_event *event, uint64_t after, size_t *bytes)
{
	uint32_t rows = 0;
	size_t size, at;
	char *text;

	for (uint32_t i = 0; i < event->row_count; i++)
		rows += event->sequence[i] > after;
	size = 300 + rows * 30ul;
	text = malloc(size);
	if (text == NULL)
		return NULL;
	at = (size_t)snprintf(text, size,
		"id: %" PRIu64 "\nevent: seats\ndata: {\"from\":\"%" PRIu64 "\",\"to\":\"%" PRIu64
		"\",\"rows\":[",
		event->newest, after, event->newest);
	rows = 0;
	for (uint32_t i = 0; i < event->row_count; i++) {
		if (event->sequence[i] > after)
			at += (size_t)snprintf(text + at, size - at, "%s[%u,\"%" PRIx64 "\"]",
				rows++ == 0 ? "" : ",", i, event->free[i]);
	}
	at += (size_t)snprintf(text + at, size - at, "]}\n\n");
	*bytes = at;
	return text;
}

static char *small_frame(
	const struct live_event *event, const char *kind, const char *value, size_t *bytes)
{
	char *text = malloc(200);

	if (text != NULL)
		*bytes = (size_t)snprintf(text, 200,
			"event: %s\ndata: {\"status\":\"%s\",\"plan\":\"%016" PRIx64 "\"}\n\n",
			kind, value, event->digest);
	return text;
}

char *live_reload_frame(const struct live_event *event, size_t *bytes)
{
	return small_frame(event, "reload", live_status_name(event->status), bytes);
}

char *live_status_frame(const struct live_event *event, size_t *bytes)
{
	return small_frame(event, "status", live_status_name(event->status), bytes);
}
