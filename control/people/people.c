/* SPDX-License-Identifier: Apache-2.0 */
/* The module's life, and what a request that asks the database goes through. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <event2/event.h>

#include "people/internal.h"

#define HOUSEKEEPING_S 300

/* ---- tasks ---- */

struct people_task *people_task_new(struct ush_people *people, struct ush_http_request *request)
{
	struct people_task *task = calloc(1, sizeof(*task));
	const struct people_who *who = ush_http_who(request);

	USH_ASSERT(task != NULL);
	task->people = people;
	task->request = request;
	task->now_us = ush_core_now_us();
	task->method = ush_http_method(request);
	if (who != NULL)
		task->who = *who;
	people->under_way++;
	return task;
}

void people_task_free(struct people_task *task)
{
	task->people->under_way--;
	json_decref(task->answer);
	/* It held tokens and codes. */
	explicit_bzero(task, sizeof(*task));
	free(task);
}

int people_task_refuse(
	struct people_task *task, uint32_t status, const char *code, const char *detail)
{
	task->status = status;
	task->problem = code;
	task->detail = detail;
	return 0;
}

void people_task_drop(
	struct people_task *task, uint32_t status, const char *code, const char *detail)
{
	char text[16];

	if (task->retry_s != 0) {
		snprintf(text, sizeof(text), "%u", task->retry_s);
		ush_http_set(task->request, "Retry-After", text);
	}
	ush_http_problem(task->request, status, code, NULL, "%s", detail);
	people_task_free(task);
}

static int run_job(struct ush_db_conn *conn, void *context)
{
	struct people_task *task = context;
	int ret, error;

	json_decref(task->answer);
	task->answer = NULL;
	task->problem = task->detail = NULL;
	task->status = 200;
	task->retry_s = 0;
	ret = task->job(conn, task);
	error = ush_db_error(conn, NULL);
	return ret < 0 ? ret : error;
}

static void job_done(void *context, int result)
{
	struct people_task *task = context;

	if (result == -USH_EBUSY || result == -USH_ESTOPPED) {
		task->retry_s = 1;
		people_task_drop(task, 503, "busy", "The database has too much to do; try again.");
		return;
	}
	if (result != 0) {
		ush_core_log(USH_CORE_ERROR, "people", "a job failed", "request",
			ush_http_id(task->request), "why", ush_error_text(result), NULL);
		people_task_drop(task, 500, "internal", "The database failed; try again later.");
		return;
	}
	if (task->problem != NULL) {
		people_task_drop(task, task->status, task->problem, task->detail);
		return;
	}
	if (task->then != NULL) {
		task->then(task);
		return;
	}
	if (task->answer == NULL) {
		ush_http_answer_empty(task->request, task->status);
	} else {
		ush_http_answer_json(task->request, task->status, task->answer);
		task->answer = NULL;
	}
	people_task_free(task);
}

void people_task_run(struct people_task *task, enum ush_db_kind kind, people_job *job)
{
	task->job = job;
	ush_db_run(task->people->core->db, kind, run_job, job_done, task);
}

bool people_task_text(struct people_task *task, const char *name, char *to, size_t bytes)
{
	const char *text = json_string_value(json_object_get(ush_http_json(task->request), name));
	char detail[128];

	if (text != NULL && text[0] != '\0' && strlen(text) < bytes) {
		snprintf(to, bytes, "%s", text);
		return true;
	}
	snprintf(detail, sizeof(detail), "'%s' must be a text of 1 to %zu bytes.", name, bytes - 1);
	people_task_drop(task, 422, "invalid", detail);
	return false;
}

/* ---- housekeeping ---- */

struct sweep {
	struct ush_people *people;
	int64_t now_us;
};

/* What ended goes, so much at a time. */
static int sweep_job(struct ush_db_conn *conn, void *context)
{
	const struct sweep *sweep = context;

	ush_db_exec(conn,
		"DELETE FROM people_codes WHERE challenge IN (SELECT challenge FROM people_codes"
		" WHERE expires_us < ? LIMIT 10000)",
		"i", sweep->now_us - PEOPLE_HOUR_US);
	ush_db_exec(conn,
		"DELETE FROM people_sessions WHERE hash IN (SELECT hash FROM people_sessions"
		" WHERE expires_us < ? LIMIT 10000)",
		"i", sweep->now_us);
	return ush_db_error(conn, NULL);
}

static void sweep_done(void *context, int result)
{
	struct sweep *sweep = context;

	sweep->people->under_way--;
	if (result != 0 && result != -USH_ESTOPPED)
		ush_core_log(USH_CORE_WARN, "people", "what ended was not removed", "why",
			ush_error_text(result), NULL);
	free(sweep);
}

static void on_housekeeping(evutil_socket_t fd, short what, void *context)
{
	struct ush_people *people = context;
	struct sweep *sweep = malloc(sizeof(*sweep));

	(void)fd;
	(void)what;
	USH_ASSERT(sweep != NULL);
	*sweep = (struct sweep){.people = people, .now_us = ush_core_now_us()};
	people->under_way++;
	ush_db_run(people->core->db, USH_DB_WRITE, sweep_job, sweep_done, sweep);
}

/* ---- life ---- */

/* For those who are not given it. */
static struct ush_people *opened;

void ush_people_keeper(struct ush_people *people, const char *name,
	int (*take)(struct ush_db_conn *conn, uint64_t user, json_t **out),
	int (*drop)(struct ush_db_conn *conn, uint64_t user))
{
	if (people == NULL)
		people = opened;
	USH_ASSERT(people != NULL && people->keeper_count < PEOPLE_KEEPERS_MAX);
	people->keepers[people->keeper_count++] =
		(struct people_keeper){.name = name, .take = take, .drop = drop};
}

/* ret: true for http://127.0.0.1 and http://localhost, with any port. */
static bool is_here(const char *origin)
{
	static const char *const here[] = {"http://127.0.0.1", "http://localhost"};

	for (uint32_t i = 0; i < 2; i++) {
		size_t bytes = strlen(here[i]);

		if (strncmp(origin, here[i], bytes) == 0 &&
			(origin[bytes] == '\0' || origin[bytes] == ':'))
			return true;
	}
	return false;
}

static int read_settings(struct ush_people *people, uint32_t *per_min, struct ush_message *message)
{
	const struct ush_core *core = people->core;
	const char *text = core->setting(core, "people", "requests_per_min");
	size_t bytes;
	char *end;
	unsigned long value = strtoul(text, &end, 10);

	if (*end != '\0' || value < 1 || value > 1000000) {
		ush_message_set(
			message, "people.requests_per_min wants a number from 1 to 1000000");
		return -USH_EINVAL;
	}
	*per_min = (uint32_t)value;
	if (core->setting(core, "people", "codes_file") != NULL && !is_here(core->origin)) {
		ush_message_set(message, "people.codes_file is for tests: http.origin must be "
					 "http://127.0.0.1 or http://localhost");
		return -USH_EINVAL;
	}
	if (core->setting(core, "people", "sms_key_file") == NULL)
		return 0;
	people->sms_key = core->secret(core, "people", "sms_key_file", &bytes, message);
	return people->sms_key != NULL ? 0 : -USH_EACCES;
}

int ush_people_open(
	struct ush_people **people_out, const struct ush_core *core, struct ush_message *message)
{
	const struct timeval every = {.tv_sec = HOUSEKEEPING_S};
	struct ush_people *people = calloc(1, sizeof(*people));
	struct ush_key key;
	uint32_t per_min = 0;
	int ret;

	USH_ASSERT(people != NULL);
	people->core = core;
	people->is_https = strncmp(core->origin, "https://", 8) == 0;
	ret = people_secret_open(people, message);
	if (ret == 0)
		ret = read_settings(people, &per_min, message);
	if (ret != 0) {
		free(people);
		return ret;
	}
	memcpy(&key, people->secret, sizeof(key));
	people->limit = people_limit_open(&key, per_min);
	people_who_open(people);
	people_sign_in_open(people);
	people_me_open(people);
	people_admin_open(people);
	if (!core->read_only) {
		people->housekeeping =
			event_new(core->base, -1, EV_PERSIST, on_housekeeping, people);
		USH_ASSERT(people->housekeeping != NULL);
		event_add(people->housekeeping, &every);
	}
	*people_out = opened = people;
	return 0;
}

void ush_people_close(struct ush_people *people)
{
	/* What its jobs left is called back while the database closes, after this: the memory stays
	 * for them. */
	if (people->housekeeping != NULL)
		event_free(people->housekeeping);
	people->housekeeping = NULL;
	people->closing = true;
	opened = NULL;
	if (people->under_way != 0)
		return;
	people_limit_close(people->limit);
	free(people->sms_key);
	explicit_bzero(people->secret, sizeof(people->secret));
	free(people);
}
