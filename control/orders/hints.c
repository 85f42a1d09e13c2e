/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Once a second the events that changed are copied, up to HINTS_MAX, and a job writes what differs.
 * Events take turns by number, so a busy one keeps nobody out.
 *
 * Failure modes: a job that fails is made again with the next turn of its events; an image that
 * cannot be read counts areas as rows, which tells less than there is.
 */
#include "orders/hints.h"

#include <stdlib.h>
#include <string.h>

#include "catalogue/catalogue.h"
#include "catalogue/venue.h"

#define HINTS_MAX 256u

/* Rows whose places have no numbers, a bit each; of one plan. */
struct general {
	uint64_t digest;
	uint32_t row_count;
	uint64_t *rows;
};

struct known {
	uint64_t told; /* the sequence of the newest change that was told; 0: none */
	struct general general;
};

struct hints {
	struct known event[USH_EVENT_ID_MAX + 1];
	uint32_t next;
	bool running;
};

struct one {
	uint32_t id;
	uint64_t newest;
	uint32_t row_count;
	uint64_t *free;
	struct general general; /* rows: NULL: to be read */
};

struct telling {
	struct ush_orders *orders;
	uint32_t count;
	struct one one[HINTS_MAX];
};

struct hints *hints_open(void)
{
	return calloc(1, sizeof(struct hints));
}

void hints_close(struct hints *hints)
{
	for (uint32_t i = 0; hints != NULL && i <= USH_EVENT_ID_MAX; i++)
		free(hints->event[i].general.rows);
	free(hints);
}

uint32_t hints_run(uint64_t free_seats, bool is_general)
{
	uint32_t run = 0;

	if (is_general)
		return ush_popcount64(free_seats);
	for (; free_seats != 0; run++)
		free_seats &= free_seats << 1;
	return run;
}

/* ---- the job ---- */

static void read_general(const struct ush_orders *orders, struct one *one)
{
	struct ush_message message;
	struct ush_venue *venue = NULL;
	void *image = NULL;
	size_t bytes;

	one->general.row_count = one->row_count;
	one->general.rows = calloc(one->row_count / 64 + 1, sizeof(uint64_t));
	USH_ASSERT(one->general.rows != NULL);
	if (follower_image((void *)(uintptr_t)orders->core.journal_dir, one->id,
		    one->general.digest, &image, &bytes, &message) != 0)
		return;
	if (ush_venue_open(image, bytes, &venue, &message) == 0) {
		uint32_t count = ush_venue_get_header(venue)->row_count;

		for (uint32_t i = 0; i < count && i < one->row_count; i++)
			if ((ush_venue_get_row(venue, i)->flags & USH_VENUE_ROW_GENERAL) != 0)
				one->general.rows[i / 64] |= 1ull << i % 64;
		ush_venue_close(venue);
	}
	free(image);
}

static int tell_job(struct ush_db_conn *conn, void *context)
{
	struct telling *telling = context;

	for (uint32_t e = 0; e < telling->count; e++) {
		struct one *one = &telling->one[e];
		uint32_t together = 0, free_seats = 0;
		int ret;

		if (one->general.rows == NULL)
			read_general(telling->orders, one);
		for (uint32_t i = 0; i < one->row_count; i++) {
			bool is_general = (one->general.rows[i / 64] >> i % 64 & 1) != 0;
			uint32_t run = hints_run(one->free[i], is_general);

			together = run > together ? run : together;
			free_seats += ush_popcount64(one->free[i]);
		}
		ret = ush_catalogue_hint(conn, one->id, together, free_seats);
		if (ret != 0)
			return ret;
	}
	return 0;
}

static void tell_done(void *context, int result)
{
	struct telling *telling = context;
	struct hints *hints = telling->orders->hints;

	telling->orders->jobs--;
	hints->running = false;
	for (uint32_t e = 0; e < telling->count; e++) {
		struct one *one = &telling->one[e];
		struct known *known = &hints->event[one->id];

		if (result == 0)
			known->told = one->newest;
		free(known->general.rows);
		known->general = one->general;
		free(one->free);
	}
	free(telling);
}

/* ---- the loop ---- */

static void copy(struct telling *telling, const struct live_event *event, const struct known *known)
{
	struct one *one = &telling->one[telling->count++];
	size_t words = event->row_count / 64 + 1;

	*one = (struct one){.id = event->id,
		.newest = event->newest,
		.row_count = event->row_count,
		.free = malloc(event->row_count * sizeof(uint64_t)),
		.general = {.digest = event->digest, .row_count = event->row_count}};
	USH_ASSERT(one->free != NULL);
	memcpy(one->free, event->free, event->row_count * sizeof(uint64_t));
	if (known->general.rows != NULL && known->general.digest == event->digest &&
		known->general.row_count == event->row_count) {
		one->general.rows = malloc(words * sizeof(uint64_t));
		USH_ASSERT(one->general.rows != NULL);
		memcpy(one->general.rows, known->general.rows, words * sizeof(uint64_t));
	}
}

void hints_tick(struct ush_orders *orders)
{
	struct hints *hints = orders->hints;
	struct telling *telling;

	if (hints->running)
		return;
	telling = calloc(1, sizeof(*telling));
	USH_ASSERT(telling != NULL);
	telling->orders = orders;
	for (uint32_t i = 0; i < USH_EVENT_ID_MAX && telling->count < HINTS_MAX; i++) {
		const struct live_event *event = live_event(orders->live, hints->next);
		const struct known *known = &hints->event[hints->next];

		hints->next = hints->next == USH_EVENT_ID_MAX ? 1 : hints->next + 1;
		if (event != NULL && event->row_count > 0 && event->newest != known->told)
			copy(telling, event, known);
	}
	if (telling->count == 0) {
		free(telling);
		return;
	}
	hints->running = true;
	orders->jobs++;
	ush_db_run(orders->core.db, USH_DB_WRITE, tell_job, tell_done, telling);
}
