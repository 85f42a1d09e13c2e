/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A whole engine for scenarios: loops that take one turn each, the writer, and the judge of what
 * they leave behind.
 *
 * Owns:  one engine, its requests and replies, the log read out.
 * Reads: nothing.
 * Never: DPDK, files.
 */
#ifndef USH_EXPLORE_ENGINE_H
#define USH_EXPLORE_ENGINE_H

#include "explore/explore.h"
#include "explore/writer.h"
#include "loop/internal.h"
#include "replay.h"

#define PLAY_EVENT 1u
#define PLAY_REQUESTS 2u
#define PLAY_SEATS 4u
#define PLAY_ROWS 2u
/* Users of the play: 1 to PLAY_USERS. */
#define PLAY_USERS 4u

/* What one virtual thread does: a turn of its loop with its requests, then an empty one. */
struct actor {
	uint64_t now_ns;
	struct ush_packet packets[PLAY_REQUESTS];
	uint32_t packet_count;
	struct ush_loop_out out;
	/* By request; status 0xff: not answered yet. */
	struct ush_reply replies[PLAY_REQUESTS];
	uint32_t dropped;
};

struct play {
	struct harness harness;
	struct actor actors[EXPLORE_THREADS_MAX];
	struct writer *writer;
	uint32_t loops;
	/* Holds made by the setup. */
	uint64_t holds[2];
	/* Where the log stood then. */
	size_t record_count;
};

extern struct play *play;

/* An engine of that many loops with one event of PLAY_ROWS rows on sale. */
void play_open(uint32_t loops);

/* The same with memory for waiting rooms of so many users. */
void play_open_room(uint32_t loops, uint32_t users);

/* A hold made by loop 0, durable. */
uint64_t play_hold(uint64_t user, uint32_t id, uint64_t mask, uint32_t hold_ms);

/* Adds a request to what actor `index` asks; rows[1] is a second leg when `legs` is 2. */
void play_ask(uint32_t index, const struct ush_request *request, const struct ush_leg *second);

/* The same with an extension. */
void play_ask_with(uint32_t index, const struct ush_request *request, const void *extension,
	uint32_t extension_bytes);

/* Adds an EVENT_CHANGE to what actor `index` asks: so many rows at that price. */
void play_ask_change(uint32_t index, uint32_t rows, uint32_t price);

/* Setup is over: names words, starts the writer. */
void play_ready(void);

/* A thread: actor `thread` on the loop of its number, or the writer where there is no such loop. */
void play_thread(uint32_t thread);

/* Lets go what waits; then audit, and replay of the log and of all its beginnings. */
void play_judge(void);

/* ret: records that were made since the setup. in: play_judge was called. */
const struct ush_record *play_records(size_t *count);

/* ret: status of an actor's request. */
uint32_t play_status(uint32_t actor, uint32_t request);

#endif /* USH_EXPLORE_ENGINE_H */
