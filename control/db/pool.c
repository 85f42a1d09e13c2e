/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pool: jobs in, worker threads with a connection each, results back to the event loop.
 *
 * ush_db_run() queues a job and wakes a worker; the worker runs it in a transaction and puts it on
 * the finished list; an eventfd wakes the loop, which calls `done`. With SQLite one worker writes,
 * in the order of submission, and the others read; with PostgreSQL each does both.
 *
 * Too many jobs: refused with -USH_EBUSY. A job the database asks to repeat is repeated here, with
 * growing pauses. The end: jobs that run are waited for, those that wait are dropped.
 */
#include <errno.h>
#include <event2/event.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "db/internal.h"

/* Jobs of one kind that may wait; src: guess, two seconds of a slow disk. */
#define WAITING_MAX 8192u
#define READERS_MAX 64u
/* Pauses of 4 ms doubled to 1 s, with chance: a server that restarts has about 8 s. */
#define ATTEMPT_COUNT 15u
#define PAUSE_FIRST_MS 4u
#define PAUSE_MOST_MS 1000u

struct job {
	struct job *next;
	ush_db_job *run;
	ush_db_done *done;
	void *context;
	enum ush_db_kind kind;
	int result;
	bool now;   /* somebody waits for it in ush_db_run_now() */
	bool ended; /* the same, under the mutex */
};

struct list {
	struct job *first;
	struct job **last;
	uint32_t count;
};

struct worker {
	struct ush_db *db;
	struct ush_db_conn conn;
	struct ush_random random;
	pthread_t thread;
	bool takes[2]; /* by enum ush_db_kind */
	bool started;
};

struct ush_db {
	const struct db_backend *backend;
	struct worker *workers;
	uint32_t worker_count;
	struct event *event; /* NULL: no loop, only ush_db_run_now */
	int event_fd;
	pthread_mutex_t mutex;
	pthread_cond_t work;
	pthread_cond_t waited; /* for ush_db_run_now */
	/* Under the mutex: */
	struct list waiting[2];
	struct list finished;
	bool stopping;
	void (*failed)(void *context, int result, const char *text);
	void *failed_context;
};

static void list_init(struct list *list)
{
	*list = (struct list){.first = NULL, .last = &list->first};
}

static void list_add(struct list *list, struct job *job)
{
	job->next = NULL;
	*list->last = job;
	list->last = &job->next;
	list->count++;
}

static struct job *list_take(struct list *list)
{
	struct job *job = list->first;

	if (job == NULL)
		return NULL;
	list->first = job->next;
	if (list->first == NULL)
		list->last = &list->first;
	list->count--;
	return job;
}

/* in: the mutex is held. */
static void finish(struct ush_db *db, struct job *job, int result)
{
	uint64_t one = 1;

	job->result = result;
	if (job->now) {
		job->ended = true;
		pthread_cond_broadcast(&db->waited);
		return;
	}
	list_add(&db->finished, job);
	/* Only a full counter could refuse, and then the loop is awake. */
	if (db->finished.count == 1 && write(db->event_fd, &one, sizeof(one)) < 0)
		USH_ASSERT(errno == EAGAIN);
}

static void pause_before(struct worker *worker, uint32_t attempt)
{
	uint64_t most = (uint64_t)PAUSE_FIRST_MS << attempt;
	uint64_t ms;
	struct timespec span;

	if (most > PAUSE_MOST_MS)
		most = PAUSE_MOST_MS;
	ms = most / 2 + ush_random_below(&worker->random, most / 2 + 1);
	span = (struct timespec){
		.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000 * 1000000)};
	nanosleep(&span, NULL);
}

static bool is_stopping(struct ush_db *db)
{
	bool stopping;

	pthread_mutex_lock(&db->mutex);
	stopping = db->stopping;
	pthread_mutex_unlock(&db->mutex);
	return stopping;
}

static int run_job(struct worker *worker, const struct job *job)
{
	struct ush_db_conn *conn = &worker->conn;
	int ret = 0;

	for (uint32_t attempt = 0; attempt < ATTEMPT_COUNT; attempt++) {
		ret = db_conn_run(conn, job->kind, job->run, job->context);
		if (ret >= 0 || !conn->again || is_stopping(worker->db))
			break;
		pause_before(worker, attempt);
	}
	if (ret < 0 && conn->error != 0 && worker->db->failed != NULL)
		worker->db->failed(worker->db->failed_context, ret, conn->message.text);
	return ret > 0 ? 0 : ret;
}

static void *work(void *context)
{
	struct worker *worker = context;
	struct ush_db *db = worker->db;
	struct job *job;
	int result;

	pthread_mutex_lock(&db->mutex);
	while (!db->stopping) {
		job = NULL;
		/* Writes first: somebody waits for a sync, and they are fewer. */
		for (int kind = USH_DB_WRITE; job == NULL && kind >= USH_DB_READ; kind--) {
			if (worker->takes[kind])
				job = list_take(&db->waiting[kind]);
		}
		if (job == NULL) {
			pthread_cond_wait(&db->work, &db->mutex);
			continue;
		}
		pthread_mutex_unlock(&db->mutex);
		result = run_job(worker, job);
		pthread_mutex_lock(&db->mutex);
		finish(db, job, result);
	}
	pthread_mutex_unlock(&db->mutex);
	return NULL;
}

/* Calls `done` of what has finished; it may queue more. */
static void deliver(evutil_socket_t fd, short what, void *context)
{
	struct ush_db *db = context;
	struct job *job, *all;
	uint64_t count;

	(void)what;
	if (read(fd, &count, sizeof(count)) < 0)
		USH_ASSERT(errno == EAGAIN);
	pthread_mutex_lock(&db->mutex);
	all = db->finished.first;
	list_init(&db->finished);
	pthread_mutex_unlock(&db->mutex);
	while ((job = all) != NULL) {
		all = job->next;
		if (job->done != NULL)
			job->done(job->context, job->result);
		free(job);
	}
}

/* in: job->kind and what it runs are set. */
static void submit(struct ush_db *db, struct job *job)
{
	pthread_mutex_lock(&db->mutex);
	if (db->stopping) {
		finish(db, job, -USH_ESTOPPED);
	} else if (db->waiting[job->kind].count >= WAITING_MAX) {
		finish(db, job, -USH_EBUSY);
	} else {
		list_add(&db->waiting[job->kind], job);
		/* All: one alone may be of the wrong kind. */
		pthread_cond_broadcast(&db->work);
	}
	pthread_mutex_unlock(&db->mutex);
}

void ush_db_run(
	struct ush_db *db, enum ush_db_kind kind, ush_db_job *job, ush_db_done *done, void *context)
{
	struct job *queued = malloc(sizeof(*queued));

	USH_ASSERT(queued != NULL);
	USH_ASSERT(db->event != NULL);
	*queued = (struct job){.run = job, .done = done, .context = context, .kind = kind};
	submit(db, queued);
}

int ush_db_run_now(struct ush_db *db, enum ush_db_kind kind, ush_db_job *job, void *context)
{
	struct job waiting = {.run = job, .context = context, .kind = kind, .now = true};

	submit(db, &waiting);
	pthread_mutex_lock(&db->mutex);
	while (!waiting.ended)
		pthread_cond_wait(&db->waited, &db->mutex);
	pthread_mutex_unlock(&db->mutex);
	return waiting.result;
}

bool ush_db_is_postgres(const struct ush_db *db)
{
	return db->backend->postgres;
}

bool ush_db_conn_is_postgres(const struct ush_db_conn *conn)
{
	return conn->backend->postgres;
}

void ush_db_watch(struct ush_db *db, void (*failed)(void *context, int result, const char *text),
	void *context)
{
	db->failed = failed;
	db->failed_context = context;
}

/* ---- life ---- */

/* What a connection string names. ret: NULL: nothing we know. */
static const struct db_backend *backend_of(const char *connection, const char **where)
{
	if (strncmp(connection, "sqlite:", 7) == 0 && connection[7] != '\0') {
		*where = connection + 7;
		return &db_sqlite;
	}
	*where = connection;
	if (strncmp(connection, "postgresql://", 13) == 0 ||
		strncmp(connection, "postgres://", 11) == 0)
		return &db_postgres;
	return NULL;
}

static int start_worker(
	struct ush_db *db, struct worker *worker, const char *where, struct ush_message *message)
{
	uint32_t index = (uint32_t)(worker - db->workers);
	bool split = !db->backend->postgres;
	int ret;

	worker->db = db;
	ush_random_init(&worker->random, index + 1);
	worker->takes[USH_DB_WRITE] = !split || index == 0;
	worker->takes[USH_DB_READ] = !split || index > 0;
	worker->conn.db = db;
	worker->conn.backend = db->backend;
	worker->conn.writes = worker->takes[USH_DB_WRITE];
	worker->conn.where = strdup(where);
	if (worker->conn.where == NULL)
		return -USH_ENOMEM;
	ret = db_conn_open(&worker->conn, message);
	if (ret != 0) {
		free(worker->conn.where);
		worker->conn.where = NULL;
	}
	return ret;
}

/* Threads take no signals: those are for the loop. */
static int start_threads(struct ush_db *db)
{
	sigset_t all, before;
	int ret = 0;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	for (uint32_t i = 0; ret == 0 && i < db->worker_count; i++) {
		ret = pthread_create(&db->workers[i].thread, NULL, work, &db->workers[i]);
		db->workers[i].started = ret == 0;
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return ret == 0 ? 0 : -USH_ESYSTEM;
}

static int start_all(struct ush_db *db, const char *where, const struct ush_db_step *const *steps,
	struct event_base *base, struct ush_message *message)
{
	int ret = 0;

	db->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (db->event_fd < 0) {
		ush_message_set(message, "database: no eventfd: %s", strerror(errno));
		return -USH_ESYSTEM;
	}
	if (base != NULL) {
		db->event = event_new(base, db->event_fd, EV_READ | EV_PERSIST, deliver, db);
		if (db->event == NULL || event_add(db->event, NULL) != 0)
			return -USH_ENOMEM;
	}
	for (uint32_t i = 0; ret == 0 && i < db->worker_count; i++) {
		ret = start_worker(db, &db->workers[i], where, message);
		if (ret == 0 && i == 0)
			ret = db_schema_update(&db->workers[0].conn, steps, message);
	}
	if (ret == 0)
		ret = start_threads(db);
	return ret;
}

int ush_db_open(struct ush_db **db, const char *connection, uint32_t readers,
	const struct ush_db_step *const *steps, struct event_base *base,
	struct ush_message *message)
{
	const char *where;
	const struct db_backend *backend = backend_of(connection, &where);
	struct ush_db *made;
	int ret;

	if (backend == NULL || readers < 1 || readers > READERS_MAX) {
		ush_message_set(message,
			backend == NULL ? "database: want sqlite:PATH or postgresql://..."
					: "database: want 1 to %u readers",
			READERS_MAX);
		return -USH_EINVAL;
	}
	made = calloc(1, sizeof(*made));
	if (made == NULL)
		return -USH_ENOMEM;
	made->backend = backend;
	made->worker_count = backend->postgres ? readers : readers + 1;
	made->event_fd = -1;
	pthread_mutex_init(&made->mutex, NULL);
	pthread_cond_init(&made->work, NULL);
	pthread_cond_init(&made->waited, NULL);
	list_init(&made->waiting[USH_DB_READ]);
	list_init(&made->waiting[USH_DB_WRITE]);
	list_init(&made->finished);
	made->workers = calloc(made->worker_count, sizeof(made->workers[0]));
	ret = made->workers == NULL ? -USH_ENOMEM : start_all(made, where, steps, base, message);
	if (ret != 0) {
		ush_db_close(made);
		return ret;
	}
	*db = made;
	return 0;
}

/* Threads have ended. What waits never runs. */
static void drop_waiting(struct ush_db *db)
{
	struct job *job;

	pthread_mutex_lock(&db->mutex);
	for (int kind = USH_DB_READ; kind <= USH_DB_WRITE; kind++) {
		while ((job = list_take(&db->waiting[kind])) != NULL)
			finish(db, job, -USH_ESTOPPED);
	}
	pthread_mutex_unlock(&db->mutex);
}

void ush_db_close(struct ush_db *db)
{
	pthread_mutex_lock(&db->mutex);
	db->stopping = true;
	pthread_cond_broadcast(&db->work);
	pthread_mutex_unlock(&db->mutex);
	for (uint32_t i = 0; db->workers != NULL && i < db->worker_count; i++) {
		if (db->workers[i].started)
			pthread_join(db->workers[i].thread, NULL);
	}
	drop_waiting(db);
	while (db->finished.first != NULL)
		deliver(db->event_fd, 0, db);
	for (uint32_t i = 0; db->workers != NULL && i < db->worker_count; i++) {
		if (db->workers[i].conn.where != NULL)
			db_conn_close(&db->workers[i].conn);
	}
	if (db->event != NULL)
		event_free(db->event);
	if (db->event_fd >= 0)
		close(db->event_fd);
	free(db->workers);
	pthread_cond_destroy(&db->waited);
	pthread_cond_destroy(&db->work);
	pthread_mutex_destroy(&db->mutex);
	free(db);
}
