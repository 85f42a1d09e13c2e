/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Users' lines stay locked until the batch is visible, and nobody waits for one: so somebody always
 * gets on, and every request is decided in the end if its client keeps asking.
 *
 * Models: dataplane/loop/decide_hold.c: decide_lock_user (OWN, BUSY), expire_one;
 *         dataplane/user/user.c: lock_line; loop/turn.c: take_burst, loop_flush, show.
 *
 * Two loops, each with bursts of two requests: of users 0 and 1 in one order on one loop, and in
 * the other order on the other. A request that finds its line locked by the other loop answers
 * RETRY, and its client asks again in the next burst; one that finds it locked by its own loop
 * makes the batch flush first; what was left of the burst comes in the next. Loop 0 may also have both requests of one user.
 *
 * Left out, and why that loses no fault: everything else, as all that matters here is who holds
 * what while asking for more.
 *
 * Progress is a batch that is flushed with something in it, under weak fairness: a loop that can
 * go on does so.
 *
 * @right
 * @live: batches go on being flushed, as long as there are requests
 * @stuck WAIT: a loop waits for a line while its batch has others locked
 * @shortcut NO_OWN breaks own_again: a line locked by this loop's own batch is taken once more
 */
#define NOBODY 2

byte by[2] = NOBODY;
bool own_again, lost_lock;

inline flush()
{
	if
	:: n > 0 ->
progress:	n = 0
	:: else
	fi;
	if
	:: mine[0] -> atomic { lost_lock = by[0] != me; assert(!lost_lock); by[0] = NOBODY;
		mine[0] = false }
	:: else
	fi;
	if
	:: mine[1] -> atomic { lost_lock = by[1] != me; assert(!lost_lock); by[1] = NOBODY;
		mine[1] = false }
	:: else
	fi
}

proctype loop(byte me)
{
	byte u, i, n;
	bool mine[2];

	do
	:: /* A burst. */
		i = 0;
		do
		:: i < 2 ->
			if
			:: u = (i + me) % 2
			:: me == 0 -> u = 0
			fi;
			if
#ifdef NO_OWN
			:: mine[u] -> atomic { own_again = true; assert(!own_again) }
#else
			:: mine[u] -> goto leave
#endif
			:: atomic { !mine[u] && by[u] == NOBODY -> by[u] = me; mine[u] = true; n++ }
#ifndef WAIT
			:: !mine[u] && by[u] == 1 - me /* RETRY */
#endif
			fi;
			i++
		:: else -> break
		od;
leave:		flush()
	od
}

init {
	atomic {
		run loop(0);
		run loop(1)
	}
}
