/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Seats that come back while people wait are offered to them, in order, and the open pool never
 * sees them; a group gets all of its seats or none, and nobody waits for ever.
 *
 * Models the rule, not yet code: a release of a tier with people waiting is one record, a release
 * that also names whom the seat is offered to or, for a group that needs more, set aside for; the
 * bit is not set. One matcher per event decides it, under a lock that is tried once. What is set
 * aside is for the head of the list, whoever that is: after a bounded time the head is passed over
 * and the next is served with what there is. Of the code it takes dataplane/loop/turn.c: loop_flush, show_end;
 * claim/claim.c: ush_row_claim; and the way of apply/apply.c to refuse what cannot have happened.
 *
 * Six seats, all held when it begins; any of them come back, each on a loop of its own. Waiting are
 * a group of two, a person, and another group of two. The open pool claims what is free.
 *
 * Left out, and why that loses no fault: joining while seats come back (it takes the matcher's
 * lock, so it is before or after); offers that lapse (a release by another name: it goes to the
 * next in the list); rows (a seat is a seat). Crash: replay follows the durable sequence, see
 * burst.pml: replayed seats are never free while anybody waits.
 *
 * @right
 * @shortcut FREE_THEN_OFFER breaks pool_between: the seat is free, then claimed for the head
 * @shortcut TWO_RECORDS breaks replay_opens: RELEASE and OFFER are two records
 * @shortcut SMALL_FIRST breaks out_of_order: a person is served before the group ahead of him
 * @shortcut HALF_GROUP breaks half_served: a group is offered what there is
 * @shortcut SPREAD breaks all_stuck: each group has a seat set aside, and no bound to the time
 */
#define SEATS 6
#define SLOTS 12
#define LISTED 3

mtype = { TAKEN, UNCLAIMED, ASIDE, OFFERED, POOL };
mtype = { FREED, GIVEN, OFFER };

mtype seat[SEATS] = TAKEN;
byte want[LISTED];        /* by place in the list */
byte aside[LISTED];       /* seats set aside; all in [0], unless SPREAD */
bool served[LISTED];
bool passed[LISTED];      /* its time was up once */
bool matcher_locked;
byte over;

mtype log_type[SLOTS];
bool log_last[SLOTS];     /* with it, nobody waits any more */
byte reserved, durable;
bool disk_empty;
bool pool_between, replay_opens, out_of_order, half_served, all_stuck;

#define WAITING(w) (!served[w])
#define ANYONE (WAITING(0) || WAITING(1) || WAITING(2))
/* The first that waits and was not passed over; else the first that waits. */
#define HEAD \
	(WAITING(0) && !passed[0] -> 0 : (WAITING(1) && !passed[1] -> 1 : \
	(WAITING(2) && !passed[2] -> 2 : (WAITING(0) -> 0 : (WAITING(1) -> 1 : 2)))))

#ifdef SPREAD
#define SET_ASIDE(w) aside[w]
#else
#define SET_ASIDE(w) aside[0]
#endif

inline write(kind)
{
	atomic { at = reserved; reserved++ }
	atomic { log_last[at] = last; log_type[at] = kind }
}

/* Which place in the list the next seat is for. */
inline choose()
{
#ifdef SMALL_FIRST
	w = (WAITING(1) -> 1 : HEAD)
#else
#ifdef SPREAD
	w = (WAITING(0) && aside[0] == 0 -> 0 : (WAITING(2) && aside[2] == 0 -> 2 : HEAD))
#else
	w = HEAD
#endif
#endif
}

inline serve()
{
	half_served = SET_ASIDE(w) < want[w];
	assert(!half_served);
	out_of_order = w != HEAD;
	assert(!out_of_order);
	SET_ASIDE(w) = SET_ASIDE(w) - want[w];
	served[w] = true
}

/* The seat is for w. Serves it if it has all it wants. */
inline hand()
{
	atomic {
		SET_ASIDE(w) = SET_ASIDE(w) + 1;
		seat[s] = ASIDE;
#ifdef HALF_GROUP
		serve()
#else
		if
		:: SET_ASIDE(w) >= want[w] -> serve()
		:: else
		fi
#endif
	}
}

proctype release(byte s)
{
	byte w, at;
	bool last;

	if
	:: atomic { !matcher_locked -> matcher_locked = true }
	:: goto kept
	fi;
	if
	:: !ANYONE ->
		last = true;
		write(FREED);
		seat[s] = UNCLAIMED
	:: else ->
		atomic { choose(); last = (SET_ASIDE(w) + 1 == want[w]) &&
			(served[0] + served[1] + served[2] == LISTED - 1) };
#ifdef FREE_THEN_OFFER
		write(GIVEN);
		seat[s] = UNCLAIMED;
		atomic {
			if
			:: seat[s] == UNCLAIMED -> seat[s] = TAKEN
			:: else -> goto out
			fi
		};
#else
#ifdef TWO_RECORDS
		write(FREED);
		write(OFFER);
#else
		write(GIVEN);
#endif
#endif
		hand()
	fi;
#ifdef FREE_THEN_OFFER
out:
#endif
	atomic { matcher_locked = false; w = 0; at = 0; last = false }
kept:	over++
}

#ifdef SPREAD
#define UP false
#else
#define UP (ANYONE && aside[0] > 0 && !passed[HEAD])
#endif

/* The head's time is up: the next is the head, and served if there is enough. */
proctype bound()
{
	byte w;
end:	do
	:: atomic { !matcher_locked && UP ->
		w = HEAD; /* first: Spin cannot undo an index that its own statement changes */
		passed[w] = true;
		w = HEAD;
		if
		:: aside[0] >= want[w] -> serve()
		:: else
		fi;
		w = 0 }
	od
}

proctype pool()
{
	byte s;
end:	do
	:: atomic { seat[0] == UNCLAIMED -> s = 0; goto claim }
	:: atomic { seat[1] == UNCLAIMED -> s = 1; goto claim }
	:: atomic { seat[2] == UNCLAIMED -> s = 2; goto claim }
	:: atomic { seat[3] == UNCLAIMED -> s = 3; goto claim }
	:: atomic { seat[4] == UNCLAIMED -> s = 4; goto claim }
	:: atomic { seat[5] == UNCLAIMED -> s = 5; goto claim }
claim:		atomic {
			pool_between = ANYONE;
			assert(!pool_between);
			seat[s] = POOL;
			s = 0
		}
	od
}

#define WOULD_DO(w) (WAITING(w) && want[w] <= aside[0] + aside[1] + aside[2])

/* When nothing moves any more, nobody waits for seats that are there. */
proctype audit()
{
	atomic { over == SEATS && !UP ->
		all_stuck = WOULD_DO(0) || WOULD_DO(1) || WOULD_DO(2);
		assert(!all_stuck) }
}

proctype writer()
{
end:	do
	:: atomic { durable < SLOTS && log_type[durable] != 0 ->
		replay_opens = log_type[durable] == FREED && !disk_empty && !log_last[durable];
		assert(!replay_opens);
		disk_empty = disk_empty || log_last[durable];
		durable++ }
	od
}

init {
	atomic {
		want[0] = 2; want[1] = 1; want[2] = 2;
		run release(0);
		run release(1);
		run release(2);
		run release(3);
		run release(4);
		run release(5);
		run bound();
		run pool();
		run audit();
		run writer()
	}
}
