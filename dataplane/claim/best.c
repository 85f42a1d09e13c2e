/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The search for the best seats.
 *
 * Happy path: the words of the index give the segments that may have a run of k, in the order of
 * the event's objective; the first that has one wins, and of its windows the one nearest to the
 * middle of the row. First only places that leave no single seat behind, then any.
 *
 * Failure modes: the index promised too much: the bit is cleared and the search goes on. No run
 * anywhere: the group is split as the event allows, or nothing is found.
 */
#include "claim/best_row.h"

struct search {
	const struct ush_event *event;
	/* The index: it has all rows of the query. */
	const struct ush_best *best;
	const struct ush_best_query *query;
	/* What has been chosen so far. */
	struct ush_best_legs *legs;
	/* The run looked for. */
	uint32_t seats;
	int32_t tier;
	bool clean;
	bool joined;
	/* Seats of the second row of a split; 0: none. */
	uint32_t second;
	uint32_t row_first;
	uint32_t row_end;
};

static uint32_t segment_of(const struct ush_best *best, uint32_t row)
{
	if (best->row_segment == NULL)
		return row;
	return row == best->row_count ? best->segment_count : best->row_segment[row];
}

static void add_leg(struct ush_best_legs *legs, uint32_t row, uint64_t mask)
{
	uint32_t at = legs->count;

	for (uint32_t i = 0; i < legs->count; i++) {
		if (legs->row[i] == row) {
			legs->mask[i] |= mask;
			return;
		}
	}
	USH_ASSERT(at < USH_LEG_COUNT_MAX);
	for (; at > 0 && legs->row[at - 1] > row; at--) {
		legs->row[at] = legs->row[at - 1];
		legs->mask[at] = legs->mask[at - 1];
	}
	legs->row[at] = (uint16_t)row;
	legs->mask[at] = mask;
	legs->count++;
}

/* ---- one row ---- */

/* ret: true if each companion seat has a wheelchair place of its own beside it. */
static bool companions_sit_beside(ush_u128 accessible, ush_u128 companion)
{
	for (uint32_t i = 0; companion >> i != 0; i++) {
		ush_u128 left = i > 0 ? (ush_u128)1 << (i - 1) : 0, right = (ush_u128)2 << i;

		if ((companion >> i & 1) == 0)
			continue;
		if ((accessible & left) != 0)
			accessible &= ~left;
		else if ((accessible & right) != 0)
			accessible &= ~right;
		else
			return false;
	}
	return true;
}

static uint32_t popcount128(ush_u128 word)
{
	return ush_popcount64((uint64_t)word) + ush_popcount64((uint64_t)(word >> 64));
}

/* ret: the starts whose windows have just the special seats that were asked for. */
static ush_u128 special_starts(
	const struct search *s, uint32_t row, const struct best_view *view, ush_u128 starts)
{
	const struct ush_best_special *here = best_special(s->event, row), *next = NULL;
	ush_u128 accessible = 0, companion = 0, result = 0;

	if (best_follows(s->event, row + 1))
		next = best_special(s->event, row + 1);
	if (here != NULL) {
		accessible = (ush_u128)here->accessible << BEST_BASE;
		companion = (ush_u128)here->companion << BEST_BASE;
	}
	if (next != NULL) {
		accessible |= (ush_u128)next->accessible << (BEST_BASE + view->width);
		companion |= (ush_u128)next->companion << (BEST_BASE + view->width);
	}
	for (uint32_t i = BEST_BASE; i < BEST_BASE + view->width; i++) {
		ush_u128 window = (((ush_u128)1 << s->seats) - 1) << i;

		if ((starts >> i & 1) != 0 &&
			popcount128(window & accessible) == s->query->accessible &&
			popcount128(window & companion) == s->query->companion &&
			companions_sit_beside(window & accessible, window & companion))
			result |= (ush_u128)1 << i;
	}
	return result;
}

/* ret: where runs of `seats` may start in a row, by all the rules. */
static ush_u128 row_starts(
	const struct search *s, uint32_t row, uint32_t seats, struct best_view *view)
{
	const struct best_want want = {.tier = s->tier,
		.special = s->query->accessible != 0,
		/* What a filter by section leaves out is out of reach. */
		.joined = s->joined && row + 1 < s->row_end,
		.chosen = s->legs};
	ush_u128 starts;

	best_view(s->event, row, &want, view);
	starts = best_starts(view, seats);
	if (s->clean)
		starts = best_clean(view, starts, seats);
	if (starts != 0 && want.special)
		starts = special_starts(s, row, view, starts);
	return starts;
}

static void take_window(struct search *s, uint32_t row, const struct best_view *view,
	uint32_t start, uint32_t seats)
{
	uint64_t next, mask = best_window(view, start, seats, &next);

	add_leg(s->legs, row, mask);
	if (next != 0)
		add_leg(s->legs, row + 1, next);
}

/* ---- two rows ---- */

/* ret: the first block of the long row that `row` is part of. */
static uint32_t row_start(const struct search *s, uint32_t row)
{
	while (row > s->row_first && (ush_event_row(s->event, row)->flags & BEST_CONTINUES) != 0)
		row--;
	return row;
}

static uint32_t row_stop(const struct search *s, uint32_t row)
{
	for (row++;
		row < s->row_end && (ush_event_row(s->event, row)->flags & BEST_CONTINUES) != 0;)
		row++;
	return row;
}

/* ret: the block behind (or before) `row`, the same place in the next row of the section; the row
 * itself when there is none. */
static uint32_t neighbour(const struct search *s, uint32_t row, bool behind)
{
	uint32_t start = row_start(s, row), place = row - start, first, stop;

	if (behind) {
		first = row_stop(s, row);
		if (first >= s->row_end)
			return row;
	} else {
		if (start == s->row_first)
			return row;
		first = row_start(s, start - 1);
	}
	if (ush_event_row(s->event, first)->section != ush_event_row(s->event, row)->section)
		return row;
	stop = row_stop(s, first);
	return first + place < stop ? first + place : stop - 1;
}

/* ret: true if the second part of a split fits behind or before the first, nearest to it. */
static bool take_second(struct search *s, uint32_t row, uint32_t centre)
{
	for (uint32_t i = 0; i < 2; i++) {
		uint32_t other = neighbour(s, row, i == 0);
		struct best_view view;
		ush_u128 starts;

		if (other == row || (ush_event_row(s->event, other)->flags & BEST_GENERAL) != 0)
			continue;
		starts = row_starts(s, other, s->second, &view);
		if (starts == 0)
			continue;
		take_window(s, other, &view, best_nearest(starts, s->second, centre), s->second);
		return true;
	}
	return false;
}

/* ret: true if the row has a place; it is then in s->legs. *any: it has one, as far as the row by
 * itself goes. */
static bool take_row(struct search *s, uint32_t row, bool *any)
{
	struct best_view view;
	ush_u128 starts = row_starts(s, row, s->seats, &view);
	uint32_t start;

	*any = starts != 0;
	if (starts == 0)
		return false;
	start = best_nearest(starts, s->seats, view.centre);
	if (s->second != 0 && !take_second(s, row, 2 * start + s->seats))
		return false;
	take_window(s, row, &view, start, s->seats);
	return true;
}

/* ---- the walk over the index ---- */

/* The bit of a segment seems to be wrong. ret: true if it is not, by now. */
static bool repair(struct search *s, _Atomic uint64_t *word, uint32_t segment, uint32_t row)
{
	const struct ush_best *best = s->best;
	uint64_t bit = 1ull << (segment & 63);
	struct search whole = *s;
	struct ush_best_legs none = {0};
	struct best_view view;
	bool found;

	/* Where something is chosen already, or a window is kept out of the next block, the row by
	 * itself may have more. */
	if (s->legs->count != 0 || (!s->joined && best_follows(s->event, row + 1)))
		return false;
	if (s->row_end <= row + 1 && best_follows(s->event, row + 1))
		return false;
	whole.legs = &none;
	whole.seats = s->seats < USH_BEST_CLASSES ? s->seats : USH_BEST_CLASSES;
	/* A block of one tier has one segment for that tier and for any, and the block after it may
	 * be of another. */
	if (best_follows(s->event, row + 1) &&
		(best->row_segment == NULL || segment == best->row_segment[row]))
		whole.tier = BEST_TIER_ANY;
	atomic_fetch_and_explicit(word, ~bit, memory_order_seq_cst);
	found = row_starts(&whole, row, whole.seats, &view) != 0;
	if (found)
		atomic_fetch_or_explicit(word, bit, memory_order_seq_cst);
	return found && whole.seats == s->seats;
}

/* ret: the next candidate of `bits`: in bands from the low end (or the high), each band from
 * another place by `turn`. */
static uint32_t next_bit(uint64_t bits, uint32_t turn, bool down)
{
	uint32_t band = down ? (63u - (uint32_t)__builtin_clzll(bits)) & ~7u
			     : (uint32_t)__builtin_ctzll(bits) & ~7u;
	uint32_t byte = bits >> band & 0xff, shift = turn & 7;

	if (down) {
		byte = ((byte << shift) | (byte >> (8 - shift))) & 0xff;
		return band + ((31u - (uint32_t)__builtin_clz(byte) - shift) & 7);
	}
	byte = ((byte >> shift) | (byte << (8 - shift))) & 0xff;
	return band + (((uint32_t)__builtin_ctz(byte) + shift) & 7);
}

/* One word of the index. ret: true if a segment in it has a place. */
static bool take_group(struct search *s, uint32_t group, uint64_t range)
{
	const struct ush_best *best = s->best;
	uint32_t class = (s->seats < USH_BEST_CLASSES ? s->seats : USH_BEST_CLASSES) - 1;
	/* What leaves no orphan is known up to 8 seats only. */
	_Atomic uint64_t *word = s->clean && s->seats <= USH_BEST_CLASSES
					 ? &best->groups[group].clean[class]
					 : &best->groups[group].fits[class];
	bool exact = !s->clean || s->seats <= USH_BEST_CLASSES;
	const uint64_t *fixed = s->tier == BEST_TIER_ANY
					? best->whole
					: best->tier_segments + (size_t)s->tier * best->group_count;
	uint64_t bits = atomic_load_explicit(word, memory_order_seq_cst) & fixed[group] & range;

	while (bits != 0) {
		uint32_t at = next_bit(
			bits, s->query->turn, s->query->objective == USH_BEST_OBJECTIVE_BACK);
		uint32_t segment = group * 64 + at;
		uint32_t row = best->row_segment != NULL ? best->segment_row[segment] : segment;
		bool any;

		bits &= ~(1ull << at);
		if (take_row(s, row, &any))
			return true;
		if (!any && exact && repair(s, word, segment, row) && take_row(s, row, &any))
			return true;
	}
	return false;
}

/* Segments [from, to), up or down. */
static bool take_range(struct search *s, uint32_t from, uint32_t to)
{
	uint32_t first = from >> 6, last, count;

	if (from >= to)
		return false;
	last = (to - 1) >> 6;
	count = last - first + 1;
	for (uint32_t i = 0; i < count; i++) {
		bool down = s->query->objective == USH_BEST_OBJECTIVE_BACK;
		uint32_t group = down ? last - i : first + i;
		uint64_t range = ~0ull;

		if (group == first)
			range &= ~0ull << (from & 63);
		if (group == last)
			range &= ~0ull >> (63 - ((to - 1) & 63));
		if (take_group(s, group, range))
			return true;
	}
	return false;
}

/* Groups with wheelchair places: the few rows that have any. */
static bool take_special(struct search *s)
{
	const struct ush_best *best = s->best;
	bool down = s->query->objective == USH_BEST_OBJECTIVE_BACK, any;

	for (uint32_t i = 0; i < best->special_count; i++) {
		uint32_t row = best->special[down ? best->special_count - 1 - i : i].row;

		if (row < s->row_first || row >= s->row_end ||
			(ush_event_row(s->event, row)->flags & BEST_GENERAL) != 0)
			continue;
		/* The window may start in the block before. */
		bool before = row > s->row_first && s->joined && best_follows(s->event, row);

		if (before && !down && take_row(s, row - 1, &any))
			return true;
		if (take_row(s, row, &any) || (before && down && take_row(s, row - 1, &any)))
			return true;
	}
	return false;
}

/* ret: true if a run of s->seats of tier s->tier was found in s's rows. */
static bool take_run(struct search *s)
{
	const struct ush_best *best = s->best;
	uint32_t from, to, middle;

	if (s->query->accessible != 0)
		return take_special(s);
	from = segment_of(best, s->row_first);
	to = segment_of(best, s->row_end);
	if (s->query->objective != USH_BEST_OBJECTIVE_SPREAD)
		return take_range(s, from, to);
	middle = from + (uint32_t)(((uint64_t)(to - from) * s->query->start) >> 32);
	return take_range(s, middle, to) || take_range(s, from, middle);
}

/* The same by the query's tier; when the price counts, tier by tier from the cheapest. */
static bool take_run_of_tiers(struct search *s)
{
	const struct ush_prices *prices = ush_event_prices(s->event);

	s->tier = s->query->tier_given ? s->query->tier : BEST_TIER_ANY;
	if (!s->query->tier_given && s->query->objective == USH_BEST_OBJECTIVE_PRICE) {
		for (uint32_t i = 0; i < prices->tier_count; i++) {
			s->tier = prices->order[i];
			if (take_run(s))
				return true;
		}
		s->tier = BEST_TIER_ANY;
	}
	return take_run(s);
}

/* ---- splitting ---- */

/* Two parts, as equal as can be, nobody alone unless there are two or three. The larger one is
 * looked for first, the other behind or before it. Where rows have different numbers of blocks, A
 * may lie behind B without B lying before A: then the smaller one is looked for first. */
static bool take_two_rows(struct search *s)
{
	uint32_t seats = s->query->seats, least = seats >= 4 ? 2 : 1;

	s->joined = false;
	for (uint32_t clean = s->query->avoid_orphans ? 2 : 1; clean-- > 0;) {
		s->clean = clean != 0;
		for (uint32_t small = seats >> 1; small >= least; small--) {
			if (seats - small > USH_BEST_RUN_MAX)
				break;
			s->second = small;
			s->seats = seats - small;
			if (take_run_of_tiers(s))
				return true;
			s->second = seats - small;
			s->seats = small;
			if (s->second != s->seats && take_run_of_tiers(s))
				return true;
		}
	}
	s->second = 0;
	return false;
}

/* Largest parts first, within one section. */
static bool take_parts(struct search *s)
{
	uint32_t left = s->query->seats, part = left < USH_BEST_RUN_MAX ? left : USH_BEST_RUN_MAX;

	s->legs->count = 0;
	while (left != 0) {
		s->seats = part;
		if (s->legs->count < s->query->leg_max && take_run_of_tiers(s)) {
			left -= part;
			part = part < left ? part : left;
		} else if (--part == 0) {
			s->legs->count = 0;
			return false;
		}
	}
	return true;
}

/* The row blocks with the most seats for the group, fullest first; of equal ones the first. */
struct fullest {
	uint32_t count;
	uint32_t row[USH_LEG_COUNT_MAX];
	uint32_t seats[USH_LEG_COUNT_MAX];
	uint64_t mask[USH_LEG_COUNT_MAX];
};

static void note_fullest(struct fullest *f, uint32_t room, uint32_t row, uint64_t mask)
{
	uint32_t seats = ush_popcount64(mask), at = f->count;

	if (at == room && (room == 0 || seats <= f->seats[at - 1]))
		return;
	at = at == room ? at - 1 : at;
	f->count = at + 1;
	for (; at > 0 && f->seats[at - 1] < seats; at--) {
		f->row[at] = f->row[at - 1];
		f->seats[at] = f->seats[at - 1];
		f->mask[at] = f->mask[at - 1];
	}
	f->row[at] = row;
	f->seats[at] = seats;
	f->mask[at] = mask;
}

/* ret: the lowest `count` bits of a word that has so many. */
static uint64_t lowest_bits(uint64_t word, uint32_t count)
{
	uint64_t rest = word;

	for (; count > 0; count--)
		rest &= rest - 1;
	return word & ~rest;
}

/* Parts of which the largest comes first may need more rows than the answer may touch, where fewer
 * have the seats. The fullest rows have them if any do. cost: one look at each row block of the
 * section that the index does not call empty. */
static bool take_fullest(struct search *s)
{
	const struct ush_best *best = s->best;
	const struct best_want want = {
		.tier = s->query->tier_given ? s->query->tier : BEST_TIER_ANY};
	uint32_t left = s->query->seats;
	struct fullest f = {0};

	for (uint32_t row = s->row_first; row < s->row_end; row++) {
		uint32_t segment = segment_of(best, row);
		_Atomic uint64_t *word = &best->groups[segment >> 6].fits[0];
		struct best_view view;

		if ((ush_event_row(s->event, row)->flags & BEST_GENERAL) != 0 ||
			(atomic_load_explicit(word, memory_order_seq_cst) >> (segment & 63) & 1) ==
				0)
			continue;
		best_view(s->event, row, &want, &view);
		if (view.pick != 0)
			note_fullest(
				&f, s->query->leg_max, row, (uint64_t)(view.pick >> BEST_BASE));
	}
	s->legs->count = 0;
	for (uint32_t i = 0; i < f.count && left != 0; i++) {
		uint32_t take = f.seats[i] < left ? f.seats[i] : left;

		add_leg(s->legs, f.row[i], lowest_bits(f.mask[i], take));
		left -= take;
	}
	if (left != 0)
		s->legs->count = 0;
	return left == 0;
}

/* Each section that the query's rows begin with. ret: true if `take` found seats in one. */
static bool take_in_sections(struct search *s, bool (*take)(struct search *s))
{
	const struct ush_best_query *q = s->query;
	uint32_t sections = ush_event_section_count(s->event);
	bool down = q->objective == USH_BEST_OBJECTIVE_BACK;

	for (uint32_t i = 0; i < sections; i++) {
		const struct ush_venue_section *at =
			ush_event_section(s->event, down ? sections - 1 - i : i);

		if (at->row_first < q->row_first || at->row_first >= q->row_end)
			continue;
		s->row_first = at->row_first;
		s->row_end = at->row_first + at->row_count;
		if (take(s))
			return true;
	}
	return false;
}

static bool take_same_section(struct search *s)
{
	s->joined = false;
	s->clean = false;
	return take_in_sections(s, take_parts) || take_in_sections(s, take_fullest);
}

bool ush_best_find(
	struct ush_event *event, const struct ush_best_query *query, struct ush_best_legs *legs)
{
	struct search s = {.event = event,
		.best = best_of(event),
		.query = query,
		.legs = legs,
		.seats = query->seats,
		.joined = query->leg_max > 1,
		.row_first = query->row_first,
		.row_end = query->row_end};

	legs->count = 0;
	USH_ASSERT(query->seats >= 1);
	if (atomic_load_explicit(&event->best_used, memory_order_relaxed) == 0)
		atomic_store_explicit(&event->best_used, 1, memory_order_seq_cst);
	if (query->seats <= USH_BEST_RUN_MAX) {
		s.clean = true;
		if (query->avoid_orphans && take_run_of_tiers(&s))
			return true;
		s.clean = false;
		if (take_run_of_tiers(&s))
			return true;
	}
	if (query->seats < 2 || query->leg_max < 2 || query->accessible != 0)
		return false;
	switch (query->split) {
	case USH_BEST_SPLIT_TWO_ROWS:
		return take_two_rows(&s);
	case USH_BEST_SPLIT_SAME_SECTION:
		return take_same_section(&s);
	default:
		return false;
	}
}

/* ret: the seats of a row among the legs. */
static uint64_t leg_of(const struct ush_best_legs *legs, uint32_t row)
{
	for (uint32_t i = 0; i < legs->count; i++) {
		if (legs->row[i] == row)
			return legs->mask[i];
	}
	return 0;
}

bool ush_best_orphans(const struct ush_event *event, const struct ush_best_legs *legs,
	const struct ush_best_legs *given, uint32_t index, uint64_t *seats)
{
	const struct best_want want = {.tier = BEST_TIER_ANY, .chosen = legs, .given = given};
	uint32_t row = legs->row[index];
	ush_u128 taken = (ush_u128)legs->mask[index] << BEST_BASE, single;
	struct best_view view;

	*seats = 0;
	if (ush_row_is_general(ush_event_row(event, row)))
		return false;
	best_view(event, row, &want, &view);
	if (best_follows(event, row + 1))
		taken |= (ush_u128)leg_of(legs, row + 1) << (BEST_BASE + view.width);
	/* Of the block before, the last seat matters: it may be taken, or left single. */
	if (best_follows(event, row))
		taken |= leg_of(legs, row - 1) >> (best_width(ush_event_row(event, row - 1)) - 1)
							  << (BEST_BASE - 1);
	/* Seats of this block, and the one on either side. */
	single = view.free & ~(view.free << 1) & ~(view.free >> 1);
	single &= (taken << 1) | (taken >> 1);
	single &= (((ush_u128)1 << (view.width + 2)) - 1) << (BEST_BASE - 1);
	*seats = (uint64_t)(single >> BEST_BASE) & ush_event_row(event, row)->seats;
	return single != 0;
}

/* ---- general admission ---- */

/* ret: free places of a row: ordinary ones, or wheelchair places. */
static uint64_t area_free(const struct ush_event *event, uint32_t row, bool accessible)
{
	uint64_t free =
		atomic_load_explicit(&ush_event_row(event, row)->free, memory_order_seq_cst);
	const struct ush_best_special *special = best_special(event, row);

	if (accessible)
		return special != NULL ? free & special->accessible : 0;
	return special != NULL ? free & ~special->accessible : free;
}

/* ret: the row with the most free places of a kind that is no leg yet; one that has `enough` ends
 * the search. *most: how many. */
static uint32_t area_fullest(const struct ush_event *event, const struct ush_best_query *q,
	const struct ush_best_legs *legs, bool accessible, uint32_t enough, uint32_t *most)
{
	const struct ush_best *best = best_of(event);
	uint32_t rows = q->row_end - q->row_first, found = q->row_first;
	uint32_t begin = (uint32_t)(((uint64_t)rows * q->start) >> 32);

	*most = 0;
	for (uint32_t i = 0; i < rows && *most < enough; i++) {
		uint32_t row = q->row_first + (begin + i < rows ? begin + i : begin + i - rows);
		uint32_t segment = segment_of(best, row);
		_Atomic uint64_t *word = &best->groups[segment >> 6].fits[0];
		uint64_t bit = 1ull << (segment & 63), free;
		bool known = false;

		if ((atomic_load_explicit(word, memory_order_seq_cst) & bit) == 0)
			continue;
		for (uint32_t j = 0; j < legs->count; j++)
			known |= legs->row[j] == row;
		free = area_free(event, row, accessible);
		if (!known && ush_popcount64(free) > *most) {
			*most = ush_popcount64(free);
			found = row;
		}
		if (atomic_load_explicit(&ush_event_row(event, row)->free, memory_order_seq_cst) !=
			0)
			continue;
		/* An empty word; see ush_best_note. */
		atomic_fetch_and_explicit(word, ~bit, memory_order_seq_cst);
		if (atomic_load_explicit(&ush_event_row(event, row)->free, memory_order_seq_cst) !=
			0)
			atomic_fetch_or_explicit(word, bit, memory_order_seq_cst);
	}
	return found;
}

static bool area_take(const struct ush_event *event, const struct ush_best_query *q,
	struct ush_best_legs *legs, bool accessible, uint32_t left)
{
	/* A row that is a leg already may have places of the other kind. */
	for (uint32_t i = 0; i < legs->count && left != 0; i++) {
		uint64_t free = area_free(event, legs->row[i], accessible) & ~legs->mask[i];
		uint32_t take = ush_popcount64(free) < left ? ush_popcount64(free) : left;

		legs->mask[i] |= lowest_bits(free, take);
		left -= take;
	}
	while (left != 0) {
		uint32_t most, take;
		uint32_t row = area_fullest(event, q, legs, accessible, left, &most);
		uint64_t free = area_free(event, row, accessible);

		most = ush_popcount64(free) < most ? ush_popcount64(free) : most;
		if (most == 0 || legs->count == q->leg_max)
			return false;
		take = most < left ? most : left;
		add_leg(legs, row, lowest_bits(free, take));
		left -= take;
	}
	return true;
}

bool ush_best_find_area(
	struct ush_event *event, const struct ush_best_query *query, struct ush_best_legs *legs)
{
	legs->count = 0;
	if (atomic_load_explicit(&event->best_used, memory_order_relaxed) == 0)
		atomic_store_explicit(&event->best_used, 1, memory_order_seq_cst);
	return area_take(event, query, legs, true, query->accessible) &&
	       area_take(event, query, legs, false, query->seats - query->accessible);
}
