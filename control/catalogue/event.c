/* SPDX-License-Identifier: Apache-2.0 */
/* What other modules ask of the catalogue within their own jobs. */
#include <stdlib.h>
#include <string.h>

#include "catalogue/internal.h"

int ush_catalogue_event(struct ush_db_conn *conn, uint32_t event, struct ush_catalogue_event *out)
{
	static const char sql[] =
		"SELECT e.promoter, e.name, v.name, v.city, v.timezone, e.currency, e.starts_us,"
		" e.doors_us, e.fee_fixed, e.fee_ppm, e.status, e.plan FROM catalogue_events e"
		" JOIN catalogue_venues v ON v.venue = e.venue WHERE e.event = ?";
	int64_t promoter = 0, fee_fixed = 0, fee_ppm = 0, status = 0;
	struct ush_catalogue_event found = {.event = event};
	char *currency = NULL;
	int ret = ush_db_get(conn, sql, "i", (int64_t)event,
		"ittttt"
		"iiiiit",
		&promoter, &found.name, &found.venue_name, &found.city, &found.timezone, &currency,
		&found.starts_us, &found.doors_us, &fee_fixed, &fee_ppm, &status, &found.plan);

	if (ret != 1) {
		free(currency);
		ush_catalogue_event_free(&found);
		return ret;
	}
	found.promoter = (uint64_t)promoter;
	found.fee_fixed = (uint32_t)fee_fixed;
	found.fee_ppm = (uint32_t)fee_ppm;
	found.status = (uint32_t)status;
	memcpy(found.currency, currency, strnlen(currency, sizeof(found.currency) - 1));
	free(currency);
	*out = found;
	return 1;
}

void ush_catalogue_event_free(struct ush_catalogue_event *event)
{
	free(event->name);
	free(event->venue_name);
	free(event->city);
	free(event->timezone);
	free(event->plan);
	memset(event, 0, sizeof(*event));
}

int ush_catalogue_plan(struct ush_db_conn *conn, const char *plan, uint8_t **image, size_t *bytes)
{
	void *found = NULL;
	size_t found_bytes = 0;
	int ret = ush_db_get(conn, "SELECT image FROM catalogue_plans WHERE plan = ?", "t", plan,
		"b", &found, &found_bytes);

	if (ret != 1) {
		free(found);
		return ret;
	}
	*image = found;
	*bytes = found_bytes;
	return 1;
}

int ush_catalogue_terms(struct ush_db_conn *conn, uint32_t event, struct ush_catalogue_terms *out)
{
	struct ush_catalogue_terms found = {0};
	int ret = ush_db_get(conn,
		"SELECT starts_us, starts_before_us, refund_until_us FROM catalogue_events"
		" WHERE event = ?",
		"i", (int64_t)event, "iii", &found.starts_us, &found.starts_before_us,
		&found.refund_until_us);

	if (ret == 1)
		*out = found;
	return ret;
}

int ush_catalogue_hint(
	struct ush_db_conn *conn, uint32_t event, uint32_t together, uint32_t free_seats)
{
	/* Rows that say so already are not written again. */
	ush_db_exec(conn,
		"UPDATE catalogue_events SET together = ?, free = ? WHERE event = ? AND"
		" (together <> ? OR free <> ?)",
		"iiiii", (int64_t)together, (int64_t)free_seats, (int64_t)event, (int64_t)together,
		(int64_t)free_seats);
	ush_db_exec(conn,
		"UPDATE catalogue_hits SET together = ? WHERE event = ? AND together <> ?", "iii",
		(int64_t)together, (int64_t)event, (int64_t)together);
	return ush_db_error(conn, NULL);
}
