/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a core does: receive, give the loop its turn, send, read its mailbox, step the journal when
 * that is its job, and rest when there is nothing to do.
 *
 * Owns:  one struct ush_worker per loop, used by its core.
 * Reads: the run state set by the main thread.
 * Never: system calls while there is work.
 */
#ifndef USH_WORKER_H
#define USH_WORKER_H

#include "journal/journal.h"
#include "loop/loop.h"
#include "port/clock.h"
#include "port/config.h"
#include "port/port.h"

struct rte_ring;

/* Where the process is; only rises. Written by the main thread. */
enum ush_run {
	USH_RUN_SERVE,
	/* No more packets or messages are taken; what waits is answered. */
	USH_RUN_DRAIN,
	USH_RUN_STOP,
};

/* Control messages of one loop: to it and back. Each ring has room for every message there is. */
struct ush_mailbox {
	struct rte_ring *requests;
	struct rte_ring *replies;
};

/* A control message on its way; the loops see it as a packet. */
struct ush_control_message {
	struct ush_control_message *next;
	/* The sender; a client that left is another generation. */
	uint32_t client;
	uint32_t generation;
	/* EVENT_LOAD, EVENT_CHANGE: what was built, and for which event. */
	void *attachment;
	uint32_t event;
	bool is_load;
	bool is_change;
	/* Of the request; then of the reply, 0 when there is none. */
	uint32_t size;
	/* USH_CONTROL_BYTES_MAX bytes. */
	uint8_t *data;
};

struct ush_worker {
	_Alignas(USH_CACHE_LINE) struct ush_loop *loop;
	uint32_t index;
	enum ush_idle idle;
	const _Atomic int *run;
	const struct ush_clock *clock;
	struct ush_clock_view view;
	/* NULL: a thread does it. */
	struct ush_journal *journal;
	struct ush_mailbox mailbox;
	/* By the port's place in the configuration; NULL where this loop has no queue. */
	struct ush_port_queue *queue[USH_PORT_COUNT_MAX];
	uint32_t port_count;
	const struct ush_port *ports;
	/* What received frames go through first; NULL: nothing. */
	struct ush_port_filter *filter;
	/* Turns since there was work. */
	uint32_t idle_turns;
	/* Nothing waits any more (while draining). Read by the main thread. */
	_Atomic bool drained;
	struct ush_loop_out out;
};

/* Body of a loop's core until USH_RUN_STOP. in: worker: struct ush_worker. ret: 0. */
int ush_worker_main(void *worker);

/* One round over ports, mailbox and journal. ret: work done. by: the worker's core. */
uint32_t ush_worker_round(struct ush_worker *worker, uint64_t now_ns);

/* The thread that writes the journal when no loop does. */
struct ush_journal_thread {
	struct ush_journal *journal;
	const struct ush_clock *clock;
	struct ush_clock_view view;
	enum ush_idle idle;
	/* -1: not pinned. */
	int32_t cpu;
	_Atomic bool stop;
};

/* Body of that thread. in: struct ush_journal_thread. */
void *ush_journal_thread_main(void *thread);

#endif /* USH_WORKER_H */
