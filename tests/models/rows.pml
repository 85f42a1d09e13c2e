/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A claim over several rows takes all of its seats or none, gives back only what is its own, calls
 * TAKEN only what is, and of claims that meet at least one wins.
 *
 * Models: dataplane/loop/decide_reserve.c: legs_test, legs_claim, try_claim;
 *         dataplane/claim/claim.c: ush_row_test, ush_row_claim, lost; claim/claim.h:
 *         ush_row_unclaim, ush_row_make_firm, ush_row_return; loop/turn.c: show_hold.
 *
 * Three loops, three rows of two seats. Loop i wants seat 0 of two rows - rows 0 and 1, 1 and 2, 0
 * and 2 - and the loop with rows 0 and 2 wants both seats of row 2. Each tries once; a winner may
 * give its seats back, as a release does. Reading `free` and swapping it are two steps, as are
 * reading `free` and reading `firm`.
 *
 * Left out, and why that loses no fault: the log (a claim that is undone leaves no record; that a
 * record stands before a bit is firm is burst.pml); legs beyond two and seats beyond two (a loss
 * needs one row in common). Memory order: every word here is read and written by atomics whose
 * order claim.c argues for; Spin runs them in one order.
 *
 * @right
 * @shortcut UNDO_ALL breaks gave_anothers: a loser sets the bits of all its legs, also those lost
 * @shortcut FREE_SAYS breaks not_taken: TAKEN is said from the free bits alone
 * @shortcut FIRM_LAST breaks firm_lost: a release clears firm bits after the seats are free
 * @shortcut REQUEST_ORDER breaks nobody_won: rows are claimed in the order of the request
 */
#define ROWS 3
#define LOOPS 3
#define NONE 255

byte open[ROWS] = 3;
byte firm[ROWS];
byte owner[6] = NONE; /* by seat; a claim in flight owns, too */
bool logged[6];
byte lost_count, done_count;
bool gave_anothers, not_taken, nobody_won, sold_twice, firm_lost, half_won;

#define SEAT(r, i) (2 * (r) + (i))
#define BIT(m, i) (((m) >> (i)) & 1)

inline own(r, m)
{
	sold_twice = (BIT(m, 0) && owner[SEAT(r, 0)] != NONE) ||
		(BIT(m, 1) && owner[SEAT(r, 1)] != NONE);
	assert(!sold_twice);
	if :: BIT(m, 0) -> owner[SEAT(r, 0)] = me :: else fi;
	if :: BIT(m, 1) -> owner[SEAT(r, 1)] = me :: else fi
}

inline disown(r, m)
{
	gave_anothers = (BIT(m, 0) && owner[SEAT(r, 0)] != me) ||
		(BIT(m, 1) && owner[SEAT(r, 1)] != me);
	assert(!gave_anothers);
	if :: BIT(m, 0) -> owner[SEAT(r, 0)] = NONE :: else fi;
	if :: BIT(m, 1) -> owner[SEAT(r, 1)] = NONE :: else fi
}

/* lost(): the second look. in: way. */
inline say(r)
{
	atomic {
#ifdef FREE_SAYS
		taken = true;
#else
		taken = (way & ~firm[r]) == 0;
#endif
		not_taken = taken && ((BIT(way, 0) && !logged[SEAT(r, 0)]) ||
			(BIT(way, 1) && !logged[SEAT(r, 1)]));
		assert(!not_taken)
	}
}

/* ush_row_claim. out: won, way. */
inline claim(r, m)
{
	seen = open[r];
	do
	:: (m & ~seen) != 0 -> way = m & ~seen; won = false; break
	:: else ->
		atomic {
			if
			:: open[r] == seen -> open[r] = seen & ~m; own(r, m); won = true; break
			:: else -> seen = open[r]
			fi
		}
	od
}

proctype loop(byte me)
{
	byte row[2], mask[2];
	byte i, seen, way;
	bool won, taken;

	atomic {
		mask[0] = 1;
		mask[1] = 1;
		if
		:: me == 0 -> row[0] = 0; row[1] = 1
		:: me == 1 -> row[0] = 1; row[1] = 2
		:: me == 2 -> row[0] = 0; row[1] = 2; mask[1] = 3
		fi;
#ifdef REQUEST_ORDER
		/* Loop 2 asked for its rows the other way around. */
		if
		:: me == 2 -> row[0] = 2; row[1] = 0; mask[0] = 3; mask[1] = 1
		:: else
		fi
#endif
	}
	/* legs_test */
	do
	:: i < 2 ->
		way = mask[i] & ~open[row[i]];
		if
		:: way != 0 -> say(row[i]); goto loser
		:: else -> i++
		fi
	:: else -> break
	od;
	/* legs_claim */
	i = 0;
	do
	:: i < 2 ->
		claim(row[i], mask[i]);
		if
		:: won -> i++
		:: else -> break
		fi
	:: i == 2 -> goto winner
	od;
	say(row[i]);
#ifdef UNDO_ALL
	i = 2;
#endif
	do
	:: i > 0 ->
		i--;
		atomic {
			disown(row[i], mask[i]);
			open[row[i]] = open[row[i]] | mask[i]
		}
	:: else -> break
	od;
loser:	lost_count++;
	goto done;
winner:	atomic {
		half_won = owner[SEAT(row[0], 0)] != me || owner[SEAT(row[1], 0)] != me;
		assert(!half_won)
	}
	/* The slot is reserved: the bits become firm, row by row. */
	i = 0;
	do
	:: i < 2 ->
		atomic {
			logged[SEAT(row[i], 0)] = true;
			if :: mask[i] == 3 -> logged[SEAT(row[i], 1)] = true :: else fi
		}
		atomic { firm[row[i]] = firm[row[i]] | mask[i]; i++ }
	:: else -> break
	od;
	if
	:: goto keep
	:: skip
	fi;
	/* ush_row_return */
	i = 0;
	do
	:: i < 2 ->
#ifndef FIRM_LAST
		firm[row[i]] = firm[row[i]] & ~mask[i];
#endif
		atomic {
			logged[SEAT(row[i], 0)] = false;
			if :: mask[i] == 3 -> logged[SEAT(row[i], 1)] = false :: else fi;
			disown(row[i], mask[i]);
			open[row[i]] = open[row[i]] | mask[i]
		}
#ifdef FIRM_LAST
		atomic {
			firm_lost = logged[SEAT(row[i], 0)];
			assert(!firm_lost);
			firm[row[i]] = firm[row[i]] & ~mask[i]
		}
#endif
		i++
	:: else -> break
	od;
keep:	skip;
done:	atomic {
		done_count++;
		nobody_won = lost_count == LOOPS;
		assert(!nobody_won)
	}
}

init {
	atomic {
		run loop(0);
		run loop(1);
		run loop(2)
	}
}
