/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Recovery. Segments are read by epoch and place. An epoch ends where the next one starts: that
 * start is in the name of the next epoch's first segment, whose rename was durable before anything
 * was written there. The last epoch ends at its first block that is not good, if that block is not
 * known to have been durable; a later good block's header may know better (its watermark), or the
 * box file (where the newest epoch began), and then the journal is corrupt and nothing is started.
 *
 * Failure modes, each with file, place, kind and what to do: a missing segment, one of another
 * size than it was made with, a bad block known durable, a block of another box or format, a run
 * that is not whole, a record apply() refuses, a journal that ends before its newest epoch began.
 */
#include <inttypes.h>
#include <string.h>

#include "journal/internal.h"
#include "journal/readahead.h"
#include "journal/snapshot.h"

struct scan {
	struct ush_journal *journal;
	struct readahead *ra;
	ush_journal_apply *apply;
	void *context;
	struct ush_journal_report *report;
	struct ush_message *message;
	/* Next block expected. */
	uint64_t at;
	bool ended;
	/* The first segment may be entered in its middle: what is before is in a snapshot, which
	 * ends in this epoch. */
	bool continued;
	uint32_t continued_epoch;
	uint8_t last_type;
};

/* A good block that is to be replayed; the good one behind it, or NULL; whether it is the first
 * that is looked at, so that nothing of it was shown yet. */
struct good_block {
	const uint8_t *data;
	const uint8_t *next;
	bool first;
};

int64_t segment_read(struct ush_journal *journal, int file, uint64_t at_block, uint64_t blocks)
{
	int64_t got = journal->disk->read(journal->disk->context, file, journal->read_buffer,
		blocks * USH_BLOCK_BYTES, at_block * USH_BLOCK_BYTES);

	return got < 0 ? got : got / USH_BLOCK_BYTES;
}

static int block_error(struct scan *scan, const struct segment *segment, int error,
	enum block_kind kind, const char *mend)
{
	ush_message_set(scan->message,
		"journal %s: segment %s, block %" PRIu64 " (offset %" PRIu64 "): %s: %s",
		scan->journal->directory, segment->name, scan->at,
		(scan->at - segment->first) * USH_BLOCK_BYTES, block_kind_text(kind), mend);
	return error;
}

/* The disk refused: nothing is known of what stands there. */
static int disk_error(struct scan *scan, const struct segment *segment, int error)
{
	ush_message_set(scan->message,
		"journal %s: cannot read segment %s near block %" PRIu64
		": %s; mend the disk, or restore the file from a copy. Nothing was changed",
		scan->journal->directory, segment->name, scan->at, ush_error_text(error));
	return error;
}

/* A running usherd has recycled it since the list was read: what it held is archived, or is in a
 * snapshot that was not there yet. */
static int recycled(struct scan *scan, const struct segment *segment)
{
	ush_message_set(scan->message,
		"journal %s: usherd recycled segment %s while it was to be read: ask again. A reader "
		"with a name keeps its place (usher journal follow --name), --archive reads what is "
		"gone. Nothing was changed",
		scan->journal->directory, segment->name);
	return -USH_EBUSY;
}

/* A segment file is made whole before it gets its name, and never changes its size. */
static int check_size(struct scan *scan, const struct segment *segment, int file)
{
	const struct ush_journal *journal = scan->journal;
	uint64_t wanted = journal->segment_blocks * USH_BLOCK_BYTES;
	int64_t size = journal->disk->size(journal->disk->context, file);

	if (size < 0)
		return disk_error(scan, segment, (int)size);
	if ((uint64_t)size == wanted)
		return 0;
	ush_message_set(scan->message,
		"journal %s: segment %s is %" PRId64 " bytes, it was made with %" PRIu64
		": cut or copied badly; restore the file from a copy. Nothing was changed",
		journal->directory, segment->name, size, wanted);
	return -USH_ECORRUPT;
}

/* Slots that are shown together, ahead of the replay; how many such groups ahead at first, and the
 * second time. */
#define SHOWN_SLOTS 8u
#define SHOWN_FAR 4u
#define SHOWN_NEAR 2u

/* in: slot: of the block at hand, or, past its end, of the one that follows, if that is good. */
static void show_group(const struct scan *scan, const struct good_block *block, uint32_t slot,
	enum ush_journal_distance distance)
{
	const uint8_t *data = slot < USH_BLOCK_SLOTS ? block->data : block->next;
	const struct ush_record *slots = (const struct ush_record *)(const void *)data;
	uint32_t header;

	if (data == NULL)
		return;
	slot &= USH_BLOCK_SLOTS - 1;
	header = slot == 0;
	scan->journal->show(
		scan->journal->show_context, &slots[slot + header], SHOWN_SLOTS - header, distance);
}

/* The replay has come to `slot`, where a group begins. */
static void show_ahead(const struct scan *scan, const struct good_block *block, uint32_t slot)
{
	if (scan->journal->show == NULL)
		return;
	if (slot == 0 && block->first) {
		for (uint32_t i = 0; i < SHOWN_FAR; i++)
			show_group(scan, block, i * SHOWN_SLOTS, USH_JOURNAL_FAR);
		for (uint32_t i = 0; i < SHOWN_NEAR; i++)
			show_group(scan, block, i * SHOWN_SLOTS, USH_JOURNAL_NEAR);
	}
	show_group(scan, block, slot + SHOWN_FAR * SHOWN_SLOTS, USH_JOURNAL_FAR);
	show_group(scan, block, slot + SHOWN_NEAR * SHOWN_SLOTS, USH_JOURNAL_NEAR);
}

static int replay_block(
	struct scan *scan, const struct segment *segment, const struct good_block *block)
{
	const uint8_t *data = block->data;
	const struct ush_record *slots = (const struct ush_record *)(const void *)data;
	uint32_t shown = 0;

	for (uint32_t i = 1; i < USH_BLOCK_SLOTS;) {
		const struct ush_record *r = &slots[i];
		uint32_t run = block_run(data, scan->at, i);
		int error;

		for (; shown <= i; shown += SHOWN_SLOTS)
			show_ahead(scan, block, shown);

		if (run == 0)
			return block_error(scan, segment, -USH_ECORRUPT, BLOCK_GOOD,
				"its checksum is right but a run of records is not whole; this is a "
				"fault of the program that wrote it");
		if (r->type != USH_RECORD_TYPE_PAD) {
			scan->last_type = r->type;
			error = scan->apply(scan->context, r, run, scan->message);
			if (error != 0)
				return error;
			scan->report->records += run;
		}
		i += run;
	}
	return 0;
}

static int accept_block(
	struct scan *scan, const struct segment *segment, const struct good_block *block)
{
	struct ush_journal *journal = scan->journal;
	const uint8_t *data = block->data;
	struct ush_block_header header;
	uint64_t chain_block;
	int error;

	memcpy(&header, data, sizeof(header));
	if (journal->watch != NULL)
		journal->watch(journal->watch_context, segment->name, scan->at, &header, data);
	error = replay_block(scan, segment, block);
	if (error != 0)
		return error;
	chain_block = scan->at - ush_min64(header.chain_lag, scan->at - FIRST_BLOCK);
	/* A snapshot's chain may reach further than what was known when the block was sealed. */
	if (chain_block >= journal->chain_block) {
		journal->chain_block = chain_block;
		memcpy(journal->chain_value, header.chain, USH_CHAIN_BYTES);
	}
	scan->report->time_ns = ush_max64(scan->report->time_ns, header.time_ns);
	scan->report->blocks++;
	scan->at++;
	return 0;
}

/* The first record of an epoch says where it starts. */
static int check_open(struct scan *scan, const struct segment *segment, const uint8_t *data)
{
	const struct ush_record *open = (const struct ush_record *)(const void *)data + 1;

	if (open->type == USH_RECORD_TYPE_OPEN && open->user == segment->epoch &&
		open->hold == segment->first * USH_BLOCK_SLOTS)
		return 0;
	return block_error(scan, segment, -USH_ECORRUPT, BLOCK_GOOD,
		"an epoch must begin with OPEN for its own place; was a segment file renamed?");
}

/* Looks at what follows a bad block in its epoch: good blocks may know that it was durable.
 * out: *watermark: blocks below were durable; *torn: blocks that were written. */
static int look_ahead(
	struct scan *scan, uint32_t segment_index, uint64_t *watermark, uint64_t *torn)
{
	struct ush_journal *journal = scan->journal;
	const struct segment_list *list = &journal->segments;
	uint32_t epoch = list->items[segment_index].epoch;

	*watermark = 0;
	*torn = 0;
	for (uint32_t s = segment_index; s < list->count && list->items[s].epoch == epoch; s++) {
		uint64_t first = list->items[s].first;
		uint64_t at = s == segment_index ? scan->at : first;
		int file = journal->disk->open(journal->disk->context, list->items[s].name, false);
		if (file < 0)
			return file;
		while (at < first + journal->segment_blocks) {
			uint64_t want = ush_min64(
				READ_BYTES / USH_BLOCK_BYTES, first + journal->segment_blocks - at);
			int64_t got = segment_read(journal, file, at - first, want);
			for (int64_t i = 0; i < got; i++, at++) {
				const uint8_t *data = journal->read_buffer + i * USH_BLOCK_BYTES;
				enum block_kind kind =
					block_classify(data, (uint32_t)journal->box.box, epoch, at);
				struct ush_block_header header;
				memcpy(&header, data, sizeof(header));
				if (kind == BLOCK_GOOD)
					*watermark = ush_max64(
						*watermark, at - ush_min64(header.durable_lag, at));
				*torn += kind == BLOCK_GOOD || kind == BLOCK_TORN;
			}
			if (got <= 0) {
				journal->disk->close(journal->disk->context, file);
				file = -1;
				if (got < 0)
					return (int)got;
				break;
			}
		}
		if (file >= 0)
			journal->disk->close(journal->disk->context, file);
	}
	return 0;
}

/* An audit beside a running usherd: a block not yet written at the first look may be good, and
 * known durable, at the next. ret: true if the block at scan->at is good by now. */
static bool is_good_by_now(struct scan *scan, const struct segment *segment)
{
	struct ush_journal *journal = scan->journal;
	int file;
	bool good;

	if (!journal->config.read_only)
		return false;
	file = journal->disk->open(journal->disk->context, segment->name, false);
	if (file < 0)
		return false;
	good = segment_read(journal, file, scan->at - segment->first, 1) == 1 &&
	       block_classify(journal->read_buffer, (uint32_t)journal->box.box, segment->epoch,
		       scan->at) == BLOCK_GOOD;
	journal->disk->close(journal->disk->context, file);
	return good;
}

/* A block that is not good, at scan->at. limit: where this epoch is known to end, or UINT64_MAX.
 * ret: 0: the epoch has ended, or the block is to be read again. */
static int settle_bad(
	struct scan *scan, uint32_t segment_index, enum block_kind kind, uint64_t limit)
{
	const struct segment *segment = &scan->journal->segments.items[segment_index];
	uint64_t watermark = 0, torn = 0;
	int error = look_ahead(scan, segment_index, &watermark, &torn);
	bool known = limit != UINT64_MAX || watermark > scan->at ||
		     scan->journal->box.first_block > scan->at;

	/* Its file was renamed, and perhaps written over already. */
	if (error == -USH_ENOENT && scan->journal->config.read_only)
		return recycled(scan, segment);
	if (error != 0)
		return disk_error(scan, segment, error);
	if (known && is_good_by_now(scan, segment))
		return 0;
	switch (block_decide(kind, known)) {
	case BLOCK_END:
	case BLOCK_END_TORN:
		scan->report->torn_blocks = torn;
		scan->ended = true;
		return 0;
	case BLOCK_REFUSE_FOREIGN:
		return block_error(scan, segment, -USH_EFOREIGN, kind,
			"move that file away, or bring back the `box` file that belongs here");
	case BLOCK_REFUSE_VERSION:
		return block_error(scan, segment, -USH_EVERSION, kind,
			"start the version of usherd that wrote it");
	case BLOCK_CORRUPT:
	case BLOCK_ACCEPT:
		break;
	}
	return block_error(scan, segment, -USH_ECORRUPT, kind,
		"this block was durable and acknowledged; restore the file from a copy. Nothing was "
		"changed");
}

/* Takes the blocks of a chunk until one is not good. out: *settled: that one has been dealt with,
 * and may be good by now. */
static int take_chunk(struct scan *scan, uint32_t segment_index, const struct chunk *chunk,
	uint64_t limit, bool opens, bool *settled)
{
	const struct segment *segment = &scan->journal->segments.items[segment_index];
	struct good_block block = {.first = true};
	int error = 0;

	for (int64_t i = 0; i < chunk->got && error == 0; i++) {
		const uint8_t *data = chunk->data + i * USH_BLOCK_BYTES;

		if (chunk->kinds[i] != BLOCK_GOOD) {
			*settled = true;
			/* What follows is looked at on this thread. */
			readahead_end(scan->ra);
			return settle_bad(scan, segment_index, chunk->kinds[i], limit);
		}
		if (opens && scan->at == segment->first)
			error = check_open(scan, segment, data);
		block.data = data;
		block.next = i + 1 < chunk->got && chunk->kinds[i + 1] == BLOCK_GOOD
				     ? data + USH_BLOCK_BYTES
				     : NULL;
		if (error == 0)
			error = accept_block(scan, segment, &block);
		block.first = false;
	}
	return error;
}

static int scan_segment(struct scan *scan, uint32_t segment_index, uint64_t limit, bool opens)
{
	struct ush_journal *journal = scan->journal;
	const struct segment *segment = &journal->segments.items[segment_index];
	uint64_t stop = ush_min64(segment->first + journal->segment_blocks, limit);
	int file = journal->disk->open(journal->disk->context, segment->name, false);
	bool settled = true;
	int error = 0;

	if (file == -USH_ENOENT && journal->config.read_only)
		return recycled(scan, segment);
	if (file < 0)
		return disk_error(scan, segment, file);
	error = check_size(scan, segment, file);
	while (scan->at < stop && error == 0 && !scan->ended) {
		const struct chunk *chunk;

		/* At the beginning, and where a block was not good: read anew from there. */
		if (settled) {
			readahead_end(scan->ra);
			readahead_begin(scan->ra, segment, file, scan->at, stop);
			settled = false;
		}
		chunk = readahead_next(scan->ra);
		if (chunk->got <= 0)
			error = disk_error(
				scan, segment, chunk->got < 0 ? (int)chunk->got : -USH_ESHORT);
		else
			error = take_chunk(scan, segment_index, chunk, limit, opens, &settled);
	}
	readahead_end(scan->ra);
	journal->disk->close(journal->disk->context, file);
	return error;
}

static int missing(struct scan *scan, uint32_t epoch)
{
	ush_message_set(scan->message,
		"journal %s: the segment of epoch %u that holds block %" PRIu64
		" is missing; put it back, or, if it was recycled and there is no good snapshot "
		"behind it, `usher journal restore`. Nothing was changed",
		scan->journal->directory, epoch, scan->at);
	return -USH_ECORRUPT;
}

/* Scans the segments [from, to) of one epoch; limit: where the next epoch starts. */
static int scan_epoch(struct scan *scan, uint32_t from, uint32_t to, uint64_t limit)
{
	const struct segment_list *list = &scan->journal->segments;
	uint32_t epoch = list->items[from].epoch;

	scan->ended = false;
	if (list->items[from].first != scan->at && !scan->continued)
		return missing(scan, epoch);
	for (uint32_t i = from; i < to && !scan->ended && scan->at < limit; i++) {
		int error;
		if (list->items[i].first > scan->at ||
			(list->items[i].first != scan->at && !scan->continued))
			return missing(scan, epoch);
		scan->continued = false;
		error = scan_segment(scan, i, limit, i == from && epoch != scan->continued_epoch);
		if (error != 0)
			return error;
	}
	if (limit != UINT64_MAX && scan->at < limit)
		return missing(scan, epoch);
	scan->journal->end_epoch = epoch;
	scan->report->epochs++;
	return 0;
}

void ush_journal_watch(struct ush_journal *journal, ush_journal_block *watch, void *context)
{
	journal->watch = watch;
	journal->watch_context = context;
}

void ush_journal_show(struct ush_journal *journal, ush_journal_ahead *show, void *context)
{
	journal->show = show;
	journal->show_context = context;
}

/* ret: place in the list of the segment that holds the block: the last one that begins at or before
 * it, since a newer epoch overrules. UINT32_MAX: none does. */
static uint32_t segment_of(const struct segment_list *list, uint64_t block)
{
	uint32_t found = UINT32_MAX;

	for (uint32_t i = 0; i < list->count; i++) {
		if (list->items[i].first <= block)
			found = i;
	}
	return found;
}

bool journal_has_block(struct ush_journal *journal, uint64_t block, uint32_t epoch)
{
	const struct segment_list *list = &journal->segments;
	uint32_t at = segment_of(list, block);
	bool good = false;
	int file;

	/* Archived with its segment: the next one begins where the snapshot ends. */
	if (at == UINT32_MAX || block >= list->items[at].first + journal->segment_blocks)
		return false;
	file = list->items[at].epoch == epoch
		       ? journal->disk->open(journal->disk->context, list->items[at].name, false)
		       : -1;
	if (file < 0)
		return false;
	good = segment_read(journal, file, block - list->items[at].first, 1) == 1 &&
	       block_classify(journal->read_buffer, (uint32_t)journal->box.box, epoch, block) ==
		       BLOCK_GOOD;
	journal->disk->close(journal->disk->context, file);
	return good;
}

/* The first epoch of a replay that begins at scan->at. */
static void begin_at(const struct scan *scan, uint32_t *from)
{
	const struct segment_list *list = &scan->journal->segments;
	uint32_t at = segment_of(list, scan->at);

	if (scan->at == FIRST_BLOCK)
		return;
	USH_ASSERT(at != UINT32_MAX);
	/* The epoch may end just before it, with or without another one. */
	if (scan->at == list->items[at].first + scan->journal->segment_blocks)
		at++;
	*from = at;
}

int ush_journal_recover(struct ush_journal *journal, ush_journal_apply *apply, void *context,
	struct ush_journal_report *report, struct ush_message *message)
{
	return ush_journal_recover_from(journal, NULL, apply, context, report, message);
}

/* What a snapshot knows of the blocks before it. */
static void take_point(struct scan *scan, const struct ush_snapshot_point *point)
{
	scan->at = point->sequence / USH_BLOCK_SLOTS;
	scan->last_type = (uint8_t)point->last_type;
	scan->report->time_ns = point->time_ns;
	scan->report->from_sequence = point->sequence;
	scan->journal->end_epoch = point->epoch;
	scan->journal->chain_block = scan->at;
	memcpy(scan->journal->chain_value, point->chain, USH_CHAIN_BYTES);
}

static int scan_epochs(struct scan *scan, uint32_t from)
{
	const struct ush_journal *journal = scan->journal;
	const struct segment_list *list = &journal->segments;

	while (from < list->count) {
		uint32_t to = from;
		uint64_t limit = UINT64_MAX;
		int error;

		while (to < list->count && list->items[to].epoch == list->items[from].epoch)
			to++;
		if (to < list->count)
			limit = list->items[to].first;
		/* The box file knows where the newest epoch began. If only the first of its
		 * segments is gone, this epoch must not seem to go on up to the second, and to have
		 * rotted. */
		if (to < list->count && list->items[to].epoch == journal->box.epoch &&
			journal->box.first_block != UINT32_MAX)
			limit = ush_min64(limit, journal->box.first_block);
		error = scan_epoch(scan, from, to, limit);
		if (error != 0)
			return error;
		from = to;
	}
	return 0;
}

int ush_journal_recover_from(struct ush_journal *journal, const struct ush_snapshot_point *point,
	ush_journal_apply *apply, void *context, struct ush_journal_report *report,
	struct ush_message *message)
{
	const struct segment_list *list = &journal->segments;
	struct scan scan = {
		.journal = journal,
		.apply = apply,
		.context = context,
		.report = report,
		.message = message,
		.at = FIRST_BLOCK,
		.continued = point != NULL,
		.continued_epoch = point != NULL ? point->epoch : 0,
	};
	uint32_t from = 0;
	int error;

	USH_ASSERT(!journal->recovered);
	*report = (struct ush_journal_report){.segments = list->count};
	if (point != NULL)
		take_point(&scan, point);
	begin_at(&scan, &from);
	if (list->count != 0 && list->items[list->count - 1].epoch > journal->box.epoch) {
		ush_message_set(message,
			"journal %s: segment %s is newer than the box file (epoch %u): the box file was "
			"put back from an old copy; restore the newest one",
			journal->directory, list->items[list->count - 1].name, journal->box.epoch);
		return -USH_ECORRUPT;
	}
	scan.ra = readahead_open(journal, journal->config.read_ahead);
	if (scan.ra == NULL) {
		ush_message_set(message, "journal %s: no memory to read it", journal->directory);
		return -USH_ENOMEM;
	}
	error = scan_epochs(&scan, from);
	readahead_close(scan.ra);
	if (error != 0)
		return error;
	if (scan.at < journal->box.first_block) {
		ush_message_set(message,
			"journal %s: ends before block %" PRIu64
			", but epoch %u began at block %u: put the missing segments back. Nothing was "
			"changed",
			journal->directory, scan.at, journal->box.epoch, journal->box.first_block);
		return -USH_ECORRUPT;
	}
	report->end_sequence = scan.at * USH_BLOCK_SLOTS;
	report->clean = scan.last_type == USH_RECORD_TYPE_CLOSE;
	journal->end_block = scan.at;
	journal->recovered = true;
	return 0;
}
