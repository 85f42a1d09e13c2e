/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `usher event bookings`: an event's bookings, page by page.
 *
 * Owns:  nothing.
 * Reads: the control port.
 * Never: DPDK.
 */
#ifndef USH_EVENT_BOOKINGS_H
#define USH_EVENT_BOOKINGS_H

#include <stdbool.h>
#include <stdint.h>

struct event_bookings {
	/* usherd's control socket. */
	const char *socket;
	uint32_t event;
	/* Only what is to be refunded when the event is cancelled. */
	bool refund;
	/* One JSON object a booking, one a line. */
	bool json;
};

/* Prints the bookings. ret: enum usher_exit. by: the main thread. */
int event_bookings(const struct event_bookings *what);

#endif /* USH_EVENT_BOOKINGS_H */
