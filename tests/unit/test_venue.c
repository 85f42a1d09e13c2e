/* SPDX-License-Identifier: Apache-2.0 */
/* Venue files and pretix plans to images, and images back to labels. Reads venues/ below USH_ROOT
 * (default: the working directory). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "catalogue/venue.h"
#include "tests/tap.h"

/* An image and what is read from it. */
struct compiled {
	void *image;
	size_t bytes;
	struct ush_venue *venue;
	const struct ush_venue_header *header;
	struct ush_message message;
	char warnings[8192];
};

static void keep_warning(void *context, const char *text)
{
	char *warnings = context;
	size_t used = strlen(warnings);

	snprintf(warnings + used, 8192 - used, "%s\n", text);
}

/* Compiles and opens. ret: whether both worked. */
static bool compile(struct compiled *out, const char *text, struct ush_venue_options options)
{
	memset(out, 0, sizeof(*out));
	options.warn = keep_warning;
	options.warn_context = out->warnings;
	if (ush_venue_compile(
		    text, strlen(text), &options, &out->image, &out->bytes, &out->message) == 0 &&
		ush_venue_open(out->image, out->bytes, &out->venue, &out->message) == 0) {
		out->header = ush_venue_get_header(out->venue);
		return true;
	}
	printf("# %s\n", out->message.text);
	return false;
}

static void release(struct compiled *compiled)
{
	ush_venue_close(compiled->venue);
	free(compiled->image);
}

static bool compile_shipped(struct compiled *out, const char *name)
{
	const char *root = getenv("USH_ROOT");
	char path[512];

	memset(out, 0, sizeof(*out));
	snprintf(path, sizeof(path), "%s/venues/%s", root != NULL ? root : ".", name);
	if (ush_venue_compile_file(path, NULL, &out->image, &out->bytes, &out->message) == 0 &&
		ush_venue_open(out->image, out->bytes, &out->venue, &out->message) == 0) {
		out->header = ush_venue_get_header(out->venue);
		return true;
	}
	printf("# %s\n", out->message.text);
	return false;
}

static const char small_venue[] =
	"{\"version\": 1, \"name\": \"Caf\\u00e9\", \"currency\": \"JPY\",\n"
	"\"limits\": {\"hold_s\": 60, \"hold_max_s\": 90, \"seats_per_user\": 3, \"hold_budget_s\": 600, \"cool_down_s\": 30},\n"
	"\"best\": {\"objective\": \"back\", \"split\": \"same_section\", \"orphans\": \"refuse\", "
	"\"exempt_percent\": 0},\n"
	"\"tiers\": [{\"name\": \"A\", \"price_minor\": 900}, {\"name\": \"B\", \"price_minor\": 0}],\n"
	"\"sections\": [\n"
	" {\"name\": \"Floor\", \"kind\": \"area\", \"tier\": \"B\", \"capacity\": 70,\n"
	"  \"accessible\": 2, \"blocked\": 7},\n"
	" {\"name\": \"Room\", \"tier\": \"A\", \"rows\": [\n"
	"  {\"label\": \"1\", \"seats\": [\"101\", {\"from\": 5, \"to\": 1, \"step\": 2,\n"
	"    \"prefix\": \"A\", \"suffix\": \"b\", \"digits\": 2}, {\"gap\": 2}, \"X/\\\"y\\\"\"],\n"
	"   \"tiers\": [{\"tier\": \"B\", \"seats\": [\"101\", \"A03b\"]}],\n"
	"   \"accessible\": [\"101\"], \"companion\": [\"A05b\"],\n"
	"   \"blocked\": [{\"from\": \"A01b\", \"to\": \"X/\\\"y\\\"\"}]},\n"
	"  {\"label\": \"2\", \"tier\": \"B\", \"seats\": {\"from\": 1, \"to\": 4, \"skip\": [2]}}]}]}";

/* Goal: an image has exactly the fields that the file says. Method: a file with one of each. */
static void test_venue_small_file_exact_image(void)
{
	struct compiled c;
	const struct ush_venue_row *row;
	static const char labels[] =
		"{\"tiers\":[\"A\",\"B\"],\"sections\":[{\"name\":\"Floor\",\"kind\":\"area\"},"
		"{\"name\":\"Room\",\"kind\":\"seats\",\"rows\":["
		"{\"label\":\"1\",\"seats\":[\"101\",\"A05b\",\"A03b\",\"A01b\",null,null,"
		"\"X/\\\"y\\\"\"]},{\"label\":\"2\",\"seats\":[\"1\",\"3\",\"4\"]}]}]}";

	CHECK(compile(&c, small_venue, (struct ush_venue_options){0}));
	if (c.venue == NULL)
		return;
	CHECK_EQ(c.header->file_bytes, c.bytes);
	CHECK_EQ(c.header->tier_count, 2);
	CHECK_EQ(c.header->section_count, 2);
	CHECK_EQ(c.header->row_count, 4);
	CHECK_EQ(c.header->seat_count, 70 + 5 + 3);
	CHECK_EQ(c.header->hold_ms, 60000);
	CHECK_EQ(c.header->hold_ms_max, 90000);
	CHECK_EQ(c.header->user_seats_max, 3);
	CHECK_EQ(c.header->hold_budget_s, 600);
	CHECK_EQ(c.header->cool_down_ms, 30000);
	CHECK_EQ(c.header->best, USH_BEST_OBJECTIVE_BACK | USH_BEST_SPLIT_SAME_SECTION << 3 |
					 USH_BEST_ORPHANS_REFUSE << 5 | 1 << 8);
	CHECK(memcmp(c.header->currency, "JPY", 4) == 0);
	CHECK(strcmp((const char *)c.header->name, "Caf\xc3\xa9") == 0);
	CHECK_EQ(c.bytes, 136 + 2 * 8 + 2 * 8 + 4 * 64 + strlen(labels));
	CHECK(memcmp((const char *)c.image + c.bytes - strlen(labels), labels, strlen(labels)) ==
		0);
	CHECK_EQ(ush_venue_get_tier(c.venue, 0)->price, 900);
	CHECK_EQ(ush_venue_get_section(c.venue, 1)->row_first, 2);
	CHECK_EQ(ush_venue_get_section(c.venue, 1)->row_count, 2);
	row = ush_venue_get_row(c.venue, 0);
	CHECK_EQ(row->seats, UINT64_MAX);
	CHECK_EQ(row->accessible, 3);
	/* Places 64 to 70 are the last seven: bit 63 of the first row and all of the second. */
	CHECK_EQ(row->house, 1ull << 63);
	CHECK_EQ(row->flags, USH_VENUE_ROW_GENERAL);
	CHECK_EQ(row->tier[0], 1);
	CHECK_EQ(ush_venue_get_row(c.venue, 1)->seats, 0x3f);
	CHECK_EQ(ush_venue_get_row(c.venue, 1)->house, 0x3f);
	row = ush_venue_get_row(c.venue, 2);
	CHECK_EQ(row->seats, 0x4f);
	CHECK_EQ(row->accessible, 1);
	CHECK_EQ(row->companion, 2);
	CHECK_EQ(row->house, 0x48);
	CHECK_EQ(row->tier[0], 1);
	CHECK_EQ(row->tier[1], 0);
	CHECK_EQ(row->tier_mask[0], 0x4a);
	CHECK_EQ(row->section, 1);
	CHECK_EQ(row->flags, 0);
	CHECK_EQ(ush_venue_tier_seats(row, 1), 0x05);
	release(&c);
}

/* Goal: long rows are cut near-evenly, and before a fifth tier. */
static void test_venue_long_rows_are_cut(void)
{
	struct compiled c;
	char text[4096];

	snprintf(text, sizeof(text),
		"{\"name\": \"V\", \"currency\": \"EUR\", \"tiers\": ["
		"{\"name\": \"0\", \"price_minor\": 1}, {\"name\": \"1\", \"price_minor\": 1},"
		"{\"name\": \"2\", \"price_minor\": 1}, {\"name\": \"3\", \"price_minor\": 1},"
		"{\"name\": \"4\", \"price_minor\": 1}], \"sections\": [{\"name\": \"S\", \"tier\": "
		"\"0\", \"rows\": ["
		"{\"label\": \"A\", \"seats\": [{\"from\": 1, \"to\": 64}]},"
		"{\"label\": \"B\", \"seats\": [{\"from\": 1, \"to\": 65}]},"
		"{\"label\": \"C\", \"seats\": [{\"from\": 1, \"to\": 200}]},"
		"{\"label\": \"D\", \"seats\": [{\"from\": 1, \"to\": 10}], \"tiers\": ["
		"{\"tier\": \"1\", \"seats\": [\"2\"]}, {\"tier\": \"2\", \"seats\": [\"3\"]},"
		"{\"tier\": \"3\", \"seats\": [\"4\"]}, {\"tier\": \"4\", \"seats\": [\"7\"]}]}]}]}");
	CHECK(compile(&c, text, (struct ush_venue_options){0}));
	if (c.venue == NULL)
		return;
	static const struct {
		const char *label;
		uint32_t seats;
		uint32_t flags;
	} blocks[] = {{"A", 64, 0}, {"B", 32, 0}, {"B", 33, 2}, {"C", 50, 0}, {"C", 50, 2},
		{"C", 50, 2}, {"C", 50, 2}, {"D", 6, 0}, {"D", 4, 2}};
	CHECK_EQ(c.header->row_count, sizeof(blocks) / sizeof(blocks[0]));
	for (uint32_t i = 0; i < c.header->row_count; i++) {
		CHECK(strcmp(ush_venue_row_label(c.venue, i), blocks[i].label) == 0);
		CHECK_EQ(ush_popcount64(ush_venue_get_row(c.venue, i)->seats), blocks[i].seats);
		CHECK_EQ(ush_venue_get_row(c.venue, i)->flags, blocks[i].flags);
	}
	CHECK(strcmp(ush_venue_seat_label(c.venue, 8, 0), "7") == 0);
	CHECK_EQ(ush_venue_tier_seats(ush_venue_get_row(c.venue, 8), 4), 1);
	CHECK_EQ(ush_venue_tier_seats(ush_venue_get_row(c.venue, 8), 0), 0xe);
	release(&c);
}

struct shipped {
	const char *name;
	uint32_t seats, sections, tiers, accessible, companion, blocked;
};

/* Goal: the shipped venues have the places that they promise. */
static void test_venue_shipped_counts(void)
{
	static const struct shipped venues[] = {
		{"club.json", 672, 4, 4, 7, 1, 14},
		{"theatre.json", 2000, 6, 6, 8, 8, 10},
		{"arena.json", 100000, 130, 8, 0, 0, 0},
	};

	for (size_t i = 0; i < sizeof(venues) / sizeof(venues[0]); i++) {
		uint32_t accessible = 0, companion = 0, blocked = 0, continued = 0;
		struct compiled c;

		CHECK(compile_shipped(&c, venues[i].name));
		if (c.venue == NULL)
			continue;
		CHECK_EQ(c.header->seat_count, venues[i].seats);
		CHECK_EQ(c.header->section_count, venues[i].sections);
		CHECK_EQ(c.header->tier_count, venues[i].tiers);
		for (uint32_t r = 0; r < c.header->row_count; r++) {
			const struct ush_venue_row *row = ush_venue_get_row(c.venue, r);

			accessible += ush_popcount64(row->accessible);
			companion += ush_popcount64(row->companion);
			blocked += ush_popcount64(row->house);
			continued += (row->flags & USH_VENUE_ROW_CONTINUES) != 0;
		}
		if (venues[i].seats < 100000) {
			CHECK_EQ(accessible, venues[i].accessible);
			CHECK_EQ(companion, venues[i].companion);
			CHECK_EQ(blocked, venues[i].blocked);
		} else {
			CHECK(continued >= 40);
			CHECK(accessible >= 100 && blocked >= 60);
		}
		release(&c);
	}
}

/* Goal: every seat has a name, and the name finds it again, by parts and by path. Method: all seats
 * of the theatre and of the club (areas). */
static void test_venue_labels_round_trip(void)
{
	static const char *const names[] = {"theatre.json", "club.json"};

	for (size_t i = 0; i < 2; i++) {
		struct compiled c;
		uint32_t named = 0;

		CHECK(compile_shipped(&c, names[i]));
		for (uint32_t n = 0; c.venue != NULL && n < c.header->row_count * 64; n++) {
			struct ush_venue_place place = {n / 64, n % 64}, found = {0, 0},
					       again = {0, 0};
			struct ush_venue_label label;
			char path[256];

			if (ush_venue_label(c.venue, place.row, place.bit, &label) != 0)
				continue;
			named++;
			CHECK_EQ(ush_venue_find(c.venue, label.section, label.row, label.seat,
					 &found, &c.message),
				0);
			CHECK(found.row == place.row && found.bit == place.bit);
			snprintf(path, sizeof(path), "%s/%s%s%s", label.section, label.row,
				label.row[0] != '\0' ? "/" : "", label.seat);
			CHECK_EQ(ush_venue_find_path(c.venue, path, &again, &c.message), 0);
			CHECK(again.row == place.row && again.bit == place.bit);
		}
		CHECK(c.venue != NULL && named == c.header->seat_count);
		release(&c);
	}
}

/* Goal: a name that does not exist is refused with the part that is wrong. */
static void test_venue_unknown_labels_refused(void)
{
	static const struct {
		const char *path;
		const char *words;
	} cases[] = {
		{"Nowhere/1/1", "no section 'Nowhere'"},
		{"Stalls/QQ/1", "no row 'QQ' in section 'Stalls'"},
		{"Stalls/A/99", "no seat '99' in section 'Stalls', row 'A'"},
		{"Stalls/1", "has rows: name a seat as 'Stalls/ROW/SEAT'"},
		{"Stalls", "is not SECTION/ROW/SEAT"},
		{"Stalls/A/1/2", "is not SECTION/ROW/SEAT"},
		{"", "is not SECTION/ROW/SEAT"},
	};
	static const char *const bad_places[] = {
		"Floor/0", "Floor/501", "Floor/01", "Floor/x", "Floor/4294967297", "Floor//1"};
	struct ush_venue_place place = {9, 9};
	struct ush_venue_label label;
	struct compiled c;

	CHECK(compile_shipped(&c, "theatre.json"));
	for (size_t i = 0; c.venue != NULL && i < sizeof(cases) / sizeof(cases[0]); i++) {
		CHECK_EQ(ush_venue_find_path(c.venue, cases[i].path, &place, &c.message),
			-USH_ENOENT);
		CHECK(strstr(c.message.text, cases[i].words) != NULL);
	}
	CHECK(place.row == 9 && place.bit == 9);
	CHECK_EQ(ush_venue_label(c.venue, c.header->row_count, 0, &label), -USH_ENOENT);
	CHECK_EQ(ush_venue_label(c.venue, 0, 64, &label), -USH_ENOENT);
	release(&c);
	CHECK(compile_shipped(&c, "club.json"));
	for (size_t i = 0; c.venue != NULL && i < sizeof(bad_places) / sizeof(bad_places[0]); i++) {
		CHECK_EQ(ush_venue_find_path(c.venue, bad_places[i], &place, &c.message),
			-USH_ENOENT);
		CHECK(strstr(c.message.text, "general admission") != NULL);
	}
	release(&c);
}

/* Goal: labels with slashes work as long as one reading exists. */
static void test_venue_slashes_in_labels(void)
{
	static const char text[] =
		"{\"name\": \"V\", \"currency\": \"EUR\", \"tiers\": [{\"name\": \"A\", "
		"\"price_minor\": 1}], \"sections\": [{\"name\": \"Box 1/2\", \"tier\": \"A\", "
		"\"rows\": [{\"label\": \"a/b\", \"seats\": [\"1\", \"b/1\"]},"
		"{\"label\": \"a\", \"seats\": [\"b/1\", \"2\"]}]}]}";
	struct ush_venue_place place;
	struct compiled c;

	CHECK(compile(&c, text, (struct ush_venue_options){0}));
	if (c.venue == NULL)
		return;
	CHECK_EQ(ush_venue_find_path(c.venue, "Box 1/2/a/2", &place, &c.message), 0);
	CHECK(place.row == 1 && place.bit == 1);
	CHECK_EQ(ush_venue_find_path(c.venue, "Box 1/2/a/b/b/1", &place, &c.message), 0);
	CHECK(place.row == 0 && place.bit == 1);
	CHECK_EQ(ush_venue_find_path(c.venue, "Box 1/2/a/b/1", &place, &c.message), -USH_EINVAL);
	CHECK(strstr(c.message.text, "2 different seats") != NULL);
	release(&c);
}

/* Recomputes the CRC, so that a damaged field is met and not the CRC. */
static void repair_crc(void *image, size_t bytes)
{
	struct ush_venue_header *header = image;

	header->crc = 0;
	header->crc = ush_crc32c(0, image, bytes);
}

/* Goal: no changed image opens, unless the change is harmless by its field's meaning. Method: flip
 * each byte of the small image; once as it is (CRC), once with the CRC made right. */
static void test_venue_damaged_image_refused(void)
{
	FILE *nowhere = fopen("/dev/null", "w");
	struct compiled c;
	uint32_t opened = 0;

	CHECK(nowhere != NULL);
	CHECK(compile(&c, small_venue, (struct ush_venue_options){0}));
	if (c.venue == NULL)
		return;
	ush_venue_close(c.venue);
	c.venue = NULL;
	for (size_t i = 0; i < c.bytes; i++) {
		uint8_t *byte = (uint8_t *)c.image + i;
		struct ush_venue *venue = NULL;

		*byte ^= 0x55;
		CHECK(ush_venue_open(c.image, c.bytes, &venue, &c.message) != 0);
		CHECK(venue == NULL);
		repair_crc(c.image, c.bytes);
		if (ush_venue_open(c.image, c.bytes, &venue, &c.message) == 0) {
			/* A price, a letter of a name, a mark within the seats. */
			opened++;
			ush_venue_print(venue, true, nowhere);
			ush_venue_close(venue);
		}
		*byte ^= 0x55;
		repair_crc(c.image, c.bytes);
	}
	CHECK(opened < c.bytes / 2);
	for (size_t cut = 0; cut < c.bytes; cut++) {
		struct ush_venue *venue = NULL;
		void *copy = malloc(cut + 1);

		/* A copy, so that the sanitizer sees a read past the end. */
		memcpy(copy, c.image, cut);
		CHECK(ush_venue_open(copy, cut, &venue, &c.message) != 0);
		free(copy);
	}
	fclose(nowhere);
	release(&c);
}

/* Goal: the shipped plan becomes what it draws; everything lost is named. */
static void test_venue_pretix_sample_imported(void)
{
	const char *root = getenv("USH_ROOT");
	const struct ush_venue_price prices[] = {{"Front", 4500}, {"Rear", 2500}};
	struct compiled c = {0};
	struct ush_venue_options options = {.currency = "EUR",
		.prices = prices,
		.price_count = 2,
		.warn = keep_warning,
		.warn_context = c.warnings};
	static const char *const warned[] = {
		"zone 'Hall': row_number '1' appears again; the rows are joined",
		"'areas' is not carried (1 time", "'position' is not carried (11 times",
		"'radius' is not carried", "'color'", "'zone_id'", "'row_label'",
		"'row_number_position'", "'size'", "'seat_guid' is not carried (11 times"};
	char path[512];

	snprintf(path, sizeof(path), "%s/venues/pretix-sample.json", root != NULL ? root : ".");
	CHECK_EQ(ush_venue_compile_file(path, &options, &c.image, &c.bytes, &c.message), 0);
	CHECK(c.image != NULL && ush_venue_open(c.image, c.bytes, &c.venue, &c.message) == 0);
	if (c.venue == NULL)
		return;
	CHECK_EQ(ush_venue_get_header(c.venue)->seat_count, 11);
	CHECK_EQ(ush_venue_get_header(c.venue)->row_count, 3);
	/* 1 3 5 - 2 4 6: two parts of one row with a gap. */
	CHECK_EQ(ush_venue_get_row(c.venue, 0)->seats, 0x77);
	CHECK(strcmp(ush_venue_seat_label(c.venue, 0, 4), "2") == 0);
	CHECK_EQ(ush_venue_tier_seats(ush_venue_get_row(c.venue, 0), 1), 0x40);
	CHECK(strcmp(ush_venue_section_name(c.venue, 1), "Balcony") == 0);
	CHECK_EQ(ush_venue_get_tier(c.venue, 1)->price, 2500);
	for (size_t i = 0; i < sizeof(warned) / sizeof(warned[0]); i++)
		CHECK(strstr(c.warnings, warned[i]) != NULL);
	release(&c);
}

#define PLAN_SEAT(guid, number) \
	"{\"seat_guid\": \"" guid "\", \"seat_number\": \"" number "\", \"category\": \"C\", " \
	"\"uuid\": \"u-" guid "\"}"

/* Goal: plans with odd rows are imported with unique labels. Method: rows of the same number with
 * the same seats, a seat twice in a row, empty numbers, empty rows and zones, zones of one name. */
static void test_venue_pretix_odd_plans(void)
{
	/* clang-format off */
	static const char plan[] =
		"{\"name\": \"P\", \"categories\": [{\"name\": \"C\"}, {\"name\": \"C\"}], \"zones\": [\n"
		"{\"name\": \"Z\", \"rows\": [\n"
		" {\"row_number\": \"1\", \"seats\": ["
			PLAN_SEAT("a", "1") "," PLAN_SEAT("b", "2") "]},\n"
		" {\"row_number\": \"1\", \"seats\": ["
			PLAN_SEAT("c", "2") "," PLAN_SEAT("d", "3") "]},\n"
		" {\"row_number\": \"\", \"seats\": ["
			PLAN_SEAT("e", "7") "," PLAN_SEAT("f", "7") "]},\n"
		" {\"row_number\": \"9\", \"seats\": []},\n"
		" {\"row_number\": \"8\", \"seats\": [" PLAN_SEAT("g", "") "]}]},\n"
		"{\"name\": \"Z\", \"rows\": ["
			"{\"row_number\": \"1\", \"seats\": [" PLAN_SEAT("h", "1") "]}]},\n"
		"{\"name\": \"Empty\", \"rows\": []},\n"
		"{\"rows\": [{\"row_number\": \"1\", \"seats\": [" PLAN_SEAT("i", "1") "]}]}]}";
	/* clang-format on */
	static const char *const seats[] = {"Z/1/1", "Z/1/2", "Z/1 (2)/2", "Z/1 (2)/3", "Z/row 3/7",
		"Z/row 3/7 (2)", "Z/8/g", "Z (2)/1/1", "Zone 4/1/1"};
	static const char *const warned[] = {"bad:1:45: category 'C' is listed twice",
		"row_number '1' appears again with the same seat numbers", "seat '7' appears twice",
		"row_number is empty", "bad:6:2: zone 'Z': row '9' has no seats",
		"seat_number is empty", "zone 'Z' appears twice; this one becomes 'Z (2)'",
		"zone 'Empty': the zone has no seats", "the zone has no name",
		"'uuid' is not carried (9 times"};
	struct ush_venue_place place;
	struct compiled c;

	CHECK(compile(&c, plan,
		(struct ush_venue_options){
			.file = "bad", .currency = "EUR", .price_default_set = true}));
	if (c.venue == NULL)
		return;
	CHECK_EQ(c.header->seat_count, 9);
	CHECK_EQ(c.header->section_count, 3);
	for (size_t i = 0; i < sizeof(seats) / sizeof(seats[0]); i++)
		CHECK_EQ(ush_venue_find_path(c.venue, seats[i], &place, &c.message), 0);
	for (size_t i = 0; i < sizeof(warned) / sizeof(warned[0]); i++) {
		CHECK(strstr(c.warnings, warned[i]) != NULL);
		if (strstr(c.warnings, warned[i]) == NULL)
			printf("# missing: %s in:\n# %s\n", warned[i], c.warnings);
	}
	release(&c);
}

/* Goal: prices read as people write them. */
static void test_venue_price_text(void)
{
	char text[32];

	ush_venue_price_text("EUR", 1205, text, sizeof(text));
	CHECK(strcmp(text, "12.05 EUR") == 0);
	ush_venue_price_text("JPY", 1205, text, sizeof(text));
	CHECK(strcmp(text, "1205 JPY") == 0);
	ush_venue_price_text("KWD", 1205, text, sizeof(text));
	CHECK(strcmp(text, "1.205 KWD") == 0);
}

/* Goal: files that cannot be read say so; an image is taken as it is. */
static void test_venue_files(void)
{
	struct ush_message message = {""};
	struct compiled c;
	size_t bytes;
	void *image;

	CHECK_EQ(ush_venue_compile_file("/nonexistent", NULL, &image, &bytes, &message),
		-USH_ENOENT);
	CHECK(strstr(message.text, "/nonexistent: cannot be opened") != NULL);
	CHECK(ush_venue_compile_file("/", NULL, &image, &bytes, &message) != 0);
	CHECK(compile(&c, small_venue, (struct ush_venue_options){0}));
	CHECK(ush_venue_is_image(c.image, c.bytes));
	CHECK(!ush_venue_is_image(small_venue, sizeof(small_venue)));
	release(&c);
}

int main(void)
{
	TAP_RUN(test_venue_small_file_exact_image);
	TAP_RUN(test_venue_long_rows_are_cut);
	TAP_RUN(test_venue_shipped_counts);
	TAP_RUN(test_venue_labels_round_trip);
	TAP_RUN(test_venue_unknown_labels_refused);
	TAP_RUN(test_venue_slashes_in_labels);
	TAP_RUN(test_venue_damaged_image_refused);
	TAP_RUN(test_venue_pretix_sample_imported);
	TAP_RUN(test_venue_pretix_odd_plans);
	TAP_RUN(test_venue_price_text);
	TAP_RUN(test_venue_files);
	return tap_end();
}
