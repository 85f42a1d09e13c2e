/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What `usher client` says and reads of waiting rooms: tickets and tokens as digits.
 *
 * Owns:  nothing.
 * Reads: replies.
 * Never: sockets.
 */
#ifndef USH_CLIENT_ROOM_H
#define USH_CLIENT_ROOM_H

#include "base/base.h"
#include "wire/wire.h"

#define CLIENT_TICKET_BYTES 24u

/* A TICKET extension from its digits. ret: false: there are not 48 of them. */
bool client_ticket_read(const char *text, uint8_t ticket[CLIENT_TICKET_BYTES]);

/* Prints the ticket of a JOIN, or the token of an EXCHANGE, that was answered OK, and how long one
 * waits. in: user: who asked. */
void client_room_print(const struct ush_reply *reply, uint64_t user, bool json);

#endif /* USH_CLIENT_ROOM_H */
