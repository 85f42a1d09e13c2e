/* SPDX-License-Identifier: Apache-2.0 */
/*
 * apply(state, record): what a journal record means. One function for recovery, verification and
 * every reader that follows the journal.
 *
 * Owns:  nothing.
 * Reads: records in journal order.
 * Never: I/O; concurrent use.
 */
#ifndef USH_APPLY_H
#define USH_APPLY_H

#include "admit/device.h"
#include "base/base.h"
#include "claim/claim.h"
#include "hold/hold.h"
#include "room/queue.h"
#include "user/user.h"
#include "wait/wait.h"
#include "wire/wire.h"

/* Finds the venue image an EVENT record names. ret: 0 and *image, or an error with a message. */
typedef int ush_apply_image(void *context, uint32_t event_id, uint64_t digest, const void **image,
	size_t *image_bytes, struct ush_message *message);

struct ush_state {
	struct ush_inventory *inventory;
	struct ush_holds *holds;
	struct ush_users *users;
	struct ush_channels *channels;
	struct ush_waits *waits;
	struct ush_rooms *rooms;
	struct ush_devices *devices;
	ush_apply_image *image_find;
	void *image_context;
	/* KEEP records of the run at hand, and the seats in them that none was given back for yet.
	 */
	const struct ush_record *keep;
	uint32_t keep_count;
	uint32_t keep_seats;
	/* PRICES record of the run at hand, or NULL. */
	const struct ush_record *prices;
	/* Newest time seen, ns. */
	uint64_t time_ns;
	/* Live holds. */
	uint32_t live_holds;
	/* Records applied, by type. */
	uint64_t applied[USH_RECORD_TYPE_COUNT];
};

/*
 * Applies one run. Refuses whatever contradicts the state so far: a seat that is not free, a hold
 * that is not held, a version that skips.
 * in:  records: the whole run, in order. count: 1 to RUN_RECORDS_MAX.
 * err: -USH_ECORRUPT with a message naming the sequence and what is wrong; -USH_EFULL when the
 *      limits are too small for the journal. The state is then of no further use.
 * by:  one thread. cost: O(count); RESUME O(holds).
 */
int ush_apply(struct ush_state *state, const struct ush_record *records, uint32_t count,
	struct ush_message *message);

/* Brings near what applying these records will touch: users' and holds' lines. They need not be
 * whole runs. by: as ush_apply. */
void ush_apply_ahead(
	const struct ush_state *state, const struct ush_record *records, uint32_t count);

/* The same a little later, when those lines are there: what they lead to. by: as ush_apply. */
void ush_apply_near(
	const struct ush_state *state, const struct ush_record *records, uint32_t count);

#endif /* USH_APPLY_H */
