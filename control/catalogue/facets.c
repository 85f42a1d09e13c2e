/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Facets: how many of the hits of a pass have which category, city and month.
 *
 * A value's place is its hash, or behind it; a pass has fewer hits than there are places.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "catalogue/internal.h"

#define PLACE_COUNT 8192u
#define SHOWN_COUNT 50u
static_assert(CAT_HITS_MAX < PLACE_COUNT, "a place for each value");

struct counted {
	char *value; /* NULL: free */
	int64_t count;
};

struct counter {
	struct counted at[PLACE_COUNT];
};

struct cat_facets {
	struct counter categories, cities, months;
	int64_t low, high; /* prices; -1: none */
	/* Hits come in the order of time, so that months come in runs. */
	int64_t month, month_count;
};

struct cat_facets *cat_facets_new(void)
{
	struct cat_facets *facets = calloc(1, sizeof(*facets));

	USH_ASSERT(facets != NULL);
	facets->low = facets->high = -1;
	return facets;
}

static void empty(struct counter *counter)
{
	for (uint32_t i = 0; i < PLACE_COUNT; i++)
		free(counter->at[i].value);
}

void cat_facets_free(struct cat_facets *facets)
{
	if (facets == NULL)
		return;
	empty(&facets->categories);
	empty(&facets->cities);
	empty(&facets->months);
	free(facets);
}

static void count(struct counter *counter, const char *value, int64_t by)
{
	uint32_t hash = 2166136261u; /* FNV-1a */
	struct counted *at;

	for (const char *c = value; *c != '\0'; c++)
		hash = (hash ^ (uint8_t)*c) * 16777619u;
	hash ^= hash >> 15;
	for (;; hash++) {
		at = &counter->at[hash % PLACE_COUNT];
		if (at->value == NULL || strcmp(at->value, value) == 0)
			break;
	}
	if (at->value == NULL) {
		at->value = strdup(value);
		USH_ASSERT(at->value != NULL);
	}
	at->count += by;
}

static void end_run(struct cat_facets *facets)
{
	char text[24];

	if (facets->month_count == 0)
		return;
	snprintf(text, sizeof(text), "%04d-%02d", (int)(facets->month / 12),
		(int)(facets->month % 12) + 1);
	count(&facets->months, text, facets->month_count);
	facets->month_count = 0;
}

void cat_facets_count(struct cat_facets *facets, const struct cat_hit *hit)
{
	if (hit->month != facets->month)
		end_run(facets);
	facets->month = hit->month;
	facets->month_count++;
	count(&facets->categories, hit->category, 1);
	count(&facets->cities, hit->city, 1);
	if (hit->price_min < 0)
		return;
	if (facets->low < 0 || hit->price_min < facets->low)
		facets->low = hit->price_min;
	if (hit->price_max > facets->high)
		facets->high = hit->price_max;
}

static int compare(const void *a, const void *b)
{
	const struct counted *x = a, *y = b;

	if (x->count != y->count)
		return x->count > y->count ? -1 : 1;
	return strcmp(x->value, y->value);
}

/* ret: the values that most hits have. */
static json_t *show(const struct counter *counter)
{
	struct counted *all = calloc(PLACE_COUNT, sizeof(*all));
	json_t *out = json_array();
	size_t size = 0;

	USH_ASSERT(all != NULL);
	for (uint32_t i = 0; i < PLACE_COUNT; i++) {
		if (counter->at[i].value != NULL)
			all[size++] = counter->at[i];
	}
	qsort(all, size, sizeof(*all), compare);
	for (size_t i = 0; i < size && i < SHOWN_COUNT; i++)
		json_array_append_new(
			out, json_pack("{s:s, s:I}", "value", all[i].value, "count", all[i].count));
	free(all);
	return out;
}

json_t *cat_facets_show(struct cat_facets *facets)
{
	json_t *out;

	end_run(facets);
	out = json_pack("{s:o, s:o, s:o}", "category", show(&facets->categories), "city",
		show(&facets->cities), "month", show(&facets->months));
	if (facets->low >= 0)
		json_object_set_new(out, "price",
			json_pack("{s:I, s:I}", "min", facets->low, "max", facets->high));
	return out;
}
