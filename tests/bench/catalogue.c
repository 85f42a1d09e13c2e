/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Search over 100,000 generated events: how long a first page takes, with and without facets.
 *
 * usage: bench-catalogue [CONNECTION [EVENTS [ROUNDS [SEED [TIMES]]]]]
 *
 * EVENTS 0: asks those that are there. SEED: of the questions. TIMES: each question is
 * asked so often, one after another, and the least of it counts: on a machine with other work that
 * is nearer to a quiet one, with all pages in memory. Words follow Zipf's law, so that the
 * most common ones are in a third of all events; cities and categories as well. Each question is
 * asked ROUNDS times with other words and places, one at a time, from a job's start to its end;
 * also told is what of it was CPU time, which other programs on the machine disturb less: this
 * program's, and that of PostgreSQL's process if it runs here. The sum of all answers is the same
 * for both databases.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "catalogue/internal.h"

#define BATCH 500u
#define WORD_COUNT 3000u
#define CITY_COUNT 200u
#define CATEGORY_COUNT 40u
#define PERFORMER_COUNT 20000u
#define NOW 1798761600000000ll

static struct ush_random chance;

int64_t ush_core_now_us(void)
{
	return NOW;
}

static uint64_t read_ns(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static uint64_t now_ns(void)
{
	return read_ns(CLOCK_MONOTONIC);
}

/* ret: 0 to count - 1, the first ones most often (about 1 / rank). */
static uint32_t zipf(uint32_t count)
{
	uint32_t bits = 32 - (uint32_t)__builtin_clz(count);
	uint32_t most = 1u << ush_random_below(&chance, bits + 1);
	uint32_t value = (uint32_t)ush_random_below(&chance, most);

	return value < count ? value : (uint32_t)ush_random_below(&chance, count);
}

/* A word from a number: two to four syllables. */
static void word_of(uint32_t number, char *text, size_t size)
{
	static const char *const syllables[] = {"ka", "lo", "mi", "ran", "tes", "vol", "sun", "der",
		"bar", "nei", "qui", "pho", "xan", "gro", "wel", "zin"};

	snprintf(text, size, "%s%s%s%s", syllables[number & 15], syllables[number >> 4 & 15],
		number >= 256 ? syllables[number >> 8 & 15] : "",
		number >= 4096 ? syllables[number >> 12 & 15] : "");
}

static void words_of(uint32_t count, char *text, size_t size)
{
	size_t used = 0;

	for (uint32_t i = 0; i < count; i++) {
		char word[32];

		word_of(zipf(WORD_COUNT), word, sizeof(word));
		used += (size_t)snprintf(text + used, size - used, "%s%s", i > 0 ? " " : "", word);
	}
}

struct batch {
	uint32_t from, count;
	uint64_t seed;
};

static int fill_job(struct ush_db_conn *conn, void *context)
{
	const struct batch *batch = context;
	char name[200], text[800], person[200], city[40], category[40], external[24];

	ush_random_init(&chance, batch->seed + batch->from);
	for (uint32_t i = 0; i < batch->count; i++) {
		int64_t starts = NOW + (int64_t)ush_random_below(&chance, 400ull * 86400) * 1000000;
		int64_t price = 500 + 50 * (int64_t)ush_random_below(&chance, 300);
		uint32_t place = zipf(CITY_COUNT);
		json_t *event, *venue;

		words_of(3, name, sizeof(name));
		words_of(40, text, sizeof(text));
		snprintf(person, sizeof(person), "Artist %u", zipf(PERFORMER_COUNT));
		snprintf(city, sizeof(city), "City %u", place);
		snprintf(category, sizeof(category), "category-%u", zipf(CATEGORY_COUNT));
		snprintf(external, sizeof(external), "x%u", batch->from + i);
		venue = json_pack("{s:s, s:s, s:s, s:s}", "name", "Hall", "city", city, "country",
			"DE", "timezone", "Europe/Berlin");
		event = json_pack(
			"{s:s, s:s, s:s, s:s, s:s, s:[s], s:I, s:I, s:I, s:I, s:I, s:I, s:I}",
			"external", external, "name", name, "description", text, "category",
			category, "currency", "EUR", "performers", person, "starts_us", starts,
			"price_min", price, "price_max", price * 3, "promoter", (json_int_t)1,
			"status", (json_int_t)USH_EVENT_STATUS_DRAFT, "published_us", NOW,
			"together", (json_int_t)ush_random_below(&chance, 12));
		json_object_set_new(event, "venue", json_integer(cat_venue_put(conn, venue, 1)));
		if (cat_event_write(conn, event) <= 0)
			return -USH_EINVAL;
		json_decref(event);
		json_decref(venue);
	}
	return 0;
}

struct asked {
	struct cat_search search;
	uint64_t ns, cpu_ns, server_ns;
	size_t items;
	uint32_t sum; /* of the answer's text: the same with both databases */
	bool capped;
};

/* ret: a sum of the events found, where to go on, and the facets. (Numbers of venues differ.) */
static uint32_t sum_of(const json_t *answer)
{
	json_t *copy = json_deep_copy(answer), *events = json_array(), *item;
	uint32_t sum = 0;
	size_t i;
	char *text;

	json_array_foreach(json_object_get(copy, "items"), i, item)
		json_array_append(events, json_object_get(item, "event"));
	json_object_set_new(copy, "items", events);
	text = json_dumps(copy, JSON_COMPACT | JSON_SORT_KEYS);
	if (text != NULL)
		sum = ush_crc32c(0, text, strlen(text));
	free(text);
	json_decref(copy);
	return sum;
}

static int server_job(struct ush_db_conn *conn, void *context)
{
	return ush_db_get(conn, "SELECT pg_backend_pid()", "", "i", context) == 1 ? 0 : -USH_EIO;
}

/* ret: CPU time of the server's process for our connection; 0: there is none here. */
static uint64_t server_cpu_ns(int64_t process)
{
	char path[64];
	unsigned long long ns = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%lld/schedstat", (long long)process);
	file = process != 0 ? fopen(path, "r") : NULL;
	if (file == NULL)
		return 0;
	if (fscanf(file, "%llu", &ns) != 1)
		ns = 0;
	fclose(file);
	return ns;
}

static int64_t server;

static int search_job(struct ush_db_conn *conn, void *context)
{
	struct asked *asked = context;
	uint64_t of_server = server_cpu_ns(server), begin = now_ns();
	uint64_t cpu = read_ns(CLOCK_THREAD_CPUTIME_ID);
	json_t *answer = cat_search_run(conn, &asked->search);
	/* As the server writes it. */
	char *text = json_dumps(answer, JSON_COMPACT);

	asked->ns = now_ns() - begin;
	asked->cpu_ns = read_ns(CLOCK_THREAD_CPUTIME_ID) - cpu;
	asked->server_ns = server_cpu_ns(server) - of_server;
	asked->items = json_array_size(json_object_get(answer, "items"));
	asked->capped = json_is_true(json_object_get(answer, "capped"));
	asked->sum = sum_of(answer);
	free(text);
	json_decref(answer);
	return 0;
}

static const struct question {
	const char *name;
	uint32_t words;
	bool prefix, city, category, price, facets;
	enum cat_sort sort;
} questions[] = {
	{"browse by date", 0, false, false, false, false, false, CAT_BY_DATE},
	{"one word, by date", 1, false, false, false, false, false, CAT_BY_DATE},
	{"one word, by relevance", 1, false, false, false, false, false, CAT_BY_RELEVANCE},
	{"two words, by relevance", 2, false, false, false, false, false, CAT_BY_RELEVANCE},
	{"a prefix of 3 letters, by relevance", 1, true, false, false, false, false,
		CAT_BY_RELEVANCE},
	{"one word, city, category, by price", 1, false, true, true, false, false, CAT_BY_PRICE},
	{"city, price range, 4 together, by price", 0, false, true, false, true, false,
		CAT_BY_PRICE},
	{"facets: all events", 0, false, false, false, false, true, CAT_BY_DATE},
	{"facets: one word, by relevance", 1, false, false, false, false, true, CAT_BY_RELEVANCE},
	{"facets: one word and a city", 1, false, true, false, false, true, CAT_BY_RELEVANCE},
};

static void tag_of(struct asked *asked, char kind, const char *what, uint32_t number)
{
	char text[40], *words;

	snprintf(text, sizeof(text), "%s %u", what, number);
	words = cat_words(text, 100);
	cat_tag(kind, words, asked->search.tags[asked->search.tag_count++]);
	free(words);
}

static struct asked draw(const struct question *question)
{
	static char words[200];
	struct asked asked = {.search = {.from_us = NOW,
				      .price_min = -1,
				      .price_max = -1,
				      .limit = 20,
				      .sort = question->sort,
				      .facets = question->facets,
				      .prefix = question->prefix}};

	words_of(question->words, words, sizeof(words));
	if (question->prefix)
		words[3] = '\0';
	if (question->words > 0)
		asked.search.words = words;
	if (question->city)
		tag_of(&asked, 'c', "city", zipf(CITY_COUNT));
	if (question->category)
		tag_of(&asked, 'k', "category", zipf(CATEGORY_COUNT));
	if (question->price) {
		asked.search.price_min = 1000;
		asked.search.price_max = 8000;
		asked.search.together = 4;
	}
	return asked;
}

static int compare(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

/* What one kind of question took. */
enum {
	TIME,
	CPU,
	SERVER, /* CPU */
	BOTH,   /* CPU, of program and server */
	TOOK_COUNT
};

static void tell(const char *name, uint64_t *took[TOOK_COUNT], uint32_t rounds)
{
	double p50[TOOK_COUNT], p99[TOOK_COUNT];

	for (int i = 0; i < TOOK_COUNT; i++) {
		qsort(took[i], rounds, sizeof(*took[i]), compare);
		p50[i] = (double)took[i][rounds / 2] / 1e6;
		p99[i] = (double)took[i][rounds - 1 - rounds / 100] / 1e6;
	}
	printf("%-40s p50 %6.2f p99 %6.2f ms; of the CPU %5.2f %5.2f", name, p50[TIME], p99[TIME],
		p50[CPU], p99[CPU]);
	if (server != 0)
		printf(", the server's %5.2f %5.2f, both %5.2f %5.2f", p50[SERVER], p99[SERVER],
			p50[BOTH], p99[BOTH]);
}

static void least(uint64_t *all, uint64_t one, uint32_t before)
{
	*all = before == 0 || one < *all ? one : *all;
}

static bool ask(struct ush_db *db, const struct question *question, uint32_t rounds, uint32_t times)
{
	uint64_t *room = calloc(TOOK_COUNT * rounds, sizeof(*room)), *took[TOOK_COUNT];
	uint64_t items = 0, capped = 0;
	uint32_t sum = 0;

	if (room == NULL)
		return false;
	for (uint32_t i = 0; i < TOOK_COUNT; i++)
		took[i] = room + i * rounds;
	for (uint32_t i = 0; i < rounds; i++) {
		struct asked asked = draw(question);

		for (uint32_t j = 0; j < times; j++) {
			if (ush_db_run_now(db, USH_DB_READ, search_job, &asked) != 0) {
				free(room);
				return false;
			}
			least(&took[TIME][i], asked.ns, j);
			least(&took[CPU][i], asked.cpu_ns, j);
			least(&took[SERVER][i], asked.server_ns, j);
			least(&took[BOTH][i], asked.cpu_ns + asked.server_ns, j);
		}
		items += asked.items;
		sum = sum * 31 + asked.sum;
		capped += asked.capped;
	}
	tell(question->name, took, rounds);
	printf("; %4.1f items, %3.0f %% capped; answers %08x\n", (double)items / rounds,
		100.0 * (double)capped / rounds, sum);
	fflush(stdout);
	free(room);
	return true;
}

int main(int argc, char **argv)
{
	static const struct ush_db_step *const steps[] = {ush_catalogue_schema, NULL};
	char folder[] = "/tmp/usher-bench-XXXXXX", where[80], command[80];
	uint32_t events = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 100000;
	uint32_t rounds = argc > 3 ? (uint32_t)strtoul(argv[3], NULL, 10) : 400;
	uint64_t seed = argc > 4 ? strtoull(argv[4], NULL, 10) : 1;
	uint32_t times = argc > 5 ? (uint32_t)strtoul(argv[5], NULL, 10) : 1;
	struct batch batch = {.seed = 1};
	struct ush_message message = {""};
	uint64_t begin = now_ns();
	struct ush_db *db;
	int failed = 0;

	if (mkdtemp(folder) == NULL)
		return 1;
	snprintf(where, sizeof(where), "sqlite:%s/bench.db", folder);
	if (ush_db_open(&db, argc > 1 ? argv[1] : where, 1, steps, NULL, &message) != 0) {
		printf("%s\n", message.text);
		return 1;
	}
	for (; batch.from < events && failed == 0; batch.from += BATCH) {
		batch.count = events - batch.from < BATCH ? events - batch.from : BATCH;
		failed = ush_db_run_now(db, USH_DB_WRITE, fill_job, &batch);
	}
	printf("# %u events made in %.1f s\n", events, (double)(now_ns() - begin) / 1e9);
	if (ush_db_is_postgres(db) && failed == 0)
		failed = ush_db_run_now(db, USH_DB_READ, server_job, &server);
	ush_random_init(&chance, seed);
	for (size_t i = 0; i < sizeof(questions) / sizeof(questions[0]) && failed == 0; i++)
		failed = !ask(db, &questions[i], rounds, times);
	ush_db_close(db);
	snprintf(command, sizeof(command), "rm -rf %s", folder);
	return system(command) != 0 || failed != 0;
}
