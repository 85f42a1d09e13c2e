/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a task does at usherd and at the provider, and what the answers mean to the saga.
 *
 * Idempotency keys name the payment (hold and attempt) and the number of the try. A failure that is
 * kept under a key is asked anew under the next number, and only after a look.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "link/link.h"
#include "payments/task.h"

#define KEY_BYTES 96
#define LATE_TRIES_MAX 20 /* a seat that is "taken now" for so long is taken; guess */

/* ---- usherd ---- */

static bool is_later(int result, const struct ush_reply *reply)
{
	return result != 0 || reply == NULL || reply->status == USH_STATUS_RETRY ||
	       reply->status == USH_STATUS_BUSY;
}

static bool is_sold(const struct ush_reply *reply)
{
	return reply->state == USH_HOLD_STATE_SOLD || reply->state == USH_HOLD_STATE_REFUNDING;
}

static void answered(struct task *task)
{
	task_point(task->driver, task->is_back ? "back" : "pay",
		task->is_back ? ush_back_step_name(task->back.back.step)
			      : ush_pay_step_name(task->pay.pay.step),
		"answered");
}

static void on_begun(void *context, int result, const struct ush_reply *reply, size_t reply_bytes)
{
	struct task *task = context;

	(void)reply_bytes;
	answered(task);
	if (is_later(result, reply)) {
		task_hear(task, USH_PAY_UNKNOWN);
		return;
	}
	if (reply->status != USH_STATUS_OK || reply->state != USH_HOLD_STATE_PAYING) {
		task_hear(task, USH_PAY_NOT_BEGUN);
		return;
	}
	task->pay.attempt = reply->detail;
	task->pay.pay_version = reply->hold_version;
	task->pay.pay_by_us = rows_now_us() + (int64_t)task->driver->config.pay_ms * 1000;
	task->dirty = true;
	task_hear(task, USH_PAY_BEGUN);
}

/* PAY_END. One payment of a hold at a time is under way, so one that is sold by now was sold by
 * this one. */
static void on_ended(void *context, int result, const struct ush_reply *reply, size_t reply_bytes)
{
	struct task *task = context;
	enum ush_pay_event event = USH_PAY_OTHER;

	(void)reply_bytes;
	answered(task);
	if (is_later(result, reply))
		event = USH_PAY_UNKNOWN;
	else if (reply->status == USH_STATUS_OK)
		event = USH_PAY_ENDED;
	else if (reply->status == USH_STATUS_NO_HOLD || reply->status == USH_STATUS_EXPIRED ||
		 reply->status == USH_STATUS_UNKNOWN_EVENT)
		event = USH_PAY_OVER;
	else if (is_sold(reply))
		event = USH_PAY_ENDED;
	task_hear(task, (int)event);
}

static void on_late(void *context, int result, const struct ush_reply *reply, size_t reply_bytes)
{
	struct task *task = context;
	enum ush_pay_event event = USH_PAY_LATE_NO;

	(void)reply_bytes;
	answered(task);
	if (is_later(result, reply) || reply->status == USH_STATUS_EXPIRED) {
		event = USH_PAY_UNKNOWN;
	} else if (reply->status == USH_STATUS_TAKEN_NOW && task->tries < LATE_TRIES_MAX) {
		event = USH_PAY_UNKNOWN;
	} else if (reply->status == USH_STATUS_OK && reply->state == USH_HOLD_STATE_SOLD) {
		event = USH_PAY_LATE_SOLD;
		task->pay.sold_hold = reply->hold;
		task->dirty = true;
	} else if (reply->status == USH_STATUS_WRONG_STATE) {
		event = USH_PAY_OTHER;
	}
	task_hear(task, (int)event);
}

void task_ask(struct task *task, uint8_t op, uint32_t version, uint64_t arg, bool with_legs,
	void (*done)(void *context, int result, const struct ush_reply *reply, size_t reply_bytes))
{
	struct {
		struct ush_request base;
		struct ush_extension_header header;
		struct ush_leg legs[USH_LEG_COUNT_MAX - 1];
	} message = {.base = {.magic = USH_REQUEST_MAGIC,
			     .version = USH_VERSION,
			     .op = op,
			     .size = sizeof(struct ush_request),
			     .section = (uint16_t)version,
			     .arg = arg}};
	const struct ush_leg *legs = task->is_back ? task->back.legs : task->pay.order.legs;
	uint32_t count = task->is_back ? task->back.leg_count : task->pay.order.leg_count;

	message.base.event = task->is_back ? task->back.event : task->pay.order.event;
	message.base.user = task->is_back ? task->back.user : task->pay.order.user;
	message.base.hold = task->is_back ? task->back.hold : task->pay.order.hold;
	if (op == USH_OP_PAY_BEGIN)
		message.base.hold_ms = task->driver->config.pay_ms;
	if (with_legs && count > 0) {
		message.base.row = legs[0].row;
		message.base.mask = legs[0].mask;
	}
	if (with_legs && count > 1) {
		message.header.type = USH_EXTENSION_LEGS;
		message.header.value = count - 1;
		message.header.size =
			(uint16_t)(sizeof(message.header) + (count - 1) * sizeof(legs[0]));
		memcpy(message.legs, legs + 1, (count - 1) * sizeof(legs[0]));
		message.base.extension_count = 1;
		message.base.size = (uint16_t)(message.base.size + message.header.size);
	}
	ush_link_call(task->driver->config.link, &message.base, -1, 2000, done, task);
}

/* ---- the provider: payments ---- */

static void pay_key(char key[KEY_BYTES], const struct task *task, const char *what, uint32_t number)
{
	snprintf(key, KEY_BYTES, "usher-%" PRIu64 "-%u-%s-%u", task->pay.order.hold,
		task->pay.attempt, what, number);
}

static enum ush_pay_event event_of(const struct ush_provider_answer *answer)
{
	static const uint8_t states[] = {[USH_INTENT_NONE] = USH_PAY_UNKNOWN,
		[USH_INTENT_OPEN] = USH_PAY_OPEN,
		[USH_INTENT_DECLINED] = USH_PAY_DECLINED,
		[USH_INTENT_AUTHORISED] = USH_PAY_AUTHORISED,
		[USH_INTENT_SUCCEEDED] = USH_PAY_SUCCEEDED,
		[USH_INTENT_CANCELED] = USH_PAY_CANCELED};

	if (answer->verdict == USH_PROVIDER_REPLAYED)
		return USH_PAY_REPLAYED;
	if (answer->verdict == USH_PROVIDER_REFUSED)
		return USH_PAY_REFUSED;
	if (answer->verdict == USH_PROVIDER_UNKNOWN)
		return USH_PAY_UNKNOWN;
	return (enum ush_pay_event)states[answer->state];
}

static void keep_error(char error[64], const struct ush_provider_answer *answer, bool *dirty)
{
	if (answer->error[0] != '\0' && strcmp(error, answer->error) != 0) {
		snprintf(error, 64, "%s", answer->error);
		*dirty = true;
	}
}

static void on_intent(void *context, const struct ush_provider_answer *answer)
{
	struct task *task = context;
	enum ush_pay_event event = event_of(answer);

	answered(task);
	keep_error(task->pay.error, answer, &task->dirty);
	if (task->pay.pay.step == USH_PAY_CREATE && answer->verdict == USH_PROVIDER_OK) {
		if (answer->intent[0] == '\0' ||
			answer->amount != task->pay.order.amount + task->pay.order.fee) {
			/* An answer to another question. */
			event = USH_PAY_REFUSED;
		} else {
			snprintf(task->pay.intent, sizeof(task->pay.intent), "%s", answer->intent);
			snprintf(task->pay.secret, sizeof(task->pay.secret), "%s", answer->secret);
			task->dirty = true;
		}
	}
	task_hear(task, (int)event);
}

/* There is no refund of all of it. If a dispute of it is lost there need be none. */
static int lost_job(struct ush_db_conn *conn, void *context)
{
	struct task *task = context;
	char dispute[64];
	int got = rows_lost(conn, task->pay.id, dispute);

	task->lost = got > 0;
	return got < 0 ? got : 0;
}

static void on_lost(void *context, int result)
{
	struct task *task = context;

	if (result == -USH_ESTOPPED)
		return;
	task_hear(task, result != 0  ? USH_PAY_UNKNOWN
			: task->lost ? USH_PAY_LOST
				     : USH_PAY_REFUND_NONE);
}

static void on_pay_refund(void *context, const struct ush_provider_answer *answer)
{
	struct task *task = context;
	enum ush_pay_event event = event_of(answer);

	answered(task);
	keep_error(task->pay.error, answer, &task->dirty);
	if (answer->verdict == USH_PROVIDER_OK && answer->refund[0] == '\0') {
		ush_db_run(task->driver->config.db, USH_DB_READ, lost_job, on_lost, task);
		return;
	}
	if (answer->verdict == USH_PROVIDER_OK)
		event = USH_PAY_REFUND_OK;
	task_hear(task, (int)event);
}

static void create(struct task *task)
{
	char reference[32], key[KEY_BYTES];
	const struct ush_provider_order order = {.reference = reference,
		.hold = task->pay.order.hold,
		.event = task->pay.order.event,
		.attempt = task->pay.attempt,
		.amount = task->pay.order.amount + task->pay.order.fee,
		.currency = task->pay.order.currency};

	snprintf(reference, sizeof(reference), "%" PRId64, task->pay.id);
	pay_key(key, task, "create", task->pay.pay.create);
	ush_provider_create(task->driver->config.provider, &order, key, on_intent, task);
}

void task_act_pay(struct task *task, enum ush_pay_action action)
{
	struct ush_provider *provider = task->driver->config.provider;
	const struct ush_pay *pay = &task->pay.pay;
	char key[KEY_BYTES], reference[64];

	task_point(task->driver, "pay", ush_pay_step_name(pay->step), "asking");
	if (task->pay.order.amount + task->pay.order.fee == 0 &&
		(action == USH_PAY_DO_CREATE || action == USH_PAY_DO_REFUND ||
			action == USH_PAY_DO_LOOK_REFUND)) {
		task_hear(
			task, action == USH_PAY_DO_CREATE ? USH_PAY_FREE : (int)USH_PAY_REFUND_OK);
		return;
	}
	/* One refund a payment: the reference of the return of all of it. */
	snprintf(reference, sizeof(reference), "return-%" PRId64, task->pay.id);
	switch (action) {
	case USH_PAY_DO_BEGIN:
		task_ask(task, USH_OP_PAY_BEGIN, task->pay.order.version,
			(uint64_t)task->pay.order.amount, false, on_begun);
		break;
	case USH_PAY_DO_CREATE:
		create(task);
		break;
	case USH_PAY_DO_LOOK:
		ush_provider_look(provider, task->pay.intent, on_intent, task);
		break;
	case USH_PAY_DO_CAPTURE:
		pay_key(key, task, "capture", pay->capture);
		ush_provider_capture(provider, task->pay.intent, key, on_intent, task);
		break;
	case USH_PAY_DO_CANCEL:
		pay_key(key, task, "cancel", pay->cancel);
		ush_provider_cancel(provider, task->pay.intent, key, on_intent, task);
		break;
	case USH_PAY_DO_SELL:
	case USH_PAY_DO_FAIL:
		task_ask(task, USH_OP_PAY_END, task->pay.pay_version,
			action == USH_PAY_DO_SELL ? USH_OUTCOME_SUCCEEDED : USH_OUTCOME_FAILED,
			false, on_ended);
		break;
	case USH_PAY_DO_LATE:
		task_ask(task, USH_OP_PAY_LATE, 0, (uint64_t)task->pay.order.amount, true, on_late);
		break;
	case USH_PAY_DO_REFUND:
		pay_key(key, task, "return", pay->refund);
		ush_provider_refund(provider, task->pay.intent,
			task->pay.order.amount + task->pay.order.fee, reference, key, on_pay_refund,
			task);
		break;
	case USH_PAY_DO_LOOK_REFUND:
		ush_provider_look_refund(
			provider, task->pay.intent, reference, on_pay_refund, task);
		break;
	default:
		USH_ASSERT(false);
	}
}

/* ---- refunds ---- */

static int owner_job(struct ush_db_conn *conn, void *context)
{
	struct task *task = context;

	task->owner = task->driver->config.owner(conn, task->back.hold, &task->as_of_us);
	return ush_db_error(conn, NULL);
}

static void on_owner(void *context, int result)
{
	struct task *task = context;

	if (result == -USH_ESTOPPED)
		return;
	if (result == 0 && task->owner != 0 && task->owner != task->back.user) {
		task->back.user = task->owner;
		task->gone_us = 0;
		task->dirty = true;
		task_hear(task, USH_BACK_BUSY);
	} else if (result != 0 || task->as_of_us <= task->gone_us) {
		/* A transfer that usherd knew of may not be in the read model yet. */
		task_hear(task, USH_BACK_BUSY);
	} else {
		task_hear(task, USH_BACK_GONE);
	}
}

/* usherd has no such hold of this user. It may have been transferred. */
static void gone(struct task *task)
{
	if (task->gone_us == 0)
		task->gone_us = rows_now_us();
	if (task->back.follows && task->driver->config.owner != NULL)
		ush_db_run(task->driver->config.db, USH_DB_READ, owner_job, on_owner, task);
	else
		task_hear(task, USH_BACK_GONE);
}

static void on_seen(void *context, int result, const struct ush_reply *reply, size_t reply_bytes)
{
	struct task *task = context;

	(void)reply_bytes;
	answered(task);
	if (is_later(result, reply)) {
		task_hear(task, USH_BACK_UNKNOWN);
	} else if (reply->status == USH_STATUS_NO_HOLD) {
		gone(task);
	} else if (reply->status != USH_STATUS_OK || reply->state == USH_HOLD_STATE_HELD) {
		task_hear(task, USH_BACK_GONE);
	} else if (reply->state != USH_HOLD_STATE_SOLD) {
		task_hear(task, USH_BACK_BUSY);
	} else {
		task->back.version = reply->hold_version;
		task->back.amount = (int64_t)reply->amount;
		task->back.asked = 0;
		task->gone_us = 0;
		task->dirty = true;
		task_hear(task, USH_BACK_SEEN);
	}
}

static void on_back_begun(
	void *context, int result, const struct ush_reply *reply, size_t reply_bytes)
{
	struct task *task = context;
	enum ush_back_event event;

	(void)reply_bytes;
	answered(task);
	if (is_later(result, reply)) {
		event = USH_BACK_UNKNOWN;
	} else if (reply->status == USH_STATUS_OK && reply->state == USH_HOLD_STATE_REFUNDING) {
		task->back.begun_version = reply->hold_version;
		task->dirty = true;
		event = task->back.leg_count == 0 || task->back.asked <= 1 ? USH_BACK_BEGUN
									   : USH_BACK_DOUBTFUL;
		/* All of it costs what the look said, however often it is asked. */
		if (task->back.leg_count > 0 && event == USH_BACK_BEGUN)
			task->back.amount = (int64_t)reply->amount;
	} else if (reply->status == USH_STATUS_CHANGED || reply->status == USH_STATUS_WRONG_STATE) {
		/* Seats that are not the hold's are CHANGED in the same version. */
		event = reply->hold_version == task->back.version &&
					reply->state == USH_HOLD_STATE_SOLD
				? USH_BACK_GONE
				: USH_BACK_CHANGED;
	} else if (reply->status == USH_STATUS_NO_HOLD) {
		gone(task);
		return;
	} else {
		event = USH_BACK_GONE;
	}
	task_hear(task, (int)event);
}

static void on_back_ended(
	void *context, int result, const struct ush_reply *reply, size_t reply_bytes)
{
	struct task *task = context;
	enum ush_back_event event = USH_BACK_CHANGED;

	(void)reply_bytes;
	answered(task);
	if (is_later(result, reply))
		event = USH_BACK_UNKNOWN;
	else if (reply->status == USH_STATUS_OK)
		event = USH_BACK_ENDED;
	task_hear(task, (int)event);
}

static void on_refund(void *context, const struct ush_provider_answer *answer)
{
	struct task *task = context;
	enum ush_back_event event = USH_BACK_UNKNOWN;

	answered(task);
	keep_error(task->back.error, answer, &task->dirty);
	if (answer->verdict == USH_PROVIDER_OK && answer->refund[0] != '\0') {
		snprintf(task->back.refund, sizeof(task->back.refund), "%s", answer->refund);
		task->dirty = true;
		event = USH_BACK_MONEY_OK;
	} else if (answer->verdict == USH_PROVIDER_OK) {
		event = USH_BACK_NONE;
	} else if (answer->verdict == USH_PROVIDER_REPLAYED) {
		event = USH_BACK_REPLAYED;
	} else if (answer->verdict == USH_PROVIDER_REFUSED) {
		event = USH_BACK_MONEY_NO;
	}
	task_hear(task, (int)event);
}

void task_act_back(struct task *task, enum ush_back_action action)
{
	struct ush_provider *provider = task->driver->config.provider;
	const struct ush_back_row *row = &task->back;
	char key[KEY_BYTES], reference[64];

	task_point(task->driver, "back", ush_back_step_name(row->back.step), "asking");
	snprintf(reference, sizeof(reference), "refund-%" PRId64, row->id);
	if ((action == USH_BACK_DO_REFUND || action == USH_BACK_DO_LOOK_REFUND) &&
		(row->amount + row->fee == 0 ||
			strncmp(row->refund, USH_BACK_DISPUTE, strlen(USH_BACK_DISPUTE)) == 0)) {
		/* Free seats; or the provider took the money when the dispute was lost. */
		task_hear(task, USH_BACK_MONEY_OK);
		return;
	}
	switch (action) {
	case USH_BACK_DO_LOOK:
		task_ask(task, USH_OP_QUERY_HOLD, 0, 0, false, on_seen);
		break;
	case USH_BACK_DO_BEGIN:
		task_ask(task, USH_OP_REFUND_BEGIN, row->version, 0, true, on_back_begun);
		break;
	case USH_BACK_DO_END_FAILED:
		task_ask(task, USH_OP_REFUND_END, row->begun_version, USH_OUTCOME_FAILED, true,
			on_back_ended);
		break;
	case USH_BACK_DO_END:
		task_ask(task, USH_OP_REFUND_END, row->begun_version, USH_OUTCOME_SUCCEEDED, true,
			on_back_ended);
		break;
	case USH_BACK_DO_REFUND:
		snprintf(key, sizeof(key), "usher-%s-%u", reference, row->back.refund);
		ush_provider_refund(provider, row->intent, row->amount + row->fee, reference, key,
			on_refund, task);
		break;
	case USH_BACK_DO_LOOK_REFUND:
		ush_provider_look_refund(provider, row->intent, reference, on_refund, task);
		break;
	default:
		USH_ASSERT(false);
	}
}
