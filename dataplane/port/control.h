/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control port: a unix seqpacket socket that carries privileged requests to the loops and
 * their replies back. Who may speak is decided by the peer's user id, never by what it says.
 *
 * Owns:  the socket, its clients, all control messages.
 * Reads: the mailboxes of the loops; counters, for STATS.
 * Never: inventory. What a request means is the loops' business, but for STATS and the image of
 *        EVENT_LOAD.
 */
#ifndef USH_CONTROL_H
#define USH_CONTROL_H

#include "port/image.h"
#include "port/stats.h"
#include "port/worker.h"

/* Messages of all clients together that may be on their way. */
#define USH_CONTROL_MESSAGES 1024u
/* Of one client; beyond it the client is not read until it takes replies. */
#define USH_CONTROL_CLIENT_MESSAGES 256u

struct ush_control;

struct ush_control_config {
	const char *path;
	uint32_t mode;
	const struct ush_uid_list *uids;
	uint32_t client_max;
	struct ush_engine *engine;
	/* One per loop. */
	struct ush_worker *workers;
	uint32_t loop_count;
	const struct ush_images *images;
	struct ush_stats *stats;
	/* The file of admission; NULL: admission is off. */
	const char *admission_file;
	/* Secret of the places of its buckets. */
	struct ush_key table_key;
};

/* Makes the rings of every worker's mailbox. by: the main thread, before the loops run. */
int ush_control_mailboxes(struct ush_worker *workers, uint32_t count, struct ush_message *message);

/*
 * Listens.
 * in:  config: outlives the control port; its stats get this port's counters.
 * ret: 0; err: -USH_EBUSY (another process listens there), -USH_EACCES, ... with a message.
 * by:  the main thread, as all calls below.
 */
int ush_control_open(struct ush_control **control, const struct ush_control_config *config,
	struct ush_message *message);

/* Does what there is to do; waits for it at most wait_ms, less while replies are on their way. */
void ush_control_poll(struct ush_control *control, uint32_t wait_ms);

/* From here no new client and no new request is taken. */
void ush_control_drain(struct ush_control *control);

/* ret: messages that loops still have, or that clients have not taken. */
uint32_t ush_control_outstanding(const struct ush_control *control);

/* Closes all, and removes the socket. The loops must have stopped. */
void ush_control_close(struct ush_control *control);

#endif /* USH_CONTROL_H */
