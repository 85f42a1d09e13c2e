/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Same request id, same answer: an id is accepted at most once, for the body that was sent; what
 * was accepted is told again as long as the window remembers it; what was refused is not accepted
 * later by the same process.
 */
#include "check.h"

static void durable(struct sim *sim, const struct ush_record *records, uint32_t count)
{
	const struct ush_record *r = &records[0];

	(void)count;
	if ((r->type == USH_RECORD_TYPE_HOLD || r->type == USH_RECORD_TYPE_RELEASE ||
		    r->type == USH_RECORD_TYPE_EXTEND || r->type == USH_RECORD_TYPE_CUT ||
		    r->type == USH_RECORD_TYPE_SWAP || r->type == USH_RECORD_TYPE_WAIT_JOIN ||
		    (r->type == USH_RECORD_TYPE_WAIT_LEAVE && r->request_id != 0)) &&
		ledger_accepted(&sim->ledger, r->event, r->user, r->request_id) != NULL)
		sim_fail(sim, "repeat",
			"record %" PRIu64 ": request %u of user %" PRIu64 " is accepted again",
			r->sequence, r->request_id, r->user);
}

/* The seats that a reservation asked for are the seats of its hold. */
static bool has_body(const struct sim_ask *ask, const struct ledger_hold *hold)
{
	uint64_t asked[SIM_ROWS_MAX] = {0}, has[SIM_ROWS_MAX] = {0};

	if (ask->request.row >= SIM_ROWS_MAX)
		return false;
	asked[ask->request.row] = ask->request.mask;
	for (uint32_t i = 0; i < ask->leg_count; i++)
		asked[ask->legs[i].row] |= ask->legs[i].mask;
	for (uint32_t i = 0; i < hold->legs_first; i++)
		has[hold->row_first[i]] |= hold->mask_first[i];
	return memcmp(asked, has, sizeof(has)) == 0;
}

/* ret: true if an operation may have been accepted by such a record. */
static bool is_of(uint8_t op, uint8_t type)
{
	return type == sim_op_record(op) || (op == USH_OP_RELEASE && type == USH_RECORD_TYPE_CUT);
}

static void check_accepted(
	struct sim *sim, const struct sim_ask *ask, const struct ush_reply *reply)
{
	const struct ush_request *r = &ask->request;
	const struct ledger_accepted *accepted =
		ledger_accepted(&sim->ledger, r->event, r->user, r->request_id);
	const struct ledger_hold *hold = NULL;

	/* The same hold, or place, may be another by now: what it rests on is not older. */
	if (r->op == USH_OP_WAIT_LIST && accepted != NULL && reply->sequence >= accepted->sequence)
		return;
	if (accepted != NULL && !is_of(r->op, accepted->type))
		accepted = NULL;
	if (r->op == USH_OP_RESERVE)
		hold = accepted != NULL ? ledger_hold(&sim->ledger, accepted->hold) : NULL;
	if (accepted == NULL || accepted->hold != reply->hold ||
		accepted->sequence != reply->sequence || (hold != NULL && !has_body(ask, hold)))
		sim_fail(sim, "repeat",
			"request %u of user %" PRIu64 " is told hold %" PRIx64
			" and record %" PRIu64 "; accepted was hold %" PRIx64 " by %" PRIu64,
			r->request_id, r->user, reply->hold, reply->sequence,
			accepted != NULL ? accepted->hold : 0,
			accepted != NULL ? accepted->sequence : 0);
}

/* ret: true if it was decided, and against the client. STALE and MISMATCH decide nothing: they may
 * overtake the OK of the same request, which waits for the disk. */
static bool was_refused(const struct sim_ask *ask)
{
	switch (ask->out_status) {
	case USH_STATUS_TAKEN:
	case USH_STATUS_TAKEN_NOW:
	case USH_STATUS_LIMIT:
	case USH_STATUS_CONTENDED:
	case USH_STATUS_NONE:
		return true;
	case USH_STATUS_EXPIRED:
	case USH_STATUS_WRONG_STATE:
		return ask->request.op == USH_OP_RELEASE || ask->request.op == USH_OP_EXTEND ||
		       ask->request.op == USH_OP_SWAP;
	default:
		return false;
	}
}

/* Of the same version the same is told, as long as OK is told. */
static void check_versioned(
	struct sim *sim, const struct sim_ask *ask, const struct ush_reply *reply)
{
	if (ask->out_boot == 0 || ask->out_status != USH_STATUS_OK ||
		reply->status != USH_STATUS_OK)
		return;
	sim->totals->repeated++;
	if (ask->out_state != reply->state || ask->out_version != reply->hold_version ||
		ask->out_hold != reply->hold)
		sim_fail(sim, "repeat",
			"ask %" PRIu64 " (op %u) was told state %u of version %u, and is now told "
			"%u of %u",
			reply->cookie - 1, reply->op, ask->out_state, ask->out_version,
			reply->state, reply->hold_version);
}

/* ret: true if the request used no id when this was decided, and was accepted since: the reply
 * rests on a record before that of the acceptance, and waited longer, for another loop. */
static bool is_older(
	const struct sim *sim, const struct sim_ask *ask, const struct ush_reply *reply)
{
	const struct ush_request *r = &ask->request;
	const struct ledger_accepted *accepted =
		ledger_accepted(&sim->ledger, r->event, r->user, r->request_id);

	return (reply->status == USH_STATUS_NOT_ON_LIST || reply->status == USH_STATUS_ON_LIST) &&
	       accepted != NULL && reply->sequence != 0 && reply->sequence < accepted->sequence;
}

static void replied(struct sim *sim, const struct sim_ask *ask, const struct ush_reply *reply)
{
	const struct ush_request *r = &ask->request;
	bool is_old;

	if (sim_op_is_versioned(r->op))
		check_versioned(sim, ask, reply);
	if (!sim_op_is_counted(r->op) || ask->noise || r->user >= LEDGER_USERS ||
		r->event >= LEDGER_EVENTS)
		return;
	/* A look is answered anew each time. */
	if (r->op == USH_OP_WAIT_LIST && r->arg >> 32 == USH_WAIT_ACTION_LOOK)
		return;
	if (reply->detail == 1 && reply->status == USH_STATUS_OK)
		sim->totals->repeated++;
	if (reply->status == USH_STATUS_OK)
		check_accepted(sim, ask, reply);
	if (ask->out_boot == 0)
		return;
	is_old = sim->next_id[r->event][r->user] - r->request_id >= USH_REQUEST_WINDOW;
	if (ask->out_status == USH_STATUS_OK && reply->status != USH_STATUS_OK &&
		reply->status != USH_STATUS_RETRY && !sim_admission_refused(sim, reply->status) &&
		!(reply->status == USH_STATUS_STALE && is_old) && !is_older(sim, ask, reply))
		sim_fail(sim, "repeat",
			"request %u of user %" PRIu64 " was accepted and is now answered %u",
			r->request_id, r->user, reply->status);
	if (was_refused(ask) && ask->out_boot == sim->boot && reply->status == USH_STATUS_OK)
		sim_fail(sim, "repeat",
			"request %u of user %" PRIu64 " was refused with %u and is now accepted",
			r->request_id, r->user, ask->out_status);
}

const struct check check_repeat = {.name = "repeat", .durable = durable, .replied = replied};
