/* SPDX-License-Identifier: Apache-2.0 */
/*
 * usher journal archive: closed segments, packed and checked, into a directory of their own.
 * usher journal restore: back from there.
 */
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "journal/archive.h"
#include "journal/position.h"
#include "tools/offline.h"
#include "tools/usher.h"

#define LOOK_NS 100000000l
#define SYNC_NS 1000000000ull
#define LEVEL_MAX 19u

static const char archive_usage[] =
	"usage: usher journal archive [--follow | --check] [--level N] [--json] --to DIR STATE\n"
	"\n"
	"Packs each closed segment of the journal in usherd's state directory STATE into the directory\n"
	"DIR: written aside, synced, read back, unpacked and checked block by block, then named. Goes on\n"
	"where DIR ends. The segment being written is not closed; the next start closes it. May run\n"
	"beside a live usherd.\n"
	"\n"
	"  --to DIR      where the archive is, or is to be: a directory that exists\n"
	"  --follow      stay, and archive each segment when it is closed\n"
	"  --check       write nothing; unpack and check all that is there\n"
	"  --level N     how hard zstd tries, 1 to 19, 3 if not given\n"
	"  --json        print one JSON object a piece, and one in the end\n"
	"  --help        this text\n"
	"\n"
	"Exit status: 0 all that is closed is archived; 1 it is not (the message says why); 2 usage.\n"
	"\n"
	"Example: usher journal archive --follow --to /backup/usher /var/lib/usher\n";

static const char restore_usage[] =
	"usage: usher journal restore [--json] --from DIR STATE\n"
	"\n"
	"Puts every segment of the archive DIR back into the journal of usherd's state directory STATE\n"
	"that has no file there. usherd must be stopped. What is there is not touched; `box` is not in\n"
	"an archive.\n"
	"\n"
	"  --from DIR    the archive\n"
	"  --json        print one JSON object\n"
	"  --help        this text\n"
	"\n"
	"Exit status: 0 all segments are there; 1 they are not (the message says why); 2 usage.\n"
	"\n"
	"Example: usher journal restore --from /backup/usher /var/lib/usher\n";

struct options {
	const char *state;
	const char *archive;
	bool follow;
	bool check;
	bool json;
	uint64_t level;
	uint8_t *blocks;
	uint64_t pieces;
	uint64_t packed_bytes;
	uint64_t block_count;
};

static _Atomic int stopped;

static void on_signal(int number)
{
	(void)number;
	stopped = 1;
}

static uint64_t monotonic_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* Tells of the pieces from number `from` on. */
static void print_pieces(struct options *o, const struct ush_archive *archive, uint32_t from)
{
	for (uint32_t i = from; i < ush_archive_count(archive); i++) {
		const struct ush_archive_header *h = ush_archive_piece(archive, i);
		uint64_t first = h->first * USH_BLOCK_SLOTS, end = h->end * USH_BLOCK_SLOTS;

		o->pieces++;
		o->block_count += h->end - h->first;
		o->packed_bytes += h->packed_bytes;
		if (o->json)
			printf("{\"epoch\":%u,\"first_sequence\":%" PRIu64
			       ",\"end_sequence\":%" PRIu64 ",\"bytes\":%" PRIu64
			       ",\"packed_bytes\":%" PRIu64 "}\n",
				h->epoch, first, end, (h->end - h->first) * USH_BLOCK_BYTES,
				h->packed_bytes);
		else
			printf("epoch %u, sequences %" PRIu64 " to %" PRIu64 ": %" PRIu64
			       " bytes in %" PRIu64 "\n",
				h->epoch, first, end - 1, (h->end - h->first) * USH_BLOCK_BYTES,
				h->packed_bytes);
	}
	fflush(stdout);
}

static void print_end(const struct options *o, const struct ush_archive *archive)
{
	uint64_t end = ush_archive_end(archive) * USH_BLOCK_SLOTS;

	if (o->json)
		printf("{\"pieces\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"packed_bytes\":%" PRIu64
		       ",\"archived_sequence\":%" PRIu64 "}\n",
			o->pieces, o->block_count * USH_BLOCK_BYTES, o->packed_bytes, end);
	else
		printf("%" PRIu64 " pieces, %" PRIu64 " bytes in %" PRIu64
		       "; the archive has all before sequence %" PRIu64 "\n",
			o->pieces, o->block_count * USH_BLOCK_BYTES, o->packed_bytes, end);
}

static int check_all(struct options *o, struct ush_archive *archive, struct ush_message *message)
{
	int error = 0;

	o->blocks = malloc((size_t)USH_ARCHIVE_BLOCKS * USH_BLOCK_BYTES);
	if (o->blocks == NULL) {
		ush_message_set(message, "out of memory");
		return -USH_ENOMEM;
	}
	for (uint32_t i = 0; i < ush_archive_count(archive) && error == 0; i++)
		error = ush_archive_unpack(archive, i, o->blocks, message);
	print_pieces(o, archive, 0);
	return error;
}

/* What was archived before must be there: it may be another directory, or an empty mount point. */
static int check_position(const struct options *o, const struct offline *offline,
	const struct ush_archive *archive, struct ush_message *message)
{
	uint64_t end = ush_archive_end(archive) * USH_BLOCK_SLOTS;
	struct ush_reader before;
	int error = ush_position_read(&offline->live_disk, USH_READER_ARCHIVE, &before, message);

	if (error == -USH_ENOENT)
		return 0;
	if (error != 0 || before.position.sequence <= end)
		return error;
	ush_message_set(message,
		"archive %s: has all before sequence %" PRIu64
		", but this journal was archived up to "
		"%" PRIu64
		": is this its archive, and is its disk mounted? To begin a new one: usher "
		"journal forget " USH_READER_ARCHIVE " STATE",
		o->archive, end, before.position.sequence);
	return -USH_EFOREIGN;
}

/* Lets the journal recycle what is archived. */
static int tell_position(const struct offline *offline, const struct ush_archiver *archiver,
	struct ush_message *message)
{
	struct ush_follow_position position;
	struct timespec now;

	ush_archiver_position(archiver, &position);
	clock_gettime(CLOCK_REALTIME, &now);
	return ush_position_write(&offline->live_disk, USH_READER_ARCHIVE, &position,
		(uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec, message);
}

static int write_all(struct options *o, const struct offline *offline, struct ush_archive *archive,
	struct ush_message *message)
{
	const struct timespec pause = {.tv_nsec = LOOK_NS};
	const struct ush_archiver_config config = {.directory = offline->directory,
		.level = (int)o->level,
		.sync_ns = o->follow ? SYNC_NS : 0};
	struct ush_archiver *archiver;
	uint32_t told = ush_archive_count(archive);
	int blocks = 0, error = check_position(o, offline, archive, message);

	if (error == 0)
		error = ush_archiver_open(&archiver, archive, &config, &offline->disk, message);
	if (error != 0)
		return error;
	error = tell_position(offline, archiver, message);
	while (error == 0) {
		blocks = ush_archiver_step(archiver, monotonic_ns(), message);
		error = blocks < 0 ? blocks : 0;
		if (error == 0 && ush_archive_count(archive) != told)
			error = tell_position(offline, archiver, message);
		print_pieces(o, archive, told);
		told = ush_archive_count(archive);
		if (error != 0 || stopped != 0 || (blocks == 0 && !o->follow))
			break;
		if (blocks == 0 && o->follow)
			nanosleep(&pause, NULL);
	}
	ush_archiver_close(archiver);
	return error;
}

static int run_archive(struct options *o, struct ush_message *message)
{
	struct offline offline;
	struct ush_archive *archive;
	int error = offline_open_disk(&offline, o->state, o->archive, message);

	if (error != 0)
		return error;
	archive = offline.archive;
	/* The journal itself is read: what it has no more is archived, or lost. */
	error = o->check ? check_all(o, archive, message)
			 : write_all(o, &offline, archive, message);
	if (error == 0)
		print_end(o, archive);
	free(o->blocks);
	offline_close(&offline);
	return error;
}

static int run_restore(const struct options *o, struct ush_message *message)
{
	struct offline offline;
	uint32_t segments = 0;
	int error = offline_open_disk(&offline, o->state, o->archive, message);

	if (error != 0)
		return error;
	error = offline.live_disk.lock(offline.live_disk.context);
	if (error != 0)
		ush_message_set(message, "journal %s: cannot lock: %s%s", offline.directory,
			ush_error_text(error), error == -USH_EBUSY ? ": stop usherd first" : "");
	if (error == 0) {
		error = ush_archive_restore(
			offline.archive, &offline.live_disk, &segments, message);
		offline.live_disk.unlock(offline.live_disk.context);
	}
	if (error == 0)
		printf(o->json ? "{\"segments\":%u}\n" : "%u segments put back\n", segments);
	offline_close(&offline);
	return error;
}

/* ret: an exit status, or -1 to go on. */
static int parse(struct options *o, int argc, char **argv, bool restore)
{
	static const struct option archive_options[] = {{"follow", no_argument, NULL, 'f'},
		{"check", no_argument, NULL, 'c'}, {"level", required_argument, NULL, 'l'},
		{"to", required_argument, NULL, 'd'}, {"json", no_argument, NULL, 'j'},
		{"help", no_argument, NULL, 'h'}, {0}};
	static const struct option restore_options[] = {{"from", required_argument, NULL, 'd'},
		{"json", no_argument, NULL, 'j'}, {"help", no_argument, NULL, 'h'}, {0}};
	const char *usage = restore ? restore_usage : archive_usage;
	bool wrong = false;
	int option;

	o->level = 3;
	while ((option = getopt_long(
			argc, argv, "", restore ? restore_options : archive_options, NULL)) != -1) {
		if (option == 'h') {
			fputs(usage, stdout);
			return USHER_OK;
		}
		o->follow |= option == 'f';
		o->check |= option == 'c';
		o->json |= option == 'j';
		wrong |= option == '?';
		if (option == 'd')
			o->archive = optarg;
		if (option == 'l')
			wrong |= !usher_number(optarg, &o->level) || o->level < 1 ||
				 o->level > LEVEL_MAX;
	}
	if (wrong || optind + 2 != argc || o->archive == NULL || (o->follow && o->check)) {
		fputs(usage, stderr);
		return USHER_USAGE;
	}
	o->state = argv[optind + 1];
	return -1;
}

static int run(int argc, char **argv, bool restore)
{
	struct sigaction action = {.sa_handler = on_signal};
	struct ush_message message = {{0}};
	struct options o = {0};
	int status = parse(&o, argc, argv, restore), error;

	if (status >= 0)
		return status;
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
	error = restore ? run_restore(&o, &message) : run_archive(&o, &message);
	if (error != 0)
		fprintf(stderr, "usher journal: %s\n", message.text);
	return error == 0 ? USHER_OK : USHER_FAILED;
}

int journal_archive(int argc, char **argv)
{
	return run(argc, argv, false);
}

int journal_restore(int argc, char **argv)
{
	return run(argc, argv, true);
}
