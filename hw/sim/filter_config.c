/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A configuration of admission as writes to registers. The checks come last, so that none is made
 * with half a configuration; keys go in while they are not live.
 */
#include <string.h>

#include "admit/contract.h"
#include "hw/sim/filter.h"

static_assert(sizeof(struct ush_admit_policy) == 64, "the registers of a policy");
static_assert(offsetof(struct ush_admit_policy, work_bits) == 56, "as the registers have it");

static void write_words(struct ush_filter *filter, uint32_t at, const void *from, uint32_t bytes)
{
	for (uint32_t i = 0; i < bytes; i += 4) {
		uint32_t word;
		memcpy(&word, (const uint8_t *)from + i, sizeof(word));
		ush_filter_write(filter, at + i, word);
	}
}

static void write_token(struct ush_filter *filter, uint32_t at, const struct ush_admit_key *key)
{
	ush_filter_write(filter, at, 0);
	write_words(filter, at + 16, &key->key, sizeof(key->key));
	/* An id of more than 8 bits is that of no token. */
	if (key->live != 0 && key->id < 256)
		ush_filter_write(filter, at, key->id | 1u << 8);
}

uint32_t ush_filter_configure(struct ush_filter *filter, const struct ush_admit_config *config,
	const struct ush_admit_config *written, uint32_t load_bits)
{
	uint32_t can = ush_filter_read(filter, USH_FILTER_REGISTER_CAPABILITIES) & 0xff;
	uint32_t checks = config->checks & can;

	ush_filter_write(filter, USH_FILTER_REGISTER_CHECKS, 0);
	ush_filter_write(filter, USH_FILTER_REGISTER_UDP_PORT, config->udp_port);
	ush_filter_write(filter, USH_FILTER_REGISTER_LOAD_BITS, load_bits);
	write_words(filter, USH_FILTER_REGISTER_WORK_WINDOW_LOW, &config->work_window_ns, 8);
	write_words(filter, USH_FILTER_REGISTER_TABLE_KEY, &config->table_key, 16);
	write_token(filter, USH_FILTER_REGISTER_TOKEN_0, &config->token[0]);
	write_token(filter, USH_FILTER_REGISTER_TOKEN_1, &config->token[1]);
	for (uint32_t i = 0; i < USH_ADMIT_POLICY_COUNT; i++)
		write_words(filter, USH_FILTER_REGISTER_POLICIES + 64 * i, &config->policy[i], 60);
	for (uint32_t i = 0; i <= USH_EVENT_ID_MAX; i++) {
		if (written == NULL || written->event[i] != config->event[i])
			ush_filter_write(filter, USH_FILTER_EVENTS + 4 * i, config->event[i]);
	}
	ush_filter_write(filter, USH_FILTER_REGISTER_CHECKS, checks);
	return checks;
}
