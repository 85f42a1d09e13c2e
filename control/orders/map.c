/* SPDX-License-Identifier: Apache-2.0 */
#include "orders/map.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>
#include <openssl/evp.h>

#include "catalogue/venue.h"

/* A string as JSON. */
static void put_text(FILE *to, const char *text)
{
	json_t *value = json_string(text);

	if (value == NULL || json_dumpf(value, to, JSON_ENCODE_ANY) != 0)
		fputs("\"\"", to);
	json_decref(value);
}

static void put_numbered(FILE *to, const char *label, uint32_t number)
{
	char text[24];

	snprintf(text, sizeof(text), "%u", number);
	put_text(to, label != NULL && label[0] != '\0' ? label : text);
}

static void put_tiers(FILE *to, const struct book_image *parts, const struct ush_venue *venue)
{
	fputs("\"tiers\":[", to);
	for (uint32_t i = 0; i < parts->header->tier_count; i++) {
		fprintf(to, "%s{\"name\":", i == 0 ? "" : ",");
		put_numbered(to, venue != NULL ? ush_venue_tier_name(venue, i) : NULL, i + 1);
		fprintf(to, ",\"price\":%u}", parts->tiers[i].price);
	}
	fputs("],", to);
}

static void put_sections(FILE *to, const struct book_image *parts, const struct ush_venue *venue)
{
	fputs("\"sections\":[", to);
	for (uint32_t i = 0; i < parts->header->section_count; i++) {
		const struct ush_venue_section *section = &parts->sections[i];
		bool area = section->row_first < parts->header->row_count &&
			    (parts->rows[section->row_first].flags & USH_VENUE_ROW_GENERAL) != 0;

		fprintf(to, "%s{\"name\":", i == 0 ? "" : ",");
		put_numbered(to, venue != NULL ? ush_venue_section_name(venue, i) : NULL, i + 1);
		fprintf(to, ",\"kind\":\"%s\",\"first_row\":%u,\"row_count\":%u}",
			venue != NULL ? ush_venue_section_kind(venue, i)
				      : (area ? "area" : "seats"),
			section->row_first, section->row_count);
	}
	fputs("],", to);
}

static void put_mask(FILE *to, const char *name, uint64_t mask)
{
	if (mask != 0)
		fprintf(to, ",\"%s\":\"%" PRIx64 "\"", name, mask);
}

static void put_row(
	FILE *to, const struct book_image *parts, const struct ush_venue *venue, uint32_t number)
{
	const struct ush_venue_row *row = &parts->rows[number];
	bool named = false;

	fprintf(to, "%s{\"section\":%u,\"label\":", number == 0 ? "" : ",\n", row->section);
	put_text(to, venue != NULL ? ush_venue_row_label(venue, number) : "");
	fprintf(to, ",\"seats\":\"%" PRIx64 "\"", row->seats);
	put_mask(to, "house", row->house);
	put_mask(to, "accessible", row->accessible);
	put_mask(to, "companion", row->companion);
	if ((row->flags & USH_VENUE_ROW_GENERAL) != 0)
		fputs(",\"general\":true", to);
	if ((row->flags & USH_VENUE_ROW_CONTINUES) != 0)
		fprintf(to, ",\"continues\":\"%s\"",
			(row->flags & USH_VENUE_ROW_GAP) != 0 ? "gap" : "joined");
	fprintf(to, ",\"tier\":%u,\"other_tiers\":[", row->tier[0]);
	for (uint32_t i = 1, put = 0; i < 4; i++) {
		if (row->tier_mask[i - 1] != 0)
			fprintf(to, "%s[%u,\"%" PRIx64 "\"]", put++ == 0 ? "" : ",", row->tier[i],
				row->tier_mask[i - 1]);
	}
	fputs("]", to);
	for (uint32_t bit = 0; venue != NULL && bit < 64; bit++) {
		const char *label = (row->seats >> bit & 1) != 0
					    ? ush_venue_seat_label(venue, number, bit)
					    : NULL;

		if (label == NULL)
			continue;
		fputs(named ? "," : ",\"names\":[", to);
		put_text(to, label);
		named = true;
	}
	fputs(named ? "]}" : "}", to);
}

int map_make(const void *image, size_t image_bytes, char **text, size_t *bytes, char hash[65],
	struct ush_message *message)
{
	struct ush_venue *venue = NULL;
	struct book_image parts;
	struct ush_message why;
	uint8_t digest[32];
	int error = book_image_open(&parts, image, image_bytes, message);
	FILE *to;

	if (error != 0)
		return error;
	/* Labels are for people: without them there are numbers. */
	if (ush_venue_open(image, image_bytes, &venue, &why) != 0)
		venue = NULL;
	to = open_memstream(text, bytes);
	if (to == NULL) {
		if (venue != NULL)
			ush_venue_close(venue);
		return -USH_ENOMEM;
	}
	fputs("{\"format\":\"usher-map-1\",\"venue\":", to);
	put_text(to, (const char *)parts.header->name);
	fprintf(to, ",\"currency\":\"%.3s\",\"seat_count\":%u,\"user_seats_max\":%u,",
		(const char *)parts.header->currency, parts.header->seat_count,
		parts.header->user_seats_max);
	put_tiers(to, &parts, venue);
	put_sections(to, &parts, venue);
	fputs("\"rows\":[", to);
	for (uint32_t i = 0; i < parts.header->row_count; i++)
		put_row(to, &parts, venue, i);
	fputs("]}", to);
	if (venue != NULL)
		ush_venue_close(venue);
	if (fclose(to) != 0)
		return -USH_ENOMEM;
	EVP_Digest(*text, *bytes, digest, NULL, EVP_sha256(), NULL);
	for (uint32_t i = 0; i < 32; i++)
		snprintf(hash + 2 * i, 3, "%02x", digest[i]);
	return 0;
}
