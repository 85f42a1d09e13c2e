/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The writer may close a block while a producer has reserved in it and not published: no slot has
 * two owners, nothing is written before it is whole or changed after, no block is written twice,
 * the durable sequence passes nothing that is not on disk, and the ring is never overrun.
 *
 * Models: dataplane/log/log.c: ush_log_has_room, ush_log_append, append_stretch, ush_log_publish,
 *         ush_log_publish_pads; log/log.h: ush_log_reserve, ush_log_is_published;
 *         control/journal/writer.c: reap, finish_write, advance_durable, seal, seal_partial,
 *         is_published, group_wanted, start_write, submit.
 *
 * Two producers append four records each, one at a time. Blocks are a header and two records; the
 * ring has four, and is gone round. Up to two writes of up to two blocks are in flight and end in
 * any order. The writer closes up to five blocks early.
 *
 * Left out, and why that loses no fault: runs (they pad to the block's end what they reserved
 * themselves, tests/unit/test_log.c); segments (they bound a write, as the ring's end does here);
 * the checksum (a block that is whole when submitted and not changed since has the right one).
 * Crash: what is on disk is any of the writes in flight and all before; `passed_hole` says that
 * what is durable is among the latter.
 *
 * @right
 * @shortcut NO_WAIT breaks not_whole: a block is written when all of it is reserved
 * @shortcut SEAL_STORE breaks slot_twice: sealing stores the counter, and does not swap it
 * @shortcut REWRITE breaks rewritten: a partial block is written as it is, and again when full
 * @shortcut DURABLE_ANY breaks passed_hole: a write that ends takes the durable sequence with it
 * @shortcut NO_ROOM breaks overrun: nobody looks for room before reserving
 */
#define B 3
#define BLOCKS 4
#define SLOTS 12 /* B * BLOCKS */
#define PRODUCERS 2
#define RECORDS 4
#define WORST 2 /* a record, and the header that it may meet first */
#define DEPTH 2
#define WRITE_MAX 2
#define SEALS 5

#ifdef NO_ROOM
#define ROOM 255
#else
#define ROOM (SLOTS - 2 * B)
#endif

byte ring[SLOTS]; /* the sequence that a slot holds */
byte reserved = B, durable = B;
byte next_block = 1, durable_block = 1;
/* In flight: flight 0 is the oldest. */
byte first[DEPTH], count[DEPTH];
bool done[DEPTH];
byte in_flight, seals;
short on_disk = 1; /* bit per block */
bool not_whole, slot_twice, changed_late, rewritten, passed_hole, overrun;

#define HELD(s) (ring[(s) % SLOTS] == (s))
#define WHOLE(b) (HELD((b) * B + 1) && HELD((b) * B + 2))
#define SEALABLE (seals < SEALS && in_flight == 0 && reserved % B != 0 && \
	(reserved / B == next_block || WHOLE(next_block)) && reserved / B - next_block < WRITE_MAX)
#ifdef NO_WAIT
#define READY(b) ((b) < reserved / B)
#else
#define READY(b) ((b) < reserved / B && WHOLE(b))
#endif
#define WORTH (in_flight == 0 || (in_flight < DEPTH && reserved / B - next_block >= 2))

inline publish(s)
{
	atomic {
		slot_twice = HELD(s);
		assert(!slot_twice);
		changed_late = s / B < next_block;
		assert(!changed_late);
		overrun = ring[s % SLOTS] >= durable;
		assert(!overrun);
		ring[s % SLOTS] = s
	}
}

proctype producer()
{
	byte records, at;

	do
	:: atomic { records < RECORDS && reserved - durable + WORST * PRODUCERS <= ROOM ->
			records++ };
		atomic { at = reserved; reserved++ };
		do
		:: at % B == 0 -> atomic { at = reserved; reserved++ }
		:: else -> break
		od;
		publish(at);
		at = 0
	:: atomic { records == RECORDS -> break }
	od
}

/* The drive: ends writes in any order. */
proctype drive()
{
	byte i;
end:	do
	:: atomic { in_flight > 0 && !done[0] -> i = 0; goto finish }
	:: atomic { in_flight > 1 && !done[1] -> i = 1; goto finish }
finish:		atomic {
			done[i] = true;
			on_disk = on_disk | (1 << first[i]);
			if
			:: count[i] == 2 -> on_disk = on_disk | (2 << first[i])
			:: else
			fi;
			i = 0
		}
	od
}

inline pop()
{
	first[0] = first[1]; count[0] = count[1]; done[0] = done[1];
	first[1] = 0; count[1] = 0; done[1] = false;
	in_flight--
}

inline advance(to)
{
	durable_block = to;
	passed_hole = (on_disk & ((1 << durable_block) - 1)) != (1 << durable_block) - 1;
	assert(!passed_hole);
	durable = durable_block * B
}

proctype writer()
{
	byte at, stop, blocks;
end:	do
#ifdef DURABLE_ANY
	:: atomic { in_flight > 1 && done[1] && !done[0] ->
		advance(first[1] + count[1]);
		in_flight--; first[1] = 0; count[1] = 0; done[1] = false }
#endif
	:: atomic { in_flight > 0 && done[0] -> advance(first[0] + count[0]); pop() }
#ifdef REWRITE
	:: atomic { in_flight == 0 && reserved % B == 2 && HELD(reserved - 1) &&
			reserved / B == next_block ->
		rewritten = next_block * B < durable;
		assert(!rewritten);
		first[0] = next_block; count[0] = 1; in_flight = 1 };
		atomic { done[0] ->
		durable = next_block * B + 2; pop() }
	:: atomic { in_flight == 0 && READY(next_block) ->
#else
	:: atomic { SEALABLE -> at = reserved; stop = (at / B + 1) * B };
		atomic {
#ifdef SEAL_STORE
			reserved = stop; seals++
#else
			if
			:: reserved == at -> reserved = stop; seals++
			:: else -> stop = at
			fi
#endif
		}
		do
		:: at < stop -> publish(at); at++
		:: else -> break
		od;
		atomic { at = 0; stop = 0 }
	:: atomic { WORTH && READY(next_block) ->
#endif
		blocks = 1;
		if
		:: READY(next_block + 1) && (next_block + 1) % BLOCKS != 0 -> blocks = 2
		:: else
		fi;
		not_whole = !WHOLE(next_block) || (blocks == 2 && !WHOLE(next_block + 1));
		assert(!not_whole);
		rewritten = next_block * B < durable || (on_disk & (1 << next_block)) != 0;
		assert(!rewritten);
		first[in_flight] = next_block;
		count[in_flight] = blocks;
		done[in_flight] = false;
		in_flight++;
		next_block = next_block + blocks;
		blocks = 0 }
	od
}

init {
	atomic {
		run producer();
		run producer();
		run writer();
		run drive()
	}
}
