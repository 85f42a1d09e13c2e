/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of control/journal/ share.
 *
 * Owns:  see journal.h.
 * Reads: the log buffer.
 * Never: included outside control/journal/ and its tests.
 */
#ifndef USH_JOURNAL_INTERNAL_H
#define USH_JOURNAL_INTERNAL_H

#include <stdatomic.h>

#include "journal/journal.h"

#define DEPTH_MAX 16u
#define FIRST_BLOCK (USH_LOG_SEQUENCE_FIRST / USH_BLOCK_SLOTS)
/* Bytes read at once by recovery and by the hash chain. */
#define READ_BYTES (1u << 20)
/* Snapshots whose verdict is remembered. */
#define SNAPSHOTS_LOOKED 8u

/* ---- block.c: what a block can look like, and what recovery makes of it ---- */

enum block_kind {
	/* Header is all zero: never written. */
	BLOCK_ZERO,
	/* Right box, right epoch, right place, checksum right. */
	BLOCK_GOOD,
	/* Checksum right, this box, but an older epoch, or this one and an earlier place: left over
	 * in a recycled segment. */
	BLOCK_LEFTOVER,
	/* Neither zero nor whole. */
	BLOCK_TORN,
	/* Checksum right, another box. */
	BLOCK_FOREIGN,
	/* Checksum right, this box, a newer epoch than the segment's, or its own and a later
	 * place. */
	BLOCK_FUTURE,
	/* The magic of another format version. */
	BLOCK_VERSION,
	BLOCK_KIND_COUNT,
};

enum block_action {
	/* Replay it. */
	BLOCK_ACCEPT,
	/* The journal of this epoch ends before it; nothing was lost. */
	BLOCK_END,
	/* It ends before it; what was here was never acknowledged. */
	BLOCK_END_TORN,
	/* A block known durable is not there. */
	BLOCK_CORRUPT,
	BLOCK_REFUSE_FOREIGN,
	BLOCK_REFUSE_VERSION,
};

/* ret: what the block is. in: box: low 32 bits of the box id. block: its place. */
enum block_kind block_classify(const void *data, uint32_t box, uint32_t epoch, uint64_t block);

/*
 * The decision table of recovery. in: known: this place is known to have been durable (a later
 * header's watermark, or the next epoch's OPEN, says so). Total: every input has one answer.
 */
enum block_action block_decide(enum block_kind kind, bool known);

const char *block_kind_text(enum block_kind kind);

/* ret: records in the run that begins at slot `at` of a good block, 0 if it is not whole. */
uint32_t block_run(const void *data, uint64_t block, uint32_t at);

/* Fills in the header of a block whose 63 records stand. */
void block_seal(void *data, uint32_t box, uint32_t epoch, uint64_t block, uint64_t durable_block,
	uint64_t chain_block, const uint8_t *chain, uint64_t now_ns);

/* ---- segment.c ---- */

struct segment {
	uint32_t epoch;
	uint64_t first;
	char name[USH_DISK_NAME_MAX];
};

struct segment_list {
	struct segment *items;
	uint32_t count;
	uint32_t capacity;
	/* Spare files, by number. */
	uint32_t *spares;
	uint32_t spare_count;
	uint32_t spare_capacity;
	uint32_t spare_next;
	bool has_box;
};

void segment_name(char *name, uint32_t epoch, uint64_t first);
void spare_name(char *name, uint32_t number);

/* Takes a name that the directory has: for disk->list. in: list: a struct segment_list. */
int segment_list_note(void *list, const char *name);
/* Lists the directory; segments sorted by epoch and first block. */
int segment_list_read(
	struct segment_list *list, const struct ush_disk *disk, struct ush_message *message);
/* Afterwards the next segment_list_add cannot fail. */
int segment_list_reserve(struct segment_list *list);
int segment_list_add(struct segment_list *list, uint32_t epoch, uint64_t first);
int segment_list_add_spare(struct segment_list *list, uint32_t number);
void segment_list_free(struct segment_list *list);

/* ---- box.c ---- */

int box_make(const struct ush_disk *disk, struct ush_box_file *box, uint64_t segment_bytes,
	uint64_t now_ns, struct ush_message *message);
int box_write(const struct ush_disk *disk, struct ush_box_file *box, struct ush_message *message);

/* ---- chain.c ---- */

/* The newest known chain value, written by the housekeeping thread, read by the writer. */
struct chain {
	/* Housekeeping's own. */
	uint64_t block;
	uint8_t value[USH_CHAIN_BYTES];
	/* Published, under a sequence lock: odd while being written. */
	_Alignas(USH_CACHE_LINE) _Atomic uint32_t version;
	_Atomic uint64_t shown_block;
	_Atomic uint64_t shown[USH_CHAIN_BYTES / 8];
};

void chain_start(struct chain *chain, uint64_t block, const uint8_t *value);
/* Adds the next block. */
void chain_add(struct chain *chain, const void *block);
void chain_publish(struct chain *chain);
/* ret: false if it is being written at this moment; then the caller keeps what it has. */
bool chain_read(struct chain *chain, uint64_t *block, uint8_t *value);

/* snapshot.c: reads a whole file. out: *data: to be freed, also after an error; NULL: there is
 * none. ret: bytes, or an error. */
int64_t file_read(const struct ush_disk *disk, const char *name, uint8_t **data);

/* ---- the journal ---- */

struct in_flight {
	uint64_t first;
	uint64_t count;
	uint64_t started_ns;
	bool done;
};

struct ush_journal {
	const struct ush_disk *disk;
	struct ush_journal_config config;
	char directory[512];
	struct ush_box_file box;
	struct segment_list segments;
	struct ush_key key;
	uint64_t segment_blocks;
	ush_journal_block *watch;
	void *watch_context;
	ush_journal_ahead *show;
	void *show_context;
	/* Set by recovery. */
	bool recovered;
	uint64_t end_block;
	uint32_t end_epoch;
	uint64_t chain_block;
	uint8_t chain_value[USH_CHAIN_BYTES];
	/* The writer's. */
	struct ush_log *log;
	int file;
	uint64_t file_first;
	uint64_t next_block;
	uint64_t prepared_block;
	uint64_t durable_block;
	struct in_flight flight[DEPTH_MAX];
	uint32_t flight_head;
	uint32_t flight_tail;
	uint64_t now_ns;
	uint64_t chain_seen_block;
	uint8_t chain_seen[USH_CHAIN_BYTES];
	/* A full segment whose last writes may be in flight. */
	int closing_file;
	uint64_t closing_end;
	/* Shared with housekeeping: the next segment, opened; -1 none. The one to be closed. */
	_Atomic int next_file;
	_Atomic uint64_t next_first;
	_Atomic int old_file;
	/* Housekeeping's. */
	uint64_t prepare_first;
	uint32_t spare_number;
	struct chain chain;
	int chain_file;
	uint32_t chain_segment;
	/* Durable blocks at the last look. */
	uint64_t looked;
	uint8_t *read_buffer;
	struct ush_message trouble;
	/* Housekeeping is under way, on whichever thread. */
	_Atomic bool keeping;
	_Atomic uint64_t spares_ready;
	_Atomic uint64_t chain_reached;
	/* Of recycling: turns until the next look, what is needed, and what was done. */
	uint32_t recycle_turn;
	_Atomic uint64_t needed;
	_Atomic uint64_t recycled;
	_Atomic uint64_t removed;
	/* Snapshots that were read, and what came of it. */
	struct {
		uint64_t sequence;
		bool good;
	} looked_at[SNAPSHOTS_LOOKED];
	uint32_t looked_next;
	/* The writer's own, read by anyone. */
	struct ush_journal_counters counters;
};

/* ret: how to mend a failure with a file of the journal: words to follow ush_error_text(error), ""
 * if there is no advice. */
const char *journal_mend(int error);

/* Prints the message and ends the process: exit status 3. Nothing is retried. */
_Noreturn void journal_fail(const struct ush_journal *journal, const char *what, int64_t result);

/* writer.c. ret: true if nothing is in flight and nothing can be: the segment is full and there is
 * no next one. by: as step. */
bool journal_is_full(const struct ush_journal *journal);

/* recover.c: opens and reads segments. ret: blocks read into the buffer, or an error. */
int64_t segment_read(struct ush_journal *journal, int file, uint64_t at_block, uint64_t blocks);

/* recover.c. ret: true if the journal has this block, good, in that epoch. */
bool journal_has_block(struct ush_journal *journal, uint64_t block, uint32_t epoch);

/* housekeep.c: makes the next segment ready: a spare renamed, or a new file. ret: its handle. */
int housekeep_prepare(struct ush_journal *journal, uint64_t first, struct ush_message *message);

/* housekeep.c: makes sure that there is a spare, so that the next segment needs no room. */
int housekeep_stock(struct ush_journal *journal, struct ush_message *message);

/* housekeep.c: shows how many there are. */
void count_spares(struct ush_journal *journal);

/* recycle.c: takes the oldest segment if nobody needs it: for a spare, if one is wanted; else away,
 * if too many wait. ret: true if it did. */
bool recycle(struct ush_journal *journal, bool wanted, struct ush_message *trouble);

/* snapshot.c: sequences of the two newest good snapshots, newest first. out: found: 0 to 2. Reads
 * those whole that it has not read before. err: the directory cannot be listed; message. */
int snapshot_newest(
	struct ush_journal *journal, uint64_t *good, uint32_t *found, struct ush_message *message);

/* Housekeeping, with what went wrong in `trouble`, which is set empty first. */
bool housekeep(struct ush_journal *journal, struct ush_message *trouble);

#endif /* USH_JOURNAL_INTERNAL_H */
