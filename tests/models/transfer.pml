/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A sold hold changes hands under the locks of both users: nobody is told of it before it is
 * durable, and two transfers that cross each other do not wait for one another.
 *
 * Models: dataplane/loop/decide_pay.c: decide_transfer, lock_other, is_transferred;
 *         loop/decide_hold.c: decide_query_hold, decide_find_hold; loop/turn.c: show,
 *         show_transfer, show_step; ack/ack.h: ush_acks_pop.
 *
 * Two holds, one of each user. One loop gives the first hold to the second user, one the second to
 * the first. A third looks at either hold for either user, twice.
 *
 * Left out, and why that loses no fault: everything but locks, owner, sequence and state; crash,
 * as replay follows the durable sequence (burst.pml): who is told must be owner there.
 *
 * @right
 * @shortcut OTHER_FIRST breaks told_early: the new user is unlocked before the hold's sequence stands
 * @stuck WAIT: the second lock is waited for
 */
mtype = { SOLD, BUSY };

bool locked[2];
byte owner[2];    /* by hold */
mtype state[2] = SOLD;
byte sequence[2]; /* + 1; 0: durable long ago */
byte log[2];      /* hold + 1 */
byte reserved, durable;
byte disk_owner[2];
bool told_early;

proctype transfer(byte h)
{
	byte at;

	if
	:: atomic { !locked[h] -> locked[h] = true }
	:: goto done
	fi;
	if
	:: atomic { !locked[1 - h] -> locked[1 - h] = true }
#ifndef WAIT
	:: atomic { locked[1 - h] -> locked[h] = false; goto done } /* RETRY */
#endif
	fi;
	state[h] = BUSY;
	atomic { at = reserved; reserved++ }
	log[at] = h + 1;
	owner[h] = 1 - h;
#ifdef OTHER_FIRST
	locked[1 - h] = false;
#endif
	sequence[h] = at + 1;
	state[h] = SOLD;
#ifndef OTHER_FIRST
	locked[1 - h] = false;
#endif
	locked[h] = false;
done:	skip
}

proctype look()
{
	byte looks, h, u, waits;

	do
	:: atomic { looks < 2 -> looks++;
			if :: h = 0 :: h = 1 fi;
			if :: u = 0 :: u = 1 fi };
		if
		:: atomic { !locked[u] -> locked[u] = true }
		:: goto next
		fi;
		if
		:: owner[h] != u -> locked[u] = false; goto next /* NO_HOLD */
		:: else -> waits = sequence[h]
		fi;
		locked[u] = false;
		if
		:: durable >= waits
		fi;
		/* Told that the hold is u's: it was given to u, or u has it still on disk or had it. */
		atomic {
			told_early = u != h && disk_owner[h] != u;
			assert(!told_early)
		}
next:		atomic { h = 0; u = 0; waits = 0 }
	:: atomic { looks == 2 -> break }
	od
}

proctype writer()
{
end:	do
	:: atomic { durable < 2 && log[durable] != 0 ->
		if
		:: log[durable] == 1 -> disk_owner[0] = 1
		:: else -> disk_owner[1] = 0
		fi;
		durable++ }
	od
}

init {
	atomic {
		owner[1] = 1;
		disk_owner[1] = 1;
		run transfer(0);
		run transfer(1);
		run look();
		run writer()
	}
}
