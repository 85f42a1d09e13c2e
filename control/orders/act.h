/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One HTTP request that becomes one message to usherd: a request id that is stored before it is
 * used, the message sent until there is an answer, the model waited for.
 *
 * Owns:  tables orders_requests, orders_request_ids; the use of presale codes.
 * Reads: nothing.
 * Never: uses a request id for two requests.
 */
#ifndef USH_ORDERS_ACT_H
#define USH_ORDERS_ACT_H

#include "orders/internal.h"

/* Longest key that a request id is stored under. */
#define ACT_KEY_BYTES 300u

struct act {
	struct ush_orders *orders;
	struct ush_http_request *request;
	uint64_t user;
	uint32_t event;
	/* Two requests of one user and event with the same key are the same. "": the message has no
	 * request id. */
	char key[ACT_KEY_BYTES];
	/* SHA-256 of a presale code in hexadecimal, "": none. */
	char code[65];
	uint32_t channel;
	bool reused;       /* the request id was stored before */
	bool code_taken;   /* of the job at hand */
	bool code_counted; /* the code's use is counted, durably, by this act */
	bool asked;        /* usherd may have taken it */
	bool gone;         /* and does not answer any more */
	uint32_t request_id;
	uint32_t tries;
	uint32_t bumps;
	struct event timer;
	union {
		struct ush_request head;
		uint8_t bytes[1024];
	} message;
	/* The answer of usherd, whatever its status; afterwards the act goes on to its end by
	 * act_refuse, act_answer_hold or act_free. */
	void (*done)(struct act *act, const struct ush_reply *reply, size_t bytes);
	/* For act_answer_hold. */
	uint32_t status;
	uint64_t hold;
	struct ush_orders_hold found;
	int found_result;
	struct ush_reply reply;
	void *own; /* of the caller: freed with the act, unless taken out */
};

/* ret: a new act with an empty message of an operation. */
struct act *act_new(struct ush_orders *orders, struct ush_http_request *request, uint64_t user,
	uint32_t event, uint8_t op);
/* Appends an extension. ret: false: no room. */
bool act_extend(struct act *act, uint8_t type, uint32_t value, const void *body, uint32_t bytes);
/* Names seats: the base leg and LEGS. in: count 1 to 8. */
bool act_legs(struct act *act, const struct ush_orders_leg *legs, uint32_t count);
/* Stores the request id, sends. */
void act_start(struct act *act);
/* Answers with what the status of a reply means, and ends the act. */
void act_refuse(struct act *act, const struct ush_reply *reply);
/* Waits until the model has the reply's sequence, and answers with the hold. */
void act_answer_hold(
	struct act *act, uint32_t status, uint64_t hold, const struct ush_reply *reply);
/* The same for a hold that was just made: notes first which presale code it has. */
void act_answer_made(struct act *act, const struct ush_reply *reply);
/* Waits until the model has the reply's sequence, a second at most; then answers 204. */
void act_answer_gone(struct act *act, const struct ush_reply *reply);
void act_free(struct act *act);

/* ---- JSON ---- */

/* Seats [[row, bit], ...] as legs. ret: legs, 0 if they are no seats, too many or twice. */
uint32_t act_seats_parse(const json_t *seats, struct ush_orders_leg legs[USH_LEG_COUNT_MAX]);
json_t *act_hold_json(const struct ush_orders_hold *hold);
json_t *act_number_json(uint64_t number);
json_t *act_time_json(int64_t us);
const char *act_state_name(uint8_t state);

#endif /* USH_ORDERS_ACT_H */
