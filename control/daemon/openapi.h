/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The OpenAPI description, put together by scripts/gen-openapi from control/<module>/api.json.
 *
 * Owns:  nothing.
 * Reads: nothing.
 * Never: changes while we run.
 */
#ifndef USH_DAEMON_OPENAPI_H
#define USH_DAEMON_OPENAPI_H

#include "base/base.h"

extern const unsigned char ush_openapi[];
extern const size_t ush_openapi_bytes;

#endif /* USH_DAEMON_OPENAPI_H */
