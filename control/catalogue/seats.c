/* SPDX-License-Identifier: Apache-2.0 */
/* What a plan says of seats side by side before any of them is sold. */
#include "catalogue/internal.h"
#include "catalogue/venue.h"

/* ret: the longest run of ones. */
static int64_t run_of(uint64_t seats)
{
	int64_t run = 0;

	for (; seats != 0; run++)
		seats &= seats << 1;
	return run;
}

int cat_plan_seats(const void *image, size_t bytes, int64_t *together, int64_t *free_seats)
{
	struct ush_message message;
	struct ush_venue *venue;
	int ret = ush_venue_open(image, bytes, &venue, &message);

	if (ret != 0)
		return ret;
	*together = 0;
	*free_seats = 0;
	for (uint32_t i = 0; i < ush_venue_get_header(venue)->row_count; i++) {
		const struct ush_venue_row *row = ush_venue_get_row(venue, i);
		uint64_t open = row->seats & ~row->house;
		int64_t count = ush_popcount64(open);
		/* Places of general admission are all side by side. */
		int64_t run = (row->flags & USH_VENUE_ROW_GENERAL) != 0 ? count : run_of(open);

		*free_seats += count;
		*together = run > *together ? run : *together;
	}
	ush_venue_close(venue);
	return 0;
}
