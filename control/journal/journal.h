/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The journal: takes sealed blocks from the log buffer to disk, and back at a restart.
 *
 * Owns:  the journal directory: box file, segments, spare segments, lock; the durable sequence.
 * Reads: the log buffer.
 * Never: inventory; what a record means is apply()'s business.
 */
#ifndef USH_JOURNAL_H
#define USH_JOURNAL_H

#include "base/base.h"
#include "journal/disk.h"
#include "log/log.h"
#include "wire/wire.h"

struct ush_journal;

/* Whether segments that nobody needs are used again. */
enum ush_recycle {
	/* Never: the journal is the whole history. */
	USH_RECYCLE_OFF,
	/* When they are in an archive, and behind the snapshots and all readers. */
	USH_RECYCLE_ARCHIVED,
	/* When they are behind the snapshots and all readers: the history is given up. */
	USH_RECYCLE_ON,
};

struct ush_journal_config {
	/* Directory; made if missing. */
	const char *directory;
	/* Size of a segment file: a multiple of 1 MiB. 0: 64 MiB. */
	uint64_t segment_bytes;
	/* Spare segments kept ready, zero-filled. 0: 2. */
	uint32_t spare_count;
	/* Writes in flight, 1 to 16. 0: 4. */
	uint32_t depth;
	/* Largest write: a multiple of 4 KiB. 0: 1 MiB. */
	uint32_t write_bytes_max;
	/* A write that takes longer than this stops the process. 0: 30 s. */
	uint64_t write_ns_max;
	enum ush_recycle recycle;
	/* Segments that nobody needs, kept to be used again; more are removed. */
	uint32_t reuse_max;
	/* Recovery reads and checks on a thread of its own, ahead of what it applies. */
	bool read_ahead;
	/* Only to be recovered, for audits: takes no lock, makes nothing, changes nothing. */
	bool read_only;
};

/*
 * Takes the directory (lock), reads or makes the box file.
 * in:  disk: the operations to use; outlives the journal.
 * ret: 0 and *journal; err: -USH_EBUSY (another process), -USH_EFOREIGN, -USH_ECORRUPT,
 *      -USH_EACCES, -USH_EROFS, -USH_ENOSPC, each with a message that says how to mend.
 * by:  the starting thread.
 */
int ush_journal_open(struct ush_journal **journal, const struct ush_journal_config *config,
	const struct ush_disk *disk, uint64_t now_ns, struct ush_message *message);

/* Reads the box file of a journal. err: -USH_ENOENT, -USH_ECORRUPT, -USH_EVERSION; message. */
int ush_journal_box_read(
	const struct ush_disk *disk, struct ush_box_file *box, struct ush_message *message);

/* Secret of hold-id tags, and the box id. */
const struct ush_key *ush_journal_key(const struct ush_journal *journal);
uint64_t ush_journal_box(const struct ush_journal *journal);
/* Epoch: of the last run until ush_journal_start, then of this one. */
uint32_t ush_journal_epoch(const struct ush_journal *journal);

/* What recovery found. */
struct ush_journal_report {
	uint64_t segments;
	/* Where replay began: what is before it came from a snapshot. 0: from the beginning. */
	uint64_t from_sequence;
	uint64_t blocks;
	uint64_t records;
	/* First sequence after the last block accepted. */
	uint64_t end_sequence;
	/* Blocks after it that were dropped as a torn tail (never acknowledged). */
	uint64_t torn_blocks;
	/* The last epoch ended with CLOSE. */
	bool clean;
	uint32_t epochs;
	/* Newest time in an accepted block. */
	uint64_t time_ns;
};

/* One run of records of an accepted block, PAD left out. ret: 0, or an error that ends replay. */
typedef int ush_journal_apply(void *context, const struct ush_record *records, uint32_t count,
	struct ush_message *message);

/* A block that recovery accepted, before its records are applied. */
typedef void ush_journal_block(void *context, const char *segment, uint64_t block,
	const struct ush_block_header *header, const void *data);

/* Sets what ush_journal_recover shows each accepted block to. */
void ush_journal_watch(struct ush_journal *journal, ush_journal_block *watch, void *context);

/* How soon records are applied that are shown ahead: each is shown FAR, then NEAR. */
enum ush_journal_distance {
	USH_JOURNAL_FAR,
	USH_JOURNAL_NEAR,
};

/* Some slots of a good block, pads among them, that are to be applied soon, unless replay ends
 * before: for bringing near what they will touch. They need not be whole runs. */
typedef void ush_journal_ahead(void *context, const struct ush_record *records, uint32_t count,
	enum ush_journal_distance distance);

/* Sets what ush_journal_recover shows records to, ahead of applying them. */
void ush_journal_show(struct ush_journal *journal, ush_journal_ahead *show, void *context);

/* Moves a value of the hash chain on by one block. in/out: chain. */
void ush_journal_chain_next(uint8_t chain[USH_CHAIN_BYTES], const void *block);

/*
 * Reads every segment in order and hands each run to `apply`.
 * ret: 0 with *report; err: -USH_ECORRUPT (a block known durable is bad: the message names file,
 *      offset and what was found), -USH_EFOREIGN, -USH_EVERSION, -USH_EIO.
 * by:  the starting thread, once, before ush_journal_start.
 */
int ush_journal_recover(struct ush_journal *journal, ush_journal_apply *apply, void *context,
	struct ush_journal_report *report, struct ush_message *message);

/*
 * Makes epoch + 1 durable, opens a fresh segment, starts `log` at the recovered end and writes
 * OPEN. Afterwards loops may append.
 */
int ush_journal_start(struct ush_journal *journal, struct ush_log *log, uint64_t now_ns,
	struct ush_message *message);

/*
 * One step of the writer: reaps finished writes, publishes the durable sequence, seals, submits.
 * Never waits. A write that fails, is short or times out ends the process at once (exit status 3).
 * ret: work done; 0 means idle. by: one thread or one loop, always the same.
 */
uint32_t ush_journal_step(struct ush_journal *journal, uint64_t now_ns);

/* Background work: makes spare segments, advances the hash chain. ret: true if there is more to do
 * at once. by: the housekeeping thread; may block on disk. */
bool ush_journal_housekeep(struct ush_journal *journal);

/* ret: what went wrong in the last ush_journal_housekeep and how to mend it (a full disk: sales
 * will stop when the current segment ends), or NULL. by: the housekeeping thread. */
const char *ush_journal_trouble(const struct ush_journal *journal);

/* ret: true when everything reserved is durable and nothing is in flight. by: as step. */
bool ush_journal_idle(const struct ush_journal *journal);

/*
 * Writes CLOSE and waits until all is durable, keeping house meanwhile.
 * ret: false if the segment is full and no other can be made (full disk): then what is not durable
 *      was never acknowledged, and the next start replays as after a crash.
 * by:  as step, after the loops have stopped. The housekeeping thread may still be running.
 */
bool ush_journal_finish(struct ush_journal *journal, uint64_t now_ns);

/* Frees everything and gives up the lock. by: the starting thread. */
void ush_journal_close(struct ush_journal *journal);

struct ush_journal_counters {
	uint64_t writes;
	uint64_t bytes;
	uint64_t blocks;
	uint64_t pads;
	uint64_t in_flight;
	uint64_t segments;
	uint64_t spare_segments;
	/* Used again, and removed, since the start. */
	uint64_t recycled_segments;
	uint64_t removed_segments;
	/* Somebody needs what stands from here on; 0: everything. */
	uint64_t needed;
	uint64_t write_ns_sum;
	uint64_t write_ns_max;
	uint64_t durable;
	uint64_t reserved;
	uint64_t chain_lag_blocks;
	uint32_t epoch;
};

/* by: any thread. */
void ush_journal_counters_read(
	const struct ush_journal *journal, struct ush_journal_counters *counters);

#endif /* USH_JOURNAL_H */
