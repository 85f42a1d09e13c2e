/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a sale came to: shares, correlations of ranks, waits, and all that was counted, as JSON.
 * Fractions are integers in parts per million until they are printed.
 */
#include "onsale.h"

#define MILLION 1000000
#define DECILES 10u

const char *onsale_defence_name(uint32_t bit)
{
	switch (bit) {
#define X(name, text, value) \
	case value: \
		return text;
		ONSALE_DEFENCE_EACH(X)
#undef X
	default:
		return "?";
	}
}

static int compare64(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static int compare32(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

/* Spearman's coefficient of two orders of the same n, from the sum of squared differences of
 * ranks. ret: parts per million. */
static int64_t spearman(unsigned __int128 squares, uint64_t n)
{
	unsigned __int128 whole = (unsigned __int128)n * n * n - n;

	if (n < 2)
		return 0;
	return MILLION - (int64_t)(squares * 6 * MILLION / whole);
}

static unsigned __int128 square(int64_t x)
{
	return (unsigned __int128)((__int128)x * x);
}

/* Do people get in by their numbers? The number's rank against the place in the order in which they
 * were called or went past the queue. */
static int64_t rank_correlation(const struct onsale *sale)
{
	uint64_t n = sale->order_count;
	uint64_t *keys = malloc((n + 1) * sizeof(*keys));
	unsigned __int128 squares = 0;
	int64_t result;

	USH_ASSERT(keys != NULL);
	for (uint64_t i = 0; i < n; i++)
		keys[i] = onsale_box_number(sale, sale->people[sale->order[i]].place) << 32 | i;
	qsort(keys, n, sizeof(*keys), compare64);
	for (uint64_t i = 0; i < n; i++)
		squares += square((int64_t)(keys[i] & UINT32_MAX) - (int64_t)i);
	result = spearman(squares, n);
	free(keys);
	return result;
}

/* Does it help to come early? Place against number, of the ordinary tier of the lobby. */
static int64_t arrival_correlation(const struct onsale *sale)
{
	uint32_t n = sale->box.counts[ONSALE_TIER_ORDINARY];
	uint32_t first = sale->box.draw.tier[ONSALE_TIER_ORDINARY].first;
	unsigned __int128 squares = 0;

	for (uint32_t i = 0; i < n; i++)
		squares += square((int64_t)onsale_box_number(sale, ONSALE_TIER_ORDINARY << 28 | i) -
				  first - i);
	return spearman(squares, n);
}

/* Seats that are free while somebody waits who was not called, or is inside and looks. */
static uint64_t unsold_without_reason(const struct onsale *sale)
{
	bool somebody = onsale_box_queue_end(sale) > sale->box.says.serving || sale->looking != 0;

	return somebody ? sale->view.free_count : 0;
}

void onsale_result(const struct onsale *sale, struct onsale_result *result)
{
	const struct onsale_counts *c = &sale->counts;
	uint64_t bots = 0, all = 0;

	for (uint32_t class = 0; class < ONSALE_CLASSES; class ++) {
		all += c->seats[class];
		bots += class == ONSALE_FAN ? 0 : c->seats[class];
	}
	*result = (struct onsale_result){.defences = sale->defences,
		.users = sale->crowd.count,
		.admitted = c->exchanged,
		.sold = all,
		.unsold_without_reason = unsold_without_reason(sale),
		.over_admitted = c->over_admitted,
		.violations = c->violations,
		.decided = c->decided,
		.bot_share = all != 0 ? (int64_t)(bots * MILLION / all) : 0,
		.rank_correlation = rank_correlation(sale),
		.arrival_correlation = arrival_correlation(sale)};
}

void onsale_print_ppm(FILE *out, int64_t ppm)
{
	int64_t hundredths = (ppm < 0 ? -ppm : ppm) / 100;

	fprintf(out, "%s%" PRId64 ".%04" PRId64, ppm < 0 && hundredths != 0 ? "-" : "",
		hundredths / 10000, hundredths % 10000);
}

static void print_by_class(const char *name, const uint64_t values[ONSALE_CLASSES], FILE *out)
{
	fprintf(out, "\"%s\":{", name);
	for (uint32_t class = 0; class < ONSALE_CLASSES; class ++)
		fprintf(out, "%s\"%s\":%" PRIu64, class != 0 ? "," : "", onsale_class_name(class),
			values[class]);
	fprintf(out, "},");
}

/* Seconds at 0, 5, ... 100 per cent of those called. */
static void print_waits(const struct onsale *sale, FILE *out)
{
	static const char *const names[ONSALE_GROUPS] = {
		[ONSALE_TIER_VERIFIED] = "verified",
		[ONSALE_TIER_ORDINARY] = "ordinary",
		[ONSALE_TIER_SLOW] = "slow",
		[USH_ROOM_TIER_FIFO] = "late",
	};
	bool first = true;

	fprintf(out, "\"wait_s\":{");
	for (uint32_t group = 0; group < ONSALE_GROUPS; group++) {
		const struct onsale_waits *waits = &sale->waits[group];

		if (waits->count == 0)
			continue;
		qsort(waits->ticks, waits->count, sizeof(*waits->ticks), compare32);
		fprintf(out, "%s\"%s\":[", first ? "" : ",", names[group]);
		for (uint32_t percent = 0; percent <= 100; percent += 5)
			fprintf(out, "%s%u", percent != 0 ? "," : "",
				waits->ticks[(uint64_t)(waits->count - 1) * percent / 100] /
					ONSALE_TICKS_S);
		fprintf(out, "]");
		first = false;
	}
	fprintf(out, "},");
}

/* Of fans in the ordinary tier of the lobby, by tenths in the order of coming: called, per million.
 */
static void print_deciles(const struct onsale *sale, FILE *out)
{
	uint64_t fans[DECILES] = {0}, called[DECILES] = {0};
	uint32_t n = sale->box.counts[ONSALE_TIER_ORDINARY];

	for (uint32_t i = 0; i < n; i++) {
		uint32_t who = sale->owner[ONSALE_TIER_ORDINARY][i];
		uint32_t decile = (uint32_t)((uint64_t)i * DECILES / n);

		if (onsale_class(&sale->crowd, who) != ONSALE_FAN)
			continue;
		fans[decile]++;
		called[decile] += onsale_box_number(sale, ONSALE_TIER_ORDINARY << 28 | i) <
				  sale->box.says.serving;
	}
	fprintf(out, "\"called_by_decile\":[");
	for (uint32_t i = 0; i < DECILES; i++) {
		fprintf(out, "%s", i != 0 ? "," : "");
		onsale_print_ppm(out, fans[i] != 0 ? (int64_t)(called[i] * MILLION / fans[i]) : 0);
	}
	fprintf(out, "],");
}

static void print_samples(const struct onsale *sale, FILE *out)
{
	fprintf(out, "\"samples\":[");
	for (uint32_t i = 0; i < sale->sample_count; i++) {
		const struct onsale_sample *s = &sale->samples[i];

		fprintf(out, "%s[%u,%u,%u,%u,%u,%u,%u,%u]", i != 0 ? "," : "", s->at_s, s->free,
			s->live, s->sold, s->inside, s->expected, s->waiting, s->rate);
	}
	fprintf(out, "],");
}

void onsale_print(const struct onsale *sale, const struct onsale_result *result, FILE *out)
{
	const struct onsale_counts *c = &sale->counts;
	uint64_t accounts[ONSALE_CLASSES];

	for (uint32_t class = 0; class < ONSALE_CLASSES; class ++)
		accounts[class] = sale->crowd.from[class + 1] - sale->crowd.from[class];
	fprintf(out, "{\"defences\":[");
	for (uint32_t bit = 1, any = 0; bit <= ONSALE_ALL; bit <<= 1) {
		if ((sale->defences & bit) != 0)
			fprintf(out, "%s\"%s\"", any++ != 0 ? "," : "", onsale_defence_name(bit));
	}
	fprintf(out, "],\"users\":%u,\"seats\":%u,\"sold\":%" PRIu64 ",", sale->crowd.count,
		sale->seats, result->sold);
	print_by_class("accounts", accounts, out);
	print_by_class("let_in", c->let_in, out);
	print_by_class("buyers", c->buyers, out);
	print_by_class("seats_bought", c->seats, out);
#define X(name) fprintf(out, "\"" #name "\":%" PRIu64 ",", c->name);
	ONSALE_COUNT_EACH(X)
#undef X
	print_waits(sale, out);
	print_deciles(sale, out);
	print_samples(sale, out);
	fprintf(out, "\"ended_s\":%u,\"unsold_without_reason\":%" PRIu64 ",\"bot_share\":",
		(sale->tick - ONSALE_OPEN) / ONSALE_TICKS_S, result->unsold_without_reason);
	onsale_print_ppm(out, result->bot_share);
	fprintf(out, ",\"rank_correlation\":");
	onsale_print_ppm(out, result->rank_correlation);
	fprintf(out, ",\"arrival_correlation\":");
	onsale_print_ppm(out, result->arrival_correlation);
	fprintf(out, "}\n");
}
