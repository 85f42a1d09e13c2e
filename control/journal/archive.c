/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names in an archive directory:
 *   arc-EEEEEEEE-FFFFFFFFFFFFFFFF-NNNNNNNNNNNNNNNN.ush.zst   a piece: epoch, first sequence, first
 *                                                            sequence after it
 *   *.part, *.new                                            one that was being written
 * Anything else is left alone. A piece is believed when its header's checksum is right and agrees
 * with the name, and the pieces follow on one another; its blocks when they have been unpacked and
 * checked.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "journal/archive_internal.h"

#define PAGE 4096u
#define FRAME_BYTES (sizeof(struct ush_archive_header) - 8)

void piece_name(char *name, const struct ush_archive_header *header)
{
	snprintf(name, USH_DISK_NAME_MAX, "arc-%08" PRIx32 "-%016" PRIx64 "-%016" PRIx64 ".ush.zst",
		header->epoch, header->first * USH_BLOCK_SLOTS, header->end * USH_BLOCK_SLOTS);
}

uint32_t piece_crc(const struct ush_archive_header *header)
{
	struct ush_archive_header copy = *header;

	copy.crc = 0;
	return ush_crc32c(0, &copy, sizeof(copy));
}

static int bad(const struct ush_archive *archive, const char *name, int error, const char *what,
	struct ush_message *message)
{
	ush_message_set(message, "archive %s: %s: %s", archive->directory, name, what);
	return error;
}

/* ret: NULL if the header may be believed. */
static const char *check_header(
	const struct ush_archive *archive, const struct ush_archive_header *h, int *error)
{
	*error = -USH_ECORRUPT;
	if (h->frame != USH_ARCHIVE_FRAME || h->magic != USH_ARCHIVE_MAGIC ||
		h->frame_bytes != FRAME_BYTES)
		return "this is no piece of an archive";
	if (h->crc != piece_crc(h))
		return "the checksum of its header is wrong; restore the file from a copy";
	if (h->version != USH_ARCHIVE_VERSION) {
		*error = -USH_EVERSION;
		return "of another format version; read it with the version that wrote it";
	}
	if (archive->box != 0 && h->box != archive->box) {
		*error = -USH_EFOREIGN;
		return "of another box; name the archive that belongs to this journal";
	}
	if (h->first < FIRST_BLOCK || h->end <= h->first || h->segment_first > h->first ||
		h->end - h->first > USH_ARCHIVE_BLOCKS)
		return "its header contradicts itself";
	return NULL;
}

static int read_header(const struct ush_archive *archive, const char *name,
	struct ush_archive_header *header, struct ush_message *message)
{
	uint8_t *page = aligned_alloc(PAGE, PAGE);
	int file = page == NULL ? -USH_ENOMEM
				: archive->disk->open(archive->disk->context, name, false);
	int64_t got = file;
	char canonical[USH_DISK_NAME_MAX];
	const char *wrong;
	int error;

	if (file >= 0) {
		got = archive->disk->read(archive->disk->context, file, page, PAGE, 0);
		archive->disk->close(archive->disk->context, file);
	}
	if (got >= (int64_t)sizeof(*header))
		memcpy(header, page, sizeof(*header));
	free(page);
	if (got < (int64_t)sizeof(*header))
		return bad(archive, name, got < 0 ? (int)got : -USH_ESHORT,
			got < 0 ? ush_error_text((int)got) : "it is cut off", message);
	wrong = check_header(archive, header, &error);
	piece_name(canonical, header);
	if (wrong == NULL && strcmp(name, canonical) != 0)
		wrong = "its header has another name; was the file renamed?";
	return wrong == NULL ? 0 : bad(archive, name, error, wrong, message);
}

int archive_append(struct ush_archive *archive, const struct ush_archive_header *header,
	struct ush_message *message)
{
	if (archive->count == archive->capacity) {
		uint32_t capacity = archive->capacity == 0 ? 64 : archive->capacity * 2;
		struct ush_archive_header *pieces =
			realloc(archive->pieces, capacity * sizeof(*pieces));

		if (pieces == NULL) {
			ush_message_set(message, "archive %s: out of memory", archive->directory);
			return -USH_ENOMEM;
		}
		archive->pieces = pieces;
		archive->capacity = capacity;
	}
	archive->pieces[archive->count++] = *header;
	return 0;
}

struct listing {
	struct ush_archive *to;
	const struct ush_archive *known;
	struct ush_message *message;
};

static int each_name(void *argument, const char *name)
{
	struct listing *listing = argument;
	struct ush_archive_header header = {0};
	char canonical[USH_DISK_NAME_MAX];
	uint64_t first, end;
	uint32_t epoch;
	int error = 0;

	if (sscanf(name, "arc-%8" SCNx32 "-%16" SCNx64 "-%16" SCNx64 ".ush.zst", &epoch, &first,
		    &end) != 3)
		return 0;
	header.epoch = epoch;
	header.first = first / USH_BLOCK_SLOTS;
	header.end = end / USH_BLOCK_SLOTS;
	piece_name(canonical, &header);
	if (strcmp(name, canonical) != 0)
		return 0;
	for (uint32_t i = 0; i < listing->known->count; i++) {
		const struct ush_archive_header *have = &listing->known->pieces[i];

		if (have->first == header.first && have->end == header.end &&
			have->epoch == header.epoch)
			return archive_append(listing->to, have, listing->message);
	}
	/* Its header is read when the listing is over. */
	header.frame = 0;
	error = archive_append(listing->to, &header, listing->message);
	return error;
}

static int by_place(const void *a, const void *b)
{
	const struct ush_archive_header *left = a, *right = b;

	if (left->first != right->first)
		return left->first < right->first ? -1 : 1;
	return left->end < right->end ? -1 : left->end > right->end;
}

/* Each piece goes on where the one before ends. */
static int check_order(const struct ush_archive *archive, struct ush_message *message)
{
	uint64_t at = FIRST_BLOCK;
	static const uint8_t none[USH_CHAIN_BYTES];
	const uint8_t *chain = none;

	for (uint32_t i = 0; i < archive->count; i++) {
		const struct ush_archive_header *h = &archive->pieces[i];

		if (h->first != at) {
			ush_message_set(message,
				"archive %s: there is a gap: it has no piece with sequence %" PRIu64
				"; the next one begins at %" PRIu64 ". Put the missing pieces back",
				archive->directory, at * USH_BLOCK_SLOTS,
				h->first * USH_BLOCK_SLOTS);
			return -USH_ECORRUPT;
		}
		if (memcmp(h->chain, chain, USH_CHAIN_BYTES) != 0) {
			ush_message_set(message,
				"archive %s: the hash chain of the piece at sequence %" PRIu64
				" does not go on from the one before: a piece was changed, or is of "
				"another history",
				archive->directory, h->first * USH_BLOCK_SLOTS);
			return -USH_ECORRUPT;
		}
		chain = h->chain_end;
		at = h->end;
	}
	return 0;
}

int ush_archive_refresh(struct ush_archive *archive, struct ush_message *message)
{
	struct ush_archive fresh = *archive;
	struct listing listing = {.to = &fresh, .known = archive, .message = message};
	int error;

	fresh.pieces = NULL;
	fresh.count = fresh.capacity = 0;
	error = archive->disk->list(archive->disk->context, each_name, &listing);
	if (error != 0 && error != -USH_ENOMEM)
		ush_message_set(message, "archive %s: cannot list it: %s", archive->directory,
			ush_error_text(error));
	for (uint32_t i = 0; error == 0 && i < fresh.count; i++) {
		char name[USH_DISK_NAME_MAX];

		piece_name(name, &fresh.pieces[i]);
		if (fresh.pieces[i].frame == 0)
			error = read_header(&fresh, name, &fresh.pieces[i], message);
		if (error == 0 && fresh.box == 0)
			fresh.box = fresh.pieces[i].box;
	}
	if (error == 0 && fresh.count != 0)
		qsort(fresh.pieces, fresh.count, sizeof(fresh.pieces[0]), by_place);
	if (error == 0)
		error = check_order(&fresh, message);
	free(error == 0 ? archive->pieces : fresh.pieces);
	if (error == 0)
		*archive = fresh;
	return error;
}

int ush_archive_open(struct ush_archive **out, const struct ush_disk *disk, const char *directory,
	uint64_t box, struct ush_message *message)
{
	struct ush_archive *archive = calloc(1, sizeof(*archive));
	int error;

	if (archive == NULL) {
		ush_message_set(message, "archive %s: out of memory", directory);
		return -USH_ENOMEM;
	}
	archive->disk = disk;
	archive->box = box;
	snprintf(archive->directory, sizeof(archive->directory), "%s", directory);
	error = ush_archive_refresh(archive, message);
	if (error != 0)
		ush_archive_close(archive);
	else
		*out = archive;
	return error;
}

uint32_t ush_archive_count(const struct ush_archive *archive)
{
	return archive->count;
}

const struct ush_archive_header *ush_archive_piece(
	const struct ush_archive *archive, uint32_t index)
{
	USH_ASSERT(index < archive->count);
	return &archive->pieces[index];
}

uint64_t ush_archive_end(const struct ush_archive *archive)
{
	return archive->count == 0 ? FIRST_BLOCK : archive->pieces[archive->count - 1].end;
}

/* ret: NULL if every block is good, in its place, and the chain holds. */
static const char *check_blocks(const struct ush_archive_header *h, const uint8_t *blocks)
{
	uint64_t count = h->end - h->first;
	/* The chain before each block: what a header says of blocks before the piece was checked
	 * with them. */
	uint8_t(*chain)[USH_CHAIN_BYTES] = malloc((count + 1) * USH_CHAIN_BYTES);
	const char *wrong = chain == NULL ? "out of memory" : NULL;

	if (chain != NULL)
		memcpy(chain[0], h->chain, USH_CHAIN_BYTES);
	for (uint64_t i = 0; i < count && wrong == NULL; i++) {
		const uint8_t *data = blocks + i * USH_BLOCK_BYTES;
		struct ush_block_header header;

		if (block_classify(data, (uint32_t)h->box, h->epoch, h->first + i) != BLOCK_GOOD)
			wrong = "a block in it is not good";
		memcpy(&header, data, sizeof(header));
		if (wrong == NULL && header.chain_lag <= i &&
			memcmp(chain[i - header.chain_lag], header.chain, USH_CHAIN_BYTES) != 0)
			wrong = "the hash chain is broken in it: a block was changed after it was "
				"written";
		memcpy(chain[i + 1], chain[i], USH_CHAIN_BYTES);
		ush_journal_chain_next(chain[i + 1], data);
	}
	if (wrong == NULL && memcmp(chain[count], h->chain_end, USH_CHAIN_BYTES) != 0)
		wrong = "its blocks are not those that its header's hash chain is of";
	free(chain);
	return wrong;
}

int piece_unpack(const struct ush_archive *archive, const char *name,
	const struct ush_archive_header *header, uint8_t *blocks, struct ush_message *message)
{
	size_t bytes = (header->end - header->first) * USH_BLOCK_BYTES;
	uint8_t *file = NULL;
	int64_t size = file_read(archive->disk, name, &file), got = 0;
	const char *wrong = NULL;

	if (size >= 0 && ((uint64_t)size != sizeof(*header) + header->packed_bytes ||
				 memcmp(file, header, sizeof(*header)) != 0))
		wrong = "it is cut off, or not the file it was";
	if (size >= 0 && wrong == NULL &&
		ush_crc32c(0, file + sizeof(*header), header->packed_bytes) != header->packed_crc)
		wrong = "its checksum is wrong; restore the file from a copy";
	if (size >= 0 && wrong == NULL)
		got = zstd_unpack(
			blocks, bytes, file + sizeof(*header), (size_t)header->packed_bytes);
	free(file);
	if (size < 0 || got == -USH_EUNSUPPORTED)
		return bad(archive, name, size < 0 ? (int)size : (int)got,
			size < 0 ? ush_error_text((int)size) : "this usher was built without zstd",
			message);
	if (wrong == NULL && got != (int64_t)bytes)
		wrong = "it does not unpack to what was packed; restore the file from a copy";
	if (wrong == NULL)
		wrong = check_blocks(header, blocks);
	return wrong == NULL ? 0 : bad(archive, name, -USH_ECORRUPT, wrong, message);
}

int ush_archive_unpack(
	struct ush_archive *archive, uint32_t index, uint8_t *blocks, struct ush_message *message)
{
	char name[USH_DISK_NAME_MAX];

	USH_ASSERT(index < archive->count);
	piece_name(name, &archive->pieces[index]);
	return piece_unpack(archive, name, &archive->pieces[index], blocks, message);
}

void ush_archive_close(struct ush_archive *archive)
{
	if (archive == NULL)
		return;
	free(archive->pieces);
	free(archive);
}
