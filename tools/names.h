/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names of the wire table's values, as people read them.
 *
 * Owns:  nothing.
 * Reads: nothing.
 * Never: fails: a value without a name is "UNKNOWN".
 */
#ifndef USH_NAMES_H
#define USH_NAMES_H

#include <stdint.h>

const char *usher_name_status(uint32_t value);
const char *usher_name_hold_state(uint32_t value);
const char *usher_name_event_status(uint32_t value);
const char *usher_name_fault(uint32_t value);
const char *usher_name_room_phase(uint32_t value);
const char *usher_name_room_limit(uint32_t value);
const char *usher_name_op(uint32_t value);

#endif /* USH_NAMES_H */
