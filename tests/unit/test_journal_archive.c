/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The archive over two disks in memory: what was closed is there, byte for byte, whatever happens
 * on the way, and whatever is wrong with it has a name.
 */
#include "journal/archive_internal.h"
#include "tests/journal_draw.h"

static struct fake_disk *store;
static struct ush_disk store_disk;
static struct ush_archive *archive;

static void store_make(void)
{
	store = fake_disk_make(11);
	fake_disk_table(store, &store_disk);
}

static int archive_open(void)
{
	return ush_archive_open(&archive, &store_disk, "/store", BOX_ID, &rig.message);
}

/* Archives all that is closed. ret: 0 or the error. */
static int archive_all(void)
{
	const struct ush_archiver_config config = {.directory = "/rig"};
	struct ush_archiver *archiver;
	int error = archive_open(), blocks;

	if (error != 0)
		return error;
	error = ush_archiver_open(&archiver, archive, &config, &rig.disk, &rig.message);
	if (error == 0) {
		do {
			blocks = ush_archiver_step(archiver, 0, &rig.message);
		} while (blocks > 0);
		ush_archiver_close(archiver);
		error = blocks;
	}
	return error;
}

static void archive_close(void)
{
	struct fake_counts counts;

	ush_archive_close(archive);
	archive = NULL;
	fake_disk_counts(store, &counts);
	CHECK_EQ(counts.handles, 0);
}

static void finish(void)
{
	fake_disk_free(store);
	rig_free(&rig);
}

static struct fake_file *piece(uint32_t index)
{
	char name[USH_DISK_NAME_MAX];

	piece_name(name, ush_archive_piece(archive, index));
	return fake_disk_find(store, name);
}

/* Recovery over journal and archive sees the ticks 1 to count. */
static void expect_seen(uint64_t count)
{
	const struct ush_disk live = rig.disk;
	struct fake_counts counts;
	struct ush_disk both;

	rig.config.read_only = true;
	CHECK_EQ(ush_archive_disk_open(&both, archive, &live, &rig.message), 0);
	rig.disk = both;
	CHECK(rig_open(&rig) == 0 || says("no error"));
	CHECK(rig_recover(&rig) == 0 || says("no error"));
	CHECK(rig_saw(&rig, count));
	ush_journal_close(rig.journal);
	rig.journal = NULL;
	ush_archive_disk_close(&both);
	rig.disk = live;
	rig.config.read_only = false;
	fake_disk_counts(store, &counts);
	CHECK_EQ(counts.handles, 0);
}

/* Goal: closed segments are archived and the open one is not; a reader of journal and archive sees
 * all when the closed ones are gone, and only then what the archive has. */
static void test_archive_has_what_is_closed(void)
{
	draw_long(2, 5);
	store_make();
	CHECK(archive_all() == 0 || says("no error"));
	CHECK_EQ(ush_archive_count(archive), 2);
	CHECK_EQ(ush_archive_end(archive), THIRD);
	CHECK_EQ(fake_disk_file_count(store), 2);
	CHECK(piece(0)->size < RIG_SEGMENT_BYTES / 8);
	drop(1, 1);
	expect_seen(THIRD + 4);
	drop(1, SECOND);
	expect_seen(THIRD + 4);
	archive_close();
	finish();
}

/* Goal: an epoch's last segment is closed by the next epoch, as far as it was accepted; what was
 * torn behind its end is not archived. */
static void test_archive_epochs_end_where_the_next_begins(void)
{
	draw_simple(10);
	tear(1, 1, 10);
	box_field(offsetof(struct ush_box_file, epoch), 2, 4);
	box_field(offsetof(struct ush_box_file, first_block), 10, 4);
	draw_segment(2, 10);
	draw_blocks(2, 10, 10, 10 + RIG_SEGMENT_BLOCKS, true);
	draw_segment(2, 10 + RIG_SEGMENT_BLOCKS);
	store_make();
	CHECK(archive_all() == 0 || says("no error"));
	CHECK_EQ(ush_archive_count(archive), 2);
	CHECK_EQ(ush_archive_piece(archive, 0)->end, 10);
	CHECK_EQ(ush_archive_piece(archive, 1)->epoch, 2);
	CHECK_EQ(ush_archive_end(archive), 10 + RIG_SEGMENT_BLOCKS);
	drop(1, 1);
	drop(2, 10);
	expect_seen(9 + RIG_SEGMENT_BLOCKS);
	archive_close();
	finish();
}

/* Goal: a segment longer than a piece is archived in pieces while it is being written, and read
 * back whole. */
static void test_archive_long_segment_in_pieces(void)
{
	uint64_t blocks = USH_ARCHIVE_BLOCKS + 256;
	char name[USH_DISK_NAME_MAX];

	begin(1);
	box_field(offsetof(struct ush_box_file, segment_bytes), blocks * USH_BLOCK_BYTES, 8);
	rig.config.segment_bytes = blocks * USH_BLOCK_BYTES;
	box_field(offsetof(struct ush_box_file, first_block), 1, 4);
	segment_name(name, 1, 1);
	fake_disk_put(rig.fake, name, blocks * USH_BLOCK_BYTES);
	draw_blocks(1, 1, 1, USH_ARCHIVE_BLOCKS + 3, true);
	store_make();
	CHECK(archive_all() == 0 || says("no error"));
	CHECK_EQ(ush_archive_count(archive), 1);
	archive_close();
	draw_blocks(1, 1, USH_ARCHIVE_BLOCKS + 3, 1 + blocks, false);
	segment_name(name, 1, 1 + blocks);
	fake_disk_put(rig.fake, name, blocks * USH_BLOCK_BYTES);
	CHECK(archive_all() == 0 || says("no error"));
	CHECK_EQ(ush_archive_count(archive), 2);
	CHECK_EQ(ush_archive_piece(archive, 1)->segment_first, 1);
	drop(1, 1);
	expect_seen(blocks);
	archive_close();
	finish();
}

/* Goal: power fails in each operation of archiving in turn; afterwards the archive is a beginning
 * of the whole, and archiving again completes it. Its end never goes back. */
static void test_archive_power_cut_at_each_operation(void)
{
	uint32_t cuts = 0;

	for (uint32_t after = 0; after < 100; after++) {
		uint64_t end = 1;
		bool cut;

		draw_long(3, 5);
		store_make();
		fake_disk_cut_after(store, after);
		if (archive_all() == 0 || archive != NULL) {
			end = ush_archive_end(archive);
			ush_archive_close(archive);
			archive = NULL;
		}
		cut = fake_disk_is_cut(store);
		cuts += cut;
		fake_disk_power_cycle(store);
		CHECK(archive_open() == 0 || says("no error"));
		CHECK(ush_archive_end(archive) >= end);
		ush_archive_close(archive);
		CHECK(archive_all() == 0 || says("no error"));
		CHECK_EQ(ush_archive_count(archive), 3);
		drop(1, 1);
		drop(1, SECOND);
		expect_seen(THIRD + RIG_SEGMENT_BLOCKS + 4);
		archive_close();
		finish();
		if (!cut)
			break;
	}
	CHECK(cuts > 15 && cuts < 99);
}

/* Goal: each operation fails once with an error; nothing counts that is not whole. */
static void test_archive_each_operation_failing(void)
{
	for (int op = 0; op < FAKE_OP_COUNT; op++) {
		for (uint32_t after = 0; after < 8; after++) {
			draw_long(2, 5);
			store_make();
			fake_disk_fail(store, (enum fake_op)op, after, 1, -USH_EIO);
			if (archive_all() != 0)
				CHECK(strlen(rig.message.text) > 20);
			ush_archive_close(archive);
			archive = NULL;
			fake_disk_fail(store, (enum fake_op)op, 0, 0, 0);
			CHECK(archive_all() == 0 || says("no error"));
			CHECK_EQ(ush_archive_count(archive), 2);
			archive_close();
			finish();
		}
	}
}

static void flip_in_part(void *context, enum fake_op op)
{
	uint32_t *puts = context;

	/* The open after the put reads the piece back. */
	if (op == FAKE_PUT)
		++*puts;
	if (op != FAKE_OPEN || *puts != 1)
		return;
	++*puts;
	for (uint32_t i = 0; i < fake_disk_file_count(store); i++)
		fake_disk_file_at(store, i)->data[200] ^= 1;
}

/* Goal: a piece that does not read back as it was written does not count. */
static void test_archive_lying_disk_is_found_out(void)
{
	uint32_t puts = 0;

	draw_long(1, 5);
	store_make();
	fake_disk_hook(store, flip_in_part, &puts);
	CHECK_EQ(archive_all(), (uint64_t)-USH_ECORRUPT);
	CHECK_EQ(ush_archive_count(archive), 0);
	archive_close();
	fake_disk_hook(store, NULL, NULL);
	CHECK_EQ(archive_open(), 0);
	CHECK_EQ(ush_archive_count(archive), 0);
	archive_close();
	finish();
}

/* Goal: a byte changed anywhere in a piece, a piece cut off, lost or renamed: never believed. */
static void test_archive_damage_has_a_name(void)
{
	uint8_t *blocks = malloc(RIG_SEGMENT_BYTES);
	struct fake_file *file;
	char name[USH_DISK_NAME_MAX];

	draw_long(2, 5);
	store_make();
	CHECK(archive_all() == 0 || says("no error"));
	file = piece(0);
	CHECK_EQ(ush_archive_unpack(archive, 0, blocks, &rig.message), 0);
	archive_close();
	for (uint64_t at = 0; at < file->size; at += at < 160 ? 1 : 97) {
		int error;

		file->data[at] ^= 0x10;
		error = archive_open();
		if (error == 0) {
			error = ush_archive_unpack(archive, 0, blocks, &rig.message);
			archive_close();
		}
		CHECK(error == -USH_ECORRUPT || error == -USH_EVERSION);
		CHECK(says("arc-"));
		file->data[at] ^= 0x10;
	}
	CHECK_EQ(archive_open(), 0);
	piece_name(name, ush_archive_piece(archive, 0));
	archive_close();
	fake_disk_resize(store, name, file->size - 1);
	CHECK_EQ(archive_open(), 0);
	CHECK_EQ(ush_archive_unpack(archive, 0, blocks, &rig.message), (uint64_t)-USH_ECORRUPT);
	CHECK(says("cut off"));
	archive_close();
	fake_disk_remove(store, name);
	CHECK_EQ(archive_open(), (uint64_t)-USH_ECORRUPT);
	CHECK(says("gap") && says("sequence 64"));
	free(blocks);
	finish();
}

/* Goal: another box's archive, and one that the journal's history left, are refused. */
static void test_archive_foreign_is_refused(void)
{
	draw_long(2, 5);
	store_make();
	CHECK_EQ(archive_all(), 0);
	archive_close();
	CHECK_EQ(ush_archive_open(&archive, &store_disk, "/store", BOX_ID + 1, &rig.message),
		(uint64_t)-USH_EFOREIGN);
	rig_free(&rig);
	draw_simple(10);
	CHECK_EQ(archive_all(), (uint64_t)-USH_EFOREIGN);
	archive_close();
	finish();
}

/* Goal: a journal that has lost its beginning cannot begin an archive. */
static void test_archive_begins_with_the_beginning(void)
{
	draw_long(2, 5);
	drop(1, 1);
	store_make();
	CHECK_EQ(archive_all(), (uint64_t)-USH_ECORRUPT);
	CHECK(says("missing"));
	CHECK_EQ(ush_archive_count(archive), 0);
	archive_close();
	finish();
}

/* Goal: what the journal has lost is put back, with each operation failing in turn, and recovery
 * needs no archive any more. */
static void test_archive_restores(void)
{
	for (int op = FAKE_OPEN; op < FAKE_OP_COUNT; op++) {
		for (uint32_t after = 0; after < 4; after++) {
			uint32_t segments;

			draw_long(3, 5);
			store_make();
			CHECK(archive_all() == 0 || says("no error"));
			drop(1, 1);
			drop(1, THIRD);
			fake_disk_fail(rig.fake, (enum fake_op)op, after, 1, -USH_EIO);
			if (ush_archive_restore(archive, &rig.disk, &segments, &rig.message) != 0)
				CHECK(strlen(rig.message.text) > 20);
			fake_disk_fail(rig.fake, (enum fake_op)op, 0, 0, 0);
			fake_disk_power_cycle(rig.fake);
			CHECK_EQ(ush_archive_restore(archive, &rig.disk, &segments, &rig.message),
				0);
			archive_close();
			fake_disk_free(store);
			expect_ok(THIRD + RIG_SEGMENT_BLOCKS + 5, 0);
		}
	}
}

/* Goal: a live journal with its chain, over restarts, is archived while it is written; all of it
 * is read back. */
static void test_archive_beside_a_writer(void)
{
	const struct ush_archiver_config config = {.directory = "/rig"};
	struct ush_archiver *archiver;
	struct ush_follow_position position;

	rig_make(&rig, 5);
	store_make();
	for (uint32_t life = 0; life < 3; life++) {
		CHECK(rig_up(&rig) == 0 || says("no error"));
		CHECK_EQ(ush_archive_open(&archive, &store_disk, "/store", 0, &rig.message), 0);
		CHECK_EQ(
			ush_archiver_open(&archiver, archive, &config, &rig.disk, &rig.message), 0);
		for (uint32_t i = 0; i < 2 * RIG_SEGMENT_BLOCKS + 9; i++) {
			CHECK(rig_blocks(&rig, 1));
			CHECK(ush_archiver_step(archiver, rig.now_ns, &rig.message) >= 0 ||
				says("no error"));
		}
		ush_archiver_position(archiver, &position);
		CHECK_EQ(position.sequence, ush_archive_end(archive) * USH_BLOCK_SLOTS);
		ush_archiver_close(archiver);
		archive_close();
		rig_down(&rig);
	}
	CHECK_EQ(ush_archive_open(&archive, &store_disk, "/store", 0, &rig.message), 0);
	CHECK(ush_archive_count(archive) == 8);
	for (uint32_t i = 0; i < ush_archive_count(archive); i++) {
		const struct ush_archive_header *h = ush_archive_piece(archive, i);

		if (h->first == h->segment_first)
			drop(h->epoch, h->first);
	}
	expect_seen(rig.last);
	archive_close();
	finish();
}

int main(void)
{
	TAP_RUN(test_archive_has_what_is_closed);
	TAP_RUN(test_archive_epochs_end_where_the_next_begins);
	TAP_RUN(test_archive_long_segment_in_pieces);
	TAP_RUN(test_archive_power_cut_at_each_operation);
	TAP_RUN(test_archive_each_operation_failing);
	TAP_RUN(test_archive_lying_disk_is_found_out);
	TAP_RUN(test_archive_damage_has_a_name);
	TAP_RUN(test_archive_foreign_is_refused);
	TAP_RUN(test_archive_begins_with_the_beginning);
	TAP_RUN(test_archive_restores);
	TAP_RUN(test_archive_beside_a_writer);
	return tap_end();
}
