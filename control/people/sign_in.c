/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One-time codes and sessions. The happy path: POST /v1/sign-in makes a challenge and sends a code
 * of six digits to the address; POST /v1/sign-in/code with both makes a session.
 *
 * Failure modes: a wrong, used up, late or unknown code is one answer (401 code_wrong), so nobody
 * learns which. Five tries a code, five codes an hour for an address. Whether there is an account
 * is never said: the first right code makes it.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/rand.h>

#include "fetch/fetch.h"
#include "people/internal.h"
#ifdef USH_PEOPLE_MAIL
#include "mail/mail.h"
#endif

#define CODE_US (10 * PEOPLE_MINUTE_US)
#define CODE_TRIES 5
#define CODES_AN_HOUR 5
#define SESSION_US (90 * PEOPLE_DAY_US)

/* ---- codes ---- */

void people_code_draw(char code[8])
{
	uint32_t value;

	/* The last incomplete million of 2^32 is drawn again. */
	do
		USH_ASSERT(RAND_bytes((unsigned char *)&value, sizeof(value)) == 1);
	while (value >= 4294000000u);
	snprintf(code, 8, "%06u", value % 1000000u);
}

static void code_hash(const struct ush_people *people, const char *challenge, const char *code,
	char hash[PEOPLE_HEX_BYTES])
{
	char both[128];

	snprintf(both, sizeof(both), "%s %s", challenge, code);
	people_hmac(people, "code", both, hash);
}

/* in: task->text: the target; task->token: the challenge; task->code. */
int people_code_new(struct people_task *task, struct ush_db_conn *conn, int64_t purpose)
{
	char hash[PEOPLE_HEX_BYTES];
	int64_t count = 0;
	int ret = ush_db_get(conn,
		"SELECT COUNT(*) FROM people_codes WHERE target = ? AND created_us > ?", "ti",
		task->text, task->now_us - PEOPLE_HOUR_US, "i", &count);

	if (ret < 0)
		return ret;
	if (count >= CODES_AN_HOUR) {
		task->retry_s = 3600;
		people_task_refuse(task, 429, "rate_limited",
			"Five codes were sent there within an hour; try again later.");
		return 1;
	}
	code_hash(task->people, task->token, task->code, hash);
	ush_db_exec(conn,
		"INSERT INTO people_codes(challenge, purpose, target, account, hash, tries,"
		" created_us, expires_us) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
		"tititiii", task->token, purpose, task->text, (int64_t)task->who.who.user, hash,
		(int64_t)CODE_TRIES, task->now_us, task->now_us + CODE_US);
	return ush_db_error(conn, NULL);
}

int people_code_check(struct people_task *task, struct ush_db_conn *conn, int64_t purpose,
	int64_t account, char **target)
{
	char *hash = NULL, hash_now[PEOPLE_HEX_BYTES];
	int64_t tries = 0, expires = 0;
	int ret = ush_db_get(conn,
		"SELECT target, hash, tries, expires_us FROM people_codes WHERE challenge = ? AND"
		" purpose = ? AND account = ?",
		"tii", task->token, purpose, account, "ttii", target, &hash, &tries, &expires);
	bool good;

	code_hash(task->people, task->token, task->code, hash_now);
	good = ret == 1 && tries > 0 && expires > task->now_us && people_same(hash, hash_now);
	free(hash);
	/* A used code stays until it is swept, without tries: it still counts among those of the
	 * hour. */
	if (ret == 1)
		ush_db_exec(conn, "UPDATE people_codes SET tries = ? WHERE challenge = ?", "it",
			good || tries < 1 ? 0 : tries - 1, task->token);
	if (ret >= 0)
		ret = ush_db_error(conn, NULL);
	if (ret == 0 && good)
		return 1;
	free(*target);
	*target = NULL;
	if (ret == 0)
		people_task_refuse(task, 401, "code_wrong",
			"The code is wrong, was used, or is too old; ask for another one.");
	return ret;
}

/* ---- sending ---- */

/* A line of JSON for each code. */
static void to_file(const char *path, const char *target, const char *code)
{
	json_t *line = json_pack("{ss ss}", "to", target, "code", code);
	char *text = json_dumps(line, JSON_COMPACT);
	int file = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

	USH_ASSERT(text != NULL);
	if (file < 0 || dprintf(file, "%s\n", text) < 0)
		ush_core_log(USH_CORE_ERROR, "people", "people.codes_file cannot be written", NULL);
	if (file >= 0)
		close(file);
	free(text);
	json_decref(line);
}

static void sms_done(void *context, const struct ush_fetch_result *result)
{
	struct ush_people *people = context;

	people->under_way--;
	if (result->result != 0 || result->status / 100 != 2)
		ush_core_log(USH_CORE_WARN, "people", "a text message was not sent", "why",
			result->error != NULL ? result->error : "refused", NULL);
}

static void by_sms(struct ush_people *people, const char *url, const char *target, const char *code)
{
	char text[64], bearer[512];
	const char *headers[] = {"Content-Type: application/json", bearer, NULL};
	json_t *object;
	char *body;

	snprintf(text, sizeof(text), "Your code is %s", code);
	snprintf(bearer, sizeof(bearer), "Authorization: Bearer %s",
		people->sms_key != NULL ? people->sms_key : "");
	bearer[strcspn(bearer, "\r\n")] = '\0';
	if (people->sms_key == NULL)
		headers[1] = NULL;
	object = json_pack("{ss ss}", "to", target, "text", text);
	body = json_dumps(object, JSON_COMPACT);
	USH_ASSERT(body != NULL);
	people->under_way++;
	ush_fetch_start(people->core->fetch,
		&(struct ush_fetch_request){.method = "POST",
			.url = url,
			.headers = headers,
			.body = body,
			.bytes = strlen(body),
			.timeout_ms = 10000,
			.answer_bytes_max = 65536},
		sms_done, people);
	free(body);
	json_decref(object);
}

void people_code_send(struct ush_people *people, const char *target, const char *code)
{
	const struct ush_core *core = people->core;
	const char *file = core->setting(core, "people", "codes_file");
	const char *url = core->setting(core, "people", "sms_url");

	if (file != NULL)
		to_file(file, target, code);
	else if (target[0] == '+' && url != NULL)
		by_sms(people, url, target, code);
}

int people_code_mail(const struct ush_people *people, struct ush_db_conn *conn,
	const char *challenge, const char *mail, const char *code)
{
#ifdef USH_PEOPLE_MAIL
	char key[96], text[512];
	int ret;

	if (people->core->setting(people->core, "people", "codes_file") != NULL)
		return 0;
	snprintf(key, sizeof(key), "code %.64s", challenge);
	snprintf(text, sizeof(text),
		"Your code for %s is\n\n    %s\n\nIt is good for ten minutes and for one use. If you did not "
		"ask for it, you need not do anything.\n",
		people->core->origin, code);
	ret = ush_mail_put(conn, key, mail, "Your code", text, NULL, NULL, 0);
	return ret < 0 ? ret : 0;
#else
	(void)people;
	(void)conn;
	(void)challenge;
	(void)mail;
	(void)code;
	return 0;
#endif
}

/* ---- POST /v1/sign-in ---- */

static void challenge_made(struct people_task *task)
{
	people_code_send(task->people, task->text, task->code);
#ifdef USH_PEOPLE_MAIL
	ush_mail_wake(NULL);
#endif
	ush_http_answer_json(task->request, 202,
		json_pack("{ss si}", "challenge", task->token, "expires_s",
			(int)(CODE_US / PEOPLE_SECOND_US)));
	people_task_free(task);
}

static int challenge_job(struct ush_db_conn *conn, struct people_task *task)
{
	int ret;

	memset(&task->who, 0, sizeof(task->who));
	ret = people_code_new(task, conn, PEOPLE_SIGN_IN);
	if (ret != 0)
		return ret < 0 ? ret : 0;
	return people_code_mail(task->people, conn, task->token, task->text, task->code);
}

static void on_sign_in(struct ush_http_request *request, void *context)
{
	struct people_task *task = people_task_new(context, request);

	if (!people_task_text(task, "mail", task->more, sizeof(task->more)))
		return;
	if (!people_mail_read(task->more, task->text)) {
		people_task_drop(task, 422, "invalid", "'mail' is no e-mail address.");
		return;
	}
	people_token(task->token);
	people_code_draw(task->code);
	task->then = challenge_made;
	people_task_run(task, USH_DB_WRITE, challenge_job);
}

/* ---- POST /v1/sign-in/code ---- */

int64_t people_account_of(struct ush_db_conn *conn, const char *mail, int64_t now_us)
{
	int64_t account = 0;
	int ret = ush_db_get(conn, "SELECT account FROM people_accounts WHERE mail = ?", "t", mail,
		"i", &account);

	if (ret != 0)
		return ret < 0 ? ret : account;
	ret = ush_db_get(conn, "SELECT COALESCE(MAX(account), 0) + 1 FROM people_accounts", "", "i",
		&account);
	if (ret != 1)
		return ret < 0 ? ret : -USH_ECORRUPT;
	ush_db_exec(conn,
		"INSERT INTO people_accounts(account, role, promoter, mail, name, verified,"
		" created_us, deleted_us) VALUES (?, ?, 0, ?, '', ?, ?, 0)",
		"iitii", account, (int64_t)USH_ROLE_BUYER, mail, (int64_t)USH_VERIFIED_MAIL,
		now_us);
	ret = ush_db_error(conn, NULL);
	return ret < 0 ? ret : account;
}

void people_cookie_set(struct people_task *task, const char *token, int64_t age_s)
{
	char cookie[256];

	snprintf(cookie, sizeof(cookie), "%s=%s; Path=/; HttpOnly; SameSite=Lax; Max-Age=%lld%s",
		people_cookie_name(task->people), token, (long long)age_s,
		task->people->is_https ? "; Secure" : "");
	ush_http_set(task->request, "Set-Cookie", cookie);
}

/* task->more: the new session's token. task->who: the old session's, which ends. */
static int session_job(struct ush_db_conn *conn, struct people_task *task)
{
	char *mail = NULL, name[24], hash[PEOPLE_HEX_BYTES], csrf[PEOPLE_HEX_BYTES];
	int ret = people_code_check(task, conn, PEOPLE_SIGN_IN, 0, &mail);
	int64_t account, role = 0;

	if (ret != 1)
		return ret;
	account = people_account_of(conn, mail, task->now_us);
	free(mail);
	if (account < 0)
		return (int)account;
	people_sha256(task->more, hash);
	people_csrf(task->more, csrf);
	ush_db_exec(conn, "DELETE FROM people_sessions WHERE hash = ?", "t", task->who.session);
	ush_db_exec(conn,
		"INSERT INTO people_sessions(hash, account, created_us, seen_us, expires_us)"
		" VALUES (?, ?, ?, ?, ?)",
		"tiiii", hash, account, task->now_us, task->now_us, task->now_us + SESSION_US);
	ush_db_exec(conn, "UPDATE people_accounts SET verified = verified | ? WHERE account = ?",
		"ii", (int64_t)USH_VERIFIED_MAIL, account);
	ret = ush_db_get(conn, "SELECT role FROM people_accounts WHERE account = ?", "i", account,
		"i", &role);
	people_account_name((uint64_t)account, name);
	task->answer = json_pack("{ss ss ss}", "account", name, "role",
		people_role_name((uint32_t)role), "csrf", csrf);
	return ret < 0 ? ret : 0;
}

static void session_made(struct people_task *task)
{
	people_cookie_set(task, task->more, SESSION_US / PEOPLE_SECOND_US);
	ush_http_answer_json(task->request, 200, task->answer);
	task->answer = NULL;
	people_task_free(task);
}

static void on_code(struct ush_http_request *request, void *context)
{
	struct people_task *task = people_task_new(context, request);

	if (!people_task_text(task, "challenge", task->token, sizeof(task->token)) ||
		!people_task_text(task, "code", task->code, sizeof(task->code)))
		return;
	people_token(task->more);
	task->then = session_made;
	people_task_run(task, USH_DB_WRITE, session_job);
}

/* ---- DELETE /v1/session ---- */

static int end_job(struct ush_db_conn *conn, struct people_task *task)
{
	ush_db_exec(conn, "DELETE FROM people_sessions WHERE hash = ?", "t", task->who.session);
	task->status = 204;
	return 0;
}

static void on_end(struct ush_http_request *request, void *context)
{
	struct people_task *task = people_task_new(context, request);

	if (!task->who.by_cookie) {
		people_task_drop(task, 401, "sign_in", "There is no session to end.");
		return;
	}
	people_cookie_set(task, "", 0);
	people_task_run(task, USH_DB_WRITE, end_job);
}

void people_sign_in_open(struct ush_people *people)
{
	static const struct ush_http_route routes[] = {
		{"POST", "/v1/sign-in", on_sign_in, USH_HTTP_NO_KEY | USH_HTTP_NO_CSRF, 4096},
		{"POST", "/v1/sign-in/code", on_code, USH_HTTP_NO_KEY | USH_HTTP_NO_CSRF, 4096},
		{"DELETE", "/v1/session", on_end, 0, 4096},
		{0},
	};

	if (!people->core->read_only)
		ush_http_routes_add(people->core->http, routes, people);
}
