/* SPDX-License-Identifier: Apache-2.0 */
#include "entry/steady.h"

bool ush_steady_look(
	struct ush_steady *steady, int64_t wall_us, int64_t monotonic_us, int64_t *step_us)
{
	int64_t offset_us = wall_us - monotonic_us;
	int64_t moved_us = steady->known ? offset_us - steady->offset_us : 0;

	*step_us = 0;
	if (moved_us > USH_STEADY_STEP_US || moved_us < -USH_STEADY_STEP_US) {
		*step_us = moved_us;
		steady->believe_us = monotonic_us + USH_STEADY_WAIT_US;
	}
	if (!steady->known)
		steady->believe_us = monotonic_us;
	steady->known = true;
	steady->offset_us = offset_us;
	return monotonic_us >= steady->believe_us;
}
