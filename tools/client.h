/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A blocking client of usherd's control port.
 *
 * Owns:  one connected socket.
 * Reads: USHER_SOCKET and XDG_RUNTIME_DIR from the environment.
 * Never: DPDK.
 */
#ifndef USH_CLIENT_H
#define USH_CLIENT_H

#include "base/base.h"
#include "wire/wire.h"

struct ush_client {
	int socket;
};

/*
 * ret: where usherd listens unless it was told otherwise: $USHER_SOCKET; else control.sock in
 * /run/usher (root), $XDG_RUNTIME_DIR/usher, or /tmp/usher-UID, as usherd itself chooses. Valid
 * until the next call. by: the main thread.
 */
const char *ush_client_default_path(void);

/* Connects. in: path: the control socket. ret: 0; err: -USH_ENOENT, -USH_EACCES, -USH_ESYSTEM with
 * a message that says how to mend. */
int ush_client_open(struct ush_client *client, const char *path, struct ush_message *message);

/* Fills in magic, version, size and op; the rest is zero. */
void ush_client_request(struct ush_request *request, enum ush_op op);

/*
 * Sends one request (its size field says how long, extensions follow it in memory), with `fd` as
 * SCM_RIGHTS when not -1, and waits for its reply (matched by cookie, which this call sets).
 * out: reply: at least USH_CONTROL_BYTES_MAX bytes; *reply_bytes.
 * err: -USH_EBUSY on timeout, -USH_ESYSTEM, -USH_EPARSE with a message.
 */
int ush_client_call(struct ush_client *client, struct ush_request *request, int fd,
	uint32_t timeout_ms, void *reply, size_t *reply_bytes, struct ush_message *message);

/* ret: the TEXT extension of a reply, NUL-terminated in place, or NULL. */
const char *ush_client_text(void *reply, size_t reply_bytes);

void ush_client_close(struct ush_client *client);

#endif /* USH_CLIENT_H */
