/* SPDX-License-Identifier: Apache-2.0 */
#include "event_change.h"

void event_change_print(const struct ush_venue *venue, const struct ush_reply *reply)
{
	const struct ush_venue_header *header = ush_venue_get_header(venue);

	printf("event %u: %llu places now, change %u%s\n", reply->event,
		(unsigned long long)reply->amount, reply->hold_version,
		reply->detail != 0 ? ", done before" : "");
	for (uint32_t i = 0; i < header->tier_count; i++) {
		char price[64];

		ush_venue_price_text((const char *)header->currency,
			ush_venue_get_tier(venue, i)->price, price, sizeof(price));
		printf("  %s: %s\n", ush_venue_tier_name(venue, i), price);
	}
}
