/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a release gives to others - the seat, the hold's line, the user's count - it gives after
 * its slot is reserved.
 *
 * Models: dataplane/loop/turn.c: loop_flush, show_hold, show_end; loop/decide_hold.c:
 *         decide_release, decide_transition, expire_one (a line that another loop ended);
 *         loop/decide_reserve.c: try_claim, grant; user/user.c: lock_line, ush_user_unlock;
 *         hold/hold.c: ush_hold_take, ush_hold_give; apply/apply.c: apply_hold, apply_end.
 *
 * Two loops with one hold line each, two users with a limit of one seat, two seats; each loop
 * decides up to three requests, one a batch. Any loop may meet any user's request.
 *
 * Left out, and why that loses no fault: batches of more than one (burst.pml); generations (a line
 * in use is told from a free one by its state, as apply_hold_leg does); the window of request ids
 * (duplicate.pml); crash (the replayed state follows the durable sequence, see burst.pml).
 *
 * @right
 * @shortcut FREE_FIRST breaks sold_twice: the seat is free before the release has its slot
 * @shortcut LINE_FIRST breaks line_in_use: the line is dealt out before the release has its slot
 * @shortcut UNLOCK_FIRST breaks over_limit: the user is unlocked before the release has its slot
 */
#define TURNS 3
#define SLOTS 6
#define NONE 255

mtype = { FREE, NEW, HELD, BUSY, ENDED, HOLD, END };

bool unclaimed[2];
mtype state[2]; /* line i belongs to loop i */
byte seat_of[2], user_of[2];
bool locked[2];
byte count[2];

mtype log_type[SLOTS];
byte log_line[SLOTS], log_seat[SLOTS], log_user[SLOTS];
byte reserved, durable;

byte disk_line_of[2]; /* by seat */
bool disk_in_use[2];
byte disk_count[2];
bool sold_twice, line_in_use, ended_nothing, over_limit;

#define MAY_CLAIM (state[me] == FREE && count[u] == 0)

inline claim(seat)
{
	unclaimed[seat] = false;
	s = seat; h = me; hold = true;
	state[h] = NEW; seat_of[h] = s; user_of[h] = u
}

inline give(line)
{
	h = line; s = seat_of[h];
	state[h] = BUSY
}

proctype loop(byte me)
{
	byte turn, u, h, s, at;
	bool hold;

	do
	:: atomic { turn < TURNS -> turn++ };
		if
		:: state[me] == ENDED -> state[me] = FREE
		:: skip
		fi;
		/* Tried once; whoever finds it locked answers RETRY. */
		if
		:: atomic { !locked[0] -> locked[0] = true; u = 0 }
		:: atomic { !locked[1] -> locked[1] = true; u = 1 }
		:: goto next
		fi;
		if
		:: atomic { MAY_CLAIM && unclaimed[0] -> claim(0) }
		:: atomic { MAY_CLAIM && unclaimed[1] -> claim(1) }
		:: atomic { state[0] == HELD && user_of[0] == u -> give(0) }
		:: atomic { state[1] == HELD && user_of[1] == u -> give(1) }
		:: atomic { else -> locked[u] = false; goto next }
		fi;
		if
		:: hold
		:: else ->
#ifdef FREE_FIRST
		unclaimed[s] = true;
#endif
#ifdef LINE_FIRST
		state[h] = (h == me -> FREE : ENDED);
#endif
#ifdef UNLOCK_FIRST
		atomic { count[u] = count[u] - 1; locked[u] = false }
#endif
			skip
		fi;
		atomic { at = reserved; reserved++ }
		atomic {
			log_line[at] = h; log_seat[at] = s; log_user[at] = u;
			log_type[at] = (hold -> HOLD : END)
		}
		if
		:: hold -> state[h] = HELD; count[u] = count[u] + 1; locked[u] = false
		:: else ->
#ifndef FREE_FIRST
			unclaimed[s] = true;
#endif
#ifndef UNLOCK_FIRST
			count[u] = count[u] - 1;
#endif
#ifndef LINE_FIRST
			state[h] = (h == me -> FREE : ENDED);
#endif
#ifndef UNLOCK_FIRST
			locked[u] = false
#endif
		fi;
next:		atomic { u = 0; h = 0; s = 0; at = 0; hold = false }
	:: atomic { turn == TURNS -> break }
	od
}

proctype writer()
{
	byte h, s, u;
end:	do
	:: atomic { durable < SLOTS && log_type[durable] != 0 ->
		h = log_line[durable]; s = log_seat[durable]; u = log_user[durable];
		if
		:: log_type[durable] == HOLD ->
			sold_twice = disk_line_of[s] != NONE;
			assert(!sold_twice);
			line_in_use = disk_in_use[h];
			assert(!line_in_use);
			disk_line_of[s] = h;
			disk_in_use[h] = true;
			disk_count[u] = disk_count[u] + 1;
			over_limit = disk_count[u] > 1;
			assert(!over_limit)
		:: else ->
			ended_nothing = disk_line_of[s] != h;
			assert(!ended_nothing);
			disk_line_of[s] = NONE;
			disk_in_use[h] = false;
			disk_count[u] = disk_count[u] - 1
		fi;
		durable++;
		h = 0; s = 0; u = 0 }
	od
}

init {
	atomic {
		state[0] = HELD; seat_of[0] = 0; user_of[0] = 0; count[0] = 1;
		disk_in_use[0] = true; disk_line_of[0] = 0; disk_count[0] = 1;
		state[1] = FREE; unclaimed[1] = true; disk_line_of[1] = NONE;
		run loop(0);
		run loop(1);
		run writer()
	}
}
