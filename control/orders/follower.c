/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The thread reads what is durable, applies it to the book, and puts what changed into a short
 * queue; the loop writes it to the tables. When the queue is full it waits.
 *
 * Failure modes: whatever goes wrong ends the thread with a message; who owns it begins again from
 * what the tables say.
 */
#include "orders/follower.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "daemon/core.h"
#include "journal/position.h"

#define SYNC_NS 10000000ull
#define LOOK_NS 10000000l
#define KEEP_US 1000000
#define QUEUE_MAX 16u
/* Largest venue image. */
#define IMAGE_BYTES_MAX (64l << 20)

struct follower {
	struct follower_config config;
	struct ush_disk disk;
	struct ush_follow *follow;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	/* Under the lock. */
	struct store_batch *first, **last;
	uint32_t queue_count;
	bool stop;
	bool ended;
	uint32_t asked; /* event whose terms are waited for */
	struct store_terms *told;
	uint32_t told_count;
	struct ush_follow_position durable;
	int64_t checked_us;
	int error;
	struct ush_message message;
	/* Of the thread. */
	struct store_terms *fresh; /* for the next batch */
	uint32_t fresh_count;
	struct ush_follow_position kept;
	int64_t kept_us;
};

/* ---- images and terms ---------------------------------------------------------------------- */

int follower_image(void *context, uint32_t event, uint64_t digest, void **image, size_t *bytes,
	struct ush_message *message)
{
	const char *journal_dir = context;
	struct stat status;
	char path[600];
	size_t used = 0;
	int fd;

	snprintf(path, sizeof(path), "%.500s/../events/%u-%016" PRIx64 ".ushv", journal_dir, event,
		digest);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &status) != 0 || status.st_size <= 0 ||
		status.st_size > IMAGE_BYTES_MAX) {
		ush_message_set(message, "%s: cannot be read: %s", path,
			fd < 0 ? strerror(errno) : "not a venue image");
		if (fd >= 0)
			close(fd);
		return -USH_ENOENT;
	}
	*bytes = (size_t)status.st_size;
	*image = malloc(*bytes);
	while (*image != NULL && used < *bytes) {
		ssize_t got = read(fd, (char *)*image + used, *bytes - used);

		if (got <= 0)
			break;
		used += (size_t)got;
	}
	close(fd);
	if (*image != NULL && used == *bytes)
		return 0;
	ush_message_set(message, "%s: cannot be read whole", path);
	free(*image);
	return -USH_EIO;
}

struct book_terms terms_find(
	const struct store_terms *terms, uint32_t count, uint32_t event, uint64_t sequence)
{
	struct book_terms found = {0};

	for (uint32_t i = 0; i < count; i++) {
		if (terms[i].event == event && terms[i].sequence <= sequence)
			found = terms[i].terms;
	}
	return found;
}

/* New terms count from a sequence on, and go into the tables with the next batch. */
static void adopt(struct follower *f, uint32_t event, struct book_terms terms, uint64_t sequence)
{
	struct store_terms *all = realloc(
		f->config.terms, (f->config.terms_count + 1ul) * sizeof(struct store_terms));
	struct store_terms *fresh =
		realloc(f->fresh, (f->fresh_count + 1ul) * sizeof(struct store_terms));
	struct store_terms entry = {.event = event, .sequence = sequence, .terms = terms};
	uint32_t at = f->config.terms_count;

	USH_ASSERT(all != NULL);
	USH_ASSERT(fresh != NULL);
	for (; at > 0 && all[at - 1].event > event; at--)
		all[at] = all[at - 1];
	all[at] = entry;
	fresh[f->fresh_count++] = entry;
	f->config.terms = all;
	f->config.terms_count++;
	f->fresh = fresh;
}

static bool same_terms(struct book_terms a, struct book_terms b)
{
	return a.fee_fixed == b.fee_fixed && a.fee_ppm == b.fee_ppm;
}

/* What the loop told since, from this sequence on. */
static void adopt_told(struct follower *f, uint64_t sequence)
{
	pthread_mutex_lock(&f->lock);
	for (uint32_t i = 0; i < f->told_count; i++) {
		struct store_terms *told = &f->told[i];
		struct book_terms now =
			terms_find(f->config.terms, f->config.terms_count, told->event, UINT64_MAX);

		if (!same_terms(now, told->terms))
			adopt(f, told->event, told->terms, sequence);
	}
	f->told_count = 0;
	pthread_mutex_unlock(&f->lock);
}

/* An event is loaded, or goes on sale: its terms are asked for, unless it is history. */
static void ask_terms(struct follower *f, uint32_t event, uint64_t sequence)
{
	if (sequence < f->config.from.high)
		return;
	pthread_mutex_lock(&f->lock);
	f->asked = event;
	pthread_mutex_unlock(&f->lock);
	f->config.wake(f->config.context);
	pthread_mutex_lock(&f->lock);
	while (f->asked != 0 && !f->stop)
		pthread_cond_wait(&f->changed, &f->lock);
	pthread_mutex_unlock(&f->lock);
	adopt_told(f, sequence);
}

static struct book_terms terms_now(void *context, uint32_t event, uint64_t sequence)
{
	struct follower *f = context;

	return terms_find(f->config.terms, f->config.terms_count, event, sequence);
}

/* As book_source.image. */
static int image_now(void *context, uint32_t event, uint64_t digest, void **image, size_t *bytes,
	struct ush_message *message)
{
	const struct follower *f = context;

	return follower_image(
		(void *)(uintptr_t)f->config.journal_dir, event, digest, image, bytes, message);
}

/* ---- the thread ---------------------------------------------------------------------------- */

static int each(void *context, const struct ush_record *records, uint32_t count,
	struct ush_message *message)
{
	struct follower *f = context;

	if (records->type == USH_RECORD_TYPE_EVENT ||
		(records->type == USH_RECORD_TYPE_EVENT_STATUS &&
			records->state == USH_EVENT_STATUS_ON_SALE))
		ask_terms(f, records->event, records->sequence);
	return book_apply(f->config.book, records, count, ush_follow_time_ns(f->follow), message);
}

/* What was read becomes a batch. ret: 0, -USH_ENOMEM, -USH_ESTOPPED. */
static int hand_over(struct follower *f, uint64_t from)
{
	struct store_batch *batch = calloc(1, sizeof(*batch));
	bool stop;

	if (batch == NULL || book_take(f->config.book, &batch->out) != 0) {
		free(batch);
		return -USH_ENOMEM;
	}
	batch->from = from;
	ush_follow_position(f->follow, &batch->to);
	batch->change_number = f->config.book->change_number;
	batch->time_us = f->config.book->time_us;
	batch->terms = f->fresh;
	batch->terms_count = f->fresh_count;
	f->fresh = NULL;
	f->fresh_count = 0;
	pthread_mutex_lock(&f->lock);
	while (f->queue_count >= QUEUE_MAX && !f->stop)
		pthread_cond_wait(&f->changed, &f->lock);
	stop = f->stop;
	if (!stop) {
		*f->last = batch;
		f->last = &batch->next;
		f->queue_count++;
	}
	pthread_mutex_unlock(&f->lock);
	if (stop) {
		store_batch_free(batch);
		return -USH_ESTOPPED;
	}
	f->config.wake(f->config.context);
	return 0;
}

/* Once a second at most: what is in the tables the journal need not keep for us. */
static void keep_position(struct follower *f, int64_t now_us)
{
	struct ush_follow_position position;
	struct ush_message message = {.text = ""};

	if (f->config.name == NULL || now_us - f->kept_us < KEEP_US)
		return;
	pthread_mutex_lock(&f->lock);
	position = f->durable;
	pthread_mutex_unlock(&f->lock);
	f->kept_us = now_us;
	if (position.sequence == f->kept.sequence)
		return;
	f->kept = position;
	if (ush_position_write(
		    &f->disk, f->config.name, &position, (uint64_t)now_us * 1000, &message) != 0)
		ush_core_log(USH_CORE_WARN, "orders", "the position cannot be kept", "why",
			message.text, NULL);
}

static int run(struct follower *f, struct ush_message *message)
{
	const struct timespec pause = {.tv_nsec = LOOK_NS};
	uint64_t from = f->config.from.position.sequence;

	for (;;) {
		struct ush_follow_position position;
		int64_t now_us = ush_core_now_us();
		int blocks, error;
		bool stop;

		adopt_told(f, from);
		blocks = ush_follow_step(f->follow, (uint64_t)now_us * 1000, each, f, message);
		if (blocks < 0)
			return blocks;
		ush_follow_position(f->follow, &position);
		if (position.sequence != from) {
			error = hand_over(f, from);
			if (error != 0)
				return error;
			from = position.sequence;
		}
		pthread_mutex_lock(&f->lock);
		stop = f->stop;
		if (blocks == 0)
			f->checked_us = now_us;
		pthread_mutex_unlock(&f->lock);
		if (stop)
			return -USH_ESTOPPED;
		keep_position(f, now_us);
		if (blocks == 0)
			nanosleep(&pause, NULL);
	}
}

static void *thread_main(void *context)
{
	struct follower *f = context;
	struct ush_message message = {.text = ""};
	int error = run(f, &message);

	pthread_mutex_lock(&f->lock);
	f->error = error;
	f->message = message;
	f->ended = true;
	pthread_mutex_unlock(&f->lock);
	f->config.wake(f->config.context);
	return NULL;
}

/* ---- life ---------------------------------------------------------------------------------- */

static void follower_free(struct follower *f)
{
	if (f->follow != NULL)
		ush_follow_close(f->follow);
	if (f->disk.context != NULL)
		ush_disk_uring_close(&f->disk);
	while (f->first != NULL) {
		struct store_batch *batch = f->first;

		f->first = batch->next;
		store_batch_free(batch);
	}
	book_close(f->config.book);
	free(f->config.terms);
	free(f->fresh);
	free(f->told);
	pthread_mutex_destroy(&f->lock);
	pthread_cond_destroy(&f->changed);
	free(f);
}

int follower_start(
	struct follower **out, const struct follower_config *config, struct ush_message *message)
{
	struct follower *f = calloc(1, sizeof(*f));
	struct ush_follow_config follow = {.directory = config->journal_dir,
		.from = config->from.position,
		.sync_ns = SYNC_NS};
	int error;

	USH_ASSERT(f != NULL);
	f->config = *config;
	f->last = &f->first;
	f->durable = f->kept = config->from.position;
	pthread_mutex_init(&f->lock, NULL);
	pthread_cond_init(&f->changed, NULL);
	f->config.book->source =
		(struct book_source){.context = f, .image = image_now, .terms = terms_now};
	error = ush_disk_uring_open(&f->disk, config->journal_dir, 4, message);
	if (error == 0)
		error = ush_follow_open(&f->follow, &follow, &f->disk, message);
	if (error == 0 && pthread_create(&f->thread, NULL, thread_main, f) != 0) {
		ush_message_set(message, "cannot start a thread");
		error = -USH_ESYSTEM;
	}
	if (error != 0) {
		follower_free(f);
		return error;
	}
	*out = f;
	return 0;
}

struct store_batch *follower_take(struct follower *f)
{
	struct store_batch *first;

	pthread_mutex_lock(&f->lock);
	first = f->first;
	f->first = NULL;
	f->last = &f->first;
	f->queue_count = 0;
	pthread_cond_broadcast(&f->changed);
	pthread_mutex_unlock(&f->lock);
	return first;
}

uint32_t follower_asks(struct follower *f)
{
	uint32_t event;

	pthread_mutex_lock(&f->lock);
	event = f->asked;
	pthread_mutex_unlock(&f->lock);
	return event;
}

void follower_terms(struct follower *f, uint32_t event, struct book_terms terms)
{
	struct store_terms *told;

	pthread_mutex_lock(&f->lock);
	told = realloc(f->told, (f->told_count + 1ul) * sizeof(*told));
	USH_ASSERT(told != NULL);
	f->told = told;
	f->told[f->told_count++] = (struct store_terms){.event = event, .terms = terms};
	if (f->asked == event)
		f->asked = 0;
	pthread_cond_broadcast(&f->changed);
	pthread_mutex_unlock(&f->lock);
}

void follower_durable(struct follower *f, const struct ush_follow_position *position)
{
	pthread_mutex_lock(&f->lock);
	f->durable = *position;
	pthread_mutex_unlock(&f->lock);
}

int follower_failed(struct follower *f, struct ush_message *message)
{
	int error;

	pthread_mutex_lock(&f->lock);
	error = f->ended ? f->error : 0;
	*message = f->message;
	pthread_mutex_unlock(&f->lock);
	return error;
}

int64_t follower_checked_us(struct follower *f)
{
	int64_t checked;

	pthread_mutex_lock(&f->lock);
	checked = f->first == NULL ? f->checked_us : 0;
	pthread_mutex_unlock(&f->lock);
	return checked;
}

void follower_stop(struct follower *f)
{
	pthread_mutex_lock(&f->lock);
	f->stop = true;
	pthread_cond_broadcast(&f->changed);
	pthread_mutex_unlock(&f->lock);
	pthread_join(f->thread, NULL);
	follower_free(f);
}

/* ---- for comparing ------------------------------------------------------------------------- */

struct reading {
	struct book *book;
	struct ush_follow *follow;
	uint64_t end;
};

static int each_read(void *context, const struct ush_record *records, uint32_t count,
	struct ush_message *message)
{
	struct reading *reading = context;
	int error;

	/* Negative: this run counts as not taken. */
	if (records->sequence >= reading->end)
		return -USH_ESTOPPED;
	error = book_apply(
		reading->book, records, count, ush_follow_time_ns(reading->follow), message);
	return error;
}

int follower_read(
	struct book *book, const char *journal_dir, uint64_t end, struct ush_message *message)
{
	struct ush_follow_config config = {.directory = journal_dir};
	struct reading reading = {.book = book, .end = end};
	struct ush_follow_position position;
	struct ush_disk disk;
	int error = ush_disk_uring_open(&disk, journal_dir, 4, message);

	if (error != 0)
		return error;
	error = ush_follow_open(&reading.follow, &config, &disk, message);
	for (int blocks = 1; error == 0 && blocks > 0;) {
		blocks = ush_follow_step(reading.follow, (uint64_t)ush_core_now_us() * 1000,
			each_read, &reading, message);
		ush_follow_position(reading.follow, &position);
		if (blocks < 0)
			error = blocks;
		else if (position.sequence >= end)
			break;
	}
	if (reading.follow != NULL)
		ush_follow_close(reading.follow);
	ush_disk_uring_close(&disk);
	return error == -USH_ESTOPPED ? 0 : error;
}
