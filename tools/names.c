/* SPDX-License-Identifier: Apache-2.0 */
#include "names.h"

#include "wire/wire.h"

/* Defines usher_name_<what>() over the enumeration that EACH lists. */
#define NAME_OF(what, EACH) \
	const char *usher_name_##what(uint32_t value) \
	{ \
		switch (value) { \
			EACH(CASE) \
		default: \
			return "UNKNOWN"; \
		} \
	}
#define CASE(name, number) \
	case number: \
		return #name;

NAME_OF(status, USH_STATUS_EACH)
NAME_OF(hold_state, USH_HOLD_STATE_EACH)
NAME_OF(event_status, USH_EVENT_STATUS_EACH)
NAME_OF(fault, USH_FAULT_EACH)
NAME_OF(room_phase, USH_ROOM_PHASE_EACH)
NAME_OF(room_limit, USH_ROOM_LIMIT_EACH)
NAME_OF(op, USH_OP_EACH)
