/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Settings of the log and the clock that daemon/core.h has.
 *
 * Owns:  the least level that is written, the shift of the clock.
 * Reads: the clock.
 * Never: files.
 */
#ifndef USH_DAEMON_LOG_H
#define USH_DAEMON_LOG_H

#include "daemon/core.h"

/* Lines below it are not written. Default: USH_CORE_INFO. */
void ush_core_log_level(enum ush_core_level level);
/* For tests: ush_core_now_us is that much later than the machine's clock. by: before threads begin.
 */
void ush_core_clock_shift(int64_t us);

#endif /* USH_DAEMON_LOG_H */
