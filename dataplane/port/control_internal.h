/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the control port share.
 *
 * Owns:  see control.h.
 * Reads: nothing.
 * Never: included outside dataplane/port/control*.c.
 */
#ifndef USH_CONTROL_INTERNAL_H
#define USH_CONTROL_INTERNAL_H

#include "port/control.h"
#include "port/diag.h"

/* What epoll says when a client knocks. */
#define CONTROL_LISTENER UINT32_MAX

struct client {
	/* -1: free. */
	int fd;
	uint32_t generation;
	/* Messages that are in a loop or in `unsent`. */
	uint32_t outstanding;
	/* What epoll was asked for last. */
	uint32_t interest;
	uint32_t uid;
	int32_t pid;
	/* Replies that the socket did not take yet. */
	struct ush_control_message *unsent;
	struct ush_control_message **unsent_end;
};

struct ush_control {
	struct ush_control_config config;
	int epoll;
	int listener;
	bool draining;
	/* Rounds since a reply came, to wait longer and longer. */
	uint32_t quiet_polls;
	/* Messages in the loops. */
	uint32_t in_loops;
	struct ush_control_message *free;
	struct ush_control_message messages[USH_CONTROL_MESSAGES];
	/* EVENT_LOADs and EVENT_CHANGEs in flight: at most one for each event. */
	struct ush_control_message *loads[64];
	uint8_t *data;
	struct ush_control_counters counters;
	/* Turns of each loop when keys were rotated last. */
	uint64_t rotate_turns[USH_LOOP_COUNT_MAX];
	struct ush_diag_limit limit_refused;
	struct ush_diag_limit limit_malformed;
	struct client clients[];
};

/* Puts a message back on the free list. */
void control_message_free(struct ush_control *control, struct ush_control_message *message);

/* Closes a client; what is on its way to it is discarded when it comes. */
void control_client_close(struct ush_control *control, struct client *client);

/* Answers a message without a loop: status, detail, and a text unless it is NULL. */
void control_answer(struct ush_control *control, struct ush_control_message *message,
	enum ush_status status, uint32_t detail, const char *text);

/* Hands a message to the loop of its event. */
void control_pass(struct ush_control *control, struct ush_control_message *message);

/* Takes an EVENT_LOAD: reads the image, builds the event, stores the image durably, passes it on;
 * or answers why not. in: fd: -1 if none came; closed here. */
void control_load(struct ush_control *control, struct ush_control_message *message, int fd);

/* ret: the place of an event whose load or change is in flight, or a free place, or NULL when all
 * are taken. */
struct ush_control_message **control_load_slot(struct ush_control *control, uint32_t event);

/* The same for an EVENT_CHANGE. */
void control_change(struct ush_control *control, struct ush_control_message *message, int fd);
void control_change_done(struct ush_control *control, struct ush_control_message *message);

/* Answers KEY_ROTATE. */
void control_rotate(struct ush_control *control, struct ush_control_message *message);

/* The reply of an EVENT_LOAD is in: keeps or gives back what was built. */
void control_load_done(struct ush_control *control, struct ush_control_message *message);

#endif /* USH_CONTROL_INTERNAL_H */
