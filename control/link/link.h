/* SPDX-License-Identifier: Apache-2.0 */
/*
 * usher-control's link to usherd: the control port's messages, many at once, on the event loop.
 *
 * Owns:  one seqpacket socket and what waits for a reply on it.
 * Reads: nothing.
 * Never: decides about seats; retries by itself what may have been done (the same request id may be
 * sent again by whoever made it: usherd answers the same).
 */
#ifndef USH_LINK_H
#define USH_LINK_H

#include "base/base.h"
#include "wire/wire.h"

struct event_base;
struct ush_link;

/* Called exactly once for each call. reply NULL: there is none, and result says why: -USH_EBUSY (no
 * answer within the time), -USH_ESTOPPED (the link broke; usherd may have done it), -USH_ENOENT
 * (usherd is not there: surely not done). The reply is in memory until the call returns; extensions
 * follow it. */
typedef void ush_link_done(
	void *context, int result, const struct ush_reply *reply, size_t reply_bytes);

/* ret: 0, also when usherd is not there yet: it connects, and reconnects, with back-off. in: path:
 * outlives the link. changed: called when the link came up (true) or broke (false); may be NULL. */
int ush_link_open(struct ush_link **link, const char *path, struct event_base *base,
	void (*changed)(void *context, bool up), void *context, struct ush_message *message);
bool ush_link_is_up(const struct ush_link *link);
/*
 * Sends a request (its size field says how long; extensions follow it in memory; the cookie is set
 * here). fd: passed as SCM_RIGHTS, -1: none; stays the caller's. by: the event loop's thread.
 * `done` is never called from within.
 */
void ush_link_call(struct ush_link *link, const struct ush_request *request, int fd,
	uint32_t timeout_ms, ush_link_done *done, void *context);
/* What waits is answered with -USH_ESTOPPED. */
void ush_link_close(struct ush_link *link);

#endif /* USH_LINK_H */
