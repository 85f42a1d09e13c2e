/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whatever was answered is there after a crash at any point.
 *
 * Models: dataplane/loop/turn.c: loop_flush, loop_reply_after, ush_loop_turn (the order of flush
 *         and of letting go); ack/ack.h: ush_acks_push, ush_acks_pop; loop/decide_hold.c:
 *         decide_release, decide_query_hold, decide_repeat; control/journal/writer.c:
 *         advance_durable; control/journal/recover.c: what is replayed is a prefix that holds all
 *         below the durable sequence.
 *
 * One hold, which its user takes, looks at and releases, on two loops. A block is two records; two
 * writes are in flight and end in any order. The power fails at any moment: of the writes in
 * flight any may have reached the disk. Replay takes blocks up to the first that is missing, and
 * what was answered is compared with it.
 *
 * Left out, and why that loses no fault: all that does not touch the answer; torn blocks (a torn
 * block is a missing one, control/journal/block.c); a restart with a further crash (epoch.pml).
 *
 * @right
 * @shortcut AT_ONCE breaks answer_lost: answers leave when the record is published
 * @shortcut OFF_BY_ONE breaks answer_lost: a reply leaves when the record before it is durable
 * @shortcut LOOK_AT_ONCE breaks answer_lost: a look at the hold does not wait for its last record
 * @shortcut ANY_WRITE breaks answer_lost: the durable sequence follows whichever write ends
 */
#define STEPS 3
#define SLOTS 4
#define BLOCKS 2

mtype = { FREE, HELD, HOLD, RELEASE, PAD };

bool locked;
mtype state = FREE;
byte last;              /* the hold's last record's sequence + 1; 0: none */
mtype log[SLOTS];
byte reserved, durable; /* in records; durable a multiple of 2 */
byte started;
bool on_disk[BLOCKS];
byte told;              /* highest record + 1 that an answer told of */
bool crashed, answer_lost, replay_odd;

/* The packet leaves the box. */
inline leave(record)
{
	atomic { if :: !crashed && told < record -> told = record :: else fi }
}

proctype loop()
{
	byte steps, at, waits;
	bool look;

	do
	:: atomic { steps < STEPS && !crashed -> steps++ };
		if
		:: atomic { !locked -> locked = true }
		:: goto next
		fi;
		if
		:: atomic { reserved < SLOTS -> at = reserved; reserved++; look = false }
		:: look = true
		fi;
		if
		:: look -> waits = last; locked = false
		:: else ->
			atomic { log[at] = (state == FREE -> HOLD : RELEASE) }
			atomic { last = at + 1; waits = last }
			state = (state == FREE -> HELD : FREE);
			locked = false
		fi;
#ifdef AT_ONCE
		leave(waits);
#elif defined(OFF_BY_ONE)
		(durable + 1 >= waits || crashed);
		leave(waits);
#else
#ifdef LOOK_AT_ONCE
		(durable >= waits || look || crashed);
#else
		(durable >= waits || crashed);
#endif
		leave(waits);
#endif
next:		atomic { at = 0; waits = 0; look = false }
	:: else -> break
	od
}

#define WHOLE(b) (log[2 * (b)] != 0 && log[2 * (b) + 1] != 0)

proctype writer()
{
end:	do
	:: atomic { !crashed && started < BLOCKS && WHOLE(started) -> started++ }
	/* Pads: a block closed early. */
	:: atomic { !crashed && reserved % 2 == 1 && log[reserved - 1] != 0 ->
		log[reserved] = PAD; reserved++ }
#ifdef ANY_WRITE
	:: atomic { !crashed && on_disk[1] && durable < 4 -> durable = 4 }
#endif
	:: atomic { !crashed && durable == 0 && on_disk[0] -> durable = 2 }
	:: atomic { !crashed && durable == 2 && on_disk[1] -> durable = 4 }
	od
}

proctype drive()
{
end:	do
	:: atomic { !crashed && started > 0 && !on_disk[0] -> on_disk[0] = true }
	:: atomic { !crashed && started > 1 && !on_disk[1] -> on_disk[1] = true }
	od
}

/* Recovery: blocks up to the first that is not there. */
proctype power()
{
	byte i, there;
	mtype replayed;

	atomic {
		crashed = true;
		there = (on_disk[0] -> (on_disk[1] -> 4 : 2) : 0);
		answer_lost = told > there;
		assert(!answer_lost);
		replayed = FREE;
		do
		:: i < there ->
			replay_odd = (log[i] == HOLD && replayed == HELD) ||
				(log[i] == RELEASE && replayed == FREE);
			assert(!replay_odd);
			replayed = (log[i] == HOLD -> HELD : (log[i] == RELEASE -> FREE : replayed));
			i++
		:: else -> break
		od
	}
}

init {
	atomic {
		run loop();
		run loop();
		run writer();
		run drive();
		run power()
	}
}
