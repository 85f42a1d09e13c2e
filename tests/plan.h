/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A venue with labels like the venue compiler's, in variants: what an event can be changed to, and
 * what not.
 *
 * Owns:  nothing.
 * Reads: nothing.
 * Never: DPDK, files.
 */
#ifndef USH_TEST_PLAN_H
#define USH_TEST_PLAN_H

#include <stdio.h>

#include "harness.h"

#define PLAN_ROWS_MAX 200u
#define PLAN_FIRST_ROWS 4u

/* A venue: rows of ten seats, the upper three of tier 1; the first section has `first` rows, the
 * others two each. */
struct plan {
	uint32_t rows;
	uint32_t first;
	uint32_t price[2];
	/* Of the rows behind PLAN_FIRST_ROWS: house seats. */
	uint64_t house;
	const char *name;
	/* This row's seats have other labels. */
	uint32_t renamed;
	uint16_t user_seats_max;
	struct ush_venue_row row[PLAN_ROWS_MAX];
};

static inline struct plan plan_make(uint32_t rows, uint32_t cheap, uint32_t dear)
{
	struct plan plan = {.rows = rows,
		.first = 2,
		.price = {cheap, dear},
		.name = "hall",
		.renamed = UINT32_MAX,
		.user_seats_max = 20};

	for (uint32_t i = 0; i < rows; i++)
		plan.row[i] = (struct ush_venue_row){
			.seats = 0x3ff, .tier_mask = {0x380, 0, 0}, .tier = {0, 1, 0, 0}};
	return plan;
}

static inline uint32_t plan_section(const struct plan *plan, uint32_t row)
{
	return row < plan->first ? 0 : 1 + (row - plan->first) / 2;
}

/* As the venue compiler writes them. */
static inline size_t plan_labels(const struct plan *plan, char *text, size_t size)
{
	size_t at = (size_t)snprintf(text, size, "{\"tiers\":[\"low\",\"h\\\"i\"],\"sections\":[");
	uint32_t section = UINT32_MAX;

	for (uint32_t i = 0; i < plan->rows; i++) {
		if (plan_section(plan, i) != section) {
			at += (size_t)snprintf(text + at, size - at,
				"%s{\"name\":\"S%u\",\"kind\":\"seats\",\"rows\":[",
				i == 0 ? "" : "]},", plan_section(plan, i));
			section = plan_section(plan, i);
		} else {
			at += (size_t)snprintf(text + at, size - at, ",");
		}
		at += (size_t)snprintf(text + at, size - at,
			"{\"label\":\"%u\",\"seats\":[\"%s{[\\\\\",\"2\"]}", i,
			i == plan->renamed ? "x" : "y");
	}
	return at + (size_t)snprintf(text + at, size - at, "]}]}");
}

static inline void *plan_image(struct plan *plan, size_t *bytes)
{
	static char labels[PLAN_ROWS_MAX * 100];
	struct ush_venue_tier tiers[2] = {{.price = plan->price[0]}, {.price = plan->price[1]}};
	struct ush_venue_section sections[PLAN_ROWS_MAX] = {{0}};
	struct ush_venue_header header = {.magic = USH_VENUE_MAGIC,
		.version = USH_VENUE_VERSION,
		.tier_count = 2,
		.row_count = plan->rows,
		.hold_ms = 60000,
		.hold_ms_max = 600000,
		.user_seats_max = plan->user_seats_max,
		.currency = "EUR"};
	struct harness_venue venue = {.tiers = tiers, .sections = sections, .rows = plan->row};
	uint8_t *image, *longer;

	snprintf((char *)header.name, sizeof(header.name), "%s", plan->name);
	for (uint32_t i = 0; i < plan->rows; i++) {
		uint32_t section = plan_section(plan, i);

		plan->row[i].section = (uint16_t)section;
		if (i >= PLAN_FIRST_ROWS)
			plan->row[i].house = plan->house;
		if (sections[section].row_count++ == 0)
			sections[section].row_first = i;
		header.section_count = section + 1;
	}
	venue.header = header;
	image = harness_image_of(&venue, bytes);
	*bytes -= 2;
	header.label_bytes = plan_labels(plan, labels, sizeof(labels));
	longer = realloc(image, *bytes + header.label_bytes);
	USH_ASSERT(longer != NULL);
	memcpy(longer + *bytes, labels, header.label_bytes);
	*bytes += header.label_bytes;
	memcpy(longer + offsetof(struct ush_venue_header, file_bytes), bytes, 8);
	memcpy(longer + offsetof(struct ush_venue_header, label_bytes), &header.label_bytes, 8);
	harness_image_seal(longer, *bytes);
	return longer;
}

#endif /* USH_TEST_PLAN_H */
