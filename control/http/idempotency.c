/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Idempotency keys, with the semantics that Stripe publishes.
 *
 * The key is entered, durably, before the handler runs, and its answer is kept, durably, before it
 * leaves. So a repeat finds: nothing (it is the first), a key without an answer (409: the first is
 * under way), a key with an answer (replayed: status, type, body), or a key of another request
 * (422).
 *
 * What says that nothing was done is not kept, and the key may be used again: 400, 401, 429, 503.
 *
 * A key without an answer whose process has died belongs to nobody. Its next request runs the
 * handler again: what a handler does under a key must be safe to repeat (ush_http_key_number is
 * there for that). Of the process that had our state directory before us we know that it has died:
 * we have its lock, and its keys are taken over at once. Another process on the same database may
 * be alive: its keys are taken over after TAKE_OVER_US.
 *
 * Keys are forgotten after a day, FORGET_ROWS at a time.
 */
#include "http/idempotency.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include <event2/event.h>
#include <openssl/rand.h>

#define DAY_US (24ll * 3600 * 1000000)
#define TAKE_OVER_US (60ll * 1000000)
#define FORGET_ROWS 500
#define FORGET_S 60
#define PRINT_BYTES 32u
#define LIFE_BYTES 33u

const struct ush_db_step ush_http_schema[] = {
	{"http", 1,
		"CREATE TABLE http_keys(account TEXT NOT NULL, name TEXT NOT NULL, print BLOB NOT NULL,"
		" life TEXT NOT NULL, begun_us BIGINT NOT NULL, status BIGINT NOT NULL,"
		" type TEXT NOT NULL, body BLOB, PRIMARY KEY(account, name));"
		"CREATE INDEX http_keys_begun ON http_keys(begun_us);",
		"CREATE TABLE http_keys(account TEXT NOT NULL, name TEXT NOT NULL, print BYTEA NOT NULL,"
		" life TEXT NOT NULL, begun_us BIGINT NOT NULL, status BIGINT NOT NULL,"
		" type TEXT NOT NULL, body BYTEA, PRIMARY KEY(account, name));"
		"CREATE INDEX http_keys_begun ON http_keys(begun_us);"},
	{0}};

struct ush_idempotency {
	struct ush_db *db;
	struct event *timer;
	int64_t take_over_us;
	char life[LIFE_BYTES];
	char dead[LIFE_BYTES]; /* who was here before; "": not known */
	int lock;
	bool forgetting;
	int64_t forgotten;
};

enum found {
	FOUND_NEW,
	FOUND_RUNNING,
	FOUND_OTHER,
	FOUND_ANSWER,
};

struct look {
	struct ush_idempotency *own;
	struct ush_http_request *request;
	char account[64];
	char name[256];
	uint8_t print[PRINT_BYTES];
	int64_t now_us;
	enum found found;
	uint32_t status;
	char type[64];
	void *body;
	size_t body_bytes;
	void (*done)(struct ush_http_request *request);
};

static struct look *look_new(struct ush_idempotency *own, struct ush_http_request *request,
	const char *account, const char *name)
{
	struct look *look = calloc(1, sizeof(*look));

	USH_ASSERT(look != NULL);
	look->own = own;
	look->request = request;
	look->now_us = ush_core_now_us();
	snprintf(look->account, sizeof(look->account), "%s", account);
	snprintf(look->name, sizeof(look->name), "%s", name);
	return look;
}

static void look_free(struct look *look)
{
	free(look->body);
	free(look);
}

static void keep_body(struct look *look, const void *body, size_t bytes)
{
	free(look->body);
	look->body = malloc(bytes + 1);
	USH_ASSERT(look->body != NULL);
	if (bytes > 0)
		memcpy(look->body, body, bytes);
	look->body_bytes = bytes;
}

/* ---- begin ---- */

/* Reads the row that was there. out: stale: its process has died. ret: false: it has gone
 * meanwhile. */
static bool read_row(struct ush_db_conn *conn, struct look *look, bool *stale)
{
	struct ush_db_rows *rows = ush_db_query(conn,
		"SELECT print, life, begun_us, status, type, body FROM http_keys"
		" WHERE account = ? AND name = ?",
		"tt", look->account, look->name);
	const void *print, *body;
	size_t bytes;

	*stale = false;
	if (!ush_db_next(rows))
		return false;
	print = ush_db_bytes(rows, 0, &bytes);
	look->status = (uint32_t)ush_db_int(rows, 3);
	if (bytes != PRINT_BYTES || memcmp(print, look->print, bytes) != 0) {
		look->found = FOUND_OTHER;
	} else if (look->status != 0) {
		look->found = FOUND_ANSWER;
		snprintf(look->type, sizeof(look->type), "%s", ush_db_text(rows, 4));
		body = ush_db_bytes(rows, 5, &bytes);
		keep_body(look, body, bytes);
	} else {
		look->found = FOUND_RUNNING;
		*stale = strcmp(ush_db_text(rows, 1), look->own->dead) == 0 ||
			 (strcmp(ush_db_text(rows, 1), look->own->life) != 0 &&
				 look->now_us - ush_db_int(rows, 2) >= look->own->take_over_us);
	}
	ush_db_end(rows);
	return true;
}

static int begin_job(struct ush_db_conn *conn, void *context)
{
	struct look *look = context;
	int64_t rows = ush_db_exec(conn,
		"INSERT INTO http_keys(account, name, print, life, begun_us, status, type)"
		" VALUES(?, ?, ?, ?, ?, 0, '') ON CONFLICT(account, name) DO NOTHING",
		"ttbti", look->account, look->name, look->print, (size_t)PRINT_BYTES,
		look->own->life, look->now_us);
	bool stale;

	look->found = FOUND_NEW;
	if (rows == 0 && !read_row(conn, look, &stale))
		return ush_db_error(conn, NULL) != 0 ? ush_db_error(conn, NULL) : -USH_EBUSY;
	if (rows == 0 && stale) {
		ush_db_exec(conn,
			"UPDATE http_keys SET life = ?, begun_us = ? WHERE account = ? AND name = ?",
			"titt", look->own->life, look->now_us, look->account, look->name);
		look->found = FOUND_NEW;
	}
	return ush_db_error(conn, NULL);
}

static void begin_done(void *context, int result)
{
	struct look *look = context;

	if (result != 0) {
		ush_core_log(USH_CORE_WARN, "http", "no look at an idempotency key", "why",
			ush_error_text(result), "request", ush_http_id(look->request), NULL);
		ush_http_set(look->request, "Retry-After", "1");
		ush_http_problem(look->request, 503, "not_ready", NULL,
			"The database cannot be asked now. Nothing was done; try again.");
	} else if (look->found == FOUND_NEW) {
		ush_http_key_new(look->request);
	} else if (look->found == FOUND_RUNNING) {
		ush_http_key_running(look->request);
	} else if (look->found == FOUND_OTHER) {
		ush_http_key_mismatch(look->request);
	} else {
		ush_http_key_replay(
			look->request, look->status, look->type, look->body, look->body_bytes);
	}
	look_free(look);
}

static void begin(void *context, struct ush_http_request *request, const char *account,
	const char *key, const uint8_t fingerprint[32])
{
	struct ush_idempotency *own = context;
	struct look *look = look_new(own, request, account, key);

	memcpy(look->print, fingerprint, PRINT_BYTES);
	ush_db_run(own->db, USH_DB_WRITE, begin_job, begin_done, look);
}

/* ---- end ---- */

static bool nothing_was_done(uint32_t status)
{
	return status == 400 || status == 401 || status == 429 || status == 503;
}

static int end_job(struct ush_db_conn *conn, void *context)
{
	const struct look *look = context;

	if (nothing_was_done(look->status))
		ush_db_exec(conn,
			"DELETE FROM http_keys WHERE account = ? AND name = ? AND life = ?", "ttt",
			look->account, look->name, look->own->life);
	else
		ush_db_exec(conn,
			"UPDATE http_keys SET status = ?, type = ?, body = ?"
			" WHERE account = ? AND name = ?",
			"itbtt", (int64_t)look->status, look->type, look->body, look->body_bytes,
			look->account, look->name);
	return ush_db_error(conn, NULL);
}

static void end_done(void *context, int result)
{
	struct look *look = context;

	/* It happened, and its caller must hear of it. A repeat meets 409 until we start anew. */
	if (result != 0)
		ush_core_log(USH_CORE_ERROR, "http", "an answer could not be kept", "why",
			ush_error_text(result), "request", ush_http_id(look->request), NULL);
	look->done(look->request);
	look_free(look);
}

static void end(void *context, struct ush_http_request *request, const char *account,
	const char *key, uint32_t status, const char *type, const void *body, size_t bytes,
	void (*done)(struct ush_http_request *request))
{
	struct ush_idempotency *own = context;
	struct look *look = look_new(own, request, account, key);

	look->status = status;
	look->done = done;
	snprintf(look->type, sizeof(look->type), "%s", type);
	keep_body(look, body, bytes);
	ush_db_run(own->db, USH_DB_WRITE, end_job, end_done, look);
}

/* ---- forgetting ---- */

static int forget_job(struct ush_db_conn *conn, void *context)
{
	struct ush_idempotency *own = context;

	own->forgotten = ush_db_exec(conn,
		"DELETE FROM http_keys WHERE (account, name) IN (SELECT account, name FROM http_keys"
		" WHERE begun_us < ? ORDER BY begun_us LIMIT 500)",
		"i", ush_core_now_us() - DAY_US);
	return ush_db_error(conn, NULL);
}

int ush_http_keys_forget(struct ush_db_conn *conn, const char *account)
{
	int64_t rows = ush_db_exec(conn, "DELETE FROM http_keys WHERE account = ?", "t", account);

	return rows < 0 ? (int)rows : 0;
}

static void wait(struct ush_idempotency *own, int seconds)
{
	const struct timeval time = {.tv_sec = seconds};

	event_add(own->timer, &time);
}

static void forget_done(void *context, int result)
{
	struct ush_idempotency *own = context;

	own->forgetting = false;
	if (result != -USH_ESTOPPED)
		wait(own, result == 0 && own->forgotten >= FORGET_ROWS ? 1 : FORGET_S);
}

static void on_timer(evutil_socket_t fd, short what, void *context)
{
	struct ush_idempotency *own = context;

	(void)fd;
	(void)what;
	own->forgetting = true;
	ush_db_run(own->db, USH_DB_WRITE, forget_job, forget_done, own);
}

/* Learns whose keys nobody works on any more, and leaves word of us for the next. */
static void take_lock(struct ush_idempotency *own, const char *folder)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/http-keys", folder);
	own->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (own->lock < 0)
		return;
	/* Another process of this folder lives. */
	if (flock(own->lock, LOCK_EX | LOCK_NB) != 0) {
		close(own->lock);
		own->lock = -1;
		return;
	}
	if (pread(own->lock, own->dead, LIFE_BYTES - 1, 0) != LIFE_BYTES - 1)
		own->dead[0] = '\0';
	if (pwrite(own->lock, own->life, LIFE_BYTES - 1, 0) != LIFE_BYTES - 1)
		ush_core_log(USH_CORE_WARN, "http", "cannot write whose keys they are", NULL);
}

int ush_idempotency_open(struct ush_idempotency **idempotency, const struct ush_core *core,
	struct ush_message *message)
{
	struct ush_idempotency *own = calloc(1, sizeof(*own));
	struct ush_http_keys keys = {.begin = begin, .end = end, .context = own};
	uint8_t random[16];

	(void)message;
	USH_ASSERT(own != NULL);
	USH_ASSERT(RAND_bytes(random, sizeof(random)) == 1);
	for (uint32_t i = 0; i < sizeof(random); i++)
		snprintf(own->life + 2 * i, 3, "%02x", random[i]);
	own->db = core->db;
	own->lock = -1;
	if (core->state_dir != NULL)
		take_lock(own, core->state_dir);
	/* Without a folder, SQLite is ours alone. */
	own->take_over_us =
		core->state_dir != NULL || ush_db_is_postgres(core->db) ? TAKE_OVER_US : 0;
	own->timer = evtimer_new(core->base, on_timer, own);
	USH_ASSERT(own->timer != NULL);
	wait(own, 1);
	ush_http_keys_set(core->http, &keys);
	*idempotency = own;
	return 0;
}

void ush_idempotency_close(struct ush_idempotency *own)
{
	event_free(own->timer);
	if (own->lock >= 0)
		close(own->lock);
	free(own);
}
