/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "entry/work.h"

#define HOUR_US (3600 * UINT64_C(1000000))

static uint64_t salt_of(const struct ush_key *key, uint64_t hour)
{
	return ush_siphash_2(key, hour, 0x776f726bu) >> 11;
}

uint64_t ush_work_salt(const struct ush_key *key, uint64_t now_us)
{
	return salt_of(key, now_us / HOUR_US);
}

static bool solves(const struct ush_work *work, uint32_t bits, uint64_t salt)
{
	const struct ush_key key = {.k0 = work->user, .k1 = salt};
	uint8_t text[24];

	memcpy(text, &work->event, 4);
	memcpy(text + 4, &work->request_id, 4);
	memcpy(text + 8, &work->time_ns, 8);
	memcpy(text + 16, &work->nonce, 8);
	return ush_siphash(&key, text, sizeof(text)) >> (64 - bits) == 0;
}

bool ush_work_check(
	const struct ush_work *work, uint32_t bits, const struct ush_key *key, uint64_t now_us)
{
	uint64_t time_us = work->time_ns / 1000;
	uint64_t away_us = time_us > now_us ? time_us - now_us : now_us - time_us;
	uint64_t hour = now_us / HOUR_US;

	USH_ASSERT(bits <= USH_WORK_BITS_MAX);
	if (bits == 0)
		return true;
	return away_us <= USH_WORK_WINDOW_US && (solves(work, bits, salt_of(key, hour)) ||
							solves(work, bits, salt_of(key, hour - 1)));
}
