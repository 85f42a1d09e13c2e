/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Slots are reserved after the burst is decided, and holds are shown after their slots.
 *
 * Models: dataplane/loop/turn.c: loop_flush, batch_begin, show_hold, show_end;
 *         dataplane/loop/decide_reserve.c: legs_claim, grant; decide_hold.c: decide_transition;
 *         dataplane/claim/claim.c: ush_row_claim; hold/hold.c: ush_hold_take, ush_hold_give;
 *         dataplane/log/log.c: ush_log_append; dataplane/apply/apply.c: apply_hold, apply_end.
 *
 * Two loops, two turns each, up to two requests a turn, over two seats, one of which is held when
 * it begins. A request claims a free seat or ends a hold; which, is left open.
 *
 * Left out, and why that loses no fault: users and request ids (any loop may end any hold: more
 * runs, not fewer); headers and pads of blocks (they move sequences, not their order); expiry (a
 * release by another name); seats of one row in one word (a claim is one atomic step either way).
 * A crash needs no step of its own: what replay makes of the durable prefix depends on nothing
 * but the prefix, so `apply` follows the durable sequence record by record, and its checks hold
 * for a crash after each of them.
 *
 * @right
 * @shortcut RESERVE_FIRST breaks sold_twice: slots are reserved before the claims are decided
 * @shortcut SHOW_FIRST breaks ended_nothing: a new hold is HELD before its slot is reserved
 */
#define SEATS 2
#define TURNS 2
#define BURST 2
#define HOLDS 5 /* hold 0 is there at the start, then two lines a loop */
#define SLOTS 8
#define NONE 255

mtype = { FREE, NEW, HELD, BUSY, HOLD, END, PAD };

bool unclaimed[SEATS];
mtype state[HOLDS];
byte seat_of[HOLDS];

mtype log_type[SLOTS];
byte log_hold[SLOTS];
byte log_seat[SLOTS];
byte reserved, durable;

byte disk_owner[SEATS];
bool sold_twice, ended_nothing;

inline try_claim(s)
{
	if
	:: state[1 + 2 * me] == FREE -> h = 1 + 2 * me
	:: else -> h = 2 + 2 * me
	fi;
	unclaimed[s] = false;
	state[h] = NEW;
	seat_of[h] = s;
	kind[n] = HOLD;
	hold[n] = h;
	n++
}

inline try_end(g)
{
	state[g] = BUSY;
	kind[n] = END;
	hold[n] = g;
	n++
}

#define LINE (state[1 + 2 * me] == FREE || state[2 + 2 * me] == FREE)

proctype loop(byte me)
{
	byte turn, n, i, first, h;
	mtype kind[BURST];
	byte hold[BURST];

	do
	:: turn < TURNS ->
#ifdef RESERVE_FIRST
		atomic { first = reserved; reserved = reserved + BURST; }
#endif
		do
		:: atomic { n < BURST && LINE && unclaimed[0] -> try_claim(0) }
		:: atomic { n < BURST && LINE && unclaimed[1] -> try_claim(1) }
		:: atomic { n < BURST && state[0] == HELD -> try_end(0) }
		:: atomic { n < BURST && state[1] == HELD -> try_end(1) }
		:: atomic { n < BURST && state[2] == HELD -> try_end(2) }
		:: atomic { n < BURST && state[3] == HELD -> try_end(3) }
		:: atomic { n < BURST && state[4] == HELD -> try_end(4) }
		:: break
		od;
#ifdef SHOW_FIRST
		do
		:: i < n && kind[i] == HOLD -> state[hold[i]] = HELD; i++
		:: i < n && kind[i] == END -> i++
		:: i == n -> i = 0; break
		od;
#endif
#ifndef RESERVE_FIRST
		atomic { first = reserved; reserved = reserved + n; }
#endif
		do
		:: atomic { i < n ->
			log_hold[first + i] = hold[i];
			log_seat[first + i] = seat_of[hold[i]];
			log_type[first + i] = kind[i];
			i++ }
#ifdef RESERVE_FIRST
		:: atomic { i >= n && i < BURST -> log_type[first + i] = PAD; i++ }
		:: i == BURST -> break
#else
		:: i == n -> break
#endif
		od;
		i = 0;
		do
		:: atomic { i < n && kind[i] == HOLD ->
#ifndef SHOW_FIRST
			state[hold[i]] = HELD;
#endif
			i++ }
		:: i < n && kind[i] == END ->
			unclaimed[seat_of[hold[i]]] = true;
			atomic { state[hold[i]] = FREE; i++ }
		:: i == n -> break
		od;
		atomic {
			i = 0;
			do
			:: i < BURST -> kind[i] = 0; hold[i] = 0; i++
			:: else -> break
			od;
			n = 0; i = 0; first = 0; h = 0;
			turn++
		}
	:: else -> break
	od
}

/* The journal and, step by step, apply(). */
proctype writer()
{
	byte h, s;
end:	do
	:: atomic { durable < SLOTS && log_type[durable] != 0 ->
		h = log_hold[durable];
		s = log_seat[durable];
		if
		:: log_type[durable] == HOLD ->
			sold_twice = disk_owner[s] != NONE;
			assert(!sold_twice);
			disk_owner[s] = h
		:: log_type[durable] == END ->
			ended_nothing = disk_owner[s] != h;
			assert(!ended_nothing);
			disk_owner[s] = NONE
		:: log_type[durable] == PAD
		fi;
		durable++;
		h = 0; s = 0 }
	od
}

init {
	atomic {
		byte k;
		for (k : 0 .. HOLDS - 1) { state[k] = FREE }
		state[0] = HELD;
		unclaimed[1] = true;
		disk_owner[1] = NONE;
		run loop(0);
		run loop(1);
		run writer()
	}
}
