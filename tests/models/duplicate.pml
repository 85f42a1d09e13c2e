/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The same request on two cores is carried out once, whoever makes or loses the user's line
 * meanwhile, and a repeat's answer is the first one's and waits for it.
 *
 * Models: dataplane/user/user.c: find_line, lock_line, has_key, take_line, is_spent, fill,
 *         ush_user_enter, ush_user_window, ush_user_accept, ush_user_refuse; user/user.h:
 *         ush_user_unlock; loop/decide_hold.c: decide_lock_user, decide_repeat,
 *         decide_refuse_done; loop/decide_reserve.c: decide_reserve, try_claim, grant;
 *         loop/turn.c: show_hold, show, loop_flush; ack/ack.h: ush_acks_pop; apply/apply.c:
 *         remember.
 *
 * A bucket of two lines: one of user 2 with nothing live, who may lose it, one empty or of a user
 * with something live. Two loops meet two requests each out of: requests 1 and 2 of user 1,
 * request 1 of user 2. So the same one comes on both cores, or twice on one, and there may be more
 * users than lines. Whether a request is refused (TAKEN, LIMIT) is left open. Loads of a line's
 * lock, of its key and the swap are steps of their own.
 *
 * Left out, and why that loses no fault: bodies (a digest is compared under the lock, beside the
 * window); windows of more than two ids (arithmetic of one thread, tests/unit/test_user.c); rows;
 * the word `known`, which only ever says that a look is in vain; batches of more than one, so OWN
 * never comes (trylock.pml has batches). Crash: a restart takes the window from the journal, so
 * the replayed window follows the durable sequence, see burst.pml.
 *
 * @right
 * @shortcut NO_LOCK breaks executed_twice: the line is not locked while a request is decided
 * @shortcut LOOK_FIRST breaks executed_twice: the window is read before the line is locked
 * @shortcut UNLOCK_FIRST breaks executed_twice: unlocked before the request is in the window
 * @shortcut NO_BUCKET_LOCK breaks two_lines: two loops may make lines in a bucket at a time
 * @shortcut NO_KEY_AGAIN breaks anothers_line: the key is not compared again under the lock
 * @shortcut ANSWER_NOW breaks told_early: the answer to a repeat does not wait for the first one's
 */
#define LINES 2
#define TURNS 2
#define SLOTS 4

mtype = { EMPTY, FILLING, IDLE, LOCKED };
mtype = { OK, ABSENT, RETRY, DUPLICATE };

mtype lock[LINES];
byte lock_by[LINES], lock_id[LINES];
byte key[LINES];
byte window[LINES];   /* bit per id */
byte accepted[LINES]; /* the same, of those: accepted */
byte answer[4];       /* their sequences + 1, two a line */
#define ANSWER(line, id) answer[2 * (line) + (id) - 1]
byte count[LINES];
bool bucket_locked;

byte log_user[SLOTS], log_id[SLOTS];
byte reserved, durable;
byte disk_window[3];
byte executed[3];
bool executed_twice, two_lines, anothers_line, told_early;

inline unlock(i)
{
	lock[i] = IDLE
}

/* find_line and lock_line. out: result, line. */
inline find()
{
	line = 0;
	result = ABSENT;
	do
	:: line < LINES ->
		atomic { seen = lock[line]; by = lock_by[line]; was = lock_id[line] }
		if
		:: seen == EMPTY -> break
		:: seen == FILLING -> result = RETRY; break
		:: else ->
			if
			:: key[line] != user -> line++
			:: else ->
#ifdef LOOK_FIRST
				used = window[line];
#endif
#ifdef NO_LOCK
				result = OK; break
#else
				if
				:: seen == LOCKED ->
					result = (was == id -> DUPLICATE : RETRY);
					break
				:: else
				fi;
				atomic {
					if
					:: lock[line] == IDLE ->
						lock[line] = LOCKED; lock_by[line] = me;
						lock_id[line] = id
					:: else -> result = RETRY; break
					fi
				}
#ifndef NO_KEY_AGAIN
				if
				:: key[line] != user -> unlock(line); result = RETRY; break
				:: else
				fi;
#endif
				result = OK;
				break
#endif
			fi
		fi
	:: else -> break
	od
}

/* take_line: an empty one, else one of a user with nothing live. out: result. */
inline take()
{
	result = RETRY;
	line = 0;
	do
	:: line < LINES ->
		atomic {
			if
			:: lock[line] == EMPTY -> lock[line] = FILLING; result = OK; break
			:: else -> line++
			fi
		}
	:: else -> break
	od;
	if
	:: result == OK -> skip
	:: else ->
		line = 0;
		do
		:: line < LINES ->
			atomic {
				if
				:: lock[line] == IDLE -> lock[line] = FILLING
				:: else -> line++; goto more
				fi
			}
			if
			:: count[line] == 0 && accepted[line] == 0 -> result = OK; break
			:: else -> unlock(line); line++
			fi;
more:			skip
		:: else -> break
		od
	fi
}

inline fill()
{
	key[line] = user;
	atomic {
		window[line] = 0; accepted[line] = 0; count[line] = 0;
		ANSWER(line, 1) = 0; ANSWER(line, 2) = 0
	}
	atomic {
		two_lines = key[1 - line] == user && lock[1 - line] != EMPTY &&
			lock[1 - line] != FILLING;
		assert(!two_lines);
		lock[line] = LOCKED; lock_by[line] = me; lock_id[line] = id
	}
}

inline enter()
{
	find();
	if
	:: result != ABSENT -> skip
	:: else ->
#ifndef NO_BUCKET_LOCK
		atomic {
			if
			:: bucket_locked -> result = RETRY
			:: else -> bucket_locked = true
			fi
		}
#endif
		if
		:: result == RETRY -> skip
		:: else ->
			find();
			if
			:: result == ABSENT ->
				take();
				if
				:: result == OK -> fill();
#ifdef LOOK_FIRST
					used = 0
#endif
				:: else -> skip
				fi
			:: else -> skip
			fi;
			bucket_locked = false
		fi
	fi
}

proctype loop(byte me)
{
	byte turn, user, id, line, by, was, used, at;
	mtype seen, result;

	do
	:: atomic { turn < TURNS -> turn++;
			if
			:: user = 1; id = 1
			:: user = 1; id = 2
			:: user = 2; id = 1
			fi }
		enter();
		if
		:: result != OK -> goto next /* RETRY, or dropped: the client asks again */
		:: else
		fi;
#ifndef LOOK_FIRST
		used = window[line];
#endif
		atomic { anothers_line = key[line] != user; assert(!anothers_line) }
		if
		:: used & (1 << id) ->
			/* decide_repeat */
			if
			:: accepted[line] & (1 << id) -> at = ANSWER(line, id)
			:: else
			fi;
			unlock(line);
#if defined(NO_LOCK) || defined(UNLOCK_FIRST)
			skip;
#elif defined(ANSWER_NOW)
			atomic { told_early = at != 0 && at > durable; assert(!told_early) }
#else
			if
			:: at <= durable -> atomic {
				told_early = at != 0 && (disk_window[user] & (1 << id)) == 0;
				assert(!told_early) }
			fi
#endif
			goto next
		:: else
		fi;
		if
		:: /* TAKEN or LIMIT: remembered as long as the line is. */
			window[line] = window[line] | (1 << id);
			unlock(line);
			goto next
		:: skip
		fi;
		atomic {
			executed_twice = (executed[user] & (1 << id)) != 0;
			assert(!executed_twice);
			executed[user] = executed[user] | (1 << id)
		}
#ifdef UNLOCK_FIRST
		unlock(line);
#endif
		atomic { at = reserved; reserved++ }
		atomic { log_id[at] = id; log_user[at] = user }
		count[line] = count[line] + 1;
		atomic {
			window[line] = window[line] | (1 << id);
			accepted[line] = accepted[line] | (1 << id);
			ANSWER(line, id) = at + 1
		}
#ifndef UNLOCK_FIRST
		unlock(line);
#endif
next:		atomic {
			user = 0; id = 0; line = 0; by = 0; was = 0; used = 0; at = 0;
			seen = 0; result = 0
		}
	:: atomic { turn == TURNS -> break }
	od
}

proctype writer()
{
	byte u, used;
end:	do
	:: atomic { durable < SLOTS && log_user[durable] != 0 ->
		u = log_user[durable];
		used = 1 << log_id[durable];
		executed_twice = (disk_window[u] & used) != 0;
		assert(!executed_twice);
		disk_window[u] = disk_window[u] | used;
		durable++;
		u = 0; used = 0 }
	od
}

init {
	atomic {
		lock[0] = IDLE; key[0] = 2;
		if
		:: lock[1] = EMPTY
		:: lock[1] = IDLE; key[1] = 3; count[1] = 1; accepted[1] = 2
		fi;
		run loop(0);
		run loop(1);
		run writer()
	}
}
