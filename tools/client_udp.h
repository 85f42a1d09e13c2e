/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One request at a time to a public port, over UDP.
 *
 * Owns:  one connected socket.
 * Reads: nothing.
 * Never: DPDK.
 */
#ifndef USH_CLIENT_UDP_H
#define USH_CLIENT_UDP_H

#include "base/base.h"
#include "wire/wire.h"

struct client_udp {
	int socket;
};

/* in: where: "host:port", names are looked up. err: -USH_ENOENT, -USH_EPARSE, -USH_ESYSTEM with a
 * message. */
int client_udp_open(struct client_udp *udp, const char *where, struct ush_message *message);

/*
 * Sends the request (its size field says how long), again each 200 ms, until its reply comes,
 * matched by cookie, which this call sets. Sending again is safe: the request id is the same.
 * out: reply: at least USH_CONTROL_BYTES_MAX bytes; *reply_bytes. err: -USH_EBUSY after timeout_ms.
 */
int client_udp_call(struct client_udp *udp, struct ush_request *request, uint32_t timeout_ms,
	void *reply, size_t *reply_bytes, struct ush_message *message);

void client_udp_close(struct client_udp *udp);

#endif /* USH_CLIENT_UDP_H */
