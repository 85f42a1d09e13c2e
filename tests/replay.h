/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The log of one engine, read out as it becomes durable, and a second engine made from it.
 *
 * Owns:  the records collected, copies of the venue images.
 * Reads: the log of an engine.
 * Never: DPDK, files.
 */
#ifndef USH_TEST_REPLAY_H
#define USH_TEST_REPLAY_H

#include "harness.h"

#define REPLAY_EVENTS 8u
/* Images that events are changed by. */
#define REPLAY_CHANGES 256u

struct replay {
	/* All records but pads, in order, sequence included. */
	struct ush_record *records;
	size_t count;
	size_t capacity;
	/* Next slot to be read. */
	uint64_t next;
	/* By event id. */
	void *images[REPLAY_EVENTS];
	size_t image_bytes[REPLAY_EVENTS];
	/* Of whatever events, found by digest. */
	void *changes[REPLAY_CHANGES];
	size_t change_bytes[REPLAY_CHANGES];
	uint32_t change_count;
};

static inline void replay_init(struct replay *replay)
{
	*replay = (struct replay){.next = USH_LOG_SEQUENCE_FIRST};
}

static inline void replay_free(struct replay *replay)
{
	free(replay->records);
	for (uint32_t i = 0; i < REPLAY_EVENTS; i++)
		free(replay->images[i]);
	for (uint32_t i = 0; i < replay->change_count; i++)
		free(replay->changes[i]);
}

/* Keeps an image for EVENT records; the replay owns it from here. */
static inline void replay_image(struct replay *replay, uint32_t event_id, void *image, size_t bytes)
{
	USH_ASSERT(event_id < REPLAY_EVENTS);
	replay->images[event_id] = image;
	replay->image_bytes[event_id] = bytes;
}

/* Keeps an image for EVENT_CHANGE records; the replay owns it from here. */
static inline void replay_change(struct replay *replay, void *image, size_t bytes)
{
	USH_ASSERT(replay->change_count < REPLAY_CHANGES);
	replay->changes[replay->change_count] = image;
	replay->change_bytes[replay->change_count++] = bytes;
}

static inline void replay_push(struct replay *replay, const struct ush_record *record)
{
	if (replay->count == replay->capacity) {
		replay->capacity = replay->capacity * 2 + 1024;
		replay->records =
			realloc(replay->records, replay->capacity * sizeof(*replay->records));
		USH_ASSERT(replay->records != NULL);
	}
	replay->records[replay->count++] = *record;
}

/* Takes the slots up to `end`: every one must be published, runs whole and inside their block.
 * by: whoever raises the durable sequence, before the ring comes round. */
static inline void replay_collect_to(struct replay *replay, const struct ush_log *log, uint64_t end)
{
	for (; replay->next < end; replay->next++) {
		const struct ush_record *slot = ush_log_slot(log, replay->next);

		if (ush_log_is_header(replay->next))
			continue;
		USH_ASSERT(ush_log_is_published(log, replay->next));
		USH_ASSERT(slot->run_count >= 1 && slot->run_index < slot->run_count);
		if (slot->run_index > 0) {
			const struct ush_record *before = ush_log_slot(log, replay->next - 1);
			USH_ASSERT(!ush_log_is_header(replay->next - 1));
			USH_ASSERT(before->run_index + 1 == slot->run_index);
			USH_ASSERT(before->run_count == slot->run_count);
		}
		if (slot->run_index + 1 < slot->run_count)
			USH_ASSERT(!ush_log_is_header(replay->next + 1));
		if (slot->type != USH_RECORD_TYPE_PAD)
			replay_push(replay, slot);
	}
}

/* Takes what became durable since the last call. */
static inline void replay_collect(struct replay *replay, const struct ush_log *log)
{
	replay_collect_to(replay, log, ush_log_durable(log));
}

static inline int replay_find(void *context, uint32_t event_id, uint64_t digest, const void **image,
	size_t *bytes, struct ush_message *message)
{
	const struct replay *replay = context;

	(void)message;
	USH_ASSERT(event_id < REPLAY_EVENTS && replay->images[event_id] != NULL);
	for (uint32_t i = 0; i < replay->change_count; i++) {
		*image = replay->changes[i];
		*bytes = replay->change_bytes[i];
		if (ush_engine_image_digest(*image, *bytes) == digest)
			return 0;
	}
	*image = replay->images[event_id];
	*bytes = replay->image_bytes[event_id];
	USH_ASSERT(ush_engine_image_digest(*image, *bytes) == digest);
	return 0;
}

/* Opens `to` and applies the first `count` records; a run that is cut off is left out.
 * ret: 0, or the error with its message. */
static inline int replay_open(struct replay *replay, size_t count, struct harness *to,
	const struct ush_engine_limits *limits, uint64_t now_ns, struct ush_message *message)
{
	struct ush_engine_resume resume;

	harness_open_for_replay(to, limits);
	ush_engine_set_image_find(to->engine, replay_find, replay);
	for (size_t i = 0; i < count;) {
		uint32_t run = replay->records[i].run_count;
		int error;

		if (i + run > count)
			break;
		error = ush_engine_apply(to->engine, &replay->records[i], run, message);
		if (error != 0)
			return error;
		i += run;
	}
	to->now_ns = now_ns;
	ush_log_start_at(ush_engine_log(to->engine), replay->next);
	ush_engine_replayed(to->engine, now_ns, &resume);
	return 0;
}

#endif /* USH_TEST_REPLAY_H */
