/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows: claims that overlap, claims over several rows that cross and give back, a return against
 * claims, and the count that says sold out.
 */
#include "claim/claim.h"
#include "explore/explore.h"
#include "explore/scenarios.h"

#define SEATS 0xfull

struct claims {
	struct ush_row rows[2];
	uint32_t threads;
	/* By thread: what it owns now, and how its claim ended. */
	uint64_t owned[EXPLORE_THREADS_MAX][2];
	uint64_t way[EXPLORE_THREADS_MAX];
	uint32_t result[EXPLORE_THREADS_MAX];
};

static struct claims *c;

static void claims_setup(uint32_t threads)
{
	c = explore_alloc(sizeof(*c));
	c->threads = threads;
	for (uint32_t i = 0; i < 2; i++) {
		c->rows[i].seats = SEATS;
		atomic_init(&c->rows[i].free, SEATS);
	}
	explore_name(&c->rows[0].free, "row 0 free");
	explore_name(&c->rows[0].firm, "row 0 firm");
	explore_name(&c->rows[0].house, "row 0 house");
	explore_name(&c->rows[1].free, "row 1 free");
	explore_name(&c->rows[1].firm, "row 1 firm");
	explore_name(&c->rows[1].house, "row 1 house");
}

/* No seat has two owners, no owned seat is free, only owned seats are firm. */
static void claims_invariant(void)
{
	for (uint32_t r = 0; r < 2; r++) {
		uint64_t owned = 0, free = atomic_load(&c->rows[r].free);

		for (uint32_t i = 0; i < c->threads; i++) {
			EXPECT((owned & c->owned[i][r]) == 0);
			owned |= c->owned[i][r];
		}
		EXPECT((owned & free) == 0);
		EXPECT((atomic_load(&c->rows[r].firm) & free) == 0);
	}
}

static uint64_t owned_in(uint32_t row)
{
	uint64_t owned = 0;

	for (uint32_t i = 0; i < c->threads; i++)
		owned |= c->owned[i][row];
	return owned;
}

static void claims_conserved(void)
{
	for (uint32_t r = 0; r < 2; r++) {
		EXPECT(atomic_load(&c->rows[r].free) == (SEATS & ~owned_in(r)));
		EXPECT(atomic_load(&c->rows[r].firm) == owned_in(r));
	}
}

/* Claims of one row; a winner makes it firm. */
static void claim_one(uint32_t thread, uint32_t row, uint64_t mask)
{
	c->result[thread] = ush_row_claim(&c->rows[row], mask, &c->way[thread]);
	if (c->result[thread] != USH_CLAIM_WON)
		return;
	c->owned[thread][row] = mask;
	ush_row_make_firm(&c->rows[row], mask);
}

static const uint64_t overlap_mask[] = {0x3, 0x6, 0xc};

static void overlap_thread(uint32_t thread)
{
	claim_one(thread, 0, overlap_mask[thread]);
}

static void overlap_oracle(void)
{
	claims_conserved();
	EXPECT(owned_in(0) != 0);
	for (uint32_t i = 0; i < c->threads; i++) {
		if (c->result[i] == USH_CLAIM_WON)
			continue;
		/* Who lost was told of seats that he wanted and another has. */
		EXPECT(c->way[i] != 0);
		EXPECT((c->way[i] & ~(overlap_mask[i] & owned_in(0))) == 0);
	}
}

const struct explore_scenario explore_claim_overlap = {
	.name = "claim_overlap",
	.about = "claims of overlapping seats in one row",
	.threads_max = 3,
	.bound = {99, 99},
	.setup = claims_setup,
	.thread = overlap_thread,
	.invariant = claims_invariant,
	.oracle = overlap_oracle,
};

/* All rows or none, in the order given; a lost row gives back those before it. */
static void claim_both(uint32_t thread, const uint32_t *rows, const uint64_t *masks)
{
	for (uint32_t i = 0; i < 2; i++) {
		c->result[thread] = ush_row_claim(&c->rows[rows[i]], masks[i], &c->way[thread]);
		if (c->result[thread] == USH_CLAIM_WON) {
			c->owned[thread][rows[i]] = masks[i];
			continue;
		}
		while (i-- > 0) {
			c->owned[thread][rows[i]] = 0;
			ush_row_unclaim(&c->rows[rows[i]], masks[i]);
		}
		return;
	}
	for (uint32_t i = 0; i < 2; i++)
		ush_row_make_firm(&c->rows[rows[i]], masks[i]);
}

static void undo_thread(uint32_t thread)
{
	/* Against the order of rows, so that each can hold what the other lacks. */
	static const uint32_t rows[][2] = {{0, 1}, {1, 0}, {0, 1}};
	static const uint64_t masks[][2] = {{0x3, 0x1}, {0x3, 0x1}, {0xc, 0x2}};

	claim_both(thread, rows[thread], masks[thread]);
}

const struct explore_scenario explore_claim_undo = {
	.name = "claim_undo",
	.about = "claims over two rows that cross: a loser gives back its own seats only",
	.threads_max = 3,
	.bound = {99, 4},
	.setup = claims_setup,
	.thread = undo_thread,
	.invariant = claims_invariant,
	.oracle = claims_conserved,
};

static void return_setup(uint32_t threads)
{
	uint64_t way;

	claims_setup(threads);
	ush_row_claim(&c->rows[0], 0x7, &way);
	ush_row_make_firm(&c->rows[0], 0x7);
	c->owned[0][0] = 0x7;
}

static void return_thread(uint32_t thread)
{
	if (thread != 0) {
		claim_one(thread, 0, thread == 1 ? 0x3 : 0x6);
		return;
	}
	c->owned[0][0] = 0;
	ush_row_return(&c->rows[0], 0x7);
	/* And in again, against the others. */
	claim_one(0, 0, 0x1);
}

const struct explore_scenario explore_claim_return = {
	.name = "claim_return",
	.about = "a return of sold seats against claims of them: who is firm stays firm",
	.threads_max = 3,
	.bound = {99, 99},
	.setup = return_setup,
	.thread = return_thread,
	.invariant = claims_invariant,
	.oracle = claims_conserved,
};

/* ---- sold out ---- */

#define DURABLE 150u

struct sold {
	struct ush_event event;
	uint32_t said[EXPLORE_THREADS_MAX];
	uint32_t threads;
};

static struct sold *s;

static void sold_setup(uint32_t threads)
{
	s = explore_alloc(sizeof(*s));
	s->threads = threads;
	s->event.seat_count = 2;
	explore_name(&s->event.sold_count, "sold count");
	explore_name(&s->event.house_count, "house count");
	explore_name(&s->event.sold_out_sequence, "sold-out sequence");
}

/* The second sale's record is not durable: nobody may say sold out, but all may hint at it. */
static void sold_thread(uint32_t thread)
{
	if (thread < 2)
		ush_event_count_sold(&s->event, 1, thread == 0 ? 200 : 100);
	if (thread > 0) {
		s->said[thread] = 1 + ush_event_is_full(&s->event);
		EXPECT(!ush_event_sold_out(&s->event, DURABLE));
	}
}

static void sold_oracle(void)
{
	EXPECT(ush_event_is_full(&s->event));
	EXPECT(!ush_event_sold_out(&s->event, 200));
	EXPECT(ush_event_sold_out(&s->event, 201));
}

const struct explore_scenario explore_claim_sold_out = {
	.name = "claim_sold_out",
	.about = "the last two seats are sold at once: sold out rests on the later record",
	.threads_max = 3,
	.bound = {99, 99},
	.setup = sold_setup,
	.thread = sold_thread,
	.oracle = sold_oracle,
};
