/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Seats that come back while people wait are set aside by the change that gives them back, and
 * offered afterwards, in order; the open pool does not see them. A group gets all of its seats or
 * none, and nobody waits for seats that are there.
 *
 * Models dataplane/loop/decide_house.c: keep_leg; loop/match.c: match_event, walk, serve,
 * open_unwanted, walk_end; loop/decide_wait.c: join, try_leave; loop/show.c: show_end, show_offer,
 * show_open; wait/wait.h: ush_wait_freed; and the refusals of apply/apply_wait.c (ADR 14).
 *
 * Four seats, all held when it begins, come back on two loops, up to two on each. A group of two and
 * a person wait; another person joins meanwhile, and the one in the middle may leave. One matcher.
 * The open pool claims what is free. Seats are counted, for any is as good as any other.
 *
 * A record gets its slot and is replayed in one step: what replay makes of the log depends on the
 * order of the slots alone, so the assertions on r_* hold for a crash after each record.
 *
 * Left out, and why that loses no fault: tiers (who waits for another one holds up
 * nobody and is held up by nobody);
 * offers that lapse (a release by another name); the counters `given` and `open`, by which a join
 * is asked to come again rather than wait for seats on their way; walks in pieces (the lock is kept
 * or the walk is begun anew).
 *
 * @right
 * @shortcut COUNT_LATE breaks passed_over: a join is counted after its slot
 * @shortcut ASIDE_FIRST breaks offered_unknown: seats are set aside before their record has its slot
 * @shortcut UNLOCK_FIRST breaks out_of_turn: who leaves unlocks the list before the slot
 * @shortcut FREE_BETWEEN breaks pool_between: seats that are kept are free for a moment
 * @shortcut SMALL_FIRST breaks out_of_turn: who cannot be served holds up nobody
 * @shortcut HALF_GROUP breaks half_served: a group is offered what there is
 * @shortcut NO_BOUND breaks all_stuck: a group is waited for without an end
 * @shortcut NO_POKE breaks all_stuck: seats become free beside a join, and the matcher does not look
 */
#define LOOPS 2
#define ENDS 2             /* seats that come back on each */
#define LISTED 3

/* In memory. */
byte aside, free;
byte count = 2;            /* those who wait, read without the lock */
bool waits[LISTED];        /* the list, by place */
byte want[LISTED];
bool locked, dirty, loose, again;
/* As replay has it. */
byte r_aside, r_free;
bool r_waits[LISTED];
bool r_loose;

byte over;
bool passed_over, offered_unknown, out_of_turn, pool_between, half_served, all_stuck;

#define ANYONE (waits[0] || waits[1] || waits[2])
#define R_ANYONE (r_waits[0] || r_waits[1] || r_waits[2])
#define R_BEFORE(w) ((w > 0 && r_waits[0]) || (w > 1 && r_waits[1]))
#define IS_HEAD(w) (!(w > 0 && waits[0]) && !(w > 1 && waits[1]))

proctype release()
{
	byte left = ENDS;
	bool kept;

	if
	:: skip
	:: goto stay
	fi;
more:	/* Decided by one load of the counter. */
	atomic {
		kept = count > 0;
		passed_over = !kept && R_ANYONE;
		assert(!passed_over)
	}
#ifdef ASIDE_FIRST
	if
	:: kept -> aside++; dirty = true
	:: else
	fi;
#endif
	if
	:: kept ->
		r_aside++;
#ifdef FREE_BETWEEN
		free++;
		atomic {
			if
			:: free > 0 -> free--; aside++
			:: else
			fi
		};
		dirty = true
#else
#ifndef ASIDE_FIRST
		aside++;
		dirty = true
#endif
#endif
	:: else ->
		r_free++;
		free++;
#ifndef NO_POKE
		if
		:: count > 0 -> dirty = true
		:: else
		fi
#endif
	fi;
	atomic {
		kept = false;
		left--;
		if
		:: left > 0 -> goto more
		:: goto stay
		fi
	}
stay:	over++
}

proctype join()
{
	atomic { !locked -> locked = true }
#ifndef COUNT_LATE
	count++;
#endif
	if
	:: free >= want[2] ->
#ifndef COUNT_LATE
		count--
#endif
	:: else ->
		atomic { waits[2] = true; r_waits[2] = true }
#ifdef COUNT_LATE
		count++;
#endif
		dirty = true
	fi;
	atomic { locked = false; over++ }
}

proctype leave()
{
	if
	:: atomic { !locked -> locked = true }
	:: goto stays
	fi;
	if
	:: waits[1] ->
		waits[1] = false;
#ifdef UNLOCK_FIRST
		locked = false;
#endif
		r_waits[1] = false;
		count--;
		dirty = true
	:: else
	fi;
#ifndef UNLOCK_FIRST
	locked = false;
#endif
stays:	over++
}

/* The record of an offer of `n` seats set aside, or of free ones, to place w; and then it shows. */
inline offer(source, n)
{
	atomic {
		half_served = n != want[w];
		assert(!half_served);
		out_of_turn = !r_loose && R_BEFORE(w);
		assert(!out_of_turn);
		offered_unknown = !r_waits[w] || source < n;
		assert(!offered_unknown);
		source = source - n;
		r_waits[w] = false
	};
	count--
}

#ifdef SMALL_FIRST
#define MAY_BE(w) waits[w]
#else
#define MAY_BE(w) (waits[w] && (loose || !blocked))
#endif

#ifdef HALF_GROUP
#define ENOUGH(w) (aside > 0)
#define TAKEN(w) (aside < want[w] -> aside : want[w])
#else
#define ENOUGH(w) (aside >= want[w])
#define TAKEN(w) want[w]
#endif

#ifdef NO_BOUND
#define UP false
#else
/* The bounded time may be over whenever a group is waited for. */
#define UP (aside > 0 && ANYONE && !loose)
#endif

proctype matcher()
{
	byte w, n;
	bool blocked;

end:	do
	:: atomic { !locked && UP && !dirty && !again ->
		/* WAIT_TURN: it is everybody's turn. */
		loose = true;
		r_loose = true;
		again = true }
	:: atomic { !locked && (dirty || again) -> locked = true; dirty = false; again = false }
		w = 0;
		do
		:: w < LISTED ->
			if
			:: atomic { MAY_BE(w) && ENOUGH(w) ->
				n = TAKEN(w); aside = aside - n; waits[w] = false }
				offer(r_aside, n)
			:: atomic { MAY_BE(w) && !ENOUGH(w) && IS_HEAD(w) && free >= want[w] ->
				n = want[w]; free = free - n; waits[w] = false }
				offer(r_free, n)
			:: atomic { MAY_BE(w) && !ENOUGH(w) && !(IS_HEAD(w) && free >= want[w]) ->
				blocked = true }
			:: atomic { !MAY_BE(w) -> skip }
			fi;
			w++
		:: else -> break
		od;
		if
		/* Nobody who was met wants them. */
		:: atomic { !dirty && aside > 0 && (loose || !blocked) ->
			n = aside; aside = 0 }
			atomic {
				out_of_turn = !r_loose && R_ANYONE;
				assert(!out_of_turn);
				r_aside = r_aside - n;
				r_free = r_free + n
			};
			free = free + n
		:: else
		fi;
		atomic {
			if
			:: loose && !dirty -> loose = false; r_loose = false; again = true
			:: else
			fi;
			blocked = false; n = 0; w = 0; locked = false
		}
	od
}

proctype pool()
{
end:	do
	:: atomic { free > 0 -> free-- }
		atomic {
			pool_between = r_free == 0;
			assert(!pool_between);
			r_free--
		}
	od
}

#define STUCK(w) (waits[w] && (aside >= want[w] || (IS_HEAD(w) && free >= want[w])))

/* When nothing moves any more, nobody waits for seats that are there, and none stay aside. */
proctype audit()
{
	atomic { over == LOOPS + 2 && !dirty && !again && !locked && !UP ->
		all_stuck = aside > 0 || STUCK(0) || STUCK(1) || STUCK(2);
		assert(!all_stuck) }
}

init {
	atomic {
		want[0] = 2; want[1] = 1; want[2] = 1;
		waits[0] = true; waits[1] = true;
		r_waits[0] = true; r_waits[1] = true;
		run release();
		run release();
		run join();
		run leave();
		run matcher();
		run pool();
		run audit()
	}
}
