/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is done about a payment or a refund when something is heard of it: state and event to state
 * and action, and nothing else.
 *
 * Owns:  nothing.
 * Reads: nothing.
 * Never: I/O, clocks, memory. The driver (driver.c) keeps the state durably before it acts.
 */
#ifndef USH_PAYMENTS_SAGA_H
#define USH_PAYMENTS_SAGA_H

#include "base/base.h"

/* Where a payment stands. What its comment says was written down before it is done. */
enum ush_pay_step {
	USH_PAY_BEGIN = 1,  /* PAY_BEGIN is asked of usherd */
	USH_PAY_CREATE = 2, /* the intent is made; its id is not known */
	USH_PAY_WAIT = 3,   /* the payer has the client secret */
	USH_PAY_CAPTURE = 4,
	USH_PAY_CLOSE = 5,  /* the intent is looked at once more, then cancelled */
	USH_PAY_SELL = 6,   /* captured; PAY_END succeeded is asked for */
	USH_PAY_FAIL = 7,   /* no money moved nor will; PAY_END failed is asked for */
	USH_PAY_LATE = 8,   /* captured, and the hold is over; PAY_LATE is asked for */
	USH_PAY_RETURN = 9, /* captured, and nothing sold: refunded */
	/* Ends. */
	USH_PAY_SOLD = 10,
	USH_PAY_FAILED = 11,
	USH_PAY_RETURNED = 12,
};
#define USH_PAY_STEP_COUNT 13u

/* Why a payment went the way it did: said to the buyer. */
enum ush_pay_reason {
	USH_PAY_REASON_NONE = 0,
	USH_PAY_REASON_DECLINED = 1,
	USH_PAY_REASON_TIME = 2,       /* pay-by */
	USH_PAY_REASON_BUYER = 3,      /* cancelled by the buyer */
	USH_PAY_REASON_REFUSED = 4,    /* usherd did not begin it: the hold changed or is over */
	USH_PAY_REASON_PROVIDER = 5,   /* the provider does not take it */
	USH_PAY_REASON_SEATS_GONE = 6, /* late, and the seats were not free */
	USH_PAY_REASON_DISPUTED = 7,   /* the same, and a lost dispute took the money back */
};

/* What is heard. */
enum ush_pay_event {
	USH_PAY_RESUME = 0, /* the process starts, or a pause is over */
	/* usherd */
	USH_PAY_BEGUN = 1,     /* PAYING, in the version and attempt of this payment */
	USH_PAY_NOT_BEGUN = 2, /* surely not, for good */
	USH_PAY_ENDED = 3,     /* PAY_END: OK, or the hold is SOLD anyway */
	USH_PAY_OVER = 4,      /* PAY_END: the hold is over */
	USH_PAY_OTHER = 5,     /* PAY_END or PAY_LATE: it lives, and this payment is not its */
	USH_PAY_LATE_SOLD = 6,
	USH_PAY_LATE_NO = 7,
	/* the provider: what the intent is now */
	USH_PAY_OPEN = 8,        /* waits for the payer */
	USH_PAY_DECLINED = 9,    /* the same, after a card was declined */
	USH_PAY_AUTHORISED = 10, /* can be captured */
	USH_PAY_SUCCEEDED = 11,  /* was captured */
	USH_PAY_CANCELED = 12,
	USH_PAY_REFUSED = 13,  /* the call is refused for good, whatever is repeated */
	USH_PAY_REPLAYED = 14, /* the answer is a failure that is kept under the key */
	USH_PAY_REFUND_OK = 15,
	USH_PAY_REFUND_NONE = 16, /* there is none yet */
	/* both */
	USH_PAY_UNKNOWN = 17, /* no answer, or "again later" */
	/* others */
	USH_PAY_HINT = 18,   /* a webhook: look */
	USH_PAY_TIME = 19,   /* pay-by is reached */
	USH_PAY_CANCEL = 20, /* the buyer gives up */
	USH_PAY_LOST = 21,   /* as REFUND_NONE, nor will there be one: a dispute of it is lost */
	USH_PAY_FREE = 22,   /* it costs nothing: the provider has no part in it */
};
#define USH_PAY_EVENT_COUNT 23u

enum ush_pay_action {
	USH_PAY_DO_NOTHING = 0, /* it is over */
	USH_PAY_DO_PAUSE = 1,   /* RESUME later; how much later is the driver's */
	USH_PAY_DO_BEGIN = 2,
	USH_PAY_DO_CREATE = 3,
	USH_PAY_DO_LOOK = 4, /* retrieve the intent */
	USH_PAY_DO_CAPTURE = 5,
	USH_PAY_DO_CANCEL = 6,
	USH_PAY_DO_SELL = 7,
	USH_PAY_DO_FAIL = 8,
	USH_PAY_DO_LATE = 9,
	USH_PAY_DO_REFUND = 10,
	USH_PAY_DO_LOOK_REFUND = 11, /* list the intent's refunds */
};

/* What is kept of a payment and changes on its way. */
struct ush_pay {
	uint8_t step;   /* enum ush_pay_step */
	uint8_t reason; /* enum ush_pay_reason */
	uint8_t late;   /* sold by PAY_LATE */
	/* Numbers in the idempotency keys of create, capture, cancel and refund: one more after a
	 * failure that the provider keeps under the key. */
	uint16_t create, capture, cancel, refund;
};

/* in: now, event. out: next: may be *now. ret: what to do once *next is durable. */
enum ush_pay_action ush_pay_step(
	const struct ush_pay *now, enum ush_pay_event event, struct ush_pay *next);
/* ret: true if nothing more will happen. */
bool ush_pay_is_over(const struct ush_pay *pay);
/* ret: for logs and the API; never NULL. */
const char *ush_pay_step_name(uint8_t step);
const char *ush_pay_reason_name(uint8_t reason);

/* ---- refunds of what was sold ---- */

enum ush_back_step {
	USH_BACK_LOOK = 1,    /* the hold's version is asked for */
	USH_BACK_BEGIN = 2,   /* REFUND_BEGIN */
	USH_BACK_RESTART = 3, /* REFUND_END failed, to begin anew: the amount is in doubt */
	USH_BACK_MONEY = 4,   /* the provider's refund */
	USH_BACK_END = 5,     /* REFUND_END succeeded */
	USH_BACK_UNDO = 6,    /* REFUND_END failed: the provider does not refund */
	USH_BACK_DONE = 7,
	USH_BACK_FAILED = 8,
};
#define USH_BACK_STEP_COUNT 9u

enum ush_back_event {
	USH_BACK_RESUME = 0,
	USH_BACK_SEEN = 1,      /* SOLD; version and amount are known */
	USH_BACK_BUSY = 2,      /* not SOLD now (PAYING, REFUNDING by another): later */
	USH_BACK_GONE = 3,      /* no such hold, or nothing of these seats: for good */
	USH_BACK_BEGUN = 4,     /* REFUNDING, and the amount is sure */
	USH_BACK_DOUBTFUL = 5,  /* REFUNDING, and the amount may be that of the whole hold */
	USH_BACK_CHANGED = 6,   /* another version by now */
	USH_BACK_ENDED = 7,     /* REFUND_END: OK, or over already */
	USH_BACK_MONEY_OK = 8,  /* a refund of this key is there, not failed */
	USH_BACK_MONEY_NO = 9,  /* the provider will not, for good */
	USH_BACK_REPLAYED = 10, /* a failure kept under the key */
	USH_BACK_NONE = 11,     /* no refund of ours is there */
	USH_BACK_UNKNOWN = 12,
};
#define USH_BACK_EVENT_COUNT 13u

enum ush_back_action {
	USH_BACK_DO_NOTHING = 0,
	USH_BACK_DO_PAUSE = 1,
	USH_BACK_DO_LOOK = 2,
	USH_BACK_DO_BEGIN = 3,
	USH_BACK_DO_END_FAILED = 4,
	USH_BACK_DO_REFUND = 5,
	USH_BACK_DO_LOOK_REFUND = 6,
	USH_BACK_DO_END = 7,
};

/* What the id of a provider's refund begins with where a lost dispute stands for one. */
#define USH_BACK_DISPUTE "dispute:"

struct ush_back {
	uint8_t step;
	uint16_t refund; /* number in the key of the refund */
};

enum ush_back_action ush_back_step(
	const struct ush_back *now, enum ush_back_event event, struct ush_back *next);
bool ush_back_is_over(const struct ush_back *back);
const char *ush_back_step_name(uint8_t step);

#endif /* USH_PAYMENTS_SAGA_H */
