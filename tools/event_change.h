/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `usher event change`: what it says.
 *
 * Owns:  nothing.
 * Reads: the venue, the answer.
 * Never: sockets.
 */
#ifndef USH_EVENT_CHANGE_H
#define USH_EVENT_CHANGE_H

#include "catalogue/venue.h"

/* Prints what the event has and costs from here. in: reply: OK to an EVENT_CHANGE by the venue. */
void event_change_print(const struct ush_venue *venue, const struct ush_reply *reply);

#endif /* USH_EVENT_CHANGE_H */
