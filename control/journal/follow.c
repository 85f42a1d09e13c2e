/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One step: find the segment that holds the next block, read up to 1 MiB of it, take the unbroken
 * row of good blocks, and hand on as many of them as are durable.
 *
 * What is durable. Recovery accepts an unbroken row of good blocks, so a reader may hand on a block
 * as soon as nothing can take it away again. It knows that of blocks below
 *   - the watermark of a good block further on;
 *   - the beginning of a newer epoch, in a segment's name or in the box file;
 *   - the sequence its caller has from usherd;
 *   - the end of a row it has read and then synced: the blocks stood on the disk when they were
 *     read, and the sync takes whatever is in the disk's own cache to safety.
 * Under load the watermark comes by itself within a write or two, so nothing is synced. On an idle,
 * a closed or a killed journal the last group of blocks has no later header, and a sync costs
 * nobody anything. So a reader needs no word with usherd, and a dead one's journal is read to the
 * same end that the next start will find.
 *
 * Failure modes: a bad block known durable, a missing segment, a block of another box, format or
 * history: told apart from a look at the wrong moment (segments get their names and are recycled
 * while we look) by listing the directory anew and looking again.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "journal/follow.h"
#include "journal/internal.h"

/* Looks before a fault is believed. */
#define LOOKS 3u
#define IDLE_GLANCES 64u
#define CHUNK_BLOCKS (READ_BYTES / USH_BLOCK_BYTES)

struct ush_follow {
	const struct ush_disk *disk;
	char directory[512];
	uint64_t sync_ns;
	struct ush_box_file box;
	struct segment_list list;
	uint64_t segment_blocks;
	uint8_t *buffer;
	/* The next sequence wanted, in or at the beginning of block `at`. */
	uint64_t next;
	uint64_t at;
	/* Epoch of the block before; 0: there is none, or it is not known yet. */
	uint32_t epoch;
	uint32_t epoch_wanted;
	bool started;
	/* Blocks below are durable. */
	uint64_t known;
	/* Steps in a row that found nothing. */
	uint32_t idle;
	bool list_old;
	int file;
	struct segment segment;
	/* Where the segment's part in the history ends. */
	uint64_t end;
	/* Blocks in the buffer, from `at`: the row of good ones. */
	uint64_t good;
	/* Since when good blocks at this place have been waiting for a watermark. */
	uint64_t waiting_at;
	uint64_t waiting_ns;
	uint64_t block_time_ns;
	uint32_t block_epoch;
	ush_journal_block *watch;
	void *watch_context;
};

static int fault(const struct ush_follow *f, struct ush_message *message, int error,
	enum block_kind kind, uint64_t block, const char *what)
{
	ush_message_set(message,
		"journal %s: segment %s, block %" PRIu64 " (offset %" PRIu64 "): %s: %s",
		f->directory, f->segment.name, block, (block - f->segment.first) * USH_BLOCK_BYTES,
		block_kind_text(kind), what);
	return error;
}

static void close_segment(struct ush_follow *f)
{
	if (f->file >= 0)
		f->disk->close(f->disk->context, f->file);
	f->file = -1;
}

/* Reads box file and directory anew. */
static int list_again(struct ush_follow *f, struct ush_message *message)
{
	struct segment_list list = {0};
	int error = segment_list_read(&list, f->disk, message);

	if (error != 0) {
		segment_list_free(&list);
		return error;
	}
	segment_list_free(&f->list);
	f->list = list;
	f->list_old = false;
	close_segment(f);
	return 0;
}

static uint32_t newest_epoch(const struct ush_follow *f)
{
	return f->list.count == 0 ? 0 : f->list.items[f->list.count - 1].epoch;
}

/* An idle reader looks at the box file only; a new epoch, or the end of its segment, makes it list
 * the directory. */
static int look(struct ush_follow *f, bool again, struct ush_message *message)
{
	int error = 0;

	if (f->idle != 0 || f->list_old || again) {
		uint64_t box = f->box.box;

		error = ush_journal_box_read(f->disk, &f->box, message);
		if (error == 0 && f->box.box != box) {
			ush_message_set(message, "journal %s: is another box's now", f->directory);
			error = -USH_EFOREIGN;
		}
	}
	if (error == 0 && (f->list_old || again || f->box.epoch > newest_epoch(f)))
		error = list_again(f, message);
	return error;
}

static int missing(const struct ush_follow *f, struct ush_message *message)
{
	ush_message_set(message,
		"journal %s: the segment that holds block %" PRIu64
		" is missing; put it back, or name the archive that has it",
		f->directory, f->at);
	return -USH_ECORRUPT;
}

/* Finds and opens the segment that holds block `at`. ret: 1; 0: it is not there yet. */
static int find_place(struct ush_follow *f, struct ush_message *message)
{
	const struct segment_list *list = &f->list;
	const struct segment *found = NULL;
	bool later = false;

	for (uint32_t i = 0; i < list->count; i++) {
		const struct segment *s = &list->items[i];
		if (s->first <= f->at)
			found = s;
		else
			later = true;
		if (f->epoch != 0 && s->epoch > f->epoch && s->first < f->at) {
			ush_message_set(message,
				"journal %s: epoch %u began at block %" PRIu64
				", before what was read of epoch %u: this is another history, put "
				"back from a copy; start this reader anew",
				f->directory, s->epoch, s->first, f->epoch);
			return -USH_EFOREIGN;
		}
	}
	if (found == NULL)
		return later ? missing(f, message) : 0;
	f->end = found->first + f->segment_blocks;
	for (const struct segment *s = found + 1; s < list->items + list->count; s++) {
		if (s->epoch > found->epoch) {
			f->end = ush_min64(f->end, s->first);
			f->known = ush_max64(f->known, s->first);
			break;
		}
	}
	if (f->box.epoch > found->epoch && f->box.first_block != UINT32_MAX)
		f->known = ush_max64(f->known, f->box.first_block);
	if (f->at >= f->end) {
		f->list_old = true;
		return later ? missing(f, message) : 0;
	}
	if (f->file >= 0 && strcmp(f->segment.name, found->name) == 0)
		return 1;
	close_segment(f);
	f->segment = *found;
	f->file = f->disk->open(f->disk->context, found->name, false);
	if (f->file >= 0)
		return 1;
	ush_message_set(message, "journal %s: cannot open segment %s: %s", f->directory,
		found->name, ush_error_text(f->file));
	return f->file;
}

/* Reads `count` blocks from `at` and finds the row of good ones; any good one raises `known`. */
static int read_row(struct ush_follow *f, uint64_t count, struct ush_message *message)
{
	int64_t got = f->disk->read(f->disk->context, f->file, f->buffer, count * USH_BLOCK_BYTES,
		(f->at - f->segment.first) * USH_BLOCK_BYTES);
	enum block_kind kind = BLOCK_GOOD, bad = BLOCK_GOOD;

	f->good = 0;
	if (got != (int64_t)(count * USH_BLOCK_BYTES)) {
		int error = got < 0 ? (int)got : -USH_ESHORT;
		ush_message_set(message,
			"journal %s: cannot read segment %s near block %" PRIu64 ": %s",
			f->directory, f->segment.name, f->at, ush_error_text(error));
		return error;
	}
	for (uint64_t i = 0; i < count; i++) {
		const uint8_t *data = f->buffer + i * USH_BLOCK_BYTES;
		struct ush_block_header header;

		kind = block_classify(data, (uint32_t)f->box.box, f->segment.epoch, f->at + i);
		memcpy(&header, data, sizeof(header));
		if (kind == BLOCK_GOOD)
			f->known = ush_max64(
				f->known, f->at + i - ush_min64(header.durable_lag, f->at + i));
		if (kind == BLOCK_GOOD && bad == BLOCK_GOOD)
			f->good++;
		else if (bad == BLOCK_GOOD)
			bad = kind;
	}
	if (bad == BLOCK_GOOD)
		return 0;
	switch (block_decide(bad, f->known > f->at + f->good)) {
	case BLOCK_END:
	case BLOCK_END_TORN:
		return 0;
	case BLOCK_REFUSE_FOREIGN:
		return fault(
			f, message, -USH_EFOREIGN, bad, f->at + f->good, "move that file away");
	case BLOCK_REFUSE_VERSION:
		return fault(f, message, -USH_EVERSION, bad, f->at + f->good,
			"read it with the version that wrote it");
	case BLOCK_CORRUPT:
	case BLOCK_ACCEPT:
		break;
	}
	return fault(f, message, -USH_ECORRUPT, bad, f->at + f->good,
		"this block was durable; restore the file from a copy");
}

/* The block before the position must be there, and of the epoch the reader had it from. */
static int check_start(struct ush_follow *f, struct ush_message *message)
{
	uint64_t at = f->at, before = (f->next - 1) / USH_BLOCK_SLOTS;
	int found, error = 0;

	if (f->next <= USH_LOG_SEQUENCE_FIRST) {
		f->started = true;
		return 0;
	}
	f->at = before;
	found = find_place(f, message);
	if (found > 0)
		error = read_row(f, 1, message);
	if (found > 0 && error == 0 && f->good == 1 &&
		(f->epoch_wanted == 0 || f->epoch_wanted == f->segment.epoch)) {
		f->started = true;
		/* Of the block at hand itself if the position is inside of it. */
		f->epoch = before == at ? 0 : f->segment.epoch;
	} else if (found >= 0 && error == 0) {
		ush_message_set(message,
			"journal %s: has no block %" PRIu64
			" of epoch %u%s before sequence %" PRIu64
			": the position is of another journal, or of one that reached further",
			f->directory, before, f->epoch_wanted, f->epoch_wanted == 0 ? " (any)" : "",
			f->next);
		error = -USH_EFOREIGN;
	}
	f->at = at;
	return found < 0 ? found : error;
}

/* ret: blocks in the buffer that may be handed on. */
static int64_t gather(
	struct ush_follow *f, uint64_t now_ns, bool again, struct ush_message *message)
{
	int error = look(f, again, message);
	uint64_t left;
	int found;

	if (error == 0 && !f->started)
		error = check_start(f, message);
	if (error != 0)
		return error;
	found = find_place(f, message);
	/* The present segment is at its end: is there a next one? */
	if (found == 0 && f->list_old) {
		error = look(f, true, message);
		found = error != 0 ? error : find_place(f, message);
	}
	if (found <= 0)
		return found;
	left = ush_min64(CHUNK_BLOCKS, f->end - f->at);
	/* An idle reader looks at one block; now and then further on, where a header may say that
	 * the block it waits for was durable and has rotted. */
	error = read_row(f, f->idle % IDLE_GLANCES == 0 ? left : 1, message);
	if (error == 0 && f->idle % IDLE_GLANCES != 0 && f->good != 0)
		error = read_row(f, left, message);
	if (error != 0 || f->good == 0)
		return error;
	if (f->known > f->at)
		return (int64_t)ush_min64(f->good, f->known - f->at);
	if (f->waiting_at != f->at) {
		f->waiting_at = f->at;
		f->waiting_ns = now_ns;
	}
	if (f->disk->sync == NULL || now_ns - f->waiting_ns < f->sync_ns)
		return 0;
	error = f->disk->sync(f->disk->context, f->file);
	if (error != 0) {
		ush_message_set(message, "journal %s: cannot sync segment %s: %s", f->directory,
			f->segment.name, ush_error_text(error));
		return error;
	}
	f->known = f->at + f->good;
	return (int64_t)f->good;
}

static int hand_on(struct ush_follow *f, const uint8_t *data, ush_journal_apply *each,
	void *context, struct ush_message *message)
{
	const struct ush_record *slots = (const struct ush_record *)(const void *)data;
	uint64_t first = f->at * USH_BLOCK_SLOTS;
	struct ush_block_header header;
	bool opens;

	memcpy(&header, data, sizeof(header));
	f->block_time_ns = header.time_ns;
	f->block_epoch = header.epoch;
	opens = f->at == FIRST_BLOCK || (f->epoch != 0 && f->epoch != header.epoch);
	if (opens && (slots[1].type != USH_RECORD_TYPE_OPEN || slots[1].user != header.epoch ||
			     slots[1].hold != first))
		return fault(f, message, -USH_ECORRUPT, BLOCK_GOOD, f->at,
			"an epoch must begin with OPEN for its own place; was a segment renamed?");
	if (f->watch != NULL && f->next <= first)
		f->watch(f->watch_context, f->segment.name, f->at, &header, data);
	for (uint32_t i = 1; i < USH_BLOCK_SLOTS;) {
		const struct ush_record *r = &slots[i];
		uint32_t run = block_run(data, f->at, i);
		int stop = 0;

		if (run == 0)
			return fault(f, message, -USH_ECORRUPT, BLOCK_GOOD, f->at,
				"its checksum is right but a run of records is not whole");
		i += run;
		if (r->sequence < f->next)
			continue;
		f->next = r->sequence;
		if (r->type != USH_RECORD_TYPE_PAD)
			stop = each(context, r, run, message);
		if (stop < 0)
			return stop;
		f->next = r->sequence + run;
		if (stop > 0)
			return stop;
	}
	return 0;
}

/* ret: true if another look may clear the fault up. A sync or a read that fails is believed. */
static bool is_doubtful(int error)
{
	return error == -USH_ECORRUPT || error == -USH_EFOREIGN || error == -USH_EVERSION ||
	       error == -USH_ENOENT;
}

int ush_follow_step(struct ush_follow *f, uint64_t now_ns, ush_journal_apply *each, void *context,
	struct ush_message *message)
{
	int64_t count = 0;
	int done = 0;

	for (uint32_t i = 0; i < LOOKS; i++) {
		count = gather(f, now_ns, i != 0, message);
		if (count >= 0 || !is_doubtful((int)count))
			break;
	}
	if (count < 0)
		return (int)count;
	f->idle = count == 0 ? f->idle + 1 : 0;
	for (; done < count; done++) {
		int stop = hand_on(
			f, f->buffer + (size_t)done * USH_BLOCK_BYTES, each, context, message);
		if (stop < 0)
			return stop;
		/* Stopped in the middle of a block: it is read again. */
		if (stop > 0 && f->next % USH_BLOCK_SLOTS != 0)
			return done + 1;
		f->epoch = f->block_epoch;
		f->at++;
		f->next = f->at * USH_BLOCK_SLOTS;
		if (stop > 0)
			return done + 1;
	}
	return done;
}

int ush_follow_open(struct ush_follow **out, const struct ush_follow_config *config,
	const struct ush_disk *disk, struct ush_message *message)
{
	struct ush_follow *f = calloc(1, sizeof(*f));
	struct ush_message what = {{0}};
	int error = -USH_ENOMEM;

	ush_message_set(&what, "out of memory");
	if (f != NULL)
		f->buffer = aligned_alloc(USH_BLOCK_BYTES, READ_BYTES);
	if (f != NULL && f->buffer != NULL)
		error = ush_journal_box_read(disk, &f->box, &what);
	if (error == 0 && config->from.box != 0 && config->from.box != f->box.box) {
		ush_message_set(&what,
			"is box %016" PRIx64 ", the position is from box %016" PRIx64, f->box.box,
			config->from.box);
		error = -USH_EFOREIGN;
	}
	if (error == 0 && f->box.segment_bytes < USH_BLOCK_BYTES) {
		ush_message_set(&what, "the box file names an impossible segment size");
		error = -USH_ECORRUPT;
	}
	if (error != 0) {
		ush_message_set(message, "journal %s: %s", config->directory, what.text);
		if (f != NULL)
			free(f->buffer);
		free(f);
		return error;
	}
	snprintf(f->directory, sizeof(f->directory), "%s", config->directory);
	f->disk = disk;
	f->sync_ns = config->sync_ns;
	f->segment_blocks = f->box.segment_bytes / USH_BLOCK_BYTES;
	f->next = ush_max64(config->from.sequence, USH_LOG_SEQUENCE_FIRST);
	f->at = f->next / USH_BLOCK_SLOTS;
	f->epoch_wanted = config->from.epoch;
	f->file = -1;
	f->list_old = true;
	*out = f;
	return 0;
}

void ush_follow_known(struct ush_follow *f, uint64_t sequence)
{
	f->known = ush_max64(f->known, sequence / USH_BLOCK_SLOTS);
}

void ush_follow_position(const struct ush_follow *f, struct ush_follow_position *position)
{
	bool inside = f->next % USH_BLOCK_SLOTS != 0 && f->block_epoch != 0;

	*position = (struct ush_follow_position){
		.sequence = f->next,
		.box = f->box.box,
		.epoch = inside ? f->block_epoch : f->epoch,
	};
}

uint64_t ush_follow_time_ns(const struct ush_follow *f)
{
	return f->block_time_ns;
}

uint32_t ush_follow_epoch(const struct ush_follow *f)
{
	return f->block_epoch;
}

void ush_follow_watch(struct ush_follow *f, ush_journal_block *watch, void *context)
{
	f->watch = watch;
	f->watch_context = context;
}

void ush_follow_close(struct ush_follow *f)
{
	close_segment(f);
	segment_list_free(&f->list);
	free(f->buffer);
	free(f);
}
