/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a checker is: a name and the moments it looks at. A checker calls sim_fail; it changes
 * nothing that the run can see.
 *
 * Owns:  the list of checkers.
 * Reads: the whole simulation.
 * Never: chance.
 */
#ifndef USH_SIM_CHECK_H
#define USH_SIM_CHECK_H

#include "sim.h"

struct check {
	const char *name;
	/* Packets arrived for a turn of `loop`, which begins. */
	void (*arrived)(
		struct sim *sim, uint32_t loop, const struct ush_packet *packets, uint32_t count);
	/* A run of records was appended in a turn of `loop`; its first record. */
	void (*appended)(struct sim *sim, uint32_t loop, const struct ush_record *record);
	/* A turn of `loop` is over. had_room: the log had room all the time. */
	void (*turned)(struct sim *sim, uint32_t loop, bool had_room);
	/* The pace of waiting rooms is about to be kept; it was. */
	void (*pacing)(struct sim *sim);
	void (*paced)(struct sim *sim);
	/* A run of records became durable; the ledger does not have it yet. */
	void (*durable)(struct sim *sim, const struct ush_record *records, uint32_t count);
	/* A reply left the box. */
	void (*replied)(struct sim *sim, const struct sim_ask *ask, const struct ush_reply *reply);
	/* Recovery accepted a block that was confirmed before. */
	void (*recovered)(struct sim *sim, uint64_t block, uint32_t crc);
	/* Recovery is over; nothing has been resumed. */
	void (*restarted)(struct sim *sim);
	/* All that was reserved is durable, and no turn is under way. */
	void (*quiet)(struct sim *sim);
};

extern const struct check check_admission, check_auditor, check_best, check_bookings, check_channel,
	check_conserve, check_durable, check_expiry, check_life, check_limits, check_lost,
	check_pay, check_repeat, check_replay, check_room, check_sale, check_seats, check_time,
	check_waitlist;

/* Ends with NULL. */
extern const struct check *const sim_checks[];

#define SIM_CHECK_ALL(sim, moment, ...) \
	do { \
		for (const struct check *const *each = sim_checks; *each != NULL; each++) { \
			if ((*each)->moment != NULL) \
				(*each)->moment(sim __VA_OPT__(, ) __VA_ARGS__); \
		} \
	} while (0)

#endif /* USH_SIM_CHECK_H */
