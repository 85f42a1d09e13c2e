/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The read model made again from nothing, and compared with what the journal says: for
 * `usher-control orders`. Both run without the loop.
 */
#include <stdlib.h>
#include <string.h>

#include "daemon/core.h"
#include "orders/follower.h"

struct tool {
	const char *journal_dir;
	struct store_state state;
	struct store_terms *terms;
	uint32_t terms_count;
	struct store_batch *batch;
	int64_t differences;
	struct ush_message message;
	struct book *book;
	struct ush_follow *follow;
};

static struct book_terms terms_of(void *context, uint32_t event, uint64_t sequence)
{
	const struct tool *tool = context;

	return terms_find(tool->terms, tool->terms_count, event, sequence);
}

static int image_of(void *context, uint32_t event, uint64_t digest, void **image, size_t *bytes,
	struct ush_message *message)
{
	const struct tool *tool = context;

	return follower_image(
		(void *)(uintptr_t)tool->journal_dir, event, digest, image, bytes, message);
}

static struct book *open_book(struct tool *tool)
{
	const struct book_source source = {.context = tool, .image = image_of, .terms = terms_of};

	return book_open(&source);
}

/* ---- comparing ----------------------------------------------------------------------------- */

static int check_job(struct ush_db_conn *conn, void *context)
{
	struct tool *tool = context;
	int error = store_state_read(conn, &tool->state);

	if (error < 0)
		return error;
	free(tool->terms);
	error = store_terms_read(conn, &tool->terms, &tool->terms_count);
	if (error != 0)
		return error;
	book_close(tool->book);
	tool->book = open_book(tool);
	if (tool->book == NULL)
		return -USH_ENOMEM;
	tool->book->keep_over = true;
	error = follower_read(
		tool->book, tool->journal_dir, tool->state.position.sequence, &tool->message);
	if (error != 0)
		return error;
	tool->differences = store_compare(conn, tool->book, &tool->message);
	return tool->differences < 0 ? (int)tool->differences : 0;
}

int ush_orders_check(struct ush_db *db, const char *journal_dir, int64_t *differences,
	struct ush_message *message)
{
	struct tool tool = {.journal_dir = journal_dir};
	int error = ush_db_run_now(db, USH_DB_READ, check_job, &tool);

	*message = tool.message;
	*differences = tool.differences;
	book_close(tool.book);
	free(tool.terms);
	return error;
}

/* ---- making again -------------------------------------------------------------------------- */

static int wipe_job(struct ush_db_conn *conn, void *context)
{
	struct tool *tool = context;
	int error = store_wipe(conn);

	free(tool->terms);
	tool->terms = NULL;
	if (error == 0)
		error = store_terms_read(conn, &tool->terms, &tool->terms_count);
	return error;
}

static int write_job(struct ush_db_conn *conn, void *context)
{
	const struct tool *tool = context;

	return store_write(conn, tool->batch);
}

static int each(void *context, const struct ush_record *records, uint32_t count,
	struct ush_message *message)
{
	struct tool *tool = context;

	return book_apply(tool->book, records, count, ush_follow_time_ns(tool->follow), message);
}

/* One step of the journal into the tables. ret: blocks, 0: that was all, negative. */
static int step(struct tool *tool, struct ush_db *db, uint64_t *from)
{
	struct ush_follow_position position;
	struct store_batch *batch;
	int blocks = ush_follow_step(
		tool->follow, (uint64_t)ush_core_now_us() * 1000, each, tool, &tool->message);
	int error;

	if (blocks <= 0)
		return blocks;
	ush_follow_position(tool->follow, &position);
	batch = calloc(1, sizeof(*batch));
	if (batch == NULL || book_take(tool->book, &batch->out) != 0) {
		free(batch);
		return -USH_ENOMEM;
	}
	batch->from = *from;
	batch->to = position;
	batch->change_number = tool->book->change_number;
	batch->time_us = tool->book->time_us;
	tool->batch = batch;
	error = ush_db_run_now(db, USH_DB_WRITE, write_job, tool);
	store_batch_free(batch);
	*from = position.sequence;
	return error != 0 ? error : blocks;
}

int ush_orders_rebuild(struct ush_db *db, const char *journal_dir, struct ush_message *message)
{
	struct tool tool = {.journal_dir = journal_dir};
	struct ush_follow_config config = {.directory = journal_dir};
	struct ush_disk disk = {0};
	uint64_t from = 0;
	int error, blocks = 1;

	error = ush_disk_uring_open(&disk, journal_dir, 4, message);
	if (error != 0)
		return error;
	/* Before anything is emptied: the beginning must be there. */
	error = ush_follow_open(&tool.follow, &config, &disk, message);
	if (error == 0)
		error = ush_db_run_now(db, USH_DB_WRITE, wipe_job, &tool);
	if (error == 0 && (tool.book = open_book(&tool)) == NULL)
		error = -USH_ENOMEM;
	while (error == 0 && blocks > 0) {
		blocks = step(&tool, db, &from);
		error = blocks < 0 ? blocks : 0;
	}
	if (error != 0 && tool.message.text[0] != '\0')
		*message = tool.message;
	if (tool.follow != NULL)
		ush_follow_close(tool.follow);
	ush_disk_uring_close(&disk);
	book_close(tool.book);
	free(tool.terms);
	return error;
}
