/* SPDX-License-Identifier: Apache-2.0 */
#include "explore/scenarios.h"

const struct explore_scenario *const explore_scenarios[] = {
	&explore_claim_overlap,
	&explore_claim_undo,
	&explore_claim_return,
	&explore_claim_sold_out,
	&explore_user_enter,
	&explore_user_duplicate,
	&explore_user_replace,
	&explore_hold_word,
	&explore_log_seal,
	&explore_engine_seats,
	&explore_engine_rows,
	&explore_engine_duplicate,
	&explore_engine_query,
	&explore_engine_release,
	&explore_engine_expiry,
	&explore_engine_confirm,
	&explore_engine_reuse,
	&explore_bookings_list,
	&explore_channel_seats,
	&explore_channel_unblock,
	&explore_channel_return,
	NULL,
};
