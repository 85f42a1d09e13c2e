/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Snapshots: what the records up to a point have made of the state, in one file, so that recovery
 * reads only what comes after. Never needed: whatever is wrong with one, an older one or the
 * beginning of the journal takes its place.
 *
 * Owns:  the files snap-*.ush of a journal directory.
 * Reads: the journal.
 * Never: what a section means; the state's owner says.
 */
#ifndef USH_SNAPSHOT_H
#define USH_SNAPSHOT_H

#include "journal/disk.h"
#include "journal/journal.h"

/* Hands entries of sections over; as ush_engine_put and ush_engine_get. */
typedef int ush_snapshot_put(void *context, uint32_t section, const void *entry, size_t bytes);
typedef int ush_snapshot_get(void *context, uint32_t section, void *entry, size_t bytes);

/* Whose state it is. */
struct ush_snapshot_state {
	void *state;
	int (*save)(const void *state, ush_snapshot_put *put, void *context);
	int (*load)(void *state, ush_snapshot_get *get, void *context, struct ush_message *message);
};

/* What stands around the state. */
struct ush_snapshot_point {
	uint64_t box;
	/* First sequence that is not in it: the beginning of a block. */
	uint64_t sequence;
	uint64_t time_ns;
	uint32_t epoch;
	uint32_t last_type;
	uint8_t chain[USH_CHAIN_BYTES];
};

/*
 * Saves the state and writes it as a snapshot: whole and durable, or not at all. Removes those that
 * are older than the `keep` newest, 2 or more.
 * out: *bytes: of the file. err: message. cost: as much memory as the file is long.
 */
int ush_snapshot_write(const struct ush_disk *disk, const struct ush_snapshot_point *point,
	const struct ush_snapshot_state *from, uint32_t keep, uint64_t *bytes,
	struct ush_message *message);

struct ush_snapshot;

/*
 * Reads the newest snapshot that is whole and whose place the journal knows.
 * out: *snapshot: NULL if there is none. skipped: newer ones that are no good, in words, or "".
 * ret: 0; err: -USH_ENOMEM, or the directory cannot be listed; message.
 */
int ush_snapshot_find(struct ush_snapshot **snapshot, struct ush_journal *journal,
	struct ush_message *skipped, struct ush_message *message);

const struct ush_snapshot_point *ush_snapshot_point(const struct ush_snapshot *snapshot);
/* ret: entries of a section. */
uint64_t ush_snapshot_count(const struct ush_snapshot *snapshot, uint32_t section);
/* ret: a section's last entry, NULL if it is empty. */
const void *ush_snapshot_last(const struct ush_snapshot *snapshot, uint32_t section);

/* Fills an empty state. err: those of its `load`. by: once. */
int ush_snapshot_load(struct ush_snapshot *snapshot, const struct ush_snapshot_state *to,
	struct ush_message *message);

void ush_snapshot_free(struct ush_snapshot *snapshot);

/* As ush_journal_recover, but reads only what comes after the point. in: the state has been loaded
 * from the snapshot with this point, which ush_snapshot_find gave. */
int ush_journal_recover_from(struct ush_journal *journal, const struct ush_snapshot_point *point,
	ush_journal_apply *apply, void *context, struct ush_journal_report *report,
	struct ush_message *message);

#endif /* USH_SNAPSHOT_H */
