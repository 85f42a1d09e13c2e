/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Of confirm, release, extension and expiry that meet on one hold, each happens whole and in the
 * order of its versions, exactly one ends the hold, and never one that was not meant.
 *
 * Models: dataplane/loop/decide_hold.c: decide_lock_user, decide_find_hold, decide_confirm,
 *         decide_release, expire_and_answer, decide_transition, expire_one;
 *         loop/turn.c: show_confirm, show_end, set_state; hold/hold.c: ush_hold_take,
 *         ush_hold_give; user/user.c: lock_line; apply/apply.c: find_hold; loop/decide_pay.c:
 *         decide_extend.
 *
 * One line, one user, whose hold is due at 1, or at 2 when extended. Two loops carry out any of
 * confirm, release and extend on the id of the first generation, twice each; the owning loop
 * expires, and deals the line out again to the same user: the worst tenant, as the user's name
 * does not tell the two holds apart.
 *
 * Left out, and why that loses no fault: legs (they hang on the first line's word); rows and seats
 * (release.pml); the wheel, which may call at any time from the deadline on.
 *
 * Two things keep changes of a hold apart: the user's lock, and the state word. @right is the code,
 * which has both. @right WORD_ALONE is the rule that the word alone decides: then the word that was
 * looked at must be the one that is swapped.
 *
 * @right
 * @right WORD_ALONE
 * @shortcut NO_LOCK breaks wrong_hold: no user's lock, and the word is read again before the swap
 * @shortcut NO_BUSY breaks replay_refused: no lock and no BUSY, the new state is stored at the end
 * @shortcut NO_GENERATION breaks wrong_hold: the generation of the id is not compared
 * @shortcut OLD_DEADLINE breaks early: what the wheel said is not looked at again under the lock
 * @shortcut SHOW_FIRST breaks replay_refused: the extended hold is shown before its slot
 */
#define TRIES 2
#define SLOTS 7
#ifdef NO_BUSY
#define WORD_ALONE
#endif
#if defined(WORD_ALONE) || defined(NO_LOCK)
#define LOCKLESS
#endif

mtype = { FREE, HELD, BUSY, SOLD, ENDED, OPEN, SELL, END, EXTEND };

/* The word. */
mtype state = HELD;
byte version = 1, generation = 1;
byte deadline = 1;
bool locked;
byte now_is;

mtype log_type[SLOTS];
byte log_version[SLOTS], log_generation[SLOTS];
byte reserved, durable;

mtype disk_state = HELD;
byte disk_version = 1, disk_generation = 1;
bool wrong_hold, early, replay_refused;

/* Tries once. out: mine. */
inline lock_user()
{
#ifdef LOCKLESS
	mine = true
#else
	if
	:: atomic { !locked -> locked = true; mine = true }
	:: atomic { locked -> mine = false }
	fi
#endif
}

inline unlock_user()
{
#ifdef LOCKLESS
	skip
#else
	locked = false
#endif
}

/* decide_transition. in: v, g: version and generation that were looked at. out: won. */
inline swap()
{
#if defined(NO_BUSY)
	won = (state == HELD && version == v && generation == g)
#else
#ifndef WORD_ALONE
	atomic { v = version; g = generation; won = (state == HELD) }
#endif
	atomic {
		if
		:: state == HELD && version == v && generation == g -> state = BUSY; won = true
		:: else -> won = false
		fi
	}
#endif
}

/* Reserves the slot, publishes the record. */
inline write(kind)
{
	atomic { at = reserved; reserved++ }
	atomic { log_version[at] = v + 1; log_generation[at] = g; log_type[at] = kind }
}

inline store(new)
{
	atomic { state = new; version = v + 1 }
}

/* A loop that meets the user's requests. */
proctype requests()
{
	byte tries, v, g, at, by;
	bool mine, won;
	mtype kind;

	do
	:: atomic { tries < TRIES -> tries++ };
		by = now_is; /* once a turn */
		lock_user();
		if
		:: !mine -> goto next
		:: else
		fi;
		/* decide_find_hold */
		atomic {
			v = version; g = generation;
#ifdef NO_GENERATION
			won = (state == HELD)
#else
			won = (state == HELD && generation == 1)
#endif
		}
		if
		:: !won -> unlock_user(); goto next
		:: else
		fi;
		if
		:: by >= deadline -> kind = END
		:: else ->
			if
			:: kind = SELL
			:: kind = END
			:: deadline == 1 -> kind = EXTEND
			fi
		fi;
		swap();
		if
		:: !won -> unlock_user(); goto next
		:: else -> atomic { wrong_hold = g != 1; assert(!wrong_hold) }
		fi;
		if
		:: kind == SELL -> write(SELL); store(SOLD)
		:: kind == END -> write(END); store(ENDED)
		:: else ->
			deadline = 2;
#ifdef SHOW_FIRST
			store(HELD); unlock_user(); write(EXTEND); goto next
#else
			write(EXTEND); store(HELD)
#endif
		fi;
		unlock_user();
next:		atomic { v = 0; g = 0; at = 0; by = 0; mine = false; won = false; kind = 0 }
	:: atomic { tries == TRIES -> break }
	od
}

/* The owning loop: expires and deals the line out again, once. */
proctype owner()
{
	byte v, g, at, due;
	bool mine, won;

	do
	:: atomic { state == HELD && generation == 1 && now_is >= deadline ->
			v = version; g = generation; due = deadline };
		lock_user();
		if
		:: !mine -> goto again
		:: else
		fi;
#ifndef OLD_DEADLINE
		due = deadline;
		if
		:: now_is < due -> unlock_user(); goto again
		:: else
		fi;
#endif
		swap();
		if
		:: !won -> unlock_user(); goto again
		:: else
		fi;
		atomic { early = now_is < deadline; assert(!early) }
		write(END);
		store(ENDED);
		unlock_user();
again:		atomic { v = 0; g = 0; at = 0; due = 0; mine = false; won = false }
	:: atomic { state == ENDED && generation == 1 -> state = FREE };
		break
	:: atomic { state == SOLD -> goto done }
	:: atomic { state == HELD && now_is < deadline && now_is == 2 -> goto done }
	:: timeout -> goto done
	od;
	/* A new hold of the same user, in the same line. */
	v = 0; g = 2;
	write(OPEN);
	atomic { state = HELD; version = 1; generation = 2; deadline = 9 }
done:	skip
}

proctype clock()
{
	now_is = 1;
	now_is = 2
}

proctype writer()
{
end:	do
	:: atomic { durable < SLOTS && log_type[durable] != 0 ->
		if
		:: log_type[durable] == OPEN ->
			replay_refused = disk_state != ENDED;
			assert(!replay_refused);
			disk_state = HELD
		:: else ->
			replay_refused = disk_state != HELD ||
				disk_generation != log_generation[durable] ||
				disk_version + 1 != log_version[durable];
			assert(!replay_refused);
			disk_state = (log_type[durable] == SELL -> SOLD :
				(log_type[durable] == END -> ENDED : HELD))
		fi;
		disk_generation = log_generation[durable];
		disk_version = log_version[durable];
		durable++ }
	od
}

init {
	atomic {
		run requests();
		run requests();
		run owner();
		run clock();
		run writer()
	}
}
