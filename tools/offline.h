/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A box's state directory looked at without usherd: nothing is locked, made or changed.
 *
 * Owns:  a read-only journal, and an engine to replay it into when asked for.
 * Reads: STATE/journal, STATE/events.
 * Never: writes.
 */
#ifndef USH_OFFLINE_H
#define USH_OFFLINE_H

#include "base/base.h"
#include "journal/archive.h"
#include "journal/journal.h"
#include "journal/snapshot.h"
#include "loop/loop.h"
#include "port/image.h"

struct offline {
	/* Of the journal. */
	char directory[512];
	struct ush_disk disk;
	bool disk_open;
	/* With an archive `disk` has its segments, too, over these. */
	struct ush_disk live_disk;
	struct ush_disk archive_disk;
	struct ush_archive *archive;
	struct ush_journal *journal;
	struct ush_images images;
	bool images_open;
	struct ush_engine *engine;
	/* What the engine begins with; NULL: with nothing. */
	struct ush_snapshot *snapshot;
	void *memory;
	size_t memory_bytes;
};

/* in: state: the state directory, or the journal directory itself. archive: a directory whose
 * segments are read beside it, NULL: none. err: message. */
int offline_open(struct offline *offline, const char *state, const char *archive,
	struct ush_message *message);

/* Only its disks and archive, no journal. err: message. */
int offline_open_disk(struct offline *offline, const char *state, const char *archive,
	struct ush_message *message);

/* Makes an engine large enough for this journal, and for what a live usherd may add meanwhile; the
 * newest good snapshot is loaded into it, unless `from_start`. Says on stderr which are no good.
 * cost: reads what is to be replayed once. */
int offline_engine(struct offline *offline, bool from_start, struct ush_message *message);

/* How an engine's state is saved and loaded. */
struct ush_snapshot_state offline_state(struct ush_engine *engine);

/* ret: where replay goes on from, NULL: from the beginning. */
const struct ush_snapshot_point *offline_point(const struct offline *offline);

void offline_close(struct offline *offline);

#endif /* USH_OFFLINE_H */
