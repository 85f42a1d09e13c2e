/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a start replayed, every later start replays, and nothing else of that time: leftovers of an
 * earlier epoch never come back.
 *
 * Models: control/journal/journal.c: ush_journal_start, recycle_unused, append_open;
 *         control/journal/recover.c: ush_journal_recover, scan_epoch, scan_segment, settle_bad;
 *         control/journal/block.c: block_classify, block_decide; control/journal/box.c: box_write;
 *         control/journal/housekeep.c: housekeep_prepare; control/journal/writer.c: submit,
 *         advance_durable.
 *
 * Four places for blocks. A run writes the next blocks, two at a time, in any order on disk, and
 * may lose power at any moment; there are four runs. A place is written again as long as it was not
 * replayed, and what stood in it stays until then, as in a file that is used again. Each block
 * carries its epoch and who wrote it: the number of the run, which no recovery looks at.
 *
 * Left out, and why that loses no fault: OPEN and the names of segments, which say a second time
 * where an epoch begins (it holds without them); the watermark, which only refuses; torn blocks (a
 * torn block is one that is not there).
 *
 * @right
 * @shortcut SAME_EPOCH breaks came_back: a restart goes on in the same epoch
 * @shortcut EPOCH_LATE breaks came_back: the new epoch is made durable after the first write
 * @shortcut NO_EPOCH_CHECK breaks came_back: recovery looks at a block's place alone
 */
#define PLACES 4
#define RUNS 4

/* The disk, by place: a file that is used again keeps its blocks at their places. */
byte disk_epoch[PLACES], disk_run[PLACES];
byte box_epoch;              /* durable */
byte starts[RUNS + 1];       /* where each epoch began, durable with box_epoch */
byte replayed_run[PLACES];   /* what the last start replayed; 0: nothing */
byte acknowledged;           /* places below were acknowledged */
bool came_back, lost;

/* The epoch whose block belongs at place p: the last that began at or before it. */
inline epoch_at(p)
{
	e = box_epoch;
	do
	:: e > 1 && starts[e] > p -> e--
	:: else -> break
	od
}

active proctype box()
{
	byte run_number, place, end, e, epoch, next;

	do
	:: atomic { run_number < RUNS -> run_number++ };
		/* ush_journal_recover */
		atomic {
			end = 0;
			do
			:: end < PLACES ->
				epoch_at(end);
				if
#ifdef NO_EPOCH_CHECK
				:: disk_run[end] != 0 ->
#else
				:: disk_run[end] != 0 && disk_epoch[end] == e ->
#endif
					/* It is what this start's predecessor replayed or wrote. */
					came_back = replayed_run[end] != disk_run[end] &&
						disk_run[end] != run_number - 1;
					assert(!came_back);
					replayed_run[end] = disk_run[end];
					end++
				:: else -> break
				fi
			:: else -> break
			od;
			lost = end < acknowledged;
			assert(!lost);
			place = end;
			do
			:: place < PLACES -> replayed_run[place] = 0; place++
			:: else -> break
			od;
			place = 0;
			next = end;
#ifdef SAME_EPOCH
			epoch = 1
#else
			epoch = box_epoch + 1
#endif
		}
		if
		:: end == PLACES -> break
		:: else
		fi;
#ifndef EPOCH_LATE
		/* Power may fail before. */
		if
		:: goto off
		:: atomic { box_epoch = epoch; starts[epoch] = (epoch == 1 -> 0 : end) }
		fi;
#endif
		do
		:: next < PLACES ->
			/* One or two writes in flight; each may be on disk or not when power fails. */
			if
			:: goto off
			:: atomic { next + 1 < PLACES -> disk_epoch[next + 1] = epoch;
				disk_run[next + 1] = run_number }; goto off
			:: atomic { disk_epoch[next] = epoch; disk_run[next] = run_number }
			fi;
#ifdef EPOCH_LATE
			if
			:: box_epoch == epoch
			:: else ->
				if
				:: goto off
				:: atomic { box_epoch = epoch; starts[epoch] = end }
				fi
			fi;
#endif
			next++;
			if
			:: goto off /* on disk, and nobody was told */
			:: acknowledged = next
			fi
		:: else -> break
		od;
off:		atomic { end = 0; e = 0; epoch = 0; next = 0 }
	:: atomic { run_number == RUNS -> break }
	od
}
