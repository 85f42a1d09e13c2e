/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who asks: a session's cookie or an API key, looked up in the database for each request, so that
 * what was ended has ended. Limits come first, and need no database.
 *
 * Failure modes: a cookie that is unknown or has ended is as none (and is taken away); a key that
 * is unknown or was revoked is 401; a write with a cookie and without the right Origin and CSRF
 * token is 403.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "people/internal.h"

#define SEEN_US (5 * PEOPLE_MINUTE_US)
#define IDLE_US (30 * PEOPLE_DAY_US)
#define IDLE_STAFF_US (12 * PEOPLE_HOUR_US)
#define USED_US PEOPLE_HOUR_US

const char *people_cookie_name(const struct ush_people *people)
{
	/* The prefix makes browsers demand Secure and Path=/, and refuse it from other hosts. */
	return people->is_https ? "__Host-usher" : "usher";
}

static bool is_read(const char *method)
{
	return strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0;
}

/* ---- limits ---- */

static bool within_limit(
	struct ush_people *people, struct ush_http_request *request, const char *text)
{
	const struct ush_who *who = ush_who(request);
	bool staff = who != NULL && who->role > USH_ROLE_BUYER;
	uint32_t cost = staff || is_read(ush_http_method(request)) ? 1 : 10;
	uint32_t wait_s = people_limit_take(people->limit, text, cost, ush_core_now_us());
	char wait[16];

	if (wait_s == 0)
		return true;
	snprintf(wait, sizeof(wait), "%u", wait_s);
	ush_http_set(request, "Retry-After", wait);
	ush_http_problem(request, 429, "rate_limited", NULL,
		"Too many requests; try again in %u s.", wait_s);
	return false;
}

/* Ourselves, or a proxy that nobody told us of: limiting it would limit everybody at once. */
static bool is_local(const char *address)
{
	return strncmp(address, "127.", 4) == 0 || strcmp(address, "::1") == 0;
}

/* ---- CSRF ---- */

static bool csrf_is_good(struct people_task *task)
{
	struct ush_http_request *request = task->request;
	const char *origin = ush_http_header(request, "Origin");
	const char *site = ush_http_header(request, "Sec-Fetch-Site");
	const char *token = ush_http_header(request, "X-CSRF-Token");

	if (is_read(task->method) || (ush_http_flags(request) & USH_HTTP_NO_CSRF) != 0)
		return true;
	if (origin != NULL && strcmp(origin, task->people->core->origin) != 0)
		return false;
	if (origin == NULL && site != NULL && strcmp(site, "same-origin") != 0 &&
		strcmp(site, "none") != 0)
		return false;
	return token != NULL && people_same(token, task->who.csrf);
}

/* ---- from the database ---- */

static int read_account(struct ush_db_conn *conn, int64_t account, struct people_who *who)
{
	int64_t role = 0, promoter = 0, verified = 0;
	int ret = ush_db_get(conn,
		"SELECT role, promoter, verified FROM people_accounts WHERE account = ? AND"
		" deleted_us = 0",
		"i", account, "iii", &role, &promoter, &verified);

	if (ret != 1)
		return ret;
	who->who.role = (enum ush_role)role;
	who->who.user = (uint64_t)account;
	who->who.promoter = (uint64_t)promoter;
	who->who.verified = (uint64_t)verified;
	people_account_name((uint64_t)account, who->who.account);
	return 1;
}

static int session_job(struct ush_db_conn *conn, struct people_task *task)
{
	int64_t account = 0, seen = 0, expires = 0;
	int ret;

	memset(&task->who.who, 0, sizeof(task->who.who));
	task->number = 0;
	ret = ush_db_get(conn,
		"SELECT account, seen_us, expires_us FROM people_sessions WHERE hash = ?", "t",
		task->who.session, "iii", &account, &seen, &expires);
	if (ret != 1 || expires <= task->now_us)
		return ret < 0 ? ret : 0;
	ret = read_account(conn, account, &task->who);
	if (ret != 1)
		return ret;
	if (task->now_us - seen > (task->who.who.role > USH_ROLE_BUYER ? IDLE_STAFF_US : IDLE_US)) {
		memset(&task->who.who, 0, sizeof(task->who.who));
		return 0;
	}
	task->number = task->now_us - seen > SEEN_US;
	return 0;
}

/* uk_PREFIX_SECRET; task->text: the prefix, task->more: the hash of the whole. */
static int key_job(struct ush_db_conn *conn, struct people_task *task)
{
	int64_t account = 0, role = 0, promoter = 0, used = 0, revoked = 0;
	char *hash = NULL, *scope = NULL;
	int ret = ush_db_get(conn,
		"SELECT hash, scope, account, role, promoter, used_us, revoked_us FROM people_keys"
		" WHERE prefix = ?",
		"t", task->text, "ttiiiii", &hash, &scope, &account, &role, &promoter, &used,
		&revoked);
	bool good = ret == 1 && revoked == 0 && people_same(hash, task->more);

	memset(&task->who.who, 0, sizeof(task->who.who));
	if (good)
		ret = read_account(conn, account, &task->who);
	if (good && ret == 1) {
		task->who.who.role = (enum ush_role)role;
		task->who.who.promoter = (uint64_t)promoter;
		task->who.read_only = strcmp(scope, "read") == 0;
		task->number = task->now_us - used > USED_US;
	}
	free(hash);
	free(scope);
	return ret < 0 ? ret : 0;
}

/* ---- when it was last seen: not worth a wait ---- */

struct seen {
	struct ush_people *people;
	bool is_key;
	int64_t now_us;
	char name[PEOPLE_MAIL_BYTES];
};

static int seen_job(struct ush_db_conn *conn, void *context)
{
	const struct seen *seen = context;

	if (seen->is_key)
		ush_db_exec(conn, "UPDATE people_keys SET used_us = ? WHERE prefix = ?", "it",
			seen->now_us, seen->name);
	else
		ush_db_exec(conn, "UPDATE people_sessions SET seen_us = ? WHERE hash = ?", "it",
			seen->now_us, seen->name);
	return ush_db_error(conn, NULL);
}

static void seen_done(void *context, int result)
{
	struct seen *seen = context;

	(void)result;
	seen->people->under_way--;
	free(seen);
}

static void note_seen(const struct people_task *task, const char *name, bool is_key)
{
	struct ush_people *people = task->people;
	struct seen *seen;

	if (task->number == 0 || people->core->read_only)
		return;
	seen = calloc(1, sizeof(*seen));
	USH_ASSERT(seen != NULL);
	seen->people = people;
	seen->is_key = is_key;
	seen->now_us = task->now_us;
	snprintf(seen->name, sizeof(seen->name), "%s", name);
	people->under_way++;
	ush_db_run(people->core->db, USH_DB_WRITE, seen_job, seen_done, seen);
}

/* ---- the filter ---- */

static void go_on(struct people_task *task)
{
	struct ush_http_request *request = task->request;
	struct ush_people *people = task->people;
	struct people_who *who;

	if (task->who.who.role != USH_ROLE_NONE) {
		who = malloc(sizeof(*who));
		USH_ASSERT(who != NULL);
		*who = task->who;
		ush_http_who_set(request, who->who.account, who, free);
	}
	people_task_free(task);
	if (ush_http_who(request) == NULL ||
		within_limit(people, request, ush_http_account(request)))
		ush_http_filter_resume(request);
}

static void session_known(struct people_task *task)
{
	if (task->who.who.role == USH_ROLE_NONE) {
		people_cookie_set(task, "", 0);
		go_on(task);
		return;
	}
	if (!csrf_is_good(task)) {
		people_task_drop(task, 403, "csrf",
			"A write with a cookie needs our Origin and the header X-CSRF-Token, "
			"which GET /v1/me tells.");
		return;
	}
	note_seen(task, task->who.session, false);
	go_on(task);
}

static void key_known(struct people_task *task)
{
	if (task->who.who.role == USH_ROLE_NONE) {
		ush_http_set(task->request, "WWW-Authenticate", "Bearer");
		people_task_drop(
			task, 401, "key_unknown", "The API key is unknown or was revoked.");
		return;
	}
	if (task->who.read_only && !is_read(task->method)) {
		people_task_drop(task, 403, "scope", "This API key may only read.");
		return;
	}
	note_seen(task, task->text, true);
	go_on(task);
}

static bool start_key(struct ush_people *people, struct ush_http_request *request, const char *key)
{
	struct people_task *task = people_task_new(people, request);
	const char *end = strncmp(key, "uk_", 3) == 0 ? strchr(key + 3, '_') : NULL;

	if (end == NULL || end - key - 3 > 32 || strlen(key) > 200) {
		ush_http_set(request, "WWW-Authenticate", "Bearer");
		people_task_drop(
			task, 401, "key_unknown", "The API key is unknown or was revoked.");
		return false;
	}
	snprintf(task->text, sizeof(task->text), "%.*s", (int)(end - key - 3), key + 3);
	people_sha256(key, task->more);
	task->then = key_known;
	people_task_run(task, USH_DB_READ, key_job);
	return false;
}

static bool on_request(struct ush_http_request *request, void *context)
{
	struct ush_people *people = context;
	const char *authorization = ush_http_header(request, "Authorization");
	const char *cookie = ush_http_cookie(request, people_cookie_name(people));
	const char *address = ush_http_client(request);
	struct people_task *task;

	if (!is_local(address) && !within_limit(people, request, address))
		return false;
	if (authorization != NULL && strncmp(authorization, "Bearer uk_", 10) == 0)
		return start_key(people, request, authorization + 7);
	if (cookie == NULL || strlen(cookie) != (size_t)2 * PEOPLE_TOKEN_BYTES)
		return true;
	task = people_task_new(people, request);
	people_sha256(cookie, task->who.session);
	people_csrf(cookie, task->who.csrf);
	task->who.by_cookie = true;
	task->then = session_known;
	people_task_run(task, USH_DB_READ, session_job);
	return false;
}

void people_who_open(struct ush_people *people)
{
	ush_http_filter_add(people->core->http, on_request, people);
}

/* ---- for the other modules ---- */

const struct ush_who *ush_who(const struct ush_http_request *request)
{
	const struct people_who *who = ush_http_who(request);

	return who != NULL ? &who->who : NULL;
}

const struct ush_who *ush_who_must(struct ush_http_request *request, uint32_t roles)
{
	const struct ush_who *who = ush_who(request);

	if (who == NULL) {
		ush_http_problem(request, 401, "sign_in", NULL,
			"Sign in first: POST /v1/sign-in; or send an API key.");
		return NULL;
	}
	if ((roles & 1u << who->role) != 0)
		return who;
	ush_http_problem(request, 403, "forbidden", NULL, "The role %s may not do this.",
		people_role_name(who->role));
	return NULL;
}
