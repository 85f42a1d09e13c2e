/* SPDX-License-Identifier: Apache-2.0 */
#include "apply/internal.h"

static bool has_legs(uint8_t type)
{
	return type == USH_RECORD_TYPE_HOLD || type == USH_RECORD_TYPE_LATE ||
	       type == USH_RECORD_TYPE_OFFER || type == USH_RECORD_TYPE_WAIT_OPEN ||
	       type == USH_RECORD_TYPE_BLOCK || type == USH_RECORD_TYPE_UNBLOCK ||
	       type == USH_RECORD_TYPE_CUT || type == USH_RECORD_TYPE_REFUND_BEGIN ||
	       type == USH_RECORD_TYPE_REFUND_END || type == USH_RECORD_TYPE_SWAP ||
	       type == USH_RECORD_TYPE_ROOM_OPEN || type == USH_RECORD_TYPE_ROOM_DRAW;
}

static bool gives_back(uint8_t type)
{
	return type == USH_RECORD_TYPE_RELEASE || type == USH_RECORD_TYPE_EXPIRE ||
	       type == USH_RECORD_TYPE_CUT || type == USH_RECORD_TYPE_PAY_END ||
	       type == USH_RECORD_TYPE_REFUND_END || type == USH_RECORD_TYPE_SWAP ||
	       type == USH_RECORD_TYPE_UNBLOCK;
}

int apply_check_run(const struct ush_record *records, uint32_t count, uint32_t *keeps,
	uint32_t *priced, uint32_t *timed, struct ush_message *message)
{
	const struct ush_record *r = &records[0];
	uint32_t own = count;
	bool kept = false;

	if (ush_likely(count == 1)) {
		if (r->type == 0 || r->type >= USH_RECORD_TYPE_COUNT)
			return bad(r, message, "unknown record type");
		return r->run_index == 0 && r->run_count == 1
			       ? 0
			       : bad(r, message, "a run is not whole");
	}
	*timed = records[count - 1].type == USH_RECORD_TYPE_USER_TIME;
	own -= *timed;
	*priced = own > 1 && records[own - 1].type == USH_RECORD_TYPE_PRICES;
	own -= *priced;
	if (r->type == 0 || r->type >= USH_RECORD_TYPE_COUNT)
		return bad(r, message, "unknown record type");
	for (uint32_t i = 0; i < count; i++) {
		bool last = i >= own;

		kept = kept || (i > 0 && records[i].type == USH_RECORD_TYPE_KEEP);
		*keeps += kept && !last;
		if (records[i].run_index != i || records[i].run_count != count ||
			(!last && records[i].type != (kept ? USH_RECORD_TYPE_KEEP : r->type)) ||
			records[i].event != r->event)
			return bad(&records[i], message, "a run is not whole");
	}
	if (*keeps != 0 && !gives_back(r->type))
		return bad(r, message, "a change that gives no seats back keeps some");
	if (*priced != 0 && !makes_a_hold(r->type))
		return bad(r, message, "a price list of what is no new hold");
	if (own - *keeps > 1 && !has_legs(r->type))
		return bad(r, message, "a run of a type that has no legs");
	return 0;
}
