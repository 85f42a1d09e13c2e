/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Best available against an oracle that walks every seat of random halls, with all objectives,
 * splits and filters. USH_SEED repeats a run; USH_SEEDS and USH_STEPS: how many halls, how long.
 *
 * Owns:  one event.
 * Reads: USH_SEED, USH_SEEDS, USH_STEPS.
 * Never: DPDK, files.
 */
#include "../harness.h"
#include "../tap.h"
#include "claim/best.h"

#define ROWS_MAX 96u

struct hall {
	struct ush_inventory inventory;
	struct ush_event *event;
	struct ush_venue_row rows[ROWS_MAX];
	struct ush_venue_section sections[8];
	uint32_t row_count, section_count;
	bool pure;
	struct ush_random random;
};

static uint32_t below(struct hall *h, uint32_t n)
{
	return (uint32_t)(ush_random_next(&h->random) % n);
}

/* ---- random halls ---- */

static void draw_seats(struct hall *h, struct ush_venue_row *row, uint32_t width)
{
	uint64_t all = width == 64 ? ~0ull : (1ull << width) - 1;

	row->seats = all;
	if (below(h, 3) == 0)
		row->seats &= ~(1ull << below(h, width));
	row->seats |= 1ull << (width - 1);
	if (!h->pure && below(h, 3) == 0) {
		uint64_t part = (all >> below(h, width)) & row->seats;
		row->tier_mask[0] = part;
		row->tier[1] = (uint8_t)below(h, 3);
		row->tier[2] = row->tier[3] = row->tier[0];
	}
	if (below(h, 4) == 0) {
		for (uint32_t i = 0; i < 3; i++) {
			row->accessible |= 1ull << below(h, width) & row->seats;
			row->companion |= 1ull << below(h, width) & row->seats;
		}
		row->companion &= ~row->accessible;
	}
}

static void draw_rows(struct hall *h, uint32_t section)
{
	uint32_t made = 1 + below(h, 12);
	bool area = below(h, 5) == 0;

	for (uint32_t i = 0; i < made && h->row_count + 3 < ROWS_MAX; i++) {
		uint32_t blocks = !area && below(h, 4) == 0 ? 2 + below(h, 2) : 1;
		uint32_t width = 3 + (below(h, 3) == 0 ? below(h, 62) : below(h, 10));
		uint8_t tier = (uint8_t)below(h, 3);

		/* An area has one price. */
		if (area && i > 0)
			tier = h->rows[h->row_count - 1].tier[0];
		for (uint32_t b = 0; b < blocks; b++) {
			struct ush_venue_row *row = &h->rows[h->row_count++];
			row->section = (uint16_t)section;
			row->tier[0] = row->tier[1] = row->tier[2] = row->tier[3] = tier;
			draw_seats(h, row, width);
			row->flags = area ? 1 : b > 0 ? 2 : 0;
			if (b > 0 && below(h, 4) == 0)
				row->flags |= 4;
			if (area) {
				row->companion = 0;
				memset(row->tier_mask, 0, sizeof(row->tier_mask));
			}
		}
	}
}

static void open_hall(struct hall *h, uint64_t seed)
{
	const struct ush_venue_tier tiers[3] = {{.price = 5000}, {.price = 2000}, {.price = 3000}};
	struct ush_message message = {{0}};
	struct harness_venue venue = {.header = {.magic = USH_VENUE_MAGIC,
					      .version = USH_VENUE_VERSION,
					      .tier_count = 3,
					      .hold_ms = 1000,
					      .hold_ms_max = 1000,
					      .user_seats_max = 8,
					      .currency = "EUR"},
		.tiers = tiers,
		.sections = h->sections,
		.rows = h->rows};
	size_t bytes = ush_inventory_bytes(1024, 1), image_bytes;
	void *image, *memory = aligned_alloc(64, (bytes + 63) & ~63ull);

	memset(h, 0, sizeof(*h));
	USH_ASSERT(memory != NULL);
	memset(memory, 0, bytes);
	ush_random_init(&h->random, seed);
	h->pure = below(h, 2) == 0;
	h->section_count = 1 + below(h, 5);
	for (uint32_t s = 0; s < h->section_count; s++) {
		h->sections[s].row_first = h->row_count;
		draw_rows(h, s);
		h->sections[s].row_count = h->row_count - h->sections[s].row_first;
		if (h->sections[s].row_count == 0)
			h->section_count = s;
	}
	venue.header.section_count = h->section_count;
	venue.header.row_count = h->row_count;
	image = harness_image_of(&venue, &image_bytes);
	ush_inventory_init(&h->inventory, memory, 1024, 1);
	if (ush_event_build(&h->inventory, 1, image, image_bytes, &h->event, &message) != 0)
		printf("# %s\n", message.text);
	USH_ASSERT(h->event != NULL);
	free(image);
}

/* ---- the oracle: one seat at a time ---- */

struct wish {
	const struct hall *h;
	const struct ush_best_query *q;
	struct ush_best_legs chosen;
	int tier;
	bool clean, joined;
	uint32_t first, end;
};

static uint32_t width_of(const struct hall *h, uint32_t row)
{
	uint32_t width = 64;

	while ((h->rows[row].seats >> (width - 1) & 1) == 0)
		width--;
	return width;
}

static bool joins(const struct hall *h, uint32_t row)
{
	return row < h->row_count && h->rows[row].flags == 2;
}

static int tier_of(const struct hall *h, uint32_t row, uint32_t bit)
{
	for (uint32_t t = 0; t < 3; t++) {
		if ((h->rows[row].tier_mask[t] >> bit & 1) != 0)
			return h->rows[row].tier[t + 1];
	}
	return h->rows[row].tier[0];
}

static bool is_special(const struct hall *h, uint32_t row, uint32_t bit)
{
	return ((h->rows[row].accessible | h->rows[row].companion) >> bit & 1) != 0;
}

static bool is_free(const struct wish *w, uint32_t row, uint32_t bit)
{
	if ((atomic_load(&w->h->event->rows[row].free) >> bit & 1) == 0)
		return false;
	for (uint32_t i = 0; i < w->chosen.count; i++) {
		if (w->chosen.row[i] == row && (w->chosen.mask[i] >> bit & 1) != 0)
			return false;
	}
	return w->q->accessible != 0 || !is_special(w->h, row, bit);
}

/* Steps to the neighbour. ret: false if there is none. */
static bool step(const struct hall *h, uint32_t *row, uint32_t *bit, bool right)
{
	if (right) {
		if (++*bit < width_of(h, *row))
			return true;
		*bit = 0;
		return joins(h, ++*row);
	}
	if (*bit > 0) {
		--*bit;
		return true;
	}
	if (!joins(h, *row))
		return false;
	*bit = width_of(h, --*row) - 1;
	return true;
}

/* ret: true if the seat next to (row, bit) on that side would be left single. */
static bool orphans(const struct wish *w, uint32_t row, uint32_t bit, bool right)
{
	if (!step(w->h, &row, &bit, right) || !is_free(w, row, bit))
		return false;
	return !step(w->h, &row, &bit, right) || !is_free(w, row, bit);
}

static bool pairs_fit(const struct wish *w, const uint32_t *row, const uint32_t *bit, uint32_t k)
{
	bool used[64] = {false};
	uint32_t accessible = 0, companion = 0;

	for (uint32_t i = 0; i < k; i++)
		accessible += (uint32_t)(w->h->rows[row[i]].accessible >> bit[i] & 1);
	for (uint32_t i = 0; i < k; i++) {
		bool fits = false;

		if ((w->h->rows[row[i]].companion >> bit[i] & 1) == 0)
			continue;
		companion++;
		for (int side = -1; side <= 1 && !fits; side += 2) {
			int at = (int)i + side;
			if (at < 0 || at >= (int)k || used[at] ||
				(w->h->rows[row[at]].accessible >> bit[at] & 1) == 0)
				continue;
			used[at] = fits = true;
		}
		if (!fits)
			return false;
	}
	return accessible == w->q->accessible && companion == w->q->companion;
}

/* ret: true if k seats from (row, bit) may be taken; *legs: they. */
static bool window_fits(
	const struct wish *w, uint32_t row, uint32_t bit, uint32_t k, struct ush_best_legs *legs)
{
	uint32_t rows[64], bits[64], first = row;

	legs->count = 0;
	for (uint32_t i = 0; i < k; i++) {
		if (i > 0 && !step(w->h, &row, &bit, true))
			return false;
		if (row > first && (!w->joined || row >= w->end || row > first + 1))
			return false;
		if (!is_free(w, row, bit) || (w->tier >= 0 && tier_of(w->h, row, bit) != w->tier))
			return false;
		rows[i] = row;
		bits[i] = bit;
		if (legs->count == 0 || legs->row[legs->count - 1] != row) {
			legs->row[legs->count] = (uint16_t)row;
			legs->mask[legs->count++] = 0;
		}
		legs->mask[legs->count - 1] |= 1ull << bit;
	}
	if (w->clean &&
		(orphans(w, rows[0], bits[0], false) || orphans(w, rows[k - 1], bits[k - 1], true)))
		return false;
	return w->q->accessible == 0 || pairs_fit(w, rows, bits, k);
}

/* The best window of a row: nearest to `centre` (twice a place; -1: the row's own). */
static bool best_of_row(const struct wish *w, uint32_t row, uint32_t k, int centre,
	struct ush_best_legs *best, int *middle)
{
	int width = (int)width_of(w->h, row), least = 1 << 20;
	bool before = joins(w->h, row), after = joins(w->h, row + 1);

	if (w->h->rows[row].flags == 1)
		return false;
	if (centre < 0)
		centre = before == after ? width : after ? 2 * width : 0;
	for (int b = 0; b < width; b++) {
		struct ush_best_legs legs;
		int distance = abs(2 * b + (int)k - centre);

		if (distance < least && window_fits(w, row, (uint32_t)b, k, &legs)) {
			least = distance;
			*best = legs;
			*middle = 2 * b + (int)k;
		}
	}
	return least < 1 << 20;
}

static void merge(struct ush_best_legs *into, const struct ush_best_legs *more)
{
	for (uint32_t i = 0; i < more->count; i++) {
		uint32_t at = 0;

		while (at < into->count && into->row[at] < more->row[i])
			at++;
		if (at < into->count && into->row[at] == more->row[i]) {
			into->mask[at] |= more->mask[i];
			continue;
		}
		for (uint32_t j = into->count++; j > at; j--) {
			into->row[j] = into->row[j - 1];
			into->mask[j] = into->mask[j - 1];
		}
		into->row[at] = more->row[i];
		into->mask[at] = more->mask[i];
	}
}

static uint32_t front_block(const struct wish *w, uint32_t row)
{
	while (row > w->first && (w->h->rows[row].flags & 2) != 0)
		row--;
	return row;
}

/* The same block of the next row, or of the one before. ret: false: none in this section. */
static bool other_row(const struct wish *w, uint32_t row, bool behind, uint32_t *other)
{
	uint32_t front = front_block(w, row), at = row + 1, place = row - front;

	if (behind) {
		while (at < w->end && (w->h->rows[at].flags & 2) != 0)
			at++;
		if (at >= w->end)
			return false;
	} else {
		if (front == w->first)
			return false;
		at = front_block(w, front - 1);
	}
	if (w->h->rows[at].section != w->h->rows[row].section)
		return false;
	while (place-- > 0 && at + 1 < w->end && (w->h->rows[at + 1].flags & 2) != 0)
		at++;
	*other = at;
	return true;
}

static bool row_answer(
	const struct wish *w, uint32_t row, uint32_t k, uint32_t second, struct ush_best_legs *out)
{
	int middle, unused;

	if (!best_of_row(w, row, k, -1, out, &middle))
		return false;
	for (int i = 0; second != 0 && i < 2; i++) {
		struct ush_best_legs more;
		uint32_t other;

		if (other_row(w, row, i == 0, &other) &&
			best_of_row(w, other, second, middle, &more, &unused)) {
			merge(out, &more);
			return true;
		}
	}
	return second == 0;
}

static bool any_row(struct wish *w, uint32_t k, uint32_t second, struct ush_best_legs *out)
{
	uint32_t count = w->end - w->first, from = 0;

	if (w->q->objective == USH_BEST_OBJECTIVE_SPREAD && w->q->accessible == 0)
		from = (uint32_t)(((uint64_t)count * w->q->start) >> 32);
	for (uint32_t i = 0; i < count; i++) {
		uint32_t row = w->first + (from + i) % count;

		if (w->q->objective == USH_BEST_OBJECTIVE_BACK)
			row = w->end - 1 - i;
		if (row_answer(w, row, k, second, out))
			return true;
	}
	return false;
}

static bool any_tier(struct wish *w, uint32_t k, uint32_t second, struct ush_best_legs *out)
{
	/* By price. */
	static const int order[] = {1, 2, 0, -1};

	if (!w->q->tier_given && w->q->objective == USH_BEST_OBJECTIVE_PRICE) {
		for (int i = 0; i < 4; i++) {
			w->tier = order[i];
			if (any_row(w, k, second, out))
				return true;
		}
		return false;
	}
	w->tier = w->q->tier_given ? w->q->tier : -1;
	return any_row(w, k, second, out);
}

/* ---- whether anything fits at all ---- */

/* Seats of a block that the group may have, by themselves. */
static uint64_t group_seats(const struct wish *w, uint32_t row)
{
	uint64_t seats = 0;

	for (uint32_t bit = 0; bit < width_of(w->h, row) && (w->h->rows[row].flags & 1) == 0;
		bit++) {
		if (is_free(w, row, bit) && !is_special(w->h, row, bit) &&
			(!w->q->tier_given || tier_of(w->h, row, bit) == w->q->tier))
			seats |= 1ull << bit;
	}
	return seats;
}

static uint32_t longest_run(uint64_t seats)
{
	uint32_t run = 0;

	for (; seats != 0; seats &= seats >> 1)
		run++;
	return run;
}

/* Two blocks of which one is behind or before the other, by either's count. */
static bool two_fit(const struct wish *w)
{
	uint32_t k = w->q->seats, least = k >= 4 ? 2 : 1;

	for (uint32_t row = w->first; row < w->end; row++) {
		for (uint32_t i = 0; i < 2; i++) {
			uint32_t other, a = longest_run(group_seats(w, row)), b;

			if (!other_row(w, row, i == 0, &other))
				continue;
			b = longest_run(group_seats(w, other));
			for (uint32_t part = least; part + least <= k; part++) {
				if (part <= a && k - part <= b && part <= USH_BEST_RUN_MAX &&
					k - part <= USH_BEST_RUN_MAX)
					return true;
			}
		}
	}
	return false;
}

/* So many of the section's blocks as the answer may touch, the fullest ones. */
static bool section_fits(const struct wish *w, uint32_t section)
{
	const struct hall *h = w->h;
	uint32_t first = h->sections[section].row_first, have = 0;
	bool used[ROWS_MAX] = {false};

	for (uint32_t leg = 0; leg < w->q->leg_max; leg++) {
		uint32_t most = 0, at = 0;

		for (uint32_t row = first; row < first + h->sections[section].row_count; row++) {
			uint32_t seats = ush_popcount64(group_seats(w, row));
			if (!used[row] && seats > most) {
				most = seats;
				at = row;
			}
		}
		used[at] = true;
		have += most;
	}
	return have >= w->q->seats;
}

/* ret: true if the event's rule for splitting leaves a way, whichever the search takes. */
static bool anything_fits(const struct hall *h, const struct ush_best_query *q)
{
	struct wish w = {.h = h, .q = q, .first = q->row_first, .end = q->row_end};
	struct ush_best_legs unused;

	w.joined = q->leg_max > 1;
	w.clean = false;
	if (q->seats <= USH_BEST_RUN_MAX && any_tier(&w, q->seats, 0, &unused))
		return true;
	if (q->seats < 2 || q->leg_max < 2 || q->accessible != 0 ||
		q->split == USH_BEST_SPLIT_REFUSE)
		return false;
	if (q->split == USH_BEST_SPLIT_TWO_ROWS)
		return two_fit(&w);
	for (uint32_t i = 0; i < h->section_count; i++) {
		if (h->sections[i].row_first >= q->row_first &&
			h->sections[i].row_first < q->row_end && section_fits(&w, i))
			return true;
	}
	return false;
}

static bool split_answer(struct wish *w, struct ush_best_legs *out)
{
	const struct hall *h = w->h;
	uint32_t k = w->q->seats;

	w->joined = false;
	if (w->q->split == USH_BEST_SPLIT_TWO_ROWS) {
		for (int clean = w->q->avoid_orphans; clean >= 0; clean--) {
			w->clean = clean;
			for (uint32_t second = k / 2; second >= (k >= 4 ? 2 : 1); second--) {
				if (k - second > USH_BEST_RUN_MAX)
					break;
				if (any_tier(w, k - second, second, out) ||
					any_tier(w, second, k - second, out))
					return true;
			}
		}
		return false;
	}
	w->clean = false;
	for (uint32_t i = 0; i < h->section_count; i++) {
		uint32_t s =
			w->q->objective == USH_BEST_OBJECTIVE_BACK ? h->section_count - 1 - i : i;
		uint32_t left = k, part = k < USH_BEST_RUN_MAX ? k : USH_BEST_RUN_MAX;

		w->chosen.count = 0;
		w->first = h->sections[s].row_first;
		w->end = w->first + h->sections[s].row_count;
		if (w->first < w->q->row_first || w->first >= w->q->row_end)
			continue;
		while (left != 0 && part != 0) {
			if (w->chosen.count < w->q->leg_max && any_tier(w, part, 0, out)) {
				merge(&w->chosen, out);
				left -= part;
				part = part < left ? part : left;
			} else {
				part--;
			}
		}
		if (left == 0) {
			*out = w->chosen;
			return true;
		}
	}
	return false;
}

static bool oracle(const struct hall *h, const struct ush_best_query *q, struct ush_best_legs *out)
{
	struct wish w = {.h = h, .q = q, .first = q->row_first, .end = q->row_end};

	w.joined = q->leg_max > 1;
	for (int clean = q->avoid_orphans; clean >= 0 && q->seats <= USH_BEST_RUN_MAX; clean--) {
		w.clean = clean;
		if (any_tier(&w, q->seats, 0, out))
			return true;
	}
	if (q->split == USH_BEST_SPLIT_REFUSE || q->seats < 2 || q->leg_max < 2 || q->accessible)
		return false;
	return split_answer(&w, out);
}

/* ---- the game ---- */

static void draw_query(struct hall *h, struct ush_best_query *q)
{
	const struct ush_venue_section *section = &h->sections[below(h, h->section_count)];

	*q = (struct ush_best_query){.seats = 1 + below(h, below(h, 4) == 0 ? 30 : 6),
		.row_first = 0,
		.row_end = h->row_count,
		.leg_max = 1 + below(h, USH_LEG_COUNT_MAX),
		.objective = below(h, USH_BEST_OBJECTIVE_COUNT),
		.split = below(h, USH_BEST_SPLIT_COUNT),
		.start = h->pure ? (uint32_t)ush_random_next(&h->random) : 0,
		.turn = below(h, 4) == 0 ? below(h, 8) : 0,
		.tier_given = below(h, 3) == 0,
		.tier = (uint8_t)below(h, 3),
		.avoid_orphans = below(h, 3) != 0};
	if (below(h, 3) == 0) {
		q->row_first = section->row_first;
		q->row_end = section->row_first + section->row_count;
	}
	if (below(h, 5) == 0) {
		q->accessible = 1 + below(h, 2);
		q->companion = below(h, q->accessible + 1);
		q->seats = q->accessible + q->companion + below(h, 3);
	}
}

static bool same_legs(const struct ush_best_legs *a, const struct ush_best_legs *b)
{
	if (a->count != b->count)
		return false;
	for (uint32_t i = 0; i < a->count; i++) {
		if (a->row[i] != b->row[i] || a->mask[i] != b->mask[i])
			return false;
	}
	return true;
}

static void print_legs(const char *who, const struct ush_best_legs *legs, bool found)
{
	printf("# %s: %s", who, found ? "" : "nothing");
	for (uint32_t i = 0; found && i < legs->count; i++)
		printf(" %u:%016llx", legs->row[i], (unsigned long long)legs->mask[i]);
	printf("\n");
}

/* ret: true if search and oracle agree. *legs: what the search found. */
/* ret: true if the legs are free seats of this group, as many as asked for, in no more rows. */
static bool is_whole(
	const struct hall *h, const struct ush_best_query *q, const struct ush_best_legs *legs)
{
	struct wish w = {.h = h, .q = q, .first = q->row_first, .end = q->row_end};
	uint32_t seats = 0;

	for (uint32_t i = 0; i < legs->count; i++) {
		seats += ush_popcount64(legs->mask[i]);
		if (legs->row[i] < q->row_first || legs->row[i] >= q->row_end ||
			(i > 0 && legs->row[i] <= legs->row[i - 1]) ||
			(q->accessible == 0 &&
				(legs->mask[i] & ~group_seats(&w, legs->row[i])) != 0))
			return false;
	}
	return seats == q->seats && legs->count <= q->leg_max;
}

static bool ask_both(
	struct hall *h, const struct ush_best_query *q, struct ush_best_legs *legs, bool *found)
{
	struct ush_best_legs want = {0};
	bool wanted = oracle(h, q, &want), agree;

	*found = ush_best_find(h->event, q, legs);
	/* NONE only where there is no way at all; and what is found is there, and as much as asked.
	 */
	agree = *found == anything_fits(h, q) && (!*found || is_whole(h, q, legs));
	/* Where the oracle's greedy way ends nowhere, another one may be taken. */
	if (agree && wanted && q->turn == 0)
		agree = same_legs(legs, &want);
	/* Another of the equal ones. A part taken elsewhere moves what comes after. */
	if (agree && wanted && *found && q->turn != 0 && h->pure && want.count == 1 &&
		legs->count == 1)
		agree = legs->row[0] / USH_BEST_BAND == want.row[0] / USH_BEST_BAND ||
			q->objective == USH_BEST_OBJECTIVE_SPREAD;
	if (agree)
		return true;
	printf("# %u seats, %u + %u special, rows %u to %u, %u legs, objective %u, split %u, "
	       "tier %d, orphans %d, turn %u\n",
		q->seats, q->accessible, q->companion, q->row_first, q->row_end, q->leg_max,
		q->objective, q->split, q->tier_given ? q->tier : -1, q->avoid_orphans, q->turn);
	print_legs("oracle", &want, wanted);
	print_legs("search", legs, *found);
	return false;
}

static void take(struct hall *h, const struct ush_best_legs *legs)
{
	uint64_t way;

	for (uint32_t i = 0; i < legs->count; i++) {
		USH_ASSERT(ush_row_claim(&h->event->rows[legs->row[i]], legs->mask[i], &way) ==
			   USH_CLAIM_WON);
		ush_best_note(h->event, legs->row[i]);
	}
}

static void disturb(struct hall *h, bool give)
{
	uint32_t row = below(h, h->row_count);
	struct ush_row *at = &h->event->rows[row];
	uint64_t free = atomic_load(&at->free), mask = ush_random_next(&h->random);
	struct ush_best_legs legs = {.count = 1, .row = {(uint16_t)row}};

	mask &= give ? at->seats & ~free : free;
	if (mask == 0)
		return;
	legs.mask[0] = mask;
	if (give)
		ush_row_return(h->event, at, mask);
	else
		take(h, &legs);
}

static bool play(struct hall *h, uint32_t steps, uint32_t *found_count)
{
	for (uint32_t i = 0; i < steps; i++) {
		struct ush_best_query q;
		struct ush_best_legs legs;
		bool found;

		draw_query(h, &q);
		if (!ask_both(h, &q, &legs, &found))
			return false;
		*found_count += found;
		if (found && below(h, 2) == 0)
			take(h, &legs);
		else if (below(h, 2) == 0)
			disturb(h, below(h, 3) == 0);
		if (!ush_best_is_safe(h->event)) {
			printf("# the index denies what fits, step %u\n", i);
			return false;
		}
	}
	return true;
}

static uint32_t from_environment(const char *name, uint32_t otherwise)
{
	const char *text = getenv(name);

	return text != NULL ? (uint32_t)strtoul(text, NULL, 0) : otherwise;
}

/* Goal: the search finds what an exhaustive one finds, seat by seat. Method: see above. */
static void test_best_agrees_with_oracle(void)
{
	uint32_t seeds = from_environment("USH_SEEDS", 300), found = 0;
	uint32_t steps = from_environment("USH_STEPS", 150);
	uint64_t seed = from_environment("USH_SEED", 1);

	if (getenv("USH_SEED") != NULL)
		seeds = 1;
	for (uint32_t i = 0; i < seeds; i++) {
		struct hall *h = calloc(1, sizeof(*h));
		bool good;

		USH_ASSERT(h != NULL);
		open_hall(h, seed + i);
		good = play(h, steps, &found);
		if (!good)
			printf("# USH_SEED=%llu\n", (unsigned long long)(seed + i));
		free((void *)h->inventory.events);
		free(h);
		CHECK(good);
		if (!good)
			return;
	}
	printf("# %u halls, %u searches, %u found\n", seeds, seeds * steps, found);
	CHECK(found > 0);
}

/* ---- areas ---- */

static bool area_is_right(const struct hall *h, const struct ush_best_query *q,
	const struct ush_best_legs *legs, bool found)
{
	uint32_t seats = 0, accessible = 0, best[ROWS_MAX], rows = q->row_end - q->row_first;
	uint32_t most = 0;

	for (uint32_t i = 0; found && i < legs->count; i++) {
		uint32_t row = legs->row[i];

		if (row < q->row_first || row >= q->row_end || legs->mask[i] == 0 ||
			(legs->mask[i] & ~atomic_load(&h->event->rows[row].free)) != 0)
			return false;
		seats += ush_popcount64(legs->mask[i]);
		accessible += ush_popcount64(legs->mask[i] & h->rows[row].accessible);
	}
	if (found)
		return seats == q->seats && accessible == q->accessible &&
		       legs->count <= q->leg_max;
	/* As many rows as there may be, the fullest ones. */
	for (uint32_t i = 0; i < rows; i++) {
		uint32_t at = i, count = ush_popcount64(
					 atomic_load(&h->event->rows[q->row_first + i].free) &
					 ~h->rows[q->row_first + i].accessible);
		for (; at > 0 && best[at - 1] < count; at--)
			best[at] = best[at - 1];
		best[at] = count;
	}
	for (uint32_t i = 0; i < rows && i < q->leg_max; i++)
		most += best[i];
	return q->accessible != 0 || most < q->seats;
}

/* Goal: an area gives so many places as were asked for, if it has them. Method: random areas. */
static void test_best_area_gives_what_there_is(void)
{
	uint32_t asked = 0, given = 0;

	for (uint64_t seed = 1; seed <= 400; seed++) {
		struct hall *h = calloc(1, sizeof(*h));

		USH_ASSERT(h != NULL);
		open_hall(h, seed);
		for (uint32_t i = 0; i < 200; i++) {
			const struct ush_venue_section *s =
				&h->sections[below(h, h->section_count)];
			struct ush_best_query q = {.seats = 1 + below(h, 40),
				.row_first = s->row_first,
				.row_end = s->row_first + s->row_count,
				.leg_max = 1 + below(h, 8),
				.start = (uint32_t)ush_random_next(&h->random)};
			struct ush_best_legs legs;
			bool found;

			if (h->rows[s->row_first].flags != 1)
				break;
			q.accessible =
				below(h, 4) == 0 ? below(h, (uint32_t)ush_min64(q.seats, 4)) : 0;
			found = ush_best_find_area(h->event, &q, &legs);
			CHECK(area_is_right(h, &q, &legs, found));
			asked++;
			given += found;
			if (found && below(h, 2) == 0)
				take(h, &legs);
			disturb(h, below(h, 2) == 0);
			CHECK(ush_best_is_safe(h->event));
		}
		free((void *)h->inventory.events);
		free(h);
	}
	printf("# %u asked, %u given\n", asked, given);
	CHECK(given > 0 && given < asked);
}

int main(void)
{
	TAP_RUN(test_best_agrees_with_oracle);
	TAP_RUN(test_best_area_gives_what_there_is);
	return tap_end();
}
