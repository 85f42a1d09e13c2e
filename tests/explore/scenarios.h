/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All scenarios.
 *
 * Owns:  nothing.
 * Reads: nothing.
 * Never: anything else.
 */
#ifndef USH_EXPLORE_SCENARIOS_H
#define USH_EXPLORE_SCENARIOS_H

#include "explore/explore.h"

extern const struct explore_scenario explore_claim_overlap;
extern const struct explore_scenario explore_claim_undo;
extern const struct explore_scenario explore_claim_return;
extern const struct explore_scenario explore_claim_sold_out;
extern const struct explore_scenario explore_user_enter;
extern const struct explore_scenario explore_user_duplicate;
extern const struct explore_scenario explore_user_replace;
extern const struct explore_scenario explore_hold_word;
extern const struct explore_scenario explore_hold_swap;
extern const struct explore_scenario explore_hold_swap_release;
extern const struct explore_scenario explore_log_seal;
extern const struct explore_scenario explore_engine_seats;
extern const struct explore_scenario explore_engine_rows;
extern const struct explore_scenario explore_engine_duplicate;
extern const struct explore_scenario explore_engine_query;
extern const struct explore_scenario explore_engine_release;
extern const struct explore_scenario explore_engine_expiry;
extern const struct explore_scenario explore_engine_confirm;
extern const struct explore_scenario explore_engine_reuse;
extern const struct explore_scenario explore_best_none;
extern const struct explore_scenario explore_bookings_list;
extern const struct explore_scenario explore_channel_seats;
extern const struct explore_scenario explore_channel_unblock;
extern const struct explore_scenario explore_channel_return;
extern const struct explore_scenario explore_change_rows;
extern const struct explore_scenario explore_change_index;
extern const struct explore_scenario explore_room_join;
extern const struct explore_scenario explore_room_two;
extern const struct explore_scenario explore_room_close;
extern const struct explore_scenario explore_room_exchange;
extern const struct explore_scenario explore_wait_release;
extern const struct explore_scenario explore_wait_join;
extern const struct explore_scenario explore_wait_unblock;

#endif /* USH_EXPLORE_SCENARIOS_H */
