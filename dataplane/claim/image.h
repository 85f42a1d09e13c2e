/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Venue images: checked from end to end, and what is built of them in the arena.
 *
 * Owns:  nothing.
 * Reads: images.
 * Never: used outside dataplane/claim/.
 */
#ifndef USH_CLAIM_IMAGE_H
#define USH_CLAIM_IMAGE_H

#include "claim/best.h"

/* The parts of an image that was checked. */
struct image {
	struct ush_venue_header header;
	const uint8_t *tiers;
	const uint8_t *sections;
	const uint8_t *rows;
};

/* Believes nothing. ret: 0; err: -USH_ECORRUPT, -USH_EVERSION with a message. */
int image_check(struct image *image, const void *data, size_t size, struct ush_message *message);

/* ret: zeroed memory of the arena, or NULL. */
void *image_arena(struct ush_inventory *inventory, size_t bytes);

uint32_t image_price(const struct image *image, uint32_t tier);

/* ret: house seats of a row. */
uint64_t image_house(const struct image *image, uint32_t row);

/* With so many free seats or fewer, single seats may be left. */
uint32_t image_exempt(const struct ush_venue_header *header);

/* Each in the arena. ret: NULL: no room. */
struct ush_prices *image_prices(struct ush_inventory *inventory, const struct image *image);
struct ush_venue_section *image_sections(
	struct ush_inventory *inventory, const struct image *image);
struct ush_best *image_best(struct ush_inventory *inventory, const struct image *image);

/* The rows from `first` on, as they are when nobody has a seat. ret: false: no room. */
bool image_rows(struct ush_inventory *inventory, const struct image *image, uint32_t first,
	struct ush_rows *part);

#endif /* USH_CLAIM_IMAGE_H */
