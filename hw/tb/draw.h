/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames and configurations drawn from a seed: good in most ways, at boundaries, or broken.
 *
 * Owns:  the stream of chance.
 * Reads: a configuration.
 * Never: the filter, the golden function.
 */
#ifndef USH_TB_DRAW_H
#define USH_TB_DRAW_H

#include "admit/contract.h"

/* Longest frame that is drawn, and room for it. */
#define DRAW_BYTES_MAX 1920u

struct draw {
	struct ush_random chance;
	uint64_t now_ns;
	/* Addresses and users that are drawn. */
	uint32_t sources;
	uint32_t users;
};

uint64_t draw_below(struct draw *draw, uint64_t bound);
bool draw_one_in(struct draw *draw, uint64_t n);

/* Little-endian. */
void draw_put(uint8_t *at, uint64_t value, uint32_t bytes);

/* A configuration without MACs. in: config: what was before; its events stay but for ten. */
void draw_config(struct draw *draw, struct ush_admit_config *config);

/* ret: length of the frame. in: frame: room for DRAW_BYTES_MAX. */
uint32_t draw_frame(struct draw *draw, const struct ush_admit_config *config, uint8_t *frame);

#endif /* USH_TB_DRAW_H */
