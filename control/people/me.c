/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What people may do with what is kept about them: look, verify a telephone, register as a fan,
 * export, delete.
 *
 * Deletion: address, telephone, name, sessions, keys and codes go, and what other modules drop
 * (ush_people_keeper). The account's number stays, since the books name it; nothing leads from it
 * back to a person.
 */
#include <stdlib.h>
#include <string.h>

#include "http/idempotency.h"
#include "people/internal.h"
#ifdef USH_PEOPLE_MAIL
#include "mail/mail.h"
#endif

#define ANYBODY \
	(1u << USH_ROLE_BUYER | 1u << USH_ROLE_PROMOTER | 1u << USH_ROLE_OPERATOR | \
		1u << USH_ROLE_SERVICE)

/* ret: a task of somebody with one of the roles; NULL: it was answered. */
static struct people_task *start(
	struct ush_people *people, struct ush_http_request *request, uint32_t roles)
{
	return ush_who_must(request, roles) != NULL ? people_task_new(people, request) : NULL;
}

static json_t *text_or_null(char *text)
{
	json_t *value = text != NULL ? json_string(text) : json_null();

	free(text);
	return value;
}

static json_t *verified_list(uint64_t verified)
{
	json_t *list = json_array();

	if (verified & USH_VERIFIED_MAIL)
		json_array_append_new(list, json_string("mail"));
	if (verified & USH_VERIFIED_PHONE)
		json_array_append_new(list, json_string("phone"));
	return list;
}

/* ---- GET, PATCH /v1/me ---- */

static int look_job(struct ush_db_conn *conn, struct people_task *task)
{
	char *mail = NULL, *phone = NULL, *name = NULL;
	const struct ush_who *who = &task->who.who;
	int ret =
		ush_db_get(conn, "SELECT mail, phone, name FROM people_accounts WHERE account = ?",
			"i", (int64_t)who->user, "ttt", &mail, &phone, &name);

	task->answer = json_pack("{ss ss so so so so}", "account", who->account, "role",
		people_role_name(who->role), "mail", text_or_null(mail), "phone",
		text_or_null(phone), "name", text_or_null(name), "verified",
		verified_list(who->verified));
	if (task->who.by_cookie)
		json_object_set_new(task->answer, "csrf", json_string(task->who.csrf));
	return ret < 0 ? ret : 0;
}

static void on_look(struct ush_http_request *request, void *context)
{
	struct people_task *task = start(context, request, ANYBODY);

	if (task != NULL)
		people_task_run(task, USH_DB_READ, look_job);
}

static int name_job(struct ush_db_conn *conn, struct people_task *task)
{
	ush_db_exec(conn, "UPDATE people_accounts SET name = ? WHERE account = ?", "ti", task->text,
		(int64_t)task->who.who.user);
	return look_job(conn, task);
}

static void on_name(struct ush_http_request *request, void *context)
{
	struct people_task *task = start(context, request, ANYBODY);

	if (task != NULL && people_task_text(task, "name", task->text, 101))
		people_task_run(task, USH_DB_WRITE, name_job);
}

/* ---- POST /v1/me/verify: a telephone ---- */

static void sent(struct people_task *task)
{
	people_code_send(task->people, task->text, task->code);
	ush_http_answer_json(task->request, 202,
		json_pack("{ss si}", "challenge", task->token, "expires_s", 600));
	people_task_free(task);
}

static int verify_job(struct ush_db_conn *conn, struct people_task *task)
{
	int ret = people_code_new(task, conn, PEOPLE_PHONE);

	return ret < 0 ? ret : 0;
}

static void on_verify(struct ush_http_request *request, void *context)
{
	struct people_task *task = start(context, request, ANYBODY);
	const struct ush_core *core = ((struct ush_people *)context)->core;

	if (task == NULL || !people_task_text(task, "phone", task->text, 32))
		return;
	if (!people_phone_is_good(task->text)) {
		people_task_drop(task, 422, "invalid",
			"'phone' is +, the country's number, and the rest: 7 to 15 digits, no blanks.");
		return;
	}
	if (core->setting(core, "people", "sms_url") == NULL &&
		core->setting(core, "people", "codes_file") == NULL) {
		people_task_drop(task, 503, "not_ready", "This shop sends no text messages.");
		return;
	}
	people_token(task->token);
	people_code_draw(task->code);
	task->then = sent;
	people_task_run(task, USH_DB_WRITE, verify_job);
}

static int verified_job(struct ush_db_conn *conn, struct people_task *task)
{
	const int64_t account = (int64_t)task->who.who.user;
	char *phone = NULL;
	int64_t taken = 0, changed;
	int ret = people_code_check(task, conn, PEOPLE_PHONE, account, &phone);

	if (ret != 1)
		return ret;
	ret = ush_db_get(conn,
		"SELECT COUNT(*) FROM people_accounts WHERE phone = ? AND account <> ?", "ti",
		phone, account, "i", &taken);
	changed = ret == 1 && taken == 0
			  ? ush_db_exec(conn,
				    "UPDATE people_accounts SET phone = ?, verified ="
				    " verified | ? WHERE account = ?",
				    "tii", phone, (int64_t)USH_VERIFIED_PHONE, account)
			  : 0;
	free(phone);
	if (ret < 0 || changed < 0)
		return ret < 0 ? ret : (int)changed;
	if (taken != 0)
		return people_task_refuse(
			task, 409, "phone_taken", "Another account has verified this telephone.");
	task->who.who.verified |= USH_VERIFIED_PHONE;
	return look_job(conn, task);
}

static void on_verified(struct ush_http_request *request, void *context)
{
	struct people_task *task = start(context, request, ANYBODY);

	if (task != NULL && people_task_text(task, "challenge", task->token, sizeof(task->token)) &&
		people_task_text(task, "code", task->code, sizeof(task->code)))
		people_task_run(task, USH_DB_WRITE, verified_job);
}

/* ---- fans ---- */

static int fan_job(struct ush_db_conn *conn, struct people_task *task)
{
	ush_db_exec(conn,
		"INSERT INTO people_fans(event, account, created_us) VALUES (?, ?, ?)"
		" ON CONFLICT DO NOTHING",
		"iii", task->number, (int64_t)task->who.who.user, task->now_us);
	task->status = 201;
	task->answer = json_pack(
		"{sI ss}", "event", (json_int_t)task->number, "account", task->who.who.account);
	return 0;
}

static void on_fan(struct ush_http_request *request, void *context)
{
	uint64_t event;
	struct people_task *task = start(context, request, 1u << USH_ROLE_BUYER);

	if (task == NULL)
		return;
	if ((task->who.who.verified & USH_VERIFIED_PHONE) == 0) {
		people_task_drop(task, 403, "not_verified",
			"A fan has a verified telephone: POST /v1/me/verify first.");
		return;
	}
	if (!ush_http_param_number(request, "event", UINT32_MAX, &event)) {
		people_task_free(task);
		return;
	}
	task->number = (int64_t)event;
	people_task_run(task, USH_DB_WRITE, fan_job);
}

int ush_people_is_fan(struct ush_db_conn *conn, uint64_t user, uint32_t event)
{
	int64_t account = 0;

	return ush_db_get(conn, "SELECT account FROM people_fans WHERE event = ? AND account = ?",
		"ii", (int64_t)event, (int64_t)user, "i", &account);
}

/* ---- export ---- */

static int export_sessions(struct ush_db_conn *conn, struct people_task *task)
{
	json_t *sessions = json_array(), *fans = json_array();
	struct ush_db_rows *rows = ush_db_query(conn,
		"SELECT created_us, seen_us FROM people_sessions WHERE account = ?", "i",
		(int64_t)task->who.who.user);

	while (ush_db_next(rows))
		json_array_append_new(sessions,
			json_pack("{sI sI}", "created_us", (json_int_t)ush_db_int(rows, 0),
				"seen_us", (json_int_t)ush_db_int(rows, 1)));
	rows = ush_db_query(conn, "SELECT event, created_us FROM people_fans WHERE account = ?",
		"i", (int64_t)task->who.who.user);
	while (ush_db_next(rows))
		json_array_append_new(
			fans, json_pack("{sI sI}", "event", (json_int_t)ush_db_int(rows, 0),
				      "created_us", (json_int_t)ush_db_int(rows, 1)));
	json_object_set_new(task->answer, "sessions", sessions);
	json_object_set_new(task->answer, "fan_of", fans);
	return ush_db_error(conn, NULL);
}

#ifdef USH_PEOPLE_MAIL
static void tell_mail(void *context, const char *subject, int64_t made_us, int64_t attempts)
{
	json_array_append_new(
		context, json_pack("{ss sI sI}", "subject", subject, "made_us", (json_int_t)made_us,
				 "attempts", (json_int_t)attempts));
}
#endif

/* What waits to be sent to them. A mail that was sent is not kept. */
static int export_mail(struct ush_db_conn *conn, struct people_task *task)
{
	json_t *mails = json_array();
	int ret = 0;
#ifdef USH_PEOPLE_MAIL
	char *mail = ush_people_mail_of(conn, task->who.who.user);

	if (mail != NULL)
		ret = ush_mail_waiting(conn, mail, tell_mail, mails);
	free(mail);
#else
	(void)conn;
#endif
	json_object_set_new(task->answer, "mails_waiting", mails);
	return ret;
}

static int export_job(struct ush_db_conn *conn, struct people_task *task)
{
	const struct ush_people *people = task->people;
	int ret = look_job(conn, task);

	if (ret == 0)
		ret = export_sessions(conn, task);
	if (ret == 0)
		ret = export_mail(conn, task);
	json_object_del(task->answer, "csrf");
	for (uint32_t i = 0; i < people->keeper_count && ret == 0; i++) {
		json_t *part = NULL;

		ret = people->keepers[i].take(conn, task->who.who.user, &part);
		if (part != NULL)
			json_object_set_new(task->answer, people->keepers[i].name, part);
	}
	return ret;
}

static void on_export(struct ush_http_request *request, void *context)
{
	struct people_task *task = start(context, request, ANYBODY);

	if (task == NULL)
		return;
	ush_http_set(request, "Content-Disposition", "attachment; filename=\"my-data.json\"");
	people_task_run(task, USH_DB_READ, export_job);
}

/* ---- deletion ---- */

/* What was sent or is to be sent to them. */
static int forget_mail(struct ush_db_conn *conn, uint64_t user)
{
	int ret = 0;
#ifdef USH_PEOPLE_MAIL
	char *mail = ush_people_mail_of(conn, user);

	if (mail != NULL)
		ret = ush_mail_forget(conn, mail);
	free(mail);
#else
	(void)conn;
	(void)user;
#endif
	return ret;
}

static int delete_job(struct ush_db_conn *conn, struct people_task *task)
{
	const struct ush_people *people = task->people;
	const int64_t account = (int64_t)task->who.who.user;
	int ret = forget_mail(conn, task->who.who.user);

	for (uint32_t i = 0; i < people->keeper_count && ret == 0; i++)
		ret = people->keepers[i].drop(conn, task->who.who.user);
	if (ret != 0)
		return ret;
	ush_db_exec(conn,
		"DELETE FROM people_codes WHERE account = ? OR target IN (SELECT mail FROM"
		" people_accounts WHERE account = ?)",
		"ii", account, account);
	ush_db_exec(conn, "DELETE FROM people_sessions WHERE account = ?", "i", account);
	ush_db_exec(conn, "DELETE FROM people_keys WHERE account = ?", "i", account);
	ush_db_exec(conn, "DELETE FROM people_fans WHERE account = ?", "i", account);
	ush_db_exec(conn,
		"UPDATE people_accounts SET mail = NULL, phone = NULL, name = '', verified = 0,"
		" deleted_us = ? WHERE account = ?",
		"ii", task->now_us, account);
	/* Answers that were kept to be repeated may name them. */
	ush_http_keys_forget(conn, task->who.who.account);
	ush_people_audit(conn, &task->who.who, "account.delete", task->who.who.account, "");
	ush_db_scrub(conn);
	task->status = 204;
	return 0;
}

static void on_delete(struct ush_http_request *request, void *context)
{
	struct people_task *task = start(context, request, ANYBODY);

	if (task == NULL)
		return;
	people_cookie_set(task, "", 0);
	people_task_run(task, USH_DB_WRITE, delete_job);
}

char *ush_people_mail_of(struct ush_db_conn *conn, uint64_t user)
{
	char *mail = NULL;

	if (ush_db_get(conn, "SELECT mail FROM people_accounts WHERE account = ?", "i",
		    (int64_t)user, "t", &mail) != 1)
		return NULL;
	return mail;
}

void people_me_open(struct ush_people *people)
{
	static const struct ush_http_route reads[] = {
		{"GET", "/v1/me", on_look, 0, 0},
		{"GET", "/v1/me/export", on_export, 0, 0},
		{0},
	};
	static const struct ush_http_route writes[] = {
		{"PATCH", "/v1/me", on_name, 0, 4096},
		{"DELETE", "/v1/me", on_delete, 0, 4096},
		{"POST", "/v1/me/verify", on_verify, USH_HTTP_NO_KEY, 4096},
		{"POST", "/v1/me/verify/code", on_verified, USH_HTTP_NO_KEY, 4096},
		{"POST", "/v1/events/{event}/fans", on_fan, 0, 4096},
		{0},
	};

	ush_http_routes_add(people->core->http, reads, people);
	if (!people->core->read_only)
		ush_http_routes_add(people->core->http, writes, people);
}
