/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A payment: BEGIN, CREATE, WAIT, CAPTURE, SELL, sold.
 *
 * Failure modes. The payer does not pay: CLOSE, FAIL, failed. The hold is over when the money is
 * there: LATE; what cannot be sold: RETURN, returned. What is not known is asked again in the same
 * step, under the same key; a failure that the provider keeps under a key is looked at and asked
 * anew under the next number, which is right only for what the look said was not done.
 *
 * Two rules carry it. FAIL is reached only where no money can move any more: usherd was not asked,
 * nobody has the client secret, or the intent is cancelled. SELL, LATE and RETURN are reached only
 * where the provider said that it was captured, and from each of them there is no way but sold or
 * returned.
 *
 * An event that a step does not know about (a hint while it captures) changes nothing and asks for
 * what the step is about once more: all actions can be repeated.
 */
#include "payments/saga.h"

/* What a step is about: done when it is entered and when its outcome is unknown. */
static enum ush_pay_action about(const struct ush_pay *pay)
{
	static const uint8_t actions[USH_PAY_STEP_COUNT] = {
		[USH_PAY_BEGIN] = USH_PAY_DO_BEGIN,
		[USH_PAY_CREATE] = USH_PAY_DO_CREATE,
		[USH_PAY_WAIT] = USH_PAY_DO_LOOK,
		[USH_PAY_CAPTURE] = USH_PAY_DO_CAPTURE,
		[USH_PAY_CLOSE] = USH_PAY_DO_LOOK,
		[USH_PAY_SELL] = USH_PAY_DO_SELL,
		[USH_PAY_FAIL] = USH_PAY_DO_FAIL,
		[USH_PAY_LATE] = USH_PAY_DO_LATE,
		[USH_PAY_RETURN] = USH_PAY_DO_REFUND,
	};

	USH_ASSERT(pay->step < USH_PAY_STEP_COUNT);
	return (enum ush_pay_action)actions[pay->step];
}

static enum ush_pay_action go(struct ush_pay *next, enum ush_pay_step step)
{
	next->step = (uint8_t)step;
	return about(next);
}

static enum ush_pay_action fail(struct ush_pay *next, enum ush_pay_reason reason)
{
	if (next->reason == USH_PAY_REASON_NONE)
		next->reason = (uint8_t)reason;
	return go(next, USH_PAY_FAIL);
}

static enum ush_pay_action give_back(struct ush_pay *next)
{
	next->reason = USH_PAY_REASON_SEATS_GONE;
	return go(next, USH_PAY_RETURN);
}

static enum ush_pay_action sold(struct ush_pay *next)
{
	next->reason = USH_PAY_REASON_NONE;
	return go(next, USH_PAY_SOLD);
}

static enum ush_pay_action in_begin(struct ush_pay *next, enum ush_pay_event event)
{
	if (event == USH_PAY_BEGUN)
		return go(next, USH_PAY_CREATE);
	if (event == USH_PAY_NOT_BEGUN) {
		next->reason = USH_PAY_REASON_REFUSED;
		return go(next, USH_PAY_FAILED);
	}
	return event == USH_PAY_UNKNOWN ? USH_PAY_DO_PAUSE : about(next);
}

/* Nobody has a client secret yet: an intent that was made unseen stays without a payer. */
static enum ush_pay_action in_create(struct ush_pay *next, enum ush_pay_event event)
{
	switch (event) {
	case USH_PAY_OPEN:
		return go(next, USH_PAY_WAIT);
	case USH_PAY_FREE:
		return go(next, USH_PAY_SELL);
	case USH_PAY_REFUSED:
		return fail(next, USH_PAY_REASON_PROVIDER);
	case USH_PAY_TIME:
		return fail(next, USH_PAY_REASON_TIME);
	case USH_PAY_CANCEL:
		return fail(next, USH_PAY_REASON_BUYER);
	case USH_PAY_REPLAYED:
		next->create++;
		return USH_PAY_DO_PAUSE;
	case USH_PAY_UNKNOWN:
		return USH_PAY_DO_PAUSE;
	default:
		return about(next);
	}
}

/* What an intent that somebody may pay says of itself, whatever was asked of it. ret: PAUSE: the
 * payer's turn. */
static enum ush_pay_action look(struct ush_pay *next, enum ush_pay_event event)
{
	switch (event) {
	case USH_PAY_AUTHORISED:
		return go(next, USH_PAY_CAPTURE);
	case USH_PAY_SUCCEEDED:
		return go(next, USH_PAY_SELL);
	case USH_PAY_CANCELED:
		return fail(next, USH_PAY_REASON_PROVIDER);
	default:
		return USH_PAY_DO_PAUSE;
	}
}

static enum ush_pay_action close_it(struct ush_pay *next, enum ush_pay_reason reason)
{
	next->reason = (uint8_t)reason;
	return go(next, USH_PAY_CLOSE);
}

static enum ush_pay_action in_wait(struct ush_pay *next, enum ush_pay_event event)
{
	switch (event) {
	case USH_PAY_DECLINED:
		return close_it(next, USH_PAY_REASON_DECLINED);
	case USH_PAY_TIME:
		return close_it(next, USH_PAY_REASON_TIME);
	case USH_PAY_CANCEL:
		return close_it(next, USH_PAY_REASON_BUYER);
	case USH_PAY_RESUME:
	case USH_PAY_HINT:
		return about(next);
	default:
		return look(next, event);
	}
}

static enum ush_pay_action in_close(struct ush_pay *next, enum ush_pay_event event)
{
	switch (event) {
	case USH_PAY_OPEN:
	case USH_PAY_DECLINED:
		return USH_PAY_DO_CANCEL;
	case USH_PAY_REPLAYED:
	case USH_PAY_REFUSED: /* it cannot be cancelled any more: look why */
		next->cancel++;
		return USH_PAY_DO_PAUSE;
	case USH_PAY_RESUME:
	case USH_PAY_HINT:
	case USH_PAY_TIME:
	case USH_PAY_CANCEL:
		return about(next);
	default:
		return look(next, event);
	}
}

static enum ush_pay_action in_capture(struct ush_pay *next, enum ush_pay_event event)
{
	switch (event) {
	case USH_PAY_SUCCEEDED:
		return go(next, USH_PAY_SELL);
	case USH_PAY_CANCELED:
		return fail(next, USH_PAY_REASON_PROVIDER);
	case USH_PAY_REPLAYED:
	case USH_PAY_REFUSED:
		/* Under the next number, once a look has said that it was not done. */
		next->capture++;
		return USH_PAY_DO_LOOK;
	case USH_PAY_AUTHORISED:
		return USH_PAY_DO_CAPTURE;
	case USH_PAY_OPEN:
	case USH_PAY_DECLINED:
		return close_it(next, USH_PAY_REASON_PROVIDER);
	case USH_PAY_UNKNOWN:
		return USH_PAY_DO_PAUSE;
	default:
		return about(next);
	}
}

static enum ush_pay_action in_sell(struct ush_pay *next, enum ush_pay_event event)
{
	switch (event) {
	case USH_PAY_ENDED:
		return sold(next);
	case USH_PAY_OVER:
		return go(next, USH_PAY_LATE);
	case USH_PAY_OTHER:
		return give_back(next);
	case USH_PAY_UNKNOWN:
		return USH_PAY_DO_PAUSE;
	default:
		return about(next);
	}
}

static enum ush_pay_action in_late(struct ush_pay *next, enum ush_pay_event event)
{
	switch (event) {
	case USH_PAY_LATE_SOLD:
		next->late = 1;
		return sold(next);
	case USH_PAY_LATE_NO:
	case USH_PAY_OTHER:
		return give_back(next);
	case USH_PAY_UNKNOWN:
		return USH_PAY_DO_PAUSE;
	default:
		return about(next);
	}
}

static enum ush_pay_action in_fail(struct ush_pay *next, enum ush_pay_event event)
{
	switch (event) {
	case USH_PAY_ENDED:
	case USH_PAY_OVER:
	case USH_PAY_OTHER:
		return go(next, USH_PAY_FAILED);
	case USH_PAY_UNKNOWN:
		return USH_PAY_DO_PAUSE;
	default:
		return about(next);
	}
}

static enum ush_pay_action in_return(struct ush_pay *next, enum ush_pay_event event)
{
	switch (event) {
	case USH_PAY_REFUND_OK:
		return go(next, USH_PAY_RETURNED);
	case USH_PAY_REPLAYED:
		next->refund++;
		return USH_PAY_DO_LOOK_REFUND;
	case USH_PAY_REFUSED:
		/* Disputed, most likely: until that is over. */
		next->refund++;
		return USH_PAY_DO_PAUSE;
	case USH_PAY_LOST:
		next->reason = USH_PAY_REASON_DISPUTED;
		return go(next, USH_PAY_RETURNED);
	case USH_PAY_REFUND_NONE:
		return USH_PAY_DO_REFUND;
	case USH_PAY_UNKNOWN:
		return USH_PAY_DO_PAUSE;
	default:
		return USH_PAY_DO_LOOK_REFUND;
	}
}

enum ush_pay_action ush_pay_step(
	const struct ush_pay *now, enum ush_pay_event event, struct ush_pay *next)
{
	static enum ush_pay_action (*const steps[USH_PAY_STEP_COUNT])(
		struct ush_pay * next, enum ush_pay_event event) = {
		[USH_PAY_BEGIN] = in_begin,
		[USH_PAY_CREATE] = in_create,
		[USH_PAY_WAIT] = in_wait,
		[USH_PAY_CAPTURE] = in_capture,
		[USH_PAY_CLOSE] = in_close,
		[USH_PAY_SELL] = in_sell,
		[USH_PAY_FAIL] = in_fail,
		[USH_PAY_LATE] = in_late,
		[USH_PAY_RETURN] = in_return,
	};
	struct ush_pay made = *now;
	enum ush_pay_action action = USH_PAY_DO_NOTHING;

	USH_ASSERT(now->step < USH_PAY_STEP_COUNT);
	if (steps[now->step] != NULL)
		action = steps[now->step](&made, event);
	*next = made;
	return action;
}

bool ush_pay_is_over(const struct ush_pay *pay)
{
	return pay->step >= USH_PAY_SOLD;
}

const char *ush_pay_step_name(uint8_t step)
{
	static const char *const names[USH_PAY_STEP_COUNT] = {"none", "begin", "create", "wait",
		"capture", "close", "sell", "fail", "late", "return", "sold", "failed", "returned"};

	return step < USH_PAY_STEP_COUNT ? names[step] : "unknown";
}

const char *ush_pay_reason_name(uint8_t reason)
{
	static const char *const names[] = {"none", "declined", "pay_by", "cancelled_by_buyer",
		"hold_changed", "provider_refused", "seats_gone", "disputed"};

	return reason < sizeof(names) / sizeof(names[0]) ? names[reason] : "unknown";
}
