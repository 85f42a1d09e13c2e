/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The catalogue without HTTP: times, words, CSV, imports; and on a database (SQLite in a folder of
 * its own; test_catalogue postgresql://... for the other one): events, plans, search.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "catalogue/internal.h"
#include "tests/tap.h"

/* The clock of these tests: 2027-01-01T00:00:00Z. */
#define NOW 1798761600000000ll
static int64_t now = NOW;

int64_t ush_core_now_us(void)
{
	return now;
}

static const char *connection;
static struct ush_db *db;

/* ---- times, words ---- */

static void test_catalogue_times(void)
{
	static const struct {
		const char *text;
		int64_t us;
	} good[] = {
		{"1970-01-01T00:00:00Z", 0},
		{"2027-01-01T00:00:00Z", NOW},
		{"2027-01-01T02:30:00+02:30", NOW},
		{"2026-12-31t19:00:00-05:00", NOW},
		{"2027-01-01 00:00:00.25z", NOW + 250000},
		{"2028-02-29T00:00:00.1234567Z", 1835395200123456},
	};
	static const char *const bad[] = {"", "2027", "2027-01-01", "2027-01-01T00:00:00",
		"2027-02-29T00:00:00Z", "2027-13-01T00:00:00Z", "2027-00-01T00:00:00Z",
		"2027-01-01T24:00:00Z", "2027-01-01T00:60:00Z", "2027-01-01T00:00:61Z",
		"2027-01-01T00:00:00.Z", "2027-01-01T00:00:00Zx", "2027-01-01T00:00:00+2:00",
		"1969-12-31T23:59:59Z", "1970-01-01T00:00:00+01:00", "2027-1-01T00:00:00Z"};
	char text[24];

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		int64_t us = -1;

		CHECK(cat_time_parse(good[i].text, &us));
		CHECK_EQ(us, good[i].us);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		int64_t us;

		if (cat_time_parse(bad[i], &us))
			printf("# `%s` was taken\n", bad[i]);
		CHECK(!cat_time_parse(bad[i], &us));
	}
	cat_time_print(NOW, text);
	CHECK(strcmp(text, "2027-01-01T00:00:00Z") == 0);
}

static void test_catalogue_words(void)
{
	static const char *const pairs[][2] = {
		{"  Hello,  World! ", "hello world"},
		{"Motörhead & Björk", "motorhead bjork"},
		{"Ærøskøbing Straße", "aeroskobing strasse"},
		{"Guns N' Roses", "guns n roses"},
		{"ŁÓDŹ Žižkov Āē", "lodz zizkov ae"},
		{"ТЕАТР Ёж ΑΒΓ", "театр ёж αβγ"},
		{"caf\xc3\xa9 cafe\xcc\x81", "cafe cafe"},
		{"東京 ドーム", "東京 ドーム"},
		{"\xff\xfe bad \xc3", "bad"},
		{"AC/DC—live…\"x\"*", "ac dc live x"},
		{"", ""},
	};
	char *words;

	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
		words = cat_words(pairs[i][0], 100);
		if (strcmp(words, pairs[i][1]) != 0)
			printf("# `%s` instead of `%s`\n", words, pairs[i][1]);
		CHECK(strcmp(words, pairs[i][1]) == 0);
		free(words);
	}
	words = cat_words("one two three", 9);
	CHECK(strcmp(words, "one two") == 0);
	free(words);
}

/* ---- CSV and imports ---- */

/* ret: all records as one JSON text, or the fault. */
static void check_csv(const char *text, size_t bytes, const char *expected)
{
	json_t *all = json_array(), *record;
	struct cat_fault fault;
	struct cat_csv csv;
	char said[300];
	char *dump;
	int ret;

	cat_csv_init(&csv, text, bytes);
	while ((ret = cat_csv_next(&csv, &record, &fault)) == 1)
		json_array_append_new(all, record);
	dump = json_dumps(all, JSON_COMPACT | JSON_ENCODE_ANY);
	snprintf(said, sizeof(said), "%u:%.30s: %.200s", csv.line, fault.member, fault.reason);
	if (strcmp(ret == 0 ? dump : said, expected) != 0)
		printf("# `%s` instead of `%s`\n", ret == 0 ? dump : said, expected);
	CHECK(strcmp(ret == 0 ? dump : said, expected) == 0);
	free(dump);
	json_decref(all);
}

/* Goal: RFC 4180 to the letter, and a line and a field with each refusal. */
static void test_catalogue_csv_is_strict(void)
{
	static const char *const rows[][2] = {
		{"", "[]"},
		{"a,b\r\nc,d\r\n", "[[\"a\",\"b\"],[\"c\",\"d\"]]"},
		{"a,b\nc,d", "[[\"a\",\"b\"],[\"c\",\"d\"]]"},
		{"\xef\xbb\xbf"
		 "a,\n,b\n",
			"[[\"a\",\"\"],[\"\",\"b\"]]"},
		{"\"a \"\"x\"\", b\",\"c\r\nd\"\r\n", "[[\"a \\\"x\\\", b\",\"c\\r\\nd\"]]"},
		{"\"\",x", "[[\"\",\"x\"]]"},
		{"a\n\nb", "2:field 2: a blank line"},
		{"a,b\"c", "1:field 2: a quote in a field that does not begin with one"},
		{"a,b\nc,\"d", "2:field 2: the closing quote is missing"},
		{"\"a\nb\"\n\"c\"d",
			"3:field 2: something follows the closing quote, or a CR without LF"},
		{"a\rb", "1:field 2: something follows the closing quote, or a CR without LF"},
		{"a\xff", "1:field 1: not UTF-8, or a NUL"},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		check_csv(rows[i][0], strlen(rows[i][0]), rows[i][1]);
	check_csv("a\0b", 3, "1:field 1: not UTF-8, or a NUL");
}

#define HEAD \
	"external,name,category,starts,venue_name,venue_city,venue_country,venue_timezone,performers\n"
#define TAIL ",The Hall,Oslo,NO,Europe/Oslo,A; B C ;\n"

/* Goal: every fault of an import is said with its line and column, and all of them at once. */
static void test_catalogue_import_says_each_fault(void)
{
	static const char csv[] = HEAD
		"1,One,pop,2027-05-01T20:00:00Z" TAIL "2,,pop,2027-05-01T20:00:00Z" TAIL
		"3,Three,Pop!,2027-05-01T20:00:00Z" TAIL "4,Four,pop,tomorrow" TAIL "5,Five,pop\n";
	json_t *read = cat_import_read(csv, strlen(csv), true);
	char *errors = json_dumps(json_object_get(read, "errors"), JSON_COMPACT);
	json_t *first = json_array_get(json_object_get(read, "events"), 0);

	CHECK_EQ(json_array_size(json_object_get(read, "events")), 1);
	CHECK_EQ(json_array_size(json_object_get(first, "performers")), 2);
	CHECK(strcmp(errors,
		      "[{\"line\":3,\"column\":\"name\",\"reason\":\"is missing\"},"
		      "{\"line\":4,\"column\":\"category\",\"reason\":\"want lower-case letters, digits"
		      " and hyphens\"},"
		      "{\"line\":5,\"column\":\"starts\",\"reason\":\"want a time as"
		      " 2027-05-01T19:30:00+02:00\"},"
		      "{\"line\":6,\"column\":\"\",\"reason\":\"another number of fields than the header"
		      " has\"}]") == 0);
	free(errors);
	json_decref(read);
	read = cat_import_read("{\"events\": [{\"external\": \"1\"}, 7]}", 34, false);
	CHECK_EQ(json_array_size(json_object_get(read, "errors")), 2);
	json_decref(read);
	read = cat_import_read("{", 1, false);
	CHECK_EQ(json_array_size(json_object_get(read, "errors")), 1);
	json_decref(read);
}

/* ---- events ---- */

static json_t *made_event(const char *external, const char *json)
{
	json_t *input = json_loads(json, 0, NULL), *event = json_object();
	struct cat_fault fault = {"", ""};

	CHECK(input != NULL);
	json_object_set_new(input, "external", json_string(external));
	CHECK(cat_event_take(event, input, true, &fault));
	if (fault.member[0] != '\0')
		printf("# %s: %s\n", fault.member, fault.reason);
	json_object_set_new(event, "promoter", json_integer(1));
	json_object_set_new(event, "status", json_integer(USH_EVENT_STATUS_ON_SALE));
	json_object_set_new(event, "published_us", json_integer(now));
	json_decref(input);
	return event;
}

static int64_t add_event(struct ush_db_conn *conn, const char *city, const char *external,
	const char *json, int64_t together)
{
	json_t *venue = json_pack("{s:s, s:s, s:s, s:s}", "name", "The Hall", "city", city,
		"country", "NO", "timezone", "Europe/Oslo");
	json_t *event = made_event(external, json);
	int64_t number;

	json_object_set_new(event, "venue", json_integer(cat_venue_put(conn, venue, 1)));
	json_object_set_new(event, "together", json_integer(together));
	number = cat_event_write(conn, event);
	CHECK(number > 0);
	json_decref(venue);
	json_decref(event);
	return number;
}

static int64_t numbers[8];

static int fill_job(struct ush_db_conn *conn, void *context)
{
	(void)context;
	numbers[0] = add_event(conn, "Oslo", "a",
		"{\"name\":\"Björk\",\"category\":\"pop\",\"starts\":\"2027-05-01T20:00:00Z\","
		"\"price_min\":1000,\"price_max\":5000,\"currency\":\"NOK\","
		"\"performers\":[\"Björk\"]}",
		4);
	numbers[1] = add_event(conn, "Oslo", "b",
		"{\"name\":\"Night of Songs\",\"category\":\"pop\","
		"\"starts\":\"2027-04-01T20:00:00Z\",\"price_min\":500,\"price_max\":500,"
		"\"currency\":\"NOK\",\"performers\":[\"Björk\", \"Sigur Rós\"]}",
		1);
	numbers[2] = add_event(conn, "New York", "c",
		"{\"name\":\"Opera\",\"category\":\"opera\",\"starts\":\"2027-06-01T20:00:00Z\","
		"\"description\":\"Not by björk.\"}",
		-1);
	numbers[3] = add_event(conn, "Oslo", "d",
		"{\"name\":\"Past\",\"category\":\"pop\",\"starts\":\"2026-06-01T20:00:00Z\"}", -1);
	return 0;
}

struct asked {
	struct cat_search search;
	json_t *answer;
};

static int search_job(struct ush_db_conn *conn, void *context)
{
	struct asked *asked = context;

	json_decref(asked->answer);
	asked->answer = cat_search_run(conn, &asked->search);
	return 0;
}

static struct asked asked_for(const char *words)
{
	struct asked asked = {.search = {.from_us = NOW,
				      .price_min = -1,
				      .price_max = -1,
				      .limit = 10,
				      .words = words != NULL ? cat_words(words, 100) : NULL}};

	return asked;
}

/* Runs a search. ret: the events' letters in order ("a" to "d"), then "+" if there is more. */
static void check_found(struct asked *asked, const char *expected)
{
	char found[16] = "";
	size_t count = 0;
	json_t *item;
	size_t i;

	CHECK_EQ(ush_db_run_now(db, USH_DB_READ, search_job, asked), 0);
	json_array_foreach(json_object_get(asked->answer, "items"), i, item)
	{
		for (int j = 0; j < 8; j++)
			if (numbers[j] == cat_int(item, "event"))
				found[count++] = (char)('a' + j);
	}
	if (json_is_string(json_object_get(asked->answer, "next")))
		found[count] = '+';
	if (strcmp(found, expected) != 0)
		printf("# `%s` found %s instead of %s\n",
			asked->search.words != NULL ? asked->search.words : "", found, expected);
	CHECK(strcmp(found, expected) == 0);
}

static void end(struct asked *asked)
{
	free(asked->search.words);
	json_decref(asked->answer);
}

static void check_words(const char *words, bool prefix, enum cat_sort sort, const char *expected)
{
	struct asked asked = asked_for(words);

	asked.search.prefix = prefix;
	asked.search.sort = sort;
	check_found(&asked, expected);
	end(&asked);
}

static void test_catalogue_search_finds_words(void)
{
	CHECK_EQ(ush_db_run_now(db, USH_DB_WRITE, fill_job, NULL), 0);
	check_words(NULL, false, CAT_BY_DATE, "bac");
	check_words("bjork", false, CAT_BY_DATE, "bac");
	check_words("BJÖRK", false, CAT_BY_RELEVANCE, "abc");
	check_words("bj", true, CAT_BY_DATE, "bac");
	check_words("bj", false, CAT_BY_DATE, "");
	check_words("sigur ro", true, CAT_BY_DATE, "b");
	check_words("new york", false, CAT_BY_DATE, "c");
	check_words("opera", false, CAT_BY_DATE, "c");
	check_words("not and or near", false, CAT_BY_DATE, "");
	check_words("bjork", false, CAT_BY_PRICE, "bac");
	check_words("bjork", false, CAT_BY_PRICE_DOWN, "abc");
	check_words("past", false, CAT_BY_DATE, "");
}

static void add_tag(struct asked *asked, char kind, const char *text)
{
	char *words = cat_words(text, 100);

	cat_tag(kind, words, asked->search.tags[asked->search.tag_count++]);
	free(words);
}

static void test_catalogue_search_filters(void)
{
	struct asked asked = asked_for(NULL);

	add_tag(&asked, 'c', "oslo");
	check_found(&asked, "ba");
	add_tag(&asked, 'k', "pop");
	add_tag(&asked, 'p', "Sigur Rós");
	check_found(&asked, "b");
	asked.search.tag_count = 0;
	/* A city is a whole: York is not New York. */
	add_tag(&asked, 'c', "york");
	check_found(&asked, "");
	asked.search.tag_count = 0;
	asked.search.price_max = 600;
	check_found(&asked, "b");
	asked.search.price_max = -1;
	asked.search.price_min = 2000;
	check_found(&asked, "a");
	asked.search.price_min = -1;
	asked.search.together = 2;
	check_found(&asked, "a");
	asked.search.together = 0;
	asked.search.to_us = 1809302400000000; /* 2027-05-03 */
	check_found(&asked, "ba");
	asked.search.from_us = 1806624000000000; /* 2027-04-02 */
	check_found(&asked, "a");
	end(&asked);
}

/* Goal: a cursor goes on behind the last event, in every order, and ends. */
static void test_catalogue_search_pages(void)
{
	static const char *const pages[][3] = {
		{"b+", "a+", "c"}, {"a+", "b+", "c"}, {"b+", "a+", "c"}, {"a+", "b+", "c"}};

	for (int sort = CAT_BY_DATE; sort <= CAT_BY_PRICE_DOWN; sort++) {
		struct asked asked = asked_for("bjork");

		asked.search.limit = 1;
		asked.search.sort = (enum cat_sort)sort;
		for (int page = 0; page < 3; page++) {
			const char *next;

			check_found(&asked, pages[sort][page]);
			next = json_string_value(json_object_get(asked.answer, "next"));
			CHECK(next == NULL || cat_cursor_parse(next, &asked.search));
		}
		end(&asked);
	}
	{
		struct cat_search search;

		CHECK(!cat_cursor_parse("", &search));
		CHECK(!cat_cursor_parse("1.2", &search));
		CHECK(!cat_cursor_parse("1.2.3.4", &search));
		CHECK(!cat_cursor_parse("1.2.g", &search));
		CHECK(!cat_cursor_parse("1.2.11111111111111111", &search));
	}
}

static void test_catalogue_search_counts_facets(void)
{
	struct asked asked = asked_for(NULL);
	char *text;

	asked.search.facets = true;
	asked.search.limit = 1;
	check_found(&asked, "b+");
	text = json_dumps(json_object_get(asked.answer, "facets"), JSON_COMPACT);
	if (strcmp(text,
		    "{\"category\":[{\"value\":\"pop\",\"count\":2},{\"value\":\"opera\",\"count\":1}],"
		    "\"city\":[{\"value\":\"Oslo\",\"count\":2},{\"value\":\"New York\",\"count\":1}],"
		    "\"month\":[{\"value\":\"2027-04\",\"count\":1},{\"value\":\"2027-05\",\"count\":1},"
		    "{\"value\":\"2027-06\",\"count\":1}],\"price\":{\"min\":500,\"max\":5000}}") !=
		0) {
		printf("# %s\n", text);
		CHECK(false);
	}
	free(text);
	end(&asked);
}

static int change_job(struct ush_db_conn *conn, void *context)
{
	json_t *event = cat_event_read(conn, numbers[0]);

	(void)context;
	CHECK(event != NULL);
	json_object_set_new(event, "name", json_string("Quiet evening"));
	json_object_set_new(
		event, "starts_us", json_integer(cat_int(event, "starts_us") - 86400000000 * 60));
	json_object_set_new(event, "performers", json_array());
	cat_event_write(conn, event);
	json_decref(event);
	event = cat_event_read(conn, numbers[1]);
	json_object_set_new(event, "status", json_integer(USH_EVENT_STATUS_CANCELLED));
	cat_event_write(conn, event);
	json_decref(event);
	CHECK_EQ(ush_catalogue_hint(conn, (uint32_t)numbers[2], 7, 99), 0);
	return 0;
}

/* Goal: search follows a change: other words, another time, cancelled, seats together. */
static void test_catalogue_search_follows_changes(void)
{
	struct asked asked = asked_for(NULL);

	CHECK_EQ(ush_db_run_now(db, USH_DB_WRITE, change_job, NULL), 0);
	check_words("bjork", false, CAT_BY_DATE, "c");
	check_words("quiet", false, CAT_BY_DATE, "a");
	check_words(NULL, false, CAT_BY_DATE, "ac");
	asked.search.together = 5;
	check_found(&asked, "c");
	end(&asked);
}

static int plan_job(struct ush_db_conn *conn, void *context)
{
	static const char source[] =
		"{\"version\":1,\"name\":\"Hall\",\"currency\":\"NOK\",\"tiers\":[{\"name\":\"A\","
		"\"price_minor\":1500},{\"name\":\"B\",\"price_minor\":900}],\"sections\":[{\"name\":\"S\","
		"\"tier\":\"A\",\"rows\":[{\"label\":\"1\",\"seats\":{\"from\":1,\"to\":10}}]}]}";
	struct ush_catalogue_event event;
	struct ush_catalogue_terms terms;
	struct ush_message message = {""};
	char plan[65] = "", again[65] = "";
	uint8_t *image = NULL;
	size_t bytes = 0;

	(void)context;
	CHECK_EQ(cat_plan_put(conn, source, strlen(source), plan, &message), 0);
	CHECK_EQ(cat_plan_put(conn, source, strlen(source), again, &message), 0);
	CHECK_EQ(strlen(plan), 64);
	CHECK(strcmp(plan, again) == 0);
	CHECK_EQ(ush_catalogue_plan(conn, plan, &image, &bytes), 1);
	CHECK(bytes > 100);
	free(image);
	CHECK_EQ(ush_catalogue_plan(conn, "none", &image, &bytes), 0);
	CHECK_EQ(cat_plan_put(conn, "{}", 2, again, &message), (uint64_t)-USH_EPARSE);
	CHECK_EQ(ush_catalogue_event(conn, (uint32_t)numbers[2], &event), 1);
	CHECK(strcmp(event.name, "Opera") == 0 && strcmp(event.city, "New York") == 0);
	CHECK_EQ(event.status, USH_EVENT_STATUS_ON_SALE);
	ush_catalogue_event_free(&event);
	CHECK_EQ(ush_catalogue_event(conn, 4000000000u, &event), 0);
	CHECK_EQ(ush_catalogue_terms(conn, (uint32_t)numbers[2], &terms), 1);
	CHECK_EQ(terms.refund_until_us, 0);
	return 0;
}

static void test_catalogue_plans_are_stored_by_hash(void)
{
	CHECK_EQ(ush_db_run_now(db, USH_DB_WRITE, plan_job, NULL), 0);
}

/* ---- what an older version stored ---- */

#define OLD_EVENT 70001ll

static int old_job(struct ush_db_conn *conn, void *context)
{
	int64_t key = cat_key_of(NOW + 86400000000) | OLD_EVENT;

	(void)context;
	ush_db_exec(conn,
		"INSERT INTO catalogue_hits(key, event, category, city, price_min, price_max,"
		" together, month, name_words, people_words, place_words, words)"
		" VALUES(?, ?, 'jazz', 'Ober Au', 700, 900, 3, 24324, 'old night', 'ann', 'barn',"
		" to_tsvector('simple', 'old night ann barn'))",
		"ii", key, OLD_EVENT);
	return 0;
}

static int hide_job(struct ush_db_conn *conn, void *context)
{
	(void)context;
	cat_event_hide(conn, OLD_EVENT);
	return 0;
}

/* Goal: PostgreSQL's tables of the version before lines are moved over, and found. Method: the
 * steps up to that version, a row of its form, then all steps. */
static void test_catalogue_search_moves_old_rows(void)
{
	static const struct ush_db_step *const all[] = {ush_catalogue_schema, NULL};
	struct ush_db_step former[5] = {0};
	const struct ush_db_step *const steps[] = {former, NULL};
	struct ush_message message = {""};
	struct asked asked = asked_for("ann");
	char *text;

	memcpy(former, ush_catalogue_schema, 4 * sizeof(former[0]));
	CHECK_EQ(ush_db_open(&db, connection, 2, steps, NULL, &message), 0);
	CHECK_EQ(ush_db_run_now(db, USH_DB_WRITE, old_job, NULL), 0);
	ush_db_close(db);
	CHECK_EQ(ush_db_open(&db, connection, 2, all, NULL, &message), 0);
	asked.search.sort = CAT_BY_RELEVANCE;
	asked.search.facets = true;
	asked.search.together = 3;
	CHECK_EQ(ush_db_run_now(db, USH_DB_READ, search_job, &asked), 0);
	text = json_dumps(json_object_get(asked.answer, "facets"), JSON_COMPACT);
	if (strcmp(text, "{\"category\":[{\"value\":\"jazz\",\"count\":1}],"
			 "\"city\":[{\"value\":\"Ober Au\",\"count\":1}],"
			 "\"month\":[{\"value\":\"2027-01\",\"count\":1}],"
			 "\"price\":{\"min\":700,\"max\":900}}") != 0) {
		printf("# %s\n", text);
		CHECK(false);
	}
	free(text);
	CHECK_EQ(ush_db_run_now(db, USH_DB_WRITE, hide_job, NULL), 0);
	ush_db_close(db);
	end(&asked);
}

int main(int argc, char **argv)
{
	static const struct ush_db_step *const steps[] = {ush_catalogue_schema, NULL};
	char folder[] = "/tmp/usher-cat-XXXXXX", where[80], command[80];
	struct ush_message message = {""};

	if (argc < 2 && mkdtemp(folder) == NULL)
		return 1;
	snprintf(where, sizeof(where), "sqlite:%s/test.db", folder);
	connection = argc > 1 ? argv[1] : where;
	if (argc > 1)
		TAP_RUN(test_catalogue_search_moves_old_rows);
	if (ush_db_open(&db, connection, 2, steps, NULL, &message) != 0) {
		printf("Bail out! %s\n", message.text);
		return 1;
	}
	TAP_RUN(test_catalogue_times);
	TAP_RUN(test_catalogue_words);
	TAP_RUN(test_catalogue_csv_is_strict);
	TAP_RUN(test_catalogue_import_says_each_fault);
	TAP_RUN(test_catalogue_search_finds_words);
	TAP_RUN(test_catalogue_search_filters);
	TAP_RUN(test_catalogue_search_pages);
	TAP_RUN(test_catalogue_search_counts_facets);
	TAP_RUN(test_catalogue_plans_are_stored_by_hash);
	TAP_RUN(test_catalogue_search_follows_changes);
	ush_db_close(db);
	snprintf(command, sizeof(command), "rm -rf %s", folder);
	if (argc < 2 && system(command) != 0)
		return 1;
	return tap_end();
}
