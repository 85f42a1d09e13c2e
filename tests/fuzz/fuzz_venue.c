/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzer of the venue compiler and of the image reader.
 *
 * The input is a venue file, a plan, or an image. What compiles must open; every seat of what opens
 * must have a name that finds it again; printing must not read past anything. Images get their CRC
 * and sizes made right first, or nothing would come behind those checks.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "catalogue/venue.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void count_warning(void *context, const char *text)
{
	*(size_t *)context += strlen(text);
}

/* A label may stand twice in an image that was not made by the compiler. */
static void read_all(const void *image, size_t bytes, bool compiled)
{
	static FILE *nowhere;
	struct ush_message message;
	struct ush_venue *venue;
	uint32_t row_count;

	if (nowhere == NULL)
		nowhere = fopen("/dev/null", "w");
	if (ush_venue_open(image, bytes, &venue, &message) != 0) {
		USH_ASSERT(!compiled);
		return;
	}
	row_count = ush_venue_get_header(venue)->row_count;
	for (uint32_t row = 0; row < row_count && row < 256; row++) {
		struct ush_venue_place place;
		struct ush_venue_label label;
		uint32_t bit = (row * 7u) % 64u;

		if (ush_venue_label(venue, row, bit, &label) != 0)
			continue;
		if (ush_venue_find(venue, label.section, label.row, label.seat, &place, &message) !=
			0)
			USH_ASSERT(!compiled);
		else
			USH_ASSERT(!compiled || (place.row == row && place.bit == bit));
	}
	if (nowhere != NULL && row_count < 1024) {
		ush_venue_print(venue, true, nowhere);
		ush_venue_print_json(venue, nowhere);
	}
	ush_venue_close(venue);
}

static void repair(uint8_t *image, size_t size)
{
	struct ush_venue_header *header = (struct ush_venue_header *)(void *)image;
	uint64_t parts;

	if (size < sizeof(*header))
		return;
	parts = sizeof(*header) + header->tier_count * sizeof(struct ush_venue_tier) +
		header->section_count * sizeof(struct ush_venue_section) +
		header->row_count * sizeof(struct ush_venue_row);
	header->file_bytes = size;
	header->label_bytes = size - parts;
	header->crc = 0;
	header->crc = ush_crc32c(0, image, size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t warned = 0, image_bytes = 0;
	const struct ush_venue_price price = {"C", 500};
	const struct ush_venue_options options = {.currency = "EUR",
		.prices = &price,
		.price_count = (size_t)(size & 1),
		.price_default_set = true,
		.warn = count_warning,
		.warn_context = &warned};
	struct ush_message message = {""};
	void *image = NULL;

	if (ush_venue_is_image(data, size)) {
		uint8_t *copy = malloc(size);

		if (copy == NULL)
			return 0;
		memcpy(copy, data, size);
		repair(copy, size);
		read_all(copy, size, false);
		free(copy);
		return 0;
	}
	if (ush_venue_compile((const char *)data, size, &options, &image, &image_bytes, &message) ==
		0) {
		read_all(image, image_bytes, true);
		free(image);
	} else {
		/* Every refusal says where. */
		USH_ASSERT(strncmp(message.text, "venue:", 6) == 0);
	}
	return 0;
}
