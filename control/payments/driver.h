/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Drives payments and refunds: each step is kept durably, then done, until it is over.
 *
 * Owns:  the tables of payments and refunds, what is under way in memory.
 * Reads: nothing.
 * Never: decides (saga.h does); seats without usherd; card data.
 */
#ifndef USH_PAYMENTS_DRIVER_H
#define USH_PAYMENTS_DRIVER_H

#include "db/db.h"
#include "payments/provider.h"
#include "payments/saga.h"
#include "payments/webhook.h"
#include "wire/wire.h"

struct event_base;
struct ush_link;
struct ush_driver;

struct ush_driver_config {
	struct event_base *base;
	struct ush_db *db;
	struct ush_link *link;
	struct ush_provider *provider;
	uint32_t pay_ms;      /* time to pay, up to USH_PAY_MS_MAX */
	uint32_t poll_ms;     /* an intent whose payer is busy is looked at so often */
	uint32_t back_off_ms; /* the first pause after an unknown outcome; doubled up to 64 times */
	uint32_t refunds_max; /* under way at once */
	/* Within a job: whose a hold is, after transfers; 0: not known. out: *as_of_us: every
	 * transfer up to then is in it. NULL: the payer's. */
	uint64_t (*owner)(struct ush_db_conn *conn, uint64_t hold, int64_t *as_of_us);
	/* For tests: "NAME" or "NAME:N": stops itself (SIGSTOP) there, the Nth time. NULL: off. */
	const char *stop_at;
};

/* What is paid for. */
struct ush_pay_order {
	uint64_t hold, user;
	uint32_t event, version; /* of the hold that was priced */
	int64_t amount;          /* minor units, what usherd says; 0: free seats */
	int64_t fee;             /* on top of it, for the payer; not negative */
	char currency[4];        /* lower case */
	struct ush_leg legs[USH_LEG_COUNT_MAX];
	uint32_t leg_count;
};

struct ush_pay_row {
	int64_t id;
	struct ush_pay_order order;
	struct ush_pay pay;
	uint32_t attempt, pay_version;
	uint64_t sold_hold; /* by PAY_LATE; otherwise 0 */
	int64_t pay_by_us, created_us;
	char intent[64];
	char secret[128]; /* the client secret, while it can be used */
	char error[64];   /* the provider's code */
};

struct ush_back_row {
	int64_t id, payment;
	uint64_t hold, user;
	uint32_t event, version, begun_version, asked;
	int64_t amount, fee, created_us; /* both go back */
	struct ush_leg legs[USH_LEG_COUNT_MAX];
	uint32_t leg_count; /* 0: all */
	bool follows;       /* of whom the order is, not of `user` and nobody else */
	struct ush_back back;
	char intent[64], refund[64], error[64];
};

extern const struct ush_db_step ush_payments_schema[];

/* Takes up everything that is not over. */
int ush_driver_open(struct ush_driver **driver, const struct ush_driver_config *config,
	struct ush_message *message);
/* Nothing is begun from here; who waits is called back with -USH_ESTOPPED. What the link, the fetch
 * and the database still have under way may call into the driver later, so its memory stays: the
 * process is about to end. What is under way is left as it was written down. */
void ush_driver_abandon(struct ush_driver *driver);

/* result: 0; -USH_EBUSY: another payment of the hold is under way, or try later; -USH_ENOENT. row:
 * borrowed; NULL with an error. */
typedef void ush_driver_pay_done(void *context, int result, const struct ush_pay_row *row);
typedef void ush_driver_back_done(void *context, int result, const struct ush_back_row *row);

/* Begins a payment; the same hold and version again, or the same asker (see ush_driver_refund): the
 * same payment. Calls back once the payer can pay, or it is over. */
void ush_driver_begin(struct ush_driver *driver, const struct ush_pay_order *order, uint64_t asker,
	ush_driver_pay_done *done, void *context);
void ush_driver_find(
	struct ush_driver *driver, int64_t id, ush_driver_pay_done *done, void *context);
/* The buyer gives up. */
void ush_driver_cancel(struct ush_driver *driver, int64_t id);
/* A verified webhook. Calls back when it is kept: only then may it be answered. */
void ush_driver_webhook(struct ush_driver *driver, const struct ush_webhook *webhook,
	void (*done)(void *context, int result), void *context);

/* Refunds seats of a sold hold, or all of it (leg_count 0). key: the same again is the same refund;
 * up to 60 bytes. asker: a number of the request that asks, the same when it is repeated, whatever
 * became of the hold meanwhile; kept for 30 days; 0: none. user: the owner of the hold now;
 * follows: if it is transferred before usherd hears of the refund, its new owner's seats are given
 * back; otherwise the refund fails. fee: what goes back of it with some of the seats (of all of
 * them: what is left of it). Calls back when it is over. done may be NULL. */
void ush_driver_refund(struct ush_driver *driver, const char *key, uint64_t asker, uint64_t hold,
	uint64_t user, bool follows, const struct ush_leg *legs, uint32_t leg_count, int64_t fee,
	ush_driver_back_done *done, void *context);
/* Refunds everything that is sold of an event, whole; goes on after a restart. Calls back (row
 * NULL) when that is kept, not when it is over. */
void ush_driver_refund_event(
	struct ush_driver *driver, uint32_t event, ush_driver_back_done *done, void *context);
/* For tests: as config.stop_at, from here. */
void ush_driver_stop_at(struct ush_driver *driver, const char *text);
/* ret: payments and refunds that are not over and are in memory. */
uint32_t ush_driver_busy(const struct ush_driver *driver);

#endif /* USH_PAYMENTS_DRIVER_H */
