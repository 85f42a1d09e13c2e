/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The catalogue: venues, performers, categories, events, search.
 *
 * Owns:  their tables and the search index.
 * Reads: JSON and CSV to import; venue files.
 * Never: who has which seat.
 *
 * An event has one number, here and in usherd (uint32_t, not 0).
 */
#ifndef USH_CATALOGUE_H
#define USH_CATALOGUE_H

#include "daemon/core.h"
#include "db/db.h"

struct ush_catalogue;

int ush_catalogue_open(
	struct ush_catalogue **catalogue, const struct ush_core *core, struct ush_message *message);
void ush_catalogue_close(struct ush_catalogue *catalogue);
extern const struct ush_db_step ush_catalogue_schema[];

/* What others need of an event. Texts are malloced. */
struct ush_catalogue_event {
	uint32_t event;
	uint64_t promoter;
	char *name;
	char *venue_name;
	char *city;
	char *timezone; /* IANA */
	char currency[4];
	int64_t starts_us;  /* since 1970 */
	int64_t doors_us;   /* 0: unknown */
	uint32_t fee_fixed; /* minor units for each ticket */
	uint32_t fee_ppm;   /* millionths of its price */
	uint32_t status;    /* as usherd's event status */
	char *plan; /* the venue file it is sold by: SHA-256 in hexadecimal, see ush_catalogue_plan
		     */
};
/* Within a job. ret: 1, 0 (no such event), or negative. */
int ush_catalogue_event(struct ush_db_conn *conn, uint32_t event, struct ush_catalogue_event *out);
void ush_catalogue_event_free(struct ush_catalogue_event *event);
/* Within a job: the compiled venue image of a plan (malloced). ret: 1, 0, negative. */
int ush_catalogue_plan(struct ush_db_conn *conn, const char *plan, uint8_t **image, size_t *bytes);

/* When it takes place, and the window of those who want their money back after it was postponed. */
struct ush_catalogue_terms {
	int64_t starts_us;
	int64_t starts_before_us; /* before it was postponed; 0: it was not */
	int64_t refund_until_us;  /* until then a ticket bought before may be refunded; 0: no window
				   */
};
/* Within a job. ret: 1, 0 (no such event), negative. */
int ush_catalogue_terms(struct ush_db_conn *conn, uint32_t event, struct ush_catalogue_terms *out);

/*
 * Within a write job: what is known of an event's free seats, for search ("has at least k
 * together") and for those who look at it: a hint, at most as old as the last call. together: the
 * longest run of free seats side by side; free_seats: all of them. ret: 0, negative.
 */
int ush_catalogue_hint(
	struct ush_db_conn *conn, uint32_t event, uint32_t together, uint32_t free_seats);

#endif /* USH_CATALOGUE_H */
