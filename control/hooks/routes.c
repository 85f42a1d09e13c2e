/* SPDX-License-Identifier: Apache-2.0 */
/* Endpoints over HTTP: a promoter's own, an operator's all. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/rand.h>

#include "hooks/internal.h"

#define STAFF (1u << USH_ROLE_OPERATOR | 1u << USH_ROLE_PROMOTER)
#define PAGE 100

struct task;
typedef int task_job(struct ush_db_conn *conn, struct task *task);

/* One for each request. A job may run again: what it sets, it sets anew. */
struct task {
	struct ush_hooks *hooks;
	struct ush_http_request *request;
	task_job *job;
	struct ush_who who;
	int64_t promoter; /* 0: the operator */
	int64_t now_us;
	int64_t number;
	int64_t kinds;
	char hook[HOOKS_NAME_BYTES];
	char secret[HOOKS_SECRET_BYTES];
	char url[HOOKS_URL_BYTES];
	/* Set by the job. */
	uint32_t status;
	json_t *answer;
	const char *problem;
	const char *detail;
};

/* ---- a request that asks the database ---- */

static void task_free(struct task *task)
{
	struct ush_hooks *hooks = task->hooks;

	json_decref(task->answer);
	/* It held a secret. */
	explicit_bzero(task, sizeof(*task));
	free(task);
	hooks_release(hooks);
}

static void task_drop(struct task *task, uint32_t status, const char *code, const char *detail)
{
	if (status == 503)
		ush_http_set(task->request, "Retry-After", "1");
	ush_http_problem(task->request, status, code, NULL, "%s", detail);
	task_free(task);
}

static int task_refuse(struct task *task, uint32_t status, const char *code, const char *detail)
{
	task->status = status;
	task->problem = code;
	task->detail = detail;
	return 0;
}

/* ret: a task, if the one who asks may; otherwise NULL, and it was answered. */
static struct task *task_new(struct ush_http_request *request, void *context)
{
	const struct ush_who *who = ush_who_must(request, STAFF);
	const char *hook = ush_http_param(request, "hook");
	struct task *task;

	if (who == NULL)
		return NULL;
	task = calloc(1, sizeof(*task));
	USH_ASSERT(task != NULL);
	task->hooks = context;
	task->hooks->under_way++;
	task->request = request;
	task->who = *who;
	task->promoter = who->role == USH_ROLE_OPERATOR ? 0 : (int64_t)who->promoter;
	task->now_us = ush_core_now_us();
	if (who->role != USH_ROLE_OPERATOR && task->promoter == 0) {
		task_drop(task, 403, "forbidden", "This account has no events.");
		return NULL;
	}
	if (hook != NULL && strlen(hook) >= sizeof(task->hook)) {
		task_drop(task, 404, "not_found", "There is no such endpoint.");
		return NULL;
	}
	snprintf(task->hook, sizeof(task->hook), "%s", hook != NULL ? hook : "");
	return task;
}

static int run_job(struct ush_db_conn *conn, void *context)
{
	struct task *task = context;
	int ret, error;

	json_decref(task->answer);
	task->answer = NULL;
	task->problem = task->detail = NULL;
	task->status = 200;
	ret = task->job(conn, task);
	error = ush_db_error(conn, NULL);
	return ret < 0 ? ret : error;
}

static void job_done(void *context, int result)
{
	struct task *task = context;

	if (result == -USH_EBUSY || result == -USH_ESTOPPED) {
		task_drop(task, 503, "busy", "The database has too much to do; try again.");
		return;
	}
	if (result != 0) {
		ush_core_log(USH_CORE_ERROR, "hooks", "a job failed", "request",
			ush_http_id(task->request), "why", ush_error_text(result), NULL);
		task_drop(task, 500, "internal", "The database failed; try again later.");
		return;
	}
	if (task->problem != NULL) {
		task_drop(task, task->status, task->problem, task->detail);
		return;
	}
	if (task->answer == NULL)
		ush_http_answer_empty(task->request, task->status);
	else
		ush_http_answer_json(task->request, task->status, json_incref(task->answer));
	task_free(task);
}

static void task_run(struct task *task, enum ush_db_kind kind, task_job *job)
{
	task->job = job;
	ush_db_run(task->hooks->core->db, kind, run_job, job_done, task);
}

static void hex_of_chance(char *to, const char *begin, uint32_t bytes)
{
	unsigned char chance[32];
	size_t at = strlen(begin);

	USH_ASSERT(bytes <= sizeof(chance) && RAND_bytes(chance, (int)bytes) == 1);
	memcpy(to, begin, at + 1);
	for (uint32_t i = 0; i < bytes; i++)
		snprintf(to + at + 2 * i, 3, "%02x", chance[i]);
	explicit_bzero(chance, sizeof(chance));
}

/* ---- POST and GET /v1/hooks ---- */

static json_t *kinds_of(int64_t bits)
{
	json_t *list = json_array();

	for (uint32_t i = 0; hooks_kind_name(i) != NULL; i++)
		if (bits >> i & 1)
			json_array_append_new(list, json_string(hooks_kind_name(i)));
	return list;
}

static int make_job(struct ush_db_conn *conn, struct task *task)
{
	int64_t count = 0, newest = 0;

	ush_db_get(conn, "SELECT COUNT(*) FROM hooks_endpoints WHERE promoter = ?", "i",
		task->promoter, "i", &count);
	if (count >= HOOKS_ENDPOINTS_MAX)
		return task_refuse(task, 409, "hook_limit", "Delete an endpoint first.");
	ush_db_get(conn, "SELECT COALESCE(MAX(number), 0) FROM changes", "", "i", &newest);
	ush_db_exec(conn,
		"INSERT INTO hooks_endpoints(hook, promoter, url, secret, previous,"
		" previous_until_us, kinds, number, turn, failures, failing_us, due_us, leased,"
		" disabled_us, made_us, account)"
		" VALUES(?, ?, ?, ?, '', 0, ?, ?, 0, 0, 0, 0, 0, 0, ?, ?)",
		"tittiiii", task->hook, task->promoter, task->url, task->secret, task->kinds,
		newest, task->now_us, (int64_t)task->who.user);
	ush_people_audit(conn, &task->who, "hook.make", task->hook, "");
	task->status = 201;
	task->answer = json_pack("{ss ss ss so sI}", "hook", task->hook, "secret", task->secret,
		"url", task->url, "kinds", kinds_of(task->kinds), "number", (json_int_t)newest);
	return 0;
}

/* ret: true for a URL that something may be sent to; the address is looked at when it is. */
static bool is_url(const char *url, bool plain_too)
{
	const char *host = NULL, *end;

	if (url == NULL || strlen(url) >= HOOKS_URL_BYTES)
		return false;
	if (strncmp(url, "https://", 8) == 0)
		host = url + 8;
	else if (plain_too && strncmp(url, "http://", 7) == 0)
		host = url + 7;
	if (host == NULL)
		return false;
	for (const char *c = url; *c != '\0'; c++)
		if (*c <= ' ' || *c > '~' || *c == '\\' || *c == '#')
			return false;
	end = host + strcspn(host, "/?");
	return end > host && memchr(host, '@', (size_t)(end - host)) == NULL;
}

/* ret: the bits; 0: no list of kinds. */
static int64_t read_kinds(const json_t *list)
{
	int64_t bits = 0;
	const json_t *item;
	size_t i;

	if (list == NULL) {
		for (uint32_t kind = 0; hooks_kind_name(kind) != NULL; kind++)
			bits |= (int64_t)1 << kind;
		return bits;
	}
	json_array_foreach(list, i, item)
	{
		const char *name = json_string_value(item);
		uint32_t bit = name != NULL ? hooks_kind_bit(name) : 0;

		if (bit == 0)
			return 0;
		bits |= bit;
	}
	return bits;
}

static void on_make(struct ush_http_request *request, void *context)
{
	struct task *task = task_new(request, context);
	const json_t *body;
	const char *url;

	if (task == NULL)
		return;
	body = ush_http_json(request);
	url = json_string_value(json_object_get(body, "url"));
	task->kinds = read_kinds(json_object_get(body, "kinds"));
	if (!is_url(url, task->hooks->allow_private)) {
		task_drop(task, 422, "invalid",
			"'url' is https://HOST[:PORT]/..., without a user and a fragment.");
		return;
	}
	if (task->kinds == 0) {
		task_drop(task, 422, "invalid", "'kinds' is a list of kinds, see docs/hooks.md.");
		return;
	}
	snprintf(task->url, sizeof(task->url), "%s", url);
	hex_of_chance(task->hook, "h_", 10);
	hex_of_chance(task->secret, "whsec_", 32);
	task_run(task, USH_DB_WRITE, make_job);
}

static json_t *time_or_null(int64_t us)
{
	return us != 0 ? json_integer(us) : json_null();
}

static int list_job(struct ush_db_conn *conn, struct task *task)
{
	json_t *items = json_array();
	struct ush_db_rows *rows = ush_db_query(conn,
		"SELECT hook, url, kinds, number, failures, failing_us, due_us, disabled_us, made_us,"
		" promoter, previous_until_us, reason FROM hooks_endpoints"
		" WHERE (? = 0 OR promoter = ?) AND hook > ? ORDER BY hook LIMIT ?",
		"iiti", task->promoter, task->promoter, task->hook, (int64_t)PAGE);
	char last[HOOKS_NAME_BYTES] = "";

	while (ush_db_next(rows)) {
		int64_t disabled_us = ush_db_int(rows, 7), until_us = ush_db_int(rows, 10);

		snprintf(last, sizeof(last), "%s", ush_db_text(rows, 0));
		json_array_append_new(items,
			json_pack("{ss ss so sI ss ss* sI so so so sI sI so}", "hook", last, "url",
				ush_db_text(rows, 1), "kinds", kinds_of(ush_db_int(rows, 2)),
				"number", (json_int_t)ush_db_int(rows, 3), "state",
				disabled_us != 0 ? "disabled" : "active", "reason",
				disabled_us != 0 ? ush_db_text(rows, 11) : NULL, "failures",
				(json_int_t)ush_db_int(rows, 4), "failing_us",
				time_or_null(ush_db_int(rows, 5)), "due_us",
				time_or_null(ush_db_int(rows, 6)), "disabled_us",
				time_or_null(disabled_us), "made_us",
				(json_int_t)ush_db_int(rows, 8), "promoter",
				(json_int_t)ush_db_int(rows, 9), "previous_until_us",
				time_or_null(until_us > task->now_us ? until_us : 0)));
	}
	task->answer = json_pack("{so so}", "items", items, "next",
		json_array_size(items) == PAGE ? json_string(last) : json_null());
	return 0;
}

static void on_list(struct ush_http_request *request, void *context)
{
	const char *after = ush_http_query(request, "after");
	struct task *task = task_new(request, context);

	if (task == NULL)
		return;
	snprintf(task->hook, sizeof(task->hook), "%s", after != NULL ? after : "");
	task_run(task, USH_DB_READ, list_job);
}

/* ---- one endpoint ---- */

/* ret: true if it is there, and is theirs who asks; false: refused. */
static bool is_theirs(struct ush_db_conn *conn, struct task *task)
{
	int64_t count = 0;

	ush_db_get(conn,
		"SELECT COUNT(*) FROM hooks_endpoints WHERE hook = ? AND (? = 0 OR promoter = ?)",
		"tii", task->hook, task->promoter, task->promoter, "i", &count);
	if (count == 0)
		task_refuse(task, 404, "not_found", "There is no such endpoint.");
	return count != 0;
}

static int drop_job(struct ush_db_conn *conn, struct task *task)
{
	if (!is_theirs(conn, task))
		return 0;
	ush_db_exec(conn, "DELETE FROM hooks_deliveries WHERE hook = ?", "t", task->hook);
	ush_db_exec(conn, "DELETE FROM hooks_endpoints WHERE hook = ?", "t", task->hook);
	ush_people_audit(conn, &task->who, "hook.drop", task->hook, "");
	task->status = 204;
	return 0;
}

static void on_drop(struct ush_http_request *request, void *context)
{
	struct task *task = task_new(request, context);

	if (task != NULL)
		task_run(task, USH_DB_WRITE, drop_job);
}

static int deliveries_job(struct ush_db_conn *conn, struct task *task)
{
	struct ush_db_rows *rows;
	json_t *items;
	int64_t last = 0;

	if (!is_theirs(conn, task))
		return 0;
	items = json_array();
	rows = ush_db_query(conn,
		"SELECT number, kind, status, attempts, tried_us, due_us, done_us"
		" FROM hooks_deliveries WHERE hook = ? AND number > ? ORDER BY number LIMIT ?",
		"tii", task->hook, task->number, (int64_t)PAGE);
	while (ush_db_next(rows)) {
		int64_t status = ush_db_int(rows, 2);

		last = ush_db_int(rows, 0);
		json_array_append_new(
			items, json_pack("{sI ss so sI sI so so}", "number", (json_int_t)last,
				       "kind", ush_db_text(rows, 1), "status", time_or_null(status),
				       "attempts", (json_int_t)ush_db_int(rows, 3), "tried_us",
				       (json_int_t)ush_db_int(rows, 4), "due_us",
				       time_or_null(ush_db_int(rows, 5)), "done_us",
				       time_or_null(ush_db_int(rows, 6))));
	}
	task->answer = json_pack("{so so}", "items", items, "next",
		json_array_size(items) == PAGE ? json_integer(last) : json_null());
	return 0;
}

static void on_deliveries(struct ush_http_request *request, void *context)
{
	const char *after = ush_http_query(request, "after");
	struct task *task = task_new(request, context);
	char *end;

	if (task == NULL)
		return;
	task->number = after != NULL ? strtoll(after, &end, 10) : 0;
	if (after != NULL && (*end != '\0' || *after == '\0' || task->number < 0)) {
		task_drop(task, 422, "invalid", "'after' is the number of a delivery.");
		return;
	}
	task_run(task, USH_DB_READ, deliveries_job);
}

static int replay_job(struct ush_db_conn *conn, struct task *task)
{
	int64_t newest = 0, owners = 0;
	char text[48];

	if (!is_theirs(conn, task))
		return 0;
	ush_db_get(conn, "SELECT COUNT(*) FROM hooks_endpoints WHERE hook = ? AND " HOOKS_HAS_OWNER,
		"t", task->hook, "i", &owners);
	if (owners == 0)
		return task_refuse(task, 409, "hook_owner",
			"Who made this endpoint no longer has the role for it: make another.");
	ush_db_get(conn, "SELECT COALESCE(MAX(number), 0) FROM changes", "", "i", &newest);
	if (task->number > newest + 1)
		return task_refuse(
			task, 422, "invalid", "'from' is beyond the newest change's number.");
	/* What is under way stays alone: its end does not move the cursor, as `turn` is another. */
	ush_db_exec(conn,
		"UPDATE hooks_endpoints SET number = ?, turn = turn + 1, failures = 0,"
		" failing_us = 0, due_us = 0, disabled_us = 0, reason = '' WHERE hook = ?",
		"it", task->number - 1, task->hook);
	snprintf(text, sizeof(text), "from %" PRId64, task->number);
	ush_people_audit(conn, &task->who, "hook.replay", task->hook, text);
	task->answer = json_pack("{ss sI}", "hook", task->hook, "from", (json_int_t)task->number);
	return 0;
}

static void on_replay(struct ush_http_request *request, void *context)
{
	struct task *task = task_new(request, context);
	const json_t *from;

	if (task == NULL)
		return;
	from = json_object_get(ush_http_json(request), "from");
	task->number = json_integer_value(from);
	if (!json_is_integer(from) || task->number < 1) {
		task_drop(task, 422, "invalid", "'from' is the number of a change, from 1.");
		return;
	}
	task_run(task, USH_DB_WRITE, replay_job);
}

static int rotate_job(struct ush_db_conn *conn, struct task *task)
{
	int64_t until_us = task->now_us + HOOKS_ROTATE_US;

	if (!is_theirs(conn, task))
		return 0;
	ush_db_exec(conn,
		"UPDATE hooks_endpoints SET previous = secret, previous_until_us = ?, secret = ?"
		" WHERE hook = ?",
		"itt", until_us, task->secret, task->hook);
	ush_people_audit(conn, &task->who, "hook.rotate", task->hook, "");
	task->answer = json_pack("{ss ss sI}", "hook", task->hook, "secret", task->secret,
		"previous_until_us", (json_int_t)until_us);
	return 0;
}

static void on_rotate(struct ush_http_request *request, void *context)
{
	struct task *task = task_new(request, context);

	if (task == NULL)
		return;
	hex_of_chance(task->secret, "whsec_", 32);
	task_run(task, USH_DB_WRITE, rotate_job);
}

static const struct ush_http_route routes[] = {
	{"POST", "/v1/hooks", on_make, 0, 8192},
	{"GET", "/v1/hooks", on_list, 0, 0},
	{"DELETE", "/v1/hooks/{hook}", on_drop, 0, 0},
	{"GET", "/v1/hooks/{hook}/deliveries", on_deliveries, 0, 0},
	{"POST", "/v1/hooks/{hook}/replay", on_replay, 0, 4096},
	{"POST", "/v1/hooks/{hook}/secret", on_rotate, 0, 4096},
	{NULL, NULL, NULL, 0, 0},
};

void hooks_routes_open(struct ush_hooks *hooks)
{
	ush_http_routes_add(hooks->core->http, routes, hooks);
}
