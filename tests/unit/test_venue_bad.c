/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Venue files that must be refused, each with the place and the words of its message.
 *
 * Each text holds one '@' where the fault is; it is taken out before compiling, and its line and
 * column are those that the message must name. An entry without '@' names only its line.
 */
#include <stdio.h>
#include <string.h>

#include "catalogue/venue.h"
#include "tests/tap.h"

#define TIERS \
	"\"tiers\": [{\"name\": \"A\", \"price_minor\": 100},\n" \
	" {\"name\": \"B\", \"price_minor\": 50}],\n"
#define HEAD "{\"name\": \"V\", \"currency\": \"EUR\",\n" TIERS
#define GOOD_SECTIONS \
	"\"sections\": [{\"name\": \"S\", \"tier\": \"A\", \"rows\": [\n" \
	" {\"label\": \"1\", \"seats\": [\"1\"]}]}]}"
/* A file of one section with one row, whose other keys are `keys`. */
#define ROW(keys) \
	HEAD "\"sections\": [{\"name\": \"Stalls\", \"tier\": \"A\",\n" \
	     "\"rows\": [{\"label\": \"3\",\n" keys "}]}]}"
#define SEATS(list) ROW("\"seats\": " list)
#define AREA(keys) HEAD "\"sections\": [{\"name\": \"Floor\", \"kind\": \"area\",\n" keys "}]}"
#define LIMITS(keys) HEAD "\"limits\": {" keys "},\n" GOOD_SECTIONS
#define BEST(keys) HEAD "\"best\": {" keys "},\n" GOOD_SECTIONS
#define X16 "xxxxxxxxxxxxxxxx"
#define X64 X16 X16 X16 X16

struct bad {
	const char *text;
	/* Must occur in the message. */
	const char *words;
	/* Line, when there is no '@'. */
	uint32_t line;
};

static const struct bad bad_files[] = {
	/* Not JSON. */
	{"", "not valid JSON", 1},
	{"{\"name\": \"V\",\n \"currency\" \"EUR\"}", "not valid JSON", 2},
	{"{\"name\": \"V\",\n\"name\": \"W\"}", "duplicate object key", 2},
	{HEAD GOOD_SECTIONS "\nx", "end of file expected", 6},
	{"{\"name\": \"V\",\n\"currency\": \"E\xff\"}", "unable to decode byte 0xff", 2},
	{"{\"name\": \"a\\u0000b\"}", "\\u0000", 1},
	{"{\"name\": \"V\",\n\"tiers\": [1e999]}", "not valid JSON", 2},
	{"{\"name\": \"V\",\n\"tiers\": [99999999999999999999]}", "too big integer", 2},
	{"@\xef\xbb\xbf{}", "byte order mark", 0},
	{"@[]", "one JSON object", 0},
	/* The top. */
	{"@{}", "key 'name' is missing", 0},
	{"@{\"name\": \"V\"}", "key 'currency' is missing", 0},
	{"{\"name\": @7, \"currency\": \"EUR\",\n" TIERS GOOD_SECTIONS,
		"must be a string, not an integer", 0},
	{"{\"name\": @\"\", \"currency\": \"EUR\",\n" TIERS GOOD_SECTIONS, "is empty", 0},
	{"{\"name\": @\"" X64 "\", \"currency\": \"EUR\",\n" TIERS GOOD_SECTIONS, "too long", 0},
	{"{\"name\": @\"a\\nb\", \"currency\": \"EUR\",\n" TIERS GOOD_SECTIONS,
		"'a?b' has a control character", 0},
	{"{\"name\": @\"a\\u202eb\", \"currency\": \"EUR\",\n" TIERS GOOD_SECTIONS,
		"control character", 0},
	{"{\"name\": @\" V\", \"currency\": \"EUR\",\n" TIERS GOOD_SECTIONS, "blank", 0},
	{"{\"name\": \"V\", \"currency\": @\"EURO\",\n" TIERS GOOD_SECTIONS,
		"'EURO' is no ISO 4217 currency", 0},
	{"{\"name\": \"V\", \"currency\": @\"eur\",\n" TIERS GOOD_SECTIONS, "ISO 4217", 0},
	{"{\"name\": \"V\", \"currency\": @\"XYZ\",\n" TIERS GOOD_SECTIONS, "ISO 4217", 0},
	{HEAD "@\"colour\": 1,\n" GOOD_SECTIONS, "unknown key 'colour'; allowed here: version", 0},
	{HEAD "@\"n\\u0061med\": 1,\n" GOOD_SECTIONS, "unknown key 'named'", 0},
	{HEAD "\"version\": @2,\n" GOOD_SECTIONS, "2 is out of range; allowed: 1 to 1", 0},
	{HEAD "\"sections\": @{}}", "must be an array, not an object", 0},
	{HEAD "\"sections\": @[]}", "is empty; at least 1", 0},
	/* Limits. */
	{LIMITS("\"hold_s\": @0"), "0 is out of range; allowed: 1 to 3600", 0},
	{LIMITS("\"hold_s\": @1.5"), "must be an integer, not a number with a fraction", 0},
	{LIMITS("\"hold_s\": 60, \"hold_max_s\": @59"), "hold_max_s 59 is below hold_s 60", 0},
	{LIMITS("\"hold_max_s\": @4000"), "allowed: 1 to 3600", 0},
	{LIMITS("\"seats_per_user\": @65536"), "allowed: 1 to 65535", 0},
	{BEST("@\"colour\": 1"), "unknown key 'colour'; allowed here: objective", 0},
	{BEST("\"objective\": @\"front\""),
		"unknown objective 'front'; allowed: quality, price, back, spread", 0},
	{BEST("\"split\": @\"three\""), "allowed: refuse, two_rows, same_section", 0},
	{BEST("\"orphans\": @1"), "must be a string", 0},
	{BEST("\"orphans\": @\"no\""), "allowed: avoid, refuse, allow", 0},
	{BEST("\"exempt_percent\": @101"), "allowed: 0 to 100", 0},
	{LIMITS("@\"hold\": 1"), "unknown key 'hold'", 0},
	/* Tiers. */
	{"{\"name\": \"V\", \"currency\": \"EUR\", \"tiers\": @[],\n" GOOD_SECTIONS, "at least 1",
		0},
	{"{\"name\": \"V\", \"currency\": \"EUR\",\"tiers\": [@{\"name\": \"A\"}],\n" GOOD_SECTIONS,
		"key 'price_minor' is missing", 0},
	{"{\"name\": \"V\", \"currency\": \"EUR\",\n\"tiers\": [{\"name\": \"A\", "
	 "\"price_minor\": @67108864}],\n" GOOD_SECTIONS,
		"67108864 is out of range; allowed: 0 to 67108863", 0},
	{"{\"name\": \"V\", \"currency\": \"EUR\",\n\"tiers\": [{\"name\": \"A\", "
	 "\"price_minor\": @-1}],\n" GOOD_SECTIONS,
		"-1 is out of range", 0},
	{"{\"name\": \"V\", \"currency\": \"EUR\",\n\"tiers\": [{\"name\": \"A\", "
	 "\"price_minor\": @\"100\"}],\n" GOOD_SECTIONS,
		"must be an integer, not a string", 0},
	{"{\"name\": \"V\", \"currency\": \"EUR\",\n\"tiers\": [{\"name\": \"A\", "
	 "\"price_minor\": 1},\n @{\"name\": \"A\", \"price_minor\": 2}],\n" GOOD_SECTIONS,
		"tier 'A' appears twice; the first is number 1", 0},
	/* Sections. */
	{HEAD "\"sections\": [@7]}", "must be an object, not an integer", 0},
	{HEAD "\"sections\": [@{\"rows\": []}]}", "key 'name' is missing", 0},
	{HEAD "\"sections\": [@{\"name\": \"S\", \"tier\": \"A\"}]}",
		"section 'S': key 'rows' is missing", 0},
	{HEAD "\"sections\": [{\"name\": \"S\", \"kind\": @\"hall\", \"rows\": []}]}",
		"section 'S': unknown kind 'hall'; allowed: seats, tables, area", 0},
	{HEAD "\"sections\": [{\"name\": \"S\", \"tier\": @\"C\", \"rows\": []}]}",
		"section 'S': unknown tier 'C'", 0},
	{HEAD "\"sections\": [{\"name\": \"S\", \"tier\": \"A\", \"rows\": @[]}]}",
		"section 'S': is empty", 0},
	{HEAD "\"sections\": [{\"name\": \"S\", @\"capacity\": 9, \"rows\": []}]}",
		"unknown key 'capacity'; allowed here: name, kind, tier, rows", 0},
	{HEAD "\"sections\": [\n{\"name\": \"S\", \"kind\": \"area\", \"tier\": \"A\", "
	      "\"capacity\": 5},\n@{\"name\": \"S\", \"kind\": \"area\", \"tier\": \"A\", "
	      "\"capacity\": 5}]}",
		"section 'S' appears twice; the first is number 1", 0},
	/* Areas. */
	{HEAD "\"sections\": [@{\"name\": \"Floor\", \"kind\": \"area\", \"tier\": \"A\"}]}",
		"section 'Floor': key 'capacity' is missing", 0},
	{AREA("\"tier\": \"A\", \"capacity\": @0"), "0 is out of range; allowed: 1 to 4194304", 0},
	{AREA("\"tier\": \"A\", \"capacity\": @4194305"), "4194305 is out of range", 0},
	{AREA("\"tier\": \"A\", \"capacity\": 5, \"blocked\": @6"), "allowed: 0 to 5", 0},
	{AREA("\"tier\": \"A\", \"capacity\": 5, \"accessible\": 4, \"blocked\": @2"),
		"allowed: 0 to 1", 0},
	{AREA("\"tier\": \"A\", \"capacity\": 5, @\"rows\": []"), "unknown key 'rows'", 0},
	{HEAD "\"sections\": [{\"name\": \"F\", \"kind\": \"area\", \"tier\": \"A\", "
	      "\"capacity\": 4194304},\n@{\"name\": \"G\", \"kind\": \"area\", \"tier\": \"A\", "
	      "\"capacity\": 1}]}",
		"section 'G': up to here the venue needs 65537 row blocks", 0},
	/* Rows. */
	{HEAD "\"sections\": [{\"name\": \"S\", \"tier\": \"A\", \"rows\": [@3]}]}",
		"section 'S': must be an object, not an integer", 0},
	{HEAD "\"sections\": [{\"name\": \"S\", \"rows\": [@{\"label\": \"1\"}]}]}",
		"section 'S': key 'seats' is missing", 0},
	{HEAD "\"sections\": [{\"name\": \"S\", \"rows\": [{\"label\": @1, \"seats\": []}]}]}",
		"must be a string, not an integer", 0},
	{HEAD "\"sections\": [{\"name\": \"S\", \"tier\": \"A\", \"rows\": [\n"
	      "{\"label\": \"1\", \"seats\": [\"1\"]},\n@{\"label\": \"1\", \"seats\": [\"2\"]}]}]}",
		"section 'S': row '1' appears twice", 0},
	{HEAD "\"sections\": [{\"name\": \"S\", \"rows\": [@{\"label\": \"1\", \"seats\": [\"7\"]}]}]}",
		"section 'S', row '1': seat '7' has no price tier", 0},
	{ROW("\"seats\": [\"1\"], @\"seatz\": []"), "unknown key 'seatz'", 0},
	/* Seats. */
	{SEATS("@[]"), "section 'Stalls', row '3': is empty", 0},
	{SEATS("@\"1\""), "must be an array, not a string", 0},
	{SEATS("[\"1\",\n\"2\", @\"1\"]"), "section 'Stalls', row '3': seat '1' appears twice", 0},
	{SEATS("[{\"from\": 1, \"to\": 9}, @\"7\"]"), "seat '7' appears twice", 0},
	{SEATS("[\"7\", @{\"from\": 1, \"to\": 9}]"), "seat '7' appears twice", 0},
	{SEATS("[@12]"), "a seat label must be a string: write \"12\"", 0},
	{SEATS("[@\"\"]"), "is empty", 0},
	{SEATS("[@\"" X16 X16 "\"]"), "too long (allowed: 1 to 31 bytes)", 0},
	{SEATS("[@{\"from\": 1}]"), "key 'to' is missing", 0},
	{SEATS("[{\"from\": @1.0, \"to\": 4}]"), "must be an integer", 0},
	{SEATS("[@{\"from\": 1, \"to\": 4, \"step\": 2}]"), "steps of 2 from 1 never reach 4", 0},
	{SEATS("[{\"from\": 1, \"to\": 4, \"step\": @0}]"), "allowed: 1 to 1000", 0},
	{SEATS("[@{\"from\": 1, \"to\": 4097}]"), "the range has 4097 seats", 0},
	{SEATS("[{\"from\": 1, \"to\": 4000}, @{\"from\": 5000, \"to\": 6000}]"),
		"the row has more than 4096 positions", 0},
	{SEATS("[{\"from\": 1, \"to\": 9, \"skip\": [@10]}]"),
		"skips 10, which is not in the range", 0},
	{SEATS("[{\"from\": 1, \"to\": 2, \"skip\": @[]}]"), "is empty", 0},
	{SEATS("@[{\"from\": 1, \"to\": 2, \"skip\": [1, 2]}]"), "the row has no seat", 0},
	{SEATS("[{\"from\": 1, \"to\": 2, \"prefix\": @\"1234567890123\"}]"), "at most 12 bytes",
		0},
	{SEATS("[@{\"from\": 1, \"to\": 2, \"suffix\": \"\\t\"}]"), "has a control character", 0},
	{SEATS("[{\"from\": 1, \"to\": 2, @\"by\": 2}]"), "unknown key 'by'", 0},
	{SEATS("[@{\"gap\": 1}, \"1\"]"), "not before the first", 0},
	{SEATS("@[\"1\", {\"gap\": 1}]"), "not after the last", 0},
	{SEATS("[\"1\", {\"gap\": 1}, @{\"gap\": 1}, \"2\"]"), "a gap follows a gap", 0},
	{SEATS("[\"1\", {\"gap\": @17}, \"2\"]"), "allowed: 1 to 16", 0},
	{SEATS("[\"1\", {\"gap\": 1, @\"of\": 2}, \"2\"]"), "unknown key 'of'", 0},
	/* Marks. */
	{ROW("\"seats\": [\"1\", \"2\"], \"blocked\": [@\"3\"]"), "the row has no seat '3'", 0},
	{ROW("\"seats\": [\"1\", \"2\"], \"blocked\": [\"1\", @\"1\"]"),
		"seat '1' is blocked twice", 0},
	{ROW("\"seats\": [\"1\", \"2\"], \"blocked\": [@2]"), "selected by label, a string", 0},
	{ROW("\"seats\": [\"1\", \"2\"], \"blocked\": @[]"), "is empty", 0},
	{ROW("\"seats\": [\"1\", \"2\"], \"blocked\": [@{\"from\": \"2\", \"to\": \"1\"}]"),
		"'from' comes after 'to'", 0},
	{ROW("\"seats\": [\"1\", \"2\"], \"blocked\": [{\"from\": \"1\", \"to\": @\"9\"}]"),
		"the row has no seat '9'", 0},
	{ROW("\"seats\": [\"1\", \"2\"], \"accessible\": [\"1\"], \"companion\": [@\"1\"]"),
		"seat '1' cannot be both accessible and companion", 0},
	{ROW("\"seats\": [\"1\"], \"tier\": @\"Z\""), "row '3': unknown tier 'Z'", 0},
	{ROW("\"seats\": [\"1\"], \"tiers\": [{\"tier\": @\"Z\", \"seats\": [\"1\"]}]"),
		"unknown tier 'Z'", 0},
	{ROW("\"seats\": [\"1\"], \"tiers\": [@{\"tier\": \"B\"}]"), "key 'seats' is missing", 0},
	{ROW("\"seats\": [\"1\"], \"tiers\": [{\"tier\": \"B\", \"seats\": [\"1\"]},\n"
	     " {\"tier\": \"A\", \"seats\": [@\"1\"]}]"),
		"seat '1' is given a tier twice", 0},
};

#define PLAN(zones) \
	"{\"name\": \"P\", \"categories\": [{\"name\": \"C\"}], \"size\": {},\n\"zones\": " zones \
	"}"
#define PLAN_ROW(seats) \
	PLAN("[{\"name\": \"Z\", \"rows\": [{\"row_number\": \"1\", \"seats\": [\n" seats "]}]}]")
#define PLAN_SEAT(guid, number, category) \
	"{\"seat_guid\": " guid ", \"seat_number\": " number ", \"category\": " category "}"

/* Compiled with --currency EUR and --price C=500. */
static const struct bad bad_plans[] = {
	{"@{\"zones\": []}", "key 'name' is missing", 0},
	{"@{\"zones\": [], \"name\": \"P\"}", "key 'categories' is missing", 0},
	{"{\"zones\": [], \"name\": \"P\", \"categories\": @[]}", "at least 1", 0},
	{PLAN("@[]"), "at least 1", 0},
	{PLAN("[@{\"name\": \"Z\"}]"), "key 'rows' is missing", 0},
	{PLAN("[{\"name\": \"Z\", \"rows\": @{}}]"), "zone 'Z': must be an array", 0},
	{PLAN("[{\"name\": \"Z\", \"rows\": [@[]]}]"), "a row must be an object", 0},
	{PLAN("[{\"name\": \"Z\", \"rows\": [@{\"seats\": []}]}]"), "key 'row_number' is missing",
		0},
	{"@" PLAN("[{\"name\": \"Z\", \"rows\": []}]"), "the plan has no seats", 0},
	{PLAN_ROW("@{\"seat_number\": \"1\", \"category\": \"C\"}"), "key 'seat_guid' is missing",
		0},
	{PLAN_ROW(PLAN_SEAT("@\"\"", "\"1\"", "\"C\"")), "must be a string of 1 to", 0},
	{PLAN_ROW(PLAN_SEAT("\"g\"", "\"1\"", "\"C\"") ",\n" PLAN_SEAT("@\"g\"", "\"2\"", "\"C\"")),
		"zone 'Z', row '1': seat_guid 'g' appears twice", 0},
	{PLAN_ROW(PLAN_SEAT("\"g\"", "@1", "\"C\"")), "must be a string, not an integer", 0},
	{PLAN_ROW(PLAN_SEAT("\"g\"", "\"1\"", "@\"D\"")),
		"zone 'Z', row '1', seat '1': unknown category 'D'", 0},
	{"{\"name\": \"P\", \"categories\": [{\"name\": \"C\"},\n@{\"name\": \"D\"}], \"zones\": []}",
		"category 'D' has no price; give --price 'D'=MINOR", 0},
};

/* Takes the '@' out. out: line and column where it stood, column 0 if there was none. */
static size_t unmark(const struct bad *bad, char *text, uint32_t *line, uint32_t *column)
{
	const char *mark = strchr(bad->text, '@');
	size_t size = strlen(bad->text);

	memcpy(text, bad->text, size + 1);
	*line = bad->line;
	*column = 0;
	if (mark == NULL)
		return size;
	*line = 1;
	*column = 1;
	for (const char *c = bad->text; c < mark; c++) {
		*line += *c == '\n';
		*column = *c == '\n' ? 1 : *column + 1;
	}
	memmove(text + (mark - bad->text), mark + 1, strlen(mark));
	return size - 1;
}

static void check_bad(const struct bad *bad, const struct ush_venue_options *options)
{
	struct ush_message message = {""};
	char text[8192], expected[64];
	uint32_t line, column;
	size_t size = unmark(bad, text, &line, &column), image_bytes = 7;
	void *image = &message;
	int before = tap_failures_here, ret;

	ret = ush_venue_compile(text, size, options, &image, &image_bytes, &message);
	CHECK_EQ(ret, -USH_EPARSE);
	/* On error outputs are unchanged. */
	CHECK(image == &message && image_bytes == 7);
	if (column != 0)
		snprintf(expected, sizeof(expected), "bad.json:%u:%u: ", line, column);
	else
		snprintf(expected, sizeof(expected), "bad.json:%u:", line);
	CHECK(strncmp(message.text, expected, strlen(expected)) == 0);
	CHECK(strstr(message.text, bad->words) != NULL);
	if (tap_failures_here != before)
		printf("# wanted: %s ... %s\n# got:    %s\n# text:   %s\n", expected, bad->words,
			message.text, bad->text);
}

/* Goal: each fault of a venue file is refused where it stands. Method: the table above. */
static void test_venue_bad_files_refused(void)
{
	const struct ush_venue_options options = {.file = "bad.json"};

	for (size_t i = 0; i < sizeof(bad_files) / sizeof(bad_files[0]); i++)
		check_bad(&bad_files[i], &options);
	printf("# %zu bad files\n", sizeof(bad_files) / sizeof(bad_files[0]));
}

/* Goal: the same for imported plans. */
static void test_venue_bad_plans_refused(void)
{
	const struct ush_venue_price price = {"C", 500};
	const struct ush_venue_options options = {
		.file = "bad.json", .currency = "EUR", .prices = &price, .price_count = 1};

	for (size_t i = 0; i < sizeof(bad_plans) / sizeof(bad_plans[0]); i++)
		check_bad(&bad_plans[i], &options);
}

/* Goal: the good parts of the table are good, so that each entry fails for its own reason. */
static void test_venue_bad_templates_are_good(void)
{
	static const char *const good[] = {HEAD GOOD_SECTIONS, SEATS("[\"1\"]"),
		AREA("\"tier\": \"A\", \"capacity\": 5"), LIMITS("\"hold_s\": 60"),
		SEATS("[{\"from\": 1, \"to\": 4096}]"),
		AREA("\"tier\": \"A\", \"capacity\": 4194304")};
	struct ush_message message = {""};

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		size_t image_bytes;
		void *image = NULL;

		CHECK_EQ(ush_venue_compile(
				 good[i], strlen(good[i]), NULL, &image, &image_bytes, &message),
			0);
		free(image);
	}
}

/* Goal: options of an import that do not fit the plan are refused. */
static void test_venue_bad_options_refused(void)
{
	static const char plan[] = PLAN_ROW(PLAN_SEAT("\"g\"", "\"1\"", "\"C\""));
	const struct ush_venue_price prices[] = {{"C", 500}, {"D", 600}, {"C", 67108864}};
	const struct {
		struct ush_venue_options options;
		const char *words;
	} cases[] = {
		{{.price_default_set = true}, "give --currency"},
		{{.price_default_set = true, .currency = "euro"}, "ISO 4217"},
		{{.currency = "EUR"}, "category 'C' has no price"},
		{{.currency = "EUR", .prices = prices, .price_count = 2},
			"category 'D', which the plan does not have"},
		{{.currency = "EUR", .prices = prices + 2, .price_count = 1}, "is above 67108863"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct ush_message message = {""};
		size_t image_bytes;
		void *image;

		CHECK_EQ(ush_venue_compile(plan, strlen(plan), &cases[i].options, &image,
				 &image_bytes, &message),
			-USH_EPARSE);
		CHECK(strstr(message.text, cases[i].words) != NULL);
	}
}

int main(void)
{
	TAP_RUN(test_venue_bad_templates_are_good);
	TAP_RUN(test_venue_bad_files_refused);
	TAP_RUN(test_venue_bad_plans_refused);
	TAP_RUN(test_venue_bad_options_refused);
	return tap_end();
}
