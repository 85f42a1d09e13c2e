/* SPDX-License-Identifier: Apache-2.0 */
#include "catalogue/catalogue.h"
#include "orders/internal.h"

int orders_terms_of(struct ush_db_conn *conn, uint32_t event, struct book_terms *terms)
{
	struct ush_catalogue_event entry;
	int found = ush_catalogue_event(conn, event, &entry);

	*terms = (struct book_terms){0};
	if (found != 1)
		return found;
	*terms = (struct book_terms){.fee_fixed = entry.fee_fixed, .fee_ppm = entry.fee_ppm};
	ush_catalogue_event_free(&entry);
	return 1;
}
