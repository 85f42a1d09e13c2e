/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A refund: LOOK, BEGIN, MONEY, END, done.
 *
 * Failure modes. REFUND_BEGIN was asked twice for some of the seats: its answer may tell the price
 * of the whole hold, so REFUND_END failed takes it back and it begins anew. The provider will not:
 * UNDO, failed; the seats stay sold. Once the provider has refunded there is no way but END.
 */
#include "payments/saga.h"

static enum ush_back_action about(const struct ush_back *back)
{
	static const uint8_t actions[USH_BACK_STEP_COUNT] = {
		[USH_BACK_LOOK] = USH_BACK_DO_LOOK,
		[USH_BACK_BEGIN] = USH_BACK_DO_BEGIN,
		[USH_BACK_RESTART] = USH_BACK_DO_END_FAILED,
		[USH_BACK_MONEY] = USH_BACK_DO_REFUND,
		[USH_BACK_END] = USH_BACK_DO_END,
		[USH_BACK_UNDO] = USH_BACK_DO_END_FAILED,
	};

	return (enum ush_back_action)actions[back->step];
}

static enum ush_back_action go(struct ush_back *next, enum ush_back_step step)
{
	next->step = (uint8_t)step;
	return about(next);
}

static enum ush_back_action in_begin(struct ush_back *next, enum ush_back_event event)
{
	switch (event) {
	case USH_BACK_BEGUN:
		return go(next, USH_BACK_MONEY);
	case USH_BACK_DOUBTFUL:
		return go(next, USH_BACK_RESTART);
	case USH_BACK_CHANGED:
	case USH_BACK_BUSY:
		next->step = USH_BACK_LOOK;
		return USH_BACK_DO_PAUSE;
	case USH_BACK_GONE:
		return go(next, USH_BACK_FAILED);
	case USH_BACK_UNKNOWN:
		return USH_BACK_DO_PAUSE;
	default:
		return about(next);
	}
}

static enum ush_back_action in_look(struct ush_back *next, enum ush_back_event event)
{
	switch (event) {
	case USH_BACK_SEEN:
		return go(next, USH_BACK_BEGIN);
	case USH_BACK_GONE:
		return go(next, USH_BACK_FAILED);
	case USH_BACK_BUSY:
	case USH_BACK_UNKNOWN:
		return USH_BACK_DO_PAUSE;
	default:
		return about(next);
	}
}

static enum ush_back_action in_money(struct ush_back *next, enum ush_back_event event)
{
	switch (event) {
	case USH_BACK_MONEY_OK:
		return go(next, USH_BACK_END);
	case USH_BACK_MONEY_NO:
		return go(next, USH_BACK_UNDO);
	case USH_BACK_REPLAYED:
		next->refund++;
		return USH_BACK_DO_LOOK_REFUND;
	case USH_BACK_NONE:
		return USH_BACK_DO_REFUND;
	case USH_BACK_UNKNOWN:
		return USH_BACK_DO_PAUSE;
	default:
		return USH_BACK_DO_LOOK_REFUND;
	}
}

/* The three that end at usherd. */
static enum ush_back_action in_end(
	struct ush_back *next, enum ush_back_event event, enum ush_back_step then)
{
	if (event == USH_BACK_ENDED || event == USH_BACK_GONE || event == USH_BACK_CHANGED)
		return go(next, then);
	return event == USH_BACK_UNKNOWN ? USH_BACK_DO_PAUSE : about(next);
}

enum ush_back_action ush_back_step(
	const struct ush_back *now, enum ush_back_event event, struct ush_back *next)
{
	struct ush_back made = *now;
	enum ush_back_action action = USH_BACK_DO_NOTHING;

	switch (now->step) {
	case USH_BACK_LOOK:
		action = in_look(&made, event);
		break;
	case USH_BACK_BEGIN:
		action = in_begin(&made, event);
		break;
	case USH_BACK_RESTART:
		action = in_end(&made, event, USH_BACK_LOOK);
		break;
	case USH_BACK_MONEY:
		action = in_money(&made, event);
		break;
	case USH_BACK_END:
		action = in_end(&made, event, USH_BACK_DONE);
		break;
	case USH_BACK_UNDO:
		action = in_end(&made, event, USH_BACK_FAILED);
		break;
	default:
		break;
	}
	*next = made;
	return action;
}

bool ush_back_is_over(const struct ush_back *back)
{
	return back->step >= USH_BACK_DONE;
}

const char *ush_back_step_name(uint8_t step)
{
	static const char *const names[USH_BACK_STEP_COUNT] = {
		"none", "look", "begin", "restart", "money", "end", "undo", "done", "failed"};

	return step < USH_BACK_STEP_COUNT ? names[step] : "unknown";
}
