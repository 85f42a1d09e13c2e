/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A ring of chunks. The thread reads, checks and classifies; recovery takes chunks in order. While
 * one applies, the other waits for the disk. Without a thread a chunk is read when it is asked for;
 * then every operation of the disk happens on the caller's thread, in an order that a seed decides.
 */
#include <pthread.h>
#include <stdlib.h>

#include "journal/readahead.h"

#define AHEAD 4u

struct readahead {
	const struct ush_journal *journal;
	struct chunk chunks[AHEAD];
	/* The job. Written while the thread is idle. */
	const struct segment *segment;
	int file;
	uint64_t stop;
	bool threaded;
	pthread_t thread;
	pthread_mutex_t mutex;
	pthread_cond_t changed;
	/* Under the mutex. Next place to be read; chunks filled and given back; the job is wanted;
	 * the thread reads; it is to end. */
	uint64_t at;
	uint64_t filled;
	uint64_t freed;
	bool wanted;
	bool reading;
	bool quit;
	/* The caller's: chunks taken. */
	uint64_t taken;
};

static void fill(const struct readahead *ra, struct chunk *chunk)
{
	const struct ush_journal *journal = ra->journal;
	const struct segment *segment = ra->segment;
	uint64_t want = ush_min64(CHUNK_BLOCKS, ra->stop - chunk->at);
	int64_t got = journal->disk->read(journal->disk->context, ra->file, chunk->data,
		want * USH_BLOCK_BYTES, (chunk->at - segment->first) * USH_BLOCK_BYTES);

	chunk->got = got < 0 ? got : got / (int64_t)USH_BLOCK_BYTES;
	for (int64_t i = 0; i < chunk->got; i++)
		chunk->kinds[i] = (uint8_t)block_classify(chunk->data + i * USH_BLOCK_BYTES,
			(uint32_t)journal->box.box, segment->epoch, chunk->at + (uint64_t)i);
}

/* ret: true if there is something to read, and room for it. */
static bool can_read(const struct readahead *ra)
{
	return ra->wanted && ra->at < ra->stop && ra->filled - ra->freed < AHEAD;
}

static void *reader_main(void *argument)
{
	struct readahead *ra = argument;

	pthread_mutex_lock(&ra->mutex);
	while (!ra->quit) {
		struct chunk *chunk = &ra->chunks[ra->filled % AHEAD];

		if (!can_read(ra)) {
			pthread_cond_wait(&ra->changed, &ra->mutex);
			continue;
		}
		chunk->at = ra->at;
		ra->reading = true;
		pthread_mutex_unlock(&ra->mutex);
		fill(ra, chunk);
		pthread_mutex_lock(&ra->mutex);
		ra->reading = false;
		ra->at += CHUNK_BLOCKS;
		ra->filled++;
		/* What is behind a bad end is not wanted. */
		if (chunk->got != (int64_t)ush_min64(CHUNK_BLOCKS, ra->stop - chunk->at))
			ra->wanted = false;
		pthread_cond_broadcast(&ra->changed);
	}
	pthread_mutex_unlock(&ra->mutex);
	return NULL;
}

/* Without a thread it is slower, and no worse. */
static void reader_start(struct readahead *ra)
{
	ra->threaded = pthread_create(&ra->thread, NULL, reader_main, ra) == 0;
}

struct readahead *readahead_open(const struct ush_journal *journal, bool threaded)
{
	struct readahead *ra = calloc(1, sizeof(*ra));
	bool short_of_memory = ra == NULL;

	if (ra == NULL)
		return NULL;
	ra->journal = journal;
	pthread_mutex_init(&ra->mutex, NULL);
	pthread_cond_init(&ra->changed, NULL);
	ra->chunks[0].data = journal->read_buffer;
	for (uint32_t i = 1; i < (threaded ? AHEAD : 1); i++) {
		ra->chunks[i].data = aligned_alloc(USH_BLOCK_BYTES, READ_BYTES);
		short_of_memory |= ra->chunks[i].data == NULL;
	}
	if (!short_of_memory && threaded)
		reader_start(ra);
	if (!short_of_memory)
		return ra;
	readahead_close(ra);
	return NULL;
}

void readahead_begin(
	struct readahead *ra, const struct segment *segment, int file, uint64_t at, uint64_t stop)
{
	pthread_mutex_lock(&ra->mutex);
	ra->segment = segment;
	ra->file = file;
	ra->at = at;
	ra->stop = stop;
	ra->filled = ra->freed = ra->taken = 0;
	ra->wanted = true;
	pthread_cond_broadcast(&ra->changed);
	pthread_mutex_unlock(&ra->mutex);
}

const struct chunk *readahead_next(struct readahead *ra)
{
	if (!ra->threaded) {
		ra->chunks[0].at = ra->at;
		fill(ra, &ra->chunks[0]);
		ra->at += CHUNK_BLOCKS;
		return &ra->chunks[0];
	}
	pthread_mutex_lock(&ra->mutex);
	ra->freed = ra->taken;
	pthread_cond_broadcast(&ra->changed);
	while (ra->filled == ra->taken)
		pthread_cond_wait(&ra->changed, &ra->mutex);
	pthread_mutex_unlock(&ra->mutex);
	return &ra->chunks[ra->taken++ % AHEAD];
}

void readahead_end(struct readahead *ra)
{
	pthread_mutex_lock(&ra->mutex);
	ra->wanted = false;
	while (ra->reading)
		pthread_cond_wait(&ra->changed, &ra->mutex);
	pthread_mutex_unlock(&ra->mutex);
}

void readahead_close(struct readahead *ra)
{
	if (ra == NULL)
		return;
	if (ra->threaded) {
		pthread_mutex_lock(&ra->mutex);
		ra->quit = true;
		pthread_cond_broadcast(&ra->changed);
		pthread_mutex_unlock(&ra->mutex);
		pthread_join(ra->thread, NULL);
	}
	for (uint32_t i = 1; i < AHEAD; i++)
		free(ra->chunks[i].data);
	pthread_cond_destroy(&ra->changed);
	pthread_mutex_destroy(&ra->mutex);
	free(ra);
}
