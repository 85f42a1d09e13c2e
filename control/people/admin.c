/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Accounts of promoters and operators, API keys, and the audit log.
 *
 * The log is a chain: the hash of a line is over the one before and its own fields, so a line that
 * was changed or taken out shows. (Who can write the database can write a whole new chain: keep the
 * newest hash elsewhere.)
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "people/internal.h"

#define OPERATORS (1u << USH_ROLE_OPERATOR)
#define STAFF (1u << USH_ROLE_OPERATOR | 1u << USH_ROLE_PROMOTER)
#define PAGE 100

/* ---- audit ---- */

void ush_people_audit(struct ush_db_conn *conn, const struct ush_who *who, const char *action,
	const char *object, const char *text)
{
	char *before = NULL, line[1024], hash[PEOPLE_HEX_BYTES];
	int64_t number = 0, now = ush_core_now_us();
	int64_t account = who != NULL ? (int64_t)who->user : 0;
	int64_t role = who != NULL ? (int64_t)who->role : 0;

	ush_db_get(conn, "SELECT number, hash FROM people_audit ORDER BY number DESC LIMIT 1", "",
		"it", &number, &before);
	snprintf(line, sizeof(line), "%s|%" PRId64 "|%" PRId64 "|%" PRId64 "|%" PRId64 "|%s|%s|%s",
		before != NULL ? before : "", number + 1, now, account, role, action, object, text);
	people_sha256(line, hash);
	ush_db_exec(conn,
		"INSERT INTO people_audit(number, time_us, account, role, action, object, text, hash)"
		" VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
		"iiiitttt", number + 1, now, account, role, action, object, text, hash);
	free(before);
}

static int audit_job(struct ush_db_conn *conn, struct people_task *task)
{
	json_t *items = json_array();
	int64_t last = 0;
	struct ush_db_rows *rows = ush_db_query(conn,
		"SELECT number, time_us, account, role, action, object, text, hash FROM people_audit"
		" WHERE number > ? ORDER BY number LIMIT ?",
		"ii", task->number, (int64_t)PAGE);

	while (ush_db_next(rows)) {
		char name[24];

		last = ush_db_int(rows, 0);
		people_account_name((uint64_t)ush_db_int(rows, 2), name);
		json_array_append_new(items,
			json_pack("{sI sI ss ss ss ss ss ss}", "number", (json_int_t)last,
				"time_us", (json_int_t)ush_db_int(rows, 1), "account", name, "role",
				people_role_name((uint32_t)ush_db_int(rows, 3)), "action",
				ush_db_text(rows, 4), "object", ush_db_text(rows, 5), "text",
				ush_db_text(rows, 6), "hash", ush_db_text(rows, 7)));
	}
	task->answer = json_pack("{so so}", "items", items, "next",
		json_array_size(items) == PAGE ? json_integer(last) : json_null());
	return 0;
}

static void on_audit(struct ush_http_request *request, void *context)
{
	const char *after = ush_http_query(request, "after");
	struct people_task *task;
	char *end;

	if (ush_who_must(request, OPERATORS) == NULL)
		return;
	task = people_task_new(context, request);
	task->number = after != NULL ? strtoll(after, &end, 10) : 0;
	if (after != NULL && (*end != '\0' || *after == '\0' || task->number < 0)) {
		people_task_drop(task, 422, "invalid", "'after' is the number of a line.");
		return;
	}
	people_task_run(task, USH_DB_READ, audit_job);
}

/* ---- accounts ---- */

/* A promoter's events are those of its own number. */
static int appoint(struct ush_db_conn *conn, const char *mail, enum ush_role role, int64_t now_us,
	int64_t *account)
{
	*account = people_account_of(conn, mail, now_us);
	if (*account < 0)
		return (int)*account;
	ush_db_exec(conn, "UPDATE people_accounts SET role = ?, promoter = ? WHERE account = ?",
		"iii", (int64_t)role, role == USH_ROLE_PROMOTER ? *account : 0, *account);
	/* What they could do before ends with the sessions and keys they had. */
	ush_db_exec(conn, "DELETE FROM people_sessions WHERE account = ?", "i", *account);
	ush_db_exec(conn, "UPDATE people_keys SET revoked_us = ? WHERE account = ?", "ii", now_us,
		*account);
	return ush_db_error(conn, NULL);
}

static int appoint_job(struct ush_db_conn *conn, struct people_task *task)
{
	int64_t account = 0;
	char name[24];
	int ret = appoint(conn, task->text, (enum ush_role)task->number, task->now_us, &account);

	if (ret != 0)
		return ret;
	people_account_name((uint64_t)account, name);
	ush_people_audit(conn, &task->who.who, "account.appoint", name,
		people_role_name((uint32_t)task->number));
	task->status = 201;
	task->answer = json_pack(
		"{ss ss}", "account", name, "role", people_role_name((uint32_t)task->number));
	return 0;
}

static void on_appoint(struct ush_http_request *request, void *context)
{
	struct people_task *task;

	if (ush_who_must(request, OPERATORS) == NULL)
		return;
	task = people_task_new(context, request);
	if (!people_task_text(task, "role", task->more, sizeof(task->more)))
		return;
	task->number = people_role_read(task->more);
	if (task->number == USH_ROLE_NONE || task->number == USH_ROLE_SERVICE) {
		people_task_drop(
			task, 422, "invalid", "'role' is \"buyer\", \"promoter\" or \"operator\".");
		return;
	}
	if (!people_task_text(task, "mail", task->more, sizeof(task->more)))
		return;
	if (!people_mail_read(task->more, task->text)) {
		people_task_drop(task, 422, "invalid", "'mail' is no e-mail address.");
		return;
	}
	people_task_run(task, USH_DB_WRITE, appoint_job);
}

struct appointing {
	const char *mail;
	enum ush_role role;
	int64_t account;
};

static int appointing_job(struct ush_db_conn *conn, void *context)
{
	struct appointing *appointing = context;
	char name[24];
	int ret = appoint(
		conn, appointing->mail, appointing->role, ush_core_now_us(), &appointing->account);

	if (ret != 0)
		return ret;
	people_account_name((uint64_t)appointing->account, name);
	ush_people_audit(conn, NULL, "account.appoint", name, people_role_name(appointing->role));
	return ush_db_error(conn, NULL);
}

int ush_people_appoint(struct ush_db *db, const char *mail, enum ush_role role, uint64_t *account,
	struct ush_message *message)
{
	char address[PEOPLE_MAIL_BYTES];
	struct appointing appointing = {.mail = address, .role = role};
	int ret;

	if (!people_mail_read(mail, address)) {
		ush_message_set(message, "'%s' is no e-mail address", mail);
		return -USH_EINVAL;
	}
	ret = ush_db_run_now(db, USH_DB_WRITE, appointing_job, &appointing);
	if (ret != 0)
		ush_message_set(message, "the database failed: %s", ush_error_text(ret));
	*account = (uint64_t)appointing.account;
	return ret;
}

/* ---- API keys ---- */

static int key_job(struct ush_db_conn *conn, struct people_task *task)
{
	const struct ush_who *who = &task->who.who;
	char hash[PEOPLE_HEX_BYTES], key[128], prefix[13];
	bool service = task->number == USH_ROLE_SERVICE;

	snprintf(prefix, sizeof(prefix), "%.12s", task->token);
	snprintf(key, sizeof(key), "uk_%s_%s", prefix, task->token + 12);
	people_sha256(key, hash);
	ush_db_exec(conn,
		"INSERT INTO people_keys(prefix, hash, account, role, promoter, scope, name,"
		" created_us, used_us, revoked_us) VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0, 0)",
		"ttiiitti", prefix, hash, (int64_t)who->user,
		service ? (int64_t)USH_ROLE_SERVICE : (int64_t)who->role, (int64_t)who->promoter,
		task->more, task->text, task->now_us);
	ush_people_audit(conn, who, "key.make", prefix, task->more);
	task->status = 201;
	task->answer = json_pack("{ss ss ss ss}", "key", key, "prefix", prefix, "scope", task->more,
		"name", task->text);
	return 0;
}

static void on_key(struct ush_http_request *request, void *context)
{
	json_t *role = json_object_get(ush_http_json(request), "role");
	struct people_task *task;

	if (ush_who_must(request, STAFF) == NULL)
		return;
	task = people_task_new(context, request);
	if (!people_task_text(task, "name", task->text, 101) ||
		!people_task_text(task, "scope", task->more, 16))
		return;
	if (strcmp(task->more, "read") != 0 && strcmp(task->more, "write") != 0) {
		people_task_drop(task, 422, "invalid", "'scope' is \"read\" or \"write\".");
		return;
	}
	if (role != NULL &&
		(!json_is_string(role) || strcmp(json_string_value(role), "service") != 0)) {
		people_task_drop(task, 422, "invalid",
			"'role' is \"service\", or is left out: then the key may do what you may.");
		return;
	}
	task->number = role != NULL ? USH_ROLE_SERVICE : USH_ROLE_NONE;
	people_token(task->token);
	people_task_run(task, USH_DB_WRITE, key_job);
}

static int keys_job(struct ush_db_conn *conn, struct people_task *task)
{
	const struct ush_who *who = &task->who.who;
	json_t *items = json_array();
	struct ush_db_rows *rows = ush_db_query(conn,
		"SELECT prefix, name, scope, role, created_us, used_us, revoked_us FROM people_keys"
		" WHERE account = ? ORDER BY created_us, prefix LIMIT 1000",
		"i", (int64_t)who->user);

	while (ush_db_next(rows))
		json_array_append_new(
			items, json_pack("{ss ss ss ss sI sI sb}", "prefix", ush_db_text(rows, 0),
				       "name", ush_db_text(rows, 1), "scope", ush_db_text(rows, 2),
				       "role", people_role_name((uint32_t)ush_db_int(rows, 3)),
				       "created_us", (json_int_t)ush_db_int(rows, 4), "used_us",
				       (json_int_t)ush_db_int(rows, 5), "revoked",
				       ush_db_int(rows, 6) != 0));
	task->answer = json_pack("{so sn}", "items", items, "next");
	return 0;
}

static void on_keys(struct ush_http_request *request, void *context)
{
	if (ush_who_must(request, STAFF) != NULL)
		people_task_run(people_task_new(context, request), USH_DB_READ, keys_job);
}

static int revoke_job(struct ush_db_conn *conn, struct people_task *task)
{
	const struct ush_who *who = &task->who.who;
	/* An operator may revoke any. */
	int64_t changed = ush_db_exec(conn,
		"UPDATE people_keys SET revoked_us = ? WHERE prefix = ? AND revoked_us = 0 AND"
		" (account = ? OR ? <> 0)",
		"itii", task->now_us, task->text, (int64_t)who->user,
		(int64_t)(who->role == USH_ROLE_OPERATOR));

	if (changed < 0)
		return (int)changed;
	if (changed == 0)
		return people_task_refuse(
			task, 404, "not_found", "There is no such key, or it was revoked.");
	ush_people_audit(conn, who, "key.revoke", task->text, "");
	task->status = 204;
	return 0;
}

static void on_revoke(struct ush_http_request *request, void *context)
{
	struct people_task *task;

	if (ush_who_must(request, STAFF) == NULL)
		return;
	task = people_task_new(context, request);
	snprintf(task->text, sizeof(task->text), "%.40s", ush_http_param(request, "prefix"));
	people_task_run(task, USH_DB_WRITE, revoke_job);
}

void people_admin_open(struct ush_people *people)
{
	static const struct ush_http_route reads[] = {
		{"GET", "/v1/admin/keys", on_keys, 0, 0},
		{"GET", "/v1/admin/audit", on_audit, 0, 0},
		{0},
	};
	static const struct ush_http_route writes[] = {
		{"POST", "/v1/admin/accounts", on_appoint, 0, 4096},
		/* The key is told once: an answer that is kept to be repeated would keep it. */
		{"POST", "/v1/admin/keys", on_key, USH_HTTP_NO_KEY, 4096},
		{"DELETE", "/v1/admin/keys/{prefix}", on_revoke, 0, 4096},
		{0},
	};

	ush_http_routes_add(people->core->http, reads, people);
	if (!people->core->read_only)
		ush_http_routes_add(people->core->http, writes, people);
}
