/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the driver share: a payment or a refund under way.
 *
 * Owns:  nothing.
 * Reads: nothing.
 * Never: included from elsewhere but tests.
 */
#ifndef USH_PAYMENTS_TASK_H
#define USH_PAYMENTS_TASK_H

#include "payments/driver.h"

struct event;

struct task {
	struct ush_driver *driver;
	struct task *next; /* of its bucket */
	struct event *timer;
	struct ush_pay_row pay; /* a payment, or */
	struct ush_back_row back;
	bool is_back;
	bool busy;  /* something was asked or is being written; otherwise it pauses */
	bool dirty; /* more than the saga's state changed */
	bool hint, cancel;
	/* What the job that wrote it found: another refund of the payment is under way; a dispute
	 * of what is sold now is lost. */
	bool second, lost;
	uint64_t owner;   /* as it was found */
	int64_t as_of_us; /* and when it was so, by the read model */
	int64_t gone_us;  /* usherd said first that its user has no such hold; 0: it did not */
	uint32_t tries;   /* unknown outcomes in a row */
	int action;       /* once it is written */
	ush_driver_pay_done *pay_done;
	ush_driver_back_done *back_done;
	void *context;
};

struct ush_driver {
	struct ush_driver_config config;
	struct task *buckets[4096];
	uint32_t pays, backs;
	bool filling, fill_again; /* refunds are being fetched */
	bool closing;
	bool cancelled; /* there are cancelled events */
	struct event *fill_timer;
	char stop_at[64];
	uint32_t stop_count;
};

/* For tests: a place where the process can be stopped. */
void task_point(struct ush_driver *driver, const char *kind, const char *what, const char *when);

struct task *task_find(struct ush_driver *driver, int64_t id, bool is_back);
struct task *task_new(struct ush_driver *driver, int64_t id, bool is_back);
/* Something was heard: decides, writes, acts. `event` of the kind of the task. */
void task_hear(struct task *task, int event);
/* Does what was decided. */
void task_act_pay(struct task *task, enum ush_pay_action action);
void task_act_back(struct task *task, enum ush_back_action action);
/* Asks usherd about the task's hold. legs: NULL: none. */
struct ush_link;
void task_ask(struct task *task, uint8_t op, uint32_t version, uint64_t arg, bool legs,
	void (*done)(void *context, int result, const struct ush_reply *reply, size_t reply_bytes));
/* Fetches refunds that wait, as far as there is room. */
void task_fill(struct ush_driver *driver);

/* ---- rows.c: within jobs ---- */

int rows_pay_insert(struct ush_db_conn *conn, const struct ush_pay_row *row);
int rows_pay_save(struct ush_db_conn *conn, const struct ush_pay_row *row);
/* ret: 1; 0: none. */
int rows_pay_get(struct ush_db_conn *conn, int64_t id, struct ush_pay_row *row);
int rows_back_insert(struct ush_db_conn *conn, const struct ush_back_row *row, const char *key);
/* One that is over stays as it is. ret: 1; 0: it is over; negative. */
int rows_back_save(struct ush_db_conn *conn, const struct ush_back_row *row);
int rows_back_get(struct ush_db_conn *conn, int64_t id, struct ush_back_row *row);
/* As rows_back_save, of one that is about to begin: unless another of the same payment has begun
 * and is not over; then it is kept as one that looks. *second says so. */
int rows_back_begin(struct ush_db_conn *conn, const struct ush_back_row *row, bool *second);
/* The seats of a payment that is sold and whose dispute is lost are given back, if the event's
 * policy says so: a refund without the provider, who has taken the money. ret: 0, negative. */
int rows_lost_dispute(struct ush_db_conn *conn, const struct ush_driver *driver,
	const char *dispute, int64_t payment);
/* ret: 1: a dispute of the payment is lost, and its id is in dispute; 0; negative. */
int rows_lost(struct ush_db_conn *conn, int64_t payment, char dispute[64]);
/* in: asker: ush_http_key_number of a request. ret: 1: the payment or refund that it began before
 * is *id; 0: none; negative. */
int rows_asked(struct ush_db_conn *conn, uint64_t asker, int64_t *id);
/* It began that; known for 30 days. ret: 0; negative. */
int rows_asks(struct ush_db_conn *conn, uint64_t asker, int64_t id);
/* 52 random bits, not 0, and no card number. */
int64_t rows_new_id(void);
int64_t rows_now_us(void);

#endif /* USH_PAYMENTS_TASK_H */
