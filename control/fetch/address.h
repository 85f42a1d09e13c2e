/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which addresses a URL that a customer gave may lead to.
 *
 * Owns:  nothing.
 * Reads: nothing.
 * Never: resolves names.
 */
#ifndef USH_FETCH_ADDRESS_H
#define USH_FETCH_ADDRESS_H

#include <sys/socket.h>

#include "base/base.h"

/* ret: true if the address is of the public internet: not this machine, a private network, a link,
 * a group, or reserved (RFC 6890); an IPv6 address that carries an IPv4 one is judged by that. */
bool ush_fetch_is_public(const struct sockaddr *address);

#endif /* USH_FETCH_ADDRESS_H */
