/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What clients can ask, one row of a table for each operation.
 *
 * Owns:  struct sim_op.
 * Reads: the ledger, for holds that a client could know of.
 * Never: the engine.
 */
#ifndef USH_SIM_OPS_H
#define USH_SIM_OPS_H

#include "sim.h"

/* Newest asks and holds that clients still think of. */
#define RECENT 48u

struct sim_op {
	uint8_t op;
	uint8_t weight;
	bool control;
	/* Enters the window of request ids. */
	bool counted;
	/* Moves a hold of a named version on; asked again it finds its own work done. */
	bool versioned;
	/* Record it writes when it is done; 0: none. */
	uint8_t record;
	/* Fills in what is special. ret: false if nothing can be asked now. */
	bool (*draw)(struct sim *sim, struct sim_ask *ask);
};

/* ret: the row of an operation, or NULL. */
const struct sim_op *sim_op_find(uint8_t op);
/* ret: an operation, as often as its weight says. */
const struct sim_op *sim_op_draw(struct sim *sim);
/* ret: some seats of a row, at least one. */
uint64_t sim_draw_mask(struct sim *sim);
/* ret: how the payment or the refund of that version of a hold ends at its provider, who does not
 * change their mind (enum outcome). */
uint64_t sim_outcome(const struct sim *sim, uint64_t hold, uint16_t version);

/* Draw functions of waiting rooms, room.c. */
bool sim_room_draw_join(struct sim *sim, struct sim_ask *ask);
bool sim_room_draw_position(struct sim *sim, struct sim_ask *ask);
bool sim_room_draw_exchange(struct sim *sim, struct sim_ask *ask);
bool sim_room_draw_control(struct sim *sim, struct sim_ask *ask);
bool sim_room_draw_look(struct sim *sim, struct sim_ask *ask);

#endif /* USH_SIM_OPS_H */
